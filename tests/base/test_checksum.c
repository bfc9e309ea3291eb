/* XXH64 as published, and what it is there for: seeing damage. */
#include "base/checksum.h"
#include "support/support.h"

static void test_checksum__agrees_with_the_published_values(void **state) {
    (void)state;
    assert_true(nct_checksum("", 0, 0) == UINT64_C(0xEF46DB3751D8E999));
    assert_true(nct_checksum("a", 1, 0) == UINT64_C(0xD24EC4F1A98C6E5B));
    assert_true(nct_checksum("abc", 3, 0) == UINT64_C(0x44BC2CF5AD770999));
    static const char text[] = "Nobody inspects the spammish repetition"; /* longer than the four lanes */
    assert_true(nct_checksum(text, sizeof text - 1, 0) == UINT64_C(0xFBCEA83C8A378BF1));
}

static void test_checksum__sees_every_bit_every_length_and_the_seed(void **state) {
    (void)state;
    uint8_t data[101];
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)(i * 37 + 11);
    for (size_t n = 0; n <= sizeof data; n++) {
        uint64_t whole = nct_checksum(data, n, 5);
        assert_true(whole != nct_checksum(data, n, 6));
        if (n)
            assert_true(whole != nct_checksum(data, n - 1, 5));
        for (size_t bit = 0; bit < 8 * n; bit++) {
            data[bit / 8] ^= (uint8_t)(1u << bit % 8);
            assert_true(whole != nct_checksum(data, n, 5));
            data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        }
    }
}

static void test_checksum__does_not_mind_where_the_bytes_lie(void **state) {
    (void)state;
    uint8_t room[200];
    for (size_t i = 0; i < 100; i++)
        room[i] = (uint8_t)(i * i);
    uint64_t want = nct_checksum(room, 100, 0);
    for (size_t shift = 1; shift < 9; shift++) {
        memmove(room + shift, room + shift - 1, 100);
        assert_true(nct_checksum(room + shift, 100, 0) == want);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_checksum__agrees_with_the_published_values),
        cmocka_unit_test(test_checksum__sees_every_bit_every_length_and_the_seed),
        cmocka_unit_test(test_checksum__does_not_mind_where_the_bytes_lie),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
