#include "cli/input.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/json.h"
#include "base/map.h"
#include "base/utf8.h"
#include "cli/template.h"

/* More than any context holds; a source that never ends stops here. */
#define MAX_BYTES ((size_t)256 << 20)

enum { WAIT_MS = 2000 }; /* an open pipe that stays empty so long gets a line on stderr */

/* ------------------------------------------------------------------ reading */

static void wait_for_stdin(const nct_cli *cli) {
    struct pollfd in = {.fd = STDIN_FILENO, .events = POLLIN};
    if (!cli->term.in_tty && poll(&in, 1, WAIT_MS) == 0)
        nct_say_note(cli, "waiting for stdin (use </dev/null or --no-stdin)");
}

static int read_all(const nct_cli *cli, int fd, const char *name, nct_bytes *text) {
    char *block = NULL;
    void *p = NULL;
    nct_error err;
    enum { BLOCK = 1 << 16 };
    if (nct_alloc(&p, BLOCK, 1, &err) != NCT_OK)
        return nct_say_status(cli, &err);
    block = p;
    int code = NCT_EXIT_OK;
    for (;;) {
        ssize_t n = read(fd, block, BLOCK);
        if (n == 0)
            break;
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
            struct pollfd in = {.fd = fd, .events = POLLIN};
            poll(&in, 1, -1);
            continue;
        }
        if (n < 0)
            code = nct_say_error(cli, NCT_EXIT_FAILURE, "%s cannot be read: %s", name, strerror(errno));
        else if (text->n + (size_t)n > MAX_BYTES)
            code = nct_say_error(cli, NCT_EXIT_CONTEXT,
                                 "%s is larger than %s, which is more than any model holds", name,
                                 NCT_BYTES(MAX_BYTES));
        else if (nct_bytes_add(text, block, (size_t)n, &err) != NCT_OK)
            code = nct_say_status(cli, &err);
        if (code != NCT_EXIT_OK)
            break;
    }
    nct_free(block);
    return code;
}

int nct_input_read_exact(const nct_cli *cli, const char *path, nct_bytes *text) {
    if (strcmp(path, "-") == 0) {
        wait_for_stdin(cli);
        return read_all(cli, STDIN_FILENO, "stdin", text);
    }
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return nct_say_error(cli, NCT_EXIT_FAILURE, "%s cannot be read: %s", path, strerror(errno));
    int code = read_all(cli, fd, path, text);
    close(fd);
    return code;
}

/* ------------------------------------------------------------------ cleaning */

/* Files that are no text, by their first bytes, and how to get the text out of them. */
static const struct {
    const char *magic;
    size_t n;
    const char *what, *remedy;
} packed[] = {
    {"\x1f\x8b", 2, "gzip", "zcat"},
    {"\xfd"
     "7zXZ",
     6, "xz", "xzcat"},
    {"\x28\xb5\x2f\xfd", 4, "zstd", "zstdcat"},
    {"BZh", 3, "bzip2", "bzcat"},
    {"%PDF-", 5, "PDF", "pdftotext -layout"},
};

int nct_input_refuse_packed(const nct_cli *cli, const char *name, const char *text, size_t n) {
    for (size_t i = 0; i < sizeof packed / sizeof *packed; i++) {
        if (n < packed[i].n || memcmp(text, packed[i].magic, packed[i].n) != 0)
            continue;
        bool is_stdin = strcmp(name, "stdin") == 0;
        return nct_say_error(cli, NCT_EXIT_USAGE, "%s is %s %s file, not text\ntry: %s %s%s | noctule %s ...",
                             name, packed[i].what[0] == 'x' ? "an" : "a", packed[i].what, packed[i].remedy,
                             is_stdin ? "FILE" : name, i == 4 ? " -" : "",
                             cli->command ? cli->command->name : "run");
    }
    return NCT_EXIT_OK;
}

