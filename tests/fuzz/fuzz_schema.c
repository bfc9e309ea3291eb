/* A JSON Schema: the shortest text that it allows is JSON. */
#include "base/json.h"
#include "constrain/constraint.h"
#include "text_checks.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void follow(nct_states *states, uint32_t root) {
    enum { BYTES = 500 };
    char text[BYTES];
    size_t n = 0;
    nct_json *json = NULL;
    uint32_t set = nct_states_begin(states, root, false);
    check(set);
    while (n < BYTES && nct_states_set(states, set)->least) {
        text[n] = (char)nct_states_shortest(states, set);
        set = nct_states_step(states, set, (uint8_t)text[n++]);
        check(set);
    }
    if (nct_states_set(states, set)->least)
        return;
    check(nct_json_parse("the shortest text", text, n, &json, NULL) == NCT_OK);
    nct_json_close(json);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    nct_grammar g = {0};
    nct_states *states = NULL;
    nct_error err = {0};
    uint32_t root = nct_grammar_add_schema(&g, (const char *)data, size);
    nct_status status = nct_grammar_finish(&g, root, NULL, &err);
    if (status == NCT_OK) {
        check(nct_states_open(&g, &states, &err) == NCT_OK);
        follow(states, root);
        nct_states_close(states);
    } else {
        check(status == NCT_E_ARGUMENT && err.text[0]);
    }
    nct_grammar_close(&g);
    return 0;
}
