/* Writing a bundle: sections as they come, then the table, then the header. */
#define _GNU_SOURCE /* flock */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/map.h"
#include "format/nct_file.h"

struct nct_bundle_writer {
    char *path, *part;
    int fd;        /* -1: not open */
    size_t offset; /* end of what is written */
    nct_section *section;
    size_t n, capacity;
};

/* ------------------------------------------------------------------ the file */

static nct_status io_fail(const char *path, const char *what, nct_error *err) {
    return nct_fail(err, NCT_E_IO, "%s: %s: %s", path, what, strerror(errno));
}

static nct_status write_at(const nct_bundle_writer *w, size_t offset, const void *data, size_t n,
                           nct_error *err) {
    enum { PIECE = 1 << 26 };
    for (size_t done = 0; done < n;) {
        ssize_t written = pwrite(w->fd, (const uint8_t *)data + done, n - done < PIECE ? n - done : PIECE,
                                 (off_t)(offset + done));
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            return io_fail(w->part, "cannot be written", err);
        done += (size_t)written;
    }
    return NCT_OK;
}

/* The directory of a path, for its disk and for making a rename last. */
static void directory_of(const char *path, char *directory, size_t n_directory) {
    const char *slash = strrchr(path, '/');
    snprintf(directory, n_directory, "%.*s", slash ? (int)(slash - path) + 1 : 1, slash ? path : ".");
}

static nct_status check_room(const char *path, uint64_t n_bytes, nct_error *err) {
    char directory[4096];
    struct statvfs disk;
    directory_of(path, directory, sizeof directory);
    if (statvfs(directory, &disk) != 0)
        return io_fail(directory, "cannot be written to", err);
    uint64_t room = (uint64_t)disk.f_bavail * disk.f_frsize;
    if (room < n_bytes)
        return nct_fail(err, NCT_E_IO, "%s: needs %llu MiB on the disk, there are %llu MiB", path,
                        (unsigned long long)(n_bytes >> 20) + 1, (unsigned long long)(room >> 20));
    return NCT_OK;
}

nct_status nct_bundle_create(const char *path, uint64_t n_bytes, nct_bundle_writer **writer, nct_error *err) {
    struct stat st;
    size_t length = strlen(path);
    if (length == 0 || length > 4000)
        return nct_fail(err, NCT_E_ARGUMENT, "a path of %zu bytes cannot be written to", length);
    if (stat(path, &st) == 0 && !S_ISREG(st.st_mode))
        return nct_fail(err, NCT_E_ARGUMENT, "%s: not a regular file", path);
    NCT_TRY(check_room(path, n_bytes, err));
    void *block = NULL;
    NCT_TRY(nct_alloc(&block, 1, sizeof(nct_bundle_writer), err));
    nct_bundle_writer *w = block;
    w->fd = -1;
    w->offset = NCT_BUNDLE_HEADER_BYTES;
    nct_bytes part = {0};
    nct_status status = nct_copy_string(&w->path, path, length, err);
    if (status == NCT_OK)
        status = nct_bytes_printf(&part, err, "%s.part", path);
    if (status == NCT_OK)
        status = nct_copy_string(&w->part, part.data, part.n, err);
    nct_bytes_reset(&part);
    if (status == NCT_OK && (w->fd = open(w->part, O_RDWR | O_CREAT | O_CLOEXEC, 0666)) < 0)
        status = io_fail(w->part, "cannot be written", err);
    /* What an interrupted run left is overwritten, what a running one writes is not. */
    if (status == NCT_OK && flock(w->fd, LOCK_EX | LOCK_NB) != 0) {
        status = errno == EWOULDBLOCK ? nct_fail(err, NCT_E_IO, "%s: another process is writing it", w->part)
                                      : io_fail(w->part, "cannot be locked", err);
        close(w->fd);
        w->fd = -1;
    }
    if (status == NCT_OK && ftruncate(w->fd, 0) != 0)
        status = io_fail(w->part, "cannot be written", err);
    if (status == NCT_OK)
        *writer = w;
    else
        nct_bundle_abandon(w);
    return status;
}

