/* Packing and products: any shape, any encoding, exact values, and rows that do not depend on each other. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/num.h"
#include "quant/linear.h"

/* ------------------------------------------------------------------ an encoding whose values we know */

static struct {
    nct_unpacked u;
    const float *value, *scale, *min;
    const uint8_t *code;
} made;

static nct_status made_describe(const nct_stored *stored, nct_unpacked *u, nct_error *err) {
    (void)stored, (void)err;
    *u = made.u;
    return NCT_OK;
}

static void made_rows(const nct_stored *stored, size_t first, size_t n, float *value, uint8_t *code, float *scale, float *min) {
    size_t cols = stored->n_cols, groups = made.u.group ? nct_unpacked_groups(&made.u, cols) : 0;
    if (value)
        memcpy(value, made.value + first * cols, n * cols * sizeof *value);
    if (code)
        memcpy(code, made.code + first * cols, n * cols);
    if (scale)
        memcpy(scale, made.scale + first * groups, n * groups * sizeof *scale);
    if (min && made.u.has_min)
        memcpy(min, made.min + first * groups, n * groups * sizeof *min);
}

static const nct_codec made_codec = {.name = "made", .describe = made_describe, .rows = made_rows};

static uint32_t state_;
static uint32_t next(void) { return (state_ = state_ * 1664525u + 1013904223u) >> 8; }
static float uniform(void) { return (float)next() / 8388608.0f - 1; }

/* ------------------------------------------------------------------ shapes */

struct shape {
    nct_weight_form form;
    size_t rows, cols, group;
    int bias;
    bool has_min, wide_scale, permuted;
};

static const struct shape shapes[] = {
    {NCT_FORM_F32, 33, 70, 0, 0, false, false, false},    {NCT_FORM_F16, 16, 64, 0, 0, false, false, false},
    {NCT_FORM_BF16, 5, 7, 0, 0, false, false, false},     {NCT_FORM_CODES4, 64, 256, 128, 8, false, false, false},
    {NCT_FORM_CODES4, 40, 192, 192, 8, false, false, false}, {NCT_FORM_CODES4, 17, 96, 32, 0, true, true, false},
    {NCT_FORM_CODES4, 48, 512, 512, 8, false, false, true}, {NCT_FORM_CODES4, 16, 576, 192, 0, true, false, false},
    {NCT_FORM_CODES8, 31, 128, 32, 128, false, false, false}, {NCT_FORM_CODES8, 20, 80, 16, 32, false, true, false},
    {NCT_FORM_CODES8, 1, 33, 33, 16, false, false, false}, {NCT_FORM_CODES8, 129, 320, 64, 0, true, true, true},
    {NCT_FORM_CODES2, 50, 256, 128, 1, false, false, false}, {NCT_FORM_CODES2, 23, 200, 200, 1, false, true, false},
    {NCT_FORM_CODES2, 35, 264, 32, 1, false, false, true},
};

enum { ROWS_MAX = 300, COLS_MAX = 600, BATCH = 37 };
static float value[ROWS_MAX * COLS_MAX], scale[ROWS_MAX * COLS_MAX], min[ROWS_MAX * COLS_MAX];
static uint8_t code[ROWS_MAX * COLS_MAX];
static float x[BATCH * COLS_MAX];

