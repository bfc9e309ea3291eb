/* AVX-VNNI on top of avx2: improves the integer products. */
#include "kernel/avxvnni/avxvnni.h"

void nct_avxvnni_fill(nct_kernels *k) {
    nct_avxvnni_codes(k);
    nct_avxvnni_attend(k);
}
