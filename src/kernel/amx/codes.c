/* Integer products of packed codes with many quantized rows. A tile register holds 16 lines of 64 bytes: 16 rows' next
 * 64 columns of activations, or the next 64 columns of a panel's 16 outputs, four columns of all outputs to a line,
 * which is how panels hold bytes; a product of two adds up 16 rows x 16 outputs in 32 bits. When a group's columns are
 * through, the sums are stored and turned to floats by AVX-512, while the next group is multiplied. */
#include <string.h>

#include "kernel/amx/amx.h"
#include "kernel/panel_tiles.h"

enum {
    TILE = 16,      /* rows, and outputs, of a tile of sums */
    DEEP = 64,      /* columns of a tile of activations or codes, at most */
    PANELS = 4,     /* panels of a slab */
    COLS = 512,     /* columns of a slab: 32 KiB of codes */
    MOST = 512,     /* rows whose sums wait side by side: 128 KiB */
    FROM = 32,       /* rows from which it pays: codes that come from memory are better met by 16 rows as they come .. */
    FROM_SHORT = 64, /* .. and groups of 32 columns and less take longer to add up than to multiply */
    OUTPUTS = PANELS * NCT_PANEL,
    SUMS = TILE * TILE, /* of a tile */
};

/* ------------------------------------------------------------------ tiles */

/* Spelt in assembly: the intrinsics of GCC 12 do not say what memory they read. Registers 0 - 3 are sums, 4 and 5
 * activations, 6 and 7 codes. */
#define TILE_ZERO(c)             __asm__ volatile("tilezero %%tmm" #c ::: "memory")
#define TILE_LOAD(t, at, stride) __asm__ volatile("tileloadd (%0,%1,1), %%tmm" #t ::"r"(at), "r"(stride) : "memory")
#define TILE_STORE(c, at)        __asm__ volatile("tilestored %%tmm" #c ", (%0,%1,1)" ::"r"(at), "r"((size_t)64) : "memory")
#define TILE_DOT(c, a, b)        __asm__ volatile("tdpbssd %%tmm" #b ", %%tmm" #a ", %%tmm" #c ::: "memory")

typedef struct tile_shapes { /* as the processor reads it */
    uint8_t palette, first, unused[14];
    uint16_t n_bytes[16]; /* of a line */
    uint8_t n_lines[16];
} tile_shapes;

/* Sums of up to two tiles of rows: n_rows <= 32. */
static void set_up_tiles(size_t n_rows, size_t deep) {
    tile_shapes s = {.palette = 1};
    uint8_t above = (uint8_t)(n_rows < TILE ? n_rows : TILE);
    uint8_t below = (uint8_t)(n_rows > TILE ? n_rows - TILE : above); /* of one tile of rows all are alike */
    for (size_t t = 0; t < 8; t++) {
        s.n_bytes[t] = (uint16_t)(t < 4 || t > 5 ? 64 : deep);
        s.n_lines[t] = t > 5 ? (uint8_t)(deep / 4) : t == 2 || t == 3 || t == 5 ? below : above;
    }
    __asm__ volatile("ldtilecfg %0" ::"m"(s) : "memory");
}

static void release_tiles(void) { __asm__ volatile("tilerelease" ::: "memory"); }

/* Groups are cut into one or two pieces of columns, all alike; a last one that is shorter is filled up with zeros. */
static size_t pieces(const nct_panels *w) { return nct_group_pad(w, w->group) <= DEEP ? 1 : 2; }
static size_t depth(const nct_panels *w) { return nct_group_pad(w, w->group) / pieces(w); }

/* ------------------------------------------------------------------ codes */