/* Fills the made encoding; returns the dequantized weights in the matrix's own column order. */
static float *make(const struct shape *s, nct_stored *stored) {
    static float dense[ROWS_MAX * COLS_MAX];
    static int32_t perm[COLS_MAX];
    state_ = (uint32_t)(s->rows * 31 + s->cols);
    made.u = (nct_unpacked){.form = s->form, .group = s->group, .bias = s->bias, .has_min = s->has_min, .label = "made"};
    made.value = value, made.scale = scale, made.min = min, made.code = code;
    size_t groups = s->group ? nct_unpacked_groups(&made.u, s->cols) : 0;
    for (size_t i = 0; i < s->rows * s->cols; i++) {
        value[i] = uniform();
        if (s->form == NCT_FORM_F16)
            value[i] = nct_f16_to_f32(nct_f32_to_f16(value[i]));
        if (s->form == NCT_FORM_BF16)
            value[i] = nct_bf16_to_f32(nct_f32_to_bf16(value[i]));
        code[i] = (uint8_t)(next() % (s->form == NCT_FORM_CODES2 ? 3 : s->form == NCT_FORM_CODES4 ? 16 : 256));
    }
    for (size_t i = 0; i < s->rows * groups; i++) {
        scale[i] = s->wide_scale ? uniform() * 0.01f : nct_f16_to_f32(nct_f32_to_f16(uniform() * 0.01f));
        min[i] = uniform() * 0.1f;
    }
    for (size_t c = 0; c < s->cols; c++)
        perm[c] = (int32_t)c;
    for (size_t c = s->cols; s->permuted && c > 1; c--) {
        size_t other = next() % c;
        int32_t keep = perm[c - 1];
        perm[c - 1] = perm[other];
        perm[other] = keep;
    }
    *stored = (nct_stored){.codec = &made_codec, .name = "made", .n_rows = s->rows, .n_cols = s->cols,
                           .perm = s->permuted ? perm : NULL};
    for (size_t r = 0; r < s->rows; r++)
        for (size_t c = 0; c < s->cols; c++) {
            float w = value[r * s->cols + c];
            if (groups) {
                size_t g = r * groups + c / s->group;
                w = scale[g] * (float)(code[r * s->cols + c] - s->bias);
                if (s->has_min)
                    w += min[g];
            }
            dense[r * s->cols + (size_t)perm[c]] = w;
        }
    for (size_t i = 0; i < BATCH * s->cols; i++)
        x[i] = uniform() * 2;
    return dense;
}

struct bench {
    nct_kernels kernels;
    nct_pool *pool;
    nct_arena arena;
    nct_exec exec;
};

static void open_bench(struct bench *b, int threads, bool exact) {
    if (nct_kernels_pick(getenv("NOCTULE_ISA"), &b->kernels, NULL) == NCT_E_UNSUPPORTED)
        exit(77);
    assert_int_equal(nct_pool_open(threads, &b->pool, NULL), NCT_OK);
    assert_int_equal(nct_arena_open(&b->arena, 1 << 20, NULL), NCT_OK);
    b->exec = (nct_exec){.kernels = &b->kernels, .pool = b->pool, .scratch = &b->arena, .exact = exact};
}

static void close_bench(struct bench *b) {
    nct_arena_close(&b->arena);
    nct_pool_close(b->pool);
}

static void test_pack__rows_come_back_as_they_were(void **state) {
    (void)state;
    struct bench b;
    open_bench(&b, 2, false);
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        nct_stored stored;
        const float *dense = make(&shapes[i], &stored);
        nct_linear linear;
        assert_int_equal(nct_linear_open(&stored, b.pool, &linear, NULL), NCT_OK);
        if (nct_is_coded(linear.panels.kind)) {
            assert_int_equal(linear.panels.scale_f32, shapes[i].wide_scale);
            assert_true(linear.panels.group <= NCT_GROUP_MAX);
        }
        float row[COLS_MAX], scratch[COLS_MAX];
        for (size_t r = 0; r < shapes[i].rows; r++) {
            nct_linear_row(&linear, r, row, scratch);
            assert_memory_equal(row, dense + r * shapes[i].cols, shapes[i].cols * sizeof *row);
        }
        nct_linear_close(&linear);
    }
    close_bench(&b);
}

static void test_pack__ternary_floats_take_two_bits_and_lose_nothing(void **state) {
    (void)state;
    static const struct {
        size_t cols, group;
        const char *label;
    } cases[] = {{384, 128, "ternary g128"}, {520, 520, "ternary row"}, {96, 32, "ternary g32"}};
    struct bench b;
    open_bench(&b, 2, false);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        enum { ROWS = 41 };
        nct_stored stored;
        make(&(struct shape){NCT_FORM_BF16, ROWS, cases[i].cols, 0, 0, false, false, false}, &stored);
        float s = 0;
        for (size_t k = 0; k < ROWS * cases[i].cols; k++) {
            if (k % cases[i].cols % cases[i].group == 0)
                s = nct_bf16_to_f32(nct_f32_to_bf16(uniform() * 0.03f));
            value[k] = (float)((int)(next() % 3) - 1) * s;
        }
        nct_linear linear;
        assert_int_equal(nct_linear_open(&stored, b.pool, &linear, NULL), NCT_OK);
        assert_int_equal(linear.panels.kind, NCT_PANEL_CODES2);
        assert_string_equal(linear.label, cases[i].label);
        float row[COLS_MAX];
        for (size_t r = 0; r < ROWS; r++) {
            nct_linear_row(&linear, r, row, NULL);
            for (size_t c = 0; c < cases[i].cols; c++)
                assert_true(row[c] == value[r * cases[i].cols + c]);
        }
        nct_linear_close(&linear);
        value[stored.n_cols + 3] = 0.5f; /* two magnitudes in a group: floats stay floats */
        value[stored.n_cols + 4] = 0.25f;
        assert_int_equal(nct_linear_open(&stored, b.pool, &linear, NULL), NCT_OK);
        assert_int_equal(linear.panels.kind, NCT_PANEL_BF16);
        nct_linear_close(&linear);
    }
    close_bench(&b);
}

