/** Where a product goes: stdout, or a file that appears only when it is whole.
 *
 *  A terminal sees every piece at once, a pipe each sentence or line or what came in 100 ms, a file whole
 *  buffers. The first write that fails is remembered and ends everything: a closed pipe is exit 141
 *  without a word, anything else exit 1 with its reason.
 */
#ifndef NCT_CLI_OUTPUT_H
#define NCT_CLI_OUTPUT_H

#include "cli/cli.h"

typedef struct nct_output {
    const nct_cli *cli;
    int fd;
    bool tty, regular;
    char *path, *part; /* of -o; NULL for stdout */
    nct_bytes buffer;
    uint64_t flushed_ns;
    bool folds;  /* on a terminal, what does not fit a line goes on in the next, `hang` columns in; else it is cut anywhere */
    size_t hang;
    char last;   /* last byte written, 0: none */
    int failure; /* errno of the write that failed, or 0 */
} nct_output;

/** Opens stdout (path NULL or "-") or path.part. Returns an nct_exit; complaints are printed. */
int nct_output_open(const nct_cli *cli, const char *path, nct_output *output);

/** False once writing has failed. */
bool nct_output_write(nct_output *output, const void *data, size_t n);
bool nct_output_print(nct_output *output, const char *fmt, ...) NCT_PRINTF(2, 3);
bool nct_output_flush(nct_output *output);

/** Flushes and closes. `code` is how the command ended: with NCT_EXIT_OK the file takes its name; after a
 *  signal file.part stays and is named; otherwise it is removed. Returns code, or what writing says. */
int nct_output_close(nct_output *output, int code);

#endif
