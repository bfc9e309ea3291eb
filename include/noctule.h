/** Noctule: MiniCPM4 inference on ordinary CPUs. The whole public face.
 *
 *  An *engine* is a loaded model: weights, tokenizer, kernels, threads. It is read-only once open
 *  and may serve several sessions, one call at a time. A *session* is one timeline of tokens with
 *  its cache: feed tokens, look at the logits of the last one, rewind. Text enters and leaves
 *  through the engine's tokenizer. The library neither prints nor exits: what can fail returns an
 *  nct_status and fills an nct_error (which may be NULL). Results are written only on success.
 */
#ifndef NOCTULE_H
#define NOCTULE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NOCTULE_VERSION "0.1.0"

/* ------------------------------------------------------------------ errors */

typedef enum nct_status {
    NCT_OK = 0,
    NCT_E_MEMORY,      /* an allocation or a mapping was refused */
    NCT_E_IO,          /* reading or writing failed; the text has the system's reason */
    NCT_E_FORMAT,      /* a file is damaged, lies about itself, or lacks a part */
    NCT_E_UNSUPPORTED, /* well-formed, but of a kind this build cannot use */
    NCT_E_ARGUMENT,    /* a caller's value is out of range */
    NCT_E_CONTEXT,     /* the tokens do not fit the context */
    NCT_E_STOPPED,     /* the caller's stop flag was seen; what was finished is kept */
    NCT_E_LENGTH,      /* a constraint cannot be completed in the tokens that are allowed */
} nct_status;

typedef struct nct_error {
    nct_status status;
    char text[768]; /* one sentence, no final newline; names the file, the thing, both values */
} nct_error;

/* ------------------------------------------------------------------ engine */

typedef struct nct_engine nct_engine;
typedef struct nct_session nct_session;

/** Huge pages. AUTO: for packed weights, for what a cache holds behind its first 8,192 tokens and for a bundle's file
 *  where its file system can; its weights stay in the file's shared pages. ON: for all of the cache and scratch too, and
 *  a bundle's weights are copied for it, unless the system has switched huge pages off. OFF: for nothing. */
typedef enum nct_huge_pages { NCT_HUGE_AUTO = 0, NCT_HUGE_ON, NCT_HUGE_OFF } nct_huge_pages;

/** Memory nodes of machines that have several. AUTO: one node where threads and model fit on one, else SHARD.
 *  NODE: threads stay on one node, and memory comes from there while it has any. SHARD: every matrix is cut
 *  over the nodes in proportion to their threads, each part a copy in its node's memory. On one node nothing
 *  is done. Results have the same bits throughout. */
typedef enum nct_numa_mode { NCT_NUMA_AUTO = 0, NCT_NUMA_OFF, NCT_NUMA_NODE, NCT_NUMA_SHARD } nct_numa_mode;

/** What the output matrix and the embedding are rounded to while they are loaded, as nct_convert rounds them (codes of groups
 *  of 128). What is stored in as few bits stays as it is. */
typedef enum nct_head { NCT_HEAD_STORED = 0, NCT_HEAD_INT8, NCT_HEAD_INT4 } nct_head;

/** Zeroed options are the defaults. Strings are read during the call only. */
typedef struct nct_engine_options {
    const char *isa;   /* highest rung to use ("ref", "avx2", ...); NULL: the best the CPU has */
    int n_threads;     /* for steps of a few rows (decoding); 0: as many as the process may use */
    int n_threads_batch; /* for prompts; 0: as n_threads */
    bool exact;        /* float32 activations, cache and scores, weights as stored: the mode that is
                          compared with other implementations */
    bool force_threads;/* allow more threads than the process may use */
    bool text_only;    /* tokenizer, template and shapes, but no weights: no session can be opened */
    nct_head head;     /* not in exact mode */
    nct_huge_pages huge_pages;
    nct_numa_mode numa;
    int numa_node;     /* of NCT_NUMA_NODE, as the system numbers it */
    int numa_made_up;  /* for tests: so many nodes that do not exist, in place of the machine's */
} nct_engine_options;

/** Loads a checkpoint directory, a GGUF file or a bundle (.nct). The caller closes the engine. */
nct_status nct_engine_open(const char *path, const nct_engine_options *options, nct_engine **engine,
                           nct_error *err);
void nct_engine_close(nct_engine *engine); /* NULL is fine */

/** What plain numbers of a draft head are rounded to when it is loaded; guesses need no more than 8 bits. What is stored as
 *  codes stays as it is, and so does everything in exact mode. */
