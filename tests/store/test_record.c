/* What a page file says of itself, and what is not believed. */
#include "base/checksum.h"
#include "store/record.h"
#include "support/support.h"

static nct_record made(void) {
    nct_record r = {.n_positions = 1024,
                    .n_tokens = 700,
                    .payload_bytes = 3 * 4096,
                    .ids_checksum = 77,
                    .seconds = 1.25,
                    .section_bytes = {5000, 6000, 300, 0},
                    .checksum = {1, 2, 3, 0}};
    memset(r.identity.bytes, 1, sizeof r.identity.bytes);
    memset(r.before.bytes, 2, sizeof r.before.bytes);
    memset(r.name.bytes, 3, sizeof r.name.bytes);
    return r;
}

static void test_record__comes_back_as_it_was_written(void **state) {
    (void)state;
    nct_record r = made(), again;
    uint8_t bytes[NCT_RECORD_BYTES];
    assert_int_equal(nct_record_off(&r), 3 * 4096 + 4096);
    assert_int_equal(nct_record_file_bytes(&r), 3 * 4096 + 4096 + 512);
    nct_record_write(&r, bytes);
    NCT_ASSERT_OK(nct_record_read(bytes, nct_record_file_bytes(&r), &again, fault));
    assert_int_equal(again.n_tokens, 700);
    assert_int_equal(again.n_positions, 1024);
    assert_true(again.seconds == 1.25 && again.ids_checksum == 77);
    assert_true(nct_link_equal(&again.identity, &r.identity) && nct_link_equal(&again.before, &r.before) &&
                nct_link_equal(&again.name, &r.name));
    assert_memory_equal(again.section_bytes, r.section_bytes, sizeof r.section_bytes);
    assert_memory_equal(again.checksum, r.checksum, sizeof r.checksum);
}

static void test_record__every_flipped_bit_is_seen(void **state) {
    (void)state;
    nct_record r = made(), again;
    uint8_t bytes[NCT_RECORD_BYTES];
    nct_record_write(&r, bytes);
    for (size_t bit = 0; bit < 8 * NCT_RECORD_BYTES; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_int_equal(nct_record_read(bytes, nct_record_file_bytes(&r), &again, NULL), NCT_E_FORMAT);
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    assert_int_equal(nct_record_read(bytes, nct_record_file_bytes(&r) - 1, &again, NULL), NCT_E_FORMAT);
    assert_int_equal(nct_record_read(bytes, nct_record_file_bytes(&r) + 4096, &again, NULL), NCT_E_FORMAT);
}

static nct_status read_changed(nct_record r) {
    uint8_t bytes[NCT_RECORD_BYTES];
    uint64_t size = nct_record_file_bytes(&r);
    nct_record_write(&r, bytes);
    return nct_record_read(bytes, size, &r, NULL);
}

static void test_record__lies_are_refused_and_other_versions_told_apart(void **state) {
    (void)state;
    nct_record r = made();
    assert_int_equal(read_changed(r), NCT_OK);
    r.n_tokens = 0;
    assert_int_equal(read_changed(r), NCT_E_FORMAT);
    r = made(), r.n_tokens = 1025;
    assert_int_equal(read_changed(r), NCT_E_FORMAT);
    r = made(), r.n_positions = NCT_RECORD_MAX_POSITIONS + 1;
    assert_int_equal(read_changed(r), NCT_E_FORMAT);
    r = made(), r.payload_bytes += 1;
    assert_int_equal(read_changed(r), NCT_E_FORMAT);
    r = made(), r.section_bytes[3] = 2 * 4096;
    assert_int_equal(read_changed(r), NCT_E_FORMAT);
    r = made(), r.section_bytes[3] = UINT64_MAX - 100;
    assert_int_equal(read_changed(r), NCT_E_FORMAT);
    r = made(), r.seconds = -1;
    assert_int_equal(read_changed(r), NCT_E_FORMAT);

    uint8_t bytes[NCT_RECORD_BYTES];
    r = made();
    nct_record_write(&r, bytes);
    bytes[8] = NCT_RECORD_VERSION + 1;
    uint64_t sum = nct_checksum(bytes, NCT_RECORD_BYTES - 8, 0);
    for (int i = 0; i < 8; i++)
        bytes[NCT_RECORD_BYTES - 8 + i] = (uint8_t)(sum >> 8 * i);
    assert_int_equal(nct_record_read(bytes, nct_record_file_bytes(&r), &r, NULL), NCT_E_UNSUPPORTED);
}

static void test_link__hangs_on_every_token_and_all_before(void **state) {
    (void)state;
    nct_link root = {{0}}, other = {{1}};
    int32_t ids[4] = {1, 2, 3, 4};
    nct_link whole = nct_link_next(&root, ids, 4), again = nct_link_next(&root, ids, 4);
    assert_true(nct_link_equal(&whole, &again));
    again = nct_link_next(&other, ids, 4);
    assert_false(nct_link_equal(&whole, &again));
    again = nct_link_next(&root, ids, 3);
    assert_false(nct_link_equal(&whole, &again));
    ids[0] = 256; /* another byte of the id */
    again = nct_link_next(&root, ids, 4);
    assert_false(nct_link_equal(&whole, &again));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_record__comes_back_as_it_was_written),
        cmocka_unit_test(test_record__every_flipped_bit_is_seen),
        cmocka_unit_test(test_record__lies_are_refused_and_other_versions_told_apart),
        cmocka_unit_test(test_link__hangs_on_every_token_and_all_before),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
