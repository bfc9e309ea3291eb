/* Rounding to codes: scales well chosen, codes nearest, GPTQ's errors where they do least harm. */
#include "support/support.h"

#include <math.h>

#include "base/num.h"
#include "quant/gptq.h"
#include "quant/linear.h"

/* ------------------------------------------------------------------ numbers */

static uint64_t seed = 1;
static float uniform(void) {
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (float)(seed >> 40) * 0x1p-23f - 1;
}
static float normal(void) { return uniform() + uniform() + uniform() + uniform(); }

static float *floats(size_t n) {
    float *x = malloc(n * sizeof *x);
    for (size_t i = 0; i < n; i++)
        x[i] = normal();
    return x;
}

/* Inputs whose columns have to do with each other, and some of which are much larger than others. */
static float *inputs(size_t n_rows, size_t n) {
    float *x = floats(n_rows * n), *mix = floats(n);
    for (size_t t = 0; t < n_rows; t++) {
        float common = 2 * normal();
        for (size_t k = 0; k < n; k++)
            x[t * n + k] = (x[t * n + k] + common * mix[k]) * (k % 11 == 3 ? 8.0f : 1.0f);
    }
    free(mix);
    return x;
}

static nct_stored float_matrix(const float *w, size_t n_rows, size_t n_cols) {
    return (nct_stored){.codec = &nct_codec_float,
                        .name = "w",
                        .n_rows = n_rows,
                        .n_cols = n_cols,
                        .n_rows_file = n_rows,
                        .type = NCT_TYPE_F32,
                        .part = {{(const uint8_t *)w, n_rows * n_cols * sizeof *w}}};
}

static nct_pool *open_pool(int n) {
    nct_pool *pool = NULL;
    NCT_ASSERT_OK(nct_pool_open(n, &pool, fault));
    return pool;
}

static nct_kernels kernels(void) {
    nct_kernels k;
    NCT_ASSERT_OK(nct_kernels_pick(nct_test_isa(), &k, fault));
    return k;
}

static double cost(const float *w, const float *weight, size_t n, float scale) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        double e = (double)w[i] - (double)scale * ((double)nct_quant_code(NCT_QUANT_INT4, w[i], scale) - 8);
        sum += e * e * (weight ? (double)weight[i] : 1);
    }
    return sum;
}

/* ------------------------------------------------------------------ scales and codes */

static void test_quantize__a_code_is_the_nearest_one(void **state) {
    (void)state;
    for (int trial = 0; trial < 2000; trial++) {
        float scale = nct_f16_to_f32(nct_f32_to_f16(normal() * 0.1f)), w = normal();
        for (int quant = NCT_QUANT_INT8; quant <= NCT_QUANT_INT4; quant++) {
            int bias = nct_quant_bias((nct_quant)quant), low = quant == NCT_QUANT_INT4 ? 0 : 1,
                high = 2 * bias - 1;
            int code = nct_quant_code((nct_quant)quant, w, scale);
            assert_in_range(code, low, high);
            double found = fabs((double)w - (double)scale * (code - bias));
            for (int c = low; c <= high; c++)
                assert_true(found <= fabs((double)w - (double)scale * (c - bias)) * (1 + 1e-6) + 1e-7);
        }
    }
}

static void test_quantize__no_other_scale_is_much_better(void **state) {
    (void)state;
    double chosen_sum = 0, best_sum = 0, plain_sum = 0;
    for (int trial = 0; trial < 40; trial++) {
        size_t n = trial % 2 ? 128 : 32;
        float *w = floats(n), *weight = trial % 3 ? floats(n) : NULL, widest = 0;
        for (size_t i = 0; i < n; i++) {
            widest = fabsf(w[i]) > widest ? fabsf(w[i]) : widest;
            if (weight)
                weight[i] = weight[i] * weight[i];
        }
        float scale = nct_quant_scale(NCT_QUANT_INT4, w, weight, n);
        assert_true(nct_f16_to_f32(nct_f32_to_f16(scale)) == scale);
        double best = INFINITY;
        for (uint32_t h = 0; h < 0x10000; h++) {
            float s = nct_f16_to_f32((uint16_t)h);
            if (fabsf(s) > widest / 20 && fabsf(s) < widest / 3)
                best = fmin(best, cost(w, weight, n, s));
        }
        double chosen = cost(w, weight, n, scale);
        assert_true(chosen <= 1.15 * best);
        chosen_sum += chosen;
        best_sum += best;
        plain_sum += cost(w, weight, n, nct_f16_to_f32(nct_f32_to_f16(widest / 7)));
        free(w);
        free(weight);
    }
    assert_true(chosen_sum <= 1.03 * best_sum && chosen_sum < 0.9 * plain_sum);
}

