/** Binds tensors to roles and packs them where they will be read. */
#ifndef NCT_MODEL_WEIGHTS_H
#define NCT_MODEL_WEIGHTS_H

#include "model/config.h"
#include "quant/linear.h"
#include "quant/quantize.h"

typedef struct nct_layer_weights {
    float *attn_norm, *ffn_norm; /* [hidden] */
    nct_linear q, k, v, o, gate, up, down;
} nct_layer_weights;

/** The shape of a role's matrix; [1, hidden] for norms. */
void nct_weight_shape(const nct_config *config, nct_role role, size_t *n_rows, size_t *n_cols);

/** One layer alone. The caller closes *layer; zeroed is fine to close. */
nct_status nct_layer_weights_open(const nct_checkpoint *checkpoint, const nct_config *config, size_t index, nct_pool *pool,
                                  nct_layer_weights *layer, nct_error *err);
void nct_layer_weights_close(nct_layer_weights *layer);
/** The place of a role's matrix in a layer; NULL for roles that are none of its matrices. */
nct_linear *nct_layer_matrix(nct_layer_weights *layer, nct_role role);

/** A matrix outside the layers, or a norm: [hidden], freed with nct_free. */
nct_status nct_weight_matrix_open(const nct_checkpoint *checkpoint, const nct_config *config, nct_role role, size_t layer,
                                  nct_pool *pool, nct_linear *matrix, nct_error *err);
nct_status nct_weight_norm_open(const nct_checkpoint *checkpoint, const nct_config *config, nct_role role, size_t layer,
                                float **norm, nct_error *err);

typedef struct nct_weights {
    nct_linear embedding;      /* [n_vocab, hidden] */
    nct_linear stored_head;    /* empty where tied */
    const nct_linear *head;    /* stored_head or embedding */
    float *final_norm;         /* [hidden] */
    nct_layer_weights *layer;  /* [n_layers] */
    size_t n_layers;
    uint64_t n_bytes, n_parameters;
    uint64_t n_copied_bytes; /* of n_bytes, copied from a bundle's shared pages, or made of them */
    bool rounded;            /* the embedding or the output matrix */
} nct_weights;

/** outer: what the embedding and the output matrix are rounded to, in groups of NCT_WEIGHTS_GROUP, if they are wider and not
 *  ternary; KEEP: nothing. */
enum { NCT_WEIGHTS_GROUP = 128 };
nct_status nct_weights_open(const nct_checkpoint *checkpoint, const nct_config *config, nct_quant outer, nct_pool *pool,
                            nct_weights *weights, nct_error *err);
void nct_weights_close(nct_weights *weights); /* zeroed is fine */

#endif
