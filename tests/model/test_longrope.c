/* The published lists for 128K: they are the native ones stretched by the stated rule, and only checkpoints whose
 * they are get them. */
#include "model/longrope.h"

#include <math.h>

#include "attn/rope.h"
#include "noctule.h"
#include "support/factors_8b.h"
#include "support/support.h"

/* MiniCPM4.1-8B, native window, as reconstructed in model-and-infllm-v2.md A.4 */
static const double factors_41[64] = {
    0.9982316082870437, 1.033048153422584,  1.0749920956484724, 1.1255096879436193, 1.1863348602111476,
    1.259543828902579,  1.3476188888731149, 1.4535223827776373, 1.5807816745852985, 1.7335856049489526,
    1.9168922912975785, 2.1365471404135326, 2.3994084200118646, 2.713475511863602,  3.0880118452194134,
    3.533650295140154,  4.062463396503134,  4.687974098908333,  5.425075306704039,  6.289818967956352,
    7.29902962722721,   8.469695779093664,  9.81809877306655,   11.358657902065282, 13.102505860712087,
    15.055862949967128, 17.218348131364184, 19.581439255386453, 22.127353314656723, 24.828633849376587,
    27.648682077177504, 30.54334096108829,  33.46345345363812,  36.358112337548896, 39.17816056534983,
    41.879441100069684, 44.425355159339965, 46.78844628336222,  48.95093146475928,  50.90428855401433,
    52.648136512661125, 54.18869564165987,  55.537098635632745, 56.7077647874992,   57.71697544677006,
    58.58171910802236,  59.31882031581807,  59.94433101822328,  60.47314411958625,  60.918782569507,
    61.29331890286281,  61.60738599471455,  61.87024727431288,  62.089902123428836, 62.27320880977746,
    62.42601274014111,  62.55327203194878,  62.65917552585329,  62.74725058582382,  62.82045955451526,
    62.88128472678279,  62.931802319077946, 62.97374626130382,  63.008562806439365};

static double own[64];

static nct_raw_config shape_8b(const double *list, int64_t window) {
    memcpy(own, list, sizeof own);
    return (nct_raw_config){.hidden_size = 4096,
                            .intermediate_size = 16384,
                            .n_layers = 32,
                            .n_heads = 32,
                            .n_kv_heads = 2,
                            .head_dim = 128,
                            .vocab_size = 73448,
                            .rope_theta = 10000,
                            .max_positions = window,
                            .rope_original_max = window,
                            .has_rope_factors = true,
                            .n_rope_factors = 64,
                            .short_factor = own,
                            .long_factor = own};
}

static const double *find(const nct_raw_config *raw) {
    const double *factor = NULL;
    size_t positions = 0;
    if (!nct_longrope_published(raw, &factor, &positions))
        return NULL;
    assert_int_equal(positions, 131072);
    return factor;
}

static void test_longrope__is_the_native_list_times_the_ramp(void **state) {
    (void)state;
    nct_raw_config raw = shape_8b(factors_8b, 32768);
    const double *list = find(&raw);
    assert_non_null(list);
    for (size_t i = 0; i < 64; i++)
        assert_true(fabs(list[i] - factors_8b[i] * nct_longrope_ratio(i, 4)) < 1e-11);
    assert_true(nct_longrope_ratio(20, 4) == 1 && nct_longrope_ratio(46, 4) == 4 &&
                nct_longrope_ratio(63, 2) == 2);
    assert_true(nct_longrope_ratio(33, 4) == 1.6); /* the middle of the ramp: 1 / (1 - 3/4 * 1/2) */
    assert_true(list[21] == 4.752651957515948 && list[63] == 124.09569231686116);
}

static void test_longrope__the_second_list_gives_the_symmetric_native_one(void **state) {
    (void)state;
    nct_raw_config raw = shape_8b(factors_41, 65536);
    const double *list = find(&raw);
    assert_non_null(list);
    for (size_t i = 0; i < 64; i++) {
        double native = list[i] / nct_longrope_ratio(i, 2),
               opposite = list[63 - i] / nct_longrope_ratio(63 - i, 2);
        assert_true(fabs(native - factors_41[i]) < 1e-11);
        assert_true(fabs(native + opposite - 64.0067944147264) < 1e-11);
    }
}

static void test_longrope__knows_its_own_in_either_precision_and_after_the_readmes_change(void **state) {
    (void)state;
    nct_raw_config raw = shape_8b(factors_8b, 32768);
    const double *first = find(&raw);
    for (size_t i = 0; i < 64; i++)
        own[i] = (float)own[i];
    assert_ptr_equal(find(&raw), first);
    memcpy(own, first, sizeof own);
    assert_ptr_equal(find(&raw), first);
    raw = shape_8b(factors_41, 65536);
    assert_non_null(find(&raw));
    assert_ptr_not_equal(find(&raw), first);
}

static void test_longrope__takes_nothing_else_for_them(void **state) {
    (void)state;
    nct_raw_config raw = shape_8b(factors_8b, 65536); /* the list of one, the window of the other */
    assert_null(find(&raw));
    raw = shape_8b(factors_41, 32768);
    assert_null(find(&raw));
    raw = shape_8b(factors_8b, 32768);
    own[40] *= 1.0001;
    assert_null(find(&raw));
    raw = shape_8b(factors_8b, 32768);
    raw.max_positions = 131072; /* someone raised the window: the attention factor is theirs then */
    assert_null(find(&raw));
    raw = shape_8b(factors_8b, 32768);
    raw.rope_theta = 1e6;
    assert_null(find(&raw));
    raw = shape_8b(factors_8b, 32768);
    raw.n_layers = 24;
    assert_null(find(&raw));
    raw = shape_8b(factors_8b, 32768);
    raw.vocab_size = 73472;
    assert_null(find(&raw));
    raw = shape_8b(factors_8b, 32768);
    raw.has_rope_factors = false;
    assert_null(find(&raw));
}

