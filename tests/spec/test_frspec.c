/* Frequency lists: the forms that are read, what is refused, and what is written. */
#include "format/refused.h"
#include "spec/frspec.h"
#include "support/support.h"
#include "text/fixture.h"

enum { VOCAB = 73448 };

static const int32_t example[] = {2, 300, 70000};

/* The example of torch.save's pickle, byte for byte as the format's description has it. */
#define EXAMPLE_PICKLE "\x80\x02\x5d\x71\x00\x28\x4b\x02\x4d\x2c\x01\x4a\x70\x11\x01\x00\x65\x2e"

static void check_ids(const void *data, size_t n_bytes, const int32_t *wanted, size_t n_wanted) {
    int32_t *ids = NULL;
    size_t n = 0;
    NCT_ASSERT_OK(nct_frspec_read("list", data, n_bytes, VOCAB, &ids, &n, fault));
    assert_int_equal(n, n_wanted);
    assert_memory_equal(ids, wanted, n * sizeof *ids);
    nct_free(ids);
}

static void check_refused(const void *data, size_t n_bytes, nct_status status, const char *words) {
    int32_t *ids = NULL;
    size_t n = 0;
    nct_error err = {0};
    nct_status got = nct_frspec_read("list", data, n_bytes, VOCAB, &ids, &n, &err);
    check_sentence(&err, got, status, words);
    assert_null(ids);
}
#define REFUSED(text, status, words) check_refused(text, sizeof text - 1, status, words)

static void test_frspec__every_form_gives_the_same_list(void **state) {
    (void)state;
    /* list.pt as Python's zipfile writes it; torch.pt with torch's sizes behind the bytes and padding before them,
       zip64.pt the same with 64-bit records; long.pt and int.pt are tensors, slices of longer storages. */
    static const char *const files[] = {"text",     "raw",      "list.pkl", "list.pt",
                                        "torch.pt", "zip64.pt", "long.pt",  "int.pt"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        const char *path = nct_test_path("%s/fuzz/corpus/frspec/%s", NCT_TESTS_DIR, files[i]);
        int32_t *ids = NULL;
        size_t n = 0;
        NCT_ASSERT_OK(nct_frspec_open(path, VOCAB, &ids, &n, fault));
        assert_int_equal(n, 3);
        assert_memory_equal(ids, example, sizeof example);
        nct_free(ids);
    }
    check_ids(EXAMPLE_PICKLE, sizeof EXAMPLE_PICKLE - 1, example, 3);
    check_ids("2\n300\n70000", 11, example, 3);
    check_ids("2 300,70000\r\n", 13, example, 3);
    check_ids("7", 1, (int32_t[]){7}, 1);
    check_ids("\x80\x02]q\x00K\x07"
              "a.",
              9, (int32_t[]){7}, 1);
}

static void test_frspec__repeats_go_and_the_first_stays(void **state) {
    (void)state;
    check_ids("5 2 5 2 9 5", 11, (int32_t[]){5, 2, 9}, 3);
}

static void test_frspec__ids_that_are_no_tokens_are_refused(void **state) {
    (void)state;
    REFUSED("1 2 73448", NCT_E_FORMAT, "entry 3 is 73448, and the vocabulary has 73448 tokens");
    REFUSED("99999999999999999999999", NCT_E_FORMAT, "the vocabulary has 73448");
    REFUSED("\x80\x02](J\xff\xff\xff\xff"
            "e.",
            NCT_E_FORMAT, "entry 1 is -1");
    REFUSED("\x80\x02](\x8a\x01\xfe"
            "e.",
            NCT_E_FORMAT, "entry 1 is -2");
    REFUSED("\x01\x00\x00\x00\x01\x00\x00\x80", NCT_E_FORMAT, "entry 2 is 2147483649");
    REFUSED("", NCT_E_FORMAT, "holds no ids");
    REFUSED("[ ]\n", NCT_E_FORMAT, "holds no ids");
    REFUSED("\x80\x02].", NCT_E_FORMAT, "holds no ids");
    REFUSED("1\n2\nx\n", NCT_E_FORMAT, "line 3 holds byte 0x78");
    REFUSED("-1", NCT_E_FORMAT, "line 1 holds byte 0x2d");
    REFUSED("\x01\x00\x00\x00\x01\x00", NCT_E_FORMAT, "its 6 bytes");
}

