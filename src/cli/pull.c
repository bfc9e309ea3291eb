/* noctule pull: fetches a published model with curl. The hub's list of files says what there is, how long it is and its
 * SHA-256; what arrives is believed only where it agrees. The one command that uses a network, and that by curl. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/json.h"
#include "base/map.h"
#include "base/sha256.h"
#include "cli/open.h"
#include "cli/output.h"
#include "cli/places.h"
#include "cli/published.h"

enum { FILES_MOST = 512, NAME_MOST = 200 };
#define HUB "https://huggingface.co"

typedef struct item {
    char name[NAME_MOST + 1];
    uint64_t n_bytes;
    char sha256[2 * NCT_SHA256_BYTES + 1]; /* "" of small files, which the hub does not tell it of */
} item;

typedef struct pulling {
    nct_cli *cli;
    const nct_published *model;
    const char *hub;
    char folder[PATH_MAX], part[PATH_MAX]; /* where it goes, and while it comes */
    item *items;
    size_t n_items;
    uint64_t n_bytes;
    char licence[64];
} pulling;

/* ------------------------------------------------------------------ curl */

/* Runs it and waits. What it says is on stderr. */
static int run_curl(const nct_cli *cli, const char *const *arguments) {
    const char *argv[24] = {"curl", "-fL", "--proto", "=https,http,file", "--retry", "3"};
    size_t n = 6;
    argv[n++] = cli->term.err_tty && !cli->args.quiet ? "-#" : "-sS";
    while (*arguments && n < 23)
        argv[n++] = *arguments++;
    pid_t child = fork();
    if (child == 0) {
        dup2(STDERR_FILENO, STDOUT_FILENO);
        execvp("curl", (char *const *)(uintptr_t)argv);
        _exit(127);
    }
    int status = 0;
    while (child > 0 && waitpid(child, &status, 0) < 0 && errno == EINTR)
        ;
    if (child < 0)
        return nct_say_error(cli, NCT_EXIT_FAILURE, "curl cannot be started: %s", strerror(errno));
    if (WIFSIGNALED(status))
        return WTERMSIG(status) == SIGTERM ? NCT_EXIT_TERMINATE : NCT_EXIT_INTERRUPT;
    if (WEXITSTATUS(status) == 127)
        return nct_say_error(cli, NCT_EXIT_FAILURE, "pull needs curl, which is not here\ntry: noctule pull --print NAME elsewhere");
    return WEXITSTATUS(status);
}

/* A small answer of the hub as JSON. */
static int fetch_json(pulling *p, const char *url, nct_json **json) {
    char path[PATH_MAX];
    nct_error err = {0};
    if (snprintf(path, sizeof path, "%s/.answer", p->part) >= (int)sizeof path)
        return nct_say_error(p->cli, NCT_EXIT_FAILURE, "the path of the models folder is too long");
    int code = run_curl(p->cli, (const char *[]){"--max-filesize", "8388608", "--max-time", "120", "-o", path, url, NULL});
    if (code == NCT_EXIT_OK && nct_json_open(path, json, &err) != NCT_OK)
        code = nct_say_error(p->cli, NCT_EXIT_FAILURE, "%s: not the list of files that was expected: %s", url, err.text);
    else if (code > 0 && code < NCT_EXIT_INTERRUPT && code != NCT_EXIT_OK && !*json)
        code = nct_say_error(p->cli, NCT_EXIT_FAILURE, "%s cannot be fetched (curl: %d)\ntry: --from URL    (a mirror)", url, code);
    unlink(path);
    return code;
}

/* ------------------------------------------------------------------ what there is */

/* A name that is one in the folder and nothing else to a shell or a terminal. */
static bool is_plain(const char *name) {
    if (!*name || *name == '.' || *name == '-' || strlen(name) > NAME_MOST)
        return false;
    for (const char *c = name; *c; c++)
        if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-", *c))
            return false;
    return true;
}

/* Weights, shapes and tokenizers; no programs, pictures or other formats of the same. */
static bool is_wanted(const nct_published *m, const char *name) {
    if (m->file)
        return nct_ends_with(name, ".gguf") && strstr(name, m->file);
    return nct_ends_with(name, ".safetensors") || nct_ends_with(name, ".json") || nct_ends_with(name, ".jinja") ||
           strcmp(name, "tokenizer.model") == 0 || (strncmp(name, "freq_", 5) == 0 && nct_ends_with(name, ".pt"));
}

