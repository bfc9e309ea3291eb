#define _GNU_SOURCE /* memmem */
#include "base/map.h"
#include "base/rng.h"
#include "base/utf8.h"
#include "text/fixture.h"

#define S NCT_SPACE

/* ------------------------------------------------------------------ by hand */

static void test_bpe__merges_by_rank(void **state) {
    (void)state;
    nct_vocab *v = fixture_vocab();
    ASSERT_PIECES(v, "the", false, S "the");
    ASSERT_PIECES(v, "hello world", false, S, "hello", S "world");
    ASSERT_PIECES(v, "thing", false, S, "th", "ing");
    ASSERT_PIECES(v, "heing", false, S, "he", "ing");
    nct_vocab_close(v);
}

static void test_bpe__ties_go_left(void **state) {
    (void)state;
    nct_vocab *v = fixture_vocab();
    ASSERT_PIECES(v, "aaa", false, S, "aa", "a");
    ASSERT_PIECES(v, "aaaaaaa", false, S, "aaaa", "aa", "a");
    ASSERT_PIECES(v, "ababa", false, S, "ab", "aba");
    nct_vocab_close(v);
}

static void test_bpe__the_empty_text_has_no_ids(void **state) {
    (void)state;
    nct_vocab *v = fixture_vocab();
    assert_encodes(v, "", 0, true, NULL, 0);
    int32_t *ids = NULL;
    size_t n = 0;
    NCT_ASSERT_OK(nct_bpe_encode(v, NULL, 0, false, true, &ids, &n, fault));
    assert_int_equal(n, 1);
    assert_int_equal(ids[0], 1);
    nct_free(ids);
    nct_vocab_close(v);
}

static void test_bpe__every_stretch_has_one_space_in_front(void **state) {
    (void)state;
    nct_vocab *v = fixture_vocab();
    ASSERT_PIECES(v, " the", false, S, S "the");
    ASSERT_PIECES(v, "  ", false, S S, S);
    ASSERT_PIECES(v, "the<|im_end|>the", true, S "the", "<|im_end|>", S "the");
    ASSERT_PIECES(v, "<|im_end|>\n<|im_start|>", true, "<|im_end|>", S, "\n", "<|im_start|>");
    ASSERT_PIECES(v, "<|im_end|><|im_end|>", true, "<|im_end|>", "<|im_end|>");
    ASSERT_PIECES(v, S "the", false, S, S "the"); /* typed, it is a space like any */
    nct_vocab_close(v);
}

static void test_bpe__content_never_makes_added_tokens(void **state) {
    (void)state;
    nct_vocab *v = fixture_vocab();
    ASSERT_PIECES(v, "the<|im_end|>", false, S "the", "<|", "im", "_", "e", "n", "d", "|", ">");
    ASSERT_PIECES(v, "</s>", false, S, "<", "/", "s", ">");
    ASSERT_PIECES(v, "<unk>", false, S, "<", "u", "n", "k", ">");
    ASSERT_PIECES(v, "<0xab>", false, S, "<", "0", "<0x78>", "ab", ">"); /* nor byte pieces */
    nct_vocab_close(v);
}

static void test_bpe__markup_is_only_where_the_caller_says(void **state) {
    (void)state;
    nct_vocab *v = fixture_vocab();
    static const char text[] = "<|im_start|>the<|im_end|><|im_end|>";
    const nct_span markup[] = {{0, 12}, {25, 35}};
    int32_t *ids = NULL;
    size_t n = 0;
    NCT_ASSERT_OK(nct_bpe_encode_spans(v, text, sizeof text - 1, markup, 2, true, &ids, &n, fault));
    const int32_t expected[] = {1,
                                fixture_id("<|im_start|>"),
                                fixture_id(S "the"),
                                fixture_id("<|"),
                                fixture_id("im"),
                                fixture_id("_"),
                                fixture_id("e"),
                                fixture_id("n"),
                                fixture_id("d"),
                                fixture_id("|"),
                                fixture_id(">"),
                                fixture_id("<|im_end|>")};
    assert_same_ids(text, ids, n, expected, sizeof expected / sizeof *expected);
    nct_free(ids);

    /* A token that begins in markup and ends in content is text: the border between them is not its end. */
    const nct_span half[] = {{0, 6}};
    NCT_ASSERT_OK(nct_bpe_encode_spans(v, "<|im_end|>", 10, half, 1, false, &ids, &n, fault));
    assert_int_not_equal(ids[0], fixture_id("<|im_end|>"));
    assert_int_equal(n, 9);
    nct_free(ids);
    nct_vocab_close(v);
}

