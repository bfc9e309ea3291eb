/* Attention over cached positions, by definition (model-and-infllm-v2.md 3.11). */
#include <math.h>
#include <string.h>

#include "kernel/kv.h"
#include "kernel/ref/ref.h"

/* Integers of Q8 are summed as such: doubles hold them exactly. */
static float score(nct_kv_type type, const void *k, size_t lanes, size_t lane, const uint8_t *q, size_t d) {
    const float *x = (const float *)(const void *)(q + NCT_QUERY);
    double dot = 0;
    if (type == NCT_KV_Q8) {
        const uint8_t *code = k;
        float own, scale;
        memcpy(&own, q, sizeof own);
        memcpy(&scale, code + ((d + 3) / 4 * 4 * lanes + lane * sizeof scale), sizeof scale);
        for (size_t i = 0; i < d; i++)
            dot += (double)x[i] * (code[(i / 4 * lanes + lane) * 4 + i % 4] - 128);
        return (float)dot * (own * scale);
    }
    for (size_t i = 0; i < d; i++) {
        float key = type == NCT_KV_F16 ? nct_f16_to_f32(((const uint16_t *)k)[i * lanes + lane])
                    : type == NCT_KV_BF16
                        ? nct_bf16_to_f32(((const uint16_t *)k)[(i / 2 * lanes + lane) * 2 + i % 2])
                        : ((const float *)k)[i * lanes + lane];
        dot += (double)x[i] * key;
    }
    return (float)dot;
}

void nct_ref_dots(nct_kv_type k_type, const void *k, size_t lanes, size_t n_lanes, const void *next,
                  const uint8_t *q, size_t n_heads, size_t d, float *s, size_t s_stride) {
    (void)next;
    for (size_t h = 0; h < n_heads; h++)
        for (size_t j = 0; j < n_lanes; j++)
            s[h * s_stride + j] = score(k_type, k, lanes, j, q + h * nct_query_bytes(d), d);
}

/* acc += sum of p_j v[j] over the visible lanes. */
static void add_values(nct_kv_type type, const void *v, uint64_t visible, const float p[NCT_STEP], size_t d,
                       float *acc) {
    if (type == NCT_KV_Q8) {
        const int8_t *code = v;
        float scale[NCT_STEP], most = 0;
        memcpy(scale, code + d * NCT_STEP, sizeof scale);
        for (size_t j = 0; j < NCT_STEP; j++)
            if (visible >> j & 1)
                most = fmaxf(most, scale[j] *= p[j]);
        float inverse = most > 0 ? 255.0f / most : 0;
        for (size_t i = 0; i < d; i++) {
            int sum = 0;
            for (size_t j = 0; j < NCT_STEP; j++)
                if (visible >> j & 1)
                    sum += (int)rintf(scale[j] * inverse) * code[(j / 4 * d + i) * 4 + j % 4];
            acc[i] += most / 255.0f * (float)sum;
        }
        return;
    }
    for (size_t j = 0; j < NCT_STEP; j++)
        for (size_t i = 0; i < d && (visible >> j & 1); i++) {
            float value = type == NCT_KV_F16 ? nct_f16_to_f32(((const uint16_t *)v)[j * d + i])
                          : type == NCT_KV_BF16
                              ? nct_bf16_to_f32(((const uint16_t *)v)[(j / 2 * d + i) * 2 + j % 2])
                              : ((const float *)v)[j * d + i];
            acc[i] += p[j] * value;
        }
}

/* One step of one head, on top of m, l and acc. */
static void add_step(const nct_attend_job *job, size_t s, uint64_t visible, const uint8_t *q, float *m,
                     float *l, float *acc) {
    float x[NCT_STEP], top = *m;
    for (size_t j = 0; j < NCT_STEP; j++)
        if (visible >> j & 1)
            top = fmaxf(top, x[j] = score(job->k_type, job->step[s].k, NCT_STEP, j, q, job->d));
    float a = expf(*m - top);
    double sum = 0;
    for (size_t j = 0; j < NCT_STEP; j++)
        if (visible >> j & 1)
            sum += x[j] = expf(x[j] - top);
    for (size_t i = 0; i < job->d; i++)
        acc[i] *= a;
    add_values(job->v_type, job->step[s].v, visible, x, job->d, acc);
    *l = *l * a + (float)sum;
    *m = top;
}

static void merge(float *m_total, float *l_total, float *acc_total, const float *m, const float *l,
                  const float *acc, size_t n, size_t d) {
    for (size_t h = 0; h < n; h++, acc_total += d, acc += d) {
        if (l[h] == 0)
            continue;
        if (l_total[h] == 0) {
            m_total[h] = m[h];
            l_total[h] = l[h];
            memcpy(acc_total, acc, d * sizeof *acc);
            continue;
        }
        float top = fmaxf(m_total[h], m[h]);
        float a = expf(m_total[h] - top), b = expf(m[h] - top);
        for (size_t i = 0; i < d; i++)
            acc_total[i] = acc_total[i] * a + acc[i] * b;
        l_total[h] = l_total[h] * a + l[h] * b;
        m_total[h] = top;
    }
}

static void attend(const nct_attend_job *job) {
    float *acc = job->scratch; /* of one segment of one head */
    for (size_t t = 0; t < job->n_rows; t++)
        for (size_t h = 0; h < job->n_heads; h++) {
            const uint8_t *q = job->q + t * job->q_stride + h * nct_query_bytes(job->d);
            size_t at = t * job->n_heads + h, seen = 0;
            float m = -INFINITY, l = 0;
            for (size_t s = 0; s < job->n_steps; s++) {
                if (job->mask[s * job->n_rows + t]) {
                    if (seen % NCT_SEGMENT_STEPS == 0)
                        memset(acc, 0, job->d * sizeof *acc);
                    add_step(job, s, job->mask[s * job->n_rows + t], q, &m, &l, acc);
                    seen++;
                }
                if (l != 0 && (seen % NCT_SEGMENT_STEPS == 0 || s + 1 == job->n_steps)) {
                    merge(job->m + at, job->l + at, job->acc + at * job->d, &m, &l, acc, 1, job->d);
                    m = -INFINITY, l = 0;
                }
            }
        }
}

void nct_ref_attend(nct_kernels *k) {
    k->kv_type = NCT_KV_F16;
    k->query = nct_query_floats;
    k->attend = attend;
    k->attend_merge = merge;
}
