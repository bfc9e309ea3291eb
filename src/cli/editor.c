/* Typing a line: libedit, and what it lacks. */
#define _GNU_SOURCE
#include <errno.h>
#include <langinfo.h>
#include <limits.h>
#include <locale.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cli/escapes.h"
#include "cli/fold.h"
#include "cli/history.h"
#include "cli/paste.h"
#include "cli/term.h"

#ifdef NCT_HAVE_EDIT
#include <histedit.h>
#include <wchar.h>
#endif

enum { HISTORY_LINES = 1000 };

/* ------------------------------------------------------------------ waiting */

static volatile sig_atomic_t window_changed, stop_typed;

static void on_window(int number) {
    (void)number;
    window_changed = 1;
}
static void on_stop(int number) {
    (void)number;
    stop_typed = 1;
}

static void handle(int number, void (*handler)(int)) {
    struct sigaction action = {.sa_handler = handler}; /* without SA_RESTART: waiting ends */
    sigemptyset(&action.sa_mask);
    sigaction(number, &action, NULL);
}

static int caught(void) { return *nct_signals_flag(); }

struct nct_editor {
    const char *prompt;
    char *history_path;
    nct_bytes pending; /* read, but not yet asked for */
    sigset_t outside;  /* the mask while waiting for a key */
    bool interrupted;
    nct_bytes typed; /* the line when Ctrl-C came */
    nct_typing_help help;
    nct_bytes ahead; /* read from the terminal, but not yet asked for; from ahead_at on */
    size_t ahead_at;
    bool began;          /* this line: its first key was asked for */
    bool own_keys;       /* the user has an .editrc: what the terminal sends is left as it is */
    const char *instead; /* keys in place of a sequence, those not read yet */
    char sequence[NCT_ESCAPE_BYTES + 1]; /* one that is read as it is */
    nct_pastes pastes;                   /* of this line */
    nct_typed ends_as;                   /* what the key that ended the line means */
    size_t back;      /* lines of the history that the one shown lies back; 0: it is being typed */
    nct_bytes newest; /* what was typed before going back */
#ifdef NCT_HAVE_EDIT
    EditLine *edit;
    History *history;
#endif
};

/* Waits for input, and lets signals in only here, so that none is missed between a look and the wait.
 * False if the flag was set. */
static bool wait_for_key(nct_editor *e) {
    while (caught() == 0) {
        struct pollfd in = {.fd = STDIN_FILENO, .events = POLLIN};
        if (ppoll(&in, 1, NULL, &e->outside) > 0)
            return true;
        if (errno != EINTR)
            return true; /* reading tells what is wrong */
#ifdef NCT_HAVE_EDIT
        if (e->edit && window_changed) {
            window_changed = 0;
            el_resize(e->edit);
        }
        if (e->edit && stop_typed) {
            stop_typed = 0;
            el_set(e->edit, EL_PREP_TERM, 0);
            fputs("\033[?2004l\n", stdout);
            fflush(stdout);
            kill(getpid(), SIGSTOP);
            fputs("\033[?2004h", stdout);
            fflush(stdout);
            el_set(e->edit, EL_PREP_TERM, 1);
            el_set(e->edit, EL_REFRESH);
        }
#endif
    }
    return false;
}

static void begin_typing(nct_editor *e, bool raw) {
    sigset_t block;
    sigemptyset(&block);
    const int numbers[] = {SIGINT, SIGTERM, SIGHUP, SIGWINCH, SIGTSTP};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        sigaddset(&block, numbers[i]);
    sigprocmask(SIG_BLOCK, &block, &e->outside);
    if (raw) {
        handle(SIGWINCH, on_window);
        handle(SIGTSTP, on_stop);
    }
    e->interrupted = e->began = false;
}

static void end_typing(nct_editor *e) {
    handle(SIGWINCH, SIG_DFL);
    handle(SIGTSTP, SIG_DFL);
    window_changed = stop_typed = 0;
    sigprocmask(SIG_SETMASK, &e->outside, NULL);
}

