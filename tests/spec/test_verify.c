/* The walk down a tree: the toy vectors, and that text made with guesses is the text made without, by the sampler itself
 * over a toy target whose logits depend on all tokens before. */
#include "spec/verify.h"

#include "base/rng.h"
#include "sample/sampler.h"
#include "support/support.h"

/* ------------------------------------------------------------------ stated choices */

struct stated {
    const int32_t *choice; /* by node */
    size_t stop_after, fail_at, n_calls;
};

static nct_status choose_stated(void *context, size_t node, const int32_t *token, size_t n, int32_t *chosen,
                                bool *stop, nct_error *err) {
    struct stated *s = context;
    (void)token;
    assert_int_equal(n, s->n_calls++);
    if (n == s->fail_at)
        return nct_fail(err, NCT_E_ARGUMENT, "no token is left");
    *chosen = s->choice[node];
    *stop = n == s->stop_after;
    return NCT_OK;
}

/* The tree of the toy draft. */
static nct_tree toy_tree(void) {
    static const int32_t token[] = {6, 15, 15, 0, 14, 8, 14};
    static const uint8_t parent[] = {0, 1, 2, 2, 1, 1, 6};
    nct_tree t;
    nct_tree_init(&t, 3);
    for (size_t i = 0; i < 7; i++)
        assert_int_equal(nct_tree_add(&t, parent[i], token[i], -(float)i, 0), i + 1);
    return t;
}

static const int32_t toy_choice[] = {6, 15, 0, 9, 4, 1, 2, 3};

static void check_accepted(const nct_accepted *a, size_t n, const uint8_t *node, const int32_t *token) {
    assert_int_equal(a->n, n);
    assert_memory_equal(a->node, node, n);
    assert_memory_equal(a->token, token, n * sizeof *token);
}

static void test_verify__greedy_walk_of_the_toy_tree(void **state) {
    (void)state;
    nct_tree t = toy_tree();
    nct_accepted a;
    struct stated s = {.choice = toy_choice, .stop_after = 99, .fail_at = 99};
    NCT_ASSERT_OK(nct_verify(&t, choose_stated, &s, &a, fault));
    check_accepted(&a, 4, (const uint8_t[]){0, 1, 2, 4}, (const int32_t[]){6, 15, 0, 4});
    assert_false(a.stopped);
    assert_int_equal(s.n_calls, 4); /* rows off the path are never asked about */

    const int32_t none[] = {7, 15, 0, 9, 4, 1, 2, 3};
    s = (struct stated){.choice = none, .stop_after = 99, .fail_at = 99};
    NCT_ASSERT_OK(nct_verify(&t, choose_stated, &s, &a, fault));
    check_accepted(&a, 1, (const uint8_t[]){0}, (const int32_t[]){7});
}

static void test_verify__an_empty_guess_is_plain_decoding(void **state) {
    (void)state;
    nct_tree t;
    nct_accepted a;
    nct_tree_init(&t, 5);
    struct stated s = {.choice = (const int32_t[]){5}, .stop_after = 99, .fail_at = 99};
    NCT_ASSERT_OK(nct_verify(&t, choose_stated, &s, &a, fault));
    check_accepted(&a, 1, (const uint8_t[]){0}, (const int32_t[]){5});
}

static void test_verify__a_stop_ends_the_walk(void **state) {
    (void)state;
    nct_tree t = toy_tree();
    nct_accepted a;
    for (size_t after = 0; after < 4; after++) {
        struct stated s = {.choice = toy_choice, .stop_after = after, .fail_at = 99};
        NCT_ASSERT_OK(nct_verify(&t, choose_stated, &s, &a, fault));
        assert_int_equal(a.n, after + 1);
        assert_true(a.stopped);
    }
}

static void test_verify__a_failing_choice_is_met_again_at_the_root(void **state) {
    (void)state;
    nct_tree t = toy_tree();
    nct_accepted a;
    for (size_t at = 1; at < 4; at++) {
        struct stated s = {.choice = toy_choice, .stop_after = 99, .fail_at = at};
        NCT_ASSERT_OK(nct_verify(&t, choose_stated, &s, &a, fault));
        assert_int_equal(a.n, at);
        assert_false(a.stopped);
    }
    struct stated s = {.choice = toy_choice, .stop_after = 99, .fail_at = 0};
    nct_error err = {0};
    a.n = 77;
    assert_int_equal(nct_verify(&t, choose_stated, &s, &a, &err), NCT_E_ARGUMENT);
    assert_string_equal(err.text, "no token is left");
    assert_int_equal(a.n, 77);
}

static void test_verify__a_full_chain_gives_all_and_one_more(void **state) {
    (void)state;
    nct_tree t;
    nct_accepted a;
    int32_t choice[NCT_TREE_MAX];
    nct_tree_init(&t, 0);
    for (int32_t i = 0; i < NCT_TREE_MAX; i++) {
        choice[i] = 100 + i;
        if (i > 0)
            nct_tree_add(&t, (size_t)i - 1, 99 + i, 0, 0);
    }
    struct stated s = {.choice = choice, .stop_after = 99, .fail_at = 99};
    NCT_ASSERT_OK(nct_verify(&t, choose_stated, &s, &a, fault));
    assert_int_equal(a.n, NCT_TREE_MAX);
    assert_int_equal(a.token[63], 163);
}

/* ------------------------------------------------------------------ text with guesses is text without */

