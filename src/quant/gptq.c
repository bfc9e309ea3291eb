#include "quant/gptq.h"

#include <assert.h>
#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum {
    STEP = 512,  /* inputs added together */
    TILE = 64,   /* rows of the sum that a task computes */
    BLOCK = 128, /* columns rounded between two products with the columns before them */
    ROWS = 4096, /* rows of a matrix held as floats at a time */
    ROWS_PER_TASK = 16,
};

static size_t least(size_t a, size_t b) { return a < b ? a : b; }

/* ------------------------------------------------------------------ H */

nct_status nct_hessian_open(size_t n, nct_pool *pool, nct_hessian *hessian, nct_error *err) {
    nct_hessian h = {.n = n,
                     .n_workers = nct_pool_size(pool),
                     .inputs = {.kind = NCT_PANEL_F32, .n_rows = n, .n_cols = STEP}};
    void *sum = NULL, *panels = NULL, *turned = NULL, *product = NULL;
    size_t n_sums;
    if (!nct_panels_shape(&h.inputs) || !nct_mul_size(n, n, &n_sums))
        return nct_fail(err, NCT_E_MEMORY, "inputs of %zu values are too wide to calibrate with", n);
    nct_status status = nct_alloc(&sum, n_sums, sizeof(double), err);
    if (status == NCT_OK)
        status = nct_alloc(&panels, h.inputs.n_panels, h.inputs.panel_bytes, err);
    if (status == NCT_OK)
        status = nct_alloc(&turned, n * STEP, sizeof(float), err);
    if (status == NCT_OK)
        status = nct_alloc(&product, (size_t)h.n_workers * TILE * n, sizeof(float), err);
    h.sum = sum;
    h.inputs.data = panels;
    h.turned = turned;
    h.product = product;
    if (status != NCT_OK)
        nct_hessian_close(&h);
    else
        *hessian = h;
    return status;
}

void nct_hessian_close(nct_hessian *h) {
    nct_free(h->sum);
    nct_free(h->inputs.data);
    nct_free(h->turned);
    nct_free(h->product);
    *h = (nct_hessian){0};
}

struct adding {
    nct_hessian *h;
    const nct_kernels *kernels;
    const float *x;
    size_t x_stride, n_rows;
};

/* Turns 16 columns of the inputs: once as rows of the left factor, once as a panel of the right one. */
static void turn(void *context, int task, int worker) {
    (void)worker;
    const struct adding *k = context;
    nct_hessian *h = k->h;
    size_t first = (size_t)task * NCT_PANEL, n = least(NCT_PANEL, h->n - first);
    float *panel = (float *)(void *)(h->inputs.data + (size_t)task * h->inputs.panel_bytes);
    for (size_t t = 0; t < k->n_rows; t++)
        for (size_t o = 0; o < n; o++) {
            float v = k->x[t * k->x_stride + (h->n - 1 - (first + o))];
            panel[t * NCT_PANEL + o] = v;
            h->turned[(first + o) * STEP + t] = v;
        }
}

static void add_tile(void *context, int task, int worker) {
    const struct adding *k = context;
    nct_hessian *h = k->h;
    /* the last tiles have the longest rows: they go first */
    size_t n_tiles = (h->n + TILE - 1) / TILE, first = (n_tiles - 1 - (size_t)task) * TILE,
           end = least(first + TILE, h->n);
    float *y = h->product + (size_t)worker * TILE * h->n;
    k->kernels->matmul_f32(&h->inputs, h->turned + first * STEP, STEP, end - first, y, h->n, 0,
                           (end + NCT_PANEL - 1) / NCT_PANEL);
    for (size_t a = first; a < end; a++)
        for (size_t b = 0; b <= a; b++)
            h->sum[a * h->n + b] += (double)y[(a - first) * h->n + b];
}

void nct_hessian_add(nct_hessian *h, const nct_kernels *kernels, nct_pool *pool, const float *x,
                     size_t x_stride, size_t n_rows) {
    for (size_t done = 0; done < n_rows; done += STEP) {
        struct adding k = {h, kernels, x + done * x_stride, x_stride, least(STEP, n_rows - done)};
        h->inputs.n_cols = k.n_rows; /* fewer columns of panels that lie as far apart */
        nct_pool_run(pool, (int)h->inputs.n_panels, turn, &k);
        nct_pool_run(pool, (int)((h->n + TILE - 1) / TILE), add_tile, &k);
        h->n_added += k.n_rows;
    }
}

