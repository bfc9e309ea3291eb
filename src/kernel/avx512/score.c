/* What becomes of scores of pooled keys (model-and-infllm-v2.md 3.3). */
#include <math.h>

#include "kernel/avx512/tile.h"
#include "kernel/ref/ref.h"

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

/* ------------------------------------------------------------------ the best blocks */

/* Sixteen blocks of four windows and the one before. */
NCT_INLINE __m512 blocks_of_four(const float *total) {
    const __m512i even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30),
                  odd = _mm512_add_epi32(even, _mm512_set1_epi32(1)), fourth = _mm512_slli_epi32(even, 1);
    __m512 own[2], before[2];
    NCT_UNROLL
    for (int i = 0; i < 2; i++) {
        const float *at = total + 2 * i * NCT_ZMM;
        __m512 a = _mm512_loadu_ps(at), b = _mm512_loadu_ps(at + NCT_ZMM);
        own[i] = _mm512_max_ps(_mm512_permutex2var_ps(a, even, b), _mm512_permutex2var_ps(a, odd, b));
        before[i] =
            _mm512_permutex2var_ps(_mm512_loadu_ps(at - 1), fourth, _mm512_loadu_ps(at + NCT_ZMM - 1));
    }
    return _mm512_max_ps(_mm512_max_ps(_mm512_permutex2var_ps(own[0], even, own[1]),
                                       _mm512_permutex2var_ps(own[0], odd, own[1])),
                         _mm512_shuffle_f32x4(before[0], before[1], 0x44));
}

static void window_max(const float *total, size_t s, size_t n, float *score) {
    size_t b = 0;
    for (; s == 4 && b + NCT_ZMM <= n; b += NCT_ZMM)
        _mm512_storeu_ps(score + b, blocks_of_four(total + 4 * b));
    nct_ref_window_max(total + s * b, s, n - b, score + b);
}

static size_t count_above(const float *s, size_t n, float cut) {
    const __m512 least = _mm512_set1_ps(cut);
    size_t count = 0;
    for (size_t j = 0; j < n; j += NCT_ZMM) {
        __mmask16 lanes = nct_lanes16(n - j);
        count += (size_t)__builtin_popcount(
            _mm512_mask_cmp_ps_mask(lanes, _mm512_maskz_loadu_ps(lanes, s + j), least, _CMP_GT_OQ));
    }
    return count;
}

static size_t find_above(const float *s, size_t n, float cut, uint32_t *index) {
    const __m512 least = _mm512_set1_ps(cut);
    __m512i at = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    size_t found = 0;
    for (size_t j = 0; j < n; j += NCT_ZMM) {
        __mmask16 lanes = nct_lanes16(n - j);
        __mmask16 above =
            _mm512_mask_cmp_ps_mask(lanes, _mm512_maskz_loadu_ps(lanes, s + j), least, _CMP_GT_OQ);
        size_t more = (size_t)__builtin_popcount(above);
        if (more) /* in a register first: compressing to memory is slow on some processors */
            _mm512_mask_storeu_epi32(index + found, nct_lanes16(more),
                                     _mm512_maskz_compress_epi32(above, at));
        found += more;
        at = _mm512_add_epi32(at, _mm512_set1_epi32(NCT_ZMM));
    }
    return found;
}

void nct_avx512_score(nct_kernels *k) {
    k->max = max;
    k->exp_sum = exp_sum;
    k->exp_heads = exp_heads;
    k->window_max = window_max;
    k->count_above = count_above;
    k->find_above = find_above;
}
