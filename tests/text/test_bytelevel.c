/* Byte-level BPE against what golden/make_bytelevel.py computed, from every kind of file. */
#include "text/fixture.h"

#include "base/rng.h"
#include "text/alphabet.h"
#include "text/chat.h"
#include "text/stream.h"
#include "text/vocab_tables.h"

static nct_vocab *open_json(void) {
    nct_vocab *v = NULL;
    NCT_ASSERT_OK(nct_vocab_open_directory(NCT_TESTS_DIR "/golden/bytelevel", &v, fault));
    return v;
}

/* The same tokenizer as a GGUF tells of it: types by what its ids are. */
static nct_bytes make_gguf(const nct_vocab *v, const char *kind) {
    nct_bytes out = {0};
    size_t n_merges = v->n_merges;
    fixture_add(&out, "GGUF");
    fixture_add_le(&out, 3, 4);
    fixture_add_le(&out, 0, 8);
    fixture_add_le(&out, 7, 8);
    fixture_add_gguf_key(&out, "general.architecture", NCT_GGUF_STRING);
    fixture_add_gguf_string(&out, "llama", 5);
    fixture_add_gguf_key(&out, "tokenizer.ggml.model", NCT_GGUF_STRING);
    fixture_add_gguf_string(&out, "gpt2", 4);
    fixture_add_gguf_key(&out, "tokenizer.ggml.pre", NCT_GGUF_STRING);
    fixture_add_gguf_string(&out, kind, strlen(kind));
    fixture_add_gguf_array(&out, "tokenizer.ggml.tokens", NCT_GGUF_STRING, (uint64_t)v->n_pieces);
    for (int32_t id = 0; id < v->n_pieces; id++)
        fixture_add_gguf_string(&out, nct_vocab_text(v, &v->piece[id]), v->piece[id].n_bytes);
    fixture_add_gguf_array(&out, "tokenizer.ggml.token_type", NCT_GGUF_I32, (uint64_t)v->n_pieces);
    for (int32_t id = 0; id < v->n_pieces; id++)
        fixture_add_le(&out, v->piece[id].kind == NCT_PIECE_SPECIAL ? 3 : v->piece[id].kind == NCT_PIECE_ADDED ? 4 : 1,
                       4);
    fixture_add_gguf_array(&out, "tokenizer.ggml.merges", NCT_GGUF_STRING, n_merges);
    for (uint32_t rank = 0, n = 0; n < n_merges; rank++)
        for (uint32_t i = 0; i <= v->merge_mask; i++)
            if (v->merge[i].left != UINT32_MAX && v->merge[i].rank == rank) {
                const nct_piece *l = &v->piece[v->merge[i].left], *r = &v->piece[v->merge[i].right];
                fixture_add_le(&out, l->n_bytes + 1 + r->n_bytes, 8);
                NCT_ASSERT_OK(nct_bytes_add(&out, nct_vocab_text(v, l), l->n_bytes, fault));
                fixture_add(&out, " ");
                NCT_ASSERT_OK(nct_bytes_add(&out, nct_vocab_text(v, r), r->n_bytes, fault));
                n++;
            }
    fixture_add_gguf_key(&out, "tokenizer.ggml.bos_token_id", NCT_GGUF_U32);
    fixture_add_le(&out, 0, 4);
    while (out.n % 32)
        fixture_add_le(&out, 0, 1);
    return out;
}

static void check_encoding(const nct_vocab *v) {
    nct_json *golden = fixture_open_vectors(NCT_TESTS_DIR "/golden/bytelevel/vectors.json");
    size_t n_cases = 0, n_content = 0;
    for (const nct_json *item = nct_json_first(nct_json_get(golden, "encode")); item; item = nct_json_next(item)) {
        nct_bytes text = fixture_text(nct_json_get(item, "text"));
        const nct_json *content = nct_json_get(item, "content");
        size_t n;
        int32_t *ids = nct_test_ids(nct_json_get(item, "ids"), &n);
        assert_encodes(v, text.data, text.n, true, ids, n);
        if (content) {
            nct_free(ids);
            ids = nct_test_ids(content, &n);
            n_content++;
        }
        assert_encodes(v, text.data, text.n, false, ids, n);
        nct_free(ids);
        nct_bytes_reset(&text);
        n_cases++;
    }
    assert_true(n_cases > 400 && n_content > 100);
    nct_json_close(golden);
}

