/* Odds as people write them, and that what is drawn keeps them. */
#include "spec/replay.h"

#include <math.h>

#include "support/support.h"

static void test_replay__reads_odds(void **state) {
    (void)state;
    nct_odds o;
    NCT_ASSERT_OK(nct_odds_parse("0.58,0.59,.65", &o, fault));
    assert_int_equal(o.n_phases, 1);
    assert_int_equal(o.n_depths[0], 3);
    assert_true(o.p[0][0][0] == 0.58 && o.p[0][2][0] == 0.65 && o.p[0][0][1] == 0 && o.shared == 0);
    NCT_ASSERT_OK(nct_odds_parse("0.6:0.2:0.1,0.5;1;0~0.25", &o, fault));
    assert_int_equal(o.n_phases, 3);
    assert_int_equal(o.n_depths[0], 2);
    assert_true(o.p[0][0][1] == 0.2 && o.p[0][0][2] == 0.1 && o.p[0][1][0] == 0.5 && o.p[1][0][0] == 1);
    assert_true(o.shared == 0.25);
}

static void test_replay__refuses_what_are_no_odds(void **state) {
    (void)state;
    static const char *const wrong[] = {"",        ",",      "1.5",     "-0.1",  "0.5,",     "0.5;",  "0.5~",    "0.5~2",
                                        "0.6:0.5", "0.5::1", "0.5 0.5", "nan",   "0x1p-1,",  "inf",   "0.5~0.5;1",
                                        "0.1:0.1:0.1:0.1:0.1:0.1:0.1:0.1:0.1",   "1;1;1;1;1;1;1;1;1",
                                        "1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1",     "half"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        nct_odds o = {.n_phases = 77};
        nct_error err = {0};
        if (nct_odds_parse(wrong[i], &o, &err) != NCT_E_ARGUMENT)
            fail_msg("'%s' was taken", wrong[i]);
        assert_non_null(strstr(err.text, "expected probabilities"));
        assert_int_equal(o.n_phases, 77);
    }
}

/* Shares of ranks at a depth, over rounds that begin in [from, to). */
static void shares(const nct_replay_text *t, size_t depth, size_t from, size_t to, double *share) {
    memset(share, 0, (NCT_ODDS_RANKS + 1) * sizeof *share);
    for (size_t root = from; root < to; root++)
        share[nct_replay_rank(t, root, depth)] += 1 / (double)(to - from);
}

static void test_replay__draws_what_is_stated(void **state) {
    (void)state;
    enum { N = 40000 };
    nct_odds o;
    double share[NCT_ODDS_RANKS + 1];
    NCT_ASSERT_OK(nct_odds_parse("0.6:0.2,0.5;0.1~0.3", &o, fault));
    nct_replay_text t = {.n = N, .odds = &o, .seed = 5};
    shares(&t, 1, 0, N / 2 - 2, share);
    assert_true(fabs(share[0] - 0.6) < 0.02 && fabs(share[1] - 0.2) < 0.02 && share[2] == 0);
    shares(&t, 4, 0, N / 2 - 5, share);
    assert_true(fabs(share[0] - 0.5) < 0.02 && share[1] == 0);
    shares(&t, 1, N / 2, N, share);
    assert_true(fabs(share[0] - 0.1) < 0.02);
    assert_true(nct_replay_said(&t, 0, 1, 0) == 0.6 && nct_replay_said(&t, 0, 1, 1) == 0.2);
    assert_true(nct_replay_said(&t, 0, 1, 2) < 1e-6 && nct_replay_said(&t, 0, 1, 2) > 0);
}

/* Rounds beside one another have the same luck as often as is stated, and else independent ones. */
static void test_replay__neighbours_share_their_luck(void **state) {
    (void)state;
    static const char *const text[] = {"0.5~0", "0.5~0.4", "0.5~1"};
    static const double expected[] = {0.5, 0.7, 1};
    for (size_t i = 0; i < 3; i++) {
        nct_odds o;
        double same = 0;
        NCT_ASSERT_OK(nct_odds_parse(text[i], &o, fault));
        nct_replay_text t = {.n = 2000, .odds = &o, .seed = 9};
        for (size_t root = 0; root + 1 < 2000; root++)
            same += (nct_replay_rank(&t, root, 1) == nct_replay_rank(&t, root + 1, 1)) / 1999.0;
        assert_true(fabs(same - expected[i]) < 0.04);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_replay__reads_odds),
        cmocka_unit_test(test_replay__refuses_what_are_no_odds),
        cmocka_unit_test(test_replay__draws_what_is_stated),
        cmocka_unit_test(test_replay__neighbours_share_their_luck),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
