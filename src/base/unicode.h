/** What Unicode says of characters: the one doorway to libutf8proc. Code points are at most 0x10ffff; whatever is
 *  above (a byte that is no UTF-8) has no category and is its own lower case.
 */
#ifndef NCT_BASE_UNICODE_H
#define NCT_BASE_UNICODE_H

#include "base/bytes.h"

/** The general category as one bit; 0 for what is no code point. */
uint32_t nct_unicode_category(uint32_t code);

/** The bits of a category by its name, "L" or "Lu". False: there is none of this name. */
bool nct_unicode_named(const char *name, size_t n, uint32_t *mask);

/** White_Space, which is the categories of this mask and some control characters. */
uint32_t nct_unicode_spaces(void);
bool nct_unicode_is_space(uint32_t code);

/** The simple mappings of case. */
uint32_t nct_unicode_lower(uint32_t code);
uint32_t nct_unicode_upper(uint32_t code);

/** Columns that a terminal gives the character: 0 for marks that join the one before, 2 for wide ones (UAX #11). */
size_t nct_unicode_columns(uint32_t code);

/** Appends text (n bytes) in lower case, by the full mapping: a capital sigma at the end of a word becomes a final
 *  one. Bytes that are not UTF-8 become U+FFFD. */
nct_status nct_unicode_add_lower(nct_bytes *out, const char *text, size_t n, nct_error *err);

/** Appends text (n bytes of UTF-8) in compatibility decomposition (NFKD) without nonspacing marks (category Mn). */
nct_status nct_unicode_add_unmarked(nct_bytes *out, const char *text, size_t n, nct_error *err);

/** Appends a code point as UTF-8. */
nct_status nct_unicode_add(nct_bytes *out, uint32_t code, nct_error *err);

#endif
