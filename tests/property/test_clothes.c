/* The same numbers give the same logits, whatever they are written as: support/checkpoint.h writes one model
 * in every encoding and container, each holding exactly the same weights. */
#include "support/checkpoint.h"
#include "support/model.h"
#include "support/support.h"

enum { N_IDS = 70 };

/* Coded weights add up group by group, floats in one chain: the same numbers, another order of sums. */
static const double ORDER = 2e-5;

static float *logits_of(const char *path, bool exact, size_t *n_values) {
    nct_test_model model;
    int32_t ids[N_IDS];
    nct_test_model_open(&model, path, (nct_test_how){.exact = exact});
    for (int i = 0; i < N_IDS; i++)
        ids[i] = (int32_t)((size_t)(1 + i * i * 7) % model.n_vocab);
    float *rows = nct_test_feed(&model, ids, N_IDS, 0);
    *n_values = N_IDS * model.n_vocab;
    nct_test_model_close(&model);
    return rows;
}

typedef struct clothes {
    const char *name;
    nct_tiny_weights weights;
    size_t n_shards;
    bool same_bits; /* as the first of the list */
} clothes;

static void check_alike(nct_tiny tiny, const clothes *list, size_t n, bool exact) {
    const char *folder = nct_test_folder();
    float *first = NULL;
    for (size_t i = 0; i < n; i++) {
        const char *path = nct_test_path("%s/%s", folder, list[i].name);
        tiny.weights = list[i].weights;
        tiny.n_shards = list[i].n_shards;
        nct_tiny_write(path, &tiny);
        size_t n_values;
        float *rows = logits_of(path, exact, &n_values);
        if (!first) {
            first = rows;
            continue;
        }
        if (list[i].same_bits)
            nct_test_same_bits(list[i].name, rows, first, n_values);
        else
            nct_test_near(list[i].name, rows, first, n_values, ORDER);
        nct_free(rows);
    }
    nct_free(first);
    nct_test_folder_remove(folder);
}

/* The embedding and the head beside coded weights are float16, which holds these numbers exactly. */
static const clothes all[] = {
    {"f32", NCT_TINY_F32, 1, false},
    {"f32-sharded", NCT_TINY_F32, 3, true},
    {"f16", NCT_TINY_F16, 1, true},
    {"bf16", NCT_TINY_BF16, 1, true},
    {"gptq", NCT_TINY_GPTQ, 1, false},
    {"gptq-v2", NCT_TINY_GPTQ_V2, 1, false},
    {"gptq-asym", NCT_TINY_GPTQ_ASYM, 1, false},
    {"gptq-act", NCT_TINY_GPTQ_ACT, 1, false},
    {"awq", NCT_TINY_AWQ, 1, false},
    {"awq-sharded", NCT_TINY_AWQ, 2, false},
};

static void test_clothes__every_encoding_gives_the_same_logits(void **state) {
    (void)state;
    check_alike((nct_tiny){.seed = 21}, all, sizeof all / sizeof *all, true);
    check_alike((nct_tiny){.seed = 22, .tied = true, .longrope = true}, all, sizeof all / sizeof *all, true);
}

static void test_clothes__symmetric_codes_give_the_same_bits_in_both_modes(void **state) {
    (void)state;
    /* Marlin wants widths of 128 and 64; its group is 128 or the whole row. */
    static const clothes coded[] = {
        {"gptq", NCT_TINY_GPTQ, 1, true},
        {"gptq-v2", NCT_TINY_GPTQ_V2, 1, true},
        {"gptq-sharded", NCT_TINY_GPTQ, 4, true},
        {"marlin", NCT_TINY_MARLIN, 1, true},
    };
    nct_tiny tiny = {.seed = 23, .hidden = 256, .head_dim = 64, .group = 128};
    check_alike(tiny, coded, 4, true);
    check_alike(tiny, coded, 4, false);
}

static void test_clothes__zero_points_give_the_same_bits_in_both_modes(void **state) {
    (void)state;
    static const clothes coded[] = {{"gptq-asym", NCT_TINY_GPTQ_ASYM, 1, true},
                                    {"awq", NCT_TINY_AWQ, 1, true}};
    check_alike((nct_tiny){.seed = 24}, coded, 2, true);
    check_alike((nct_tiny){.seed = 24}, coded, 2, false);
}

static void test_clothes__scattered_groups_give_the_same_logits(void **state) {
    (void)state;
    static const clothes scattered[] = {{"f32", NCT_TINY_F32, 1, false},
                                        {"gptq-act", NCT_TINY_GPTQ_ACT, 1, false}};
    check_alike((nct_tiny){.seed = 25, .scattered = true}, scattered, 2, true);
}

/* Types of ggml whose blocks can hold q * s without rounding are compared with the float model. */
static void test_clothes__gguf_gives_the_same_logits(void **state) {
    (void)state;
    static const struct {
        const char *name;
        uint32_t type;
    } types[] = {{"F32", 0},  {"F16", 1},  {"BF16", 30}, {"Q4_0", 2},
                 {"Q4_1", 3}, {"Q5_0", 6}, {"Q5_1", 7},  {"Q8_0", 8}};
    for (int llama = 0; llama < 2; llama++) {
        const char *folder = nct_test_folder(), *path = nct_test_path("%s/f32", folder);
        nct_tiny tiny = {.seed = 26, .llama = llama};
        nct_tiny_write(path, &tiny);
        size_t n_values, n_again;
        float *want = logits_of(path, true, &n_values);
        for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
            path = nct_test_path("%s/%s.gguf", folder, types[i].name);
            nct_tiny_write_gguf(path, &tiny, types[i].type);
            float *rows = logits_of(path, true, &n_again);
            assert_int_equal(n_again, n_values);
            nct_test_near(types[i].name, rows, want, n_values, ORDER);
            nct_free(rows);
        }
        nct_free(want);
        nct_test_folder_remove(folder);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_clothes__every_encoding_gives_the_same_logits),
        cmocka_unit_test(test_clothes__symmetric_codes_give_the_same_bits_in_both_modes),
        cmocka_unit_test(test_clothes__zero_points_give_the_same_bits_in_both_modes),
        cmocka_unit_test(test_clothes__scattered_groups_give_the_same_logits),
        cmocka_unit_test(test_clothes__gguf_gives_the_same_logits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
