/* The table of a bench in its four forms, and which file gets which. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/json.h"
#include "base/numa.h"
#include "cli/bench.h"

#ifndef NOCTULE_COMMIT
#define NOCTULE_COMMIT "" /* not built from a repository */
#endif

enum { SHIFT_PER_CENT = 5 }; /* read bandwidth that changed more meanwhile is told */

static double bandwidth_shift(const nct_bench *b) { return b->read_after / b->teams[0].roof.read_bytes_s - 1; }
static bool has_shifted(const nct_bench *b) { return fabs(bandwidth_shift(b)) * 100 > SHIFT_PER_CENT; }

/* ------------------------------------------------------------------ for people */

static void print_roof(const nct_bench *b, const nct_bench_row *r, nct_output *out) {
    const nct_roofline *roof = &r->team->roof;
    if (b->varies_threads)
        nct_output_print(out, "measured with %s threads: read %.1f GB/s", nct_bench_threads_name(r, (char[32]){0}),
                         roof->read_bytes_s / 1e9);
    else
        nct_output_print(out, "measured in this run: read %.1f GB/s", roof->read_bytes_s / 1e9);
    if (roof->int8_ops_s > 0)
        nct_output_print(out, " · int8 %.2f Top/s", roof->int8_ops_s / 1e12);
    if (roof->bf16_ops_s > 0)
        nct_output_print(out, " · bf16 %.2f Tflop/s", roof->bf16_ops_s / 1e12);
    if (roof->f32_ops_s > 0)
        nct_output_print(out, " · f32 %.2f Tflop/s", roof->f32_ops_s / 1e12);
    nct_output_print(out, "\n");
}

/* What does not vary stands here, the rest in columns. */
static void print_head(const nct_bench *b, nct_output *out) {
    const nct_model_info *m = &b->info;
    char copied[160];
    out->folds = true;
    out->hang = 2;
    if (nct_copied_line(m, copied, sizeof copied))
        nct_output_print(out, "%s\n", copied);
    nct_output_print(out, "%s %s, %s in memory · %s · %s", m->name, m->weights, NCT_BYTES(m->weight_bytes),
                     *b->roof.cpu ? b->roof.cpu : "unknown processor", m->isa);
    if (!b->varies_threads)
        nct_output_print(out, " · %d/%d threads (prefill/decode)", m->n_threads_batch, m->n_threads);
    if (!b->varies_kv)
        nct_output_print(out, " · KV %s", b->rows[0].kv_name);
    nct_output_print(out, "\n");
    const nct_bench_team *told = NULL; /* rows of a team stand together */
    for (size_t i = 0; i < b->n_rows; i++)
        if (b->rows[i].team != told) {
            told = b->rows[i].team;
            print_roof(b, &b->rows[i], out);
        }
    out->folds = false; /* the table */
}

/* How near the roof is, or what else is to be said. */
static const char *note_of(const nct_bench *b, const nct_bench_row *r, char buf[64]) {
    const nct_bench_row *dense = strcmp(r->limit, "sparse") == 0 ? nct_bench_dense_of(b, r) : NULL;
    if (r->guesses)
        snprintf(buf, 64, r->nodes < 1.5 ? "%.2f tok/step, %.0f node" : "%.2f tok/step, %.0f nodes", r->accept, r->nodes);
    else if (dense)
        snprintf(buf, 64, "sparse; dense %.1f", dense->rate);
    else
        snprintf(buf, 64, "%s", r->limit);
    return buf;
}

/* "▼ -12.0%", "▲ +7.1%", "= +0.4%"; "new" for a test that the baseline lacks. */
static void print_change(const nct_bench *b, const nct_bench_row *r, nct_output *out) {
    double change = nct_bench_change(r);
    if (isnan(change))
        nct_output_print(out, "%9s |", "new");
    else
        nct_output_print(out, "%s %+6.1f%% |",
                         change < -b->tolerance  ? "▼"
                         : change > b->tolerance ? "▲"
                                                 : "=",
                         100 * change);
}

/* Where the cache lies in files, after the last test. */
static void print_memory(const nct_bench *b, nct_output *out) {
    const nct_bench_row *r = &b->rows[b->n_rows - 1];
    if (r->cache_mapped_bytes)
        nct_output_print(
            out,
            "cache: %s in files, %s of it in memory, %s not written yet · process: %s of its own, %s "
            "of files mapped\n",
            NCT_BYTES(r->cache_mapped_bytes), NCT_BYTES(r->cache_resident_bytes),
            NCT_BYTES(r->cache_dirty_bytes), NCT_BYTES(r->use.anonymous_bytes),
            NCT_BYTES(r->use.mapped_bytes));
}

