/* Guessing changes no text: 200 prompts of trained models, each with every kind of drafter, against choosing and feeding one
 * token at a time. Greedy and sampled, with and without penalties and stops, dense and choosing blocks, in chunks, from
 * prompts of one token, going on after something was said and after some was taken back. */
#include <dirent.h>
#include <unistd.h>

#include "base/rng.h"
#include "engine/session.h"
#include "support/heads.h"
#include "support/model.h"
#include "support/support.h"

enum { LIMIT = 480, N_PROMPTS = 200, N_TEXT = 10, N_TEXTS = 3, LONG = 330, N_STOP = 2 };

/* ------------------------------------------------------------------ who guesses */

/* Knows the text of plain decoding, and says it, or something else. */
struct seer {
    const int32_t *truth;
    size_t n_truth, n_pairs, n_vocab;
    unsigned percent; /* of guesses that are right */
};

static nct_status seer_observe(void *state, const nct_exec *exec, const nct_pairs *pairs, nct_error *err) {
    (void)exec, (void)err;
    ((struct seer *)state)->n_pairs = pairs->first + pairs->n;
    return NCT_OK;
}

static nct_status seer_propose(void *state, const nct_exec *exec, const nct_ask *ask, nct_tree *tree,
                               size_t *n_passes, nct_error *err) {
    (void)exec, (void)err;
    const struct seer *k = state;
    *n_passes = 0;
    for (size_t node = 0, depth = 0; tree->n + 1 < ask->n_max && depth < ask->depth_max; depth++) {
        uint64_t r = nct_rng_mix(k->n_pairs * 100 + tree->n);
        size_t at = k->n_pairs + 1 + depth;
        int32_t wrong = (int32_t)(r / 3 % k->n_vocab);
        bool right = at < k->n_truth && r / 1000 % 100 < k->percent;
        if (r % 2) /* a sibling before it */
            nct_tree_add(tree, node, (wrong + 1) % (int32_t)k->n_vocab, 0, 0);
        node = nct_tree_add(tree, node, right ? k->truth[at] : wrong, 0, 0);
    }
    return NCT_OK;
}

static void seer_rewind(void *state, size_t n_pairs) { ((struct seer *)state)->n_pairs = n_pairs; }
static void seer_close(void *state) { (void)state; }
static const nct_drafter seer = {.name = "seer",
                                 .observe = seer_observe,
                                 .propose = seer_propose,
                                 .rewind = seer_rewind,
                                 .close = seer_close};

enum { ALONE, EAGLE, EAGLE3, MODEL, N_ENGINES };

static const struct {
    const char *name, *drafter; /* NULL: a seer */
    int engine, n_guess;
    unsigned percent;
    bool holds; /* some of the guesses do */
} ways[] = {
    {"an oracle", NULL, ALONE, 16, 100, true},
    {"a random drafter", NULL, ALONE, 8, 0, false},
    {"a fair drafter", NULL, ALONE, 64, 60, true},
    {"copies", "ngram", ALONE, 8, 0, true},
    {"copies, auto", "ngram", ALONE, NCT_GUESS_AUTO, 0, false},
    {"EAGLE", "eagle", EAGLE, 6, 0, true},
    {"EAGLE and copies, auto", "auto", EAGLE, NCT_GUESS_AUTO, 0, false},
    {"EAGLE-3", "eagle3", EAGLE3, 5, 0, false},
    {"a small model", "model", MODEL, 5, 0, true},
    {"a small model and copies, auto", "auto", MODEL, NCT_GUESS_AUTO, 0, false},
};
enum { N_WAYS = sizeof ways / sizeof *ways };

/* ------------------------------------------------------------------ texts */

struct text {
    int32_t id[N_TEXT];
    size_t n;
    const int32_t *stop; /* [N_STOP] tokens in a row that end it, or NULL */
};

static bool take(void *context, int32_t id) {
    struct text *t = context;
    t->id[t->n++] = id;
    return t->n < N_TEXT && !(t->stop && t->n >= N_STOP &&
                              memcmp(t->id + t->n - N_STOP, t->stop, sizeof(int32_t) * N_STOP) == 0);
}

