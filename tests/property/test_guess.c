/* Guessing changes no text: whoever guesses, greedy or sampled, the tokens, the logits and every byte of the cache are
 * those of choosing and feeding one token at a time. */
#include "base/rng.h"
#include "engine/session.h"
#include "support/checkpoint.h"
#include "support/model.h"
#include "support/support.h"

enum { LIMIT = 1200, N_TEXT = 48, N_MORE = 3 };

/* ------------------------------------------------------------------ drafters of known quality */

/* Knows what will be said, and says so as often as it should, among children that are wrong. Checks what it is told. */
struct seer {
    int32_t observed[LIMIT + 1]; /* tokens of the pairs */
    size_t n_pairs;
    const int32_t *truth; /* the whole timeline */
    size_t n_truth;
    unsigned percent; /* of children that are right */
    float *rows;      /* of the pairs, each row_floats, if it looks at them */
    size_t row_floats;
};

static nct_status seer_observe(void *state, const nct_exec *exec, const nct_pairs *pairs, nct_error *err) {
    (void)exec, (void)err;
    struct seer *k = state;
    assert_int_equal(pairs->first, k->n_pairs);
    for (size_t i = 0; i < pairs->first; i++)
        assert_int_equal(pairs->token[i], k->observed[i]);
    for (size_t i = 0; k->rows && i < pairs->n; i++) { /* none is unknown: no tokens come from files here */
        assert_non_null(pairs->row);
        memcpy(k->rows + (pairs->first + i) * k->row_floats, pairs->row + i * pairs->stride,
               k->row_floats * sizeof(float));
    }
    k->n_pairs += pairs->n;
    memcpy(k->observed, pairs->token, (k->n_pairs + 1) * sizeof *k->observed);
    return NCT_OK;
}

static nct_status seer_propose(void *state, const nct_exec *exec, const nct_ask *ask, nct_tree *tree,
                               size_t *n_passes, nct_error *err) {
    (void)exec, (void)err;
    const struct seer *k = state;
    size_t node = 0, depth = 0;
    *n_passes = 0;
    assert_int_equal(tree->n, 1);
    assert_int_equal(tree->token[0], k->observed[k->n_pairs]);
    while (tree->n < ask->n_max && depth < ask->depth_max) {
        uint64_t r = nct_rng_mix(k->n_pairs * 100 + tree->n);
        size_t at = k->n_pairs + 1 + depth;
        if (at >= k->n_truth)
            break;
        for (size_t i = 0; i < r % 3 && tree->n + 1 < ask->n_max; i++) /* siblings before it */
            nct_tree_add(tree, node, (int32_t)(r / 7 % 200 + i), 0, 0);
        bool right = r / 1000 % 100 < k->percent;
        node = nct_tree_add(tree, node, right ? k->truth[at] : (int32_t)(r / 5 % 200), 0, 0);
        depth++;
    }
    return NCT_OK;
}

static void seer_rewind(void *state, size_t n_pairs) {
    struct seer *k = state;
    assert_true(n_pairs < k->n_pairs);
    k->n_pairs = n_pairs;
}
static void seer_close(void *state) { (void)state; }

static const nct_drafter seer = {.name = "seer",
                                 .observe = seer_observe,
                                 .propose = seer_propose,
                                 .rewind = seer_rewind,
                                 .close = seer_close};

static const nct_drafter seer_of_hidden = {.name = "seer of hidden states",
                                           .row = NCT_ROW_HIDDEN,
                                           .observe = seer_observe,
                                           .propose = seer_propose,
                                           .rewind = seer_rewind,
                                           .close = seer_close};
static const nct_drafter seer_of_taps = {.name = "seer of taps",
                                         .row = NCT_ROW_TAPS,
                                         .observe = seer_observe,
                                         .propose = seer_propose,
                                         .rewind = seer_rewind,
                                         .close = seer_close};

/* ------------------------------------------------------------------ texts */

