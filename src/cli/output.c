#include "cli/output.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "cli/fold.h"

enum { FLUSH_BYTES = 1 << 16 };
#define FLUSH_NS 100000000u /* a reader of a pipe waits no longer for what is there */

static int open_file(nct_output *o, const char *path) {
    const nct_cli *cli = o->cli;
    nct_bytes part = {0};
    nct_error err;
    if (nct_copy_string(&o->path, path, strlen(path), &err) != NCT_OK ||
        nct_bytes_printf(&part, &err, "%s.part", path) != NCT_OK)
        return nct_say_status(cli, &err);
    struct stat there;
    if (stat(path, &there) == 0 && S_ISDIR(there.st_mode)) {
        nct_bytes_reset(&part);
        return nct_say_error(cli, NCT_EXIT_USAGE, "-o %s is a directory\ntry: -o %s/answer.txt", path, path);
    }
    if (stat(path, &there) == 0 && !S_ISREG(there.st_mode))
        nct_bytes_reset(&part); /* a device or a named pipe is written as it is */
    o->part = part.data;
    const char *name = o->part ? o->part : path;
    o->fd = open(name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (o->fd < 0)
        return nct_say_error(cli, NCT_EXIT_FAILURE, "%s cannot be written: %s", name, strerror(errno));
    return NCT_EXIT_OK;
}

static void reset(nct_output *o) {
    nct_free(o->path);
    nct_free(o->part);
    nct_bytes_reset(&o->buffer);
    *o = (nct_output){0};
}

int nct_output_open(const nct_cli *cli, const char *path, nct_output *o) {
    *o = (nct_output){.cli = cli, .fd = STDOUT_FILENO, .flushed_ns = nct_clock_ns()};
    if (path && strcmp(path, "-") != 0) {
        int code = open_file(o, path);
        if (code != NCT_EXIT_OK) {
            reset(o);
            return code;
        }
    }
    struct stat what;
    o->tty = isatty(o->fd);
    o->regular = fstat(o->fd, &what) == 0 && S_ISREG(what.st_mode);
    return NCT_EXIT_OK;
}

bool nct_output_flush(nct_output *o) {
    size_t done = 0;
    while (done < o->buffer.n && !o->failure) {
        ssize_t n = write(o->fd, o->buffer.data + done, o->buffer.n - done);
        if (n >= 0)
            done += (size_t)n;
        else if (errno != EINTR)
            o->failure = errno;
    }
    o->buffer.n = 0;
    o->flushed_ns = nct_clock_ns();
    return !o->failure;
}

/* A line or a sentence ends in these bytes. */
static bool ends_sentence(const char *s, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (s[i] == '\n' || s[i] == '.' || s[i] == '!' || s[i] == '?' ||
            (i + 2 < n && (memcmp(s + i, "\xe3\x80\x82", 3) == 0 || memcmp(s + i, "\xef\xbc\x81", 3) == 0 ||
                           memcmp(s + i, "\xef\xbc\x9f", 3) == 0)))
            return true;
    return false;
}

/* The lines of the buffer, which is whole ones, as the terminal's width has them. */
static void fold(nct_output *o) {
    size_t columns = (size_t)nct_term_width();
    nct_bytes folded = {0};
    nct_status status = columns > 2 * o->hang ? NCT_OK : NCT_E_ARGUMENT;
    for (size_t at = 0; at < o->buffer.n && status == NCT_OK;) {
        const char *line = o->buffer.data + at, *end = memchr(line, '\n', o->buffer.n - at);
        status = nct_fold_line(line, (size_t)(end - line), columns, o->hang, &folded, NULL);
        at = (size_t)(end + 1 - o->buffer.data);
    }
    if (status == NCT_OK) {
        nct_bytes_reset(&o->buffer);
        o->buffer = folded;
    } else {
        nct_bytes_reset(&folded);
    }
}

bool nct_output_write(nct_output *o, const void *data, size_t n) {
    if (o->failure)
        return false;
    if (n == 0)
        return true;
    if (nct_bytes_add(&o->buffer, data, n, NULL) != NCT_OK) {
        o->failure = ENOMEM;
        return false;
    }
    o->last = ((const char *)data)[n - 1];
    bool folds = o->tty && o->folds;
    if (folds && o->last != '\n')
        return true; /* the line goes on */
    if (folds)
        fold(o);
    bool due = o->buffer.n >= FLUSH_BYTES;
    if (!due && !o->regular)
        due = o->tty || ends_sentence(data, n) || nct_clock_ns() - o->flushed_ns > FLUSH_NS;
    return due ? nct_output_flush(o) : true;
}

bool nct_output_print(nct_output *o, const char *fmt, ...) {
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    void *p = NULL;
    bool ok = n >= 0 && nct_alloc(&p, (size_t)n + 1, 1, NULL) == NCT_OK;
    if (ok) {
        vsnprintf(p, (size_t)n + 1, fmt, again);
        ok = nct_output_write(o, p, (size_t)n);
        nct_free(p);
    } else if (!o->failure) {
        o->failure = ENOMEM;
    }
    va_end(again);
    return ok;
}

static int finish_file(nct_output *o, int code) {
    const char *name = o->part ? o->part : o->path;
    if (close(o->fd) != 0 && !o->failure)
        o->failure = errno;
    if (o->failure) {
        if (o->part)
            unlink(o->part);
        return nct_say_error(o->cli, NCT_EXIT_FAILURE, "%s cannot be written: %s", name,
                             strerror(o->failure));
    }
    if (!o->part)
        return code;
    if (code == NCT_EXIT_INTERRUPT || code == NCT_EXIT_TERMINATE) {
        nct_say_warning(o->cli, "what there was is in %s", o->part);
    } else if (code != NCT_EXIT_OK) {
        unlink(o->part);
    } else if (rename(o->part, o->path) != 0) {
        return nct_say_error(o->cli, NCT_EXIT_FAILURE, "%s cannot take its name: %s", o->part,
                             strerror(errno));
    }
    return code;
}

int nct_output_close(nct_output *o, int code) {
    nct_output_flush(o);
    if (o->fd > STDERR_FILENO)
        code = finish_file(o, code);
    else if (o->failure == EPIPE)
        code = NCT_EXIT_PIPE;
    else if (o->failure && o->fd == STDOUT_FILENO)
        code = nct_say_error(o->cli, NCT_EXIT_FAILURE, "stdout cannot be written: %s", strerror(o->failure));
    reset(o);
    return code;
}
