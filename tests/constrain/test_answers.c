/* Answers of real models under constraints drawn by chance: always finished within the limit, always valid, and the
 * same with guessing ahead. NCT_CONSTRAIN_CASES=2000 runs more of them on the shipped model, NCT_CONSTRAIN_DUMP=FILE
 * keeps schemas and texts as JSON lines for other validators. */
#include "made_schema.h"
#include "reader.h"
#include "support/model.h"
#include "support/support.h"

#define SHIPPED NCT_MODELS_DIR "/pipistrelle-8m"

typedef struct asker {
    nct_test_model model;
    nct_session *guessing;
    int32_t *prompt;
    size_t n_prompt;
    FILE *dump;
    size_t n_refused; /* texts near valid ones that were not */
} asker;

typedef struct answer {
    int32_t id[256];
    size_t n, n_max;
    nct_matcher *matcher;
    char *text;
    size_t n_text;
} answer;

static void open_asker(asker *a, const char *path) {
    *a = (asker){0};
    nct_test_model_open(&a->model, path, (nct_test_how){.n_threads = 1});
    nct_session_options options = {.n_ctx = 512, .drafter = "ngram", .n_guess = 8};
    NCT_ASSERT_OK(nct_session_open(a->model.engine, &options, &a->guessing, fault));
    NCT_ASSERT_OK(nct_encode(a->model.engine, "the bat the bat a a a 0", 23, false, true, &a->prompt,
                             &a->n_prompt, fault));
    if (getenv("NCT_CONSTRAIN_DUMP"))
        a->dump = fopen(getenv("NCT_CONSTRAIN_DUMP"), "a");
}

static void close_asker(asker *a) {
    nct_free(a->prompt);
    nct_session_close(a->guessing);
    nct_test_model_close(&a->model);
    if (a->dump)
        fclose(a->dump);
}

static bool take(void *context, int32_t id) {
    answer *a = context;
    assert_true(a->n < 256);
    a->id[a->n++] = id;
    return a->n < a->n_max;
}

/* False: the constraint cannot be completed in n_max tokens. */
static bool ask(asker *k, nct_session *session, nct_constraint *c, const nct_sampling *sampling, size_t n_max,
                answer *a) {
    nct_error err = {0};
    nct_matcher_options options = {.n_max = n_max, .strip = true};
    *a = (answer){.n_max = n_max};
    nct_status status = nct_matcher_open(c, &options, &a->matcher, &err);
    if (status == NCT_E_LENGTH)
        return false;
    if (status != NCT_OK)
        fail_msg("%s", err.text);
    NCT_ASSERT_OK(nct_session_rewind(session, 0, fault));
    NCT_ASSERT_OK(nct_session_feed(session, k->prompt, k->n_prompt, NULL, fault));
    nct_generate_options generate = {.sampling = sampling,
                                     .n_prompt = (int)k->n_prompt,
                                     .matcher = a->matcher,
                                     .take = take,
                                     .context = a};
    NCT_ASSERT_OK(nct_session_generate(session, &generate, fault));
    assert_true(nct_matcher_is_complete(a->matcher));
    nct_matcher_close(a->matcher);
    NCT_ASSERT_OK(nct_decode(k->model.engine, a->id, a->n, false, &a->text, &a->n_text, fault));
    return true;
}

static nct_sampling draw_sampling(dice *d, uint64_t seed) {
    static const double temperatures[] = {0, 0.3, 0.8, 1.5, 8};
    return (nct_sampling){.temperature = temperatures[roll(d, 5)],
                          .top_k = roll(d, 3) ? 0 : 1 + (int)roll(d, 50),
                          .top_p = roll(d, 2) ? 1 : 0.5,
                          .min_p = roll(d, 4) ? 0 : 0.1,
                          .repeat_penalty = roll(d, 3) ? 1 : 1.3,
                          .presence_penalty = roll(d, 4) ? 0 : 1,
                          .seed = seed};
}

