/* config.json: whatever is accepted is finite and of a size that can be multiplied. */
#include "format/config.h"

#include <math.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool is_count(int64_t v) { return v >= 1 && v <= 1 << 24; }

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    nct_file_config config = {0};
    if (nct_file_config_parse("config.json", (const char *)data, size, &config, NULL) == NCT_OK) {
        const nct_raw_config *r = &config.raw;
        bool sound = is_count(r->vocab_size) && is_count(r->hidden_size) && is_count(r->intermediate_size) &&
                     is_count(r->n_layers) && is_count(r->n_heads) && is_count(r->n_kv_heads) &&
                     is_count(r->head_dim) && r->n_heads % r->n_kv_heads == 0 && r->head_dim % 2 == 0 &&
                     isfinite(r->rms_norm_eps) && isfinite(r->rope_theta) && isfinite(r->scale_emb) &&
                     isfinite(r->residual_scale) && isfinite(r->logit_divisor) &&
                     r->n_eos <= sizeof r->eos / sizeof *r->eos;
        for (size_t i = 0; r->has_rope_factors && i < r->n_rope_factors; i++)
            sound &= r->short_factor[i] > 0 && isfinite(r->long_factor[i]);
        if (!sound)
            __builtin_trap();
    }
    nct_file_config_close(&config);
    return 0;
}