static void test_frspec__pickles_of_anything_else_are_refused(void **state) {
    (void)state;
    REFUSED("\x80\x02"
            "cos\nsystem\n(X\x04\x00\x00\x00true"
            "tR.",
            NCT_E_UNSUPPORTED, "wants to use os.system");
    REFUSED("\x80\x02"
            "c__builtin__\neval\n.",
            NCT_E_UNSUPPORTED, "__builtin__.eval");
    REFUSED("\x80\x02"
            "cnumpy.core.multiarray\n_reconstruct\n.",
            NCT_E_UNSUPPORTED, "numpy");
    REFUSED("\x80\x04\x95\x0b\x00\x00\x00\x00\x00\x00\x00]\x94(K\x02K\x03"
            "e.",
            NCT_E_UNSUPPORTED, "operation 0x95 at byte 2");
    REFUSED("\x80\x02\x93.", NCT_E_UNSUPPORTED, "operation 0x93");
    REFUSED("\x80\x02i", NCT_E_UNSUPPORTED, "operation 0x69");
    REFUSED("\x80\x02](X\x01\x00\x00\x00"
            "ae.",
            NCT_E_UNSUPPORTED, "something else than whole numbers");
    REFUSED("\x80\x02](](K\x01"
            "ee.",
            NCT_E_UNSUPPORTED, "a second list");
    REFUSED("\x80\x02]q\x00h\x00"
            "a.",
            NCT_E_UNSUPPORTED, "something else than whole numbers");
    REFUSED("\x80\x02}.", NCT_E_UNSUPPORTED, "something else, not a list");
    REFUSED("\x80\x02K\x01.", NCT_E_UNSUPPORTED, "something else, not a list");
    REFUSED("\x80\x02\x8a\x09\x01\x01\x01\x01\x01\x01\x01\x01\x01.", NCT_E_UNSUPPORTED, "64 bits");
    REFUSED("\x80\x02"
            "ccollections\nOrderedDict\nK\x01\x85R.",
            NCT_E_UNSUPPORTED, "a call that no list needs");
    REFUSED("\x80\x02K\x01Q.", NCT_E_UNSUPPORTED, "a reference");
    REFUSED("\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.", NCT_E_UNSUPPORTED,
            "before version 1.6");
}

static void test_frspec__torn_pickles_are_refused(void **state) {
    (void)state;
    for (size_t n = 3; n < sizeof EXAMPLE_PICKLE - 1; n++)
        check_refused(EXAMPLE_PICKLE, n, NCT_E_FORMAT, "damaged pickle");
    REFUSED(EXAMPLE_PICKLE ".", NCT_E_FORMAT, "bytes behind its end");
    REFUSED("\x80\x02]].", NCT_E_UNSUPPORTED, "a second list");
    REFUSED("\x80\x02K\x01].", NCT_E_FORMAT, "something left over");
    REFUSED("\x80\x02(.", NCT_E_FORMAT, "nothing to take");
    REFUSED("\x80\x02K\x01"
            "a.",
            NCT_E_FORMAT, "an item without a list");
    REFUSED("\x80\x02]K\x01"
            "e.",
            NCT_E_FORMAT, "a mark is missing");
    REFUSED("\x80\x02h\x00.", NCT_E_FORMAT, "never remembered");
    REFUSED("\x80\x02]r\xff\xff\xff\x7f.", NCT_E_FORMAT, "out of turn");
    REFUSED("\x80\x02}K\x01K\x02(u.", NCT_E_FORMAT, "items without a dictionary");
    REFUSED("\x80\x02K\x01\x86.", NCT_E_FORMAT, "too few items");
    REFUSED("\x80\x02X\xff\xff\xff\xff"
            "abc.",
            NCT_E_FORMAT, "ends in an operation");
    REFUSED("\x80\x02"
            "ctorch\nLong",
            NCT_E_FORMAT, "ends in a name");
}

