#include "quant/quantize.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/num.h"

/* ------------------------------------------------------------------ codes in memory */

static nct_status describe(const nct_stored *s, nct_unpacked *u, nct_error *err) {
    size_t n_codes, n_scales, n_groups = s->group ? (s->n_cols + s->group - 1) / s->group : 0;
    if (n_groups == 0 || !nct_mul_size(s->n_rows, s->n_cols, &n_codes) ||
        !nct_mul_size(s->n_rows, n_groups, &n_scales) || s->part[0].n_bytes != n_codes ||
        s->part[1].n_bytes != n_scales * sizeof(float))
        return nct_fail(err, NCT_E_FORMAT, "'%s': %zu codes and %zu bytes of scales are no %zu x %zu matrix",
                        s->name, s->part[0].n_bytes, s->part[1].n_bytes, s->n_rows, s->n_cols);
    nct_quant quant = (nct_quant)s->type;
    *u = (nct_unpacked){.form = quant == NCT_QUANT_INT8   ? NCT_FORM_CODES8
                                : quant == NCT_QUANT_INT4 ? NCT_FORM_CODES4
                                                          : NCT_FORM_CODES2,
                        .group = s->group,
                        .bias = nct_quant_bias(quant)};
    const char *name = quant == NCT_QUANT_TERNARY ? "ternary" : quant == NCT_QUANT_INT4 ? "int4" : "int8";
    if (quant == NCT_QUANT_TERNARY && s->group == s->n_cols)
        snprintf(u->label, sizeof u->label, "%s row", name);
    else
        snprintf(u->label, sizeof u->label, "%s g%zu", name, s->group);
    return NCT_OK;
}

static void rows(const nct_stored *s, size_t first_row, size_t n_rows, float *value, uint8_t *code,
                 float *scale, float *min) {
    assert(!value && first_row + n_rows <= s->n_rows);
    (void)value, (void)min;
    size_t n_groups = (s->n_cols + s->group - 1) / s->group;
    if (code)
        memcpy(code, s->part[0].data + first_row * s->n_cols, n_rows * s->n_cols);
    if (scale)
        memcpy(scale, s->part[1].data + first_row * n_groups * sizeof *scale,
               n_rows * n_groups * sizeof *scale);
}

const nct_codec nct_codec_codes = {"codes", describe, rows};

nct_status nct_rounded_open(const char *name, size_t n_rows, size_t n_cols, nct_quant quant, size_t group,
                            nct_rounded *rounded, nct_error *err) {
    nct_rounded r = {.quant = quant, .group = group < n_cols ? group : n_cols};
    r.n_groups = (n_cols + r.group - 1) / r.group;
    void *code = NULL, *scale = NULL;
    size_t n_codes;
    if (!nct_mul_size(n_rows, n_cols, &n_codes))
        return nct_fail(err, NCT_E_MEMORY, "'%s': a matrix of %zu x %zu cannot be held", name, n_rows,
                        n_cols);
    NCT_TRY(nct_alloc(&code, n_codes, 1, err));
    nct_status status = nct_alloc(&scale, n_rows * r.n_groups, sizeof(float), err);
    if (status != NCT_OK) {
        nct_free(code);
        return status;
    }
    r.code = code;
    r.scale = scale;
    r.stored = (nct_stored){.codec = &nct_codec_codes,
                            .name = name,
                            .n_rows = n_rows,
                            .n_cols = n_cols,
                            .n_rows_file = n_rows,
                            .part = {{code, n_codes}, {scale, n_rows * r.n_groups * sizeof(float)}},
                            .type = (uint32_t)quant,
                            .group = r.group,
                            .symmetric = true};
    *rounded = r;
    return NCT_OK;
}

void nct_rounded_close(nct_rounded *rounded) {
    nct_free(rounded->code);
    nct_free(rounded->scale);
    *rounded = (nct_rounded){0};
}

