/* A small model of the target's vocabulary as drafter (speculative-decoding.md 7.4).
 *
 * It reads the text itself, so all it needs of a pair is the token. Its cache is a window: of a text of n tokens it holds
 * those from base(n) on, and before them the first of all, which models lean on. base(n) is a multiple of half the window
 * and depends on n alone, so what was seen and taken back leaves no trace; when it moves, the half that stays is read
 * again at its new positions.
 *
 * A guess: the tokens that were accepted and the root are appended as a chain, whose last row scores the first level; every
 * further level runs the tree so far beside the cache, from the root on, so a guess never enters it. Reading waits until a
 * guess is asked for, and may be spread over rounds (ask->read_max): until it is done there is nothing to say. */
#include <assert.h>
#include <string.h>

#include "spec/drafter.h"
#include "spec/edge.h"
#include "spec/top.h"

enum {
    WINDOW = NCT_PAGE - NCT_TREE_MAX, /* positions, unless told otherwise: with a tree behind it, a page of the cache */
    LEAST_WINDOW = 16,
    ROWS = NCT_TREE_MAX, /* of a pass: a tree's, and of a chain that is read */
};

/* ------------------------------------------------------------------ weights */

typedef struct small_model {
    nct_model model;
    nct_checkpoint *resident; /* whose files hold the packed weights, or NULL */
    size_t window;
    nct_kv_type kv_type;
} small_model;

static void model_unload(void *weights) {
    small_model *w = weights;
    if (!w)
        return;
    nct_weights_close(&w->model.weights);
    nct_rope_close(&w->model.rope);
    nct_checkpoint_close(w->resident);
    nct_free(w);
}

/* Ids must mean the same to both. */
static nct_status compare_vocab(const char *path, const nct_vocab *own, const nct_vocab *target, nct_error *err) {
    if (own->n_pieces != target->n_pieces)
        return nct_fail(err, NCT_E_UNSUPPORTED,
                        "%s: the draft model has a vocabulary of %d pieces, but its target has %d", path,
                        own->n_pieces, target->n_pieces);
    for (int32_t id = 0; id < own->n_pieces; id++) {
        const nct_piece *a = &own->piece[id], *b = &target->piece[id];
        const char *x = nct_vocab_text(own, a), *y = nct_vocab_text(target, b);
        if (a->n_bytes != b->n_bytes || memcmp(x, y, a->n_bytes) != 0)
            return nct_fail(err, NCT_E_UNSUPPORTED,
                            "%s: token %d of the draft model is '%.*s', but its target has '%.*s' there", path, id,
                            (int)(a->n_bytes < 40 ? a->n_bytes : 40), x, (int)(b->n_bytes < 40 ? b->n_bytes : 40), y);
    }
    return NCT_OK;
}

static nct_status check_vocab(const char *path, const nct_checkpoint *checkpoint, const nct_vocab *target,
                              nct_error *err) {
    nct_vocab *own = NULL;
    if (!target)
        return NCT_OK;
    NCT_TRY(nct_vocab_open(checkpoint, &own, err));
    nct_status status = compare_vocab(path, own, target, err);
    nct_vocab_close(own);
    return status;
}

static nct_status load_all(small_model *w, const char *path, const nct_checkpoint *checkpoint,
                           const nct_model *target, const nct_exec *exec, const nct_draft_options *options,
                           nct_error *err) {
    nct_config *c = &w->model.config;
    NCT_TRY(nct_config_check(checkpoint, path, c, err));
    if (c->n_vocab != target->config.n_vocab)
        return nct_fail(err, NCT_E_UNSUPPORTED,
                        "%s: the draft model is for a vocab_size of %zu, but its target has %zu", path, c->n_vocab,
                        target->config.n_vocab);
    if (options->list)
        return nct_fail(err, NCT_E_ARGUMENT, "%s: a whole model scores all tokens and takes no list of them", path);
    NCT_TRY(check_vocab(path, checkpoint, options->vocab, err));
    NCT_TRY(nct_rope_open(c->head_dim, c->rope_theta, c->rope_factor, (double)c->max_positions,
                          c->rope_original_max, &w->model.rope, err));
    c->rope_factor = c->long_factor = NULL; /* the checkpoint's */
    size_t window = options->window ? options->window : WINDOW;
    w->window = window < c->max_positions ? window : c->max_positions;
    if (w->window < LEAST_WINDOW)
        return nct_fail(err, NCT_E_ARGUMENT, "%s: a draft model needs a window of %d positions, this is %zu", path,
                        LEAST_WINDOW, w->window);
    return nct_weights_open(checkpoint, c, NCT_QUANT_KEEP, exec->pool, &w->model.weights, err);
}

