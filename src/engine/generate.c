/* The guess-and-check loop: plain decoding is a round with an empty guess. */
#include <assert.h>
#include <string.h>

#include "base/clock.h"
#include "engine/session.h"

enum {
    LOGIT_ROWS = 16, /* rows of logits computed together: as many as the session has room for */
};

/* ------------------------------------------------------------------ one round */

struct verifying {
    nct_session *s;
    const nct_tree *tree;
    const nct_generate_options *o;
    size_t first;       /* position of the root */
    size_t row, n_rows; /* of the tree, whose logits are at hand */
    bool began;         /* there is room for the root */
    uint64_t taking_ns; /* that the caller spent on tokens */
};

/* Logits of a node. Walks go down, so rows before are hardly ever asked for again. */
static const float *logits_of(struct verifying *k, size_t node) {
    const nct_engine *engine = k->s->engine;
    if (node < k->row || node >= k->row + k->n_rows) {
        size_t left = k->tree->n - node;
        k->row = node;
        k->n_rows = left < LOGIT_ROWS ? left : LOGIT_ROWS;
        nct_forward_logits(&engine->exec, &engine->model, &k->s->work, k->row, k->n_rows, k->s->logits);
    }
    return k->s->logits + (node - k->row) * engine->model.config.n_vocab;
}

/* The token after history [n], among those that the matcher allows, if there is one; told to the caller, in *taking_ns.
 * *over: it is the last one. */
static nct_status choose_next(nct_session *s, const nct_generate_options *o, const float *logits, size_t n,
                              int32_t *chosen, bool *over, uint64_t *taking_ns, nct_error *err) {
    const uint64_t *allowed = NULL;
    if (o->matcher)
        NCT_TRY(nct_matcher_mask(o->matcher, &allowed, err));
    NCT_TRY(nct_sampler_choose_among(s->sampler, o->sampling, allowed, logits, s->tokens, n,
                                     (size_t)o->n_prompt, o->sample, chosen, err));
    if (n < s->n_script) /* a replay */
        *chosen = s->script[n];
    if (o->matcher)
        NCT_TRY(nct_matcher_take(o->matcher, *chosen, err));
    uint64_t began = nct_clock_ns();
    *over = !o->take(o->context, *chosen);
    *taking_ns += nct_clock_ns() - began;
    *over = *over || (o->matcher && nct_matcher_is_done(o->matcher));
    return NCT_OK;
}

/* As a step would: room for the token, its logits, the choice. */
static nct_status choose(void *context, size_t node, const int32_t *token, size_t n, int32_t *chosen,
                         bool *stop, nct_error *err) {
    struct verifying *k = context;
    nct_session *s = k->s;
    const nct_generate_options *o = k->o;
    (void)token; /* they are those of the path, which the session has */
    if (k->tree->n > 1)
        NCT_TRY(nct_session_make_room(s, k->first + n, 1, err));
    k->began = true;
    s->tokens[k->first + n] = k->tree->token[node];
    return choose_next(s, o, logits_of(k, node), k->first + n + 1, chosen, stop, &k->taking_ns, err);
}

/* Appends what was accepted. */
static nct_status keep(struct verifying *k, const nct_accepted *a, uint64_t began, nct_error *err) {
    nct_session *s = k->s;
    size_t n_vocab = s->engine->model.config.n_vocab, last = a->node[a->n - 1];
    nct_branches_keep(&s->engine->exec, &s->work.branches, &s->cache, a->node, a->n);
    const float *logits = logits_of(k, last);
    if (logits != s->logits)
        memcpy(s->logits, logits, n_vocab * sizeof *logits);
    s->has_logits = true;
    NCT_TRY(nct_session_tell_batch(s, k->first, a->node, a->n, err));
    double seconds = (double)(nct_clock_ns() - began) * 1e-9;
    s->report.n_decode += a->n;
    s->report.decode_s += seconds;
    return s->store ? nct_store_grown(s->store, s->tokens, a->n, seconds, false, err) : NCT_OK;
}

/* Feeds a tree and walks along it. */
static nct_status verify_tree(struct verifying *k, uint64_t began, nct_accepted *accepted, nct_error *err) {
    nct_session *s = k->s;
    const nct_engine *engine = s->engine;
    const nct_tree *tree = k->tree;
    nct_batch batch = {
        .id = tree->token, .n = tree->n, .first = k->first, .parent = tree->parent, .depth = tree->depth};
    assert(tree->n <= s->n_guess && nct_batch_end(&batch) <= s->cache.limit);
    s->attend.seen = NULL;
    s->attend.decision_len = 0;
    nct_session_use_threads(s, tree->n);
    nct_between between = {.stop = k->o->stop};
    NCT_TRY(
        nct_forward(&engine->exec, &engine->model, &s->attend, &s->cache, &s->work, &batch, &between, err));
    s->has_logits = false;
    nct_accepted a = {.n = 1};
    nct_status status = nct_verify(tree, choose, k, &a, err);
    if (k->began) { /* where the first choice fails, the root was fed all the same */
        nct_status kept = keep(k, &a, began, status == NCT_OK ? err : NULL);
        status = status == NCT_OK ? kept : status;
    }
    s->report.n_guessed += tree->n - 1;
    s->report.n_accepted += a.n - 1;
    if (status == NCT_OK)
        *accepted = a;
    return status;
}

