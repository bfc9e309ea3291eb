/** A random int4 matrix packed forwards, and the check that a codec gives back what went in. Shared by the
 *  tests of GPTQ, AWQ and Marlin. */
#ifndef NCT_TEST_INT4_CASE_H
#define NCT_TEST_INT4_CASE_H

#include "base/num.h"
#include "base/rng.h"
#include "quant/codec.h"
#include "support/int4.h"
#include "support/support.h"

enum { INT4_N = 640, INT4_K = 256 };

/* What goes in. Scales are float16 bits, subnormal ones among them. */
static struct int4_case {
    uint8_t code[INT4_N * INT4_K], zero[INT4_K / 16 * INT4_N];
    uint16_t scale[INT4_K / 16 * INT4_N];
    uint8_t words[INT4_N * INT4_K / 2], zeros[INT4_K / 16 * INT4_N / 2];
    uint8_t scales[INT4_K / 16 * INT4_N * 4], g_idx[INT4_K * 4];
} in;

static void int4_fill(uint64_t seed) {
    for (size_t i = 0; i < sizeof in.code; i++)
        in.code[i] = nct_rng_mix(seed + i) & 15;
    for (size_t i = 0; i < sizeof in.zero; i++) {
        uint64_t z = nct_rng_mix(seed ^ (i << 20 | 77));
        in.zero[i] = z & 15;
        in.scale[i] = (uint16_t)((z >> 8 & 0x83ff) | (z >> 32 & 15) << 10); /* below 1, of either sign */
    }
}

static void int4_put_scale(size_t i, uint32_t type, float v) {
    uint32_t bits = type == NCT_TYPE_F32   ? nct_bits_from_f32(v)
                    : type == NCT_TYPE_F16 ? nct_f32_to_f16(v)
                                           : nct_f32_to_bf16(v);
    size_t n = type == NCT_TYPE_F32 ? 4 : 2;
    for (size_t b = 0; b < n; b++)
        in.scales[n * i + b] = (uint8_t)(bits >> 8 * b);
}

/* The matrix with the parts that the caller has filled. */
static nct_stored int4_stored(const nct_codec *codec, size_t group, uint32_t type) {
    size_t G = (INT4_K + group - 1) / group;
    return (nct_stored){.codec = codec,
                        .name = "w",
                        .n_rows = INT4_N,
                        .n_rows_file = INT4_N,
                        .n_cols = INT4_K,
                        .group = group,
                        .type = type,
                        .part = {{in.words, sizeof in.words},
                                 {in.scales, G * INT4_N * (type == NCT_TYPE_F32 ? 4 : 2)},
                                 {in.zeros, G * INT4_N / 2}}};
}

/* (code - zero) * scale at every place; group_of [INT4_K] or NULL for k / group. Rows are taken in calls of
 * every size, starting anywhere. */
static void int4_check(const nct_stored *s, const uint32_t *group_of, bool symmetric) {
    nct_unpacked u;
    NCT_ASSERT_OK(s->codec->describe(s, &u, fault));
    assert_int_equal(u.form, NCT_FORM_CODES4);
    assert_int_equal(u.group, s->group);
    assert_int_equal(u.bias, symmetric ? 8 : 0);
    assert_int_equal(u.has_min, !symmetric);
    size_t G = nct_unpacked_groups(&u, INT4_K);
    static uint8_t code[NCT_CODEC_ROWS * INT4_K];
    static float scale[NCT_CODEC_ROWS * INT4_K], min[NCT_CODEC_ROWS * INT4_K];
    for (size_t first = 0, size = 1; first < s->n_rows; first += size, size = size % NCT_CODEC_ROWS + 1) {
        size_t n = s->n_rows - first < size ? s->n_rows - first : size;
        s->codec->rows(s, first, n, NULL, code, scale, symmetric ? NULL : min);
        for (size_t r = 0; r < n; r++)
            for (size_t j = 0; j < INT4_K; j++) {
                size_t k = s->perm ? (size_t)s->perm[j] : j, row = s->first_row + first + r;
                size_t g = group_of ? group_of[k] : k / s->group, at = g * INT4_N + row;
                float d = nct_f16_to_f32(in.scale[at]), zero = symmetric ? 8 : (float)in.zero[at];
                float got = scale[r * G + j / s->group] * (float)(code[r * INT4_K + j] - u.bias);
                if (!symmetric)
                    got += min[r * G + j / s->group];
                if (got != ((float)in.code[row * INT4_K + k] - zero) * d)
                    fail_msg("row %zu, column %zu is %.9g, expected (%d - %g) * %.9g", row, k, (double)got,
                             in.code[row * INT4_K + k], (double)zero, (double)d);
            }
    }
}

#endif