static nct_status model_load(const char *path, const nct_model *target, const nct_exec *exec,
                             const nct_draft_options *options, void **weights, nct_error *err) {
    static const nct_draft_options defaults;
    nct_checkpoint *checkpoint = NULL;
    void *block = NULL;
    NCT_TRY(nct_alloc(&block, 1, sizeof(small_model), err));
    small_model *w = block;
    w->kv_type = exec->exact ? NCT_KV_F32 : exec->kernels->kv_type;
    nct_status status = nct_checkpoint_open(path, &checkpoint, err);
    if (status == NCT_OK)
        status = load_all(w, path, checkpoint, target, exec, options ? options : &defaults, err);
    if (status == NCT_OK && nct_checkpoint_is_resident(checkpoint))
        w->resident = checkpoint;
    else
        nct_checkpoint_close(checkpoint);
    if (status == NCT_OK)
        *weights = w;
    else
        model_unload(w);
    return status;
}

static uint64_t model_weight_bytes(const void *weights) {
    const small_model *w = weights;
    return w->model.weights.n_bytes;
}

/* ------------------------------------------------------------------ a timeline */

typedef struct reader {
    const small_model *weights;
    size_t limit;
    int32_t *token; /* [n], room for limit + 1 */
    size_t token_capacity;
    size_t n;    /* tokens: one more than pairs, or none */
    size_t base; /* of what the cache holds */
    nct_cache cache;
    nct_work work;
    nct_arena arena; /* top, ids, parents, then scratch of scoring */
    nct_top *top;    /* [NCT_BEAM_WIDTH] */
    nct_beam beam;
    nct_tree grown; /* the beam's rows so far, as nodes below the root */
} reader;

static void model_close(void *state) {
    reader *r = state;
    if (!r)
        return;
    nct_work_close(&r->work);
    nct_cache_close(&r->cache);
    nct_arena_close(&r->arena);
    nct_free(r->token);
    nct_free(r);
}

static nct_status open_reader(reader *r, int n_threads, nct_error *err) {
    const nct_model *m = &r->weights->model;
    const nct_config *c = &m->config;
    static const nct_attend_options dense;
    size_t window = r->weights->window;
    nct_cache_options cache = {.n_layers = c->n_layers,
                               .n_kv_heads = c->n_kv_heads,
                               .head_dim = c->head_dim,
                               .limit = window + NCT_TREE_MAX,
                               .k_type = r->weights->kv_type,
                               .v_type = r->weights->kv_type};
    NCT_TRY(nct_cache_open(&cache, &r->cache, err));
    NCT_TRY(nct_work_open(m, &dense, &r->cache, ROWS, n_threads, &r->work, err));
    NCT_TRY(nct_branches_open(&r->cache, ROWS, &r->work.branches, err));
    NCT_TRY(nct_arena_open(&r->arena,
                           nct_arena_cost(NCT_BEAM_WIDTH, sizeof *r->top) +
                               nct_top_bytes(m->weights.head, 0, NCT_BEAM_WIDTH, n_threads),
                           err));
    r->top = nct_arena_take(&r->arena, NCT_BEAM_WIDTH, sizeof *r->top);
    return NCT_OK;
}

static nct_status model_open(const void *weights, const nct_draft_target *target,
                             const nct_draft_options *options, void **state, nct_error *err) {
    void *p = NULL;
    if (!weights)
        return nct_fail(err, NCT_E_ARGUMENT, "this drafter works with a small model's files, and none were given");
    if (options && options->prompt_rows)
        return nct_fail(err, NCT_E_ARGUMENT, "a draft model scores all tokens: there are none to add");
    NCT_TRY(nct_alloc(&p, 1, sizeof(reader), err));
    reader *r = p;
    r->weights = weights;
    r->limit = target->limit;
    nct_status status = open_reader(r, target->n_threads, err);
    if (status == NCT_OK)
        *state = r;
    else
        model_close(r);
    return status;
}

