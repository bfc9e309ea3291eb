/** What goes in: files, stdin and arguments to one clean text. Which of them is content, which is the
 *  instruction and what is refused is told by `noctule help pipes`.
 *
 *  Every text is UTF-8 afterwards as far as it can be: a byte-order mark is dropped, UTF-16 with one is
 *  converted, bytes that are no UTF-8 stay and are counted in one warning; a NUL, or a compressed file, is
 *  refused with what to type instead.
 */
#ifndef NCT_CLI_INPUT_H
#define NCT_CLI_INPUT_H

#include "cli/cli.h"

/** A piece of the prompt, kept apart so that errors can name the largest. */
typedef struct nct_prompt_part {
    const char *name; /* path as typed, "stdin", "the prompt"; owned by `own`, or borrowed */
    char *own;
    size_t begin, end;     /* bytes in the prompt's text */
    size_t body;           /* where its text begins, behind the header if it has one */
    bool instruction;      /* says what to do with the rest, and is never cut */
    size_t cut, lines_cut; /* --overflow dropped so many lines of it at this byte of the prompt's text */
} nct_prompt_part;

typedef struct nct_prompt {
    bool chat;      /* nothing was given and both ends are terminals: start the chat */
    bool has_ids;   /* --ids: token ids instead of text */
    nct_bytes text; /* the user's message, or the text to continue */
    nct_prompt_part *part;
    size_t n_parts, parts_capacity;
    int32_t *ids;
    size_t n_ids;
} nct_prompt;

/** Decides from arguments and streams where the prompt comes from, and reads it. Returns an nct_exit. */
int nct_prompt_read(const nct_cli *cli, nct_prompt *prompt);
void nct_prompt_close(nct_prompt *prompt);

/** Appends the files of -f (folders with -R), as a prompt holds them. */
int nct_prompt_add_files(const nct_cli *cli, nct_prompt *prompt, const nct_list *paths);

/** The files that paths name: themselves, or with -R those of a folder. *files [*n], each freed with nct_free, and the list
 *  too, after a failure as well. */
int nct_input_files(const nct_cli *cli, const nct_list *paths, char ***files, size_t *n);

/** Reads a whole file, or stdin for "-", and cleans it. */
int nct_input_read(const nct_cli *cli, const char *path, nct_bytes *text);
/** Reads without cleaning: for data that is no prompt. */
int nct_input_read_exact(const nct_cli *cli, const char *path, nct_bytes *text);

/** Cleans a text that is at hand; `name` appears in complaints. */
int nct_input_clean(const nct_cli *cli, const char *name, nct_bytes *text);
/** Appends a part to the prompt, set apart by an empty line, and drops the newline that ends a prompt. */
nct_status nct_prompt_add(nct_prompt *prompt, const char *name, const nct_bytes *text, bool instruction,
                          nct_error *err);
void nct_prompt_end(nct_prompt *prompt);

/** Complains of a compressed file by its first bytes, with what to type instead. Returns an nct_exit. */
int nct_input_refuse_packed(const nct_cli *cli, const char *name, const char *text, size_t n);

/** The text of an option that takes TEXT or @FILE; cleaned. */
int nct_input_option(const nct_cli *cli, const char *value, const char *name, nct_bytes *text);

/** Ids from "1,2,3" (any separators) or @FILE with a JSON list or the same. *ids is freed with nct_free. */
int nct_input_ids(const nct_cli *cli, const char *value, int32_t **ids, size_t *n_ids);
/** The same from a text that is at hand; `name` appears in complaints. */
int nct_parse_ids(const nct_cli *cli, const char *name, const char *text, size_t n, int32_t **ids,
                  size_t *n_ids);

#endif
