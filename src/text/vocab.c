#include "text/vocab_build.h"

#include <stdlib.h>

#include "base/utf8.h"

/* A table whose longest probe exceeds this was made to be slow. */
enum { MAX_REACH = 1024 };

/* ------------------------------------------------------------------ texts */

/* A polynomial in the bytes, so that the hash of every part of a text follows from those of its beginnings. */
static const uint64_t hash_base = 0x100000001b3u;

static uint64_t hash_more(uint64_t h, const char *s, size_t n) {
    for (size_t i = 0; i < n; i++)
        h = h * hash_base + (uint8_t)s[i] + 1;
    return h;
}

static int32_t find_hashed(const nct_vocab *v, uint64_t h, const char *s, size_t n) {
    uint32_t at = (uint32_t)nct_rng_mix(h) & v->by_text_mask;
    for (uint32_t i = 0; i <= v->by_text_reach; i++, at = (at + 1) & v->by_text_mask) {
        int32_t id = v->by_text[at];
        if (id < 0)
            break;
        const nct_piece *p = &v->piece[id];
        if (p->n_bytes == n && memcmp(nct_vocab_text(v, p), s, n) == 0)
            return id;
    }
    return -1;
}

int32_t nct_vocab_find(const nct_vocab *v, const char *s, size_t n) {
    return find_hashed(v, hash_more(0, s, n), s, n);
}

bool nct_build_is_byte(const char *s, size_t n, uint8_t *byte) {
    static const char digits[] = "0123456789ABCDEF";
    if (n != 6 || memcmp(s, "<0x", 3) != 0 || s[5] != '>')
        return false;
    const char *high = memchr(digits, s[3], 16), *low = memchr(digits, s[4], 16);
    if (!high || !low)
        return false;
    *byte = (uint8_t)((high - digits) << 4 | (low - digits));
    return true;
}

/* ------------------------------------------------------------------ pieces */

static nct_status check_text(const nct_build *b, int64_t id, const char *s, size_t n) {
    if (id < 0 || id >= NCT_VOCAB_MAX_PIECES)
        return nct_fail(b->err, NCT_E_FORMAT, "%s: piece '%.*s' has id %lld, expected 0 to %d", b->name,
                        n < 80 ? (int)n : 80, s, (long long)id, NCT_VOCAB_MAX_PIECES - 1);
    if (n > NCT_PIECE_MAX_BYTES)
        return nct_fail(b->err, NCT_E_UNSUPPORTED, "%s: piece %lld has %zu bytes, expected at most %d",
                        b->name, (long long)id, n, NCT_PIECE_MAX_BYTES);
    if (!nct_utf8_valid(s, n))
        return nct_fail(b->err, NCT_E_FORMAT, "%s: piece %lld is not valid UTF-8", b->name, (long long)id);
    return NCT_OK;
}

/* Stores the text of an id, which may have had another. */
static nct_status store_piece(nct_build *b, int32_t id, const char *s, size_t n, nct_piece_kind kind) {
    nct_vocab *v = b->vocab;
    void *p = v->piece;
    NCT_TRY(nct_grow(&p, &v->piece_capacity, (size_t)id + 1, sizeof *v->piece, b->err));
    v->piece = p;
    nct_piece *piece = &v->piece[id];
    *piece = (nct_piece){.off = (uint32_t)v->text.n, .n_bytes = (uint32_t)n, .kind = (uint8_t)kind};
    if (kind == NCT_PIECE_NORMAL && !v->splitter && nct_build_is_byte(s, n, &piece->byte))
        piece->kind = NCT_PIECE_BYTE;
    if (id >= v->n_pieces)
        v->n_pieces = id + 1;
    return nct_bytes_add(&v->text, s, n, b->err);
}

nct_status nct_build_piece(nct_build *b, int64_t id, const char *s, size_t n) {
    NCT_TRY(check_text(b, id, s, n));
    if (id < b->vocab->n_pieces && b->vocab->piece[id].kind != NCT_PIECE_ABSENT)
        return nct_fail(b->err, NCT_E_FORMAT, "%s: id %lld has two pieces, the second is '%.*s'", b->name,
                        (long long)id, (int)n, s);
    return store_piece(b, (int32_t)id, s, n, NCT_PIECE_NORMAL);
}

