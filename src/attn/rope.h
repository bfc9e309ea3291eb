/** LongRoPE tables, per position (model-and-infllm-v2.md 2.5; arXiv:2402.13753). */
#ifndef NCT_ATTN_ROPE_H
#define NCT_ATTN_ROPE_H

#include "base/mem.h"

typedef struct nct_rope {
    size_t half;       /* head_dim / 2 */
    float *inv_freq;   /* [half] 1 / theta^(2i/d) */
    float *inv_factor; /* [half] 1 / extension factor */
    float scale;       /* attention factor on cos and sin */
} nct_rope;

/** factor [head_dim / 2] or NULL for plain RoPE. max_positions and original_max give the attention factor
 *  sqrt(1 + ln(max / original) / ln(original)); without a factor list it is 1. */
nct_status nct_rope_open(size_t head_dim, double theta, const double *factor, double max_positions, double original_max,
                         nct_rope *rope, nct_error *err);
void nct_rope_close(nct_rope *rope);

/** cos and sin [half] of one position, in float32 and in the published order of operations:
 *  angle = (position * (1 / factor)) * inv_freq. */
void nct_rope_at(const nct_rope *rope, size_t position, float *cos, float *sin);

#endif
