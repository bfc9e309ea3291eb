#include "base/unicode.h"
#include "support/support.h"

static void assert_text(nct_status (*add)(nct_bytes *, const char *, size_t, nct_error *), const char *text,
                        const char *expected) {
    nct_bytes out = {0};
    NCT_ASSERT_OK(add(&out, text, strlen(text), fault));
    assert_string_equal(out.data, expected);
    nct_bytes_reset(&out);
}

static void test_unicode__categories_by_name(void **state) {
    (void)state;
    uint32_t letters = 0, upper = 0, numbers = 0, mask = 0;
    assert_true(nct_unicode_named("L", 1, &letters) && nct_unicode_named("Lu", 2, &upper) &&
                nct_unicode_named("N", 1, &numbers));
    assert_int_equal(letters & upper, upper);
    assert_int_equal(letters & numbers, 0);
    static const struct {
        uint32_t code;
        const char *name;
    } all[] = {{'A', "Lu"},     {'a', "Ll"},     {0x1c5, "Lt"},   {0x2b0, "Lm"},  {0x4e2d, "Lo"}, {0x301, "Mn"},
               {0x903, "Mc"},   {0x20dd, "Me"},  {'7', "Nd"},     {0x2167, "Nl"}, {0xbd, "No"},   {'_', "Pc"},
               {'-', "Pd"},     {'(', "Ps"},     {')', "Pe"},     {0xab, "Pi"},   {0xbb, "Pf"},   {'!', "Po"},
               {'+', "Sm"},     {'$', "Sc"},     {'^', "Sk"},     {0xa9, "So"},   {' ', "Zs"},    {0x2028, "Zl"},
               {0x2029, "Zp"},  {'\n', "Cc"},    {0x200d, "Cf"},  {0xe000, "Co"}, {0xd800, "Cs"}, {0x378, "Cn"}};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        assert_true(nct_unicode_named(all[i].name, 2, &mask));
        assert_int_equal(nct_unicode_category(all[i].code), mask);
    }
    assert_int_equal(nct_unicode_category(0x110000), 0);
    assert_false(nct_unicode_named("Han", 3, &mask));
    assert_false(nct_unicode_named("Q", 1, &mask));
    assert_false(nct_unicode_named("", 0, &mask));
}

static void test_unicode__white_space(void **state) {
    (void)state;
    static const uint32_t spaces[] = {9, 10, 13, 32, 0x85, 0xa0, 0x1680, 0x2000, 0x200a, 0x2028, 0x2029, 0x202f, 0x3000};
    static const uint32_t others[] = {8, 14, 0x1f, 0x200b, 0xfeff, 'a', UINT32_MAX};
    for (size_t i = 0; i < sizeof spaces / sizeof *spaces; i++)
        assert_true(nct_unicode_is_space(spaces[i]));
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        assert_false(nct_unicode_is_space(others[i]));
}

static void test_unicode__lower_case(void **state) {
    (void)state;
    assert_text(nct_unicode_add_lower, "", "");
    assert_text(nct_unicode_add_lower, "HeLLo \xc3\x89\xd0\xaf", "hello \xc3\xa9\xd1\x8f");
    assert_text(nct_unicode_add_lower, "\xc4\xb0", "i\xcc\x87");                       /* dotted I */
    assert_text(nct_unicode_add_lower, "\xce\x91\xce\xa3", "\xce\xb1\xcf\x82");         /* a final sigma, */
    assert_text(nct_unicode_add_lower, "\xce\xa3\xce\x91", "\xcf\x83\xce\xb1");         /* at the beginning, */
    assert_text(nct_unicode_add_lower, "\xce\xa3", "\xcf\x83");                         /* alone, */
    assert_text(nct_unicode_add_lower, "\xce\x91\xce\xa3.", "\xce\xb1\xcf\x82.");       /* before a stop, */
    assert_text(nct_unicode_add_lower, "\xce\x91\xce\xa3.\xce\x91", "\xce\xb1\xcf\x83.\xce\xb1"); /* inside a word */
    assert_text(nct_unicode_add_lower, "A\xff", "a\xef\xbf\xbd");
}

static void test_unicode__without_marks(void **state) {
    (void)state;
    assert_text(nct_unicode_add_unmarked, "", "");
    assert_text(nct_unicode_add_unmarked, "na\xc3\xafve \xef\xac\x81 \xc2\xbd", "naive fi 1\xe2\x81\x84" "2");
    assert_text(nct_unicode_add_unmarked, "e\xcc\x81\xcc\xa3", "e");
    assert_text(nct_unicode_add_unmarked, "\xed\x95\x9c", "\xe1\x84\x92\xe1\x85\xa1\xe1\x86\xab"); /* Hangul in its parts */
    nct_bytes out = {0};
    nct_error err;
    assert_int_equal(nct_unicode_add_unmarked(&out, "\xff", 1, &err), NCT_E_ARGUMENT);
    nct_bytes_reset(&out);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_unicode__categories_by_name),
        cmocka_unit_test(test_unicode__white_space),
        cmocka_unit_test(test_unicode__lower_case),
        cmocka_unit_test(test_unicode__without_marks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
