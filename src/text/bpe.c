#include "text/bpe.h"

#include <assert.h>

#include "base/unicode.h"
#include "base/utf8.h"
#include "text/alphabet.h"

/* Words up to this long are merged by scanning, longer ones with a heap. */
enum { SHORT_WORD = 32 };

/* A pair that can be merged: left at `key & UINT32_MAX` in the word, rank above. */
typedef struct candidate {
    uint64_t key;
    int32_t left, right;
    int32_t id;
} candidate;

/* What one call to encode owns and reuses. */
typedef struct encoder {
    const nct_vocab *vocab;
    int32_t *ids; /* the result so far */
    size_t n_ids, ids_capacity;
    int32_t *word; /* symbols that no cut has parted yet */
    size_t n_word, word_capacity;
    uint32_t *next, *prev; /* long words: neighbours by place */
    size_t next_capacity, prev_capacity;
    candidate *heap;
    size_t n_heap, heap_capacity;
    bool after_unk; /* the last id stands for an unknown character of this stretch */
    nct_error *err;
} encoder;

static nct_status emit(encoder *e, int32_t id) {
    if (e->n_ids == e->ids_capacity) {
        void *p = e->ids;
        NCT_TRY(nct_grow(&p, &e->ids_capacity, e->n_ids + 1, sizeof *e->ids, e->err));
        e->ids = p;
    }
    e->ids[e->n_ids++] = id;
    return NCT_OK;
}

/* ------------------------------------------------------------------ words */

static uint32_t rank_of(const nct_merge *merge) { return merge ? merge->rank : UINT32_MAX; }

/* Merges by looking for the leftmost lowest rank again and again. */
static nct_status merge_short(encoder *e) {
    int32_t *id = e->word;
    size_t n = e->n_word;
    uint32_t rank[SHORT_WORD];
    int32_t merged[SHORT_WORD];
    for (size_t i = 0; i + 1 < n; i++) {
        const nct_merge *m = nct_vocab_merge(e->vocab, id[i], id[i + 1]);
        rank[i] = rank_of(m);
        merged[i] = m ? m->id : -1;
    }
    while (n > 1) {
        size_t best = 0;
        for (size_t i = 1; i + 1 < n; i++)
            if (rank[i] < rank[best])
                best = i;
        if (rank[best] == UINT32_MAX)
            break;
        id[best] = merged[best];
        n--;
        for (size_t i = best + 1; i < n; i++)
            id[i] = id[i + 1];
        for (size_t i = best; i + 1 < n; i++)
            rank[i] = rank[i + 1], merged[i] = merged[i + 1];
        for (size_t i = best ? best - 1 : 0; i <= best && i + 1 < n; i++) {
            const nct_merge *m = nct_vocab_merge(e->vocab, id[i], id[i + 1]);
            rank[i] = rank_of(m);
            merged[i] = m ? m->id : -1;
        }
    }
    for (size_t i = 0; i < n; i++)
        NCT_TRY(emit(e, id[i]));
    return NCT_OK;
}

static nct_status push(encoder *e, uint32_t at) {
    uint32_t after = e->next[at];
    const nct_merge *m = after < e->n_word ? nct_vocab_merge(e->vocab, e->word[at], e->word[after]) : NULL;
    if (!m)
        return NCT_OK;
    void *p = e->heap;
    NCT_TRY(nct_grow(&p, &e->heap_capacity, e->n_heap + 1, sizeof *e->heap, e->err));
    e->heap = p;
    candidate c = {(uint64_t)m->rank << 32 | at, e->word[at], e->word[after], m->id};
    size_t i = e->n_heap++;
    for (; i && e->heap[(i - 1) / 2].key > c.key; i = (i - 1) / 2)
        e->heap[i] = e->heap[(i - 1) / 2];
    e->heap[i] = c;
    return NCT_OK;
}

static candidate pop(encoder *e) {
    candidate top = e->heap[0], last = e->heap[--e->n_heap];
    size_t i = 0;
    for (size_t child; (child = 2 * i + 1) < e->n_heap; i = child) {
        if (child + 1 < e->n_heap && e->heap[child + 1].key < e->heap[child].key)
            child++;
        if (e->heap[child].key >= last.key)
            break;
        e->heap[i] = e->heap[child];
    }
    e->heap[i] = last;
    return top;
}

