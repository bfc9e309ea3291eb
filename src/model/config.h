/** Shapes and constants of a checkpoint, read once, checked once. */
#ifndef NCT_MODEL_CONFIG_H
#define NCT_MODEL_CONFIG_H

#include "attn/sparse.h"
#include "format/format.h"

typedef struct nct_config {
    size_t n_layers, hidden, intermediate, n_heads, n_kv_heads, head_dim, n_vocab, max_positions;
    float rms_eps, scale_emb, residual_scale, logit_divisor;
    double rope_theta, rope_original_max;
    const double *rope_factor; /* [head_dim / 2], the native list, borrowed from the checkpoint; or NULL */
    const double *long_factor; /* [head_dim / 2], the list for longer contexts, borrowed or static; or NULL */
    size_t long_positions;     /* tokens that it holds; 0: there is none */
    bool long_built_in;        /* it is a published one, which the checkpoint does not state */
    bool tied;                 /* the output matrix is the embedding */
    nct_sparse sparse;         /* settings in case blocks are chosen */
    nct_sparse_stated sparse_stated; /* what they come from */
    bool sparse_trained;       /* the model was trained for it: stated, or exactly the published 8B shape */
    bool sparse_built_in;      /* the checkpoint states no settings: the published ones */
} nct_config;

/** Checks the stated values: ranges, divisibility, finite scales. NCT_E_FORMAT names the field. */
nct_status nct_config_check(const nct_checkpoint *checkpoint, const char *path, nct_config *config, nct_error *err);
/** The same of what a file states, without the weights; has_head: an output matrix of its own goes with it. */
nct_status nct_config_check_raw(const nct_raw_config *raw, const char *path, bool has_head, nct_config *config,
                                nct_error *err);

#endif
