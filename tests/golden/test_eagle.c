/* The toy heads: outputs, probabilities and guesses, to the digits given.
 *
 * The numbers were computed in float64 by the reference's formulas with numpy, all weights and inputs from one
 * generator: x <- (1103515245 x + 12345) mod 2^31 from x = seed, giving x / 2^30 - 1 after each step. */
#include <math.h>

#include "spec/eagle.h"
#include "spec/eagle3.h"
#include "support/heads.h"
#include "support/support.h"

enum { D = 8, V = 16, PAIRS = 4, WIDTH = 6 };

/* Number i of the sequence. */
static double lcg(size_t i, uint32_t seed) {
    uint32_t x = seed;
    for (size_t k = 0; k <= i; k++)
        x = (1103515245u * x + 12345u) & 0x7fffffffu;
    return (double)x / 0x1p30 - 1;
}

static float value(const nct_test_head *head, nct_draft_role role, size_t row, size_t col) {
    static const uint32_t seeds[] = {[NCT_DRAFT_FC] = 21,          [NCT_DRAFT_NORM_EMBEDDING] = 22,
                                     [NCT_DRAFT_NORM_HIDDEN] = 23, [NCT_DRAFT_NORM_INPUT] = 24,
                                     [NCT_DRAFT_NORM_POST] = 29,   [NCT_DRAFT_NORM_FINAL] = 33,
                                     [NCT_DRAFT_Q] = 25,           [NCT_DRAFT_K] = 26,
                                     [NCT_DRAFT_V] = 27,           [NCT_DRAFT_O] = 28,
                                     [NCT_DRAFT_GATE] = 30,        [NCT_DRAFT_UP] = 31,
                                     [NCT_DRAFT_DOWN] = 32,        [NCT_DRAFT_HEAD] = 34};
    size_t n_rows, n_cols;
    nct_test_head_shape(head, role, &n_rows, &n_cols);
    double v = lcg(row * n_cols + col, seeds[role]);
    return (float)(n_rows == 1 ? 1 + 0.25 * v : 0.5 * v);
}

struct toy {
    nct_kernels kernels;
    nct_pool *pool;
    nct_exec exec;
    nct_model target;
    const char *dir;
    void *weights;
    nct_draft_line *line;
    float row[PAIRS * 3 * D];
    size_t n_row;
};

static const int32_t text[PAIRS + 1] = {0, 3, 7, 1, 12};

/* EAGLE-3's embedding keeps the factor 12 that the vectors were made with, though the head does not apply one. */
static void open_toy(struct toy *toy, const nct_drafter *drafter, nct_draft_kind kind) {
    bool third = kind == NCT_DRAFT_EAGLE3;
    nct_test_head head = {.kind = kind,
                          .hidden = D,
                          .intermediate = 12,
                          .heads = 2,
                          .kv_heads = 1,
                          .head_dim = 4,
                          .vocab = V,
                          .draft_vocab = third ? 6 : 0,
                          .value = value,
                          .config =
                              third ? NULL : ",\"scale_depth\":1.4,\"scale_emb\":12,\"dim_model_base\":4"};
    float embedding[V * D], output[V * D];
    for (size_t i = 0; i < V * D; i++) {
        embedding[i] = (float)(lcg(i, 11) * (third ? 12 : 1));
        output[i] = (float)(0.5 * lcg(i, 12));
    }
    *toy = (struct toy){.dir = nct_test_folder(), .n_row = third ? 3 * D : D};
    NCT_ASSERT_OK(nct_kernels_pick(nct_test_isa(), &toy->kernels, fault));
    NCT_ASSERT_OK(nct_pool_open(1, &toy->pool, fault));
    toy->exec = (nct_exec){.kernels = &toy->kernels, .pool = toy->pool, .exact = true};
    nct_test_target_open(&toy->target, &head, third ? 5 : 2, embedding, output, toy->pool);
    nct_test_head_write(toy->dir, &head);
    if (third) { /* the vectors' own offsets */
        char *file;
        size_t n, at;
        static const uint8_t d2t[6] = {0, 1, 3, 6, 7, 10};
        const char *path = nct_test_path("%s/model.safetensors", toy->dir);
        file = nct_test_read(path, &n);
        at = n - V - 6 * 8; /* the last tensors are d2t and t2d */
        for (size_t i = 0; i < 6; i++)
            file[at + 8 * i] = (char)d2t[i];
        nct_test_write(path, file, n);
        nct_free(file);
    }
    const char *list = nct_test_path("%s/list.txt", toy->dir);
    nct_test_write(list, "5 2 9 0 14 11\n", 14);
    nct_draft_options options = {.list = third ? NULL : list};
    nct_draft_target target = {
        .model = &toy->target, .rope = &toy->target.rope, .limit = 100, .n_threads = 1};
    void *state = NULL;
    NCT_ASSERT_OK(drafter->load(toy->dir, &toy->target, &toy->exec, &options, &toy->weights, fault));
    NCT_ASSERT_OK(drafter->open(toy->weights, &target, &options, &state, fault));
    toy->line = state;
    for (size_t j = 0; j < PAIRS; j++)
        for (size_t i = 0; i < toy->n_row; i++)
            toy->row[j * toy->n_row + i] =
                (float)(lcg(i, 900 + (uint32_t)j) / (third ? 1 : 2)); /* divided for the head */
}