static nct_typed what_stopped(void) { return caught() == SIGINT ? NCT_TYPED_INTERRUPT : NCT_TYPED_SIGNAL; }

/* A line of a terminal in its ordinary mode. */
static nct_typed read_plain(nct_editor *e, nct_bytes *line) {
    fputs(e->prompt, stdout);
    fflush(stdout);
    nct_typed result = NCT_TYPED_LINE;
    begin_typing(e, false);
    for (;;) {
        char *end = e->pending.n ? memchr(e->pending.data, '\n', e->pending.n) : NULL;
        if (end) {
            size_t n = (size_t)(end - e->pending.data);
            nct_bytes_add(line, e->pending.data, n, NULL);
            memmove(e->pending.data, end + 1, e->pending.n - n - 1);
            e->pending.n -= n + 1;
            break;
        }
        char buf[4096];
        if (!wait_for_key(e)) {
            e->pending.n = 0;
            result = what_stopped();
            fputc('\n', stdout); /* behind the terminal's ^C */
            fflush(stdout);
            break;
        }
        ssize_t n = read(STDIN_FILENO, buf, sizeof buf);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0 || nct_bytes_add(&e->pending, buf, (size_t)n, NULL) != NCT_OK) {
            result = NCT_TYPED_END;
            break;
        }
    }
    end_typing(e);
    return result;
}

#ifdef NCT_HAVE_EDIT

static char *show_prompt(EditLine *edit) {
    void *e = NULL;
    el_get(edit, EL_CLIENTDATA, &e);
    return (char *)(uintptr_t)((nct_editor *)e)->prompt;
}

/* What was typed before the editor took the terminal: there Enter came as a newline, which is Ctrl-J here, and Ctrl-D
 * ended a line and stands in it as a zero. */
static void take_typed_before(nct_editor *e) {
    char buf[4096];
    int n_waiting = 0;
    if (ioctl(STDIN_FILENO, FIONREAD, &n_waiting) != 0 || n_waiting <= 0)
        return;
    ssize_t n = read(STDIN_FILENO, buf, sizeof buf);
    for (ssize_t i = 0; i < n; i++)
        nct_bytes_add(&e->ahead, buf[i] == '\n' ? "\r" : buf[i] == 0 ? "\004" : buf + i, 1, NULL);
}

/* The next byte, 0 at the end of the input, -1 after a signal: the line so far is kept then. */
static int read_byte(nct_editor *e, unsigned char *byte) {
    if (!e->began) {
        e->began = true;
        take_typed_before(e);
    }
    if (e->ahead_at < e->ahead.n) {
        *byte = (unsigned char)e->ahead.data[e->ahead_at++];
        return 1;
    }
    e->ahead_at = e->ahead.n = 0;
    ssize_t n;
    do {
        if (!wait_for_key(e)) {
            const LineInfo *line = el_line(e->edit);
            e->interrupted = true;
            nct_bytes_add(&e->typed, line->buffer, (size_t)(line->lastchar - line->buffer), NULL);
            errno = EINTR;
            return -1;
        }
        n = read(STDIN_FILENO, byte, 1);
    } while (n < 0 && errno == EINTR);
    return n < 0 ? 0 : (int)n;
}

/* The rest of what begins with ESC, as keys in e->instead. Returns as read_byte does. */
static int read_sequence(nct_editor *e) {
    size_t n = 0;
    do {
        unsigned char byte;
        int got = read_byte(e, &byte);
        if (got <= 0)
            return got;
        if (byte == '\033') /* begins anew: two ESC are one, as Alt is on some terminals */
            n = 0;
        else
            e->sequence[n++] = (char)byte;
    } while (n == 0 || !nct_escape_is_whole(e->sequence, n));
    e->sequence[n] = 0;
    e->instead = nct_escape_keys(e->sequence, n);
    return 1;
}

