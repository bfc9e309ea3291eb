/* Attention over the cache: against the spec's vectors, against plain softmax, and the same bits in any
 * chunk and on any number of threads. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "attn/cached.h"

/* Numbers of model-and-infllm-v2.md section 6: x <- (1103515245 x + 12345) mod 2^31, output x / 2^30 - 1. */
static void lcg(float *out, size_t n, uint32_t seed) {
    uint64_t x = seed;
    for (size_t i = 0; i < n; i++) {
        x = (1103515245u * x + 12345u) & 0x7fffffffu;
        out[i] = (float)((double)x / 1073741824.0 - 1.0);
    }
}

struct setup {
    nct_kernels kernels;
    nct_pool *pool;
    nct_arena arena;
    nct_cache cache;
    nct_exec exec;
    nct_attend_options options; /* set before opening */
};

static void open_setup(struct setup *s, size_t n_kv, size_t d, size_t n, size_t n_heads, int threads, size_t rows) {
    const char *isa = getenv("NOCTULE_ISA");
    if (nct_kernels_pick(isa, &s->kernels, NULL) == NCT_E_UNSUPPORTED)
        exit(77);
    assert_int_equal(nct_pool_open(threads, &s->pool, NULL), NCT_OK);
    assert_int_equal(nct_cache_open(&(nct_cache_options){.n_layers = 1,
                                                         .n_kv_heads = n_kv,
                                                         .head_dim = d,
                                                         .limit = n,
                                                         .k_type = k_type,
                                                         .v_type = v_type,
                                                         .sparse = &s->options.sparse},
                                    &s->cache, NULL),
                     NCT_OK);
    assert_int_equal(nct_cache_reserve(&s->cache, n, NULL), NCT_OK);
    assert_int_equal(nct_arena_open(&s->arena, nct_attend_scratch_bytes(&s->options, &s->cache, rows, n_heads, threads), NULL), NCT_OK);
    s->exec = (nct_exec){.kernels = &s->kernels, .pool = s->pool, .scratch = &s->arena};
}

static void close_setup(struct setup *s) {
    nct_cache_close(&s->cache);
    nct_arena_close(&s->arena);
    nct_pool_close(s->pool);
}

static void test_attend__dense_rows_of_the_specification(void **state) {
    (void)state;
    enum { L = 4096, D = 8, G = 2 };
    static float k[L * D], v[L * D], shift[64 * D];
    lcg(k, L * D, 12345);
    lcg(v, L * D, 4242);
    lcg(shift, 64 * D, 777);
    struct setup s = {0};
    open_setup(&s, 1, D, L, G, 2, 1);
    for (size_t t = 0; t < L; t++) {
        for (size_t i = 0; i < D; i++)
            k[t * D + i] += shift[t / 64 * D + i];
        nct_cache_store(&s.cache, 0, 0, t, k + t * D, v + t * D);
    }
    static const struct {
        size_t p;
        float head0[D];
    } expected[] = {
        {4095, {0.069218f, 0.074946f, 0.060740f, -0.139944f, 0.079035f, -0.043618f, -0.048809f, 0.022356f}},
        {200, {0.105538f, 0.117136f, -0.015380f, -0.031475f, 0.059229f, -0.159035f, 0.262940f, -0.137493f}},
    };
    for (size_t e = 0; e < 2; e++) {
        float q[G * D], out[G * D];
        lcg(q, G * D, (uint32_t)(1000 + expected[e].p));
        for (size_t i = 0; i < G * D; i++)
            q[i] *= 8 / sqrtf(D);
        nct_batch batch = {.n = 1, .first = expected[e].p};
        attend(&s.exec, &s.options, &s.cache, &batch, G, q, out);
        for (size_t i = 0; i < D; i++)
            assert_true(fabsf(out[i] - expected[e].head0[i]) < 2e-6f);
    }
    close_setup(&s);
}

enum { N = 1200, KV = 2, H = 6, W = 20 };

