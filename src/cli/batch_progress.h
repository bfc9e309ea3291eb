/** How far a batch has come, on stderr: a line that is drawn over on a terminal, one a minute elsewhere, JSON lines for
 *  supervisors. */
#ifndef NCT_CLI_BATCH_PROGRESS_H
#define NCT_CLI_BATCH_PROGRESS_H

#include "cli/cli.h"

/** What there is to tell. */
typedef struct nct_batch_state {
    uint64_t n_done, n_failed; /* items finished in this run, of them failed */
    uint64_t n_items;          /* to be done in this run; of a pipe, those that were read */
    bool open;                 /* more may come: numbers are the least there will be */
    uint64_t n_read, n_chosen; /* tokens of prompts, computed or copied, and of answers */
    uint64_t n_prompt;         /* of the prompts of all items */
    int n_sequences;
} nct_batch_state;

typedef struct nct_batch_progress {
    const nct_cli *cli;
    nct_progress form; /* never auto */
    uint64_t began_ns, shown_ns, looked_ns;
    uint64_t read, chosen; /* when last looked */
    double read_rate, decode_rate;
    bool shown;
} nct_batch_progress;

void nct_batch_progress_begin(const nct_cli *cli, nct_batch_progress *progress);
void nct_batch_progress_show(nct_batch_progress *progress, const nct_batch_state *state);
void nct_batch_progress_clear(nct_batch_progress *progress); /* takes the line away */

/** "6 h 19 m", "4 m 10 s", "12 s". */
const char *nct_duration(double seconds, char buf[32]);

#endif
