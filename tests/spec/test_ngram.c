/* Prompt lookup, seen through the interface of drafters: what it proposes really stood in the text after what stands
 * there now, and a rewind leaves nothing behind. */
#include "spec/drafter.h"

#include "base/rng.h"
#include "spec/edge.h"
#include "support/support.h"

static const nct_drafter *const drafter = &nct_drafter_ngram;

static void *open_index(size_t limit) {
    nct_draft_target target = {.limit = limit};
    void *state = NULL;
    NCT_ASSERT_OK(drafter->open(NULL, &target, NULL, &state, fault));
    return state;
}

/* Pairs first .. n_pairs - 1 of a timeline. */
static void observe(void *state, const int32_t *token, size_t first, size_t n_pairs) {
    nct_pairs pairs = {.first = first, .n = n_pairs - first, .token = token};
    NCT_ASSERT_OK(drafter->observe(state, NULL, &pairs, fault));
}

static nct_tree propose(void *state, const nct_ask *ask, int32_t root) {
    nct_tree t;
    size_t n_passes = 9;
    nct_tree_init(&t, root);
    NCT_ASSERT_OK(drafter->propose(state, NULL, ask, &t, &n_passes, fault));
    assert_int_equal(n_passes, 0);
    return t;
}

static const nct_ask wide = {.n_max = NCT_TREE_MAX, .depth_max = 63, .width = 8};

/* The tree after the n tokens of a text, of an index of its own. */
static nct_tree propose_after(const int32_t *token, size_t n, const nct_ask *ask) {
    void *state = open_index(n);
    observe(state, token, 0, n - 1);
    nct_tree t = propose(state, ask, token[n - 1]);
    drafter->close(state);
    return t;
}

static void assert_same(const nct_tree *a, const nct_tree *b) { assert_memory_equal(a, b, sizeof *a); }

static void random_text(uint64_t seed, uint32_t n_kinds, int32_t *token, size_t n) {
    for (size_t i = 0; i < n; i++) {
        double u = nct_rng_uniform(seed, 2, i, 0);
        token[i] = (int32_t)(u * u * n_kinds);              /* some are more frequent than others */
        if (i > 20 && nct_rng_uniform(seed, 2, i, 1) < 0.8) /* much of it is copied from before */
            token[i] = token[i - 7 - seed % 11];
    }
}

static void assert_chain(const nct_tree *t, const int32_t *token, size_t n) {
    assert_int_equal(t->n, n + 1);
    for (size_t i = 1; i <= n; i++) {
        assert_int_equal(t->parent[i], i - 1);
        assert_int_equal(t->token[i], token[i - 1]);
    }
}

/* ------------------------------------------------------------------ what is proposed */

static void test_ngram__nothing_to_copy_gives_nothing(void **state) {
    (void)state;
    const int32_t text[] = {1, 2, 3, 4, 5, 1, 2, 3, 6, 2, 3};
    assert_int_equal(propose_after(text, 1, &wide).n, 1);
    assert_int_equal(propose_after(text, 7, &wide).n, 1); /* two tokens are too few */
    assert_int_equal(propose_after(text, 11, &wide).n, 1);
    void *empty = open_index(4);
    nct_tree t = propose(empty, &wide, 3);
    assert_int_equal(t.n, 1);
    drafter->close(empty);
    drafter->close(NULL);
}

static void test_ngram__copies_what_followed(void **state) {
    (void)state;
    const int32_t text[] = {9, 1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3};
    nct_tree t = propose_after(text, 12, &wide);
    assert_chain(&t, text + 4, 2); /* three tokens are trusted for 1 + 3 / 2 */
    assert_int_equal(t.edge[1], nct_edge_copy(3, 1, 1, 1));
    assert_int_equal(t.edge[2], nct_edge_copy(3, 1, 1, 2));
    nct_ask one = wide;
    one.depth_max = 1;
    t = propose_after(text, 12, &one);
    assert_chain(&t, text + 4, 1);
    one.n_max = 1;
    assert_int_equal(propose_after(text, 12, &one).n, 1);
}

