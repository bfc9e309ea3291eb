/* Speed in llama-bench's words: pp (prompt processing), tg (token generation), each at a depth of tokens
 * already held. Every figure stands beside the roof that is measured in the same minute. */
#include "cli/bench.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "cli/input.h"
#include "cli/progress.h"

/* Real text, because speculation and sparsity measured on random tokens lie: the opening of Moby-Dick by
 * Herman Melville (1851, public domain), repeated as often as needed. */
static const char sample_text[] = "Call me Ishmael. Some years ago - never mind how long precisely - having "
                                  "little or no money in my purse, and nothing "
                                  "particular to interest me on shore, I thought I would sail about a little "
                                  "and see the watery part of the world. It is a "
                                  "way I have of driving off the spleen and regulating the circulation. "
                                  "Whenever I find myself growing grim about the mouth; "
                                  "whenever it is a damp, drizzly November in my soul; whenever I find "
                                  "myself involuntarily pausing before coffin warehouses, "
                                  "and bringing up the rear of every funeral I meet; and especially whenever "
                                  "my hypos get such an upper hand of me, that it "
                                  "requires a strong moral principle to prevent me from deliberately "
                                  "stepping into the street, and methodically knocking "
                                  "people's hats off - then, I account it high time to get to sea as soon as "
                                  "I can. This is my substitute for pistol and "
                                  "ball. With a philosophical flourish Cato throws himself upon his sword; I "
                                  "quietly take to the ship. There is nothing "
                                  "surprising in this. If they but knew it, almost all men in their degree, "
                                  "some time or other, cherish very nearly the same "
                                  "feelings towards the ocean with me.\n";

/* ------------------------------------------------------------------ lists of sizes */

enum { SIZE_MOST = 1 << 24 };

int nct_counts_take(const nct_cli *cli, const char *flag, const char *text, int64_t low, nct_range *out) {
    switch (nct_parse_range(text, low, SIZE_MOST, false, out)) {
    case NCT_RANGE_GOOD:
        return NCT_EXIT_OK;
    case NCT_RANGE_LONG:
        return nct_say_error(cli, NCT_EXIT_USAGE, "%s has more than %d values", flag, NCT_RANGE_MAX);
    default:
        return nct_say_error(cli, NCT_EXIT_USAGE, "%s %s: expected numbers, such as 512,2k or 4k..128k*2",
                             flag, text);
    }
}

int nct_count_take(const nct_cli *cli, const char *flag, const char *text, int64_t otherwise, int64_t low,
                   int64_t *n) {
    nct_range c = {.n = 0};
    *n = otherwise;
    if (!text)
        return NCT_EXIT_OK;
    int code = nct_counts_take(cli, flag, text, low, &c);
    if (code == NCT_EXIT_OK && c.n != 1)
        code = nct_say_error(cli, NCT_EXIT_USAGE, "%s %s: %s takes one size", flag, text, cli->command->name);
    *n = c.n ? c.value[0] : otherwise;
    return code;
}

int64_t nct_counts_largest(const nct_range *c) {
    int64_t most = 0;
    for (size_t i = 0; i < c->n; i++)
        most = c->value[i] > most ? c->value[i] : most;
    return most;
}

/* ------------------------------------------------------------------ timing */

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double nct_median(double *v, size_t n) {
    qsort(v, n, sizeof *v, by_value);
    return n % 2 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2;
}

double nct_median_deviation(const double *v, size_t n, double middle) {
    double deviation[NCT_REPS_MAX];
    for (size_t i = 0; i < n; i++)
        deviation[i] = fabs(v[i] - middle);
    return nct_median(deviation, n);
}

/* For tests of --baseline: NOCTULE_BENCH_DELAY is how many per cent longer every run takes, waiting. */
static void delay(uint64_t took_ns) {
    const char *text = getenv("NOCTULE_BENCH_DELAY");
    double percent;
    if (!text || !nct_parse_real(text, &percent) || percent <= 0 || percent > 1e4)
        return;
    uint64_t until = nct_clock_ns() + (uint64_t)((double)took_ns * percent / 100);
    while (nct_clock_ns() < until)
        ;
}

