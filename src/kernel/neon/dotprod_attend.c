/* Attention over a cache of bytes with SDOT and UDOT (Armv8.2 dotprod), beside neon's tiles for the other types. Keys, which
 * lie 128 above what they are, meet queries as signed bytes; weights, 0 .. 255, meet values moved up by 128, whose share is
 * taken off again: it is that of the weights' sum. */
#include <string.h>

#include "kernel/neon/tile.h"

enum { WIDE = 4, COLUMNS = WIDE * NCT_QUAD };

/* 16 columns of fours with the top bit of each code turned; the first n of them exist unless `whole`. */
NCT_INLINE void load_fours(const uint8_t *at, const bool whole, size_t n, uint8x16_t codes[WIDE]) {
    uint8_t some[COLUMNS * 4] = {0};
    if (!whole) {
        memcpy(some, at, n * 4);
        at = some;
    }
    NCT_UNROLL
    for (int j = 0; j < WIDE; j++)
        codes[j] = veorq_u8(vld1q_u8(at + 16 * j), vdupq_n_u8(0x80));
}

NCT_INLINE uint32x4_t four(const uint8_t *at) {
    uint32_t v;
    memcpy(&v, at, sizeof v);
    return vdupq_n_u32(v);
}

/* sum[v] = over n_fours, 16 columns of a block's fours times those at a[v]. Rows of a block are `stride` bytes apart. */
NCT_INLINE void products(const bool keys, const int size, const uint8_t *const a[NCT_TILE], const uint8_t *b,
                         size_t stride, size_t n_fours, const bool whole, size_t n_out, const nct_tile *t,
                         const uint8_t *next, size_t wanted, uint32x4_t sum[NCT_TILE][WIDE]) {
    NCT_UNROLL
    for (int v = 0; v < size; v++)
        NCT_UNROLL
    for (int j = 0; j < WIDE; j++)
        sum[v][j] = vdupq_n_u32(0);
    for (size_t i = 0; i < n_fours; i++, b += stride) {
        uint8x16_t codes[WIDE];
        next = nct_fetch(t, next, stride, wanted);
        load_fours(b, whole, n_out, codes);
        NCT_UNROLL
        for (int v = 0; v < size; v++) {
            const uint32x4_t own = four(a[v] + 4 * i);
            NCT_UNROLL
            for (int j = 0; j < WIDE; j++)
                sum[v][j] = keys ? vreinterpretq_u32_s32(vdotq_s32(vreinterpretq_s32_u32(sum[v][j]),
                                                                   vreinterpretq_s8_u8(codes[j]),
                                                                   vreinterpretq_s8_u32(own)))
                                 : vdotq_u32(sum[v][j], codes[j], vreinterpretq_u8_u32(own));
        }
    }
}

NCT_INLINE void scores_q8(const int size, const bool wide, const nct_tile *t, const void *k, size_t lanes,
                          size_t first, size_t n, size_t d, float *s, size_t s_stride) {
    const size_t n_fours = (d + 3) / 4, stride = lanes * 4, wanted = (wide ? NCT_STEP : n) * 4;
    const uint8_t *key = (const uint8_t *)k + first * 4, *from[NCT_TILE];
    const float *scale = (const float *)(const void *)((const uint8_t *)k + n_fours * stride) + first;
    float own[NCT_TILE];
    NCT_UNROLL
    for (int v = 0; v < size; v++) {
        memcpy(&own[v], t->q[v], sizeof own[v]);
        from[v] = t->q[v] + NCT_QUERY;
    }
    nct_fetch(t, t->next_k ? t->next_k + n_fours * stride : NULL, 0, wanted); /* scales */
    for (size_t j = 0; j < (wide ? NCT_STEP : 1); j += COLUMNS) {
        uint32x4_t sum[NCT_TILE][WIDE];
        const uint8_t *next = j == 0 ? t->next_k : NULL;
        if (wide || n == COLUMNS)
            products(true, size, from, key + j * 4, stride, n_fours, true, COLUMNS, t, next, wanted, sum);
        else
            products(true, size, from, key, stride, n_fours, false, n, t, next, wanted, sum);
        NCT_UNROLL
        for (size_t part = 0; part < WIDE; part++) {
            const size_t at = j + part * NCT_QUAD, left = n > at ? n - at : 0;
            const float32x4_t of_key = nct_load4(scale + at, left);
            NCT_UNROLL
            for (int v = 0; v < size; v++)
                nct_store4(s + (size_t)v * s_stride + at, left,
                           vmulq_f32(vcvtq_f32_s32(vreinterpretq_s32_u32(sum[v][part])),
                                     vmulq_n_f32(of_key, own[v])));
        }
    }
}

