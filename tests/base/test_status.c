#include "base/status.h"
#include "support/support.h"

static void test_status__fail_fills_the_error_and_returns_the_status(void **state) {
    (void)state;
    nct_error err = {0};
    assert_int_equal(nct_fail(&err, NCT_E_FORMAT, "%s: '%s' ends at %d of %d", "a.gguf", "x", 9, 7),
                     NCT_E_FORMAT);
    assert_int_equal(err.status, NCT_E_FORMAT);
    assert_string_equal(err.text, "a.gguf: 'x' ends at 9 of 7");
}

static void test_status__fail_without_an_error_returns_the_status(void **state) {
    (void)state;
    assert_int_equal(nct_fail(NULL, NCT_E_IO, "nobody reads this: %d", 1), NCT_E_IO);
}

static void test_status__a_long_sentence_is_cut_and_ended(void **state) {
    (void)state;
    char name[2000];
    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = 0;
    nct_error err;
    memset(&err, 'x', sizeof err);
    nct_fail(&err, NCT_E_IO, "%s", name);
    assert_int_equal(strlen(err.text), sizeof err.text - 1);
}

static nct_status inner(nct_status status, nct_error *err) {
    return status == NCT_OK ? NCT_OK : nct_fail(err, status, "inner");
}
static nct_status outer(nct_status status, bool *reached, nct_error *err) {
    NCT_TRY(inner(status, err));
    *reached = true;
    return NCT_OK;
}

static void test_status__try_forwards_a_failure_and_only_that(void **state) {
    (void)state;
    nct_error err = {0};
    bool reached = false;
    assert_int_equal(outer(NCT_E_CONTEXT, &reached, &err), NCT_E_CONTEXT);
    assert_false(reached);
    assert_string_equal(err.text, "inner");
    assert_int_equal(outer(NCT_OK, &reached, &err), NCT_OK);
    assert_true(reached);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_status__fail_fills_the_error_and_returns_the_status),
        cmocka_unit_test(test_status__fail_without_an_error_returns_the_status),
        cmocka_unit_test(test_status__a_long_sentence_is_cut_and_ended),
        cmocka_unit_test(test_status__try_forwards_a_failure_and_only_that),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
