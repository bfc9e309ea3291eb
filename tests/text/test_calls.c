/* Calls of tools out of answers: those that are well-formed, and the rest as text. */
#include "support/support.h"
#include "text/calls.h"
#include "text/literal.h"

static const char tools[] =
    "[{\"type\":\"function\",\"function\":{\"name\":\"weather\",\"parameters\":{\"type\":\"object\",\"properties\":{"
    "\"city\":{\"type\":\"string\"},\"days\":{\"type\":\"integer\"},\"hours\":{\"type\":\"array\"},"
    "\"unit\":{\"enum\":[\"C\",\"F\"]},\"note\":{\"type\":[\"string\",\"null\"]}}}}}]";

#define CALL(n, name, arguments) \
    "{\"id\":\"call_" #n "\",\"type\":\"function\",\"function\":{\"name\":\"" name "\",\"arguments\":\"" arguments "\"}}"

/* calls NULL: there are none */
static void assert_calls(nct_call_form form, const char *text, const char *content, const char *calls) {
    nct_bytes rest = {0}, found = {0};
    size_t n;
    NCT_ASSERT_OK(nct_calls_read(form, text, strlen(text), tools, &rest, &found, &n, fault));
    if (!calls) {
        if (n || found.data || rest.data)
            fail_msg("'%s': %s", text, found.data);
        return;
    }
    if (!found.data)
        fail_msg("'%s': no call", text);
    assert_string_equal(found.data, calls);
    assert_string_equal(rest.data, content);
    nct_bytes_reset(&rest);
    nct_bytes_reset(&found);
}

static void test_calls__elements(void **state) {
    (void)state;
    const nct_call_form form = NCT_CALLS_ELEMENTS;
    assert_calls(form, "<function name=\"weather\"><param name=\"city\">London</param></function>", "",
                 "[" CALL(1, "weather", "{\\\"city\\\": \\\"London\\\"}") "]");
    assert_calls(form, "I look.\n<function name=\"weather\">\n  <param name=\"city\">12</param>\n"
                       "<param name='days'>3</param></function>\n<function name='f'></function>",
                 "I look.",
                 "[" CALL(1, "weather", "{\\\"city\\\": \\\"12\\\", \\\"days\\\": 3}") "," CALL(2, "f", "{}") "]");
    /* what a definition says decides what a text is; without one it decides itself */
    assert_calls(form, "<function name=\"weather\"><param name=\"days\">many</param><param name=\"hours\">[1, 'a', None]"
                       "</param><param name=\"unit\">5</param><param name=\"note\">true</param>"
                       "<param name=\"other\">True</param><param name=\"word\">'x'</param></function>",
                 "",
                 "[" CALL(1, "weather",
                          "{\\\"days\\\": \\\"many\\\", \\\"hours\\\": [1, \\\"a\\\", null], \\\"unit\\\": \\\"5\\\", "
                          "\\\"note\\\": \\\"true\\\", \\\"other\\\": true, \\\"word\\\": \\\"'x'\\\"}") "]");
    assert_calls(form, "<function name=\"f\"><param name=\"x\"><![CDATA[a < b]]]]>\n</param></function>", "",
                 "[" CALL(1, "f", "{\\\"x\\\": \\\"a < b]]\\\"}") "]");
    assert_calls(form, "<function name=\"f\"><param name=\"x\"><![CDATA[a]]>b]]></param></function>", "",
                 "[" CALL(1, "f", "{\\\"x\\\": \\\"a]]>b\\\"}") "]");
    assert_calls(form, "<function name=\"f\"><param name=\"x\"><![CDATA[</param>\n&]]></param></function>", "",
                 "[" CALL(1, "f", "{\\\"x\\\": \\\"</param>\\\\n&\\\"}") "]");
}

