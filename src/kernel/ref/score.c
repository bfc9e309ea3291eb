/* Scores of pooled keys, by definition (model-and-infllm-v2.md 3.3). */
#include <math.h>

#include "kernel/ref/ref.h"

static float max(const float *s, size_t n) {
    float top = s[0];
    for (size_t j = 1; j < n; j++)
        top = fmaxf(top, s[j]);
    return top;
}

static float exp_sum(const float *s, size_t n, float m, bool accurate) {
    (void)accurate;
    double sum = 0;
    for (size_t j = 0; j < n; j++)
        sum += expf(s[j] - m);
    return (float)sum;
}

static void exp_heads(const float *s, size_t s_stride, size_t n_heads, size_t n, const float *m,
                      const float *factor, bool accurate, float *total) {
    (void)accurate;
    for (size_t j = 0; j < n; j++) {
        double sum = 0;
        for (size_t h = 0; h < n_heads; h++)
            sum += (double)expf(fminf(s[h * s_stride + j] - m[h], 80)) * factor[h];
        total[j] = (float)sum;
    }
}

void nct_ref_window_max(const float *total, size_t s, size_t n, float *score) {
    for (size_t b = 0; b < n; b++) {
        const float *window = total + s * b;
        float top = window[-1];
        for (size_t j = 0; j < s; j++)
            top = window[j] > top ? window[j] : top;
        score[b] = top;
    }
}

static size_t count_above(const float *s, size_t n, float cut) {
    uint32_t count = 0;
    for (size_t j = 0; j < n; j++)
        count += s[j] > cut;
    return count;
}

static size_t find_above(const float *s, size_t n, float cut, uint32_t *index) {
    size_t found = 0;
    for (size_t j = 0; j < n; j++) {
        index[found] = (uint32_t)j;
        found += s[j] > cut;
    }
    return found;
}

void nct_ref_score(nct_kernels *k) {
    k->dots = nct_ref_dots;
    k->max = max;
    k->exp_sum = exp_sum;
    k->exp_heads = exp_heads;
    k->window_max = nct_ref_window_max;
    k->count_above = count_above;
    k->find_above = find_above;
}
