/* Block formats against the element formulas of formats.md 8.4, on random blocks. */
#include "base/bytes.h"
#include "base/num.h"
#include "base/rng.h"
#include "quant/codec.h"
#include "support/support.h"

enum { ROWS = 19, COLS = 512, MAX_BYTES = ROWS * COLS * 4 };

static uint8_t blocks[MAX_BYTES];
static uint64_t seed;
static uint8_t random_byte(void) { return (uint8_t)(nct_rng_mix(seed++) >> 24); }

/* ------------------------------------------------------------------ the formulas, element by element */

static double f16(const uint8_t *b, size_t o) { return (double)nct_f16_to_f32(nct_le16(b + o)); }
static unsigned nib(const uint8_t *b, size_t first, unsigned i) {
    return b[first + (i & 15)] >> 4 * (i >> 4) & 15;
}

static double k_value(const uint8_t *b, unsigned q, unsigned s) {
    const uint8_t *S = b + 4;
    unsigned sc = s < 4 ? S[s] & 63 : (S[s + 4] & 15) | (unsigned)(S[s - 4] >> 6) << 4;
    unsigned m = s < 4 ? S[s + 4] & 63 : (unsigned)(S[s + 4] >> 4) | (unsigned)(S[s] >> 6) << 4;
    return f16(b, 0) * sc * q - f16(b, 2) * m;
}

static double element(uint32_t type, const uint8_t *b, unsigned i) {
    unsigned s = i >> 5, l = i & 31, h = i >> 7, r = i >> 5 & 3;
    switch (type) {
    case 2:
        return ((int)nib(b, 2, i) - 8) * f16(b, 0);
    case 3:
        return nib(b, 4, i) * f16(b, 0) + f16(b, 2);
    case 6:
        return ((int)(nib(b, 6, i) | (nct_le32(b + 2) >> i & 1) << 4) - 16) * f16(b, 0);
    case 7:
        return (nib(b, 8, i) | (nct_le32(b + 4) >> i & 1) << 4) * f16(b, 0) + f16(b, 2);
    case 8:
        return f16(b, 0) * (int8_t)b[2 + i];
    case 12:
        return k_value(b, b[16 + 32 * (s >> 1) + l] >> 4 * (s & 1) & 15, s);
    case 13:
        return k_value(b, (b[48 + 32 * (s >> 1) + l] >> 4 * (s & 1) & 15) | (b[16 + l] >> s & 1u) << 4, s);
    case 14: {
        int q = (b[64 * h + 32 * (r & 1) + l] >> 4 * (r >> 1) & 15) | (b[128 + 32 * h + l] >> 2 * r & 3) << 4;
        return f16(b, 208) * (int8_t)b[192 + (i >> 4)] * (q - 32);
    }
    default:
        fail();
        return 0;
    }
}

/* ------------------------------------------------------------------ random matrices */

static const struct {
    uint32_t type;
    nct_weight_form form;
    size_t group;
    int bias;
    bool has_min;
    const char *label;
    size_t halves[2]; /* where the float16 fields of a block lie; the same twice if there is one */
} types[] = {
    {2, NCT_FORM_CODES4, 32, 8, false, "q4_0", {0, 0}},
    {3, NCT_FORM_CODES4, 32, 0, true, "q4_1", {0, 2}},
    {6, NCT_FORM_CODES8, 32, 16, false, "q5_0", {0, 0}},
    {7, NCT_FORM_CODES8, 32, 0, true, "q5_1", {0, 2}},
    {8, NCT_FORM_CODES8, 32, 128, false, "q8_0", {0, 0}},
    {12, NCT_FORM_CODES4, 32, 0, true, "q4_K", {0, 2}},
    {13, NCT_FORM_CODES8, 32, 0, true, "q5_K", {0, 2}},
    {14, NCT_FORM_CODES8, 16, 32, false, "q6_K", {208, 208}},
};
enum { N_TYPES = sizeof types / sizeof *types };

