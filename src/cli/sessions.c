#include "cli/sessions.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/json.h"
#include "base/map.h"
#include "cli/input.h"
#include "cli/places.h"

enum { SCHEMA = 1, TITLE_BYTES = 80, SLUG_BYTES = 32, SAME_DAY = 1000 };

/* ------------------------------------------------------------------ places */

/* A name is one part of a path, and nothing that a terminal or a list would trip over. */
static bool may_be_name(const char *name) {
    size_t n = strlen(name);
    if (n == 0 || n >= NCT_SESSION_NAME || name[0] == '.' || name[0] == '-')
        return false;
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)name[i] < 0x20 || name[i] == 0x7f || name[i] == '/')
            return false;
    return true;
}

static bool session_folder(const char *name, char *buf, size_t n_buf) {
    char below[16 + NCT_SESSION_NAME];
    snprintf(below, sizeof below, "sessions/%s", name);
    return nct_place_path(NCT_PLACE_STATE, below, buf, n_buf);
}

/* ------------------------------------------------------------------ a list */

void nct_kept_list_close(nct_kept_line *line, size_t n) {
    for (size_t i = 0; i < n; i++) {
        nct_free(line[i].model);
        nct_free(line[i].title);
    }
    nct_free(line);
}

static bool copy_text(const nct_json *json, const char *key, char **copy) {
    const char *text = nct_json_string(nct_json_get(json, key), "");
    return nct_copy_string(copy, text, strlen(text), NULL) == NCT_OK;
}

/* A folder without a transcript is none of ours. meta.json may be missing: it is only a summary. */
static bool read_line(const char *name, nct_kept_line *line) {
    char folder[PATH_MAX], path[PATH_MAX];
    struct stat transcript, meta;
    nct_json *json = NULL;
    *line = (nct_kept_line){0};
    if (!may_be_name(name) || !session_folder(name, folder, sizeof folder) ||
        !nct_path_join(path, sizeof path, folder, "transcript.jsonl") || stat(path, &transcript) != 0)
        return false;
    snprintf(line->name, sizeof line->name, "%.*s", NCT_SESSION_NAME - 1, name);
    line->updated = (int64_t)transcript.st_mtime;
    line->n_bytes = (uint64_t)transcript.st_size;
    if (nct_path_join(path, sizeof path, folder, "meta.json") && stat(path, &meta) == 0 &&
        nct_json_open(path, &json, NULL) == NCT_OK) {
        line->n_bytes += (uint64_t)meta.st_size;
        line->n_turns = nct_json_int(nct_json_get(json, "turns"), 0);
        line->n_tokens = nct_json_int(nct_json_get(json, "tokens"), 0);
    }
    bool copied = copy_text(json, "model", &line->model) && copy_text(json, "title", &line->title);
    nct_json_close(json);
    return copied;
}

static int newest_first(const void *a, const void *b) {
    const nct_kept_line *x = a, *y = b;
    return x->updated != y->updated ? (x->updated < y->updated) - (x->updated > y->updated)
                                    : strcmp(x->name, y->name);
}

int nct_kept_list(const nct_cli *cli, nct_kept_line **line, size_t *n) {
    char folder[PATH_MAX];
    void *p = NULL;
    size_t capacity = 0;
    *line = NULL;
    *n = 0;
    DIR *dir = nct_place_path(NCT_PLACE_STATE, "sessions", folder, sizeof folder) ? opendir(folder) : NULL;
    if (!dir)
        return NCT_EXIT_OK;
    nct_error err = {0};
    for (struct dirent *entry; (entry = readdir(dir)) && err.status == NCT_OK;) {
        nct_kept_line found;
        if (!read_line(entry->d_name, &found)) {
            nct_free(found.model);
            nct_free(found.title);
        } else if (nct_grow(&p, &capacity, *n + 1, sizeof **line, &err) == NCT_OK) {
            *line = p;
            (*line)[(*n)++] = found;
        }
    }
    closedir(dir);
    if (*n)
        qsort(*line, *n, sizeof **line, newest_first);
    return nct_say_status(cli, &err);
}

