/* Attention: what the tiles of kernel/float_tiles.h are made of. */
#include <math.h>
#include <string.h>

#include "kernel/avx2/tile.h"

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
    return _mm256_castsi256_ps(part ? _mm256_and_si256(v, _mm256_set1_epi32((int)0xffff0000))
                                    : _mm256_slli_epi32(v, 16));
}

NCT_INLINE void product(const nct_form form, const int n_vectors, const float *const a[NCT_TILE],
                        const uint8_t *b, size_t stride, size_t n, bool more, float *const c[NCT_TILE],
                        const bool whole, size_t n_out, const nct_tile *t, const uint8_t *next,
                        size_t wanted) {
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
        next = nct_fetch(t, next, stride, wanted);
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

/* ------------------------------------------------------------------ integers */

/* Codes lie in fours, which 16-bit products want apart: the first and the third of each, and the other two. What they are
 * multiplied with lies in that order, two words a four. */
enum { FOUR = 4 * sizeof(int16_t), COLUMNS = 2 * NCT_YMM };
typedef int16_t weight;
typedef struct fours {
    __m256i v[2]; /* of 16 columns */
} fours;

NCT_INLINE fours load_fours(const uint8_t *at, const bool whole, size_t n) {
    if (whole)
        return (fours){{_mm256_loadu_si256((const __m256i *)(const void *)at),
                        _mm256_loadu_si256((const __m256i *)(const void *)(at + 32))}};
    return (fours){{_mm256_maskload_epi32((const int *)(const void *)at, nct_lanes8(n)),
                    _mm256_maskload_epi32((const int *)(const void *)(at + 32),
                                          nct_lanes8(n > NCT_YMM ? n - NCT_YMM : 0))}};
}

/* One pair of each four as 16-bit integers: the unsigned codes of keys or the signed ones of values. */
NCT_INLINE fours pairs(const bool is_signed, const int odd, fours f) {
    NCT_UNROLL
    for (int j = 0; j < 2; j++)
        if (is_signed)
            f.v[j] = odd ? _mm256_srai_epi16(f.v[j], 8) : _mm256_srai_epi16(_mm256_slli_epi16(f.v[j], 8), 8);
        else
            f.v[j] = odd ? _mm256_srli_epi16(f.v[j], 8) : _mm256_and_si256(f.v[j], _mm256_set1_epi16(255));
    return f;
}

/* sum[v] += over n fours of 16 columns, codes times what lies at a[v]; rows of columns are `stride` bytes apart. */
NCT_INLINE void add_products(const bool keys, const int size, const uint8_t *const a[NCT_TILE],
                             const uint8_t *b, size_t stride, size_t n, const bool whole, size_t n_out,
                             const nct_tile *t, const uint8_t *next, size_t wanted,
                             __m256i sum[NCT_TILE][2]) {
    for (size_t i = 0; i < n; i++, b += stride) {
        next = nct_fetch(t, next, stride, wanted);
        NCT_UNROLL
        for (int odd = 0; odd < 2; odd++) {
            const fours codes = pairs(!keys, odd, load_fours(b, whole, n_out));
            NCT_UNROLL
            for (int v = 0; v < size; v++) {
                int32_t word;
                memcpy(&word, a[v] + i * FOUR + odd * sizeof word, sizeof word);
                const __m256i pair = _mm256_set1_epi32(word);
                sum[v][0] = _mm256_add_epi32(sum[v][0], _mm256_madd_epi16(codes.v[0], pair));
                sum[v][1] = _mm256_add_epi32(sum[v][1], _mm256_madd_epi16(codes.v[1], pair));
            }
        }
    }
}

/* Queries of Q8: the scale, the sum of the codes, then these by fours; floats otherwise. */
static void ready_queries(nct_kv_type k_type, const float *q, size_t n, size_t d, uint8_t *out) {
    if (k_type != NCT_KV_Q8) {
        nct_query_floats(k_type, q, n, d, out);
        return;
    }
    for (size_t h = 0; h < n; h++, q += d, out += nct_query_bytes(d)) {
        float inverse, scale = nct_kv_scale(q, d, &inverse);
        int16_t *code = (int16_t *)(void *)(out + NCT_QUERY);
        int32_t sum = 0;
        for (size_t i = 0; i < (d + 3) / 4 * 4; i++) {
            int c = i < d ? nct_kv_round(q[i], inverse) : 0;
            sum += c;
            code[i / 4 * 4 + i % 4 / 2 + i % 2 * 2] = (int16_t)c;
        }
        memcpy(out, &scale, sizeof scale);
        memcpy(out + sizeof scale, &sum, sizeof sum);
    }
}

/* Weights times the values' scales, rounded to 0 .. 255, as 16-bit integers by fours. Returns what one of these steps is
 * worth. */
NCT_INLINE float round_weights(float p[NCT_STEP], const float *scale, weight rounded[NCT_STEP]) {
    __m256 top = _mm256_setzero_ps();
    for (size_t j = 0; j < NCT_STEP; j += NCT_YMM) {
        __m256 w = _mm256_mul_ps(_mm256_load_ps(p + j), _mm256_loadu_ps(scale + j));
        _mm256_store_ps(p + j, w);
        top = _mm256_max_ps(w, top);
    }
    float most = nct_max8(top);
    __m256 inverse = _mm256_set1_ps(most > 0 ? 255.0f / most : 0);
    for (size_t j = 0; j < NCT_STEP; j += 2 * NCT_YMM) {
        __m256i w =
            _mm256_packs_epi32(_mm256_cvtps_epi32(_mm256_mul_ps(_mm256_load_ps(p + j), inverse)),
                               _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_load_ps(p + j + NCT_YMM), inverse)));
        w = _mm256_shufflehi_epi16(_mm256_shufflelo_epi16(w, 0xd8), 0xd8); /* 0, 2, 1, 3 of each four */
        _mm256_store_si256((__m256i *)(void *)(rounded + j), _mm256_permute4x64_epi64(w, 0xd8));
    }
    return most * (1 / 255.0f);
}

#define NCT_BYTE_TILES
#include "kernel/avx2/byte_tiles.h"

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

void nct_avx2_merge(float *m_total, float *l_total, float *acc_total, const float *m, const float *l,
                    const float *acc, size_t n, size_t d) {
    nct_merge_with(exponential, blend, m_total, l_total, acc_total, m, l, acc, n, d);
}

#define NCT_FLOAT_TILES nct_avx2_tiles
#define NCT_FLOAT_MERGE nct_avx2_merge
#define NCT_INTEGER_TILES
#include "kernel/float_tiles.h"

void nct_avx2_attend(nct_kernels *k) { fill_attend(k); }
