/* Drawing is tested two ways: by hand-computed cases, and against a plain sampler written here, which sorts
 * everything and sums in long double. */
#include <math.h>

#include "base/mem.h"
#include "base/rng.h"
#include "sample/sampler.h"
#include "support/support.h"

static const nct_sampling plain = {.temperature = 1, .top_p = 1, .repeat_penalty = 1};

typedef struct past {
    const int32_t *ids;
    size_t n, n_prompt;
} past;

static int32_t choose(nct_sampling o, const float *logits, size_t n_vocab, past p, uint32_t sample) {
    nct_sampler *s = NULL;
    int32_t id = -1;
    NCT_ASSERT_OK(nct_sampler_open(n_vocab, &s, fault));
    NCT_ASSERT_OK(nct_sampler_choose(s, &o, logits, p.ids, p.n, p.n_prompt, sample, &id, fault));
    nct_sampler_close(s);
    return id;
}

/* How often each of n_vocab tokens comes in n draws, one a sample number. */
static void count_draws(nct_sampling o, const float *logits, size_t n_vocab, past p, uint32_t n,
                        uint32_t *count) {
    nct_sampler *s = NULL;
    NCT_ASSERT_OK(nct_sampler_open(n_vocab, &s, fault));
    memset(count, 0, n_vocab * sizeof *count);
    for (uint32_t i = 0; i < n; i++) {
        int32_t id = -1;
        NCT_ASSERT_OK(nct_sampler_choose(s, &o, logits, p.ids, p.n, p.n_prompt, i, &id, fault));
        assert_in_range(id, 0, n_vocab - 1);
        count[id]++;
    }
    nct_sampler_close(s);
}

/* Pearson's statistic against expected probabilities; tokens of probability 0 must not come at all. */
static double chi_square(const uint32_t *count, const double *p, size_t n_vocab, uint32_t n) {
    double sum = 0;
    for (size_t i = 0; i < n_vocab; i++) {
        double expected = p[i] * n;
        if (p[i] == 0)
            assert_int_equal(count[i], 0);
        else
            sum += (count[i] - expected) * (count[i] - expected) / expected;
    }
    return sum;
}

/* ------------------------------------------------------------------ the plain sampler */

enum { MAX_VOCAB = 4096 };

static int by_logit(const void *a, const void *b) {
    const float *const *x = a, *const *y = b;
    if (**x != **y)
        return **x > **y ? -1 : 1;
    return *x < *y ? -1 : 1; /* pointers into one row: ascending id */
}

/* Probabilities [n] of the kept tokens in order, their ids; returns n. No bias or penalties. */
static size_t plain_distribution(nct_sampling o, const float *logits, size_t n_vocab, int32_t *id,
                                 double *p) {
    static const float *row[MAX_VOCAB];
    static long double w[MAX_VOCAB];
    for (size_t i = 0; i < n_vocab; i++)
        row[i] = logits + i;
    qsort(row, n_vocab, sizeof *row, by_logit);
    size_t n = o.top_k > 0 && (size_t)o.top_k < n_vocab ? (size_t)o.top_k : n_vocab;
    long double total = 0, sum = 0;
    for (size_t i = 0; i < n; i++)
        total += w[i] = expl(((long double)*row[i] - *row[0]) / o.temperature);
    size_t kept = 0;
    while (kept < n && (kept == 0 || o.top_p >= 1 || sum < o.top_p * total))
        sum += w[kept++];
    while (kept > 1 && w[kept - 1] < o.min_p)
        sum -= w[--kept];
    for (size_t i = 0; i < kept; i++) {
        id[i] = (int32_t)(row[i] - logits);
        p[i] = (double)(w[i] / sum);
    }
    return kept;
}

static int32_t plain_draw(const int32_t *id, const double *p, size_t n, double uniform) {
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        if ((sum += p[i]) > uniform)
            return id[i];
    return id[n - 1];
}

