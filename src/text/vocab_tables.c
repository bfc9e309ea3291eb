#include "text/vocab_tables.h"

#include "base/utf8.h"

enum {
    VERSION = 1,
    VERSION_BYTES = 2, /* byte-level */
    N_WORDS = 32,
    PIECE_BYTES = 12, /* u32 offset, u32 bytes, u8 kind, u8 byte, 2 zeros */
    MERGE_BYTES = 16, /* u32 left, right, rank, i32 id */
    ADDED_BYTES = 16, /* i32 id, u32 offset, u32 bytes, u32 normalized */
    PAGES = 0x1100,
    MAX_REACH = 1024, /* of a table that the builder makes */
};

/* Words of the head. */
enum {
    W_VERSION,
    W_PIECES,
    W_BOS,
    W_UNK,
    W_FLAGS,
    W_MERGES,
    W_LONGEST,
    W_TEXT,
    W_TEXT_MASK,
    W_TEXT_REACH,
    W_MERGE_MASK,
    W_MERGE_REACH,
    W_JOINT_MASK,
    W_CHAR_PAGES,
    W_ADDED,
    W_PLAIN,
    W_EOS,
    W_EOS_ID,
    W_PATTERNS = W_EOS_ID + NCT_VOCAB_MAX_EOS,
    W_PATTERN_BYTES,
};

enum { ADD_BOS = 1, ADD_PREFIX = 2, STRIP_LEFT = 4, FUSE_UNK = 8, WHOLE_WORDS = 16 };

/* ------------------------------------------------------------------ writing */

static void store32(uint8_t *p, uint32_t x) {
    for (int i = 0; i < 4; i++)
        p[i] = (uint8_t)(x >> 8 * i);
}

static nct_status pad8(nct_bytes *out, nct_error *err) {
    static const uint8_t zeros[8];
    return nct_bytes_add(out, zeros, (8 - out->n % 8) % 8, err);
}

static nct_status put_head(const nct_vocab *v, nct_bytes *out, nct_error *err) {
    uint8_t head[4 * N_WORDS] = {0};
    uint32_t word[N_WORDS] = {[W_VERSION] = v->splitter ? VERSION_BYTES : VERSION,
                              [W_PIECES] = (uint32_t)v->n_pieces,
                              [W_BOS] = (uint32_t)v->bos,
                              [W_UNK] = (uint32_t)v->unk,
                              [W_FLAGS] = (v->add_bos ? ADD_BOS : 0u) | (v->add_prefix ? ADD_PREFIX : 0u) |
                                          (v->strip_left ? STRIP_LEFT : 0u) | (v->fuse_unk ? FUSE_UNK : 0u) |
                                          (v->whole_words ? WHOLE_WORDS : 0u),
                              [W_MERGES] = (uint32_t)v->n_merges,
                              [W_LONGEST] = v->longest_piece,
                              [W_TEXT] = (uint32_t)v->text.n,
                              [W_TEXT_MASK] = v->by_text_mask,
                              [W_TEXT_REACH] = v->by_text_reach,
                              [W_MERGE_MASK] = v->merge_mask,
                              [W_MERGE_REACH] = v->merge_reach,
                              [W_JOINT_MASK] = v->joint_mask,
                              [W_CHAR_PAGES] = (uint32_t)v->n_char_pages,
                              [W_ADDED] = (uint32_t)v->n_added,
                              [W_PLAIN] = (uint32_t)v->n_plain_added,
                              [W_EOS] = (uint32_t)v->n_eos};
    for (size_t i = 0; i < v->n_eos; i++)
        word[W_EOS_ID + i] = (uint32_t)v->eos[i];
    if (v->splitter) {
        size_t n_patterns;
        word[W_PATTERN_BYTES] = (uint32_t)nct_splitter_texts(v->splitter, &n_patterns)->n;
        word[W_PATTERNS] = (uint32_t)n_patterns;
    }
    for (size_t i = 0; i < N_WORDS; i++)
        store32(head + 4 * i, word[i]);
    return nct_bytes_add(out, head, sizeof head, err);
}

