/** Attention's tiles for rungs that turn keys and values into floats as they load them, 16 columns at a time.
 *  Integers of Q8 are exact as floats: 255 * 127 * 64 and 127 * 127 * d stay below 2^24.
 *
 *  A rung defines, static and inlined, in its own vectors:
 *      product        c[v][0 .. 16) = start[v] + sum over i < n, ascending, of a[v][i] * b[i][0 .. 16), start being 0
 *                     or, with `more`, c itself; the first n_out columns exist, all 16 if `whole`. stride: bytes from
 *                     one set of nested rows to the next. `next`, unless NULL: as many rows to be fetched meanwhile,
 *                     `wanted` bytes of each, of which the tile fetches its part
 *      nct_weigh      scores to weights, in place, 0 where not visible; updates m, l and, where the reference moves, acc.
 *                     degree: of a power of two, or 0: the accurate exponential against the true maximum
 *      round_weights  weights times the values' scales to integers 0 .. 255; what one of these steps is worth
 *      add_scaled16   acc[i] = fma(sum[i], gain, acc[i]) for 16 values
 *  and then includes this file after defining NCT_FLOAT_TILES as the name of its table of tiles and NCT_FLOAT_MERGE as that
 *  of its nct_attend_merge_fn. It gets `fill_attend`. A rung to which integer products are
 *  cheaper brings, in place of the third and the fourth, scores_q8 and mix_q8 as below and ready_queries, a nct_query_fn
 *  that they understand, and defines NCT_INTEGER_TILES.
 */
#ifndef NCT_KERNEL_FLOAT_TILES_H
#define NCT_KERNEL_FLOAT_TILES_H

#include "kernel/kv.h"
#include "kernel/walk.h"

#ifdef NCT_FLOAT_TILES

enum { NCT_COLUMNS = 16 };

/* ------------------------------------------------------------------ scores */

NCT_INLINE void scores(const nct_form form, const int size, const bool wide, const nct_tile *t, const void *k,
                       size_t lanes, size_t first, size_t n, size_t d, float *s, size_t s_stride) {
    const float *from[NCT_TILE];
    float *to[NCT_TILE];
    const size_t column = nct_form_bytes(form), nested = nct_form_nested(form);
    const size_t stride = lanes * column, rows = (d + nested - 1) / nested;
    const uint8_t *key = (const uint8_t *)k + first * column;
    NCT_UNROLL
    for (int v = 0; v < size; v++)
        from[v] = (const float *)(const void *)(t->q[v] + NCT_QUERY);
    for (size_t j = 0; j < (wide ? NCT_STEP : 1); j += NCT_COLUMNS) {
        NCT_UNROLL
        for (int v = 0; v < size; v++)
            to[v] = s + (size_t)v * s_stride + j;
        const uint8_t *next = j == 0 ? t->next_k : NULL;
        if (wide || n == NCT_COLUMNS)
            product(form, size, from, key + j * column, stride, d, false, to, true, NCT_COLUMNS, t, next,
                    (wide ? NCT_STEP : NCT_COLUMNS) * column);
        else
            product(form, size, from, key, stride, d, false, to, false, n, t, next, n * column);
    }
    if (form != NCT_UNSIGNED)
        return;
    const float *scale = (const float *)(const void *)((const uint8_t *)k + rows * stride) + first;
    for (int v = 0; v < size; v++) {
        float own;
        memcpy(&own, t->q[v], sizeof own);
        for (size_t j = 0; j < n; j++)
            s[(size_t)v * s_stride + j] *= own * scale[j];
    }
}
#define scores_f32(...)  scores(NCT_FLOATS, __VA_ARGS__)
#define scores_f16(...)  scores(NCT_HALVES, __VA_ARGS__)
#define scores_bf16(...) scores(NCT_PAIRS, __VA_ARGS__)
#ifndef NCT_INTEGER_TILES
#define scores_q8(...) scores(NCT_UNSIGNED, __VA_ARGS__)
#endif

NCT_SCORES(wide_f32, true, scores_f32)
NCT_SCORES(wide_f16, true, scores_f16)
NCT_SCORES(wide_bf16, true, scores_bf16)
NCT_SCORES(wide_q8, true, scores_q8)
NCT_SCORES(narrow_f32, false, scores_f32)
NCT_SCORES(narrow_f16, false, scores_f16)
NCT_SCORES(narrow_bf16, false, scores_bf16)
NCT_SCORES(narrow_q8, false, scores_q8)

/* ------------------------------------------------------------------ values */

