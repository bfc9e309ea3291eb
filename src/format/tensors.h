/** The tensors of a checkpoint by name, and the mapped files they lie in: what every container fills and
 *  format.c looks roles up in. */
#ifndef NCT_FORMAT_TENSORS_H
#define NCT_FORMAT_TENSORS_H

#include "base/map.h"
#include "format/format.h"

/** Element types. The numbers of those that ggml has are ggml's; the others only occur in safetensors. */
enum {
    NCT_TYPE_I8 = 24,
    NCT_TYPE_I16 = 25,
    NCT_TYPE_I32 = 26,
    NCT_TYPE_I64 = 27,
    NCT_TYPE_F64 = 28,
    NCT_TYPE_BOOL = 1000,
    NCT_TYPE_U8,
    NCT_TYPE_U16,
    NCT_TYPE_U32,
    NCT_TYPE_U64,
    NCT_TYPE_F8_E4M3,
    NCT_TYPE_F8_E5M2,
};

/** The type's name ("BF16", "Q4_K"), or "?" for a number that is none. */
const char *nct_type_name(uint32_t type);

/** Mapped files. Zeroed is empty. Paths do not move while the list lives. */
typedef struct nct_files {
    struct nct_file {
        char *path;
        nct_map map;
    } * item;
    size_t n, capacity;
} nct_files;

/** Maps a file; *file is borrowed until the next call. */
nct_status nct_files_open(nct_files *files, const char *path, const struct nct_file **file, nct_error *err);
void nct_files_close(nct_files *files);

/** Borrows its path and its data; the name belongs to the table. */
typedef struct nct_tensor {
    const char *name;
    const char *path; /* the file, for messages */
    uint32_t type;
    size_t n_dims, dims[NCT_MAX_DIMS]; /* slowest first */
    const uint8_t *data;
    size_t n_bytes;
} nct_tensor;

/** A table with hashed names. Zeroed is empty. */
typedef struct nct_tensors {
    nct_tensor *item; /* in the order added */
    size_t n, capacity;
    uint32_t *slot; /* index + 1; 0: free */
    size_t n_slots;
} nct_tensors;

/** Adds a tensor, copying the name (n_name bytes, not NUL-terminated). A name that is there already is
 *  NCT_E_FORMAT. */
nct_status nct_tensors_add(nct_tensors *tensors, const nct_tensor *tensor, const char *name, size_t n_name,
                           nct_error *err);
const nct_tensor *nct_tensors_find(const nct_tensors *tensors, const char *name); /* NULL: none */
void nct_tensors_close(nct_tensors *tensors);

/** Checks that tensors [first, n) do not share bytes: NCT_E_FORMAT naming two that do. */
nct_status nct_tensors_check_overlap(const nct_tensors *tensors, size_t first, nct_error *err);

#endif