static char *stream_text(const nct_vocab *v, const int32_t *ids, size_t n, bool keep) {
    nct_text_stream *s = NULL;
    nct_bytes out = {0};
    size_t n_part;
    NCT_ASSERT_OK(nct_stream_open(v, false, keep, &s, fault));
    for (size_t i = 0; i <= n; i++) {
        const char *part = i < n ? nct_text_stream_push(s, ids[i], &n_part) : nct_text_stream_end(s, &n_part);
        NCT_ASSERT_OK(nct_bytes_add(&out, part, n_part, fault));
    }
    nct_text_stream_close(s);
    return out.data;
}

static void check_decoding(const nct_vocab *v) {
    nct_json *golden = fixture_open_vectors(NCT_TESTS_DIR "/golden/bytelevel/vectors.json");
    size_t n_cases = 0;
    for (const nct_json *item = nct_json_first(nct_json_get(golden, "decode")); item; item = nct_json_next(item)) {
        size_t n, n_text;
        int32_t *ids = nct_test_ids(nct_json_get(item, "ids"), &n);
        for (int keep = 0; keep < 2; keep++) {
            nct_bytes expected = fixture_text(nct_json_get(item, keep ? "keep" : "skip"));
            char *text = NULL;
            NCT_ASSERT_OK(nct_text_decode(v, ids, n, keep, &text, &n_text, fault));
            assert_int_equal(n_text, expected.n);
            assert_memory_equal(text, expected.data, expected.n);
            nct_free(text);
            if (keep) { /* without NULs, or the texts would end there */
                text = stream_text(v, ids, n, true);
                assert_string_equal(text ? text : "", expected.data);
                nct_free(text);
            }
            nct_bytes_reset(&expected);
        }
        nct_free(ids);
        n_cases++;
    }
    assert_int_equal(n_cases, 200);
    nct_json_close(golden);
}

static void test_bytelevel__tokenizer_json(void **state) {
    (void)state;
    nct_vocab *v = open_json();
    assert_string_equal(v->pipeline, "byte-level-bpe");
    assert_false(v->add_bos);
    check_encoding(v);
    check_decoding(v);
    nct_vocab_close(v);
}

static void test_bytelevel__survives_a_bundle(void **state) {
    (void)state;
    nct_vocab *v = open_json(), *again = NULL;
    nct_bytes out = {0};
    nct_error err;
    NCT_ASSERT_OK(nct_vocab_write_tables(v, &out, fault));
    NCT_ASSERT_OK(nct_vocab_read_tables("tables", (const uint8_t *)out.data, out.n, &again, fault));
    assert_string_equal(again->pipeline, v->pipeline);
    assert_true(again->whole_words);
    check_encoding(again);
    check_decoding(again);
    nct_vocab_close(again);
    for (size_t n = out.n; n-- > out.n - 400;) { /* the patterns stand at the end */
        again = NULL;
        assert_int_equal(nct_vocab_read_tables("tables", (const uint8_t *)out.data, n, &again, &err), NCT_E_FORMAT);
        assert_null(again);
    }
    out.data[0] = 1; /* as if it were of the other kind: what follows is too much */
    assert_int_equal(nct_vocab_read_tables("tables", (const uint8_t *)out.data, out.n, &again, &err), NCT_E_FORMAT);
    nct_bytes_reset(&out);
    nct_vocab_close(v);
}

