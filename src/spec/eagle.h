/** The draft head of MiniCPM4 (speculative-decoding.md 2; EAGLE-2, arXiv:2406.16858, with the frequency-ranked head of
 *  FR-Spec, arXiv:2502.14856): one hidden state of the target in, the target's embedding and head.
 *
 *      x    = fc [ norm1(scale_emb * E[t]) ; norm2(h) ] + bias
 *      x   += s_d * attention(norm_in(x)),   x += s_d * ffn(norm_post(x)),   s_d = scale_depth / sqrt(mup_denominator),
 *                                                                            or / sqrt(layers) where that is not stated
 *      score = head[list] (s_l * x),         s_l = dim_model_base / hidden
 */
#ifndef NCT_SPEC_EAGLE_H
#define NCT_SPEC_EAGLE_H

#include "spec/draft.h"

extern const nct_draft_form nct_draft_eagle;

/** The branches' multiplier of a head that states scale_depth and mup_denominator (NaN: not stated), for a target.
 *  Some engines count one layer more: scale_depth / sqrt(layers + 1). */
double nct_eagle_residual_scale(const nct_draft_config *stated, const nct_config *target, bool one_more);

#endif
