/* Running the rows of `bench`. Those of one cache type share a session, which is filled once from depth to depth; those
 * that guess have one of their own, whose draft would cost the others time. Rows are run by depth and so stand beside
 * those that they are compared with, whatever their order in the table is. */
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "cli/bench.h"
#include "cli/progress.h"

/* ------------------------------------------------------------------ the roof */

double nct_bench_attend_ops(const nct_model_info *m, double n_keys) {
    return 4.0 * m->n_layers * m->n_heads * m->head_dim * n_keys;
}

double nct_bench_prompt_attend_ops(const nct_model_info *m, double n_keys) {
    return nct_bench_attend_ops(m, n_keys) * (m->n_layers - 1) / m->n_layers;
}

/* Weights that a token of a prompt of n is multiplied with: those of the layers, but in the last one those of keys and
 * values alone, except for the last token. */
static double prompt_weights(const nct_model_info *m, double n) {
    double all = (double)m->n_parameters - (double)m->n_vocab * m->hidden * (m->tied ? 1 : 2),
           keys = 2.0 * m->hidden * m->n_kv_heads * m->head_dim;
    return all - (all / m->n_layers - keys) * (n - 1) / n;
}

/* A prompt: multiplying with the weights of the layers; with tokens held before it, attention too, at its own
 * peak. Without, attention is left out, so that the figure is that of the matrices. Each sample is judged by the peak
 * around it. */