/* The next byte that the editor is to see. */
static int read_next(nct_editor *e, unsigned char *byte) {
    for (;;) {
        if (e->instead && *e->instead) {
            *byte = (unsigned char)*e->instead++;
            return 1;
        }
        int n = read_byte(e, byte);
        if (n <= 0 || *byte != '\033' || e->own_keys)
            return n;
        if ((n = read_sequence(e)) <= 0)
            return n;
        if (!e->instead) { /* ESC now, and then what came */
            e->instead = e->sequence;
            return 1;
        }
    }
}

/* libedit's own reader retries after a signal; this one stops, and decodes UTF-8 without a locale's help.
 * What is no character becomes U+FFFD. */
static int read_key(EditLine *edit, wchar_t *key) {
    void *p = NULL;
    el_get(edit, EL_CLIENTDATA, &p);
    nct_editor *e = p;
    uint32_t code = 0;
    int more = 0;
    do {
        unsigned char byte;
        int n = read_next(e, &byte);
        if (n <= 0)
            return n;
        if (more == 0) {
            more = byte >= 0xf0 && byte < 0xf5   ? 3
                   : byte >= 0xe0 && byte < 0xf0 ? 2
                   : byte >= 0xc2 && byte < 0xe0 ? 1
                                                 : 0;
            code = byte < 0x80 ? byte
                   : more == 3 ? byte & 7u
                   : more == 2 ? byte & 15u
                   : more == 1 ? byte & 31u
                               : 0xfffdu;
        } else if ((byte & 0xc0) == 0x80) {
            code = code << 6 | (byte & 0x3fu);
            more--;
        } else {
            code = 0xfffd;
            break;
        }
    } while (more > 0);
    if (code > 0x10ffff || (code >= 0xd800 && code < 0xe000))
        code = 0xfffd;
    *key = (wchar_t)code;
    return 1;
}

/* ---- keys of our own */

static nct_editor *editor_of(EditLine *edit) {
    void *e = NULL;
    el_get(edit, EL_CLIENTDATA, &e);
    return e;
}

static unsigned char end_as(EditLine *edit, nct_typed typed) {
    editor_of(edit)->ends_as = typed;
    return CC_NEWLINE;
}
static unsigned char key_more(EditLine *edit, int key) {
    (void)key;
    return end_as(edit, NCT_TYPED_MORE);
}
static unsigned char key_edit(EditLine *edit, int key) {
    (void)key;
    return end_as(edit, NCT_TYPED_EDIT);
}

/* ---- older lines: libedit's own keys lose what was typed where there is no newer one */

static const char *line_of_history(nct_editor *e, size_t back) {
    HistEvent event;
    if (!e->history || history(e->history, &event, H_FIRST) != 0)
        return NULL;
    for (; back > 1; back--)
        if (history(e->history, &event, H_NEXT) != 0)
            return NULL;
    return event.str;
}

static unsigned char show_line(EditLine *edit, const char *text) {
    const LineInfoW *line = el_wline(edit);
    el_cursor(edit, (int)(line->lastchar - line->cursor));
    line = el_wline(edit);
    el_deletestr(edit, (int)(line->cursor - line->buffer));
    return *text && el_insertstr(edit, text) != 0 ? CC_ERROR : CC_REFRESH;
}

static unsigned char key_older(EditLine *edit, int key) {
    (void)key;
    nct_editor *e = editor_of(edit);
    const char *text = line_of_history(e, e->back + 1);
    if (!text)
        return CC_ERROR;
    if (e->back++ == 0) {
        const LineInfo *line = el_line(edit);
        e->newest.n = 0;
        if (nct_bytes_add(&e->newest, line->buffer, (size_t)(line->lastchar - line->buffer), NULL) != NCT_OK)
            return CC_ERROR;
    }
    return show_line(edit, text);
}

static unsigned char key_newer(EditLine *edit, int key) {
    (void)key;
    nct_editor *e = editor_of(edit);
    if (e->back == 0)
        return CC_ERROR;
    const char *text = --e->back ? line_of_history(e, e->back) : e->newest.data;
    return show_line(edit, text ? text : "");
}

