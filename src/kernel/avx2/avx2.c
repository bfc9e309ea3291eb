/* AVX2, FMA and F16C: improves every entry. */
#include "kernel/avx2/avx2.h"

void nct_avx2_fill(nct_kernels *k) {
    nct_avx2_codes(k);
    nct_avx2_matmul(k);
    nct_avx2_rows(k);
    nct_avx2_attend(k);
    nct_avx2_score(k);
}
