#include "format/stem.h"

#include <stdio.h>

const nct_tensor *nct_stem_find(const nct_tensors *tensors, const char *stem, const char *suffix) {
    char name[NCT_NAME_BYTES + 16];
    snprintf(name, sizeof name, "%s%s", stem, suffix);
    return nct_tensors_find(tensors, name);
}

bool nct_stem_has(const nct_tensors *tensors, const char *stem) {
    static const char *const suffixes[] = {".weight", ".qweight", ".B"};
    for (size_t i = 0; i < sizeof suffixes / sizeof suffixes[0]; i++)
        if (nct_stem_find(tensors, stem, suffixes[i]))
            return true;
    return false;
}

/* "[a, b]" for messages. */
static void spell_shape(const nct_tensor *t, char *buf, size_t n_buf) {
    size_t at = (size_t)snprintf(buf, n_buf, "[");
    for (size_t i = 0; i < t->n_dims && at < n_buf; i++)
        at += (size_t)snprintf(buf + at, n_buf - at, "%s%zu", i ? ", " : "", t->dims[i]);
    if (at < n_buf)
        snprintf(buf + at, n_buf - at, "]");
}

static bool has_shape(const nct_tensor *t, size_t n_rows, size_t n_cols) {
    if (t->n_dims == 1)
        return n_rows == 1 && t->dims[0] == n_cols;
    return t->n_dims == 2 && t->dims[0] == n_rows && t->dims[1] == n_cols;
}

nct_status nct_tensor_expect(const nct_tensor *t, size_t n_rows, size_t n_cols, nct_error *err) {
    if (has_shape(t, n_rows, n_cols))
        return NCT_OK;
    char found[128];
    spell_shape(t, found, sizeof found);
    return nct_fail(err, NCT_E_FORMAT, "%s: tensor '%.200s' is %s, expected [%zu, %zu]", t->path, t->name,
                    found, n_rows, n_cols);
}

/* A bias may be stored where it is all zero. */
nct_status nct_stem_refuse_bias(const nct_tensors *tensors, const char *stem, nct_error *err) {
    const nct_tensor *t = nct_stem_find(tensors, stem, ".bias");
    if (!t)
        return NCT_OK;
    bool zero = nct_type_is_float(t->type);
    size_t n = t->type == NCT_TYPE_F32 ? 4 : 2;
    for (size_t i = 0; i < t->n_bytes && zero; i++)
        zero = t->data[i] == 0 || (i % n == n - 1 && t->data[i] == 0x80); /* minus zero */
    if (!zero)
        return nct_fail(err, NCT_E_UNSUPPORTED,
                        "%s: tensor '%.200s' is not zero; models with biases are not computed here", t->path,
                        t->name);
    return NCT_OK;
}

/* ------------------------------------------------------------------ encodings */

static nct_status float_matrix(const nct_tensor *t, nct_stored *stored, nct_error *err) {
    if (t->type == NCT_TYPE_U32)
        return nct_fail(err, NCT_E_UNSUPPORTED,
                        "%s: tensor '%.200s' is quantized as MLX does, which is not readable; readable: %s",
                        t->path, t->name, NCT_READABLE_TYPES);
    if (!nct_type_is_float(t->type))
        return nct_fail(err, NCT_E_UNSUPPORTED,
                        "%s: tensor '%.200s' is of type %s, which is not readable; readable: %s", t->path,
                        t->name, nct_type_name(t->type), NCT_READABLE_TYPES);
    NCT_TRY(nct_tensor_expect(t, stored->n_rows_file, stored->n_cols, err));
    stored->codec = &nct_codec_float;
    stored->name = t->name;
    stored->type = t->type;
    stored->part[NCT_PART_DATA] = (nct_part){t->data, t->n_bytes};
    return NCT_OK;
}

/* The encoding of int4 words by their shape: the three never coincide (formats.md 6.6). */
static const nct_codec *int4_codec(const nct_tensor *words, size_t n_rows, size_t n_cols) {
    size_t a = words->dims[0], b = words->dims[1];
    if (words->n_dims != 2)
        return NULL;
    if (n_cols % 8 == 0 && a == n_cols / 8 && b == n_rows)
        return &nct_codec_gptq;
    if (n_rows % 8 == 0 && a == n_cols && b == n_rows / 8)
        return &nct_codec_awq;
    if (n_cols % 16 == 0 && a == n_cols / 16 && b / 2 == n_rows && b % 2 == 0)
        return &nct_codec_marlin;
    return NULL;
}

/* Columns of a group, from the number of groups; the metadata decides only where shapes leave a choice. */
static nct_status int4_group(const nct_quant_config *quant, const nct_tensor *scales, size_t n_rows,
                             size_t n_cols, size_t *group, nct_error *err) {
    size_t n_groups = scales->n_dims == 2 ? scales->dims[0] : 0, stated = 0;
    if (quant->group_size > 0)
        stated = (size_t)quant->group_size;
    if (n_groups == 0 || n_groups > n_cols)
        return nct_tensor_expect(scales, 1, n_rows, err);
    NCT_TRY(nct_tensor_expect(scales, n_groups, n_rows, err));
    if (n_groups == 1) {
        *group = n_cols;
    } else if (stated && stated < n_cols && (n_cols + stated - 1) / stated == n_groups) {
        *group = stated;
    } else if (n_cols % n_groups == 0) {
        *group = n_cols / n_groups;
    } else {
        return nct_fail(err, NCT_E_FORMAT,
                        "%s: tensor '%.200s' has %zu groups, into which %zu columns cannot be cut",
                        scales->path, scales->name, n_groups, n_cols);
    }
    return NCT_OK;
}

