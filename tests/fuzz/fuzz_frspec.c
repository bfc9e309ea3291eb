/* Frequency lists in every form. What is read is a list as promised, and comes back from both forms that are written. */
#include <stdlib.h>
#include <string.h>

#include "spec/frspec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { VOCAB = 73448 };

static void check_again(const nct_bytes *file, const int32_t *ids, size_t n) {
    int32_t *again = NULL;
    size_t n_again = 0;
    if (nct_frspec_read("again", file->data, file->n, VOCAB, &again, &n_again, NULL) != NCT_OK ||
        n_again != n || memcmp(again, ids, n * sizeof *ids) != 0)
        abort();
    nct_free(again);
}

static void check(const int32_t *ids, size_t n) {
    static uint8_t seen[VOCAB];
    memset(seen, 0, sizeof seen);
    if (n == 0)
        abort();
    for (size_t i = 0; i < n; i++) {
        if (ids[i] < 0 || ids[i] >= VOCAB || seen[ids[i]])
            abort();
        seen[ids[i]] = 1;
    }
    nct_bytes text = {0}, torch = {0};
    if (nct_frspec_write_text(ids, n, &text, NULL) != NCT_OK ||
        nct_frspec_write_torch(ids, n, &torch, NULL) != NCT_OK)
        abort();
    check_again(&text, ids, n);
    check_again(&torch, ids, n);
    nct_bytes_reset(&text);
    nct_bytes_reset(&torch);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    int32_t *ids = NULL;
    size_t n = 0;
    nct_error err;
    if (nct_frspec_read("input", data, size, VOCAB, &ids, &n, &err) == NCT_OK)
        check(ids, n);
    nct_free(ids);
    return 0;
}
