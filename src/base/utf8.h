/** UTF-8 as Unicode defines it: no overlong forms, no surrogates, nothing above U+10FFFF. */
#ifndef NCT_BASE_UTF8_H
#define NCT_BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NCT_REPLACEMENT "\xef\xbf\xbd" /* U+FFFD */

/** Bytes of the character at s, of which n > 0 bytes are there; 0 if no valid character starts there.
 *  *code is its code point. */
static inline size_t nct_utf8_decode(const char *s, size_t n, uint32_t *code) {
    const uint8_t *b = (const uint8_t *)s;
    if (b[0] < 0x80) {
        *code = b[0];
        return 1;
    }
    size_t need = b[0] >= 0xf0 ? 4 : b[0] >= 0xe0 ? 3 : 2;
    if (b[0] < 0xc2 || b[0] > 0xf4 || need > n)
        return 0;
    uint32_t c = b[0] & (0xffu >> (need + 1));
    for (size_t i = 1; i < need; i++) {
        if ((b[i] & 0xc0) != 0x80)
            return 0;
        c = c << 6 | (b[i] & 0x3fu);
    }
    if ((need == 3 && (c < 0x800 || (c >= 0xd800 && c < 0xe000))) ||
        (need == 4 && (c < 0x10000 || c > 0x10ffff)))
        return 0;
    *code = c;
    return need;
}

static inline bool nct_utf8_valid(const char *s, size_t n) {
    uint32_t code;
    for (size_t i = 0, length; i < n; i += length)
        if ((length = nct_utf8_decode(s + i, n - i, &code)) == 0)
            return false;
    return true;
}

/** True if s (n bytes, n >= 1) may still become one valid character when more bytes follow. */
static inline bool nct_utf8_unfinished(const char *s, size_t n) {
    const uint8_t *b = (const uint8_t *)s;
    if (b[0] < 0xc2 || b[0] > 0xf4 || n >= (b[0] >= 0xf0 ? 4u : b[0] >= 0xe0 ? 3u : 2u))
        return false;
    for (size_t i = 1; i < n; i++)
        if ((b[i] & 0xc0) != 0x80)
            return false;
    if (n < 2)
        return true;
    return !((b[0] == 0xe0 && b[1] < 0xa0) || (b[0] == 0xed && b[1] >= 0xa0) ||
             (b[0] == 0xf0 && b[1] < 0x90) || (b[0] == 0xf4 && b[1] >= 0x90));
}

#endif
