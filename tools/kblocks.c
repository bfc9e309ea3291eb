/* kblocks: attention to chosen blocks (InfLLM v2) without a model: a cache of random keys and values at a depth, rows of
 * a prompt and single rows, choosing and attending apart, each against its limit.
 *
 *   kblocks [-t THREADS] [-i RUNG] [-n REPEATS] [-d DEPTH] [-k KIND] [-m MODEL] [-r ROWS] [-l LAYERS] [-c LIKENESS] [-p PAGES]
 *
 * KIND: f32, f16, bf16, q8; MODEL: 0.5B, 8B; without them the 16-bit kind of the rung and q8, and both. Layers are
 * attended to in turn, and between two of them as many bytes are read as a layer's weights have, so that single rows find
 * nothing in the caches. LIKENESS, 0 to 1: of the queries of neighbouring
 * rows, and so of what they choose; 0 is what made-up weights do, and the worst. PAGES: auto, on or off: huge pages of
 * the cache, as of -X hugepages. Figures are microseconds a row, each the least of the repeats, as other guests of a machine only make it
 * slower; choosing and blocks are of each thread. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "attn/attend.h"
#include "attn/pooled.h"
#include "base/clock.h"
#include "base/rng.h"
#include "engine/session.h"
#include "kernel/roofline.h"

enum { VECTORS = 4096, PROMPT = 512 };

typedef struct model {
    const char *name;
    size_t n_heads, n_kv_heads, d, weight_mib; /* these of a layer */
} model;
static const model models[] = {{"0.5B", 16, 2, 64, 7}, {"8B", 32, 2, 128, 110}};

typedef struct run {
    nct_exec exec;
    nct_cache cache;
    const model *m;
    float *vectors, *q, *out;
    uint8_t *ready, *weights;
    size_t depth;
    double likeness;
} run;

static void check(nct_status status, const nct_error *err) {
    if (status != NCT_OK) {
        fprintf(stderr, "kblocks: %s\n", err->text);
        exit(1);
    }
}

static void *room(size_t n_bytes) {
    void *p = NULL;
    nct_error err;
    check(nct_alloc(&p, n_bytes, 1, &err), &err);
    return p;
}

static float noise(uint64_t i) {
    float sum = -2;
    for (uint32_t draw = 0; draw < 4; draw++)
        sum += (float)nct_rng_uniform(11, 0, i, draw);
    return sum * 1.7f; /* a variance of one, nearly */
}

static void fill_head(void *context, int task, int worker) {
    (void)worker;
    const run *r = context;
    const nct_cache *c = &r->cache;
    for (size_t i = 0; i < r->depth + PROMPT; i++) {
        uint64_t at = nct_rng_mix(i << 16 | (uint64_t)task);
        nct_cache_store(c, (size_t)task / c->n_kv_heads, (size_t)task % c->n_kv_heads, i,
                        r->vectors + at % VECTORS * c->head_dim,
                        r->vectors + (at >> 32) % VECTORS * c->head_dim);
    }
}

static void fill_cache(run *r, nct_kv_type kind, size_t n_layers, nct_huge_pages huge,
                       const nct_sparse *sparse) {
    nct_error err;
    size_t n = r->depth + PROMPT;
    check(nct_cache_open(&(nct_cache_options){.n_layers = n_layers,
                                              .n_kv_heads = r->m->n_kv_heads,
                                              .head_dim = r->m->d,
                                              .limit = n,
                                              .k_type = kind,
                                              .v_type = kind,
                                              .sparse = sparse},
                         &r->cache, &err),
          &err);
    nct_advise_cache(&r->cache, huge);
    check(nct_cache_reserve(&r->cache, n, &err), &err);
    nct_pool_run(r->exec.pool, (int)r->m->n_kv_heads, fill_head, r);
    nct_pooled_update(&r->exec, &r->cache, 0, &(nct_batch){.n = n});
    for (size_t layer = 1; layer < n_layers; layer++) /* alike, which queries are not */
        for (size_t page = 0; page < r->cache.n_pages; page++)
            for (size_t i = 0; i < NCT_CACHE_SECTIONS; i++) {
                nct_cache_section s = nct_cache_section_of(&r->cache, i, NCT_PAGE);
                uint8_t *at = r->cache.pages + page * r->cache.page_bytes + s.off;
                size_t of_layer = s.piece_bytes * r->m->n_kv_heads;
                memcpy(at + layer * of_layer, at, of_layer);
            }
}

