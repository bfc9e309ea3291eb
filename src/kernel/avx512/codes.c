/* Integer products of packed codes with quantized rows: a 64-byte load holds 16 outputs, a dot product adds
 * four columns of each, and an accumulator is one row's 16 outputs of one panel. */
#include <string.h>

#include "kernel/avx512/avx512.h"
#include "kernel/panel_tiles.h"

enum {
    MAX_ROWS = 8,      /* rows of a tile */
    MAX_PANELS = 4,    /* panels of a tile */
    SLAB_ROWS = 6,     /* many rows: tiles of 6 rows x 4 panels, 24 accumulators .. */
    SLAB_PANELS = 4,
    SLAB_COLS = 256,   /* .. over so many columns unpacked to bytes: 32 KiB */
    SLAB_FROM = 96,    /* rows from which unpacking pays */
    SLAB_MOST = 512,   /* rows whose sums wait side by side: 128 KiB */
    SLAB_OUTPUTS = SLAB_PANELS * NCT_PANEL,
    SLAB_GROUPS = SLAB_COLS / 16, /* at most: several groups are multiples of 16 */
    AHEAD = 4096,      /* bytes fetched ahead of use in each panel that is streamed */
};

NCT_INLINE __m512 scale16(const nct_panels *w, const uint8_t *panel, size_t g) {
    const uint8_t *scales = panel + w->scale_off;
    if (w->scale_f32)
        return _mm512_loadu_ps((const float *)(const void *)scales + g * NCT_PANEL);
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)(scales + g * NCT_PANEL * 2)));
}

/* Where a tile reads: one group's codes in each panel, what to fetch meanwhile, each row's activations. */
typedef struct tile {
    const uint8_t *code[MAX_PANELS], *ahead[MAX_PANELS];
    const int8_t *q[MAX_ROWS];
} tile;

/* The forms of codes in panels: pairs of bits, nibbles and bytes. */
enum form { PAIRS, NIBBLES, BYTES };

NCT_INLINE int bits_of(const enum form form) { return form == PAIRS ? 2 : form == NIBBLES ? 4 : 8; }

/* Part `part` of a unit: four columns of 16 outputs, a byte each. */
NCT_INLINE __m512i codes_of(const int bits, const uint8_t *at, const int part) {
    __m512i c = _mm512_loadu_si512(at);
    if (part > 0)
        c = _mm512_srli_epi16(c, (unsigned)(bits * part));
    return bits == 8 ? c : _mm512_and_si512(c, _mm512_set1_epi8((char)((1 << bits) - 1)));
}

/* Sums of code * q over n_cols columns, on top of what is there. */
NCT_INLINE void add_group(const enum form form, const int n_rows, const int n_panels, const tile *at, size_t n_cols,
                          __m512i sum[MAX_ROWS][MAX_PANELS]) {
    const int n_parts = 8 / bits_of(form);
    for (size_t i = 0, byte = 0; i < n_cols; i += 4 * (size_t)n_parts, byte += 64)
        NCT_UNROLL for (int part = 0; part < n_parts; part++) {
            __m512i c[MAX_PANELS];
            NCT_UNROLL for (int p = 0; p < n_panels; p++) {
                const uint8_t *code = at->code[p] + byte;
                if (part == 0)
                    _mm_prefetch((const char *)at->ahead[p] + byte, _MM_HINT_T0);
                if (part > 0) /* read again: registers are what is short */
                    __asm__("" : "+r"(code));
                c[p] = codes_of(bits_of(form), code, part);
            }
            NCT_UNROLL for (int r = 0; r < n_rows; r++) {
                __m512i q = nct_word(at->q[r] + i + 4 * (size_t)part);
                NCT_UNROLL for (int p = 0; p < n_panels; p++)
                    sum[r][p] = nct_dot(sum[r][p], c[p], q);
            }
        }
}

