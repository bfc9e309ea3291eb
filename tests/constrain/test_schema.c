#include "reader.h"

static void takes(const char *schema, const char *const *taken, const char *const *refused) {
    check_texts(nct_grammar_add_schema, schema, taken, refused);
}
static void refuses(const char *schema, const char *says) {
    check_refused(nct_grammar_add_schema, schema, says);
}

static void test_schema__knows_types(void **state) {
    (void)state;
    takes("{\"type\":\"boolean\"}", TEXTS("true", "false"), TEXTS("", "null", "True", "1"));
    takes("{\"type\":\"null\"}", TEXTS("null"), TEXTS("nul", "0"));
    takes("{\"type\":\"integer\"}", TEXTS("0", "-7", "1234567890123456"),
          TEXTS("", "-", "01", "1.0", "12345678901234567"));
    takes("{\"type\":\"number\"}", TEXTS("0", "-0.5", "1e9", "2.50E-3"), TEXTS(".5", "1.", "1e", "+1"));
    takes("{\"type\":\"string\"}", TEXTS("\"\"", "\"a\\n\\u00e9 \\ud83d\\ude00\xe6\xbc\xa2\""),
          TEXTS("a", "\"", "\"\n\"", "\"\\x\"", "\"\\ud83d\"", "\"\\ude00\"", "\"\xff\""));
    takes("{\"type\":[\"string\",\"null\",\"integer\"]}", TEXTS("null", "\"a\"", "5"), TEXTS("true", "[]"));
    takes("true", TEXTS("1", "{\"a\":[{}]}"), TEXTS("", "{a:1}"));
    takes("{}", TEXTS("[1, \"a\"]"), TEXTS("]"));
}

static void test_schema__knows_enum_and_const(void **state) {
    (void)state;
    takes("{\"enum\":[\"a\\\"b\",1,2.5,null,true,{\"x\":[1]}]}",
          TEXTS("\"a\\\"b\"", "1", "2.5", "null", "true", "{\"x\":[1]}"), TEXTS("\"a\"", "2", "false"));
    takes("{\"const\":null}", TEXTS("null"), TEXTS("1"));
    takes("{\"type\":\"string\",\"enum\":[1,\"a\"]}", TEXTS("\"a\""), TEXTS("1"));
    refuses("{\"enum\":[]}", "produce nothing");
    refuses("{\"enum\":[12345678901234567890]}", "too large to be kept exactly");
    refuses("{\"const\":\"a\\u0000b\"}", "\\u0000");
}

static void test_schema__knows_objects(void **state) {
    (void)state;
    takes("{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"integer\"},\"b\":{\"type\":\"string\"},"
          "\"c\":{}},"
          "\"required\":[\"b\"]}",
          TEXTS("{\"b\":\"x\"}", "{ \"a\": 1, \"b\": \"x\", \"c\": [] }", "{\"b\":\"x\",\"c\":1}"),
          TEXTS("{}", "{\"a\":1}", "{\"b\":\"x\",}", "{\"b\":\"x\",\"a\":1}", "{\"b\":1}",
                "{\"b\":\"x\",\"d\":1}", "{,\"b\":\"x\"}"));
    takes("{\"properties\":{\"a\":{\"type\":\"null\"}},\"additionalProperties\":false}",
          TEXTS("{}", "{\"a\":null}"), TEXTS("[]"));
    takes("{\"type\":\"object\",\"additionalProperties\":{\"type\":\"integer\"}}",
          TEXTS("{}", "{\"x\":1,\"y\":2}"), TEXTS("{\"x\":\"\"}"));
    takes("{\"type\":\"object\",\"additionalProperties\":false}", TEXTS("{}"), TEXTS("{\"x\":1}"));
    takes("{\"required\":[\"q\"]}", TEXTS("{\"q\":[1]}"), TEXTS("{}"));
    refuses("{\"required\":[\"q\"],\"additionalProperties\":false}", "forbids");
}

static void test_schema__knows_arrays(void **state) {
    (void)state;
    takes("{\"type\":\"array\",\"items\":{\"type\":\"integer\"},\"minItems\":2,\"maxItems\":3}",
          TEXTS("[1,2]", "[1, 2, 3]"), TEXTS("[]", "[1]", "[1,2,3,4]", "[1,]", "[1 2]"));
    takes("{\"type\":\"array\"}", TEXTS("[]", "[1,\"a\"]"), TEXTS("[,]"));
    takes("{\"prefixItems\":[{\"type\":\"integer\"},{\"type\":\"string\"}],\"items\":false,\"minItems\":1}",
          TEXTS("[1]", "[1,\"a\"]"), TEXTS("[]", "[\"a\"]", "[1,\"a\",2]"));
    takes("{\"prefixItems\":[{\"type\":\"integer\"}],\"items\":{\"type\":\"null\"}}",
          TEXTS("[]", "[1]", "[1,null,null]"), TEXTS("[null]", "[1,1]"));
    takes("{\"type\":\"array\",\"maxItems\":0}", TEXTS("[]"), TEXTS("[1]"));
    refuses("{\"type\":\"array\",\"minItems\":3,\"maxItems\":2}", "more than its counterpart");
}