static nct_status put_pieces(const nct_vocab *v, nct_bytes *out, nct_error *err) {
    for (int32_t id = 0; id < v->n_pieces; id++) {
        const nct_piece *p = &v->piece[id];
        uint8_t entry[PIECE_BYTES] = {[8] = p->kind, [9] = p->byte};
        store32(entry, p->off);
        store32(entry + 4, p->n_bytes);
        NCT_TRY(nct_bytes_add(out, entry, sizeof entry, err));
    }
    return pad8(out, err);
}

static nct_status put_added(const nct_vocab *v, nct_bytes *out, nct_error *err) {
    for (size_t i = 0; i < v->n_added; i++) {
        uint8_t entry[ADDED_BYTES];
        store32(entry, (uint32_t)v->added[i].id);
        store32(entry + 4, v->added[i].off);
        store32(entry + 8, v->added[i].n_bytes);
        store32(entry + 12, v->added[i].normalized);
        NCT_TRY(nct_bytes_add(out, entry, sizeof entry, err));
    }
    return NCT_OK;
}

static nct_status put_table(nct_bytes *out, const void *table, size_t n_bytes, nct_error *err) {
    NCT_TRY(nct_bytes_add(out, table, n_bytes, err));
    return pad8(out, err);
}

nct_status nct_vocab_write_tables(const nct_vocab *v, nct_bytes *out, nct_error *err) {
    NCT_TRY(put_head(v, out, err));
    NCT_TRY(put_pieces(v, out, err));
    NCT_TRY(put_table(out, v->text.data, v->text.n, err));
    NCT_TRY(put_table(out, v->by_text, ((size_t)v->by_text_mask + 1) * sizeof *v->by_text, err));
    NCT_TRY(put_table(out, v->merge, ((size_t)v->merge_mask + 1) * sizeof *v->merge, err));
    NCT_TRY(put_table(out, v->joint, ((size_t)v->joint_mask + 1) / 8, err));
    NCT_TRY(put_table(out, v->char_page, sizeof v->char_page, err));
    NCT_TRY(put_table(out, v->char_id, v->n_char_pages * 256 * sizeof *v->char_id, err));
    NCT_TRY(put_table(out, v->byte_id, sizeof v->byte_id, err));
    NCT_TRY(put_added(v, out, err));
    size_t n_patterns;
    const nct_bytes *texts = v->splitter ? nct_splitter_texts(v->splitter, &n_patterns) : NULL;
    return texts ? put_table(out, texts->data, texts->n, err) : NCT_OK;
}

/* ------------------------------------------------------------------ reading */

struct reading {
    const char *name;
    const uint8_t *at;
    size_t left;
    nct_vocab *v;
    nct_error *err;
    size_t n_patterns, pattern_bytes;
};

static nct_status bad(const struct reading *r, const char *what) {
    return nct_fail(r->err, NCT_E_FORMAT, "%s: the tokenizer's tables are damaged: %s", r->name, what);
}

/* The next n_bytes, and past their padding; NULL if they are not there. */
static const uint8_t *next(struct reading *r, size_t n_bytes) {
    size_t padded = (n_bytes + 7) / 8 * 8;
    const uint8_t *p = r->at;
    if (padded > r->left)
        return NULL;
    r->at += padded;
    r->left -= padded;
    return p;
}

/* Copies n items of item_bytes, which lie in memory as in the file. */
static nct_status take(struct reading *r, size_t n, size_t item_bytes, void **copy) {
    const uint8_t *p = next(r, n * item_bytes);
    if (!p)
        return bad(r, "they end early");
    NCT_TRY(nct_alloc(copy, n, item_bytes, r->err));
    memcpy(*copy, p, n * item_bytes);
    return NCT_OK;
}

