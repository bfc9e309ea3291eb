#include "cli/show.h"

#include <stdio.h>

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

static void show_thinking(nct_show *s, const char *text, size_t n) {
    if (s->cli->args.show_thinking) {
        fwrite(text, 1, n, stderr);
        fflush(stderr);
    } else if (s->output.tty) {
        set_dim(s, true);
        nct_output_write(&s->output, text, n);
    } else {
        return;
    }
    s->thought = true;
}

void nct_show_end(nct_show *s) {
    set_dim(s, false);
    if (!s->thought)
        return;
    s->thought = false;
    if (s->cli->args.show_thinking)
        fputs("\n", stderr);
    else
        nct_output_write(&s->output, "\n\n", 2);
}

bool nct_show_piece(void *show, bool thinking, const char *text, size_t n) {
    nct_show *s = show;
    nct_meter_end(&s->meter);
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