/* One run from the depth held; *seconds only on success. */
static nct_status run_once(nct_bench *b, const nct_bench_row *r, double *seconds, nct_error *err) {
    const int32_t *ids = b->ids + r->depth;
    NCT_TRY(nct_session_rewind(b->session, (int)r->depth, err));
    uint64_t began = nct_clock_ns();
    if (r->n_prompt)
        NCT_TRY(nct_session_feed(b->session, ids, (size_t)r->n_prompt, NULL, err));
    for (int64_t k = 0; k < r->n_gen; k++)
        NCT_TRY(nct_session_feed(b->session, ids + r->n_prompt + k, 1, NULL, err));
    delay(nct_clock_ns() - began);
    *seconds = (double)(nct_clock_ns() - began) * 1e-9;
    return NCT_OK;
}

int nct_bench_time(nct_bench *b, nct_bench_row *r) {
    nct_error err = {0};
    int64_t held = nct_session_length(b->session);
    nct_status status = NCT_OK;
    if (held < r->depth && b->cli->args.made_up)
        status = nct_session_make_up(b->session, (int)(r->depth - held), 1, &err);
    else if (held < r->depth)
        status = nct_session_feed(b->session, b->ids + held, (size_t)(r->depth - held), NULL, &err);
    nct_roofline before = b->roof, after = b->roof;
    for (int i = -b->warmup; i < b->reps && status == NCT_OK; i++) {
        double seconds = 0;
        status = run_once(b, r, &seconds, &err);
        if (r->n_prompt)
            nct_engine_roofline_multiply(b->engine, &after);
        if (i >= 0) {
            r->sample[i] = (double)(r->n_prompt + r->n_gen) / seconds;
            r->multiply_ops_s[i] = (before.multiply_ops_s + after.multiply_ops_s) / 2;
            r->attend_ops_s[i] = (before.attend_ops_s + after.attend_ops_s) / 2;
        }
        before = after;
    }
    if (status != NCT_OK)
        return nct_say_status(b->cli, &err);
    double sorted[NCT_REPS_MAX];
    memcpy(sorted, r->sample, (size_t)b->reps * sizeof *sorted);
    r->rate = nct_median(sorted, (size_t)b->reps);
    r->spread = nct_median_deviation(r->sample, (size_t)b->reps, r->rate);
    nct_report report;
    nct_session_report(b->session, &report);
    nct_use_find(&r->use);
    r->cache_mapped_bytes = report.kv_mapped_bytes;
    r->cache_resident_bytes = report.kv_resident_bytes;
    r->cache_dirty_bytes = report.kv_dirty_bytes;
    return NCT_EXIT_OK;
}

/* ------------------------------------------------------------------ the roof */

double nct_bench_attend_ops(const nct_model_info *m, double n_keys) {
    return 4.0 * m->n_layers * m->n_heads * m->head_dim * n_keys;
}

/* A prompt: multiplying with every weight of the layers; with tokens held before it, attention too, at its own
 * peak. Without, attention is left out, so that the figure is that of the matrices. Each sample is judged by the peak
 * around it. */
static void judge_prompt(const nct_bench *b, nct_bench_row *r) {
    const nct_model_info *m = &b->info;
    if (!(b->roof.multiply_ops_s > 0))
        return;
    double n = (double)r->n_prompt, share[NCT_REPS_MAX],
           layers = (double)m->n_parameters - (double)m->n_vocab * m->hidden * (m->tied ? 1 : 2);
    snprintf(r->limit, sizeof r->limit, "%s peak", b->roof.multiply_name);
    if (r->depth) {
        if (!(b->roof.attend_ops_s > 0))
            return;
        if (strcmp(b->roof.attend_name, b->roof.multiply_name) != 0)
            snprintf(r->limit, sizeof r->limit, "%s+%s peak", b->roof.multiply_name, b->roof.attend_name);
    }
    for (int i = 0; i < b->reps; i++) {
        double seconds = 2 * layers / r->multiply_ops_s[i];
        if (r->depth)
            seconds += nct_bench_attend_ops(m, (double)r->depth + n / 2) / r->attend_ops_s[i];
        share[i] = r->sample[i] * seconds;
    }
    r->share = nct_median(share, (size_t)b->reps);
}

