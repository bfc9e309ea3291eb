#include "cli/result.h"

#include <string.h>

#include "base/json.h"
#include "engine/identity.h"

nct_status nct_result_digest(const nct_engine *engine, const nct_model_info *info, char hex[NCT_DIGEST_HEX],
                             nct_error *err) {
    nct_link digest;
    hex[0] = 0;
    if (strcmp(info->container, "nct") != 0)
        return NCT_OK;
    NCT_TRY(nct_model_identity(engine, &digest, err));
    nct_sha256_hex(digest.bytes, sizeof digest.bytes, hex);
    return NCT_OK;
}

nct_status nct_result_write_model(const nct_model_info *info, const char *digest, nct_bytes *out,
                                  nct_error *err) {
    NCT_TRY(nct_bytes_add_str(out, "\"model\":{\"name\":", err));
    NCT_TRY(nct_json_write_string(out, info->name, strlen(info->name), err));
    NCT_TRY(nct_bytes_add_str(out, ",\"quant\":", err));
    NCT_TRY(nct_json_write_string(out, info->weights, strlen(info->weights), err));
    NCT_TRY(*digest ? nct_bytes_printf(out, err, ",\"sha256\":\"%s\"", digest)
                    : nct_bytes_add_str(out, ",\"sha256\":null", err));
    return nct_bytes_printf(out, err, ",\"isa\":\"%s\"},\"version\":\"%s\"", info->isa, NOCTULE_VERSION);
}

nct_status nct_result_write_sparse(const nct_model_info *info, bool active, int dense_len, nct_bytes *out,
                                   nct_error *err) {
    NCT_TRY(
        nct_bytes_printf(out, err, "\"sparse\":{\"active\":%s,\"dense_len\":", active ? "true" : "false"));
    return nct_bytes_printf(out, err, info->sparse_blocks ? "%d}" : "null}",
                            dense_len ? dense_len : info->sparse_dense_len);
}

nct_status nct_result_write_spec(size_t n_rounds, size_t n_guessed, size_t n_accepted, double gain,
                                 nct_bytes *out, nct_error *err) {
    double rounds = (double)n_rounds;
    NCT_TRY(nct_bytes_printf(
        out, err,
        "\"spec\":{\"on\":%s,\"tree\":%.1f,\"steps\":%zu,\"guessed\":%zu,\"mean_accept\":%.3f,\"gain\":",
        n_guessed ? "true" : "false", n_rounds ? 1 + (double)n_guessed / rounds : 1, n_rounds, n_guessed,
        n_rounds ? 1 + (double)n_accepted / rounds : 1));
    return gain > 0 ? nct_bytes_printf(out, err, "%.3f", gain) : nct_bytes_add_str(out, "null", err);
}
