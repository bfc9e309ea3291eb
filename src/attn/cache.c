#include "attn/cache.h"

#include <assert.h>
#include <string.h>
#include <unistd.h>

#include "base/pages.h"
#include "kernel/kv.h"

/* Adds a section of n bytes per layer and head to the page; false on overflow. */
static bool add_section(nct_cache *c, size_t bytes, size_t *off) {
    *off = c->page_bytes;
    return nct_mul_size(bytes, c->n_layers, &bytes) && nct_mul_size(bytes, c->n_kv_heads, &bytes) &&
           nct_add_size(bytes, c->page_bytes, &c->page_bytes);
}

nct_status nct_cache_open(const nct_cache_options *o, nct_cache *cache, nct_error *err) {
    nct_cache c = {.n_layers = o->n_layers,
                   .n_kv_heads = o->n_kv_heads,
                   .head_dim = o->head_dim,
                   .limit = o->limit,
                   .k_type = o->k_type,
                   .v_type = o->v_type};
    size_t bytes, key_off;
    c.n_pages = o->limit / NCT_PAGE + (o->limit % NCT_PAGE != 0);
    c.key_bytes = nct_key_bytes(o->k_type, o->head_dim, NCT_STEP);
    c.value_bytes = nct_value_bytes(o->v_type, o->head_dim);
    bool fits = add_section(&c, NCT_PAGE_STEPS * c.key_bytes, &key_off) &&
                add_section(&c, NCT_PAGE_STEPS * c.value_bytes, &c.value_off);
    if (o->sparse && o->sparse->enabled) {
        c.level[0] = o->sparse->fine;
        c.level[1] = o->sparse->coarse;
        for (int i = 0; i < 2; i++) {
            size_t windows = (NCT_PAGE + c.level[i].stride - 1) / c.level[i].stride;
            c.pooled_lanes[i] = (windows + 15) / 16 * 16;
            c.pooled_bytes[i] = (nct_key_bytes(nct_pooled_type(o->k_type), o->head_dim, c.pooled_lanes[i]) + 63) / 64 * 64;
            fits = fits && add_section(&c, c.pooled_bytes[i], &c.pooled_off[i]);
        }
    }
    size_t border = (size_t)sysconf(_SC_PAGESIZE);
    fits = fits && nct_add_size(c.page_bytes, border - 1, &c.page_bytes);
    c.page_bytes = c.page_bytes / border * border;
    if (!fits || !nct_mul_size(c.page_bytes, c.n_pages, &bytes))
        return nct_fail(err, NCT_E_MEMORY, "a cache of %zu positions exceeds the address space", o->limit);
    void *pages = NULL;
    NCT_TRY(nct_pages_reserve(&pages, bytes, err));
    c.pages = pages;
    *cache = c;
    return NCT_OK;
}

void nct_cache_close(nct_cache *cache) {
    nct_pages_close(cache->pages, cache->page_bytes * cache->n_pages);
    *cache = (nct_cache){0};
}

/* Where the huge page ends that holds the end of the first n pages. It is committed as a whole, or the system would fill
 * it with small ones. */
static size_t huge_end(const nct_cache *c, size_t n) {
    size_t bytes = n * c->page_bytes, all = c->n_pages * c->page_bytes, over = (uintptr_t)(c->pages + bytes) % NCT_HUGE_PAGE;
    size_t end = bytes + (over ? NCT_HUGE_PAGE - over : 0);
    return end < all ? end : all;
}

nct_status nct_cache_reserve(nct_cache *cache, size_t n, nct_error *err) {
    if (n > cache->limit)
        return nct_fail(err, NCT_E_CONTEXT, "%zu tokens do not fit a context of %zu", n, cache->limit);
    size_t pages = n / NCT_PAGE + (n % NCT_PAGE != 0);
    if (pages <= cache->n_committed)
        return NCT_OK;
    if (cache->backing.provide) {
        for (; cache->n_committed < pages; cache->n_committed++)
            NCT_TRY(cache->backing.provide(cache->backing.context, cache->n_committed, err));
        return NCT_OK;
    }
    size_t from = cache->n_committed * cache->page_bytes, end = huge_end(cache, pages);
    NCT_TRY(nct_pages_commit(cache->pages, from, end - from, err));
    cache->n_committed = pages;
    return NCT_OK;
}

nct_status nct_cache_copy(const nct_cache *from, size_t n, nct_cache *cache, nct_error *err) {
    assert(n <= from->length && cache->page_bytes == from->page_bytes && !cache->backing.provide);
    NCT_TRY(nct_cache_reserve(cache, n, err));
    for (size_t page = 0; page * NCT_PAGE < n; page++) {
        size_t left = n - page * NCT_PAGE, held = left < NCT_PAGE ? left : NCT_PAGE;
        for (size_t i = 0; i < NCT_CACHE_SECTIONS; i++) {
            nct_cache_section s = nct_cache_section_of(from, i, held);
            for (size_t piece = 0; piece < s.n_pieces && s.used; piece++) {
                size_t at = page * from->page_bytes + s.off + piece * s.piece_bytes;
                memcpy(cache->pages + at, from->pages + at, s.used);
            }
        }
    }
    cache->length = n;
    return NCT_OK;
}

