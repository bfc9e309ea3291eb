/** How a byte-level vocabulary's text is cut into words before it is encoded: patterns, one after the other. The first
 *  cuts the text, the next what the first left, and so on; what matches is a word, and so is what lies between matches.
 *  Words hold all of the text.
 */
#ifndef NCT_TEXT_SPLIT_H
#define NCT_TEXT_SPLIT_H

#include "base/bytes.h"

enum { NCT_SPLIT_MAX = 8 };

typedef struct nct_splitter nct_splitter;

/** No pattern yet: everything is one word. */
nct_status nct_splitter_open(nct_splitter **splitter, nct_error *err);
void nct_splitter_close(nct_splitter *splitter); /* NULL is fine */

/** Adds a pattern behind those there are. `name` (of its file) appears in errors: NCT_E_UNSUPPORTED. */
nct_status nct_splitter_add(nct_splitter *splitter, const char *name, const char *text, size_t n, nct_error *err);
/** Adds those of a kind that GGUF files name; false: it is not known. */
nct_status nct_splitter_add_named(nct_splitter *splitter, const char *kind, size_t n, bool *found, nct_error *err);

/** Calls `word` for each word of text[0, n) in turn; a status that is not NCT_OK ends it and is returned.
 *  NCT_E_UNSUPPORTED: the patterns need too many steps for this text. */
typedef nct_status nct_word_fn(void *context, const char *word, size_t n);
nct_status nct_splitter_run(const nct_splitter *splitter, const char *text, size_t n, nct_word_fn *word, void *context,
                            nct_error *err);

/** A text may be cut between a line feed and what is no white space, and its parts have the words of the whole. Known
 *  of the patterns of published models only. */
bool nct_splitter_cuts_lines(const nct_splitter *splitter);

/** The patterns as text, each with a NUL behind it, as many as *n_patterns says; borrowed. */
const nct_bytes *nct_splitter_texts(const nct_splitter *splitter, size_t *n_patterns);

#endif
