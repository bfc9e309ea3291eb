#include "format/nct.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "format/nct_file.h"

static const char *kind_name(uint32_t kind) {
    switch (kind) {
    case NCT_SECTION_CONFIG:
        return "configuration";
    case NCT_SECTION_TEMPLATE:
        return "template";
    case NCT_SECTION_LICENCE:
        return "licence";
    case NCT_SECTION_VOCAB:
        return "tokenizer";
    case NCT_SECTION_NORM:
        return "norm";
    case NCT_SECTION_PANELS:
        return "matrix";
    case NCT_SECTION_PERM:
        return "column order";
    case NCT_SECTION_REFERENCE:
        return "reference";
    default:
        return "unknown section";
    }
}

static bool has_role(uint32_t kind) {
    return kind == NCT_SECTION_NORM || kind == NCT_SECTION_PANELS || kind == NCT_SECTION_PERM;
}

/* ------------------------------------------------------------------ table entries */

/* The panels that the entry describes; false if no such panels can be. */
static bool read_panels(const uint8_t *e, nct_section *s) {
    nct_panels *p = &s->ready.panels;
    uint32_t kind = nct_le32(e + 12), flags = nct_le32(e + 56), bias = nct_le32(e + 52);
    *p = (nct_panels){.n_rows = s->n_rows,
                      .n_cols = s->n_cols,
                      .group = nct_le32(e + 48),
                      .has_min = flags & NCT_BUNDLE_HAS_MIN,
                      .scale_f32 = flags & NCT_BUNDLE_SCALE_F32};
    if (kind > NCT_PANEL_CODES2 || bias > 128 || flags > (NCT_BUNDLE_HAS_MIN | NCT_BUNDLE_SCALE_F32))
        return false;
    p->kind = (nct_panel_kind)kind;
    p->bias = (int)bias;
    memcpy(s->ready.label, e + 72, sizeof s->ready.label);
    if (!memchr(s->ready.label, 0, sizeof s->ready.label) || !nct_panels_shape(p) ||
        p->panel_bytes != nct_le64(e + 64) || nct_panels_bytes(p) != s->n_bytes)
        return false;
    p->data = (uint8_t *)(uintptr_t)s->data; /* panels are only read, here and in the kernels */
    return true;
}

/* Whether the section's size and shape fit its kind. */
static bool is_plausible(const uint8_t *e, nct_section *s) {
    switch (s->kind) {
    case NCT_SECTION_CONFIG:
    case NCT_SECTION_TEMPLATE:
    case NCT_SECTION_LICENCE:
        return s->n_bytes <= NCT_BUNDLE_MAX_TEXT;
    case NCT_SECTION_VOCAB:
        return s->n_bytes <= NCT_BUNDLE_MAX_VOCAB;
    case NCT_SECTION_NORM:
        return s->role <= NCT_ROLE_DOWN && nct_role_is_norm((nct_role)s->role) && s->n_rows == 1 &&
               s->n_cols <= INT32_MAX && s->n_bytes == s->n_cols * sizeof(float);
    case NCT_SECTION_PANELS:
        return s->role <= NCT_ROLE_DOWN && !nct_role_is_norm((nct_role)s->role) && read_panels(e, s);
    case NCT_SECTION_PERM:
        return s->role <= NCT_ROLE_DOWN && s->n_cols <= INT32_MAX &&
               s->n_bytes == s->n_cols * sizeof(int32_t);
    default:
        return true;
    }
}

static nct_status read_entry(const char *path, const uint8_t *data, size_t table, size_t index,
                             nct_section *s, nct_error *err) {
    const uint8_t *e = data + table + index * NCT_BUNDLE_ENTRY_BYTES;
    *s = (nct_section){.kind = nct_le32(e), .role = nct_le32(e + 4), .layer = nct_le32(e + 8)};
    uint64_t offset = nct_le64(e + 16), n_bytes = nct_le64(e + 24), n_rows = nct_le64(e + 32),
             n_cols = nct_le64(e + 40);
    snprintf(s->name, sizeof s->name, "%s", kind_name(s->kind));
    if (has_role(s->kind) && s->role <= NCT_ROLE_DOWN && s->layer <= INT32_MAX)
        nct_name(NCT_SCHEME_HF, "", (nct_role)s->role, (int)s->layer, s->name);
    if (offset % NCT_BUNDLE_ALIGN || offset < NCT_BUNDLE_HEADER_BYTES || offset > table ||
        n_bytes > table - offset)
        return nct_fail(
            err, NCT_E_FORMAT,
            "%s: section %zu (%s) has %llu bytes from %llu on, which is outside the file's sections", path,
            index, s->name, (unsigned long long)n_bytes, (unsigned long long)offset);
    if (n_rows > INT32_MAX || n_cols > INT32_MAX)
        return nct_fail(err, NCT_E_FORMAT, "%s: section %zu (%s) claims %llu x %llu numbers", path, index,
                        s->name, (unsigned long long)n_rows, (unsigned long long)n_cols);
    s->offset = (size_t)offset;
    s->n_bytes = (size_t)n_bytes;
    s->n_rows = (size_t)n_rows;
    s->n_cols = (size_t)n_cols;
    s->data = data + offset;
    memcpy(s->sha256, e + 104, sizeof s->sha256);
    if (!is_plausible(e, s))
        return nct_fail(err, NCT_E_FORMAT,
                        "%s: section %zu (%s): %zu bytes do not fit what it is said to hold (%zu x %zu)",
                        path, index, s->name, s->n_bytes, s->n_rows, s->n_cols);
    return NCT_OK;
}