/* Minima times sums of activations. */
NCT_INLINE void add_minima(const int n_rows, const int n_panels, const nct_panel_job *j, size_t g, float *y,
                           size_t y_stride) {
    const size_t n_groups = j->x->n_groups, first = j->row * n_groups + g;
    for (int r = 0; r < n_rows; r++) {
        __m512 a = _mm512_set1_ps(j->x->scale[first + (size_t)r * n_groups]);
        __m512 s = _mm512_set1_ps((float)j->x->sum[first + (size_t)r * n_groups]);
        for (int p = 0; p < n_panels; p++) {
            float *to = y + (size_t)r * y_stride + p * NCT_PANEL;
            const uint8_t *min = j->panel + (size_t)p * j->w->panel_bytes + j->w->min_off + g * NCT_PANEL * sizeof(float);
            _mm512_storeu_ps(to, _mm512_fmadd_ps(_mm512_mul_ps(_mm512_loadu_ps(min), a), s, _mm512_loadu_ps(to)));
        }
    }
}

NCT_INLINE void run_tile(const enum form form, const int n_rows, const int n_panels, const nct_panel_job *j) {
    const nct_panels *w = j->w;
    const size_t n_groups = j->x->n_groups, panel_bytes = w->panel_bytes, y_stride = j->y_stride;
    const size_t code_bytes = w->n_cols_padded * NCT_PANEL / 8 * (size_t)bits_of(form);
    const size_t scale_bytes = NCT_PANEL * (w->scale_f32 ? sizeof(float) : sizeof(uint16_t));
    const float *as = j->x->scale + j->row * n_groups;
    const int32_t *qsum = j->x->sum + j->row * n_groups;
    float *y = j->y;
    if (j->g == 0)
        for (int r = 0; r < n_rows; r++)
            memset(y + (size_t)r * y_stride, 0, (size_t)n_panels * NCT_PANEL * sizeof *y);
    for (size_t g = j->g; g < j->g_end; g++) {
        const size_t start = nct_group_start(w, g), n_cols = nct_group_padded(w, g);
        const size_t offset = start * NCT_PANEL / 8 * (size_t)bits_of(form), beyond = offset + AHEAD;
        tile at;
        NCT_UNROLL for (int p = 0; p < n_panels; p++) {
            at.code[p] = j->panel + (size_t)p * panel_bytes + offset;
            at.ahead[p] = (beyond < code_bytes ? j->panel + beyond : j->next + (beyond - code_bytes)) + (size_t)p * panel_bytes;
            /* the next panels' scales: too few lines at a time to be foreseen */
            _mm_prefetch((const char *)j->next + (size_t)p * panel_bytes + w->scale_off + g * scale_bytes, _MM_HINT_T0);
        }
        __m512i sum[MAX_ROWS][MAX_PANELS];
        NCT_UNROLL for (int r = 0; r < n_rows; r++) {
            at.q[r] = j->x->q + (j->row + (size_t)r) * j->x->q_stride + start;
            NCT_UNROLL for (int p = 0; p < n_panels; p++)
                sum[r][p] = _mm512_set1_epi32(-w->bias * qsum[(size_t)r * n_groups + g]);
        }
        add_group(form, n_rows, n_panels, &at, n_cols, sum);
        __m512 scale[MAX_PANELS];
        NCT_UNROLL for (int p = 0; p < n_panels; p++)
            scale[p] = scale16(w, j->panel + (size_t)p * panel_bytes, g);
        NCT_UNROLL for (int r = 0; r < n_rows; r++) {
            __m512 a = _mm512_set1_ps(as[(size_t)r * n_groups + g]);
            NCT_UNROLL for (int p = 0; p < n_panels; p++) {
                float *to = y + (size_t)r * y_stride + p * NCT_PANEL;
                __m512 v = _mm512_fmadd_ps(_mm512_mul_ps(scale[p], a), _mm512_cvtepi32_ps(sum[r][p]), _mm512_loadu_ps(to));
                _mm512_storeu_ps(to, v);
            }
        }
        if (w->has_min)
            add_minima(n_rows, n_panels, j, g, y, y_stride);
    }
}

