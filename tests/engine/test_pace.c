/* What prompts may take of a step, on a machine of made-up times. */
#include "engine/pace.h"
#include "support/support.h"

/* Seconds of a step: a pass, its answers, and rows of a prompt, whose attention may be slower than its weights. */
struct machine {
    double pass, answer, weights, attention; /* the last two: of a multiplication */
};

static const struct machine quick = {.pass = 0.01, .answer = 0.001, .weights = 1e-9, .attention = 3e-9};

static double seconds_of(const struct machine *m, size_t n_answers, nct_load load) {
    return m->pass + m->answer * (double)n_answers + m->weights * load.weights +
           m->attention * load.attention;
}

static nct_load row_at(size_t depth) { return (nct_load){.weights = 1e6, .attention = 1e3 * (double)depth}; }

static nct_load rows_of(nct_load row, double n) {
    return (nct_load){.weights = row.weights * n, .attention = row.attention * n};
}

static nct_pace new_pace(void) {
    nct_pace p;
    nct_pace_init(&p, row_at(0));
    return p;
}

/* A step of a prompt at such a depth, as a batcher takes it: at least one row, or none where it is asked for. *n_rows: what
 * it carried. Returns how many times it took what it takes without. */
static double step(nct_pace *p, const struct machine *m, size_t n_answers, size_t n_prompts, size_t depth,
                   size_t *n_rows) {
    nct_load row = row_at(depth);
    double room = nct_pace_room(p, n_answers, n_prompts), fit = room / nct_pace_cost(p, row);
    *n_rows = room <= 0 ? 0 : fit < 1 ? 1 : fit > 512 ? 512 : (size_t)fit;
    nct_load load = rows_of(row, (double)*n_rows);
    double seconds = seconds_of(m, n_answers, load);
    nct_pace_learn(p, n_answers, load, seconds);
    return seconds / seconds_of(m, n_answers, (nct_load){0});
}

static void test_pace__begins_with_a_step_without_prompts_and_then_small(void **state) {
    (void)state;
    nct_pace p = new_pace();
    size_t n, before = NCT_PACE_FIRST / 2;
    step(&p, &quick, 3, 1, 0, &n);
    assert_int_equal(n, 0);
    for (int i = 0; i < 4; i++, before = n) {
        step(&p, &quick, 3, 1, 0, &n);
        assert_true(n > 0 && n <= 2 * before);
    }
    step(&p, &quick, 4, 1, 0, &n); /* so many answers are new */
    assert_int_equal(n, 0);
}

/* From the first token of a document to a depth where a row takes hundreds of times as long. */
static void test_pace__keeps_steps_below_twice_what_they_take_without(void **state) {
    (void)state;
    nct_pace p = new_pace();
    size_t n, depth = 0, n_steps = 0, n_wide = 0;
    double most = 0;
    while (depth < 65536) {
        double times = step(&p, &quick, 7, 1, depth, &n);
        bool alone = n == 1; /* less cannot be */
        if (n_steps > 8 && !alone) {
            assert_true(times < 2.2);
            assert_true(n == 0 || times > 1.5); /* nor does the document wait for nothing */
        }
        most = times > most ? times : most;
        n_wide += n_steps > 8 && n > 1;
        depth += n;
        n_steps++;
    }
    assert_true(most < 17 && n_wide > 100); /* a row at the end: 0.19 s, a step without: 0.017 s */
}

static void test_pace__gives_prompts_more_where_more_of_them_wait_than_answer(void **state) {
    (void)state;
    nct_pace p = new_pace();
    size_t n;
    double times = 0;
    for (int i = 0; i < 16; i++)
        times = step(&p, &quick, 2, 6, 0, &n);
    assert_true(times > 3.5 && times < 4.2);
    times = step(&p, &quick, 2, 1, 0, &n);
    assert_true(times > 1.8 && times < 2.1);
}

static void test_pace__measures_steps_without_again(void **state) {
    (void)state;
    nct_pace p = new_pace();
    struct machine m = quick;
    size_t n, n_without = 0, first = 0;
    for (int i = 0; i < 40; i++) {
        if (i == 18)
            m.pass = 0.1; /* all of it takes longer now */
        step(&p, &m, 5, 1, 0, &n);
        n_without += n == 0;
        first = i == 17 ? n : first;
    }
    assert_int_equal(n_without, 3); /* steps 0, 17, 34 */
    assert_int_equal(first, 0);
    assert_true(p.plain[5] > 0.05);
}

/* A document deep down and short prompts in turn: what one of them costs says little of the other. */
static void test_pace__tells_attention_from_weights(void **state) {
    (void)state;
    nct_pace p = new_pace();
    size_t n;
    for (int i = 0; i < 200; i++) {
        double times = step(&p, &quick, 7, 1, i % 2 ? 0 : 3000, &n);
        if (i > 100 && n)
            assert_true(times > 1.5 && times < 2.1);
    }
    double ratio = p.second.attention / p.second.weights;
    assert_true(ratio > 2.5 && ratio < 3.5);
}

/* Rows that cost nothing up to some number, as where memory is what limits. */
static void test_pace__finds_what_is_free_and_gets_over_a_disturbance(void **state) {
    (void)state;
    nct_pace p = new_pace();
    size_t n = 0, before = 0;
    for (int i = 0; i < 60; i++) {
        nct_load row = row_at(0);
        double room = nct_pace_room(&p, 2, 1), fit = room / nct_pace_cost(&p, row);
        n = room <= 0 ? 0 : fit < 1 ? 1 : fit > 512 ? 512 : (size_t)fit;
        double rows = n > 30 ? (double)n - 30 : 0, seconds = 0.1 + 0.01 * rows;
        assert_true(n <= NCT_PACE_FIRST || n <= 2 * before);
        before = n ? n : before;
        if (i > 30 && n)
            assert_in_range(n, 38, 42); /* 40 take twice as long */
        nct_pace_learn(&p, 2, rows_of(row, (double)n), seconds);
    }
    nct_pace_learn(&p, 2, rows_of(row_at(0), 40), 60); /* the machine slept */
    step(&p, &quick, 2, 1, 0, &n);
    assert_true(n <= 1);
    for (int i = 0; i < 60; i++)
        step(&p, &quick, 2, 1, 0, &n);
    assert_true(n > 8);
}

static void test_pace__a_cost_never_vanishes(void **state) {
    (void)state;
    nct_pace p = new_pace();
    for (int i = 0; i < 5000; i++) /* a clock that stands still */
        nct_pace_learn(&p, 1, i % 3 ? row_at(5) : (nct_load){0}, i < 3 ? 1.0 + i : 1.0);
    assert_true(nct_pace_cost(&p, row_at(5)) > 0 && p.second.weights > 0 && p.second.attention > 0);
    nct_pace_learn(&p, 1000, (nct_load){0}, 1); /* more answers than are told apart */
    assert_true(nct_pace_room(&p, 64, 1) > 0 && nct_pace_room(&p, 64, 1) == nct_pace_room(&p, 2000, 1));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pace__begins_with_a_step_without_prompts_and_then_small),
        cmocka_unit_test(test_pace__keeps_steps_below_twice_what_they_take_without),
        cmocka_unit_test(test_pace__gives_prompts_more_where_more_of_them_wait_than_answer),
        cmocka_unit_test(test_pace__measures_steps_without_again),
        cmocka_unit_test(test_pace__tells_attention_from_weights),
        cmocka_unit_test(test_pace__finds_what_is_free_and_gets_over_a_disturbance),
        cmocka_unit_test(test_pace__a_cost_never_vanishes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