static void test_calls__malformed_elements_stay_text(void **state) {
    (void)state;
    static const char *const all[] = {
        "no call at all",
        "<function name=\"f\">",
        "<function name=\"f\"><param name=\"x\">1</param>",
        "<function name=\"f\"><param name=\"x\">1</function>",
        "<function name=\"f\">loose</function>",
        "<function name=\"\"></function>",
        "<function></function>",
        "<function name=\"f\"><param>1</param></function>",
        "<function name=\"f\"><param name=\"x\">1</param><param name=\"x\">2</param></function>",
        "<function name=\"f\"><param name=\"x\"><![CDATA[1</param></function>",
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        assert_calls(NCT_CALLS_ELEMENTS, all[i], NULL, NULL);
    assert_calls(NCT_CALLS_ELEMENTS, "<function name=\"f\"> and <function name=\"g\"></function> too",
                 "<function name=\"f\"> and  too", "[" CALL(1, "g", "{}") "]");
    assert_calls(NCT_CALLS_NONE, "<function name=\"g\"></function>", NULL, NULL);
}

#define BLOCK(s) "<|tool_call_start|>\n```python\n" s "\n```\n<|tool_call_end|>"

static void test_calls__python(void **state) {
    (void)state;
    const nct_call_form form = NCT_CALLS_PYTHON;
    assert_calls(form, BLOCK("weather(city=\"London\",days=2)") "\n", "",
                 "[" CALL(1, "weather", "{\\\"city\\\": \\\"London\\\", \\\"days\\\": 2}") "]");
    assert_calls(form, "Wait. " BLOCK("a.b(x=[1, 2.5, -3], y={'k': (1, 2), \"z\": None})\nc(class=True, t='''a\nb''')") " Done.",
                 "Wait.  Done.",
                 "[" CALL(1, "a.b", "{\\\"x\\\": [1, 2.5, -3], \\\"y\\\": {\\\"k\\\": [1, 2], \\\"z\\\": null}}") ","
                     CALL(2, "c", "{\\\"class\\\": true, \\\"t\\\": \\\"a\\\\nb\\\"}") "]");
    assert_calls(form, "<|tool_call_start|>f()<|tool_call_end|>", "", "[" CALL(1, "f", "{}") "]");
    assert_calls(form, BLOCK("weather('Rome', 3)"), "",
                 "[" CALL(1, "weather", "{\\\"city\\\": \\\"Rome\\\", \\\"days\\\": 3}") "]");
    assert_calls(form, BLOCK("f(x=1,)"), "", "[" CALL(1, "f", "{\\\"x\\\": 1}") "]");
}

static void test_calls__malformed_python_stays_text(void **state) {
    (void)state;
    static const char *const all[] = {
        BLOCK("f(x=1"),      BLOCK("f(x=)"),        BLOCK("f(x=1 y=2)"),      BLOCK("f(1)"),    BLOCK("f(x=y)"),
        BLOCK("print"),      BLOCK(""),             BLOCK("f(x=1, x=2)"),     BLOCK("f(x='a)"), BLOCK("f(x=1)\nf("),
        BLOCK("f(x=open(1))"), BLOCK("3(x=1)"),     BLOCK("f(x={1: 2})"),     BLOCK("f(x=[1)"), "<|tool_call_start|>f(x=1)",
        "f(x=1)<|tool_call_end|>", BLOCK("f(x=007)"), BLOCK("f(x=1j)"),       BLOCK("f(x=(1))"), BLOCK("f(x=f'a')"),
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        assert_calls(NCT_CALLS_PYTHON, all[i], NULL, NULL);
    assert_calls(NCT_CALLS_PYTHON, BLOCK("f(") BLOCK("g()"), BLOCK("f("), "[" CALL(1, "g", "{}") "]");
}

static void assert_literal(const char *text, const char *expected, size_t n_rest) {
    nct_bytes out = {0};
    size_t n_used;
    NCT_ASSERT_OK(nct_bytes_add_str(&out, "=", fault));
    NCT_ASSERT_OK(nct_literal_read(text, strlen(text), &out, &n_used, fault));
    assert_string_equal(out.data + 1, expected);
    assert_int_equal(n_used, *expected ? strlen(text) - n_rest : 0);
    nct_bytes_reset(&out);
}

static void test_calls__literals(void **state) {
    (void)state;
    assert_literal(" 'a\"b' ", "\"a\\\"b\"", 1);
    assert_literal("'\\n\\x41\\u4e2d\\U0001F600\\101\\q\\\\'", "\"\\nA\xe4\xb8\xad\xf0\x9f\x98\x80" "A\\\\q\\\\\"", 0);
    assert_literal("\"\\ud83d\\ude00 \\ud83d\"", "\"\xf0\x9f\x98\x80 \xef\xbf\xbd\"", 0);
    assert_literal("r'\\d'", "\"\\\\d\"", 0);
    assert_literal("1_000", "1000", 0);
    assert_literal(".5", "0.5", 0);
    assert_literal("-1.", "-1.0", 0);
    assert_literal("+2e-3,", "2e-3", 1);
    assert_literal("[]", "[]", 0);
    assert_literal("()", "[]", 0);
    assert_literal("(1,)", "[1]", 0);
    assert_literal("{}", "{}", 0);
    assert_literal("[true, False, null, None]", "[true, false, null, null]", 0);
    static const char *const bad[] = {"", "x", "[1", "[1 2]", "'a", "'a\nb'", "{'a'}", "{'a':}", "01", "1e", "1.2.3x", "-", "_1", "'\\x4'", "b'a'", "True1"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_literal(bad[i], "", 0);
    char deep[400];
    memset(deep, '[', 200);
    memset(deep + 200, ']', 199);
    deep[399] = 0;
    assert_literal(deep, "", 0);
}

static void test_calls__a_refused_allocation_is_a_status(void **state) {
    (void)state;
    static const char text[] = "x " BLOCK("weather(city=\"London\", days=[1, 2])\nf()") " y";
    for (long k = 0;; k++) {
        nct_bytes rest = {0}, found = {0};
        size_t n;
        nct_error err;
        atomic_store(&nct_mem_fail_in, k);
        nct_status status = nct_calls_read(NCT_CALLS_PYTHON, text, sizeof text - 1, tools, &rest, &found, &n, &err);
        atomic_store(&nct_mem_fail_in, -1);
        nct_bytes_reset(&rest);
        nct_bytes_reset(&found);
        if (status == NCT_OK && n == 2)
            break;
        if (status != NCT_OK)
            assert_int_equal(status, NCT_E_MEMORY);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_calls__elements),
        cmocka_unit_test(test_calls__malformed_elements_stay_text),
        cmocka_unit_test(test_calls__python),
        cmocka_unit_test(test_calls__malformed_python_stays_text),
        cmocka_unit_test(test_calls__literals),
        cmocka_unit_test(test_calls__a_refused_allocation_is_a_status),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
