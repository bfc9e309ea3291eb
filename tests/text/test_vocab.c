#include "text/fixture.h"
#include "text/vocab_build.h"

#define S NCT_SPACE

static void test_vocab__finds_every_piece_by_its_text(void **state) {
    (void)state;
    nct_vocab *v = fixture_vocab();
    size_t n;
    const fixture_piece *piece = fixture_pieces(&n);
    assert_int_equal(v->n_pieces, n);
    for (size_t i = 0; i < n; i++) {
        const nct_piece *p = nct_vocab_piece(v, (int32_t)i);
        assert_int_equal(nct_vocab_find(v, piece[i].text, strlen(piece[i].text)), i);
        assert_int_equal(p->n_bytes, strlen(piece[i].text));
        assert_memory_equal(nct_vocab_text(v, p), piece[i].text, p->n_bytes);
        assert_int_equal(p->kind, piece[i].type == 1   ? NCT_PIECE_NORMAL
                                  : piece[i].type == 6 ? NCT_PIECE_BYTE
                                                       : NCT_PIECE_SPECIAL);
    }
    assert_int_equal(nct_vocab_find(v, "no such piece", 13), -1);
    assert_int_equal(nct_vocab_find(v, "", 0), -1);
    assert_int_equal(nct_vocab_find(v, "thx", 2), fixture_id("th"));
    assert_null(nct_vocab_piece(v, -1));
    assert_null(nct_vocab_piece(v, (int32_t)n));
    assert_int_equal(v->longest_piece, 12);
    nct_vocab_close(v);
    nct_vocab_close(NULL);
}

static void test_vocab__bytes_are_known_by_their_spelling(void **state) {
    (void)state;
    nct_vocab *v = fixture_vocab();
    for (int i = 0; i < 256; i++) {
        assert_int_equal(v->byte_id[i], 3 + i);
        assert_int_equal(nct_vocab_piece(v, 3 + i)->byte, i);
    }
    uint8_t byte;
    assert_true(nct_build_is_byte("<0x7F>", 6, &byte));
    assert_int_equal(byte, 0x7f);
    static const char *const others[] = {"<0x7f>", "<0xG0>", "<0x100>", "0x7F", "<0x7F", "<0X7F>", ""};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        assert_false(nct_build_is_byte(others[i], strlen(others[i]), &byte));
    nct_vocab_close(v);
}

static void test_vocab__characters_have_ids(void **state) {
    (void)state;
    nct_vocab *v = fixture_vocab();
    assert_int_equal(nct_vocab_char(v, 'a'), fixture_id("a"));
    assert_int_equal(nct_vocab_char(v, 0x2581), fixture_id(S));
    assert_int_equal(nct_vocab_char(v, 0x4e2d), fixture_id("\xe4\xb8\xad"));
    assert_int_equal(nct_vocab_char(v, 'Z'), -1);
    assert_int_equal(nct_vocab_char(v, 0x4e2e), -1);
    assert_int_equal(nct_vocab_char(v, 0x10ffff), -1);
    nct_vocab_close(v);
}

static void test_vocab__merges_are_looked_up_by_pair(void **state) {
    (void)state;
    nct_vocab *v = fixture_vocab();
    const nct_merge *th = nct_vocab_merge(v, fixture_id("t"), fixture_id("h"));
    const nct_merge *the = nct_vocab_merge(v, fixture_id("th"), fixture_id("e"));
    assert_int_equal(th->id, fixture_id("th"));
    assert_int_equal(the->id, fixture_id("the"));
    assert_true(th->rank < the->rank);
    assert_null(nct_vocab_merge(v, fixture_id("h"), fixture_id("t")));
    assert_null(nct_vocab_merge(v, 0, 0));
    size_t n = 0;
    for (int32_t l = 0; l < v->n_pieces; l++)
        for (int32_t r = 0; r < v->n_pieces; r++)
            n += nct_vocab_merge(v, l, r) != NULL;
    assert_int_equal(n, v->n_merges);
    nct_vocab_close(v);
}

static void test_vocab__cuts_nowhere_a_merge_joins(void **state) {
    (void)state;
    nct_vocab *v = fixture_vocab();
    size_t n_cuts = 0, n_pairs = 0;
    for (int32_t l = FIXTURE_FIRST_CHAR; l < fixture_id("th"); l++)
        for (int32_t r = FIXTURE_FIRST_CHAR; r < fixture_id("th"); r++, n_pairs++) {
            n_cuts += !nct_vocab_joins(v, l, r);
            if (nct_vocab_merge(v, l, r))
                assert_true(nct_vocab_joins(v, l, r));
        }
    assert_true(nct_vocab_joins(v, fixture_id("h"), fixture_id("e"))); /* th+e, he */
    assert_true(nct_vocab_joins(v, fixture_id("l"), fixture_id("o"))); /* hell+o */
    assert_true(n_cuts > n_pairs * 9 / 10);
    nct_vocab_close(v);
}