/* Codes of n_cols columns of a panel less `bias`, a byte each, to [column / 4][64]; zeros up to n_filled. */
NCT_INLINE void unpack_group(const int bits, const uint8_t *from, int bias, size_t n_cols, size_t n_filled, uint8_t *to) {
    const int n_parts = 8 / bits;
    const __m512i low = _mm512_set1_epi8((char)((1 << bits) - 1)), zero = _mm512_set1_epi8((char)bias);
    uint8_t *end = to + n_filled * TILE;
    for (size_t u = 0; u < n_cols; u += 4 * (size_t)n_parts, from += 64) {
        __m512i c = _mm512_loadu_si512(from);
        NCT_UNROLL for (int part = 0; part < n_parts; part++, to += 64) {
            __m512i code = part > 0 ? _mm512_srli_epi16(c, (unsigned)(bits * part)) : c;
            _mm512_store_si512(to, _mm512_sub_epi8(bits < 8 ? _mm512_and_si512(code, low) : code, zero));
        }
    }
    for (; to < end; to += 64)
        _mm512_store_si512(to, _mm512_setzero_si512());
}

/* The slab of a job, [group][panel][column / 4][64]. */
NCT_INLINE void unpack(const int bits, const nct_panel_job *j, uint8_t *slab) {
    const nct_panels *w = j->w;
    const size_t group = nct_group_pad(w, w->group);
    for (size_t g = j->g; g < j->g_end; g++) {
        const uint8_t *from = j->panel + g * group * NCT_PANEL / 8 * (size_t)bits;
        for (size_t p = 0; p < PANELS; p++, from += w->panel_bytes, slab += group * NCT_PANEL)
            unpack_group(bits, from, w->bias, nct_group_padded(w, g), group, slab);
    }
}

/* ------------------------------------------------------------------ blocks */

/* A tile or two of rows, and a slab. */
typedef struct block {
    const nct_panel_job *j;
    size_t n_rows, deep;
    float *sums, *y; /* [row][OUTPUTS], [row][y_stride]; y: NULL before the last slab */
    size_t y_stride;
    const int8_t *next; /* activations of the block that comes next, from the slab's first column on */
} block;

/* One group's integers that are yet to be turned to floats and added. Floats come from nothing at the first group of
 * all and go to y at the last one, else from and to a place of their own: rows of y often lie a power of two apart,
 * where few lines of a cache hold them all. */
typedef struct waiting {
    const int32_t *sum;  /* [tile of rows][panel][16][16] */
    const float *as;     /* [row][n_groups] */
    const int32_t *qsum; /* [row][n_groups] */
    const float *from;
    float *to;
    size_t from_stride, to_stride;
    const int8_t *next; /* [row][q_stride]: a line of each to be fetched */
    __m512 scale[PANELS], min[PANELS];
} waiting;

NCT_INLINE __m512 scale16(const nct_panels *w, const uint8_t *panel, size_t g) {
    const uint8_t *scales = panel + w->scale_off;
    if (w->scale_f32)
        return _mm512_loadu_ps((const float *)(const void *)scales + g * NCT_PANEL);
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)(scales + g * NCT_PANEL * 2)));
}

static const float nothing[OUTPUTS];

NCT_INLINE void begin_waiting(const int n_tiles, const bool has_min, const block *b, size_t g, size_t panel, size_t turn,
                              const int32_t *sum, waiting *s) {
    const nct_panel_job *j = b->j;
    const nct_panels *w = j->w;
    const size_t at = j->row * j->x->n_groups + g;
    s->sum = sum;
    s->as = j->x->scale + at;
    s->qsum = j->x->sum + at;
    s->next = b->next + turn % (COLS / 64) * 64;
    s->from = s->to = b->sums + panel * NCT_PANEL;
    s->from_stride = s->to_stride = OUTPUTS;
    if (g == 0)
        s->from = nothing, s->from_stride = 0;
    if (g + 1 == j->g_end && b->y)
        s->to = b->y + panel * NCT_PANEL, s->to_stride = b->y_stride;
    for (int p = 0; p < PANELS / n_tiles; p++) {
        const uint8_t *of = j->panel + (panel + (size_t)p) * w->panel_bytes;
        s->scale[p] = scale16(w, of, g);
        if (has_min)
            s->min[p] = _mm512_loadu_ps(of + w->min_off + g * NCT_PANEL * sizeof(float));
    }
}

/* A quarter of what waits: the whole takes about as long as a group's products, and runs beside them only where it is
 * strewn between them. */
