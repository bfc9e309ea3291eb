/** How far something long has come, a prompt or a corpus, on stderr: a line that is drawn over on a terminal, one line a minute
 *  elsewhere, or JSON lines. Nothing is shown in the first second. */
#ifndef NCT_CLI_PROGRESS_H
#define NCT_CLI_PROGRESS_H

#include "cli/cli.h"

typedef struct nct_meter {
    const nct_cli *cli;
    nct_progress form; /* never auto */
    const char *what;  /* "reading" */
    bool share;        /* what is counted has no unit: show the share that is done */
    bool bytes;        /* bytes are counted; total 0: nobody knows of how many */
    uint64_t began_ns, shown_ns;
    bool shown;
} nct_meter;

void nct_meter_begin(const nct_cli *cli, const char *what, nct_meter *meter);
void nct_meter_show(nct_meter *meter, uint64_t done, uint64_t total);
void nct_meter_end(nct_meter *meter); /* takes the line away */

#endif
