#define _GNU_SOURCE
#include "engine/identity.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/map.h"
#include "format/nct.h"

enum { END_BYTES = 64 << 10 };

static void add64(nct_sha256 *sha, uint64_t v) {
    uint8_t bytes[8];
    for (int i = 0; i < 8; i++)
        bytes[i] = (uint8_t)(v >> 8 * i);
    nct_sha256_add(sha, bytes, sizeof bytes);
}

static void add_text(nct_sha256 *sha, const char *text) {
    add64(sha, strlen(text));
    nct_sha256_add(sha, text, strlen(text));
}

/* ------------------------------------------------------------------ the model */

static void add_bundle(nct_sha256 *sha, const nct_bundle *bundle) {
    const nct_section *section;
    add_text(sha, "bundle");
    for (size_t i = 0; (section = nct_bundle_section(bundle, i)); i++) {
        add64(sha, section->kind);
        add64(sha, section->role);
        add64(sha, section->layer);
        nct_sha256_add(sha, section->sha256, sizeof section->sha256);
    }
}

static nct_status add_file(nct_sha256 *sha, const char *folder, const char *name, uint8_t *room,
                           nct_error *err) {
    char path[PATH_MAX];
    struct stat st;
    if (!folder || !nct_path_join(path, sizeof path, folder, name))
        snprintf(path, sizeof path, "%s", name);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &st) != 0) {
        nct_fail(err, NCT_E_IO, "%s: %s", path, strerror(errno));
        if (fd >= 0)
            close(fd);
        return NCT_E_IO;
    }
    if (S_ISREG(st.st_mode)) {
        const char *slash = strrchr(name, '/');
        add_text(sha, slash ? slash + 1 : name);
        add64(sha, (uint64_t)st.st_size);
        add64(sha, (uint64_t)st.st_mtim.tv_sec);
        add64(sha, (uint64_t)st.st_mtim.tv_nsec);
        off_t last = st.st_size > END_BYTES ? st.st_size - END_BYTES : 0;
        for (off_t off = 0;; off = last) {
            ssize_t n = pread(fd, room, END_BYTES, off);
            if (n < 0) {
                nct_fail(err, NCT_E_IO, "%s: %s", path, strerror(errno));
                close(fd);
                return NCT_E_IO;
            }
            add64(sha, (uint64_t)n);
            nct_sha256_add(sha, room, (size_t)n);
            if (off == last)
                break;
        }
    }
    close(fd);
    return NCT_OK;
}

static int by_name(const struct dirent **a, const struct dirent **b) {
    return strcmp((*a)->d_name, (*b)->d_name);
}
static int is_visible(const struct dirent *d) { return d->d_name[0] != '.'; }

static nct_status add_folder(nct_sha256 *sha, const char *folder, uint8_t *room, nct_error *err) {
    struct dirent **list = NULL;
    int n = scandir(folder, &list, is_visible, by_name);
    if (n < 0)
        return nct_fail(err, NCT_E_IO, "%s: %s", folder, strerror(errno));
    nct_status status = NCT_OK;
    for (int i = 0; i < n; i++) {
        struct stat st;
        char path[PATH_MAX];
        bool file = nct_path_join(path, sizeof path, folder, list[i]->d_name) && stat(path, &st) == 0 &&
                    S_ISREG(st.st_mode);
        if (status == NCT_OK && file)
            status = add_file(sha, folder, list[i]->d_name, room, err);
        free(list[i]);
    }
    free(list);
    return status;
}

/* A .safetensors file counts with the configuration beside it. */
static nct_status add_files(nct_sha256 *sha, const nct_engine *e, nct_error *err) {
    void *room = NULL;
    char folder[PATH_MAX];
    nct_status status = NCT_OK;
    NCT_TRY(nct_alloc(&room, END_BYTES, 1, err));
    add_text(sha, "files");
    if (nct_is_directory(e->path))
        status = add_folder(sha, e->path, room, err);
    else if (strcmp(e->container, "safetensors") != 0)
        status = add_file(sha, NULL, e->path, room, err);
    else if (snprintf(folder, sizeof folder, "%.*s", (int)(strlen(e->path) - strlen(e->name)), e->path) <
             (int)sizeof folder)
        status = add_folder(sha, *folder ? folder : ".", room, err);
    nct_free(room);
    return status;
}

nct_status nct_model_identity(const nct_engine *e, nct_link *identity, nct_error *err) {
    nct_sha256 sha;
    nct_sha256_init(&sha);
    const nct_bundle *bundle = e->resident ? nct_checkpoint_bundle(e->resident) : NULL;
    if (bundle)
        add_bundle(&sha, bundle);
    else
        NCT_TRY(add_files(&sha, e, err));
    nct_sha256_end(&sha, identity->bytes);
    return NCT_OK;
}

/* ------------------------------------------------------------------ a session's pages */

nct_status nct_page_identity(const nct_engine *e, const nct_rope *rope, const nct_sparse *sparse,
                             const nct_cache *c, nct_link *identity, nct_error *err) {
    nct_sha256 sha;
    nct_link model;
    const nct_config *m = &e->model.config;
    NCT_TRY(nct_model_identity(e, &model, err));
    nct_sha256_init(&sha);
    add_text(&sha, "noctule page");
    nct_sha256_add(&sha, model.bytes, sizeof model.bytes);
    const uint64_t shape[] = {NCT_RECORD_VERSION, NCT_NUMERICS_REVISION,
                              NCT_PAGE,           NCT_STEP,
                              e->exec.exact,      c->k_type,
                              c->v_type,          c->n_layers,
                              c->n_kv_heads,      c->head_dim,
                              m->n_heads,         m->hidden,
                              m->intermediate,    m->n_vocab};
    for (size_t i = 0; i < sizeof shape / sizeof *shape; i++)
        add64(&sha, shape[i]);
    add_text(&sha, e->kernels.isa);
    if (e->model.weights.rounded)
        add64(&sha, e->head);
    nct_sha256_add(&sha, rope->inv_freq, rope->half * sizeof *rope->inv_freq);
    nct_sha256_add(&sha, rope->inv_factor, rope->half * sizeof *rope->inv_factor);
    nct_sha256_add(&sha, &rope->scale, sizeof rope->scale);
    add64(&sha, sparse->enabled);
    if (sparse->enabled) {
        const uint64_t settings[] = {sparse->fine.size,     sparse->fine.stride, sparse->coarse.size,
                                     sparse->coarse.stride, sparse->block,       sparse->init_blocks,
                                     sparse->local_forced,  sparse->budget,      sparse->dense_len,
                                     sparse->exact_lse};
        for (size_t i = 0; i < sizeof settings / sizeof *settings; i++)
            add64(&sha, settings[i]);
    }
    nct_sha256_end(&sha, identity->bytes);
    return NCT_OK;
}
