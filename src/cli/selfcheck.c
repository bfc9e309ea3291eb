/* eval selfcheck: the promise that a greedy text depends on the model and the prompt alone, tried on this machine. */
#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cpu.h"
#include "cli/bench.h"
#include "cli/open.h"
#include "cli/output.h"
#include "cli/places.h"

enum { PROMPT = 600, ANSWER = 64, MOST_BESIDE = 3 };

/* One way to the same answer. */
typedef struct way {
    const char *name;
    int n_threads; /* 0: as the flags say */
    int n_guess, chunk;
    int n_beside;  /* prompts answered together with it */
    bool keeps;    /* its cache goes to files */
    bool takes;    /* and it has to come from there */
    int32_t id[ANSWER];
    size_t n;
    uint64_t n_taken, n_guessed;
} way;

typedef struct check {
    nct_cli *cli;
    nct_knobs knobs;
    nct_bench text; /* its ids, engine and model */
    int n_prompt, n_answer;
    char folder[PATH_MAX]; /* of pages; "": none could be made */
} check;

typedef struct taking {
    way *w;
    int most;
} taking;

static bool take(void *context, int32_t id) {
    taking *t = context;
    t->w->id[t->w->n++] = id;
    return (int)t->w->n < t->most;
}

static nct_status answer(const check *k, nct_engine *engine, way *w, nct_error *err) {
    nct_session_options o = nct_take_session(k->cli, &k->knobs);
    nct_session *session = NULL;
    nct_rounds rounds = {0};
    nct_sampling greedy = {.top_p = 1, .repeat_penalty = 1};
    taking t = {.w = w, .most = k->n_answer};
    o.kv_folder = w->keeps ? k->folder : NULL;
    o.kv_mapped = false;
    o.keep = w->keeps ? NCT_KEEP_ALL : NCT_KEEP_OFF;
    o.drafter = w->n_guess ? "ngram" : "off";
    o.n_guess = w->n_guess;
    o.chunk = w->chunk ? w->chunk : o.chunk;
    NCT_TRY(nct_session_open(engine, &o, &session, err));
    nct_status status = w->takes ? nct_session_take(session, k->text.ids, (size_t)k->n_prompt, err) : NCT_OK;
    int held = nct_session_length(session);
    if (status == NCT_OK)
        status = nct_session_feed(session, k->text.ids + held, (size_t)(k->n_prompt - held), NULL, err);
    if (status == NCT_OK && w->keeps && !w->takes)
        nct_session_keep(session, k->n_prompt);
    if (status == NCT_OK)
        status = nct_session_generate(session, &(nct_generate_options){.sampling = &greedy, .n_prompt = k->n_prompt,
                                                                       .take = take, .context = &t, .rounds = &rounds},
                                      err);
    nct_report report;
    nct_session_report(session, &report);
    w->n_taken = report.n_taken;
    w->n_guessed = rounds.n_guessed;
    nct_session_close(session);
    return status;
}

static bool take_nothing(void *context, int32_t id) {
    int *left = context;
    (void)id;
    return --*left > 0;
}

/* One that ended too early is seen by its text. */
static void ended(void *context, const nct_error *err) {
    (void)context;
    (void)err;
}

/* In a batch, beside prompts that are shorter ones of the same text and answer as long. */
static nct_status answer_together(const check *k, way *w, nct_error *err) {
    nct_batcher_options o = {.session = nct_take_session(k->cli, &k->knobs), .n_sequences = 1 + w->n_beside};
    nct_batcher *batcher = NULL;
    nct_sequence sequence = {.ids = k->text.ids, .n_ids = (size_t)k->n_prompt, .take = take, .ended = ended,
                             .sampling = {.top_p = 1, .repeat_penalty = 1}};
    taking t = {.w = w, .most = k->n_answer};
    int left[MOST_BESIDE], number;
    o.session.kv_folder = NULL;
    o.session.kv_mapped = false;
    NCT_TRY(nct_batcher_open(k->text.engine, &o, &batcher, err));
    sequence.context = &t;
    nct_status status = nct_batcher_add(batcher, &sequence, &number, err);
    for (int i = 0; i < w->n_beside && status == NCT_OK; i++) {
        size_t begin = (size_t)(k->n_prompt * (i + 1) / (w->n_beside + 1));
        left[i] = k->n_answer;
        sequence.ids = k->text.ids + begin;
        sequence.n_ids = (size_t)k->n_prompt - begin;
        sequence.take = take_nothing;
        sequence.context = &left[i];
        status = nct_batcher_add(batcher, &sequence, &number, err);
    }
    while (status == NCT_OK && nct_batcher_size(batcher) > 0)
        status = nct_batcher_step(batcher, NULL, err);
    nct_batcher_close(batcher);
    return status;
}

/* With its own number of threads, in an engine of its own. */
static int try_way(const check *k, way *w) {
    nct_error err = {0};
    nct_engine *engine = k->text.engine;
    nct_model_info info;
    int64_t threads = k->cli->args.threads, batch = k->cli->args.threads_batch;
    int code = NCT_EXIT_OK;
    if (w->n_threads) {
        k->cli->args.threads = k->cli->args.threads_batch = w->n_threads;
        code = nct_open_model(k->cli, false, &engine, &info);
        k->cli->args.threads = threads;
        k->cli->args.threads_batch = batch;
    }
    if (code == NCT_EXIT_OK && (w->n_beside ? answer_together(k, w, &err) : answer(k, engine, w, &err)) != NCT_OK)
        code = nct_say_status(k->cli, &err);
    if (w->n_threads && code == NCT_EXIT_OK)
        nct_engine_close(engine);
    return code;
}

