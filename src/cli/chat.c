/* The conversation at a terminal. */
#include "cli/slash.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/map.h"
#include "cli/compose.h"
#include "cli/constrain.h"
#include "cli/fold.h"
#include "cli/input.h"
#include "cli/open.h"
#include "cli/overflow.h"
#include "cli/places.h"

enum { PATH_BYTES = 4096, HISTORY_BYTES = 16384 };
#define TWICE_NS 1000000000u /* a second Ctrl-C within this leaves */

/* ------------------------------------------------------------------ the session */

void nct_chat_save(nct_chat *c) {
    if (!c->saves || c->talk.n_turns == 0)
        return;
    if (nct_kept_save(&c->kept, &c->info, &c->talk) != NCT_EXIT_OK)
        c->saves = false; /* said once */
}

/* The line of leaving. */
static void tell_saved(const nct_chat *c) {
    if (!c->saves || !c->kept.there || c->talk.n_turns == 0 || c->cli->args.quiet || !c->cli->term.err_tty)
        return;
    nct_report report;
    nct_session_report(c->session, &report);
    bool pages = report.kv_written_bytes || report.n_taken;
    nct_bytes line = {0};
    nct_bytes_printf(&line, NULL, "session %s saved%s%s%s", c->kept.name, pages ? " (KV " : "",
                     pages ? NCT_BYTES(report.kv_bytes) : "", pages ? ")" : "");
    size_t n = line.n;
    nct_bytes_printf(&line, NULL, " · resume: noctule chat --session %s", c->kept.name);
    bool fits = line.data && nct_columns(line.data, line.n) <= (size_t)nct_term_width();
    if (line.data && !fits)
        line.data[n] = 0;
    if (line.data)
        nct_say_dim(c->cli, "%s", line.data);
    if (!fits) /* nothing is cut in what is to be copied */
        fprintf(stderr, "resume: noctule chat --session %s\n", c->kept.name);
    nct_bytes_reset(&line);
}

static int resume(nct_chat *c) {
    if (!c->kept.there)
        return NCT_EXIT_OK;
    int code = nct_kept_load(&c->kept, &c->info, &c->talk);
    c->files_turn = c->talk.n_turns;
    return code;
}

/* ------------------------------------------------------------------ a turn */

/* The user's turn; files stand before the one that they were named for. */
static nct_status say_with_files(nct_chat *c, const char *text, size_t n, nct_error *err) {
    nct_bytes message = {0};
    const nct_bytes *files = &c->files.text;
    nct_status status = NCT_OK;
    if (files->n && c->files_turn == c->talk.n_turns) {
        status = nct_bytes_add(&message, files->data, files->n, err);
        if (status == NCT_OK)
            status = nct_bytes_add_str(&message, files->data[files->n - 1] == '\n' ? "\n" : "\n\n", err);
    }
    if (status == NCT_OK)
        status = nct_bytes_add(&message, text, n, err);
    if (status == NCT_OK)
        status = nct_talk_say(&c->talk, message.data ? message.data : "", message.n, err);
    if (status == NCT_OK)
        c->talk.turn[c->talk.n_turns - 1].typed = message.n - n;
    nct_bytes_reset(&message);
    return status;
}

/* A turn with files, for counting. */
typedef struct next_turn {
    nct_chat *chat;
    const char *text;
    size_t n;
} next_turn;

static nct_status count_next(void *context, size_t *n_ids, nct_error *err) {
    next_turn *next = context;
    nct_talk *talk = &next->chat->talk;
    int32_t *ids = NULL;
    size_t before = talk->n_turns;
    bool thinking;
    nct_status status = say_with_files(next->chat, next->text, next->n, err);
    if (status == NCT_OK)
        status = nct_talk_prompt(talk, NULL, &ids, n_ids, &thinking, err);
    nct_talk_cut(talk, before);
    nct_free(ids);
    return status;
}

