/** Arithmetic: the table of operations, each with its contract, and the ladder of instruction sets.
 *
 *  `ref` fills every entry and is the definition: portable, plain, sums in double. Each rung above
 *  overwrites what it improves. Two promises hold for every entry on every rung:
 *    - a row's result has the same bits whatever other rows, panels or heads the call computes;
 *    - integer sums are exact, so quantized values and integer products agree between rungs; float
 *      results agree with `ref` within the bound stated at the entry.
 *  Orders of float sums are fixed by position (see nct_attend_fn) and never by what is computed together.
 *
 *  To add an instruction set: a folder with the same file names, a row in the list in kernel.c, and its
 *  compiler flags in CMakeLists.txt.
 */
#ifndef NCT_KERNEL_KERNEL_H
#define NCT_KERNEL_KERNEL_H

#include "base/cpu.h"
#include "base/status.h"

/* ------------------------------------------------------------------ packed matrices */

enum {
    NCT_PANEL = 16,      /* outputs (matrix rows) of one panel */
    NCT_GROUP_MAX = 128, /* columns that share one activation scale, at most */
};

typedef enum nct_panel_kind {
    NCT_PANEL_F32, NCT_PANEL_F16, NCT_PANEL_BF16, NCT_PANEL_CODES4, NCT_PANEL_CODES8, NCT_PANEL_CODES2,
} nct_panel_kind;

/** A matrix [n_rows, n_cols] cut into panels of 16 rows; the last one is padded with zeros.
 *
 *  Floats: value[column][16].
 *  Codes of 2, 4 or 8 bits: columns come in groups (`group` columns, the last one shorter), each padded to a
 *  multiple of 8, CODES2 to one of 16, with code `bias` (columns of zero activation). They lie in units of 64
 *  bytes and 32 / bits columns: byte 4*o + j holds column j of output o in its lowest bits, and above it
 *  columns 4 + j (CODES4, CODES2), 8 + j and 12 + j (CODES2). CODES2 is for ternary weights, codes 0, 1, 2 with
 *  bias 1, but 3 is a code like any other. All codes of a panel come first, then its scales [group][16]
 *  (float16, or float32 where a scale needs it), then, if has_min, minima
 *  [group][16] float32. Each part begins at a multiple of 64 bytes.
 *      w[o][k] = scale * (code - bias) + min
 */
typedef struct nct_panels {
    nct_panel_kind kind;
    size_t n_rows, n_cols;
    size_t n_panels;
    size_t panel_bytes;   /* from one panel to the next */
    uint8_t *data;        /* 64-byte aligned */
    /* codes only */
    size_t group, n_groups;
    size_t n_cols_padded; /* sum of the padded groups */
    size_t scale_off, min_off; /* inside a panel */
    int bias;
    bool has_min, scale_f32;
} nct_panels;

/** Columns of group g, and where it begins in padded columns. Groups before the last are all alike. */
static inline size_t nct_group_size(const nct_panels *w, size_t g) {
    return g + 1 < w->n_groups ? w->group : w->n_cols - g * w->group;
}
static inline size_t nct_group_pad(const nct_panels *w, size_t n) {
    size_t unit = w->kind == NCT_PANEL_CODES2 ? 16 : 8;
    return (n + unit - 1) & ~(unit - 1); /* a division by a variable is slow */
}
static inline size_t nct_group_padded(const nct_panels *w, size_t g) { return nct_group_pad(w, nct_group_size(w, g)); }
static inline size_t nct_group_start(const nct_panels *w, size_t g) { return g * nct_group_pad(w, w->group); }

static inline bool nct_is_coded(nct_panel_kind kind) { return kind >= NCT_PANEL_CODES4; }
/** Bits of a code; 0 for floats. */
static inline int nct_code_bits(nct_panel_kind kind) {
    return kind == NCT_PANEL_CODES2 ? 2 : kind == NCT_PANEL_CODES4 ? 4 : kind == NCT_PANEL_CODES8 ? 8 : 0;
}
/** The code of an output (0 .. 15) of a panel and a padded column. */
static inline unsigned nct_code(int bits, const uint8_t *panel, size_t output, size_t column) {
    size_t unit = 32 / (size_t)bits;
    unsigned byte = panel[column / unit * 64 + 4 * output + column % 4];
    return byte >> (size_t)bits * (column % unit / 4) & ((1u << bits) - 1);
}

