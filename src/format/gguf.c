#include "format/gguf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/num.h"
#include "format/tensors.h"

enum { MAX_DEPTH = 8, MAX_SPLITS = 1000 };

/* One key. `value` points at what follows the type; of an array at its element type. */
struct pair {
    const char *key;
    size_t n_key;
    uint32_t type;
    const uint8_t *value;
};

struct nct_gguf {
    struct pair *pair;
    size_t n;
    const uint8_t *end; /* of the metadata */
};

/* ------------------------------------------------------------------ reading with bounds */

struct cursor {
    const char *path;
    const uint8_t *data;
    size_t n_bytes, at;
    nct_error *err;
};

static nct_status take(struct cursor *c, size_t n, const char *what, const uint8_t **p) {
    if (n > c->n_bytes - c->at)
        return nct_fail(c->err, NCT_E_FORMAT, "%s: %s at byte %zu runs past the end at %zu (file truncated?)",
                        c->path, what, c->at, c->n_bytes);
    *p = c->data + c->at;
    c->at += n;
    return NCT_OK;
}

static nct_status take_u32(struct cursor *c, const char *what, uint32_t *v) {
    const uint8_t *p = NULL;
    NCT_TRY(take(c, 4, what, &p));
    *v = nct_le32(p);
    return NCT_OK;
}

static nct_status take_u64(struct cursor *c, const char *what, uint64_t *v) {
    const uint8_t *p = NULL;
    NCT_TRY(take(c, 8, what, &p));
    *v = nct_le64(p);
    return NCT_OK;
}

static nct_status take_string(struct cursor *c, const char *what, const char **s, size_t *n) {
    uint64_t length = 0;
    const uint8_t *p = NULL;
    NCT_TRY(take_u64(c, what, &length));
    if (length > SIZE_MAX)
        length = SIZE_MAX;
    NCT_TRY(take(c, (size_t)length, what, &p));
    *s = (const char *)p;
    *n = (size_t)length;
    return NCT_OK;
}

/* Bytes of a scalar; 0 for strings, arrays and unknown types. */
static size_t scalar_bytes(uint32_t type) {
    static const uint8_t n_bytes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
    return type < sizeof n_bytes ? n_bytes[type] : 0;
}

static nct_status skip_value(struct cursor *c, uint32_t type, int depth) {
    const uint8_t *p = NULL;
    const char *s;
    size_t n_string;
    if (scalar_bytes(type))
        return take(c, scalar_bytes(type), "a value", &p);
    if (type == NCT_GGUF_STRING)
        return take_string(c, "a string", &s, &n_string);
    if (type != NCT_GGUF_ARRAY)
        return nct_fail(c->err, NCT_E_FORMAT, "%s: value type %u before byte %zu is none of GGUF's", c->path,
                        (unsigned)type, c->at);
    if (depth == MAX_DEPTH)
        return nct_fail(c->err, NCT_E_FORMAT, "%s: arrays are nested more than %d deep", c->path, MAX_DEPTH);
    uint32_t element;
    uint64_t n;
    NCT_TRY(take_u32(c, "an array", &element));
    NCT_TRY(take_u64(c, "an array", &n));
    if (element > NCT_GGUF_F64)
        return nct_fail(c->err, NCT_E_FORMAT, "%s: element type %u before byte %zu is none of GGUF's",
                        c->path, (unsigned)element, c->at);
    size_t bytes = scalar_bytes(element);
    if (n > (c->n_bytes - c->at) / (bytes ? bytes : 8)) /* a string or an array has 8 bytes at least */
        return nct_fail(c->err, NCT_E_FORMAT, "%s: an array of %llu elements does not fit the %zu bytes left",
                        c->path, (unsigned long long)n, c->n_bytes - c->at);
    if (bytes)
        return take(c, (size_t)n * bytes, "an array", &p);
    for (uint64_t i = 0; i < n; i++)
        NCT_TRY(skip_value(c, element, depth + 1));
    return NCT_OK;
}

/* ------------------------------------------------------------------ metadata */

static const struct pair *find(const nct_gguf *gguf, const char *key) {
    size_t n = strlen(key);
    for (size_t i = 0; i < gguf->n; i++)
        if (gguf->pair[i].n_key == n && memcmp(gguf->pair[i].key, key, n) == 0)
            return &gguf->pair[i];
    return NULL;
}

