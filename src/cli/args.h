/** The command line: one table of options feeds parsing, environment variables, --help, hints on unknown
 *  flags, and whatever else must list them. To add an option: a field here and a row in args.c; to add a
 *  command: a bit here, a row in main.c, and the bit in the rows of the options it takes.
 */
#ifndef NCT_CLI_ARGS_H
#define NCT_CLI_ARGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ------------------------------------------------------------------ values */

/** What a field holds while nobody has set it. Texts are NULL, reals NaN, lists empty, flags false. */
#define NCT_UNSET INT64_MIN

/** A repeatable option's texts, in the order given; they belong to argv or the environment. */
typedef struct nct_list {
    const char **item;
    size_t n, capacity;
} nct_list;

typedef enum nct_format { NCT_FORMAT_TEXT, NCT_FORMAT_JSON, NCT_FORMAT_JSONL, NCT_FORMAT_EVENTS } nct_format;
typedef enum nct_when { NCT_AUTO, NCT_ALWAYS, NCT_NEVER } nct_when;
typedef enum nct_progress {
    NCT_PROGRESS_AUTO,
    NCT_PROGRESS_BAR,
    NCT_PROGRESS_PLAIN,
    NCT_PROGRESS_JSON,
    NCT_PROGRESS_NONE,
} nct_progress;

/** Every option's value. The comments of the table in args.c are the manual. Choices hold the index of the
 *  word chosen, or NCT_UNSET. */
typedef struct nct_args {
    const char *model, *isa, *numa;
    int64_t threads, threads_batch, ctx;
    int64_t sparse;           /* nct_sparse_mode */
    int64_t rope;             /* nct_rope_mode */
    int64_t kv, keys, values; /* nct_kv - 1 */
    const char *kv_dir;       /* "auto": files where memory does not suffice */
    int64_t memory;           /* bytes */
    int64_t cache;            /* 0 auto, 1 off, 2 ro */
    bool all;                 /* cache rm */
    const char *spec;         /* auto, off or a number; bench: also on, or on,off */
    int64_t drafter;          /* 0 auto, 1 eagle, 2 ngram, 3 model, 4 off */
    const char *draft, *freq; /* a head's directory or a small model, a head's list of tokens */
    bool prompt_rows;
    bool force_threads, made_up;
    nct_list knobs; /* key=value */

    const char *prompt, *system, *assistant, *ids, *tools;
    nct_list files;
    bool recursive, raw, parse_special, allow_empty, no_stdin;
    int64_t order;    /* 0 content first, 1 prompt first */
    int64_t overflow; /* nct_overflow */

    int64_t max_tokens;
    bool ignore_eos, fail_on_length;
    double timeout; /* seconds */
    nct_list stops, biases;
    const char *choice, *schema, *grammar; /* a list, JSON or @FILE, a file */
    bool json_mode;
    double temperature, top_p, min_p, repeat_penalty, presence_penalty, frequency_penalty;
    int64_t top_k, repeat_last_n, seed; /* seed -1: draw one */
    int64_t think;                      /* nct_think */
    int64_t think_budget;               /* tokens */
    bool show_thinking;

    const char *output;
    int64_t format;       /* nct_format */
    int64_t error_format; /* 0 text, 1 json */
    int64_t color;        /* nct_when */
    int64_t progress;     /* nct_progress */
    bool stats, sources, dry_run, quiet, help;
    int64_t verbose; /* 0, 1, 2 */
    const char *log_file, *cpus;

    bool script, no_history;             /* chat */
    const char *session;                 /* run, chat */
    bool go_on;                          /* --continue */
    const char *template;                /* run: -T */
    int64_t samples, logprobs;
    int64_t extract; /* 0 code */
    double max_time; /* seconds */
    int64_t style, strategy, chunk, overlap; /* sum */
    const char *sum_length, *sum_lang, *focus;
    bool plan, each, together;
    bool chat, bos, count, skip_special; /* tokenize, detokenize */
    int64_t prefill, tokens;             /* eval */
    const char *logits;
    bool selected;
    double max_kl, max_error;
    nct_list outputs;                                                     /* eval lines, eval needle */
    const char *needle_lengths, *needle_depths, *haystack, *sparse_modes; /* lists; a file; "on,off", of bench too */
    int64_t needles, seeds, limit;
    int64_t lang; /* nct_needle_lang */
    double min_percent;

    bool verify; /* info */

    int64_t quant, quant_head, quant_embedding; /* convert: nct_quant */
    int64_t method;                             /* 0 rtn, 1 gptq */
    int64_t group;                              /* a choice: 32, 64, 128 */
    const char *calibration;
    int64_t calibration_tokens;
    bool act_order;

    const char *bench_prompt, *bench_gen, *bench_depth, *bench_threads; /* bench: lists of numbers */
    const char *bench_kv;                                               /* bench, eval ppl: a list of types */
    nct_list bench_pairs, bench_outputs;
    const char *corpus, *baseline, *tolerance;
    int64_t reps, warmup;
    int64_t bench_format; /* 0 md, 1 csv, 2 json, 3 jsonl */
    const char *replay, *accept, *trees; /* bench spec: a file, what comes true of it, fixed choices */

    const char *field;              /* freq, filter: of JSON lines */
    int64_t list_size;              /* freq */
    const char *list;               /* freq: to measure */
    const char *classifier, *label; /* filter */
    double min_score;
    bool score;
    int64_t preprocess; /* 0 none, 1 ultrafineweb */
    const char *tokenizer;

    const char *parallel; /* batch, sum: auto or a number; bench, bench batch: a list of them */
    const char *files_from, *shard;
    bool lines, null_separated, resume, overwrite, retry_failed, ordered, fail_fast, keep;
    int64_t max_errors, item_limit, sample;
    int64_t share; /* 0 auto, 1 off */
    bool man;            /* help */
    bool show_origin;    /* config */
    const char *profile; /* of the configuration */
    bool trust_project;
    bool yes, print_commands; /* pull */
    const char *from;

    nct_list words;  /* what is no option, the command's own words left out */
    nct_list noops;  /* flags that were accepted and do nothing, as typed */
    uint8_t *origin; /* [number of options] nct_origin */
} nct_args;

