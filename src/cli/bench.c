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

static bool count_down(void *context, int32_t id) {
    (void)id;
    return --*(int64_t *)context > 0;
}

/* The same, but what is generated is chosen, greedily, as `run` does it. Without a prompt the last token held is read once
 * more first, for its logits. One more is chosen, for the last one chosen is not computed. */
static nct_status run_guessing(nct_bench *b, const nct_bench_row *r, double *seconds, nct_rounds *rounds,
                               nct_error *err) {
    nct_sampling greedy = {.top_p = 1, .repeat_penalty = 1};
    nct_rounds these;
    int64_t left = r->n_gen + 1, held = nct_bench_held(r);
    int64_t lead = r->n_prompt ? r->n_prompt : 1, from = r->n_prompt ? held : held - 1;
    nct_generate_options o = {.sampling = &greedy,
                              .n_prompt = (int)(from + lead),
                              .take = count_down,
                              .context = &left,
                              .rounds = &these};
    NCT_TRY(nct_session_rewind(b->session, (int)from, err));
    uint64_t began = nct_clock_ns();
    NCT_TRY(nct_session_feed(b->session, b->ids + from, (size_t)lead, NULL, err));
    if (!r->n_prompt)
        began = nct_clock_ns();
    NCT_TRY(nct_session_generate(b->session, &o, err));
    delay(nct_clock_ns() - began);
    *seconds = (double)(nct_clock_ns() - began) * 1e-9;
    rounds->n_rounds += these.n_rounds;
    rounds->n_guessed += these.n_guessed;
    rounds->n_accepted += these.n_accepted;
    return NCT_OK;
}

int64_t nct_bench_held(const nct_bench_row *r) {
    return r->guesses && !r->n_prompt && r->depth < NCT_BENCH_LEAD ? NCT_BENCH_LEAD : r->depth;
}

int nct_bench_fill(nct_bench *b, int64_t depth) {
    nct_error err = {0};
    int64_t held = nct_session_length(b->session);
    if (held >= depth)
        return NCT_EXIT_OK;
    nct_status status = b->cli->args.made_up
                            ? nct_session_make_up(b->session, (int)(depth - held), 1, &err)
                            : nct_session_feed(b->session, b->ids + held, (size_t)(depth - held), NULL, &err);
    return status == NCT_OK ? NCT_EXIT_OK : nct_say_status(b->cli, &err);
}

void nct_bench_sum_up(const nct_bench *b, nct_bench_row *r) {
    double sorted[NCT_REPS_MAX];
    memcpy(sorted, r->sample, (size_t)b->reps * sizeof *sorted);
    r->rate = nct_median(sorted, (size_t)b->reps);
    r->spread = nct_median_deviation(r->sample, (size_t)b->reps, r->rate);
    nct_use_find(&r->use);
}

int nct_bench_time(nct_bench *b, nct_bench_row *r) {
    nct_error err = {0};
    nct_status status = NCT_OK;
    nct_rounds rounds = {0};
    nct_roofline before = b->roof, after = b->roof;
    int code = nct_bench_fill(b, nct_bench_held(r));
    if (code != NCT_EXIT_OK)
        return code;
    for (int i = -b->warmup; i < b->reps && status == NCT_OK; i++) {
        double seconds = 0;
        if (i == 0)
            rounds = (nct_rounds){0};
        status = r->guesses ? run_guessing(b, r, &seconds, &rounds, &err) : run_once(b, r, &seconds, &err);
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
    nct_bench_sum_up(b, r);
    if (r->guesses) {
        r->accept = 1 + (double)rounds.n_accepted / (double)rounds.n_rounds;
        r->nodes = 1 + (double)rounds.n_guessed / (double)rounds.n_rounds;
    }
    nct_report report;
    nct_session_report(b->session, &report);
    r->cache_mapped_bytes = report.kv_mapped_bytes;
    r->cache_resident_bytes = report.kv_resident_bytes;
    r->cache_dirty_bytes = report.kv_dirty_bytes;
    return NCT_EXIT_OK;
}

/* ------------------------------------------------------------------ opening */

int nct_bench_take_text(nct_bench *b, int64_t n_tokens) {
    nct_error err = {0};
    size_t n = (size_t)n_tokens;
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

int nct_bench_open_engine(nct_bench *b) {
    const nct_args *a = &b->cli->args;
    b->reps = a->reps == NCT_UNSET ? 5 : (int)a->reps;
    b->warmup = a->warmup == NCT_UNSET ? 1 : (int)a->warmup;
    return nct_open_model(b->cli, false, &b->engine, &b->info);
}

int nct_bench_open_session(nct_bench *b, int64_t n_tokens) {
    nct_session_close(b->session);
    b->session = NULL;
    int code = nct_open_session(b->cli, b->engine, (size_t)n_tokens, &b->session);
    if (code == NCT_EXIT_OK && n_tokens > nct_session_limit(b->session))
        code = nct_say_error(b->cli, NCT_EXIT_CONTEXT,
                             "the longest test needs %s tokens; %s holds %s\ntry: smaller -d, -p or -n, or "
                             "-X ctx.force=1 -c %lld",
                             NCT_N((uint64_t)n_tokens), b->info.name,
                             NCT_N((uint64_t)nct_session_limit(b->session)), (long long)n_tokens);
    return code;
}

int nct_bench_open(nct_bench *b, int64_t n_tokens) {
    int code = nct_bench_open_engine(b);
    if (code == NCT_EXIT_OK)
        code = nct_bench_open_session(b, n_tokens);
    return code == NCT_EXIT_OK ? nct_bench_take_text(b, n_tokens) : code;
}

void nct_bench_close(nct_bench *b) {
    nct_baseline_reset(&b->baseline);
    nct_free(b->rows);
    nct_free(b->teams);
    nct_free(b->ids);
    nct_session_close(b->session);
    nct_engine_close(b->engine);
}

/* ------------------------------------------------------------------ the command */

static int check_words(const nct_cli *cli) {
    const nct_args *a = &cli->args;
    if (a->words.n)
        return nct_say_error(
            cli, NCT_EXIT_USAGE,
            "bench has no '%s'\nit has: mem, threads, depth, spec, batch; -p and -n are sizes here",
            a->words.item[0]);
    return NCT_EXIT_OK;
}

int nct_bench_main(nct_cli *cli) {
    nct_bench b = {.cli = cli};
    nct_error err = {0};
    int code = check_words(cli);
    if (code == NCT_EXIT_OK)
        code = nct_bench_add_rows(&b);
    if (code == NCT_EXIT_OK)
        code = nct_bench_take_baseline(&b);
    if (code == NCT_EXIT_OK)
        code = nct_bench_open_engine(&b);
    if (code == NCT_EXIT_OK)
        code = nct_bench_take_text(&b, nct_bench_longest(&b));
    if (code == NCT_EXIT_OK)
        code = nct_bench_settle_rows(&b);
    if (code == NCT_EXIT_OK && b.has_baseline)
        code = nct_bench_match_baseline(&b);
    if (code == NCT_EXIT_OK)
        code = nct_bench_run(&b);
    if (code == NCT_EXIT_OK && nct_engine_bandwidth(b.engine, &b.read_after, &err) != NCT_OK)
        code = nct_say_status(cli, &err);
    if (code == NCT_EXIT_OK)
        code = nct_bench_report(&b);
    if (code == NCT_EXIT_OK && b.has_baseline)
        code = nct_bench_find_regressions(&b);
    nct_bench_close(&b);
    return code;
}
