/* Scores of pooled keys: every rung against the definition. */
#include "kernel/made.h"

#include "kernel/kv.h"

static const size_t lanes[] = {1,  2,  7,  8,  9,  15,  16,  17,  24,  31,
                               33, 48, 63, 64, 65, 100, 127, 128, 200, 256};
enum { N_LANES = sizeof lanes / sizeof *lanes };

static void check_dots(const nct_kernels *ref, const nct_kernels *k) {
    static const size_t heads[] = {1, 2, 3, 4, 5, 8, 11, 16}, widths[] = {2, 30, 64, 128, 75};
    for (size_t a = 0; a < N_LANES; a++)
        for (size_t b = 0; b < sizeof heads / sizeof *heads; b++) {
            nct_kv_type type = (nct_kv_type)((a + b) % NCT_KV_TYPES);
            size_t n = lanes[a], n_heads = heads[b], d = widths[(a + 2 * b) % 5], stored = n + a % 3,
                   s_stride = n + 5;
            size_t vector = nct_query_bytes(d);
            float *q = made_floats(n_heads * d), *key = made_room(stored * d, sizeof *key);
            uint8_t *keys = made_room(nct_key_bytes(type, d, stored), 1),
                    *readied = made_room(n_heads, vector);
            float *s = made_room(n_heads * s_stride, sizeof *s),
                  *s_ref = made_room(n_heads * s_stride, sizeof *s);
            for (size_t j = 0; j < stored; j++) {
                for (size_t i = 0; i < d; i++)
                    key[j * d + i] = made_normal();
                nct_key_put(type, keys, stored, j, key + j * d, d);
                nct_key_get(type, keys, stored, j, d, key + j * d);
            }
            guard(s, n_heads * s_stride);
            ref->query(type, q, n_heads, d, readied);
            ref->dots(type, keys, stored, n, NULL, readied, n_heads, d, s_ref, s_stride);
            k->query(type, q, n_heads, d, readied);
            k->dots(type, keys, stored, n, NULL, readied, n_heads, d, s, s_stride);
            assert_written("dots", s, n_heads, s_stride, 0, n);
            for (size_t h = 0; h < n_heads; h++) {
                for (size_t j = 0; j < n; j++) {
                    double terms = 0, bound = (double)(d + 2) * 0x1p-24 + (type == NCT_KV_BF16 ? 0x1p-8 : 0);
                    for (size_t i = 0; i < d; i++)
                        terms += fabs((double)q[h * d + i] * key[j * d + i]);
                    if (type ==
                        NCT_KV_Q8) { /* the integer sum is exact; three roundings make a score of it */
                        terms = fabs((double)s_ref[h * s_stride + j]);
                        bound = 0x1p-22;
                    }
                    nct_test_near("dots", s + h * s_stride + j, s_ref + h * s_stride + j, 1, bound * terms);
                }
                size_t some = 1 + made_next() % n; /* one head and fewer lanes give the same bits */
                k->dots(type, keys, stored, some, keys, readied + h * vector, 1, d, s_ref, s_stride);
                nct_test_same_bits("dots of one head", s_ref, s + h * s_stride, some);
            }
            free(keys), free(key), free(readied), free(q), free(s), free(s_ref);
        }
}

static void test_dots__are_near_ref_and_blind_to_neighbours(void **state) {
    (void)state;
    each_way_to_attend(check_dots);
}

static void check_max(const nct_kernels *ref, const nct_kernels *k) {
    for (size_t a = 0; a < N_LANES; a++)
        for (size_t place = 0; place < lanes[a]; place++) {
            float *s = made_floats(lanes[a]);
            for (size_t j = 0; j < lanes[a]; j++)
                s[j] -= 10;
            s[place] = -5;
            assert_true(k->max(s, lanes[a]) == -5 && ref->max(s, lanes[a]) == -5);
            free(s);
        }
}

static void test_max__finds_the_largest_anywhere(void **state) {
    (void)state;
    each_rung(check_max);
}

static void check_exp(const nct_kernels *ref, const nct_kernels *k) {
    for (size_t a = 0; a < N_LANES; a++) {
        size_t n = lanes[a];
        float *s = made_floats(n), *total = made_room(n + 20, sizeof *total), *total_ref = made_floats(n);
        float top = ref->max(s, n);
        float sum_ref = ref->exp_sum(s, n, top, true);
        for (int accurate = 0; accurate < 2; accurate++) {
            float sum = k->exp_sum(s, n, top, accurate);
            nct_test_near("exp_sum", &sum, &sum_ref, 1, (accurate ? 4e-6 : 1e-5) * (double)sum_ref);
        }

        /* several heads; a coarse maximum may lie far below a fine score: kept finite */
        enum { HEADS = 5 };
        float *heads = made_floats(HEADS * (n + 3)), m[HEADS], factor[HEADS];
        for (size_t h = 0; h < HEADS; h++) {
            m[h] = 1 + made_uniform();
            factor[h] = 0.5f + (float)h;
        }
        heads[0] += 1000;
        ref->exp_heads(heads, n + 3, HEADS, n, m, factor, true, total_ref);
        for (int accurate = 0; accurate < 2; accurate++) {
            guard(total, n + 20);
            k->exp_heads(heads, n + 3, HEADS, n, m, factor, accurate, total);
            assert_written("exp_heads", total, 1, n + 20, 0, n);
            for (size_t j = 0; j < n; j++)
                nct_test_near("exp_heads", total + j, total_ref + j, 1,
                              (accurate ? 4e-6 : 1e-5) * (double)total_ref[j]);
        }
        free(heads);
        free(s), free(total), free(total_ref);
    }
}

