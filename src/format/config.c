#include "format/config.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/num.h"

/* Ranges that no model of these architectures comes near. */
enum {
    MAX_VOCAB = 1 << 24,
    MAX_WIDTH = 1 << 20,
    MAX_LAYERS = 1024,
    MAX_HEADS = 1 << 12,
    MAX_HEAD_DIM = 1 << 12,
    MAX_JSON_BYTES = 8 << 20,
    MAX_TEMPLATE_BYTES = 1 << 20,
};

/* Where values come from, for messages. */
struct source {
    const char *path;
    nct_error *err;
};

/* ------------------------------------------------------------------ ranges */

static nct_status check_int(const struct source *s, const char *key, int64_t v, int64_t lowest,
                            int64_t highest) {
    if (v >= lowest && v <= highest)
        return NCT_OK;
    return nct_fail(s->err, NCT_E_FORMAT, "%s: '%s' is %lld, expected an integer from %lld to %lld", s->path,
                    key, (long long)v, (long long)lowest, (long long)highest);
}

#define OR_ZERO (-1e-300) /* as `above`: zero is allowed too */

/* Above `above` and up to `highest`; NaN is neither. */
static nct_status check_number(const struct source *s, const char *key, double v, double above,
                               double highest) {
    if (v > above && v <= highest)
        return NCT_OK;
    return nct_fail(s->err, NCT_E_FORMAT, "%s: '%s' is %.6g, expected a number %s %.6g up to %.6g", s->path,
                    key, v, above < 0 ? "from" : "above", above < 0 ? 0 : above, highest);
}

/* ------------------------------------------------------------------ JSON values */

static nct_status bad_kind(const struct source *s, const char *key, const nct_json *json,
                           const char *expected) {
    const char *kind = nct_json_is_string(json)   ? "a string"
                       : nct_json_is_number(json) ? "a number"
                       : nct_json_is_bool(json)   ? "true or false"
                       : nct_json_is_array(json)  ? "an array"
                                                  : "an object";
    if (nct_json_is_number(json))
        return nct_fail(s->err, NCT_E_FORMAT, "%s: '%s' is %.9g, expected %s", s->path, key,
                        nct_json_number(json, 0), expected);
    return nct_fail(s->err, NCT_E_FORMAT, "%s: '%s' is %s, expected %s", s->path, key, kind, expected);
}

static nct_status int_value(const struct source *s, const char *key, const nct_json *json, int64_t lowest,
                            int64_t highest, int64_t *value) {
    int64_t v = nct_json_int(json, INT64_MIN);
    if (v == INT64_MIN)
        return bad_kind(s, key, json, "an integer");
    NCT_TRY(check_int(s, key, v, lowest, highest));
    *value = v;
    return NCT_OK;
}

/* The readers below leave *value as it is where the key is absent or null. */
static nct_status read_int(const struct source *s, const nct_json *object, const char *key, int64_t lowest,
                           int64_t highest, int64_t *value) {
    const nct_json *json = nct_json_get(object, key);
    return json ? int_value(s, key, json, lowest, highest, value) : NCT_OK;
}

static nct_status read_number(const struct source *s, const nct_json *object, const char *key, double above,
                              double highest, double *value) {
    const nct_json *json = nct_json_get(object, key);
    if (!json)
        return NCT_OK;
    if (!nct_json_is_number(json))
        return bad_kind(s, key, json, "a number");
    NCT_TRY(check_number(s, key, nct_json_number(json, NAN), above, highest));
    *value = nct_json_number(json, NAN);
    return NCT_OK;
}

static nct_status read_bool(const struct source *s, const nct_json *object, const char *key, bool *value,
                            bool *stated) {
    const nct_json *json = nct_json_get(object, key);
    if (!json)
        return NCT_OK;
    if (!nct_json_is_bool(json))
        return bad_kind(s, key, json, "true or false");
    *value = nct_json_bool(json, false);
    if (stated)
        *stated = true;
    return NCT_OK;
}

static nct_status read_string(const struct source *s, const nct_json *object, const char *key,
                              const char **value) {
    const nct_json *json = nct_json_get(object, key);
    if (!json)
        return NCT_OK;
    if (!nct_json_is_string(json))
        return bad_kind(s, key, json, "a string");
    *value = nct_json_string(json, NULL);
    return NCT_OK;
}

/* ------------------------------------------------------------------ parts of config.json */

static nct_status read_architecture(const struct source *s, const nct_json *json, nct_raw_config *raw) {
    static const struct {
        const char *name, *architecture;
    } known[] = {
        {"MiniCPMForCausalLM", "minicpm"}, {"MiniCPM4ForCausalLM", "minicpm"},
        {"LlamaForCausalLM", "llama"},     {"minicpm", "minicpm"},
        {"minicpm4", "minicpm"},           {"llama", "llama"},
    };
    const char *name = nct_json_string(nct_json_first(nct_json_get(json, "architectures")), NULL);
    if (!name)
        name = nct_json_string(nct_json_get(json, "model_type"), NULL);
    if (!name)
        return nct_fail(s->err, NCT_E_FORMAT,
                        "%s: neither 'architectures' nor 'model_type' says what model this is", s->path);
    bool drafter = strstr(name, "Eagle") || nct_json_get(json, "draft_vocab_size");
    for (const nct_json *item = nct_json_first(json); item && !drafter; item = nct_json_next(item))
        drafter = strncmp(nct_json_key(item), "eagle", 5) == 0;
    if (drafter)
        return nct_fail(s->err, NCT_E_UNSUPPORTED,
                        "%s: '%.100s' is a draft head, which guesses for a model but is none", s->path, name);
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (strcmp(known[i].name, name) == 0) {
            snprintf(raw->architecture, sizeof raw->architecture, "%s", known[i].architecture);
            return NCT_OK;
        }
    return nct_fail(s->err, NCT_E_UNSUPPORTED,
                    "%s: architecture '%.100s' is not readable; readable: MiniCPMForCausalLM, "
                    "MiniCPM4ForCausalLM, LlamaForCausalLM",
                    s->path, name);
}