static void test_quantize__extreme_groups_get_a_finite_scale(void **state) {
    (void)state;
    float zero[4] = {0}, large[4] = {1e38f, -3e38f, 1, 0}, small[4] = {1e-30f, -1e-38f, 0, 1e-44f},
          fine[4] = {1e-6f, -7e-7f, 0, 3e-7f};
    for (int quant = NCT_QUANT_INT8; quant <= NCT_QUANT_INT4; quant++) {
        assert_true(nct_quant_scale((nct_quant)quant, zero, NULL, 4) == 0);
        assert_true(nct_quant_scale((nct_quant)quant, small, NULL, 4) == 0);
        assert_true(isfinite(nct_quant_scale((nct_quant)quant, large, NULL, 4)));
        assert_true(isfinite(nct_quant_scale((nct_quant)quant, fine, NULL, 4)));
        assert_int_equal(nct_quant_code((nct_quant)quant, 1, 0), nct_quant_bias((nct_quant)quant));
        nct_quant_code((nct_quant)quant, 3e38f, 6e-8f);
    }
    assert_true(cost(fine, NULL, 4, nct_quant_scale(NCT_QUANT_INT4, fine, NULL, 4)) <
                0.1 * cost(fine, NULL, 4, 1));
}

/* ------------------------------------------------------------------ matrices */

static void test_quantize__a_rounded_matrix_packs_to_its_codes(void **state) {
    (void)state;
    static const size_t shapes[][3] = {{33, 96, 32}, {16, 200, 128}, {1, 7, 16}, {70, 128, 64}};
    nct_pool *pool = open_pool(2);
    for (size_t i = 0; i < 4; i++)
        for (int quant = NCT_QUANT_INT8; quant <= NCT_QUANT_INT4; quant++) {
            size_t n_rows = shapes[i][0], n_cols = shapes[i][1];
            float *w = floats(n_rows * n_cols), *row = malloc(n_cols * sizeof *row);
            nct_stored source = float_matrix(w, n_rows, n_cols);
            nct_rounded r = {0};
            nct_linear l = {0};
            NCT_ASSERT_OK(nct_round_nearest(&source, (nct_quant)quant, shapes[i][2], pool, &r, fault));
            NCT_ASSERT_OK(nct_linear_open(&r.stored, pool, &l, fault));
            assert_false(l.panels.scale_f32);
            double error2 = 0, norm2 = 0;
            for (size_t n = 0; n < n_rows; n++) {
                nct_linear_row(&l, n, row, NULL);
                for (size_t k = 0; k < n_cols; k++) {
                    float s = r.scale[n * r.n_groups + k / r.group];
                    assert_true(row[k] ==
                                s * (float)(r.code[n * n_cols + k] - nct_quant_bias((nct_quant)quant)));
                    error2 += (double)(w[n * n_cols + k] - row[k]) * (double)(w[n * n_cols + k] - row[k]);
                    norm2 += (double)w[n * n_cols + k] * (double)w[n * n_cols + k];
                }
            }
            assert_true(sqrt(error2 / norm2) < (quant == NCT_QUANT_INT4 ? 0.11 : 0.01));
            nct_difference d;
            NCT_ASSERT_OK(nct_compare(&source, &l.panels, NULL, pool, &d, fault));
            assert_true(fabs(d.error2 - error2) <= 1e-9 * norm2 && fabs(d.norm2 - norm2) <= 1e-9 * norm2 &&
                        !d.same);
            NCT_ASSERT_OK(nct_compare(&r.stored, &l.panels, NULL, pool, &d, fault));
            assert_true(d.same && d.error2 == 0);
            nct_linear_close(&l);
            nct_rounded_close(&r);
            free(w);
            free(row);
        }
    nct_pool_close(pool);
}

