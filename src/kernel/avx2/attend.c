/* Attention: what the tiles of kernel/float_tiles.h are made of. */
#include <math.h>
#include <string.h>

#include "kernel/avx2/avx2.h"
#include "kernel/kv.h"
#include "kernel/walk.h"

/* ------------------------------------------------------------------ the product of both halves */

/* Eight columns of row `part` of nested rows; the first n exist unless `whole`. */
NCT_INLINE __m256 columns8(const nct_form form, const uint8_t *at, size_t part, bool whole, size_t n) {
    if (form == NCT_HALVES) {
        uint16_t some[NCT_YMM] = {0};
        if (!whole && n < NCT_YMM) {
            memcpy(some, at, n * sizeof *some);
            at = (const uint8_t *)some;
        }
        return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)at));
    }
    const __m256i v = whole ? _mm256_loadu_si256((const __m256i *)(const void *)at)
                            : _mm256_maskload_epi32((const int *)(const void *)at, nct_lanes8(n));
    if (form == NCT_FLOATS)
        return _mm256_castsi256_ps(v);
    if (form == NCT_PAIRS)
        return _mm256_castsi256_ps(part ? _mm256_and_si256(v, _mm256_set1_epi32((int)0xffff0000))
                                        : _mm256_slli_epi32(v, 16));
    const int left = 24 - 8 * (int)part;
    __m256i code = _mm256_srai_epi32(_mm256_slli_epi32(v, left), 24);
    if (form == NCT_UNSIGNED)
        code = _mm256_sub_epi32(_mm256_srli_epi32(_mm256_slli_epi32(v, left), 24), _mm256_set1_epi32(128));
    return _mm256_cvtepi32_ps(code);
}

/* Rows a little below are fetched, where they are wanted. */
NCT_INLINE void product(const nct_form form, const int n_vectors, const float *const a[NCT_TILE],
                        const uint8_t *b, size_t stride, size_t n, bool more, float *const c[NCT_TILE],
                        const bool whole, size_t n_out, bool fetch) {
    const size_t nested = nct_form_nested(form);
    __m256 sum[NCT_TILE][2];
    const size_t right = n_out > NCT_YMM ? n_out - NCT_YMM : 0;
    NCT_UNROLL
    for (int v = 0; v < n_vectors; v++) {
        sum[v][0] = sum[v][1] = _mm256_setzero_ps();
        if (more && whole) {
            sum[v][0] = _mm256_loadu_ps(c[v]);
            sum[v][1] = _mm256_loadu_ps(c[v] + NCT_YMM);
        } else if (more) {
            sum[v][0] = _mm256_maskload_ps(c[v], nct_lanes8(n_out));
            sum[v][1] = _mm256_maskload_ps(c[v] + NCT_YMM, nct_lanes8(right));
        }
    }
    for (size_t i = 0; i < n; i += nested, b += stride) {
        if (fetch)
            for (size_t line = 0; line < 64 * nct_form_bytes(form); line += 64)
                _mm_prefetch((const char *)b + 8 * stride + line, _MM_HINT_T0);
        NCT_UNROLL
        for (size_t part = 0; part < nested; part++) {
            __m256 b0 = columns8(form, b, part, whole, n_out);
            __m256 b1 = columns8(form, b + NCT_YMM * nct_form_bytes(form), part, whole, right);
            NCT_UNROLL
            for (int v = 0; v < n_vectors; v++) {
                __m256 s = _mm256_broadcast_ss(a[v] + i + part);
                sum[v][0] = _mm256_fmadd_ps(s, b0, sum[v][0]);
                sum[v][1] = _mm256_fmadd_ps(s, b1, sum[v][1]);
            }
        }
    }
    NCT_UNROLL
    for (int v = 0; v < n_vectors; v++)
        if (whole) {
            _mm256_storeu_ps(c[v], sum[v][0]);
            _mm256_storeu_ps(c[v] + NCT_YMM, sum[v][1]);
        } else {
            _mm256_maskstore_ps(c[v], nct_lanes8(n_out), sum[v][0]);
            _mm256_maskstore_ps(c[v] + NCT_YMM, nct_lanes8(right), sum[v][1]);
        }
}

/* ------------------------------------------------------------------ weights */

/* All bits of the lanes among 8 that a byte names. */
NCT_INLINE __m256 named_lanes(uint64_t byte) {
    const __m256i bit = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
    return _mm256_castsi256_ps(
        _mm256_cmpeq_epi32(_mm256_and_si256(_mm256_set1_epi32((int)(byte & 255)), bit), bit));
}

static void scale_vector(float *x, float s, size_t n) {
    for (size_t i = 0; i < n; i += NCT_YMM)
        _mm256_store_ps(x + i, _mm256_mul_ps(_mm256_load_ps(x + i), _mm256_set1_ps(s)));
}

/* The reference of one vector's weights: the maximum so far, or, unless `strict`, an earlier one while no score
 * is more than eight above it. What was summed is rescaled when it changes. */
