/* Commands that bring texts into a chat: documents, pastes, what an editor wrote. */
#include <glob.h>
#include <stdio.h>
#include <string.h>

#include "cli/compose.h"
#include "cli/open.h"
#include "cli/slash.h"

/* ------------------------------------------------------------------ paths */

/* The next word of a line: quotes and backslashes as a shell has them. Cuts it in place. NULL: there is none. */
static char *next_word(char **line) {
    char *from = *line + strspn(*line, " \t"), *to = from, *word = from, quote = 0;
    if (!*from)
        return NULL;
    for (; *from && (quote || (*from != ' ' && *from != '\t')); from++) {
        if (quote ? *from == quote : *from == '"' || *from == '\'')
            quote = quote ? 0 : *from;
        else if (*from == '\\' && from[1] && quote != '\'')
            *to++ = *++from;
        else
            *to++ = *from;
    }
    *line = *from ? from + 1 : from;
    *to = 0;
    return word;
}

/* Paths as typed, patterns filled in; a pattern that fits nothing stays what it is, and is then a file that is not there.
 * The texts belong to the globs. */
static bool list_paths(char *rest, glob_t *found) {
    int flags = GLOB_NOCHECK | GLOB_TILDE;
    for (char *word; (word = next_word(&rest)); flags |= GLOB_APPEND)
        if (glob(word, flags, NULL, found) != 0)
            return false;
    return flags & GLOB_APPEND;
}

/* ------------------------------------------------------------------ reading ahead */

static void drop_parts(nct_prompt *files, size_t n_parts, size_t n) {
    while (files->n_parts > n_parts)
        nct_free(files->part[--files->n_parts].own);
    files->text.n = n;
    if (files->text.data)
        files->text.data[n] = 0;
}

/* "3:40", or "5 h 02 m". */
static void print_time(double seconds, char buf[32]) {
    int s = (int)(seconds + 0.5);
    if (s >= 3600)
        snprintf(buf, 32, "%d h %02d m", s / 3600, s / 60 % 60);
    else
        snprintf(buf, 32, "%d:%02d", s / 60, s % 60);
}

typedef struct ahead {
    nct_chat *chat;
    const int32_t *ids;
    size_t n, n_files, n_held; /* held: of these, what the session had, or files of earlier ones */
} ahead;

static void show_progress(void *chat, int done, int total) {
    nct_show_progress(&((nct_chat *)chat)->show, done, total);
}

static nct_status feed(const ahead *a, size_t to, nct_error *err) {
    nct_chat *c = a->chat;
    size_t from = (size_t)nct_session_length(c->session);
    nct_feed_options options = {.stop = nct_signals_flag(), .progress = show_progress, .context = c};
    if (from >= to)
        return NCT_OK;
    nct_chat_begin_reading(c);
    nct_status status = nct_session_feed(c->session, a->ids + from, to - from, &options, err);
    nct_chat_end_reading(c);
    return status;
}

/* How fast this session reads; measured with the beginning of what is to be read if nothing was read yet. */
static nct_status measure(const ahead *a, double *rate, nct_error *err) {
    enum { SAMPLE = 128 };
    nct_report r;
    nct_session_report(a->chat->session, &r);
    if (r.n_prefill < SAMPLE && a->n > a->n_held + SAMPLE) {
        NCT_TRY(feed(a, a->n_held + SAMPLE, err));
        nct_session_report(a->chat->session, &r);
    }
    *rate = nct_rate(r.n_prefill, r.prefill_s);
    return NCT_OK;
}

static void announce(const ahead *a, double rate) {
    nct_chat *c = a->chat;
    char eta[32] = "?";
    size_t left = a->n - a->n_held;
    if (rate > 0)
        print_time((double)left / rate, eta);
    nct_tell("  %zu file%s · %s tokens%s%s%s · reading ≈ %s · %s KV      Ctrl-C cancels\n", a->n_files,
             a->n_files == 1 ? "" : "s", NCT_N(a->n), a->n_held ? " (" : "", a->n_held ? NCT_N(a->n_held) : "",
             a->n_held ? " held)" : "", eta, NCT_BYTES(nct_session_cache_bytes(c->session, a->n)));
}

static nct_status read_all(ahead *a, nct_error *err) {
    nct_chat *c = a->chat;
    const int32_t *held = nct_session_tokens(c->session);
    size_t n_held = (size_t)nct_session_length(c->session), same = 0;
    double rate = 0;
    while (same < n_held && same < a->n && held[same] == a->ids[same])
        same++;
    if (same < n_held)
        NCT_TRY(nct_session_rewind(c->session, (int)same, err));
    NCT_TRY(nct_session_take(c->session, a->ids, a->n, err));
    a->n_held = (size_t)nct_session_length(c->session);
    NCT_TRY(measure(a, &rate, err));
    announce(a, rate);
    return feed(a, a->n, err);
}

