/** Files mapped read-only. */
#ifndef NCT_BASE_MAP_H
#define NCT_BASE_MAP_H

#include "base/status.h"

typedef struct nct_map {
    const uint8_t *data; /* page-aligned; a valid address even for an empty file */
    size_t n_bytes;
    bool mapped;
} nct_map;

/** Maps a regular file. A directory, a device or a missing file is NCT_E_IO with the reason. */
nct_status nct_map_open(const char *path, nct_map *map, nct_error *err);
void nct_map_close(nct_map *map); /* zeroed is fine */

/** Asks for huge pages (AUTO, ON) or for none (OFF) before much has been read. Where the file system keeps files in
 *  huge pages, they come with the next reading from the disk, stay in the page cache and are shared. */
void nct_map_advise(const nct_map *map, nct_huge_pages huge);

/** Lets go of what was read: it counts no longer as this process's and is mapped again when it is next read. */
void nct_map_rest(const nct_map *map);

/** True if path names a directory; false also if it does not exist. */
bool nct_is_directory(const char *path);
bool nct_is_file(const char *path);

/** Joins a directory and a relative name into buf. False if it does not fit. */
bool nct_path_join(char *buf, size_t n_buf, const char *dir, const char *name);

#endif
