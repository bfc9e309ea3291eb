/* Needles in a haystack: the grid, and asking. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "cli/needle.h"

enum { SEEDS = 3, LENGTH_MAX = 1 << 24 };

int nct_needle_say(const nct_needle *n, const nct_error *err) {
    return err->status == NCT_E_ARGUMENT ? nct_say_error(n->cli, NCT_EXIT_USAGE, "%s", err->text)
                                         : nct_say_status(n->cli, err);
}

/* ------------------------------------------------------------------ asking */

/* A prompt's share of the work: from where it parts from the one before. */
static double weight_of(const nct_needle *n, const nct_needle_place *p, bool first) {
    double length = (double)n->lengths.value[p->length];
    return first ? length
                 : length * (1 - (double)n->depths.value[p->depth] / 100) + (double)n->quiz.max_tokens;
}

typedef struct asking {
    nct_needle *n;
    double weight;
} asking;

static void show(void *context, int done, int total) {
    enum { EVERY_NS = 100000000 };
    asking *a = context;
    if (!a->n->live || nct_clock_ns() - a->n->drawn_ns >= EVERY_NS)
        nct_needle_draw(a->n, a->weight * (double)done / (double)total, false);
}

static void make_key(const nct_needle *n, const nct_needle_place *p, char key[NCT_QUIZ_KEY]) {
    char text[NCT_SHA256_BYTES + 160];
    memcpy(text, n->hay_sha, NCT_SHA256_BYTES);
    int m = snprintf(text + NCT_SHA256_BYTES, 160, "needle 1 %s %lld %lld %llu %zu%s",
                     nct_needle_mode_name(n->modes[p->mode]), (long long)n->lengths.value[p->length],
                     (long long)n->depths.value[p->depth], (unsigned long long)(n->seed + p->seed),
                     n->n_needles, n->lang == NCT_NEEDLE_ZH ? " zh" : "");
    nct_quiz_key(&n->quiz, text, NCT_SHA256_BYTES + (size_t)m, key);
}

static void score(const nct_needle *n, nct_needle_trial *t) {
    t->asked = true;
    t->found = 0;
    for (size_t i = 0; i < n->n_needles; i++)
        t->found += nct_quiz_has_number(t->answer, t->expected[i], false);
}

static int record(nct_needle *n, const nct_needle_place *p, const char *key) {
    nct_bytes line = {0};
    nct_bytes_printf(&line, NULL, "{\"key\":\"%s\",", key);
    nct_needle_write_trial(n, p, &line);
    nct_error err = {0};
    int code = nct_bytes_add_str(&line, "}", &err) == NCT_OK ? nct_journal_add(&n->quiz.journal, &line)
                                                             : nct_say_status(n->cli, &err);
    nct_bytes_reset(&line);
    return code;
}

/* Takes the answer from a record if there is one. */
static nct_status take_record(nct_needle *n, const nct_needle_place *p, const char *key, bool *taken,
                              nct_error *err) {
    nct_needle_trial *t = nct_needle_trial_at(n, p);
    const nct_json *known = n->quiz.has_journal ? nct_journal_find(&n->quiz.journal, key) : NULL;
    const char *text = nct_json_string(nct_json_get(known, "answer"), NULL);
    nct_needle_numbers(n, p, t->expected);
    *taken = text != NULL;
    if (!text)
        return NCT_OK;
    NCT_TRY(nct_copy_string(&t->answer, text, strlen(text), err));
    int64_t n_ids = nct_json_int(nct_json_get(known, "tokens"), 0);
    t->n_ids = n_ids > 0 ? (size_t)n_ids : 0;
    score(n, t);
    n->quiz.n_found++;
    return NCT_OK;
}

static int ask(nct_needle *n, const nct_needle_place *p, double weight, const char *key) {
    nct_quiz *q = &n->quiz;
    nct_needle_trial *t = nct_needle_trial_at(n, p);
    nct_answer answer = {0};
    nct_error err = {0};
    int32_t *ids = NULL;
    asking a = {n, weight};
    if (nct_needle_prompt(n, p, &ids, &t->n_ids, &err) != NCT_OK)
        return nct_needle_say(n, &err);
    q->progress = show;
    q->context = &a;
    int code = nct_quiz_ask(q, ids, t->n_ids, &answer);
    if (code == NCT_EXIT_OK) {
        if (nct_copy_string(&t->answer, answer.text.data ? answer.text.data : "", answer.text.n, &err) !=
            NCT_OK)
            code = nct_say_status(n->cli, &err);
        else
            score(n, t);
    }
    if (code == NCT_EXIT_OK && q->has_journal)
        code = record(n, p, key);
    nct_answer_close(&answer);
    nct_free(ids);
    return code;
}