static bool read_integer(uint32_t type, const uint8_t *p, int64_t *value) {
    switch (type) {
    case NCT_GGUF_U8:
        *value = p[0];
        return true;
    case NCT_GGUF_I8:
        *value = (int8_t)p[0];
        return true;
    case NCT_GGUF_U16:
        *value = nct_le16(p);
        return true;
    case NCT_GGUF_I16:
        *value = (int16_t)nct_le16(p);
        return true;
    case NCT_GGUF_U32:
        *value = nct_le32(p);
        return true;
    case NCT_GGUF_I32:
        *value = (int32_t)nct_le32(p);
        return true;
    case NCT_GGUF_U64:
    case NCT_GGUF_I64:
        *value = (int64_t)nct_le64(p);
        return type == NCT_GGUF_I64 || *value >= 0;
    default:
        return false;
    }
}

static bool read_number(uint32_t type, const uint8_t *p, double *value) {
    int64_t integer;
    if (type == NCT_GGUF_F32) {
        *value = (double)nct_f32_from_bits(nct_le32(p));
    } else if (type == NCT_GGUF_F64) {
        uint64_t bits = nct_le64(p);
        memcpy(value, &bits, sizeof *value);
    } else {
        if (!read_integer(type, p, &integer))
            return false;
        *value = (double)integer;
    }
    return true;
}

bool nct_gguf_has(const nct_gguf *gguf, const char *key) { return find(gguf, key) != NULL; }

bool nct_gguf_int(const nct_gguf *gguf, const char *key, int64_t *value) {
    const struct pair *pair = find(gguf, key);
    return pair && read_integer(pair->type, pair->value, value);
}

bool nct_gguf_number(const nct_gguf *gguf, const char *key, double *value) {
    const struct pair *pair = find(gguf, key);
    return pair && read_number(pair->type, pair->value, value);
}

bool nct_gguf_bool(const nct_gguf *gguf, const char *key, bool *value) {
    const struct pair *pair = find(gguf, key);
    if (!pair || pair->type != NCT_GGUF_BOOL)
        return false;
    *value = pair->value[0] != 0;
    return true;
}

bool nct_gguf_string(const nct_gguf *gguf, const char *key, const char **s, size_t *n_bytes) {
    const struct pair *pair = find(gguf, key);
    if (!pair || pair->type != NCT_GGUF_STRING)
        return false;
    const uint8_t *cursor = pair->value;
    nct_gguf_next_string(&cursor, s, n_bytes);
    return true;
}

bool nct_gguf_find_array(const nct_gguf *gguf, const char *key, nct_gguf_array *array) {
    const struct pair *pair = find(gguf, key);
    if (!pair || pair->type != NCT_GGUF_ARRAY)
        return false;
    *array = (nct_gguf_array){.data = pair->value + 12,
                              .end = gguf->end,
                              .type = nct_le32(pair->value),
                              .n = nct_le64(pair->value + 4)};
    return true;
}

void nct_gguf_next_string(const uint8_t **cursor, const char **s, size_t *n_bytes) {
    *n_bytes = (size_t)nct_le64(*cursor);
    *s = (const char *)*cursor + 8;
    *cursor += 8 + *n_bytes;
}

bool nct_gguf_array_number(const nct_gguf_array *array, uint64_t i, double *value) {
    size_t n_bytes = scalar_bytes(array->type);
    return n_bytes && i < array->n && read_number(array->type, array->data + i * n_bytes, value);
}

/* ------------------------------------------------------------------ parsing */

static int by_key(const void *a, const void *b) {
    const struct pair *x = *(const struct pair *const *)a, *y = *(const struct pair *const *)b;
    int order = memcmp(x->key, y->key, x->n_key < y->n_key ? x->n_key : y->n_key);
    return order ? order : (x->n_key > y->n_key) - (x->n_key < y->n_key);
}

static nct_status check_keys_differ(const struct cursor *c, const nct_gguf *gguf) {
    void *block = NULL;
    NCT_TRY(nct_alloc(&block, gguf->n, sizeof(struct pair *), c->err));
    const struct pair **order = block;
    for (size_t i = 0; i < gguf->n; i++)
        order[i] = &gguf->pair[i];
    qsort(order, gguf->n, sizeof *order, by_key);
    nct_status status = NCT_OK;
    for (size_t i = 1; i < gguf->n && status == NCT_OK; i++)
        if (by_key(&order[i - 1], &order[i]) == 0)
            status = nct_fail(c->err, NCT_E_FORMAT, "%s: key '%.*s' is there twice", c->path,
                              (int)(order[i]->n_key < 200 ? order[i]->n_key : 200), order[i]->key);
    nct_free(block);
    return status;
}

