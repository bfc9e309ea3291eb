#include "engine/replay.h"

#include <string.h>

#include "base/clock.h"
#include "spec/draft.h"

static bool take_all(void *context, int32_t id) {
    (void)context;
    (void)id;
    return true;
}

static const nct_sampling greedy = {.top_p = 1, .repeat_penalty = 1};

static nct_generate_options options_of(void) {
    return (nct_generate_options){.sampling = &greedy, .take = take_all};
}

/* ------------------------------------------------------------------ beginning */

static nct_status simulate(nct_session *s, const nct_replay_text *text, nct_error *err) {
    nct_draft_target target = {.model = &s->engine->model,
                               .rope = s->work.rope,
                               .limit = s->cache.limit,
                               .n_threads = nct_pool_size(s->engine->pool)};
    const nct_drafter *inner = s->engine->drafter, *drafter = NULL;
    void *state = NULL;
    if (!inner || inner->row == NCT_ROW_NONE)
        return nct_fail(err, NCT_E_ARGUMENT, "a simulated draft pays for a head's passes, and there is no head");
    NCT_TRY(nct_replay_open(inner, s->engine->draft, &target, text, &drafter, &state, err));
    s->drafter->close(s->draft);
    s->drafter = drafter;
    s->draft = state;
    return NCT_OK;
}

nct_status nct_replay_begin(nct_session *s, const nct_replay_text *text, bool made_up, nct_error *err) {
    NCT_TRY(nct_session_rewind(s, 0, err));
    s->script = text->token;
    s->n_script = text->n;
    if (text->odds)
        NCT_TRY(simulate(s, text, err));
    if (!made_up)
        return nct_session_feed(s, text->token, text->first, NULL, err);
    NCT_TRY(nct_session_make_up(s, (int)text->first, 1, err));
    memcpy(s->tokens, text->token, text->first * sizeof *s->tokens);
    return NCT_OK;
}

/* Holds what stands before `position`, with the row of the last token, however the way before left the session. */
static nct_status go_to(nct_session *s, size_t position, nct_error *err) {
    if (s->cache.length >= position)
        NCT_TRY(nct_session_rewind(s, (int)position - 1, err));
    return nct_session_feed(s, s->script + s->cache.length, position - s->cache.length, NULL, err);
}

/* ------------------------------------------------------------------ rounds */

static bool always(void *context, size_t depth, float score) {
    (void)context;
    (void)depth;
    (void)score;
    return true;
}

/* As nct_session_generate guesses. */
static nct_status guess(nct_session *s, nct_replay_way *w, nct_tree *tree, nct_error *err) {
    size_t held = s->cache.length, room = s->cache.limit - held, n_passes = 0;
    nct_ask ask = {.n_max = w->n_nodes, .depth_max = w->depth, .width = w->width, .deeper = always};
    if (w->kind == NCT_REPLAY_PLAIN || !s->drafter || room < 2 ||
        (w->kind == NCT_REPLAY_AUTO && !nct_adapt_ask(&w->adapt, &ask)))
        return NCT_OK;
    uint64_t began = nct_clock_ns();
    ask.depth_max = ask.depth_max < room - 1 ? ask.depth_max : room - 1;
    NCT_TRY(nct_session_grow(s, held + 1, err));
    s->tokens[held] = tree->token[0];
    nct_exec exec = s->engine->exec;
    exec.scratch = &s->work.arena;
    NCT_TRY(nct_session_tell(s, held, err));
    NCT_TRY(s->drafter->propose(s->draft, &exec, &ask, tree, &n_passes, err));
    double seconds = (double)(nct_clock_ns() - began) * 1e-9;
    if (w->kind == NCT_REPLAY_AUTO) {
        nct_adapt_drafted(&w->adapt, n_passes, seconds);
        nct_adapt_choose(&w->adapt, tree);
    }
    w->n_passes += n_passes;
    w->draft_s += seconds;
    return NCT_OK;
}

