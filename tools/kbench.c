/* kbench: every kernel of every rung against `ref` and against its limit.
 *
 *   kbench [-c] [-h] [-t THREADS] [-i RUNG] [-n REPEATS] [-k KIND] [-m MODEL] [-r ROWS] [-g GROUP] [linear] [attend] [rows]
 *
 * Limits are measured by loops of their own right before each table: reading memory, and multiplying in
 * registers with the rung's own instructions. Linear layers have the shapes of MiniCPM4-0.5B and -8B, cut
 * for the pool as quant/linear.c cuts them, over enough copies that no cache holds the weights. Figures
 * are medians. -c: processor time of one thread. -h: weights without huge pages. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/cpu.h"
#include "base/num.h"
#include "base/pool.h"
#include "base/rng.h"
#include "kernel/kernel.h"
#include "kernel/kv.h"
#include "kernel/roofline.h"
#include "quant/linear.h"

/* ------------------------------------------------------------------ small things */

static nct_pool *pool;
static int n_threads, n_repeats = 5;
static nct_huge_pages huge; /* -h: weights without huge pages */
static clockid_t clock_id = CLOCK_MONOTONIC;

static double now(void) {
    struct timespec t;
    clock_gettime(clock_id, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void check(nct_status status, const nct_error *err) {
    if (status != NCT_OK) {
        fprintf(stderr, "kbench: %s\n", err->text);
        exit(1);
    }
}

static void *room(size_t n_bytes) {
    void *p = NULL;
    nct_error err;
    check(nct_alloc(&p, n_bytes, 1, &err), &err);
    return p;
}

static void fill(float *x, size_t n, uint32_t seed) {
    for (size_t i = 0; i < n; i++)
        x[i] = (float)(nct_rng_uniform(seed, 0, i, 0) + nct_rng_uniform(seed, 0, i, 1) +
                       nct_rng_uniform(seed, 0, i, 2) - 1.5);
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Median seconds of one call, each sample long enough to be worth a clock. */
static double seconds(void (*fn)(void *), void *context, double least) {
    double sample[32];
    size_t calls = 1;
    for (int i = 0; i < n_repeats;) {
        double start = now();
        for (size_t c = 0; c < calls; c++)
            fn(context);
        double s = now() - start;
        if (s < least && i == 0) {
            calls = s > least / 64 ? (size_t)((double)calls * least / s) + 1 : calls * 16;
            continue;
        }
        sample[i++] = s / (double)calls;
    }
    qsort(sample, (size_t)n_repeats, sizeof *sample, by_value);
    return sample[n_repeats / 2];
}

/* ------------------------------------------------------------------ limits */

static void run_loop(void *context, int task, int worker) {
    (void)task, (void)worker;
    ((const nct_roofline_loop *)context)->run();
}
static void run_loops(void *context) { nct_pool_run(pool, n_threads, run_loop, context); }

/* Operations a second over all threads, 0 where the rung has no loop. */
static double peak(const char *rung, nct_roof_kind kind) {
    const nct_roofline_loop *loop = nct_roofline_loop_find(rung, kind);
    return loop ? loop->ops * n_threads / seconds(run_loops, (void *)(uintptr_t)loop, 0.02) : 0;
}

enum { READ_CHUNK = 1 << 18 };
static struct {
    uint8_t *data;
    size_t n_chunks;
    size_t ahead;
    _Atomic uint64_t sum; /* so that nothing is left out */
} reading;

static void read_chunk(void *context, int task, int worker) {
    (void)context, (void)worker;
    reading.sum |= nct_roofline_touch(reading.data + (size_t)task * READ_CHUNK, READ_CHUNK, reading.ahead);
}
static void read_all(void *context) {
    (void)context;
    nct_pool_run(pool, (int)reading.n_chunks, read_chunk, NULL);
}

/* Bytes a second, the better of reading with and without prefetching. */
static double bandwidth(void) {
    double best = 0;
    for (size_t ahead = 0; ahead <= 2048; ahead += 2048) {
        reading.ahead = ahead;
        double rate = (double)reading.n_chunks * READ_CHUNK / seconds(read_all, NULL, 0.01);
        best = rate > best ? rate : best;
    }
    return best;
}

static void print_share(double rate, double limit) {
    if (limit > 0)
        printf(" %9.1f %7.1f%%", limit * 1e-9, 100 * rate / limit);
    else
        printf(" %9s %8s", "-", "-");
}

/* ------------------------------------------------------------------ linear layers */

typedef struct shape {
    size_t n_out, n_in, times;
} shape;
typedef struct model {
    const char *name;
    shape shape[4];
} model;

static const model models[] = {
    {"0.5B", {{1024, 1024, 2}, {128, 1024, 2}, {4096, 1024, 2}, {1024, 4096, 1}}},
    {"8B", {{4096, 4096, 2}, {256, 4096, 2}, {16384, 4096, 2}, {4096, 16384, 1}}},
};
enum { SHAPES = 4, MATRICES_MAX = 512, MOST_ROWS = 512 };

static struct {
    nct_panels matrix[MATRICES_MAX];
    size_t n_matrices, n_bytes;
    double weights;
} layers;

static void open_layers(const model *m, size_t group, nct_panel_kind kind, size_t enough_bytes) {
    nct_error err;
    layers.n_matrices = layers.n_bytes = 0;
    layers.weights = 0;
    while (layers.n_bytes < enough_bytes)
        for (size_t s = 0; s < SHAPES; s++)
            for (size_t i = 0; i < m->shape[s].times && layers.n_matrices < MATRICES_MAX; i++) {
                nct_panels *w = &layers.matrix[layers.n_matrices++];
                *w = (nct_panels){.kind = kind,
                                  .n_rows = m->shape[s].n_out,
                                  .n_cols = m->shape[s].n_in,
                                  .group = group,
                                  .bias = nct_is_coded(kind) ? 1 << (nct_code_bits(kind) - 1) : 0};
                if (!nct_panels_shape(w))
                    exit(1);
                void *data;
                check(nct_pool_memory(pool, w->n_panels, w->panel_bytes, &data, &err), &err);
                w->data = data;
                uint64_t *word = data, state = layers.n_matrices;
                for (size_t b = 0; b < w->n_panels * w->panel_bytes / 8; b++)
                    word[b] = state = state * 6364136223846793005u + 1442695040888963407u;
                for (size_t p = 0; p < w->n_panels; p++)
                    for (size_t k = 0; k < w->n_groups * NCT_PANEL && nct_is_coded(kind); k++)
                        ((uint16_t *)data)[(p * w->panel_bytes + w->scale_off) / 2 + k] =
                            nct_f32_to_f16(0.003f);
                layers.n_bytes += w->n_panels * w->panel_bytes;
                layers.weights += (double)w->n_rows * (double)w->n_cols;
            }
}

static void close_layers(void) {
    for (size_t i = 0; i < layers.n_matrices; i++)
        nct_panels_close(&layers.matrix[i]);
}

typedef struct linear_run {
    const nct_kernels *k;
    size_t n_rows, panels_per_task;
    const nct_panels *w;
    nct_qrows q;
    float *x, *y;
    size_t x_stride, y_stride;
    size_t n_matrices;
} linear_run;

static void linear_task(void *context, int task, int worker) {
    (void)worker;
    const linear_run *r = context;
    size_t first = (size_t)task * r->panels_per_task, end = first + r->panels_per_task;
    end = end < r->w->n_panels ? end : r->w->n_panels;
    switch (r->w->kind) {
    case NCT_PANEL_CODES2:
        r->k->matmul_codes2(r->w, &r->q, r->n_rows, r->y, r->y_stride, first, end);
        break;
    case NCT_PANEL_CODES4:
        r->k->matmul_codes4(r->w, &r->q, r->n_rows, r->y, r->y_stride, first, end);
        break;
    case NCT_PANEL_CODES8:
        r->k->matmul_codes8(r->w, &r->q, r->n_rows, r->y, r->y_stride, first, end);
        break;
    case NCT_PANEL_F32:
        r->k->matmul_f32(r->w, r->x, r->x_stride, r->n_rows, r->y, r->y_stride, first, end);
        break;
    case NCT_PANEL_F16:
        r->k->matmul_f16(r->w, r->x, r->x_stride, r->n_rows, r->y, r->y_stride, first, end);
        break;
    case NCT_PANEL_BF16:
        r->k->matmul_bf16(r->w, r->x, r->x_stride, r->n_rows, r->y, r->y_stride, first, end);
        break;
    }
}
static void quantize_task(void *context, int task, int worker) {
    (void)worker;
    const linear_run *r = context;
    r->k->quantize(r->w, r->x + (size_t)task * r->x_stride, &r->q, (size_t)task, 0, r->w->n_groups);
}

static void run_linear(void *context) {
    linear_run *r = context;
    for (size_t i = 0; i < r->n_matrices; i++) {
        r->w = &layers.matrix[i];
        r->x_stride = r->w->n_cols;
        r->y_stride = r->w->n_rows;
        if (nct_is_coded(r->w->kind)) {
            r->q.n_groups = r->w->n_groups;
            r->q.q_stride = nct_q_stride(r->w);
            nct_pool_run(pool, (int)r->n_rows, quantize_task, r);
        }
        r->panels_per_task = nct_linear_task_panels(r->w->n_panels, r->n_rows);
        nct_pool_run(pool, (int)((r->w->n_panels + r->panels_per_task - 1) / r->panels_per_task), linear_task,
                     r);
    }
}

static const char *only_kind, *only_model;
static size_t only_rows;

static void bench_linear(const char *only, size_t group) {
    static const struct {
        nct_panel_kind kind;
        const char *name;
    } kinds[] = {{NCT_PANEL_CODES4, "int4"},
                 {NCT_PANEL_CODES8, "int8"},
                 {NCT_PANEL_CODES2, "ternary"},
                 {NCT_PANEL_F16, "f16"},
                 {NCT_PANEL_BF16, "bf16"},
                 {NCT_PANEL_F32, "f32"}};
    static const size_t rows[] = {1, 2, 3, 4, 6, 8, 12, 16, 32, 512};
    linear_run r = {.x = room(MOST_ROWS * 16384 * sizeof(float)),
                    .y = room(MOST_ROWS * 16384 * sizeof(float))};
    fill(r.x, MOST_ROWS * 16384, 7);
    r.q.q = room(MOST_ROWS * (16384 + 64));
    r.q.scale = room(MOST_ROWS * 1024 * sizeof(float));
    r.q.sum = room(MOST_ROWS * 1024 * sizeof(int32_t));
    for (size_t m = 0; m < sizeof models / sizeof *models; m++)
        for (size_t kind = 0; kind < sizeof kinds / sizeof *kinds; kind++) {
            bool coded = nct_is_coded(kinds[kind].kind);
            if (only_kind ? strcmp(only_kind, kinds[kind].name) != 0 : !coded && m > 0)
                continue;
            if (only_model && strcmp(only_model, models[m].name) != 0)
                continue;
            open_layers(&models[m], coded ? group : 0, kinds[kind].kind, (size_t)160 << 20);
            for (size_t i = 0; nct_kernels_rung(i); i++) {
                nct_kernels k;
                if ((only && strcmp(only, nct_kernels_rung(i)) != 0) ||
                    nct_kernels_pick(nct_kernels_rung(i), &k, NULL) != NCT_OK)
                    continue;
                bool ref = i == 0;
                r.k = &k;
                double one = 0;
                printf("\n%s, linear layers of %s, %s", k.isa, models[m].name, kinds[kind].name);
                printf(coded ? " in groups of %zu\n" : "\n", group);
                printf("  %5s %8s %8s %8s %9s %9s %8s %8s\n", "rows", "GB/s", "read", "of read", "Gop/s",
                       "peak", "of peak", "x first");
                for (size_t n = 0; n < sizeof rows / sizeof *rows; n++) {
                    if ((only_rows && rows[n] != only_rows) || (ref && rows[n] != 1 && rows[n] != 8))
                        continue;
                    r.n_rows = rows[n];
                    /* many rows are bound by arithmetic: one layer tells; ref is slow */
                    r.n_matrices = rows[n] > 32 || ref ? 7 : layers.n_matrices;
                    double share = 0, bytes = 0, read = bandwidth(), ops = peak(k.isa, coded ? NCT_ROOF_INT8 : NCT_ROOF_F32);
                    for (size_t j = 0; j < r.n_matrices; j++) {
                        share += (double)layers.matrix[j].n_rows * (double)layers.matrix[j].n_cols;
                        bytes += (double)(layers.matrix[j].n_panels * layers.matrix[j].panel_bytes);
                    }
                    double s = seconds(run_linear, &r, 0.001);
                    one = one > 0 ? one : s / share;
                    printf("  %5zu %8.2f %8.1f %7.1f%% %9.1f", rows[n], bytes / s * 1e-9, read * 1e-9,
                           100 * bytes / s / read, 2 * share * (double)rows[n] / s * 1e-9);
                    print_share(2 * share * (double)rows[n] / s, ops);
                    printf(" %8.2f\n", s / share / one);
                    fflush(stdout);
                }
            }
            close_layers();
        }
    nct_free(r.x), nct_free(r.y), nct_free(r.q.q), nct_free(r.q.scale), nct_free(r.q.sum);
}

/* ------------------------------------------------------------------ attention */

typedef struct attend_run {
    const nct_kernels *k;
    nct_kv_type type;
    size_t n_rows, n_heads, d, n_blocks;
    uint8_t *keys, *values, *ready;
    float *q, *out;
    void **scratch;
    uint64_t mask[NCT_SEGMENT_STEPS * 64];
} attend_run;

static void attend_task(void *context, int task, int worker) {
    attend_run *r = context;
    nct_step step[NCT_SEGMENT_STEPS];
    size_t vectors = r->n_rows * r->n_heads;
    for (size_t s = 0; s < NCT_SEGMENT_STEPS; s++) {
        size_t at = ((size_t)task * NCT_SEGMENT_STEPS + s) % r->n_blocks;
        step[s] = (nct_step){r->keys + at * nct_key_bytes(r->type, r->d, NCT_STEP),
                             r->values + at * nct_value_bytes(r->type, r->d)};
    }
    float *m = r->out + (size_t)worker * vectors * (r->d + 2), *l = m + vectors, *acc = l + vectors;
    memset(l, 0, vectors * sizeof *l);
    r->k->attend(&(nct_attend_job){.k_type = r->type,
                                   .v_type = r->type,
                                   .step = step,
                                   .mask = r->mask,
                                   .n_steps = NCT_SEGMENT_STEPS,
                                   .q = r->ready,
                                   .q_stride = r->n_heads * nct_query_bytes(r->d),
                                   .n_rows = r->n_rows,
                                   .n_heads = r->n_heads,
                                   .d = r->d,
                                   .m = m,
                                   .l = l,
                                   .acc = acc,
                                   .scratch = r->scratch[worker]});
}

static int attend_tasks;
static void run_attend(void *context) { nct_pool_run(pool, attend_tasks, attend_task, context); }

/* What a rung multiplies keys and values of a type with: pairs of bfloat16 only where that is faster. */
static nct_roof_kind limit_of(const char *isa, nct_kv_type type) {
    if (type == NCT_KV_Q8 && strstr(isa, "avx512"))
        return NCT_ROOF_INT8;
    bool pairs = type == NCT_KV_BF16 && strcmp(isa, "avx512bf16") == 0;
    return pairs && peak(isa, NCT_ROOF_BF16) > peak(isa, NCT_ROOF_F32) ? NCT_ROOF_BF16 : NCT_ROOF_F32;
}

static void time_attend(attend_run *r, bool is_ref) {
    static const struct {
        size_t n_rows, n_heads, d;
    } shapes[] = {{1, 8, 64}, {8, 8, 64}, {1, 16, 128}, {8, 16, 128}};
    static const char *const names[] = {"f32", "int8", "bf16"};
    nct_roof_kind limit = limit_of(r->k->isa, r->type);
    printf("\n%s, attention, %s keys and values, against the %s peak\n", r->k->isa, nct_kv_type_name(r->type),
           names[limit]);
    printf("  %4s %5s %5s %9s %9s %8s %8s %8s\n", "rows", "heads", "width", "Gop/s", "peak", "of peak",
           "read", "of read");
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
        r->n_rows = shapes[s].n_rows, r->n_heads = shapes[s].n_heads, r->d = shapes[s].d;
        for (size_t at = 0; at < r->n_blocks; at++) /* some numbers; patterns do not matter */
            for (size_t j = 0; j < NCT_STEP; j++) {
                nct_key_put(r->type, r->keys + at * nct_key_bytes(r->type, r->d, NCT_STEP), NCT_STEP, j,
                            r->q + (at + j) % 512 * 128, r->d);
                nct_value_put(r->type, r->values + at * nct_value_bytes(r->type, r->d), j,
                              r->q + (at + 3 * j) % 512 * 128, r->d);
            }
        r->k->query(r->type, r->q, r->n_rows * r->n_heads, r->d, r->ready);
        attend_tasks = is_ref ? n_threads : (int)(r->n_blocks / NCT_SEGMENT_STEPS);
        double ops = peak(r->k->isa, limit), read = bandwidth();
        double t = seconds(run_attend, r, 0.01), steps = (double)attend_tasks * NCT_SEGMENT_STEPS;
        double rate = steps * (double)(r->n_rows * r->n_heads) * 4 * NCT_STEP * (double)r->d / t;
        double bytes =
            steps * (double)(nct_key_bytes(r->type, r->d, NCT_STEP) + nct_value_bytes(r->type, r->d)) / t;
        printf("  %4zu %5zu %5zu %9.1f", r->n_rows, r->n_heads, r->d, rate * 1e-9);
        print_share(rate, ops);
        printf(" %8.1f %7.1f%%\n", read * 1e-9, 100 * bytes / read);
        fflush(stdout);
    }
}

static void bench_attend(const char *only) {
    enum { VECTORS = 8 * 16 };
    attend_run r = {.n_blocks =
                        512}; /* 16 MiB a side at d = 128 and float32: beyond the caches for single rows */
    r.keys = room(r.n_blocks * nct_key_bytes(NCT_KV_F32, 128, NCT_STEP));
    r.values = room(r.n_blocks * nct_value_bytes(NCT_KV_F32, 128));
    r.q = room(512 * 128 * sizeof(float));
    r.ready = room(VECTORS * nct_query_bytes(128));
    r.out = room((size_t)n_threads * VECTORS * 130 * sizeof(float));
    r.scratch = room((size_t)n_threads * sizeof *r.scratch);
    for (int i = 0; i < n_threads; i++)
        r.scratch[i] = room(nct_attend_scratch(8, 16, 128));
    fill(r.q, 512 * 128, 3);
    for (size_t i = 0; i < 512 * 128; i++)
        r.q[i] *= 0.1f;
    memset(r.mask, 0xff, sizeof r.mask);
    for (size_t i = 0; nct_kernels_rung(i); i++) {
        nct_kernels k;
        if ((only && strcmp(only, nct_kernels_rung(i)) != 0) ||
            nct_kernels_pick(nct_kernels_rung(i), &k, NULL) != NCT_OK)
            continue;
        r.k = &k;
        for (int type = 0; type < NCT_KV_TYPES; type++) {
            r.type = (nct_kv_type)type;
            time_attend(&r, i == 0);
        }
    }
    for (int i = 0; i < n_threads; i++)
        nct_free(r.scratch[i]);
    nct_free(r.keys), nct_free(r.values), nct_free(r.q), nct_free(r.ready), nct_free(r.out),
        nct_free(r.scratch);
}

/* ------------------------------------------------------------------ rows */

typedef struct row_run {
    const nct_kernels *k;
    nct_panels w;
    nct_qrows q;
    float *x, *y, *z;
} row_run;
enum { WIDTH = 4096 };

static void run_quantize(void *context) {
    row_run *r = context;
    r->k->quantize(&r->w, r->x, &r->q, 0, 0, r->w.n_groups);
}
static void run_rms_norm(void *context) {
    row_run *r = context;
    r->k->rms_norm(r->x, r->y, 1e-6f, WIDTH, r->z);
}
static void run_rope(void *context) {
    row_run *r = context;
    r->k->rope(r->z, WIDTH / 128, 128, r->x, r->y);
}
static void run_swiglu(void *context) {
    row_run *r = context;
    r->k->swiglu(r->x, r->y, WIDTH, r->z);
}
static void run_add_scaled(void *context) {
    row_run *r = context;
    r->k->add_scaled(r->z, r->y, 1e-9f, WIDTH);
}
static void run_dots(void *context) {
    row_run *r = context;
    r->k->dots(NCT_KV_F32, r->x, 64, 64, NULL, (const uint8_t *)r->y, 16, 64, r->z, 64);
}
static void run_exp_sum(void *context) {
    row_run *r = context;
    r->z[0] = r->k->exp_sum(r->x, WIDTH, 2, false);
}
static void run_exp_heads(void *context) {
    row_run *r = context;
    static const float m[8], factor[8] = {1, 1, 1, 1, 1, 1, 1, 1};
    r->k->exp_heads(r->x, WIDTH / 8, 8, WIDTH / 8, m, factor, false, r->z);
}

/* One thread, in the cache: microseconds a call on 4096 values. */
static void bench_rows(const char *only) {
    static const struct {
        const char *name;
        void (*run)(void *);
    } ops[] = {{"quantize", run_quantize}, {"rms_norm", run_rms_norm},     {"rope", run_rope},
               {"swiglu", run_swiglu},     {"add_scaled", run_add_scaled}, {"dots", run_dots},
               {"exp_sum", run_exp_sum},   {"exp_heads", run_exp_heads}};
    enum { OPS = sizeof ops / sizeof *ops };
    row_run r = {.w = {.kind = NCT_PANEL_CODES4, .n_rows = 16, .n_cols = WIDTH, .group = 128}};
    if (!nct_panels_shape(&r.w))
        exit(1);
    r.q = (nct_qrows){room(WIDTH), room(WIDTH), room(WIDTH), WIDTH, r.w.n_groups};
    r.x = room(WIDTH * sizeof(float)), r.y = room(WIDTH * sizeof(float)), r.z = room(WIDTH * sizeof(float));
    fill(r.x, WIDTH, 1);
    fill(r.y, WIDTH, 2);
    double ref[OPS] = {0};
    for (size_t i = 0; nct_kernels_rung(i); i++) {
        nct_kernels k;
        if ((only && i > 0 && strcmp(only, nct_kernels_rung(i)) != 0) ||
            nct_kernels_pick(nct_kernels_rung(i), &k, NULL) != NCT_OK)
            continue;
        r.k = &k;
        printf("\n%s, rows of %d, one thread\n  %12s %10s %8s\n", k.isa, WIDTH, "", "us", "x ref");
        for (size_t o = 0; o < OPS; o++) {
            memset(r.z, 0, WIDTH * sizeof(float));
            double t = seconds(ops[o].run, &r, 0.005);
            ref[o] = i == 0 ? t : ref[o];
            printf("  %12s %10.3f %8.1f\n", ops[o].name, t * 1e6, ref[o] / t);
        }
    }
    nct_free(r.q.q), nct_free(r.q.scale), nct_free(r.q.sum), nct_free(r.x), nct_free(r.y), nct_free(r.z);
}

int main(int argc, char **argv) {
    const char *rung = NULL;
    size_t group = 128;
    n_threads = nct_cpu_usable();
    for (int c; (c = getopt(argc, argv, "cht:i:n:k:m:r:g:")) != -1;)
        switch (c) {
        case 'c':
            n_threads = 1;
            clock_id = CLOCK_PROCESS_CPUTIME_ID;
            break;
        case 'h':
            huge = NCT_HUGE_OFF;
            break;
        case 't':
            n_threads = atoi(optarg);
            break;
        case 'i':
            rung = optarg;
            break;
        case 'k':
            only_kind = optarg;
            break;
        case 'm':
            only_model = optarg;
            break;
        case 'r':
            only_rows = (size_t)strtoul(optarg, NULL, 10);
            break;
        case 'g':
            group = (size_t)strtoul(optarg, NULL, 10);
            break;
        case 'n':
            n_repeats = atoi(optarg);
            break;
        default:
            n_threads = 0;
        }
    if (n_threads < 1 || n_repeats < 1 || n_repeats > 32 || group < 1 || group > NCT_GROUP_MAX) {
        fprintf(
            stderr,
            "usage: kbench [-c] [-h] [-t THREADS] [-i RUNG] [-n REPEATS] [-k KIND] [-m MODEL] [-r ROWS] [-g GROUP]"
            " [linear] [attend] [rows]\n");
        return 2;
    }
    nct_error err;
    nct_cpu cpu;
    nct_kernels k;
    check(nct_kernels_pick(rung, &k, &err), &err);
    nct_cpu_detect(&cpu);
    check(nct_pool_open_as(&(nct_pool_options){.n_threads = n_threads, .huge = huge}, &pool, &err), &err);
#if defined(__clang__)
    const char *compiler = "clang " __clang_version__;
#else
    const char *compiler = "gcc " __VERSION__;
#endif
    printf("%s, %d thread%s, compiled by %s\n", cpu.name[0] ? cpu.name : "processor", n_threads,
           n_threads > 1 ? "s" : "", compiler);
    reading.n_chunks = ((size_t)256 << 20) / READ_CHUNK;
    reading.data = room(reading.n_chunks * READ_CHUNK);
    memset(reading.data, 1, reading.n_chunks * READ_CHUNK);

    bool all = optind == argc;
    for (int i = optind; i < argc || all; i++) {
        const char *what = all ? "" : argv[i];
        if (all || strcmp(what, "rows") == 0)
            bench_rows(rung);
        if (all || strcmp(what, "attend") == 0)
            bench_attend(rung);
        if (all || strcmp(what, "linear") == 0)
            bench_linear(rung, group);
        if (all)
            break;
    }
    nct_free(reading.data);
    nct_pool_close(pool);
    return 0;
}
