/* GGUF: keys and tensors are found, what is wrong is refused in a sentence. */
#include "format/gguf.h"

#include "format/tensors.h"
#include "refused.h"
#include "support/containers.h"

static nct_bytes small(void) {
    nct_test_gguf g = {0};
    nct_test_gguf_string(&g, "general.architecture", "minicpm");
    nct_test_gguf_u32(&g, "some.count", 7);
    nct_test_gguf_f32(&g, "some.number", 0.5);
    nct_test_gguf_bool(&g, "some.flag", true);
    nct_bytes strings = {0};
    nct_test_put_string(&strings, "one");
    nct_test_put_string(&strings, "");
    nct_test_put_string(&strings, "three");
    nct_test_gguf_array(&g, "some.strings", NCT_GGUF_STRING, 3, strings.data, strings.n);
    nct_bytes_reset(&strings);
    nct_test_gguf_array(&g, "some.shorts", NCT_GGUF_I16, 2, "\1\0\xfe\xff", 4);
    static const uint8_t data[36] = {9};
    nct_test_gguf_add(&g, "a", NCT_TYPE_F32, 2, (size_t[]){2, 3}, data, 24);
    nct_test_gguf_add(&g, "q", 2, 2, (size_t[]){2, 32}, data, 36);
    return nct_test_gguf_finish(&g);
}

static nct_status parse(const nct_bytes *file, nct_tensors *t, nct_gguf **gguf, nct_error *err) {
    *t = (nct_tensors){0};
    *gguf = NULL;
    return nct_gguf_parse("some.gguf", (const uint8_t *)file->data, file->n, t, gguf, err);
}

static void test_gguf__values_are_found_by_key_and_kind(void **state) {
    (void)state;
    nct_bytes file = small();
    nct_tensors t;
    nct_gguf *g;
    NCT_ASSERT_OK(parse(&file, &t, &g, fault));
    const char *s;
    size_t n;
    int64_t i;
    double d;
    bool b;
    assert_true(nct_gguf_string(g, "general.architecture", &s, &n));
    assert_int_equal(n, 7);
    assert_memory_equal(s, "minicpm", 7);
    assert_true(nct_gguf_int(g, "some.count", &i));
    assert_int_equal(i, 7);
    assert_true(nct_gguf_number(g, "some.count", &d));
    assert_true(d == 7);
    assert_true(nct_gguf_number(g, "some.number", &d));
    assert_true(d == 0.5);
    assert_true(nct_gguf_bool(g, "some.flag", &b));
    assert_true(b);
    /* of another kind, or absent */
    assert_false(nct_gguf_int(g, "some.number", &i));
    assert_false(nct_gguf_int(g, "some.flag", &i));
    assert_false(nct_gguf_number(g, "general.architecture", &d));
    assert_false(nct_gguf_bool(g, "some.count", &b));
    assert_false(nct_gguf_string(g, "some.strings", &s, &n));
    assert_false(nct_gguf_string(g, "general", &s, &n));
    assert_false(nct_gguf_has(g, "some.counts"));
    assert_true(nct_gguf_has(g, "some.shorts"));
    nct_gguf_close(g);
    nct_tensors_close(&t);
    nct_bytes_reset(&file);
}

static void test_gguf__arrays_of_strings_and_numbers(void **state) {
    (void)state;
    nct_bytes file = small();
    nct_tensors t;
    nct_gguf *g;
    nct_gguf_array a;
    const char *s;
    size_t n;
    double d;
    NCT_ASSERT_OK(parse(&file, &t, &g, fault));
    assert_true(nct_gguf_find_array(g, "some.strings", &a));
    assert_int_equal(a.n, 3);
    assert_int_equal(a.type, NCT_GGUF_STRING);
    static const char *const expected[] = {"one", "", "three"};
    const uint8_t *cursor = a.data;
    for (size_t i = 0; i < 3; i++) {
        nct_gguf_next_string(&cursor, &s, &n);
        assert_int_equal(n, strlen(expected[i]));
        assert_memory_equal(s, expected[i], n);
    }
    assert_true(cursor <= a.end);
    assert_false(nct_gguf_array_number(&a, 0, &d));
    assert_true(nct_gguf_find_array(g, "some.shorts", &a));
    assert_true(nct_gguf_array_number(&a, 1, &d));
    assert_true(d == -2);
    assert_false(nct_gguf_array_number(&a, 2, &d));
    assert_false(nct_gguf_find_array(g, "some.count", &a));
    nct_gguf_close(g);
    nct_tensors_close(&t);
    nct_bytes_reset(&file);
}

