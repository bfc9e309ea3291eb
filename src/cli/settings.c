#include "cli/settings.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/jsonc.h"
#include "cli/places.h"

#define PROJECT ".nct.json"
enum { FILE_MOST = 1 << 20 };

/* Both files, the one with the upper hand first. */
enum { IN_PROJECT, IN_USER, N_FILES };

struct nct_settings {
    struct {
        char path[PATH_MAX];
        nct_json *json; /* an object; NULL: there is no file */
    } file[N_FILES];
    const char *profile;
    nct_list texts; /* of numbers and knobs: owned */
};

bool nct_settings_path(char *buf, size_t n) { return nct_place_path(NCT_PLACE_CONFIG, "config.json", buf, n); }

/* ------------------------------------------------------------------ reading files */

/* Appends what the file holds; *exists is false if there is none, or none that may be used. */
static int read_file(const nct_cli *cli, const char *path, bool project, nct_bytes *text, bool *exists) {
    *exists = false;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 && (errno == ENOENT || errno == ENOTDIR))
        return NCT_EXIT_OK;
    struct stat what;
    if (fd < 0 || fstat(fd, &what) != 0) {
        int code = nct_say_error(cli, NCT_EXIT_USAGE, "%s cannot be read: %s", path, strerror(errno));
        if (fd >= 0)
            close(fd);
        return code;
    }
    if (project && what.st_uid != geteuid() && !cli->args.trust_project) {
        close(fd);
        nct_say_warning(cli, "%s is another user's, so it is passed over    (--trust-project takes it)", path);
        return NCT_EXIT_OK;
    }
    int code = NCT_EXIT_OK;
    nct_error err = {0};
    char chunk[16384];
    ssize_t n = 0;
    if (!S_ISREG(what.st_mode))
        code = nct_say_error(cli, NCT_EXIT_USAGE, "%s is no regular file", path);
    else if (what.st_size > FILE_MOST)
        code = nct_say_error(cli, NCT_EXIT_USAGE, "%s: %lld bytes of settings; at most %d are read", path,
                             (long long)what.st_size, FILE_MOST);
    while (code == NCT_EXIT_OK && text->n <= FILE_MOST && (n = read(fd, chunk, sizeof chunk)) > 0)
        if (nct_bytes_add(text, chunk, (size_t)n, &err) != NCT_OK)
            code = nct_say_status(cli, &err);
    if (code == NCT_EXIT_OK && n < 0)
        code = nct_say_error(cli, NCT_EXIT_USAGE, "%s cannot be read: %s", path, strerror(errno));
    close(fd);
    *exists = code == NCT_EXIT_OK;
    return code;
}

static int refuse(const nct_cli *cli, const char *path, const char *key, const char *why) {
    return nct_say_error(cli, NCT_EXIT_USAGE, "%s: '%.60s' %s\ntry: noctule config edit    (or config show)", path, key,
                         why);
}

/* "templates" hold texts, "profiles" objects; other objects are knobs with plain values. */
static int check_shape(const nct_cli *cli, const char *path, const nct_json *json) {
    if (!nct_json_is_object(json))
        return nct_say_error(cli, NCT_EXIT_USAGE, "%s: expected an object, { ... }", path);
    for (const nct_json *m = nct_json_first(json); m; m = nct_json_next(m)) {
        const char *key = nct_json_key(m);
        bool templates = strcmp(key, "templates") == 0, profiles = strcmp(key, "profiles") == 0;
        if ((templates || profiles) && !nct_json_is_object(m))
            return refuse(cli, path, key, "wants an object, { \"NAME\": ... }");
        for (const nct_json *t = nct_json_first(m); t && (templates || profiles); t = nct_json_next(t)) {
            if (templates && !nct_json_is_string(t))
                return refuse(cli, path, nct_json_key(t), "is a template and wants a text");
            if (profiles && !nct_json_is_object(t))
                return refuse(cli, path, nct_json_key(t), "is a profile and wants an object, { \"FLAG\": ... }");
        }
    }
    return NCT_EXIT_OK;
}

