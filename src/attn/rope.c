#include "attn/rope.h"

#include <math.h>

nct_status nct_rope_open(size_t head_dim, double theta, const double *factor, double max_positions, double original_max,
                         nct_rope *rope, nct_error *err) {
    nct_rope r = {.half = head_dim / 2, .scale = 1};
    void *p = NULL;
    NCT_TRY(nct_alloc(&p, 2 * r.half, sizeof(float), err));
    r.inv_freq = p;
    r.inv_factor = r.inv_freq + r.half;
    for (size_t i = 0; i < r.half; i++) {
        float exponent = (float)(2 * i) / (float)head_dim;
        r.inv_freq[i] = 1.0f / powf((float)theta, exponent);
        r.inv_factor[i] = factor ? 1.0f / (float)factor[i] : 1.0f;
    }
    if (factor && max_positions > 0 && original_max > 1) {
        double ratio = max_positions / original_max;
        r.scale = ratio > 1 ? (float)sqrt(1 + log(ratio) / log(original_max)) : 1.0f;
    }
    *rope = r;
    return NCT_OK;
}

void nct_rope_close(nct_rope *rope) {
    nct_free(rope->inv_freq);
    *rope = (nct_rope){0};
}

void nct_rope_at(const nct_rope *rope, size_t position, float *cos, float *sin) {
    for (size_t i = 0; i < rope->half; i++) {
        float angle = (float)position * rope->inv_factor[i] * rope->inv_freq[i];
        cos[i] = cosf(angle) * rope->scale;
        sin[i] = sinf(angle) * rope->scale;
    }
}
