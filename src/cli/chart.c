#include "cli/chart.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "cli/png.h"
#include "cli/svg.h"

enum { WIDTH = 720, PANEL = 260, LEFT = 70, RIGHT = 20, TOP = 76, PLOT = 170, LINES = 4 };

void nct_chart_add(nct_panel_chart *panel, const char *name, double x, double y) {
    nct_series *s = panel->series;
    while (s < panel->series + panel->n_series && strcmp(s->name, name) != 0)
        s++;
    if (s == panel->series + panel->n_series) {
        if (panel->n_series == NCT_CHART_SERIES)
            return;
        panel->n_series++;
        *s = (nct_series){.n = 0};
        snprintf(s->name, sizeof s->name, "%s", name);
    }
    if (s->n < NCT_CHART_POINTS) {
        s->x[s->n] = x;
        s->y[s->n++] = y;
    }
}

/* ------------------------------------------------------------------ scales */

typedef struct scale {
    double low, high; /* of x, as exponents of 2; nothing held stands one to the left of the least */
    double zero;      /* where that is */
    double top;       /* of y, which begins at 0 */
} scale;

static double round_up(double v) {
    double unit = pow(10, floor(log10(v)));
    static const double steps[] = {1, 1.5, 2, 3, 4, 5, 6, 8, 10};
    size_t i = 0;
    while (i < 8 && steps[i] * unit < v)
        i++;
    return steps[i] * unit;
}

static scale scale_of(const nct_panel_chart *p) {
    double least = INFINITY, most = 0, top = 0;
    bool zero = false;
    for (size_t s = 0; s < p->n_series; s++)
        for (size_t i = 0; i < p->series[s].n; i++) {
            double x = p->series[s].x[i];
            zero |= x == 0;
            least = x > 0 ? fmin(least, x) : least;
            most = fmax(most, x);
            top = fmax(top, p->series[s].y[i]);
        }
    scale a = {.top = top > 0 ? round_up(top) : 1};
    if (!(most > 0))
        least = most = 1;
    a.zero = log2(least) - 1;
    a.low = zero ? a.zero : log2(least);
    a.high = log2(most);
    if (a.high <= a.low)
        a.high = a.low + 1;
    return a;
}

/* 0 to 1. */
static double place(const scale *a, double x) { return ((x > 0 ? log2(x) : a->zero) - a->low) / (a->high - a->low); }

/* "32k", as flags have it. */
static const char *short_number(double v, char buf[24]) {
    if (v >= 1024 && fmod(v, 1024) == 0)
        snprintf(buf, 24, "%.0fk", v / 1024);
    else
        snprintf(buf, 24, "%.4g", v);
    return buf;
}

static const char *y_number(double v, char buf[24]) {
    snprintf(buf, 24, v >= 100 ? "%.0f" : "%.3g", v);
    return buf;
}

/* The x values of all series, each once, ascending. Returns how many. */
static size_t ticks(const nct_panel_chart *p, double at[NCT_CHART_POINTS]) {
    size_t n = 0;
    for (size_t s = 0; s < p->n_series; s++)
        for (size_t i = 0; i < p->series[s].n; i++) {
            double x = p->series[s].x[i];
            size_t k = 0;
            while (k < n && at[k] < x)
                k++;
            if (n == NCT_CHART_POINTS || (k < n && at[k] == x))
                continue;
            memmove(at + k + 1, at + k, (n - k) * sizeof *at);
            at[k] = x;
            n++;
        }
    return n;
}

static size_t n_panels(const nct_chart *c) { return c->panel[1].n_series ? 2 : 1; }

/* ------------------------------------------------------------------ SVG */