static void close_toy(struct toy *toy) {
    nct_draft_line_close(toy->line);
    nct_draft_unload(toy->weights);
    nct_test_target_close(&toy->target);
    nct_pool_close(toy->pool);
    nct_test_folder_remove(toy->dir);
}

static void observe(struct toy *toy, size_t first, size_t n) {
    nct_pairs pairs = {
        .first = first, .n = n, .token = text, .row = toy->row + first * toy->n_row, .stride = toy->n_row};
    NCT_ASSERT_OK(nct_draft_observe(toy->line, &toy->exec, &pairs, fault));
}

static void propose(struct toy *toy, size_t n_pairs, size_t depth, nct_tree *tree) {
    nct_ask ask = {.n_max = NCT_TREE_MAX, .depth_max = depth, .width = WIDTH};
    size_t n_passes = 0;
    nct_tree_init(tree, text[n_pairs]);
    NCT_ASSERT_OK(nct_draft_propose(toy->line, &toy->exec, &ask, tree, &n_passes, fault));
    assert_int_equal(n_passes, depth);
}

static void near(const char *what, const float *is, const double *wanted, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (!(fabs(is[i] - wanted[i]) <= 2e-6))
            fail_msg("%s, number %zu: %.7f, expected %.6f", what, i, is[i], wanted[i]);
}

/* Sorts the numbers and takes the ids along: the best first. */
static void best_first(double *number, int32_t *id) {
    for (size_t i = 1; i < WIDTH; i++)
        for (size_t j = i; j > 0 && number[j] > number[j - 1]; j--) {
            double keep = number[j];
            int32_t keep_id = id[j];
            number[j] = number[j - 1], id[j] = id[j - 1];
            number[j - 1] = keep, id[j - 1] = keep_id;
        }
}

/* A row's probabilities of the head's tokens, given in the head's order. */
static void check_top(const struct toy *toy, const char *what, const nct_top *top, const double *wanted) {
    double sorted[WIDTH];
    int32_t id[WIDTH];
    for (size_t i = 0; i < WIDTH; i++)
        sorted[i] = wanted[i], id[i] = toy->line->draft->ids[i];
    best_first(sorted, id);
    near(what, top->log_q, sorted, WIDTH);
    for (size_t i = 0; i < WIDTH; i++)
        assert_int_equal(toy->line->draft->ids[top->output[i]], id[i]);
}

/* The node of a path of two tokens. */
static double score_of(const nct_tree *tree, int32_t a, int32_t b) {
    size_t child = nct_tree_find(tree, 0, a), node = nct_tree_find(tree, child, b);
    assert_true(child && node);
    return tree->score[node];
}

