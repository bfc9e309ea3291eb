/* The published digests, and that pieces make the same digest as the whole. */
#include "support/support.h"

#include "base/sha256.h"

static void expect_digest(const void *data, size_t n, const char *hex) {
    uint8_t digest[NCT_SHA256_BYTES];
    char text[2 * NCT_SHA256_BYTES + 1];
    nct_sha256_of(data, n, digest);
    for (size_t i = 0; i < NCT_SHA256_BYTES; i++)
        snprintf(text + 2 * i, 3, "%02x", digest[i]);
    assert_string_equal(text, hex);
}

/* FIPS 180-2, appendix B, and the empty message. */
static void test_sha256__knows_the_published_digests(void **state) {
    (void)state;
    expect_digest("", 0, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    expect_digest("abc", 3, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    expect_digest("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 56,
                  "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
    char *many = malloc(1000000);
    memset(many, 'a', 1000000);
    expect_digest(many, 1000000, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
    free(many);
}

static void test_sha256__pieces_give_the_digest_of_the_whole(void **state) {
    (void)state;
    uint8_t data[300], whole[NCT_SHA256_BYTES], parts[NCT_SHA256_BYTES];
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)(i * 7 + 3);
    for (size_t n = 0; n <= sizeof data; n++) {
        nct_sha256_of(data, n, whole);
        for (size_t step = 1; step < 140; step += 23) {
            nct_sha256 sha;
            nct_sha256_init(&sha);
            for (size_t at = 0; at < n; at += step)
                nct_sha256_add(&sha, data + at, n - at < step ? n - at : step);
            nct_sha256_end(&sha, parts);
            assert_memory_equal(whole, parts, sizeof whole);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sha256__knows_the_published_digests),
        cmocka_unit_test(test_sha256__pieces_give_the_digest_of_the_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