static void test_schema__knows_lengths_and_formats(void **state) {
    (void)state;
    takes("{\"type\":\"string\",\"minLength\":2,\"maxLength\":3}",
          TEXTS("\"ab\"", "\"\xe6\xbc\xa2\\n\\u00e9\""), TEXTS("\"a\"", "\"abcd\"", "\"\xe6\xbc\xa2\""));
    takes("{\"type\":\"string\",\"format\":\"date\"}",
          TEXTS("\"2024-02-28\"", "\"1999-12-31\"", "\"2000-04-30\""),
          TEXTS("\"2023-02-29\"", "\"2024-04-31\"", "\"2024-13-01\"", "\"2024-1-1\"", "\"2024-00-10\"",
                "\"2024-10-00\""));
    takes("{\"format\":\"date-time\"}", TEXTS("\"2024-02-28T23:59:00Z\"", "\"2024-02-28T00:00:00.25+01:30\""),
          TEXTS("\"2024-02-28\"", "\"2024-02-28T24:00:00Z\"", "\"2024-02-28T23:59:00\""));
    takes("{\"format\":\"ipv4\"}", TEXTS("\"0.0.0.0\"", "\"255.249.19.5\""),
          TEXTS("\"256.1.1.1\"", "\"1.1.1\"", "\"01.1.1.1\""));
    takes("{\"format\":\"uuid\"}", TEXTS("\"01234567-89ab-cdef-0123-456789abcdef\""), TEXTS("\"01234567\""));
    takes("{\"format\":\"email\"}", TEXTS("\"a.b@c.de\""), TEXTS("\"a\"", "\".a@b.cc\"", "\"a@b\""));
    refuses("{\"type\":\"string\",\"format\":\"uri\"}", "format is not supported");
}

static void test_schema__knows_bounds_of_whole_numbers(void **state) {
    (void)state;
    takes("{\"type\":\"integer\",\"minimum\":-12,\"maximum\":305}",
          TEXTS("-12", "-9", "-1", "0", "7", "99", "100", "299", "305"),
          TEXTS("-13", "-20", "-0", "306", "310", "1000", "05", "3.0", "-"));
    takes("{\"type\":\"integer\",\"minimum\":3}", TEXTS("3", "10", "999999999999999"),
          TEXTS("2", "-3", "0", "1000000000000000"));
    takes("{\"type\":\"integer\",\"maximum\":-3}", TEXTS("-3", "-10", "-999999999999999"),
          TEXTS("-2", "3", "0"));
    takes("{\"type\":\"integer\",\"exclusiveMinimum\":1,\"exclusiveMaximum\":4.5}", TEXTS("2", "3", "4"),
          TEXTS("1", "5"));
    takes("{\"type\":\"integer\",\"minimum\":0,\"maximum\":0}", TEXTS("0"), TEXTS("1", "-0", "00"));
    takes("{\"type\":\"integer\",\"minimum\":-1e300,\"maximum\":1e300}", TEXTS("0", "-999999999999999"),
          TEXTS("a"));
    refuses("{\"type\":\"integer\",\"minimum\":3,\"maximum\":2}", "within its bounds");
    refuses("{\"type\":\"integer\",\"minimum\":1e17}", "within its bounds");
    refuses("{\"type\":\"integer\",\"minimum\":1.2,\"maximum\":1.8}", "within its bounds");
    refuses("{\"type\":\"integer\",\"minimum\":\"1\"}", "expected a number");
    refuses("{\"type\":\"number\",\"minimum\":3}", "whole numbers only");
    refuses("{\"minimum\":3}", "whole numbers only");
    for (int64_t low = -130; low <= 130; low += 13)
        for (int64_t high = low; high <= 140; high += 9) {
            nct_grammar g = {0};
            uint32_t rule = nct_grammar_rule(&g);
            nct_grammar_skip(&g, nct_grammar_integer(&g, g.rule[rule].start, low, high), g.rule[rule].end);
            NCT_ASSERT_OK(nct_grammar_finish(&g, rule, NULL, fault));
            nct_states *states = NULL;
            NCT_ASSERT_OK(nct_states_open(&g, &states, fault));
            for (int v = -200; v <= 200; v++) {
                char text[16];
                snprintf(text, sizeof text, "%d", v);
                uint32_t set = nct_states_begin(states, rule, false);
                for (const char *c = text; *c && set; c++)
                    set = nct_states_step(states, set, (uint8_t)*c);
                bool taken = set && nct_states_set(states, set)->flags & NCT_SET_ACCEPTS;
                if (taken != (v >= low && v <= high))
                    fail_msg("%d is %s %d to %d", v, taken ? "in" : "not in", (int)low, (int)high);
            }
            nct_states_close(states);
            nct_grammar_close(&g);
        }
}

