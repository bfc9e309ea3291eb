/** What is known of this host from an earlier measurement: how many threads decode and prefill best. Kept in
 *  $XDG_CACHE_HOME/noctule (or ~/.cache/noctule), a file a host; written by `doctor` and `bench threads` only, so
 *  that nothing is timed before the first token of a run. No result depends on it. */
#ifndef NCT_CLI_HOST_H
#define NCT_CLI_HOST_H

#include "base/bytes.h"

typedef struct nct_host {
    int threads, threads_batch;
    bool by_bench; /* measured with a model, not derived from bandwidth */
} nct_host;

/** Reads and writes a small text of the host's own in that folder. False if there is none, or no place. */
bool nct_host_load(const char *name, nct_bytes *text);
bool nct_host_store(const char *name, const nct_bytes *text);

/** False if there is none, if it is of another processor or another number of usable ones, or damaged. */
bool nct_host_read(nct_host *host);

/** Keeps it; what was measured with a model is not replaced by what was not. False, and nothing changed, if it
 *  cannot be written or need not be. */
bool nct_host_write(const nct_host *host);

#endif
