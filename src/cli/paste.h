/** Pastes into a line that is being typed. A terminal marks them, so one of many lines is one text: the line shows its
 *  size, "[pasted 214 lines, 3,180 tokens]", and gets the text itself when it is done. */
#ifndef NCT_CLI_PASTE_H
#define NCT_CLI_PASTE_H

#include "base/bytes.h"

typedef struct nct_paste {
    char shown[96];
    nct_bytes text;
} nct_paste;

/** Zeroed is none. */
typedef struct nct_pastes {
    nct_paste *paste;
    size_t n, capacity;
    nct_bytes last; /* a paste of one line */
} nct_pastes;

/** Takes a pasted text (returns become newlines, NULs go; *text is emptied) and returns what to put into the line: the text
 *  itself if it is of one line, else what stands for it, borrowed until the next call. NULL if it is empty or memory is
 *  refused. count: tokens of a text, or NULL. */
const char *nct_pastes_take(nct_pastes *pastes, nct_bytes *text,
                            size_t (*count)(void *context, const char *text, size_t n), void *context);

/** Puts the texts where the line (changed in place) still holds what stands for them, and forgets them. */
void nct_pastes_put(nct_pastes *pastes, nct_bytes *line);
void nct_pastes_close(nct_pastes *pastes);

#endif
