#include "spec/draft.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    LAZY = 64,             /* pairs that are run together as far as keys and values */
    FULL = NCT_BEAM_WIDTH, /* rows that go through the whole layer together */
};

/* ------------------------------------------------------------------ memory */

/* What one thread attends with. */
struct desk {
    nct_step *step; /* [n_steps] */
    uint64_t *mask;
    void *scratch; /* of the kernel */
    float *total;  /* m, l, acc */
};

/* Steps of 64 positions that a row sees at most: the window's and those of the rows behind the pairs. */
static size_t most_steps(const nct_draft *d, const nct_cache *cache) {
    size_t far = d->window < cache->limit ? d->window : cache->limit;
    return far / NCT_STEP + NCT_TREE_MAX / NCT_STEP + 3;
}

static size_t desk_bytes(const nct_draft *d, const nct_cache *cache) {
    size_t n = most_steps(d, cache), group = d->n_heads / d->n_kv_heads;
    return nct_arena_cost(n, sizeof(nct_step)) + nct_arena_cost(n, sizeof(uint64_t)) +
           nct_arena_cost(nct_attend_scratch(1, group, d->head_dim), 1) +
           nct_arena_cost(group * (2 + d->head_dim), sizeof(float));
}

static void take_desk(const nct_draft *d, const nct_cache *cache, nct_arena *a, struct desk *b) {
    size_t n = most_steps(d, cache), group = d->n_heads / d->n_kv_heads;
    b->step = nct_arena_take(a, n, sizeof *b->step);
    b->mask = nct_arena_take(a, n, sizeof *b->mask);
    b->scratch = nct_arena_take(a, nct_attend_scratch(1, group, d->head_dim), 1);
    b->total = nct_arena_take(a, group * (2 + d->head_dim), sizeof *b->total);
}

/* Scratch of the hungriest call. */
static size_t scratch_bytes(const nct_draft *d, const nct_cache *cache, size_t n_more, size_t n_threads) {
    const struct {
        const nct_linear *linear[3];
        size_t rows;
    } calls[] = {{{&d->fc}, LAZY}, {{&d->k, &d->v}, LAZY},     {{&d->q, &d->k, &d->v}, FULL},
                 {{&d->o}, FULL},  {{&d->gate, &d->up}, FULL}, {{&d->down}, FULL}};
    const size_t others[] = {
        nct_top_bytes(d->head, n_more, FULL, (int)n_threads),
        nct_arena_cost(n_threads, sizeof(struct desk)) + n_threads * desk_bytes(d, cache),
        nct_linear_gated_scratch_bytes(&d->gate, &d->up, &d->down, FULL, (int)n_threads)};
    size_t most = 0;
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        most = others[i] > most ? others[i] : most;
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
        size_t bytes = 0;
        for (size_t j = 0; j < 3 && calls[i].linear[j]; j++)
            bytes += nct_linear_scratch_bytes(calls[i].linear[j], calls[i].rows);
        most = bytes > most ? bytes : most;
    }
    return most;
}

static nct_status open_buffers(nct_draft_line *l, size_t n_threads, nct_error *err) {
    const nct_draft *d = l->draft;
    const struct {
        void *buffer; /* of type T ** */
        size_t n, item_bytes;
    } parts[] = {{&l->last, d->n_row, sizeof(float)},
                 {&l->x, LAZY * d->hidden, sizeof(float)},
                 {&l->h, LAZY * d->hidden, sizeof(float)},
                 {&l->c, LAZY * 2 * d->hidden, sizeof(float)},
                 {&l->room, LAZY * 2 * d->hidden, sizeof(float)},
                 {&l->k, LAZY * d->n_kv_heads * d->head_dim, sizeof(float)},
                 {&l->v, LAZY * d->n_kv_heads * d->head_dim, sizeof(float)},
                 {&l->cos, LAZY * d->head_dim / 2, sizeof(float)},
                 {&l->sin, LAZY * d->head_dim / 2, sizeof(float)},
                 {&l->q, FULL * d->n_heads * d->head_dim, sizeof(float)},
                 {&l->att, FULL * d->n_heads * d->head_dim, sizeof(float)},
                 {&l->query, FULL * d->n_heads, nct_query_bytes(d->head_dim)},
                 {&l->gate, FULL * d->intermediate, sizeof(float)},
                 {&l->up, FULL * d->intermediate, sizeof(float)},
                 {&l->out, (1 + NCT_TREE_MAX) * d->hidden, sizeof(float)},
                 {&l->top, FULL, sizeof(nct_top)}};
    size_t bytes = scratch_bytes(d, &l->cache, l->listed ? NCT_DRAFT_PROMPT_ROWS : 0, n_threads);
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        bytes += nct_arena_cost(parts[i].n, parts[i].item_bytes);
    NCT_TRY(nct_arena_open(&l->arena, bytes, err));
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        void *p = nct_arena_take(&l->arena, parts[i].n, parts[i].item_bytes);
        memcpy(parts[i].buffer, &p, sizeof p);
    }
    return NCT_OK;
}

