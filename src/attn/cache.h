/** Keys and values of one timeline: append, rewind.
 *
 *  Address space for the whole limit is reserved when opened; memory is committed a page at a time, so
 *  addresses never move. A page holds 1,024 positions of all layers: first all keys, then all values, each
 *  as [layer][kv head][16 blocks]; a block holds 64 positions in the layout of nct_step. A position's place
 *  depends on the position alone, and what is stored of a token depends on that token alone.
 *
 *  Where the model chooses blocks, the page also holds the compressed keys whose windows end in it, fine
 *  and coarse, each as [layer][kv head], in the type nct_pooled_type.
 */
#ifndef NCT_ATTN_CACHE_H
#define NCT_ATTN_CACHE_H

#include "attn/sparse.h"
#include "base/pool.h"
#include "kernel/kernel.h"

enum { NCT_PAGE_STEPS = 16, NCT_PAGE = NCT_STEP * NCT_PAGE_STEPS }; /* steps and positions of a page */

/** Pages that are files. provide: makes a page's memory when it is first needed, instead of the system: zeroed, readable
 *  and writable. away: whether pages have to be read from the disk at the moment; asked before a layer chooses blocks, by
 *  one thread. */
typedef struct nct_cache_backing {
    nct_status (*provide)(void *context, size_t page, nct_error *err);
    bool (*away)(void *context);
    void *context;
} nct_cache_backing;

/** What compressed keys are stored as: with scores as exact as in float32, or in half the bytes of a 16-bit type. */
static inline nct_kv_type nct_pooled_type(nct_kv_type keys) { return keys == NCT_KV_F32 ? NCT_KV_F32 : NCT_KV_Q8; }

/** Queries are readied for keys and, where that is something else, for compressed keys: in so many forms. */
static inline size_t nct_query_forms(nct_kv_type keys) { return nct_pooled_type(keys) == keys ? 1 : 2; }

typedef struct nct_cache {
    size_t n_layers, n_kv_heads, head_dim;
    size_t limit;  /* positions it may ever hold */
    size_t length; /* positions held */
    nct_kv_type k_type, v_type;
    size_t key_bytes, value_bytes; /* one block of keys, of values, of one head */
    size_t page_bytes;             /* a whole number of the system's pages, so that a page can be a mapped file */
    size_t value_off, pooled_off[2]; /* sections of a page: values, fine and coarse pooled keys */
    size_t pooled_lanes[2];          /* room for the windows that end in one page; 0: not kept */
    size_t pooled_bytes[2];          /* of one head */
    nct_level level[2];              /* fine, coarse */
    size_t n_pages, n_committed;
    uint8_t *pages;
    nct_cache_backing backing; /* zeroed: pages are memory */
} nct_cache;

typedef struct nct_cache_options {
    size_t n_layers, n_kv_heads, head_dim;
    size_t limit;
    nct_kv_type k_type, v_type;
    const nct_sparse *sparse; /* which compressed keys are kept beside; not enabled or NULL for none */
} nct_cache_options;

nct_status nct_cache_open(const nct_cache_options *options, nct_cache *cache, nct_error *err);
void nct_cache_close(nct_cache *cache); /* zeroed is fine */

/** Commits memory for positions below n. NCT_E_CONTEXT past the limit, NCT_E_MEMORY if refused. */
nct_status nct_cache_reserve(nct_cache *cache, size_t n, nct_error *err);

/** Makes `cache` hold the first n positions that another one of the same options and limit holds: a copy. The same
 *  failures as nct_cache_reserve. Neither is made of files. */
nct_status nct_cache_copy(const nct_cache *from, size_t n, nct_cache *cache, nct_error *err);

/** Gives memory back that positions from n on have, n not below the length. Pages are memory. */
void nct_cache_trim(nct_cache *cache, size_t n);

/** Where the pool has several nodes: gives pages from first_page on, which were committed just now and hold
 *  nothing, memory on the nodes whose workers attend to their heads (few_rows_segment of attend.c). */
void nct_cache_settle(const nct_cache *cache, size_t first_page, const nct_pool *pool);

/** Stores the rotated key and the value [head_dim] of one position and head; the position must be reserved. */
void nct_cache_store(const nct_cache *cache, size_t layer, size_t kv_head, size_t position, const float *k, const float *v);

/** The block of 64 positions from 64 * block on. */
nct_step nct_cache_step(const nct_cache *cache, size_t layer, size_t kv_head, size_t block);

/** True if blocks are better asked for before they are read. */
static inline bool nct_cache_is_away(const nct_cache *cache) {
    return cache->backing.away && cache->backing.away(cache->backing.context);
}

/** Asks for blocks, named in ascending order, and then for the end of the list: neighbours are asked for together.
 *  Zeroed is empty. */
typedef struct nct_cache_asking {
    const uint8_t *from[2], *to[2]; /* keys, values */
} nct_cache_asking;
void nct_cache_ask(const nct_cache *cache, nct_cache_asking *asking, nct_step step);
void nct_cache_ask_end(nct_cache_asking *asking);

/** Asks for the compressed keys of a layer in pages below n_pages. */
void nct_cache_ask_pooled(const nct_cache *cache, size_t layer, size_t n_pages);

/** Compressed keys of one page and head, a block of pooled_lanes keys of nct_pooled_type; lane j is window
 *  first + j, first = nct_cache_first_window. */
void *nct_cache_pooled(const nct_cache *cache, int level, size_t layer, size_t kv_head, size_t page);

/** The first window that ends in a page: those before it end in earlier pages. */
static inline size_t nct_cache_first_window(const nct_cache *cache, int level, size_t page) {
    return nct_level_count(cache->level[level], page * NCT_PAGE);
}

/** A section of a page: a number of equal pieces one after another, one a layer and head. Of a page that holds n of
 *  its positions the first `used` bytes of every piece may be other than zero. */
enum { NCT_CACHE_SECTIONS = 4 }; /* keys, values, fine and coarse compressed keys */
typedef struct nct_cache_section {
    size_t off, n_pieces, piece_bytes, used;
} nct_cache_section;

/** Section `index` of a page that holds its first n positions; no pieces where it is not kept. */
nct_cache_section nct_cache_section_of(const nct_cache *cache, size_t index, size_t n);

static inline uint64_t nct_cache_bytes(const nct_cache *cache) { return (uint64_t)cache->n_committed * cache->page_bytes; }
/** Bytes of these that are in memory now. */
uint64_t nct_cache_resident(const nct_cache *cache);

#endif