static uint64_t model_state_bytes(const void *state) {
    const reader *r = state;
    return nct_cache_bytes(&r->cache) + r->work.arena.n_bytes + r->work.branches.arena.n_bytes + r->arena.n_bytes +
           r->token_capacity * sizeof *r->token;
}

static nct_status model_observe(void *state, const nct_exec *exec, const nct_pairs *pairs, nct_error *err) {
    reader *r = state;
    void *tokens = r->token;
    (void)exec;
    assert(pairs->first == (r->n ? r->n - 1 : 0));
    if (pairs->n == 0)
        return NCT_OK;
    size_t n = pairs->first + pairs->n + 1;
    NCT_TRY(nct_grow(&tokens, &r->token_capacity, n, sizeof *r->token, err));
    r->token = tokens;
    memcpy(r->token + r->n, pairs->token + r->n, (n - r->n) * sizeof *r->token);
    r->n = n;
    return NCT_OK;
}

/* ------------------------------------------------------------------ the window */

/* Where the window of a text of n tokens begins. */
static size_t base_of(const reader *r, size_t n) {
    size_t window = r->weights->window, half = window / 2;
    return n <= window ? 0 : (n - window + half - 1) / half * half;
}

/* The token at a position of the cache. */
static int32_t token_at(const reader *r, size_t position) { return r->token[position ? r->base + position : 0]; }

/* Tokens that the window spans, the root included. */
static size_t spanned(const reader *r) { return r->n - r->base; }

static void model_rewind(void *state, size_t n_pairs) {
    reader *r = state;
    size_t n = n_pairs ? n_pairs + 1 : 0;
    assert(n_pairs <= (r->n ? r->n - 1 : 0));
    r->n = n < r->n ? n : r->n;
    size_t held = r->n > r->base ? r->n - r->base : 0;
    if (r->cache.length > held)
        r->cache.length = held;
}

/* Appends up to ROWS tokens of the window. */
static nct_status read_some(reader *r, const nct_exec *exec, size_t end, nct_error *err) {
    static const nct_attend_options dense;
    int32_t id[ROWS];
    size_t first = r->cache.length, n = end - first < ROWS ? end - first : ROWS;
    for (size_t i = 0; i < n; i++)
        id[i] = token_at(r, first + i);
    NCT_TRY(nct_cache_reserve(&r->cache, first + n, err));
    return nct_forward(exec, &r->weights->model, &dense, &r->cache, &r->work,
                       &(nct_batch){.id = id, .n = n, .first = first}, &(nct_between){.n_unread = n - 1}, err);
}

/* Reads up to the root, which is last of its pass; false: not all of it yet. */
static nct_status read_text(reader *r, const nct_exec *exec, size_t read_max, size_t *last_row, bool *done,
                            nct_error *err) {
    size_t base = base_of(r, r->n), n_read = 0;
    if (base != r->base) {
        r->base = base;
        r->cache.length = 0;
    }
    if (r->cache.length == spanned(r)) /* asked again: the root's row once more */
        r->cache.length--;
    while (r->cache.length < spanned(r) && (read_max == 0 || n_read < read_max)) {
        size_t before = r->cache.length;
        NCT_TRY(read_some(r, exec, spanned(r), err));
        *last_row = r->cache.length - before - 1;
        n_read += r->cache.length - before;
    }
    *done = r->cache.length == spanned(r);
    return NCT_OK;
}

/* ------------------------------------------------------------------ trees */

static void score_rows(reader *r, const nct_exec *exec, size_t row, size_t n, size_t width, int32_t *token,
                       float *log_q) {
    const nct_model *m = &r->weights->model;
    size_t hidden = m->config.hidden;
    nct_exec scoring = *exec;
    scoring.scratch = &r->arena;
    nct_top_run(&scoring, m->weights.head, NULL, r->work.x + row * hidden, hidden, n, width, r->top);
    for (size_t i = 0; i < n; i++)
        for (size_t c = 0; c < width; c++) {
            token[i * width + c] = r->top[i].output[c];
            log_q[i * width + c] = r->top[i].log_q[c];
        }
}