/* Which tokens the head scores by itself, where a list says so. */
static nct_status list_tokens(nct_draft_line *l, nct_error *err) {
    const nct_draft *d = l->draft;
    void *p = NULL;
    if (d->form->kind == NCT_DRAFT_EAGLE3)
        return nct_fail(
            err, NCT_E_ARGUMENT,
            "an EAGLE-3 head scores a vocabulary of its own: tokens of the prompt cannot be added");
    if (!d->ids)
        return NCT_OK;
    NCT_TRY(nct_alloc(&p, d->target->config.n_vocab, sizeof *l->listed, err));
    l->listed = p;
    for (size_t i = 0; i < d->head->panels.n_rows; i++)
        l->listed[d->ids[i]] = true;
    return NCT_OK;
}

nct_status nct_draft_line_open(const void *weights, const nct_draft_target *target,
                               const nct_draft_options *options, void **state, nct_error *err) {
    const nct_draft *d = weights;
    void *block = NULL;
    size_t limit;
    if (!d)
        return nct_fail(err, NCT_E_ARGUMENT,
                        "this drafter works with a draft head's files, and none were given");
    if (!nct_add_size(target->limit, NCT_TREE_MAX, &limit))
        return nct_fail(err, NCT_E_MEMORY, "a cache of %zu positions exceeds the address space",
                        target->limit);
    NCT_TRY(nct_alloc(&block, 1, sizeof(nct_draft_line), err));
    nct_draft_line *l = block;
    l->draft = d;
    l->rope = target->rope;
    nct_cache_options cache = {.n_layers = 1,
                               .n_kv_heads = d->n_kv_heads,
                               .head_dim = d->head_dim,
                               .limit = limit,
                               .k_type = d->kv_type,
                               .v_type = d->kv_type};
    nct_status status = nct_cache_open(&cache, &l->cache, err);
    if (status == NCT_OK && options && options->prompt_rows)
        status = list_tokens(l, err);
    if (status == NCT_OK)
        status = open_buffers(l, (size_t)target->n_threads, err);
    if (status == NCT_OK)
        *state = l;
    else
        nct_draft_line_close(l);
    return status;
}

void nct_draft_line_use_rope(void *state, const nct_rope *rope) { ((nct_draft_line *)state)->rope = rope; }

void nct_draft_line_close(void *state) {
    nct_draft_line *l = state;
    if (!l)
        return;
    nct_cache_close(&l->cache);
    nct_arena_close(&l->arena);
    nct_linear_close(&l->more);
    nct_free(l->more_ids);
    nct_free(l->listed);
    nct_free(l);
}

uint64_t nct_draft_line_bytes(const void *state) {
    const nct_draft_line *l = state;
    return nct_cache_bytes(&l->cache) + l->arena.n_bytes + nct_panels_bytes(&l->more.panels);
}

/* ------------------------------------------------------------------ a pass */

/* Rows that run together. */
struct pass {
    nct_exec exec;
    nct_draft_line *line;
    size_t n;
    const int32_t *token;
    const float *target_row; /* NULL: guessed tokens, whose outputs to follow are in line->h */
    size_t stride;
    size_t slot;           /* of the first row in the cache; the others follow */
    size_t position, step; /* of the first row in the text, and from one row to the next */
    const uint64_t *mask;  /* guessed tokens: rows behind the pairs that each sees */
    float *out;            /* [n][hidden] */
    size_t width;          /* guesses asked for */
    bool whole;            /* not only keys and values */
    struct desk *desk;
};

static struct pass begin(nct_draft_line *l, const nct_exec *exec) {
    struct pass k = {.exec = *exec, .line = l};
    k.exec.scratch = &l->arena;
    k.exec.observer = NULL;
    return k;
}

