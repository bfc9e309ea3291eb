/** The draft head of MiniCPM4.1 (speculative-decoding.md 3; EAGLE-3, arXiv:2503.01840): three hidden states of the
 *  target in, a norm, a head and a vocabulary of its own.
 *
 *      x    = fc [ u_lo ; u_mid ; u_hi ]  after the target's row, the output before it after a guess
 *      x   += attention([ norm_in(E[t]) ; norm_hidden(x) ]),   x += ffn(norm_post(x))
 *      score = head norm(x)
 */
#ifndef NCT_SPEC_EAGLE3_H
#define NCT_SPEC_EAGLE3_H

#include "spec/draft.h"

extern const nct_draft_form nct_draft_eagle3;

#endif
