#include <string.h>

#include "support/support.h"
#include "text/fence.h"
#include "text/cuts.h"

/* The text in pieces where it can be cut at least so well, joined by "|". */
static void expect_pieces(const char *text, nct_cut least, const char *expected) {
    uint8_t *cut = NULL;
    char joined[1024];
    size_t n = strlen(text), m = 0;
    assert_int_equal(nct_cuts_find(text, n, &cut, NULL), NCT_OK);
    for (size_t i = 0; i < n; i++) {
        if (i && cut[i] >= (uint8_t)least)
            joined[m++] = '|';
        joined[m++] = text[i];
    }
    joined[m] = 0;
    assert_string_equal(joined, expected);
    nct_free(cut);
}

static void test_cuts__cuts_before_headings(void **state) {
    (void)state;
    expect_pieces("# One\n\nText.\n\n## Two\nMore #3.\n", NCT_CUT_HEADING, "# One\n\nText.\n\n|## Two\nMore #3.\n");
    expect_pieces("Front.\n\nCHAPTER II\n\nIt was.\nChapter of accidents.\n", NCT_CUT_HEADING,
                  "Front.\n\n|CHAPTER II\n\nIt was.\nChapter of accidents.\n");
    expect_pieces("前言\n\n第二章 雪\n\n文字。\n", NCT_CUT_HEADING, "前言\n\n|第二章 雪\n\n文字。\n");
    expect_pieces("#no heading\n####### nor this\n", NCT_CUT_HEADING, "#no heading\n####### nor this\n");
}

static void test_cuts__cuts_between_paragraphs(void **state) {
    (void)state;
    expect_pieces("One line\nand another.\n\n\nNext.\n", NCT_CUT_PARAGRAPH, "One line\nand another.\n\n\n|Next.\n");
}

static void test_cuts__cuts_between_sentences(void **state) {
    (void)state;
    expect_pieces("He came. \"Why?\" she said. It cost 3.5 pounds! Yes.", NCT_CUT_SENTENCE,
                  "He came. |\"Why?\" |she said. |It cost 3.5 pounds! |Yes.");
    expect_pieces("他来了。“为什么？”她说。三。", NCT_CUT_SENTENCE, "他来了。|“为什么？”|她说。|三。");
    expect_pieces("First it ends.\nThen goes on\nover lines. End.", NCT_CUT_SENTENCE,
                  "First it ends.\n|Then goes on\nover lines. |End.");
    expect_pieces("Three things:\n- one\n- two\n2. three\n", NCT_CUT_SENTENCE,
                  "Three things:\n|- one\n|- two\n|2. three\n");
}

static void test_cuts__keeps_code_and_tables_together(void **state) {
    (void)state;
    expect_pieces("Look. Here:\n\n```c\n# no heading\n\nint x. y;\n```\nAfter.\n", NCT_CUT_SENTENCE,
                  "Look. |Here:\n\n|```c\n# no heading\n\nint x. y;\n```\n|After.\n");
    expect_pieces("A table.\n| a. b | c |\n| d | e |\nEnd.\n", NCT_CUT_SENTENCE,
                  "A table.\n|| a. b | c |\n| d | e |\n|End.\n");
    expect_pieces("```\na b\nc d\n```\n", NCT_CUT_WORD, "```\n|a b\n|c d\n|```\n");
}

static void test_cuts__never_cuts_a_character(void **state) {
    (void)state;
    uint8_t *cut = NULL;
    const char *text = "a\xe9\x9b\xaa\xf0\x9f\xa6\x87\xff\xe9z";
    static const uint8_t expected[] = {6, 1, 0, 0, 1, 0, 0, 0, 1, 1, 1, 6};
    assert_int_equal(nct_cuts_find(text, 11, &cut, NULL), NCT_OK);
    assert_memory_equal(cut, expected, sizeof expected);
    nct_free(cut);
    assert_int_equal(nct_cuts_find("", 0, &cut, NULL), NCT_OK);
    assert_int_equal(cut[0], NCT_CUT_HEADING);
    nct_free(cut);
}

static void test_cuts__best_is_the_last_of_the_best(void **state) {
    (void)state;
    static const uint8_t cut[] = {6, 1, 2, 4, 1, 4, 2, 0, 1, 6};
    assert_int_equal(nct_cuts_best(cut, 1, 8), 5);
    assert_int_equal(nct_cuts_best(cut, 1, 4), 3);
    assert_int_equal(nct_cuts_best(cut, 6, 8), 6);
    assert_int_equal(nct_cuts_best(cut, 7, 7), 7);
    assert_int_equal(nct_cuts_best(cut, 1, 9), 9);
}

static void test_fence__finds_blocks(void **state) {
    (void)state;
    const char *text = "Before\n~~~\none\n```\n~~~\nBetween ```not```\n````py\ntwo\n```\n````\nopen:\n```\nthree\n";
    size_t begin, end, n = strlen(text);
    assert_true(nct_fence_block(text, n, false, &begin, &end));
    assert_int_equal(end - begin, 8);
    assert_memory_equal(text + begin, "one\n```\n", 8);
    assert_true(nct_fence_block(text, n, true, &begin, &end));
    assert_int_equal(end - begin, 6);
    assert_memory_equal(text + begin, "three\n", 6);
    assert_false(nct_fence_block("no `` block ```\n", 16, false, &begin, &end));
    assert_true(nct_fence_block("```\n", 4, false, &begin, &end));
    assert_int_equal(begin, end);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cuts__cuts_before_headings),
        cmocka_unit_test(test_cuts__cuts_between_paragraphs),
        cmocka_unit_test(test_cuts__cuts_between_sentences),
        cmocka_unit_test(test_cuts__keeps_code_and_tables_together),
        cmocka_unit_test(test_cuts__never_cuts_a_character),
        cmocka_unit_test(test_cuts__best_is_the_last_of_the_best),
        cmocka_unit_test(test_fence__finds_blocks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
