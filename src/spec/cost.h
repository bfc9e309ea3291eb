/** What verifying T rows costs, learned from the rounds as they come.
 *
 *  The logarithms of the costs are estimated together (a Kalman filter): all of them drift with the length of the context
 *  and the machine's mood, and beyond that the step from one size to the next is known the less the larger it is. So one
 *  measured size tells of its neighbours too, and sizes that were measured often tell a slow machine from a steep curve.
 *  Until then the curve is a stored one, or the usual one of a CPU. */
#ifndef NCT_SPEC_COST_H
#define NCT_SPEC_COST_H

#include <stddef.h>
#include <stdint.h>

enum { NCT_COST_SIZES = 14 };
extern const uint8_t
    nct_cost_size[NCT_COST_SIZES]; /* 1, 2, 3, 4, 5, 6, 8, 10, ... 64 rows: where tiles of rows end */

typedef struct nct_cost {
    double level[NCT_COST_SIZES];                  /* log of seconds */
    double spread[NCT_COST_SIZES][NCT_COST_SIZES]; /* covariance of these */
    double ratio[NCT_COST_SIZES];                  /* c(T) / c(1), 1 and more, not decreasing */
} nct_cost;

/** Nothing measured yet. ratio, doubt [NCT_COST_SIZES]: a curve measured before, with the standard deviations of its
 *  logarithms; both NULL: the usual one. */
void nct_cost_init(nct_cost *cost, const double *ratio, const double *doubt);

/** A round of n_rows, 1 .. 64, took so long; what is not a positive number is passed over. */
void nct_cost_observe(nct_cost *cost, size_t n_rows, double seconds);

/** Which size of the table n_rows is counted as, 1 .. 64: the next one. */
size_t nct_cost_index(size_t n_rows);
/** c(n_rows) / c(1), of the next size that is in the table. */
double nct_cost_ratio(const nct_cost *cost, size_t n_rows);
/** The same, lower by so many standard deviations of what it costs beside known_rows. */
double nct_cost_hoped(const nct_cost *cost, size_t n_rows, size_t known_rows, double deviations);
/** The standard deviation of the logarithm of c(n_rows) / c(known_rows). */
double nct_cost_doubt_between(const nct_cost *cost, size_t n_rows, size_t known_rows);
/** Seconds of one row, and how well they are known: the standard deviation of their logarithm. */
double nct_cost_plain(const nct_cost *cost);
double nct_cost_plain_doubt(const nct_cost *cost);
/** The standard deviation of the logarithm of ratio[i]. */
double nct_cost_doubt(const nct_cost *cost, size_t i);

#endif