/* The beam's tokens as nodes: those of level d follow those of d - 1, `width` of them. */
static void add_level(reader *r) {
    const nct_beam *b = &r->beam;
    nct_tree *t = &r->grown;
    size_t above = b->level > 1 ? t->n - b->width : 0;
    for (size_t i = 0; i < b->width; i++) {
        size_t node = t->n++;
        t->token[node] = nct_beam_token(b, i);
        t->parent[node] = (uint8_t)(b->level > 1 ? above + b->source[i] : 0);
        t->depth[node] = (uint8_t)b->level;
    }
}

/* Runs the tree so far beside the cache, of which the root is the last token, and scores its newest level. */
static nct_status run_level(reader *r, const nct_exec *exec, nct_error *err) {
    static const nct_attend_options dense;
    int32_t token[NCT_BEAM_WIDTH * NCT_BEAM_WIDTH];
    float log_q[NCT_BEAM_WIDTH * NCT_BEAM_WIDTH];
    nct_tree *t = &r->grown;
    size_t width = r->beam.width;
    add_level(r);
    r->cache.length--;
    nct_batch batch = {.id = t->token, .n = t->n, .first = r->cache.length, .parent = t->parent, .depth = t->depth};
    nct_status status = nct_cache_reserve(&r->cache, nct_batch_end(&batch), err);
    if (status == NCT_OK)
        status = nct_forward(exec, &r->weights->model, &dense, &r->cache, &r->work, &batch, NULL, err);
    r->cache.length++;
    NCT_TRY(status);
    score_rows(r, exec, t->n - width, width, width, token, log_q);
    nct_beam_expand(&r->beam, token, log_q);
    return NCT_OK;
}

/* Another level must fit a pass beside the root, and the positions of the window. */
static bool goes_on(const reader *r, const nct_ask *ask) {
    const nct_beam *b = &r->beam;
    return b->level < ask->depth_max && r->grown.n + b->width <= ROWS && nct_beam_more(b) &&
           nct_beam_can_matter(b, ask->n_max - 1) &&
           (!ask->deeper || ask->deeper(ask->context, b->level + 1, nct_beam_score(b, 0)));
}

static nct_status model_propose(void *state, const nct_exec *exec, const nct_ask *ask, nct_tree *tree,
                                size_t *n_passes, nct_error *err) {
    reader *r = state;
    int32_t token[NCT_BEAM_WIDTH];
    float log_q[NCT_BEAM_WIDTH];
    size_t last_row = 0, n_vocab = r->weights->model.config.n_vocab,
           width = ask->width < n_vocab ? ask->width : n_vocab;
    bool done = false;
    nct_exec own = *exec;
    own.observer = NULL;
    *n_passes = 0;
    if (r->n == 0 || ask->n_max < 2)
        return NCT_OK;
    assert(tree->token[0] == r->token[r->n - 1]);
    NCT_TRY(read_text(r, &own, ask->read_max, &last_row, &done, err));
    if (!done)
        return NCT_OK;
    score_rows(r, &own, last_row, 1, width, token, log_q);
    nct_beam_begin(&r->beam, width, token, log_q);
    nct_tree_init(&r->grown, tree->token[0]);
    for (*n_passes = 1; goes_on(r, ask); ++*n_passes)
        NCT_TRY(run_level(r, &own, err));
    nct_beam_tree(&r->beam, tree->token[0], ask->n_max, tree);
    return NCT_OK;
}

const nct_drafter nct_drafter_model = {
    .name = "model",
    .brief = "a small model with the same vocabulary",
    .row = NCT_ROW_NONE,
    .reads = true,
    .load = model_load,
    .unload = model_unload,
    .weight_bytes = model_weight_bytes,
    .open = model_open,
    .state_bytes = model_state_bytes,
    .observe = model_observe,
    .propose = model_propose,
    .rewind = model_rewind,
    .close = model_close,
};
