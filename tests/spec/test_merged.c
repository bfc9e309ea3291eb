/* Two drafters as one: what is asked of which, what becomes of their trees, and whose account is kept. */
#include <math.h>

#include "spec/adapt.h"
#include "spec/merged.h"
#include "support/support.h"

/* A network that always guesses the same two tokens, and can fail. */
struct network {
    size_t n_pairs, n_asked, n_begun;
    bool fails;
};

static nct_status net_open(const void *weights, const nct_draft_target *target, const nct_draft_options *options,
                           void **state, nct_error *err) {
    (void)target, (void)options, (void)err;
    *state = (void *)(uintptr_t)weights;
    return NCT_OK;
}

static nct_status net_begin(void *state, const nct_exec *exec, const int32_t *token, size_t n, nct_error *err) {
    (void)exec, (void)token, (void)n, (void)err;
    ((struct network *)state)->n_begun++;
    return NCT_OK;
}

static nct_status net_observe(void *state, const nct_exec *exec, const nct_pairs *pairs, nct_error *err) {
    struct network *k = state;
    (void)exec;
    if (k->fails)
        return nct_fail(err, NCT_E_MEMORY, "no room");
    assert_int_equal(pairs->first, k->n_pairs);
    k->n_pairs += pairs->n;
    return NCT_OK;
}

static nct_status net_propose(void *state, const nct_exec *exec, const nct_ask *ask, nct_tree *tree,
                              size_t *n_passes, nct_error *err) {
    (void)exec, (void)ask, (void)err;
    ((struct network *)state)->n_asked++;
    *n_passes = 1;
    nct_tree_add(tree, 0, 50, logf(0.5f), nct_edge_model(logf(0.5f), 1));
    nct_tree_add(tree, 0, 4, logf(0.4f), nct_edge_model(logf(0.4f), 1));
    return NCT_OK;
}

static void net_rewind(void *state, size_t n_pairs) { ((struct network *)state)->n_pairs = n_pairs; }
static void net_close(void *state) { (void)state; }
static uint64_t net_bytes(const void *state) {
    (void)state;
    return 1000;
}

static const nct_drafter net = {.name = "net",
                                .row = NCT_ROW_HIDDEN,
                                .open = net_open,
                                .state_bytes = net_bytes,
                                .begin = net_begin,
                                .observe = net_observe,
                                .propose = net_propose,
                                .rewind = net_rewind,
                                .close = net_close};

struct bench {
    struct network network;
    const nct_drafter *drafter;
    void *state;
    nct_exec exec;
};

static void bench_open(struct bench *b) {
    nct_draft_target target = {.limit = 100, .n_threads = 1};
    *b = (struct bench){0};
    NCT_ASSERT_OK(nct_merged_open(&net, &b->network, &target, NULL, &b->drafter, &b->state, fault));
    assert_string_equal(b->drafter->name, "net");
    assert_int_equal(b->drafter->row, NCT_ROW_HIDDEN);
    assert_true(b->drafter->state_bytes(b->state) > 1000);
}

/* "1 2 3 4 5 6 1 2 3": 4 is copied, and guessed by the network too. */
static const int32_t text[] = {1, 2, 3, 4, 5, 6, 1, 2, 3};

static void observe(struct bench *b) {
    float row[8] = {0};
    nct_pairs pairs = {.n = 8, .token = text, .row = row, .stride = 1};
    NCT_ASSERT_OK(b->drafter->observe(b->state, &b->exec, &pairs, fault));
}

static void propose(struct bench *b, const nct_ask *ask, nct_tree *tree, size_t *n_passes) {
    nct_tree_init(tree, 3);
    NCT_ASSERT_OK(b->drafter->propose(b->state, &b->exec, ask, tree, n_passes, fault));
}

static void test_merged__both_guess_one_tree(void **state) {
    (void)state;
    struct bench b;
    nct_tree tree;
    size_t n_passes;
    bench_open(&b);
    NCT_ASSERT_OK(b.drafter->begin(b.state, &b.exec, text, 9, fault));
    assert_int_equal(b.network.n_begun, 1);
    observe(&b);
    propose(&b, &(nct_ask){.n_max = 20, .depth_max = 8, .width = 4}, &tree, &n_passes);
    assert_int_equal(n_passes, 1);
    size_t four = nct_tree_find(&tree, 0, 4), fifty = nct_tree_find(&tree, 0, 50);
    assert_true(four && fifty);
    assert_true(nct_tree_find(&tree, four, 5)); /* copies go on below what both have */
    assert_true(tree.also[four] && !tree.also[fifty]);
    assert_true(nct_edge_is_model(tree.edge[four]) != nct_edge_is_model((uint8_t)(tree.also[four] - 1)));
    b.drafter->close(b.state);
}

