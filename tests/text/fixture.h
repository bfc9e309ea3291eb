/** A small tokenizer of MiniCPM's kind in all three file forms, and comparisons of ids and texts.
 *
 *  Ids 0-2 are <unk> <s> </s>, 3-258 the bytes, then the characters of fixture_chars in that order, then the
 *  pieces that their merges make, then a few pieces and the markers.
 */
#ifndef NCT_TEST_TEXT_FIXTURE_H
#define NCT_TEST_TEXT_FIXTURE_H

#include "base/bytes.h"
#include "format/gguf.h"
#include "format/tensors.h"
#include "support/support.h"
#include "text/bpe.h"
#include "text/vocab.h"

typedef struct fixture_piece {
    const char *text;
    int type; /* 1 normal, 2 unknown, 3 control, 4 user-defined, 6 byte */
} fixture_piece;

enum { FIXTURE_MAX = 600, FIXTURE_FIRST_CHAR = 259 };

/** All pieces by id; n receives their number. The last two are the added tokens <|im_end|> <|im_start|>. */
static inline const fixture_piece *fixture_pieces(size_t *n) {
    static fixture_piece piece[FIXTURE_MAX];
    static char bytes[256][8];
    static const char *const rest[] = {
        NCT_SPACE,
        "a",
        "b",
        "c",
        "d",
        "e",
        "f",
        "g",
        "h",
        "i",
        "k",
        "l",
        "m",
        "n",
        "o",
        "r",
        "s",
        "t",
        "u",
        "w",
        "y",
        "0",
        "1",
        "2",
        "\n",
        "<",
        ">",
        "|",
        "/",
        "_",
        ".",
        "\xe4\xb8\xad",
        "\xe6\x96\x87",
        /* pieces, best merge first: every beginning of a piece is a piece */
        "th",
        "the",
        NCT_SPACE "the",
        "in",
        "ing",
        "aa",
        "aaaa",
        "ab",
        "aba",
        "he",
        "hello",
        NCT_SPACE NCT_SPACE,
        "hel",
        "hell",
        "<|",
        "im",
        "wo",
        "wor",
        "worl",
        "world",
        NCT_SPACE "world",
        "\xe4\xb8\xad\xe6\x96\x87",
        "<reserved>",
    };
    static size_t count;
    if (!count) {
        piece[0] = (fixture_piece){"<unk>", 2};
        piece[1] = (fixture_piece){"<s>", 3};
        piece[2] = (fixture_piece){"</s>", 3};
        count = 3;
        for (int i = 0; i < 256; i++) {
            snprintf(bytes[i], sizeof bytes[i], "<0x%02X>", i);
            piece[count++] = (fixture_piece){bytes[i], 6};
        }
        for (size_t i = 0; i < sizeof rest / sizeof *rest; i++)
            piece[count++] = (fixture_piece){rest[i], 1};
        piece[count++] = (fixture_piece){"<|im_end|>", 3};
        piece[count++] = (fixture_piece){"<|im_start|>", 3};
    }
    *n = count;
    return piece;
}

static inline int32_t fixture_id(const char *text) {
    size_t n;
    const fixture_piece *piece = fixture_pieces(&n);
    for (size_t i = 0; i < n; i++)
        if (strcmp(piece[i].text, text) == 0)
            return (int32_t)i;
    fail_msg("no piece '%s'", text);
    return -1;
}

static inline void fixture_add(nct_bytes *out, const char *s) {
    NCT_ASSERT_OK(nct_bytes_add_str(out, s, fault));
}
static inline void fixture_add_string(nct_bytes *out, const char *s) {
    NCT_ASSERT_OK(nct_json_write_string(out, s, strlen(s), fault));
}

#define FIXTURE_NORMALIZER                                                                                   \
    "{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"Prepend\",\"prepend\":\"\xe2\x96\x81\"},"           \
    "{\"type\":\"Replace\",\"pattern\":{\"String\":\" \"},\"content\":\"\xe2\x96\x81\"}]}"
