/* noctule config: shows settings and where they come from, and changes the user's file. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/jsonc.h"
#include "cli/input.h"
#include "cli/open.h"
#include "cli/output.h"
#include "cli/places.h"
#include "cli/settings.h"

/* ------------------------------------------------------------------ show, get */

typedef struct showing {
    const nct_cli *cli;
    nct_output out;
    bool json, all;
    size_t n;
} showing;

/* A JSON value for people: texts without quotes, unless they hold what a terminal would obey. */
static void print_value(nct_output *out, const char *json) {
    nct_json *value = NULL;
    const char *text = NULL;
    if (nct_json_parse("", json, strlen(json), &value, NULL) == NCT_OK && nct_json_is_string(value))
        text = nct_json_string(value, "");
    bool plain = text != NULL;
    for (const char *c = text; c && *c; c++)
        plain &= (unsigned char)*c >= 0x20 && *c != 0x7f;
    nct_output_print(out, "%s", plain ? text : json);
    nct_json_close(value);
}

static void show(showing *s, const char *key, const char *standard) {
    static const char *const names[] = {
        [NCT_FROM_NOWHERE] = "built-in", [NCT_FROM_ENVIRONMENT] = "environment", [NCT_FROM_PROFILE] = "profile",
        [NCT_FROM_PROJECT] = "project",  [NCT_FROM_USER] = "user"};
    nct_bytes value = {0};
    const char *where;
    nct_origin from = nct_settings_find(s->cli, key, &value, &where);
    if (from == NCT_FROM_NOWHERE && !s->all)
        return;
    if (s->json) {
        nct_output_print(&s->out, s->n ? ",\n" : "{");
        nct_bytes line = {0};
        nct_json_write_string(&line, key, strlen(key), NULL);
        nct_bytes_printf(&line, NULL, ":{\"value\":%s,\"origin\":\"%s\"", value.data ? value.data : "null", names[from]);
        if (from != NCT_FROM_NOWHERE) {
            nct_bytes_add_str(&line, ",\"where\":", NULL);
            nct_json_write_string(&line, where, strlen(where), NULL);
        } else if (standard) {
            nct_bytes_add_str(&line, ",\"default\":", NULL);
            nct_json_write_string(&line, standard, strlen(standard), NULL);
        }
        nct_output_print(&s->out, "%s}", line.data);
        nct_bytes_reset(&line);
    } else {
        nct_output_print(&s->out, "%-20s ", key);
        if (value.data)
            print_value(&s->out, value.data);
        else
            nct_output_print(&s->out, "%s", standard ? standard : "-");
        if (s->cli->args.show_origin)
            nct_output_print(&s->out, "    (%s%s%s)", names[from], *where ? ": " : "", where);
        nct_output_print(&s->out, "\n");
    }
    s->n++;
    nct_bytes_reset(&value);
}

static void show_key(void *context, const char *key) {
    showing *s = context;
    bool all = s->all;
    s->all = false;
    show(s, key, NULL);
    s->all = all;
}

static bool is_shown(const nct_option *o) {
    return o->name && o->help && o->kind != NCT_KIND_PRESET && o->offset != offsetof(nct_args, help);
}

static bool is_first_of_name(size_t i) {
    for (size_t k = 0; k < i; k++)
        if (is_shown(&nct_option_table[k]) && strcmp(nct_option_table[k].name, nct_option_table[i].name) == 0)
            return false;
    return true;
}

/* Where commands differ, what run does. */
static const char *standard_of(const nct_option *o) {
    const nct_option *of_run = nct_option_find(NCT_CMD_RUN, o->name);
    o = of_run && is_shown(of_run) ? of_run : o;
    return o->standard ? o->standard : o->kind == NCT_KIND_FLAG ? "off" : NULL;
}

static int show_all(nct_cli *cli) {
    showing s = {.cli = cli, .json = cli->args.format > NCT_FORMAT_TEXT, .all = cli->args.show_origin};
    int code = nct_settings_open(cli);
    if (code == NCT_EXIT_OK)
        code = nct_output_open(cli, NULL, &s.out);
    if (code != NCT_EXIT_OK)
        return code;
    for (size_t i = 0; i < nct_n_options; i++) {
        const nct_option *o = &nct_option_table[i];
        if (is_shown(o) && is_first_of_name(i))
            show(&s, o->name, standard_of(o));
    }
    nct_settings_each(cli, show_key, &s);
    if (s.json)
        nct_output_print(&s.out, s.n ? "}\n" : "{}\n");
    return nct_output_close(&s.out, code);
}

