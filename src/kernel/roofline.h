/** What this machine can do at best, measured: the roof that every speed is judged against. */
#ifndef NCT_KERNEL_ROOFLINE_H
#define NCT_KERNEL_ROOFLINE_H

#include "base/pool.h"

/** What is multiplied: float32, 8-bit integers with 32-bit sums, bfloat16 with float32 sums. */
typedef enum nct_roof_kind { NCT_ROOF_F32, NCT_ROOF_INT8, NCT_ROOF_BF16 } nct_roof_kind;

/** Multiplying in registers with one rung's own instructions. */
typedef struct nct_roofline_loop {
    const char *isa, *instruction;
    nct_roof_kind kind;
    void (*run)(void); /* a few hundred microseconds of it, on the calling thread */
    double ops;        /* of one run; a multiply-add is two */
} nct_roofline_loop;

/** NULL for a rung without a loop, such as ref, and for bfloat16 where this processor cannot multiply it. */
const nct_roofline_loop *nct_roofline_loop_find(const char *isa, nct_roof_kind kind);

/** Reads n_bytes (a multiple of 64, 8-byte aligned), prefetching so many bytes ahead (0: not at all). What
 *  it returns depends on every byte, so that nothing is left out. */
uint64_t nct_roofline_touch(const void *data, size_t n_bytes, size_t ahead);

/** Memory to read from: more than any cache holds. */
typedef struct nct_roofline_memory nct_roofline_memory;
typedef enum nct_roof_pages { NCT_PAGES_AS_IS, NCT_PAGES_SMALL, NCT_PAGES_HUGE } nct_roof_pages;

/** Takes it, on the nodes of the pool's threads, with pages as the system gives them, or small or huge ones where
 *  the system grants that. NCT_E_MEMORY. The caller closes it (NULL is fine). */
nct_status nct_roofline_memory_open(nct_pool *pool, nct_roof_pages pages, nct_roofline_memory **memory, nct_error *err);
void nct_roofline_memory_close(nct_roofline_memory *memory);

/** Bytes a second that the threads which the pool uses read from it together: median of `repeats` passes. */
double nct_roofline_memory_read(nct_pool *pool, nct_roofline_memory *memory, int repeats);

/** The same in one: opens, reads, closes. */
nct_status nct_roofline_read(nct_pool *pool, int repeats, double *bytes_s, nct_error *err);

/** Operations a second of the threads that the pool uses in a rung's loop, 0 where it has none. *instruction (may
 *  be NULL) is its name. */
double nct_roofline_multiply(nct_pool *pool, const char *isa, nct_roof_kind kind, int repeats, const char **instruction);

#endif
