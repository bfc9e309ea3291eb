/* What a session tells its drafter: pairs of a row and the token chosen after it, in order and each once. */
#include <string.h>

#include "base/clock.h"
#include "engine/session.h"
#include "spec/merged.h"

static nct_exec exec_of(nct_session *s) {
    nct_exec exec = s->engine->exec;
    exec.scratch = &s->work.arena;
    return exec;
}

static nct_status observe(nct_session *s, size_t n, const float *row, nct_error *err) {
    nct_exec exec = exec_of(s);
    uint64_t began = nct_clock_ns();
    if (n == 0)
        return NCT_OK;
    NCT_TRY(s->drafter->observe(
        s->draft, &exec,
        &(nct_pairs){
            .first = s->n_pairs, .n = n, .token = s->tokens, .row = row, .stride = row ? s->row_floats : 0},
        err));
    s->n_pairs += n;
    s->draft_s += (double)(nct_clock_ns() - began) * 1e-9;
    return NCT_OK;
}

/* Rows of the pass that was just run. */
static float *rows_of(const nct_session *s) {
    return s->drafter->row == NCT_ROW_TAPS ? s->work.taps : s->work.x;
}

/* The drafter's state; of "auto", of the engine's drafter and prompt lookup together. */
static nct_status open_state(nct_session *s, bool merged, bool prompt_rows, nct_error *err) {
    void *p = NULL;
    const void *weights = s->drafter->load ? s->engine->draft : NULL;
    const nct_draft_options options = {.prompt_rows = prompt_rows};
    nct_draft_target target = {.model = &s->engine->model,
                               .rope = s->work.rope,
                               .limit = s->cache.limit,
                               .n_threads = nct_pool_size(s->engine->pool)};
    if (merged)
        NCT_TRY(nct_merged_open(s->drafter, weights, &target, &options, &s->drafter, &p, err));
    else
        NCT_TRY(s->drafter->open(weights, &target, &options, &p, err));
    s->draft = p;
    return NCT_OK;
}

nct_status nct_session_open_draft(nct_session *s, const char *name, bool prompt_rows, nct_error *err) {
    bool automatic = name && strcmp(name, "auto") == 0, merged = automatic && s->engine->drafter;
    if (s->n_guess < 2)
        return NCT_OK;
    NCT_TRY(nct_branches_open(&s->cache, s->n_guess, &s->work.branches, err));
    if (automatic)
        s->drafter = merged ? s->engine->drafter : &nct_drafter_ngram;
    else if (name)
        NCT_TRY(nct_drafter_find(name, &s->drafter, err));
    if (!s->drafter)
        return NCT_OK;
    if (s->drafter->load && s->drafter != s->engine->drafter) {
        const char *needs = s->drafter->name;
        s->drafter = NULL;
        return nct_fail(err, NCT_E_ARGUMENT,
                        "the drafter '%s' needs files of its own, and none were loaded", needs);
    }
    NCT_TRY(nct_session_open_rows(s, err));
    return open_state(s, merged, prompt_rows, err);
}

nct_status nct_session_begin_draft(nct_session *s, nct_error *err) {
    nct_exec exec = exec_of(s);
    if (!s->draft || !s->drafter->begin)
        return NCT_OK;
    return s->drafter->begin(s->draft, &exec, s->tokens, s->cache.length, err);
}

nct_status nct_session_open_rows(nct_session *s, nct_error *err) {
    size_t hidden = s->engine->model.config.hidden;
    void *p = NULL;
    if (s->drafter->row == NCT_ROW_NONE)
        return NCT_OK;
    if (s->drafter->row == NCT_ROW_TAPS && s->engine->model.config.n_layers < NCT_TAPS_LAYERS)
        return nct_fail(err, NCT_E_UNSUPPORTED, "the drafter '%s' looks into a model of at least %d layers, this has %zu",
                        s->drafter->name, NCT_TAPS_LAYERS, s->engine->model.config.n_layers);
    s->row_floats = s->drafter->row == NCT_ROW_TAPS ? NCT_TAPS * hidden : hidden;
    NCT_TRY(nct_alloc(&p, s->row_floats, sizeof(float), err));
    s->row = p;
    if (s->drafter->row == NCT_ROW_HIDDEN)
        return NCT_OK;
    NCT_TRY(nct_alloc(&p, s->work.rows * s->row_floats, sizeof(float), err));
    s->work.taps = p;
    return NCT_OK;
}

void nct_session_close_draft(nct_session *s) {
    if (s->drafter && s->draft)
        s->drafter->close(s->draft);
    nct_free(s->row);
    nct_free(s->work.taps);
}

nct_status nct_session_tell(nct_session *s, size_t n_pairs, nct_error *err) {
    if (!s->drafter || s->n_pairs >= n_pairs)
        return NCT_OK;
    size_t known = s->row_floats && s->has_row; /* the row of the last pair */
    NCT_TRY(observe(s, n_pairs - s->n_pairs - known, NULL, err));
    return observe(s, known, s->row, err);
}

nct_status nct_session_tell_rows(nct_session *s, const float *rows, size_t first, size_t n, nct_error *err) {
    NCT_TRY(nct_session_tell(s, first, err));
    memcpy(s->row, rows + (n - 1) * s->row_floats, s->row_floats * sizeof *rows);
    s->has_row = true;
    return observe(s, n - 1, rows, err);
}

nct_status nct_session_tell_batch(nct_session *s, size_t first, const uint8_t *path, size_t n,
                                  nct_error *err) {
    if (!s->drafter || !s->row_floats)
        return NCT_OK;
    float *rows = rows_of(s);
    for (size_t i = 0; path && i < n; i++) /* path[i] >= i */
        memmove(rows + i * s->row_floats, rows + path[i] * s->row_floats, s->row_floats * sizeof *rows);
    return nct_session_tell_rows(s, rows, first, n, err);
}

nct_status nct_session_restore_row(nct_session *s, nct_error *err) {
    size_t last = s->cache.length - 1;
    if (!s->row_floats || s->has_row || s->cache.length == 0 || s->n_pairs != last || s->n_pairs == 0 ||
        s->decide_by_prompt)
        return NCT_OK;
    nct_batch batch = {.id = s->tokens + last, .n = 1, .first = last};
    s->attend.seen = NULL;
    s->cache.length = last;
    nct_session_use_threads(s, 1);
    nct_status status = nct_session_make_room(s, last, 1, err);
    if (status == NCT_OK)
        status = nct_forward(&s->engine->exec, &s->engine->model, &s->attend, &s->cache, &s->work, &batch,
                             NULL, err);
    s->cache.length = last + 1;
    NCT_TRY(status);
    memcpy(s->row, rows_of(s), s->row_floats * sizeof(float));
    s->has_row = true;
    return NCT_OK;
}

void nct_session_cut_draft(nct_session *s) {
    size_t n = s->cache.length ? s->cache.length - 1 : 0;
    if (s->n_pairs > n) {
        s->drafter->rewind(s->draft, n);
        s->n_pairs = n;
    }
}
