/* Costs and experience kept about guessing. */
#include <math.h>
#include <stdlib.h>

#include "spec/adapt.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds) {
    if (!holds)
        abort();
}

static void check_tallies(const nct_tally *t, size_t n) {
    for (size_t i = 0; i < n; i++)
        check(t[i].hits >= 0 && t[i].hits <= t[i].trials && t[i].trials <= NCT_ADAPT_MEMORY);
}

/* What was accepted can be worked with, whatever it says. */
static void decide(nct_adapt *a) {
    for (int i = 0; i < 40; i++) {
        nct_ask ask;
        nct_tree tree;
        nct_accepted accepted = {.n = 1, .token = {-1}};
        nct_tree_init(&tree, 0);
        if (nct_adapt_ask(a, &ask)) {
            check(ask.n_max >= 1 && ask.n_max <= NCT_TREE_MAX && ask.width >= 1 &&
                  ask.width <= NCT_BEAM_WIDTH);
            ask.deeper(ask.context, 2 + (size_t)i % 60, -(float)i);
            for (size_t k = 1; k < 64; k++)
                nct_tree_add(&tree, k / 2, (int32_t)k, -0.1f * (float)k, (uint8_t)(k % NCT_EDGES));
            nct_adapt_drafted(a, (size_t)i % 3, 0.01);
            nct_adapt_choose(a, &tree);
            check(tree.n >= 1 && tree.n <= NCT_TREE_MAX);
        }
        nct_adapt_learn(a, &tree, &accepted, 0.1);
    }
    check(isfinite(nct_adapt_rate(a)) && isfinite(nct_adapt_loss(a)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    nct_adapt a;
    nct_error err = {0};
    nct_status status = nct_adapt_load("fuzz", (const char *)data, size, &a, &err);
    if (status != NCT_OK) {
        check(status == NCT_E_FORMAT && err.text[0]);
        return 0;
    }
    for (size_t i = 0; i < NCT_COST_SIZES; i++)
        check(isfinite(a.cost.ratio[i]) && a.cost.ratio[i] >= (i ? a.cost.ratio[i - 1] : 1));
    check_tallies(a.edge, NCT_EDGES);
    check_tallies(a.any, NCT_EDGE_DEPTHS);
    nct_bytes text = {0};
    nct_adapt again;
    check(nct_adapt_save(&a, &text, NULL) == NCT_OK);
    check(nct_adapt_load("again", text.data, text.n, &again, NULL) == NCT_OK);
    decide(&a);
    nct_bytes_reset(&text);
    check(nct_adapt_save(&a, &text, NULL) == NCT_OK);
    check(nct_adapt_load("later", text.data, text.n, &again, NULL) == NCT_OK);
    nct_bytes_reset(&text);
    return 0;
}
