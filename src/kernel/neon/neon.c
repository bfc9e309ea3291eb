/* The base architecture: improves every entry. */
#include "kernel/neon/neon.h"

void nct_neon_fill(nct_kernels *k) {
    nct_neon_codes(k);
    nct_neon_matmul(k);
    nct_neon_rows(k);
    nct_neon_attend(k);
    nct_neon_score(k);
}
