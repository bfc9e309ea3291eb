/* Trees of guesses beside the cache: every row has the bits of single steps along its path, and what is kept of a
 * tree the bytes that those steps would have left. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "attn/cached.h"
#include "attn/pooled.h"
#include "base/rng.h"

enum { LIMIT = NCT_SPAN + 100, KV = 2, H = 4, D = 20, MOST = NCT_BATCH_TREE };

/* Windows and blocks that begin and end at many places; of the last ones trees are deeper than what is forced. */
static const nct_sparse geometries[] = {
    {.enabled = false},
    {.enabled = true,
     .fine = {32, 16},
     .coarse = {128, 64},
     .block = 64,
     .init_blocks = 1,
     .local_forced = 3,
     .budget = 7},
    {.enabled = true,
     .fine = {32, 16},
     .coarse = {128, 64},
     .block = 64,
     .init_blocks = 1,
     .local_forced = 2,
     .budget = 6,
     .exact_lse = true},
    {.enabled = true,
     .fine = {4, 2},
     .coarse = {16, 8},
     .block = 16,
     .init_blocks = 1,
     .local_forced = 2,
     .budget = 4},
    {.enabled = true, .fine = {3, 1}, .coarse = {12, 4}, .block = 32, .local_forced = 1, .budget = 3},
    {.enabled = true,
     .fine = {7, 5},
     .coarse = {28, 20},
     .block = 80,
     .init_blocks = 2,
     .local_forced = 1,
     .budget = 5,
     .exact_lse = true},
};
enum { N_GEOMETRIES = sizeof geometries / sizeof *geometries };

struct setup {
    nct_kernels kernels;
    nct_pool *pool;
    nct_arena arena;
    nct_cache cache;
    nct_branches branches;
    nct_exec exec;
    nct_attend_options options;
};

static void open_setup(struct setup *s, const nct_sparse *sparse, int threads) {
    *s = (struct setup){.options.sparse = *sparse};
    if (nct_kernels_pick(getenv("NOCTULE_ISA"), &s->kernels, NULL) == NCT_E_UNSUPPORTED)
        exit(77);
    assert_int_equal(nct_pool_open(threads, &s->pool, NULL), NCT_OK);
    assert_int_equal(nct_cache_open(&(nct_cache_options){.n_layers = 2,
                                                         .n_kv_heads = KV,
                                                         .head_dim = D,
                                                         .limit = LIMIT,
                                                         .k_type = k_type,
                                                         .v_type = v_type,
                                                         .sparse = &s->options.sparse},
                                    &s->cache, NULL),
                     NCT_OK);
    assert_int_equal(nct_branches_open(&s->cache, MOST, &s->branches, NULL), NCT_OK);
    assert_int_equal(
        nct_arena_open(&s->arena, nct_attend_scratch_bytes(&s->options, &s->cache, MOST, H, threads), NULL),
        NCT_OK);
    s->exec = (nct_exec){.kernels = &s->kernels, .pool = s->pool, .scratch = &s->arena};
}

static void close_setup(struct setup *s) {
    nct_branches_close(&s->branches);
    nct_cache_close(&s->cache);
    nct_arena_close(&s->arena);
    nct_pool_close(s->pool);
}

/* Numbers between -1 and 1 that depend on what they stand for. */
static void draw(float *out, size_t n, uint64_t what) {
    for (size_t i = 0; i < n; i++)
        out[i] = (float)((double)(nct_rng_mix(what * 1000003 + i) >> 11) * 0x1p-52 - 1.0);
}

/* The token at a position, or one of a tree, in one layer: what distinguishes it is `what`. */
static void make_token(uint64_t what, size_t layer, float *k, float *v) {
    draw(k, KV * D, what * 8 + layer * 2);
    draw(v, KV * D, what * 8 + layer * 2 + 1);
}
static void make_query(uint64_t what, float *q) {
    draw(q, H * D, what * 8 + 7);
    for (size_t i = 0; i < H * D; i++)
        q[i] *= 2;
}

static void append(struct setup *s, uint64_t what, size_t position) {
    assert_int_equal(nct_cache_reserve(&s->cache, position + 1, NULL), NCT_OK);
    nct_batch one = {.n = 1, .first = position};
    for (size_t layer = 0; layer < 2; layer++) {
        float k[KV * D], v[KV * D];
        make_token(what, layer, k, v);
        for (size_t kv = 0; kv < KV; kv++)
            nct_cache_store(&s->cache, layer, kv, position, k + kv * D, v + kv * D);
        if (s->options.sparse.enabled)
            nct_pooled_update(&s->exec, &s->cache, layer, &one);
    }
    s->cache.length = position + 1;
}

