/* Attention: tiles for every type of keys and values. */
#include <string.h>

#include "kernel/avx512/tile.h"

/* ------------------------------------------------------------------ scores */

/* 16 floats of keys or values, or the first of them; of pairs of bfloat16, the one that is `part`. */
NCT_INLINE __m512 floats16(const nct_form form, const uint8_t *at, const size_t part, const bool all,
                           __mmask16 some) {
    if (form == NCT_FLOATS)
        return all ? _mm512_loadu_ps(at) : _mm512_maskz_loadu_ps(some, at);
    if (form == NCT_HALVES)
        return _mm512_cvtph_ps(all ? _mm256_loadu_si256((const __m256i *)(const void *)at)
                                   : _mm256_maskz_loadu_epi16(some, at));
    const __m512i pair = all ? _mm512_loadu_si512(at) : _mm512_maskz_loadu_epi32(some, at);
    return _mm512_castsi512_ps(part ? _mm512_and_si512(pair, _mm512_set1_epi32((int)0xffff0000))
                                    : _mm512_slli_epi32(pair, 16));
}

/* Keys as floats: a column of the head at a time, or the two of a pair. */
NCT_INLINE void scores_float(const nct_form form, const int n, const bool all, const nct_tile *t,
                             const void *block, size_t lanes, size_t first, size_t n_keys, size_t d, float *s,
                             size_t s_stride) {
    const int wide = all ? NCT_WIDE : 1;
    const __mmask16 some = all ? 0xffff : nct_lanes16(n_keys);
    const size_t item = nct_form_bytes(form), nested = nct_form_nested(form);
    const uint8_t *k = (const uint8_t *)block + first * item, *next = t->next_k;
    __m512 sum[NCT_NARROW][NCT_WIDE];
    const float *q[NCT_NARROW];
    NCT_UNROLL
    for (int v = 0; v < n; v++) {
        q[v] = (const float *)(const void *)(t->q[v] + NCT_QUERY);
        NCT_UNROLL
        for (int j = 0; j < wide; j++)
            sum[v][j] = _mm512_setzero_ps();
    }
    for (size_t i = 0; i < d; i += nested, k += lanes * item) {
        next = nct_fetch(t, next, lanes * item, (all ? 64 : 16) * item);
        NCT_UNROLL
        for (size_t part = 0; part < nested; part++) {
            __m512 key[NCT_WIDE];
            NCT_UNROLL
            for (int j = 0; j < wide; j++)
                key[j] = floats16(form, k + (size_t)j * NCT_ZMM * item, part, all, some);
            NCT_UNROLL
            for (int v = 0; v < n; v++) {
                __m512 qi = _mm512_set1_ps(q[v][i + part]);
                NCT_UNROLL
                for (int j = 0; j < wide; j++)
                    sum[v][j] = _mm512_fmadd_ps(qi, key[j], sum[v][j]);
            }
        }
    }
    nct_store_scores(n, wide, sum, s, s_stride, some);
}

NCT_INLINE void scores_q8(const int n, const bool all, const nct_tile *t, const void *block, size_t lanes,
                          size_t first, size_t n_keys, size_t d, float *s, size_t s_stride) {
    const int wide = all ? NCT_WIDE : 1;
    const __mmask16 some = all ? 0xffff : nct_lanes16(n_keys);
    const uint8_t *k = block;
    __m512i sum[NCT_NARROW][NCT_WIDE];
    __m512 scaled[NCT_NARROW][NCT_WIDE];
    const uint8_t *q[NCT_NARROW];
    NCT_UNROLL
    for (int v = 0; v < n; v++) {
        int32_t codes;
        q[v] = t->q[v];
        memcpy(&codes, q[v] + sizeof(float), sizeof codes);
        NCT_UNROLL
        for (int j = 0; j < wide; j++)
            sum[v][j] = _mm512_set1_epi32(-128 * codes);
        q[v] += NCT_QUERY;
    }
    const size_t fours = (d + 3) / 4;
    const uint8_t *scale = k + fours * 4 * lanes + first * sizeof(float);
    k += first * 4;
    const uint8_t *next = t->next_k;
    nct_fetch(t, next ? next + fours * lanes * 4 : NULL, 0, (all ? 64 : 16) * sizeof(float)); /* scales */
    for (size_t i = 0; i < fours; i++, k += lanes * 4) {
        next = nct_fetch(t, next, lanes * 4, (all ? 64 : 16) * 4);
        __m512i key[NCT_WIDE];
        NCT_UNROLL
        for (int j = 0; j < wide; j++)
            key[j] = wide == NCT_WIDE ? _mm512_loadu_si512(k + 64 * j) : _mm512_maskz_loadu_epi32(some, k);
        NCT_UNROLL
        for (int v = 0; v < n; v++) {
            __m512i four = nct_word(q[v] + 4 * i);
            NCT_UNROLL
            for (int j = 0; j < wide; j++)
                sum[v][j] = nct_dot(sum[v][j], key[j], four);
        }
    }
    NCT_UNROLL
    for (int j = 0; j < wide; j++) {
        __m512 own = wide == NCT_WIDE ? _mm512_loadu_ps(scale + 64 * j) : _mm512_maskz_loadu_ps(some, scale);
        NCT_UNROLL
        for (int v = 0; v < n; v++) {
            float query;
            memcpy(&query, t->q[v], sizeof query);
            scaled[v][j] =
                _mm512_mul_ps(_mm512_cvtepi32_ps(sum[v][j]), _mm512_mul_ps(own, _mm512_set1_ps(query)));
        }
    }
    nct_store_scores(n, wide, scaled, s, s_stride, some);
}