struct text {
    int32_t id[LIMIT];
    size_t n, n_most;
    int32_t stop; /* a token that ends it; -1: none */
};

static bool take(void *context, int32_t id) {
    struct text *t = context;
    t->id[t->n++] = id;
    return t->n < t->n_most && id != t->stop;
}

/* One token at a time, by hand. */
static void write_plain(nct_session *s, const nct_sampling *sampling, int n_prompt, struct text *t) {
    for (;;) {
        int32_t id;
        NCT_ASSERT_OK(nct_session_sample(s, sampling, n_prompt, 3, &id, fault));
        if (!take(t, id))
            break;
        NCT_ASSERT_OK(nct_session_feed(s, &id, 1, NULL, fault));
    }
}

static void write_guessing(nct_session *s, const nct_sampling *sampling, int n_prompt, struct text *t) {
    nct_generate_options o = {
        .sampling = sampling, .n_prompt = n_prompt, .sample = 3, .take = take, .context = t};
    NCT_ASSERT_OK(nct_session_generate(s, &o, fault));
}

typedef void write_fn(nct_session *s, const nct_sampling *sampling, int n_prompt, struct text *t);

/* What happens to a session: a text, more of it after something was said, a text after some was taken back. */
struct scene {
    const int32_t *prompt;
    size_t n_prompt;
    nct_sampling sampling;
    size_t n_text;
};

static void play(nct_session *s, const struct scene *c, write_fn *write, struct text texts[N_MORE]) {
    static const int32_t said[] = {7, 3, 9, 7};
    NCT_ASSERT_OK(nct_session_feed(s, c->prompt, c->n_prompt, NULL, fault));
    for (size_t i = 0; i < N_MORE; i++) {
        int n_prompt = nct_session_length(s);
        texts[i].n = 0;
        texts[i].n_most = c->n_text;
        write(s, &c->sampling, n_prompt, &texts[i]);
        if (i == 1)
            NCT_ASSERT_OK(nct_session_rewind(s, n_prompt + (nct_session_length(s) - n_prompt) / 2, fault));
        if (i < 2)
            NCT_ASSERT_OK(nct_session_feed(s, said, i ? 1 : 4, NULL, fault));
    }
}

static nct_session *open_session(const nct_test_model *model, nct_session_options options) {
    nct_session *s = NULL;
    options.n_ctx = LIMIT;
    options.force_ctx = true;
    NCT_ASSERT_OK(nct_session_open(model->engine, &options, &s, fault));
    return s;
}

static void check_same(const char *what, const nct_session *a, const nct_session *b, const struct text *x,
                       const struct text *y) {
    for (size_t i = 0; i < N_MORE; i++) {
        if (x[i].n != y[i].n || memcmp(x[i].id, y[i].id, x[i].n * sizeof *x[i].id) != 0)
            fail_msg("%s: text %zu is another", what, i);
    }
    assert_int_equal(a->cache.length, b->cache.length);
    assert_memory_equal(a->tokens, b->tokens, a->cache.length * sizeof *a->tokens);
    nct_test_same_bits(what, nct_session_logits(a), nct_session_logits(b), a->engine->model.config.n_vocab);
    assert_int_equal(a->cache.n_committed, b->cache.n_committed);
    assert_memory_equal(a->cache.pages, b->cache.pages, a->cache.n_committed * a->cache.page_bytes);
}

/* The timeline up to the end of the first text: what a seer knows. */
static size_t first_timeline(const struct scene *c, const struct text *first, int32_t *out) {
    memcpy(out, c->prompt, c->n_prompt * sizeof *out);
    memcpy(out + c->n_prompt, first->id, first->n * sizeof *out);
    return c->n_prompt + first->n;
}

static bool slow(void) {
    const char *isa = nct_test_isa();
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    return true;
#endif
    return isa && strcmp(isa, "ref") == 0;
}