static bool is_minicpm(const nct_raw_config *raw) { return strcmp(raw->architecture, "minicpm") == 0; }

/* Key-value heads and head size follow from the others where the file is silent. */
static nct_status derive_heads(const struct source *s, nct_raw_config *raw) {
    if (raw->n_kv_heads == 0)
        raw->n_kv_heads = raw->n_heads;
    if (raw->n_heads % raw->n_kv_heads)
        return nct_fail(s->err, NCT_E_FORMAT, "%s: %lld heads cannot share %lld key-value heads evenly",
                        s->path, (long long)raw->n_heads, (long long)raw->n_kv_heads);
    if (raw->head_dim == 0) {
        if (raw->hidden_size % raw->n_heads)
            return nct_fail(s->err, NCT_E_FORMAT, "%s: a width of %lld cannot be cut into %lld heads",
                            s->path, (long long)raw->hidden_size, (long long)raw->n_heads);
        raw->head_dim = raw->hidden_size / raw->n_heads;
    }
    if (raw->head_dim % 2 || raw->head_dim > MAX_HEAD_DIM)
        return nct_fail(s->err, NCT_E_FORMAT, "%s: a head size of %lld is odd or above %d", s->path,
                        (long long)raw->head_dim, MAX_HEAD_DIM);
    return NCT_OK;
}

static nct_status read_geometry(const struct source *s, const nct_json *json, nct_raw_config *raw) {
    raw->vocab_size = 32000;
    raw->hidden_size = 4096;
    raw->intermediate_size = 11008;
    raw->n_layers = raw->n_heads = 32;
    raw->max_positions = 2048;
    NCT_TRY(read_int(s, json, "vocab_size", 1, MAX_VOCAB, &raw->vocab_size));
    NCT_TRY(read_int(s, json, "hidden_size", 1, MAX_WIDTH, &raw->hidden_size));
    NCT_TRY(read_int(s, json, "intermediate_size", 1, MAX_WIDTH, &raw->intermediate_size));
    NCT_TRY(read_int(s, json, "num_hidden_layers", 1, MAX_LAYERS, &raw->n_layers));
    NCT_TRY(read_int(s, json, "num_attention_heads", 1, MAX_HEADS, &raw->n_heads));
    NCT_TRY(read_int(s, json, "num_key_value_heads", 1, MAX_HEADS, &raw->n_kv_heads));
    NCT_TRY(read_int(s, json, "head_dim", 1, MAX_HEAD_DIM, &raw->head_dim));
    NCT_TRY(read_int(s, json, "max_position_embeddings", 1, INT32_MAX, &raw->max_positions));
    return derive_heads(s, raw);
}

static nct_status read_scales(const struct source *s, const nct_json *json, nct_raw_config *raw) {
    raw->rms_norm_eps = 1e-6;
    raw->scale_emb = raw->residual_scale = raw->logit_divisor = 1;
    NCT_TRY(read_number(s, json, "rms_norm_eps", OR_ZERO, 1, &raw->rms_norm_eps));
    if (!is_minicpm(raw))
        return NCT_OK;
    double depth = 1, base = 1;
    NCT_TRY(read_number(s, json, "scale_emb", 0, 1e6, &raw->scale_emb));
    NCT_TRY(read_number(s, json, "scale_depth", 0, 1e6, &depth));
    NCT_TRY(read_number(s, json, "dim_model_base", 0, 1e9, &base));
    raw->residual_scale = depth / sqrt((double)raw->n_layers);
    raw->logit_divisor = (double)raw->hidden_size / base;
    return NCT_OK;
}

/* What changes the arithmetic must be what this program computes. `n_biases` of the keys below are looked at. */
static nct_status refuse_variants(const struct source *s, const nct_json *json, size_t n_biases) {
    const char *activation = "silu";
    NCT_TRY(read_string(s, json, "hidden_act", &activation));
    if (strcmp(activation, "silu") != 0 && strcmp(activation, "swish") != 0)
        return nct_fail(s->err, NCT_E_UNSUPPORTED,
                        "%s: 'hidden_act' is '%.50s', which is not computed here, expected 'silu'", s->path,
                        activation);
    static const char *const biases[] = {"attention_bias", "mlp_bias", "bias"};
    for (size_t i = 0; i < n_biases && i < sizeof biases / sizeof biases[0]; i++) {
        bool bias = false;
        NCT_TRY(read_bool(s, json, biases[i], &bias, NULL));
        if (bias)
            return nct_fail(s->err, NCT_E_UNSUPPORTED,
                            "%s: '%s' is true; models with biases are not computed here", s->path, biases[i]);
    }
    int64_t n_experts = 0;
    NCT_TRY(read_int(s, json, "num_experts", 0, INT32_MAX, &n_experts));
    if (n_experts > 0)
        return nct_fail(s->err, NCT_E_UNSUPPORTED, "%s: a mixture of %lld experts is not computed here",
                        s->path, (long long)n_experts);
    double rotary = 1;
    NCT_TRY(read_number(s, json, "partial_rotary_factor", 0, 1, &rotary));
    if (rotary != 1)
        return nct_fail(s->err, NCT_E_UNSUPPORTED,
                        "%s: 'partial_rotary_factor' is %.6g; heads rotated in part are not computed here",
                        s->path, rotary);
    return NCT_OK;
}