#define scores_f32(...)  scores_float(NCT_FLOATS, __VA_ARGS__)
#define scores_f16(...)  scores_float(NCT_HALVES, __VA_ARGS__)
#define scores_bf16(...) scores_float(NCT_PAIRS, __VA_ARGS__)

NCT_SCORES(wide_f32, true, scores_f32)
NCT_SCORES(wide_f16, true, scores_f16)
NCT_SCORES(wide_bf16, true, scores_bf16)
NCT_SCORES(wide_q8, true, scores_q8)
NCT_SCORES(narrow_f32, false, scores_f32)
NCT_SCORES(narrow_f16, false, scores_f16)
NCT_SCORES(narrow_bf16, false, scores_bf16)
NCT_SCORES(narrow_q8, false, scores_q8)
NCT_NARROW_SCORES(narrow_f32, scores_f32)
NCT_NARROW_SCORES(narrow_f16, scores_f16)
NCT_NARROW_SCORES(narrow_bf16, scores_bf16)
NCT_NARROW_SCORES(narrow_q8, scores_q8)

/* ------------------------------------------------------------------ weights and values */

/* Float32 values get weights by the accurate exponential, against the true maximum. */
NCT_INLINE void soften(const int n, const nct_tile *t, float score[NCT_TILE][NCT_STEP], size_t d) {
    const __m512 least = _mm512_set1_ps(-INFINITY);
    _Alignas(64) float before[NCT_ZMM] = {0}, after[NCT_ZMM] = {0}, factor[NCT_ZMM];
    NCT_UNROLL
    for (int v = 0; v < n; v++) {
        __m512 top = _mm512_set1_ps(before[v] = *t->m[v]);
        NCT_UNROLL
        for (int i = 0; i < NCT_WIDE; i++) {
            __m512 s =
                _mm512_mask_load_ps(least, (__mmask16)(t->visible[v] >> (16 * i)), score[v] + i * NCT_ZMM);
            top = _mm512_max_ps(s, top);
        }
        *t->m[v] = after[v] = _mm512_reduce_max_ps(top);
    }
    _mm512_store_ps(factor, nct_exp16(_mm512_sub_ps(_mm512_load_ps(before), _mm512_load_ps(after))));
    NCT_UNROLL
    for (int v = 0; v < n; v++) {
        __m512 shift = _mm512_set1_ps(after[v]);
        __m512 sum = _mm512_mul_ps(_mm512_loadu_ps(t->l[v]), _mm512_set1_ps(factor[v]));
        NCT_UNROLL
        for (int i = 0; i < NCT_WIDE; i++) {
            __m512 s = _mm512_sub_ps(_mm512_load_ps(score[v] + i * NCT_ZMM), shift);
            s = _mm512_maskz_mov_ps((__mmask16)(t->visible[v] >> (16 * i)), nct_exp16(s));
            _mm512_store_ps(score[v] + i * NCT_ZMM, s);
            sum = _mm512_add_ps(sum, s);
        }
        _mm512_storeu_ps(t->l[v], sum);
        if (factor[v] != 1.0f)
            nct_scale_vector(t->acc[v], factor[v], d);
    }
}

