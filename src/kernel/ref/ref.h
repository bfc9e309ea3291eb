/** The reference kernels, room by room. */
#ifndef NCT_KERNEL_REF_REF_H
#define NCT_KERNEL_REF_REF_H

#include "kernel/kernel.h"

void nct_ref_fill(nct_kernels *k);
void nct_ref_matmul(nct_kernels *k);
void nct_ref_rows(nct_kernels *k);
void nct_ref_attend(nct_kernels *k);
void nct_ref_score(nct_kernels *k);

/* Scores are attention's. */
nct_dots_fn nct_ref_dots;
nct_window_max_fn nct_ref_window_max;

#endif
