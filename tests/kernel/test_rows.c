/* Operations on one row: every rung against the definition. */
#include "kernel/made.h"

static const size_t sizes[] = {1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 23, 31, 32, 33, 47, 63, 64, 65, 100, 127, 128, 1000, 1024, 1536};
enum { N_SIZES = sizeof sizes / sizeof *sizes, GUARDS = 40 };

/* A copy of n values with guards after it, when the sanitizer is not looking. */
static float *guarded_copy(const float *x, size_t n) {
    float *y = made_room(n + GUARDS, sizeof *y);
    memcpy(y, x, n * sizeof *y);
    guard(y + n, GUARDS);
    return y;
}
static float *exact_copy(const float *x, size_t n) {
    float *y = made_room(n, sizeof *y);
    memcpy(y, x, n * sizeof *y);
    return y;
}
static void assert_guards(const char *what, const float *y, size_t n) {
    for (size_t i = 0; i < GUARDS; i++)
        if (!guarded(y[n + i]))
            fail_msg("%s: value %zu of %zu was written", what, n + i, n);
}

/* |y - y_ref| <= relative * |y_ref| + absolute */
static void check_relative(const char *isa, const char *what, const float *y, const float *y_ref, size_t n,
                           double relative, double absolute) {
    char text[64];
    snprintf(text, sizeof text, "%s, %s of %zu", isa, what, n);
    for (size_t i = 0; i < n; i++)
        nct_test_near(text, y + i, y_ref + i, 1, relative * fabs((double)y_ref[i]) + absolute);
}

/* ------------------------------------------------------------------ rms_norm */

static void check_rms_norm(const nct_kernels *ref, const nct_kernels *k) {
    for (size_t i = 0; i < N_SIZES; i++) {
        size_t n = sizes[i];
        float *x = made_floats(n), *weight = made_floats(n), *y_ref = made_floats(n), *y = guarded_copy(x, n);
        for (int magnitude = -18; magnitude <= 18; magnitude += 6) {
            for (size_t j = 0; j < n; j++)
                x[j] *= powf(10.0f, (float)magnitude);
            ref->rms_norm(x, weight, 1e-6f, n, y_ref);
            k->rms_norm(x, weight, 1e-6f, n, y);
            check_relative(k->isa, "rms_norm", y, y_ref, n, 4e-7, 1e-44);
            assert_guards("rms_norm", y, n);
            k->rms_norm(x, weight, 1e-6f, n, x); /* in place */
            nct_test_same_bits("rms_norm in place", x, y, n);
        }
        free(x), free(weight), free(y_ref), free(y);
    }
}

static void test_rms_norm__is_near_ref_at_every_size(void **state) {
    (void)state;
    each_rung(check_rms_norm);
}

/* ------------------------------------------------------------------ rope */

static void check_rope(const nct_kernels *ref, const nct_kernels *k) {
    static const size_t widths[] = {2, 4, 6, 16, 24, 30, 64, 80, 128, 130};
    for (size_t i = 0; i < sizeof widths / sizeof *widths; i++)
        for (size_t heads = 1; heads <= 5; heads += 2) {
            size_t d = widths[i], n = heads * d;
            float *x = made_floats(n), *x_ref = exact_copy(x, n), *y = guarded_copy(x, n);
            float *c = made_floats(d / 2), *s = made_floats(d / 2);
            ref->rope(x_ref, heads, d, c, s);
            k->rope(x, heads, d, c, s);
            k->rope(y, heads, d, c, s);
            assert_guards("rope", y, n);
            nct_test_same_bits("rope again", y, x, n);
            check_relative(k->isa, "rope", x, x_ref, n, 0, 4e-6); /* values stay below 4, factors too */
            for (size_t h = 0; h < heads; h++) { /* a head alone */
                memcpy(y, x_ref, d * sizeof *y);
                k->rope(y, 1, d, c, s);
                memcpy(x, x_ref, n * sizeof *x);
                k->rope(x, heads, d, c, s);
                nct_test_same_bits("rope of one head", y, x, d);
            }
            free(x), free(x_ref), free(y), free(c), free(s);
        }
}

static void test_rope__is_near_ref_and_blind_to_other_heads(void **state) {
    (void)state;
    each_rung(check_rope);
}

/* ------------------------------------------------------------------ swiglu */

static void check_swiglu(const nct_kernels *ref, const nct_kernels *k) {
    static const float edges[] = {0, -0.0f, 1e-40f, -1e-40f, 80, -80, 87, -87, 88.7f, -88.7f, 100, -100, 1e30f, -1e30f, 3e38f, -3e38f};
    enum { N_EDGES = sizeof edges / sizeof *edges };
    for (size_t i = 0; i < N_SIZES; i++) {
        size_t n = sizes[i];
        float *gate = made_floats(n), *up = made_floats(n), *y_ref = made_floats(n), *y = guarded_copy(gate, n);
        for (size_t j = 0; j < n; j++)
            gate[j] *= 4;
        for (size_t j = 0; j < n && j < N_EDGES && n > 16; j++) {
            gate[j] = edges[j];
            up[j] = 0.5f;
        }
        ref->swiglu(gate, up, n, y_ref);
        k->swiglu(gate, up, n, y);
        check_relative(k->isa, "swiglu", y, y_ref, n, 6e-7, 1e-35);
        assert_guards("swiglu", y, n);
        k->swiglu(gate, up, n, gate);
        nct_test_same_bits("swiglu in place", gate, y, n);
        for (size_t j = 0; j < n; j++) { /* a value does not depend on its place */
            float g = gate[j] * 3, alone;
            k->swiglu(&g, up + j, 1, &alone);
            gate[j] = g;
            y_ref[j] = alone;
        }
        k->swiglu(gate, up, n, y);
        nct_test_same_bits("swiglu of one", y_ref, y, n);
        free(gate), free(up), free(y_ref), free(y);
    }
}

static void test_swiglu__is_near_ref_and_overflows_nowhere(void **state) {
    (void)state;
    each_rung(check_swiglu);
}

/* ------------------------------------------------------------------ add_scaled */

static void check_add_scaled(const nct_kernels *ref, const nct_kernels *k) {
    for (size_t i = 0; i < N_SIZES; i++) {
        size_t n = sizes[i];
        float *x = made_floats(n), *x_ref = exact_copy(x, n), *y = made_floats(n), *z = guarded_copy(x, n);
        ref->add_scaled(x_ref, y, 0.2474873734f, n);
        k->add_scaled(x, y, 0.2474873734f, n);
        k->add_scaled(z, y, 0.2474873734f, n);
        check_relative(k->isa, "add_scaled", x, x_ref, n, 0, 1e-6); /* values stay below 4 */
        nct_test_same_bits("add_scaled again", z, x, n);
        assert_guards("add_scaled", z, n);
        free(x), free(x_ref), free(y), free(z);
    }
}

static void test_add_scaled__is_near_ref_at_every_size(void **state) {
    (void)state;
    each_rung(check_add_scaled);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rms_norm__is_near_ref_at_every_size),
        cmocka_unit_test(test_rope__is_near_ref_and_blind_to_other_heads),
        cmocka_unit_test(test_swiglu__is_near_ref_and_overflows_nowhere),
        cmocka_unit_test(test_add_scaled__is_near_ref_at_every_size),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
