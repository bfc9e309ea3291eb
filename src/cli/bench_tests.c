/* What `bench` runs: lists of sizes, threads, cache types and ways of attending and guessing, made into rows. */
#include <stdio.h>
#include <string.h>

#include "cli/bench.h"
#include "kernel/kernel.h"

enum { ROWS_MAX = 4096, WIDTH_MAX = NCT_BATCHER_MAX, GUESS_MAX = 64 /* as of --spec elsewhere */ };

typedef struct lists {
    nct_range prompt, gen, depth;
    nct_range pairs;   /* of -pg: prompt, gen, prompt, gen, ... */
    nct_range threads; /* empty: what the engine chooses */
    nct_range kv, sparse, width;
    bool plain, guesses;
    bool guesses_deep; /* also with tokens held before */
} lists;

/* ------------------------------------------------------------------ taking them */

static void add_once(nct_range *r, int64_t value) {
    for (size_t i = 0; i < r->n; i++)
        if (r->value[i] == value)
            return;
    r->value[r->n++] = value;
}

/* Numbers, each once: a test that stands there twice could not be found again by its name. */
static int take_numbers(const nct_cli *cli, const char *flag, const char *text, int64_t low, nct_range *out) {
    nct_range all;
    int code = nct_counts_take(cli, flag, text, low, &all);
    out->n = 0;
    for (size_t i = 0; code == NCT_EXIT_OK && i < all.n; i++)
        add_once(out, all.value[i]);
    return code;
}

/* Words with commas between, each once. */
static bool take_words(const char *text, const char *words, nct_range *out) {
    nct_words_fault fault = nct_parse_words(text, words, NCT_RANGE_MAX, out->value, &out->n);
    return fault == NCT_WORDS_GOOD || fault == NCT_WORDS_TWICE;
}

static int take_pairs(const nct_cli *cli, nct_range *pairs) {
    const nct_list *asked = &cli->args.bench_pairs;
    for (size_t i = 0; i < asked->n; i++) {
        nct_range pair;
        int code = nct_counts_take(cli, "-pg", asked->item[i], 1, &pair);
        if (code != NCT_EXIT_OK)
            return code;
        if (pair.n != 2 || pairs->n + 2 > NCT_RANGE_MAX)
            return nct_say_error(
                cli, NCT_EXIT_USAGE,
                "-pg %s: expected a prompt and a number of tokens to generate, such as 4096,128",
                asked->item[i]);
        bool known = false;
        for (size_t k = 0; k < pairs->n; k += 2)
            known |= pairs->value[k] == pair.value[0] && pairs->value[k + 1] == pair.value[1];
        if (!known) {
            pairs->value[pairs->n++] = pair.value[0];
            pairs->value[pairs->n++] = pair.value[1];
        }
    }
    return NCT_EXIT_OK;
}

static int take_sizes(const nct_cli *cli, lists *l) {
    const nct_args *a = &cli->args;
    int code = take_numbers(cli, "-p", a->bench_prompt ? a->bench_prompt : "512", 0, &l->prompt);
    if (code == NCT_EXIT_OK)
        code = take_numbers(cli, "-n", a->bench_gen ? a->bench_gen : "128", 0, &l->gen);
    if (code == NCT_EXIT_OK)
        code = take_numbers(cli, "-d", a->bench_depth ? a->bench_depth : "0", 0, &l->depth);
    return code == NCT_EXIT_OK ? take_pairs(cli, &l->pairs) : code;
}

/* One number may be more than there are, which is then said; of several each must be what the row says. */
static int take_threads(const nct_cli *cli, nct_range *threads) {
    const char *text = cli->args.bench_threads;
    if (!text || strcmp(text, "auto") == 0)
        return NCT_EXIT_OK;
    int code = take_numbers(cli, "-t", text, 1, threads);
    return code == NCT_EXIT_OK && threads->n > 1 ? nct_threads_take(cli, &(nct_range){.n = 0}) : code;
}