/* Reads what the next turn will begin with, so that the question is answered at once. False: the files are not taken. */
static bool read_ahead(nct_chat *c, size_t n_files) {
    int32_t *ids = NULL;
    ahead a = {.chat = c, .n_files = n_files};
    nct_error err = {0};
    if (nct_chat_next_begins(c, &ids, &a.n, &err) != NCT_OK) {
        c->code = nct_say_status(c->cli, &err);
        return false;
    }
    a.ids = ids;
    size_t limit = (size_t)nct_session_limit(c->session);
    if (a.n > limit)
        c->code = nct_say_error(c->cli, NCT_EXIT_CONTEXT,
                                "the conversation would be %s tokens; the context holds %s\n"
                                "try: fewer files\n     /forget",
                                NCT_N(a.n), NCT_N(limit));
    else
        c->code = nct_check_room(c->cli, c->engine, c->session, a.n + nct_answer_reserve(c->cli));
    nct_status status = c->code == NCT_EXIT_OK ? read_all(&a, &err) : NCT_OK;
    if (status == NCT_E_STOPPED)
        nct_tell("  cancelled: %s of %s tokens are read, and are not read again if they are named again\n",
                 NCT_N((uint64_t)nct_session_length(c->session)), NCT_N(a.n));
    else if (status != NCT_OK)
        c->code = nct_say_status(c->cli, &err);
    nct_free(ids);
    return c->code == NCT_EXIT_OK && status == NCT_OK;
}

bool nct_slash_file(nct_chat *c, char *rest) {
    glob_t found = {0};
    nct_list paths = {0};
    if (!list_paths(rest, &found)) {
        nct_tell(*rest ? "  %s: no such files\n" : "  /file wants paths%s\n", *rest ? rest : "");
        globfree(&found);
        return true;
    }
    if (c->files_turn < c->talk.n_turns) /* those were said already */
        nct_prompt_close(&c->files);
    c->files_turn = c->talk.n_turns;
    size_t n_parts = c->files.n_parts, n = c->files.text.n;
    bool recursive = c->cli->args.recursive;
    c->cli->args.recursive = true;
    for (size_t i = 0; i < found.gl_pathc; i++)
        nct_list_add(&paths, found.gl_pathv[i]);
    c->code = nct_prompt_add_files(c->cli, &c->files, &paths);
    c->cli->args.recursive = recursive;
    c->n_prompt = 0;
    if (c->code == NCT_EXIT_OK && c->files.n_parts == n_parts)
        nct_tell("  no text in these\n");
    else if (c->code != NCT_EXIT_OK || !read_ahead(c, c->files.n_parts - n_parts))
        drop_parts(&c->files, n_parts, n);
    nct_free(paths.item);
    globfree(&found);
    return true;
}

/* ------------------------------------------------------------------ longer texts */

bool nct_slash_paste(nct_chat *c, char *rest) {
    (void)rest;
    nct_bytes text = {0}, line = {0};
    nct_typed typed;
    if (!c->editor) {
        nct_tell("  /paste is for terminals; a script's records may end in NULs\n");
        return true;
    }
    nct_tell("  lines as they come; /end on a line of its own, or Ctrl-D, sends them, Ctrl-C does not\n");
    while ((typed = nct_editor_read(c->editor, "", &line)) == NCT_TYPED_LINE || typed == NCT_TYPED_MORE) {
        if (strcmp(line.data, "/end") == 0)
            break;
        nct_bytes_add(&text, line.data, line.n, NULL);
        nct_bytes_add_str(&text, "\n", NULL);
    }
    nct_bytes_reset(&line);
    if (typed == NCT_TYPED_INTERRUPT)
        nct_signals_clear();
    else if (typed != NCT_TYPED_SIGNAL && text.n)
        nct_chat_send(c, text.data, text.n - 1);
    nct_bytes_reset(&text);
    return true;
}

bool nct_slash_edit(nct_chat *c, char *rest) {
    nct_bytes text = {0};
    if (!c->editor)
        nct_tell("  /edit is for terminals\n");
    else if (nct_bytes_add_str(&text, rest, NULL) == NCT_OK && nct_compose(c->cli, &text)) {
        if (text.n == 0) {
            nct_tell("  nothing was written, so nothing is sent\n");
        } else {
            fprintf(stderr, "%s\n", text.data);
            nct_editor_remember(c->editor, text.data);
            nct_chat_send(c, text.data, text.n);
        }
    }
    nct_bytes_reset(&text);
    return true;
}
