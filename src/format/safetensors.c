#include "format/safetensors.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"

/* JSON values of a header at most: each costs the parser some hundred bytes, so a small file of nothing
 * but commas must not claim gigabytes. The largest published checkpoints stay below a hundredth of it. */
#define MAX_VALUES (1 << 21)

#define INDEX_NAME "model.safetensors.index.json"

static const struct {
    const char *name;
    uint32_t type;
    uint32_t n_bytes;
} types[] = {
    {"F32", NCT_TYPE_F32, 4},   {"F16", NCT_TYPE_F16, 2},         {"BF16", NCT_TYPE_BF16, 2},
    {"I32", NCT_TYPE_I32, 4},   {"U32", NCT_TYPE_U32, 4},         {"I64", NCT_TYPE_I64, 8},
    {"U64", NCT_TYPE_U64, 8},   {"F64", NCT_TYPE_F64, 8},         {"U8", NCT_TYPE_U8, 1},
    {"I8", NCT_TYPE_I8, 1},     {"I16", NCT_TYPE_I16, 2},         {"U16", NCT_TYPE_U16, 2},
    {"BOOL", NCT_TYPE_BOOL, 1}, {"F8_E4M3", NCT_TYPE_F8_E4M3, 1}, {"F8_E5M2", NCT_TYPE_F8_E5M2, 1},
};

/* ------------------------------------------------------------------ one file */

/* A size of the header; false if it is no integer from 0 to 2^53. */
static bool read_size(const nct_json *json, size_t *size) {
    int64_t v = nct_json_int(json, -1);
    *size = (size_t)v;
    return v >= 0;
}

/* Reads one entry of the header; data is the file's data section. */
static nct_status read_entry(const char *path, const nct_json *entry, const uint8_t *data, size_t n_data,
                             nct_tensor *tensor, nct_error *err) {
    const char *name = nct_json_key(entry), *dtype = nct_json_string(nct_json_get(entry, "dtype"), NULL);
    const nct_json *shape = nct_json_get(entry, "shape"), *offsets = nct_json_get(entry, "data_offsets");
    if (!dtype || !nct_json_is_array(shape) || !nct_json_is_array(offsets) || nct_json_size(offsets) != 2)
        return nct_fail(err, NCT_E_FORMAT, "%s: tensor '%.200s' lacks dtype, shape or two data_offsets", path,
                        name);

    *tensor = (nct_tensor){.path = path};
    size_t n_bytes = 0;
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
        if (strcmp(types[i].name, dtype) == 0) {
            tensor->type = types[i].type;
            n_bytes = types[i].n_bytes;
        }
    if (n_bytes == 0)
        return nct_fail(err, NCT_E_UNSUPPORTED,
                        "%s: tensor '%.200s' has element type '%.20s', which is not known", path, name,
                        dtype);

    bool empty = false;
    for (const nct_json *d = nct_json_first(shape); d; d = nct_json_next(d)) {
        size_t dim;
        if (tensor->n_dims == NCT_MAX_DIMS)
            return nct_fail(err, NCT_E_FORMAT, "%s: tensor '%.200s' has more than %d dimensions", path, name,
                            NCT_MAX_DIMS);
        if (!read_size(d, &dim))
            return nct_fail(err, NCT_E_FORMAT, "%s: tensor '%.200s' has a dimension that is no count", path,
                            name);
        tensor->dims[tensor->n_dims++] = dim;
        empty |= dim == 0;
    }
    for (size_t i = 0; i < tensor->n_dims && !empty; i++)
        if (!nct_mul_size(n_bytes, tensor->dims[i], &n_bytes))
            return nct_fail(err, NCT_E_FORMAT, "%s: the shape of tensor '%.200s' overflows", path, name);
    if (empty)
        n_bytes = 0;

    size_t begin, end;
    const nct_json *first = nct_json_first(offsets);
    if (!read_size(first, &begin) || !read_size(nct_json_next(first), &end) || begin > end || end > n_data)
        return nct_fail(err, NCT_E_FORMAT,
                        "%s: tensor '%.200s' lies outside the %zu bytes of data (file truncated?)", path,
                        name, n_data);
    if (end - begin != n_bytes)
        return nct_fail(err, NCT_E_FORMAT,
                        "%s: tensor '%.200s' has %zu bytes, its type and shape ask for %zu", path, name,
                        end - begin, n_bytes);
    tensor->data = data + begin;
    tensor->n_bytes = n_bytes;
    return NCT_OK;
}