/* ------------------------------------------------------------------ L */

enum { NB = 64, LANES = 8 }; /* columns of one step of the factorization; rows of a packed strip */

struct factoring {
    double *a;
    size_t n, k, nb; /* the step's columns are k .. k + nb - 1 */
    double *strip;   /* [strips][NB][LANES]: the step's columns of the rows below, turned */
};

/* The square on the diagonal; false at a pivot that is not positive. */
static bool factor_square(const struct factoring *f) {
    for (size_t j = 0; j < f->nb; j++) {
        double *row = f->a + (f->k + j) * f->n + f->k;
        for (size_t i = 0; i <= j; i++) {
            const double *other = f->a + (f->k + i) * f->n + f->k;
            double sum = row[i];
            for (size_t p = 0; p < i; p++)
                sum -= row[p] * other[p];
            if (i < j) {
                row[i] = sum / other[i];
            } else {
                if (!(sum > 0) || isinf(sum))
                    return false;
                row[j] = sqrt(sum);
            }
        }
    }
    return true;
}

/* Solves for the step's columns of 8 rows below the square and leaves them turned in their strip. */
static void solve_strip(void *context, int task, int worker) {
    (void)worker;
    const struct factoring *f = context;
    size_t first = f->k + f->nb + (size_t)task * LANES, n = least(LANES, f->n - first);
    double(*strip)[LANES] = (double(*)[LANES])(void *)(f->strip + (size_t)task * NB * LANES);
    for (size_t p = 0; p < f->nb; p++)
        for (size_t i = 0; i < LANES; i++)
            strip[p][i] = i < n ? f->a[(first + i) * f->n + f->k + p] : 0;
    for (size_t j = 0; j < f->nb; j++) {
        const double *row = f->a + (f->k + j) * f->n + f->k;
        double sum[LANES];
        memcpy(sum, strip[j], sizeof sum);
        for (size_t p = 0; p < j; p++)
            for (size_t i = 0; i < LANES; i++)
                sum[i] -= row[p] * strip[p][i];
        for (size_t i = 0; i < LANES; i++)
            strip[j][i] = sum[i] / row[j];
    }
    for (size_t i = 0; i < n; i++)
        for (size_t p = 0; p < f->nb; p++)
            f->a[(first + i) * f->n + f->k + p] = strip[p][i];
}

/* c [4][4] = product of 4 rows of one strip and 4 of another. */
static void strip_product(const double *x, const double *y, size_t nb, double c[4][4]) {
    double sum[4][4] = {{0}};
    for (size_t p = 0; p < nb; p++)
        for (size_t i = 0; i < 4; i++)
            for (size_t j = 0; j < 4; j++)
                sum[i][j] += x[p * LANES + i] * y[p * LANES + j];
    memcpy(c, sum, sizeof sum);
}

/* Takes the step's part out of 8 rows, columns up to the diagonal. */
static void update_strip(void *context, int task, int worker) {
    (void)worker;
    const struct factoring *f = context;
    size_t below = f->k + f->nb, n_strips = (f->n - below + LANES - 1) / LANES,
           row_strip = n_strips - 1 - (size_t)task;
    const double *x = f->strip + row_strip * NB * LANES;
    for (size_t s = 0; s <= row_strip; s++)
        for (size_t i = 0; i < LANES; i += 4)
            for (size_t j = 0; j < LANES; j += 4) {
                double c[4][4];
                strip_product(x + i, f->strip + s * NB * LANES + j, f->nb, c);
                size_t row = below + row_strip * LANES + i, column = below + s * LANES + j;
                for (size_t r = 0; r < 4 && row + r < f->n; r++)
                    for (size_t q = 0; q < 4 && column + q <= row + r; q++)
                        f->a[(row + r) * f->n + column + q] -= c[r][q];
            }
}

