/** Where the results of a batch go, and what earlier runs left there.
 *
 *  stdout: as they come, or in order. -o FILE: the file is its own journal, unless results are to be put in order or
 *  failed ones replaced: then a journal lies beside it (.FILE.noctule-journal), and the file is made from that when the
 *  batch is complete; so it is with a file for each item, which holds its text or its record. */
#ifndef NCT_CLI_BATCH_RESULTS_H
#define NCT_CLI_BATCH_RESULTS_H

#include "cli/batch_item.h"
#include "cli/journal.h"
#include "cli/output.h"

typedef struct nct_results {
    const nct_cli *cli;
    bool to_stdout, beside, pattern;
    bool has_seed; /* an earlier run's */
    uint64_t seed;
    nct_journal journal;
    nct_output out;
    nct_seen done;  /* keys of what is there; the value is attempts * 2 + 1, and one less where it failed */
    nct_seen paths; /* of a pattern: taken in this run */
    nct_seen ids;   /* beside: number of the newest record of each, from 1 */
    struct nct_result_place {
        uint64_t index, off;
        uint32_t sample;
        size_t n_bytes;
        bool replaced;
    } * place; /* beside: of every record in the journal */
    size_t n_places, places_capacity;
    struct nct_result_held {
        char *line;
        size_t n;
    } * held; /* stdout in order: [NCT_RESULTS_AHEAD] those that wait for an earlier one */
    uint64_t next;
} nct_results;

enum { NCT_RESULTS_AHEAD = 1000 }; /* results that may wait for an earlier one */

/** Opens what -o names, and reads what is there with --resume. Returns an nct_exit; complaints are printed. */
int nct_results_open(const nct_cli *cli, nct_results *results);

typedef enum nct_due {
    NCT_DUE,        /* to be done; item->attempts is counted on */
    NCT_DUE_NOT,    /* it is there */
    NCT_DUE_FAILED, /* it is there, failed */
    NCT_DUE_REFUSED /* there is something else, which nobody said might go: printed */
} nct_due;
/** Whether an item is to be done. A text that a journal has but its file has not is written. `look`: nothing is, and
 *  the item is not taken for one of this run. */
nct_due nct_results_due(nct_results *results, nct_item *item, bool look);

/** Takes a result. `order`: how many items that were due came before it. Returns an nct_exit. */
int nct_results_add(nct_results *results, const nct_item *item, uint64_t order);

/** Items from `order` on have to wait: too many results wait for an earlier one. */
bool nct_results_full(const nct_results *results, uint64_t order);

/** Closes; `code` is how the batch ended, `complete` that every item has its record. */
int nct_results_close(nct_results *results, int code, bool complete);

#endif
