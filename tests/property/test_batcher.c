/* Sequences that are decoded together get the tokens that they get alone. */
#include <math.h>

#include "base/rng.h"
#include "support/model.h"
#include "support/support.h"

enum { N_SEQUENCES = 9, N_CHOSEN = 12, N_PROMPT = 430 };

struct one {
    int32_t ids[N_PROMPT];
    size_t n_ids;
    nct_sampling sampling;
    uint32_t sample;
    int n_wanted;
    /* what came */
    int32_t token[N_CHOSEN], alone[N_CHOSEN];
    int n, number;
    bool ended;
    nct_error error;
};

static bool take(void *context, int32_t id) {
    struct one *o = context;
    assert_true(o->n < o->n_wanted && !o->ended);
    o->token[o->n++] = id;
    return o->n < o->n_wanted;
}
static bool take_for_ever(void *context, int32_t id) {
    struct one *o = context;
    o->token[o->n++ % N_CHOSEN] = id;
    return true;
}
static void ended(void *context, const nct_error *err) {
    struct one *o = context;
    assert_false(o->ended);
    o->ended = true;
    o->error = err ? *err : (nct_error){0};
}

static nct_sequence sequence(struct one *o) {
    return (nct_sequence){.ids = o->ids,
                          .n_ids = o->n_ids,
                          .sampling = o->sampling,
                          .sample = o->sample,
                          .take = take,
                          .ended = ended,
                          .context = o};
}

/* Prompts of all lengths, some of which begin alike: one is the beginning of another, two are the same. */
static void make(struct one *all, size_t n_vocab, size_t longest) {
    static const size_t lengths[N_SEQUENCES] = {1, 5, 64, 65, 430, 200, 3, 200, 131};
    memset(all, 0, N_SEQUENCES * sizeof *all);
    for (size_t i = 0; i < N_SEQUENCES; i++) {
        struct one *o = &all[i];
        o->n_ids = lengths[i] < longest ? lengths[i] : longest;
        size_t alike = i == 3 ? 64 : i == 5 ? 150 : i == 7 ? 200 : i == 8 ? 131 : 0;
        for (size_t k = 0; k < o->n_ids; k++)
            o->ids[k] = (int32_t)(nct_rng_mix((k < alike ? 4 : i) * 1000 + k) % n_vocab);
        o->sampling = (nct_sampling){.temperature = i % 3 ? 1.1 : 0,
                                     .top_p = i % 3 == 1 ? 0.9 : 1,
                                     .repeat_penalty = i == 5 ? 1.3 : 1,
                                     .frequency_penalty = i == 2 ? 0.5 : 0,
                                     .seed = i * 17};
        o->sample = (uint32_t)i / 4;
        o->n_wanted = 1 + (int)(i * 5 % N_CHOSEN);
    }
}

static void answer_alone(nct_engine *engine, struct one *o) {
    nct_session *session = NULL;
    NCT_ASSERT_OK(nct_session_open(engine, NULL, &session, fault));
    NCT_ASSERT_OK(nct_session_feed(session, o->ids, o->n_ids, NULL, fault));
    for (int i = 0; i < o->n_wanted; i++) {
        NCT_ASSERT_OK(
            nct_session_sample(session, &o->sampling, (int)o->n_ids, o->sample, &o->alone[i], fault));
        NCT_ASSERT_OK(nct_session_feed(session, &o->alone[i], 1, NULL, fault));
    }
    nct_session_close(session);
}

