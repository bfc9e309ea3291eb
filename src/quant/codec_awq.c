/** AWQ, AutoAWQ's "GEMM" version: eight codes of one column and neighbouring rows a word, interleaved
 *  (formats.md 6.2).
 *
 *      qweight [K, N/8]   code of (n, k) = nibble at(n) of word [k][n >> 3],  at(n) = (n & 7) / 2 + 4 (n & 1)
 *      qzeros  [G, N/8]   zero of (g, n) = nibble at(n) of word [g][n >> 3]
 *      scales  [G, N]
 */
#include <assert.h>

#include "quant/int4.h"

static nct_status describe(const nct_stored *s, nct_unpacked *u, nct_error *err) {
    return nct_int4_describe(s, "awq", u, err);
}

static unsigned nibble(const uint8_t *words, size_t n) {
    return nct_le32(words + 4 * (n >> 3)) >> 4 * (((n & 7) >> 1) + 4 * (n & 1)) & 15;
}

static void rows(const nct_stored *s, size_t first_row, size_t n_rows, float *value, uint8_t *code,
                 float *scale, float *min) {
    assert(!value && n_rows <= NCT_CODEC_ROWS && first_row + n_rows <= s->n_rows);
    (void)value;
    size_t N = s->n_rows_file, K = s->n_cols, G = nct_int4_groups(s), n0 = s->first_row + first_row;
    for (size_t k = 0; k < K; k += NCT_INT4_TILE) {
        nct_int4_tile tile;
        size_t n = K - k < NCT_INT4_TILE ? K - k : NCT_INT4_TILE;
        const uint8_t *words = s->part[NCT_PART_QWEIGHT].data + k * (N / 2);
        for (size_t i = 0; i < n; i++, words += N / 2)
            for (size_t r = 0; r < n_rows; r++)
                tile[r][i] = (uint8_t)nibble(words, n0 + r);
        nct_int4_put_tile(code, K, n_rows, k, n, tile);
    }
    for (size_t g = 0; g < G; g++)
        for (size_t r = 0; r < n_rows; r++) {
            size_t n = n0 + r;
            scale[r * G + g] = nct_int4_scale(s, g * N + n);
            if (!s->symmetric)
                min[r * G + g] =
                    nct_int4_min(s, nibble(s->part[NCT_PART_QZEROS].data + g * (N / 2), n), scale[r * G + g]);
        }
}

const nct_codec nct_codec_awq = {"awq", describe, rows};
