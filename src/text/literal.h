/** Values as Python writes them, or JSON, to JSON: what models put into tool calls. Strings with any quotes and
 *  escapes, numbers, True False None and true false null, lists, tuples and dictionaries.
 */
#ifndef NCT_TEXT_LITERAL_H
#define NCT_TEXT_LITERAL_H

#include "base/bytes.h"

/** Reads one value at the beginning of s (n bytes), white space in front skipped, and appends it to `out` as JSON.
 *  *n_used is its size, 0 if it is no value (then `out` is as it was). Nesting deeper than 64 is none. */
nct_status nct_literal_read(const char *s, size_t n, nct_bytes *out, size_t *n_used, nct_error *err);

#endif
