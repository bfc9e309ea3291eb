/* Marlin: packing by the formula that runs from words to codes gives back every weight. */
#include "int4_case.h"

static nct_stored make(size_t group) {
    size_t G = INT4_K / group;
    static uint16_t permuted[INT4_K / 16 * INT4_N];
    int4_fill(group + 3);
    nct_test_marlin_codes(in.code, INT4_N, INT4_K, in.words);
    nct_test_marlin_scales(in.scale, G, INT4_N, permuted);
    for (size_t i = 0; i < G * INT4_N; i++)
        int4_put_scale(i, NCT_TYPE_F16, nct_f16_to_f32(permuted[i]));
    nct_stored s = int4_stored(&nct_codec_marlin, group, NCT_TYPE_F16);
    s.part[NCT_PART_QZEROS] = (nct_part){0};
    s.symmetric = true;
    return s;
}

static void test_marlin__every_weight_comes_back(void **state) {
    (void)state;
    static const size_t groups[] = {32, 64, 128};
    for (size_t i = 0; i < sizeof groups / sizeof *groups; i++) {
        nct_stored s = make(groups[i]);
        int4_check(&s, NULL, true);
    }
}

static void test_marlin__a_single_group_has_its_own_order(void **state) {
    (void)state;
    nct_stored s = make(INT4_K);
    int4_check(&s, NULL, true);
}

static void test_marlin__fused_slices_are_unpermuted_before_they_are_cut(void **state) {
    (void)state;
    nct_stored s = make(64);
    s.first_row = 384; /* as k after q, not at a multiple of 64 rows of its own */
    s.n_rows = 72;
    int4_check(&s, NULL, true);
    s.first_row = 456;
    s.n_rows = 184;
    int4_check(&s, NULL, true);
}

static void test_marlin__what_the_format_has_no_room_for_is_refused(void **state) {
    (void)state;
    nct_unpacked u;
    nct_error err = {0};
    nct_stored s = make(64);
    s.symmetric = false;
    assert_int_equal(s.codec->describe(&s, &u, &err), NCT_E_UNSUPPORTED);
    s = make(64);
    s.n_rows_file = 600;
    assert_int_equal(s.codec->describe(&s, &u, &err), NCT_E_FORMAT);
    assert_non_null(strstr(err.text, "600 x 256 is no shape for marlin"));
    s = make(64);
    s.n_cols = 248;
    assert_int_equal(s.codec->describe(&s, &u, &err), NCT_E_FORMAT);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_marlin__every_weight_comes_back),
        cmocka_unit_test(test_marlin__a_single_group_has_its_own_order),
        cmocka_unit_test(test_marlin__fused_slices_are_unpermuted_before_they_are_cut),
        cmocka_unit_test(test_marlin__what_the_format_has_no_room_for_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