void nct_cache_trim(nct_cache *cache, size_t n) {
    size_t pages = n / NCT_PAGE + (n % NCT_PAGE != 0);
    assert(n >= cache->length && !cache->backing.provide);
    if (pages >= cache->n_committed)
        return;
    nct_pages_discard(cache->pages, pages * cache->page_bytes,
                      huge_end(cache, cache->n_committed) - pages * cache->page_bytes);
    cache->n_committed = pages;
}

/* Writes what is there already, once a page of the system's. */
static void touch(uint8_t *p, size_t n_bytes) {
    volatile uint8_t *at = p;
    for (size_t i = 0; i < n_bytes; i += 4096)
        at[i] = 0;
    if (n_bytes)
        at[n_bytes - 1] = 0;
}

void nct_cache_settle(const nct_cache *c, size_t first_page, const nct_pool *pool) {
    const size_t off[] = {0, c->value_off, c->pooled_off[0], c->pooled_off[1]};
    const size_t bytes[] = {NCT_PAGE_STEPS * c->key_bytes, NCT_PAGE_STEPS * c->value_bytes,
                            c->pooled_bytes[0], c->pooled_bytes[1]};
    if (nct_pool_nodes(pool) == 1 || first_page >= c->n_committed)
        return;
    for (int node = 0; node < nct_pool_nodes(pool); node++) {
        nct_pool_prefer(pool, node);
        for (size_t kv = nct_pool_share(pool, c->n_kv_heads, node);
             kv < nct_pool_share(pool, c->n_kv_heads, node + 1); kv++)
            for (size_t page = first_page; page < c->n_committed; page++)
                for (size_t layer = 0; layer < c->n_layers; layer++)
                    for (size_t i = 0; i < 4; i++)
                        touch(c->pages + page * c->page_bytes + off[i] +
                                  (layer * c->n_kv_heads + kv) * bytes[i],
                              bytes[i]);
    }
    nct_pool_prefer(pool, -1);
}

nct_cache_section nct_cache_section_of(const nct_cache *c, size_t index, size_t n) {
    size_t blocks = (n + NCT_STEP - 1) / NCT_STEP;
    nct_cache_section s = {.n_pieces = c->n_layers * c->n_kv_heads};
    if (index < 2) {
        size_t block_bytes = index ? c->value_bytes : c->key_bytes;
        s.off = index ? c->value_off : 0;
        s.piece_bytes = NCT_PAGE_STEPS * block_bytes;
        s.used = blocks * block_bytes;
        return s;
    }
    if (!c->pooled_lanes[index - 2])
        return (nct_cache_section){0};
    s.off = c->pooled_off[index - 2];
    s.piece_bytes = s.used = c->pooled_bytes[index - 2];
    return s;
}

nct_step nct_cache_step(const nct_cache *c, size_t layer, size_t kv_head, size_t block) {
    assert(block / NCT_PAGE_STEPS < c->n_committed);
    const uint8_t *page = c->pages + block / NCT_PAGE_STEPS * c->page_bytes;
    size_t at = (layer * c->n_kv_heads + kv_head) * NCT_PAGE_STEPS + block % NCT_PAGE_STEPS;
    return (nct_step){.k = page + at * c->key_bytes, .v = page + c->value_off + at * c->value_bytes};
}

void nct_cache_store(const nct_cache *c, size_t layer, size_t kv_head, size_t position, const float *k,
                     const float *v) {
    nct_step step = nct_cache_step(c, layer, kv_head, position / NCT_STEP);
    size_t lane = position % NCT_STEP;
    nct_key_put(c->k_type, (void *)(uintptr_t)step.k, NCT_STEP, lane, k, c->head_dim);
    nct_value_put(c->v_type, (void *)(uintptr_t)step.v, lane, v, c->head_dim);
}

void *nct_cache_pooled(const nct_cache *c, int level, size_t layer, size_t kv_head, size_t page) {
    assert(page < c->n_committed && c->pooled_lanes[level]);
    return c->pages + page * c->page_bytes + c->pooled_off[level] +
           (layer * c->n_kv_heads + kv_head) * c->pooled_bytes[level];
}

/* Adds [from, from + n) to the range at hand, or begins another. */
static void ask(nct_cache_asking *a, int i, const uint8_t *from, size_t n) {
    if (from != a->to[i]) {
        if (a->to[i] > a->from[i])
            nct_pages_want(a->from[i], (size_t)(a->to[i] - a->from[i]));
        a->from[i] = from;
    }
    a->to[i] = from + n;
}

void nct_cache_ask(const nct_cache *c, nct_cache_asking *asking, nct_step step) {
    ask(asking, 0, step.k, c->key_bytes);
    ask(asking, 1, step.v, c->value_bytes);
}

void nct_cache_ask_end(nct_cache_asking *asking) {
    for (int i = 0; i < 2; i++)
        ask(asking, i, NULL, 0);
}

void nct_cache_ask_pooled(const nct_cache *c, size_t layer, size_t n_pages) {
    for (int level = 0; level < 2; level++)
        for (size_t page = 0; c->pooled_lanes[level] && page < n_pages; page++)
            nct_pages_want(nct_cache_pooled(c, level, layer, 0, page),
                           c->n_kv_heads * c->pooled_bytes[level]);
}

uint64_t nct_cache_resident(const nct_cache *c) {
    return c->n_committed ? nct_pages_resident(c->pages, 0, c->n_committed * c->page_bytes) : 0;
}
