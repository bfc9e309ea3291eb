/* Products with float weights, and with codes in float arithmetic. Each output is one chain of fused
 * multiply-adds over ascending columns; chains run side by side, and pause in y between stretches of
 * columns, which changes no bit. */
#include "base/num.h"
#include "kernel/avx2/avx2.h"
#include "kernel/panel_tiles.h"

enum {
    STRETCH = 512,   /* columns done for all rows before the next: 32 KiB of float32 panel */
    MAX_ROWS = 6,
    FEW_ROWS = 3,    /* so few rows take several panels side by side, enough chains to hide the latency */
    MAX_PANELS = 4,
    AHEAD = 2048,    /* bytes fetched ahead of use in each panel */
};
static const size_t panels_of_few[FEW_ROWS] = {4, 2, 2};

enum form { F32, F16, BF16 };

NCT_INLINE size_t value_bytes(const enum form form) { return form == F32 ? 4 : 2; }

NCT_INLINE __m256 load8(const enum form form, const uint8_t *p) {
    if (form == F32)
        return _mm256_loadu_ps((const float *)(const void *)p);
    __m128i h = _mm_loadu_si128((const __m128i *)(const void *)p);
    if (form == F16)
        return _mm256_cvtph_ps(h);
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(h), 16));
}

NCT_INLINE __m256 load_out(const float *y, size_t n) {
    return n >= NCT_YMM ? _mm256_loadu_ps(y) : _mm256_maskload_ps(y, nct_lanes8(n));
}
NCT_INLINE void store_out(float *y, size_t n, __m256 v) {
    if (n >= NCT_YMM)
        _mm256_storeu_ps(y, v);
    else if (n > 0)
        _mm256_maskstore_ps(y, nct_lanes8(n), v);
}

/* n columns of n_panels panels and n_rows rows; `more` continues the chains in y, else they begin at 0.
 * The first n_out outputs exist. */
