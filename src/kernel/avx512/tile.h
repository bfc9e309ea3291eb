/** What attention's tiles share: up to six query vectors against a block of keys, then their weights against
 *  its values, in at most 24 accumulators. */
#ifndef NCT_KERNEL_AVX512_TILE_H
#define NCT_KERNEL_AVX512_TILE_H

#include <math.h>

#include "kernel/avx512/avx512.h"
#include "kernel/kv.h"
#include "kernel/walk.h"

enum { NCT_WIDE = 4 }; /* vectors of 16 keys or values at most */

/** Tiles by type, of use to rungs above that bring some of their own. */
extern const nct_tiles nct_avx512_tiles[NCT_KV_TYPES];
nct_attend_merge_fn nct_avx512_merge;

#ifdef __AVX512VNNI__

/** 2^x of degree 4 or 3; see kernel/exp.h. */
NCT_INLINE __m512 nct_power16(const int degree, __m512 x) {
    __m512 r = _mm512_reduce_ps(x, _MM_FROUND_TO_NEG_INF); /* x - floor(x) */
    __m512 p;
    if (degree == 3) {
        p = _mm512_fmadd_ps(r, _mm512_set1_ps(NCT_POWER3_3), _mm512_set1_ps(NCT_POWER3_2));
        p = _mm512_fmadd_ps(r, p, _mm512_set1_ps(NCT_POWER3_1));
        p = _mm512_fmadd_ps(r, p, _mm512_set1_ps(NCT_POWER3_0));
    } else {
        p = _mm512_fmadd_ps(r, _mm512_set1_ps(NCT_POWER4_4), _mm512_set1_ps(NCT_POWER4_3));
        p = _mm512_fmadd_ps(r, p, _mm512_set1_ps(NCT_POWER4_2));
        p = _mm512_fmadd_ps(r, p, _mm512_set1_ps(NCT_POWER4_1));
        p = _mm512_fmadd_ps(r, p, _mm512_set1_ps(NCT_POWER4_0));
    }
    return _mm512_scalef_ps(p, x); /* times 2^floor(x) */
}

/** e^s against a reference m: shift = -m log2 e. */
NCT_INLINE __m512 nct_weight16(const int degree, __m512 s, __m512 shift) {
    return nct_power16(degree, _mm512_fmadd_ps(s, _mm512_set1_ps(NCT_EXP_LOG2E), shift));
}

/** Scores to s, the first lanes of `some` where there are 16. */
NCT_INLINE void nct_store_scores(const int n, const int wide, __m512 sum[NCT_NARROW][NCT_WIDE], float *s,
                                 size_t s_stride, __mmask16 some) {
    NCT_UNROLL
    for (int v = 0; v < n; v++) {
        NCT_UNROLL
        for (int j = 0; j < wide; j++)
            if (wide == NCT_WIDE)
                _mm512_storeu_ps(s + (size_t)v * s_stride + j * NCT_ZMM, sum[v][j]);
            else
                _mm512_mask_storeu_ps(s + (size_t)v * s_stride, some, sum[v][j]);
    }
}

/** 16 * wide values of the vectors' running results, from value i on: to registers and back. */
NCT_INLINE void nct_load_acc(const int n, const int wide, const nct_tile *t, size_t i,
                             __m512 sum[NCT_TILE][NCT_WIDE]) {
    NCT_UNROLL
    for (int v = 0; v < n; v++) {
        NCT_UNROLL
        for (int j = 0; j < wide; j++)
            sum[v][j] = _mm512_load_ps(t->acc[v] + i + j * NCT_ZMM);
    }
}
NCT_INLINE void nct_store_acc(const int n, const int wide, const nct_tile *t, size_t i,
                              __m512 sum[NCT_TILE][NCT_WIDE]) {
    NCT_UNROLL
    for (int v = 0; v < n; v++) {
        NCT_UNROLL
        for (int j = 0; j < wide; j++)
            _mm512_store_ps(t->acc[v] + i + j * NCT_ZMM, sum[v][j]);
    }
}

NCT_INLINE void nct_scale_vector(float *x, float s, size_t n) {
    for (size_t i = 0; i < n; i += NCT_ZMM)
        _mm512_store_ps(x + i, _mm512_mul_ps(_mm512_load_ps(x + i), _mm512_set1_ps(s)));
}

/* How a segment's weights are taken against a reference that follows the maximum only when it falls eight
 * behind: no reduction across lanes, no rescaling, in all but the first steps of a segment. */
NCT_INLINE __m512 nct_reference(const nct_tile *t, const int v, const float s[NCT_STEP], size_t d) {
    const __m512 least = _mm512_set1_ps(-INFINITY);
    uint64_t visible = t->visible[v];
    __m512 top = _mm512_mask_loadu_ps(least, (__mmask16)visible, s);
    NCT_UNROLL
    for (int i = 1; i < NCT_WIDE; i++)
        top =
            _mm512_mask_max_ps(top, (__mmask16)(visible >> (16 * i)), top, _mm512_loadu_ps(s + i * NCT_ZMM));
    float m = *t->m[v];
    if (__builtin_expect(_mm512_cmp_ps_mask(top, _mm512_set1_ps(m + 8), _CMP_GT_OQ) != 0, 0)) {
        float next = _mm512_reduce_max_ps(top);
        float a = _mm512_cvtss_f32(nct_exp16(_mm512_set1_ps(m - next)));
        _mm512_storeu_ps(t->l[v], _mm512_mul_ps(_mm512_loadu_ps(t->l[v]), _mm512_set1_ps(a)));
        nct_scale_vector(t->acc[v], a, d);
        *t->m[v] = m = next;
    }
    return _mm512_set1_ps(-m * NCT_EXP_LOG2E);
}

/* The weights of one vector; lanes that are not visible get 0. */
NCT_INLINE void nct_weigh(const int degree, const nct_tile *t, const int v, const float s[NCT_STEP], size_t d,
                          __m512 p[NCT_WIDE]) {
    __m512 shift = nct_reference(t, v, s, d), sum = _mm512_loadu_ps(t->l[v]);
    uint64_t visible = t->visible[v];
    NCT_UNROLL
    for (int i = 0; i < NCT_WIDE; i++) {
        p[i] = nct_weight16(degree, _mm512_loadu_ps(s + i * NCT_ZMM), shift);
        p[i] = _mm512_maskz_mov_ps((__mmask16)(visible >> (16 * i)), p[i]);
        sum = _mm512_add_ps(sum, p[i]);
    }
    _mm512_storeu_ps(t->l[v], sum);
}

#endif /* __AVX512VNNI__ */
#endif
