#include "format/draft.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "format/safetensors.h"
#include "format/stem.h"

struct nct_draft_file {
    char *path, *directory;
    nct_files files;
    nct_tensors tensors;
    nct_draft_config config;
    nct_quant_config quant;
    nct_draft_kind kind;
    const char *outer, *layer; /* prefixes of the tensors before and after the layer, and of the layer's */
    nct_stored half[2];        /* what a matrix of two halves points to */
};

/* ------------------------------------------------------------------ names */

static const struct {
    bool in_layer;
    const char *stem, *fused; /* fused: where CPM.cu keeps the rows together with others' */
} names[] = {
    [NCT_DRAFT_FC] = {false, "fc", NULL},
    [NCT_DRAFT_NORM_EMBEDDING] = {false, "input_norm1", NULL},
    [NCT_DRAFT_NORM_HIDDEN] = {false, "input_norm2", NULL},
    [NCT_DRAFT_NORM_INPUT] = {true, "input_layernorm", NULL},
    [NCT_DRAFT_NORM_POST] = {true, "post_attention_layernorm", NULL},
    [NCT_DRAFT_NORM_FINAL] = {false, "norm", NULL},
    [NCT_DRAFT_Q] = {true, "self_attn.q_proj", "self_attn.qkv_proj"},
    [NCT_DRAFT_K] = {true, "self_attn.k_proj", "self_attn.qkv_proj"},
    [NCT_DRAFT_V] = {true, "self_attn.v_proj", "self_attn.qkv_proj"},
    [NCT_DRAFT_O] = {true, "self_attn.o_proj", NULL},
    [NCT_DRAFT_GATE] = {true, "mlp.gate_proj", "mlp.gate_up_proj"},
    [NCT_DRAFT_UP] = {true, "mlp.up_proj", "mlp.gate_up_proj"},
    [NCT_DRAFT_DOWN] = {true, "mlp.down_proj", NULL},
    [NCT_DRAFT_HEAD] = {false, "lm_head", NULL},
};

static bool is_norm(nct_draft_role role) {
    return role >= NCT_DRAFT_NORM_EMBEDDING && role <= NCT_DRAFT_NORM_FINAL;
}

static const nct_tensor *find(const nct_draft_file *f, const char *prefix, const char *rest) {
    return nct_stem_find(&f->tensors, prefix, rest);
}

/* The names there are, as many as a sentence holds. */
static const char *list_names(const nct_draft_file *f, char buf[400]) {
    enum { LEFT = 32 }; /* for the end */
    size_t at = 0;
    for (size_t i = 0; i < f->tensors.n; i++) {
        const char *name = f->tensors.item[i].name;
        if (at + strlen(name) + LEFT > 400) {
            snprintf(buf + at, 400 - at, " and %zu more", f->tensors.n - i);
            break;
        }
        at += (size_t)snprintf(buf + at, 400 - at, "%s%s", i ? ", " : "", name);
    }
    return f->tensors.n ? buf : "none";
}

/* EAGLE-3 has the norm of the embedding in its layer, and a second one beside it. */
static void spell(const nct_draft_file *f, nct_draft_role role, const char *stem, char name[NCT_NAME_BYTES]) {
    bool in_layer = names[role].in_layer;
    if (f->kind == NCT_DRAFT_EAGLE3 && (role == NCT_DRAFT_NORM_EMBEDDING || role == NCT_DRAFT_NORM_HIDDEN)) {
        stem = role == NCT_DRAFT_NORM_EMBEDDING ? "input_layernorm" : "hidden_norm";
        in_layer = true;
    }
    snprintf(name, NCT_NAME_BYTES, "%s%s", in_layer ? f->layer : f->outer, stem);
}

/* ------------------------------------------------------------------ opening */

static const char *const outers[] = {"", "model."};
static const char *const layers[] = {"layers.0.",       "model.layers.0.",
                                     "eagle_layers.0.", "model.eagle_layers.0.",
                                     "midlayer.",       "model.midlayer."};