static nct_status alloc_factors(nct_file_config *config, nct_error *err) {
    nct_raw_config *raw = &config->raw;
    void *block = NULL;
    raw->n_rope_factors = (size_t)raw->head_dim / 2;
    NCT_TRY(nct_alloc(&block, 2 * raw->n_rope_factors, sizeof(double), err));
    config->factors = block;
    raw->short_factor = config->factors;
    raw->long_factor = config->factors + raw->n_rope_factors;
    return NCT_OK;
}

static nct_status read_factors(const struct source *s, const nct_json *rope, const char *key, double *factor,
                               size_t n) {
    const nct_json *list = nct_json_get(rope, key);
    if (!nct_json_is_array(list) || nct_json_size(list) != n)
        return nct_fail(s->err, NCT_E_FORMAT, "%s: '%s' has %zu numbers, expected %zu (half a head)", s->path,
                        key, nct_json_size(list), n);
    for (const nct_json *item = nct_json_first(list); item; item = nct_json_next(item), factor++) {
        if (!nct_json_is_number(item))
            return bad_kind(s, key, item, "numbers only");
        *factor = nct_json_number(item, NAN);
        NCT_TRY(check_number(s, key, *factor, 0, 1e9));
    }
    return NCT_OK;
}

static nct_status read_rope(const struct source *s, const nct_json *json, nct_file_config *config) {
    nct_raw_config *raw = &config->raw;
    const char *key = nct_json_get(json, "rope_parameters") ? "rope_parameters" : "rope_scaling";
    const nct_json *rope = nct_json_get(json, key);
    if (rope && !nct_json_is_object(rope))
        return bad_kind(s, key, rope, "an object");
    raw->rope_theta = 10000;
    NCT_TRY(read_number(s, json, "rope_theta", 0, 1e15, &raw->rope_theta));
    NCT_TRY(read_number(s, rope, "rope_theta", 0, 1e15, &raw->rope_theta));

    const char *type = nct_json_get(rope, "long_factor") ? "longrope" : "default";
    NCT_TRY(read_string(s, rope, "type", &type));
    NCT_TRY(read_string(s, rope, "rope_type", &type));
    raw->rope_original_max = raw->max_positions;
    if (strcmp(type, "default") == 0)
        return NCT_OK;
    if (strcmp(type, "longrope") != 0 && strcmp(type, "su") != 0)
        return nct_fail(s->err, NCT_E_UNSUPPORTED,
                        "%s: rope type '%.50s' is not computed here, expected 'longrope' or 'default'",
                        s->path, type);
    NCT_TRY(read_int(s, json, "original_max_position_embeddings", 1, INT32_MAX, &raw->rope_original_max));
    NCT_TRY(read_int(s, rope, "original_max_position_embeddings", 1, INT32_MAX, &raw->rope_original_max));
    NCT_TRY(alloc_factors(config, s->err));
    NCT_TRY(read_factors(s, rope, "short_factor", config->factors, raw->n_rope_factors));
    NCT_TRY(read_factors(s, rope, "long_factor", config->factors + raw->n_rope_factors, raw->n_rope_factors));
    raw->has_rope_factors = true;
    return NCT_OK;
}

/* InfLLM-v2 settings, which the user adds to published files (model-and-infllm-v2.md 1.3). */
static nct_status read_sparse(const struct source *s, const nct_json *json, nct_raw_config *raw) {
    const nct_json *sparse = nct_json_get(json, "sparse_config");
    if (!sparse)
        return NCT_OK;
    if (!nct_json_is_object(sparse))
        return bad_kind(s, "sparse_config", sparse, "an object");
    raw->has_sparse = true;
    raw->sparse_kernel_size = 32;
    raw->sparse_kernel_stride = 16;
    raw->sparse_init_blocks = 1;
    raw->sparse_block_size = 64;
    raw->sparse_window_size = 2048;
    raw->sparse_topk = 64;
    raw->sparse_dense_len = 8192;
    NCT_TRY(read_int(s, sparse, "kernel_size", 1, INT32_MAX, &raw->sparse_kernel_size));
    NCT_TRY(read_int(s, sparse, "kernel_stride", 1, INT32_MAX, &raw->sparse_kernel_stride));
    NCT_TRY(read_int(s, sparse, "init_blocks", 0, INT32_MAX, &raw->sparse_init_blocks));
    NCT_TRY(read_int(s, sparse, "block_size", 1, INT32_MAX, &raw->sparse_block_size));
    NCT_TRY(read_int(s, sparse, "window_size", 0, INT32_MAX, &raw->sparse_window_size));
    NCT_TRY(read_int(s, sparse, "topk", 0, INT32_MAX, &raw->sparse_topk));
    NCT_TRY(read_int(s, sparse, "dense_len", -1, INT32_MAX, &raw->sparse_dense_len));
    return read_bool(s, sparse, "use_nope", &raw->sparse_use_nope, NULL);
}

static nct_status add_eos(const struct source *s, nct_raw_config *raw, int64_t id) {
    for (size_t i = 0; i < raw->n_eos; i++)
        if (raw->eos[i] == id)
            return NCT_OK;
    if (raw->n_eos == sizeof raw->eos / sizeof raw->eos[0])
        return nct_fail(s->err, NCT_E_FORMAT, "%s: more than %zu different 'eos_token_id'", s->path,
                        raw->n_eos);
    raw->eos[raw->n_eos++] = id;
    return NCT_OK;
}

