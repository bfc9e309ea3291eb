/** Safetensors: a JSON header that names tensors, then their bytes (formats.md 4). */
#ifndef NCT_FORMAT_SAFETENSORS_H
#define NCT_FORMAT_SAFETENSORS_H

#include "format/tensors.h"

/** Longest header that the format allows. */
#define NCT_SAFETENSORS_MAX_HEADER 100000000

/** Checks a file that lies in memory and adds its tensors, which borrow `path` and the data. Refused with
 *  NCT_E_FORMAT: a header that does not fit, entries whose bytes do not match type and shape, overlaps,
 *  holes, trailing bytes, names met before. NCT_E_UNSUPPORTED: an element type that is not known. */
nct_status nct_safetensors_parse(const char *path, const uint8_t *data, size_t n_bytes, nct_tensors *tensors,
                                 nct_error *err);

/** True if the bytes could be a safetensors file: a plausible length, then '{'. */
bool nct_safetensors_probe(const uint8_t *data, size_t n_bytes);

/** Opens a .safetensors file, or those of a directory: the ones that model.safetensors.index.json lists if
 *  it exists, else every *.safetensors in it (sub-directories are not looked at). */
nct_status nct_safetensors_open(const char *path, nct_files *files, nct_tensors *tensors, nct_error *err);

#endif
