/* A tree of guesses in one batch: every row's logits have the bits of single steps along its path, and the cache
 * does not change. */
#include "base/rng.h"
#include "engine/session.h"
#include "support/model.h"
#include "support/support.h"

enum { MOST = NCT_TREE_MAX, LIMIT = 1200 };

/* With 64 rows after them: where steps of 64, segments of 8 steps, pages and windows end, and where the tiny sparse
 * checkpoints turn sparse. */
static const size_t firsts[] = {0, 61, 128, 400, 447, 505, 650, 1000};
enum { N_FIRSTS = sizeof firsts / sizeof *firsts };

/* Shapes by number: a chain, a star, anything, mostly deep. */
static void make_tree(nct_tree *t, int shape, size_t n, size_t n_vocab, uint64_t seed) {
    nct_tree_init(t, (int32_t)(nct_rng_mix(seed) % n_vocab));
    for (size_t i = 1; i < n; i++) {
        uint64_t r = nct_rng_mix(seed * 100 + i);
        size_t parent = shape == 0   ? i - 1
                        : shape == 1 ? 0
                        : shape == 2 ? r % i
                                     : (r % 4 ? i - 1 : r / 4 % i);
        /* siblings differ: i counts up */
        nct_tree_add(t, parent, (int32_t)((r / 1000 % 3 * MOST + i) % n_vocab), 0, 0);
    }
}

static float *run_tree(nct_session *s, const nct_tree *t) {
    const nct_engine *engine = s->engine;
    size_t n_vocab = engine->model.config.n_vocab;
    void *logits = NULL;
    nct_batch batch = {
        .id = t->token, .n = t->n, .first = s->cache.length, .parent = t->parent, .depth = t->depth};
    NCT_ASSERT_OK(nct_alloc(&logits, t->n * n_vocab, sizeof(float), fault));
    s->attend.decision_len = 0;
    nct_session_use_threads(s, t->n);
    NCT_ASSERT_OK(
        nct_forward(&engine->exec, &engine->model, &s->attend, &s->cache, &s->work, &batch, NULL, fault));
    for (size_t row = 0; row < t->n; row += 8)
        nct_forward_logits(&engine->exec, &engine->model, &s->work, row, t->n - row < 8 ? t->n - row : 8,
                           (float *)logits + row * n_vocab);
    return logits;
}

static void check_below(nct_session *s, const nct_tree *t, size_t node, const float *rows, const char *what) {
    size_t n_vocab = s->engine->model.config.n_vocab;
    int held = nct_session_length(s);
    NCT_ASSERT_OK(nct_session_feed(s, &t->token[node], 1, NULL, fault));
    nct_test_same_bits(nct_test_path("%s, node %zu of %zu at %d", what, node, t->n, held),
                       rows + node * n_vocab, nct_session_logits(s), n_vocab);
    for (size_t child = node + 1; child < t->n; child++)
        if (t->parent[child] == node)
            check_below(s, t, child, rows, what);
    NCT_ASSERT_OK(nct_session_rewind(s, held, fault));
}

static void check_tree(nct_session *s, int shape, size_t n, const char *what, uint64_t seed) {
    nct_tree t;
    make_tree(&t, shape, n, s->engine->model.config.n_vocab, seed);
    size_t n_bytes = s->cache.n_committed * s->cache.page_bytes;
    void *before = NULL;
    NCT_ASSERT_OK(nct_alloc(&before, n_bytes, 1, fault));
    memcpy(before, s->cache.pages, n_bytes);
    float *rows = run_tree(s, &t);
    assert_int_equal(s->cache.n_committed * s->cache.page_bytes, n_bytes);
    assert_memory_equal(before, s->cache.pages, n_bytes);
    check_below(s, &t, 0, rows, what);
    nct_free(before);
    nct_free(rows);
}

