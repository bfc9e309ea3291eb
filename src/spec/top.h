/** The likeliest outputs of a head, with the logarithms of their probabilities among all its outputs. A row keeps its
 *  largest score, the sum of exponentials and its best outputs; scores themselves are gone as soon as they were seen.
 *  Sums over pieces of the head (nct_linear_run_pieces) are merged in ascending order, and scores and then outputs put
 *  all candidates in one order, so a row has the same bits on any number of threads and beside any other rows. */
#ifndef NCT_SPEC_TOP_H
#define NCT_SPEC_TOP_H

#include "quant/linear.h"
#include "spec/tree.h"

/** One row's best, best first, ties by lower output. Output and log_q [width]. */
typedef struct nct_top {
    int32_t output[NCT_BEAM_WIDTH];
    float log_q[NCT_BEAM_WIDTH]; /* at most 0; -infinity where scores are no numbers */
} nct_top;

/** top [n_rows] = the `width` best outputs of head x, x [n_rows][x_stride]; width <= the head's rows. `more`: a second
 *  matrix of the same encoding and columns, whose outputs are numbered on from the first's; NULL: none. Takes
 *  nct_top_bytes from exec->scratch and returns it. */
void nct_top_run(const nct_exec *exec, const nct_linear *head, const nct_linear *more, const float *x,
                 size_t x_stride, size_t n_rows, size_t width, nct_top *top);
/** n_more: rows of the second matrix at most. */
size_t nct_top_bytes(const nct_linear *head, size_t n_more, size_t n_rows, int n_threads);

#endif