nct_status nct_build_added(nct_build *b, int64_t id, const char *s, size_t n, bool special, bool normalized) {
    nct_vocab *v = b->vocab;
    NCT_TRY(check_text(b, id, s, n));
    if (n == 0)
        return nct_fail(b->err, NCT_E_FORMAT, "%s: added token %lld is empty", b->name, (long long)id);
    const nct_piece *old = nct_vocab_piece(v, (int32_t)id);
    bool same = old && old->n_bytes == n && memcmp(nct_vocab_text(v, old), s, n) == 0;
    if (old && nct_piece_is_added(old)) {
        if (same)
            return NCT_OK; /* two files name it */
        return nct_fail(b->err, NCT_E_FORMAT,
                        "%s: added token %lld is '%.*s' in one place and '%.*s' in another", b->name,
                        (long long)id, (int)old->n_bytes, nct_vocab_text(v, old), (int)n, s);
    }
    nct_piece_kind kind = special ? NCT_PIECE_SPECIAL : NCT_PIECE_ADDED;
    if (same)
        v->piece[id].kind = (uint8_t)kind;
    else
        NCT_TRY(store_piece(b, (int32_t)id, s, n, kind));
    void *p = v->added;
    NCT_TRY(nct_grow(&p, &v->added_capacity, v->n_added + 1, sizeof *v->added, b->err));
    v->added = p;
    v->added[v->n_added++] = (nct_added){
        .id = (int32_t)id, .off = v->piece[id].off, .n_bytes = (uint32_t)n, .normalized = normalized};
    return NCT_OK;
}

/* For qsort: a token beside the text it points to. */
typedef struct added_key {
    nct_added token;
    const char *text;
} added_key;

static int compare_added(const void *a, const void *b) {
    const added_key *x = a, *y = b;
    if (x->token.normalized != y->token.normalized)
        return x->token.normalized ? 1 : -1;
    uint32_t n = x->token.n_bytes, m = y->token.n_bytes;
    int order = memcmp(x->text, y->text, n < m ? n : m);
    if (order == 0)
        order = (n > m) - (n < m);
    return order ? order : (x->token.id > y->token.id) - (x->token.id < y->token.id);
}

/* Sorts the added tokens for nct_vocab_match; of several with one text the lowest id stays. */
static nct_status sort_added(nct_build *b) {
    nct_vocab *v = b->vocab;
    void *block = NULL;
    NCT_TRY(nct_alloc(&block, v->n_added, sizeof(added_key), b->err));
    added_key *key = block;
    for (size_t i = 0; i < v->n_added; i++)
        key[i] = (added_key){v->added[i], v->text.data + v->added[i].off};
    if (v->n_added)
        qsort(key, v->n_added, sizeof *key, compare_added);
    size_t n = 0;
    for (size_t i = 0; i < v->n_added; i++) {
        const nct_added *last = n ? &v->added[n - 1] : NULL, *token = &key[i].token;
        if (last && last->normalized == token->normalized && last->n_bytes == token->n_bytes &&
            memcmp(v->text.data + last->off, key[i].text, token->n_bytes) == 0)
            continue;
        v->added[n++] = *token;
        v->n_plain_added += !token->normalized;
    }
    v->n_added = n;
    nct_free(block);
    return NCT_OK;
}