/* acc[v][i ..] += sum over positions, ascending, of p[v][j] * v[j][i ..], 16 * wide values. */
NCT_INLINE void add_floats(const nct_form form, const int n, const int wide, const nct_tile *t,
                           const uint8_t *v, size_t d, size_t i, const float p[NCT_TILE][NCT_STEP],
                           __mmask16 some) {
    const bool all = wide == NCT_WIDE;
    const size_t item = nct_form_bytes(form), nested = nct_form_nested(form);
    const uint8_t *next = all && t->next_v ? t->next_v + i * item : NULL;
    __m512 sum[NCT_TILE][NCT_WIDE];
    nct_load_acc(n, wide, t, i, sum);
    v += i * item;
    for (size_t s = 0; s < NCT_STEP; s += nested, v += d * item) {
        next = nct_fetch(t, next, d * item, 64 * item);
        NCT_UNROLL
        for (size_t part = 0; part < nested; part++) {
            __m512 value[NCT_WIDE];
            NCT_UNROLL
            for (int j = 0; j < wide; j++)
                value[j] = floats16(form, v + (size_t)j * NCT_ZMM * item, part, all, some);
            NCT_UNROLL
            for (int a = 0; a < n; a++) {
                __m512 weight = _mm512_set1_ps(p[a][s + part]);
                NCT_UNROLL
                for (int j = 0; j < wide; j++)
                    sum[a][j] = _mm512_fmadd_ps(weight, value[j], sum[a][j]);
            }
        }
    }
    nct_store_acc(n, wide, t, i, sum);
}

NCT_INLINE void mix_float(const nct_form form, const int n, const nct_tile *t, const void *v, size_t d,
                          float s[NCT_TILE][NCT_STEP]) {
    if (form == NCT_FLOATS)
        soften(n, t, s, d);
    NCT_UNROLL
    for (int a = 0; a < n && form != NCT_FLOATS; a++) {
        __m512 p[NCT_WIDE];
        nct_weigh(4, t, a, s[a], d, p);
        NCT_UNROLL
        for (int j = 0; j < NCT_WIDE; j++)
            _mm512_store_ps(s[a] + j * NCT_ZMM, p[j]);
    }
    size_t i = 0;
    for (; i + NCT_WIDE * NCT_ZMM <= d; i += NCT_WIDE * NCT_ZMM)
        add_floats(form, n, NCT_WIDE, t, v, d, i, (const float(*)[NCT_STEP])s, 0xffff);
    for (; i < d; i += NCT_ZMM)
        add_floats(form, n, 1, t, v, d, i, (const float(*)[NCT_STEP])s, nct_lanes16(d - i));
}
#define mix_f32(...)  mix_float(NCT_FLOATS, __VA_ARGS__)
#define mix_f16(...)  mix_float(NCT_HALVES, __VA_ARGS__)
#define mix_bf16(...) mix_float(NCT_PAIRS, __VA_ARGS__)

/* acc[v][i ..] += gain[v] * sum over positions of p[v][j] * code[j][i ..], 16 * wide values. */
NCT_INLINE void add_codes(const int n, const int wide, const nct_tile *t, const uint8_t *v, size_t d,
                          size_t i, const uint8_t p[NCT_TILE][NCT_STEP], const float gain[NCT_TILE],
                          __mmask16 some) {
    __m512i sum[NCT_TILE][NCT_WIDE];
    NCT_UNROLL
    for (int a = 0; a < n; a++)
        NCT_UNROLL
    for (int j = 0; j < wide; j++)
        sum[a][j] = _mm512_setzero_si512();
    v += i * 4;
    const uint8_t *next = wide == NCT_WIDE && t->next_v ? t->next_v + i * 4 : NULL;
    for (size_t s = 0; s < NCT_STEP; s += 4, v += d * 4) {
        next = nct_fetch(t, next, d * 4, 64 * 4);
        __m512i value[NCT_WIDE];
        NCT_UNROLL
        for (int j = 0; j < wide; j++)
            value[j] = wide == NCT_WIDE ? _mm512_loadu_si512(v + 64 * j) : _mm512_maskz_loadu_epi32(some, v);
        NCT_UNROLL
        for (int a = 0; a < n; a++) {
            __m512i weight = nct_word(p[a] + s);
            NCT_UNROLL
            for (int j = 0; j < wide; j++)
                sum[a][j] = nct_dot(sum[a][j], weight, value[j]);
        }
    }
    NCT_UNROLL
    for (int a = 0; a < n; a++)
        NCT_UNROLL
    for (int j = 0; j < wide; j++) {
        float *acc = t->acc[a] + i + j * NCT_ZMM;
        _mm512_store_ps(acc, _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum[a][j]), _mm512_set1_ps(gain[a]),
                                             _mm512_load_ps(acc)));
    }
}