/* Rotates and stores keys and values; readies queries. */
static void position_row(void *context, int task, int worker) {
    (void)worker;
    const struct pass *k = context;
    nct_draft_line *l = k->line;
    const nct_draft *d = l->draft;
    const nct_kernels *kernels = k->exec.kernels;
    size_t t = (size_t)task, w = d->head_dim;
    float *cos = l->cos + t * w / 2, *sin = l->sin + t * w / 2;
    float *key = l->k + t * d->n_kv_heads * w, *value = l->v + t * d->n_kv_heads * w;
    nct_rope_at(l->rope, k->position + t * k->step, cos, sin);
    kernels->rope(key, d->n_kv_heads, w, cos, sin);
    for (size_t kv = 0; kv < d->n_kv_heads; kv++)
        nct_cache_store(&l->cache, 0, kv, k->slot + t, key + kv * w, value + kv * w);
    if (!k->whole)
        return;
    float *q = l->q + t * d->n_heads * w, scale = 1.0f / sqrtf((float)w);
    kernels->rope(q, d->n_heads, w, cos, sin);
    for (size_t i = 0; i < d->n_heads * w; i++)
        q[i] *= scale;
    kernels->query(l->cache.k_type, q, d->n_heads, w, l->query + t * d->n_heads * nct_query_bytes(w));
}

/* Lanes of a step that lie in positions [from, to). */
static uint64_t lanes_between(size_t step, size_t from, size_t to) {
    size_t start = step * NCT_STEP, end = start + NCT_STEP;
    from = from < start ? start : from > end ? end : from;
    to = to < start ? start : to > end ? end : to;
    if (from >= to)
        return 0;
    uint64_t below = to - start == NCT_STEP ? UINT64_MAX : (UINT64_C(1) << (to - start)) - 1;
    return below & ~((UINT64_C(1) << (from - start)) - 1);
}

/* Lanes of a step that `mask`, of positions from `first` on, marks. */
static uint64_t lanes_marked(size_t step, size_t first, uint64_t mask) {
    size_t start = step * NCT_STEP;
    if (start >= first)
        return start - first < NCT_STEP ? mask >> (start - first) : 0;
    return first - start < NCT_STEP ? mask << (first - start) : 0;
}

/* Puts the steps that a row sees on the desk: pairs in its window, and of what lies behind them its own line of guesses. */
static size_t see(const struct pass *k, size_t kv_head, size_t row, struct desk *b) {
    const nct_draft_line *l = k->line;
    size_t position = k->position + row * k->step, window = l->draft->window, n = 0,
           from = position >= window ? position + 1 - window : 0;
    uint64_t mask = k->mask ? k->mask[row] : 0;
    from = from > l->first ? from : l->first;
    for (size_t s = from / NCT_STEP; s <= (l->n_pairs + NCT_TREE_MAX) / NCT_STEP; s++) {
        uint64_t lanes = lanes_between(s, from, l->n_pairs) | lanes_marked(s, l->n_pairs, mask);
        if (!lanes)
            continue;
        b->mask[n] = lanes;
        b->step[n++] = nct_cache_step(&l->cache, 0, kv_head, s);
    }
    return n;
}

/* One row's queries of one key-value head. */
static void attend_row(void *context, int task, int worker) {
    const struct pass *k = context;
    nct_draft_line *l = k->line;
    const nct_draft *d = l->draft;
    struct desk *b = &k->desk[worker];
    size_t row = (size_t)task / d->n_kv_heads, kv = (size_t)task % d->n_kv_heads,
           group = d->n_heads / d->n_kv_heads, w = d->head_dim, first = row * d->n_heads + kv * group,
           n = see(k, kv, row, b);
    float *m = b->total, *sum = m + group, *acc = sum + group;
    memset(b->total, 0, 2 * group * sizeof *b->total); /* nothing yet */
    k->exec.kernels->attend(&(nct_attend_job){.k_type = l->cache.k_type,
                                              .v_type = l->cache.v_type,
                                              .step = b->step,
                                              .mask = b->mask,
                                              .n_steps = n,
                                              .q = l->query + first * nct_query_bytes(w),
                                              .q_stride = d->n_heads * nct_query_bytes(w),
                                              .n_rows = 1,
                                              .n_heads = group,
                                              .d = w,
                                              .m = m,
                                              .l = sum,
                                              .acc = acc,
                                              .scratch = b->scratch});
    for (size_t h = 0; h < group; h++)
        for (size_t i = 0; i < w; i++)
            l->att[(first + h) * w + i] = acc[h * w + i] / sum[h];
}

