/* What all encodings share: where rows of slices and heads lie, how many groups there are. */
#include "quant/codec.h"
#include "support/support.h"

static void test_codec__rows_of_interleaved_heads_are_a_permutation(void **state) {
    (void)state;
    nct_stored s = {.n_rows = 24, .pair_head_dim = 8, .first_row = 100};
    bool seen[24] = {0};
    for (size_t row = 0; row < 24; row++) {
        size_t at = nct_stored_file_row(&s, row) - 100;
        assert_in_range(at, 0, 23);
        assert_int_equal(at / 8, row / 8); /* heads stay */
        assert_false(seen[at]);
        seen[at] = true;
    }
    assert_int_equal(nct_stored_file_row(&s, 8 + 3), 100 + 8 + 6);     /* first half, element 3 */
    assert_int_equal(nct_stored_file_row(&s, 8 + 4 + 3), 100 + 8 + 7); /* second half, element 3 */
}

static void test_codec__plain_rows_only_move_by_the_slice(void **state) {
    (void)state;
    nct_stored s = {.n_rows = 5, .first_row = 7};
    for (size_t row = 0; row < 5; row++)
        assert_int_equal(nct_stored_file_row(&s, row), 7 + row);
}

static void test_codec__a_short_last_group_counts(void **state) {
    (void)state;
    nct_unpacked u = {.form = NCT_FORM_CODES4, .group = 96};
    assert_int_equal(nct_unpacked_groups(&u, 256), 3);
    assert_int_equal(nct_unpacked_groups(&u, 192), 2);
    assert_true(nct_unpacked_is_codes(&u));
    u.form = NCT_FORM_BF16;
    assert_false(nct_unpacked_is_codes(&u));
}

static void test_codec__closing_twice_is_fine(void **state) {
    (void)state;
    nct_stored s = {.name = "w"};
    void *perm = NULL;
    NCT_ASSERT_OK(nct_alloc(&perm, 4, sizeof(int32_t), fault));
    s.perm = perm;
    nct_stored_close(&s);
    nct_stored_close(&s);
    assert_null(s.perm);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_codec__rows_of_interleaved_heads_are_a_permutation),
        cmocka_unit_test(test_codec__plain_rows_only_move_by_the_slice),
        cmocka_unit_test(test_codec__a_short_last_group_counts),
        cmocka_unit_test(test_codec__closing_twice_is_fine),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