/* The trials of a mode. From the deepest place up, each prompt shares with the one before all that lies above the
 * needle, and only what follows is read again. */
static int ask_mode(nct_needle *n, size_t mode, const size_t *by_depth) {
    int code = NCT_EXIT_OK;
    for (size_t l = 0; l < n->lengths.n && code == NCT_EXIT_OK; l++)
        for (size_t d = 0; d < n->depths.n; d++)
            for (nct_needle_place p = {mode, l, by_depth[d], 0}; p.seed < n->n_seeds && code == NCT_EXIT_OK;
                 p.seed++) {
                char key[NCT_QUIZ_KEY];
                bool taken;
                nct_error err = {0};
                double weight = weight_of(n, &p, d == 0 && p.seed == 0);
                make_key(n, &p, key);
                if (take_record(n, &p, key, &taken, &err) != NCT_OK)
                    return nct_say_status(n->cli, &err);
                if (taken) {
                    n->weight_all -= weight;
                    continue;
                }
                code = ask(n, &p, weight, key);
                n->weight_done += weight;
                nct_needle_draw(n, 0, true);
            }
    return code;
}

static int open_mode(nct_needle *n, size_t mode) {
    size_t longest = 0, limit;
    for (size_t i = 0; i < n->lengths.n; i++)
        longest = (size_t)n->lengths.value[i] > longest ? (size_t)n->lengths.value[i] : longest;
    n->cli->args.sparse = n->modes[mode];
    int code = nct_quiz_start(&n->quiz, longest);
    limit = code == NCT_EXIT_OK ? (size_t)nct_session_limit(n->quiz.session) : 0;
    if (code == NCT_EXIT_OK && longest > limit)
        code = nct_say_error(n->cli, NCT_EXIT_CONTEXT,
                             "a length of %s tokens; %s holds %s\ntry: -L ..%zu\n     -X ctx.force=1",
                             NCT_N(longest), n->quiz.info.name, NCT_N(limit), limit);
    return code;
}

static int ask_all(nct_needle *n) {
    size_t by_depth[NCT_RANGE_MAX];
    for (size_t i = 0; i < n->depths.n; i++) { /* descending */
        size_t k = i;
        for (; k > 0 && n->depths.value[by_depth[k - 1]] < n->depths.value[i]; k--)
            by_depth[k] = by_depth[k - 1];
        by_depth[k] = i;
    }
    for (nct_needle_place p = {0}; p.length < n->lengths.n; p.length++)
        for (p.depth = 0; p.depth < n->depths.n; p.depth++)
            for (p.seed = 0; p.seed < n->n_seeds; p.seed++)
                n->weight_all += (double)n->n_modes * weight_of(n, &p, p.depth == by_depth[0] && p.seed == 0);
    n->began_ns = nct_clock_ns();
    nct_meter_begin(n->cli, "needles", &n->meter);
    n->meter.share = true;
    n->live = n->meter.form == NCT_PROGRESS_BAR;
    nct_signals_catch();
    int code = NCT_EXIT_OK;
    for (size_t m = 0; m < n->n_modes && code == NCT_EXIT_OK; m++) {
        code = m ? open_mode(n, m) : NCT_EXIT_OK; /* the first is open */
        if (code == NCT_EXIT_OK)
            code = ask_mode(n, m, by_depth);
    }
    nct_needle_erase(n);
    nct_meter_end(&n->meter);
    return code;
}

/* ------------------------------------------------------------------ the command */

