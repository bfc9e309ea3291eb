/** The file of lines that were typed, in the form that libedit reads: a first line, then one each, what is no visible
 *  ASCII as \ooo. Several chats may write to it, and each line is there once it was sent. */
#ifndef NCT_CLI_HISTORY_H
#define NCT_CLI_HISTORY_H

#include <stdbool.h>
#include <stddef.h>

/** Adds a line, of whatever bytes; the file is made for its owner only. What cannot be written is not kept. */
void nct_history_add(const char *path, const char *text);
/** Lines that it holds; 0 if there is none. */
size_t nct_history_count(const char *path);

#endif