NCT_INLINE void add_quarter(const int n_tiles, const bool has_min, const bool whole, const block *b, const waiting *s,
                            const int quarter) {
    enum { STEP = 4 };
    const int n_panels = PANELS / n_tiles, n = STEP * n_tiles, first = quarter * n;
    const size_t n_groups = b->j->x->n_groups, q_stride = b->j->x->q_stride;
    const int32_t *sum = s->sum + first / TILE * n_panels * SUMS + first % TILE * TILE;
    const float *as = s->as + (size_t)first * n_groups, *from = s->from + (size_t)first * s->from_stride;
    const int32_t *qsum = s->qsum + (size_t)first * n_groups;
    float *to = s->to + (size_t)first * s->to_stride;
    const int8_t *next = s->next + (size_t)first * q_stride;
    const int end = whole ? n : (int)b->n_rows - first;
    NCT_UNROLL for (int r = 0; r < n; r++) {
        if (!whole && r >= end)
            break;
        __m512 a = _mm512_set1_ps(*as);
        _mm_prefetch((const char *)next, _MM_HINT_T0);
        NCT_UNROLL for (int p = 0; p < n_panels; p++) {
            __m512 v = _mm512_cvtepi32_ps(_mm512_load_si512(sum + p * SUMS));
            __m512 y = _mm512_fmadd_ps(_mm512_mul_ps(s->scale[p], a), v, _mm512_loadu_ps(from + p * NCT_PANEL));
            if (has_min)
                y = _mm512_fmadd_ps(_mm512_mul_ps(s->min[p], a), _mm512_set1_ps((float)*qsum), y);
            _mm512_storeu_ps(to + p * NCT_PANEL, y);
        }
        as += n_groups;
        qsum += n_groups;
        sum += TILE;
        from += s->from_stride;
        to += s->to_stride;
        next += q_stride;
    }
}

/* Two panels' next columns for one tile of rows: sums 0 and 1, or 2 and 3. */
#define DOT_TWO(c0, c1, q, q_stride, code, panel_bytes)                                                                \
    do {                                                                                                               \
        TILE_LOAD(4, q, q_stride);                                                                                     \
        TILE_LOAD(6, code, (size_t)64);                                                                                \
        TILE_DOT(c0, 4, 6);                                                                                            \
        TILE_LOAD(7, (code) + (panel_bytes), (size_t)64);                                                              \
        TILE_DOT(c1, 4, 7);                                                                                            \
    } while (0)
/* The same of the second tile of rows, which may have fewer of them. */
#define DOT_TWO_BELOW(c0, c1, q, q_stride, code, panel_bytes)                                                          \
    do {                                                                                                               \
        TILE_LOAD(5, q, q_stride);                                                                                     \
        TILE_LOAD(6, code, (size_t)64);                                                                                \
        TILE_DOT(c0, 5, 6);                                                                                            \
        TILE_LOAD(7, (code) + (panel_bytes), (size_t)64);                                                              \
        TILE_DOT(c1, 5, 7);                                                                                            \
    } while (0)

