/* A vocabulary survives its tables unchanged, and no damage to them leads out of them. */
#include "fixture.h"

#include <unistd.h>

#include "base/clock.h"
#include "text/stream.h"
#include "text/vocab_tables.h"

static void assert_same_vocab(const nct_vocab *a, const nct_vocab *b) {
    assert_int_equal(a->n_pieces, b->n_pieces);
    assert_true(a->bos == b->bos && a->unk == b->unk && a->n_eos == b->n_eos && a->n_merges == b->n_merges);
    assert_memory_equal(a->eos, b->eos, sizeof a->eos);
    assert_true(a->add_bos == b->add_bos && a->add_prefix == b->add_prefix &&
                a->strip_left == b->strip_left && a->fuse_unk == b->fuse_unk &&
                a->longest_piece == b->longest_piece);
    for (int32_t id = 0; id < a->n_pieces; id++) {
        const nct_piece *p = &a->piece[id], *q = &b->piece[id];
        assert_true(p->off == q->off && p->n_bytes == q->n_bytes && p->kind == q->kind && p->byte == q->byte);
    }
    assert_int_equal(a->text.n, b->text.n);
    assert_memory_equal(a->text.data, b->text.data, a->text.n);
    assert_true(a->by_text_mask == b->by_text_mask && a->by_text_reach == b->by_text_reach);
    assert_memory_equal(a->by_text, b->by_text, (a->by_text_mask + 1) * sizeof *a->by_text);
    assert_true(a->merge_mask == b->merge_mask && a->merge_reach == b->merge_reach);
    assert_memory_equal(a->merge, b->merge, (a->merge_mask + 1) * sizeof *a->merge);
    assert_int_equal(a->joint_mask, b->joint_mask);
    assert_memory_equal(a->joint, b->joint, (a->joint_mask + 1) / 8);
    assert_memory_equal(a->char_page, b->char_page, sizeof a->char_page);
    assert_int_equal(a->n_char_pages, b->n_char_pages);
    assert_memory_equal(a->char_id, b->char_id, a->n_char_pages * 256 * sizeof *a->char_id);
    assert_memory_equal(a->byte_id, b->byte_id, sizeof a->byte_id);
    assert_true(a->n_added == b->n_added && a->n_plain_added == b->n_plain_added);
    for (size_t i = 0; i < a->n_added; i++) {
        const nct_added *p = &a->added[i], *q = &b->added[i];
        assert_true(p->id == q->id && p->off == q->off && p->n_bytes == q->n_bytes &&
                    p->normalized == q->normalized);
    }
}

static void round_trip(const nct_vocab *v) {
    nct_bytes out = {0};
    nct_vocab *again = NULL;
    NCT_ASSERT_OK(nct_vocab_write_tables(v, &out, fault));
    uint64_t began = nct_clock_ns();
    NCT_ASSERT_OK(nct_vocab_read_tables("tables", (const uint8_t *)out.data, out.n, &again, fault));
    print_message("%zu bytes of tables read in %.1f ms\n", out.n, (double)(nct_clock_ns() - began) * 1e-6);
    assert_same_vocab(v, again);
    assert_null(again->warning);
    nct_vocab_close(again);
    nct_bytes_reset(&out);
}

static void test_vocab_tables__survive_unchanged(void **state) {
    (void)state;
    nct_vocab *v = fixture_vocab();
    round_trip(v);
    nct_vocab_close(v);
    static const char *const folders[] = {"minicpm4/MiniCPM4-8B", "minicpm4/MiniCPM3-4B",
                                          "stories/stories260K-minicpm"};
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        const char *path = nct_test_path("%s/data/%s", NCT_SHARED_DIR, folders[i]);
        if (access(path, R_OK) != 0) {
            print_message("skipped: %s absent\n", folders[i]);
            continue;
        }
        NCT_ASSERT_OK(nct_vocab_open_directory(path, &v, fault));
        round_trip(v);
        nct_vocab_close(v);
    }
}

