#define _GNU_SOURCE
#include "store/folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/mem.h"

static const char journal[] = "journal", page_end[] = ".page", temp_end[] = ".temp";

enum { BEFORE_DIGITS = 16, LINK_DIGITS = 2 * NCT_SHA256_BYTES, JOURNAL_MOST = 1 << 20 };
#define MOST_BYTES UINT64_C(20000000000)

/* ------------------------------------------------------------------ the folder */

/* The folder and those above it. */
static bool make_folders(char *path, bool *made) {
    for (char *c = path + 1; *c; c++)
        if (*c == '/') {
            *c = 0;
            bool there = mkdir(path, 0700) == 0 || errno == EEXIST || errno == EROFS || errno == EACCES;
            *c = '/';
            if (!there)
                return false;
        }
    *made = mkdir(path, 0700) == 0;
    return *made || errno == EEXIST;
}

nct_status nct_folder_open(const char *path, bool make, nct_folder *folder, nct_error *err) {
    nct_folder f = {.fd = -1};
    NCT_TRY(nct_copy_string(&f.path, path, strlen(path), err));
    if (!make || make_folders(f.path, &f.made))
        f.fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (f.fd < 0) {
        nct_fail(err, NCT_E_IO, "%s: %s", path, strerror(errno));
        nct_free(f.path);
        return NCT_E_IO;
    }
    *folder = f;
    return NCT_OK;
}

void nct_folder_close(nct_folder *folder) {
    if (!folder->path)
        return;
    close(folder->fd);
    nct_free(folder->path);
    *folder = (nct_folder){0};
}

/* ------------------------------------------------------------------ names */

static void put_digits(const uint8_t *bytes, size_t n, char *buf) {
    for (size_t i = 0; i < n; i++) {
        buf[2 * i] = "0123456789abcdef"[bytes[i] >> 4];
        buf[2 * i + 1] = "0123456789abcdef"[bytes[i] & 15];
    }
}

void nct_folder_page_name(const nct_link *before, const nct_link *name, char buf[NCT_FOLDER_NAME]) {
    put_digits(before->bytes, BEFORE_DIGITS / 2, buf);
    buf[BEFORE_DIGITS] = '-';
    put_digits(name->bytes, NCT_SHA256_BYTES, buf + BEFORE_DIGITS + 1);
    memcpy(buf + BEFORE_DIGITS + 1 + LINK_DIGITS, page_end, sizeof page_end);
}

bool nct_folder_follows(const char *name, const nct_link *before) {
    char digits[BEFORE_DIGITS];
    put_digits(before->bytes, BEFORE_DIGITS / 2, digits);
    return memcmp(name, digits, sizeof digits) == 0;
}

static bool is_page(const char *name) {
    return strlen(name) == NCT_FOLDER_NAME - 1 && name[BEFORE_DIGITS] == '-' &&
           strspn(name, "0123456789abcdef") == BEFORE_DIGITS &&
           strspn(name + BEFORE_DIGITS + 1, "0123456789abcdef") == LINK_DIGITS &&
           strcmp(name + BEFORE_DIGITS + 1 + LINK_DIGITS, page_end) == 0;
}

static bool is_temp(const char *name) {
    size_t n = strspn(name, "0123456789-");
    return n && n < NCT_FOLDER_NAME - sizeof temp_end && strcmp(name + n, temp_end) == 0;
}

static bool kind_of(const char *name, nct_entry_kind *kind) {
    *kind = is_page(name) ? NCT_ENTRY_PAGE : is_temp(name) ? NCT_ENTRY_TEMP : NCT_ENTRY_JOURNAL;
    return *kind != NCT_ENTRY_JOURNAL || strcmp(name, journal) == 0;
}

/* ------------------------------------------------------------------ looking */

