/* Operations on one row of activations. */
#include <math.h>
#include <string.h>

#include "kernel/avx2/avx2.h"

static __m256 load_some(const float *x, size_t n) {
    return n >= NCT_YMM ? _mm256_loadu_ps(x) : _mm256_maskload_ps(x, nct_lanes8(n));
}
static void store_some(float *y, size_t n, __m256 v) {
    if (n >= NCT_YMM)
        _mm256_storeu_ps(y, v);
    else
        _mm256_maskstore_ps(y, nct_lanes8(n), v);
}

static void quantize(const nct_panels *w, const float *x, const nct_qrows *q, size_t row, size_t group,
                     size_t group_end) {
    const __m256 magnitude = _mm256_castsi256_ps(_mm256_set1_epi32(0x7fffffff));
    const __m256 low = _mm256_set1_ps(-127.0f), high = _mm256_set1_ps(127.0f);
    int8_t *out = q->q + row * q->q_stride;
    float *scale = q->scale + row * q->n_groups;
    for (size_t g = group; g < group_end; g++) { /* all maxima first: each is a long chain that others can hide */
        size_t n = nct_group_size(w, g);
        const float *in = x + (g - group) * w->group;
        __m256 top = _mm256_setzero_ps(); /* a NaN in the first operand of max yields the second */
        for (size_t i = 0; i < n; i += NCT_YMM)
            top = _mm256_max_ps(_mm256_and_ps(load_some(in + i, n - i), magnitude), top);
        scale[g] = nct_max8(top);
    }
    for (size_t g = group; g < group_end; g++) {
        size_t n = nct_group_size(w, g), padded = nct_group_pad(w, n), i = 0;
        const float *in = x + (g - group) * w->group;
        int8_t *to = out + nct_group_start(w, g);
        float amax = scale[g];
        __m256 inverse = _mm256_set1_ps(amax > 0 ? 127.0f / amax : 0);
        __m256i sum = _mm256_setzero_si256();
        for (; i < n; i += NCT_YMM) { /* a group is padded to whole vectors */
            __m256 r = _mm256_mul_ps(load_some(in + i, n - i), inverse);
            r = _mm256_and_ps(r, _mm256_cmp_ps(r, r, _CMP_ORD_Q));
            __m256i v = _mm256_cvtps_epi32(_mm256_min_ps(_mm256_max_ps(r, low), high));
            sum = _mm256_add_epi32(sum, v);
            __m128i half = _mm_packs_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
            _mm_storel_epi64((__m128i *)(void *)(to + i), _mm_packs_epi16(half, half));
        }
        for (; i < padded; i += NCT_YMM)
            memset(to + i, 0, NCT_YMM);
        __m128i s = _mm_add_epi32(_mm256_castsi256_si128(sum), _mm256_extracti128_si256(sum, 1));
        s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0x4e));
        s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0xb1));
        q->sum[row * q->n_groups + g] = _mm_cvtsi128_si32(s);
        scale[g] = amax / 127.0f;
    }
    if (group_end == w->n_groups)
        memset(out + w->n_cols_padded, 0, q->q_stride - w->n_cols_padded);
}

/* The mean square is summed in double, lane by lane: rungs then differ by little more than a rounding. */
static void rms_norm(const float *x, const float *weight, float eps, size_t n, float *y) {
    __m256d s0 = _mm256_setzero_pd(), s1 = s0;
    for (size_t i = 0; i < n; i += NCT_YMM) {
        __m256 v = load_some(x + i, n - i);
        __m256d a = _mm256_cvtps_pd(_mm256_castps256_ps128(v)), b = _mm256_cvtps_pd(_mm256_extractf128_ps(v, 1));
        s0 = _mm256_fmadd_pd(a, a, s0);
        s1 = _mm256_fmadd_pd(b, b, s1);
    }
    s0 = _mm256_add_pd(s0, s1);
    __m128d s = _mm_add_pd(_mm256_castpd256_pd128(s0), _mm256_extractf128_pd(s0, 1));
    double sum = _mm_cvtsd_f64(s) + _mm_cvtsd_f64(_mm_unpackhi_pd(s, s));
    __m256 r = _mm256_set1_ps((float)(1.0 / sqrt(sum / (double)n + eps)));
    for (size_t i = 0; i < n; i += NCT_YMM)
        store_some(y + i, n - i,
                   _mm256_mul_ps(load_some(weight + i, n - i), _mm256_mul_ps(load_some(x + i, n - i), r)));
}

static void rope(float *x, size_t n_heads, size_t d, const float *cos, const float *sin) {
    size_t half = d / 2;
    for (size_t h = 0; h < n_heads; h++, x += d)
        for (size_t i = 0; i < half; i += NCT_YMM) {
            size_t n = half - i;
            __m256 a = load_some(x + i, n), b = load_some(x + half + i, n);
            __m256 c = load_some(cos + i, n), s = load_some(sin + i, n);
            store_some(x + i, n, _mm256_sub_ps(_mm256_mul_ps(a, c), _mm256_mul_ps(b, s)));
            store_some(x + half + i, n, _mm256_add_ps(_mm256_mul_ps(b, c), _mm256_mul_ps(a, s)));
        }
}

/* With e = exp(-|g|) the sigmoid is 1 / (1 + e) or e / (1 + e): nothing overflows. */
static void swiglu(const float *gate, const float *up, size_t n, float *y) {
    const __m256 sign = _mm256_set1_ps(-0.0f), one = _mm256_set1_ps(1.0f);
    for (size_t i = 0; i < n; i += NCT_YMM) {
        __m256 g = load_some(gate + i, n - i);
        __m256 e = nct_exp8(_mm256_or_ps(g, sign));
        __m256 top = _mm256_blendv_ps(one, e, g);
        __m256 silu = _mm256_div_ps(_mm256_mul_ps(g, top), _mm256_add_ps(one, e));
        store_some(y + i, n - i, _mm256_mul_ps(silu, load_some(up + i, n - i)));
    }
}

static void add_scaled(float *x, const float *y, float scale, size_t n) {
    __m256 s = _mm256_set1_ps(scale);
    for (size_t i = 0; i < n; i += NCT_YMM)
        store_some(x + i, n - i, _mm256_fmadd_ps(s, load_some(y + i, n - i), load_some(x + i, n - i)));
}

void nct_avx2_rows(nct_kernels *k) {
    k->quantize = quantize;
    k->rms_norm = rms_norm;
    k->rope = rope;
    k->swiglu = swiglu;
    k->add_scaled = add_scaled;
}
