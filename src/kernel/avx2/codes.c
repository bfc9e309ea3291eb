/* Integer products of packed codes with quantized rows. Without a dot-product instruction the way is
 * maddubs: unsigned bytes times signed bytes, pairs added in 16 bits, which saturate at 32767. */
#include <string.h>

#include "kernel/avx2/avx2.h"
#include "kernel/panel_tiles.h"

enum {
    MAX_ROWS = 4,   /* rows of a tile */
    MAX_PANELS = 2, /* panels of a tile: two for one or two rows, else one */
    MAX_HALVES = 2 * MAX_PANELS,
    AHEAD = 2048, /* bytes fetched ahead of use in each panel */
};

NCT_INLINE __m256i load32(const void *p) { return _mm256_loadu_si256((const __m256i *)p); }

/* sum + pairs of code * q, in 16 bits. The empty statement keeps GCC from summing all products of a stretch
 * at its end, which no register file has room for. */
NCT_INLINE __m256i add_pairs(__m256i sum, __m256i codes, __m256i q) {
    sum = _mm256_add_epi16(sum, _mm256_maddubs_epi16(codes, q));
    __asm__("" : "+x"(sum));
    return sum;
}

/* Four activations, in every lane. */
NCT_INLINE __m256i four(const int8_t *q) {
    int32_t v;
    memcpy(&v, q, sizeof v);
    return _mm256_set1_epi32(v);
}

NCT_INLINE __m256 scale8(const nct_panels *w, const uint8_t *panel, size_t g, int half) {
    size_t i = g * NCT_PANEL + (size_t)half * NCT_YMM;
    if (w->scale_f32)
        return _mm256_loadu_ps((const float *)(const void *)(panel + w->scale_off) + i);
    return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)(panel + w->scale_off + 2 * i)));
}

/* Where a tile reads: half panels of one group's codes, what to fetch meanwhile, each row's activations. */
typedef struct tile {
    const uint8_t *code[MAX_HALVES], *ahead[MAX_PANELS];
    const int8_t *q[MAX_ROWS];
} tile;

/* ------------------------------------------------------------------ pairs of bits and nibbles */

/* Products of four columns that 16 bits hold: a pair's sum is at most 2 * 3 * 127 = 762, or 2 * 15 * 127 = 3810. */
NCT_INLINE size_t products_held(const int bits) { return bits == 2 ? 32 : 8; }

/* Part `part` of a unit: four columns of 8 outputs, a byte each. */
NCT_INLINE __m256i codes_of(const int bits, const uint8_t *at, const int part) {
    __m256i c = load32(at);
    if (part > 0)
        c = _mm256_srli_epi16(c, bits * part);
    return _mm256_and_si256(c, _mm256_set1_epi8((char)((1 << bits) - 1)));
}

/* Unit u, on top of sums in 16 bits. */
NCT_INLINE void add_unit(const int bits, const int n_rows, const int n_halves, const tile *at, size_t u,
                         __m256i s[MAX_ROWS][MAX_HALVES]) {
    const int n_parts = 8 / bits;
    NCT_UNROLL for (int p = 0; p < n_halves / 2; p++)
        _mm_prefetch((const char *)at->ahead[p] + 64 * u, _MM_HINT_T0);
    NCT_UNROLL for (int part = 0; part < n_parts; part++) {
        const size_t column = 4 * (u * (size_t)n_parts + (size_t)part);
        if (n_rows <= 2) { /* their activations stay in registers */
            __m256i q[MAX_ROWS];
            NCT_UNROLL for (int r = 0; r < n_rows; r++)
                q[r] = four(at->q[r] + column);
            NCT_UNROLL for (int h = 0; h < n_halves; h++) {
                __m256i c = codes_of(bits, at->code[h] + 64 * u, part);
                NCT_UNROLL for (int r = 0; r < n_rows; r++)
                    s[r][h] = add_pairs(s[r][h], c, q[r]);
            }
            continue;
        }
        __m256i c[MAX_HALVES]; /* more rows: the codes do */
        NCT_UNROLL for (int h = 0; h < n_halves; h++)
            c[h] = codes_of(bits, at->code[h] + 64 * u, part);
        NCT_UNROLL for (int r = 0; r < n_rows; r++) {
            __m256i q = four(at->q[r] + column);
            NCT_UNROLL for (int h = 0; h < n_halves; h++)
                s[r][h] = add_pairs(s[r][h], c[h], q);
        }
    }
}

