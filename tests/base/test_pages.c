#include "base/pages.h"

#include <fcntl.h>
#include <unistd.h>

#include "support/support.h"

static int allow_again(void **state) {
    (void)state;
    atomic_store(&nct_mem_fail_in, -1);
    return 0;
}

static void check_zeroed(const uint8_t *p, size_t n) {
    for (size_t i = 0; i < n; i++)
        assert_int_equal(p[i], 0);
}

static void test_pages__are_zeroed_and_ours(void **state) {
    (void)state;
    const size_t sizes[] = {0, 1, 4096, 100000};
    for (size_t i = 0; i < 4; i++) {
        void *p = NULL;
        NCT_ASSERT_OK(nct_pages_open(&p, sizes[i], fault));
        assert_int_equal((uintptr_t)p % 4096, 0);
        check_zeroed(p, sizes[i]);
        memset(p, 1, sizes[i]);
        nct_pages_close(p, sizes[i]);
    }
    nct_pages_close(NULL, 0);
}

static void test_pages__a_reserved_range_keeps_its_place_as_it_fills(void **state) {
    (void)state;
    const size_t whole = (size_t)1 << 36; /* far more than the machine has */
    void *p = NULL;
    NCT_ASSERT_OK(nct_pages_reserve(&p, whole, fault));
    uint8_t *bytes = p;
    size_t offset = 0;
    for (size_t n = 100; n < 200000; n *= 3) { /* pieces that begin and end inside pages */
        NCT_ASSERT_OK(nct_pages_commit(p, offset, n, fault));
        check_zeroed(bytes + offset, n);
        memset(bytes + offset, 7, n);
        offset += n;
    }
    for (size_t i = 0; i < offset; i++) /* committing more left what was written */
        assert_int_equal(bytes[i], 7);
    NCT_ASSERT_OK(nct_pages_commit(p, whole - 10, 10, fault));
    bytes[whole - 1] = 1;
    nct_pages_close(p, whole);
}

static void test_pages__discarded_pages_come_back_zeroed_and_neighbours_stay(void **state) {
    (void)state;
    void *p = NULL;
    size_t n = 1 << 20;
    NCT_ASSERT_OK(nct_pages_reserve(&p, n, fault));
    NCT_ASSERT_OK(nct_pages_commit(p, 0, n, fault));
    uint8_t *bytes = p;
    memset(bytes, 9, n);
    size_t from = 100001, length = 500000;
    nct_pages_discard(p, from, length);
    for (size_t i = 0; i < from; i++)
        assert_int_equal(bytes[i], 9);
    for (size_t i = from + length; i < n; i++)
        assert_int_equal(bytes[i], 9);
    NCT_ASSERT_OK(nct_pages_commit(p, from, length, fault));
    check_zeroed(bytes + n / 4, n / 4);
    nct_pages_discard(p, 5, 10); /* less than a page: nothing to give back */
    assert_int_equal(bytes[7], 9);
    nct_pages_close(p, n);
}

static void test_pages__of_any_kind_are_zeroed_and_ours(void **state) {
    (void)state;
    const size_t sizes[] = {1, 100000, NCT_HUGE_PAGE - 1, NCT_HUGE_PAGE, 3 * NCT_HUGE_PAGE + 5000};
    for (int huge = NCT_HUGE_AUTO; huge <= NCT_HUGE_OFF; huge++)
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            void *p = NULL;
            NCT_ASSERT_OK(nct_pages_open_as(&p, sizes[i], (nct_huge_pages)huge, fault));
            bool aligned = huge == NCT_HUGE_ON && sizes[i] >= NCT_HUGE_PAGE;
            assert_int_equal((uintptr_t)p % (aligned ? NCT_HUGE_PAGE : 4096), 0);
            check_zeroed(p, sizes[i]);
            memset(p, 3, sizes[i]);
            nct_pages_close(p, sizes[i]);
        }
}