/* Adds the ids of eos_token_id, a number or a list of them. */
static nct_status read_eos(const struct source *s, const nct_json *json, nct_raw_config *raw) {
    const nct_json *eos = nct_json_get(json, "eos_token_id"), *item = eos;
    if (nct_json_is_array(eos))
        item = nct_json_first(eos);
    for (; item; item = nct_json_is_array(eos) ? nct_json_next(item) : NULL) {
        int64_t id = 0;
        NCT_TRY(int_value(s, "eos_token_id", item, 0, INT32_MAX, &id));
        NCT_TRY(add_eos(s, raw, id));
    }
    return NCT_OK;
}

/* True if the key is there, be it with null. */
static bool mentions(const nct_json *object, const char *key) {
    for (const nct_json *item = nct_json_first(object); item; item = nct_json_next(item))
        if (strcmp(nct_json_key(item), key) == 0)
            return true;
    return false;
}

static nct_status read_ids(const struct source *s, const nct_json *json, nct_raw_config *raw) {
    raw->bos = mentions(json, "bos_token_id") ? -1 : 1;
    NCT_TRY(read_int(s, json, "bos_token_id", 0, INT32_MAX, &raw->bos));
    return mentions(json, "eos_token_id") ? read_eos(s, json, raw) : add_eos(s, raw, 2);
}

/* ------------------------------------------------------------------ quantization metadata */

/* `method` is what the file's name implies, for objects that do not say. */
static nct_status read_quant(const struct source *s, const nct_json *json, const char *method,
                             nct_quant_config *quant) {
    if (!nct_json_is_object(json))
        return bad_kind(s, "quantization_config", json, "an object");
    NCT_TRY(read_string(s, json, "method", &method));
    NCT_TRY(read_string(s, json, "quant_method", &method));
    bool gptq = strcmp(method, "gptq") == 0 || strcmp(method, "gptq_marlin") == 0,
         awq = strcmp(method, "awq") == 0;
    if (!gptq && !awq && strcmp(method, "marlin") != 0)
        return nct_fail(s->err, NCT_E_UNSUPPORTED, "%s: quantization '%.50s' is not readable; readable: %s",
                        s->path, method, NCT_READABLE_TYPES);
    int64_t bits = 4;
    NCT_TRY(read_int(s, json, "w_bit", 1, 64, &bits));
    NCT_TRY(read_int(s, json, "bits", 1, 64, &bits));
    if (bits != 4)
        return nct_fail(s->err, NCT_E_UNSUPPORTED, "%s: %s with %lld bits is not readable, expected 4",
                        s->path, method, (long long)bits);
    NCT_TRY(read_int(s, json, "q_group_size", -1, INT32_MAX, &quant->group_size));
    NCT_TRY(read_int(s, json, "group_size", -1, INT32_MAX, &quant->group_size));
    NCT_TRY(read_bool(s, json, "sym", &quant->symmetric, NULL));
    NCT_TRY(read_bool(s, json, "desc_act", &quant->desc_act, NULL));

    const char *layout = awq ? "gemm" : "gptq", *key = awq ? "version" : "checkpoint_format";
    NCT_TRY(read_string(s, json, awq ? key : "format", &layout));
    NCT_TRY(read_string(s, json, key, &layout));
    static const char *const layouts[] = {"gptq", "gptq_v2", "marlin", "gemm", "GEMM"};
    bool known = false;
    for (size_t i = awq ? 3 : 0; i < (awq ? 5u : 3u); i++)
        known |= strcmp(layouts[i], layout) == 0;
    if (!known)
        return nct_fail(s->err, NCT_E_UNSUPPORTED, "%s: %s of %s '%.50s' is not readable, expected %s",
                        s->path, method, key, layout, awq ? "'gemm'" : "'gptq', 'gptq_v2' or 'marlin'");
    quant->zero_offset = !awq && strcmp(layout, "gptq_v2") != 0;
    snprintf(quant->method, sizeof quant->method, "%s", method);
    return NCT_OK;
}

/* ------------------------------------------------------------------ config.json as a whole */

static nct_status read_config(const struct source *s, const nct_json *json, nct_file_config *config) {
    nct_raw_config *raw = &config->raw;
    raw->temperature = raw->top_p = raw->top_k = raw->repetition_penalty = NAN;
    raw->do_sample = -1;
    config->quant.zero_offset = 1;
    if (!nct_json_is_object(json))
        return nct_fail(s->err, NCT_E_FORMAT, "%s: no JSON object", s->path);
    NCT_TRY(read_architecture(s, json, raw));
    NCT_TRY(read_geometry(s, json, raw));
    NCT_TRY(read_scales(s, json, raw));
    NCT_TRY(refuse_variants(s, json, 3));
    NCT_TRY(read_rope(s, json, config));
    NCT_TRY(read_sparse(s, json, raw));
    NCT_TRY(read_ids(s, json, raw));
    raw->tie_word_embeddings = is_minicpm(raw); /* the two configuration classes differ in the default */
    NCT_TRY(read_bool(s, json, "tie_word_embeddings", &raw->tie_word_embeddings, &raw->tie_stated));
    if (nct_json_get(json, "quantization_config"))
        return read_quant(s, nct_json_get(json, "quantization_config"), "", &config->quant);
    if (nct_json_get(json, "quantization"))
        return nct_fail(s->err, NCT_E_UNSUPPORTED, "%s: MLX quantization is not readable; readable: %s",
                        s->path, NCT_READABLE_TYPES);
    return NCT_OK;
}

void nct_file_config_close(nct_file_config *config) {
    nct_free(config->factors);
    nct_free(config->chat_template);
    *config = (nct_file_config){0};
}