/* As many units as 16 bits hold, or fewer, from unit u on. */
NCT_INLINE void add_units(const int bits, const int n_rows, const int n_halves, const tile *at, size_t u, size_t n,
                          __m256i sum[MAX_ROWS][MAX_HALVES]) {
    const __m256i ones = _mm256_set1_epi16(1);
    __m256i s[MAX_ROWS][MAX_HALVES];
    NCT_UNROLL for (int r = 0; r < n_rows; r++)
        NCT_UNROLL for (int h = 0; h < n_halves; h++)
            s[r][h] = _mm256_setzero_si256();
    for (size_t i = 0; i < n; i++)
        add_unit(bits, n_rows, n_halves, at, u + i, s);
    NCT_UNROLL for (int r = 0; r < n_rows; r++)
        NCT_UNROLL for (int h = 0; h < n_halves; h++)
            sum[r][h] = _mm256_add_epi32(sum[r][h], _mm256_madd_epi16(s[r][h], ones));
}

NCT_INLINE void add_group_small(const int bits, const int n_rows, const int n_halves, const tile *at, size_t n_cols,
                                __m256i sum[MAX_ROWS][MAX_HALVES]) {
    const size_t n_parts = 8 / (size_t)bits, held = products_held(bits) / n_parts;
    size_t u = 0, n_units = n_cols / 4 / n_parts;
    for (; u + held <= n_units; u += held)
        add_units(bits, n_rows, n_halves, at, u, held, sum);
    if (u < n_units)
        add_units(bits, n_rows, n_halves, at, u, n_units - u, sum);
}

/* ------------------------------------------------------------------ bytes */

/* Codes up to 255 would saturate. With c = code - 128, |c| <= 128 as the unsigned factor and q with c's
 * sign as the signed one, a pair's sum is at most 2 * 128 * 127 = 32512. Sums are of c * q. */
NCT_INLINE void add_group8(const int n_rows, const int n_halves, const tile *at, size_t n_cols,
                           __m256i sum[MAX_ROWS][MAX_HALVES]) {
    const __m256i middle = _mm256_set1_epi8(-128), ones = _mm256_set1_epi16(1);
    for (size_t u = 0; u < n_cols / 4; u++) {
        NCT_UNROLL for (int p = 0; p < n_halves / 2; p++)
            _mm_prefetch((const char *)at->ahead[p] + 64 * u, _MM_HINT_T0);
        NCT_UNROLL for (int h = 0; h < n_halves; h++) {
            __m256i c = _mm256_xor_si256(load32(at->code[h] + 64 * u), middle), a = _mm256_abs_epi8(c);
            NCT_UNROLL for (int r = 0; r < n_rows; r++) {
                __m256i pairs = _mm256_maddubs_epi16(a, _mm256_sign_epi8(four(at->q[r] + 4 * u), c));
                sum[r][h] = _mm256_add_epi32(sum[r][h], _mm256_madd_epi16(pairs, ones));
            }
        }
    }
}

/* ------------------------------------------------------------------ tiles */

NCT_INLINE void run_tile(const int bits, const int n_rows, const int n_halves, const nct_panel_job *j) {
    const nct_panels *w = j->w;
    const size_t n_groups = j->x->n_groups, panel_bytes = w->panel_bytes, y_stride = j->y_stride;
    const size_t column_bytes = NCT_PANEL / 8 * (size_t)bits, code_bytes = w->n_cols_padded * column_bytes;
    const int zero_point = bits == 8 ? w->bias - 128 : w->bias;
    const size_t scale_bytes = NCT_PANEL * (w->scale_f32 ? sizeof(float) : sizeof(uint16_t));
    const float *as = j->x->scale + j->row * n_groups;
    const int32_t *qsum = j->x->sum + j->row * n_groups;
    float *y = j->y;
    for (int r = 0; r < n_rows; r++)
        memset(y + (size_t)r * y_stride, 0, (size_t)n_halves * NCT_YMM * sizeof *y);
    for (size_t g = 0; g < n_groups; g++) {
        const size_t start = nct_group_start(w, g), n_cols = nct_group_padded(w, g);
        const size_t beyond = start * column_bytes + AHEAD;
        tile at;
        NCT_UNROLL for (int h = 0; h < n_halves; h++)
            at.code[h] = j->panel + (size_t)(h / 2) * panel_bytes + start * column_bytes + 32 * (h % 2);
        NCT_UNROLL for (int p = 0; p < n_halves / 2; p++) {
            at.ahead[p] = (beyond < code_bytes ? j->panel + beyond : j->next + (beyond - code_bytes)) + (size_t)p * panel_bytes;
            /* the next panels' scales: too few lines at a time to be foreseen */
            _mm_prefetch((const char *)j->next + (size_t)p * panel_bytes + w->scale_off + g * scale_bytes, _MM_HINT_T0);
        }
        __m256i sum[MAX_ROWS][MAX_HALVES];
        NCT_UNROLL for (int r = 0; r < n_rows; r++) {
            at.q[r] = j->x->q + (j->row + (size_t)r) * j->x->q_stride + start;
            NCT_UNROLL for (int h = 0; h < n_halves; h++)
                sum[r][h] = _mm256_set1_epi32(-zero_point * qsum[(size_t)r * n_groups + g]);
        }
        if (bits == 8)
            add_group8(n_rows, n_halves, &at, n_cols, sum);
        else
            add_group_small(bits, n_rows, n_halves, &at, n_cols, sum);
        NCT_UNROLL for (int h = 0; h < n_halves; h++) {
            __m256 scale = scale8(w, j->panel + (size_t)(h / 2) * panel_bytes, g, h % 2);
            NCT_UNROLL for (int r = 0; r < n_rows; r++) {
                float *to = y + (size_t)r * y_stride + h * NCT_YMM;
                __m256 a = _mm256_broadcast_ss(as + (size_t)r * n_groups + g);
                __m256 v = _mm256_fmadd_ps(_mm256_mul_ps(scale, a), _mm256_cvtepi32_ps(sum[r][h]), _mm256_loadu_ps(to));
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
                __m256 a = _mm256_set1_ps(as[(size_t)r * n_groups + g]), s = _mm256_set1_ps((float)qsum[(size_t)r * n_groups + g]);
                _mm256_storeu_ps(to, _mm256_fmadd_ps(_mm256_mul_ps(min, a), s, _mm256_loadu_ps(to)));
            }
        }
    }
}

