/** How likely the tokens of an answer were, and what else was: logarithms of the probabilities that the model gives before
 *  temperature, penalties and cuts. */
#ifndef NCT_CLI_LOGPROBS_H
#define NCT_CLI_LOGPROBS_H

#include "cli/cli.h"

typedef struct nct_logprob {
    int32_t id;
    double value;
} nct_logprob;

typedef struct nct_logprobs {
    size_t n, n_top, chosen_capacity, top_capacity;
    nct_logprob *chosen; /* [n] tokens of the answer */
    nct_logprob
        *top; /* [n, n_top] the likeliest at each place, descending; the smaller id first among equals */
} nct_logprobs;

/** Adds a token that was chosen, or given, after logits [n_vocab]; NULL: nobody computed them. `logprobs` begins zeroed
 *  but for n_top, at most n_vocab. */
nct_status nct_logprobs_add(nct_logprobs *logprobs, const float *logits, size_t n_vocab, int32_t id,
                            nct_error *err);

/** Finds those of an answer by reading it once more as a prompt, whose rows have the same bits. ids [n]: the answer to the first n_prompt tokens that the session holds; it then holds all but the last of the answer.
 *  The caller closes *logprobs in any case. */
nct_status nct_logprobs_find(nct_session *session, const nct_model_info *info, size_t n_prompt,
                             const int32_t *ids, size_t n, size_t n_top, nct_logprobs *logprobs,
                             nct_error *err);
void nct_logprobs_close(nct_logprobs *logprobs);

/** `"logprobs":{"content":[{"token","logprob","bytes","top_logprobs":[...]}]}`, as OpenAI's. */
nct_status nct_logprobs_write_openai(const nct_engine *engine, const nct_logprobs *logprobs, nct_bytes *out,
                                     nct_error *err);

/** `"logprobs":[{"id","text","logprob","top":[...]}]` */
nct_status nct_logprobs_write_json(const nct_engine *engine, const nct_logprobs *logprobs, nct_bytes *out,
                                   nct_error *err);
/** A line a token on stderr. */
void nct_logprobs_print(const nct_engine *engine, const nct_logprobs *logprobs);

#endif