/* A step: reading every weight once, and the cache, unless multiplying with that takes longer. */
static void judge_steps(const nct_bench *b, nct_bench_row *r) {
    const nct_model_info *m = &b->info;
    double keys = (double)r->depth + (double)r->n_gen / 2;
    double weights =
        (double)m->weight_bytes - (m->tied ? 0 : (double)m->embedding_bytes); /* one row of it is read */
    nct_report report;
    nct_session_report(b->session, &report);
    double cache = (double)report.kv_bytes_per_token * keys, reading = cache / b->roof.read_bytes_s,
           multiplying = 0;
    if (b->roof.attend_ops_s > 0) /* measured with the threads of prompts */
        multiplying =
            nct_bench_attend_ops(m, keys) / b->roof.attend_ops_s * m->n_threads_batch / m->n_threads;
    r->bytes_s = r->rate * (weights + cache);
    r->share = r->rate * (weights / b->roof.read_bytes_s + fmax(reading, multiplying));
    if (multiplying > reading)
        snprintf(r->limit, sizeof r->limit, "bandwidth+%s", b->roof.attend_name);
    else
        snprintf(r->limit, sizeof r->limit, "bandwidth");
}

static void judge(const nct_bench *b, nct_bench_row *r) {
    if (b->sparse && r->depth + r->n_prompt + r->n_gen > b->info.sparse_dense_len)
        snprintf(r->limit, sizeof r->limit, "sparse"); /* what is read and multiplied hangs on the choice */
    else if (r->n_prompt && r->n_gen)
        snprintf(r->limit, sizeof r->limit, "both");
    else if (r->n_prompt)
        judge_prompt(b, r);
    else
        judge_steps(b, r);
}

/* ------------------------------------------------------------------ opening */

/* The text's ids, repeated to the length needed. */
static int take_text(nct_bench *b, size_t n) {
    nct_error err = {0};
    nct_bytes text = {0};
    int32_t *once = NULL;
    size_t n_once = 0;
    void *all = NULL;
    int code = NCT_EXIT_OK;
    const char *corpus = b->cli->args.corpus;
    if (corpus)
        code = nct_input_read(b->cli, corpus, &text);
    if (code == NCT_EXIT_OK &&
        (nct_encode(b->engine, corpus ? text.data : sample_text, corpus ? text.n : sizeof sample_text - 1,
                    false, true, &once, &n_once, &err) != NCT_OK ||
         nct_alloc(&all, n, sizeof *b->ids, &err) != NCT_OK))
        code = nct_say_status(b->cli, &err);
    if (code == NCT_EXIT_OK && corpus && text.n == 0) /* one token begins any text */
        code = nct_say_error(b->cli, NCT_EXIT_USAGE, "%s holds no text", corpus);
    b->ids = all;
    b->n_ids = n;
    for (size_t i = 0; code == NCT_EXIT_OK && i < n; i++)
        b->ids[i] = once[i % n_once];
    nct_free(once);
    nct_bytes_reset(&text);
    return code;
}