static nct_status parse_pairs(struct cursor *c, uint64_t n_pairs, nct_gguf *gguf) {
    enum { min_pair_bytes = 8 + 4 + 1 };
    if (n_pairs > (c->n_bytes - c->at) / min_pair_bytes)
        return nct_fail(c->err, NCT_E_FORMAT, "%s: %llu keys do not fit a file of %zu bytes", c->path,
                        (unsigned long long)n_pairs, c->n_bytes);
    void *block = NULL;
    NCT_TRY(nct_alloc(&block, (size_t)n_pairs, sizeof *gguf->pair, c->err));
    gguf->pair = block;
    for (; gguf->n < n_pairs; gguf->n++) {
        struct pair *pair = &gguf->pair[gguf->n];
        NCT_TRY(take_string(c, "a key", &pair->key, &pair->n_key));
        NCT_TRY(take_u32(c, "a value's type", &pair->type));
        pair->value = c->data + c->at;
        NCT_TRY(skip_value(c, pair->type, 0));
    }
    gguf->end = c->data + c->at;
    return check_keys_differ(c, gguf);
}

/* One entry of the tensor list; `data` is left NULL and *off counts from the data section. */
static nct_status parse_tensor(struct cursor *c, nct_tensors *tensors, uint64_t *off) {
    nct_tensor t = {.path = c->path};
    const char *name;
    size_t n_name;
    uint32_t n_dims;
    NCT_TRY(take_string(c, "a tensor's name", &name, &n_name));
    int shown = (int)(n_name < 200 ? n_name : 200);
    NCT_TRY(take_u32(c, "a tensor", &n_dims));
    if (n_dims > 4)
        return nct_fail(c->err, NCT_E_FORMAT, "%s: tensor '%.*s' has %u dimensions, at most 4 are allowed",
                        c->path, shown, name, (unsigned)n_dims);
    size_t n_elements = 1, n_columns = 1;
    t.n_dims = n_dims;
    for (uint32_t i = 0; i < n_dims; i++) {
        uint64_t dim;
        NCT_TRY(take_u64(c, "a tensor", &dim));
        if (dim > SIZE_MAX || !nct_mul_size(n_elements, (size_t)dim, &n_elements) || n_elements > INT64_MAX)
            return nct_fail(c->err, NCT_E_FORMAT, "%s: the shape of tensor '%.*s' overflows", c->path, shown,
                            name);
        t.dims[n_dims - 1 - i] = (size_t)dim; /* the file has the fastest first */
        if (i == 0)
            n_columns = (size_t)dim;
    }
    NCT_TRY(take_u32(c, "a tensor", &t.type));
    NCT_TRY(take_u64(c, "a tensor", off));
    const nct_ggml_type *type = nct_ggml_type_find(t.type);
    if (!type)
        return nct_fail(c->err, NCT_E_UNSUPPORTED,
                        "%s: tensor '%.*s' is of type number %u, which is not known; readable: %s", c->path,
                        shown, name, (unsigned)t.type, NCT_READABLE_TYPES);
    if (n_columns % type->block_elems)
        return nct_fail(c->err, NCT_E_FORMAT,
                        "%s: tensor '%.*s' has rows of %zu, which are no whole %s blocks of %u", c->path,
                        shown, name, n_columns, type->name, (unsigned)type->block_elems);
    if (!nct_mul_size(n_elements / type->block_elems, type->block_bytes, &t.n_bytes))
        return nct_fail(c->err, NCT_E_FORMAT, "%s: the shape of tensor '%.*s' overflows", c->path, shown,
                        name);
    return nct_tensors_add(tensors, &t, name, n_name, c->err);
}

