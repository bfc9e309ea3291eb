/** Marlin: codes in the order in which a GPU's tensor cores take them (formats.md 6.3, 6.4;
 *  arXiv:2408.11743). Symmetric. Tiles of 16 columns x 64 rows are 128 words:
 *
 *      qweight [K/16, 2N]   with kk = k & 15: nibble kk/8 + 2 (n/8 & 1) + 4 (kk & 1) of the word
 *                           [k >> 4][128 (n >> 6) + 16 (n & 7) + 4 (kk/2 & 3) + (n/16 & 3)]
 *      scales  [G, N]       permuted within 64 rows, or within 32 where there is a single group
 */
#include <assert.h>

#include "quant/int4.h"

static nct_status describe(const nct_stored *s, nct_unpacked *u, nct_error *err) {
    if (s->n_cols % 16 || s->n_rows_file % 64)
        return nct_fail(err, NCT_E_FORMAT,
                        "'%s': %zu x %zu is no shape for marlin, which packs tiles of 64 x 16", s->name,
                        s->n_rows_file, s->n_cols);
    if (!s->symmetric || s->perm)
        return nct_fail(err, NCT_E_UNSUPPORTED, "'%s': marlin with zero points or act-order is not readable",
                        s->name);
    return nct_int4_describe(s, "marlin", u, err);
}

/* Where the scale of row n is stored among the rows of its group. */
static size_t scale_column(size_t n, size_t n_groups) {
    if (n_groups > 1)
        return (n & ~(size_t)63) + 8 * (n & 7) + (n >> 3 & 7);
    return (n & ~(size_t)31) + 8 * ((n & 7) >> 1) + (n & 1) + 2 * (n >> 3 & 3);
}

static void rows(const nct_stored *s, size_t first_row, size_t n_rows, float *value, uint8_t *code,
                 float *scale, float *min) {
    assert(!value && first_row + n_rows <= s->n_rows);
    (void)value, (void)min;
    size_t N = s->n_rows_file, K = s->n_cols, G = nct_int4_groups(s), n0 = s->first_row + first_row;
    for (size_t k = 0; k < K; k += 16) /* sixteen columns of a row at once */
        for (size_t r = 0; r < n_rows; r++) {
            size_t n = n0 + r;
            const uint8_t *words = s->part[NCT_PART_QWEIGHT].data +
                                   4 * ((k >> 4) * 2 * N + (n >> 6) * 128 + 16 * (n & 7) + (n >> 4 & 3));
            uint8_t *out = code + r * K + k;
            for (size_t pair = 0; pair < 4; pair++, out += 2) { /* columns 2 pair, + 1, + 8, + 9 */
                uint32_t w = nct_le32(words + 16 * pair) >> 8 * (n >> 3 & 1);
                out[0] = w & 15;
                out[8] = w >> 4 & 15;
                out[1] = w >> 16 & 15;
                out[9] = w >> 20 & 15;
            }
        }
    for (size_t g = 0; g < G; g++)
        for (size_t r = 0; r < n_rows; r++)
            scale[r * G + g] = nct_int4_scale(s, g * N + scale_column(n0 + r, G));
}

const nct_codec nct_codec_marlin = {"marlin", describe, rows};
