#include "cli/cli.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/json.h"
#include "base/mem.h"
#include "cli/fold.h"

static const char *const code_names[] = {
    [NCT_EXIT_FAILURE] = "failure",          [NCT_EXIT_USAGE] = "usage",   [NCT_EXIT_MODEL] = "model",
    [NCT_EXIT_CONTEXT] = "context_overflow", [NCT_EXIT_LENGTH] = "length",
    [NCT_EXIT_ITEMS] = "items",
    [NCT_EXIT_CHECK] = "check",
};

/* Adds `"key":"value"`, the value being lines [from, to) of the text, each without its indentation. */
static void add_lines(nct_bytes *out, const char *key, const char *from, const char *to) {
    nct_bytes lines = {0};
    while (from < to) {
        const char *end = memchr(from, '\n', (size_t)(to - from));
        size_t n = (size_t)((end ? end : to) - from), space = 0;
        while (space < n && from[space] == ' ')
            space++;
        if (lines.n)
            nct_bytes_add_str(&lines, "\n", NULL);
        nct_bytes_add(&lines, from + space, n - space, NULL);
        from += n + 1;
    }
    nct_bytes_printf(out, NULL, ",\"%s\":", key);
    nct_json_write_string(out, lines.data ? lines.data : "", lines.n, NULL);
    nct_bytes_reset(&lines);
}

static void print_json(int code, const char *text) {
    const char *end = text + strlen(text), *first = strchr(text, '\n'), *hint = strstr(text, "\ntry: ");
    if (!first)
        first = end;
    if (!hint)
        hint = end;
    size_t n_names = sizeof code_names / sizeof *code_names;
    const char *name = (size_t)code < n_names && code_names[code] ? code_names[code] : "failure";
    nct_bytes out = {0};
    nct_bytes_printf(&out, NULL, "{\"error\":{\"code\":\"%s\",\"exit\":%d", name, code);
    add_lines(&out, "message", text, first);
    if (first < hint)
        add_lines(&out, "detail", first + 1, hint);
    if (hint < end)
        add_lines(&out, "try", hint + 6, end);
    nct_bytes_add_str(&out, "}}\n", NULL);
    if (out.data)
        fputs(out.data, stderr);
    nct_bytes_reset(&out);
}

/* On a terminal, lines fit it. */
static void print_folded(const char *text, bool folds) {
    nct_bytes out = {0};
    if (folds && nct_fold_text(text, (size_t)nct_term_width(), &out, NULL) == NCT_OK && out.data)
        text = out.data;
    fputs(text, stderr);
    nct_bytes_reset(&out);
}

/* "noctule: error: " and the lines. What is to be typed is left as it is, for whoever copies it. */
static void print_lines(const nct_cli *cli, const char *prefix, const char *text) {
    nct_bytes said = {0};
    const char *hint = strstr(text, "\ntry: "), *end = hint ? hint + 1 : text + strlen(text);
    for (const char *at = text; at < end;) {
        size_t n = strcspn(at, "\n");
        nct_bytes_printf(&said, NULL, "%s%.*s\n", at == text ? prefix : "  ", (int)n, at);
        at += n + (at[n] == '\n');
    }
    if (said.data)
        print_folded(said.data, cli->term.err_tty);
    for (const char *at = end; *at;) {
        size_t n = strcspn(at, "\n");
        fprintf(stderr, "  %.*s\n", (int)n, at);
        at += n + (at[n] == '\n');
    }
    nct_bytes_reset(&said);
}

int nct_log_open(nct_cli *cli) {
    const char *path = cli->args.log_file;
    if (!path)
        return NCT_EXIT_OK;
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    cli->log = fd >= 0 ? fdopen(fd, "a") : NULL;
    if (cli->log)
        return NCT_EXIT_OK;
    int code = nct_say_error(cli, NCT_EXIT_FAILURE, "%s cannot be written: %s", path, strerror(errno));
    if (fd >= 0)
        close(fd);
    return code;
}

/* "2026-01-31T12:00:00Z 4711 warning: ...", its further lines indented; whole at once, as others may write there too. */
static void keep(const nct_cli *cli, const char *kind, const char *text) {
    char when[32];
    time_t now = time(NULL);
    struct tm utc;
    nct_bytes line = {0};
    if (!cli->log)
        return;
    strftime(when, sizeof when, "%FT%TZ", gmtime_r(&now, &utc));
    nct_bytes_printf(&line, NULL, "%s %ld %s: ", when, (long)getpid(), kind);
    for (; *text; text++)
        nct_bytes_add_str(&line, *text == '\n' ? "\n  " : (char[]){*text, 0}, NULL);
    nct_bytes_add_str(&line, "\n", NULL);
    fputs(line.data ? line.data : "", cli->log);
    fflush(cli->log);
    nct_bytes_reset(&line);
}

