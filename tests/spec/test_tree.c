/* Trees of guesses. The toy draft is a generator of numbers, so that its trees can be stated to the last digit; shapes
 * at random are compared with what the definitions say, node by node. */
#include "spec/tree.h"

#include <math.h>

#include "base/rng.h"
#include "spec/edge.h"
#include "support/support.h"

/* ------------------------------------------------------------------ a toy draft */

enum { VOCAB = 16, MODULUS_BITS = 31 };

static void log_softmax(uint64_t state, double factor, double *out) {
    uint64_t x = state;
    double largest = -INFINITY, sum = 0;
    for (int i = 0; i < VOCAB; i++) {
        x = (1103515245 * x + 12345) & ((1u << MODULUS_BITS) - 1);
        out[i] = factor * ((double)x / (1 << 30) - 1);
        largest = fmax(largest, out[i]);
    }
    for (int i = 0; i < VOCAB; i++)
        sum += exp(out[i] - largest);
    for (int i = 0; i < VOCAB; i++)
        out[i] -= largest + log(sum);
}

/* The k best of a node's row, best first. */
static void top(uint64_t state, double factor, size_t k, int32_t *token, float *log_q) {
    double row[VOCAB];
    log_softmax(state, factor, row);
    for (size_t i = 0; i < k; i++) {
        int best = 0;
        for (int j = 1; j < VOCAB; j++)
            if (row[j] > row[best])
                best = j;
        token[i] = best;
        log_q[i] = (float)row[best];
        row[best] = -INFINITY;
    }
}

static uint64_t child_state(uint64_t state, int32_t token) {
    return (31 * state + 7 * (uint64_t)token + 1) & ((1u << MODULUS_BITS) - 1);
}

/* Grows `levels` levels; note_beam is told of each new beam. */
static void grow(nct_beam *b, size_t k, size_t levels, double factor, uint64_t root_state,
                 void (*note_beam)(const nct_beam *beam)) {
    int32_t token[NCT_BEAM_WIDTH * NCT_BEAM_WIDTH];
    float log_q[NCT_BEAM_WIDTH * NCT_BEAM_WIDTH];
    uint64_t state[NCT_BEAM_WIDTH], before[NCT_BEAM_WIDTH] = {root_state};
    top(root_state, factor, k, token, log_q);
    nct_beam_begin(b, k, token, log_q);
    while (b->level < levels && nct_beam_more(b)) {
        for (size_t r = 0; r < k; r++) {
            state[r] = child_state(before[b->source[r]], nct_beam_token(b, r));
            top(state[r], factor, k, token + r * k, log_q + r * k);
        }
        memcpy(before, state, sizeof state);
        nct_beam_expand(b, token, log_q);
        if (note_beam)
            note_beam(b);
    }
}

struct expected {
    int32_t token;
    uint8_t depth, parent;
    uint64_t mask;
    double score;
};

static void check_tree(const nct_tree *t, const struct expected *e, size_t n) {
    assert_int_equal(t->n, n + 1);
    assert_int_equal(t->mask[0], 1);
    for (size_t i = 1; i <= n; i++) {
        assert_int_equal(t->token[i], e[i - 1].token);
        assert_int_equal(t->depth[i], e[i - 1].depth);
        assert_int_equal(t->parent[i], e[i - 1].parent);
        assert_int_equal(t->mask[i], e[i - 1].mask);
        if (!(fabs((double)t->score[i] - e[i - 1].score) <= 1e-6))
            fail_msg("node %zu has score %.7f, expected %.6f", i, (double)t->score[i], e[i - 1].score);
    }
}

static void check_beams(const nct_beam *b) {
    static const uint16_t slot[][3] = {{3, 4, 5}, {12, 13, 18}};
    for (size_t r = 0; r < 3; r++)
        assert_int_equal(b->slot[r], slot[b->level - 2][r]);
}

static void test_tree__toy_draft_grows_the_stated_tree(void **state) {
    (void)state;
    double row[VOCAB];
    log_softmax(2373, 6, row);
    assert_true(fabs(row[6] + 0.046727) < 1e-6 && fabs(row[8] + 4.142337) < 1e-6 &&
                fabs(row[10] + 4.538742) < 1e-6);
    static const struct expected e[] = {
        {6, 1, 0, 0x3, -0.046727},   {15, 2, 1, 0x7, -0.548075},  {15, 3, 2, 0xf, -1.182558},
        {0, 3, 2, 0x17, -1.477176},  {14, 2, 1, 0x23, -2.350053}, {8, 2, 1, 0x43, -2.701516},
        {14, 3, 6, 0xc3, -3.257553},
    };
    nct_beam b;
    nct_tree t;
    grow(&b, 3, 3, 6, 2373, check_beams);
    nct_beam_tree(&b, 77, 8, &t);
    assert_int_equal(t.token[0], 77);
    check_tree(&t, e, 7);
}

