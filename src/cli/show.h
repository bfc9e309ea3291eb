/** An answer on its way to the reader: text to the output as it comes; thinking, on a terminal and nowhere else unless
 *  asked for, as a dim line that counts its tokens, or dim in full once somebody wants to read it; progress while the
 *  prompt is read. */
#ifndef NCT_CLI_SHOW_H
#define NCT_CLI_SHOW_H

#include "cli/answer.h"
#include "cli/output.h"
#include "cli/progress.h"

typedef struct nct_show {
    const nct_cli *cli;
    nct_output output;
    nct_meter meter;
    const nct_answer *answer; /* that is being made, for its count of thinking tokens; or NULL */
    bool silent;   /* show nothing: the result is printed as a whole later */
    bool expanded; /* thinking is shown in full; Ctrl-T while it comes sets this */
    bool dim;     /* the terminal's text is dim now */
    bool thought; /* thinking was shown, and a gap is due before the text */
    bool counted; /* it was shown as a line that counts */
    nct_bytes hidden; /* what that line stands for */
    uint64_t drawn_ns; /* when it was drawn last */
    nct_keys keys;     /* while there is thinking, or from the caller's opening to its closing: what is typed; of it
                        * .typed stays for the caller to take */
    bool keeps_keys;   /* they are the caller's to close */
    size_t n_bytes; /* that came so far */
} nct_show;

/* What nct_answer_options calls; context is the nct_show. */
bool nct_show_piece(void *show, bool thinking, const char *text, size_t n);
void nct_show_progress(void *show, int done, int total);

void nct_show_close(nct_show *show); /* frees; the output is the caller's to close */

/** After the last piece: ordinary text again, and thinking apart from what follows. */
void nct_show_end(nct_show *show);

/** Tokens a second, 0 where there is nothing to divide. */
static inline double nct_rate(size_t n, double seconds) { return n && seconds > 0 ? (double)n / seconds : 0; }

#endif