static bool is_id(const nct_vocab *v, int32_t id, bool or_none) {
    return id < v->n_pieces && (id >= 0 ? v->piece[id].kind != NCT_PIECE_ABSENT : or_none && id == -1);
}

static bool is_mask(uint32_t mask, uint32_t least) {
    return mask >= least && mask < 1u << 30 && (mask & (mask + 1)) == 0;
}

static nct_status read_head(struct reading *r) {
    nct_vocab *v = r->v;
    const uint8_t *head = next(r, 4 * N_WORDS);
    if (!head)
        return bad(r, "they end early");
    uint32_t word[N_WORDS];
    for (size_t i = 0; i < N_WORDS; i++)
        word[i] = nct_le32(head + 4 * i);
    if (word[W_VERSION] != VERSION && word[W_VERSION] != VERSION_BYTES)
        return nct_fail(r->err, NCT_E_UNSUPPORTED,
                        "%s: the tokenizer's tables are of version %u, expected %d or %d; convert the model again",
                        r->name, word[W_VERSION], VERSION, VERSION_BYTES);
    if (word[W_PIECES] == 0 || word[W_PIECES] > NCT_VOCAB_MAX_PIECES ||
        word[W_MERGES] > NCT_VOCAB_MAX_MERGES || word[W_LONGEST] > NCT_PIECE_MAX_BYTES ||
        word[W_TEXT] > 1u << 30 || word[W_TEXT_REACH] > MAX_REACH || word[W_MERGE_REACH] > MAX_REACH ||
        word[W_CHAR_PAGES] == 0 || word[W_CHAR_PAGES] > PAGES + 1 || word[W_ADDED] > NCT_VOCAB_MAX_PIECES ||
        word[W_PLAIN] > word[W_ADDED] || word[W_EOS] > NCT_VOCAB_MAX_EOS || !is_mask(word[W_TEXT_MASK], 0) ||
        !is_mask(word[W_MERGE_MASK], 0) || !is_mask(word[W_JOINT_MASK], 63))
        return bad(r, "a count is out of range");
    bool bytes = word[W_VERSION] == VERSION_BYTES;
    if (word[W_PATTERNS] > (bytes ? NCT_SPLIT_MAX : 0) || word[W_PATTERN_BYTES] > r->left)
        return bad(r, "a count is out of range");
    v->pipeline = bytes ? "byte-level-bpe" : "sentencepiece-bpe";
    r->n_patterns = word[W_PATTERNS];
    r->pattern_bytes = word[W_PATTERN_BYTES];
    if (bytes)
        NCT_TRY(nct_splitter_open(&v->splitter, r->err));
    v->whole_words = bytes && word[W_FLAGS] & WHOLE_WORDS;
    v->n_pieces = (int32_t)word[W_PIECES];
    v->bos = (int32_t)word[W_BOS];
    v->unk = (int32_t)word[W_UNK];
    v->add_bos = word[W_FLAGS] & ADD_BOS;
    v->add_prefix = word[W_FLAGS] & ADD_PREFIX;
    v->strip_left = word[W_FLAGS] & STRIP_LEFT;
    v->fuse_unk = word[W_FLAGS] & FUSE_UNK;
    v->n_merges = word[W_MERGES];
    v->longest_piece = word[W_LONGEST];
    v->text.n = word[W_TEXT];
    v->by_text_mask = word[W_TEXT_MASK];
    v->by_text_reach = word[W_TEXT_REACH];
    v->merge_mask = word[W_MERGE_MASK];
    v->merge_reach = word[W_MERGE_REACH];
    v->joint_mask = word[W_JOINT_MASK];
    v->n_char_pages = word[W_CHAR_PAGES];
    v->n_added = word[W_ADDED];
    v->n_plain_added = word[W_PLAIN];
    v->n_eos = word[W_EOS];
    for (size_t i = 0; i < v->n_eos; i++)
        v->eos[i] = (int32_t)word[W_EOS_ID + i];
    return NCT_OK;
}