static void test_tree__toy_draft_scaled_grows_another(void **state) {
    (void)state;
    static const struct expected e[] = {
        {6, 1, 0, 0x3, -2.367610},   {8, 1, 0, 0x5, -2.623586},   {10, 1, 0, 0x9, -2.648361},
        {15, 2, 1, 0x13, -4.843849}, {14, 2, 1, 0x23, -4.956472}, {8, 2, 1, 0x43, -4.978439},
        {12, 2, 2, 0x85, -5.119591},
    };
    nct_beam b;
    nct_tree t;
    grow(&b, 3, 3, 6.0 / 16, 2373, NULL);
    nct_beam_tree(&b, 0, 8, &t);
    check_tree(&t, e, 7);
}

/* ------------------------------------------------------------------ what holds for every tree */

static void check_sound(const nct_tree *t) {
    assert_in_range(t->n, 1, NCT_TREE_MAX);
    assert_int_equal(t->mask[0], 1);
    assert_int_equal(t->depth[0], 0);
    assert_true(t->score[0] == 0);
    for (size_t i = 1; i < t->n; i++) {
        size_t up = t->parent[i];
        assert_true(up < i);
        assert_int_equal(t->depth[i], t->depth[up] + 1);
        assert_int_equal(t->mask[i], t->mask[up] | (uint64_t)1 << i);
        assert_true(t->score[i] <= t->score[up]);
        assert_true(isfinite(t->score[i]));
        assert_true(t->edge[i] < NCT_EDGES);
        for (size_t j = 1; j < i; j++)
            assert_false(t->parent[j] == up && t->token[j] == t->token[i]);
    }
}

static void check_ordered(const nct_tree *t) {
    check_sound(t);
    for (size_t i = 1; i < t->n; i++)
        assert_true(t->score[i] <= t->score[i - 1]);
}

static void assert_same(const nct_tree *a, const nct_tree *b) {
    assert_int_equal(a->n, b->n);
    assert_memory_equal(a->token, b->token, a->n * sizeof *a->token);
    assert_memory_equal(a->parent, b->parent, a->n);
    assert_memory_equal(a->depth, b->depth, a->n);
    assert_memory_equal(a->edge, b->edge, a->n);
    assert_memory_equal(a->score, b->score, a->n * sizeof *a->score);
    assert_memory_equal(a->mask, b->mask, a->n * sizeof *a->mask);
}

static uint32_t drawn(uint64_t seed, uint64_t i, uint32_t what, uint32_t below) {
    return (uint32_t)(nct_rng_uniform(seed, 1, i, what) * below);
}

/* Scores in coarse steps, so that ties are many; few tokens, so that siblings meet. */
static void random_tree(uint64_t seed, size_t n, nct_tree *t) {
    nct_tree_init(t, 5);
    for (size_t i = 0; i < n; i++) {
        size_t parent = drawn(seed, i, 0, (uint32_t)t->n);
        float score = t->score[parent] - 0.25f * (float)drawn(seed, i, 1, 4);
        nct_tree_add(t, parent, (int32_t)drawn(seed, i, 2, 6), score, (uint8_t)drawn(seed, i, 3, NCT_EDGES));
    }
}

/* Whether the two nodes carry the same tokens from the root on. */
static bool same_path(const nct_tree *a, size_t i, const nct_tree *b, size_t j) {
    for (; i > 0 && j > 0; i = a->parent[i], j = b->parent[j])
        if (a->token[i] != b->token[j])
            return false;
    return i == 0 && j == 0;
}

static size_t find_path(const nct_tree *in, const nct_tree *of, size_t node) {
    for (size_t i = 0; i < in->n; i++)
        if (same_path(in, i, of, node))
            return i;
    return SIZE_MAX;
}