static void test_vocab_tables__cut_short_are_refused(void **state) {
    (void)state;
    nct_vocab *v = fixture_vocab(), *again = NULL;
    nct_bytes out = {0};
    nct_error err;
    NCT_ASSERT_OK(nct_vocab_write_tables(v, &out, fault));
    for (size_t n = 0; n < out.n; n += n < 200 ? 1 : 97) {
        uint8_t *cut = malloc(n ? n : 1);
        memcpy(cut, out.data, n);
        assert_int_equal(nct_vocab_read_tables("tables", cut, n, &again, &err), NCT_E_FORMAT);
        free(cut);
    }
    NCT_ASSERT_OK(nct_bytes_add(&out, "12345678", 8, fault));
    assert_int_equal(nct_vocab_read_tables("tables", (const uint8_t *)out.data, out.n, &again, &err),
                     NCT_E_FORMAT);
    nct_bytes_reset(&out);
    nct_vocab_close(v);
}

/* Uses a vocabulary in every way; what comes out does not matter, only that nothing else is touched. */
static void use(const nct_vocab *v) {
    static const char text[] = "the hello <|im_end|> \xe4\xb8\xad\xe6\x96\x87 "
                               "worldaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa \xff ing";
    int32_t *ids = NULL, all[FIXTURE_MAX + 20];
    size_t n_ids, n_bytes;
    char *out = NULL;
    for (int special = 0; special < 2; special++) {
        if (nct_bpe_encode(v, text, sizeof text - 1, special, true, &ids, &n_ids, NULL) == NCT_OK)
            nct_free(ids);
        for (int32_t i = 0; i < FIXTURE_MAX + 20; i++)
            all[i] = i - 10;
        if (nct_text_decode(v, all, FIXTURE_MAX + 20, special, &out, &n_bytes, NULL) == NCT_OK)
            nct_free(out);
    }
}

/* Every 32-bit word, replaced by numbers that like to do harm. */
static void test_vocab_tables__harmful_words_do_no_harm(void **state) {
    (void)state;
    static const uint32_t harmful[] = {0,          1,  0x7fffffff, 0x80000000, 0xffffffff,
                                       0xfffffffe, 63, 1 << 20,    0x01010101, 600};
    nct_vocab *v = fixture_vocab(), *again = NULL;
    nct_bytes out = {0};
    nct_error err;
    size_t n_taken = 0, n_refused = 0;
    NCT_ASSERT_OK(nct_vocab_write_tables(v, &out, fault));
    for (size_t at = 0; at + 4 <= out.n; at += at < 6000 ? 4 : 76)
        for (size_t i = 0; i < sizeof harmful / sizeof *harmful; i++) {
            char before[4];
            memcpy(before, out.data + at, 4);
            memcpy(out.data + at, &harmful[i], 4);
            nct_status status =
                nct_vocab_read_tables("tables", (const uint8_t *)out.data, out.n, &again, &err);
            memcpy(out.data + at, before, 4);
            n_refused += status != NCT_OK;
            if (status != NCT_OK)
                continue;
            n_taken++;
            use(again);
            nct_vocab_close(again);
        }
    print_message("%zu changes refused, %zu taken\n", n_refused, n_taken);
    assert_true(n_refused > 1000);
    nct_bytes_reset(&out);
    nct_vocab_close(v);
}

static void test_vocab_tables__every_refused_allocation_is_reported(void **state) {
    (void)state;
    nct_vocab *v = fixture_vocab();
    nct_status status = NCT_E_MEMORY;
    for (long fail = 0; status != NCT_OK; fail++) {
        nct_vocab *again = NULL;
        nct_bytes out = {0};
        assert_true(fail < 100);
        atomic_store(&nct_mem_fail_in, fail);
        status = nct_vocab_write_tables(v, &out, NULL);
        if (status == NCT_OK)
            status = nct_vocab_read_tables("tables", (const uint8_t *)out.data, out.n, &again, NULL);
        atomic_store(&nct_mem_fail_in, -1);
        assert_true(status == NCT_OK || status == NCT_E_MEMORY);
        nct_vocab_close(again);
        nct_bytes_reset(&out);
    }
    nct_vocab_close(v);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vocab_tables__survive_unchanged),
        cmocka_unit_test(test_vocab_tables__cut_short_are_refused),
        cmocka_unit_test(test_vocab_tables__harmful_words_do_no_harm),
        cmocka_unit_test(test_vocab_tables__every_refused_allocation_is_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
