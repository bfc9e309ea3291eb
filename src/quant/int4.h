/** What GPTQ, AWQ and Marlin share: 4-bit codes in 32-bit words, one scale a row and group, maybe zero
 *  points (formats.md 6). Matrices lie transposed, [columns, rows], so scales are [groups, rows]. */
#ifndef NCT_QUANT_INT4_H
#define NCT_QUANT_INT4_H

#include <string.h>

#include "base/bytes.h"
#include "base/num.h"
#include "quant/codec.h"

/** Codes of 64 columns of a few rows. Words hold neighbouring rows, so codes come out across the rows; rows
 *  that are a multiple of 4 KiB apart would then throw one another out of the cache with every byte. */
enum { NCT_INT4_TILE = 64 };
typedef uint8_t nct_int4_tile[NCT_CODEC_ROWS][NCT_INT4_TILE];

/** Copies columns k .. k + n - 1 of a tile to their rows of code [n_rows, n_cols]. */
static inline void nct_int4_put_tile(uint8_t *code, size_t n_cols, size_t n_rows, size_t k, size_t n,
                                     nct_int4_tile tile) {
    for (size_t r = 0; r < n_rows; r++)
        memcpy(code + r * n_cols + k, tile[r], n);
}

static inline size_t nct_int4_groups(const nct_stored *s) { return (s->n_cols + s->group - 1) / s->group; }

/** Scale number i of the scales part. */
static inline float nct_int4_scale(const nct_stored *s, size_t i) {
    const uint8_t *data = s->part[NCT_PART_SCALES].data;
    if (s->type == NCT_TYPE_F32)
        return nct_f32_from_bits(nct_le32(data + 4 * i));
    uint16_t h = nct_le16(data + 2 * i);
    return s->type == NCT_TYPE_F16 ? nct_f16_to_f32(h) : nct_bf16_to_f32(h);
}

/** Minimum of a group: -zero * scale. Stored zero points of GPTQ v1 are one less, modulo 16: the quantizer's
 *  zero points are codes, so a stored 15 means 0. */
static inline float nct_int4_min(const nct_stored *s, unsigned stored_zero, float scale) {
    return -(float)((stored_zero + (unsigned)s->zero_offset) & 15u) * scale;
}

/** Checks group, type of scales and the number of bytes of codes, scales and, unless symmetric, zero points
 *  against the shape of the stored matrix; then fills `unpacked`. */
nct_status nct_int4_describe(const nct_stored *stored, const char *method, nct_unpacked *unpacked,
                             nct_error *err);

#endif
