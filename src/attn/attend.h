/** Attention of a batch over the cache, across the pool: over everything, or over chosen blocks. */
#ifndef NCT_ATTN_ATTEND_H
#define NCT_ATTN_ATTEND_H

#include "attn/batch.h"
#include "attn/select.h"
#include "kernel/exec.h"

/** Time that threads spent in batches with rows that choose; of it, scoring and choosing blocks. Few rows: of the call,
 *  for each of the threads. */
typedef struct nct_attend_times {
    uint64_t all_ns, choosing_ns;
} nct_attend_times;

/** How rows find what they attend to. Zeroed: everything up to their own position. */
typedef struct nct_attend_options {
    nct_sparse sparse;
    size_t decision_len;   /* 0: every row decides by its own length; else the length that decides for all */
    nct_selected_fn *seen; /* told of every choice, or NULL .. */
    size_t seen_from;      /* .. that rows at this position or behind it make */
    void *context;
    nct_attend_times *times; /* added to, or NULL */
} nct_attend_options;

/** out [n][n_heads][d] = attention of the queries over the positions up to each row's own: all of them, or
 *  those of the blocks the row chooses. q [n][nct_query_forms][n_heads][nct_query_bytes(d)]: rotated, divided by sqrt(d),
 *  readied for the cache's keys and, of rows that choose, for compressed keys, where there are two forms. The batch's own keys, values and compressed keys must already be in the cache; those of
 *  a tree in branches (NULL for a chain), laid out for the layer.
 *
 *  A row walks the steps of 64 positions of which it sees something; every eight of them are reduced on their
 *  own and merged in ascending order (model-and-infllm-v2.md 3.11): always, whatever is computed together, so
 *  rows have the same bits in any chunk, in any tree and on any number of threads, and a row that chooses every
 *  block has the bits of the dense row. Takes nct_attend_scratch_bytes from scratch. */
void nct_attend(const nct_exec *exec, const nct_attend_options *options, const nct_cache *cache,
                const nct_branches *branches, size_t layer, const nct_batch *batch, size_t n_heads,
                const uint8_t *q, float *out);

/** A chain of one of several timelines. */
typedef struct nct_attend_part {
    const nct_attend_options *options;
    const nct_cache *cache;
    const nct_batch *batch;
    const uint8_t *q;
    float *out;
} nct_attend_part;

enum { NCT_ATTEND_PARTS = 64 };

/** nct_attend for chains [n_parts, up to NCT_ATTEND_PARTS] of several caches of the same shape, with the same bits; all
 *  threads work on all of them. */
void nct_attend_parts(const nct_exec *exec, const nct_attend_part *part, size_t n_parts, size_t layer, size_t n_heads);

/** For batches of up to n_rows at positions below the cache's limit. */
size_t nct_attend_scratch_bytes(const nct_attend_options *options, const nct_cache *cache, size_t n_rows, size_t n_heads,
                                int n_threads);

#endif
