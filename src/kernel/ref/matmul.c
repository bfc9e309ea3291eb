/* Matrix products by definition: one output at a time, floats summed in double. */
#include <math.h>
#include <string.h>

#include "base/num.h"
#include "kernel/ref/ref.h"

static void quantize(const nct_panels *w, const float *x, const nct_qrows *q, size_t row, size_t group,
                     size_t group_end) {
    int8_t *out = q->q + row * q->q_stride;
    for (size_t g = group; g < group_end; g++) {
        size_t n = nct_group_size(w, g);
        const float *in = x + (g - group) * w->group;
        int8_t *to = out + nct_group_start(w, g);
        memset(to, 0, nct_group_pad(w, n));
        float amax = 0;
        for (size_t i = 0; i < n; i++)
            amax = fmaxf(amax, fabsf(in[i]));
        int32_t sum = 0;
        if (amax > 0) {
            float inverse = 127.0f / amax;
            for (size_t i = 0; i < n; i++) {
                float r = nearbyintf(in[i] * inverse); /* an infinite quotient (tiny amax) is clamped, a NaN is 0 */
                to[i] = (int8_t)(r == r ? fminf(fmaxf(r, -127.0f), 127.0f) : 0);
                sum += to[i];
            }
        }
        q->scale[row * q->n_groups + g] = amax / 127.0f;
        q->sum[row * q->n_groups + g] = sum;
    }
    if (group_end == w->n_groups)
        memset(out + w->n_cols_padded, 0, q->q_stride - w->n_cols_padded);
}

static inline float scale_at(const nct_panels *w, const uint8_t *panel, size_t g, size_t o) {
    const uint8_t *scales = panel + w->scale_off;
    if (w->scale_f32)
        return ((const float *)(const void *)scales)[g * NCT_PANEL + o];
    return nct_f16_to_f32(((const uint16_t *)(const void *)scales)[g * NCT_PANEL + o]);
}
static inline float min_at(const nct_panels *w, const uint8_t *panel, size_t g, size_t o) {
    return w->has_min ? ((const float *)(const void *)(panel + w->min_off))[g * NCT_PANEL + o] : 0;
}

static inline void matmul_codes(const nct_panels *w, const nct_qrows *x, size_t n_rows, float *y, size_t y_stride,
                                size_t first, size_t end, int bits) {
    for (size_t p = first; p < end; p++) {
        const uint8_t *panel = w->data + p * w->panel_bytes;
        for (size_t o = 0; o < NCT_PANEL && p * NCT_PANEL + o < w->n_rows; o++)
            for (size_t t = 0; t < n_rows; t++) {
                double sum = 0;
                for (size_t g = 0; g < w->n_groups; g++) {
                    size_t start = nct_group_start(w, g), n = nct_group_size(w, g);
                    const int8_t *q = x->q + t * x->q_stride + start;
                    int32_t isum = 0;
                    for (size_t i = 0; i < n; i++)
                        isum += ((int32_t)nct_code(bits, panel, o, start + i) - w->bias) * q[i];
                    float as = x->scale[t * x->n_groups + g];
                    sum += (double)(scale_at(w, panel, g, o) * as) * isum;
                    sum += (double)(min_at(w, panel, g, o) * as) * x->sum[t * x->n_groups + g];
                }
                y[t * y_stride + p * NCT_PANEL + o] = (float)sum;
            }
    }
}

#define CODES_ENTRY(bits)                                                                                              \
    static void matmul_codes##bits(const nct_panels *w, const nct_qrows *x, size_t n_rows, float *y, size_t y_stride,  \
                                   size_t first, size_t end) {                                                         \
        matmul_codes(w, x, n_rows, y, y_stride, first, end, bits);                                                     \
    }
CODES_ENTRY(2)
CODES_ENTRY(4)
CODES_ENTRY(8)

typedef float weight_fn(const nct_panels *w, const uint8_t *panel, size_t o, size_t column);

static float weight_f32(const nct_panels *w, const uint8_t *panel, size_t o, size_t k) {
    (void)w;
    return ((const float *)(const void *)panel)[k * NCT_PANEL + o];
}
static float weight_f16(const nct_panels *w, const uint8_t *panel, size_t o, size_t k) {
    (void)w;
    return nct_f16_to_f32(((const uint16_t *)(const void *)panel)[k * NCT_PANEL + o]);
}
static float weight_bf16(const nct_panels *w, const uint8_t *panel, size_t o, size_t k) {
    (void)w;
    return nct_bf16_to_f32(((const uint16_t *)(const void *)panel)[k * NCT_PANEL + o]);
}
static inline float weight_codes(const nct_panels *w, const uint8_t *panel, size_t o, size_t k, int bits) {
    size_t g = k / w->group;
    int c = (int)nct_code(bits, panel, o, nct_group_start(w, g) + k % w->group) - w->bias;
    return scale_at(w, panel, g, o) * (float)c + min_at(w, panel, g, o);
}
#define WEIGHT_CODES(bits)                                                                                             \
    static float weight_codes##bits##_exact(const nct_panels *w, const uint8_t *panel, size_t o, size_t k) {           \
        return weight_codes(w, panel, o, k, bits);                                                                     \
    }
WEIGHT_CODES(2)
WEIGHT_CODES(4)
WEIGHT_CODES(8)

static inline void matmul_float(const nct_panels *w, const float *x, size_t x_stride, size_t n_rows, float *y,
                                size_t y_stride, size_t first, size_t end, weight_fn *weight) {
    for (size_t p = first; p < end; p++) {
        const uint8_t *panel = w->data + p * w->panel_bytes;
        for (size_t o = 0; o < NCT_PANEL && p * NCT_PANEL + o < w->n_rows; o++)
            for (size_t t = 0; t < n_rows; t++) {
                double sum = 0;
                for (size_t k = 0; k < w->n_cols; k++)
                    sum += (double)weight(w, panel, o, k) * x[t * x_stride + k];
                y[t * y_stride + p * NCT_PANEL + o] = (float)sum;
            }
    }
}

#define FLOAT_ENTRY(suffix)                                                                                            \
    static void matmul_##suffix(const nct_panels *w, const float *x, size_t x_stride, size_t n_rows, float *y,         \
                                size_t y_stride, size_t first, size_t end) {                                          \
        matmul_float(w, x, x_stride, n_rows, y, y_stride, first, end, weight_##suffix);                               \
    }
FLOAT_ENTRY(f32)
FLOAT_ENTRY(f16)
FLOAT_ENTRY(bf16)
FLOAT_ENTRY(codes2_exact)
FLOAT_ENTRY(codes4_exact)
FLOAT_ENTRY(codes8_exact)

void nct_ref_matmul(nct_kernels *k) {
    k->quantize = quantize;
    k->matmul_codes2 = matmul_codes2;
    k->matmul_codes4 = matmul_codes4;
    k->matmul_codes8 = matmul_codes8;
    k->matmul_f32 = matmul_f32;
    k->matmul_f16 = matmul_f16;
    k->matmul_bf16 = matmul_bf16;
    k->matmul_codes2_exact = matmul_codes2_exact;
    k->matmul_codes4_exact = matmul_codes4_exact;
    k->matmul_codes8_exact = matmul_codes8_exact;
}
