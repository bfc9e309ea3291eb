#include "text/fence.h"

#include <string.h>

/* Length of the run of backquotes or tildes that begins the line, at most three spaces in; 0: it is no fence. */
static size_t run_of(const char *line, size_t n, char *mark) {
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

bool nct_fence_line(nct_fence *fence, const char *line, size_t n) {
    char mark;
    size_t length = run_of(line, n, &mark);
    if (length == 0)
        return false;
    if (fence->length == 0) {
        *fence = (nct_fence){mark, length};
        return true;
    }
    while (n && (line[n - 1] == ' ' || line[n - 1] == '\r'))
        n--;
    bool bare = n == 0 || line[n - 1] == mark; /* a closing fence has no word behind it */
    if (mark != fence->mark || length < fence->length || !bare)
        return false;
    *fence = (nct_fence){0};
    return true;
}

bool nct_fence_block(const char *text, size_t n, bool last, size_t *begin, size_t *end) {
    bool found = false;
    nct_fence fence = {0};
    size_t from = 0;
    for (size_t at = 0; at < n;) {
        const char *stop = memchr(text + at, '\n', n - at);
        size_t length = stop ? (size_t)(stop - text) - at : n - at, next = at + length + (stop != NULL);
        if (nct_fence_line(&fence, text + at, length)) {
            if (fence.length) {
                from = next;
            } else {
                *begin = from;
                *end = at;
                found = true;
                if (!last)
                    return true;
            }
        }
        at = next;
    }
    if (fence.length) {
        *begin = from;
        *end = n;
        found = true;
    }
    return found;
}