/* A = L L^T in place, lower triangles; false if A is not positive definite. */
static nct_status cholesky(double *a, size_t n, nct_pool *pool, nct_error *err) {
    struct factoring f = {.a = a, .n = n};
    void *strip = NULL;
    NCT_TRY(nct_alloc(&strip, (n + LANES - 1) / LANES * NB * LANES, sizeof(double), err));
    f.strip = strip;
    bool positive = true;
    for (f.k = 0; f.k < n && positive; f.k += NB) {
        f.nb = least(NB, n - f.k);
        positive = factor_square(&f);
        int n_strips = (int)((n - f.k - f.nb + LANES - 1) / LANES);
        if (positive && n_strips) {
            nct_pool_run(pool, n_strips, solve_strip, &f);
            nct_pool_run(pool, n_strips, update_strip, &f);
        }
    }
    nct_free(strip);
    if (!positive)
        return nct_fail(err, NCT_E_FORMAT, "the calibration inputs are not finite numbers of a sane size");
    return NCT_OK;
}

struct ordered {
    float size;
    int32_t column;
};

static int by_size(const void *a, const void *b) {
    const struct ordered *x = a, *y = b;
    if (x->size != y->size)
        return x->size > y->size ? -1 : 1;
    return (x->column > y->column) - (x->column < y->column);
}

/* Columns by falling diagonal, and H in that order in place of H. */
static nct_status reorder(nct_factor *f, nct_error *err) {
    size_t n = f->n;
    void *sorted = NULL, *order = NULL, *moved = NULL;
    nct_status status = nct_alloc(&sorted, n, sizeof(struct ordered), err);
    if (status == NCT_OK)
        status = nct_alloc(&order, n, sizeof(int32_t), err);
    f->order = order;
    if (status == NCT_OK)
        status = nct_alloc(&moved, n * n, sizeof(double), err);
    if (status == NCT_OK) {
        struct ordered *s = sorted;
        double *to = moved;
        for (size_t i = 0; i < n; i++)
            s[i] = (struct ordered){f->diagonal[i], (int32_t)i};
        qsort(s, n, sizeof *s, by_size);
        for (size_t i = 0; i < n; i++)
            f->order[i] = s[i].column;
        for (size_t a = 0; a < n; a++)
            for (size_t b = 0; b <= a; b++) {
                size_t i = n - 1 - (size_t)f->order[n - 1 - a], j = n - 1 - (size_t)f->order[n - 1 - b];
                to[a * n + b] = f->lower[i > j ? i * n + j : j * n + i];
            }
        nct_free(f->lower);
        f->lower = to;
    }
    nct_free(sorted);
    return status;
}

nct_status nct_hessian_factor(nct_hessian *h, double damp, bool act_order, nct_pool *pool, nct_factor *factor,
                              nct_error *err) {
    size_t n = h->n;
    nct_factor f = {.n = n};
    void *diagonal = NULL, *pivot = NULL;
    NCT_TRY(nct_alloc(&diagonal, n, sizeof(float), err));
    f.diagonal = diagonal;
    nct_status status = nct_alloc(&pivot, n, sizeof(float), err);
    f.pivot = pivot;
    if (status != NCT_OK) {
        nct_factor_close(&f);
        return status;
    }
    f.lower = h->sum;
    h->sum = NULL;
    double mean = 0;
    for (size_t a = 0; a < n; a++)
        mean += f.lower[a * n + a] / (double)n;
    /* inputs that are always zero leave their columns to be rounded to the nearest */
    double extra = mean > 0 ? damp * mean : 1;
    for (size_t a = 0; a < n; a++) {
        f.lower[a * n + a] += extra;
        f.diagonal[n - 1 - a] = (float)f.lower[a * n + a];
    }
    if (act_order)
        status = reorder(&f, err);
    if (status == NCT_OK)
        status = cholesky(f.lower, n, pool, err);
    for (size_t k = 0; k < n && status == NCT_OK; k++) {
        double d = f.lower[(n - 1 - k) * n + n - 1 - k];
        f.pivot[k] = (float)(d * d);
    }
    if (status != NCT_OK)
        nct_factor_close(&f);
    else
        *factor = f;
    return status;
}

void nct_factor_close(nct_factor *f) {
    nct_free(f->lower);
    nct_free(f->diagonal);
    nct_free(f->pivot);
    nct_free(f->order);
    *f = (nct_factor){0};
}

static size_t column_at(const nct_factor *f, size_t position) {
    return f->order ? (size_t)f->order[position] : position;
}

