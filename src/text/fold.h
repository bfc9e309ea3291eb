/** What the published quality filters do to a document before their fastText classifier sees it (Ultra-FineWeb,
 *  arXiv:2505.05427): three and more line feeds become two, letters small, compatibility forms plain and marks go;
 *  then a tokenizer cuts the text, and each token's text, decoded by itself, is a word. Line feeds, carriage returns and
 *  tabs among these are spelled \n, \r, \t.
 */
#ifndef NCT_TEXT_FOLD_H
#define NCT_TEXT_FOLD_H

#include "text/vocab.h"

/** Appends the folded text (n bytes; what is no UTF-8 becomes U+FFFD) to `out`. */
nct_status nct_fold_add(const nct_vocab *vocab, const char *text, size_t n, nct_bytes *out, nct_error *err);

#endif