/* UTF-16 after its byte-order mark to UTF-8; halves of pairs become U+FFFD and are counted. */
static nct_status convert_utf16(nct_bytes *text, bool big_endian, size_t *n_bad, nct_error *err) {
    nct_bytes out = {0};
    size_t n = text->n & ~(size_t)1;
    *n_bad = text->n & 1;
    for (size_t i = 2; i < n; i += 2) {
        const uint8_t *b = (const uint8_t *)text->data + i;
        uint32_t unit = big_endian ? (uint32_t)b[0] << 8 | b[1] : (uint32_t)b[1] << 8 | b[0];
        if (unit >= 0xd800 && unit < 0xdc00 && i + 2 < n) {
            uint32_t low = big_endian ? (uint32_t)b[2] << 8 | b[3] : (uint32_t)b[3] << 8 | b[2];
            if (low >= 0xdc00 && low < 0xe000) {
                unit = 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
                i += 2;
            }
        }
        if (unit >= 0xd800 && unit < 0xe000) {
            unit = 0xfffd;
            ++*n_bad;
        }
        char c[4];
        size_t length = unit < 0x80 ? 1 : unit < 0x800 ? 2 : unit < 0x10000 ? 3 : 4;
        static const uint8_t lead[] = {0, 0, 0xc0, 0xe0, 0xf0};
        for (size_t k = length; k-- > 1; unit >>= 6)
            c[k] = (char)(0x80 | (unit & 0x3f));
        c[0] = (char)(lead[length] | unit);
        nct_status status = nct_bytes_add(&out, c, length, err);
        if (status != NCT_OK) {
            nct_bytes_reset(&out);
            return status;
        }
    }
    nct_bytes_reset(text);
    *text = out;
    return NCT_OK;
}

static int clean(const nct_cli *cli, const char *name, nct_bytes *text) {
    nct_error err;
    if (text->n == 0)
        return NCT_EXIT_OK;
    int code = nct_input_refuse_packed(cli, name, text->data, text->n);
    if (code != NCT_EXIT_OK)
        return code;
    const uint8_t *b = (const uint8_t *)text->data;
    if (text->n >= 3 && memcmp(b, "\xef\xbb\xbf", 3) == 0) {
        memmove(text->data, text->data + 3, text->n - 3);
        text->n -= 3;
        text->data[text->n] = 0;
    } else if (text->n >= 2 && (memcmp(b, "\xff\xfe", 2) == 0 || memcmp(b, "\xfe\xff", 2) == 0)) {
        size_t n_bad = 0;
        if (convert_utf16(text, b[0] == 0xfe, &n_bad, &err) != NCT_OK)
            return nct_say_status(cli, &err);
        if (n_bad)
            nct_say_warning(cli, "%s: %s code units are no UTF-16 and were replaced", name, NCT_N(n_bad));
    }
    const char *nul = text->n ? memchr(text->data, 0, text->n) : NULL;
    if (nul)
        return nct_say_error(cli, NCT_EXIT_USAGE, "%s is no text: a NUL byte stands at offset %zu", name,
                             (size_t)(nul - text->data));
    size_t n_bad = 0, first_bad = 0;
    for (size_t i = 0; i < text->n;) {
        uint32_t character;
        size_t length = nct_utf8_decode(text->data + i, text->n - i, &character);
        if (length == 0 && n_bad++ == 0)
            first_bad = i;
        i += length ? length : 1;
    }
    if (n_bad)
        nct_say_warning(cli, "%s: %s byte%s no UTF-8 (first at offset %zu) and kept as they are", name,
                        NCT_N(n_bad), n_bad == 1 ? " is" : "s are", first_bad);
    return NCT_EXIT_OK;
}

int nct_input_read(const nct_cli *cli, const char *path, nct_bytes *text) {
    int code = nct_input_read_exact(cli, path, text);
    return code == NCT_EXIT_OK ? clean(cli, strcmp(path, "-") == 0 ? "stdin" : path, text) : code;
}

int nct_input_option(const nct_cli *cli, const char *value, const char *name, nct_bytes *text) {
    if (value[0] == '@')
        return nct_input_read(cli, value + 1, text);
    nct_error err;
    if (nct_bytes_add_str(text, value, &err) != NCT_OK)
        return nct_say_status(cli, &err);
    return clean(cli, name, text);
}

/* ------------------------------------------------------------------ ids */

typedef struct id_list {
    int32_t *ids;
    size_t n, capacity;
} id_list;

static nct_status add_id(id_list *list, int64_t id, const char *name, nct_error *err) {
    if (id < 0 || id > INT32_MAX)
        return nct_fail(err, NCT_E_ARGUMENT, "%s: item %zu is no token id", name, list->n);
    void *p = list->ids;
    NCT_TRY(nct_grow(&p, &list->capacity, list->n + 1, sizeof *list->ids, err));
    list->ids = p;
    list->ids[list->n++] = (int32_t)id;
    return NCT_OK;
}

