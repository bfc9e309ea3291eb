/* Products with float weights, and with codes in float arithmetic. Each output is one chain of fused
 * multiply-adds over ascending columns; chains run side by side, and pause in y between stretches of
 * columns, which changes no bit. */
#include "kernel/neon/neon.h"
#include "kernel/panel_tiles.h"

enum {
    STRETCH = 256,         /* columns done for all rows before the next: 16 KiB of float32 panel */
    QUADS = NCT_PANEL / 4, /* vectors of a panel's 16 outputs */
    PANELS_FEW = 4,        /* panels side by side for one row, enough chains to hide the latency */
    MAX_ROWS = 5,
    AHEAD = 1024,
};

enum form { F32, F16, BF16 };

NCT_INLINE size_t value_bytes(const enum form form) { return form == F32 ? 4 : 2; }

NCT_INLINE float32x4_t load_values(const enum form form, const uint8_t *p) {
    if (form == F32)
        return vld1q_f32((const float *)(const void *)p);
    uint16x4_t h = vld1_u16((const uint16_t *)(const void *)p);
    if (form == F16)
        return vcvt_f32_f16(vreinterpret_f16_u16(h));
    return vreinterpretq_f32_u32(vshll_n_u16(h, 16));
}

/* n columns of n_panels panels and n_rows rows; `more` continues the chains in y, else they begin at 0.
 * The first n_out outputs exist. */
NCT_INLINE void run_tile(const enum form form, const int n_rows, const int n_panels, const uint8_t *panel,
                         size_t panel_bytes, const float *x, size_t x_stride, size_t n, bool more, float *y,
                         size_t y_stride, size_t n_out) {
    float32x4_t sum[MAX_ROWS][QUADS * PANELS_FEW];
    NCT_UNROLL for (int r = 0; r < n_rows; r++)
        NCT_UNROLL for (int v = 0; v < QUADS * n_panels; v++) {
            size_t o = (size_t)v * NCT_QUAD;
            sum[r][v] = more && o < n_out ? nct_load4(y + (size_t)r * y_stride + o, n_out - o) : vdupq_n_f32(0);
        }
    for (size_t k = 0; k < n; k++, panel += NCT_PANEL * value_bytes(form)) {
        NCT_UNROLL for (int p = 0; p < n_panels; p++) {
            const uint8_t *at = panel + (size_t)p * panel_bytes;
            __builtin_prefetch(at + AHEAD);
            float32x4_t c[QUADS];
            NCT_UNROLL for (int v = 0; v < QUADS; v++)
                c[v] = load_values(form, at + (size_t)v * NCT_QUAD * value_bytes(form));
            NCT_UNROLL for (int r = 0; r < n_rows; r++) {
                float32x4_t s = vld1q_dup_f32(x + (size_t)r * x_stride + k);
                NCT_UNROLL for (int v = 0; v < QUADS; v++)
                    sum[r][QUADS * p + v] = vfmaq_f32(sum[r][QUADS * p + v], c[v], s);
            }
        }
    }
    NCT_UNROLL for (int r = 0; r < n_rows; r++)
        NCT_UNROLL for (int v = 0; v < QUADS * n_panels; v++) {
            size_t o = (size_t)v * NCT_QUAD;
            if (o < n_out)
                nct_store4(y + (size_t)r * y_stride + o, n_out - o, sum[r][v]);
        }
}

#define TILE_ARGUMENTS                                                                                                 \
    const uint8_t *panel, size_t panel_bytes, const float *x, size_t x_stride, size_t n, bool more, float *y,          \
        size_t y_stride, size_t n_out
typedef void tile_fn(TILE_ARGUMENTS);

#define TILE(form, n_rows, n_panels)                                                                                   \
    static void form##_##n_rows##x##n_panels(TILE_ARGUMENTS) {                                                         \
        run_tile(form, n_rows, n_panels, panel, panel_bytes, x, x_stride, n, more, y, y_stride, n_out);                \
    }
#define TILES(form)                                                                                                    \
    TILE(form, 1, 4)                                                                                                   \
    TILE(form, 1, 1)                                                                                                   \
    TILE(form, 2, 1)                                                                                                   \
    TILE(form, 3, 1)                                                                                                   \
    TILE(form, 4, 1)                                                                                                   \
    TILE(form, 5, 1)                                                                                                   \
    static tile_fn *const form##_by_rows[MAX_ROWS] = {form##_1x1, form##_2x1, form##_3x1,                              \
                                                      form##_4x1, form##_5x1};
TILES(F32)
TILES(F16)
TILES(BF16)

NCT_INLINE void matmul_float(const enum form form, tile_fn *const by_rows[MAX_ROWS], tile_fn *few, const nct_panels *w,
                             const float *x, size_t x_stride, size_t n_rows, float *y, size_t y_stride, size_t first,
                             size_t end) {
    const size_t column_bytes = NCT_PANEL * value_bytes(form);
    for (size_t p = first; p < end;) {
        const uint8_t *panel = w->data + p * w->panel_bytes;
        float *to = y + p * NCT_PANEL;
        if (n_rows == 1 && p + PANELS_FEW <= end) {
            few(panel, w->panel_bytes, x, x_stride, w->n_cols, false, to, y_stride, nct_outputs_left(w, p));
            p += PANELS_FEW;
            continue;
        }
        size_t stretch = n_rows > MAX_ROWS ? STRETCH : w->n_cols;
        for (size_t k = 0; k < w->n_cols; k += stretch) {
            size_t n_cols = w->n_cols - k < stretch ? w->n_cols - k : stretch;
            for (size_t t = 0; t < n_rows; t += MAX_ROWS) {
                size_t n = n_rows - t < MAX_ROWS ? n_rows - t : MAX_ROWS;
                by_rows[n - 1](panel + k * column_bytes, w->panel_bytes, x + t * x_stride + k, x_stride, n_cols, k > 0,
                               to + t * y_stride, y_stride, nct_outputs_left(w, p));
            }
        }
        p++;
    }
}

