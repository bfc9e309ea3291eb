/* Ternary matrices among floats (formats.md 7). */
#include <math.h>

#include "base/num.h"
#include "quant/quantize.h"

enum { N_CANDIDATES = 5, ROWS_PER_TASK = 16 };

static const size_t widths[N_CANDIDATES] = {0, 256, 128, 64, 32}; /* 0: all columns */

struct searching {
    const nct_stored *source;
    const nct_unpacked *unpacked;
    unsigned candidates; /* bits: groups that are still possible */
    unsigned *fits;      /* [tasks] those that hold for a task's rows */
    const nct_rounded *out;
    uint8_t *scratch; /* a slice per worker: a row's values, then what unpacking needs */
    size_t scratch_bytes, row_bytes;
};

/* Whether the values are -s, 0 and s only; then *scale is s. */
static bool is_ternary(const float *w, size_t n, float *scale) {
    uint32_t seen = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t magnitude = nct_bits_from_f32(w[i]) & 0x7fffffffu;
        if (magnitude && seen && magnitude != seen)
            return false;
        seen |= magnitude;
    }
    *scale = nct_f32_from_bits(seen);
    return isfinite(*scale);
}

static size_t group_of(const struct searching *k, int candidate) {
    return widths[candidate] ? widths[candidate] : k->source->n_cols;
}

static bool row_fits(const float *w, size_t n, size_t group) {
    float scale;
    for (size_t at = 0; at < n; at += group)
        if (!is_ternary(w + at, n - at < group ? n - at : group, &scale))
            return false;
    return true;
}

static float *take_row(const struct searching *k, size_t row, int worker) {
    uint8_t *scratch = k->scratch + (size_t)worker * k->scratch_bytes;
    float *value = (float *)(void *)scratch;
    nct_dequantize_row(k->source, k->unpacked, row, value, scratch + k->row_bytes);
    return value;
}

static void search_rows(void *context, int task, int worker) {
    const struct searching *k = context;
    unsigned left = k->candidates;
    size_t end = ((size_t)task + 1) * ROWS_PER_TASK;
    for (size_t row = (size_t)task * ROWS_PER_TASK; row < end && row < k->source->n_rows && left; row++) {
        const float *value = take_row(k, row, worker);
        for (int c = 0; c < N_CANDIDATES; c++)
            if (left >> c & 1 && !row_fits(value, k->source->n_cols, group_of(k, c)))
                left &= ~(1u << c);
    }
    k->fits[task] = left;
}

static void code_rows(void *context, int task, int worker) {
    const struct searching *k = context;
    const nct_rounded *out = k->out;
    size_t n = k->source->n_cols, end = ((size_t)task + 1) * ROWS_PER_TASK;
    for (size_t row = (size_t)task * ROWS_PER_TASK; row < end && row < k->source->n_rows; row++) {
        const float *value = take_row(k, row, worker);
        for (size_t g = 0, at = 0; at < n; g++, at += out->group)
            is_ternary(value + at, n - at < out->group ? n - at : out->group,
                       &out->scale[row * out->n_groups + g]);
        for (size_t i = 0; i < n; i++)
            out->code[row * n + i] = (uint8_t)(1 + (value[i] > 0) - (value[i] < 0));
    }
}

/* Narrows the candidates to those that hold for every row. */
static void search(struct searching *k, nct_pool *pool) {
    int n_tasks = (int)((k->source->n_rows + ROWS_PER_TASK - 1) / ROWS_PER_TASK);
    for (int c = 1; c < N_CANDIDATES; c++)
        if (widths[c] >= k->source->n_cols)
            k->candidates &= ~(1u << c);
    search_rows(k, 0, 0); /* most matrices are no more than looked at */
    k->candidates = k->fits[0];
    if (k->candidates)
        nct_pool_run(pool, n_tasks, search_rows, k);
    for (int task = 0; task < n_tasks && k->candidates; task++)
        k->candidates &= k->fits[task];
}

nct_status nct_ternary_find(const nct_stored *source, nct_pool *pool, nct_rounded *rounded, bool *found,
                            nct_error *err) {
    nct_unpacked u;
    NCT_TRY(source->codec->describe(source, &u, err));
    *found = false;
    if (nct_unpacked_is_codes(&u))
        return NCT_OK;
    size_t n_tasks = (source->n_rows + ROWS_PER_TASK - 1) / ROWS_PER_TASK;
    struct searching k = {.source = source,
                          .unpacked = &u,
                          .candidates = (1u << N_CANDIDATES) - 1,
                          .row_bytes = nct_pad64(source->n_cols * sizeof(float))};
    k.scratch_bytes = k.row_bytes + nct_dequantize_scratch_bytes(source);
    void *scratch = NULL, *fits = NULL;
    nct_rounded out = {0};
    nct_status status = nct_alloc(&scratch, (size_t)nct_pool_size(pool), k.scratch_bytes, err);
    if (status == NCT_OK)
        status = nct_alloc(&fits, n_tasks, sizeof *k.fits, err);
    k.scratch = scratch;
    k.fits = fits;
    if (status == NCT_OK)
        search(&k, pool);
    if (status == NCT_OK && k.candidates) {
        int largest = 0;
        while (!(k.candidates >> largest & 1))
            largest++;
        status = nct_rounded_open(source->name, source->n_rows, source->n_cols, NCT_QUANT_TERNARY,
                                  group_of(&k, largest), &out, err);
        if (status == NCT_OK) {
            k.out = &out;
            nct_pool_run(pool, (int)n_tasks, code_rows, &k);
            *rounded = out;
            *found = true;
        }
    }
    nct_free(scratch);
    nct_free(fits);
    return status;
}
