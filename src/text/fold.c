#include "text/fold.h"

#include "base/unicode.h"
#include "base/utf8.h"
#include "text/bpe.h"
#include "text/stream.h"

/* Line feeds, at most two in a row. */
static nct_status add_collapsed(const char *s, size_t n, nct_bytes *out, nct_error *err) {
    size_t feeds = 0, from = 0;
    for (size_t i = 0; i <= n; i++) {
        feeds = i < n && s[i] == '\n' ? feeds + 1 : 0;
        if (i < n && feeds <= 2)
            continue;
        NCT_TRY(nct_bytes_add(out, s + from, i - from, err));
        from = i + 1;
    }
    return NCT_OK;
}

/* What str.strip of Python takes away. */
static bool is_blank(uint32_t code) { return nct_unicode_is_space(code) || (code >= 0x1c && code <= 0x1f); }

/* Takes blanks from both ends of the text behind `begin`. */
static void strip(nct_bytes *out, size_t begin) {
    size_t first = out->n, last = begin;
    for (size_t i = begin, length; i < out->n; i += length) {
        uint32_t code = UINT32_MAX;
        length = nct_utf8_decode(out->data + i, out->n - i, &code);
        length = length ? length : 1;
        if (is_blank(code))
            continue;
        first = first < i ? first : i;
        last = i + length;
    }
    size_t n = last > first ? last - first : 0;
    if (n)
        memmove(out->data + begin, out->data + first, n);
    out->n = begin + n;
    if (out->data)
        out->data[out->n] = 0;
}

/* A token's text behind a space; no two spaces come together. */
static nct_status add_word(const char *s, size_t n, nct_bytes *out, bool *space, nct_error *err) {
    static const char signs[] = "\nn\rr\tt";
    for (size_t i = 0; i < n; i++) {
        char sign[2] = {'\\', 0};
        for (size_t k = 0; signs[k]; k += 2)
            sign[1] = signs[k] == s[i] ? signs[k + 1] : sign[1];
        if (s[i] == ' ' && *space)
            continue;
        *space = s[i] == ' ';
        NCT_TRY(nct_bytes_add(out, sign[1] ? sign : s + i, sign[1] ? 2 : 1, err));
    }
    return NCT_OK;
}

static nct_status add_words(const nct_vocab *v, const int32_t *ids, size_t n_ids, nct_bytes *out, nct_error *err) {
    bool space = true; /* at the beginning one would go */
    size_t begin = out->n;
    for (size_t i = 0; i < n_ids; i++) {
        char *word = NULL;
        size_t n;
        if (i)
            NCT_TRY(add_word(" ", 1, out, &space, err));
        NCT_TRY(nct_text_decode(v, ids + i, 1, true, &word, &n, err));
        nct_status status = add_word(word, n, out, &space, err);
        nct_free(word);
        NCT_TRY(status);
    }
    strip(out, begin);
    return NCT_OK;
}

nct_status nct_fold_add(const nct_vocab *v, const char *text, size_t n, nct_bytes *out, nct_error *err) {
    nct_bytes a = {0}, b = {0};
    int32_t *ids = NULL;
    size_t n_ids = 0;
    nct_status status = add_collapsed(text, n, &a, err);
    if (status == NCT_OK)
        status = nct_unicode_add_lower(&b, a.data ? a.data : "", a.n, err);
    a.n = 0;
    if (status == NCT_OK)
        status = nct_unicode_add_unmarked(&a, b.data, b.n, err);
    nct_bytes_reset(&b);
    if (status == NCT_OK) /* the authors' tokenizer takes markers in the text for such, so this does too */
        status = nct_bpe_encode(v, a.data, a.n, true, false, &ids, &n_ids, err);
    nct_bytes_reset(&a);
    if (status == NCT_OK)
        status = add_words(v, ids, n_ids, out, err);
    nct_free(ids);
    return status;
}
