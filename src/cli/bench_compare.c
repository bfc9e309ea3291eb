/* A bench beside an earlier one: which test of it each is compared with, and what has become slower. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "cli/bench.h"
#include "cli/input.h"

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

int nct_bench_take_baseline(nct_bench *b) {
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
}

/* The same of one row and that which it is compared with. True if there was something to say. */
static bool warn_of_row(const nct_bench *b, const nct_bench_row *r) {
    const nct_baseline_row *old = r->before;
    const nct_bench_team *t = r->team;
    const char *sparse = r->sparse ? "on" : "off";
    bool threads = (old->threads_pp && old->threads_pp != t->threads_batch) ||
                   (old->threads_tg && old->threads_tg != t->threads),
         kv = *old->kv && strcmp(old->kv, r->kv_name) != 0,
         chosen = *old->sparse && strcmp(old->sparse, sparse) != 0;
    if (threads)
        nct_say_warning(b->cli, "the baseline was measured with %d/%d threads, now %d/%d (prefill/decode)",
                        old->threads_pp, old->threads_tg, t->threads_batch, t->threads);
    if (kv)
        nct_say_warning(b->cli, "the baseline was measured with another cache type: %s, now %s", old->kv,
                        r->kv_name);
    if (chosen)
        nct_say_warning(b->cli, "the baseline was measured with --sparse %s, now %s", old->sparse, sparse);
    return threads || kv || chosen;
}

int nct_bench_match_baseline(nct_bench *b) {
    size_t n_found = 0;
    bool varies = b->varies_threads || b->varies_kv || b->varies_sparse, warned = false;
    for (size_t i = 0; i < b->n_rows; i++) {
        nct_bench_row *r = &b->rows[i];
        nct_baseline_row like = {
            .np = (int)r->n_sequences, .threads_pp = r->team->threads_batch, .threads_tg = r->team->threads};
        snprintf(like.test, sizeof like.test, "%s", r->test);
        snprintf(like.kv, sizeof like.kv, "%s", r->kv_name);
        snprintf(like.sparse, sizeof like.sparse, "%s", r->sparse ? "on" : "off");
        r->before = nct_baseline_find(&b->baseline, &like, !varies);
        n_found += r->before != NULL;
    }
    if (n_found == 0)
        return nct_say_error(b->cli, NCT_EXIT_USAGE,
                             "%s has none of these tests; its first is %s, the first of these %s\ntry: the "
                             "same -p, -n and -d%s",
                             b->cli->args.baseline, b->baseline.row[0].test,
                             nct_bench_label(b, &b->rows[0], (char[128]){0}, 128),
                             varies ? ", and -t, --kv and --sparse" : "");
    warn_if_foreign(b);
    for (size_t i = 0; i < b->n_rows && !warned; i++)
        warned = b->rows[i].before && warn_of_row(b, &b->rows[i]);
    return NCT_EXIT_OK;
}

/* The verdict, on stderr where there is one: the table is on stdout. */
int nct_bench_find_regressions(const nct_bench *b) {
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
        b->n_rows, n == 1 ? "is" : "are", 100 * b->tolerance, b->cli->args.baseline,
        nct_bench_label(b, r, (char[128]){0}, 128), r->rate, r->before->rate);
}
