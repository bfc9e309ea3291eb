/** A file of records, one JSON object a line, to which finished work is added so that a command that was stopped
 *  goes on where it was. Each record is one write; a last line that was torn off is cut away; one command at a
 *  time holds the file.
 */
#ifndef NCT_CLI_JOURNAL_H
#define NCT_CLI_JOURNAL_H

#include "base/json.h"
#include "cli/cli.h"

typedef struct nct_journal {
    const nct_cli *cli;
    char *path;
    int fd;
    uint64_t n_bytes;   /* whole records in the file */
    uint64_t synced_ns; /* when they were last made safe from a power cut .. */
    bool dirty;         /* .. and whether something was added since */
    nct_json **record;  /* [n_records] those that were there; each an object */
    size_t n_records, capacity;
} nct_journal;

/** Opens the file, made if it does not exist, and reads its records. A line that is none is exit 1, a file that
 *  another command holds exit 2. Returns an nct_exit; complaints are printed. */
int nct_journal_open(const nct_cli *cli, const char *path, nct_journal *journal);

/** The same for files of any size: records are handed over one by one, with their place, and not kept. A last line that
 *  is damaged is cut away like one that was torn off. With `anew` what the file held goes. `take` returns an nct_exit, and
 *  may be NULL. */
typedef int nct_journal_fn(void *context, const nct_json *record, uint64_t off, size_t n_bytes);
int nct_journal_open_each(const nct_cli *cli, const char *path, bool anew, nct_journal_fn *take, void *context,
                          nct_journal *journal);

/** Goes once more through all records that are in the file now. */
int nct_journal_each(const nct_journal *journal, nct_journal_fn *take, void *context);

/** Hands over one record that was added or read, [off, off + n_bytes) without its newline. */
int nct_journal_read(const nct_journal *journal, uint64_t off, size_t n_bytes, nct_bytes *text);

/** Makes what was added safe from a power cut, if that was not done for a second; to be called now and then. */
void nct_journal_sync(nct_journal *journal);

/** The newest of the records read whose "key" is this; NULL if there is none. */
const nct_json *nct_journal_find(const nct_journal *journal, const char *key);

/** Adds a record: a line without its newline, which is appended to it. What a full disk cuts short is taken
 *  back. Returns an nct_exit. */
int nct_journal_add(nct_journal *journal, nct_bytes *line);

/** Closes the file; with `remove` it goes. Zeroed is fine. */
void nct_journal_close(nct_journal *journal, bool remove);

#endif