/* All ways of guessing against none; gives how many guesses were looked up. */
static uint64_t check_scene(const char *name, const nct_test_model *model, const struct scene *c,
                            nct_session_options options) {
    static const struct {
        int n_guess;
        int percent; /* -1: prompt lookup */
    } ways[] = {{16, -1}, {0, -1},  {2, 100},  {NCT_GUESS_AUTO, -1},
                {5, -1},  {8, 100}, {64, 100}, {NCT_GUESS_AUTO, 60},
                {20, 60}, {3, 0},   {64, 30}};
    static struct text plain[N_MORE], texts[N_MORE];
    static int32_t truth[LIMIT];
    uint64_t n_looked_up = 0;
    for (size_t i = 0; i < N_MORE; i++)
        plain[i].stop = texts[i].stop = -1;
    nct_session *by_hand = open_session(model, options);
    play(by_hand, c, write_plain, plain);
    if (plain[0].n > 20) { /* once more, with an end that comes by itself */
        for (size_t i = 0; i < N_MORE; i++)
            plain[i].stop = texts[i].stop = plain[0].id[17];
        nct_session_close(by_hand);
        by_hand = open_session(model, options);
        play(by_hand, c, write_plain, plain);
    }
    for (size_t w = 0; w < sizeof ways / sizeof *ways; w += slow() ? 3 : 1) {
        struct seer state = {.truth = truth,
                             .n_truth = first_timeline(c, &plain[0], truth),
                             .percent = (unsigned)ways[w].percent};
        options.n_guess = ways[w].n_guess;
        options.drafter = ways[w].percent < 0 ? "ngram" : NULL;
        nct_session *s = open_session(model, options);
        if (ways[w].percent >= 0) {
            s->drafter = &seer;
            s->draft = &state;
        }
        play(s, c, write_guessing, texts);
        check_same(nct_test_path("%s, %d at once, way %zu", name, options.n_guess, w), s, by_hand, texts,
                   plain);
        nct_report report;
        nct_session_report(s, &report);
        assert_true(report.n_accepted <= report.n_guessed);
        if (ways[w].percent == 100) /* it is right as far as it knows: no other way is faster */
            assert_true(report.n_accepted >= (plain[0].n - 1) / 2);
        n_looked_up += ways[w].percent < 0 ? report.n_guessed : 0;
        nct_session_close(s);
    }
    nct_session_close(by_hand);
    return n_looked_up;
}

static const nct_sampling settings[] = {
    {.top_p = 1, .repeat_penalty = 1},
    {.temperature = 1, .top_p = 0.9, .repeat_penalty = 1, .seed = 11},
    {.temperature = 0.7, .top_k = 20, .top_p = 1, .min_p = 0.02, .repeat_penalty = 1.15, .seed = 12},
    {.top_p = 1, .repeat_penalty = 1.2, .presence_penalty = 0.5, .frequency_penalty = 0.25},
    {.temperature = 0.4, .top_p = 0.95, .repeat_penalty = 1.05, .repeat_last_n = 12, .seed = 13},
};
enum { N_SETTINGS = sizeof settings / sizeof *settings };

static void test_guess__random_models_say_the_same(void **state) {
    (void)state;
    static const size_t lengths[] = {1, 60, 130, 430, 1000}; /* 64 and 448 and 1,024 lie in the texts */
    static int32_t prompt[LIMIT];
    size_t turn = 0;
    NCT_TEST_EACH_MODEL (path) {
        nct_test_model model;
        nct_test_model_open(&model, path, (nct_test_how){.n_threads = turn % 2 ? 3 : 1});
        for (size_t i = 0; i < 5 && !model.large; i++, turn++) {
            if (slow() && turn % 4)
                continue;
            for (size_t t = 0; t < lengths[i]; t++)
                prompt[t] = (int32_t)(nct_rng_mix(turn * 2000 + t) % model.n_vocab);
            struct scene c = {prompt, lengths[i], settings[turn % N_SETTINGS], N_TEXT};
            nct_session_options options = {.keys = turn % 3 == 2 ? NCT_KV_INT8 : NCT_KV_AUTO,
                                           .chunk = i == 2 ? 7 : 0};
            check_scene(path, &model, &c, options);
        }
        nct_test_model_close(&model);
    }
}

