#include "model/layer.h"

#include <math.h>
#include <string.h>

#include "attn/pooled.h"

struct running {
    const nct_exec *exec;
    const nct_model *model;
    const nct_layer_weights *weights;
    nct_work *work;
    const nct_rows *part;
    size_t layer;
};

static void norm_row(const struct running *k, const float *weight, size_t t) {
    size_t hidden = k->model->config.hidden;
    k->exec->kernels->rms_norm(k->work->x + t * hidden, weight, k->model->config.rms_eps, hidden, k->work->h + t * hidden);
}

static void attn_norm_row(void *context, int task, int worker) {
    (void)worker;
    const struct running *k = context;
    norm_row(k, k->weights->attn_norm, (size_t)task);
}

/* Rotates queries and keys, divides queries by sqrt(d) and readies them, stores keys and values. */
static void position_row(void *context, int task, int worker) {
    (void)worker;
    const struct running *k = context;
    const nct_config *c = &k->model->config;
    size_t t = (size_t)task, row = t, d = c->head_dim, half = d / 2;
    const nct_rows *part = nct_rows_part(k->part, &row);
    const float *cos = k->work->cos + t * half, *sin = k->work->sin + t * half;
    float *q = k->work->q + t * c->n_heads * d, *key = k->work->k + t * c->n_kv_heads * d;
    const float *value = k->work->v + t * c->n_kv_heads * d;
    k->exec->kernels->rope(q, c->n_heads, d, cos, sin);
    k->exec->kernels->rope(key, c->n_kv_heads, d, cos, sin);
    float scale = 1.0f / sqrtf((float)d);
    for (size_t i = 0; i < c->n_heads * d; i++)
        q[i] *= scale;
    nct_kv_type keys = part->cache->k_type;
    uint8_t *query = k->work->query + t * nct_query_forms(keys) * c->n_heads * nct_query_bytes(d);
    k->exec->kernels->query(keys, q, c->n_heads, d, query);
    if (nct_query_forms(keys) == 2 && part->attend->sparse.enabled)
        k->exec->kernels->query(nct_pooled_type(keys), q, c->n_heads, d, query + c->n_heads * nct_query_bytes(d));
    if (part->batch.parent) {
        memcpy(nct_branches_key(&k->work->branches, k->layer, row), key, c->n_kv_heads * d * sizeof *key);
        memcpy(nct_branches_value(&k->work->branches, k->layer, row), value, c->n_kv_heads * d * sizeof *value);
        return;
    }
    for (size_t kv = 0; kv < c->n_kv_heads; kv++)
        nct_cache_store(part->cache, k->layer, kv, part->batch.first + row, key + kv * d, value + kv * d);
}

/* x += branch * residual scale */
static void add_row(void *context, int task, int worker) {
    (void)worker;
    const struct running *k = context;
    size_t t = (size_t)task, hidden = k->model->config.hidden;
    k->exec->kernels->add_scaled(k->work->x + t * hidden, k->work->h + t * hidden, k->model->config.residual_scale, hidden);
}

/* Adds the attention branch and norms for the feed-forward one. */
static void ffn_norm_row(void *context, int task, int worker) {
    const struct running *k = context;
    add_row(context, task, worker);
    norm_row(k, k->weights->ffn_norm, (size_t)task);
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

void nct_layer_run(const nct_exec *exec, const nct_model *model, size_t layer, const nct_rows *part, size_t n_parts,
                   nct_work *work) {
    const nct_config *c = &model->config;
    const nct_layer_weights *w = &model->weights.layer[layer];
    struct running k = {exec, model, w, work, part, layer};
    size_t n = nct_rows_count(part, n_parts), n_q = c->n_heads * c->head_dim, n_kv = c->n_kv_heads * c->head_dim;
    int rows = (int)n;

    /* 1. attention branch */
    nct_pool_run(exec->pool, rows, attn_norm_row, &k);
    nct_linear_job qkv[] = {{&w->q, work->h, c->hidden, work->q, n_q},
                            {&w->k, work->h, c->hidden, work->k, n_kv},
                            {&w->v, work->h, c->hidden, work->v, n_kv}};
    nct_linear_run(exec, qkv, 3, n);
    if (nct_exec_satisfied(exec))
        return;
    nct_pool_run(exec->pool, rows, position_row, &k);
    attend_parts(exec, c, layer, part, n_parts, work);
    nct_linear_run(exec, &(nct_linear_job){&w->o, work->att, n_q, work->h, c->hidden}, 1, n);
    if (nct_exec_satisfied(exec))
        return;

    /* 2. feed-forward branch */
    nct_pool_run(exec->pool, rows, ffn_norm_row, &k);
    nct_linear_job gate_up[] = {{&w->gate, work->h, c->hidden, work->gate, c->intermediate},
                                {&w->up, work->h, c->hidden, work->up, c->intermediate}};
    nct_linear_job down = {&w->down, work->gate, c->intermediate, work->h, c->hidden};
    if (nct_linear_gates(exec, &w->gate, &w->up, &w->down)) {
        nct_linear_run_gated(exec, gate_up, &down, n);
    } else {
        nct_linear_run(exec, gate_up, 2, n);
        if (nct_exec_satisfied(exec))
            return;
        nct_pool_run(exec->pool, rows, swiglu_row, &k);
        nct_linear_run(exec, &down, 1, n);
    }
    if (nct_exec_satisfied(exec))
        return;
    nct_pool_run(exec->pool, rows, add_row, &k);
}
