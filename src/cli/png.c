#include "cli/png.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

/* ------------------------------------------------------------------ drawing */

nct_status nct_raster_open(int width, int height, nct_raster *raster, nct_error *err) {
    void *p = NULL;
    NCT_TRY(nct_alloc(&p, (size_t)height, (size_t)width, err)); /* paper is 0 */
    *raster = (nct_raster){.width = width, .height = height, .pixel = p};
    return NCT_OK;
}

void nct_raster_close(nct_raster *raster) {
    nct_free(raster->pixel);
    *raster = (nct_raster){0};
}

void nct_raster_dot(nct_raster *r, int x, int y, nct_ink ink) {
    if (x >= 0 && x < r->width && y >= 0 && y < r->height)
        r->pixel[(size_t)y * (size_t)r->width + (size_t)x] = (uint8_t)ink;
}

void nct_raster_box(nct_raster *r, int x, int y, int width, int height, nct_ink ink) {
    for (int j = 0; j < height; j++)
        for (int i = 0; i < width; i++)
            nct_raster_dot(r, x + i, y + j, ink);
}

/* Two pixels thick, so that it shows. */
void nct_raster_line(nct_raster *r, int x0, int y0, int x1, int y1, nct_ink ink) {
    int dx = abs(x1 - x0), dy = abs(y1 - y0), steps = dx > dy ? dx : dy;
    for (int i = 0; i <= steps; i++) {
        int x = steps ? x0 + (x1 - x0) * i / steps : x0, y = steps ? y0 + (y1 - y0) * i / steps : y0;
        nct_raster_box(r, x, y, 2, 2, ink);
    }
}

/* Rows of five bits, the uppermost first. */
static const uint8_t glyphs[128][7] = {
    ['0'] = {14, 17, 19, 21, 25, 17, 14},
    ['1'] = {4, 12, 4, 4, 4, 4, 14},
    ['2'] = {14, 17, 1, 2, 4, 8, 31},
    ['3'] = {31, 2, 4, 2, 1, 17, 14},
    ['4'] = {2, 6, 10, 18, 31, 2, 2},
    ['5'] = {31, 16, 30, 1, 1, 17, 14},
    ['6'] = {6, 8, 16, 30, 17, 17, 14},
    ['7'] = {31, 1, 2, 4, 8, 8, 8},
    ['8'] = {14, 17, 17, 14, 17, 17, 14},
    ['9'] = {14, 17, 17, 15, 1, 2, 12},
    ['A'] = {14, 17, 17, 31, 17, 17, 17},
    ['B'] = {30, 17, 17, 30, 17, 17, 30},
    ['C'] = {14, 17, 16, 16, 16, 17, 14},
    ['D'] = {28, 18, 17, 17, 17, 18, 28},
    ['E'] = {31, 16, 16, 30, 16, 16, 31},
    ['F'] = {31, 16, 16, 30, 16, 16, 16},
    ['G'] = {14, 17, 16, 23, 17, 17, 15},
    ['H'] = {17, 17, 17, 31, 17, 17, 17},
    ['I'] = {14, 4, 4, 4, 4, 4, 14},
    ['J'] = {7, 2, 2, 2, 2, 18, 12},
    ['K'] = {17, 18, 20, 24, 20, 18, 17},
    ['L'] = {16, 16, 16, 16, 16, 16, 31},
    ['M'] = {17, 27, 21, 21, 17, 17, 17},
    ['N'] = {17, 17, 25, 21, 19, 17, 17},
    ['O'] = {14, 17, 17, 17, 17, 17, 14},
    ['P'] = {30, 17, 17, 30, 16, 16, 16},
    ['Q'] = {14, 17, 17, 17, 21, 18, 13},
    ['R'] = {30, 17, 17, 30, 20, 18, 17},
    ['S'] = {15, 16, 16, 14, 1, 1, 30},
    ['T'] = {31, 4, 4, 4, 4, 4, 4},
    ['U'] = {17, 17, 17, 17, 17, 17, 14},
    ['V'] = {17, 17, 17, 17, 17, 10, 4},
    ['W'] = {17, 17, 17, 21, 21, 21, 10},
    ['X'] = {17, 17, 10, 4, 10, 17, 17},
    ['Y'] = {17, 17, 17, 10, 4, 4, 4},
    ['Z'] = {31, 1, 2, 4, 8, 16, 31},
    ['.'] = {0, 0, 0, 0, 0, 12, 12},
    [','] = {0, 0, 0, 0, 12, 4, 8},
    ['-'] = {0, 0, 0, 31, 0, 0, 0},
    ['+'] = {0, 4, 4, 31, 4, 4, 0},
    ['/'] = {0, 1, 2, 4, 8, 16, 0},
    ['%'] = {24, 25, 2, 4, 8, 19, 3},
    ['('] = {2, 4, 8, 8, 8, 4, 2},
    [')'] = {8, 4, 2, 2, 2, 4, 8},
    [':'] = {0, 12, 12, 0, 12, 12, 0},
    ['@'] = {14, 17, 1, 13, 21, 21, 14},
    ['_'] = {0, 0, 0, 0, 0, 0, 31},
    ['='] = {0, 0, 31, 0, 31, 0, 0},
    ['*'] = {0, 4, 21, 14, 21, 4, 0},
};

