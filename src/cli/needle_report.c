/* What eval needle leaves: tables, records and drawings. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "cli/needle.h"
#include "cli/svg.h"

void nct_needle_write_trial(const nct_needle *n, const nct_needle_place *p, nct_bytes *out) {
    const nct_needle_trial *t = nct_needle_trial_at(n, p);
    nct_bytes_printf(
        out, NULL,
        "\"sparse\":\"%s\",\"length\":%lld,\"depth\":%lld,\"seed\":%llu,\"tokens\":%zu,\"expected\":[",
        nct_needle_mode_name(n->modes[p->mode]), (long long)n->lengths.value[p->length],
        (long long)n->depths.value[p->depth], (unsigned long long)(n->seed + p->seed), t->n_ids);
    for (size_t i = 0; i < n->n_needles; i++)
        nct_bytes_printf(out, NULL, i ? ",%llu" : "%llu", (unsigned long long)t->expected[i]);
    nct_bytes_printf(out, NULL, "],\"found\":%zu,\"answer\":", t->found);
    nct_json_write_string(out, t->answer, strlen(t->answer), NULL);
}

/* Calls for every trial that was asked. */
static void each_trial(const nct_needle *n, nct_output *out,
                       void (*print)(const nct_needle *n, const nct_needle_place *p, bool first,
                                     nct_output *out)) {
    bool first = true;
    for (nct_needle_place p = {0}; p.mode < n->n_modes; p.mode++)
        for (p.length = 0; p.length < n->lengths.n; p.length++)
            for (p.depth = 0; p.depth < n->depths.n; p.depth++)
                for (p.seed = 0; p.seed < n->n_seeds; p.seed++)
                    if (nct_needle_trial_at(n, &p)->asked) {
                        print(n, &p, first, out);
                        first = false;
                    }
}

static void print_json_trial(const nct_needle *n, const nct_needle_place *p, bool first, nct_output *out) {
    nct_bytes json = {0};
    nct_bytes_add_str(&json, first ? "\n{" : ",\n{", NULL);
    nct_needle_write_trial(n, p, &json);
    nct_bytes_add_str(&json, "}", NULL);
    nct_output_write(out, json.data, json.n);
    nct_bytes_reset(&json);
}

/* A cell with its share of needles found, and what was said to each seed. */
static void print_cell(const nct_needle *n, const nct_needle_place *at, bool first, nct_output *out) {
    nct_bytes json = {0};
    size_t asked = 0;
    nct_bytes_printf(&json, NULL,
                     "%s\n{\"sparse\":\"%s\",\"length\":%lld,\"depth\":%lld,\"percent\":%.6g,\"answers\":[",
                     first ? "" : ",", nct_needle_mode_name(n->modes[at->mode]),
                     (long long)n->lengths.value[at->length], (long long)n->depths.value[at->depth],
                     100 * nct_needle_cell_share(n, at->mode, at->length, at->depth));
    for (nct_needle_place p = *at; p.seed < n->n_seeds; p.seed++) {
        const nct_needle_trial *t = nct_needle_trial_at(n, &p);
        if (!t->asked)
            continue;
        nct_bytes_add_str(&json, asked++ ? "," : "", NULL);
        nct_json_write_string(&json, t->answer, strlen(t->answer), NULL);
    }
    nct_bytes_add_str(&json, "]}", NULL);
    nct_output_write(out, json.data, json.n);
    nct_bytes_reset(&json);
}

/* All cells of which something was asked. */
static void print_cells(const nct_needle *n, nct_output *out) {
    bool first = true;
    for (nct_needle_place p = {0}; p.mode < n->n_modes; p.mode++)
        for (p.length = 0; p.length < n->lengths.n; p.length++)
            for (p.depth = 0; p.depth < n->depths.n; p.depth++)
                if (!isnan(nct_needle_cell_share(n, p.mode, p.length, p.depth))) {
                    print_cell(n, &p, first, out);
                    first = false;
                }
}

/* A trial a line. */
static void print_line(const nct_needle *n, const nct_needle_place *p, bool first, nct_output *out) {
    nct_bytes json = {0};
    (void)first;
    nct_bytes_add_str(&json, "{", NULL);
    nct_needle_write_trial(n, p, &json);
    nct_bytes_add_str(&json, "}\n", NULL);
    nct_output_write(out, json.data, json.n);
    nct_bytes_reset(&json);
}