static void test_bpe__strange_characters_fall_back_to_bytes(void **state) {
    (void)state;
    nct_vocab *v = fixture_vocab();
    ASSERT_PIECES(v, "\xe4\xb8\xad\xe6\x96\x87", false, S, "\xe4\xb8\xad\xe6\x96\x87");
    ASSERT_PIECES(v,
                  "a\xc3\xa9"
                  "b",
                  false, S, "a", "<0xC3>", "<0xA9>", "b");
    ASSERT_PIECES(v, "\xf0\x9f\x99\x82", false, S, "<0xF0>", "<0x9F>", "<0x99>", "<0x82>");
    ASSERT_PIECES(v, "a\0b", false, S, "a", "<0x00>", "b");
    nct_vocab_close(v);
}

static void test_bpe__invalid_utf8_is_kept_byte_by_byte(void **state) {
    (void)state;
    nct_vocab *v = fixture_vocab();
    ASSERT_PIECES(v, "\xff", false, S, "<0xFF>");
    ASSERT_PIECES(v,
                  "\xe4\xb8"
                  "a",
                  false, S, "<0xE4>", "<0xB8>", "a");
    ASSERT_PIECES(v, "\xed\xa0\x80", false, S, "<0xED>", "<0xA0>", "<0x80>");
    ASSERT_PIECES(v, "\xc0\xaf\xf4\x90\x80\x80", false, S, "<0xC0>", "<0xAF>", "<0xF4>", "<0x90>", "<0x80>",
                  "<0x80>");
    ASSERT_PIECES(v, "a\xe4", false, S, "a", "<0xE4>");
    nct_vocab_close(v);
}

static nct_vocab *open_text(const char *added, const char *vocab, const char *merges, bool fuse) {
    nct_bytes json = {0};
    nct_vocab *v = NULL;
    NCT_ASSERT_OK(nct_bytes_printf(
        &json, fault,
        "{\"added_tokens\":[%s],\"normalizer\":%s,\"decoder\":%s,\"model\":{\"type\":\"BPE\","
        "\"unk_token\":\"<unk>\",\"fuse_unk\":%s,\"vocab\":{%s},\"merges\":[%s]}}",
        added, FIXTURE_NORMALIZER, FIXTURE_DECODER, fuse ? "true" : "false", vocab, merges));
    NCT_ASSERT_OK(fixture_read_json(json.data, json.n, NULL, &v, fault));
    nct_bytes_reset(&json);
    return v;
}

static void test_bpe__unknown_characters_fuse(void **state) {
    (void)state;
    static const char pieces[] = "\"<unk>\":0,\"" S "\":1,\"a\":2,\"b\":3";
    static const char added[] = "{\"id\":0,\"content\":\"<unk>\",\"special\":true}";
    static const char text[] = "xya\xc3\xa9\xff"
                               "bz";
    nct_vocab *v = open_text(added, pieces, "", true);
    assert_encodes(v, text, sizeof text - 1, false, (const int32_t[]){1, 0, 2, 0, 3, 0}, 6);
    assert_encodes(v, "x<unk>x", 7, true, (const int32_t[]){1, 0, 0, 1, 0},
                   5); /* not with one that was written */
    nct_vocab_close(v);
    v = open_text(added, pieces, "", false);
    assert_encodes(v, text, sizeof text - 1, false, (const int32_t[]){1, 0, 0, 2, 0, 0, 3, 0}, 8);
    nct_vocab_close(v);
}