int nct_raster_text_width(const char *text, int scale) { return 6 * scale * (int)strlen(text); }

int nct_raster_text(nct_raster *r, int x, int y, int scale, nct_ink ink, const char *text) {
    for (const char *c = text; *c; c++, x += 6 * scale)
        for (int row = 0; row < 7; row++)
            for (int bit = 0; bit < 5; bit++)
                if (glyphs[toupper((unsigned char)*c) & 127][row] >> (4 - bit) & 1 && (unsigned char)*c < 128)
                    nct_raster_box(r, x + bit * scale, y + row * scale, scale, scale, ink);
    return nct_raster_text_width(text, scale);
}

/* ------------------------------------------------------------------ the file */

static uint32_t crc_of(uint32_t crc, const uint8_t *p, size_t n) { /* ISO 3309, as the PNG specification's annex */
    crc = ~crc;
    for (size_t i = 0; i < n; i++) {
        crc ^= p[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc & 1 ? crc >> 1 ^ 0xedb88320u : crc >> 1;
    }
    return ~crc;
}

static void put32(uint8_t *to, uint32_t v) {
    for (int i = 0; i < 4; i++)
        to[i] = (uint8_t)(v >> (24 - 8 * i));
}

static void write_chunk(nct_output *out, const char type[4], const uint8_t *data, size_t n) {
    uint8_t head[8], tail[4];
    put32(head, (uint32_t)n);
    memcpy(head + 4, type, 4);
    put32(tail, crc_of(crc_of(0, head + 4, 4), data, n));
    nct_output_write(out, head, sizeof head);
    nct_output_write(out, data, n);
    nct_output_write(out, tail, sizeof tail);
}

static void fill_palette(uint8_t rgb[NCT_INK_LAST + 1][3]) {
    static const uint8_t plain[NCT_INK_SHARE][3] = {
        {255, 255, 255}, {34, 34, 34},   {208, 208, 208}, {0, 114, 178},  {213, 94, 0},   {0, 158, 115},
        {204, 121, 167}, {230, 159, 0}, {86, 180, 233},  {120, 94, 60}, {90, 90, 90}};
    static const int stop[3][3] = {{165, 0, 38}, {254, 224, 144}, {26, 152, 128}}; /* as nct_svg_box */
    memcpy(rgb, plain, sizeof plain);
    for (int i = 0; i < 64; i++)
        for (int c = 0; c < 3; c++) {
            const int *from = stop[i < 32 ? 0 : 1], *to = stop[i < 32 ? 1 : 2];
            int at = i < 32 ? i : i - 32, span = i < 32 ? 32 : 31;
            rgb[NCT_INK_SHARE + i][c] = (uint8_t)(from[c] + (to[c] - from[c]) * at / span);
        }
}

void nct_png_write(const nct_raster *r, nct_output *out) {
    uint8_t head[13] = {0}, palette[NCT_INK_LAST + 1][3];
    size_t row = (size_t)r->width + 1; /* each begins with its filter: none */
    put32(head, (uint32_t)r->width);
    put32(head + 4, (uint32_t)r->height);
    head[8] = 8; /* bits a pixel */
    head[9] = 3; /* of a palette */
    fill_palette(palette);
    nct_bytes z = {0};
    uint8_t filter = 0, end[4];
    uint32_t a = 1, b = 0; /* Adler-32 of what is stored */
    nct_bytes_add(&z, "\x78\x01", 2, NULL);
    for (int y = 0; y < r->height; y++) { /* a stored block a row: it holds at most 65535 bytes */
        const uint8_t *pixels = r->pixel + (size_t)y * (size_t)r->width;
        uint8_t block[5] = {y + 1 == r->height, (uint8_t)row, (uint8_t)(row >> 8), (uint8_t)~row, (uint8_t)(~row >> 8)};
        nct_bytes_add(&z, block, sizeof block, NULL);
        nct_bytes_add(&z, &filter, 1, NULL);
        nct_bytes_add(&z, pixels, (size_t)r->width, NULL);
        for (size_t i = 0; i < row; i++) {
            a = (a + (i ? pixels[i - 1] : filter)) % 65521;
            b = (b + a) % 65521;
        }
    }
    put32(end, b << 16 | a);
    nct_bytes_add(&z, end, sizeof end, NULL);
    nct_output_write(out, "\x89PNG\r\n\x1a\n", 8);
    write_chunk(out, "IHDR", head, sizeof head);
    write_chunk(out, "PLTE", palette[0], sizeof palette);
    write_chunk(out, "IDAT", (const uint8_t *)z.data, z.n);
    write_chunk(out, "IEND", NULL, 0);
    nct_bytes_reset(&z);
}
