/* Conversations that were saved: a list, one of them to read or to pass on, and getting rid of them. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/json.h"
#include "base/map.h"
#include "cli/fold.h"
#include "cli/output.h"
#include "cli/sessions.h"

static bool as_json(const nct_cli *cli) {
    return cli->args.format == NCT_FORMAT_JSON || cli->args.format == NCT_FORMAT_JSONL;
}

/* ------------------------------------------------------------------ list */

static nct_status add_member(nct_bytes *out, const char *before, const char *text, nct_error *err) {
    NCT_TRY(nct_bytes_add_str(out, before, err));
    return nct_json_write_string(out, text, strlen(text), err);
}

static nct_status line_as_json(const nct_kept_line *line, nct_bytes *out, nct_error *err) {
    NCT_TRY(add_member(out, "{\"id\":", line->name, err));
    NCT_TRY(add_member(out, ",\"model\":", line->model, err));
    NCT_TRY(add_member(out, ",\"title\":", line->title, err));
    return nct_bytes_printf(out, err, ",\"turns\":%lld,\"tokens\":%lld,\"bytes\":%llu,\"updated\":%lld}",
                            (long long)line->n_turns, (long long)line->n_tokens,
                            (unsigned long long)line->n_bytes, (long long)line->updated);
}

static void print_line(nct_output *out, const nct_kept_line *line, int width) {
    char when[32];
    time_t t = (time_t)line->updated;
    struct tm local;
    localtime_r(&t, &local);
    strftime(when, sizeof when, "%Y-%m-%d %H:%M", &local);
    nct_bytes text = {0};
    nct_bytes_printf(&text, NULL, "%-*s  %s  %4s turn%s  %8s tokens  %s", width, line->name, when,
                     NCT_N((uint64_t)line->n_turns), line->n_turns == 1 ? " " : "s",
                     NCT_N((uint64_t)line->n_tokens), line->title);
    if (text.data) /* a line each: on a terminal of the title what there is room for */
        nct_output_print(out, "%.*s\n",
                         (int)(out->tty ? nct_fitting(text.data, text.n, (size_t)nct_term_width()) : text.n), text.data);
    nct_bytes_reset(&text);
}

static int refuse_words(const nct_cli *cli) {
    return nct_say_error(cli, NCT_EXIT_USAGE, "%s takes no '%s'\ntry: noctule session list", cli->command->name,
                         cli->args.words.item[0]);
}

int nct_session_list_main(nct_cli *cli) {
    nct_kept_line *line = NULL;
    nct_output out;
    nct_error err = {0};
    size_t n;
    int width = 0;
    if (cli->args.words.n)
        return refuse_words(cli);
    int code = nct_kept_list(cli, &line, &n);
    if (code == NCT_EXIT_OK)
        code = nct_output_open(cli, cli->args.output, &out);
    if (code != NCT_EXIT_OK) {
        nct_kept_list_close(line, n);
        return code;
    }
    for (size_t i = 0; i < n; i++)
        width = (int)strlen(line[i].name) > width ? (int)strlen(line[i].name) : width;
    bool array = cli->args.format == NCT_FORMAT_JSON;
    if (array)
        nct_output_write(&out, "[", 1);
    for (size_t i = 0; i < n && err.status == NCT_OK; i++) {
        nct_bytes text = {0};
        if (!as_json(cli))
            print_line(&out, &line[i], width);
        else if (line_as_json(&line[i], &text, &err) == NCT_OK)
            nct_output_print(&out, "%s%s", text.data, !array ? "\n" : i + 1 < n ? ",\n" : "");
        nct_bytes_reset(&text);
    }
    if (array)
        nct_output_write(&out, "]\n", 2);
    if (n == 0)
        nct_say_note(cli, "no session was saved yet    (noctule chat saves them)");
    nct_kept_list_close(line, n);
    return nct_output_close(&out, nct_say_status(cli, &err));
}

/* ------------------------------------------------------------------ show, export */

