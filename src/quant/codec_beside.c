/** Two matrices of as many rows side by side: the left one's columns, then the right one's. CPM.cu packs the two
 *  halves of a draft head's first matrix each on its own (speculative-decoding.md 2.3). `more` points to two
 *  nct_stored, left and right; both are of one encoding, without act-order. */
#include <assert.h>

#include "quant/codec.h"

static nct_status describe(const nct_stored *s, nct_unpacked *u, nct_error *err) {
    const nct_stored *half = s->more;
    nct_unpacked left, right;
    NCT_TRY(half[0].codec->describe(&half[0], &left, err));
    NCT_TRY(half[1].codec->describe(&half[1], &right, err));
    bool fits = half[0].n_cols + half[1].n_cols == s->n_cols && half[0].n_rows == s->n_rows &&
                half[1].n_rows == s->n_rows && !half[0].perm && !half[1].perm;
    bool alike = left.form == right.form;
    if (nct_unpacked_is_codes(&left))
        alike = alike && left.group == right.group && left.bias == right.bias &&
                left.has_min == right.has_min && half[0].n_cols % left.group == 0;
    if (!fits || !alike)
        return nct_fail(err, NCT_E_UNSUPPORTED, "'%s': two halves of different encodings are not readable",
                        s->name);
    *u = left;
    return NCT_OK;
}

/* The rows of one half, each at its place in rows of all columns. */
static void half_rows(const nct_stored *s, size_t which, size_t first_row, size_t n_rows, float *value,
                      uint8_t *code, float *scale, float *min) {
    const nct_stored *half = (const nct_stored *)s->more + which;
    nct_unpacked u = {0};
    nct_status status = half->codec->describe(half, &u, NULL);
    assert(status == NCT_OK); /* as before */
    (void)status;
    bool codes = nct_unpacked_is_codes(&u);
    size_t n = half->n_cols, left = which ? s->n_cols - n : 0,
           groups = codes ? nct_unpacked_groups(&u, n) : 0,
           all_groups = codes ? nct_unpacked_groups(&u, s->n_cols) : 0,
           left_groups = which ? all_groups - groups : 0;
    for (size_t r = 0; r < n_rows; r++) {
        size_t at = r * s->n_cols + left, group_at = r * all_groups + left_groups;
        half->codec->rows(half, first_row + r, 1, value ? value + at : NULL, code ? code + at : NULL,
                          scale ? scale + group_at : NULL, min ? min + group_at : NULL);
    }
}

static void rows(const nct_stored *s, size_t first_row, size_t n_rows, float *value, uint8_t *code,
                 float *scale, float *min) {
    for (size_t which = 0; which < 2; which++)
        half_rows(s, which, first_row, n_rows, value, code, scale, min);
}

const nct_codec nct_codec_beside = {"beside", describe, rows};
