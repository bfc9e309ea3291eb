/* tokenizer.json, and after a NUL tokenizer_config.json. */
#include "text_checks.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const uint8_t *cut = size ? memchr(data, 0, size) : NULL;
    size_t n = cut ? (size_t)(cut - data) : size;
    nct_vocab_source source = {.main = {"tokenizer.json", data, n}};
    if (cut)
        source.config = (nct_vocab_file){"tokenizer_config.json", cut + 1, size - n - 1};
    nct_vocab *v = NULL;
    nct_error err;
    if (n && nct_vocab_read_json(&source, &v, &err) == NCT_OK)
        check_vocab(v, (const char *)data, size < 4096 ? size : 4096);
    nct_vocab_close(v);
    return 0;
}
