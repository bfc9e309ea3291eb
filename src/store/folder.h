/** A folder of page files that several processes share, and that is private to its user (0700, files 0600).
 *
 *      BEFORE-NAME.page   a whole file: 16 digits of the link before its tokens, 64 digits of the link after them
 *      PID-NUMBER.temp    being written, under a lock of its writer; without one, left behind
 *      journal            a line for each process that took or wrote pages
 *
 *  A file appears under its name only when it is whole, and is never changed then. Removing it does not disturb whoever
 *  has it open. Other files in the folder are left alone.
 */
#ifndef NCT_STORE_FOLDER_H
#define NCT_STORE_FOLDER_H

#include "store/record.h"

enum { NCT_FOLDER_NAME = 16 + 1 + 64 + 5 + 1 };

typedef struct nct_folder {
    char *path; /* for messages */
    int fd;
    bool made; /* by this call of nct_folder_open */
} nct_folder;

/** Opens a folder, making it and those above it (0700) if `make`. NCT_E_IO. Zeroed is closed. */
nct_status nct_folder_open(const char *path, bool make, nct_folder *folder, nct_error *err);
void nct_folder_close(nct_folder *folder); /* zeroed is fine */
static inline bool nct_folder_is_open(const nct_folder *folder) { return folder->path != NULL; }

typedef enum nct_entry_kind { NCT_ENTRY_PAGE, NCT_ENTRY_TEMP, NCT_ENTRY_JOURNAL } nct_entry_kind;
typedef struct nct_entry {
    char name[NCT_FOLDER_NAME];
    nct_entry_kind kind;
    uint64_t n_bytes; /* that it takes on the disk */
    int64_t used_ns;  /* when it was last written or taken, since 1970 */
} nct_entry;

/** Our files in the folder, in no order; *entries is freed with nct_free. What vanishes meanwhile is left out. */
nct_status nct_folder_list(const nct_folder *folder, nct_entry **entries, size_t *n, nct_error *err);

void nct_folder_page_name(const nct_link *before, const nct_link *name, char buf[NCT_FOLDER_NAME]);
/** True if a page of this name follows `before`. */
bool nct_folder_follows(const char *name, const nct_link *before);

/** A new temporary file, locked as long as *fd is open. allocate: room for n_bytes is set aside on the disk, so that
 *  writing to a mapping of it cannot fail; else it only becomes that long. NCT_E_IO. */
nct_status nct_folder_temp(const nct_folder *folder, uint64_t n_bytes, bool allocate,
                           char name[NCT_FOLDER_NAME], int *fd, nct_error *err);
/** Flushes a temporary file to the disk and gives it its name, in place of what had it. */
nct_status nct_folder_publish(const nct_folder *folder, int fd, const char *temp, const char *name,
                              nct_error *err);
void nct_folder_remove(const nct_folder *folder, const char *name);

/** A page file for reading, -1 if there is none. */
int nct_folder_read(const nct_folder *folder, const char *name);

/** Removes what dead processes left behind. */
void nct_folder_sweep(const nct_folder *folder);

/** Removes pages, least recently used first but none before those that follow it, until those that are left and n_bytes
 *  more take at most max_bytes; pages used since `since_ns` stay. *n_left: bytes of those left. False if there is no such room. */
bool nct_folder_make_room(const nct_folder *folder, uint64_t n_bytes, uint64_t max_bytes, int64_t since_ns,
                          uint64_t *n_left);

/** What may be taken by default: a tenth of the free disk and of what is there already, at most 20 GB. */
uint64_t nct_folder_default_max(const nct_folder *folder, uint64_t used_bytes);

/** Removes all our files, and the folder if it is empty then. *n_bytes: what they took. */
nct_status nct_folder_clear(nct_folder *folder, uint64_t *n_bytes, nct_error *err);

/** Adds a line to the journal; failing silently. */
void nct_folder_note(const nct_folder *folder, const char *line);

#endif