/* ------------------------------------------------------------------ taking one */

/* Holds the folder, so that two processes do not write one session. */
static int hold(nct_kept *k) {
    if (k->lock)
        return NCT_EXIT_OK;
    int fd = open(k->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return nct_say_error(k->cli, NCT_EXIT_FAILURE, "%s cannot be opened: %s", k->folder, strerror(errno));
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        close(fd);
        return nct_say_error(k->cli, NCT_EXIT_USAGE,
                             "session %s is in use by another process\ntry: --session OTHER", k->name);
    }
    k->lock = fd;
    return NCT_EXIT_OK;
}

static int refuse_unknown(const nct_cli *cli, const char *name) {
    nct_kept_line *line = NULL;
    size_t n = 0;
    const char *near = NULL;
    void *names = NULL;
    if (nct_kept_list(cli, &line, &n) == NCT_EXIT_OK && n &&
        nct_alloc(&names, n, sizeof(char *), NULL) == NCT_OK) {
        for (size_t i = 0; i < n; i++)
            ((const char **)names)[i] = line[i].name;
        near = nct_nearest(name, names, n);
    }
    int code = nct_say_error(cli, NCT_EXIT_USAGE, "no session '%s'\ntry: %s%s", name,
                             near ? cli->args.session ? "--session " : "" : "noctule session list", near ? near : "");
    nct_free(names);
    nct_kept_list_close(line, n);
    return code;
}

int nct_kept_open(const nct_cli *cli, const char *name, bool write, nct_kept *k) {
    char transcript[PATH_MAX];
    *k = (nct_kept){.cli = cli};
    if (!may_be_name(name))
        return nct_say_error(cli, NCT_EXIT_USAGE,
                             "'%.60s' cannot be the name of a session: up to %d bytes without / or control "
                             "characters, and not beginning with . or -",
                             name, NCT_SESSION_NAME - 1);
    if (!session_folder(name, k->folder, sizeof k->folder) ||
        !nct_path_join(transcript, sizeof transcript, k->folder, "transcript.jsonl"))
        return nct_say_error(cli, NCT_EXIT_FAILURE, "no place for sessions: neither XDG_STATE_HOME nor HOME is set");
    snprintf(k->name, sizeof k->name, "%s", name);
    k->there = nct_is_file(transcript);
    if (!k->there)
        return write ? NCT_EXIT_OK : refuse_unknown(cli, name);
    return write ? hold(k) : NCT_EXIT_OK;
}

int nct_kept_open_there(const nct_cli *cli, const char *name, nct_kept *k) {
    int code = nct_kept_open(cli, name, true, k);
    return code == NCT_EXIT_OK && !k->there ? refuse_unknown(cli, name) : code;
}

int nct_kept_take(const nct_cli *cli, nct_kept *k) {
    *k = (nct_kept){.cli = cli};
    const char *name = cli->args.session;
    if (name && cli->args.go_on)
        return nct_say_error(cli, NCT_EXIT_USAGE, "--continue takes the newest session; --session names one\n"
                                                  "try: one of them");
    if (name)
        return nct_kept_open(cli, name, true, k);
    if (!cli->args.go_on)
        return NCT_EXIT_OK;
    nct_kept_line *line;
    size_t n;
    int code = nct_kept_list(cli, &line, &n);
    if (code == NCT_EXIT_OK)
        code = n ? nct_kept_open(cli, line[0].name, true, k)
                 : nct_say_error(cli, NCT_EXIT_USAGE, "--continue: there is no session yet\n"
                                                      "try: --session NAME    (begins one)");
    nct_kept_list_close(line, n);
    return code;
}

void nct_kept_close(nct_kept *k) {
    if (k->lock)
        close(k->lock);
    *k = (nct_kept){.cli = k->cli};
}

/* ------------------------------------------------------------------ reading */

typedef struct reading {
    const nct_kept *kept;
    const nct_model_info *info;
    nct_talk *talk;
    const char *path;
    size_t line;
    bool foreign; /* of another model: its ids mean nothing here */
} reading;

