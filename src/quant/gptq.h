/** GPTQ (arXiv:2210.17323): columns are rounded one after the other, and what a rounding does to the outputs
 *  on real inputs is made up for in the columns that are not rounded yet.
 *
 *  With H the sum of x x^T over calibration inputs x, the output error of a rounded matrix is tr(E H E^T),
 *  E = W - W'. Split H = M D M^T with M unit upper triangular and D diagonal: the error becomes the sum over
 *  columns k of D_k |(E M)_k|^2, and (E M)_k = W_k + sum over j < k of E_j M_jk - W'_k. So column k is rounded
 *  from that feedback, which is what GPTQ's repeated update of the remaining columns amounts to (as QuIP,
 *  arXiv:2307.13304, has it): one factorization and no inverse.
 *
 *  The prefix-aware variant of the MiniCPM4 report (P-GPTQ, arXiv:2506.07900) leaves the first positions of a
 *  sequence, whose activations are outliers, out of H: whoever adds rows does that.
 */
#ifndef NCT_QUANT_GPTQ_H
#define NCT_QUANT_GPTQ_H

#include "kernel/kernel.h"
#include "quant/quantize.h"

/** The sum over inputs, for all matrices that read the same ones. */
typedef struct nct_hessian {
    size_t n;         /* width of the inputs */
    uint64_t n_added; /* inputs */
    double *sum;      /* [n][n], lower triangle; index a belongs to column n - 1 - a */
    /* room for the inputs of one step, turned */
    nct_panels inputs;
    float *turned, *product;
    int n_workers;
} nct_hessian;

/** 8 n^2 bytes and some. Closed by the caller; zeroed is fine to close. */
nct_status nct_hessian_open(size_t n, nct_pool *pool, nct_hessian *hessian, nct_error *err);
void nct_hessian_close(nct_hessian *hessian);

/** Adds rows x [n_rows][x_stride] of n values. */
void nct_hessian_add(nct_hessian *hessian, const nct_kernels *kernels, nct_pool *pool, const float *x,
                     size_t x_stride, size_t n_rows);

/** H split up, in the order in which columns are rounded. */
typedef struct nct_factor {
    size_t n;
    double *lower;   /* [n][n]: H = L L^T, index a at position n - 1 - a; only a >= b is meant */
    float *diagonal; /* [n] of H, by column: what an error in a column costs if nothing makes up for it */
    float *pivot;    /* [n] D, by position: what it costs as columns are rounded */
    int32_t *order;  /* [n] column at each position, or NULL: left to right */
} nct_factor;

/** Splits H + damp * mean(diagonal) * I. act_order: columns with the largest inputs first; their groups keep
 *  their places, so that nothing is permuted when the matrix is used. Takes the sum out of *hessian, which
 *  only remains to be closed. NCT_E_FORMAT: the inputs were not finite. */
nct_status nct_hessian_factor(nct_hessian *hessian, double damp, bool act_order, nct_pool *pool,
                              nct_factor *factor, nct_error *err);
void nct_factor_close(nct_factor *factor); /* zeroed is fine */

/** Rounds a matrix whose columns are the factor's. Same errors as nct_round_nearest. The caller closes *rounded. */
nct_status nct_gptq_round(const nct_stored *source, const nct_factor *factor, nct_quant quant, size_t group,
                          const nct_kernels *kernels, nct_pool *pool, nct_rounded *rounded, nct_error *err);

/** The same comparison as nct_compare on the outputs of the calibration inputs (and on as many of noise as damp
 *  put in): error2 = tr(E H E^T), norm2 = tr(W H W^T). `same` says that the weights are. */
nct_status nct_compare_outputs(const nct_stored *source, const nct_panels *panels, const int32_t *perm,
                               const nct_factor *factor, const nct_kernels *kernels, nct_pool *pool,
                               nct_difference *difference, nct_error *err);

#endif