static void test_bpe__normalized_tokens_take_their_space(void **state) {
    (void)state;
    nct_vocab *v = open_text("{\"id\":0,\"content\":\"<unk>\",\"special\":true},"
                             "{\"id\":1,\"content\":\"<t>\",\"special\":true,\"normalized\":true},"
                             "{\"id\":9,\"content\":\"<p>\",\"special\":true}",
                             "\"<unk>\":0,\"<t>\":1,\"" S "\":2,\"a\":3,\"<\":4,\"t\":5,\">\":6", "", true);
    assert_encodes(v, "<t>a", 4, true, (const int32_t[]){1, 3}, 2);
    assert_encodes(v, "a<t>", 4, true, (const int32_t[]){2, 3, 4, 5, 6}, 5); /* no space before it */
    assert_encodes(v, "a <t> a", 7, true, (const int32_t[]){2, 3, 1, 2, 3}, 5);
    assert_encodes(v, " <t>", 4, true, (const int32_t[]){2, 1}, 2);
    assert_encodes(v, "a<p><t>a", 8, true, (const int32_t[]){2, 3, 9, 1, 3}, 5);
    assert_encodes(v, "<t>a", 4, false, (const int32_t[]){2, 4, 5, 6, 3}, 5);
    nct_vocab_close(v);
}

static void test_bpe__the_longest_added_token_wins(void **state) {
    (void)state;
    nct_vocab *v = open_text(
        "{\"id\":0,\"content\":\"<unk>\"},{\"id\":4,\"content\":\"<a\"},{\"id\":5,\"content\":\"<a>\"},"
        "{\"id\":6,\"content\":\"<a>bb\"},{\"id\":7,\"content\":\"<ab>\"}",
        "\"<unk>\":0,\"" S "\":1,\"a\":2,\"b\":3", "", true);
    assert_encodes(v, "<a>b", 4, true, (const int32_t[]){5, 1, 3}, 3);
    assert_encodes(v, "<a>bb", 5, true, (const int32_t[]){6}, 1);
    assert_encodes(v, "<ab", 3, true, (const int32_t[]){4, 1, 3}, 3);
    assert_encodes(v, "<ab><<a", 7, true, (const int32_t[]){7, 1, 0, 4}, 4);
    nct_vocab_close(v);
}

static void test_bpe__the_order_of_the_list_counts_not_the_ids(void **state) {
    (void)state;
    static const char pieces[] = "\"<unk>\":0,\"" S "\":1,\"a\":2,\"b\":3,\"c\":4,\"ab\":5,\"bc\":6";
    nct_vocab *v = open_text("{\"id\":0,\"content\":\"<unk>\"}", pieces, "\"b c\",\"a b\"", true);
    assert_encodes(v, "abc", 3, false, (const int32_t[]){1, 2, 6}, 3);
    nct_vocab_close(v);
    v = open_text("{\"id\":0,\"content\":\"<unk>\"}", pieces, "[\"a\",\"b\"],[\"b\",\"c\"]", true);
    assert_encodes(v, "abc", 3, false, (const int32_t[]){1, 5, 4}, 3);
    nct_vocab_close(v);
}

/* ------------------------------------------------------------------ against the definition */

/* Merges a stretch by the book: of all adjacent pairs the one of lowest rank, leftmost, again and again. */
static size_t by_the_book(const nct_vocab *v, const char *s, size_t n, int32_t *ids) {
    size_t m = 0;
    if (n)
        ids[m++] = nct_vocab_char(v, 0x2581);
    for (size_t i = 0, length; i < n; i += length) {
        uint32_t code = 0;
        length = nct_utf8_decode(s + i, n - i, &code);
        ids[m++] = nct_vocab_char(v, code);
    }
    for (;;) {
        const nct_merge *best = NULL;
        size_t at = 0;
        for (size_t i = 0; i + 1 < m; i++) {
            const nct_merge *merge = nct_vocab_merge(v, ids[i], ids[i + 1]);
            if (merge && (!best || merge->rank < best->rank))
                best = merge, at = i;
        }
        if (!best)
            return m;
        ids[at] = best->id;
        memmove(ids + at + 1, ids + at + 2, (m - at - 2) * sizeof *ids);
        m--;
    }
}