/* Adds whenever there is room, in the order given, until all have ended. */
static void answer_together(nct_batcher *group, struct one *all, const size_t *order) {
    size_t next = 0;
    for (size_t i = 0; i < N_SEQUENCES; i++) {
        all[i].n = 0;
        all[i].ended = false;
    }
    while (next < N_SEQUENCES || nct_batcher_size(group) > 0) {
        while (next < N_SEQUENCES && nct_batcher_room(group) > 0) {
            nct_sequence s = sequence(&all[order[next]]);
            NCT_ASSERT_OK(nct_batcher_add(group, &s, &all[order[next]].number, fault));
            next++;
        }
        NCT_ASSERT_OK(nct_batcher_step(group, NULL, fault));
    }
    for (size_t i = 0; i < N_SEQUENCES; i++) {
        assert_true(all[i].ended);
        assert_int_equal(all[i].error.status, NCT_OK);
        assert_int_equal(all[i].n, all[i].n_wanted);
        for (int k = 0; k < all[i].n; k++)
            if (all[i].token[k] != all[i].alone[k])
                fail_msg("sequence %zu of %zu tokens: token %d is %d, alone %d", i, all[i].n_ids, k,
                         all[i].token[k], all[i].alone[k]);
    }
}

static void check_same(const char *path, int n_threads) {
    static const size_t forward[N_SEQUENCES] = {0, 1, 2, 3, 4, 5, 6, 7, 8},
                        shuffled[N_SEQUENCES] = {4, 7, 5, 8, 2, 3, 0, 6, 1};
    static const int widths[] = {1, 3, 8}, slices[] = {0, 7, 64};
    nct_engine *engine = NULL;
    nct_model_info info;
    struct one all[N_SEQUENCES];
    NCT_ASSERT_OK(nct_engine_open(
        path, &(nct_engine_options){.isa = nct_test_isa(), .n_threads = n_threads, .force_threads = true},
        &engine, fault));
    nct_engine_info(engine, &info);
    bool large = info.n_parameters > 500000;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    bool slow = true;
#else
    const char *isa = nct_test_isa();
    bool slow = isa && strcmp(isa, "ref") == 0;
#endif
    if (!(large && slow)) {
        make(all, (size_t)info.n_vocab, large ? 140 : N_PROMPT);
        for (size_t i = 0; i < N_SEQUENCES; i++)
            answer_alone(engine, &all[i]);
        for (size_t i = 0; i < 3; i++) {
            nct_batcher *group = NULL;
            nct_batcher_options o = {.n_sequences = widths[i],
                                     .slice = slices[i],
                                     .session.drafter = "ngram",
                                     .session.n_guess = 6};
            NCT_ASSERT_OK(nct_batcher_open(engine, &o, &group, fault));
            answer_together(group, all, forward);
            answer_together(group, all, shuffled); /* beside what the first round left */
            nct_batcher_report report;
            nct_batcher_count(group, &report);
            assert_true(report.n_copied > 0);
            nct_batcher_close(group);
        }
    }
    nct_engine_close(engine);
}

static void test_batcher__gives_each_sequence_the_tokens_that_it_gets_alone(void **state) {
    (void)state;
    int n_threads = 1;
    NCT_TEST_EACH_MODEL (path) {
        check_same(path, n_threads);
        n_threads = n_threads % 3 + 1;
    }
}

static nct_engine *open_tiny(void) {
    nct_engine *engine = NULL;
    NCT_ASSERT_OK(nct_engine_open(nct_test_path("%s/float", NCT_TINY_DIR),
                                  &(nct_engine_options){.n_threads = 2, .force_threads = true}, &engine,
                                  fault));
    return engine;
}

/* A batcher, and sequences for it. */
static nct_batcher *open_group(nct_engine *engine, const nct_batcher_options *options, struct one *all) {
    nct_batcher *group = NULL;
    nct_model_info info;
    nct_engine_info(engine, &info);
    make(all, (size_t)info.n_vocab, N_PROMPT);
    NCT_ASSERT_OK(nct_batcher_open(engine, options, &group, fault));
    return group;
}