NCT_INLINE void mix_q8(const int n, const nct_tile *t, const void *block, size_t d,
                       float s[NCT_TILE][NCT_STEP]) {
    const uint8_t *v = block;
    _Alignas(64) uint8_t rounded[NCT_TILE][NCT_STEP];
    float gain[NCT_TILE];
    const uint8_t *scale = v + d * NCT_STEP;
    nct_fetch(t, t->next_v ? t->next_v + d * NCT_STEP : NULL, 0, NCT_STEP * sizeof(float)); /* scales */
    NCT_UNROLL
    for (int a = 0; a < n; a++) {
        __m512 p[NCT_WIDE];
        nct_weigh(3, t, a, s[a], d, p);
        NCT_UNROLL
        for (int j = 0; j < NCT_WIDE; j++)
            p[j] = _mm512_mul_ps(p[j], _mm512_loadu_ps(scale + 64 * j));
        float most =
            _mm512_reduce_max_ps(_mm512_max_ps(_mm512_max_ps(p[0], p[1]), _mm512_max_ps(p[2], p[3])));
        __m512 inverse = _mm512_set1_ps(most > 0 ? 255.0f / most : 0);
        gain[a] = most * (1 / 255.0f);
        NCT_UNROLL
        for (int j = 0; j < NCT_WIDE; j++)
            _mm_store_si128((__m128i *)(void *)(rounded[a] + j * NCT_ZMM),
                            _mm512_cvtusepi32_epi8(_mm512_cvtps_epi32(_mm512_mul_ps(p[j], inverse))));
    }
    size_t i = 0;
    for (; i + NCT_WIDE * NCT_ZMM <= d; i += NCT_WIDE * NCT_ZMM)
        add_codes(n, NCT_WIDE, t, v, d, i, (const uint8_t(*)[NCT_STEP])rounded, gain, 0xffff);
    for (; i < d; i += NCT_ZMM)
        add_codes(n, 1, t, v, d, i, (const uint8_t(*)[NCT_STEP])rounded, gain, nct_lanes16(d - i));
}

NCT_MIX(mixed_f32, mix_f32)
NCT_MIX(mixed_f16, mix_f16)
NCT_MIX(mixed_bf16, mix_bf16)
NCT_MIX(mixed_q8, mix_q8)

/* ------------------------------------------------------------------ merging */

static float exponential(float x) { return _mm512_cvtss_f32(nct_exp16(_mm512_set1_ps(x))); }

static void blend(float *total, float a, const float *part, float b, size_t d) {
    __m512 va = _mm512_set1_ps(a), vb = _mm512_set1_ps(b);
    for (size_t i = 0; i < d; i += NCT_ZMM) {
        __mmask16 lanes = nct_lanes16(d - i);
        __m512 v = _mm512_mul_ps(_mm512_maskz_loadu_ps(lanes, total + i), va);
        v = _mm512_add_ps(v, _mm512_mul_ps(_mm512_maskz_loadu_ps(lanes, part + i), vb));
        _mm512_mask_storeu_ps(total + i, lanes, v);
    }
}

void nct_avx512_merge(float *m_total, float *l_total, float *acc_total, const float *m, const float *l,
                      const float *acc, size_t n, size_t d) {
    nct_merge_with(exponential, blend, m_total, l_total, acc_total, m, l, acc, n, d);
}

/* ------------------------------------------------------------------ the table */

const nct_tiles nct_avx512_tiles[NCT_KV_TYPES] = {
    [NCT_KV_F32] = {NCT_SIX(wide_f32), NCT_EIGHT(narrow_f32), NCT_SIX(mixed_f32)},
    [NCT_KV_F16] = {NCT_SIX(wide_f16), NCT_EIGHT(narrow_f16), NCT_SIX(mixed_f16)},
    [NCT_KV_BF16] = {NCT_SIX(wide_bf16), NCT_EIGHT(narrow_bf16), NCT_SIX(mixed_bf16)},
    [NCT_KV_Q8] = {NCT_SIX(wide_q8), NCT_EIGHT(narrow_q8), NCT_SIX(mixed_q8)},
};

static const nct_walk walk = {
    .n_vectors = NCT_TILE,
    .n_narrow = NCT_NARROW,
    .merge = nct_avx512_merge,
    .tiles = {&nct_avx512_tiles[NCT_KV_F32], &nct_avx512_tiles[NCT_KV_F16], &nct_avx512_tiles[NCT_KV_BF16],
              &nct_avx512_tiles[NCT_KV_Q8]},
};

NCT_WALK_ENTRIES(walk)

void nct_avx512_attend(nct_kernels *k) {
    k->query = nct_query_codes;
    k->attend = attend;
    k->attend_merge = nct_avx512_merge;
    k->dots = dots;
}
