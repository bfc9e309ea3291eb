/* Speed of several sequences decoded together, by how many they are: the columns of llama.cpp's batched-bench. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/rng.h"
#include "cli/bench.h"
#include "cli/progress.h"

enum {
    REPS = 3,
    PROMPT = 128,
    GEN = 32,
    WHOLE = 4096, /* of a prompt in a step: reading is timed as if nobody answered */
};

typedef struct row {
    int64_t width; /* sequences */
    double read[NCT_REPS_MAX],
        fed[NCT_REPS_MAX]; /* tokens a second, in the order measured; of all sequences */
    double read_rate, read_spread, fed_rate, fed_spread;
    double times; /* of the rate of the first width, by pairs from one round; 0: that one is not 1 */
} row;

typedef struct trial {
    nct_bench b;
    nct_range widths;
    int64_t n_prompt, n_gen;
    row *row; /* [widths.n] */
} trial;

typedef struct member {
    int64_t left;
    int number;
} member;

static bool take(void *context, int32_t id) {
    (void)id;
    return --((member *)context)->left > 0;
}

static void ended(void *context, const nct_error *err) {
    (void)err;
    ((member *)context)->left = 0;
}

static double seconds_since(uint64_t began) { return (double)(nct_clock_ns() - began) * 1e-9; }

/* Adds the sequences, and makes all but their prompts' last tokens up where that is asked for. */
static nct_status add_members(nct_bench *b, nct_batcher *batcher, const nct_bench_crowd *c, member *m,
                              int32_t *ids, nct_error *err) {
    nct_sampling greedy = {.top_p = 1, .repeat_penalty = 1};
    uint64_t seed = nct_clock_ns();
    memcpy(ids, b->ids, (size_t)c->n_prompt * sizeof *ids);
    for (int64_t i = 0; i < c->width; i++) {
        if (c->alike)
            ids[c->n_prompt - 1] = b->ids[(size_t)(c->n_prompt - 1 + i) % b->n_ids];
        else
            ids[0] = (int32_t)(nct_rng_mix(seed + (uint64_t)i) % (uint64_t)b->info.n_vocab);
        m[i].left = INT64_MAX;
        NCT_TRY(nct_batcher_add(batcher,
                                &(nct_sequence){.ids = ids,
                                                .n_ids = (size_t)c->n_prompt,
                                                .n_expected = (int)(c->n_prompt + c->n_gen),
                                                .sampling = greedy,
                                                .take = take,
                                                .ended = ended,
                                                .context = &m[i]},
                                &m[i].number, err));
        if (b->cli->args.made_up)
            NCT_TRY(nct_batcher_make_up(batcher, m[i].number, (int)c->n_prompt - 1, (uint64_t)i, err));
    }
    return NCT_OK;
}

static bool all_read(const nct_batcher *batcher, const member *m, int64_t width) {
    nct_sequence_state state;
    for (int64_t i = 0; i < width; i++) {
        nct_batcher_look(batcher, m[i].number, &state);
        if (state.n_read < state.n_prompt)
            return false;
    }
    return true;
}

static nct_status run_crowd(nct_bench *b, nct_batcher *batcher, const nct_bench_crowd *c, member *m,
                            int32_t *ids, double *read, double *fed, nct_error *err) {
    nct_batcher_report before, middle, after;
    nct_batcher_count(batcher, &before);
    uint64_t began = nct_clock_ns();
    NCT_TRY(add_members(b, batcher, c, m, ids, err));
    do
        NCT_TRY(nct_batcher_step(batcher, NULL, err));
    while (!all_read(batcher, m, c->width));
    nct_batcher_count(batcher, &middle);
    *read = (double)(middle.n_read - before.n_read) / seconds_since(began);
    for (int64_t i = 0; i < c->width; i++)
        m[i].left = c->n_gen;
    began = nct_clock_ns();
    while (nct_batcher_size(batcher) > 0)
        NCT_TRY(nct_batcher_step(batcher, NULL, err));
    nct_batcher_count(batcher, &after);
    *fed = (double)(after.n_fed - middle.n_fed) / seconds_since(began);
    return NCT_OK;
}