/* ------------------------------------------------------------------ one group */

/* The range of codes around zero. INT8 leaves -128 out, so that it is symmetric. */
static float lowest(nct_quant quant) { return quant == NCT_QUANT_INT4 ? -8 : -127; }
static float highest(nct_quant quant) { return quant == NCT_QUANT_INT4 ? 7 : 127; }

/* Nearest integer, ties to even, of |x| < 2^22: in that range the sum has no fraction left. */
static inline float round_even(float x) {
    const float magic = 0x1.8p23f;
    return (x + magic) - magic;
}

static inline float clamp(float x, float low, float high) {
    x = x > low ? x : low;
    return x < high ? x : high;
}

static inline float code_of(float w, float inverse, float low, float high) {
    return round_even(clamp(w * inverse, low, high));
}

uint8_t nct_quant_code(nct_quant quant, float w, float scale) {
    float q = scale != 0 ? code_of(w, 1 / scale, lowest(quant), highest(quant)) : 0;
    return (uint8_t)((int)q + nct_quant_bias(quant));
}

/* The nearest finite float16. */
static float to_scale(float s) { return nct_f16_to_f32(nct_f32_to_f16(clamp(s, -65504, 65504))); }

/* What rounding with one scale costs, and the two sums whose quotient is the best scale for its codes. */
struct trial {
    float error, wq, qq;
};

enum { CHAINS = 8 }; /* sums in so many chains, for vectors */

static struct trial try_scale(nct_quant quant, const float *w, const float *weight, size_t n, float scale) {
    float low = lowest(quant), high = highest(quant), inverse = 1 / scale;
    float error[CHAINS] = {0}, wq[CHAINS] = {0}, qq[CHAINS] = {0};
    for (size_t i = 0; i + CHAINS <= n; i += CHAINS)
        for (size_t j = 0; j < CHAINS; j++) {
            float q = code_of(w[i + j], inverse, low, high), e = w[i + j] - scale * q, h = weight[i + j];
            error[j] += h * e * e;
            wq[j] += h * w[i + j] * q;
            qq[j] += h * q * q;
        }
    for (size_t i = n / CHAINS * CHAINS, j = 0; i < n; i++, j++) {
        float q = code_of(w[i], inverse, low, high), e = w[i] - scale * q, h = weight[i];
        error[j] += h * e * e;
        wq[j] += h * w[i] * q;
        qq[j] += h * q * q;
    }
    struct trial t = {0};
    for (size_t j = 0; j < CHAINS; j++)
        t = (struct trial){t.error + error[j], t.wq + wq[j], t.qq + qq[j]};
    return t;
}

/* Takes a scale if it is better than the best so far. */
static bool keep_better(nct_quant quant, const float *w, const float *weight, size_t n, float scale,
                        struct trial *best, float *chosen) {
    if (scale == 0)
        return false;
    struct trial t = try_scale(quant, w, weight, n, scale);
    if (!(t.error < best->error))
        return false;
    *best = t;
    *chosen = scale;
    return true;
}

float nct_quant_scale(nct_quant quant, const float *w, const float *weight, size_t n) {
    assert(n <= NCT_GROUP_MAX);
    float widest = 0;
    for (size_t i = 0; i < n; i++)
        widest = fabsf(w[i]) > fabsf(widest) ? w[i] : widest;
    if (quant == NCT_QUANT_INT8)
        return to_scale(fabsf(widest) / 127);
    /* The widest weight's code runs from beyond the range, where it is cut off, to well inside. There is one
       more code below zero than above, so the sign of the scale matters. */
    static const float step[] = {5,    5.5f, 6,    6.3f, 6.6f, 6.9f, 7.2f, 7.5f,
                                 7.8f, 8.1f, 8.4f, 8.8f, 9.2f, 9.8f, 10.5f};
    float alike[NCT_GROUP_MAX];
    for (size_t i = 0; i < n && !weight; i++)
        alike[i] = 1;
    weight = weight ? weight : alike;
    struct trial best = {.error = INFINITY};
    float chosen = to_scale(widest / -8);
    if (chosen == 0)
        return 0;
    for (size_t i = 0; i < sizeof step / sizeof *step; i++)
        for (int sign = -1; sign <= 1; sign += 2)
            keep_better(quant, w, weight, n, to_scale((float)sign * widest / step[i]), &best, &chosen);
    while (best.qq > 0 && keep_better(quant, w, weight, n, to_scale(best.wq / best.qq), &best, &chosen))
        ; /* least squares for the codes that the last scale gave */
    return chosen;
}

