/* GPTQ: forward packing by the formulas gives back every weight, whatever zero points, groups and order. */
#include "int4_case.h"

static void put_idx(size_t k, uint32_t g) {
    for (int b = 0; b < 4; b++)
        in.g_idx[4 * k + (size_t)b] = (uint8_t)(g >> 8 * b);
}

static nct_stored make(size_t group, int zero_offset, bool symmetric, uint32_t type) {
    size_t G = (INT4_K + group - 1) / group;
    int4_fill(group * 8 + (uint64_t)zero_offset);
    if (symmetric)
        memset(in.zero, 8, sizeof in.zero);
    for (size_t i = 0; i < G * INT4_N; i++) {
        if (type == NCT_TYPE_BF16)
            in.scale[i] &= 0xffe0; /* few enough bits, so that float16 and bfloat16 hold the same number */
        int4_put_scale(i, type, nct_f16_to_f32(in.scale[i]));
    }
    nct_test_gptq_codes(in.code, INT4_N, INT4_K, in.words);
    nct_test_gptq_zeros(in.zero, G, INT4_N, zero_offset, in.zeros);
    nct_stored s = int4_stored(&nct_codec_gptq, group, type);
    s.zero_offset = zero_offset;
    return s;
}

static void test_gptq__both_zero_conventions_and_all_groups(void **state) {
    (void)state;
    static const size_t groups[] = {16, 32, 64, 96, 128, 256}; /* 96: the last group is short */
    for (size_t i = 0; i < sizeof groups / sizeof *groups; i++)
        for (int offset = 0; offset < 2; offset++)
            for (int symmetric = 0; symmetric < 2; symmetric++) {
                nct_stored s = make(groups[i], offset, symmetric, NCT_TYPE_F16);
                NCT_ASSERT_OK(nct_int4_settle(&s, symmetric, fault));
                assert_int_equal(s.symmetric, symmetric);
                int4_check(&s, NULL, symmetric);
            }
}

static void test_gptq__scales_of_any_float_type(void **state) {
    (void)state;
    static const uint32_t types[] = {NCT_TYPE_F32, NCT_TYPE_F16, NCT_TYPE_BF16};
    for (size_t i = 0; i < 3; i++) {
        nct_stored s = make(64, 1, true, types[i]);
        NCT_ASSERT_OK(nct_int4_settle(&s, false, fault));
        assert_true(s.symmetric); /* seen in the words, though nothing said so */
        int4_check(&s, NULL, true);
    }
}

static void test_gptq__label_tells_the_group(void **state) {
    (void)state;
    nct_unpacked u;
    nct_stored s = make(128, 1, true, NCT_TYPE_F16);
    NCT_ASSERT_OK(nct_int4_settle(&s, true, fault));
    NCT_ASSERT_OK(s.codec->describe(&s, &u, fault));
    assert_string_equal(u.label, "gptq int4 g128");
    s = make(256, 1, true, NCT_TYPE_F16);
    NCT_ASSERT_OK(nct_int4_settle(&s, true, fault));
    NCT_ASSERT_OK(s.codec->describe(&s, &u, fault));
    assert_string_equal(u.label, "gptq int4 row");
}

/* A random assignment of columns to groups, each group of exactly `group`. */
static void scatter(uint32_t *group_of, size_t group) {
    uint64_t key[INT4_K];
    for (size_t k = 0; k < INT4_K; k++)
        key[k] = nct_rng_mix(k + 99);
    for (size_t k = 0; k < INT4_K; k++) {
        size_t rank = 0;
        for (size_t j = 0; j < INT4_K; j++)
            rank += key[j] < key[k];
        group_of[k] = (uint32_t)(rank / group);
        put_idx(k, group_of[k]);
    }
}

static void test_gptq__act_order_sorts_columns_by_group_stably(void **state) {
    (void)state;
    for (int symmetric = 0; symmetric < 2; symmetric++) {
        uint32_t group_of[INT4_K];
        nct_stored s = make(32, 1, symmetric, NCT_TYPE_F16);
        scatter(group_of, 32);
        s.part[NCT_PART_G_IDX] = (nct_part){in.g_idx, sizeof in.g_idx};
        NCT_ASSERT_OK(nct_int4_settle(&s, symmetric, fault));
        assert_non_null(s.perm);
        for (size_t j = 0; j < INT4_K; j++) {
            assert_int_equal(group_of[s.perm[j]], j / 32);
            if (j % 32)
                assert_true(s.perm[j] > s.perm[j - 1]);
        }
        int4_check(&s, group_of, symmetric);
        nct_stored_close(&s);
        assert_null(s.perm);
    }
}

