/* AVX-512 F, BW, DQ, VL and VNNI: improves every entry. */
#include "kernel/avx512/avx512.h"

void nct_avx512_fill(nct_kernels *k) {
    nct_avx512_codes(k);
    nct_avx512_matmul(k);
    nct_avx512_rows(k);
    nct_avx512_attend(k);
    nct_avx512_score(k);
}
