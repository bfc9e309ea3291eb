/** The AMX rung: what avx512 is (with bfloat16 where there is that), and the products of codes with many rows on tiles of
 *  AMX-INT8. The same bits as avx512's: integer sums are exact, float sums go in the same order.
 *
 *  Tiles are a thread's own state, which the system keeps for it only once the process has asked (nct_cpu_detect
 *  does). A call sets them up and gives them back before it returns, so that a thread that does something else is not
 *  switched with eight KiB more. */
#ifndef NCT_KERNEL_AMX_AMX_H
#define NCT_KERNEL_AMX_AMX_H

#include "kernel/avx512/avx512.h"

void nct_amx_fill(nct_kernels *k);
void nct_amx_codes(nct_kernels *k);

#endif
