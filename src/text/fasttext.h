/** fastText classifiers (arXiv:1607.01759): models that tell by its words what kind of text a document is, as the
 *  published quality filters do. Reads the `.bin` and quantised `.ftz` files of fastText 0.1 to 0.9 whose model is
 *  supervised: words, subwords and word n-grams over buckets; losses softmax, hierarchical softmax, one-vs-all and
 *  negative sampling. Vectors that were trained without labels are refused.
 *
 *  Scores are those that fastText's predict prints, with the same order of additions and the 1e-5 that it adds to a
 *  probability. The file stays mapped and is read where it lies. Nothing in it is believed before it is checked.
 *  A model is read-only once open and may be used by several threads.
 */
#ifndef NCT_TEXT_FASTTEXT_H
#define NCT_TEXT_FASTTEXT_H

#include "base/mem.h"

typedef struct nct_fasttext nct_fasttext;

/** NCT_E_FORMAT: the file is damaged. NCT_E_UNSUPPORTED: it is no classifier, or of an unknown version. */
nct_status nct_fasttext_open(const char *path, nct_fasttext **model, nct_error *err);
/** The same from memory, which has to stay; `name` appears in errors. */
nct_status nct_fasttext_read(const char *name, const void *data, size_t n_bytes, nct_fasttext **model,
                             nct_error *err);
void nct_fasttext_close(nct_fasttext *model); /* NULL is fine */

size_t nct_fasttext_n_labels(const nct_fasttext *model); /* at least 1 */
/** As the file spells it, with its prefix; NUL-terminated. */
const char *nct_fasttext_label(const nct_fasttext *model, size_t label);
/** By its name with or without the prefix "__label__"; -1 if there is none. */
int32_t nct_fasttext_find(const nct_fasttext *model, const char *name);

/** What scoring needs besides; one for each thread. Zeroed is empty. */
typedef struct nct_fasttext_scratch {
    int32_t *row, *hash;
    float *hidden, *output;
    size_t n_rows, n_hashes, row_capacity, hash_capacity, hidden_capacity, output_capacity;
} nct_fasttext_scratch;
void nct_fasttext_scratch_reset(nct_fasttext_scratch *scratch); /* frees; empty again */

/** How much a text (n bytes, taken as one line: newlines are white space) is of a label. A text of which the model
 *  knows nothing, for which fastText predicts nothing, scores 0. */
nct_status nct_fasttext_score(const nct_fasttext *model, size_t label, const char *text, size_t n,
                              nct_fasttext_scratch *scratch, float *score, nct_error *err);

#endif