nct_status nct_chat_next_begins(nct_chat *c, int32_t **ids, size_t *n_ids, nct_error *err) {
    static const char *const said[] = {"a", "Z"};
    int32_t *with[2] = {NULL, NULL};
    size_t n[2] = {0, 0}, before = c->talk.n_turns, same = 0;
    bool thinking;
    nct_status status = NCT_OK;
    for (int i = 0; i < 2 && status == NCT_OK; i++) {
        status = say_with_files(c, said[i], 1, err);
        if (status == NCT_OK)
            status = nct_talk_prompt(&c->talk, NULL, &with[i], &n[i], &thinking, err);
        nct_talk_cut(&c->talk, before);
    }
    while (status == NCT_OK && same < n[0] && same < n[1] && with[0][same] == with[1][same])
        same++;
    nct_free(with[1]);
    if (status != NCT_OK) {
        nct_free(with[0]);
        return status;
    }
    *ids = with[0];
    *n_ids = same;
    return NCT_OK;
}

/* Files that are too long for their turn, as --overflow says. */
static int fit_files(nct_chat *c, const char *text, size_t n) {
    next_turn next = {c, text, n};
    nct_fit fit = {.cli = c->cli,
                   .engine = c->engine,
                   .prompt = &c->files,
                   .limit = (size_t)nct_session_limit(c->session),
                   .encode = count_next,
                   .context = &next};
    nct_error err = {0};
    size_t n_dropped;
    if (c->talk.n_turns != c->files_turn || c->files.text.n == 0)
        return NCT_EXIT_OK;
    if (count_next(&next, &fit.n_ids, &err) != NCT_OK)
        return nct_say_status(c->cli, &err);
    return nct_overflow_fit(&fit, &n_dropped);
}

bool nct_chat_tell(nct_chat *c, const char *text, size_t n) {
    nct_error err = {0};
    size_t before = c->talk.n_turns;
    if (nct_talk_tell(&c->talk, text, n, &err) != NCT_OK) {
        c->code = nct_say_status(c->cli, &err);
        return false;
    }
    c->retries = 0;
    if (nct_chat_answer(c))
        return true;
    nct_talk_cut(&c->talk, before);
    return false;
}

void nct_chat_send(nct_chat *c, const char *text, size_t n) {
    nct_error err = {0};
    size_t before = c->talk.n_turns;
    c->code = fit_files(c, text, n);
    if (c->code != NCT_EXIT_OK)
        return;
    if (say_with_files(c, text, n, &err) != NCT_OK) {
        c->code = nct_say_status(c->cli, &err);
        return;
    }
    c->retries = 0;
    if (!nct_chat_answer(c))
        nct_talk_cut(&c->talk, before);
}

/* What was typed, or a record of a script. False: leave. */
static bool take(nct_chat *c, char *text, size_t n) {
    if (n >= 2 && text[0] == '/' && text[1] == '/') {
        nct_chat_send(c, text + 1, n - 1);
        return true;
    }
    if (text[0] == '/' && !memchr(text, '\n', n)) /* a paste of paths is a text */
        return nct_chat_obey(c, text);
    nct_chat_send(c, text, n);
    return true;
}

/* ------------------------------------------------------------------ typing */