/* A kept file with n bytes at an offset changed. */
static void check_changed(const char *file, size_t at, const char *bytes, size_t n, nct_status status,
                          const char *words) {
    size_t n_bytes;
    char *data = nct_test_read(nct_test_path("%s/fuzz/corpus/frspec/%s", NCT_TESTS_DIR, file), &n_bytes);
    assert_true(at + n <= n_bytes);
    memcpy(data + at, bytes, n);
    check_refused(data, n_bytes, status, words);
    nct_free(data);
}

static size_t find_bytes(const char *data, size_t n, const char *what, size_t n_what, size_t from) {
    for (size_t i = from; i + n_what <= n; i++)
        if (memcmp(data + i, what, n_what) == 0)
            return i;
    fail_msg("no such bytes");
    return 0;
}

static void test_frspec__zip_files_that_lie_are_refused(void **state) {
    (void)state;
    size_t n;
    char *data = nct_test_read(nct_test_path("%s/fuzz/corpus/frspec/list.pt", NCT_TESTS_DIR), &n);
    for (size_t cut = 4; cut < n; cut++)
        check_refused(data, cut, NCT_E_FORMAT, "end record is missing");
    size_t directory = find_bytes(data, n, "PK\1\2", 4, 0), end = find_bytes(data, n, "PK\5\6", 4, 0);
    nct_free(data);
    check_changed("list.pt", directory + 10, "\x08", 1, NCT_E_UNSUPPORTED, "'freq_3/data.pkl' is compressed");
    check_changed("list.pt", directory + 8, "\x01", 1, NCT_E_UNSUPPORTED, "encrypted");
    check_changed("list.pt", directory + 20, "\xff", 1, NCT_E_FORMAT, "two sizes");
    check_changed("list.pt", directory + 20, "\xff\x7f\x00\x00\xff\x7f\x00\x00", 8, NCT_E_FORMAT,
                  "runs past");
    check_changed("list.pt", directory + 42, "\xf0\xff\xff\x7f", 4, NCT_E_FORMAT, "no header of its own");
    check_changed("list.pt", directory + 42, "\xff\xff\xff\xff", 4, NCT_E_FORMAT, "64-bit size is missing");
    check_changed("list.pt", directory + 28, "\xff\xff", 2, NCT_E_FORMAT, "runs past its directory");
    check_changed("list.pt", directory + 46, "freq_3/data.pkk", 15, NCT_E_UNSUPPORTED, "without data.pkl");
    check_changed("list.pt", end + 12, "\xff\xff\xff\x7f", 4, NCT_E_FORMAT, "directory does not lie in it");
    check_changed("list.pt", end + 16, "\xff\xff\xff\x7f", 4, NCT_E_FORMAT, "directory does not lie in it");
    check_changed("list.pt", end + 10, "\xf0\xff", 2, NCT_E_FORMAT, "directory does not lie in it");
    check_changed("list.pt", end + 10, "\xff\xff", 2, NCT_E_FORMAT, "64-bit end record is missing");
}

static void test_frspec__tensors_stay_inside_their_numbers(void **state) {
    (void)state;
    size_t n;
    char *data = nct_test_read(nct_test_path("%s/fuzz/corpus/frspec/long.pt", NCT_TESTS_DIR), &n);
    size_t sizes = find_bytes(data, n, "QK\x01K\x03\x85", 6, 0),
           name = find_bytes(data, n, "LongStorage", 11, 0);
    size_t key = find_bytes(data, n, "archive/data/0", 14, find_bytes(data, n, "PK\1\2", 4, 0));
    nct_free(data);
    check_changed("long.pt", sizes + 4, "\x04", 1, NCT_E_FORMAT, "runs past its numbers");
    check_changed("long.pt", sizes + 2, "\x05", 1, NCT_E_FORMAT, "runs past its numbers");
    check_changed("long.pt", sizes - 4, "\x09", 1, NCT_E_FORMAT,
                  "its tensor has 9 numbers, and the file holds 4");
    check_changed("long.pt", sizes + 9, "\x02", 1, NCT_E_UNSUPPORTED, "no row of numbers");
    check_changed("long.pt", name, "LongStoragf", 11, NCT_E_UNSUPPORTED, "torch.LongStoragf");
    check_changed("long.pt", key, "archive/data/1", 14, NCT_E_FORMAT, "numbers of its tensor are missing");
}

