/** Small random models on disk, the same byte for byte everywhere, so that tests need nothing from outside.
 *
 *  A weight is q * s with a whole number q from -5 to 4 and a scale s of four significant bits per row and
 *  group of columns. So every encoding below, float or coded, holds exactly the same numbers: the same
 *  seed and shape is the same model in all of them.
 *
 *  The tokenizer is BPE of MiniCPM's kind (byte pieces, a few merges, <|im_end|> and <|im_start|> as the
 *  last two ids), with MiniCPM4's chat template. Failures fail the test.
 */
#ifndef NCT_TEST_CHECKPOINT_H
#define NCT_TEST_CHECKPOINT_H

#include "format/format.h"

/** How the projections are stored; the rest is F32 beside F32, BF16 beside BF16, else F16. */
typedef enum nct_tiny_weights {
    NCT_TINY_F32,
    NCT_TINY_F16,
    NCT_TINY_BF16,
    NCT_TINY_GPTQ,      /* v1, symmetric */
    NCT_TINY_GPTQ_V2,   /* symmetric */
    NCT_TINY_GPTQ_ASYM, /* v1 with zero points from 5 to 11 */
    NCT_TINY_GPTQ_ACT,  /* v1, symmetric, desc_act: with `scattered` groups, or with shuffled group numbers */
    NCT_TINY_AWQ,       /* zero points from 5 to 11 */
    NCT_TINY_MARLIN,    /* CPM.cu's names, q k v and gate up fused */
} nct_tiny_weights;

/** Zeroed fields are the defaults. */
typedef struct nct_tiny {
    uint64_t seed;
    size_t hidden, intermediate, layers, heads, kv_heads, head_dim, vocab; /* 128 256 2 4 2 32 320 */
    size_t group;                                                          /* 32 */
    bool llama;                                                            /* LlamaForCausalLM: no scales */
    bool tied, longrope; /* longrope: short and long factors differ, window equal to the original one */
    bool sparse;         /* a sparse_config of small limits: */
    size_t kernel, stride, block, blocks_near, topk, dense_len; /* 32 16 64 2 5 448 */
    bool scattered; /* columns belong to groups at random; float and GPTQ_ACT only */
    bool ternary;   /* projections: q from -1 to 1 */
    bool no_template;
    bool bytes; /* byte-level BPE with what a template of MiniCPM5 is known by; vocab at least 704 */
    nct_tiny_weights weights;
    size_t n_shards; /* more than 1: an index and that many files */
} nct_tiny;

/** Fills in the defaults. */
nct_tiny nct_tiny_filled(const nct_tiny *tiny);

/** Writes a directory (made if it does not exist). */
void nct_tiny_write(const char *dir, const nct_tiny *tiny);

/** Writes a GGUF file with the projections in this ggml type (any that is readable; 256-blocks need widths
 *  that are multiples of 256) and the embedding and head as F16. */
void nct_tiny_write_gguf(const char *path, const nct_tiny *tiny, uint32_t type);

/** What is stored: rows of the role's matrix in half-rotation order; norms have one row. */
float nct_tiny_weight(const nct_tiny *tiny, nct_role role, size_t layer, size_t row, size_t col);
void nct_tiny_shape(const nct_tiny *tiny, nct_role role, size_t *n_rows, size_t *n_cols);

#endif
