/** The rungs of 64-bit Arm: neon (the base architecture), and dotprod and i8mm, which improve its integer
 *  products, those of attention over bytes too. Room by room, and what the rooms share. */
#ifndef NCT_KERNEL_NEON_NEON_H
#define NCT_KERNEL_NEON_NEON_H

#include "kernel/exp.h"
#include "kernel/kernel.h"

void nct_neon_fill(nct_kernels *k);
void nct_neon_codes(nct_kernels *k);
void nct_neon_matmul(nct_kernels *k);
void nct_neon_rows(nct_kernels *k);
void nct_neon_attend(nct_kernels *k);
void nct_neon_score(nct_kernels *k);
void nct_dotprod_attend(nct_kernels *k);

#ifdef __aarch64__ /* headers are compiled everywhere */
#include <arm_neon.h>

/* Kernels are written once with their tile's shape as parameters and inlined with constants. */
#define NCT_INLINE static inline __attribute__((always_inline))

/* In front of a loop over a tile's rows or vectors: sums stay in registers only where no index is left. */
#ifdef __clang__
#define NCT_UNROLL _Pragma("clang loop unroll(full)")
#else
#define NCT_UNROLL _Pragma("GCC unroll 16")
#endif

enum { NCT_QUAD = 4 }; /* floats of a vector */

/** The first n of 4 floats (all for n >= 4); the others read as 0 and are not written. */
NCT_INLINE float32x4_t nct_load4(const float *x, size_t n) {
    if (n >= NCT_QUAD)
        return vld1q_f32(x);
    float v[NCT_QUAD] = {0};
    for (size_t i = 0; i < n; i++)
        v[i] = x[i];
    return vld1q_f32(v);
}
NCT_INLINE void nct_store4(float *y, size_t n, float32x4_t v) {
    if (n >= NCT_QUAD) {
        vst1q_f32(y, v);
        return;
    }
    float some[NCT_QUAD];
    vst1q_f32(some, v);
    for (size_t i = 0; i < n; i++)
        y[i] = some[i];
}

/** exp(x) for x <= 80; see kernel/exp.h. */
NCT_INLINE float32x4_t nct_exp4(float32x4_t x) {
    int32x4_t n = vcvtnq_s32_f32(vmulq_f32(x, vdupq_n_f32(NCT_EXP_LOG2E)));
    float32x4_t nf = vcvtq_f32_s32(n);
    float32x4_t r = vfmsq_f32(x, nf, vdupq_n_f32(NCT_EXP_LN2_HIGH));
    r = vfmsq_f32(r, nf, vdupq_n_f32(NCT_EXP_LN2_LOW));
    float32x4_t q = vdupq_n_f32(NCT_EXP_Q4);
    q = vfmaq_f32(vdupq_n_f32(NCT_EXP_Q3), q, r);
    q = vfmaq_f32(vdupq_n_f32(NCT_EXP_Q2), q, r);
    q = vfmaq_f32(vdupq_n_f32(NCT_EXP_Q1), q, r);
    q = vfmaq_f32(vdupq_n_f32(NCT_EXP_Q0), q, r);
    float32x4_t p = vaddq_f32(vfmaq_f32(r, vmulq_f32(r, r), q), vdupq_n_f32(1.0f));
    int32x4_t bits = vaddq_s32(vreinterpretq_s32_f32(p), vshlq_n_s32(n, 23));
    uint32x4_t gone = vcltq_f32(x, vdupq_n_f32(NCT_EXP_FLOOR));
    return vreinterpretq_f32_s32(vbicq_s32(bits, vreinterpretq_s32_u32(gone)));
}

/** 2^x for x < 128, at least 2^-126, of degree 4 or 3; see kernel/exp.h. */
NCT_INLINE float32x4_t nct_power4(const int degree, float32x4_t x) {
    x = vmaxq_f32(x, vdupq_n_f32(-126)); /* a NaN comes through */
    const float32x4_t n = vrndmq_f32(x), r = vsubq_f32(x, n);
    float32x4_t p;
    if (degree == 3) {
        p = vfmaq_f32(vdupq_n_f32(NCT_POWER3_2), r, vdupq_n_f32(NCT_POWER3_3));
        p = vfmaq_f32(vdupq_n_f32(NCT_POWER3_1), r, p);
        p = vfmaq_f32(vdupq_n_f32(NCT_POWER3_0), r, p);
    } else {
        p = vfmaq_f32(vdupq_n_f32(NCT_POWER4_3), r, vdupq_n_f32(NCT_POWER4_4));
        p = vfmaq_f32(vdupq_n_f32(NCT_POWER4_2), r, p);
        p = vfmaq_f32(vdupq_n_f32(NCT_POWER4_1), r, p);
        p = vfmaq_f32(vdupq_n_f32(NCT_POWER4_0), r, p);
    }
    return vreinterpretq_f32_s32(vaddq_s32(vreinterpretq_s32_f32(p), vshlq_n_s32(vcvtq_s32_f32(n), 23)));
}

/** e^s against a reference m: shift = -m log2 e. */
NCT_INLINE float32x4_t nct_weight4(const int degree, float32x4_t s, float32x4_t shift) {
    return nct_power4(degree, vfmaq_f32(shift, s, vdupq_n_f32(NCT_EXP_LOG2E)));
}

#endif /* __aarch64__ */
#endif
