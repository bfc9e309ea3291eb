/** Small floating-point formats. Portable and exact; kernels have their own vector forms. */
#ifndef NCT_BASE_NUM_H
#define NCT_BASE_NUM_H

#include <stdint.h>
#include <string.h>

static inline float nct_f32_from_bits(uint32_t u) {
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}
static inline uint32_t nct_bits_from_f32(float f) {
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    return u;
}

static inline float nct_bf16_to_f32(uint16_t h) { return nct_f32_from_bits((uint32_t)h << 16); }

/** Round to nearest even; a NaN stays a NaN. */
static inline uint16_t nct_f32_to_bf16(float f) {
    uint32_t u = nct_bits_from_f32(f);
    if ((u & 0x7fffffffu) > 0x7f800000u)
        return (uint16_t)(u >> 16 | 0x40);
    return (uint16_t)((u + 0x7fffu + (u >> 16 & 1)) >> 16);
}

/** Exact for all values, subnormals included. */
static inline float nct_f16_to_f32(uint16_t h) {
    uint32_t sign = (uint32_t)(h & 0x8000u) << 16, exponent = h >> 10 & 31, fraction = h & 0x3ffu;
    if (exponent == 31)
        return nct_f32_from_bits(sign | 0x7f800000u | fraction << 13);
    if (exponent)
        return nct_f32_from_bits(sign | (exponent + 112) << 23 | fraction << 13);
    float magnitude = (float)fraction * 0x1p-24f; /* zero and subnormals */
    return nct_f32_from_bits(sign | nct_bits_from_f32(magnitude));
}

/** Round to nearest even, overflow to infinity. */
static inline uint16_t nct_f32_to_f16(float f) {
    uint32_t u = nct_bits_from_f32(f), sign = u >> 16 & 0x8000u, a = u & 0x7fffffffu;
    if (a > 0x7f800000u)
        return (uint16_t)(sign | 0x7e00u);
    if (a >= 0x477ff000u) /* 65520 and above round to infinity */
        return (uint16_t)(sign | 0x7c00u);
    if (a < 0x38800000u) { /* below 2^-14: let float addition do the rounding at 2^-24 */
        float m = nct_f32_from_bits(a) + 0.5f;
        return (uint16_t)(sign | (nct_bits_from_f32(m) - 0x3f000000u));
    }
    a += 0xfffu + (a >> 13 & 1);
    return (uint16_t)(sign | (a - 0x38000000u) >> 13);
}

#endif