static float keys[N * KV * W], values[N * KV * W], queries[N * H * W];

static void fill_cache(struct setup *s) {
    lcg(keys, N * KV * W, 1);
    lcg(values, N * KV * W, 2);
    lcg(queries, N * H * W, 3);
    for (size_t i = 0; i < N * H * W; i++)
        queries[i] *= 3;
    for (size_t t = 0; t < N; t++)
        for (size_t kv = 0; kv < KV; kv++)
            nct_cache_store(&s->cache, 0, kv, t, keys + (t * KV + kv) * W, values + (t * KV + kv) * W);
}

static void run_chunks(struct setup *s, size_t chunk, float *out) {
    for (size_t first = 0; first < N; first += chunk) {
        nct_batch batch = {.n = N - first < chunk ? N - first : chunk, .first = first};
        attend(&s->exec, &s->options, &s->cache, &batch, H, queries + first * H * W, out + first * H * W);
    }
}

static void check_softmax(double bound) {
    static float out[N * H * W];
    struct setup s = {0};
    open_setup(&s, KV, W, N, H, 2, N);
    fill_cache(&s);
    run_chunks(&s, N, out);
    for (size_t p = 0; p < N; p += 37)
        for (size_t h = 0; h < H; h++) {
            const float *q = queries + (p * H + h) * W;
            size_t kv = h / (H / KV);
            double sum = 0, acc[W] = {0}, top = -1e30;
            static double score[N];
            for (size_t t = 0; t <= p; t++) {
                score[t] = 0;
                for (size_t i = 0; i < W; i++)
                    score[t] += (double)q[i] * keys[(t * KV + kv) * W + i];
                top = fmax(top, score[t]);
            }
            for (size_t t = 0; t <= p; t++) {
                double e = exp(score[t] - top);
                sum += e;
                for (size_t i = 0; i < W; i++)
                    acc[i] += e * values[(t * KV + kv) * W + i];
            }
            for (size_t i = 0; i < W; i++)
                assert_true(fabs(out[(p * H + h) * W + i] - acc[i] / sum) < bound);
        }
    close_setup(&s);
}

/* Scores here reach 3 * 20 * 1 / 3: what the narrow types round away of them shows. */
static void test_attend__equals_plain_softmax(void **state) {
    (void)state;
    static const double bound[N_PAIRS] = {5e-6, 5e-3, 4e-2, 6e-2, 6e-2, 3e-2};
    for (size_t i = 0; i < N_PAIRS; i++) {
        take_pair(i);
        check_softmax(bound[i]);
    }
    take_pair(0);
}

static void check_same_bits(void) {
    static float whole[N * H * W], out[N * H * W];
    static const size_t chunks[] = {1, 7, 64, 65, 300, N};
    struct setup s = {0};
    open_setup(&s, KV, W, N, H, 1, N);
    fill_cache(&s);
    run_chunks(&s, N, whole);
    close_setup(&s);
    for (int threads = 1; threads <= 5; threads += 2)
        for (size_t c = 0; c < sizeof chunks / sizeof *chunks; c++) {
            if (k_type != NCT_KV_F32 && c % 3 != (size_t)threads / 2) /* a third of the ways for each type */
                continue;
            open_setup(&s, KV, W, N, H, threads, chunks[c]);
            fill_cache(&s);
            memset(out, 0xff, sizeof out);
            run_chunks(&s, chunks[c], out);
            assert_memory_equal(whole, out, sizeof out);
            close_setup(&s);
        }
}

static void test_attend__same_bits_for_any_chunk_and_threads(void **state) {
    (void)state;
    for (size_t i = 0; i < N_PAIRS; i++) {
        take_pair(i);
        check_same_bits();
    }
    take_pair(0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_attend__dense_rows_of_the_specification),
        cmocka_unit_test(test_attend__equals_plain_softmax),
        cmocka_unit_test(test_attend__same_bits_for_any_chunk_and_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
