/** Keys and values of a tree of guesses, beside the cache: only what is accepted is ever appended, so a
 *  rejected guess leaves no trace (speculative-decoding.md 6.3, 6.5).
 *
 *  A branch is the way from the root to a leaf. Rows attend to whole blocks of the cache as they lie, and from
 *  the block on in which the tree begins to a block of their branch: the positions cached of it, then those of
 *  the branch, laid out as the cache will once hold them. A row sees its branch up to itself, so it may use any
 *  that passes through it; the compressed keys of windows that end on a branch lie beside its blocks.
 */
#ifndef NCT_ATTN_BRANCHES_H
#define NCT_ATTN_BRANCHES_H

#include "attn/batch.h"
#include "attn/cache.h"
#include "kernel/exec.h"

typedef struct nct_branches {
    nct_arena arena;
    size_t rows;      /* of a tree, at most */
    size_t row_width; /* numbers of a row's key or value: n_kv_heads * head_dim */
    float *k, *v;     /* [n_layers][rows][row_width]: rotated keys and values, as computed */
    /* the layer at hand: pieces [n_kv_heads][rows], each two blocks of keys, two of values, and for both levels
     * the compressed keys whose windows end on the root's page and on the one after it */
    uint8_t *piece;
    size_t piece_bytes, value_off, pooled_off[2];
    size_t pooled_lanes[2], pooled_bytes[2]; /* of one page */
    /* the tree at hand */
    size_t first, n_branches;
    uint8_t leaf[NCT_BATCH_TREE];   /* of each branch, a row */
    uint8_t branch[NCT_BATCH_TREE]; /* of each row */
} nct_branches;

/** For trees of up to `rows` tokens (at most NCT_BATCH_TREE) beside caches like this one. Memory is committed as
 *  it is touched. */
nct_status nct_branches_open(const nct_cache *cache, size_t rows, nct_branches *branches, nct_error *err);
void nct_branches_close(nct_branches *branches); /* zeroed is fine */

/** Takes a tree, before its first layer. */
void nct_branches_take(nct_branches *branches, const nct_batch *batch);

/** Where a row's rotated keys [n_kv_heads][head_dim] of a layer go, and its values. */
static inline float *nct_branches_key(const nct_branches *b, size_t layer, size_t row) {
    return b->k + (layer * b->rows + row) * b->row_width;
}
static inline float *nct_branches_value(const nct_branches *b, size_t layer, size_t row) {
    return b->v + (layer * b->rows + row) * b->row_width;
}

/** Lays out the branches of one layer, whose rows have their keys and values. */
void nct_branches_lay(const nct_exec *exec, const nct_branches *branches, const nct_cache *cache,
                      size_t layer, const nct_batch *batch);

/** The first block of which rows see their branch's. */
static inline size_t nct_branches_block(const nct_branches *branches) { return branches->first / NCT_STEP; }
/** Block `block`, from nct_branches_block on, as a row sees it. */
nct_step nct_branches_step(const nct_branches *branches, const nct_cache *cache, size_t kv_head, size_t row,
                           size_t block);
/** Compressed keys of a page as a row sees them, pooled_lanes of them: lane 0 is the first window of the page
 *  that ends on the branch. */
void *nct_branches_pooled(const nct_branches *branches, int level, size_t kv_head, size_t row, size_t page);

/** Appends rows path [n], the root and its successors, to the cache: the bytes that plain steps would have left.
 *  Positions up to first + n must be reserved. */
void nct_branches_keep(const nct_exec *exec, const nct_branches *branches, nct_cache *cache,
                       const uint8_t *path, size_t n);

#endif
