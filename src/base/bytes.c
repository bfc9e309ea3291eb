#include "base/bytes.h"

#include <stdarg.h>
#include <stdio.h>

nct_status nct_bytes_add(nct_bytes *b, const void *data, size_t n, nct_error *err) {
    size_t need;
    if (!nct_add_size(b->n, n, &need) || !nct_add_size(need, 1, &need))
        return nct_fail(err, NCT_E_MEMORY, "a text of %zu + %zu bytes exceeds the address space", b->n, n);
    void *p = b->data;
    NCT_TRY(nct_grow(&p, &b->capacity, need, 1, err));
    b->data = p;
    if (n)
        memcpy(b->data + b->n, data, n);
    b->n += n;
    b->data[b->n] = 0;
    return NCT_OK;
}

nct_status nct_bytes_add_str(nct_bytes *b, const char *s, nct_error *err) { return nct_bytes_add(b, s, strlen(s), err); }

nct_status nct_bytes_printf(nct_bytes *b, nct_error *err, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    if (n < 0)
        return nct_fail(err, NCT_E_ARGUMENT, "a text could not be formatted");
    void *p = b->data;
    NCT_TRY(nct_grow(&p, &b->capacity, b->n + (size_t)n + 1, 1, err));
    b->data = p;
    va_start(args, fmt);
    vsnprintf(b->data + b->n, (size_t)n + 1, fmt, args);
    va_end(args);
    b->n += (size_t)n;
    return NCT_OK;
}

void nct_bytes_reset(nct_bytes *b) {
    nct_free(b->data);
    *b = (nct_bytes){0};
}
