#include "base/jsonc.h"

#include "support/support.h"

static void refuse(const char *text, const char *because) {
    nct_json *json = NULL;
    nct_error err = {0};
    assert_int_equal(nct_jsonc_parse("settings", text, strlen(text), &json, &err), NCT_E_FORMAT);
    assert_non_null(strstr(err.text, because));
    assert_null(json);
}

static void test_jsonc__comments_are_passed_over(void **state) {
    (void)state;
    const char *text = "// first\n{ \"a\": 1, /* between\n */ \"b\": \"// no /* comment\" } // last";
    nct_json *json = NULL;
    NCT_ASSERT_OK(nct_jsonc_parse("settings", text, strlen(text), &json, fault));
    assert_int_equal(nct_json_int(nct_json_get(json, "a"), 0), 1);
    assert_string_equal(nct_json_string(nct_json_get(json, "b"), ""), "// no /* comment");
    nct_json_close(json);
}

static void test_jsonc__faults_name_their_line(void **state) {
    (void)state;
    refuse("{\n\"a\": 1,\n\"b\" 2}", "line 3");
    refuse("{\n/* x", "line 2");
    refuse("{\"a\": 1, \"b\": {\"c\": 1, \"c\": 2}}", "'c' stands there twice");
    refuse("{\n\"a\": \"\xff\"}", "line 2");
    refuse("{\"a\": \"x", "line 1");
}

static void change(const char *text, const char *key, const char *member, const char *expected) {
    nct_bytes out = {0};
    NCT_ASSERT_OK(nct_jsonc_set("settings", text, strlen(text), key, member, "2", &out, fault));
    assert_string_equal(out.data, expected);
    nct_bytes_reset(&out);
}

static void test_jsonc__changes_leave_all_else_as_it_stands(void **state) {
    (void)state;
    change("{ // mine\n  \"a\" : 1, /* one */ \"b\": [1,\n2] }", "a", NULL,
           "{ // mine\n  \"a\" : 2, /* one */ \"b\": [1,\n2] }");
    change("{\"a\": 1, \"b\": {\"}\": \"{\"} }", "b", NULL, "{\"a\": 1, \"b\": 2 }");
    change("{\n  \"a\": 1 // one\n}\n", "b", NULL, "{\n  \"a\": 1,\n  \"b\": 2 // one\n}\n");
    change("{\n  \"c\": {\"m\": 1}\n}\n", "c", "m", "{\n  \"c\": {\"m\": 2}\n}\n");
    change("{}", "c", "m", "{\n  \"c\": {\"m\": 2}\n}");
    change("{\"\\u0061\": 1}", "a", NULL, "{\"\\u0061\": 2}");
    change("", "a", NULL, "{\n  \"a\": 2\n}\n");
    change("// mine", "a", NULL, "// mine\n{\n  \"a\": 2\n}\n");
}

static void test_jsonc__what_has_no_members_is_left(void **state) {
    (void)state;
    nct_bytes out = {0};
    nct_error err = {0};
    const char *text = "{\"cache\": \"off\"}";
    assert_int_equal(nct_jsonc_set("settings", text, strlen(text), "cache", "max", "2", &out, &err), NCT_E_FORMAT);
    assert_int_equal(nct_jsonc_set("settings", "[1]", 3, "cache", NULL, "2", &out, &err), NCT_E_FORMAT);
    assert_int_equal(out.n, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_jsonc__comments_are_passed_over),
        cmocka_unit_test(test_jsonc__faults_name_their_line),
        cmocka_unit_test(test_jsonc__changes_leave_all_else_as_it_stands),
        cmocka_unit_test(test_jsonc__what_has_no_members_is_left),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
