/* The folder: private, shared by processes, limited, and empty when asked to be. */
#include "store/folder.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/support.h"

static nct_folder open_new(const char *top) {
    nct_folder f = {0};
    NCT_ASSERT_OK(nct_folder_open(nct_test_path("%s/a/b", top), true, &f, fault));
    return f;
}

static void name_page(uint8_t n, char name[NCT_FOLDER_NAME]) {
    nct_link before = {{n}}, after = {{(uint8_t)(n + 1)}};
    nct_folder_page_name(&before, &after, name);
}

/* A page of this many bytes, last used so many seconds after 1970. */
static void make_page(const nct_folder *f, uint8_t n, uint64_t n_bytes, time_t when) {
    char temp[NCT_FOLDER_NAME], name[NCT_FOLDER_NAME];
    int fd;
    name_page(n, name);
    NCT_ASSERT_OK(nct_folder_temp(f, n_bytes, true, temp, &fd, fault));
    struct timespec used[2] = {{.tv_sec = when}, {.tv_sec = when}};
    assert_int_equal(futimens(fd, used), 0);
    NCT_ASSERT_OK(nct_folder_publish(f, fd, temp, name, fault));
    close(fd);
}

static size_t count(const nct_folder *f, nct_entry_kind kind) {
    nct_entry *entry = NULL;
    size_t n = 0, found = 0;
    NCT_ASSERT_OK(nct_folder_list(f, &entry, &n, fault));
    for (size_t i = 0; i < n; i++)
        found += entry[i].kind == kind;
    nct_free(entry);
    return found;
}

