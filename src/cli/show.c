#include "cli/show.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"

enum { CTRL_T = 20 };
#define DRAW_NS 100000000u

static void set_dim(nct_show *s, bool dim) {
    if (s->dim == dim)
        return;
    s->dim = dim;
    if (!s->cli->term.out_color)
        return;
    char last = s->output.last; /* the reader sees no difference */
    nct_output_write(&s->output, dim ? "\033[2m" : "\033[0m", 4);
    s->output.last = last;
    nct_signals_note_dim(s->output.fd, dim);
}

/* Something about the answer that is no part of it. */
static void draw(nct_show *s, const char *text) {
    char last = s->output.last;
    nct_output_write(&s->output, text, strlen(text));
    s->output.last = last;
}

/* The line that stands for thinking: "thinking 214 tokens". */
static void draw_count(nct_show *s, bool done) {
    char line[128], n[32];
    bool dim = s->cli->term.out_color;
    snprintf(line, sizeof line, "%s%sthinking %s tokens%s%s%s", s->cli->term.dumb ? "" : "\r\033[K",
             dim ? "\033[2m" : "", nct_thousands(s->answer ? s->answer->n_thinking : 0, n),
             done ? "" : s->keys.open ? "\u2026 [Ctrl-T shows]" : "\u2026", dim ? "\033[0m" : "", done ? "\n" : "");
    draw(s, line);
}

static void show_dim(nct_show *s, const char *text, size_t n) {
    set_dim(s, true);
    nct_output_write(&s->output, text, n);
}

/* Ctrl-T: what was hidden so far, and from now on everything. */
static void expand(nct_show *s) {
    s->expanded = true;
    s->counted = false;
    draw(s, "\r\033[K");
    show_dim(s, s->hidden.data ? s->hidden.data : "", s->hidden.n);
    s->hidden.n = 0;
}

static void count_thinking(nct_show *s, const char *text, size_t n) {
    uint64_t now = nct_clock_ns();
    bool first = !s->counted;
    s->counted = true;
    nct_bytes_add(&s->hidden, text, n, NULL);
    if (first)
        nct_keys_open(&s->cli->term, &s->keys);
    if (nct_keys_pressed(&s->keys, CTRL_T)) {
        expand(s);
    } else if (!s->cli->term.dumb && (first || now - s->drawn_ns >= DRAW_NS)) {
        draw_count(s, false);
        s->drawn_ns = now;
    }
}

static void show_thinking(nct_show *s, const char *text, size_t n) {
    if (s->cli->args.show_thinking) {
        fwrite(text, 1, n, stderr);
        fflush(stderr);
    } else if (!s->output.tty) {
        return;
    } else if (s->expanded) {
        show_dim(s, text, n);
    } else {
        count_thinking(s, text, n);
    }
    s->thought = true;
}

void nct_show_end(nct_show *s) {
    if (!s->keeps_keys)
        nct_keys_close(&s->keys);
    set_dim(s, false);
    if (!s->thought)
        return;
    s->thought = false;
    if (s->counted)
        draw_count(s, true);
    else if (s->cli->args.show_thinking)
        fputs("\n", stderr);
    else
        nct_output_write(&s->output, "\n\n", 2);
    s->counted = false;
    s->hidden.n = 0;
}

void nct_show_close(nct_show *s) {
    nct_keys_close(&s->keys);
    nct_keys_return(&s->keys);
    nct_bytes_reset(&s->hidden);
}

bool nct_show_piece(void *show, bool thinking, const char *text, size_t n) {
    nct_show *s = show;
    nct_meter_end(&s->meter);
    s->n_bytes += n;
    if (nct_signals_asked()) {
        nct_term_clear_line(&s->cli->term);
        fprintf(stderr, "answering  %s bytes so far\n", NCT_N(s->n_bytes));
    }
    if (s->silent)
        return true;
    if (thinking) {
        show_thinking(s, text, n);
        return !s->output.failure;
    }
    nct_show_end(s);
    return nct_output_write(&s->output, text, n);
}

void nct_show_progress(void *show, int done, int total) {
    nct_show *s = show;
    nct_meter_show(&s->meter, (uint64_t)done, (uint64_t)total);
}
