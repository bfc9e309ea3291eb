/* What a session promises at its edges: limits, ids, stopping, rewinding, and what it says when refused. */
#include <inttypes.h>

#include "base/pages.h"
#include "engine/session.h"
#include "support/support.h"

static const char *tiny(const char *name) { return nct_test_path("%s/%s", NCT_TINY_DIR, name); }

static nct_engine *open_tiny(const char *name) {
    nct_engine *engine = NULL;
    NCT_ASSERT_OK(nct_engine_open(tiny(name), &(nct_engine_options){.n_threads = 2, .force_threads = true}, &engine, fault));
    return engine;
}

static void test_session__refuses_what_does_not_fit_and_keeps_what_it_holds(void **state) {
    (void)state;
    nct_engine *engine = open_tiny("float");
    nct_session *session = NULL;
    nct_error err;
    static const int32_t ids[12] = {1, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    NCT_ASSERT_OK(nct_session_open(engine, &(nct_session_options){.n_ctx = 10}, &session, fault));
    assert_null(nct_session_logits(session));
    NCT_ASSERT_OK(nct_session_feed(session, ids, 8, NULL, fault));
    assert_int_equal(nct_session_feed(session, ids, 3, NULL, &err), NCT_E_CONTEXT);
    assert_string_equal(err.text, "8 tokens and 3 more do not fit a context of 10");
    assert_int_equal(nct_session_length(session), 8);
    assert_non_null(nct_session_logits(session));
    assert_memory_equal(nct_session_tokens(session), ids, 8 * sizeof *ids);
    NCT_ASSERT_OK(nct_session_feed(session, ids, 2, NULL, fault));
    assert_int_equal(nct_session_length(session), 10);
    nct_session_close(session);
    nct_engine_close(engine);
}

static void test_session__refuses_ids_outside_the_vocabulary(void **state) {
    (void)state;
    nct_engine *engine = open_tiny("float");
    nct_session *session = NULL;
    nct_model_info info;
    nct_engine_info(engine, &info);
    NCT_ASSERT_OK(nct_session_open(engine, NULL, &session, fault));
    int32_t high[2] = {1, info.n_vocab}, low[2] = {1, -1};
    assert_int_equal(nct_session_feed(session, high, 2, NULL, NULL), NCT_E_ARGUMENT);
    assert_int_equal(nct_session_feed(session, low, 2, NULL, NULL), NCT_E_ARGUMENT);
    assert_int_equal(nct_session_length(session), 0);
    nct_session_close(session);
    nct_engine_close(engine);
}

/* Stops after the first chunk: the flag is raised while its progress is told. */
static int stop_flag;
static int last_done;

/* Raises the flag when the first chunk is done; until then what is done grows layer by layer. */
static void raise_flag(void *context, int done, int total) {
    (void)context;
    assert_int_equal(total, 40);
    assert_true(done > last_done && done <= 16);
    last_done = done;
    stop_flag = done == 16;
}

static void test_session__stopping_keeps_finished_chunks_and_going_on_gives_the_same(void **state) {
    (void)state;
    nct_engine *engine = open_tiny("coded");
    nct_session *session = NULL, *whole = NULL;
    nct_model_info info;
    int32_t ids[40];
    nct_engine_info(engine, &info);
    for (size_t i = 0; i < 40; i++)
        ids[i] = (int32_t)(i * 7 % (size_t)info.n_vocab);
    NCT_ASSERT_OK(nct_session_open(engine, &(nct_session_options){.chunk = 16}, &session, fault));
    NCT_ASSERT_OK(nct_session_open(engine, &(nct_session_options){.chunk = 64}, &whole, fault));
    stop_flag = last_done = 0;
    nct_feed_options options = {.stop = &stop_flag, .progress = raise_flag};
    assert_int_equal(nct_session_feed(session, ids, 40, &options, NULL), NCT_E_STOPPED);
    assert_int_equal(nct_session_length(session), 16);
    assert_null(nct_session_logits(session));
    NCT_ASSERT_OK(nct_session_feed(session, ids + 16, 24, NULL, fault));
    NCT_ASSERT_OK(nct_session_feed(whole, ids, 40, NULL, fault));
    nct_test_same_bits("after a stop", nct_session_logits(session), nct_session_logits(whole), (size_t)info.n_vocab);
    nct_session_close(session);
    nct_session_close(whole);
    nct_engine_close(engine);
}

static void test_session__rewinding_is_checked_and_takes_the_logits_away(void **state) {
    (void)state;
    nct_engine *engine = open_tiny("float");
    nct_session *session = NULL;
    static const int32_t ids[4] = {1, 2, 3, 4};
    int32_t id;
    NCT_ASSERT_OK(nct_session_open(engine, NULL, &session, fault));
    NCT_ASSERT_OK(nct_session_feed(session, ids, 4, NULL, fault));
    assert_int_equal(nct_session_rewind(session, 5, NULL), NCT_E_ARGUMENT);
    assert_int_equal(nct_session_rewind(session, -1, NULL), NCT_E_ARGUMENT);
    NCT_ASSERT_OK(nct_session_rewind(session, 4, fault));
    assert_non_null(nct_session_logits(session));
    NCT_ASSERT_OK(nct_session_rewind(session, 2, fault));
    assert_null(nct_session_logits(session));
    nct_sampling sampling;
    nct_engine_sampling(engine, &sampling);
    assert_int_equal(nct_session_sample(session, &sampling, 0, 0, &id, NULL), NCT_E_ARGUMENT);
    nct_session_close(session);
    nct_engine_close(engine);
}

static void test_session__windows_and_chunks_out_of_range_are_refused(void **state) {
    (void)state;
    nct_engine *engine = open_tiny("float");
    nct_session *session = NULL;
    nct_model_info info;
    nct_engine_info(engine, &info);
    assert_int_equal(nct_session_open(engine, &(nct_session_options){.n_ctx = -1}, &session, NULL), NCT_E_ARGUMENT);
    assert_int_equal(nct_session_open(engine, &(nct_session_options){.chunk = 1 << 20}, &session, NULL), NCT_E_ARGUMENT);
    assert_int_equal(nct_session_open(engine, &(nct_session_options){.n_ctx = info.max_positions + 1, .rope = NCT_ROPE_NATIVE}, &session, NULL), NCT_E_CONTEXT);
    NCT_ASSERT_OK(nct_session_open(engine, &(nct_session_options){.n_ctx = info.max_positions + 1, .force_ctx = true}, &session, fault));
    nct_session_close(session);
    nct_engine_close(engine);
}

/* The logits after a few ids at the end of a prompt that a session with these options was fed. */
static float *logits_of(nct_engine *engine, nct_session_options options, bool *is_long, size_t *n) {
    nct_session *session = NULL;
    nct_model_info info;
    int32_t ids[40];
    void *copy = NULL;
    nct_engine_info(engine, &info);
    for (size_t i = 0; i < 40; i++)
        ids[i] = (int32_t)(i * 11 % (size_t)info.n_vocab);
    NCT_ASSERT_OK(nct_session_open(engine, &options, &session, fault));
    NCT_ASSERT_OK(nct_session_feed(session, ids, 40, NULL, fault));
    NCT_ASSERT_OK(nct_alloc(&copy, (size_t)info.n_vocab, sizeof(float), fault));
    memcpy(copy, nct_session_logits(session), (size_t)info.n_vocab * sizeof(float));
    *is_long = nct_session_is_long(session);
    *n = (size_t)info.n_vocab;
    nct_session_close(session);
    return copy;
}

static void test_session__long_table_is_chosen_once_and_by_what_is_asked(void **state) {
    (void)state;
    nct_engine *engine = open_tiny("float");
    nct_model_info info;
    nct_engine_info(engine, &info);
    assert_int_equal(info.max_positions, 2048);
    assert_int_equal(info.long_positions, (int)(2048 * 4.75 / 1.46875)); /* where the slowest rotation ends as before */
    assert_false(info.long_built_in);
    const struct {
        nct_session_options options;
        bool is_long;
        int limit;
    } cases[] = {
        {{0}, false, 2048},
        {{.n_expected = 2048}, false, 2048},
        {{.n_expected = 2049}, true, info.long_positions},
        {{.n_expected = 2049, .n_ctx = 1000}, false, 1000},
        {{.n_ctx = 2049}, true, 2049},
        {{.n_expected = 1 << 30, .rope = NCT_ROPE_NATIVE}, false, 2048},
        {{.rope = NCT_ROPE_LONG}, true, info.long_positions},
        {{.rope = NCT_ROPE_LONG, .n_ctx = 100}, true, 100},
        {{.rope = NCT_ROPE_NATIVE, .n_ctx = 5000, .force_ctx = true}, false, 5000},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        nct_session *session = NULL;
        NCT_ASSERT_OK(nct_session_open(engine, &cases[i].options, &session, fault));
        assert_int_equal(nct_session_is_long(session), cases[i].is_long);
        assert_int_equal(nct_session_limit(session), cases[i].limit);
        nct_session_close(session);
    }
    nct_session *session = NULL;
    nct_error err;
    assert_int_equal(nct_session_open(engine, &(nct_session_options){.n_ctx = info.long_positions + 1}, &session, &err), NCT_E_CONTEXT);
    assert_int_equal(nct_session_open(engine, &(nct_session_options){.n_ctx = 2049, .rope = NCT_ROPE_NATIVE}, &session, &err), NCT_E_CONTEXT);
    nct_engine_close(engine);
    engine = open_tiny("sparse");
    assert_int_equal(nct_session_open(engine, &(nct_session_options){.rope = NCT_ROPE_LONG}, &session, &err), NCT_E_ARGUMENT);
    assert_non_null(strstr(err.text, "no long RoPE list"));
    nct_engine_close(engine);
}

/* The tiny float model with its long list in both places. */
static const char *with_long_list(void) {
    static const char *const files[] = {"model.safetensors", "tokenizer.json"};
    const char *folder = nct_test_folder();
    size_t n;
    for (size_t i = 0; i < 2; i++) {
        char *data = nct_test_read(nct_test_path("%s/%s", tiny("float"), files[i]), &n);
        nct_test_write(nct_test_path("%s/%s", folder, files[i]), data, n);
        nct_free(data);
    }
    char *text = nct_test_read(nct_test_path("%s/config.json", tiny("float")), &n);
    char *shorter = strstr(text, "\"short_factor\""), *longer = strstr(text, "\"long_factor\":"), *end = strstr(longer, "]");
    assert_true(shorter && shorter < longer && end);
    nct_bytes changed = {0};
    nct_bytes_add(&changed, text, (size_t)(shorter - text), NULL);
    nct_bytes_add_str(&changed, "\"short_factor\":", NULL);
    nct_bytes_add(&changed, longer + 14, (size_t)(end + 1 - longer - 14), NULL);
    nct_bytes_add_str(&changed, ",", NULL);
    nct_bytes_add_str(&changed, longer, NULL);
    nct_test_write(nct_test_path("%s/config.json", folder), changed.data, changed.n);
    nct_bytes_reset(&changed);
    nct_free(text);
    return folder;
}

static void test_session__long_table_computes_what_the_long_list_says(void **state) {
    (void)state;
    const char *folder = with_long_list();
    nct_engine *engine = open_tiny("float"), *changed = NULL;
    NCT_ASSERT_OK(nct_engine_open(folder, &(nct_engine_options){.n_threads = 2, .force_threads = true}, &changed, fault));
    nct_test_folder_remove(folder);
    bool is_long;
    size_t n;
    float *expected = logits_of(changed, (nct_session_options){0}, &is_long, &n);
    assert_false(is_long);
    float *native = logits_of(engine, (nct_session_options){0}, &is_long, &n);
    assert_false(is_long);
    float *longer = logits_of(engine, (nct_session_options){.n_expected = 3000}, &is_long, &n);
    assert_true(is_long);
    nct_test_same_bits("the long list in either place", longer, expected, n);
    assert_memory_not_equal(native, longer, n * sizeof(float));
    nct_free(expected);
    nct_free(native);
    nct_free(longer);
    nct_engine_close(engine);
    nct_engine_close(changed);
}

static void test_engine__text_only_has_a_tokenizer_but_no_session(void **state) {
    (void)state;
    nct_engine *engine = NULL;
    nct_session *session = NULL;
    int32_t *ids = NULL;
    size_t n_ids = 0, n = 0;
    char *text = NULL;
    NCT_ASSERT_OK(nct_engine_open(tiny("float"), &(nct_engine_options){.text_only = true}, &engine, fault));
    NCT_ASSERT_OK(nct_encode(engine, "a b", 3, false, false, &ids, &n_ids, fault));
    NCT_ASSERT_OK(nct_decode(engine, ids, n_ids, false, &text, &n, fault));
    assert_string_equal(text, "a b");
    nct_free(ids);
    nct_free(text);
    assert_int_equal(nct_session_open(engine, NULL, &session, NULL), NCT_E_ARGUMENT);
    nct_engine_close(engine);
}

static void test_engine__instruction_sets_and_threads_are_checked(void **state) {
    (void)state;
    nct_engine *engine = NULL;
    nct_error err;
    assert_int_equal(nct_engine_open(tiny("float"), &(nct_engine_options){.isa = "sse9"}, &engine, &err), NCT_E_ARGUMENT);
    assert_non_null(strstr(err.text, "ref"));
    assert_int_equal(nct_engine_open(tiny("float"), &(nct_engine_options){.n_threads = -1}, &engine, &err), NCT_E_ARGUMENT);
    assert_int_equal(nct_engine_open(tiny("nothing-here"), NULL, &engine, &err), NCT_E_IO);
    nct_engine_close(NULL);
    nct_session_close(NULL);
}

static void test_engine__the_roof_is_measured(void **state) {
    (void)state;
    nct_engine *engine = open_tiny("coded");
    nct_roofline roof = {0};
    NCT_ASSERT_OK(nct_engine_roofline(engine, &roof, fault));
    assert_true(roof.read_bytes_s > 1e6);
    assert_true(roof.multiply_ops_s >= 0);
    assert_string_equal(roof.multiply_name, "int8");
    assert_true(roof.multiply_ops_s == roof.int8_ops_s);
    assert_true(roof.attend_ops_s == (roof.bf16_ops_s > roof.f32_ops_s ? roof.bf16_ops_s : roof.f32_ops_s));
    double again = 0;
    NCT_ASSERT_OK(nct_engine_bandwidth(engine, &again, fault));
    assert_true(again > 1e6);
    nct_engine_close(engine);
}

static void test_engine__steps_and_prompts_have_their_own_threads(void **state) {
    (void)state;
    nct_engine *engine = NULL;
    nct_model_info info;
    nct_error err;
    nct_engine_options options = {.n_threads = 2, .n_threads_batch = 5, .force_threads = true};
    NCT_ASSERT_OK(nct_engine_open(tiny("coded"), &options, &engine, fault));
    nct_engine_info(engine, &info);
    assert_int_equal(info.n_threads, 2);
    assert_int_equal(info.n_threads_batch, 5);
    NCT_ASSERT_OK(nct_engine_set_threads(engine, 4, 1, fault));
    nct_engine_info(engine, &info);
    assert_int_equal(info.n_threads, 4);
    assert_int_equal(info.n_threads_batch, 1);
    static const int wrong[][2] = {{0, 1}, {1, 0}, {6, 1}, {1, 6}, {-1, 1}};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_int_equal(nct_engine_set_threads(engine, wrong[i][0], wrong[i][1], &err), NCT_E_ARGUMENT);
    nct_engine_close(engine);
    options = (nct_engine_options){.n_threads = 3, .force_threads = true};
    NCT_ASSERT_OK(nct_engine_open(tiny("coded"), &options, &engine, fault));
    nct_engine_info(engine, &info);
    assert_int_equal(info.n_threads_batch, 3); /* as the other where it is not given */
    nct_engine_close(engine);
    options = (nct_engine_options){.n_threads_batch = 1025};
    assert_int_equal(nct_engine_open(tiny("coded"), &options, &engine, &err), NCT_E_ARGUMENT);
}

/* True if huge pages were asked for where an address lies. */
static bool is_advised(const void *at) {
    char line[512];
    bool inside = false, advised = false;
    FILE *f = fopen("/proc/self/smaps", "re");
    assert_non_null(f);
    while (fgets(line, sizeof line, f)) {
        uintptr_t from, to;
        if (sscanf(line, "%" SCNxPTR "-%" SCNxPTR " ", &from, &to) == 2)
            inside = from <= (uintptr_t)at && (uintptr_t)at < to;
        else if (inside && strncmp(line, "VmFlags:", 8) == 0)
            advised = strstr(line, " hg") != NULL;
    }
    fclose(f);
    return advised;
}

static void test_session__a_long_past_is_asked_for_in_huge_pages(void **state) {
    (void)state;
    enum { SMALL = 8, PAGES = 12 };
    if (!*nct_pages_huge_system())
        skip();
    for (int huge = NCT_HUGE_AUTO; huge <= NCT_HUGE_OFF; huge++) {
        nct_engine *engine = NULL;
        nct_session *session = NULL;
        NCT_ASSERT_OK(nct_engine_open(tiny("float"), &(nct_engine_options){.huge_pages = (nct_huge_pages)huge}, &engine, fault));
        NCT_ASSERT_OK(nct_session_open(
            engine, &(nct_session_options){.n_ctx = PAGES * NCT_PAGE, .force_ctx = true}, &session, fault));
        NCT_ASSERT_OK(nct_cache_reserve(&session->cache, PAGES * NCT_PAGE, fault));
        for (size_t page = 0; page < PAGES; page++)
            assert_int_equal(is_advised(session->cache.pages + page * session->cache.page_bytes),
                             huge == NCT_HUGE_ON || (huge == NCT_HUGE_AUTO && page >= SMALL));
        nct_session_close(session);
        nct_engine_close(engine);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_session__refuses_what_does_not_fit_and_keeps_what_it_holds),
        cmocka_unit_test(test_session__refuses_ids_outside_the_vocabulary),
        cmocka_unit_test(test_session__stopping_keeps_finished_chunks_and_going_on_gives_the_same),
        cmocka_unit_test(test_session__rewinding_is_checked_and_takes_the_logits_away),
        cmocka_unit_test(test_session__windows_and_chunks_out_of_range_are_refused),
        cmocka_unit_test(test_session__long_table_is_chosen_once_and_by_what_is_asked),
        cmocka_unit_test(test_session__long_table_computes_what_the_long_list_says),
        cmocka_unit_test(test_engine__text_only_has_a_tokenizer_but_no_session),
        cmocka_unit_test(test_session__a_long_past_is_asked_for_in_huge_pages),
        cmocka_unit_test(test_engine__instruction_sets_and_threads_are_checked),
        cmocka_unit_test(test_engine__the_roof_is_measured),
        cmocka_unit_test(test_engine__steps_and_prompts_have_their_own_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