const nct_added *nct_vocab_match(const nct_vocab *v, bool normalized, const char *s, size_t n) {
    size_t low = normalized ? v->n_plain_added : 0, high = normalized ? v->n_added : v->n_plain_added;
    const nct_added *best = NULL;
    /* Tokens low .. high-1 share the first d bytes with s; the shortest of them comes first. */
    for (size_t d = 0; low < high; d++) {
        if (v->added[low].n_bytes == d) {
            best = &v->added[low++];
            if (low == high)
                break;
        }
        if (d == n)
            break;
        uint8_t c = (uint8_t)s[d];
        for (size_t end = high; low < end;) { /* first with a byte >= c there */
            size_t middle = low + (end - low) / 2;
            if ((uint8_t)v->text.data[v->added[middle].off + d] < c)
                low = middle + 1;
            else
                end = middle;
        }
        for (size_t begin = low; begin < high;) { /* first with a byte > c there */
            size_t middle = begin + (high - begin) / 2;
            if ((uint8_t)v->text.data[v->added[middle].off + d] <= c)
                begin = middle + 1;
            else
                high = middle;
        }
    }
    return best;
}

/* ------------------------------------------------------------------ text -> id */

/* Slots for n entries: a power of two, at most half full. */
static uint32_t table_size(size_t n) {
    uint32_t size = 64;
    while (size < 2 * n)
        size *= 2;
    return size;
}

static nct_status too_slow(const nct_build *b, const char *what) {
    return nct_fail(b->err, NCT_E_UNSUPPORTED, "%s: more than %d %s fall together in a table", b->name,
                    MAX_REACH, what);
}

/* Enters one id. Of several with one text the first one entered is found; *first says whether this is it. */
static nct_status index_piece(nct_build *b, int32_t id, bool *first) {
    nct_vocab *v = b->vocab;
    const nct_piece *p = &v->piece[id];
    const char *s = nct_vocab_text(v, p);
    uint32_t at = (uint32_t)nct_rng_mix(hash_more(0, s, p->n_bytes)) & v->by_text_mask, reach = 0;
    for (; v->by_text[at] >= 0; at = (at + 1) & v->by_text_mask, reach++) {
        const nct_piece *q = &v->piece[v->by_text[at]];
        if (q->n_bytes == p->n_bytes && memcmp(nct_vocab_text(v, q), s, p->n_bytes) == 0) {
            *first = false;
            return NCT_OK;
        }
        if (reach == MAX_REACH)
            return too_slow(b, "pieces");
    }
    v->by_text[at] = id;
    v->by_text_reach = reach > v->by_text_reach ? reach : v->by_text_reach;
    *first = true;
    return NCT_OK;
}

nct_status nct_build_index(nct_build *b, bool unique) {
    nct_vocab *v = b->vocab;
    if (v->n_pieces == 0)
        return nct_fail(b->err, NCT_E_FORMAT, "%s: the vocabulary is empty", b->name);
    void *p = NULL;
    uint32_t size = table_size((size_t)v->n_pieces);
    NCT_TRY(nct_alloc(&p, size, sizeof *v->by_text, b->err));
    v->by_text = p;
    v->by_text_mask = size - 1;
    memset(v->by_text, 0xff, size * sizeof *v->by_text);
    for (int added = 1; added >= 0; added--) /* before pieces of the same text */
        for (int32_t id = 0; id < v->n_pieces; id++) {
            const nct_piece *piece = &v->piece[id];
            bool first = true;
            if (piece->kind != NCT_PIECE_ABSENT && nct_piece_is_added(piece) == added)
                NCT_TRY(index_piece(b, id, &first));
            if (!first && unique)
                return nct_fail(b->err, NCT_E_FORMAT, "%s: piece '%.*s' is listed twice", b->name,
                                (int)piece->n_bytes, nct_vocab_text(v, piece));
        }
    return NCT_OK;
}

/* ------------------------------------------------------------------ merges */

static nct_status add_merge(nct_build *b, int32_t left, int32_t right, int32_t id) {
    if (b->n_list == NCT_VOCAB_MAX_MERGES)
        return nct_fail(b->err, NCT_E_UNSUPPORTED, "%s: more than %d merges", b->name, NCT_VOCAB_MAX_MERGES);
    void *p = b->list;
    NCT_TRY(nct_grow(&p, &b->list_capacity, b->n_list + 1, sizeof *b->list, b->err));
    b->list = p;
    b->list[b->n_list] = (nct_merge){(uint32_t)left, (uint32_t)right, (uint32_t)b->n_list, id};
    b->n_list++;
    return NCT_OK;
}

