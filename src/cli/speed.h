/** How long a prompt and its answer will take, for --dry-run: by the speed of this host with the model, which is measured
 *  briefly where it is not known yet, and kept for the host in $XDG_CACHE_HOME/noctule.
 *
 *  Timed is a slice of a prompt and a few single tokens, at the beginning and behind made-up tokens; further behind, where
 *  everything is attended to, a token is taken to cost as much more as it does there. Guesses are left out, as is what is
 *  cached. No answer hangs on any of it.
 */
#ifndef NCT_CLI_SPEED_H
#define NCT_CLI_SPEED_H

#include "cli/open.h"
#include "cli/output.h"

/** Seconds of a token behind so many others: as one of a prompt, and alone. */
typedef struct nct_speed_at {
    size_t depth;
    double read_s, write_s;
} nct_speed_at;

typedef struct nct_speed {
    const char *unknown;      /* why it is not known; NULL: it is */
    bool remembered;          /* measured by an earlier command, .. */
    int64_t when;             /* .. then: seconds since 1970 */
    nct_speed_at begin, deep; /* attending to everything; deep.depth 0: that ends before there is any */
    nct_speed_at chosen;      /* attending to blocks that are chosen; depth 0: not measured */
    size_t chooses_from;      /* position from which that is; SIZE_MAX: nowhere */
} nct_speed;

/** Finds or measures it for prompts like ids [n_ids > 0], where n_tokens will be held. With --cache off nothing is found or
 *  kept, with ro nothing is kept. Returns an nct_exit; a signal is 128 + its number. */
int nct_speed_find(const nct_cli *cli, nct_engine *engine, const int32_t *ids, size_t n_ids, size_t n_tokens,
                   nct_speed *speed);

/** Seconds for reading the first n tokens, and for writing n behind `depth` others. */
double nct_speed_read(const nct_speed *speed, size_t n);
double nct_speed_write(const nct_speed *speed, size_t depth, size_t n);

/** "under 0.1 s", "2.5 s", "3 min 40 s". Returns buf or a constant. */
const char *nct_speed_time(double seconds, char buf[32]);

/** What a prompt of n_prompt tokens and n_samples answers of up to n_answer take: a line or two, or `"time":{..}`, null where
 *  it is not known. */
void nct_speed_print(const nct_speed *speed, size_t n_prompt, size_t n_answer, size_t n_samples,
                     nct_output *out);
void nct_speed_print_json(const nct_speed *speed, size_t n_prompt, size_t n_answer, size_t n_samples,
                          nct_output *out);

#endif