/* A tokenizer over the letters a to d whose merges were drawn at random. */
static nct_vocab *random_vocab(uint64_t seed) {
    enum { N = 40, ROOM = 32 };
    char text[N][ROOM] = {"<unk>", S, "a", "b", "c", "d"};
    size_t n = 6;
    nct_bytes vocab = {0}, merges = {0};
    for (uint64_t k = 0; n < N && k < 400; k++) {
        uint64_t z = nct_rng_mix(seed * 1000 + k);
        const char *left = text[1 + z % (n - 1)], *right = text[2 + (z >> 20) % (n - 2)];
        char both[2 * ROOM], line[3 * ROOM];
        int length = snprintf(both, sizeof both, "%s%s", left, right);
        if (length >= ROOM)
            continue;
        bool known = false;
        for (size_t i = 0; i < n; i++)
            known = known || strcmp(text[i], both) == 0;
        snprintf(line, sizeof line, "%s\"%s %s\"", merges.n ? "," : "", left, right);
        fixture_add(&merges, line);
        if (!known)
            memcpy(text[n++], both, (size_t)length + 1);
    }
    for (size_t i = 0; i < n; i++) { /* ids fall where ranks rise */
        NCT_ASSERT_OK(
            nct_bytes_printf(&vocab, fault, "%s\"%s\":%zu", i ? "," : "", text[i], i < 6 ? i : n + 5 - i));
    }
    nct_vocab *v = open_text("{\"id\":0,\"content\":\"<unk>\"}", vocab.data, merges.data, true);
    nct_bytes_reset(&vocab);
    nct_bytes_reset(&merges);
    return v;
}

static void test_bpe__is_what_the_definition_says(void **state) {
    (void)state;
    size_t n_long = 0;
    for (uint64_t seed = 1; seed <= 60; seed++) {
        nct_vocab *v = random_vocab(seed);
        for (uint64_t k = 0; k < 40; k++) {
            char s[400];
            int32_t expected[402];
            uint64_t z = nct_rng_mix(seed << 32 | k);
            size_t n = k % 2 ? z % 30 : z % sizeof s, period = 1 + (z >> 40) % 12;
            for (size_t i = 0; i < n; i++)
                s[i] = (k / 2 % 2 && i >= period) ? s[i - period]
                                                  : "abcd a"[nct_rng_mix(z + i) % (k % 3 ? 6 : 2)];
            size_t n_spaced = 0;
            char spaced[3 * sizeof s];
            for (size_t i = 0; i < n; i++) {
                memcpy(spaced + n_spaced, s[i] == ' ' ? S : s + i, s[i] == ' ' ? 3 : 1);
                n_spaced += s[i] == ' ' ? 3 : 1;
            }
            size_t n_expected = by_the_book(v, spaced, n_spaced, expected);
            n_long += n > 64;
            assert_encodes(v, s, n, false, expected, n_expected);
        }
        nct_vocab_close(v);
    }
    assert_true(n_long > 100); /* the heap was tried */
}

/* ------------------------------------------------------------------ the published tokenizer */

static const char *minicpm4(void) {
    const char *path = nct_test_path("%s/data/minicpm4/MiniCPM4-8B", NCT_SHARED_DIR);
    nct_test_need(path);
    return path;
}

static nct_vocab *open_published(void) {
    nct_vocab *v = NULL;
    NCT_ASSERT_OK(nct_vocab_open_directory(minicpm4(), &v, fault));
    return v;
}

static nct_vocab *open_published_model(void) {
    const char *path = minicpm4();
    nct_vocab *v = NULL;
    nct_vocab_source source = {0};
    source.main = (nct_vocab_file){
        "tokenizer.model", nct_test_read(nct_test_path("%s/tokenizer.model", path), &source.main.n_bytes),
        source.main.n_bytes};
    source.added =
        (nct_vocab_file){"added_tokens.json",
                         nct_test_read(nct_test_path("%s/added_tokens.json", path), &source.added.n_bytes),
                         source.added.n_bytes};
    NCT_ASSERT_OK(nct_vocab_read_model(&source, &v, fault));
    nct_free((void *)(uintptr_t)source.main.data);
    nct_free((void *)(uintptr_t)source.added.data);
    return v;
}

/* The published pieces in a GGUF with flat scores, ids 3 to 1088 marked user-defined or not. */
static nct_vocab *open_published_gguf(bool user_defined) {
    nct_vocab *from = open_published(), *v = NULL;
    void *p = NULL;
    NCT_ASSERT_OK(nct_alloc(&p, (size_t)from->n_pieces, sizeof(fixture_piece), fault));
    fixture_piece *piece = p;
    char *text = NULL;
    NCT_ASSERT_OK(nct_alloc(&p, from->text.n + (size_t)from->n_pieces, 1, fault));
    text = p;
    size_t used = 0;
    for (int32_t id = 0; id < from->n_pieces; id++) {
        const nct_piece *of = nct_vocab_piece(from, id);
        memcpy(text + used, nct_vocab_text(from, of), of->n_bytes);
        piece[id] = (fixture_piece){text + used, id == 0                         ? 2
                                                 : of->kind == NCT_PIECE_SPECIAL ? 3
                                                 : of->kind == NCT_PIECE_BYTE    ? 6
                                                                                 : 1};
        if (user_defined && id >= 3 && id < 1089)
            piece[id].type = 4;
        used += of->n_bytes + 1;
    }
    nct_bytes file = fixture_gguf("llama", piece, (size_t)from->n_pieces, 2);
    NCT_ASSERT_OK(fixture_read_gguf(&file, &v, fault));
    nct_bytes_reset(&file);
    nct_free(piece);
    nct_free(text);
    nct_vocab_close(from);
    return v;
}