static void test_ngram__longest_match_wins(void **state) {
    (void)state;
    /* the older place matches four tokens, the newer three */
    const int32_t text[] = {7, 1, 2, 3, 50, 51, 52, 8, 1, 2, 3, 60, 61, 62, 7, 1, 2, 3};
    nct_tree t = propose_after(text, 18, &wide);
    assert_chain(&t, text + 4, 3);
}

static void test_ngram__equal_matches_share_and_the_newest_is_first(void **state) {
    (void)state;
    const int32_t text[] = {1, 2, 3, 50, 4, 1, 2, 3, 60, 5, 1, 2, 3, 50, 6, 1, 2, 3};
    nct_tree t = propose_after(text, 18, &wide);
    /* 50 twice, once followed by 6 and once by 4, of which 6 is newer; 60 once */
    assert_int_equal(t.n, 6);
    assert_int_equal(t.token[1], 50);
    assert_int_equal(t.edge[1], nct_edge_copy(3, 2, 3, 1));
    assert_int_equal(t.token[nct_tree_find(&t, 0, 60)], 60);
    assert_true(t.score[nct_tree_find(&t, 0, 60)] < t.score[1]);
    size_t six = nct_tree_find(&t, 1, 6), four = nct_tree_find(&t, 1, 4);
    assert_true(six && four && six < four && t.score[six] == t.score[four]);
    assert_int_equal(t.edge[six], nct_edge_copy(3, 1, 2, 2));

    const int32_t even[] = {1, 2, 3, 50, 1, 2, 3, 60, 1, 2, 3};
    t = propose_after(even, 11, &wide);
    assert_int_equal(t.token[1], 60);
    assert_int_equal(t.token[2], 50);
    assert_true(t.score[1] == t.score[2]);
}

static void test_ngram__finds_a_quotation_where_its_beginning_is_everywhere(void **state) {
    (void)state;
    enum { QUOTE = 40, NOISE = 100 };
    int32_t text[QUOTE + NOISE * 5 + QUOTE];
    size_t n = 0;
    for (int32_t i = 0; i < QUOTE; i++)
        text[n++] = 1000 + i;
    for (int32_t i = 0; i < NOISE; i++) { /* three tokens of it, again and again */
        for (int32_t j = 20; j < 23; j++)
            text[n++] = 1000 + j;
        text[n++] = i;
        text[n++] = i + 1;
    }
    for (int32_t i = 5; i < 23; i++)
        text[n++] = 1000 + i;
    nct_tree t = propose_after(text, n, &wide);
    assert_chain(&t, text + 23, 10); /* 18 tokens match */
}

static void test_ngram__one_token_over_and_over(void **state) {
    (void)state;
    int32_t text[200];
    for (size_t i = 0; i < 200; i++)
        text[i] = 7;
    nct_tree t = propose_after(text, 200, &wide);
    assert_chain(&t, text, 16); /* as far as the occurrences looked at reach */
}

