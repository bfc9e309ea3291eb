#define _GNU_SOURCE
#include <ftw.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/map.h"
#include "base/num.h"
#include "support/support.h"

enum { PATH_BYTES = 1024 };

void nct_test_need(const char *path) {
    if (!nct_is_file(path) && !nct_is_directory(path)) {
        print_message("skipped: %s absent\n", path);
        skip();
    }
}

/* Paths live as long as the program: a list keeps them reachable. */
static struct path {
    struct path *before;
    char text[PATH_BYTES];
} *paths;

const char *nct_test_path(const char *fmt, ...) {
    struct path *path = malloc(sizeof *path);
    assert_non_null(path);
    path->before = paths;
    paths = path;
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(path->text, PATH_BYTES, fmt, args);
    va_end(args);
    assert_in_range(n, 0, PATH_BYTES - 1);
    return path->text;
}

const char *nct_test_folder(void) {
    const char *tmp = getenv("TMPDIR");
    const char *path = nct_test_path("%s/noctule-test-XXXXXX", tmp && *tmp ? tmp : "/tmp");
    if (!mkdtemp((char *)(uintptr_t)path))
        fail_msg("%s: no folder could be made", path);
    return path;
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *at) {
    (void)st, (void)kind, (void)at;
    return remove(path);
}

void nct_test_folder_remove(const char *path) {
    if (nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS) != 0)
        fail_msg("%s: could not be removed", path);
}

void nct_test_write(const char *path, const void *data, size_t n) {
    FILE *f = fopen(path, "wb");
    if (!f || (n && fwrite(data, n, 1, f) != 1) || fclose(f) != 0)
        fail_msg("%s: could not be written", path);
}

char *nct_test_read(const char *path, size_t *n) {
    nct_map map = {0};
    nct_bytes bytes = {0};
    NCT_ASSERT_OK(nct_map_open(path, &map, fault));
    NCT_ASSERT_OK(nct_bytes_add(&bytes, map.data, map.n_bytes, fault));
    nct_map_close(&map);
    if (n)
        *n = bytes.n;
    return bytes.data;
}

float *nct_test_read_f32(const char *path, size_t *n) {
    size_t n_bytes;
    char *data = nct_test_read(path, &n_bytes);
    assert_int_equal(n_bytes % 4, 0);
    float *values = (float *)(void *)data;
    for (size_t i = 0; i < n_bytes / 4; i++)
        values[i] = nct_f32_from_bits(nct_le32(data + 4 * i));
    *n = n_bytes / 4;
    return values;
}

static void *numbers(const nct_json *array, size_t item_bytes, size_t *n) {
    void *p = NULL;
    assert_true(nct_json_is_array(array));
    *n = nct_json_size(array);
    NCT_ASSERT_OK(nct_alloc(&p, *n, item_bytes, fault));
    return p;
}

int32_t *nct_test_ids(const nct_json *array, size_t *n) {
    int32_t *ids = numbers(array, sizeof *ids, n), *at = ids;
    for (const nct_json *item = nct_json_first(array); item; item = nct_json_next(item))
        *at++ = (int32_t)nct_json_int(item, INT32_MIN);
    return ids;
}

double *nct_test_numbers(const nct_json *array, size_t *n) {
    double *values = numbers(array, sizeof *values, n), *at = values;
    for (const nct_json *item = nct_json_first(array); item; item = nct_json_next(item))
        *at++ = nct_json_number(item, 0.0 / 0.0);
    return values;
}
