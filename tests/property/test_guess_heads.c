/* Guessing with draft heads changes no text, and what a head remembers is what it would of the text fed in one. */
#include "base/rng.h"
#include "engine/session.h"
#include "spec/eagle.h"
#include "spec/eagle3.h"
#include "support/heads.h"
#include "support/model.h"
#include "support/support.h"

enum { LIMIT = 1200, N_TEXT = 40, N_PROMPT = 90 };

struct text {
    int32_t id[LIMIT];
    size_t n, n_most;
};

static bool take(void *context, int32_t id) {
    struct text *t = context;
    t->id[t->n++] = id;
    return t->n < t->n_most;
}

static nct_session *open_session(const nct_test_model *model, int n_guess) {
    nct_session *s = NULL;
    nct_session_options o = {
        .n_ctx = LIMIT, .force_ctx = true, .n_guess = n_guess, .drafter = nct_engine_drafter(model->engine)};
    NCT_ASSERT_OK(nct_session_open(model->engine, &o, &s, fault));
    return s;
}

static void play(nct_session *s, const int32_t *prompt, const nct_sampling *sampling, struct text t[3]) {
    static const int32_t said[] = {7, 3, 9, 7};
    NCT_ASSERT_OK(nct_session_feed(s, prompt, N_PROMPT, NULL, fault));
    for (size_t i = 0; i < 3; i++) {
        nct_generate_options o = {
            .sampling = sampling, .n_prompt = nct_session_length(s), .take = take, .context = &t[i]};
        t[i].n = 0, t[i].n_most = N_TEXT;
        NCT_ASSERT_OK(nct_session_generate(s, &o, fault));
        if (i == 1)
            NCT_ASSERT_OK(nct_session_rewind(s, nct_session_length(s) - 13, fault));
        NCT_ASSERT_OK(nct_session_feed(s, said, i ? 1 : 4, NULL, fault));
    }
}

/* A head is loaded once, and sessions find it. */
static void load_head(const nct_test_model *model, nct_draft_kind kind) {
    nct_test_head head = nct_test_head_for(&model->engine->model.config, kind);
    const char *dir = nct_test_folder();
    nct_test_head_write(dir, &head);
    assert_null(nct_engine_drafter(model->engine));
    NCT_ASSERT_OK(nct_engine_load_draft(model->engine, &(nct_draft_source){.path = dir}, fault));
    assert_string_equal(nct_engine_drafter(model->engine), kind == NCT_DRAFT_EAGLE ? "eagle" : "eagle3");
    nct_error err;
    assert_int_equal(nct_engine_load_draft(model->engine, &(nct_draft_source){.path = dir}, &err),
                     NCT_E_ARGUMENT);
    nct_test_folder_remove(dir);
}

static void check(const nct_test_model *model, const nct_sampling *sampling) {
    static struct text plain[3], texts[3];
    const nct_drafter *drafter = model->engine->drafter;
    int32_t prompt[N_PROMPT];
    nct_report report;
    for (size_t i = 0; i < N_PROMPT; i++)
        prompt[i] = (int32_t)(nct_rng_mix(i) % model->n_vocab);
    nct_session *a = open_session(model, 0), *b = open_session(model, 12), *c = open_session(model, 12);
    play(a, prompt, sampling, plain);
    play(b, prompt, sampling, texts);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(texts[i].n, plain[i].n);
        assert_memory_equal(texts[i].id, plain[i].id, plain[i].n * sizeof(int32_t));
    }
    nct_session_report(b, &report);
    assert_true(report.n_guessed > 0);
    NCT_ASSERT_OK(nct_session_feed(c, b->tokens, b->cache.length, NULL, fault));
    NCT_ASSERT_OK(nct_session_tell(b, b->cache.length - 1, fault));
    NCT_ASSERT_OK(nct_session_tell(c, c->cache.length - 1, fault));
    const nct_draft_line *x = b->draft, *y = c->draft;
    assert_int_equal(x->n_pairs, y->n_pairs);
    assert_int_equal(x->n_pairs, b->cache.length - 1);
    assert_int_equal(x->first, 0);
    for (size_t kv = 0; kv < x->cache.n_kv_heads; kv++)
        for (size_t s = 0; s < (x->n_pairs - 1) / NCT_STEP; s++) {
            nct_step p = nct_cache_step(&x->cache, 0, kv, s), q = nct_cache_step(&y->cache, 0, kv, s);
            assert_memory_equal(p.k, q.k, x->cache.key_bytes);
            assert_memory_equal(p.v, q.v, x->cache.value_bytes);
        }
    nct_ask ask = {.n_max = 20, .depth_max = 4, .width = 4};
    nct_tree u, v;
    size_t n;
    int32_t root = x->last_token;
    assert_int_equal(root, y->last_token);
    nct_tree_init(&u, root);
    nct_tree_init(&v, root);
    NCT_ASSERT_OK(drafter->propose(b->draft, &b->engine->exec, &ask, &u, &n, fault));
    NCT_ASSERT_OK(drafter->propose(c->draft, &c->engine->exec, &ask, &v, &n, fault));
    assert_int_equal(u.n, 20);
    assert_memory_equal(u.token, v.token, sizeof u.token);
    assert_memory_equal(u.score, v.score, sizeof u.score);
    nct_session_close(a);
    nct_session_close(b);
    nct_session_close(c);
}