/* Merges over a linked list. A candidate whose place has changed since it was pushed is passed over. */
static nct_status merge_long(encoder *e) {
    uint32_t n = (uint32_t)e->n_word;
    void *next = e->next, *prev = e->prev;
    NCT_TRY(nct_grow(&next, &e->next_capacity, n, sizeof *e->next, e->err));
    e->next = next;
    NCT_TRY(nct_grow(&prev, &e->prev_capacity, n, sizeof *e->prev, e->err));
    e->prev = prev;
    for (uint32_t i = 0; i < n; i++)
        e->next[i] = i + 1, e->prev[i] = i - 1;
    e->n_heap = 0;
    for (uint32_t i = 0; i < n; i++)
        NCT_TRY(push(e, i));
    while (e->n_heap) {
        candidate c = pop(e);
        uint32_t at = (uint32_t)c.key, gone = e->next[at];
        if (e->word[at] != c.left || gone >= n || e->word[gone] != c.right)
            continue;
        e->word[at] = c.id;
        e->word[gone] = -1; /* no id, so that nothing that waits for this place fits it */
        e->next[at] = e->next[gone];
        if (e->next[at] < n)
            e->prev[e->next[at]] = at;
        if (at)
            NCT_TRY(push(e, e->prev[at]));
        NCT_TRY(push(e, at));
    }
    for (uint32_t i = 0; i < n; i = e->next[i])
        NCT_TRY(emit(e, e->word[i]));
    return NCT_OK;
}

/* Encodes the symbols gathered so far and forgets them. */
static nct_status end_word(encoder *e) {
    if (e->n_word == 0)
        return NCT_OK;
    e->after_unk = false;
    nct_status status = e->n_word == 1            ? emit(e, e->word[0])
                        : e->n_word <= SHORT_WORD ? merge_short(e)
                                                  : merge_long(e);
    e->n_word = 0;
    return status;
}

/* ------------------------------------------------------------------ stretches */

/* Spells bytes that are no piece: as byte pieces if all of them have one, else as unknown. */
static nct_status put_bytes(encoder *e, const char *s, size_t n) {
    const nct_vocab *v = e->vocab;
    NCT_TRY(end_word(e));
    bool spelled = true;
    for (size_t i = 0; i < n; i++)
        spelled = spelled && v->byte_id[(uint8_t)s[i]] >= 0;
    if (!spelled) {
        bool fused = e->after_unk && v->fuse_unk;
        e->after_unk = true;
        return fused ? NCT_OK : emit(e, v->unk);
    }
    e->after_unk = false;
    for (size_t i = 0; i < n; i++)
        NCT_TRY(emit(e, v->byte_id[(uint8_t)s[i]]));
    return NCT_OK;
}

static nct_status put_char(encoder *e, uint32_t code, const char *s, size_t n) {
    int32_t id = nct_vocab_char(e->vocab, code);
    if (id < 0)
        return put_bytes(e, s, n);
    if (e->n_word && !nct_vocab_joins(e->vocab, e->word[e->n_word - 1], id))
        NCT_TRY(end_word(e));
    if (e->n_word == e->word_capacity) {
        void *p = e->word;
        NCT_TRY(nct_grow(&p, &e->word_capacity, e->n_word + 1, sizeof *e->word, e->err));
        e->word = p;
    }
    e->word[e->n_word++] = id;
    return NCT_OK;
}

/* Encodes a word of a byte-level vocabulary. */
static nct_status put_word(void *context, const char *s, size_t n) {
    encoder *e = context;
    const nct_vocab *v = e->vocab;
    if (v->whole_words && n <= NCT_PIECE_MAX_BYTES / 2) {
        char spelled[NCT_PIECE_MAX_BYTES];
        int32_t id = nct_vocab_find(v, spelled, nct_alphabet_spell(s, (uint32_t)n, spelled));
        if (id >= 0 && v->piece[id].kind == NCT_PIECE_NORMAL)
            return emit(e, id);
    }
    if (n > e->word_capacity) {
        void *p = e->word;
        NCT_TRY(nct_grow(&p, &e->word_capacity, n, sizeof *e->word, e->err));
        e->word = p;
    }
    for (size_t i = 0; i < n; i++)
        e->word[i] = v->byte_id[(uint8_t)s[i]];
    e->n_word = n;
    return end_word(e);
}