/* A column before the rates. */
typedef struct column {
    const char *title;
    bool shown, right;
    int width;
} column;
enum { TEST, THREADS, KV, SPARSE, WIDTH, N_COLUMNS };

static const char *cell(const nct_bench_row *r, int which, char buf[32]) {
    switch (which) {
    case TEST:
        return r->test;
    case THREADS:
        return nct_bench_threads_name(r, buf);
    case KV:
        return r->kv_name;
    case SPARSE:
        return r->sparse ? "on" : "off";
    default:
        snprintf(buf, 32, "%lld", (long long)r->n_sequences);
        return buf;
    }
}

static int wider(int width, const char *text) { return (int)strlen(text) > width ? (int)strlen(text) : width; }

static void print_titles(const nct_bench *b, const column *c, int notes, nct_output *out) {
    static const char line[] = "----------------------------------------------------------------";
    for (int i = 0; i < N_COLUMNS; i++)
        if (c[i].shown)
            nct_output_print(out, c[i].right ? "| %*s " : "| %-*s ", c[i].width, c[i].title);
    nct_output_print(out, "| t/s median | spread |  GB/s | %% roof | %-*s |%s\n", notes, "note",
                     b->has_baseline ? " baseline |" : "");
    for (int i = 0; i < N_COLUMNS; i++)
        if (c[i].shown)
            nct_output_print(out, "|-%.*s%s", c[i].width, line, c[i].right ? ":" : "-");
    nct_output_print(out, "|-----------:|-------:|------:|-------:|-%.*s-|%s\n", notes, line,
                     b->has_baseline ? "---------:|" : "");
}

static void print_row(const nct_bench *b, const nct_bench_row *r, const column *c, int notes, nct_output *out) {
    char gbps[16] = "-", share[16] = "-", buf[64];
    for (int i = 0; i < N_COLUMNS; i++)
        if (c[i].shown)
            nct_output_print(out, c[i].right ? "| %*s " : "| %-*s ", c[i].width, cell(r, i, buf));
    if (r->bytes_s > 0)
        snprintf(gbps, sizeof gbps, "%.1f", r->bytes_s / 1e9);
    if (r->share > 0)
        snprintf(share, sizeof share, "%.0f%%", 100 * r->share);
    nct_output_print(out, "| %10.1f | ±%4.1f%% | %5s | %6s | %-*s |", r->rate, 100 * r->spread / r->rate, gbps, share,
                     notes, note_of(b, r, buf));
    if (b->has_baseline)
        print_change(b, r, out);
    nct_output_print(out, "\n");
}

static void print_table(const nct_bench *b, nct_output *out) {
    column c[N_COLUMNS] = {[TEST] = {"test", true, false, 12},
                           [THREADS] = {"threads", b->varies_threads, true, 7},
                           [KV] = {"kv", b->varies_kv, false, 2},
                           [SPARSE] = {"sparse", b->varies_sparse, false, 6},
                           [WIDTH] = {"np", b->varies_width, true, 2}};
    int notes = 14;
    char buf[64];
    for (size_t i = 0; i < b->n_rows; i++) {
        for (int k = 0; k < N_COLUMNS; k++)
            c[k].width = wider(c[k].width, cell(&b->rows[i], k, buf));
        notes = wider(notes, note_of(b, &b->rows[i], buf));
    }
    print_head(b, out);
    print_titles(b, c, notes, out);
    for (size_t i = 0; i < b->n_rows; i++)
        print_row(b, &b->rows[i], c, notes, out);
    print_memory(b, out);
    out->folds = true;
    if (has_shifted(b))
        nct_output_print(
            out,
            "unsteady: read bandwidth was %.1f GB/s before and %.1f after (%+.0f%%): heat or other load\n",
            b->teams[0].roof.read_bytes_s / 1e9, b->read_after / 1e9, 100 * bandwidth_shift(b));
}

/* ------------------------------------------------------------------ for programs */

enum { N_FIELDS = 29 };

/* A column: empty where there is nothing to say. */
typedef struct field {
    const char *key;
    bool number;
    char text[256];
} field;

typedef struct filling {
    field *f;
    size_t n;
} filling;

