/** The AVX-VNNI rung: what avx2 is, with the byte dot product on 256 bits. It improves the integer products
 *  alone; all else is avx2's. */
#ifndef NCT_KERNEL_AVXVNNI_AVXVNNI_H
#define NCT_KERNEL_AVXVNNI_AVXVNNI_H

#include "kernel/avx2/avx2.h"

void nct_avxvnni_fill(nct_kernels *k);
void nct_avxvnni_codes(nct_kernels *k);

#endif