enum { VOCAB = 12, LENGTH = 160, N_PROMPT = 5 };

/* Logits after a history: a function of its last two tokens and its length's parity. */
static void toy_logits(const int32_t *history, size_t n, float *logits) {
    uint64_t key = (uint64_t)history[n - 1] * 1000 + (uint64_t)history[n - 2] * 10 + n % 2;
    for (uint32_t i = 0; i < VOCAB; i++)
        logits[i] = (float)(5 * nct_rng_uniform(17, 0, key, i));
}

struct target {
    nct_sampler *sampler;
    nct_sampling sampling;
    int32_t history[LENGTH + NCT_TREE_MAX];
    size_t n; /* the root is the last */
};

static nct_status choose_sampled(void *context, size_t node, const int32_t *token, size_t n, int32_t *chosen,
                                 bool *stop, nct_error *err) {
    struct target *t = context;
    float logits[VOCAB];
    (void)node;
    memcpy(t->history + t->n, token, n * sizeof *token);
    toy_logits(t->history, t->n + n, logits);
    NCT_TRY(
        nct_sampler_choose(t->sampler, &t->sampling, logits, t->history, t->n + n, N_PROMPT, 0, chosen, err));
    *stop = t->n + n + 1 == LENGTH;
    return NCT_OK;
}

/* What stands after the root: at random, or, `knowing`, also the right path, found by asking. */
static void guess(struct target *t, uint64_t seed, size_t n_nodes, bool knowing, nct_tree *tree) {
    nct_tree_init(tree, t->history[t->n - 1]);
    if (knowing) {
        int32_t path[8];
        for (size_t i = 0, node = 0; i < 1 + seed % 8; i++) {
            bool stop;
            NCT_ASSERT_OK(choose_sampled(t, 0, path, i, &path[i], &stop, fault));
            node = nct_tree_add(tree, node, path[i], -(float)i, 0);
        }
    }
    for (uint64_t i = 0; tree->n < n_nodes; i++)
        nct_tree_add(tree, (size_t)(nct_rng_uniform(seed, 3, t->n, (uint32_t)(2 * i)) * (double)tree->n),
                     (int32_t)(nct_rng_uniform(seed, 3, t->n, (uint32_t)(2 * i + 1)) * VOCAB), 0, 0);
}

static void write_text(struct target *t, uint64_t seed, size_t n_nodes, bool knowing, size_t *n_rounds) {
    for (t->n = 0; t->n < N_PROMPT; t->n++)
        t->history[t->n] = (int32_t)((seed + t->n) % VOCAB);
    *n_rounds = 0;
    for (bool stopped = false; !stopped; ++*n_rounds) {
        nct_tree tree;
        nct_accepted a;
        guess(t, seed + *n_rounds, n_nodes, knowing, &tree);
        NCT_ASSERT_OK(nct_verify(&tree, choose_sampled, t, &a, fault));
        memcpy(t->history + t->n, a.token, a.n * sizeof *a.token);
        t->n += a.n;
        stopped = a.stopped;
    }
    assert_int_equal(t->n, LENGTH);
}

static void test_verify__guessing_changes_no_text(void **state) {
    (void)state;
    static const nct_sampling settings[] = {
        {.temperature = 0, .top_p = 1, .repeat_penalty = 1},
        {.temperature = 0, .top_p = 1, .repeat_penalty = 1.3, .repeat_last_n = 20},
        {.temperature = 1, .top_p = 1, .repeat_penalty = 1},
        {.temperature = 0.8,
         .top_p = 0.9,
         .top_k = 6,
         .min_p = 0.05,
         .repeat_penalty = 1.1,
         .presence_penalty = 0.3,
         .frequency_penalty = 0.05},
    };
    struct target plain = {0}, guessed = {0};
    NCT_ASSERT_OK(nct_sampler_open(VOCAB, &plain.sampler, fault));
    guessed.sampler = plain.sampler;
    for (size_t k = 0; k < sizeof settings / sizeof *settings; k++)
        for (uint64_t seed = 0; seed < 40; seed++) {
            size_t n_plain, n_random, n_knowing;
            plain.sampling = settings[k];
            plain.sampling.seed = seed;
            guessed.sampling = plain.sampling;
            write_text(&plain, seed, 1, false, &n_plain);
            assert_int_equal(n_plain, LENGTH - N_PROMPT);
            write_text(&guessed, seed, 2 + seed % 63, false, &n_random);
            assert_memory_equal(guessed.history, plain.history, LENGTH * sizeof *plain.history);
            write_text(&guessed, seed, 9 + seed % 40, true, &n_knowing);
            assert_memory_equal(guessed.history, plain.history, LENGTH * sizeof *plain.history);
            assert_true(n_random < n_plain || seed % 63 < 8);
            assert_true(n_knowing < n_plain / 3); /* right guesses are worth something */
        }
    nct_sampler_close(plain.sampler);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_verify__greedy_walk_of_the_toy_tree),
        cmocka_unit_test(test_verify__an_empty_guess_is_plain_decoding),
        cmocka_unit_test(test_verify__a_stop_ends_the_walk),
        cmocka_unit_test(test_verify__a_failing_choice_is_met_again_at_the_root),
        cmocka_unit_test(test_verify__a_full_chain_gives_all_and_one_more),
        cmocka_unit_test(test_verify__guessing_changes_no_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
