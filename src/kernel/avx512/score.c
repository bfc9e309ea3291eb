/* What becomes of scores of pooled keys (model-and-infllm-v2.md 3.3). */
#include <math.h>

#include "kernel/avx512/tile.h"
#include "kernel/ref/ref.h"

static float max(const float *s, size_t n) {
    const __m512 least = _mm512_set1_ps(-INFINITY);
    __m512 top = least;
    for (size_t j = 0; j < n; j += NCT_ZMM)
        top = _mm512_max_ps(_mm512_mask_loadu_ps(least, nct_lanes16(n - j), s + j), top);
    return _mm512_reduce_max_ps(top);
}

NCT_INLINE float sum_of(const float *s, size_t n, float m, const bool accurate) {
    const __m512 shift = _mm512_set1_ps(accurate ? m : -m * NCT_EXP_LOG2E);
    __m512 sum[2] = {_mm512_setzero_ps(), _mm512_setzero_ps()};
    size_t j = 0;
    for (; j + 2 * NCT_ZMM <= n; j += 2 * NCT_ZMM)
        NCT_UNROLL
    for (int i = 0; i < 2; i++) {
        __m512 x = _mm512_loadu_ps(s + j + i * NCT_ZMM);
        sum[i] =
            _mm512_add_ps(sum[i], accurate ? nct_exp16(_mm512_sub_ps(x, shift)) : nct_weight16(4, x, shift));
    }
    for (; j < n; j += NCT_ZMM) {
        __mmask16 lanes = nct_lanes16(n - j);
        __m512 x = _mm512_maskz_loadu_ps(lanes, s + j);
        x = accurate ? nct_exp16(_mm512_sub_ps(x, shift)) : nct_weight16(4, x, shift);
        sum[0] = _mm512_mask_add_ps(sum[0], lanes, sum[0], x);
    }
    return nct_sum16(_mm512_add_ps(sum[0], sum[1]));
}

static float exp_sum(const float *s, size_t n, float m, bool accurate) {
    return accurate ? sum_of(s, n, m, true) : sum_of(s, n, m, false);
}

/* Two vectors of lanes at a time, as a head's chain of operations is long. */
NCT_INLINE void heads_of(const float *s, size_t s_stride, size_t n_heads, size_t n, const float *m,
                         const float *factor, const bool accurate, float *total) {
    const __m512 most = _mm512_set1_ps(accurate ? 80.0f : 80.0f * NCT_EXP_LOG2E);
    for (size_t j = 0; j < n; j += 2 * NCT_ZMM) {
        const size_t right = n - j > NCT_ZMM ? n - j - NCT_ZMM : 0;
        const __mmask16 lanes[2] = {nct_lanes16(n - j), nct_lanes16(right)};
        __m512 sum[2] = {_mm512_setzero_ps(), _mm512_setzero_ps()};
        for (size_t h = 0; h < n_heads; h++) {
            const __m512 shift = _mm512_set1_ps(accurate ? m[h] : -m[h] * NCT_EXP_LOG2E),
                         f = _mm512_set1_ps(factor[h]);
            NCT_UNROLL
            for (int i = 0; i < 2; i++) {
                __m512 x = _mm512_maskz_loadu_ps(lanes[i], s + h * s_stride + j + i * NCT_ZMM);
                x = accurate
                        ? nct_exp16(_mm512_min_ps(_mm512_sub_ps(x, shift), most))
                        : nct_power16(4, _mm512_min_ps(
                                             _mm512_fmadd_ps(x, _mm512_set1_ps(NCT_EXP_LOG2E), shift), most));
                sum[i] = _mm512_fmadd_ps(x, f, sum[i]);
            }
        }
        NCT_UNROLL
        for (int i = 0; i < 2; i++)
            _mm512_mask_storeu_ps(total + j + i * NCT_ZMM, lanes[i], sum[i]);
    }
}

static void exp_heads(const float *s, size_t s_stride, size_t n_heads, size_t n, const float *m,
                      const float *factor, bool accurate, float *total) {
    if (accurate)
        heads_of(s, s_stride, n_heads, n, m, factor, true, total);
    else
        heads_of(s, s_stride, n_heads, n, m, factor, false, total);
}

