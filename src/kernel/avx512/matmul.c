/* Products with float weights, and with codes in float arithmetic. Each output is one chain of fused
 * multiply-adds over ascending columns; chains run side by side, and pause in y between stretches of
 * columns, which changes no bit. */
#include "base/num.h"
#include "kernel/avx512/avx512.h"
#include "kernel/panel_tiles.h"

enum {
    STRETCH = 256,    /* columns done for all rows before the next */
    PANELS = 4,       /* panels of a tile */
    MAX_ROWS = 6,     /* rows of a tile: 24 accumulators */
    EXACT_COLS = 128, /* columns of PANELS panels turned from codes to floats at a time: 32 KiB */
    AHEAD = 2048,     /* bytes fetched ahead of use in each panel that is streamed */
};

enum form { F32, F16, BF16 };

NCT_INLINE size_t column_bytes(const enum form form) { return NCT_PANEL * (form == F32 ? 4 : 2); }

NCT_INLINE __m512 load16(const enum form form, const uint8_t *p) {
    if (form == F32)
        return _mm512_loadu_ps(p);
    __m256i h = _mm256_loadu_si256((const __m256i *)(const void *)p);
    if (form == F16)
        return _mm512_cvtph_ps(h);
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(h), 16));
}

/* n columns of n_panels panels and n_rows rows; `more` continues the chains in y, else they begin at 0.
 * The first n_out outputs exist. */
