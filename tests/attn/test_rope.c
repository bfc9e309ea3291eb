/* Rotary tables against the check values of the published factor lists. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "attn/rope.h"
#include "support/factors_8b.h"

static void test_rope__matches_check_values_of_the_8b_list(void **state) {
    (void)state;
    static const struct {
        size_t position, i;
        double cos, sin;
    } expected[] = {{100, 0, 0.952195, -0.305490},   {100, 1, -0.866618, -0.498971},  {100, 32, 0.998212, 0.059781},
                    {32767, 0, -0.982771, -0.184829}, {32767, 1, 0.241444, -0.970415}, {32767, 63, 0.992571, 0.121664}};
    nct_rope rope;
    assert_int_equal(nct_rope_open(128, 10000, factors_8b, 32768, 32768, &rope, NULL), NCT_OK);
    float cos[64], sin[64];
    for (size_t e = 0; e < sizeof expected / sizeof *expected; e++) {
        nct_rope_at(&rope, expected[e].position, cos, sin);
        /* one float32 rounding of powf at position 32767 moves the angle by up to 2e-3 */
        double tolerance = expected[e].position > 1000 ? 2e-3 : 2e-5;
        assert_true(fabs(cos[expected[e].i] - expected[e].cos) < tolerance);
        assert_true(fabs(sin[expected[e].i] - expected[e].sin) < tolerance);
    }
    nct_rope_close(&rope);
}

static void test_rope__attention_factor_only_when_the_window_was_raised(void **state) {
    (void)state;
    nct_rope rope;
    assert_int_equal(nct_rope_open(128, 10000, factors_8b, 131072, 32768, &rope, NULL), NCT_OK);
    assert_true(fabs(rope.scale - 1.0646) < 1e-4);
    nct_rope_close(&rope);
    assert_int_equal(nct_rope_open(128, 10000, NULL, 131072, 32768, &rope, NULL), NCT_OK);
    assert_true(rope.scale == 1.0f);
    nct_rope_close(&rope);
}

static void test_rope__plain_tables_turn_by_position_over_theta(void **state) {
    (void)state;
    nct_rope rope;
    assert_int_equal(nct_rope_open(8, 10000, NULL, 512, 512, &rope, NULL), NCT_OK);
    float cos4[4], sin4[4];
    nct_rope_at(&rope, 7, cos4, sin4);
    for (int i = 0; i < 4; i++) {
        double angle = 7 / pow(10000, 2.0 * i / 8);
        assert_true(fabs(cos4[i] - cos(angle)) < 1e-6 && fabs(sin4[i] - sin(angle)) < 1e-6);
    }
    nct_rope_close(&rope);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rope__matches_check_values_of_the_8b_list),
        cmocka_unit_test(test_rope__attention_factor_only_when_the_window_was_raised),
        cmocka_unit_test(test_rope__plain_tables_turn_by_position_over_theta),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
