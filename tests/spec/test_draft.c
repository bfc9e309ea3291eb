/* Loading draft heads: what does not fit the target is refused with both sizes, options do what they say, and memory
 * that is refused anywhere is an error and no leak. */
#include <math.h>

#include "spec/eagle.h"
#include "spec/eagle3.h"
#include "support/heads.h"
#include "support/support.h"

struct bench {
    nct_kernels kernels;
    nct_pool *pool;
    nct_exec exec;
    nct_model target;
    const char *dir;
};

static const nct_drafter *drafter_of(nct_draft_kind kind) {
    return kind == NCT_DRAFT_EAGLE ? &nct_drafter_eagle : &nct_drafter_eagle3;
}

/* A head on disk, and a target that is made for `fits`. */
static void bench_open(struct bench *b, const nct_test_head *head, const nct_test_head *fits,
                       size_t n_layers) {
    *b = (struct bench){.dir = nct_test_folder()};
    NCT_ASSERT_OK(nct_kernels_pick(nct_test_isa(), &b->kernels, fault));
    NCT_ASSERT_OK(nct_pool_open(1, &b->pool, fault));
    b->exec = (nct_exec){.kernels = &b->kernels, .pool = b->pool};
    nct_test_target_open(&b->target, fits, n_layers, NULL, NULL, b->pool);
    nct_test_head_write(b->dir, head);
}

static void bench_close(struct bench *b) {
    nct_test_target_close(&b->target);
    nct_pool_close(b->pool);
    nct_test_folder_remove(b->dir);
}

static void refuse(const struct bench *b, const nct_drafter *drafter, const nct_draft_options *options,
                   nct_status wanted, const char *words) {
    nct_error err = {0};
    void *weights = NULL;
    nct_status status = drafter->load(b->dir, &b->target, &b->exec, options, &weights, &err);
    assert_null(weights);
    if (status != wanted || !strstr(err.text, words))
        fail_msg("status %d and \"%s\", expected %d and \"%s\"", status, err.text, wanted, words);
    assert_null(strchr(err.text, '\n'));
}

static void test_draft__heads_for_other_targets_are_refused(void **state) {
    (void)state;
    for (int i = 0; i < 2; i++) {
        nct_draft_kind kind = i ? NCT_DRAFT_EAGLE3 : NCT_DRAFT_EAGLE;
        nct_test_head head = nct_test_head_make(kind), wide = head, many = head, heads = head;
        struct bench b;
        wide.hidden = 192, many.vocab = 400, heads.head_dim = 64;
        bench_open(&b, &head, &wide, 8);
        refuse(&b, drafter_of(kind), NULL, NCT_E_UNSUPPORTED,
               "for a hidden_size of 128, but its target has 192");
        bench_close(&b);
        bench_open(&b, &head, &many, 8);
        refuse(&b, drafter_of(kind), NULL, NCT_E_UNSUPPORTED,
               "for a vocab_size of 320, but its target has 400");
        bench_close(&b);
        bench_open(&b, &head, &heads, 8);
        refuse(&b, drafter_of(kind), NULL, NCT_E_UNSUPPORTED, "for a head_dim of 32, but its target has 64");
        bench_close(&b);
        const nct_drafter *found = NULL;
        bench_open(&b, &head, &head, 8);
        NCT_ASSERT_OK(nct_draft_find(b.dir, &found, fault));
        assert_ptr_equal(found, drafter_of(kind));
        refuse(&b, drafter_of(i ? NCT_DRAFT_EAGLE : NCT_DRAFT_EAGLE3), NULL, NCT_E_UNSUPPORTED,
               i ? "a draft head of EAGLE-3, expected one of EAGLE"
                 : "a draft head of EAGLE, expected one of EAGLE-3");
        bench_close(&b);
    }
    nct_test_head third = nct_test_head_make(NCT_DRAFT_EAGLE3);
    struct bench b;
    bench_open(&b, &third, &third, 4);
    refuse(&b, &nct_drafter_eagle3, NULL, NCT_E_UNSUPPORTED, "a target of at least 5, but its target has 4");
    bench_close(&b);
}