static bool is_hex(const char *s) { return strlen(s) == 64 && strspn(s, "0123456789abcdef") == 64; }

static int take_items(pulling *p, const nct_json *list) {
    void *items = NULL;
    nct_error err = {0};
    if (!nct_json_is_array(list))
        return nct_say_error(p->cli, NCT_EXIT_FAILURE, "the hub's list of %s is none", p->model->repository);
    if (nct_alloc(&items, FILES_MOST, sizeof(item), &err) != NCT_OK)
        return nct_say_status(p->cli, &err);
    p->items = items;
    for (const nct_json *f = nct_json_first(list); f; f = nct_json_next(f)) {
        const char *name = nct_json_string(nct_json_get(f, "path"), "");
        const nct_json *lfs = nct_json_get(f, "lfs");
        int64_t size = nct_json_int(nct_json_get(lfs ? lfs : f, "size"), -1);
        const char *sha = nct_json_string(nct_json_get(lfs, "oid"), "");
        if (strcmp(nct_json_string(nct_json_get(f, "type"), ""), "file") != 0 || !is_plain(name) ||
            !is_wanted(p->model, name))
            continue;
        if (size < 0 || size > (int64_t)1 << 44 || (lfs && !is_hex(sha)) || p->n_items == FILES_MOST)
            return nct_say_error(p->cli, NCT_EXIT_FAILURE, "the hub's list of %s makes no sense at '%.80s'",
                                 p->model->repository, name);
        item *i = &p->items[p->n_items++];
        snprintf(i->name, sizeof i->name, "%s", name);
        snprintf(i->sha256, sizeof i->sha256, "%s", lfs ? sha : "");
        i->n_bytes = (uint64_t)size;
        p->n_bytes += i->n_bytes;
    }
    return p->n_items ? NCT_EXIT_OK
                      : nct_say_error(p->cli, NCT_EXIT_FAILURE, "%s has no files that a checkpoint is made of",
                                      p->model->repository);
}

static int look_up(pulling *p) {
    char url[512];
    nct_json *json = NULL;
    snprintf(url, sizeof url, "%s/api/models/%s/tree/main", p->hub, p->model->repository);
    int code = fetch_json(p, url, &json);
    if (code == NCT_EXIT_OK)
        code = take_items(p, json);
    nct_json_close(json);
    json = NULL;
    snprintf(p->licence, sizeof p->licence, "not stated");
    snprintf(url, sizeof url, "%s/api/models/%s", p->hub, p->model->repository);
    if (code == NCT_EXIT_OK && (code = fetch_json(p, url, &json)) == NCT_EXIT_OK) {
        const char *licence = nct_json_string(nct_json_get(nct_json_get(json, "cardData"), "license"), "");
        if (is_plain(licence))
            snprintf(p->licence, sizeof p->licence, "%.60s", licence);
    }
    nct_json_close(json);
    return code;
}

/* ------------------------------------------------------------------ fetching */

static void url_of(const pulling *p, const item *i, char url[1024]) {
    snprintf(url, 1024, "%s/%s/resolve/main/%s", p->hub, p->model->repository, i->name);
}

/* Whether the file is what the list says: "" or what is wrong. */
static int check(const pulling *p, const item *i, const char *path, bool *good) {
    nct_map map;
    nct_error err = {0};
    struct stat what;
    *good = false;
    if (stat(path, &what) != 0 || (uint64_t)what.st_size != i->n_bytes)
        return NCT_EXIT_OK;
    if (!*i->sha256 || i->n_bytes == 0) {
        *good = true;
        return NCT_EXIT_OK;
    }
    if (nct_map_open(path, &map, &err) != NCT_OK)
        return nct_say_status(p->cli, &err);
    uint8_t digest[NCT_SHA256_BYTES];
    char hex[2 * NCT_SHA256_BYTES + 1];
    nct_sha256_of(map.data, map.n_bytes, digest);
    nct_map_close(&map);
    nct_sha256_hex(digest, sizeof digest, hex);
    *good = strcmp(hex, i->sha256) == 0;
    return NCT_EXIT_OK;
}

