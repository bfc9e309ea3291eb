/* A .safetensors file: whatever is accepted lies inside the file, apart from everything else. */
#include "format/safetensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    nct_tensors t = {0};
    volatile uint8_t seen = 0;
    size_t n_bytes = 0;
    if (nct_safetensors_parse("file", data, size, &t, NULL) == NCT_OK) {
        for (size_t i = 0; i < t.n; i++) {
            const nct_tensor *x = &t.item[i];
            n_bytes += x->n_bytes;
            if (x->n_bytes)
                seen ^= x->data[0] ^ x->data[x->n_bytes - 1];
            if (nct_tensors_find(&t, x->name) != x || x->n_dims > NCT_MAX_DIMS)
                __builtin_trap();
        }
        if (n_bytes > size)
            __builtin_trap();
    }
    (void)seen;
    nct_tensors_close(&t);
    return 0;
}
