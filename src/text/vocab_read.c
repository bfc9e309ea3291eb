#include <stdlib.h>

#include "base/map.h"
#include "format/nct.h"
#include "text/vocab_build.h"
#include "text/vocab_tables.h"

/* ------------------------------------------------------------------ tokenizer_config.json */

static nct_status put_added_object(nct_build *b, int64_t id, const char *content, const nct_json *token) {
    bool normalized = nct_json_bool(nct_json_get(token, "normalized"), false);
    if (nct_json_bool(nct_json_get(token, "lstrip"), false) ||
        nct_json_bool(nct_json_get(token, "rstrip"), false) ||
        nct_json_bool(nct_json_get(token, "single_word"), false))
        return nct_fail(b->err, NCT_E_UNSUPPORTED,
                        "%s: added token '%.80s' asks for lstrip, rstrip or single_word", b->name, content);
    if (normalized && (strchr(content, ' ') || strstr(content, NCT_SPACE)))
        return nct_fail(b->err, NCT_E_UNSUPPORTED, "%s: added token '%.80s' is normalized and holds a space",
                        b->name, content);
    return nct_build_added(b, id, content, strlen(content),
                           nct_json_bool(nct_json_get(token, "special"), false), normalized);
}

/* The added tokens that no other file has named. */
static nct_status put_config_tokens(nct_build *b, const nct_json *config) {
    const nct_json *decoder = nct_json_get(config, "added_tokens_decoder");
    for (const nct_json *item = nct_json_first(decoder); item; item = nct_json_next(item)) {
        const char *key = nct_json_key(item), *content = nct_json_string(nct_json_get(item, "content"), NULL);
        char *stop;
        long long id = strtoll(key, &stop, 10);
        if (*key < '0' || *key > '9' || *stop || !content)
            return nct_fail(b->err, NCT_E_FORMAT, "%s: '%.40s' in added_tokens_decoder is no token",
                            b->config_name, key);
        const nct_piece *old = id < NCT_VOCAB_MAX_PIECES ? nct_vocab_piece(b->vocab, (int32_t)id) : NULL;
        if (!old || !nct_piece_is_added(old))
            NCT_TRY(put_added_object(b, id, content, item));
    }
    return NCT_OK;
}

/* The id a configuration names by its text, given as such or as an object; -1 if none. */
static int32_t config_token(const nct_vocab *v, const nct_json *config, const char *key) {
    const nct_json *value = nct_json_get(config, key);
    const char *text =
        nct_json_string(nct_json_is_object(value) ? nct_json_get(value, "content") : value, NULL);
    return text ? nct_vocab_find(v, text, strlen(text)) : -1;
}

static nct_status read_config(nct_build *b, const nct_json *config) {
    nct_vocab *v = b->vocab;
    int32_t bos = config_token(v, config, "bos_token");
    v->bos = bos >= 0 ? bos : v->bos;
    NCT_TRY(nct_build_special(b, v->bos));
    v->add_bos = nct_json_bool(nct_json_get(config, "add_bos_token"), v->add_bos);
    if (nct_json_bool(nct_json_get(config, "add_eos_token"), false))
        return nct_fail(b->err, NCT_E_UNSUPPORTED,
                        "%s: an end token after every text (add_eos_token) is not supported", b->config_name);
    return nct_build_eos(b, config_token(v, config, "eos_token"));
}

static nct_status parse_file(const nct_vocab_file *file, nct_json **json, nct_error *err) {
    *json = NULL;
    return file->data ? nct_json_parse(file->name, file->data, file->n_bytes, json, err) : NCT_OK;
}

/* ------------------------------------------------------------------ tokenizer.json */

static bool is_type(const nct_json *json, const char *type) {
    return strcmp(nct_json_string(nct_json_get(json, "type"), ""), type) == 0;
}

static bool is_string(const nct_json *json, const char *key, const char *value) {
    return strcmp(nct_json_string(nct_json_get(json, key), ""), value) == 0;
}

/* The stages of a part of the pipeline: the members of a sequence, or the one there is. */
static const nct_json *first_stage(const nct_json *part, const char *list) {
    return is_type(part, "Sequence") ? nct_json_first(nct_json_get(part, list)) : part;
}
static const nct_json *next_stage(const nct_json *part, const nct_json *stage) {
    return stage == part ? NULL : nct_json_next(stage);
}