typedef enum nct_draft_weights { NCT_DRAFT_INT8, NCT_DRAFT_STORED, NCT_DRAFT_INT4 } nct_draft_weights;

/** What sessions guess with: a draft head (EAGLE or EAGLE-3), by its directory, and the list of tokens that it scores; or a
 *  small model with the target's vocabulary, by its path. */
typedef struct nct_draft_source {
    const char *path;
    const char *list; /* a frequency-ranked list (FR-Spec); NULL: the one beside the head, or all tokens; not of models */
    int n_list;       /* so many first tokens of it; 0: all */
    int window;       /* positions a draft looks back; 0: 1024 of a head */
    nct_draft_weights weights;
    double residual_scale, logit_scale; /* of an EAGLE head; 0: as trained, scale_depth / sqrt(mup_denominator) and
                                           dim_model_base / hidden_size */
} nct_draft_source;

/** Loads a draft, once for all sessions opened afterwards; the engine owns it. NCT_E_ARGUMENT: it has one already.
 *  NCT_E_UNSUPPORTED: a head for another model, or a model with another vocabulary, in a sentence that says in what
 *  they differ. */
nct_status nct_engine_load_draft(nct_engine *engine, const nct_draft_source *source, nct_error *err);
/** Who guesses with it, for nct_session_options.drafter: "eagle", "eagle3" or "model"; NULL: none was loaded. */
const char *nct_engine_drafter(const nct_engine *engine);

/** What was loaded. Strings and arrays belong to the engine. */
typedef struct nct_model_info {
    const char *path, *name; /* name: last part of the path */
    const char *architecture; /* "minicpm" or "llama" */
    const char *container;    /* "safetensors", "gguf" or "nct" */
    const char *weights;      /* what the layers are stored as, e.g. "gptq int4 g128", "bf16" */
    bool coded; /* the layers' matrices are codes, multiplied as 8-bit integers; not in exact mode */
    bool thinks;               /* the template has a switch for thinking */
    const char *template_name; /* chat template renderer, "none" if the checkpoint has no template */
    int n_layers, hidden, n_heads, n_kv_heads, head_dim, intermediate, n_vocab;
    int max_positions;          /* native context window */
    int long_positions;         /* window with the long RoPE list; 0: there is no such list */
    bool long_built_in;         /* the list is the published one; the checkpoint states none */
    bool tied;                  /* output matrix is the embedding */
    const char *head;           /* what the output matrix is held as, e.g. "bf16", "int8 g128"; "" with text_only */
    bool rounded;               /* it, or the embedding, was rounded while it was loaded */
    bool sparse_trained;  /* the model was trained to choose blocks (InfLLM v2) */
    bool sparse_built_in; /* its settings are the published ones; the checkpoint states none */
    int sparse_blocks, sparse_block_size, sparse_dense_len; /* blocks attended in all; 0: no settings */
    double scale_emb, residual_scale, logit_divisor, rope_theta, rms_eps;
    uint64_t n_parameters;
    uint64_t weight_bytes;      /* packed weights in memory */
    uint64_t embedding_bytes;   /* of these, the embedding */
    uint64_t copied_bytes;      /* of these, what was copied from the shared pages of a bundle */
    uint64_t draft_bytes;       /* packed weights of the draft, besides; 0: none was loaded */
    uint64_t mapped_bytes;      /* of weight_bytes, what lies in shared pages of a bundle, which the system can let go */
    uint64_t kv_bytes_per_token;/* at the session's default cache type */
    uint64_t kv_int8_bytes_per_token;
    const char *kv;             /* the default type */
    const char *numa;           /* what is made of memory nodes, e.g. "1 node", "node 1 of 2", "sharded over 2 nodes" */
    const char *isa;            /* rung in use */
    int n_threads, n_threads_batch; /* for steps of a few rows; for prompts */
    double load_s;              /* opening it took so long */
    int bos, n_eos;             /* bos -1: none */
    const int32_t *eos;
    const char *warning;        /* what was read otherwise than a file says, one sentence, or NULL */
} nct_model_info;

void nct_engine_info(const nct_engine *engine, nct_model_info *info);

/** Other numbers of threads, from the next call on: 1 to the larger of the two that the engine was opened with.
 *  Results do not depend on them. NCT_E_ARGUMENT outside that range. */
nct_status nct_engine_set_threads(nct_engine *engine, int n_threads, int n_threads_batch, nct_error *err);

