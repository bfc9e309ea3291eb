/* The table of tensors: found by name, never twice, never sharing bytes. */
#include "format/tensors.h"

#include "refused.h"

static uint8_t bytes[4096];

static nct_status add(nct_tensors *t, const char *name, size_t off, size_t n, nct_error *err) {
    nct_tensor tensor = {
        .path = "f", .type = NCT_TYPE_U8, .n_dims = 1, .dims = {n}, .data = bytes + off, .n_bytes = n};
    return nct_tensors_add(t, &tensor, name, strlen(name), err);
}

static void test_tensors__thousands_are_found_by_name(void **state) {
    (void)state;
    nct_tensors t = {0};
    assert_null(nct_tensors_find(&t, "0"));
    for (size_t i = 0; i < 3000; i++)
        NCT_ASSERT_OK(add(&t, nct_test_path("model.layers.%zu.w", i), i, 1, fault));
    for (size_t i = 0; i < 3000; i++) {
        const nct_tensor *found = nct_tensors_find(&t, nct_test_path("model.layers.%zu.w", i));
        assert_ptr_equal(found, &t.item[i]);
        assert_ptr_equal(found->data, bytes + i);
    }
    assert_null(nct_tensors_find(&t, "model.layers.3000.w"));
    assert_null(nct_tensors_find(&t, "model.layers.1."));
    assert_null(nct_tensors_find(&t, ""));
    nct_tensors_close(&t);
    assert_int_equal(t.n, 0);
}

static void test_tensors__a_name_is_there_once(void **state) {
    (void)state;
    nct_tensors t = {0};
    nct_error err = {0};
    NCT_ASSERT_OK(add(&t, "a", 0, 4, fault));
    NCT_ASSERT_OK(add(&t, "ab", 4, 4, fault)); /* a longer name is another one */
    check_sentence(&err, add(&t, "a", 8, 4, &err), NCT_E_FORMAT, "'a' is there twice");
    nct_tensor tensor = {.path = "f", .data = bytes};
    check_sentence(&err, nct_tensors_add(&t, &tensor, "a\0b", 3, &err), NCT_E_FORMAT, "NUL");
    assert_int_equal(t.n, 2);
    nct_tensors_close(&t);
}

static void test_tensors__shared_bytes_are_seen_and_empty_tensors_share_nothing(void **state) {
    (void)state;
    nct_tensors t = {0};
    nct_error err = {0};
    NCT_ASSERT_OK(add(&t, "c", 20, 10, fault));
    NCT_ASSERT_OK(add(&t, "a", 0, 10, fault));
    NCT_ASSERT_OK(add(&t, "b", 10, 10, fault));
    NCT_ASSERT_OK(add(&t, "empty", 10, 0, fault));
    NCT_ASSERT_OK(add(&t, "empty too", 10, 0, fault));
    NCT_ASSERT_OK(nct_tensors_check_overlap(&t, 0, fault));
    NCT_ASSERT_OK(add(&t, "d", 29, 1, fault));
    check_sentence(&err, nct_tensors_check_overlap(&t, 0, &err), NCT_E_FORMAT, "'c' and 'd' share bytes");
    NCT_ASSERT_OK(nct_tensors_check_overlap(&t, 5, fault)); /* of another file */
    nct_tensors_close(&t);
}

static void test_tensors__types_have_names(void **state) {
    (void)state;
    assert_string_equal(nct_type_name(NCT_TYPE_BF16), "BF16");
    assert_string_equal(nct_type_name(NCT_TYPE_F8_E5M2), "F8_E5M2");
    assert_string_equal(nct_type_name(12), "Q4_K");
    assert_string_equal(nct_type_name(99999), "?");
}

static void test_tensors__allocations_that_fail_leave_a_table_that_works(void **state) {
    (void)state;
    nct_tensors t = {0};
    for (size_t i = 0; i < 200; i++) {
        nct_error err = {0};
        nct_mem_fail_in = (long)(i % 3);
        nct_status status = add(&t, nct_test_path("t%zu", i), i, 1, &err);
        nct_mem_fail_in = -1;
        if (status != NCT_OK) {
            assert_int_equal(status, NCT_E_MEMORY);
            assert_null(nct_tensors_find(&t, nct_test_path("t%zu", i)));
            NCT_ASSERT_OK(add(&t, nct_test_path("t%zu", i), i, 1, fault));
        }
        assert_int_equal(t.n, i + 1);
    }
    for (size_t i = 0; i < 200; i++)
        assert_non_null(nct_tensors_find(&t, nct_test_path("t%zu", i)));
    nct_tensors_close(&t);
}

static void test_files__a_missing_file_leaves_the_list_as_it_was(void **state) {
    (void)state;
    const char *dir = nct_test_folder();
    nct_test_write(nct_test_path("%s/a", dir), "abc", 3);
    nct_files files = {0};
    const struct nct_file *file = NULL;
    NCT_ASSERT_OK(nct_files_open(&files, nct_test_path("%s/a", dir), &file, fault));
    assert_int_equal(file->map.n_bytes, 3);
    assert_int_equal(nct_files_open(&files, nct_test_path("%s/b", dir), &file, NULL), NCT_E_IO);
    assert_int_equal(files.n, 1);
    nct_files_close(&files);
    nct_test_folder_remove(dir);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tensors__thousands_are_found_by_name),
        cmocka_unit_test(test_tensors__a_name_is_there_once),
        cmocka_unit_test(test_tensors__shared_bytes_are_seen_and_empty_tensors_share_nothing),
        cmocka_unit_test(test_tensors__types_have_names),
        cmocka_unit_test(test_tensors__allocations_that_fail_leave_a_table_that_works),
        cmocka_unit_test(test_files__a_missing_file_leaves_the_list_as_it_was),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