static void test_vocab__matches_the_longest_added_token(void **state) {
    (void)state;
    nct_vocab *v = fixture_vocab();
    const nct_added *token = nct_vocab_match(v, false, "<|im_end|>x", 11);
    assert_int_equal(token->id, fixture_id("<|im_end|>"));
    assert_int_equal(nct_vocab_match(v, false, "</s>", 4)->id, 2);
    assert_null(nct_vocab_match(v, false, "</s>", 3));
    assert_null(nct_vocab_match(v, false, "", 0));
    assert_null(nct_vocab_match(v, false, "a</s>", 5));
    assert_null(nct_vocab_match(v, true, "</s>", 4));
    nct_vocab_close(v);
}

/* ------------------------------------------------------------------ building */

static nct_build open_build(void) {
    nct_build b;
    assert_int_equal(nct_build_open(&b, "test", "config", NULL), NCT_OK);
    return b;
}

static void test_vocab__an_added_token_may_rename_a_piece(void **state) {
    (void)state;
    nct_build b = open_build();
    nct_vocab *v = NULL;
    static const char *const pieces[] = {"<unk>", S, "a", "b", "<reserved_1>", "ab"};
    for (int i = 0; i < 6; i++)
        assert_int_equal(nct_build_piece(&b, i, pieces[i], strlen(pieces[i])), NCT_OK);
    assert_int_equal(nct_build_added(&b, 4, "<think>", 7, false, false), NCT_OK);
    assert_int_equal(nct_build_added(&b, 4, "<think>", 7, false, false), NCT_OK); /* said twice */
    assert_int_equal(nct_build_added(&b, 4, "<other>", 7, false, false), NCT_E_FORMAT);
    assert_int_equal(nct_build_added(&b, 9, "<x>", 3, true, false), NCT_OK); /* ids may have gaps */
    assert_int_equal(nct_build_index(&b, true), NCT_OK);
    b.vocab->unk = 0;
    assert_int_equal(nct_build_special(&b, 0), NCT_OK);
    assert_int_equal(nct_build_merges(&b), NCT_OK);
    assert_int_equal(nct_build_close(&b, nct_build_finish(&b, true), &v), NCT_OK);
    assert_int_equal(nct_vocab_find(v, "<think>", 7), 4);
    assert_int_equal(nct_vocab_find(v, "<reserved_1>", 12), -1);
    assert_int_equal(nct_vocab_piece(v, 4)->kind, NCT_PIECE_ADDED);
    assert_int_equal(nct_vocab_piece(v, 9)->kind, NCT_PIECE_SPECIAL);
    assert_int_equal(nct_vocab_piece(v, 0)->kind, NCT_PIECE_SPECIAL);
    assert_null(nct_vocab_piece(v, 7));
    assert_int_equal(v->n_pieces, 10);
    assert_int_equal(v->n_merges, 1);
    nct_vocab_close(v);
}

/* What a merge or a character makes can be reached by content, so it must not be an added token. */
static void test_vocab__no_merge_and_no_character_is_an_added_token(void **state) {
    (void)state;
    for (int listed = 0; listed < 2; listed++) {
        nct_build b = open_build();
        nct_vocab *v = NULL;
        static const char *const pieces[] = {"<unk>", S, "<", "s", ">", "s>", "<s>", "<s", "x"};
        for (int i = 0; i < 9; i++)
            assert_int_equal(nct_build_piece(&b, i, pieces[i], strlen(pieces[i])), NCT_OK);
        assert_int_equal(nct_build_added(&b, 6, "<s>", 3, true, false), NCT_OK);
        assert_int_equal(nct_build_added(&b, 8, "x", 1, true, false), NCT_OK);
        assert_int_equal(nct_build_added(&b, 0, "<unk>", 5, true, false), NCT_OK);
        b.vocab->unk = 0;
        assert_int_equal(nct_build_index(&b, true), NCT_OK);
        if (listed) {
            assert_int_equal(nct_build_merge(&b, "s", 1, ">", 1), NCT_OK);
            assert_int_equal(nct_build_merge(&b, "<", 1, "s>", 2), NCT_OK);
            assert_int_equal(nct_build_merge(&b, "<s", 2, ">", 1), NCT_OK);
        } else {
            assert_int_equal(nct_build_merges(&b), NCT_OK);
        }
        assert_int_equal(nct_build_close(&b, nct_build_finish(&b, true), &v), NCT_OK);
        assert_encodes(v, "<s>", 3, false, (const int32_t[]){1, 2, 5}, 3);
        assert_encodes(v, "x", 1, false, (int32_t[]){1, 0}, 2);
        nct_vocab_close(v);
    }
}