#define TILE(form, n_rows, n_panels)                                                                                   \
    static void form##_##n_rows##x##n_panels(const nct_panel_job *j) { run_tile(form, n_rows, n_panels, j); }

/* Few rows are read straight from the panels: as many panels side by side as registers allow. */
#define FEW(form)                                                                                                      \
    TILE(form, 1, 4)                                                                                                   \
    TILE(form, 2, 4)                                                                                                   \
    TILE(form, 3, 4)                                                                                                   \
    TILE(form, 4, 4)                                                                                                   \
    TILE(form, 5, 4)                                                                                                   \
    TILE(form, 6, 4)                                                                                                   \
    TILE(form, 7, 3)                                                                                                   \
    TILE(form, 8, 3)                                                                                                   \
    TILE(form, 1, 1)                                                                                                   \
    TILE(form, 2, 1)                                                                                                   \
    TILE(form, 3, 1)                                                                                                   \
    TILE(form, 4, 1)                                                                                                   \
    TILE(form, 5, 1)                                                                                                   \
    TILE(form, 6, 1)                                                                                                   \
    TILE(form, 7, 1)                                                                                                   \
    TILE(form, 8, 1)                                                                                                   \
    static const struct few form##_few[MAX_ROWS] = {                                                                   \
        {form##_1x1, form##_1x4, 4}, {form##_2x1, form##_2x4, 4}, {form##_3x1, form##_3x4, 4},                         \
        {form##_4x1, form##_4x4, 4}, {form##_5x1, form##_5x4, 4}, {form##_6x1, form##_6x4, 4},                         \
        {form##_7x1, form##_7x3, 3}, {form##_8x1, form##_8x3, 3},                                                      \
    };
struct few {
    nct_panel_tile_fn *one, *several;
    size_t n_several;
};
FEW(PAIRS)
FEW(NIBBLES)
FEW(BYTES)

/* What a tile works with besides its codes: where its sums come from and where they go, [row][SLAB_OUTPUTS], alike but
 * for a first slab; the slab's scales [group][SLAB_OUTPUTS]; and the activations of the tile that is next: each row is
 * too short a piece to be foreseen, and waiting for them was a seventh of the time where a core's own cache does not
 * hold them all. */
typedef struct slab_sums {
    const float *from, *scale;
    float *to;
    const int8_t *next_q;
} slab_sums;

/* Six rows are reached from two pointers and a distance. GCC would rather have a register for each, and there are none
 * left. */
typedef struct six_rows {
    const char *low, *high; /* of rows 0 and 3 */
    size_t stride;
} six_rows;
NCT_INLINE six_rows six_rows_at(const void *first, size_t stride) {
    six_rows rows = {first, (const char *)first + 3 * stride, stride};
    __asm__("" : "+r"(rows.high));
    return rows;
}
NCT_INLINE const void *row_of(const six_rows *rows, int r) {
    return r < 3 ? rows->low + (size_t)r * rows->stride : rows->high + (size_t)(r - 3) * rows->stride;
}
NCT_INLINE void move_on(six_rows *rows, size_t bytes) { rows->low += bytes, rows->high += bytes; }

/* A tile over a slab of codes, j->codes [4 columns][panel][64 bytes]. What stands between two groups cost a fifth of the
 * time once, so nothing is computed there that a pointer which moves on or a constant can tell. */
NCT_INLINE void run_slab(const int n_rows, const nct_panel_job *j, const slab_sums *sums) {
    const nct_panels *w = j->w;
    const size_t n_groups = j->x->n_groups, q_stride = j->x->q_stride, at = j->row * n_groups + j->g;
    const size_t group_bytes = nct_group_pad(w, w->group), last = w->n_groups - 1, last_bytes = nct_group_padded(w, last);
    const __m512i bias = _mm512_set1_epi32(-w->bias);
    six_rows q = six_rows_at(j->x->q + j->row * q_stride + nct_group_start(w, j->g), q_stride);
    six_rows next_q = six_rows_at(sums->next_q, q_stride);
    six_rows as = six_rows_at(j->x->scale + at, n_groups * sizeof(float));
    six_rows qsum = six_rows_at(j->x->sum + at, n_groups * sizeof(int32_t));
    const uint8_t *code = j->codes;
    const float *from = sums->from, *scales = sums->scale;
    float *const to = sums->to;
    for (size_t g = j->g; g < j->g_end; g++, scales += SLAB_OUTPUTS) {
        NCT_UNROLL for (int r = 0; r < n_rows; r++) {
            _mm_prefetch((const char *)row_of(&next_q, r), _MM_HINT_T0);
            _mm_prefetch((const char *)row_of(&next_q, r) + 64, _MM_HINT_T0);
        }
        move_on(&next_q, group_bytes);
        const uint8_t *end = code + (g == last ? last_bytes : group_bytes) * SLAB_OUTPUTS;
        __m512i sum[SLAB_ROWS][SLAB_PANELS];
        NCT_UNROLL for (int r = 0; r < n_rows; r++) {
            const __m512i codes = _mm512_mullo_epi32(nct_word(row_of(&qsum, r)), bias);
            NCT_UNROLL for (int p = 0; p < SLAB_PANELS; p++)
                sum[r][p] = codes;
        }
        move_on(&qsum, sizeof(int32_t));
        for (; code < end; code += 4 * SLAB_OUTPUTS, move_on(&q, 4)) {
            __m512i c[SLAB_PANELS];
            NCT_UNROLL for (int p = 0; p < SLAB_PANELS; p++)
                c[p] = _mm512_load_si512(code + 64 * p);
            NCT_UNROLL for (int r = 0; r < n_rows; r++) {
                __m512i v = nct_word(row_of(&q, r));
                NCT_UNROLL for (int p = 0; p < SLAB_PANELS; p++)
                    sum[r][p] = nct_dot(sum[r][p], c[p], v);
            }
        }
        __asm__("" : "+r"(from)); /* GCC would keep sums in registers that there are not, and spill them */
        __m512 scale[SLAB_PANELS];
        NCT_UNROLL for (int p = 0; p < SLAB_PANELS; p++)
            scale[p] = _mm512_load_ps(scales + p * NCT_PANEL);
        NCT_UNROLL for (int r = 0; r < n_rows; r++) {
            __m512 a = _mm512_set1_ps(*(const float *)row_of(&as, r));
            NCT_UNROLL for (int p = 0; p < SLAB_PANELS; p++) {
                const int i = r * SLAB_OUTPUTS + p * NCT_PANEL;
                __m512 product = _mm512_mul_ps(scale[p], a), v = _mm512_cvtepi32_ps(sum[r][p]);
                _mm512_store_ps(to + i, _mm512_fmadd_ps(product, v, _mm512_load_ps(from + i)));
            }
        }
        move_on(&as, sizeof(float));
        if (w->has_min)
            add_minima(n_rows, SLAB_PANELS, j, g, to, SLAB_OUTPUTS);
        from = to;
    }
}

typedef void slab_tile_fn(const nct_panel_job *j, const slab_sums *sums);
#define SLAB(n_rows)                                                                                                   \
    static void SLAB_##n_rows(const nct_panel_job *j, const slab_sums *sums) { run_slab(n_rows, j, sums); }
SLAB(1)
SLAB(2)
SLAB(3)
SLAB(4)
SLAB(5)
SLAB(6)
static slab_tile_fn *const from_slab[SLAB_ROWS] = {SLAB_1, SLAB_2, SLAB_3, SLAB_4, SLAB_5, SLAB_6};

static void few_rows(const struct few *few, const nct_panels *w, const nct_qrows *x, size_t n_rows, float *y,
                     size_t y_stride, size_t first, size_t end) {
    nct_panel_job j = {.w = w, .x = x, .y_stride = y_stride, .g_end = w->n_groups};
    const size_t most = few[nct_tile_rows(n_rows, MAX_ROWS) - 1].n_several;
    for (size_t p = first, n; p < end; p += n) {
        n = p + most <= end ? most : 1;
        /* the next panels in turn, or once more these: there is nothing beyond */
        j.next = w->data + (p + 2 * n <= end ? p + n : p) * w->panel_bytes;
        for (size_t rows; j.row < n_rows; j.row += rows) {
            rows = nct_tile_rows(n_rows - j.row, MAX_ROWS);
            const struct few *f = &few[rows - 1];
            for (size_t i = 0, m; i < n; i += m) { /* a later, smaller tile may take other numbers of panels */
                m = i + f->n_several <= n ? f->n_several : 1;
                nct_panel_tile_run(m > 1 ? f->several : f->one, rows, m, &j, p + i, y);
            }
        }
        j.row = 0;
    }
}

/* Codes of n_cols columns of SLAB_PANELS panels as slab[4 columns][panel][64 bytes]. */
NCT_INLINE void unpack(const int bits, const nct_panels *w, const uint8_t *codes, size_t n_cols, uint8_t *slab) {
    const int n_parts = 8 / bits;
    const size_t n_units = n_cols / 4 / (size_t)n_parts;
    for (size_t p = 0; p < SLAB_PANELS; p++) {
        const uint8_t *from = codes + p * w->panel_bytes;
        uint8_t *to = slab + 64 * p;
        for (size_t u = 0; u < n_units; u++, from += 64) {
            NCT_UNROLL for (int part = 0; part < n_parts; part++, to += SLAB_PANELS * 64)
                _mm512_store_si512(to, codes_of(bits, from, part));
        }
    }
}

/* The scales of a slab's groups, as floats. */
NCT_INLINE void unpack_scales(const nct_panel_job *j, float *scale) {
    for (size_t g = j->g; g < j->g_end; g++)
        for (size_t p = 0; p < SLAB_PANELS; p++, scale += NCT_PANEL)
            _mm512_store_ps(scale, scale16(j->w, j->panel + p * j->w->panel_bytes, g));
}

/* A tile's rows, [row][SLAB_OUTPUTS], to where they belong. */
NCT_INLINE void put_rows(const float *from, size_t n_rows, size_t n_outputs, float *y, size_t y_stride) {
    for (size_t r = 0; r < n_rows; r++, from += SLAB_OUTPUTS, y += y_stride)
        if (n_outputs == SLAB_OUTPUTS)
            NCT_UNROLL for (int i = 0; i < SLAB_OUTPUTS; i += NCT_ZMM)
                _mm512_storeu_ps(y + i, _mm512_load_ps(from + i));
        else
            memcpy(y, from, n_outputs * sizeof *y);
}

/* Rows first .. first + n_rows - 1 of y for SLAB_PANELS panels. Sums wait from slab to slab in a place of their own:
 * rows of y often lie a power of two apart, where few lines of a cache hold them all. Memory is waited for between
 * the tiles: each fetches a part of the next slab's codes. `ahead`: panels to where the next call will read, 0 if
 * nobody knows. */
static void many_rows(const nct_panels *w, const nct_qrows *x, size_t first, size_t n_rows, float *y, size_t y_stride, size_t panel,
                      size_t ahead) {
    _Alignas(64) static const float nothing[SLAB_ROWS * SLAB_OUTPUTS];
    _Alignas(64) uint8_t slab[SLAB_COLS * SLAB_OUTPUTS];
    _Alignas(64) float wait[SLAB_MOST * SLAB_OUTPUTS], scale[SLAB_GROUPS * SLAB_OUTPUTS];
    const size_t bits = w->kind == NCT_PANEL_CODES2 ? 2 : 4, left = nct_outputs_left(w, panel);
    const size_t n_outputs = left < SLAB_OUTPUTS ? left : SLAB_OUTPUTS;
    const size_t n_tiles = (n_rows + SLAB_ROWS - 1) / SLAB_ROWS;
    const uint8_t *codes = w->data + panel * w->panel_bytes;
    nct_panel_job j = {.w = w, .codes = slab, .x = x, .panel = codes};
    for (nct_next_slab(&j, SLAB_COLS); j.g < w->n_groups; nct_next_slab(&j, SLAB_COLS)) {
        const size_t start = nct_group_start(w, j.g), n_cols = nct_slab_columns(&j);
        if (bits == 2)
            unpack(2, w, codes + start * NCT_PANEL / 4, n_cols, slab);
        else
            unpack(4, w, codes + start * NCT_PANEL / 2, n_cols, slab);
        unpack_scales(&j, scale);
        const bool last = j.g_end == w->n_groups;
        /* lines of each panel that are next, so many of them with every tile */
        const uint8_t *next = last ? codes + ahead * w->panel_bytes : codes + (start + n_cols) * NCT_PANEL * bits / 8;
        const size_t n_lines = last && !ahead ? 0 : SLAB_COLS * NCT_PANEL * bits / 8 / 64, each = (n_lines + n_tiles - 1) / n_tiles;
        size_t line = 0, rows;
        for (size_t row = 0; row < n_rows; row += rows) {
            rows = nct_tile_rows(n_rows - row, SLAB_ROWS);
            j.row = first + row;
            float *waiting = wait + row * SLAB_OUTPUTS;
            const size_t after = row + rows < n_rows ? row + rows : 0; /* or the first of the next slab */
            slab_sums sums = {.from = j.g == 0 ? nothing : waiting,
                              .scale = scale,
                              .to = waiting,
                              .next_q = x->q + (first + after) * x->q_stride + (after ? start : last ? 0 : start + n_cols)};
            for (size_t end = line + each; line < end && line < n_lines; line++)
                NCT_UNROLL for (size_t p = 0; p < SLAB_PANELS; p++)
                    _mm_prefetch((const char *)next + p * w->panel_bytes + line * 64, _MM_HINT_T0);
            from_slab[rows - 1](&j, &sums);
            if (last)
                put_rows(waiting, rows, n_outputs, y + j.row * y_stride + panel * NCT_PANEL, y_stride);
        }
    }
}

static void matmul(const struct few *few, const nct_panels *w, const nct_qrows *x, size_t n_rows, float *y,
                   size_t y_stride, size_t first, size_t end) {
    if (n_rows == 0)
        return;
    if (n_rows >= SLAB_FROM && w->kind != NCT_PANEL_CODES8 && nct_group_pad(w, w->group) <= SLAB_COLS)
        for (; first + SLAB_PANELS <= end; first += SLAB_PANELS)
            for (size_t row = 0; row < n_rows; row += SLAB_MOST)
                many_rows(w, x, row, n_rows - row < SLAB_MOST ? n_rows - row : SLAB_MOST, y, y_stride, first,
                          first + 2 * SLAB_PANELS <= end ? SLAB_PANELS : 0);
    few_rows(few, w, x, n_rows, y, y_stride, first, end);
}

void nct_avx512_matmul_codes2(const nct_panels *w, const nct_qrows *x, size_t n_rows, float *y, size_t y_stride,
                              size_t first, size_t end) {
    matmul(PAIRS_few, w, x, n_rows, y, y_stride, first, end);
}

void nct_avx512_matmul_codes4(const nct_panels *w, const nct_qrows *x, size_t n_rows, float *y, size_t y_stride,
                              size_t first, size_t end) {
    matmul(NIBBLES_few, w, x, n_rows, y, y_stride, first, end);
}

void nct_avx512_matmul_codes8(const nct_panels *w, const nct_qrows *x, size_t n_rows, float *y, size_t y_stride,
                              size_t first, size_t end) {
    matmul(BYTES_few, w, x, n_rows, y, y_stride, first, end);
}

void nct_avx512_codes(nct_kernels *k) {
    k->matmul_codes2 = nct_avx512_matmul_codes2;
    k->matmul_codes4 = nct_avx512_matmul_codes4;
    k->matmul_codes8 = nct_avx512_matmul_codes8;
}
