#include "reader.h"

static void takes(const char *grammar, const char *const *taken, const char *const *refused) {
    check_texts(nct_grammar_add_gbnf, grammar, taken, refused);
}
static void refuses(const char *grammar, const char *says) {
    check_refused(nct_grammar_add_gbnf, grammar, says);
}

static void test_gbnf__takes_literals_classes_and_names(void **state) {
    (void)state;
    takes("root ::= \"a\" [b-d] foo\nfoo ::= [^x-z\\n] .\n",
          TEXTS("abqq", "ada\xc3\xa9", "ad\xe6\xbc\xa2\xf0\x9f\x98\x80"),
          TEXTS("", "a", "aeqq", "abxq", "abq", "abqqq", "abq\xff", "ab\nq"));
}

static void test_gbnf__takes_escapes(void **state) {
    (void)state;
    takes("root ::= \"\\x41\\u00e9\\U0001F600\\n\\t\\\\\\\"\" [\\]\\[\\-^]",
          TEXTS("A\xc3\xa9\xf0\x9f\x98\x80\n\t\\\"]", "A\xc3\xa9\xf0\x9f\x98\x80\n\t\\\"^"),
          TEXTS("A", "A\xc3\xa9\xf0\x9f\x98\x80\n\t\\\"a"));
}

static void test_gbnf__repeats(void **state) {
    (void)state;
    takes("root ::= \"a\"* \"b\"+ \"c\"? (\"de\"){2} [0-9]{1,3} \"x\"{2,} \"y\"{,2}",
          TEXTS("bdede1xx", "aabbbcdede123xxxxyy"),
          TEXTS("adede1xx", "bde1xx", "bdedexx", "bdede1234xx", "bdede1x", "bdede1xxyyy", "bccdede1xx"));
    takes("root ::= \"ab\"*", TEXTS("", "ab", "abab"), TEXTS("a", "aba"));
    takes("root ::= (\"a\"? \"b\"?)* \"c\"", TEXTS("c", "abc", "bac", "aabbc"), TEXTS("", "ab"));
    takes("root ::= \"a\"{0} \"b\"", TEXTS("b"), TEXTS("ab"));
}

static void test_gbnf__lets_rules_go_over_lines_and_comments(void **state) {
    (void)state;
    takes("# first\nroot ::= # why\n  a |\n  \"c\"\n  | (\n    \"d\" # in a group\n    \"e\"\n  )\n\na ::= "
          "\"a\"\n",
          TEXTS("a", "c", "de"), TEXTS("", "d", "ade"));
    takes("root ::= a\na ::=\n", TEXTS(""), TEXTS("a"));
    takes("root ::= \"a\"\r\n  | \"b\"\r\n", TEXTS("a", "b"), TEXTS("\r"));
}

static void test_gbnf__recurses(void **state) {
    (void)state;
    takes("root ::= \"(\" root \")\" | \"x\" | \"[\" list \"]\"\nlist ::= root (\",\" list)?\n",
          TEXTS("x", "((x))", "[x,(x),[x]]"), TEXTS("", "((x)", "[x,]", "[]"));
    takes("root ::= \"a\" root \"b\" | \"a\" root \"c\" | \"d\"", TEXTS("d", "aaadbcb"),
          TEXTS("aadb", "aaadbcbb"));
    takes("root ::= a a a\na ::= (\"x\" a)?\n", TEXTS("", "x", "xxxxx"), TEXTS("y"));
    takes("root ::= w*\nw ::= \"a\" | \"aa\" | \"aaa\"\n", TEXTS("", "a", "aaaaaaaaaa"), TEXTS("b"));
}

static void test_gbnf__takes_the_grammar_of_json(void **state) {
    (void)state;
    takes(
        "root   ::= object\n"
        "value  ::= object | array | string | number | (\"true\" | \"false\" | \"null\") ws\n"
        "object ::=\n"
        "  \"{\" ws (\n"
        "            string \":\" ws value\n"
        "    (\",\" ws string \":\" ws value)*\n"
        "  )? \"}\" ws\n"
        "array  ::=\n"
        "  \"[\" ws (\n"
        "            value\n"
        "    (\",\" ws value)*\n"
        "  )? \"]\" ws\n"
        "string ::=\n"
        "  \"\\\"\" (\n"
        "    [^\"\\\\\\x7F\\x00-\\x1F] |\n"
        "    \"\\\\\" ([\"\\\\bfnrt] | \"u\" [0-9a-fA-F]{4}) # escapes\n"
        "  )* \"\\\"\" ws\n"
        "number ::= (\"-\"? ([0-9] | [1-9] [0-9]{0,15})) (\".\" [0-9]+)? ([eE] [-+]? [0-9] [1-9]{0,15})? ws\n"
        "# Optional space: by convention, applied in this grammar after literal chars when allowed\n"
        "ws ::= | \" \" | \"\\n\" [ \\t]{0,20}\n",
        TEXTS("{}", "{\"a\": [1, -2.5e3, \"\\u00e9\\n\", true, null, {}]}\n"),
        TEXTS("", "[]", "{\"a\"}", "{\"a\":01}", "{,}"));
}