/* M_jk for positions j < k. */
static double feedback(const nct_factor *f, size_t j, size_t k) {
    const double *lower = f->lower;
    size_t a = f->n - 1 - j, b = f->n - 1 - k;
    return lower[a * f->n + b] / lower[b * f->n + b];
}

/* ------------------------------------------------------------------ a block of columns against those before it */

struct passing {
    const nct_factor *factor;
    const nct_kernels *kernels;
    nct_pool *pool;
    const nct_stored *source;
    const nct_unpacked *unpacked;
    size_t first, n_rows;  /* the rows of the matrix that are held */
    float *weight, *error; /* [n_rows][n], columns by position: W and W - W' */
    float *sum;            /* [n_rows][BLOCK] */
    float *norm;           /* [n_rows][BLOCK] */
    const float *from;     /* what `sum` or `norm` is being computed from */
    float *to;
    nct_panels before;          /* M, columns before the block to columns of the block */
    float inside[BLOCK][BLOCK]; /* M inside the block, [j][k] */
    size_t k0, k1;
    uint8_t *scratch; /* per worker: a row's values, then what unpacking needs */
    size_t scratch_bytes, row_bytes;
    atomic_bool bad;
    /* rounding */
    const nct_rounded *out;
    /* comparing */
    const nct_panels *panels;
    const int32_t *perm;
    nct_difference *part; /* [rows of the matrix] */
};

static void passing_close(struct passing *p) {
    nct_free(p->weight);
    nct_free(p->error);
    nct_free(p->sum);
    nct_free(p->norm);
    nct_free(p->before.data);
    nct_free(p->scratch);
    nct_free(p->part);
}

static nct_status passing_open(struct passing *p, nct_error *err) {
    size_t n = p->factor->n, rows = least(ROWS, p->source->n_rows);
    p->before = (nct_panels){.kind = NCT_PANEL_F32, .n_rows = BLOCK, .n_cols = n};
    p->row_bytes = nct_pad64(n * sizeof(float));
    p->scratch_bytes = 2 * p->row_bytes + nct_dequantize_scratch_bytes(p->source);
    if (p->source->n_cols != n || !nct_panels_shape(&p->before))
        return nct_fail(err, NCT_E_ARGUMENT, "'%s': %zu columns, calibrated were %zu", p->source->name,
                        p->source->n_cols, n);
    struct {
        void *block;
        size_t n, item_bytes;
    } room[] = {{NULL, rows * n, sizeof(float)},
                {NULL, rows * n, sizeof(float)},
                {NULL, rows * BLOCK, sizeof(float)},
                {NULL, rows * BLOCK, sizeof(float)},
                {NULL, nct_panels_bytes(&p->before), 1},
                {NULL, (size_t)nct_pool_size(p->pool), p->scratch_bytes},
                {NULL, p->source->n_rows, sizeof(nct_difference)}};
    nct_status status = NCT_OK;
    for (size_t i = 0; i < sizeof room / sizeof *room && status == NCT_OK; i++)
        status = nct_alloc(&room[i].block, room[i].n, room[i].item_bytes, err);
    p->weight = room[0].block, p->error = room[1].block, p->sum = room[2].block, p->norm = room[3].block;
    p->before.data = room[4].block, p->scratch = room[5].block, p->part = room[6].block;
    if (status != NCT_OK)
        passing_close(p);
    return status;
}

/* Fills W, and W - W' where panels are compared. */
static void take_rows(void *context, int task, int worker) {
    struct passing *p = context;
    size_t n = p->factor->n, end = least(((size_t)task + 1) * ROWS_PER_TASK, p->n_rows);
    uint8_t *scratch = p->scratch + (size_t)worker * p->scratch_bytes;
    float *value = (float *)(void *)scratch, *after = (float *)(void *)(scratch + p->row_bytes);
    for (size_t r = (size_t)task * ROWS_PER_TASK; r < end; r++) {
        nct_dequantize_row(p->source, p->unpacked, p->first + r, value, scratch + 2 * p->row_bytes);
        float *w = p->weight + r * n, *e = p->error + r * n;
        for (size_t k = 0; k < n; k++) {
            w[k] = value[column_at(p->factor, k)];
            if (!isfinite(w[k]))
                atomic_store_explicit(&p->bad, true, memory_order_relaxed);
        }
        if (!p->panels)
            continue;
        nct_panels_row(p->panels, p->first + r, after);
        for (size_t j = 0; j < n; j++)
            value[p->perm ? (size_t)p->perm[j] : j] -= after[j];
        for (size_t k = 0; k < n; k++)
            e[k] = value[column_at(p->factor, k)];
    }
}

