#include "base/arena.h"
#include "support/support.h"

static void test_arena__pieces_are_aligned_and_apart(void **state) {
    (void)state;
    const size_t sizes[] = {1, 64, 0, 65, 200, 3};
    size_t total = 0;
    for (size_t i = 0; i < 6; i++)
        total += nct_arena_cost(sizes[i], 4);
    nct_arena arena;
    NCT_ASSERT_OK(nct_arena_open(&arena, total, fault));
    for (size_t i = 0; i < 6; i++) {
        uint8_t *p = nct_arena_take(&arena, sizes[i], 4);
        assert_int_equal((uintptr_t)p % NCT_ALIGN, 0);
        memset(p, (int)i + 1, sizes[i] * 4);
    }
    assert_int_equal(arena.used, total); /* what was counted is what is used, to the last byte */
    const uint8_t *at = arena.data;
    for (size_t i = 0; i < 6; i++) {
        for (size_t j = 0; j < sizes[i] * 4; j++)
            assert_int_equal(at[j], i + 1);
        at += nct_arena_cost(sizes[i], 4);
    }
    nct_arena_close(&arena);
}

static void test_arena__released_memory_is_handed_out_again(void **state) {
    (void)state;
    nct_arena arena;
    NCT_ASSERT_OK(nct_arena_open(&arena, 1024, fault));
    nct_arena_take(&arena, 100, 1);
    size_t mark = nct_arena_mark(&arena);
    void *first = nct_arena_take(&arena, 500, 1);
    nct_arena_release(&arena, mark);
    assert_ptr_equal(nct_arena_take(&arena, 10, 1), first);
    assert_int_equal(arena.used, 192);
    assert_int_equal(arena.peak, 128 + 512);
    nct_arena_close(&arena);
}

static void test_arena__may_be_empty_and_closed_twice(void **state) {
    (void)state;
    nct_arena arena;
    NCT_ASSERT_OK(nct_arena_open(&arena, 0, fault));
    assert_non_null(nct_arena_take(&arena, 0, 8));
    nct_arena_close(&arena);
    nct_arena_close(&arena);
}

static void test_arena__a_refused_size_is_an_error(void **state) {
    (void)state;
    nct_arena arena;
    nct_error err = {0};
    assert_int_equal(nct_arena_open(&arena, SIZE_MAX, &err), NCT_E_MEMORY);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_arena__pieces_are_aligned_and_apart),
        cmocka_unit_test(test_arena__released_memory_is_handed_out_again),
        cmocka_unit_test(test_arena__may_be_empty_and_closed_twice),
        cmocka_unit_test(test_arena__a_refused_size_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