static void test_gbnf__refuses_what_is_malformed(void **state) {
    (void)state;
    refuses("", "no rule 'root'");
    refuses("a ::= \"a\"", "no rule 'root'");
    refuses("root ::= \"a\" b\n\n", "line 1: there is no rule 'b'");
    refuses("root ::= \"a\nb ::= \"c\"", "line 1: a literal or a class does not end");
    refuses("root ::= [a", "does not end");
    refuses("root ::= (\"a\"", "expected )");
    refuses("root ::= \"a\")", "expected the end of the line, found ')'");
    refuses("root \"a\"", "expected ::=");
    refuses("root ::= *", "expected a literal");
    refuses("root ::= \"\\q\"", "after a backslash");
    refuses("root ::= \"\\u12\"", "hexadecimal");
    refuses("root ::= \"\\uD800\"", "surrogate");
    refuses("root ::= [b-a]", "wrong way round");
    refuses("root ::= \"a\"{3,2}", "ends before it begins");
    refuses("root ::= \"a\"{1", "expected }");
    refuses("root ::= \"a\"{99999}", "more than 10000");
    refuses("root ::= \"a\"\nroot ::= \"b\"", "line 2: rule 'root' is defined twice");
    refuses("root ::= <think>", "expected a literal");
    refuses("::= \"a\"", "the name of a rule");
}

static void test_gbnf__refuses_what_never_ends_or_begins_with_itself(void **state) {
    (void)state;
    refuses("root ::= \"a\" root", "produce nothing");
    refuses("root ::= a\na ::= \"x\" b\nb ::= \"y\" a\n", "produce nothing");
    refuses("root ::= root \"a\" | \"b\"", "left recursion");
    refuses("root ::= a \"x\" | \"b\"\na ::= b\nb ::= root\n", "left recursion");
    refuses("root ::= e root \"a\" | \"b\"\ne ::= \"e\"?\n",
            "left recursion"); /* hidden by what may be empty */
}

static void test_gbnf__bounds_size_and_depth(void **state) {
    (void)state;
    nct_bytes text = {0};
    NCT_ASSERT_OK(nct_bytes_add_str(&text, "root ::= ", fault));
    for (int i = 0; i < 1000; i++)
        NCT_ASSERT_OK(nct_bytes_add_str(&text, "(", fault));
    refuses(text.data, "128 deep");
    nct_bytes_reset(&text);
    NCT_ASSERT_OK(nct_bytes_add_str(&text, "root ::= a\n", fault));
    for (int i = 0; i < 9000; i++)
        NCT_ASSERT_OK(nct_bytes_printf(&text, fault, "r%d ::= r%d\n", i, i + 1));
    NCT_ASSERT_OK(nct_bytes_add_str(&text, "r9000 ::= \"a\"\na ::= r0\n", fault));
    refuses(text.data, "too large");
    nct_bytes_reset(&text);
    refuses(
        "root ::= [a-z]{10000} [a-z]{10000} [a-z]{10000} [a-z]{10000} [a-z]{10000} [a-z]{10000} [a-z]{10000} "
        "[a-z]{10000} [a-z]{10000} [a-z]{10000} [a-z]{10000} [a-z]{10000} [a-z]{10000} [a-z]{10000} "
        "[a-z]{10000} "
        "[a-z]{10000} [a-z]{10000} [a-z]{10000} [a-z]{10000} [a-z]{10000} [a-z]{10000} [a-z]{10000} "
        "[a-z]{10000} "
        "[a-z]{10000} [a-z]{10000} [a-z]{10000} [a-z]{10000}",
        "too large");
}

/* 4,000 rules deep, each waiting for the one it calls. */
static void test_gbnf__goes_deep_without_falling(void **state) {
    (void)state;
    nct_bytes text = {0}, answer = {0};
    reader r;
    NCT_ASSERT_OK(nct_bytes_add_str(&text, "root ::= r0\n", fault));
    for (int i = 0; i < 4000; i++)
        NCT_ASSERT_OK(nct_bytes_printf(&text, fault, "r%d ::= r%d [a]*\n", i, i + 1));
    NCT_ASSERT_OK(nct_bytes_add_str(&text, "r4000 ::= \"b\"\n", fault));
    NCT_ASSERT_OK(reader_open(&r, nct_grammar_add_gbnf, text.data, fault));
    assert_true(reader_takes(&r, "b", 1));
    assert_true(reader_takes(&r, "baaaa", 5));
    assert_false(reader_takes(&r, "ab", 2));
    reader_close(&r);
    nct_bytes_reset(&text);
    for (int i = 0; i < 100000; i++)
        NCT_ASSERT_OK(nct_bytes_add_str(&answer, "(", fault));
    NCT_ASSERT_OK(reader_open(&r, nct_grammar_add_gbnf, "root ::= \"(\" root \")\" | \"x\"", fault));
    assert_false(reader_takes(&r, answer.data, answer.n));
    reader_close(&r);
    nct_bytes_reset(&answer);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gbnf__takes_literals_classes_and_names),
        cmocka_unit_test(test_gbnf__takes_escapes),
        cmocka_unit_test(test_gbnf__repeats),
        cmocka_unit_test(test_gbnf__lets_rules_go_over_lines_and_comments),
        cmocka_unit_test(test_gbnf__recurses),
        cmocka_unit_test(test_gbnf__takes_the_grammar_of_json),
        cmocka_unit_test(test_gbnf__refuses_what_is_malformed),
        cmocka_unit_test(test_gbnf__refuses_what_never_ends_or_begins_with_itself),
        cmocka_unit_test(test_gbnf__bounds_size_and_depth),
        cmocka_unit_test(test_gbnf__goes_deep_without_falling),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
