#include "text/stream.h"

#include "base/utf8.h"
#include "text/alphabet.h"
#include "text/calls.h"

/* The bytes that a piece of a byte-level vocabulary spells, to `out`. Returns their number. */
static size_t spell_bytes(const nct_vocab *v, const nct_piece *p, char *out) {
    const char *s = nct_vocab_text(v, p);
    size_t n = 0;
    for (size_t i = 0, length; i < p->n_bytes; i += length) {
        uint32_t code = UINT32_MAX;
        length = nct_utf8_decode(s + i, p->n_bytes - i, &code);
        length = length ? length : 1; /* pieces are valid */
        int byte = nct_alphabet_byte(code);
        if (byte >= 0) {
            out[n++] = (char)byte;
        } else { /* no piece that any byte leads to */
            memcpy(out + n, s + i, length);
            n += length;
        }
    }
    return n;
}

static bool is_bytes(const nct_vocab *v, const nct_piece *p) {
    return v->splitter && p->kind == NCT_PIECE_NORMAL;
}

size_t nct_text_spell(const nct_vocab *v, const nct_piece *p, char *out) {
    const char *s = nct_vocab_text(v, p);
    if (p->kind == NCT_PIECE_BYTE) {
        *out = (char)p->byte;
        return 1;
    }
    if (is_bytes(v, p))
        return spell_bytes(v, p, out);
    if (nct_piece_is_added(p)) {
        memcpy(out, s, p->n_bytes);
        return p->n_bytes;
    }
    size_t n = 0;
    for (size_t i = 0; i < p->n_bytes;) {
        bool space = p->n_bytes - i >= 3 && memcmp(s + i, NCT_SPACE, 3) == 0;
        out[n++] = space ? ' ' : s[i];
        i += space ? 3 : 1;
    }
    return n;
}

/* ------------------------------------------------------------------ all at once */

static nct_status add_replacements(nct_bytes *out, size_t n, nct_error *err) {
    for (; n; n--)
        NCT_TRY(nct_bytes_add_str(out, NCT_REPLACEMENT, err));
    return NCT_OK;
}

/* Replaces what is no UTF-8 in the bytes from `run` on: every longest beginning of a character, and every byte that can
   begin none, by one U+FFFD. */
static nct_status replace_parts(nct_bytes *out, size_t run, nct_error *err) {
    nct_bytes made = {0};
    nct_status status = NCT_OK;
    for (size_t i = run, length; i < out->n && status == NCT_OK; i += length) {
        uint32_t code;
        size_t left = out->n - i;
        length = nct_utf8_decode(out->data + i, left, &code);
        if (length) {
            status = nct_bytes_add(&made, out->data + i, length, err);
            continue;
        }
        for (length = 1; length < left && nct_utf8_unfinished(out->data + i, length + 1);)
            length++;
        status = nct_bytes_add_str(&made, NCT_REPLACEMENT, err);
    }
    out->n = run;
    if (status == NCT_OK)
        status = nct_bytes_add(out, made.data ? made.data : "", made.n, err);
    nct_bytes_reset(&made);
    return status;
}

/* Ends the run of bytes that began at `run`. */
static nct_status end_run(const nct_vocab *v, nct_bytes *out, size_t run, nct_error *err) {
    size_t n = out->n - run;
    if (n == 0 || nct_utf8_valid(out->data + run, n))
        return NCT_OK;
    if (v->splitter)
        return replace_parts(out, run, err);
    out->n = run;
    return add_replacements(out, n, err);
}

static nct_status decode(const nct_vocab *v, const int32_t *ids, size_t n_ids, bool keep_special,
                         nct_bytes *out, nct_error *err) {
    char spelled[NCT_PIECE_MAX_BYTES];
    size_t run = 0; /* where the bytes at the end began that are to be seen as one */
    for (size_t i = 0; i < n_ids; i++) {
        const nct_piece *p = nct_vocab_piece(v, ids[i]);
        if (p && p->kind == NCT_PIECE_SPECIAL && !keep_special)
            continue;
        if (p && p->kind == NCT_PIECE_BYTE) {
            NCT_TRY(nct_bytes_add(out, &p->byte, 1, err));
            continue;
        }
        if (p && is_bytes(v, p)) {
            NCT_TRY(nct_bytes_add(out, spelled, spell_bytes(v, p, spelled), err));
            continue;
        }
        NCT_TRY(end_run(v, out, run, err));
        if (p)
            NCT_TRY(nct_bytes_add(out, spelled, nct_text_spell(v, p, spelled), err));
        else
            NCT_TRY(add_replacements(out, 1, err));
        run = out->n;
    }
    return end_run(v, out, run, err);
}

