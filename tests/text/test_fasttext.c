/* fastText classifiers: the scores of fastText itself, and files that are not believed. */
#include "format/refused.h"
#include "support/support.h"
#include "text/fasttext.h"

static const char *const models[] = {"softmax.bin", "subwords.bin", "tree.bin",
                                     "all.bin",     "negative.bin", "quantised.ftz"};
enum { N_MODELS = sizeof models / sizeof *models };

static const char *model_path(const char *file) {
    return nct_test_path("%s/golden/fasttext/%s", NCT_TESTS_DIR, file);
}

/* What fastText printed (made by golden/make_fasttext.py), six digits of it. */
static void check_scores(const nct_fasttext *m, const nct_json *documents, const nct_json *wanted) {
    nct_fasttext_scratch scratch = {0};
    size_t n = 0, n_untold = 0;
    const nct_json *scores = nct_json_first(wanted);
    for (const nct_json *d = nct_json_first(documents); d;
         d = nct_json_next(d), scores = nct_json_next(scores)) {
        const char *text = nct_json_string(d, NULL);
        for (size_t i = 0; i < nct_fasttext_n_labels(m); i++) {
            float score = -1;
            NCT_ASSERT_OK(nct_fasttext_score(m, i, text, strlen(text), &scratch, &score, fault));
            double said = nct_json_number(nct_json_get(scores, nct_fasttext_label(m, i)), -1);
            if (said < 0) { /* of a tree, what is less likely than 1e-5 is not told */
                assert_true(score < 1.00001e-5f);
                n_untold++;
            } else if (!(score >= said * (1 - 2e-5) && score <= said * (1 + 2e-5)))
                fail_msg("'%s' is %s by %.8g, fastText said %.8g", text, nct_fasttext_label(m, i),
                         (double)score, said);
            n++;
        }
    }
    assert_true(n_untold < n / 10);
    assert_int_equal(n, 3 * nct_json_size(documents));
    nct_fasttext_scratch_reset(&scratch);
}

static void test_fasttext__scores_are_those_of_fasttext(void **state) {
    (void)state;
    nct_json *golden = NULL;
    NCT_ASSERT_OK(nct_json_open(model_path("scores.json"), &golden, fault));
    for (size_t i = 0; i < N_MODELS; i++) {
        nct_fasttext *m = NULL;
        NCT_ASSERT_OK(nct_fasttext_open(model_path(models[i]), &m, fault));
        check_scores(m, nct_json_get(golden, "documents"),
                     nct_json_get(nct_json_get(golden, "models"), models[i]));
        nct_fasttext_close(m);
    }
    nct_json_close(golden);
}

static float score_of(const nct_fasttext *m, const char *text, size_t n) {
    nct_fasttext_scratch scratch = {0};
    float score = -1;
    NCT_ASSERT_OK(nct_fasttext_score(m, 0, text, n, &scratch, &score, fault));
    nct_fasttext_scratch_reset(&scratch);
    return score;
}

static void test_fasttext__a_text_is_one_line(void **state) {
    (void)state;
    nct_fasttext *m = NULL;
    NCT_ASSERT_OK(nct_fasttext_open(model_path("subwords.bin"), &m, fault));
    float score = score_of(m, "kilo tu", 7);
    assert_true(score == score_of(m, "kilo\ntu", 7));
    assert_true(score == score_of(m, "\n kilo\0tu \n", 11));
    assert_true(score == score_of(m, "kilo tu </s>", 12));
    assert_true(score == score_of(m, "kilo tu </s> wa", 15)); /* where fastText ends a line */
    assert_true(score == score_of(m, "kilo __label__good tu __label__else", 35));
    assert_true(score != score_of(m, "kilotu", 6));
    nct_fasttext_close(m);
}

static void test_fasttext__labels_go_by_either_name(void **state) {
    (void)state;
    nct_fasttext *m = NULL;
    NCT_ASSERT_OK(nct_fasttext_open(model_path("softmax.bin"), &m, fault));
    assert_int_equal(nct_fasttext_n_labels(m), 3);
    int32_t bad = nct_fasttext_find(m, "bad");
    assert_in_range(bad, 0, 2);
    assert_int_equal(nct_fasttext_find(m, "__label__bad"), bad);
    assert_string_equal(nct_fasttext_label(m, (size_t)bad), "__label__bad");
    assert_int_equal(nct_fasttext_find(m, "__label__"), -1);
    assert_int_equal(nct_fasttext_find(m, ""), -1);
    nct_fasttext_close(m);
}

/* ------------------------------------------------------------------ files */

