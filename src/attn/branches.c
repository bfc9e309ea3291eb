#include "attn/branches.h"

#include <assert.h>
#include <string.h>

#include "attn/pooled.h"
#include "kernel/kv.h"

enum { BLOCKS = 2, PAGES = 2 }; /* that a branch of 64 positions touches, at most */

nct_status nct_branches_open(const nct_cache *c, size_t rows, nct_branches *branches, nct_error *err) {
    assert(rows <= NCT_BATCH_TREE);
    nct_branches b = {.rows = rows, .row_width = c->n_kv_heads * c->head_dim};
    b.value_off = BLOCKS * c->key_bytes;
    b.piece_bytes = b.value_off + BLOCKS * c->value_bytes;
    for (int i = 0; i < 2 && c->pooled_lanes[i]; i++) {
        size_t windows = (NCT_BATCH_TREE + c->level[i].stride - 1) / c->level[i].stride;
        b.pooled_off[i] = (b.piece_bytes + 63) / 64 * 64;
        b.pooled_lanes[i] = (windows + 15) / 16 * 16;
        b.pooled_bytes[i] = (nct_key_bytes(nct_pooled_type(c->k_type), c->head_dim, b.pooled_lanes[i]) + 63) / 64 * 64;
        b.piece_bytes = b.pooled_off[i] + PAGES * b.pooled_bytes[i];
    }
    b.piece_bytes = (b.piece_bytes + 63) / 64 * 64;
    size_t numbers = c->n_layers * rows * b.row_width, pieces = c->n_kv_heads * rows;
    NCT_TRY(nct_arena_open(
        &b.arena, 2 * nct_arena_cost(numbers, sizeof(float)) + nct_arena_cost(pieces, b.piece_bytes), err));
    b.k = nct_arena_take(&b.arena, numbers, sizeof(float));
    b.v = nct_arena_take(&b.arena, numbers, sizeof(float));
    b.piece = nct_arena_take(&b.arena, pieces, b.piece_bytes);
    *branches = b;
    return NCT_OK;
}

void nct_branches_close(nct_branches *branches) {
    nct_arena_close(&branches->arena);
    *branches = (nct_branches){0};
}

void nct_branches_take(nct_branches *b, const nct_batch *batch) {
    bool inner[NCT_BATCH_TREE] = {false};
    assert(batch->parent && batch->n <= b->rows && batch->depth[0] == 0);
    b->first = batch->first;
    b->n_branches = 0;
    for (size_t i = batch->n; i-- > 0;) { /* children first: a row takes the branch of its first child */
        if (!inner[i]) {
            b->leaf[b->n_branches] = (uint8_t)i;
            b->branch[i] = (uint8_t)b->n_branches++;
        }
        if (i > 0) {
            size_t parent = batch->parent[i];
            assert(parent < i && batch->depth[i] == batch->depth[parent] + 1);
            b->branch[parent] = b->branch[i];
            inner[parent] = true;
        }
    }
}

static uint8_t *piece_of(const nct_branches *b, size_t kv_head, size_t branch) {
    return b->piece + (kv_head * b->rows + branch) * b->piece_bytes;
}

static nct_step step_of(const nct_branches *b, const nct_cache *c, const uint8_t *piece, size_t block) {
    size_t i = block - nct_branches_block(b);
    assert(i < BLOCKS);
    return (nct_step){piece + i * c->key_bytes, piece + b->value_off + i * c->value_bytes};
}

static uint8_t *pooled_of(const nct_branches *b, uint8_t *piece, int level, size_t page) {
    size_t i = page - b->first / NCT_PAGE;
    assert(i < PAGES && b->pooled_lanes[level]);
    return piece + b->pooled_off[level] + i * b->pooled_bytes[level];
}

nct_step nct_branches_step(const nct_branches *b, const nct_cache *cache, size_t kv_head, size_t row,
                           size_t block) {
    return step_of(b, cache, piece_of(b, kv_head, b->branch[row]), block);
}

void *nct_branches_pooled(const nct_branches *b, int level, size_t kv_head, size_t row, size_t page) {
    return pooled_of(b, piece_of(b, kv_head, b->branch[row]), level, page);
}

/* ------------------------------------------------------------------ one layer */

struct laying {
    const nct_branches *branches;
    const nct_cache *cache;
    const nct_batch *batch;
    size_t layer;
};

/* One head of a branch. */
struct laid {
    const struct laying *of;
    size_t kv_head;
    uint8_t *piece;
};

static const void *keys_of(const void *context, size_t block) {
    const struct laid *k = context;
    const struct laying *of = k->of;
    return block < nct_branches_block(of->branches)
               ? nct_cache_step(of->cache, of->layer, k->kv_head, block).k
               : step_of(of->branches, of->cache, k->piece, block).k;
}

