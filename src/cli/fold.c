#include "cli/fold.h"

#include <stdint.h>
#include <string.h>

#include "base/unicode.h"
#include "base/utf8.h"

/* ------------------------------------------------------------------ columns */

/* The character at the beginning, and its bytes: one where it is no UTF-8, which terminals draw as one sign. */
static size_t next_character(const char *text, size_t n, size_t *columns) {
    uint32_t code;
    size_t bytes = nct_utf8_decode(text, n, &code);
    *columns = bytes ? nct_unicode_columns(code) : 1;
    return bytes ? bytes : 1;
}

size_t nct_columns(const char *text, size_t n) {
    size_t columns = 0, wide;
    for (size_t at = 0; at < n; columns += wide)
        at += next_character(text + at, n - at, &wide);
    return columns;
}

size_t nct_fitting(const char *text, size_t n, size_t columns) {
    size_t at = 0, used = 0, wide;
    while (at < n) {
        size_t bytes = next_character(text + at, n - at, &wide);
        used += wide;
        if (used > columns)
            break;
        at += bytes;
    }
    return at;
}

/* ------------------------------------------------------------------ folding */

/* Bytes of a text that fit so many columns, up to a space that no "·" follows; a first word that is longer is whole. */
static size_t find_cut(const char *text, size_t n, size_t columns) {
    size_t most = nct_fitting(text, n, columns), best = 0;
    if (most == n)
        return n;
    for (size_t i = 1; i < n && (i <= most || !best); i++)
        if (text[i] == ' ' && text[i - 1] != ' ' && (i + 2 >= n || memcmp(text + i + 1, "\xc2\xb7", 2) != 0))
            best = i;
    return best ? best : n;
}

nct_status nct_fold_line(const char *line, size_t n, size_t columns, size_t hang, nct_bytes *out,
                         nct_error *err) {
    size_t indent = 0;
    while (indent < n && line[indent] == ' ')
        indent++;
    for (size_t room = columns, before = indent; n; room = columns - hang, before = 0) {
        size_t taken =
            before < n ? before + find_cut(line + before, n - before, room > before ? room - before : 1) : n;
        NCT_TRY(nct_bytes_add(out, line, taken, err));
        line += taken;
        n -= taken;
        for (; n && *line == ' '; n--)
            line++;
        if (n)
            NCT_TRY(nct_bytes_printf(out, err, "\n%*s", (int)hang, ""));
    }
    return nct_bytes_add(out, "\n", 1, err);
}

/* Where a line goes on. */
static size_t find_hang(const char *line, size_t n, size_t columns) {
    size_t indent = 0;
    while (indent < n && line[indent] == ' ')
        indent++;
    for (size_t at = indent; at + 2 < n; at++)
        if (line[at] == ' ' && line[at + 1] == ' ') {
            size_t end = at;
            while (end < n && line[end] == ' ')
                end++;
            size_t hang = nct_columns(line, end);
            return hang <= columns / 2 ? hang : indent + 2;
        }
    return indent + 2;
}

nct_status nct_fold_text(const char *text, size_t columns, nct_bytes *out, nct_error *err) {
    for (const char *end; *text; text = *end ? end + 1 : end) {
        end = text + strcspn(text, "\n");
        size_t n = (size_t)(end - text), hang = find_hang(text, n, columns);
        NCT_TRY(nct_fold_line(text, n, hang < columns ? columns : SIZE_MAX, hang, out, err));
    }
    return NCT_OK;
}