/* Trained models repeat themselves, so that lookup finds something. */
static uint64_t check_trained(const char *path, size_t n_prompts) {
    static const char *const prompts[] = {
        "Once upon a time, there was a little girl named Lily. She loved to play with her ball.",
        "Tom had a red car. Tom had a red car. Tom had a red",
        "The cat sat on the mat and the dog sat on the",
        "A",
        "Ben and Mia went to the park. They saw a big tree. Ben said, \"Look at the",
        "One day a bird flew over the sea. It saw a fish. The fish said",
    };
    enum { N_PROMPTS = sizeof prompts / sizeof *prompts };
    nct_test_model model;
    uint64_t n_looked_up = 0;
    nct_test_model_open(&model, path, (nct_test_how){.n_threads = 2});
    for (size_t i = 0; i < n_prompts; i++) {
        int32_t *ids;
        size_t n_ids;
        const char *prompt = prompts[i % N_PROMPTS];
        NCT_ASSERT_OK(nct_encode(model.engine, prompt, strlen(prompt), false, true, &ids, &n_ids, fault));
        struct scene c = {ids, n_ids, settings[i % N_SETTINGS], N_TEXT};
        n_looked_up += check_scene(path, &model, &c, (nct_session_options){0});
        nct_free(ids);
    }
    nct_test_model_close(&model);
    return n_looked_up;
}

static void test_guess__the_shipped_model_says_the_same(void **state) {
    (void)state;
    if (slow())
        skip();
    NCT_TEST_EACH_MODEL (path)
        if (strncmp(path, NCT_MODELS_DIR, strlen(NCT_MODELS_DIR)) == 0)
            assert_true(check_trained(path, N_SETTINGS) > 0);
}

static void test_guess__trained_models_say_the_same(void **state) {
    (void)state;
    nct_test_need(nct_test_path("%s/data/stories", NCT_SHARED_DIR));
    static const char *const names[] = {"stories260K-minicpm", "tinystories-656k-minicpm"};
    for (size_t i = 0; i < 2; i++)
        assert_true(
            check_trained(nct_test_path("%s/data/stories/%s", NCT_SHARED_DIR, names[i]), slow() ? 1 : 8) > 0);
}

/* Rows as single steps have them. */
static void check_rows(const nct_test_model *model, const nct_session *s, const struct seer *state,
                       nct_draft_row kind) {
    nct_session *steps = open_session(model, (nct_session_options){.n_guess = 2});
    struct seer silent = {.rows = NULL};
    steps->drafter = kind == NCT_ROW_TAPS ? &seer_of_taps : &seer_of_hidden;
    steps->draft = &silent;
    NCT_ASSERT_OK(nct_session_open_rows(steps, fault));
    assert_int_equal(state->n_pairs, s->cache.length - 1);
    for (size_t j = 0; j < state->n_pairs; j++) {
        NCT_ASSERT_OK(nct_session_feed(steps, s->tokens + j, 1, NULL, fault));
        nct_test_same_bits("a row", state->rows + j * state->row_floats,
                           kind == NCT_ROW_TAPS ? steps->work.taps : steps->work.x, state->row_floats);
        size_t hidden = state->row_floats / NCT_TAPS;
        for (size_t t = 0; kind == NCT_ROW_TAPS && t < 2; t++) /* of six layers what enters 2, 3 and 3 */
            assert_int_equal(memcmp(steps->work.taps + t * hidden, steps->work.taps + (t + 1) * hidden,
                                    hidden * sizeof(float)) == 0,
                             t == 1);
    }
    nct_session_close(steps);
}