/* Encodes text without added tokens. */
static nct_status put_text(encoder *e, bool prefix, const char *s, size_t n) {
    e->after_unk = false;
    if (e->vocab->splitter)
        return nct_splitter_run(e->vocab->splitter, s, n, put_word, e, e->err);
    if (prefix)
        NCT_TRY(put_char(e, 0x2581, NCT_SPACE, 3));
    for (size_t i = 0, length; i < n; i += length) {
        uint32_t code;
        length = nct_utf8_decode(s + i, n - i, &code);
        if (length == 0)
            NCT_TRY(put_bytes(e, s + i, length = 1));
        else if (code == ' ')
            NCT_TRY(put_char(e, 0x2581, NCT_SPACE, 3));
        else
            NCT_TRY(put_char(e, code, s + i, length));
    }
    return end_word(e);
}

/* The added token that is matched after normalisation and starts at text[at], of which limit bytes are there. */
static const nct_added *match_normalized(const nct_vocab *v, const char *text, size_t at, size_t limit) {
    return at < limit ? nct_vocab_match(v, true, text + at, limit - at) : NULL;
}

/* Encodes a stretch between added tokens, in which there may be those that are matched after
   normalisation: behind a space or, since one is put there, at the start. A byte-level vocabulary has none, so
   they are matched anywhere, only later than the others. */
static nct_status put_stretch(encoder *e, const char *text, size_t begin, size_t end, const nct_span *markup,
                              size_t n_markup) {
    const nct_vocab *v = e->vocab;
    bool prefix = v->add_prefix && begin < end;
    if (v->n_plain_added == v->n_added || n_markup == 0)
        return put_text(e, prefix, text + begin, end - begin);
    size_t done = begin, m = 0;
    for (size_t at = begin; at < end;) {
        while (m < n_markup && markup[m].end <= at)
            m++;
        size_t limit = m < n_markup && markup[m].begin <= at ? markup[m].end : 0; /* 0: content, no token */
        limit = limit < end ? limit : end;
        size_t space = text[at] == ' ' ? 1 : end - at >= 3 && memcmp(text + at, NCT_SPACE, 3) == 0 ? 3 : 0;
        space = v->splitter ? 0 : space;
        const nct_added *token =
            (at == begin && prefix) || v->splitter ? match_normalized(v, text, at, limit) : NULL;
        if (token)
            prefix = false, space = 0; /* it took the space in front */
        else if (space)
            token = match_normalized(v, text, at + space, limit);
        if (!token) {
            at++;
            continue;
        }
        NCT_TRY(put_text(e, prefix, text + done, at - done));
        NCT_TRY(emit(e, token->id));
        prefix = false;
        done = at += space + token->n_bytes;
    }
    return put_text(e, prefix, text + done, end - done);
}

static nct_status put_all(encoder *e, const char *text, size_t n, const nct_span *markup, size_t n_markup) {
    const nct_vocab *v = e->vocab;
    bool starts[256] = {false};
    for (size_t i = 0; i < v->n_plain_added; i++)
        starts[(uint8_t)v->text.data[v->added[i].off]] = true;
    size_t done = 0, first = 0; /* text before `done` is encoded; markup before `first` ends before it */
    for (size_t m = 0; m < n_markup; m++) {
        assert(markup[m].begin <= markup[m].end && markup[m].end <= n &&
               (m == 0 || markup[m - 1].end <= markup[m].begin));
        for (size_t at = markup[m].begin; at < markup[m].end;) {
            const nct_added *token =
                starts[(uint8_t)text[at]] ? nct_vocab_match(v, false, text + at, markup[m].end - at) : NULL;
            if (!token) {
                at++;
                continue;
            }
            NCT_TRY(put_stretch(e, text, done, at, markup + first, n_markup - first));
            NCT_TRY(emit(e, token->id));
            done = at += token->n_bytes;
            first = m;
        }
    }
    return put_stretch(e, text, done, n, markup + first, n_markup - first);
}

