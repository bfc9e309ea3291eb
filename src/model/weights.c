#include "model/weights.h"

#include <assert.h>

#include "base/pages.h"

static const nct_role layer_matrices[] = {NCT_ROLE_Q, NCT_ROLE_K, NCT_ROLE_V, NCT_ROLE_O, NCT_ROLE_GATE, NCT_ROLE_UP, NCT_ROLE_DOWN};
enum { N_LAYER_MATRICES = sizeof layer_matrices / sizeof *layer_matrices };

void nct_weight_shape(const nct_config *c, nct_role role, size_t *n_rows, size_t *n_cols) {
    size_t heads = c->n_heads * c->head_dim, kv_heads = c->n_kv_heads * c->head_dim;
    switch (role) {
    case NCT_ROLE_EMBEDDING:
    case NCT_ROLE_HEAD: *n_rows = c->n_vocab, *n_cols = c->hidden; return;
    case NCT_ROLE_FINAL_NORM:
    case NCT_ROLE_ATTN_NORM:
    case NCT_ROLE_FFN_NORM: *n_rows = 1, *n_cols = c->hidden; return;
    case NCT_ROLE_Q: *n_rows = heads, *n_cols = c->hidden; return;
    case NCT_ROLE_K:
    case NCT_ROLE_V: *n_rows = kv_heads, *n_cols = c->hidden; return;
    case NCT_ROLE_O: *n_rows = c->hidden, *n_cols = heads; return;
    case NCT_ROLE_GATE:
    case NCT_ROLE_UP: *n_rows = c->intermediate, *n_cols = c->hidden; return;
    case NCT_ROLE_DOWN: *n_rows = c->hidden, *n_cols = c->intermediate; return;
    }
    assert(!"a role has no shape");
}

nct_linear *nct_layer_matrix(nct_layer_weights *l, nct_role role) {
    switch (role) {
    case NCT_ROLE_Q: return &l->q;
    case NCT_ROLE_K: return &l->k;
    case NCT_ROLE_V: return &l->v;
    case NCT_ROLE_O: return &l->o;
    case NCT_ROLE_GATE: return &l->gate;
    case NCT_ROLE_UP: return &l->up;
    case NCT_ROLE_DOWN: return &l->down;
    default: return NULL;
    }
}

/* ------------------------------------------------------------------ parts */

nct_status nct_weight_matrix_open(const nct_checkpoint *checkpoint, const nct_config *config, nct_role role, size_t layer,
                                  nct_pool *pool, nct_linear *matrix, nct_error *err) {
    nct_stored stored = {0};
    size_t n_rows = 0, n_cols = 0;
    nct_weight_shape(config, role, &n_rows, &n_cols);
    NCT_TRY(nct_checkpoint_matrix(checkpoint, role, (int)layer, n_rows, n_cols, &stored, err));
    nct_status status = nct_linear_open(&stored, pool, matrix, err);
    nct_stored_close(&stored);
    return status;
}

nct_status nct_weight_norm_open(const nct_checkpoint *checkpoint, const nct_config *config, nct_role role, size_t layer,
                                float **out, nct_error *err) {
    size_t n = config->hidden;
    nct_stored stored = {0};
    nct_unpacked unpacked;
    void *norm = NULL;
    NCT_TRY(nct_checkpoint_matrix(checkpoint, role, (int)layer, 1, n, &stored, err));
    nct_status status = stored.codec->describe(&stored, &unpacked, err);
    if (status == NCT_OK && unpacked.form > NCT_FORM_BF16)
        status = nct_fail(err, NCT_E_UNSUPPORTED, "'%s': a norm stored as %s cannot be read", stored.name, unpacked.label);
    if (status == NCT_OK)
        status = nct_alloc(&norm, n, sizeof(float), err);
    if (status == NCT_OK) {
        stored.codec->rows(&stored, 0, 1, norm, NULL, NULL, NULL);
        *out = norm;
    }
    nct_stored_close(&stored);
    return status;
}

nct_status nct_layer_weights_open(const nct_checkpoint *checkpoint, const nct_config *config, size_t index, nct_pool *pool,
                                  nct_layer_weights *layer, nct_error *err) {
    nct_layer_weights l = {0};
    nct_status status = nct_weight_norm_open(checkpoint, config, NCT_ROLE_ATTN_NORM, index, &l.attn_norm, err);
    if (status == NCT_OK)
        status = nct_weight_norm_open(checkpoint, config, NCT_ROLE_FFN_NORM, index, &l.ffn_norm, err);
    for (size_t i = 0; i < N_LAYER_MATRICES && status == NCT_OK; i++)
        status = nct_weight_matrix_open(checkpoint, config, layer_matrices[i], index, pool,
                                        nct_layer_matrix(&l, layer_matrices[i]), err);
    if (status == NCT_OK)
        *layer = l;
    else
        nct_layer_weights_close(&l);
    return status;
}

void nct_layer_weights_close(nct_layer_weights *l) {
    nct_free(l->attn_norm);
    nct_free(l->ffn_norm);
    for (size_t i = 0; i < N_LAYER_MATRICES; i++)
        nct_linear_close(nct_layer_matrix(l, layer_matrices[i]));
    *l = (nct_layer_weights){0};
}