static bool never(void *context, const nct_tree *copied) {
    assert_true(copied->n > 1);
    ++*(size_t *)context;
    return false;
}

static void test_merged__the_network_rests_where_copies_suffice(void **state) {
    (void)state;
    struct bench b;
    nct_tree tree;
    size_t n_passes, n_called = 0;
    bench_open(&b);
    observe(&b);
    propose(&b, &(nct_ask){.n_max = 20, .depth_max = 8, .width = 4, .worth = never, .context = &n_called}, &tree,
            &n_passes);
    assert_int_equal(n_called, 1);
    assert_int_equal(n_passes, 0);
    assert_int_equal(b.network.n_asked, 0);
    assert_true(nct_tree_find(&tree, 0, 4) && !nct_tree_find(&tree, 0, 50));
    b.drafter->close(b.state);
}

/* Neither took in what one of them could not. */
static void test_merged__a_failure_leaves_both_as_they_were(void **state) {
    (void)state;
    struct bench b;
    nct_error err;
    float row[8] = {0};
    nct_pairs pairs = {.n = 8, .token = text, .row = row, .stride = 1};
    bench_open(&b);
    b.network.fails = true;
    assert_int_equal(b.drafter->observe(b.state, &b.exec, &pairs, &err), NCT_E_MEMORY);
    b.network.fails = false;
    observe(&b);
    assert_int_equal(b.network.n_pairs, 8);
    b.drafter->rewind(b.state, 2);
    assert_int_equal(b.network.n_pairs, 2);
    nct_tree tree;
    size_t n_passes;
    propose(&b, &(nct_ask){.n_max = 20, .depth_max = 8, .width = 4}, &tree, &n_passes);
    assert_int_equal(tree.n, 3); /* nothing to copy any more */
    b.drafter->close(b.state);
}

/* Both drafters' counts learn of a node that both had; a network that adds nothing to copies is asked ever less, and
 * again when copies fail. */
static void test_merged__accounts_are_kept_apart(void **state) {
    (void)state;
    nct_adapt a;
    nct_ask ask;
    nct_tree tree, copied;
    uint8_t copy = nct_edge_copy(20, 1, 1, 1), guess = nct_edge_model(logf(0.7f), 1);
    size_t n_worth = 0;
    nct_adapt_init(&a);
    for (size_t round = 0; round < 400; round++) {
        bool asked = nct_adapt_ask(&a, &ask);
        nct_tree_init(&tree, 1);
        nct_tree_init(&copied, 1);
        if (asked) {
            nct_tree_add(&copied, 0, 2, logf(0.8f), copy);
            ask.believe(ask.context, &copied);
            bool runs = ask.worth(ask.context, &copied);
            n_worth += runs && round >= 200;
            if (runs) {
                nct_tree_add(&tree, 0, 2, logf(0.7f), guess);
                ask.believe(ask.context, &tree);
            }
            nct_tree_merge(&tree, &copied, ask.n_max);
            nct_adapt_drafted(&a, runs, runs ? 0.1 : 0);
            nct_adapt_choose(&a, &tree);
        }
        nct_accepted accepted = {.n = tree.n > 1 ? 2 : 1, .node = {0, 1}, .token = {2, 3}};
        nct_adapt_learn(&a, &tree, &accepted, 1);
    }
    assert_true(a.edge[copy].trials > 50 && a.edge[copy].hits > 0.9 * a.edge[copy].trials);
    assert_true(a.edge[guess].trials > 0.5 && a.edge[guess].hits > 0.9 * a.edge[guess].trials);
    assert_true(a.network_tokens < 0.5); /* copies had them all */
    assert_true(n_worth <= 5);
    nct_tree_init(&copied, 1); /* nothing to copy: the network is all there is */
    a.asked = true;
    assert_true(nct_adapt_ask(&a, &ask));
    assert_true(ask.worth(ask.context, &copied));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_merged__both_guess_one_tree),
        cmocka_unit_test(test_merged__the_network_rests_where_copies_suffice),
        cmocka_unit_test(test_merged__a_failure_leaves_both_as_they_were),
        cmocka_unit_test(test_merged__accounts_are_kept_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