/* Weights times the values' scales, rounded to 0 .. 255, and their sum. Returns what one of these steps is worth. */
NCT_INLINE float round_weights(float p[NCT_STEP], const float *scale, uint8_t rounded[NCT_STEP],
                               uint32_t *total) {
    float32x4_t w[NCT_STEP / NCT_QUAD], top = vdupq_n_f32(0);
    NCT_UNROLL
    for (size_t i = 0; i < NCT_STEP / NCT_QUAD; i++) {
        w[i] = vmulq_f32(vld1q_f32(p + i * NCT_QUAD), vld1q_f32(scale + i * NCT_QUAD));
        top = vmaxnmq_f32(w[i], top);
    }
    const float most = vmaxvq_f32(top), inverse = most > 0 ? 255.0f / most : 0;
    uint32x4_t sum = vdupq_n_u32(0);
    NCT_UNROLL
    for (size_t i = 0; i < NCT_STEP / NCT_QUAD; i += 2) {
        const uint32x4_t a = vcvtnq_u32_f32(vmulq_n_f32(w[i], inverse)),
                         b = vcvtnq_u32_f32(vmulq_n_f32(w[i + 1], inverse));
        vst1_u8(rounded + i * NCT_QUAD, vmovn_u16(vcombine_u16(vmovn_u32(a), vmovn_u32(b))));
        sum = vaddq_u32(sum, vaddq_u32(a, b));
    }
    *total = vaddvq_u32(sum);
    return most * (1 / 255.0f);
}

NCT_INLINE void mix_q8(const int size, const nct_tile *t, const void *v, size_t d,
                       float s[NCT_TILE][NCT_STEP]) {
    const float *scale = (const float *)(const void *)((const uint8_t *)v + d * NCT_STEP);
    _Alignas(16) uint8_t rounded[NCT_TILE][NCT_STEP];
    const uint8_t *from[NCT_TILE];
    float gain[NCT_TILE];
    uint32_t total[NCT_TILE];
    nct_fetch(t, t->next_v ? t->next_v + d * NCT_STEP : NULL, 0, NCT_STEP * sizeof *scale);
    NCT_UNROLL
    for (int a = 0; a < size; a++) {
        nct_weigh(3, t, a, s[a], d);
        gain[a] = round_weights(s[a], scale, rounded[a], &total[a]);
        from[a] = rounded[a];
    }
    for (size_t i = 0; i < d; i += COLUMNS) {
        const uint8_t *value = (const uint8_t *)v + i * 4,
                      *next = i % 64 == 0 && t->next_v ? t->next_v + i * 4 : NULL;
        const size_t wanted = (d - i < 64 ? d - i : 64) * 4;
        uint32x4_t sum[NCT_TILE][WIDE];
        if (d - i >= COLUMNS)
            products(false, size, from, value, d * 4, NCT_STEP / 4, true, COLUMNS, t, next, wanted, sum);
        else
            products(false, size, from, value, d * 4, NCT_STEP / 4, false, d - i, t, next, wanted, sum);
        NCT_UNROLL
        for (int a = 0; a < size; a++)
            NCT_UNROLL
        for (int part = 0; part < WIDE; part++) {
            float *acc = t->acc[a] + i + part * NCT_QUAD;
            const int32x4_t x = vreinterpretq_s32_u32(vsubq_u32(sum[a][part], vdupq_n_u32(128 * total[a])));
            vst1q_f32(acc, vfmaq_n_f32(vld1q_f32(acc), vcvtq_f32_s32(x), gain[a]));
        }
    }
}

NCT_SCORES(wide_q8, true, scores_q8)
NCT_SCORES(narrow_q8, false, scores_q8)
NCT_MIX(mixed_q8, mix_q8)

static const nct_walk walk = {
    .n_vectors = NCT_TILE,
    .n_narrow = NCT_TILE,
    .merge = nct_neon_merge,
    .tiles = {&nct_neon_tiles[NCT_KV_F32], &nct_neon_tiles[NCT_KV_F16], &nct_neon_tiles[NCT_KV_BF16],
              &(const nct_tiles){NCT_SIX(wide_q8), NCT_SIX(narrow_q8), NCT_SIX(mixed_q8)}},
};

NCT_WALK_ENTRIES(walk)

void nct_dotprod_attend(nct_kernels *k) {
    k->query = nct_query_codes;
    k->attend = attend;
    k->dots = dots;
}