static void svg_panel(const nct_panel_chart *p, double top, nct_output *out) {
    scale a = scale_of(p);
    double at[NCT_CHART_POINTS], width = WIDTH - LEFT - RIGHT, x = LEFT;
    char label[24];
    nct_svg_text(out, LEFT, top - 28, NCT_SVG_START, "%s", p->title);
    for (int i = 0; i <= LINES; i++) {
        double y = top + PLOT - PLOT * i / (double)LINES;
        nct_output_print(out, "<line x1=\"%d\" x2=\"%d\" y1=\"%g\" y2=\"%g\" class=\"grid\"/>\n", LEFT, WIDTH - RIGHT, y, y);
        nct_svg_text(out, LEFT - 8, y + 4, NCT_SVG_END, "%s", y_number(a.top * i / LINES, label));
    }
    size_t n = ticks(p, at);
    for (size_t i = 0; i < n; i++)
        nct_svg_text(out, LEFT + width * place(&a, at[i]), top + PLOT + 18, NCT_SVG_MIDDLE, "%s", short_number(at[i], label));
    for (size_t s = 0; s < p->n_series; s++) {
        const nct_series *r = &p->series[s];
        nct_output_print(out, "<g class=\"s%zu\"><polyline points=\"", s + 1);
        for (size_t i = 0; i < r->n; i++)
            nct_output_print(out, "%s%.1f,%.1f", i ? " " : "", LEFT + width * place(&a, r->x[i]), top + PLOT * (1 - r->y[i] / a.top));
        nct_output_print(out, "\"/>\n");
        for (size_t i = 0; i < r->n; i++)
            nct_output_print(out, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"3.5\"><title>%.4g</title></circle>\n",
                             LEFT + width * place(&a, r->x[i]), top + PLOT * (1 - r->y[i] / a.top), r->y[i]);
        nct_output_print(out, "<circle cx=\"%g\" cy=\"%g\" r=\"4\"/></g>\n", x + 4, top - 14);
        nct_svg_text(out, x + 14, top - 10, NCT_SVG_START, "%s", r->name);
        x += 30 + 7 * (double)strlen(r->name);
    }
}

void nct_chart_svg(const nct_chart *c, nct_output *out) {
    static const char *const colours[] = {"#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#785e3c", "#808080"};
    char description[512];
    size_t n = n_panels(c);
    int length = snprintf(description, sizeof description, "Lines over a binary logarithmic axis.");
    for (size_t k = 0; k < n; k++)
        for (size_t s = 0; s < c->panel[k].n_series && length < (int)sizeof description; s++) {
            const nct_series *r = &c->panel[k].series[s];
            length += snprintf(description + length, sizeof description - (size_t)length, " %s: %.4g to %.4g.", r->name, r->y[0],
                               r->y[r->n - 1]);
        }
    nct_svg_begin(out, WIDTH, TOP + PANEL * (double)n - 30, c->title, description);
    nct_output_print(out, "<style>.grid { stroke: #999; stroke-opacity: .35 } polyline { fill: none; stroke-width: 2 }\n");
    for (size_t s = 0; s < NCT_CHART_SERIES; s++)
        nct_output_print(out, ".s%zu { stroke: %s; fill: %s }\n", s + 1, colours[s], colours[s]);
    nct_output_print(out, "</style>\n");
    for (size_t k = 0; k < n; k++)
        svg_panel(&c->panel[k], TOP + PANEL * (double)k, out);
    nct_svg_end(out);
}

/* ------------------------------------------------------------------ PNG */