static void judge_prompt(const nct_bench *b, nct_bench_row *r) {
    const nct_model_info *m = &b->info;
    if (!(b->roof.multiply_ops_s > 0))
        return;
    double n = (double)r->n_prompt, share[NCT_REPS_MAX], layers = prompt_weights(m, n);
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
            seconds += nct_bench_prompt_attend_ops(m, (double)r->depth + n / 2) / r->attend_ops_s[i];
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

/* The first of them have no roof: what is read and multiplied hangs on what guesses are worth, on how many there are, on
 * the choice. */
static void judge(const nct_bench *b, nct_bench_row *r) {
    nct_report report;
    nct_session_report(b->session, &report);
    bool chooses =
        r->sparse && report.chooses_from >= 0 && r->depth + r->n_prompt + r->n_gen > report.chooses_from;
    if (r->guesses)
        snprintf(r->limit, sizeof r->limit, "guesses");
    else if (r->n_sequences > 1)
        snprintf(r->limit, sizeof r->limit, "together");
    else if (chooses)
        snprintf(r->limit, sizeof r->limit, "sparse");
    else if (r->n_prompt && r->n_gen)
        snprintf(r->limit, sizeof r->limit, "both");
    else if (r->n_prompt)
        judge_prompt(b, r);
    else
        judge_steps(b, r);
}

/* ------------------------------------------------------------------ several sequences */

static int say_batcher(const nct_bench *b, const nct_error *err) {
    return err->status == NCT_E_ARGUMENT ? nct_say_error(b->cli, NCT_EXIT_USAGE, "%s", err->text)
                                         : nct_say_status(b->cli, err);
}

/* Their caches grow in memory and nowhere else. */
static int check_room(const nct_bench *b, const nct_batcher *batcher, const nct_bench_row *r) {
    int64_t n = r->depth + r->n_gen + 1, limit = nct_batcher_limit(batcher, (int)n);
    uint64_t needed = (uint64_t)r->n_sequences * nct_batcher_cache_bytes(batcher, (size_t)n);
    if (n > limit)
        return nct_say_error(b->cli, NCT_EXIT_CONTEXT,
                             "%s needs %s tokens; a sequence holds %s\ntry: smaller -d or -n", r->test,
                             NCT_N((uint64_t)n), NCT_N((uint64_t)limit));
    if (needed > nct_cache_room(b->cli, &b->info))
        return nct_say_error(b->cli, NCT_EXIT_FAILURE,
                             "caches of %lld sequences of %s tokens take %s; %s are left for them\n"
                             "try: smaller -np or -d\n     --kv q8",
                             (long long)r->n_sequences, NCT_N((uint64_t)n), NCT_BYTES(needed),
                             NCT_BYTES(nct_cache_room(b->cli, &b->info)));
    return NCT_EXIT_OK;
}

/* What they hold before is read once and copied for the others. */
static int time_together(nct_bench *b, nct_bench_row *r) {
    nct_batcher_options o = {
        .n_sequences = (int)r->n_sequences, .slice = 4096, .apart = b->cli->args.made_up};
    nct_bench_crowd crowd = {
        .width = r->n_sequences, .n_prompt = r->depth ? r->depth : 1, .n_gen = r->n_gen, .alike = true};
    nct_batcher *batcher = NULL;
    nct_error err = {0};
    char folder[PATH_MAX];
    int code = nct_open_batcher(b->cli, b->engine, folder, sizeof folder, &o, &batcher);
    if (code == NCT_EXIT_OK)
        code = check_room(b, batcher, r);
    for (int i = -b->warmup; i < b->reps && code == NCT_EXIT_OK; i++) {
        double read, fed = 0;
        if (nct_bench_time_crowd(b, batcher, &crowd, &read, &fed, &err) != NCT_OK)
            code = say_batcher(b, &err);
        if (i >= 0)
            r->sample[i] = fed;
    }
    if (code == NCT_EXIT_OK)
        nct_bench_sum_up(b, r);
    nct_batcher_close(batcher);
    return code;
}

/* ------------------------------------------------------------------ the order of things */

/* The threads of a row, and what they can do. */
static int use_team(nct_bench *b, const nct_bench_team *t) {
    nct_error err = {0};
    if (nct_engine_set_threads(b->engine, t->threads, t->threads_batch, &err) != NCT_OK)
        return nct_say_status(b->cli, &err);
    nct_engine_info(b->engine, &b->info);
    b->roof = t->roof;
    return NCT_EXIT_OK;
}

/* In a session that chooses blocks a dense row attends to everything for a while; the filling is never dense, which would
 * leave no compressed keys. */
static int time_row(nct_bench *b, nct_bench_row *r) {
    nct_error err = {0};
    b->cli->args.sparse = r->sparse_mode;
    int code = use_team(b, r->team);
    if (code != NCT_EXIT_OK)
        return code;
    if (r->n_sequences > 1) {
        code = time_together(b, r);
    } else if (!b->varies_sparse || r->sparse) {
        code = nct_bench_time(b, r);
    } else {
        int64_t held = nct_bench_held(r);
        code = nct_bench_fill(b, held);
        nct_session_attend_all(b->session, true);
        if (code == NCT_EXIT_OK)
            code = nct_bench_time(b, r);
        if (nct_session_rewind(b->session, (int)(r->guesses && held ? held - 1 : held), &err) != NCT_OK &&
            code == NCT_EXIT_OK)
            code = nct_say_status(b->cli, &err);
        nct_session_attend_all(b->session, false);
    }
    if (code == NCT_EXIT_OK)
        judge(b, r);
    return code;
}

typedef struct progress {
    nct_meter meter;
    size_t n_done;
} progress;

/* The rows of a cache type that guess, or those that do not, from depth to depth. A row that has a rate was run. */
static int run_session(nct_bench *b, const nct_bench_row *first, progress *p) {
    nct_args *a = &b->cli->args;
    bool quiet = a->quiet;
    a->kv = first->kv;
    a->sparse = b->varies_sparse ? NCT_SPARSE_ON : first->sparse_mode;
    a->spec = first->guesses ? b->guessing : "off";
    a->quiet |= b->session != NULL; /* what there is to say of a session was said of the first */
    int code = nct_bench_open_session(b, nct_bench_longest(b));
    a->quiet = quiet;
    for (const nct_bench_row *at = first; at && code == NCT_EXIT_OK;) {
        int64_t depth = at->depth;
        at = NULL;
        for (size_t i = 0; i < b->n_rows && code == NCT_EXIT_OK; i++) {
            nct_bench_row *r = &b->rows[i];
            if (r->rate > 0 || r->kv != first->kv || r->guesses != first->guesses)
                continue;
            if (r->depth == depth) {
                code = time_row(b, r);
                nct_meter_show(&p->meter, ++p->n_done, b->n_rows);
            } else if (!at) {
                at = r;
            }
        }
    }
    return code;
}

int nct_bench_run(nct_bench *b) {
    progress p = {.n_done = 0};
    nct_meter_begin(b->cli, "bench", &p.meter);
    int code = NCT_EXIT_OK;
    for (size_t i = 0; i < b->n_rows && code == NCT_EXIT_OK; i++)
        if (!(b->rows[i].rate > 0))
            code = run_session(b, &b->rows[i], &p);
    if (code == NCT_EXIT_OK)
        code = use_team(b, &b->teams[0]);
    nct_meter_end(&p.meter);
    return code;
}