/** Rows of activations quantized for one panel geometry: per row and group g of columns
 *      q = round-half-even(x * (127 / amax)),  scale = amax / 127   (all zero where amax is 0)
 *  in padded column order, padding zero; sum[g] is the sum of the group's q. amax
 *  ignores NaNs, q is 0 where x * (127 / amax) is one. The same integers and scales on every rung. */
typedef struct nct_qrows {
    int8_t *q;       /* [rows][q_stride] */
    float *scale;    /* [rows][n_groups] */
    int32_t *sum;    /* [rows][n_groups] */
    size_t q_stride; /* a multiple of 64, at least n_cols_padded; see nct_q_stride */
    size_t n_groups;
} nct_qrows;

/** A stride for rows that are read side by side: an odd multiple of 64, so that they do not all fall into the same
 *  places of a cache. */
static inline size_t nct_q_stride(const nct_panels *w) { return ((w->n_cols_padded + 63) / 64 | 1) * 64; }

/** Quantizes the groups [group, group_end) of one row into row `row` of q; x is in panel column order and begins
 *  with the first column of `group`. What lies behind the last group is zeroed with it. */
typedef void nct_quantize_fn(const nct_panels *w, const float *x, const nct_qrows *q, size_t row, size_t group,
                             size_t group_end);

/** y[t][o] = sum over groups g, ascending, of scale * (sum of (code - bias) * q) + min * sum of q, in
 *  float32: each group adds fma(ws * as, (float)isum, y), then with minima fma(wm * as, (float)qsum, y).
 *  For rows 0..n_rows-1 of x and the outputs of panels [panel, panel_end); y is [n_rows][y_stride], its
 *  column 0 the matrix's output 0; padding outputs are not written. Rungs other than ref agree in every bit;
 *  |difference| from ref <= (n + 2) * 2^-24 * sum |terms|, n the number of terms (one a group, or two with
 *  minima). Fastest where panel_end - panel is a multiple of 12: rungs take 2, 3 or 4 panels side by side. */
typedef void nct_matmul_codes_fn(const nct_panels *w, const nct_qrows *x, size_t n_rows, float *y, size_t y_stride,
                                 size_t panel, size_t panel_end);

/** y[t][o] = sum over columns k, ascending, of w[o][k] * x[t][k] in float32 (one chain per output), weights
 *  as stored. x is [n_rows][x_stride] in panel column order (codes: without padding). |difference| from ref
 *  <= (n_cols + 2) * 2^-24 * sum |terms|, the rounding of one chain. */
typedef void nct_matmul_float_fn(const nct_panels *w, const float *x, size_t x_stride, size_t n_rows, float *y,
                                 size_t y_stride, size_t panel, size_t panel_end);

/* ------------------------------------------------------------------ rows */

/** y = weight * x / sqrt(mean(x^2) + eps), n values; y may be x. Within 4e-7 of |y|. */
typedef void nct_rms_norm_fn(const float *x, const float *weight, float eps, size_t n, float *y);

/** Rotates n_heads heads of width d in place, half-rotation layout: (i, i + d/2) by cos[i], sin[i].
 *  Within 2^-22 of the sum of the two terms' magnitudes. */
typedef void nct_rope_fn(float *x, size_t n_heads, size_t d, const float *cos, const float *sin);

/** y[i] = gate[i] / (1 + exp(-gate[i])) * up[i]; y may be gate. Within 6e-7 of |y| + 1e-35. */
typedef void nct_swiglu_fn(const float *gate, const float *up, size_t n, float *y);

/** x[i] += scale * y[i], in one rounding or two. */
typedef void nct_add_scaled_fn(float *x, const float *y, float scale, size_t n);

/* ------------------------------------------------------------------ attention */

enum {
    NCT_STEP = 64,         /* positions of one step: the grid on which a row reduces its keys */
    NCT_SEGMENT_STEPS = 8, /* steps that a row sees, from one merge to the next */
    NCT_STEPS_AHEAD = 3,   /* how many steps before one its address is found out: steps lie anywhere */
    NCT_HEAD_DIM_MAX = 512,
};

/** What cached keys and values are stored as. Everything stored of a token depends on that token alone. */
typedef enum nct_kv_type { NCT_KV_F32, NCT_KV_F16, NCT_KV_BF16, NCT_KV_Q8, NCT_KV_TYPES } nct_kv_type;

