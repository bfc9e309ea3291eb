/* Speed over numbers of threads, for prompts and for steps, and the pair to use. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/cpu.h"
#include "cli/bench.h"
#include "cli/host.h"
#include "cli/progress.h"

enum { REPS = 3, PROMPT = 256, GEN = 32, DEPTH = 0 };
#define CLOSE  0.98 /* fewer threads are preferred if they reach so much of the best */
#define STEADY 0.05 /* a spread beyond this says more of other load than of threads */

typedef struct trial {
    nct_bench b;
    nct_range threads;
    nct_bench_row *prompt, *gen; /* [threads.n] */
    size_t best_prompt, best_gen;
} trial;

/* 1, 2, 3, 4, 6, 8, 12, 16, ... and all. */
static void usual_counts(int usable, nct_range *c) {
    c->n = 0;
    for (int64_t n = 1; n < usable && c->n + 1 < NCT_RANGE_MAX; n += n < 4 ? 1 : n < 8 ? 2 : n / 4)
        c->value[c->n++] = n;
    c->value[c->n++] = usable;
}

int nct_threads_take(const nct_cli *cli, nct_range *c) {
    int usable = nct_cpu_usable();
    int code = nct_counts_take(cli, "-t", cli->args.bench_threads, 1, c);
    int64_t most = nct_counts_largest(c);
    if (code == NCT_EXIT_OK && most > (cli->args.force_threads ? 1024 : usable))
        code =
            nct_say_error(cli, NCT_EXIT_USAGE, "-t %s: this process may use %d threads\ntry: --force-threads",
                          cli->args.bench_threads, usable);
    return code;
}

static int run_trials(trial *t) {
    nct_error err = {0};
    nct_meter meter;
    int code = NCT_EXIT_OK;
    size_t n = t->threads.n;
    nct_meter_begin(t->b.cli, "bench", &meter);
    for (size_t i = 0; i < n && code == NCT_EXIT_OK; i++) {
        int count = (int)t->threads.value[i];
        if (nct_engine_set_threads(t->b.engine, count, count, &err) != NCT_OK)
            code = nct_say_status(t->b.cli, &err);
        if (code == NCT_EXIT_OK)
            code = nct_bench_time(&t->b, &t->prompt[i]);
        nct_meter_show(&meter, 2 * i + 1, 2 * n);
        if (code == NCT_EXIT_OK)
            code = nct_bench_time(&t->b, &t->gen[i]);
        nct_meter_show(&meter, 2 * i + 2, 2 * n);
    }
    nct_meter_end(&meter);
    return code;
}

/* The fewest threads that come close to the fastest. */
static size_t choose(const trial *t, const nct_bench_row *rows) {
    size_t best = 0, chosen;
    for (size_t i = 1; i < t->threads.n; i++)
        best = rows[i].rate > rows[best].rate ? i : best;
    chosen = best;
    for (size_t i = 0; i < t->threads.n; i++)
        if (rows[i].rate >= CLOSE * rows[best].rate && t->threads.value[i] < t->threads.value[chosen])
            chosen = i;
    return chosen;
}

static bool is_steady(const trial *t) {
    for (size_t i = 0; i < 2 * t->threads.n; i++)
        if (t->b.rows[i].spread > STEADY * t->b.rows[i].rate)
            return false;
    return true;
}

static void print_table(const trial *t, nct_output *out) {
    nct_output_print(out, "%s %s · %s\n", t->b.info.name, t->b.info.weights, t->b.info.isa);
    nct_output_print(out, "| threads | %8s t/s | spread | %8s t/s | spread | use            |\n",
                     t->prompt->test, t->gen->test);
    nct_output_print(out, "|--------:|-------------:|-------:|-------------:|-------:|----------------|\n");
    for (size_t i = 0; i < t->threads.n; i++) {
        const nct_bench_row *p = &t->prompt[i], *g = &t->gen[i];
        bool for_prompts = i == t->best_prompt, for_steps = i == t->best_gen;
        nct_output_print(out, "| %7lld | %12.1f | ±%4.1f%% | %12.1f | ±%4.1f%% | %-14s |\n",
                         (long long)t->threads.value[i], p->rate, 100 * p->spread / p->rate, g->rate,
                         100 * g->spread / g->rate,
                         for_prompts && for_steps ? "prefill decode"
                         : for_prompts            ? "prefill"
                         : for_steps              ? "decode"
                                                  : "");
    }
    if (!is_steady(t))
        nct_output_print(
            out,
            "unsteady: a spread of more than %.0f%% tells of other load, so nothing is kept for this host\n",
            100 * STEADY);
    nct_output_print(out, "use: -t %lld -tb %lld\n", (long long)t->threads.value[t->best_gen],
                     (long long)t->threads.value[t->best_prompt]);
}