static nct_status read_pieces(struct reading *r) {
    nct_vocab *v = r->v;
    void *p = NULL;
    size_t n = (size_t)v->n_pieces;
    const uint8_t *entry = next(r, n * PIECE_BYTES), *text = next(r, v->text.n);
    if (!entry || !text)
        return bad(r, "they end early");
    NCT_TRY(nct_alloc(&p, n, sizeof *v->piece, r->err));
    v->piece = p;
    v->piece_capacity = n;
    size_t n_text = v->text.n;
    v->text.n = 0;
    NCT_TRY(nct_bytes_add(&v->text, text, n_text, r->err));
    for (size_t i = 0; i < n; i++, entry += PIECE_BYTES) {
        nct_piece piece = {nct_le32(entry), nct_le32(entry + 4), entry[8], entry[9]};
        if (piece.kind > NCT_PIECE_SPECIAL || piece.n_bytes > v->longest_piece || piece.off > n_text ||
            piece.n_bytes > n_text - piece.off || !nct_utf8_valid(v->text.data + piece.off, piece.n_bytes))
            return bad(r, "a piece is no text in them");
        v->piece[i] = piece;
    }
    /* ids that files name without having a piece for them are no danger, only useless */
    if (v->bos < -1 || v->bos >= NCT_VOCAB_MAX_PIECES || v->unk < -1 || v->unk >= NCT_VOCAB_MAX_PIECES)
        return bad(r, "bos or unk is no id");
    for (size_t i = 0; i < v->n_eos; i++)
        if (v->eos[i] < 0 || v->eos[i] >= NCT_VOCAB_MAX_PIECES)
            return bad(r, "an end of answers is no id");
    return NCT_OK;
}

static nct_status read_texts(struct reading *r) {
    nct_vocab *v = r->v;
    void *p = NULL;
    NCT_TRY(take(r, (size_t)v->by_text_mask + 1, sizeof *v->by_text, &p));
    v->by_text = p;
    for (size_t i = 0; i <= v->by_text_mask; i++)
        if (!is_id(v, v->by_text[i], true))
            return bad(r, "the table of texts holds an id that is no piece");
    return NCT_OK;
}

static nct_status read_merges(struct reading *r) {
    nct_vocab *v = r->v;
    void *p = NULL;
    NCT_TRY(take(r, (size_t)v->merge_mask + 1, MERGE_BYTES, &p));
    v->merge = p;
    for (size_t i = 0; i <= v->merge_mask; i++) {
        const nct_merge *m = &v->merge[i];
        if (m->left == UINT32_MAX)
            continue;
        if (m->left > INT32_MAX || m->right > INT32_MAX || !is_id(v, (int32_t)m->left, false) ||
            !is_id(v, (int32_t)m->right, false) || !is_id(v, m->id, false))
            return bad(r, "a merge takes or makes an id that is no piece");
    }
    NCT_TRY(take(r, ((size_t)v->joint_mask + 1) / 64, sizeof *v->joint, &p));
    v->joint = p;
    return NCT_OK;
}

static nct_status read_chars(struct reading *r) {
    nct_vocab *v = r->v;
    void *p = NULL;
    const uint8_t *page = next(r, sizeof v->char_page);
    if (!page)
        return bad(r, "they end early");
    for (size_t i = 0; i < PAGES; i++) {
        v->char_page[i] = nct_le16(page + 2 * i);
        if (v->char_page[i] >= v->n_char_pages)
            return bad(r, "a page of characters is out of range");
    }
    NCT_TRY(take(r, v->n_char_pages * 256, sizeof *v->char_id, &p));
    v->char_id = p;
    for (size_t i = 0; i < v->n_char_pages * 256; i++)
        if (!is_id(v, v->char_id[i], true))
            return bad(r, "a character's id is no piece");
    const uint8_t *byte = next(r, sizeof v->byte_id);
    if (!byte)
        return bad(r, "they end early");
    for (size_t i = 0; i < 256; i++) {
        v->byte_id[i] = (int32_t)nct_le32(byte + 4 * i);
        if (!is_id(v, v->byte_id[i], true))
            return bad(r, "a byte's id is no piece");
        if (v->byte_id[i] < 0 && (v->unk < 0 || v->splitter))
            return bad(r, "a byte has neither a piece nor unk");
    }
    return NCT_OK;
}