static void print_json(const nct_needle *n, nct_output *out) {
    nct_bytes json = {0};
    nct_bytes_add_str(&json, "{\"task\":\"needle\",\"model\":", NULL);
    nct_json_write_string(&json, n->quiz.info.name, strlen(n->quiz.info.name), NULL);
    nct_bytes_add_str(&json, ",\"quant\":", NULL);
    nct_json_write_string(&json, n->quiz.info.weights, strlen(n->quiz.info.weights), NULL);
    nct_bytes_printf(&json, NULL, ",\"isa\":\"%s\"", n->quiz.info.isa);
    nct_bytes_add_str(&json, n->lang == NCT_NEEDLE_ZH ? ",\"lang\":\"zh\"" : ",\"lang\":\"en\"", NULL);
    for (size_t m = 0; m < n->n_modes; m++) {
        double share = nct_needle_mode_share(n, m);
        nct_bytes_printf(&json, NULL, isnan(share) ? "%s\"%s\":null" : "%s\"%s\":%.6g",
                         m ? "," : ",\"mean\":{", nct_needle_mode_name(n->modes[m]), 100 * share);
    }
    nct_bytes_printf(
        &json, NULL,
        "},\"needles\":%zu,\"computed\":%zu,\"from_records\":%zu,\"prefilled\":%llu,\"trials\":[",
        n->n_needles, n->quiz.n_computed, n->quiz.n_found, (unsigned long long)n->quiz.n_prefill);
    nct_output_write(out, json.data, json.n);
    nct_bytes_reset(&json);
    each_trial(n, out, print_json_trial);
    nct_output_print(out, "],\"cells\":[");
    print_cells(n, out);
    nct_output_print(out, "]}\n");
}

static void write_csv_text(nct_output *out, const char *text) {
    nct_output_write(out, "\"", 1);
    for (; *text; text++) {
        if (*text == '"')
            nct_output_write(out, "\"", 1);
        nct_output_write(out, text, 1);
    }
    nct_output_write(out, "\"", 1);
}

static void print_csv_trial(const nct_needle *n, const nct_needle_place *p, bool first, nct_output *out) {
    const nct_needle_trial *t = nct_needle_trial_at(n, p);
    if (first)
        nct_output_print(
            out, "model,quant,sparse,length,depth,seed,needles,found,tokens,answer,lang,expected,percent\n");
    write_csv_text(out, n->quiz.info.name);
    nct_output_write(out, ",", 1);
    write_csv_text(out, n->quiz.info.weights);
    nct_output_print(out, ",%s,%lld,%lld,%llu,%zu,%zu,%zu,", nct_needle_mode_name(n->modes[p->mode]),
                     (long long)n->lengths.value[p->length], (long long)n->depths.value[p->depth],
                     (unsigned long long)(n->seed + p->seed), n->n_needles, t->found, t->n_ids);
    write_csv_text(out, t->answer);
    nct_output_print(out, n->lang == NCT_NEEDLE_ZH ? ",zh," : ",en,");
    for (size_t i = 0; i < n->n_needles; i++)
        nct_output_print(out, i ? " %llu" : "%llu", (unsigned long long)t->expected[i]);
    nct_output_print(out, ",%.6g\n", 100 * (double)t->found / (double)n->n_needles);
}

static void print_csv(const nct_needle *n, nct_output *out) { each_trial(n, out, print_csv_trial); }

enum { CELL_W = 52, CELL_H = 24, LEFT = 64, TOP = 76, GAP = 56 };

/* One heat map: of a mode, or with mode == n_modes of the first less the second. */
static void draw_heat(const nct_needle *n, size_t mode, double x, nct_output *out) {
    char label[24];
    bool difference = mode == n->n_modes;
    if (difference)
        nct_svg_text(out, x, TOP - 26, NCT_SVG_START, "sparse %s less %s", nct_needle_mode_name(n->modes[0]),
                     nct_needle_mode_name(n->modes[1]));
    else
        nct_svg_text(out, x, TOP - 26, NCT_SVG_START, "sparse %s, mean %.1f",
                     nct_needle_mode_name(n->modes[mode]), 100 * nct_needle_mode_share(n, mode));
    for (size_t l = 0; l < n->lengths.n; l++) {
        double left = x + (double)(l * CELL_W);
        nct_svg_text(out, left + CELL_W / 2.0, TOP - 8, NCT_SVG_MIDDLE, "%s",
                     nct_needle_label(n->lengths.value[l], label));
        for (size_t d = 0; d < n->depths.n; d++) {
            double share =
                difference ? (nct_needle_cell_share(n, 0, l, d) - nct_needle_cell_share(n, 1, l, d) + 1) / 2
                           : nct_needle_cell_share(n, mode, l, d);
            char tip[96];
            snprintf(tip, sizeof tip, "%s tokens, depth %lld %%: %.0f %s", label,
                     (long long)n->depths.value[d], 100 * (difference ? 2 * share - 1 : share),
                     difference ? "points apart" : "% found");
            nct_svg_box(out, left, TOP + (double)(d * CELL_H), CELL_W - 2, CELL_H - 2, share, tip);
        }
    }
}

