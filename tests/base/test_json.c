#include "base/json.h"

#include <math.h>

#include "base/map.h"
#include "base/pages.h"
#include "support/support.h"

static nct_json *parse(const char *text) {
    nct_json *json = NULL;
    NCT_ASSERT_OK(nct_json_parse("test", text, strlen(text), &json, fault));
    return json;
}

static int allow_again(void **state) {
    (void)state;
    atomic_store(&nct_mem_fail_in, -1);
    return 0;
}

static void test_json__values_are_read_by_kind(void **state) {
    (void)state;
    nct_json *json = parse(
        "{\"s\": \"x\", \"n\": -1.5e2, \"t\": true, \"f\": false, \"z\": null, \"a\": [1, 2], \"o\": {}}");
    assert_true(nct_json_is_object(json));
    assert_string_equal(nct_json_string(nct_json_get(json, "s"), "no"), "x");
    assert_true(nct_json_number(nct_json_get(json, "n"), 0) == -150);
    assert_true(nct_json_bool(nct_json_get(json, "t"), false));
    assert_false(nct_json_bool(nct_json_get(json, "f"), true));
    assert_true(nct_json_is_string(nct_json_get(json, "s")));
    assert_true(nct_json_is_number(nct_json_get(json, "n")));
    assert_true(nct_json_is_bool(nct_json_get(json, "f")));
    assert_true(nct_json_is_array(nct_json_get(json, "a")));
    assert_int_equal(nct_json_size(json), 7);
    assert_int_equal(nct_json_size(nct_json_get(json, "a")), 2);
    assert_int_equal(nct_json_size(nct_json_get(json, "o")), 0);
    nct_json_close(json);
}

static void test_json__absent_null_and_wrong_kinds_give_the_fallback(void **state) {
    (void)state;
    nct_json *json = parse("{\"s\": \"x\", \"z\": null, \"a\": [1]}");
    assert_null(nct_json_get(json, "absent"));
    assert_null(nct_json_get(json, "S")); /* case-sensitive */
    assert_null(nct_json_get(json, "z"));
    assert_null(nct_json_get(NULL, "s"));
    assert_null(nct_json_get(nct_json_get(json, "a"), "s"));
    assert_null(nct_json_first(nct_json_get(json, "s")));
    assert_null(nct_json_next(NULL));
    assert_null(nct_json_string(NULL, NULL));
    assert_string_equal(nct_json_string(nct_json_get(json, "a"), "no"), "no");
    assert_true(nct_json_number(nct_json_get(json, "s"), 3) == 3);
    assert_int_equal(nct_json_int(nct_json_get(json, "s"), 3), 3);
    assert_true(nct_json_bool(nct_json_get(json, "s"), true));
    assert_string_equal(nct_json_key(NULL), "");
    assert_int_equal(nct_json_size(NULL), 0);
    bool seen = false; /* iteration does see the null */
    for (const nct_json *item = nct_json_first(json); item; item = nct_json_next(item))
        if (strcmp(nct_json_key(item), "z") == 0)
            seen = nct_json_is_null(item);
    assert_true(seen);
    nct_json_close(json);
}

static void test_json__only_exact_integers_are_integers(void **state) {
    (void)state;
    nct_json *json = parse("[0, -7, 9007199254740992, 1.5, 1e300, -1e300, 9007199254740994, 4294967296]");
    const int64_t expected[] = {0, -7, 9007199254740992, 42, 42, 42, 42, 4294967296};
    size_t i = 0;
    for (const nct_json *item = nct_json_first(json); item; item = nct_json_next(item), i++)
        assert_true(nct_json_int(item, 42) == expected[i]);
    assert_int_equal(i, 8);
    nct_json_close(json);
}

