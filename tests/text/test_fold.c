/* Folding as golden/make_bytelevel.py does it, and with a tokenizer of the other kind. */
#include "text/fixture.h"

#include "text/fold.h"

static void assert_folds(const nct_vocab *v, const char *text, size_t n, const char *expected) {
    nct_bytes out = {0};
    NCT_ASSERT_OK(nct_bytes_add_str(&out, "kept|", fault));
    NCT_ASSERT_OK(nct_fold_add(v, text, n, &out, fault));
    assert_memory_equal(out.data, "kept|", 5);
    assert_string_equal(out.data + 5, expected);
    nct_bytes_reset(&out);
}

static void test_fold__what_python_makes_of_it(void **state) {
    (void)state;
    nct_vocab *v = NULL;
    NCT_ASSERT_OK(nct_vocab_open_directory(NCT_TESTS_DIR "/golden/bytelevel", &v, fault));
    nct_json *golden = fixture_open_vectors(NCT_TESTS_DIR "/golden/bytelevel/vectors.json");
    size_t n_cases = 0;
    for (const nct_json *item = nct_json_first(nct_json_get(golden, "fold")); item; item = nct_json_next(item)) {
        nct_bytes text = fixture_text(nct_json_get(item, "text"));
        nct_bytes folded = fixture_text(nct_json_get(item, "folded"));
        if (!memchr(text.data, 0, text.n)) /* documents have none */
            assert_folds(v, text.data, text.n, folded.data);
        nct_bytes_reset(&text);
        nct_bytes_reset(&folded);
        n_cases++;
    }
    assert_true(n_cases > 150);
    assert_folds(v, "\xff\x61", 2, "\xef\xbf\xbd \xef\xbf\xbd \xef\xbf\xbd a"); /* a replacement's bytes are three pieces */
    nct_json_close(golden);
    nct_vocab_close(v);
}

static void test_fold__sentencepiece_tokens_lose_their_space(void **state) {
    (void)state;
    nct_vocab *v = fixture_vocab();
    assert_folds(v, "The THING", 9, "the th ing");
    assert_folds(v, "a\n\n\n\nb", 6, "a \\n \\n b");
    assert_folds(v, "", 0, "");
    nct_vocab_close(v);
}

static void test_fold__a_refused_allocation_is_a_status(void **state) {
    (void)state;
    nct_vocab *v = fixture_vocab();
    for (long k = 0;; k++) {
        nct_bytes out = {0};
        nct_error err;
        atomic_store(&nct_mem_fail_in, k);
        nct_status status = nct_fold_add(v, "The W\xc3\xb3rld\n\n\nhello", 19, &out, &err);
        atomic_store(&nct_mem_fail_in, -1);
        nct_bytes_reset(&out);
        if (status == NCT_OK) {
            assert_true(k > 10);
            break;
        }
        assert_int_equal(status, NCT_E_MEMORY);
    }
    nct_vocab_close(v);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fold__what_python_makes_of_it),
        cmocka_unit_test(test_fold__sentencepiece_tokens_lose_their_space),
        cmocka_unit_test(test_fold__a_refused_allocation_is_a_status),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
