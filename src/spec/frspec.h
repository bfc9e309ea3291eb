/** The frequency-ranked slice of the vocabulary that a draft head scores (FR-Spec, arXiv:2502.14856): reading and
 *  writing the lists that say which tokens, the most frequent first. Every prefix of a list is a smaller list.
 *
 *  Four forms are read, told apart by their first bytes:
 *  - torch.save's zip file of a list of ints, or of a tensor of int64 or int32 (`freq_32768.pt`);
 *  - the same list as a bare pickle of protocol 2;
 *  - text: ids in decimal between white space or commas, as a JSON array too;
 *  - raw: little-endian uint32.
 *  Nothing in a file is believed before it is checked. Of a pickle only the operations that such lists need are known,
 *  and nothing is ever called. Checksums of zip entries are not compared: torch can be told not to make them.
 */
#ifndef NCT_SPEC_FRSPEC_H
#define NCT_SPEC_FRSPEC_H

#include "text/vocab.h"

/** Reads a list for a vocabulary of n_vocab tokens. Ids outside it are an error, later repeats of an id are dropped.
 *  *ids [*n], *n at least 1, is freed by the caller with nct_free. NCT_E_FORMAT: the file is damaged, holds no ids, or
 *  ids that are no tokens. NCT_E_UNSUPPORTED: it holds something else than such a list. */
nct_status nct_frspec_open(const char *path, size_t n_vocab, int32_t **ids, size_t *n, nct_error *err);

/** The same from memory; `name` appears in errors. */
nct_status nct_frspec_read(const char *name, const void *data, size_t n_bytes, size_t n_vocab, int32_t **ids,
                           size_t *n, nct_error *err);

enum { NCT_FRSPEC_BYTES_FROM = 8192 }; /* lists of so many entries hold all byte pieces */

/** What a list is made of. */
typedef struct nct_frspec_counts {
    const nct_vocab *vocab;
    size_t n_vocab;        /* rows of the output matrix; pieces beyond them are left out */
    const uint64_t *count; /* [vocab->n_pieces] how often each token was seen */
    const int32_t
        *first; /* [n_first] ids that a list begins with: ends of an answer, pieces of its markers */
    size_t n_first;
    size_t size; /* entries at most; 0: all that are worth one */
} nct_frspec_counts;

/** Ranks tokens for a draft head. A list begins with what an answer must never lack: `first`, the added tokens but for
 *  <unk> and the begin-of-text token, and pieces of nothing but newlines. Then come those that were seen, the most
 *  frequent first, the lower id first among equals; byte pieces that would miss the first NCT_FRSPEC_BYTES_FROM entries
 *  are the last of these. Ids are distinct and below n_vocab. *ids [*n] is freed by the caller with nct_free. */
nct_status nct_frspec_rank(const nct_frspec_counts *counts, int32_t **ids, size_t *n, nct_error *err);

/** Appends a list of ids >= 0 as text, one a line. */
nct_status nct_frspec_write_text(const int32_t *ids, size_t n, nct_bytes *out, nct_error *err);

/** Appends it as torch.save writes a list of ints, for torch.load, with or without weights_only. */
nct_status nct_frspec_write_torch(const int32_t *ids, size_t n, nct_bytes *out, nct_error *err);

#endif