/* Reads what a terminal sends between the marks of a paste; false after a signal or at the end of the input. */
static bool read_paste(nct_editor *e, nct_bytes *text) {
    static const char end[] = "\033[201~";
    enum { N = sizeof end - 1 };
    for (;;) {
        while (e->ahead_at < e->ahead.n) {
            nct_bytes_add(text, e->ahead.data + e->ahead_at++, 1, NULL);
            if (text->n >= N && memcmp(text->data + text->n - N, end, N) == 0) {
                text->n -= N;
                text->data[text->n] = 0;
                return true;
            }
        }
        char buf[4096];
        ssize_t n = wait_for_key(e) ? read(STDIN_FILENO, buf, sizeof buf) : -1;
        e->ahead.n = e->ahead_at = 0;
        if (n <= 0 && !(n < 0 && errno == EINTR && caught() == 0))
            return false;
        if (n > 0 && nct_bytes_add(&e->ahead, buf, (size_t)n, NULL) != NCT_OK)
            return false;
    }
}

/* A paste of several lines is shown by its size; the line gets the text when it is done. */
static unsigned char key_paste(EditLine *edit, int key) {
    (void)key;
    nct_editor *e = editor_of(edit);
    nct_bytes text = {0};
    unsigned char result = CC_EOF;
    if (read_paste(e, &text)) {
        const char *shown = nct_pastes_take(&e->pastes, &text, e->help.count, e->help.context);
        result = shown && el_insertstr(edit, shown) == 0 ? CC_REFRESH : CC_ERROR;
    }
    nct_bytes_reset(&text);
    return result;
}

/* Length of what all candidates begin with. */
static size_t common_start(const nct_list *list) {
    size_t n = strlen(list->item[0]);
    for (size_t i = 1; i < list->n; i++)
        while (strncmp(list->item[0], list->item[i], n) != 0)
            n--;
    while (n && ((unsigned char)list->item[0][n] & 0xc0) == 0x80)
        n--;
    return n;
}

static void show_candidates(const nct_list *list) {
    enum { MOST = 100 };
    size_t widest = 0, n = list->n < MOST ? list->n : MOST, columns = (size_t)nct_term_width();
    for (size_t i = 0; i < n; i++) {
        size_t width = nct_columns(list->item[i], strlen(list->item[i]));
        widest = width > widest ? width : widest;
    }
    size_t a_row = columns > widest + 2 ? columns / (widest + 2) : 1;
    fputc('\n', stdout);
    for (size_t i = 0; i < n; i++) {
        bool last = i + 1 == n || (i + 1) % a_row == 0;
        size_t gap = last ? 0 : widest - nct_columns(list->item[i], strlen(list->item[i]));
        fprintf(stdout, "  %s%*s%s", list->item[i], (int)gap, "", last ? "\n" : "");
    }
    if (list->n > n)
        fprintf(stdout, "  and %zu more\n", list->n - n);
    fflush(stdout);
}

static unsigned char key_complete(EditLine *edit, int key) {
    (void)key;
    nct_editor *e = editor_of(edit);
    const LineInfo *info = el_line(edit);
    nct_bytes line = {0};
    nct_list list = {0};
    size_t begin = 0, word;
    unsigned char result = CC_ERROR;
    if (!e->help.complete ||
        nct_bytes_add(&line, info->buffer, (size_t)(info->cursor - info->buffer), NULL) != NCT_OK)
        return CC_ERROR;
    e->help.complete(e->help.context, line.data, &begin, &list);
    word = line.n - begin;
    size_t same = list.n ? common_start(&list) : 0;
    if (same > word || list.n == 1) {
        nct_bytes more = {0};
        nct_bytes_add(&more, list.item[0] + word, same - word, NULL);
        if (list.n == 1 && list.item[0][same - 1] != '/')
            nct_bytes_add_str(&more, " ", NULL);
        result = more.n && el_insertstr(edit, more.data) == 0 ? CC_REFRESH : CC_ERROR;
        nct_bytes_reset(&more);
    } else if (list.n) {
        show_candidates(&list);
        result = CC_REDISPLAY;
    }
    for (size_t i = 0; i < list.n; i++)
        nct_free((void *)(uintptr_t)list.item[i]);
    nct_free(list.item);
    nct_bytes_reset(&line);
    return result;
}