NCT_INLINE float reference(const bool strict, const nct_tile *t, int v, const float s[NCT_STEP], size_t d) {
    __m256 top = _mm256_set1_ps(-INFINITY);
    if (t->visible[v] == UINT64_MAX) {
        NCT_UNROLL
        for (int i = 0; i < NCT_STEP / NCT_YMM; i++)
            top = _mm256_max_ps(_mm256_load_ps(s + i * NCT_YMM), top);
    } else {
        const __m256 least = _mm256_set1_ps(-INFINITY);
        NCT_UNROLL
        for (int i = 0; i < NCT_STEP / NCT_YMM; i++) {
            __m256 seen = named_lanes(t->visible[v] >> (8 * i));
            top = _mm256_max_ps(_mm256_blendv_ps(least, _mm256_load_ps(s + i * NCT_YMM), seen), top);
        }
    }
    float m = *t->m[v], limit = strict ? m : m + 8;
    if (_mm256_movemask_ps(_mm256_cmp_ps(top, _mm256_set1_ps(limit), _CMP_GT_OQ))) {
        float next = nct_max8(top), a = _mm256_cvtss_f32(nct_exp8(_mm256_set1_ps(m - next)));
        scale_vector(t->l[v], a, NCT_PARTIAL);
        scale_vector(t->acc[v], a, d);
        *t->m[v] = m = next;
    }
    return m;
}

/* Scores to weights, in place; lanes that are not visible become 0. */
NCT_INLINE void weigh(const bool strict, const nct_tile *t, int v, float s[NCT_STEP], size_t d) {
    __m256 shift = _mm256_set1_ps(reference(strict, t, v, s, d)),
           sum[2] = {_mm256_load_ps(t->l[v]), _mm256_load_ps(t->l[v] + NCT_YMM)};
    NCT_UNROLL
    for (int i = 0; i < NCT_STEP / NCT_YMM; i++) {
        __m256 p = nct_exp8(_mm256_sub_ps(_mm256_load_ps(s + i * NCT_YMM), shift));
        if (t->visible[v] != UINT64_MAX)
            p = _mm256_and_ps(p, named_lanes(t->visible[v] >> (8 * i)));
        _mm256_store_ps(s + i * NCT_YMM, p);
        sum[i % 2] = _mm256_add_ps(sum[i % 2], p);
    }
    _mm256_store_ps(t->l[v], sum[0]);
    _mm256_store_ps(t->l[v] + NCT_YMM, sum[1]);
}

/* Weights times the values' scales, rounded to 0 .. 255. Returns what one of these steps is worth. */
NCT_INLINE float round_weights(float p[NCT_STEP], const float *scale) {
    __m256 top = _mm256_setzero_ps();
    for (size_t j = 0; j < NCT_STEP; j += NCT_YMM) {
        __m256 w = _mm256_mul_ps(_mm256_load_ps(p + j), _mm256_loadu_ps(scale + j));
        _mm256_store_ps(p + j, w);
        top = _mm256_max_ps(w, top);
    }
    float most = nct_max8(top);
    __m256 inverse = _mm256_set1_ps(most > 0 ? 255.0f / most : 0);
    for (size_t j = 0; j < NCT_STEP; j += NCT_YMM)
        _mm256_store_ps(p + j, _mm256_round_ps(_mm256_mul_ps(_mm256_load_ps(p + j), inverse),
                                               _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
    return most * (1 / 255.0f);
}

NCT_INLINE void add_scaled16(float *acc, const float *sum, float gain) {
    NCT_UNROLL
    for (size_t j = 0; j < 2 * NCT_YMM; j += NCT_YMM)
        _mm256_store_ps(
            acc + j, _mm256_fmadd_ps(_mm256_load_ps(sum + j), _mm256_set1_ps(gain), _mm256_load_ps(acc + j)));
}

/* ------------------------------------------------------------------ merging */

static float exponential(float x) { return _mm256_cvtss_f32(nct_exp8(_mm256_set1_ps(x))); }

static void blend(float *total, float a, const float *part, float b, size_t d) {
    __m256 va = _mm256_set1_ps(a), vb = _mm256_set1_ps(b);
    size_t i = 0;
    for (; i + NCT_YMM <= d; i += NCT_YMM)
        _mm256_storeu_ps(total + i, _mm256_add_ps(_mm256_mul_ps(_mm256_loadu_ps(total + i), va),
                                                  _mm256_mul_ps(_mm256_loadu_ps(part + i), vb)));
    for (; i < d; i++)
        total[i] = total[i] * a + part[i] * b;
}

static void attend_merge(float *m_total, float *l_total, float *acc_total, const float *m, const float *l,
                         const float *acc, size_t n, size_t d) {
    nct_merge_with(exponential, blend, m_total, l_total, acc_total, m, l, acc, n, d);
}

#define NCT_FLOAT_TILES
#include "kernel/float_tiles.h"

void nct_avx2_attend(nct_kernels *k) { fill_attend(k); }
