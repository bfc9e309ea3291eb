/* Attention: what the tiles of kernel/float_tiles.h are made of. */
#include <math.h>
#include <string.h>

#include "kernel/neon/tile.h"

enum { WIDE = 4 }; /* quads of a tile's columns */

/* ------------------------------------------------------------------ the product of both halves */

/* Four columns of row `part` of nested rows; the first n exist unless `whole`. */
NCT_INLINE float32x4_t columns4(const nct_form form, const uint8_t *at, size_t part, bool whole, size_t n) {
    uint32_t some[NCT_QUAD] = {0};
    if (!whole && n < NCT_QUAD) {
        memcpy(some, at, n * nct_form_bytes(form));
        at = (const uint8_t *)some;
    }
    if (form == NCT_HALVES)
        return vcvt_f32_f16(vreinterpret_f16_u8(vld1_u8(at)));
    const uint32x4_t v = vreinterpretq_u32_u8(vld1q_u8(at));
    if (form == NCT_FLOATS)
        return vreinterpretq_f32_u32(v);
    if (form == NCT_PAIRS)
        return vreinterpretq_f32_u32(part ? vandq_u32(v, vdupq_n_u32(0xffff0000u)) : vshlq_n_u32(v, 16));
    const int32x4_t left = vdupq_n_s32(24 - 8 * (int)part);
    const uint32x4_t top = vshlq_u32(v, left); /* the byte at the top */
    if (form == NCT_SIGNED)
        return vcvtq_f32_s32(vshrq_n_s32(vreinterpretq_s32_u32(top), 24));
    return vcvtq_f32_s32(vsubq_s32(vreinterpretq_s32_u32(vshrq_n_u32(top, 24)), vdupq_n_s32(128)));
}

/* Nothing is fetched ahead of its use. */
NCT_INLINE void product(const nct_form form, const int n_vectors, const float *const a[NCT_TILE],
                        const uint8_t *b, size_t stride, size_t n, bool more, float *const c[NCT_TILE],
                        const bool whole, size_t n_out, const nct_tile *t, const uint8_t *next, size_t wanted) {
    (void)t, (void)next, (void)wanted;
    const size_t nested = nct_form_nested(form);
    float32x4_t sum[NCT_TILE][WIDE];
    size_t left[WIDE];
    NCT_UNROLL
    for (size_t j = 0; j < WIDE; j++)
        left[j] = n_out > NCT_QUAD * j ? n_out - NCT_QUAD * j : 0;
    NCT_UNROLL
    for (int v = 0; v < n_vectors; v++)
        NCT_UNROLL
    for (size_t j = 0; j < WIDE; j++)
        sum[v][j] = !more   ? vdupq_n_f32(0)
                    : whole ? vld1q_f32(c[v] + NCT_QUAD * j)
                            : nct_load4(c[v] + NCT_QUAD * j, left[j]);
    for (size_t i = 0; i < n; i += nested, b += stride)
        NCT_UNROLL
    for (size_t part = 0; part < nested; part++) {
        float32x4_t bj[WIDE];
        NCT_UNROLL
        for (size_t j = 0; j < WIDE; j++)
            bj[j] = columns4(form, b + NCT_QUAD * nct_form_bytes(form) * j, part, whole, left[j]);
        NCT_UNROLL
        for (int v = 0; v < n_vectors; v++) {
            float32x4_t s = vld1q_dup_f32(a[v] + i + part);
            NCT_UNROLL
            for (size_t j = 0; j < WIDE; j++)
                sum[v][j] = vfmaq_f32(sum[v][j], s, bj[j]);
        }
    }
    NCT_UNROLL
    for (int v = 0; v < n_vectors; v++)
        NCT_UNROLL
    for (size_t j = 0; j < WIDE; j++)
        if (whole)
            vst1q_f32(c[v] + NCT_QUAD * j, sum[v][j]);
        else
            nct_store4(c[v] + NCT_QUAD * j, left[j], sum[v][j]);
}

/* Weights times the values' scales, rounded to 0 .. 255. Returns what one of these steps is worth. */
NCT_INLINE float round_weights(float p[NCT_STEP], const float *scale) {
    float32x4_t top = vdupq_n_f32(0);
    for (size_t j = 0; j < NCT_STEP; j += NCT_QUAD) {
        float32x4_t w = vmulq_f32(vld1q_f32(p + j), vld1q_f32(scale + j));
        vst1q_f32(p + j, w);
        top = vmaxnmq_f32(w, top);
    }
    float most = vmaxvq_f32(top), inverse = most > 0 ? 255.0f / most : 0;
    for (size_t j = 0; j < NCT_STEP; j += NCT_QUAD)
        vst1q_f32(p + j, vrndnq_f32(vmulq_n_f32(vld1q_f32(p + j), inverse)));
    return most * (1 / 255.0f);
}

NCT_INLINE void add_scaled16(float *acc, const float *sum, float gain) {
    NCT_UNROLL
    for (size_t j = 0; j < WIDE * NCT_QUAD; j += NCT_QUAD)
        vst1q_f32(acc + j, vfmaq_n_f32(vld1q_f32(acc + j), vld1q_f32(sum + j), gain));
}

/* ------------------------------------------------------------------ merging */

static float exponential(float x) { return vgetq_lane_f32(nct_exp4(vdupq_n_f32(x)), 0); }

static void blend(float *total, float a, const float *part, float b, size_t d) {
    for (size_t i = 0; i < d; i += NCT_QUAD) {
        float32x4_t v = vmulq_n_f32(nct_load4(total + i, d - i), a);
        nct_store4(total + i, d - i, vaddq_f32(v, vmulq_n_f32(nct_load4(part + i, d - i), b)));
    }
}

void nct_neon_merge(float *m_total, float *l_total, float *acc_total, const float *m, const float *l,
                    const float *acc, size_t n, size_t d) {
    nct_merge_with(exponential, blend, m_total, l_total, acc_total, m, l, acc, n, d);
}

#define NCT_FLOAT_TILES nct_neon_tiles
#define NCT_FLOAT_MERGE nct_neon_merge
#include "kernel/float_tiles.h"

void nct_neon_attend(nct_kernels *k) { fill_attend(k); }
