#include "support/support.h"
#include "base/utf8.h"

/* The definition: encodes a code point. */
static size_t encode(uint32_t code, uint8_t *s) {
    size_t n = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    for (size_t i = n - 1; i > 0; i--, code >>= 6)
        s[i] = (uint8_t)(0x80 | (code & 63));
    s[0] = (uint8_t)(n == 1 ? code : (0xf00u >> n & 0xff) | code);
    return n;
}

static void test_utf8__every_code_point_decodes(void **state) {
    (void)state;
    for (uint32_t code = 0; code <= 0x10ffff; code++) {
        uint8_t s[4];
        uint32_t back = ~code;
        size_t n = encode(code, s), length = nct_utf8_decode((char *)s, n, &back);
        if (code >= 0xd800 && code < 0xe000) {
            assert_int_equal(length, 0);
            continue;
        }
        assert_int_equal(length, n);
        assert_int_equal(back, code);
        for (size_t cut = 1; cut < n; cut++) {
            assert_int_equal(nct_utf8_decode((char *)s, cut, &back), 0);
            assert_true(nct_utf8_unfinished((char *)s, cut));
        }
        assert_false(nct_utf8_unfinished((char *)s, n));
    }
}

/* All strings of two bytes, and all of three and four that begin strangely. */
static void test_utf8__nothing_else_does(void **state) {
    (void)state;
    size_t n_valid = 0;
    for (uint32_t x = 0; x < 0x10000; x++) {
        uint8_t s[4] = {(uint8_t)(x >> 8), (uint8_t)x, 0x80, 0x80};
        uint32_t code = 0;
        for (size_t n = 1; n <= 4; n++) {
            size_t length = nct_utf8_decode((char *)s, n, &code);
            if (!length)
                continue;
            uint8_t again[4];
            assert_true(length <= n);
            assert_int_equal(encode(code, again), length); /* so it is no overlong form */
            assert_memory_equal(again, s, length);
            n_valid++;
        }
        /* unfinished: some way of going on makes a character */
        bool can = false;
        for (uint32_t y = 0; y < 256 && !can; y++) {
            s[2] = (uint8_t)y;
            can = nct_utf8_decode((char *)s, 3, &code) == 3 || nct_utf8_decode((char *)s, 4, &code) == 4;
        }
        assert_int_equal(nct_utf8_unfinished((char *)s, 2), can);
    }
    assert_true(n_valid > 128 * 256);
}

static void test_utf8__valid_is_of_the_whole(void **state) {
    (void)state;
    assert_true(nct_utf8_valid("", 0));
    assert_true(nct_utf8_valid("a\xe4\xb8\xad", 4));
    assert_false(nct_utf8_valid("a\xe4\xb8\xad", 3));
    assert_false(nct_utf8_valid("\x80", 1));
    assert_true(nct_utf8_valid("a\0b", 3));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_utf8__every_code_point_decodes),
        cmocka_unit_test(test_utf8__nothing_else_does),
        cmocka_unit_test(test_utf8__valid_is_of_the_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
