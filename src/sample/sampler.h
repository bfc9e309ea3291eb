/** Choosing a token: a row of logits and the tokens before it become one id.
 *
 *  The order is: mask (of a constraint), logit bias, repetition penalty, presence and frequency penalty, temperature, top-k,
 *  top-p, min-p, draw. Each of the last three keeps a leading part of the candidates sorted by descending
 *  logit, equal logits by ascending id, and at least one:
 *
 *    top-k   the first k
 *    top-p   the shortest part that holds a mass of at least p of what top-k left
 *    min-p   those with at least min_p times the probability of the first
 *
 *  The draw is the inverse of the cumulative distribution over what is left, in that order, at the uniform
 *  number of (seed, sample, position) from base/rng.h, where position is that of the token to be chosen.
 *  So a choice is a function of its arguments: whoever asks about the same row, plain decoding or a guess
 *  being checked, gets the same token. Temperature 0 takes the largest logit, the lowest id among equals.
 */
#ifndef NCT_SAMPLE_SAMPLER_H
#define NCT_SAMPLE_SAMPLER_H

#include "base/status.h"

/** Scratch for rows of one vocabulary size. Not for several threads at once. */
typedef struct nct_sampler nct_sampler;

nct_status nct_sampler_open(size_t n_vocab, nct_sampler **sampler, nct_error *err);
void nct_sampler_close(nct_sampler *sampler); /* NULL is fine */

/** NCT_E_ARGUMENT naming the first setting that is out of range: temperature, penalties and biases must be
 *  numbers, temperature >= 0, top_k >= 0, 0 < top_p, 0 <= min_p <= 1, repeat_penalty > 0, repeat_last_n >= 0,
 *  bias ids below n_vocab. A bias of minus infinity bans a token. */
nct_status nct_sampling_check(const nct_sampling *sampling, size_t n_vocab, nct_error *err);

/** Chooses the token that follows history[0 .. n_history).
 *  logits [n_vocab], not changed. history: all tokens before this one, each below n_vocab; the first n_prompt
 *  of them are prompt. The repetition penalty looks at the set of all of them (or of the last
 *  repeat_last_n) and divides positive logits and multiplies negative ones, as Hugging Face does (Keskar et
 *  al., arXiv:1909.05858); presence and frequency count the tokens after the prompt.
 *  Does not allocate. NCT_E_ARGUMENT for settings out of range or a logit that is NaN or +infinity, or
 *  if every token is banned. */
nct_status nct_sampler_choose(nct_sampler *sampler, const nct_sampling *sampling, const float *logits,
                              const int32_t *history, size_t n_history, size_t n_prompt, uint32_t sample,
                              int32_t *id, nct_error *err);

/** The same among tokens whose bit is set in allowed [n_vocab / 64, rounded up]; NULL: among all. What is left out is
 *  left out before anything else, so that top-k, top-p and min-p are those of the tokens that are allowed. */
nct_status nct_sampler_choose_among(nct_sampler *sampler, const nct_sampling *sampling, const uint64_t *allowed,
                                    const float *logits, const int32_t *history, size_t n_history, size_t n_prompt,
                                    uint32_t sample, int32_t *id, nct_error *err);

#endif