static void test_linear__products_are_right_in_both_modes(void **state) {
    (void)state;
    for (int exact = 0; exact < 2; exact++) {
        struct bench b;
        open_bench(&b, 2, exact);
        for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
            const struct shape *s = &shapes[i];
            nct_stored stored;
            const float *dense = make(s, &stored);
            nct_linear linear;
            static float y[BATCH * ROWS_MAX];
            assert_int_equal(nct_linear_open(&stored, b.pool, &linear, NULL), NCT_OK);
            nct_linear_run(&b.exec, &(nct_linear_job){&linear, x, s->cols, y, s->rows, NULL}, 1, BATCH);
            bool quantized = !exact && s->group;
            for (size_t t = 0; t < BATCH; t++)
                for (size_t r = 0; r < s->rows; r++) {
                    double sum = 0, bound = 0;
                    for (size_t c = 0; c < s->cols; c++) {
                        double w = dense[r * s->cols + c], a = x[t * s->cols + c];
                        sum += w * a;
                        /* an activation is off by at most half a step of its group, whose amax is below 2 */
                        bound += quantized ? fabs(w) * (1.0 / 127) : fabs(w * a) * 1e-5;
                    }
                    assert_true(fabs(y[t * s->rows + r] - sum) <= bound + 1e-6);
                }
            nct_linear_close(&linear);
        }
        close_bench(&b);
    }
}

static void test_linear__a_row_has_the_same_bits_alone_and_in_company(void **state) {
    (void)state;
    for (int exact = 0; exact < 2; exact++)
        for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
            const struct shape *s = &shapes[i];
            nct_stored stored;
            make(s, &stored);
            static float all[BATCH * ROWS_MAX], some[BATCH * ROWS_MAX];
            static const size_t sizes[] = {1, 2, 3, 8, 16, 17};
            struct bench b;
            nct_linear linear;
            open_bench(&b, 1, exact);
            assert_int_equal(nct_linear_open(&stored, b.pool, &linear, NULL), NCT_OK);
            nct_linear_run(&b.exec, &(nct_linear_job){&linear, x, s->cols, all, s->rows, NULL}, 1, BATCH);
            close_bench(&b);
            open_bench(&b, 3, exact);
            for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++)
                for (size_t t = 0; t < BATCH; t += sizes[k]) {
                    size_t n = BATCH - t < sizes[k] ? BATCH - t : sizes[k];
                    nct_linear_run(&b.exec, &(nct_linear_job){&linear, x + t * s->cols, s->cols, some + t * s->rows, s->rows, NULL}, 1, n);
                    assert_memory_equal(some + t * s->rows, all + t * s->rows, n * s->rows * sizeof *all);
                }
            nct_linear_close(&linear);
            close_bench(&b);
        }
}

