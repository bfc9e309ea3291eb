#include "support/int4.h"

#include <string.h>

/* Puts a code into nibble v of a little-endian word. */
static void put(uint8_t *words, size_t word, size_t v, unsigned code) {
    words[4 * word + v / 2] |= (uint8_t)(code << 4 * (v % 2));
}

static const uint8_t ORD[8] = {0, 2, 4, 6, 1, 3, 5, 7}; /* of AWQ: the row that nibble b of a word holds */

void nct_test_gptq_codes(const uint8_t *code, size_t N, size_t K, uint8_t *words) {
    memset(words, 0, N * K / 2);
    for (size_t r = 0; r < K / 8; r++)
        for (size_t n = 0; n < N; n++)
            for (size_t v = 0; v < 8; v++)
                put(words, r * N + n, v, code[n * K + 8 * r + v]);
}

void nct_test_gptq_zeros(const uint8_t *zero, size_t G, size_t N, int stored_less, uint8_t *words) {
    memset(words, 0, G * N / 2);
    for (size_t g = 0; g < G; g++)
        for (size_t c = 0; c < N / 8; c++)
            for (size_t v = 0; v < 8; v++)
                put(words, g * (N / 8) + c, v, (unsigned)(zero[g * N + 8 * c + v] - stored_less) & 15);
}

void nct_test_awq_codes(const uint8_t *code, size_t N, size_t K, uint8_t *words) {
    memset(words, 0, N * K / 2);
    for (size_t k = 0; k < K; k++)
        for (size_t c = 0; c < N / 8; c++)
            for (size_t b = 0; b < 8; b++)
                put(words, k * (N / 8) + c, b, code[(8 * c + ORD[b]) * K + k]);
}

void nct_test_awq_zeros(const uint8_t *zero, size_t G, size_t N, uint8_t *words) {
    memset(words, 0, G * N / 2);
    for (size_t g = 0; g < G; g++)
        for (size_t c = 0; c < N / 8; c++)
            for (size_t b = 0; b < 8; b++)
                put(words, g * (N / 8) + c, b, zero[g * N + 8 * c + ORD[b]]);
}

void nct_test_marlin_codes(const uint8_t *code, size_t N, size_t K, uint8_t *words) {
    memset(words, 0, N * K / 2);
    for (size_t r = 0; r < K / 16; r++)
        for (size_t w = 0; w < 2 * N; w++)
            for (size_t v = 0; v < 8; v++) {
                size_t u = w % 128, i = u >> 2, j = u & 3;
                size_t k = 16 * r + 2 * (i & 3) + (v >> 2) + 8 * (v & 1),
                       n = 64 * (w / 128) + 16 * j + (i >> 2) + 8 * (v >> 1 & 1);
                put(words, r * 2 * N + w, v, code[n * K + k]);
            }
}

void nct_test_marlin_scales(const uint16_t *scale, size_t G, size_t N, uint16_t *out) {
    for (size_t g = 0; g < G; g++)
        for (size_t c = 0; c < N; c++) {
            size_t n = (c & ~(size_t)63) + 8 * (c & 7) + (c >> 3 & 7);
            if (G == 1) { /* within 32: the order in which the reference lists them */
                static const uint8_t step[8] = {0, 1, 8, 9, 16, 17, 24, 25};
                n = (c & ~(size_t)31) + 2 * (c >> 3 & 3) + step[c & 7];
            }
            out[g * N + c] = scale[g * N + n];
        }
}
