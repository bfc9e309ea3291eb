/* What becomes of scores of pooled keys (model-and-infllm-v2.md 3.3). */
#include <math.h>

#include "kernel/avx512/tile.h"

static float max(const float *s, size_t n) {
    const __m512 least = _mm512_set1_ps(-INFINITY);
    __m512 top = least;
    for (size_t j = 0; j < n; j += NCT_ZMM)
        top = _mm512_max_ps(_mm512_mask_loadu_ps(least, nct_lanes16(n - j), s + j), top);
    return _mm512_reduce_max_ps(top);
}

NCT_INLINE float sum_of(const float *s, size_t n, float m, const bool accurate) {
    const __m512 shift = _mm512_set1_ps(accurate ? m : -m * NCT_EXP_LOG2E);
    __m512 sum[2] = {_mm512_setzero_ps(), _mm512_setzero_ps()};
    size_t j = 0;
    for (; j + 2 * NCT_ZMM <= n; j += 2 * NCT_ZMM)
        NCT_UNROLL
    for (int i = 0; i < 2; i++) {
        __m512 x = _mm512_loadu_ps(s + j + i * NCT_ZMM);
        sum[i] =
            _mm512_add_ps(sum[i], accurate ? nct_exp16(_mm512_sub_ps(x, shift)) : nct_weight16(4, x, shift));
    }
    for (; j < n; j += NCT_ZMM) {
        __mmask16 lanes = nct_lanes16(n - j);
        __m512 x = _mm512_maskz_loadu_ps(lanes, s + j);
        x = accurate ? nct_exp16(_mm512_sub_ps(x, shift)) : nct_weight16(4, x, shift);
        sum[0] = _mm512_mask_add_ps(sum[0], lanes, sum[0], x);
    }
    return nct_sum16(_mm512_add_ps(sum[0], sum[1]));
}

static float exp_sum(const float *s, size_t n, float m, bool accurate) {
    return accurate ? sum_of(s, n, m, true) : sum_of(s, n, m, false);
}

/* Two vectors of lanes at a time, as a head's chain of operations is long. */
NCT_INLINE void heads_of(const float *s, size_t s_stride, size_t n_heads, size_t n, const float *m,
                         const float *factor, const bool accurate, float *total) {
    const __m512 most = _mm512_set1_ps(accurate ? 80.0f : 80.0f * NCT_EXP_LOG2E);
    for (size_t j = 0; j < n; j += 2 * NCT_ZMM) {
        const size_t right = n - j > NCT_ZMM ? n - j - NCT_ZMM : 0;
        const __mmask16 lanes[2] = {nct_lanes16(n - j), nct_lanes16(right)};
        __m512 sum[2] = {_mm512_setzero_ps(), _mm512_setzero_ps()};
        for (size_t h = 0; h < n_heads; h++) {
            const __m512 shift = _mm512_set1_ps(accurate ? m[h] : -m[h] * NCT_EXP_LOG2E),
                         f = _mm512_set1_ps(factor[h]);
            NCT_UNROLL
            for (int i = 0; i < 2; i++) {
                __m512 x = _mm512_maskz_loadu_ps(lanes[i], s + h * s_stride + j + i * NCT_ZMM);
                x = accurate
                        ? nct_exp16(_mm512_min_ps(_mm512_sub_ps(x, shift), most))
                        : nct_power16(4, _mm512_min_ps(
                                             _mm512_fmadd_ps(x, _mm512_set1_ps(NCT_EXP_LOG2E), shift), most));
                sum[i] = _mm512_fmadd_ps(x, f, sum[i]);
            }
        }
        NCT_UNROLL
        for (int i = 0; i < 2; i++)
            _mm512_mask_storeu_ps(total + j + i * NCT_ZMM, lanes[i], sum[i]);
    }
}

static void exp_heads(const float *s, size_t s_stride, size_t n_heads, size_t n, const float *m,
                      const float *factor, bool accurate, float *total) {
    if (accurate)
        heads_of(s, s_stride, n_heads, n, m, factor, true, total);
    else
        heads_of(s, s_stride, n_heads, n, m, factor, false, total);
}

void nct_avx512_score(nct_kernels *k) {
    k->max = max;
    k->exp_sum = exp_sum;
    k->exp_heads = exp_heads;
}
