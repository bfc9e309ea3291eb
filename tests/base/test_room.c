/* Made-up machines: what is written under /proc and /sys of a folder is what there is. */
#include "base/room.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/group.h"
#include "base/pages.h"
#include "support/support.h"

enum { MB = 1 << 20 };

/* Writes a file and the folders above it. */
static void put(const char *root, const char *name, const char *text) {
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", root, name);
    for (char *c = path + strlen(root) + 1; *c; c++)
        if (*c == '/') {
            *c = 0;
            mkdir(path, 0700);
            *c = '/';
        }
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    assert_int_equal(fclose(f), 0);
}

static void test_room__is_the_machines_without_groups(void **state) {
    (void)state;
    const char *root = nct_test_folder();
    nct_room room;
    nct_room_find(root, &room);
    assert_true(room.available_bytes == UINT64_MAX);
    put(root, "proc/meminfo", "MemTotal:  2048 kB\nMemFree:  1 kB\nMemAvailable:   1024 kB\n");
    nct_room_find(root, &room);
    assert_int_equal(room.total_bytes, 2 * MB);
    assert_int_equal(room.available_bytes, MB);
    assert_int_equal(room.limit_bytes, 0);
    nct_test_folder_remove(root);
}

/* Every group around the process limits it, and files that are cached can be let go. */
static void test_room__is_the_least_of_nested_groups(void **state) {
    (void)state;
    const char *root = nct_test_folder();
    nct_room room;
    put(root, "proc/meminfo", "MemTotal: 1048576 kB\nMemAvailable: 1048576 kB\n");
    put(root, "proc/self/cgroup", "0::/a/b\n");
    put(root, "sys/fs/cgroup/a/b/memory.max", "max\n");
    put(root, "sys/fs/cgroup/a/memory.max", "104857600\n");    /* 100 MB .. */
    put(root, "sys/fs/cgroup/a/memory.current", "94371840\n"); /* .. of which 90 are in use .. */
    put(root, "sys/fs/cgroup/a/memory.stat",
        "anon 1\ninactive_file 31457280\nactive_file 10485760\n"); /* .. 40 by files */
    nct_room_find(root, &room);
    assert_int_equal(room.limit_bytes, 100 * MB);
    assert_int_equal(room.available_bytes, 50 * MB);
    put(root, "sys/fs/cgroup/a/b/memory.max", "20971520\n");
    put(root, "sys/fs/cgroup/a/b/memory.current", "5242880\n");
    nct_room_find(root, &room);
    assert_int_equal(room.limit_bytes, 20 * MB);
    assert_int_equal(room.available_bytes, 15 * MB);
    nct_test_folder_remove(root);
}

static void test_room__of_version_1_is_the_controllers(void **state) {
    (void)state;
    const char *root = nct_test_folder();
    nct_room room;
    put(root, "proc/meminfo", "MemTotal: 1048576 kB\nMemAvailable: 1048576 kB\n");
    put(root, "proc/self/cgroup", "9:cpu,memory2:/x\n8:memory,hugetlb:/a/b\n0::/\n");
    put(root, "sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"); /* none */
    put(root, "sys/fs/cgroup/memory/a/b/memory.limit_in_bytes", "83886080\n");
    put(root, "sys/fs/cgroup/memory/a/b/memory.usage_in_bytes", "73400320\n");
    put(root, "sys/fs/cgroup/memory/a/b/memory.stat",
        "cache 5\ntotal_inactive_file 10485760\ntotal_active_file 0\n");
    nct_room_find(root, &room);
    assert_int_equal(room.limit_bytes, 80 * MB);
    assert_int_equal(room.available_bytes, 20 * MB);
    nct_test_folder_remove(root);
}

static void test_group__leads_outwards_to_the_mount_and_no_further(void **state) {
    (void)state;
    const char *root = nct_test_folder();
    nct_group group;
    long long first = 0, second = 0;
    assert_false(nct_group_find(root, "cpu", &group));
    put(root, "proc/self/cgroup", "4:cpu:/\n0::/a/b\n");
    put(root, "sys/fs/cgroup/a/cpu.max", "150000 100000\n");
    assert_true(nct_group_find(root, NULL, &group));
    assert_false(nct_group_numbers(&group, "cpu.max", &first, &second));
    assert_true(nct_group_leave(&group));
    assert_true(nct_group_numbers(&group, "cpu.max", &first, &second));
    assert_int_equal(first, 150000);
    assert_int_equal(second, 100000);
    assert_true(nct_group_leave(&group));
    assert_false(nct_group_leave(&group));
    assert_true(nct_group_find(root, "cpu", &group));
    assert_false(nct_group_leave(&group));
    nct_test_folder_remove(root);
}

/* Memory that is written is the process's own, and seen as such. */
static void test_use__grows_with_what_is_written(void **state) {
    (void)state;
    enum { BYTES = 64 * MB };
    nct_use before, after;
    void *p = NULL;
    nct_use_find(&before);
    if (!before.anonymous_bytes)
        skip(); /* the system does not tell */
    NCT_ASSERT_OK(nct_pages_open(&p, BYTES, fault));
    memset(p, 1, BYTES);
    nct_use_find(&after);
    assert_true(after.anonymous_bytes >= before.anonymous_bytes + BYTES / 2); /* it counts in batches */
    nct_pages_close(p, BYTES);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_room__is_the_machines_without_groups),
        cmocka_unit_test(test_room__is_the_least_of_nested_groups),
        cmocka_unit_test(test_room__of_version_1_is_the_controllers),
        cmocka_unit_test(test_group__leads_outwards_to_the_mount_and_no_further),
        cmocka_unit_test(test_use__grows_with_what_is_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