struct scene {
    const int32_t *prompt;
    size_t n_prompt;
    nct_sampling sampling;
    int chunk;
    nct_sparse_mode sparse;
};

/* A text, one more after something was said, one after half of that was taken back. By hand where nobody guesses. */
static void play(nct_session *s, const struct scene *c, bool guesses, struct text texts[N_TEXTS]) {
    static const int32_t said[] = {7, 30, 9};
    NCT_ASSERT_OK(nct_session_feed(s, c->prompt, c->n_prompt, NULL, fault));
    for (size_t i = 0; i < N_TEXTS; i++) {
        int n_prompt = nct_session_length(s);
        struct text *t = &texts[i];
        t->n = 0;
        if (guesses) {
            nct_generate_options o = {
                .sampling = &c->sampling, .n_prompt = n_prompt, .sample = 2, .take = take, .context = t};
            NCT_ASSERT_OK(nct_session_generate(s, &o, fault));
        } else {
            for (int32_t id;;) {
                NCT_ASSERT_OK(nct_session_sample(s, &c->sampling, n_prompt, 2, &id, fault));
                if (!take(t, id))
                    break;
                NCT_ASSERT_OK(nct_session_feed(s, &id, 1, NULL, fault));
            }
        }
        if (i == 1)
            NCT_ASSERT_OK(nct_session_rewind(s, n_prompt + (nct_session_length(s) - n_prompt) / 2, fault));
        if (i < 2)
            NCT_ASSERT_OK(nct_session_feed(s, said, i ? 1 : 3, NULL, fault));
    }
}

static nct_session *open_session(nct_engine *engine, const struct scene *c, const char *drafter,
                                 int n_guess) {
    nct_session *s = NULL;
    nct_session_options o = {.n_ctx = LIMIT,
                             .force_ctx = true,
                             .chunk = c->chunk,
                             .sparse = c->sparse,
                             .drafter = drafter,
                             .n_guess = n_guess};
    NCT_ASSERT_OK(nct_session_open(engine, &o, &s, fault));
    return s;
}

static void check_same(const char *what, const nct_session *a, const nct_session *b, const struct text *x,
                       const struct text *y) {
    for (size_t i = 0; i < N_TEXTS; i++)
        if (x[i].n != y[i].n || memcmp(x[i].id, y[i].id, x[i].n * sizeof *x[i].id) != 0)
            fail_msg("%s: text %zu is another", what, i);
    assert_int_equal(a->cache.length, b->cache.length);
    nct_test_same_bits(what, nct_session_logits(a), nct_session_logits(b), a->engine->model.config.n_vocab);
    assert_memory_equal(a->cache.pages, b->cache.pages, a->cache.n_committed * a->cache.page_bytes);
}

/* ------------------------------------------------------------------ models */

/* The same model with a sparse_config of small limits: rows beyond 128 tokens choose 4 of the blocks of 64. */
static const char *with_small_blocks(const char *path) {
    static const char *const files[] = {"model.safetensors", "tokenizer.json", "tokenizer_config.json"};
    static const char small[] =
        "{\"sparse_config\":{\"kernel_size\":32,\"kernel_stride\":16,\"init_blocks\":1,"
        "\"block_size\":64,\"window_size\":64,\"topk\":3,\"use_nope\":false,\"dense_len\":128},";
    const char *dir = nct_test_folder();
    nct_bytes config = {0};
    char *text;
    size_t n;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        const char *from = nct_test_path("%s/%s", path, files[i]);
        assert_int_equal(symlink(from, nct_test_path("%s/%s", dir, files[i])), 0);
    }
    text = nct_test_read(nct_test_path("%s/config.json", path), &n);
    char *begin = strchr(text, '{');
    assert_non_null(begin);
    NCT_ASSERT_OK(nct_bytes_add_str(&config, small, fault));
    NCT_ASSERT_OK(nct_bytes_add(&config, begin + 1, n - (size_t)(begin + 1 - text), fault));
    nct_test_write(nct_test_path("%s/config.json", dir), config.data, config.n);
    nct_bytes_reset(&config);
    nct_free(text);
    return dir;
}