/* Finds the prefixes and the kind from the names. */
static nct_status settle(nct_draft_file *f, nct_error *err) {
    char found[400];
    for (size_t i = sizeof outers / sizeof *outers; i-- > 0;)
        if (find(f, outers[i], "fc.weight") || find(f, outers[i], "fc.qweight"))
            f->outer = outers[i];
    for (size_t i = sizeof layers / sizeof *layers; i-- > 0;)
        if (find(f, layers[i], "post_attention_layernorm.weight"))
            f->layer = layers[i];
    if (!f->outer || !f->layer)
        return nct_fail(err, NCT_E_FORMAT, "%s: no draft head: no tensor '%s'; there are: %s", f->path,
                        f->outer ? "layers.0.post_attention_layernorm.weight" : "fc.weight",
                        list_names(f, found));
    bool third = find(f, f->layer, "hidden_norm.weight") || find(f, "", "d2t"),
         second = find(f, f->outer, "input_norm1.weight") != NULL;
    if (third == second)
        return nct_fail(
            err, NCT_E_FORMAT,
            "%s: a draft head has either 'input_norm1.weight' (EAGLE) or '%shidden_norm.weight' (EAGLE-3); "
            "there are: %s",
            f->path, f->layer, list_names(f, found));
    f->kind = third ? NCT_DRAFT_EAGLE3 : NCT_DRAFT_EAGLE;
    char next[NCT_NAME_BYTES];
    const char *digit = strchr(f->layer, '0');
    if (digit) {
        snprintf(next, sizeof next, "%.*s1%s", (int)(digit - f->layer), f->layer, digit + 1);
        if (find(f, next, "post_attention_layernorm.weight"))
            return nct_fail(err, NCT_E_UNSUPPORTED,
                            "%s: tensor '%spost_attention_layernorm.weight' is of a second layer, expected a "
                            "draft head of one",
                            f->path, next);
    }
    return NCT_OK;
}

static nct_status alloc_file(const char *path, nct_draft_file **file, nct_error *err) {
    void *block = NULL;
    NCT_TRY(nct_alloc(&block, 1, sizeof **file, err));
    *file = block;
    return nct_copy_string(&(*file)->path, path, strlen(path), err);
}

static nct_status set_directory(nct_draft_file *f, nct_error *err) {
    size_t n = strlen(f->path);
    if (nct_is_directory(f->path))
        return nct_copy_string(&f->directory, f->path, n, err);
    while (n > 0 && f->path[n - 1] != '/')
        n--;
    return nct_copy_string(&f->directory, n ? f->path : ".", n ? n : 1, err);
}

/* A head may lie in a folder of its own below the one that was published: the first by name that has a config.json. */
static nct_status enter_folder(nct_draft_file *f, nct_error *err) {
    char path[4096], inner[4096], best[4096] = "";
    DIR *dir = opendir(f->directory);
    if (!dir)
        return nct_fail(err, NCT_E_IO, "%s: %s", f->directory, strerror(errno));
    for (const struct dirent *entry; (entry = readdir(dir));)
        if (entry->d_name[0] != '.' && nct_path_join(path, sizeof path, f->directory, entry->d_name) &&
            nct_path_join(inner, sizeof inner, path, "config.json") && nct_is_file(inner) &&
            (!best[0] || strcmp(path, best) < 0))
            memcpy(best, path, strlen(path) + 1);
    closedir(dir);
    if (!best[0])
        return NCT_OK;
    nct_free(f->path);
    nct_free(f->directory);
    f->path = f->directory = NULL;
    NCT_TRY(nct_copy_string(&f->path, best, strlen(best), err));
    return nct_copy_string(&f->directory, best, strlen(best), err);
}

static nct_status open_files(nct_draft_file *f, nct_error *err) {
    char path[4096];
    NCT_TRY(set_directory(f, err));
    if (!nct_path_join(path, sizeof path, f->directory, "config.json"))
        return nct_fail(err, NCT_E_ARGUMENT, "%s: the path is too long", f->path);
    if (!nct_is_file(path) && nct_is_directory(f->path)) {
        NCT_TRY(enter_folder(f, err));
        if (!nct_path_join(path, sizeof path, f->directory, "config.json"))
            return nct_fail(err, NCT_E_ARGUMENT, "%s: the path is too long", f->path);
    }
    if (!nct_is_file(path))
        return nct_fail(err, NCT_E_FORMAT,
                        "%s: no config.json; a draft head is a directory with config.json and *.safetensors",
                        f->directory);
    NCT_TRY(nct_draft_config_read(f->directory, &f->config, &f->quant, err));
    return nct_safetensors_open(f->path, &f->files, &f->tensors, err);
}

static nct_status finish(nct_draft_file *f, nct_status status, nct_draft_file **file, nct_error *err) {
    if (status == NCT_OK)
        status = settle(f, err);
    if (status == NCT_OK)
        *file = f;
    else
        nct_draft_file_close(f);
    return status;
}

nct_status nct_draft_file_open(const char *path, nct_draft_file **file, nct_error *err) {
    nct_draft_file *f = NULL;
    nct_status status = alloc_file(path, &f, err);
    if (status == NCT_OK)
        status = open_files(f, err);
    return finish(f, status, file, err);
}

