/** The vocabulary: pieces with their ids, the merges that join them, and the added tokens.
 *
 *  Two kinds of tokenizer are read here. The SentencePiece-style BPE of MiniCPM4 and its relatives as the
 *  tokenizer.json pipeline runs it: a space is U+2581, one is put in front of every stretch of text,
 *  characters that are no piece fall back to byte pieces <0xHH> (or to <unk> where there are none), and
 *  the adjacent pair with the best merge rank is joined until none is left. And the byte-level BPE of
 *  MiniCPM5: patterns cut the text into words, whose bytes, each a piece, are joined in the same way; pieces
 *  spell bytes in the alphabet of alphabet.h.
 *
 *  Three files describe the same vocabulary: tokenizer.json, tokenizer.model (protobuf, for the first kind only) and
 *  GGUF. The last two may list no merges. There every way to cut a piece into two pieces is a merge, and the ranks go
 *  by (merged id, left id, right id), which is the order that tokenizer.json has; scores are not read,
 *  since files with flat scores exist.
 *
 *  A vocabulary is read-only once open and may be used by several threads.
 */
#ifndef NCT_TEXT_VOCAB_H
#define NCT_TEXT_VOCAB_H

#include "base/bytes.h"
#include "base/rng.h"
#include "format/format.h"
#include "format/gguf.h"
#include "text/split.h"

#define NCT_SPACE "\xe2\x96\x81" /* U+2581, how pieces spell a space */

enum {
    NCT_VOCAB_MAX_PIECES = 1 << 20, /* ids are below this */
    NCT_VOCAB_MAX_MERGES = 1 << 22,
    NCT_PIECE_MAX_BYTES = 1024,
    NCT_VOCAB_MAX_EOS = 8,
};

typedef enum nct_piece_kind {
    NCT_PIECE_ABSENT, /* the id has no piece */
    NCT_PIECE_NORMAL,
    NCT_PIECE_BYTE,    /* spelled <0xHH>, stands for one byte */
    NCT_PIECE_ADDED,   /* added token that is kept when special tokens are skipped */
    NCT_PIECE_SPECIAL, /* added token that is dropped then */
} nct_piece_kind;

typedef struct nct_piece {
    uint32_t off, n_bytes; /* of its text in vocab->text.data; valid UTF-8, at most NCT_PIECE_MAX_BYTES */
    uint8_t kind, byte;    /* nct_piece_kind; the byte of a byte piece */
} nct_piece;

static inline bool nct_piece_is_added(const nct_piece *p) {
    return p->kind == NCT_PIECE_ADDED || p->kind == NCT_PIECE_SPECIAL;
}

/** A token that is cut out of the text as a whole where markup is recognised. */
typedef struct nct_added {
    int32_t id;
    uint32_t off, n_bytes;
    /* Matched after normalisation, so only behind a space or at the start of a stretch; the space is part
       of the token and no new one is put in front of what follows (Hugging Face's "normalized"). */
    bool normalized;
} nct_added;

typedef struct nct_merge {
    uint32_t left, right; /* ids; left is UINT32_MAX in an empty slot */
    uint32_t rank;        /* lower first */
    int32_t id;           /* what the pair becomes */
} nct_merge;

typedef struct nct_vocab {
    const char *pipeline; /* "sentencepiece-bpe", "byte-level-bpe" */
    int32_t n_pieces;     /* highest id + 1; config.vocab_size may be larger or smaller */
    int32_t bos, unk;     /* -1: none */
    size_t n_eos;         /* ids that the tokenizer's files name as ends of an answer */
    int32_t eos[NCT_VOCAB_MAX_EOS];
    bool add_bos;    /* the tokenizer puts BOS in front of a text */
    bool add_prefix; /* a space is put in front of every stretch of text */
    bool strip_left; /* decoding removes one leading space */
    bool fuse_unk;   /* neighbouring unknown characters give one <unk> */
    nct_splitter *splitter; /* byte-level: what cuts texts into words; NULL: the other kind */
    bool whole_words;       /* byte-level: a word that is a piece is not merged (Hugging Face's "ignore_merges") */
    size_t n_merges;
    uint32_t longest_piece; /* bytes */
    const char *warning;    /* what was read otherwise than the file says, for the user; NULL: nothing */

    /* tables, read through the functions below */
    nct_piece *piece; /* [n_pieces] */
    size_t piece_capacity;
    nct_bytes text;   /* all pieces */
    int32_t *by_text; /* text -> id, open addressing; -1 empty */
    uint32_t by_text_mask, by_text_reach;
    nct_merge *merge; /* (left, right) -> merge, open addressing */
    uint32_t merge_mask, merge_reach;
    uint64_t *joint; /* set of (last character, first character) over all merges: bits by hash */
    uint32_t joint_mask;
    uint16_t char_page[0x1100]; /* code point / 256 -> page; page 0 is empty */
    int32_t *char_id;           /* [pages][256], -1: the character is no piece */
    size_t n_char_pages;
    int32_t byte_id[256];                          /* -1: no piece for this byte, or no byte fallback; byte-level: all */
    nct_added *added;                              /* sorted by (normalized, text) */
    size_t n_added, n_plain_added, added_capacity; /* the first n_plain_added are not normalized */
} nct_vocab;

