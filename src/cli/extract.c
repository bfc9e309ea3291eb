#include "cli/extract.h"

#include <string.h>

/* Length of the run of backquotes or tildes that a fence of this line has, at most three spaces in; 0: none. */
static size_t fence(const char *line, size_t n, char *mark) {
    size_t space = 0, length = 0;
    while (space < n && space < 3 && line[space] == ' ')
        space++;
    if (space == n || (line[space] != '`' && line[space] != '~'))
        return 0;
    *mark = line[space];
    while (space + length < n && line[space + length] == *mark)
        length++;
    if (length < 3 || (*mark == '`' && memchr(line + space + length, '`', n - space - length)))
        return 0; /* ```x``` on one line is a span of code */
    return length;
}

static bool is_closing(const char *line, size_t n, char mark, size_t opened) {
    char own;
    size_t length = fence(line, n, &own);
    if (length < opened || own != mark)
        return false;
    while (n && (line[n - 1] == ' ' || line[n - 1] == '\r'))
        n--;
    return line[n - 1] == mark;
}

bool nct_extract_block(const char *text, size_t n, bool last, size_t *begin, size_t *end) {
    bool found = false, open = false;
    char mark = 0;
    size_t opened = 0, from = 0;
    for (size_t at = 0; at < n;) {
        const char *stop = memchr(text + at, '\n', n - at);
        size_t length = stop ? (size_t)(stop - text) - at : n - at, next = at + length + (stop != NULL);
        if (open && is_closing(text + at, length, mark, opened)) {
            *begin = from;
            *end = at;
            found = true;
            open = false;
            if (!last)
                return true;
        } else if (!open && (opened = fence(text + at, length, &mark))) {
            open = true;
            from = next;
        }
        at = next;
    }
    if (open) {
        *begin = from < n ? from : n;
        *end = n;
        found = true;
    }
    return found;
}