/* A head of random numbers that fits. */
static const char *random_head(const nct_engine *e, nct_draft_kind kind) {
    const char *dir = nct_test_folder();
    nct_test_head head = nct_test_head_for(&e->model.config, kind);
    nct_test_head_write(dir, &head);
    return dir;
}

/* Loads the head in models/drafts that is for this model; false if there is none. */
static bool load_shipped_head(nct_engine *e) {
    DIR *dir = opendir(nct_test_path("%s/drafts", NCT_MODELS_DIR));
    bool found = false;
    assert_non_null(dir);
    for (const struct dirent *entry; !found && (entry = readdir(dir));)
        if (entry->d_name[0] != '.') {
            nct_draft_source source = {.path = nct_test_path("%s/drafts/%s", NCT_MODELS_DIR, entry->d_name)};
            found = nct_engine_load_draft(e, &source, NULL) == NCT_OK;
        }
    closedir(dir);
    return found;
}

/* Gives whether the head of EAGLE's kind was trained. */
static bool open_engines(const char *path, bool shipped, nct_engine *engine[N_ENGINES]) {
    nct_engine_options o = {.n_threads = 1};
    for (int e = 0; e < N_ENGINES; e++)
        NCT_ASSERT_OK(nct_engine_open(path, &o, &engine[e], fault));
    bool trained = shipped && load_shipped_head(engine[EAGLE]);
    bool taps =
        engine[EAGLE3]->model.config.n_layers >= NCT_TAPS_LAYERS; /* or no head of EAGLE-3's kind fits */
    for (int e = trained ? EAGLE3 : EAGLE; e <= (taps ? EAGLE3 : EAGLE); e++) {
        const char *dir = random_head(engine[e], e == EAGLE ? NCT_DRAFT_EAGLE : NCT_DRAFT_EAGLE3);
        NCT_ASSERT_OK(nct_engine_load_draft(engine[e], &(nct_draft_source){.path = dir}, fault));
        nct_test_folder_remove(dir);
    }
    NCT_ASSERT_OK(nct_engine_load_draft(engine[MODEL], &(nct_draft_source){.path = path}, fault));
    return trained;
}

static const nct_sampling settings[] = {
    {.top_p = 1, .repeat_penalty = 1},
    {.temperature = 1, .top_p = 0.95, .repeat_penalty = 1, .seed = 5},
    {.top_p = 1, .repeat_penalty = 1.2, .presence_penalty = 0.4, .frequency_penalty = 0.2},
    {.temperature = 0.8, .top_k = 40, .top_p = 1, .min_p = 0.02, .repeat_penalty = 1.15, .seed = 6},
};
enum { N_SETTINGS = sizeof settings / sizeof *settings };

/* Prompts of one token, of a few words, and long ones where blocks are chosen; every fourth text with a stop. Gives how
 * many guesses of each way held. */