static void add_text(filling *k, const char *key, const char *text) {
    field *f = &k->f[k->n++];
    f->key = key;
    f->number = false;
    snprintf(f->text, sizeof f->text, "%s", text);
}
static void add_number(filling *k, const char *key, double value, int digits) {
    field *f = &k->f[k->n++];
    f->key = key;
    f->number = true;
    snprintf(f->text, sizeof f->text, "%.*g", digits, value);
}
static void add_if_positive(filling *k, const char *key, double value) {
    if (value > 0)
        add_number(k, key, value, 4);
    else
        add_text(k, key, "");
}

/* The columns, whose names and order do not change. */
static void fill_fields(const nct_bench *b, const nct_bench_row *r, field fields[N_FIELDS]) {
    const nct_model_info *m = &b->info;
    filling k = {.f = fields};
    char now[32], host[128] = "";
    time_t t = time(NULL);
    strftime(now, sizeof now, "%Y-%m-%dT%H:%M:%SZ", gmtime(&t));
    if (gethostname(host, sizeof host - 1) != 0)
        host[0] = 0;
    add_text(&k, "time", now);
    add_text(&k, "version", NOCTULE_VERSION);
    add_text(&k, "commit", NOCTULE_COMMIT);
    add_text(&k, "host", host);
    add_text(&k, "cpu", b->roof.cpu);
    add_text(&k, "isa", m->isa);
    add_text(&k, "numa", m->numa);
    add_number(&k, "threads_pp", r->team->threads_batch, 6);
    add_number(&k, "threads_tg", r->team->threads, 6);
    add_text(&k, "model", m->name);
    add_text(&k, "quant", m->weights);
    add_text(&k, "kv", r->kv_name);
    add_text(&k, "sparse", r->sparse ? "on" : "off");
    add_text(&k, "spec", !r->guesses ? "off" : strcmp(b->guessing, "auto") == 0 ? "on" : b->guessing);
    add_text(&k, "test", r->test);
    add_number(&k, "n_prompt", (double)r->n_prompt, 12);
    add_number(&k, "n_gen", (double)r->n_gen, 12);
    add_number(&k, "depth", (double)r->depth, 12);
    add_number(&k, "np", (double)r->n_sequences, 6);
    add_number(&k, "reps", b->reps, 6);
    add_number(&k, "tps_med", r->rate, 6);
    add_number(&k, "tps_mad", r->spread, 4);
    add_number(&k, "ms_tok", 1e3 * (double)r->n_sequences / r->rate, 6); /* as each of several sees it */
    add_if_positive(&k, "ttft_ms", r->n_prompt && !r->n_gen ? 1e3 * (double)r->n_prompt / r->rate : 0);
    add_if_positive(&k, "gbps", r->bytes_s / 1e9);
    add_if_positive(&k, "roof_pct", 100 * r->share);
    add_if_positive(&k, "accept", r->accept);
    add_if_positive(&k, "nodes", r->nodes);
    add_if_positive(&k, "rss_mb", (double)(r->use.anonymous_bytes + r->use.mapped_bytes) / 1e6);
}

/* As RFC 4180 has it. */
static void add_csv(nct_bytes *line, const char *text) {
    if (!strpbrk(text, ",\"\r\n")) {
        nct_bytes_add_str(line, text, NULL);
        return;
    }
    nct_bytes_add_str(line, "\"", NULL);
    for (const char *c = text; *c; c++)
        nct_bytes_add(line, *c == '"' ? "\"\"" : c, *c == '"' ? 2 : 1, NULL);
    nct_bytes_add_str(line, "\"", NULL);
}

static void print_csv(const nct_bench *b, nct_output *out) {
    field f[N_FIELDS];
    for (size_t i = 0; i <= b->n_rows; i++) { /* the first line names the columns */
        nct_bytes line = {0};
        fill_fields(b, &b->rows[i ? i - 1 : 0], f);
        for (size_t c = 0; c < N_FIELDS; c++) {
            nct_bytes_add_str(&line, c ? "," : "", NULL);
            add_csv(&line, i ? f[c].text : f[c].key);
        }
        nct_output_print(out, "%s\n", line.data ? line.data : "");
        nct_bytes_reset(&line);
    }
}