static nct_status refuse_stage(const nct_build *b, const char *part, const nct_json *stage) {
    const char *type = nct_json_string(nct_json_get(stage, "type"), "without a type");
    return nct_fail(b->err, NCT_E_UNSUPPORTED,
                    "%s: %s '%.40s', or the way it is set, is not the SentencePiece-style pipeline", b->name,
                    part, type);
}

static bool is_replace(const nct_json *stage, const char *from, const char *to) {
    const nct_json *pattern = nct_json_get(stage, "pattern");
    return is_type(stage, "Replace") &&
           (is_string(pattern, "String", from) || is_string(pattern, "Regex", from)) &&
           is_string(stage, "content", to);
}

static nct_status check_pipeline(nct_build *b, const nct_json *root, bool byte_fallback) {
    nct_vocab *v = b->vocab;
    const nct_json *part = nct_json_get(root, "pre_tokenizer");
    if (nct_build_is_byte_level(root))
        return nct_build_byte_pipeline(b, root);
    if (part)
        return refuse_stage(b, "pre_tokenizer", first_stage(part, "pretokenizers"));
    bool replaces = false;
    v->add_prefix = false;
    part = nct_json_get(root, "normalizer");
    for (const nct_json *stage = first_stage(part, "normalizers"); stage; stage = next_stage(part, stage)) {
        if (!v->add_prefix && is_type(stage, "Prepend") && is_string(stage, "prepend", NCT_SPACE))
            v->add_prefix = true;
        else if (!replaces && is_replace(stage, " ", NCT_SPACE))
            replaces = true;
        else
            return refuse_stage(b, "normalizer", stage);
    }
    if (!replaces)
        return nct_fail(b->err, NCT_E_UNSUPPORTED, "%s: no normalizer replaces spaces by U+2581", b->name);

    bool restores = false, fuses = false, joins_bytes = false;
    v->strip_left = false;
    part = nct_json_get(root, "decoder");
    for (const nct_json *stage = first_stage(part, "decoders"); stage; stage = next_stage(part, stage)) {
        if (is_replace(stage, NCT_SPACE, " "))
            restores = true;
        else if (is_type(stage, "Fuse"))
            fuses = true;
        else if (fuses && is_type(stage, "Strip") && is_string(stage, "content", " ") &&
                 nct_json_int(nct_json_get(stage, "start"), 0) == 1 &&
                 nct_json_int(nct_json_get(stage, "stop"), 0) == 0)
            v->strip_left = true;
        else if (is_type(stage, "ByteFallback"))
            joins_bytes = true;
        else
            return refuse_stage(b, "decoder", stage);
    }
    if (!restores || joins_bytes < byte_fallback)
        return nct_fail(b->err, NCT_E_UNSUPPORTED, "%s: no decoder %s", b->name,
                        restores ? "undoes the byte fallback" : "replaces U+2581 by spaces");
    return NCT_OK;
}

/* A post-processor may put one token, BOS, in front. */
static nct_status read_post_processor(nct_build *b, const nct_json *root) {
    nct_vocab *v = b->vocab;
    const nct_json *part = nct_json_get(root, "post_processor"), *single = NULL;
    v->add_bos = false;
    if (v->splitter) /* what ByteLevel does there is to offsets, which nobody asks for */
        part = nct_build_other_stage(part, "processors");
    if (!part)
        return NCT_OK;
    single = nct_json_get(part, "single");
    bool sequence = false;
    for (const nct_json *item = nct_json_first(single); item; item = nct_json_next(item)) {
        const nct_json *token = nct_json_get(item, "SpecialToken");
        const char *text = nct_json_string(nct_json_get(token, "id"), NULL);
        if (!sequence && text && !v->add_bos) {
            v->bos = nct_vocab_find(v, text, strlen(text));
            if (v->bos < 0)
                return nct_fail(b->err, NCT_E_FORMAT,
                                "%s: post_processor puts '%.80s' in front, which is no token", b->name, text);
            v->add_bos = true;
        } else if (!sequence && nct_json_get(item, "Sequence")) {
            sequence = true;
        } else {
            return refuse_stage(b, "post_processor", part);
        }
    }
    return is_type(part, "TemplateProcessing") && sequence ? NCT_OK : refuse_stage(b, "post_processor", part);
}