static nct_status read_json_ids(const char *name, const char *text, size_t n, id_list *list, nct_error *err) {
    nct_json *json = NULL;
    NCT_TRY(nct_json_parse(name, text, n, &json, err));
    nct_status status = NCT_OK;
    for (const nct_json *item = nct_json_first(json); item && status == NCT_OK; item = nct_json_next(item))
        status = add_id(list, nct_json_int(item, -1), name, err);
    nct_json_close(json);
    return status;
}

static nct_status read_plain_ids(const char *name, const char *text, size_t n, id_list *list,
                                 nct_error *err) {
    for (size_t i = 0; i < n;) {
        if (strchr(" ,\t\r\n", text[i]) && text[i]) {
            i++;
            continue;
        }
        int64_t id = 0;
        size_t start = i;
        while (i < n && text[i] >= '0' && text[i] <= '9' && id <= INT32_MAX)
            id = id * 10 + (text[i++] - '0');
        if (i == start)
            return nct_fail(err, NCT_E_ARGUMENT,
                            "%s: no token id at byte %zu: expected numbers with commas or spaces between",
                            name, i);
        NCT_TRY(add_id(list, id, name, err));
    }
    return NCT_OK;
}

int nct_parse_ids(const nct_cli *cli, const char *name, const char *text, size_t n, int32_t **ids,
                  size_t *n_ids) {
    size_t space = 0;
    while (space < n && strchr(" \t\r\n", text[space]) && text[space])
        space++;
    id_list list = {0};
    nct_error err = {0};
    nct_status status = space < n && text[space] == '[' ? read_json_ids(name, text, n, &list, &err)
                                                        : read_plain_ids(name, text, n, &list, &err);
    if (status == NCT_OK) {
        *ids = list.ids;
        *n_ids = list.n;
        return NCT_EXIT_OK;
    }
    nct_free(list.ids);
    return nct_say_error(cli, status == NCT_E_MEMORY ? NCT_EXIT_FAILURE : NCT_EXIT_USAGE,
                         "%s\ntry: 1,2,3 or [1,2,3]", err.text);
}

int nct_input_ids(const nct_cli *cli, const char *value, int32_t **ids, size_t *n_ids) {
    if (value[0] != '@')
        return nct_parse_ids(cli, "--ids", value, strlen(value), ids, n_ids);
    nct_bytes text = {0};
    int code = nct_input_read_exact(cli, value + 1, &text);
    if (code == NCT_EXIT_OK)
        code = nct_parse_ids(cli, value + 1, text.data ? text.data : "", text.n, ids, n_ids);
    nct_bytes_reset(&text);
    return code;
}

/* ------------------------------------------------------------------ assembling */

/* Parts are set apart by an empty line. */
static nct_status add_part(nct_prompt *p, const char *name, bool header, const nct_bytes *text,
                           nct_error *err) {
    if (p->text.n)
        NCT_TRY(nct_bytes_add_str(&p->text, p->text.data[p->text.n - 1] == '\n' ? "\n" : "\n\n", err));
    void *parts = p->part;
    NCT_TRY(nct_grow(&parts, &p->parts_capacity, p->n_parts + 1, sizeof *p->part, err));
    p->part = parts;
    nct_prompt_part *part = &p->part[p->n_parts];
    *part = (nct_prompt_part){.begin = p->text.n};
    if (header)
        NCT_TRY(nct_bytes_printf(&p->text, err, "=== %s ===\n", name));
    part->body = p->text.n;
    NCT_TRY(nct_bytes_add(&p->text, text->data ? text->data : "", text->n, err));
    part->end = p->text.n;
    NCT_TRY(nct_copy_string(&part->own, name, strlen(name), err));
    part->name = part->own;
    p->n_parts++;
    return NCT_OK;
}

/* The newline that ends a file is not part of what is asked. */
static void drop_final_newline(nct_bytes *text) {
    if (text->n && text->data[text->n - 1] == '\n')
        text->n--;
    if (text->n && text->data[text->n - 1] == '\r')
        text->n--;
    if (text->data)
        text->data[text->n] = 0;
}

int nct_input_clean(const nct_cli *cli, const char *name, nct_bytes *text) { return clean(cli, name, text); }

nct_status nct_prompt_add(nct_prompt *prompt, const char *name, const nct_bytes *text, bool instruction,
                          nct_error *err) {
    NCT_TRY(add_part(prompt, name, false, text, err));
    prompt->part[prompt->n_parts - 1].instruction = instruction;
    return NCT_OK;
}

void nct_prompt_end(nct_prompt *prompt) { drop_final_newline(&prompt->text); }

/* ------------------------------------------------------------------ files */

