/** Blocks of cached keys and values (layouts: kernel.h), one position at a time: stored and read back. */
#ifndef NCT_KERNEL_KV_H
#define NCT_KERNEL_KV_H

#include <math.h>

#include "base/num.h"
#include "kernel/kernel.h"

/* A lane that a row does not see gets weight 0, and 0 times infinity would be seen. */
static inline float nct_kv_finite(float x, float most) { return x > most ? most : x < -most ? -most : x; }
static inline uint16_t nct_kv_f16(float x) { return nct_f32_to_f16(nct_kv_finite(x, 65504.0f)); }
static inline uint16_t nct_kv_bf16(float x) { return nct_f32_to_bf16(nct_kv_finite(x, 0x1.fep+127f)); }

/** The scale of a vector in Q8, and what to multiply with before rounding. NaNs count as zero. */
static inline float nct_kv_scale(const float *x, size_t d, float *inverse) {
    float amax = 0;
    for (size_t i = 0; i < d; i++)
        amax = fmaxf(amax, fabsf(nct_kv_finite(x[i], 1e38f)));
    *inverse = amax > 0 ? 127.0f / amax : 0;
    return amax / 127.0f;
}
static inline int nct_kv_round(float x, float inverse) {
    float r = x * inverse;
    return r == r ? (int)rintf(nct_kv_finite(r, 127.0f)) : 0;
}

/** Key x [d] into lane `lane` of a block of `lanes`. */
static inline void nct_key_put(nct_kv_type type, void *block, size_t lanes, size_t lane, const float *x,
                               size_t d) {
    if (type == NCT_KV_F16 || type == NCT_KV_BF16) {
        uint16_t *to = block;
        if (type == NCT_KV_F16)
            for (size_t i = 0; i < d; i++)
                to[i * lanes + lane] = nct_kv_f16(x[i]);
        else
            for (size_t i = 0; i < d; i += 2) { /* a pair at once: each lies in a line of its own */
                uint16_t two[2] = {nct_kv_bf16(x[i]), i + 1 < d ? nct_kv_bf16(x[i + 1]) : 0};
                memcpy(to + (i / 2 * lanes + lane) * 2, two, sizeof two);
            }
    } else if (type == NCT_KV_Q8) {
        size_t padded = (d + 3) / 4 * 4;
        uint8_t *to = block;
        float inverse, scale = nct_kv_scale(x, d, &inverse);
        for (size_t i = 0; i < padded; i++)
            to[(i / 4 * lanes + lane) * 4 + i % 4] =
                (uint8_t)(128 + (i < d ? nct_kv_round(x[i], inverse) : 0));
        memcpy(to + (padded * lanes + lane * sizeof scale), &scale, sizeof scale);
    } else {
        float *to = block;
        for (size_t i = 0; i < d; i++)
            to[i * lanes + lane] = x[i];
    }
}

/** The key of one lane, as attention sees it. */
static inline void nct_key_get(nct_kv_type type, const void *block, size_t lanes, size_t lane, size_t d,
                               float *x) {
    if (type == NCT_KV_F16) {
        for (size_t i = 0; i < d; i++)
            x[i] = nct_f16_to_f32(((const uint16_t *)block)[i * lanes + lane]);
    } else if (type == NCT_KV_BF16) {
        for (size_t i = 0; i < d; i++)
            x[i] = nct_bf16_to_f32(((const uint16_t *)block)[(i / 2 * lanes + lane) * 2 + i % 2]);
    } else if (type == NCT_KV_Q8) {
        const uint8_t *from = block;
        float scale;
        memcpy(&scale, from + ((d + 3) / 4 * 4 * lanes + lane * sizeof scale), sizeof scale);
        for (size_t i = 0; i < d; i++)
            x[i] = (float)(from[(i / 4 * lanes + lane) * 4 + i % 4] - 128) * scale;
    } else {
        for (size_t i = 0; i < d; i++)
            x[i] = ((const float *)block)[i * lanes + lane];
    }
}