/* ------------------------------------------------------------------ a matrix */

struct rounding {
    const nct_stored *source;
    const nct_unpacked *unpacked;
    const nct_rounded *out;
    uint8_t *scratch; /* a slice per worker: a row's values, then what unpacking needs */
    size_t scratch_bytes, row_bytes;
    bool *bad; /* per task */
};

enum { ROWS_PER_TASK = 16 };

static void round_rows(void *context, int task, int worker) {
    const struct rounding *k = context;
    const nct_rounded *out = k->out;
    size_t n = out->stored.n_cols, end = ((size_t)task + 1) * ROWS_PER_TASK;
    float *value = (float *)(void *)(k->scratch + (size_t)worker * k->scratch_bytes);
    for (size_t row = (size_t)task * ROWS_PER_TASK; row < end && row < out->stored.n_rows; row++) {
        nct_dequantize_row(k->source, k->unpacked, row, value, (uint8_t *)value + k->row_bytes);
        for (size_t i = 0; i < n; i++)
            if (!isfinite(value[i])) {
                k->bad[task] = true;
                return;
            }
        for (size_t g = 0; g < out->n_groups; g++) {
            size_t at = g * out->group, size = n - at < out->group ? n - at : out->group;
            float scale = nct_quant_scale(out->quant, value + at, NULL, size);
            out->scale[row * out->n_groups + g] = scale;
            for (size_t i = at; i < at + size; i++)
                out->code[row * n + i] = nct_quant_code(out->quant, value[i], scale);
        }
    }
}

bool nct_round_narrows(const nct_unpacked *u, nct_quant quant) {
    if (quant == NCT_QUANT_KEEP)
        return false;
    return u->form < NCT_FORM_CODES4 || (quant == NCT_QUANT_INT4 && u->form == NCT_FORM_CODES8);
}

nct_status nct_round_check(nct_quant quant, size_t group, nct_error *err) {
    if (quant != NCT_QUANT_INT4 && quant != NCT_QUANT_INT8)
        return nct_fail(err, NCT_E_ARGUMENT, "there is nothing to round to, expected int4 or int8");
    if (group != 16 && group != 32 && group != 64 && group != 128)
        return nct_fail(err, NCT_E_ARGUMENT, "groups of %zu columns, expected 16, 32, 64 or 128", group);
    return NCT_OK;
}

nct_status nct_round_nearest(const nct_stored *source, nct_quant quant, size_t group, nct_pool *pool,
                             nct_rounded *rounded, nct_error *err) {
    nct_unpacked u;
    nct_rounded out = {0};
    NCT_TRY(nct_round_check(quant, group, err));
    NCT_TRY(source->codec->describe(source, &u, err));
    NCT_TRY(nct_rounded_open(source->name, source->n_rows, source->n_cols, quant, group, &out, err));
    size_t n_tasks = (source->n_rows + ROWS_PER_TASK - 1) / ROWS_PER_TASK;
    struct rounding k = {
        .source = source, .unpacked = &u, .out = &out, .row_bytes = nct_pad64(source->n_cols * sizeof(float))};
    k.scratch_bytes = k.row_bytes + nct_dequantize_scratch_bytes(source);
    void *scratch = NULL, *bad = NULL;
    nct_status status = nct_alloc(&scratch, (size_t)nct_pool_size(pool), k.scratch_bytes, err);
    if (status == NCT_OK)
        status = nct_alloc(&bad, n_tasks, sizeof(bool), err);
    if (status == NCT_OK) {
        k.scratch = scratch;
        k.bad = bad;
        nct_pool_run(pool, (int)n_tasks, round_rows, &k);
        for (size_t i = 0; i < n_tasks && status == NCT_OK; i++)
            if (k.bad[i])
                status =
                    nct_fail(err, NCT_E_FORMAT, "'%s': among rows %zu to %zu is a value that is not finite",
                             source->name, i * ROWS_PER_TASK, (i + 1) * ROWS_PER_TASK - 1);
    }
    nct_free(scratch);
    nct_free(bad);
    if (status != NCT_OK)
        nct_rounded_close(&out);
    else
        *rounded = out;
    return status;
}