#define FIXTURE_DECODER                                                                                      \
    "{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"Replace\",\"pattern\":{\"String\":\"\xe2\x96\x81\"},"  \
    "\"content\":\" \"},{\"type\":\"ByteFallback\"},{\"type\":\"Fuse\"},"                                    \
    "{\"type\":\"Strip\",\"content\":\" \",\"start\":1,\"stop\":0}]}"
#define FIXTURE_POST                                                                                         \
    "{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"<s>\",\"type_id\":0}},"        \
    "{\"Sequence\":{\"id\":\"A\",\"type_id\":0}}]}"

/** The fixture as tokenizer.json, merges as pairs or as "left right"; the caller resets it. */
static inline nct_bytes fixture_json(bool pairs) {
    nct_bytes out = {0};
    size_t n;
    const fixture_piece *piece = fixture_pieces(&n);
    fixture_add(&out, "{\"added_tokens\":[");
    for (size_t i = 0; i < n; i++)
        if (piece[i].type == 2 || piece[i].type == 3) {
            fixture_add(&out, i ? ",{\"id\":" : "{\"id\":");
            NCT_ASSERT_OK(
                nct_bytes_printf(&out, fault, "%zu,\"special\":true,\"normalized\":false,\"content\":", i));
            fixture_add_string(&out, piece[i].text);
            fixture_add(&out, "}");
        }
    fixture_add(&out,
                "],\"normalizer\":" FIXTURE_NORMALIZER
                ",\"pre_tokenizer\":null,\"post_processor\":" FIXTURE_POST ",\"decoder\":" FIXTURE_DECODER
                ",\"model\":{\"type\":\"BPE\",\"dropout\":null,\"unk_token\":\"<unk>\","
                "\"fuse_unk\":true,\"byte_fallback\":true,\"ignore_merges\":false,\"vocab\":{");
    for (size_t i = 0; i < n - 2; i++) {
        fixture_add(&out, i ? "," : "");
        fixture_add_string(&out, piece[i].text);
        NCT_ASSERT_OK(nct_bytes_printf(&out, fault, ":%zu", i));
    }
    fixture_add(&out, "},\"merges\":[");
    bool first = true;
    for (size_t i = FIXTURE_FIRST_CHAR; i < n - 2; i++)
        for (size_t l = FIXTURE_FIRST_CHAR; l < n - 2; l++) /* by (id, left, right), as the published file */
            for (size_t r = FIXTURE_FIRST_CHAR; r < n - 2; r++) {
                size_t n_left = strlen(piece[l].text), n_right = strlen(piece[r].text);
                if (n_left + n_right != strlen(piece[i].text) ||
                    memcmp(piece[i].text, piece[l].text, n_left) != 0 ||
                    memcmp(piece[i].text + n_left, piece[r].text, n_right) != 0)
                    continue;
                fixture_add(&out, first ? "" : ",");
                first = false;
                nct_bytes both = {0};
                fixture_add(&both, piece[l].text);
                fixture_add(&both, " ");
                fixture_add(&both, piece[r].text);
                if (pairs) {
                    fixture_add(&out, "[");
                    fixture_add_string(&out, piece[l].text);
                    fixture_add(&out, ",");
                    fixture_add_string(&out, piece[r].text);
                    fixture_add(&out, "]");
                } else {
                    fixture_add_string(&out, both.data);
                }
                nct_bytes_reset(&both);
            }
    fixture_add(&out, "]}}");
    return out;
}

static inline void fixture_add_le(nct_bytes *out, uint64_t value, size_t n) {
    char bytes[8];
    for (size_t i = 0; i < n; i++)
        bytes[i] = (char)(value >> (8 * i));
    NCT_ASSERT_OK(nct_bytes_add(out, bytes, n, fault));
}

static inline void fixture_add_varint(nct_bytes *out, uint64_t value) {
    for (; value > 127; value >>= 7)
        fixture_add_le(out, (value & 127) | 128, 1);
    fixture_add_le(out, value, 1);
}

