#include "cli/batch_progress.h"

#include <stdio.h>

#include "base/clock.h"

#define SECOND 1000000000u

const char *nct_duration(double seconds, char buf[32]) {
    uint64_t s = seconds > 0 ? (uint64_t)(seconds + 0.5) : 0;
    if (s >= 3600)
        snprintf(buf, 32, "%llu h %02llu m", (unsigned long long)(s / 3600),
                 (unsigned long long)(s / 60 % 60));
    else if (s >= 60)
        snprintf(buf, 32, "%llu m %02llu s", (unsigned long long)(s / 60), (unsigned long long)(s % 60));
    else
        snprintf(buf, 32, "%llu s", (unsigned long long)s);
    return buf;
}

void nct_batch_progress_begin(const nct_cli *cli, nct_batch_progress *p) {
    int64_t asked = cli->args.progress;
    bool terminal = cli->term.err_tty && !cli->term.dumb;
    uint64_t now = nct_clock_ns();
    *p = (nct_batch_progress){.cli = cli, .began_ns = now, .shown_ns = now, .looked_ns = now};
    if (asked == NCT_UNSET || asked == NCT_PROGRESS_AUTO)
        p->form = cli->args.quiet ? NCT_PROGRESS_NONE : terminal ? NCT_PROGRESS_BAR : NCT_PROGRESS_PLAIN;
    else
        p->form = (nct_progress)asked;
    if (p->form == NCT_PROGRESS_BAR && !terminal)
        p->form = NCT_PROGRESS_PLAIN;
}

/* "6,271/10,412", "41k/912k", "0.4M/9.1M": both in one form, that of the total. */
static void write_share(double done, double total, const char *least, char buf[64]) {
    if (total >= 1e6)
        snprintf(buf, 64, total >= 1e8 ? "%.0fM/%s%.0fM" : "%.1fM/%s%.1fM", done * 1e-6, least, total * 1e-6);
    else if (total >= 1e5)
        snprintf(buf, 64, "%.0fk/%s%.0fk", done * 1e-3, least, total * 1e-3);
    else
        snprintf(buf, 64, "%s/%s%s", NCT_N((uint64_t)done), least, NCT_N((uint64_t)total));
}

static size_t columns_of(const char *text) {
    size_t n = 0;
    for (; *text; text++)
        n += ((unsigned char)*text & 0xc0) != 0x80;
    return n;
}

enum { ITEMS, TOKENS, SEQUENCES, READING, WRITING, FAILED, ETA, N_PIECES };

/* Empties pieces of the line, those first that matter least, until it fits so many columns. */
static void fit(char piece[N_PIECES][96], size_t columns) {
    static const int least[] = {SEQUENCES, READING, TOKENS, WRITING};
    for (size_t i = 0; i <= sizeof least / sizeof *least; i++) {
        size_t n = 0;
        for (int k = 0; k < N_PIECES; k++)
            n += *piece[k] ? columns_of(piece[k]) + 2 : 0;
        if (n <= columns || i == sizeof least / sizeof *least)
            return;
        *piece[least[i]] = 0;
    }
}

/* Tokens in all: prompts, and answers as long as those so far. */
static double total_tokens(const nct_batch_state *s) {
    double answer = s->n_done ? (double)s->n_chosen / (double)s->n_done : 0;
    return (double)s->n_prompt + answer * (double)s->n_items;
}

static void print(const nct_batch_progress *p, const nct_batch_state *s, double done, double total,
                  double eta) {
    const char *least = s->open ? "\u2265" : "";
    if (p->form == NCT_PROGRESS_JSON) {
        fprintf(stderr,
                "{\"progress\":{\"phase\":\"batch\",\"items\":%llu,\"of\":%llu,\"failed\":%llu,\"tokens\":%."
                "0f,\"of_tokens\":%.0f,"
                "\"sequences\":%d,\"prefill_tps\":%.1f,\"decode_tps\":%.1f,\"eta_s\":%.0f,\"open\":%s}}\n",
                (unsigned long long)s->n_done, (unsigned long long)s->n_items,
                (unsigned long long)s->n_failed, done, total, s->n_sequences, p->read_rate, p->decode_rate,
                eta, s->open ? "true" : "false");
        return;
    }
    bool bar = p->form == NCT_PROGRESS_BAR;
    char piece[N_PIECES][96] = {0}, tokens[64], time[32];
    write_share(done, total, least, tokens);
    snprintf(piece[ITEMS], sizeof *piece, "batch  %s/%s%s items", NCT_N(s->n_done), least, NCT_N(s->n_items));
    snprintf(piece[TOKENS], sizeof *piece, "%s tokens", tokens);
    snprintf(piece[SEQUENCES], sizeof *piece, "%d seqs", s->n_sequences);
    snprintf(piece[READING], sizeof *piece, "prefill %.0f t/s", p->read_rate);
    snprintf(piece[WRITING], sizeof *piece, "decode %.0f t/s", p->decode_rate);
    if (s->n_failed)
        snprintf(piece[FAILED], sizeof *piece, "%s failed", NCT_N(s->n_failed));
    if (eta > 0)
        snprintf(piece[ETA], sizeof *piece, "eta %s%s", least, nct_duration(eta, time));
    if (bar)
        fit(piece, (size_t)nct_term_width());
    fputs(bar ? "\r" : "", stderr);
    for (int k = 0; k < N_PIECES; k++)
        if (*piece[k])
            fprintf(stderr, "%s%s",
                    k == ITEMS                        ? ""
                    : k == WRITING && *piece[READING] ? " \u00b7 "
                                                      : "  ",
                    piece[k]);
    fputs(bar ? "\033[K" : "\n", stderr);
    fflush(stderr);
}

void nct_batch_progress_show(nct_batch_progress *p, const nct_batch_state *s) {
    uint64_t now = nct_clock_ns(), every = p->form == NCT_PROGRESS_BAR    ? SECOND / 5
                                           : p->form == NCT_PROGRESS_JSON ? SECOND
                                                                          : 60ull * SECOND;
    if (p->form == NCT_PROGRESS_NONE || now - p->shown_ns < every)
        return;
    if (now - p->looked_ns >= 2ull * SECOND || p->read_rate + p->decode_rate == 0) {
        double seconds = (double)(now - p->looked_ns) * 1e-9;
        p->read_rate = (double)(s->n_read - p->read) / seconds;
        p->decode_rate = (double)(s->n_chosen - p->chosen) / seconds;
        p->looked_ns = now;
        p->read = s->n_read;
        p->chosen = s->n_chosen;
    }
    double done = (double)(s->n_read + s->n_chosen), total = total_tokens(s),
           seconds = (double)(now - p->began_ns) * 1e-9;
    total = total > done ? total : done;
    print(p, s, done, total, s->n_done && done > 0 ? (total - done) / done * seconds : 0);
    p->shown_ns = now;
    p->shown = true;
}

void nct_batch_progress_clear(nct_batch_progress *p) {
    if (p->shown && p->form == NCT_PROGRESS_BAR) {
        nct_term_clear_line(&p->cli->term);
        fflush(stderr);
    }
}
