/** Which lines of the input block-sparse attention looked at while an answer was written: how often each block was
 *  chosen, over all layers, key-value heads and tokens of the answer. Blocks that are attended to in any case, the
 *  first and the nearest, are not counted. A diagnostic: it tells where the model looked, not why it says what it says.
 */
#ifndef NCT_CLI_SOURCES_H
#define NCT_CLI_SOURCES_H

#include <stdatomic.h>

#include "cli/input.h"

typedef struct nct_sources {
    size_t block, n_blocks;  /* tokens of a block; blocks of the session */
    _Atomic uint32_t *count; /* [n_blocks] choices */
} nct_sources;

/** Room for so many tokens of a model, whose blocks -X may have given another size. Zeroed is closed. */
nct_status nct_sources_open(const nct_cli *cli, const nct_model_info *info, size_t n_tokens,
                            nct_sources *sources, nct_error *err);
void nct_sources_close(nct_sources *sources);
void nct_sources_clear(nct_sources *sources); /* nothing was counted */

/** An nct_choice_fn; context is the nct_sources. */
void nct_sources_count(void *sources, const nct_choice *choice);
bool nct_sources_any(const nct_sources *sources);
uint64_t nct_sources_total(const nct_sources *sources); /* choices */

/** The counts as text, and back; false if it is none of such blocks. */
nct_status nct_sources_save(const nct_sources *sources, nct_bytes *out, nct_error *err);
bool nct_sources_load(const char *text, nct_sources *sources);

/** A text that stands in the prompt, borrowed. */
typedef struct nct_source_text {
    const char *name, *text;
    size_t n;
    size_t cut, lines_cut; /* at byte `cut` so many lines of what it was are missing */
} nct_source_text;

/** The text of a part of a prompt, whose text is `all`. */
nct_source_text nct_source_text_of(const nct_prompt_part *part, const nct_bytes *all);

/** The line, from 1, that a byte of a text lies in. */
size_t nct_source_line(const nct_source_text *text, size_t at);

/** Neighbouring lines of a text. */
typedef struct nct_source {
    const char *name;   /* of the text */
    size_t first, last; /* lines, from 1 */
    double share;       /* of all choices */
    const char *quote;  /* where it was looked at most: the beginning of a block, borrowed from the text .. */
    size_t n_quote;     /* .. and its bytes */
    bool amid;          /* it does not begin where a line does */
} nct_source;

/** The lines looked at most, by descending share, at most n_most: of blocks that were chosen at least half as often as
 *  the one chosen most, neighbours joined. texts [n_texts]: what stands in the prompt ids [n_ids], in that order; the
 *  text of a prompt that is not spelled byte for byte is placed about there. *found is freed with nct_free. */
nct_status nct_sources_find(const nct_sources *sources, const nct_engine *engine, const int32_t *ids,
                            size_t n_ids, const nct_source_text *texts, size_t n_texts, size_t n_most,
                            nct_source **found, size_t *n_found, nct_error *err);
/** The same of the parts of a prompt, at most five. */
nct_status nct_sources_find_in(const nct_sources *sources, const nct_engine *engine, const int32_t *ids,
                               size_t n_ids, const nct_prompt *prompt, nct_source **found, size_t *n_found,
                               nct_error *err);

/** Prints them on stderr, a line each, labelled; or why there are none. chooses_from: of the session's report. */
void nct_sources_print(const nct_cli *cli, const nct_source *found, size_t n_found, bool any,
                       int chooses_from);
/** Of these, the lines alone, indented; what they are; and why there are none. */
void nct_sources_print_lines(const nct_cli *cli, const char *indent, const nct_source *found, size_t n_found);
void nct_sources_print_label(const nct_cli *cli);
void nct_sources_print_none(const nct_cli *cli, bool any, int chooses_from);

/** `"sources":[...]` of run --json. */
nct_status nct_sources_write_json(const nct_source *found, size_t n_found, nct_bytes *out, nct_error *err);

#endif