/** What the engine's threads can do at best on this machine, measured now (a second or so). */
typedef struct nct_roofline {
    double read_bytes_s;   /* reading memory, with the threads of steps */
    double int8_ops_s, bf16_ops_s, f32_ops_s; /* multiplying in registers, with the threads of prompts; 0: unknown
                                                 or not in this instruction set */
    double multiply_ops_s; /* the one that limits the layers' matrices: int8 for coded weights, float32 for others
                              or in exact mode; 0: unknown */
    const char *multiply_name; /* "int8" or "f32" */
    double attend_ops_s;   /* the one that attention is judged by: bf16 where that is faster, else float32,
                              which it is in exact mode */
    const char *attend_name;   /* "bf16" or "f32" */
    char cpu[64];
} nct_roofline;

nct_status nct_engine_roofline(nct_engine *engine, nct_roofline *roof, nct_error *err);
/** Measures the multiplying figures of *roof once more, in some milliseconds: what a machine can do changes while
 *  others use it too. */
void nct_engine_roofline_multiply(nct_engine *engine, nct_roofline *roof);
/** Only the read bandwidth, once more: what has changed since tells of heat and other load. */
nct_status nct_engine_bandwidth(nct_engine *engine, double *read_bytes_s, nct_error *err);

/** Sampling defaults of the checkpoint (generation_config.json or GGUF hints) over the built-in ones. */
typedef struct nct_sampling {
    double temperature;    /* 0: greedy */
    int top_k;             /* 0: off */
    double top_p;          /* 1: off */
    double min_p;          /* 0: off */
    double repeat_penalty; /* 1: off; over prompt and answer as Hugging Face does */
    int repeat_last_n;     /* 0: all tokens */
    double presence_penalty, frequency_penalty; /* 0: off; over the answer */
    uint64_t seed;
    int n_bias;            /* logit_bias: id += value */
    const int32_t *bias_id;
    const float *bias_value;
} nct_sampling;

void nct_engine_sampling(const nct_engine *engine, nct_sampling *sampling);

/* ------------------------------------------------------------------ text */

/** Encodes text. The text is content: added tokens in it ("<|im_end|>") are spelled out as text
 *  unless parse_special. add_bos puts the BOS id in front where the tokenizer has one.
 *  *ids is allocated; the caller frees it with nct_free. Invalid UTF-8 is kept through byte pieces. */
nct_status nct_encode(const nct_engine *engine, const char *text, size_t n_bytes, bool parse_special,
                      bool add_bos, int32_t **ids, size_t *n_ids, nct_error *err);

/** Decodes ids to bytes (NUL-terminated for convenience; *n_bytes does not count it). keep_special
 *  spells added tokens out, otherwise they are dropped. Ids outside the vocabulary give U+FFFD. */
nct_status nct_decode(const nct_engine *engine, const int32_t *ids, size_t n_ids, bool keep_special,
                      char **text, size_t *n_bytes, nct_error *err);

void nct_free(void *p);

/** The piece of an id as the vocabulary spells it ("_hello" with U+2581 for _, "<0xE4>", "<|im_end|>"): borrowed, not
 *  NUL-terminated. NULL if the id has none. */
const char *nct_token_piece(const nct_engine *engine, int32_t id, size_t *n_bytes);

/** Decodes as tokens arrive and never cuts a UTF-8 character. */
typedef struct nct_text_stream nct_text_stream;
nct_status nct_text_stream_open(const nct_engine *engine, bool continuation, nct_text_stream **stream,
                                nct_error *err); /* continuation: keep the first piece's leading space */
/** Bytes that became complete with this id; borrowed until the next call. */
const char *nct_text_stream_push(nct_text_stream *stream, int32_t id, size_t *n_bytes);
const char *nct_text_stream_end(nct_text_stream *stream, size_t *n_bytes);
void nct_text_stream_close(nct_text_stream *stream);

/** One turn of a conversation. Strings are borrowed and NUL-terminated. */
typedef struct nct_message {
    const char *role;       /* "system", "user", "assistant", "tool" */
    const char *content;
    size_t n_content;       /* bytes of content; content may hold NULs only if this counts them */
    const char *reasoning;  /* reasoning_content of an assistant turn, or NULL */
    const char *tool_calls; /* JSON array text of an assistant turn's calls, or NULL */
} nct_message;

typedef enum nct_think { NCT_THINK_AUTO = 0, NCT_THINK_ON, NCT_THINK_OFF } nct_think;

typedef struct nct_chat_options {
    nct_think think;
    const char *tools;        /* JSON array text of tool definitions, or NULL */
    bool no_generation_prompt;/* leave the assistant's turn unopened */
    bool parse_special;       /* let markers inside contents act as markers */
} nct_chat_options;