/** The fixture as tokenizer.model (without the added tokens behind the pieces, unless all). */
static inline nct_bytes fixture_model(bool all, int algorithm) {
    nct_bytes out = {0};
    size_t n;
    const fixture_piece *piece = fixture_pieces(&n);
    for (size_t i = 0; i < n - (all ? 0 : 2); i++) {
        size_t n_text = strlen(piece[i].text);
        fixture_add_varint(&out, 1 << 3 | 2);
        fixture_add_varint(&out, n_text + 2 + 5 + (piece[i].type == 1 ? 0 : 2) - (n_text > 127));
        fixture_add_varint(&out, 1 << 3 | 2);
        fixture_add_varint(&out, n_text);
        NCT_ASSERT_OK(nct_bytes_add(&out, piece[i].text, n_text, fault));
        fixture_add_varint(&out, 2 << 3 | 5);
        fixture_add_le(&out, 0xc47a0000, 4); /* -1000 */
        if (piece[i].type != 1) {
            fixture_add_varint(&out, 3 << 3);
            fixture_add_varint(&out, (uint64_t)piece[i].type);
        }
    }
    fixture_add_varint(&out, 2 << 3 | 2); /* trainer's settings */
    fixture_add_varint(&out, 2);
    fixture_add_varint(&out, 3 << 3);
    fixture_add_varint(&out, (uint64_t)algorithm);
    return out;
}

static inline void fixture_add_gguf_string(nct_bytes *out, const char *s, size_t n) {
    fixture_add_le(out, n, 8);
    NCT_ASSERT_OK(nct_bytes_add(out, s, n, fault));
}

static inline void fixture_add_gguf_key(nct_bytes *out, const char *key, uint32_t type) {
    fixture_add_gguf_string(out, key, strlen(key));
    fixture_add_le(out, type, 4);
}

static inline void fixture_add_gguf_array(nct_bytes *out, const char *key, uint32_t type, uint64_t n) {
    fixture_add_gguf_key(out, key, NCT_GGUF_ARRAY);
    fixture_add_le(out, type, 4);
    fixture_add_le(out, n, 8);
}

/** A GGUF that holds nothing but a tokenizer of n pieces with flat scores. eos -1: none. */
static inline nct_bytes fixture_gguf(const char *model, const fixture_piece *piece, size_t n, int eos) {
    nct_bytes out = {0};
    fixture_add(&out, "GGUF");
    fixture_add_le(&out, 3, 4);
    fixture_add_le(&out, 0, 8);
    fixture_add_le(&out, eos < 0 ? 7 : 8, 8);
    fixture_add_gguf_key(&out, "general.architecture", NCT_GGUF_STRING);
    fixture_add_gguf_string(&out, "minicpm", 7);
    fixture_add_gguf_key(&out, "tokenizer.ggml.model", NCT_GGUF_STRING);
    fixture_add_gguf_string(&out, model, strlen(model));
    fixture_add_gguf_array(&out, "tokenizer.ggml.tokens", NCT_GGUF_STRING, n);
    for (size_t i = 0; i < n; i++)
        fixture_add_gguf_string(&out, piece[i].text, strlen(piece[i].text));
    fixture_add_gguf_array(&out, "tokenizer.ggml.scores", NCT_GGUF_F32, n);
    for (size_t i = 0; i < n; i++)
        fixture_add_le(&out, 0xc47a0000, 4);
    fixture_add_gguf_array(&out, "tokenizer.ggml.token_type", NCT_GGUF_I32, n);
    for (size_t i = 0; i < n; i++)
        fixture_add_le(&out, (uint64_t)piece[i].type, 4);
    fixture_add_gguf_key(&out, "tokenizer.ggml.bos_token_id", NCT_GGUF_U32);
    fixture_add_le(&out, 1, 4);
    fixture_add_gguf_key(&out, "tokenizer.ggml.unknown_token_id", NCT_GGUF_U32);
    fixture_add_le(&out, 0, 4);
    if (eos >= 0) {
        fixture_add_gguf_key(&out, "tokenizer.ggml.eos_token_id", NCT_GGUF_U32);
        fixture_add_le(&out, (uint64_t)eos, 4);
    }
    while (out.n % 32)
        fixture_add_le(&out, 0, 1);
    return out;
}

