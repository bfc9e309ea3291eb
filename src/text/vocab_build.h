/** Building a vocabulary, for the readers of vocab_read.c only: pieces, then added tokens, then
 *  nct_build_index, after which texts are found; then merges; then nct_build_finish.
 */
#ifndef NCT_TEXT_VOCAB_BUILD_H
#define NCT_TEXT_VOCAB_BUILD_H

#include "base/json.h"
#include "text/vocab.h"

typedef struct nct_build {
    nct_vocab *vocab;
    const char *name, *config_name; /* files, for messages */
    nct_merge *list;                /* merges by rank */
    size_t n_list, list_capacity;
    nct_error *err;
} nct_build;

/** Starts with an empty vocabulary of default settings. Names are borrowed. */
nct_status nct_build_open(nct_build *b, const char *name, const char *config_name, nct_error *err);
/** Hands the vocabulary over, or frees what there is of it if status is a failure, which it returns. */
nct_status nct_build_close(nct_build *b, nct_status status, nct_vocab **vocab);

/** True for <0xHH> with capital digits, the spelling of byte pieces. */
bool nct_build_is_byte(const char *s, size_t n, uint8_t *byte);
/** Makes the vocabulary a byte-level one, without a pattern yet; before any piece. */
nct_status nct_build_byte_level(nct_build *b);
/** The same, and what a tokenizer.json says of it. It is one if nct_build_is_byte_level says so. */
bool nct_build_is_byte_level(const nct_json *root);
nct_status nct_build_byte_pipeline(nct_build *b, const nct_json *root);
/** The stage of a part of the pipeline that is not ByteLevel, NULL if there is none; with several, the last. */
const nct_json *nct_build_other_stage(const nct_json *part, const char *list);
/** The same for a GGUF whose tokenizer is of this kind. */
nct_status nct_build_byte_kind(nct_build *b, const nct_gguf *gguf);
/** Finds the piece of each byte; all must be there. */
nct_status nct_build_alphabet(nct_build *b);

/** Enters an ordinary piece or, by its spelling, a byte piece. The id must be free. */
nct_status nct_build_piece(nct_build *b, int64_t id, const char *s, size_t n);
/** Makes an id an added token. If it is a piece of another text, the token's text replaces that. */
nct_status nct_build_added(nct_build *b, int64_t id, const char *s, size_t n, bool special, bool normalized);
/** Makes an id that a file names as BOS or the like a special token if it is an ordinary piece; -1 is none. */
nct_status nct_build_special(nct_build *b, int32_t id);
/** Adds an end of answer, which becomes special; -1 is none. */
nct_status nct_build_eos(nct_build *b, int32_t id);

/** Makes texts findable. unique: no two ids may share one, else the lowest is found. */
nct_status nct_build_index(nct_build *b, bool unique);
/** Enters the next merge of a file's list. */
nct_status nct_build_merge(nct_build *b, const char *left, size_t n_left, const char *right, size_t n_right);
/** Enters all ways to cut a piece into two, in the order of (id, left id, right id). */
nct_status nct_build_merges(nct_build *b);
/** Builds the tables of encoding. */
nct_status nct_build_finish(nct_build *b, bool byte_fallback);

#endif
