/* Operations on one row of activations. */
#include <math.h>
#include <string.h>

#include "kernel/avx512/avx512.h"

/* Groups of 128 numbers, which is what most are: everything stays in registers, and numbers that are ordinary need no
 * care. False where they are not: a NaN, an infinity, or so little that the quotient overflows. */
NCT_INLINE bool quantize_128(const float *in, int8_t *out, float *scale, int32_t *sum) {
    const __m512i magnitude = _mm512_set1_epi32(0x7fffffff);
    __m512 v[8];
    __m512i top[8], packed[2];
    NCT_UNROLL for (int i = 0; i < 8; i++) {
        v[i] = _mm512_loadu_ps(in + i * NCT_ZMM);
        top[i] = _mm512_and_si512(_mm512_castps_si512(v[i]), magnitude); /* ordered as integers are; a NaN is on top */
    }
    NCT_UNROLL for (int i = 0; i < 4; i++)
        top[i] = _mm512_max_epi32(top[i], top[i + 4]);
    top[0] = _mm512_max_epi32(_mm512_max_epi32(top[0], top[1]), _mm512_max_epi32(top[2], top[3]));
    const int32_t most = _mm512_reduce_max_epi32(top[0]);
    if (most < 0x04000000 || most >= 0x7f800000)
        return false;
    float amax;
    memcpy(&amax, &most, sizeof amax);
    const __m512 inverse = _mm512_set1_ps(127.0f / amax);
    for (int half = 0; half < 2; half++) {
        __m512i q[4];
        NCT_UNROLL for (int i = 0; i < 4; i++)
            q[i] = _mm512_cvtps_epi32(_mm512_mul_ps(v[4 * half + i], inverse));
        packed[half] = _mm512_packs_epi16(_mm512_packs_epi32(q[0], q[1]), _mm512_packs_epi32(q[2], q[3]));
        packed[half] = _mm512_permutexvar_epi32(
            _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15), packed[half]);
        _mm512_storeu_si512(out + 64 * half, packed[half]);
    }
    const __m512i ones = _mm512_set1_epi8(1);
    *sum = _mm512_reduce_add_epi32(nct_dot(nct_dot(_mm512_setzero_si512(), ones, packed[0]), ones, packed[1]));
    *scale = amax / 127.0f;
    return true;
}

static void quantize(const nct_panels *w, const float *x, const nct_qrows *q, size_t row, size_t group,
                     size_t group_end) {
    const __m512 low = _mm512_set1_ps(-127.0f), high = _mm512_set1_ps(127.0f);
    int8_t *out = q->q + row * q->q_stride;
    float *scale = q->scale + row * q->n_groups;
    for (size_t g = group; g < group_end; g++) {
        size_t n = nct_group_size(w, g), padded = nct_group_pad(w, n);
        const float *in = x + (g - group) * w->group;
        int8_t *to = out + nct_group_start(w, g);
        if (n == 128 && quantize_128(in, to, &scale[g], &q->sum[row * q->n_groups + g]))
            continue;
        __m512 top = _mm512_setzero_ps(); /* a NaN in the first operand of max yields the second */
        for (size_t i = 0; i < n; i += NCT_ZMM)
            top = _mm512_max_ps(_mm512_abs_ps(_mm512_maskz_loadu_ps(nct_lanes16(n - i), in + i)), top);
        float amax = _mm512_reduce_max_ps(top);
        __m512 inverse = _mm512_set1_ps(amax > 0 ? 127.0f / amax : 0);
        __m512i sum = _mm512_setzero_si512();
        for (size_t i = 0; i < n; i += NCT_ZMM) {
            __m512 r = _mm512_mul_ps(_mm512_maskz_loadu_ps(nct_lanes16(n - i), in + i), inverse);
            __mmask16 number = _mm512_cmp_ps_mask(r, r, _CMP_ORD_Q);
            __m512i v = _mm512_maskz_cvtps_epi32(number, _mm512_min_ps(_mm512_max_ps(r, low), high));
            sum = _mm512_add_epi32(sum, v);
            if (padded - i >= NCT_ZMM) /* a masked store is slow on some processors */
                _mm_storeu_si128((__m128i *)(void *)(to + i), _mm512_cvtepi32_epi8(v));
            else
                _mm512_mask_cvtepi32_storeu_epi8(to + i, nct_lanes16(padded - i), v);
        }
        q->sum[row * q->n_groups + g] = _mm512_reduce_add_epi32(sum);
        scale[g] = amax / 127.0f;
    }
    if (group_end == w->n_groups)
        memset(out + w->n_cols_padded, 0, q->q_stride - w->n_cols_padded);
}

