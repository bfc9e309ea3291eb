/** The block formats of GGUF files (formats.md 8.4): 32 or 256 neighbouring columns of one row a block.
 *  Each reader below turns one block into codes, scales and minima; sub-blocks are the groups. */
#include <assert.h>
#include <stdio.h>

#include "base/bytes.h"
#include "base/mem.h"
#include "base/num.h"
#include "quant/codec.h"

static float f16(const uint8_t *p) { return nct_f16_to_f32(nct_le16(p)); }

/* ------------------------------------------------------------------ blocks of 32 */

/* Nibbles of 16 bytes: the low ones are elements 0-15, the high ones 16-31. */
static void nibbles32(const uint8_t *b, uint8_t *code) {
    for (int i = 0; i < 16; i++) {
        code[i] = b[i] & 15;
        code[i + 16] = b[i] >> 4;
    }
}

/* The fifth bits, from a 32-bit word. */
static void add_fifth(const uint8_t *b, uint8_t *code) {
    uint32_t high = nct_le32(b);
    for (int i = 0; i < 32; i++)
        code[i] |= (uint8_t)((high >> i & 1) << 4);
}

static void read_q4_0(const uint8_t *b, uint8_t *code, float *scale, float *min) {
    (void)min;
    *scale = f16(b);
    nibbles32(b + 2, code);
}

static void read_q4_1(const uint8_t *b, uint8_t *code, float *scale, float *min) {
    *scale = f16(b);
    *min = f16(b + 2);
    nibbles32(b + 4, code);
}

static void read_q5_0(const uint8_t *b, uint8_t *code, float *scale, float *min) {
    (void)min;
    *scale = f16(b);
    nibbles32(b + 6, code);
    add_fifth(b + 2, code);
}

static void read_q5_1(const uint8_t *b, uint8_t *code, float *scale, float *min) {
    *scale = f16(b);
    *min = f16(b + 2);
    nibbles32(b + 8, code);
    add_fifth(b + 4, code);
}

static void read_q8_0(const uint8_t *b, uint8_t *code, float *scale, float *min) {
    (void)min;
    *scale = f16(b);
    for (int i = 0; i < 32; i++)
        code[i] = (uint8_t)(b[2 + i] ^ 0x80); /* two's complement to offset 128 */
}

/* ------------------------------------------------------------------ blocks of 256 */

/* Q4_K and Q5_K: eight 6-bit scales and minima in twelve bytes. */
static void read_k_scales(const uint8_t *b, float *scale, float *min) {
    const uint8_t *s = b + 4;
    float d = f16(b), dmin = f16(b + 2);
    for (int j = 0; j < 4; j++) {
        scale[j] = d * (float)(s[j] & 63);
        min[j] = -dmin * (float)(s[j + 4] & 63);
        scale[j + 4] = d * (float)((s[j + 8] & 15) | s[j] >> 6 << 4);
        min[j + 4] = -dmin * (float)(s[j + 8] >> 4 | s[j + 4] >> 6 << 4);
    }
}

/* Pairs of sub-blocks share 32 bytes: low nibbles first. */
static void nibbles256(const uint8_t *b, uint8_t *code) {
    for (int pair = 0; pair < 4; pair++)
        for (int l = 0; l < 32; l++) {
            code[64 * pair + l] = b[32 * pair + l] & 15;
            code[64 * pair + 32 + l] = b[32 * pair + l] >> 4;
        }
}

static void read_q4_k(const uint8_t *b, uint8_t *code, float *scale, float *min) {
    read_k_scales(b, scale, min);
    nibbles256(b + 16, code);
}

static void read_q5_k(const uint8_t *b, uint8_t *code, float *scale, float *min) {
    read_k_scales(b, scale, min);
    nibbles256(b + 48, code);
    for (int s = 0; s < 8; s++)
        for (int l = 0; l < 32; l++)
            code[32 * s + l] |= (uint8_t)((b[16 + l] >> s & 1) << 4);
}

static void read_q6_k(const uint8_t *b, uint8_t *code, float *scale, float *min) {
    (void)min;
    float d = f16(b + 208);
    for (int g = 0; g < 16; g++)
        scale[g] = d * (float)(int8_t)b[192 + g];
    for (int half = 0; half < 2; half++, code += 128) {
        const uint8_t *low = b + 64 * half, *high = b + 128 + 32 * half;
        for (int l = 0; l < 32; l++) {
            code[l] = (uint8_t)((low[l] & 15) | (high[l] & 3) << 4);
            code[32 + l] = (uint8_t)((low[32 + l] & 15) | (high[l] >> 2 & 3) << 4);
            code[64 + l] = (uint8_t)(low[l] >> 4 | (high[l] >> 4 & 3) << 4);
            code[96 + l] = (uint8_t)(low[32 + l] >> 4 | high[l] >> 6 << 4);
        }
    }
}

/* ------------------------------------------------------------------ the list */

/* How a readable type unpacks. */
struct reader {
    uint32_t id;
    nct_weight_form form;
    unsigned group;
    int bias;
    bool has_min;
    const char *label;
    void (*read)(const uint8_t *block, uint8_t *code, float *scale, float *min);
};

