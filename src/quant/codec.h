/** Weight encodings: what a matrix on disk is, and how its rows unpack without loss.
 *
 *  A codec turns stored rows into one of two plain forms. *Floats*: the row as float32 (exact for F32,
 *  F16, BF16). *Codes*: unsigned integers with a scale and possibly a minimum per group of columns,
 *      w[n][k] = scale[n][g] * (code[n][k] - bias) + min[n][g],   g = group of column k
 *  where bias is the code that stands for zero, and 0 for encodings with minima:
 *
 *      encoding                          form    bias  group        minimum
 *      GPTQ symmetric, Marlin            CODES4  8     the file's   -
 *      GPTQ asymmetric, AWQ              CODES4  0     the file's   -zero * scale
 *      Q4_0                              CODES4  8     32           -
 *      Q4_1, Q4_K                        CODES4  0     32           the block's (Q4_K: -dmin * m)
 *      Q5_0                              CODES8  16    32           -
 *      Q5_1, Q5_K                        CODES8  0     32           the block's (Q5_K: -dmin * m)
 *      Q6_K                              CODES8  32    16           -
 *      Q8_0                              CODES8  128   32           -
 *      ternary, found among floats       CODES2  1     the found    -
 *
 *  Scales and minima are float32 and hold the file's values without rounding (16-bit factors times small
 *  integers; the one exception is -zero * scale of an asymmetric file with float32 scales, rounded once).
 *
 *  An encoding with act-order (GPTQ desc_act) permutes columns so that groups are contiguous: column j
 *  of the unpacked row is column perm[j] of the matrix.
 *
 *  To add an encoding: write codec_NAME.c and add a row to the list in codec.c.
 */
#ifndef NCT_QUANT_CODEC_H
#define NCT_QUANT_CODEC_H

#include "base/status.h"

/** One contiguous piece of a mapped file. Not aligned: load with nct_le16/nct_le32 or memcpy. */
typedef struct nct_part {
    const uint8_t *data;
    size_t n_bytes;
} nct_part;

typedef struct nct_codec nct_codec;

/** What `part` holds, by codec. Floats and ggml blocks: part[0] alone. */
enum {
    NCT_PART_DATA = 0,
    NCT_PART_QWEIGHT = 0,
    NCT_PART_SCALES = 1,
    NCT_PART_QZEROS = 2,
    NCT_PART_G_IDX = 3
};

/** Number types of `type` for floats and for scales: the ids ggml gives them. */
enum { NCT_TYPE_F32 = 0, NCT_TYPE_F16 = 1, NCT_TYPE_BF16 = 30 };

/** One matrix [n_rows, n_cols] as the file holds it: the only thing that crosses from format/ to
 *  quant/. Points into mapped files that outlive it; owns nothing but `perm`. Filled by format/;
 *  `describe` checks that every part is exactly as large as the shape asks for. */
typedef struct nct_stored {
    const nct_codec *codec;
    const char *name; /* tensor name for messages, borrowed */
    size_t n_rows, n_cols;
    nct_part part[4];     /* see above */
    uint32_t type;        /* by codec: dtype of floats, ggml type, dtype of scales */
    size_t group;         /* columns per group for GPTQ-like encodings, n_cols for one group a row */
    size_t n_rows_file;   /* rows of the stored matrix this one is a slice of (fused layers), else n_rows */
    size_t first_row;     /* where the slice begins */
    int zero_offset;      /* added to stored zero points (GPTQ v1: 1) */
    bool symmetric;       /* zero points are all the middle code */
    size_t pair_head_dim; /* > 0: rows are in GGUF's interleaved rope order in heads of this size, to be
                             returned in half-rotation order (row h*d + s*d/2 + i from h*d + 2i + s) */
    int32_t *perm;        /* column order of act-order checkpoints, [n_cols], or NULL; nct_free */
    const void *more;     /* by codec: what does not fit above, borrowed (panels: nct_ready_panels) */
} nct_stored;

/** The row of the stored matrix that row `row` of this one is. */
static inline size_t nct_stored_file_row(const nct_stored *s, size_t row) {
    size_t d = s->pair_head_dim, j = d ? row % d : 0;
    return s->first_row + (d ? row - j + (j < d / 2 ? 2 * j : 2 * (j - d / 2) + 1) : row);
}

