#include "cli/svg.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/utf8.h"

static void write_escaped(nct_output *out, const char *text, size_t n) {
    static const char *const names[] = {['<'] = "&lt;", ['>'] = "&gt;", ['&'] = "&amp;", ['"'] = "&quot;"};
    for (size_t i = 0; i < n;) {
        uint32_t c = 0;
        size_t length = nct_utf8_decode(text + i, n - i, &c);
        bool sound = length && (c >= 0x20 || c == '\t' || c == '\n') && c != 0xfffe && c != 0xffff;
        if (sound && c < sizeof names / sizeof *names && names[c])
            nct_output_print(out, "%s", names[c]);
        else if (sound)
            nct_output_write(out, text + i, length);
        else
            nct_output_write(out, "\xef\xbf\xbd", 3);
        i += length ? length : 1;
    }
}

void nct_svg_begin(nct_output *out, double width, double height, const char *title, const char *description) {
    nct_output_print(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %g %g\" width=\"%g\" height=\"%g\" "
        "role=\"img\">\n<title>",
        width, height, width, height);
    write_escaped(out, title, strlen(title));
    nct_output_print(out, "</title>\n<desc>");
    write_escaped(out, description, strlen(description));
    nct_output_print(out, "</desc>\n<style>\n"
                          "text { font: 12px system-ui, sans-serif; fill: #222 }\n"
                          ".page { fill: #fff } .empty { fill: none; stroke: #bbb }\n"
                          "@media (prefers-color-scheme: dark) { text { fill: #ddd } .page { fill: #1b1b1b } "
                          ".empty { stroke: #555 } }\n"
                          "</style>\n<rect class=\"page\" width=\"100%%\" height=\"100%%\"/>\n"
                          "<text x=\"16\" y=\"28\" style=\"font-size: 15px\">");
    write_escaped(out, title, strlen(title));
    nct_output_print(out, "</text>\n");
}

void nct_svg_end(nct_output *out) { nct_output_print(out, "</svg>\n"); }

void nct_svg_text(nct_output *out, double x, double y, nct_svg_anchor anchor, const char *fmt, ...) {
    static const char *const names[] = {"start", "middle", "end"};
    char text[512];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    nct_output_print(out, "<text x=\"%g\" y=\"%g\" text-anchor=\"%s\">", x, y, names[anchor]);
    write_escaped(out, text, strlen(text));
    nct_output_print(out, "</text>\n");
}

void nct_svg_box(nct_output *out, double x, double y, double width, double height, double share,
                 const char *tip) {
    /* from a dark red over yellow to a blue green: also apart for eyes that do not tell red from green */
    static const double stop[3][3] = {{165, 0, 38}, {254, 224, 144}, {26, 152, 128}};
    nct_output_print(out, "<rect x=\"%g\" y=\"%g\" width=\"%g\" height=\"%g\"", x, y, width, height);
    if (isnan(share)) {
        nct_output_print(out, " class=\"empty\"");
    } else {
        double at = 2 * fmin(fmax(share, 0), 1);
        const double *from = at < 1 ? stop[0] : stop[1], *to = at < 1 ? stop[1] : stop[2];
        double part = at < 1 ? at : at - 1;
        nct_output_print(out, " fill=\"#%02x%02x%02x\"", (unsigned)(from[0] + part * (to[0] - from[0]) + 0.5),
                         (unsigned)(from[1] + part * (to[1] - from[1]) + 0.5),
                         (unsigned)(from[2] + part * (to[2] - from[2]) + 0.5));
    }
    if (tip) {
        nct_output_print(out, "><title>");
        write_escaped(out, tip, strlen(tip));
        nct_output_print(out, "</title></rect>\n");
    } else {
        nct_output_print(out, "/>\n");
    }
}
