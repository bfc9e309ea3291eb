/** Fenced blocks of code in a text, as Markdown has them. */
#ifndef NCT_TEXT_FENCE_H
#define NCT_TEXT_FENCE_H

#include <stdbool.h>
#include <stddef.h>

/** What opened a block. Zeroed: none is open. */
typedef struct nct_fence {
    char mark;     /* ` or ~ */
    size_t length; /* of its run */
} nct_fence;

/** Looks at the next line, without its newline. True if the line is a fence: one that opens a block, or the one that
 *  closes the block that is open; *fence follows. */
bool nct_fence_line(nct_fence *fence, const char *line, size_t n);

/** The bytes of the first fenced block, or of the last: without its fences, with its last newline. A block that is not
 *  closed ends with the text. False if there is none. */
bool nct_fence_block(const char *text, size_t n, bool last, size_t *begin, size_t *end);

#endif
