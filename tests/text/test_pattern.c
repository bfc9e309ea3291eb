#include "support/support.h"
#include "text/pattern.h"
#include "text/split.h"

/* The matches of a pattern in a text, with a bar between them and what lies between them. */
static void assert_cuts(const char *pattern, const char *text, const char *expected) {
    nct_pattern *p = NULL;
    char out[512];
    size_t n = strlen(text), at = 0, from, to, m = 0;
    int64_t steps = 1 << 20;
    NCT_ASSERT_OK(nct_pattern_open("test", pattern, strlen(pattern), &p, fault));
    while (nct_pattern_find(p, text, at, n, &steps, &from, &to)) {
        assert_true(from >= at && to > from && to <= n);
        m += (size_t)snprintf(out + m, sizeof out - m, "%.*s[%.*s]", (int)(from - at), text + at, (int)(to - from),
                              text + from);
        at = to;
    }
    snprintf(out + m, sizeof out - m, "%s", text + at);
    assert_string_equal(out, expected);
    nct_pattern_close(p);
}

static void test_pattern__matches_as_oniguruma_does(void **state) {
    (void)state;
    assert_cuts("ab|a", "aabab", "[a][ab][ab]");
    assert_cuts("a|ab", "aabab", "[a][a]b[a]b"); /* the first that fits, not the longest */
    assert_cuts("a{2,3}", "aaaaaaa", "[aaa][aaa]a");
    assert_cuts("a{2}", "aaaaa", "[aa][aa]a");
    assert_cuts("a{2,}b", "abaabaaab", "ab[aab][aaab]");
    assert_cuts("a*b", "aab", "[aab]");
    assert_cuts("a*ab", "aaab", "[aaab]");
    assert_cuts("a++b", "aab", "[aab]");
    assert_cuts("a++ab", "aaab", "aaab"); /* gives nothing back */
    assert_cuts("x?", "axa", "a[x]a");    /* the empty match is none */
    assert_cuts("\\s+(?!\\S)|\\s+", "a   b  ", "a[  ][ ]b[  ]");
    assert_cuts("a(?=b)", "aab", "a[a]b");
    assert_cuts("(?i:'s|'ll)", "it's IT'LL 'S", "it['s] IT['LL] ['S]");
    assert_cuts("(?i:'s)", "'\xc5\xbf", "['\xc5\xbf]"); /* the long s */
    assert_cuts("a(?:b|c)?d", "ad abd acd abcd", "[ad] [abd] [acd] abcd");
    assert_cuts("(a|b)c", "acbc", "[ac][bc]");
    assert_cuts("[^a-c]+", "abcxyzabc", "abc[xyz]abc");
    assert_cuts("[]a]+", "x]a]", "x[]a]]");
    assert_cuts("[a\\-z]+", "a-zb", "[a-z]b");
    assert_cuts("\\p{N}{1,3}", "1234\xe2\x85\xa7", "[123][4\xe2\x85\xa7]");
    assert_cuts("\\p{Lu}\\P{L}", "aB1C", "a[B1]C");
    assert_cuts("\\p{^L}+", "ab12cd", "ab[12]cd");
    assert_cuts("[\\p{L}\\p{M}]+", "e\xcc\x81t\xc3\xa9 1", "[e\xcc\x81t\xc3\xa9] 1");
    assert_cuts("[\xe4\xb8\x80-\xe9\xbe\xa5]+", "a\xe4\xb8\xad\xe6\x96\x87 b", "a[\xe4\xb8\xad\xe6\x96\x87] b");
    assert_cuts("\\s+", "a\xc2\xa0\xe3\x80\x80\xc2\x85\x62", "a[\xc2\xa0\xe3\x80\x80\xc2\x85]b");
    assert_cuts("\\x41\\x{4e2d}\\u6587", "A\xe4\xb8\xad\xe6\x96\x87", "[A\xe4\xb8\xad\xe6\x96\x87]");
    assert_cuts("a+$", "aa\na", "[aa]\n[a]");
    assert_cuts(".+", "ab\ncd", "[ab]\n[cd]");
    assert_cuts("[^x]+", "a\xff\xfe\x78", "[a\xff\xfe]x"); /* bytes that are no text */
    assert_cuts("\\d+", "a12\xd9\xa3", "a[12\xd9\xa3]");
    assert_cuts("(?i)abc", "aBC", "[aBC]");
}