static void test_tree__grown_trees_are_prefixes_of_each_other(void **state) {
    (void)state;
    static const struct {
        size_t k, levels;
    } shapes[] = {{1, 7}, {1, 65}, {2, 5}, {3, 3}, {10, 2}, {10, 6}, {16, 5}};
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
        for (uint64_t seed = 1; seed < 40; seed++) {
            nct_beam b;
            nct_tree all, t;
            grow(&b, shapes[s].k, shapes[s].levels, seed % 2 ? 6 : 0, seed * 977, NULL);
            assert_int_equal(b.level, shapes[s].levels);
            assert_int_equal(b.n, shapes[s].k + shapes[s].k * shapes[s].k * (shapes[s].levels - 1));
            nct_beam_tree(&b, 1, NCT_TREE_MAX, &all);
            check_ordered(&all);
            for (size_t n = 1; n <= all.n; n++) {
                nct_beam_tree(&b, 1, n, &t);
                assert_int_equal(t.n, n);
                nct_tree cut = all;
                nct_tree_cut(&cut, n);
                assert_same(&t, &cut);
            }
        }
}

/* What a slot of the beam sees among the temporary rows is its path, by tokens. */
static void test_tree__beam_masks_hold_the_path(void **state) {
    (void)state;
    enum { K = 4, LEVELS = 9 };
    nct_beam b;
    for (uint64_t seed = 1; seed < 30; seed++) {
        uint16_t row[K * LEVELS]; /* the candidate that has each temporary row */
        int32_t token[K * K];
        float log_q[K * K];
        for (int i = 0; i < K; i++) {
            token[i] = i;
            log_q[i] = -(float)nct_rng_uniform(seed, 0, 0, (uint32_t)i);
        }
        nct_beam_begin(&b, K, token, log_q);
        for (size_t level = 1; level < LEVELS; level++) {
            for (size_t r = 0; r < K; r++) {
                row[(level - 1) * K + r] = b.slot[r];
                size_t candidate = b.slot[r], depth = level;
                for (size_t bit = 64; bit-- > 0;) /* later rows are deeper */
                    if (b.mask[r] >> bit & 1) {
                        assert_int_equal(bit / K, depth - 1);
                        assert_int_equal(row[bit], candidate);
                        assert_int_equal(b.depth[candidate], depth);
                        candidate = b.parent[candidate];
                        depth--;
                    }
                assert_int_equal(depth, 0);
                assert_int_equal(candidate, NCT_BEAM_ROOT);
                if (level > 1) /* its row was fed with the output of its parent's */
                    assert_int_equal(row[(level - 2) * K + b.source[r]], b.parent[b.slot[r]]);
            }
            for (int i = 0; i < K * K; i++) {
                token[i] = i % K;
                log_q[i] = -(float)nct_rng_uniform(seed, 0, level, (uint32_t)i);
            }
            nct_beam_expand(&b, token, log_q);
        }
    }
}

static void test_tree__a_beam_ends_with_the_mask(void **state) {
    (void)state;
    nct_beam b;
    grow(&b, 16, 100, 6, 9, NULL);
    assert_int_equal(b.level, 5); /* 4 levels of 16 rows fill 64 */
    assert_int_equal(b.n, NCT_BEAM_CANDIDATES);
    grow(&b, 10, 100, 6, 9, NULL);
    assert_int_equal(b.level, 7);
}

static void test_tree__hopeless_probabilities_do_no_harm(void **state) {
    (void)state;
    const int32_t token[9] = {1, 2, 3, 1, 2, 3, 1, 2, 3};
    const float first[3] = {1e-7f, NAN, -INFINITY},
                second[9] = {0.5f, NAN, -INFINITY, INFINITY, -3e38f, -1, NAN, NAN, NAN};
    nct_beam b;
    nct_tree t;
    nct_beam_begin(&b, 3, token, first);
    nct_beam_expand(&b, token, second);
    nct_beam_expand(&b, token, second);
    nct_beam_tree(&b, 4, NCT_TREE_MAX, &t);
    check_ordered(&t);
    assert_int_equal(t.n, 1 + 3 + 9 + 9);
    assert_true(t.score[1] == 0 && t.score[2] == 0); /* a probability above one is one */
    assert_int_equal(t.depth[3], 3);
}

/* ------------------------------------------------------------------ adding, cutting, merging */