static void test_batcher__reads_a_common_beginning_once(void **state) {
    (void)state;
    nct_engine *engine = open_tiny();
    nct_batcher_report report;
    struct one all[N_SEQUENCES];
    nct_batcher *group = open_group(engine, &(nct_batcher_options){.n_sequences = 4}, all);
    for (size_t i = 0; i < 4; i++) { /* all come at once */
        all[i] = all[4];
        all[i].n_ids = 400;
        all[i].ids[399] = (int32_t)i;
        all[i].n_wanted = 2;
        nct_sequence s = sequence(&all[i]);
        NCT_ASSERT_OK(nct_batcher_add(group, &s, &all[i].number, fault));
    }
    while (nct_batcher_size(group))
        NCT_ASSERT_OK(nct_batcher_step(group, NULL, fault));
    nct_batcher_count(group, &report);
    assert_int_equal(report.n_read, 400 + 3);
    assert_int_equal(report.n_copied, 3 * 399);
    nct_batcher_close(group);
    nct_engine_close(engine);
}

static void test_batcher__a_long_prompt_holds_nobody_and_comes_to_its_end(void **state) {
    (void)state;
    nct_engine *engine = open_tiny();
    struct one all[N_SEQUENCES];
    nct_batcher *group =
        open_group(engine, &(nct_batcher_options){.n_sequences = 2, .slice = 8, .session.chunk = 16}, all);
    struct one *longest = &all[4], *quick = &all[1];
    nct_sequence s = sequence(longest);
    longest->n_wanted = 1;
    NCT_ASSERT_OK(nct_batcher_add(group, &s, &longest->number, fault));
    quick->n_ids = 5, quick->n_wanted = N_CHOSEN;
    int n_quick = 0, n_steps = 0;
    for (; !longest->ended && n_steps < 1000; n_steps++) {
        if (nct_batcher_size(group) == 1) { /* short ones never run out */
            quick->n = 0, quick->ended = false;
            s = sequence(quick);
            NCT_ASSERT_OK(nct_batcher_add(group, &s, &quick->number, fault));
            n_quick++;
        }
        int before = quick->n;
        NCT_ASSERT_OK(nct_batcher_step(group, NULL, fault));
        assert_true(quick->n > before); /* every step answers */
    }
    assert_true(longest->ended && n_quick > 1 && n_steps > N_CHOSEN);
    nct_batcher_close(group);
    nct_engine_close(engine);
}

static void test_batcher__a_slice_is_small_until_steps_were_measured(void **state) {
    (void)state;
    nct_engine *engine = open_tiny();
    struct one all[N_SEQUENCES];
    nct_batcher *group = open_group(engine, &(nct_batcher_options){.n_sequences = 2}, all);
    struct one *longest = &all[4], *quick = &all[1];
    quick->n_wanted = 5;
    nct_sequence s = sequence(quick);
    NCT_ASSERT_OK(nct_batcher_add(group, &s, &quick->number, fault));
    NCT_ASSERT_OK(nct_batcher_step(group, NULL, fault));
    assert_int_equal(quick->n, 1);
    longest->n_wanted = 1;
    s = sequence(longest);
    NCT_ASSERT_OK(nct_batcher_add(group, &s, &longest->number, fault));
    static const int most[] = {0, 16, 16 + 32,
                               16 + 32 + 64}; /* the first step beside an answer carries none */
    for (int i = 0; i < 4; i++) {
        nct_sequence_state now;
        NCT_ASSERT_OK(nct_batcher_step(group, NULL, fault));
        nct_batcher_look(group, longest->number, &now);
        assert_int_equal(quick->n, i + 2);
        assert_in_range(now.n_read, i > 0 ? i : 0, most[i]);
    }
    assert_true(quick->ended);
    NCT_ASSERT_OK(nct_batcher_step(group, NULL, fault)); /* alone it takes all that a step holds */
    assert_true(longest->ended);
    nct_batcher_close(group);
    nct_engine_close(engine);
}

/* What was given to an answer, and where. */
struct given {
    struct one *one;
    const int32_t *ids;
    size_t n;
    int after; /* so many tokens */
    int n_seen;
};