nct_status nct_file_config_parse(const char *name, const char *text, size_t n, nct_file_config *config,
                                 nct_error *err) {
    if (n > MAX_JSON_BYTES)
        return nct_fail(err, NCT_E_FORMAT,
                        "%s: %zu bytes are too many for a configuration, at most %d are read", name, n,
                        MAX_JSON_BYTES);
    nct_json *json = NULL;
    nct_file_config out = {0};
    NCT_TRY(nct_json_parse(name, text, n, &json, err));
    nct_status status = read_config(&(struct source){name, err}, json, &out);
    nct_json_close(json);
    if (status == NCT_OK)
        *config = out;
    else
        nct_file_config_close(&out);
    return status;
}

/* ------------------------------------------------------------------ the files of a directory */

static nct_status side_path(const char *dir, const char *name, char path[4096], nct_error *err) {
    if (!nct_path_join(path, 4096, dir, name))
        return nct_fail(err, NCT_E_ARGUMENT, "%s: the path is too long", dir);
    return NCT_OK;
}

/* Opens a side file; *json is NULL if there is none. */
static nct_status open_side(const char *dir, const char *name, char path[4096], nct_json **json,
                            nct_error *err) {
    *json = NULL;
    NCT_TRY(side_path(dir, name, path, err));
    if (!nct_is_file(path))
        return NCT_OK;
    nct_map map;
    NCT_TRY(nct_map_open(path, &map, err));
    nct_status status = map.n_bytes > MAX_JSON_BYTES
                            ? nct_fail(err, NCT_E_FORMAT, "%s: %zu bytes are too many, at most %d are read",
                                       path, map.n_bytes, MAX_JSON_BYTES)
                            : nct_json_parse(path, (const char *)map.data, map.n_bytes, json, err);
    nct_map_close(&map);
    return status;
}

static nct_status read_generation(const char *dir, nct_raw_config *raw, nct_error *err) {
    char path[4096];
    nct_json *json;
    NCT_TRY(open_side(dir, "generation_config.json", path, &json, err));
    struct source s = {path, err};
    bool sample = false, stated = false;
    nct_status status = read_eos(&s, json, raw);
    if (status == NCT_OK)
        status = read_number(&s, json, "temperature", OR_ZERO, 1e6, &raw->temperature);
    if (status == NCT_OK)
        status = read_number(&s, json, "top_p", 0, 1, &raw->top_p);
    if (status == NCT_OK)
        status = read_number(&s, json, "top_k", OR_ZERO, 1e9, &raw->top_k);
    if (status == NCT_OK)
        status = read_number(&s, json, "repetition_penalty", 0, 1e6, &raw->repetition_penalty);
    if (status == NCT_OK)
        status = read_bool(&s, json, "do_sample", &sample, &stated);
    if (stated)
        raw->do_sample = sample;
    nct_json_close(json);
    return status;
}

/* Where config.json is silent, the quantizers' own files may speak. */
static nct_status read_quant_files(const char *dir, nct_quant_config *quant, nct_error *err) {
    static const struct {
        const char *name, *method;
    } files[] = {{"quantize_config.json", "gptq"}, {"quant_config.json", "awq"}};
    for (size_t i = 0; i < sizeof files / sizeof files[0] && !quant->method[0]; i++) {
        char path[4096];
        nct_json *json;
        NCT_TRY(open_side(dir, files[i].name, path, &json, err));
        if (!json)
            continue;
        nct_status status = read_quant(&(struct source){path, err}, json, files[i].method, quant);
        nct_json_close(json);
        NCT_TRY(status);
    }
    return NCT_OK;
}

/* The template called "default" of a list, or the text itself. */
static const char *template_text(const nct_json *json) {
    const char *text = nct_json_string(json, NULL);
    for (const nct_json *item = nct_json_first(json); item; item = nct_json_next(item))
        if (strcmp(nct_json_string(nct_json_get(item, "name"), ""), "default") == 0)
            text = nct_json_string(nct_json_get(item, "template"), text);
    return text;
}

/* chat_template.jinja of newer exports, else the one inside tokenizer_config.json. */
static nct_status read_template(const char *dir, nct_file_config *config, nct_error *err) {
    char path[4096];
    NCT_TRY(side_path(dir, "chat_template.jinja", path, err));
    if (nct_is_file(path)) {
        nct_map map;
        NCT_TRY(nct_map_open(path, &map, err));
        nct_status status =
            map.n_bytes > MAX_TEMPLATE_BYTES
                ? nct_fail(err, NCT_E_FORMAT,
                           "%s: %zu bytes are too many for a template, at most %d are read", path,
                           map.n_bytes, MAX_TEMPLATE_BYTES)
                : nct_copy_string(&config->chat_template, (const char *)map.data, map.n_bytes, err);
        nct_map_close(&map);
        return status;
    }
    nct_json *json;
    NCT_TRY(open_side(dir, "tokenizer_config.json", path, &json, err));
    const char *text = template_text(nct_json_get(json, "chat_template"));
    nct_status status = text ? nct_copy_string(&config->chat_template, text, strlen(text), err) : NCT_OK;
    nct_json_close(json);
    return status;
}

