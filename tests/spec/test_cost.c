/* The table of costs: what rounds teach it, with noise, drift and disturbances. */
#include "spec/cost.h"

#include <math.h>

#include "base/rng.h"
#include "support/support.h"

static double noisy(uint64_t i, double time) {
    double sum = 0;
    for (uint32_t j = 0; j < 4; j++)
        sum += nct_rng_uniform(3, 3, i, j) - 0.5;
    return time * exp(0.05 * sum * sqrt(3));
}

static void check_order(const nct_cost *c) {
    assert_true(c->ratio[0] == 1);
    for (size_t i = 1; i < NCT_COST_SIZES; i++)
        assert_true(c->ratio[i] >= c->ratio[i - 1] && isfinite(c->ratio[i]));
    for (size_t n = 1; n <= 64; n++)
        assert_true(nct_cost_hoped(c, n, 1, 1) >= 1 && nct_cost_hoped(c, n, 1, 1) <= nct_cost_ratio(c, n));
}

static void test_cost__begins_with_the_usual_curve(void **state) {
    (void)state;
    nct_cost c;
    nct_cost_init(&c, NULL, NULL);
    check_order(&c);
    assert_true(nct_cost_plain_doubt(&c) > 1); /* nothing is known of this machine */
    assert_true(nct_cost_ratio(&c, 7) == nct_cost_ratio(&c, 8) &&
                nct_cost_ratio(&c, 8) < nct_cost_ratio(&c, 9));
    assert_true(nct_cost_doubt_between(&c, 8, 8) == 0 &&
                nct_cost_doubt_between(&c, 16, 8) < nct_cost_doubt_between(&c, 64, 8));
    assert_true(nct_cost_doubt(&c, 0) == 0 && nct_cost_doubt(&c, 3) < nct_cost_doubt(&c, 7));
}

static void test_cost__one_plain_round_sets_the_scale(void **state) {
    (void)state;
    nct_cost c;
    nct_cost_init(&c, NULL, NULL);
    double before = nct_cost_ratio(&c, 16);
    nct_cost_observe(&c, 1, 3.7);
    assert_true(fabs(nct_cost_plain(&c) / 3.7 - 1) < 0.01);
    assert_true(nct_cost_plain_doubt(&c) < 0.3);                   /* the machine may have been busy */
    assert_true(fabs(nct_cost_ratio(&c, 16) / before - 1) < 1e-6); /* and nothing else */
}

static void test_cost__learns_any_curve_from_noisy_rounds(void **state) {
    (void)state;
    static const double slope[] = {0, 0.02, 0.2, 1};
    for (size_t k = 0; k < 4; k++) {
        nct_cost c;
        nct_cost_init(&c, NULL, NULL);
        for (uint64_t i = 0; i < 400; i++) {
            size_t at = i < 4 ? 0 : (size_t)(nct_rng_uniform(k, 1, i, 0) * NCT_COST_SIZES);
            nct_cost_observe(&c, nct_cost_size[at], noisy(i, 0.2 * (1 + slope[k] * (nct_cost_size[at] - 1))));
            check_order(&c);
        }
        assert_true(fabs(nct_cost_plain(&c) / 0.2 - 1) < 0.05);
        for (size_t i = 0; i < NCT_COST_SIZES; i++) {
            double real = 1 + slope[k] * (nct_cost_size[i] - 1);
            assert_true(fabs(nct_cost_ratio(&c, nct_cost_size[i]) / real - 1) < 0.08);
        }
    }
}

static void test_cost__a_measured_size_tells_of_its_neighbours(void **state) {
    (void)state;
    nct_cost c;
    nct_cost_init(&c, NULL, NULL);
    double usual_6 = nct_cost_ratio(&c, 6), usual_2 = nct_cost_ratio(&c, 2);
    for (uint64_t i = 0; i < 5; i++) {
        nct_cost_observe(&c, 1, noisy(i, 1));
        nct_cost_observe(&c, 8, noisy(i + 100, 3)); /* twice the usual */
    }
    assert_true(nct_cost_ratio(&c, 6) > 1.3 * usual_6);
    assert_true(nct_cost_ratio(&c, 64) > 12);
    assert_true(nct_cost_ratio(&c, 2) < 1.4 * usual_2);
    assert_true(nct_cost_doubt(&c, 6) < nct_cost_doubt(&c, 5)); /* eight rows are known, six are guessed */
}

static void test_cost__a_slower_machine_is_not_a_steeper_curve(void **state) {
    (void)state;
    nct_cost c;
    nct_cost_init(&c, NULL, NULL);
    for (uint64_t i = 0; i < 40; i++)
        nct_cost_observe(&c, i % 4 ? 4 : 1, noisy(i, i % 4 ? 1.2 : 1));
    double plain = nct_cost_plain(&c);
    for (uint64_t i = 0; i < 60; i++) /* the context has grown: all rounds take half as long again */
        nct_cost_observe(&c, 4, noisy(i + 40, 1.2 * 1.5));
    assert_true(nct_cost_plain(&c) > 1.25 * plain);
    assert_true(fabs(nct_cost_ratio(&c, 4) / 1.2 - 1) < 0.2);
}

