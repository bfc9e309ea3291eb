/** The constants of the rungs' exponential, which each rung spells in its own vectors:
 *
 *      n = round(x * log2(e)),  r = (x - n * HIGH) - n * LOW,  exp(x) = 2^n * (1 + (r + r^2 * q(r)))
 *
 *  with q the polynomial q0 + q1 r + .. + q4 r^4 of least largest relative error (3.1e-9) on
 *  |r| <= ln(2) / 2. Meant for x <= 80: a softmax and a sigmoid need no more than x <= 0. Within 2 units
 *  in the last place, exp(0) = 1 exactly, 0 below FLOOR (just before results would be subnormal) and for
 *  -infinity; a NaN stays one.
 */
#ifndef NCT_KERNEL_EXP_H
#define NCT_KERNEL_EXP_H

#define NCT_EXP_LOG2E 0x1.715476p+0f
#define NCT_EXP_LN2_HIGH 0x1.62e43p-1f
#define NCT_EXP_LN2_LOW -0x1.05c61p-29f
#define NCT_EXP_FLOOR -87.0f
#define NCT_EXP_Q0 0x1.fffffcp-2f
#define NCT_EXP_Q1 0x1.555492p-3f
#define NCT_EXP_Q2 0x1.5558f2p-5f
#define NCT_EXP_Q3 0x1.123a0ap-7f
#define NCT_EXP_Q4 0x1.6a23f2p-10f

/* 2^r on [0, 1): c0 + c1 r + .., of degree 4 within 3e-6 of itself, of degree 3, for what is rounded to eight bits, 8e-5. */
#define NCT_POWER4_0 0x1.00002cp+0f
#define NCT_POWER4_1 0x1.62d166p-1f
#define NCT_POWER4_2 0x1.ee798ap-3f
#define NCT_POWER4_3 0x1.aa13fp-5f
#define NCT_POWER4_4 0x1.bb7cd4p-7f
#define NCT_POWER3_0 0x1.fff632p-1f
#define NCT_POWER3_1 0x1.64444cp-1f
#define NCT_POWER3_2 0x1.cefc4cp-3f
#define NCT_POWER3_3 0x1.3f96a4p-4f

#endif