int nct_bench_open(nct_bench *b, int64_t n_tokens) {
    const nct_args *a = &b->cli->args;
    b->reps = a->reps == NCT_UNSET ? 5 : (int)a->reps;
    b->warmup = a->warmup == NCT_UNSET ? 1 : (int)a->warmup;
    int code = nct_open_model(b->cli, false, &b->engine, &b->info);
    if (code == NCT_EXIT_OK)
        code = nct_open_session(b->cli, b->engine, (size_t)n_tokens, &b->session);
    if (code != NCT_EXIT_OK)
        return code;
    nct_sparse_mode sparse = a->sparse == NCT_UNSET ? NCT_SPARSE_AUTO : (nct_sparse_mode)a->sparse;
    b->sparse = sparse == NCT_SPARSE_ON || (sparse == NCT_SPARSE_AUTO && b->info.sparse_trained);
    if (n_tokens > nct_session_limit(b->session))
        return nct_say_error(b->cli, NCT_EXIT_CONTEXT,
                             "the longest test needs %s tokens; %s holds %s\ntry: smaller -d, -p or -n, or "
                             "-X ctx.force=1 -c %lld",
                             NCT_N((uint64_t)n_tokens), b->info.name,
                             NCT_N((uint64_t)nct_session_limit(b->session)), (long long)n_tokens);
    return take_text(b, (size_t)n_tokens);
}

void nct_bench_close(nct_bench *b) {
    nct_baseline_reset(&b->baseline);
    nct_free(b->rows);
    nct_free(b->ids);
    nct_session_close(b->session);
    nct_engine_close(b->engine);
}

/* ------------------------------------------------------------------ comparing */

double nct_bench_change(const nct_bench_row *r) { return r->before ? r->rate / r->before->rate - 1 : NAN; }

static int take_tolerance(nct_bench *b, const char *text) {
    char number[32];
    size_t n = strlen(text);
    b->tolerance = 0.05;
    if (n > 0 && text[n - 1] == '%')
        n--;
    snprintf(number, sizeof number, "%.*s", (int)(n < 31 ? n : 31), text);
    double value;
    if (n > 31 || !nct_parse_real(number, &value) || value < 0 || value >= 100)
        return nct_say_error(b->cli, NCT_EXIT_USAGE,
                             "--tol wants per cent from 0 to 100, such as 5%%, got '%.60s'", text);
    b->tolerance = value / 100;
    return NCT_EXIT_OK;
}

static int take_baseline(nct_bench *b) {
    const nct_args *a = &b->cli->args;
    nct_bytes text = {0};
    nct_error err = {0};
    if (!a->baseline) {
        if (a->tolerance)
            return nct_say_error(b->cli, NCT_EXIT_USAGE, "--tol belongs to a baseline\ntry: --baseline FILE");
        return NCT_EXIT_OK;
    }
    int code = take_tolerance(b, a->tolerance ? a->tolerance : "5%");
    if (code == NCT_EXIT_OK)
        code = nct_input_read_exact(b->cli, a->baseline, &text);
    if (code == NCT_EXIT_OK &&
        nct_baseline_parse(a->baseline, text.data ? text.data : "", text.n, &b->baseline, &err) != NCT_OK)
        code = err.status == NCT_E_MEMORY ? nct_say_status(b->cli, &err)
                                          : nct_say_error(b->cli, NCT_EXIT_USAGE,
                                                          "%s\n--baseline takes what an earlier bench wrote "
                                                          "as JSON\ntry: noctule bench -o base.json",
                                                          err.text);
    b->has_baseline = code == NCT_EXIT_OK;
    nct_bytes_reset(&text);
    return code;
}

/* Rates of another model or machine may be compared, but not without a word. */
static void warn_if_foreign(const nct_bench *b) {
    const nct_baseline *old = &b->baseline;
    struct {
        const char *what, *before, *now;
    } facts[] = {{"model", old->model, b->info.name},
                 {"weights", old->quant, b->info.weights},
                 {"processor", old->cpu, b->roof.cpu},
                 {"instruction set", old->isa, b->info.isa}};
    for (size_t i = 0; i < sizeof facts / sizeof *facts; i++)
        if (*facts[i].before && strcmp(facts[i].before, facts[i].now) != 0)
            nct_say_warning(b->cli, "the baseline was measured with another %s: %s, now %s", facts[i].what,
                            facts[i].before, facts[i].now);
    if ((old->threads_pp && old->threads_pp != b->info.n_threads_batch) ||
        (old->threads_tg && old->threads_tg != b->info.n_threads))
        nct_say_warning(b->cli, "the baseline was measured with %d/%d threads, now %d/%d (prefill/decode)",
                        old->threads_pp, old->threads_tg, b->info.n_threads_batch, b->info.n_threads);
}

