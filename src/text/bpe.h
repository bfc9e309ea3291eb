/** Encoding: bytes to token ids (formats.md 9.3 and 10).
 *
 *  Added tokens are cut out of the text first, but only inside its *markup*: the stretches that the
 *  caller vouches for, such as a chat template's own markers. Everything else is content, where
 *  "<|im_end|>" is ten characters like any others. Each stretch between added tokens is encoded by
 *  itself, with one space put in front; it may run across the borders between markup and content, so that
 *  ids are the same as those of the whole text wherever content holds no added token.
 *
 *  A stretch is cut between characters that no merge ever joins, and the pairs of each part are merged in
 *  the order of rank, then place: O(n log n) for any text.
 *
 *  A byte-level vocabulary has no space in front, and its patterns (split.h) cut a stretch into words, whose bytes are
 *  merged in the same way. NCT_E_UNSUPPORTED: the patterns take too long on a text.
 */
#ifndef NCT_TEXT_BPE_H
#define NCT_TEXT_BPE_H

#include "text/vocab.h"

/** Bytes [begin, end) of a text. */
typedef struct nct_span {
    size_t begin, end;
} nct_span;

/** Encodes n_bytes of text (below 2^31, may hold NULs). Markup: n_markup spans, ascending, apart, inside
 *  the text. add_bos puts the BOS id in front, if the tokenizer has one. Bytes that are not UTF-8 become
 *  byte pieces one by one (<unk> where there are none). *ids is allocated, the caller frees it with
 *  nct_free; *n_ids may be 0. NCT_E_ARGUMENT: the text is too long. */
nct_status nct_bpe_encode_spans(const nct_vocab *vocab, const char *text, size_t n_bytes,
                                const nct_span *markup, size_t n_markup, bool add_bos, int32_t **ids,
                                size_t *n_ids, nct_error *err);

/** The same with all of the text as markup (parse_special: what the reference library does) or none of it. */
nct_status nct_bpe_encode(const nct_vocab *vocab, const char *text, size_t n_bytes, bool parse_special,
                          bool add_bos, int32_t **ids, size_t *n_ids, nct_error *err);

/** Encodes one part of a text that is content throughout; a part that does not begin it gets no space in front. Parts
 *  that were cut where nct_bpe_cut says so give the ids of the whole text. */
nct_status nct_bpe_encode_part(const nct_vocab *vocab, const char *text, size_t n_bytes, bool begins,
                               int32_t **ids, size_t *n_ids, nct_error *err);

/** The first place at or after `from` (0 < from <= n_bytes) where a text may be cut so that its parts are encoded as
 *  in the whole; 0 if these bytes show none. */
size_t nct_bpe_cut(const nct_vocab *vocab, const char *text, size_t n_bytes, size_t from);

#endif
