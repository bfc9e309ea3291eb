/* A model against the logits that were kept of it, which a stranger may have changed. */
#include "engine/drift.h"

#include <math.h>

#include "format/nct.h"
#include "support/support.h"

enum { N_VOCAB_MOST = 4096 };

typedef struct setting {
    nct_engine *engine;
    nct_reference reference;
    float logits[N_VOCAB_MOST];
} setting;

/* The reference is what the engine itself computes. */
static void open_setting(setting *s) {
    nct_model_info info;
    nct_session *session = NULL;
    nct_engine_options options = {.n_threads = 1};
    NCT_ASSERT_OK(nct_engine_open(NCT_TINY_DIR "/coded", &options, &s->engine, fault));
    nct_engine_info(s->engine, &info);
    assert_in_range(info.n_vocab, 2, N_VOCAB_MOST);
    s->reference = (nct_reference){.isa = "ref",
                                   .n_ids = 5,
                                   .n_vocab = (size_t)info.n_vocab,
                                   .id = {1, 2, 3, 4, 5},
                                   .logits = s->logits};
    NCT_ASSERT_OK(nct_session_open(s->engine, NULL, &session, fault));
    NCT_ASSERT_OK(nct_session_feed(session, s->reference.id, 5, NULL, fault));
    memcpy(s->logits, nct_session_logits(session), s->reference.n_vocab * sizeof *s->logits);
    nct_session_close(session);
}

static void test_drift__a_model_is_its_own_reference(void **state) {
    (void)state;
    static setting s;
    nct_drift d;
    open_setting(&s);
    NCT_ASSERT_OK(nct_drift_measure(s.engine, &s.reference, &d, fault));
    assert_true(d.same && d.same_first);
    assert_true(d.divergence == 0 && d.largest == 0);
    assert_int_equal(d.n_ids, 5);
    assert_string_equal(d.isa, "ref");
    nct_engine_close(s.engine);
}

static void test_drift__tells_how_far_and_whether_the_first_changed(void **state) {
    (void)state;
    static setting s;
    nct_drift d;
    open_setting(&s);
    size_t first = 0;
    for (size_t i = 1; i < s.reference.n_vocab; i++)
        first = s.logits[i] > s.logits[first] ? i : first;
    float was = s.logits[first];
    s.logits[first] += 0.5f;
    NCT_ASSERT_OK(nct_drift_measure(s.engine, &s.reference, &d, fault));
    assert_true(!d.same && d.same_first);
    assert_true(fabs(d.largest - 0.5) < 1e-5);
    assert_true(d.divergence > 0);
    s.logits[first] = was - 1e4f;
    NCT_ASSERT_OK(nct_drift_measure(s.engine, &s.reference, &d, fault));
    assert_true(!d.same_first);
    nct_engine_close(s.engine);
}

static void test_drift__the_divergence_is_that_of_the_formula(void **state) {
    (void)state;
    const float want[] = {0, logf(3)}, got[] = {7, 7}; /* 1/4, 3/4 against halves */
    nct_drift d = {0};
    assert_true(nct_drift_compare(want, got, 2, &d));
    double expected = 0.25 * log(0.5) + 0.75 * log(1.5);
    assert_true(fabs(d.divergence - expected) < 1e-6);
    assert_false(d.same_first); /* among equals the first id counts */
    assert_true(fabs(d.largest - 7) < 1e-6);
}

static void test_drift__damaged_references_are_refused(void **state) {
    (void)state;
    static setting s;
    nct_drift d = {.divergence = -1};
    nct_error err;
    open_setting(&s);
    nct_reference r = s.reference;
    r.n_vocab--;
    assert_int_equal(nct_drift_measure(s.engine, &r, &d, &err), NCT_E_FORMAT);
    r = s.reference;
    r.n_ids = 0;
    assert_int_equal(nct_drift_measure(s.engine, &r, &d, &err), NCT_E_FORMAT);
    r = s.reference;
    r.id[3] = -1;
    assert_int_equal(nct_drift_measure(s.engine, &r, &d, &err), NCT_E_FORMAT);
    r.id[3] = (int32_t)r.n_vocab;
    assert_int_equal(nct_drift_measure(s.engine, &r, &d, &err), NCT_E_FORMAT);
    assert_non_null(strstr(err.text, "outside the vocabulary"));
    const float bad[] = {NAN, INFINITY, -INFINITY};
    for (size_t i = 0; i < 3; i++) {
        s.logits[1] = bad[i];
        assert_int_equal(nct_drift_measure(s.engine, &s.reference, &d, &err), NCT_E_FORMAT);
    }
    assert_true(d.divergence == -1); /* results are written only on success */
    nct_engine_close(s.engine);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_drift__a_model_is_its_own_reference),
        cmocka_unit_test(test_drift__tells_how_far_and_whether_the_first_changed),
        cmocka_unit_test(test_drift__the_divergence_is_that_of_the_formula),
        cmocka_unit_test(test_drift__damaged_references_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
