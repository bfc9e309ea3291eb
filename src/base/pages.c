#define _GNU_SOURCE
#include "base/pages.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

static nct_status map_anonymous(void **p, size_t n_bytes, int protection, int flags, nct_error *err) {
    void *block = MAP_FAILED;
#ifdef NCT_TESTING
    if (atomic_load(&nct_mem_fail_in) >= 0 && atomic_fetch_sub(&nct_mem_fail_in, 1) == 0)
        errno = ENOMEM;
    else
#endif
        block = mmap(NULL, n_bytes ? n_bytes : 1, protection, MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);
    if (block == MAP_FAILED)
        return nct_fail(err, NCT_E_MEMORY, "%zu bytes of memory were refused: %s", n_bytes, strerror(errno));
    *p = block;
    return NCT_OK;
}

nct_status nct_pages_open(void **p, size_t n_bytes, nct_error *err) {
    return map_anonymous(p, n_bytes, PROT_READ | PROT_WRITE, 0, err);
}

nct_status nct_pages_reserve(void **p, size_t n_bytes, nct_error *err) {
    return map_anonymous(p, n_bytes, PROT_NONE, MAP_NORESERVE, err);
}

void nct_pages_close(void *p, size_t n_bytes) {
    if (p)
        munmap(p, n_bytes ? n_bytes : 1);
}

nct_status nct_pages_commit(void *p, size_t offset, size_t n_bytes, nct_error *err) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE), from = offset / page * page;
    size_t to = (offset + n_bytes + page - 1) / page * page;
#ifdef NCT_TESTING
    if (atomic_load(&nct_mem_fail_in) >= 0 && atomic_fetch_sub(&nct_mem_fail_in, 1) == 0)
        return nct_fail(err, NCT_E_MEMORY, "%zu bytes of memory were refused", n_bytes);
#endif
    if (mprotect((uint8_t *)p + from, to - from, PROT_READ | PROT_WRITE) != 0)
        return nct_fail(err, NCT_E_MEMORY, "%zu bytes of memory were refused: %s", n_bytes, strerror(errno));
    return NCT_OK;
}

nct_status nct_pages_map(void *p, size_t offset, size_t n_bytes, int fd, bool shared, nct_error *err) {
    int flags = MAP_FIXED | (shared ? MAP_SHARED : MAP_PRIVATE | MAP_NORESERVE);
    if (mmap((uint8_t *)p + offset, n_bytes, PROT_READ | PROT_WRITE, flags, fd, 0) == MAP_FAILED)
        return nct_fail(err, NCT_E_MEMORY, "mapping %zu bytes of a file was refused: %s", n_bytes,
                        strerror(errno));
    return NCT_OK;
}

void nct_pages_expect(void *p, size_t offset, size_t n_bytes) {
#ifdef MADV_HUGEPAGE
    madvise((uint8_t *)p + offset, n_bytes, MADV_HUGEPAGE); /* advice: what is refused is only slower */
#else
    (void)p, (void)offset, (void)n_bytes;
#endif
}

void nct_pages_unmap(void *p, size_t offset, size_t n_bytes) {
    void *again = mmap((uint8_t *)p + offset, n_bytes, PROT_NONE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
    if (again == MAP_FAILED) /* too many mappings to split one: what was there stays, out of reach */
        mprotect((uint8_t *)p + offset, n_bytes, PROT_NONE);
}

size_t nct_pages_resident(const void *p, size_t offset, size_t n_bytes) {
    enum { AT_ONCE = 1024 };
    size_t page = (size_t)sysconf(_SC_PAGESIZE), resident = 0;
    unsigned char in[AT_ONCE];
    const uint8_t *from = (const uint8_t *)p + offset;
    for (size_t left = n_bytes / page; left;) {
        size_t n = left < AT_ONCE ? left : AT_ONCE;
        if (mincore((void *)(uintptr_t)from, n * page, in) == 0)
            for (size_t i = 0; i < n; i++)
                resident += (in[i] & 1) * page;
        from += n * page;
        left -= n;
    }
    return resident;
}

void nct_pages_populate(const void *p, size_t n_bytes) {
#ifdef MADV_POPULATE_READ
    enum { ASKED = 8 };
    const size_t page = (size_t)sysconf(_SC_PAGESIZE), before = (uintptr_t)p % page;
    const uint8_t *from = (const uint8_t *)p - before;
    const size_t n_pages = (n_bytes + before + page - 1) / page;
    for (size_t i = 0; i < ASKED && n_pages; i++)
        if (nct_pages_resident(from, (n_pages - 1) * i / (ASKED - 1) * page, page) == 0)
            return;
    madvise((void *)(uintptr_t)from, n_pages * page, MADV_POPULATE_READ); /* without it they come one by one */
#else
    (void)p, (void)n_bytes;
#endif
}

size_t nct_pages_dirty(const void *p, size_t n_bytes) {
    uintptr_t low = (uintptr_t)p, high = low + n_bytes;
    size_t dirty = 0, anonymous = 0, kb;
    bool inside = false;
    char line[512], key[32];
    unsigned long from, to;
    FILE *f = fopen("/proc/self/smaps", "re");
    if (!f)
        return 0;
    while (fgets(line, sizeof line, f))
        if (sscanf(line, "%lx-%lx ", &from, &to) == 2)
            inside = from < high && to > low;
        else if (inside && sscanf(line, "%31[A-Za-z_]: %zu kB", key, &kb) == 2) {
            if (strcmp(key, "Private_Dirty") == 0 || strcmp(key, "Shared_Dirty") == 0)
                dirty += kb * 1024;
            else if (strcmp(key, "Anonymous") == 0) /* copies on writing are nobody's file */
                anonymous += kb * 1024;
        }
    fclose(f);
    return dirty > anonymous ? dirty - anonymous : 0;
}

void nct_pages_scattered(void *p, size_t offset, size_t n_bytes) {
    madvise((uint8_t *)p + offset, n_bytes, MADV_RANDOM);
}

void nct_pages_want(const void *p, size_t n_bytes) {
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), from = (uintptr_t)p / page * page;
    madvise((void *)from, (uintptr_t)p + n_bytes - from,
            MADV_WILLNEED); /* advice: refused, it is only slower */
}