/* Panels cut over nodes, each part in memory of its own, packed or copied from where they lay. */
static void test_linear__shards_have_the_bits_of_the_whole(void **state) {
    (void)state;
    static const int threads[] = {1, 2, 5};
    static float whole[BATCH * ROWS_MAX], sharded[BATCH * ROWS_MAX];
    static const size_t sizes[] = {1, 4, BATCH};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (size_t k = 0; k < 3 * 3; k++) {
            const struct shape *s = &shapes[i];
            nct_stored stored;
            struct bench b;
            nct_linear packed, copied;
            nct_nodes nodes;
            make(s, &stored);
            open_bench(&b, 1, false);
            assert_int_equal(nct_linear_open(&stored, b.pool, &packed, NULL), NCT_OK);
            nct_linear_run(&b.exec, &(nct_linear_job){&packed, x, s->cols, whole, s->rows, NULL}, 1, sizes[k / 3]);
            nct_pool_close(b.pool);
            nct_nodes_detect(2 + (int)i % 2, &nodes);
            nodes.bound = true;
            nct_pool_options options = {.n_threads = threads[k % 3], .nodes = &nodes};
            assert_int_equal(nct_pool_open_as(&options, &b.pool, NULL), NCT_OK);
            b.exec.pool = b.pool;
            nct_linear_job job = {&packed, x, s->cols, sharded, s->rows, NULL};
            nct_linear_run(&b.exec, &job, 1, sizes[k / 3]);
            assert_memory_equal(sharded, whole, sizes[k / 3] * s->rows * sizeof *whole);
            /* as a bundle holds them */
            nct_ready_panels ready = {.panels = packed.panels, .label = "ready"};
            nct_stored lying = {.codec = &nct_codec_panels,
                                .name = "lying",
                                .n_rows = s->rows,
                                .n_cols = s->cols,
                                .perm = stored.perm,
                                .more = &ready};
            lying.part[0].data = ready.panels.data;
            lying.part[0].n_bytes = nct_panels_bytes(&ready.panels);
            if (packed.panels.n_groups > 1 && packed.panels.group % 16) {
                nct_linear_close(&packed); /* no bundle holds such groups */
                close_bench(&b);
                continue;
            }
            assert_int_equal(nct_linear_open(&lying, b.pool, &copied, NULL), NCT_OK);
            assert_int_equal(copied.copied, threads[k % 3] > 1);
            assert_int_equal(copied.panels.data != packed.panels.data, copied.copied);
            if (copied.copied)
                memset(packed.panels.data, 0xff,
                       nct_panels_bytes(&packed.panels)); /* what was copied is not read again */
            memset(sharded, 0, sizeof sharded);
            job.linear = &copied;
            nct_linear_run(&b.exec, &job, 1, sizes[k / 3]);
            assert_memory_equal(sharded, whole, sizes[k / 3] * s->rows * sizeof *whole);
            nct_linear_close(&copied);
            nct_linear_close(&packed);
            close_bench(&b);
        }
}

/* Codes of 2 bits pad a last group of 40 to 48 columns, others do not: then they cannot share an input. */
static void test_linear__jobs_of_one_call_equal_calls_of_their_own(void **state) {
    (void)state;
    struct bench b;
    open_bench(&b, 2, false);
    nct_stored stored;
    nct_linear coded, wide, two, four;
    static float y1[BATCH * ROWS_MAX], y2[BATCH * ROWS_MAX], y3[BATCH * ROWS_MAX], y4[BATCH * ROWS_MAX];
    static float alone[BATCH * ROWS_MAX];
    make(&(struct shape){NCT_FORM_CODES2, 40, 168, 128, 1, false, false, false}, &stored);
    assert_int_equal(nct_linear_open(&stored, b.pool, &two, NULL), NCT_OK);
    make(&(struct shape){NCT_FORM_CODES4, 40, 168, 128, 8, false, false, false}, &stored);
    assert_int_equal(nct_linear_open(&stored, b.pool, &four, NULL), NCT_OK);
    make(&(struct shape){NCT_FORM_CODES4, 64, 256, 128, 8, false, false, false}, &stored);
    assert_int_equal(nct_linear_open(&stored, b.pool, &coded, NULL), NCT_OK);
    make(&(struct shape){NCT_FORM_CODES4, 48, 256, 128, 8, false, false, true}, &stored);
    assert_int_equal(nct_linear_open(&stored, b.pool, &wide, NULL), NCT_OK);
    nct_linear_job jobs[] = {{&coded, x, 256, y1, 64, NULL}, {&wide, x, 256, y2, 48, NULL}, {&two, x, 256, y3, 40, NULL}, {&four, x, 256, y4, 40, NULL}};
    nct_linear_run(&b.exec, jobs, 4, 9);
    for (size_t j = 0; j < 4; j++) {
        nct_linear_job job = jobs[j];
        job.y = alone;
        nct_linear_run(&b.exec, &job, 1, 9);
        assert_memory_equal(alone, jobs[j].y, 9 * jobs[j].y_stride * sizeof *alone);
    }
    nct_linear_close(&coded);
    nct_linear_close(&wide);
    nct_linear_close(&two);
    nct_linear_close(&four);
    close_bench(&b);
}