/* What the rates were measured beside. */
static void add_environment(const nct_bench *b, const nct_bench_row *row, nct_bytes *line) {
    const nct_roofline *r = &row->team->roof;
    nct_report report;
    nct_session_report(b->session, &report);
    nct_bytes_printf(
        line, NULL,
        ",\"env\":{\"read_gbps\":%.4g,\"read_after_gbps\":%.4g,\"unsteady\":%s,\"int8_tops\":%.4g,\"bf16_"
        "tflops\":%.4g,"
        "\"f32_tflops\":%.4g,\"processors\":%ld,\"numa_nodes\":%d,\"weight_bytes\":%llu,\"kv_bytes_per_"
        "token\":%llu,"
        "\"compiler\":",
        r->read_bytes_s / 1e9, b->read_after / 1e9, has_shifted(b) ? "true" : "false", r->int8_ops_s / 1e12,
        r->bf16_ops_s / 1e12, r->f32_ops_s / 1e12, sysconf(_SC_NPROCESSORS_ONLN), nct_numa_nodes(),
        (unsigned long long)b->info.weight_bytes, (unsigned long long)report.kv_bytes_per_token);
#ifdef __clang__
    nct_json_write_string(line, "clang " __clang_version__, strlen("clang " __clang_version__), NULL);
#else
    nct_json_write_string(line, "gcc " __VERSION__, strlen("gcc " __VERSION__), NULL);
#endif
    nct_bytes_add_str(line, "}", NULL);
}

static void add_record(const nct_bench *b, const nct_bench_row *r, nct_bytes *line) {
    field f[N_FIELDS];
    fill_fields(b, r, f);
    for (size_t c = 0; c < N_FIELDS; c++) {
        nct_bytes_printf(line, NULL, "%s\"%s\":", c ? "," : "{", f[c].key);
        if (!f[c].text[0])
            nct_bytes_add_str(line, "null", NULL);
        else if (f[c].number)
            nct_bytes_add_str(line, f[c].text, NULL);
        else
            nct_json_write_string(line, f[c].text, strlen(f[c].text), NULL);
    }
    nct_bytes_printf(line, NULL, ",\"limit\":\"%s\",\"samples\":[", r->limit);
    for (int i = 0; i < b->reps; i++)
        nct_bytes_printf(line, NULL, i ? ",%.6g" : "%.6g", r->sample[i]);
    nct_bytes_add_str(line, "]", NULL);
    if (r->before)
        nct_bytes_printf(line, NULL, ",\"baseline\":{\"tps_med\":%.6g,\"change_pct\":%.4g}", r->before->rate,
                         100 * nct_bench_change(r));
    nct_bytes_printf(
        line, NULL,
        ",\"memory\":{\"anonymous_bytes\":%llu,\"mapped_bytes\":%llu},\"cache\":{\"mapped_bytes\":%llu,"
        "\"resident_bytes\":%llu,\"dirty_bytes\":%llu}",
        (unsigned long long)r->use.anonymous_bytes, (unsigned long long)r->use.mapped_bytes,
        (unsigned long long)r->cache_mapped_bytes, (unsigned long long)r->cache_resident_bytes,
        (unsigned long long)r->cache_dirty_bytes);
    add_environment(b, r, line);
    nct_bytes_add_str(line, "}", NULL);
}

static void print_records(const nct_bench *b, nct_output *out, bool list) {
    for (size_t i = 0; i < b->n_rows; i++) {
        nct_bytes line = {0};
        add_record(b, &b->rows[i], &line);
        nct_output_print(out, list && i == 0 ? "[%s%s" : "%s%s", line.data ? line.data : "",
                         !list                ? "\n"
                         : i + 1 == b->n_rows ? "]\n"
                                              : ",\n");
        nct_bytes_reset(&line);
    }
}

/* ------------------------------------------------------------------ where it goes */

int64_t nct_bench_form_of(const char *path) {
    static const char *const endings[] = {".md", ".csv", ".json", ".jsonl", ".svg", ".png"};
    const char *dot = strrchr(path, '.');
    for (int i = 0; dot && i < 6; i++)
        if (strcmp(dot, endings[i]) == 0)
            return i;
    return NCT_UNSET;
}

int nct_bench_draw(const nct_cli *cli, const nct_chart *chart, int64_t form, nct_output *out) {
    nct_error err = {0};
    if (form == NCT_BENCH_PNG)
        return nct_chart_png(chart, out, &err) == NCT_OK ? NCT_EXIT_OK : nct_say_status(cli, &err);
    nct_chart_svg(chart, out);
    return NCT_EXIT_OK;
}

/* What the points of a line have in common: all but what stands below them, tokens held or the test's own. */
static void name_series(const nct_bench *b, const nct_bench_row *r, bool deep, char name[40]) {
    nct_bench_row like = *r;
    const char *depth = strstr(r->test, " @ ");
    if (deep)
        snprintf(like.test, sizeof like.test, "%.*s", depth ? (int)(depth - r->test) : (int)strlen(r->test), r->test);
    else
        snprintf(like.test, sizeof like.test, "%s%s", r->n_prompt && r->n_gen ? "pp+tg" : r->n_prompt ? "pp" : "tg",
                 r->guesses ? " + spec" : "");
    nct_bench_label(b, &like, name, 40);
}