nct_status nct_text_decode(const nct_vocab *v, const int32_t *ids, size_t n_ids, bool keep_special,
                           char **text, size_t *n_bytes, nct_error *err) {
    nct_bytes out = {0};
    nct_status status = nct_bytes_add(&out, "", 0, err); /* an empty text is a text */
    if (status == NCT_OK)
        status = decode(v, ids, n_ids, keep_special, &out, err);
    if (status != NCT_OK) {
        nct_bytes_reset(&out);
        return status;
    }
    if (out.n && out.data[0] == ' ' && v->strip_left)
        memmove(out.data, out.data + 1, out.n--); /* the NUL moves too */
    *text = out.data;
    *n_bytes = out.n;
    return NCT_OK;
}

/* ------------------------------------------------------------------ as tokens arrive */

struct nct_text_stream {
    const nct_vocab *vocab;
    bool continuation, keep_special;
    bool started;    /* something was shown, so that a space now is no leading one */
    char pending[4]; /* the beginning of a character */
    size_t n_pending;
    char *out; /* room for the longest piece and what was pending before it */
    size_t n_out;
};

nct_status nct_stream_open(const nct_vocab *v, bool continuation, bool keep_special, nct_text_stream **stream,
                           nct_error *err) {
    void *p = NULL, *out = NULL;
    NCT_TRY(nct_alloc(&p, 1, sizeof **stream, err));
    size_t longest = v->splitter ? 3 * (size_t)v->longest_piece : v->longest_piece; /* all of it may be replaced */
    nct_status status = nct_alloc(&out, longest + sizeof(NCT_REPLACEMENT) * 4, 1, err);
    if (status != NCT_OK) {
        nct_free(p);
        return status;
    }
    *stream = p;
    **stream =
        (nct_text_stream){.vocab = v, .continuation = continuation, .keep_special = keep_special, .out = out};
    return NCT_OK;
}

void nct_text_stream_close(nct_text_stream *stream) {
    if (!stream)
        return;
    nct_free(stream->out);
    nct_free(stream);
}

static void show(nct_text_stream *s, const char *text, size_t n) {
    if (n && !s->started && *text == ' ' && s->vocab->strip_left && !s->continuation)
        text++, n--, s->started = true;
    if (n == 0)
        return;
    memcpy(s->out + s->n_out, text, n);
    s->n_out += n;
    s->started = true;
}

/* Shows pending bytes that will never make a character. */
static void give_up(nct_text_stream *s) {
    size_t n = s->vocab->splitter ? s->n_pending > 0 : s->n_pending;
    for (size_t i = 0; i < n; i++)
        show(s, NCT_REPLACEMENT, 3);
    s->n_pending = 0;
}

static void push_byte(nct_text_stream *s, uint8_t byte) {
    uint32_t code;
    s->pending[s->n_pending++] = (char)byte;
    size_t length = nct_utf8_decode(s->pending, s->n_pending, &code);
    if (length == s->n_pending) {
        show(s, s->pending, length);
        s->n_pending = 0;
    } else if (!nct_utf8_unfinished(s->pending, s->n_pending)) {
        bool alone = s->n_pending == 1;
        s->n_pending -= !alone;
        give_up(s);
        if (!alone)
            push_byte(s, byte); /* it may begin a character of its own */
    }
}

const char *nct_text_stream_push(nct_text_stream *s, int32_t id, size_t *n_bytes) {
    const nct_piece *p = nct_vocab_piece(s->vocab, id);
    char spelled[NCT_PIECE_MAX_BYTES];
    s->n_out = 0;
    if (p && p->kind == NCT_PIECE_BYTE) {
        push_byte(s, p->byte);
    } else if (p && is_bytes(s->vocab, p)) {
        size_t n = spell_bytes(s->vocab, p, spelled);
        for (size_t i = 0; i < n; i++)
            push_byte(s, (uint8_t)spelled[i]);
    } else if (!p || p->kind != NCT_PIECE_SPECIAL || s->keep_special ||
               nct_calls_is_markup(nct_vocab_text(s->vocab, p), p->n_bytes)) {
        give_up(s);
        if (p)
            show(s, spelled, nct_text_spell(s->vocab, p, spelled));
        else
            show(s, NCT_REPLACEMENT, 3);
    }
    *n_bytes = s->n_out;
    return s->out;
}

const char *nct_text_stream_end(nct_text_stream *s, size_t *n_bytes) {
    s->n_out = 0;
    give_up(s);
    s->started = false;
    *n_bytes = s->n_out;
    return s->out;
}