static bool take_given(void *context, int32_t id) { return take(((struct given *)context)->one, id); }
static void ended_given(void *context, const nct_error *err) { ended(((struct given *)context)->one, err); }
static void seen_given(void *context, const float *logits, int32_t id) {
    struct given *g = context;
    assert_true(g->n_seen == g->one->n && isfinite(logits[id]));
    g->n_seen++;
}
static bool follow_given(void *context, const int32_t **ids, size_t *n) {
    struct given *g = context;
    *ids = g->ids;
    *n = g->one->n == g->after ? g->n : 0;
    return true;
}

static void test_batcher__goes_on_behind_tokens_that_are_given(void **state) {
    (void)state;
    enum { N_GIVEN = 40, AFTER = 3 };
    nct_engine *engine = open_tiny();
    nct_batcher *group = NULL;
    nct_model_info info;
    nct_session *session = NULL;
    struct one all[N_SEQUENCES];
    int32_t ids[N_GIVEN];
    nct_engine_info(engine, &info);
    make(all, (size_t)info.n_vocab, N_PROMPT);
    for (size_t i = 0; i < N_GIVEN; i++)
        ids[i] = (int32_t)(nct_rng_mix(77 + i) % (uint64_t)info.n_vocab);
    /* slices of 8 rows hold less than is given */
    NCT_ASSERT_OK(nct_batcher_open(
        engine, &(nct_batcher_options){.n_sequences = 3, .slice = 8, .session.chunk = 8}, &group, fault));
    struct given given[3];
    for (size_t i = 0; i < 3; i++) {
        struct one *o = &all[i + 4];
        o->n_wanted = N_CHOSEN;
        given[i] = (struct given){.one = o, .ids = ids, .n = i * 20, .after = AFTER};
        NCT_ASSERT_OK(nct_session_open(engine, NULL, &session, fault));
        NCT_ASSERT_OK(nct_session_feed(session, o->ids, o->n_ids, NULL, fault));
        for (int k = 0; k < o->n_wanted; k++) {
            NCT_ASSERT_OK(
                nct_session_sample(session, &o->sampling, (int)o->n_ids, o->sample, &o->alone[k], fault));
            NCT_ASSERT_OK(nct_session_feed(session, &o->alone[k], 1, NULL, fault));
            if (k + 1 == AFTER && given[i].n)
                NCT_ASSERT_OK(nct_session_feed(session, ids, given[i].n, NULL, fault));
        }
        nct_session_close(session);
        nct_sequence s = sequence(o);
        s.take = take_given, s.ended = ended_given, s.seen = seen_given, s.follow = follow_given,
        s.context = &given[i];
        NCT_ASSERT_OK(nct_batcher_add(group, &s, &o->number, fault));
    }
    while (nct_batcher_size(group))
        NCT_ASSERT_OK(nct_batcher_step(group, NULL, fault));
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(given[i].n_seen, N_CHOSEN);
        assert_int_equal(given[i].one->error.status, NCT_OK);
        assert_memory_equal(given[i].one->token, given[i].one->alone, sizeof given[i].one->token);
    }
    nct_batcher_close(group);
    nct_engine_close(engine);
}

static void test_batcher__stops_without_a_trace(void **state) {
    (void)state;
    nct_engine *engine = open_tiny();
    nct_batcher *group = NULL;
    nct_model_info info;
    struct one all[N_SEQUENCES];
    static const size_t order[N_SEQUENCES] = {0, 1, 2, 3, 4, 5, 6, 7, 8};
    nct_engine_info(engine, &info);
    make(all, (size_t)info.n_vocab, N_PROMPT);
    for (size_t i = 0; i < N_SEQUENCES; i++)
        answer_alone(engine, &all[i]);
    NCT_ASSERT_OK(nct_batcher_open(engine, &(nct_batcher_options){.n_sequences = 8}, &group, fault));
    nct_sequence s = sequence(&all[4]);
    NCT_ASSERT_OK(nct_batcher_add(group, &s, &all[4].number, fault));
    int stop = 1;
    assert_int_equal(nct_batcher_step(group, &stop, NULL), NCT_E_STOPPED);
    nct_sequence_state state_now;
    nct_batcher_look(group, all[4].number, &state_now);
    assert_int_equal(state_now.n_read, 0);
    NCT_ASSERT_OK(nct_batcher_step(group, NULL, fault));
    assert_int_equal(nct_batcher_step(group, &stop, NULL), NCT_E_STOPPED);
    nct_batcher_drop(group, all[4].number);
    assert_int_equal(nct_batcher_size(group), 0);
    answer_together(group, all, order);
    nct_batcher_close(group);
    nct_engine_close(engine);
}

