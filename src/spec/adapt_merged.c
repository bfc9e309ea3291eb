/* When the network of a merged drafter is worth a run. Copies cost nothing, so it has to pay for itself by what it adds:
 * tokens that were accepted and that copies had not guessed. The likelier the copies are to hold by themselves, the less
 * is left to gain. */
#include <math.h>

#include "spec/adapt.h"

static const double DECAY = 0.99, /* of what the network brought, each round */
    PRIOR_ROUNDS = 4,             /* that one token each is believed in for */
    USUAL_PASS = 0.07;            /* a pass in plain steps, until measured */

enum {
    TRIED_AFTER = 64, /* rounds without the network */
    READ_MAX = 64,    /* tokens that a draft model reads in a round: one pass */
};

static void believe(void *context, nct_tree *tree) { nct_adapt_believe(context, tree); }

/* How likely none of the root's children holds. */
static double chance_of_none(const nct_tree *tree) {
    double some = 0;
    for (size_t i = 1; i < tree->n; i++)
        some += tree->parent[i] == 0 ? exp((double)tree->score[i]) : 0;
    return some < 1 ? 1 - some : 0;
}

static bool worth(void *context, const nct_tree *copied) {
    nct_adapt *a = context;
    double each = (a->network_tokens + PRIOR_ROUNDS) / (a->network_rounds + PRIOR_ROUNDS),
           pass = a->pass.each > 0 ? a->pass.each : USUAL_PASS, open = chance_of_none(copied);
    size_t passes = a->passes_last ? a->passes_last : 1;
    bool runs = open * each > nct_adapt_rate(a) * (a->pass.begin + pass * (double)passes) ||
                a->n_without >= TRIED_AFTER;
    a->network_share = open;
    a->n_without = runs ? 0 : a->n_without + 1;
    return runs;
}

void nct_adapt_ask_merged(nct_adapt *a, nct_ask *ask) {
    a->network_share = 1;
    ask->believe = believe;
    ask->worth = worth;
    ask->read_max = READ_MAX;
}

void nct_adapt_learn_merged(nct_adapt *a, const nct_tree *tree, const nct_accepted *accepted) {
    size_t n = 0;
    if (!a->asked || a->n_passes == 0)
        return;
    for (size_t k = 1; k < accepted->n; k++) {
        size_t i = accepted->node[k];
        n += nct_edge_is_model(tree->edge[i]) && tree->also[i] == 0;
    }
    a->network_tokens = a->network_tokens * DECAY + (double)n;
    a->network_rounds = a->network_rounds * DECAY + a->network_share;
}

void nct_adapt_lost(nct_adapt *a, double seconds) { a->other_s += seconds; }