static int open_file(nct_cli *cli, int which) {
    nct_settings *c = cli->settings;
    char *path = c->file[which].path;
    nct_bytes text = {0};
    nct_error err = {0};
    bool exists;
    int code = read_file(cli, path, which == IN_PROJECT, &text, &exists);
    bool blank = !text.data || strspn(text.data, " \t\r\n") == text.n;
    if (code == NCT_EXIT_OK && exists && !blank) {
        if (nct_jsonc_parse(path, text.data, text.n, &c->file[which].json, &err) != NCT_OK)
            code = nct_say_error(cli, NCT_EXIT_USAGE, "%s\ntry: noctule config edit", err.text);
        else
            code = check_shape(cli, path, c->file[which].json);
    }
    nct_bytes_reset(&text);
    return code;
}

int nct_settings_open(nct_cli *cli) {
    void *p = NULL;
    nct_error err = {0};
    if (nct_alloc(&p, 1, sizeof *cli->settings, &err) != NCT_OK)
        return nct_say_status(cli, &err);
    memset(p, 0, sizeof *cli->settings);
    cli->settings = p;
    snprintf(cli->settings->file[IN_PROJECT].path, PATH_MAX, "./%s", PROJECT);
    int code = nct_settings_path(cli->settings->file[IN_USER].path, PATH_MAX) ? open_file(cli, IN_USER) : NCT_EXIT_OK;
    if (code == NCT_EXIT_OK)
        code = open_file(cli, IN_PROJECT);
    if (code != NCT_EXIT_OK)
        return code;
    cli->settings->profile = cli->args.profile;
    for (int i = 0; i < N_FILES && !cli->settings->profile; i++)
        cli->settings->profile = nct_json_string(nct_json_get(cli->settings->file[i].json, "profile"), NULL);
    return NCT_EXIT_OK;
}

void nct_settings_close(nct_cli *cli) {
    nct_settings *c = cli->settings;
    if (!c)
        return;
    for (size_t i = 0; i < c->texts.n; i++)
        nct_free((void *)(uintptr_t)c->texts.item[i]);
    nct_free(c->texts.item);
    for (int i = 0; i < N_FILES; i++)
        nct_json_close(c->file[i].json);
    nct_free(c);
    cli->settings = NULL;
}

/* ------------------------------------------------------------------ values */

/* The text of a value as a flag would have it; NULL if it is an object or memory is out. Kept by the config. */
static const char *text_of(nct_settings *c, const nct_json *value, const char *before) {
    nct_bytes text = {0};
    if (nct_json_is_string(value) && !*before)
        return nct_json_string(value, "");
    nct_bytes_add_str(&text, before, NULL);
    if (nct_json_is_string(value))
        nct_bytes_add_str(&text, nct_json_string(value, ""), NULL);
    else if (nct_json_is_bool(value))
        nct_bytes_add_str(&text, nct_json_bool(value, false) ? "on" : "off", NULL);
    else if (nct_json_is_number(value))
        nct_json_write(value, false, &text, NULL);
    else
        goto none;
    if (text.data && nct_list_add(&c->texts, text.data))
        return text.data;
none:
    nct_bytes_reset(&text);
    return NULL;
}

static bool is_setting(const nct_option *o) {
    return o->name && o->help && o->kind != NCT_KIND_NOOP && o->kind != NCT_KIND_REFUSED &&
           o->offset != offsetof(nct_args, help) && o->offset != offsetof(nct_args, trust_project);
}

/* The option of this long name that one of the commands has. */
static const nct_option *find_setting(uint64_t commands, const char *key) {
    for (size_t i = 0; i < nct_n_options; i++)
        if (is_setting(&nct_option_table[i]) && nct_option_table[i].commands & commands &&
            strcmp(nct_option_table[i].name, key) == 0)
            return &nct_option_table[i];
    return NULL;
}

/* True if an option of this name takes the text, of whichever command. */
static bool suits_another(const char *key, const char *text) {
    char complaint[256];
    for (size_t i = 0; i < nct_n_options; i++)
        if (is_setting(&nct_option_table[i]) && strcmp(nct_option_table[i].name, key) == 0 &&
            !nct_option_check(&nct_option_table[i], text, complaint))
            return true;
    return false;
}

/* Whether a path that a project names stays within its folder, links followed. */
static bool stays_within(const char *path) {
    char real[PATH_MAX], here[PATH_MAX];
    if (*path == '/' || *path == '~' || strcmp(path, "..") == 0 || strncmp(path, "../", 3) == 0 || strstr(path, "/../"))
        return false;
    size_t n = strlen(path);
    if (n >= 3 && strcmp(path + n - 3, "/..") == 0)
        return false;
    char there[PATH_MAX];
    if (snprintf(there, sizeof there, "%s", path) >= (int)sizeof there || !realpath(".", here))
        return false;
    while (!realpath(there, real)) { /* what is not there yet lies in a folder that may be */
        char *slash = strrchr(there, '/');
        if (!slash)
            return true;
        *slash = 0;
    }
    n = strlen(here);
    return strncmp(real, here, n) == 0 && (real[n] == '/' || !real[n] || n == 1);
}

