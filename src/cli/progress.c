#include "cli/progress.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"

#define SECOND 1000000000u

void nct_meter_begin(const nct_cli *cli, const char *what, nct_meter *m) {
    *m = (nct_meter){.cli = cli, .what = what, .began_ns = nct_clock_ns()};
    int64_t asked = cli->args.progress;
    bool terminal = cli->term.err_tty && !cli->term.dumb;
    if (asked == NCT_UNSET || asked == NCT_PROGRESS_AUTO)
        m->form = cli->args.quiet ? NCT_PROGRESS_NONE : terminal ? NCT_PROGRESS_BAR : NCT_PROGRESS_NONE;
    else
        m->form = (nct_progress)asked;
    if (m->form == NCT_PROGRESS_BAR && !terminal)
        m->form = NCT_PROGRESS_PLAIN;
}

static void print_eta(double seconds, char buf[32]) {
    int s = (int)(seconds + 0.5);
    if (s >= 3600)
        snprintf(buf, 32, "%d h %02d m", s / 3600, s / 60 % 60);
    else
        snprintf(buf, 32, "%d:%02d", s / 60, s % 60);
}

/* What the line says, in as many columns as there are: the rate goes first, then how many there are of each. */
static void describe(const nct_meter *m, uint64_t done, uint64_t total, double rate, const char *eta, size_t columns,
                     char text[96]) {
    if (!m->share) {
        snprintf(text, 96, "%s/%s  %.0f t/s  eta %s", NCT_N(done), NCT_N(total), rate, eta);
        if (strlen(text) > columns)
            snprintf(text, 96, "%s/%s  eta %s", NCT_N(done), NCT_N(total), eta);
        if (strlen(text) <= columns)
            return;
    }
    snprintf(text, 96, "%.0f %%  eta %s", 100 * (double)done / (double)total, eta);
}

static void draw_bar(const nct_meter *m, uint64_t done, uint64_t total, double rate, const char *eta) {
    enum { CELLS = 24, LEAST = 8 };
    char text[96];
    int most = nct_term_width() - 1, name = (int)strlen(m->what) + 2; /* a full line would wrap */
    describe(m, done, total, rate, eta, most > name ? (size_t)(most - name) : 0, text);
    int room = most - name - (int)strlen(text) - 2;
    size_t cells = room < LEAST   ? 0
                   : room < CELLS ? (size_t)room
                                  : CELLS,
           full = (size_t)((double)done / (double)total * (double)cells);
    fprintf(stderr, "\r%s  ", m->what);
    for (size_t i = 0; i < cells; i++)
        fputs(i < full ? "\u2501" : "\u2500", stderr);
    fprintf(stderr, "%s%s\033[K", cells ? "  " : "", text);
    fflush(stderr);
}

/* "1.2 GB  34.0 MB/s", and of how much if that is known. */
static void show_bytes(const nct_meter *m, uint64_t done, uint64_t total, double rate, const char *eta) {
    if (m->form == NCT_PROGRESS_JSON) {
        fprintf(stderr, "{\"progress\":{\"phase\":\"%s\",\"bytes\":%llu,\"total\":%llu,\"bytes_s\":%.0f}}\n",
                m->what, (unsigned long long)done, (unsigned long long)total, rate);
        return;
    }
    bool bar = m->form == NCT_PROGRESS_BAR;
    fprintf(stderr, "%s%s  %s", bar ? "\r" : "", m->what, NCT_BYTES(done));
    if (total)
        fprintf(stderr, " of %s", NCT_BYTES(total));
    fprintf(stderr, "  %.1f MB/s", rate * 1e-6);
    if (total)
        fprintf(stderr, "  eta %s", eta);
    fputs(bar ? "\033[K" : "\n", stderr);
    fflush(stderr);
}

/* One line for whoever asked by SIGUSR1, as dd has it. */
static void answer(const nct_meter *m, uint64_t done, uint64_t total) {
    double seconds = (double)(nct_clock_ns() - m->began_ns) * 1e-9;
    nct_term_clear_line(&m->cli->term);
    if (m->bytes)
        fprintf(stderr, "%s  %s in %.1f s\n", m->what, NCT_BYTES(done), seconds);
    else
        fprintf(stderr, "%s  %.0f %% in %.1f s\n", m->what, total ? 100 * (double)done / (double)total : 100, seconds);
}

void nct_meter_show(nct_meter *m, uint64_t done, uint64_t total) {
    if (nct_signals_asked())
        answer(m, done, total);
    uint64_t now = nct_clock_ns(), since = m->shown ? now - m->shown_ns : now - m->began_ns;
    uint64_t every = m->form == NCT_PROGRESS_BAR                 ? SECOND / 10
                     : m->form == NCT_PROGRESS_PLAIN && m->shown ? 60ull * SECOND
                                                                 : SECOND;
    if (m->form == NCT_PROGRESS_NONE || (total == 0 && !m->bytes) || (total && done >= total) ||
        now - m->began_ns < SECOND || since < every)
        return;
    double seconds = (double)(now - m->began_ns) * 1e-9, rate = (double)done / seconds;
    char eta[32];
    print_eta(rate > 0 && total ? (double)(total - done) / rate : 0, eta);
    if (m->bytes)
        show_bytes(m, done, total, rate, eta);
    else if (m->form == NCT_PROGRESS_JSON && m->share)
        fprintf(stderr, "{\"progress\":{\"phase\":\"%s\",\"done\":%.4f}}\n", m->what,
                (double)done / (double)total);
    else if (m->form == NCT_PROGRESS_JSON)
        fprintf(stderr, "{\"progress\":{\"phase\":\"%s\",\"done\":%llu,\"total\":%llu,\"tps\":%.1f}}\n",
                m->what, (unsigned long long)done, (unsigned long long)total, rate);
    else if (m->form == NCT_PROGRESS_BAR)
        draw_bar(m, done, total, rate, eta);
    else if (m->share)
        fprintf(stderr, "%s  %.0f %%  eta %s\n", m->what, 100 * (double)done / (double)total, eta);
    else
        fprintf(stderr, "%s  %s/%s  %.0f t/s  eta %s\n", m->what, NCT_N(done), NCT_N(total), rate, eta);
    m->shown_ns = now;
    m->shown = true;
}

void nct_meter_end(nct_meter *m) {
    if (m->shown && m->form == NCT_PROGRESS_BAR) {
        nct_term_clear_line(&m->cli->term);
        fflush(stderr);
    }
}
