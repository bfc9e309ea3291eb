/* Quantized rows and integer products: every rung against the definition. */
#include "kernel/made.h"

enum { ROWS = 101 }; /* more than any rung's kernels ask for before they turn to their way for many rows */

static const made_shape shapes[] = {
    {NCT_PANEL_CODES4, 16, 128, 128, 8, false, false, -1},  {NCT_PANEL_CODES4, 160, 256, 128, 8, false, false, -1},
    {NCT_PANEL_CODES4, 83, 96, 32, 8, false, false, -1},    {NCT_PANEL_CODES4, 97, 200, 64, 0, true, false, -1},
    {NCT_PANEL_CODES4, 65, 77, 16, 0, true, true, -1},      {NCT_PANEL_CODES4, 7, 192, 192, 8, false, true, -1},
    {NCT_PANEL_CODES4, 50, 389, 128, 7, false, false, -1},  {NCT_PANEL_CODES4, 33, 1, 128, 8, true, false, -1},
    {NCT_PANEL_CODES4, 31, 45, 20, 3, true, false, -1},     {NCT_PANEL_CODES4, 48, 2176, 128, 8, false, false, -1},
    {NCT_PANEL_CODES4, 129, 1100, 32, 8, false, false, -1}, {NCT_PANEL_CODES4, 61, 1100, 128, 8, true, false, -1},
    {NCT_PANEL_CODES4, 32, 256, 128, 0, false, false, 15},
    {NCT_PANEL_CODES4, 32, 256, 128, 15, false, false, 0},  {NCT_PANEL_CODES4, 20, 40, 8, 8, true, true, -1},
    {NCT_PANEL_CODES8, 16, 128, 128, 128, false, false, -1}, {NCT_PANEL_CODES8, 160, 256, 32, 128, false, false, -1},
    {NCT_PANEL_CODES8, 83, 96, 16, 32, false, false, -1},   {NCT_PANEL_CODES8, 97, 200, 64, 0, true, false, -1},
    {NCT_PANEL_CODES8, 7, 192, 192, 128, false, true, -1},  {NCT_PANEL_CODES8, 50, 389, 128, 16, true, true, -1},
    {NCT_PANEL_CODES8, 33, 1, 32, 128, false, false, -1},   {NCT_PANEL_CODES8, 31, 45, 20, 3, true, false, -1},
    {NCT_PANEL_CODES8, 48, 2176, 128, 128, false, false, -1}, {NCT_PANEL_CODES8, 32, 256, 128, 0, false, false, 255},
    {NCT_PANEL_CODES8, 32, 256, 128, 255, false, false, 0}, {NCT_PANEL_CODES8, 32, 256, 128, 128, false, false, 0},
    {NCT_PANEL_CODES2, 16, 128, 128, 1, false, false, -1},  {NCT_PANEL_CODES2, 160, 256, 128, 1, false, false, -1},
    {NCT_PANEL_CODES2, 83, 96, 32, 1, false, true, -1},     {NCT_PANEL_CODES2, 97, 200, 64, 0, true, false, -1},
    {NCT_PANEL_CODES2, 7, 192, 192, 1, false, true, -1},    {NCT_PANEL_CODES2, 50, 389, 128, 1, false, false, -1},
    {NCT_PANEL_CODES2, 33, 1, 128, 1, true, false, -1},     {NCT_PANEL_CODES2, 31, 45, 20, 2, true, false, -1},
    {NCT_PANEL_CODES2, 48, 2176, 128, 1, false, false, -1}, {NCT_PANEL_CODES2, 129, 1100, 32, 1, false, false, -1},
    {NCT_PANEL_CODES2, 32, 256, 128, 0, false, false, 3},   {NCT_PANEL_CODES2, 20, 40, 8, 1, true, true, -1},
};
enum { N_SHAPES = sizeof shapes / sizeof *shapes };