void nct_bundle_abandon(nct_bundle_writer *w) {
    if (!w)
        return;
    if (w->fd >= 0) {
        unlink(w->part);
        close(w->fd);
    }
    nct_free(w->path);
    nct_free(w->part);
    nct_free(w->section);
    nct_free(w);
}

/* ------------------------------------------------------------------ sections */

static void store32(uint8_t *p, uint32_t x) {
    for (int i = 0; i < 4; i++)
        p[i] = (uint8_t)(x >> 8 * i);
}
static void store64(uint8_t *p, uint64_t x) {
    store32(p, (uint32_t)x);
    store32(p + 4, (uint32_t)(x >> 32));
}

nct_status nct_bundle_add(nct_bundle_writer *w, const nct_section *section, const void *data, size_t n,
                          nct_error *err) {
    for (size_t i = 0; i < w->n; i++)
        if (nct_section_order(&w->section[i], section) == 0)
            return nct_fail(err, NCT_E_ARGUMENT, "%s: a section is given twice", w->path);
    if (w->n == NCT_BUNDLE_MAX_SECTIONS)
        return nct_fail(err, NCT_E_UNSUPPORTED, "%s: more than %d sections", w->path,
                        NCT_BUNDLE_MAX_SECTIONS);
    void *grown = w->section;
    NCT_TRY(nct_grow(&grown, &w->capacity, w->n + 1, sizeof *w->section, err));
    w->section = grown;
    nct_section s = *section;
    s.offset = w->offset;
    s.n_bytes = n;
    nct_sha256_of(data, n, s.sha256);
    NCT_TRY(write_at(w, s.offset, data, n, err));
    w->section[w->n++] = s;
    w->offset = (s.offset + n + NCT_BUNDLE_ALIGN - 1) / NCT_BUNDLE_ALIGN * NCT_BUNDLE_ALIGN;
    return NCT_OK;
}

nct_status nct_bundle_add_reference(nct_bundle_writer *writer, nct_reference_of of,
                                    const nct_reference *reference, nct_error *err) {
    nct_bytes out = {0};
    uint8_t head[NCT_REFERENCE_HEAD] = {0}, id[4];
    store32(head, (uint32_t)reference->n_ids);
    store32(head + 4, (uint32_t)reference->n_vocab);
    memcpy(head + 8, reference->isa, sizeof reference->isa - 1);
    nct_status status = nct_bytes_add(&out, head, sizeof head, err);
    for (size_t i = 0; i < reference->n_ids && status == NCT_OK; i++) {
        store32(id, (uint32_t)reference->id[i]);
        status = nct_bytes_add(&out, id, sizeof id, err);
    }
    if (status == NCT_OK)
        status = nct_bytes_add(&out, reference->logits, reference->n_vocab * sizeof(float), err);
    if (status == NCT_OK)
        status = nct_bundle_add(writer, &(nct_section){.kind = NCT_SECTION_REFERENCE, .role = (uint32_t)of},
                                out.data, out.n, err);
    nct_bytes_reset(&out);
    return status;
}

/* ------------------------------------------------------------------ table and header */

static void write_entry(uint8_t e[NCT_BUNDLE_ENTRY_BYTES], const nct_section *s) {
    const nct_panels *p = &s->ready.panels;
    memset(e, 0, NCT_BUNDLE_ENTRY_BYTES);
    store32(e, s->kind);
    store32(e + 4, s->role);
    store32(e + 8, s->layer);
    store32(e + 12, (uint32_t)p->kind);
    store64(e + 16, s->offset);
    store64(e + 24, s->n_bytes);
    store64(e + 32, s->n_rows);
    store64(e + 40, s->n_cols);
    store32(e + 48, (uint32_t)p->group);
    store32(e + 52, (uint32_t)p->bias);
    store32(e + 56, (p->has_min ? NCT_BUNDLE_HAS_MIN : 0u) | (p->scale_f32 ? NCT_BUNDLE_SCALE_F32 : 0u));
    store64(e + 64, p->panel_bytes);
    memcpy(e + 72, s->ready.label, sizeof s->ready.label);
    memcpy(e + 104, s->sha256, sizeof s->sha256);
}