/* "auto", "on", "off", or two of them with a comma between. */
static int take_modes(nct_needle *n) {
    const char *text = n->cli->args.sparse_modes;
    n->modes[0] = n->modes[1] = NCT_UNSET;
    n->n_modes = 1;
    switch (text ? nct_parse_words(text, NCT_SPARSE_WORDS, NCT_NEEDLE_MODES, n->modes, &n->n_modes)
                 : NCT_WORDS_GOOD) {
    case NCT_WORDS_GOOD:
        return NCT_EXIT_OK;
    case NCT_WORDS_TWICE:
        return nct_say_error(n->cli, NCT_EXIT_USAGE, "--sparse %s names one of them twice", text);
    default:
        return nct_say_error(n->cli, NCT_EXIT_USAGE,
                             "--sparse %s: expected auto, on, off, or two of them: on,off", text);
    }
}

static int take_grid(nct_needle *n) {
    const nct_args *a = &n->cli->args;
    char lengths[64];
    if (a->words.n)
        return nct_say_error(n->cli, NCT_EXIT_USAGE, "eval needle takes no '%.60s'\ntry: --haystack FILE",
                             a->words.item[0]);
    n->n_needles = a->needles == NCT_UNSET ? 1 : (size_t)a->needles;
    n->n_seeds = a->seeds == NCT_UNSET ? SEEDS : (size_t)a->seeds;
    n->lang = a->lang == NCT_UNSET ? NCT_NEEDLE_EN : (nct_needle_lang)a->lang;
    n->seed = a->seed == NCT_UNSET ? 1 : (uint64_t)a->seed;
    if (nct_parse_range(a->needle_depths ? a->needle_depths : "0..100/10", 0, 100, true, &n->depths) !=
        NCT_RANGE_GOOD)
        return nct_say_error(n->cli, NCT_EXIT_USAGE,
                             "-D %s: expected percents, such as 0,50,100 or 0..100/10", a->needle_depths);
    if (a->needle_lengths &&
        nct_parse_range(a->needle_lengths, 1, LENGTH_MAX, true, &n->lengths) != NCT_RANGE_GOOD)
        return nct_say_error(n->cli, NCT_EXIT_USAGE, "-L %s: expected tokens, such as 4k,32k or 4k..128k*2",
                             a->needle_lengths);
    int code = take_modes(n);
    if (code == NCT_EXIT_OK)
        code = nct_needle_place_journal(n);
    if (code == NCT_EXIT_OK)
        code = nct_quiz_open(n->cli, &n->quiz);
    if (code != NCT_EXIT_OK || a->needle_lengths)
        return code;
    int window = n->quiz.info.max_positions; /* up to which a model is trained; further if asked */
    snprintf(lengths, sizeof lengths, window >= 4096 ? "4k..%d*2" : "%d", window);
    nct_parse_range(lengths, 1, LENGTH_MAX, true, &n->lengths);
    return code;
}

static int prepare(nct_needle *n) {
    nct_error err = {0};
    void *p = NULL;
    int code = take_grid(n);
    if (code == NCT_EXIT_OK)
        code = open_mode(n, 0);
    if (code == NCT_EXIT_OK)
        code = nct_needle_make_hay(n);
    if (code == NCT_EXIT_OK)
        code = nct_needle_check_room(n);
    if (code != NCT_EXIT_OK)
        return code;
    n->n_trials = n->n_modes * n->lengths.n * n->depths.n * n->n_seeds;
    if (nct_alloc(&p, n->n_trials, sizeof *n->trials, &err) != NCT_OK)
        return nct_say_status(n->cli, &err);
    n->trials = p;
    if (n->journal) {
        code = nct_journal_open(n->cli, n->journal, &n->quiz.journal);
        n->quiz.has_journal = true;
    }
    return code;
}

int nct_eval_needle_main(nct_cli *cli) {
    nct_needle n = {.cli = cli};
    int code = prepare(&n);
    bool whole = false;
    if (code == NCT_EXIT_OK) {
        code = nct_needle_report(&n, ask_all(&n));
        whole = code == NCT_EXIT_OK || code == NCT_EXIT_CHECK;
    }
    if (n.quiz.has_journal)
        nct_journal_close(&n.quiz.journal, n.beside && whole);
    for (size_t i = 0; i < n.n_trials; i++)
        nct_free(n.trials[i].answer);
    nct_free(n.trials);
    nct_free(n.ends);
    nct_free(n.journal);
    nct_bytes_reset(&n.hay);
    nct_quiz_close(&n.quiz);
    return code;
}