static void test_longrope__slow_rotations_reach_four_times_as_far_and_fast_ones_stay(void **state) {
    (void)state;
    nct_raw_config raw = shape_8b(factors_8b, 32768);
    nct_rope native, longer;
    NCT_ASSERT_OK(nct_rope_open(128, 10000, factors_8b, 32768, 32768, &native, fault));
    NCT_ASSERT_OK(nct_rope_open(128, 10000, find(&raw), 32768, 32768, &longer, fault));
    assert_true(longer.scale == 1.0f); /* max_position_embeddings stays as it is */
    float cos_n[64], sin_n[64], cos_l[64], sin_l[64];
    nct_rope_at(&native, 32767, cos_n, sin_n);
    nct_rope_at(&longer, 4 * 32767, cos_l, sin_l);
    for (size_t i = 46; i < 64; i++)
        assert_true(fabsf(cos_n[i] - cos_l[i]) < 1e-5f && fabsf(sin_n[i] - sin_l[i]) < 1e-5f);
    nct_rope_at(&native, 100000, cos_n, sin_n);
    nct_rope_at(&longer, 100000, cos_l, sin_l);
    for (size_t i = 0; i <= 20; i++)
        assert_true(cos_n[i] == cos_l[i] && sin_n[i] == sin_l[i]);
    assert_true(cos_n[40] != cos_l[40]);
    nct_rope_close(&native);
    nct_rope_close(&longer);
}

/* An engine of the published shape, for its text only, with the tokenizer at `tokenizer`. */
static void open_8b(const char *tokenizer, nct_model_info *info) {
    const char *folder = nct_test_folder();
    size_t n;
    char *data = nct_test_read(nct_test_path("%s/float/model.safetensors", NCT_TINY_DIR), &n);
    nct_test_write(nct_test_path("%s/model.safetensors", folder), data, n);
    nct_free(data);
    data = nct_test_read(tokenizer, &n);
    nct_test_write(nct_test_path("%s/tokenizer.json", folder), data, n);
    nct_free(data);
    nct_bytes config = {0};
    NCT_ASSERT_OK(nct_bytes_printf(
        &config, fault,
        "{\"architectures\":[\"MiniCPMForCausalLM\"],\"hidden_size\":4096,\"intermediate_size\":16384,"
        "\"num_hidden_layers\":32,\"num_attention_heads\":32,\"num_key_value_heads\":2,"
        "\"vocab_size\":73448,\"max_position_embeddings\":32768,\"tie_word_embeddings\":true,"
        "\"rope_scaling\":{\"rope_type\":\"longrope\",\"original_max_position_embeddings\":32768"));
    for (int list = 0; list < 2; list++) {
        NCT_ASSERT_OK(nct_bytes_printf(&config, fault, ",\"%s_factor\":[", list ? "long" : "short"));
        for (size_t i = 0; i < 64; i++)
            NCT_ASSERT_OK(nct_bytes_printf(&config, fault, "%s%.17g", i ? "," : "", factors_8b[i]));
        NCT_ASSERT_OK(nct_bytes_add_str(&config, "]", fault));
    }
    NCT_ASSERT_OK(nct_bytes_add_str(&config, "}}", fault));
    nct_test_write(nct_test_path("%s/config.json", folder), config.data, config.n);
    nct_bytes_reset(&config);
    nct_engine *engine = NULL;
    NCT_ASSERT_OK(nct_engine_open(folder, &(nct_engine_options){.text_only = true}, &engine, fault));
    nct_engine_info(engine, info);
    nct_engine_close(engine);
    nct_test_folder_remove(folder);
}

static void test_longrope__belongs_to_the_shape_with_another_tokenizer_not(void **state) {
    (void)state;
    nct_model_info info;
    open_8b(nct_test_path("%s/float/tokenizer.json", NCT_TINY_DIR), &info);
    assert_int_equal(info.max_positions, 32768);
    assert_int_equal(info.long_positions, 0);
    assert_false(info.long_built_in);
}

static void test_longrope__belongs_to_the_shape_with_its_tokenizer(void **state) {
    (void)state;
    const char *tokenizer = nct_test_path("%s/minicpm4/MiniCPM4-8B/tokenizer.json", NCT_SHARED_DIR "/data");
    nct_model_info info;
    nct_test_need(tokenizer);
    open_8b(tokenizer, &info);
    assert_int_equal(info.max_positions, 32768);
    assert_int_equal(info.long_positions, 131072);
    assert_true(info.long_built_in);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_longrope__is_the_native_list_times_the_ramp),
        cmocka_unit_test(test_longrope__the_second_list_gives_the_symmetric_native_one),
        cmocka_unit_test(test_longrope__knows_its_own_in_either_precision_and_after_the_readmes_change),
        cmocka_unit_test(test_longrope__takes_nothing_else_for_them),
        cmocka_unit_test(test_longrope__slow_rotations_reach_four_times_as_far_and_fast_ones_stay),
        cmocka_unit_test(test_longrope__belongs_to_the_shape_with_another_tokenizer_not),
        cmocka_unit_test(test_longrope__belongs_to_the_shape_with_its_tokenizer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
