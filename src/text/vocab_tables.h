/** A vocabulary as the flat tables it is used through, so that a bundle's tokenizer needs no building.
 *
 *  Little-endian: 32 words (version, pieces, bos, unk, flags, merges, longest piece, bytes of text, mask and
 *  reach of the text table, mask and reach of the merge table, mask of the joints, character pages, added
 *  tokens, plain ones among them, ends, 8 end ids, patterns, bytes of patterns, 5 zeros), then the tables in the order
 *  of nct_vocab, each padded to 8 bytes, and the patterns of a byte-level vocabulary, each with a NUL behind it. Such a
 *  vocabulary is of version 2, so that programs that know no other kind refuse it; else the version is 1.
 */
#ifndef NCT_TEXT_VOCAB_TABLES_H
#define NCT_TEXT_VOCAB_TABLES_H

#include "text/vocab.h"

/** Appends the tables. The warning is not kept: it is about the file that the vocabulary was read from. */
nct_status nct_vocab_write_tables(const nct_vocab *vocab, nct_bytes *out, nct_error *err);

/** Copies the tables and checks every index in them, so that no text and no id can lead outside whatever
 *  the tables say. `name` appears in errors: NCT_E_FORMAT, or NCT_E_UNSUPPORTED for another version. */
nct_status nct_vocab_read_tables(const char *name, const uint8_t *data, size_t n_bytes, nct_vocab **vocab,
                                 nct_error *err);

#endif
