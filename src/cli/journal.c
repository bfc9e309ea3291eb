#include "cli/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/clock.h"
#include "cli/input.h"

#define SYNC_NS 1000000000u /* a power cut costs no more than this */

static int add_record(nct_journal *j, const char *line, size_t n, size_t number) {
    nct_json *json = NULL;
    nct_error err = {0};
    void *p = j->record;
    if (nct_json_parse(j->path, line, n, &json, &err) != NCT_OK || !nct_json_is_object(json)) {
        nct_json_close(json);
        return nct_say_error(j->cli, NCT_EXIT_FAILURE,
                             "%s: line %zu is no record of an earlier run\ntry: another -o", j->path, number);
    }
    if (nct_grow(&p, &j->capacity, j->n_records + 1, sizeof *j->record, &err) != NCT_OK) {
        nct_json_close(json);
        return nct_say_status(j->cli, &err);
    }
    j->record = p;
    j->record[j->n_records++] = json;
    return NCT_EXIT_OK;
}

static int read_records(nct_journal *j) {
    nct_bytes text = {0};
    int code = nct_input_read_exact(j->cli, j->path, &text);
    size_t number = 0;
    for (size_t at = 0; at < text.n && code == NCT_EXIT_OK;) {
        const char *end = memchr(text.data + at, '\n', text.n - at);
        if (!end)
            break; /* torn off */
        size_t n = (size_t)(end - text.data) - at;
        number++;
        if (n)
            code = add_record(j, text.data + at, n, number);
        at += n + 1;
        j->n_bytes = at;
    }
    nct_bytes_reset(&text);
    if (code == NCT_EXIT_OK && (ftruncate(j->fd, (off_t)j->n_bytes) != 0 || lseek(j->fd, 0, SEEK_END) < 0))
        code = nct_say_error(j->cli, NCT_EXIT_FAILURE, "%s cannot be written: %s", j->path, strerror(errno));
    return code;
}

static int open_locked(const nct_cli *cli, const char *path, nct_journal *j) {
    nct_error err = {0};
    *j = (nct_journal){.cli = cli, .fd = -1};
    if (nct_copy_string(&j->path, path, strlen(path), &err) != NCT_OK)
        return nct_say_status(cli, &err);
    j->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (j->fd < 0)
        return nct_say_error(cli, NCT_EXIT_FAILURE, "%s cannot be written: %s", path, strerror(errno));
    if (flock(j->fd, LOCK_EX | LOCK_NB) != 0)
        return nct_say_error(cli, NCT_EXIT_USAGE, "%s is in use by another command", path);
    return NCT_EXIT_OK;
}

int nct_journal_open(const nct_cli *cli, const char *path, nct_journal *j) {
    int code = open_locked(cli, path, j);
    return code == NCT_EXIT_OK ? read_records(j) : code;
}

/* ------------------------------------------------------------------ one by one */

struct reading {
    nct_journal_fn *take;
    void *context;
    bool damaged; /* the line before was no record */
    size_t number;
};

static int take_line(nct_journal *j, struct reading *r, const char *line, size_t n) {
    nct_json *json = NULL;
    int code = NCT_EXIT_OK;
    if (r->damaged) /* something follows, so it was not torn off */
        return nct_say_error(j->cli, NCT_EXIT_FAILURE, "%s: line %zu is no record of an earlier run\ntry: another -o", j->path,
                             r->number);
    r->number++;
    if (n == 0) {
        j->n_bytes++;
        return NCT_EXIT_OK;
    }
    if (nct_json_parse(j->path, line, n, &json, NULL) != NCT_OK || !nct_json_is_object(json))
        r->damaged = true;
    else if (r->take)
        code = r->take(r->context, json, j->n_bytes, n);
    nct_json_close(json);
    if (!r->damaged)
        j->n_bytes += n + 1;
    return code;
}

static int read_each(nct_journal *j, struct reading *r) {
    enum { BLOCK = 1 << 16 };
    nct_bytes held = {0};
    nct_error err = {0};
    char block[BLOCK];
    int code = NCT_EXIT_OK;
    for (ssize_t n; code == NCT_EXIT_OK && (n = read(j->fd, block, sizeof block)) != 0;) {
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            code = nct_say_error(j->cli, NCT_EXIT_FAILURE, "%s cannot be read: %s", j->path, strerror(errno));
        else if (nct_bytes_add(&held, block, (size_t)n, &err) != NCT_OK)
            code = nct_say_status(j->cli, &err);
        size_t at = 0;
        for (char *end; code == NCT_EXIT_OK && held.n > at && (end = memchr(held.data + at, '\n', held.n - at));) {
            size_t length = (size_t)(end - held.data) - at;
            code = take_line(j, r, held.data + at, length);
            at += length + 1;
        }
        if (code == NCT_EXIT_OK && at) {
            memmove(held.data, held.data + at, held.n - at);
            held.n -= at;
        }
    }
    nct_bytes_reset(&held);
    return code;
}