static bool holds_added_token(const nct_vocab *v, const nct_bytes *text) {
    for (size_t i = 0; i < v->n_added; i++) {
        const nct_piece *token = nct_vocab_piece(v, v->added[i].id);
        if (text->n && memmem(text->data, text->n, nct_vocab_text(v, token), token->n_bytes))
            return true;
    }
    return false;
}

/* Encodes the records of a list with added tokens recognised, and those that hold none as content too. */
static void check_records(const nct_vocab *v, const nct_json *records, size_t n_expected) {
    size_t n_safe = 0, n = 0;
    for (const nct_json *record = nct_json_first(records); record; record = nct_json_next(record), n++) {
        nct_bytes text = fixture_text(nct_json_get(record, "text"));
        size_t n_ids;
        int32_t *ids = nct_test_ids(nct_json_get(record, "ids"), &n_ids);
        assert_encodes(v, text.data, text.n, true, ids, n_ids);
        if (!holds_added_token(v, &text)) {
            assert_encodes(v, text.data, text.n, false, ids, n_ids);
            n_safe++;
        }
        nct_free(ids);
        nct_bytes_reset(&text);
    }
    assert_int_equal(n, n_expected);
    print_message("%zu texts, %zu of them as content too\n", n, n_safe);
}

static void check_vectors(nct_vocab *v) {
    nct_json *vectors = fixture_open_vectors(nct_test_path("%s/tokenizer_vectors.json", minicpm4()));
    check_records(v, nct_json_get(vectors, "encode"), 97);
    check_records(v, nct_json_get(vectors, "encode_random"), 400);
    check_records(v, nct_json_get(vectors, "chat"), 6);
    nct_json_close(vectors);
    assert_int_equal(v->n_pieces, 73448);
    assert_int_equal(v->n_merges, 104297);
    assert_int_equal(v->n_added, 11);
    assert_int_equal(v->bos, 1);
    assert_int_equal(v->unk, 0);
    assert_true(v->add_bos);
    assert_true(nct_vocab_is_eos(v, 73440));
    nct_vocab_close(v);
}

static void test_bpe__published_vectors_from_tokenizer_json(void **state) {
    (void)state;
    check_vectors(open_published());
}

static void test_bpe__published_vectors_from_tokenizer_model(void **state) {
    (void)state;
    check_vectors(open_published_model());
}

static void test_bpe__published_vectors_from_gguf(void **state) {
    (void)state;
    check_vectors(open_published_gguf(false));
    check_vectors(open_published_gguf(true));
}

static void test_bpe__all_files_rank_the_same_merges(void **state) {
    (void)state;
    nct_vocab *json = open_published(), *model = open_published_model();
    for (uint32_t i = 0; i <= json->merge_mask; i++) {
        const nct_merge *m = &json->merge[i], *other;
        if (m->left == UINT32_MAX)
            continue;
        other = nct_vocab_merge(model, (int32_t)m->left, (int32_t)m->right);
        assert_non_null(other);
        assert_int_equal(other->rank, m->rank);
        assert_int_equal(other->id, m->id);
    }
    nct_vocab_close(json);
    nct_vocab_close(model);
}

static uint64_t fnv(const int32_t *ids, size_t n) {
    uint64_t h = 0xcbf29ce484222325u;
    for (size_t i = 0; i < n; i++)
        for (int shift = 0; shift < 32; shift += 8)
            h = (h ^ ((uint32_t)ids[i] >> shift & 255)) * 0x100000001b3u;
    return h;
}

