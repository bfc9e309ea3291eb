/** The pages of one timeline's cache as files: kept for those that come after, taken from those that went before, and,
 *  if asked for, in place of memory.
 *
 *  A page is a function of its identity and of all tokens up to its end, and of nothing else: rows have the same bits
 *  however they are computed. So it is named by these (a chain of SHA-256), found by anybody who has the same tokens, and
 *  never changed. What is found is compared with its record, ids and checksums before a bit of it is used; what is
 *  damaged is told of once, removed and computed again.
 *
 *  In memory: pages are copied to files once they are full and had their price, and read from files.
 *  Mapped: a page is a file from the beginning, mapped where it belongs; once it is full it gets its name, is on the disk
 *  and can be let go, so that a cache may exceed memory. A page that was taken is mapped as it lies; to go on within
 *  one, its beginning is copied to a file of one's own first.
 */
#ifndef NCT_STORE_STORE_H
#define NCT_STORE_STORE_H

#include "attn/cache.h"
#include "base/pool.h"
#include "store/folder.h"

typedef struct nct_store_options {
    const char *folder;
    bool mapped;
    bool read,
        write; /* take pages, keep pages; mapped without write: files without a name, which vanish with the process */
    nct_link identity;
    uint64_t max_bytes;    /* that pages may take in the folder; 0: nct_folder_default_max; not when mapped */
    double min_seconds;    /* in memory: nothing is kept before computing took so long .. */
    size_t min_tokens;     /* .. for so many tokens */
    bool when_asked;       /* in memory: only nct_store_keep keeps anything */
    nct_notice_fn *notice; /* may be NULL */
    void *context;
} nct_store_options;

typedef struct nct_store nct_store;

/** For an empty cache, which is borrowed, as is the pool. Nothing is made in the folder before there is something to keep,
 *  unless mapped. */
nct_status nct_store_open(const nct_store_options *options, nct_cache *cache, nct_pool *pool,
                          nct_store **store, nct_error *err);

/** Mapped: what is unfinished is kept, with ids [cache->length]. Before nct_cache_close. NULL is fine. */
void nct_store_close(nct_store *store, const int32_t *ids);

/** The cache holds the first cache->length of ids [n]. Takes as many more as are found; afterwards the cache holds at
 *  most `most` (< n leaves tokens to compute). Rarely it holds fewer than before, where a damaged file spoilt a page.
 *  A failure is one of memory, or when mapped of the disk. */
nct_status nct_store_take(nct_store *store, const int32_t *ids, size_t n, size_t most, nct_error *err);

/** Before positions [first, first + n) are stored to, and before they are reserved. */
nct_status nct_store_prepare(nct_store *store, size_t first, size_t n, nct_error *err);

/** After the cache has come to hold ids [cache->length], the last n of which took so many seconds; prompt: they were
 *  given, not generated. Pages that are full are kept. In memory this cannot fail: what the disk refuses is told as a
 *  notice, and nothing more is kept. */
nct_status nct_store_grown(nct_store *store, const int32_t *ids, size_t n, double seconds, bool prompt,
                           nct_error *err);

/** After the cache was cut to cache->length. */
void nct_store_cut(nct_store *store);

/** Another text begins: min_seconds are to be spent anew. */
void nct_store_begin(nct_store *store);

/** In memory: keeps the first n of ids, an unfinished page included. */
void nct_store_keep(nct_store *store, const int32_t *ids, size_t n);

typedef struct nct_store_counts {
    uint64_t n_taken;       /* tokens */
    uint64_t written_bytes; /* given a name */
    uint64_t mapped_bytes;  /* of the cache, in files */
    uint64_t dirty_bytes;   /* of these, written and not on the disk yet */
    double saved_s;         /* that computing the taken tokens took once */
} nct_store_counts;
void nct_store_count(const nct_store *store, nct_store_counts *counts);

#endif
