/** The configuration of a checkpoint: config.json and its companions, or GGUF keys, to one nct_raw_config.
 *  Every number is checked for its kind and for a range that no real model leaves, so that products of
 *  shapes do not overflow later. Defaults of absent keys: formats.md 3 and 8.2. */
#ifndef NCT_FORMAT_CONFIG_H
#define NCT_FORMAT_CONFIG_H

#include "format/gguf.h"
#include "format/tensors.h"

/** What metadata says of quantized layers. Names and shapes of tensors win over it. */
typedef struct nct_quant_config {
    char method[24];    /* "gptq", "awq", "marlin"; "" if none is stated */
    int64_t group_size; /* 0: not stated; -1: whole rows */
    bool symmetric;     /* stated to be */
    bool desc_act;
    int zero_offset; /* 1 for GPTQ v1, 0 for v2 and AWQ */
} nct_quant_config;

typedef struct nct_file_config {
    nct_raw_config raw;
    nct_quant_config quant;
    double *factors; /* what raw.short_factor and long_factor point into */
    char *chat_template;
} nct_file_config;

/** Reads config.json, generation_config.json, quantize_config.json or quant_config.json, and the chat
 *  template of a directory. NCT_E_UNSUPPORTED names an architecture, activation, rope type or
 *  quantization that is not ours. The caller closes *config. */
nct_status nct_file_config_read(const char *directory, nct_file_config *config, nct_error *err);
nct_status nct_file_config_read_gguf(const char *path, const nct_gguf *gguf, const nct_tensors *tensors,
                                     nct_file_config *config, nct_error *err);
void nct_file_config_close(nct_file_config *config);

/** The text of a config.json alone; `name` appears in errors. On failure nothing needs closing. */
nct_status nct_file_config_parse(const char *name, const char *text, size_t n, nct_file_config *config,
                                 nct_error *err);

/** What the config.json of a draft head states (speculative-decoding.md 2.4, 3.1). Shapes have the defaults of
 *  models; scales are NaN and draft_vocab_size 0 where the file is silent. */
typedef struct nct_draft_config {
    int64_t vocab_size, draft_vocab_size, hidden_size, intermediate_size, n_heads, n_kv_heads, head_dim;
    double rms_norm_eps, scale_emb, scale_depth, dim_model_base, mup_denominator;
} nct_draft_config;

/** Reads the config.json of a draft head's directory and its quantize_config.json or quant_config.json. Rotations are
 *  not read: a draft head uses its target's. */
nct_status nct_draft_config_read(const char *directory, nct_draft_config *config, nct_quant_config *quant,
                                 nct_error *err);
/** The text of a config.json alone; `name` appears in errors. */
nct_status nct_draft_config_parse(const char *name, const char *text, size_t n, nct_draft_config *config,
                                  nct_quant_config *quant, nct_error *err);

#endif