static int get(nct_cli *cli, const char *key) {
    nct_bytes value = {0};
    const char *where;
    int code = nct_settings_open(cli);
    if (code != NCT_EXIT_OK)
        return code;
    if (nct_settings_find(cli, key, &value, &where) == NCT_FROM_NOWHERE)
        return nct_say_error(cli, NCT_EXIT_FAILURE, "'%.80s' is not set\ntry: noctule config show --origin", key);
    nct_output out;
    if ((code = nct_output_open(cli, NULL, &out)) == NCT_EXIT_OK) {
        if (cli->args.format > NCT_FORMAT_TEXT)
            nct_output_print(&out, "%s", value.data);
        else
            print_value(&out, value.data);
        nct_output_print(&out, "\n");
        code = nct_output_close(&out, code);
    }
    nct_bytes_reset(&value);
    return code;
}

/* ------------------------------------------------------------------ set, edit */

/* The user's file, a link followed, and its folder made. */
static int find_file(const nct_cli *cli, char path[PATH_MAX]) {
    char real[PATH_MAX], folder[PATH_MAX];
    if (!nct_settings_path(path, PATH_MAX))
        return nct_say_error(cli, NCT_EXIT_FAILURE, "no place for a configuration: neither XDG_CONFIG_HOME nor HOME is set");
    if (realpath(path, real)) {
        snprintf(path, PATH_MAX, "%s", real);
        return NCT_EXIT_OK;
    }
    snprintf(folder, sizeof folder, "%s", path);
    *strrchr(folder, '/') = 0;
    return nct_make_folders(folder, true)
               ? NCT_EXIT_OK
               : nct_say_error(cli, NCT_EXIT_FAILURE, "%s cannot be made: %s", folder, strerror(errno));
}

static int read_it(const nct_cli *cli, const char *path, nct_bytes *text) {
    return access(path, F_OK) == 0 ? nct_input_read_exact(cli, path, text) : NCT_EXIT_OK;
}

static int write_it(const nct_cli *cli, const char *path, const nct_bytes *text) {
    nct_output out;
    int code = nct_output_open(cli, path, &out);
    if (code != NCT_EXIT_OK)
        return code;
    nct_output_write(&out, text->data, text->n);
    return nct_output_close(&out, code);
}

/* "profiles.fast.think" is a member of a member, of which there is but one level more to change: the profile as a
 * whole is written anew. */
static int set_in_profile(const nct_cli *cli, const char *path, const nct_bytes *text, const char *key, const char *value,
                          nct_bytes *out) {
    const char *name = key + strlen("profiles."), *dot = strrchr(key, '.');
    char profile[128];
    nct_json *json = NULL;
    nct_bytes object = {0}, written = {0};
    nct_error err = {0};
    snprintf(profile, sizeof profile, "%.*s", (int)(dot - name), name);
    nct_status status = NCT_OK;
    if (text->data && strspn(text->data, " \t\r\n") < text->n)
        status = nct_jsonc_parse(path, text->data, text->n, &json, &err);
    const nct_json *old = nct_json_get(nct_json_get(json, "profiles"), profile);
    if (status == NCT_OK && old)
        status = nct_json_write(old, true, &object, &err);
    if (status == NCT_OK)
        status = nct_jsonc_set(path, object.data ? object.data : "{}", object.data ? object.n : 2, dot + 1, NULL, value,
                               &written, &err);
    for (size_t i = 0; i < written.n; i++) /* on one line */
        written.data[i] = written.data[i] == '\n' ? ' ' : written.data[i];
    if (status == NCT_OK)
        status = nct_jsonc_set(path, text->data ? text->data : "", text->n, "profiles", profile, written.data, out, &err);
    nct_json_close(json);
    nct_bytes_reset(&object);
    nct_bytes_reset(&written);
    return status == NCT_OK ? NCT_EXIT_OK : nct_say_error(cli, NCT_EXIT_USAGE, "%s", err.text);
}

/* "cache.max" and its like, which are -X on the command line; not "templates.x" and "profiles.x.y". */
static int check_knob(const nct_cli *cli, const char *key, const char *value) {
    nct_bytes knob = {0};
    if (!strchr(key, '.') || strncmp(key, "templates.", 10) == 0 || strncmp(key, "profiles.", 9) == 0 ||
        nct_bytes_printf(&knob, NULL, "%s=%s", key, value) != NCT_OK)
        return NCT_EXIT_OK;
    int code = nct_check_knob(cli, knob.data);
    nct_bytes_reset(&knob);
    return code;
}