static void test_quantize__refuses_what_is_not_finite_and_odd_groups(void **state) {
    (void)state;
    nct_pool *pool = open_pool(1);
    float *w = floats(40 * 32);
    nct_stored source = float_matrix(w, 40, 32);
    nct_rounded r = {0};
    nct_error err;
    assert_int_equal(nct_round_nearest(&source, NCT_QUANT_INT4, 48, pool, &r, &err), NCT_E_ARGUMENT);
    assert_int_equal(nct_round_nearest(&source, NCT_QUANT_KEEP, 32, pool, &r, &err), NCT_E_ARGUMENT);
    w[33 * 32 + 5] = NAN;
    assert_int_equal(nct_round_nearest(&source, NCT_QUANT_INT4, 32, pool, &r, &err), NCT_E_FORMAT);
    assert_non_null(strstr(err.text, "rows 32 to 47"));
    free(w);
    nct_pool_close(pool);
}

/* ------------------------------------------------------------------ ternary */

/* -s, 0 and s in groups of `group`, s exact in bfloat16 and now and then too small for float16. */
static void fill_ternary(float *w, size_t n_rows, size_t n_cols, size_t group) {
    float scale = 0;
    for (size_t i = 0; i < n_rows * n_cols; i++) {
        size_t column = i % n_cols;
        if (column % group == 0)
            scale = nct_bf16_to_f32(nct_f32_to_bf16(fabsf(normal()) + 0.01f)) * (i % 5 == 4 ? 1e-3f : 1);
        w[i] = scale * (float)((int)((normal() + 8) * 3) % 3 - 1);
        if (column / group == 1)
            w[i] = column % 2 ? 0.0f : -0.0f; /* a group of nothing */
    }
}

static void test_quantize__ternary_matrices_are_found_with_their_group(void **state) {
    (void)state;
    static const struct {
        size_t n_cols, group;
        const char *label;
    } cases[] = {{384, 384, "ternary row"}, {768, 256, "ternary g256"}, {768, 128, "ternary g128"},
                 {320, 64, "ternary g64"},  {160, 32, "ternary g32"},    {100, 32, "ternary g32"},
                 {20, 20, "ternary row"}};
    enum { N_ROWS = 50 };
    nct_pool *pool = open_pool(2);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t n = cases[i].n_cols;
        float *w = malloc(N_ROWS * n * sizeof *w), *row = malloc(n * sizeof *row);
        fill_ternary(w, N_ROWS, n, cases[i].group);
        nct_stored source = float_matrix(w, N_ROWS, n);
        nct_rounded r = {0};
        nct_linear l = {0};
        nct_difference d;
        bool found = false;
        NCT_ASSERT_OK(nct_ternary_find(&source, pool, &r, &found, fault));
        assert_true(found);
        NCT_ASSERT_OK(nct_linear_open(&r.stored, pool, &l, fault));
        assert_string_equal(l.label, cases[i].label);
        assert_int_equal(l.panels.kind, NCT_PANEL_CODES2);
        NCT_ASSERT_OK(nct_compare(&source, &l.panels, NULL, pool, &d, fault));
        assert_true(d.same && d.error2 == 0);
        nct_linear_close(&l);
        nct_rounded_close(&r);
        /* one value that is not like the others, anywhere */
        size_t at = (i * 977 + 40 * n + 7) % (N_ROWS * n);
        w[at] = 3.14f;
        w[at / n * n + (at % n < n / 2 ? at % n + 1 : at % n - 1)] = 2.5f;
        found = true;
        NCT_ASSERT_OK(nct_ternary_find(&source, pool, &r, &found, fault));
        assert_false(found);
        free(w);
        free(row);
    }
    nct_pool_close(pool);
}

static void test_quantize__other_matrices_are_not_ternary(void **state) {
    (void)state;
    nct_pool *pool = open_pool(1);
    float *w = floats(40 * 64), bad[] = {NAN, INFINITY, 0, 0};
    nct_stored source = float_matrix(w, 40, 64), not_finite = float_matrix(bad, 1, 4),
               one = float_matrix(bad + 1, 1, 3);
    nct_rounded r = {0}, again = {0};
    bool found = true;
    NCT_ASSERT_OK(nct_ternary_find(&source, pool, &r, &found, fault));
    assert_false(found);
    NCT_ASSERT_OK(nct_ternary_find(&not_finite, pool, &r, &found, fault));
    assert_false(found);
    NCT_ASSERT_OK(nct_ternary_find(&one, pool, &r, &found, fault));
    assert_false(found);
    NCT_ASSERT_OK(nct_round_nearest(&source, NCT_QUANT_INT4, 32, pool, &r, fault));
    NCT_ASSERT_OK(nct_ternary_find(&r.stored, pool, &again, &found, fault));
    assert_false(found); /* codes are codes already */
    nct_rounded_close(&r);
    free(w);
    nct_pool_close(pool);
}