bool nct_engine_has_template(const nct_engine *engine);

/** Renders a conversation with the checkpoint's template to ids (BOS in front once). The template's
 *  own markers are ids, contents are text. */
nct_status nct_chat_encode(const nct_engine *engine, const nct_message *messages, size_t n_messages,
                           const nct_chat_options *options, int32_t **ids, size_t *n_ids, nct_error *err);
/** The same as text, for people to look at. */
nct_status nct_chat_render(const nct_engine *engine, const nct_message *messages, size_t n_messages,
                           const nct_chat_options *options, char **text, size_t *n_bytes, nct_error *err);

/** Takes the tool calls out of an answer, in the form that the checkpoint's template asks for. *calls is a JSON array as
 *  OpenAI's tool_calls, *content the rest of the text; both allocated, freed with nct_free, NUL-terminated. Both are NULL
 *  where there is no call; one that is not well-formed is none. tools: the definitions as in nct_chat_options, or NULL. */
nct_status nct_chat_calls(const nct_engine *engine, const char *text, size_t n_bytes, const char *tools, char **content,
                          char **calls, nct_error *err);

/** True for ids that end an answer. */
bool nct_is_eos(const nct_engine *engine, int32_t id);

/* ------------------------------------------------------------------ constrained answers */

/** What an answer must look like: a grammar compiled for the engine's tokens. It serves any number of answers, one call
 *  at a time, and grows while it is used (to some 100 MB, then it begins anew; results do not depend on it). */
typedef struct nct_constraint nct_constraint;

typedef enum nct_constraint_kind {
    NCT_CONSTRAINT_CHOICE, /* one of a list: text between commas, without space around; \, and \\ are characters */
    NCT_CONSTRAINT_JSON,   /* any JSON object; the text is not looked at */
    NCT_CONSTRAINT_SCHEMA, /* JSON that a JSON Schema describes (`noctule help constraints` has the keywords) */
    NCT_CONSTRAINT_GBNF,   /* a grammar as llama.cpp's, its rule `root` */
} nct_constraint_kind;

typedef struct nct_constraint_source {
    nct_constraint_kind kind;
    const char *name; /* begins the errors */
    const char *text; /* UTF-8 */
    size_t n_bytes;
    const nct_sampling *sampling; /* tokens that a bias of minus infinity bans are not counted on; NULL: none are */
} nct_constraint_source;

/** NCT_E_ARGUMENT: malformed, too large, left-recursive, or nothing fits it. The caller closes the constraint, before
 *  the engine. */
nct_status nct_constraint_open(nct_engine *engine, const nct_constraint_source *source, nct_constraint **constraint,
                               nct_error *err);
void nct_constraint_close(nct_constraint *constraint); /* NULL is fine */

/** One answer under a constraint: which tokens may come next. */
typedef struct nct_matcher nct_matcher;

/** Whether thinking (<think> ... </think>) comes before the constrained text: no; if the model wants it; the answer
 *  begins inside the block. Up to four characters of white space behind it belong to neither. */
typedef enum nct_match_think { NCT_MATCH_ANSWER, NCT_MATCH_MAY_THINK, NCT_MATCH_THINKING } nct_match_think;

typedef struct nct_matcher_options {
    nct_match_think think;
    bool strip;         /* the text's first space is dropped where it is shown (a text stream that is no continuation) */
    const char *prefix; /* [n_prefix] the beginning of the answer that is given; NULL: none */
    size_t n_prefix;
    size_t n_max;       /* tokens of the answer, the one that ends it not counted */
} nct_matcher_options;

/** NCT_E_LENGTH: n_max tokens do not suffice. NCT_E_ARGUMENT: the prefix does not agree. */
nct_status nct_matcher_open(nct_constraint *constraint, const nct_matcher_options *options, nct_matcher **matcher,
                            nct_error *err);
void nct_matcher_close(nct_matcher *matcher); /* NULL is fine */

/** Tokens that may come next, as bits [vocabulary / 64]; never none, unless nct_matcher_is_done. Whatever is taken of
 *  them, the text can be completed within n_max; tokens that end an answer are among them where it is complete. It
 *  depends on the constraint, the options and the tokens taken only. Borrowed until the constraint is used again. */
