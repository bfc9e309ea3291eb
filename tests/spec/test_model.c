/* Loading a small model as drafter: what does not fit the target is refused in one sentence, and memory that is refused
 * anywhere is an error and no leak. */
#include <stdatomic.h>

#include "base/mem.h"
#include "engine/engine.h"
#include "support/checkpoint.h"
#include "support/support.h"

static nct_engine *open_target(void) {
    nct_engine *e = NULL;
    nct_engine_options o = {.isa = nct_test_isa(), .n_threads = 1, .force_threads = true};
    NCT_ASSERT_OK(nct_engine_open(nct_test_path("%s/float", NCT_TINY_DIR), &o, &e, fault));
    return e;
}

static void refuse(nct_engine *e, const char *dir, const char *list, nct_status wanted, const char *words) {
    nct_error err = {0};
    nct_status status = nct_engine_load_draft(e, &(nct_draft_source){.path = dir, .list = list}, &err);
    if (status != wanted || !strstr(err.text, words))
        fail_msg("status %d and \"%s\", expected %d and \"%s\"", status, err.text, wanted, words);
    assert_null(strchr(err.text, '\n'));
    assert_null(nct_engine_drafter(e));
}

static void test_model__another_vocabulary_is_refused(void **state) {
    (void)state;
    nct_engine *e = open_target();
    const char *dir = nct_test_folder();
    nct_tiny_write(dir, &(nct_tiny){.vocab = 352});
    refuse(e, dir, NULL, NCT_E_UNSUPPORTED, "for a vocab_size of 352, but its target has 320");
    nct_test_folder_remove(dir);
    dir = nct_test_folder();
    nct_tiny_write(dir, &(nct_tiny){.layers = 1});
    refuse(e, dir, "list.txt", NCT_E_ARGUMENT, "a whole model scores all tokens");
    /* as many pieces, of which one is spelled otherwise */
    const char *path = nct_test_path("%s/tokenizer.json", dir);
    size_t n;
    char *text = nct_test_read(path, &n), *at = strstr(text, "<|im_start|>");
    assert_non_null(at);
    for (; at; at = strstr(at, "<|im_start|>"))
        memcpy(at, "<|im_stXrt|>", 12);
    nct_test_write(path, text, n);
    nct_free(text);
    refuse(e, dir, NULL, NCT_E_UNSUPPORTED, "of the draft model is '<|im_stXrt|>', but its target has '<|im_start|>'");
    nct_test_folder_remove(dir);
    nct_engine_close(e);
}

static void test_model__no_model_is_an_error(void **state) {
    (void)state;
    nct_error err = {0};
    void *reader = NULL;
    assert_int_equal(nct_drafter_model.open(NULL, &(nct_draft_target){.limit = 10}, NULL, &reader, &err),
                     NCT_E_ARGUMENT);
    assert_non_null(strstr(err.text, "none were given"));
    assert_null(reader);
}

/* Tokens are read a pass at a time where that is asked for, and nothing is said before all are. */
static void test_model__reading_may_be_spread(void **state) {
    (void)state;
    nct_engine *e = open_target();
    nct_draft_target target = {.model = &e->model, .rope = &e->model.rope, .limit = 400, .n_threads = 1};
    void *reader = NULL;
    int32_t token[301];
    nct_tree slow, fast;
    size_t n_passes, n_calls = 0;
    NCT_ASSERT_OK(nct_engine_load_draft(e, &(nct_draft_source){.path = nct_test_path("%s/coded", NCT_TINY_DIR)}, fault));
    assert_true(e->drafter->weight_bytes(e->draft) > 0);
    for (size_t i = 0; i < 301; i++)
        token[i] = (int32_t)(i * i % 311);
    nct_pairs pairs = {.n = 300, .token = token};
    nct_ask ask = {.n_max = 12, .depth_max = 3, .width = 3, .read_max = 1};
    NCT_ASSERT_OK(nct_drafter_model.open(e->draft, &target, NULL, &reader, fault));
    NCT_ASSERT_OK(nct_drafter_model.observe(reader, &e->exec, &pairs, fault));
    do {
        nct_tree_init(&slow, token[300]);
        NCT_ASSERT_OK(nct_drafter_model.propose(reader, &e->exec, &ask, &slow, &n_passes, fault));
        assert_true((slow.n == 1) == (n_passes == 0));
    } while (++n_calls < 20 && slow.n == 1);
    assert_int_equal(n_calls, 5); /* of 64 tokens each */
    assert_int_equal(slow.n, 12);
    nct_drafter_model.close(reader);
    NCT_ASSERT_OK(nct_drafter_model.open(e->draft, &target, NULL, &reader, fault));
    NCT_ASSERT_OK(nct_drafter_model.observe(reader, &e->exec, &pairs, fault));
    ask.read_max = 0;
    nct_tree_init(&fast, token[300]);
    NCT_ASSERT_OK(nct_drafter_model.propose(reader, &e->exec, &ask, &fast, &n_passes, fault));
    assert_int_equal(n_passes, 3);
    assert_memory_equal(slow.token, fast.token, sizeof fast.token);
    assert_memory_equal(slow.score, fast.score, sizeof fast.score);
    nct_drafter_model.close(reader);
    nct_engine_close(e);
}

/* Loads, opens, observes and proposes with the k-th allocation refused, for every k. */
static void test_model__every_refused_allocation_is_an_error(void **state) {
    (void)state;
    nct_engine *e = open_target();
    const char *dir = nct_test_path("%s/coded", NCT_TINY_DIR);
    nct_draft_options options = {.vocab = e->vocab};
    nct_draft_target target = {.model = &e->model, .rope = &e->model.rope, .limit = 100, .n_threads = 1};
    int32_t token[] = {1, 2};
    nct_pairs pairs = {.n = 1, .token = token};
    nct_ask ask = {.n_max = 4, .depth_max = 2, .width = 2};
    nct_status status = NCT_E_MEMORY;
    long k = 0;
    while (status == NCT_E_MEMORY) {
        void *weights = NULL, *reader = NULL;
        nct_tree tree;
        size_t n_passes;
        nct_tree_init(&tree, 2);
        atomic_store(&nct_mem_fail_in, ++k);
        status = nct_drafter_model.load(dir, &e->model, &e->exec, &options, &weights, NULL);
        if (status == NCT_OK)
            status = nct_drafter_model.open(weights, &target, NULL, &reader, NULL);
        if (status == NCT_OK)
            status = nct_drafter_model.observe(reader, &e->exec, &pairs, NULL);
        if (status == NCT_OK)
            status = nct_drafter_model.propose(reader, &e->exec, &ask, &tree, &n_passes, NULL);
        atomic_store(&nct_mem_fail_in, -1);
        assert_true(status != NCT_OK || tree.n == 4);
        nct_drafter_model.close(reader);
        nct_drafter_model.unload(weights);
        assert_true(k < 4000);
    }
    assert_int_equal(status, NCT_OK);
    assert_true(k > 20);
    nct_engine_close(e);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_model__another_vocabulary_is_refused),
        cmocka_unit_test(test_model__no_model_is_an_error),
        cmocka_unit_test(test_model__reading_may_be_spread),
        cmocka_unit_test(test_model__every_refused_allocation_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
