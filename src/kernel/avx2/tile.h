/** What attention's tiles share on rungs of 256 bits: scores to weights. */
#ifndef NCT_KERNEL_AVX2_TILE_H
#define NCT_KERNEL_AVX2_TILE_H

#include <math.h>

#include "kernel/avx2/avx2.h"
#include "kernel/kv.h"
#include "kernel/walk.h"

/** Tiles by type, of use to rungs above that bring some of their own. */
extern const nct_tiles nct_avx2_tiles[NCT_KV_TYPES];
nct_attend_merge_fn nct_avx2_merge;

#ifdef __AVX2__

/* All bits of the lanes among 8 that a byte names. */
NCT_INLINE __m256 nct_named_lanes(uint64_t byte) {
    const __m256i bit = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
    return _mm256_castsi256_ps(
        _mm256_cmpeq_epi32(_mm256_and_si256(_mm256_set1_epi32((int)(byte & 255)), bit), bit));
}

NCT_INLINE void nct_scale_vector(float *x, float s, size_t n) {
    for (size_t i = 0; i < n; i += NCT_YMM)
        _mm256_store_ps(x + i, _mm256_mul_ps(_mm256_load_ps(x + i), _mm256_set1_ps(s)));
}

/* The reference of one vector's weights: the maximum so far, or, unless `strict`, an earlier one while no score
 * is more than eight above it. What was summed is rescaled when it changes. */
NCT_INLINE float nct_reference(const bool strict, const nct_tile *t, int v, const float s[NCT_STEP],
                               size_t d) {
    __m256 top = _mm256_set1_ps(-INFINITY);
    if (t->visible[v] == UINT64_MAX) {
        NCT_UNROLL
        for (int i = 0; i < NCT_STEP / NCT_YMM; i++)
            top = _mm256_max_ps(_mm256_load_ps(s + i * NCT_YMM), top);
    } else {
        const __m256 least = _mm256_set1_ps(-INFINITY);
        NCT_UNROLL
        for (int i = 0; i < NCT_STEP / NCT_YMM; i++) {
            __m256 seen = nct_named_lanes(t->visible[v] >> (8 * i));
            top = _mm256_max_ps(_mm256_blendv_ps(least, _mm256_load_ps(s + i * NCT_YMM), seen), top);
        }
    }
    float m = *t->m[v], limit = strict ? m : m + 8;
    if (_mm256_movemask_ps(_mm256_cmp_ps(top, _mm256_set1_ps(limit), _CMP_GT_OQ))) {
        float next = nct_max8(top), a = _mm256_cvtss_f32(nct_exp8(_mm256_set1_ps(m - next)));
        nct_scale_vector(t->l[v], a, NCT_PARTIAL);
        nct_scale_vector(t->acc[v], a, d);
        *t->m[v] = m = next;
    }
    return m;
}

/* Scores to weights, in place; lanes that are not visible become 0. degree: of nct_power8, or 0: the accurate exponential
 * against the true maximum. */
NCT_INLINE void nct_weigh(const int degree, const nct_tile *t, int v, float s[NCT_STEP], size_t d) {
    const float m = nct_reference(!degree, t, v, s, d);
    __m256 shift = _mm256_set1_ps(degree ? -m * NCT_EXP_LOG2E : m),
           sum[2] = {_mm256_load_ps(t->l[v]), _mm256_load_ps(t->l[v] + NCT_YMM)};
    NCT_UNROLL
    for (int i = 0; i < NCT_STEP / NCT_YMM; i++) {
        __m256 p = _mm256_load_ps(s + i * NCT_YMM);
        p = degree ? nct_weight8(degree, p, shift) : nct_exp8(_mm256_sub_ps(p, shift));
        if (t->visible[v] != UINT64_MAX)
            p = _mm256_and_ps(p, nct_named_lanes(t->visible[v] >> (8 * i)));
        _mm256_store_ps(s + i * NCT_YMM, p);
        sum[i % 2] = _mm256_add_ps(sum[i % 2], p);
    }
    _mm256_store_ps(t->l[v], sum[0]);
    _mm256_store_ps(t->l[v] + NCT_YMM, sum[1]);
}

#endif /* __AVX2__ */
#endif