static void fill_row(float *row, size_t n, uint64_t seed, double spread) {
    for (size_t i = 0; i < n; i++) { /* a sum of four uniforms is bell-shaped enough */
        double sum = 0;
        for (uint32_t j = 0; j < 4; j++)
            sum += nct_rng_uniform(seed, 7, i, j) - 0.5;
        row[i] = (float)(sum * spread);
    }
}

/* ------------------------------------------------------------------ greedy */

static void test_sampler__temperature_zero_takes_the_largest(void **state) {
    (void)state;
    nct_sampling o = plain;
    o.temperature = 0;
    assert_int_equal(choose(o, (float[]){-3, 0.5f, 2, 1.9f}, 4, (past){0}, 0), 2);
}

static void test_sampler__ties_take_the_lowest_id(void **state) {
    (void)state;
    float row[64] = {0};
    row[9] = row[17] = row[63] = 4;
    nct_sampling o = plain;
    o.temperature = 0;
    assert_int_equal(choose(o, row, 64, (past){0}, 0), 9);
    o.temperature = 1;
    o.top_k = 1;
    for (uint32_t i = 0; i < 50; i++)
        assert_int_equal(choose(o, row, 64, (past){0}, i), 9);
    o.top_k = 2; /* exactly two, the lower ids */
    uint32_t count[64];
    count_draws(o, row, 64, (past){0}, 2000, count);
    assert_int_equal(count[9] + count[17], 2000);
    assert_true(count[9] > 800 && count[17] > 800);
}

/* ------------------------------------------------------------------ penalties */

static void test_sampler__repetition_penalty_divides_and_multiplies(void **state) {
    (void)state;
    nct_sampling o = plain;
    o.temperature = 0;
    o.repeat_penalty = 1.25;
    float row[] = {2.0f, 1.9f, -1.0f, -1.2f};
    const int32_t both[] = {0, 1, 0, 0};
    /* 2.0 / 1.25 = 1.6 loses to 1.9 and wins over 1.9 / 1.25 = 1.52; thrice would be 1.02, but it is a set */
    assert_int_equal(choose(o, row, 4, (past){both, 1, 1}, 0), 1);
    assert_int_equal(choose(o, row, 4, (past){both, 2, 1}, 0), 0);
    assert_int_equal(choose(o, row, 4, (past){both, 4, 1}, 0), 0);
    /* negative ones move down too: -1.0 * 1.25 = -1.25 < -1.2 */
    float low[] = {-9, -9, -1.0f, -1.2f};
    const int32_t two[] = {2};
    assert_int_equal(choose(o, low, 4, (past){two, 1, 0}, 0), 3);
}

static void test_sampler__repetition_window_forgets(void **state) {
    (void)state;
    nct_sampling o = plain;
    o.temperature = 0;
    o.repeat_penalty = 2;
    float row[] = {3, 2, 1};
    const int32_t ids[] = {0, 2, 2};
    assert_int_equal(choose(o, row, 3, (past){ids, 3, 3}, 0), 1);
    o.repeat_last_n = 2;
    assert_int_equal(choose(o, row, 3, (past){ids, 3, 3}, 0), 0);
    o.repeat_last_n = 100;
    assert_int_equal(choose(o, row, 3, (past){ids, 3, 3}, 0), 1);
}

static void test_sampler__presence_and_frequency_look_at_the_answer(void **state) {
    (void)state;
    nct_sampling o = plain;
    o.temperature = 0;
    o.presence_penalty = 0.5;
    float row[] = {3.0f, 2.6f, 2.0f};
    const int32_t ids[] = {0, 0, 0, 1};
    assert_int_equal(choose(o, row, 3, (past){ids, 3, 3}, 0), 0); /* all prompt */
    assert_int_equal(choose(o, row, 3, (past){ids, 3, 2}, 0), 1); /* 3.0 - 0.5 = 2.5 */
    assert_int_equal(choose(o, row, 3, (past){ids, 4, 2}, 0), 0); /* 2.5 against 2.1 */
    o.presence_penalty = 0;
    o.frequency_penalty = 0.25;
    assert_int_equal(choose(o, row, 3, (past){ids, 3, 2}, 0), 0); /* 2.75 */
    assert_int_equal(choose(o, row, 3, (past){ids, 3, 1}, 0), 1); /* 2.5 */
    o.presence_penalty = 0.75;
    assert_int_equal(choose(o, row, 3, (past){ids, 4, 0}, 0), 2); /* 1.5, 1.6, 2.0 */
}

