#include "model/layer.h"

#include <math.h>
#include <string.h>

#include "attn/pooled.h"
#include "quant/linear.h"

struct running {
    const nct_exec *exec;
    const nct_model *model;
    const nct_layer_weights *weights;
    nct_work *work;
    const nct_rows *part;
    size_t layer;
    bool owed; /* h is still to be added to x */
    size_t n_rows;
    bool keys_only; /* there are no queries */
};

/* x += branch * residual scale */
static void add_row(const struct running *k, size_t t) {
    size_t hidden = k->model->config.hidden;
    k->exec->kernels->add_scaled(k->work->x + t * hidden, k->work->h + t * hidden, k->model->config.residual_scale, hidden);
}

/* The branch that is owed goes to x, then x's norm to where a product wants it: to h, which was read before, or to the
 * worker's own row. */
static const float *norm_row(const struct running *k, const float *weight, size_t t, int worker) {
    size_t hidden = k->model->config.hidden;
    float *to = worker < 0 ? k->work->h + t * hidden : k->work->own + (size_t)worker * k->work->own_stride;
    if (t + 1 < k->n_rows) {
        nct_row_fetch(k->work->x + (t + 1) * hidden, hidden);
        nct_row_fetch(k->work->h + (t + 1) * hidden, k->owed ? hidden : 0);
    }
    if (k->owed)
        add_row(k, t);
    k->exec->kernels->rms_norm(k->work->x + t * hidden, weight, k->model->config.rms_eps, hidden, to);
    return to;
}

static const float *attn_norm_row(void *context, size_t t, int worker) {
    const struct running *k = context;
    return norm_row(k, k->weights->attn_norm, t, worker);
}

static const float *ffn_norm_row(void *context, size_t t, int worker) {
    const struct running *k = context;
    return norm_row(k, k->weights->ffn_norm, t, worker);
}

/* Rotates queries, divides them by sqrt(d) and readies them. */
static void ready_queries(const struct running *k, size_t t, const nct_rows *part, int worker) {
    const nct_config *c = &k->model->config;
    size_t d = c->head_dim, half = d / 2;
    float *q = k->work->own + (size_t)worker * k->work->own_stride;
    if (t + 1 < k->n_rows)
        nct_row_fetch(k->work->q + (t + 1) * c->n_heads * d, c->n_heads * d);
    memcpy(q, k->work->q + t * c->n_heads * d, c->n_heads * d * sizeof *q); /* what is only passed on stays at hand */
    k->exec->kernels->rope(q, c->n_heads, d, k->work->cos + t * half, k->work->sin + t * half);
    float scale = 1.0f / sqrtf((float)d);
    for (size_t i = 0; i < c->n_heads * d; i++)
        q[i] *= scale;
    nct_kv_type keys = part->cache->k_type;
    uint8_t *query = k->work->query + t * nct_query_forms(keys) * c->n_heads * nct_query_bytes(d);
    k->exec->kernels->query(keys, q, c->n_heads, d, query);
    if (nct_query_forms(keys) == 2 && part->attend->sparse.enabled)
        k->exec->kernels->query(nct_pooled_type(keys), q, c->n_heads, d, query + c->n_heads * nct_query_bytes(d));
}

/* Readies queries, rotates keys, stores keys and values. */
static void position_row(const struct running *k, size_t t, int worker) {
    const nct_config *c = &k->model->config;
    size_t row = t, d = c->head_dim, half = d / 2;
    const nct_rows *part = nct_rows_part(k->part, &row);
    float *key = k->work->k + t * c->n_kv_heads * d;
    const float *value = k->work->v + t * c->n_kv_heads * d;
    if (t + 1 < k->n_rows) {
        nct_row_fetch(key + c->n_kv_heads * d, c->n_kv_heads * d);
        nct_row_fetch(value + c->n_kv_heads * d, c->n_kv_heads * d);
    }
    if (!k->keys_only)
        ready_queries(k, t, part, worker);
    k->exec->kernels->rope(key, c->n_kv_heads, d, k->work->cos + t * half, k->work->sin + t * half);
    if (part->batch.parent) {
        memcpy(nct_branches_key(&k->work->branches, k->layer, row), key, c->n_kv_heads * d * sizeof *key);
        memcpy(nct_branches_value(&k->work->branches, k->layer, row), value, c->n_kv_heads * d * sizeof *value);
        return;
    }
    for (size_t kv = 0; kv < c->n_kv_heads; kv++)
        nct_cache_store(part->cache, k->layer, kv, part->batch.first + row, key + kv * d, value + kv * d);
}

static void position_rows(void *context, int task, int worker) {
    const struct running *k = context;
    size_t first, end;
    nct_row_block(k->n_rows, (size_t)task, &first, &end);
    for (size_t t = first; t < end; t++)
        position_row(k, t, worker);
}

static void swiglu_row(void *context, int task, int worker) {
    (void)worker;
    const struct running *k = context;
    size_t n = k->model->config.intermediate, at = (size_t)task * n;
    k->exec->kernels->swiglu(k->work->gate + at, k->work->up + at, n, k->work->gate + at);
}

/* Each part's rows over its own cache. */
static void attend_parts(const nct_exec *exec, const nct_config *c, size_t layer, const nct_rows *part, size_t n_parts,
                         nct_work *work) {
    nct_attend_part parts[NCT_ATTEND_PARTS];
    size_t row = 0, width = c->n_heads * c->head_dim;
    for (size_t i = 0; i < n_parts; row += part[i++].batch.n) {
        const nct_rows *p = &part[i];
        if (p->batch.parent)
            nct_branches_lay(exec, &work->branches, p->cache, layer, &p->batch);
        else if (p->attend->sparse.enabled)
            nct_pooled_update(exec, p->cache, layer, &p->batch);
        parts[i] = (nct_attend_part){.options = p->attend,
                                     .cache = p->cache,
                                     .batch = &p->batch,
                                     .q = work->query + row * nct_query_forms(p->cache->k_type) * c->n_heads *
                                                            nct_query_bytes(c->head_dim),
                                     .out = work->att + row * width};
    }
    if (n_parts > 1)
        nct_attend_parts(exec, parts, n_parts, layer, c->n_heads);
    else
        nct_attend(exec, part->attend, part->cache, part->batch.parent ? &work->branches : NULL, layer, &part->batch,
                   c->n_heads, parts->q, parts->out);
}

