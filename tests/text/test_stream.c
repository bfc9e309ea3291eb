#define _GNU_SOURCE /* memmem */
#include "text/stream.h"

#include "base/rng.h"
#include "text/fixture.h"
#include "base/utf8.h"

#define FFFD NCT_REPLACEMENT

static void assert_decodes(const nct_vocab *v, const int32_t *ids, size_t n, bool keep, const char *expected,
                           size_t n_expected) {
    char *text = NULL;
    size_t n_text = 0;
    NCT_ASSERT_OK(nct_text_decode(v, ids, n, keep, &text, &n_text, fault));
    if (n_text != n_expected || memcmp(text, expected, n_text) != 0)
        fail_msg("decoded '%s', expected '%s'", text, expected);
    assert_int_equal(text[n_text], 0);
    nct_free(text);
}

/* All that a stream gives; every part of it must be whole characters. */
static nct_bytes streamed(const nct_vocab *v, const int32_t *ids, size_t n, bool continuation, bool keep) {
    nct_text_stream *stream = NULL;
    nct_bytes out = {0};
    NCT_ASSERT_OK(nct_bytes_add(&out, "", 0, fault));
    NCT_ASSERT_OK(nct_stream_open(v, continuation, keep, &stream, fault));
    for (size_t i = 0; i <= n; i++) {
        size_t n_part;
        const char *part =
            i < n ? nct_text_stream_push(stream, ids[i], &n_part) : nct_text_stream_end(stream, &n_part);
        assert_true(nct_utf8_valid(part, n_part));
        NCT_ASSERT_OK(nct_bytes_add(&out, part, n_part, fault));
    }
    nct_text_stream_close(stream);
    return out;
}

static void assert_streams(const nct_vocab *v, const int32_t *ids, size_t n, bool continuation, bool keep,
                           const char *expected) {
    nct_bytes out = streamed(v, ids, n, continuation, keep);
    assert_string_equal(out.data, expected);
    nct_bytes_reset(&out);
}

static int32_t byte_id(int byte) { return 3 + byte; }

static void test_stream__one_leading_space_goes(void **state) {
    (void)state;
    nct_vocab *v = fixture_vocab();
    const int32_t space = fixture_id(NCT_SPACE), two = fixture_id(NCT_SPACE NCT_SPACE),
                  the = fixture_id(NCT_SPACE "the");
    const int32_t ids[] = {two, the, space};
    assert_decodes(v, ids, 3, false, "  the ", 6);
    assert_streams(v, ids, 3, false, false, "  the ");
    assert_streams(v, ids, 3, true, false, "   the ");
    assert_decodes(v, &space, 1, false, "", 0);
    assert_decodes(v, NULL, 0, false, "", 0);
    const int32_t with_bos[] = {1, the};
    assert_decodes(v, with_bos, 2, false, "the", 3);
    assert_decodes(v, with_bos, 2, true, "<s> the", 7);
    assert_streams(v, with_bos, 2, false, false, "the");
    assert_streams(v, with_bos, 2, false, true, "<s> the");
    const int32_t as_byte[] = {byte_id(' '), space};
    assert_decodes(v, as_byte, 2, false, " ", 1);
    assert_streams(v, as_byte, 2, false, false, " ");
    nct_vocab_close(v);
}

static void test_stream__never_cuts_a_character(void **state) {
    (void)state;
    nct_vocab *v = fixture_vocab();
    nct_text_stream *stream = NULL;
    size_t n;
    NCT_ASSERT_OK(nct_stream_open(v, false, false, &stream, fault));
    static const int bytes[] = {0xf0, 0x9f, 0x99};
    for (int i = 0; i < 3; i++) {
        nct_text_stream_push(stream, byte_id(bytes[i]), &n);
        assert_int_equal(n, 0);
    }
    nct_text_stream_push(stream, fixture_id("</s>"), &n); /* dropped, so it parts nothing */
    assert_int_equal(n, 0);
    assert_memory_equal(nct_text_stream_push(stream, byte_id(0x82), &n), "\xf0\x9f\x99\x82", 4);
    assert_int_equal(n, 4);
    nct_text_stream_push(stream, byte_id(0xc3), &n);
    assert_int_equal(n, 0);
    assert_memory_equal(nct_text_stream_end(stream, &n), FFFD, 3);
    assert_int_equal(n, 3);
    nct_text_stream_end(stream, &n);
    assert_int_equal(n, 0);
    nct_text_stream_push(stream, fixture_id(NCT_SPACE "the"), &n); /* a new text */
    assert_int_equal(n, 3);
    nct_text_stream_close(stream);
    nct_vocab_close(v);
}

