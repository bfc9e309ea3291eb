#include "spec/merged.h"

struct merged {
    nct_drafter face; /* what others see of it */
    const nct_drafter *network;
    void *guesses, *copies; /* states of the network, and of prompt lookup */
};

static void use_rope(void *state, const nct_rope *rope) {
    struct merged *m = state;
    if (m->network->use_rope)
        m->network->use_rope(m->guesses, rope);
}

static uint64_t state_bytes(const void *state) {
    const struct merged *m = state;
    return m->network->state_bytes(m->guesses) + nct_drafter_ngram.state_bytes(m->copies);
}

static nct_status begin(void *state, const nct_exec *exec, const int32_t *token, size_t n, nct_error *err) {
    struct merged *m = state;
    return m->network->begin ? m->network->begin(m->guesses, exec, token, n, err) : NCT_OK;
}

static nct_status observe(void *state, const nct_exec *exec, const nct_pairs *pairs, nct_error *err) {
    struct merged *m = state;
    NCT_TRY(nct_drafter_ngram.observe(m->copies, exec, pairs, err));
    nct_status status = m->network->observe(m->guesses, exec, pairs, err);
    if (status != NCT_OK)
        nct_drafter_ngram.rewind(m->copies, pairs->first);
    return status;
}

static void rewind_both(void *state, size_t n_pairs) {
    struct merged *m = state;
    nct_drafter_ngram.rewind(m->copies, n_pairs);
    m->network->rewind(m->guesses, n_pairs);
}

static void close_both(void *state) {
    struct merged *m = state;
    if (!m)
        return;
    if (m->guesses)
        m->network->close(m->guesses);
    if (m->copies)
        nct_drafter_ngram.close(m->copies);
    nct_free(m);
}

static void believe(const nct_ask *ask, nct_tree *tree) {
    if (ask->believe)
        ask->believe(ask->context, tree);
}

static nct_status propose(void *state, const nct_exec *exec, const nct_ask *ask, nct_tree *tree,
                          size_t *n_passes, nct_error *err) {
    const struct merged *m = state;
    nct_tree copied = *tree;
    NCT_TRY(nct_drafter_ngram.propose(m->copies, exec, ask, &copied, n_passes, err));
    believe(ask, &copied);
    if (ask->worth && !ask->worth(ask->context, &copied)) {
        *tree = copied;
        return NCT_OK;
    }
    NCT_TRY(m->network->propose(m->guesses, exec, ask, tree, n_passes, err));
    believe(ask, tree);
    nct_tree_merge(tree, &copied, ask->n_max);
    return NCT_OK;
}

nct_status nct_merged_open(const nct_drafter *network, const void *weights, const nct_draft_target *target,
                           const nct_draft_options *options, const nct_drafter **drafter, void **state,
                           nct_error *err) {
    void *p = NULL;
    NCT_TRY(nct_alloc(&p, 1, sizeof(struct merged), err));
    struct merged *m = p;
    m->network = network;
    m->face = (nct_drafter){.name = network->name,
                            .brief = network->brief,
                            .row = network->row,
                            .reads = network->reads,
                            .use_rope = use_rope,
                            .state_bytes = state_bytes,
                            .begin = begin,
                            .observe = observe,
                            .propose = propose,
                            .rewind = rewind_both,
                            .close = close_both};
    nct_status status = network->open(weights, target, options, &m->guesses, err);
    if (status == NCT_OK)
        status = nct_drafter_ngram.open(NULL, target, options, &m->copies, err);
    if (status != NCT_OK) {
        close_both(m);
        return status;
    }
    *drafter = &m->face;
    *state = m;
    return NCT_OK;
}