/* Texts near a valid one: both readers think the same of them. */
static void check_near(const made *m, dice *d, const char *text, size_t n, size_t *n_refused) {
    static const char *const pieces[] = {"a", "0", " ", "\xe6\xbc\xa2", "-", "yes", ""};
    reader r;
    NCT_ASSERT_OK(reader_open(&r, nct_grammar_add_gbnf, m->gbnf.data, fault));
    for (int i = 0; i < 8 && n < MADE_TEXT; i++) {
        nct_bytes near = {0};
        size_t at = roll(d, (unsigned)n + 1);
        while (at > 0 && at < n && ((unsigned char)text[at] & 0xc0) == 0x80)
            at--;
        size_t gone = at < n && roll(d, 2) ? 1 : 0;
        while (gone && at + gone < n && ((unsigned char)text[at + gone] & 0xc0) == 0x80)
            gone++;
        NCT_ASSERT_OK(nct_bytes_add(&near, text, at, fault));
        NCT_ASSERT_OK(nct_bytes_add_str(&near, pieces[roll(d, 7)], fault));
        NCT_ASSERT_OK(nct_bytes_add(&near, text + at + gone, n - at - gone, fault));
        bool taken = made_takes(m, near.data, near.n);
        if (taken != reader_takes(&r, near.data, near.n))
            fail_msg("%s: '%s' is %s", m->gbnf.data, near.data, taken ? "not taken" : "taken");
        *n_refused += !taken;
        nct_bytes_reset(&near);
    }
    reader_close(&r);
}

/* One constraint, with a limit that is drawn, or the tightest that there is. */
static void check_case(asker *k, nct_constraint_kind kind, const char *text, size_t n, const made *grammar,
                       const nct_json *schema, uint64_t seed) {
    nct_constraint *c = NULL;
    dice d = {.seed = seed ^ 0xd1ce};
    nct_constraint_source source = {.kind = kind, .name = "made", .text = text, .n_bytes = n};
    NCT_ASSERT_OK(nct_constraint_open(k->model.engine, &source, &c, fault));
    nct_sampling sampling = draw_sampling(&d, seed);
    size_t n_max = 1 + roll(&d, 40);
    answer a, b;
    while (!ask(k, k->model.session, c, &sampling, n_max, &a)) {
        n_max++;
        assert_true(n_max < 250);
    }
    if (grammar && !made_takes(grammar, a.text, a.n_text))
        fail_msg("case %llu: %.*s does not make '%s'", (unsigned long long)seed, (int)n, text, a.text);
    if (grammar)
        check_near(grammar, &d, a.text, a.n_text, &k->n_refused);
    if (schema) {
        nct_json *value = NULL;
        NCT_ASSERT_OK(nct_json_parse("the answer", a.text, a.n_text, &value, fault));
        if (!schema_fits(schema, schema, value))
            fail_msg("case %llu: %.*s is not fitted by '%s'", (unsigned long long)seed, (int)n, text, a.text);
        nct_json_close(value);
    }
    if (k->dump && schema) {
        nct_bytes line = {0};
        nct_bytes_printf(&line, NULL, "{\"schema\":%.*s,\"text\":", (int)n, text);
        nct_json_write_string(&line, a.text, a.n_text, NULL);
        fprintf(k->dump, "%s}\n", line.data);
        nct_bytes_reset(&line);
    }
    if (seed % 4 == 0) {
        assert_true(ask(k, k->guessing, c, &sampling, n_max, &b));
        assert_int_equal(a.n, b.n);
        assert_memory_equal(a.id, b.id, a.n * sizeof *a.id);
        nct_free(b.text);
    }
    nct_free(a.text);
    nct_constraint_close(c);
}

static void check_cases(const char *path, uint64_t first, uint64_t n) {
    asker k;
    open_asker(&k, path);
    for (uint64_t seed = first; seed < first + n; seed++) {
        if (seed % 2) {
            static made m;
            made_open(&m, seed);
            check_case(&k, NCT_CONSTRAINT_GBNF, m.gbnf.data, m.gbnf.n, &m, NULL, seed);
            made_close(&m);
        } else {
            nct_bytes text = schema_make(seed);
            nct_json *schema = NULL;
            NCT_ASSERT_OK(nct_json_parse("the schema", text.data, text.n, &schema, fault));
            check_case(&k, NCT_CONSTRAINT_SCHEMA, text.data, text.n, NULL, schema, seed);
            nct_json_close(schema);
            nct_bytes_reset(&text);
        }
    }
    assert_true(k.n_refused > n / 2); /* the readers do refuse */
    close_asker(&k);
}

static void test_answers__are_valid_on_a_tiny_model(void **state) {
    (void)state;
    check_cases(NCT_TINY_DIR "/float", 1, 240);
}

static void test_answers__are_valid_on_the_shipped_model(void **state) {
    (void)state;
    const char *cases = getenv("NCT_CONSTRAIN_CASES");
    nct_test_need(SHIPPED "/model.safetensors");
    check_cases(SHIPPED, 1000, cases ? strtoull(cases, NULL, 10) : 40);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answers__are_valid_on_a_tiny_model),
        cmocka_unit_test(test_answers__are_valid_on_the_shipped_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