static int set(const nct_cli *cli, const char *key, const char *value) {
    char path[PATH_MAX], complaint[256], first[128];
    nct_bytes json = {0}, text = {0}, out = {0};
    nct_error err = {0};
    const char *dot = strchr(key, '.');
    const char *wrong = nct_settings_check(key, value, &json, complaint);
    if (wrong) {
        nct_bytes_reset(&json);
        return nct_say_error(cli, NCT_EXIT_USAGE, "%s\ntry: noctule config show --origin    (lists all settings)", wrong);
    }
    snprintf(first, sizeof first, "%.*s", (int)(dot ? dot - key : 0), key);
    int code = check_knob(cli, key, value);
    if (code == NCT_EXIT_OK)
        code = find_file(cli, path);
    if (code == NCT_EXIT_OK)
        code = read_it(cli, path, &text);
    if (code == NCT_EXIT_OK && strncmp(key, "profiles.", 9) == 0)
        code = set_in_profile(cli, path, &text, key, json.data, &out);
    else if (code == NCT_EXIT_OK && nct_jsonc_set(path, text.data ? text.data : "", text.n, dot ? first : key,
                                                  dot ? dot + 1 : NULL, json.data, &out, &err) != NCT_OK)
        code = nct_say_error(cli, NCT_EXIT_USAGE, "%s\ntry: noctule config edit", err.text);
    if (code == NCT_EXIT_OK)
        code = write_it(cli, path, &out);
    nct_bytes_reset(&json);
    nct_bytes_reset(&text);
    nct_bytes_reset(&out);
    return code;
}

static int edit(nct_cli *cli) {
    static const char begin[] = "// Settings of noctule: the long names of flags. noctule help config\n{\n}\n";
    char path[PATH_MAX];
    const char *editor = getenv("VISUAL");
    if (!editor || !*editor)
        editor = getenv("EDITOR");
    if (!editor || !*editor)
        editor = "vi";
    if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO))
        return nct_say_error(cli, NCT_EXIT_USAGE, "config edit wants a terminal\ntry: noctule config set KEY VALUE");
    int code = find_file(cli, path);
    if (code == NCT_EXIT_OK && access(path, F_OK) != 0)
        code = write_it(cli, path, &(nct_bytes){.data = (char *)(uintptr_t)begin, .n = sizeof begin - 1});
    if (code != NCT_EXIT_OK)
        return code;
    pid_t child = fork();
    if (child == 0) {
        char command[PATH_MAX];
        snprintf(command, sizeof command, "%s \"$1\"", editor); /* it may have arguments */
        execl("/bin/sh", "sh", "-c", command, "sh", path, (char *)NULL);
        _exit(127);
    }
    int status = 0;
    while (child > 0 && waitpid(child, &status, 0) < 0 && errno == EINTR)
        ;
    if (child < 0 || !WIFEXITED(status) || WEXITSTATUS(status) != 0)
        return nct_say_error(cli, NCT_EXIT_FAILURE, "the editor '%.80s' failed; VISUAL and EDITOR name another", editor);
    return nct_settings_open(cli); /* says what is wrong with it now */
}

int nct_config_main(nct_cli *cli) {
    const nct_list *words = &cli->args.words;
    const char *verb = words->n ? words->item[0] : "";
    static const struct {
        const char *verb;
        size_t n_words;
    } verbs[] = {{"show", 1}, {"get", 2}, {"set", 3}, {"edit", 1}, {"path", 1}};
    size_t i = 0;
    while (i < 5 && strcmp(verbs[i].verb, verb) != 0)
        i++;
    if (i == 5)
        return nct_say_error(cli, NCT_EXIT_USAGE, "config %s\nit has: show, get KEY, set KEY VALUE, edit, path",
                             *verb ? "does not know that word" : "what?");
    if (words->n != verbs[i].n_words)
        return nct_say_error(cli, NCT_EXIT_USAGE, "config %s takes %zu word%s, not %zu\ntry: noctule config --help", verb,
                             verbs[i].n_words - 1, verbs[i].n_words == 2 ? "" : "s", words->n - 1);
    if (i == 0)
        return show_all(cli);
    if (i == 1)
        return get(cli, words->item[1]);
    if (i == 2)
        return set(cli, words->item[1], words->item[2]);
    if (i == 3)
        return edit(cli);
    char path[PATH_MAX];
    nct_output out;
    if (!nct_settings_path(path, sizeof path))
        return nct_say_error(cli, NCT_EXIT_FAILURE, "no place for a configuration: neither XDG_CONFIG_HOME nor HOME is set");
    int code = nct_output_open(cli, NULL, &out);
    if (code != NCT_EXIT_OK)
        return code;
    nct_output_print(&out, "%s\n", path);
    return nct_output_close(&out, code);
}
