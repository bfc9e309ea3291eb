/* Small trained models (data/stories of the shared folder; golden.json says how it was made: two
 * independent implementations agree on every token). */
#include <math.h>

#include "support/model.h"
#include "support/support.h"

enum { WINDOW = 256 };

static nct_json *golden;

static int open_golden(void **state) {
    (void)state;
    const char *path = nct_test_path("%s/data/stories/golden.json", NCT_SHARED_DIR);
    FILE *f = fopen(path, "rb");
    if (!f)
        return 0; /* each test skips */
    fclose(f);
    NCT_ASSERT_OK(nct_json_open(path, &golden, fault));
    return 0;
}
static int close_golden(void **state) {
    (void)state;
    nct_json_close(golden);
    return 0;
}

static const nct_json *golden_of(const char *name) {
    nct_test_need(nct_test_path("%s/data/stories/golden.json", NCT_SHARED_DIR));
    for (const nct_json *m = nct_json_first(nct_json_get(golden, "models")); m; m = nct_json_next(m))
        if (strcmp(nct_json_string(nct_json_get(m, "model"), ""), name) == 0)
            return m;
    fail_msg("golden.json has no model %s", name);
    return NULL;
}

/* Feeds the prompt, then what the model likes best, as often as the golden answer has tokens. */
static void check_prompt(nct_test_model *model, const nct_json *entry) {
    const char *prompt = nct_json_string(nct_json_get(entry, "prompt"), "");
    size_t n_prompt, n_output;
    int32_t *ids = nct_test_ids(nct_json_get(entry, "prompt_ids"), &n_prompt);
    int32_t *output = nct_test_ids(nct_json_get(entry, "output_ids"), &n_output);
    nct_test_model_restart(model, 0);
    NCT_ASSERT_OK(nct_session_feed(model->session, ids, n_prompt, NULL, fault));
    for (size_t i = 0; i < n_output; i++) {
        int32_t id = nct_test_argmax(nct_session_logits(model->session), model->n_vocab);
        if (id != output[i])
            fail_msg("\"%s\": token %zu of %zu is %d, expected %d", prompt, i, n_output, id, output[i]);
        if (i + 1 < n_output)
            NCT_ASSERT_OK(nct_session_feed(model->session, &id, 1, NULL, fault));
    }
    nct_free(ids);
    nct_free(output);
}

static void check_greedy(const char *path, const char *name) {
    const nct_json *m = golden_of(name);
    nct_test_need(path);
    nct_test_model model;
    nct_test_model_open(&model, path, (nct_test_how){.exact = true});
    size_t n = 0;
    for (const nct_json *entry = nct_json_first(nct_json_get(m, "prompts")); entry;
         entry = nct_json_next(entry), n++)
        check_prompt(&model, entry);
    assert_int_equal(n, 12);
    nct_test_model_close(&model);
}

static void check_prompt_ids(const char *path, const char *name) {
    const nct_json *m = golden_of(name);
    nct_test_need(path);
    nct_test_model model;
    nct_test_model_open(&model, path, (nct_test_how){0});
    for (const nct_json *entry = nct_json_first(nct_json_get(m, "prompts")); entry;
         entry = nct_json_next(entry)) {
        const char *prompt = nct_json_string(nct_json_get(entry, "prompt"), "");
        size_t n_want, n_got;
        int32_t *want = nct_test_ids(nct_json_get(entry, "prompt_ids"), &n_want), *got = NULL;
        NCT_ASSERT_OK(nct_encode(model.engine, prompt, strlen(prompt), false, true, &got, &n_got, fault));
        assert_int_equal(n_got, n_want);
        assert_memory_equal(got, want, n_want * sizeof *want);
        nct_free(want);
        nct_free(got);
    }
    nct_test_model_close(&model);
}

typedef struct likelihood {
    const int32_t *ids; /* what stood at each position */
    size_t n_ids, n_vocab;
    double nll;
} likelihood;