static void test_gguf__every_scalar_type_reads_as_a_number(void **state) {
    (void)state;
    static const struct {
        uint32_t type;
        const char *bytes;
        size_t n;
        double number;
        bool integer;
    } values[] = {
        {NCT_GGUF_U8, "\xff", 1, 255, true},
        {NCT_GGUF_I8, "\xff", 1, -1, true},
        {NCT_GGUF_U16, "\xff\xff", 2, 65535, true},
        {NCT_GGUF_I16, "\xff\xff", 2, -1, true},
        {NCT_GGUF_U32, "\xff\xff\xff\xff", 4, 4294967295.0, true},
        {NCT_GGUF_I32, "\xff\xff\xff\xff", 4, -1, true},
        {NCT_GGUF_U64, "\1\0\0\0\1\0\0\0", 8, 4294967297.0, true},
        {NCT_GGUF_I64, "\xfe\xff\xff\xff\xff\xff\xff\xff", 8, -2, true},
        {NCT_GGUF_F32, "\0\0\x80\xbf", 4, -1, false},
        {NCT_GGUF_F64, "\0\0\0\0\0\0\xf0\xbf", 8, -1, false},
    };
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        nct_bytes file = {0};
        nct_tensors t;
        nct_gguf *g;
        double d = 0;
        int64_t n;
        nct_test_put(&file, "GGUF\3\0\0\0\0\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0", 24);
        nct_test_put_string(&file, "k");
        nct_test_put32(&file, values[i].type);
        nct_test_put(&file, values[i].bytes, values[i].n);
        NCT_ASSERT_OK(parse(&file, &t, &g, fault));
        assert_true(nct_gguf_number(g, "k", &d));
        assert_true(d == values[i].number);
        assert_int_equal(nct_gguf_int(g, "k", &n), values[i].integer);
        if (values[i].integer)
            assert_true((double)n == d);
        nct_gguf_close(g);
        nct_tensors_close(&t);
        nct_bytes_reset(&file);
    }
}

static void test_gguf__tensors_have_their_dims_turned_round(void **state) {
    (void)state;
    nct_bytes file = small();
    for (int version = 2; version <= 3; version++) {
        nct_tensors t;
        nct_gguf *g;
        file.data[4] = (char)version;
        NCT_ASSERT_OK(parse(&file, &t, &g, fault));
        const nct_tensor *a = nct_tensors_find(&t, "a"), *q = nct_tensors_find(&t, "q");
        assert_int_equal(a->dims[0], 2);
        assert_int_equal(a->dims[1], 3);
        assert_int_equal(a->n_bytes, 24);
        assert_int_equal(a->data[0], 9);
        assert_int_equal((const char *)a->data - file.data, (const char *)q->data - file.data - 32);
        assert_int_equal(q->type, 2);
        assert_int_equal(q->n_bytes, 36);
        nct_gguf_close(g);
        nct_tensors_close(&t);
    }
    nct_bytes_reset(&file);
}

/* ------------------------------------------------------------------ refusals */

static void refuse(const nct_bytes *file, nct_status wanted, const char *words) {
    nct_tensors t;
    nct_gguf *g;
    nct_error err = {0};
    nct_status status = parse(file, &t, &g, &err);
    check_sentence(&err, status, wanted, words);
    assert_null(g);
    nct_tensors_close(&t);
}

static void refuse_changed(size_t at, const void *bytes, size_t n, nct_status wanted, const char *words) {
    nct_bytes file = small();
    memcpy(file.data + at, bytes, n);
    refuse(&file, wanted, words);
    nct_bytes_reset(&file);
}

static void test_gguf__other_versions_are_refused(void **state) {
    (void)state;
    refuse_changed(0, "GGML", 4, NCT_E_FORMAT, "does not begin with 'GGUF'");
    refuse_changed(4, "\1", 1, NCT_E_UNSUPPORTED, "version 1 is not readable, expected 2 or 3");
    refuse_changed(4, "\4", 1, NCT_E_UNSUPPORTED, "version 4");
    refuse_changed(4, "\0\0\0\3", 4, NCT_E_UNSUPPORTED, "byte-swapped");
}

