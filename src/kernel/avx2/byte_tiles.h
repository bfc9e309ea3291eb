/** Attention's tiles over keys and values in Q8 on rungs of 256 bits, 16 columns at a time.
 *
 *  A rung defines, static and inlined, as it multiplies:
 *      COLUMNS, weight  16, and the type that rounded weights are stored as
 *      add_products   sum[v] += over n_fours, 16 columns of a block's fours, of which n_out exist unless `whole`, times those
 *                     at a[v]: keys are unsigned, values signed. Rows of a block are `stride` bytes apart; `next`, unless
 *                     NULL: as many rows to be fetched meanwhile, `wanted` bytes of each
 *      round_weights  weights times the values' scales, rounded to 0 .. 255; what one of these steps is worth
 *  and then includes this file after defining NCT_BYTE_TILES. It gets scores_q8 and mix_q8 (walk.h). Queries: the scale, the
 *  sum of the codes, then these as add_products wants them.
 */
#ifndef NCT_KERNEL_AVX2_BYTE_TILES_H
#define NCT_KERNEL_AVX2_BYTE_TILES_H

#include "kernel/avx2/tile.h"

#ifdef NCT_BYTE_TILES

NCT_INLINE void scores_q8(const int size, const bool wide, const nct_tile *t, const void *k, size_t lanes,
                          size_t first, size_t n, size_t d, float *s, size_t s_stride) {
    const size_t n_fours = (d + 3) / 4, stride = lanes * 4, wanted = (wide ? NCT_STEP : n) * 4;
    const uint8_t *key = (const uint8_t *)k + first * 4, *from[NCT_TILE];
    const float *scale = (const float *)(const void *)((const uint8_t *)k + n_fours * stride) + first;
    float own[NCT_TILE];
    int32_t codes[NCT_TILE];
    NCT_UNROLL
    for (int v = 0; v < size; v++) {
        memcpy(&own[v], t->q[v], sizeof own[v]);
        memcpy(&codes[v], t->q[v] + sizeof own[v], sizeof codes[v]);
        from[v] = t->q[v] + NCT_QUERY;
    }
    nct_fetch(t, t->next_k ? t->next_k + n_fours * stride : NULL, 0, wanted); /* scales */
    const bool whole = wide || n == COLUMNS;
    for (size_t j = 0; j < (wide ? NCT_STEP : 1); j += COLUMNS) {
        __m256i sum[NCT_TILE][2];
        NCT_UNROLL
        for (int v = 0; v < size; v++)
            sum[v][0] = sum[v][1] = _mm256_set1_epi32(-128 * codes[v]);
        const uint8_t *next = j == 0 ? t->next_k : NULL;
        if (whole)
            add_products(true, size, from, key + j * 4, stride, n_fours, true, COLUMNS, t, next, wanted, sum);
        else
            add_products(true, size, from, key, stride, n_fours, false, n, t, next, wanted, sum);
        NCT_UNROLL
        for (int part = 0; part < 2; part++) {
            const size_t at = j + (size_t)part * NCT_YMM;
            const __m256i some = nct_lanes8(n > at ? n - at : 0);
            const __m256 of_key = whole ? _mm256_loadu_ps(scale + at) : _mm256_maskload_ps(scale + at, some);
            NCT_UNROLL
            for (int v = 0; v < size; v++) {
                __m256 x = _mm256_mul_ps(_mm256_cvtepi32_ps(sum[v][part]),
                                         _mm256_mul_ps(of_key, _mm256_set1_ps(own[v])));
                if (whole)
                    _mm256_storeu_ps(s + (size_t)v * s_stride + at, x);
                else
                    _mm256_maskstore_ps(s + (size_t)v * s_stride + at, some, x);
            }
        }
    }
}

NCT_INLINE void mix_q8(const int size, const nct_tile *t, const void *v, size_t d,
                       float s[NCT_TILE][NCT_STEP]) {
    const float *scale = (const float *)(const void *)((const uint8_t *)v + d * NCT_STEP);
    _Alignas(64) weight rounded[NCT_TILE][NCT_STEP];
    const uint8_t *from[NCT_TILE];
    float gain[NCT_TILE];
    nct_fetch(t, t->next_v ? t->next_v + d * NCT_STEP : NULL, 0, NCT_STEP * sizeof *scale);
    NCT_UNROLL
    for (int a = 0; a < size; a++) {
        nct_weigh(3, t, a, s[a], d);
        gain[a] = round_weights(s[a], scale, rounded[a]);
        from[a] = (const uint8_t *)rounded[a];
    }
    for (size_t i = 0; i < d; i += COLUMNS) {
        const uint8_t *value = (const uint8_t *)v + i * 4,
                      *next = i % 64 == 0 && t->next_v ? t->next_v + i * 4 : NULL;
        const size_t wanted = (d - i < 64 ? d - i : 64) * 4;
        __m256i sum[NCT_TILE][2];
        NCT_UNROLL
        for (int a = 0; a < size; a++)
            sum[a][0] = sum[a][1] = _mm256_setzero_si256();
        if (d - i >= COLUMNS)
            add_products(false, size, from, value, d * 4, NCT_STEP / 4, true, COLUMNS, t, next, wanted, sum);
        else
            add_products(false, size, from, value, d * 4, NCT_STEP / 4, false, d - i, t, next, wanted, sum);
        NCT_UNROLL
        for (int a = 0; a < size; a++)
            NCT_UNROLL
        for (int part = 0; part < 2; part++) {
            float *acc = t->acc[a] + i + part * NCT_YMM;
            _mm256_store_ps(acc, _mm256_fmadd_ps(_mm256_cvtepi32_ps(sum[a][part]), _mm256_set1_ps(gain[a]),
                                                 _mm256_load_ps(acc)));
        }
    }
}

#endif /* NCT_BYTE_TILES */
#endif
