#include "cli/batch_source.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/map.h"
#include "cli/input.h"

enum {
    BLOCK = 1 << 16,
    WAIT_MS = 200, /* so long a signal goes unseen at most */
};
/* More than any context holds; the rest of such a line is passed over. */
#define MAX_RECORD ((size_t)64 << 20)

/* One input: a list of records, or a file that is itself the record. */
struct input {
    const char *path; /* "-" is stdin */
    nct_batch_record_kind kind;
    bool listed; /* it holds records */
};

struct nct_source {
    const nct_cli *cli;
    struct input *input;
    size_t n, at, capacity;
    char **found; /* [n_found] files of folders, that inputs name */
    size_t n_found, found_capacity;
    char separator;
    bool regular;
    /* of the list at hand */
    int fd; /* -1: none is open */
    bool ended, begun;
    nct_bytes held;      /* read, from `from` on not given out yet */
    size_t from, looked; /* looked: no separator before */
    uint64_t line;
    bool skipping; /* the rest of a line that is too long */
};

static bool ends_in(const char *text, const char *end) {
    size_t n = strlen(text), m = strlen(end);
    return n > m && strcmp(text + n - m, end) == 0;
}

static const char *name_of(const struct input *in) { return strcmp(in->path, "-") == 0 ? "stdin" : in->path; }

static int add_input(nct_source *s, const char *path, nct_batch_record_kind kind, bool listed) {
    void *p = s->input;
    nct_error err = {0};
    if (nct_grow(&p, &s->capacity, s->n + 1, sizeof *s->input, &err) != NCT_OK)
        return nct_say_status(s->cli, &err);
    s->input = p;
    s->input[s->n++] = (struct input){.path = path, .kind = kind, .listed = listed};
    return NCT_EXIT_OK;
}

/* A document, or with -R those of a folder. */
static int add_document(nct_source *s, const char *path) {
    if (!s->cli->args.recursive || !nct_is_directory(path))
        return add_input(s, path, NCT_RECORD_FILE, false);
    char **file = NULL;
    size_t n = 0, kept = 0;
    void *p = s->found;
    nct_error err = {0};
    int code = nct_input_files(s->cli, &(nct_list){.item = &path, .n = 1}, &file, &n);
    if (code == NCT_EXIT_OK &&
        nct_grow(&p, &s->found_capacity, s->n_found + n, sizeof *s->found, &err) != NCT_OK)
        code = nct_say_status(s->cli, &err);
    s->found = p;
    for (; kept < n && code == NCT_EXIT_OK; kept++) {
        s->found[s->n_found++] = file[kept];
        code = add_input(s, file[kept], NCT_RECORD_FILE, false);
    }
    for (; kept < n; kept++)
        nct_free(file[kept]);
    nct_free(file);
    return code;
}

/* What every argument is. */
static int list_inputs(nct_source *s) {
    const nct_args *a = &s->cli->args;
    int code = NCT_EXIT_OK;
    for (size_t i = 0; i < a->words.n && code == NCT_EXIT_OK; i++) {
        const char *path = a->words.item[i];
        if (a->lines)
            code = add_input(s, path, NCT_RECORD_LINE, true);
        else if (strcmp(path, "-") == 0 || ends_in(path, ".jsonl") || ends_in(path, ".ndjson"))
            code = add_input(s, path, NCT_RECORD_JSON, true);
        else
            code = add_document(s, path);
    }
    for (size_t i = 0; i < a->files.n && code == NCT_EXIT_OK; i++)
        code = add_document(s, a->files.item[i]);
    if (code == NCT_EXIT_OK && a->files_from)
        code = add_input(s, a->files_from, NCT_RECORD_FILE, true);
    if (code == NCT_EXIT_OK && !a->words.n && !a->files.n && !a->files_from)
        code = add_input(s, "-", a->lines ? NCT_RECORD_LINE : NCT_RECORD_JSON, true);
    return code;
}

