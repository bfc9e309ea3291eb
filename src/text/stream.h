/** Decoding: token ids to bytes, all at once or as they arrive (formats.md 9.4).
 *
 *  The pieces of a byte-level vocabulary are turned back into bytes, and what is no UTF-8 in these becomes U+FFFD, one
 *  for each longest beginning of a character, whether all at once or as they arrive.
 *
 *  Those of the other kind are concatenated with U+2581 as a space; runs of byte pieces are joined to characters, and bytes
 *  that make none become U+FFFD each; one leading space of the whole is removed. An id that has no piece
 *  is U+FFFD. A stream gives the same, except in a run that mixes valid and invalid bytes: there the whole
 *  decoder, like the reference library, replaces every byte of the run, and a stream, which has already
 *  shown the valid ones, only the others. And a stream shows special tokens that are markup of tool calls, without
 *  which what a model says would be garbled (MiniCPM5's "<function" and its like).
 */
#ifndef NCT_TEXT_STREAM_H
#define NCT_TEXT_STREAM_H

#include "text/vocab.h"

/** Decodes n_ids ids. keep_special spells special tokens out, else they are dropped. *text is allocated and
 *  NUL-terminated, *n_bytes does not count the NUL; the caller frees it with nct_free. */
nct_status nct_text_decode(const nct_vocab *vocab, const int32_t *ids, size_t n_ids, bool keep_special,
                           char **text, size_t *n_bytes, nct_error *err);

/** The bytes of one piece, with spaces, to `out` [NCT_PIECE_MAX_BYTES]. Returns how many. */
size_t nct_text_spell(const nct_vocab *vocab, const nct_piece *piece, char *out);

/** A stream as noctule.h describes it: nct_text_stream_push, _end and _close are defined here.
 *  continuation: a leading space is kept. What _push and _end return is borrowed until the next call; after
 *  _end the stream starts anew. The vocabulary outlives the stream. */
nct_status nct_stream_open(const nct_vocab *vocab, bool continuation, bool keep_special,
                           nct_text_stream **stream, nct_error *err);

#endif