static void attend_layer(struct setup *s, const nct_branches *branches, size_t layer, const nct_batch *batch,
                         const float *q, float *out) {
    uint8_t *readied = ready(&s->kernels, &s->cache, q, batch->n, H);
    nct_attend(&s->exec, &s->options, &s->cache, branches, layer, batch, H, readied, out);
    nct_free(readied);
}

/* ------------------------------------------------------------------ trees */

struct tree {
    size_t n;
    uint8_t parent[MOST], depth[MOST];
    uint64_t what[MOST];
};

enum shape { CHAIN, STAR, BUSHY, DEEP, SHAPES };

static void make_tree(struct tree *t, enum shape shape, size_t n, uint64_t seed) {
    t->n = n;
    for (size_t i = 0; i < n; i++) {
        uint64_t r = nct_rng_mix(seed * 100 + i);
        size_t parent = i == 0           ? 0
                        : shape == CHAIN ? i - 1
                        : shape == STAR  ? 0
                        : shape == BUSHY ? r % i
                                         : (r % 4 ? i - 1 : r / 4 % i);
        t->parent[i] = (uint8_t)parent;
        t->depth[i] = (uint8_t)(i ? t->depth[parent] + 1 : 0);
        t->what[i] = 1000000 + seed * 100 + i;
    }
}

static void run_tree(struct setup *s, const struct tree *t, float out[2][MOST * H * D]) {
    nct_batch batch = {.n = t->n, .first = s->cache.length, .parent = t->parent, .depth = t->depth};
    static float q[MOST * H * D];
    nct_branches_take(&s->branches, &batch);
    for (size_t i = 0; i < t->n; i++)
        make_query(t->what[i], q + i * H * D);
    for (size_t layer = 0; layer < 2; layer++) {
        for (size_t i = 0; i < t->n; i++)
            make_token(t->what[i], layer, nct_branches_key(&s->branches, layer, i),
                       nct_branches_value(&s->branches, layer, i));
        nct_branches_lay(&s->exec, &s->branches, &s->cache, layer, &batch);
        memset(out[layer], 0xff, sizeof out[layer]);
        attend_layer(s, &s->branches, layer, &batch, q, out[layer]);
    }
}

/* Rows of node i and of what is below it, each as a single step on top of what the cache holds. */
static void check_below(struct setup *s, const struct tree *t, size_t i, float out[2][MOST * H * D]) {
    size_t position = s->cache.length;
    float q[H * D], plain[H * D];
    append(s, t->what[i], position);
    make_query(t->what[i], q);
    for (size_t layer = 0; layer < 2; layer++) {
        attend_layer(s, NULL, layer, &(nct_batch){.n = 1, .first = position}, q, plain);
        assert_memory_equal(out[layer] + i * H * D, plain, sizeof plain);
    }
    for (size_t child = i + 1; child < t->n; child++)
        if (t->parent[child] == i)
            check_below(s, t, child, out);
    s->cache.length = position;
}

/* Borders of windows, blocks, steps, segments of eight steps and pages in the tree or about it. */
static const size_t firsts[] = {0, 1, 29, 63, 64, 100, 126, 300, 440, 505, 960, 1000, 1023, 1024, 1930, 2047};
enum { N_FIRSTS = sizeof firsts / sizeof *firsts };

/* Trees of every shape from position `first` on. */
static void check_trees(struct setup *s, size_t first, uint64_t seed) {
    static float out[2][MOST * H * D];
    while (s->cache.length < first)
        append(s, s->cache.length, s->cache.length);
    for (int shape = 0; shape < SHAPES; shape++) {
        uint64_t r = nct_rng_mix(seed * 1000 + first * 10 + (size_t)shape);
        struct tree t;
        make_tree(&t, (enum shape)shape, r % 5 ? 1 + r / 5 % MOST : MOST, r % 100000);
        run_tree(s, &t, out);
        check_below(s, &t, 0, out);
    }
}

/* From every step-th position of the list. */
static void check_rows(const nct_sparse *sparse, int threads, size_t step, uint64_t seed) {
    struct setup s;
    open_setup(&s, sparse, threads);
    if (strcmp(s.kernels.isa, "ref") == 0 && step < N_FIRSTS)
        step *= 2; /* it takes its time */
    for (size_t f = seed % step; f < N_FIRSTS; f += step)
        check_trees(&s, firsts[f], seed);
    close_setup(&s);
}

