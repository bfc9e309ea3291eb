#include "format/tensors.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

const char *nct_type_name(uint32_t type) {
    static const char *const names[] = {"BOOL", "U8", "U16", "U32", "U64", "F8_E4M3", "F8_E5M2"};
    if (type >= NCT_TYPE_BOOL && type - NCT_TYPE_BOOL < sizeof names / sizeof names[0])
        return names[type - NCT_TYPE_BOOL];
    const nct_ggml_type *ggml = nct_ggml_type_find(type);
    return ggml ? ggml->name : "?";
}

/* ------------------------------------------------------------------ files */

nct_status nct_files_open(nct_files *files, const char *path, const struct nct_file **file, nct_error *err) {
    void *item = files->item;
    nct_status status = nct_grow(&item, &files->capacity, files->n + 1, sizeof *files->item, err);
    files->item = item;
    NCT_TRY(status);
    struct nct_file f = {0};
    NCT_TRY(nct_copy_string(&f.path, path, strlen(path), err));
    status = nct_map_open(path, &f.map, err);
    if (status != NCT_OK) {
        nct_free(f.path);
        return status;
    }
    files->item[files->n] = f;
    *file = &files->item[files->n++];
    return NCT_OK;
}

void nct_files_close(nct_files *files) {
    for (size_t i = 0; i < files->n; i++) {
        nct_map_close(&files->item[i].map);
        nct_free(files->item[i].path);
    }
    nct_free(files->item);
    *files = (nct_files){0};
}

/* ------------------------------------------------------------------ table */

/* FNV-1a, 64 bits, folded (Fowler, Noll and Vo). */
static size_t hash(const char *name, size_t n) {
    uint64_t h = 0xcbf29ce484222325u;
    for (size_t i = 0; i < n; i++)
        h = (h ^ (uint8_t)name[i]) * 0x100000001b3u;
    return (size_t)(h ^ h >> 32);
}

/* The slot that holds the name, or the free one where it would go. */
static size_t find_slot(const nct_tensors *t, const char *name, size_t n) {
    size_t i = hash(name, n) & (t->n_slots - 1);
    for (; t->slot[i]; i = (i + 1) & (t->n_slots - 1)) {
        const char *other = t->item[t->slot[i] - 1].name;
        if (strncmp(other, name, n) == 0 && other[n] == 0)
            break;
    }
    return i;
}

/* Keeps the slots at most half full. */
static nct_status grow_slots(nct_tensors *t, nct_error *err) {
    if (t->n_slots >= 2 * (t->n + 1))
        return NCT_OK;
    void *block = NULL;
    size_t n_slots = t->n_slots ? 2 * t->n_slots : 64;
    NCT_TRY(nct_alloc(&block, n_slots, sizeof *t->slot, err));
    nct_free(t->slot);
    t->slot = block;
    t->n_slots = n_slots;
    for (size_t i = 0; i < t->n; i++)
        t->slot[find_slot(t, t->item[i].name, strlen(t->item[i].name))] = (uint32_t)i + 1;
    return NCT_OK;
}

nct_status nct_tensors_add(nct_tensors *t, const nct_tensor *tensor, const char *name, size_t n_name,
                           nct_error *err) {
    if (memchr(name, 0, n_name))
        return nct_fail(err, NCT_E_FORMAT, "%s: the name of tensor %zu holds a NUL byte", tensor->path, t->n);
    if (t->n >= UINT32_MAX / 4)
        return nct_fail(err, NCT_E_FORMAT, "%s: more than %zu tensors", tensor->path, t->n);
    NCT_TRY(grow_slots(t, err));
    void *item = t->item;
    nct_status status = nct_grow(&item, &t->capacity, t->n + 1, sizeof *t->item, err);
    t->item = item;
    NCT_TRY(status);
    size_t slot = find_slot(t, name, n_name);
    if (t->slot[slot])
        return nct_fail(err, NCT_E_FORMAT, "%s: tensor '%.200s' is there twice (first in %s)", tensor->path,
                        t->item[t->slot[slot] - 1].name, t->item[t->slot[slot] - 1].path);
    char *copy = NULL;
    NCT_TRY(nct_copy_string(&copy, name, n_name, err));
    t->item[t->n] = *tensor;
    t->item[t->n].name = copy;
    t->slot[slot] = (uint32_t)++t->n;
    return NCT_OK;
}

const nct_tensor *nct_tensors_find(const nct_tensors *t, const char *name) {
    if (t->n == 0)
        return NULL;
    uint32_t index = t->slot[find_slot(t, name, strlen(name))];
    return index ? &t->item[index - 1] : NULL;
}

void nct_tensors_close(nct_tensors *t) {
    for (size_t i = 0; i < t->n; i++)
        nct_free((void *)(uintptr_t)t->item[i].name);
    nct_free(t->item);
    nct_free(t->slot);
    *t = (nct_tensors){0};
}

/* Where it begins, then where it ends: an empty tensor lies before one that begins at the same byte. */
static int by_place(const void *a, const void *b) {
    const nct_tensor *x = *(const nct_tensor *const *)a, *y = *(const nct_tensor *const *)b;
    if (x->data != y->data)
        return x->data < y->data ? -1 : 1;
    return x->n_bytes < y->n_bytes ? -1 : x->n_bytes > y->n_bytes;
}

nct_status nct_tensors_check_overlap(const nct_tensors *t, size_t first, nct_error *err) {
    void *block = NULL;
    size_t n = t->n - first;
    NCT_TRY(nct_alloc(&block, n, sizeof(nct_tensor *), err));
    const nct_tensor **order = block;
    for (size_t i = 0; i < n; i++)
        order[i] = &t->item[first + i];
    qsort(order, n, sizeof *order, by_place);
    nct_status status = NCT_OK;
    for (size_t i = 1; i < n && status == NCT_OK; i++)
        if (order[i]->data < order[i - 1]->data + order[i - 1]->n_bytes)
            status = nct_fail(err, NCT_E_FORMAT, "%s: tensors '%.200s' and '%.200s' share bytes",
                              order[i]->path, order[i - 1]->name, order[i]->name);
    nct_free(block);
    return status;
}
