/** Files of torch.save, as far as they hold whole numbers: a list of ints, or a tensor of one dimension of int64 or
 *  int32. Read are its zip files (from torch 1.6 on) and bare pickles of protocol 2.
 *
 *  Nothing in a file is believed before it is checked. Of a pickle only the operations and names that lists and
 *  tensors need are known, nothing is ever called, and no operation takes more than its share of memory. Checksums of
 *  zip entries are not compared: torch can be told not to make them.
 */
#ifndef NCT_FORMAT_TORCH_H
#define NCT_FORMAT_TORCH_H

#include "base/bytes.h"

/** Whole numbers as they are found. Zeroed is empty; item [n] is freed with nct_free. */
typedef struct nct_ints {
    int64_t *item;
    size_t n, capacity;
} nct_ints;

static inline nct_status nct_ints_add(nct_ints *ints, int64_t number, nct_error *err) {
    void *p = ints->item;
    NCT_TRY(nct_grow(&p, &ints->capacity, ints->n + 1, sizeof *ints->item, err));
    ints->item = p;
    ints->item[ints->n++] = number;
    return NCT_OK;
}

/** True if a file begins as a zip file or a pickle does. Text never does, nor a row of little-endian uint32 below
 *  2^20. */
bool nct_torch_probe(const void *data, size_t n_bytes);

/** Reads the numbers of such a file; `name` appears in errors. *ints may come out empty; its item is the caller's
 *  to free. NCT_E_FORMAT: the file is damaged. NCT_E_UNSUPPORTED: it holds something else than such numbers. */
nct_status nct_torch_read_ints(const char *name, const void *data, size_t n_bytes, nct_ints *ints,
                               nct_error *err);

/** Appends numbers >= 0 as torch.save writes a list of ints, for torch.load, with or without weights_only. */
nct_status nct_torch_write_ints(const int32_t *ints, size_t n, nct_bytes *out, nct_error *err);

#endif
