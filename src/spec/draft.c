#include "spec/draft.h"

#include "spec/eagle.h"
#include "spec/eagle3.h"

nct_status nct_draft_norm(nct_draft_file *file, nct_draft_role role, size_t n, float **norm, nct_error *err) {
    nct_stored stored = {0};
    void *block = NULL;
    NCT_TRY(nct_draft_file_matrix(file, role, 1, n, &stored, err));
    nct_status status = nct_alloc(&block, n, sizeof(float), err);
    if (status == NCT_OK) {
        stored.codec->rows(&stored, 0, 1, block, NULL, NULL, NULL);
        *norm = block;
    }
    nct_stored_close(&stored);
    return status;
}

/* Rounds a matrix of plain numbers while it is packed. */
static nct_status round_matrix(const nct_stored *stored, nct_pool *pool, const nct_draft_options *options,
                               nct_linear *linear, nct_error *err) {
    nct_rounded rounded = {0};
    size_t group = options->group ? options->group : options->quant == NCT_QUANT_INT4 ? 32 : 128;
    NCT_TRY(nct_round_nearest(stored, options->quant, group, pool, &rounded, err));
    nct_status status = nct_linear_open(&rounded.stored, pool, linear, err);
    nct_rounded_close(&rounded);
    return status;
}

nct_status nct_draft_matrix(nct_draft_file *file, nct_draft_role role, size_t n_rows, size_t n_cols,
                            nct_pool *pool, const nct_draft_options *options, nct_linear *linear,
                            nct_error *err) {
    nct_stored stored = {0};
    NCT_TRY(nct_draft_file_matrix(file, role, n_rows, n_cols, &stored, err));
    bool rounds = options->quant != NCT_QUANT_KEEP && stored.codec == &nct_codec_float;
    nct_status status = rounds ? round_matrix(&stored, pool, options, linear, err)
                               : nct_linear_open(&stored, pool, linear, err);
    nct_stored_close(&stored);
    return status;
}

/* Takes shapes from the configuration and compares them with the target's. */
static nct_status take_shape(nct_draft *d, const nct_draft_file *file, nct_error *err) {
    const nct_draft_config *c = nct_draft_file_config(file);
    const nct_config *t = &d->target->config;
    const struct {
        const char *what;
        int64_t draft;
        size_t target;
    } same[] = {{"hidden_size", c->hidden_size, t->hidden},
                {"vocab_size", c->vocab_size, t->n_vocab},
                {"head_dim", c->head_dim, t->head_dim}}; /* rotations are the target's */
    for (size_t i = 0; i < sizeof same / sizeof *same; i++)
        if ((size_t)same[i].draft != same[i].target)
            return nct_fail(
                err, NCT_E_UNSUPPORTED, "%s: the draft head is for a %s of %lld, but its target has %zu",
                nct_draft_file_path(file), same[i].what, (long long)same[i].draft, same[i].target);
    d->hidden = t->hidden;
    d->head_dim = t->head_dim;
    d->intermediate = (size_t)c->intermediate_size;
    d->n_heads = (size_t)c->n_heads;
    d->n_kv_heads = (size_t)c->n_kv_heads;
    d->eps = (float)c->rms_norm_eps;
    d->n_row = d->form->n_row * d->hidden;
    d->n_input = d->form->n_in * d->hidden;
    return NCT_OK;
}

static nct_status load_layer(nct_draft *d, nct_draft_file *file, nct_pool *pool,
                             const nct_draft_options *options, nct_error *err) {
    size_t q = d->n_heads * d->head_dim, kv = d->n_kv_heads * d->head_dim, h = d->hidden;
    size_t n_fc = d->form->kind == NCT_DRAFT_EAGLE ? 2 * h : d->n_row;
    const struct {
        nct_draft_role role;
        size_t n_rows, n_cols;
        nct_linear *linear;
    } all[] = {{NCT_DRAFT_FC, h, n_fc, &d->fc},
               {NCT_DRAFT_Q, q, d->n_input, &d->q},
               {NCT_DRAFT_K, kv, d->n_input, &d->k},
               {NCT_DRAFT_V, kv, d->n_input, &d->v},
               {NCT_DRAFT_O, h, q, &d->o},
               {NCT_DRAFT_GATE, d->intermediate, h, &d->gate},
               {NCT_DRAFT_UP, d->intermediate, h, &d->up},
               {NCT_DRAFT_DOWN, h, d->intermediate, &d->down}};
    NCT_TRY(nct_draft_norm(file, NCT_DRAFT_NORM_POST, h, &d->norm_post, err));
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        NCT_TRY(nct_draft_matrix(file, all[i].role, all[i].n_rows, all[i].n_cols, pool, options,
                                 all[i].linear, err));
    return NCT_OK;
}