static void test_stream__bytes_that_make_no_character(void **state) {
    (void)state;
    nct_vocab *v = fixture_vocab();
    const int32_t broken[] = {byte_id(0xe4), byte_id(0xb8), fixture_id("a"), byte_id(0xff)};
    assert_decodes(v, broken, 4, false, FFFD FFFD "a" FFFD, 10);
    assert_streams(v, broken, 4, false, false, FFFD FFFD "a" FFFD);
    /* The whole run is judged at once; a stream has shown its good part already. */
    const int32_t mixed[] = {byte_id(0xc3), byte_id(0xa9), byte_id(0xc3), byte_id('x')};
    assert_decodes(v, mixed, 4, false, FFFD FFFD FFFD FFFD, 12);
    assert_streams(v, mixed, 4, false, false, "\xc3\xa9" FFFD "x");
    const int32_t kept[] = {byte_id(0xc3), 2, byte_id(0xa9)};
    assert_decodes(v, kept, 3, false, "\xc3\xa9", 2);
    assert_decodes(v, kept, 3, true, FFFD "</s>" FFFD, 10);
    assert_streams(v, kept, 3, false, true, FFFD "</s>" FFFD);
    const int32_t restart[] = {byte_id(0xe4), byte_id(0xe4), byte_id(0xb8), byte_id(0xad)};
    assert_streams(v, restart, 4, false, false, FFFD "\xe4\xb8\xad");
    nct_vocab_close(v);
}

static void test_stream__ids_without_a_piece_are_replaced(void **state) {
    (void)state;
    nct_vocab *v = fixture_vocab();
    const int32_t ids[] = {-1, v->n_pieces, INT32_MAX, INT32_MIN, fixture_id("a")};
    assert_decodes(v, ids, 5, false, FFFD FFFD FFFD FFFD "a", 13);
    assert_streams(v, ids, 5, false, false, FFFD FFFD FFFD FFFD "a");
    nct_vocab_close(v);
}

/* Random ids: whole characters only, and the whole text where no run mixes valid and invalid bytes. */
static void test_stream__is_the_whole_text_in_parts(void **state) {
    (void)state;
    nct_vocab *v = fixture_vocab();
    size_t n_equal = 0;
    for (uint64_t k = 0; k < 3000; k++) {
        int32_t ids[24];
        size_t n = nct_rng_mix(k) % 24, n_text;
        for (size_t i = 0; i < n; i++) {
            uint64_t z = nct_rng_mix(k << 8 | i);
            ids[i] = (int32_t)(z % 3 ? 3 + (z >> 8) % 256 : (z >> 8) % ((uint64_t)v->n_pieces + 5));
        }
        char *text = NULL;
        NCT_ASSERT_OK(nct_text_decode(v, ids, n, k & 1, &text, &n_text, fault));
        assert_true(nct_utf8_valid(text, n_text));
        nct_bytes out = streamed(v, ids, n, false, k & 1);
        if (!memmem(text, n_text, FFFD, 3)) {
            assert_int_equal(out.n, n_text);
            assert_memory_equal(out.data, text, n_text);
            n_equal++;
        }
        nct_free(text);
        nct_bytes_reset(&out);
    }
    assert_true(n_equal > 100);
    nct_vocab_close(v);
}

static void test_stream__decoding_undoes_encoding(void **state) {
    (void)state;
    nct_vocab *v = fixture_vocab();
    static const char text[] = "  hello\t\xe4\xb8\xad\xe6\x96\x87 \xf0\x9f\x99\x82\r\n</s> <0x41> \0 end ";
    int32_t *ids = NULL;
    size_t n = 0;
    NCT_ASSERT_OK(nct_bpe_encode(v, text, sizeof text - 1, false, true, &ids, &n, fault));
    assert_decodes(v, ids, n, false, text, sizeof text - 1);
    nct_free(ids);
    nct_vocab_close(v);
}

/* ------------------------------------------------------------------ published vectors */