static void bind_keys(EditLine *edit) {
    static const struct {
        const char *name, *help;
        unsigned char (*run)(EditLine *, int);
        const char *key;
    } keys[] = {{"nct-more", "another line", key_more, "^J"},
                {"nct-edit", "to $EDITOR", key_edit, "^G"},
                {"nct-paste", "a paste", key_paste, "\\033[200~"},
                {"nct-complete", "complete a word", key_complete, "^I"},
                {"nct-older", "an older line", key_older, "^P"},
                {"nct-newer", "a newer line", key_newer, "^N"}};
    static const char *const bound[][2] = {
        {"\\033[A", "nct-older"},
        {"\\033OA", "nct-older"},
        {"\\033[B", "nct-newer"},
        {"\\033OB", "nct-newer"},
        {"\\033[3~", "ed-delete-next-char"},
        {"^R", "em-inc-search-prev"},
        {"^W", "ed-delete-prev-word"},
        {"^U", "vi-kill-line-prev"},
        {"\\033x", "ed-unassigned"},
        {"\\033X", "ed-unassigned"}}; /* nobody means to give libedit commands */
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        el_set(edit, EL_ADDFN, keys[i].name, keys[i].help, keys[i].run);
        el_set(edit, EL_BIND, keys[i].key, keys[i].name, NULL);
    }
    for (size_t i = 0; i < sizeof bound / sizeof *bound; i++)
        el_set(edit, EL_BIND, bound[i][0], bound[i][1], NULL);
    el_set(edit, EL_SETTY, "-d", "-icrnl", "-inlcr", NULL); /* Enter and Ctrl-J are two keys */
}

/* libedit writes lines in the locale's encoding, which must be UTF-8 for it to be of use. */
static bool have_utf8(void) {
    setlocale(LC_CTYPE, "");
    if (strcmp(nl_langinfo(CODESET), "UTF-8") == 0)
        return true;
    return setlocale(LC_CTYPE, "C.UTF-8") && strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
}

/* Lines are added as they are typed; once there are twice as many as are of use, the older half goes. */
static void load_history(nct_editor *e) {
    HistEvent event;
    char part[PATH_MAX];
    history(e->history, &event, H_LOAD, e->history_path);
    if (nct_history_count(e->history_path) > 2 * HISTORY_LINES &&
        snprintf(part, sizeof part, "%s.part", e->history_path) < (int)sizeof part &&
        history(e->history, &event, H_SAVE, part) >= 0 && rename(part, e->history_path) != 0)
        unlink(part);
}

static void open_edit(nct_editor *e) {
    HistEvent event;
    if (!have_utf8() || !(e->edit = el_init("noctule", stdin, stdout, stderr)))
        return;
    el_set(e->edit, EL_CLIENTDATA, e);
    el_set(e->edit, EL_PROMPT, show_prompt);
    el_set(e->edit, EL_EDITOR, "emacs");
    el_set(e->edit, EL_SIGNAL, 0);
    el_set(e->edit, EL_GETCFN, read_key);
    /* Inserting and deleting in place counts cells wrongly where characters are two wide: write over. */
    static const char *const in_place[] = {"im", "ei", "ic", "IC", "dc", "DC", "dm", "ed"};
    for (size_t i = 0; i < sizeof in_place / sizeof *in_place; i++)
        el_set(e->edit, EL_SETTC, in_place[i], "", NULL);
    if ((e->history = history_init())) {
        history(e->history, &event, H_SETSIZE, HISTORY_LINES);
        history(e->history, &event, H_SETUNIQUE, 1);
        el_set(e->edit, EL_HIST, history, e->history);
        if (e->history_path)
            load_history(e);
    }
    bind_keys(e->edit);
    e->own_keys = el_source(e->edit, NULL) == 0;
}