nct_status nct_matcher_mask(nct_matcher *matcher, const uint64_t **mask, nct_error *err);
/** NCT_E_ARGUMENT: it may not come next. */
nct_status nct_matcher_take(nct_matcher *matcher, int32_t id, nct_error *err);
/** Whether these tokens may all come next, and at least one and what then completes the text still fits behind them. */
bool nct_matcher_has_room(nct_matcher *matcher, const int32_t *ids, size_t n_ids);
bool nct_matcher_is_done(nct_matcher *matcher);     /* nothing can follow: the answer is over */
bool nct_matcher_is_complete(nct_matcher *matcher); /* the text so far is one that the constraint allows */

/* ------------------------------------------------------------------ session */

/** Block-sparse attention (InfLLM v2): where the model was trained for it, always, never. */
typedef enum nct_sparse_mode { NCT_SPARSE_AUTO = 0, NCT_SPARSE_ON, NCT_SPARSE_OFF } nct_sparse_mode;

/** What keys and values are cached as; by default what the kernels compute attention in fastest without
 *  leaving its bounds (float32 in exact mode). */
typedef enum nct_kv { NCT_KV_AUTO = 0, NCT_KV_FLOAT32, NCT_KV_FLOAT16, NCT_KV_BFLOAT16, NCT_KV_INT8 } nct_kv;

/** The table of rotations, chosen when a session opens and kept: keys in the cache were turned by it. AUTO: the
 *  native one, unless n_ctx, or with n_ctx 0 n_expected, exceeds the native window and there is a long one. */
typedef enum nct_rope_mode { NCT_ROPE_AUTO = 0, NCT_ROPE_NATIVE, NCT_ROPE_LONG } nct_rope_mode;

/** What a session does with the files of pages that others keep: nothing, take them, take and keep them. */
typedef enum nct_keep { NCT_KEEP_OFF = 0, NCT_KEEP_TAKE, NCT_KEEP_ALL } nct_keep;

/** Told in one sentence: that something was not done or not believed; that files were kept in a folder for the first
 *  time, and which. */
typedef enum nct_notice { NCT_NOTICE_WARNING, NCT_NOTICE_FIRST } nct_notice;
typedef void nct_notice_fn(void *context, nct_notice notice, const char *text);

enum { NCT_GUESS_AUTO = -1 };

typedef struct nct_session_options {
    int n_ctx;             /* hard limit on tokens held; 0: the window of the table */
    bool force_ctx;        /* allow n_ctx beyond that window (quality is not promised) */
    nct_rope_mode rope;    /* LONG where the model has no such list is NCT_E_ARGUMENT */
    int n_expected;        /* tokens the session will hold, as far as is known; only looked at by AUTO */
    int chunk;             /* prompt rows computed together; 0: chosen by the engine */
    nct_kv keys, values;   /* exact mode takes float32 only */
    nct_sparse_mode sparse;
    bool decide_by_prompt; /* the first prompt is dense or sparse as a whole, as the published code decides;
                              default: every row by its own length */
    bool sparse_r1;        /* the mid-2025 variant: exact normaliser, one forced block fewer */
    int sparse_topk, sparse_block, sparse_window, sparse_dense_len; /* in place of the model's settings; 0: those.
                              NCT_E_ARGUMENT where they do not go together */

    /* guessing ahead in nct_session_generate, which changes speed and never what is chosen */
    const char *drafter;   /* who guesses: "ngram", the engine's draft by its name, or "auto": both together where
                              one was loaded, else ngram; NULL or "off": nobody */
    bool prompt_rows;      /* a head with a list of tokens scores those of the prompt too that are not in it;
                              NCT_E_ARGUMENT with a draft that has a vocabulary of its own */
    int n_guess;           /* tokens computed at once, the certain one included, up to 64; 0 or 1: no guesses;
                              NCT_GUESS_AUTO: as many as pay, by what the session has seen */
    int guess_width;       /* guesses kept of a node, 1 to 16, with a fixed n_guess: 1 makes chains; 0: the engine's choice */
    const char *learned;   /* [n_learned] of NCT_GUESS_AUTO: what nct_session_learned gave of an earlier session of
                              this model, drafter and host; anything else is passed over; NULL: nothing */
    size_t n_learned;

    /* pages of the cache as files, found by what they hold; never with decide_by_prompt */
    const char *kv_folder; /* NULL: none */
    nct_keep keep;
    bool kv_mapped;        /* the session's own cache lies there instead of in memory, which it may exceed */
    uint64_t kv_max_bytes; /* of pages kept in the folder, the least recently used go; 0: a tenth of the free
                              disk, at most 20 GB; not if kv_mapped */
    double kv_min_s;       /* nothing is kept of prompts that took less; not if kv_mapped */
    int kv_min_tokens;     /* or that are shorter */
    nct_notice_fn *notice; /* or NULL */
    void *notice_context;
} nct_session_options;

