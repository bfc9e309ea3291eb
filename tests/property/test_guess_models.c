/* Guessing with a small model, and with two drafters at once, changes no text, and what was taken back leaves no trace in
 * what is guessed afterwards. */
#include "base/rng.h"
#include "engine/session.h"
#include "spec/merged.h"
#include "support/checkpoint.h"
#include "support/heads.h"
#include "support/model.h"
#include "support/support.h"

enum { LIMIT = 400, N_TEXT = 30, N_PROMPT = 80, WINDOW = 64 };

struct text {
    int32_t id[LIMIT];
    size_t n, n_most;
};

static bool take(void *context, int32_t id) {
    struct text *t = context;
    t->id[t->n++] = id;
    return t->n < t->n_most;
}

static nct_session *open_session(const nct_test_model *model, int n_guess, const char *drafter, bool prompt_rows) {
    nct_session *s = NULL;
    nct_session_options o = {
        .n_ctx = LIMIT, .force_ctx = true, .n_guess = n_guess, .drafter = drafter, .prompt_rows = prompt_rows};
    NCT_ASSERT_OK(nct_session_open(model->engine, &o, &s, fault));
    return s;
}

/* Three texts: after a prompt that repeats itself, after something that was said, after some was taken back. */
static void play(nct_session *s, const nct_sampling *sampling, struct text t[3]) {
    static const int32_t said[] = {7, 3, 9, 7};
    int32_t prompt[N_PROMPT];
    for (size_t i = 0; i < N_PROMPT; i++)
        prompt[i] = (int32_t)(nct_rng_mix(i % 37) % s->engine->model.config.n_vocab);
    NCT_ASSERT_OK(nct_session_feed(s, prompt, N_PROMPT, NULL, fault));
    for (size_t i = 0; i < 3; i++) {
        nct_generate_options o = {
            .sampling = sampling, .n_prompt = nct_session_length(s), .take = take, .context = &t[i]};
        t[i].n = 0, t[i].n_most = N_TEXT;
        NCT_ASSERT_OK(nct_session_generate(s, &o, fault));
        if (i == 1) /* as far as the window has moved on meanwhile */
            NCT_ASSERT_OK(nct_session_rewind(s, nct_session_length(s) - 37, fault));
        NCT_ASSERT_OK(nct_session_feed(s, said, i ? 1 : 4, NULL, fault));
    }
}

/* The guess for a session's last token, as its drafter has it. */
static void guess(nct_session *s, nct_tree *tree) {
    size_t n, last = s->cache.length - 1;
    nct_ask ask = {.n_max = 20, .depth_max = 4, .width = 4};
    NCT_ASSERT_OK(nct_session_tell(s, last, fault));
    nct_tree_init(tree, s->tokens[last]);
    NCT_ASSERT_OK(s->drafter->propose(s->draft, &s->engine->exec, &ask, tree, &n, fault));
    assert_int_equal(tree->n, 20);
}

static void assert_same_tree(const nct_tree *a, const nct_tree *b) {
    assert_int_equal(a->n, b->n);
    assert_memory_equal(a->token, b->token, a->n * sizeof *a->token);
    assert_memory_equal(a->score, b->score, a->n * sizeof *a->score);
    assert_memory_equal(a->edge, b->edge, a->n);
}

static bool slow(void) {
    const char *isa = nct_test_isa();
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    return true;
#endif
    return isa && strcmp(isa, "ref") == 0;
}

static const nct_sampling settings[] = {
    {.top_p = 1, .repeat_penalty = 1},
    {.temperature = 1, .top_p = 0.9, .repeat_penalty = 1.1, .seed = 11},
};

/* With the drafter that was loaded: the same texts, and the tree of a session that read them in one. Gives what part of
 * the greedy guesses was accepted in fixed trees. */
static double check(const nct_test_model *model, const char *drafter, bool prompt_rows) {
    static struct text plain[3], texts[3];
    static const int n_guess[] = {5, NCT_GUESS_AUTO};
    double share = 0;
    for (size_t k = 0; k < (slow() ? 1 : 2); k++) {
        nct_session *a = open_session(model, 0, "off", false);
        play(a, &settings[k], plain);
        nct_session_close(a);
        for (size_t w = 0; w < 2; w++) {
            nct_session *b = open_session(model, n_guess[w], drafter, prompt_rows),
                        *c = open_session(model, 12, drafter, prompt_rows);
            nct_report report;
            nct_tree u, v;
            play(b, &settings[k], texts);
            for (size_t i = 0; i < 3; i++) {
                assert_int_equal(texts[i].n, plain[i].n);
                assert_memory_equal(texts[i].id, plain[i].id, plain[i].n * sizeof(int32_t));
            }
            nct_session_report(b, &report);
            assert_true(report.draft_bytes > 0);
            if (n_guess[w] > 0)
                assert_true(report.n_guessed > 0);
            if (k == 0 && w == 0)
                share = (double)report.n_accepted / (double)report.n_rounds;
            NCT_ASSERT_OK(nct_session_feed(c, b->tokens, b->cache.length, NULL, fault));
            NCT_ASSERT_OK(nct_session_begin_draft(b, fault));
            NCT_ASSERT_OK(nct_session_begin_draft(c, fault));
            guess(b, &u);
            guess(c, &v);
            assert_same_tree(&u, &v);
            guess(b, &v); /* and once more */
            assert_same_tree(&u, &v);
            nct_session_close(b);
            nct_session_close(c);
        }
    }
    return share;
}

