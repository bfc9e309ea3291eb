/* A row's logits are the same bits however the prompt is cut, however many threads work on it, and whatever
 * the session held before: what speculation, batching and saved caches build on. */
#include "base/rng.h"
#include "support/model.h"
#include "support/support.h"

enum { N_MOST = 470 };

/* Long enough for a chunk of 64, a border of 64 positions and a rest; with sparse attention, for rows that choose. */
static size_t n_ids_for(const nct_test_model *model) {
    nct_model_info info;
    nct_engine_info(model->engine, &info);
    return model->large ? 66 : info.sparse_trained ? N_MOST : 100;
}

/* The portable rung, or any under a sanitizer, would work on a large model for minutes; the tiny ones ask the same
 * of it. */
static bool too_slow(const nct_test_model *model) {
    const char *isa = nct_test_isa();
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    return model->large;
#endif
    return model->large && isa && strcmp(isa, "ref") == 0;
}

static void fill_ids(int32_t *ids, size_t n, size_t n_vocab, uint64_t seed) {
    for (size_t i = 0; i < n; i++)
        ids[i] = (int32_t)(nct_rng_mix(seed * 1000 + i) % n_vocab);
}

static void check_cuts_and_threads(const char *path, bool exact) {
    static const int chunks[] = {1, 7, 64}, threads[] = {1, 2, 5};
    nct_test_model model;
    int32_t ids[N_MOST];
    nct_test_model_open(&model, path, (nct_test_how){.exact = exact, .chunk = N_MOST});
    if (too_slow(&model)) {
        nct_test_model_close(&model);
        return;
    }
    fill_ids(ids, N_MOST, model.n_vocab, 1);
    size_t n = n_ids_for(&model), n_values = n * model.n_vocab;
    bool few = model.large || n == N_MOST;
    float *whole = nct_test_feed(&model, ids, n, 0);
    nct_test_model_close(&model);
    for (size_t t = 0; t < 3; t++) {
        nct_test_model_open(&model, path,
                            (nct_test_how){.exact = exact, .n_threads = threads[t], .chunk = N_MOST});
        float *rows = nct_test_feed(&model, ids, n, 0);
        nct_test_same_bits(nct_test_path("%s, whole, %d threads", path, threads[t]), rows, whole, n_values);
        nct_free(rows);
        for (size_t c = 0; c < 3; c++) {
            if (few && c != t)
                continue; /* each chunk and each number of threads once */
            nct_test_model_restart(&model, chunks[c]);
            rows = nct_test_feed(&model, ids, n, 0);
            nct_test_same_bits(nct_test_path("%s, chunks of %d, %d threads", path, chunks[c], threads[t]),
                               rows, whole, n_values);
            nct_free(rows);
        }
        /* cut by the caller: a prompt in uneven pieces, then steps */
        nct_test_model_restart(&model, 0);
        rows = nct_test_feed(&model, ids, n - 20, 13);
        nct_test_same_bits(nct_test_path("%s, pieces of 13, %d threads", path, threads[t]), rows, whole,
                           (n - 20) * model.n_vocab);
        nct_free(rows);
        rows = nct_test_step(&model, ids + n - 20, 20);
        nct_test_same_bits(nct_test_path("%s, steps, %d threads", path, threads[t]), rows,
                           whole + (n - 20) * model.n_vocab, 20 * model.n_vocab);
        nct_free(rows);
        nct_test_model_close(&model);
    }
    nct_free(whole);
}

static void check_shards(const char *path) {
    static const struct {
        int threads, nodes;
        nct_huge_pages huge;
    } ways[] = {{1, 2, NCT_HUGE_AUTO},
                {2, 2, NCT_HUGE_OFF},
                {5, 2, NCT_HUGE_ON},
                {5, 3, NCT_HUGE_AUTO},
                {2, 0, NCT_HUGE_ON}};
    nct_test_model model;
    int32_t ids[N_MOST];
    nct_test_model_open(&model, path, (nct_test_how){.n_threads = 1});
    if (too_slow(&model)) {
        nct_test_model_close(&model);
        return;
    }
    fill_ids(ids, N_MOST, model.n_vocab, 4);
    size_t n = n_ids_for(&model) - 6, n_values = n * model.n_vocab;
    float *plain = nct_test_feed(&model, ids, n, 0), *steps = nct_test_step(&model, ids + n, 6);
    nct_test_model_close(&model);
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        nct_test_how how = {.n_threads = ways[i].threads, .nodes = ways[i].nodes, .huge = ways[i].huge};
        nct_test_model_open(&model, path, how);
        const char *what = nct_test_path("%s, %d threads on %d nodes", path, how.n_threads, how.nodes);
        float *rows = nct_test_feed(&model, ids, n, 0);
        nct_test_same_bits(what, rows, plain, n_values);
        nct_free(rows);
        rows = nct_test_step(&model, ids + n, 6);
        nct_test_same_bits(what, rows, steps, 6 * model.n_vocab);
        nct_free(rows);
        nct_test_model_close(&model);
    }
    nct_free(plain);
    nct_free(steps);
}