/* ------------------------------------------------------------------ GPTQ */

/* tr(E H E^T) as it is defined. h [n][n] */
static double output_error(const float *w, const nct_rounded *r, const double *h, size_t n_rows, size_t n) {
    double sum = 0, *e = malloc(n * sizeof *e);
    for (size_t row = 0; row < n_rows; row++) {
        for (size_t k = 0; k < n; k++) {
            e[k] = (double)w[row * n + k];
            if (r)
                e[k] -= (double)r->scale[row * r->n_groups + k / r->group] *
                        (r->code[row * n + k] - nct_quant_bias(r->quant));
        }
        for (size_t i = 0; i < n; i++)
            for (size_t j = 0; j < n; j++)
                sum += e[i] * h[i * n + j] * e[j];
    }
    free(e);
    return sum;
}

/* H with damp, as it is defined. */
static double *plain_hessian(const float *x, size_t n_rows, size_t n, double damp) {
    double *h = calloc(n * n, sizeof *h), mean = 0;
    for (size_t t = 0; t < n_rows; t++)
        for (size_t i = 0; i < n; i++)
            for (size_t j = 0; j < n; j++)
                h[i * n + j] += (double)x[t * n + i] * (double)x[t * n + j];
    for (size_t i = 0; i < n; i++)
        mean += h[i * n + i] / (double)n;
    for (size_t i = 0; i < n; i++)
        h[i * n + i] += damp * mean;
    return h;
}

static void calibrate(const float *x, size_t n_rows, size_t n, bool act_order, nct_pool *pool,
                      nct_factor *f) {
    nct_kernels k = kernels();
    nct_hessian h = {0};
    NCT_ASSERT_OK(nct_hessian_open(n, pool, &h, fault));
    nct_hessian_add(&h, &k, pool, x, n, n_rows / 3);
    nct_hessian_add(&h, &k, pool, x + n_rows / 3 * n, n, n_rows - n_rows / 3);
    assert_int_equal(h.n_added, n_rows);
    NCT_ASSERT_OK(nct_hessian_factor(&h, 0.01, act_order, pool, f, fault));
    nct_hessian_close(&h);
}

static void test_gptq__the_factor_multiplies_back_to_the_sum(void **state) {
    (void)state;
    static const size_t widths[] = {1, 7, 64, 65, 130, 200};
    nct_pool *pool = open_pool(2);
    for (size_t i = 0; i < sizeof widths / sizeof *widths; i++)
        for (int act_order = 0; act_order < 2; act_order++) {
            size_t n = widths[i], n_rows = 700;
            float *x = inputs(n_rows, n);
            double *h = plain_hessian(x, n_rows, n, 0.01);
            nct_factor f = {0};
            calibrate(x, n_rows, n, act_order, pool, &f);
            for (size_t a = 0; a < n; a++)
                for (size_t b = 0; b <= a; b++) {
                    double sum = 0;
                    for (size_t p = 0; p <= b; p++)
                        sum += f.lower[a * n + p] * f.lower[b * n + p];
                    size_t pa = n - 1 - a, pb = n - 1 - b, ca = f.order ? (size_t)f.order[pa] : pa,
                           cb = f.order ? (size_t)f.order[pb] : pb;
                    assert_true(fabs(sum - h[ca * n + cb]) <= 1e-5 * sqrt(h[ca * n + ca] * h[cb * n + cb]));
                }
            for (size_t k = 0; act_order && k + 1 < n; k++)
                assert_true(f.diagonal[f.order[k]] >= f.diagonal[f.order[k + 1]]);
            nct_factor_close(&f);
            free(h);
            free(x);
        }
    nct_pool_close(pool);
}