/* ------------------------------------------------------------------ scores and their exponentials in one */

/* Keys of a page and what becomes of their scores: up to eight heads and 16 * wide lanes at a time, so that a key is read
 * once and no score is written. */
typedef struct page {
    const uint8_t *k, *next, *q; /* of the heads at hand */
    const float *m, *factor;
    size_t lanes, n_lanes, d;
    float *total;
} page;

NCT_INLINE void page_of(const int n, const int wide, const page *p, size_t first, bool more) {
    const size_t fours = (p->d + 3) / 4, query = nct_query_bytes(p->d);
    const uint8_t *k = p->k + first * 4, *scale = p->k + (fours * p->lanes + first) * 4, *next = p->next;
    const uint8_t *q = p->q;
    __m512i sum[NCT_NARROW][2];
    NCT_UNROLL
    for (int v = 0; v < n; v++) {
        int32_t codes;
        memcpy(&codes, q + (size_t)v * query + sizeof(float), sizeof codes);
        NCT_UNROLL
        for (int j = 0; j < wide; j++)
            sum[v][j] = _mm512_set1_epi32(-128 * codes);
    }
    for (size_t i = 0; i < fours; i++) {
        __m512i key[2];
        NCT_UNROLL
        for (int j = 0; j < wide; j++) {
            key[j] = _mm512_loadu_si512(k + i * p->lanes * 4 + 64 * j);
            if (next)
                __builtin_prefetch(next + (i * p->lanes + first) * 4 + 64 * j);
        }
        NCT_UNROLL
        for (int v = 0; v < n; v++) {
            __m512i four = nct_word(q + (size_t)v * query + NCT_QUERY + 4 * i);
            NCT_UNROLL
            for (int j = 0; j < wide; j++)
                sum[v][j] = nct_dot(sum[v][j], key[j], four);
        }
    }
    const __m512 most = _mm512_set1_ps(80.0f * NCT_EXP_LOG2E);
    NCT_UNROLL
    for (int j = 0; j < wide; j++) {
        const size_t at = first + j * NCT_ZMM;
        const __mmask16 some = at < p->n_lanes ? nct_lanes16(p->n_lanes - at) : 0;
        const __m512 own = _mm512_loadu_ps(scale + 64 * j);
        if (next)
            __builtin_prefetch(next + (fours * p->lanes + first) * 4 + 64 * j);
        __m512 total = more ? _mm512_maskz_loadu_ps(some, p->total + at) : _mm512_setzero_ps();
        NCT_UNROLL
        for (int v = 0; v < n; v++) {
            float gain;
            memcpy(&gain, q + (size_t)v * query, sizeof gain);
            __m512 s = _mm512_mul_ps(_mm512_cvtepi32_ps(sum[v][j]), _mm512_mul_ps(own, _mm512_set1_ps(gain)));
            s = _mm512_fmadd_ps(s, _mm512_set1_ps(NCT_EXP_LOG2E), _mm512_set1_ps(-p->m[v] * NCT_EXP_LOG2E));
            total = _mm512_fmadd_ps(nct_power16(4, _mm512_min_ps(s, most)), _mm512_set1_ps(p->factor[v]), total);
        }
        _mm512_mask_storeu_ps(p->total + at, some, total);
    }
}

#define PAGE_OF(size)                                                                                                  \
    static void page_##size(const page *p, bool more) {                                                                \
        size_t j = 0;                                                                                                  \
        for (; j < p->n_lanes && j + 2 * NCT_ZMM <= p->lanes; j += 2 * NCT_ZMM)                                        \
            page_of(size, 2, p, j, more);                                                                              \
        for (; j < p->n_lanes; j += NCT_ZMM)                                                                           \
            page_of(size, 1, p, j, more);                                                                              \
    }
PAGE_OF(1)
PAGE_OF(2)
PAGE_OF(3)
PAGE_OF(4)
PAGE_OF(5)
PAGE_OF(6)
PAGE_OF(7)
PAGE_OF(8)

