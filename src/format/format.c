#include "format/format.h"

#include <stdio.h>
#include <string.h>

#include "format/config.h"
#include "format/names.h"
#include "format/nct.h"
#include "format/safetensors.h"
#include "format/stem.h"

struct nct_checkpoint {
    const char *container;
    char *path, *directory; /* directory: NULL for a GGUF or a bundle */
    nct_files files;
    nct_tensors tensors;
    nct_gguf *gguf;
    nct_bundle *bundle;
    nct_file_config config;
    const char *prefix; /* of tensor names in a directory */
};

/* ------------------------------------------------------------------ containers */

static nct_status open_gguf(nct_checkpoint *c, nct_error *err) {
    NCT_TRY(nct_gguf_open(c->path, &c->files, &c->tensors, &c->gguf, err));
    return nct_file_config_read_gguf(c->path, c->gguf, &c->tensors, &c->config, err);
}

static nct_status open_bundle(nct_checkpoint *c, nct_error *err) {
    const struct nct_file *file;
    NCT_TRY(nct_files_open(&c->files, c->path, &file, err));
    NCT_TRY(nct_bundle_parse(c->path, file->map.data, file->map.n_bytes, &c->bundle, err));
    return nct_bundle_config(c->bundle, &c->config, err);
}

/* A directory without config.json is told what it lacks by what it has. */
static nct_status refuse_directory(const char *dir, nct_error *err) {
    static const struct {
        const char *file, *why;
    } seen[] = {
        {"adapter_config.json", "an adapter, which goes with a model but is none"},
        {"tokenizer.json", "a tokenizer, but no model"},
    };
    char path[4096];
    for (size_t i = 0; i < sizeof seen / sizeof seen[0]; i++)
        if (nct_path_join(path, sizeof path, dir, seen[i].file) && nct_is_file(path))
            return nct_fail(err, NCT_E_FORMAT, "%s: no config.json; the directory holds %s", dir,
                            seen[i].why);
    return nct_fail(err, NCT_E_FORMAT,
                    "%s: no config.json; a model is a directory with config.json and *.safetensors, or "
                    "one .gguf file",
                    dir);
}

static nct_status refuse_drafter(const nct_checkpoint *c, nct_error *err) {
    static const char *const names[] = {
        "fc.weight",
        "fc.qweight",
        "model.fc.weight",
        "model.fc.qweight",
        "input_norm1.weight",
        "model.input_norm1.weight",
        "midlayer.input_layernorm.weight",
        "model.eagle_layers.0.input_layernorm.weight",
    };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (nct_tensors_find(&c->tensors, names[i]))
            return nct_fail(err, NCT_E_UNSUPPORTED,
                            "%s: tensor '%s' belongs to a draft head, which guesses for a model but is none",
                            c->path, names[i]);
    return NCT_OK;
}

/* A directory, or a .safetensors file beside its config.json. */
static nct_status open_safetensors(nct_checkpoint *c, nct_error *err) {
    size_t n = strlen(c->path);
    if (!nct_is_directory(c->path)) {
        while (n > 0 && c->path[n - 1] != '/')
            n--;
        NCT_TRY(nct_copy_string(&c->directory, n ? c->path : ".", n ? n : 1, err));
    } else {
        NCT_TRY(nct_copy_string(&c->directory, c->path, n, err));
    }
    char config[4096];
    if (!nct_path_join(config, sizeof config, c->directory, "config.json"))
        return nct_fail(err, NCT_E_ARGUMENT, "%s: the path is too long", c->path);
    if (!nct_is_file(config))
        return refuse_directory(c->directory, err);
    NCT_TRY(nct_file_config_read(c->directory, &c->config, err));

    char pytorch[4096];
    nct_error inner;
    nct_status status = nct_safetensors_open(c->path, &c->files, &c->tensors, &inner);
    if (status != NCT_OK && c->files.n == 0 &&
        nct_path_join(pytorch, sizeof pytorch, c->directory, "pytorch_model.bin") && nct_is_file(pytorch))
        return nct_fail(err, NCT_E_UNSUPPORTED,
                        "%s: PyTorch weights are not readable, expected *.safetensors beside config.json",
                        pytorch);
    if (status != NCT_OK)
        return nct_fail(err, status, "%s", inner.text);
    NCT_TRY(refuse_drafter(c, err));
    /* The language part of a vision model; its other parts are left alone. */
    c->prefix = nct_tensors_find(&c->tensors, "llm.model.norm.weight") ? "llm." : "";
    return NCT_OK;
}

