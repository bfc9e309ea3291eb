/* A text with stretches of markup: the first byte says whether BOS is wanted, the next three are lengths of
   content and markup in turn. Then the same bytes as ids. */
#include "text_checks.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char tokenizer[] =
    "{\"added_tokens\":[{\"id\":0,\"content\":\"<unk>\",\"special\":true},{\"id\":1,\"content\":\"<s>\","
    "\"special\":true},"
    "{\"id\":40,\"content\":\"<|e|>\",\"special\":true},{\"id\":41,\"content\":\"<|e\"},{\"id\":42,"
    "\"content\":\"<n>\",\"normalized\":true}],"
    "\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"Prepend\",\"prepend\":"
    "\"\xe2\x96\x81\"},"
    "{\"type\":\"Replace\",\"pattern\":{\"String\":\" \"},\"content\":\"\xe2\x96\x81\"}]},"
    "\"decoder\":{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"Replace\",\"pattern\":{\"String\":"
    "\"\xe2\x96\x81\"},\"content\":\" \"},"
    "{\"type\":\"ByteFallback\"},{\"type\":\"Fuse\"},{\"type\":\"Strip\",\"content\":\" "
    "\",\"start\":1,\"stop\":0}]},"
    "\"model\":{\"type\":\"BPE\",\"unk_token\":\"<unk>\",\"fuse_unk\":true,\"byte_fallback\":true,\"vocab\":{"
    "\"<unk>\":0,\"<s>\":1,"
    "\"\xe2\x96\x81\":2,\"a\":3,\"b\":4,\"<\":5,\"|\":6,\">\":7,\"e\":8,\"aa\":9,\"ab\":10,\"aaa\":11,\"<|\":"
    "12,\"\xe4\xb8\xad\":13,"
    "\"\xe2\x96\x81\x61\":14,\"aaaa\":15,\"ba\":16,\"<0xE4>\":17,\"<0xB8>\":18,\"<0xAD>\":19,\"<0xC3>\":20,"
    "\"<0x80>\":21,\"<0xFF>\":22},"
    "\"merges\":[\"a a\",\"a b\",\"b a\",\"aa a\",\"a aa\",\"< |\",\"\xe2\x96\x81 a\",\"aa aa\",\"aaa a\"]}}";

static const nct_vocab *vocab(void) {
    static nct_vocab *v;
    nct_vocab_source source = {.main = {"tokenizer.json", tokenizer, sizeof tokenizer - 1}};
    nct_error err;
    if (!v && nct_vocab_read_json(&source, &v, &err) != NCT_OK)
        abort();
    return v;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const nct_vocab *v = vocab();
    if (size < 4)
        return 0;
    const char *text = (const char *)data + 4;
    size_t n = size - 4, n_spans = 0, at = 0, n_ids = 0;
    nct_span span[3];
    for (int i = 1; i < 4 && at < n; i++) { /* the low half is content, the high half markup behind it */
        size_t begin = at + data[i] % 16, end = begin + data[i] / 16;
        if (begin > n || end > n)
            break;
        span[n_spans++] = (nct_span){begin, end};
        at = end;
    }
    int32_t *ids = NULL;
    check(nct_bpe_encode_spans(v, text, n, span, n_spans, data[0] & 1, &ids, &n_ids, NULL) == NCT_OK);
    check_ids(v, ids, n_ids, false);
    nct_free(ids);
    check_vocab(v, text, n);

    void *p = NULL;
    check(nct_alloc(&p, n, sizeof *ids, NULL) == NCT_OK);
    ids = p;
    for (size_t i = 0; i < n; i++)
        ids[i] = (int8_t)text[i];
    check_decoding(v, ids, n, false);
    check_decoding(v, ids, n, true);
    nct_free(ids);
    return 0;
}