static nct_typed read_edited(nct_editor *e, nct_bytes *line) {
    int n = 0;
    e->typed.n = 0;
    e->ends_as = NCT_TYPED_LINE;
    e->back = 0;
    e->instead = NULL;
    nct_pastes_close(&e->pastes);
    begin_typing(e, true);
    fputs("\033[?2004h", stdout); /* pastes come between marks */
    const char *text = el_gets(e->edit, &n);
    fputs("\033[?2004l", stdout);
    end_typing(e);
    if (e->interrupted) {
        fputc('\n', stdout);
        fflush(stdout);
        if (e->typed.n)
            nct_bytes_add(line, e->typed.data, e->typed.n, NULL);
        return what_stopped();
    }
    if (!text || n <= 0) {
        fputc('\n', stdout);
        fflush(stdout);
        return NCT_TYPED_END;
    }
    bool ended = text[n - 1] == '\n' || text[n - 1] == '\r';
    nct_bytes_add(line, text, (size_t)(ended ? n - 1 : n), NULL);
    nct_pastes_put(&e->pastes, line);
    if (e->ends_as != NCT_TYPED_LINE) { /* keys of ours leave the cursor where it was */
        fputc('\n', stdout);
        fflush(stdout);
    }
    return e->ends_as;
}

#endif

nct_status nct_editor_open(const nct_term *term, const char *history, nct_editor **editor, nct_error *err) {
    void *p = NULL;
    NCT_TRY(nct_alloc(&p, 1, sizeof(nct_editor), err));
    nct_editor *e = p;
    if (history) {
        nct_status status = nct_copy_string(&e->history_path, history, strlen(history), err);
        if (status != NCT_OK) {
            nct_free(e);
            return status;
        }
    }
#ifdef NCT_HAVE_EDIT
    if (term->in_tty && term->out_tty && !term->dumb)
        open_edit(e);
#else
    (void)term;
#endif
    *editor = e;
    return NCT_OK;
}

void nct_editor_close(nct_editor *e) {
    if (!e)
        return;
#ifdef NCT_HAVE_EDIT
    if (e->edit)
        el_end(e->edit);
    if (e->history)
        history_end(e->history);
#endif
    nct_free(e->history_path);
    nct_pastes_close(&e->pastes);
    nct_bytes_reset(&e->ahead);
    nct_bytes_reset(&e->newest);
    nct_bytes_reset(&e->pending);
    nct_bytes_reset(&e->typed);
    nct_free(e);
}

void nct_editor_help(nct_editor *e, const nct_typing_help *help) { e->help = *help; }

nct_typed nct_editor_read(nct_editor *e, const char *prompt, nct_bytes *line) {
    line->n = 0;
    nct_bytes_add(line, "", 0, NULL);
    e->prompt = prompt;
#ifdef NCT_HAVE_EDIT
    if (e->edit)
        return read_edited(e, line);
#endif
    return read_plain(e, line);
}

void nct_editor_push(nct_editor *e, const char *text, size_t n) {
#ifdef NCT_HAVE_EDIT
    for (size_t i = 0; e->edit && i < n; i++) /* Enter: a newline is Ctrl-J here */
        nct_bytes_add(&e->ahead, text[i] == '\n' ? "\r" : text + i, 1, NULL);
    if (e->edit)
        return;
#endif
    nct_bytes_add(&e->pending, text, n, NULL);
}

void nct_editor_remember(nct_editor *e, const char *text) {
#ifdef NCT_HAVE_EDIT
    HistEvent event;
    if (!e->history || (history(e->history, &event, H_FIRST) == 0 && strcmp(event.str, text) == 0))
        return; /* once is enough */
    history(e->history, &event, H_ENTER, text);
    if (e->history_path)
        nct_history_add(e->history_path, text);
#else
    (void)e;
    (void)text;
#endif
}

bool nct_editor_is_built_in(void) {
#ifdef NCT_HAVE_EDIT
    return true;
#else
    return false;
#endif
}