static void test_draft__scales_are_the_targets(void **state) {
    (void)state;
    static const struct {
        const char *config, *words;
    } cases[] = {{",\"scale_emb\":11", "a scale_emb of 11, but its target has 12"},
                 {",\"scale_depth\":1.5", "a scale_depth of 1.5, but its target has 1.4"},
                 {",\"dim_model_base\":32", "a dim_model_base of 32, but its target has 64"}};
    nct_test_head head = nct_test_head_make(NCT_DRAFT_EAGLE);
    struct bench b;
    for (size_t i = 0; i < 3; i++) {
        head.config = cases[i].config;
        bench_open(&b, &head, &head, 8);
        refuse(&b, &nct_drafter_eagle, NULL, NCT_E_UNSUPPORTED, cases[i].words);
        bench_close(&b);
    }
}

static void scales(const char *config, const nct_draft_options *options, double residual, double logit) {
    nct_test_head head = nct_test_head_make(NCT_DRAFT_EAGLE);
    struct bench b;
    void *weights = NULL;
    head.config = config;
    bench_open(&b, &head, &head, 8);
    NCT_ASSERT_OK(nct_drafter_eagle.load(b.dir, &b.target, &b.exec, options, &weights, fault));
    const nct_draft *d = weights;
    assert_true(fabs(d->residual_scale - residual) < 1e-6);
    assert_true(fabs(d->logit_scale - logit) < 1e-6);
    assert_int_equal(d->window, options && options->window ? options->window : 1024);
    nct_drafter_eagle.unload(weights);
    bench_close(&b);
}

static void test_draft__scales_have_their_defaults_and_can_be_chosen(void **state) {
    (void)state;
    static const char stated[] =
        ",\"scale_depth\":1.4,\"scale_emb\":12,\"dim_model_base\":64,\"mup_denominator\":32";
    scales(NULL, NULL, 1.4 / sqrt(8), 0.5);
    scales(stated, NULL, 1.4 / sqrt(32), 0.5);
    scales(stated, &(nct_draft_options){.residual_scale = 0.25, .logit_scale = 1, .window = 64}, 0.25, 1);
    nct_draft_config c = {.scale_depth = 1.4, .mup_denominator = NAN};
    nct_config target = {.n_layers = 32, .residual_scale = (float)(1.4 / sqrt(32))};
    assert_true(fabs(nct_eagle_residual_scale(&c, &target, false) - 0.247487) < 1e-6);
    assert_true(fabs(nct_eagle_residual_scale(&c, &target, true) - 0.243709) < 1e-6);
    c.scale_depth = NAN, c.mup_denominator = 16;
    assert_true(fabs(nct_eagle_residual_scale(&c, &target, false) - 0.35) < 1e-6);
}

static void test_draft__senseless_options_are_refused(void **state) {
    (void)state;
    nct_test_head head = nct_test_head_make(NCT_DRAFT_EAGLE), third = nct_test_head_make(NCT_DRAFT_EAGLE3);
    struct bench b;
    bench_open(&b, &head, &head, 8);
    const char *list = nct_test_path("%s/list.txt", b.dir);
    nct_test_write(list, "3 320\n", 6);
    refuse(&b, &nct_drafter_eagle, &(nct_draft_options){.residual_scale = -1}, NCT_E_ARGUMENT,
           "a residual scale of -1");
    refuse(&b, &nct_drafter_eagle, &(nct_draft_options){.logit_scale = NAN}, NCT_E_ARGUMENT,
           "a logit scale of nan");
    refuse(&b, &nct_drafter_eagle, &(nct_draft_options){.quant = NCT_QUANT_INT4, .group = 24}, NCT_E_ARGUMENT,
           "24");
    refuse(&b, &nct_drafter_eagle, &(nct_draft_options){.list = list}, NCT_E_FORMAT, "320");
    refuse(&b, &nct_drafter_eagle, &(nct_draft_options){.list = "no/such/list"}, NCT_E_IO, "no/such/list");
    bench_close(&b);
    bench_open(&b, &third, &third, 8);
    refuse(&b, &nct_drafter_eagle3, &(nct_draft_options){.list = "list"}, NCT_E_ARGUMENT,
           "a vocabulary of its own");
    bench_close(&b);
}