static const char *shape_text(const nct_kernels *k, const made_shape *s) {
    static char text[128];
    snprintf(text, sizeof text, "%s, codes%d %zux%zu group %zu bias %d%s%s", k->isa, nct_code_bits(s->kind),
             s->n_rows, s->n_cols, s->group, s->bias, s->has_min ? " min" : "", s->scale_f32 ? " f32" : "");
    return text;
}

static nct_matmul_codes_fn *product_of(const nct_kernels *k, const made_shape *s) {
    return s->kind == NCT_PANEL_CODES2   ? k->matmul_codes2
           : s->kind == NCT_PANEL_CODES4 ? k->matmul_codes4
                                         : k->matmul_codes8;
}

/* Ordinary rows, and the first few at the edges of what a float can be. */
static float *make_rows(size_t n_rows, size_t n) {
    float *x = made_floats(n_rows * n);
    for (size_t i = 0; i < n; i++) {
        x[i] = 0;
        x[n + i] = i % 2 ? 1.0f : -1.0f; /* every q is +-127 */
        x[2 * n + i] = 3.0f;
        x[3 * n + i] = (float)((int)(i % 255) - 127) * 0.5f; /* halves: ties to even */
        x[4 * n + i] *= i % 16 < 8 ? 1e-6f : 1e4f;
    }
    return x;
}

/* ------------------------------------------------------------------ quantize */

static void check_quantize(const nct_kernels *ref, const nct_kernels *k) {
    for (size_t i = 0; i < N_SHAPES; i++) {
        made_matrix m;
        made_matrix_open(&m, &shapes[i]);
        size_t n = m.w.n_cols;
        nct_qrows a, b;
        made_qrows_open(&a, &m.w, ROWS);
        made_qrows_open(&b, &m.w, ROWS);
        float *x = make_rows(ROWS, n);
        for (size_t c = 0; c < n; c++) { /* what no model should produce, but a broken one may */
            x[5 * n + c] *= 1e-44f;
            x[6 * n + c] *= 1e37f;
            x[7 * n + c] = c % 3 ? x[7 * n + c] : NAN;
            x[8 * n + c] = c % 5 ? x[8 * n + c] : -INFINITY;
            x[9 * n + c] = NAN;
            x[10 * n + c] *= 1e-38f;
        }
        for (size_t t = 0; t < ROWS; t++) {
            float *row = made_room(n, sizeof *row);
            memcpy(row, x + t * n, n * sizeof *row);
            ref->quantize(&m.w, row, &a, t, 0, m.w.n_groups);
            size_t part = t % (m.w.n_groups + 1); /* in two parts, in either order */
            for (size_t half = t % 2, n_done = 0; n_done < 2; half = !half, n_done++) {
                size_t from = half ? part : 0, to = half ? m.w.n_groups : part;
                if (from < to)
                    k->quantize(&m.w, row + from * m.w.group, &b, t, from, to);
            }
            free(row);
        }
        for (size_t t = 0; t < ROWS; t++)
            for (size_t c = 0; c < a.q_stride; c++)
                if (a.q[t * a.q_stride + c] != b.q[t * a.q_stride + c])
                    fail_msg("%s: row %zu, column %zu is %d, expected %d", shape_text(k, &shapes[i]), t, c,
                             b.q[t * a.q_stride + c], a.q[t * a.q_stride + c]);
        nct_test_same_bits(shape_text(k, &shapes[i]), b.scale, a.scale, ROWS * a.n_groups);
        assert_memory_equal(a.sum, b.sum, ROWS * a.n_groups * sizeof *a.sum);
        free(x);
        made_qrows_close(&a);
        made_qrows_close(&b);
        made_matrix_close(&m);
    }
}

static void test_quantize__gives_the_same_integers_on_every_rung(void **state) {
    (void)state;
    each_rung(check_quantize);
}

