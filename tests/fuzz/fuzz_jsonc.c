/* Settings with comments: what parses can be changed, and then says what it was changed to and all else as before. */
#include <string.h>

#include "base/jsonc.h"
#include "text_checks.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Sets key or key.member and looks it up in the result. */
static void set_and_read(const char *text, size_t n, const char *key, const char *member) {
    nct_bytes out = {0};
    nct_json *before = NULL, *after = NULL;
    nct_error err = {0};
    if (nct_jsonc_set("fuzz", text, n, key, member, "[1, \"two\"]", &out, &err) != NCT_OK) {
        check(err.status == NCT_E_FORMAT && err.text[0]);
        nct_bytes_reset(&out);
        return;
    }
    check(nct_jsonc_parse("fuzz", out.data, out.n, &after, &err) == NCT_OK);
    const nct_json *value = nct_json_get(after, key);
    value = member ? nct_json_get(value, member) : value;
    check(nct_json_size(value) == 2 && strcmp(nct_json_string(nct_json_next(nct_json_first(value)), ""), "two") == 0);
    if (nct_jsonc_parse("fuzz", text, n, &before, &err) == NCT_OK) {
        size_t n_before = nct_json_size(before), n_after = nct_json_size(after);
        check(n_after == n_before || n_after == n_before + 1);
    }
    nct_json_close(before);
    nct_json_close(after);
    nct_bytes_reset(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const char *text = size ? (const char *)data : "";
    nct_json *json = NULL;
    nct_error err = {0};
    nct_status status = nct_jsonc_parse("fuzz", text, size, &json, &err);
    check(status == NCT_OK ? json != NULL : status == NCT_E_FORMAT && err.text[0] && !json);
    nct_json_close(json);
    set_and_read(text, size, "model", NULL);
    set_and_read(text, size, "cache", "max");
    return 0;
}