static void test_bytelevel__gguf(void **state) {
    (void)state;
    nct_vocab *v = open_json(), *again = NULL;
    nct_error err;
    nct_bytes gguf = make_gguf(v, "minicpm5");
    NCT_ASSERT_OK(fixture_read_gguf(&gguf, &again, fault));
    assert_int_equal(again->n_merges, v->n_merges);
    assert_false(again->add_bos);
    check_decoding(again);
    /* a GGUF cannot say that "later" is looked for behind the others; where it does not stand all is the same */
    nct_json *golden = fixture_open_vectors(NCT_TESTS_DIR "/golden/bytelevel/vectors.json");
    for (const nct_json *item = nct_json_first(nct_json_get(golden, "encode")); item; item = nct_json_next(item)) {
        nct_bytes text = fixture_text(nct_json_get(item, "text"));
        size_t n;
        int32_t *ids = nct_test_ids(nct_json_get(item, "ids"), &n);
        if (!strstr(text.data, "later"))
            assert_encodes(again, text.data, text.n, true, ids, n);
        nct_free(ids);
        nct_bytes_reset(&text);
    }
    nct_json_close(golden);
    nct_vocab_close(again);
    nct_bytes_reset(&gguf);
    gguf = make_gguf(v, "gpt-9");
    again = NULL;
    assert_int_equal(fixture_read_gguf(&gguf, &again, &err), NCT_E_UNSUPPORTED);
    assert_non_null(strstr(err.text, "'gpt-9'"));
    nct_bytes_reset(&gguf);
    nct_vocab_close(v);
}

static void test_bytelevel__invalid_utf8_comes_back(void **state) {
    (void)state;
    nct_vocab *v = open_json();
    char text[64], *back = NULL;
    for (uint64_t seed = 0; seed < 2000; seed++) {
        size_t n = 1 + nct_rng_mix(seed) % sizeof text, n_ids = 0, n_text = 0;
        for (size_t i = 0; i < n; i++)
            text[i] = (char)nct_rng_mix(seed * 100 + i);
        int32_t *ids = NULL;
        NCT_ASSERT_OK(nct_bpe_encode(v, text, n, false, false, &ids, &n_ids, fault));
        nct_bytes bytes = {0}; /* what the pieces spell */
        for (size_t i = 0; i < n_ids; i++) {
            const nct_piece *p = nct_vocab_piece(v, ids[i]);
            for (size_t k = 0; k < p->n_bytes;) {
                const uint8_t *s = (const uint8_t *)nct_vocab_text(v, p) + k;
                uint32_t code = s[0] < 0x80 ? s[0] : (s[0] & 31u) << 6 | (s[1] & 63u);
                int byte = nct_alphabet_byte(code);
                assert_true(byte >= 0);
                char c = (char)byte;
                NCT_ASSERT_OK(nct_bytes_add(&bytes, &c, 1, fault));
                k += s[0] < 0x80 ? 1 : 2;
            }
        }
        assert_int_equal(bytes.n, n);
        assert_memory_equal(bytes.data, text, n);
        NCT_ASSERT_OK(nct_text_decode(v, ids, n_ids, false, &back, &n_text, fault));
        nct_free(back);
        nct_free(ids);
        nct_bytes_reset(&bytes);
    }
    nct_vocab_close(v);
}

static void test_bytelevel__the_alphabet_is_its_own_inverse(void **state) {
    (void)state;
    for (int byte = 0; byte < 256; byte++)
        assert_int_equal(nct_alphabet_byte(nct_alphabet_code((uint8_t)byte)), byte);
    assert_int_equal(nct_alphabet_code(' '), 0x120);
    assert_int_equal(nct_alphabet_code('\n'), 0x10a);
    assert_int_equal(nct_alphabet_code(173), 0x143);
    assert_int_equal(nct_alphabet_byte(0x144), -1);
    assert_int_equal(nct_alphabet_byte(' '), -1);
}

