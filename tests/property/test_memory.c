/* Every allocation between opening a model and the second token is refused once: each refusal must come
 * back as NCT_E_MEMORY with a sentence, and leave nothing behind (the address sanitizer's build looks). */
#include "base/mem.h"
#include "support/model.h"
#include "support/support.h"

typedef nct_status attempt(const char *path, nct_error *err);

static nct_status open_only(const char *path, nct_error *err) {
    nct_engine_options options = {.isa = nct_test_isa(), .n_threads = 2, .force_threads = true};
    nct_engine *engine = NULL;
    nct_status status = nct_engine_open(path, &options, &engine, err);
    assert_true((status == NCT_OK) == (engine != NULL));
    nct_engine_close(engine);
    return status;
}

static nct_status open_sharded(const char *path, nct_error *err) {
    nct_engine_options options = {.isa = nct_test_isa(),
                                  .n_threads = 3,
                                  .force_threads = true,
                                  .huge_pages = NCT_HUGE_ON,
                                  .numa = NCT_NUMA_SHARD,
                                  .numa_made_up = 2};
    nct_engine *engine = NULL;
    nct_status status = nct_engine_open(path, &options, &engine, err);
    assert_true((status == NCT_OK) == (engine != NULL));
    nct_engine_close(engine);
    return status;
}

static nct_engine *shared_engine; /* opened once: the attempts below are about what comes after */

static nct_status talk(nct_session *session, nct_error *err) {
    static const int32_t prompt[] = {1, 9, 4, 30, 12, 9};
    nct_sampling sampling;
    nct_engine_sampling(shared_engine, &sampling);
    sampling.repeat_penalty = 1.2;
    for (int i = 0; i < 2; i++) {
        int32_t id;
        NCT_TRY(nct_session_feed(session, prompt, 6, NULL, err));
        NCT_TRY(nct_session_sample(session, &sampling, 3, 0, &id, err));
        NCT_TRY(nct_session_feed(session, &id, 1, NULL, err));
        NCT_TRY(nct_session_rewind(session, 2, err));
    }
    return NCT_OK;
}

static nct_status open_session_and_talk(const char *path, nct_error *err) {
    (void)path;
    nct_session_options options = {.chunk = 4};
    nct_session *session = NULL;
    nct_status status = nct_session_open(shared_engine, &options, &session, err);
    assert_true((status == NCT_OK) == (session != NULL));
    if (status == NCT_OK)
        status = talk(session, err);
    nct_session_close(session);
    return status;
}

static nct_status encode_and_decode(const char *path, nct_error *err) {
    (void)path;
    static const char text[] =
        "The  bat flew, 你好 \xff over <s> and over the house again and again and again.";
    int32_t *ids = NULL;
    size_t n_ids = 0, n_bytes = 0;
    char *back = NULL;
    nct_status status = nct_encode(shared_engine, text, sizeof text - 1, false, true, &ids, &n_ids, err);
    assert_true((status == NCT_OK) == (ids != NULL));
    if (status == NCT_OK)
        status = nct_decode(shared_engine, ids, n_ids, true, &back, &n_bytes, err);
    assert_true((status == NCT_OK) == (back != NULL));
    nct_free(ids);
    nct_free(back);
    return status;
}

static nct_status stream(const char *path, nct_error *err) {
    (void)path;
    nct_text_stream *s = NULL;
    nct_status status = nct_text_stream_open(shared_engine, true, &s, err);
    assert_true((status == NCT_OK) == (s != NULL));
    for (int32_t id = 0; id < 40 && s; id++) {
        size_t n;
        assert_non_null(nct_text_stream_push(s, id, &n));
    }
    nct_text_stream_close(s);
    return status;
}

/* Refuses allocation 0, 1, 2, ... of the attempt until one run meets no refusal. */
static void refuse_each(const char *what, attempt *run, const char *path) {
    long at_most = 1000000;
    for (long n = 0; n < at_most; n++) {
        nct_error err = {0};
        atomic_store(&nct_mem_fail_in, n);
        nct_status status = run(path, &err);
        bool refused = atomic_exchange(&nct_mem_fail_in, -1) < 0;
        if (!refused) {
            assert_int_equal(status, NCT_OK);
            assert_true(n > 0); /* the attempt does allocate, so something was tested */
            return;
        }
        if (status != NCT_E_MEMORY || err.status != NCT_E_MEMORY || !err.text[0])
            fail_msg("%s, %s: allocation %ld refused, status %d, error %d: %s", what, path, n, status,
                     err.status, err.text);
    }
}

static void each_model(const char *what, attempt *run) {
    NCT_TEST_EACH_MODEL (path) {
        nct_test_model model;
        nct_test_model_open(&model, path, (nct_test_how){.n_threads = 2});
        bool large = model.large;
        shared_engine = model.engine;
        if (!large)
            refuse_each(what, run, path);
        shared_engine = NULL;
        nct_test_model_close(&model);
    }
}

static void test_memory__refused_while_opening(void **state) {
    (void)state;
    each_model("open", open_only);
    each_model("open in shards", open_sharded);
}
static void test_memory__refused_in_a_session(void **state) {
    (void)state;
    each_model("session", open_session_and_talk);
}
static void test_memory__refused_while_encoding(void **state) {
    (void)state;
    each_model("encode", encode_and_decode);
}
static void test_memory__refused_in_a_stream(void **state) {
    (void)state;
    each_model("stream", stream);
}

/* A session that was refused memory goes on as if nothing had been asked. */
static void test_memory__a_refused_step_leaves_the_session_usable(void **state) {
    (void)state;
    const char *path = nct_test_models()[0];
    nct_test_model model;
    nct_test_model_open(&model, path, (nct_test_how){.chunk = 16});
    int32_t ids[40];
    for (int i = 0; i < 40; i++)
        ids[i] = (int32_t)((size_t)(3 + 7 * i) % model.n_vocab);
    float *clean = nct_test_feed(&model, ids, 40, 0);
    for (long n = 0; n < 1000; n++) {
        nct_test_model_restart(&model, 16);
        NCT_ASSERT_OK(nct_session_feed(model.session, ids, 5, NULL, fault));
        atomic_store(&nct_mem_fail_in, n);
        nct_status status = nct_session_feed(model.session, ids + 5, 30, NULL, NULL);
        bool refused = atomic_exchange(&nct_mem_fail_in, -1) < 0;
        assert_int_equal(status, refused ? NCT_E_MEMORY : NCT_OK);
        size_t held = (size_t)nct_session_length(model.session);
        assert_in_range(held, 5, 35);
        float *rest = nct_test_feed(&model, ids + held, 40 - held, 0);
        nct_test_same_bits("after a refusal", rest, clean + held * model.n_vocab,
                           (40 - held) * model.n_vocab);
        nct_free(rest);
        if (!refused)
            break;
    }
    nct_free(clean);
    nct_test_model_close(&model);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_memory__refused_while_opening),
        cmocka_unit_test(test_memory__refused_in_a_session),
        cmocka_unit_test(test_memory__refused_while_encoding),
        cmocka_unit_test(test_memory__refused_in_a_stream),
        cmocka_unit_test(test_memory__a_refused_step_leaves_the_session_usable),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
