/** Containers: what a checkpoint on disk holds, whatever its format.
 *
 *  nct_checkpoint_open probes a path (formats.md 2), maps its files, checks every offset, length and
 *  shape, reads the configuration into one JSON-free struct and gives matrices by role. It knows nothing
 *  of kernels. To add a container: write NAME.c and add a row to the list in format.c.
 */
#ifndef NCT_FORMAT_FORMAT_H
#define NCT_FORMAT_FORMAT_H

#include "base/json.h"
#include "quant/codec.h"

typedef struct nct_checkpoint nct_checkpoint;
typedef struct nct_gguf nct_gguf;     /* format/gguf.h */
typedef struct nct_bundle nct_bundle; /* format/nct.h */

/** What a tensor is for. Layer roles come with a layer number. */
typedef enum nct_role {
    NCT_ROLE_EMBEDDING,
    NCT_ROLE_FINAL_NORM,
    NCT_ROLE_HEAD,
    NCT_ROLE_ATTN_NORM,
    NCT_ROLE_Q,
    NCT_ROLE_K,
    NCT_ROLE_V,
    NCT_ROLE_O,
    NCT_ROLE_FFN_NORM,
    NCT_ROLE_GATE,
    NCT_ROLE_UP,
    NCT_ROLE_DOWN,
} nct_role;

/** Shapes and constants as the checkpoint states them, defaults of formats.md 3 filled in. Numbers are of
 *  their kind, finite and within generous ranges (format/config.h); whether this build can compute them is
 *  for model/config.c to say. */
typedef struct nct_raw_config {
    char architecture[32]; /* "minicpm" or "llama" */
    int64_t vocab_size, hidden_size, intermediate_size, n_layers, n_heads, n_kv_heads, head_dim,
        max_positions;
    double rms_norm_eps, rope_theta, scale_emb, residual_scale, logit_divisor;
    bool tie_word_embeddings;
    bool tie_stated; /* the file says so explicitly */
    bool has_rope_factors;
    int64_t rope_original_max;
    size_t n_rope_factors;                    /* entries of each list */
    const double *short_factor, *long_factor; /* owned by the checkpoint */
    bool has_sparse;
    int64_t sparse_kernel_size, sparse_kernel_stride, sparse_init_blocks, sparse_block_size,
        sparse_window_size, sparse_topk, sparse_dense_len;
    bool sparse_use_nope;
    int64_t bos; /* -1: none stated */
    size_t n_eos;
    int64_t eos[16]; /* merged from config, generation_config; the tokenizer adds its own */
    /* sampling hints; NaN where absent */
    double temperature, top_p, top_k, repetition_penalty;
    int do_sample;             /* 1, 0, or -1 if absent */
    const char *chat_template; /* template text or NULL; owned by the checkpoint */
} nct_raw_config;

/** Opens a directory, a .gguf, a .safetensors or a .nct path. The caller closes it after weights were packed
 *  and the tokenizer was read, or, where it is resident, with the weights. */
nct_status nct_checkpoint_open(const char *path, nct_checkpoint **checkpoint, nct_error *err);
void nct_checkpoint_close(nct_checkpoint *checkpoint);

const nct_raw_config *nct_checkpoint_config(const nct_checkpoint *checkpoint);
const char *nct_checkpoint_container(const nct_checkpoint *checkpoint); /* "safetensors", "gguf", "nct" */
/** Directory that holds the side files (tokenizer), or NULL for a GGUF or a bundle. */
const char *nct_checkpoint_directory(const nct_checkpoint *checkpoint);
const nct_gguf *nct_checkpoint_gguf(const nct_checkpoint *checkpoint);     /* NULL unless GGUF */
const nct_bundle *nct_checkpoint_bundle(const nct_checkpoint *checkpoint); /* NULL unless a bundle */
/** True if packed weights lie in the checkpoint's files, so that it must stay open as long as they are used. */
bool nct_checkpoint_is_resident(const nct_checkpoint *checkpoint);

/** Asks for huge pages in the files' mappings, or for none (nct_map_advise). */
void nct_checkpoint_advise(const nct_checkpoint *checkpoint, nct_huge_pages huge);

/** Lets go of the files' pages for now (nct_map_rest): for those whose matrices have been copied. */
void nct_checkpoint_rest(const nct_checkpoint *checkpoint);

/** Finds the matrix of a role and checks its shape against [n_rows, n_cols] (norms: n_rows = 1). Rows of Q
 *  and K come in half-rotation order whatever the file's. NCT_E_FORMAT with the tensor's name if it is
 *  missing or of another shape; NCT_E_UNSUPPORTED with what is readable if its encoding is not. `stored`
 *  borrows from the checkpoint and has been described once; close it with nct_stored_close. */
nct_status nct_checkpoint_matrix(const nct_checkpoint *checkpoint, nct_role role, int layer, size_t n_rows,
                                 size_t n_cols, nct_stored *stored, nct_error *err);
/** True if a tensor of this role is stored. */
bool nct_checkpoint_has(const nct_checkpoint *checkpoint, nct_role role, int layer);

/** Iterates all tensors for `info`: false when index is past the end. */
#define NCT_MAX_DIMS 8
typedef struct nct_tensor_info {
    const char *name, *type;           /* e.g. "BF16", "Q4_K" */
    size_t n_dims, dims[NCT_MAX_DIMS]; /* slowest first */
    size_t n_bytes;
} nct_tensor_info;
bool nct_checkpoint_tensor(const nct_checkpoint *checkpoint, size_t index, nct_tensor_info *info);

#endif