static void test_tree__siblings_with_one_token_are_one(void **state) {
    (void)state;
    nct_tree t;
    nct_tree_init(&t, 9);
    size_t a = nct_tree_add(&t, 0, 4, -1, 1), below = nct_tree_add(&t, a, 5, -2, 2);
    assert_int_equal(nct_tree_add(&t, 0, 4, -3, 7), a); /* worse: nothing changes */
    assert_true(t.score[a] == -1 && t.edge[a] == 1);
    assert_int_equal(nct_tree_add(&t, 0, 4, -0.5f, 7), a);
    assert_true(t.score[a] == -0.5f && t.edge[a] == 7);
    assert_int_equal(t.n, 3);
    assert_int_equal(nct_tree_find(&t, a, 5), below);
    assert_int_equal(nct_tree_find(&t, 0, 5), 0);
    assert_int_equal(nct_tree_find(&t, 0, 9), 0); /* the root is nobody's child */
    assert_true(t.score[nct_tree_add(&t, below, 1, -0.1f, 0)] == -2);
    assert_true(t.score[nct_tree_add(&t, 0, 6, 2, 0)] == 0);
    assert_true(t.score[nct_tree_add(&t, 0, 7, NAN, 0)] < -1000);
    check_sound(&t);
}

static void test_tree__a_full_tree_takes_no_more(void **state) {
    (void)state;
    nct_tree t;
    nct_tree_init(&t, 0);
    for (int32_t i = 1; i < NCT_TREE_MAX; i++)
        assert_int_equal(nct_tree_add(&t, (size_t)i - 1, i, 0, 0), i);
    assert_int_equal(t.mask[63], UINT64_MAX);
    assert_int_equal(nct_tree_add(&t, 0, 99, 0, 0), 0);
    assert_int_equal(nct_tree_add(&t, 0, 1, 0, 0), 1); /* but still finds */
    assert_int_equal(t.n, NCT_TREE_MAX);
    check_sound(&t);
}

static void test_tree__cut_keeps_the_best_and_stays_closed(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed < 300; seed++) {
        nct_tree t;
        random_tree(seed, 1 + seed % 80, &t);
        check_sound(&t);
        for (size_t n = 1; n <= t.n; n++) {
            nct_tree cut = t, twice = t;
            nct_tree_cut(&cut, n);
            check_ordered(&cut);
            assert_int_equal(cut.n, n);
            for (size_t i = 0; i < t.n; i++) { /* nothing that was left out is better than what was kept */
                size_t kept = find_path(&cut, &t, i);
                if (kept == SIZE_MAX)
                    assert_true(t.score[i] <= cut.score[n - 1]);
                else
                    assert_true(t.score[i] == cut.score[kept] && t.edge[i] == cut.edge[kept]);
            }
            nct_tree_sort(&twice);
            nct_tree_cut(&twice, n);
            assert_same(&cut, &twice);
        }
    }
}

static void test_tree__children_are_lowered_to_their_parents(void **state) {
    (void)state;
    nct_tree t;
    nct_tree_init(&t, 0);
    size_t a = nct_tree_add(&t, 0, 1, -1, 0), b = nct_tree_add(&t, a, 2, -2, 0);
    nct_tree_add(&t, b, 3, -3, 0);
    nct_tree_add(&t, 0, 4, -4, 0);
    t.score[a] = -5; /* as new beliefs may have it */
    t.score[b] = NAN;
    nct_tree_sort(&t);
    check_ordered(&t);
    assert_int_equal(t.token[1], 4);
    assert_int_equal(t.token[2], 1);
    nct_tree_cut(&t, 2);
    assert_int_equal(t.n, 2);
    assert_int_equal(t.token[1], 4);
}

/* Of two trees, every path is in both or in one, and gets the better step at each edge. */
static void test_tree__merge_takes_the_better_step(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed < 300; seed++) {
        nct_tree a, b, m;
        random_tree(2 * seed, seed % 40, &a);
        random_tree(2 * seed + 1, seed % 23, &b);
        m = a;
        nct_tree_merge(&m, &b, NCT_TREE_MAX);
        check_ordered(&m);
        for (size_t i = 1; i < m.n; i++) {
            size_t in_a = find_path(&a, &m, i), in_b = find_path(&b, &m, i);
            assert_true(in_a != SIZE_MAX || in_b != SIZE_MAX);
            float step_a = in_a != SIZE_MAX ? a.score[in_a] - a.score[a.parent[in_a]] : -INFINITY;
            float step_b = in_b != SIZE_MAX ? b.score[in_b] - b.score[b.parent[in_b]] : -INFINITY;
            float step = step_a >= step_b ? step_a : step_b;
            assert_true(m.score[i] == m.score[m.parent[i]] + step);
            assert_int_equal(m.edge[i], step_a >= step_b ? a.edge[in_a] : b.edge[in_b]);
            bool both = in_a != SIZE_MAX && in_b != SIZE_MAX;
            assert_int_equal(m.also[i], !both ? 0 : 1 + (step_a >= step_b ? b.edge[in_b] : a.edge[in_a]));
        }
        size_t n_all = a.n;
        for (size_t i = 0; i < b.n; i++)
            n_all += find_path(&a, &b, i) == SIZE_MAX;
        assert_int_equal(m.n, n_all < NCT_TREE_MAX ? n_all : NCT_TREE_MAX);
        for (size_t n = 1; n <= m.n; n++) {
            nct_tree cut = m, fewer = a;
            nct_tree_cut(&cut, n);
            nct_tree_merge(&fewer, &b, n);
            assert_same(&cut, &fewer);
        }
    }
}

