/* Speed over depth, attending to everything and to chosen blocks, from one filling of the cache. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/bench.h"
#include "cli/progress.h"

enum { PROMPT = 512, GEN = 16, REPS = 5 };

/* What attention reaches at best, as a share of the tighter of its two limits: the dense side that sparse
 * attention is compared with, so that the ratio does not reward a slow one. */
#define DENSE_REACH 0.7

typedef struct place {
    int64_t depth;
    nct_bench_row dense[2], sparse[2]; /* a prompt chunk, steps */
    double choosing[2];                /* share of sparse attention; NaN: no row chose */
    double block_s[2];                 /* thread seconds of a row attending to chosen blocks; NaN: not all rows chose */
    nct_roofline roof;                 /* around these tests: what a machine can do changes while others use it */
} place;

typedef struct sweep {
    nct_bench b;
    int64_t n_prompt, n_gen;
    bool made_up;
    place *places;
    size_t n_places;
    place empty; /* depth 0: what everything but attention takes, nearly */
} sweep;

static void name_row(nct_bench_row *r, int64_t n_prompt, int64_t n_gen, int64_t depth, const char *how) {
    *r = (nct_bench_row){.n_prompt = n_prompt, .n_gen = n_gen, .depth = depth};
    snprintf(r->test, sizeof r->test, "%s%lld @ d%lld %s", n_prompt ? "pp" : "tg",
             (long long)(n_prompt ? n_prompt : n_gen), (long long)depth, how);
}

/* Times the sparse side, and what of its attention is scoring and choosing blocks. */
static int time_sparse(sweep *s, place *p, int i) {
    nct_report before, after;
    nct_session_report(s->b.session, &before);
    int code = nct_bench_time(&s->b, &p->sparse[i]);
    nct_session_report(s->b.session, &after);
    double all = after.sparse_s - before.sparse_s, choosing = after.choosing_s - before.choosing_s;
    double n_rows = (double)(s->b.warmup + s->b.reps) * (double)(p->sparse[i].n_prompt + p->sparse[i].n_gen);
    p->choosing[i] = choosing / all;
    p->block_s[i] = after.chooses_from >= 0 && p->depth >= after.chooses_from ? (all - choosing) / n_rows : NAN;
    return code;
}

/* The machine around a test: the mean of what it could do when this was last asked and of what it can do now. */
static int look_up(sweep *s, nct_roofline *around) {
    nct_roofline now, before = s->b.roof;
    nct_error err;
    if (nct_engine_roofline(s->b.engine, &now, &err) != NCT_OK)
        return nct_say_status(s->b.cli, &err);
    s->b.roof = *around = now;
    around->read_bytes_s = (now.read_bytes_s + before.read_bytes_s) / 2;
    around->multiply_ops_s = (now.multiply_ops_s + before.multiply_ops_s) / 2;
    around->attend_ops_s = (now.attend_ops_s + before.attend_ops_s) / 2;
    return NCT_EXIT_OK;
}

static int time_place(sweep *s, place *p, bool both) {
    nct_error err = {0};
    int code = NCT_EXIT_OK, held = nct_session_length(s->b.session);
    if (s->made_up && held < p->depth &&
        nct_session_make_up(s->b.session, (int)p->depth - held, 1, &err) != NCT_OK)
        return nct_say_status(s->b.cli, &err);
    for (int i = 0; i < 2 && code == NCT_EXIT_OK; i++) {
        int64_t n_prompt = i == 0 ? s->n_prompt : 0, n_gen = i == 0 ? 0 : s->n_gen;
        name_row(&p->sparse[i], n_prompt, n_gen, p->depth, "sparse");
        name_row(&p->dense[i], n_prompt, n_gen, p->depth, "dense");
        code = both ? time_sparse(s, p, i) : NCT_EXIT_OK;
        nct_session_attend_all(s->b.session, true);
        if (code == NCT_EXIT_OK)
            code = nct_bench_time(&s->b, &p->dense[i]);
        if (nct_session_rewind(s->b.session, (int)p->depth, &err) != NCT_OK && code == NCT_EXIT_OK)
            code = nct_say_status(s->b.cli, &err);
        nct_session_attend_all(s->b.session, false);
    }
    return code == NCT_EXIT_OK ? look_up(s, &p->roof) : code;
}