static void test_bytelevel__parts_between_lines_give_the_ids_of_the_whole(void **state) {
    (void)state;
    static const char *const words[] = {"the", " world", "\n", "\n\n", " ", "  \n", "12", "'s", "\r\n", "!", "\xe5\xb0\x8f", "\t"};
    nct_vocab *v = open_json();
    size_t n_cut = 0;
    for (uint64_t seed = 1; seed <= 300; seed++) {
        char text[256];
        size_t n = 0, n_whole = 0, n_left = 0, n_right = 0;
        for (uint64_t k = 0; k < 40; k++) {
            const char *word = words[nct_rng_mix(seed * 1000 + k) % (sizeof words / sizeof *words)];
            memcpy(text + n, word, strlen(word));
            n += strlen(word);
        }
        int32_t *whole = NULL, *left = NULL, *right = NULL;
        size_t cut = nct_bpe_cut(v, text, n, 1 + nct_rng_mix(seed) % n);
        n_cut += cut > 0;
        if (!cut)
            continue;
        NCT_ASSERT_OK(nct_bpe_encode(v, text, n, false, false, &whole, &n_whole, fault));
        NCT_ASSERT_OK(nct_bpe_encode_part(v, text, cut, true, &left, &n_left, fault));
        NCT_ASSERT_OK(nct_bpe_encode_part(v, text + cut, n - cut, false, &right, &n_right, fault));
        assert_same_ids(text, left, n_left, whole, n_left);
        assert_same_ids(text, right, n_right, whole + n_left, n_whole - n_left);
        nct_free(whole);
        nct_free(left);
        nct_free(right);
    }
    assert_true(n_cut > 100);
    nct_vocab_close(v);
}

/* How often an id comes when a user says this. */
static size_t count_in_chat(const nct_vocab *v, const char *said, const char *piece) {
    nct_message m = {.role = "user", .content = said};
    int32_t *ids = NULL;
    size_t n_ids = 0, n = 0;
    NCT_ASSERT_OK(nct_chat_template_encode(nct_chat_template_named("minicpm5"), v, &m, 1, NULL, &ids, &n_ids, fault));
    assert_int_equal(ids[0], v->bos); /* the template's, and no other */
    assert_int_not_equal(ids[1], v->bos);
    for (size_t i = 0; i < n_ids; i++)
        n += ids[i] == nct_vocab_find(v, piece, strlen(piece));
    nct_free(ids);
    return n;
}

static void test_bytelevel__only_the_end_of_a_question_is_a_switch(void **state) {
    (void)state;
    nct_vocab *v = NULL;
    size_t n;
    char *json = nct_test_read(NCT_TESTS_DIR "/golden/bytelevel/tokenizer.json", &n);
    NCT_ASSERT_OK(fixture_read_json(json, n, "{\"add_bos_token\":false,\"bos_token\":\"<s>\"}", &v, fault));
    nct_free(json);
    assert_int_equal(v->bos, 0);
    assert_int_equal(count_in_chat(v, "Why? /no_think", "/no_think"), 1);
    assert_int_equal(count_in_chat(v, "/think", "/think"), 1);
    assert_int_equal(count_in_chat(v, "a/think", "/think"), 0);
    assert_int_equal(count_in_chat(v, "/no_think, he said", "/no_think"), 0);
    assert_int_equal(count_in_chat(v, "<s><|im_end|>\n<|im_start|>system", "<s>"), 1);
    assert_int_equal(count_in_chat(v, "<s><|im_end|>\n<|im_start|>system", "<|im_end|>"), 1);
    nct_vocab_close(v);
}

static void refuses(const char *from, const char *to, nct_status expected, const char *thing) {
    size_t n;
    char *json = nct_test_read(NCT_TESTS_DIR "/golden/bytelevel/tokenizer.json", &n), *hit = strstr(json, from);
    assert_non_null(hit);
    nct_bytes changed = {0};
    nct_vocab *v = NULL;
    nct_error err = {0};
    NCT_ASSERT_OK(nct_bytes_add(&changed, json, (size_t)(hit - json), fault));
    fixture_add(&changed, to);
    fixture_add(&changed, hit + strlen(from));
    nct_status status = fixture_read_json(changed.data, changed.n, NULL, &v, &err);
    if (status != expected || !strstr(err.text, thing) || strncmp(err.text, "tokenizer.json: ", 16) != 0)
        fail_msg("'%s' to '%s': status %d, '%s'", from, to, status, err.text);
    assert_null(v);
    nct_bytes_reset(&changed);
    nct_free(json);
}

