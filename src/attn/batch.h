/** What to run: a prompt chunk, a single step and a tree of guesses alike are one batch over one timeline. */
#ifndef NCT_ATTN_BATCH_H
#define NCT_ATTN_BATCH_H

#include <stddef.h>
#include <stdint.h>

enum { NCT_BATCH_TREE = 64 }; /* tokens of a tree, at most */

/** n tokens from position `first` on.
 *
 *  A chain (parent NULL): tokens at first, first + 1, ...; each sees everything cached before `first` and
 *  those of the batch before it, itself included.
 *
 *  A tree of guesses: token 0 is the root, at `first`; the others name their parents, which come before
 *  them. A token at depth d stands at first + d and sees everything cached, its ancestors and itself. */
typedef struct nct_batch {
    const int32_t *id; /* [n] */
    size_t n;
    size_t first;
    const uint8_t *parent, *depth; /* of a tree: [n]; parent[0] is not looked at, depth[0] = 0 */
} nct_batch;

/** Where a row stands. */
static inline size_t nct_batch_position(const nct_batch *batch, size_t row) {
    return batch->first + (batch->parent ? batch->depth[row] : row);
}

/** One past the last position. */
static inline size_t nct_batch_end(const nct_batch *batch) {
    size_t deepest = batch->n - 1;
    if (batch->parent) {
        deepest = 0;
        for (size_t i = 1; i < batch->n; i++)
            deepest = batch->depth[i] > deepest ? batch->depth[i] : deepest;
    }
    return batch->first + deepest + 1;
}

#endif
