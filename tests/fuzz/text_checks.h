/** What must hold of any vocabulary that was accepted: for the fuzz targets of the text layer. */
#ifndef NCT_FUZZ_TEXT_CHECKS_H
#define NCT_FUZZ_TEXT_CHECKS_H

#include <stdlib.h>
#include <string.h>

#include "text/bpe.h"
#include "text/stream.h"
#include "base/utf8.h"

static inline void check(bool holds) {
    if (!holds)
        abort();
}

/* Every id is a piece; content gives no added token but the unknown one. */
static inline void check_ids(const nct_vocab *v, const int32_t *ids, size_t n, bool content) {
    for (size_t i = 0; i < n; i++) {
        const nct_piece *p = nct_vocab_piece(v, ids[i]);
        check(p != NULL);
        check(!content || ids[i] == v->unk || !nct_piece_is_added(p));
    }
}

/* Decodes all at once and as a stream: both valid UTF-8, and the same where no byte was replaced. */
static inline void check_decoding(const nct_vocab *v, const int32_t *ids, size_t n, bool keep_special) {
    char *text = NULL;
    size_t n_text = 0, n_part;
    check(nct_text_decode(v, ids, n, keep_special, &text, &n_text, NULL) == NCT_OK);
    check(nct_utf8_valid(text, n_text) && text[n_text] == 0);
    nct_text_stream *stream = NULL;
    nct_bytes out = {0};
    check(nct_stream_open(v, false, keep_special, &stream, NULL) == NCT_OK);
    for (size_t i = 0; i <= n; i++) {
        const char *part =
            i < n ? nct_text_stream_push(stream, ids[i], &n_part) : nct_text_stream_end(stream, &n_part);
        check(nct_utf8_valid(part, n_part));
        check(nct_bytes_add(&out, part, n_part, NULL) == NCT_OK);
    }
    bool replaced = false;
    for (size_t i = 0; i + 3 <= n_text; i++)
        replaced = replaced || memcmp(text + i, NCT_REPLACEMENT, 3) == 0;
    check(replaced || (out.n == n_text && memcmp(out.data, text, n_text) == 0));
    nct_text_stream_close(stream);
    nct_bytes_reset(&out);
    nct_free(text);
}

static inline void check_vocab(const nct_vocab *v, const char *text, size_t n) {
    int32_t *ids = NULL;
    size_t n_ids = 0;
    for (int parse = 0; parse < 2; parse++) {
        check(nct_bpe_encode(v, text, n, parse, parse, &ids, &n_ids, NULL) == NCT_OK);
        check_ids(v, ids, n_ids, !parse);
        check_decoding(v, ids, n_ids, parse);
        nct_free(ids);
    }
}

#endif