static void test_quantize__rounds_halves_to_even_and_reaches_127(void **state) {
    (void)state;
    nct_kernels k;
    assert_int_equal(nct_kernels_pick(nct_test_isa(), &k, NULL), NCT_OK);
    made_matrix m;
    made_matrix_open(&m, &(made_shape){NCT_PANEL_CODES4, 16, 8, 8, 8, false, false, -1});
    nct_qrows q;
    made_qrows_open(&q, &m.w, 1);
    float x[8] = {127, -127, 0.5f, 1.5f, 2.5f, -0.5f, -1.5f, 126.5f};
    k.quantize(&m.w, x, &q, 0, 0, m.w.n_groups);
    static const int8_t expected[8] = {127, -127, 0, 2, 2, 0, -2, 126};
    assert_memory_equal(q.q, expected, 8);
    assert_int_equal(q.sum[0], 128);
    assert_true(q.scale[0] == 1.0f);
    made_qrows_close(&q);
    made_matrix_close(&m);
}

/* ------------------------------------------------------------------ products */

/* The bound of the contract: each of n terms and their sum round once more or less. */
static void check_near(const char *what, const made_matrix *m, const nct_qrows *q, const float *y, const float *y_ref,
                       size_t n_rows, size_t y_stride) {
    const nct_panels *w = &m->w;
    for (size_t t = 0; t < n_rows; t++)
        for (size_t o = 0; o < w->n_rows; o++) {
            double terms = 0;
            for (size_t g = 0; g < w->n_groups; g++) {
                int64_t isum = 0;
                for (size_t i = 0; i < nct_group_size(w, g); i++)
                    isum += (m->code[o * w->n_cols + g * w->group + i] - w->bias) *
                            q->q[t * q->q_stride + nct_group_start(w, g) + i];
                double as = q->scale[t * q->n_groups + g];
                terms += fabs(m->scale[o * w->n_groups + g] * as * (double)isum);
                terms += fabs(m->min[o * w->n_groups + g] * as * q->sum[t * q->n_groups + g]);
            }
            double n = (double)w->n_groups * (w->has_min ? 2 : 1);
            nct_test_near(what, y + t * y_stride + o, y_ref + t * y_stride + o, 1, (n + 2) * 0x1p-24 * terms);
        }
}

static void check_products(const nct_kernels *ref, const nct_kernels *k) {
    for (size_t i = 0; i < N_SHAPES; i++) {
        const made_shape *s = &shapes[i];
        const char *what = shape_text(k, s);
        made_matrix m;
        made_matrix_open(&m, s);
        nct_qrows q;
        made_qrows_open(&q, &m.w, ROWS);
        float *x = make_rows(ROWS, s->n_cols);
        for (size_t t = 0; t < ROWS; t++)
            ref->quantize(&m.w, x + t * s->n_cols, &q, t, 0, m.w.n_groups);
        size_t y_stride = s->n_rows + 19, size = ROWS * y_stride, n_panels = m.w.n_panels;
        float *y_ref = made_room(size, sizeof *y_ref), *single = made_room(size, sizeof *single);
        float *y = made_room(size, sizeof *y);

        guard(y_ref, size);
        product_of(ref, s)(&m.w, &q, ROWS, y_ref, y_stride, 0, n_panels);
        guard(single, size);
        for (size_t t = 0; t < ROWS; t++) { /* each row alone */
            nct_qrows one = {.q = q.q + t * q.q_stride, .scale = q.scale + t * q.n_groups, .sum = q.sum + t * q.n_groups,
                             .q_stride = q.q_stride, .n_groups = q.n_groups};
            product_of(k, s)(&m.w, &one, 1, single + t * y_stride, y_stride, 0, n_panels);
        }
        assert_written(what, single, ROWS, y_stride, 0, s->n_rows);
        check_near(what, &m, &q, single, y_ref, ROWS, y_stride);
        nct_kernels lowest; /* rungs above ref agree in every bit */
        if (k->isa != ref->isa && nct_kernels_pick(nct_kernels_rung(1), &lowest, NULL) == NCT_OK) {
            product_of(&lowest, s)(&m.w, &q, ROWS, y, y_stride, 0, n_panels);
            for (size_t t = 0; t < ROWS; t++)
                nct_test_same_bits(what, y + t * y_stride, single + t * y_stride, s->n_rows);
        }

        static const size_t batches[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 31, 33, 37, ROWS};
        for (size_t b = 0; b < sizeof batches / sizeof *batches; b++) { /* together, panels cut anywhere */
            size_t n = batches[b];
            for (size_t cut = 0; cut <= n_panels; cut += n > 40 ? n_panels : n_panels > 4 ? 3 : 1) {
                guard(y, size);
                product_of(k, s)(&m.w, &q, n, y, y_stride, cut, n_panels);
                size_t from = cut * NCT_PANEL < s->n_rows ? cut * NCT_PANEL : s->n_rows;
                assert_written(what, y, n, y_stride, from, s->n_rows);
                product_of(k, s)(&m.w, &q, n, y, y_stride, 0, cut);
                assert_written(what, y, n, y_stride, 0, s->n_rows);
                assert_written(what, y + n * y_stride, ROWS - n, y_stride, 0, 0);
                for (size_t t = 0; t < n; t++)
                    nct_test_same_bits(what, y + t * y_stride, single + t * y_stride, s->n_rows);
            }
        }
        free(x);
        free(y);
        free(y_ref);
        free(single);
        made_qrows_close(&q);
        made_matrix_close(&m);
    }
}

