/* The configuration of a bundle: nct_raw_config as JSON, both ways from one list of fields. */
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "format/nct_file.h"

typedef enum field_kind { INT, NUMBER, FLAG } field_kind;

/* Fields of nct_raw_config that are one value each: what is written and what is read. */
static const struct field {
    const char *key;
    field_kind kind;
    size_t at;
    bool optional; /* numbers: NaN where absent */
    int64_t low;   /* integers: from this to 2^31 - 1 */
} fields[] = {
#define FIELD(kind, name, ...)                                                                               \
    { #name, kind, offsetof(nct_raw_config, name), __VA_ARGS__ }
    FIELD(INT, vocab_size, false, 0),
    FIELD(INT, hidden_size, false, 0),
    FIELD(INT, intermediate_size, false, 0),
    FIELD(INT, n_layers, false, 0),
    FIELD(INT, n_heads, false, 0),
    FIELD(INT, n_kv_heads, false, 0),
    FIELD(INT, head_dim, false, 0),
    FIELD(INT, max_positions, false, 0),
    FIELD(NUMBER, rms_norm_eps, false, 0),
    FIELD(NUMBER, rope_theta, false, 0),
    FIELD(NUMBER, scale_emb, false, 0),
    FIELD(NUMBER, residual_scale, false, 0),
    FIELD(NUMBER, logit_divisor, false, 0),
    FIELD(FLAG, tie_word_embeddings, false, 0),
    FIELD(FLAG, tie_stated, false, 0),
    FIELD(FLAG, has_rope_factors, false, 0),
    FIELD(INT, rope_original_max, false, 0),
    FIELD(FLAG, has_sparse, false, 0),
    FIELD(INT, sparse_kernel_size, false, 0),
    FIELD(INT, sparse_kernel_stride, false, 0),
    FIELD(INT, sparse_init_blocks, false, 0),
    FIELD(INT, sparse_block_size, false, 0),
    FIELD(INT, sparse_window_size, false, 0),
    FIELD(INT, sparse_topk, false, 0),
    FIELD(INT, sparse_dense_len, false, 0),
    FIELD(FLAG, sparse_use_nope, false, 0),
    FIELD(INT, bos, false, -1),
    FIELD(NUMBER, temperature, true, 0),
    FIELD(NUMBER, top_p, true, 0),
    FIELD(NUMBER, top_k, true, 0),
    FIELD(NUMBER, repetition_penalty, true, 0),
#undef FIELD
};

static nct_status read_field(const char *path, const struct field *f, const nct_json *json,
                             nct_raw_config *raw, nct_error *err) {
    const nct_json *item = nct_json_get(json, f->key);
    uint8_t *to = (uint8_t *)raw + f->at;
    bool right = f->kind == FLAG ? nct_json_is_bool(item) : nct_json_is_number(item);
    int64_t n = nct_json_int(item, INT64_MIN);
    double x = nct_json_number(item, NAN);
    if (!item && f->optional)
        right = true;
    else if (f->kind == INT)
        right = right && n >= f->low && n <= INT32_MAX;
    else if (f->kind == NUMBER)
        right = right && isfinite(x);
    if (!right)
        return nct_fail(err, NCT_E_FORMAT,
                        "%s: '%s' of the bundle's configuration is absent or no sane value", path, f->key);
    if (f->kind == INT)
        memcpy(to, &n, sizeof n);
    else if (f->kind == NUMBER)
        memcpy(to, &x, sizeof x);
    else
        *(bool *)(void *)to = nct_json_bool(item, false);
    return NCT_OK;
}

/* An array of n finite numbers, appended to *list. */
static nct_status read_factors(const char *path, const nct_json *json, const char *key, size_t n,
                               double *list, nct_error *err) {
    const nct_json *array = nct_json_get(json, key);
    size_t i = 0;
    for (const nct_json *item = nct_json_first(array); item; item = nct_json_next(item), i++) {
        double x = nct_json_number(item, NAN);
        if (i == n || !isfinite(x))
            return nct_fail(err, NCT_E_FORMAT,
                            "%s: '%s' of the bundle's configuration: no list of %zu numbers", path, key, n);
        list[i] = x;
    }
    if (i != n)
        return nct_fail(err, NCT_E_FORMAT,
                        "%s: '%s' of the bundle's configuration has %zu numbers, expected %zu", path, key, i,
                        n);
    return NCT_OK;
}

static nct_status read_rope(const char *path, const nct_json *json, nct_file_config *c, nct_error *err) {
    nct_raw_config *raw = &c->raw;
    size_t n = nct_json_size(nct_json_get(json, "short_factor"));
    void *block = NULL;
    if (!raw->has_rope_factors)
        return NCT_OK;
    NCT_TRY(nct_alloc(&block, 2 * n, sizeof(double), err));
    c->factors = block;
    raw->n_rope_factors = n;
    raw->short_factor = c->factors;
    raw->long_factor = c->factors + n;
    NCT_TRY(read_factors(path, json, "short_factor", n, c->factors, err));
    return read_factors(path, json, "long_factor", n, c->factors + n, err);
}

static nct_status read_eos(const char *path, const nct_json *json, nct_raw_config *raw, nct_error *err) {
    for (const nct_json *item = nct_json_first(nct_json_get(json, "eos")); item; item = nct_json_next(item)) {
        int64_t id = nct_json_int(item, -1);
        if (raw->n_eos == sizeof raw->eos / sizeof *raw->eos || id < 0 || id > INT32_MAX)
            return nct_fail(err, NCT_E_FORMAT,
                            "%s: 'eos' of the bundle's configuration is no short list of ids", path);
        raw->eos[raw->n_eos++] = id;
    }
    return NCT_OK;
}

static nct_status read_json(const char *path, const nct_json *json, nct_file_config *c, nct_error *err) {
    nct_raw_config *raw = &c->raw;
    const char *architecture = nct_json_string(nct_json_get(json, "architecture"), "");
    if (strcmp(architecture, "minicpm") != 0 && strcmp(architecture, "llama") != 0)
        return nct_fail(err, NCT_E_UNSUPPORTED, "%s: the architecture is '%.40s', expected minicpm or llama",
                        path, architecture);
    snprintf(raw->architecture, sizeof raw->architecture, "%s", architecture);
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        NCT_TRY(read_field(path, &fields[i], json, raw, err));
    int64_t sampled = nct_json_int(nct_json_get(json, "do_sample"), -1);
    raw->do_sample = sampled == 0 || sampled == 1 ? (int)sampled : -1;
    NCT_TRY(read_rope(path, json, c, err));
    return read_eos(path, json, raw, err);
}

/* Opens the configuration's JSON. */
static nct_status open_json(const nct_bundle *b, nct_json **json, nct_error *err) {
    const nct_section *s = nct_bundle_find(b, NCT_SECTION_CONFIG, 0, 0);
    if (!s)
        return nct_fail(err, NCT_E_FORMAT, "%s: the bundle has no configuration", b->path);
    return nct_json_parse(b->path, (const char *)s->data, s->n_bytes, json, err);
}

nct_status nct_bundle_config(const nct_bundle *b, nct_file_config *config, nct_error *err) {
    nct_file_config c = {0};
    nct_json *json = NULL;
    NCT_TRY(open_json(b, &json, err));
    nct_status status = read_json(b->path, json, &c, err);
    const nct_section *template = nct_bundle_find(b, NCT_SECTION_TEMPLATE, 0, 0);
    if (status == NCT_OK && template && memchr(template->data, 0, template->n_bytes))
        status = nct_fail(err, NCT_E_FORMAT, "%s: the chat template holds a NUL byte", b->path);
    if (status == NCT_OK && template)
        status = nct_copy_string(&c.chat_template, (const char *)template->data, template->n_bytes, err);
    c.raw.chat_template = c.chat_template;
    nct_json_close(json);
    if (status == NCT_OK)
        *config = c;
    else
        nct_file_config_close(&c);
    return status;
}

nct_status nct_bundle_made(const nct_bundle *b, char **made, nct_error *err) {
    nct_json *json = NULL;
    NCT_TRY(open_json(b, &json, err));
    const char *text = nct_json_string(nct_json_get(json, "made"), "");
    nct_status status = nct_copy_string(made, text, strlen(text), err);
    nct_json_close(json);
    return status;
}

static nct_status put_field(nct_bytes *out, const struct field *f, const nct_raw_config *raw,
                            nct_error *err) {
    const uint8_t *from = (const uint8_t *)raw + f->at;
    int64_t n;
    double x;
    if (f->kind == INT) {
        memcpy(&n, from, sizeof n);
        return nct_bytes_printf(out, err, ", \"%s\": %lld", f->key, (long long)n);
    }
    if (f->kind == FLAG)
        return nct_bytes_printf(out, err, ", \"%s\": %s", f->key,
                                *(const bool *)(const void *)from ? "true" : "false");
    memcpy(&x, from, sizeof x);
    return isfinite(x) ? nct_bytes_printf(out, err, ", \"%s\": %.17g", f->key, x) : NCT_OK;
}

static nct_status put_factors(nct_bytes *out, const char *key, const double *list, size_t n, nct_error *err) {
    NCT_TRY(nct_bytes_printf(out, err, ", \"%s\": [", key));
    for (size_t i = 0; i < n; i++)
        NCT_TRY(nct_bytes_printf(out, err, "%s%.17g", i ? ", " : "", list[i]));
    return nct_bytes_add_str(out, "]", err);
}

static nct_status put_config(nct_bytes *out, const nct_raw_config *raw, const char *made, nct_error *err) {
    NCT_TRY(nct_bytes_printf(out, err, "{\"architecture\": \"%s\", \"made\": ", raw->architecture));
    NCT_TRY(nct_json_write_string(out, made, strlen(made), err));
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        NCT_TRY(put_field(out, &fields[i], raw, err));
    NCT_TRY(nct_bytes_printf(out, err, ", \"do_sample\": %d", raw->do_sample));
    if (raw->has_rope_factors) {
        NCT_TRY(put_factors(out, "short_factor", raw->short_factor, raw->n_rope_factors, err));
        NCT_TRY(put_factors(out, "long_factor", raw->long_factor, raw->n_rope_factors, err));
    }
    NCT_TRY(nct_bytes_add_str(out, ", \"eos\": [", err));
    for (size_t i = 0; i < raw->n_eos; i++)
        NCT_TRY(nct_bytes_printf(out, err, "%s%lld", i ? ", " : "", (long long)raw->eos[i]));
    return nct_bytes_add_str(out, "]}\n", err);
}

nct_status nct_bundle_add_config(nct_bundle_writer *writer, const nct_raw_config *raw, const char *made,
                                 nct_error *err) {
    nct_bytes out = {0};
    nct_status status = put_config(&out, raw, made, err);
    if (status == NCT_OK)
        status = nct_bundle_add(writer, &(nct_section){.kind = NCT_SECTION_CONFIG}, out.data, out.n, err);
    nct_bytes_reset(&out);
    if (status == NCT_OK && raw->chat_template)
        status = nct_bundle_add(writer, &(nct_section){.kind = NCT_SECTION_TEMPLATE}, raw->chat_template,
                                strlen(raw->chat_template), err);
    return status;
}
