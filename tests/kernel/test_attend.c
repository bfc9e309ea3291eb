/* Attention over a segment: every rung against the definition, and rows and heads that do not see each
 * other. */
#include "kernel/made.h"

#include "kernel/kv.h"

enum { STEPS = 20 };

typedef struct problem {
    nct_kv_type k_type, v_type;
    size_t n_steps, n_rows, n_heads, d;
    nct_step step[STEPS];
    uint64_t *mask;
    float *q;
    float key_size, query_size, value_size; /* the largest magnitudes */
} problem;

typedef struct answer {
    float *m, *l, *acc;
    size_t n, n_acc;
} answer;

static uint64_t random_mask(void) {
    uint64_t r = (uint64_t)made_next() << 32 | made_next();
    switch (made_next() % 7) {
    case 0:
        return 0;
    case 1:
        return UINT64_MAX;
    case 2:
        return UINT64_MAX >> made_next() % 64; /* causal */
    case 3:
        return (uint64_t)1 << made_next() % 64;
    case 4:
        return UINT64_MAX << made_next() % 64;
    case 5:
        return r & (r << 7);
    default:
        return r;
    }
}

static float norm(const float *x, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (double)x[i] * x[i];
    return (float)sqrt(sum);
}

static const struct {
    size_t n_steps, n_rows, n_heads, d;
} shapes[] = {
    {20, 9, 8, 64}, {9, 3, 16, 128}, {1, 1, 1, 64}, {0, 2, 2, 64}, {5, 7, 3, 64},
    {3, 2, 5, 16},  {8, 5, 1, 24},   {2, 3, 2, 2},  {4, 2, 7, 80}, {17, 4, 2, 30},
    {2, 9, 4, 130}, {4, 6, 6, 96},   {3, 1, 9, 72}, {2, 5, 3, 40},
};
enum { N_SHAPES = sizeof shapes / sizeof *shapes };

/* Shape i with one pair of types. */
static void problem_open(problem *p, size_t i, nct_kv_type k_type, nct_kv_type v_type) {
    size_t n_steps = shapes[i].n_steps, n_rows = shapes[i].n_rows, n_heads = shapes[i].n_heads,
           d = shapes[i].d;
    made_state = n_steps * 1009 + n_rows * 101 + n_heads * 11 + d;
    *p = (problem){k_type,
                   v_type,
                   n_steps,
                   n_rows,
                   n_heads,
                   d,
                   {{0}},
                   made_room(n_steps * n_rows, sizeof(uint64_t)),
                   made_floats(n_rows * n_heads * d),
                   0,
                   0,
                   0};
    for (size_t s = 0; s < n_steps; s++) {
        void *k = made_room(nct_key_bytes(k_type, d, NCT_STEP), 1),
             *v = made_room(nct_value_bytes(v_type, d), 1);
        for (size_t j = 0; j < NCT_STEP; j++) {
            float *key = made_floats(d), *value = made_floats(d);
            nct_key_put(k_type, k, NCT_STEP, j, key, d);
            nct_value_put(v_type, v, j, value, d);
            p->key_size = fmaxf(p->key_size, norm(key, d));
            for (size_t c = 0; c < d; c++)
                p->value_size = fmaxf(p->value_size, fabsf(value[c]));
            free(key), free(value);
        }
        p->step[s] = (nct_step){k, v};
    }
    for (size_t t = 0; t < n_steps * n_rows; t++)
        p->mask[t] = random_mask();
    for (size_t t = 0; t < n_rows * n_heads * d; t++)
        p->q[t] *= 1.5f / sqrtf((float)d);
    for (size_t t = 0; t < n_rows * n_heads; t++)
        p->query_size = fmaxf(p->query_size, norm(p->q + t * d, d));
}

static void problem_close(problem *p) {
    for (size_t s = 0; s < p->n_steps; s++) {
        free((void *)(uintptr_t)p->step[s].k);
        free((void *)(uintptr_t)p->step[s].v);
    }
    free(p->mask);
    free(p->q);
}

enum { GUARDS = 32 };

static answer answer_open(size_t n, size_t d) {
    answer a = {made_room(n + GUARDS, sizeof(float)), made_room(n + GUARDS, sizeof(float)),
                made_room(n * d + GUARDS, sizeof(float)), n, n * d};
    guard(a.m, n + GUARDS);
    guard(a.l, n + GUARDS);
    guard(a.acc, n * d + GUARDS);
    return a;
}
static void answer_close(answer *a) {
    assert_written("m", a->m, 1, a->n + GUARDS, 0, a->n);
    assert_written("l", a->l, 1, a->n + GUARDS, 0, a->n);
    assert_written("acc", a->acc, 1, a->n_acc + GUARDS, 0, a->n_acc);
    free(a->m), free(a->l), free(a->acc);
}

