/* Same seed, same text: whatever the threads, the cut of the prompt, or what was sampled before. */
#include "support/model.h"
#include "support/support.h"

enum { N_PROMPT = 9, N_TEXT = 40 };

static void sample_text(nct_test_model *model, const nct_sampling *sampling, uint32_t sample, size_t piece,
                        int32_t *text) {
    int32_t prompt[N_PROMPT];
    for (int i = 0; i < N_PROMPT; i++)
        prompt[i] = (int32_t)((size_t)(5 + 31 * i) % model->n_vocab);
    nct_free(nct_test_feed(model, prompt, N_PROMPT, piece));
    for (int i = 0; i < N_TEXT; i++) {
        NCT_ASSERT_OK(nct_session_sample(model->session, sampling, N_PROMPT, sample, &text[i], fault));
        assert_in_range(text[i], 0, (int)model->n_vocab - 1);
        NCT_ASSERT_OK(nct_session_feed(model->session, &text[i], 1, NULL, fault));
    }
}

static nct_sampling lively(uint64_t seed) {
    return (nct_sampling){
        .temperature = 1.3, .top_k = 50, .top_p = 0.95, .repeat_penalty = 1.1, .seed = seed};
}

static void test_sampled__same_seed_same_text(void **state) {
    (void)state;
    int32_t first[N_TEXT], again[N_TEXT];
    NCT_TEST_EACH_MODEL (path) {
        nct_sampling sampling = lively(7719);
        nct_test_model model;
        nct_test_model_open(&model, path, (nct_test_how){0});
        sample_text(&model, &sampling, 0, 0, first);
        nct_test_model_restart(&model, 0);
        sample_text(&model, &sampling, 0, 4, again);
        assert_memory_equal(again, first, sizeof first);
        NCT_ASSERT_OK(nct_session_rewind(model.session, 0, fault)); /* and over a session with a past */
        sample_text(&model, &sampling, 0, 1, again);
        assert_memory_equal(again, first, sizeof first);
        nct_test_model_close(&model);
        nct_test_model_open(&model, path, (nct_test_how){.n_threads = 3});
        sample_text(&model, &sampling, 0, 0, again);
        assert_memory_equal(again, first, sizeof first);
        nct_test_model_close(&model);
    }
}

static void test_sampled__seed_and_sample_number_each_change_the_text(void **state) {
    (void)state;
    int32_t first[N_TEXT], other[N_TEXT];
    const char *path = nct_test_models()[0];
    nct_sampling sampling = lively(1), second = lively(2);
    nct_test_model model;
    nct_test_model_open(&model, path, (nct_test_how){0});
    sample_text(&model, &sampling, 0, 0, first);
    nct_test_model_restart(&model, 0);
    sample_text(&model, &second, 0, 0, other);
    assert_memory_not_equal(other, first, sizeof first);
    nct_test_model_restart(&model, 0);
    sample_text(&model, &sampling, 1, 0, other);
    assert_memory_not_equal(other, first, sizeof first);
    nct_test_model_close(&model);
}

static void test_sampled__temperature_zero_is_the_largest_logit(void **state) {
    (void)state;
    int32_t text[N_TEXT];
    const char *path = nct_test_models()[0];
    nct_sampling greedy = {.top_p = 1, .repeat_penalty = 1, .seed = 3};
    nct_test_model model;
    nct_test_model_open(&model, path, (nct_test_how){0});
    sample_text(&model, &greedy, 0, 0, text);
    NCT_ASSERT_OK(nct_session_rewind(model.session, N_PROMPT - 1, fault));
    int32_t id = (int32_t)((size_t)(5 + 31 * (N_PROMPT - 1)) % model.n_vocab);
    for (int i = 0; i < N_TEXT; i++) {
        NCT_ASSERT_OK(nct_session_feed(model.session, &id, 1, NULL, fault));
        id = nct_test_argmax(nct_session_logits(model.session), model.n_vocab);
        assert_int_equal(text[i], id);
    }
    nct_test_model_close(&model);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sampled__same_seed_same_text),
        cmocka_unit_test(test_sampled__seed_and_sample_number_each_change_the_text),
        cmocka_unit_test(test_sampled__temperature_zero_is_the_largest_logit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
