/** A timeline of a batcher that has nobody beside it: rounds of guessing and checking, as those of a session. */
#ifndef NCT_ENGINE_ALONE_H
#define NCT_ENGINE_ALONE_H

#include "engine/session.h"

typedef struct nct_alone nct_alone;

/** Who guesses, and how much, as `options` say; *alone is NULL where nobody does. */
nct_status nct_alone_open(nct_engine *engine, const nct_session_options *options, nct_alone **alone,
                          nct_error *err);
void nct_alone_close(nct_alone *alone); /* NULL is fine */

/** What is lent for a call: the cache holds the first of tokens [n_tokens]. */
typedef struct nct_timeline {
    uint64_t which; /* another number is another timeline */
    nct_cache *cache;
    int32_t *tokens;
    size_t n_tokens, capacity;
    const nct_rope *rope;
} nct_timeline;

/** Rows that the drafter reads along with, of every pass that a timeline is alone in; what it does not see it guesses
 *  without. */
nct_draft_row nct_alone_reads(const nct_alone *alone);
/** The timeline has come to hold n tokens more in such a pass, whose rows stand in work->x or work->taps from row 0 on, and
 *  which took so long. */
void nct_alone_tell(nct_alone *alone, const nct_timeline *timeline, const nct_work *work, size_t n,
                    double seconds);

/** Tokens that a round may add at most, beyond its root. */
size_t nct_alone_most(const nct_alone *alone);

/** One round, where the cache holds all tokens but the last, which was chosen: feeds it and guesses behind it. Every token
 *  chosen is taken as `options` say; *over: the last one was. Tokens and cache are those that plain steps give, and as
 *  consistent after a failure. */
nct_status nct_alone_round(nct_alone *alone, nct_timeline *timeline, const nct_generate_options *options,
                           bool *over, nct_error *err);

/** Of all rounds. */
void nct_alone_count(const nct_alone *alone, uint64_t *n_guessed, uint64_t *n_accepted);

#endif