nct_status nct_session_open(nct_engine *engine, const nct_session_options *options, nct_session **session,
                            nct_error *err);
void nct_session_close(nct_session *session);

/** Called with the logits [n_vocab] of one position; borrowed for the call. */
typedef void nct_row_fn(void *context, int position, const float *logits);

/** The blocks that a row chose for one layer and key-value head. */
typedef struct nct_choice {
    int layer, position, kv_head;
    int n_blocks, n_first, n_local; /* in all; of these, the leading and the nearest, which are always there */
    const uint32_t *block;          /* [n_blocks], ascending; borrowed */
    double margin;                  /* relative change of a score that could alter the choice; infinite: none could */
} nct_choice;

/** Called with a choice, from several threads at once and in no particular order. */
typedef void nct_choice_fn(void *context, const nct_choice *choice);

typedef struct nct_feed_options {
    const volatile int *stop;  /* polled between layers; non-zero ends the call with NCT_E_STOPPED,
                                  finished chunks stay in the session */
    /* after each layer of a chunk: tokens that are done, the chunk at hand in proportion */
    void (*progress)(void *context, int done, int total);
    nct_row_fn *on_row;        /* if set, every row's logits are computed and handed over */
    nct_choice_fn *on_choice;  /* if set, told of every choice of blocks .. */
    int choices_from;          /* .. that rows at this position or behind it make */
    void *context;
} nct_feed_options;

/** Appends ids and computes them. Afterwards nct_session_logits holds the last one's logits. */
nct_status nct_session_feed(nct_session *session, const int32_t *ids, size_t n_ids,
                            const nct_feed_options *options, nct_error *err);

/** The session holds the first tokens of ids [n_ids]: takes as many more of them as files of earlier sessions hold, but
 *  for the last one, which is left to be fed for its logits. Go on from nct_session_length, which may in rare cases be
 *  less than before. What was taken has the bits of what would have been computed. */
nct_status nct_session_take(nct_session *session, const int32_t *ids, size_t n_ids, nct_error *err);

/** Keeps the first n tokens in files, an unfinished page included, if the options of the session ask for it. What a
 *  prompt fills is kept as it is computed; this is for its end. */
void nct_session_keep(nct_session *session, int n);

/** Logits [n_vocab] after the last token fed; NULL if the session is empty or was rewound. */
const float *nct_session_logits(const nct_session *session);

/** Chooses the next token from the session's logits; does not feed it. The choice depends on the
 *  logits, the tokens held, `sampling`, and (seed, sample, position) only. n_prompt: how many of the
 *  session's tokens are prompt (presence and frequency penalties count the rest). */
nct_status nct_session_sample(nct_session *session, const nct_sampling *sampling, int n_prompt, uint32_t sample,
                              int32_t *id, nct_error *err);

/** What generating took: passes, tokens guessed in them, guesses that held. */
typedef struct nct_rounds {
    uint64_t n_rounds, n_guessed, n_accepted;
    double gain; /* the time plain decoding would have taken for each second, where guesses adapt; else 0 */
} nct_rounds;

typedef struct nct_generate_options {
    const nct_sampling *sampling;
    int n_prompt;              /* as of nct_session_sample */
    uint32_t sample;
    nct_matcher *matcher;      /* of a constraint, which the call advances; NULL: none. The call ends when it is done */
    bool (*take)(void *context, int32_t id); /* told of each token as it is chosen; false: it is the last one */
    const volatile int *stop;  /* polled between layers; non-zero ends the call with NCT_E_STOPPED */
    nct_choice_fn *on_choice;  /* if set, told of every choice of blocks; nothing is guessed then */
    void *context;
    nct_rounds *rounds;        /* filled in however the call ends, or NULL */
} nct_generate_options;

/** Chooses a token, feeds it, and so on: the tokens are those that nct_session_sample and nct_session_feed give in
 *  turn, however many are computed at once. The last one taken is not fed: whoever said that nothing follows it, or
 *  whatever failure ended the call; NCT_E_CONTEXT where the session is full. */
nct_status nct_session_generate(nct_session *session, const nct_generate_options *options, nct_error *err);

/** What guesses were worth and what checking them took, for later sessions: *text is allocated, freed with nct_free;
 *  NULL where guesses do not adapt or there were none. */
nct_status nct_session_learned(const nct_session *session, char **text, size_t *n_bytes, nct_error *err);

/** Forgets all tokens from position n on; no trace stays. */
nct_status nct_session_rewind(nct_session *session, int n, nct_error *err);

