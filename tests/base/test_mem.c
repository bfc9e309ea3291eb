#include "base/mem.h"
#include "support/support.h"

static int allow_again(void **state) {
    (void)state;
    atomic_store(&nct_mem_fail_in, -1);
    return 0;
}

static void test_mem__blocks_are_zeroed_and_aligned(void **state) {
    (void)state;
    const size_t sizes[] = {0, 1, 63, 64, 65, 4095, 4096, 100001};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        void *p = NULL;
        NCT_ASSERT_OK(nct_alloc(&p, sizes[i], 1, fault));
        assert_non_null(p);
        assert_int_equal((uintptr_t)p % NCT_ALIGN, 0);
        for (size_t j = 0; j < sizes[i]; j++)
            assert_int_equal(((uint8_t *)p)[j], 0);
        memset(p, 0xa5, sizes[i]); /* all of it is ours: a sanitizer would object */
        nct_free(p);
    }
}

static void test_mem__sizes_that_overflow_are_refused(void **state) {
    (void)state;
    nct_error err = {0};
    void *p = &err;
    assert_int_equal(nct_alloc(&p, SIZE_MAX / 4, 8, &err), NCT_E_MEMORY);
    assert_int_equal(nct_alloc(&p, SIZE_MAX, 1, &err), NCT_E_MEMORY);
    assert_int_equal(nct_alloc(&p, SIZE_MAX - 63, 1, &err), NCT_E_MEMORY);
    assert_int_equal(nct_alloc(&p, SIZE_MAX / 2, 1, &err), NCT_E_MEMORY); /* no overflow, no such memory */
    assert_ptr_equal(p, &err);
    assert_string_not_equal(err.text, "");
}

static void test_mem__growing_keeps_contents_and_at_least_doubles(void **state) {
    (void)state;
    void *p = NULL;
    size_t capacity = 0;
    for (size_t n = 1; n <= 5000; n += 7) {
        size_t before = capacity;
        NCT_ASSERT_OK(nct_grow(&p, &capacity, n, sizeof(uint32_t), fault));
        assert_true(capacity >= n);
        assert_true(capacity == before || capacity >= 2 * before);
        uint32_t *v = p;
        for (size_t i = 0; i < before; i++)
            assert_int_equal(v[i], i * 3);
        for (size_t i = before; i < capacity; i++)
            v[i] = (uint32_t)i * 3;
    }
    nct_free(p);
}

static void test_mem__growing_to_less_changes_nothing(void **state) {
    (void)state;
    int there;
    void *p = &there;
    size_t capacity = 9;
    NCT_ASSERT_OK(nct_grow(&p, &capacity, 9, 1, fault));
    NCT_ASSERT_OK(nct_grow(&p, &capacity, 0, 1, fault));
    assert_ptr_equal(p, &there);
    assert_int_equal(capacity, 9);
}

static void test_mem__a_refused_growth_leaves_the_block(void **state) {
    (void)state;
    void *p = NULL;
    size_t capacity = 0;
    NCT_ASSERT_OK(nct_grow(&p, &capacity, 20, 1, fault));
    strcpy(p, "still here");
    void *before = p;
    size_t capacity_before = capacity;
    atomic_store(&nct_mem_fail_in, 0);
    nct_error err = {0};
    assert_int_equal(nct_grow(&p, &capacity, 1000, 1, &err), NCT_E_MEMORY);
    assert_int_equal(nct_grow(&p, &capacity, SIZE_MAX / 2, 16, &err), NCT_E_MEMORY);
    assert_ptr_equal(p, before);
    assert_int_equal(capacity, capacity_before);
    assert_string_equal(p, "still here");
    nct_free(p);
}

static void test_mem__the_named_allocation_fails_and_only_that(void **state) {
    (void)state;
    for (long fail = 0; fail < 4; fail++) {
        atomic_store(&nct_mem_fail_in, fail);
        for (long i = 0; i < 6; i++) {
            void *p = NULL;
            nct_error err = {0};
            assert_int_equal(nct_alloc(&p, 8, 8, &err), i == fail ? NCT_E_MEMORY : NCT_OK);
            nct_free(p);
        }
    }
}

static void test_mem__a_string_copy_ends_where_it_was_told(void **state) {
    (void)state;
    char *copy = NULL;
    NCT_ASSERT_OK(nct_copy_string(&copy, "noctule", 3, fault));
    assert_string_equal(copy, "noc");
    nct_free(copy);
    NCT_ASSERT_OK(nct_copy_string(&copy, "", 0, fault));
    assert_string_equal(copy, "");
    nct_free(copy);
    atomic_store(&nct_mem_fail_in, 0);
    assert_int_equal(nct_copy_string(&copy, "x", 1, NULL), NCT_E_MEMORY);
}

static void test_mem__size_arithmetic_tells_overflow(void **state) {
    (void)state;
    size_t out;
    assert_true(nct_mul_size(SIZE_MAX / 3, 3, &out));
    assert_false(nct_mul_size(SIZE_MAX / 3 + 1, 3, &out));
    assert_true(nct_mul_size(0, SIZE_MAX, &out));
    assert_int_equal(out, 0);
    assert_true(nct_add_size(SIZE_MAX - 1, 1, &out));
    assert_true(out == SIZE_MAX);
    assert_false(nct_add_size(SIZE_MAX, 1, &out));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mem__blocks_are_zeroed_and_aligned),
        cmocka_unit_test(test_mem__sizes_that_overflow_are_refused),
        cmocka_unit_test(test_mem__growing_keeps_contents_and_at_least_doubles),
        cmocka_unit_test(test_mem__growing_to_less_changes_nothing),
        cmocka_unit_test_teardown(test_mem__a_refused_growth_leaves_the_block, allow_again),
        cmocka_unit_test_teardown(test_mem__the_named_allocation_fails_and_only_that, allow_again),
        cmocka_unit_test_teardown(test_mem__a_string_copy_ends_where_it_was_told, allow_again),
        cmocka_unit_test(test_mem__size_arithmetic_tells_overflow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