/* The queries of n rows of one layer, readied as the model readies them. */
static void ready(run *r, size_t layer, size_t n) {
    size_t heads = r->m->n_heads, d = r->m->d, width = heads * d, forms = nct_query_forms(r->cache.k_type);
    float keep = (float)r->likeness, rest = sqrtf(1 - keep * keep), scale = 2 / sqrtf((float)d);
    for (size_t t = 0; t < n; t++)
        for (size_t i = 0; i < width; i++) {
            float own = noise((layer * PROMPT + t) * width + i);
            r->q[t * width + i] = t ? keep * r->q[(t - 1) * width + i] + rest * own : own;
        }
    for (size_t t = n; t-- > 0;) {
        float *q = r->q + t * width;
        for (size_t i = 0; i < width; i++)
            r->out[i] = q[i] * scale;
        uint8_t *to = r->ready + (layer * n + t) * forms * heads * nct_query_bytes(d);
        r->exec.kernels->query(r->cache.k_type, r->out, heads, d, to);
        if (forms == 2)
            r->exec.kernels->query(nct_pooled_type(r->cache.k_type), r->out, heads, d,
                                   to + heads * nct_query_bytes(d));
    }
}

enum { SLICES = 64 };

static void read_slice(void *context, int task, int worker) {
    (void)worker;
    const run *r = context;
    size_t n = (r->m->weight_mib << 20) / SLICES;
    volatile uint64_t sum = nct_roofline_touch(r->weights + (size_t)task * n, n, 0);
    (void)sum;
}

static double lesser(double a, double b) { return a < b ? a : b; }

static void time_rows(run *r, nct_sparse sparse, size_t n, int repeats, double ops_s, double read_s) {
    double us = INFINITY, chose = INFINITY, wall = INFINITY, blocks = INFINITY;
    size_t layers = r->cache.n_layers,
           row = nct_query_forms(r->cache.k_type) * r->m->n_heads * nct_query_bytes(r->m->d);
    size_t n_sets = n == 1 ? (size_t)repeats + 1 : 1; /* single rows ask anew each time: blocks would be in the caches */
    r->ready = room(n_sets * layers * n * row);
    for (size_t i = 0; i < n_sets * layers; i++)
        ready(r, i, n);
    for (int i = -1; i < repeats; i++) { /* the first one warms up */
        nct_attend_times times = {0};
        nct_attend_options options = {.sparse = sparse, .times = &times};
        uint64_t attended = 0;
        for (size_t layer = 0; layer < layers; layer++) {
            if (n == 1)
                nct_pool_run(r->exec.pool, SLICES, read_slice, r);
            uint64_t began = nct_clock_ns();
            nct_attend(&r->exec, &options, &r->cache, NULL, layer, &(nct_batch){.n = n, .first = r->depth},
                       r->m->n_heads, r->ready + ((size_t)(i + 1) % n_sets * layers + layer) * n * row, r->out);
            attended += nct_clock_ns() - began;
        }
        if (i < 0)
            continue;
        double calls = (double)layers * (double)n * (double)nct_pool_size(r->exec.pool);
        wall = lesser(wall, (double)attended / 1e3 / (double)layers / (double)n);
        us = lesser(us, (double)times.all_ns / 1e3 / calls);
        chose = lesser(chose, (double)times.choosing_ns / 1e3 / calls);
        blocks = lesser(blocks, (double)(times.all_ns - times.choosing_ns) / 1e3 / calls);
    }
    double keys = (double)(sparse.budget * sparse.block), d = (double)r->m->d;
    double multiplying = keys * (double)r->m->n_heads * 4 * d / ops_s * 1e6;
    double reading = n > 1 ? 0
                           : keys / NCT_STEP *
                                 (double)((r->cache.key_bytes + r->cache.value_bytes) * r->m->n_kv_heads) /
                                 read_s * 1e6;
    printf("  %5s %5s %5zu %9.1f %9.1f %9.1f %6.0f%% %9.1f %9.1f %6.0f%%\n", r->m->name,
           nct_kv_type_name(r->cache.k_type), n, wall, chose, blocks, 100 * chose / us, multiplying, reading,
           100 * fmax(multiplying, reading) / blocks);
    fflush(stdout);
    nct_free(r->ready);
}