static void check_rewind(const char *path, bool exact) {
    nct_test_model model;
    int32_t first[N_MOST], second[N_MOST];
    nct_test_model_open(&model, path, (nct_test_how){.exact = exact, .n_threads = 2});
    if (too_slow(&model)) {
        nct_test_model_close(&model);
        return;
    }
    fill_ids(first, N_MOST, model.n_vocab, 2);
    fill_ids(second, N_MOST, model.n_vocab, 3);
    static const int keeps[] = {0, 1, 63, 64, 65, 90, 460};
    size_t n = n_ids_for(&model);
    for (size_t i = 0; i < sizeof keeps / sizeof *keeps; i++) {
        size_t keep = (size_t)keeps[i], left = n - keep, n_steps = left < 40 ? left : 40;
        if (keep >= n)
            break;
        if (model.large && i % 4)
            continue; /* 0 and 65 */
        /* what a session that never saw the rest gives */
        nct_test_model_restart(&model, 0);
        nct_free(nct_test_feed(&model, first, keep, 0));
        float *clean = nct_test_feed(&model, second, left, 0);
        /* rewound once from the end, and once more from a few steps on */
        nct_test_model_restart(&model, 0);
        nct_free(nct_test_feed(&model, first, n, 0));
        for (int again = 0; again < 2; again++) {
            NCT_ASSERT_OK(nct_session_rewind(model.session, (int)keep, fault));
            assert_int_equal(nct_session_length(model.session), keep);
            assert_memory_equal(nct_session_tokens(model.session), first, keep * sizeof *first);
            size_t n_rows = again ? n_steps : left;
            float *rows =
                again ? nct_test_step(&model, second, n_rows) : nct_test_feed(&model, second, n_rows, 0);
            const char *what =
                nct_test_path("%s, rewound to %zu, %s", path, keep, again ? "steps" : "prompt");
            nct_test_same_bits(what, rows, clean, n_rows * model.n_vocab);
            nct_free(rows);
        }
        nct_free(clean);
    }
    nct_test_model_close(&model);
}

/* Prompts and steps in turn, each with other numbers of threads than the one before. */
static void check_mixed_threads(const char *path) {
    static const int mix[][2] = {{1, 5}, {5, 1}, {2, 3}, {3, 2}, {4, 4}, {1, 2}};
    nct_test_model model;
    int32_t ids[N_MOST];
    nct_test_model_open(&model, path, (nct_test_how){.n_threads = 5});
    if (too_slow(&model)) {
        nct_test_model_close(&model);
        return;
    }
    fill_ids(ids, N_MOST, model.n_vocab, 4);
    size_t n = n_ids_for(&model);
    NCT_ASSERT_OK(nct_engine_set_threads(model.engine, 1, 1, fault));
    float *whole = nct_test_feed(&model, ids, n, 0);
    nct_test_model_restart(&model, 0);
    for (size_t i = 0, at = 0; at < n; i++) { /* 17 as a prompt, 3 as steps, ... */
        size_t piece = i % 2 ? 3 : 17, left = n - at, take = piece < left ? piece : left;
        const int *threads = mix[i % (sizeof mix / sizeof *mix)];
        NCT_ASSERT_OK(nct_engine_set_threads(model.engine, threads[0], threads[1], fault));
        float *rows =
            i % 2 ? nct_test_step(&model, ids + at, take) : nct_test_feed(&model, ids + at, take, 0);
        nct_test_same_bits(
            nct_test_path("%s, %zu at %zu, %d and %d threads", path, take, at, threads[0], threads[1]), rows,
            whole + at * model.n_vocab, take * model.n_vocab);
        nct_free(rows);
        at += take;
    }
    nct_test_model_close(&model);
    nct_free(whole);
}

static void test_same_bits__any_cut_and_any_threads_exact(void **state) {
    (void)state;
    NCT_TEST_EACH_MODEL (path)
        check_cuts_and_threads(path, true);
}
static void test_same_bits__any_cut_and_any_threads(void **state) {
    (void)state;
    NCT_TEST_EACH_MODEL (path)
        check_cuts_and_threads(path, false);
}
static void test_same_bits__threads_that_change_between_calls(void **state) {
    (void)state;
    NCT_TEST_EACH_MODEL (path)
        check_mixed_threads(path);
}
static void test_same_bits__wherever_the_weights_lie(void **state) {
    (void)state;
    NCT_TEST_EACH_MODEL (path)
        check_shards(path);
}
static void test_same_bits__rewind_leaves_no_trace(void **state) {
    (void)state;
    NCT_TEST_EACH_MODEL (path) {
        check_rewind(path, true);
        check_rewind(path, false);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_bits__any_cut_and_any_threads_exact),
        cmocka_unit_test(test_same_bits__any_cut_and_any_threads),
        cmocka_unit_test(test_same_bits__threads_that_change_between_calls),
        cmocka_unit_test(test_same_bits__wherever_the_weights_lie),
        cmocka_unit_test(test_same_bits__rewind_leaves_no_trace),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