static bool may_project_set(const nct_option *o, const char *text) {
    if (!o->value || (!strstr(o->value, "PATH") && !strstr(o->value, "FILE") && !strstr(o->value, "DIR")))
        return true;
    if (!strchr(o->value, '@'))
        return stays_within(text);
    return text[0] != '@' || stays_within(text + 1);
}

/* ------------------------------------------------------------------ filling in */

typedef struct filling {
    nct_cli *cli;
    uint64_t command;
    nct_list knobs; /* the weakest last */
} filling;

static int refuse_key(const nct_cli *cli, const char *path, const char *key) {
    const char *names[NCT_OPTIONS_MAX];
    size_t n = 0;
    for (size_t i = 0; i < nct_n_options; i++)
        if (is_setting(&nct_option_table[i]))
            names[n++] = nct_option_table[i].name;
    const char *near = nct_nearest(key, names, n);
    return nct_say_error(cli, NCT_EXIT_USAGE,
                         "%s: no setting '%.60s'; settings are the long names of flags%s%s", path, key,
                         near ? "\ntry: " : "", near ? near : "");
}

/* "cache": {"max": "20g"}, which is -X cache.max=20g. */
static int take_knobs(filling *f, const char *path, const char *key, const nct_json *object) {
    for (const nct_json *m = nct_json_first(object); m; m = nct_json_next(m)) {
        char name[160];
        snprintf(name, sizeof name, "%.60s.%.80s=", key, nct_json_key(m));
        const char *text = text_of(f->cli->settings, m, name);
        if (!text)
            return refuse(f->cli, path, nct_json_key(m), "wants a text, a number, true or false");
        if (!nct_list_add(&f->knobs, text))
            return nct_say_error(f->cli, NCT_EXIT_FAILURE, "out of memory");
    }
    return NCT_EXIT_OK;
}

static int set(filling *f, const nct_option *o, const char *text, nct_origin from, const char *path) {
    char complaint[256];
    if (from == NCT_FROM_PROJECT && !may_project_set(o, text))
        return refuse(f->cli, path, o->name, "names a path outside of this folder, which a project may not");
    const char *wrong = nct_option_set(&f->cli->args, o, text, from, complaint);
    if (!wrong || suits_another(o->name, text))
        return NCT_EXIT_OK;
    return nct_say_error(f->cli, NCT_EXIT_USAGE, "%s, from %s\ntry: noctule config show --origin", wrong, path);
}

/* One member of a file or a profile. */
static int take(filling *f, const nct_json *member, nct_origin from, const char *path, bool foreign) {
    const char *key = nct_json_key(member), *dot = strchr(key, '.');
    nct_args *a = &f->cli->args;
    if (nct_json_is_object(member))
        return take_knobs(f, path, key, member);
    if (dot) {
        char name[160];
        snprintf(name, sizeof name, "%.150s=", key);
        const char *text = text_of(f->cli->settings, member, name);
        if (!text)
            return refuse(f->cli, path, key, "wants a text, a number, true or false");
        return nct_list_add(&f->knobs, text) ? NCT_EXIT_OK : nct_say_error(f->cli, NCT_EXIT_FAILURE, "out of memory");
    }
    const nct_option *any = find_setting(NCT_CMD_ANY, key), *o = find_setting(f->command, key), *target = o;
    if (!any)
        return refuse_key(f->cli, path, key);
    if (o && o->kind == NCT_KIND_PRESET) {
        char name[64];
        snprintf(name, sizeof name, "%.*s", (int)strcspn(o->words, "="), o->words);
        target = nct_option_find(f->command, name);
    }
    if (!o || nct_json_is_null(member) || a->origin[target - nct_option_table] != NCT_FROM_NOWHERE ||
        a->origin[o - nct_option_table] != NCT_FROM_NOWHERE)
        return NCT_EXIT_OK;
    nct_origin guarded = foreign ? NCT_FROM_PROJECT : from;
    if (!nct_json_is_array(member)) {
        const char *text = text_of(f->cli->settings, member, "");
        int code = text ? set(f, o, text, guarded, path) : refuse(f->cli, path, key, "has no value that a flag can take");
        a->origin[o - nct_option_table] = (uint8_t)from;
        return code;
    }
    if (o->kind != NCT_KIND_LIST)
        return refuse(f->cli, path, key, "takes one value, not a list");
    int code = NCT_EXIT_OK;
    for (const nct_json *m = nct_json_first(member); m && code == NCT_EXIT_OK; m = nct_json_next(m)) {
        const char *text = text_of(f->cli->settings, m, "");
        code = text ? set(f, o, text, guarded, path) : refuse(f->cli, path, key, "is a list of texts");
    }
    a->origin[o - nct_option_table] = (uint8_t)from;
    return code;
}

