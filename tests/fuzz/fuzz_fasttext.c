/* fastText models. Whatever can be read scores texts without touching what is not there. */
#include <stdlib.h>
#include <string.h>

#include "text/fasttext.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char text[] = "kilo m\xc3\xa9 tu\nwa __label__good \xff\xe4\xb8 \xe4\xb8\xad so </s> end";
    static const uint8_t nothing[1];
    nct_fasttext *m = NULL;
    nct_error err;
    if (nct_fasttext_read("model", size ? data : nothing, size, &m, &err) != NCT_OK)
        return 0;
    nct_fasttext_scratch scratch = {0};
    size_t n = nct_fasttext_n_labels(m);
    for (size_t i = 0; i < n; i += 1 + n / 4) {
        float score;
        const char *label = nct_fasttext_label(m, i);
        if (nct_fasttext_find(m, label) < 0 ||
            nct_fasttext_score(m, i, text, sizeof text - 1, &scratch, &score, &err) != NCT_OK ||
            nct_fasttext_score(m, i, label, strlen(label), &scratch, &score, &err) != NCT_OK)
            abort();
    }
    nct_fasttext_scratch_reset(&scratch);
    nct_fasttext_close(m);
    return 0;
}