NCT_INLINE void run_tile(const enum form form, const int n_rows, const int n_panels, const uint8_t *panel,
                         size_t panel_bytes, const float *x, size_t x_stride, size_t n, bool more, float *y,
                         size_t y_stride, size_t n_out) {
    __m256 sum[MAX_ROWS][2 * MAX_PANELS];
    const size_t half_bytes = NCT_YMM * value_bytes(form);
    NCT_UNROLL for (int r = 0; r < n_rows; r++)
        NCT_UNROLL for (int h = 0; h < 2 * n_panels; h++) {
            size_t o = (size_t)h * NCT_YMM;
            sum[r][h] = more && o < n_out ? load_out(y + (size_t)r * y_stride + o, n_out - o) : _mm256_setzero_ps();
        }
    for (size_t k = 0; k < n; k++, panel += 2 * half_bytes) {
        NCT_UNROLL for (int p = 0; p < n_panels; p++) {
            const uint8_t *at = panel + (size_t)p * panel_bytes;
            if (n_rows <= 2)
                _mm_prefetch((const char *)at + AHEAD, _MM_HINT_T0);
            __m256 c0 = load8(form, at), c1 = load8(form, at + half_bytes);
            NCT_UNROLL for (int r = 0; r < n_rows; r++) {
                __m256 v = _mm256_broadcast_ss(x + (size_t)r * x_stride + k);
                sum[r][2 * p] = _mm256_fmadd_ps(c0, v, sum[r][2 * p]);
                sum[r][2 * p + 1] = _mm256_fmadd_ps(c1, v, sum[r][2 * p + 1]);
            }
        }
    }
    NCT_UNROLL for (int r = 0; r < n_rows; r++)
        NCT_UNROLL for (int h = 0; h < 2 * n_panels; h++) {
            size_t o = (size_t)h * NCT_YMM;
            if (o < n_out)
                store_out(y + (size_t)r * y_stride + o, n_out - o, sum[r][h]);
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
    TILE(form, 2, 2)                                                                                                   \
    TILE(form, 3, 2)                                                                                                   \
    TILE(form, 1, 1)                                                                                                   \
    TILE(form, 2, 1)                                                                                                   \
    TILE(form, 3, 1)                                                                                                   \
    TILE(form, 4, 1)                                                                                                   \
    TILE(form, 5, 1)                                                                                                   \
    TILE(form, 6, 1)                                                                                                   \
    static tile_fn *const form##_by_rows[MAX_ROWS] = {form##_1x1, form##_2x1, form##_3x1,                              \
                                                      form##_4x1, form##_5x1, form##_6x1};                             \
    static tile_fn *const form##_few[FEW_ROWS] = {form##_1x4, form##_2x2, form##_3x2};
TILES(F32)
TILES(F16)
TILES(BF16)

NCT_INLINE void matmul_float(const enum form form, tile_fn *const by_rows[MAX_ROWS], tile_fn *const few[FEW_ROWS],
                             const nct_panels *w, const float *x, size_t x_stride, size_t n_rows, float *y,
                             size_t y_stride, size_t first, size_t end) {
    const size_t column_bytes = NCT_PANEL * value_bytes(form), stretch = n_rows > MAX_ROWS ? STRETCH : w->n_cols;
    for (size_t p = first; p < end;) {
        const uint8_t *panel = w->data + p * w->panel_bytes;
        float *to = y + p * NCT_PANEL;
        if (n_rows - 1 < FEW_ROWS && p + panels_of_few[n_rows - 1] <= end) {
            few[n_rows - 1](panel, w->panel_bytes, x, x_stride, w->n_cols, false, to, y_stride, nct_outputs_left(w, p));
            p += panels_of_few[n_rows - 1];
            continue;
        }
        for (size_t k = 0; k < w->n_cols; k += stretch)
            for (size_t t = 0, rows; t < n_rows; t += rows) {
                rows = nct_tile_rows(n_rows - t, MAX_ROWS);
                by_rows[rows - 1](panel + k * column_bytes, w->panel_bytes, x + t * x_stride + k, x_stride,
                                  w->n_cols - k < stretch ? w->n_cols - k : stretch, k > 0, to + t * y_stride, y_stride,
                                  nct_outputs_left(w, p));
            }
        p++;
    }
}

static void matmul_f32(const nct_panels *w, const float *x, size_t x_stride, size_t n_rows, float *y, size_t y_stride,
                       size_t first, size_t end) {
    matmul_float(F32, F32_by_rows, F32_few, w, x, x_stride, n_rows, y, y_stride, first, end);
}
static void matmul_f16(const nct_panels *w, const float *x, size_t x_stride, size_t n_rows, float *y, size_t y_stride,
                       size_t first, size_t end) {
    matmul_float(F16, F16_by_rows, F16_few, w, x, x_stride, n_rows, y, y_stride, first, end);
}
static void matmul_bf16(const nct_panels *w, const float *x, size_t x_stride, size_t n_rows, float *y, size_t y_stride,
                        size_t first, size_t end) {
    matmul_float(BF16, BF16_by_rows, BF16_few, w, x, x_stride, n_rows, y, y_stride, first, end);
}

/* ------------------------------------------------------------------ codes in float arithmetic */

/* Columns of one group, from column `from` of it (a multiple of 16), as value[column][16]. */
NCT_INLINE void expand(const int bits, const nct_panels *w, const uint8_t *panel, size_t g, size_t from, size_t n,
                       float *out) {
    const size_t unit_cols = 32 / (size_t)bits;
    const uint8_t *codes = panel + (nct_group_start(w, g) + from) * NCT_PANEL / 8 * (size_t)bits;
    const __m256i mask = _mm256_set1_epi32((1 << bits) - 1), bias = _mm256_set1_epi32(w->bias);
    NCT_UNROLL for (int h = 0; h < 2; h++) {
        size_t at = g * NCT_PANEL + (size_t)h * NCT_YMM;
        __m256 scale = w->scale_f32 ? load8(F32, panel + w->scale_off + 4 * at) : load8(F16, panel + w->scale_off + 2 * at);
        __m256 min = w->has_min ? load8(F32, panel + w->min_off + 4 * at) : _mm256_setzero_ps();
        for (size_t k = 0; k < n; k++) { /* a 32-bit lane holds one output's columns */
            size_t unit = k / unit_cols;
            size_t shift = 8 * (k % 4) + (size_t)bits * (k % unit_cols / 4);
            __m256i c = _mm256_loadu_si256((const __m256i *)(const void *)(codes + 64 * unit + 32 * h));
            c = _mm256_and_si256(_mm256_srl_epi32(c, _mm_cvtsi64_si128((long long)shift)), mask);
            __m256 v = _mm256_mul_ps(scale, _mm256_cvtepi32_ps(_mm256_sub_epi32(c, bias)));
            _mm256_store_ps(out + k * NCT_PANEL + h * NCT_YMM, _mm256_add_ps(v, min));
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
            for (size_t t = 0, rows; t < n_rows; t += rows) {
                rows = nct_tile_rows(n_rows - t, MAX_ROWS);
                F32_by_rows[rows - 1]((const uint8_t *)slab, 0, x + t * x_stride + k, x_stride, filled, k > 0,
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

void nct_avx2_matmul(nct_kernels *k) {
    k->matmul_f32 = matmul_f32;
    k->matmul_f16 = matmul_f16;
    k->matmul_bf16 = matmul_bf16;
    k->matmul_codes2_exact = matmul_codes2_exact;
    k->matmul_codes4_exact = matmul_codes4_exact;
    k->matmul_codes8_exact = matmul_codes8_exact;
}