/* Random bytes; float16 fields of moderate size, so that the formula in double rounds once. */
static nct_stored make(size_t which) {
    const nct_ggml_type *t = nct_ggml_type_find(types[which].type);
    assert_non_null(t);
    assert_true(t->readable);
    size_t n_bytes = (size_t)ROWS * (COLS / t->block_elems) * t->block_bytes;
    seed = which * 1000003;
    for (size_t i = 0; i < n_bytes; i++)
        blocks[i] = random_byte();
    for (size_t at = 0; at < n_bytes; at += t->block_bytes)
        for (int i = 0; i < 2; i++) {
            uint16_t half =
                (uint16_t)((random_byte() & 0x83) << 8 | (5u + random_byte() % 16) << 10 | random_byte());
            blocks[at + types[which].halves[i]] = (uint8_t)half;
            blocks[at + types[which].halves[i] + 1] = (uint8_t)(half >> 8);
        }
    return (nct_stored){.codec = &nct_codec_ggml,
                        .name = "w",
                        .n_rows = ROWS,
                        .n_rows_file = ROWS,
                        .n_cols = COLS,
                        .type = types[which].type,
                        .part = {{blocks, n_bytes}}};
}

static float formula(const nct_stored *s, size_t file_row, size_t col) {
    const nct_ggml_type *t = nct_ggml_type_find(s->type);
    const uint8_t *b = blocks + (file_row * (COLS / t->block_elems) + col / t->block_elems) * t->block_bytes;
    return (float)element(s->type, b, (unsigned)(col % t->block_elems));
}

static void test_ggml__describes_each_type(void **state) {
    (void)state;
    for (size_t i = 0; i < N_TYPES; i++) {
        nct_stored s = make(i);
        nct_unpacked u;
        NCT_ASSERT_OK(s.codec->describe(&s, &u, fault));
        assert_int_equal(u.form, types[i].form);
        assert_int_equal(u.group, types[i].group);
        assert_int_equal(u.bias, types[i].bias);
        assert_int_equal(u.has_min, types[i].has_min);
        assert_string_equal(u.label, types[i].label);
    }
}

static void test_ggml__every_element_follows_its_formula(void **state) {
    (void)state;
    for (size_t i = 0; i < N_TYPES; i++) {
        nct_stored s = make(i);
        nct_unpacked u;
        NCT_ASSERT_OK(s.codec->describe(&s, &u, fault));
        void *scratch = NULL;
        NCT_ASSERT_OK(nct_alloc(&scratch, nct_dequantize_scratch_bytes(&s), 1, fault));
        float got[COLS], want[COLS];
        for (size_t row = 0; row < ROWS; row++) {
            nct_dequantize_row(&s, &u, row, got, scratch);
            for (size_t c = 0; c < COLS; c++)
                want[c] = formula(&s, row, c);
            nct_test_near(types[i].label, got, want, COLS, 0);
        }
        nct_free(scratch);
    }
}

static void test_ggml__subnormal_and_negative_scales_are_exact(void **state) {
    (void)state;
    nct_stored s = make(0);
    blocks[0] = 3, blocks[1] = 0x80; /* -3 * 2^-24 */
    nct_unpacked u;
    NCT_ASSERT_OK(s.codec->describe(&s, &u, fault));
    uint8_t code[COLS];
    float scale[COLS / 32];
    s.codec->rows(&s, 0, 1, NULL, code, scale, NULL);
    assert_true(scale[0] == -3 * 0x1p-24f);
}