/* ------------------------------------------------------------------ opening */

bool nct_bundle_probe(const uint8_t *data, size_t n_bytes) {
    return n_bytes >= sizeof nct_bundle_magic && memcmp(data, nct_bundle_magic, sizeof nct_bundle_magic) == 0;
}

static bool sum_is(const uint8_t *data, size_t n, const uint8_t *expected) {
    uint8_t digest[NCT_SHA256_BYTES];
    nct_sha256_of(data, n, digest);
    return memcmp(digest, expected, sizeof digest) == 0;
}

static nct_status check_header(const char *path, const uint8_t *data, size_t n_bytes, size_t *table,
                               size_t *n, nct_error *err) {
    if (!nct_bundle_probe(data, n_bytes))
        return nct_fail(err, NCT_E_FORMAT, "%s: no bundle (it does not begin with the bytes of one)", path);
    if (n_bytes < NCT_BUNDLE_HEADER_BYTES)
        return nct_fail(err, NCT_E_FORMAT,
                        "%s: %zu bytes are too few for a bundle's header (file truncated?)", path, n_bytes);
    uint32_t version = nct_le32(data + 8), order = nct_le32(data + 12), layout = nct_le32(data + 16);
    if (order == 0x04030201)
        return nct_fail(err, NCT_E_UNSUPPORTED, "%s: a bundle of a big-endian machine", path);
    if (!sum_is(data, NCT_BUNDLE_HEADER_SUM, data + NCT_BUNDLE_HEADER_SUM) || order != NCT_BUNDLE_BYTE_ORDER)
        return nct_fail(err, NCT_E_FORMAT, "%s: the header is damaged (its checksum is wrong)", path);
    if (version != NCT_BUNDLE_VERSION || layout != NCT_BUNDLE_LAYOUT)
        return nct_fail(
            err, NCT_E_UNSUPPORTED,
            "%s: a bundle of version %u with panels of layout %u, expected %d and %d; convert the "
            "model again",
            path, version, layout, NCT_BUNDLE_VERSION, NCT_BUNDLE_LAYOUT);
    uint64_t size = nct_le64(data + 24), at = nct_le64(data + 32);
    *n = nct_le32(data + 20);
    if (size != n_bytes)
        return nct_fail(err, NCT_E_FORMAT, "%s: %zu bytes, the header says %llu (file truncated?)", path,
                        n_bytes, (unsigned long long)size);
    if (*n > NCT_BUNDLE_MAX_SECTIONS || at < NCT_BUNDLE_HEADER_BYTES || at > size ||
        size - at != (uint64_t)*n * NCT_BUNDLE_ENTRY_BYTES)
        return nct_fail(err, NCT_E_FORMAT, "%s: a table of %zu sections at %llu does not end with the file",
                        path, *n, (unsigned long long)at);
    *table = (size_t)at;
    if (!sum_is(data + at, *n * NCT_BUNDLE_ENTRY_BYTES, data + 40))
        return nct_fail(err, NCT_E_FORMAT, "%s: the table of sections is damaged (its checksum is wrong)",
                        path);
    return NCT_OK;
}

static int by_offset(const void *a, const void *b) {
    const nct_section *x = *(const nct_section *const *)a, *y = *(const nct_section *const *)b;
    if (x->offset != y->offset)
        return x->offset < y->offset ? -1 : 1;
    return (x->n_bytes > y->n_bytes) - (x->n_bytes < y->n_bytes);
}

