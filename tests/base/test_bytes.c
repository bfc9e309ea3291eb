#include "base/bytes.h"
#include "support/support.h"

static int allow_again(void **state) {
    (void)state;
    atomic_store(&nct_mem_fail_in, -1);
    return 0;
}

static void test_bytes__stay_terminated_while_they_grow(void **state) {
    (void)state;
    nct_bytes b = {0};
    for (size_t i = 0; i < 5000; i++) {
        char c = (char)('a' + i % 26);
        NCT_ASSERT_OK(nct_bytes_add(&b, &c, 1, fault));
        assert_int_equal(b.n, i + 1);
        assert_int_equal(b.data[b.n], 0);
    }
    for (size_t i = 0; i < b.n; i++)
        assert_int_equal(b.data[i], 'a' + i % 26);
    nct_bytes_reset(&b);
    assert_null(b.data);
    assert_int_equal(b.n, 0);
    nct_bytes_reset(&b);
}

static void test_bytes__adding_nothing_gives_an_empty_string(void **state) {
    (void)state;
    nct_bytes b = {0};
    NCT_ASSERT_OK(nct_bytes_add(&b, NULL, 0, fault));
    assert_string_equal(b.data, "");
    NCT_ASSERT_OK(nct_bytes_add_str(&b, "", fault));
    assert_int_equal(b.n, 0);
    nct_bytes_reset(&b);
}

static void test_bytes__zeros_inside_are_kept(void **state) {
    (void)state;
    nct_bytes b = {0};
    NCT_ASSERT_OK(nct_bytes_add(&b, "a\0b", 3, fault));
    NCT_ASSERT_OK(nct_bytes_add_str(&b, "c", fault));
    assert_int_equal(b.n, 4);
    assert_memory_equal(b.data, "a\0bc", 5);
    nct_bytes_reset(&b);
}

static void test_bytes__printf_appends_texts_of_any_length(void **state) {
    (void)state;
    nct_bytes b = {0};
    NCT_ASSERT_OK(nct_bytes_printf(&b, fault, "%s-%d", "x", 7));
    NCT_ASSERT_OK(nct_bytes_printf(&b, fault, "%5000d|", 1));
    assert_int_equal(b.n, 3 + 5001);
    assert_memory_equal(b.data, "x-7  ", 5);
    assert_string_equal(b.data + b.n - 3, " 1|");
    nct_bytes_reset(&b);
}

static void test_bytes__a_refused_addition_changes_nothing(void **state) {
    (void)state;
    nct_bytes b = {0};
    nct_error err = {0};
    NCT_ASSERT_OK(nct_bytes_add_str(&b, "kept", fault));
    assert_int_equal(nct_bytes_add(&b, "", SIZE_MAX - 2, &err), NCT_E_MEMORY);
    assert_int_equal(nct_bytes_add(&b, "", SIZE_MAX - 4, &err), NCT_E_MEMORY);
    atomic_store(&nct_mem_fail_in, 0);
    assert_int_equal(nct_bytes_printf(&b, &err, "%100d", 1), NCT_E_MEMORY);
    assert_int_equal(b.n, 4);
    assert_string_equal(b.data, "kept");
    nct_bytes_reset(&b);
}

static void test_bytes__little_endian_loads_need_no_alignment(void **state) {
    (void)state;
    const uint8_t data[] = {0xff, 0x01, 0x82, 0x03, 0x84, 0x05, 0x86, 0x07, 0x88};
    assert_int_equal(nct_le16(data + 1), 0x8201);
    assert_int_equal(nct_le32(data + 1), 0x84038201u);
    assert_true(nct_le64(data + 1) == 0x8807860584038201u);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bytes__stay_terminated_while_they_grow),
        cmocka_unit_test(test_bytes__adding_nothing_gives_an_empty_string),
        cmocka_unit_test(test_bytes__zeros_inside_are_kept),
        cmocka_unit_test(test_bytes__printf_appends_texts_of_any_length),
        cmocka_unit_test_teardown(test_bytes__a_refused_addition_changes_nothing, allow_again),
        cmocka_unit_test(test_bytes__little_endian_loads_need_no_alignment),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