/** Opens the tokenizer of a checkpoint: tokenizer.json, else tokenizer.model, beside the weights, with
 *  tokenizer_config.json and added_tokens.json where present; or the one inside a GGUF or a bundle. */
nct_status nct_vocab_open(const nct_checkpoint *checkpoint, nct_vocab **vocab, nct_error *err);
nct_status nct_vocab_open_directory(const char *directory, nct_vocab **vocab, nct_error *err);
void nct_vocab_close(nct_vocab *vocab); /* NULL is fine */

/** A file in memory, borrowed during the call. */
typedef struct nct_vocab_file {
    const char *name; /* for messages */
    const void *data; /* NULL: there is no such file */
    size_t n_bytes;
} nct_vocab_file;

typedef struct nct_vocab_source {
    nct_vocab_file main;   /* tokenizer.json or tokenizer.model */
    nct_vocab_file added;  /* added_tokens.json; read with tokenizer.model only */
    nct_vocab_file config; /* tokenizer_config.json */
} nct_vocab_source;

/** NCT_E_FORMAT: the file is damaged. NCT_E_UNSUPPORTED: it describes another pipeline. */
nct_status nct_vocab_read_json(const nct_vocab_source *source, nct_vocab **vocab, nct_error *err);
nct_status nct_vocab_read_model(const nct_vocab_source *source, nct_vocab **vocab, nct_error *err);
nct_status nct_vocab_read_gguf(const char *name, const nct_gguf *gguf, nct_vocab **vocab, nct_error *err);

/** Id of a piece or added token, -1 if there is none. */
int32_t nct_vocab_find(const nct_vocab *vocab, const char *text, size_t n_bytes);

/** The piece of an id, NULL if the id is outside the vocabulary or has no piece. */
static inline const nct_piece *nct_vocab_piece(const nct_vocab *vocab, int32_t id) {
    if (id < 0 || id >= vocab->n_pieces || vocab->piece[id].kind == NCT_PIECE_ABSENT)
        return NULL;
    return &vocab->piece[id];
}

static inline const char *nct_vocab_text(const nct_vocab *vocab, const nct_piece *piece) {
    return vocab->text.data + piece->off;
}

bool nct_vocab_is_eos(const nct_vocab *vocab, int32_t id);

/** The longest added token that s (n bytes) starts with, NULL if none. */
const nct_added *nct_vocab_match(const nct_vocab *vocab, bool normalized, const char *s, size_t n);

/** Id of a character, -1 if it is no piece. code <= 0x10ffff. */
static inline int32_t nct_vocab_char(const nct_vocab *vocab, uint32_t code) {
    return vocab->char_id[(size_t)vocab->char_page[code >> 8] * 256 + (code & 255)];
}

static inline uint64_t nct_vocab_pair_hash(uint32_t left, uint32_t right) {
    uint64_t h = (left * 0x9e3779b97f4a7c15u ^ right) * 0xd6e8feb86659fd93u;
    return h ^ h >> 32;
}

/** What the pair becomes, NULL if it does not merge. */
static inline const nct_merge *nct_vocab_merge(const nct_vocab *vocab, int32_t left, int32_t right) {
    uint32_t l = (uint32_t)left, r = (uint32_t)right,
             at = (uint32_t)nct_vocab_pair_hash(l, r) & vocab->merge_mask;
    for (uint32_t i = 0; i <= vocab->merge_reach; i++, at = (at + 1) & vocab->merge_mask) {
        const nct_merge *m = &vocab->merge[at];
        if (m->left == l && m->right == r)
            return m;
        if (m->left == UINT32_MAX)
            break;
    }
    return NULL;
}

/** False if no merge ever joins a piece that ends with the character of id x to one that starts with
 *  that of id y, so that text may be cut between them. Seldom true without cause, which costs only time. */
static inline bool nct_vocab_joins(const nct_vocab *vocab, int32_t x, int32_t y) {
    uint32_t bit = (uint32_t)(nct_vocab_pair_hash((uint32_t)x, (uint32_t)y) >> 16) & vocab->joint_mask;
    return vocab->joint[bit >> 6] >> (bit & 63) & 1;
}

#endif