static void test_frspec__what_is_written_is_read_again(void **state) {
    (void)state;
    enum { MOST = 40000 };
    static int32_t ids[MOST];
    for (int32_t i = 0; i < MOST; i++)
        ids[i] = (int32_t)((uint32_t)i * 7919u % VOCAB);
    static const size_t sizes[] = {1, 2, 999, 1000, 1001, 2000, MOST};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        nct_bytes text = {0}, torch = {0};
        NCT_ASSERT_OK(nct_frspec_write_text(ids, sizes[i], &text, fault));
        NCT_ASSERT_OK(nct_frspec_write_torch(ids, sizes[i], &torch, fault));
        check_ids(text.data, text.n, ids, sizes[i]);
        check_ids(torch.data, torch.n, ids, sizes[i]);
        nct_bytes_reset(&text);
        nct_bytes_reset(&torch);
    }
    nct_bytes torch = {0};
    NCT_ASSERT_OK(nct_frspec_write_torch(example, 3, &torch, fault));
    find_bytes(torch.data, torch.n, EXAMPLE_PICKLE, sizeof EXAMPLE_PICKLE - 1, 0);
    nct_bytes_reset(&torch);
}

/* ------------------------------------------------------------------ ranking */

static void check_begins(const nct_frspec_counts *counts, const int32_t *wanted, size_t n_wanted,
                         bool whole) {
    int32_t *ids = NULL;
    size_t n = 0;
    NCT_ASSERT_OK(nct_frspec_rank(counts, &ids, &n, fault));
    assert_true(whole ? n == n_wanted : n > n_wanted);
    assert_memory_equal(ids, wanted, n_wanted * sizeof *ids);
    nct_free(ids);
}

static void test_frspec__lists_begin_with_what_an_answer_needs(void **state) {
    (void)state;
    nct_vocab *v = fixture_vocab();
    size_t n_pieces = (size_t)v->n_pieces;
    static uint64_t count[FIXTURE_MAX];
    int32_t last = v->n_pieces - 1, newline = nct_vocab_find(v, "\n", 1), a = nct_vocab_find(v, "a", 1),
            b = nct_vocab_find(v, "b", 1), c = nct_vocab_find(v, "c", 1);
    count[1] = count[0] = 1000; /* <s> and <unk> are for no answer */
    count[a] = 3;
    count[b] = 7;
    count[c] = 3;
    count[newline] = 1;
    int32_t first[] = {last, 2, last};
    nct_frspec_counts counts = {
        .vocab = v, .n_vocab = n_pieces, .count = count, .first = first, .n_first = 3};
    assert_true(a < c);
    /* fixture: the last two pieces are <|im_end|> and <|im_start|>; byte 10 is another newline */
    int32_t wanted[] = {last, 2, last - 1, v->byte_id['\n'], newline, b, a, c};
    size_t n_wanted = sizeof wanted / sizeof *wanted;
    if (v->byte_id['\n'] > newline) {
        wanted[3] = newline;
        wanted[4] = v->byte_id['\n'];
    }
    check_begins(&counts, wanted, n_wanted, true);
    counts.size = 4;
    check_begins(&counts, wanted, 4, true);
    counts.size = 0;
    counts.n_vocab = n_pieces - 2; /* an output matrix without rows for the markers */
    first[0] = first[2] = 2;
    memmove(wanted + 1, wanted + 3, 5 * sizeof *wanted);
    wanted[0] = 2;
    check_begins(&counts, wanted, 6, true);
    memset(count, 0, sizeof count);
    nct_vocab_close(v);
}