static void test_sampler__bias_adds_and_bans(void **state) {
    (void)state;
    nct_sampling o = plain;
    o.temperature = 0;
    float row[] = {1, 2, 3};
    const int32_t id[] = {0, 2};
    o.n_bias = 2;
    o.bias_id = id;
    o.bias_value = (float[]){2.5f, -INFINITY};
    assert_int_equal(choose(o, row, 3, (past){0}, 0), 0);
    o.temperature = 1;
    uint32_t count[3];
    count_draws(o, row, 3, (past){0}, 500, count);
    assert_int_equal(count[2], 0);
    assert_true(count[0] > 0 && count[1] > 0);
}

static void test_sampler__the_row_is_not_changed(void **state) {
    (void)state;
    float row[] = {1, 2, 3}, same[] = {1, 2, 3};
    const int32_t ids[] = {2, 1};
    nct_sampling o = {.temperature = 0.7,
                      .top_p = 0.9,
                      .repeat_penalty = 1.3,
                      .presence_penalty = 1,
                      .frequency_penalty = 1};
    choose(o, row, 3, (past){ids, 2, 0}, 0);
    assert_memory_equal(row, same, sizeof row);
}

/* ------------------------------------------------------------------ distributions */

static void test_sampler__draws_follow_the_softmax(void **state) {
    (void)state;
    enum { N = 8, DRAWS = 40000 };
    float row[N] = {1.0f, 0.2f, -0.7f, 2.0f, 0.0f, -3.0f, 1.1f, 0.5f};
    double p[N], sum = 0;
    for (int i = 0; i < N; i++)
        sum += p[i] = exp(row[i] / 0.8);
    for (int i = 0; i < N; i++)
        p[i] /= sum;
    nct_sampling o = plain;
    o.temperature = 0.8;
    for (uint64_t seed = 1; seed <= 5; seed++) {
        uint32_t count[N];
        o.seed = seed;
        count_draws(o, row, N, (past){0}, DRAWS, count);
        assert_true(chi_square(count, p, N, DRAWS) < 24.3); /* 7 degrees of freedom, 0.1 % */
    }
}

static void test_sampler__draws_follow_the_cut_distribution(void **state) {
    (void)state;
    enum { N = 300, DRAWS = 20000 };
    float row[N];
    fill_row(row, N, 11, 6);
    nct_sampling o = {
        .temperature = 1.3, .top_k = 40, .top_p = 0.9, .min_p = 0.02, .repeat_penalty = 1, .seed = 3};
    int32_t id[N];
    double kept[N], p[N] = {0};
    size_t n = plain_distribution(o, row, N, id, kept);
    assert_in_range(n, 5, 40);
    for (size_t i = 0; i < n; i++)
        p[id[i]] = kept[i];
    uint32_t count[N];
    count_draws(o, row, N, (past){0}, DRAWS, count);
    double freedom = (double)n - 1;
    assert_true(chi_square(count, p, N, DRAWS) < freedom + 4 * sqrt(2 * freedom) + 8);
}