static void ended(void *context, const nct_error *err) {
    (void)context;
    assert_null(err);
}

/* Two prompts, one after the other or together: the head reads along with those that have nobody beside them. */
static void check_batch(const nct_test_model *model, const nct_sampling *sampling, int n_sequences) {
    static struct text plain[2], texts[2];
    int32_t prompt[2][N_PROMPT];
    nct_batcher *batcher = NULL;
    nct_batcher_report report;
    nct_batcher_options o = {.session = {.n_ctx = LIMIT,
                                         .force_ctx = true,
                                         .chunk = 40,
                                         .n_guess = 12,
                                         .drafter = nct_engine_drafter(model->engine)},
                             .n_sequences = n_sequences};
    NCT_ASSERT_OK(nct_batcher_open(model->engine, &o, &batcher, fault));
    for (size_t i = 0; i < 2; i++) {
        nct_session *alone = open_session(model, 0);
        plain[i].n = texts[i].n = 0;
        plain[i].n_most = texts[i].n_most = N_TEXT + 20 * i;
        for (size_t k = 0; k < N_PROMPT; k++)
            prompt[i][k] = (int32_t)(nct_rng_mix(i * 1000 + k) % model->n_vocab);
        NCT_ASSERT_OK(nct_session_feed(alone, prompt[i], N_PROMPT, NULL, fault));
        NCT_ASSERT_OK(nct_session_generate(
            alone,
            &(nct_generate_options){
                .sampling = sampling, .n_prompt = N_PROMPT, .take = take, .context = &plain[i]},
            fault));
        nct_session_close(alone);
        nct_sequence s = {.ids = prompt[i],
                          .n_ids = N_PROMPT,
                          .sampling = *sampling,
                          .take = take,
                          .ended = ended,
                          .context = &texts[i]};
        int number;
        NCT_ASSERT_OK(nct_batcher_add(batcher, &s, &number, fault));
        while (nct_batcher_size(batcher) && (i == 1 || nct_batcher_room(batcher) == 0))
            NCT_ASSERT_OK(nct_batcher_step(batcher, NULL, fault));
    }
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(texts[i].n, plain[i].n);
        assert_memory_equal(texts[i].id, plain[i].id, plain[i].n * sizeof(int32_t));
    }
    nct_batcher_count(batcher, &report);
    assert_true(report.n_guessed > 0);
    nct_batcher_close(batcher);
}

static void test_guess__heads_change_no_text(void **state) {
    (void)state;
    static const nct_sampling settings[] = {
        {.top_p = 1, .repeat_penalty = 1},
        {.temperature = 1, .top_p = 0.9, .repeat_penalty = 1.1, .seed = 11}};
    NCT_TEST_EACH_MODEL (path) {
        for (nct_draft_kind kind = NCT_DRAFT_EAGLE; kind <= NCT_DRAFT_EAGLE3; kind++) {
            nct_test_model model;
            nct_test_model_open(&model, path, (nct_test_how){.n_threads = 2});
            if (kind == NCT_DRAFT_EAGLE || model.engine->model.config.n_layers >= 5) {
                load_head(&model, kind);
                for (size_t i = 0; i < 2; i++) {
                    check(&model, &settings[i]);
                    check_batch(&model, &settings[i], (int)i + 1);
                }
            }
            nct_test_model_close(&model);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_guess__heads_change_no_text)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