static void print_records(const trial *t, nct_output *out, int64_t form) {
    if (form == NCT_BENCH_CSV)
        nct_output_print(out, "threads,test,n_prompt,n_gen,depth,reps,tps_med,tps_mad,recommended\n");
    for (size_t i = 0; i < 2 * t->threads.n; i++) {
        const nct_bench_row *r = i % 2 ? &t->gen[i / 2] : &t->prompt[i / 2];
        bool use = i / 2 == (i % 2 ? t->best_gen : t->best_prompt), last = i + 1 == 2 * t->threads.n;
        const char *fmt = form == NCT_BENCH_CSV ? "%lld,%s,%lld,%lld,%lld,%d,%.6g,%.4g,%d"
                                                : "{\"threads\":%lld,\"test\":\"%s\",\"n_prompt\":%lld,\"n_"
                                                  "gen\":%lld,\"depth\":%lld,\"reps\":%d,"
                                                  "\"tps_med\":%.6g,\"tps_mad\":%.4g,\"recommended\":%d}";
        char text[512];
        snprintf(text, sizeof text, fmt, (long long)t->threads.value[i / 2], r->test, (long long)r->n_prompt,
                 (long long)r->n_gen, (long long)r->depth, t->b.reps, r->rate, r->spread, use);
        nct_output_print(out, "%s%s%s", form == NCT_BENCH_JSON && i == 0 ? "[" : "", text,
                         form != NCT_BENCH_JSON ? "\n"
                         : last                 ? "]\n"
                                                : ",\n");
    }
}

static int report(const trial *t) {
    const nct_args *a = &t->b.cli->args;
    nct_output out;
    int code = nct_output_open(t->b.cli, a->output, &out);
    if (code != NCT_EXIT_OK)
        return code;
    if (a->bench_format == NCT_BENCH_MD || a->bench_format == NCT_UNSET)
        print_table(t, &out);
    else
        print_records(t, &out, a->bench_format);
    return nct_output_close(&out, code);
}

static int prepare(trial *t, nct_cli *cli) {
    nct_args *a = &cli->args;
    nct_error err = {0};
    int64_t n_prompt, n_gen, depth;
    void *rows = NULL;
    if (a->words.n)
        return nct_say_error(cli, NCT_EXIT_USAGE, "bench threads takes no '%s'\ntry: -t 1,2,4",
                             a->words.item[0]);
    usual_counts(nct_cpu_usable(), &t->threads);
    int code = nct_bench_take_form(cli);
    if (code == NCT_EXIT_OK && a->bench_threads)
        code = nct_threads_take(cli, &t->threads);
    if (code == NCT_EXIT_OK)
        code = nct_count_take(cli, "-p", a->bench_prompt, PROMPT, 1, &n_prompt);
    if (code == NCT_EXIT_OK)
        code = nct_count_take(cli, "-n", a->bench_gen, GEN, 1, &n_gen);
    if (code == NCT_EXIT_OK)
        code = nct_count_take(cli, "-d", a->bench_depth, DEPTH, 0, &depth);
    if (code != NCT_EXIT_OK)
        return code;
    a->threads = a->threads_batch = nct_counts_largest(&t->threads);
    a->reps = a->reps == NCT_UNSET ? REPS : a->reps;
    if (nct_alloc(&rows, 2 * t->threads.n, sizeof(nct_bench_row), &err) != NCT_OK)
        return nct_say_status(cli, &err);
    t->b.rows = t->prompt = rows;
    t->gen = t->prompt + t->threads.n;
    for (size_t i = 0; i < t->threads.n; i++) {
        t->prompt[i].n_prompt = n_prompt;
        t->gen[i].n_gen = n_gen;
        t->prompt[i].depth = t->gen[i].depth = depth;
        snprintf(t->prompt[i].test, sizeof t->prompt[i].test, "pp%lld", (long long)n_prompt);
        snprintf(t->gen[i].test, sizeof t->gen[i].test, "tg%lld", (long long)n_gen);
    }
    return nct_bench_open(&t->b, depth + (n_prompt > n_gen ? n_prompt : n_gen));
}

int nct_bench_threads_main(nct_cli *cli) {
    trial t = {.b.cli = cli};
    int code = prepare(&t, cli);
    if (code == NCT_EXIT_OK)
        code = run_trials(&t);
    if (code == NCT_EXIT_OK) {
        t.best_prompt = choose(&t, t.prompt);
        t.best_gen = choose(&t, t.gen);
        code = report(&t);
    }
    if (code == NCT_EXIT_OK && is_steady(&t)) {
        nct_host host = {.threads = (int)t.threads.value[t.best_gen],
                         .threads_batch = (int)t.threads.value[t.best_prompt],
                         .by_bench = true};
        if (nct_host_write(&host))
            nct_say_note(cli, "kept for this host: runs without -t use %d threads, %d for prompts",
                         host.threads, host.threads_batch);
    }
    nct_bench_close(&t.b);
    return code;
}
