#include "text/chat_write.h"

#include "text/fixture.h"

static nct_json *parse(const char *s) {
    nct_json *json = NULL;
    NCT_ASSERT_OK(nct_json_parse("test", s, strlen(s), &json, fault));
    return json;
}

typedef void write_fn(nct_chat_writer *w, const nct_json *value);

static void assert_writes(write_fn *write, const char *json, const char *expected) {
    nct_chat_text text = {0};
    nct_chat_writer w = {.out = &text};
    nct_json *value = parse(json);
    write(&w, value);
    assert_int_equal(w.status, NCT_OK);
    assert_string_equal(text.text.data, expected);
    assert_int_equal(text.n_markup, 0);
    nct_json_close(value);
    nct_chat_text_reset(&text);
}

static void test_chat_write__values_as_python_prints_them(void **state) {
    (void)state;
    assert_writes(nct_chat_python, "\"it's\\n\"", "it's\n");
    assert_writes(nct_chat_python, "true", "True");
    assert_writes(nct_chat_python, "[\"a\",[],{},null,false,1.5,-0.001]",
                  "['a', [], {}, None, False, 1.5, -0.001]");
    assert_writes(nct_chat_python_literal, "\"it's\"", "\"it's\"");
    assert_writes(nct_chat_python_literal, "\"it's \\\"so\\\"\"", "'it\\'s \"so\"'");
    assert_writes(nct_chat_python_literal,
                  "\"\\\\ \\t\\r\\n\\u0001\\u007f\\u00a0\\u00e9\\u200b\\ufeff\\ud83d\\ude42\\udb40\\udc01\"",
                  "'\\\\ \\t\\r\\n\\x01\\x7f\\xa0\xc3\xa9\\u200b\\ufeff\xf0\x9f\x99\x82\\U000e0001'");
    assert_writes(nct_chat_python_literal, "{\"k\\n\":{\"a\":1}}", "{'k\\n': {'a': 1}}");
}

static void test_chat_write__values_as_json(void **state) {
    (void)state;
    assert_writes(nct_chat_json, "{\"a\":[1,2],\"b\":\"\\u00e9<\\n\"}",
                  "{\"a\": [1, 2], \"b\": \"\xc3\xa9<\\n\"}");
    assert_writes(nct_chat_json, "123456789012", "123456789012");
}

static void test_chat_write__markup_is_kept_apart(void **state) {
    (void)state;
    nct_chat_text text = {0};
    nct_chat_writer w = {.out = &text};
    nct_chat_markup(&w, "");
    nct_chat_markup(&w, "ab");
    nct_chat_markup(&w, "c");
    nct_chat_content(&w, "x\0y", 3);
    nct_chat_content(&w, "", 0);
    nct_chat_markup(&w, "d");
    assert_int_equal(text.text.n, 7);
    assert_int_equal(text.n_markup, 2);
    assert_int_equal(text.markup[0].begin, 0);
    assert_int_equal(text.markup[0].end, 3);
    assert_int_equal(text.markup[1].begin, 6);
    assert_int_equal(text.markup[1].end, 7);
    nct_chat_text_reset(&text);
}

static void test_chat_write__keeps_the_first_failure(void **state) {
    (void)state;
    nct_chat_text text = {0};
    nct_error err;
    nct_chat_writer w = {.out = &text, .err = &err};
    nct_chat_content(&w, "a", 1);
    nct_chat_fail(&w, "first %d", 1);
    nct_chat_fail(&w, "second");
    nct_chat_content(&w, "b", 1);
    nct_chat_markup(&w, "c");
    assert_false(nct_chat_ok(&w));
    assert_int_equal(w.status, NCT_E_ARGUMENT);
    assert_string_equal(err.text, "first 1");
    assert_string_equal(text.text.data, "a");
    nct_chat_text_reset(&text);
}

static void test_chat_write__calls_wrapped_or_not(void **state) {
    (void)state;
    static const char *const calls[] = {
        "{\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":{\"x\":1}}}",
        "{\"name\":\"f\",\"arguments\":{\"x\":1}}", "{\"name\":\"f\",\"arguments\":\" {\\\"x\\\":1} \"}"};
    for (int i = 0; i < 3; i++) {
        nct_chat_text text = {0};
        nct_chat_writer w = {.out = &text};
        nct_chat_call call;
        nct_json *json = parse(calls[i]);
        nct_chat_call_open(&w, json, &call);
        assert_true(nct_chat_ok(&w));
        assert_string_equal(call.name, "f");
        assert_int_equal(nct_json_int(nct_json_get(call.arguments, "x"), 0), 1);
        nct_chat_call_close(&call);
        nct_json_close(json);
        nct_chat_text_reset(&text);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_chat_write__values_as_python_prints_them),
        cmocka_unit_test(test_chat_write__values_as_json),
        cmocka_unit_test(test_chat_write__markup_is_kept_apart),
        cmocka_unit_test(test_chat_write__keeps_the_first_failure),
        cmocka_unit_test(test_chat_write__calls_wrapped_or_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
