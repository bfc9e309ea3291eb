/** Fenced blocks in a text, as Markdown has them. */
#ifndef NCT_CLI_EXTRACT_H
#define NCT_CLI_EXTRACT_H

#include <stdbool.h>
#include <stddef.h>

/** The bytes of the first fenced block, or of the last: without its fences, with its last newline. A block that is not
 *  closed ends with the text. False if there is none. */
bool nct_extract_block(const char *text, size_t n, bool last, size_t *begin, size_t *end);

#endif
