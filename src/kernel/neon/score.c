/* What becomes of scores of pooled keys (model-and-infllm-v2.md 3.3). */
#include <math.h>

#include "kernel/neon/neon.h"

/* The first n of 4 floats and -infinity in the others. */
static float32x4_t load_or_least(const float *s, size_t n) {
    static const uint32_t lane[NCT_QUAD] = {0, 1, 2, 3};
    uint32x4_t there = vcltq_u32(vld1q_u32(lane), vdupq_n_u32(n < NCT_QUAD ? (uint32_t)n : NCT_QUAD));
    return vbslq_f32(there, nct_load4(s, n), vdupq_n_f32(-INFINITY));
}

static float max(const float *s, size_t n) {
    float32x4_t top = vdupq_n_f32(-INFINITY);
    for (size_t j = 0; j < n; j += NCT_QUAD)
        top = vmaxnmq_f32(top, load_or_least(s + j, n - j));
    return vmaxvq_f32(top);
}

NCT_INLINE float sum_of(const float *s, size_t n, float m, const bool accurate) {
    const float32x4_t shift = vdupq_n_f32(accurate ? m : -m * NCT_EXP_LOG2E);
    float32x4_t sum = vdupq_n_f32(0);
    for (size_t j = 0; j < n; j += NCT_QUAD) {
        const float32x4_t x = load_or_least(s + j, n - j);
        sum = vaddq_f32(sum, accurate ? nct_exp4(vsubq_f32(x, shift)) : nct_weight4(4, x, shift));
    }
    return vaddvq_f32(sum);
}

static float exp_sum(const float *s, size_t n, float m, bool accurate) {
    return accurate ? sum_of(s, n, m, true) : sum_of(s, n, m, false);
}

NCT_INLINE void heads_of(const float *s, size_t s_stride, size_t n_heads, size_t n, const float *m,
                         const float *factor, const bool accurate, float *total) {
    const float32x4_t most = vdupq_n_f32(accurate ? 80.0f : 80.0f * NCT_EXP_LOG2E);
    for (size_t j = 0; j < n; j += NCT_QUAD) {
        float32x4_t sum = vdupq_n_f32(0);
        for (size_t h = 0; h < n_heads; h++) {
            const float32x4_t shift = vdupq_n_f32(accurate ? m[h] : -m[h] * NCT_EXP_LOG2E);
            float32x4_t x = nct_load4(s + h * s_stride + j, n - j);
            x = accurate ? nct_exp4(vminnmq_f32(vsubq_f32(x, shift), most))
                         : nct_power4(4, vminnmq_f32(vfmaq_f32(shift, x, vdupq_n_f32(NCT_EXP_LOG2E)), most));
            sum = vfmaq_n_f32(sum, x, factor[h]);
        }
        nct_store4(total + j, n - j, sum);
    }
}

static void exp_heads(const float *s, size_t s_stride, size_t n_heads, size_t n, const float *m,
                      const float *factor, bool accurate, float *total) {
    if (accurate)
        heads_of(s, s_stride, n_heads, n, m, factor, true, total);
    else
        heads_of(s, s_stride, n_heads, n, m, factor, false, total);
}

void nct_neon_score(nct_kernels *k) {
    k->max = max;
    k->exp_sum = exp_sum;
    k->exp_heads = exp_heads;
}