int main(int argc, char **argv) {
    const char *rung = NULL, *only_kind = NULL, *only_model = NULL;
    size_t n_layers = 24, only_rows = 0;
    int n_threads = nct_cpu_usable(), repeats = 5;
    nct_huge_pages huge = NCT_HUGE_AUTO;
    run r = {.depth = (size_t)128 << 10};
    for (int c; (c = getopt(argc, argv, "t:i:n:d:k:m:r:l:c:p:")) != -1;)
        switch (c) {
        case 't':
            n_threads = atoi(optarg);
            break;
        case 'i':
            rung = optarg;
            break;
        case 'n':
            repeats = atoi(optarg);
            break;
        case 'd':
            r.depth = (size_t)strtoul(optarg, NULL, 10);
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
        case 'l':
            n_layers = (size_t)strtoul(optarg, NULL, 10);
            break;
        case 'c':
            r.likeness = atof(optarg);
            break;
        case 'p':
            huge = strcmp(optarg, "on") == 0    ? NCT_HUGE_ON
                   : strcmp(optarg, "off") == 0 ? NCT_HUGE_OFF
                                                : NCT_HUGE_AUTO;
            break;
        default:
            n_threads = 0;
        }
    if (n_threads < 1 || repeats < 1 || n_layers < 1 || only_rows > PROMPT || optind < argc ||
        !(r.likeness >= 0 && r.likeness <= 1)) {
        fprintf(
            stderr,
            "usage: kblocks [-t THREADS] [-i RUNG] [-n REPEATS] [-d DEPTH] [-k KIND] [-m MODEL] [-r ROWS] "
            "[-l LAYERS] [-c LIKENESS] [-p PAGES]\n");
        return 2;
    }
    nct_error err;
    nct_kernels k;
    nct_arena arena;
    nct_sparse sparse;
    check(nct_kernels_pick(rung, &k, &err), &err);
    check(nct_pool_open(n_threads, &r.exec.pool, &err), &err);
    check(nct_sparse_check(&(nct_sparse_stated){.kernel_size = 32,
                                                .kernel_stride = 16,
                                                .init_blocks = 1,
                                                .block_size = 64,
                                                .window_size = 2048,
                                                .topk = 64,
                                                .dense_len = 8192},
                           "published", &sparse, &err),
          &err);
    r.exec.kernels = &k;
    r.out = room((size_t)PROMPT * 32 * 128 * sizeof(float));
    r.q = room((size_t)PROMPT * 32 * 128 * sizeof(float));
    r.vectors = room((size_t)VECTORS * 128 * sizeof(float));
    r.weights = room((size_t)128 << 20);
    memset(r.weights, 1, (size_t)128 << 20);
    for (size_t i = 0; i < (size_t)VECTORS * 128; i++)
        r.vectors[i] = noise((uint64_t)1 << 40 | i);
    const char *name = NULL;
    nct_roof_kind kind = k.kv_type == NCT_KV_BF16 ? NCT_ROOF_BF16 : NCT_ROOF_F32;
    for (size_t m = 0; m < sizeof models / sizeof *models; m++)
        for (int type = 0; type < NCT_KV_TYPES; type++) {
            const char *type_name = nct_kv_type_name((nct_kv_type)type);
            if ((only_model && strcmp(only_model, models[m].name) != 0) ||
                (only_kind ? strcmp(only_kind, type_name) != 0 : type != (int)k.kv_type && type != NCT_KV_Q8))
                continue;
            r.m = &models[m];
            fill_cache(&r, (nct_kv_type)type, n_layers, huge, &sparse);
            size_t scratch = nct_attend_scratch_bytes(&(nct_attend_options){.sparse = sparse}, &r.cache,
                                                      PROMPT, r.m->n_heads, n_threads);
            check(nct_arena_open(&arena, scratch, &err), &err);
            r.exec.scratch = &arena;
            double read_s, ops_s = nct_roofline_multiply(r.exec.pool, k.isa, kind, 9, &name);
            check(nct_roofline_read(r.exec.pool, 3, &read_s, &err), &err);
            printf(
                "\n%s, %d threads, depth %zu, %zu layers, read %.1f GB/s, %s %.3f Top/s, scratch %zu MiB\n",
                k.isa, n_threads, r.depth, n_layers, read_s * 1e-9, name ? name : "-", ops_s * 1e-12,
                scratch >> 20);
            printf("  %5s %5s %5s %9s %9s %9s %7s %9s %9s %7s\n", "model", "kind", "rows", "us/row",
                   "choosing", "blocks", "chosen", "multiply", "read", "of lim");
            for (size_t n = 1; n <= PROMPT; n += PROMPT - 1)
                if (!only_rows || only_rows == n)
                    time_rows(&r, sparse, n, repeats, ops_s, read_s);
            nct_arena_close(&arena);
            nct_cache_close(&r.cache);
        }
    nct_free(r.out), nct_free(r.q), nct_free(r.vectors), nct_free(r.weights);
    nct_pool_close(r.exec.pool);
    return 0;
}
