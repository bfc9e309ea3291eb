#include "spec/eagle3.h"

#include <string.h>

/* ------------------------------------------------------------------ rows */

static void norm_row(void *context, int task, int worker) {
    (void)worker;
    const nct_draft_entry *e = context;
    const nct_draft *d = e->draft;
    const nct_kernels *kernels = e->exec->kernels;
    size_t t = (size_t)task, n = d->hidden;
    float *room = e->room + t * 2 * n, *c = e->c + t * 2 * n, *x = e->x + t * n;
    if (!e->target_row)
        memcpy(x, e->own + t * n, n * sizeof *x);
    nct_draft_embed(d, e->token[t], room, room + n);
    kernels->rms_norm(room, d->norm_embedding, d->eps, n, c);
    kernels->rms_norm(x, d->norm_hidden, d->eps, n, c + n);
}

static void enter(const nct_draft_entry *e) {
    nct_draft_entry entry = *e;
    if (e->target_row)
        nct_linear_run(
            e->exec, &(nct_linear_job){&e->draft->fc, e->target_row, e->stride, e->x, e->draft->hidden, NULL},
            1, e->n);
    nct_pool_run(e->exec->pool, (int)e->n, norm_row, &entry);
}

static void leave(const nct_draft *d, const nct_kernels *kernels, float *y) {
    kernels->rms_norm(y, d->norm_final, d->eps, d->hidden, y);
    for (size_t i = 0; d->logit_scale != 1 && i < d->hidden; i++)
        y[i] *= d->logit_scale;
}

/* ------------------------------------------------------------------ loading */

static nct_status load(nct_draft *d, nct_draft_file *file, const nct_exec *exec,
                       const nct_draft_options *options, nct_error *err) {
    const nct_draft_config *c = nct_draft_file_config(file);
    const nct_config *t = &d->target->config;
    size_t n_rows = c->draft_vocab_size ? (size_t)c->draft_vocab_size : t->n_vocab;
    const char *path = nct_draft_file_path(file);
    if (t->n_layers < NCT_TAPS_LAYERS)
        return nct_fail(
            err, NCT_E_UNSUPPORTED,
            "%s: an EAGLE-3 head looks into three layers of a target of at least %d, but its target has %zu",
            path, NCT_TAPS_LAYERS, t->n_layers);
    if (options->list)
        return nct_fail(err, NCT_E_ARGUMENT,
                        "%s: an EAGLE-3 head has a vocabulary of its own and takes no list of tokens", path);
    if (n_rows > t->n_vocab)
        return nct_fail(err, NCT_E_UNSUPPORTED, "%s: the draft head has %zu tokens, but its target has %zu",
                        path, n_rows, t->n_vocab);
    d->residual_scale = d->embedding_scale = d->logit_scale = 1;
    NCT_TRY(nct_draft_norm(file, NCT_DRAFT_NORM_EMBEDDING, d->hidden, &d->norm_embedding, err));
    NCT_TRY(nct_draft_norm(file, NCT_DRAFT_NORM_HIDDEN, d->hidden, &d->norm_hidden, err));
    NCT_TRY(nct_draft_norm(file, NCT_DRAFT_NORM_FINAL, d->hidden, &d->norm_final, err));
    NCT_TRY(nct_draft_file_ids(file, n_rows, t->n_vocab, &d->ids, err));
    NCT_TRY(
        nct_draft_matrix(file, NCT_DRAFT_HEAD, n_rows, d->hidden, exec->pool, options, &d->own_head, err));
    d->head = &d->own_head;
    return NCT_OK;
}

const nct_draft_form nct_draft_eagle3 = {NCT_DRAFT_EAGLE3, "EAGLE-3", 3, 2, enter, leave, load};

/* ------------------------------------------------------------------ the drafter */

static nct_status load_eagle3(const char *path, const nct_model *target, const nct_exec *exec,
                              const nct_draft_options *options, void **weights, nct_error *err) {
    return nct_draft_load(&nct_draft_eagle3, path, target, exec, options, weights, err);
}

const nct_drafter nct_drafter_eagle3 = {
    .name = "eagle3",
    .brief = "a draft head of EAGLE-3's kind, as published for MiniCPM4.1",
    .row = NCT_ROW_TAPS,
    .load = load_eagle3,
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