nct_status nct_file_config_read(const char *dir, nct_file_config *config, nct_error *err) {
    char path[4096];
    nct_file_config out = {0};
    nct_map map;
    NCT_TRY(side_path(dir, "config.json", path, err));
    NCT_TRY(nct_map_open(path, &map, err));
    nct_status status = nct_file_config_parse(path, (const char *)map.data, map.n_bytes, &out, err);
    nct_map_close(&map);
    NCT_TRY(status);
    status = read_generation(dir, &out.raw, err);
    if (status == NCT_OK)
        status = read_quant_files(dir, &out.quant, err);
    if (status == NCT_OK)
        status = read_template(dir, &out, err);
    if (status != NCT_OK) {
        nct_file_config_close(&out);
        return status;
    }
    out.raw.chat_template = out.chat_template;
    *config = out;
    return NCT_OK;
}

/* ------------------------------------------------------------------ draft heads */

static nct_status read_draft(const struct source *s, const nct_json *json, nct_draft_config *c,
                             nct_quant_config *quant) {
    nct_raw_config raw = {0};
    *c = (nct_draft_config){.rms_norm_eps = 1e-6, .scale_emb = NAN, .scale_depth = NAN, .dim_model_base = NAN,
                            .mup_denominator = NAN};
    quant->zero_offset = 1;
    if (!nct_json_is_object(json))
        return nct_fail(s->err, NCT_E_FORMAT, "%s: no JSON object", s->path);
    NCT_TRY(read_geometry(s, json, &raw));
    NCT_TRY(refuse_variants(s, json, 2)); /* 'bias' is of fc, which may have one */
    NCT_TRY(read_int(s, json, "draft_vocab_size", 1, MAX_VOCAB, &c->draft_vocab_size));
    NCT_TRY(read_number(s, json, "rms_norm_eps", OR_ZERO, 1, &c->rms_norm_eps));
    NCT_TRY(read_number(s, json, "scale_emb", 0, 1e6, &c->scale_emb));
    NCT_TRY(read_number(s, json, "scale_depth", 0, 1e6, &c->scale_depth));
    NCT_TRY(read_number(s, json, "dim_model_base", 0, 1e9, &c->dim_model_base));
    NCT_TRY(read_number(s, json, "mup_denominator", 0, 1e6, &c->mup_denominator));
    c->vocab_size = raw.vocab_size;
    c->hidden_size = raw.hidden_size;
    c->intermediate_size = raw.intermediate_size;
    c->n_heads = raw.n_heads;
    c->n_kv_heads = raw.n_kv_heads;
    c->head_dim = raw.head_dim;
    const nct_json *stated = nct_json_get(json, "quantization_config");
    return stated ? read_quant(s, stated, "gptq", quant) : NCT_OK; /* CPM.cu's object may give a group size only */
}

nct_status nct_draft_config_parse(const char *name, const char *text, size_t n, nct_draft_config *config,
                                  nct_quant_config *quant, nct_error *err) {
    if (n > MAX_JSON_BYTES)
        return nct_fail(err, NCT_E_FORMAT,
                        "%s: %zu bytes are too many for a configuration, at most %d are read", name, n,
                        MAX_JSON_BYTES);
    nct_json *json = NULL;
    nct_draft_config c;
    nct_quant_config q = {0};
    NCT_TRY(nct_json_parse(name, text, n, &json, err));
    nct_status status = read_draft(&(struct source){name, err}, json, &c, &q);
    nct_json_close(json);
    NCT_TRY(status);
    *config = c;
    *quant = q;
    return NCT_OK;
}

nct_status nct_draft_config_read(const char *dir, nct_draft_config *config, nct_quant_config *quant,
                                 nct_error *err) {
    char path[4096];
    nct_map map;
    NCT_TRY(side_path(dir, "config.json", path, err));
    NCT_TRY(nct_map_open(path, &map, err));
    nct_status status = nct_draft_config_parse(path, (const char *)map.data, map.n_bytes, config, quant, err);
    nct_map_close(&map);
    NCT_TRY(status);
    return read_quant_files(dir, quant, err);
}

/* ------------------------------------------------------------------ GGUF keys */

/* Keys that begin with the architecture's name. */
struct keys {
    struct source source;
    const nct_gguf *gguf;
    const char *architecture;
};

static const char *full_key(const struct keys *k, const char *key, char buf[96]) {
    snprintf(buf, 96, "%s.%s", k->architecture, key);
    return buf;
}

/* The readers below leave *value as it is where the key is absent. An array must hold one value. */
static nct_status key_int(const struct keys *k, const char *key, int64_t lowest, int64_t highest,
                          int64_t *value) {
    char buf[96];
    const char *full = full_key(k, key, buf);
    nct_gguf_array array;
    int64_t v;
    if (!nct_gguf_has(k->gguf, full))
        return NCT_OK;
    if (nct_gguf_find_array(k->gguf, full, &array)) {
        double first = 0, other = 0;
        for (uint64_t i = 0; i < array.n; i++) {
            if (!nct_gguf_array_number(&array, i, i ? &other : &first))
                return nct_fail(k->source.err, NCT_E_FORMAT, "%s: '%s' is an array of no numbers",
                                k->source.path, full);
            if (i && other != first)
                return nct_fail(k->source.err, NCT_E_UNSUPPORTED,
                                "%s: '%s' differs from layer to layer, which is not computed here",
                                k->source.path, full);
        }
        if (first != floor(first) || fabs(first) > 0x1p53)
            return nct_fail(k->source.err, NCT_E_FORMAT, "%s: '%s' is %.9g, expected an integer",
                            k->source.path, full, first);
        v = (int64_t)first;
    } else if (!nct_gguf_int(k->gguf, full, &v)) {
        return nct_fail(k->source.err, NCT_E_FORMAT, "%s: '%s' is no integer", k->source.path, full);
    }
    NCT_TRY(check_int(&k->source, full, v, lowest, highest));
    *value = v;
    return NCT_OK;
}