/* One message, which may be several lines: between """ and """, or while lines end in a backslash. */
static nct_typed read_message(nct_chat *c, nct_bytes *message) {
    nct_bytes line = {0};
    bool block = false, first = true;
    nct_typed typed;
    message->n = 0;
    for (;;) {
        typed = nct_editor_read(c->editor, first ? ">>> " : "... ", &line);
        if (typed != NCT_TYPED_LINE && typed != NCT_TYPED_MORE)
            break;
        size_t n = line.n;
        const char *text = line.data;
        bool more = block || typed == NCT_TYPED_MORE, one = !memchr(text, '\n', n);
        if (first && one && n >= 3 && memcmp(text, "\"\"\"", 3) == 0) {
            block = more = true;
            text += 3;
            n -= 3;
        }
        if (block && n >= 3 && memcmp(text + n - 3, "\"\"\"", 3) == 0) {
            n -= 3;
            more = false;
        } else if (!block && one && n && text[n - 1] == '\\') {
            n--;
            more = true;
        }
        bool opening = first && block && n == 0; /* """ alone: the text begins on the next line */
        nct_bytes_add(message, text, n, NULL);
        if (more && !opening)
            nct_bytes_add_str(message, "\n", NULL);
        first = false;
        if (!more)
            break;
    }
    if (typed == NCT_TYPED_INTERRUPT || typed == NCT_TYPED_EDIT)
        nct_bytes_add(message, line.data, line.n, NULL); /* is thrown away, or goes to the editor */
    nct_bytes_reset(&line);
    return typed;
}

/* Ctrl-C while typing: the line goes; twice within a second leaves. */
static bool interrupted(nct_chat *c, bool was_empty) {
    uint64_t now = nct_clock_ns();
    bool again = was_empty && c->interrupted_ns && now - c->interrupted_ns < TWICE_NS;
    c->interrupted_ns = now;
    nct_signals_clear();
    if (again) {
        c->code = NCT_EXIT_INTERRUPT;
        return false;
    }
    if (was_empty)
        fputs("  Ctrl-D to leave\n", stderr);
    return true;
}

static size_t count_tokens(void *chat, const char *text, size_t n) {
    const nct_chat *c = chat;
    int32_t *ids = NULL;
    size_t n_ids = 0;
    if (nct_encode(c->engine, text, n, c->cli->args.parse_special, false, &ids, &n_ids, NULL) == NCT_OK)
        nct_free(ids);
    return n_ids;
}

static int converse(nct_chat *c) {
    nct_bytes message = {0};
    nct_typing_help help = {nct_chat_complete, count_tokens, c};
    nct_editor_help(c->editor, &help);
    bool stay = true;
    if (c->cli->args.prompt)
        nct_chat_send(c, c->cli->args.prompt, strlen(c->cli->args.prompt));
    c->code = NCT_EXIT_OK;
    nct_signals_clear();
    while (stay && !c->show.output.failure) {
        /* a signal is forgotten where it was answered, not here: the next may have come already */
        nct_editor_push(c->editor, c->show.keys.typed.data, c->show.keys.typed.n);
        c->show.keys.typed.n = 0;
        nct_typed typed = read_message(c, &message);
        if (typed == NCT_TYPED_INTERRUPT) {
            stay = interrupted(c, message.n == 0);
            continue;
        }
        if (typed == NCT_TYPED_SIGNAL) {
            c->code = 128 + (int)*nct_signals_flag();
            break;
        }
        if (typed == NCT_TYPED_END)
            break;
        if (typed == NCT_TYPED_EDIT) {
            if (!nct_compose(c->cli, &message))
                continue;
            fprintf(stderr, "%s\n", message.n ? message.data : "");
        }
        if (message.n == 0 || strspn(message.data, " \t\n") == message.n)
            continue;
        if (message.n <= HISTORY_BYTES)
            nct_editor_remember(c->editor, message.data);
        stay = take(c, message.data, message.n);
        if (*nct_signals_flag() == SIGTERM || *nct_signals_flag() == SIGHUP) {
            c->code = 128 + (int)*nct_signals_flag();
            break;
        }
        if (stay)
            c->code = NCT_EXIT_OK; /* what went wrong was said; the chat went on */
        nct_signals_clear();
    }
    nct_bytes_reset(&message);
    return c->code;
}