/* Two tiles of rows meet two panels at a time, one tile of rows all four. */
NCT_INLINE void run_block(const int n_tiles, const int n_pieces, const bool has_min, const bool whole, const block *b) {
    const nct_panel_job *j = b->j;
    const size_t q_stride = j->x->q_stride, deep = b->deep, group = deep * (size_t)n_pieces, panel_bytes = group * NCT_PANEL;
    const size_t n_panels = PANELS / (size_t)n_tiles;
    const size_t across = n_tiles > 1 ? TILE * q_stride : 0, beside = n_tiles > 1 ? 0 : 2 * panel_bytes; /* to sums 2 and 3 */
    _Alignas(64) int32_t sum[2][PANELS * SUMS]; /* of this group and of the one before */
    waiting s = {0};
    size_t turn = 0;
    for (size_t panel = 0; panel < PANELS; panel += n_panels) {
        const uint8_t *code = j->codes + panel * panel_bytes;
        const int8_t *q = j->x->q + j->row * q_stride + j->g * group;
        for (size_t g = j->g; g < j->g_end; g++, turn++, code += PANELS * panel_bytes, q += group) {
            int32_t *to = sum[turn % 2];
            TILE_ZERO(0);
            TILE_ZERO(1);
            DOT_TWO(0, 1, q, q_stride, code, panel_bytes);
            if (turn > 0)
                add_quarter(n_tiles, has_min, whole, b, &s, 0);
            if (n_pieces > 1)
                DOT_TWO(0, 1, q + deep, q_stride, code + deep * NCT_PANEL, panel_bytes);
            if (turn > 0)
                add_quarter(n_tiles, has_min, whole, b, &s, 1);
            TILE_STORE(0, to);
            TILE_STORE(1, to + SUMS);
            TILE_ZERO(2);
            TILE_ZERO(3);
            DOT_TWO_BELOW(2, 3, q + across, q_stride, code + beside, panel_bytes);
            if (turn > 0)
                add_quarter(n_tiles, has_min, whole, b, &s, 2);
            if (n_pieces > 1)
                DOT_TWO_BELOW(2, 3, q + across + deep, q_stride, code + beside + deep * NCT_PANEL, panel_bytes);
            if (turn > 0)
                add_quarter(n_tiles, has_min, whole, b, &s, 3);
            TILE_STORE(2, to + 2 * SUMS);
            TILE_STORE(3, to + 3 * SUMS);
            begin_waiting(n_tiles, has_min, b, g, panel, turn, to, &s);
        }
    }
    NCT_UNROLL for (int i = 0; i < 4; i++)
        add_quarter(n_tiles, has_min, whole, b, &s, i);
}

/* By tiles of rows, pieces of a group, minima, and whether all rows are there. */
typedef void block_fn(const block *b);
#define BLOCK(n_tiles, n_pieces, min, whole)                                                                           \
    static void block_##n_tiles##n_pieces##min##whole(const block *b) { run_block(n_tiles, n_pieces, min, whole, b); }
#define BLOCKS(n_tiles, n_pieces)                                                                                      \
    BLOCK(n_tiles, n_pieces, 0, 0)                                                                                     \
    BLOCK(n_tiles, n_pieces, 0, 1)                                                                                     \
    BLOCK(n_tiles, n_pieces, 1, 0)                                                                                     \
    BLOCK(n_tiles, n_pieces, 1, 1)