static void test_guess__drafters_see_the_rows_of_what_was_accepted(void **state) {
    (void)state;
    static const struct {
        int n_guess;
        unsigned percent;
    } ways[] = {{64, 100}, {20, 60}, {3, 0}};
    static int32_t prompt[100], truth[LIMIT];
    static struct text plain[N_MORE], texts[N_MORE];
    nct_test_model model;
    const char *dir = nct_test_folder();
    nct_tiny_write(dir, &(nct_tiny){.layers = 6});
    nct_test_model_open(&model, dir, (nct_test_how){0});
    nct_test_folder_remove(dir);
    for (size_t i = 0; i < 100; i++)
        prompt[i] = (int32_t)(nct_rng_mix(i) % model.n_vocab);
    for (size_t i = 0; i < N_MORE; i++)
        plain[i].stop = texts[i].stop = -1;
    for (int chunk = 0; chunk <= !slow(); chunk++) {
        struct scene c = {prompt, chunk ? 30 : 100, settings[chunk], N_TEXT};
        nct_session *by_hand = open_session(&model, (nct_session_options){0});
        play(by_hand, &c, write_plain, plain);
        for (size_t w = 0; w < 6; w++) {
            nct_draft_row kind = w < 3 ? NCT_ROW_HIDDEN : NCT_ROW_TAPS;
            struct seer seer_state = {.truth = truth,
                                      .n_truth = first_timeline(&c, &plain[0], truth),
                                      .percent = ways[w % 3].percent};
            nct_session *s =
                open_session(&model, (nct_session_options){.n_guess = ways[w % 3].n_guess, .chunk = chunk});
            s->drafter = kind == NCT_ROW_TAPS ? &seer_of_taps : &seer_of_hidden;
            s->draft = &seer_state;
            NCT_ASSERT_OK(nct_session_open_rows(s, fault));
            void *rows = NULL;
            seer_state.row_floats = s->row_floats;
            NCT_ASSERT_OK(nct_alloc(&rows, LIMIT * s->row_floats, sizeof(float), fault));
            seer_state.rows = rows;
            play(s, &c, write_guessing, texts);
            check_same("rows seen", s, by_hand, texts, plain);
            check_rows(&model, s, &seer_state, kind);
            nct_free(rows);
            nct_session_close(s);
        }
        nct_session_close(by_hand);
    }
    nct_test_model_close(&model);
}

/* Of fewer than five layers three taps are not to be had. */
static void test_guess__shallow_models_have_no_taps(void **state) {
    (void)state;
    nct_test_model model;
    nct_error err = {0};
    nct_test_model_open(&model, nct_test_path("%s/float", NCT_TINY_DIR), (nct_test_how){0});
    nct_session *s = open_session(&model, (nct_session_options){.n_guess = 2});
    s->drafter = &seer_of_taps;
    assert_int_equal(nct_session_open_rows(s, &err), NCT_E_UNSUPPORTED);
    assert_non_null(strstr(err.text, "a model of at least 5 layers, this has 2"));
    assert_null(s->work.taps);
    s->drafter = NULL;
    nct_session_close(s);
    nct_test_model_close(&model);
}

/* At the end of the session, where the last guesses do not fit. */
static void test_guess__up_to_the_last_position(void **state) {
    (void)state;
    static int32_t prompt[LIMIT];
    static struct text plain, text;
    nct_test_model model;
    nct_test_model_open(&model, nct_test_path("%s/float", NCT_TINY_DIR), (nct_test_how){0});
    for (size_t i = 0; i < LIMIT - 6; i++)
        prompt[i] = (int32_t)(i % 5 + 3);
    for (int guessing = 0; guessing < 2; guessing++) {
        struct text *t = guessing ? &text : &plain;
        nct_session *s =
            open_session(&model, (nct_session_options){.drafter = "ngram", .n_guess = guessing ? 16 : 0});
        nct_error err = {0};
        t->n = 0;
        t->n_most = LIMIT;
        t->stop = -1;
        nct_generate_options o = {
            .sampling = &settings[0], .n_prompt = LIMIT - 6, .take = take, .context = t};
        NCT_ASSERT_OK(nct_session_feed(s, prompt, LIMIT - 6, NULL, fault));
        assert_int_equal(nct_session_generate(s, &o, &err), NCT_E_CONTEXT);
        assert_int_equal(nct_session_length(s), LIMIT);
        nct_session_close(s);
    }
    assert_int_equal(plain.n, 7);
    assert_int_equal(text.n, 7);
    assert_memory_equal(plain.id, text.id, 7 * sizeof *text.id);
    nct_test_model_close(&model);
}