/* The content of an .xz file; skips the test if there is no program for it. */
static nct_bytes unpack(const char *path) {
    nct_test_need(path);
    nct_bytes text = {0};
    FILE *f = popen(nct_test_path("xz -dc '%s' 2>/dev/null", path), "r");
    assert_non_null(f);
    char buffer[65536];
    for (size_t n; (n = fread(buffer, 1, sizeof buffer, f)) > 0;)
        NCT_ASSERT_OK(nct_bytes_add(&text, buffer, n, fault));
    if (pclose(f) != 0) {
        nct_bytes_reset(&text);
        print_message("skipped: xz absent\n");
        skip();
    }
    return text;
}

static void check_books(nct_vocab *v) {
    nct_json *vectors = NULL;
    NCT_ASSERT_OK(nct_json_open(nct_test_path("%s/tokenizer_vectors.json", minicpm4()), &vectors, fault));
    const nct_json *book = nct_json_first(nct_json_get(vectors, "documents"));
    for (; book; book = nct_json_next(book)) {
        const char *file = nct_json_string(nct_json_get(book, "file"), "");
        nct_bytes text =
            unpack(nct_test_path("%s/data/%.*s.xz", NCT_SHARED_DIR, (int)strcspn(file, " "), file));
        assert_int_equal(text.n, nct_json_int(nct_json_get(book, "bytes"), -1));
        for (int parse = 0; parse < 2; parse++) {
            int32_t *ids = NULL;
            size_t n = 0;
            NCT_ASSERT_OK(nct_bpe_encode(v, text.data, text.n, parse, false, &ids, &n, fault));
            assert_int_equal(n, nct_json_int(nct_json_get(book, "tokens"), -1));
            char hash[17];
            snprintf(hash, sizeof hash, "%016llx", (unsigned long long)fnv(ids, n));
            assert_string_equal(hash, nct_json_string(nct_json_get(book, "fnv1a64_of_u32le_ids"), ""));
            nct_free(ids);
        }
        nct_bytes_reset(&text);
    }
    nct_json_close(vectors);
    nct_vocab_close(v);
}

static void test_bpe__whole_books_from_every_file(void **state) {
    (void)state;
    check_books(open_published());
    check_books(open_published_model());
    check_books(open_published_gguf(false));
}

/* ------------------------------------------------------------------ texts made to be slow */

/* Encodes half a million characters (that it ends soon is the point); the ids must spell the text again. */
static void check_long(const nct_vocab *v, const nct_bytes *text) {
    int32_t *ids = NULL;
    size_t n = 0;
    NCT_ASSERT_OK(nct_bpe_encode(v, text->data, text->n, false, false, &ids, &n, fault));
    size_t at = 0;
    for (size_t i = 0; i < n; i++) {
        const nct_piece *p = nct_vocab_piece(v, ids[i]);
        const char *s = nct_vocab_text(v, p);
        size_t n_piece = p->n_bytes;
        if (i == 0) {
            assert_memory_equal(s, S, 3);
            s += 3;
            n_piece -= 3;
        }
        if (p->kind == NCT_PIECE_BYTE)
            s = (const char *)&p->byte, n_piece = 1;
        for (size_t k = 0; k < n_piece; k++, at++) {
            if (at < text->n && text->data[at] == ' ' && n_piece - k >= 3 && memcmp(s + k, S, 3) == 0)
                k += 2;
            else
                assert_true(at < text->n && text->data[at] == s[k]);
        }
    }
    assert_int_equal(at, text->n);
    nct_free(ids);
}

static void add_code(nct_bytes *text, uint32_t code) {
    char s[4] = {(char)code};
    size_t n = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    for (size_t i = n; n > 1 && i-- > 1; code >>= 6)
        s[i] = (char)(0x80 | (code & 63));
    if (n > 1)
        s[0] = (char)((0xf00u >> n & 0xff) | code);
    NCT_ASSERT_OK(nct_bytes_add(text, s, n, fault));
}

