/* The reference's random checkpoints: logits at every position, from one prompt and step by step, in the mode
 * that is compared with other implementations. The reference computes in float64 (make_oracle.py wrote
 * what it gave); its own spread between float64 and float32 is 2e-5 (shared oracle/README.md). */
#include "support/model.h"
#include "support/support.h"

static const double BOUND = 1e-3; /* of a logit */
static const float CLEAR = 2e-3f; /* a lead in which the choice must not differ */

typedef struct sequence {
    int32_t *ids;
    size_t n, prefill;
    nct_json *expected;
} sequence;

static sequence read_sequence(const char *name) {
    sequence s = {0};
    NCT_ASSERT_OK(
        nct_json_open(nct_test_path("%s/oracle/expected/%s.json", NCT_SHARED_DIR, name), &s.expected, fault));
    s.ids = nct_test_ids(nct_json_get(s.expected, "ids"), &s.n);
    s.prefill = (size_t)nct_json_int(nct_json_get(s.expected, "prefill"), 0);
    assert_true(s.prefill > 0 && s.prefill < s.n);
    return s;
}

static void close_sequence(sequence *s) {
    nct_free(s->ids);
    nct_json_close(s->expected);
}

static void check_rows(const char *name, const char *how, size_t first, const float *rows,
                       const float *reference, size_t n, size_t n_vocab) {
    for (size_t i = 0; i < n; i++) {
        const float *got = rows + i * n_vocab, *want = reference + (first + i) * n_vocab;
        nct_test_near(nct_test_path("%s, %s, position %zu", name, how, first + i), got, want, n_vocab, BOUND);
        if (nct_test_lead(want, n_vocab) > CLEAR)
            assert_int_equal(nct_test_argmax(got, n_vocab), nct_test_argmax(want, n_vocab));
    }
}

static void check_logits(const char *checkpoint, const char *name) {
    nct_test_need(nct_test_path("%s/made", NCT_ORACLE_CKPT));
    sequence s = read_sequence(name);
    nct_test_model model;
    nct_test_model_open(&model, nct_test_path("%s/%s", NCT_ORACLE_CKPT, checkpoint),
                        (nct_test_how){.exact = true, .dense = true});
    size_t n_values;
    float *reference = nct_test_read_f32(nct_test_path("%s/%s.f32", NCT_ORACLE_CKPT, name), &n_values);
    assert_int_equal(n_values, s.n * model.n_vocab);

    float *rows = nct_test_feed(&model, s.ids, s.n, 0);
    check_rows(checkpoint, "one prompt", 0, rows, reference, s.n, model.n_vocab);
    nct_free(rows);

    nct_test_model_restart(&model, 0);
    rows = nct_test_feed(&model, s.ids, s.prefill, 0);
    check_rows(checkpoint, "prompt", 0, rows, reference, s.prefill, model.n_vocab);
    nct_free(rows);
    rows = nct_test_step(&model, s.ids + s.prefill, s.n - s.prefill);
    check_rows(checkpoint, "steps", s.prefill, rows, reference, s.n - s.prefill, model.n_vocab);
    nct_free(rows);
    nct_free(reference);
    nct_test_model_close(&model);
    close_sequence(&s);
}

/* Against the numbers published with the reference, not against what it printed here: the five largest
 * logits of every position, and all of the last one. */
static void check_published(const char *checkpoint, const char *name) {
    nct_test_need(nct_test_path("%s/made", NCT_ORACLE_CKPT));
    sequence s = read_sequence(name);
    nct_test_model model;
    nct_test_model_open(&model, nct_test_path("%s/%s", NCT_ORACLE_CKPT, checkpoint),
                        (nct_test_how){.exact = true, .dense = true});
    float *rows = nct_test_feed(&model, s.ids, s.n, 0);
    const nct_json *row = nct_json_get(s.expected, "row");
    size_t position = 0;
    for (const nct_json *top = nct_json_first(nct_json_get(row, "top5")); top;
         top = nct_json_next(top), position++)
        for (const nct_json *pair = nct_json_first(top); pair; pair = nct_json_next(pair)) {
            size_t id = (size_t)nct_json_int(nct_json_first(pair), -1);
            float want = (float)nct_json_number(nct_json_next(nct_json_first(pair)), 0);
            assert_true(id < model.n_vocab);
            nct_test_near(nct_test_path("%s, position %zu, id %zu", name, position, id),
                          rows + position * model.n_vocab + id, &want, 1, BOUND);
        }
    assert_int_equal(position, s.n);
    size_t n_last;
    double *last = nct_test_numbers(nct_json_get(row, "last_logits"), &n_last);
    assert_int_equal(n_last, model.n_vocab);
    for (size_t i = 0; i < n_last; i++) {
        float want = (float)last[i];
        nct_test_near(nct_test_path("%s, last position, id %zu", name, i), rows + (s.n - 1) * n_last + i,
                      &want, 1, BOUND);
    }
    nct_free(last);
    nct_free(rows);
    nct_test_model_close(&model);
    close_sequence(&s);
}