/* Queries, unless there are none, keys and values of all rows. */
static void project(struct running *k) {
    const nct_config *c = &k->model->config;
    const nct_layer_weights *w = k->weights;
    nct_work *work = k->work;
    size_t n_q = c->n_heads * c->head_dim, n_kv = c->n_kv_heads * c->head_dim, first = k->keys_only;
    const nct_linear_source attn_norm = {attn_norm_row, k};
    nct_linear_job qkv[] = {{&w->q, work->h, c->hidden, work->q, n_q, &attn_norm},
                            {&w->k, work->h, c->hidden, work->k, n_kv, &attn_norm},
                            {&w->v, work->h, c->hidden, work->v, n_kv, &attn_norm}};
    nct_linear_run(k->exec, qkv + first, 3 - first, k->n_rows);
}

void nct_layer_run(const nct_exec *exec, const nct_model *model, size_t layer, const nct_rows *part, size_t n_parts,
                   nct_work *work) {
    const nct_config *c = &model->config;
    const nct_layer_weights *w = &model->weights.layer[layer];
    size_t n = nct_rows_count(part, n_parts);
    struct running k = {exec, model, w, work, part, layer, work->owed, n, false};
    const nct_linear_source ffn_norm = {ffn_norm_row, &k};
    size_t n_q = c->n_heads * c->head_dim;

    /* 1. attention branch */
    project(&k);
    work->owed = false;
    if (nct_exec_satisfied(exec))
        return;
    nct_pool_run(exec->pool, (int)nct_row_blocks(n), position_rows, &k);
    attend_parts(exec, c, layer, part, n_parts, work);
    nct_linear_run(exec, &(nct_linear_job){&w->o, work->att, n_q, work->h, c->hidden, NULL}, 1, n);
    if (nct_exec_satisfied(exec))
        return;

    /* 2. feed-forward branch */
    k.owed = true;
    nct_linear_job gate_up[] = {{&w->gate, work->h, c->hidden, work->gate, c->intermediate, &ffn_norm},
                                {&w->up, work->h, c->hidden, work->up, c->intermediate, &ffn_norm}};
    nct_linear_job down = {&w->down, work->gate, c->intermediate, work->h, c->hidden, NULL};
    if (nct_linear_gates(exec, &w->gate, &w->up, &w->down)) {
        nct_linear_run_gated(exec, gate_up, &down, n);
    } else {
        nct_linear_run(exec, gate_up, 2, n);
        if (nct_exec_satisfied(exec))
            return;
        nct_pool_run(exec->pool, (int)n, swiglu_row, &k);
        nct_linear_run(exec, &down, 1, n);
    }
    work->owed = !nct_exec_satisfied(exec);
}

/* Keys and values of a chain's rows, and nothing else. */
static void run_keys(const nct_exec *exec, const nct_model *model, size_t layer, const nct_rows *part, nct_work *work) {
    const nct_layer_weights *w = &model->weights.layer[layer];
    struct running k = {exec, model, w, work, part, layer, work->owed, part->batch.n, true};
    project(&k);
    nct_pool_run(exec->pool, (int)nct_row_blocks(part->batch.n), position_rows, &k);
    if (part->attend->sparse.enabled)
        nct_pooled_update(exec, part->cache, layer, &part->batch);
}

nct_work nct_work_from(const nct_work *work, const nct_config *c, const nct_cache *cache, size_t row) {
    nct_work from = *work;
    size_t n_q = c->n_heads * c->head_dim, n_kv = c->n_kv_heads * c->head_dim, half = c->head_dim / 2;
    from.rows -= row;
    from.x += row * c->hidden, from.h += row * c->hidden;
    from.q += row * n_q, from.att += row * n_q, from.k += row * n_kv, from.v += row * n_kv;
    from.query += row * nct_query_forms(cache->k_type) * c->n_heads * nct_query_bytes(c->head_dim);
    from.gate += row * c->intermediate, from.up += row * c->intermediate;
    from.cos += row * half, from.sin += row * half;
    from.taps += work->taps ? row * NCT_TAPS * c->hidden : 0;
    return from;
}

void nct_layer_run_last(const nct_exec *exec, const nct_model *model, size_t layer, const nct_rows *part, size_t n_unread,
                        nct_work *work) {
    nct_rows unread = *part, rest = *part;
    unread.batch.n = n_unread;
    rest.batch.n -= n_unread, rest.batch.first += n_unread;
    if (n_unread)
        run_keys(exec, model, layer, &unread, work);
    nct_work from = nct_work_from(work, &model->config, part->cache, n_unread);
    if (rest.batch.n)
        nct_layer_run(exec, model, layer, &rest, 1, &from);
    work->owed = rest.batch.n && from.owed;
}

static void settle_row(void *context, int task, int worker) {
    (void)worker;
    add_row(context, (size_t)task);
}

void nct_layer_settle(const nct_exec *exec, const nct_model *model, nct_work *work, size_t n) {
    struct running k = {.exec = exec, .model = model, .work = work};
    if (work->owed)
        nct_pool_run(exec->pool, (int)n, settle_row, &k);
    work->owed = false;
}