static nct_status damaged(const reading *r, const char *what, nct_error *err) {
    return nct_fail(err, NCT_E_IO, "%s: line %zu: %s", r->path, r->line, what);
}

static nct_status read_ids(const reading *r, const nct_json *list, int32_t **ids, size_t *n, nct_error *err) {
    void *p = NULL;
    NCT_TRY(nct_alloc(&p, nct_json_size(list), sizeof **ids, err));
    *ids = p;
    *n = 0;
    for (const nct_json *item = nct_json_first(list); item; item = nct_json_next(item)) {
        int64_t id = nct_json_int(item, -1);
        if (id < 0 || id >= r->info->n_vocab)
            return damaged(r, "a token id is outside the vocabulary", err);
        (*ids)[(*n)++] = (int32_t)id;
    }
    return NCT_OK;
}

static nct_status read_first(reading *r, const nct_json *json, nct_error *err) {
    const char *system = nct_json_string(nct_json_get(json, "system"), "");
    if (nct_json_int(nct_json_get(json, "schema"), 0) != SCHEMA)
        return damaged(r, "no transcript of this version", err);
    r->foreign = !r->info || strcmp(nct_json_string(nct_json_get(json, "model"), ""), r->info->name) != 0 ||
                 nct_json_int(nct_json_get(json, "vocabulary"), 0) != r->info->n_vocab ||
                 nct_json_bool(nct_json_get(json, "plain"), false) != r->talk->plain;
    if (*system && !r->talk->system.n && !r->talk->plain)
        return nct_bytes_add_str(&r->talk->system, system, err);
    return NCT_OK;
}

static nct_status read_turn(reading *r, const nct_json *json, nct_error *err) {
    static const char *const roles[] = {"user", "assistant", "tool"};
    const char *role = nct_json_string(nct_json_get(json, "role"), "");
    const char *text = nct_json_string(nct_json_get(json, "text"), NULL);
    const char *thinking = nct_json_string(nct_json_get(json, "thinking"), NULL);
    const nct_json *list = nct_json_get(json, "ids"), *span = nct_json_get(json, "span");
    nct_turn turn = {0};
    for (size_t i = 0; i < sizeof roles / sizeof *roles; i++)
        if (strcmp(role, roles[i]) == 0)
            turn.role = roles[i];
    if (!turn.role || !text)
        return damaged(r, "no turn with a role and a text", err);
    bool said = strcmp(turn.role, "assistant") == 0;
    nct_status status = nct_bytes_add_str(&turn.content, text, err);
    if (status == NCT_OK && thinking)
        status = nct_bytes_add_str(&turn.reasoning, thinking, err);
    const char *calls = nct_json_string(nct_json_get(json, "calls"), NULL);
    if (status == NCT_OK && said && calls)
        status = nct_copy_string(&turn.calls, calls, strlen(calls), err);
    if (status == NCT_OK && list && !r->foreign)
        status = read_ids(r, list, said ? &turn.ids : &turn.fed, said ? &turn.n_ids : &turn.n_fed, err);
    int64_t typed = nct_json_int(nct_json_get(json, "typed"), 0);
    turn.typed = typed > 0 && (size_t)typed < turn.content.n ? (size_t)typed : 0;
    if (status == NCT_OK && !r->foreign) {
        int64_t at = nct_json_int(nct_json_get(json, "at"), 0);
        int64_t begin = nct_json_int(nct_json_first(span), -1);
        int64_t end = nct_json_int(span ? nct_json_next(nct_json_first(span)) : NULL, -1);
        turn.at = at > 0 ? (size_t)at : 0;
        turn.verbatim = begin >= 0 && end >= begin;
        turn.begin = turn.verbatim ? (size_t)begin : 0;
        turn.end = turn.verbatim ? (size_t)end : 0;
    }
    if (status == NCT_OK)
        status = nct_talk_add_copy(r->talk, &turn, err);
    nct_turn_close(&turn);
    return status;
}