static void test_sampler__agrees_with_a_plain_sampler(void **state) {
    (void)state;
    static float row[MAX_VOCAB];
    static int32_t id[MAX_VOCAB];
    static double p[MAX_VOCAB];
    const nct_sampling settings[] = {
        {.temperature = 1, .top_p = 1, .repeat_penalty = 1},
        {.temperature = 0.3, .top_p = 1, .repeat_penalty = 1},
        {.temperature = 5, .top_p = 1, .repeat_penalty = 1},
        {.temperature = 1, .top_p = 0.8, .repeat_penalty = 1},
        {.temperature = 1, .top_p = 0.999, .repeat_penalty = 1},
        {.temperature = 1, .top_p = 1e-9, .repeat_penalty = 1},
        {.temperature = 1, .top_p = 1, .top_k = 7, .repeat_penalty = 1},
        {.temperature = 1, .top_p = 1, .min_p = 0.1, .repeat_penalty = 1},
        {.temperature = 0.9, .top_p = 0.95, .min_p = 0.05, .top_k = 50, .repeat_penalty = 1},
        {.temperature = 2, .top_p = 0.5, .min_p = 1e-3, .top_k = 3000, .repeat_penalty = 1},
    };
    const size_t sizes[] = {1, 2, 17, 512, MAX_VOCAB};
    for (size_t v = 0; v < sizeof sizes / sizeof *sizes; v++)
        for (size_t k = 0; k < sizeof settings / sizeof *settings; k++) {
            nct_sampler *s = NULL;
            NCT_ASSERT_OK(nct_sampler_open(sizes[v], &s, fault));
            for (uint32_t i = 0; i < 60; i++) {
                nct_sampling o = settings[k];
                o.seed = i;
                fill_row(row, sizes[v], i, 1 + i % 12);
                if (i % 3 == 0) /* many equal logits */
                    for (size_t j = 0; j < sizes[v]; j++)
                        row[j] = roundf(row[j]);
                size_t n = plain_distribution(o, row, sizes[v], id, p);
                int32_t got = -1, want = plain_draw(id, p, n, nct_rng_uniform(o.seed, i, 0, 0));
                NCT_ASSERT_OK(nct_sampler_choose(s, &o, row, NULL, 0, 0, i, &got, fault));
                assert_int_equal(got, want);
            }
            nct_sampler_close(s);
        }
}

static void test_sampler__top_p_keeps_the_shortest_part(void **state) {
    (void)state;
    /* probabilities 1/2, 1/4, 1/8, 1/8, all exact in binary */
    float row[] = {(float)log(2), (float)log(4), (float)log(1), (float)log(1)};
    const struct {
        double top_p;
        size_t kept;
    } cases[] = {{1e-300, 1}, {0.49, 1}, {0.51, 2}, {0.74, 2}, {0.76, 3},
                 {0.87, 3},   {0.88, 4}, {1, 4},    {1.5, 4}};
    const int32_t rank[] = {1, 0, 2, 3}; /* tokens from likely to unlikely */
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        nct_sampling o = plain;
        o.top_p = cases[i].top_p;
        uint32_t count[4];
        count_draws(o, row, 4, (past){0}, 4000, count);
        for (size_t j = 0; j < 4; j++)
            assert_int_equal(count[rank[j]] > 0, j < cases[i].kept);
    }
}

static void test_sampler__half_the_mass_is_enough_for_half(void **state) {
    (void)state;
    float row[] = {1, 1};
    nct_sampling o = plain;
    o.top_p = 0.5;
    uint32_t count[2];
    count_draws(o, row, 2, (past){0}, 200, count);
    assert_int_equal(count[0], 200);
}

static void test_sampler__min_p_is_relative_to_the_best(void **state) {
    (void)state;
    float row[] = {0, (float)log(0.5), (float)log(0.2), (float)log(0.05)};
    nct_sampling o = plain;
    o.min_p = 0.1;
    uint32_t count[4];
    count_draws(o, row, 4, (past){0}, 3000, count);
    assert_true(count[0] > count[1] && count[1] > count[2] && count[2] > 0);
    assert_int_equal(count[3], 0);
    o.min_p = 1;
    count_draws(o, row, 4, (past){0}, 300, count);
    assert_int_equal(count[0], 300);
}