typedef enum nct_weight_form {
    NCT_FORM_F32,
    NCT_FORM_F16,
    NCT_FORM_BF16, /* floats; the name says which 16-bit type is exact */
    NCT_FORM_CODES4,
    NCT_FORM_CODES8, /* codes of at most 4 or 8 bits */
    NCT_FORM_CODES2, /* codes of 2 bits */
} nct_weight_form;

/** What unpacking gives, for the whole matrix. */
typedef struct nct_unpacked {
    nct_weight_form form;
    size_t group;   /* codes: columns per group, a multiple of 16 or n_cols; the last group may be short */
    int bias;       /* codes: 0, 1, 8, 16, 32 or 128 */
    bool has_min;   /* codes; bias is then 0 */
    char label[32]; /* for people: "gptq int4 g128", "q4_K", "bf16" */
} nct_unpacked;

/** Most rows of one call of `rows`. */
#define NCT_CODEC_ROWS 16

struct nct_codec {
    const char *name;
    /** Says what unpacking gives. Fails (NCT_E_UNSUPPORTED / NCT_E_FORMAT) if this matrix cannot be read. */
    nct_status (*describe)(const nct_stored *stored, nct_unpacked *unpacked, nct_error *err);
    /** Unpacks rows first_row .. first_row + n_rows - 1, n_rows in 1 .. NCT_CODEC_ROWS and first_row +
     *  n_rows <= stored->n_rows. Outputs are row-major without gaps. Floats: value [n_rows, n_cols].
     *  Codes: code [n_rows, n_cols], scale [n_rows, n_groups], min [n_rows, n_groups] if has_min.
     *  Unused outputs are NULL. Reads `stored` only, so any number of threads may call it; does not
     *  allocate, cannot fail once described. Fastest where first_row is a multiple of 16 and n_rows is 16:
     *  GPTQ, AWQ and Marlin keep neighbouring rows in one word. */
    void (*rows)(const nct_stored *stored, size_t first_row, size_t n_rows, float *value, uint8_t *code,
                 float *scale, float *min);
};

extern const nct_codec nct_codec_float, nct_codec_gptq, nct_codec_awq, nct_codec_marlin, nct_codec_ggml,
    nct_codec_panels, nct_codec_beside;

static inline size_t nct_unpacked_groups(const nct_unpacked *u, size_t n_cols) {
    return (n_cols + u->group - 1) / u->group;
}
static inline bool nct_unpacked_is_codes(const nct_unpacked *u) {
    return u->form >= NCT_FORM_CODES4;
}

/** float32 values of one row in the matrix's own column order, whatever the encoding: the definition
 *  that packing is tested against. scratch: nct_dequantize_scratch_bytes, any alignment of 64. */
size_t nct_dequantize_scratch_bytes(const nct_stored *stored);
void nct_dequantize_row(const nct_stored *stored, const nct_unpacked *unpacked, size_t row, float *value,
                        void *scratch);

/** The ggml type of an id: its name, elements and bytes of a block, and whether rows of it can be read
 *  here. NULL if the id is unknown. */
typedef struct nct_ggml_type {
    const char *name; /* "Q4_K" */
    uint32_t block_elems, block_bytes;
    bool readable;
} nct_ggml_type;
const nct_ggml_type *nct_ggml_type_find(uint32_t id);

/** The names of all readable encodings, for error messages. */
#define NCT_READABLE_TYPES                                                                                   \
    "Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 Q4_K Q5_K Q6_K BF16 F16 F32 (GGUF); GPTQ, AWQ or Marlin int4, BF16 F16 F32 "   \
    "(safetensors)"

/** GPTQ and AWQ: settles from the tensors themselves what metadata leaves open. Fills `symmetric` (zero
 *  points all 8) and `perm` (from g_idx, where that is not k / group: columns sorted by group, stably).
 *  sym_stated: the metadata says that zero points are 8, so others are refused. NCT_E_UNSUPPORTED: groups
 *  that do not have exactly `group` columns each. Call before `describe`. */
nct_status nct_int4_settle(nct_stored *stored, bool sym_stated, nct_error *err);

/** Frees what the matrix owns; zeroed is fine. */
void nct_stored_close(nct_stored *stored);

#endif
