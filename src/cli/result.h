/** Members that results of run, batch and sum have in common, as JSON: which model made an answer, and how. */
#ifndef NCT_CLI_RESULT_H
#define NCT_CLI_RESULT_H

#include "base/bytes.h"
#include "base/sha256.h"
#include "noctule.h"

enum { NCT_DIGEST_HEX = 2 * NCT_SHA256_BYTES + 1 };

/** Which model: of a bundle the digest of its checksums. "" of other files: to read all of one would take longer than an
 *  answer. NCT_E_IO. */
nct_status nct_result_digest(const nct_engine *engine, const nct_model_info *info, char hex[NCT_DIGEST_HEX],
                             nct_error *err);

/** `"model":{name, quant, sha256, isa},"version"`: with the settings, what decides an answer's bits. digest: of
 *  nct_result_digest. */
nct_status nct_result_write_model(const nct_model_info *info, const char *digest, nct_bytes *out,
                                  nct_error *err);

/** `"sparse":{active, dense_len}`. active: rows chose blocks. dense_len: of -X; 0: the model's, if it has one. */
nct_status nct_result_write_sparse(const nct_model_info *info, bool active, int dense_len, nct_bytes *out,
                                   nct_error *err);

/** `"spec":{on, tree, steps, guessed, mean_accept, gain` and no brace behind it: rows of a step and tokens it gave, on
 *  average. gain 0: not known, null. */
nct_status nct_result_write_spec(size_t n_rounds, size_t n_guessed, size_t n_accepted, double gain,
                                 nct_bytes *out, nct_error *err);

#endif