int nct_say_error(const nct_cli *cli, int code, const char *fmt, ...) {
    char text[4096];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    if (cli->error_text)
        snprintf(cli->error_text, NCT_ERROR_TEXT, "%.1000s", text);
    keep(cli, "error", text);
    if (cli->said) {
        nct_bytes_add_str(cli->said, text, NULL);
        return code;
    }
    nct_term_clear_line(&cli->term);
    if (cli->args.error_format == 1) {
        print_json(code, text);
    } else {
        print_lines(cli, "noctule: error: ", text);
    }
    return code;
}

void nct_say_warning(const nct_cli *cli, const char *fmt, ...) {
    char text[4096];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    keep(cli, "warning", text);
    if (cli->args.quiet)
        return;
    nct_term_clear_line(&cli->term);
    print_lines(cli, "noctule: warning: ", text);
}

NCT_PRINTF(3, 0)
static void say_note(const nct_cli *cli, bool shown, const char *fmt, va_list args) {
    char text[4096];
    vsnprintf(text, sizeof text, fmt, args);
    keep(cli, "note", text);
    if (!shown)
        return;
    nct_term_clear_line(&cli->term);
    print_lines(cli, "noctule: ", text);
}

void nct_say_note(const nct_cli *cli, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    say_note(cli, !cli->args.quiet && (cli->term.err_tty || cli->args.verbose >= 1), fmt, args);
    va_end(args);
}

void nct_say_notice(const nct_cli *cli, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    say_note(cli, !cli->args.quiet, fmt, args);
    va_end(args);
}

NCT_PRINTF(2, 0)
static void add_formatted(nct_bytes *out, const char *fmt, va_list args) {
    va_list again;
    void *p = NULL;
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, fmt, again);
    va_end(again);
    if (n >= 0 && nct_alloc(&p, (size_t)n + 1, 1, NULL) == NCT_OK) {
        vsnprintf(p, (size_t)n + 1, fmt, args);
        nct_bytes_add(out, p, (size_t)n, NULL);
        nct_free(p);
    }
}

void nct_say_dim(const nct_cli *cli, const char *fmt, ...) {
    nct_bytes line = {0}, folded = {0};
    va_list args;
    va_start(args, fmt);
    add_formatted(&line, fmt, args);
    va_end(args);
    const char *text = line.data ? line.data : "";
    if (cli->term.err_tty && *text && nct_fold_text(text, (size_t)nct_term_width(), &folded, NULL) == NCT_OK) {
        folded.data[folded.n - 1] = 0; /* dim ends before the line does */
        text = folded.data;
    }
    fprintf(stderr, cli->term.err_color ? "\033[2m%s\033[0m\n" : "%s\n", text);
    nct_bytes_reset(&line);
    nct_bytes_reset(&folded);
}

void nct_tell(const char *fmt, ...) {
    nct_bytes text = {0};
    va_list args;
    va_start(args, fmt);
    add_formatted(&text, fmt, args);
    va_end(args);
    if (text.data)
        print_folded(text.data, isatty(STDERR_FILENO));
    nct_bytes_reset(&text);
}

int nct_say_status(const nct_cli *cli, const nct_error *err) {
    switch (err->status) {
    case NCT_OK:
        return NCT_EXIT_OK;
    case NCT_E_CONTEXT:
        return nct_say_error(cli, NCT_EXIT_CONTEXT, "%s", err->text);
    case NCT_E_LENGTH:
        return nct_say_error(cli, NCT_EXIT_LENGTH, "%s\ntry: a larger -n", err->text);
    case NCT_E_FORMAT:
    case NCT_E_UNSUPPORTED:
        return nct_say_error(cli, NCT_EXIT_MODEL, "%s", err->text);
    default:
        return nct_say_error(cli, NCT_EXIT_FAILURE, "%s", err->text);
    }
}

const char *nct_thousands(uint64_t n, char buf[32]) {
    char digits[24];
    int length = snprintf(digits, sizeof digits, "%llu", (unsigned long long)n), at = 0;
    for (int i = 0; i < length; i++) {
        if (i && (length - i) % 3 == 0)
            buf[at++] = ',';
        buf[at++] = digits[i];
    }
    buf[at] = 0;
    return buf;
}

const char *nct_human_bytes(uint64_t n, char buf[32]) {
    static const char *const unit[] = {"bytes", "kB", "MB", "GB", "TB", "PB", "EB"};
    double v = (double)n;
    size_t i = 0;
    for (; v >= 999.5 && i + 1 < sizeof unit / sizeof *unit; i++)
        v /= 1000;
    snprintf(buf, 32, i == 0 || v >= 99.95 ? "%.0f %s" : v >= 9.995 ? "%.1f %s" : "%.2f %s", v, unit[i]);
    return buf;
}
