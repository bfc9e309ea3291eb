/* Attention over a cache of bytes: tiles of byte dot products, beside avx2's for the other types. 16 registers: at most 12
 * sums, two vectors of codes and what they are multiplied with. */
#include <string.h>

#include "kernel/avx2/tile.h"
#include "kernel/avxvnni/avxvnni.h"

enum { COLUMNS = 2 * NCT_YMM };

/* The first n of 16 fours of codes. */
NCT_INLINE void load_fours(const uint8_t *at, const bool whole, size_t n, __m256i codes[2]) {
    NCT_UNROLL
    for (size_t j = 0; j < 2; j++)
        codes[j] = whole ? _mm256_loadu_si256((const __m256i *)(const void *)(at + 32 * j))
                         : _mm256_maskload_epi32((const int *)(const void *)(at + 32 * j),
                                                 nct_lanes8(n > j * NCT_YMM ? n - j * NCT_YMM : 0));
}

/* sum[v] += over n_fours, 16 columns of a block's fours times those at a[v]: keys are unsigned, values signed. Rows of a
 * block are `stride` bytes apart. */
NCT_INLINE void add_products(const bool keys, const int size, const uint8_t *const a[NCT_TILE],
                             const uint8_t *b, size_t stride, size_t n_fours, const bool whole, size_t n_out,
                             const nct_tile *t, const uint8_t *next, size_t wanted,
                             __m256i sum[NCT_TILE][2]) {
    for (size_t i = 0; i < n_fours; i++, b += stride) {
        __m256i codes[2];
        next = nct_fetch(t, next, stride, wanted);
        load_fours(b, whole, n_out, codes);
        NCT_UNROLL
        for (int v = 0; v < size; v++) {
            const __m256i four = nct_four(a[v] + 4 * i);
            NCT_UNROLL
            for (int j = 0; j < 2; j++)
                sum[v][j] = keys ? nct_dot8(sum[v][j], codes[j], four) : nct_dot8(sum[v][j], four, codes[j]);
        }
    }
}

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

/* Weights times the values' scales, rounded to 0 .. 255. Returns what one of these steps is worth. */
NCT_INLINE float round_weights(float p[NCT_STEP], const float *scale, uint8_t rounded[NCT_STEP]) {
    __m256 w[NCT_STEP / NCT_YMM], top = _mm256_setzero_ps();
    NCT_UNROLL
    for (size_t i = 0; i < NCT_STEP / NCT_YMM; i++) {
        w[i] = _mm256_mul_ps(_mm256_load_ps(p + i * NCT_YMM), _mm256_loadu_ps(scale + i * NCT_YMM));
        top = _mm256_max_ps(w[i], top);
    }
    const float most = nct_max8(top);
    const __m256 inverse = _mm256_set1_ps(most > 0 ? 255.0f / most : 0);
    const __m256i order =
        _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7); /* packing goes by halves of a register */
    NCT_UNROLL
    for (size_t i = 0; i < NCT_STEP / NCT_YMM; i += 4) {
        __m256i r[4];
        NCT_UNROLL
        for (size_t j = 0; j < 4; j++)
            r[j] = _mm256_cvtps_epi32(_mm256_mul_ps(w[i + j], inverse));
        const __m256i bytes =
            _mm256_packus_epi16(_mm256_packs_epi32(r[0], r[1]), _mm256_packs_epi32(r[2], r[3]));
        _mm256_store_si256((__m256i *)(void *)(rounded + i * NCT_YMM),
                           _mm256_permutevar8x32_epi32(bytes, order));
    }
    return most * (1 / 255.0f);
}

NCT_INLINE void mix_q8(const int size, const nct_tile *t, const void *v, size_t d,
                       float s[NCT_TILE][NCT_STEP]) {
    const float *scale = (const float *)(const void *)((const uint8_t *)v + d * NCT_STEP);
    _Alignas(64) uint8_t rounded[NCT_TILE][NCT_STEP];
    const uint8_t *from[NCT_TILE];
    float gain[NCT_TILE];
    nct_fetch(t, t->next_v ? t->next_v + d * NCT_STEP : NULL, 0, NCT_STEP * sizeof *scale);
    NCT_UNROLL
    for (int a = 0; a < size; a++) {
        nct_weigh(3, t, a, s[a], d);
        gain[a] = round_weights(s[a], scale, rounded[a]);
        from[a] = rounded[a];
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

NCT_SCORES(wide_q8, true, scores_q8)
NCT_SCORES(narrow_q8, false, scores_q8)
NCT_MIX(mixed_q8, mix_q8)

static const nct_walk walk = {
    .n_vectors = NCT_TILE,
    .n_narrow = NCT_TILE,
    .merge = nct_avx2_merge,
    .tiles = {&nct_avx2_tiles[NCT_KV_F32], &nct_avx2_tiles[NCT_KV_F16], &nct_avx2_tiles[NCT_KV_BF16],
              &(const nct_tiles){NCT_SIX(wide_q8), NCT_SIX(narrow_q8), NCT_SIX(mixed_q8)}},
};

static void attend(const nct_attend_job *job) { nct_walk_attend(&walk, job); }

static void dots(nct_kv_type k_type, const void *k, size_t lanes, size_t n_lanes, const void *next,
                 const uint8_t *q, size_t n_heads, size_t d, float *s, size_t s_stride) {
    nct_walk_dots(&walk, k_type, k, lanes, n_lanes, next, q, n_heads, d, s, s_stride);
}

void nct_avxvnni_attend(nct_kernels *k) {
    k->query = nct_query_codes;
    k->attend = attend;
    k->dots = dots;
}
