#include "model/forward.h"

#include <assert.h>
#include <string.h>

#include "model/layer.h"

/* Scratch of the hungriest call of a pass. */
static size_t scratch_bytes(const nct_model *model, const nct_attend_options *options, const nct_cache *cache, size_t rows,
                            int n_threads) {
    const nct_config *c = &model->config;
    size_t most = nct_attend_scratch_bytes(options, cache, rows, c->n_heads, n_threads);
    for (size_t i = 0; i < c->n_layers; i++) {
        const nct_layer_weights *l = &model->weights.layer[i];
        const nct_linear *calls[][NCT_LINEAR_JOBS] = {{&l->q, &l->k, &l->v}, {&l->o}, {&l->gate, &l->up}, {&l->down}};
        for (size_t j = 0; j < sizeof calls / sizeof *calls; j++) {
            size_t bytes = 0;
            for (size_t m = 0; m < NCT_LINEAR_JOBS && calls[j][m]; m++)
                bytes += nct_linear_scratch_bytes(calls[j][m], rows);
            most = bytes > most ? bytes : most;
        }
        size_t gated = nct_linear_gated_scratch_bytes(&l->gate, &l->up, &l->down, rows, n_threads);
        most = gated > most ? gated : most;
    }
    size_t head = nct_linear_scratch_bytes(model->weights.head, rows);
    return head > most ? head : most;
}

nct_status nct_work_open(const nct_model *model, const nct_attend_options *options, const nct_cache *cache, size_t rows,
                         int n_threads, nct_work *work, nct_error *err) {
    const nct_config *c = &model->config;
    struct part {
        float **buffer;
        size_t width;
    };
    size_t n_q = c->n_heads * c->head_dim, widest = c->hidden > n_q ? c->hidden : n_q;
    nct_work w = {.rows = rows, .own_stride = nct_arena_cost(widest + 1, sizeof(float)) / sizeof(float)};
    struct part parts[] = {{&w.x, c->hidden},
                           {&w.h, c->hidden},
                           {&w.q, c->n_heads * c->head_dim},
                           {&w.att, c->n_heads * c->head_dim},
                           {&w.k, c->n_kv_heads * c->head_dim},
                           {&w.v, c->n_kv_heads * c->head_dim},
                           {&w.gate, c->intermediate},
                           {&w.up, c->intermediate},
                           {&w.cos, c->head_dim / 2},
                           {&w.sin, c->head_dim / 2}};
    size_t bytes = scratch_bytes(model, options, cache, rows, n_threads) +
                   nct_arena_cost(rows * nct_query_forms(cache->k_type) * c->n_heads,
                                  nct_query_bytes(c->head_dim)) +
                   nct_arena_cost((size_t)n_threads * w.own_stride, sizeof(float));
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        bytes += nct_arena_cost(rows * parts[i].width, sizeof(float));
    NCT_TRY(nct_arena_open(&w.arena, bytes, err));
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        *parts[i].buffer = nct_arena_take(&w.arena, rows * parts[i].width, sizeof(float));
    w.own = nct_arena_take(&w.arena, (size_t)n_threads * w.own_stride, sizeof(float));
    w.query = nct_arena_take(&w.arena, rows * nct_query_forms(cache->k_type) * c->n_heads,
                             nct_query_bytes(c->head_dim));
    *work = w;
    return NCT_OK;
}

void nct_work_close(nct_work *work) {
    nct_branches_close(&work->branches);
    nct_arena_close(&work->arena);
    *work = (nct_work){0};
}

struct passing {
    const nct_exec *exec;
    const nct_model *model;
    nct_work *work;
    const nct_rows *part;
};

static void embed_row(void *context, int task, int worker) {
    (void)worker;
    const struct passing *k = context;
    const nct_config *c = &k->model->config;
    size_t t = (size_t)task, row = t;
    const nct_rows *part = nct_rows_part(k->part, &row);
    float *x = k->work->x + t * c->hidden;
    nct_linear_row(&k->model->weights.embedding, (size_t)part->batch.id[row], x, k->work->h + t * c->hidden);
    for (size_t i = 0; i < c->hidden; i++)
        x[i] *= c->scale_emb;
    nct_rope_at(part->rope ? part->rope : &k->model->rope, nct_batch_position(&part->batch, row),
                k->work->cos + t * c->head_dim / 2, k->work->sin + t * c->head_dim / 2);
}

static void final_row(void *context, int task, int worker) {
    (void)worker;
    const struct passing *k = context;
    const nct_config *c = &k->model->config;
    float *x = k->work->x + (size_t)task * c->hidden;
    k->exec->kernels->rms_norm(x, k->model->weights.final_norm, c->rms_eps, c->hidden, x);
    for (size_t i = 0; i < c->hidden; i++)
        x[i] /= c->logit_divisor;
}

