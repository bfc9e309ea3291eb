/** What the integer products of the three rungs share: all but the sums inside a group. */
#ifndef NCT_KERNEL_NEON_CODES_H
#define NCT_KERNEL_NEON_CODES_H

#include <string.h>

#include "kernel/neon/neon.h"

#ifdef __aarch64__

enum {
    NCT_CODES_ROWS = 4,              /* rows of a tile, at most: 16 accumulators, and GCC spills beyond */
    NCT_CODES_QUADS = NCT_PANEL / 4, /* vectors of a panel's 16 outputs */
    NCT_CODES_AHEAD = 1024,          /* bytes fetched ahead of use */
};

/** One group of a tile: a panel's codes and each row's activations. */
typedef struct nct_codes_tile {
    const uint8_t *code;
    const int8_t *q[NCT_CODES_ROWS];
} nct_codes_tile;

/** sum[r][v]: adds code * q (2 or 4 bits) or (code - 128) * q (8 bits) over n_cols columns, whole units, of
 *  outputs 4v .. 4v+3. */
typedef void nct_codes_group_fn(const int bits, const int n_rows, const nct_codes_tile *at, size_t n_cols,
                                int32x4_t sum[NCT_CODES_ROWS][NCT_CODES_QUADS]);

/** Eight columns of outputs 4v .. 4v+3, the first four in low, the others in high: those that begin at `code`, or
 *  with `second`, for codes of 2 bits, the eight after them. Codes of 8 bits come less 128. */
NCT_INLINE void nct_codes_eight(const int bits, const uint8_t *code, const bool second, int v, int8x16_t *low,
                                int8x16_t *high) {
    uint8x16_t a = vld1q_u8(code + 16 * v), b;
    if (bits == 8) {
        b = veorq_u8(vld1q_u8(code + 64 + 16 * v), vdupq_n_u8(128));
        a = veorq_u8(a, vdupq_n_u8(128));
    } else if (bits == 4) {
        b = vshrq_n_u8(a, 4);
        a = vandq_u8(a, vdupq_n_u8(15));
    } else if (second) {
        b = vshrq_n_u8(a, 6);
        a = vandq_u8(vshrq_n_u8(a, 4), vdupq_n_u8(3));
    } else {
        b = vandq_u8(vshrq_n_u8(a, 2), vdupq_n_u8(3));
        a = vandq_u8(a, vdupq_n_u8(3));
    }
    *low = vreinterpretq_s8_u8(a);
    *high = vreinterpretq_s8_u8(b);
}

/** How many eights of columns lie in the same bytes. */
NCT_INLINE int nct_codes_eights(const int bits) { return bits == 2 ? 2 : 1; }

NCT_INLINE float32x4_t nct_codes_scale(const nct_panels *w, const uint8_t *panel, size_t i) {
    const uint8_t *scales = panel + w->scale_off;
    if (w->scale_f32)
        return vld1q_f32((const float *)(const void *)scales + i);
    return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16((const uint16_t *)(const void *)scales + i)));
}

/* y has room for all 16 outputs; sums wait there from group to group. */
NCT_INLINE void nct_codes_run(nct_codes_group_fn *group, const int bits, const int n_rows, const nct_panels *w,
                              const uint8_t *panel, const nct_qrows *x, size_t row, float *y, size_t y_stride) {
    const int zero_point = bits == 8 ? w->bias - 128 : w->bias;
    const size_t n_groups = x->n_groups;
    const float *as = x->scale + row * n_groups;
    const int32_t *qsum = x->sum + row * n_groups;
    for (int r = 0; r < n_rows; r++)
        memset(y + (size_t)r * y_stride, 0, NCT_PANEL * sizeof *y);
    for (size_t g = 0; g < n_groups; g++) {
        const size_t start = nct_group_start(w, g), n_cols = nct_group_padded(w, g);
        nct_codes_tile at = {.code = panel + start * NCT_PANEL / 8 * (size_t)bits};
        int32x4_t sum[NCT_CODES_ROWS][NCT_CODES_QUADS];
        NCT_UNROLL for (int r = 0; r < n_rows; r++) {
            at.q[r] = x->q + (row + (size_t)r) * x->q_stride + start;
            NCT_UNROLL for (int v = 0; v < NCT_CODES_QUADS; v++)
                sum[r][v] = vdupq_n_s32(-zero_point * qsum[(size_t)r * n_groups + g]);
        }
        group(bits, n_rows, &at, n_cols, sum);
        NCT_UNROLL for (int v = 0; v < NCT_CODES_QUADS; v++) {
            float32x4_t scale = nct_codes_scale(w, panel, g * NCT_PANEL + (size_t)v * NCT_QUAD);
            NCT_UNROLL for (int r = 0; r < n_rows; r++) {
                float *to = y + (size_t)r * y_stride + v * NCT_QUAD;
                float32x4_t a = vdupq_n_f32(as[(size_t)r * n_groups + g]);
                vst1q_f32(to, vfmaq_f32(vld1q_f32(to), vmulq_f32(scale, a), vcvtq_f32_s32(sum[r][v])));
            }
        }
        if (!w->has_min)
            continue;
        const float *min = (const float *)(const void *)(panel + w->min_off) + g * NCT_PANEL;
        for (int r = 0; r < n_rows; r++) {
            float32x4_t a = vdupq_n_f32(as[(size_t)r * n_groups + g]), s = vdupq_n_f32((float)qsum[(size_t)r * n_groups + g]);
            for (int v = 0; v < NCT_CODES_QUADS; v++) {
                float *to = y + (size_t)r * y_stride + v * NCT_QUAD;
                vst1q_f32(to, vfmaq_f32(vld1q_f32(to), vmulq_f32(vld1q_f32(min + v * NCT_QUAD), a), s));
            }
        }
    }
}

/** Panels [first, end) for all rows, in tiles of at most max_rows rows. */
NCT_INLINE void nct_codes_matmul(nct_codes_group_fn *group, const int bits, const size_t max_rows, const nct_panels *w,
                                 const nct_qrows *x, size_t n_rows, float *y, size_t y_stride, size_t first, size_t end) {
    for (size_t p = first; p < end; p++) {
        const uint8_t *panel = w->data + p * w->panel_bytes;
        float some[NCT_CODES_ROWS * NCT_PANEL]; /* a tile whose outputs do not all exist is worked out here */
        size_t n_out = w->n_rows - p * NCT_PANEL;
        for (size_t t = 0, n; t < n_rows; t += n) {
            n = n_rows - t < max_rows ? n_rows - t : max_rows;
            float *y_tile = y + t * y_stride + p * NCT_PANEL, *to = n_out < NCT_PANEL ? some : y_tile;
            size_t stride = n_out < NCT_PANEL ? NCT_PANEL : y_stride;
            switch (n) {
#define NCT_CODES_CASE(rows)                                                                                           \
    case rows:                                                                                                         \
        if (rows <= max_rows)                                                                                          \
            nct_codes_run(group, bits, rows, w, panel, x, t, to, stride);                                           \
        break;
                NCT_CODES_CASE(1)
                NCT_CODES_CASE(2)
                NCT_CODES_CASE(3)
                NCT_CODES_CASE(4)
#undef NCT_CODES_CASE
            }
            for (size_t r = 0; r < n && to == some; r++)
                memcpy(y_tile + r * y_stride, some + r * NCT_PANEL, n_out * sizeof *some);
        }
    }
}

#endif /* __aarch64__ */
#endif