/** Value x [d] into lane `lane` of a block of 64. */
static inline void nct_value_put(nct_kv_type type, void *block, size_t lane, const float *x, size_t d) {
    if (type == NCT_KV_F16) {
        uint16_t *to = (uint16_t *)block + lane * d;
        for (size_t i = 0; i < d; i++)
            to[i] = nct_kv_f16(x[i]);
    } else if (type == NCT_KV_BF16) {
        uint16_t *to = (uint16_t *)block + lane / 2 * d * 2 + lane % 2;
        for (size_t i = 0; i < d; i++)
            to[2 * i] = nct_kv_bf16(x[i]);
    } else if (type == NCT_KV_Q8) {
        int8_t *to = (int8_t *)block + lane / 4 * d * 4 + lane % 4;
        float inverse, scale = nct_kv_scale(x, d, &inverse);
        for (size_t i = 0; i < d; i++)
            to[4 * i] = (int8_t)nct_kv_round(x[i], inverse);
        memcpy((uint8_t *)block + (d * NCT_STEP + lane * sizeof scale), &scale, sizeof scale);
    } else {
        memcpy((float *)block + lane * d, x, d * sizeof *x);
    }
}

static inline void nct_value_get(nct_kv_type type, const void *block, size_t lane, size_t d, float *x) {
    if (type == NCT_KV_F16) {
        for (size_t i = 0; i < d; i++)
            x[i] = nct_f16_to_f32(((const uint16_t *)block)[lane * d + i]);
    } else if (type == NCT_KV_BF16) {
        for (size_t i = 0; i < d; i++)
            x[i] = nct_bf16_to_f32(((const uint16_t *)block)[(lane / 2 * d + i) * 2 + lane % 2]);
    } else if (type == NCT_KV_Q8) {
        float scale;
        memcpy(&scale, (const uint8_t *)block + (d * NCT_STEP + lane * sizeof scale), sizeof scale);
        for (size_t i = 0; i < d; i++)
            x[i] = (float)((const int8_t *)block)[(lane / 4 * d + i) * 4 + lane % 4] * scale;
    } else {
        memcpy(x, (const float *)block + lane * d, d * sizeof *x);
    }
}

/* ------------------------------------------------------------------ for kernels that compute with floats */

/* A readied query begins with its scale; floats or codes lie behind. */
enum { NCT_QUERY = 64 };

/** Readies queries as floats, for Q8 as the rounded integers, filled up with zeros: a nct_query_fn. */
static inline void nct_query_floats(nct_kv_type k_type, const float *q, size_t n, size_t d, uint8_t *out) {
    for (size_t h = 0; h < n; h++, q += d, out += nct_query_bytes(d)) {
        float scale = 1, inverse, *to = (float *)(void *)(out + NCT_QUERY);
        memset(to + d, 0,
               nct_query_bytes(d) - NCT_QUERY - d * sizeof *to); /* met by what keys are filled up with */
        if (k_type != NCT_KV_Q8) {
            memcpy(to, q, d * sizeof *q);
        } else {
            scale = nct_kv_scale(q, d, &inverse);
            for (size_t i = 0; i < d; i++)
                to[i] = (float)nct_kv_round(q[i], inverse);
        }
        memcpy(out, &scale, sizeof scale);
    }
}

/** Readies queries for rungs that multiply bytes: of Q8 the scale, the sum of the codes, then these, filled up to fours;
 *  floats otherwise. A nct_query_fn. */
static inline void nct_query_codes(nct_kv_type k_type, const float *q, size_t n, size_t d, uint8_t *out) {
    if (k_type != NCT_KV_Q8) {
        nct_query_floats(k_type, q, n, d, out);
        return;
    }
    for (size_t h = 0; h < n; h++, q += d, out += nct_query_bytes(d)) {
        float inverse, scale = nct_kv_scale(q, d, &inverse);
        int32_t sum = 0;
        int8_t *code = (int8_t *)out + NCT_QUERY;
        for (size_t i = 0; i < (d + 3) / 4 * 4; i++)
            sum += code[i] = (int8_t)(i < d ? nct_kv_round(q[i], inverse) : 0);
        memcpy(out, &scale, sizeof scale);
        memcpy(out + sizeof scale, &sum, sizeof sum);
    }
}

/** A block as a matrix of rows: what is stored, and how many rows lie in one another. Q8 codes are unsigned in keys
 *  and signed in values. */
typedef enum nct_form { NCT_FLOATS, NCT_HALVES, NCT_PAIRS, NCT_UNSIGNED, NCT_SIGNED } nct_form;
static inline size_t nct_form_nested(nct_form form) {
    return form == NCT_PAIRS ? 2 : form >= NCT_UNSIGNED ? 4 : 1;
}
/** Bytes of a column of the rows that lie in one another. */
static inline size_t nct_form_bytes(nct_form form) { return form == NCT_HALVES ? 2 : 4; }

#endif