static nct_status take_option(double value, const char *what, float *out, nct_error *err) {
    if (value == 0)
        return NCT_OK;
    if (!(value > 0 && value <= 1e6))
        return nct_fail(err, NCT_E_ARGUMENT, "a %s of %g for a draft head, expected a number above 0", what,
                        value);
    *out = (float)value;
    return NCT_OK;
}

static nct_status load_all(nct_draft *d, const char *path, const nct_exec *exec,
                           const nct_draft_options *options, nct_error *err) {
    nct_draft_file *file = NULL;
    NCT_TRY(nct_draft_file_open(path, &file, err));
    nct_status status = NCT_OK;
    if (nct_draft_file_kind(file) != d->form->kind)
        status = nct_fail(err, NCT_E_UNSUPPORTED, "%s: a draft head of %s, expected one of %s", path,
                          d->form->kind == NCT_DRAFT_EAGLE ? "EAGLE-3" : "EAGLE", d->form->name);
    if (status == NCT_OK)
        status = take_shape(d, file, err);
    if (status == NCT_OK)
        status = load_layer(d, file, exec->pool, options, err);
    if (status == NCT_OK)
        status = d->form->load(d, file, exec, options, err);
    if (status == NCT_OK)
        status = take_option(options->residual_scale, "residual scale", &d->residual_scale, err);
    if (status == NCT_OK)
        status = take_option(options->logit_scale, "logit scale", &d->logit_scale, err);
    nct_draft_file_close(file);
    return status;
}

nct_status nct_draft_load(const nct_draft_form *form, const char *path, const nct_model *target,
                          const nct_exec *exec, const nct_draft_options *options, void **weights,
                          nct_error *err) {
    static const nct_draft_options defaults;
    void *block = NULL;
    options = options ? options : &defaults;
    NCT_TRY(nct_alloc(&block, 1, sizeof(nct_draft), err));
    nct_draft *d = block;
    d->form = form;
    d->target = target;
    d->window = options->window ? options->window : NCT_DRAFT_WINDOW;
    d->kv_type = exec->exact ? NCT_KV_F32 : exec->kernels->kv_type;
    nct_status status = load_all(d, path, exec, options, err);
    if (status == NCT_OK)
        *weights = d;
    else
        nct_draft_unload(d);
    return status;
}

void nct_draft_unload(void *weights) {
    nct_draft *d = weights;
    if (!d)
        return;
    nct_linear *matrices[] = {&d->fc, &d->q, &d->k, &d->v, &d->o, &d->gate, &d->up, &d->down, &d->own_head};
    float *vectors[] = {d->fc_bias,    d->norm_embedding, d->norm_hidden,
                        d->norm_input, d->norm_post,      d->norm_final};
    for (size_t i = 0; i < sizeof matrices / sizeof *matrices; i++)
        nct_linear_close(matrices[i]);
    for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++)
        nct_free(vectors[i]);
    nct_free(d->ids);
    nct_free(d);
}

uint64_t nct_draft_weight_bytes(const void *weights) {
    const nct_draft *d = weights;
    const nct_linear *matrices[] = {&d->fc, &d->q, &d->k, &d->v, &d->o, &d->gate, &d->up, &d->down, &d->own_head};
    uint64_t sum = 0;
    for (size_t i = 0; i < sizeof matrices / sizeof *matrices; i++)
        sum += nct_panels_bytes(&matrices[i]->panels);
    return sum;
}

void nct_draft_embed(const nct_draft *d, int32_t token, float *value, float *room) {
    nct_linear_row(&d->target->weights.embedding, (size_t)token, value, room);
    for (size_t i = 0; i < d->hidden; i++)
        value[i] *= d->embedding_scale;
}

nct_status nct_draft_find(const char *path, const nct_drafter **drafter, nct_error *err) {
    nct_draft_file *file = NULL;
    nct_checkpoint *model = NULL;
    nct_status status = nct_draft_file_open(path, &file, err);
    if (status != NCT_OK && nct_checkpoint_open(path, &model, NULL) == NCT_OK) {
        nct_checkpoint_close(model);
        *drafter = &nct_drafter_model;
        return NCT_OK;
    }
    NCT_TRY(status);
    *drafter = nct_draft_file_kind(file) == NCT_DRAFT_EAGLE3 ? &nct_drafter_eagle3 : &nct_drafter_eagle;
    nct_draft_file_close(file);
    return NCT_OK;
}