static void test_gguf__huge_counts_are_refused_before_anything_is_allocated(void **state) {
    (void)state;
    refuse_changed(8, "\xff\xff\xff\xff\xff\xff\xff\x7f", 8, NCT_E_FORMAT, "tensors do not fit");
    refuse_changed(16, "\xff\xff\xff\xff\xff\xff\xff\xff", 8, NCT_E_FORMAT, "keys do not fit");
    refuse_changed(24, "\xff\xff\xff\xff\xff\xff\xff\xff", 8, NCT_E_FORMAT,
                   "a key at byte 32 runs past the end");
    nct_test_gguf g = {0};
    nct_test_gguf_array(&g, "k", NCT_GGUF_U64, UINT64_MAX / 4, "", 0);
    nct_bytes file = nct_test_gguf_finish(&g);
    refuse(&file, NCT_E_FORMAT, "does not fit");
    nct_bytes_reset(&file);
    nct_test_gguf_array(&g, "k", NCT_GGUF_STRING, 1u << 30, "", 0);
    file = nct_test_gguf_finish(&g);
    refuse(&file, NCT_E_FORMAT, "does not fit");
    nct_bytes_reset(&file);
}

static void test_gguf__value_types_must_be_known_and_nesting_shallow(void **state) {
    (void)state;
    nct_test_gguf g = {0};
    nct_test_gguf_array(&g, "k", 13, 0, "", 0);
    nct_bytes file = nct_test_gguf_finish(&g);
    refuse(&file, NCT_E_FORMAT, "element type 13");
    nct_bytes_reset(&file);

    for (int depth = 2; depth <= 12; depth += 5) { /* 2 and 7 are fine, 12 is not */
        nct_bytes nested = {0};
        for (int i = 0; i < depth - 1; i++) {
            nct_test_put32(&nested, i == depth - 2 ? NCT_GGUF_U8 : NCT_GGUF_ARRAY);
            nct_test_put64(&nested, 1);
        }
        nct_test_put(&nested, "x", 1);
        nct_test_gguf_array(&g, "k", NCT_GGUF_ARRAY, 1, nested.data, nested.n);
        file = nct_test_gguf_finish(&g);
        nct_tensors t;
        nct_gguf *gguf;
        nct_error err = {0};
        nct_status status = parse(&file, &t, &gguf, &err);
        if (depth < 9)
            assert_int_equal(status, NCT_OK);
        else
            check_sentence(&err, status, NCT_E_FORMAT, "nested more than 8 deep");
        nct_gguf_close(gguf);
        nct_tensors_close(&t);
        nct_bytes_reset(&nested);
        nct_bytes_reset(&file);
    }
}

static void test_gguf__a_key_is_there_once(void **state) {
    (void)state;
    nct_test_gguf g = {0};
    nct_test_gguf_u32(&g, "twice", 1);
    nct_test_gguf_u32(&g, "between", 1);
    nct_test_gguf_u32(&g, "twice", 2);
    nct_bytes file = nct_test_gguf_finish(&g);
    refuse(&file, NCT_E_FORMAT, "'twice' is there twice");
    nct_bytes_reset(&file);
}

/* One tensor as given, in a file with n_data bytes of data. */
static nct_bytes one_tensor(const char *name, uint32_t type, size_t n_dims, const size_t *dims,
                            size_t n_data) {
    static const uint8_t data[256];
    nct_test_gguf g = {0};
    nct_test_gguf_add(&g, name, type, n_dims, dims, data, n_data);
    return nct_test_gguf_finish(&g);
}

static void refuse_tensor(uint32_t type, size_t n_dims, const size_t *dims, size_t n_data, nct_status wanted,
                          const char *words) {
    nct_bytes file = one_tensor("x", type, n_dims, dims, n_data);
    refuse(&file, wanted, words);
    nct_bytes_reset(&file);
}