/* ------------------------------------------------------------------ randomness by position */

static void test_sampler__choice_depends_on_seed_sample_and_position(void **state) {
    (void)state;
    enum { N = 1000 };
    static float row[N]; /* all equal: the choice is floor(N * uniform) */
    static const int32_t zeros[8];
    for (uint32_t i = 0; i < 8; i++) {
        nct_sampling o = plain;
        o.seed = 42 + i;
        int32_t id = choose(o, row, N, (past){zeros, i, 0}, i);
        assert_int_equal(id, (int32_t)(nct_rng_uniform(42 + i, i, i, 0) * N));
        assert_int_equal(id, choose(o, row, N, (past){zeros, i, i}, i));
    }
}

static void test_sampler__tiny_temperature_is_greedy(void **state) {
    (void)state;
    float row[] = {1, 3, 2.999f};
    nct_sampling o = plain;
    o.temperature = 1e-300;
    for (uint32_t i = 0; i < 20; i++)
        assert_int_equal(choose(o, row, 3, (past){0}, i), 1);
}

/* ------------------------------------------------------------------ refusals */

static nct_status refused(nct_sampling o, const float *row, size_t n_vocab, past p) {
    nct_sampler *s = NULL;
    NCT_ASSERT_OK(nct_sampler_open(n_vocab, &s, fault));
    int32_t id = -7;
    nct_error err = {0};
    nct_status status = nct_sampler_choose(s, &o, row, p.ids, p.n, p.n_prompt, 0, &id, &err);
    nct_sampler_close(s);
    assert_int_equal(id, -7);
    assert_true(err.text[0] != 0);
    return status;
}

static void test_sampler__refuses_what_is_no_number(void **state) {
    (void)state;
    nct_sampling greedy = plain;
    greedy.temperature = 0;
    assert_int_equal(refused(plain, (float[]){0, NAN, 1}, 3, (past){0}), NCT_E_ARGUMENT);
    assert_int_equal(refused(greedy, (float[]){0, 1, NAN}, 3, (past){0}), NCT_E_ARGUMENT);
    assert_int_equal(refused(greedy, (float[]){INFINITY, 1, 2}, 3, (past){0}), NCT_E_ARGUMENT);
    assert_int_equal(refused(plain, (float[]){-INFINITY, -INFINITY}, 2, (past){0}), NCT_E_ARGUMENT);
}

static void test_sampler__refuses_settings_out_of_range(void **state) {
    (void)state;
    const float row[] = {0, 1, 2};
    nct_sampling o[12];
    for (size_t i = 0; i < 12; i++)
        o[i] = plain;
    o[0].temperature = -0.1;
    o[1].temperature = NAN;
    o[2].top_k = -1;
    o[3].top_p = 0;
    o[4].top_p = NAN;
    o[5].min_p = 1.01;
    o[6].repeat_penalty = 0;
    o[7].repeat_last_n = -1;
    o[8].presence_penalty = NAN;
    o[9].frequency_penalty = INFINITY;
    const int32_t outside = 3, inside = 1;
    o[10].n_bias = o[11].n_bias = 1;
    o[10].bias_id = &outside;
    o[10].bias_value = o[11].bias_value = (float[]){NAN};
    o[11].bias_id = &inside;
    for (size_t i = 0; i < 12; i++)
        assert_int_equal(refused(o[i], row, 3, (past){0}), NCT_E_ARGUMENT);
    assert_int_equal(refused(plain, row, 3, (past){(const int32_t[]){3}, 1, 0}), NCT_E_ARGUMENT);
    assert_int_equal(refused(plain, row, 3, (past){(const int32_t[]){-1}, 1, 0}), NCT_E_ARGUMENT);
}

