/* Costs and experience as text. */
#include <math.h>

#include "base/json.h"
#include "spec/adapt.h"

enum { VERSION = 3, SIZES = NCT_COST_SIZES };
static const double RATIO_MAX = 1000, DOUBT_MAX = 10;

/* ------------------------------------------------------------------ writing */

/* What is begun before the first number of a list. */
static const char *comma(size_t i) { return i ? ", " : ""; }

static nct_status write_depths(const char *key, const nct_tally *t, nct_bytes *text, nct_error *err) {
    NCT_TRY(nct_bytes_printf(text, err, ",\n \"%s\": [", key));
    for (size_t i = 0; i < NCT_EDGE_DEPTHS; i++)
        NCT_TRY(nct_bytes_printf(text, err, "%s[%.6g, %.6g]", comma(i), t[i].trials, t[i].hits));
    return nct_bytes_add_str(text, "]", err);
}

static nct_status write_tallies(const nct_adapt *a, nct_bytes *text, nct_error *err) {
    size_t n = 0;
    NCT_TRY(nct_bytes_add_str(text, ",\n \"edges\": [", err));
    for (size_t i = 0; i < NCT_EDGES; i++)
        if (a->edge[i].trials >= 0.01)
            NCT_TRY(nct_bytes_printf(text, err, "%s[%zu, %.6g, %.6g]", comma(n++), i, a->edge[i].trials,
                                     a->edge[i].hits));
    NCT_TRY(nct_bytes_add_str(text, "]", err));
    return write_depths("any", a->any, text, err);
}

nct_status nct_adapt_save(const nct_adapt *a, nct_bytes *text, nct_error *err) {
    NCT_TRY(nct_bytes_printf(text, err, "{\"noctule_spec\": %d,\n \"cost\": [", VERSION));
    for (size_t i = 0; i < SIZES; i++)
        NCT_TRY(nct_bytes_printf(text, err, "%s[%d, %.6g, %.6g]", comma(i), nct_cost_size[i],
                                 fmin(a->cost.ratio[i], RATIO_MAX),
                                 fmin(nct_cost_doubt(&a->cost, i), DOUBT_MAX)));
    NCT_TRY(nct_bytes_printf(text, err, "],\n \"pass\": [%.6g, %.6g]", fmin(a->pass.begin, RATIO_MAX),
                             fmin(a->pass.each, RATIO_MAX)));
    NCT_TRY(write_tallies(a, text, err));
    NCT_TRY(nct_bytes_printf(text, err, ",\n \"earned\": %.6g", nct_adapt_earned(a)));
    return nct_bytes_printf(text, err, ",\n \"pause\": %zu}\n", a->state == NCT_ADAPT_ON ? 0 : a->pause);
}

/* ------------------------------------------------------------------ reading */

/* A list of exactly n numbers. */
static bool numbers(const nct_json *list, double *value, size_t n) {
    if (!nct_json_is_array(list) || nct_json_size(list) != n)
        return false;
    size_t i = 0;
    for (const nct_json *item = nct_json_first(list); item; item = nct_json_next(item)) {
        value[i] = nct_json_number(item, NAN);
        if (!isfinite(value[i++]))
            return false;
    }
    return true;
}

static bool within(double x, double least, double most) { return x >= least && x <= most; }

static nct_status read_cost(const char *name, const nct_json *list, nct_cost *cost, nct_error *err) {
    double row[3], ratio[SIZES], doubt[SIZES];
    size_t i = 0;
    if (!nct_json_is_array(list) || nct_json_size(list) != SIZES)
        return nct_fail(err, NCT_E_FORMAT, "%s: 'cost' is not a list of %d sizes", name, SIZES);
    for (const nct_json *item = nct_json_first(list); item; item = nct_json_next(item), i++) {
        if (!numbers(item, row, 3) || row[0] != nct_cost_size[i])
            return nct_fail(err, NCT_E_FORMAT,
                            "%s: entry %zu of 'cost' is not %d rows, their cost and its deviation", name, i,
                            nct_cost_size[i]);
        double least = i ? ratio[i - 1] : 1;
        if (!within(row[1], least, i ? RATIO_MAX : 1))
            return nct_fail(err, NCT_E_FORMAT, "%s: %d rows cost %g times one, expected %g to %g", name,
                            nct_cost_size[i], row[1], least, i ? RATIO_MAX : 1);
        if (!within(row[2], 0, DOUBT_MAX))
            return nct_fail(err, NCT_E_FORMAT, "%s: the cost of %d rows deviates by %g, expected 0 to %g",
                            name, nct_cost_size[i], row[2], DOUBT_MAX);
        ratio[i] = row[1];
        doubt[i] = row[2];
    }
    nct_cost_init(cost, ratio, doubt);
    return NCT_OK;
}

