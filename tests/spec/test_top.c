/* The likeliest outputs of a head, against all its scores. */
#include <math.h>

#include "spec/top.h"
#include "support/support.h"

enum { COLS = 64, ROWS = 6, MOST = 2000 };

struct bench {
    nct_kernels kernels;
    nct_pool *pool;
    nct_exec exec;
    nct_arena arena;
    nct_linear head;
    float weight[MOST * COLS];
};

static uint32_t state_ = 3;
static uint32_t next(void) { return (state_ = state_ * 1664525u + 1013904223u) >> 8; }
static float uniform(void) { return (float)next() / 8388608.0f - 1; }

static struct bench *bench_open(size_t n, int n_threads) {
    void *p = NULL;
    NCT_ASSERT_OK(nct_alloc(&p, 1, sizeof(struct bench), fault));
    struct bench *b = p;
    for (size_t i = 0; i < n * COLS; i++)
        b->weight[i] = uniform();
    for (size_t i = COLS; i < n * COLS; i++)
        if (i / COLS % 7 == 3) /* rows alike: their scores are equal */
            b->weight[i] = b->weight[i % COLS];
    NCT_ASSERT_OK(nct_kernels_pick(nct_test_isa(), &b->kernels, fault));
    NCT_ASSERT_OK(nct_pool_open(n_threads, &b->pool, fault));
    nct_stored stored = {.codec = &nct_codec_float,
                         .name = "made",
                         .type = NCT_TYPE_F32,
                         .n_rows = n,
                         .n_cols = COLS,
                         .n_rows_file = n,
                         .part[NCT_PART_DATA] = {(uint8_t *)b->weight, n * COLS * sizeof(float)}};
    NCT_ASSERT_OK(nct_linear_open(&stored, b->pool, &b->head, fault));
    NCT_ASSERT_OK(nct_arena_open(&b->arena, nct_top_bytes(&b->head, MOST, ROWS, n_threads), fault));
    b->exec = (nct_exec){.kernels = &b->kernels, .pool = b->pool, .scratch = &b->arena};
    return b;
}

static void bench_close(struct bench *b) {
    nct_linear_close(&b->head);
    nct_arena_close(&b->arena);
    nct_pool_close(b->pool);
    nct_free(b);
}

static void check_row(const struct bench *b, const float *x, size_t n, size_t width, const nct_top *top) {
    static float score[MOST];
    static bool taken[MOST];
    double sum = 0;
    for (size_t r = 0; r < n; r++) {
        float s = 0; /* one chain, as the product's contract says; ref sums in double */
        double wide = 0;
        for (size_t c = 0; c < COLS; c++) {
            s = fmaf(b->weight[r * COLS + c], x[c], s);
            wide += (double)b->weight[r * COLS + c] * x[c];
        }
        score[r] = s;
        taken[r] = false;
        sum += exp(wide);
    }
    for (size_t i = 0; i < width; i++) {
        size_t got = (size_t)top->output[i];
        assert_in_range(got, 0, n - 1);
        assert_false(taken[got]);
        taken[got] = true;
        assert_true(fabs(top->log_q[i] - (score[got] - log(sum))) <= 2e-5);
        for (size_t r = 0; r < n; r++) { /* none left is better, and of equal ones the first was taken */
            assert_true(taken[r] || score[r] <= score[got] + 1e-5f);
            if (r < got && r % 7 == 3 && got % 7 == 3)
                assert_true(taken[r]);
        }
    }
}

static void test_top__finds_the_best_of_all_scores(void **state) {
    (void)state;
    static const size_t sizes[] = {1, 15, 16, 17, 383, 384, 385, 768, MOST}, widths[] = {1, 3, 16};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct bench *b = bench_open(sizes[i], 2);
        float x[ROWS * COLS];
        for (size_t k = 0; k < ROWS * COLS; k++)
            x[k] = uniform();
        for (size_t k = 0; k < 3; k++) {
            nct_top top[ROWS];
            size_t width = widths[k] < sizes[i] ? widths[k] : sizes[i];
            nct_top_run(&b->exec, &b->head, NULL, x, COLS, ROWS, width, top);
            for (size_t t = 0; t < ROWS; t++)
                check_row(b, x + t * COLS, sizes[i], width, &top[t]);
            assert_int_equal(b->arena.used, 0);
        }
        bench_close(b);
    }
}