static void test_gptq__unrelated_inputs_of_one_size_give_nearest_codes(void **state) {
    (void)state;
    enum { n = 160, n_rows = 20 };
    nct_pool *pool = open_pool(2);
    nct_kernels k = kernels();
    float *x = calloc(n * n, sizeof *x), *w = floats(n_rows * n);
    for (size_t i = 0; i < n; i++)
        x[i * n + i] = 4;
    nct_stored source = float_matrix(w, n_rows, n);
    nct_factor f = {0};
    nct_rounded near = {0}, gptq = {0};
    calibrate(x, n, n, false, pool, &f);
    NCT_ASSERT_OK(nct_round_nearest(&source, NCT_QUANT_INT4, 32, pool, &near, fault));
    NCT_ASSERT_OK(nct_gptq_round(&source, &f, NCT_QUANT_INT4, 32, &k, pool, &gptq, fault));
    assert_memory_equal(near.code, gptq.code, n_rows * n);
    nct_rounded_close(&near);
    nct_rounded_close(&gptq);
    nct_factor_close(&f);
    free(x);
    free(w);
    nct_pool_close(pool);
}

static void test_gptq__outputs_suffer_less_than_from_nearest_codes(void **state) {
    (void)state;
    static const size_t shapes[][3] = {{48, 256, 128}, {30, 300, 64}, {16, 96, 32}, {5, 50, 128}};
    nct_pool *pool = open_pool(2);
    nct_kernels k = kernels();
    for (size_t i = 0; i < 4; i++) {
        size_t n_rows = shapes[i][0], n = shapes[i][1], group = shapes[i][2], n_inputs = 1500;
        float *x = inputs(n_inputs, n), *w = floats(n_rows * n);
        double *h = plain_hessian(x, n_inputs, n, 0.01);
        nct_stored source = float_matrix(w, n_rows, n);
        nct_rounded near = {0};
        NCT_ASSERT_OK(nct_round_nearest(&source, NCT_QUANT_INT4, group, pool, &near, fault));
        double plain = output_error(w, &near, h, n_rows, n), norm = output_error(w, NULL, h, n_rows, n);
        for (int act_order = 0; act_order < 2; act_order++) {
            nct_factor f = {0};
            nct_rounded gptq = {0};
            nct_linear l = {0};
            nct_difference d = {0};
            calibrate(x, n_inputs, n, act_order, pool, &f);
            NCT_ASSERT_OK(nct_gptq_round(&source, &f, NCT_QUANT_INT4, group, &k, pool, &gptq, fault));
            double error = output_error(w, &gptq, h, n_rows, n);
            assert_true(error < 0.6 * plain);
            NCT_ASSERT_OK(nct_linear_open(&gptq.stored, pool, &l, fault));
            NCT_ASSERT_OK(nct_compare_outputs(&source, &l.panels, NULL, &f, &k, pool, &d, fault));
            assert_true(fabs(d.error2 - error) < 1e-3 * error && fabs(d.norm2 - norm) < 1e-3 * norm &&
                        !d.same);
            NCT_ASSERT_OK(nct_compare_outputs(&gptq.stored, &l.panels, NULL, &f, &k, pool, &d, fault));
            assert_true(d.same && d.error2 == 0);
            nct_linear_close(&l);
            nct_rounded_close(&gptq);
            nct_factor_close(&f);
        }
        nct_rounded_close(&near);
        free(h);
        free(x);
        free(w);
    }
    nct_pool_close(pool);
}

static void test_gptq__threads_do_not_show(void **state) {
    (void)state;
    enum { n = 200, n_rows = 40, n_inputs = 900 };
    nct_kernels k = kernels();
    float *x = inputs(n_inputs, n), *w = floats(n_rows * n);
    nct_stored source = float_matrix(w, n_rows, n);
    uint8_t *first = NULL;
    for (int threads = 1; threads <= 3; threads++) {
        nct_pool *pool = open_pool(threads);
        nct_factor f = {0};
        nct_rounded r = {0};
        calibrate(x, n_inputs, n, false, pool, &f);
        NCT_ASSERT_OK(nct_gptq_round(&source, &f, NCT_QUANT_INT4, 64, &k, pool, &r, fault));
        if (!first) {
            first = malloc(n_rows * n);
            memcpy(first, r.code, n_rows * n);
        }
        assert_memory_equal(first, r.code, n_rows * n);
        nct_rounded_close(&r);
        nct_factor_close(&f);
        nct_pool_close(pool);
    }
    free(first);
    free(x);
    free(w);
}