static nct_status read_header(const char *path, const nct_json *header, const uint8_t *data, size_t n_data,
                              nct_tensors *tensors, nct_error *err) {
    if (!nct_json_is_object(header))
        return nct_fail(err, NCT_E_FORMAT, "%s: the header is no JSON object", path);
    size_t first = tensors->n, covered = 0;
    for (const nct_json *entry = nct_json_first(header); entry; entry = nct_json_next(entry)) {
        nct_tensor tensor;
        if (strcmp(nct_json_key(entry), "__metadata__") == 0)
            continue;
        NCT_TRY(read_entry(path, entry, data, n_data, &tensor, err));
        NCT_TRY(nct_tensors_add(tensors, &tensor, nct_json_key(entry), strlen(nct_json_key(entry)), err));
        covered = tensor.n_bytes > SIZE_MAX - covered ? SIZE_MAX : covered + tensor.n_bytes;
    }
    /* Without overlaps, a sum that equals the data section means no holes and nothing trailing. */
    NCT_TRY(nct_tensors_check_overlap(tensors, first, err));
    if (covered != n_data)
        return nct_fail(err, NCT_E_FORMAT, "%s: %zu bytes of data, of which the tensors cover %zu", path,
                        n_data, covered);
    return NCT_OK;
}

bool nct_safetensors_probe(const uint8_t *data, size_t n_bytes) {
    return n_bytes > 8 && nct_le64(data) <= NCT_SAFETENSORS_MAX_HEADER && data[8] == '{';
}

nct_status nct_safetensors_parse(const char *path, const uint8_t *data, size_t n_bytes, nct_tensors *tensors,
                                 nct_error *err) {
    static const char lfs[] = "version https://git-lfs";
    if (n_bytes >= sizeof lfs && memcmp(data, lfs, sizeof lfs - 1) == 0)
        return nct_fail(err, NCT_E_FORMAT,
                        "%s: a Git LFS pointer, not the weights themselves (run git lfs pull)", path);
    if (n_bytes < 8)
        return nct_fail(err, NCT_E_FORMAT, "%s: %zu bytes are too few for a safetensors file", path, n_bytes);
    uint64_t n_header = nct_le64(data);
    if (n_header > NCT_SAFETENSORS_MAX_HEADER)
        return nct_fail(err, NCT_E_FORMAT,
                        "%s: no safetensors file (its first bytes give a header of %llu bytes)", path,
                        (unsigned long long)n_header);
    if (n_header > n_bytes - 8)
        return nct_fail(err, NCT_E_FORMAT, "%s: the header ends at byte %llu of %zu (file truncated?)", path,
                        (unsigned long long)n_header + 8, n_bytes);
    const char *text = (const char *)data + 8;
    size_t n_text = (size_t)n_header, n_values = 0;
    if (n_text == 0 || text[0] != '{')
        return nct_fail(err, NCT_E_FORMAT, "%s: the header does not begin with '{'", path);
    for (size_t i = 0; i < n_text; i++)
        n_values += text[i] == ',';
    if (n_values > MAX_VALUES)
        return nct_fail(err, NCT_E_FORMAT, "%s: the header has more than %d values", path, MAX_VALUES);

    nct_json *header = NULL;
    nct_error inner;
    nct_status status = nct_json_parse(path, text, n_text, &header, &inner);
    if (status != NCT_OK)
        return nct_fail(err, status, "%s (the safetensors header, which begins at byte 8)", inner.text);
    status = read_header(path, header, data + 8 + n_text, n_bytes - 8 - n_text, tensors, err);
    nct_json_close(header);
    return status;
}

/* ------------------------------------------------------------------ directories */

static nct_status open_file(const char *path, nct_files *files, nct_tensors *tensors, nct_error *err) {
    const struct nct_file *file;
    NCT_TRY(nct_files_open(files, path, &file, err));
    return nct_safetensors_parse(file->path, file->map.data, file->map.n_bytes, tensors, err);
}

/* A growing list of file names. */
struct names {
    char **item;
    size_t n, capacity;
};

static void names_close(struct names *names) {
    for (size_t i = 0; i < names->n; i++)
        nct_free(names->item[i]);
    nct_free(names->item);
}

static nct_status names_add(struct names *names, const char *name, nct_error *err) {
    void *item = names->item;
    nct_status status = nct_grow(&item, &names->capacity, names->n + 1, sizeof *names->item, err);
    names->item = item;
    NCT_TRY(status);
    NCT_TRY(nct_copy_string(&names->item[names->n], name, strlen(name), err));
    names->n++;
    return NCT_OK;
}

static bool names_have(const struct names *names, const char *name) {
    for (size_t i = 0; i < names->n; i++)
        if (strcmp(names->item[i], name) == 0)
            return true;
    return false;
}