nct_status nct_draft_file_parse(const char *name, const char *config, size_t n_config, const uint8_t *data,
                                size_t n_bytes, nct_draft_file **file, nct_error *err) {
    nct_draft_file *f = NULL;
    nct_status status = alloc_file(name, &f, err);
    if (status == NCT_OK)
        status = nct_draft_config_parse(name, config, n_config, &f->config, &f->quant, err);
    if (status == NCT_OK)
        status = nct_safetensors_parse(f->path, data, n_bytes, &f->tensors, err);
    return finish(f, status, file, err);
}

void nct_draft_file_close(nct_draft_file *f) {
    if (!f)
        return;
    nct_stored_close(&f->half[0]);
    nct_stored_close(&f->half[1]);
    nct_tensors_close(&f->tensors);
    nct_files_close(&f->files);
    nct_free(f->directory);
    nct_free(f->path);
    nct_free(f);
}

nct_draft_kind nct_draft_file_kind(const nct_draft_file *f) { return f->kind; }
const nct_draft_config *nct_draft_file_config(const nct_draft_file *f) { return &f->config; }
const char *nct_draft_file_path(const nct_draft_file *f) { return f->path; }
const char *nct_draft_file_directory(const nct_draft_file *f) { return f->directory; }

/* ------------------------------------------------------------------ matrices */

/* Where the rows of a role lie in its fused matrix, and how many that has. */
static void fused_rows(const nct_draft_config *c, nct_draft_role role, size_t *first, size_t *n_file) {
    size_t q = (size_t)(c->n_heads * c->head_dim), kv = (size_t)(c->n_kv_heads * c->head_dim),
           ffn = (size_t)c->intermediate_size;
    bool attention = role == NCT_DRAFT_Q || role == NCT_DRAFT_K || role == NCT_DRAFT_V;
    *n_file = attention ? q + 2 * kv : 2 * ffn;
    *first = role == NCT_DRAFT_K ? q : role == NCT_DRAFT_V ? q + kv : role == NCT_DRAFT_UP ? ffn : 0;
}

/* Two Marlin matrices of n_rows x n_cols / 2, one after the other along the last axis: as Marlin goes by tiles of 64
 * rows, that is one matrix of twice the rows (speculative-decoding.md 2.3). */
static bool has_halves(const nct_draft_file *f, const char *stem, size_t n_rows, size_t n_cols) {
    const nct_tensor *words = nct_stem_find(&f->tensors, stem, ".qweight");
    return words && f->kind == NCT_DRAFT_EAGLE && words->n_dims == 2 && n_cols % 32 == 0 &&
           n_rows % 64 == 0 && words->dims[0] == n_cols / 32 && words->dims[1] == 4 * n_rows;
}

static nct_status matrix_of_halves(nct_draft_file *f, const char *stem, nct_stored *stored, nct_error *err) {
    nct_stems stems = {&f->tensors, &f->quant};
    bool found;
    for (size_t i = 0; i < 2; i++) {
        nct_stored_close(&f->half[i]);
        f->half[i] = (nct_stored){.n_rows = stored->n_rows,
                                  .n_cols = stored->n_cols / 2,
                                  .n_rows_file = 2 * stored->n_rows,
                                  .first_row = i * stored->n_rows};
        NCT_TRY(nct_stem_matrix(&stems, stem, &f->half[i], &found, err));
    }
    stored->codec = &nct_codec_beside;
    stored->name = f->half[0].name;
    stored->more = f->half;
    return NCT_OK;
}

static nct_status find_matrix(nct_draft_file *f, nct_draft_role role, nct_stored *stored, nct_error *err) {
    nct_stems stems = {&f->tensors, &f->quant};
    char stem[NCT_NAME_BYTES], list[400];
    bool found = false;
    spell(f, role, names[role].stem, stem);
    if (role == NCT_DRAFT_FC && has_halves(f, stem, stored->n_rows, stored->n_cols))
        return matrix_of_halves(f, stem, stored, err);
    if (role != NCT_DRAFT_FC || f->kind == NCT_DRAFT_EAGLE3)
        NCT_TRY(nct_stem_refuse_bias(&f->tensors, stem, err));
    NCT_TRY(nct_stem_matrix(&stems, stem, stored, &found, err));
    if (!found && names[role].fused) {
        char fused[NCT_NAME_BYTES];
        spell(f, role, names[role].fused, fused);
        fused_rows(&f->config, role, &stored->first_row, &stored->n_rows_file);
        NCT_TRY(nct_stem_refuse_bias(&f->tensors, fused, err));
        NCT_TRY(nct_stem_matrix(&stems, fused, stored, &found, err));
    }
    if (!found)
        return nct_fail(err, NCT_E_FORMAT, "%s: no tensor '%s.weight'%s; there are: %s", f->path, stem,
                        is_norm(role) ? "" : " or '.qweight'", list_names(f, list));
    return NCT_OK;
}