static void exp_dots(const void *k, size_t lanes, size_t n_lanes, const void *next, const uint8_t *q, size_t n_heads,
                     size_t d, const float *m, const float *factor, float *total) {
    static void (*const sizes[NCT_NARROW])(const page *, bool) = NCT_EIGHT(page);
    page p = {k, next, q, m, factor, lanes, n_lanes, d, total};
    for (size_t h = 0, n; h < n_heads; h += n) {
        n = n_heads - h < NCT_NARROW ? n_heads - h : NCT_NARROW;
        sizes[n - 1](&p, h > 0);
        p.q += n * nct_query_bytes(d);
        p.m += n;
        p.factor += n;
        p.next = NULL; /* fetched once */
    }
}

/* ------------------------------------------------------------------ the best blocks */

/* Sixteen blocks of four windows and the one before. */
NCT_INLINE __m512 blocks_of_four(const float *total) {
    const __m512i even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30),
                  odd = _mm512_add_epi32(even, _mm512_set1_epi32(1)), fourth = _mm512_slli_epi32(even, 1);
    __m512 own[2], before[2];
    NCT_UNROLL
    for (int i = 0; i < 2; i++) {
        const float *at = total + 2 * i * NCT_ZMM;
        __m512 a = _mm512_loadu_ps(at), b = _mm512_loadu_ps(at + NCT_ZMM);
        own[i] = _mm512_max_ps(_mm512_permutex2var_ps(a, even, b), _mm512_permutex2var_ps(a, odd, b));
        before[i] =
            _mm512_permutex2var_ps(_mm512_loadu_ps(at - 1), fourth, _mm512_loadu_ps(at + NCT_ZMM - 1));
    }
    return _mm512_max_ps(_mm512_max_ps(_mm512_permutex2var_ps(own[0], even, own[1]),
                                       _mm512_permutex2var_ps(own[0], odd, own[1])),
                         _mm512_shuffle_f32x4(before[0], before[1], 0x44));
}

static void window_max(const float *total, size_t s, size_t n, float *score) {
    size_t b = 0;
    for (; s == 4 && b + NCT_ZMM <= n; b += NCT_ZMM)
        _mm512_storeu_ps(score + b, blocks_of_four(total + 4 * b));
    nct_ref_window_max(total + s * b, s, n - b, score + b);
}

static size_t count_above(const float *s, size_t n, float cut) {
    const __m512 least = _mm512_set1_ps(cut);
    size_t count = 0;
    for (size_t j = 0; j < n; j += NCT_ZMM) {
        __mmask16 lanes = nct_lanes16(n - j);
        count += (size_t)__builtin_popcount(
            _mm512_mask_cmp_ps_mask(lanes, _mm512_maskz_loadu_ps(lanes, s + j), least, _CMP_GT_OQ));
    }
    return count;
}

static size_t find_above(const float *s, size_t n, float cut, uint32_t *index) {
    const __m512 least = _mm512_set1_ps(cut);
    __m512i at = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    size_t found = 0;
    for (size_t j = 0; j < n; j += NCT_ZMM) {
        __mmask16 lanes = nct_lanes16(n - j);
        __mmask16 above =
            _mm512_mask_cmp_ps_mask(lanes, _mm512_maskz_loadu_ps(lanes, s + j), least, _CMP_GT_OQ);
        size_t more = (size_t)__builtin_popcount(above);
        if (more) /* in a register first: compressing to memory is slow on some processors */
            _mm512_mask_storeu_epi32(index + found, nct_lanes16(more),
                                     _mm512_maskz_compress_epi32(above, at));
        found += more;
        at = _mm512_add_epi32(at, _mm512_set1_epi32(NCT_ZMM));
    }
    return found;
}

void nct_avx512_score(nct_kernels *k) {
    k->max = max;
    k->exp_sum = exp_sum;
    k->exp_heads = exp_heads;
    k->exp_dots = exp_dots;
    k->window_max = window_max;
    k->count_above = count_above;
    k->find_above = find_above;
}
