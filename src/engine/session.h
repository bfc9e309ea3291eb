/** One timeline: feed, look, rewind. */
#ifndef NCT_ENGINE_SESSION_H
#define NCT_ENGINE_SESSION_H

#include "engine/engine.h"
#include "sample/sampler.h"
#include "spec/adapt.h"
#include "spec/drafter.h"
#include "spec/verify.h"
#include "store/store.h"

struct nct_session {
    nct_engine *engine;
    nct_attend_options attend;
    bool decide_by_prompt;
    nct_cache cache;
    nct_store *store; /* NULL: no files */
    bool keeps;       /* it takes pages of others or leaves some to them */
    bool mapped;      /* its own pages are files */
    nct_work work;
    int32_t *tokens;    /* [cache.length] */
    size_t tokens_capacity;
    float *logits;      /* several rows of [n_vocab]; the last token's is the first */
    bool has_logits;
    size_t chunk;
    size_t guess_width; /* children of a node, where not up to `adapt` */
    size_t n_guess;     /* tokens of a tree, at most; below 2 there are none */
    bool adaptive;      /* how many of them is up to `adapt` */
    nct_adapt adapt;
    double round_s;     /* of the last round, without what was done with its tokens */
    double draft_s, prompt_s;   /* since the last answer: the drafter reading, prompts going through */
    const int32_t *script;      /* [n_script] for benches: what is chosen whatever the model says, by position */
    size_t n_script;
    const nct_drafter *drafter; /* NULL: nobody guesses */
    void *draft;        /* its state, which has observed n_pairs pairs */
    size_t n_pairs;
    size_t row_floats;  /* of a row of a pair; 0: the drafter wants none */
    float *row;         /* of the last token held, whose pair waits for the next token */
    bool has_row;
    nct_sampler *sampler;
    nct_report report;
    nct_attend_times times;
    nct_choice_fn *on_choice; /* of the call at hand */
    void *choice_context;
};

/** Whether the drafter wants the final hidden state of every row. */
static inline bool nct_session_reads_rows(const nct_session *s) {
    return s->drafter && s->drafter->row == NCT_ROW_HIDDEN;
}

/** What options come to for an engine: the table, the most tokens, the rows of a prompt computed together, how rows
 *  attend. Options that are out of range or cannot be had are refused. */
typedef struct nct_session_terms {
    bool is_long;
    size_t limit, chunk;
    nct_sparse sparse;
} nct_session_terms;
nct_status nct_session_settle(const nct_engine *engine, const nct_session_options *options, nct_session_terms *terms,
                              nct_error *err);

/** A choice of blocks, as callers are told of it. */
nct_choice nct_choice_of(const nct_selected *selected);

/** What the options say of files of pages, kept as `keep` says; the identity is left to the caller. */
nct_store_options nct_session_files(const nct_session_options *options, nct_keep keep);

/** Makes room for n positions from `first` on. */
nct_status nct_session_make_room(nct_session *session, size_t first, size_t n, nct_error *err);

/** Room for the ids of n tokens. */
nct_status nct_session_grow(nct_session *session, size_t n, nct_error *err);

/** A choice of blocks as callers are told of it; borrows what `selected` borrows. */
nct_choice nct_choice_of(const nct_selected *selected);

/** Threads for a batch of n rows. */
void nct_session_use_threads(const nct_session *session, size_t n);
void nct_engine_use_threads(const nct_engine *engine, size_t n);

/** For benches: keys and values of n more tokens, whose positions are reserved and lie in one page, drawn from vectors. */
void nct_make_up_page(const nct_engine *engine, const nct_attend_options *attend, nct_work *work, nct_cache *cache,
                      size_t n, const float *vectors);
/** *vectors is freed with nct_free. */
nct_status nct_make_up_vectors(const nct_cache *cache, uint64_t seed, float **vectors, nct_error *err);

/** There are logits, and n_prompt is within what is held: else NCT_E_ARGUMENT. */
nct_status nct_session_can_sample(const nct_session *session, int n_prompt, nct_error *err);

/** Asks for huge pages for a cache that was just opened. AUTO: for what lies behind its first pages, as blocks of a long
 *  past are read here and there, and small pages each have to be looked up first; many short conversations take no more
 *  memory than they fill. */
void nct_advise_cache(const nct_cache *cache, nct_huge_pages huge);

/** Who guesses, by name or NULL, and room for what is guessed. prompt_rows: as of nct_session_options. */
nct_status nct_session_open_draft(nct_session *session, const char *name, bool prompt_rows, nct_error *err);
/** An answer begins after the tokens held: the drafter may prepare for it. */
nct_status nct_session_begin_draft(nct_session *session, nct_error *err);
/** Of it: room for the rows that session->drafter wants. */
nct_status nct_session_open_rows(nct_session *session, nct_error *err);
void nct_session_close_draft(nct_session *session);

/** Tells the drafter pairs up to n_pairs that it does not know yet; the token of the last one may be the root. */
nct_status nct_session_tell(nct_session *session, size_t n_pairs, nct_error *err);
/** Tells it of a pass: its rows, or of a tree those of path [n], are tokens first .. first + n - 1. Rows that
 *  were not passed over are put in the place of the first n. */
nct_status nct_session_tell_batch(nct_session *session, size_t first, const uint8_t *path, size_t n, nct_error *err);
/** The same of rows [n][row_floats] that another pass computed; in their order. */
nct_status nct_session_tell_rows(nct_session *session, const float *rows, size_t first, size_t n, nct_error *err);
/** After a rewind: computes the last token once more, so that the drafter need not forget what came before. */
nct_status nct_session_restore_row(nct_session *session, nct_error *err);
/** The drafter forgets pairs that hold tokens which are not in the cache. */
void nct_session_cut_draft(nct_session *session);

/** One round: feeds a tree of guesses, whose root is the token that was chosen after those held, chooses on along it as
 *  plain decoding would, and keeps the path that agrees; the last token chosen is not fed. Every token chosen is taken
 *  (nct_generate_options). The session then holds accepted->n tokens more and the logits of the last. Where the
 *  first choice fails, the root alone is fed. The tree must fit into the session and, beyond its root, into n_guess. */
nct_status nct_session_verify(nct_session *session, const nct_tree *tree, const nct_generate_options *options,
                              nct_accepted *accepted, nct_error *err);

/** Guesses behind the root, checks, and learns from it: nct_session_verify of what the drafter proposes, if anything. */
nct_status nct_session_round(nct_session *session, int32_t root, const nct_generate_options *options, nct_accepted *accepted,
                             nct_error *err);

#endif