/* Rows [row, row + n_rows) and heads [head, head + n_heads) of a problem over some steps, from nothing. */
static answer solve_part(const nct_kernels *k, const problem *p, const nct_step *step, const uint64_t *mask,
                         size_t n_steps, size_t row, size_t n_rows, size_t head, size_t n_heads) {
    answer a = answer_open(n_rows * n_heads, p->d);
    memset(a.m, 0, a.n * sizeof *a.m), memset(a.l, 0, a.n * sizeof *a.l),
        memset(a.acc, 0, a.n_acc * sizeof *a.acc);
    size_t vector = nct_query_bytes(p->d), scratch_bytes = nct_attend_scratch(n_rows, n_heads, p->d);
    uint8_t *q = made_room(p->n_rows * p->n_heads, vector), *scratch = made_room(scratch_bytes, 1);
    memset(scratch, 0xff, scratch_bytes);
    memset(q, 0xff, p->n_rows * p->n_heads * vector);
    for (size_t t = 0; t < p->n_rows; t++)
        k->query(p->k_type, p->q + t * p->n_heads * p->d, p->n_heads, p->d, q + t * p->n_heads * vector);
    k->attend(&(nct_attend_job){.k_type = p->k_type,
                                .v_type = p->v_type,
                                .step = step,
                                .mask = mask,
                                .n_steps = n_steps,
                                .q = q + (row * p->n_heads + head) * vector,
                                .q_stride = p->n_heads * vector,
                                .n_rows = n_rows,
                                .n_heads = n_heads,
                                .d = p->d,
                                .m = a.m,
                                .l = a.l,
                                .acc = a.acc,
                                .scratch = scratch});
    free(q), free(scratch);
    return a;
}
static answer solve(const nct_kernels *k, const problem *p) {
    return solve_part(k, p, p->step, p->mask, p->n_steps, 0, p->n_rows, 0, p->n_heads);
}

static void each_problem(const nct_kernels *ref, const nct_kernels *k,
                         void (*fn)(const nct_kernels *ref, const nct_kernels *k, problem *p)) {
    for (int types = 0; types < NCT_KV_TYPES * NCT_KV_TYPES; types++)
        for (size_t i = types % 3; i < N_SHAPES;
             i += types % (NCT_KV_TYPES + 1) == 0 ? 1 : 3) { /* mixed types: some */
            problem p;
            problem_open(&p, i, (nct_kv_type)(types / NCT_KV_TYPES), (nct_kv_type)(types % NCT_KV_TYPES));
            fn(ref, k, &p);
            problem_close(&p);
        }
}

/* ------------------------------------------------------------------ against the definition */

static void check_near(const nct_kernels *ref, const nct_kernels *k, problem *p) {
    answer a = solve(ref, p), b = solve(k, p);
    char what[128];
    snprintf(what, sizeof what, "%s, types %d and %d, %zu steps, %zu rows of %zu heads of %zu", k->isa,
             p->k_type, p->v_type, p->n_steps, p->n_rows, p->n_heads, p->d);
    /* the bounds of the contract, with sum |q_i k_i| <= |q| |k| */
    double e = ((double)p->d * 0x1p-24 + (p->k_type == NCT_KV_BF16 ? 0x1p-8 : 0)) *
               (double)(p->query_size * p->key_size);
    double of_value = 2 * e + 1e-5 +
                      (p->v_type == NCT_KV_BF16 ? 0x1p-8
                       : p->v_type == NCT_KV_Q8 ? 0x1p-6
                                                : 0);
    for (size_t v = 0; v < a.n; v++) {
        if (a.l[v] == 0) { /* sees nothing */
            assert_true(b.l[v] == 0);
            continue;
        }
        float lse[2] = {a.m[v] + logf(a.l[v]), b.m[v] + logf(b.l[v])};
        nct_test_near(what, lse + 1, lse, 1,
                      e + (p->v_type == NCT_KV_BF16 || p->v_type == NCT_KV_Q8 ? 1.1e-4 : 1e-5));
        for (size_t c = 0; c < p->d; c++) {
            float out[2] = {a.acc[v * p->d + c] / a.l[v], b.acc[v * p->d + c] / b.l[v]};
            nct_test_near(what, out + 1, out, 1, of_value * (double)p->value_size);
        }
    }
    answer_close(&a);
    answer_close(&b);
}

static void check_all_near(const nct_kernels *ref, const nct_kernels *k) { each_problem(ref, k, check_near); }
static void test_attend__is_near_ref(void **state) {
    (void)state;
    each_way_to_attend(check_all_near);
}

/* ------------------------------------------------------------------ independence */