/* Seconds that a token takes without attention: what it takes at depth 0, by the machine as it was then and there. */
static double rest(const sweep *s, const place *p, int i) {
    const nct_roofline *then = &s->empty.roof, *now = &p->roof;
    double faster = i == 0 && now->multiply_ops_s > 0 ? then->multiply_ops_s / now->multiply_ops_s
                    : i == 0                          ? 1
                                                      : then->read_bytes_s / now->read_bytes_s;
    return faster / s->empty.dense[i].rate;
}

static double attend_ops(const sweep *s, double keys, int i) {
    return i == 0 ? nct_bench_prompt_attend_ops(&s->b.info, keys) : nct_bench_attend_ops(&s->b.info, keys);
}

/* Seconds a token where attention reaches DENSE_REACH. */
static double reference(const sweep *s, const place *p, int i) {
    nct_report report;
    nct_session_report(s->b.session, &report);
    double keys = (double)p->depth + (i == 0 ? (double)s->n_prompt / 2 : (double)s->n_gen / 2);
    double multiplying = attend_ops(s, keys, i) / p->roof.attend_ops_s;
    double reading = i == 0 ? 0 : (double)report.kv_bytes_per_token * keys / p->roof.read_bytes_s;
    return rest(s, p, i) + fmax(multiplying, reading) / DENSE_REACH;
}

/* What attending to chosen blocks reached of the tighter of its two limits: multiplying and, of single rows, reading. */
static double blocks_share(const sweep *s, const place *p, int i) {
    nct_report report;
    nct_session_report(s->b.session, &report);
    const nct_model_info *m = &s->b.info;
    double keys = (double)m->sparse_blocks * m->sparse_block_size;
    double n_threads = i == 0 ? m->n_threads_batch : m->n_threads;
    double multiplying = attend_ops(s, keys, i) / p->roof.attend_ops_s * m->n_threads_batch / n_threads;
    double reading = i == 0 ? 0 : (double)report.kv_bytes_per_token * keys / p->roof.read_bytes_s;
    return fmax(multiplying, reading) * n_threads / p->block_s[i];
}

/* As a cell of the table, or as JSON or CSV have it. */
static const char *share_text(double share, const char *format, const char *none, char text[40]) {
    if (isnan(share))
        return none;
    snprintf(text, 40, format, share);
    return text;
}

static void print_table(const sweep *s, nct_output *out) {
    nct_report report;
    nct_session_report(s->b.session, &report);
    nct_output_print(out, "%s %s · %s · %d and %d threads · keys %s, values %s%s\n", s->b.info.name,
                     s->b.info.weights, s->b.info.isa, s->b.info.n_threads, s->b.info.n_threads_batch,
                     report.keys, report.values, s->made_up ? " · the cache is made up" : "");
    const nct_roofline *last = &s->places[s->n_places - 1].roof;
    nct_output_print(out, "measured around each depth, the last: read %.1f GB/s, %s %.2f Top/s\n",
                     last->read_bytes_s / 1e9, last->attend_name, last->attend_ops_s / 1e12);
    nct_output_print(out, "| depth   |       test | dense t/s | sparse t/s | ratio | to dense at 70%% of its "
                          "limit | of depth 0 | choosing | blocks of limit |\n");
    nct_output_print(out, "|--------:|-----------:|----------:|-----------:|------:|-------------------------"
                          "----:|-----------:|---------:|----------------:|\n");
    for (int i = 0; i < 2; i++)
        for (size_t n = 0; n < s->n_places; n++) {
            const place *p = &s->places[n];
            char test[32];
            snprintf(test, sizeof test, "%s%lld", i == 0 ? "pp" : "tg",
                     (long long)(i == 0 ? s->n_prompt : s->n_gen));
            char choosing[40], blocks[40];
            nct_output_print(out, "| %7lld | %10s | %9.2f | %10.2f | %5.2f | %28.2f | %10.2f | %8s | %15s |\n",
                             (long long)p->depth, test, p->dense[i].rate, p->sparse[i].rate,
                             p->sparse[i].rate / p->dense[i].rate, p->sparse[i].rate * reference(s, p, i),
                             p->sparse[i].rate * rest(s, p, i),
                             share_text(100 * p->choosing[i], "%.0f %%", "-", choosing),
                             share_text(100 * blocks_share(s, p, i), "%.0f %%", "-", blocks));
        }
}