/* Over depth where there are several depths, else over the tests' own lengths. */
static int draw(const nct_bench *b, int64_t form, nct_output *out) {
    void *p = NULL;
    nct_error err = {0};
    bool deep = false;
    for (size_t i = 1; i < b->n_rows; i++)
        deep |= b->rows[i].depth != b->rows[0].depth;
    if (nct_alloc(&p, 1, sizeof(nct_chart), &err) != NCT_OK)
        return nct_say_status(b->cli, &err);
    nct_chart *c = p;
    snprintf(c->title, sizeof c->title, "%.40s %.30s, %.50s, %.16s, %s", b->info.name, b->info.weights, b->roof.cpu,
             b->info.isa, NOCTULE_COMMIT);
    for (size_t i = 0; i < b->n_rows; i++) {
        const nct_bench_row *r = &b->rows[i];
        nct_panel_chart *panel = &c->panel[r->n_prompt ? 0 : 1];
        char name[40];
        name_series(b, r, deep, name);
        nct_chart_add(panel, name, (double)(deep ? r->depth : r->n_prompt ? r->n_prompt : r->n_gen), r->rate);
    }
    for (int k = 0; k < 2; k++)
        snprintf(c->panel[k].title, sizeof c->panel[k].title, "%s, tokens a second, over tokens %s", k ? "answer" : "prompt",
                 deep ? "held" : k ? "generated" : "of prompt");
    if (!c->panel[0].n_series) {
        c->panel[0] = c->panel[1];
        c->panel[1].n_series = 0;
    }
    int code = nct_bench_draw(b->cli, c, form, out);
    nct_free(c);
    return code;
}

static int write_one(const nct_bench *b, const char *path, int64_t form) {
    nct_output out;
    int code = nct_output_open(b->cli, path, &out);
    if (code != NCT_EXIT_OK)
        return code;
    if (form == NCT_BENCH_SVG || form == NCT_BENCH_PNG)
        code = draw(b, form, &out);
    else if (form == NCT_BENCH_CSV)
        print_csv(b, &out);
    else if (form == NCT_BENCH_JSON || form == NCT_BENCH_JSONL)
        print_records(b, &out, form == NCT_BENCH_JSON);
    else
        print_table(b, &out);
    return nct_output_close(&out, code);
}

/* llama-bench's -o names a form. */
bool nct_bench_is_form(const char *word, int64_t *form) {
    static const char *const words[] = {"md", "csv", "json", "jsonl"};
    for (int i = 0; i < 4; i++)
        if (strcmp(word, words[i]) == 0) {
            *form = i;
            return true;
        }
    return false;
}

int nct_bench_take_form(nct_cli *cli) {
    nct_args *a = &cli->args;
    if (!a->output)
        return NCT_EXIT_OK;
    if (nct_bench_is_form(a->output, &a->bench_format)) {
        a->output = NULL;
        return NCT_EXIT_OK;
    }
    int64_t own = nct_bench_form_of(a->output);
    if (own == NCT_BENCH_SVG || own == NCT_BENCH_PNG)
        return nct_say_error(cli, NCT_EXIT_USAGE, "-o %s: %s draws nothing\ntry: -o FILE.csv    (or .md .json .jsonl)",
                             a->output, cli->command->name);
    a->bench_format = own == NCT_UNSET ? a->bench_format : own;
    return NCT_EXIT_OK;
}

int nct_bench_report(const nct_bench *b) {
    const nct_args *a = &b->cli->args;
    int64_t form = a->bench_format;
    bool to_stdout = true;
    int code = NCT_EXIT_OK;
    for (size_t i = 0; i < a->bench_outputs.n; i++)
        if (!nct_bench_is_form(a->bench_outputs.item[i], &form))
            to_stdout = false;
    for (size_t i = 0; i < a->bench_outputs.n && code == NCT_EXIT_OK; i++) {
        const char *path = a->bench_outputs.item[i];
        int64_t unused, own = nct_bench_form_of(path);
        if (!nct_bench_is_form(path, &unused))
            code = write_one(b, path, own == NCT_UNSET ? form : own);
    }
    if (code == NCT_EXIT_OK && (to_stdout))
        code = write_one(b, NULL, form);
    return code;
}
