#include "base/rng.h"

#include <math.h>

#include "support/support.h"

static void test_rng__mix_gives_the_published_sequence(void **state) {
    (void)state;
    /* SplitMix64 from seed 1234567, as other implementations print it. */
    const uint64_t expected[] = {6457827717110365317u, 3203168211198807973u, 9817491932198370423u,
                                 4593380528125082431u, 16408922859458223821u};
    uint64_t z = 1234567;
    for (size_t i = 0; i < 5; i++)
        assert_true(nct_rng_mix(z += 0x9e3779b97f4a7c15u) == expected[i]);
}

static void test_rng__numbers_of_a_seed_never_change(void **state) {
    (void)state;
    /* Texts that people sampled with a seed hang on these. */
    assert_true(nct_rng_uniform(0, 0, 0, 0) == 0x1.5a2a6c2c68b00p-2);
    assert_true(nct_rng_uniform(1, 0, 0, 0) == 0x1.bb217c7e151eep-2);
    assert_true(nct_rng_uniform(7719, 0, 12, 0) == 0x1.4bfbd3cb5f808p-4);
    assert_true(nct_rng_uniform(7719, 3, 12, 0) == 0x1.2dce30af03854p-1);
    assert_true(nct_rng_uniform(7719, 3, 12, 2) == 0x1.13412afa5e2bep-2);
    assert_true(nct_rng_uniform(UINT64_MAX, UINT32_MAX, UINT64_MAX, UINT32_MAX) == 0x1.cd2f6e797397ap-2);
}

/* Moments and the largest gap to a uniform distribution along one of the four arguments. */
static void check_uniform(int argument) {
    enum { N = 20000, CELLS = 50 };
    int cell[CELLS] = {0};
    double sum = 0, last = 0, together = 0;
    for (uint32_t i = 0; i < N; i++) {
        double u = nct_rng_uniform(argument == 0 ? i : 5, argument == 1 ? i : 6, argument == 2 ? i : 7,
                                   argument == 3 ? i : 8);
        assert_true(u >= 0 && u < 1);
        cell[(int)(u * CELLS)]++;
        sum += u;
        together += i ? (u - 0.5) * (last - 0.5) : 0;
        last = u;
    }
    assert_true(fabs(sum / N - 0.5) < 0.01);
    assert_true(fabs(together / N) < 0.003); /* neighbours are unrelated */
    double chi2 = 0;
    for (int i = 0; i < CELLS; i++)
        chi2 += (cell[i] - N / CELLS) * (double)(cell[i] - N / CELLS) / (N / CELLS);
    assert_true(chi2 < 95); /* 49 degrees of freedom: one seed in ten thousand lies above */
}

static void test_rng__numbers_are_uniform_along_every_argument(void **state) {
    (void)state;
    for (int argument = 0; argument < 4; argument++)
        check_uniform(argument);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rng__mix_gives_the_published_sequence),
        cmocka_unit_test(test_rng__numbers_of_a_seed_never_change),
        cmocka_unit_test(test_rng__numbers_are_uniform_along_every_argument),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
