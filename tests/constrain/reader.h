/** What tests of constraints share: whether a grammar takes a text, byte by byte and without any tokens. */
#ifndef NCT_TEST_READER_H
#define NCT_TEST_READER_H

#include "constrain/constraint.h"
#include "support/support.h"

typedef uint32_t add_fn(nct_grammar *g, const char *text, size_t n);

typedef struct reader {
    nct_grammar grammar;
    nct_states *states;
    uint32_t root;
} reader;

static inline nct_status reader_open(reader *r, add_fn *add, const char *text, nct_error *err) {
    *r = (reader){0};
    r->root = add(&r->grammar, text, strlen(text));
    NCT_TRY(nct_grammar_finish(&r->grammar, r->root, NULL, err));
    return nct_states_open(&r->grammar, &r->states, err);
}

static inline void reader_close(reader *r) {
    nct_states_close(r->states);
    nct_grammar_close(&r->grammar);
}

static inline bool reader_takes(reader *r, const char *text, size_t n) {
    uint32_t set = nct_states_begin(r->states, r->root, false);
    for (size_t i = 0; i < n && set; i++)
        set = nct_states_step(r->states, set, (uint8_t)text[i]);
    return set && nct_states_set(r->states, set)->flags & NCT_SET_ACCEPTS;
}

/** Each list ends in NULL. */
static inline void check_texts(add_fn *add, const char *grammar, const char *const *taken,
                               const char *const *refused) {
    reader r;
    NCT_ASSERT_OK(reader_open(&r, add, grammar, fault));
    for (; *taken; taken++)
        if (!reader_takes(&r, *taken, strlen(*taken)))
            fail_msg("%s should take '%s'", grammar, *taken);
    for (; *refused; refused++)
        if (reader_takes(&r, *refused, strlen(*refused)))
            fail_msg("%s should not take '%s'", grammar, *refused);
    reader_close(&r);
}

#define TEXTS(...) ((const char *const[]){__VA_ARGS__, NULL})
#define NO_TEXTS   ((const char *const[]){NULL})

/** The grammar is refused, in a sentence that holds this. */
static inline void check_refused(add_fn *add, const char *grammar, const char *says) {
    reader r;
    nct_error err = {0};
    nct_status status = reader_open(&r, add, grammar, &err);
    if (status != NCT_E_ARGUMENT || !strstr(err.text, says))
        fail_msg("%.200s: status %d, '%s' should say '%s'", grammar, status, err.text, says);
    reader_close(&r);
}

#endif