/* ------------------------------------------------------------------ the tables */

/** Commands as bits, so that an option's row can name those that take it. */
enum {
    NCT_CMD_RUN = 1 << 0,
    NCT_CMD_CHAT = 1 << 1,
    NCT_CMD_INFO = 1 << 2,
    NCT_CMD_TOKENIZE = 1 << 3,
    NCT_CMD_DETOKENIZE = 1 << 4,
    NCT_CMD_EVAL_PPL = 1 << 5,
    NCT_CMD_EVAL_LOGITS = 1 << 6,
    NCT_CMD_HELP = 1 << 7,
    NCT_CMD_VERSION = 1 << 8,
    NCT_CMD_BENCH = 1 << 9,
    NCT_CMD_DOCTOR = 1 << 10,
    NCT_CMD_CONVERT = 1 << 11,
    NCT_CMD_BENCH_MEM = 1 << 12,
    NCT_CMD_BENCH_THREADS = 1 << 13,
    NCT_CMD_EVAL_DRIFT = 1 << 14,
    NCT_CMD_EVAL_LINES = 1 << 15,
    NCT_CMD_EVAL_NEEDLE = 1 << 16,
    NCT_CMD_CACHE_STAT = 1 << 17,
    NCT_CMD_CACHE_LIST = 1 << 18,
    NCT_CMD_CACHE_PRUNE = 1 << 19,
    NCT_CMD_CACHE_RM = 1 << 20,
    NCT_CMD_CACHE_WARM = 1 << 21,
    NCT_CMD_BENCH_DEPTH = 1 << 22,
    NCT_CMD_SUM = 1 << 23,
    NCT_CMD_SESSION = 1 << 24, /* all of them */
    NCT_CMD_FREQ = 1 << 25,
    NCT_CMD_FILTER = 1 << 26,
    NCT_CMD_BENCH_SPEC = 1 << 27,
    NCT_CMD_BATCH = 1 << 29,
    NCT_CMD_BENCH_BATCH = 1 << 30,
};
/** Bits past the 31st do not fit an enum; those of commands without a model stand there. */
#define NCT_CMD_COMPLETION    (UINT64_C(1) << 40)
#define NCT_CMD_CONFIG        (UINT64_C(1) << 41)
#define NCT_CMD_PLAN          (UINT64_C(1) << 42)
#define NCT_CMD_PULL          (UINT64_C(1) << 43)
#define NCT_CMD_EVAL_SELFCHECK (UINT64_C(1) << 44)
#define NCT_CMD_ANY           (~UINT64_C(0))

struct nct_cli;

