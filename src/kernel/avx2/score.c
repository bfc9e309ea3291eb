/* What becomes of scores of pooled keys (model-and-infllm-v2.md 3.3). */
#include <math.h>

#include "kernel/avx2/avx2.h"

static float max(const float *s, size_t n) {
    const __m256 least = _mm256_set1_ps(-INFINITY);
    __m256 top[2] = {least, least};
    size_t j = 0;
    for (; j + 2 * NCT_YMM <= n; j += 2 * NCT_YMM)
        NCT_UNROLL
    for (int i = 0; i < 2; i++)
        top[i] = _mm256_max_ps(_mm256_loadu_ps(s + j + i * NCT_YMM), top[i]);
    for (; j < n; j += NCT_YMM) {
        __m256i lanes = nct_lanes8(n - j);
        __m256 v = _mm256_blendv_ps(least, _mm256_maskload_ps(s + j, lanes), _mm256_castsi256_ps(lanes));
        top[0] = _mm256_max_ps(v, top[0]);
    }
    return nct_max8(_mm256_max_ps(top[0], top[1]));
}

NCT_INLINE float sum_of(const float *s, size_t n, float m, const bool accurate) {
    const __m256 shift = _mm256_set1_ps(accurate ? m : -m * NCT_EXP_LOG2E);
    __m256 sum[2] = {_mm256_setzero_ps(), _mm256_setzero_ps()};
    size_t j = 0;
    for (; j + 2 * NCT_YMM <= n; j += 2 * NCT_YMM)
        NCT_UNROLL
    for (int i = 0; i < 2; i++) {
        __m256 x = _mm256_loadu_ps(s + j + i * NCT_YMM);
        sum[i] =
            _mm256_add_ps(sum[i], accurate ? nct_exp8(_mm256_sub_ps(x, shift)) : nct_weight8(4, x, shift));
    }
    for (; j < n; j += NCT_YMM) {
        __m256i lanes = nct_lanes8(n - j);
        __m256 x = _mm256_maskload_ps(s + j, lanes);
        x = accurate ? nct_exp8(_mm256_sub_ps(x, shift)) : nct_weight8(4, x, shift);
        sum[0] = _mm256_add_ps(sum[0], _mm256_and_ps(x, _mm256_castsi256_ps(lanes)));
    }
    return nct_sum8(_mm256_add_ps(sum[0], sum[1]));
}

static float exp_sum(const float *s, size_t n, float m, bool accurate) {
    return accurate ? sum_of(s, n, m, true) : sum_of(s, n, m, false);
}

NCT_INLINE void heads_of(const float *s, size_t s_stride, size_t n_heads, size_t n, const float *m,
                         const float *factor, const bool accurate, float *total) {
    const __m256 most = _mm256_set1_ps(accurate ? 80.0f : 80.0f * NCT_EXP_LOG2E);
    for (size_t j = 0; j < n; j += NCT_YMM) {
        const bool whole = n - j >= NCT_YMM;
        const __m256i lanes = nct_lanes8(n - j);
        __m256 sum = _mm256_setzero_ps();
        for (size_t h = 0; h < n_heads; h++) {
            const float *at = s + h * s_stride + j;
            const __m256 shift = _mm256_set1_ps(accurate ? m[h] : -m[h] * NCT_EXP_LOG2E);
            __m256 x = whole ? _mm256_loadu_ps(at) : _mm256_maskload_ps(at, lanes);
            x = accurate ? nct_exp8(_mm256_min_ps(_mm256_sub_ps(x, shift), most))
                         : nct_power8(4, _mm256_min_ps(
                                             _mm256_fmadd_ps(x, _mm256_set1_ps(NCT_EXP_LOG2E), shift), most));
            sum = _mm256_fmadd_ps(x, _mm256_set1_ps(factor[h]), sum);
        }
        if (whole)
            _mm256_storeu_ps(total + j, sum);
        else
            _mm256_maskstore_ps(total + j, lanes, sum);
    }
}

static void exp_heads(const float *s, size_t s_stride, size_t n_heads, size_t n, const float *m,
                      const float *factor, bool accurate, float *total) {
    if (accurate)
        heads_of(s, s_stride, n_heads, n, m, factor, true, total);
    else
        heads_of(s, s_stride, n_heads, n, m, factor, false, total);
}

void nct_avx2_score(nct_kernels *k) {
    k->max = max;
    k->exp_sum = exp_sum;
    k->exp_heads = exp_heads;
}
