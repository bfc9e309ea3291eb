/** GPTQ: eight codes of one row and neighbouring columns a word (formats.md 6.1).
 *
 *      qweight [K/8, N]   code of (n, k) = nibble k & 7 of word [k >> 3][n]
 *      qzeros  [G, N/8]   zero of (g, n) = nibble n & 7 of word [g][n >> 3]
 *      scales  [G, N]
 */
#include <assert.h>

#include "quant/int4.h"

static nct_status describe(const nct_stored *s, nct_unpacked *u, nct_error *err) {
    return nct_int4_describe(s, "gptq", u, err);
}

/* The eight nibbles of a word as bytes, the lowest first. */
static void spread(uint32_t word, uint8_t *out) {
    uint64_t x = word;
    x = (x | x << 16) & 0x0000ffff0000ffffu;
    x = (x | x << 8) & 0x00ff00ff00ff00ffu;
    x = (x | x << 4) & 0x0f0f0f0f0f0f0f0fu;
    for (int i = 0; i < 8; i++)
        out[i] = (uint8_t)(x >> 8 * i);
}

/* Fills the tile with columns k0 .. k0 + n - 1, n a multiple of 8; words: those of the first row. */
static void read_tile(const uint8_t *words, size_t N, size_t n_rows, size_t k0, size_t n,
                      nct_int4_tile tile) {
    for (size_t k = 0; k < n; k += 8)
        for (size_t r = 0; r < n_rows; r++)
            spread(nct_le32(words + 4 * ((k0 + k) / 8 * N + r)), tile[r] + k);
}

/* The same in act-order: column j is column perm[j] of the matrix. */
static void read_tile_permuted(const uint8_t *words, size_t N, size_t n_rows, const int32_t *perm, size_t n,
                               nct_int4_tile tile) {
    for (size_t j = 0; j < n; j++) {
        size_t k = (size_t)perm[j];
        const uint8_t *w = words + 4 * (k / 8 * N);
        for (size_t r = 0; r < n_rows; r++)
            tile[r][j] = nct_le32(w + 4 * r) >> 4 * (k & 7) & 15;
    }
}

static void rows(const nct_stored *s, size_t first_row, size_t n_rows, float *value, uint8_t *code,
                 float *scale, float *min) {
    assert(!value && n_rows <= NCT_CODEC_ROWS && first_row + n_rows <= s->n_rows);
    (void)value;
    size_t N = s->n_rows_file, K = s->n_cols, G = nct_int4_groups(s), n0 = s->first_row + first_row;
    const uint8_t *words = s->part[NCT_PART_QWEIGHT].data + 4 * n0;
    for (size_t k = 0; k < K; k += NCT_INT4_TILE) {
        nct_int4_tile tile;
        size_t n = K - k < NCT_INT4_TILE ? K - k : NCT_INT4_TILE;
        if (s->perm)
            read_tile_permuted(words, N, n_rows, s->perm + k, n, tile);
        else
            read_tile(words, N, n_rows, k, n, tile);
        nct_int4_put_tile(code, K, n_rows, k, n, tile);
    }
    for (size_t g = 0; g < G; g++)
        for (size_t r = 0; r < n_rows; r++) {
            size_t n = n0 + r;
            scale[r * G + g] = nct_int4_scale(s, g * N + n);
            if (!s->symmetric) {
                uint32_t zeros = nct_le32(s->part[NCT_PART_QZEROS].data + 4 * (g * (N / 8) + (n >> 3)));
                min[r * G + g] = nct_int4_min(s, zeros >> 4 * (n & 7) & 15, scale[r * G + g]);
            }
        }
}

const nct_codec nct_codec_gptq = {"gptq", describe, rows};