static void test_matmul_codes__is_near_ref_and_blind_to_neighbours(void **state) {
    (void)state;
    each_rung(check_products);
}

/* Codes that fill more than one slab of any rung, groups that end early, rows that fill tiles and rows left over. */
static void check_many_rows(const nct_kernels *ref, const nct_kernels *k) {
    static const made_shape many[] = {
        {NCT_PANEL_CODES4, 150, 1152, 128, 8, false, false, -1}, {NCT_PANEL_CODES4, 72, 1100, 128, 8, true, true, -1},
        {NCT_PANEL_CODES4, 64, 1088, 128, 0, false, true, -1},   {NCT_PANEL_CODES4, 128, 640, 64, 8, false, false, -1},
        {NCT_PANEL_CODES4, 70, 700, 32, 8, true, false, -1},     {NCT_PANEL_CODES4, 64, 600, 40, 15, false, false, -1},
        {NCT_PANEL_CODES8, 150, 1152, 128, 128, false, false, -1}, {NCT_PANEL_CODES8, 64, 700, 96, 3, false, true, -1},
        {NCT_PANEL_CODES8, 64, 640, 32, 128, true, false, -1},   {NCT_PANEL_CODES2, 130, 1152, 128, 1, false, false, -1},
        {NCT_PANEL_CODES2, 64, 600, 64, 1, false, true, -1},
    };
    enum { MOST = 529 };
    static const size_t batches[] = {1, 15, 16, 17, 32, 33, 48, 64, 79, 512, MOST};
    nct_kernels lowest;
    if (k->isa == ref->isa || nct_kernels_pick(nct_kernels_rung(1), &lowest, NULL) != NCT_OK)
        return;
    for (size_t i = 0; i < sizeof many / sizeof *many; i++) {
        const made_shape *s = &many[i];
        const char *what = shape_text(k, s);
        made_matrix m;
        made_matrix_open(&m, s);
        nct_qrows q;
        made_qrows_open(&q, &m.w, MOST);
        float *x = made_floats(MOST * s->n_cols);
        for (size_t t = 0; t < MOST; t++)
            k->quantize(&m.w, x + t * s->n_cols, &q, t, 0, m.w.n_groups);
        const size_t size = MOST * s->n_rows;
        float *y = made_room(size, sizeof *y), *expected = made_room(size, sizeof *y);
        product_of(&lowest, s)(&m.w, &q, MOST, expected, s->n_rows, 0, m.w.n_panels);
        for (size_t b = 0; b < sizeof batches / sizeof *batches; b++) {
            size_t n = batches[b];
            guard(y, size);
            product_of(k, s)(&m.w, &q, n, y, s->n_rows, 0, m.w.n_panels);
            nct_test_same_bits(what, y, expected, n * s->n_rows);
            assert_written(what, y + n * s->n_rows, MOST - n, s->n_rows, 0, 0);
        }
        free(x);
        free(y);
        free(expected);
        made_qrows_close(&q);
        made_matrix_close(&m);
    }
}

