/* Block selection and sparse attention against the vectors of model-and-infllm-v2.md section 6. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "attn/cached.h"
#include "attn/pooled.h"

enum { L = 4096, D = 8, G = 2 };

static void lcg(float *out, size_t n, uint32_t seed) {
    uint64_t x = seed;
    for (size_t i = 0; i < n; i++) {
        x = (1103515245u * x + 12345u) & 0x7fffffffu;
        out[i] = (float)((double)x / 1073741824.0 - 1.0);
    }
}

static const nct_sparse r2 = {.enabled = true, .fine = {32, 16}, .coarse = {128, 64}, .block = 64, .init_blocks = 1,
                              .local_forced = 5, .budget = 12};
static const nct_sparse r2_exact = {.enabled = true, .fine = {32, 16}, .coarse = {128, 64}, .block = 64, .init_blocks = 1,
                                    .local_forced = 5, .budget = 12, .exact_lse = true};
static const nct_sparse r1 = {.enabled = true, .fine = {32, 16}, .coarse = {128, 64}, .block = 64, .init_blocks = 1,
                              .local_forced = 4, .budget = 12, .exact_lse = true};

static float keys[L * D], values[L * D];

struct setup {
    nct_kernels kernels;
    nct_pool *pool;
    nct_arena arena;
    nct_cache cache;
    nct_exec exec;
    nct_attend_options options;
};

/* Appends the specification's keys and values in chunks. */
static void open_setup(struct setup *s, const nct_sparse *sparse, int threads, size_t rows, size_t chunk) {
    static float shift[64 * D];
    *s = (struct setup){.options.sparse = *sparse};
    if (nct_kernels_pick(getenv("NOCTULE_ISA"), &s->kernels, NULL) == NCT_E_UNSUPPORTED)
        exit(77);
    assert_int_equal(nct_pool_open(threads, &s->pool, NULL), NCT_OK);
    assert_int_equal(nct_cache_open(&(nct_cache_options){.n_layers = 1,
                                                         .n_kv_heads = 1,
                                                         .head_dim = D,
                                                         .limit = L,
                                                         .k_type = k_type,
                                                         .v_type = v_type,
                                                         .sparse = sparse},
                                    &s->cache, NULL),
                     NCT_OK);
    assert_int_equal(nct_cache_reserve(&s->cache, L, NULL), NCT_OK);
    assert_int_equal(nct_arena_open(&s->arena, nct_attend_scratch_bytes(&s->options, &s->cache, rows, G, threads), NULL), NCT_OK);
    s->exec = (nct_exec){.kernels = &s->kernels, .pool = s->pool, .scratch = &s->arena};
    lcg(keys, L * D, 12345);
    lcg(values, L * D, 4242);
    lcg(shift, 64 * D, 777);
    for (size_t t = 0; t < L; t++)
        for (size_t i = 0; i < D; i++)
            keys[t * D + i] += shift[t / 64 * D + i];
    for (size_t first = 0; first < L; first += chunk) {
        nct_batch batch = {.n = L - first < chunk ? L - first : chunk, .first = first};
        for (size_t t = first; t < first + batch.n; t++)
            nct_cache_store(&s->cache, 0, 0, t, keys + t * D, values + t * D);
        nct_pooled_update(&s->exec, &s->cache, 0, &batch);
    }
}

static void close_setup(struct setup *s) {
    nct_cache_close(&s->cache);
    nct_arena_close(&s->arena);
    nct_pool_close(s->pool);
}

static void query(size_t p, float *q) {
    lcg(q, G * D, (uint32_t)(1000 + p));
    for (size_t i = 0; i < G * D; i++)
        q[i] *= 8 / sqrtf(D);
}

struct choice {
    size_t n;
    uint32_t block[64];
};

static void remember(void *context, const nct_selected *selected) {
    struct choice *c = context;
    c->n = selected->n_blocks;
    memcpy(c->block, selected->block, c->n * sizeof *c->block);
}

static void check(const nct_sparse *sparse, size_t p, const uint32_t *blocks, const float *head0, const float *head1) {
    struct setup s;
    struct choice choice = {0};
    open_setup(&s, sparse, 2, 1, L);
    s.options.seen = remember;
    s.options.context = &choice;
    float q[G * D], out[G * D];
    query(p, q);
    nct_batch batch = {.n = 1, .first = p};
    attend(&s.exec, &s.options, &s.cache, &batch, G, q, out);
    assert_int_equal(choice.n, 12);
    assert_memory_equal(choice.block, blocks, 12 * sizeof *blocks);
    for (size_t i = 0; head0 && i < D; i++)
        assert_true(fabsf(out[i] - head0[i]) < 2e-6f);
    for (size_t i = 0; head1 && i < D; i++)
        assert_true(fabsf(out[D + i] - head1[i]) < 2e-6f);
    close_setup(&s);
}