/* Before anything is timed: what has no counterpart would be found out too late. */
static int match_baseline(nct_bench *b) {
    size_t n_found = 0;
    for (size_t i = 0; i < b->n_rows; i++) {
        b->rows[i].before = nct_baseline_find(&b->baseline, b->rows[i].test);
        n_found += b->rows[i].before != NULL;
    }
    if (n_found == 0)
        return nct_say_error(
            b->cli, NCT_EXIT_USAGE,
            "%s has none of these tests; its first is %s, the first of these %s\ntry: the same -p, -n and -d",
            b->cli->args.baseline, b->baseline.row[0].test, b->rows[0].test);
    return NCT_EXIT_OK;
}

/* The verdict, on stderr where there is one: the table is on stdout. */
static int find_regressions(const nct_bench *b) {
    size_t n = 0, worst = 0;
    for (size_t i = 0; i < b->n_rows; i++)
        if (nct_bench_change(&b->rows[i]) < -b->tolerance) {
            worst = n == 0 || nct_bench_change(&b->rows[i]) < nct_bench_change(&b->rows[worst]) ? i : worst;
            n++;
        }
    if (n == 0)
        return NCT_EXIT_OK;
    const nct_bench_row *r = &b->rows[worst];
    return nct_say_error(
        b->cli, NCT_EXIT_CHECK,
        "%zu of %zu tests %s more than %.4g %% slower than in %s; the worst is %s: %.1f t/s, before %.1f", n,
        b->n_rows, n == 1 ? "is" : "are", 100 * b->tolerance, b->cli->args.baseline, r->test, r->rate,
        r->before->rate);
}

/* ------------------------------------------------------------------ the table of tests */

typedef struct sizes {
    nct_range prompt, gen, depth;
    nct_range pairs; /* of -pg: prompt, gen, prompt, gen, ... */
} sizes;

static int take_sizes(const nct_cli *cli, sizes *s) {
    const nct_args *a = &cli->args;
    int code = nct_counts_take(cli, "-p", a->bench_prompt ? a->bench_prompt : "512", 0, &s->prompt);
    if (code == NCT_EXIT_OK)
        code = nct_counts_take(cli, "-n", a->bench_gen ? a->bench_gen : "128", 0, &s->gen);
    if (code == NCT_EXIT_OK)
        code = nct_counts_take(cli, "-d", a->bench_depth ? a->bench_depth : "0", 0, &s->depth);
    for (size_t i = 0; i < a->bench_pairs.n && code == NCT_EXIT_OK; i++) {
        nct_range pair;
        code = nct_counts_take(cli, "-pg", a->bench_pairs.item[i], 1, &pair);
        if (code == NCT_EXIT_OK && (pair.n != 2 || s->pairs.n + 2 > NCT_RANGE_MAX))
            code = nct_say_error(
                cli, NCT_EXIT_USAGE,
                "-pg %s: expected a prompt and a number of tokens to generate, such as 4096,128",
                a->bench_pairs.item[i]);
        if (code == NCT_EXIT_OK) {
            s->pairs.value[s->pairs.n++] = pair.value[0];
            s->pairs.value[s->pairs.n++] = pair.value[1];
        }
    }
    return code;
}

static void add_row(nct_bench *b, int64_t n_prompt, int64_t n_gen, int64_t depth) {
    nct_bench_row *r = &b->rows[b->n_rows++];
    char what[40];
    r->n_prompt = n_prompt;
    r->n_gen = n_gen;
    r->depth = depth;
    if (n_prompt && n_gen)
        snprintf(what, sizeof what, "pp%lld+tg%lld", (long long)n_prompt, (long long)n_gen);
    else
        snprintf(what, sizeof what, n_prompt ? "pp%lld" : "tg%lld", (long long)(n_prompt + n_gen));
    if (depth)
        snprintf(r->test, sizeof r->test, "%s @ d%lld", what, (long long)depth);
    else
        snprintf(r->test, sizeof r->test, "%s", what);
}