/* Gate, up and down in one go, on any mix of encodings, against the four steps one after the other. */
static void test_linear__a_gated_branch_has_the_bits_of_its_parts(void **state) {
    (void)state;
    enum { HIDDEN = 300, OUT = 40, IN = 168 }; /* whole tasks, then a short one whose last panel and group are short */
    static const struct shape gates[] = {
        {NCT_FORM_CODES4, HIDDEN, IN, 128, 8, false, false, false}, {NCT_FORM_CODES8, HIDDEN, IN, 32, 128, true, true, true},
        {NCT_FORM_CODES2, HIDDEN, IN, 128, 1, false, false, false}};
    static const struct shape downs[] = {
        {NCT_FORM_CODES4, OUT, HIDDEN, 128, 8, false, false, false}, {NCT_FORM_CODES4, OUT, HIDDEN, 32, 0, true, false, false},
        {NCT_FORM_CODES8, OUT, HIDDEN, 64, 128, false, false, false}, {NCT_FORM_CODES2, OUT, HIDDEN, 128, 1, false, false, false}};
    static const size_t sizes[] = {1, 4, BATCH};
    static float gate_y[BATCH * HIDDEN], up_y[BATCH * HIDDEN], parts[BATCH * OUT], whole[BATCH * OUT];
    for (size_t i = 0; i < 3 * 4 * 3 * 3; i++) {
        const struct shape *g = &gates[i % 3], *d = &downs[i / 3 % 4];
        size_t n = sizes[i / 12 % 3];
        int threads[] = {1, 2, 5};
        struct bench b;
        nct_stored stored;
        nct_linear gate, up, down;
        open_bench(&b, threads[i / 36], false);
        make(g, &stored);
        assert_int_equal(nct_linear_open(&stored, b.pool, &gate, NULL), NCT_OK);
        make(&gates[0], &stored);
        assert_int_equal(nct_linear_open(&stored, b.pool, &up, NULL), NCT_OK);
        make(d, &stored);
        assert_int_equal(nct_linear_open(&stored, b.pool, &down, NULL), NCT_OK);
        nct_linear_job gate_up[] = {{&gate, x, IN, gate_y, HIDDEN, NULL}, {&up, x, IN, up_y, HIDDEN, NULL}};
        nct_linear_job last = {&down, gate_y, HIDDEN, parts, OUT, NULL};
        nct_linear_run(&b.exec, gate_up, 2, n);
        for (size_t t = 0; t < n; t++)
            b.kernels.swiglu(gate_y + t * HIDDEN, up_y + t * HIDDEN, HIDDEN, gate_y + t * HIDDEN);
        nct_linear_run(&b.exec, &last, 1, n);
        gate_up[0].y = gate_up[1].y = NULL;
        last.x = NULL;
        last.y = whole;
        assert_true(nct_linear_gates(&b.exec, &gate, &up, &down));
        assert_true(nct_linear_gated_scratch_bytes(&gate, &up, &down, n, threads[i / 36]) <= 1 << 20);
        nct_linear_run_gated(&b.exec, gate_up, &last, n);
        assert_memory_equal(whole, parts, n * OUT * sizeof *whole);
        b.exec.exact = true;
        assert_false(nct_linear_gates(&b.exec, &gate, &up, &down));
        nct_linear_close(&gate);
        nct_linear_close(&up);
        nct_linear_close(&down);
        close_bench(&b);
    }
}

