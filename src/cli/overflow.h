/** Input that does not fit the context, under --overflow head, tail or middle: tokens of the content are dropped,
 *  counted and told; the instruction and the template stay whole.
 *
 *  head keeps the beginning of the content and tail its end, as the tools of these names do; middle keeps both
 *  and drops what is between. Content is what files and stdin hold, one after the other; a file whose beginning
 *  was dropped keeps its header.
 */
#ifndef NCT_CLI_OVERFLOW_H
#define NCT_CLI_OVERFLOW_H

#include "cli/input.h"

typedef enum nct_overflow {
    NCT_OVERFLOW_ERROR,
    NCT_OVERFLOW_CHUNK,
    NCT_OVERFLOW_HEAD,
    NCT_OVERFLOW_TAIL,
    NCT_OVERFLOW_MIDDLE,
} nct_overflow;

/** Refuses --overflow chunk, which is of no use to a single answer. Returns an nct_exit. */
int nct_overflow_check(const nct_cli *cli);

typedef struct nct_fit {
    const nct_cli *cli;
    const nct_engine *engine;
    nct_prompt *prompt;
    size_t n_ids;  /* tokens of all that is fed, as it is */
    size_t limit;  /* that the context holds */
    bool reserved; /* beside the answer and whatever else it has to hold */
    /* Makes the ids of all that is fed out of the prompt as it now is, and counts them. */
    nct_status (*encode)(void *context, size_t *n_ids, nct_error *err);
    void *context;
} nct_fit;

/** Makes the input fit if it does not and --overflow says how, leaving room for an answer, unless that is reserved:
 *  nct_answer_reserve, or half of the context where that is less. *n_dropped: tokens that are gone, 0 where nothing was done or
 *  could be. Returns an nct_exit; complaints are printed. */
int nct_overflow_fit(const nct_fit *fit, size_t *n_dropped);

/** What is gone of a text: so many tokens, and of the text itself bytes and lines at one place in what is left. */
typedef struct nct_text_cut {
    size_t n_tokens;
    size_t at, n_bytes, n_lines;
} nct_text_cut;

/** The same for a text of n_tokens that is content as a whole, where there is room for `room`. files: those that stand in
 *  it, whose parts move; NULL: it is one, called `name`. *cut is zeroed where nothing is done. Returns an nct_exit. */
int nct_overflow_fit_text(const nct_cli *cli, const nct_engine *engine, const char *name, nct_prompt *files,
                          size_t n_tokens, size_t room, nct_bytes *text, nct_text_cut *cut);

/** Where each token of a text ends, in bytes, never inside a character; about there, where the tokens do not spell
 *  the text byte for byte. *ends is freed with nct_free. */
nct_status nct_token_ends(const nct_engine *engine, const char *text, size_t n, bool parse_special,
                          size_t **ends, size_t *n_ends, nct_error *err);

#endif
