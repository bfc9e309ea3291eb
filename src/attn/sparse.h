/** The geometry of InfLLM v2 (model-and-infllm-v2.md section 3; arXiv:2509.24663): which compressed keys
 *  a position sees, which blocks are forced, how many are attended. Pure arithmetic on positions. */
#ifndef NCT_ATTN_SPARSE_H
#define NCT_ATTN_SPARSE_H

#include "base/status.h"

/** One level of compressed keys: means of `size` keys, one every `stride`. */
typedef struct nct_level {
    size_t size, stride;
} nct_level;

typedef struct nct_sparse {
    bool enabled;
    nct_level fine, coarse; /* coarse is four times fine in both */
    size_t block;           /* tokens of one block */
    size_t init_blocks;     /* leading blocks, always attended */
    size_t local_forced;    /* nearest blocks, the diagonal one included, always attended */
    size_t budget;          /* blocks attended in all */
    size_t dense_len;       /* a row attends to everything while the length up to it is below this */
    bool exact_lse;         /* normalise scores over the fine keys (R1) instead of the coarse ones (R2) */
} nct_sparse;

/** Settings as a checkpoint's sparse_config states them. */
typedef struct nct_sparse_stated {
    int64_t kernel_size, kernel_stride, init_blocks, block_size, window_size, topk, dense_len;
    bool use_nope;
} nct_sparse_stated;

/** Checks a geometry and fills in the default variant, R2. NCT_E_FORMAT names what is wrong: block_size not
 *  a multiple of kernel_stride or of 16, window_size not a multiple of block_size, a budget below the
 *  forced blocks, use_nope. `path` is for the message. */
nct_status nct_sparse_check(const nct_sparse_stated *stated, const char *path, nct_sparse *sparse, nct_error *err);

/** Compressed keys of a level whose window ends at or before position n - 1. */
static inline size_t nct_level_count(nct_level level, size_t n) {
    return n < level.size ? 0 : (n - level.size) / level.stride + 1;
}

/** True if the row at position p chooses blocks: it is past dense_len and its causal blocks exceed the
 *  budget. decision_len: 0 for the row's own length (p + 1), else the length that decides. */
static inline bool nct_sparse_chooses(const nct_sparse *s, size_t p, size_t decision_len) {
    return s->enabled && (decision_len ? decision_len : p + 1) >= s->dense_len && p / s->block + 1 > s->budget;
}

/** The first position whose row chooses blocks by its own length; SIZE_MAX if none does. */
static inline size_t nct_sparse_chooses_from(const nct_sparse *s) {
    size_t full = s->budget * s->block, dense = s->dense_len ? s->dense_len - 1 : 0;
    return !s->enabled ? SIZE_MAX : full > dense ? full : dense;
}

#endif