static void test_gptq__dequantized_rows_are_in_the_matrix_order(void **state) {
    (void)state;
    uint32_t group_of[INT4_K];
    nct_stored s = make(64, 1, false, NCT_TYPE_F16);
    scatter(group_of, 64);
    s.part[NCT_PART_G_IDX] = (nct_part){in.g_idx, sizeof in.g_idx};
    NCT_ASSERT_OK(nct_int4_settle(&s, false, fault));
    nct_unpacked u;
    NCT_ASSERT_OK(s.codec->describe(&s, &u, fault));
    void *scratch = NULL;
    NCT_ASSERT_OK(nct_alloc(&scratch, nct_dequantize_scratch_bytes(&s), 1, fault));
    float got[INT4_K];
    for (size_t n = 0; n < INT4_N; n += 37) {
        nct_dequantize_row(&s, &u, n, got, scratch);
        for (size_t k = 0; k < INT4_K; k++) {
            size_t at = group_of[k] * (size_t)INT4_N + n;
            assert_true(got[k] ==
                        ((float)in.code[n * INT4_K + k] - (float)in.zero[at]) * nct_f16_to_f32(in.scale[at]));
        }
    }
    nct_free(scratch);
    nct_stored_close(&s);
}

static void test_gptq__order_that_changes_nothing_is_no_permutation(void **state) {
    (void)state;
    nct_stored s = make(32, 1, true, NCT_TYPE_F16);
    for (size_t k = 0; k < INT4_K; k++)
        put_idx(k, (uint32_t)(k / 32));
    s.part[NCT_PART_G_IDX] = (nct_part){in.g_idx, sizeof in.g_idx};
    NCT_ASSERT_OK(nct_int4_settle(&s, true, fault));
    assert_null(s.perm);
}

static void expect(nct_status wanted, nct_stored *s, bool sym_stated, const char *part_of_sentence) {
    nct_error err = {0};
    nct_unpacked u;
    nct_status status = nct_int4_settle(s, sym_stated, &err);
    if (status == NCT_OK)
        status = s->codec->describe(s, &u, &err);
    assert_int_equal(status, wanted);
    if (!strstr(err.text, part_of_sentence))
        fail_msg("\"%s\" does not say \"%s\"", err.text, part_of_sentence);
    assert_null(s->perm);
}

static void test_gptq__order_that_is_no_order_is_refused(void **state) {
    (void)state;
    for (size_t k = 0; k < INT4_K; k++)
        put_idx(k, 0); /* as some exporters leave it */
    nct_stored s = make(32, 1, true, NCT_TYPE_F16);
    s.part[NCT_PART_G_IDX] = (nct_part){in.g_idx, sizeof in.g_idx};
    expect(NCT_E_UNSUPPORTED, &s, true, "group 0 has 256 columns, expected 32");
    put_idx(7, 8);
    expect(NCT_E_FORMAT, &s, true, "g_idx of column 7 is 8");
    put_idx(7, UINT32_MAX);
    expect(NCT_E_FORMAT, &s, true, "g_idx of column 7 is -1");
    s.part[NCT_PART_G_IDX].n_bytes -= 4;
    expect(NCT_E_FORMAT, &s, true, "g_idx has 1020 bytes");
}

static void test_gptq__symmetric_under_the_other_convention_is_taken_if_stated(void **state) {
    (void)state;
    nct_stored s = make(32, 0, true, NCT_TYPE_F16); /* words of v2 */
    s.zero_offset = 1;                              /* and metadata of v1 */
    NCT_ASSERT_OK(nct_int4_settle(&s, true, fault));
    int4_check(&s, NULL, true);
}

static void test_gptq__zero_points_that_contradict_sym_are_refused(void **state) {
    (void)state;
    nct_stored s = make(32, 1, false, NCT_TYPE_F16);
    expect(NCT_E_FORMAT, &s, true, "not all 8");
    s.part[NCT_PART_QZEROS] = (nct_part){0};
    expect(NCT_E_FORMAT, &s, false, "no qzeros");
}