static nct_status check_model(nct_build *b, const nct_json *model) {
    const nct_json *ignore = nct_json_get(model, "ignore_merges");
    if (!is_type(model, "BPE"))
        return nct_fail(b->err, NCT_E_UNSUPPORTED, "%s: model type '%.40s', expected 'BPE'", b->name,
                        nct_json_string(nct_json_get(model, "type"), ""));
    b->vocab->whole_words = b->vocab->splitter && nct_json_bool(ignore, false);
    if (nct_json_number(nct_json_get(model, "dropout"), 0) != 0 ||
        nct_json_bool(ignore, false) != b->vocab->whole_words ||
        *nct_json_string(nct_json_get(model, "continuing_subword_prefix"), "") ||
        *nct_json_string(nct_json_get(model, "end_of_word_suffix"), ""))
        return nct_fail(
            b->err, NCT_E_UNSUPPORTED,
            "%s: the model sets dropout, ignore_merges, continuing_subword_prefix or end_of_word_suffix",
            b->name);
    if (!nct_json_is_object(nct_json_get(model, "vocab")) ||
        !nct_json_is_array(nct_json_get(model, "merges")))
        return nct_fail(b->err, NCT_E_FORMAT, "%s: the model lacks vocab or merges", b->name);
    return NCT_OK;
}

static nct_status put_json_merges(nct_build *b, const nct_json *merges) {
    for (const nct_json *item = nct_json_first(merges); item; item = nct_json_next(item)) {
        const nct_json *first = nct_json_first(item);
        const char *left = nct_json_string(item ? first : NULL, NULL),
                   *right = nct_json_string(nct_json_next(first), NULL);
        const char *both = nct_json_string(item, NULL), *space = both ? strchr(both, ' ') : NULL;
        if (space && !strchr(space + 1, ' '))
            NCT_TRY(nct_build_merge(b, both, (size_t)(space - both), space + 1, strlen(space + 1)));
        else if (left && right && !nct_json_next(nct_json_next(first)))
            NCT_TRY(nct_build_merge(b, left, strlen(left), right, strlen(right)));
        else
            return nct_fail(b->err, NCT_E_FORMAT, "%s: merge %zu is no pair of pieces", b->name, b->n_list);
    }
    return NCT_OK;
}

static nct_status read_json(nct_build *b, const nct_json *root, const nct_json *config) {
    nct_vocab *v = b->vocab;
    const nct_json *model = nct_json_get(root, "model");
    bool byte_fallback = nct_json_bool(nct_json_get(model, "byte_fallback"), false);
    NCT_TRY(check_pipeline(b, root, byte_fallback));
    NCT_TRY(check_model(b, model));
    for (const nct_json *item = nct_json_first(nct_json_get(model, "vocab")); item;
         item = nct_json_next(item)) {
        const char *text = nct_json_key(item);
        if (!*text)
            return nct_fail(b->err, NCT_E_UNSUPPORTED, "%s: piece %lld is empty or begins with a NUL",
                            b->name, (long long)nct_json_int(item, -1));
        NCT_TRY(nct_build_piece(b, nct_json_int(item, -1), text, strlen(text)));
    }
    for (const nct_json *item = nct_json_first(nct_json_get(root, "added_tokens")); item;
         item = nct_json_next(item)) {
        const char *content = nct_json_string(nct_json_get(item, "content"), NULL);
        if (!content)
            return nct_fail(b->err, NCT_E_FORMAT, "%s: an added token has no content", b->name);
        NCT_TRY(put_added_object(b, nct_json_int(nct_json_get(item, "id"), -1), content, item));
    }
    NCT_TRY(put_config_tokens(b, config));
    NCT_TRY(nct_build_index(b, true));
    const char *unk = nct_json_string(nct_json_get(model, "unk_token"), NULL);
    v->unk = unk ? nct_vocab_find(v, unk, strlen(unk)) : -1;
    v->fuse_unk = nct_json_bool(nct_json_get(model, "fuse_unk"), false);
    NCT_TRY(nct_build_special(b, v->unk));
    NCT_TRY(read_post_processor(b, root));
    NCT_TRY(read_config(b, config));
    NCT_TRY(put_json_merges(b, nct_json_get(model, "merges")));
    return nct_build_finish(b, byte_fallback);
}

