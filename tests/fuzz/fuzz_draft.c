/* A draft head: 4 bytes, the size of the text of config.json, that text, a safetensors file. Whatever is accepted can be
 * unpacked, and leads to tokens of the vocabulary. */
#include "format/draft.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Unpacks the first and the last row. */
static void unpack(const nct_stored *stored) {
    nct_unpacked u;
    void *value = NULL, *scratch = NULL;
    if (stored->codec->describe(stored, &u, NULL) != NCT_OK)
        __builtin_trap();
    if (nct_alloc(&value, stored->n_cols, sizeof(float), NULL) == NCT_OK &&
        nct_alloc(&scratch, nct_dequantize_scratch_bytes(stored), 1, NULL) == NCT_OK)
        for (size_t r = 0; r<stored->n_rows; r += stored->n_rows> 1 ? stored->n_rows - 1 : 1)
            nct_dequantize_row(stored, &u, r, value, scratch);
    nct_free(value);
    nct_free(scratch);
}

static void read_matrices(nct_draft_file *file) {
    const nct_draft_config *c = nct_draft_file_config(file);
    bool third = nct_draft_file_kind(file) == NCT_DRAFT_EAGLE3;
    size_t h = (size_t)c->hidden_size, in = third ? 2 * h : h, q = (size_t)(c->n_heads * c->head_dim),
           kv = (size_t)(c->n_kv_heads * c->head_dim), ffn = (size_t)c->intermediate_size,
           n = (size_t)(c->draft_vocab_size ? c->draft_vocab_size : c->vocab_size);
    const size_t shapes[][2] = {{h, third ? 3 * h : 2 * h},
                                {1, h},
                                {1, h},
                                {1, h},
                                {1, h},
                                {1, h},
                                {q, in},
                                {kv, in},
                                {kv, in},
                                {h, q},
                                {ffn, h},
                                {ffn, h},
                                {h, ffn},
                                {n, h}};
    for (int role = 0; role <= NCT_DRAFT_HEAD; role++) {
        nct_stored stored = {0};
        if (nct_draft_file_matrix(file, (nct_draft_role)role, shapes[role][0], shapes[role][1], &stored,
                                  NULL) == NCT_OK)
            unpack(&stored);
        nct_stored_close(&stored);
    }
    nct_stored bias;
    bool found = false;
    if (nct_draft_file_bias(file, h, &bias, &found, NULL) == NCT_OK && found)
        unpack(&bias);
    int32_t *ids = NULL;
    if (nct_draft_file_ids(file, n, (size_t)c->vocab_size, &ids, NULL) == NCT_OK && ids)
        for (size_t i = 0; i < n; i++)
            if (ids[i] < 0 || ids[i] >= c->vocab_size || (i && ids[i] <= ids[i - 1]))
                __builtin_trap();
    nct_free(ids);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    nct_draft_file *file = NULL;
    size_t n = size >= 4 ? nct_le32(data) : 0;
    if (size < 4 || n > size - 4)
        return 0;
    if (nct_draft_file_parse("head", (const char *)data + 4, n, data + 4 + n, size - 4 - n, &file, NULL) ==
        NCT_OK)
        read_matrices(file);
    nct_draft_file_close(file);
    return 0;
}