static nct_status read_transcript(reading *r, nct_error *err) {
    nct_map map = {0};
    NCT_TRY(nct_map_open(r->path, &map, err));
    nct_status status = NCT_OK;
    const char *text = (const char *)map.data;
    for (size_t at = 0; at < map.n_bytes && status == NCT_OK;) {
        const char *end = memchr(text + at, '\n', map.n_bytes - at);
        size_t n = end ? (size_t)(end - text) - at : map.n_bytes - at;
        nct_json *json = NULL;
        char where[PATH_MAX + 32];
        snprintf(where, sizeof where, "%s: line %zu", r->path, ++r->line);
        status = nct_json_parse(where, text + at, n, &json, err);
        if (status == NCT_OK)
            status = r->line == 1 ? read_first(r, json, err) : read_turn(r, json, err);
        nct_json_close(json);
        at += n + 1;
    }
    if (status == NCT_OK && r->line == 0)
        status = damaged(r, "it is empty", err);
    nct_map_close(&map);
    return status;
}

int nct_kept_load(const nct_kept *k, const nct_model_info *info, nct_talk *talk) {
    char path[PATH_MAX];
    nct_error err = {0};
    reading r = {.kept = k, .info = info, .talk = talk, .path = path};
    if (!nct_path_join(path, sizeof path, k->folder, "transcript.jsonl"))
        return NCT_EXIT_OK;
    if (read_transcript(&r, &err) != NCT_OK || (info && nct_talk_settle(talk, &err) != NCT_OK)) {
        nct_talk_cut(talk, 0);
        return nct_say_error(k->cli, NCT_EXIT_FAILURE, "%s", err.text);
    }
    if (r.foreign && info)
        nct_say_warning(k->cli, "session %s was held with another model; what was said is read anew with %s", k->name,
                        info->name);
    return NCT_EXIT_OK;
}

/* ------------------------------------------------------------------ writing */

static nct_status add_ids(nct_bytes *out, const int32_t *ids, size_t n, nct_error *err) {
    NCT_TRY(nct_bytes_add_str(out, ",\"ids\":[", err));
    for (size_t i = 0; i < n; i++)
        NCT_TRY(nct_bytes_printf(out, err, i ? ",%d" : "%d", ids[i]));
    return nct_bytes_add_str(out, "]", err);
}

static nct_status add_string(nct_bytes *out, const char *key, const nct_bytes *text, nct_error *err) {
    NCT_TRY(nct_bytes_printf(out, err, ",\"%s\":", key));
    return nct_json_write_string(out, text->data ? text->data : "", text->n, err);
}

static nct_status add_turn(nct_bytes *out, const nct_turn *turn, nct_error *err) {
    bool said = strcmp(turn->role, "assistant") == 0;
    NCT_TRY(nct_bytes_printf(out, err, "{\"role\":\"%s\"", turn->role));
    NCT_TRY(add_string(out, "text", &turn->content, err));
    if (turn->reasoning.data)
        NCT_TRY(add_string(out, "thinking", &turn->reasoning, err));
    if (turn->calls) {
        NCT_TRY(nct_bytes_add_str(out, ",\"calls\":", err));
        NCT_TRY(nct_json_write_string(out, turn->calls, strlen(turn->calls), err));
    }
    if (turn->typed)
        NCT_TRY(nct_bytes_printf(out, err, ",\"typed\":%zu", turn->typed));
    if (!said)
        NCT_TRY(nct_bytes_printf(out, err, ",\"at\":%zu", turn->at));
    if (said && turn->verbatim)
        NCT_TRY(nct_bytes_printf(out, err, ",\"span\":[%zu,%zu]", turn->begin, turn->end));
    NCT_TRY(said ? add_ids(out, turn->ids, turn->n_ids, err) : add_ids(out, turn->fed, turn->n_fed, err));
    return nct_bytes_add_str(out, "}\n", err);
}