static void test_batcher__refuses_what_cannot_be_and_ends_what_is_full(void **state) {
    (void)state;
    nct_engine *engine = open_tiny();
    nct_batcher *group = NULL;
    nct_error err;
    static const int32_t ids[12] = {1, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    struct one o = {0};
    nct_sequence s = {.ids = ids,
                      .n_ids = 12,
                      .sampling = {.top_p = 1, .repeat_penalty = 1},
                      .take = take_for_ever,
                      .ended = ended,
                      .context = &o};
    assert_int_equal(nct_batcher_open(engine, &(nct_batcher_options){.n_sequences = 0}, &group, NULL),
                     NCT_E_ARGUMENT);
    assert_int_equal(
        nct_batcher_open(engine, &(nct_batcher_options){.n_sequences = NCT_BATCHER_MAX + 1}, &group, NULL),
        NCT_E_ARGUMENT);
    NCT_ASSERT_OK(nct_batcher_open(engine, &(nct_batcher_options){.n_sequences = 1, .session.n_ctx = 10},
                                   &group, fault));
    assert_int_equal(nct_batcher_limit(group, 0), 10);
    int number;
    assert_int_equal(nct_batcher_add(group, &s, &number, &err), NCT_E_CONTEXT);
    assert_string_equal(err.text, "12 tokens do not fit a context of 10");
    s.n_ids = 0;
    assert_int_equal(nct_batcher_add(group, &s, &number, NULL), NCT_E_ARGUMENT);
    s.n_ids = 8;
    int32_t wrong[8] = {1, 2, 3, -1, 4, 5, 6, 7};
    s.ids = wrong;
    assert_int_equal(nct_batcher_add(group, &s, &number, NULL), NCT_E_ARGUMENT);
    s.ids = ids;
    NCT_ASSERT_OK(nct_batcher_step(group, NULL, fault)); /* empty */
    NCT_ASSERT_OK(nct_batcher_add(group, &s, &number, fault));
    assert_int_equal(nct_batcher_add(group, &s, &number, NULL), NCT_E_ARGUMENT); /* no room */
    for (int i = 0; i < 5 && !o.ended; i++)
        NCT_ASSERT_OK(nct_batcher_step(group, NULL, fault));
    assert_true(o.ended);
    assert_int_equal(o.n, 3); /* after 8, 9 and 10 tokens */
    assert_int_equal(o.error.status, NCT_E_CONTEXT);
    assert_int_equal(nct_batcher_room(group), 1);
    nct_batcher_close(group);
    nct_batcher_close(NULL);
    nct_engine_close(engine);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_batcher__gives_each_sequence_the_tokens_that_it_gets_alone),
        cmocka_unit_test(test_batcher__reads_a_common_beginning_once),
        cmocka_unit_test(test_batcher__a_long_prompt_holds_nobody_and_comes_to_its_end),
        cmocka_unit_test(test_batcher__a_slice_is_small_until_steps_were_measured),
        cmocka_unit_test(test_batcher__goes_on_behind_tokens_that_are_given),
        cmocka_unit_test(test_batcher__stops_without_a_trace),
        cmocka_unit_test(test_batcher__refuses_what_cannot_be_and_ends_what_is_full),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
