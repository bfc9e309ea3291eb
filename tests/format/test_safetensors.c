/* Safetensors: what is right is found where it lies, what is wrong is refused in a sentence. */
#include "format/safetensors.h"

#include "refused.h"
#include "support/containers.h"

static nct_bytes two_tensors(void) {
    nct_test_st st = {0};
    static const uint8_t data[12] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};
    nct_test_st_add(&st, "a.weight", "BF16", 2, (size_t[]){2, 2}, data, 8);
    nct_test_st_add(&st, "b", "I32", 0, NULL, data + 8, 4);
    return nct_test_st_finish(&st);
}

static void test_safetensors__tensors_are_found_where_they_lie(void **state) {
    (void)state;
    nct_bytes file = two_tensors();
    nct_tensors t = {0};
    assert_true(nct_safetensors_probe((uint8_t *)file.data, file.n));
    NCT_ASSERT_OK(nct_safetensors_parse("f", (uint8_t *)file.data, file.n, &t, fault));
    const nct_tensor *a = nct_tensors_find(&t, "a.weight"), *b = nct_tensors_find(&t, "b");
    assert_int_equal(t.n, 2);
    assert_int_equal(a->type, NCT_TYPE_BF16);
    assert_int_equal(a->n_dims, 2);
    assert_int_equal(a->dims[0], 2);
    assert_int_equal(a->n_bytes, 8);
    assert_int_equal(a->data[0], 1);
    assert_int_equal(b->n_dims, 0); /* a scalar */
    assert_int_equal(b->data[3], 12);
    nct_tensors_close(&t);
    nct_bytes_reset(&file);
}

/* A header with this text, and n_data zero bytes. */
static nct_status parse(const char *header, size_t n_data, nct_error *err) {
    static const uint8_t zeros[64];
    nct_bytes file = nct_test_st_raw(header, zeros, n_data);
    nct_tensors t = {0};
    nct_status status = nct_safetensors_parse("some.safetensors", (uint8_t *)file.data, file.n, &t, err);
    nct_tensors_close(&t);
    nct_bytes_reset(&file);
    return status;
}

static void refuse(const char *header, size_t n_data, nct_status wanted, const char *words) {
    nct_error err = {0};
    nct_status status = parse(header, n_data, &err);
    check_sentence(&err, status, wanted, words);
    assert_non_null(strstr(err.text, "some.safetensors"));
}

#define ENTRY(dtype, shape, offsets)                                                                         \
    "{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":" offsets "}"

static void test_safetensors__what_the_format_allows_is_read(void **state) {
    (void)state;
    static const struct {
        const char *header;
        size_t n_data;
    } fine[] = {
        {"{}", 0},    /* no tensors at all */
        {"{}   ", 0}, /* padded */
        {"{\"__metadata__\":{\"format\":\"pt\"}}", 0},
        {"{\"x\":" ENTRY("F32", "[2,3]", "[0,24]") "}", 24},              /* unaligned header length */
        {"{\"x\":" ENTRY("F32", "[0,9007199254740991]", "[0,0]") "}", 0}, /* zero-sized */
        {"{\"x\":" ENTRY("F32", "[4]", "[2,18]") ",\"y\":" ENTRY("BF16", "[1]", "[0,2]") "}",
         18}, /* any order, unaligned */
        {"{\"a\":" ENTRY("BOOL", "[3]", "[0,3]") ",\"b\":" ENTRY("F8_E4M3", "[1,1,1,1,1]", "[3,4]") "}", 4},
    };
    for (size_t i = 0; i < sizeof fine / sizeof *fine; i++) {
        nct_error err = {0};
        if (parse(fine[i].header, fine[i].n_data, &err) != NCT_OK)
            fail_msg("%s: %s", fine[i].header, err.text);
    }
}

