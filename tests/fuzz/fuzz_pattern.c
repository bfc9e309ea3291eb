/* A pattern, a NUL and a text: if the pattern is taken, the words it cuts the text into are all of the text, and the
   time is bounded whatever both are. */
#include <stdlib.h>
#include <string.h>

#include "text/split.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static nct_status take_word(void *context, const char *word, size_t n) {
    const char **at = context;
    if (n == 0 || word != *at)
        abort();
    *at += n;
    return NCT_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const uint8_t *end = size ? memchr(data, 0, size) : NULL;
    if (!end)
        return 0;
    nct_splitter *s = NULL;
    nct_error err;
    if (nct_splitter_open(&s, &err) != NCT_OK)
        abort();
    nct_status status = nct_splitter_add(s, "pattern", (const char *)data, (size_t)(end - data), &err);
    if (status != NCT_OK && (status != NCT_E_UNSUPPORTED || !err.text[0]))
        abort();
    if (status == NCT_OK) {
        const char *text = (const char *)end + 1, *at = text;
        size_t n = size - (size_t)(end + 1 - data);
        status = nct_splitter_run(s, text, n, take_word, &at, &err);
        if (status != NCT_OK && status != NCT_E_UNSUPPORTED)
            abort();
        if (status == NCT_OK && at != text + n)
            abort();
    }
    nct_splitter_close(s);
    return 0;
}
