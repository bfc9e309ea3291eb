/** Matrices of a directory by the stem of their tensors' names (formats.md 5, 6): X.weight holds plain numbers;
 *  X.qweight (or X.B) holds INT4 words with X.scales (or X.s), X.qzeros and X.g_idx beside it. Which tensors exist
 *  and what shapes they have decides, metadata only where they leave a choice. */
#ifndef NCT_FORMAT_STEM_H
#define NCT_FORMAT_STEM_H

#include "format/config.h"
#include "format/names.h"

typedef struct nct_stems {
    const nct_tensors *tensors;
    const nct_quant_config *quant;
} nct_stems;

/** The tensor STEM + SUFFIX, or NULL. */
const nct_tensor *nct_stem_find(const nct_tensors *tensors, const char *stem, const char *suffix);
/** True if a matrix of this stem is stored, in whatever encoding. */
bool nct_stem_has(const nct_tensors *tensors, const char *stem);

/** Fills in a matrix whose n_rows, n_cols, n_rows_file and first_row are given; what it owns is closed by the
 *  caller, on failure too. *found false: there is none of this stem, and nothing is changed. Otherwise
 *  NCT_E_FORMAT or NCT_E_UNSUPPORTED names the tensor that is not as it should be. */
nct_status nct_stem_matrix(const nct_stems *stems, const char *stem, nct_stored *stored, bool *found,
                           nct_error *err);

/** NCT_E_UNSUPPORTED if the matrix has a bias that is not all zero. */
nct_status nct_stem_refuse_bias(const nct_tensors *tensors, const char *stem, nct_error *err);

/** Describes a matrix that was filled in, as its codec does, with the path before the sentence; `plain` refuses one
 *  that is quantized. */
nct_status nct_stem_describe(const char *path, const nct_stored *stored, bool plain, nct_error *err);

/** NCT_E_FORMAT unless the tensor is [n_rows, n_cols], or [n_cols] where n_rows is 1. */
nct_status nct_tensor_expect(const nct_tensor *tensor, size_t n_rows, size_t n_cols, nct_error *err);

/** Plain numbers: F32, F16, BF16. */
static inline bool nct_type_is_float(uint32_t type) {
    return type == NCT_TYPE_F32 || type == NCT_TYPE_F16 || type == NCT_TYPE_BF16;
}

#endif
