/* What is particular to byte-level vocabularies when they are read. */
#include "base/json.h"
#include "text/alphabet.h"
#include "text/vocab_build.h"

nct_status nct_build_byte_level(nct_build *b) {
    nct_vocab *v = b->vocab;
    v->pipeline = "byte-level-bpe";
    v->add_prefix = v->strip_left = false;
    return nct_splitter_open(&v->splitter, b->err);
}

nct_status nct_build_alphabet(nct_build *b) {
    nct_vocab *v = b->vocab;
    for (int byte = 0; byte < 256; byte++) {
        char c = (char)byte, spelled[2];
        uint32_t n = nct_alphabet_spell(&c, 1, spelled);
        int32_t id = nct_vocab_find(v, spelled, n);
        if (id < 0 || v->piece[id].kind != NCT_PIECE_NORMAL)
            return nct_fail(b->err, NCT_E_FORMAT, "%s: byte 0x%02X has no piece ('%.*s')", b->name, (unsigned)byte,
                            (int)n, spelled);
        v->byte_id[byte] = id;
    }
    return NCT_OK;
}

/* ------------------------------------------------------------------ tokenizer.json */

static bool is_type(const nct_json *json, const char *type) {
    return strcmp(nct_json_string(nct_json_get(json, "type"), ""), type) == 0;
}

/* The members of a sequence, or the one stage that there is; NULL for none. */
static const nct_json *first_stage(const nct_json *part, const char *list) {
    return is_type(part, "Sequence") ? nct_json_first(nct_json_get(part, list)) : part;
}

static const nct_json *next_stage(const nct_json *part, const nct_json *stage) {
    return stage == part ? NULL : nct_json_next(stage);
}

bool nct_build_is_byte_level(const nct_json *root) {
    const nct_json *part = nct_json_get(root, "pre_tokenizer");
    for (const nct_json *s = first_stage(part, "pretokenizers"); s; s = next_stage(part, s))
        if (is_type(s, "ByteLevel"))
            return true;
    return false;
}

const nct_json *nct_build_other_stage(const nct_json *part, const char *list) {
    const nct_json *found = NULL;
    for (const nct_json *s = first_stage(part, list); s; s = next_stage(part, s))
        if (!is_type(s, "ByteLevel"))
            found = s;
    return found;
}

static nct_status refuse(const nct_build *b, const char *part, const nct_json *stage) {
    return nct_fail(b->err, NCT_E_UNSUPPORTED,
                    "%s: %s '%.40s', or the way it is set, is not supported with byte-level BPE", b->name, part,
                    nct_json_string(nct_json_get(stage, "type"), "without a type"));
}

/* GPT-2's, which ByteLevel cuts by when it is told to. */
static const char own_pattern[] = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

static nct_status add_pattern(nct_build *b, const char *pattern) {
    return nct_splitter_add(b->vocab->splitter, b->name, pattern, strlen(pattern), b->err);
}

static nct_status add_split(nct_build *b, const nct_json *stage) {
    const nct_json *pattern = nct_json_get(stage, "pattern");
    const char *regex = nct_json_string(nct_json_get(pattern, "Regex"), NULL);
    bool isolated = strcmp(nct_json_string(nct_json_get(stage, "behavior"), ""), "Isolated") == 0;
    if (!regex || !isolated || nct_json_bool(nct_json_get(stage, "invert"), false))
        return refuse(b, "pre_tokenizer", stage);
    return add_pattern(b, regex);
}

static nct_status add_stage(nct_build *b, const nct_json *stage) {
    if (is_type(stage, "Split"))
        return add_split(b, stage);
    if (is_type(stage, "Digits"))
        return add_pattern(b, nct_json_bool(nct_json_get(stage, "individual_digits"), false) ? "\\p{N}" : "\\p{N}+");
    if (!is_type(stage, "ByteLevel") || nct_json_bool(nct_json_get(stage, "add_prefix_space"), true))
        return refuse(b, "pre_tokenizer", stage);
    return nct_json_bool(nct_json_get(stage, "use_regex"), true) ? add_pattern(b, own_pattern) : NCT_OK;
}

nct_status nct_build_byte_pipeline(nct_build *b, const nct_json *root) {
    const nct_json *part = nct_json_get(root, "pre_tokenizer"), *last = NULL;
    NCT_TRY(nct_build_byte_level(b));
    for (const nct_json *s = first_stage(part, "pretokenizers"); s; s = next_stage(part, s)) {
        if (last && is_type(last, "ByteLevel")) /* what comes behind it sees its alphabet, not the text */
            return refuse(b, "pre_tokenizer", s);
        NCT_TRY(add_stage(b, s));
        last = s;
    }
    part = nct_json_get(root, "normalizer");
    const nct_json *stage = first_stage(part, "normalizers");
    if (stage)
        return refuse(b, "normalizer", stage);
    part = nct_json_get(root, "decoder");
    stage = nct_build_other_stage(part, "decoders");
    if (!part || stage)
        return refuse(b, "decoder", stage);
    if (nct_json_bool(nct_json_get(nct_json_get(root, "model"), "byte_fallback"), false))
        return nct_fail(b->err, NCT_E_UNSUPPORTED, "%s: byte_fallback with byte-level BPE", b->name);
    return NCT_OK;
}

/* ------------------------------------------------------------------ GGUF */

nct_status nct_build_byte_kind(nct_build *b, const nct_gguf *gguf) {
    static const char key[] = "tokenizer.ggml.pre";
    const char *kind;
    size_t n;
    bool found;
    NCT_TRY(nct_build_byte_level(b));
    if (!nct_gguf_string(gguf, key, &kind, &n))
        return nct_fail(b->err, NCT_E_UNSUPPORTED, "%s: '%s' is missing, which says how byte-level BPE cuts words",
                        b->name, key);
    NCT_TRY(nct_splitter_add_named(b->vocab->splitter, kind, n, &found, b->err));
    b->vocab->whole_words = true; /* as llama.cpp does for this kind */
    return found ? NCT_OK
                 : nct_fail(b->err, NCT_E_UNSUPPORTED, "%s: byte-level BPE of the kind '%.*s', expected 'minicpm5'",
                            b->name, n < 40 ? (int)n : 40, kind);
}