/* Where the system allows huge pages at all and has one to give. */
static void test_pages__huge_ones_are_had_where_they_are_asked_for(void **state) {
    (void)state;
    const char *system = nct_pages_huge_system();
    assert_true(strcmp(system, "") == 0 || strcmp(system, "always") == 0 || strcmp(system, "madvise") == 0 ||
                strcmp(system, "never") == 0);
    void *p = NULL;
    size_t n = 8 * NCT_HUGE_PAGE;
    uint64_t before = nct_pages_huge_bytes();
    NCT_ASSERT_OK(nct_pages_open_as(&p, n, NCT_HUGE_OFF, fault));
    memset(p, 1, n);
    assert_true(nct_pages_huge_bytes() <= before);
    nct_pages_close(p, n);
    NCT_ASSERT_OK(nct_pages_open_as(&p, n, NCT_HUGE_ON, fault));
    memset(p, 1, n);
    uint64_t after = nct_pages_huge_bytes();
    nct_pages_close(p, n);
    if (strcmp(system, "never") == 0 || !*system)
        assert_int_equal(after, before);
    else if (after == before)
        skip(); /* memory is in pieces */
    else
        assert_true(after > before && after <= before + n);
}

/* What is written to a shared mapping is dirty until it is on the disk; what is asked for comes and changes nothing. */
static void test_pages__of_files_are_dirty_until_they_are_written(void **state) {
    (void)state;
    const char *folder = nct_test_folder();
    size_t n = 64 * 4096;
    void *p = NULL;
    int fd = open(nct_test_path("%s/file", folder), O_RDWR | O_CREAT, 0600);
    assert_true(fd >= 0 && ftruncate(fd, (off_t)n) == 0);
    NCT_ASSERT_OK(nct_pages_reserve(&p, 2 * n, fault));
    NCT_ASSERT_OK(nct_pages_map(p, n, n, fd, true, fault));
    uint8_t *bytes = (uint8_t *)p + n;
    nct_pages_scattered(p, n, n);
    memset(bytes, 5, n);
    size_t dirty = nct_pages_dirty(p, 2 * n);
    assert_true(dirty <= n);
    assert_int_equal(fdatasync(fd), 0);
    assert_true(nct_pages_dirty(p, 2 * n) <= dirty);
    uint64_t reads = nct_pages_reads();
    nct_pages_want(bytes + 5, 100);
    nct_pages_want(bytes + 5000, n - 5000);
    assert_true(nct_pages_reads() >= reads);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(bytes[i], 5);
    nct_pages_close(p, 2 * n);
    close(fd);
    nct_test_folder_remove(folder);
}

static void test_pages__refusal_is_an_error(void **state) {
    (void)state;
    nct_error err = {0};
    void *p = NULL;
    assert_int_equal(nct_pages_open(&p, SIZE_MAX / 2, &err), NCT_E_MEMORY);
    assert_int_equal(nct_pages_reserve(&p, SIZE_MAX / 2, &err), NCT_E_MEMORY);
    assert_int_equal(nct_pages_open_as(&p, SIZE_MAX / 2, NCT_HUGE_ON, &err), NCT_E_MEMORY);
    assert_int_equal(nct_pages_open_as(&p, SIZE_MAX, NCT_HUGE_ON, &err), NCT_E_MEMORY);
    assert_null(p);
    atomic_store(&nct_mem_fail_in, 0);
    assert_int_equal(nct_pages_open(&p, 10, &err), NCT_E_MEMORY);
    atomic_store(&nct_mem_fail_in, 0);
    assert_int_equal(nct_pages_open_as(&p, NCT_HUGE_PAGE, NCT_HUGE_ON, &err), NCT_E_MEMORY);
    atomic_store(&nct_mem_fail_in, 0);
    assert_int_equal(nct_pages_reserve(&p, 10, &err), NCT_E_MEMORY);
    assert_null(p);
    NCT_ASSERT_OK(nct_pages_reserve(&p, 10, fault));
    atomic_store(&nct_mem_fail_in, 0);
    assert_int_equal(nct_pages_commit(p, 0, 10, &err), NCT_E_MEMORY);
    NCT_ASSERT_OK(nct_pages_commit(p, 0, 10, fault));
    nct_pages_close(p, 10);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pages__are_zeroed_and_ours),
        cmocka_unit_test(test_pages__a_reserved_range_keeps_its_place_as_it_fills),
        cmocka_unit_test(test_pages__discarded_pages_come_back_zeroed_and_neighbours_stay),
        cmocka_unit_test(test_pages__of_any_kind_are_zeroed_and_ours),
        cmocka_unit_test(test_pages__huge_ones_are_had_where_they_are_asked_for),
        cmocka_unit_test(test_pages__of_files_are_dirty_until_they_are_written),
        cmocka_unit_test_teardown(test_pages__refusal_is_an_error, allow_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