static void test_schema__follows_references(void **state) {
    (void)state;
    takes("{\"$ref\":\"#/$defs/"
          "tree\",\"$defs\":{\"tree\":{\"type\":\"object\",\"required\":[\"v\"],\"properties\":{\"v\":{"
          "\"type\":"
          "\"integer\"},\"kids\":{\"type\":\"array\",\"items\":{\"$ref\":\"#/$defs/tree\"}}}}}}",
          TEXTS("{\"v\":1}", "{\"v\":1,\"kids\":[{\"v\":2,\"kids\":[]},{\"v\":3}]}"),
          TEXTS("{\"v\":1,\"kids\":[{}]}"));
    takes("{\"anyOf\":[{\"type\":\"null\"},{\"type\":\"array\",\"items\":{\"$ref\":\"#\"}}]}",
          TEXTS("null", "[[null],null]"), TEXTS("1"));
    takes("{\"allOf\":[{\"$ref\":\"#/definitions/a~1b/0\"}],\"definitions\":{\"a/b\":[{\"const\":1}]}}",
          TEXTS("1"), TEXTS("2"));
    refuses("{\"$ref\":\"#\"}", "produce nothing");
    refuses("{\"$ref\":\"#/$defs/none\"}", "leads nowhere");
    refuses("{\"$ref\":\"http://x/y\"}", "into the schema itself");
    refuses("{\"type\":\"object\",\"properties\":{\"a\":{\"$ref\":\"#\"}},\"required\":[\"a\"]}",
            "produce nothing");
}

static void test_schema__refuses_what_it_cannot_keep(void **state) {
    (void)state;
    refuses("{\"type\":\"string\",\"pattern\":\"a+\"}", "'pattern'");
    refuses("{\"type\":\"integer\",\"multipleOf\":3}", "'multipleOf'");
    refuses("{\"oneOf\":[{}]}", "'oneOf'");
    refuses("{\"type\":\"object\",\"properties\":{\"x\":{\"not\":{}}}}", "#/properties/x: 'not'");
    refuses("{\"type\":\"thing\"}", "no such type");
    refuses("{\"\":1}", "not supported");
    refuses("{\"type\":5}", "expected a name");
    refuses("[]", "a schema is an object");
    refuses("{\"type\":", "not valid JSON");
    refuses("false", "produce nothing");
    refuses("{\"anyOf\":[]}", "expected a list");
    takes("{\"type\":\"null\",\"title\":\"t\",\"description\":\"d\",\"default\":1,\"examples\":[1]}",
          TEXTS("null"), TEXTS("1"));
}

static void test_schema__bounds_depth(void **state) {
    (void)state;
    nct_bytes text = {0};
    for (int i = 0; i < 300; i++)
        NCT_ASSERT_OK(nct_bytes_add_str(&text, "{\"items\":", fault));
    NCT_ASSERT_OK(nct_bytes_add_str(&text, "{}", fault));
    for (int i = 0; i < 300; i++)
        NCT_ASSERT_OK(nct_bytes_add_str(&text, "}", fault));
    refuses(text.data, "nest too deep");
    nct_bytes_reset(&text);
}

static uint32_t add_json(nct_grammar *g, const char *text, size_t n) {
    (void)text;
    (void)n;
    return nct_grammar_add_json(g);
}

static void test_json__is_an_object(void **state) {
    (void)state;
    check_texts(add_json, "", TEXTS("{}", "{\"a\": [1, {\"b\": null}]}"),
                TEXTS("", "[]", "1", "{\"a\":}", "{} "));
}

static void test_choice__is_one_of_a_list(void **state) {
    (void)state;
    check_texts(nct_grammar_add_choice, "bug, feature ,a\\,b,x\\\\,caf\xc3\xa9,\\ y",
                TEXTS("bug", "feature", "a,b", "x\\", "caf\xc3\xa9", " y"),
                TEXTS("", "bu", "bugs", "a", " feature", "y"));
    check_refused(nct_grammar_add_choice, "a,,b", "choice 2 is empty");
    check_refused(nct_grammar_add_choice, "a,", "choice 2 is empty");
    check_refused(nct_grammar_add_choice, " ", "choice 1 is empty");
    check_refused(nct_grammar_add_choice, "a\\n", "backslash");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_schema__knows_types),
        cmocka_unit_test(test_schema__knows_enum_and_const),
        cmocka_unit_test(test_schema__knows_objects),
        cmocka_unit_test(test_schema__knows_arrays),
        cmocka_unit_test(test_schema__knows_lengths_and_formats),
        cmocka_unit_test(test_schema__knows_bounds_of_whole_numbers),
        cmocka_unit_test(test_schema__follows_references),
        cmocka_unit_test(test_schema__refuses_what_it_cannot_keep),
        cmocka_unit_test(test_schema__bounds_depth),
        cmocka_unit_test(test_json__is_an_object),
        cmocka_unit_test(test_choice__is_one_of_a_list),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
