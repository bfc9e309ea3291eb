/** JSON: the one doorway to cJSON. Trees are read-only here; every accessor checks kinds.
 *  Lookups are case-sensitive. Iterate arrays and objects with nct_json_first / nct_json_next:
 *  indexed access is quadratic. */
#ifndef NCT_BASE_JSON_H
#define NCT_BASE_JSON_H

#include "base/bytes.h"

typedef struct cJSON nct_json;

/** Parses n bytes; `name` appears in errors (NCT_E_FORMAT, with the byte offset of the fault).
 *  The caller closes the tree. */
nct_status nct_json_parse(const char *name, const char *text, size_t n, nct_json **json, nct_error *err);
nct_status nct_json_open(const char *path, nct_json **json, nct_error *err);
void nct_json_close(nct_json *json);

const nct_json *nct_json_get(const nct_json *object, const char *key); /* NULL: absent, null, or not an object */
const nct_json *nct_json_first(const nct_json *container);
const nct_json *nct_json_next(const nct_json *item);
const char *nct_json_key(const nct_json *item); /* name of an object's member */
size_t nct_json_size(const nct_json *container);

bool nct_json_is_object(const nct_json *json);
bool nct_json_is_array(const nct_json *json);
bool nct_json_is_string(const nct_json *json);
bool nct_json_is_number(const nct_json *json);
bool nct_json_is_bool(const nct_json *json);
bool nct_json_is_null(const nct_json *json); /* present and null */

/** Values with a fallback where json is NULL or of another kind. nct_json_int also falls back where
 *  the number is no integer in [INT64_MIN, INT64_MAX] exactly representable. */
const char *nct_json_string(const nct_json *json, const char *fallback);
double nct_json_number(const nct_json *json, double fallback);
int64_t nct_json_int(const nct_json *json, int64_t fallback);
bool nct_json_bool(const nct_json *json, bool fallback);

/** Appends the text of a value, as Python's json.dumps spells it with ensure_ascii=False and
 *  separators (", ", ": ") if spaced, else (",", ":"). */
nct_status nct_json_write(const nct_json *json, bool spaced, nct_bytes *out, nct_error *err);

/** Appends s (n bytes) as a JSON string with quotes. Invalid UTF-8 becomes U+FFFD. */
nct_status nct_json_write_string(nct_bytes *out, const char *s, size_t n, nct_error *err);

#endif
