/** Writes safetensors and GGUF files in memory, tensor by tensor, for tests that need a container or a
 *  broken one. Failures fail the test. Zeroed writers are empty; _finish gives the file and empties them. */
#ifndef NCT_TEST_CONTAINERS_H
#define NCT_TEST_CONTAINERS_H

#include "base/bytes.h"

typedef struct nct_test_st {
    nct_bytes header, data;
} nct_test_st;

/** Adds a tensor whose bytes follow those before; dims slowest first. */
void nct_test_st_add(nct_test_st *st, const char *name, const char *dtype, size_t n_dims, const size_t *dims,
                     const void *data, size_t n_bytes);
nct_bytes nct_test_st_finish(nct_test_st *st);
/** A file with this header text and data, right or wrong. */
nct_bytes nct_test_st_raw(const char *header, const void *data, size_t n_bytes);

typedef struct nct_test_gguf {
    nct_bytes keys, tensors, data;
    uint64_t n_keys, n_tensors;
} nct_test_gguf;

void nct_test_gguf_u32(nct_test_gguf *g, const char *key, uint32_t value);
void nct_test_gguf_f32(nct_test_gguf *g, const char *key, double value);
void nct_test_gguf_bool(nct_test_gguf *g, const char *key, bool value);
void nct_test_gguf_string(nct_test_gguf *g, const char *key, const char *value);
/** An array; the caller has encoded the elements. */
void nct_test_gguf_array(nct_test_gguf *g, const char *key, uint32_t type, uint64_t n, const void *data,
                         size_t n_bytes);
/** Adds a tensor, dims slowest first (the file has them the other way round), data padded to 32. */
void nct_test_gguf_add(nct_test_gguf *g, const char *name, uint32_t type, size_t n_dims, const size_t *dims,
                       const void *data, size_t n_bytes);
nct_bytes nct_test_gguf_finish(nct_test_gguf *g);

/** Appends little-endian numbers and GGUF strings (length, bytes). */
void nct_test_put(nct_bytes *b, const void *data, size_t n);
void nct_test_put16(nct_bytes *b, uint16_t v);
void nct_test_put32(nct_bytes *b, uint32_t v);
void nct_test_put64(nct_bytes *b, uint64_t v);
void nct_test_put_string(nct_bytes *b, const char *s);

#endif