static void check_decode(const nct_vocab *v, const nct_json *records, size_t n_expected) {
    size_t n_records = 0;
    for (const nct_json *record = nct_json_first(records); record;
         record = nct_json_next(record), n_records++) {
        size_t n;
        int32_t *ids = nct_test_ids(nct_json_get(record, "ids"), &n);
        for (int keep = 0; keep < 2; keep++) {
            nct_bytes expected = fixture_text(nct_json_get(record, keep ? "keep" : "skip"));
            assert_decodes(v, ids, n, keep, expected.data, expected.n);
            if (!memmem(expected.data, expected.n, FFFD, 3)) {
                nct_bytes out = streamed(v, ids, n, false, keep);
                assert_int_equal(out.n, expected.n);
                assert_memory_equal(out.data, expected.data, out.n);
                nct_bytes_reset(&out);
            }
            nct_bytes_reset(&expected);
        }
        nct_free(ids);
    }
    assert_int_equal(n_records, n_expected);
}

static void test_stream__published_vectors(void **state) {
    (void)state;
    const char *path = nct_test_path("%s/data/minicpm4/MiniCPM4-8B", NCT_SHARED_DIR);
    nct_test_need(path);
    nct_vocab *v = NULL;
    NCT_ASSERT_OK(nct_vocab_open_directory(path, &v, fault));
    nct_json *vectors = fixture_open_vectors(nct_test_path("%s/tokenizer_vectors.json", path));
    check_decode(v, nct_json_get(vectors, "encode"), 97);
    check_decode(v, nct_json_get(vectors, "encode_random"), 400);
    check_decode(v, nct_json_get(vectors, "decode"), 259);
    nct_json_close(vectors);
    nct_vocab_close(v);
}

static void test_stream__the_reference_decoder(void **state) {
    (void)state;
    nct_vocab *v = NULL;
    nct_json *golden = NULL;
    nct_bytes json = {0};
    NCT_ASSERT_OK(nct_json_open(NCT_TESTS_DIR "/golden/tokenizer.json", &golden, fault));
    NCT_ASSERT_OK(nct_json_write(nct_json_get(golden, "tokenizer"), false, &json, fault));
    NCT_ASSERT_OK(fixture_read_json(json.data, json.n, NULL, &v, fault));
    for (const nct_json *item = nct_json_first(nct_json_get(golden, "cases")); item;
         item = nct_json_next(item)) {
        const char *text = nct_json_string(nct_json_get(item, "decoded"), NULL);
        size_t n;
        int32_t *ids = nct_test_ids(nct_json_get(item, "ids"), &n);
        assert_decodes(v, ids, n, false, text, strlen(text));
        nct_free(ids);
    }
    nct_json_close(golden);
    nct_bytes_reset(&json);
    nct_vocab_close(v);
}

static void test_stream__a_refused_allocation_is_a_status(void **state) {
    (void)state;
    nct_vocab *v = fixture_vocab();
    int32_t ids[64];
    for (size_t i = 0; i < 64; i++)
        ids[i] = fixture_id("hello");
    nct_status status = NCT_E_MEMORY;
    char *text = NULL;
    size_t n;
    for (long k = 0; status != NCT_OK; k++) {
        atomic_store(&nct_mem_fail_in, k);
        status = nct_text_decode(v, ids, 64, false, &text, &n, NULL);
        atomic_store(&nct_mem_fail_in, -1);
        assert_true(status == NCT_OK || status == NCT_E_MEMORY);
    }
    nct_free(text);
    nct_text_stream *stream = NULL;
    for (long k = 0; !stream; k++) {
        atomic_store(&nct_mem_fail_in, k);
        status = nct_stream_open(v, false, false, &stream, NULL);
        atomic_store(&nct_mem_fail_in, -1);
        assert_int_equal(status, stream ? NCT_OK : NCT_E_MEMORY);
    }
    nct_text_stream_close(stream);
    nct_text_stream_close(NULL);
    nct_vocab_close(v);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stream__one_leading_space_goes),
        cmocka_unit_test(test_stream__never_cuts_a_character),
        cmocka_unit_test(test_stream__bytes_that_make_no_character),
        cmocka_unit_test(test_stream__ids_without_a_piece_are_replaced),
        cmocka_unit_test(test_stream__is_the_whole_text_in_parts),
        cmocka_unit_test(test_stream__decoding_undoes_encoding),
        cmocka_unit_test(test_stream__published_vectors),
        cmocka_unit_test(test_stream__the_reference_decoder),
        cmocka_unit_test(test_stream__a_refused_allocation_is_a_status),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
