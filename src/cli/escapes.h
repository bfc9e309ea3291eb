/** What terminals send for keys that are no characters. There are several spellings of each, of which the line editor
 *  knows the one that terminfo names; here they all become keys that it has, and those that it has no use for nothing,
 *  instead of characters in the line. */
#ifndef NCT_CLI_ESCAPES_H
#define NCT_CLI_ESCAPES_H

#include <stdbool.h>
#include <stddef.h>

enum { NCT_ESCAPE_BYTES = 32 }; /* that a sequence may take behind its ESC */

/** Whether these n > 0 bytes, which came behind an ESC, are all of the sequence. */
bool nct_escape_is_whole(const char *sequence, size_t n);
/** What an editor with emacs' keys should read instead of ESC and these n bytes; "" for nothing. NULL: what came, as
 *  it is. Delete is "\033[3~", which must be bound: Ctrl-D also leaves. */
const char *nct_escape_keys(const char *sequence, size_t n);

#endif