static int take_ways(const nct_cli *cli, lists *l) {
    const nct_args *a = &cli->args;
    l->sparse = l->kv = (nct_range){.value = {NCT_UNSET}, .n = 1};
    l->width = (nct_range){.value = {1}, .n = 1};
    if (a->sparse_modes) {
        bool good = take_words(a->sparse_modes, NCT_SPARSE_WORDS, &l->sparse);
        for (size_t i = 0; i < l->sparse.n && l->sparse.n > 1; i++) /* it is one of the others */
            good &= l->sparse.value[i] != NCT_SPARSE_AUTO;
        if (!good)
            return nct_say_error(cli, NCT_EXIT_USAGE, "--sparse %s: expected auto, on, off, or on,off",
                                 a->sparse_modes);
    }
    if (a->bench_kv && !take_words(a->bench_kv, NCT_KV_WORDS, &l->kv))
        return nct_say_error(cli, NCT_EXIT_USAGE,
                             "--kv %s: expected f32, f16, bf16, q8, or several of them: f16,q8", a->bench_kv);
    if (!a->parallel || strcmp(a->parallel, "auto") == 0)
        return NCT_EXIT_OK;
    int code = take_numbers(cli, "-np", a->parallel, 1, &l->width);
    if (code == NCT_EXIT_OK && nct_counts_largest(&l->width) > WIDTH_MAX)
        code = nct_say_error(cli, NCT_EXIT_USAGE, "-np %s: up to %d sequences are decoded together",
                             a->parallel, WIDTH_MAX);
    return code;
}

/* "on", "off" or a number, of which the last is noted in b->guessing. */
static bool take_way(nct_bench *b, lists *l, const char *item, size_t n) {
    char word[sizeof b->guessing];
    int64_t count;
    if (n == 0 || n >= sizeof word)
        return false;
    memcpy(word, item, n);
    word[n] = 0;
    if (strcmp(word, "off") == 0)
        return l->plain = true;
    bool number = nct_parse_count(word, 1, GUESS_MAX, &count);
    if (l->guesses || (!number && strcmp(word, "on") != 0)) /* one way of guessing at a time */
        return false;
    snprintf(b->guessing, sizeof b->guessing, "%s", number ? word : "auto");
    return l->guesses = true;
}

/* auto: both, but ahead of a text that is repeated to its depth nothing is guessed. */
static int take_guessing(nct_bench *b, lists *l) {
    const nct_args *a = &b->cli->args;
    const char *text = a->spec ? a->spec : "auto";
    if (strcmp(text, "auto") == 0) {
        snprintf(b->guessing, sizeof b->guessing, "auto");
        l->plain = true;
        l->guesses = !a->made_up;
        return NCT_EXIT_OK;
    }
    for (const char *at = text;; at++) {
        size_t n = strcspn(at, ",");
        if (!take_way(b, l, at, n))
            return nct_say_error(
                b->cli, NCT_EXIT_USAGE,
                "--spec %s: expected auto, on, off, a number from 1 to 64, or off and one of them: on,off\n"
                "try: noctule bench spec --trees 2,4,8    (several numbers)",
                text);
        at += n;
        if (!*at)
            break;
    }
    l->guesses_deep = true;
    return l->guesses && a->made_up
               ? nct_say_error(b->cli, NCT_EXIT_USAGE,
                               "--spec %s goes on with a text, and --made-up has none\ntry: --spec off", text)
               : NCT_EXIT_OK;
}

/* ------------------------------------------------------------------ making rows of them */

/* Rows are added to it as they come; false once there were too many, or memory was refused. */
typedef struct block {
    nct_bench *b;
    nct_bench_row like; /* what its rows have in common */
    nct_error *err;
    bool good;
} block;

static void name_test(nct_bench_row *r) {
    char what[40];
    if (r->n_prompt && r->n_gen)
        snprintf(what, sizeof what, "pp%lld+tg%lld", (long long)r->n_prompt, (long long)r->n_gen);
    else
        snprintf(what, sizeof what, r->n_prompt ? "pp%lld" : "tg%lld", (long long)(r->n_prompt + r->n_gen));
    size_t n = (size_t)snprintf(r->test, sizeof r->test, "%s%s", what, r->guesses ? " + spec" : "");
    if (r->depth && n < sizeof r->test)
        snprintf(r->test + n, sizeof r->test - n, " @ d%lld", (long long)r->depth);
}