static void test_tree__merging_full_trees_keeps_the_best(void **state) {
    (void)state;
    nct_tree a, b, m;
    for (uint64_t seed = 1; seed < 60; seed++) {
        random_tree(seed, 400, &a);
        random_tree(seed + 1000, 400, &b);
        assert_int_equal(a.n, NCT_TREE_MAX);
        m = a;
        nct_tree_merge(&m, &b, NCT_TREE_MAX);
        check_ordered(&m);
        assert_int_equal(m.n, NCT_TREE_MAX);
        for (size_t i = 0; i < a.n; i++)
            if (find_path(&m, &a, i) == SIZE_MAX)
                assert_true(a.score[i] <= m.score[m.n - 1]);
    }
    m = a;
    nct_tree_merge(&m, &a, NCT_TREE_MAX);
    nct_tree_sort(&a);
    assert_same(&m, &a);
}

/* ------------------------------------------------------------------ kinds of guesses */

static void test_tree__kinds_are_distinct(void **state) {
    (void)state;
    bool seen[NCT_EDGES] = {false};
    static const size_t length[] = {3, 4, 5, 7, 10, 16};
    for (size_t depth = 1; depth <= 3; depth++) {
        static const double q[NCT_EDGE_STEPS] = {1, 0.85, 0.7, 0.6, 0.4, 0.3, 0.2, 0.1, 0.05, 1e-9};
        for (int step = 0; step < NCT_EDGE_STEPS; step++) {
            uint8_t e = nct_edge_model((float)log(q[step]), depth);
            assert_false(seen[e]);
            seen[e] = true;
        }
        for (size_t i = 0; i < 6; i++)
            for (size_t n = 1; n <= 3; n++) {
                uint8_t e = nct_edge_copy(length[i], n == 3 ? 4 : n, 4, depth);
                assert_false(seen[e]);
                seen[e] = true;
            }
    }
    size_t n = 0;
    for (size_t i = 0; i < NCT_EDGES; i++) {
        n += seen[i];
        assert_true(nct_edge_prior((uint8_t)i) > 0 && nct_edge_prior((uint8_t)i) < 1);
    }
    assert_int_equal(n, NCT_EDGES);
    assert_int_equal(nct_edge_model(-100, 9), nct_edge_model(-6, 3));
    assert_int_equal(nct_edge_model(0, 4), nct_edge_model(-0.1f, 3));
    assert_int_equal(nct_edge_copy(6, 5, 5, 1), nct_edge_copy(5, 1, 1, 1));
    assert_int_equal(nct_edge_copy(1000, 5, 5, 7), nct_edge_copy(16, 1, 1, 3));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tree__toy_draft_grows_the_stated_tree),
        cmocka_unit_test(test_tree__toy_draft_scaled_grows_another),
        cmocka_unit_test(test_tree__grown_trees_are_prefixes_of_each_other),
        cmocka_unit_test(test_tree__beam_masks_hold_the_path),
        cmocka_unit_test(test_tree__a_beam_ends_with_the_mask),
        cmocka_unit_test(test_tree__hopeless_probabilities_do_no_harm),
        cmocka_unit_test(test_tree__siblings_with_one_token_are_one),
        cmocka_unit_test(test_tree__a_full_tree_takes_no_more),
        cmocka_unit_test(test_tree__cut_keeps_the_best_and_stays_closed),
        cmocka_unit_test(test_tree__children_are_lowered_to_their_parents),
        cmocka_unit_test(test_tree__merge_takes_the_better_step),
        cmocka_unit_test(test_tree__merging_full_trees_keeps_the_best),
        cmocka_unit_test(test_tree__kinds_are_distinct),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
