/* Rounding to a small format is monotone, so it is known everywhere once it is known at the midpoints
 * between neighbours and one float32 to either side of them: these tests leave no value out. */
#include "base/num.h"

#include <math.h>

#include "support/support.h"

enum { ALL = 65536 };

#if defined(__FLT16_MAX__)
__extension__ typedef _Float16 half;
#define HAVE_HALF 1
#elif defined(__ARM_FP16_FORMAT_IEEE)
typedef __fp16 half;
#define HAVE_HALF 1
#endif

static bool is_f16_nan(uint16_t h) { return (h & 0x7fff) > 0x7c00; }
static bool is_bf16_nan(uint16_t h) { return (h & 0x7fff) > 0x7f80; }

/* The value by the definition of the format. */
static double f16_value(uint16_t h) {
    int exponent = h >> 10 & 31, fraction = h & 0x3ff;
    double magnitude = exponent == 31 ? INFINITY
                       : exponent     ? ldexp(1024 + fraction, exponent - 25)
                                      : ldexp(fraction, -24);
    return h & 0x8000 ? -magnitude : magnitude;
}

static void test_num__every_f16_widens_to_its_value(void **state) {
    (void)state;
    for (uint32_t h = 0; h < ALL; h++) {
        float f = nct_f16_to_f32((uint16_t)h);
        if (is_f16_nan((uint16_t)h)) {
            assert_true(isnan(f));
            assert_int_equal(nct_bits_from_f32(f), (h & 0x8000) << 16 | 0x7f800000 | (h & 0x3ff) << 13);
        } else {
            assert_true((double)f == f16_value((uint16_t)h));
            assert_int_equal(signbit(f) != 0, h >> 15);
        }
    }
}

static void test_num__every_f16_survives_the_round_trip(void **state) {
    (void)state;
    for (uint32_t h = 0; h < ALL; h++) {
        uint16_t back = nct_f32_to_f16(nct_f16_to_f32((uint16_t)h));
        if (is_f16_nan((uint16_t)h))
            assert_true(is_f16_nan(back) && (back ^ h) >> 15 == 0);
        else
            assert_int_equal(back, h);
    }
}

/* The neighbour of a positive float32, `step` values further. */
static float beside(float f, int step) { return nct_f32_from_bits(nct_bits_from_f32(f) + (uint32_t)step); }

static void test_num__f16_rounds_to_nearest_even(void **state) {
    (void)state;
    for (uint32_t h = 0; h < 0x7c00; h++) {
        double low = f16_value((uint16_t)h), high = h == 0x7bff ? 65536 : f16_value((uint16_t)(h + 1));
        float middle = (float)((low + high) / 2); /* exact: it has one bit more than the neighbours */
        uint16_t even = (uint16_t)(h & 1 ? h + 1 : h);
        for (uint32_t sign = 0; sign <= 0x8000; sign += 0x8000) {
            float s = sign ? -1 : 1;
            assert_int_equal(nct_f32_to_f16(s * beside(middle, -1)), h | sign);
            assert_int_equal(nct_f32_to_f16(s * middle), even | sign);
            assert_int_equal(nct_f32_to_f16(s * beside(middle, 1)), (h + 1) | sign);
        }
    }
}

static void test_num__f16_extremes(void **state) {
    (void)state;
    assert_int_equal(nct_f32_to_f16(INFINITY), 0x7c00);
    assert_int_equal(nct_f32_to_f16(-INFINITY), 0xfc00);
    assert_int_equal(nct_f32_to_f16(3.4e38f), 0x7c00);
    assert_int_equal(nct_f32_to_f16(0.0f), 0);
    assert_int_equal(nct_f32_to_f16(-0.0f), 0x8000);
    assert_int_equal(nct_f32_to_f16(0x1p-149f), 0);
    assert_int_equal(nct_f32_to_f16(-0x1p-149f), 0x8000);
    assert_true(is_f16_nan(nct_f32_to_f16(nct_f32_from_bits(0x7f800001))));
    assert_true(is_f16_nan(nct_f32_to_f16(nct_f32_from_bits(0xffffffff))));
}

static void test_num__f16_agrees_with_the_compiler(void **state) {
    (void)state;
#ifdef HAVE_HALF
    for (uint32_t h = 0; h < ALL; h++) {
        uint16_t bits = (uint16_t)h;
        half value;
        memcpy(&value, &bits, sizeof value);
        if (!is_f16_nan(bits))
            assert_true(nct_f16_to_f32(bits) == (float)value);
    }
    for (uint64_t u = 0; u < 0x7f800000; u += 4099) { /* across all exponents, every place of the fraction */
        float f = nct_f32_from_bits((uint32_t)u);
        half value = (half)f;
        uint16_t bits;
        memcpy(&bits, &value, sizeof bits);
        assert_int_equal(nct_f32_to_f16(f), bits);
    }
#else
    print_message("skipped: this compiler has no half-precision type\n");
    skip();
#endif
}

static void test_num__every_bf16_survives_the_round_trip(void **state) {
    (void)state;
    for (uint32_t h = 0; h < ALL; h++) {
        float f = nct_bf16_to_f32((uint16_t)h);
        assert_int_equal(nct_bits_from_f32(f), h << 16);
        uint16_t back = nct_f32_to_bf16(f);
        if (is_bf16_nan((uint16_t)h))
            assert_true(is_bf16_nan(back) && (back ^ h) >> 15 == 0);
        else
            assert_int_equal(back, h);
    }
}

static void test_num__bf16_rounds_to_nearest_even(void **state) {
    (void)state;
    for (uint32_t h = 0; h < 0x7f80; h++) {
        uint32_t middle = h << 16 | 0x8000;
        uint16_t even = (uint16_t)(h & 1 ? h + 1 : h);
        for (uint32_t sign = 0; sign <= 0x8000; sign += 0x8000) {
            assert_int_equal(nct_f32_to_bf16(nct_f32_from_bits((middle - 1) | sign << 16)), h | sign);
            assert_int_equal(nct_f32_to_bf16(nct_f32_from_bits(middle | sign << 16)), even | sign);
            assert_int_equal(nct_f32_to_bf16(nct_f32_from_bits((middle + 1) | sign << 16)), (h + 1) | sign);
        }
    }
}

static void test_num__bf16_keeps_nan_and_infinity_apart(void **state) {
    (void)state;
    assert_int_equal(nct_f32_to_bf16(INFINITY), 0x7f80);
    assert_int_equal(nct_f32_to_bf16(-INFINITY), 0xff80);
    assert_int_equal(nct_f32_to_bf16(3.4028235e38f), 0x7f80);
    assert_true(
        is_bf16_nan(nct_f32_to_bf16(nct_f32_from_bits(0x7f800001)))); /* the bit that says NaN is cut off */
    assert_true(is_bf16_nan(nct_f32_to_bf16(nct_f32_from_bits(0x7fffffff))));
    assert_true(is_bf16_nan(nct_f32_to_bf16(nct_f32_from_bits(0xffffffff))));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_num__every_f16_widens_to_its_value),
        cmocka_unit_test(test_num__every_f16_survives_the_round_trip),
        cmocka_unit_test(test_num__f16_rounds_to_nearest_even),
        cmocka_unit_test(test_num__f16_extremes),
        cmocka_unit_test(test_num__f16_agrees_with_the_compiler),
        cmocka_unit_test(test_num__every_bf16_survives_the_round_trip),
        cmocka_unit_test(test_num__bf16_rounds_to_nearest_even),
        cmocka_unit_test(test_num__bf16_keeps_nan_and_infinity_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