/** A subcommand. The name may be two words ("eval ppl"); a row for the first of them alone follows those. */
typedef struct nct_command {
    const char *name;
    uint64_t bit;
    const char *synopsis;             /* what follows the flags on the usage line; NULL: not listed */
    const char *summary;              /* one line, for the list */
    const char *manual;               /* paragraphs and examples, for its --help */
    int (*main)(struct nct_cli *cli); /* returns an nct_exit */
} nct_command;

typedef enum nct_kind {
    NCT_KIND_FLAG,    /* bool */
    NCT_KIND_TEXT,    /* const char *, not empty unless the option is a prompt's */
    NCT_KIND_LIST,    /* nct_list; may be repeated */
    NCT_KIND_COUNT,   /* int64_t in [low, high]; takes k, m, g as 1024, 1024^2, 1024^3, and "auto" as unset */
    NCT_KIND_REAL,    /* double in [low, high] */
    NCT_KIND_TIME,    /* double, seconds: 90, 90s, 1.5m, 2h, 500ms, 1h30m */
    NCT_KIND_CHOICE,  /* int64_t, index into `words` */
    NCT_KIND_LEVEL,   /* int64_t, one more each time */
    NCT_KIND_PRESET,  /* `words` is another option and its value: "format=json" */
    NCT_KIND_NOOP,    /* accepted for the fingers' sake; `words` says why nothing happens */
    NCT_KIND_REFUSED, /* exit 2 with `words`: a flag that means different things elsewhere */
} nct_kind;

typedef struct nct_option {
    const char *name; /* --name; NULL: only short spellings */
    nct_kind kind;
    uint64_t commands;    /* bits */
    const char *section;  /* heading in --help */
    size_t offset;        /* of the field in nct_args; NCT_NO_FIELD: none */
    const char *help;     /* one line; NULL: not listed */
    const char *shorts;   /* spellings with one dash, space-separated, or NULL */
    const char *aliases;  /* further spellings with two dashes, space-separated, or NULL */
    const char *value;    /* placeholder in --help, NULL for flags */
    const char *standard; /* what holds when it is not given, for --help, or NULL */
    const char *words;    /* see nct_kind; of a TEXT, anything: it may be empty */
    double low, high;
} nct_option;

/** All of them; in options.c. */
enum { NCT_OPTIONS_MAX = 256 };
#define NCT_NO_FIELD SIZE_MAX
extern const nct_option nct_option_table[];
extern const size_t nct_n_options;
const nct_command *nct_commands(size_t *n); /* in main.c */

/** Where a value came from. */
typedef enum nct_origin {
    NCT_FROM_NOWHERE,
    NCT_FROM_ENVIRONMENT,
    NCT_FROM_FLAG,
    NCT_FROM_SET,
    NCT_FROM_PROFILE,
    NCT_FROM_PROJECT,
    NCT_FROM_USER,
} nct_origin;

/** The option whose field this is; NULL if none. */
const nct_option *nct_option_of(const nct_args *args, const void *field);
nct_origin nct_args_origin(const nct_args *args, const void *field);

/** Name of the environment variable of an option, in buf. */
void nct_option_variable(const nct_option *option, char *buf, size_t n_buf);

/* ------------------------------------------------------------------ parsing */

/** Parses into cli->args and cli->command (NULL where none was named). Complaints are printed; returns an
 *  nct_exit. The environment fills what no flag sets. */
int nct_args_parse(struct nct_cli *cli, int argc, char **argv);
void nct_args_close(nct_args *args);

/** Sets one option from a text, as a flag would. Returns NULL, or what is wrong with the text in a buffer
 *  that belongs to `complaint` (at least 256 bytes). */
const char *nct_option_set(nct_args *args, const nct_option *option, const char *text, nct_origin origin,
                           char complaint[256]);

/** What nct_option_set would say to the text, without setting anything. */
const char *nct_option_check(const nct_option *option, const char *text, char complaint[256]);

/** The option of this name (without dashes, any spelling) that the command takes; NULL if none. */
const nct_option *nct_option_find(uint64_t command, const char *name);

/** The candidate most like `word`, or NULL if none is close. */
const char *nct_nearest(const char *word, const char *const *candidates, size_t n);

/** Appends a borrowed text. False if memory is refused. */
bool nct_list_add(nct_list *list, const char *text);

/** Parses a whole number with an optional k, m or g (1024, 1024^2, 1024^3): false if it is none, is no
 *  integer, or is outside [low, high]. */
bool nct_parse_count(const char *text, double low, double high, int64_t *value);
/** A finite number, all of the text. */
bool nct_parse_real(const char *text, double *value);

#endif