nct_status nct_build_merge(nct_build *b, const char *left, size_t n_left, const char *right, size_t n_right) {
    const nct_vocab *v = b->vocab;
    uint64_t h = hash_more(0, left, n_left);
    if (n_left == 0 || n_right == 0)
        return nct_fail(b->err, NCT_E_FORMAT, "%s: merge '%.*s' + '%.*s' has an empty half", b->name,
                        n_left < 80 ? (int)n_left : 80, left, n_right < 80 ? (int)n_right : 80, right);
    int32_t l = find_hashed(v, h, left, n_left), r = nct_vocab_find(v, right, n_right), id = -1;
    char both[NCT_PIECE_MAX_BYTES];
    if (n_left <= sizeof both && n_right <= sizeof both - n_left) {
        memcpy(both, left, n_left);
        memcpy(both + n_left, right, n_right);
        id = find_hashed(v, hash_more(h, right, n_right), both, n_left + n_right);
    }
    if (l < 0 || r < 0 || id < 0)
        return nct_fail(b->err, NCT_E_FORMAT, "%s: merge '%.*s' + '%.*s': %s is no piece", b->name,
                        n_left < 80 ? (int)n_left : 80, left, n_right < 80 ? (int)n_right : 80, right,
                        l < 0   ? "the left"
                        : r < 0 ? "the right"
                                : "the result");
    /* Where added tokens are recognised their text never gets this far, and where they are not, text must
       not become one. */
    if (nct_piece_is_added(&v->piece[l]) || nct_piece_is_added(&v->piece[r]) ||
        nct_piece_is_added(&v->piece[id]))
        return NCT_OK;
    if (v->piece[l].kind == NCT_PIECE_BYTE || v->piece[r].kind == NCT_PIECE_BYTE ||
        v->piece[id].kind == NCT_PIECE_BYTE)
        return nct_fail(b->err, NCT_E_UNSUPPORTED, "%s: merge '%.*s' + '%.*s' takes or makes a byte piece",
                        b->name, (int)n_left, left, (int)n_right, right);
    return add_merge(b, l, r, id);
}

static int by_left_right(const void *a, const void *b) {
    const nct_merge *x = a, *y = b;
    if (x->left != y->left)
        return x->left < y->left ? -1 : 1;
    return (x->right > y->right) - (x->right < y->right);
}

nct_status nct_build_merges(nct_build *b) {
    const nct_vocab *v = b->vocab;
    uint64_t power[NCT_PIECE_MAX_BYTES + 1] = {1}, prefix[NCT_PIECE_MAX_BYTES + 1] = {0};
    for (size_t i = 0; i < NCT_PIECE_MAX_BYTES; i++)
        power[i + 1] = power[i] * hash_base;
    for (int32_t id = 0; id < v->n_pieces; id++) {
        const nct_piece *p = &v->piece[id];
        const char *s = nct_vocab_text(v, p);
        size_t n = p->n_bytes, first = b->n_list;
        if (p->kind != NCT_PIECE_NORMAL)
            continue;
        for (size_t i = 0; i < n; i++)
            prefix[i + 1] = hash_more(prefix[i], s + i, 1);
        if (find_hashed(v, prefix[n], s, n) != id)
            continue;
        for (size_t i = 1; i < n; i++) {
            int32_t left = find_hashed(v, prefix[i], s, i);
            if (left < 0 || v->piece[left].kind != NCT_PIECE_NORMAL)
                continue;
            int32_t right = find_hashed(v, prefix[n] - prefix[i] * power[n - i], s + i, n - i);
            if (right >= 0 && v->piece[right].kind == NCT_PIECE_NORMAL)
                NCT_TRY(add_merge(b, left, right, id));
        }
        if (b->n_list > first + 1)
            qsort(b->list + first, b->n_list - first, sizeof *b->list, by_left_right);
        for (size_t i = first; i < b->n_list; i++)
            b->list[i].rank = (uint32_t)i;
    }
    return NCT_OK;
}