static void test_vocab__refuses_what_it_cannot_hold(void **state) {
    (void)state;
    nct_error err = {0};
    nct_build b = open_build();
    b.err = &err;
    char big[NCT_PIECE_MAX_BYTES + 1];
    memset(big, 'a', sizeof big);
    assert_int_equal(nct_build_piece(&b, -1, "a", 1), NCT_E_FORMAT);
    assert_int_equal(nct_build_piece(&b, NCT_VOCAB_MAX_PIECES, "a", 1), NCT_E_FORMAT);
    assert_int_equal(nct_build_piece(&b, INT64_MAX, "a", 1), NCT_E_FORMAT);
    assert_int_equal(nct_build_piece(&b, 0, "\xff", 1), NCT_E_FORMAT);
    assert_int_equal(nct_build_piece(&b, 0, big, sizeof big), NCT_E_UNSUPPORTED);
    assert_int_equal(nct_build_index(&b, true), NCT_E_FORMAT); /* empty */
    assert_int_equal(nct_build_piece(&b, 0, big, sizeof big - 1), NCT_OK);
    assert_int_equal(nct_build_piece(&b, 0, "b", 1), NCT_E_FORMAT);
    assert_string_equal(err.text, "test: id 0 has two pieces, the second is 'b'");
    assert_int_equal(nct_build_added(&b, 1, "", 0, true, false), NCT_E_FORMAT);
    assert_int_equal(nct_build_piece(&b, 1, "a", 1), NCT_OK);
    assert_int_equal(nct_build_piece(&b, 2, "<0x00>", 6), NCT_OK);
    assert_int_equal(nct_build_piece(&b, 3, "a<0x00>", 7), NCT_OK);
    assert_int_equal(nct_build_index(&b, true), NCT_OK);
    assert_int_equal(nct_build_merge(&b, "a", 1, "b", 1), NCT_E_FORMAT);
    assert_int_equal(nct_build_merge(&b, "a", 1, "a", 1), NCT_E_FORMAT);
    assert_string_equal(err.text, "test: merge 'a' + 'a': the result is no piece");
    assert_int_equal(nct_build_merge(&b, "", 0, "a", 1), NCT_E_FORMAT);
    assert_int_equal(nct_build_merge(&b, big, sizeof big - 1, "a", 1), NCT_E_FORMAT);
    assert_int_equal(nct_build_merge(&b, "a", 1, "<0x00>", 6), NCT_E_UNSUPPORTED);
    assert_int_equal(nct_build_finish(&b, true), NCT_E_UNSUPPORTED); /* nothing for unknown characters */
    nct_vocab *v = NULL;
    assert_int_equal(nct_build_close(&b, NCT_E_UNSUPPORTED, &v), NCT_E_UNSUPPORTED);
    assert_null(v);
}

static void test_vocab__of_equal_pieces_the_lowest_id_counts(void **state) {
    (void)state;
    nct_build b = open_build();
    nct_vocab *v = NULL;
    static const char *const pieces[] = {"<unk>", S, "a", "a", "aa", "aa"};
    for (int i = 0; i < 6; i++)
        assert_int_equal(nct_build_piece(&b, i, pieces[i], strlen(pieces[i])), NCT_OK);
    b.vocab->unk = 0;
    assert_int_equal(nct_build_index(&b, true), NCT_E_FORMAT);
    nct_build_close(&b, NCT_E_FORMAT, &v);
    b = open_build();
    for (int i = 0; i < 6; i++)
        assert_int_equal(nct_build_piece(&b, i, pieces[i], strlen(pieces[i])), NCT_OK);
    b.vocab->unk = 0;
    assert_int_equal(nct_build_index(&b, false), NCT_OK);
    assert_int_equal(nct_build_merges(&b), NCT_OK);
    assert_int_equal(nct_build_close(&b, nct_build_finish(&b, true), &v), NCT_OK);
    assert_int_equal(v->n_merges, 1);
    assert_encodes(v, "aaa", 3, false, (const int32_t[]){1, 4, 2}, 3);
    nct_vocab_close(v);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vocab__finds_every_piece_by_its_text),
        cmocka_unit_test(test_vocab__bytes_are_known_by_their_spelling),
        cmocka_unit_test(test_vocab__characters_have_ids),
        cmocka_unit_test(test_vocab__merges_are_looked_up_by_pair),
        cmocka_unit_test(test_vocab__cuts_nowhere_a_merge_joins),
        cmocka_unit_test(test_vocab__matches_the_longest_added_token),
        cmocka_unit_test(test_vocab__an_added_token_may_rename_a_piece),
        cmocka_unit_test(test_vocab__no_merge_and_no_character_is_an_added_token),
        cmocka_unit_test(test_vocab__refuses_what_it_cannot_hold),
        cmocka_unit_test(test_vocab__of_equal_pieces_the_lowest_id_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