/* As nct_engine_load_draft, with a window of one's own. */
static void load_model(nct_engine *e, const char *path, size_t window) {
    nct_draft_options options = {.window = window, .vocab = e->vocab};
    NCT_ASSERT_OK(nct_drafter_model.load(path, &e->model, &e->exec, &options, &e->draft, fault));
    e->drafter = &nct_drafter_model;
}

/* Each model by itself: greedy text is what it guesses first, and a tree of five nodes has room for that. */
static void test_guess__a_model_that_knows_better_is_right(void **state) {
    (void)state;
    NCT_TEST_EACH_MODEL (path) {
        nct_test_model model;
        nct_test_model_open(&model, path, (nct_test_how){.n_threads = 2, .dense = true});
        if (slow() && model.large) {
            nct_test_model_close(&model);
            continue;
        }
        load_model(model.engine, path, 0);
        double share = check(&model, "model", false);
        if (share < 0.9)
            fail_msg("%s: %g of its own tokens guessed a round", path, share);
        nct_test_model_close(&model);
    }
}

/* The same with a window that moves in these texts, forwards and back. */
static void test_guess__windows_that_move_leave_no_trace(void **state) {
    (void)state;
    NCT_TEST_EACH_MODEL (path) {
        nct_test_model model;
        nct_test_model_open(&model, path, (nct_test_how){.n_threads = 1});
        if (model.large == slow()) { /* the shipped one, or the tiny ones */
            nct_test_model_close(&model);
            continue;
        }
        load_model(model.engine, path, WINDOW);
        check(&model, "auto", false);
        nct_test_model_close(&model);
    }
}

static void test_guess__another_model_changes_no_text(void **state) {
    (void)state;
    const char *dir = nct_test_folder();
    nct_tiny tiny = {.seed = 77, .layers = 1, .hidden = 64, .intermediate = 96, .heads = 2, .kv_heads = 1};
    nct_tiny_write(dir, &tiny);
    size_t n_checked = 0;
    NCT_TEST_EACH_MODEL (path) {
        nct_test_model model;
        nct_error err = {0};
        nct_test_model_open(&model, path, (nct_test_how){.n_threads = 1});
        if (model.n_vocab == 320) { /* theirs has its vocabulary */
            NCT_ASSERT_OK(nct_engine_load_draft(model.engine, &(nct_draft_source){.path = dir}, fault));
            assert_string_equal(nct_engine_drafter(model.engine), "model");
            check(&model, n_checked % 2 ? "model" : "auto", false);
            n_checked++;
        } else {
            assert_int_equal(nct_engine_load_draft(model.engine, &(nct_draft_source){.path = dir}, &err),
                             NCT_E_UNSUPPORTED);
            assert_non_null(strstr(err.text, "320, but its target has"));
            assert_null(nct_engine_drafter(model.engine));
        }
        nct_test_model_close(&model);
    }
    assert_true(n_checked > 0);
    nct_test_folder_remove(dir);
}

/* A head and prompt lookup, and rows of the prompt beside a list that lacks nearly everything. */
static void test_guess__a_head_and_copies_change_no_text(void **state) {
    (void)state;
    NCT_TEST_EACH_MODEL (path) {
        for (int with_list = slow(); with_list < 2; with_list++) {
            nct_test_model model;
            nct_test_model_open(&model, path, (nct_test_how){.n_threads = 2});
            nct_test_head head = nct_test_head_for(&model.engine->model.config, NCT_DRAFT_EAGLE);
            const char *dir = nct_test_folder(), *list = nct_test_path("%s/list.txt", dir);
            nct_test_head_write(dir, &head);
            nct_test_write(list, "3 5 7 9 11 13", 13);
            nct_draft_source source = {.path = dir, .list = with_list ? list : NULL};
            NCT_ASSERT_OK(nct_engine_load_draft(model.engine, &source, fault));
            nct_test_folder_remove(dir);
            check(&model, "auto", with_list);
            nct_test_model_close(&model);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_guess__a_model_that_knows_better_is_right),
        cmocka_unit_test(test_guess__windows_that_move_leave_no_trace),
        cmocka_unit_test(test_guess__another_model_changes_no_text),
        cmocka_unit_test(test_guess__a_head_and_copies_change_no_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