void nct_forward_begin(const nct_exec *exec, const nct_model *model, nct_work *work, const nct_rows *part, size_t n_parts) {
    struct passing k = {exec, model, work, part};
    work->owed = false;
    nct_pool_run(exec->pool, (int)nct_rows_count(part, n_parts), embed_row, &k);
}

void nct_forward_end(const nct_exec *exec, const nct_model *model, nct_work *work, size_t n) {
    struct passing k = {exec, model, work, NULL};
    nct_layer_settle(exec, model, work, n);
    nct_pool_run(exec->pool, (int)n, final_row, &k);
}

/* Copies the residual stream where a draft wants to see it, before layer i (speculative-decoding.md 3.3). */
static void tap(const nct_model *model, nct_work *work, size_t n_rows, size_t i) {
    size_t hidden = model->config.hidden, n = model->config.n_layers;
    const size_t at[NCT_TAPS] = {2, n / 2, n - 3};
    assert(n >= NCT_TAPS_LAYERS);
    for (size_t t = 0; t < NCT_TAPS; t++)
        for (size_t row = 0; row < n_rows && at[t] == i; row++)
            memcpy(work->taps + (row * NCT_TAPS + t) * hidden, work->x + row * hidden, hidden * sizeof *work->x);
}

/* Rows whose last layer is not needed. Who is told of choices is told of all. */
static size_t count_unread(const nct_rows *part, size_t n_parts, const nct_between *b) {
    bool all = n_parts != 1 || part->batch.parent || part->attend->seen;
    assert(n_parts != 1 || b->n_unread <= part->batch.n);
    return all ? 0 : b->n_unread;
}

nct_status nct_forward_parts(const nct_exec *exec, const nct_model *model, const nct_rows *part, size_t n_parts,
                             nct_work *work, const nct_between *between, nct_error *err) {
    nct_between b = between ? *between : (nct_between){0};
    size_t n_unread = count_unread(part, n_parts, &b), last = model->config.n_layers - 1;
    nct_exec with_scratch = *exec;
    with_scratch.scratch = &work->arena;
    size_t n_rows = nct_rows_count(part, n_parts);
    assert(n_rows <= work->rows && n_parts <= NCT_ATTEND_PARTS);
    for (size_t i = 0; i < n_parts; i++)
        assert(part[i].batch.n && part[i].batch.first == part[i].cache->length && (n_parts == 1 || !part[i].batch.parent));
    nct_forward_begin(exec, model, work, part, n_parts);
    for (size_t i = 0; i < model->config.n_layers; i++) {
        if (b.stop && *b.stop)
            return nct_fail(err, NCT_E_STOPPED, "stopped at layer %zu of %zu", i, model->config.n_layers);
        if (work->taps) {
            nct_layer_settle(&with_scratch, model, work, n_rows);
            tap(model, work, n_rows, i);
        }
        if (i == last && n_unread)
            nct_layer_run_last(&with_scratch, model, i, part, n_unread, work);
        else
            nct_layer_run(&with_scratch, model, i, part, n_parts, work);
        if (b.done)
            b.done(b.context, i + 1);
    }
    nct_work read = nct_work_from(work, &model->config, part->cache, n_unread);
    nct_forward_end(exec, model, &read, n_rows - n_unread);
    work->owed = false;
    for (size_t i = 0; i < n_parts; i++)
        if (!part[i].batch.parent)
            part[i].cache->length = part[i].batch.first + part[i].batch.n;
    return NCT_OK;
}

nct_status nct_forward(const nct_exec *exec, const nct_model *model, const nct_attend_options *options, nct_cache *cache,
                       nct_work *work, const nct_batch *batch, const nct_between *between, nct_error *err) {
    if (batch->parent)
        nct_branches_take(&work->branches, batch);
    nct_rows part = {.cache = cache, .attend = options, .rope = work->rope, .batch = *batch};
    return nct_forward_parts(exec, model, &part, 1, work, between, err);
}

void nct_forward_logits(const nct_exec *exec, const nct_model *model, nct_work *work, size_t row, size_t n,
                        float *logits) {
    const nct_config *c = &model->config;
    nct_exec with_scratch = *exec;
    with_scratch.scratch = &work->arena;
    nct_linear_run(&with_scratch, &(nct_linear_job){model->weights.head, work->x + row * c->hidden, c->hidden, logits, c->n_vocab, NULL},
                   1, n);
}
