#include "cli/host.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/cpu.h"
#include "base/json.h"
#include "base/map.h"
#include "cli/places.h"

enum { SCHEMA = 1, FILE_MOST = 16384 };

/* A home may be shared by several hosts. */
static bool find_file(const char *folder, const char *name, char *buf, size_t n) {
    char host[128] = "";
    if (gethostname(host, sizeof host - 1) != 0)
        return false;
    for (char *c = host; *c; c++)
        if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.", *c))
            *c = '_';
    int length = snprintf(buf, n, "%s/%s-%s.json", folder, name, host);
    return length > 0 && (size_t)length < n;
}

static bool in_range(int64_t n, int most) { return n >= 1 && n <= most; }

static bool take_host(const nct_json *json, nct_host *host) {
    nct_cpu cpu;
    nct_cpu_detect(&cpu);
    int usable = nct_cpu_usable();
    int64_t threads = nct_json_int(nct_json_get(json, "threads"), 0);
    int64_t batch = nct_json_int(nct_json_get(json, "threads_batch"), 0);
    if (nct_json_int(nct_json_get(json, "schema"), 0) != SCHEMA ||
        nct_json_int(nct_json_get(json, "usable"), 0) != usable ||
        strcmp(nct_json_string(nct_json_get(json, "cpu"), ""), cpu.name) != 0 || !in_range(threads, usable) ||
        !in_range(batch, usable))
        return false;
    *host = (nct_host){.threads = (int)threads,
                       .threads_batch = (int)batch,
                       .by_bench = strcmp(nct_json_string(nct_json_get(json, "by"), ""), "bench") == 0};
    return true;
}

bool nct_host_load(const char *name, nct_bytes *text) {
    char folder[PATH_MAX], path[PATH_MAX], held[FILE_MOST];
    if (!nct_place_path(NCT_PLACE_CACHE, "", folder, sizeof folder) || !find_file(folder, name, path, sizeof path))
        return false;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return false;
    ssize_t n = read(fd, held, sizeof held);
    close(fd);
    return n > 0 && n < (ssize_t)sizeof held && nct_bytes_add(text, held, (size_t)n, NULL) == NCT_OK;
}

bool nct_host_read(nct_host *host) {
    nct_bytes text = {0};
    nct_json *json = NULL;
    bool good = nct_host_load("threads", &text) &&
                nct_json_parse("threads", text.data, text.n, &json, NULL) == NCT_OK && take_host(json, host);
    nct_json_close(json);
    nct_bytes_reset(&text);
    return good;
}

static bool write_whole(const char *path, const nct_bytes *text) {
    char part[PATH_MAX];
    int length = snprintf(part, sizeof part, "%s.%ld", path, (long)getpid());
    if (length <= 0 || (size_t)length >= sizeof part)
        return false;
    int fd = open(part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return false;
    bool good = write(fd, text->data, text->n) == (ssize_t)text->n;
    good = close(fd) == 0 && good && rename(part, path) == 0;
    if (!good)
        unlink(part);
    return good;
}

bool nct_host_store(const char *name, const nct_bytes *text) {
    char folder[PATH_MAX], path[PATH_MAX];
    return nct_place_path(NCT_PLACE_CACHE, "", folder, sizeof folder) && find_file(folder, name, path, sizeof path) &&
           nct_make_folders(folder, true) && write_whole(path, text);
}

bool nct_host_write(const nct_host *host) {
    nct_host old;
    if (!host->by_bench && nct_host_read(&old) && old.by_bench)
        return false;
    nct_cpu cpu;
    nct_bytes text = {0};
    nct_cpu_detect(&cpu);
    bool good =
        nct_bytes_add_str(&text, "{\"cpu\":", NULL) == NCT_OK &&
        nct_json_write_string(&text, cpu.name, strlen(cpu.name), NULL) == NCT_OK &&
        nct_bytes_printf(&text, NULL,
                         ",\"schema\":%d,\"usable\":%d,\"threads\":%d,\"threads_batch\":%d,\"by\":\"%s\"}\n",
                         SCHEMA, nct_cpu_usable(), host->threads, host->threads_batch,
                         host->by_bench ? "bench" : "doctor") == NCT_OK &&
        nct_host_store("threads", &text);
    nct_bytes_reset(&text);
    return good;
}