static void test_safetensors__lies_are_refused(void **state) {
    (void)state;
    refuse("{\"x\":" ENTRY("F32", "[4]", "[0,16]") "}", 15, NCT_E_FORMAT,
           "outside the 15 bytes of data (file truncated?)");
    refuse("{\"x\":" ENTRY("F32", "[4]", "[0,12]") "}", 12, NCT_E_FORMAT,
           "has 12 bytes, its type and shape ask for 16");
    refuse("{\"x\":" ENTRY("F32", "[4]", "[16,0]") "}", 16, NCT_E_FORMAT, "outside");
    refuse("{\"x\":" ENTRY("F32", "[4]", "[-16,0]") "}", 16, NCT_E_FORMAT, "outside");
    refuse("{\"x\":" ENTRY("F32", "[4]", "[0,1e30]") "}", 16, NCT_E_FORMAT, "outside");
    refuse("{\"x\":" ENTRY("F32", "[4]", "[0.5,16.5]") "}", 20, NCT_E_FORMAT, "outside");
    refuse("{\"x\":" ENTRY("F32", "[4]", "[0]") "}", 16, NCT_E_FORMAT,
           "lacks dtype, shape or two data_offsets");
    refuse("{\"x\":" ENTRY("F32", "[4]", "[0,16,16]") "}", 16, NCT_E_FORMAT, "lacks");
    refuse("{\"x\":" ENTRY("F32", "4", "[0,16]") "}", 16, NCT_E_FORMAT, "lacks");
    refuse("{\"x\":" ENTRY("F32", "[-4]", "[0,16]") "}", 16, NCT_E_FORMAT, "no count");
    refuse("{\"x\":" ENTRY("F32", "[\"4\"]", "[0,16]") "}", 16, NCT_E_FORMAT, "no count");
    refuse("{\"x\":" ENTRY("F32", "[1e999]", "[0,16]") "}", 16, NCT_E_FORMAT, "no count");
    refuse("{\"x\":" ENTRY("F32", "[4503599627370496,4503599627370496]", "[0,0]") "}", 0, NCT_E_FORMAT,
           "overflows");
    refuse("{\"x\":" ENTRY("F32", "[4611686018427387904]", "[0,0]") "}", 0, NCT_E_FORMAT, "no count");
    refuse("{\"x\":" ENTRY("F32", "[1,1,1,1,1,1,1,1,1]", "[0,4]") "}", 4, NCT_E_FORMAT,
           "more than 8 dimensions");
    refuse("{\"x\":" ENTRY("F4", "[1]", "[0,1]") "}", 1, NCT_E_UNSUPPORTED, "element type 'F4'");
    refuse("{\"x\":7}", 0, NCT_E_FORMAT, "lacks");
    refuse("{\"x\":null}", 0, NCT_E_FORMAT, "lacks");
}

static void test_safetensors__overlaps_holes_and_rests_are_refused(void **state) {
    (void)state;
    refuse("{\"x\":" ENTRY("U8", "[4]", "[0,4]") ",\"y\":" ENTRY("U8", "[4]", "[3,7]") "}", 7, NCT_E_FORMAT,
           "'x' and 'y' share bytes");
    refuse("{\"x\":" ENTRY("U8", "[4]", "[0,4]") ",\"y\":" ENTRY("U8", "[4]", "[5,9]") "}", 9, NCT_E_FORMAT,
           "9 bytes of data, of which the tensors cover 8");
    refuse("{\"x\":" ENTRY("U8", "[4]", "[0,4]") "}", 5, NCT_E_FORMAT, "cover 4");
    refuse("{\"x\":" ENTRY("U8", "[4]", "[0,4]") ",\"x\":" ENTRY("U8", "[4]", "[4,8]") "}", 8, NCT_E_FORMAT,
           "'x' is there twice");
    /* An overlap and a hole whose sizes cancel out. */
    refuse("{\"x\":" ENTRY("U8", "[4]", "[0,4]") ",\"y\":" ENTRY("U8", "[4]", "[2,6]") "}", 8, NCT_E_FORMAT,
           "share bytes");
}

static void test_safetensors__headers_that_are_none_are_refused(void **state) {
    (void)state;
    refuse("[]", 0, NCT_E_FORMAT, "does not begin with '{'");
    refuse("{", 0, NCT_E_FORMAT, "the safetensors header");
    refuse("{\"x\":" ENTRY("U8", "[1]", "[0,1]") "}x", 1, NCT_E_FORMAT, "the safetensors header");
    static const struct {
        const char *bytes;
        size_t n;
        const char *words;
    } raw[] = {
        {"", 0, "0 bytes are too few"},
        {"\2\0\0", 3, "3 bytes are too few"},
        {"\0\0\0\0\0\0\0\0", 8, "does not begin with '{'"},
        {"\3\0\0\0\0\0\0\0{}", 10, "the header ends at byte 11 of 10 (file truncated?)"},
        {"\xff\xff\xff\xff\xff\xff\xff\xff{}", 10, "no safetensors file"},
        {"\1\xe1\xf5\5\0\0\0\0{}", 10, "no safetensors file"}, /* one more than allowed */
        {"\0\xe1\xf5\5\0\0\0\0{}", 10, "truncated"},           /* as many as allowed */
        {"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\n", 57, "Git LFS pointer"},
    };
    for (size_t i = 0; i < sizeof raw / sizeof *raw; i++) {
        nct_tensors t = {0};
        nct_error err = {0};
        nct_status status = nct_safetensors_parse("f", (const uint8_t *)raw[i].bytes, raw[i].n, &t, &err);
        check_sentence(&err, status, NCT_E_FORMAT, raw[i].words);
        nct_tensors_close(&t);
    }
}

