#include "engine/calibrate.h"

#include <assert.h>
#include <string.h>

/* A model of one layer, or of none, with room to run it. */
struct running {
    nct_model model;
    nct_exec exec;
    nct_observer observer;
    nct_attend_options attend; /* everything: sequences are short */
    nct_cache cache;
    nct_work work;
};

static void running_close(struct running *r) {
    nct_cache_close(&r->cache);
    nct_work_close(&r->work);
}

/* The layer is borrowed and may be NULL. */
static nct_status running_open(const nct_runner *runner, const nct_layer_weights *layer, size_t length,
                               struct running *r, nct_error *err) {
    *r = (struct running){.model = {.config = *runner->config, .rope = *runner->rope}};
    nct_config *c = &r->model.config;
    c->n_layers = layer != NULL;
    r->model.weights = (nct_weights){.embedding = *runner->embedding,
                                     .head = runner->head,
                                     .final_norm = (float *)(uintptr_t)runner->final_norm,
                                     .layer = (nct_layer_weights *)(uintptr_t)layer,
                                     .n_layers = c->n_layers};
    nct_status status = nct_cache_open(
        &(nct_cache_options){
            .n_layers = 1, .n_kv_heads = c->n_kv_heads, .head_dim = c->head_dim, .limit = length},
        &r->cache, err);
    if (status == NCT_OK)
        status = nct_cache_reserve(&r->cache, length, err);
    if (status == NCT_OK)
        status = nct_work_open(&r->model, &r->attend, &r->cache, length, nct_pool_size(runner->pool),
                               &r->work, err);
    r->exec = (nct_exec){.kernels = runner->kernels, .pool = runner->pool, .exact = true};
    if (status != NCT_OK)
        running_close(r);
    return status;
}

/* ------------------------------------------------------------------ sequences */

static nct_status open_sequences(size_t n_sequences, size_t length, const nct_runner *runner,
                                 nct_calibration *c, nct_error *err) {
    void *x = NULL;
    size_t n;
    if (!nct_mul_size(n_sequences, length, &n) || !nct_mul_size(n, runner->config->hidden, &n))
        return nct_fail(err, NCT_E_MEMORY, "%zu sequences of %zu tokens are too many", n_sequences, length);
    NCT_TRY(nct_alloc(&x, n, sizeof(float), err));
    *c = (nct_calibration){n_sequences, length, x};
    return NCT_OK;
}

/* Embeds sequence `index`: bos if there is one, then ids. */
static nct_status embed(nct_calibration *c, size_t index, const int32_t *ids, int32_t bos, struct running *r,
                        nct_error *err) {
    void *block = NULL;
    size_t front = bos >= 0, hidden = r->model.config.hidden;
    NCT_TRY(nct_alloc(&block, c->length, sizeof(int32_t), err));
    int32_t *sequence = block;
    if (front)
        sequence[0] = bos;
    memcpy(sequence + front, ids, (c->length - front) * sizeof *ids);
    nct_forward_begin(&r->exec, &r->model, &r->work, &(nct_rows){.batch = {.id = sequence, .n = c->length}}, 1);
    memcpy(c->x + index * c->length * hidden, r->work.x, c->length * hidden * sizeof(float));
    nct_free(block);
    return NCT_OK;
}

static nct_status open_spread(const int32_t *ids, size_t n_sequences, size_t length, size_t step, int32_t bos,
                              const nct_runner *runner, nct_calibration *calibration, nct_error *err) {
    struct running r;
    nct_calibration c = {0};
    NCT_TRY(running_open(runner, NULL, length, &r, err));
    nct_status status = open_sequences(n_sequences, length, runner, &c, err);
    for (size_t i = 0; i < n_sequences && status == NCT_OK; i++)
        status = embed(&c, i, ids + i * step, bos, &r, err);
    running_close(&r);
    if (status == NCT_OK)
        *calibration = c;
    else
        nct_calibration_close(&c);
    return status;
}

nct_status nct_calibration_open(const int32_t *ids, size_t n, size_t length, int32_t bos,
                                const nct_runner *runner, nct_calibration *calibration, nct_error *err) {
    size_t own = length - (bos >= 0);
    assert(length > 0 && own > 0 && n >= own);
    return open_spread(ids, n / own, length, own, bos, runner, calibration, err);
}

