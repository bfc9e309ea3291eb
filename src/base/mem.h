/** Heap memory: checked sizes, 64-byte alignment, and a way for tests to make any allocation fail. */
#ifndef NCT_BASE_MEM_H
#define NCT_BASE_MEM_H

#include <stdatomic.h>
#include <stddef.h>

#include "base/status.h"

#define NCT_ALIGN 64

/** Zeroed memory of n items of item_bytes, 64-byte aligned. Zero items give a valid pointer.
 *  Overflow and refusal are NCT_E_MEMORY. Freed with nct_free. */
nct_status nct_alloc(void **p, size_t n, size_t item_bytes, nct_error *err);

/** Grows *p (from nct_alloc, or NULL) of *capacity items so that it holds at least n; contents are
 *  kept, capacity at least doubles. On failure *p and *capacity are unchanged. */
nct_status nct_grow(void **p, size_t *capacity, size_t n, size_t item_bytes, nct_error *err);

/** A NUL-terminated copy of n bytes. */
nct_status nct_copy_string(char **copy, const char *s, size_t n, nct_error *err);

/** a * b and a + b, or false on overflow. */
static inline bool nct_mul_size(size_t a, size_t b, size_t *out) { return !__builtin_mul_overflow(a, b, out); }
static inline bool nct_add_size(size_t a, size_t b, size_t *out) { return !__builtin_add_overflow(a, b, out); }

#ifdef NCT_TESTING
/** Tests: counts allocations down from n and refuses the one that reaches zero; negative: never. */
extern atomic_long nct_mem_fail_in;
#endif

/** The next multiple of 16, of 64. */
static inline size_t nct_pad16(size_t n) { return (n + 15) / 16 * 16; }
static inline size_t nct_pad64(size_t n) { return (n + 63) / 64 * 64; }

#endif