static const struct reader readers[] = {
    {2, NCT_FORM_CODES4, 32, 8, false, "q4_0", read_q4_0},
    {3, NCT_FORM_CODES4, 32, 0, true, "q4_1", read_q4_1},
    {6, NCT_FORM_CODES8, 32, 16, false, "q5_0", read_q5_0},
    {7, NCT_FORM_CODES8, 32, 0, true, "q5_1", read_q5_1},
    {8, NCT_FORM_CODES8, 32, 128, false, "q8_0", read_q8_0},
    {12, NCT_FORM_CODES4, 32, 0, true, "q4_K", read_q4_k},
    {13, NCT_FORM_CODES8, 32, 0, true, "q5_K", read_q5_k},
    {14, NCT_FORM_CODES8, 16, 32, false, "q6_K", read_q6_k},
};

static const struct reader *find_reader(uint32_t id) {
    for (size_t i = 0; i < sizeof readers / sizeof readers[0]; i++)
        if (readers[i].id == id)
            return &readers[i];
    return NULL;
}

const nct_ggml_type *nct_ggml_type_find(uint32_t id) {
    static const nct_ggml_type types[] = {
        [0] = {"F32", 1, 4, true},          [1] = {"F16", 1, 2, true},
        [2] = {"Q4_0", 32, 18, true},       [3] = {"Q4_1", 32, 20, true},
        [6] = {"Q5_0", 32, 22, true},       [7] = {"Q5_1", 32, 24, true},
        [8] = {"Q8_0", 32, 34, true},       [9] = {"Q8_1", 32, 36, false},
        [10] = {"Q2_K", 256, 84, false},    [11] = {"Q3_K", 256, 110, false},
        [12] = {"Q4_K", 256, 144, true},    [13] = {"Q5_K", 256, 176, true},
        [14] = {"Q6_K", 256, 210, true},    [15] = {"Q8_K", 256, 292, false},
        [16] = {"IQ2_XXS", 256, 66, false}, [17] = {"IQ2_XS", 256, 74, false},
        [18] = {"IQ3_XXS", 256, 98, false}, [19] = {"IQ1_S", 256, 50, false},
        [20] = {"IQ4_NL", 32, 18, false},   [21] = {"IQ3_S", 256, 110, false},
        [22] = {"IQ2_S", 256, 82, false},   [23] = {"IQ4_XS", 256, 136, false},
        [24] = {"I8", 1, 1, false},         [25] = {"I16", 1, 2, false},
        [26] = {"I32", 1, 4, false},        [27] = {"I64", 1, 8, false},
        [28] = {"F64", 1, 8, false},        [29] = {"IQ1_M", 256, 56, false},
        [30] = {"BF16", 1, 2, true},        [34] = {"TQ1_0", 256, 54, false},
        [35] = {"TQ2_0", 256, 66, false},   [39] = {"MXFP4", 32, 17, false},
    };
    return id < sizeof types / sizeof types[0] && types[id].name ? &types[id] : NULL;
}

static nct_status describe(const nct_stored *s, nct_unpacked *u, nct_error *err) {
    const nct_ggml_type *type = nct_ggml_type_find(s->type);
    const struct reader *reader = find_reader(s->type);
    if (!reader && type)
        return nct_fail(err, NCT_E_UNSUPPORTED,
                        "'%s' is of type %s, which this build cannot read; readable: %s", s->name, type->name,
                        NCT_READABLE_TYPES);
    if (!reader)
        return nct_fail(err, NCT_E_UNSUPPORTED, "'%s' is of type number %u, which is not known; readable: %s",
                        s->name, (unsigned)s->type, NCT_READABLE_TYPES);
    size_t n_bytes;
    if (s->n_cols % type->block_elems)
        return nct_fail(err, NCT_E_FORMAT, "'%s': %zu columns are no whole number of %s blocks", s->name,
                        s->n_cols, type->name);
    if (!nct_mul_size(s->n_cols / type->block_elems, type->block_bytes, &n_bytes) ||
        !nct_mul_size(n_bytes, s->n_rows_file, &n_bytes) || s->part[NCT_PART_DATA].n_bytes != n_bytes)
        return nct_fail(err, NCT_E_FORMAT, "'%s': %zu bytes do not hold %zu x %zu of type %s", s->name,
                        s->part[NCT_PART_DATA].n_bytes, s->n_rows_file, s->n_cols, type->name);
    *u = (nct_unpacked){
        .form = reader->form, .group = reader->group, .bias = reader->bias, .has_min = reader->has_min};
    snprintf(u->label, sizeof u->label, "%s", reader->label);
    return NCT_OK;
}

static void rows(const nct_stored *s, size_t first_row, size_t n_rows, float *value, uint8_t *code,
                 float *scale, float *min) {
    assert(!value && first_row + n_rows <= s->n_rows);
    (void)value;
    const nct_ggml_type *type = nct_ggml_type_find(s->type);
    const struct reader *reader = find_reader(s->type);
    size_t n_blocks = s->n_cols / type->block_elems, n_sub = type->block_elems / reader->group;
    for (size_t r = 0; r < n_rows; r++) {
        const uint8_t *block = s->part[NCT_PART_DATA].data +
                               nct_stored_file_row(s, first_row + r) * n_blocks * type->block_bytes;
        for (size_t b = 0; b < n_blocks; b++, block += type->block_bytes) {
            size_t at = r * n_blocks + b;
            reader->read(block, code + at * type->block_elems, scale + at * n_sub,
                         reader->has_min ? min + at * n_sub : NULL);
        }
    }
}

const nct_codec nct_codec_ggml = {"ggml", describe, rows};