static void test_gptq__inputs_that_are_zero_or_not_finite(void **state) {
    (void)state;
    enum { n = 48, n_rows = 8 };
    nct_pool *pool = open_pool(1);
    nct_kernels k = kernels();
    float *x = calloc(64 * n, sizeof *x), *w = floats(n_rows * n);
    nct_stored source = float_matrix(w, n_rows, n);
    nct_factor f = {0};
    nct_rounded r = {0};
    calibrate(x, 64, n, false, pool, &f);
    NCT_ASSERT_OK(nct_gptq_round(&source, &f, NCT_QUANT_INT8, 16, &k, pool, &r, fault));
    nct_rounded_close(&r);
    nct_factor_close(&f);
    static const float bad[] = {NAN, INFINITY, 1e30f};
    for (size_t i = 0; i < 3; i++) {
        nct_hessian h = {0};
        nct_error err;
        x[5 * n + 7] = bad[i];
        NCT_ASSERT_OK(nct_hessian_open(n, pool, &h, fault));
        nct_hessian_add(&h, &k, pool, x, n, 64);
        assert_int_equal(nct_hessian_factor(&h, 0.01, i == 1, pool, &f, &err), NCT_E_FORMAT);
        nct_hessian_close(&h);
    }
    free(x);
    free(w);
    nct_pool_close(pool);
}

static void test_quantize__every_refused_allocation_is_reported(void **state) {
    (void)state;
    enum { n = 40, n_rows = 20 };
    nct_pool *pool = open_pool(1);
    nct_kernels k = kernels();
    float *x = inputs(100, n), *w = floats(n_rows * n);
    nct_stored source = float_matrix(w, n_rows, n);
    nct_status status = NCT_E_MEMORY;
    for (long fail = 0; status != NCT_OK; fail++) {
        nct_hessian h = {0};
        nct_factor f = {0};
        nct_rounded r = {0}, near = {0};
        nct_linear l = {0};
        nct_difference d;
        nct_error err = {0};
        assert_true(fail < 100);
        atomic_store(&nct_mem_fail_in, fail);
        status = nct_hessian_open(n, pool, &h, &err);
        if (status == NCT_OK) {
            nct_hessian_add(&h, &k, pool, x, n, 100);
            status = nct_hessian_factor(&h, 0.01, true, pool, &f, &err);
        }
        if (status == NCT_OK)
            status = nct_gptq_round(&source, &f, NCT_QUANT_INT4, 16, &k, pool, &r, &err);
        if (status == NCT_OK)
            status = nct_round_nearest(&source, NCT_QUANT_INT8, 16, pool, &near, &err);
        if (status == NCT_OK)
            status = nct_linear_open(&r.stored, pool, &l, &err);
        if (status == NCT_OK)
            status = nct_compare(&source, &l.panels, NULL, pool, &d, &err);
        if (status == NCT_OK)
            status = nct_compare_outputs(&source, &l.panels, NULL, &f, &k, pool, &d, &err);
        atomic_store(&nct_mem_fail_in, -1);
        assert_int_equal(status, status == NCT_OK ? NCT_OK : NCT_E_MEMORY);
        nct_linear_close(&l);
        nct_rounded_close(&r);
        nct_rounded_close(&near);
        nct_factor_close(&f);
        nct_hessian_close(&h);
    }
    free(x);
    free(w);
    nct_pool_close(pool);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_quantize__a_code_is_the_nearest_one),
        cmocka_unit_test(test_quantize__no_other_scale_is_much_better),
        cmocka_unit_test(test_quantize__extreme_groups_get_a_finite_scale),
        cmocka_unit_test(test_quantize__a_rounded_matrix_packs_to_its_codes),
        cmocka_unit_test(test_quantize__refuses_what_is_not_finite_and_odd_groups),
        cmocka_unit_test(test_quantize__ternary_matrices_are_found_with_their_group),
        cmocka_unit_test(test_quantize__other_matrices_are_not_ternary),
        cmocka_unit_test(test_gptq__the_factor_multiplies_back_to_the_sum),
        cmocka_unit_test(test_gptq__unrelated_inputs_of_one_size_give_nearest_codes),
        cmocka_unit_test(test_gptq__outputs_suffer_less_than_from_nearest_codes),
        cmocka_unit_test(test_gptq__threads_do_not_show),
        cmocka_unit_test(test_gptq__inputs_that_are_zero_or_not_finite),
        cmocka_unit_test(test_quantize__every_refused_allocation_is_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