static void print_svg(const nct_needle *n, nct_output *out) {
    size_t maps = n->n_modes + (n->n_modes > 1);
    double map_width = (double)(n->lengths.n * CELL_W), height = TOP + (double)(n->depths.n * CELL_H) + 40;
    double width = LEFT + (double)maps * (map_width + GAP);
    char title[256], description[256];
    snprintf(title, sizeof title, "needle, %s %s", n->quiz.info.name, n->quiz.info.weights);
    snprintf(description, sizeof description,
             "Share of hidden numbers that were found, by length of the text and depth of the number: %zu "
             "lengths, %zu depths, "
             "%zu seeds, mean %.1f percent.",
             n->lengths.n, n->depths.n, n->n_seeds, 100 * nct_needle_mode_share(n, 0));
    nct_svg_begin(out, width < 420 ? 420 : width, height, title, description);
    for (size_t d = 0; d < n->depths.n; d++)
        nct_svg_text(out, LEFT - 8, TOP + (double)(d * CELL_H) + 16, NCT_SVG_END, "%lld %%",
                     (long long)n->depths.value[d]);
    for (size_t m = 0; m < maps; m++)
        draw_heat(n, m, LEFT + (double)m * (map_width + GAP), out);
    nct_svg_text(out, LEFT, height - 14, NCT_SVG_START,
                 "tokens across, depth of the needle down; %zu needle%s, %zu seed%s", n->n_needles,
                 n->n_needles == 1 ? "" : "s", n->n_seeds, n->n_seeds == 1 ? "" : "s");
    nct_svg_end(out);
}

static void print_text(const nct_needle *n, nct_output *out) {
    nct_bytes text = {0};
    for (size_t m = 0; m < n->n_modes; m++)
        nct_needle_write_map(n, m, &text);
    nct_needle_write_means(n, &text);
    nct_bytes_add_str(&text, "\n", NULL);
    nct_output_write(out, text.data, text.n);
    nct_bytes_reset(&text);
}

/* What -o may end in; records are no report but are written as they come. */
static const struct {
    const char *ending;
    void (*print)(const nct_needle *n, nct_output *out);
} forms[] = {{".svg", print_svg}, {".csv", print_csv}, {".json", print_json}, {".jsonl", NULL}};

enum { N_FORMS = sizeof forms / sizeof *forms };

static size_t form_of(const char *path) {
    size_t n = strlen(path);
    for (size_t i = 0; i < N_FORMS; i++) {
        size_t m = strlen(forms[i].ending);
        if (n > m && strcmp(path + n - m, forms[i].ending) == 0)
            return i;
    }
    return N_FORMS;
}

static int write_files(const nct_needle *n) {
    const nct_list *paths = &n->cli->args.outputs;
    int code = NCT_EXIT_OK;
    for (size_t i = 0; i < paths->n && code == NCT_EXIT_OK; i++) {
        nct_output out;
        size_t form = form_of(paths->item[i]);
        if (!forms[form].print)
            continue;
        code = nct_output_open(n->cli, paths->item[i], &out);
        if (code == NCT_EXIT_OK) {
            forms[form].print(n, &out);
            code = nct_output_close(&out, code);
        }
    }
    return code;
}

int nct_needle_report(nct_needle *n, int code) {
    nct_output out;
    bool whole = code == NCT_EXIT_OK;
    double worst = 100;
    if (!whole && code < 128) /* what went wrong was said */
        return code;
    int opened = nct_output_open(n->cli, NULL, &out);
    if (opened != NCT_EXIT_OK)
        return opened;
    if (n->cli->args.format == NCT_FORMAT_JSONL)
        each_trial(n, &out, print_line);
    else if (n->cli->args.format == NCT_FORMAT_JSON)
        print_json(n, &out);
    else
        print_text(n, &out);
    for (size_t m = 0; m < n->n_modes; m++)
        worst = fmin(worst, 100 * nct_needle_mode_share(n, m));
    if (whole)
        code = write_files(n);
    else
        nct_say_warning(
            n->cli, "%zu of %zu cells are done%s%s", nct_needle_cells_done(n), n->n_trials / n->n_seeds,
            n->journal ? "; the same command goes on from there, with " : "", n->journal ? n->journal : "");
    return nct_output_close(&out, whole ? nct_quiz_check_min(&n->quiz, worst, code) : code);
}

int nct_needle_place_journal(nct_needle *n) {
    const nct_list *paths = &n->cli->args.outputs;
    nct_error err = {0};
    for (size_t i = 0; i < paths->n; i++) {
        size_t form = form_of(paths->item[i]);
        if (form == N_FORMS)
            return nct_say_error(n->cli, NCT_EXIT_USAGE,
                                 "-o %s: the ending tells the form, .svg .csv .json or .jsonl",
                                 paths->item[i]);
        if (forms[form].print)
            continue;
        if (n->journal)
            return nct_say_error(n->cli, NCT_EXIT_USAGE, "two files of records: %s and %s", n->journal,
                                 paths->item[i]);
        if (nct_copy_string(&n->journal, paths->item[i], strlen(paths->item[i]), &err) != NCT_OK)
            return nct_say_status(n->cli, &err);
    }
    if (n->journal || paths->n == 0)
        return NCT_EXIT_OK;
    const char *path = paths->item[0], *slash = strrchr(path, '/');
    int folder = slash ? (int)(slash + 1 - path) : 0;
    nct_bytes beside = {0};
    if (nct_bytes_printf(&beside, &err, "%.*s.%s.noctule-journal", folder, path, path + folder) != NCT_OK)
        return nct_say_status(n->cli, &err);
    n->journal = beside.data;
    n->beside = true;
    return NCT_EXIT_OK;
}