/* ------------------------------------------------------------------ comparing */

struct comparing {
    const nct_stored *source;
    const nct_unpacked *unpacked;
    const nct_panels *panels;
    const int32_t *perm;
    uint8_t *scratch; /* a slice per worker: two rows, then what unpacking needs */
    size_t scratch_bytes, row_bytes;
    nct_difference *part; /* per task, summed in order */
};

static void compare_rows(void *context, int task, int worker) {
    const struct comparing *k = context;
    const nct_panels *p = k->panels;
    uint8_t *scratch = k->scratch + (size_t)worker * k->scratch_bytes;
    float *before = (float *)(void *)scratch, *after = (float *)(void *)(scratch + k->row_bytes);
    nct_difference sum = {.same = true};
    size_t end = ((size_t)task + 1) * ROWS_PER_TASK;
    for (size_t row = (size_t)task * ROWS_PER_TASK; row < end && row < p->n_rows; row++) {
        nct_dequantize_row(k->source, k->unpacked, row, before, scratch + 2 * k->row_bytes);
        nct_panels_row(p, row, after);
        for (size_t j = 0; j < p->n_cols; j++) {
            double w = before[k->perm ? (size_t)k->perm[j] : j], e = w - (double)after[j];
            sum.error2 += e * e;
            sum.norm2 += w * w;
            sum.same = sum.same && e == 0;
        }
    }
    k->part[task] = sum;
}

nct_status nct_compare(const nct_stored *source, const nct_panels *panels, const int32_t *perm,
                       nct_pool *pool, nct_difference *difference, nct_error *err) {
    nct_unpacked u;
    NCT_TRY(source->codec->describe(source, &u, err));
    assert(source->n_rows == panels->n_rows && source->n_cols == panels->n_cols);
    size_t n_tasks = (source->n_rows + ROWS_PER_TASK - 1) / ROWS_PER_TASK;
    struct comparing k = {.source = source,
                          .unpacked = &u,
                          .panels = panels,
                          .perm = perm,
                          .row_bytes = nct_pad64(source->n_cols * sizeof(float))};
    k.scratch_bytes = 2 * k.row_bytes + nct_dequantize_scratch_bytes(source);
    void *scratch = NULL, *part = NULL;
    nct_status status = nct_alloc(&scratch, (size_t)nct_pool_size(pool), k.scratch_bytes, err);
    if (status == NCT_OK)
        status = nct_alloc(&part, n_tasks, sizeof(nct_difference), err);
    if (status == NCT_OK) {
        k.scratch = scratch;
        k.part = part;
        nct_pool_run(pool, (int)n_tasks, compare_rows, &k);
        nct_difference sum = {.same = true};
        for (size_t i = 0; i < n_tasks; i++) {
            sum.error2 += k.part[i].error2;
            sum.norm2 += k.part[i].norm2;
            sum.same = sum.same && k.part[i].same;
        }
        *difference = sum;
    }
    nct_free(scratch);
    nct_free(part);
    return status;
}