/** Keys of one head, `lanes` of them side by side (64 in a block of the cache, fewer in compressed keys):
 *      F32, F16   key[d][lanes]
 *      BF16       pairs along the head, key[(d + 1) / 2][lanes][2], an odd one filled up with zero
 *      Q8         fours along the head, code[(d + 3) / 4][lanes][4], unsigned: 128 + q, filled up with 128,
 *                 then scale[lanes] float32; q = round-half-even(k * (127 / amax)), scale = amax / 127
 *  Values of one head, 64 of them:
 *      F32, F16   value[64][d]
 *      BF16       pairs along the positions, value[32][d][2]
 *      Q8         fours along the positions, code[16][d][4], signed, then scale[64] float32, as of keys
 *  Lane j is the position that is j modulo 64. Lanes nobody sees hold finite values. */
static inline size_t nct_key_bytes(nct_kv_type type, size_t d, size_t lanes) {
    switch (type) {
    case NCT_KV_F16:
        return 2 * d * lanes;
    case NCT_KV_BF16:
        return (d + 1) / 2 * 4 * lanes;
    case NCT_KV_Q8:
        return ((d + 3) / 4 * 4 + sizeof(float)) * lanes;
    default:
        return sizeof(float) * d * lanes;
    }
}
static inline size_t nct_value_bytes(nct_kv_type type, size_t d) {
    switch (type) {
    case NCT_KV_F16:
    case NCT_KV_BF16:
        return 2 * d * NCT_STEP;
    case NCT_KV_Q8:
        return (d + sizeof(float)) * NCT_STEP;
    default:
        return sizeof(float) * d * NCT_STEP;
    }
}

/** "f32", "f16", "bf16", "q8". */
const char *nct_kv_type_name(nct_kv_type type);

/** One block of 64 cached positions of one key-value head. */
typedef struct nct_step {
    const void *k, *v;
} nct_step;

/** Room for one query vector as a rung wants it for one type of keys. A multiple of 64. */
static inline size_t nct_query_bytes(size_t d) { return 64 + (d * sizeof(float) + 63) / 64 * 64; }

/** Readies n query vectors q [n][d] (rotated, divided by sqrt(d)) for keys of a type: out [n][nct_query_bytes],
 *  64-byte aligned, of use to `attend` and `dots` of the same table only. For Q8 the query is rounded like a
 *  key, for BF16 it may be rounded to bfloat16. */
typedef void nct_query_fn(nct_kv_type k_type, const float *q, size_t n, size_t d, uint8_t *out);

/** Rows of query heads that all read one key-value head, and the steps they walk, ascending. */
typedef struct nct_attend_job {
    nct_kv_type k_type, v_type;
    const nct_step *step; /* [n_steps + n_after] */
    const uint64_t *mask; /* [n_steps][n_rows]: lanes that the row sees */
    size_t n_steps, n_after; /* those behind are likely to be attended to next: to be fetched */
    const uint8_t *q; /* readied for k_type: row t's head h is at t * q_stride + h * nct_query_bytes(d) */
    size_t q_stride;
    size_t n_rows, n_heads, d;
    float *m, *l, *acc; /* running totals: [n_rows][n_heads], twice, and [n_rows][n_heads][d] */
    void *scratch;      /* nct_attend_scratch(n_rows, n_heads, d) bytes, 64-byte aligned */
} nct_attend_job;

/** Bytes of the scratch of a job. A multiple of 64. */
size_t nct_attend_scratch(size_t n_rows, size_t n_heads, size_t d);

/** Attention. A step with mask 0 is skipped for that row, exactly. The steps that a row sees are counted from
 *  the first of the call; every eight of them are a segment, reduced on its own and then merged into the
 *  row's totals as nct_attend_merge_fn says. In a segment, for each head, from m = -inf, l = 0, acc = 0:
 *      s_j = (sum over i, ascending, of q_i * k[j][i]);  m' a number with s_j - m' <= 8 for all visible j
 *      a = exp(m - m');  p_j = exp(s_j - m') for visible lanes, else 0
 *      l = l * a + sum of p_j;  acc = acc * a + sum over j, ascending, of p_j * v[j];  m = m'
 *  ref takes m' = max(m, s_j); what a rung takes is a function of the row's own numbers.
 *  Keys in Q8: integer sum over i of q_i * k[j][i], exact, times both scales. Values in Q8: with w_j = p_j *
 *  scale[j] and W the largest, acc gains W / 255 * sum of round(w_j * (255 / W)) * v[j], the sum exact.
 *  Values in BF16: p_j may be rounded to bfloat16.
 *
 *  Against ref, as logarithm of the sum of exponentials and as normalised result: e the error of a score is
 *  d * 2^-24 * sum |q_i k_i| and in BF16 2^-8 * sum |q_i k_i| more; log-sum-exp within e + 1e-5, acc / l within
 *  (2 e + 1e-5) times the largest visible |v|. Where values are BF16 or Q8 the first may be 1e-4 more, and the
 *  second 2^-8 or 2^-6 of |v|. */
