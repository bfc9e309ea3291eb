/* Integer products of the base architecture: bytes multiply into 16 bits, which hold a few products
 * before they are added to the 32-bit sums. */
#include "kernel/neon/codes.h"

enum { MAX_ROWS = 2 };

/* Four activations, twice. */
NCT_INLINE int8x16_t four(const int8_t *q) {
    return vreinterpretq_s8_s32(vld1q_dup_s32((const int32_t *)(const void *)q));
}

/* half[r][2v], [2v + 1]: pairs of columns of outputs 4v, 4v+1 and 4v+2, 4v+3. */
NCT_INLINE void flush(const int n_rows, int16x8_t half[MAX_ROWS][2 * NCT_CODES_QUADS],
                      int32x4_t sum[NCT_CODES_ROWS][NCT_CODES_QUADS]) {
    NCT_UNROLL for (int r = 0; r < n_rows; r++)
        NCT_UNROLL for (int v = 0; v < NCT_CODES_QUADS; v++)
            sum[r][v] = vaddq_s32(sum[r][v], vpaddq_s32(vpaddlq_s16(half[r][2 * v]), vpaddlq_s16(half[r][2 * v + 1])));
}

NCT_INLINE void add4(int16x8_t half[2], int8x16_t c, int8x16_t q) {
    half[0] = vmlal_s8(half[0], vget_low_s8(c), vget_low_s8(q));
    half[1] = vmlal_high_s8(half[1], c, q);
}

NCT_INLINE void add_group(const int bits, const int n_rows, const nct_codes_tile *at, size_t n_cols,
                          int32x4_t sum[NCT_CODES_ROWS][NCT_CODES_QUADS]) {
    /* 16 bits hold 86 products of 2 bits, 17 of a nibble, two of a byte; eight columns are two of them */
    const size_t columns_held = bits == 2 ? 128 : bits == 4 ? 64 : 8;
    const int n_eights = nct_codes_eights(bits);
    for (size_t i = 0; i < n_cols;) {
        int16x8_t half[MAX_ROWS][2 * NCT_CODES_QUADS];
        NCT_UNROLL for (int r = 0; r < n_rows; r++)
            NCT_UNROLL for (int v = 0; v < 2 * NCT_CODES_QUADS; v++)
                half[r][v] = vdupq_n_s16(0);
        size_t end = n_cols - i < columns_held ? n_cols : i + columns_held;
        for (; i < end; i += 8 * (size_t)n_eights) {
            const uint8_t *code = at->code + 2 * (size_t)bits * i;
            __builtin_prefetch(code + NCT_CODES_AHEAD);
            NCT_UNROLL for (int e = 0; e < n_eights; e++) {
                int8x16_t q[MAX_ROWS][2];
                NCT_UNROLL for (int r = 0; r < n_rows; r++) {
                    q[r][0] = four(at->q[r] + i + 8 * e);
                    q[r][1] = four(at->q[r] + i + 8 * e + 4);
                }
                NCT_UNROLL for (int v = 0; v < NCT_CODES_QUADS; v++) {
                    int8x16_t c0, c1;
                    nct_codes_eight(bits, code, e > 0, v, &c0, &c1);
                    NCT_UNROLL for (int r = 0; r < n_rows; r++) {
                        add4(half[r] + 2 * v, c0, q[r][0]);
                        add4(half[r] + 2 * v, c1, q[r][1]);
                    }
                }
            }
        }
        flush(n_rows, half, sum);
    }
}

static void matmul_codes2(const nct_panels *w, const nct_qrows *x, size_t n_rows, float *y, size_t y_stride, size_t first,
                          size_t end) {
    nct_codes_matmul(add_group, 2, MAX_ROWS, w, x, n_rows, y, y_stride, first, end);
}
static void matmul_codes4(const nct_panels *w, const nct_qrows *x, size_t n_rows, float *y, size_t y_stride, size_t first,
                          size_t end) {
    nct_codes_matmul(add_group, 4, MAX_ROWS, w, x, n_rows, y, y_stride, first, end);
}
static void matmul_codes8(const nct_panels *w, const nct_qrows *x, size_t n_rows, float *y, size_t y_stride, size_t first,
                          size_t end) {
    nct_codes_matmul(add_group, 8, MAX_ROWS, w, x, n_rows, y, y_stride, first, end);
}

void nct_neon_codes(nct_kernels *k) {
    k->matmul_codes2 = matmul_codes2;
    k->matmul_codes4 = matmul_codes4;
    k->matmul_codes8 = matmul_codes8;
}