/* Every path of every tree, in texts that repeat themselves much: it stood after a match as long as any. */
static void test_ngram__every_guess_stood_in_the_text(void **state) {
    (void)state;
    enum { N = 300 };
    int32_t text[N];
    size_t n_guesses = 0, n_right = 0, n_branching = 0;
    for (uint64_t seed = 1; seed <= 40; seed++) {
        random_text(seed, seed % 2 ? 4 : 30, text, N);
        void *index = open_index(N);
        for (size_t n = 2; n < N; n++) {
            observe(index, text, n - 2, n - 1);
            nct_tree t = propose(index, &wide, text[n - 1]);
            size_t length = 0, n_places = 0; /* of the last three tokens, and the longest match of all */
            for (size_t end = 2; end + 1 < n; end++) {
                size_t l = 0;
                while (l <= end && l < 64 && text[end - l] == text[n - 1 - l])
                    l++;
                n_places += l >= 3;
                length = l > length ? l : length;
            }
            assert_int_equal(t.n > 1, length >= 3);
            for (size_t i = 1; i < t.n; i++) {
                int32_t path[64];
                size_t node = i, depth = t.depth[i], l = 0;
                for (size_t d = depth; d-- > 0; node = t.parent[node])
                    path[d] = t.token[node];
                assert_true(depth <= 1 + length / 2);
                for (size_t end = 2; end + depth < n; end++) {
                    size_t back = 0;
                    while (back <= end && back < 64 && text[end - back] == text[n - 1 - back])
                        back++;
                    if (memcmp(text + end + 1, path, depth * sizeof *path) == 0 && back > l)
                        l = back;
                }
                assert_true(l >= 3);
                if (n_places <= 16)
                    assert_int_equal(l, length);
                n_guesses++;
                n_right += depth == 1 && path[0] == text[n];
                n_branching += t.parent[i] != i - 1;
            }
        }
        drafter->close(index);
    }
    assert_true(n_guesses > 10000 && n_right > 1000 && n_branching > 100); /* the texts do test something */
}

/* ------------------------------------------------------------------ appending and rewinding */

static void test_ngram__any_portions_give_the_same_index(void **state) {
    (void)state;
    enum { N = 400 };
    int32_t text[N];
    random_text(3, 5, text, N);
    void *by_one = open_index(N), *at_once = open_index(N);
    observe(at_once, text, 0, N - 1);
    for (size_t n = 0; n + 1 < N; n++) {
        observe(by_one, text, n, n); /* none */
        observe(by_one, text, n, n + 1);
    }
    nct_tree a = propose(by_one, &wide, text[N - 1]), b = propose(at_once, &wide, text[N - 1]);
    assert_true(a.n > 1);
    assert_same(&a, &b);
    drafter->close(by_one);
    drafter->close(at_once);
}

static void test_ngram__rewind_leaves_no_trace(void **state) {
    (void)state;
    enum { N = 250 };
    size_t n_compared = 0;
    for (uint64_t seed = 1; seed <= 60; seed++) {
        int32_t text[N], other[N];
        random_text(seed, 6, text, N);
        void *index = open_index(N);
        size_t n_pairs = 0;
        for (uint64_t step = 0; step < 60; step++) {
            size_t to = (size_t)(nct_rng_uniform(seed, 5, step, 0) * N);
            if (to >= n_pairs) {
                observe(index, text, n_pairs, to);
            } else { /* back, and on with another text */
                drafter->rewind(index, to);
                random_text(seed * 1000 + step, 6, other, N);
                size_t kept = to ? to + 1 : 0;
                memcpy(text + kept, other + kept, (N - kept) * sizeof *text);
            }
            n_pairs = to;
            if (n_pairs == 0)
                continue;
            nct_tree a = propose(index, &wide, text[n_pairs]), b = propose_after(text, n_pairs + 1, &wide),
                     again = propose(index, &wide, text[n_pairs]);
            assert_same(&a, &b);
            assert_same(&a, &again);
            n_compared += a.n > 1;
        }
        drafter->close(index);
    }
    assert_true(n_compared > 1000);
}

/* ------------------------------------------------------------------ sizes */

static void test_ngram__a_million_tokens(void **state) {
    (void)state;
    enum { N = 1 << 20, QUOTE_AT = 123456, QUOTE = 50 };
    int32_t *text = malloc((N + 1) * sizeof *text);
    for (size_t i = 0; i <= N; i++)
        text[i] = (int32_t)(nct_rng_uniform(1, 1, i, 0) * 500);
    memcpy(text + N + 1 - QUOTE, text + QUOTE_AT, QUOTE * sizeof *text);
    void *index = open_index(N);
    observe(index, text, 0, N);
    nct_tree t = propose(index, &wide, text[N]);
    assert_chain(&t, text + QUOTE_AT + QUOTE, 1 + QUOTE / 2);
    drafter->rewind(index, N - QUOTE);
    drafter->rewind(index, 1000);
    nct_tree a = propose(index, &wide, text[1000]), b = propose_after(text, 1001, &wide);
    assert_same(&a, &b);
    drafter->close(index);
    free(text);
}