static nct_status write_transcript(const nct_model_info *info, const nct_talk *talk, nct_bytes *out, nct_error *err) {
    static const char *const think[] = {"auto", "on", "off"};
    NCT_TRY(nct_bytes_printf(out, err, "{\"schema\":%d,\"model\":", SCHEMA));
    NCT_TRY(nct_json_write_string(out, info->name, strlen(info->name), err));
    NCT_TRY(nct_bytes_printf(out, err, ",\"vocabulary\":%d,\"plain\":%s,\"think\":\"%s\"", info->n_vocab,
                             talk->plain ? "true" : "false", think[talk->options.think]));
    if (talk->system.n)
        NCT_TRY(add_string(out, "system", &talk->system, err));
    NCT_TRY(nct_bytes_add_str(out, "}\n", err));
    for (size_t i = 0; i < talk->n_turns; i++)
        NCT_TRY(add_turn(out, &talk->turn[i], err));
    return NCT_OK;
}

/* What was typed first, behind documents; *n: its bytes. */
static const char *typed_first(const nct_talk *talk, size_t *n) {
    const nct_turn *first = &talk->turn[0];
    size_t begin = first->typed < first->content.n ? first->typed : 0;
    *n = first->content.n - begin;
    return first->content.data ? first->content.data + begin : "";
}

/* The beginning of what was said first, for people. */
static nct_bytes title_of(const nct_talk *talk) {
    nct_bytes title = {0};
    size_t n_said, n;
    const char *said = typed_first(talk, &n_said);
    n = n_said < TITLE_BYTES ? n_said : TITLE_BYTES;
    while (n && n < n_said && ((unsigned char)said[n] & 0xc0) == 0x80)
        n--; /* no character is cut */
    nct_bytes_add(&title, said, n, NULL);
    for (size_t i = 0; i < title.n; i++)
        if ((unsigned char)title.data[i] < 0x20)
            title.data[i] = ' ';
    return title;
}

static nct_status write_meta(const nct_kept *k, const nct_model_info *info, const nct_talk *talk, nct_bytes *out,
                             nct_error *err) {
    int32_t *ids = NULL;
    size_t n;
    nct_bytes title = title_of(talk);
    nct_status status = nct_talk_held(talk, talk->n_turns, &ids, &n, err);
    nct_free(ids);
    if (status == NCT_OK)
        status = nct_bytes_printf(out, err, "{\"schema\":%d,\"id\":", SCHEMA);
    if (status == NCT_OK)
        status = nct_json_write_string(out, k->name, strlen(k->name), err);
    if (status == NCT_OK)
        status = nct_bytes_add_str(out, ",\"model\":", err);
    if (status == NCT_OK)
        status = nct_json_write_string(out, info->name, strlen(info->name), err);
    if (status == NCT_OK)
        status = nct_bytes_printf(out, err, ",\"turns\":%zu,\"tokens\":%zu,\"updated\":%lld", talk->n_turns / 2, n,
                                  (long long)time(NULL));
    if (status == NCT_OK)
        status = add_string(out, "title", &title, err);
    nct_bytes_reset(&title);
    return status == NCT_OK ? nct_bytes_add_str(out, "}\n", err) : status;
}