nct_status nct_vocab_read_json(const nct_vocab_source *source, nct_vocab **vocab, nct_error *err) {
    nct_json *root = NULL, *config = NULL;
    nct_build b = {0};
    nct_status status = nct_build_open(&b, source->main.name, source->config.name, err);
    if (status == NCT_OK)
        status = parse_file(&source->main, &root, err);
    if (status == NCT_OK)
        status = parse_file(&source->config, &config, err);
    if (status == NCT_OK)
        status = read_json(&b, root, config);
    nct_json_close(root);
    nct_json_close(config);
    return nct_build_close(&b, status, vocab);
}

/* ------------------------------------------------------------------ tokenizer.model */

/* Protocol buffers on the wire: tagged fields, of which every one can be skipped unread. */
typedef struct wire {
    const uint8_t *at, *end;
} wire;

typedef struct wire_field {
    uint32_t number, type; /* 0 varint, 1 eight bytes, 2 bytes, 5 four bytes */
    uint64_t value;        /* varint */
    wire bytes;            /* of a field of bytes: its content */
} wire_field;

static bool read_varint(wire *w, uint64_t *value) {
    *value = 0;
    for (unsigned shift = 0; shift < 64 && w->at < w->end; shift += 7) {
        uint8_t byte = *w->at++;
        *value |= (uint64_t)(byte & 127) << shift;
        if (byte < 128)
            return true;
    }
    return false;
}

/* Reads one field. False: it is damaged. Not to be called at the end. */
static bool read_field(wire *w, wire_field *field) {
    uint64_t tag, n;
    *field = (wire_field){0};
    if (!read_varint(w, &tag) || tag >> 3 == 0 || tag > UINT32_MAX)
        return false;
    field->number = (uint32_t)(tag >> 3);
    field->type = (uint32_t)(tag & 7);
    switch (field->type) {
    case 0:
        return read_varint(w, &field->value);
    case 1:
    case 5:
        n = field->type == 1 ? 8 : 4;
        break;
    case 2:
        if (!read_varint(w, &n))
            return false;
        break;
    default:
        return false;
    }
    if (n > (uint64_t)(w->end - w->at))
        return false;
    field->bytes = (wire){w->at, w->at + n};
    w->at += n;
    return true;
}

static nct_status damaged(const nct_build *b, const char *what) {
    return nct_fail(b->err, NCT_E_FORMAT, "%s: %s is no valid protocol buffer", b->name, what);
}

/* Types of SentencePiece and of GGUF. */
enum { TYPE_NORMAL = 1, TYPE_UNKNOWN, TYPE_CONTROL, TYPE_USER, TYPE_UNUSED, TYPE_BYTE };

/* Enters a piece with its type. User-defined pieces are ordinary: the pipeline never asks. */
static nct_status put_typed(nct_build *b, int64_t id, const char *s, size_t n, int64_t type) {
    uint8_t byte;
    if (type < TYPE_NORMAL || type > TYPE_BYTE)
        return nct_fail(b->err, NCT_E_FORMAT, "%s: piece %lld has type %lld, expected 1 to 6", b->name,
                        (long long)id, (long long)type);
    if (type == TYPE_BYTE && !nct_build_is_byte(s, n, &byte))
        return nct_fail(b->err, NCT_E_FORMAT, "%s: byte piece %lld is '%.*s', expected <0x00> to <0xFF>",
                        b->name, (long long)id, n < 80 ? (int)n : 80, s);
    NCT_TRY(nct_build_piece(b, id, s, n));
    if (type == TYPE_UNKNOWN && b->vocab->unk < 0)
        b->vocab->unk = (int32_t)id;
    return type == TYPE_UNKNOWN || type == TYPE_CONTROL ? nct_build_added(b, id, s, n, true, false) : NCT_OK;
}

static nct_status read_model_piece(nct_build *b, wire w, int64_t id) {
    wire text = {0};
    int64_t type = TYPE_NORMAL;
    wire_field f;
    while (w.at < w.end) {
        if (!read_field(&w, &f))
            return damaged(b, "a piece");
        if (f.number == 1 && f.type == 2)
            text = f.bytes;
        else if (f.number == 3 && f.type == 0)
            type = f.value <= TYPE_BYTE ? (int64_t)f.value : -1;
    }
    static const uint8_t nothing[1];
    return put_typed(b, id, (const char *)(text.at ? text.at : nothing), (size_t)(text.end - text.at), type);
}