static void test_branches__rows_have_the_bits_of_steps(void **state) {
    (void)state;
    for (size_t g = 0; g < N_GEOMETRIES; g++) {
        check_rows(&geometries[g], 1, 1, 1);
        check_rows(&geometries[g], 5, 3, 2 + g);
    }
}

static void test_branches__in_every_cache_type(void **state) {
    (void)state;
    for (size_t pair = 1; pair < N_PAIRS; pair++) {
        take_pair(pair);
        for (size_t g = 0; g < N_GEOMETRIES; g++)
            check_rows(&geometries[g], g % 2 ? 1 : 5, 3, pair * 10 + g);
    }
    take_pair(0);
}

/* Rows decide for themselves where dense turns sparse in the middle of a tree. */
static void test_branches__where_dense_turns_sparse(void **state) {
    (void)state;
    for (size_t g = 1; g < 4; g++) {
        nct_sparse sparse = geometries[g];
        for (size_t f = 8; f < N_FIRSTS; f += 3) {
            sparse.dense_len = firsts[f] + 4;
            check_rows(&sparse, g == 2 ? 5 : 1, N_FIRSTS, f); /* of seed f the one position f */
        }
    }
}

static void test_branches__across_the_border_of_a_span(void **state) {
    (void)state;
    struct setup s;
    open_setup(&s, &geometries[1], 2);
    check_trees(&s, NCT_SPAN - 30, 1);
    check_trees(&s, NCT_SPAN, 2);
    close_setup(&s);
}

/* ------------------------------------------------------------------ traces */

static void check_kept(const nct_sparse *sparse, size_t first, uint64_t seed) {
    static float out[2][MOST * H * D];
    struct setup s, plain;
    struct tree t;
    make_tree(&t, DEEP, MOST, seed);
    open_setup(&s, sparse, 2);
    open_setup(&plain, sparse, 1);
    for (size_t p = 0; p < first; p++) {
        append(&s, p, p);
        append(&plain, p, p);
    }
    size_t n_bytes = s.cache.n_committed * s.cache.page_bytes, leaf = MOST - 1;
    /* no trace of a tree that is rejected */
    run_tree(&s, &t, out);
    assert_int_equal(s.cache.length, first);
    assert_int_equal(s.cache.n_committed * s.cache.page_bytes, n_bytes);
    assert_memory_equal(s.cache.pages, plain.cache.pages, n_bytes);
    /* what is accepted, to every length of a path */
    uint8_t path[MOST];
    size_t depth = t.depth[leaf];
    for (size_t i = leaf;; i = t.parent[i]) {
        path[t.depth[i]] = (uint8_t)i;
        if (i == 0)
            break;
    }
    assert_int_equal(nct_cache_reserve(&s.cache, first + depth + 1, NULL), NCT_OK);
    for (size_t n = 1; n <= depth + 1; n++) {
        append(&plain, t.what[path[n - 1]], first + n - 1);
        if (n != 1 && n != depth / 2 && n != depth + 1)
            continue;
        s.cache.length = first;
        run_tree(&s, &t, out);
        nct_branches_keep(&s.exec, &s.branches, &s.cache, path, n);
        assert_int_equal(s.cache.length, first + n);
        assert_memory_equal(s.cache.pages, plain.cache.pages,
                            plain.cache.n_committed * plain.cache.page_bytes);
    }
    close_setup(&s);
    close_setup(&plain);
}

static void test_branches__nothing_but_the_accepted_path_is_kept(void **state) {
    (void)state;
    for (size_t pair = 0; pair < N_PAIRS; pair++) {
        take_pair(pair);
        for (size_t g = 0; g < N_GEOMETRIES; g++)
            check_kept(&geometries[g], (size_t[]){0, 50, 128, 1000, 2000, 1023}[(g + pair) % 6],
                       7 + g + pair);
    }
    take_pair(0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_branches__rows_have_the_bits_of_steps),
        cmocka_unit_test(test_branches__in_every_cache_type),
        cmocka_unit_test(test_branches__where_dense_turns_sparse),
        cmocka_unit_test(test_branches__across_the_border_of_a_span),
        cmocka_unit_test(test_branches__nothing_but_the_accepted_path_is_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