/* Trees at every step-th position of the list. */
static void check_session(const char *path, nct_test_how how, nct_session_options options, size_t step,
                          uint64_t seed) {
    nct_test_model model;
    int32_t ids[LIMIT];
    nct_test_model_open(&model, path, how);
    const char *isa = nct_test_isa();
    bool slow = isa && strcmp(isa, "ref") == 0;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    slow = true;
#endif
    options.n_ctx = LIMIT;
    options.force_ctx = true;
    options.n_guess = MOST;
    nct_session *s = NULL;
    NCT_ASSERT_OK(nct_session_open(model.engine, &options, &s, fault));
    for (size_t i = 0; i < LIMIT; i++)
        ids[i] = (int32_t)(nct_rng_mix(seed * 5000 + i) % model.n_vocab);
    for (size_t f = seed % step; f < N_FIRSTS && !(slow && model.large); f += step) {
        size_t held = (size_t)nct_session_length(s);
        if (model.large && firsts[f] > 300)
            break;
        NCT_ASSERT_OK(nct_session_feed(s, ids + held, firsts[f] - held, NULL, fault));
        for (int shape = 0; shape < 4; shape++) {
            uint64_t r = nct_rng_mix(seed * 1000 + f * 10 + (size_t)shape);
            size_t n = r % 3 ? 1 + r / 5 % MOST : MOST;
            if (model.large || slow)
                n = 1 + n / 4;
            check_tree(s, shape, n,
                       nct_test_path("%s, %d threads, cache types %d and %d", path, how.n_threads,
                                     (int)options.keys, (int)options.values),
                       r);
        }
    }
    nct_session_close(s);
    nct_test_model_close(&model);
}

static void test_tree__rows_have_the_bits_of_single_steps(void **state) {
    (void)state;
    uint64_t seed = 0;
    NCT_TEST_EACH_MODEL (path) {
        check_session(path, (nct_test_how){.n_threads = 1}, (nct_session_options){0}, 2, seed++);
        check_session(path, (nct_test_how){.n_threads = 5}, (nct_session_options){0}, 2, seed++);
        check_session(path, (nct_test_how){.n_threads = 2, .exact = true}, (nct_session_options){0}, 3,
                      seed++);
    }
}

static const nct_kv pairs[][2] = {{NCT_KV_FLOAT32, NCT_KV_FLOAT32},   {NCT_KV_FLOAT16, NCT_KV_FLOAT16},
                                  {NCT_KV_BFLOAT16, NCT_KV_BFLOAT16}, {NCT_KV_INT8, NCT_KV_INT8},
                                  {NCT_KV_INT8, NCT_KV_BFLOAT16},     {NCT_KV_FLOAT16, NCT_KV_INT8}};

static void test_tree__with_every_cache_type(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        nct_session_options options = {.keys = pairs[i][0], .values = pairs[i][1], .sparse_r1 = i % 2};
        check_session(nct_test_path("%s/sparse", NCT_TINY_DIR), (nct_test_how){.n_threads = i % 2 ? 5 : 1},
                      options, 2, i);
        check_session(nct_test_path("%s/coded", NCT_TINY_DIR), (nct_test_how){.n_threads = i % 2 ? 1 : 5},
                      options, 5, i);
    }
}

/* The reference's checkpoints that choose blocks: from the beginning, and from a length on. */
static void test_tree__of_the_references_checkpoints(void **state) {
    (void)state;
    nct_test_need(nct_test_path("%s/made", NCT_ORACLE_CKPT));
    static const char *const names[] = {"tiny-sparse", "tiny-switch"};
    for (size_t i = 0; i < 2; i++)
        for (int threads = 1; threads <= 5; threads += 4)
            check_session(nct_test_path("%s/%s", NCT_ORACLE_CKPT, names[i]),
                          (nct_test_how){.n_threads = threads}, (nct_session_options){0}, 2,
                          (uint64_t)threads / 4);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tree__rows_have_the_bits_of_single_steps),
        cmocka_unit_test(test_tree__with_every_cache_type),
        cmocka_unit_test(test_tree__of_the_references_checkpoints),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
