#include "base/arena.h"

#include <assert.h>

#include "base/pages.h"

nct_status nct_arena_open(nct_arena *arena, size_t n_bytes, nct_error *err) {
    void *p = NULL;
    NCT_TRY(nct_pages_open(&p, n_bytes, err));
    *arena = (nct_arena){.data = p, .n_bytes = n_bytes};
    return NCT_OK;
}

void nct_arena_close(nct_arena *arena) {
    nct_pages_close(arena->data, arena->n_bytes);
    *arena = (nct_arena){0};
}

void *nct_arena_take(nct_arena *arena, size_t n, size_t item_bytes) {
    size_t cost = nct_arena_cost(n, item_bytes);
    assert(cost <= arena->n_bytes - arena->used);
    void *p = arena->data + arena->used;
    arena->used += cost;
    if (arena->used > arena->peak)
        arena->peak = arena->used;
    return p;
}