static void test_select__chooses_the_blocks_of_the_specification(void **state) {
    (void)state;
    static const float r2_0[D] = {0.116108f, 0.115916f, 0.116619f, -0.212889f, 0.088849f, -0.009291f, -0.033364f, 0.069133f};
    static const float r2_1[D] = {-0.049988f, 0.082908f, -0.241210f, -0.270836f, 0.062240f, -0.049676f, 0.179640f, 0.025355f};
    static const float r1_0[D] = {0.116443f, 0.116285f, 0.116771f, -0.212949f, 0.088906f, -0.009093f, -0.033260f, 0.069278f};
    static const uint32_t far_r2[] = {0, 6, 10, 11, 21, 47, 49, 59, 60, 61, 62, 63};
    static const uint32_t far_r1[] = {0, 6, 10, 11, 21, 31, 47, 49, 60, 61, 62, 63};
    check(&r2, 4095, far_r2, r2_0, r2_1);
    check(&r2_exact, 4095, far_r2, r2_0, r2_1);
    check(&r1, 4095, far_r1, r1_0, NULL);
    static const float near_0[D] = {0.164836f, -0.384836f, 0.252713f, 0.042531f, -0.199378f, -0.345397f, 0.104969f, -0.356175f};
    static const float near_1[D] = {0.134792f, -0.106548f, -0.042951f, -0.159393f, -0.115802f, 0.145623f, -0.002301f, 0.120584f};
    check(&r2, 3000, (const uint32_t[]){0, 2, 3, 22, 23, 28, 37, 42, 43, 44, 45, 46}, near_0, near_1);
    check(&r1, 3000, (const uint32_t[]){0, 2, 3, 22, 23, 27, 28, 37, 43, 44, 45, 46}, NULL, NULL);
}

static void test_select__compressed_keys_are_those_of_the_specification(void **state) {
    (void)state;
    struct setup s;
    open_setup(&s, &r2, 1, 1, 13);
    static const float k1[D] = {-0.438727f, -0.606940f, -0.330346f, 0.118357f, -0.185617f, 0.011712f, 0.394162f, -0.022880f};
    static const float k2[D] = {0.047984f, 0.056960f, 0.368267f, 0.000578f, 0.108102f, 0.168642f, 0.190595f, -0.752690f};
    size_t last_page = L / NCT_PAGE - 1, lane = 62 - nct_cache_first_window(&s.cache, 1, last_page);
    for (size_t i = 0; i < D; i++) {
        const float *fine = nct_cache_pooled(&s.cache, 0, 0, 0, 0),
                    *coarse = nct_cache_pooled(&s.cache, 1, 0, 0, last_page);
        assert_true(fabsf(fine[i * s.cache.pooled_lanes[0]] - k1[i]) < 1e-6f);
        assert_true(fabsf(coarse[i * s.cache.pooled_lanes[1] + lane] - k2[i]) < 1e-6f);
    }
    assert_int_equal(nct_level_count(s.cache.level[0], L), 255);
    assert_int_equal(nct_level_count(s.cache.level[1], L), 63);
    close_setup(&s);
}

/* Every row, in chunks and on several threads, has the bits of rows computed one by one. */
static void check_same_bits(const size_t *chunks, size_t n_chunks) {
    static float q[L * G * D], one_by_one[L * G * D], out[L * G * D];
    for (size_t p = 0; p < L; p++)
        query(p, q + p * G * D);
    for (size_t c = 0; c < n_chunks; c++) {
        struct setup s;
        float *to = c ? out : one_by_one;
        open_setup(&s, &r2, c % 2 ? 3 : 1, chunks[c], chunks[c]);
        for (size_t first = 0; first < L; first += chunks[c]) {
            nct_batch batch = {.n = L - first < chunks[c] ? L - first : chunks[c], .first = first};
            attend(&s.exec, &s.options, &s.cache, &batch, G, q + first * G * D, to + first * G * D);
        }
        assert_memory_equal(to, one_by_one, sizeof out);
        close_setup(&s);
    }
}

static void test_select__same_bits_for_any_chunk_and_threads(void **state) {
    (void)state;
    for (size_t i = 0; i < N_PAIRS; i++) {
        take_pair(i);
        if (i == 0)
            check_same_bits((const size_t[]){1, 13, 64, 65, 256, L}, 6);
        else
            check_same_bits((const size_t[]){100 + i, 7 * i}, 2);
    }
    take_pair(0);
}

