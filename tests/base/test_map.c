#include "base/map.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "support/support.h"

static int open_folder(void **state) {
    char *path = NULL;
    const char *folder = nct_test_folder();
    NCT_ASSERT_OK(nct_copy_string(&path, folder, strlen(folder), fault));
    *state = path;
    return 0;
}
static int close_folder(void **state) {
    nct_test_folder_remove(*state);
    nct_free(*state);
    return 0;
}

static void test_map__shows_the_bytes_of_the_file(void **state) {
    const char *path = nct_test_path("%s/file", (char *)*state);
    nct_test_write(path, "noctule\0bat", 11);
    nct_map map;
    NCT_ASSERT_OK(nct_map_open(path, &map, fault));
    assert_int_equal(map.n_bytes, 11);
    assert_memory_equal(map.data, "noctule\0bat", 11);
    assert_int_equal((uintptr_t)map.data % 4096, 0);
    nct_map_close(&map);
    nct_map_close(&map); /* closed is zeroed */
}

static void test_map__an_empty_file_is_empty_and_readable(void **state) {
    const char *path = nct_test_path("%s/file", (char *)*state);
    nct_test_write(path, "", 0);
    nct_map map;
    NCT_ASSERT_OK(nct_map_open(path, &map, fault));
    assert_int_equal(map.n_bytes, 0);
    assert_non_null(map.data);
    nct_map_close(&map);
}

static void check_refused(const char *path, const char *reason) {
    nct_map map = {.n_bytes = 77};
    nct_error err = {0};
    assert_int_equal(nct_map_open(path, &map, &err), NCT_E_IO);
    assert_non_null(strstr(err.text, path));
    assert_non_null(strstr(err.text, reason));
    assert_int_equal(map.n_bytes, 77);
}

/* Pages of files that count as this process's. */
static long file_pages(void) {
    long all = 0, resident = 0, shared = 0;
    FILE *f = fopen("/proc/self/statm", "re");
    assert_non_null(f);
    assert_int_equal(fscanf(f, "%ld %ld %ld", &all, &resident, &shared), 3);
    fclose(f);
    return shared;
}

static void test_map__at_rest_weighs_nothing_and_still_reads(void **state) {
    const char *path = nct_test_path("%s/large", (const char *)*state);
    enum { N = 4 << 20 };
    void *data = NULL;
    nct_map map;
    NCT_ASSERT_OK(nct_alloc(&data, N, 1, fault));
    for (size_t i = 0; i < N; i++)
        ((uint8_t *)data)[i] = (uint8_t)(i * 7 + i / 4096);
    nct_test_write(path, data, N);
    NCT_ASSERT_OK(nct_map_open(path, &map, fault));
    assert_memory_equal(map.data, data, N);
    long read = file_pages();
    nct_map_rest(&map);
    assert_true(file_pages() < read - N / 4096 / 2);
    assert_memory_equal(map.data, data, N);
    nct_map_close(&map);
    nct_map_rest(&map); /* zeroed */
    nct_free(data);
}

static void test_map__what_is_no_regular_file_is_refused_at_once(void **state) {
    const char *folder = *state, *fifo = nct_test_path("%s/fifo", folder);
    assert_int_equal(mkfifo(fifo, 0600), 0);
    check_refused(fifo, "not a regular file");
    check_refused(folder, "not a regular file");
    check_refused("/dev/null", "not a regular file");
    check_refused(nct_test_path("%s/absent", folder), "No such file");
    check_refused(nct_test_path("%s/fifo/below", folder), "Not a directory");
}

static void test_map__tells_files_and_folders_apart(void **state) {
    const char *folder = *state, *path = nct_test_path("%s/file", folder);
    nct_test_write(path, "x", 1);
    assert_true(nct_is_directory(folder));
    assert_false(nct_is_directory(path));
    assert_false(nct_is_directory(nct_test_path("%s/absent", folder)));
    assert_true(nct_is_file(path));
    assert_false(nct_is_file(folder));
    assert_false(nct_is_file(nct_test_path("%s/absent", folder)));
}

static void test_map__paths_join_with_one_slash_or_not_at_all(void **state) {
    (void)state;
    char buf[8];
    assert_true(nct_path_join(buf, sizeof buf, "a", "b"));
    assert_string_equal(buf, "a/b");
    assert_true(nct_path_join(buf, sizeof buf, "/", "b"));
    assert_string_equal(buf, "/b");
    assert_true(nct_path_join(buf, sizeof buf, "a/", "12345"));
    assert_string_equal(buf, "a/12345");
    assert_false(nct_path_join(buf, sizeof buf, "a", "123456"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_map__shows_the_bytes_of_the_file),
        cmocka_unit_test(test_map__an_empty_file_is_empty_and_readable),
        cmocka_unit_test(test_map__at_rest_weighs_nothing_and_still_reads),
        cmocka_unit_test(test_map__what_is_no_regular_file_is_refused_at_once),
        cmocka_unit_test(test_map__tells_files_and_folders_apart),
        cmocka_unit_test(test_map__paths_join_with_one_slash_or_not_at_all),
    };
    return cmocka_run_group_tests(tests, open_folder, close_folder);
}