static void test_oracle__tiny_matches_at_every_position(void **state) {
    (void)state;
    check_logits("tiny", "tiny.48");
    check_published("tiny", "tiny.48");
}
static void test_oracle__gptq_matches_at_every_position(void **state) {
    (void)state;
    check_logits("tiny-int4", "tiny-int4.48");
    check_published("tiny-int4", "tiny-int4.48");
}
static void test_oracle__marlin_matches_at_every_position(void **state) {
    (void)state;
    check_logits("tiny-int4.marlin", "tiny-int4.48");
    check_published("tiny-int4.marlin", "tiny-int4.48");
}
static void test_oracle__sparse_checkpoint_in_dense_mode_matches(void **state) {
    (void)state;
    check_logits("tiny-sparse", "tiny-sparse.700");
}
static void test_oracle__switch_checkpoint_in_dense_mode_matches(void **state) {
    (void)state;
    check_logits("tiny-switch", "tiny-switch.760");
}

/* ------------------------------------------------------------------ the same weights in other files */

/* Another order of the same sums: the reference's own spread between float32 and float64 on these. */
static const double ORDER = 2e-5;

static float *rows_of(const char *checkpoint, const sequence *s, bool exact, size_t *n_values) {
    nct_test_model model;
    nct_test_model_open(&model, nct_test_path("%s/%s", NCT_ORACLE_CKPT, checkpoint),
                        (nct_test_how){.exact = exact, .dense = true});
    float *rows = nct_test_feed(&model, s->ids, s->n, 0);
    *n_values = s->n * model.n_vocab;
    nct_test_model_close(&model);
    return rows;
}

typedef struct variant {
    const char *checkpoint;
    bool same_bits; /* as the source, in exact mode; else within ORDER */
} variant;

static void check_variants(const char *source, const char *name, const variant *variants, size_t n) {
    nct_test_need(nct_test_path("%s/made", NCT_ORACLE_CKPT));
    sequence s = read_sequence(name);
    size_t n_values, n_again, n_reference;
    float *want = rows_of(source, &s, true, &n_values);
    float *reference = nct_test_read_f32(nct_test_path("%s/%s.f32", NCT_ORACLE_CKPT, name), &n_reference);
    assert_int_equal(n_reference, n_values);
    for (size_t i = 0; i < n; i++) {
        float *rows = rows_of(variants[i].checkpoint, &s, true, &n_again);
        assert_int_equal(n_again, n_values);
        check_rows(variants[i].checkpoint, "one prompt", 0, rows, reference, s.n, n_values / s.n);
        if (variants[i].same_bits)
            nct_test_same_bits(variants[i].checkpoint, rows, want, n_values);
        else
            nct_test_near(variants[i].checkpoint, rows, want, n_values, ORDER);
        nct_free(rows);
    }
    nct_free(want);
    nct_free(reference);
    close_sequence(&s);
}

static void test_oracle__float_variants_match_their_source(void **state) {
    (void)state;
    static const variant variants[] = {
        {"tiny.sharded", true}, {"tiny.f32", true}, {"tiny.bf16.gguf", true}, {"tiny.f32.gguf", true}};
    check_variants("tiny", "tiny.48", variants, sizeof variants / sizeof *variants);
}

static void test_oracle__int4_variants_match_their_source(void **state) {
    (void)state;
    static const variant variants[] = {{"tiny-int4.sharded", true},   {"tiny-int4.v2", true},
                                       {"tiny-int4.marlin", true},    {"tiny-int4.marlin2", true},
                                       {"tiny-int4.act", false},      {"tiny-int4.awq", false},
                                       {"tiny-int4.f32.gguf", false}, {"tiny-int4.q4_0.gguf", false}};
    check_variants("tiny-int4", "tiny-int4.48", variants, sizeof variants / sizeof *variants);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_oracle__tiny_matches_at_every_position),
        cmocka_unit_test(test_oracle__gptq_matches_at_every_position),
        cmocka_unit_test(test_oracle__marlin_matches_at_every_position),
        cmocka_unit_test(test_oracle__sparse_checkpoint_in_dense_mode_matches),
        cmocka_unit_test(test_oracle__switch_checkpoint_in_dense_mode_matches),
        cmocka_unit_test(test_oracle__float_variants_match_their_source),
        cmocka_unit_test(test_oracle__int4_variants_match_their_source),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
