#include "model/config.h"

#include <math.h>

#include "kernel/kernel.h"
#include "model/longrope.h"

static nct_status check_range(const char *path, const char *field, int64_t value, int64_t low, int64_t high, size_t *out,
                              nct_error *err) {
    if (value < low || value > high)
        return nct_fail(err, NCT_E_FORMAT, "%s: %s is %lld, expected %lld to %lld", path, field, (long long)value,
                        (long long)low, (long long)high);
    *out = (size_t)value;
    return NCT_OK;
}

static nct_status check_scale(const char *path, const char *field, double value, float *out, nct_error *err) {
    if (!isfinite(value) || value <= 0 || value > 1e6 || (float)value == 0)
        return nct_fail(err, NCT_E_FORMAT, "%s: %s is %g, expected a positive number", path, field, value);
    *out = (float)value;
    return NCT_OK;
}

/* MiniCPM4-8B and 4.1-8B are published without sparse_config; their READMEs give these values. */
static const nct_sparse_stated published_sparse = {.kernel_size = 32, .kernel_stride = 16, .init_blocks = 1, .block_size = 64,
                                                   .window_size = 2048, .topk = 64, .dense_len = 8192};

static nct_status check_sparse(const nct_raw_config *raw, const char *path, nct_config *c, nct_error *err) {
    nct_sparse_stated stated = published_sparse;
    if (raw->has_sparse)
        stated = (nct_sparse_stated){raw->sparse_kernel_size, raw->sparse_kernel_stride, raw->sparse_init_blocks,
                                     raw->sparse_block_size, raw->sparse_window_size, raw->sparse_topk,
                                     raw->sparse_dense_len, raw->sparse_use_nope};
    c->sparse_built_in = !raw->has_sparse;
    c->sparse_trained = raw->has_sparse || nct_is_published_8b(raw);
    c->sparse_stated = stated;
    return nct_sparse_check(&stated, path, &c->sparse, err);
}

static nct_status check_factors(const char *path, const double *factor, size_t n, nct_error *err) {
    for (size_t i = 0; i < n; i++)
        if (!isfinite(factor[i]) || factor[i] <= 0)
            return nct_fail(err, NCT_E_FORMAT, "%s: rope factor %zu is %g, expected a positive number", path, i, factor[i]);
    return NCT_OK;
}

/* The list for contexts beyond the native window: the published one, or the checkpoint's own where it is not in
 * use already. How far the latter reaches is not stated; the slowest rotation tells: at its end it has turned
 * as far as it had at the end of the native window. */
static void find_long(const nct_raw_config *raw, nct_config *c) {
    enum { MOST = 1 << 30 };
    if (nct_longrope_published(raw, &c->long_factor, &c->long_positions)) {
        c->long_built_in = true;
        return;
    }
    if (c->rope_factor != raw->short_factor)
        return;
    size_t last = raw->n_rope_factors - 1;
    double reach = floor((double)c->max_positions * raw->long_factor[last] / raw->short_factor[last] * (1 + 1e-9));
    if (reach > (double)c->max_positions && reach <= MOST) {
        c->long_factor = raw->long_factor;
        c->long_positions = (size_t)reach;
    }
}

nct_status nct_config_check(const nct_checkpoint *checkpoint, const char *path, nct_config *config, nct_error *err) {
    return nct_config_check_raw(nct_checkpoint_config(checkpoint), path, nct_checkpoint_has(checkpoint, NCT_ROLE_HEAD, 0),
                                config, err);
}

nct_status nct_config_check_raw(const nct_raw_config *raw, const char *path, bool has_head, nct_config *config,
                                nct_error *err) {
    nct_config c = {0};
    NCT_TRY(check_range(path, "the number of layers", raw->n_layers, 1, 1024, &c.n_layers, err));
    NCT_TRY(check_range(path, "hidden_size", raw->hidden_size, 1, 1 << 17, &c.hidden, err));
    NCT_TRY(check_range(path, "intermediate_size", raw->intermediate_size, 1, 1 << 20, &c.intermediate, err));
    NCT_TRY(check_range(path, "the number of attention heads", raw->n_heads, 1, 4096, &c.n_heads, err));
    NCT_TRY(check_range(path, "the number of key-value heads", raw->n_kv_heads, 1, raw->n_heads, &c.n_kv_heads, err));
    NCT_TRY(check_range(path, "head_dim", raw->head_dim, 2, NCT_HEAD_DIM_MAX, &c.head_dim, err));
    NCT_TRY(check_range(path, "vocab_size", raw->vocab_size, 1, 1 << 24, &c.n_vocab, err));
    NCT_TRY(check_range(path, "max_position_embeddings", raw->max_positions, 1, 1 << 30, &c.max_positions, err));
    if (c.n_heads % c.n_kv_heads)
        return nct_fail(err, NCT_E_FORMAT, "%s: %zu attention heads cannot share %zu key-value heads evenly", path,
                        c.n_heads, c.n_kv_heads);
    if (c.head_dim % 2)
        return nct_fail(err, NCT_E_FORMAT, "%s: head_dim is %zu, expected an even number", path, c.head_dim);
    NCT_TRY(check_scale(path, "rms_norm_eps", raw->rms_norm_eps, &c.rms_eps, err));
    NCT_TRY(check_scale(path, "the embedding scale", raw->scale_emb, &c.scale_emb, err));
    NCT_TRY(check_scale(path, "the residual scale", raw->residual_scale, &c.residual_scale, err));
    NCT_TRY(check_scale(path, "the logit divisor", raw->logit_divisor, &c.logit_divisor, err));
    if (!isfinite(raw->rope_theta) || raw->rope_theta <= 1)
        return nct_fail(err, NCT_E_FORMAT, "%s: rope_theta is %g, expected a number above 1", path, raw->rope_theta);
    c.rope_theta = raw->rope_theta;
    c.rope_original_max = (double)c.max_positions;
    if (raw->has_rope_factors) {
        if (raw->n_rope_factors != c.head_dim / 2)
            return nct_fail(err, NCT_E_FORMAT, "%s: %zu rope factors, expected %zu (half of head_dim)", path,
                            raw->n_rope_factors, c.head_dim / 2);
        size_t original = 0;
        NCT_TRY(check_range(path, "original_max_position_embeddings", raw->rope_original_max, 2, 1 << 30, &original, err));
        c.rope_original_max = (double)original;
        /* the rule of the published code at construction: the declared window decides */
        c.rope_factor = c.max_positions > original ? raw->long_factor : raw->short_factor;
        NCT_TRY(check_factors(path, raw->short_factor, raw->n_rope_factors, err));
        NCT_TRY(check_factors(path, raw->long_factor, raw->n_rope_factors, err));
        find_long(raw, &c);
    }
    c.tied = raw->tie_word_embeddings;
    if (!c.tied && !has_head)
        return nct_fail(err, NCT_E_FORMAT, "%s: the output matrix is declared separate, but none is stored", path);
    NCT_TRY(check_sparse(raw, path, &c, err));
    *config = c;
    return NCT_OK;
}