static int take_all(filling *f, const nct_json *object, nct_origin from, int file) {
    int code = NCT_EXIT_OK;
    for (const nct_json *m = nct_json_first(object); m && code == NCT_EXIT_OK; m = nct_json_next(m))
        if (strcmp(nct_json_key(m), "templates") != 0 && strcmp(nct_json_key(m), "profiles") != 0 &&
            strcmp(nct_json_key(m), "profile") != 0)
            code = take(f, m, from, f->cli->settings->file[file].path, file == IN_PROJECT);
    return code;
}

static const nct_json *profile_of(const nct_settings *c, int file) {
    return c->profile ? nct_json_get(nct_json_get(c->file[file].json, "profiles"), c->profile) : NULL;
}

static int refuse_profile(const nct_cli *cli) {
    const nct_settings *c = cli->settings;
    char names[512] = "";
    for (int i = 0; i < N_FILES; i++)
        for (const nct_json *m = nct_json_first(nct_json_get(c->file[i].json, "profiles")); m; m = nct_json_next(m))
            if (strlen(names) + strlen(nct_json_key(m)) + 3 < sizeof names)
                snprintf(names + strlen(names), sizeof names - strlen(names), "%s%s", *names ? ", " : "",
                         nct_json_key(m));
    return nct_say_error(cli, NCT_EXIT_USAGE, "no profile '%.60s'\n%s%s", c->profile,
                         *names ? "there are: " : "neither configuration has profiles", names);
}

/* Knobs of the files stand before those of flags or the environment, for the last of a key holds. */
static int join_knobs(filling *f) {
    nct_list *own = &f->cli->args.knobs, all = {0};
    bool ok = true;
    for (size_t i = f->knobs.n; i-- > 0 && ok;)
        ok = nct_list_add(&all, f->knobs.item[i]);
    for (size_t i = 0; i < own->n && ok; i++)
        ok = nct_list_add(&all, own->item[i]);
    nct_free(own->item);
    *own = all;
    return ok ? NCT_EXIT_OK : nct_say_error(f->cli, NCT_EXIT_FAILURE, "out of memory");
}

int nct_settings_apply(nct_cli *cli) {
    filling f = {.cli = cli, .command = cli->command ? cli->command->bit : NCT_CMD_RUN | NCT_CMD_CHAT};
    int code = nct_settings_open(cli);
    const nct_settings *c = cli->settings;
    if (code == NCT_EXIT_OK && c->profile && !profile_of(c, IN_PROJECT) && !profile_of(c, IN_USER))
        code = refuse_profile(cli);
    for (int i = 0; i < N_FILES && code == NCT_EXIT_OK; i++)
        code = take_all(&f, profile_of(c, i), NCT_FROM_PROFILE, i);
    for (int i = 0; i < N_FILES && code == NCT_EXIT_OK; i++)
        code = take_all(&f, c->file[i].json, i == IN_PROJECT ? NCT_FROM_PROJECT : NCT_FROM_USER, i);
    if (code == NCT_EXIT_OK && f.knobs.n)
        code = join_knobs(&f);
    nct_free(f.knobs.item);
    return code;
}

/* ------------------------------------------------------------------ looking up */

const char *nct_settings_template(const nct_cli *cli, const char *name) {
    const char *text = NULL;
    for (int i = 0; cli->settings && i < N_FILES && !text; i++)
        text = nct_json_string(nct_json_get(nct_json_get(cli->settings->file[i].json, "templates"), name), NULL);
    return text;
}

/* "a", or "a.b", where the first dot parts, or the second of "profiles.fast.think". */
static const nct_json *member(const nct_json *object, const char *key) {
    const nct_json *own = nct_json_get(object, key);
    const char *dot = strchr(key, '.');
    char first[64];
    if (own || !dot || (size_t)(dot - key) >= sizeof first)
        return own;
    snprintf(first, sizeof first, "%.*s", (int)(dot - key), key);
    return member(nct_json_get(object, first), dot + 1);
}

