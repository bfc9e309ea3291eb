/* AWQ: forward packing by the formulas gives back every weight. */
#include "int4_case.h"

static nct_stored make(size_t group, bool symmetric) {
    size_t G = (INT4_K + group - 1) / group;
    int4_fill(group + 5);
    if (symmetric)
        memset(in.zero, 8, sizeof in.zero);
    for (size_t i = 0; i < G * INT4_N; i++)
        int4_put_scale(i, NCT_TYPE_F16, nct_f16_to_f32(in.scale[i]));
    nct_test_awq_codes(in.code, INT4_N, INT4_K, in.words);
    nct_test_awq_zeros(in.zero, G, INT4_N, in.zeros);
    return int4_stored(&nct_codec_awq, group, NCT_TYPE_F16);
}

static void test_awq__every_weight_comes_back(void **state) {
    (void)state;
    static const size_t groups[] = {32, 64, 128, 256};
    for (size_t i = 0; i < sizeof groups / sizeof *groups; i++)
        for (int symmetric = 0; symmetric < 2; symmetric++) {
            nct_stored s = make(groups[i], symmetric);
            NCT_ASSERT_OK(nct_int4_settle(&s, false, fault));
            int4_check(&s, NULL, symmetric);
        }
}

static void test_awq__zero_points_are_stored_as_they_are(void **state) {
    (void)state;
    nct_stored s = make(64, false);
    memset(in.zeros, 0xff, sizeof in.zeros);
    memset(in.zero, 15, sizeof in.zero);
    NCT_ASSERT_OK(nct_int4_settle(&s, false, fault));
    int4_check(&s, NULL, false);
}

static void test_awq__slices_are_rows_of_the_stored_matrix(void **state) {
    (void)state;
    nct_stored s = make(64, false);
    NCT_ASSERT_OK(nct_int4_settle(&s, false, fault));
    s.first_row = 67;
    s.n_rows = 100;
    int4_check(&s, NULL, false);
}

static void test_awq__shapes_that_do_not_fit_are_refused(void **state) {
    (void)state;
    nct_stored s = make(64, false);
    nct_unpacked u;
    nct_error err = {0};
    s.part[NCT_PART_QZEROS].n_bytes -= 4;
    assert_int_equal(s.codec->describe(&s, &u, &err), NCT_E_FORMAT);
    assert_non_null(strstr(err.text, "bytes of zero points"));
    s = make(64, false);
    s.n_rows = s.n_rows_file = INT4_N - 4;
    assert_int_equal(s.codec->describe(&s, &u, &err), NCT_E_FORMAT);
    assert_non_null(strstr(err.text, "no shape for awq"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_awq__every_weight_comes_back),
        cmocka_unit_test(test_awq__zero_points_are_stored_as_they_are),
        cmocka_unit_test(test_awq__slices_are_rows_of_the_stored_matrix),
        cmocka_unit_test(test_awq__shapes_that_do_not_fit_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