static void test_bpe__texts_made_to_be_slow(void **state) {
    (void)state;
    enum { N = 500000 };
    nct_vocab *v = open_published();
    static const char *const runs[] = {"a", " ", "=", "ab", "-", "the ", "\n"};
    for (size_t i = 0; i < sizeof runs / sizeof *runs; i++) {
        nct_bytes text = {0};
        for (size_t k = 0; k < N; k++)
            NCT_ASSERT_OK(nct_bytes_add(&text, runs[i] + k % strlen(runs[i]), 1, fault));
        check_long(v, &text);
        nct_bytes_reset(&text);
    }
    nct_bytes cjk = {0}, any = {0};
    for (uint64_t k = 0; k < N; k++) {
        uint32_t code = (uint32_t)(nct_rng_mix(k) % 0x10f800);
        add_code(&cjk, 0x4e00 + code % 0x51a6);
        add_code(&any, code < 0xd800 ? code : code + 0x800);
    }
    check_long(v, &cjk);
    check_long(v, &any);
    nct_bytes_reset(&cjk);
    nct_bytes_reset(&any);
    nct_vocab_close(v);
}

/* ------------------------------------------------------------------ other tokenizers */

static void test_bpe__the_reference_tokenizer(void **state) {
    (void)state;
    nct_vocab *v = NULL;
    nct_json *golden = NULL;
    nct_bytes json = {0};
    NCT_ASSERT_OK(nct_json_open(NCT_TESTS_DIR "/golden/tokenizer.json", &golden, fault));
    NCT_ASSERT_OK(nct_json_write(nct_json_get(golden, "tokenizer"), false, &json, fault));
    NCT_ASSERT_OK(fixture_read_json(json.data, json.n, NULL, &v, fault));
    assert_true(v->add_bos);
    const nct_json *item = nct_json_first(nct_json_get(golden, "cases"));
    assert_non_null(item);
    for (; item; item = nct_json_next(item)) {
        const char *text = nct_json_string(nct_json_get(item, "text"), NULL);
        size_t n;
        int32_t *ids = nct_test_ids(nct_json_get(item, "ids"), &n);
        assert_int_equal(ids[0], v->bos);
        assert_encodes(v, text, strlen(text), true, ids + 1, n - 1);
        nct_free(ids);
    }
    nct_json_close(golden);
    nct_bytes_reset(&json);
    nct_vocab_close(v);
}

static void test_bpe__story_prompts(void **state) {
    (void)state;
    nct_test_need(nct_test_path("%s/data/stories/golden.json", NCT_SHARED_DIR));
    nct_json *golden = NULL;
    NCT_ASSERT_OK(
        nct_json_open(nct_test_path("%s/data/stories/golden.json", NCT_SHARED_DIR), &golden, fault));
    size_t n_prompts = 0;
    const nct_json *model = nct_json_first(nct_json_get(golden, "models"));
    for (; model; model = nct_json_next(model)) {
        nct_vocab *v = NULL;
        const char *name = nct_json_string(nct_json_get(model, "model"), "");
        NCT_ASSERT_OK(nct_vocab_open_directory(
            nct_test_path("%s/data/stories/%s-minicpm", NCT_SHARED_DIR, name), &v, fault));
        const nct_json *prompt = nct_json_first(nct_json_get(model, "prompts"));
        for (; prompt; prompt = nct_json_next(prompt), n_prompts++) {
            const char *text = nct_json_string(nct_json_get(prompt, "prompt"), NULL);
            size_t n;
            int32_t *ids = nct_test_ids(nct_json_get(prompt, "prompt_ids"), &n);
            assert_int_equal(ids[0], v->bos);
            assert_encodes(v, text, strlen(text), false, ids + 1, n - 1);
            nct_free(ids);
        }
        nct_vocab_close(v);
    }
    assert_int_equal(n_prompts, 24);
    nct_json_close(golden);
}

/* ------------------------------------------------------------------ failing */

static void test_bpe__a_refused_allocation_is_a_status(void **state) {
    (void)state;
    nct_vocab *v = fixture_vocab();
    char text[2000];
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = i % 7 ? 'a' : 'b';
    int32_t *ids = NULL;
    size_t n = 0;
    long k = 0;
    for (;; k++) {
        nct_error err;
        atomic_store(&nct_mem_fail_in, k);
        nct_status status = nct_bpe_encode(v, text, sizeof text, true, true, &ids, &n, &err);
        atomic_store(&nct_mem_fail_in, -1);
        if (status == NCT_OK)
            break;
        assert_int_equal(status, NCT_E_MEMORY);
    }
    assert_true(k > 4);
    nct_free(ids);
    nct_vocab_close(v);
}