/* Whether b may follow a: nct_vocab_match looks for them in this order. */
static bool in_order(const nct_vocab *v, const nct_added *a, const nct_added *b) {
    if (a->normalized != b->normalized)
        return !a->normalized;
    int order = memcmp(v->text.data + a->off, v->text.data + b->off,
                       a->n_bytes < b->n_bytes ? a->n_bytes : b->n_bytes);
    return order < 0 || (order == 0 && a->n_bytes < b->n_bytes);
}

static nct_status read_added(struct reading *r) {
    nct_vocab *v = r->v;
    void *p = NULL;
    const uint8_t *entry = next(r, v->n_added * ADDED_BYTES);
    if (!entry)
        return bad(r, "they end early");
    NCT_TRY(nct_alloc(&p, v->n_added, sizeof *v->added, r->err));
    v->added = p;
    v->added_capacity = v->n_added;
    for (size_t i = 0; i < v->n_added; i++, entry += ADDED_BYTES) {
        nct_added a = {(int32_t)nct_le32(entry), nct_le32(entry + 4), nct_le32(entry + 8),
                       nct_le32(entry + 12) == 1};
        if (!is_id(v, a.id, false) || a.n_bytes == 0 || a.off > v->text.n || a.n_bytes > v->text.n - a.off ||
            a.normalized != (i >= v->n_plain_added) || (i > 0 && !in_order(v, &v->added[i - 1], &a)))
            return bad(r, "an added token is no text in them or out of order");
        v->added[i] = a;
    }
    return NCT_OK;
}

static nct_status read_patterns(struct reading *r) {
    const char *text = r->v->splitter ? (const char *)next(r, r->pattern_bytes) : "";
    size_t left = r->v->splitter ? r->pattern_bytes : 0;
    if (!text)
        return bad(r, "they end early");
    for (size_t i = 0; i < r->n_patterns; i++) {
        const char *end = memchr(text, 0, left);
        if (!end)
            return bad(r, "a pattern has no end");
        size_t n = (size_t)(end - text);
        NCT_TRY(nct_splitter_add(r->v->splitter, r->name, text, n, r->err));
        text += n + 1;
        left -= n + 1;
    }
    return left || r->left ? bad(r, "something follows them") : NCT_OK;
}

nct_status nct_vocab_read_tables(const char *name, const uint8_t *data, size_t n_bytes, nct_vocab **vocab,
                                 nct_error *err) {
    _Static_assert(sizeof(nct_merge) == MERGE_BYTES, "merges are copied as they are");
    void *block = NULL;
    NCT_TRY(nct_alloc(&block, 1, sizeof(nct_vocab), err));
    struct reading r = {.name = name, .at = data, .left = n_bytes, .v = block, .err = err};
    nct_status status = read_head(&r);
    if (status == NCT_OK)
        status = read_pieces(&r);
    if (status == NCT_OK)
        status = read_texts(&r);
    if (status == NCT_OK)
        status = read_merges(&r);
    if (status == NCT_OK)
        status = read_chars(&r);
    if (status == NCT_OK)
        status = read_added(&r);
    if (status == NCT_OK)
        status = read_patterns(&r);
    if (status == NCT_OK)
        *vocab = r.v;
    else
        nct_vocab_close(r.v);
    return status;
}
