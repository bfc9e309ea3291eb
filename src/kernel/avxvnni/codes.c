/* Integer products of packed codes with quantized rows: a 32-byte load holds 8 outputs, a dot product adds four
 * columns of each, and an accumulator is one row's 8 outputs, half a panel. There are 16 registers: every tile
 * holds at most 12 accumulators, and beside them either its rows' activations or its panels' codes. */
#include <string.h>

#include "kernel/avxvnni/avxvnni.h"
#include "kernel/panel_tiles.h"

enum {
    MAX_ROWS = 6,   /* rows of a tile */
    MAX_PANELS = 4, /* panels of a tile */
    MAX_HALVES = 2 * MAX_PANELS,
    SLAB_PANELS = 2, /* many rows: so many panels at a time .. */
    SLAB_COLS = 512, /* .. over so many columns unpacked to bytes: 16 KiB */
    SLAB_FROM = 24,  /* rows from which unpacking pays */
    AHEAD = 4096,    /* bytes fetched ahead of use in each panel that is streamed */
};

NCT_INLINE __m256i load32(const void *p) { return _mm256_loadu_si256((const __m256i *)p); }

NCT_INLINE __m256 scale8(const nct_panels *w, const uint8_t *panel, size_t g, int half) {
    size_t i = g * NCT_PANEL + (size_t)half * NCT_YMM;
    if (w->scale_f32)
        return _mm256_loadu_ps((const float *)(const void *)(panel + w->scale_off) + i);
    return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)(panel + w->scale_off + 2 * i)));
}

/* The forms of codes: pairs of bits, nibbles and bytes that stream by, and bytes that lie in the nearest cache. */
enum form { PAIRS, NIBBLES, BYTES, NEAR };

NCT_INLINE int bits_of(const enum form form) { return form == PAIRS ? 2 : form == NIBBLES ? 4 : 8; }

/* Where a tile reads: half panels of one group's codes, what to fetch meanwhile, each row's activations. */
typedef struct tile {
    const uint8_t *code[MAX_HALVES], *ahead[MAX_PANELS];
    const int8_t *q[MAX_ROWS];
} tile;

/* Part `part` of a unit: four columns of 8 outputs, a byte each. The address is hidden so that every part loads
 * again: registers are what is short. */
NCT_INLINE __m256i codes_of(const enum form form, const uint8_t *at, const int part) {
    __asm__("" : "+r"(at));
    __m256i c = load32(at);
    if (part > 0)
        c = _mm256_srli_epi16(c, bits_of(form) * part);
    return bits_of(form) == 8 ? c : _mm256_and_si256(c, _mm256_set1_epi8((char)((1 << bits_of(form)) - 1)));
}

/* Sums of code * q over n_cols columns, on top of what is there. */
NCT_INLINE void add_group(const enum form form, const int n_rows, const int n_halves, const tile *at,
                          size_t n_cols, __m256i sum[MAX_ROWS][MAX_HALVES]) {
    const int n_parts = 8 / bits_of(form);
    for (size_t i = 0, byte = 0; i < n_cols; i += 4 * (size_t)n_parts, byte += 64) {
        NCT_UNROLL for (int p = 0; p < n_halves / 2; p++) if (form != NEAR)
            _mm_prefetch((const char *)at->ahead[p] + byte, _MM_HINT_T0);
        NCT_UNROLL for (int part = 0; part < n_parts; part++) {
            const size_t column = i + 4 * (size_t)part;
            if (n_rows <= 4 && n_halves > 2) {
                __m256i q[MAX_ROWS];
                NCT_UNROLL for (int r = 0; r < n_rows; r++) q[r] = nct_four(at->q[r] + column);
                NCT_UNROLL for (int h = 0; h < n_halves; h++) {
                    __m256i c = codes_of(form, at->code[h] + byte, part);
                    NCT_UNROLL for (int r = 0; r < n_rows; r++) sum[r][h] = nct_dot8(sum[r][h], c, q[r]);
                }
            } else {
                __m256i c[2] = {codes_of(form, at->code[0] + byte, part),
                                codes_of(form, at->code[1] + byte, part)};
                NCT_UNROLL for (int r = 0; r < n_rows; r++) {
                    __m256i q = nct_four(at->q[r] + column);
                    sum[r][0] = nct_dot8(sum[r][0], c[0], q);
                    sum[r][1] = nct_dot8(sum[r][1], c[1], q);
                }
            }
        }
    }
}

