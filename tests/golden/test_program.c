/* The program itself against the reference: the comparisons that a person would make from a shell. */
#include <math.h>

#include "support/support.h"

static nct_json *json_of(const nct_test_run *run) {
    nct_json *json = NULL;
    if (run->code != 0)
        fail_msg("exit code %d: %s", run->code, run->err);
    NCT_ASSERT_OK(nct_json_parse("stdout", run->out, run->n_out, &json, fault));
    return json;
}

static nct_json *golden_stories(void) {
    nct_json *json = NULL;
    const char *path = nct_test_path("%s/data/stories/golden.json", NCT_SHARED_DIR);
    nct_test_need(path);
    NCT_ASSERT_OK(nct_json_open(path, &json, fault));
    return json;
}
static const char *story_model(const nct_json *model) {
    return nct_test_path("%s/data/stories/%s-minicpm", NCT_SHARED_DIR,
                         nct_json_string(nct_json_get(model, "model"), ""));
}

/* eval logits, all rows in one prompt and steps from `prefill` on, against the reference's rows. */
static void check_logits(const char *checkpoint, const char *name, const char *prefill) {
    nct_test_need(nct_test_path("%s/made", NCT_ORACLE_CKPT));
    const char *folder = nct_test_folder(), *ids_path = nct_test_path("%s/ids.json", folder),
               *out = nct_test_path("%s/out.f32", folder);
    nct_json *expected = NULL;
    nct_bytes ids = {0};
    NCT_ASSERT_OK(
        nct_json_open(nct_test_path("%s/oracle/expected/%s.json", NCT_SHARED_DIR, name), &expected, fault));
    NCT_ASSERT_OK(nct_json_write(nct_json_get(expected, "ids"), true, &ids, fault));
    nct_test_write(ids_path, ids.data, ids.n);
    size_t n_ids = nct_json_size(nct_json_get(expected, "ids")),
           first = prefill ? (size_t)atoi(prefill) - 1 : 0;

    const char *const arguments[] = {"eval",
                                     "logits",
                                     "-m",
                                     nct_test_path("%s/%s", NCT_ORACLE_CKPT, checkpoint),
                                     "--ids",
                                     nct_test_path("@%s", ids_path),
                                     "--logits",
                                     out,
                                     "-X",
                                     "exact=1",
                                     "--sparse",
                                     "off",
                                     prefill ? "--prefill" : NULL,
                                     prefill,
                                     NULL};
    nct_test_run run;
    nct_test_run_open(&run, NULL, arguments);
    nct_json *printed = json_of(&run);
    size_t n_got, n_want, n_positions, n_argmax;
    float *got = nct_test_read_f32(out, &n_got);
    float *want = nct_test_read_f32(nct_test_path("%s/%s.f32", NCT_ORACLE_CKPT, name), &n_want);
    size_t n_vocab = n_want / n_ids;
    assert_int_equal(n_got, (n_ids - first) * n_vocab);
    nct_test_near(name, got, want + first * n_vocab, n_got, 1e-3);

    int32_t *positions = nct_test_ids(nct_json_get(printed, "positions"), &n_positions);
    int32_t *argmax = nct_test_ids(nct_json_get(printed, "argmax"), &n_argmax);
    assert_int_equal(n_positions, n_ids - first);
    assert_int_equal(n_argmax, n_ids - first);
    for (size_t i = 0; i < n_positions; i++) {
        assert_int_equal(positions[i], first + i);
        assert_int_equal(argmax[i], nct_test_argmax(got + i * n_vocab, n_vocab));
    }
    nct_free(positions);
    nct_free(argmax);
    nct_free(got);
    nct_free(want);
    nct_json_close(printed);
    nct_json_close(expected);
    nct_bytes_reset(&ids);
    nct_test_run_close(&run);
    nct_test_folder_remove(folder);
}

static void test_program__eval_logits_matches_the_reference(void **state) {
    (void)state;
    check_logits("tiny", "tiny.48", NULL);
    check_logits("tiny", "tiny.48", "30");
    check_logits("tiny-int4", "tiny-int4.48", NULL);
    check_logits("tiny-int4.marlin", "tiny-int4.48", "30");
    check_logits("tiny-int4.awq", "tiny-int4.48", NULL);
}

static void test_program__run_from_ids_gives_the_golden_ids(void **state) {
    (void)state;
    nct_json *golden = golden_stories();
    for (const nct_json *m = nct_json_first(nct_json_get(golden, "models")); m; m = nct_json_next(m)) {
        int n = 0;
        for (const nct_json *p = nct_json_first(nct_json_get(m, "prompts")); p && n < 3;
             p = nct_json_next(p), n++) {
            nct_bytes list = {0};
            NCT_ASSERT_OK(nct_json_write(nct_json_get(p, "prompt_ids"), false, &list, fault));
            list.data[list.n - 1] = 0; /* [1,2,3] without its brackets */
            size_t n_want, n_got;
            int32_t *want = nct_test_ids(nct_json_get(p, "output_ids"), &n_want);
            const char *const arguments[] = {"run",
                                             "-m",
                                             story_model(m),
                                             "--ids",
                                             list.data + 1,
                                             "--greedy",
                                             "--json",
                                             "-X",
                                             "exact=1",
                                             "-n",
                                             nct_test_path("%zu", n_want),
                                             "--ignore-eos",
                                             NULL};
            nct_test_run run;
            nct_test_run_open(&run, NULL, arguments);
            nct_json *printed = json_of(&run);
            assert_string_equal(run.err, "");
            int32_t *got = nct_test_ids(nct_json_get(printed, "token_ids"), &n_got);
            assert_int_equal(n_got, n_want);
            assert_memory_equal(got, want, n_want * sizeof *want);
            nct_free(got);
            nct_free(want);
            nct_json_close(printed);
            nct_bytes_reset(&list);
            nct_test_run_close(&run);
        }
    }
    nct_json_close(golden);
}

static void test_program__eval_ppl_is_the_golden_one(void **state) {
    (void)state;
    nct_json *golden = golden_stories();
    for (const nct_json *m = nct_json_first(nct_json_get(golden, "models")); m; m = nct_json_next(m)) {
        const nct_json *p = nct_json_first(nct_json_get(m, "perplexity"));
        const char *text =
            nct_test_path("%s/data/stories/%s", NCT_SHARED_DIR, nct_json_string(nct_json_get(p, "text"), ""));
        const char *const arguments[] = {"eval",
                                         "ppl",
                                         text,
                                         "-m",
                                         story_model(m),
                                         "--json",
                                         "-X",
                                         "exact=1",
                                         "-c",
                                         nct_test_path("%d", (int)nct_json_int(nct_json_get(p, "window"), 0)),
                                         "--tokens",
                                         nct_test_path("%d", (int)nct_json_int(nct_json_get(p, "tokens"), 0)),
                                         NULL};
        nct_test_run run;
        nct_test_run_open(&run, NULL, arguments);
        nct_json *printed = json_of(&run);
        double got = nct_json_number(nct_json_get(printed, "ppl"), 0),
               want = nct_json_number(nct_json_get(p, "ppl"), 0);
        if (!(fabs(got - want) <= 1e-4 * want))
            fail_msg("%s: perplexity is %.6f, expected %.6f", story_model(m), got, want);
        nct_json_close(printed);
        nct_test_run_close(&run);
    }
    nct_json_close(golden);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_program__eval_logits_matches_the_reference),
        cmocka_unit_test(test_program__run_from_ids_gives_the_golden_ids),
        cmocka_unit_test(test_program__eval_ppl_is_the_golden_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