static void assert_parts(const nct_vocab *v, const char *text, size_t n, size_t step) {
    int32_t *whole = NULL, *ids = NULL;
    size_t n_whole = 0, n_ids = 0, done = 0;
    NCT_ASSERT_OK(nct_bpe_encode(v, text, n, false, false, &whole, &n_whole, fault));
    for (size_t begin = 0, end; begin < n; begin = end) {
        end = n - begin > step ? nct_bpe_cut(v, text + begin, n - begin, step) : 0;
        end = end ? begin + end : n;
        assert_true(end == n || end - begin >= step);
        NCT_ASSERT_OK(nct_bpe_encode_part(v, text + begin, end - begin, begin == 0, &ids, &n_ids, fault));
        assert_true(done + n_ids <= n_whole);
        assert_memory_equal(ids, whole + done, n_ids * sizeof *ids);
        done += n_ids;
        nct_free(ids);
    }
    assert_int_equal(done, n_whole);
    nct_free(whole);
}

static void test_bpe__parts_of_a_text_give_the_ids_of_the_whole(void **state) {
    (void)state;
    static const char *const words[] = {
        "the",          " thing",           " ",    "  ",   "\n",      "hello",      "ab", "aaaa",
        "\xe4\xb8\xad", "\xf0\x9f\x98\x80", "\xff", "\xe4", NCT_SPACE, "<|im_end|>", "z",  "0"};
    nct_vocab *v = fixture_vocab();
    size_t n_cut = 0;
    for (uint64_t seed = 1; seed <= 300; seed++) {
        char text[512];
        size_t n = 0;
        for (uint64_t k = 0; k < 40; k++) {
            const char *word = words[nct_rng_mix(seed * 1000 + k) % (sizeof words / sizeof *words)];
            memcpy(text + n, word, strlen(word));
            n += strlen(word);
        }
        for (size_t step = 1; step < n; step += 1 + step / 4) {
            assert_parts(v, text, n, step);
            n_cut += nct_bpe_cut(v, text, n, step) != 0;
        }
    }
    assert_true(n_cut > 1000);
    nct_vocab_close(v);
}

static void test_bpe__a_place_that_may_join_is_no_place_to_cut(void **state) {
    (void)state;
    nct_vocab *v = fixture_vocab();
    assert_int_equal(nct_bpe_cut(v, "aaaa", 4, 1), 0);
    assert_int_equal(nct_bpe_cut(v, "\xe4\xb8", 2, 1), 0);
    assert_int_equal(nct_bpe_cut(v, "the", 3, 3), 0);
    nct_vocab_close(v);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bpe__parts_of_a_text_give_the_ids_of_the_whole),
        cmocka_unit_test(test_bpe__a_place_that_may_join_is_no_place_to_cut),
        cmocka_unit_test(test_bpe__merges_by_rank),
        cmocka_unit_test(test_bpe__ties_go_left),
        cmocka_unit_test(test_bpe__the_empty_text_has_no_ids),
        cmocka_unit_test(test_bpe__every_stretch_has_one_space_in_front),
        cmocka_unit_test(test_bpe__content_never_makes_added_tokens),
        cmocka_unit_test(test_bpe__markup_is_only_where_the_caller_says),
        cmocka_unit_test(test_bpe__strange_characters_fall_back_to_bytes),
        cmocka_unit_test(test_bpe__invalid_utf8_is_kept_byte_by_byte),
        cmocka_unit_test(test_bpe__unknown_characters_fuse),
        cmocka_unit_test(test_bpe__normalized_tokens_take_their_space),
        cmocka_unit_test(test_bpe__the_longest_added_token_wins),
        cmocka_unit_test(test_bpe__the_order_of_the_list_counts_not_the_ids),
        cmocka_unit_test(test_bpe__is_what_the_definition_says),
        cmocka_unit_test(test_bpe__published_vectors_from_tokenizer_json),
        cmocka_unit_test(test_bpe__published_vectors_from_tokenizer_model),
        cmocka_unit_test(test_bpe__published_vectors_from_gguf),
        cmocka_unit_test(test_bpe__all_files_rank_the_same_merges),
        cmocka_unit_test(test_bpe__whole_books_from_every_file),
        cmocka_unit_test(test_bpe__texts_made_to_be_slow),
        cmocka_unit_test(test_bpe__the_reference_tokenizer),
        cmocka_unit_test(test_bpe__story_prompts),
        cmocka_unit_test(test_bpe__a_refused_allocation_is_a_status),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