/* The mean square is summed in double, lane by lane: rungs then differ by little more than a rounding. */
static void rms_norm(const float *x, const float *weight, float eps, size_t n, float *y) {
    __m512d s0 = _mm512_setzero_pd(), s1 = s0;
    for (size_t i = 0; i < n; i += NCT_ZMM) {
        __m512 v = _mm512_maskz_loadu_ps(nct_lanes16(n - i), x + i);
        __m512d a = _mm512_cvtps_pd(_mm512_castps512_ps256(v)), b = _mm512_cvtps_pd(_mm512_extractf32x8_ps(v, 1));
        s0 = _mm512_fmadd_pd(a, a, s0);
        s1 = _mm512_fmadd_pd(b, b, s1);
    }
    double sum = _mm512_reduce_add_pd(_mm512_add_pd(s0, s1));
    __m512 r = _mm512_set1_ps((float)(1.0 / sqrt(sum / (double)n + eps)));
    for (size_t i = 0; i < n; i += NCT_ZMM) {
        __mmask16 lanes = nct_lanes16(n - i);
        __m512 v = _mm512_mul_ps(_mm512_maskz_loadu_ps(lanes, x + i), r);
        _mm512_mask_storeu_ps(y + i, lanes, _mm512_mul_ps(_mm512_maskz_loadu_ps(lanes, weight + i), v));
    }
}

static void rope(float *x, size_t n_heads, size_t d, const float *cos, const float *sin) {
    size_t half = d / 2;
    for (size_t h = 0; h < n_heads; h++, x += d)
        for (size_t i = 0; i < half; i += NCT_ZMM) {
            __mmask16 lanes = nct_lanes16(half - i);
            __m512 a = _mm512_maskz_loadu_ps(lanes, x + i), b = _mm512_maskz_loadu_ps(lanes, x + half + i);
            __m512 c = _mm512_maskz_loadu_ps(lanes, cos + i), s = _mm512_maskz_loadu_ps(lanes, sin + i);
            _mm512_mask_storeu_ps(x + i, lanes, _mm512_sub_ps(_mm512_mul_ps(a, c), _mm512_mul_ps(b, s)));
            _mm512_mask_storeu_ps(x + half + i, lanes, _mm512_add_ps(_mm512_mul_ps(b, c), _mm512_mul_ps(a, s)));
        }
}

/* With e = exp(-|g|) the sigmoid is 1 / (1 + e) or e / (1 + e): nothing overflows. */
static void swiglu(const float *gate, const float *up, size_t n, float *y) {
    const __m512 sign = _mm512_set1_ps(-0.0f), one = _mm512_set1_ps(1.0f);
    for (size_t i = 0; i < n; i += NCT_ZMM) {
        __mmask16 lanes = nct_lanes16(n - i);
        __m512 g = _mm512_maskz_loadu_ps(lanes, gate + i);
        __m512 e = nct_exp16(_mm512_or_ps(g, sign));
        __m512 top = _mm512_mask_blend_ps(_mm512_movepi32_mask(_mm512_castps_si512(g)), one, e);
        __m512 silu = _mm512_div_ps(_mm512_mul_ps(g, top), _mm512_add_ps(one, e));
        _mm512_mask_storeu_ps(y + i, lanes, _mm512_mul_ps(silu, _mm512_maskz_loadu_ps(lanes, up + i)));
    }
}

static void add_scaled(float *x, const float *y, float scale, size_t n) {
    __m512 s = _mm512_set1_ps(scale);
    for (size_t i = 0; i < n; i += NCT_ZMM) {
        __mmask16 lanes = nct_lanes16(n - i);
        __m512 v = _mm512_fmadd_ps(s, _mm512_maskz_loadu_ps(lanes, y + i), _mm512_maskz_loadu_ps(lanes, x + i));
        _mm512_mask_storeu_ps(x + i, lanes, v);
    }
}

void nct_avx512_rows(nct_kernels *k) {
    k->quantize = quantize;
    k->rms_norm = rms_norm;
    k->rope = rope;
    k->swiglu = swiglu;
    k->add_scaled = add_scaled;
}
