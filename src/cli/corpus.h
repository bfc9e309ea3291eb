/** Texts of any size from files and pipes, taken piece by piece and worked on by all threads: what freq counts and
 *  filter scores. While pieces are worked on the next are read; what is made of them does not depend on where they end.
 *
 *  A file, or stdin, is JSON Lines if a field was named, if its name ends in .jsonl, or if it begins with {": each
 *  line is an object, the document its field. Else it is text: as a whole (pieces end where a vocabulary's encoding may
 *  be cut) or one document a line. A byte-order mark is dropped; compressed files, UTF-16 and NULs are refused.
 */
#ifndef NCT_CLI_CORPUS_H
#define NCT_CLI_CORPUS_H

#include "base/json.h"
#include "base/pool.h"
#include "cli/progress.h"
#include "text/bpe.h"

/** A stretch of a batch: whole lines, or of a text as much as goes together. */
typedef struct nct_corpus_piece {
    const char *name; /* of the file, for messages */
    const char *text; /* valid during the call */
    size_t n;
    uint64_t line; /* number of its first line, from 1; for whole lines only */
    bool json;     /* lines of JSON */
    bool begins;   /* a text begins here */
} nct_corpus_piece;

typedef struct nct_corpus {
    const nct_cli *cli;
    const char *const *paths; /* "-" is stdin */
    size_t n_paths;
    const nct_vocab *vocab; /* NULL: text is one document a line */
    const char *what;       /* "counting", of the progress shown */
    void *context;
    /** Works on piece number `index` of a batch, on any thread. False: it failed, and `err` says why. */
    bool (*work)(void *context, const nct_corpus_piece *piece, size_t index, int worker, nct_error *err);
    /** After a batch of n pieces, on the calling thread, in the order read. Returns an nct_exit; may be NULL. */
    int (*done)(void *context, size_t n);
    uint64_t n_bytes; /* out: read so far */
} nct_corpus;

enum { NCT_CORPUS_PIECES = 64 }; /* of a batch, at most */

/** Goes through all paths. Complaints are printed; returns an nct_exit. A piece that fails ends it, the earliest of
 *  them named; a signal too, with the exit code that belongs to it. */
int nct_corpus_run(nct_corpus *corpus, nct_pool *pool);

/** Threads that -t asks for, or that the process may use. */
int nct_corpus_threads(const nct_cli *cli);

/** The text of a line of JSON: field --field, else "text". Parses `line` (n bytes) and closes nothing on failure;
 *  *json is the caller's to close. `number` appears in messages. */
nct_status nct_corpus_field(const nct_cli *cli, const nct_corpus_piece *piece, uint64_t number,
                            const char *line, size_t n, nct_json **json, const char **text, nct_error *err);

/** The next line of a piece: its bytes without the newline. False: there is none. *at begins at 0. */
bool nct_corpus_line(const nct_corpus_piece *piece, size_t *at, const char **line, size_t *n);

#endif