NCT_INLINE void run_tile(const enum form form, const int n_rows, const int n_panels, const uint8_t *panel,
                         size_t panel_bytes, const float *x, size_t x_stride, size_t n, bool more, float *y,
                         size_t y_stride, size_t n_out) {
    __m512 sum[MAX_ROWS][PANELS];
    __mmask16 lanes[PANELS];
    NCT_UNROLL for (int p = 0; p < n_panels; p++)
        lanes[p] = (size_t)p * NCT_PANEL < n_out ? nct_lanes16(n_out - (size_t)p * NCT_PANEL) : 0;
    NCT_UNROLL for (int r = 0; r < n_rows; r++)
        NCT_UNROLL for (int p = 0; p < n_panels; p++)
            sum[r][p] = _mm512_maskz_loadu_ps(more ? lanes[p] : 0, y + (size_t)r * y_stride + p * NCT_PANEL);
    for (size_t k = 0; k < n; k++, panel += column_bytes(form)) {
        __m512 c[PANELS];
        NCT_UNROLL for (int p = 0; p < n_panels; p++) {
            const uint8_t *at = panel + (size_t)p * panel_bytes;
            if (n_rows <= 2)
                _mm_prefetch((const char *)at + AHEAD, _MM_HINT_T0);
            c[p] = load16(form, at);
        }
        NCT_UNROLL for (int r = 0; r < n_rows; r++) {
            __m512 v = _mm512_set1_ps(x[(size_t)r * x_stride + k]);
            NCT_UNROLL for (int p = 0; p < n_panels; p++)
                sum[r][p] = _mm512_fmadd_ps(c[p], v, sum[r][p]);
        }
    }
    NCT_UNROLL for (int r = 0; r < n_rows; r++)
        NCT_UNROLL for (int p = 0; p < n_panels; p++)
            _mm512_mask_storeu_ps(y + (size_t)r * y_stride + p * NCT_PANEL, lanes[p], sum[r][p]);
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
    TILE(form, 1, 1)                                                                                                   \
    TILE(form, 2, 1)                                                                                                   \
    TILE(form, 3, 1)                                                                                                   \
    TILE(form, 4, 1)                                                                                                   \
    TILE(form, 5, 1)                                                                                                   \
    TILE(form, 6, 1)                                                                                                   \
    TILE(form, 1, 4)                                                                                                   \
    TILE(form, 2, 4)                                                                                                   \
    TILE(form, 3, 4)                                                                                                   \
    TILE(form, 4, 4)                                                                                                   \
    TILE(form, 5, 4)                                                                                                   \
    TILE(form, 6, 4)                                                                                                   \
    static tile_fn *const form##_tiles[2][MAX_ROWS] = {                                                                \
        {form##_1x1, form##_2x1, form##_3x1, form##_4x1, form##_5x1, form##_6x1},                                      \
        {form##_1x4, form##_2x4, form##_3x4, form##_4x4, form##_5x4, form##_6x4},                                      \
    };
TILES(F32)
TILES(F16)
TILES(BF16)

NCT_INLINE void matmul_float(const enum form form, tile_fn *const tiles[2][MAX_ROWS], const nct_panels *w,
                             const float *x, size_t x_stride, size_t n_rows, float *y, size_t y_stride, size_t first,
                             size_t end) {
    const size_t stretch = n_rows > MAX_ROWS ? STRETCH : w->n_cols;
    for (size_t p = first, n; p < end; p += n) {
        const uint8_t *panel = w->data + p * w->panel_bytes;
        n = p + PANELS <= end ? PANELS : 1;
        for (size_t k = 0; k < w->n_cols; k += stretch)
            for (size_t t = 0, rows; t < n_rows; t += rows) {
                rows = nct_tile_rows(n_rows - t, MAX_ROWS);
                tiles[n > 1][rows - 1](panel + k * column_bytes(form), w->panel_bytes, x + t * x_stride + k, x_stride,
                                       w->n_cols - k < stretch ? w->n_cols - k : stretch, k > 0,
                                       y + t * y_stride + p * NCT_PANEL, y_stride, nct_outputs_left(w, p));
            }
    }
}

static void matmul_f32(const nct_panels *w, const float *x, size_t x_stride, size_t n_rows, float *y, size_t y_stride,
                       size_t first, size_t end) {
    matmul_float(F32, F32_tiles, w, x, x_stride, n_rows, y, y_stride, first, end);
}
static void matmul_f16(const nct_panels *w, const float *x, size_t x_stride, size_t n_rows, float *y, size_t y_stride,
                       size_t first, size_t end) {
    matmul_float(F16, F16_tiles, w, x, x_stride, n_rows, y, y_stride, first, end);
}
static void matmul_bf16(const nct_panels *w, const float *x, size_t x_stride, size_t n_rows, float *y, size_t y_stride,
                        size_t first, size_t end) {
    matmul_float(BF16, BF16_tiles, w, x, x_stride, n_rows, y, y_stride, first, end);
}

/* ------------------------------------------------------------------ codes in float arithmetic */

/* Columns of one group, from column `from` of it (a multiple of 16), as value[column][16]. */
NCT_INLINE void expand(const int bits, const nct_panels *w, const uint8_t *panel, size_t g, size_t from, size_t n,
                       float *out) {
    const size_t unit_cols = 32 / (size_t)bits;
    const uint8_t *codes = panel + (nct_group_start(w, g) + from) * NCT_PANEL / 8 * (size_t)bits;
    const __m512i mask = _mm512_set1_epi32((1 << bits) - 1), bias = _mm512_set1_epi32(w->bias);
    const size_t at = g * NCT_PANEL;
    __m512 scale = w->scale_f32 ? load16(F32, panel + w->scale_off + 4 * at) : load16(F16, panel + w->scale_off + 2 * at);
    __m512 min = w->has_min ? load16(F32, panel + w->min_off + 4 * at) : _mm512_setzero_ps();
    for (size_t k = 0; k < n; k++) { /* a 32-bit lane holds one output's columns */
        size_t unit = k / unit_cols;
        size_t shift = 8 * (k % 4) + (size_t)bits * (k % unit_cols / 4);
        __m512i c = _mm512_srl_epi32(_mm512_loadu_si512(codes + 64 * unit), _mm_cvtsi64_si128((long long)shift));
        __m512 v = _mm512_mul_ps(scale, _mm512_cvtepi32_ps(_mm512_sub_epi32(_mm512_and_si512(c, mask), bias)));
        _mm512_store_ps(out + k * NCT_PANEL, _mm512_add_ps(v, min));
    }
}

NCT_INLINE void matmul_exact(const int bits, const nct_panels *w, const float *x, size_t x_stride, size_t n_rows,
                             float *y, size_t y_stride, size_t first, size_t end) {
    _Alignas(64) float slab[PANELS][EXACT_COLS * NCT_PANEL];
    for (size_t p = first, n; p < end; p += n) {
        n = p + PANELS <= end ? PANELS : 1;
        size_t g = 0, from = 0; /* the next column: group, and place in it */
        for (size_t k = 0, filled; k < w->n_cols; k += filled) {
            for (filled = 0; g < w->n_groups && filled < EXACT_COLS;) {
                size_t left = nct_group_size(w, g) - from, take = EXACT_COLS - filled;
                if (take >= left)
                    take = left;
                else if ((take &= ~(size_t)15) == 0)
                    break;
                for (size_t i = 0; i < n; i++)
                    expand(bits, w, w->data + (p + i) * w->panel_bytes, g, from, take, slab[i] + filled * NCT_PANEL);
                filled += take;
                from += take;
                if (take == left) {
                    g++;
                    from = 0;
                }
            }
            for (size_t t = 0, rows; t < n_rows; t += rows) {
                rows = nct_tile_rows(n_rows - t, MAX_ROWS);
                F32_tiles[n > 1][rows - 1]((const uint8_t *)slab, sizeof slab[0], x + t * x_stride + k, x_stride, filled,
                                           k > 0, y + t * y_stride + p * NCT_PANEL, y_stride, nct_outputs_left(w, p));
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

void nct_avx512_matmul(nct_kernels *k) {
    k->matmul_f32 = matmul_f32;
    k->matmul_f16 = matmul_f16;
    k->matmul_bf16 = matmul_bf16;
    k->matmul_codes2_exact = matmul_codes2_exact;
    k->matmul_codes4_exact = matmul_codes4_exact;
    k->matmul_codes8_exact = matmul_codes8_exact;
}