static nct_status key_number(const struct keys *k, const char *key, double above, double highest,
                             double *value) {
    char buf[96];
    const char *full = full_key(k, key, buf);
    double v;
    if (!nct_gguf_has(k->gguf, full))
        return NCT_OK;
    if (!nct_gguf_number(k->gguf, full, &v))
        return nct_fail(k->source.err, NCT_E_FORMAT, "%s: '%s' is no number", k->source.path, full);
    NCT_TRY(check_number(&k->source, full, v, above, highest));
    *value = v;
    return NCT_OK;
}

static nct_status require(const struct keys *k, const char *key) {
    char buf[96];
    if (nct_gguf_has(k->gguf, full_key(k, key, buf)))
        return NCT_OK;
    return nct_fail(k->source.err, NCT_E_FORMAT, "%s: no key '%s'", k->source.path, full_key(k, key, buf));
}

static nct_status gguf_architecture(const struct source *s, const nct_gguf *gguf, nct_raw_config *raw) {
    const char *name;
    size_t n;
    if (!nct_gguf_string(gguf, "general.architecture", &name, &n))
        return nct_fail(s->err, NCT_E_FORMAT, "%s: no key 'general.architecture'", s->path);
    bool minicpm = n == 7 && memcmp(name, "minicpm", n) == 0, llama = n == 5 && memcmp(name, "llama", n) == 0;
    if (!minicpm && !llama)
        return nct_fail(s->err, NCT_E_UNSUPPORTED,
                        "%s: architecture '%.*s' is not readable; readable: minicpm, llama", s->path,
                        (int)(n < 100 ? n : 100), name);
    snprintf(raw->architecture, sizeof raw->architecture, "%s", minicpm ? "minicpm" : "llama");
    return NCT_OK;
}

static nct_status gguf_geometry(const struct keys *k, const nct_tensors *tensors, nct_raw_config *raw) {
    static const char *const needed[] = {"embedding_length", "feed_forward_length", "block_count",
                                         "attention.head_count"};
    for (size_t i = 0; i < sizeof needed / sizeof needed[0]; i++)
        NCT_TRY(require(k, needed[i]));
    const nct_tensor *embedding = nct_tensors_find(tensors, "token_embd.weight");
    if (embedding && embedding->n_dims == 2 && embedding->dims[0] <= MAX_VOCAB)
        raw->vocab_size = (int64_t)embedding->dims[0];
    NCT_TRY(key_int(k, "vocab_size", 1, MAX_VOCAB, &raw->vocab_size));
    NCT_TRY(key_int(k, "embedding_length", 1, MAX_WIDTH, &raw->hidden_size));
    NCT_TRY(key_int(k, "feed_forward_length", 1, MAX_WIDTH, &raw->intermediate_size));
    NCT_TRY(key_int(k, "block_count", 1, MAX_LAYERS, &raw->n_layers));
    NCT_TRY(key_int(k, "attention.head_count", 1, MAX_HEADS, &raw->n_heads));
    NCT_TRY(key_int(k, "attention.head_count_kv", 1, MAX_HEADS, &raw->n_kv_heads));
    NCT_TRY(key_int(k, "attention.key_length", 1, MAX_HEAD_DIM, &raw->head_dim));
    raw->max_positions = 2048;
    NCT_TRY(key_int(k, "context_length", 1, INT32_MAX, &raw->max_positions));
    NCT_TRY(derive_heads(&k->source, raw));

    int64_t value_dim = raw->head_dim, rotated = raw->head_dim, n_experts = 0;
    NCT_TRY(key_int(k, "attention.value_length", 1, MAX_HEAD_DIM, &value_dim));
    NCT_TRY(key_int(k, "rope.dimension_count", 1, MAX_HEAD_DIM, &rotated));
    NCT_TRY(key_int(k, "expert_count", 0, INT32_MAX, &n_experts));
    if (value_dim != raw->head_dim || rotated != raw->head_dim)
        return nct_fail(k->source.err, NCT_E_UNSUPPORTED,
                        "%s: heads of %lld with values of %lld and %lld rotated are not computed here",
                        k->source.path, (long long)raw->head_dim, (long long)value_dim, (long long)rotated);
    if (n_experts > 0)
        return nct_fail(k->source.err, NCT_E_UNSUPPORTED,
                        "%s: a mixture of %lld experts is not computed here", k->source.path,
                        (long long)n_experts);
    return NCT_OK;
}

/* Files older than the three keys get the values that all models of that time had (formats.md 8.2). */
static nct_status gguf_scales(const struct keys *k, nct_raw_config *raw) {
    raw->rms_norm_eps = 1e-6;
    raw->scale_emb = raw->residual_scale = raw->logit_divisor = 1;
    NCT_TRY(key_number(k, "attention.layer_norm_rms_epsilon", OR_ZERO, 1, &raw->rms_norm_eps));
    if (!is_minicpm(raw))
        return NCT_OK;
    raw->scale_emb = 12;
    raw->residual_scale = 1.4 / sqrt((double)raw->n_layers);
    raw->logit_divisor = (double)raw->hidden_size / 256;
    NCT_TRY(key_number(k, "embedding_scale", 0, 1e6, &raw->scale_emb));
    NCT_TRY(key_number(k, "residual_scale", 0, 1e6, &raw->residual_scale));
    return key_number(k, "logit_scale", 0, 1e9, &raw->logit_divisor);
}

/* The names occur with and without ".weight". */
static const nct_tensor *find_vector(const nct_tensors *tensors, const char *name) {
    char full[64];
    snprintf(full, sizeof full, "%s.weight", name);
    const nct_tensor *t = nct_tensors_find(tensors, full);
    return t ? t : nct_tensors_find(tensors, name);
}