nct_status nct_bench_time_crowd(nct_bench *b, nct_batcher *batcher, const nct_bench_crowd *c, double *read,
                                double *fed, nct_error *err) {
    void *members = NULL, *ids = NULL;
    nct_status status = nct_alloc(&members, (size_t)c->width, sizeof(member), err);
    if (status == NCT_OK)
        status = nct_alloc(&ids, (size_t)c->n_prompt, sizeof(int32_t), err);
    if (status == NCT_OK)
        status = run_crowd(b, batcher, c, members, ids, read, fed, err);
    nct_free(ids);
    nct_free(members);
    return status;
}

/* One sample of a width; the `at`-th, or below 0 one to warm up. */
static nct_status run_width(trial *t, row *r, int at, nct_error *err) {
    nct_knobs knobs;
    nct_batcher *batcher = NULL;
    nct_bench_crowd crowd = {.width = r->width, .n_prompt = t->n_prompt, .n_gen = t->n_gen};
    nct_take_knobs(t->b.cli, &knobs); /* looked at before */
    nct_batcher_options o = {.session = nct_take_session(t->b.cli, &knobs),
                             .n_sequences = (int)r->width,
                             .slice = WHOLE,
                             .apart = t->b.cli->args.made_up};
    NCT_TRY(nct_batcher_open(t->b.engine, &o, &batcher, err));
    double read = 0, fed = 0;
    nct_status status = nct_bench_time_crowd(&t->b, batcher, &crowd, &read, &fed, err);
    if (at >= 0)
        r->read[at] = read, r->fed[at] = fed;
    nct_batcher_close(batcher);
    return status;
}

static void sum_up(double *sample, int reps, double *rate, double *spread) {
    double sorted[NCT_REPS_MAX];
    memcpy(sorted, sample, (size_t)reps * sizeof *sorted);
    *rate = nct_median(sorted, (size_t)reps);
    *spread = nct_median_deviation(sample, (size_t)reps, *rate);
}

static void sum_up_row(const trial *t, row *r) {
    double ratio[NCT_REPS_MAX], spread;
    sum_up(r->read, t->b.reps, &r->read_rate, &r->read_spread);
    sum_up(r->fed, t->b.reps, &r->fed_rate, &r->fed_spread);
    for (int i = 0; i < t->b.reps; i++)
        ratio[i] = r->fed[i] / t->row[0].fed[i];
    if (t->row[0].width == 1)
        sum_up(ratio, t->b.reps, &r->times, &spread);
}

static int run_trials(trial *t) {
    nct_error err = {0};
    nct_meter meter;
    nct_meter_begin(t->b.cli, "bench", &meter);
    size_t n = t->widths.n, all = (size_t)(t->b.warmup + t->b.reps) * n;
    /* a sample of each width, then the next of each: what a machine can do changes while others use it too */
    for (size_t done = 0; done < all && err.status == NCT_OK; done++) {
        row *r = &t->row[done % n];
        r->width = t->widths.value[done % n];
        run_width(t, r, (int)(done / n) - t->b.warmup, &err);
        nct_meter_show(&meter, done + 1, all);
    }
    for (size_t i = 0; i < n && err.status == NCT_OK; i++)
        sum_up_row(t, &t->row[i]);
    nct_meter_end(&meter);
    return nct_say_status(t->b.cli, &err);
}