/* An optional tensor of 32-bit words as a part; an empty one counts as absent. */
static nct_status word_part(const nct_tensor *t, size_t n_rows, size_t n_cols, nct_part *part,
                            nct_error *err) {
    if (!t || t->n_bytes == 0)
        return NCT_OK;
    if (t->type != NCT_TYPE_I32 && t->type != NCT_TYPE_U32)
        return nct_fail(err, NCT_E_FORMAT, "%s: tensor '%.200s' is of type %s, expected I32", t->path,
                        t->name, nct_type_name(t->type));
    NCT_TRY(nct_tensor_expect(t, n_rows, n_cols, err));
    *part = (nct_part){t->data, t->n_bytes};
    return NCT_OK;
}

static nct_status int4_matrix(const nct_stems *stems, const char *stem, const nct_tensor *words,
                              nct_stored *stored, nct_error *err) {
    const nct_quant_config *quant = stems->quant;
    size_t n_rows = stored->n_rows_file, n_cols = stored->n_cols;
    stored->name = words->name;
    stored->codec = int4_codec(words, n_rows, n_cols);
    if (!stored->codec) {
        char found[128];
        spell_shape(words, found, sizeof found);
        return nct_fail(err, NCT_E_FORMAT,
                        "%s: tensor '%.200s' is %s, which holds no %zu x %zu matrix as GPTQ, AWQ or Marlin",
                        words->path, words->name, found, n_rows, n_cols);
    }
    NCT_TRY(word_part(words, words->dims[0], words->dims[1], &stored->part[NCT_PART_QWEIGHT], err));

    const nct_tensor *scales = nct_stem_find(stems->tensors, stem, ".scales");
    if (!scales)
        scales = nct_stem_find(stems->tensors, stem, ".s");
    if (!scales)
        return nct_fail(err, NCT_E_FORMAT, "%s: no tensor '%s.scales' beside '%.200s'", words->path, stem,
                        words->name);
    if (!nct_type_is_float(scales->type))
        return nct_fail(err, NCT_E_FORMAT, "%s: tensor '%.200s' is of type %s, expected F16, BF16 or F32",
                        scales->path, scales->name, nct_type_name(scales->type));
    NCT_TRY(int4_group(quant, scales, n_rows, n_cols, &stored->group, err));
    stored->type = scales->type;
    stored->part[NCT_PART_SCALES] = (nct_part){scales->data, scales->n_bytes};

    NCT_TRY(word_part(nct_stem_find(stems->tensors, stem, ".qzeros"), scales->dims[0], n_rows / 8,
                      &stored->part[NCT_PART_QZEROS], err));
    NCT_TRY(word_part(nct_stem_find(stems->tensors, stem, ".g_idx"), 1, n_cols, &stored->part[NCT_PART_G_IDX],
                      err));
    if (quant->desc_act && stored->codec == &nct_codec_gptq && !stored->part[NCT_PART_G_IDX].data)
        return nct_fail(err, NCT_E_FORMAT, "%s: no tensor '%s.g_idx', though 'desc_act' is true", words->path,
                        stem);
    stored->zero_offset = stored->codec == &nct_codec_awq ? 0 : quant->zero_offset;
    bool symmetric = quant->symmetric || stored->codec == &nct_codec_marlin;
    nct_error inner;
    nct_status status = nct_int4_settle(stored, symmetric, &inner);
    return status == NCT_OK ? NCT_OK : nct_fail(err, status, "%s: %s", words->path, inner.text);
}

nct_status nct_stem_matrix(const nct_stems *stems, const char *stem, nct_stored *stored, bool *found,
                           nct_error *err) {
    const nct_tensor *t = nct_stem_find(stems->tensors, stem, ".weight"), *words = NULL;
    if (!t) {
        words = nct_stem_find(stems->tensors, stem, ".qweight");
        if (!words)
            words = nct_stem_find(stems->tensors, stem, ".B");
    }
    *found = t || words;
    if (!*found)
        return NCT_OK;
    return t ? float_matrix(t, stored, err) : int4_matrix(stems, stem, words, stored, err);
}

nct_status nct_stem_describe(const char *path, const nct_stored *stored, bool plain, nct_error *err) {
    nct_unpacked unpacked;
    nct_error inner;
    nct_status status = stored->codec->describe(stored, &unpacked, &inner);
    if (status != NCT_OK)
        return nct_fail(err, status, "%s: %s", path, inner.text);
    if (plain && nct_unpacked_is_codes(&unpacked))
        return nct_fail(err, NCT_E_UNSUPPORTED, "%s: tensor '%.200s' is quantized, expected plain numbers",
                        path, stored->name);
    return NCT_OK;
}
