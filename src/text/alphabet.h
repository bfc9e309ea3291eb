/** How byte-level vocabularies spell bytes: each is one character, so that pieces are valid text whatever their bytes
 *  are. Printable bytes of Latin-1 stand for themselves, the other 68 are U+0100 and following, in ascending order.
 */
#ifndef NCT_TEXT_ALPHABET_H
#define NCT_TEXT_ALPHABET_H

#include <stdbool.h>
#include <stdint.h>

static inline bool nct_alphabet_is_plain(uint32_t byte) {
    return (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 255 && byte != 173);
}

/** The character of a byte: below 0x144, so one or two bytes of UTF-8. */
static inline uint32_t nct_alphabet_code(uint8_t byte) {
    if (nct_alphabet_is_plain(byte))
        return byte;
    if (byte <= 32)
        return 256u + byte;
    return byte == 173 ? 256 + 67u : 256u + 33 + (byte - 127u);
}

/** The byte of a character; -1: it is none of the alphabet. */
static inline int nct_alphabet_byte(uint32_t code) {
    if (code < 256)
        return nct_alphabet_is_plain(code) ? (int)code : -1;
    code -= 256;
    return code <= 32 ? (int)code : code < 67 ? (int)(code - 33 + 127) : code == 67 ? 173 : -1;
}

/** Spells n bytes at `out`, which has room for 2 n. Returns the size. */
static inline uint32_t nct_alphabet_spell(const char *s, uint32_t n, char *out) {
    uint32_t m = 0;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t code = nct_alphabet_code((uint8_t)s[i]);
        if (code >= 0x80) {
            out[m++] = (char)(0xc0 | code >> 6);
            code = 0x80 | (code & 63);
        }
        out[m++] = (char)code;
    }
    return m;
}

#endif
