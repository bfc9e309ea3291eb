/** GGUF: metadata by key, then tensors in ggml's block types (formats.md 8). The metadata part serves the
 *  tokenizer and the configuration; all lookups check types. */
#ifndef NCT_FORMAT_GGUF_H
#define NCT_FORMAT_GGUF_H

#include "base/status.h"

typedef struct nct_gguf nct_gguf;

/** Values by key; false if the key is absent or not of a fitting kind: an integer for int, any number for
 *  number. */
bool nct_gguf_int(const nct_gguf *gguf, const char *key, int64_t *value);
bool nct_gguf_number(const nct_gguf *gguf, const char *key, double *value);
bool nct_gguf_bool(const nct_gguf *gguf, const char *key, bool *value);
bool nct_gguf_string(const nct_gguf *gguf, const char *key, const char **s,
                     size_t *n_bytes); /* not NUL-terminated */
bool nct_gguf_has(const nct_gguf *gguf, const char *key);

/** Element types of values and arrays, as numbered in the file. */
enum {
    NCT_GGUF_U8,
    NCT_GGUF_I8,
    NCT_GGUF_U16,
    NCT_GGUF_I16,
    NCT_GGUF_U32,
    NCT_GGUF_I32,
    NCT_GGUF_F32,
    NCT_GGUF_BOOL,
    NCT_GGUF_STRING,
    NCT_GGUF_ARRAY,
    NCT_GGUF_U64,
    NCT_GGUF_I64,
    NCT_GGUF_F64,
};

/** Arrays. Iterate strings with a cursor; numbers by index. */
typedef struct nct_gguf_array {
    const uint8_t *data; /* first element */
    const uint8_t *end;  /* end of the metadata section, for bounds */
    uint32_t type;       /* of the elements */
    uint64_t n;
} nct_gguf_array;
bool nct_gguf_find_array(const nct_gguf *gguf, const char *key, nct_gguf_array *array);
/** Reads the string at *cursor (start with array.data) and moves on. The array was checked when the
 *  file was opened, so this cannot run past its end for array.n calls. */
void nct_gguf_next_string(const uint8_t **cursor, const char **s, size_t *n_bytes);
/** Element i of an array of numbers; false if it does not hold numbers or i is out of range. */
bool nct_gguf_array_number(const nct_gguf_array *array, uint64_t i, double *value);

/* ------------------------------------------------------------------ opening: format.c, tests */

struct nct_files;
struct nct_tensors;

/** Checks a file that lies in memory and adds its tensors, which borrow `path` and the data, as does *gguf.
 *  NCT_E_FORMAT: damaged or lying; NCT_E_UNSUPPORTED: version 1, byte-swapped, a tensor type whose size is
 *  not known. The caller closes *gguf. */
nct_status nct_gguf_parse(const char *path, const uint8_t *data, size_t n_bytes, struct nct_tensors *tensors,
                          nct_gguf **gguf, nct_error *err);
bool nct_gguf_probe(const uint8_t *data, size_t n_bytes);

/** Opens a file and, if it is the first of a split model (NAME-00001-of-0000N.gguf), the others. *gguf is
 *  the metadata of the first. */
nct_status nct_gguf_open(const char *path, struct nct_files *files, struct nct_tensors *tensors,
                         nct_gguf **gguf, nct_error *err);
void nct_gguf_close(nct_gguf *gguf);

#endif
