/* AMX-INT8 on top of avx512: improves the integer products of many rows. */
#include "kernel/amx/amx.h"

void nct_amx_fill(nct_kernels *k) { nct_amx_codes(k); }