static void add_row(block *k, int64_t n_prompt, int64_t n_gen, int64_t depth, bool guesses) {
    nct_bench *b = k->b;
    void *rows = b->rows;
    if (!k->good || b->n_rows == ROWS_MAX ||
        nct_grow(&rows, &b->rows_capacity, b->n_rows + 1, sizeof *b->rows, k->err) != NCT_OK) {
        k->good = false;
        return;
    }
    b->rows = rows;
    nct_bench_row *r = &b->rows[b->n_rows++];
    *r = k->like;
    r->n_prompt = n_prompt;
    r->n_gen = n_gen;
    r->depth = depth;
    r->guesses = guesses;
    r->n_sequences = n_prompt || guesses ? 1 : r->n_sequences;
    name_test(r);
}

/* What generates, plainly and guessing. */
static void add_ways(block *k, const lists *l, int64_t n_prompt, int64_t n_gen, int64_t depth) {
    bool alone = n_prompt || k->like.n_sequences == 1; /* several together are decoded without guessing */
    if (l->plain || !alone)
        add_row(k, n_prompt, n_gen, depth, false);
    if (l->guesses && alone && (!depth || l->guesses_deep))
        add_row(k, n_prompt, n_gen, depth, true);
}

/* One combination. Prompts are read one after the other however many there are, so that only its first width has them. */
static void add_block(block *k, const lists *l, bool prompts) {
    for (size_t d = 0; d < l->depth.n; d++) {
        int64_t depth = l->depth.value[d];
        for (size_t i = 0; i < l->prompt.n && prompts; i++)
            if (l->prompt.value[i]) /* 0: none of these, as in llama-bench */
                add_row(k, l->prompt.value[i], 0, depth, false);
        for (size_t i = 0; i < l->gen.n; i++)
            if (l->gen.value[i])
                add_ways(k, l, 0, l->gen.value[i], depth);
        for (size_t i = 0; i < l->pairs.n && prompts; i += 2)
            add_ways(k, l, l->pairs.value[i], l->pairs.value[i + 1], depth);
    }
}

static bool add_blocks(nct_bench *b, const lists *l, nct_error *err) {
    block k = {.b = b, .err = err, .good = true};
    for (size_t t = 0; t < b->n_teams; t++)
        for (size_t c = 0; c < l->kv.n; c++)
            for (size_t s = 0; s < l->sparse.n; s++)
                for (size_t w = 0; w < l->width.n; w++) {
                    k.like = (nct_bench_row){.team = &b->teams[t],
                                             .kv = l->kv.value[c],
                                             .sparse_mode = l->sparse.value[s],
                                             .n_sequences = l->width.value[w]};
                    add_block(&k, l, w == 0);
                }
    return k.good;
}

int nct_bench_add_rows(nct_bench *b) {
    nct_args *a = &b->cli->args;
    nct_error err = {0};
    void *teams = NULL;
    lists l = {.plain = false};
    int code = take_sizes(b->cli, &l);
    if (code == NCT_EXIT_OK)
        code = take_threads(b->cli, &l.threads);
    if (code == NCT_EXIT_OK)
        code = take_ways(b->cli, &l);
    if (code == NCT_EXIT_OK)
        code = take_guessing(b, &l);
    if (code != NCT_EXIT_OK)
        return code;
    b->n_teams = l.threads.n ? l.threads.n : 1;
    if (nct_alloc(&teams, b->n_teams, sizeof *b->teams, &err) != NCT_OK)
        return nct_say_status(b->cli, &err);
    b->teams = teams;
    for (size_t i = 0; i < l.threads.n; i++)
        b->teams[i].threads = (int)l.threads.value[i];
    if (l.threads.n)
        a->threads = nct_counts_largest(&l.threads);
    if (!add_blocks(b, &l, &err))
        return err.status ? nct_say_status(b->cli, &err)
                          : nct_say_error(b->cli, NCT_EXIT_USAGE,
                                          "these lists make more than %d tests\ntry: shorter ones", ROWS_MAX);
    return b->n_rows
               ? NCT_EXIT_OK
               : nct_say_error(b->cli, NCT_EXIT_USAGE, "-p 0 -n 0 leaves nothing to measure\ntry: -p 512");
}

/* ------------------------------------------------------------------ what hangs on the model */

