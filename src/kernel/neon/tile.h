/** What attention's tiles share on the rungs of 64-bit Arm: scores to weights. */
#ifndef NCT_KERNEL_NEON_TILE_H
#define NCT_KERNEL_NEON_TILE_H

#include <math.h>

#include "kernel/kv.h"
#include "kernel/neon/neon.h"
#include "kernel/walk.h"

/** Tiles by type, of use to rungs above that bring some of their own. */
extern const nct_tiles nct_neon_tiles[NCT_KV_TYPES];
nct_attend_merge_fn nct_neon_merge;

#ifdef __aarch64__

/* All bits of the lanes among 4 that the low bits name. */
NCT_INLINE uint32x4_t nct_named_lanes(uint64_t bits) {
    static const uint32_t lane[NCT_QUAD] = {1, 2, 4, 8};
    return vtstq_u32(vdupq_n_u32((uint32_t)bits & 15), vld1q_u32(lane));
}

NCT_INLINE void nct_scale_vector(float *x, float s, size_t n) {
    for (size_t i = 0; i < n; i += NCT_QUAD)
        vst1q_f32(x + i, vmulq_n_f32(vld1q_f32(x + i), s));
}

/* The reference of one vector's weights: the maximum so far, or, unless `strict`, an earlier one while no score
 * is more than eight above it. What was summed is rescaled when it changes. */
NCT_INLINE float nct_reference(const bool strict, const nct_tile *t, int v, const float s[NCT_STEP],
                               size_t d) {
    float32x4_t top = vdupq_n_f32(-INFINITY);
    NCT_UNROLL
    for (int i = 0; i < NCT_STEP / NCT_QUAD; i++)
        top = vmaxnmq_f32(top, vbslq_f32(nct_named_lanes(t->visible[v] >> (4 * i)),
                                         vld1q_f32(s + i * NCT_QUAD), vdupq_n_f32(-INFINITY)));
    float m = *t->m[v], next = vmaxvq_f32(top);
    if (next > (strict ? m : m + 8)) {
        float a = vgetq_lane_f32(nct_exp4(vdupq_n_f32(m - next)), 0);
        nct_scale_vector(t->l[v], a, NCT_PARTIAL);
        nct_scale_vector(t->acc[v], a, d);
        *t->m[v] = m = next;
    }
    return m;
}

/* Scores to weights, in place; lanes that are not visible become 0. degree: of nct_power4, or 0: the accurate exponential
 * against the true maximum. */
NCT_INLINE void nct_weigh(const int degree, const nct_tile *t, int v, float s[NCT_STEP], size_t d) {
    const float m = nct_reference(!degree, t, v, s, d);
    const float32x4_t shift = vdupq_n_f32(degree ? -m * NCT_EXP_LOG2E : m);
    float32x4_t sum[NCT_PARTIAL / NCT_QUAD];
    NCT_UNROLL
    for (int i = 0; i < NCT_PARTIAL / NCT_QUAD; i++)
        sum[i] = vld1q_f32(t->l[v] + i * NCT_QUAD);
    NCT_UNROLL
    for (int i = 0; i < NCT_STEP / NCT_QUAD; i++) {
        uint32x4_t seen = nct_named_lanes(t->visible[v] >> (4 * i));
        float32x4_t p = vld1q_f32(s + i * NCT_QUAD);
        p = degree ? nct_weight4(degree, p, shift) : nct_exp4(vsubq_f32(p, shift));
        p = vreinterpretq_f32_u32(vandq_u32(vreinterpretq_u32_f32(p), seen));
        vst1q_f32(s + i * NCT_QUAD, p);
        sum[i % 4] = vaddq_f32(sum[i % 4], p);
    }
    NCT_UNROLL
    for (int i = 0; i < NCT_PARTIAL / NCT_QUAD; i++)
        vst1q_f32(t->l[v] + i * NCT_QUAD, sum[i]);
}

#endif /* __aarch64__ */
#endif