static void attend(struct pass *k) {
    const nct_draft *d = k->line->draft;
    nct_arena *scratch = k->exec.scratch;
    size_t mark = nct_arena_mark(scratch), n_threads = (size_t)nct_pool_size(k->exec.pool);
    k->desk = nct_arena_take(scratch, n_threads, sizeof *k->desk);
    for (size_t i = 0; i < n_threads; i++)
        take_desk(d, &k->line->cache, scratch, &k->desk[i]);
    nct_pool_run(k->exec.pool, (int)(k->n * d->n_kv_heads), attend_row, k);
    nct_arena_release(scratch, mark);
}

/* Adds the attention branch and norms for the feed-forward one. */
static void middle_row(void *context, int task, int worker) {
    (void)worker;
    const struct pass *k = context;
    const nct_draft *d = k->line->draft;
    size_t at = (size_t)task * d->hidden;
    k->exec.kernels->add_scaled(k->line->x + at, k->line->h + at, d->residual_scale, d->hidden);
    k->exec.kernels->rms_norm(k->line->x + at, d->norm_post, d->eps, d->hidden, k->line->h + at);
}

static void swiglu_row(void *context, int task, int worker) {
    (void)worker;
    const struct pass *k = context;
    size_t n = k->line->draft->intermediate, at = (size_t)task * n;
    k->exec.kernels->swiglu(k->line->gate + at, k->line->up + at, n, k->line->gate + at);
}

/* Adds the feed-forward branch: the output, kept as it is and made ready for the head. */
static void last_row(void *context, int task, int worker) {
    (void)worker;
    const struct pass *k = context;
    const nct_draft *d = k->line->draft;
    size_t at = (size_t)task * d->hidden, bytes = d->hidden * sizeof(float);
    k->exec.kernels->add_scaled(k->line->x + at, k->line->h + at, d->residual_scale, d->hidden);
    memcpy(k->out + at, k->line->x + at, bytes);
    d->form->leave(d, k->exec.kernels, k->line->x + at);
}

/* Into the layer, as far as keys and values. */
static void run_lazy(struct pass *k) {
    nct_draft_line *l = k->line;
    const nct_draft *d = l->draft;
    size_t n_q = d->n_heads * d->head_dim, n_kv = d->n_kv_heads * d->head_dim;
    d->form->enter(&(nct_draft_entry){.exec = &k->exec,
                                      .draft = d,
                                      .n = k->n,
                                      .token = k->token,
                                      .target_row = k->target_row,
                                      .stride = k->stride,
                                      .own = l->h,
                                      .x = l->x,
                                      .c = l->c,
                                      .room = l->room});
    nct_linear_job kvq[] = {{&d->k, l->c, d->n_input, l->k, n_kv, NULL},
                            {&d->v, l->c, d->n_input, l->v, n_kv, NULL},
                            {&d->q, l->c, d->n_input, l->q, n_q, NULL}};
    nct_linear_run(&k->exec, kvq, k->whole ? 3 : 2, k->n);
    nct_pool_run(k->exec.pool, (int)k->n, position_row, k);
}

/* Through the whole layer and the head, to line->top. */
static void run_whole(struct pass *k) {
    nct_draft_line *l = k->line;
    const nct_draft *d = l->draft;
    size_t n_q = d->n_heads * d->head_dim, h = d->hidden, ffn = d->intermediate;
    int rows = (int)k->n;
    k->whole = true;
    run_lazy(k);
    attend(k);
    nct_linear_run(&k->exec, &(nct_linear_job){&d->o, l->att, n_q, l->h, h, NULL}, 1, k->n);
    nct_pool_run(k->exec.pool, rows, middle_row, k);
    nct_linear_job gate_up[] = {{&d->gate, l->h, h, l->gate, ffn, NULL}, {&d->up, l->h, h, l->up, ffn, NULL}};
    nct_linear_job down = {&d->down, l->gate, ffn, l->h, h, NULL};
    if (nct_linear_gates(&k->exec, &d->gate, &d->up, &d->down)) {
        nct_linear_run_gated(&k->exec, gate_up, &down, k->n);
    } else {
        nct_linear_run(&k->exec, gate_up, 2, k->n);
        nct_pool_run(k->exec.pool, rows, swiglu_row, k);
        nct_linear_run(&k->exec, &down, 1, k->n);
    }
    nct_pool_run(k->exec.pool, rows, last_row, k);
    nct_top_run(&k->exec, d->head, l->n_more ? &l->more : NULL, l->x, h, k->n, k->width, l->top);
}