/* From where an earlier attempt ended. */
static int fetch(const pulling *p, const item *i) {
    char path[PATH_MAX], url[1024];
    bool good;
    struct stat what;
    if (snprintf(path, sizeof path, "%s/%s", p->part, i->name) >= (int)sizeof path)
        return nct_say_error(p->cli, NCT_EXIT_FAILURE, "the path of the models folder is too long");
    url_of(p, i, url);
    bool there = stat(path, &what) == 0;
    if (there && (uint64_t)what.st_size > i->n_bytes)
        unlink(path);
    int code = check(p, i, path, &good);
    if (code != NCT_EXIT_OK || good)
        return code;
    if (there && (uint64_t)what.st_size == i->n_bytes) /* whole, and wrong */
        unlink(path);
    nct_say_note(p->cli, "%s, %s", i->name, NCT_BYTES(i->n_bytes));
    code = run_curl(p->cli, (const char *[]){"-C", "-", "-o", path, url, NULL});
    if (code >= NCT_EXIT_INTERRUPT)
        return code;
    if (code != NCT_EXIT_OK)
        return nct_say_error(p->cli, NCT_EXIT_FAILURE,
                             "%s cannot be fetched (curl: %d); what has come is kept in %s\ntry: the same again, which goes on from there",
                             url, code, p->part);
    code = check(p, i, path, &good);
    if (code == NCT_EXIT_OK && !good) {
        unlink(path);
        code = nct_say_error(p->cli, NCT_EXIT_MODEL, "%s: not the bytes that the hub's list tells of; it was removed", i->name);
    }
    return code;
}

static int ask(const pulling *p) {
    if (p->cli->args.yes)
        return NCT_EXIT_OK;
    if (!p->cli->term.in_tty || !p->cli->term.err_tty)
        return nct_say_error(p->cli, NCT_EXIT_USAGE,
                             "%s is %s; nobody is there to be asked\ntry: noctule pull --yes %s", p->model->name,
                             NCT_BYTES(p->n_bytes), p->model->name);
    fprintf(stderr, "Fetch it into %s? [y/N] ", p->folder);
    char line[16] = "";
    if (!fgets(line, sizeof line, stdin) || (line[0] != 'y' && line[0] != 'Y'))
        return nct_say_error(p->cli, NCT_EXIT_FAILURE, "not fetched");
    return NCT_EXIT_OK;
}

static int check_disk(const pulling *p) {
    struct statvfs disk;
    if (statvfs(p->part, &disk) != 0)
        return NCT_EXIT_OK;
    uint64_t free_bytes = (uint64_t)disk.f_bavail * disk.f_frsize, there = 0;
    for (size_t i = 0; i < p->n_items; i++) {
        char path[PATH_MAX];
        struct stat what;
        if (snprintf(path, sizeof path, "%s/%s", p->part, p->items[i].name) < (int)sizeof path && stat(path, &what) == 0)
            there += (uint64_t)what.st_size;
    }
    return p->n_bytes <= free_bytes + there
               ? NCT_EXIT_OK
               : nct_say_error(p->cli, NCT_EXIT_FAILURE, "%s takes %s; %s are free where %s lies", p->model->name,
                               NCT_BYTES(p->n_bytes), NCT_BYTES(free_bytes), p->part);
}

/* What would be typed instead. */
static int print_commands(const pulling *p) {
    nct_output out;
    int code = nct_output_open(p->cli, NULL, &out);
    if (code != NCT_EXIT_OK)
        return code;
    nct_output_print(&out, "mkdir -p '%s' && cd '%s'\n", p->folder, p->folder);
    for (size_t i = 0; i < p->n_items; i++) {
        char url[1024];
        url_of(p, &p->items[i], url);
        nct_output_print(&out, "curl -fL -C - -o %s '%s'\n", p->items[i].name, url);
        if (*p->items[i].sha256)
            nct_output_print(&out, "echo '%s  %s' | sha256sum -c\n", p->items[i].sha256, p->items[i].name);
    }
    return nct_output_close(&out, code);
}