/* Rows of a matrix as a matrix of its own: their values, and their products to the bit. */
static void test_linear__gathered_rows_are_the_rows(void **state) {
    (void)state;
    for (int exact = 0; exact < 2; exact++)
        for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
            const struct shape *s = &shapes[i];
            static float all[BATCH * ROWS_MAX], some[BATCH * ROWS_MAX], a[COLS_MAX], b[COLS_MAX], scratch[COLS_MAX];
            int32_t row[ROWS_MAX];
            size_t n = 1 + s->rows * 2 / 3;
            nct_stored stored;
            nct_linear whole, part;
            struct bench bench;
            make(s, &stored);
            for (size_t r = 0; r < n; r++)
                row[r] = (int32_t)((r * 37 + 5) % s->rows);
            open_bench(&bench, 2, exact);
            assert_int_equal(nct_linear_open(&stored, bench.pool, &whole, NULL), NCT_OK);
            assert_int_equal(nct_linear_gather(&whole, row, n, bench.pool, &part, NULL), NCT_OK);
            assert_string_equal(part.label, whole.label);
            assert_int_equal(part.panels.n_rows, n);
            nct_linear_run(&bench.exec, &(nct_linear_job){&whole, x, s->cols, all, s->rows, NULL}, 1, BATCH);
            nct_linear_run(&bench.exec, &(nct_linear_job){&part, x, s->cols, some, n, NULL}, 1, BATCH);
            for (size_t r = 0; r < n; r++) {
                nct_linear_row(&whole, (size_t)row[r], a, scratch);
                nct_linear_row(&part, r, b, scratch);
                assert_memory_equal(a, b, s->cols * sizeof *a);
                for (size_t t = 0; t < BATCH; t++)
                    assert_memory_equal(&some[t * n + r], &all[t * s->rows + (size_t)row[r]], sizeof *all);
            }
            nct_linear_close(&whole);
            nct_linear_close(&part);
            close_bench(&bench);
        }
}

struct pieces {
    float *y;
    size_t n_rows, n_outputs;
    atomic_int seen[8];
};

static void take_piece(void *context, size_t piece, int worker, const float *y, size_t y_stride, size_t first, size_t n) {
    struct pieces *p = context;
    assert_in_range(worker, 0, 2);
    assert_int_equal(first, piece * NCT_LINEAR_PIECE);
    atomic_fetch_add(&p->seen[piece], 1);
    for (size_t t = 0; t < p->n_rows; t++)
        memcpy(p->y + t * p->n_outputs + first, y + t * y_stride, n * sizeof *y);
}

static void test_linear__pieces_have_the_bits_of_the_whole(void **state) {
    (void)state;
    static const struct shape large[] = {
        {NCT_FORM_F32, 1000, 70, 0, 0, false, false, false},    {NCT_FORM_BF16, 385, 64, 0, 0, false, false, false},
        {NCT_FORM_CODES4, 768, 96, 32, 8, false, false, true},  {NCT_FORM_CODES4, 17, 96, 32, 0, true, true, false},
        {NCT_FORM_CODES8, 384, 128, 64, 128, false, false, false}};
    static float whole[BATCH * 1000], y[BATCH * 1000];
    static const size_t sizes[] = {1, 5, BATCH};
    for (size_t i = 0; i < 2 * sizeof large / sizeof *large; i++)
        for (size_t k = 0; k < 3; k++) {
            const struct shape *s = &large[i / 2];
            nct_stored stored;
            nct_linear linear;
            struct bench b;
            struct pieces p = {.y = y, .n_rows = sizes[k], .n_outputs = s->rows};
            make(s, &stored);
            open_bench(&b, 3, i % 2);
            assert_int_equal(nct_linear_open(&stored, b.pool, &linear, NULL), NCT_OK);
            nct_linear_run(&b.exec, &(nct_linear_job){&linear, x, s->cols, whole, s->rows, NULL}, 1, sizes[k]);
            memset(y, 0xff, sizeof y);
            b.arena.peak = 0;
            nct_linear_run_pieces(&b.exec, &linear, x, s->cols, sizes[k], take_piece, &p);
            assert_true(b.arena.peak <= nct_linear_piece_bytes(&linear, sizes[k], 3));
            assert_int_equal(b.arena.used, 0);
            assert_memory_equal(y, whole, sizes[k] * s->rows * sizeof *y);
            for (size_t j = 0; j < 8; j++)
                assert_int_equal(p.seen[j], j < nct_linear_pieces(s->rows));
            nct_linear_close(&linear);
            close_bench(&b);
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pack__rows_come_back_as_they_were),
        cmocka_unit_test(test_pack__ternary_floats_take_two_bits_and_lose_nothing),
        cmocka_unit_test(test_linear__products_are_right_in_both_modes),
        cmocka_unit_test(test_linear__a_row_has_the_same_bits_alone_and_in_company),
        cmocka_unit_test(test_linear__shards_have_the_bits_of_the_whole),
        cmocka_unit_test(test_linear__jobs_of_one_call_equal_calls_of_their_own),
        cmocka_unit_test(test_linear__a_gated_branch_has_the_bits_of_its_parts),
        cmocka_unit_test(test_linear__gathered_rows_are_the_rows),
        cmocka_unit_test(test_linear__pieces_have_the_bits_of_the_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
