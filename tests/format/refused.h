/** What the tests of this folder say of a refusal: its status and words of its sentence. */
#ifndef NCT_TEST_REFUSED_H
#define NCT_TEST_REFUSED_H

#include "support/support.h"

/** One sentence: lower case, no newline, no final full stop, and the words in it. */
static inline void check_sentence(const nct_error *err, nct_status status, nct_status wanted,
                                  const char *words) {
    if (status != wanted || !strstr(err->text, words))
        fail_msg("status %d and \"%s\", expected %d and \"%s\"", status, status ? err->text : "success",
                 wanted, words);
    size_t n = strlen(err->text);
    assert_in_range(n, 1, sizeof err->text - 1);
    assert_null(strchr(err->text, '\n'));
    assert_true(err->text[n - 1] != '.');
}

#endif