static nct_status index_merges(nct_build *b) {
    nct_vocab *v = b->vocab;
    uint32_t size = table_size(b->n_list);
    void *p = NULL;
    NCT_TRY(nct_alloc(&p, size, sizeof *v->merge, b->err));
    v->merge = p;
    v->merge_mask = size - 1;
    memset(v->merge, 0xff, size * sizeof *v->merge);
    for (size_t i = 0; i < b->n_list; i++) {
        const nct_merge *m = &b->list[i];
        uint32_t at = (uint32_t)nct_vocab_pair_hash(m->left, m->right) & v->merge_mask, reach = 0;
        while (v->merge[at].left != UINT32_MAX &&
               (v->merge[at].left != m->left || v->merge[at].right != m->right)) {
            if (reach++ == MAX_REACH)
                return too_slow(b, "merges");
            at = (at + 1) & v->merge_mask;
        }
        v->n_merges += v->merge[at].left == UINT32_MAX;
        v->merge[at] = *m; /* of a pair that is listed twice the last counts */
        v->merge_reach = reach > v->merge_reach ? reach : v->merge_reach;
    }
    return NCT_OK;
}

/* ------------------------------------------------------------------ characters */

/* The code point of the last character of a text. */
static uint32_t last_char(const char *s, size_t n) {
    size_t at = n - 1;
    while (at && ((uint8_t)s[at] & 0xc0) == 0x80)
        at--;
    uint32_t code = 0;
    nct_utf8_decode(s + at, n - at, &code);
    return code;
}

static uint32_t first_char(const char *s, size_t n) {
    uint32_t code = 0;
    nct_utf8_decode(s, n, &code);
    return code;
}

/* The only character of a normal piece. */
static bool single_char(const nct_vocab *v, const nct_piece *p, uint32_t *code) {
    return p->kind == NCT_PIECE_NORMAL && p->n_bytes &&
           nct_utf8_decode(nct_vocab_text(v, p), p->n_bytes, code) == p->n_bytes;
}

static nct_status index_chars(nct_build *b) {
    nct_vocab *v = b->vocab;
    uint32_t code;
    v->n_char_pages = 1;
    for (int32_t id = 0; id < v->n_pieces; id++)
        if (single_char(v, &v->piece[id], &code) && v->char_page[code >> 8] == 0)
            v->char_page[code >> 8] = (uint16_t)v->n_char_pages++;
    void *p = NULL;
    NCT_TRY(nct_alloc(&p, v->n_char_pages * 256, sizeof *v->char_id, b->err));
    v->char_id = p;
    memset(v->char_id, 0xff, v->n_char_pages * 256 * sizeof *v->char_id);
    for (int32_t id = v->n_pieces - 1; id >= 0; id--) /* of several the lowest stays */
        if (single_char(v, &v->piece[id], &code))
            v->char_id[(size_t)v->char_page[code >> 8] * 256 + (code & 255)] = id;
    return NCT_OK;
}

/* Marks where a merge's halves meet: between which characters text must not be cut. */
static nct_status index_joints(nct_build *b) {
    nct_vocab *v = b->vocab;
    uint32_t n_bits = table_size(b->n_list) * 4; /* there are fewer different joints than merges */
    void *p = NULL;
    NCT_TRY(nct_alloc(&p, n_bits / 64, sizeof *v->joint, b->err));
    v->joint = p;
    v->joint_mask = n_bits - 1;
    for (size_t i = 0; i < b->n_list; i++) {
        const nct_piece *l = &v->piece[b->list[i].left], *r = &v->piece[b->list[i].right];
        int32_t x = nct_vocab_char(v, last_char(nct_vocab_text(v, l), l->n_bytes));
        int32_t y = nct_vocab_char(v, first_char(nct_vocab_text(v, r), r->n_bytes));
        uint32_t bit = (uint32_t)(nct_vocab_pair_hash((uint32_t)x, (uint32_t)y) >> 16) & v->joint_mask;
        v->joint[bit >> 6] |= (uint64_t)1 << (bit & 63);
    }
    return NCT_OK;
}