static int add_rows(nct_bench *b, const sizes *s) {
    nct_error err = {0};
    void *rows = NULL;
    size_t most = (s->prompt.n + s->gen.n + s->pairs.n / 2) * s->depth.n;
    if (nct_alloc(&rows, most, sizeof *b->rows, &err) != NCT_OK)
        return nct_say_status(b->cli, &err);
    b->rows = rows;
    for (size_t d = 0; d < s->depth.n; d++) {
        for (size_t i = 0; i < s->prompt.n; i++)
            if (s->prompt.value[i]) /* 0: none of these, as in llama-bench */
                add_row(b, s->prompt.value[i], 0, s->depth.value[d]);
        for (size_t i = 0; i < s->gen.n; i++)
            if (s->gen.value[i])
                add_row(b, 0, s->gen.value[i], s->depth.value[d]);
        for (size_t i = 0; i < s->pairs.n; i += 2)
            add_row(b, s->pairs.value[i], s->pairs.value[i + 1], s->depth.value[d]);
    }
    return b->n_rows
               ? NCT_EXIT_OK
               : nct_say_error(b->cli, NCT_EXIT_USAGE, "-p 0 -n 0 leaves nothing to measure\ntry: -p 512");
}

static int run_tests(nct_bench *b) {
    nct_meter meter;
    int code = NCT_EXIT_OK;
    nct_meter_begin(b->cli, "bench", &meter);
    for (size_t i = 0; i < b->n_rows && code == NCT_EXIT_OK; i++) {
        code = nct_bench_time(b, &b->rows[i]);
        judge(b, &b->rows[i]);
        nct_meter_show(&meter, i + 1, b->n_rows);
    }
    nct_meter_end(&meter);
    return code;
}

static int check_words(const nct_cli *cli) {
    const nct_args *a = &cli->args;
    if (a->words.n)
        return nct_say_error(cli, NCT_EXIT_USAGE,
                             "bench has no '%s'\nit has: mem, threads, depth; -p and -n are sizes here",
                             a->words.item[0]);
    return NCT_EXIT_OK;
}

int nct_bench_main(nct_cli *cli) {
    nct_bench b = {.cli = cli};
    sizes s = {0};
    nct_error err = {0};
    int code = check_words(cli);
    if (code == NCT_EXIT_OK)
        code = take_sizes(cli, &s);
    if (code == NCT_EXIT_OK)
        code = add_rows(&b, &s);
    if (code == NCT_EXIT_OK)
        code = take_baseline(&b);
    if (code == NCT_EXIT_OK && b.has_baseline)
        code = match_baseline(&b);
    int64_t longest = 0;
    for (size_t i = 0; i < b.n_rows; i++) {
        int64_t n = b.rows[i].depth + b.rows[i].n_prompt + b.rows[i].n_gen;
        longest = n > longest ? n : longest;
    }
    if (code == NCT_EXIT_OK)
        code = nct_bench_open(&b, longest);
    if (code == NCT_EXIT_OK && nct_engine_roofline(b.engine, &b.roof, &err) != NCT_OK)
        code = nct_say_status(cli, &err);
    if (code == NCT_EXIT_OK && b.has_baseline)
        warn_if_foreign(&b);
    if (code == NCT_EXIT_OK)
        code = run_tests(&b);
    if (code == NCT_EXIT_OK && nct_engine_bandwidth(b.engine, &b.read_after, &err) != NCT_OK)
        code = nct_say_status(cli, &err);
    if (code == NCT_EXIT_OK)
        code = nct_bench_report(&b);
    if (code == NCT_EXIT_OK && b.has_baseline)
        code = find_regressions(&b);
    nct_bench_close(&b);
    return code;
}
