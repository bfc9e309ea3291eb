/* A grammar in GBNF: from text to states, and a few steps along the shortest text. */
#include "constrain/constraint.h"
#include "text_checks.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The shortest text is one, and as long as it is said to be. */
static void follow(nct_states *states, uint32_t root) {
    enum { STEPS = 200 };
    uint32_t set = nct_states_begin(states, root, false);
    check(set && nct_states_set(states, set)->least < NCT_GRAMMAR_NEVER);
    for (int i = 0; i < STEPS && nct_states_set(states, set)->least; i++) {
        uint32_t least = nct_states_set(states, set)->least;
        if (least >= NCT_GRAMMAR_LONG)
            return;
        set = nct_states_step(states, set, nct_states_shortest(states, set));
        check(set && nct_states_set(states, set)->least == least - 1);
    }
    if (nct_states_set(states, set)->least == 0)
        check(nct_states_set(states, set)->flags & NCT_SET_ACCEPTS);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    nct_grammar g = {0};
    nct_states *states = NULL;
    nct_error err = {0};
    uint32_t root = nct_grammar_add_gbnf(&g, (const char *)data, size);
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