/* Where the data section begins, by general.alignment. */
static nct_status data_offset(const struct cursor *c, const nct_gguf *gguf, size_t *alignment, size_t *off) {
    int64_t a = 32;
    if (nct_gguf_has(gguf, "general.alignment") &&
        (!nct_gguf_int(gguf, "general.alignment", &a) || a < 1 || a > 1 << 30 || (a & (a - 1))))
        return nct_fail(c->err, NCT_E_FORMAT, "%s: general.alignment is no power of two", c->path);
    *alignment = (size_t)a;
    *off = (c->at + *alignment - 1) / *alignment * *alignment;
    return NCT_OK;
}

static nct_status parse_tensors(struct cursor *c, uint64_t n_tensors, const nct_gguf *gguf,
                                nct_tensors *tensors) {
    enum { min_tensor_bytes = 8 + 4 + 4 + 8 };
    size_t first = tensors->n, alignment = 1, start = 0;
    if (n_tensors > (c->n_bytes - c->at) / min_tensor_bytes)
        return nct_fail(c->err, NCT_E_FORMAT, "%s: %llu tensors do not fit a file of %zu bytes", c->path,
                        (unsigned long long)n_tensors, c->n_bytes);
    void *block = NULL;
    NCT_TRY(nct_alloc(&block, (size_t)n_tensors, sizeof(uint64_t), c->err));
    uint64_t *off = block;
    nct_status status = NCT_OK;
    for (size_t i = 0; i < n_tensors && status == NCT_OK; i++)
        status = parse_tensor(c, tensors, &off[i]);
    if (status == NCT_OK)
        status = data_offset(c, gguf, &alignment, &start);
    for (size_t i = 0; i < n_tensors && status == NCT_OK; i++) {
        nct_tensor *t = &tensors->item[first + i];
        size_t left = start < c->n_bytes ? c->n_bytes - start : 0;
        if (off[i] % alignment)
            status = nct_fail(c->err, NCT_E_FORMAT,
                              "%s: tensor '%.200s' is at offset %llu, which is not aligned to %zu", c->path,
                              t->name, (unsigned long long)off[i], alignment);
        else if (off[i] > left || t->n_bytes > left - off[i])
            status = nct_fail(c->err, NCT_E_FORMAT,
                              "%s: tensor '%.200s' needs %zu bytes at %llu of the %zu of data "
                              "(file truncated?)",
                              c->path, t->name, t->n_bytes, (unsigned long long)off[i], left);
        else
            t->data = c->data + (left ? start + (size_t)off[i] : c->n_bytes);
    }
    nct_free(block);
    NCT_TRY(status);
    return nct_tensors_check_overlap(tensors, first, c->err);
}

bool nct_gguf_probe(const uint8_t *data, size_t n_bytes) {
    return n_bytes >= 4 && memcmp(data, "GGUF", 4) == 0;
}

static nct_status parse(struct cursor *c, nct_tensors *tensors, nct_gguf *gguf) {
    const uint8_t *magic = NULL;
    uint32_t version;
    uint64_t n_tensors, n_pairs;
    NCT_TRY(take(c, 4, "the header", &magic));
    if (!nct_gguf_probe(magic, 4))
        return nct_fail(c->err, NCT_E_FORMAT, "%s: does not begin with 'GGUF'", c->path);
    NCT_TRY(take_u32(c, "the header", &version));
    if (version >= 0x10000)
        return nct_fail(c->err, NCT_E_UNSUPPORTED,
                        "%s: a byte-swapped (big-endian) GGUF file is not readable", c->path);
    if (version != 2 && version != 3)
        return nct_fail(c->err, NCT_E_UNSUPPORTED, "%s: GGUF version %u is not readable, expected 2 or 3",
                        c->path, (unsigned)version);
    NCT_TRY(take_u64(c, "the header", &n_tensors));
    NCT_TRY(take_u64(c, "the header", &n_pairs));
    NCT_TRY(parse_pairs(c, n_pairs, gguf));
    return parse_tensors(c, n_tensors, gguf, tensors);
}

nct_status nct_gguf_parse(const char *path, const uint8_t *data, size_t n_bytes, nct_tensors *tensors,
                          nct_gguf **gguf, nct_error *err) {
    struct cursor c = {.path = path, .data = data, .n_bytes = n_bytes, .err = err};
    void *block = NULL;
    NCT_TRY(nct_alloc(&block, 1, sizeof(nct_gguf), err));
    nct_status status = parse(&c, tensors, block);
    if (status == NCT_OK)
        *gguf = block;
    else
        nct_gguf_close(block);
    return status;
}