static void test_pattern__refuses_the_rest(void **state) {
    (void)state;
    static const char *const all[][2] = {
        {"", "0 bytes"},         {"(a", "without an end"},      {"a)", "closes nothing"}, {"[a", "without an end"},
        {"[[:alpha:]]", "within"}, {"[a&&b]", "within"},        {"[\\S]", "negated"},     {"a+?", "lazy"},
        {"(a)*", "repeated"},    {"(?<x>a)", "not known"},      {"(?=ab)", "more than one"}, {"\\p{Han}", "property"},
        {"\\p", "property"},     {"\\q", "escape"},             {"\\", "end too soon"},   {"*a", "nothing to do"},
        {"[z-a]", "range"},      {"a{3,2}", "number"},          {"a{,2}", "number"},      {"a{99999}", "number"},
        {"\\x{110000}", "code"}, {"^a", "nothing to do"},       {"\xff", "UTF-8"},        {"(?i:a", "without an end"},
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        nct_pattern *p = NULL;
        nct_error err = {0};
        nct_status status = nct_pattern_open("file", all[i][0], strlen(all[i][0]), &p, &err);
        if (status != NCT_E_UNSUPPORTED || !strstr(err.text, all[i][1]) || strncmp(err.text, "file: ", 6) != 0)
            fail_msg("'%s': status %d, '%s'", all[i][0], status, err.text);
        assert_null(p);
    }
}

static nct_status count_words(void *context, const char *word, size_t n) {
    (void)word;
    assert_true(n > 0);
    ++*(size_t *)context;
    return NCT_OK;
}

static void test_pattern__a_slow_pattern_is_told_not_waited_for(void **state) {
    (void)state;
    enum { N = 200000 };
    static char text[N];
    nct_splitter *s = NULL;
    nct_error err;
    size_t n = 0;
    memset(text, 'a', sizeof text);
    NCT_ASSERT_OK(nct_splitter_open(&s, fault));
    NCT_ASSERT_OK(nct_splitter_add(s, "test", "a*a*a*b|c", 9, fault));
    assert_int_equal(nct_splitter_run(s, text, N, count_words, &n, &err), NCT_E_UNSUPPORTED);
    nct_splitter_close(s);
    /* a run that fails at its end is not tried again from inside */
    NCT_ASSERT_OK(nct_splitter_open(&s, fault));
    NCT_ASSERT_OK(nct_splitter_add(s, "test", "a+$", 3, fault));
    text[N - 1] = 'b';
    n = 0;
    NCT_ASSERT_OK(nct_splitter_run(s, text, N, count_words, &n, fault));
    assert_int_equal(n, 1);
    nct_splitter_close(s);
}

static void test_pattern__published_patterns_take_few_steps(void **state) {
    (void)state;
    enum { N = 300000 };
    static char text[N];
    static const char *const runs[] = {"a", " ", "\n", "=", "1", " \n", "a ", "\xe4\xb8\xad", "'", "\xff"};
    nct_splitter *s = NULL;
    nct_error err;
    bool found = false;
    size_t n;
    NCT_ASSERT_OK(nct_splitter_open(&s, fault));
    NCT_ASSERT_OK(nct_splitter_add_named(s, "minicpm5", 8, &found, fault));
    assert_true(found && nct_splitter_cuts_lines(s));
    for (size_t i = 0; i < sizeof runs / sizeof *runs; i++) {
        for (size_t k = 0; k < N; k++)
            text[k] = runs[i][k % strlen(runs[i])];
        n = 0;
        NCT_ASSERT_OK(nct_splitter_run(s, text, N, count_words, &n, &err));
        text[N - 1] = 'x';
        NCT_ASSERT_OK(nct_splitter_run(s, text, N, count_words, &n, &err));
    }
    nct_splitter_close(s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pattern__matches_as_oniguruma_does),
        cmocka_unit_test(test_pattern__refuses_the_rest),
        cmocka_unit_test(test_pattern__a_slow_pattern_is_told_not_waited_for),
        cmocka_unit_test(test_pattern__published_patterns_take_few_steps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
