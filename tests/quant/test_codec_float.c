/* Plain numbers come out bit for bit, wherever they lie. */
#include "base/num.h"
#include "base/rng.h"
#include "quant/codec.h"
#include "support/support.h"

enum { ROWS = 17, COLS = 9 };
static uint8_t data[ROWS * COLS * 4 + 1];

/* Random bits at an odd address. */
static nct_stored make(uint32_t type) {
    size_t n_bytes = (size_t)ROWS * COLS * (type == NCT_TYPE_F32 ? 4 : 2);
    for (size_t i = 0; i < n_bytes; i++)
        data[1 + i] = (uint8_t)(nct_rng_mix(i + type) >> 30);
    return (nct_stored){.codec = &nct_codec_float,
                        .name = "w",
                        .n_rows = ROWS,
                        .n_rows_file = ROWS,
                        .n_cols = COLS,
                        .type = type,
                        .part = {{data + 1, n_bytes}}};
}

static float stored_value(const nct_stored *s, size_t i) {
    const uint8_t *p = s->part[0].data;
    switch (s->type) {
    case NCT_TYPE_F32:
        return nct_f32_from_bits((uint32_t)p[4 * i] | (uint32_t)p[4 * i + 1] << 8 |
                                 (uint32_t)p[4 * i + 2] << 16 | (uint32_t)p[4 * i + 3] << 24);
    case NCT_TYPE_F16:
        return nct_f16_to_f32((uint16_t)(p[2 * i] | p[2 * i + 1] << 8));
    default:
        return nct_f32_from_bits((uint32_t)(p[2 * i] | p[2 * i + 1] << 8) << 16);
    }
}

static void test_float__every_number_comes_back(void **state) {
    (void)state;
    static const struct {
        uint32_t type;
        nct_weight_form form;
        const char *label;
    } types[] = {{NCT_TYPE_F32, NCT_FORM_F32, "f32"},
                 {NCT_TYPE_F16, NCT_FORM_F16, "f16"},
                 {NCT_TYPE_BF16, NCT_FORM_BF16, "bf16"}};
    for (size_t i = 0; i < 3; i++) {
        nct_stored s = make(types[i].type);
        nct_unpacked u;
        NCT_ASSERT_OK(s.codec->describe(&s, &u, fault));
        assert_int_equal(u.form, types[i].form);
        assert_string_equal(u.label, types[i].label);
        float got[NCT_CODEC_ROWS * COLS], want[NCT_CODEC_ROWS * COLS];
        s.codec->rows(&s, 1, NCT_CODEC_ROWS, got, NULL, NULL, NULL);
        for (size_t j = 0; j < NCT_CODEC_ROWS * COLS; j++)
            want[j] = stored_value(&s, COLS + j);
        nct_test_same_bits(types[i].label, got, want, NCT_CODEC_ROWS * COLS);
        nct_dequantize_row(&s, &u, ROWS - 1, got, NULL);
        assert_true(nct_bits_from_f32(got[0]) == nct_bits_from_f32(stored_value(&s, (ROWS - 1) * COLS)));
    }
}

static void test_float__slices_and_interleaved_heads(void **state) {
    (void)state;
    nct_stored s = make(NCT_TYPE_BF16);
    float got[COLS];
    s.first_row = 3;
    s.n_rows = 8;
    s.pair_head_dim = 4;
    for (size_t row = 0; row < 8; row++) {
        static const size_t from[] = {0, 2, 1, 3};
        s.codec->rows(&s, row, 1, got, NULL, NULL, NULL);
        assert_true(nct_bits_from_f32(got[5]) ==
                    nct_bits_from_f32(stored_value(&s, (3 + row / 4 * 4 + from[row % 4]) * COLS + 5)));
    }
}

static void test_float__other_types_and_sizes_are_refused(void **state) {
    (void)state;
    nct_unpacked u;
    nct_error err = {0};
    nct_stored s = make(NCT_TYPE_F16);
    s.type = 28;
    assert_int_equal(s.codec->describe(&s, &u, &err), NCT_E_UNSUPPORTED);
    s = make(NCT_TYPE_F16);
    s.part[0].n_bytes -= 2;
    assert_int_equal(s.codec->describe(&s, &u, &err), NCT_E_FORMAT);
    s.n_rows_file = SIZE_MAX / 2;
    assert_int_equal(s.codec->describe(&s, &u, &err), NCT_E_FORMAT);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_float__every_number_comes_back),
        cmocka_unit_test(test_float__slices_and_interleaved_heads),
        cmocka_unit_test(test_float__other_types_and_sizes_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