/** For benches. Appends n tokens without computing them: their keys and values are made up from `seed`. NCT_E_ARGUMENT
 *  where pages are kept for others. */
nct_status nct_session_make_up(nct_session *session, int n, uint64_t seed, nct_error *err);
/** For benches of a session that chooses blocks: from now on rows attend to everything, or choose again. What is
 *  fed meanwhile has no compressed keys and must be rewound before rows choose again. */
void nct_session_attend_all(nct_session *session, bool all);

/** What a cache of n tokens takes, in memory or in files. */
uint64_t nct_session_cache_bytes(const nct_session *session, size_t n);

bool nct_session_is_mapped(const nct_session *session); /* it lies in files, as kv_mapped asks */

int nct_session_length(const nct_session *session);
int nct_session_limit(const nct_session *session);
bool nct_session_is_long(const nct_session *session); /* it uses the long table */
const int32_t *nct_session_tokens(const nct_session *session); /* borrowed, [length] */

typedef struct nct_report {
    uint64_t n_prefill, n_decode;     /* tokens computed in chunks of many rows; one by one */
    double prefill_s, decode_s, load_s;
    uint64_t n_rounds, n_guessed, n_accepted; /* of generating: passes, tokens guessed in them, guesses that held */
    double guess_rate;                /* tokens in the time of a plain step, of late, where guesses adapt; else 0 */
    uint64_t draft_bytes;             /* cache and buffers of who guesses; weights are the engine's */
    uint64_t kv_bytes;                /* cache in use, in memory or in files */
    uint64_t kv_mapped_bytes;         /* of these, in mapped files */
    uint64_t kv_resident_bytes;       /* of kv_bytes, in memory now */
    uint64_t kv_dirty_bytes;          /* of kv_mapped_bytes, written and not on the disk yet */
    uint64_t n_taken, kv_written_bytes; /* tokens taken from files; bytes kept in files */
    uint64_t kv_bytes_per_token;      /* keys and values of one token */
    const char *keys, *values;        /* their types: "f32", "f16", "bf16", "q8" */
    double sparse_s, choosing_s;      /* of threads, attending in calls with rows that choose; of it, scoring and choosing */
    int chooses_from;                 /* position from which rows choose blocks; -1: none does */
} nct_report;

void nct_session_report(const nct_session *session, nct_report *report);

/* ------------------------------------------------------------------ batcher */

/** Several sequences decoded together: a step carries the last token of each that is answering and a bounded slice of
 *  prompts, so that neither a long answer nor a long prompt holds the others. A sequence gets the tokens that a session
 *  of its own would give, whatever else is in it. Ahead is guessed for one that has nobody beside it. What prompts have in common with
 *  what the batcher holds, also of sequences that have ended, is copied instead of computed. One call at a time. */
typedef struct nct_batcher nct_batcher;

enum { NCT_BATCHER_MAX = 64 };

typedef struct nct_batcher_options {
    nct_session_options session; /* how sequences compute: n_ctx, force_ctx, rope, chunk, keys, values, sparse and what belongs to it;
                                    and files: kv_folder, keep, their limits and notice. What prompts that were read are
                                    found to hold is taken from there, what several of them have in common is kept there.
                                    and who guesses (drafter, n_guess, guess_width, prompt_rows) while a single sequence
                                    is in it. decide_by_prompt and kv_mapped are NCT_E_ARGUMENT; the rest is not looked
                                    at */
    int n_sequences;             /* held at once, at most: 1 to NCT_BATCHER_MAX */
    int slice;                   /* prompt rows of a step beside sequences that answer; 0: as many as take no longer than
                                    the step without them, as far as steps before tell, or, where more prompts wait than
                                    sequences answer, as many times as long; at least one */
    bool apart;                  /* nothing is shared: every prompt is computed, and no files are looked at */
    bool keep_prompts;           /* prompts go to files while they are read, as a session's do, not only what several have in
                                    common */
} nct_batcher_options;

