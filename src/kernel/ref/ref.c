/* The lowest rung: fills every entry. */
#include "kernel/ref/ref.h"

void nct_ref_fill(nct_kernels *k) {
    nct_ref_matmul(k);
    nct_ref_rows(k);
    nct_ref_attend(k);
    nct_ref_score(k);
}
