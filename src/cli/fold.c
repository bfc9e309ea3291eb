#include "cli/fold.h"

#include <stdint.h>
#include <string.h>

/* ------------------------------------------------------------------ columns */

/* The character at the beginning, and its bytes: one where it is no UTF-8. */
static size_t next_character(const char *text, size_t n, uint32_t *code) {
    const unsigned char *b = (const unsigned char *)text;
    size_t more = b[0] < 0xc2 ? 0 : b[0] < 0xe0 ? 1 : b[0] < 0xf0 ? 2 : b[0] < 0xf5 ? 3 : 0;
    *code = more ? b[0] & (0x3fu >> more) : b[0];
    if (more >= n)
        more = 0;
    for (size_t i = 1; i <= more; i++) {
        if ((b[i] & 0xc0) != 0x80)
            return 1;
        *code = *code << 6 | (b[i] & 0x3fu);
    }
    return more + 1;
}

/* East Asian Width W and F of UAX #11 by their blocks, and what UAX #44 calls Mn in the blocks that texts have. */
static size_t width_of(uint32_t c) {
    static const uint32_t none[][2] = {{0x300, 0x36f},   {0x483, 0x489},   {0x591, 0x5bd},   {0x610, 0x61a},
                                       {0x64b, 0x65f},   {0x1ab0, 0x1aff}, {0x1dc0, 0x1dff}, {0x200b, 0x200f},
                                       {0x2060, 0x2064}, {0x20d0, 0x20ff}, {0xfe00, 0xfe0f}, {0xfe20, 0xfe2f},
                                       {0xfeff, 0xfeff}};
    static const uint32_t two[][2] = {
        {0x1100, 0x115f},   {0x2e80, 0x303e},   {0x3041, 0x4dbf},   {0x4e00, 0xa4cf},  {0xa960, 0xa97c},
        {0xac00, 0xd7a3},   {0xf900, 0xfaff},   {0xfe30, 0xfe6f},   {0xff00, 0xff60},  {0xffe0, 0xffe6},
        {0x1f300, 0x1f64f}, {0x1f680, 0x1f6ff}, {0x1f900, 0x1faff}, {0x20000, 0x3fffd}};
    for (size_t i = 0; i < sizeof none / sizeof *none; i++)
        if (c >= none[i][0] && c <= none[i][1])
            return 0;
    for (size_t i = 0; i < sizeof two / sizeof *two; i++)
        if (c >= two[i][0] && c <= two[i][1])
            return 2;
    return 1;
}

size_t nct_columns(const char *text, size_t n) {
    size_t columns = 0;
    uint32_t code;
    for (size_t at = 0; at < n; columns += width_of(code))
        at += next_character(text + at, n - at, &code);
    return columns;
}

size_t nct_fitting(const char *text, size_t n, size_t columns) {
    size_t at = 0, used = 0;
    uint32_t code;
    while (at < n) {
        size_t bytes = next_character(text + at, n - at, &code);
        used += width_of(code);
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
