/* A GGUF file: its keys as the tokenizer and the configuration read them, and the rows of every matrix
 * whose type unpacks. */
#include "format/config.h"

#include "base/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static volatile uint8_t seen;

static void read_tokens(const nct_gguf *gguf, const uint8_t *end) {
    nct_gguf_array a;
    const char *s;
    size_t n;
    double number;
    if (nct_gguf_find_array(gguf, "tokenizer.ggml.tokens", &a) && a.type == NCT_GGUF_STRING) {
        const uint8_t *cursor = a.data;
        for (uint64_t i = 0; i < a.n; i++) {
            nct_gguf_next_string(&cursor, &s, &n);
            if (cursor > a.end || a.end > end)
                __builtin_trap();
            seen ^= n ? (uint8_t)s[n - 1] : 0;
        }
    }
    if (nct_gguf_find_array(gguf, "tokenizer.ggml.scores", &a))
        for (uint64_t i = 0; nct_gguf_array_number(&a, i, &number); i++)
            seen ^= number > 0;
}

static void read_rows(const nct_tensor *t) {
    nct_unpacked u;
    if (t->n_dims != 2 || t->dims[0] == 0)
        return;
    nct_stored s = {.codec = &nct_codec_ggml,
                    .name = t->name,
                    .n_rows = t->dims[0],
                    .n_rows_file = t->dims[0],
                    .n_cols = t->dims[1],
                    .type = t->type,
                    .part = {{t->data, t->n_bytes}}};
    if (t->type == NCT_TYPE_F32 || t->type == NCT_TYPE_F16 || t->type == NCT_TYPE_BF16)
        s.codec = &nct_codec_float;
    if (s.codec->describe(&s, &u, NULL) != NCT_OK)
        return;
    void *value = NULL, *scratch = NULL;
    if (nct_alloc(&value, s.n_cols, sizeof(float), NULL) == NCT_OK &&
        nct_alloc(&scratch, nct_dequantize_scratch_bytes(&s), 1, NULL) == NCT_OK) {
        nct_dequantize_row(&s, &u, 0, value, scratch);
        nct_dequantize_row(&s, &u, s.n_rows - 1, value, scratch);
    }
    nct_free(value);
    nct_free(scratch);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    nct_tensors t = {0};
    nct_gguf *gguf = NULL;
    nct_file_config config = {0};
    if (nct_gguf_parse("file", data, size, &t, &gguf, NULL) == NCT_OK) {
        read_tokens(gguf, data + size);
        for (size_t i = 0; i < t.n; i++)
            read_rows(&t.item[i]);
        if (nct_file_config_read_gguf("file", gguf, &t, &config, NULL) == NCT_OK &&
            (config.raw.n_heads % config.raw.n_kv_heads || config.raw.head_dim % 2))
            __builtin_trap();
    }
    nct_file_config_close(&config);
    nct_gguf_close(gguf);
    nct_tensors_close(&t);
    return 0;
}