static int by_name(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

/* Files named by an index; a published checkpoint has tens of them. */
static nct_status list_index(const char *path, const nct_json *index, struct names *names, nct_error *err) {
    enum { max_files = 1000 };
    const nct_json *map = nct_json_get(index, "weight_map");
    if (!nct_json_is_object(map))
        return nct_fail(err, NCT_E_FORMAT, "%s: no object 'weight_map'", path);
    const char *last = "";
    for (const nct_json *item = nct_json_first(map); item; item = nct_json_next(item)) {
        const char *file = nct_json_string(item, NULL);
        if (!file || !*file || strchr(file, '/') || strstr(file, "..") || strlen(file) > 255)
            return nct_fail(err, NCT_E_FORMAT,
                            "%s: tensor '%.200s' is not in a file of this directory: '%.100s'", path,
                            nct_json_key(item), file ? file : "(no name)");
        if (strcmp(file, last) == 0 || names_have(names, file))
            continue;
        if (names->n == max_files)
            return nct_fail(err, NCT_E_FORMAT, "%s: names more than %d files", path, max_files);
        NCT_TRY(names_add(names, file, err));
        last = file;
    }
    return NCT_OK;
}

/* The headers of the files are the truth, but what the index promises must be somewhere. */
static nct_status check_index(const char *path, const nct_json *index, const nct_tensors *tensors,
                              nct_error *err) {
    for (const nct_json *item = nct_json_first(nct_json_get(index, "weight_map")); item;
         item = nct_json_next(item))
        if (!nct_tensors_find(tensors, nct_json_key(item)))
            return nct_fail(err, NCT_E_FORMAT, "%s: tensor '%.200s' is not in %s, where it should be", path,
                            nct_json_key(item), nct_json_string(item, ""));
    return NCT_OK;
}

static nct_status list_directory(const char *path, struct names *names, nct_error *err) {
    DIR *dir = opendir(path);
    if (!dir)
        return nct_fail(err, NCT_E_IO, "%s: %s", path, strerror(errno));
    nct_status status = NCT_OK;
    const struct dirent *entry;
    while (status == NCT_OK && (entry = readdir(dir)))
        if (nct_ends_with(entry->d_name, ".safetensors") && entry->d_name[0] != '.')
            status = names_add(names, entry->d_name, err);
    closedir(dir);
    NCT_TRY(status);
    if (names->n > 1)
        qsort(names->item, names->n, sizeof *names->item, by_name);
    return NCT_OK;
}

static nct_status open_names(const char *dir, const struct names *names, const char *skip, nct_files *files,
                             nct_tensors *tensors, nct_error *err) {
    char path[4096];
    for (size_t i = 0; i < names->n; i++) {
        if (skip && strcmp(names->item[i], skip) == 0)
            continue;
        if (!nct_path_join(path, sizeof path, dir, names->item[i]))
            return nct_fail(err, NCT_E_ARGUMENT, "%s: the path is too long", dir);
        NCT_TRY(open_file(path, files, tensors, err));
    }
    return NCT_OK;
}

static nct_status open_sharded(const char *dir, const char *index_path, nct_files *files,
                               nct_tensors *tensors, nct_error *err) {
    nct_json *index = NULL;
    struct names names = {0};
    NCT_TRY(nct_json_open(index_path, &index, err));
    nct_status status = list_index(index_path, index, &names, err);
    if (status == NCT_OK)
        status = open_names(dir, &names, NULL, files, tensors, err);
    if (status == NCT_OK)
        status = check_index(index_path, index, tensors, err);
    names_close(&names);
    nct_json_close(index);
    return status;
}

static nct_status open_directory(const char *dir, nct_files *files, nct_tensors *tensors, nct_error *err) {
    struct names names = {0};
    nct_status status = list_directory(dir, &names, err);
    /* CPM.cu's rule where a converter left both: the Marlin file holds everything. */
    bool both =
        names_have(&names, "model_gptq.safetensors") && names_have(&names, "model_gptq_marlin.safetensors");
    if (status == NCT_OK)
        status = open_names(dir, &names, both ? "model_gptq.safetensors" : NULL, files, tensors, err);
    if (status == NCT_OK && names.n == 0)
        status = nct_fail(err, NCT_E_FORMAT, "%s: no *.safetensors in this directory", dir);
    names_close(&names);
    return status;
}

nct_status nct_safetensors_open(const char *path, nct_files *files, nct_tensors *tensors, nct_error *err) {
    if (!nct_is_directory(path))
        return open_file(path, files, tensors, err);
    char index[4096];
    if (!nct_path_join(index, sizeof index, path, INDEX_NAME))
        return nct_fail(err, NCT_E_ARGUMENT, "%s: the path is too long", path);
    if (nct_is_file(index))
        return open_sharded(path, index, files, tensors, err);
    return open_directory(path, files, tensors, err);
}