static nct_status check_overlap(const nct_bundle *b, nct_error *err) {
    void *block = NULL;
    NCT_TRY(nct_alloc(&block, b->n, sizeof(nct_section *), err));
    const nct_section **order = block;
    for (size_t i = 0; i < b->n; i++)
        order[i] = &b->section[i];
    if (b->n)
        qsort(order, b->n, sizeof *order, by_offset);
    nct_status status = NCT_OK;
    for (size_t i = 1; i < b->n && status == NCT_OK; i++)
        if (order[i]->offset < order[i - 1]->offset + order[i - 1]->n_bytes)
            status = nct_fail(err, NCT_E_FORMAT, "%s: sections '%s' and '%s' share bytes", b->path,
                              order[i - 1]->name, order[i]->name);
    nct_free(block);
    return status;
}

nct_status nct_bundle_parse(const char *path, const uint8_t *data, size_t n_bytes, nct_bundle **bundle,
                            nct_error *err) {
    size_t table = 0, n = 0;
    void *block = NULL;
    NCT_TRY(check_header(path, data, n_bytes, &table, &n, err));
    assert((uintptr_t)data % NCT_ALIGN == 0);
    NCT_TRY(nct_alloc(&block, 1, sizeof(nct_bundle), err));
    nct_bundle *b = block;
    b->path = path;
    nct_status status = nct_alloc(&block, n, sizeof *b->section, err);
    if (status == NCT_OK) {
        b->section = block;
        b->n = n;
    }
    for (size_t i = 0; i < b->n && status == NCT_OK; i++) {
        status = read_entry(path, data, table, i, &b->section[i], err);
        if (status == NCT_OK && i > 0 && nct_section_order(&b->section[i - 1], &b->section[i]) >= 0)
            status = nct_fail(err, NCT_E_FORMAT, "%s: section %zu (%s) is there twice or out of order", path,
                              i, b->section[i].name);
    }
    if (status == NCT_OK)
        status = check_overlap(b, err);
    if (status == NCT_OK)
        *bundle = b;
    else
        nct_bundle_close(b);
    return status;
}

void nct_bundle_close(nct_bundle *b) {
    if (!b)
        return;
    nct_free(b->section);
    nct_free(b);
}

const nct_section *nct_bundle_section(const nct_bundle *b, size_t index) {
    return index < b->n ? &b->section[index] : NULL;
}