static void check_alone(const nct_kernels *ref, const nct_kernels *k, problem *p) {
    (void)ref;
    answer all = solve(k, p);
    for (size_t t = 0; t < p->n_rows; t++) {
        /* a row without its neighbours, and without the steps it does not see */
        nct_step step[STEPS];
        uint64_t mask[STEPS];
        size_t n_steps = 0;
        for (size_t s = 0; s < p->n_steps; s++)
            if (p->mask[s * p->n_rows + t]) {
                mask[n_steps] = p->mask[s * p->n_rows + t];
                step[n_steps++] = p->step[s];
            }
        for (size_t first = 0; first < p->n_heads; first++) { /* heads first .. end-1 of it */
            size_t end = first + 1 + made_next() % (p->n_heads - first), at = t * p->n_heads + first,
                   n = end - first;
            answer some = solve_part(k, p, step, mask, n_steps, t, 1, first, n);
            nct_test_same_bits("m", some.m, all.m + at, n);
            nct_test_same_bits("l", some.l, all.l + at, n);
            nct_test_same_bits("acc", some.acc, all.acc + at * p->d, n * p->d);
            answer_close(&some);
        }
        /* and in two calls, cut where a segment ends, merged by hand */
        if (n_steps > NCT_SEGMENT_STEPS) {
            size_t cut = NCT_SEGMENT_STEPS, at = t * p->n_heads;
            answer one = solve_part(k, p, step, mask, cut, t, 1, 0, p->n_heads);
            answer two = solve_part(k, p, step + cut, mask + cut, n_steps - cut > cut ? cut : n_steps - cut,
                                    t, 1, 0, p->n_heads);
            k->attend_merge(one.m, one.l, one.acc, two.m, two.l, two.acc, p->n_heads, p->d);
            if (n_steps <= 2 * cut)
                nct_test_same_bits("acc of two calls", one.acc, all.acc + at * p->d, p->n_heads * p->d);
            answer_close(&one);
            answer_close(&two);
        }
    }
    answer_close(&all);
}

static void check_all_alone(const nct_kernels *ref, const nct_kernels *k) {
    each_problem(ref, k, check_alone);
}
static void test_attend__gives_a_head_the_same_bits_in_any_company(void **state) {
    (void)state;
    each_way_to_attend(check_all_alone);
}

static void check_hidden(const nct_kernels *ref, const nct_kernels *k, problem *p) {
    (void)ref;
    p->n_rows = 1;
    answer before = solve(k, p);
    float *huge = made_room(p->d, sizeof *huge);
    for (size_t c = 0; c < p->d; c++)
        huge[c] = c % 2 ? -1e30f : 1e30f;
    for (size_t s = 0; s < p->n_steps; s++)
        for (size_t j = 0; j < NCT_STEP; j++)
            if (!(p->mask[s] >> j & 1)) {
                nct_key_put(p->k_type, (void *)(uintptr_t)p->step[s].k, NCT_STEP, j, huge, p->d);
                nct_value_put(p->v_type, (void *)(uintptr_t)p->step[s].v, j, huge, p->d);
            }
    answer after = solve(k, p);
    nct_test_same_bits("m", after.m, before.m, before.n);
    nct_test_same_bits("l", after.l, before.l, before.n);
    nct_test_same_bits("acc", after.acc, before.acc, before.n_acc);
    free(huge);
    answer_close(&before);
    answer_close(&after);
}

static void check_all_hidden(const nct_kernels *ref, const nct_kernels *k) {
    each_problem(ref, k, check_hidden);
}
static void test_attend__does_not_look_at_hidden_lanes(void **state) {
    (void)state;
    each_way_to_attend(check_all_hidden);
}

/* What is stored reads back as it was, to the type's rounding; a position has its own place. */
static void test_kv__stores_one_position(void **state) {
    (void)state;
    enum { D = 30, LANES = 64 };
    static const double bound[NCT_KV_TYPES] = {0, 0x1p-11, 0x1p-8, 1 / 253.0};
    float x[D], y[D];
    for (int type = 0; type < NCT_KV_TYPES; type++) {
        uint8_t *keys = made_room(nct_key_bytes(type, D, LANES), 1),
                *values = made_room(nct_value_bytes(type, D), 1);
        for (int pass = 0; pass < 2; pass++) {
            made_state = 5;
            for (size_t j = 0; j < LANES; j++) {
                float top = 0;
                for (size_t i = 0; i < D; i++)
                    top = fmaxf(top, fabsf(x[i] = made_normal()));
                if (pass == 0) {
                    nct_key_put(type, keys, LANES, j, x, D);
                    nct_value_put(type, values, j, x, D);
                    continue;
                }
                nct_key_get(type, keys, LANES, j, D, y);
                nct_test_near("key", y, x, D, bound[type] * (double)top);
                nct_value_get(type, values, j, D, y);
                nct_test_near("value", y, x, D, bound[type] * (double)top);
            }
        }
        for (size_t i = 0; i < D; i++)
            x[i] = i % 3 ? INFINITY : NAN;
        nct_value_put(type, values, 0, x, D);
        nct_value_get(type, values, 0, D, y);
        for (size_t i = 0; i < D && type != NCT_KV_F32; i++)
            assert_true(i % 3 ? isfinite(y[i]) : type == NCT_KV_Q8 || isnan(y[i]));
        free(keys), free(values);
    }
}