static void test_safetensors__commas_do_not_claim_gigabytes(void **state) {
    (void)state;
    nct_bytes header = {0};
    nct_test_put(&header, "{\"x\":[", 6);
    for (int i = 0; i < 1 << 22; i++)
        nct_test_put(&header, "0,", 2);
    nct_test_put(&header, "0]}", 3);
    refuse(header.data, 0, NCT_E_FORMAT, "more than 2097152 values");
    nct_bytes_reset(&header);
}

static void test_safetensors__every_truncation_is_refused(void **state) {
    (void)state;
    nct_bytes file = two_tensors();
    for (size_t n = 0; n < file.n; n++) {
        uint8_t *copy = malloc(n ? n : 1); /* its own size, so that a sanitizer sees one byte too far */
        nct_tensors t = {0};
        nct_error err = {0};
        memcpy(copy, file.data, n);
        check_sentence(&err, nct_safetensors_parse("f", copy, n, &t, &err), NCT_E_FORMAT, "f: ");
        nct_tensors_close(&t);
        free(copy);
    }
    nct_bytes_reset(&file);
}

/* ------------------------------------------------------------------ directories */

static void write_one(const char *path, const char *name) {
    nct_test_st st = {0};
    nct_test_st_add(&st, name, "U8", 1, (size_t[]){1}, "x", 1);
    nct_bytes file = nct_test_st_finish(&st);
    nct_test_write(path, file.data, file.n);
    nct_bytes_reset(&file);
}

static nct_status open_all(const char *path, nct_tensors *t, nct_files *files, nct_error *err) {
    *t = (nct_tensors){0};
    *files = (nct_files){0};
    return nct_safetensors_open(path, files, t, err);
}

static void close_all(nct_tensors *t, nct_files *files) {
    nct_tensors_close(t);
    nct_files_close(files);
}

static void test_safetensors__a_directory_without_index_is_all_its_files(void **state) {
    (void)state;
    const char *dir = nct_test_folder();
    nct_tensors t;
    nct_files files;
    nct_error err = {0};
    check_sentence(&err, open_all(dir, &t, &files, &err), NCT_E_FORMAT, "no *.safetensors");
    close_all(&t, &files);
    write_one(nct_test_path("%s/b.safetensors", dir), "from b");
    write_one(nct_test_path("%s/a.safetensors", dir), "from a");
    write_one(nct_test_path("%s/.hidden.safetensors", dir), "hidden");
    NCT_ASSERT_OK(open_all(dir, &t, &files, fault));
    assert_int_equal(t.n, 2);
    assert_string_equal(t.item[0].name, "from a");
    close_all(&t, &files);
    write_one(nct_test_path("%s/c.safetensors", dir), "from a");
    check_sentence(&err, open_all(dir, &t, &files, &err), NCT_E_FORMAT, "'from a' is there twice");
    close_all(&t, &files);
    nct_test_folder_remove(dir);
}

static void test_safetensors__the_marlin_file_goes_before_the_gptq_one(void **state) {
    (void)state;
    const char *dir = nct_test_folder();
    nct_tensors t;
    nct_files files;
    write_one(nct_test_path("%s/model_gptq.safetensors", dir), "x");
    NCT_ASSERT_OK(open_all(dir, &t, &files, fault));
    assert_int_equal(t.n, 1);
    close_all(&t, &files);
    write_one(nct_test_path("%s/model_gptq_marlin.safetensors", dir), "x");
    NCT_ASSERT_OK(open_all(dir, &t, &files, fault));
    assert_int_equal(t.n, 1);
    assert_non_null(strstr(t.item[0].path, "marlin"));
    close_all(&t, &files);
    nct_test_folder_remove(dir);
}