/* ------------------------------------------------------------------ the whole */

static void count_matrix(nct_weights *w, const nct_linear *matrix) {
    w->n_bytes += nct_panels_bytes(&matrix->panels);
    w->n_copied_bytes += matrix->copied ? nct_panels_bytes(&matrix->panels) : 0;
    w->n_parameters += (uint64_t)matrix->panels.n_rows * matrix->panels.n_cols;
}

static void count(nct_weights *w, size_t hidden) {
    size_t n_norms = hidden * (2 * w->n_layers + 1);
    w->n_bytes = n_norms * sizeof(float);
    w->n_parameters = n_norms;
    count_matrix(w, &w->embedding);
    count_matrix(w, &w->stored_head);
    for (size_t i = 0; i < w->n_layers; i++)
        for (size_t m = 0; m < N_LAYER_MATRICES; m++)
            count_matrix(w, nct_layer_matrix(&w->layer[i], layer_matrices[m]));
}

/* The embedding or the output matrix, rounded if it is wider than `quant`, just as nct_convert would write it. */
static nct_status open_outer(const nct_checkpoint *checkpoint, const nct_config *config, nct_role role,
                             nct_quant quant, nct_pool *pool, nct_linear *matrix, bool *rounded,
                             nct_error *err) {
    nct_stored stored = {0};
    nct_unpacked unpacked;
    nct_rounded codes = {0};
    bool narrows = false, ternary = false;
    size_t n_rows = 0, n_cols = 0;
    nct_weight_shape(config, role, &n_rows, &n_cols);
    NCT_TRY(nct_checkpoint_matrix(checkpoint, role, 0, n_rows, n_cols, &stored, err));
    nct_status status = stored.codec->describe(&stored, &unpacked, err);
    if (status == NCT_OK && (narrows = nct_round_narrows(&unpacked, quant)))
        status = nct_ternary_find(&stored, pool, &codes, &ternary, err);
    if (status == NCT_OK && narrows && !ternary)
        status = nct_round_nearest(&stored, quant, NCT_WEIGHTS_GROUP, pool, &codes, err);
    if (status == NCT_OK)
        status = nct_linear_open(narrows ? &codes.stored : &stored, pool, matrix, err);
    if (status == NCT_OK && narrows && stored.codec == &nct_codec_panels)
        matrix->copied = true;
    *rounded = *rounded || (narrows && !ternary);
    nct_rounded_close(&codes);
    nct_stored_close(&stored);
    return status;
}

static nct_status load_all(const nct_checkpoint *checkpoint, const nct_config *c, nct_quant outer,
                           nct_pool *pool, nct_weights *w, nct_error *err) {
    void *layers = NULL;
    NCT_TRY(nct_alloc(&layers, c->n_layers, sizeof *w->layer, err));
    w->layer = layers;
    w->n_layers = c->n_layers;
    NCT_TRY(open_outer(checkpoint, c, NCT_ROLE_EMBEDDING, outer, pool, &w->embedding, &w->rounded, err));
    NCT_TRY(nct_weight_norm_open(checkpoint, c, NCT_ROLE_FINAL_NORM, 0, &w->final_norm, err));
    if (!c->tied)
        NCT_TRY(open_outer(checkpoint, c, NCT_ROLE_HEAD, outer, pool, &w->stored_head, &w->rounded, err));
    for (size_t i = 0; i < c->n_layers; i++)
        NCT_TRY(nct_layer_weights_open(checkpoint, c, i, pool, &w->layer[i], err));
    return NCT_OK;
}

static void map_matrix(const nct_linear *matrix) {
    if (matrix->borrowed)
        nct_pages_populate(matrix->panels.data, nct_panels_bytes(&matrix->panels));
}

static void map_layer(void *context, int task, int worker) {
    (void)worker;
    nct_weights *w = context;
    for (size_t m = 0; m < N_LAYER_MATRICES; m++)
        map_matrix(nct_layer_matrix(&w->layer[task], layer_matrices[m]));
}

nct_status nct_weights_open(const nct_checkpoint *checkpoint, const nct_config *config, nct_quant outer,
                            nct_pool *pool, nct_weights *weights, nct_error *err) {
    *weights = (nct_weights){0};
    nct_status status = load_all(checkpoint, config, outer, pool, weights, err);
    if (status != NCT_OK) {
        nct_weights_close(weights);
        return status;
    }
    count(weights, config->hidden);
    weights->head = config->tied ? &weights->embedding : &weights->stored_head;
    nct_pool_run(pool, (int)weights->n_layers, map_layer, weights); /* every token reads all but the embedding */
    map_matrix(weights->head);
    return NCT_OK;
}

void nct_weights_close(nct_weights *w) {
    for (size_t i = 0; i < w->n_layers; i++)
        nct_layer_weights_close(&w->layer[i]);
    nct_linear_close(&w->embedding);
    nct_linear_close(&w->stored_head);
    nct_free(w->final_norm);
    nct_free(w->layer);
    *w = (nct_weights){0};
}