static void test_eagle__toy_head_guesses_as_the_reference(void **state) {
    (void)state;
    static const double out0[] = {-1.190759, 0.233925, 0.676537, 0.026119,
                                  0.448994,  3.076151, 0.754016, -0.459301},
                        out3[] = {-0.319211, 0.819594, -1.447108, -1.145601,
                                  1.231962,  3.063629, 0.015951,  -1.651960},
                        top3[] = {-1.119273, -2.064478, -2.634392, -1.923600, -1.413541, -2.459526},
                        child5[] = {0.909934,  -0.903493, 0.976811, 1.638914,
                                    -0.849520, 1.163800,  1.869049, -0.134044},
                        top5[] = {-1.712926, -2.330263, -1.246039, -1.904833, -1.615868, -2.439721},
                        child14[] = {0.040092,  1.395066, -1.836315, 0.736276,
                                     -0.252295, 1.049115, 1.794816,  -0.804697};
    struct toy toy;
    nct_tree tree;
    open_toy(&toy, &nct_drafter_eagle, NCT_DRAFT_EAGLE);
    assert_true(fabs(toy.line->draft->residual_scale - 1.4 / sqrt(2)) < 1e-6);
    assert_true(toy.line->draft->logit_scale == 0.5f);
    observe(&toy, 0, 1);
    propose(&toy, 1, 1, &tree);
    near("output after the first pair", toy.line->out, out0, D);
    observe(&toy, 1, 3);
    propose(&toy, 4, 1, &tree);
    near("output after the last pair", toy.line->out, out3, D);
    check_top(&toy, "probabilities after the last pair", toy.line->top, top3);
    assert_int_equal(tree.token[1], 5);
    assert_int_equal(tree.token[2], 14);
    propose(&toy, 4, 2, &tree);
    near("output after 5", toy.line->out + D, child5, D);
    near("output after 14", toy.line->out + 2 * D, child14, D);
    check_top(&toy, "probabilities after 5", toy.line->top, top5);
    assert_int_equal(toy.line->draft->ids[toy.line->top[1].output[0]], 2);
    assert_true(fabs(score_of(&tree, 5, 9) - -2.365313) <= 2e-6);
    assert_true(fabs(score_of(&tree, 14, 2) - -2.854287) <= 2e-6);
    close_toy(&toy);
}

static void test_eagle__toy_head_of_three_taps_guesses_as_the_reference(void **state) {
    (void)state;
    static const double out0[] = {0.355781, -1.234900, 0.633880, 2.862140,
                                  0.240514, 0.150495,  0.810021, 1.080890},
                        out3[] = {0.263618,  -0.480790, -0.665296, 1.045799,
                                  -0.043672, 1.826101,  -1.119424, 1.652926},
                        top3[] = {-1.156585, -2.534421, -1.677384, -2.519603, -1.515840, -2.127321},
                        child0[] = {0.036773,  -0.672093, 0.214836,  1.762760,
                                    -0.437801, 2.128480,  -1.524401, 2.823005},
                        child11[] = {0.300897,  -1.217622, -0.292504, 1.117507,
                                     -0.159045, 1.807540,  -1.339162, 2.824842};
    struct toy toy;
    nct_tree tree;
    open_toy(&toy, &nct_drafter_eagle3, NCT_DRAFT_EAGLE3);
    observe(&toy, 0, 1);
    propose(&toy, 1, 1, &tree);
    near("output after the first pair", toy.line->out, out0, D);
    observe(&toy, 1, 3);
    propose(&toy, 4, 2, &tree);
    near("output after the last pair", toy.line->out, out3, D);
    near("output after 0", toy.line->out + D, child0, D);
    near("output after 11", toy.line->out + 2 * D, child11, D);
    assert_int_equal(toy.line->draft->ids[toy.line->top[0].output[0]], 0);
    assert_int_equal(toy.line->draft->ids[toy.line->top[1].output[0]], 0);
    assert_true(fabs(score_of(&tree, 0, 0) - -2.449566) <= 2e-6);
    assert_true(fabs(score_of(&tree, 11, 0) - -2.713522) <= 2e-6);
    propose(&toy, 4, 1, &tree);
    check_top(&toy, "probabilities after the last pair", toy.line->top, top3);
    assert_int_equal(tree.token[1], 0);
    assert_int_equal(tree.token[2], 11);
    close_toy(&toy);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_eagle__toy_head_guesses_as_the_reference),
        cmocka_unit_test(test_eagle__toy_head_of_three_taps_guesses_as_the_reference),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