static nct_status write_file(const char *folder, const char *name, const nct_bytes *text, nct_error *err) {
    char path[PATH_MAX], part[PATH_MAX];
    if (!nct_path_join(path, sizeof path, folder, name) ||
        snprintf(part, sizeof part, "%s.part", path) >= (int)sizeof part)
        return nct_fail(err, NCT_E_IO, "%s: the path is too long", folder);
    int fd = open(part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    bool good = fd >= 0;
    for (size_t done = 0; good && done < text->n;) {
        ssize_t n = write(fd, text->data + done, text->n - done);
        good = n > 0 || (n < 0 && errno == EINTR);
        done += n > 0 ? (size_t)n : 0;
    }
    good = good && fsync(fd) == 0;
    int reason = errno;
    if (fd >= 0)
        close(fd);
    if (good && rename(part, path) == 0)
        return NCT_OK;
    if (good)
        reason = errno;
    unlink(part);
    return nct_fail(err, NCT_E_IO, "%s cannot be written: %s", path, strerror(reason));
}

/* The day and the first words: 2026-03-14-which-decisions-about; where that is taken, a number behind it. */
static bool find_name(const nct_talk *talk, nct_kept *k) {
    char base[16 + SLUG_BYTES];
    time_t now = time(NULL);
    struct tm day;
    localtime_r(&now, &day);
    size_t n = strftime(base, 16, "%Y-%m-%d", &day);
    size_t n_said;
    const char *said = typed_first(talk, &n_said);
    bool gap = true;
    for (size_t i = 0; i < n_said && said[i] != '\n' && n < 10 + SLUG_BYTES; i++) {
        if (isalnum((unsigned char)said[i])) {
            if (gap && n > 10 + SLUG_BYTES - 8)
                break; /* words stay whole where they can */
            if (gap)
                base[n++] = '-';
            base[n++] = (char)tolower((unsigned char)said[i]);
            gap = false;
        } else {
            gap = true;
        }
    }
    base[n] = 0;
    for (int i = 1; i < SAME_DAY; i++) {
        snprintf(k->name, sizeof k->name, i == 1 ? "%s" : "%s-%d", base, i);
        if (!session_folder(k->name, k->folder, sizeof k->folder) || !nct_make_folders(k->folder, false))
            break;
        if (mkdir(k->folder, 0700) == 0)
            return true;
        if (errno != EEXIST)
            break;
    }
    k->name[0] = k->folder[0] = 0;
    return false;
}

int nct_kept_save(nct_kept *k, const nct_model_info *info, const nct_talk *talk) {
    nct_bytes transcript = {0}, meta = {0};
    nct_error err = {0};
    if (talk->n_turns == 0)
        return NCT_EXIT_OK;
    if (!*k->name && !find_name(talk, k))
        return nct_say_error(k->cli, NCT_EXIT_FAILURE, "no place for the session: $XDG_STATE_HOME/noctule/sessions "
                                                       "cannot be made");
    if (!nct_make_folders(k->folder, true))
        return nct_say_error(k->cli, NCT_EXIT_FAILURE, "%s cannot be made", k->folder);
    int code = hold(k);
    if (code != NCT_EXIT_OK)
        return code;
    nct_status status = write_transcript(info, talk, &transcript, &err);
    if (status == NCT_OK)
        status = write_meta(k, info, talk, &meta, &err);
    if (status == NCT_OK)
        status = write_file(k->folder, "transcript.jsonl", &transcript, &err);
    if (status == NCT_OK)
        status = write_file(k->folder, "meta.json", &meta, &err);
    nct_bytes_reset(&transcript);
    nct_bytes_reset(&meta);
    k->there = k->there || status == NCT_OK;
    return nct_say_status(k->cli, &err);
}

/* ------------------------------------------------------------------ for others to read */

static nct_status export_turn(const char *role, const nct_bytes *text, bool markdown, nct_bytes *out,
                              nct_error *err) {
    if (markdown) {
        NCT_TRY(nct_bytes_printf(out, err, "%s## %s\n\n", out->n ? "\n" : "", role));
        NCT_TRY(nct_bytes_add(out, text->data ? text->data : "", text->n, err));
        return text->n && text->data[text->n - 1] == '\n' ? NCT_OK : nct_bytes_add_str(out, "\n", err);
    }
    NCT_TRY(nct_bytes_printf(out, err, "{\"role\":\"%s\"", role));
    NCT_TRY(add_string(out, "content", text, err));
    return nct_bytes_add_str(out, "}\n", err);
}

nct_status nct_talk_export(const nct_talk *talk, bool markdown, nct_bytes *out, nct_error *err) {
    if (talk->system.n)
        NCT_TRY(export_turn("system", &talk->system, markdown, out, err));
    for (size_t i = 0; i < talk->n_turns; i++)
        NCT_TRY(export_turn(talk->turn[i].role, &talk->turn[i].content, markdown, out, err));
    return NCT_OK;
}