static void test_gguf__tensors_that_lie_are_refused(void **state) {
    (void)state;
    refuse_tensor(0, 1, (size_t[]){100}, 64, NCT_E_FORMAT,
                  "'x' needs 400 bytes at 0 of the 64 of data (file truncated?)");
    refuse_tensor(0, 5, (size_t[]){1, 1, 1, 1, 1}, 4, NCT_E_FORMAT, "5 dimensions, at most 4");
    refuse_tensor(0, 2, (size_t[]){SIZE_MAX / 2, 3}, 4, NCT_E_FORMAT, "overflows");
    refuse_tensor(0, 2, (size_t[]){1u << 31, 1u << 30}, 4, NCT_E_FORMAT, "needs");
    refuse_tensor(28, 3, (size_t[]){1u << 31, 1u << 30, 1}, 4, NCT_E_FORMAT, "overflows");
    refuse_tensor(2, 2, (size_t[]){4, 31}, 64, NCT_E_FORMAT, "no whole Q4_0 blocks of 32");
    refuse_tensor(12, 2, (size_t[]){1, 32}, 144, NCT_E_FORMAT, "no whole Q4_K blocks of 256");
    refuse_tensor(199, 1, (size_t[]){1}, 4, NCT_E_UNSUPPORTED,
                  "type number 199, which is not known; readable: Q4_0");
    refuse_tensor(4, 1, (size_t[]){32}, 18, NCT_E_UNSUPPORTED, "type number 4");
}

static void test_gguf__offsets_must_be_aligned_and_apart(void **state) {
    (void)state;
    nct_bytes file = small();
    /* The offset of 'q' is the last number before the padding to the data. */
    size_t at = 0;
    for (size_t i = 24; i + 9 < file.n; i++)
        if (memcmp(file.data + i, "\1\0\0\0\0\0\0\0q", 9) == 0)
            at = i + 9 + 4 + 16 + 4;
    assert_int_equal(file.data[at], 32);
    file.data[at] = 33;
    refuse(&file, NCT_E_FORMAT, "offset 33, which is not aligned to 32");
    file.data[at] = 0;
    refuse(&file, NCT_E_FORMAT, "share bytes");
    memset(file.data + at, 0xe0, 8);
    refuse(&file, NCT_E_FORMAT, "'q' needs 36 bytes");
    nct_bytes_reset(&file);

    static const uint32_t alignments[] = {0, 3, 0x80000000u};
    for (size_t i = 0; i < 3; i++) {
        nct_test_gguf g = {0};
        nct_test_gguf_u32(&g, "general.alignment", alignments[i]);
        file = nct_test_gguf_finish(&g);
        refuse(&file, NCT_E_FORMAT, "general.alignment is no power of two");
        nct_bytes_reset(&file);
    }
}

static void test_gguf__every_truncation_is_refused_or_loses_only_padding(void **state) {
    (void)state;
    nct_bytes file = small();
    for (size_t n = 0; n + 28 < file.n; n++) { /* 28 bytes of padding behind 'q' */
        uint8_t *copy = malloc(n ? n : 1);
        memcpy(copy, file.data, n);
        nct_bytes cut = {.data = (char *)copy, .n = n};
        refuse(&cut, NCT_E_FORMAT, "some.gguf: ");
        free(copy);
    }
    nct_bytes_reset(&file);
}

/* ------------------------------------------------------------------ split models */

static void write_part(const char *dir, const char *name, uint32_t no, uint32_t count, const char *tensor,
                       uint32_t total) {
    nct_test_gguf g = {0};
    uint8_t v = (uint8_t)no;
    nct_test_gguf_u32(&g, "split.no", no);
    nct_test_gguf_u32(&g, "split.count", count);
    if (total)
        nct_test_gguf_u32(&g, "split.tensors.count", total);
    if (no == 0)
        nct_test_gguf_string(&g, "general.architecture", "minicpm");
    nct_test_gguf_add(&g, tensor, 24, 1, (size_t[]){1}, &v, 1);
    nct_bytes file = nct_test_gguf_finish(&g);
    nct_test_write(nct_test_path("%s/%s", dir, name), file.data, file.n);
    nct_bytes_reset(&file);
}

static nct_status open_split(const char *dir, const char *name, size_t *n_tensors, nct_error *err) {
    nct_files files = {0};
    nct_tensors t = {0};
    nct_gguf *g = NULL;
    nct_status status = nct_gguf_open(nct_test_path("%s/%s", dir, name), &files, &t, &g, err);
    if (status == NCT_OK)
        assert_true(nct_gguf_has(g, "general.architecture"));
    *n_tensors = t.n;
    nct_gguf_close(g);
    nct_tensors_close(&t);
    nct_files_close(&files);
    return status;
}

