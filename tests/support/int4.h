/** Packs 4-bit codes as GPTQ, AWQ and Marlin do, by the formulas of formats.md 6 read in the direction
 *  that src/quant does not use. Codes are [N][K] (a row of the matrix after another), zero points and
 *  scales [G][N]. Outputs are little-endian words of N * K / 2 bytes, or G * N / 2 for zero points. */
#ifndef NCT_TEST_INT4_H
#define NCT_TEST_INT4_H

#include <stddef.h>
#include <stdint.h>

void nct_test_gptq_codes(const uint8_t *code, size_t n_rows, size_t n_cols, uint8_t *words);
void nct_test_gptq_zeros(const uint8_t *zero, size_t n_groups, size_t n_rows, int stored_less,
                         uint8_t *words);
void nct_test_awq_codes(const uint8_t *code, size_t n_rows, size_t n_cols, uint8_t *words);
void nct_test_awq_zeros(const uint8_t *zero, size_t n_groups, size_t n_rows, uint8_t *words);
void nct_test_marlin_codes(const uint8_t *code, size_t n_rows, size_t n_cols, uint8_t *words);
void nct_test_marlin_scales(const uint16_t *scale, size_t n_groups, size_t n_rows, uint16_t *out);

#endif
