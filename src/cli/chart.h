/** Speeds over lengths as a drawing: SVG, PNG or characters. One panel above the other, each with its own scale. */
#ifndef NCT_CLI_CHART_H
#define NCT_CLI_CHART_H

#include "cli/output.h"

enum { NCT_CHART_POINTS = 64, NCT_CHART_SERIES = 8, NCT_CHART_PANELS = 2 };

typedef struct nct_series {
    char name[40];
    size_t n;
    double x[NCT_CHART_POINTS], y[NCT_CHART_POINTS]; /* x not negative; y above 0 */
} nct_series;

typedef struct nct_panel_chart {
    char title[64]; /* "prompt, tokens a second, over tokens held" */
    nct_series series[NCT_CHART_SERIES];
    size_t n_series;
} nct_panel_chart;

typedef struct nct_chart {
    char title[160]; /* what was measured, and on what */
    nct_panel_chart panel[NCT_CHART_PANELS];
} nct_chart;

/** Adds a point to the series of this name, which begins with it. What there is no room for is left out. */
void nct_chart_add(nct_panel_chart *panel, const char *name, double x, double y);

void nct_chart_svg(const nct_chart *chart, nct_output *out);
/** NCT_E_MEMORY. */
nct_status nct_chart_png(const nct_chart *chart, nct_output *out, nct_error *err);
/** One panel in at most 78 columns, with a mark for each series. */
void nct_chart_text(const nct_panel_chart *panel, nct_output *out);

#endif
