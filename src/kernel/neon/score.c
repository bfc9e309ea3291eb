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

static float exp_sum(const float *s, size_t n, float m, bool accurate) {
    (void)accurate;
    float32x4_t sum = vdupq_n_f32(0), shift = vdupq_n_f32(m);
    for (size_t j = 0; j < n; j += NCT_QUAD)
        sum = vaddq_f32(sum, nct_exp4(vsubq_f32(load_or_least(s + j, n - j), shift)));
    return vaddvq_f32(sum);
}

static void exp_heads(const float *s, size_t s_stride, size_t n_heads, size_t n, const float *m,
                      const float *factor, bool accurate, float *total) {
    (void)accurate;
    for (size_t j = 0; j < n; j += NCT_QUAD) {
        float32x4_t sum = vdupq_n_f32(0);
        for (size_t h = 0; h < n_heads; h++) {
            float32x4_t x = vsubq_f32(nct_load4(s + h * s_stride + j, n - j), vdupq_n_f32(m[h]));
            sum = vfmaq_n_f32(sum, nct_exp4(vminnmq_f32(x, vdupq_n_f32(80))), factor[h]);
        }
        nct_store4(total + j, n - j, sum);
    }
}

void nct_neon_score(nct_kernels *k) {
    k->max = max;
    k->exp_sum = exp_sum;
    k->exp_heads = exp_heads;
}