struct container {
    const char *name, *suffix;
    bool (*probe)(const uint8_t *data, size_t n_bytes);
    nct_status (*open)(nct_checkpoint *checkpoint, nct_error *err);
};

static const struct container containers[] = {
    {"gguf", ".gguf", nct_gguf_probe, open_gguf},
    {"nct", ".nct", nct_bundle_probe, open_bundle},
    {"safetensors", ".safetensors", nct_safetensors_probe, open_safetensors},
};
static const struct container *const directory_container = &containers[2];

/* Files that people try and that are something else. */
static nct_status refuse_known(const char *path, const nct_map *map, nct_error *err) {
    static const struct {
        const char *magic;
        size_t n;
        nct_status status;
        const char *what;
    } known[] = {
        {"PK\3\4", 4, NCT_E_UNSUPPORTED, "a PyTorch or other zip archive is not readable as a model"},
        {"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19", 14, NCT_E_UNSUPPORTED,
         "a PyTorch pickle is not readable as a model"},
        {"lmgg", 4, NCT_E_UNSUPPORTED, "the GGML container that preceded GGUF is not readable"},
        {"tjgg", 4, NCT_E_UNSUPPORTED, "the GGJT container that preceded GGUF is not readable"},
        {"version https://git-lfs", 23, NCT_E_FORMAT,
         "a Git LFS pointer, not the file itself (run git lfs pull)"},
        {"{", 1, NCT_E_FORMAT, "a JSON file; give the directory that holds it"},
    };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (map->n_bytes >= known[i].n && memcmp(map->data, known[i].magic, known[i].n) == 0)
            return nct_fail(err, known[i].status,
                            "%s: %s; readable: GGUF, or a directory with config.json and *.safetensors", path,
                            known[i].what);
    return NCT_OK;
}

/* By content, then by name, so that a damaged file is described by the format it should have. */
static nct_status choose(const char *path, const struct container **container, nct_error *err) {
    if (nct_is_directory(path)) {
        *container = directory_container;
        return NCT_OK;
    }
    nct_map map;
    NCT_TRY(nct_map_open(path, &map, err));
    nct_status status = refuse_known(path, &map, err);
    const struct container *found = NULL;
    for (size_t i = 0; i < sizeof containers / sizeof containers[0] && !found; i++)
        if (containers[i].probe(map.data, map.n_bytes))
            found = &containers[i];
    for (size_t i = 0; i < sizeof containers / sizeof containers[0] && !found; i++)
        if (nct_ends_with(path, containers[i].suffix))
            found = &containers[i];
    nct_map_close(&map);
    NCT_TRY(status);
    if (!found)
        return nct_fail(
            err, NCT_E_FORMAT,
            "%s: neither GGUF nor safetensors nor a bundle; readable: GGUF, .nct, or a directory with "
            "config.json and *.safetensors",
            path);
    *container = found;
    return NCT_OK;
}

nct_status nct_checkpoint_open(const char *path, nct_checkpoint **checkpoint, nct_error *err) {
    const struct container *container = NULL;
    NCT_TRY(choose(path, &container, err));
    void *block = NULL;
    NCT_TRY(nct_alloc(&block, 1, sizeof(nct_checkpoint), err));
    nct_checkpoint *c = block;
    c->container = container->name;
    nct_status status = nct_copy_string(&c->path, path, strlen(path), err);
    if (status == NCT_OK)
        status = container->open(c, err);
    if (status == NCT_OK)
        *checkpoint = c;
    else
        nct_checkpoint_close(c);
    return status;
}

