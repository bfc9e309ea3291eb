/** How texts fill a terminal: what is measured in columns, and where lines are cut. */
#ifndef NCT_CLI_FOLD_H
#define NCT_CLI_FOLD_H

#include "base/bytes.h"

/** Columns that n bytes of UTF-8 take: wide characters two, marks that join the one before none. Bytes that are no
 *  UTF-8 count one each. */
size_t nct_columns(const char *text, size_t n);
/** Bytes of whole characters at the beginning that take at most so many columns. */
size_t nct_fitting(const char *text, size_t n, size_t columns);

/** Adds a line (without its newline) and a newline, cut between words so that each piece takes at most so many columns;
 *  the second and later ones begin `hang` columns in. Words that are longer stay whole, and no piece ends before a "·". */
nct_status nct_fold_line(const char *line, size_t n, size_t columns, size_t hang, nct_bytes *out,
                         nct_error *err);
/** The same with every line of a text. What is laid out as "  name   what it is" goes on below what it is, if that begins
 *  in the left half; other lines go on two columns further in than they begin. */
nct_status nct_fold_text(const char *text, size_t columns, nct_bytes *out, nct_error *err);

#endif