static void test_json__damaged_text_is_a_format_error_that_names_its_source(void **state) {
    (void)state;
    const char *const damaged[] = {"",     " ",     "{",       "[1,",     "{\"a\"}",    "{\"a\":}",
                                   "tru",  "\"abc", "\"\\u12", "\"\\x\"", "[1] 2",      "{} {}",
                                   "[1]]", "nan",   "{1:2}",   "-",       "\"\\ud800\""};
    for (size_t i = 0; i < sizeof damaged / sizeof *damaged; i++) {
        nct_json *json = NULL;
        nct_error err = {0};
        assert_int_equal(nct_json_parse("config.json", damaged[i], strlen(damaged[i]), &json, &err),
                         NCT_E_FORMAT);
        assert_null(json);
        assert_int_equal(strncmp(err.text, "config.json: ", 13), 0);
    }
    nct_json *json = NULL;
    assert_int_equal(nct_json_parse("x", "[1]\0", 4, &json, NULL), NCT_E_FORMAT);
    NCT_ASSERT_OK(nct_json_parse("x", " [1] \r\n\t ", 9, &json, fault));
    nct_json_close(json);
}

static void test_json__nesting_without_end_is_refused(void **state) {
    (void)state;
    enum { DEEP = 200000 };
    char *text = malloc(DEEP);
    nct_json *json = NULL;
    memset(text, '[', DEEP);
    assert_int_equal(nct_json_parse("x", text, DEEP, &json, NULL), NCT_E_FORMAT);
    for (size_t i = 0; i + 5 <= DEEP; i += 5)
        memcpy(text + i, "{\"a\":", 5);
    assert_int_equal(nct_json_parse("x", text, DEEP, &json, NULL), NCT_E_FORMAT);
    free(text);
}

/* Every beginning of a text, laid against memory that may not be touched. */
static void test_json__no_byte_past_the_end_is_read(void **state) {
    (void)state;
    static const char text[] = "\xef\xbb\xbf{\"a\\u00e9\\ud83d\\ude00\": [1, -2.5e-3, 12345, true, false, "
                               "null, \"\\\"\\n\"], \"1\":1, \"b\": {\"c\": \"\\\\\"}} ";
    size_t n_bytes = 65536;
    void *p = NULL;
    NCT_ASSERT_OK(nct_pages_reserve(&p, 2 * n_bytes, fault));
    NCT_ASSERT_OK(nct_pages_commit(p, 0, n_bytes, fault));
    for (size_t n = 0; n < sizeof text; n++) {
        char *at = (char *)p + n_bytes - n;
        memcpy(at, text, n);
        nct_json *json = NULL;
        nct_status status = nct_json_parse("x", at, n, &json, NULL);
        assert_int_equal(status, n >= sizeof text - 2 ? NCT_OK : NCT_E_FORMAT);
        if (status == NCT_OK)
            nct_json_close(json);
    }
    nct_pages_close(p, 2 * n_bytes);
}

static void test_json__files_are_read_and_missing_ones_said(void **state) {
    (void)state;
    const char *folder = nct_test_folder(), *path = nct_test_path("%s/a.json", folder);
    nct_json *json = NULL;
    nct_error err = {0};
    assert_int_equal(nct_json_open(path, &json, &err), NCT_E_IO);
    assert_non_null(strstr(err.text, path));
    nct_test_write(path, "[1,2", 4);
    assert_int_equal(nct_json_open(path, &json, &err), NCT_E_FORMAT);
    assert_non_null(strstr(err.text, path));
    nct_test_write(path, "[1,2]", 5);
    assert_int_equal(nct_json_open(path, &json, &err), NCT_OK);
    assert_int_equal(nct_json_size(json), 2);
    nct_json_close(json);
    nct_test_folder_remove(folder);
}

static void check_written(const char *text, bool spaced, const char *expected) {
    nct_json *json = parse(text);
    nct_bytes out = {0};
    NCT_ASSERT_OK(nct_json_write(json, spaced, &out, fault));
    assert_string_equal(out.data, expected);
    nct_bytes_reset(&out);
    nct_json_close(json);
}