void nct_checkpoint_close(nct_checkpoint *c) {
    if (!c)
        return;
    nct_file_config_close(&c->config);
    nct_gguf_close(c->gguf);
    nct_bundle_close(c->bundle);
    nct_tensors_close(&c->tensors);
    nct_files_close(&c->files);
    nct_free(c->directory);
    nct_free(c->path);
    nct_free(c);
}

const nct_raw_config *nct_checkpoint_config(const nct_checkpoint *c) { return &c->config.raw; }
const char *nct_checkpoint_container(const nct_checkpoint *c) { return c->container; }
const char *nct_checkpoint_directory(const nct_checkpoint *c) { return c->directory; }
const nct_gguf *nct_checkpoint_gguf(const nct_checkpoint *c) { return c->gguf; }
const nct_bundle *nct_checkpoint_bundle(const nct_checkpoint *c) { return c->bundle; }
bool nct_checkpoint_is_resident(const nct_checkpoint *c) { return c->bundle != NULL; }

void nct_checkpoint_advise(const nct_checkpoint *c, nct_huge_pages huge) {
    for (size_t i = 0; i < c->files.n; i++)
        nct_map_advise(&c->files.item[i].map, huge);
}

void nct_checkpoint_rest(const nct_checkpoint *c) {
    for (size_t i = 0; i < c->files.n; i++)
        nct_map_rest(&c->files.item[i].map);
}

bool nct_checkpoint_tensor(const nct_checkpoint *c, size_t index, nct_tensor_info *info) {
    if (c->bundle)
        return nct_bundle_tensor(c->bundle, index, info);
    if (index >= c->tensors.n)
        return false;
    const nct_tensor *t = &c->tensors.item[index];
    *info = (nct_tensor_info){
        .name = t->name, .type = nct_type_name(t->type), .n_dims = t->n_dims, .n_bytes = t->n_bytes};
    memcpy(info->dims, t->dims, sizeof info->dims);
    return true;
}

/* ------------------------------------------------------------------ matrices */

/* What is asked for, while it is looked up. */
struct request {
    const nct_checkpoint *checkpoint;
    nct_role role;
    int layer;
    size_t n_rows, n_cols;
    nct_error *err;
};

/* Where the rows of a role lie in its fused matrix, and how many that has. */
static void fused_rows(const struct request *r, size_t *first, size_t *n_file) {
    const nct_raw_config *raw = &r->checkpoint->config.raw;
    size_t q = (size_t)(raw->n_heads * raw->head_dim), kv = (size_t)(raw->n_kv_heads * raw->head_dim),
           ffn = (size_t)raw->intermediate_size;
    bool attention = r->role == NCT_ROLE_Q || r->role == NCT_ROLE_K || r->role == NCT_ROLE_V;
    *n_file = attention ? q + 2 * kv : 2 * ffn;
    *first = r->role == NCT_ROLE_K ? q : r->role == NCT_ROLE_V ? q + kv : r->role == NCT_ROLE_UP ? ffn : 0;
}

/* Looks under one stem; *found tells whether there is anything. */
static nct_status stem_matrix(const struct request *r, const char *stem, nct_stored *stored, bool *found) {
    const nct_checkpoint *c = r->checkpoint;
    nct_stems stems = {&c->tensors, &c->config.quant};
    NCT_TRY(nct_stem_matrix(&stems, stem, stored, found, r->err));
    return *found ? nct_stem_refuse_bias(&c->tensors, stem, r->err) : NCT_OK;
}