static void test_gguf__split_models_are_read_from_their_first_part(void **state) {
    (void)state;
    const char *dir = nct_test_folder();
    size_t n;
    nct_error err = {0};
    write_part(dir, "m-00001-of-00003.gguf", 0, 3, "a", 3);
    write_part(dir, "m-00002-of-00003.gguf", 1, 3, "b", 0);
    check_sentence(&err, open_split(dir, "m-00001-of-00003.gguf", &n, &err), NCT_E_IO,
                   "m-00003-of-00003.gguf");
    write_part(dir, "m-00003-of-00003.gguf", 2, 3, "c", 0);
    NCT_ASSERT_OK(open_split(dir, "m-00001-of-00003.gguf", &n, fault));
    assert_int_equal(n, 3);
    check_sentence(&err, open_split(dir, "m-00002-of-00003.gguf", &n, &err), NCT_E_ARGUMENT,
                   "part 2 of a split model; give the first part");

    write_part(dir, "m-00003-of-00003.gguf", 1, 3, "c", 0);
    check_sentence(&err, open_split(dir, "m-00001-of-00003.gguf", &n, &err), NCT_E_FORMAT,
                   "says it is part 2 of 3, expected 3 of 3");
    write_part(dir, "m-00003-of-00003.gguf", 2, 3, "a", 0);
    check_sentence(&err, open_split(dir, "m-00001-of-00003.gguf", &n, &err), NCT_E_FORMAT,
                   "'a' is there twice");
    write_part(dir, "m-00003-of-00003.gguf", 2, 3, "c", 0);
    write_part(dir, "m-00001-of-00003.gguf", 0, 3, "a", 4);
    check_sentence(&err, open_split(dir, "m-00001-of-00003.gguf", &n, &err), NCT_E_FORMAT,
                   "hold 3 tensors, expected 4");
    write_part(dir, "renamed.gguf", 0, 3, "a", 3);
    check_sentence(&err, open_split(dir, "renamed.gguf", &n, &err), NCT_E_FORMAT,
                   "should end in '-00001-of-00003.gguf'");
    write_part(dir, "m-00001-of-00003.gguf", 0, 4000000000u, "a", 4);
    check_sentence(&err, open_split(dir, "m-00001-of-00003.gguf", &n, &err), NCT_E_FORMAT,
                   "one of 4000000000 parts");
    nct_test_folder_remove(dir);
}

static void test_gguf__allocations_that_fail_leave_nothing(void **state) {
    (void)state;
    nct_bytes file = small();
    long n = 0;
    for (nct_status status = NCT_E_MEMORY; status != NCT_OK; n++) {
        nct_tensors t;
        nct_gguf *g;
        nct_mem_fail_in = n;
        status = parse(&file, &t, &g, NULL);
        nct_mem_fail_in = -1;
        assert_true(status == NCT_OK || status == NCT_E_MEMORY);
        nct_gguf_close(g);
        nct_tensors_close(&t);
        assert_in_range(n, 0, 1000);
    }
    assert_true(n > 5);
    nct_bytes_reset(&file);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gguf__values_are_found_by_key_and_kind),
        cmocka_unit_test(test_gguf__arrays_of_strings_and_numbers),
        cmocka_unit_test(test_gguf__every_scalar_type_reads_as_a_number),
        cmocka_unit_test(test_gguf__tensors_have_their_dims_turned_round),
        cmocka_unit_test(test_gguf__other_versions_are_refused),
        cmocka_unit_test(test_gguf__huge_counts_are_refused_before_anything_is_allocated),
        cmocka_unit_test(test_gguf__value_types_must_be_known_and_nesting_shallow),
        cmocka_unit_test(test_gguf__a_key_is_there_once),
        cmocka_unit_test(test_gguf__tensors_that_lie_are_refused),
        cmocka_unit_test(test_gguf__offsets_must_be_aligned_and_apart),
        cmocka_unit_test(test_gguf__every_truncation_is_refused_or_loses_only_padding),
        cmocka_unit_test(test_gguf__split_models_are_read_from_their_first_part),
        cmocka_unit_test(test_gguf__allocations_that_fail_leave_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
