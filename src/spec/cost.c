#include "spec/cost.h"

#include <assert.h>
#include <math.h>
#include <stdbool.h>
#include <string.h>

enum { N = NCT_COST_SIZES };

const uint8_t nct_cost_size[N] = {1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 24, 32, 48, 64};

/* INT4 weights with this program's kernels, c(T) / c(1). */
static const double usual[N] = {1, 1.03, 1.05, 1.06, 1.09, 1.12, 1.27, 1.4, 1.62, 2.05, 2.6, 3.2, 4.5, 6};

static const double NOISE = 0.04,        /* of one round */
    UNKNOWN = 10,                        /* of c(1) at the beginning */
    STEP = 0.28,                         /* of a usual curve's ratio, for each doubling of rows */
    LEAST_DOUBT = 0.05,                  /* of a stored one: the machine may be in another state */
    DRIFT_ALL = 1e-4, DRIFT_STEP = 1e-5; /* variance a round adds to all, and to each doubling */

/* What may have happened in a round: nothing; the machine has become faster or slower for a while; something else ran
 * during this one. */
enum { USUAL, CHANGED, DISTURBED, CASES };
static const double chance[CASES] = {0.93, 0.02, 0.05}, all_variance[CASES] = {0, 0.25, 0},
                    own_variance[CASES] = {0, 0, 1};

/* How far the deviations of two sizes go together: from one row on, steps are independent. */
static double together(size_t i, size_t j) {
    double a = log2(nct_cost_size[i < j ? i : j]), b = log2(nct_cost_size[i < j ? j : i]);
    return 0.5 * a + 0.25 * a * b;
}

static double ratio_variance(const nct_cost *c, size_t i) {
    return c->spread[i][i] + c->spread[0][0] - 2 * c->spread[0][i];
}

/* The nearest curve that does not decrease: neighbours that do are averaged. */
static void keep_order(nct_cost *c) {
    double value[N], weight[N];
    size_t n = 0, count[N];
    for (size_t i = 0; i < N; i++) {
        double w = 1 / (1e-6 + (i ? ratio_variance(c, i) : 0));
        value[n] = i ? c->level[i] - c->level[0] : 0;
        weight[n] = w;
        count[n++] = 1;
        for (; n > 1 && value[n - 1] < value[n - 2]; n--) {
            double sum = weight[n - 1] + weight[n - 2];
            value[n - 2] = (value[n - 1] * weight[n - 1] + value[n - 2] * weight[n - 2]) / sum;
            weight[n - 2] = sum;
            count[n - 2] += count[n - 1];
        }
    }
    for (size_t k = 0, i = 0; k < n; k++)
        for (size_t j = 0; j < count[k]; j++)
            c->ratio[i++] = value[k] > 0 ? exp(value[k]) : 1;
}

void nct_cost_init(nct_cost *c, const double *ratio, const double *doubt) {
    double step[N] = {0};
    for (size_t i = 0; i < N; i++) {
        c->level[i] = log(0.05 * (ratio ? ratio[i] : usual[i]));
        if (i > 0) /* so that the deviation of size i comes to what is asked for */
            step[i] = ratio ? fmax(doubt[i], LEAST_DOUBT) / sqrt(together(i, i)) : STEP;
    }
    for (size_t i = 0; i < N; i++)
        for (size_t j = 0; j < N; j++)
            c->spread[i][j] = UNKNOWN * UNKNOWN + step[i] * step[j] * together(i, j);
    keep_order(c);
}

size_t nct_cost_index(size_t n_rows) {
    size_t i = 0;
    assert(n_rows > 0 && n_rows <= nct_cost_size[N - 1]);
    while (nct_cost_size[i] < n_rows)
        i++;
    return i;
}

static void drift(nct_cost *c) {
    bool steps = ratio_variance(c, N - 1) < STEP * STEP * together(N - 1, N - 1);
    for (size_t i = 0; i < N; i++)
        for (size_t j = 0; j < N; j++)
            c->spread[i][j] += DRIFT_ALL + (steps ? DRIFT_STEP * together(i, j) : 0);
}

/* How the levels change if it was that case: gain times the deviation; gives how well the case explains it. */
static double update_case(const nct_cost *c, int which, size_t at, double off, double gain[N],
                          double *variance) {
    *variance = c->spread[at][at] + all_variance[which] + own_variance[which] + NOISE * NOISE;
    for (size_t i = 0; i < N; i++)
        gain[i] = (c->spread[i][at] + all_variance[which]) / *variance;
    return chance[which] * exp(-0.5 * off * off / *variance) / sqrt(*variance);
}

void nct_cost_observe(nct_cost *c, size_t n_rows, double seconds) {
    size_t at = nct_cost_index(n_rows);
    double gain[CASES][N], mean[N] = {0}, variance[CASES], share[CASES], all = 0, before[N][N];
    if (!(seconds > 0 && seconds < INFINITY))
        return;
    drift(c);
    double far = 5 * sqrt(c->spread[at][at] + 1), off = log(seconds) - c->level[at];
    off = off > far ? far : off < -far ? -far : off;
    for (int k = 0; k < CASES; k++)
        all += share[k] = update_case(c, k, at, off, gain[k], &variance[k]);
    for (int k = 0; k < CASES; k++) {
        share[k] /= all;
        for (size_t i = 0; i < N; i++)
            mean[i] += share[k] * gain[k][i];
    }
    memcpy(before, c->spread, sizeof before);
    for (size_t i = 0; i < N; i++)
        for (size_t j = i; j < N; j++) {
            double sum = 0;
            for (int k = 0; k < CASES; k++) /* what is not known within a case, and between them */
                sum += share[k] * (before[i][j] + all_variance[k] - gain[k][i] * gain[k][j] * variance[k] +
                                   (gain[k][i] - mean[i]) * (gain[k][j] - mean[j]) * off * off);
            c->spread[i][j] = c->spread[j][i] = sum;
        }
    for (size_t i = 0; i < N; i++)
        c->level[i] += mean[i] * off;
    keep_order(c);
}

double nct_cost_ratio(const nct_cost *c, size_t n_rows) { return c->ratio[nct_cost_index(n_rows)]; }

double nct_cost_doubt_between(const nct_cost *c, size_t n_rows, size_t known_rows) {
    size_t i = nct_cost_index(n_rows), j = nct_cost_index(known_rows);
    return sqrt(fmax(c->spread[i][i] + c->spread[j][j] - 2 * c->spread[i][j], 0));
}

double nct_cost_hoped(const nct_cost *c, size_t n_rows, size_t known_rows, double deviations) {
    double least = 1; /* of the sizes up to it: a larger one costs no less */
    for (size_t i = 0; i <= nct_cost_index(n_rows); i++)
        least = fmax(least, c->ratio[i] *
                                exp(-deviations * nct_cost_doubt_between(c, nct_cost_size[i], known_rows)));
    return least;
}

double nct_cost_plain(const nct_cost *c) { return exp(c->level[0]); }

double nct_cost_plain_doubt(const nct_cost *c) { return sqrt(fmax(c->spread[0][0], 0)); }

double nct_cost_doubt(const nct_cost *c, size_t i) { return sqrt(fmax(ratio_variance(c, i), 0)); }