const nct_section *nct_bundle_find(const nct_bundle *b, nct_section_kind kind, uint32_t role,
                                   uint32_t layer) {
    nct_section key = {.kind = (uint32_t)kind, .role = role, .layer = layer};
    size_t low = 0, high = b->n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = nct_section_order(&b->section[middle], &key);
        if (order == 0)
            return &b->section[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

/* ------------------------------------------------------------------ matrices */

/* A copy of a column order that is one: every column once. */
static nct_status read_perm(const nct_bundle *b, const nct_section *s, size_t n, int32_t **perm,
                            nct_error *err) {
    void *copy = NULL, *seen = NULL;
    if (s->n_cols != n)
        return nct_fail(err, NCT_E_FORMAT, "%s: '%s': an order of %zu columns, expected %zu", b->path,
                        s->name, s->n_cols, n);
    NCT_TRY(nct_alloc(&copy, n, sizeof(int32_t), err));
    nct_status status = nct_alloc(&seen, n, 1, err);
    int32_t *order = copy;
    for (size_t i = 0; i < n && status == NCT_OK; i++) {
        order[i] = (int32_t)nct_le32(s->data + 4 * i);
        if (order[i] < 0 || (size_t)order[i] >= n || ((uint8_t *)seen)[order[i]]++)
            status = nct_fail(err, NCT_E_FORMAT,
                              "%s: '%s': column %d at %zu of the column order is out of range or there twice",
                              b->path, s->name, order[i], i);
    }
    nct_free(seen);
    if (status == NCT_OK)
        *perm = order;
    else
        nct_free(copy);
    return status;
}

static const nct_section *find_tensor(const nct_bundle *b, nct_role role, int layer) {
    return nct_bundle_find(b, nct_role_is_norm(role) ? NCT_SECTION_NORM : NCT_SECTION_PANELS, (uint32_t)role,
                           role < NCT_ROLE_ATTN_NORM ? 0 : (uint32_t)layer);
}

bool nct_bundle_has(const nct_bundle *b, nct_role role, int layer) {
    return find_tensor(b, role, layer) != NULL;
}

nct_status nct_bundle_matrix(const nct_bundle *b, nct_role role, int layer, size_t n_rows, size_t n_cols,
                             nct_stored *stored, nct_error *err) {
    bool norm = nct_role_is_norm(role);
    const nct_section *s = find_tensor(b, role, layer);
    if (!s) {
        char name[NCT_NAME_BYTES];
        nct_name(NCT_SCHEME_HF, "", role, layer, name);
        return nct_fail(err, NCT_E_FORMAT, "%s: the bundle lacks '%s'", b->path, name);
    }
    if (s->n_rows != n_rows || s->n_cols != n_cols)
        return nct_fail(err, NCT_E_FORMAT, "%s: '%s' is [%zu, %zu], expected [%zu, %zu]", b->path, s->name,
                        s->n_rows, s->n_cols, n_rows, n_cols);
    nct_stored out = {.codec = norm ? &nct_codec_float : &nct_codec_panels,
                      .name = s->name,
                      .n_rows = n_rows,
                      .n_cols = n_cols,
                      .n_rows_file = n_rows,
                      .part = {{s->data, s->n_bytes}},
                      .type = NCT_TYPE_F32,
                      .more = &s->ready};
    const nct_section *perm = norm ? NULL : nct_bundle_find(b, NCT_SECTION_PERM, s->role, s->layer);
    if (perm)
        NCT_TRY(read_perm(b, perm, n_cols, &out.perm, err));
    *stored = out;
    return NCT_OK;
}

bool nct_bundle_tensor(const nct_bundle *b, size_t index, nct_tensor_info *info) {
    for (size_t i = 0; i < b->n; i++) {
        const nct_section *s = &b->section[i];
        bool matrix = s->kind == NCT_SECTION_PANELS;
        if ((!matrix && s->kind != NCT_SECTION_NORM) || index-- > 0)
            continue;
        *info = (nct_tensor_info){.name = s->name,
                                  .type = matrix ? s->ready.label : "f32",
                                  .n_dims = matrix ? 2 : 1,
                                  .dims = {matrix ? s->n_rows : s->n_cols, matrix ? s->n_cols : 0},
                                  .n_bytes = s->n_bytes};
        return true;
    }
    return false;
}

/* ------------------------------------------------------------------ reference logits */

bool nct_bundle_reference(const nct_bundle *b, nct_reference_of of, nct_reference *reference) {
    const nct_section *s = nct_bundle_find(b, NCT_SECTION_REFERENCE, (uint32_t)of, 0);
    if (!s || s->n_bytes < NCT_REFERENCE_HEAD)
        return false;
    nct_reference r = {.n_ids = nct_le32(s->data), .n_vocab = nct_le32(s->data + 4)};
    if (r.n_ids == 0 || r.n_ids > NCT_REFERENCE_MAX_IDS || r.n_vocab > INT32_MAX ||
        s->n_bytes != NCT_REFERENCE_HEAD + 4 * (r.n_ids + r.n_vocab) || s->data[NCT_REFERENCE_HEAD - 1])
        return false;
    memcpy(r.isa, s->data + 8, sizeof r.isa);
    for (size_t i = 0; i < r.n_ids; i++)
        r.id[i] = (int32_t)nct_le32(s->data + NCT_REFERENCE_HEAD + 4 * i);
    r.logits = (const float *)(const void *)(s->data + NCT_REFERENCE_HEAD + 4 * r.n_ids);
    *reference = r;
    return true;
}

/* ------------------------------------------------------------------ verifying */

struct verifying {
    const nct_bundle *bundle;
    bool *sound; /* [n] */
};

static void verify_section(void *context, int task, int worker) {
    (void)worker;
    const struct verifying *k = context;
    const nct_section *s = &k->bundle->section[task];
    k->sound[task] = sum_is(s->data, s->n_bytes, s->sha256);
}

nct_status nct_bundle_verify(const nct_bundle *b, nct_pool *pool, nct_section_check_fn *check, void *context,
                             nct_error *err) {
    void *block = NULL;
    NCT_TRY(nct_alloc(&block, b->n, sizeof(bool), err));
    struct verifying k = {b, block};
    nct_pool_run(pool, (int)b->n, verify_section, &k);
    nct_status status = NCT_OK;
    for (size_t i = 0; i < b->n; i++) {
        if (check)
            check(context, &b->section[i], k.sound[i]);
        if (!k.sound[i] && status == NCT_OK)
            status = nct_fail(err, NCT_E_FORMAT,
                              "%s: '%s' is damaged: its %zu bytes from %zu on have another checksum", b->path,
                              b->section[i].name, b->section[i].n_bytes, b->section[i].offset);
    }
    nct_free(block);
    return status;
}