/* Adds -log p of the token after `position`. */
static void add_nll(void *context, int position, const float *logits) {
    likelihood *l = context;
    if ((size_t)position + 1 >= l->n_ids)
        return;
    double most = logits[nct_test_argmax(logits, l->n_vocab)], sum = 0;
    for (size_t i = 0; i < l->n_vocab; i++)
        sum += exp((double)logits[i] - most);
    l->nll += most + log(sum) - (double)logits[l->ids[position + 1]];
}

static void check_perplexity(const char *path, const char *name) {
    const nct_json *m = golden_of(name);
    nct_test_need(path);
    nct_test_model model;
    nct_test_model_open(&model, path, (nct_test_how){.exact = true});
    nct_model_info info;
    nct_engine_info(model.engine, &info);
    for (const nct_json *p = nct_json_first(nct_json_get(m, "perplexity")); p; p = nct_json_next(p)) {
        const char *text_name = nct_json_string(nct_json_get(p, "text"), "");
        size_t n_text, n_ids, n_tokens = (size_t)nct_json_int(nct_json_get(p, "tokens"), 0);
        assert_int_equal(nct_json_int(nct_json_get(p, "window"), 0), WINDOW);
        char *text = nct_test_read(nct_test_path("%s/data/stories/%s", NCT_SHARED_DIR, text_name), &n_text);
        int32_t *ids = NULL;
        NCT_ASSERT_OK(nct_encode(model.engine, text, n_text, false, false, &ids, &n_ids, fault));
        assert_true(n_ids >= n_tokens);
        double nll = 0;
        for (size_t at = 0; at < n_tokens; at += WINDOW) {
            int32_t window[1 + WINDOW] = {info.bos};
            size_t n = n_tokens - at < WINDOW ? n_tokens - at : WINDOW;
            memcpy(window + 1, ids + at, n * sizeof *ids);
            likelihood l = {.ids = window, .n_ids = 1 + n, .n_vocab = model.n_vocab};
            nct_feed_options options = {.on_row = add_nll, .context = &l};
            nct_test_model_restart(&model, 0);
            NCT_ASSERT_OK(nct_session_feed(model.session, window, 1 + n, &options, fault));
            nll += l.nll;
        }
        double got = exp(nll / (double)n_tokens), want = nct_json_number(nct_json_get(p, "ppl"), 0);
        if (!(fabs(got - want) <= 1e-4 * want))
            fail_msg("%s: perplexity is %.6f, expected %.6f", name, got, want);
        nct_free(text);
        nct_free(ids);
    }
    nct_test_model_close(&model);
}

static const char *directory(const char *name) {
    return nct_test_path("%s/data/stories/%s-minicpm", NCT_SHARED_DIR, name);
}
static const char *gguf(const char *name) { return nct_test_path("%s/%s.gguf", NCT_ORACLE_CKPT, name); }

static const char *const models[] = {"stories260K", "tinystories-656k"};
#define EACH_MODEL(name) for (const char *const *name = models; name < models + 2; name++)

static void test_stories__greedy_ids_are_the_golden_ones(void **state) {
    (void)state;
    EACH_MODEL (name)
        check_greedy(directory(*name), *name);
}
static void test_stories__gguf_gives_the_same_ids(void **state) {
    (void)state;
    EACH_MODEL (name)
        check_greedy(gguf(*name), *name);
}
static void test_stories__prompts_encode_to_the_golden_ids(void **state) {
    (void)state;
    EACH_MODEL (name)
        check_prompt_ids(directory(*name), *name);
}
static void test_stories__perplexity_is_the_golden_one(void **state) {
    (void)state;
    EACH_MODEL (name)
        check_perplexity(directory(*name), *name);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stories__greedy_ids_are_the_golden_ones),
        cmocka_unit_test(test_stories__gguf_gives_the_same_ids),
        cmocka_unit_test(test_stories__prompts_encode_to_the_golden_ids),
        cmocka_unit_test(test_stories__perplexity_is_the_golden_one),
    };
    return cmocka_run_group_tests(tests, open_golden, close_golden);
}