static void print_records(const sweep *s, nct_output *out, int64_t form) {
    if (form == NCT_BENCH_CSV)
        nct_output_print(out,
                         "depth,n_prompt,n_gen,reps,dense_tps,dense_mad,sparse_tps,sparse_mad,limit_ratio,"
                         "choosing_share,blocks_share\n");
    for (int i = 0; i < 2; i++)
        for (size_t n = 0; n < s->n_places; n++) {
            const place *p = &s->places[n];
            bool last = i == 1 && n + 1 == s->n_places;
            const char *fmt =
                form == NCT_BENCH_CSV
                    ? "%lld,%lld,%lld,%d,%.6g,%.4g,%.6g,%.4g,%.4g,"
                    : "{\"depth\":%lld,\"n_prompt\":%lld,\"n_gen\":%lld,\"reps\":%d,\"dense_"
                      "tps\":%.6g,\"dense_mad\":%.4g,"
                      "\"sparse_tps\":%.6g,\"sparse_mad\":%.4g,\"limit_ratio\":%.4g,\"choosing_share\":";
            char text[512];
            snprintf(text, sizeof text, fmt, (long long)p->depth, (long long)p->dense[i].n_prompt,
                     (long long)p->dense[i].n_gen, s->b.reps, p->dense[i].rate, p->dense[i].spread,
                     p->sparse[i].rate, p->sparse[i].spread, p->sparse[i].rate * reference(s, p, i));
            const char *none = form == NCT_BENCH_CSV ? "" : "null";
            char choosing[40], blocks[40];
            nct_output_print(out, "%s%s%s%s%s%s%s", form == NCT_BENCH_JSON && i == 0 && n == 0 ? "[" : "", text,
                             share_text(p->choosing[i], "%.4g", none, choosing),
                             form == NCT_BENCH_CSV ? "," : ",\"blocks_share\":",
                             share_text(blocks_share(s, p, i), "%.4g", none, blocks), form == NCT_BENCH_CSV ? "" : "}",
                             form != NCT_BENCH_JSON ? "\n"
                             : last                 ? "]\n"
                                                    : ",\n");
        }
}

static void fill_chart(const sweep *s, nct_chart *c) {
    snprintf(c->title, sizeof c->title, "%.40s %.30s, %.50s, %.16s", s->b.info.name, s->b.info.weights, s->b.roof.cpu,
             s->b.info.isa);
    for (int i = 0; i < 2; i++) {
        snprintf(c->panel[i].title, sizeof c->panel[i].title, "%s, tokens a second, over tokens held", i ? "answer" : "prompt");
        for (size_t n = 0; n < s->n_places; n++) {
            nct_chart_add(&c->panel[i], "sparse", (double)s->places[n].depth, s->places[n].sparse[i].rate);
            nct_chart_add(&c->panel[i], "dense", (double)s->places[n].depth, s->places[n].dense[i].rate);
        }
    }
}

static int write_one(const sweep *s, const nct_chart *c, const char *path, int64_t form) {
    nct_output out;
    int code = nct_output_open(s->b.cli, path, &out);
    if (code != NCT_EXIT_OK)
        return code;
    if (form == NCT_BENCH_SVG || form == NCT_BENCH_PNG) {
        code = nct_bench_draw(s->b.cli, c, form, &out);
    } else if (form == NCT_BENCH_MD || form == NCT_UNSET) {
        print_table(s, &out);
        for (int i = 0; i < 2 && s->n_places > 1; i++)
            nct_chart_text(&c->panel[i], &out);
    } else {
        print_records(s, &out, form);
    }
    return nct_output_close(&out, code);
}