static void print_table(const trial *t, nct_output *out) {
    nct_output_print(out, "%s %s · %s · %d/%d threads (prefill/decode)\n", t->b.info.name, t->b.info.weights,
                     t->b.info.isa, t->b.info.n_threads_batch, t->b.info.n_threads);
    nct_output_print(out,
                     "|  B |    PP |    TG | prefill t/s | t/s per seq | total t/s | spread | \u00d7 one |\n"
                     "|---:|------:|------:|------------:|------------:|----------:|-------:|------:|\n");
    for (size_t i = 0; i < t->widths.n; i++) {
        const row *r = &t->row[i];
        char times[16] = "-";
        if (t->row[0].width == 1)
            snprintf(times, sizeof times, "%.2f", r->times);
        nct_output_print(out, "| %2lld | %5lld | %5lld | %11.1f | %11.2f | %9.1f | ±%4.1f%% | %5s |\n",
                         (long long)r->width, (long long)t->n_prompt, (long long)t->n_gen, r->read_rate,
                         r->fed_rate / (double)r->width, r->fed_rate, 100 * r->fed_spread / r->fed_rate,
                         times);
    }
}

static void print_records(const trial *t, nct_output *out, int64_t form) {
    if (form == NCT_BENCH_CSV)
        nct_output_print(out, "b,pp,tg,reps,prefill_tps,prefill_mad,tps_per_seq,tps,tps_mad\n");
    for (size_t i = 0; i < t->widths.n; i++) {
        const row *r = &t->row[i];
        const char *fmt = form == NCT_BENCH_CSV
                              ? "%lld,%lld,%lld,%d,%.6g,%.4g,%.6g,%.6g,%.4g"
                              : "{\"b\":%lld,\"pp\":%lld,\"tg\":%lld,\"reps\":%d,\"prefill_tps\":%.6g,"
                                "\"prefill_mad\":%.4g,\"tps_per_seq\":%.6g,\"tps\":%.6g,\"tps_mad\":%.4g}";
        char text[512];
        snprintf(text, sizeof text, fmt, (long long)r->width, (long long)t->n_prompt, (long long)t->n_gen,
                 t->b.reps, r->read_rate, r->read_spread, r->fed_rate / (double)r->width, r->fed_rate,
                 r->fed_spread);
        nct_output_print(out, "%s%s%s", form == NCT_BENCH_JSON && i == 0 ? "[" : "", text,
                         form != NCT_BENCH_JSON ? "\n"
                         : i + 1 == t->widths.n ? "]\n"
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
    void *rows = NULL;
    t->widths = (nct_range){.value = {1, 2, 4, 8}, .n = 4};
    if (a->words.n)
        return nct_say_error(cli, NCT_EXIT_USAGE, "bench batch takes no '%s'\ntry: -np 1,4,8",
                             a->words.item[0]);
    int code = nct_bench_take_form(cli);
    if (code == NCT_EXIT_OK && a->parallel)
        code = nct_counts_take(cli, "-np", a->parallel, 1, &t->widths);
    if (code == NCT_EXIT_OK && nct_counts_largest(&t->widths) > NCT_BATCHER_MAX)
        code = nct_say_error(cli, NCT_EXIT_USAGE, "-np %s: up to %d sequences are decoded together",
                             a->parallel, NCT_BATCHER_MAX);
    if (code == NCT_EXIT_OK)
        code = nct_count_take(cli, "-p", a->bench_prompt, PROMPT, 1, &t->n_prompt);
    if (code == NCT_EXIT_OK)
        code = nct_count_take(cli, "-n", a->bench_gen, GEN, 1, &t->n_gen);
    if (code != NCT_EXIT_OK)
        return code;
    a->reps = a->reps == NCT_UNSET ? REPS : a->reps;
    if (nct_alloc(&rows, t->widths.n, sizeof(row), &err) != NCT_OK)
        return nct_say_status(cli, &err);
    t->row = rows;
    return nct_bench_open(&t->b, t->n_prompt + t->n_gen);
}

int nct_bench_batch_main(nct_cli *cli) {
    trial t = {.b.cli = cli};
    int code = prepare(&t, cli);
    if (code == NCT_EXIT_OK)
        code = run_trials(&t);
    if (code == NCT_EXIT_OK)
        code = report(&t);
    nct_bench_close(&t.b);
    nct_free(t.row);
    return code;
}
