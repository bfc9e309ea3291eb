/* The map of eval needle: what was found, by length and depth. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "cli/needle.h"

const char *nct_needle_label(int64_t length, char buf[24]) {
    if (length % 1024 == 0)
        snprintf(buf, 24, "%lldk", (long long)(length / 1024));
    else
        snprintf(buf, 24, "%lld", (long long)length);
    return buf;
}

const char *nct_needle_mode_name(int64_t mode) {
    static const char *const names[] = {"auto", "on", "off"};
    return names[mode == NCT_UNSET ? 0 : mode];
}

double nct_needle_cell_share(const nct_needle *n, size_t mode, size_t length, size_t depth) {
    size_t found = 0, asked = 0;
    for (nct_needle_place p = {mode, length, depth, 0}; p.seed < n->n_seeds; p.seed++) {
        const nct_needle_trial *t = nct_needle_trial_at(n, &p);
        found += t->found;
        asked += t->asked;
    }
    return asked ? (double)found / (double)(asked * n->n_needles) : (double)NAN;
}

double nct_needle_mode_share(const nct_needle *n, size_t mode) {
    size_t found = 0, asked = 0, of_mode = n->n_trials / n->n_modes;
    for (size_t i = mode * of_mode; i < (mode + 1) * of_mode; i++) {
        found += n->trials[i].found;
        asked += n->trials[i].asked;
    }
    return asked ? (double)found / (double)(asked * n->n_needles) : (double)NAN;
}

void nct_needle_write_map(const nct_needle *n, size_t mode, nct_bytes *out) {
    static const char *const shades[] = {"░░", "▒▒", "▓▓", "██"};
    char label[24];
    int width = 3;
    for (size_t i = 0; i < n->lengths.n; i++) {
        int w = (int)strlen(nct_needle_label(n->lengths.value[i], label));
        width = w > width ? w : width;
    }
    nct_bytes_printf(out, NULL, "needle, %s %s, sparse %s    100 ██  67 ▓▓  33 ▒▒  0 ░░\n depth",
                     n->quiz.info.name, n->quiz.info.weights, nct_needle_mode_name(n->modes[mode]));
    for (size_t i = 0; i < n->lengths.n; i++)
        nct_bytes_printf(out, NULL, " %*s", width, nct_needle_label(n->lengths.value[i], label));
    nct_bytes_add_str(out, "\n", NULL);
    for (size_t d = 0; d < n->depths.n; d++) {
        nct_bytes_printf(out, NULL, "%4lld %%", (long long)n->depths.value[d]);
        for (size_t i = 0; i < n->lengths.n; i++) {
            double share = nct_needle_cell_share(n, mode, i, d);
            nct_bytes_printf(out, NULL, " %*s%s", width - 2, "",
                             isnan(share) ? "··" : shades[(int)(3 * share + 0.5)]);
        }
        nct_bytes_add_str(out, "\n", NULL);
    }
}

void nct_needle_write_means(const nct_needle *n, nct_bytes *out) {
    nct_bytes_add_str(out, "mean", NULL);
    for (size_t m = 0; m < n->n_modes; m++) {
        double share = nct_needle_mode_share(n, m);
        if (isnan(share))
            nct_bytes_printf(out, NULL, "%s - (sparse %s)", m ? "," : "", nct_needle_mode_name(n->modes[m]));
        else
            nct_bytes_printf(out, NULL, "%s %.1f (sparse %s)", m ? "," : "", 100 * share,
                             nct_needle_mode_name(n->modes[m]));
    }
}

size_t nct_needle_cells_done(const nct_needle *n) {
    size_t done = 0;
    for (size_t m = 0; m < n->n_modes; m++)
        for (size_t l = 0; l < n->lengths.n; l++)
            for (size_t d = 0; d < n->depths.n; d++) {
                bool all = true;
                for (nct_needle_place p = {m, l, d, 0}; p.seed < n->n_seeds; p.seed++)
                    all = all && nct_needle_trial_at(n, &p)->asked;
                done += all;
            }
    return done;
}

static void draw_status(const nct_needle *n, double part, nct_bytes *out) {
    double done = n->weight_done + part, seconds = (double)(nct_clock_ns() - n->began_ns) * 1e-9;
    nct_needle_write_means(n, out);
    nct_bytes_printf(out, NULL, "  %zu of %zu cells done", nct_needle_cells_done(n),
                     n->n_trials / n->n_seeds);
    if (done > 0 && done < n->weight_all) {
        int left = (int)(seconds * (n->weight_all - done) / done + 0.5);
        if (left >= 3600)
            nct_bytes_printf(out, NULL, ", eta %d h %02d m", left / 3600, left / 60 % 60);
        else
            nct_bytes_printf(out, NULL, ", eta %d:%02d", left / 60, left % 60);
    }
}

void nct_needle_draw(nct_needle *n, double part, bool all) {
    nct_bytes out = {0};
    if (!n->live) {
        nct_meter_show(&n->meter, (uint64_t)(1e4 * (n->weight_done + part) / n->weight_all), 10000);
        return;
    }
    if (all) {
        if (n->n_drawn)
            nct_bytes_printf(&out, NULL, "\r\033[%zuA\033[J", n->n_drawn);
        size_t begin = out.n;
        for (size_t m = 0; m < n->n_modes; m++)
            nct_needle_write_map(n, m, &out);
        n->n_drawn = 0;
        for (size_t i = begin; i < out.n; i++)
            n->n_drawn += out.data[i] == '\n';
    }
    nct_bytes_add_str(&out, "\r", NULL);
    draw_status(n, part, &out);
    nct_bytes_add_str(&out, "\033[K", NULL);
    if (out.data)
        fputs(out.data, stderr);
    fflush(stderr);
    nct_bytes_reset(&out);
    n->drawn_ns = nct_clock_ns();
}

void nct_needle_erase(const nct_needle *n) {
    if (n->live)
        fprintf(stderr, n->n_drawn ? "\r\033[%zuA\033[J" : "\r\033[J", n->n_drawn);
}