#define TILE(bits, n_rows, n_panels)                                                                                   \
    static void codes##bits##_##n_rows##x##n_panels(const nct_panel_job *j) { run_tile(bits, n_rows, 2 * n_panels, j); }
#define TILES(bits)                                                                                                    \
    TILE(bits, 1, 1)                                                                                                   \
    TILE(bits, 2, 1)                                                                                                   \
    TILE(bits, 3, 1)                                                                                                   \
    TILE(bits, 4, 1)                                                                                                   \
    TILE(bits, 1, 2)                                                                                                   \
    TILE(bits, 2, 2)                                                                                                   \
    static nct_panel_tile_fn *const codes##bits##_tiles[MAX_PANELS][MAX_ROWS] = {                                                \
        {codes##bits##_1x1, codes##bits##_2x1, codes##bits##_3x1, codes##bits##_4x1},                                  \
        {codes##bits##_1x2, codes##bits##_2x2},                                                                        \
    };
TILES(2)
TILES(4)
TILES(8)

static void matmul(nct_panel_tile_fn *const tiles[MAX_PANELS][MAX_ROWS], const nct_panels *w, const nct_qrows *x, size_t n_rows,
                   float *y, size_t y_stride, size_t first, size_t end) {
    nct_panel_job j = {.w = w, .x = x, .y_stride = y_stride};
    for (size_t p = first, n; p < end; p += n) {
        n = n_rows <= 2 && p + 2 <= end ? 2 : 1;
        /* the next panels in turn, or once more these: there is nothing beyond */
        j.next = w->data + (p + 2 * n <= end ? p + n : p) * w->panel_bytes;
        size_t rows;
        for (j.row = 0; j.row < n_rows; j.row += rows) {
            rows = nct_tile_rows(n_rows - j.row, MAX_ROWS);
            nct_panel_tile_run(tiles[n - 1][rows - 1], rows, n, &j, p, y);
        }
    }
}

static void matmul_codes2(const nct_panels *w, const nct_qrows *x, size_t n_rows, float *y, size_t y_stride, size_t first,
                          size_t end) {
    matmul(codes2_tiles, w, x, n_rows, y, y_stride, first, end);
}
static void matmul_codes4(const nct_panels *w, const nct_qrows *x, size_t n_rows, float *y, size_t y_stride, size_t first,
                          size_t end) {
    matmul(codes4_tiles, w, x, n_rows, y, y_stride, first, end);
}
static void matmul_codes8(const nct_panels *w, const nct_qrows *x, size_t n_rows, float *y, size_t y_stride, size_t first,
                          size_t end) {
    matmul(codes8_tiles, w, x, n_rows, y, y_stride, first, end);
}

void nct_avx2_codes(nct_kernels *k) {
    k->matmul_codes2 = matmul_codes2;
    k->matmul_codes4 = matmul_codes4;
    k->matmul_codes8 = matmul_codes8;
}
