/* Products in float arithmetic, with weights of every panel kind: every rung against the definition. */
#include "kernel/made.h"

enum { ROWS = 33 };

static const made_shape shapes[] = {
    {NCT_PANEL_F32, 16, 64, 0, 0, false, false, -1},         {NCT_PANEL_F32, 85, 37, 0, 0, false, false, -1},
    {NCT_PANEL_F32, 3, 1, 0, 0, false, false, -1},           {NCT_PANEL_F32, 129, 1031, 0, 0, false, false, -1},
    {NCT_PANEL_F16, 64, 64, 0, 0, false, false, -1},         {NCT_PANEL_F16, 90, 37, 0, 0, false, false, -1},
    {NCT_PANEL_F16, 25, 515, 0, 0, false, false, -1},        {NCT_PANEL_F16, 1, 7, 0, 0, false, false, -1},
    {NCT_PANEL_BF16, 64, 64, 0, 0, false, false, -1},        {NCT_PANEL_BF16, 90, 37, 0, 0, false, false, -1},
    {NCT_PANEL_BF16, 140, 1025, 0, 0, false, false, -1},     {NCT_PANEL_CODES4, 70, 256, 128, 8, false, false, -1},
    {NCT_PANEL_CODES4, 33, 1100, 32, 8, true, false, -1},    {NCT_PANEL_CODES4, 18, 77, 20, 3, true, true, -1},
    {NCT_PANEL_CODES4, 16, 1300, 650, 8, false, true, -1},   {NCT_PANEL_CODES4, 16, 1048, 100, 8, false, true, -1},
    {NCT_PANEL_CODES8, 70, 256, 128, 128, false, false, -1}, {NCT_PANEL_CODES8, 33, 1100, 32, 0, true, false, -1},
    {NCT_PANEL_CODES2, 70, 256, 128, 1, false, false, -1},   {NCT_PANEL_CODES2, 33, 1100, 32, 1, false, false, -1},
    {NCT_PANEL_CODES2, 18, 77, 20, 2, true, true, -1},       {NCT_PANEL_CODES2, 16, 1048, 104, 1, false, true, -1},
    {NCT_PANEL_CODES8, 18, 77, 20, 3, true, true, -1},       {NCT_PANEL_CODES8, 16, 1300, 650, 128, false, true, -1},
};
enum { N_SHAPES = sizeof shapes / sizeof *shapes };

static nct_matmul_float_fn *product_of(const nct_kernels *k, const made_shape *s) {
    switch (s->kind) {
    case NCT_PANEL_F32: return k->matmul_f32;
    case NCT_PANEL_F16: return k->matmul_f16;
    case NCT_PANEL_BF16: return k->matmul_bf16;
    case NCT_PANEL_CODES2: return k->matmul_codes2_exact;
    case NCT_PANEL_CODES4: return k->matmul_codes4_exact;
    default: return k->matmul_codes8_exact;
    }
}

static void check_products(const nct_kernels *ref, const nct_kernels *k) {
    for (size_t i = 0; i < N_SHAPES; i++) {
        const made_shape *s = &shapes[i];
        char what[96];
        snprintf(what, sizeof what, "%s, kind %d, %zux%zu group %zu", k->isa, (int)s->kind, s->n_rows, s->n_cols, s->group);
        made_matrix m;
        made_matrix_open(&m, s);
        size_t x_stride = s->n_cols + 3, y_stride = s->n_rows + 19, size = ROWS * y_stride, n_panels = m.w.n_panels;
        float *x = made_room((ROWS - 1) * x_stride + s->n_cols, sizeof *x);
        for (size_t j = 0; j < (ROWS - 1) * x_stride + s->n_cols; j++)
            x[j] = made_normal();
        float *y_ref = made_room(size, sizeof *y_ref), *single = made_room(size, sizeof *single);
        float *y = made_room(size, sizeof *y);

        guard(y_ref, size);
        product_of(ref, s)(&m.w, x, x_stride, ROWS, y_ref, y_stride, 0, n_panels);
        guard(single, size);
        for (size_t t = 0; t < ROWS; t++)
            product_of(k, s)(&m.w, x + t * x_stride, x_stride, 1, single + t * y_stride, y_stride, 0, n_panels);
        assert_written(what, single, ROWS, y_stride, 0, s->n_rows);
        for (size_t t = 0; t < ROWS; t++)
            for (size_t o = 0; o < s->n_rows; o++) {
                double sum = 0, terms = 0;
                for (size_t c = 0; c < s->n_cols; c++) {
                    double v = (double)m.value[o * s->n_cols + c] * x[t * x_stride + c];
                    sum += v;
                    terms += fabs(v);
                }
                float rounded = (float)sum;
                double bound = (double)(s->n_cols + 2) * 0x1p-24 * terms;
                nct_test_near("ref against the weights", y_ref + t * y_stride + o, &rounded, 1, 0x1p-23 * terms);
                nct_test_near(what, single + t * y_stride + o, y_ref + t * y_stride + o, 1, bound);
            }

        static const size_t batches[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 16, 17, ROWS};
        for (size_t b = 0; b < sizeof batches / sizeof *batches; b++) {
            size_t n = batches[b];
            for (size_t cut = 0; cut <= n_panels; cut++) {
                guard(y, size);
                product_of(k, s)(&m.w, x, x_stride, n, y, y_stride, cut, n_panels);
                size_t from = cut * NCT_PANEL < s->n_rows ? cut * NCT_PANEL : s->n_rows;
                assert_written(what, y, n, y_stride, from, s->n_rows);
                product_of(k, s)(&m.w, x, x_stride, n, y, y_stride, 0, cut);
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
        made_matrix_close(&m);
    }
}

static void test_matmul__is_near_ref_and_blind_to_neighbours(void **state) {
    (void)state;
    each_rung(check_products);
}

/* Every half-precision value passes through a product with one exactly, subnormals included. */
static void check_halves(const nct_kernels *ref, const nct_kernels *k) {
    (void)ref;
    uint16_t *half = made_room(NCT_PANEL * 4, sizeof *half);
    nct_panels w = {.kind = NCT_PANEL_F16, .n_rows = 4 * NCT_PANEL, .n_cols = 1, .n_panels = 4,
                    .panel_bytes = NCT_PANEL * sizeof *half, .data = (uint8_t *)half};
    float one = 1, y[4 * NCT_PANEL];
    for (uint32_t base = 0; base < 0x7c00; base += 2 * NCT_PANEL) {
        for (uint32_t i = 0; i < 4 * NCT_PANEL; i++)
            half[i] = (uint16_t)((base + i / 2) | (i % 2 ? 0x8000 : 0));
        for (int bf16 = 0; bf16 < 2; bf16++) {
            w.kind = bf16 ? NCT_PANEL_BF16 : NCT_PANEL_F16;
            (bf16 ? k->matmul_bf16 : k->matmul_f16)(&w, &one, 1, 1, y, 4 * NCT_PANEL, 0, 4);
            for (uint32_t i = 0; i < 4 * NCT_PANEL; i++) {
                float expected = bf16 ? nct_bf16_to_f32(half[i]) : nct_f16_to_f32(half[i]);
                if (y[i] != expected)
                    fail_msg("%s: %04x is %g, expected %g", k->isa, half[i], (double)y[i], (double)expected);
            }
        }
    }
    free(half);
}

static void test_matmul__reads_every_half_float_exactly(void **state) {
    (void)state;
    each_rung(check_halves);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_matmul__is_near_ref_and_blind_to_neighbours),
        cmocka_unit_test(test_matmul__reads_every_half_float_exactly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