/* One turn a record of stdin; records end at newlines, or at NULs if there are any. */
static int follow_script(nct_chat *c) {
    nct_bytes script = {0};
    int code = nct_input_read_exact(c->cli, "-", &script);
    char end = script.n && memchr(script.data, 0, script.n) ? 0 : '\n';
    for (size_t at = 0; at < script.n && code == NCT_EXIT_OK;) {
        char *stop = memchr(script.data + at, end, script.n - at);
        size_t n = stop ? (size_t)(stop - script.data) - at : script.n - at;
        script.data[at + n] = 0;
        c->code = NCT_EXIT_OK;
        if (*nct_signals_flag() == SIGALRM) /* the time of the turn before */
            nct_signals_clear();
        if (n && !take(c, script.data + at, n))
            break;
        code = c->code;
        if (*nct_signals_flag() && *nct_signals_flag() != SIGALRM)
            code = 128 + (int)*nct_signals_flag();
        if (c->show.output.failure)
            break;
        at += n + 1;
    }
    nct_bytes_reset(&script);
    return code;
}

/* ------------------------------------------------------------------ the command */

/* $XDG_STATE_HOME/noctule/history, its folders made; false if there is no place for it. */
static bool history_path(const nct_cli *cli, char *buf, size_t n_buf) {
    return !cli->args.no_history && !cli->args.script &&
           nct_place_path(NCT_PLACE_STATE, "history", buf, n_buf) && nct_make_folders(buf, false);
}

/* " · sparse > 2,048 · spec auto": from which token on blocks are chosen, and who decides how much is guessed. */
static void describe_speed(const nct_chat *c, char *buf, size_t n_buf) {
    const nct_args *a = &c->cli->args;
    nct_report r;
    nct_session_report(c->session, &r);
    bool chooses = r.chooses_from >= 0;
    bool guesses = !a->spec || (strcmp(a->spec, "off") != 0 && strcmp(a->spec, "1") != 0);
    snprintf(buf, n_buf, "%s%s%s%s", chooses ? " · sparse > " : "",
             chooses ? NCT_N((uint64_t)r.chooses_from + 1) : "", guesses ? " · spec " : "",
             !guesses  ? ""
             : a->spec ? a->spec
                       : "auto");
}

static void greet(const nct_chat *c) {
    const nct_cli *cli = c->cli;
    char speed[64];
    if (cli->args.quiet || cli->args.script)
        return;
    describe_speed(c, speed, sizeof speed);
    nct_say_dim(cli, "noctule %s · %s · %s · %s · %d thread%s, %s%s", NOCTULE_VERSION, c->info.name,
                c->info.weights, NCT_BYTES(c->info.weight_bytes), c->info.n_threads,
                c->info.n_threads == 1 ? "" : "s", c->info.isa, speed);
    if (c->talk.n_turns)
        nct_say_dim(cli, "session %s: %zu turn%s", c->kept.name, c->talk.n_turns / 2,
                    c->talk.n_turns == 2 ? "" : "s");
    if (c->talk.plain)
        nct_say_dim(cli, "no chat template: the text is continued");
    nct_say_dim(cli, "context %s/%s · /help · \"\"\" for several lines · Ctrl-C stops, Ctrl-D leaves",
                NCT_N(c->n_resumed), NCT_N((uint64_t)nct_session_limit(c->session)));
}

/* Before the model is loaded: a chat that cannot be. */
static int check_terminal(const nct_cli *cli) {
    if (cli->args.script)
        return NCT_EXIT_OK;
    if (!cli->term.in_tty)
        return nct_say_error(
            cli, NCT_EXIT_USAGE,
            "chat needs a terminal, and stdin is none\n"
            "try: ... | noctule run \"...\"\n     noctule chat --script < turns.txt    (one turn per line)");
    if (!cli->term.out_tty)
        return nct_say_error(cli, NCT_EXIT_USAGE,
                             "chat needs a terminal, and stdout is none\ntry: noctule run \"...\" > file");
    return NCT_EXIT_OK;
}

static int read_files(nct_chat *c) {
    const nct_args *a = &c->cli->args;
    int code = a->files.n ? nct_prompt_add_files(c->cli, &c->files, &a->files) : NCT_EXIT_OK;
    if (code == NCT_EXIT_OK && a->words.n)
        code = nct_prompt_add_files(c->cli, &c->files, &a->words);
    return code;
}