static void matmul_f32(const nct_panels *w, const float *x, size_t x_stride, size_t n_rows, float *y, size_t y_stride,
                       size_t first, size_t end) {
    matmul_float(F32, F32_by_rows, F32_1x4, w, x, x_stride, n_rows, y, y_stride, first, end);
}
static void matmul_f16(const nct_panels *w, const float *x, size_t x_stride, size_t n_rows, float *y, size_t y_stride,
                       size_t first, size_t end) {
    matmul_float(F16, F16_by_rows, F16_1x4, w, x, x_stride, n_rows, y, y_stride, first, end);
}
static void matmul_bf16(const nct_panels *w, const float *x, size_t x_stride, size_t n_rows, float *y, size_t y_stride,
                        size_t first, size_t end) {
    matmul_float(BF16, BF16_by_rows, BF16_1x4, w, x, x_stride, n_rows, y, y_stride, first, end);
}

/* ------------------------------------------------------------------ codes in float arithmetic */

/* Columns of one group, from column `from` of it (a multiple of 16), as value[column][16]. */
NCT_INLINE void expand(const int bits, const nct_panels *w, const uint8_t *panel, size_t g, size_t from, size_t n,
                       float *out) {
    const size_t unit_cols = 32 / (size_t)bits;
    const uint8_t *codes = panel + (nct_group_start(w, g) + from) * NCT_PANEL / 8 * (size_t)bits;
    const uint32x4_t mask = vdupq_n_u32((1u << bits) - 1);
    const int32x4_t bias = vdupq_n_s32(w->bias);
    for (size_t v = 0; v < QUADS; v++) {
        size_t at = g * NCT_PANEL + v * NCT_QUAD;
        float32x4_t scale = w->scale_f32 ? load_values(F32, panel + w->scale_off + 4 * at)
                                         : load_values(F16, panel + w->scale_off + 2 * at);
        float32x4_t min = w->has_min ? load_values(F32, panel + w->min_off + 4 * at) : vdupq_n_f32(0);
        for (size_t k = 0; k < n; k++) { /* a 32-bit lane holds one output's columns */
            size_t unit = k / unit_cols;
            int shift = (int)(8 * (k % 4) + (size_t)bits * (k % unit_cols / 4));
            uint32x4_t c = vld1q_u32((const uint32_t *)(const void *)(codes + 64 * unit + 16 * v));
            c = vandq_u32(vshlq_u32(c, vdupq_n_s32(-shift)), mask);
            float32x4_t code = vcvtq_f32_s32(vsubq_s32(vreinterpretq_s32_u32(c), bias));
            vst1q_f32(out + k * NCT_PANEL + v * NCT_QUAD, vaddq_f32(vmulq_f32(scale, code), min));
        }
    }
}

NCT_INLINE void matmul_exact(const int bits, const nct_panels *w, const float *x, size_t x_stride, size_t n_rows,
                             float *y, size_t y_stride, size_t first, size_t end) {
    _Alignas(64) float slab[STRETCH * NCT_PANEL];
    for (size_t p = first; p < end; p++) {
        const uint8_t *panel = w->data + p * w->panel_bytes;
        size_t g = 0, from = 0; /* the next column: group, and place in it */
        for (size_t k = 0, filled; k < w->n_cols; k += filled) {
            for (filled = 0; g < w->n_groups && filled < STRETCH;) {
                size_t left = nct_group_size(w, g) - from, n = STRETCH - filled;
                if (n >= left)
                    n = left;
                else if ((n &= ~(size_t)15) == 0)
                    break;
                expand(bits, w, panel, g, from, n, slab + filled * NCT_PANEL);
                filled += n;
                from += n;
                if (n == left) {
                    g++;
                    from = 0;
                }
            }
            for (size_t t = 0; t < n_rows; t += MAX_ROWS) {
                size_t n = n_rows - t < MAX_ROWS ? n_rows - t : MAX_ROWS;
                F32_by_rows[n - 1]((const uint8_t *)slab, 0, x + t * x_stride + k, x_stride, filled, k > 0,
                                   y + t * y_stride + p * NCT_PANEL, y_stride, nct_outputs_left(w, p));
            }
        }
    }
}

static void matmul_codes2_exact(const nct_panels *w, const float *x, size_t x_stride, size_t n_rows, float *y,
                                size_t y_stride, size_t first, size_t end) {
    matmul_exact(2, w, x, x_stride, n_rows, y, y_stride, first, end);
}
static void matmul_codes4_exact(const nct_panels *w, const float *x, size_t x_stride, size_t n_rows, float *y,
                                size_t y_stride, size_t first, size_t end) {
    matmul_exact(4, w, x, x_stride, n_rows, y, y_stride, first, end);
}
static void matmul_codes8_exact(const nct_panels *w, const float *x, size_t x_stride, size_t n_rows, float *y,
                                size_t y_stride, size_t first, size_t end) {
    matmul_exact(8, w, x, x_stride, n_rows, y, y_stride, first, end);
}

void nct_neon_matmul(nct_kernels *k) {
    k->matmul_f32 = matmul_f32;
    k->matmul_f16 = matmul_f16;
    k->matmul_bf16 = matmul_bf16;
    k->matmul_codes2_exact = matmul_codes2_exact;
    k->matmul_codes4_exact = matmul_codes4_exact;
    k->matmul_codes8_exact = matmul_codes8_exact;
}