nct_status nct_folder_list(const nct_folder *folder, nct_entry **entries, size_t *n, nct_error *err) {
    int fd = openat(folder->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    if (!dir) {
        nct_fail(err, NCT_E_IO, "%s: %s", folder->path, strerror(errno));
        if (fd >= 0)
            close(fd);
        return NCT_E_IO;
    }
    void *list = NULL;
    size_t count = 0, capacity = 0;
    nct_status status = NCT_OK;
    for (struct dirent *d; status == NCT_OK && (d = readdir(dir));) {
        nct_entry e;
        struct stat st;
        if (!kind_of(d->d_name, &e.kind) || fstatat(folder->fd, d->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0 ||
            !S_ISREG(st.st_mode))
            continue;
        snprintf(e.name, sizeof e.name, "%.*s", NCT_FOLDER_NAME - 1, d->d_name);
        e.n_bytes = (uint64_t)st.st_blocks * 512;
        e.used_ns = (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
        if ((status = nct_grow(&list, &capacity, count + 1, sizeof e, err)) == NCT_OK)
            ((nct_entry *)list)[count++] = e;
    }
    closedir(dir);
    if (status != NCT_OK) {
        nct_free(list);
        return status;
    }
    *entries = list;
    *n = count;
    return NCT_OK;
}

int nct_folder_read(const nct_folder *folder, const char *name) {
    int fd = openat(folder->fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    struct stat st;
    if (fd >= 0 && (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))) {
        close(fd);
        return -1;
    }
    return fd;
}

/* ------------------------------------------------------------------ writing */

nct_status nct_folder_temp(const nct_folder *folder, uint64_t n_bytes, bool allocate,
                           char name[NCT_FOLDER_NAME], int *fd, nct_error *err) {
    struct stat st;
    int file = -1;
    for (unsigned number = 0; file < 0; number++) {
        snprintf(name, NCT_FOLDER_NAME, "%ld-%u%s", (long)getpid(), number, temp_end);
        file = openat(folder->fd, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (file < 0 && errno == EEXIST)
            continue;
        if (file < 0)
            return nct_fail(err, NCT_E_IO, "%s: no page of the cache can be written: %s", folder->path,
                            strerror(errno));
        /* whoever sweeps may have been faster than the lock */
        if (flock(file, LOCK_EX | LOCK_NB) != 0 || fstat(file, &st) != 0 || st.st_nlink == 0) {
            close(file);
            file = -1;
        }
    }
    int why = 0;
    if (allocate) /* a signal must not end it half done */
        while ((why = posix_fallocate(file, 0, (off_t)n_bytes)) == EINTR)
            ;
    else if (ftruncate(file, (off_t)n_bytes) != 0)
        why = errno;
    if (why) {
        nct_folder_remove(folder, name);
        close(file);
        return nct_fail(err, NCT_E_IO, "%s: no room for a page of the cache, %.1f MB: %s", folder->path,
                        (double)n_bytes * 1e-6, strerror(why));
    }
    *fd = file;
    return NCT_OK;
}

nct_status nct_folder_publish(const nct_folder *folder, int fd, const char *temp, const char *name,
                              nct_error *err) {
    if (fsync(fd) != 0 || renameat(folder->fd, temp, folder->fd, name) != 0)
        return nct_fail(err, NCT_E_IO, "%s: a page of the cache cannot be written: %s", folder->path,
                        strerror(errno));
    return NCT_OK;
}

void nct_folder_remove(const nct_folder *folder, const char *name) { unlinkat(folder->fd, name, 0); }

void nct_folder_note(const nct_folder *folder, const char *line) {
    int fd = openat(folder->fd, journal, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    struct stat st;
    if (fd < 0)
        return;
    if (fstat(fd, &st) == 0 && st.st_size > JOURNAL_MOST && ftruncate(fd, 0) != 0) {
        close(fd); /* old counts go, and if they cannot there is nothing to add */
        return;
    }
    ssize_t n = write(fd, line, strlen(line));
    (void)n; /* statistics only */
    close(fd);
}

/* ------------------------------------------------------------------ removing */

/* True if nobody holds the lock of a temporary file. */
static bool is_abandoned(const nct_folder *folder, const char *name) {
    int fd = openat(folder->fd, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0)
        return false;
    bool abandoned = flock(fd, LOCK_EX | LOCK_NB) == 0;
    if (abandoned)
        nct_folder_remove(folder, name); /* under the lock: its writer sees that it is gone */
    close(fd);
    return abandoned;
}

void nct_folder_sweep(const nct_folder *folder) {
    nct_entry *entry = NULL;
    size_t n = 0;
    if (nct_folder_list(folder, &entry, &n, NULL) != NCT_OK)
        return;
    for (size_t i = 0; i < n; i++)
        if (entry[i].kind == NCT_ENTRY_TEMP)
            is_abandoned(folder, entry[i].name);
    nct_free(entry);
}

static int by_digits(const char *a, const char *b) { return memcmp(a, b, BEFORE_DIGITS); }

static int by_link(const void *a, const void *b) {
    const nct_entry *const *x = a, *const *y = b;
    return by_digits((*x)->name + BEFORE_DIGITS + 1, (*y)->name + BEFORE_DIGITS + 1);
}

/* The page that this one follows, of pages sorted by_link; NULL: it is the first, or that one is gone. */
static nct_entry *find_before(nct_entry *const *page, size_t n, const char *name) {
    size_t low = 0, high = n;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (by_digits(page[middle]->name + BEFORE_DIGITS + 1, name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low < n && by_digits(page[low]->name + BEFORE_DIGITS + 1, name) == 0 ? page[low] : NULL;
}

/* A page is of no use without those before it, so these count as used later than it. */
static void use_those_before(nct_entry *entry, size_t n) {
    void *p = NULL;
    size_t n_pages = 0;
    if (nct_alloc(&p, n, sizeof(nct_entry *), NULL) != NCT_OK)
        return; /* then what was used least goes all the same */
    nct_entry **page = p;
    for (size_t i = 0; i < n; i++)
        if (entry[i].kind == NCT_ENTRY_PAGE)
            page[n_pages++] = &entry[i];
    if (n_pages)
        qsort(page, n_pages, sizeof *page, by_link);
    for (size_t i = 0; i < n_pages; i++) {
        nct_entry *e = page[i], *before;
        for (size_t steps = 0; steps < n_pages;
             steps++, e = before) { /* names that were made up may go in a ring */
            before = find_before(page, n_pages, e->name);
            if (!before || before->used_ns > e->used_ns)
                break;
            before->used_ns = e->used_ns + 1;
        }
    }
    nct_free(page);
}

static int by_use(const void *a, const void *b) {
    const nct_entry *x = a, *y = b;
    return (x->used_ns > y->used_ns) - (x->used_ns < y->used_ns);
}

bool nct_folder_make_room(const nct_folder *folder, uint64_t n_bytes, uint64_t max_bytes, int64_t since_ns,
                          uint64_t *n_left) {
    nct_entry *entry = NULL;
    size_t n = 0;
    uint64_t total = 0;
    if (nct_folder_list(folder, &entry, &n, NULL) != NCT_OK)
        return false;
    for (size_t i = 0; i < n; i++)
        total += entry[i].n_bytes;
    if (n && total + n_bytes > max_bytes) {
        use_those_before(entry, n);
        qsort(entry, n, sizeof *entry, by_use);
    }
    for (size_t i = 0; i < n && total + n_bytes > max_bytes; i++)
        if (entry[i].kind == NCT_ENTRY_PAGE && entry[i].used_ns < since_ns) {
            nct_folder_remove(folder, entry[i].name);
            total -= entry[i].n_bytes;
        }
    nct_free(entry);
    *n_left = total;
    return total + n_bytes <= max_bytes;
}

uint64_t nct_folder_default_max(const nct_folder *folder, uint64_t used_bytes) {
    struct statvfs fs;
    if (fstatvfs(folder->fd, &fs) != 0)
        return MOST_BYTES;
    uint64_t tenth = ((uint64_t)fs.f_bavail * fs.f_frsize + used_bytes) / 10;
    return tenth < MOST_BYTES ? tenth : MOST_BYTES;
}

nct_status nct_folder_clear(nct_folder *folder, uint64_t *n_bytes, nct_error *err) {
    nct_entry *entry = NULL;
    size_t n = 0;
    *n_bytes = 0;
    NCT_TRY(nct_folder_list(folder, &entry, &n, err));
    for (size_t i = 0; i < n; i++)
        if (unlinkat(folder->fd, entry[i].name, 0) == 0)
            *n_bytes += entry[i].n_bytes;
        else if (errno != ENOENT) {
            nct_fail(err, NCT_E_IO, "%s/%s: %s", folder->path, entry[i].name, strerror(errno));
            nct_free(entry);
            return NCT_E_IO;
        }
    nct_free(entry);
    rmdir(folder->path); /* unless something else lies there */
    return NCT_OK;
}