static void check_refused(const char *data, size_t n, nct_status status, const char *words) {
    nct_fasttext *m = NULL;
    nct_error err = {0};
    nct_status got = nct_fasttext_read("model", data, n, &m, &err);
    check_sentence(&err, got, status, words);
    assert_null(m);
}

static void check_changed(const char *file, size_t at, uint32_t value, nct_status status, const char *words) {
    size_t n;
    char *data = nct_test_read(model_path(file), &n);
    for (int i = 0; i < 4; i++)
        data[at + (size_t)i] = (char)(value >> 8 * i);
    check_refused(data, n, status, words);
    nct_free(data);
}

static void test_fasttext__torn_files_are_refused(void **state) {
    (void)state;
    for (size_t i = 0; i < N_MODELS; i++) {
        size_t n;
        char *data = nct_test_read(model_path(models[i]), &n);
        check_refused(data, 3, NCT_E_FORMAT, "is no fastText model");
        for (size_t cut = 4; cut < n; cut += 1 + cut / 50)
            check_refused(data, cut, NCT_E_FORMAT, "damaged fastText model");
        check_refused(data, n - 1, NCT_E_FORMAT, "damaged fastText model");
        check_refused(data, n + 1, NCT_E_FORMAT, "bytes follow its end"); /* the NUL behind it */
        nct_free(data);
    }
}

static void test_fasttext__settings_that_lie_are_refused(void **state) {
    (void)state;
    enum { MAGIC = 0, VERSION = 4, DIM = 8, N_GRAM = 28, LOSS = 32, MODEL = 36, BUCKET = 40, LONGEST = 48 };
    enum { SIZE = 64, N_WORDS = 68, N_LABELS = 72, KEPT = 84 };
    const char *file = "softmax.bin";
    check_changed(file, MAGIC, 1, NCT_E_FORMAT, "is no fastText model");
    check_changed(file, VERSION, 13, NCT_E_UNSUPPORTED, "fastText format 13");
    check_changed(file, MODEL, 2, NCT_E_UNSUPPORTED, "vectors and no classifier");
    check_changed(file, LOSS, 5, NCT_E_UNSUPPORTED, "loss 5");
    check_changed(file, DIM, 0, NCT_E_FORMAT, "settings are out of range");
    check_changed(file, DIM, 0xffffffff, NCT_E_FORMAT, "settings are out of range");
    check_changed(file, DIM, 6, NCT_E_FORMAT, "other shapes");
    check_changed(file, N_GRAM, 1u << 30, NCT_E_FORMAT, "settings are out of range");
    check_changed(file, LONGEST, 1u << 30, NCT_E_FORMAT, "settings are out of range");
    check_changed(file, BUCKET, 0, NCT_E_FORMAT, "n-grams without buckets");
    check_changed(file, BUCKET, 61, NCT_E_FORMAT, "too few rows");
    check_changed(file, BUCKET, 0x7fffffff, NCT_E_FORMAT, "too few rows");
    check_changed(file, SIZE, 0x7fffffff, NCT_E_FORMAT, "dictionary does not fit");
    check_changed(file, N_WORDS, 1, NCT_E_FORMAT, "dictionary does not fit");
    check_changed(file, N_LABELS, 0, NCT_E_FORMAT, "dictionary does not fit");
    check_changed(file, KEPT + 4, 0, NCT_E_FORMAT, "dictionary does not fit"); /* it was -1 */
}

static void test_fasttext__memory_may_be_refused_anywhere(void **state) {
    (void)state;
    for (size_t i = 0; i < N_MODELS; i++) {
        nct_status status = NCT_E_MEMORY;
        for (long k = 1; status == NCT_E_MEMORY; k++) {
            nct_fasttext *m = NULL;
            nct_fasttext_scratch scratch = {0};
            float score;
            assert_true(k < 1000);
            nct_mem_fail_in = k;
            status = nct_fasttext_open(model_path(models[i]), &m, NULL);
            if (status == NCT_OK)
                status = nct_fasttext_score(m, 0, "kilo tu", 7, &scratch, &score, NULL);
            nct_mem_fail_in = -1;
            nct_fasttext_scratch_reset(&scratch);
            nct_fasttext_close(m);
        }
        assert_int_equal(status, NCT_OK);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fasttext__scores_are_those_of_fasttext),
        cmocka_unit_test(test_fasttext__a_text_is_one_line),
        cmocka_unit_test(test_fasttext__labels_go_by_either_name),
        cmocka_unit_test(test_fasttext__torn_files_are_refused),
        cmocka_unit_test(test_fasttext__settings_that_lie_are_refused),
        cmocka_unit_test(test_fasttext__memory_may_be_refused_anywhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
