/** What the attention tests share: the type of the cache under test, and attention of plain queries. */
#ifndef NCT_TEST_ATTN_CACHED_H
#define NCT_TEST_ATTN_CACHED_H

#include "attn/attend.h"

static nct_kv_type k_type, v_type;

/** Keys and values in float32, then in the other types: pairs that cover each on either side. */
static const nct_kv_type pairs[][2] = {{NCT_KV_F32, NCT_KV_F32},   {NCT_KV_F16, NCT_KV_F16},
                                       {NCT_KV_BF16, NCT_KV_BF16}, {NCT_KV_Q8, NCT_KV_Q8},
                                       {NCT_KV_Q8, NCT_KV_BF16},   {NCT_KV_F16, NCT_KV_Q8}};
enum { N_PAIRS = sizeof pairs / sizeof *pairs };

static inline void take_pair(size_t i) { k_type = pairs[i][0], v_type = pairs[i][1]; }

/** Queries q [n][n_heads][d] readied for the cache, in all forms; freed with nct_free. */
static inline uint8_t *ready(const nct_kernels *kernels, const nct_cache *cache, const float *q, size_t n,
                             size_t n_heads) {
    void *p = NULL;
    size_t row = n_heads * nct_query_bytes(cache->head_dim), forms = nct_query_forms(cache->k_type);
    assert_int_equal(nct_alloc(&p, n * forms, row, NULL), NCT_OK);
    for (size_t t = 0; t < n; t++) {
        uint8_t *to = (uint8_t *)p + t * forms * row;
        kernels->query(nct_pooled_type(cache->k_type), q + t * n_heads * cache->head_dim, n_heads, cache->head_dim,
                       to + (forms - 1) * row);
        kernels->query(cache->k_type, q + t * n_heads * cache->head_dim, n_heads, cache->head_dim, to);
    }
    return p;
}

/** nct_attend for queries [n][n_heads][d]. */
static inline void attend(const nct_exec *exec, const nct_attend_options *options, const nct_cache *cache,
                          const nct_batch *batch, size_t n_heads, const float *q, float *out) {
    uint8_t *readied = ready(exec->kernels, cache, q, batch->n, n_heads);
    nct_attend(exec, options, cache, NULL, 0, batch, n_heads, readied, out);
    nct_free(readied);
}

#endif
