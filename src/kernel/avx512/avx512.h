/** The AVX-512 rung (F, BW, DQ, VL and VNNI), room by room, and what its rooms share. */
#ifndef NCT_KERNEL_AVX512_AVX512_H
#define NCT_KERNEL_AVX512_AVX512_H

#include "kernel/exp.h"
#include "kernel/kernel.h"

void nct_avx512_fill(nct_kernels *k);
void nct_avx512bf16_fill(nct_kernels *k); /* on top */
void nct_avx512_codes(nct_kernels *k);
void nct_avx512_matmul(nct_kernels *k);
void nct_avx512_rows(nct_kernels *k);
void nct_avx512_attend(nct_kernels *k);
void nct_avx512_score(nct_kernels *k);
/* for the rung that has tiles for many rows, and these for few */
nct_matmul_codes_fn nct_avx512_matmul_codes2, nct_avx512_matmul_codes4, nct_avx512_matmul_codes8;

#ifdef __AVX512VNNI__ /* what follows is for files compiled with the rung's flags */
#include <immintrin.h>
#include <string.h>

/* Kernels are written once with their tile's shape as parameters and inlined with constants. */
#define NCT_INLINE static inline __attribute__((always_inline))

/* In front of a loop over a tile's rows or vectors: sums stay in registers only where no index is left. */
#ifdef __clang__
#define NCT_UNROLL _Pragma("clang loop unroll(full)")
#else
#define NCT_UNROLL _Pragma("GCC unroll 8")
#endif

enum { NCT_ZMM = 16 }; /* floats of a vector */

/** Lanes 0 .. n-1 of 16 (all for n >= 16). */
NCT_INLINE __mmask16 nct_lanes16(size_t n) { return n >= NCT_ZMM ? 0xffff : (__mmask16)((1u << n) - 1); }

/** Sum of the lanes, in one fixed order. */
NCT_INLINE float nct_sum16(__m512 v) {
    __m256 h = _mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_shuffle_ps(s, s, 1)));
}

/** sum + the dot product of four unsigned and four signed bytes, lane by lane. Spelt in assembly because
 *  GCC 12 moves the accumulators of the intrinsic through the stack. */
NCT_INLINE __m512i nct_dot(__m512i sum, __m512i codes, __m512i q) {
    __asm__("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(codes), "v"(q));
    return sum;
}

/** The four bytes at `at`, in every lane. */
NCT_INLINE __m512i nct_word(const void *at) {
    int32_t v;
    memcpy(&v, at, sizeof v);
    return _mm512_set1_epi32(v);
}

/** exp(x) for x <= 80; see kernel/exp.h. */
NCT_INLINE __m512 nct_exp16(__m512 x) {
    __m512 n = _mm512_roundscale_ps(_mm512_mul_ps(x, _mm512_set1_ps(NCT_EXP_LOG2E)), _MM_FROUND_TO_NEAREST_INT);
    __m512 r = _mm512_fnmadd_ps(n, _mm512_set1_ps(NCT_EXP_LN2_HIGH), x);
    r = _mm512_fnmadd_ps(n, _mm512_set1_ps(NCT_EXP_LN2_LOW), r);
    __m512 q = _mm512_set1_ps(NCT_EXP_Q4);
    q = _mm512_fmadd_ps(q, r, _mm512_set1_ps(NCT_EXP_Q3));
    q = _mm512_fmadd_ps(q, r, _mm512_set1_ps(NCT_EXP_Q2));
    q = _mm512_fmadd_ps(q, r, _mm512_set1_ps(NCT_EXP_Q1));
    q = _mm512_fmadd_ps(q, r, _mm512_set1_ps(NCT_EXP_Q0));
    __m512 p = _mm512_add_ps(_mm512_fmadd_ps(_mm512_mul_ps(r, r), q, r), _mm512_set1_ps(1.0f));
    /* not "less than", so that a NaN comes through */
    __mmask16 alive = _mm512_cmp_ps_mask(x, _mm512_set1_ps(NCT_EXP_FLOOR), _CMP_NLT_UQ);
    return _mm512_maskz_scalef_ps(alive, p, n);
}

#endif /* __AVX512VNNI__ */
#endif
