/** A region handed out front to back: the step's scratch. Memory is committed as it is touched. Not for
 *  several threads at once. */
#ifndef NCT_BASE_ARENA_H
#define NCT_BASE_ARENA_H

#include "base/mem.h"

typedef struct nct_arena {
    uint8_t *data;
    size_t n_bytes, used, peak;
} nct_arena;

nct_status nct_arena_open(nct_arena *arena, size_t n_bytes, nct_error *err);
void nct_arena_close(nct_arena *arena);

/** 64-byte aligned, uninitialised memory. The arena was sized when opened; asking for more than it
 *  holds is a programmer's error and stops in an assertion. */
void *nct_arena_take(nct_arena *arena, size_t n, size_t item_bytes);

static inline size_t nct_arena_mark(const nct_arena *arena) { return arena->used; }
static inline void nct_arena_release(nct_arena *arena, size_t mark) { arena->used = mark; }

/** What nct_arena_take(n, item_bytes) uses up: for sizing. */
static inline size_t nct_arena_cost(size_t n, size_t item_bytes) {
    return (n * item_bytes + NCT_ALIGN - 1) / NCT_ALIGN * NCT_ALIGN;
}

#endif
