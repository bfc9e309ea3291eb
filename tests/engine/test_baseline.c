/* What a bench is compared with comes from a file that anybody may have written. */
#include "engine/baseline.h"

#include "base/bytes.h"
#include "support/support.h"

static nct_status parse(const char *text, nct_baseline *b, nct_error *err) {
    return nct_baseline_parse("base.json", text, strlen(text), b, err);
}

/* The only row of a test, or the one with so many threads. */
static const nct_baseline_row *find(const nct_baseline *b, const char *test, int threads, bool loose) {
    nct_baseline_row like = {.np = 1, .kv = "f16", .sparse = "off", .threads_tg = threads};
    snprintf(like.test, sizeof like.test, "%s", test);
    return nct_baseline_find(b, &like, loose);
}

static void test_baseline__reads_a_list_lines_and_one_record(void **state) {
    (void)state;
    static const char *const forms[] = {
        "[{\"test\":\"pp512\",\"tps_med\":412.5,\"model\":\"m\",\"kv\":\"f16\",\"threads_pp\":16,\"x\":[{}]},"
        "{\"test\":\"tg128\",\"tps_med\":12}]",
        "\n{\"test\":\"pp512\",\"tps_med\":412.5,\"model\":\"m\",\"kv\":\"f16\",\"threads_pp\":16}\r\n\n"
        "{\"test\":\"tg128\",\"tps_med\":12}"};
    for (size_t i = 0; i < 2; i++) {
        nct_baseline b;
        NCT_ASSERT_OK(parse(forms[i], &b, fault));
        assert_int_equal(b.n_rows, 2);
        assert_true(find(&b, "pp512", 0, false)->rate == 412.5);
        assert_true(find(&b, "tg128", 0, false)->rate == 12);
        assert_null(find(&b, "pp51", 0, true));
        assert_string_equal(b.model, "m");
        assert_string_equal(b.row[0].kv, "f16");
        assert_string_equal(b.cpu, "");
        assert_int_equal(b.row[0].threads_pp, 16);
        assert_int_equal(b.row[0].threads_tg, 0);
        assert_int_equal(b.row[0].np, 1);
        nct_baseline_reset(&b);
    }
    nct_baseline one;
    NCT_ASSERT_OK(parse("{\"test\":\"pp1\",\"tps_med\":1,\"threads_pp\":-3}", &one, fault));
    assert_int_equal(one.n_rows, 1);
    assert_int_equal(one.row[0].threads_pp, 0);
    nct_baseline_reset(&one);
}

static void test_baseline__tells_variants_of_a_test_apart(void **state) {
    (void)state;
    nct_baseline b;
    NCT_ASSERT_OK(parse("[{\"test\":\"tg8\",\"tps_med\":1,\"threads_tg\":1,\"kv\":\"f16\"},"
                        "{\"test\":\"tg8\",\"tps_med\":2,\"threads_tg\":2,\"kv\":\"f16\"},"
                        "{\"test\":\"tg8\",\"tps_med\":3,\"threads_tg\":2,\"kv\":\"q8\"},"
                        "{\"test\":\"tg8\",\"tps_med\":4,\"threads_tg\":2,\"np\":4},"
                        "{\"test\":\"pp8\",\"tps_med\":5,\"sparse\":\"on\"}]",
                        &b, fault));
    assert_true(find(&b, "tg8", 1, true)->rate == 1);
    assert_true(find(&b, "tg8", 2, true)->rate == 2);
    assert_null(find(&b, "tg8", 3, true)); /* several, none of which it is */
    assert_null(find(&b, "pp8", 1, false));
    assert_true(find(&b, "pp8", 1, true)->rate == 5); /* the only one */
    assert_true(nct_baseline_find(&b, &(nct_baseline_row){.test = "tg8", .np = 4}, false)->rate == 4);
    nct_baseline_reset(&b);
}

static void test_baseline__refuses_what_no_bench_wrote(void **state) {
    (void)state;
    static const struct {
        const char *text, *says;
    } wrong[] = {
        {"", "JSON"},
        {"time,version\n1,2\n", "JSON"},
        {"[]", "no test"},
        {"{}", "not from noctule bench"},
        {"[1]", "not from noctule bench"},
        {"[{\"test\":\"pp512\"}]", "not from noctule bench"},
        {"[{\"test\":7,\"tps_med\":1}]", "not from noctule bench"},
        {"[{\"test\":\"pp512\",\"tps_med\":\"1\"}]", "not from noctule bench"},
        {"[{\"test\":\"\",\"tps_med\":1}]", "not from noctule bench"},
        {"[{\"test\":\"pp512\",\"tps_med\":0}]", "0 tokens a second"},
        {"[{\"test\":\"pp512\",\"tps_med\":-1}]", "-1 tokens a second"},
        {"[{\"test\":\"pp512\",\"tps_med\":1e999}]", "tokens a second"},
        {"[{\"test\":\"a\",\"tps_med\":1},{\"test\":\"a\",\"tps_med\":1}]", "a twice"},
        {"{\"test\":\"a\",\"tps_med\":1}\n[", "JSON"},
        {"[{\"test\":\"0123456789012345678901234567890123456789012345678901234567890123\",\"tps_med\":1}]",
         "64 bytes"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        nct_baseline b = {0};
        nct_error err;
        assert_int_equal(parse(wrong[i].text, &b, &err), NCT_E_FORMAT);
        assert_non_null(strstr(err.text, wrong[i].says));
        assert_non_null(strstr(err.text, "base.json"));
        assert_null(b.row);
    }
}

static void test_baseline__holds_no_control_characters(void **state) {
    (void)state;
    nct_baseline b;
    NCT_ASSERT_OK(
        parse("[{\"test\":\"\\u001b[2J\\u009bx\",\"tps_med\":1,\"model\":\"\\u4f60\\n\xff\"}]", &b, fault));
    assert_string_equal(b.row[0].test, "?[2J?x");
    assert_string_equal(b.model, "\xe4\xbd\xa0??");
    nct_baseline_reset(&b);
}

static void test_baseline__too_many_tests_are_refused(void **state) {
    (void)state;
    nct_bytes text = {0};
    for (int i = 0; i < 4097; i++)
        nct_bytes_printf(&text, NULL, "%s{\"test\":\"%d\",\"tps_med\":1}", i ? "," : "[", i);
    nct_bytes_add_str(&text, "]", NULL);
    nct_baseline b;
    nct_error err;
    assert_int_equal(parse(text.data, &b, &err), NCT_E_FORMAT);
    assert_non_null(strstr(err.text, "more than 4096"));
    nct_bytes_reset(&text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_baseline__reads_a_list_lines_and_one_record),
        cmocka_unit_test(test_baseline__tells_variants_of_a_test_apart),
        cmocka_unit_test(test_baseline__refuses_what_no_bench_wrote),
        cmocka_unit_test(test_baseline__holds_no_control_characters),
        cmocka_unit_test(test_baseline__too_many_tests_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