static int by_key(const void *a, const void *b) { return nct_section_order(a, b); }

static nct_status write_table(nct_bundle_writer *w, uint8_t header[NCT_BUNDLE_HEADER_BYTES], nct_error *err) {
    void *block = NULL;
    size_t n_bytes = w->n * NCT_BUNDLE_ENTRY_BYTES;
    NCT_TRY(nct_alloc(&block, w->n, NCT_BUNDLE_ENTRY_BYTES, err));
    uint8_t *table = block;
    if (w->n)
        qsort(w->section, w->n, sizeof *w->section, by_key);
    for (size_t i = 0; i < w->n; i++)
        write_entry(table + i * NCT_BUNDLE_ENTRY_BYTES, &w->section[i]);
    memset(header, 0, NCT_BUNDLE_HEADER_BYTES);
    memcpy(header, nct_bundle_magic, sizeof nct_bundle_magic);
    store32(header + 8, NCT_BUNDLE_VERSION);
    store32(header + 12, NCT_BUNDLE_BYTE_ORDER);
    store32(header + 16, NCT_BUNDLE_LAYOUT);
    store32(header + 20, (uint32_t)w->n);
    store64(header + 24, w->offset + n_bytes);
    store64(header + 32, w->offset);
    nct_sha256_of(table, n_bytes, header + 40);
    nct_sha256_of(header, NCT_BUNDLE_HEADER_SUM, header + NCT_BUNDLE_HEADER_SUM);
    nct_status status = write_at(w, w->offset, table, n_bytes, err);
    nct_free(block);
    w->offset += n_bytes;
    return status;
}

/* Makes the rename outlive a power cut; where directories cannot be flushed there is nothing to be done. */
static void flush_directory(const char *path) {
    char directory[4096];
    directory_of(path, directory, sizeof directory);
    int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return;
    fsync(fd);
    close(fd);
}

/* Reads the file back as whoever uses it will, and all of it: from the disk and not from what the system still
 * remembers of the writing, which lies in small pages besides. */
static nct_status read_back(const nct_bundle_writer *w, nct_pool *pool, nct_error *err) {
    nct_map map;
    nct_bundle *bundle = NULL;
    posix_fadvise(w->fd, 0, 0, POSIX_FADV_DONTNEED);
    NCT_TRY(nct_map_open(w->part, &map, err));
    nct_map_advise(&map, NCT_HUGE_AUTO);
    nct_status status = nct_bundle_parse(w->part, map.data, map.n_bytes, &bundle, err);
    if (status == NCT_OK)
        status = nct_bundle_verify(bundle, pool, NULL, NULL, err);
    nct_bundle_close(bundle);
    nct_map_close(&map);
    return status;
}

nct_status nct_bundle_finish(nct_bundle_writer *w, nct_pool *pool, uint64_t *n_bytes, nct_error *err) {
    uint8_t header[NCT_BUNDLE_HEADER_BYTES];
    nct_status status = write_table(w, header, err);
    /* the header last: without it the file is no bundle */
    if (status == NCT_OK)
        status = write_at(w, 0, header, sizeof header, err);
    if (status == NCT_OK && fsync(w->fd) != 0)
        status = io_fail(w->part, "cannot be flushed", err);
    if (status == NCT_OK)
        status = read_back(w, pool, err);
    if (status == NCT_OK && rename(w->part, w->path) != 0)
        status = io_fail(w->part, "cannot be renamed", err);
    if (status != NCT_OK) {
        nct_bundle_abandon(w);
        return status;
    }
    *n_bytes = w->offset;
    flush_directory(w->path);
    close(w->fd); /* all of it is on the disk */
    w->fd = -1;   /* the file is no part any more */
    nct_bundle_abandon(w);
    return NCT_OK;
}
