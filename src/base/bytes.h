/** Byte strings: a growable buffer, how a text ends, and little-endian loads that need no alignment. */
#ifndef NCT_BASE_BYTES_H
#define NCT_BASE_BYTES_H

#include <string.h>

#include "base/mem.h"

/** A growable byte buffer. Zeroed is empty. `data` is NULL or NUL-terminated after `n` bytes. */
typedef struct nct_bytes {
    char *data;
    size_t n, capacity;
} nct_bytes;

nct_status nct_bytes_add(nct_bytes *b, const void *data, size_t n, nct_error *err);
nct_status nct_bytes_add_str(nct_bytes *b, const char *s, nct_error *err);
nct_status nct_bytes_printf(nct_bytes *b, nct_error *err, const char *fmt, ...) NCT_PRINTF(3, 4);
void nct_bytes_reset(nct_bytes *b); /* frees; the buffer is empty again */

/** Whether a text ends in another; NULL is empty. */
static inline bool nct_ends_with(const char *s, const char *end) {
    size_t n = s ? strlen(s) : 0, m = strlen(end);
    return n >= m && memcmp(s + n - m, end, m) == 0;
}

static inline uint16_t nct_le16(const void *p) {
    const uint8_t *b = p;
    return (uint16_t)(b[0] | b[1] << 8);
}
static inline uint32_t nct_le32(const void *p) {
    const uint8_t *b = p;
    return (uint32_t)b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
}
static inline uint64_t nct_le64(const void *p) {
    return (uint64_t)nct_le32(p) | (uint64_t)nct_le32((const uint8_t *)p + 4) << 32;
}

#endif