typedef struct path_list {
    char **path;
    size_t n, capacity;
    size_t n_named; /* how many were named themselves; the rest came from folders */
} path_list;

static nct_status add_path(path_list *list, const char *path, nct_error *err) {
    void *p = list->path;
    NCT_TRY(nct_grow(&p, &list->capacity, list->n + 1, sizeof *list->path, err));
    list->path = p;
    NCT_TRY(nct_copy_string(&list->path[list->n], path, strlen(path), err));
    list->n++;
    return NCT_OK;
}

static int by_name(const struct dirent **a, const struct dirent **b) {
    return strcmp((*a)->d_name, (*b)->d_name);
}
static int not_hidden(const struct dirent *entry) { return entry->d_name[0] != '.'; }

/* Files of a folder and its folders, in the order of their names; hidden ones and links to folders are
 * left out. */
static nct_status walk(const char *folder, int depth, path_list *list, nct_error *err) {
    enum { MAX_DEPTH = 64, MAX_FILES = 100000 };
    if (depth > MAX_DEPTH || list->n > MAX_FILES)
        return nct_fail(err, NCT_E_ARGUMENT, "%s holds more files or folders than a prompt can", folder);
    struct dirent **entries = NULL;
    int n = scandir(folder, &entries, not_hidden, by_name);
    if (n < 0)
        return nct_fail(err, NCT_E_IO, "%s cannot be read: %s", folder, strerror(errno));
    nct_status status = NCT_OK;
    for (int i = 0; i < n; i++) {
        nct_bytes path = {0};
        struct stat what;
        if (status == NCT_OK)
            status = nct_bytes_printf(&path, err, "%s%s%s", folder,
                                      folder[strlen(folder) - 1] == '/' ? "" : "/", entries[i]->d_name);
        if (status == NCT_OK && lstat(path.data, &what) == 0) {
            if (S_ISDIR(what.st_mode))
                status = walk(path.data, depth + 1, list, err);
            else if (S_ISREG(what.st_mode) || (S_ISLNK(what.st_mode) && nct_is_file(path.data)))
                status = add_path(list, path.data, err);
        }
        nct_bytes_reset(&path);
        free(entries[i]);
    }
    free(entries);
    return status;
}

/* A file found in a folder is left out if it is no text. */
static bool looks_binary(const char *path) {
    unsigned char head[4096];
    FILE *f = fopen(path, "rb");
    if (!f)
        return false;
    size_t n = fread(head, 1, sizeof head, f);
    fclose(f);
    if (n >= 2 && ((head[0] == 0xff && head[1] == 0xfe) || (head[0] == 0xfe && head[1] == 0xff)))
        return false;
    for (size_t i = 0; i < sizeof packed / sizeof *packed; i++)
        if (n >= packed[i].n && memcmp(head, packed[i].magic, packed[i].n) == 0)
            return true;
    return memchr(head, 0, n) != NULL;
}

static int expand(const nct_cli *cli, const char *path, path_list *list, size_t *n_skipped) {
    nct_error err;
    size_t first = list->n;
    if (strcmp(path, "-") == 0 || !nct_is_directory(path))
        return add_path(list, path, &err) == NCT_OK ? NCT_EXIT_OK : nct_say_status(cli, &err);
    if (!cli->args.recursive)
        return nct_say_error(cli, NCT_EXIT_USAGE, "%s is a folder\ntry: -R -f %s    (takes its files)", path,
                             path);
    if (walk(path, 0, list, &err) != NCT_OK)
        return nct_say_status(cli, &err);
    size_t kept = first;
    for (size_t i = first; i < list->n; i++) {
        if (looks_binary(list->path[i])) {
            nct_free(list->path[i]);
            ++*n_skipped;
        } else {
            list->path[kept++] = list->path[i];
        }
    }
    list->n = kept;
    return NCT_EXIT_OK;
}

static int expand_all(const nct_cli *cli, const nct_list *paths, path_list *list) {
    size_t n_skipped = 0;
    int code = NCT_EXIT_OK;
    for (size_t i = 0; i < paths->n && code == NCT_EXIT_OK; i++)
        code = expand(cli, paths->item[i], list, &n_skipped);
    if (n_skipped)
        nct_say_warning(cli, "%s file%s no text and left out", NCT_N(n_skipped),
                        n_skipped == 1 ? " is" : "s are");
    return code;
}

int nct_input_files(const nct_cli *cli, const nct_list *paths, char ***files, size_t *n) {
    path_list list = {0};
    int code = expand_all(cli, paths, &list);
    *files = list.path;
    *n = list.n;
    return code;
}