static void png_panel(const nct_panel_chart *p, int top, nct_raster *r) {
    scale a = scale_of(p);
    double at[NCT_CHART_POINTS];
    char label[24];
    int width = WIDTH - LEFT - RIGHT, x = LEFT;
    nct_raster_text(r, LEFT, top - 36, 1, NCT_INK_TEXT, p->title);
    for (int i = 0; i <= LINES; i++) {
        int y = top + PLOT - PLOT * i / LINES;
        nct_raster_box(r, LEFT, y, width, 1, NCT_INK_GRID);
        y_number(a.top * i / LINES, label);
        nct_raster_text(r, LEFT - 8 - nct_raster_text_width(label, 1), y - 3, 1, NCT_INK_TEXT, label);
    }
    size_t n = ticks(p, at);
    for (size_t i = 0; i < n; i++) {
        short_number(at[i], label);
        nct_raster_text(r, LEFT + (int)(width * place(&a, at[i])) - nct_raster_text_width(label, 1) / 2, top + PLOT + 10, 1,
                        NCT_INK_TEXT, label);
    }
    for (size_t s = 0; s < p->n_series; s++) {
        const nct_series *q = &p->series[s];
        nct_ink ink = NCT_INK_1 + s;
        int before_x = 0, before_y = 0;
        for (size_t i = 0; i < q->n; i++) {
            int px = LEFT + (int)(width * place(&a, q->x[i])), py = top + (int)(PLOT * (1 - q->y[i] / a.top));
            if (i)
                nct_raster_line(r, before_x, before_y, px, py, ink);
            nct_raster_box(r, px - 3, py - 3, 7, 7, ink);
            before_x = px;
            before_y = py;
        }
        nct_raster_box(r, x, top - 20, 8, 8, ink);
        x += 14 + nct_raster_text(r, x + 12, top - 20, 1, NCT_INK_TEXT, q->name) + 16;
    }
}

nct_status nct_chart_png(const nct_chart *c, nct_output *out, nct_error *err) {
    nct_raster r;
    size_t n = n_panels(c);
    NCT_TRY(nct_raster_open(WIDTH, TOP + PANEL * (int)n - 30, &r, err));
    nct_raster_text(&r, 16, 16, 1, NCT_INK_TEXT, c->title);
    for (size_t k = 0; k < n; k++)
        png_panel(&c->panel[k], TOP + PANEL * (int)k, &r);
    nct_png_write(&r, out);
    nct_raster_close(&r);
    return NCT_OK;
}

/* ------------------------------------------------------------------ characters */

void nct_chart_text(const nct_panel_chart *p, nct_output *out) {
    enum { ROWS = 10, COLUMNS = 64 };
    static const char *const marks[] = {"●", "○", "◆", "◇", "■", "□", "▲", "△"};
    scale a = scale_of(p);
    uint8_t cell[ROWS][COLUMNS] = {{0}};
    char line[COLUMNS + 8];
    double at[NCT_CHART_POINTS];
    if (!p->n_series)
        return;
    for (size_t s = p->n_series; s-- > 0;) /* the first is on top */
        for (size_t i = 0; i < p->series[s].n; i++) {
            int row = (int)lround((ROWS - 1) * (1 - p->series[s].y[i] / a.top));
            cell[row][(int)lround((COLUMNS - 1) * place(&a, p->series[s].x[i]))] = (uint8_t)(s + 1);
        }
    nct_output_print(out, "\n%s  ", p->title);
    for (size_t s = 0; s < p->n_series; s++)
        nct_output_print(out, "  %s %s", marks[s], p->series[s].name);
    nct_output_print(out, "\n");
    for (int row = 0; row < ROWS; row++) {
        int last = COLUMNS - 1;
        while (last >= 0 && !cell[row][last])
            last--;
        char label[24];
        nct_output_print(out, "%8s ┤", y_number(a.top * (ROWS - 1 - row) / (ROWS - 1), label));
        for (int column = 0; column <= last; column++)
            nct_output_print(out, "%s", cell[row][column] ? marks[cell[row][column] - 1] : " ");
        nct_output_print(out, "\n");
    }
    nct_output_print(out, "         └");
    for (int column = 0; column < COLUMNS; column++)
        nct_output_print(out, "─");
    memset(line, ' ', sizeof line);
    size_t n = ticks(p, at), end = 0;
    for (size_t i = 0; i < n; i++) {
        char label[24];
        size_t length = strlen(short_number(at[i], label)), from = (size_t)lround((COLUMNS - 1) * place(&a, at[i]));
        if ((i && from <= end) || from + length > sizeof line) /* no room for it */
            continue;
        memcpy(line + from, label, length);
        end = from + length;
    }
    nct_output_print(out, "\n          %.*s\n", (int)end, line);
}