static nct_status directory_matrix(const struct request *r, nct_stored *stored) {
    char stem[NCT_NAME_BYTES];
    bool found = false;
    nct_name(NCT_SCHEME_HF, r->checkpoint->prefix, r->role, r->layer, stem);
    NCT_TRY(stem_matrix(r, stem, stored, &found));
    if (!found && nct_role_is_fused(r->role)) {
        char fused[NCT_NAME_BYTES];
        nct_name(NCT_SCHEME_FUSED, r->checkpoint->prefix, r->role, r->layer, fused);
        fused_rows(r, &stored->first_row, &stored->n_rows_file);
        NCT_TRY(stem_matrix(r, fused, stored, &found));
    }
    /* Two tied matrices share their bytes, and some exporters keep the other name. */
    if (!found && r->role == NCT_ROLE_EMBEDDING && r->checkpoint->config.raw.tie_word_embeddings) {
        char head[NCT_NAME_BYTES];
        nct_name(NCT_SCHEME_HF, r->checkpoint->prefix, NCT_ROLE_HEAD, 0, head);
        NCT_TRY(stem_matrix(r, head, stored, &found));
    }
    if (!found)
        return nct_fail(r->err, NCT_E_FORMAT, "%s: no tensor '%s.weight' or '%s.qweight'",
                        r->checkpoint->path, stem, stem);
    return NCT_OK;
}

static nct_status gguf_matrix(const struct request *r, nct_stored *stored) {
    char stem[NCT_NAME_BYTES];
    nct_name(NCT_SCHEME_GGUF, "", r->role, r->layer, stem);
    const nct_tensor *t = nct_stem_find(&r->checkpoint->tensors, stem, ".weight");
    if (!t)
        return nct_fail(r->err, NCT_E_FORMAT, "%s: no tensor '%s.weight'", r->checkpoint->path, stem);
    NCT_TRY(nct_stem_refuse_bias(&r->checkpoint->tensors, stem, r->err));
    NCT_TRY(nct_tensor_expect(t, r->n_rows, r->n_cols, r->err));
    stored->codec = nct_type_is_float(t->type) ? &nct_codec_float : &nct_codec_ggml;
    stored->name = t->name;
    stored->type = t->type;
    stored->part[NCT_PART_DATA] = (nct_part){t->data, t->n_bytes};
    if (r->role == NCT_ROLE_Q || r->role == NCT_ROLE_K)
        stored->pair_head_dim = (size_t)r->checkpoint->config.raw.head_dim;
    if (stored->pair_head_dim && r->n_rows % stored->pair_head_dim)
        return nct_fail(r->err, NCT_E_FORMAT,
                        "%s: tensor '%.200s' has %zu rows, which are no whole heads of %zu", t->path, t->name,
                        r->n_rows, stored->pair_head_dim);
    return NCT_OK;
}

nct_status nct_checkpoint_matrix(const nct_checkpoint *c, nct_role role, int layer, size_t n_rows,
                                 size_t n_cols, nct_stored *stored, nct_error *err) {
    struct request r = {c, role, layer, n_rows, n_cols, err};
    nct_stored out = {.n_rows = n_rows, .n_cols = n_cols, .n_rows_file = n_rows};
    nct_status status = c->gguf     ? gguf_matrix(&r, &out)
                        : c->bundle ? nct_bundle_matrix(c->bundle, role, layer, n_rows, n_cols, &out, err)
                                    : directory_matrix(&r, &out);
    if (status == NCT_OK)
        status = nct_stem_describe(c->path, &out, nct_role_is_norm(role), err);
    if (status == NCT_OK)
        *stored = out;
    else
        nct_stored_close(&out);
    return status;
}

bool nct_checkpoint_has(const nct_checkpoint *c, nct_role role, int layer) {
    if (c->bundle)
        return nct_bundle_has(c->bundle, role, layer);
    char stem[NCT_NAME_BYTES];
    for (int scheme = NCT_SCHEME_HF; scheme <= NCT_SCHEME_FUSED; scheme++) {
        nct_name(c->gguf ? NCT_SCHEME_GGUF : (nct_scheme)scheme, c->gguf ? "" : c->prefix, role, layer, stem);
        if (nct_stem_has(&c->tensors, stem))
            return true;
    }
    return false;
}
