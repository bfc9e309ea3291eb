/* Operations on one row of activations. */
#include <math.h>
#include <string.h>

#include "kernel/neon/neon.h"

static void quantize(const nct_panels *w, const float *x, const nct_qrows *q, size_t row, size_t group,
                     size_t group_end) {
    const float32x4_t low = vdupq_n_f32(-127.0f), high = vdupq_n_f32(127.0f);
    int8_t *out = q->q + row * q->q_stride;
    for (size_t g = group; g < group_end; g++) {
        size_t n = nct_group_size(w, g), padded = nct_group_pad(w, n);
        const float *in = x + (g - group) * w->group;
        int8_t *to = out + nct_group_start(w, g);
        float32x4_t top = vdupq_n_f32(0);
        for (size_t i = 0; i < n; i += NCT_QUAD) /* maxnm: a NaN loses */
            top = vmaxnmq_f32(top, vabsq_f32(nct_load4(in + i, n - i)));
        float amax = vmaxvq_f32(top);
        float32x4_t inverse = vdupq_n_f32(amax > 0 ? 127.0f / amax : 0);
        int32x4_t sum = vdupq_n_s32(0);
        for (size_t i = 0; i < padded; i += 2 * NCT_QUAD) { /* a group is padded to eight or sixteen */
            int32x4_t v[2];
            for (size_t h = 0; h < 2; h++) {
                size_t at = i + h * NCT_QUAD;
                float32x4_t r = at < n ? vmulq_f32(nct_load4(in + at, n - at), inverse) : vdupq_n_f32(0);
                v[h] = vcvtnq_s32_f32(vminq_f32(vmaxq_f32(r, low), high)); /* a NaN gives 0 */
                sum = vaddq_s32(sum, v[h]);
            }
            vst1_s8(to + i, vmovn_s16(vcombine_s16(vmovn_s32(v[0]), vmovn_s32(v[1]))));
        }
        q->sum[row * q->n_groups + g] = vaddvq_s32(sum);
        q->scale[row * q->n_groups + g] = amax / 127.0f;
    }
    if (group_end == w->n_groups)
        memset(out + w->n_cols_padded, 0, q->q_stride - w->n_cols_padded);
}

/* The mean square is summed in double, lane by lane: rungs then differ by little more than a rounding. */
static void rms_norm(const float *x, const float *weight, float eps, size_t n, float *y) {
    float64x2_t s0 = vdupq_n_f64(0), s1 = s0;
    for (size_t i = 0; i < n; i += NCT_QUAD) {
        float32x4_t v = nct_load4(x + i, n - i);
        float64x2_t a = vcvt_f64_f32(vget_low_f32(v)), b = vcvt_high_f64_f32(v);
        s0 = vfmaq_f64(s0, a, a);
        s1 = vfmaq_f64(s1, b, b);
    }
    float32x4_t r = vdupq_n_f32((float)(1.0 / sqrt(vaddvq_f64(vaddq_f64(s0, s1)) / (double)n + eps)));
    for (size_t i = 0; i < n; i += NCT_QUAD)
        nct_store4(y + i, n - i, vmulq_f32(nct_load4(weight + i, n - i), vmulq_f32(nct_load4(x + i, n - i), r)));
}

static void rope(float *x, size_t n_heads, size_t d, const float *cos, const float *sin) {
    size_t half = d / 2;
    for (size_t h = 0; h < n_heads; h++, x += d)
        for (size_t i = 0; i < half; i += NCT_QUAD) {
            size_t n = half - i;
            float32x4_t a = nct_load4(x + i, n), b = nct_load4(x + half + i, n);
            float32x4_t c = nct_load4(cos + i, n), s = nct_load4(sin + i, n);
            nct_store4(x + i, n, vsubq_f32(vmulq_f32(a, c), vmulq_f32(b, s)));
            nct_store4(x + half + i, n, vaddq_f32(vmulq_f32(b, c), vmulq_f32(a, s)));
        }
}

/* With e = exp(-|g|) the sigmoid is 1 / (1 + e) or e / (1 + e): nothing overflows. */
static void swiglu(const float *gate, const float *up, size_t n, float *y) {
    const float32x4_t one = vdupq_n_f32(1.0f);
    for (size_t i = 0; i < n; i += NCT_QUAD) {
        float32x4_t g = nct_load4(gate + i, n - i);
        float32x4_t e = nct_exp4(vnegq_f32(vabsq_f32(g)));
        float32x4_t top = vbslq_f32(vcltzq_f32(g), e, one);
        float32x4_t silu = vdivq_f32(vmulq_f32(g, top), vaddq_f32(one, e));
        nct_store4(y + i, n - i, vmulq_f32(silu, nct_load4(up + i, n - i)));
    }
}

static void add_scaled(float *x, const float *y, float scale, size_t n) {
    float32x4_t s = vdupq_n_f32(scale);
    for (size_t i = 0; i < n; i += NCT_QUAD)
        nct_store4(x + i, n - i, vfmaq_f32(nct_load4(x + i, n - i), s, nct_load4(y + i, n - i)));
}

void nct_neon_rows(nct_kernels *k) {
    k->quantize = quantize;
    k->rms_norm = rms_norm;
    k->rope = rope;
    k->swiglu = swiglu;
    k->add_scaled = add_scaled;
}