static void test_sampler__every_allocation_may_fail(void **state) {
    (void)state;
    for (long n = 0; n < 4; n++) {
        nct_sampler *s = NULL;
        nct_error err = {0};
        atomic_store(&nct_mem_fail_in, n);
        nct_status status = nct_sampler_open(100, &s, &err);
        atomic_store(&nct_mem_fail_in, -1);
        assert_int_equal(status, NCT_E_MEMORY);
        assert_null(s);
    }
    nct_error err = {0};
    nct_sampler *s = NULL;
    assert_int_equal(nct_sampler_open(0, &s, &err), NCT_E_ARGUMENT);
}

/* A mask is what a model would say that cannot say the other tokens; so all settings see only what is left. */
static void test_sampler__chooses_among_what_is_allowed(void **state) {
    (void)state;
    enum { N = 200 };
    static const nct_sampling settings[] = {
        {.temperature = 0, .top_p = 1, .repeat_penalty = 1},
        {.temperature = 1, .top_p = 1, .repeat_penalty = 1},
        {.temperature = 1.5, .top_p = 0.7, .top_k = 5, .repeat_penalty = 1.3},
        {.temperature = 8, .top_p = 1, .top_k = 190, .min_p = 0.01, .repeat_penalty = 1, .presence_penalty = 1},
    };
    float all[N], left[N];
    int32_t past_ids[] = {3, 7, 7, 100}, id;
    nct_sampler *s = NULL;
    NCT_ASSERT_OK(nct_sampler_open(N, &s, fault));
    for (uint32_t k = 0; k < 400; k++) {
        nct_sampling o = settings[k % 4];
        uint64_t allowed[(N + 63) / 64] = {0};
        o.seed = k;
        for (size_t i = 0; i < N; i++) {
            bool may = nct_rng_uniform(k, 1, i, 0) < (k % 3 ? 0.5 : 0.02) || i == k % N;
            all[i] = (float)(nct_rng_uniform(k, 2, i, 0) * 10 - 5);
            left[i] = may ? all[i] : -INFINITY;
            allowed[i / 64] |= (uint64_t)may << i % 64;
        }
        NCT_ASSERT_OK(nct_sampler_choose_among(s, &o, allowed, all, past_ids, 4, 2, k, &id, fault));
        assert_true(allowed[id / 64] >> id % 64 & 1);
        assert_int_equal(id, choose(o, left, N, (past){past_ids, 4, 2}, k));
    }
    uint64_t none[(N + 63) / 64] = {0};
    assert_int_equal(nct_sampler_choose_among(s, &plain, none, all, past_ids, 4, 2, 0, &id, NULL), NCT_E_ARGUMENT);
    nct_sampler_close(s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sampler__temperature_zero_takes_the_largest),
        cmocka_unit_test(test_sampler__ties_take_the_lowest_id),
        cmocka_unit_test(test_sampler__repetition_penalty_divides_and_multiplies),
        cmocka_unit_test(test_sampler__repetition_window_forgets),
        cmocka_unit_test(test_sampler__presence_and_frequency_look_at_the_answer),
        cmocka_unit_test(test_sampler__bias_adds_and_bans),
        cmocka_unit_test(test_sampler__the_row_is_not_changed),
        cmocka_unit_test(test_sampler__draws_follow_the_softmax),
        cmocka_unit_test(test_sampler__draws_follow_the_cut_distribution),
        cmocka_unit_test(test_sampler__agrees_with_a_plain_sampler),
        cmocka_unit_test(test_sampler__top_p_keeps_the_shortest_part),
        cmocka_unit_test(test_sampler__half_the_mass_is_enough_for_half),
        cmocka_unit_test(test_sampler__min_p_is_relative_to_the_best),
        cmocka_unit_test(test_sampler__choice_depends_on_seed_sample_and_position),
        cmocka_unit_test(test_sampler__tiny_temperature_is_greedy),
        cmocka_unit_test(test_sampler__refuses_what_is_no_number),
        cmocka_unit_test(test_sampler__refuses_settings_out_of_range),
        cmocka_unit_test(test_sampler__chooses_among_what_is_allowed),
        cmocka_unit_test(test_sampler__every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