static void check_prompt(nct_engine *const engine[N_ENGINES], const int32_t *ids, size_t n_ids, size_t turn,
                         uint64_t n_held[N_WAYS]) {
    static int32_t truth[LIMIT];
    static struct text plain[N_TEXTS], texts[N_TEXTS];
    int32_t stop[N_STOP];
    bool sparse = turn % 5 == 4;
    size_t n = sparse           ? LONG + turn % 40
               : turn % 10 == 0 ? 1
                                : 2 + turn % 37,
           at = nct_rng_mix(turn) % (n_ids - n);
    struct scene c = {.prompt = ids + at,
                      .n_prompt = n,
                      .sampling = settings[turn / 2 % N_SETTINGS],
                      .chunk = turn % 3 != 1 ? 0
                               : sparse      ? 37
                                             : 5,
                      .sparse = sparse ? NCT_SPARSE_ON : NCT_SPARSE_OFF};
    c.sampling.seed += turn;
    for (size_t i = 0; i < N_TEXTS; i++)
        plain[i].stop = texts[i].stop = NULL;
    nct_session *by_hand = open_session(engine[ALONE], &c, NULL, 0);
    play(by_hand, &c, false, plain);
    if (turn % 4 == 3) { /* once more, to an end that comes by itself */
        memcpy(stop, plain[0].id + 5, sizeof stop);
        for (size_t i = 0; i < N_TEXTS; i++)
            plain[i].stop = texts[i].stop = stop;
        nct_session_close(by_hand);
        by_hand = open_session(engine[ALONE], &c, NULL, 0);
        play(by_hand, &c, false, plain);
        assert_true(plain[0].n < N_TEXT);
    }
    memcpy(truth, c.prompt, n * sizeof *truth);
    memcpy(truth + n, plain[0].id, plain[0].n * sizeof *truth);
    for (size_t w = 0; w < N_WAYS; w++) {
        if (ways[w].engine != ALONE && !nct_engine_drafter(engine[ways[w].engine]))
            continue;
        struct seer state = {.truth = truth,
                             .n_truth = n + plain[0].n,
                             .n_vocab = engine[ALONE]->model.config.n_vocab,
                             .percent = ways[w].percent};
        nct_session *s = open_session(engine[ways[w].engine], &c, ways[w].drafter, ways[w].n_guess);
        nct_report report;
        if (!ways[w].drafter) {
            s->drafter = &seer;
            s->draft = &state;
        }
        play(s, &c, true, texts);
        check_same(nct_test_path("prompt %zu, %s", turn, ways[w].name), s, by_hand, texts, plain);
        nct_session_report(s, &report);
        n_held[w] += report.n_accepted;
        nct_session_close(s);
    }
    nct_session_close(by_hand);
}

static void check_model(const char *path, bool shipped) {
    nct_test_need(nct_test_path("%s/data/stories/golden_ppl_stories.txt", NCT_SHARED_DIR));
    const char *dir = with_small_blocks(path);
    nct_engine *engine[N_ENGINES];
    uint64_t n_held[N_WAYS] = {0};
    int32_t *ids = NULL;
    size_t n_text, n_ids;
    char *text =
        nct_test_read(nct_test_path("%s/data/stories/golden_ppl_stories.txt", NCT_SHARED_DIR), &n_text);
    bool trained = open_engines(dir, shipped, engine);
    NCT_ASSERT_OK(nct_encode(engine[ALONE], text, n_text, false, true, &ids, &n_ids, fault));
    assert_true(n_ids > LIMIT);
    for (size_t turn = 0; turn < N_PROMPTS; turn++)
        check_prompt(engine, ids, n_ids, turn, n_held);
    for (size_t w = 0; w < N_WAYS; w++)
        if (n_held[w] == 0 && ways[w].holds && (ways[w].engine != EAGLE || trained))
            fail_msg("%s: no guess of %s held", path, ways[w].name);
    for (int e = 0; e < N_ENGINES; e++)
        nct_engine_close(engine[e]);
    nct_test_folder_remove(dir);
    nct_free(ids);
    nct_free(text);
}

static void test_equality__of_the_shipped_model(void **state) {
    (void)state;
    NCT_TEST_EACH_MODEL (path) {
        if (strncmp(path, NCT_MODELS_DIR, strlen(NCT_MODELS_DIR)) == 0)
            check_model(path, true);
    }
}

static void test_equality__of_a_model_of_stories(void **state) {
    (void)state;
    check_model(nct_test_path("%s/data/stories/stories260K-minicpm", NCT_SHARED_DIR), false);
}

static void test_equality__of_another_model_of_stories(void **state) {
    (void)state;
    check_model(nct_test_path("%s/data/stories/tinystories-656k-minicpm", NCT_SHARED_DIR), false);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_equality__of_the_shipped_model),
        cmocka_unit_test(test_equality__of_a_model_of_stories),
        cmocka_unit_test(test_equality__of_another_model_of_stories),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