int nct_prompt_add_files(const nct_cli *cli, nct_prompt *prompt, const nct_list *paths) {
    path_list list = {0};
    int code = expand_all(cli, paths, &list);
    for (size_t i = 0; i < list.n && code == NCT_EXIT_OK; i++) {
        nct_bytes text = {0};
        nct_error err;
        code = nct_input_read(cli, list.path[i], &text);
        if (code == NCT_EXIT_OK && add_part(prompt, strcmp(list.path[i], "-") == 0 ? "stdin" : list.path[i],
                                            list.n > 1, &text, &err) != NCT_OK)
            code = nct_say_status(cli, &err);
        nct_bytes_reset(&text);
    }
    for (size_t i = 0; i < list.n; i++)
        nct_free(list.path[i]);
    nct_free(list.path);
    return code;
}

/* ------------------------------------------------------------------ which is what */

typedef enum stdin_kind { STDIN_TTY, STDIN_NOTHING, STDIN_OPEN } stdin_kind; /* nothing: closed, /dev/null */

static stdin_kind look_at_stdin(const nct_cli *cli) {
    struct stat in, null;
    if (cli->term.in_closed || cli->args.no_stdin)
        return STDIN_NOTHING;
    if (cli->term.in_tty)
        return STDIN_TTY;
    if (fstat(STDIN_FILENO, &in) == 0 && S_ISCHR(in.st_mode) && stat("/dev/null", &null) == 0 &&
        in.st_rdev == null.st_rdev)
        return STDIN_NOTHING;
    return STDIN_OPEN;
}

static bool names_stdin(const nct_list *paths) {
    for (size_t i = 0; i < paths->n; i++)
        if (strcmp(paths->item[i], "-") == 0)
            return true;
    return false;
}

static int join_words(const nct_cli *cli, nct_bytes *text) {
    nct_error err;
    for (size_t i = 0; i < cli->args.words.n; i++)
        if ((i && nct_bytes_add_str(text, " ", &err) != NCT_OK) ||
            nct_bytes_add_str(text, cli->args.words.item[i], &err) != NCT_OK)
            return nct_say_status(cli, &err);
    return NCT_EXIT_OK;
}

#define TRY_PROMPT "try: noctule run \"...\"    or: ... | noctule run \"...\""

/* What the prompt is made of. */
typedef struct sources {
    bool files;   /* -f */
    bool content; /* stdin is content */
    bool asks;    /* stdin is the instruction, or the whole prompt */
    bool prompt;  /* an argument is the instruction */
} sources;

/* The table of stdin, terminals and arguments. */
static int decide(const nct_cli *cli, nct_prompt *prompt, sources *from) {
    const nct_args *a = &cli->args;
    stdin_kind in = look_at_stdin(cli);
    bool given = from->prompt, dash = names_stdin(&a->files);
    from->files = a->files.n > 0;
    if (dash && in == STDIN_NOTHING && a->no_stdin)
        return nct_say_error(cli, NCT_EXIT_USAGE, "-f - reads stdin, and --no-stdin forbids it");
    if (from->files && given)
        return NCT_EXIT_OK; /* stdin is not touched: it may be the list that a loop reads */
    if (from->files) {
        if (dash && in == STDIN_OPEN)
            return NCT_EXIT_OK; /* what stdin holds is all there is to ask */
        if (in != STDIN_OPEN)
            return nct_say_error(cli, NCT_EXIT_USAGE,
                                 "no instruction; add -p\ntry: noctule run -f %s -p \"...\"",
                                 a->files.item[0]);
        from->asks = true;
        return NCT_EXIT_OK;
    }
    if (given) {
        from->content = in == STDIN_OPEN;
        return NCT_EXIT_OK;
    }
    if (in == STDIN_OPEN) {
        from->asks = true;
        return NCT_EXIT_OK;
    }
    if (in == STDIN_NOTHING)
        return nct_say_error(cli, NCT_EXIT_USAGE, "no prompt, and stdin holds nothing\n" TRY_PROMPT);
    if (!cli->term.out_tty)
        return nct_say_error(cli, NCT_EXIT_USAGE,
                             "no prompt; stdout is not a terminal, so not starting a chat\n" TRY_PROMPT);
    prompt->chat = true;
    return NCT_EXIT_OK;
}