nct_origin nct_settings_find(const nct_cli *cli, const char *key, nct_bytes *value, const char **where) {
    static char variable[64];
    const nct_option *o = find_setting(NCT_CMD_ANY, key);
    const nct_settings *c = cli->settings;
    *where = "";
    if (o) {
        nct_option_variable(o, variable, sizeof variable);
        const char *text = getenv(variable);
        if (text && *text) {
            *where = variable;
            nct_json_write_string(value, text, strlen(text), NULL);
            return NCT_FROM_ENVIRONMENT;
        }
    }
    for (int k = 0; k < 2 * N_FILES; k++) {
        const nct_json *found = member(k < N_FILES ? profile_of(c, k) : c->file[k - N_FILES].json, key);
        if (!found)
            continue;
        *where = c->file[k % N_FILES].path;
        nct_json_write(found, true, value, NULL);
        return k < N_FILES                ? NCT_FROM_PROFILE
               : k % N_FILES == IN_PROJECT ? NCT_FROM_PROJECT
                                           : NCT_FROM_USER;
    }
    return NCT_FROM_NOWHERE;
}

void nct_settings_each(const nct_cli *cli, nct_settings_key_fn *fn, void *context) {
    const nct_settings *c = cli->settings;
    for (int i = 0; i < N_FILES; i++)
        for (const nct_json *m = nct_json_first(c->file[i].json); m; m = nct_json_next(m)) {
            if (strchr(nct_json_key(m), '.') && (i == 0 || !nct_json_get(c->file[0].json, nct_json_key(m))))
                fn(context, nct_json_key(m));
            for (const nct_json *k = nct_json_is_object(m) ? nct_json_first(m) : NULL; k; k = nct_json_next(k)) {
                char key[256];
                snprintf(key, sizeof key, "%.60s.%.180s", nct_json_key(m), nct_json_key(k));
                if (i == 0 || !member(c->file[0].json, key))
                    fn(context, key);
            }
        }
}

/* ------------------------------------------------------------------ checking */

/* As JSON writes it: numbers and truth where the flag has such, else a text. */
static void write_value(const nct_option *o, const char *text, nct_bytes *json) {
    nct_json *parsed = NULL;
    bool number = o && (o->kind == NCT_KIND_COUNT || o->kind == NCT_KIND_REAL || o->kind == NCT_KIND_LEVEL) &&
                  nct_json_parse("", text, strlen(text), &parsed, NULL) == NCT_OK && nct_json_is_number(parsed);
    nct_json_close(parsed);
    bool truth = o && (o->kind == NCT_KIND_FLAG || o->kind == NCT_KIND_PRESET);
    if (number)
        nct_bytes_add_str(json, text, NULL);
    else if (truth)
        nct_bytes_add_str(json, strcmp(text, "on") == 0 || strcmp(text, "1") == 0 || strcmp(text, "true") == 0 ||
                                        strcmp(text, "yes") == 0
                                    ? "true"
                                    : "false",
                          NULL);
    else
        nct_json_write_string(json, text, strlen(text), NULL);
}

const char *nct_settings_check(const char *key, const char *text, nct_bytes *json, char complaint[256]) {
    const char *dot = strrchr(key, '.');
    const nct_option *o = find_setting(NCT_CMD_ANY, key);
    if (strncmp(key, "profiles.", 9) == 0 && dot > key + 8)
        o = find_setting(NCT_CMD_ANY, dot + 1);
    else if (dot) { /* a template, or a knob, which is checked where it is used */
        if (dot == key || !dot[1]) {
            snprintf(complaint, 256, "'%.80s' is no key: a name must stand on both sides of the dot", key);
            return complaint;
        }
        write_value(NULL, text, json);
        return NULL;
    }
    if (!o) {
        snprintf(complaint, 256, "no setting '%.80s'; settings are the long names of flags", key);
        return complaint;
    }
    if (!suits_another(o->name, text))
        return nct_option_check(o, text, complaint);
    if (o->kind == NCT_KIND_LIST)
        nct_bytes_add_str(json, "[", NULL);
    write_value(o, text, json);
    if (o->kind == NCT_KIND_LIST)
        nct_bytes_add_str(json, "]", NULL);
    return NULL;
}