#define FOUR(n_tiles, n_pieces)                                                                                        \
    {                                                                                                                  \
        {block_##n_tiles##n_pieces##00, block_##n_tiles##n_pieces##01},                                                \
            {block_##n_tiles##n_pieces##10, block_##n_tiles##n_pieces##11},                                            \
    }
BLOCKS(1, 1)
BLOCKS(1, 2)
BLOCKS(2, 1)
BLOCKS(2, 2)
static block_fn *const blocks[2][2][2][2] = {{FOUR(1, 1), FOUR(1, 2)}, {FOUR(2, 1), FOUR(2, 2)}};

/* Rows first .. first + n_rows - 1 of y for PANELS panels, as in avx512. `ahead`: panels to where the next call will read, 0
 * if nobody knows. */
static void many_rows(const nct_panels *w, const nct_qrows *x, size_t first, size_t n_rows, float *y, size_t y_stride,
                      size_t panel, size_t ahead) {
    _Alignas(64) uint8_t slab[COLS * OUTPUTS];
    _Alignas(64) float sums[MOST * OUTPUTS];
    const size_t bits = (size_t)nct_code_bits(w->kind), left = nct_outputs_left(w, panel), deep = depth(w);
    const size_t n_blocks = (n_rows + 2 * TILE - 1) / (2 * TILE);
    const uint8_t *codes = w->data + panel * w->panel_bytes;
    nct_panel_job j = {.w = w, .codes = slab, .x = x, .panel = codes};
    size_t shaped = 0; /* rows that the tiles are set up for */
    for (nct_next_slab(&j, COLS); j.g < w->n_groups; nct_next_slab(&j, COLS)) {
        const size_t start = nct_group_start(w, j.g), n_cols = nct_slab_columns(&j);
        if (bits == 2)
            unpack(2, &j, slab);
        else if (bits == 4)
            unpack(4, &j, slab);
        else
            unpack(8, &j, slab);
        const bool last = j.g_end == w->n_groups, whole = left >= OUTPUTS;
        /* lines of each panel that are next, so many of them with every block */
        const uint8_t *next = last ? codes + ahead * w->panel_bytes : codes + (start + n_cols) * NCT_PANEL * bits / 8;
        const size_t n_lines = last && !ahead ? 0 : COLS * NCT_PANEL * bits / 8 / 64, each = (n_lines + n_blocks - 1) / n_blocks;
        size_t line = 0, rows;
        for (size_t row = 0; row < n_rows; row += rows) {
            rows = n_rows - row < 2 * TILE ? n_rows - row : 2 * TILE;
            if (rows != shaped)
                set_up_tiles(shaped = rows, deep);
            j.row = first + row;
            float *mine = sums + row * OUTPUTS, *result = y + j.row * y_stride + panel * NCT_PANEL;
            const int8_t *q = x->q + j.row * x->q_stride + start;
            const int8_t *next_q = row + rows < n_rows ? q + rows * x->q_stride : q;
            block b = {&j, rows, deep, mine, last && whole ? result : NULL, y_stride, next_q};
            for (size_t end = line + each; line < end && line < n_lines; line++)
                NCT_UNROLL for (size_t p = 0; p < PANELS; p++)
                    _mm_prefetch((const char *)next + p * w->panel_bytes + line * 64, _MM_HINT_T1);
            blocks[rows > TILE][pieces(w) - 1][w->has_min][rows % TILE == 0](&b);
            for (size_t r = 0; last && !whole && r < rows; r++)
                memcpy(result + r * y_stride, mine + r * OUTPUTS, left * sizeof *result);
        }
    }
}

/* Whether codes less their bias are signed bytes, and the last group, filled up, ends inside a row. */
static bool fits(const nct_panels *w, const nct_qrows *x) {
    const int highest = (1 << nct_code_bits(w->kind)) - 1;
    return w->bias >= 0 && w->bias <= 128 && highest - w->bias <= 127 &&
           w->n_groups * nct_group_pad(w, w->group) <= x->q_stride;
}

NCT_INLINE void matmul(nct_matmul_codes_fn *few_rows, const nct_panels *w, const nct_qrows *x, size_t n_rows, float *y,
                       size_t y_stride, size_t first, size_t end) {
    if (n_rows >= (size_t)(nct_group_pad(w, w->group) > 32 ? FROM : FROM_SHORT) && first + PANELS <= end && fits(w, x)) {
        for (; first + PANELS <= end; first += PANELS)
            for (size_t row = 0; row < n_rows; row += MOST)
                many_rows(w, x, row, n_rows - row < MOST ? n_rows - row : MOST, y, y_stride, first,
                          first + 2 * PANELS <= end ? PANELS : 0);
        release_tiles();
    }
    if (first < end)
        few_rows(w, x, n_rows, y, y_stride, first, end);
}

static void matmul_codes2(const nct_panels *w, const nct_qrows *x, size_t n_rows, float *y, size_t y_stride, size_t first,
                          size_t end) {
    matmul(nct_avx512_matmul_codes2, w, x, n_rows, y, y_stride, first, end);
}

static void matmul_codes4(const nct_panels *w, const nct_qrows *x, size_t n_rows, float *y, size_t y_stride, size_t first,
                          size_t end) {
    matmul(nct_avx512_matmul_codes4, w, x, n_rows, y, y_stride, first, end);
}

static void matmul_codes8(const nct_panels *w, const nct_qrows *x, size_t n_rows, float *y, size_t y_stride, size_t first,
                          size_t end) {
    matmul(nct_avx512_matmul_codes8, w, x, n_rows, y, y_stride, first, end);
}

void nct_amx_codes(nct_kernels *k) {
    k->matmul_codes2 = matmul_codes2;
    k->matmul_codes4 = matmul_codes4;
    k->matmul_codes8 = matmul_codes8;
}