/* Tokens that the session will hold as far as is known: what was said, files and -p, and an answer; 0 if nothing is. */
static int expect(nct_chat *c, size_t *n_expected) {
    const char *prompt = c->cli->args.prompt ? c->cli->args.prompt : "";
    next_turn next = {c, prompt, strlen(prompt)};
    nct_error err = {0};
    int32_t *held = NULL;
    if (nct_talk_held(&c->talk, c->talk.n_turns, &held, &c->n_resumed, &err) != NCT_OK)
        return nct_say_status(c->cli, &err);
    nct_free(held);
    if (c->files.text.n == 0 && !*prompt && c->talk.n_turns == 0)
        return NCT_EXIT_OK;
    if (count_next(&next, n_expected, &err) == NCT_OK)
        *n_expected += nct_answer_reserve(c->cli);
    return nct_say_status(c->cli, &err);
}

static int prepare(nct_chat *c) {
    int code = nct_overflow_check(c->cli);
    if (code == NCT_EXIT_OK)
        code = nct_constraint_check(c->cli);
    if (code == NCT_EXIT_OK)
        code = check_terminal(c->cli);
    if (code == NCT_EXIT_OK)
        code = nct_kept_take(c->cli, &c->kept);
    c->saves = !c->cli->args.script || *c->kept.name;
    if (code == NCT_EXIT_OK)
        code = read_files(c);
    if (code == NCT_EXIT_OK)
        code = nct_open_model(c->cli, false, &c->engine, &c->info);
    if (code == NCT_EXIT_OK)
        code = nct_take_sampling(c->cli, c->engine, &c->sampling, &c->bias);
    if (code == NCT_EXIT_OK)
        code = nct_take_constraint(c->cli, c->engine, &c->sampling, &c->constraint);
    if (code == NCT_EXIT_OK)
        code = nct_talk_open(c->cli, c->engine, c->cli->args.raw || !nct_engine_has_template(c->engine),
                             &c->talk);
    if (code == NCT_EXIT_OK)
        code = resume(c);
    size_t n_expected = 0;
    if (code == NCT_EXIT_OK)
        code = expect(c, &n_expected);
    if (code == NCT_EXIT_OK)
        code = nct_open_session(c->cli, c->engine, n_expected, &c->session);
    return code == NCT_EXIT_OK ? nct_output_open(c->cli, NULL, &c->show.output) : code;
}

int nct_chat_main(nct_cli *cli) {
    nct_chat c = {.cli = cli, .show.cli = cli};
    int code = prepare(&c);
    if (code == NCT_EXIT_OK) {
        char path[PATH_BYTES];
        nct_error err = {0};
        nct_signals_catch();
        greet(&c);
        if (cli->args.script)
            code = follow_script(&c);
        else if (nct_editor_open(&cli->term, history_path(cli, path, sizeof path) ? path : NULL, &c.editor,
                                 &err) != NCT_OK)
            code = nct_say_status(cli, &err);
        else
            code = converse(&c);
        nct_editor_close(c.editor);
        nct_session_keep(c.session, nct_session_length(c.session));
        nct_keep_learned(cli, c.engine, c.session);
        tell_saved(&c);
        code = nct_output_close(&c.show.output, code);
    }
    nct_show_close(&c.show);
    nct_sources_close(&c.sources);
    nct_chat_forget_marks(&c);
    nct_talk_close(&c.talk);
    nct_prompt_close(&c.files);
    nct_kept_close(&c.kept);
    for (size_t i = 0; i < c.texts.n; i++)
        nct_free((void *)(uintptr_t)c.texts.item[i]);
    nct_free(c.texts.item);
    nct_free(c.bias);
    nct_constraint_close(c.constraint);
    nct_session_close(c.session);
    nct_engine_close(c.engine);
    return code;
}