NCT_INLINE void run_tile(const enum form form, const int n_rows, const int n_panels, const nct_panel_job *j) {
    const nct_panels *w = j->w;
    const int n_halves = 2 * n_panels;
    const size_t n_groups = j->x->n_groups, panel_bytes = w->panel_bytes, y_stride = j->y_stride;
    const size_t column_bytes = NCT_PANEL / 8 * (size_t)bits_of(form),
                 code_bytes = w->n_cols_padded * column_bytes;
    const size_t begin = nct_group_start(w, j->g);
    const size_t scale_bytes = NCT_PANEL * (w->scale_f32 ? sizeof(float) : sizeof(uint16_t));
    const float *as = j->x->scale + j->row * n_groups;
    const int32_t *qsum = j->x->sum + j->row * n_groups;
    float *y = j->y;
    if (j->g == 0)
        for (int r = 0; r < n_rows; r++)
            memset(y + (size_t)r * y_stride, 0, (size_t)n_panels * NCT_PANEL * sizeof *y);
    for (size_t g = j->g; g < j->g_end; g++) {
        const size_t start = nct_group_start(w, g), n_cols = nct_group_padded(w, g);
        const size_t beyond = start * column_bytes + AHEAD;
        tile at;
        NCT_UNROLL for (int h = 0; h < n_halves; h++) at.code[h] =
            j->codes + (size_t)(h / 2) * panel_bytes + (start - begin) * column_bytes + 32 * (h % 2);
        NCT_UNROLL for (int p = 0; p < n_panels; p++) if (form != NEAR) {
            at.ahead[p] = (beyond < code_bytes ? j->panel + beyond : j->next + (beyond - code_bytes)) +
                          (size_t)p * panel_bytes;
            /* the next panels' scales: too few lines at a time to be foreseen */
            _mm_prefetch((const char *)j->next + (size_t)p * panel_bytes + w->scale_off + g * scale_bytes,
                         _MM_HINT_T0);
        }
        __m256i sum[MAX_ROWS][MAX_HALVES];
        NCT_UNROLL for (int r = 0; r < n_rows; r++) {
            at.q[r] = j->x->q + (j->row + (size_t)r) * j->x->q_stride + start;
            NCT_UNROLL for (int h = 0; h < n_halves; h++) sum[r][h] =
                _mm256_set1_epi32(-w->bias * qsum[(size_t)r * n_groups + g]);
        }
        add_group(form, n_rows, n_halves, &at, n_cols, sum);
        NCT_UNROLL for (int h = 0; h < n_halves; h++) {
            __m256 scale = scale8(w, j->panel + (size_t)(h / 2) * panel_bytes, g, h % 2);
            NCT_UNROLL for (int r = 0; r < n_rows; r++) {
                float *to = y + (size_t)r * y_stride + h * NCT_YMM;
                __m256 a = _mm256_broadcast_ss(as + (size_t)r * n_groups + g);
                __m256 v = _mm256_fmadd_ps(_mm256_mul_ps(scale, a), _mm256_cvtepi32_ps(sum[r][h]),
                                           _mm256_loadu_ps(to));
                _mm256_storeu_ps(to, v);
            }
        }
        if (!w->has_min)
            continue;
        for (int h = 0; h < n_halves; h++) {
            const uint8_t *mins = j->panel + (size_t)(h / 2) * panel_bytes + w->min_off;
            __m256 min = _mm256_loadu_ps((const float *)(const void *)mins + g * NCT_PANEL + h % 2 * NCT_YMM);
            for (int r = 0; r < n_rows; r++) {
                float *to = y + (size_t)r * y_stride + h * NCT_YMM;
                __m256 a = _mm256_set1_ps(as[(size_t)r * n_groups + g]),
                       s = _mm256_set1_ps((float)qsum[(size_t)r * n_groups + g]);
                _mm256_storeu_ps(to, _mm256_fmadd_ps(_mm256_mul_ps(min, a), s, _mm256_loadu_ps(to)));
            }
        }
    }
}

#define TILE(form, n_rows, n_panels)                                                                         \
    static void form##_##n_rows##x##n_panels(const nct_panel_job *j) { run_tile(form, n_rows, n_panels, j); }

#define SINGLE(form)                                                                                         \
    TILE(form, 1, 1)                                                                                         \
    TILE(form, 2, 1)                                                                                         \
    TILE(form, 3, 1)                                                                                         \
    TILE(form, 4, 1)                                                                                         \
    TILE(form, 5, 1)                                                                                         \
    TILE(form, 6, 1)                                                                                         \
    static nct_panel_tile_fn *const form##_single[MAX_ROWS] = {form##_1x1, form##_2x1, form##_3x1,                     \
                                                     form##_4x1, form##_5x1, form##_6x1};
/* Few rows are read straight from the panels: as many panels side by side as registers allow. */
#define SEVERAL(form)                                                                                        \
    TILE(form, 1, 4)                                                                                         \
    TILE(form, 2, 3)                                                                                         \
    TILE(form, 3, 2)                                                                                         \
    static nct_panel_tile_fn *const form##_several[FEW_ROWS] = {form##_1x4, form##_2x3, form##_3x2};
enum { FEW_ROWS = 3 };
static const size_t several[FEW_ROWS] = {4, 3, 2};
SINGLE(PAIRS)
SINGLE(NIBBLES)
SINGLE(BYTES)
SINGLE(NEAR)
SEVERAL(PAIRS)
SEVERAL(NIBBLES)
SEVERAL(BYTES)

