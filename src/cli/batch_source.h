/** The records of a batch, one after another: lines of JSON Lines or prompts, names in a list, or the files that were
 *  named. Files and stdin are read a block at a time and never beyond the record that is asked for by more than that, so
 *  an open pipe gives its first record as soon as it is there.
 */
#ifndef NCT_CLI_BATCH_SOURCE_H
#define NCT_CLI_BATCH_SOURCE_H

#include "cli/cli.h"

typedef enum nct_batch_record_kind {
    NCT_RECORD_JSON, /* text is an object, unless it is damaged */
    NCT_RECORD_LINE, /* text is a prompt */
    NCT_RECORD_FILE, /* text is the name of a file */
} nct_batch_record_kind;

typedef struct nct_batch_record {
    nct_batch_record_kind kind;
    nct_bytes text;
    const char *source; /* where it comes from, "stdin" for one; borrowed */
    uint64_t line;      /* of it, from 1; 0: it was named on the command line */
    const char *fault;  /* why it cannot be used, or NULL */
} nct_batch_record;

typedef struct nct_source nct_source;

/** Decides from the arguments where records come from. Returns an nct_exit; complaints are printed. */
int nct_source_open(const nct_cli *cli, nct_source **source);
void nct_source_close(nct_source *source); /* NULL is fine */

/** True if everything can be read a second time: no pipe. */
bool nct_source_is_regular(const nct_source *source);
/** Begins once more. */
void nct_source_rewind(nct_source *source);

typedef enum nct_got { NCT_GOT_RECORD, NCT_GOT_LATER, NCT_GOT_END, NCT_GOT_FAILURE, NCT_GOT_REFUSED } nct_got;

/** The next record, which takes the place of *record (zeroed, or of an earlier call; its text is freed by the caller at
 *  the end). LATER: a pipe holds none at the moment, nor
 *  does a moment later if `wait`. FAILURE: reading failed; REFUSED: it is
 *  nothing that holds records; both were printed. */
nct_got nct_source_next(nct_source *source, bool wait, nct_batch_record *record);

#endif