static void test_gptq__a_stored_fifteen_of_v1_means_zero(void **state) {
    (void)state;
    nct_stored s = make(32, 1, false, NCT_TYPE_F16);
    memset(in.zero, 0, sizeof in.zero);
    nct_test_gptq_zeros(in.zero, INT4_K / 32, INT4_N, 1, in.zeros);
    assert_int_equal(in.zeros[0], 0xff);
    NCT_ASSERT_OK(nct_int4_settle(&s, false, fault));
    int4_check(&s, NULL, false);
}

static void test_gptq__slices_are_rows_of_the_stored_matrix(void **state) {
    (void)state;
    nct_stored s = make(32, 1, false, NCT_TYPE_F16);
    NCT_ASSERT_OK(nct_int4_settle(&s, false, fault));
    s.first_row = 131;
    s.n_rows = 250;
    int4_check(&s, NULL, false);
    s.n_rows = INT4_N - 130;
    expect(NCT_E_FORMAT, &s, false, "rows from 131 on");
}

static void test_gptq__shapes_that_do_not_fit_are_refused(void **state) {
    (void)state;
    nct_stored s = make(32, 1, false, NCT_TYPE_F16);
    s.part[NCT_PART_QWEIGHT].n_bytes -= 4;
    expect(NCT_E_FORMAT, &s, false, "bytes of codes");
    s = make(32, 1, false, NCT_TYPE_F16);
    s.part[NCT_PART_SCALES].n_bytes += 2;
    expect(NCT_E_FORMAT, &s, false, "bytes of scales");
    s = make(32, 1, false, NCT_TYPE_F16);
    s.part[NCT_PART_QZEROS].n_bytes -= 4;
    expect(NCT_E_FORMAT, &s, false, "bytes of zero points");
    s = make(32, 1, false, NCT_TYPE_F16);
    s.n_cols = 252;
    expect(NCT_E_FORMAT, &s, false, "no shape for gptq");
    s = make(32, 1, false, NCT_TYPE_F16);
    s.group = 24;
    expect(NCT_E_UNSUPPORTED, &s, false, "groups of 24");
    s = make(32, 1, false, NCT_TYPE_F16);
    s.type = 28;
    expect(NCT_E_UNSUPPORTED, &s, false, "number type 28");
    s = make(32, 1, false, NCT_TYPE_F16);
    s.group = 0;
    expect(NCT_E_FORMAT, &s, false, "groups of no columns");
}

static void test_gptq__allocations_that_fail_leave_nothing(void **state) {
    (void)state;
    uint32_t group_of[INT4_K];
    nct_stored s = make(32, 1, true, NCT_TYPE_F16);
    scatter(group_of, 32);
    s.part[NCT_PART_G_IDX] = (nct_part){in.g_idx, sizeof in.g_idx};
    for (long n = 0; n < 2; n++) {
        nct_mem_fail_in = n;
        assert_int_equal(nct_int4_settle(&s, true, NULL), NCT_E_MEMORY);
        nct_mem_fail_in = -1;
        assert_null(s.perm);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gptq__both_zero_conventions_and_all_groups),
        cmocka_unit_test(test_gptq__scales_of_any_float_type),
        cmocka_unit_test(test_gptq__label_tells_the_group),
        cmocka_unit_test(test_gptq__act_order_sorts_columns_by_group_stably),
        cmocka_unit_test(test_gptq__dequantized_rows_are_in_the_matrix_order),
        cmocka_unit_test(test_gptq__order_that_changes_nothing_is_no_permutation),
        cmocka_unit_test(test_gptq__order_that_is_no_order_is_refused),
        cmocka_unit_test(test_gptq__symmetric_under_the_other_convention_is_taken_if_stated),
        cmocka_unit_test(test_gptq__zero_points_that_contradict_sym_are_refused),
        cmocka_unit_test(test_gptq__a_stored_fifteen_of_v1_means_zero),
        cmocka_unit_test(test_gptq__slices_are_rows_of_the_stored_matrix),
        cmocka_unit_test(test_gptq__shapes_that_do_not_fit_are_refused),
        cmocka_unit_test(test_gptq__allocations_that_fail_leave_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
