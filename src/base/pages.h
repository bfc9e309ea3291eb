/** Page-granular memory from the operating system: address space first, memory when touched. */
#ifndef NCT_BASE_PAGES_H
#define NCT_BASE_PAGES_H

#include "base/mem.h"

/** Zeroed, page-aligned, readable and writable memory that is committed as it is touched. */
nct_status nct_pages_open(void **p, size_t n_bytes, nct_error *err);
void nct_pages_close(void *p, size_t n_bytes); /* NULL is fine */

/** Address space without memory: nothing in it may be touched until committed. */
nct_status nct_pages_reserve(void **p, size_t n_bytes, nct_error *err);

/** Makes [offset, offset + n_bytes) of a reserved range usable, zeroed where it was not before. The range
 *  may be widened to page borders. */
nct_status nct_pages_commit(void *p, size_t offset, size_t n_bytes, nct_error *err);

/** Puts n_bytes of a file, from its beginning on, in the place of [offset, offset + n_bytes) of a reserved range; both
 *  are multiples of the system's page size. Shared: what is written there is the file's. Else the file stays as it is,
 *  and what is written becomes memory of one's own. The file must not become shorter while it is mapped. */
nct_status nct_pages_map(void *p, size_t offset, size_t n_bytes, int fd, bool shared, nct_error *err);

/** Says that all of [offset, offset + n_bytes) of committed memory will be written at once: large pages if possible. */
void nct_pages_expect(void *p, size_t offset, size_t n_bytes);

/** Undoes nct_pages_map: the range is reserved again, nothing in it may be touched. */
void nct_pages_unmap(void *p, size_t offset, size_t n_bytes);

/** Bytes of the range that are in memory now, in whole pages; offset as in nct_pages_map. */
size_t nct_pages_resident(const void *p, size_t offset, size_t n_bytes);

/** Maps [p, p + n_bytes) of a file's mapping in one go, which is cheaper than page by page as it is read, if it is in
 *  memory already: a few of its pages are asked. Else nothing is done, and nothing is read from the file. */
void nct_pages_populate(const void *p, size_t n_bytes);

/** Bytes of the range, mapped from files, that were written and are not on the disk yet, as far as this process has them
 *  mapped; 0 if it cannot be told. */
size_t nct_pages_dirty(const void *p, size_t n_bytes);

/** Says that blocks of a mapped file will be read here and there: nothing around what is touched is read from the disk
 *  unless it is asked for. offset as in nct_pages_map. */
void nct_pages_scattered(void *p, size_t offset, size_t n_bytes);

/** Asks for [p, p + n_bytes) of mapped files to be read before it is touched; does not wait. */
void nct_pages_want(const void *p, size_t n_bytes);

/** A number that changes when this process has had something read from the disk. Costs a system call. */
uint64_t nct_pages_reads(void);

/** Gives the memory of [offset, offset + n_bytes) back; it must be committed again before use. Only whole
 *  pages inside the range are given back. */
void nct_pages_discard(void *p, size_t offset, size_t n_bytes);

/* ------------------------------------------------------------------ huge pages */

enum { NCT_HUGE_PAGE = 2 << 20 };

/** As nct_pages_open. ON: whatever fills huge pages begins on the border of one and is advised. */
nct_status nct_pages_open_as(void **p, size_t n_bytes, nct_huge_pages huge, nct_error *err);

/** Asks for huge pages (ON) or for none of them (OFF) where nothing has been touched yet; AUTO leaves it to the
 *  system. Advice only: the system's switch decides. p from nct_pages_open or nct_pages_reserve. */
void nct_pages_advise(void *p, size_t n_bytes, nct_huge_pages huge);

/** The system's switch: "always", "madvise", "never"; "" where there is none. */
const char *nct_pages_huge_system(void);

/** Bytes of this process's memory, files included, that lie in huge pages now; 0 if it cannot be told. */
uint64_t nct_pages_huge_bytes(void);

#endif