static nct_status open_encoder(encoder *e, size_t n_bytes) {
    if (n_bytes > INT32_MAX)
        return nct_fail(e->err, NCT_E_ARGUMENT,
                        "a text of %zu bytes is too long to encode, at most %d are possible", n_bytes,
                        INT32_MAX);
    void *p = NULL;
    NCT_TRY(nct_grow(&p, &e->ids_capacity, n_bytes / 3 + 8, sizeof *e->ids, e->err));
    e->ids = p;
    return NCT_OK;
}

/* Hands the ids over, or frees them after a failure. */
static nct_status close_encoder(encoder *e, nct_status status, int32_t **ids, size_t *n_ids) {
    nct_free(e->word);
    nct_free(e->next);
    nct_free(e->prev);
    nct_free(e->heap);
    if (status != NCT_OK) {
        nct_free(e->ids);
        return status;
    }
    *ids = e->ids;
    *n_ids = e->n_ids;
    return NCT_OK;
}

nct_status nct_bpe_encode_spans(const nct_vocab *vocab, const char *text, size_t n_bytes,
                                const nct_span *markup, size_t n_markup, bool add_bos, int32_t **ids,
                                size_t *n_ids, nct_error *err) {
    static const nct_span no_markup;
    text = n_bytes ? text : "";
    markup = n_markup ? markup : &no_markup;
    encoder e = {.vocab = vocab, .err = err};
    NCT_TRY(open_encoder(&e, n_bytes));
    nct_status status = add_bos && vocab->bos >= 0 ? emit(&e, vocab->bos) : NCT_OK;
    if (status == NCT_OK)
        status = put_all(&e, text, n_bytes, markup, n_markup);
    return close_encoder(&e, status, ids, n_ids);
}

nct_status nct_bpe_encode_part(const nct_vocab *vocab, const char *text, size_t n_bytes, bool begins,
                               int32_t **ids, size_t *n_ids, nct_error *err) {
    encoder e = {.vocab = vocab, .err = err};
    NCT_TRY(open_encoder(&e, n_bytes));
    nct_status status = put_text(&e, begins && vocab->add_prefix && n_bytes, n_bytes ? text : "", n_bytes);
    return close_encoder(&e, status, ids, n_ids);
}

/* Id of the character at text[at], of whose text `limit` bytes are there; -1: it is no piece, no character, or not
   whole. */
static int32_t char_at(const nct_vocab *v, const char *text, size_t at, size_t limit, size_t *length) {
    uint32_t code;
    *length = at < limit ? nct_utf8_decode(text + at, limit - at, &code) : 0;
    return *length == 0 ? -1 : nct_vocab_char(v, code == ' ' ? 0x2581 : code);
}

/* The same for a byte-level vocabulary: between lines, where its patterns allow that. */
static size_t cut_lines(const nct_vocab *v, const char *text, size_t n_bytes, size_t from) {
    uint32_t code;
    for (size_t at = from; nct_splitter_cuts_lines(v->splitter) && at < n_bytes; at++)
        if (text[at - 1] == '\n' && nct_utf8_decode(text + at, n_bytes - at, &code) && !nct_unicode_is_space(code))
            return at;
    return 0;
}

size_t nct_bpe_cut(const nct_vocab *vocab, const char *text, size_t n_bytes, size_t from) {
    size_t at = from, length;
    assert(from > 0 && from <= n_bytes);
    if (vocab->splitter)
        return cut_lines(vocab, text, n_bytes, from);
    do
        at--;
    while (at > 0 && from - at < 4 && ((uint8_t)text[at] & 0xc0) == 0x80);
    int32_t before = -1;
    while (at < n_bytes) {
        int32_t id = char_at(vocab, text, at, n_bytes, &length);
        if (at >= from && before >= 0 && id >= 0 && !nct_vocab_joins(vocab, before, id))
            return at;
        before = id;
        at += length ? length : 1;
    }
    return 0;
}

nct_status nct_bpe_encode(const nct_vocab *vocab, const char *text, size_t n_bytes, bool parse_special,
                          bool add_bos, int32_t **ids, size_t *n_ids, nct_error *err) {
    nct_span whole = {0, n_bytes};
    return nct_bpe_encode_spans(vocab, text, n_bytes, &whole, parse_special, add_bos, ids, n_ids, err);
}