uint64_t nct_pages_reads(void) {
    struct rusage use;
    if (getrusage(RUSAGE_SELF, &use) != 0)
        return 0;
    /* what a fault waited for, and what was read ahead, which no fault tells of */
    return (uint64_t)use.ru_majflt + (uint64_t)use.ru_inblock;
}

void nct_pages_discard(void *p, size_t offset, size_t n_bytes) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE), from = (offset + page - 1) / page * page;
    size_t to = (offset + n_bytes) / page * page;
    if (to <= from)
        return;
    madvise((uint8_t *)p + from, to - from, MADV_DONTNEED);
    mprotect((uint8_t *)p + from, to - from, PROT_NONE);
}

/* ------------------------------------------------------------------ huge pages */

nct_status nct_pages_open_as(void **p, size_t n_bytes, nct_huge_pages huge, nct_error *err) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE), wanted, more;
    if (huge != NCT_HUGE_ON || n_bytes < NCT_HUGE_PAGE || !nct_add_size(n_bytes, page - 1, &wanted) ||
        !nct_add_size(wanted, NCT_HUGE_PAGE, &more)) {
        NCT_TRY(nct_pages_open(p, n_bytes, err));
        nct_pages_advise(*p, n_bytes, huge);
        return NCT_OK;
    }
    /* room for the border, and what lies around goes back */
    void *block = NULL;
    NCT_TRY(nct_pages_open(&block, more, err));
    wanted = wanted / page * page;
    size_t before = (NCT_HUGE_PAGE - (uintptr_t)block % NCT_HUGE_PAGE) % NCT_HUGE_PAGE;
    uint8_t *start = (uint8_t *)block + before;
    if (before)
        munmap(block, before);
    munmap(start + wanted, more - before - wanted);
    nct_pages_advise(start, n_bytes, huge);
    *p = start;
    return NCT_OK;
}

void nct_pages_advise(void *p, size_t n_bytes, nct_huge_pages huge) {
#ifdef MADV_HUGEPAGE
    if (huge != NCT_HUGE_AUTO && n_bytes)
        madvise(p, n_bytes, huge == NCT_HUGE_ON ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
#else
    (void)p, (void)n_bytes, (void)huge;
#endif
}

const char *nct_pages_huge_system(void) {
    static const char *const known[] = {"always", "madvise", "never"};
    char line[64] = "", word[16] = "";
    FILE *f = fopen("/sys/kernel/mm/transparent_hugepage/enabled", "re");
    if (!f)
        return "";
    if (!fgets(line, sizeof line, f))
        line[0] = 0;
    fclose(f);
    char *open = strchr(line, '['); /* "always [madvise] never" */
    if (open)
        sscanf(open + 1, "%15[a-z]", word);
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strcmp(word, known[i]) == 0)
            return known[i];
    return "";
}

uint64_t nct_pages_huge_bytes(void) {
    char line[128];
    unsigned long long kib, sum = 0;
    FILE *f = fopen("/proc/self/smaps_rollup", "re");
    if (!f)
        return 0;
    while (fgets(line, sizeof line, f))
        if (sscanf(line, "AnonHugePages: %llu", &kib) == 1 || sscanf(line, "FilePmdMapped: %llu", &kib) == 1)
            sum += kib;
    fclose(f);
    return (uint64_t)sum * 1024;
}