void nct_gguf_close(nct_gguf *gguf) {
    if (!gguf)
        return;
    nct_free(gguf->pair);
    nct_free(gguf);
}

/* ------------------------------------------------------------------ split models */

/* Checks the keys of part `no` of `count` (both as the file names count, from 0). */
static nct_status check_split(const char *path, const nct_gguf *gguf, int64_t no, int64_t count,
                              nct_error *err) {
    int64_t split_no = -1, split_count = -1;
    if (!nct_gguf_int(gguf, "split.no", &split_no) || !nct_gguf_int(gguf, "split.count", &split_count) ||
        split_no != no || split_count != count)
        return nct_fail(err, NCT_E_FORMAT, "%s: says it is part %lld of %lld, expected %lld of %lld", path,
                        (long long)split_no + 1, (long long)split_count, (long long)no + 1, (long long)count);
    return NCT_OK;
}

static nct_status open_part(const char *path, nct_files *files, nct_tensors *tensors, nct_gguf **gguf,
                            nct_error *err) {
    const struct nct_file *file;
    NCT_TRY(nct_files_open(files, path, &file, err));
    return nct_gguf_parse(file->path, file->map.data, file->map.n_bytes, tensors, gguf, err);
}

static nct_status open_others(const char *path, int64_t count, nct_files *files, nct_tensors *tensors,
                              nct_error *err) {
    static const char tail[] = "-00001-of-00000.gguf";
    char other[4096];
    size_t n = strlen(path), n_stem = n - (sizeof tail - 1);
    char expected[32];
    snprintf(expected, sizeof expected, "-00001-of-%05d.gguf", (int)count);
    if (n < sizeof tail - 1 || strcmp(path + n_stem, expected) != 0)
        return nct_fail(err, NCT_E_FORMAT, "%s: the first of %d parts, whose name should end in '%s'", path,
                        (int)count, expected);
    for (int i = 1; i < count; i++) {
        int written =
            snprintf(other, sizeof other, "%.*s-%05d-of-%05d.gguf", (int)n_stem, path, i + 1, (int)count);
        if (written < 0 || (size_t)written >= sizeof other)
            return nct_fail(err, NCT_E_ARGUMENT, "%s: the path is too long", path);
        nct_gguf *part = NULL;
        NCT_TRY(open_part(other, files, tensors, &part, err));
        nct_status status = check_split(other, part, i, count, err);
        nct_gguf_close(part);
        NCT_TRY(status);
    }
    return NCT_OK;
}

/* What follows once the first file is open. */
static nct_status open_rest(const char *path, const nct_gguf *first, nct_files *files, nct_tensors *tensors,
                            nct_error *err) {
    int64_t count = 1, no = 0, n_tensors = 0;
    if (nct_gguf_has(first, "split.count") && !nct_gguf_int(first, "split.count", &count))
        count = 0;
    if (count <= 1 && count >= 0)
        return NCT_OK;
    if (count < 0 || count > MAX_SPLITS)
        return nct_fail(err, NCT_E_FORMAT, "%s: says it is one of %lld parts, expected at most %d", path,
                        (long long)count, MAX_SPLITS);
    if (nct_gguf_int(first, "split.no", &no) && no != 0)
        return nct_fail(err, NCT_E_ARGUMENT,
                        "%s: part %lld of a split model; give the first part, '...-00001-of-%05d.gguf'", path,
                        (long long)no + 1, (int)count);
    NCT_TRY(check_split(path, first, 0, count, err));
    NCT_TRY(open_others(path, count, files, tensors, err));
    if (nct_gguf_int(first, "split.tensors.count", &n_tensors) && (uint64_t)n_tensors != tensors->n)
        return nct_fail(err, NCT_E_FORMAT, "%s: the parts hold %zu tensors, expected %lld", path, tensors->n,
                        (long long)n_tensors);
    return NCT_OK;
}

nct_status nct_gguf_open(const char *path, nct_files *files, nct_tensors *tensors, nct_gguf **gguf,
                         nct_error *err) {
    nct_gguf *first = NULL;
    NCT_TRY(open_part(path, files, tensors, &first, err));
    nct_status status = open_rest(path, first, files, tensors, err);
    if (status == NCT_OK)
        *gguf = first;
    else
        nct_gguf_close(first);
    return status;
}
