#include "support/containers.h"

#include "support/support.h"

void nct_test_put(nct_bytes *b, const void *data, size_t n) {
    NCT_ASSERT_OK(nct_bytes_add(b, data, n, fault));
}

static void put_le(nct_bytes *b, uint64_t v, size_t n) {
    uint8_t bytes[8];
    for (size_t i = 0; i < n; i++)
        bytes[i] = (uint8_t)(v >> 8 * i);
    nct_test_put(b, bytes, n);
}
void nct_test_put16(nct_bytes *b, uint16_t v) { put_le(b, v, 2); }
void nct_test_put32(nct_bytes *b, uint32_t v) { put_le(b, v, 4); }
void nct_test_put64(nct_bytes *b, uint64_t v) { put_le(b, v, 8); }
void nct_test_put_string(nct_bytes *b, const char *s) {
    nct_test_put64(b, strlen(s));
    nct_test_put(b, s, strlen(s));
}

/* ------------------------------------------------------------------ safetensors */

void nct_test_st_add(nct_test_st *st, const char *name, const char *dtype, size_t n_dims, const size_t *dims,
                     const void *data, size_t n_bytes) {
    NCT_ASSERT_OK(nct_bytes_printf(&st->header, fault, "%s\"%s\":{\"dtype\":\"%s\",\"shape\":[",
                                   st->header.n ? "," : "{", name, dtype));
    for (size_t i = 0; i < n_dims; i++)
        NCT_ASSERT_OK(nct_bytes_printf(&st->header, fault, "%s%zu", i ? "," : "", dims[i]));
    NCT_ASSERT_OK(nct_bytes_printf(&st->header, fault, "],\"data_offsets\":[%zu,%zu]}", st->data.n,
                                   st->data.n + n_bytes));
    nct_test_put(&st->data, data, n_bytes);
}

nct_bytes nct_test_st_raw(const char *header, const void *data, size_t n_bytes) {
    nct_bytes file = {0};
    nct_test_put64(&file, strlen(header));
    nct_test_put(&file, header, strlen(header));
    nct_test_put(&file, data, n_bytes);
    return file;
}

nct_bytes nct_test_st_finish(nct_test_st *st) {
    nct_test_put(&st->header, st->header.n ? "}" : "{}", st->header.n ? 1 : 2);
    while (st->header.n % 8)
        nct_test_put(&st->header, " ", 1);
    nct_bytes file = nct_test_st_raw(st->header.data, st->data.data, st->data.n);
    nct_bytes_reset(&st->header);
    nct_bytes_reset(&st->data);
    return file;
}

/* ------------------------------------------------------------------ GGUF */

enum { U32 = 4, F32 = 6, BOOL = 7, STRING = 8, ARRAY = 9, ALIGNMENT = 32 };

static void put_key(nct_test_gguf *g, const char *key, uint32_t type) {
    g->n_keys++;
    nct_test_put_string(&g->keys, key);
    nct_test_put32(&g->keys, type);
}

void nct_test_gguf_u32(nct_test_gguf *g, const char *key, uint32_t value) {
    put_key(g, key, U32);
    nct_test_put32(&g->keys, value);
}

void nct_test_gguf_f32(nct_test_gguf *g, const char *key, double value) {
    float f = (float)value;
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    put_key(g, key, F32);
    nct_test_put32(&g->keys, bits);
}

void nct_test_gguf_bool(nct_test_gguf *g, const char *key, bool value) {
    put_key(g, key, BOOL);
    nct_test_put(&g->keys, value ? "\1" : "\0", 1);
}

void nct_test_gguf_string(nct_test_gguf *g, const char *key, const char *value) {
    put_key(g, key, STRING);
    nct_test_put_string(&g->keys, value);
}

void nct_test_gguf_array(nct_test_gguf *g, const char *key, uint32_t type, uint64_t n, const void *data,
                         size_t n_bytes) {
    put_key(g, key, ARRAY);
    nct_test_put32(&g->keys, type);
    nct_test_put64(&g->keys, n);
    nct_test_put(&g->keys, data, n_bytes);
}

static void pad(nct_bytes *b) {
    while (b->n % ALIGNMENT)
        nct_test_put(b, "", 1);
}

void nct_test_gguf_add(nct_test_gguf *g, const char *name, uint32_t type, size_t n_dims, const size_t *dims,
                       const void *data, size_t n_bytes) {
    g->n_tensors++;
    nct_test_put_string(&g->tensors, name);
    nct_test_put32(&g->tensors, (uint32_t)n_dims);
    for (size_t i = n_dims; i-- > 0;)
        nct_test_put64(&g->tensors, dims[i]);
    nct_test_put32(&g->tensors, type);
    nct_test_put64(&g->tensors, g->data.n);
    nct_test_put(&g->data, data, n_bytes);
    pad(&g->data);
}

nct_bytes nct_test_gguf_finish(nct_test_gguf *g) {
    nct_bytes file = {0};
    nct_test_put(&file, "GGUF", 4);
    nct_test_put32(&file, 3);
    nct_test_put64(&file, g->n_tensors);
    nct_test_put64(&file, g->n_keys);
    nct_test_put(&file, g->keys.data, g->keys.n);
    nct_test_put(&file, g->tensors.data, g->tensors.n);
    pad(&file);
    nct_test_put(&file, g->data.data, g->data.n);
    nct_bytes_reset(&g->keys);
    nct_bytes_reset(&g->tensors);
    nct_bytes_reset(&g->data);
    *g = (nct_test_gguf){0};
    return file;
}