/* The one session that is named, its texts in *talk. */
static int read_named(const nct_cli *cli, nct_kept *kept, nct_talk *talk) {
    const nct_list *words = &cli->args.words;
    *talk = (nct_talk){0};
    *kept = (nct_kept){.cli = cli};
    if (words->n != 1)
        return nct_say_error(cli, NCT_EXIT_USAGE, "%s wants the name of one session\ntry: noctule session list",
                             cli->command->name);
    int code = nct_kept_open(cli, words->item[0], false, kept);
    return code == NCT_EXIT_OK ? nct_kept_load(kept, NULL, talk) : code;
}

static nct_status show_json(const nct_kept *kept, const nct_talk *talk, nct_bytes *out, nct_error *err) {
    NCT_TRY(add_member(out, "{\"id\":", kept->name, err));
    if (talk->system.n)
        NCT_TRY(add_member(out, ",\"system\":", talk->system.data, err));
    NCT_TRY(nct_bytes_add_str(out, ",\"turns\":[", err));
    for (size_t i = 0; i < talk->n_turns; i++) {
        const nct_turn *turn = &talk->turn[i];
        NCT_TRY(add_member(out, i ? ",{\"role\":" : "{\"role\":", turn->role, err));
        NCT_TRY(add_member(out, ",\"text\":", turn->content.data, err));
        if (turn->reasoning.data)
            NCT_TRY(add_member(out, ",\"thinking\":", turn->reasoning.data, err));
        NCT_TRY(nct_bytes_add_str(out, "}", err));
    }
    return nct_bytes_add_str(out, "]}\n", err);
}

static int print_session(const nct_cli *cli, bool show) {
    nct_kept kept;
    nct_talk talk;
    nct_output out;
    nct_bytes text = {0};
    nct_error err = {0};
    bool lines = cli->args.format == NCT_FORMAT_JSONL || (!show && nct_ends_with(cli->args.output, ".jsonl"));
    int code = read_named(cli, &kept, &talk);
    if (code == NCT_EXIT_OK)
        code = nct_say_status(cli, show && as_json(cli) && !lines
                                       ? (show_json(&kept, &talk, &text, &err), &err)
                                       : (nct_talk_export(&talk, !lines && !as_json(cli), &text, &err), &err));
    if (code == NCT_EXIT_OK && (code = nct_output_open(cli, cli->args.output, &out)) == NCT_EXIT_OK) {
        nct_output_write(&out, text.data ? text.data : "", text.n);
        code = nct_output_close(&out, code);
    }
    nct_bytes_reset(&text);
    nct_talk_close(&talk);
    nct_kept_close(&kept);
    return code;
}

int nct_session_show_main(nct_cli *cli) { return print_session(cli, true); }
int nct_session_export_main(nct_cli *cli) { return print_session(cli, false); }

/* ------------------------------------------------------------------ rm */

/* The folder goes when it holds nothing of somebody else's. */
static int remove_session(const nct_cli *cli, const char *name) {
    static const char *const files[] = {"transcript.jsonl", "meta.json", "transcript.jsonl.part", "meta.json.part"};
    nct_kept kept;
    char path[PATH_MAX];
    int code = nct_kept_open_there(cli, name, &kept);
    for (size_t i = 0; code == NCT_EXIT_OK && i < sizeof files / sizeof *files; i++)
        if (nct_path_join(path, sizeof path, kept.folder, files[i]) && unlink(path) != 0 && errno != ENOENT)
            code = nct_say_error(cli, NCT_EXIT_FAILURE, "%s cannot be removed: %s", path, strerror(errno));
    if (code == NCT_EXIT_OK && rmdir(kept.folder) != 0)
        code = nct_say_error(cli, NCT_EXIT_FAILURE, "%s cannot be removed: %s", kept.folder, strerror(errno));
    nct_kept_close(&kept);
    return code;
}

int nct_session_rm_main(nct_cli *cli) {
    const nct_list *words = &cli->args.words;
    int code = NCT_EXIT_OK;
    if (words->n == 0)
        return nct_say_error(cli, NCT_EXIT_USAGE, "session rm wants names\ntry: noctule session list");
    for (size_t i = 0; i < words->n; i++) {
        int one = remove_session(cli, words->item[i]);
        code = code == NCT_EXIT_OK ? one : code;
    }
    return code;
}