static int check_inputs(nct_source *s) {
    const nct_cli *cli = s->cli;
    size_t n_stdin = 0;
    bool files = false;
    s->regular = true;
    for (size_t i = 0; i < s->n; i++) {
        const struct input *in = &s->input[i];
        struct stat st;
        bool is_stdin = strcmp(in->path, "-") == 0;
        n_stdin += is_stdin;
        files = files || in->kind == NCT_RECORD_FILE;
        if (is_stdin && !in->listed)
            return nct_say_error(cli, NCT_EXIT_USAGE,
                                 "-f - is one document; a batch takes stdin as a list\n"
                                 "try: --files-from -    (names of files)\n"
                                 "     noctule run -p \"...\"");
        if (is_stdin && (cli->term.in_tty || cli->term.in_closed))
            return nct_say_error(cli, NCT_EXIT_USAGE,
                                 "no records: stdin is %s\ntry: noctule batch prompts.jsonl -o out.jsonl",
                                 cli->term.in_tty ? "a terminal" : "closed");
        if ((is_stdin ? fstat(STDIN_FILENO, &st) : stat(in->path, &st)) != 0) {
            if (in->listed)
                return nct_say_error(cli, NCT_EXIT_FAILURE, "%s cannot be read: %s", in->path,
                                     strerror(errno));
            continue; /* a document that is not there is a failed item */
        }
        if (in->listed && S_ISDIR(st.st_mode))
            return nct_say_error(
                cli, NCT_EXIT_USAGE,
                "%s is a folder\ntry: find %s -type f -print0 | noctule batch --files-from - -0 ...",
                in->path, in->path);
        if (in->listed && !S_ISREG(st.st_mode))
            s->regular = false;
        else if (in->listed && is_stdin && lseek(STDIN_FILENO, 0, SEEK_CUR) != 0)
            s->regular = false; /* somebody has read its beginning: it is not ours to read again */
    }
    if (n_stdin > 1)
        return nct_say_error(cli, NCT_EXIT_USAGE, "stdin is named twice");
    if (files && !cli->args.prompt && !cli->args.template)
        return nct_say_error(cli, NCT_EXIT_USAGE,
                             "no instruction for the files; add -p\ntry: noctule batch *.txt -p "
                             "\"Summarise.\" -o '{dir}/{stem}.sum.md'");
    return NCT_EXIT_OK;
}

int nct_source_open(const nct_cli *cli, nct_source **source) {
    void *p = NULL;
    nct_error err;
    if (nct_alloc(&p, 1, sizeof(nct_source), &err) != NCT_OK)
        return nct_say_status(cli, &err);
    nct_source *s = p;
    *s = (nct_source){.cli = cli, .fd = -1, .separator = cli->args.null_separated ? 0 : '\n'};
    int code = list_inputs(s);
    if (code == NCT_EXIT_OK)
        code = check_inputs(s);
    if (code == NCT_EXIT_OK)
        *source = s;
    else
        nct_source_close(s);
    return code;
}

static void close_list(nct_source *s) {
    if (s->fd > STDIN_FILENO)
        close(s->fd);
    s->fd = -1;
    s->held.n = 0;
    s->from = s->looked = 0;
    s->line = 0;
    s->ended = s->begun = s->skipping = false;
}

void nct_source_close(nct_source *s) {
    if (!s)
        return;
    close_list(s);
    nct_bytes_reset(&s->held);
    for (size_t i = 0; i < s->n_found; i++)
        nct_free(s->found[i]);
    nct_free(s->found);
    nct_free(s->input);
    nct_free(s);
}

bool nct_source_is_regular(const nct_source *s) { return s->regular; }

void nct_source_rewind(nct_source *s) {
    if (s->fd == STDIN_FILENO)
        lseek(STDIN_FILENO, 0, SEEK_SET);
    close_list(s);
    s->at = 0;
    for (size_t i = 0; i < s->n; i++)
        if (strcmp(s->input[i].path, "-") == 0)
            lseek(STDIN_FILENO, 0, SEEK_SET);
}

/* ------------------------------------------------------------------ lists */

static nct_got open_list(nct_source *s, const struct input *in) {
    s->fd = strcmp(in->path, "-") == 0 ? STDIN_FILENO : open(in->path, O_RDONLY | O_CLOEXEC);
    if (s->fd >= 0)
        return NCT_GOT_RECORD;
    nct_say_error(s->cli, NCT_EXIT_FAILURE, "%s cannot be read: %s", in->path, strerror(errno));
    return NCT_GOT_FAILURE;
}

/* One block more; what was given out goes first. */
static nct_got read_more(nct_source *s, const struct input *in, bool wait) {
    struct pollfd ready = {.fd = s->fd, .events = POLLIN};
    char block[BLOCK];
    if (s->from) {
        memmove(s->held.data, s->held.data + s->from, s->held.n - s->from);
        s->held.n -= s->from;
        s->looked -= s->from;
        s->from = 0;
    }
    int there = poll(&ready, 1, wait ? WAIT_MS : 0);
    if (there == 0 || (there < 0 && errno == EINTR))
        return NCT_GOT_LATER;
    ssize_t n = read(s->fd, block, sizeof block);
    if (n < 0 && (errno == EINTR || errno == EAGAIN || errno == EWOULDBLOCK))
        return NCT_GOT_LATER;
    nct_error err = {0};
    if (n < 0) {
        nct_say_error(s->cli, NCT_EXIT_FAILURE, "%s cannot be read: %s", name_of(in), strerror(errno));
        return NCT_GOT_FAILURE;
    }
    if (n == 0) {
        s->ended = true;
    } else if (nct_bytes_add(&s->held, block, (size_t)n, &err) != NCT_OK) {
        nct_say_status(s->cli, &err);
        return NCT_GOT_FAILURE;
    }
    return NCT_GOT_RECORD;
}

