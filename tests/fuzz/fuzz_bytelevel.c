/* Byte-level BPE: any text comes back from its ids, as content and as markup; then the same bytes as ids. */
#include "text_checks.h"

#include "text/alphabet.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The bytes, a few merges, and added tokens of every kind. */
static void add(nct_bytes *out, const char *s) { check(nct_bytes_add_str(out, s, NULL) == NCT_OK); }

static const nct_vocab *vocab(void) {
    static nct_vocab *v;
    if (v)
        return v;
    nct_bytes json = {0};
    char spelled[3] = "";
    add(&json, "{\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\",\"behavior\":\"Isolated\","
               "\"pattern\":{\"Regex\":\"\\\\p{N}{1,3}\"}},{\"type\":\"ByteLevel\",\"add_prefix_space\":false}]},"
               "\"decoder\":{\"type\":\"ByteLevel\"},\"added_tokens\":[{\"id\":0,\"content\":\"<s>\",\"special\":true},"
               "{\"id\":300,\"content\":\"<t>\"},{\"id\":301,\"content\":\"<ab\",\"normalized\":true}],"
               "\"model\":{\"type\":\"BPE\",\"ignore_merges\":true,\"vocab\":{\"<s>\":0");
    for (int byte = 0; byte < 256; byte++) {
        char c = (char)byte;
        spelled[nct_alphabet_spell(&c, 1, spelled)] = 0;
        check(nct_bytes_add_str(&json, ",", NULL) == NCT_OK);
        check(nct_json_write_string(&json, spelled, strlen(spelled), NULL) == NCT_OK);
        check(nct_bytes_printf(&json, NULL, ":%d", byte + 1) == NCT_OK);
    }
    add(&json, ",\"ab\":257,\"aa\":258,\"aab\":259,\"\xc4\xa0\x61\":260,\"\xc3\xa4\xc2\xb8\":261,\"\xc3\xa4\xc2\xb8\xc5\x83\":262,"
               "\"11\":263,\"aabb\":264},\"merges\":[\"a b\",\"a a\",\"a ab\",\"\xc4\xa0 a\",\"\xc3\xa4 \xc2\xb8\","
               "\"\xc3\xa4\xc2\xb8 \xc5\x83\",\"1 1\"]}}");
    nct_vocab_source source = {.main = {"tokenizer.json", json.data, json.n}};
    check(nct_vocab_read_json(&source, &v, NULL) == NCT_OK);
    nct_bytes_reset(&json);
    return v;
}

/* What the ids spell. */
static void check_bytes(const nct_vocab *v, const int32_t *ids, size_t n_ids, const char *text, size_t n) {
    size_t at = 0;
    for (size_t i = 0; i < n_ids; i++) {
        const nct_piece *p = nct_vocab_piece(v, ids[i]);
        const char *s = nct_vocab_text(v, p);
        for (size_t k = 0, length; k < p->n_bytes; k += length, at++) {
            uint32_t code = 0;
            length = nct_utf8_decode(s + k, p->n_bytes - k, &code);
            check(at < n && nct_alphabet_byte(code) == (uint8_t)text[at]);
        }
    }
    check(at == n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const nct_vocab *v = vocab();
    const char *text = (const char *)data;
    for (int parse = 0; parse < 2; parse++) {
        int32_t *ids = NULL;
        size_t n_ids = 0;
        check(nct_bpe_encode(v, text, size, parse, false, &ids, &n_ids, NULL) == NCT_OK);
        check_ids(v, ids, n_ids, !parse);
        check_bytes(v, ids, n_ids, text, size);
        nct_free(ids);
    }
    check_vocab(v, text, size);
    void *p = NULL;
    check(nct_alloc(&p, size, sizeof(int32_t), NULL) == NCT_OK);
    int32_t *ids = p;
    for (size_t i = 0; i < size; i++)
        ids[i] = data[i] + (data[i] & 1 ? 50 : 0);
    check_decoding(v, ids, size, false);
    check_decoding(v, ids, size, true);
    nct_free(ids);
    return 0;
}