static int report(const sweep *s) {
    const nct_args *a = &s->b.cli->args;
    void *p = NULL;
    nct_error err = {0};
    int code = NCT_EXIT_OK;
    if (nct_alloc(&p, 1, sizeof(nct_chart), &err) != NCT_OK)
        return nct_say_status(s->b.cli, &err);
    fill_chart(s, p);
    int64_t form = a->bench_format;
    bool to_stdout = true;
    for (size_t i = 0; i < a->bench_outputs.n; i++)
        to_stdout &= nct_bench_is_form(a->bench_outputs.item[i], &form);
    for (size_t i = 0; i < a->bench_outputs.n && code == NCT_EXIT_OK; i++) {
        const char *path = a->bench_outputs.item[i];
        int64_t unused, own = nct_bench_form_of(path);
        if (!nct_bench_is_form(path, &unused))
            code = write_one(s, p, path, own == NCT_UNSET ? form : own);
    }
    if (code == NCT_EXIT_OK && to_stdout)
        code = write_one(s, p, NULL, form);
    nct_free(p);
    return code;
}

static int by_depth(const void *a, const void *b) {
    int64_t x = ((const place *)a)->depth, y = ((const place *)b)->depth;
    return (x > y) - (x < y);
}

static int prepare(sweep *s, nct_cli *cli) {
    nct_args *a = &cli->args;
    nct_error err = {0};
    nct_range depths;
    void *places = NULL;
    if (a->words.n)
        return nct_say_error(cli, NCT_EXIT_USAGE, "bench depth takes no '%s'\ntry: -d 4k..128k*2",
                             a->words.item[0]);
    int code = nct_count_take(cli, "-p", a->bench_prompt, PROMPT, 1, &s->n_prompt);
    if (code == NCT_EXIT_OK)
        code = nct_count_take(cli, "-n", a->bench_gen, GEN, 1, &s->n_gen);
    if (code == NCT_EXIT_OK)
        code = nct_counts_take(cli, "-d", a->bench_depth ? a->bench_depth : "4k..32k*2", 0, &depths);
    if (code != NCT_EXIT_OK)
        return code;
    a->reps = a->reps == NCT_UNSET ? REPS : a->reps;
    a->sparse = a->sparse == NCT_UNSET ? NCT_SPARSE_ON : a->sparse;
    s->made_up = a->made_up;
    if (nct_alloc(&places, depths.n, sizeof(place), &err) != NCT_OK)
        return nct_say_status(cli, &err);
    s->places = places;
    s->n_places = depths.n;
    for (size_t i = 0; i < s->n_places; i++)
        s->places[i].depth = depths.value[i];
    qsort(s->places, s->n_places, sizeof *s->places, by_depth);
    return nct_bench_open(&s->b,
                          nct_counts_largest(&depths) + (s->n_prompt > s->n_gen ? s->n_prompt : s->n_gen));
}

int nct_bench_depth_main(nct_cli *cli) {
    sweep s = {.b.cli = cli};
    nct_meter meter;
    int code = prepare(&s, cli);
    nct_error err = {0};
    if (code == NCT_EXIT_OK && nct_engine_roofline(s.b.engine, &s.b.roof, &err) != NCT_OK)
        code = nct_say_status(cli, &err);
    if (code == NCT_EXIT_OK) {
        nct_meter_begin(cli, "bench", &meter);
        code = time_place(&s, &s.empty, false);
        for (size_t i = 0; i < s.n_places && code == NCT_EXIT_OK; i++) {
            code = time_place(&s, &s.places[i], true);
            nct_meter_show(&meter, i + 1, s.n_places);
        }
        nct_meter_end(&meter);
    }
    if (code == NCT_EXIT_OK)
        code = report(&s);
    nct_free(s.places);
    nct_bench_close(&s.b);
    return code;
}