typedef void nct_attend_fn(const nct_attend_job *job);

/** Merges a segment (m, l, acc) into a running total of n heads, in ascending order of segments, always.
 *  A total with l = 0 becomes the segment; a segment with l = 0 changes nothing. */
typedef void nct_attend_merge_fn(float *m_total, float *l_total, float *acc_total, const float *m, const float *l,
                                 const float *acc, size_t n, size_t d);

/* ------------------------------------------------------------------ scoring pooled keys */

/** s[h * s_stride + j] = score of query h < n_heads (readied for k_type, nct_query_bytes apart) and key
 *  j < n_lanes, as in attention; k holds `lanes` keys. Lanes from n_lanes on are not written. next: as many keys that
 *  are likely to be scored next, to be fetched, or NULL. */
typedef void nct_dots_fn(nct_kv_type k_type, const void *k, size_t lanes, size_t n_lanes, const void *next,
                         const uint8_t *q, size_t n_heads, size_t d, float *s, size_t s_stride);

/** The largest of s[0..n), n > 0. */
typedef float nct_max_fn(const float *s, size_t n);

/** Sum of exp(s[j] - m) over j < n, m the largest; its order depends on n alone. Within 4e-6 of itself, without
 *  `accurate` 1e-5. */
typedef float nct_exp_sum_fn(const float *s, size_t n, float m, bool accurate);

/** total[j] = sum over heads h < n_heads, ascending, of exp(min(s[h * s_stride + j] - m[h], 80)) * factor[h], for
 *  j < n. Within 4e-6 of itself, without `accurate` 1e-5. */
typedef void nct_exp_heads_fn(const float *s, size_t s_stride, size_t n_heads, size_t n, const float *m, const float *factor,
                              bool accurate, float *total);

/** What exp_heads, not `accurate`, makes of the scores that dots gives for keys in Q8, in one and to the same bits: total
 *  [n_lanes]; lanes a multiple of 16, and all keys finite. NULL where a rung has nothing better than these two. */
typedef void nct_exp_dots_fn(const void *k, size_t lanes, size_t n_lanes, const void *next, const uint8_t *q, size_t n_heads,
                             size_t d, const float *m, const float *factor, float *total);

/** score[b] = the largest of the s + 1 values total[s b - 1 .. s b + s - 1], for b < n: total[-1] is one of them. Any of
 *  these where one is a NaN. */
typedef void nct_window_max_fn(const float *total, size_t s, size_t n, float *score);

/** How many of s[0..n) are larger than cut. */
typedef size_t nct_count_above_fn(const float *s, size_t n, float cut);

/** The numbers j < n of those, ascending, to index, which has room for one more; returns how many. */
typedef size_t nct_find_above_fn(const float *s, size_t n, float cut, uint32_t *index);

/* ------------------------------------------------------------------ the table */

typedef struct nct_kernels {
    const char *isa;     /* the rung this table was picked for */
    nct_kv_type kv_type; /* 16-bit keys and values that this rung computes with */
    nct_quantize_fn *quantize;
    nct_matmul_codes_fn *matmul_codes2, *matmul_codes4, *matmul_codes8;
    nct_matmul_float_fn *matmul_f32, *matmul_f16, *matmul_bf16;
    nct_matmul_float_fn *matmul_codes2_exact, *matmul_codes4_exact, *matmul_codes8_exact;
    nct_rms_norm_fn *rms_norm;
    nct_rope_fn *rope;
    nct_swiglu_fn *swiglu;
    nct_add_scaled_fn *add_scaled;
    nct_query_fn *query;
    nct_attend_fn *attend;
    nct_attend_merge_fn *attend_merge;
    nct_dots_fn *dots;
    nct_max_fn *max;
    nct_exp_sum_fn *exp_sum;
    nct_exp_heads_fn *exp_heads;
    nct_exp_dots_fn *exp_dots;
    nct_window_max_fn *window_max;
    nct_count_above_fn *count_above;
    nct_find_above_fn *find_above;
} nct_kernels;

/** Climbs the ladder as far as the processor and `isa` (NULL or "": no limit) allow. NCT_E_ARGUMENT for a
 *  name that is no rung of this build, NCT_E_UNSUPPORTED for one this processor lacks. */
nct_status nct_kernels_pick(const char *isa, nct_kernels *kernels, nct_error *err);

/** Names of this build's rungs, lowest first; NULL past the end. */
const char *nct_kernels_rung(size_t index);

#endif
