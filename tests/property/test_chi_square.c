/* The law of sampled text with guesses is that of plain sampling: counts of three tokens in a row, of which the last two
 * are chosen along trees of guesses, against what the model's own probabilities say, and against counts without guesses. */
#include <math.h>

#include "engine/session.h"
#include "support/model.h"
#include "support/support.h"

enum { N_PROMPT = 12, K = 3, CELLS = K * K * K, DRAWS = 6000 };

static const double TEMPERATURE = 0.3; /* the tiny model is of few opinions */
static const double CRITICAL = 61; /* chi-square of 26 degrees of freedom: exceeded once in 8,000 */

typedef struct law {
    int32_t first[K], second[K][K], third[K][K][K]; /* the likeliest, best first */
    double p[CELLS];
} law;

static nct_sampling settings(uint64_t seed, double temperature) {
    return (nct_sampling){.temperature = temperature, .top_k = K, .top_p = 1, .repeat_penalty = 1, .seed = seed};
}

static void best(const float *logits, size_t n, double temperature, int32_t *token, double *p) {
    double sum = 0;
    for (size_t k = 0; k < K; k++) {
        token[k] = -1;
        for (size_t i = 0; i < n; i++) {
            bool taken = false;
            for (size_t j = 0; j < k; j++)
                taken |= token[j] == (int32_t)i;
            if (!taken && (token[k] < 0 || logits[i] > logits[token[k]]))
                token[k] = (int32_t)i;
        }
        p[k] = exp((logits[token[k]] - logits[token[0]]) / temperature);
        sum += p[k];
    }
    for (size_t k = 0; k < K; k++)
        p[k] /= sum;
}

/* Goes back to the prompt and feeds what follows it, so that its logits are there. */
static void go_to(nct_session *s, const int32_t *prompt, const int32_t *more, size_t n_more) {
    NCT_ASSERT_OK(nct_session_rewind(s, N_PROMPT - 1, fault));
    NCT_ASSERT_OK(nct_session_feed(s, &prompt[N_PROMPT - 1], 1, NULL, fault));
    for (size_t i = 0; i < n_more; i++)
        NCT_ASSERT_OK(nct_session_feed(s, &more[i], 1, NULL, fault));
}

static void find_law(nct_session *s, const int32_t *prompt, size_t n_vocab, double temperature, law *l) {
    double a[K], b[K], c[K];
    go_to(s, prompt, NULL, 0);
    best(nct_session_logits(s), n_vocab, temperature, l->first, a);
    for (size_t i = 0; i < K; i++) {
        go_to(s, prompt, &l->first[i], 1);
        best(nct_session_logits(s), n_vocab, temperature, l->second[i], b);
        for (size_t j = 0; j < K; j++) {
            go_to(s, prompt, (int32_t[]){l->first[i], l->second[i][j]}, 2);
            best(nct_session_logits(s), n_vocab, temperature, l->third[i][j], c);
            for (size_t k = 0; k < K; k++)
                l->p[(i * K + j) * K + k] = a[i] * b[j] * c[k];
        }
    }
}

static size_t rank_of(const int32_t *token, int32_t id) {
    for (size_t k = 0; k < K; k++)
        if (token[k] == id)
            return k;
    fail_msg("token %d is none of the %d likeliest", (int)id, K);
    return 0;
}

static bool take(void *context, int32_t id) {
    (void)context;
    (void)id;
    return true;
}

/* Two guesses after the root, of which each has one more; or none. */
static void draw(nct_session *s, const int32_t *prompt, const law *l, uint64_t seed, bool guess, int32_t text[3],
                 size_t *n_accepted) {
    nct_sampling sampling = settings(seed, TEMPERATURE);
    nct_generate_options o = {.sampling = &sampling, .n_prompt = N_PROMPT, .take = take};
    go_to(s, prompt, NULL, 0);
    NCT_ASSERT_OK(nct_session_sample(s, &sampling, N_PROMPT, 0, &text[0], fault));
    size_t i = rank_of(l->first, text[0]);
    for (size_t n = 1; n < 3;) {
        nct_tree tree;
        nct_accepted a;
        nct_tree_init(&tree, text[n - 1]);
        for (size_t j = 0; guess && n == 1 && j < 2; j++) {
            size_t node = nct_tree_add(&tree, 0, l->second[i][j], -1, 0);
            nct_tree_add(&tree, node, l->third[i][j][j], -2, 0);
        }
        NCT_ASSERT_OK(nct_session_verify(s, &tree, &o, &a, fault));
        for (size_t k = 0; k < a.n && n < 3; k++)
            text[n++] = a.token[k];
        *n_accepted += a.n - 1;
    }
}

static void count(nct_session *s, const int32_t *prompt, const law *l, uint64_t seed, bool guess, double *counts,
                  size_t *n_accepted) {
    memset(counts, 0, CELLS * sizeof *counts);
    for (uint64_t d = 0; d < DRAWS; d++) {
        int32_t text[3];
        draw(s, prompt, l, seed + d, guess, text, n_accepted);
        size_t i = rank_of(l->first, text[0]), j = rank_of(l->second[i], text[1]);
        counts[(i * K + j) * K + rank_of(l->third[i][j], text[2])]++;
    }
}

static double against_law(const double *counts, const law *l) {
    double sum = 0;
    for (size_t i = 0; i < CELLS; i++) {
        double expected = DRAWS * l->p[i];
        sum += (counts[i] - expected) * (counts[i] - expected) / expected;
    }
    return sum;
}

static double against_counts(const double *a, const double *b) {
    double sum = 0;
    for (size_t i = 0; i < CELLS; i++)
        if (a[i] + b[i] > 0)
            sum += (a[i] - b[i]) * (a[i] - b[i]) / (a[i] + b[i]);
    return sum;
}

static void test_chi_square__guessing_changes_no_law(void **state) {
    (void)state;
    nct_engine *engine;
    nct_session *s;
    nct_model_info info;
    law own, warmer;
    double guessed[CELLS], plain[CELLS];
    size_t n_accepted = 0, none = 0;
    int32_t prompt[N_PROMPT];
    NCT_ASSERT_OK(nct_engine_open(nct_test_models()[0], &(nct_engine_options){.n_threads = 1}, &engine, fault));
    NCT_ASSERT_OK(nct_session_open(engine, &(nct_session_options){.n_guess = 8, .drafter = "off"}, &s, fault));
    nct_engine_info(engine, &info);
    for (int32_t i = 0; i < N_PROMPT; i++)
        prompt[i] = (7 + 29 * i) % info.n_vocab;
    NCT_ASSERT_OK(nct_session_feed(s, prompt, N_PROMPT, NULL, fault));
    find_law(s, prompt, (size_t)info.n_vocab, TEMPERATURE, &own);
    find_law(s, prompt, (size_t)info.n_vocab, 1.5 * TEMPERATURE, &warmer);
    count(s, prompt, &own, 1, true, guessed, &n_accepted);
    count(s, prompt, &own, 1000000, false, plain, &none);
    assert_true(n_accepted > DRAWS / 4 && none == 0);
    double chi = against_law(guessed, &own), both = against_counts(guessed, plain);
    if (chi > CRITICAL || both > CRITICAL || against_law(plain, &own) > CRITICAL)
        fail_msg("chi-square %.1f against the law, %.1f against plain sampling", chi, both);
    assert_true(against_law(guessed, &warmer) > 2 * CRITICAL); /* another law would be told apart */
    nct_session_close(s);
    nct_engine_close(engine);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_chi_square__guessing_changes_no_law)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