/** Reads a tokenizer out of a GGUF in memory. */
static inline nct_status fixture_read_gguf(const nct_bytes *file, nct_vocab **vocab, nct_error *err) {
    nct_tensors tensors = {0};
    nct_gguf *gguf = NULL;
    nct_status status =
        nct_gguf_parse("test.gguf", (const uint8_t *)file->data, file->n, &tensors, &gguf, err);
    if (status == NCT_OK)
        status = nct_vocab_read_gguf("test.gguf", gguf, vocab, err);
    nct_gguf_close(gguf);
    nct_tensors_close(&tensors);
    return status;
}

static inline nct_status fixture_read_json(const char *json, size_t n, const char *config, nct_vocab **vocab,
                                           nct_error *err) {
    nct_vocab_source source = {.main = {"tokenizer.json", json, n}};
    if (config)
        source.config = (nct_vocab_file){"tokenizer_config.json", config, strlen(config)};
    return nct_vocab_read_json(&source, vocab, err);
}

static inline nct_vocab *fixture_vocab(void) {
    nct_vocab *vocab = NULL;
    nct_bytes json = fixture_json(true);
    NCT_ASSERT_OK(fixture_read_json(json.data, json.n, NULL, &vocab, fault));
    nct_bytes_reset(&json);
    return vocab;
}

/* ------------------------------------------------------------------ JSON texts with NULs */

/** Parses a file of test vectors. cJSON ends strings at \\u0000, so these are read as U+F8FF ... */
static inline nct_json *fixture_open_vectors(const char *path) {
    size_t n;
    nct_json *json = NULL;
    char *text = nct_test_read(path, &n);
    for (char *at = text; (at = strstr(at, "\\u0000")); at += 6)
        memcpy(at, "\\uf8ff", 6);
    NCT_ASSERT_OK(nct_json_parse(path, text, n, &json, fault));
    nct_free(text);
    return json;
}

/** ... and put back here. The caller resets the text. */
static inline nct_bytes fixture_text(const nct_json *value) {
    const char *s = nct_json_string(value, NULL);
    assert_non_null(s);
    nct_bytes out = {0};
    for (const char *hit; (hit = strstr(s, "\xef\xa3\xbf")); s = hit + 3) {
        NCT_ASSERT_OK(nct_bytes_add(&out, s, (size_t)(hit - s), fault));
        NCT_ASSERT_OK(nct_bytes_add(&out, "", 1, fault));
    }
    NCT_ASSERT_OK(nct_bytes_add(&out, s, strlen(s), fault));
    return out;
}

/* ------------------------------------------------------------------ comparing */

static inline void assert_same_ids(const char *what, const int32_t *ids, size_t n, const int32_t *expected,
                                   size_t n_expected) {
    for (size_t i = 0; i < n || i < n_expected; i++)
        if (i >= n || i >= n_expected || ids[i] != expected[i])
            fail_msg("'%.200s': id %zu of %zu is %d, expected %d of %zu", what, i, n, i < n ? ids[i] : -1,
                     i < n_expected ? expected[i] : -1, n_expected);
}

static inline void assert_encodes(const nct_vocab *vocab, const char *text, size_t n, bool parse_special,
                                  const int32_t *expected, size_t n_expected) {
    int32_t *ids = NULL;
    size_t n_ids = 0;
    NCT_ASSERT_OK(nct_bpe_encode(vocab, text, n, parse_special, false, &ids, &n_ids, fault));
    assert_same_ids(text, ids, n_ids, expected, n_expected);
    nct_free(ids);
}

/** The ids of pieces given by text. */
#define ASSERT_PIECES(vocab, text, parse_special, ...)                                                       \
    do {                                                                                                     \
        const char *const pieces_[] = {__VA_ARGS__};                                                         \
        int32_t ids_[sizeof pieces_ / sizeof *pieces_];                                                      \
        for (size_t i_ = 0; i_ < sizeof pieces_ / sizeof *pieces_; i_++)                                     \
            ids_[i_] = fixture_id(pieces_[i_]);                                                              \
        assert_encodes(vocab, text, sizeof(text) - 1, parse_special, ids_, sizeof ids_ / sizeof *ids_);      \
    } while (0)

#endif