/* ------------------------------------------------------------------ merging */

static void check_merge(const nct_kernels *ref, const nct_kernels *k) {
    static const size_t widths[] = {1, 2, 7, 8, 16, 24, 64, 80, 128, 130};
    for (size_t i = 0; i < sizeof widths / sizeof *widths; i++) {
        enum { N = 6 };
        size_t d = widths[i];
        answer a = answer_open(N, d), b = answer_open(N, d), one = answer_open(1, d);
        float *acc = made_floats(N * d), *total = made_floats(N * d);
        float m[N] = {1, 3, -INFINITY, 2, -INFINITY, -200}, l[N] = {2, 3, 0, 5, 0, 1};
        float m_total[N] = {2, 2.5f, 1, -INFINITY, -INFINITY, 100}, l_total[N] = {3, 4, 7, 0, 0, 2};
        for (int side = 0; side < 2; side++) {
            answer *to = side ? &b : &a;
            memcpy(to->m, m_total, sizeof m);
            memcpy(to->l, l_total, sizeof l);
            memcpy(to->acc, total, N * d * sizeof *acc);
            (side ? k : ref)->attend_merge(to->m, to->l, to->acc, m, l, acc, N, d);
        }
        for (size_t h = 0; h < N; h++) {
            assert_true(a.m[h] == b.m[h]);
            nct_test_near("l", b.l + h, a.l + h, 1, 1e-6 * (double)a.l[h]);
            for (size_t c = 0; c < d; c++)
                nct_test_near("acc", b.acc + h * d + c, a.acc + h * d + c, 1, 4e-6);
            *one.m = m_total[h]; /* a head alone */
            *one.l = l_total[h];
            memcpy(one.acc, total + h * d, d * sizeof *acc);
            k->attend_merge(one.m, one.l, one.acc, m + h, l + h, acc + h * d, 1, d);
            nct_test_same_bits("merged l", one.l, b.l + h, 1);
            nct_test_same_bits("merged acc", one.acc, b.acc + h * d, d);
        }
        nct_test_same_bits("a segment that saw nothing", b.acc + 2 * d, total + 2 * d, d);
        nct_test_same_bits("a first segment", b.acc + 3 * d, acc + 3 * d, d);
        free(acc), free(total);
        answer_close(&a);
        answer_close(&b);
        answer_close(&one);
    }
}

static void test_attend_merge__is_near_ref_and_keeps_the_empty_side_out(void **state) {
    (void)state;
    each_rung(check_merge);
}

/* Merging l = 1, acc = 1 at m = x into nothing but a maximum of 0 shows exp(x) itself. */
static float exponential(const nct_kernels *k, float x) {
    float m = 0, l = 1, acc = 0, m_total = x, l_total = 1, total = 1;
    k->attend_merge(&m_total, &l_total, &total, &m, &l, &acc, 1, 1);
    return total;
}

static void check_exponential(const nct_kernels *ref, const nct_kernels *k) {
    (void)ref;
    for (uint32_t bits = 0x80000000u; bits <= 0xc2ae0000u; bits += 7919) { /* -0 .. -87 */
        float x = nct_f32_from_bits(bits), y = exponential(k, x);
        double exact = exp((double)x);
        int exponent;
        frexp(exact, &exponent);
        if (!(fabs(y - exact) <= 2 * ldexp(1, exponent - 24)))
            fail_msg("%s: exp(%a) is %a, expected %a", k->isa, (double)x, (double)y, exact);
    }
    assert_true(exponential(k, 0) == 1.0f);
    for (float x = -87; x > -1e38f; x *= 1.01f)
        nct_test_near("exp of little", &(float){exponential(k, x)}, &(float){(float)exp((double)x)}, 1,
                      0x1p-125);
    assert_true(exponential(k, -1000) == 0.0f);
    assert_true(exponential(k, -INFINITY) == 0.0f);
    assert_true(isnan(exponential(k, NAN)));
}

static void test_attend__has_an_exponential_within_two_ulp(void **state) {
    (void)state;
    each_rung(check_exponential);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kv__stores_one_position),
        cmocka_unit_test(test_attend__is_near_ref),
        cmocka_unit_test(test_attend__gives_a_head_the_same_bits_in_any_company),
        cmocka_unit_test(test_attend__does_not_look_at_hidden_lanes),
        cmocka_unit_test(test_attend_merge__is_near_ref_and_keeps_the_empty_side_out),
        cmocka_unit_test(test_attend__has_an_exponential_within_two_ulp),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