static void test_cost__one_disturbed_round_changes_little(void **state) {
    (void)state;
    nct_cost c;
    nct_cost_init(&c, NULL, NULL);
    for (uint64_t i = 0; i < 30; i++)
        nct_cost_observe(&c, 1 + i % 2, noisy(i, 1));
    double plain = nct_cost_plain(&c), two = nct_cost_ratio(&c, 2);
    nct_cost_observe(&c, 2, 100);
    assert_true(nct_cost_plain(&c) < 1.1 * plain && nct_cost_ratio(&c, 2) < 1.2 * two);
}

/* The machine is half as fast from one round on, among rounds of several sizes, and then as fast as before: all sizes
 * follow at once, and the curve stays. */
static void test_cost__a_change_of_speed_is_no_change_of_the_curve(void **state) {
    (void)state;
    nct_cost c;
    nct_cost_init(&c, NULL, NULL);
    static const size_t size[] = {4, 2, 4, 1, 4, 8};
    static const double cost[] = {1.2, 1.1, 1.2, 1, 1.2, 1.6};
    for (uint64_t i = 0; i < 240; i++) {
        double speed = i / 40 % 2 ? 2 : 1;
        nct_cost_observe(&c, size[i % 6], noisy(i, cost[i % 6] * speed));
        if (i % 40 >= 4 && i > 40)
            assert_true(fabs(nct_cost_plain(&c) / speed - 1) < 0.15);
        if (i > 40) {
            assert_true(fabs(nct_cost_ratio(&c, 4) / 1.2 - 1) < 0.1);
            assert_true(fabs(nct_cost_ratio(&c, 8) / 1.6 - 1) < 0.1);
        }
    }
}

static void test_cost__times_that_are_none_are_passed_over(void **state) {
    (void)state;
    nct_cost c, same;
    nct_cost_init(&c, NULL, NULL);
    nct_cost_observe(&c, 1, 1);
    same = c;
    static const double none[] = {0, -1, NAN, INFINITY};
    for (size_t i = 0; i < 4; i++)
        nct_cost_observe(&c, 3, none[i]);
    assert_memory_equal(&c, &same, sizeof c);
    nct_cost_observe(&c, 64, 1e300); /* strange, but times */
    nct_cost_observe(&c, 2, 1e-300);
    check_order(&c);
}

static void test_cost__a_stored_curve_is_believed_as_far_as_it_is_sure(void **state) {
    (void)state;
    double ratio[NCT_COST_SIZES], doubt[NCT_COST_SIZES];
    for (size_t i = 0; i < NCT_COST_SIZES; i++) {
        ratio[i] = 1 + 0.5 * (nct_cost_size[i] - 1);
        doubt[i] = nct_cost_size[i] < 12 ? 0.06 : 0.4;
    }
    nct_cost c;
    nct_cost_init(&c, ratio, doubt);
    check_order(&c);
    for (size_t i = 1; i < NCT_COST_SIZES; i++) {
        assert_true(fabs(c.ratio[i] / ratio[i] - 1) < 1e-9);
        assert_true(fabs(nct_cost_doubt(&c, i) - doubt[i]) < 1e-6);
    }
    nct_cost_observe(&c, 1, 1);
    nct_cost_observe(&c, 8, 9); /* twice of what is stored and sure */
    assert_true(c.ratio[6] < 1.3 * ratio[6]);
    for (int i = 0; i < 6; i++) { /* twice of what is stored and doubted: no accident, nor a slower machine */
        nct_cost_observe(&c, 64, 64.0);
        nct_cost_observe(&c, 1, 1);
    }
    assert_true(c.ratio[13] > 1.5 * ratio[13]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cost__begins_with_the_usual_curve),
        cmocka_unit_test(test_cost__one_plain_round_sets_the_scale),
        cmocka_unit_test(test_cost__learns_any_curve_from_noisy_rounds),
        cmocka_unit_test(test_cost__a_measured_size_tells_of_its_neighbours),
        cmocka_unit_test(test_cost__a_slower_machine_is_not_a_steeper_curve),
        cmocka_unit_test(test_cost__one_disturbed_round_changes_little),
        cmocka_unit_test(test_cost__a_change_of_speed_is_no_change_of_the_curve),
        cmocka_unit_test(test_cost__times_that_are_none_are_passed_over),
        cmocka_unit_test(test_cost__a_stored_curve_is_believed_as_far_as_it_is_sure),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