/* By its words, as a session would have it. */
static void name_cache(const nct_bench *b, nct_bench_row *r) {
    const nct_args *a = &b->cli->args;
    int64_t keys = a->keys == NCT_UNSET ? r->kv : a->keys,
            values = a->values == NCT_UNSET ? r->kv : a->values;
    const char *k = keys == NCT_UNSET ? b->info.kv : nct_kv_type_name((nct_kv_type)keys),
               *v = values == NCT_UNSET ? b->info.kv : nct_kv_type_name((nct_kv_type)values);
    bool same = strcmp(k, v) == 0;
    snprintf(r->kv_name, sizeof r->kv_name, "%s%s%s", k, same ? "" : "/", same ? "" : v);
}

static int settle_teams(nct_bench *b) {
    nct_error err = {0};
    bool own = b->cli->args.threads_batch != NCT_UNSET;
    for (size_t i = 0; i < b->n_teams; i++) {
        nct_bench_team *t = &b->teams[i];
        if (b->n_teams == 1) {
            t->threads = b->info.n_threads;
            t->threads_batch = b->info.n_threads_batch;
        } else {
            t->threads_batch = own ? b->info.n_threads_batch : t->threads;
        }
        if (nct_engine_set_threads(b->engine, t->threads, t->threads_batch, &err) != NCT_OK ||
            nct_engine_roofline(b->engine, &t->roof, &err) != NCT_OK)
            return nct_say_status(b->cli, &err);
    }
    b->roof = b->teams[0].roof;
    return NCT_EXIT_OK;
}

int nct_bench_settle_rows(nct_bench *b) {
    for (size_t i = 0; i < b->n_rows; i++) {
        nct_bench_row *r = &b->rows[i], *first = &b->rows[0];
        r->sparse =
            r->sparse_mode == NCT_SPARSE_ON ||
            ((r->sparse_mode == NCT_UNSET || r->sparse_mode == NCT_SPARSE_AUTO) && b->info.sparse_trained);
        name_cache(b, r);
        b->varies_threads |= r->team != first->team;
        b->varies_kv |= strcmp(r->kv_name, first->kv_name) != 0;
        b->varies_sparse |= r->sparse != first->sparse;
        b->varies_width |= r->n_sequences != first->n_sequences;
    }
    return settle_teams(b);
}

int64_t nct_bench_longest(const nct_bench *b) {
    int64_t most = 0;
    for (size_t i = 0; i < b->n_rows; i++) {
        const nct_bench_row *r = &b->rows[i];
        int64_t n = nct_bench_held(r) + r->n_prompt + r->n_gen;
        most = n > most ? n : most;
    }
    return most;
}

/* ------------------------------------------------------------------ telling them apart */

const char *nct_bench_threads_name(const nct_bench_row *r, char buf[32]) {
    if (r->team->threads == r->team->threads_batch)
        snprintf(buf, 32, "%d", r->team->threads);
    else
        snprintf(buf, 32, "%d/%d", r->team->threads_batch, r->team->threads);
    return buf;
}

const char *nct_bench_label(const nct_bench *b, const nct_bench_row *r, char *buf, size_t n_buf) {
    char threads[48] = "", width[32] = "", kv[24] = "";
    if (b->varies_threads)
        snprintf(threads, sizeof threads, ", %s threads", nct_bench_threads_name(r, (char[32]){0}));
    if (b->varies_width)
        snprintf(width, sizeof width, ", np %lld", (long long)r->n_sequences);
    if (b->varies_kv)
        snprintf(kv, sizeof kv, ", %s", r->kv_name);
    snprintf(buf, n_buf, "%s%s%s%s%s", r->test, threads, kv,
             !b->varies_sparse ? ""
             : r->sparse       ? ", sparse"
                               : ", dense",
             width);
    return buf;
}

const nct_bench_row *nct_bench_dense_of(const nct_bench *b, const nct_bench_row *r) {
    for (size_t i = 0; i < b->n_rows && r->sparse; i++) {
        const nct_bench_row *d = &b->rows[i];
        if (!d->sparse && d->team == r->team && d->kv == r->kv && d->n_sequences == r->n_sequences &&
            strcmp(d->test, r->test) == 0)
            return d;
    }
    return NULL;
}
