/** A timeline of a batcher that has nobody beside it: rounds of guessing and checking, as those of a session. */
#ifndef NCT_ENGINE_ALONE_H
#define NCT_ENGINE_ALONE_H

#include "engine/session.h"

typedef struct nct_alone nct_alone;

/** Who guesses, and how much, as `options` say; *alone is NULL where nobody does. NCT_E_ARGUMENT: a drafter that looks at
 *  the rows of a prompt, which are gone before anybody is alone. */
nct_status nct_alone_open(nct_engine *engine, const nct_session_options *options, nct_alone **alone,
                          nct_error *err);
void nct_alone_close(nct_alone *alone); /* NULL is fine */

/** What is lent for a round: the cache holds the first n_tokens - 1 of tokens, the last of which was chosen. */
typedef struct nct_timeline {
    uint64_t which; /* another number is another timeline */
    nct_cache *cache;
    int32_t *tokens;
    size_t n_tokens, capacity;
    const nct_rope *rope;
} nct_timeline;

/** Tokens that a round may add at most, beyond its root. */
size_t nct_alone_most(const nct_alone *alone);

/** One round: feeds the last token and guesses behind it. Every token chosen is taken as `options` say; *over: the last one
 *  was. Tokens and cache are those that plain steps give, and as consistent after a failure. */
nct_status nct_alone_round(nct_alone *alone, nct_timeline *timeline, const nct_generate_options *options,
                           bool *over, nct_error *err);

/** Of all rounds. */
void nct_alone_count(const nct_alone *alone, uint64_t *n_guessed, uint64_t *n_accepted);

#endif
