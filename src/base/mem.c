#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

#ifdef NCT_TESTING
atomic_long nct_mem_fail_in = -1;

static bool refuse_now(void) {
    return atomic_load(&nct_mem_fail_in) >= 0 && atomic_fetch_sub(&nct_mem_fail_in, 1) == 0;
}
#else
static bool refuse_now(void) { return false; }
#endif

nct_status nct_alloc(void **p, size_t n, size_t item_bytes, nct_error *err) {
    size_t bytes, padded;
    if (!nct_mul_size(n, item_bytes, &bytes) || !nct_add_size(bytes, 2 * NCT_ALIGN - 1, &padded))
        return nct_fail(err, NCT_E_MEMORY, "%zu items of %zu bytes exceed the address space", n, item_bytes);
    padded = padded / NCT_ALIGN * NCT_ALIGN; /* one spare line, so that no allocation is empty */
    void *block = refuse_now() ? NULL : aligned_alloc(NCT_ALIGN, padded);
    if (!block)
        return nct_fail(err, NCT_E_MEMORY, "out of memory: %zu bytes were refused", bytes);
    memset(block, 0, padded);
    *p = block;
    return NCT_OK;
}

nct_status nct_grow(void **p, size_t *capacity, size_t n, size_t item_bytes, nct_error *err) {
    if (n <= *capacity)
        return NCT_OK;
    size_t wanted = *capacity > n / 2 ? *capacity * 2 : n;
    if (wanted < 16)
        wanted = 16;
    void *block = NULL;
    NCT_TRY(nct_alloc(&block, wanted, item_bytes, err));
    if (*p)
        memcpy(block, *p, *capacity * item_bytes);
    free(*p);
    *p = block;
    *capacity = wanted;
    return NCT_OK;
}

nct_status nct_copy_string(char **copy, const char *s, size_t n, nct_error *err) {
    void *block = NULL;
    NCT_TRY(nct_alloc(&block, n + 1, 1, err));
    memcpy(block, s, n);
    *copy = block;
    return NCT_OK;
}

void nct_free(void *p) { free(p); }
