/* Operations on one row of activations. */
#include <math.h>

#include "kernel/ref/ref.h"

static void rms_norm(const float *x, const float *weight, float eps, size_t n, float *y) {
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (double)x[i] * x[i];
    float r = (float)(1.0 / sqrt(sum / (double)n + eps));
    for (size_t i = 0; i < n; i++)
        y[i] = weight[i] * (x[i] * r);
}

static void rope(float *x, size_t n_heads, size_t d, const float *cos, const float *sin) {
    for (size_t h = 0; h < n_heads; h++, x += d)
        for (size_t i = 0; i < d / 2; i++) {
            float a = x[i], b = x[i + d / 2];
            x[i] = a * cos[i] - b * sin[i];
            x[i + d / 2] = b * cos[i] + a * sin[i];
        }
}

static void swiglu(const float *gate, const float *up, size_t n, float *y) {
    for (size_t i = 0; i < n; i++)
        y[i] = gate[i] / (1.0f + expf(-gate[i])) * up[i];
}

static void add_scaled(float *x, const float *y, float scale, size_t n) {
    for (size_t i = 0; i < n; i++)
        x[i] += scale * y[i];
}

void nct_ref_rows(nct_kernels *k) {
    k->rms_norm = rms_norm;
    k->rope = rope;
    k->swiglu = swiglu;
    k->add_scaled = add_scaled;
}