/* The settings that would make other ids of the same pieces. */
static nct_status check_model_settings(nct_build *b, wire w, bool trainer) {
    uint64_t algorithm = 1, n_normalizer = 0;
    wire_field f;
    while (w.at < w.end) {
        if (!read_field(&w, &f))
            return damaged(b, trainer ? "the trainer's settings" : "the normalizer's settings");
        if (trainer && f.number == 3 && f.type == 0)
            algorithm = f.value;
        if (!trainer && f.number == 2 && f.type == 2)
            n_normalizer = (uint64_t)(f.bytes.end - f.bytes.at);
    }
    if (trainer && algorithm != 2)
        return nct_fail(b->err, NCT_E_UNSUPPORTED, "%s: SentencePiece algorithm %llu, expected 2 (BPE)",
                        b->name, (unsigned long long)algorithm);
    if (n_normalizer)
        return nct_fail(b->err, NCT_E_UNSUPPORTED,
                        "%s: texts are normalized by a table of %llu bytes, expected none", b->name,
                        (unsigned long long)n_normalizer);
    return NCT_OK;
}

static nct_status read_model(nct_build *b, const nct_vocab_file *file, const nct_json *added,
                             const nct_json *config) {
    nct_vocab *v = b->vocab;
    wire w = {file->data, (const uint8_t *)file->data + file->n_bytes};
    int64_t n = 0;
    wire_field f;
    while (w.at < w.end) {
        if (!read_field(&w, &f))
            return damaged(b, "the file");
        if (f.number == 1 && f.type == 2)
            NCT_TRY(read_model_piece(b, f.bytes, n++));
        else if ((f.number == 2 || f.number == 3) && f.type == 2)
            NCT_TRY(check_model_settings(b, f.bytes, f.number == 2));
    }
    NCT_TRY(put_config_tokens(b, config));
    for (const nct_json *item = nct_json_first(added); item; item = nct_json_next(item)) {
        const char *text = nct_json_key(item);
        NCT_TRY(nct_build_added(b, nct_json_int(item, -1), text, strlen(text), true, false));
    }
    NCT_TRY(nct_build_index(b, false));
    v->bos = nct_vocab_find(v, "<s>", 3);
    NCT_TRY(nct_build_eos(b, nct_vocab_find(v, "</s>", 4)));
    NCT_TRY(read_config(b, config));
    NCT_TRY(nct_build_merges(b));
    return nct_build_finish(b, true);
}

nct_status nct_vocab_read_model(const nct_vocab_source *source, nct_vocab **vocab, nct_error *err) {
    nct_json *added = NULL, *config = NULL;
    nct_build b = {0};
    nct_status status = nct_build_open(&b, source->main.name, source->config.name, err);
    if (status == NCT_OK)
        status = parse_file(&source->added, &added, err);
    if (status == NCT_OK)
        status = parse_file(&source->config, &config, err);
    if (status == NCT_OK)
        status = read_model(&b, &source->main, added, config);
    nct_json_close(added);
    nct_json_close(config);
    return nct_build_close(&b, status, vocab);
}

/* ------------------------------------------------------------------ GGUF */

/* An id that the metadata names, -1 if it names none. */
static nct_status gguf_id(nct_build *b, const nct_gguf *gguf, const char *key, int32_t *id) {
    int64_t value;
    *id = -1;
    if (!nct_gguf_int(gguf, key, &value))
        return NCT_OK;
    if (value < 0 || value >= b->vocab->n_pieces)
        return nct_fail(b->err, NCT_E_FORMAT, "%s: '%s' is %lld, the vocabulary has %d ids", b->name, key,
                        (long long)value, b->vocab->n_pieces);
    *id = (int32_t)value;
    return NCT_OK;
}