static nct_status gguf_factors(const struct source *s, const nct_tensor *t, double *factor, size_t n) {
    if (t->type != NCT_TYPE_F32 || t->n_bytes != n * 4)
        return nct_fail(
            s->err, NCT_E_FORMAT,
            "%s: tensor '%.100s' holds %zu bytes of type %s, expected %zu numbers of F32 (half a head)",
            s->path, t->name, t->n_bytes, nct_type_name(t->type), n);
    for (size_t i = 0; i < n; i++) {
        factor[i] = (double)nct_f32_from_bits(nct_le32(t->data + 4 * i));
        NCT_TRY(check_number(s, t->name, factor[i], 0, 1e9));
    }
    return NCT_OK;
}

static nct_status gguf_rope(const struct keys *k, const nct_tensors *tensors, nct_file_config *config) {
    nct_raw_config *raw = &config->raw;
    const struct source *s = &k->source;
    raw->rope_theta = 10000;
    raw->rope_original_max = raw->max_positions;
    NCT_TRY(key_number(k, "rope.freq_base", 0, 1e15, &raw->rope_theta));
    NCT_TRY(key_int(k, "rope.scaling.original_context_length", 1, INT32_MAX, &raw->rope_original_max));

    const nct_tensor *longer = find_vector(tensors, "rope_factors_long"),
                     *shorter = find_vector(tensors, "rope_factors_short");
    char buf[96];
    const char *type = "none";
    size_t n_type = 4;
    nct_gguf_string(k->gguf, full_key(k, "rope.scaling.type", buf), &type, &n_type);
    bool none = n_type == 4 && memcmp(type, "none", 4) == 0,
         longrope = n_type == 8 && memcmp(type, "longrope", 8) == 0;
    if ((!none && !longrope) || (longrope && (!longer || !shorter)) || !longer != !shorter)
        return nct_fail(s->err, NCT_E_UNSUPPORTED,
                        "%s: rope scaling '%.*s' with%s factor tensors is not computed here", s->path,
                        (int)(n_type < 50 ? n_type : 50), type, longer && shorter ? "" : "out both");
    if (find_vector(tensors, "rope_freqs"))
        return nct_fail(s->err, NCT_E_UNSUPPORTED, "%s: rope with a tensor 'rope_freqs' is not computed here",
                        s->path);
    if (!longer)
        return NCT_OK;
    NCT_TRY(alloc_factors(config, s->err));
    NCT_TRY(gguf_factors(s, shorter, config->factors, raw->n_rope_factors));
    NCT_TRY(gguf_factors(s, longer, config->factors + raw->n_rope_factors, raw->n_rope_factors));
    raw->has_rope_factors = true;
    return NCT_OK;
}

static nct_status gguf_hints(const struct source *s, const nct_gguf *gguf, nct_raw_config *raw) {
    static const char *const ends[] = {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id"};
    raw->bos = -1;
    if (nct_gguf_int(gguf, "tokenizer.ggml.bos_token_id", &raw->bos))
        NCT_TRY(check_int(s, "tokenizer.ggml.bos_token_id", raw->bos, 0, INT32_MAX));
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
        int64_t id;
        if (!nct_gguf_int(gguf, ends[i], &id))
            continue;
        NCT_TRY(check_int(s, ends[i], id, 0, INT32_MAX));
        NCT_TRY(add_eos(s, raw, id));
    }
    raw->temperature = raw->top_p = raw->top_k = raw->repetition_penalty = NAN;
    raw->do_sample = -1;
    if (nct_gguf_number(gguf, "general.sampling.temp", &raw->temperature))
        NCT_TRY(check_number(s, "general.sampling.temp", raw->temperature, OR_ZERO, 1e6));
    if (nct_gguf_number(gguf, "general.sampling.top_p", &raw->top_p))
        NCT_TRY(check_number(s, "general.sampling.top_p", raw->top_p, 0, 1));
    if (nct_gguf_number(gguf, "general.sampling.top_k", &raw->top_k))
        NCT_TRY(check_number(s, "general.sampling.top_k", raw->top_k, OR_ZERO, 1e9));
    return NCT_OK;
}

static nct_status read_gguf(const struct source *s, const nct_gguf *gguf, const nct_tensors *tensors,
                            nct_file_config *config) {
    nct_raw_config *raw = &config->raw;
    NCT_TRY(gguf_architecture(s, gguf, raw));
    struct keys k = {*s, gguf, raw->architecture};
    NCT_TRY(gguf_geometry(&k, tensors, raw));
    NCT_TRY(gguf_scales(&k, raw));
    NCT_TRY(gguf_rope(&k, tensors, config));
    NCT_TRY(gguf_hints(s, gguf, raw));
    raw->tie_word_embeddings = !nct_tensors_find(tensors, "output.weight");
    raw->tie_stated = true; /* by leaving the matrix out */
    const char *text;
    size_t n;
    if (nct_gguf_string(gguf, "tokenizer.chat_template", &text, &n))
        NCT_TRY(nct_copy_string(&config->chat_template, text, n, s->err));
    raw->chat_template = config->chat_template;
    return NCT_OK;
}

nct_status nct_file_config_read_gguf(const char *path, const nct_gguf *gguf, const nct_tensors *tensors,
                                     nct_file_config *config, nct_error *err) {
    nct_file_config out = {0};
    nct_status status = read_gguf(&(struct source){path, err}, gguf, tensors, &out);
    if (status == NCT_OK)
        *config = out;
    else
        nct_file_config_close(&out);
    return status;
}