nct_status nct_draft_file_matrix(nct_draft_file *f, nct_draft_role role, size_t n_rows, size_t n_cols,
                                 nct_stored *stored, nct_error *err) {
    nct_stored out = {.n_rows = n_rows, .n_cols = n_cols, .n_rows_file = n_rows};
    nct_status status = find_matrix(f, role, &out, err);
    if (status == NCT_OK)
        status = nct_stem_describe(f->path, &out, is_norm(role), err);
    if (status == NCT_OK)
        *stored = out;
    else
        nct_stored_close(&out);
    return status;
}

nct_status nct_draft_file_bias(nct_draft_file *f, size_t n, nct_stored *stored, bool *found, nct_error *err) {
    const nct_tensor *t = find(f, f->outer, "fc.bias");
    *found = t != NULL;
    if (!t)
        return NCT_OK;
    if (!nct_type_is_float(t->type))
        return nct_fail(err, NCT_E_UNSUPPORTED,
                        "%s: tensor '%.200s' is of type %s, expected F32, F16 or BF16", t->path, t->name,
                        nct_type_name(t->type));
    NCT_TRY(nct_tensor_expect(t, 1, n, err));
    *stored = (nct_stored){.codec = &nct_codec_float,
                           .name = t->name,
                           .type = t->type,
                           .n_rows = 1,
                           .n_cols = n,
                           .n_rows_file = 1,
                           .part[NCT_PART_DATA] = {t->data, t->n_bytes}};
    return NCT_OK;
}

/* ------------------------------------------------------------------ the draft's vocabulary */

static int64_t offset_at(const nct_tensor *t, size_t i) {
    return t->type == NCT_TYPE_I64 ? (int64_t)nct_le64(t->data + 8 * i) : (int32_t)nct_le32(t->data + 4 * i);
}

static nct_status read_ids(const nct_tensor *t, size_t n_vocab, int32_t *ids, nct_error *err) {
    int64_t last = -1;
    for (size_t i = 0; i < t->dims[0]; i++) {
        int64_t offset = offset_at(t, i), most = (int64_t)n_vocab;
        int64_t id = offset >= -most && offset <= most ? (int64_t)i + offset : -1; /* no overflow */
        if (id <= last || id >= most)
            return nct_fail(
                err, NCT_E_FORMAT,
                "%s: tensor 'd2t' leads row %zu to token %lld, expected one above %lld and below %zu",
                t->path, i, (long long)(offset >= -most && offset <= most ? id : offset), (long long)last,
                n_vocab);
        ids[i] = (int32_t)(last = id);
    }
    return NCT_OK;
}

static nct_status check_mask(const nct_draft_file *f, size_t n_rows, size_t n_vocab, nct_error *err) {
    const nct_tensor *t = find(f, "", "t2d");
    if (!t)
        return NCT_OK;
    size_t n = 0;
    if ((t->type != NCT_TYPE_BOOL && t->type != NCT_TYPE_U8) || t->n_dims != 1 || t->dims[0] != n_vocab)
        return nct_fail(err, NCT_E_FORMAT, "%s: tensor 't2d' is no list of %zu truth values", t->path,
                        n_vocab);
    for (size_t i = 0; i < n_vocab; i++)
        n += t->data[i] != 0;
    if (n != n_rows)
        return nct_fail(err, NCT_E_FORMAT, "%s: tensor 't2d' marks %zu tokens, but the draft has %zu",
                        t->path, n, n_rows);
    return NCT_OK;
}

nct_status nct_draft_file_ids(const nct_draft_file *f, size_t n_rows, size_t n_vocab, int32_t **ids,
                              nct_error *err) {
    const nct_tensor *t = find(f, "", "d2t");
    void *block = NULL;
    *ids = NULL;
    if (!t && n_rows == n_vocab)
        return NCT_OK;
    if (!t)
        return nct_fail(err, NCT_E_FORMAT,
                        "%s: no tensor 'd2t', though the draft has %zu tokens and the target %zu", f->path,
                        n_rows, n_vocab);
    if ((t->type != NCT_TYPE_I64 && t->type != NCT_TYPE_I32) || t->n_dims != 1 || t->dims[0] != n_rows)
        return nct_fail(err, NCT_E_FORMAT, "%s: tensor 'd2t' is no list of %zu integers of I64 or I32",
                        t->path, n_rows);
    NCT_TRY(check_mask(f, n_rows, n_vocab, err));
    NCT_TRY(nct_alloc(&block, n_rows, sizeof **ids, err));
    nct_status status = read_ids(t, n_vocab, block, err);
    if (status == NCT_OK)
        *ids = block;
    else
        nct_free(block);
    return status;
}