/* ------------------------------------------------------------------ the folder of pages */

static void make_folder(check *k) {
    char cache[PATH_MAX - 64];
    if (!nct_place_path(NCT_PLACE_CACHE, "", cache, sizeof cache) || !nct_make_folders(cache, true))
        return;
    snprintf(k->folder, sizeof k->folder, "%s/selfcheck-XXXXXX", cache);
    if (!mkdtemp(k->folder))
        k->folder[0] = 0;
}

/* All that lies in it, links not followed. */
static void remove_folder(const char *path, int depth) {
    DIR *dir = opendir(path);
    for (struct dirent *e; dir && (e = readdir(dir));) {
        char inner[PATH_MAX];
        struct stat what;
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0 ||
            snprintf(inner, sizeof inner, "%s/%s", path, e->d_name) >= (int)sizeof inner || lstat(inner, &what) != 0)
            continue;
        if (S_ISDIR(what.st_mode) && depth < 8)
            remove_folder(inner, depth + 1);
        else
            unlink(inner);
    }
    if (dir)
        closedir(dir);
    rmdir(path);
}

/* ------------------------------------------------------------------ the verdict */

/* What came of a way beside the first: "same", where they part, or why it says nothing. */
static bool judge(const way *first, const way *w, char *buf, size_t n_buf) {
    size_t at = 0;
    while (at < first->n && at < w->n && first->id[at] == w->id[at])
        at++;
    if (at < first->n || at < w->n) {
        snprintf(buf, n_buf, "differs from token %zu on", at + 1);
        return false;
    }
    if (w->takes && !w->n_taken)
        snprintf(buf, n_buf, "same, but nothing was taken from files");
    else if (w->takes)
        snprintf(buf, n_buf, "same, %llu tokens taken from files", (unsigned long long)w->n_taken);
    else if (w->n_guess)
        snprintf(buf, n_buf, "same, %llu tokens guessed", (unsigned long long)w->n_guessed);
    else
        snprintf(buf, n_buf, "same");
    return true;
}

static int report(const check *k, const way *ways, size_t n) {
    nct_output out;
    size_t n_bad = 0;
    bool json = k->cli->args.format > NCT_FORMAT_TEXT;
    int code = nct_output_open(k->cli, k->cli->args.output, &out);
    if (code != NCT_EXIT_OK)
        return code;
    if (json)
        nct_output_print(&out, "{\"isa\":\"%s\",\"prompt\":%d,\"answer\":%zu,\"checks\":[", k->text.info.isa, k->n_prompt,
                         ways[0].n);
    else
        nct_output_print(&out, "%s, %s: greedy, %d tokens of prompt, %zu of answer\n", k->text.info.name,
                         k->text.info.isa, k->n_prompt, ways[0].n);
    for (size_t i = 1; i < n; i++) {
        char verdict[96];
        bool good = judge(&ways[0], &ways[i], verdict, sizeof verdict);
        n_bad += !good;
        if (json)
            nct_output_print(&out, "%s{\"check\":\"%s\",\"same\":%s,\"guessed\":%llu,\"taken\":%llu}", i > 1 ? "," : "",
                             ways[i].name, good ? "true" : "false", (unsigned long long)ways[i].n_guessed,
                             (unsigned long long)ways[i].n_taken);
        else
            nct_output_print(&out, "%-24s %s\n", ways[i].name, verdict);
    }
    if (json)
        nct_output_print(&out, "],\"failed\":%zu}\n", n_bad);
    code = nct_output_close(&out, code);
    if (code == NCT_EXIT_OK && n_bad)
        code = nct_say_error(k->cli, NCT_EXIT_CHECK, "%zu of %zu ways to the same text lead to another one", n_bad, n - 1);
    return code;
}

int nct_eval_selfcheck_main(nct_cli *cli) {
    check k = {.cli = cli, .text = {.cli = cli}};
    nct_args *a = &cli->args;
    k.n_answer = a->max_tokens == NCT_UNSET ? ANSWER : (int)a->max_tokens;
    way ways[] = {
        {.name = "plain"},
        {.name = "1 thread", .n_threads = 1},
        {.name = "all threads", .n_threads = nct_cpu_usable()},
        {.name = "guessing 4 a step", .n_guess = 4},
        {.name = "guessing 16 a step", .n_guess = 16},
        {.name = "prompt in chunks of 7", .chunk = 7},
        {.name = "4 prompts together", .n_beside = MOST_BESIDE},
        {.name = "cache kept in files", .keeps = true},
        {.name = "cache taken from files", .keeps = true, .takes = true},
    };
    size_t n = sizeof ways / sizeof *ways;
    if (a->words.n)
        return nct_say_error(cli, NCT_EXIT_USAGE, "eval selfcheck takes no '%s'\ntry: -m %s", a->words.item[0],
                             a->words.item[0]);
    int code = nct_take_knobs(cli, &k.knobs);
    if (code == NCT_EXIT_OK)
        code = nct_bench_open(&k.text, PROMPT + k.n_answer);
    k.n_prompt = PROMPT;
    if (code == NCT_EXIT_OK) {
        make_folder(&k);
        if (!k.folder[0] || k.knobs.decide_by_prompt) /* with which nothing is kept, and no batch decides */
            n -= k.knobs.decide_by_prompt ? 3 : 2;
    }
    for (size_t i = 0; i < n && code == NCT_EXIT_OK; i++)
        code = try_way(&k, &ways[i]);
    if (k.folder[0])
        remove_folder(k.folder, 0);
    if (code == NCT_EXIT_OK)
        code = report(&k, ways, n);
    nct_bench_close(&k.text);
    return code;
}
