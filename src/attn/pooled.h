/** Fine and coarse compressed keys, kept in step with the cache (InfLLM v2, model-and-infllm-v2.md 3.1). */
#ifndef NCT_ATTN_POOLED_H
#define NCT_ATTN_POOLED_H

#include "attn/batch.h"
#include "attn/cache.h"
#include "kernel/exec.h"

/** Computes the compressed keys of one layer whose windows end in the batch, a chain: the mean of the
 *  window's keys as stored, summed in float32 in the order of tokens. The batch's keys must be in the cache.
 *  There is nothing to undo on a rewind: a window is computed when the token that ends it is appended. */
void nct_pooled_update(const nct_exec *exec, const nct_cache *cache, size_t layer, const nct_batch *batch);

/** The keys of block `block` of 64 positions of one layer and head. */
typedef const void *nct_keys_fn(const void *context, size_t block);

/** mean [head_dim] of one window's keys, wherever they lie. */
void nct_pooled_mean(const nct_cache *cache, int level, size_t window, nct_keys_fn *keys, const void *context,
                     float *mean);

#endif