/* ------------------------------------------------------------------ pairs */

/* Keys and values of pairs from `first` on. */
static void run_pairs(nct_draft_line *l, const nct_exec *exec, size_t first, size_t n, const int32_t *token,
                      const float *row, size_t stride) {
    for (size_t at = 0; at < n; at += LAZY) {
        struct pass k = begin(l, exec);
        k.n = n - at < LAZY ? n - at : LAZY;
        k.token = token + at;
        k.target_row = row + at * stride;
        k.stride = stride;
        k.slot = k.position = first + at;
        k.step = 1;
        run_lazy(&k);
    }
}

nct_status nct_draft_observe(void *state, const nct_exec *exec, const nct_pairs *pairs, nct_error *err) {
    nct_draft_line *l = state;
    const nct_draft *d = l->draft;
    size_t end = pairs->first + pairs->n;
    assert(pairs->first == l->n_pairs);
    if (pairs->n == 0)
        return NCT_OK;
    if (!pairs->row) {
        l->first = l->n_run = l->n_pairs = end;
        l->has_last = false;
        return NCT_OK;
    }
    NCT_TRY(nct_cache_reserve(&l->cache, end, err));
    /* The last pair waits: a proposal runs it anyway. */
    if (l->n_run < l->n_pairs)
        run_pairs(l, exec, l->n_run, 1, &l->last_token, l->last, d->n_row);
    const int32_t *token = pairs->token + pairs->first + 1;
    run_pairs(l, exec, pairs->first, pairs->n - 1, token, pairs->row, pairs->stride);
    memcpy(l->last, pairs->row + (pairs->n - 1) * pairs->stride, d->n_row * sizeof *l->last);
    l->last_token = token[pairs->n - 1];
    l->has_last = true;
    l->n_pairs = end;
    l->n_run = end - 1;
    return NCT_OK;
}

void nct_draft_rewind(void *state, size_t n_pairs) {
    nct_draft_line *l = state;
    if (n_pairs >= l->n_pairs)
        return;
    l->n_pairs = n_pairs;
    l->n_run = l->n_run < n_pairs ? l->n_run : n_pairs;
    l->first = l->first < n_pairs ? l->first : n_pairs;
    l->has_last = false;
}

/* ------------------------------------------------------------------ the prompt's own tokens */

static int by_id(const void *a, const void *b) {
    int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return (x > y) - (x < y);
}

/* The tokens that the list lacks, ascending, those that stood last if they are too many. */
static size_t find_unlisted(nct_draft_line *l, const int32_t *token, size_t n, int32_t *ids) {
    size_t n_ids = 0;
    for (size_t i = n; i-- > 0 && n_ids < NCT_DRAFT_PROMPT_ROWS;)
        if (!l->listed[token[i]]) {
            l->listed[token[i]] = true;
            ids[n_ids++] = token[i];
        }
    for (size_t i = 0; i < n_ids; i++)
        l->listed[ids[i]] = false;
    qsort(ids, n_ids, sizeof *ids, by_id);
    return n_ids;
}

nct_status nct_draft_begin(void *state, const nct_exec *exec, const int32_t *token, size_t n,
                           nct_error *err) {
    nct_draft_line *l = state;
    nct_linear more = {0};
    void *p = NULL;
    if (!l->listed)
        return NCT_OK;
    NCT_TRY(nct_alloc(&p, NCT_DRAFT_PROMPT_ROWS, sizeof *l->more_ids, err));
    int32_t *ids = p;
    size_t n_ids = find_unlisted(l, token, n, ids);
    nct_status status = NCT_OK;
    bool same = n_ids == l->n_more && (n_ids == 0 || memcmp(ids, l->more_ids, n_ids * sizeof *ids) == 0);
    if (!same && n_ids > 0)
        status = nct_linear_gather(l->draft->target->weights.head, ids, n_ids, exec->pool, &more, err);
    if (same || status != NCT_OK) {
        nct_free(ids);
        return status;
    }
    nct_linear_close(&l->more);
    nct_free(l->more_ids);
    l->more = more;
    l->more_ids = ids;
    l->n_more = n_ids;
    return NCT_OK;
}

