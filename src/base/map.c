#include "base/map.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/pages.h"

nct_status nct_map_open(const char *path, nct_map *map, nct_error *err) {
    static const uint8_t nothing[1];
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* non-blocking: a FIFO must not hang here */
    if (fd < 0)
        return nct_fail(err, NCT_E_IO, "%s: %s", path, strerror(errno));
    struct stat st;
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        close(fd);
        return nct_fail(err, NCT_E_IO, "%s: not a regular file", path);
    }
    void *data = (void *)(uintptr_t)nothing;
    if (st.st_size > 0)
        data = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
    int why = errno;
    close(fd);
    if (data == MAP_FAILED)
        return nct_fail(err, NCT_E_IO, "%s: cannot map %lld bytes: %s", path, (long long)st.st_size,
                        strerror(why));
    *map = (nct_map){.data = data, .n_bytes = (size_t)st.st_size, .mapped = st.st_size > 0};
    return NCT_OK;
}

void nct_map_close(nct_map *map) {
    if (map->mapped)
        munmap((void *)(uintptr_t)map->data, map->n_bytes);
    *map = (nct_map){0};
}

void nct_map_advise(const nct_map *map, nct_huge_pages huge) {
    if (map->mapped)
        nct_pages_advise((void *)(uintptr_t)map->data, map->n_bytes,
                         huge == NCT_HUGE_OFF ? NCT_HUGE_OFF : NCT_HUGE_ON);
}

void nct_map_rest(const nct_map *map) {
    if (map->mapped)
        madvise((void *)(uintptr_t)map->data, map->n_bytes, MADV_DONTNEED);
}

bool nct_is_directory(const char *path) {
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

bool nct_is_file(const char *path) {
    struct stat st;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode);
}

bool nct_path_join(char *buf, size_t n_buf, const char *dir, const char *name) {
    size_t n = strlen(dir);
    int written = snprintf(buf, n_buf, "%s%s%s", dir, n && dir[n - 1] == '/' ? "" : "/", name);
    return written >= 0 && (size_t)written < n_buf;
}