/* Whether what follows the records, if anything, can be the beginning of one, or what a power cut leaves of it: what is
 * somebody else's must not be cut away. */
static bool is_torn(const nct_journal *j) {
    char first;
    ssize_t n = pread(j->fd, &first, 1, (off_t)j->n_bytes);
    return n == 0 || (n == 1 && (first == '{' || first == 0));
}

int nct_journal_open_each(const nct_cli *cli, const char *path, bool anew, nct_journal_fn *take, void *context, nct_journal *j) {
    struct reading r = {.take = take, .context = context};
    int code = open_locked(cli, path, j);
    if (code == NCT_EXIT_OK && !anew)
        code = read_each(j, &r);
    if (code == NCT_EXIT_OK && !anew && !is_torn(j))
        code = nct_say_error(cli, NCT_EXIT_FAILURE, "%s does not end in a record of an earlier run\ntry: another -o", path);
    if (code == NCT_EXIT_OK && (ftruncate(j->fd, (off_t)j->n_bytes) != 0 || lseek(j->fd, 0, SEEK_END) < 0))
        code = nct_say_error(cli, NCT_EXIT_FAILURE, "%s cannot be written: %s", path, strerror(errno));
    return code;
}

int nct_journal_each(const nct_journal *j, nct_journal_fn *take, void *context) {
    struct reading r = {.take = take, .context = context};
    nct_journal again = *j;
    again.n_bytes = 0;
    if (lseek(j->fd, 0, SEEK_SET) < 0)
        return nct_say_error(j->cli, NCT_EXIT_FAILURE, "%s cannot be read: %s", j->path, strerror(errno));
    int code = read_each(&again, &r);
    lseek(j->fd, 0, SEEK_END);
    return code;
}

int nct_journal_read(const nct_journal *j, uint64_t off, size_t n_bytes, nct_bytes *text) {
    char block[4096];
    nct_error err = {0};
    text->n = 0;
    while (text->n < n_bytes) {
        size_t left = n_bytes - text->n;
        ssize_t n = pread(j->fd, block, left < sizeof block ? left : sizeof block, (off_t)(off + text->n));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return nct_say_error(j->cli, NCT_EXIT_FAILURE, "%s cannot be read: %s", j->path, n ? strerror(errno) : "it became shorter");
        if (nct_bytes_add(text, block, (size_t)n, &err) != NCT_OK)
            return nct_say_status(j->cli, &err);
    }
    return NCT_EXIT_OK;
}

void nct_journal_sync(nct_journal *j) {
    if (j->fd < 0 || !j->dirty || nct_clock_ns() - j->synced_ns < SYNC_NS)
        return;
    fsync(j->fd);
    j->synced_ns = nct_clock_ns();
    j->dirty = false;
}

const nct_json *nct_journal_find(const nct_journal *j, const char *key) {
    for (size_t i = j->n_records; i-- > 0;)
        if (strcmp(nct_json_string(nct_json_get(j->record[i], "key"), ""), key) == 0)
            return j->record[i];
    return NULL;
}

int nct_journal_add(nct_journal *j, nct_bytes *line) {
    nct_error err = {0};
    if (nct_bytes_add_str(line, "\n", &err) != NCT_OK)
        return nct_say_status(j->cli, &err);
    ssize_t n;
    do
        n = write(j->fd, line->data, line->n);
    while (n < 0 && errno == EINTR);
    if (n != (ssize_t)line->n) {
        int why = n < 0 ? errno : ENOSPC;
        if (ftruncate(j->fd, (off_t)j->n_bytes) == 0)
            lseek(j->fd, 0, SEEK_END);
        return nct_say_error(j->cli, NCT_EXIT_FAILURE, "%s cannot be written: %s", j->path, strerror(why));
    }
    j->n_bytes += line->n;
    j->dirty = true;
    nct_journal_sync(j);
    return NCT_EXIT_OK;
}

void nct_journal_close(nct_journal *j, bool remove) {
    for (size_t i = 0; i < j->n_records; i++)
        nct_json_close(j->record[i]);
    nct_free(j->record);
    if (j->path && j->fd >= 0) {
        if (remove)
            unlink(j->path);
        else
            fsync(j->fd);
        close(j->fd);
    }
    nct_free(j->path);
    *j = (nct_journal){.fd = -1};
}