static void test_top__threads_and_rows_beside_change_nothing(void **state) {
    (void)state;
    float x[ROWS * COLS];
    nct_top wanted[ROWS], top[ROWS];
    for (size_t k = 0; k < ROWS * COLS; k++)
        x[k] = uniform();
    for (int threads = 1; threads <= 5; threads += 2) {
        state_ = 3;
        struct bench *b = bench_open(MOST, threads);
        memset(top, 0, sizeof top);
        nct_top_run(&b->exec, &b->head, NULL, x, COLS, ROWS, 16, top);
        if (threads == 1)
            memcpy(wanted, top, sizeof top);
        assert_memory_equal(top, wanted, sizeof top);
        for (size_t t = 0; t < ROWS; t++) {
            nct_top alone;
            nct_top_run(&b->exec, &b->head, NULL, x + t * COLS, COLS, 1, 16, &alone);
            assert_memory_equal(&alone, &wanted[t], sizeof alone);
        }
        bench_close(b);
    }
}

/* A head in two parts is the whole head, to the bit where it was cut between pieces. */
static void test_top__a_second_matrix_counts_on_from_the_first(void **state) {
    (void)state;
    static const size_t cuts[] = {1, 17, 384, 768, 1999};
    float x[ROWS * COLS];
    nct_top wanted[ROWS], top[ROWS];
    int32_t row[MOST];
    struct bench *b = bench_open(MOST, 2);
    for (size_t k = 0; k < ROWS * COLS; k++)
        x[k] = uniform();
    for (size_t i = 0; i < MOST; i++)
        row[i] = (int32_t)i;
    nct_top_run(&b->exec, &b->head, NULL, x, COLS, ROWS, 16, wanted);
    for (size_t i = 0; i < sizeof cuts / sizeof *cuts; i++) {
        nct_linear part[2];
        NCT_ASSERT_OK(nct_linear_gather(&b->head, row, cuts[i], b->pool, &part[0], fault));
        NCT_ASSERT_OK(nct_linear_gather(&b->head, row + cuts[i], MOST - cuts[i], b->pool, &part[1], fault));
        nct_top_run(&b->exec, &part[0], &part[1], x, COLS, ROWS, 16, top);
        for (size_t t = 0; t < ROWS; t++) {
            assert_memory_equal(top[t].output, wanted[t].output, sizeof top[t].output);
            for (size_t j = 0; j < 16; j++)
                assert_true(fabs(top[t].log_q[j] - wanted[t].log_q[j]) <= (cuts[i] % NCT_LINEAR_PIECE ? 2e-6 : 0));
        }
        assert_int_equal(b->arena.used, 0);
        nct_linear_close(&part[0]);
        nct_linear_close(&part[1]);
    }
    bench_close(b);
}

/* Scores that are no numbers come last and break nothing. */
static void test_top__scores_that_are_no_numbers_are_hopeless(void **state) {
    (void)state;
    struct bench *b = bench_open(500, 1);
    float x[COLS];
    nct_top top;
    for (size_t k = 0; k < COLS; k++)
        x[k] = k ? 1 : NAN;
    nct_top_run(&b->exec, &b->head, NULL, x, COLS, 1, 16, &top);
    for (size_t i = 0; i < 16; i++) {
        assert_in_range(top.output[i], 0, 499);
        assert_true(top.log_q[i] <= 0);
        for (size_t j = 0; j < i; j++)
            assert_true(top.output[i] != top.output[j]);
    }
    bench_close(b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_top__finds_the_best_of_all_scores),
        cmocka_unit_test(test_top__a_second_matrix_counts_on_from_the_first),
        cmocka_unit_test(test_top__threads_and_rows_beside_change_nothing),
        cmocka_unit_test(test_top__scores_that_are_no_numbers_are_hopeless),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
