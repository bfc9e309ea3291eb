#include "cli/template.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/map.h"
#include "cli/places.h"
#include "cli/settings.h"

static const char input_hole[] = "{{input}}", file_hole[] = "{{file}}", lang_hole[] = "{{lang}}";

/* ------------------------------------------------------------------ finding it */

static bool find(const char *name, char *buf, size_t n_buf) {
    static const char *const endings[] = {"", ".txt"};
    if (strchr(name, '/') || nct_is_file(name))
        return snprintf(buf, n_buf, "%s", name) < (int)n_buf;
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        char below[PATH_MAX];
        if (snprintf(below, sizeof below, "templates/%s%s", name, endings[i]) < (int)sizeof below &&
            nct_place_path(NCT_PLACE_CONFIG, below, buf, n_buf) && nct_is_file(buf))
            return true;
    }
    return false;
}

/* Holes that nothing fills would reach the model as they are. */
static int check_holes(const nct_cli *cli, const char *path, const nct_bytes *text) {
    static const char *const known[] = {input_hole, file_hole, lang_hole};
    size_t n_inputs = 0;
    for (const char *at = text->data; at && (at = strstr(at, "{{")); at += 2) {
        const char *end = strstr(at, "}}");
        bool found = false;
        if (!end || end - at > 24 || memchr(at, '\n', (size_t)(end - at)))
            continue; /* braces of the text's own */
        for (size_t i = 0; i < sizeof known / sizeof *known; i++)
            found = found || strncmp(at, known[i], strlen(known[i])) == 0;
        if (!found)
            return nct_say_error(cli, NCT_EXIT_USAGE,
                                 "%s: no hole %.*s\nit may have: {{input}}, {{file}}, {{lang}}", path,
                                 (int)(end - at) + 2, at);
        n_inputs += strncmp(at, input_hole, strlen(input_hole)) == 0;
    }
    if (n_inputs > 1)
        return nct_say_error(cli, NCT_EXIT_USAGE, "%s: {{input}} stands in it %zu times; once is enough",
                             path, n_inputs);
    return NCT_EXIT_OK;
}

int nct_template_read(const nct_cli *cli, nct_bytes *text) {
    char path[PATH_MAX];
    const char *kept = nct_settings_template(cli, cli->args.template);
    int code = NCT_EXIT_OK;
    if (find(cli->args.template, path, sizeof path)) {
        code = nct_input_read(cli, path, text);
    } else if (kept) {
        nct_error err = {0};
        snprintf(path, sizeof path, "template %s", cli->args.template);
        if (nct_bytes_add_str(text, kept, &err) != NCT_OK)
            code = nct_say_status(cli, &err);
    } else {
        return nct_say_error(
            cli, NCT_EXIT_USAGE,
            "no template '%s': it is neither a path nor a name in $XDG_CONFIG_HOME/noctule/templates\n"
            "or in the configuration's \"templates\" (noctule config path)",
            cli->args.template);
    }
    while (code == NCT_EXIT_OK && text->n && text->data[text->n - 1] == '\n')
        text->data[--text->n] = 0;
    if (code == NCT_EXIT_OK && text->n == 0)
        return nct_say_error(cli, NCT_EXIT_USAGE, "%s is empty", path);
    return code == NCT_EXIT_OK ? check_holes(cli, path, text) : code;
}

/* ------------------------------------------------------------------ filling it */

/* Appends a stretch of the template with the small holes filled. */
static nct_status add_stretch(nct_bytes *out, const char *from, const char *to, const char *file,
                              const char *lang, nct_error *err) {
    while (from < to) {
        size_t left = (size_t)(to - from);
        const char *hole = NULL, *with = NULL;
        if (left >= sizeof file_hole - 1 && memcmp(from, file_hole, sizeof file_hole - 1) == 0)
            hole = file_hole, with = file;
        else if (left >= sizeof lang_hole - 1 && memcmp(from, lang_hole, sizeof lang_hole - 1) == 0)
            hole = lang_hole, with = lang;
        NCT_TRY(hole ? nct_bytes_add_str(out, with, err) : nct_bytes_add(out, from, 1, err));
        from += hole ? strlen(hole) : 1;
    }
    return NCT_OK;
}

static nct_status fill(const nct_bytes *text, nct_prompt *p, const char *file, nct_error *err) {
    const char *end = text->data + text->n, *hole = strstr(text->data, input_hole);
    const char *behind = hole ? hole + sizeof input_hole - 1 : text->data;
    nct_bytes whole = {0};
    void *parts = p->part;
    nct_status status = nct_grow(&parts, &p->parts_capacity, p->n_parts + 1, sizeof *p->part, err);
    p->part = parts ? parts : p->part;
    if (status == NCT_OK && hole)
        status = add_stretch(&whole, text->data, hole, file, "the language of the input", err);
    size_t before = whole.n;
    if (status == NCT_OK && p->text.n)
        status = nct_bytes_add(&whole, p->text.data, p->text.n, err);
    if (status == NCT_OK && !hole && p->text.n)
        status = nct_bytes_add_str(&whole, whole.data[whole.n - 1] == '\n' ? "\n" : "\n\n", err);
    size_t last = whole.n;
    if (status == NCT_OK)
        status = add_stretch(&whole, behind, end, file, "the language of the input", err);
    if (status != NCT_OK) {
        nct_bytes_reset(&whole);
        return status;
    }
    for (size_t i = 0; i < p->n_parts; i++) {
        p->part[i].begin += before;
        p->part[i].body += before;
        p->part[i].end += before;
    }
    p->part[p->n_parts++] = (nct_prompt_part){
        .name = "the template", .begin = last, .body = last, .end = whole.n, .instruction = true};
    nct_bytes_reset(&p->text);
    p->text = whole;
    return NCT_OK;
}

int nct_template_fill(const nct_cli *cli, const nct_bytes *text, const char *file, nct_prompt *p) {
    nct_error err = {0};
    if (p->text.n == 0 && strstr(text->data, input_hole))
        return nct_say_error(cli, NCT_EXIT_USAGE,
                             "the template '%s' has a hole for input, and there is none\n"
                             "try: ... | noctule run -T %s",
                             cli->args.template, cli->args.template);
    fill(text, p, file, &err);
    return nct_say_status(cli, &err);
}
