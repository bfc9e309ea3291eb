/** Drawings as PNG, without a library: 8-bit palette, rows unfiltered, zlib blocks stored. */
#ifndef NCT_CLI_PNG_H
#define NCT_CLI_PNG_H

#include "cli/output.h"

/** What a pixel may be. */
typedef enum nct_ink {
    NCT_INK_PAPER, NCT_INK_TEXT, NCT_INK_GRID,
    NCT_INK_1, NCT_INK_2, NCT_INK_3, NCT_INK_4, NCT_INK_5, NCT_INK_6, NCT_INK_7, NCT_INK_8, /* series */
    NCT_INK_SHARE, /* and the 64 behind it: from the worst to the best, as of nct_svg_box */
    NCT_INK_LAST = NCT_INK_SHARE + 63,
} nct_ink;

typedef struct nct_raster {
    int width, height;
    uint8_t *pixel; /* [height][width] nct_ink */
} nct_raster;

nct_status nct_raster_open(int width, int height, nct_raster *raster, nct_error *err);
void nct_raster_close(nct_raster *raster);

/** Drawing clips at the edges. */
void nct_raster_dot(nct_raster *r, int x, int y, nct_ink ink);
void nct_raster_line(nct_raster *r, int x0, int y0, int x1, int y1, nct_ink ink);
void nct_raster_box(nct_raster *r, int x, int y, int width, int height, nct_ink ink);
/** ASCII in capitals of 5 by 7 pixels, 6 from one to the next, scaled; what has no glyph is a gap. The upper left corner
 *  is at (x, y). Returns the width. */
int nct_raster_text(nct_raster *r, int x, int y, int scale, nct_ink ink, const char *text);
int nct_raster_text_width(const char *text, int scale);

void nct_png_write(const nct_raster *r, nct_output *out);

#endif
