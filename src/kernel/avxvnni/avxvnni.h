/** The AVX-VNNI rung: what avx2 is, with the byte dot product on 256 bits. It improves the integer products, those of
 *  attention over bytes too; all else is avx2's. */
#ifndef NCT_KERNEL_AVXVNNI_AVXVNNI_H
#define NCT_KERNEL_AVXVNNI_AVXVNNI_H

#include "kernel/avx2/avx2.h"

void nct_avxvnni_fill(nct_kernels *k);
void nct_avxvnni_codes(nct_kernels *k);
void nct_avxvnni_attend(nct_kernels *k);

#ifdef __AVX2__
#include <string.h>

/** sum + the dot product of four unsigned and four signed bytes, lane by lane. Spelt in assembly because
 *  GCC 12 moves the accumulators of the intrinsic through the stack. */
NCT_INLINE __m256i nct_dot8(__m256i sum, __m256i codes, __m256i q) {
    __asm__("%{vex%} vpdpbusd %2, %1, %0" : "+x"(sum) : "x"(codes), "x"(q));
    return sum;
}

/** The four bytes at `at`, in every lane. */
NCT_INLINE __m256i nct_four(const void *at) {
    int32_t v;
    memcpy(&v, at, sizeof v);
    return _mm256_set1_epi32(v);
}
#endif

#endif