static void few_rows(nct_panel_tile_fn *const single[MAX_ROWS], nct_panel_tile_fn *const side_by_side[FEW_ROWS],
                     const nct_panels *w, const nct_qrows *x, size_t n_rows, float *y, size_t y_stride,
                     size_t first, size_t end) {
    nct_panel_job j = {.w = w, .x = x, .y_stride = y_stride, .g_end = w->n_groups};
    const size_t most = n_rows <= FEW_ROWS ? several[n_rows - 1] : 1;
    for (size_t p = first, n; p < end; p += n) {
        n = p + most <= end ? most : 1;
        j.codes = w->data + p * w->panel_bytes;
        /* the next panels in turn, or once more these: there is nothing beyond */
        j.next = p + 2 * n <= end ? j.codes + n * w->panel_bytes : j.codes;
        size_t rows;
        for (j.row = 0; j.row < n_rows; j.row += rows) {
            rows = nct_tile_rows(n_rows - j.row, MAX_ROWS);
            nct_panel_tile_run(n > 1 ? side_by_side[rows - 1] : single[rows - 1], rows, n, &j, p, y);
        }
    }
}

/* Codes of n_cols columns of a panel as bytes, four columns of 16 outputs after another. */
NCT_INLINE void unpack(const enum form form, const uint8_t *from, size_t n_cols, uint8_t *slab) {
    const int n_parts = 8 / bits_of(form);
    const size_t n_units = n_cols / 4 / (size_t)n_parts;
    for (size_t u = 0; u < n_units; u++, from += 64) {
        _mm_prefetch((const char *)from + 64 * n_units, _MM_HINT_T1); /* the next slab's */
        NCT_UNROLL for (int part = 0; part < n_parts; part++, slab += 64) {
            _mm256_store_si256((__m256i *)(void *)slab, codes_of(form, from, part));
            _mm256_store_si256((__m256i *)(void *)(slab + 32), codes_of(form, from + 32, part));
        }
    }
}

/* Stretch by stretch of columns, in bytes that stay near. */
static void many_rows(const nct_panels *w, const nct_qrows *x, size_t n_rows, float *y, size_t y_stride,
                      size_t panel, size_t n_panels) {
    _Alignas(64) uint8_t slab[SLAB_PANELS][SLAB_COLS * NCT_PANEL];
    const size_t column_bytes = NCT_PANEL / 8 * (size_t)nct_code_bits(w->kind);
    const uint8_t *codes[SLAB_PANELS];
    nct_panel_job j = {.w = w, .x = x, .y_stride = y_stride};
    for (nct_next_slab(&j, SLAB_COLS); j.g < w->n_groups; nct_next_slab(&j, SLAB_COLS)) {
        size_t start = nct_group_start(w, j.g), n_cols = nct_slab_columns(&j);
        for (size_t p = 0; p < n_panels; p++) {
            const uint8_t *from = w->data + (panel + p) * w->panel_bytes + start * column_bytes;
            codes[p] = w->kind == NCT_PANEL_CODES8 ? from : slab[p];
            if (w->kind == NCT_PANEL_CODES4)
                unpack(NIBBLES, from, n_cols, slab[p]);
            else if (w->kind == NCT_PANEL_CODES2)
                unpack(PAIRS, from, n_cols, slab[p]);
        }
        size_t rows;
        for (j.row = 0; j.row < n_rows; j.row += rows) {
            rows = nct_tile_rows(n_rows - j.row, MAX_ROWS);
            for (size_t p = 0; p < n_panels; p++) {
                j.codes = codes[p];
                nct_panel_tile_run(NEAR_single[rows - 1], rows, 1, &j, panel + p, y);
            }
        }
    }
}

static void matmul(nct_panel_tile_fn *const single[MAX_ROWS], nct_panel_tile_fn *const side_by_side[FEW_ROWS],
                   const nct_panels *w, const nct_qrows *x, size_t n_rows, float *y, size_t y_stride,
                   size_t first, size_t end) {
    if (n_rows == 0)
        return;
    if (n_rows < SLAB_FROM || nct_group_pad(w, w->group) > SLAB_COLS) {
        few_rows(single, side_by_side, w, x, n_rows, y, y_stride, first, end);
        return;
    }
    for (size_t n; first < end; first += n) {
        n = end - first < SLAB_PANELS ? end - first : SLAB_PANELS;
        many_rows(w, x, n_rows, y, y_stride, first, n);
    }
}

static void matmul_codes2(const nct_panels *w, const nct_qrows *x, size_t n_rows, float *y, size_t y_stride,
                          size_t first, size_t end) {
    matmul(PAIRS_single, PAIRS_several, w, x, n_rows, y, y_stride, first, end);
}

static void matmul_codes4(const nct_panels *w, const nct_qrows *x, size_t n_rows, float *y, size_t y_stride,
                          size_t first, size_t end) {
    matmul(NIBBLES_single, NIBBLES_several, w, x, n_rows, y, y_stride, first, end);
}

static void matmul_codes8(const nct_panels *w, const nct_qrows *x, size_t n_rows, float *y, size_t y_stride,
                          size_t first, size_t end) {
    matmul(BYTES_single, BYTES_several, w, x, n_rows, y, y_stride, first, end);
}

void nct_avxvnni_codes(nct_kernels *k) {
    k->matmul_codes2 = matmul_codes2;
    k->matmul_codes4 = matmul_codes4;
    k->matmul_codes8 = matmul_codes8;
}
