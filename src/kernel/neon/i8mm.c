/* Integer products with SMMLA (Armv8.6 i8mm): two outputs by two rows, eight columns at once. Columns
 * 0..3 and 4..7 of four outputs lie in vectors of their own; zipped, they are an output's eight. */
#include "kernel/neon/codes.h"

void nct_i8mm_fill(nct_kernels *k);

enum { PAIRS = (NCT_CODES_ROWS + 1) / 2 };

NCT_INLINE void add_group(const int bits, const int n_rows, const nct_codes_tile *at, size_t n_cols,
                          int32x4_t sum[NCT_CODES_ROWS][NCT_CODES_QUADS]) {
    const int n_pairs = (n_rows + 1) / 2;
    /* two[p][2v + h]: output 4v + 2h by rows 2p and 2p + 1, then the next output; an odd row is its own pair */
    int32x4_t two[PAIRS][2 * NCT_CODES_QUADS];
    NCT_UNROLL for (int p = 0; p < n_pairs; p++)
        NCT_UNROLL for (int v = 0; v < 2 * NCT_CODES_QUADS; v++)
            two[p][v] = vdupq_n_s32(0);
    const int n_eights = nct_codes_eights(bits);
    for (size_t i = 0; i < n_cols; i += 8 * (size_t)n_eights) {
        const uint8_t *code = at->code + 2 * (size_t)bits * i;
        __builtin_prefetch(code + NCT_CODES_AHEAD);
        NCT_UNROLL for (int e = 0; e < n_eights; e++) {
            const size_t k = i + 8 * (size_t)e;
            int8x16_t q[PAIRS];
            NCT_UNROLL for (int p = 0; p < n_pairs; p++)
                q[p] = vcombine_s8(vld1_s8(at->q[2 * p] + k), vld1_s8(at->q[2 * p + 1 < n_rows ? 2 * p + 1 : 2 * p] + k));
            NCT_UNROLL for (int v = 0; v < NCT_CODES_QUADS; v++) {
                int8x16_t c0, c1;
                nct_codes_eight(bits, code, e > 0, v, &c0, &c1);
                int32x4_t a = vreinterpretq_s32_s8(c0), b = vreinterpretq_s32_s8(c1);
                int8x16_t first = vreinterpretq_s8_s32(vzip1q_s32(a, b)), second = vreinterpretq_s8_s32(vzip2q_s32(a, b));
                NCT_UNROLL for (int p = 0; p < n_pairs; p++) {
                    two[p][2 * v] = vmmlaq_s32(two[p][2 * v], first, q[p]);
                    two[p][2 * v + 1] = vmmlaq_s32(two[p][2 * v + 1], second, q[p]);
                }
            }
        }
    }
    NCT_UNROLL for (int r = 0; r < n_rows; r++)
        NCT_UNROLL for (int v = 0; v < NCT_CODES_QUADS; v++) {
            int32x4_t a = two[r / 2][2 * v], b = two[r / 2][2 * v + 1];
            sum[r][v] = vaddq_s32(sum[r][v], r % 2 ? vuzp2q_s32(a, b) : vuzp1q_s32(a, b));
        }
}

static void matmul_codes2(const nct_panels *w, const nct_qrows *x, size_t n_rows, float *y, size_t y_stride, size_t first,
                          size_t end) {
    nct_codes_matmul(add_group, 2, NCT_CODES_ROWS, w, x, n_rows, y, y_stride, first, end);
}
static void matmul_codes4(const nct_panels *w, const nct_qrows *x, size_t n_rows, float *y, size_t y_stride, size_t first,
                          size_t end) {
    nct_codes_matmul(add_group, 4, NCT_CODES_ROWS, w, x, n_rows, y, y_stride, first, end);
}
static void matmul_codes8(const nct_panels *w, const nct_qrows *x, size_t n_rows, float *y, size_t y_stride, size_t first,
                          size_t end) {
    nct_codes_matmul(add_group, 8, NCT_CODES_ROWS, w, x, n_rows, y, y_stride, first, end);
}

void nct_i8mm_fill(nct_kernels *k) {
    k->matmul_codes2 = matmul_codes2;
    k->matmul_codes4 = matmul_codes4;
    k->matmul_codes8 = matmul_codes8;
}