static nct_status put_gguf_pieces(nct_build *b, const nct_gguf *gguf) {
    nct_gguf_array tokens, types = {0};
    if (!nct_gguf_find_array(gguf, "tokenizer.ggml.tokens", &tokens) || tokens.type != NCT_GGUF_STRING)
        return nct_fail(b->err, NCT_E_FORMAT, "%s: 'tokenizer.ggml.tokens' is missing or no list of strings",
                        b->name);
    if (nct_gguf_find_array(gguf, "tokenizer.ggml.token_type", &types) && types.n != tokens.n)
        return nct_fail(b->err, NCT_E_FORMAT, "%s: %llu token types for %llu tokens", b->name,
                        (unsigned long long)types.n, (unsigned long long)tokens.n);
    const uint8_t *cursor = tokens.data;
    int64_t last_ordinary = -1;
    for (uint64_t i = 0; i < tokens.n; i++) {
        const char *s;
        size_t n;
        double type = TYPE_NORMAL;
        nct_gguf_next_string(&cursor, &s, &n);
        if (types.n && !nct_gguf_array_number(&types, i, &type))
            type = 0;
        NCT_TRY(put_typed(b, (int64_t)i, s, n, type >= TYPE_NORMAL && type <= TYPE_BYTE ? (int64_t)type : 0));
        if (type == TYPE_NORMAL || type == TYPE_BYTE)
            last_ordinary = (int64_t)i;
    }
    /* Behind the pieces of the model, "user-defined" means an added token; among them it is what
       SentencePiece calls so, and means nothing here (formats.md 8.5). */
    int64_t first = b->vocab->splitter ? 0 : last_ordinary + 1; /* byte-level: an added token anywhere */
    for (int64_t i = first; types.n && i < b->vocab->n_pieces; i++) {
        double type;
        const nct_piece *p = &b->vocab->piece[i];
        if (nct_gguf_array_number(&types, (uint64_t)i, &type) && type == TYPE_USER)
            NCT_TRY(nct_build_added(b, i, nct_vocab_text(b->vocab, p), p->n_bytes, false, false));
    }
    return NCT_OK;
}

static nct_status read_gguf(nct_build *b, const nct_gguf *gguf) {
    nct_vocab *v = b->vocab;
    const char *model;
    size_t n;
    int32_t id;
    bool flag;
    if (!nct_gguf_string(gguf, "tokenizer.ggml.model", &model, &n))
        return nct_fail(b->err, NCT_E_FORMAT, "%s: 'tokenizer.ggml.model' is missing", b->name);
    bool bytes = n == 4 && memcmp(model, "gpt2", 4) == 0;
    if (!bytes && (n != 5 || memcmp(model, "llama", 5) != 0))
        return nct_fail(b->err, NCT_E_UNSUPPORTED, "%s: tokenizer '%.*s', expected 'llama' or 'gpt2'", b->name,
                        n < 40 ? (int)n : 40, model);
    if (bytes)
        NCT_TRY(nct_build_byte_kind(b, gguf));
    NCT_TRY(put_gguf_pieces(b, gguf));
    NCT_TRY(nct_build_index(b, false));
    NCT_TRY(gguf_id(b, gguf, "tokenizer.ggml.unknown_token_id", &id));
    v->unk = id >= 0 ? id : v->unk;
    NCT_TRY(nct_build_special(b, v->unk));
    NCT_TRY(gguf_id(b, gguf, "tokenizer.ggml.bos_token_id", &v->bos));
    NCT_TRY(nct_build_special(b, v->bos));
    NCT_TRY(gguf_id(b, gguf, "tokenizer.ggml.eos_token_id", &id));
    NCT_TRY(nct_build_eos(b, id));
    NCT_TRY(gguf_id(b, gguf, "tokenizer.ggml.eot_token_id", &id));
    NCT_TRY(nct_build_eos(b, id));
    v->add_bos = nct_gguf_bool(gguf, "tokenizer.ggml.add_bos_token", &flag) ? flag : v->bos >= 0 && !bytes;
    if (nct_gguf_bool(gguf, "tokenizer.ggml.add_eos_token", &flag) && flag)
        return nct_fail(b->err, NCT_E_UNSUPPORTED,
                        "%s: an end token after every text (add_eos_token) is not supported", b->name);
    if (!bytes && nct_gguf_bool(gguf, "tokenizer.ggml.add_space_prefix", &flag) && !flag) {
        /* The published vocabulary puts a space in front whatever a converter wrote. */
        if (nct_vocab_find(v, "<|fim_suffix|>", 14) == 73447)
            v->warning = "tokenizer.ggml.add_space_prefix is false, which is wrong for the MiniCPM4 "
                         "vocabulary and was ignored";
        else
            v->add_prefix = v->strip_left = false;
    }
    nct_gguf_array merges;
    if (!nct_gguf_find_array(gguf, "tokenizer.ggml.merges", &merges) || merges.type != NCT_GGUF_STRING) {
        if (bytes)
            return nct_fail(b->err, NCT_E_FORMAT, "%s: 'tokenizer.ggml.merges' is missing or no list of strings",
                            b->name);
        NCT_TRY(nct_build_merges(b));
        return nct_build_finish(b, true);
    }
    const uint8_t *cursor = merges.data;
    for (uint64_t i = 0; i < merges.n; i++) {
        const char *s;
        nct_gguf_next_string(&cursor, &s, &n);
        const char *space = n ? memchr(s, ' ', n) : NULL;
        if (!space)
            return nct_fail(b->err, NCT_E_FORMAT, "%s: merge %llu is no pair of pieces", b->name,
                            (unsigned long long)i);
        NCT_TRY(nct_build_merge(b, s, (size_t)(space - s), space + 1, n - (size_t)(space - s) - 1));
    }
    return nct_build_finish(b, !bytes);
}