nct_status nct_session_verify(nct_session *s, const nct_tree *tree, const nct_generate_options *o,
                              nct_accepted *accepted, nct_error *err) {
    uint64_t began = nct_clock_ns();
    struct verifying k = {.s = s, .tree = tree, .o = o, .first = s->cache.length};
    nct_status status;
    NCT_TRY(nct_session_grow(s, k.first + tree->n + 1, err));
    s->report.n_rounds++;
    if (tree->n > 1) {
        status = verify_tree(&k, began, accepted, err);
    } else { /* a plain step */
        nct_feed_options feed = {.stop = o->stop, .on_choice = o->on_choice, .context = o->context};
        NCT_TRY(nct_session_feed(s, tree->token, 1, &feed, err));
        k.n_rows = 1;
        status = nct_verify(tree, choose, &k, accepted, err);
    }
    s->round_s = (double)(nct_clock_ns() - began - k.taking_ns) * 1e-9;
    return status;
}

/* ------------------------------------------------------------------ rounds */

/* Tells the drafter what it has not seen yet, up to the root, and asks for a guess. */
static nct_status guess(nct_session *s, nct_tree *tree, nct_error *err) {
    size_t held = s->cache.length, room = s->cache.limit - held, n_passes;
    nct_ask ask = {.n_max = s->n_guess, .depth_max = NCT_TREE_MAX - 1, .width = s->guess_width};
    if (!s->drafter || room < 2 || (s->adaptive && !nct_adapt_ask(&s->adapt, &ask)))
        return NCT_OK;
    uint64_t began = nct_clock_ns();
    ask.depth_max = ask.depth_max < room - 1 ? ask.depth_max : room - 1;
    NCT_TRY(nct_session_grow(s, held + 1, err));
    s->tokens[held] = tree->token[0];
    nct_exec exec = s->engine->exec;
    exec.scratch = &s->work.arena;
    NCT_TRY(nct_session_tell(s, held, err));
    NCT_TRY(s->drafter->propose(s->draft, &exec, &ask, tree, &n_passes, err));
    if (s->adaptive) {
        double seconds = (double)(nct_clock_ns() - began) * 1e-9;
        nct_adapt_drafted(&s->adapt, n_passes, seconds);
        if (s->drafter->reads && n_passes == 0 && tree->n == 1)
            nct_adapt_lost(&s->adapt, seconds);
        nct_adapt_choose(&s->adapt, tree);
    }
    return NCT_OK;
}

nct_status nct_session_round(nct_session *s, int32_t root, const nct_generate_options *o, nct_accepted *a,
                             nct_error *err) {
    nct_tree tree;
    nct_tree_init(&tree, root);
    if (!o->on_choice)
        NCT_TRY(guess(s, &tree, err));
    NCT_TRY(nct_session_verify(s, &tree, o, a, err));
    if (s->adaptive && !o->on_choice)
        nct_adapt_learn(&s->adapt, &tree, a, s->round_s);
    return NCT_OK;
}

nct_status nct_session_generate(nct_session *s, const nct_generate_options *o, nct_error *err) {
    nct_status status = NCT_OK;
    nct_accepted a = {.n = 1};
    const nct_report before = s->report;
    if (o->rounds)
        *o->rounds = (nct_rounds){0};
    uint64_t taking_ns = 0;
    NCT_TRY(nct_session_can_sample(s, o->n_prompt, err));
    NCT_TRY(nct_session_begin_draft(s, err));
    NCT_TRY(choose_next(s, o, s->logits, s->cache.length, &a.token[0], &a.stopped, &taking_ns, err));
    nct_adapt_begin(&s->adapt, s->draft_s, s->prompt_s);
    while (status == NCT_OK && !a.stopped)
        status = nct_session_round(s, a.token[a.n - 1], o, &a, err);
    nct_session_cut_draft(s); /* of a root that was not fed */
    s->draft_s = s->prompt_s = 0;
    if (o->rounds)
        *o->rounds = (nct_rounds){.n_rounds = s->report.n_rounds - before.n_rounds,
                                  .n_guessed = s->report.n_guessed - before.n_guessed,
                                  .n_accepted = s->report.n_accepted - before.n_accepted,
                                  .gain = s->adaptive ? nct_adapt_gain(&s->adapt) : 0};
    return status;
}

nct_status nct_session_learned(const nct_session *s, char **text, size_t *n_bytes, nct_error *err) {
    nct_bytes b = {0};
    *text = NULL;
    *n_bytes = 0;
    if (!s->adaptive || s->report.n_guessed == 0)
        return NCT_OK;
    nct_status status = nct_adapt_save(&s->adapt, &b, err);
    if (status != NCT_OK) {
        nct_bytes_reset(&b);
        return status;
    }
    *text = b.data;
    *n_bytes = b.n;
    return NCT_OK;
}