static nct_status read_tally(const char *name, const char *key, const double *pair, nct_tally *t,
                             nct_error *err) {
    if (!within(pair[0], 0, NCT_ADAPT_MEMORY) || !within(pair[1], 0, pair[0]))
        return nct_fail(err, NCT_E_FORMAT, "%s: '%s' states %g hits in %g trials, expected at most %d trials",
                        name, key, pair[1], pair[0], NCT_ADAPT_MEMORY);
    *t = (nct_tally){pair[0], pair[1]};
    return NCT_OK;
}

static nct_status read_edges(const char *name, const nct_json *list, nct_tally *t, nct_error *err) {
    double row[3], last = -1;
    if (!nct_json_is_array(list))
        return nct_fail(err, NCT_E_FORMAT, "%s: 'edges' is not a list", name);
    for (const nct_json *item = nct_json_first(list); item; item = nct_json_next(item)) {
        if (!numbers(item, row, 3) || !within(row[0], last + 1, NCT_EDGES - 1) || row[0] != floor(row[0]))
            return nct_fail(err, NCT_E_FORMAT, "%s: 'edges' are not counts of kinds below %d, in order", name,
                            NCT_EDGES);
        last = row[0];
        NCT_TRY(read_tally(name, "edges", row + 1, &t[(size_t)last], err));
    }
    return NCT_OK;
}

static nct_status read_depths(const char *name, const char *key, const nct_json *json, nct_tally *t,
                              nct_error *err) {
    const nct_json *list = nct_json_get(json, key);
    double row[2];
    size_t depth = 0;
    if (!nct_json_is_array(list) || nct_json_size(list) != NCT_EDGE_DEPTHS)
        return nct_fail(err, NCT_E_FORMAT, "%s: '%s' is not a list of %d counts", name, key, NCT_EDGE_DEPTHS);
    for (const nct_json *item = nct_json_first(list); item; item = nct_json_next(item)) {
        if (!numbers(item, row, 2))
            return nct_fail(err, NCT_E_FORMAT, "%s: '%s' is not a list of trials and hits", name, key);
        NCT_TRY(read_tally(name, key, row, &t[depth++], err));
    }
    return NCT_OK;
}

static nct_status read_all(const char *name, const nct_json *json, nct_adapt *a, nct_error *err) {
    if (nct_json_int(nct_json_get(json, "noctule_spec"), 0) != VERSION)
        return nct_fail(err, NCT_E_FORMAT, "%s is not what version %d of this program keeps about guessing",
                        name, VERSION);
    NCT_TRY(read_cost(name, nct_json_get(json, "cost"), &a->cost, err));
    NCT_TRY(read_edges(name, nct_json_get(json, "edges"), a->edge, err));
    NCT_TRY(read_depths(name, "any", json, a->any, err));
    double pass[2];
    if (!numbers(nct_json_get(json, "pass"), pass, 2) || !within(pass[0], 0, RATIO_MAX) ||
        !within(pass[1], 0, RATIO_MAX))
        return nct_fail(err, NCT_E_FORMAT, "%s: 'pass' is not two numbers of 0 to %g", name, RATIO_MAX);
    if (pass[1] > 0) {
        nct_adapt_know_pass(a, pass[1]);
        a->pass.begin = pass[0];
    }
    a->earned = nct_json_number(nct_json_get(json, "earned"), NAN);
    if (!within(a->earned, 0, NCT_ADAPT_RISK))
        return nct_fail(err, NCT_E_FORMAT, "%s: 'earned' is %g plain steps, expected 0 to %g", name,
                        a->earned, NCT_ADAPT_RISK);
    int64_t pause = nct_json_int(nct_json_get(json, "pause"), -1);
    if (pause < 0 || pause > NCT_ADAPT_PAUSE_MAX)
        return nct_fail(err, NCT_E_FORMAT, "%s: 'pause' is not 0 to %d tokens", name, NCT_ADAPT_PAUSE_MAX);
    if (pause > 0) {
        a->state = NCT_ADAPT_PAUSED;
        a->pause = (size_t)pause;
        a->pause_left = NCT_ADAPT_PAUSE; /* the text may be of another kind now */
    }
    return NCT_OK;
}

nct_status nct_adapt_load(const char *name, const char *text, size_t n, nct_adapt *adapt, nct_error *err) {
    nct_adapt a;
    nct_json *json = NULL;
    nct_adapt_init(&a);
    NCT_TRY(nct_json_parse(name, text, n, &json, err));
    nct_status status = read_all(name, json, &a, err);
    nct_json_close(json);
    if (status == NCT_OK)
        *adapt = a;
    return status;
}