static void test_exponentials__are_near_ref_and_stay_finite(void **state) {
    (void)state;
    each_rung(check_exp);
}

/* In one as one after the other, to the bit, and nothing is written past the lanes. */
static void check_exp_dots(const nct_kernels *ref, const nct_kernels *k) {
    static const size_t heads[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 16, 17}, widths[] = {2, 30, 64, 128, 75};
    (void)ref;
    if (!k->exp_dots)
        return;
    for (size_t a = 0; a < N_LANES; a++)
        for (size_t b = 0; b < sizeof heads / sizeof *heads; b++) {
            size_t n = lanes[a], n_heads = heads[b], d = widths[(a + 2 * b) % 5], stored = (n + 15) / 16 * 16 + 16 * (a % 2),
                   vector = nct_query_bytes(d);
            float *q = made_floats(n_heads * d), *key = made_floats(d), m[17], factor[17];
            uint8_t *keys = made_room(nct_key_bytes(NCT_KV_Q8, d, stored), 1), *readied = made_room(n_heads, vector);
            float *s = made_room(n_heads * n, sizeof *s), *apart = made_room(n, sizeof *apart),
                  *total = made_room(n + 20, sizeof *total);
            memset(keys, 0, nct_key_bytes(NCT_KV_Q8, d, stored));
            for (size_t j = 0; j < n; j++) {
                for (size_t i = 0; i < d; i++)
                    key[i] = made_normal();
                nct_key_put(NCT_KV_Q8, keys, stored, j, key, d);
            }
            for (size_t h = 0; h < n_heads; h++) {
                m[h] = made_uniform();
                factor[h] = 0.5f + (float)h;
            }
            m[0] -= 1000; /* far above what was the largest: kept finite */
            k->query(NCT_KV_Q8, q, n_heads, d, readied);
            k->dots(NCT_KV_Q8, keys, stored, n, NULL, readied, n_heads, d, s, n);
            k->exp_heads(s, n, n_heads, n, m, factor, false, apart);
            for (int next = 0; next < 2; next++) {
                guard(total, n + 20);
                k->exp_dots(keys, stored, n, next ? keys : NULL, readied, n_heads, d, m, factor, total);
                assert_written("exp_dots", total, 1, n + 20, 0, n);
                nct_test_same_bits("exp_dots", apart, total, n);
            }
            free(q), free(key), free(keys), free(readied), free(s), free(apart), free(total);
        }
}

static void test_exp_dots__has_the_bits_of_dots_and_then_exponentials(void **state) {
    (void)state;
    each_rung(check_exp_dots);
}

/* Scores with ties, zeros and an infinity: what blocks without a window have. */
static void make_scores(float *s, size_t n) {
    for (size_t j = 0; j < n; j++)
        s[j] = made_next() % 7 == 0 ? -INFINITY : (float)(made_next() % 50) * 0.125f;
}

static void check_window_max(const nct_kernels *ref, const nct_kernels *k) {
    static const size_t strides[] = {1, 2, 3, 4, 8};
    for (size_t a = 0; a < N_LANES; a++)
        for (size_t i = 0; i < sizeof strides / sizeof *strides; i++) {
            size_t n = lanes[a], per = strides[i];
            float *total = made_room(n * per + 1, sizeof *total), *score = made_room(n + 20, sizeof *score),
                  *score_ref = made_room(n, sizeof *score);
            make_scores(total, n * per + 1);
            guard(score, n + 20);
            k->window_max(total + 1, per, n, score);
            ref->window_max(total + 1, per, n, score_ref);
            nct_test_same_bits("window_max", score_ref, score, n);
            assert_written("window_max", score, 1, n + 20, 0, n);
            for (size_t b = 0; b < n; b++) {
                float top = -INFINITY;
                for (size_t j = per * b; j <= per * (b + 1); j++)
                    top = fmaxf(top, total[j]);
                assert_true(score[b] == top);
            }
            free(total), free(score), free(score_ref);
        }
}

static void test_window_max__is_of_a_block_and_the_window_before(void **state) {
    (void)state;
    each_rung(check_window_max);
}

static void check_above(const nct_kernels *ref, const nct_kernels *k) {
    (void)ref;
    for (size_t a = 0; a < N_LANES; a++) {
        size_t n = lanes[a];
        float *s = made_room(n, sizeof *s);
        uint32_t *index = made_room(n + 1, sizeof *index);
        make_scores(s, n);
        for (int cut = -1; cut < 52; cut++) {
            float least = cut < 0 ? -INFINITY : (float)cut * 0.125f;
            size_t found = k->find_above(s, n, least, index), expected = 0;
            assert_int_equal(k->count_above(s, n, least), found);
            for (size_t j = 0; j < n; j++)
                if (s[j] > least) {
                    assert_true(expected < found && index[expected] == j);
                    expected++;
                }
            assert_int_equal(expected, found);
        }
        free(s), free(index);
    }
}

static void test_above__counts_and_names_the_larger_ones(void **state) {
    (void)state;
    each_rung(check_above);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dots__are_near_ref_and_blind_to_neighbours),
        cmocka_unit_test(test_max__finds_the_largest_anywhere),
        cmocka_unit_test(test_exponentials__are_near_ref_and_stay_finite),
        cmocka_unit_test(test_exp_dots__has_the_bits_of_dots_and_then_exponentials),
        cmocka_unit_test(test_window_max__is_of_a_block_and_the_window_before),
        cmocka_unit_test(test_above__counts_and_names_the_larger_ones),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
