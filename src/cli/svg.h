/** Drawings as SVG: a page with a title and a description for those who cannot see it, texts and boxes, in colours
 *  that suit light and dark surroundings. Texts are escaped; what XML cannot hold becomes U+FFFD. */
#ifndef NCT_CLI_SVG_H
#define NCT_CLI_SVG_H

#include "cli/output.h"

/** Begins a page of this size with a title on top, 16 units from the edges. */
void nct_svg_begin(nct_output *out, double width, double height, const char *title, const char *description);
void nct_svg_end(nct_output *out);

typedef enum nct_svg_anchor { NCT_SVG_START, NCT_SVG_MIDDLE, NCT_SVG_END } nct_svg_anchor;

/** A line of text whose baseline begins, has its middle, or ends at (x, y). */
void nct_svg_text(nct_output *out, double x, double y, nct_svg_anchor anchor, const char *fmt, ...)
    NCT_PRINTF(5, 6);

/** A box. share 0 to 1: its colour between the worst and the best; NaN: an empty one. tip: shown where the
 *  pointer rests, or NULL. */
void nct_svg_box(nct_output *out, double x, double y, double width, double height, double share,
                 const char *tip);

#endif