static void test_ngram__keeps_its_limit(void **state) {
    (void)state;
    const int32_t text[12] = {0};
    void *index = open_index(8);
    nct_pairs pairs = {.first = 0, .n = 9, .token = text};
    nct_error err;
    assert_int_equal(drafter->observe(index, NULL, &pairs, &err), NCT_E_CONTEXT);
    assert_non_null(strstr(err.text, "8 positions"));
    observe(index, text, 0, 8); /* nothing of it was taken in */
    pairs = (nct_pairs){.first = 8, .n = 1, .token = text};
    assert_int_equal(drafter->observe(index, NULL, &pairs, &err), NCT_E_CONTEXT);
    drafter->close(index);
    nct_draft_target none = {.limit = 0};
    void *unopened = NULL;
    assert_int_equal(drafter->open(NULL, &none, NULL, &unopened, &err), NCT_E_ARGUMENT);
    assert_null(unopened);
}

static void test_ngram__refused_memory_is_an_error(void **state) {
    (void)state;
    nct_draft_target target = {.limit = 100};
    void *unopened = NULL;
    nct_error err;
    atomic_store(&nct_mem_fail_in, 0);
    assert_int_equal(drafter->open(NULL, &target, NULL, &unopened, &err), NCT_E_MEMORY);
    atomic_store(&nct_mem_fail_in, -1);
    assert_null(unopened);
    target.limit = INT32_MAX; /* 40 GB of address space are had or refused, never a crash */
    if (drafter->open(NULL, &target, NULL, &unopened, &err) == NCT_OK)
        drafter->close(unopened);
}

/* ------------------------------------------------------------------ the list */

static void test_ngram__is_found_by_its_name(void **state) {
    (void)state;
    const nct_drafter *found = NULL;
    NCT_ASSERT_OK(nct_drafter_find("ngram", &found, fault));
    assert_ptr_equal(found, drafter);
    NCT_ASSERT_OK(nct_drafter_find("off", &found, fault));
    assert_null(found);
    nct_error err;
    assert_int_equal(nct_drafter_find("oracle?", &found, &err), NCT_E_ARGUMENT);
    assert_non_null(strstr(err.text, "'oracle?'"));
    size_t n = 0;
    for (const nct_drafter *d; (d = nct_drafter_at(n)); n++) {
        assert_non_null(strstr(err.text, d->name));
        NCT_ASSERT_OK(nct_drafter_find(d->name, &found, fault));
        assert_ptr_equal(found, d);
    }
    assert_true(n >= 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ngram__nothing_to_copy_gives_nothing),
        cmocka_unit_test(test_ngram__copies_what_followed),
        cmocka_unit_test(test_ngram__longest_match_wins),
        cmocka_unit_test(test_ngram__equal_matches_share_and_the_newest_is_first),
        cmocka_unit_test(test_ngram__finds_a_quotation_where_its_beginning_is_everywhere),
        cmocka_unit_test(test_ngram__one_token_over_and_over),
        cmocka_unit_test(test_ngram__every_guess_stood_in_the_text),
        cmocka_unit_test(test_ngram__any_portions_give_the_same_index),
        cmocka_unit_test(test_ngram__rewind_leaves_no_trace),
        cmocka_unit_test(test_ngram__a_million_tokens),
        cmocka_unit_test(test_ngram__keeps_its_limit),
        cmocka_unit_test(test_ngram__refused_memory_is_an_error),
        cmocka_unit_test(test_ngram__is_found_by_its_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
