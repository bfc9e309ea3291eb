#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "attn/cache.h"

enum { LAYERS = 2, KV = 2, D = 6 };

static void fill(float *k, float *v, size_t layer, size_t kv, size_t position) {
    for (size_t i = 0; i < D; i++) {
        k[i] = (float)(position * 100 + layer * 20 + kv * 10 + i);
        v[i] = -k[i];
    }
}

static void test_cache__every_position_is_found_where_it_was_stored(void **state) {
    (void)state;
    nct_cache cache;
    enum { N = 1100 };
    assert_int_equal(
        nct_cache_open(&(nct_cache_options){.n_layers = LAYERS, .n_kv_heads = KV, .head_dim = D, .limit = N},
                       &cache, NULL),
        NCT_OK);
    float k[D], v[D];
    for (size_t p = 0; p < N; p++) {
        assert_int_equal(nct_cache_reserve(&cache, p + 1, NULL), NCT_OK);
        for (size_t layer = 0; layer < LAYERS; layer++)
            for (size_t kv = 0; kv < KV; kv++) {
                fill(k, v, layer, kv, p);
                nct_cache_store(&cache, layer, kv, p, k, v);
            }
    }
    for (size_t p = 0; p < N; p++)
        for (size_t layer = 0; layer < LAYERS; layer++)
            for (size_t kv = 0; kv < KV; kv++) {
                fill(k, v, layer, kv, p);
                nct_step step = nct_cache_step(&cache, layer, kv, p / NCT_STEP);
                for (size_t i = 0; i < D; i++) {
                    assert_true(((const float *)step.k)[i * NCT_STEP + p % NCT_STEP] == k[i]);
                    assert_true(((const float *)step.v)[p % NCT_STEP * D + i] == v[i]);
                }
            }
    nct_cache_close(&cache);
}

static void test_cache__memory_follows_the_positions(void **state) {
    (void)state;
    nct_cache cache;
    assert_int_equal(
        nct_cache_open(
            &(nct_cache_options){.n_layers = LAYERS, .n_kv_heads = KV, .head_dim = D, .limit = 1 << 20},
            &cache, NULL),
        NCT_OK);
    assert_int_equal(nct_cache_bytes(&cache), 0);
    assert_int_equal(nct_cache_reserve(&cache, 1, NULL), NCT_OK);
    assert_int_equal(nct_cache_bytes(&cache), (size_t)NCT_PAGE * LAYERS * KV * D * 2 * sizeof(float));
    assert_int_equal(nct_cache_reserve(&cache, NCT_PAGE, NULL), NCT_OK);
    assert_int_equal(cache.n_committed, 1);
    assert_int_equal(nct_cache_reserve(&cache, NCT_PAGE + 1, NULL), NCT_OK);
    assert_int_equal(cache.n_committed, 2);
    nct_cache_close(&cache);
}

static void test_cache__a_copy_holds_the_same_and_trimmed_memory_comes_back_empty(void **state) {
    (void)state;
    enum { N = 2 * NCT_PAGE + 100, HELD = NCT_PAGE + 70 };
    const nct_cache_options options = {.n_layers = LAYERS, .n_kv_heads = KV, .head_dim = D, .limit = N};
    nct_cache from, to;
    float k[D], v[D];
    assert_int_equal(nct_cache_open(&options, &from, NULL), NCT_OK);
    assert_int_equal(nct_cache_open(&options, &to, NULL), NCT_OK);
    assert_int_equal(nct_cache_reserve(&from, N, NULL), NCT_OK);
    assert_int_equal(nct_cache_reserve(&to, N, NULL), NCT_OK);
    for (size_t p = 0; p < N; p++)
        for (size_t layer = 0; layer < LAYERS; layer++)
            for (size_t kv = 0; kv < KV; kv++) {
                fill(k, v, layer, kv, p);
                nct_cache_store(&from, layer, kv, p, k, v);
                nct_cache_store(&to, layer, kv, p, v, k);
            }
    from.length = N;
    to.length = 3;
    nct_cache_trim(&to, 3);
    assert_int_equal(to.n_committed, 1);
    assert_int_equal(nct_cache_copy(&from, HELD, &to, NULL), NCT_OK);
    assert_int_equal(to.length, HELD);
    assert_int_equal(to.n_committed, 2);
    for (size_t p = 0; p < HELD; p++)
        for (size_t layer = 0; layer < LAYERS; layer++)
            for (size_t kv = 0; kv < KV; kv++) {
                fill(k, v, layer, kv, p);
                nct_step step = nct_cache_step(&to, layer, kv, p / NCT_STEP);
                for (size_t i = 0; i < D; i++) {
                    assert_true(((const float *)step.k)[i * NCT_STEP + p % NCT_STEP] == k[i]);
                    assert_true(((const float *)step.v)[p % NCT_STEP * D + i] == v[i]);
                }
            }
    assert_int_equal(nct_cache_reserve(&to, N, NULL), NCT_OK); /* the page that was given back */
    assert_true(((const float *)nct_cache_step(&to, 0, 0, 2 * NCT_PAGE / NCT_STEP).k)[0] == 0);
    nct_cache_close(&from);
    nct_cache_close(&to);
}

static void test_cache__refuses_more_than_its_limit(void **state) {
    (void)state;
    nct_cache cache;
    nct_error err;
    assert_int_equal(
        nct_cache_open(
            &(nct_cache_options){.n_layers = LAYERS, .n_kv_heads = KV, .head_dim = D, .limit = 100}, &cache,
            NULL),
        NCT_OK);
    assert_int_equal(nct_cache_reserve(&cache, 100, &err), NCT_OK);
    assert_int_equal(nct_cache_reserve(&cache, 101, &err), NCT_E_CONTEXT);
    assert_string_equal(err.text, "101 tokens do not fit a context of 100");
    nct_cache_close(&cache);
}

static void test_cache__impossible_sizes_are_refused(void **state) {
    (void)state;
    nct_cache cache;
    assert_int_equal(nct_cache_open(
                         &(nct_cache_options){
                             .n_layers = 1024, .n_kv_heads = 4096, .head_dim = 512, .limit = (size_t)1 << 50},
                         &cache, NULL),
                     NCT_E_MEMORY);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cache__every_position_is_found_where_it_was_stored),
        cmocka_unit_test(test_cache__memory_follows_the_positions),
        cmocka_unit_test(test_cache__a_copy_holds_the_same_and_trimmed_memory_comes_back_empty),
        cmocka_unit_test(test_cache__refuses_more_than_its_limit),
        cmocka_unit_test(test_cache__impossible_sizes_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
