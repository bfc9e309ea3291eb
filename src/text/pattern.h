/** Regular expressions as tokenizers use them to cut text before byte-level BPE: the subset of Oniguruma's that
 *  published tokenizer.json files write.
 *
 *  Alternatives, of which the first that fits is taken; sequences; characters and classes with ranges, negation,
 *  \p{L} and the like by Unicode's general categories, \s \S \d \D; the quantifiers ? * + {m} {m,n}, greedy or (with a
 *  further +) possessive, behind a character or a class; (?:...), (?i:...) and (...), which may be optional; (?=X) and
 *  (?!X) for one character or class X; $ for the end of a line. Anything else is refused by name.
 *
 *  Matching goes back where it must and is given a number of steps in proportion to the text, so that no pattern can
 *  make it hang. A pattern is read-only once open and may be used by several threads.
 */
#ifndef NCT_TEXT_PATTERN_H
#define NCT_TEXT_PATTERN_H

#include "base/mem.h"

typedef struct nct_pattern nct_pattern;

enum { NCT_PATTERN_MAX_BYTES = 1 << 14 };

/** `text` is UTF-8, n bytes; `name` (of its file) appears in errors: NCT_E_UNSUPPORTED. */
nct_status nct_pattern_open(const char *name, const char *text, size_t n, nct_pattern **pattern, nct_error *err);
void nct_pattern_close(nct_pattern *pattern); /* NULL is fine */

/** The first match in text[begin, end) that is not empty, as if nothing stood around it: the borders of the stretch are
 *  the ends of the text. Bytes that are not UTF-8 are characters of no category. False: there is none. *steps is what
 *  may still be done; when it goes below 0 the result is false and means nothing. */
bool nct_pattern_find(const nct_pattern *pattern, const char *text, size_t begin, size_t end, int64_t *steps,
                      size_t *match_begin, size_t *match_end);

#endif