/* ------------------------------------------------------------------ trees */

/* Guesses of n rows as tokens of the target, [n][width]. */
static void take_guesses(const nct_draft_line *l, size_t n, size_t width, int32_t *token, float *log_q) {
    const int32_t *ids = l->draft->ids;
    size_t n_rows = l->draft->head->panels.n_rows;
    for (size_t r = 0; r < n; r++)
        for (size_t c = 0; c < width; c++) {
            size_t output = (size_t)l->top[r].output[c];
            token[r * width + c] = output >= n_rows ? l->more_ids[output - n_rows]
                                   : ids            ? ids[output]
                                                    : (int32_t)output;
            log_q[r * width + c] = l->top[r].log_q[c];
        }
}

/* The whole layer for the last pair; what follows it begins the beam. */
static void run_last(nct_draft_line *l, const nct_exec *exec, const nct_ask *ask, size_t width) {
    int32_t token[NCT_BEAM_WIDTH];
    float log_q[NCT_BEAM_WIDTH];
    struct pass k = begin(l, exec);
    k.n = 1;
    k.token = &l->last_token;
    k.target_row = l->last;
    k.stride = l->draft->n_row;
    k.slot = k.position = l->n_pairs - 1;
    k.out = l->out;
    k.width = width;
    run_whole(&k);
    l->n_run = l->n_pairs;
    take_guesses(l, 1, width, token, log_q);
    if (ask->overrule)
        ask->overrule(ask->overruler, NULL, 1, width, token, log_q);
    nct_beam_begin(&l->beam, width, token, log_q);
}

/* The whole layer for the beam's tokens, each fed with the output it follows. */
static void run_beam(nct_draft_line *l, const nct_exec *exec, const nct_ask *ask) {
    int32_t token[NCT_BEAM_WIDTH * NCT_BEAM_WIDTH];
    float log_q[NCT_BEAM_WIDTH * NCT_BEAM_WIDTH];
    nct_beam *b = &l->beam;
    int32_t id[NCT_BEAM_WIDTH];
    size_t h = l->draft->hidden, width = b->width, row = (b->level - 1) * width,
           above = b->level > 1 ? 1 + row - width : 0;
    for (size_t r = 0; r < width; r++) {
        id[r] = nct_beam_token(b, r);
        memcpy(l->h + r * h, l->out + (above + b->source[r]) * h, h * sizeof *l->h);
    }
    struct pass k = begin(l, exec);
    k.n = k.width = width;
    k.token = id;
    k.slot = l->n_pairs + row;
    k.position = l->n_pairs + b->level - 1;
    k.mask = b->mask;
    k.out = l->out + (1 + row) * h;
    run_whole(&k);
    take_guesses(l, width, width, token, log_q);
    if (ask->overrule)
        ask->overrule(ask->overruler, b, width, width, token, log_q);
    nct_beam_expand(b, token, log_q);
}

static bool goes_on(const nct_beam *b, const nct_ask *ask) {
    return b->level < ask->depth_max && nct_beam_more(b) && nct_beam_can_matter(b, ask->n_max - 1) &&
           (!ask->deeper || ask->deeper(ask->context, b->level + 1, nct_beam_score(b, 0)));
}

nct_status nct_draft_propose(void *state, const nct_exec *exec, const nct_ask *ask, nct_tree *tree,
                             size_t *n_passes, nct_error *err) {
    nct_draft_line *l = state;
    size_t n_rows = l->draft->head->panels.n_rows, width = ask->width < n_rows ? ask->width : n_rows;
    *n_passes = 0;
    if (!l->has_last || ask->n_max < 2)
        return NCT_OK;
    assert(tree->token[0] == l->last_token);
    NCT_TRY(nct_cache_reserve(&l->cache, l->n_pairs + NCT_TREE_MAX, err));
    run_last(l, exec, ask, width);
    for (*n_passes = 1; goes_on(&l->beam, ask); ++*n_passes)
        run_beam(l, exec, ask);
    nct_beam_tree(&l->beam, tree->token[0], ask->n_max, tree);
    return NCT_OK;
}
