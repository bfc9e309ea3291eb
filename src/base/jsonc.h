/** JSON with comments, as people write settings: read, and changed in place so that comments and order stay. */
#ifndef NCT_BASE_JSONC_H
#define NCT_BASE_JSONC_H

#include "base/json.h"

/** Parses n bytes in which // and block comments may stand between values. NCT_E_FORMAT names the line of the fault, an
 *  object that holds a key twice, or text that is no UTF-8. The caller closes the tree. */
nct_status nct_jsonc_parse(const char *name, const char *text, size_t n, nct_json **json, nct_error *err);

/** Appends to `out` the text with the member at key, or at key.member where `member` is no NULL, set to `value` (the
 *  text of a JSON value): replaced where it stands, else added at the end of its object. An empty text (white space and
 *  comments) becomes an object with it. NCT_E_FORMAT if the text does not parse, is no object, or if `key` holds
 *  something that has no members. */
nct_status nct_jsonc_set(const char *name, const char *text, size_t n, const char *key, const char *member,
                         const char *value, nct_bytes *out, nct_error *err);

#endif