static void test_matmul_codes__many_rows_have_the_bits_of_the_lowest_rung(void **state) {
    (void)state;
    each_rung(check_many_rows);
}

static size_t padded_column(const nct_panels *w, size_t column) {
    return nct_group_start(w, column / w->group) + column % w->group;
}

/* With scales of one the float sums are whole numbers, so nothing may differ at all. */
static void check_integers_of(const nct_kernels *k, const made_shape *s) {
    made_matrix m;
    made_matrix_open(&m, s);
    for (size_t p = 0; p < m.w.n_panels; p++)
        for (size_t i = 0; i < m.w.n_groups * NCT_PANEL; i++)
            ((float *)(void *)(m.w.data + p * m.w.panel_bytes + m.w.scale_off))[i] = 1;
    enum { N = 17 };
    nct_qrows q;
    made_qrows_open(&q, &m.w, N);
    memset(q.q, 0, N * q.q_stride);
    float *y = made_room(N * s->n_rows, sizeof *y);
    for (size_t t = 0; t < N; t++) {
        for (size_t g = 0; g < m.w.n_groups; g++) {
            q.scale[t * q.n_groups + g] = 1;
            q.sum[t * q.n_groups + g] = 0;
        }
        for (size_t i = 0; i < s->n_cols; i++) {
            int v = t == 0 ? 127 : t == 1 ? -127 : t == 2 ? (i % 2 ? 127 : -127) : (int)(made_next() % 255) - 127;
            q.q[t * q.q_stride + padded_column(&m.w, i)] = (int8_t)v;
            q.sum[t * q.n_groups + i / s->group] += v;
        }
    }
    for (size_t n = 1; n <= N; n += 4) {
        product_of(k, s)(&m.w, &q, n, y, s->n_rows, 0, m.w.n_panels);
        for (size_t t = 0; t < n; t++)
            for (size_t o = 0; o < s->n_rows; o++) {
                int32_t sum = 0;
                for (size_t i = 0; i < s->n_cols; i++)
                    sum += (m.code[o * s->n_cols + i] - s->bias) * q.q[t * q.q_stride + padded_column(&m.w, i)];
                if (y[t * s->n_rows + o] != (float)sum)
                    fail_msg("%s: row %zu, output %zu is %g, expected %d", shape_text(k, s), t, o,
                             (double)y[t * s->n_rows + o], (int)sum);
            }
    }
    free(y);
    made_qrows_close(&q);
    made_matrix_close(&m);
}

static void check_integers(const nct_kernels *ref, const nct_kernels *k) {
    (void)ref;
    static const int codes[] = {-1, 0, 2, 3, 15, 127, 128, 129, 255};
    for (size_t c = 0; c < sizeof codes / sizeof *codes; c++)
        for (size_t group = 40; group <= 128; group += 8) { /* 16-bit sums are emptied in time whatever is left over */
            made_shape s = {NCT_PANEL_CODES8, 40, 2 * group, group, 128, false, true, codes[c]};
            check_integers_of(k, &s);
            s.kind = NCT_PANEL_CODES4;
            s.bias = 8;
            if (codes[c] <= 15)
                check_integers_of(k, &s);
            s.kind = NCT_PANEL_CODES2;
            s.bias = 1;
            if (codes[c] <= 3)
                check_integers_of(k, &s);
        }
}

static void test_matmul_codes__sums_integers_exactly_at_the_extremes(void **state) {
    (void)state;
    each_rung(check_integers);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_quantize__gives_the_same_integers_on_every_rung),
        cmocka_unit_test(test_quantize__rounds_halves_to_even_and_reaches_127),
        cmocka_unit_test(test_matmul_codes__is_near_ref_and_blind_to_neighbours),
        cmocka_unit_test(test_matmul_codes__many_rows_have_the_bits_of_the_lowest_rung),
        cmocka_unit_test(test_matmul_codes__sums_integers_exactly_at_the_extremes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