static void test_draft__no_head_is_an_error(void **state) {
    (void)state;
    void *line = NULL;
    nct_error err = {0};
    assert_int_equal(nct_drafter_eagle.open(NULL, &(nct_draft_target){.limit = 10}, NULL, &line, &err),
                     NCT_E_ARGUMENT);
    assert_non_null(strstr(err.text, "none were given"));
    assert_null(line);
}

/* A list of CPM.cu's name that lies beside the head is taken. */
static void test_draft__the_list_beside_the_head_is_found(void **state) {
    (void)state;
    nct_test_head head = nct_test_head_make(NCT_DRAFT_EAGLE);
    struct bench b;
    void *weights = NULL;
    bench_open(&b, &head, &head, 8);
    NCT_ASSERT_OK(nct_drafter_eagle.load(b.dir, &b.target, &b.exec, NULL, &weights, fault));
    assert_ptr_equal(((nct_draft *)weights)->head, b.target.weights.head); /* no copy without a list */
    nct_drafter_eagle.unload(weights);
    static const uint8_t pickle[] = {0x80, 2, ']', 'q', 0, '(', 'K', 2, 'M', 0x2c, 1, 'K', 7, 'e', '.'};
    nct_test_write(nct_test_path("%s/freq_32768.pt", b.dir), pickle, sizeof pickle);
    NCT_ASSERT_OK(nct_drafter_eagle.load(b.dir, &b.target, &b.exec, NULL, &weights, fault));
    const nct_draft *d = weights;
    assert_int_equal(d->head->panels.n_rows, 3);
    assert_int_equal(d->ids[1], 300);
    nct_drafter_eagle.unload(weights);
    bench_close(&b);
}

/* Loads, opens, observes and proposes with the k-th allocation refused, for every k. */
static void test_draft__every_refused_allocation_is_an_error(void **state) {
    (void)state;
    for (int i = 0; i < 2; i++) {
        nct_draft_kind kind = i ? NCT_DRAFT_EAGLE3 : NCT_DRAFT_EAGLE;
        const nct_drafter *drafter = drafter_of(kind);
        nct_test_head head = nct_test_head_make(kind);
        struct bench b;
        head.codes = NCT_HEAD_GPTQ, head.bias = !i;
        bench_open(&b, &head, &head, 8);
        const char *list = nct_test_path("%s/list.txt", b.dir);
        nct_test_write(list, "3 5 7 9\n", 8);
        nct_draft_options options = {.list = i ? NULL : list};
        nct_draft_target target = {.model = &b.target, .rope = &b.target.rope, .limit = 100, .n_threads = 1};
        float row[3 * 128] = {1};
        int32_t token[] = {1, 2};
        nct_pairs pairs = {.n = 1, .token = token, .row = row, .stride = 3 * 128};
        nct_ask ask = {.n_max = 4, .depth_max = 2, .width = 2};
        nct_status status = NCT_E_MEMORY;
        long k = 0;
        while (status == NCT_E_MEMORY) {
            void *weights = NULL, *line = NULL;
            nct_tree tree;
            size_t n_passes;
            nct_tree_init(&tree, 2);
            atomic_store(&nct_mem_fail_in, ++k);
            status = drafter->load(b.dir, &b.target, &b.exec, &options, &weights, NULL);
            if (status == NCT_OK)
                status = drafter->open(weights, &target, &options, &line, NULL);
            if (status == NCT_OK)
                status = drafter->observe(line, &b.exec, &pairs, NULL);
            if (status == NCT_OK)
                status = drafter->propose(line, &b.exec, &ask, &tree, &n_passes, NULL);
            atomic_store(&nct_mem_fail_in, -1);
            assert_true(status != NCT_OK || tree.n == 4);
            drafter->close(line);
            drafter->unload(weights);
            assert_true(k < 2000);
        }
        assert_int_equal(status, NCT_OK);
        assert_true(k > 20);
        bench_close(&b);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_draft__heads_for_other_targets_are_refused),
        cmocka_unit_test(test_draft__scales_are_the_targets),
        cmocka_unit_test(test_draft__scales_have_their_defaults_and_can_be_chosen),
        cmocka_unit_test(test_draft__senseless_options_are_refused),
        cmocka_unit_test(test_draft__no_head_is_an_error),
        cmocka_unit_test(test_draft__the_list_beside_the_head_is_found),
        cmocka_unit_test(test_draft__every_refused_allocation_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