/* The first bytes: a mark goes, what is no text at all is refused. */
static bool begin_list(nct_source *s, const struct input *in) {
    s->begun = true;
    const char *name = name_of(in);
    if (s->held.n && nct_input_refuse_packed(s->cli, name, s->held.data, s->held.n) != NCT_EXIT_OK)
        return false;
    if (s->held.n >= 2 &&
        (memcmp(s->held.data, "\xff\xfe", 2) == 0 || memcmp(s->held.data, "\xfe\xff", 2) == 0)) {
        nct_say_error(s->cli, NCT_EXIT_USAGE,
                      "%s is UTF-16\ntry: iconv -f UTF-16 -t UTF-8 %s | noctule batch ...", name, name);
        return false;
    }
    if (s->held.n >= 3 && memcmp(s->held.data, "\xef\xbb\xbf", 3) == 0)
        s->from = s->looked = 3;
    return true;
}

static bool is_blank(const char *text, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (!strchr(" \t\r\n", text[i]) || !text[i])
            return false;
    return true;
}

/* Gives out n bytes from the beginning; false: there is nothing in them. */
static bool give(nct_source *s, const struct input *in, size_t n, nct_batch_record *r) {
    const char *text = s->held.data + s->from;
    if (s->separator == '\n' && n && text[n - 1] == '\r')
        n--;
    if (is_blank(text, n))
        return false;
    r->kind = in->kind;
    r->source = name_of(in);
    r->line = s->line;
    r->fault = NULL;
    r->text.n = 0;
    if (nct_bytes_add(&r->text, text, n, NULL) != NCT_OK)
        r->fault = "memory for it was refused";
    else if (in->kind != NCT_RECORD_JSON && memchr(text, 0, n))
        r->fault = "a NUL byte stands in it";
    return true;
}

static nct_got next_of_list(nct_source *s, const struct input *in, bool wait, nct_batch_record *r) {
    nct_got got = s->fd >= 0 ? NCT_GOT_RECORD : open_list(s, in);
    while (got == NCT_GOT_RECORD) {
        bool enough =
            s->held.n >= 4 || s->ended || (s->held.n && memchr(s->held.data, s->separator, s->held.n));
        if (enough && !s->begun && !begin_list(s, in))
            return NCT_GOT_REFUSED;
        size_t n = s->held.n - s->from;
        const char *end = s->begun && s->held.n > s->looked
                              ? memchr(s->held.data + s->looked, s->separator, s->held.n - s->looked)
                              : NULL;
        if (end || (s->ended && n)) {
            size_t length = end ? (size_t)(end - s->held.data) - s->from : n;
            bool skipped = s->skipping, given;
            s->line++;
            s->skipping = false;
            given = !skipped && give(s, in, length, r);
            s->from += length + (end != NULL);
            s->looked = s->from;
            if (given)
                return NCT_GOT_RECORD;
        } else if (s->ended) {
            return NCT_GOT_END;
        } else if (n > MAX_RECORD) { /* told once, then passed over */
            bool told = s->skipping;
            s->skipping = true;
            s->from = s->looked = s->held.n;
            if (!told) {
                *r = (nct_batch_record){.kind = in->kind,
                                        .text = r->text,
                                        .source = name_of(in),
                                        .line = s->line + 1,
                                        .fault =
                                            "it is longer than 64 MiB, which is more than any model holds"};
                r->text.n = 0;
                return NCT_GOT_RECORD;
            }
        } else {
            s->looked = s->held.n;
            got = read_more(s, in, wait);
        }
    }
    return got;
}

nct_got nct_source_next(nct_source *s, bool wait, nct_batch_record *r) {
    while (s->at < s->n) {
        const struct input *in = &s->input[s->at];
        if (!in->listed) {
            s->at++;
            *r = (nct_batch_record){.kind = NCT_RECORD_FILE, .text = r->text, .source = in->path};
            r->text.n = 0;
            if (nct_bytes_add_str(&r->text, in->path, NULL) != NCT_OK)
                r->fault = "memory for it was refused";
            return NCT_GOT_RECORD;
        }
        nct_got got = next_of_list(s, in, wait, r);
        if (got != NCT_GOT_END)
            return got;
        close_list(s);
        s->at++;
    }
    return NCT_GOT_END;
}