static void take_feedback(void *context, int task, int worker) {
    (void)worker;
    struct passing *p = context;
    size_t width = p->k1 - p->k0;
    for (size_t j = (size_t)task * BLOCK; j < least(((size_t)task + 1) * BLOCK, p->k1); j++)
        for (size_t i = 0; i < width; i++) {
            size_t k = p->k0 + i;
            float m = j < k ? (float)feedback(p->factor, j, k) : 0;
            if (j >= p->k0)
                p->inside[j - p->k0][i] = m;
            else
                ((float *)(void *)(p->before.data +
                                   i / NCT_PANEL * p->before.panel_bytes))[j * NCT_PANEL + i % NCT_PANEL] = m;
        }
}

static void multiply(void *context, int task, int worker) {
    (void)worker;
    const struct passing *p = context;
    size_t r = (size_t)task * TILE, n = least(TILE, p->n_rows - r);
    p->kernels->matmul_f32(&p->before, p->from + r * p->factor->n, p->factor->n, n, p->to + r * BLOCK, BLOCK,
                           0, p->before.n_panels);
}

/* to [n_rows][BLOCK] = what columns before the block, `from`, feed into it. */
static void feed(struct passing *p, const float *from, float *to) {
    if (p->k0 == 0) {
        memset(to, 0, p->n_rows * BLOCK * sizeof *to);
        return;
    }
    p->from = from;
    p->to = to;
    nct_pool_run(p->pool, (int)((p->n_rows + TILE - 1) / TILE), multiply, p);
}

/* Goes through all rows and, block by block, all columns; `row` is called for each row of each block. */
static nct_status pass(struct passing *p, bool with_norm, nct_task_fn *row, nct_error *err) {
    size_t n = p->factor->n;
    for (p->first = 0; p->first < p->source->n_rows; p->first += p->n_rows) {
        p->n_rows = least(ROWS, p->source->n_rows - p->first);
        nct_pool_run(p->pool, (int)((p->n_rows + ROWS_PER_TASK - 1) / ROWS_PER_TASK), take_rows, p);
        if (atomic_load(&p->bad))
            return nct_fail(err, NCT_E_FORMAT, "'%s': among rows %zu to %zu is a value that is not finite",
                            p->source->name, p->first, p->first + p->n_rows - 1);
        for (p->k0 = 0; p->k0 < n; p->k0 = p->k1) {
            p->k1 = least(p->k0 + BLOCK, n);
            p->before.n_rows = p->k1 - p->k0;
            p->before.n_cols = p->k0;
            p->before.n_panels = (p->before.n_rows + NCT_PANEL - 1) / NCT_PANEL;
            nct_pool_run(p->pool, (int)((p->k1 + BLOCK - 1) / BLOCK), take_feedback, p);
            feed(p, p->error, p->sum);
            if (with_norm)
                feed(p, p->weight, p->norm);
            nct_pool_run(p->pool, (int)p->n_rows, row, p);
        }
    }
    return NCT_OK;
}

/* ------------------------------------------------------------------ rounding */

static void round_block(void *context, int task, int worker) {
    (void)worker;
    const struct passing *p = context;
    const nct_factor *f = p->factor;
    const nct_rounded *out = p->out;
    size_t r = (size_t)task, n = f->n, width = p->k1 - p->k0, row = p->first + r;
    const float *w = p->weight + r * n + p->k0;
    float *e = p->error + r * n + p->k0, now[BLOCK];
    float *scale = out->scale + row * out->n_groups;
    for (size_t i = 0; i < width; i++)
        now[i] = w[i] + p->sum[r * BLOCK + i];
    for (size_t i = 0; i < width; i++) {
        size_t column = column_at(f, p->k0 + i), g = column / out->group;
        if (!f->order && column % out->group == 0)
            scale[g] = nct_quant_scale(out->quant, now + i, f->pivot + column, least(out->group, n - column));
        uint8_t code = nct_quant_code(out->quant, now[i], scale[g]);
        out->code[row * n + column] = code;
        e[i] = w[i] - scale[g] * (float)(code - nct_quant_bias(out->quant));
        for (size_t l = i + 1; l < width; l++)
            now[l] += e[i] * p->inside[i][l];
    }
}

