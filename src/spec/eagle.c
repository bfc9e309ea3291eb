#include "spec/eagle.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/map.h"
#include "spec/frspec.h"

/* ------------------------------------------------------------------ rows */

static void concat_row(void *context, int task, int worker) {
    (void)worker;
    const nct_draft_entry *e = context;
    const nct_draft *d = e->draft;
    const nct_kernels *kernels = e->exec->kernels;
    size_t t = (size_t)task, n = d->hidden;
    float *room = e->room + t * 2 * n, *cat = e->c + t * 2 * n;
    nct_draft_embed(d, e->token[t], room, room + n);
    kernels->rms_norm(room, d->norm_embedding, d->eps, n, cat);
    const float *h = e->own + t * n;
    if (e->target_row) { /* as it was before it was divided for the target's head */
        for (size_t i = 0; i < n; i++)
            room[i] = e->target_row[t * e->stride + i] * d->target->config.logit_divisor;
        h = room;
    }
    kernels->rms_norm(h, d->norm_hidden, d->eps, n, cat + n);
}

static void norm_row(void *context, int task, int worker) {
    (void)worker;
    const nct_draft_entry *e = context;
    const nct_draft *d = e->draft;
    size_t n = d->hidden;
    float *x = e->x + (size_t)task * n;
    for (size_t i = 0; d->fc_bias && i < n; i++)
        x[i] += d->fc_bias[i];
    e->exec->kernels->rms_norm(x, d->norm_input, d->eps, n, e->c + (size_t)task * n);
}

static void enter(const nct_draft_entry *e) {
    size_t n = e->draft->hidden;
    nct_draft_entry entry = *e;
    nct_pool_run(e->exec->pool, (int)e->n, concat_row, &entry);
    nct_linear_run(e->exec, &(nct_linear_job){&e->draft->fc, e->c, 2 * n, e->x, n, NULL}, 1, e->n);
    nct_pool_run(e->exec->pool, (int)e->n, norm_row, &entry);
}

static void leave(const nct_draft *d, const nct_kernels *kernels, float *y) {
    (void)kernels;
    for (size_t i = 0; i < d->hidden; i++)
        y[i] *= d->logit_scale;
}

/* ------------------------------------------------------------------ loading */

double nct_eagle_residual_scale(const nct_draft_config *stated, const nct_config *target, bool one_more) {
    double layers = (double)target->n_layers, depth = (double)target->residual_scale * sqrt(layers);
    if (isfinite(stated->scale_depth))
        depth = stated->scale_depth;
    if (one_more)
        return depth / sqrt(layers + 1);
    return depth / sqrt(isfinite(stated->mup_denominator) ? stated->mup_denominator : layers);
}

static nct_status check_scale(const char *path, const char *name, double stated, double target,
                              nct_error *err) {
    if (!isfinite(stated) || fabs(stated - target) <= 1e-4 * fabs(target))
        return NCT_OK;
    return nct_fail(err, NCT_E_UNSUPPORTED, "%s: the draft head states a %s of %g, but its target has %g",
                    path, name, stated, target);
}

static nct_status check_scales(const nct_draft *d, const nct_draft_file *file, nct_error *err) {
    const nct_draft_config *c = nct_draft_file_config(file);
    const nct_config *t = &d->target->config;
    const char *path = nct_draft_file_path(file);
    NCT_TRY(check_scale(path, "scale_emb", c->scale_emb, t->scale_emb, err));
    NCT_TRY(
        check_scale(path, "scale_depth", c->scale_depth, t->residual_scale * sqrt((double)t->n_layers), err));
    return check_scale(path, "dim_model_base", c->dim_model_base, (double)t->hidden / t->logit_divisor, err);
}

/* The list that lies beside the head: the longest prefix of a list at hand that engines use. */
static bool find_list(const char *directory, char *path, size_t n_path) {
    static const char *const names[] = {"freq_32768.pt", "freq_65536.pt", "freq_16384.pt", "freq_8192.pt"};
    for (size_t i = 0; directory && i < sizeof names / sizeof *names; i++)
        if (nct_path_join(path, n_path, directory, names[i]) && nct_is_file(path))
            return true;
    return false;
}

/* The rows of the target's head that the list asks for. */
static nct_status open_head(nct_draft *d, const nct_draft_file *file, const nct_exec *exec,
                            const nct_draft_options *options, nct_error *err) {
    char beside[4096];
    const char *list = options->list;
    if (!list && find_list(nct_draft_file_directory(file), beside, sizeof beside))
        list = beside;
    d->head = d->target->weights.head;
    if (!list)
        return NCT_OK;
    size_t n = 0;
    NCT_TRY(nct_frspec_open(list, d->target->config.n_vocab, &d->ids, &n, err));
    if (options->n_list && options->n_list < n)
        n = options->n_list;
    NCT_TRY(nct_linear_gather(d->head, d->ids, n, exec->pool, &d->own_head, err));
    d->head = &d->own_head;
    return NCT_OK;
}

static nct_status open_bias(nct_draft *d, nct_draft_file *file, nct_error *err) {
    nct_stored stored;
    bool found;
    void *bias = NULL;
    NCT_TRY(nct_draft_file_bias(file, d->hidden, &stored, &found, err));
    if (!found)
        return NCT_OK;
    NCT_TRY(nct_alloc(&bias, d->hidden, sizeof(float), err));
    stored.codec->rows(&stored, 0, 1, bias, NULL, NULL, NULL);
    d->fc_bias = bias;
    return NCT_OK;
}

static nct_status load(nct_draft *d, nct_draft_file *file, const nct_exec *exec,
                       const nct_draft_options *options, nct_error *err) {
    NCT_TRY(check_scales(d, file, err));
    d->residual_scale =
        (float)nct_eagle_residual_scale(nct_draft_file_config(file), &d->target->config, false);
    d->embedding_scale = d->target->config.scale_emb;
    d->logit_scale = 1 / d->target->config.logit_divisor;
    NCT_TRY(open_bias(d, file, err));
    NCT_TRY(nct_draft_norm(file, NCT_DRAFT_NORM_EMBEDDING, d->hidden, &d->norm_embedding, err));
    NCT_TRY(nct_draft_norm(file, NCT_DRAFT_NORM_HIDDEN, d->hidden, &d->norm_hidden, err));
    NCT_TRY(nct_draft_norm(file, NCT_DRAFT_NORM_INPUT, d->hidden, &d->norm_input, err));
    return open_head(d, file, exec, options, err);
}

const nct_draft_form nct_draft_eagle = {NCT_DRAFT_EAGLE, "EAGLE", 1, 1, enter, leave, load};

/* ------------------------------------------------------------------ the drafter */

static nct_status load_eagle(const char *path, const nct_model *target, const nct_exec *exec,
                             const nct_draft_options *options, void **weights, nct_error *err) {
    return nct_draft_load(&nct_draft_eagle, path, target, exec, options, weights, err);
}

const nct_drafter nct_drafter_eagle = {
    .name = "eagle",
    .brief = "a draft head of EAGLE's kind, as published for MiniCPM4",
    .row = NCT_ROW_HIDDEN,
    .load = load_eagle,
    .unload = nct_draft_unload,
    .weight_bytes = nct_draft_weight_bytes,
    .open = nct_draft_line_open,
    .use_rope = nct_draft_line_use_rope,
    .state_bytes = nct_draft_line_bytes,
    .begin = nct_draft_begin,
    .observe = nct_draft_observe,
    .propose = nct_draft_propose,
    .rewind = nct_draft_rewind,
    .close = nct_draft_line_close,
};