/* ------------------------------------------------------------------ both ends of reading */

nct_status nct_build_open(nct_build *b, const char *name, const char *config_name, nct_error *err) {
    void *p = NULL;
    NCT_TRY(nct_alloc(&p, 1, sizeof *b->vocab, err));
    *b = (nct_build){.vocab = p, .name = name, .config_name = config_name, .err = err};
    b->vocab->pipeline = "sentencepiece-bpe";
    b->vocab->bos = b->vocab->unk = -1;
    b->vocab->add_bos = b->vocab->add_prefix = b->vocab->strip_left = b->vocab->fuse_unk = true;
    memset(b->vocab->byte_id, 0xff, sizeof b->vocab->byte_id);
    return NCT_OK;
}

nct_status nct_build_special(nct_build *b, int32_t id) {
    const nct_piece *p = nct_vocab_piece(b->vocab, id);
    if (!p || p->kind != NCT_PIECE_NORMAL || p->n_bytes == 0)
        return NCT_OK;
    return nct_build_added(b, id, nct_vocab_text(b->vocab, p), p->n_bytes, true, false);
}

nct_status nct_build_eos(nct_build *b, int32_t id) {
    nct_vocab *v = b->vocab;
    if (id < 0 || nct_vocab_is_eos(v, id))
        return NCT_OK;
    if (v->n_eos == NCT_VOCAB_MAX_EOS)
        return nct_fail(b->err, NCT_E_UNSUPPORTED, "%s: more than %d ids end a text", b->name,
                        NCT_VOCAB_MAX_EOS);
    v->eos[v->n_eos++] = id;
    return nct_build_special(b, id);
}

nct_status nct_build_finish(nct_build *b, bool byte_fallback) {
    nct_vocab *v = b->vocab;
    NCT_TRY(sort_added(b));
    NCT_TRY(index_merges(b));
    NCT_TRY(index_chars(b));
    NCT_TRY(index_joints(b));
    int n_bytes = 0;
    if (v->splitter)
        NCT_TRY(nct_build_alphabet(b));
    for (int32_t id = v->n_pieces - 1; id >= 0; id--) {
        const nct_piece *p = &v->piece[id];
        if (p->kind == NCT_PIECE_BYTE && byte_fallback) {
            n_bytes += v->byte_id[p->byte] < 0;
            v->byte_id[p->byte] = id;
        }
        v->longest_piece = p->n_bytes > v->longest_piece ? p->n_bytes : v->longest_piece;
    }
    if (v->unk < 0 && n_bytes < 256 && !v->splitter)
        return nct_fail(
            b->err, NCT_E_UNSUPPORTED,
            "%s: no piece for unknown characters: there are %d of 256 byte pieces and no unknown token",
            b->name, n_bytes);
    /* An answer in the family's chat format ends with this token, whatever the file calls its end. */
    int32_t end = nct_vocab_find(v, "<|im_end|>", 10);
    return nct_build_eos(b, end >= 0 && nct_piece_is_added(&v->piece[end]) ? end : -1);
}

nct_status nct_build_close(nct_build *b, nct_status status, nct_vocab **vocab) {
    nct_free(b->list);
    if (status == NCT_OK)
        *vocab = b->vocab;
    else
        nct_vocab_close(b->vocab);
    return status;
}

void nct_vocab_close(nct_vocab *v) {
    if (!v)
        return;
    nct_free(v->piece);
    nct_bytes_reset(&v->text);
    nct_splitter_close(v->splitter);
    nct_free(v->by_text);
    nct_free(v->merge);
    nct_free(v->joint);
    nct_free(v->char_id);
    nct_free(v->added);
    nct_free(v);
}

bool nct_vocab_is_eos(const nct_vocab *v, int32_t id) {
    for (size_t i = 0; i < v->n_eos; i++)
        if (v->eos[i] == id)
            return true;
    return false;
}
