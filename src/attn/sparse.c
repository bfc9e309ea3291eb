#include "attn/sparse.h"

static nct_status check(const char *path, const char *field, int64_t value, int64_t low, int64_t high, nct_error *err) {
    if (value < low || value > high)
        return nct_fail(err, NCT_E_FORMAT, "%s: sparse_config.%s is %lld, expected %lld to %lld", path, field, (long long)value,
                        (long long)low, (long long)high);
    return NCT_OK;
}

nct_status nct_sparse_check(const nct_sparse_stated *s, const char *path, nct_sparse *sparse, nct_error *err) {
    NCT_TRY(check(path, "kernel_size", s->kernel_size, 1, 128, err));
    NCT_TRY(check(path, "kernel_stride", s->kernel_stride, 1, 128, err));
    NCT_TRY(check(path, "block_size", s->block_size, 16, 4096, err));
    NCT_TRY(check(path, "init_blocks", s->init_blocks, 0, 4096, err));
    NCT_TRY(check(path, "window_size", s->window_size, 0, 1 << 20, err));
    NCT_TRY(check(path, "topk", s->topk, 0, 4096, err));
    NCT_TRY(check(path, "dense_len", s->dense_len, -1, (int64_t)1 << 40, err));
    if (s->block_size % 16 || s->block_size % s->kernel_stride)
        return nct_fail(err, NCT_E_FORMAT, "%s: sparse_config.block_size is %lld, expected a multiple of 16 and of kernel_stride %lld",
                        path, (long long)s->block_size, (long long)s->kernel_stride);
    if (s->window_size % s->block_size)
        return nct_fail(err, NCT_E_FORMAT, "%s: sparse_config.window_size is %lld, expected a multiple of block_size %lld", path,
                        (long long)s->window_size, (long long)s->block_size);
    if (s->use_nope)
        return nct_fail(err, NCT_E_UNSUPPORTED, "%s: sparse_config.use_nope needs keys that are not rotated, which are not kept", path);
    size_t local = (size_t)(s->window_size / s->block_size);
    nct_sparse out = {.enabled = true,
                      .fine = {(size_t)s->kernel_size, (size_t)s->kernel_stride},
                      .coarse = {4 * (size_t)s->kernel_size, 4 * (size_t)s->kernel_stride},
                      .block = (size_t)s->block_size,
                      .init_blocks = (size_t)s->init_blocks,
                      .local_forced = local + 1,
                      .budget = (size_t)s->topk + local,
                      .dense_len = s->dense_len < 0 ? 0 : (size_t)s->dense_len};
    if (out.budget < out.init_blocks + out.local_forced)
        return nct_fail(err, NCT_E_FORMAT, "%s: sparse_config attends to %zu blocks, but %zu are forced", path, out.budget,
                        out.init_blocks + out.local_forced);
    *sparse = out;
    return NCT_OK;
}