static void test_json__writes_as_python_does(void **state) {
    (void)state;
    const char *text = "{ \"a\" : [ 1 , 2.5 , -3 , 1e-7, 1e22, true, null ] , \"é\" : { } , \"q\\\"\\\\\\/\" "
                       ": \"\\n\\t\\u0001\\u4f60\" }";
    check_written(
        text, true,
        "{\"a\": [1, 2.5, -3, 1e-07, 1e+22, true, null], \"é\": {}, \"q\\\"\\\\/\": \"\\n\\t\\u0001你\"}");
    check_written(text, false,
                  "{\"a\":[1,2.5,-3,1e-07,1e+22,true,null],\"é\":{},\"q\\\"\\\\/\":\"\\n\\t\\u0001你\"}");
    check_written("[0.1, 3.141592653589793, 100000000000000, 123456789012345680]", true,
                  "[0.1, 3.141592653589793, 100000000000000, 1.2345678901234568e+17]");
    check_written("[]", true, "[]");
    check_written("\"\"", true, "\"\"");
}

static void test_json__written_strings_are_valid_whatever_goes_in(void **state) {
    (void)state;
    const struct {
        const char *in;
        size_t n;
        const char *out;
    } cases[] = {
        {"a\0b", 3, "\"a\\u0000b\""},
        {"\x7f", 1, "\"\x7f\""},
        {"\xff", 1, "\"\xef\xbf\xbd\""},
        {"\xe4\xbd", 2, "\"\xef\xbf\xbd\xef\xbf\xbd\""},                                 /* cut short */
        {"\xc0\xaf", 2, "\"\xef\xbf\xbd\xef\xbf\xbd\""},                                 /* overlong */
        {"\xed\xa0\x80", 3, "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""},                 /* a surrogate */
        {"\xf4\x90\x80\x80", 4, "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""}, /* past U+10FFFF */
        {"\xf0\x9f\x99\x82", 4, "\"\xf0\x9f\x99\x82\""},
        {"\b\f\r\"\\/", 6, "\"\\b\\f\\r\\\"\\\\/\""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        nct_bytes out = {0};
        NCT_ASSERT_OK(nct_json_write_string(&out, cases[i].in, cases[i].n, fault));
        assert_string_equal(out.data, cases[i].out);
        nct_json *json = NULL;
        NCT_ASSERT_OK(nct_json_parse("written", out.data, out.n, &json, fault));
        nct_json_close(json);
        nct_bytes_reset(&out);
    }
}

static void test_json__writing_stops_at_the_first_refusal(void **state) {
    (void)state;
    nct_json *json = parse(
        "{\"a\": [1, 2, {\"b\": \"some longer text to make the buffer grow more than once\"}], \"c\": true}");
    for (long fail = 0;; fail++) {
        nct_bytes out = {0};
        atomic_store(&nct_mem_fail_in, fail);
        nct_status status = nct_json_write(json, true, &out, NULL);
        long left = atomic_exchange(&nct_mem_fail_in, -1);
        nct_bytes_reset(&out);
        if (status == NCT_OK) {
            assert_true(left >= 0 && fail >= 2);
            break;
        }
        assert_int_equal(status, NCT_E_MEMORY);
    }
    nct_json_close(json);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_json__values_are_read_by_kind),
        cmocka_unit_test(test_json__absent_null_and_wrong_kinds_give_the_fallback),
        cmocka_unit_test(test_json__only_exact_integers_are_integers),
        cmocka_unit_test(test_json__damaged_text_is_a_format_error_that_names_its_source),
        cmocka_unit_test(test_json__nesting_without_end_is_refused),
        cmocka_unit_test(test_json__no_byte_past_the_end_is_read),
        cmocka_unit_test(test_json__files_are_read_and_missing_ones_said),
        cmocka_unit_test(test_json__writes_as_python_does),
        cmocka_unit_test(test_json__written_strings_are_valid_whatever_goes_in),
        cmocka_unit_test_teardown(test_json__writing_stops_at_the_first_refusal, allow_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
