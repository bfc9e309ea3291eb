/* Integer products with SDOT (Armv8.2 dotprod): four signed bytes of each output at once. */
#include "kernel/neon/codes.h"

void nct_dotprod_fill(nct_kernels *k);

NCT_INLINE void add_group(const int bits, const int n_rows, const nct_codes_tile *at, size_t n_cols,
                          int32x4_t sum[NCT_CODES_ROWS][NCT_CODES_QUADS]) {
    const int n_eights = nct_codes_eights(bits);
    for (size_t i = 0; i < n_cols; i += 8 * (size_t)n_eights) {
        const uint8_t *code = at->code + 2 * (size_t)bits * i;
        __builtin_prefetch(code + NCT_CODES_AHEAD);
        NCT_UNROLL for (int e = 0; e < n_eights; e++) {
            int8x8_t q[NCT_CODES_ROWS];
            NCT_UNROLL for (int r = 0; r < n_rows; r++)
                q[r] = vld1_s8(at->q[r] + i + 8 * e);
            NCT_UNROLL for (int v = 0; v < NCT_CODES_QUADS; v++) {
                int8x16_t c0, c1;
                nct_codes_eight(bits, code, e > 0, v, &c0, &c1);
                NCT_UNROLL for (int r = 0; r < n_rows; r++)
                    sum[r][v] = vdotq_lane_s32(sum[r][v], c0, q[r], 0);
                NCT_UNROLL for (int r = 0; r < n_rows; r++)
                    sum[r][v] = vdotq_lane_s32(sum[r][v], c1, q[r], 1);
            }
        }
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

void nct_dotprod_fill(nct_kernels *k) {
    k->matmul_codes2 = matmul_codes2;
    k->matmul_codes4 = matmul_codes4;
    k->matmul_codes8 = matmul_codes8;
    nct_dotprod_attend(k);
}