/* A flag that is raised while a round computes: nothing of the round is taken, and going on gives the same. */
static void test_guess__stopping_loses_nothing(void **state) {
    (void)state;
    int32_t prompt[40];
    static struct text whole, text;
    nct_test_model model;
    nct_test_model_open(&model, nct_test_path("%s/sparse", NCT_TINY_DIR), (nct_test_how){0});
    for (size_t i = 0; i < 40; i++)
        prompt[i] = (int32_t)(i % 7 + 3);
    nct_session *s = open_session(&model, (nct_session_options){.drafter = "ngram", .n_guess = 8});
    NCT_ASSERT_OK(nct_session_feed(s, prompt, 40, NULL, fault));
    whole = (struct text){.n_most = 20, .stop = -1};
    write_guessing(s, &settings[1], 40, &whole);
    NCT_ASSERT_OK(nct_session_rewind(s, 39, fault));
    NCT_ASSERT_OK(nct_session_feed(s, prompt + 39, 1, NULL, fault));
    text = (struct text){.n_most = 20, .stop = -1};
    int stop = 1;
    nct_generate_options o = {
        .sampling = &settings[1], .n_prompt = 40, .sample = 3, .take = take, .stop = &stop, .context = &text};
    for (size_t n = 1; n <= 20;
         n++) { /* each call takes the token that is chosen and is stopped before it is fed */
        assert_int_equal(nct_session_generate(s, &o, NULL), n < 20 ? NCT_E_STOPPED : NCT_OK);
        assert_int_equal(text.n, n);
        assert_int_equal(nct_session_length(s), 39 + n);
        if (n < 20)
            NCT_ASSERT_OK(nct_session_feed(s, &text.id[n - 1], 1, NULL, fault));
    }
    assert_memory_equal(text.id, whole.id, 20 * sizeof *text.id);
    nct_session_close(s);
    nct_test_model_close(&model);
}

static void test_guess__refuses_what_is_out_of_range(void **state) {
    (void)state;
    nct_test_model model;
    nct_session *s = NULL;
    nct_error err;
    nct_test_model_open(&model, nct_test_path("%s/float", NCT_TINY_DIR), (nct_test_how){0});
    assert_int_equal(nct_session_open(model.engine, &(nct_session_options){.n_guess = 65}, &s, &err),
                     NCT_E_ARGUMENT);
    assert_string_equal(err.text, "65 tokens at once are out of range: expected up to 64");
    assert_int_equal(
        nct_session_open(model.engine, &(nct_session_options){.n_guess = 4, .drafter = "oracle"}, &s, &err),
        NCT_E_ARGUMENT);
    assert_int_equal(
        nct_session_open(model.engine, &(nct_session_options){.n_guess = 4, .drafter = "eagle"}, &s, &err),
        NCT_E_ARGUMENT);
    assert_string_equal(err.text, "the drafter 'eagle' needs files of its own, and none were loaded");
    assert_null(s);
    nct_test_model_close(&model);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_guess__random_models_say_the_same),
        cmocka_unit_test(test_guess__the_shipped_model_says_the_same),
        cmocka_unit_test(test_guess__trained_models_say_the_same),
        cmocka_unit_test(test_guess__drafters_see_the_rows_of_what_was_accepted),
        cmocka_unit_test(test_guess__shallow_models_have_no_taps),
        cmocka_unit_test(test_guess__up_to_the_last_position),
        cmocka_unit_test(test_guess__stopping_loses_nothing),
        cmocka_unit_test(test_guess__refuses_what_is_out_of_range),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
