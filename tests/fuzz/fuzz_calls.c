/* An answer with tool calls, perhaps, in either form: what is found is JSON of the right shape, whatever the text is. */
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "text/calls.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds) {
    if (!holds)
        abort();
}

static void check_calls(const nct_bytes *calls, size_t n) {
    nct_json *list = NULL, *arguments = NULL;
    check(nct_json_parse("calls", calls->data, calls->n, &list, NULL) == NCT_OK);
    check(nct_json_is_array(list) && nct_json_size(list) == n);
    for (const nct_json *call = nct_json_first(list); call; call = nct_json_next(call)) {
        const nct_json *function = nct_json_get(call, "function");
        const char *text = nct_json_string(nct_json_get(function, "arguments"), NULL);
        check(text && nct_json_string(nct_json_get(function, "name"), NULL));
        check(nct_json_parse("arguments", text, strlen(text), &arguments, NULL) == NCT_OK);
        check(nct_json_is_object(arguments));
        nct_json_close(arguments);
    }
    nct_json_close(list);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char tools[] = "[{\"name\":\"f\",\"parameters\":{\"properties\":{\"a\":{\"type\":\"string\"},"
                                "\"b\":{\"type\":\"integer\"},\"c\":{}}}}]";
    for (int form = NCT_CALLS_NONE; form <= NCT_CALLS_ELEMENTS; form++) {
        nct_bytes content = {0}, calls = {0};
        size_t n;
        check(nct_calls_read((nct_call_form)form, (const char *)data, size, tools, &content, &calls, &n, NULL) == NCT_OK);
        check((n > 0) == (calls.data != NULL) && (n > 0) == (content.data != NULL));
        if (n)
            check_calls(&calls, n);
        nct_bytes_reset(&content);
        nct_bytes_reset(&calls);
    }
    return 0;
}
