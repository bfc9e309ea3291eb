/** From floats to codes: rounding a matrix to INT4 or INT8 in groups of columns.
 *
 *  A rounded matrix is a stored matrix like any other (nct_codec_codes), so that packing it is what packing
 *  a file's codes is. Codes stand around zero, 8 for INT4, 128 for INT8 and 1 for ternary:
 *      w[n][k] ~ scale[n][g] * (code[n][k] - bias),   scales exact in float16
 */
#ifndef NCT_QUANT_QUANTIZE_H
#define NCT_QUANT_QUANTIZE_H

#include "base/pool.h"
#include "quant/pack.h"

/** What a matrix is to be stored as. KEEP: as it is. TERNARY is never asked for but found: codes 0, 1, 2
 *  that hold the very values. */
typedef enum nct_quant { NCT_QUANT_KEEP, NCT_QUANT_INT8, NCT_QUANT_INT4, NCT_QUANT_TERNARY } nct_quant;

/** Codes in memory: part[0] is a byte a code, [n_rows][n_cols]; part[1] the scales, float32 [n_rows][groups];
 *  `group` columns a group, `type` an nct_quant. */
extern const nct_codec nct_codec_codes;

/** A matrix being rounded, row by row. Rows may be written by several threads at once. */
typedef struct nct_rounded {
    nct_stored stored; /* for nct_linear_open; borrows `code` and `scale` */
    nct_quant quant;
    size_t group, n_groups;
    uint8_t *code; /* [n_rows][n_cols] */
    float *scale;  /* [n_rows][n_groups] */
} nct_rounded;

/** Room for an [n_rows, n_cols] matrix; a group wider than that is one of n_cols. `name` is borrowed. */
nct_status nct_rounded_open(const char *name, size_t n_rows, size_t n_cols, nct_quant quant, size_t group,
                            nct_rounded *rounded, nct_error *err);
void nct_rounded_close(nct_rounded *rounded); /* zeroed is fine */

/** Chooses the scale of n weights to the least sum of weight[i] * (w[i] - scale * code)^2 over codes of
 *  `quant`, n at most NCT_GROUP_MAX; weight NULL: all alike. A finite float16 number: weights that no such
 *  scale reaches are cut off. For INT8 simply the widest weight's. */
float nct_quant_scale(nct_quant quant, const float *w, const float *weight, size_t n);

/** The code whose value is nearest to w (bias included), and that value. */
static inline int nct_quant_bias(nct_quant quant) { return quant == NCT_QUANT_INT8 ? 128 : quant == NCT_QUANT_INT4 ? 8 : 1; }
uint8_t nct_quant_code(nct_quant quant, float w, float scale);

/** NCT_E_ARGUMENT unless group is 16, 32, 64 or 128 and quant INT8 or INT4: what rounding can be asked for. */
nct_status nct_round_check(nct_quant quant, size_t group, nct_error *err);

/** Whether a matrix that unpacks like this is wider than `quant`: only such a one is ever rounded. */
bool nct_round_narrows(const nct_unpacked *unpacked, nct_quant quant);

/** Rounds a float matrix, or one of wider codes, to the nearest codes (RTN), rows shared out over the pool.
 *  NCT_E_ARGUMENT as nct_round_check. NCT_E_FORMAT names a row that holds something that is not finite. The
 *  caller closes *rounded. */
nct_status nct_round_nearest(const nct_stored *source, nct_quant quant, size_t group, nct_pool *pool,
                             nct_rounded *rounded, nct_error *err);

/** Finds out whether a float matrix holds -s, 0 and s only in each group of columns (BitCPM4 is published so,
 *  without its group being stated: formats.md 7), the largest group of all columns, 256, 128, 64 and 32 that fits
 *  the whole matrix. *found false: it does not, and there is nothing to close. */
nct_status nct_ternary_find(const nct_stored *source, nct_pool *pool, nct_rounded *rounded, bool *found,
                            nct_error *err);

/** How far packed panels are from the matrix they were made of. */
typedef struct nct_difference {
    double error2, norm2; /* sums of squares: of differences, of the source's values */
    bool same;            /* every value is reproduced exactly */
} nct_difference;

/** Compares every value. panels and their perm are in the order of nct_linear. */
nct_status nct_compare(const nct_stored *source, const nct_panels *panels, const int32_t *perm,
                       nct_pool *pool, nct_difference *difference, nct_error *err);

#endif