nct_status nct_vocab_read_gguf(const char *name, const nct_gguf *gguf, nct_vocab **vocab, nct_error *err) {
    nct_build b = {0};
    NCT_TRY(nct_build_open(&b, name, name, err));
    return nct_build_close(&b, read_gguf(&b, gguf), vocab);
}

/* ------------------------------------------------------------------ files */

/* Maps a file of a directory; leaves `file` without data if there is none. */
static nct_status map_file(const char *directory, const char *name, char *path, size_t n_path, nct_map *map,
                           nct_vocab_file *file, nct_error *err) {
    if (!nct_path_join(path, n_path, directory, name))
        return nct_fail(err, NCT_E_ARGUMENT, "%s: the path of %s in it is longer than %zu bytes", directory,
                        name, n_path - 1);
    file->name = path;
    if (!nct_is_file(path))
        return NCT_OK;
    NCT_TRY(nct_map_open(path, map, err));
    file->data = map->data;
    file->n_bytes = map->n_bytes;
    return NCT_OK;
}

nct_status nct_vocab_open_directory(const char *directory, nct_vocab **vocab, nct_error *err) {
    static const char *const names[] = {"tokenizer.json", "tokenizer.model", "added_tokens.json",
                                        "tokenizer_config.json"};
    enum { JSON, MODEL, ADDED, CONFIG, N };
    char path[N][4096];
    nct_map map[N] = {{0}};
    nct_vocab_file file[N] = {{0}};
    nct_status status = NCT_OK;
    for (int i = 0; i < N && status == NCT_OK; i++)
        status = map_file(directory, names[i], path[i], sizeof path[i], &map[i], &file[i], err);
    if (status == NCT_OK) {
        nct_vocab_source source = {
            .main = file[file[JSON].data ? JSON : MODEL], .added = file[ADDED], .config = file[CONFIG]};
        if (file[JSON].data)
            status = nct_vocab_read_json(&source, vocab, err);
        else if (file[MODEL].data)
            status = nct_vocab_read_model(&source, vocab, err);
        else
            status =
                nct_fail(err, NCT_E_FORMAT,
                         "%s: no tokenizer: neither tokenizer.json nor tokenizer.model is there", directory);
    }
    for (int i = 0; i < N; i++)
        nct_map_close(&map[i]);
    return status;
}

nct_status nct_vocab_open(const nct_checkpoint *checkpoint, nct_vocab **vocab, nct_error *err) {
    const nct_gguf *gguf = nct_checkpoint_gguf(checkpoint);
    const nct_bundle *bundle = nct_checkpoint_bundle(checkpoint);
    if (bundle) {
        const nct_section *tables = nct_bundle_find(bundle, NCT_SECTION_VOCAB, 0, 0);
        if (!tables)
            return nct_fail(err, NCT_E_FORMAT, "the bundle has no tokenizer");
        return nct_vocab_read_tables("the bundle's tokenizer", tables->data, tables->n_bytes, vocab, err);
    }
    if (gguf)
        return nct_vocab_read_gguf("the GGUF's tokenizer", gguf, vocab, err);
    return nct_vocab_open_directory(nct_checkpoint_directory(checkpoint), vocab, err);
}