/* Reads stdin for a part; an empty one is refused where that cannot be meant. */
static int read_stdin(const nct_cli *cli, nct_bytes *text, bool may_be_empty) {
    int code = nct_input_read(cli, "-", text);
    if (code == NCT_EXIT_OK && text->n == 0 && !may_be_empty)
        code = nct_say_error(
            cli, NCT_EXIT_USAGE,
            "stdin was empty\ntry: --allow-empty    (goes on without it)\n     </dev/null       (says so)");
    return code;
}

static int add_content(const nct_cli *cli, nct_prompt *prompt, const sources *from) {
    if (from->files)
        return nct_prompt_add_files(cli, prompt, &cli->args.files);
    if (!from->content)
        return NCT_EXIT_OK;
    nct_bytes text = {0};
    nct_error err;
    int code = read_stdin(cli, &text, cli->args.allow_empty);
    if (code == NCT_EXIT_OK && text.n && add_part(prompt, "stdin", false, &text, &err) != NCT_OK)
        code = nct_say_status(cli, &err);
    nct_bytes_reset(&text);
    return code;
}

static int add_instruction(const nct_cli *cli, nct_prompt *prompt, const sources *from, nct_bytes *text) {
    nct_error err;
    if (text->n == 0)
        return NCT_EXIT_OK;
    if (add_part(prompt, "the prompt", false, text, &err) != NCT_OK)
        return nct_say_status(cli, &err);
    /* what stdin holds, if there is nothing else, is both */
    prompt->part[prompt->n_parts - 1].instruction = from->prompt || from->files;
    return NCT_EXIT_OK;
}

static int assemble(const nct_cli *cli, nct_prompt *prompt, const sources *from, nct_bytes *instruction) {
    int code = NCT_EXIT_OK;
    if (from->asks &&
        (code = read_stdin(cli, instruction, cli->args.allow_empty && from->files)) == NCT_EXIT_OK)
        drop_final_newline(instruction);
    bool first = cli->args.order == 1;
    if (code == NCT_EXIT_OK && first)
        code = add_instruction(cli, prompt, from, instruction);
    if (code == NCT_EXIT_OK)
        code = add_content(cli, prompt, from);
    if (code == NCT_EXIT_OK && !first)
        code = add_instruction(cli, prompt, from, instruction);
    if (code == NCT_EXIT_OK && (first || instruction->n == 0))
        drop_final_newline(&prompt->text);
    return code;
}

int nct_prompt_read(const nct_cli *cli, nct_prompt *prompt) {
    const nct_args *a = &cli->args;
    bool flag = a->prompt && nct_args_origin(a, &a->prompt) == NCT_FROM_FLAG;
    if (a->words.n && flag)
        return nct_say_error(cli, NCT_EXIT_USAGE, "two prompts: \"%.40s\" and -p \"%.40s\"\ntry: one of them",
                             a->words.item[0], a->prompt);
    if (a->ids) {
        if (a->words.n || flag || a->files.n)
            return nct_say_error(cli, NCT_EXIT_USAGE, "--ids is the whole prompt; a text was given too");
        prompt->has_ids = true;
        return nct_input_ids(cli, a->ids, &prompt->ids, &prompt->n_ids);
    }
    nct_bytes instruction = {0};
    sources from = {.prompt = a->words.n || a->prompt || a->template};
    nct_bytes template = {0};
    int code = a->words.n ? join_words(cli, &instruction) : NCT_EXIT_OK;
    nct_error err;
    if (code == NCT_EXIT_OK && !a->words.n && a->prompt &&
        nct_bytes_add_str(&instruction, a->prompt, &err) != NCT_OK)
        code = nct_say_status(cli, &err);
    if (code == NCT_EXIT_OK)
        code = clean(cli, "the prompt", &instruction);
    if (code == NCT_EXIT_OK && a->template)
        code = nct_template_read(cli, &template);
    if (code == NCT_EXIT_OK)
        code = decide(cli, prompt, &from);
    if (code == NCT_EXIT_OK && !prompt->chat)
        code = assemble(cli, prompt, &from, &instruction);
    if (code == NCT_EXIT_OK && a->template && !prompt->chat)
        code =
            nct_template_fill(cli, &template, cli->args.files.n ? cli->args.files.item[0] : "stdin", prompt);
    nct_bytes_reset(&template);
    nct_bytes_reset(&instruction);
    return code;
}

void nct_prompt_close(nct_prompt *p) {
    for (size_t i = 0; i < p->n_parts; i++)
        nct_free(p->part[i].own);
    nct_free(p->part);
    nct_free(p->ids);
    nct_bytes_reset(&p->text);
    *p = (nct_prompt){0};
}