static void write_index(const char *dir, const char *text) {
    nct_test_write(nct_test_path("%s/model.safetensors.index.json", dir), text, strlen(text));
}

static void refuse_index(const char *dir, const char *text, nct_status wanted, const char *words) {
    nct_tensors t;
    nct_files files;
    nct_error err = {0};
    write_index(dir, text);
    check_sentence(&err, open_all(dir, &t, &files, &err), wanted, words);
    close_all(&t, &files);
}

static void test_safetensors__an_index_tells_which_files_count(void **state) {
    (void)state;
    const char *dir = nct_test_folder();
    nct_tensors t;
    nct_files files;
    write_one(nct_test_path("%s/1.safetensors", dir), "x");
    write_one(nct_test_path("%s/2.safetensors", dir), "y");
    write_one(nct_test_path("%s/3.safetensors", dir), "unlisted");
    write_index(dir,
                "{\"weight_map\":{\"x\":\"1.safetensors\",\"y\":\"2.safetensors\",\"x\":\"1.safetensors\"}}");
    NCT_ASSERT_OK(open_all(dir, &t, &files, fault));
    assert_int_equal(t.n, 2);
    assert_int_equal(files.n, 2);
    close_all(&t, &files);

    refuse_index(dir, "{\"weight_map\":{\"x\":\"1.safetensors\",\"y\":\"4.safetensors\"}}", NCT_E_IO,
                 "4.safetensors: No such file");
    refuse_index(dir, "{\"weight_map\":{\"x\":\"1.safetensors\",\"y\":\"1.safetensors\"}}", NCT_E_FORMAT,
                 "'y' is not in 1.safetensors");
    refuse_index(dir, "{\"weight_map\":{\"x\":\"../1.safetensors\"}}", NCT_E_FORMAT,
                 "not in a file of this directory");
    refuse_index(dir, "{\"weight_map\":{\"x\":\"/etc/passwd\"}}", NCT_E_FORMAT,
                 "not in a file of this directory");
    refuse_index(dir, "{\"weight_map\":{\"x\":\"\"}}", NCT_E_FORMAT, "not in a file of this directory");
    refuse_index(dir, "{\"weight_map\":{\"x\":7}}", NCT_E_FORMAT, "not in a file of this directory");
    refuse_index(dir, "{\"weight_map\":[]}", NCT_E_FORMAT, "no object 'weight_map'");
    refuse_index(dir, "[]", NCT_E_FORMAT, "no object 'weight_map'");
    refuse_index(dir, "{", NCT_E_FORMAT, "not valid JSON");
    nct_test_folder_remove(dir);
}

static void test_safetensors__allocations_that_fail_leave_nothing(void **state) {
    (void)state;
    const char *dir = nct_test_folder();
    write_one(nct_test_path("%s/1.safetensors", dir), "x");
    write_one(nct_test_path("%s/2.safetensors", dir), "y");
    write_index(dir, "{\"weight_map\":{\"x\":\"1.safetensors\",\"y\":\"2.safetensors\"}}");
    long n = 0;
    for (nct_status status = NCT_E_MEMORY; status != NCT_OK; n++) {
        nct_tensors t;
        nct_files files;
        nct_error err = {0};
        nct_mem_fail_in = n;
        status = open_all(dir, &t, &files, &err);
        nct_mem_fail_in = -1;
        assert_true(status == NCT_OK || status == NCT_E_MEMORY);
        close_all(&t, &files);
        assert_in_range(n, 0, 1000);
    }
    assert_true(n > 5);
    nct_test_folder_remove(dir);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_safetensors__tensors_are_found_where_they_lie),
        cmocka_unit_test(test_safetensors__what_the_format_allows_is_read),
        cmocka_unit_test(test_safetensors__lies_are_refused),
        cmocka_unit_test(test_safetensors__overlaps_holes_and_rests_are_refused),
        cmocka_unit_test(test_safetensors__headers_that_are_none_are_refused),
        cmocka_unit_test(test_safetensors__commas_do_not_claim_gigabytes),
        cmocka_unit_test(test_safetensors__every_truncation_is_refused),
        cmocka_unit_test(test_safetensors__a_directory_without_index_is_all_its_files),
        cmocka_unit_test(test_safetensors__the_marlin_file_goes_before_the_gptq_one),
        cmocka_unit_test(test_safetensors__an_index_tells_which_files_count),
        cmocka_unit_test(test_safetensors__allocations_that_fail_leave_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
