#include "attn/pooled.h"

#include <string.h>

#include "kernel/kv.h"

struct pooling {
    const nct_cache *cache;
    size_t layer, level, first, n_windows; /* windows first .. first + n_windows - 1 */
};

/* One head of a layer. */
struct head {
    const nct_cache *cache;
    size_t layer, kv_head;
};

static const void *cached_keys(const void *context, size_t block) {
    const struct head *k = context;
    return nct_cache_step(k->cache, k->layer, k->kv_head, block).k;
}

void nct_pooled_mean(const nct_cache *c, int level, size_t window, nct_keys_fn *keys, const void *context,
                     float *mean) {
    size_t start = window * c->level[level].stride, size = c->level[level].size;
    float key[NCT_HEAD_DIM_MAX];
    memset(mean, 0, c->head_dim * sizeof *mean);
    for (size_t t = start; t < start + size; t++) {
        nct_key_get(c->k_type, keys(context, t / NCT_STEP), NCT_STEP, t % NCT_STEP, c->head_dim, key);
        for (size_t i = 0; i < c->head_dim; i++)
            mean[i] += key[i];
    }
    for (size_t i = 0; i < c->head_dim; i++)
        mean[i] /= (float)size;
}

static void pool_window(void *context, int task, int worker) {
    (void)worker;
    const struct pooling *k = context;
    const nct_cache *c = k->cache;
    nct_level level = c->level[k->level];
    size_t kv_head = (size_t)task / k->n_windows, window = k->first + (size_t)task % k->n_windows,
           page = (window * level.stride + level.size - 1) / NCT_PAGE;
    float mean[NCT_HEAD_DIM_MAX];
    nct_pooled_mean(c, (int)k->level, window, cached_keys, &(struct head){c, k->layer, kv_head}, mean);
    nct_key_put(nct_pooled_type(c->k_type), nct_cache_pooled(c, (int)k->level, k->layer, kv_head, page),
                c->pooled_lanes[k->level], window - nct_cache_first_window(c, (int)k->level, page), mean,
                c->head_dim);
}

void nct_pooled_update(const nct_exec *exec, const nct_cache *cache, size_t layer, const nct_batch *batch) {
    for (size_t level = 0; level < 2; level++) {
        struct pooling k = {.cache = cache, .layer = layer, .level = level,
                            .first = nct_level_count(cache->level[level], batch->first)};
        k.n_windows = nct_level_count(cache->level[level], batch->first + batch->n) - k.first;
        if (k.n_windows)
            nct_pool_run(exec->pool, (int)(k.n_windows * cache->n_kv_heads), pool_window, &k);
    }
}