/* Scales from the weights as they are, for columns that are not rounded in the order of their groups. */
static void choose_scales(void *context, int task, int worker) {
    const struct passing *p = context;
    const nct_rounded *out = p->out;
    size_t n = p->factor->n, row = (size_t)task;
    uint8_t *scratch = p->scratch + (size_t)worker * p->scratch_bytes;
    float *value = (float *)(void *)scratch;
    nct_dequantize_row(p->source, p->unpacked, row, value, scratch + 2 * p->row_bytes);
    for (size_t g = 0; g < out->n_groups; g++) {
        size_t at = g * out->group;
        out->scale[row * out->n_groups + g] =
            nct_quant_scale(out->quant, value + at, p->factor->diagonal + at, least(out->group, n - at));
    }
}

nct_status nct_gptq_round(const nct_stored *source, const nct_factor *factor, nct_quant quant, size_t group,
                          const nct_kernels *kernels, nct_pool *pool, nct_rounded *rounded, nct_error *err) {
    nct_unpacked u;
    nct_rounded out = {0};
    NCT_TRY(nct_round_check(quant, group, err));
    NCT_TRY(source->codec->describe(source, &u, err));
    NCT_TRY(nct_rounded_open(source->name, source->n_rows, source->n_cols, quant, group, &out, err));
    struct passing p = {
        .factor = factor, .kernels = kernels, .pool = pool, .source = source, .unpacked = &u, .out = &out};
    nct_status status = passing_open(&p, err);
    if (status == NCT_OK) {
        if (factor->order)
            nct_pool_run(pool, (int)source->n_rows, choose_scales, &p);
        status = pass(&p, false, round_block, err);
        passing_close(&p);
    }
    if (status != NCT_OK)
        nct_rounded_close(&out);
    else
        *rounded = out;
    return status;
}

/* ------------------------------------------------------------------ comparing */

static void compare_block(void *context, int task, int worker) {
    (void)worker;
    const struct passing *p = context;
    size_t r = (size_t)task, n = p->factor->n, width = p->k1 - p->k0;
    const float *w = p->weight + r * n + p->k0, *e = p->error + r * n + p->k0;
    nct_difference *part = &p->part[p->first + r];
    double error[BLOCK], value[BLOCK];
    for (size_t k = 0; k < width; k++) {
        error[k] = (double)e[k] + (double)p->sum[r * BLOCK + k];
        value[k] = (double)w[k] + (double)p->norm[r * BLOCK + k];
    }
    for (size_t j = 0; j < width; j++)
        for (size_t k = j + 1; k < width; k++) {
            error[k] += (double)(e[j] * p->inside[j][k]);
            value[k] += (double)(w[j] * p->inside[j][k]);
        }
    if (p->k0 == 0)
        *part = (nct_difference){.same = true};
    for (size_t k = 0; k < width; k++) {
        double d = (double)p->factor->pivot[p->k0 + k];
        part->error2 += d * error[k] * error[k];
        part->norm2 += d * value[k] * value[k];
        part->same = part->same && e[k] == 0;
    }
}

nct_status nct_compare_outputs(const nct_stored *source, const nct_panels *panels, const int32_t *perm,
                               const nct_factor *factor, const nct_kernels *kernels, nct_pool *pool,
                               nct_difference *difference, nct_error *err) {
    nct_unpacked u;
    NCT_TRY(source->codec->describe(source, &u, err));
    assert(source->n_rows == panels->n_rows && source->n_cols == panels->n_cols);
    struct passing p = {.factor = factor,
                        .kernels = kernels,
                        .pool = pool,
                        .source = source,
                        .unpacked = &u,
                        .panels = panels,
                        .perm = perm};
    NCT_TRY(passing_open(&p, err));
    nct_status status = pass(&p, true, compare_block, err);
    if (status == NCT_OK) {
        nct_difference sum = {.same = true};
        for (size_t i = 0; i < source->n_rows; i++) {
            sum.error2 += p.part[i].error2;
            sum.norm2 += p.part[i].norm2;
            sum.same = sum.same && p.part[i].same;
        }
        *difference = sum;
    }
    passing_close(&p);
    return status;
}