/* What is cached of the first block; lanes that nobody sees must be finite. */
static void begin_blocks(const struct laid *k, size_t n_blocks) {
    const nct_branches *b = k->of->branches;
    const nct_cache *c = k->of->cache;
    for (size_t i = 0; i < n_blocks; i++) {
        uint8_t *keys = k->piece + i * c->key_bytes, *values = k->piece + b->value_off + i * c->value_bytes;
        if (i == 0 && b->first % NCT_STEP) {
            nct_step cached = nct_cache_step(c, k->of->layer, k->kv_head, nct_branches_block(b));
            memcpy(keys, cached.k, c->key_bytes);
            memcpy(values, cached.v, c->value_bytes);
        } else {
            memset(keys, 0, c->key_bytes);
            memset(values, 0, c->value_bytes);
        }
    }
}

static void put_row(const struct laid *k, size_t row) {
    const nct_branches *b = k->of->branches;
    const nct_cache *c = k->of->cache;
    size_t p = nct_batch_position(k->of->batch, row), i = p / NCT_STEP - nct_branches_block(b),
           at = k->kv_head * c->head_dim;
    nct_key_put(c->k_type, k->piece + i * c->key_bytes, NCT_STEP, p % NCT_STEP,
                nct_branches_key(b, k->of->layer, row) + at, c->head_dim);
    nct_value_put(c->v_type, k->piece + b->value_off + i * c->value_bytes, p % NCT_STEP,
                  nct_branches_value(b, k->of->layer, row) + at, c->head_dim);
}

/* Windows that end on the branch, whose last position is p. */
static void pool_level(const struct laid *k, int level, size_t p) {
    const nct_branches *b = k->of->branches;
    const nct_cache *c = k->of->cache;
    float mean[NCT_HEAD_DIM_MAX];
    size_t kept = nct_level_count(c->level[level], b->first), n = nct_level_count(c->level[level], p + 1);
    for (size_t window = kept; window < n; window++) {
        size_t page = (window * c->level[level].stride + c->level[level].size - 1) / NCT_PAGE,
               first = nct_cache_first_window(c, level, page);
        nct_pooled_mean(c, level, window, keys_of, k, mean);
        nct_key_put(nct_pooled_type(c->k_type), pooled_of(b, k->piece, level, page), b->pooled_lanes[level],
                    window - (first > kept ? first : kept), mean, c->head_dim);
    }
}

static void lay_branch(void *context, int task, int worker) {
    (void)worker;
    const struct laying *of = context;
    const nct_branches *b = of->branches;
    size_t kv_head = (size_t)task / b->n_branches, branch = (size_t)task % b->n_branches,
           row = b->leaf[branch], p = nct_batch_position(of->batch, row);
    struct laid k = {of, kv_head, piece_of(b, kv_head, branch)};
    begin_blocks(&k, p / NCT_STEP - nct_branches_block(b) + 1);
    for (;; row = of->batch->parent[row]) {
        put_row(&k, row);
        if (row == 0)
            break;
    }
    for (int level = 0; level < 2 && b->pooled_lanes[level]; level++)
        pool_level(&k, level, p);
}

void nct_branches_lay(const nct_exec *exec, const nct_branches *branches, const nct_cache *cache,
                      size_t layer, const nct_batch *batch) {
    struct laying k = {branches, cache, batch, layer};
    nct_pool_run(exec->pool, (int)(branches->n_branches * cache->n_kv_heads), lay_branch, &k);
}

/* ------------------------------------------------------------------ what is accepted */

struct keeping {
    const nct_branches *branches;
    const nct_cache *cache;
    const uint8_t *path;
    size_t n;
};

static void keep_layer(void *context, int task, int worker) {
    (void)worker;
    const struct keeping *k = context;
    const nct_branches *b = k->branches;
    size_t layer = (size_t)task, d = k->cache->head_dim;
    for (size_t i = 0; i < k->n; i++)
        for (size_t kv = 0; kv < k->cache->n_kv_heads; kv++)
            nct_cache_store(k->cache, layer, kv, b->first + i,
                            nct_branches_key(b, layer, k->path[i]) + kv * d,
                            nct_branches_value(b, layer, k->path[i]) + kv * d);
}

void nct_branches_keep(const nct_exec *exec, const nct_branches *branches, nct_cache *cache,
                       const uint8_t *path, size_t n) {
    assert(branches->first == cache->length);
    struct keeping k = {branches, cache, path, n};
    nct_pool_run(exec->pool, (int)cache->n_layers, keep_layer, &k);
    nct_batch batch = {.n = n, .first = cache->length};
    for (size_t layer = 0; layer < cache->n_layers && branches->pooled_lanes[0]; layer++)
        nct_pooled_update(exec, cache, layer, &batch);
    cache->length += n;
}