static nct_status run_round(nct_session *s, nct_replay_way *w, nct_error *err) {
    nct_generate_options o = options_of();
    nct_accepted a;
    nct_tree tree;
    uint64_t began = nct_clock_ns();
    nct_tree_init(&tree, s->script[w->position]);
    NCT_TRY(guess(s, w, &tree, err));
    NCT_TRY(nct_session_verify(s, &tree, &o, &a, err));
    if (w->kind == NCT_REPLAY_AUTO)
        nct_adapt_learn(&w->adapt, &tree, &a, s->round_s);
    w->seconds += (double)(nct_clock_ns() - began) * 1e-9;
    w->position += a.n;
    w->n_tokens += a.n;
    w->n_rounds++;
    w->n_verified += tree.n;
    w->nodes[tree.n]++;
    return NCT_OK;
}

nct_status nct_replay_run(nct_session *s, nct_replay_way *w, size_t until, nct_error *err) {
    if (!w->began) {
        w->began = true;
        w->adapt = s->adapt;
        w->position = s->cache.length;
        nct_adapt_begin(&w->adapt, 0, 0);
    }
    NCT_TRY(go_to(s, w->position, err));
    nct_status status = NCT_OK;
    while (status == NCT_OK && w->position < until)
        status = run_round(s, w, err);
    return status;
}

/* ------------------------------------------------------------------ what it is made of */

nct_status nct_replay_time_rows(nct_session *s, size_t n, double *seconds, nct_error *err) {
    nct_generate_options o = options_of();
    size_t held = s->cache.length;
    int32_t n_vocab = (int32_t)s->engine->model.config.n_vocab;
    nct_accepted a;
    nct_tree tree;
    NCT_TRY(go_to(s, held, err));
    nct_tree_init(&tree, s->script[held]);
    for (size_t i = 1; i < n; i++) /* nothing of it is right */
        nct_tree_add(&tree, i - 1, (s->script[held + 1] + 1) % n_vocab, -(float)i, 0);
    uint64_t began = nct_clock_ns();
    NCT_TRY(nct_session_verify(s, &tree, &o, &a, err));
    *seconds = (double)(nct_clock_ns() - began) * 1e-9;
    return nct_session_rewind(s, (int)held, err);
}

nct_status nct_replay_time_draft(nct_session *s, size_t width, size_t depth, double *seconds,
                                 size_t *n_passes, nct_error *err) {
    size_t held = s->cache.length;
    nct_replay_way w = {.kind = NCT_REPLAY_FIXED, .n_nodes = NCT_TREE_MAX, .width = width, .depth = depth};
    nct_tree tree;
    NCT_TRY(go_to(s, held, err));
    nct_tree_init(&tree, s->script[held]);
    NCT_TRY(guess(s, &w, &tree, err));
    *seconds = w.draft_s;
    *n_passes = w.n_passes;
    nct_session_cut_draft(s); /* of the root, which was not fed */
    return NCT_OK;
}

bool nct_replay_has_head(const nct_session *s) {
    return s->engine->drafter == &nct_drafter_eagle || s->engine->drafter == &nct_drafter_eagle3;
}

static double time_head(const nct_exec *exec, const nct_linear *head, const float *x, size_t hidden) {
    enum { BEST = 4 };
    nct_top top;
    uint64_t began = nct_clock_ns();
    nct_top_run(exec, head, NULL, x, hidden, 1, BEST, &top);
    return (double)(nct_clock_ns() - began) * 1e-9;
}

nct_status nct_replay_time_heads(nct_session *s, nct_replay_heads *heads, nct_error *err) {
    const nct_draft *draft = s->engine->draft;
    const nct_linear *full = s->engine->model.weights.head;
    size_t hidden = s->engine->model.config.hidden;
    nct_arena arena = {0};
    int n_threads = nct_pool_size(s->engine->pool);
    size_t a = nct_top_bytes(full, 0, 1, n_threads), b = nct_top_bytes(draft->head, 0, 1, n_threads);
    NCT_TRY(nct_arena_open(&arena, a > b ? a : b, err));
    nct_exec exec = s->engine->exec;
    exec.scratch = &arena;
    nct_session_use_threads(s, 1);
    heads->full_s = time_head(&exec, full, s->work.x, hidden);
    heads->draft_s = time_head(&exec, draft->head, s->work.x, hidden);
    heads->full_rows = full->panels.n_rows;
    heads->draft_rows = draft->head->panels.n_rows;
    nct_arena_close(&arena);
    return NCT_OK;
}
