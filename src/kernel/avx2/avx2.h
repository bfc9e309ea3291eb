/** The AVX2 rung (AVX2, FMA, F16C), room by room, and what its rooms share. */
#ifndef NCT_KERNEL_AVX2_AVX2_H
#define NCT_KERNEL_AVX2_AVX2_H

#include "kernel/exp.h"
#include "kernel/kernel.h"

void nct_avx2_fill(nct_kernels *k);
void nct_avx2_codes(nct_kernels *k);
void nct_avx2_matmul(nct_kernels *k);
void nct_avx2_rows(nct_kernels *k);
void nct_avx2_attend(nct_kernels *k);
void nct_avx2_score(nct_kernels *k);

#ifdef __AVX2__ /* what follows is for files compiled with the rung's flags */
#include <immintrin.h>

/* Kernels are written once with their tile's shape as parameters and inlined with constants. */
#define NCT_INLINE static inline __attribute__((always_inline))

/* In front of a loop over a tile's rows or vectors: sums stay in registers only where no index is left. */
#ifdef __clang__
#define NCT_UNROLL _Pragma("clang loop unroll(full)")
#else
#define NCT_UNROLL _Pragma("GCC unroll 8")
#endif

enum { NCT_YMM = 8 }; /* floats of a vector */

/** Lanes 0 .. n-1 of 8 (all for n >= 8), for masked loads and stores. */
NCT_INLINE __m256i nct_lanes8(size_t n) {
    const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(n < NCT_YMM ? (int)n : NCT_YMM), lane);
}

/** Sum and maximum of the lanes, in one fixed order. */
NCT_INLINE float nct_sum8(__m256 v) {
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_shuffle_ps(s, s, 1)));
}
NCT_INLINE float nct_max8(__m256 v) {
    __m128 s = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    s = _mm_max_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_max_ss(s, _mm_shuffle_ps(s, s, 1)));
}

/** exp(x) for x <= 80; see kernel/exp.h. */
NCT_INLINE __m256 nct_exp8(__m256 x) {
    __m256i n = _mm256_cvtps_epi32(_mm256_mul_ps(x, _mm256_set1_ps(NCT_EXP_LOG2E)));
    __m256 nf = _mm256_cvtepi32_ps(n);
    __m256 r = _mm256_fnmadd_ps(nf, _mm256_set1_ps(NCT_EXP_LN2_HIGH), x);
    r = _mm256_fnmadd_ps(nf, _mm256_set1_ps(NCT_EXP_LN2_LOW), r);
    __m256 q = _mm256_set1_ps(NCT_EXP_Q4);
    q = _mm256_fmadd_ps(q, r, _mm256_set1_ps(NCT_EXP_Q3));
    q = _mm256_fmadd_ps(q, r, _mm256_set1_ps(NCT_EXP_Q2));
    q = _mm256_fmadd_ps(q, r, _mm256_set1_ps(NCT_EXP_Q1));
    q = _mm256_fmadd_ps(q, r, _mm256_set1_ps(NCT_EXP_Q0));
    __m256 p = _mm256_add_ps(_mm256_fmadd_ps(_mm256_mul_ps(r, r), q, r), _mm256_set1_ps(1.0f));
    p = _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(p), _mm256_slli_epi32(n, 23)));
    return _mm256_andnot_ps(_mm256_cmp_ps(x, _mm256_set1_ps(NCT_EXP_FLOOR), _CMP_LT_OQ), p);
}

/** 2^x for x < 128, at least 2^-126, of degree 4 or 3; see kernel/exp.h. */
NCT_INLINE __m256 nct_power8(const int degree, __m256 x) {
    x = _mm256_max_ps(_mm256_set1_ps(-126), x); /* a NaN comes through */
    const __m256 n = _mm256_floor_ps(x), r = _mm256_sub_ps(x, n);
    __m256 p;
    if (degree == 3) {
        p = _mm256_fmadd_ps(r, _mm256_set1_ps(NCT_POWER3_3), _mm256_set1_ps(NCT_POWER3_2));
        p = _mm256_fmadd_ps(r, p, _mm256_set1_ps(NCT_POWER3_1));
        p = _mm256_fmadd_ps(r, p, _mm256_set1_ps(NCT_POWER3_0));
    } else {
        p = _mm256_fmadd_ps(r, _mm256_set1_ps(NCT_POWER4_4), _mm256_set1_ps(NCT_POWER4_3));
        p = _mm256_fmadd_ps(r, p, _mm256_set1_ps(NCT_POWER4_2));
        p = _mm256_fmadd_ps(r, p, _mm256_set1_ps(NCT_POWER4_1));
        p = _mm256_fmadd_ps(r, p, _mm256_set1_ps(NCT_POWER4_0));
    }
    return _mm256_castsi256_ps(
        _mm256_add_epi32(_mm256_castps_si256(p), _mm256_slli_epi32(_mm256_cvtps_epi32(n), 23)));
}

/** e^s against a reference m: shift = -m log2 e. */
NCT_INLINE __m256 nct_weight8(const int degree, __m256 s, __m256 shift) {
    return nct_power8(degree, _mm256_fmadd_ps(s, _mm256_set1_ps(NCT_EXP_LOG2E), shift));
}

#endif /* __AVX2__ */
#endif