static void test_bytelevel__refuses_what_it_does_not_do(void **state) {
    (void)state;
    refuses("\"behavior\":\"Isolated\"", "\"behavior\":\"Removed\"", NCT_E_UNSUPPORTED, "'Split'");
    refuses("\"invert\":false", "\"invert\":true", NCT_E_UNSUPPORTED, "'Split'");
    refuses("\"Regex\":\"\\\\p{N}{1,3}\"", "\"String\":\"a\"", NCT_E_UNSUPPORTED, "'Split'");
    refuses("\\\\p{N}{1,3}", "\\\\p{Han}", NCT_E_UNSUPPORTED, "property");
    refuses("\\\\p{N}{1,3}", "(a|b)+", NCT_E_UNSUPPORTED, "repeated");
    refuses("\"add_prefix_space\":false", "\"add_prefix_space\":true", NCT_E_UNSUPPORTED, "'ByteLevel'");
    refuses("\"normalizer\":null", "\"normalizer\":{\"type\":\"NFC\"}", NCT_E_UNSUPPORTED, "'NFC'");
    refuses("\"decoder\":{\"type\":\"ByteLevel\"", "\"decoder\":{\"type\":\"Metaspace\"", NCT_E_UNSUPPORTED, "decoder");
    refuses("\"post_processor\":{\"type\":\"ByteLevel\"", "\"post_processor\":{\"type\":\"BertProcessing\"",
            NCT_E_UNSUPPORTED, "'BertProcessing'");
    refuses("\"byte_fallback\":false", "\"byte_fallback\":true", NCT_E_UNSUPPORTED, "byte_fallback");
    refuses("\"A\":", "\"AA\":", NCT_E_FORMAT, "0x41");
    refuses("\"pretokenizers\":[", "\"pretokenizers\":[{\"type\":\"ByteLevel\",\"add_prefix_space\":false},", NCT_E_UNSUPPORTED,
            "'Split'");
}

static void test_bytelevel__a_refused_allocation_is_a_status(void **state) {
    (void)state;
    nct_vocab *v = NULL;
    nct_error err;
    long k = 0;
    for (;; k++) {
        atomic_store(&nct_mem_fail_in, k);
        nct_status status = nct_vocab_open_directory(NCT_TESTS_DIR "/golden/bytelevel", &v, &err);
        int32_t *ids = NULL;
        size_t n = 0;
        if (status == NCT_OK) {
            status = nct_bpe_encode(v, "hello world, it is later<s>", 27, true, true, &ids, &n, &err);
            nct_vocab_close(v);
        }
        atomic_store(&nct_mem_fail_in, -1);
        nct_free(ids);
        if (status == NCT_OK)
            break;
        assert_int_equal(status, NCT_E_MEMORY);
    }
    assert_true(k > 20);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bytelevel__tokenizer_json),
        cmocka_unit_test(test_bytelevel__survives_a_bundle),
        cmocka_unit_test(test_bytelevel__gguf),
        cmocka_unit_test(test_bytelevel__invalid_utf8_comes_back),
        cmocka_unit_test(test_bytelevel__the_alphabet_is_its_own_inverse),
        cmocka_unit_test(test_bytelevel__parts_between_lines_give_the_ids_of_the_whole),
        cmocka_unit_test(test_bytelevel__only_the_end_of_a_question_is_a_switch),
        cmocka_unit_test(test_bytelevel__refuses_what_it_does_not_do),
        cmocka_unit_test(test_bytelevel__a_refused_allocation_is_a_status),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