/* The product with values i .. i + 15 of each of 64 positions, to what is or may be added to acc. */
NCT_INLINE void value_product(const nct_form form, const int size, const float *const p[NCT_TILE],
                              const nct_tile *t, const void *v, size_t d, size_t i, bool more,
                              float *const to[NCT_TILE]) {
    const size_t column = nct_form_bytes(form), wanted = (d - i < 64 ? d - i : 64) * column;
    const uint8_t *value = (const uint8_t *)v + i * column;
    const uint8_t *next = i % 64 == 0 && t->next_v ? t->next_v + i * column : NULL;
    if (d - i >= NCT_COLUMNS)
        product(form, size, p, value, d * column, NCT_STEP, more, to, true, NCT_COLUMNS, t, next, wanted);
    else
        product(form, size, p, value, d * column, NCT_STEP, more, to, false, d - i, t, next, wanted);
}

NCT_INLINE void mix(const nct_form form, const int size, const nct_tile *t, const void *v, size_t d,
                    float s[NCT_TILE][NCT_STEP]) {
    const float *p[NCT_TILE];
    float *to[NCT_TILE];
    NCT_UNROLL
    for (int a = 0; a < size; a++) {
        nct_weigh(form == NCT_FLOATS ? 0 : 4, t, a, s[a], d);
        p[a] = s[a];
    }
    for (size_t i = 0; i < d; i += NCT_COLUMNS) {
        NCT_UNROLL
        for (int a = 0; a < size; a++)
            to[a] = t->acc[a] + i;
        value_product(form, size, p, t, v, d, i, true, to);
    }
}
#define mix_f32(...)  mix(NCT_FLOATS, __VA_ARGS__)
#define mix_f16(...)  mix(NCT_HALVES, __VA_ARGS__)
#define mix_bf16(...) mix(NCT_PAIRS, __VA_ARGS__)

#ifndef NCT_INTEGER_TILES
#define ready_queries nct_query_floats

/* The integer sums of 16 values at a time go through a little room before they are scaled. */
NCT_INLINE void mix_q8(const int size, const nct_tile *t, const void *v, size_t d,
                       float s[NCT_TILE][NCT_STEP]) {
    const float *scale = (const float *)(const void *)((const uint8_t *)v + d * NCT_STEP), *p[NCT_TILE];
    _Alignas(64) float sum[NCT_TILE][NCT_COLUMNS] = {{0}};
    float gain[NCT_TILE], *to[NCT_TILE];
    NCT_UNROLL
    for (int a = 0; a < size; a++) {
        nct_weigh(4, t, a, s[a], d);
        gain[a] = round_weights(s[a], scale);
        p[a] = s[a];
        to[a] = sum[a];
    }
    for (size_t i = 0; i < d; i += NCT_COLUMNS) {
        value_product(NCT_SIGNED, size, p, t, v, d, i, false, to);
        for (int a = 0; a < size; a++)
            add_scaled16(t->acc[a] + i, sum[a], gain[a]);
    }
}
#endif

NCT_MIX(mixed_f32, mix_f32)
NCT_MIX(mixed_f16, mix_f16)
NCT_MIX(mixed_bf16, mix_bf16)
NCT_MIX(mixed_q8, mix_q8)

/* ------------------------------------------------------------------ the table */

const nct_tiles NCT_FLOAT_TILES[NCT_KV_TYPES] = {
    [NCT_KV_F32] = {NCT_SIX(wide_f32), NCT_SIX(narrow_f32), NCT_SIX(mixed_f32)},
    [NCT_KV_F16] = {NCT_SIX(wide_f16), NCT_SIX(narrow_f16), NCT_SIX(mixed_f16)},
    [NCT_KV_BF16] = {NCT_SIX(wide_bf16), NCT_SIX(narrow_bf16), NCT_SIX(mixed_bf16)},
    [NCT_KV_Q8] = {NCT_SIX(wide_q8), NCT_SIX(narrow_q8), NCT_SIX(mixed_q8)},
};

static const nct_walk float_walk = {
    .n_vectors = NCT_TILE,
    .n_narrow = NCT_TILE,
    .merge = NCT_FLOAT_MERGE,
    .tiles = {&NCT_FLOAT_TILES[NCT_KV_F32], &NCT_FLOAT_TILES[NCT_KV_F16], &NCT_FLOAT_TILES[NCT_KV_BF16],
              &NCT_FLOAT_TILES[NCT_KV_Q8]},
};

NCT_WALK_ENTRIES(float_walk)

static void fill_attend(nct_kernels *k) {
    k->query = ready_queries;
    k->attend = attend;
    k->attend_merge = NCT_FLOAT_MERGE;
    k->dots = dots;
}

#endif /* NCT_FLOAT_TILES */
#endif