/* A vocabulary of 256 byte pieces and so many others is laid over the fixture's. */
static void test_frspec__long_lists_hold_all_bytes_early_enough(void **state) {
    (void)state;
    enum { N = 10000 };
    nct_vocab *fixture = fixture_vocab(), v = *fixture;
    static nct_piece piece[N];
    static uint64_t count[N];
    memcpy(piece, fixture->piece, (size_t)fixture->n_pieces * sizeof *piece);
    for (int32_t id = fixture->n_pieces; id < N; id++)
        piece[id] = piece[nct_vocab_find(fixture, "a", 1)];
    v.piece = piece;
    v.n_pieces = N;
    for (int32_t id = 0; id < N; id++)
        count[id] = (uint64_t)(N - id) * (id >= fixture->n_pieces);
    count[fixture->byte_id[200]] = N * 2; /* one ranks by itself */
    nct_frspec_counts counts = {.vocab = &v, .n_vocab = N, .count = count};
    int32_t *ids = NULL;
    size_t n = 0, n_bytes = 0;
    NCT_ASSERT_OK(nct_frspec_rank(&counts, &ids, &n, fault));
    for (size_t i = 0; i < NCT_FRSPEC_BYTES_FROM; i++)
        n_bytes += piece[ids[i]].kind == NCT_PIECE_BYTE;
    assert_int_equal(n_bytes, 256);
    assert_true(piece[ids[NCT_FRSPEC_BYTES_FROM - 1]].kind == NCT_PIECE_BYTE);
    assert_true(piece[ids[NCT_FRSPEC_BYTES_FROM - 255]].kind != NCT_PIECE_BYTE);
    uint64_t before = UINT64_MAX;
    for (size_t i = 10; i < n; i++) /* all others by rank */
        if (piece[ids[i]].kind != NCT_PIECE_BYTE) {
            assert_true(count[ids[i]] < before);
            before = count[ids[i]];
        }
    nct_free(ids);
    for (int32_t id = 6000; id < N; id++)
        count[id] = 0;
    NCT_ASSERT_OK(nct_frspec_rank(&counts, &ids, &n, fault));
    assert_true(n < NCT_FRSPEC_BYTES_FROM - 256);
    for (n_bytes = 0; n > 0; n--)
        n_bytes += piece[ids[n - 1]].kind == NCT_PIECE_BYTE;
    assert_int_equal(n_bytes, 2); /* the newline and the one that was seen */
    nct_free(ids);
    nct_vocab_close(fixture);
}

static void test_frspec__memory_may_be_refused_anywhere(void **state) {
    (void)state;
    static const char *const files[] = {"text", "torch.pt", "long.pt"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        const char *path = nct_test_path("%s/fuzz/corpus/frspec/%s", NCT_TESTS_DIR, files[i]);
        nct_status status = NCT_E_MEMORY;
        int32_t *ids = NULL;
        for (long k = 1; status == NCT_E_MEMORY; k++) {
            size_t n;
            nct_bytes out = {0};
            atomic_store(&nct_mem_fail_in, k);
            status = nct_frspec_open(path, VOCAB, &ids, &n, NULL);
            if (status == NCT_OK)
                status = nct_frspec_write_torch(ids, n, &out, NULL);
            atomic_store(&nct_mem_fail_in, -1);
            nct_free(ids);
            ids = NULL;
            nct_bytes_reset(&out);
            assert_true(k < 1000);
        }
        assert_int_equal(status, NCT_OK);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_frspec__every_form_gives_the_same_list),
        cmocka_unit_test(test_frspec__repeats_go_and_the_first_stays),
        cmocka_unit_test(test_frspec__ids_that_are_no_tokens_are_refused),
        cmocka_unit_test(test_frspec__pickles_of_anything_else_are_refused),
        cmocka_unit_test(test_frspec__torn_pickles_are_refused),
        cmocka_unit_test(test_frspec__zip_files_that_lie_are_refused),
        cmocka_unit_test(test_frspec__tensors_stay_inside_their_numbers),
        cmocka_unit_test(test_frspec__what_is_written_is_read_again),
        cmocka_unit_test(test_frspec__lists_begin_with_what_an_answer_needs),
        cmocka_unit_test(test_frspec__long_lists_hold_all_bytes_early_enough),
        cmocka_unit_test(test_frspec__memory_may_be_refused_anywhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