/** What to answer. */
typedef struct nct_sequence {
    const int32_t *ids; /* [n_ids] the prompt, copied; at least one */
    size_t n_ids;
    int n_expected;     /* tokens it will hold, as far as is known; only looked at by NCT_ROPE_AUTO */
    nct_sampling sampling; /* bias arrays are borrowed until it ends */
    uint32_t sample;
    bool in_files; /* its cache lies in files of kv_folder, which vanish with it, instead of in memory */
    nct_matcher *matcher; /* keeps the answer to a constraint, borrowed until the sequence ends; NULL: nothing does */
    /* Told of each token as it is chosen; false: it is the last one. Not the place to call the batcher. */
    bool (*take)(void *context, int32_t id);
    /* Told of the logits [n_vocab] that a token was chosen by, before it is taken; borrowed for the call. NULL: not told. */
    void (*seen)(void *context, const float *logits, int32_t id);
    /* Told of every choice of blocks that rows at position choices_from or behind it make, by several threads at once;
     * nothing is guessed then. NULL: not told. */
    nct_choice_fn *on_choice;
    int choices_from;
    /* Asked after each token that is not the last one: ids [n] that follow it without being chosen, as if they had been;
     * borrowed for the call. False: nothing follows, and the sequence ends. NULL: not asked. */
    bool (*follow)(void *context, const int32_t **ids, size_t *n);
    /* Told once, when the sequence has left the batcher: after its last token (err NULL), or on a failure that is its own:
     * NCT_E_CONTEXT where it is full, NCT_E_MEMORY, NCT_E_IO of files, NCT_E_ARGUMENT of sampling. Not after
     * nct_batcher_drop. */
    void (*ended)(void *context, const nct_error *err);
    void *context;
} nct_sequence;

nct_status nct_batcher_open(nct_engine *engine, const nct_batcher_options *options, nct_batcher **batcher, nct_error *err);
void nct_batcher_close(nct_batcher *batcher); /* NULL is fine; drops what is in it */

/** Takes a sequence in; *number names it until it ends. NCT_E_CONTEXT: the prompt does not fit. NCT_E_ARGUMENT: an id
 *  outside the vocabulary, no ids, a setting out of range, no room (nct_batcher_room), or files without a folder.
 *  NCT_E_IO: the folder cannot be used. */
nct_status nct_batcher_add(nct_batcher *batcher, const nct_sequence *sequence, int *number, nct_error *err);
void nct_batcher_drop(nct_batcher *batcher, int number);

/** One step. Does nothing where the batcher is empty. NCT_E_STOPPED: `stop` (may be NULL; polled between layers) was seen;
 *  the step left no trace. */
nct_status nct_batcher_step(nct_batcher *batcher, const volatile int *stop, nct_error *err);

int nct_batcher_room(const nct_batcher *batcher); /* sequences that can be added */
int nct_batcher_size(const nct_batcher *batcher); /* sequences in it */

/** Where a sequence is. */
typedef struct nct_sequence_state {
    int n_prompt, n_read; /* tokens of the prompt; of these, held */
    int n_copied;         /* of these, copied from what the batcher held, or taken from files */
    int n_chosen;
    int limit;            /* tokens it may hold */
    bool is_long;         /* it uses the long table */
    bool is_sparse;       /* rows of it chose blocks */
    int n_computed;       /* tokens of the prompt that were computed, .. */
    double read_s;        /* .. and how long that took, steps between that carried others only included */
    uint64_t n_rounds, n_guessed, n_accepted; /* steps that computed chosen tokens, tokens guessed in them, guesses that held */
} nct_sequence_state;
void nct_batcher_look(const nct_batcher *batcher, int number, nct_sequence_state *state);

typedef struct nct_batcher_report {
    uint64_t n_steps, n_read, n_copied, n_taken, n_fed; /* prompt tokens computed, copied, taken from files; chosen tokens computed */
    uint64_t n_guessed, n_accepted;            /* tokens guessed, guesses that held */
    uint64_t kv_bytes;                         /* caches in use, in memory */
} nct_batcher_report;
void nct_batcher_count(const nct_batcher *batcher, nct_batcher_report *report);

/** For benches. The first n tokens of the prompt of a sequence that was just added, fewer than it has, count as read: their
 *  keys and values are made up from `seed`. Nothing is shared with it or kept of it: the batcher must be one that keeps its
 *  sequences apart (NCT_E_ARGUMENT). */
nct_status nct_batcher_make_up(nct_batcher *batcher, int number, int n, uint64_t seed, nct_error *err);

/** How many of the first of ids [n] a sequence has, which may have ended. */
size_t nct_batcher_common(const nct_batcher *batcher, const int32_t *ids, size_t n);

/** Gives back what sequences that have ended held. */
void nct_batcher_shed(nct_batcher *batcher);

/** The most tokens of a sequence that will hold n_expected, and what a cache of n takes. */
int nct_batcher_limit(const nct_batcher *batcher, int n_expected);
uint64_t nct_batcher_cache_bytes(const nct_batcher *batcher, size_t n);

#endif