static void test_ggml__many_rows_at_once_are_the_rows_one_by_one(void **state) {
    (void)state;
    static uint8_t code[NCT_CODEC_ROWS * COLS], one_code[COLS];
    static float scale[NCT_CODEC_ROWS * COLS], min[NCT_CODEC_ROWS * COLS], one_scale[COLS], one_min[COLS];
    for (size_t i = 0; i < N_TYPES; i++) {
        nct_stored s = make(i);
        nct_unpacked u;
        NCT_ASSERT_OK(s.codec->describe(&s, &u, fault));
        size_t groups = nct_unpacked_groups(&u, COLS);
        for (size_t first = 0; first < ROWS; first += NCT_CODEC_ROWS) {
            size_t n = ROWS - first < NCT_CODEC_ROWS ? ROWS - first : NCT_CODEC_ROWS;
            s.codec->rows(&s, first, n, NULL, code, scale, u.has_min ? min : NULL);
            for (size_t r = 0; r < n; r++) {
                s.codec->rows(&s, first + r, 1, NULL, one_code, one_scale, u.has_min ? one_min : NULL);
                assert_memory_equal(code + r * COLS, one_code, COLS);
                assert_memory_equal(scale + r * groups, one_scale, groups * sizeof *scale);
                if (u.has_min)
                    assert_memory_equal(min + r * groups, one_min, groups * sizeof *min);
            }
        }
    }
}

static void test_ggml__interleaved_heads_come_back_in_halves(void **state) {
    (void)state;
    nct_stored s = make(4);
    s.n_rows = s.n_rows_file = 16;
    s.part[0].n_bytes = 16 * (COLS / 32) * 34;
    s.pair_head_dim = 8;
    nct_unpacked u;
    NCT_ASSERT_OK(s.codec->describe(&s, &u, fault));
    void *scratch = NULL;
    NCT_ASSERT_OK(nct_alloc(&scratch, nct_dequantize_scratch_bytes(&s), 1, fault));
    for (size_t h = 0; h < 2; h++)
        for (size_t half = 0; half < 2; half++)
            for (size_t i = 0; i < 4; i++) {
                float got[COLS];
                nct_dequantize_row(&s, &u, h * 8 + half * 4 + i, got, scratch);
                for (size_t c = 0; c < COLS; c++)
                    assert_true(got[c] == formula(&s, h * 8 + 2 * i + half, c));
            }
    nct_free(scratch);
}

static void test_ggml__unreadable_types_are_named_with_what_is_readable(void **state) {
    (void)state;
    static const struct {
        uint32_t id;
        const char *name;
    } refused[] = {{10, "Q2_K"},   {11, "Q3_K"},  {18, "IQ3_XXS"}, {20, "IQ4_NL"},
                   {23, "IQ4_XS"}, {34, "TQ1_0"}, {35, "TQ2_0"},   {39, "MXFP4"}};
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        nct_stored s = make(0);
        nct_unpacked u;
        nct_error err = {0};
        s.type = refused[i].id;
        assert_int_equal(s.codec->describe(&s, &u, &err), NCT_E_UNSUPPORTED);
        assert_non_null(strstr(err.text, refused[i].name));
        assert_non_null(strstr(err.text, "readable: Q4_0"));
        assert_false(nct_ggml_type_find(refused[i].id)->readable);
    }
    assert_null(nct_ggml_type_find(4));
    assert_null(nct_ggml_type_find(40));
    assert_null(nct_ggml_type_find(UINT32_MAX));
}

static void test_ggml__sizes_that_do_not_fit_are_refused(void **state) {
    (void)state;
    nct_unpacked u;
    nct_error err = {0};
    nct_stored s = make(5);
    s.part[0].n_bytes--;
    assert_int_equal(s.codec->describe(&s, &u, &err), NCT_E_FORMAT);
    s = make(5);
    s.n_cols = 384; /* a block and a half */
    assert_int_equal(s.codec->describe(&s, &u, &err), NCT_E_FORMAT);
    s = make(5);
    s.n_rows_file = SIZE_MAX / 4;
    assert_int_equal(s.codec->describe(&s, &u, &err), NCT_E_FORMAT);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ggml__describes_each_type),
        cmocka_unit_test(test_ggml__every_element_follows_its_formula),
        cmocka_unit_test(test_ggml__subnormal_and_negative_scales_are_exact),
        cmocka_unit_test(test_ggml__many_rows_at_once_are_the_rows_one_by_one),
        cmocka_unit_test(test_ggml__interleaved_heads_come_back_in_halves),
        cmocka_unit_test(test_ggml__unreadable_types_are_named_with_what_is_readable),
        cmocka_unit_test(test_ggml__sizes_that_do_not_fit_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
