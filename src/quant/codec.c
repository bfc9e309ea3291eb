#include "quant/codec.h"

#include <assert.h>

#include "base/mem.h"

void nct_stored_close(nct_stored *stored) {
    nct_free(stored->perm);
    *stored = (nct_stored){0};
}

static size_t pad(size_t n_bytes) { return (n_bytes + NCT_ALIGN - 1) / NCT_ALIGN * NCT_ALIGN; }

/* Codes, scales, minima: there are no more groups than columns. */
size_t nct_dequantize_scratch_bytes(const nct_stored *stored) {
    return pad(stored->n_cols) + 2 * pad(stored->n_cols * sizeof(float));
}

void nct_dequantize_row(const nct_stored *stored, const nct_unpacked *u, size_t row, float *value,
                        void *scratch) {
    assert(row < stored->n_rows);
    if (!nct_unpacked_is_codes(u)) {
        stored->codec->rows(stored, row, 1, value, NULL, NULL, NULL);
        return;
    }
    size_t n = stored->n_cols, floats = pad(n * sizeof(float));
    uint8_t *code = scratch;
    float *scale = (float *)(void *)(code + pad(n)), *min = (float *)(void *)(code + pad(n) + floats);
    stored->codec->rows(stored, row, 1, NULL, code, scale, u->has_min ? min : NULL);
    for (size_t j = 0; j < n; j++) {
        size_t g = j / u->group, k = stored->perm ? (size_t)stored->perm[j] : j;
        float v = scale[g] * (float)((int)code[j] - u->bias);
        value[k] = u->has_min ? v + min[g] : v;
    }
}
