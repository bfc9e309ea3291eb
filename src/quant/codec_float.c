/** Plain numbers: float32, float16, bfloat16, row after row. */
#include <assert.h>
#include <string.h>

#include "base/bytes.h"
#include "base/mem.h"
#include "base/num.h"
#include "quant/codec.h"

static nct_status describe(const nct_stored *s, nct_unpacked *u, nct_error *err) {
    nct_unpacked out = {0};
    size_t n_bytes = s->type == NCT_TYPE_F32 ? 4 : 2;
    switch (s->type) {
    case NCT_TYPE_F32:
        out = (nct_unpacked){.form = NCT_FORM_F32, .label = "f32"};
        break;
    case NCT_TYPE_F16:
        out = (nct_unpacked){.form = NCT_FORM_F16, .label = "f16"};
        break;
    case NCT_TYPE_BF16:
        out = (nct_unpacked){.form = NCT_FORM_BF16, .label = "bf16"};
        break;
    default:
        return nct_fail(err, NCT_E_UNSUPPORTED, "'%s': number type %u is not readable", s->name,
                        (unsigned)s->type);
    }
    if (!nct_mul_size(n_bytes, s->n_cols, &n_bytes) || !nct_mul_size(n_bytes, s->n_rows_file, &n_bytes) ||
        s->part[NCT_PART_DATA].n_bytes != n_bytes)
        return nct_fail(err, NCT_E_FORMAT, "'%s': %zu bytes do not hold %zu x %zu numbers", s->name,
                        s->part[NCT_PART_DATA].n_bytes, s->n_rows_file, s->n_cols);
    *u = out;
    return NCT_OK;
}

static void rows(const nct_stored *s, size_t first_row, size_t n_rows, float *value, uint8_t *code,
                 float *scale, float *min) {
    assert(!code && !scale && !min && first_row + n_rows <= s->n_rows);
    (void)code, (void)scale, (void)min;
    size_t row_bytes = s->n_cols * (s->type == NCT_TYPE_F32 ? 4 : 2);
    for (size_t r = 0; r < n_rows; r++) {
        const uint8_t *from = s->part[NCT_PART_DATA].data + nct_stored_file_row(s, first_row + r) * row_bytes;
        float *to = value + r * s->n_cols;
        if (s->type == NCT_TYPE_F32)
            for (size_t k = 0; k < s->n_cols; k++)
                to[k] = nct_f32_from_bits(nct_le32(from + 4 * k));
        else if (s->type == NCT_TYPE_F16)
            for (size_t k = 0; k < s->n_cols; k++)
                to[k] = nct_f16_to_f32(nct_le16(from + 2 * k));
        else
            for (size_t k = 0; k < s->n_cols; k++)
                to[k] = nct_bf16_to_f32(nct_le16(from + 2 * k));
    }
}

const nct_codec nct_codec_float = {"float", describe, rows};