/* A GGUF file is a checkpoint by itself and gets the model's name; others keep their folder. */
static int finish(const pulling *p) {
    nct_output out;
    char from[PATH_MAX], to[PATH_MAX];
    bool alone = p->model->file && p->n_items == 1;
    if (snprintf(from, sizeof from, "%s%s%s", p->part, alone ? "/" : "", alone ? p->items[0].name : "") >= (int)sizeof from ||
        snprintf(to, sizeof to, "%s%s", p->folder, alone ? ".gguf" : "") >= (int)sizeof to)
        return nct_say_error(p->cli, NCT_EXIT_FAILURE, "the path of the models folder is too long");
    if (rename(from, to) != 0)
        return nct_say_error(p->cli, NCT_EXIT_FAILURE, "%s cannot be renamed to %s: %s", from, to, strerror(errno));
    int code = nct_output_open(p->cli, NULL, &out);
    if (code != NCT_EXIT_OK)
        return code;
    nct_output_print(&out, "%s\n", to);
    nct_say_note(p->cli, "noctule convert %s -o %s.nct makes a bundle of it, which opens at once", to, p->model->name);
    return nct_output_close(&out, code);
}

static int find_folders(pulling *p) {
    char models[PATH_MAX - NAME_MOST];
    if (!nct_place_path(NCT_PLACE_DATA, "models", models, sizeof models - 64))
        return nct_say_error(p->cli, NCT_EXIT_FAILURE, "no place for models: neither XDG_DATA_HOME nor HOME is set");
    snprintf(p->folder, sizeof p->folder, "%s/%s", models, p->model->name);
    snprintf(p->part, sizeof p->part, "%s/.%s.part", models, p->model->name); /* hidden: no model yet */
    char file[PATH_MAX];
    snprintf(file, sizeof file, "%.*s.gguf", (int)sizeof file - 8, p->folder);
    if (access(p->folder, F_OK) == 0 || access(file, F_OK) == 0)
        return nct_say_error(p->cli, NCT_EXIT_USAGE, "%s is there already\ntry: noctule info -m %s", p->folder, p->model->name);
    return nct_make_folders(p->part, true)
               ? NCT_EXIT_OK
               : nct_say_error(p->cli, NCT_EXIT_FAILURE, "%s cannot be made: %s", p->part, strerror(errno));
}

static int find_model(pulling *p) {
    const nct_list *words = &p->cli->args.words;
    size_t n;
    const nct_published *all = nct_published_models(&n);
    if (words->n == 1)
        for (size_t i = 0; i < n; i++)
            if (strcmp(all[i].name, words->item[0]) == 0) {
                p->model = &all[i];
                return NCT_EXIT_OK;
            }
    char lines[2048] = "";
    const char *names[64];
    for (size_t i = 0; i < n; i++) {
        names[i] = all[i].name;
        snprintf(lines + strlen(lines), sizeof lines - strlen(lines), "\n  %-36s %s", all[i].name, all[i].what);
    }
    if (words->n != 1)
        return nct_say_error(p->cli, NCT_EXIT_USAGE, "pull wants one name; there are:%s", lines);
    const char *near = nct_nearest(words->item[0], names, n);
    return nct_say_error(p->cli, NCT_EXIT_MODEL, "no published model '%.80s'; there are:%s%s%s", words->item[0], lines,
                         near ? "\ntry: noctule pull " : "", near ? near : "");
}

int nct_pull_main(nct_cli *cli) {
    pulling p = {.cli = cli, .hub = cli->args.from ? cli->args.from : HUB};
    int code = find_model(&p);
    if (code == NCT_EXIT_OK && (strlen(p.hub) > 200 || strpbrk(p.hub, " '\"\\\n") || *p.hub == '-'))
        code = nct_say_error(cli, NCT_EXIT_USAGE, "--from wants a URL, such as " HUB);
    if (code == NCT_EXIT_OK)
        code = find_folders(&p);
    if (code == NCT_EXIT_OK)
        code = look_up(&p);
    if (code == NCT_EXIT_OK && cli->args.print_commands) {
        code = print_commands(&p);
    } else if (code == NCT_EXIT_OK) {
        if (!cli->args.quiet && cli->term.err_tty)
            fprintf(stderr, "%s: %s in %zu files, licence %s\n", p.model->repository, NCT_BYTES(p.n_bytes), p.n_items, p.licence);
        code = ask(&p);
        if (code == NCT_EXIT_OK)
            code = check_disk(&p);
        for (size_t i = 0; i < p.n_items && code == NCT_EXIT_OK; i++)
            code = fetch(&p, &p.items[i]);
        if (code == NCT_EXIT_OK)
            code = finish(&p);
    }
    rmdir(p.part); /* if it is empty */
    nct_free(p.items);
    return code;
}