static void test_select__choosing_every_block_equals_dense(void **state) {
    (void)state;
    nct_sparse all = r2, dense = {0};
    all.budget = 63; /* one short of the last rows' 64 blocks: those choose, the others do not */
    float q[G * D], sparse_out[G * D], dense_out[G * D];
    for (size_t p = 4000; p < 4096; p += 19) {
        struct setup s;
        query(p, q);
        nct_batch batch = {.n = 1, .first = p};
        open_setup(&s, &all, 1, 1, L);
        s.options.sparse.budget = p / 64; /* all but one */
        attend(&s.exec, &s.options, &s.cache, &batch, G, q, sparse_out);
        s.options.sparse = dense;
        attend(&s.exec, &s.options, &s.cache, &batch, G, q, dense_out);
        assert_memory_not_equal(sparse_out, dense_out, sizeof dense_out);
        /* the same selection code, told to take all: lanes of every block */
        uint64_t lanes[L / 64];
        nct_sparse every = r2;
        every.budget = p / 64 + 1;
        void *scratch = NULL, *room = NULL;
        assert_int_equal(nct_alloc(&scratch, nct_select_scratch_bytes(&every, G), 1, NULL), NCT_OK);
        assert_int_equal(nct_alloc(&room, nct_selection_bytes(&every, L, G), 1, NULL), NCT_OK);
        uint8_t *readied = ready(&s.kernels, &s.cache, q, 1, G);
        nct_selecting where = {&s.kernels, &every, &s.cache, 0, 0, G, NULL};
        size_t other = (nct_query_forms(s.cache.k_type) - 1) * G * nct_query_bytes(s.cache.head_dim);
        nct_selection what = {p, readied + other, room, 0};
        nct_select_normalise(&where, &what, 0, scratch);
        nct_select_merge(&where, &what);
        nct_select_score(&where, &what, 0, scratch);
        nct_select_choose(&where, &what, lanes, NULL, NULL);
        nct_free(readied);
        for (size_t step = 0; step < p / 64; step++)
            assert_true(lanes[step] == UINT64_MAX);
        assert_true(lanes[p / 64] == (p % 64 == 63 ? UINT64_MAX : (UINT64_C(1) << (p % 64 + 1)) - 1));
        nct_free(scratch);
        nct_free(room);
        close_setup(&s);
    }
}

static void test_sparse__geometries_are_checked(void **state) {
    (void)state;
    const nct_sparse_stated good = {.kernel_size = 32, .kernel_stride = 16, .init_blocks = 1, .block_size = 64,
                                    .window_size = 2048, .topk = 64, .dense_len = 8192};
    nct_sparse s;
    assert_int_equal(nct_sparse_check(&good, "x", &s, NULL), NCT_OK);
    assert_int_equal(s.budget, 96);
    assert_int_equal(s.local_forced, 33);
    nct_sparse_stated bad = good;
    bad.block_size = 72;
    assert_int_equal(nct_sparse_check(&bad, "x", &s, NULL), NCT_E_FORMAT);
    bad = good, bad.window_size = 2000;
    assert_int_equal(nct_sparse_check(&bad, "x", &s, NULL), NCT_E_FORMAT);
    bad = good, bad.topk = 1;
    assert_int_equal(nct_sparse_check(&bad, "x", &s, NULL), NCT_E_FORMAT);
    bad = good, bad.use_nope = true;
    assert_int_equal(nct_sparse_check(&bad, "x", &s, NULL), NCT_E_UNSUPPORTED);
    bad = good, bad.kernel_stride = 0;
    assert_int_equal(nct_sparse_check(&bad, "x", &s, NULL), NCT_E_FORMAT);
    /* counts of the table in section 3.1 */
    assert_int_equal(nct_level_count((nct_level){32, 16}, 31), 0);
    assert_int_equal(nct_level_count((nct_level){32, 16}, 48), 2);
    assert_int_equal(nct_level_count((nct_level){128, 64}, 191), 1);
    assert_int_equal(nct_level_count((nct_level){128, 64}, 8192), 127);
    nct_sparse_check(&good, "x", &s, NULL);
    assert_false(nct_sparse_chooses(&s, 8190, 0));
    assert_true(nct_sparse_chooses(&s, 8191, 0));
    assert_true(nct_sparse_chooses(&s, 6144, 8192));
    assert_false(nct_sparse_chooses(&s, 6143, 8192)); /* all blocks fit in the budget */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_select__chooses_the_blocks_of_the_specification),
        cmocka_unit_test(test_select__compressed_keys_are_those_of_the_specification),
        cmocka_unit_test(test_select__same_bits_for_any_chunk_and_threads),
        cmocka_unit_test(test_select__choosing_every_block_equals_dense),
        cmocka_unit_test(test_sparse__geometries_are_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