nct_status nct_calibration_open_text(const int32_t *ids, size_t n, size_t length, size_t most, int32_t bos,
                                     const nct_runner *runner, nct_calibration *calibration, nct_error *err) {
    size_t front = bos >= 0;
    length = length < n + front ? length : n + front;
    length = length < most ? length : most;
    size_t own = length - front, there = n / own, wanted = most / length,
           n_sequences = there < wanted ? there : wanted;
    return open_spread(ids, n_sequences, length, n_sequences > 1 ? (n - own) / (n_sequences - 1) : 0, bos,
                       runner, calibration, err);
}

void nct_calibration_close(nct_calibration *c) {
    nct_free(c->x);
    *c = (nct_calibration){0};
}

/* ------------------------------------------------------------------ layers */

/* Runs every sequence; the outputs go to `out` [n_sequences][length][hidden], or nowhere. */
static nct_status run(const nct_calibration *c, const nct_runner *runner, struct running *r, float *out,
                      nct_error *err) {
    size_t n = c->length * r->model.config.hidden;
    int32_t *none = NULL;
    void *block = NULL;
    NCT_TRY(nct_alloc(&block, c->length, sizeof *none, err));
    nct_rows part = {.cache = &r->cache, .attend = &r->attend, .batch = {.id = block, .n = c->length}};
    nct_forward_begin(&r->exec, &r->model, &r->work, &part, 1); /* for the rotations, which are those of all */
    r->exec.scratch = &r->work.arena;
    nct_status status = NCT_OK;
    for (size_t i = 0; i < c->n_sequences && status == NCT_OK; i++) {
        if (runner->stop && *runner->stop) {
            status = nct_fail(err, NCT_E_STOPPED, "stopped at sequence %zu of %zu", i, c->n_sequences);
            break;
        }
        memcpy(r->work.x, c->x + i * n, n * sizeof(float));
        r->observer.satisfied = false;
        nct_layer_run(&r->exec, &r->model, 0, &part, 1, &r->work);
        nct_layer_settle(&r->exec, &r->model, &r->work, c->length);
        if (out)
            memcpy(out + i * n, r->work.x, n * sizeof(float));
    }
    nct_free(block);
    return status;
}

nct_status nct_calibration_advance(nct_calibration *c, const nct_runner *runner,
                                   const nct_layer_weights *layer, nct_error *err) {
    struct running r;
    NCT_TRY(running_open(runner, layer, c->length, &r, err));
    nct_status status = run(c, runner, &r, c->x, err);
    running_close(&r);
    return status;
}

struct watching {
    const nct_runner *runner;
    nct_observer *observer;
    const nct_linear *watched;
    nct_hessian *hessian;
};

static void add_inputs(void *context, const nct_linear *linear, const float *x, size_t x_stride,
                       size_t n_rows) {
    const struct watching *k = context;
    if (linear != k->watched)
        return;
    k->observer->satisfied = true;
    if (n_rows > NCT_CALIBRATION_SKIP)
        nct_hessian_add(k->hessian, k->runner->kernels, k->runner->pool, x + NCT_CALIBRATION_SKIP * x_stride,
                        x_stride, n_rows - NCT_CALIBRATION_SKIP);
}

nct_status nct_calibration_watch(const nct_calibration *c, const nct_runner *runner,
                                 const nct_layer_weights *layer, const nct_linear *watched,
                                 nct_hessian *hessian, nct_error *err) {
    struct running r;
    struct watching watching = {runner, &r.observer, watched, hessian};
    NCT_TRY(running_open(runner, layer, c->length, &r, err));
    r.observer = (nct_observer){.saw = add_inputs, .context = &watching};
    r.exec.observer = &r.observer;
    nct_status status = run(c, runner, &r, NULL, err);
    running_close(&r);
    return status;
}

nct_status nct_calibration_logits(nct_calibration *c, const nct_runner *runner, float *logits,
                                  nct_error *err) {
    struct running r;
    size_t n = c->length * runner->config->hidden;
    NCT_TRY(running_open(runner, NULL, c->length, &r, err));
    memcpy(r.work.x, c->x, n * sizeof(float));
    nct_forward_end(&r.exec, &r.model, &r.work, c->length);
    nct_forward_logits(&r.exec, &r.model, &r.work, c->length - 1, 1, logits);
    running_close(&r);
    return NCT_OK;
}