static bool has_page(const nct_folder *f, uint8_t n) {
    char name[NCT_FOLDER_NAME];
    name_page(n, name);
    int fd = nct_folder_read(f, name);
    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

static void test_folder__is_its_users_alone(void **state) {
    (void)state;
    const char *top = nct_test_folder();
    umask(0);
    nct_folder f = open_new(top);
    struct stat st;
    assert_true(f.made);
    assert_int_equal(stat(nct_test_path("%s/a", top), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    assert_int_equal(fstat(f.fd, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    make_page(&f, 1, 4096, 1000);
    char name[NCT_FOLDER_NAME];
    name_page(1, name);
    assert_int_equal(fstatat(f.fd, name, &st, 0), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    nct_folder_close(&f);
    NCT_ASSERT_OK(nct_folder_open(nct_test_path("%s/a/b", top), true, &f, fault));
    assert_false(f.made);
    nct_folder_close(&f);
    nct_test_folder_remove(top);
}

static void test_folder__what_is_no_page_is_left_alone(void **state) {
    (void)state;
    const char *top = nct_test_folder();
    nct_folder f = open_new(top);
    nct_test_write(nct_test_path("%s/a/b/notes.txt", top), "x", 1);
    nct_test_write(nct_test_path("%s/a/b/zzzz.page", top), "x", 1);
    make_page(&f, 1, 4096, 1000);
    nct_folder_note(&f, "line\n");
    uint64_t n_bytes = 0;
    NCT_ASSERT_OK(nct_folder_clear(&f, &n_bytes, fault));
    assert_true(n_bytes >= 4096);
    assert_int_equal(count(&f, NCT_ENTRY_PAGE) + count(&f, NCT_ENTRY_JOURNAL), 0);
    assert_int_equal(access(nct_test_path("%s/a/b/notes.txt", top), F_OK), 0);
    assert_int_equal(access(nct_test_path("%s/a/b/zzzz.page", top), F_OK), 0);
    unlink(nct_test_path("%s/a/b/notes.txt", top));
    unlink(nct_test_path("%s/a/b/zzzz.page", top));
    NCT_ASSERT_OK(nct_folder_clear(&f, &n_bytes, fault));
    nct_folder_close(&f);
    assert_int_not_equal(access(nct_test_path("%s/a/b", top), F_OK),
                         0); /* nothing is left, the folder included */
    nct_test_folder_remove(top);
}

static void test_folder__drops_what_was_used_least_and_readers_keep_it(void **state) {
    (void)state;
    const char *top = nct_test_folder();
    nct_folder f = open_new(top);
    for (uint8_t i = 0; i < 5; i++)
        make_page(&f, (uint8_t)(10 * i), 8192, 1000 + i);
    char name[NCT_FOLDER_NAME], byte;
    name_page(0, name);
    int reader = nct_folder_read(&f, name);
    assert_true(reader >= 0);
    uint64_t left = 0;
    assert_true(nct_folder_make_room(&f, 8192, 4 * 8192, INT64_MAX, &left));
    assert_int_equal(left, 3 * 8192);
    assert_false(has_page(&f, 0));
    assert_false(has_page(&f, 10));
    assert_true(has_page(&f, 20));
    assert_int_equal(pread(reader, &byte, 1, 8191), 1);
    close(reader);
    assert_false(nct_folder_make_room(&f, 8192, 8192, 1003000000000, &left)); /* those used since then stay */
    assert_false(has_page(&f, 20));
    assert_true(has_page(&f, 30));
    nct_folder_close(&f);
    nct_test_folder_remove(top);
}

/* Page i follows page i - 1, and was written later. */
static void test_folder__drops_the_end_of_a_text_first(void **state) {
    (void)state;
    const char *top = nct_test_folder();
    nct_folder f = open_new(top);
    for (uint8_t i = 0; i < 5; i++)
        make_page(&f, i, 8192, 1000 + i);
    make_page(&f, 50, 8192, 1002); /* another text, used before the end of the first was */
    uint64_t left = 0;
    assert_true(nct_folder_make_room(&f, 0, 5 * 8192, INT64_MAX, &left));
    assert_false(has_page(&f, 50));
    assert_true(nct_folder_make_room(&f, 0, 3 * 8192, INT64_MAX, &left));
    for (uint8_t i = 0; i < 5; i++)
        assert_int_equal(has_page(&f, i), i < 3);
    make_page(&f, 3, 8192, 900); /* what follows is older, and so is what branches off */
    make_page(&f, 60, 8192, 2000);
    assert_true(nct_folder_make_room(&f, 0, 4 * 8192, INT64_MAX, &left));
    assert_false(has_page(&f, 3));
    assert_true(has_page(&f, 2));
    /* pages that were used just now keep those before them, however old */
    make_page(&f, 3, 8192, 3000);
    assert_false(nct_folder_make_room(&f, 0, 8192, INT64_C(2500) * 1000000000, &left));
    for (uint8_t i = 0; i < 4; i++)
        assert_true(has_page(&f, i));
    assert_false(has_page(&f, 60));
    nct_folder_close(&f);
    nct_test_folder_remove(top);
}

/* A process that makes a temporary file and lives until its pipe is closed. */
static void test_folder__sweeps_up_after_the_dead_only(void **state) {
    (void)state;
    const char *top = nct_test_folder();
    nct_folder f = open_new(top);
    int ready[2], go[2];
    char byte;
    assert_int_equal(pipe(ready) | pipe(go), 0);
    pid_t child = fork();
    if (child == 0) {
        char temp[NCT_FOLDER_NAME];
        int fd;
        close(go[1]);
        byte = nct_folder_temp(&f, 4096, true, temp, &fd, NULL) == NCT_OK;
        if (write(ready[1], &byte, 1) == 1 && read(go[0], &byte, 1) == 0)
            _exit(0); /* without a word: as if killed */
        _exit(1);
    }
    close(go[0]);
    assert_int_equal(read(ready[0], &byte, 1), 1);
    assert_int_equal(byte, 1);
    nct_folder_sweep(&f);
    assert_int_equal(count(&f, NCT_ENTRY_TEMP), 1);
    close(go[1]);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    nct_folder_sweep(&f);
    assert_int_equal(count(&f, NCT_ENTRY_TEMP), 0);
    close(ready[0]);
    close(ready[1]);
    nct_folder_close(&f);
    nct_test_folder_remove(top);
}

static void test_folder__refusals_are_errors(void **state) {
    (void)state;
    const char *top = nct_test_folder();
    nct_folder f = {0};
    nct_error err;
    assert_int_equal(nct_folder_open(nct_test_path("%s/none", top), false, &f, &err), NCT_E_IO);
    assert_false(nct_folder_is_open(&f));
    nct_test_write(nct_test_path("%s/file", top), "x", 1);
    assert_int_equal(nct_folder_open(nct_test_path("%s/file", top), true, &f, &err), NCT_E_IO);
    f = open_new(top);
    char temp[NCT_FOLDER_NAME];
    int fd;
    assert_int_equal(nct_folder_temp(&f, UINT64_C(1) << 62, true, temp, &fd, &err), NCT_E_IO);
    assert_non_null(strstr(err.text, "no room"));
    assert_int_equal(count(&f, NCT_ENTRY_TEMP), 0);
    nct_folder_close(&f);
    nct_test_folder_remove(top);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_folder__is_its_users_alone),
        cmocka_unit_test(test_folder__what_is_no_page_is_left_alone),
        cmocka_unit_test(test_folder__drops_what_was_used_least_and_readers_keep_it),
        cmocka_unit_test(test_folder__drops_the_end_of_a_text_first),
        cmocka_unit_test(test_folder__sweeps_up_after_the_dead_only),
        cmocka_unit_test(test_folder__refusals_are_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
