/* tokenizer.model. */
#include "text_checks.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char added[] = "{\"<|im_end|>\":40,\"<|im_start|>\":41}";
    static const uint8_t nothing[1];
    nct_vocab_source source = {.main = {"tokenizer.model", size ? data : nothing, size},
                               .added = {"added_tokens.json", added, sizeof added - 1}};
    nct_vocab *v = NULL;
    nct_error err;
    if (nct_vocab_read_model(&source, &v, &err) == NCT_OK)
        check_vocab(v, (const char *)data, size < 4096 ? size : 4096);
    nct_vocab_close(v);
    return 0;
}
