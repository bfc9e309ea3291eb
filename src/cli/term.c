#define _GNU_SOURCE
#include "cli/term.h"

#include <errno.h>
#include <fcntl.h>
#include <langinfo.h>
#include <locale.h>
#include <math.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/time.h>
#include <termios.h>
#include <unistd.h>

#include "cli/args.h"
#include "cli/paste.h"

#ifdef NCT_HAVE_EDIT
#include <histedit.h>
#include <wchar.h>
#endif

/* ------------------------------------------------------------------ streams */

static void on_question(int number);

void nct_term_init(nct_term *t) {
    struct sigaction question = {.sa_handler = on_question, .sa_flags = SA_RESTART};
    sigemptyset(&question.sa_mask);
    sigaction(SIGUSR1, &question, NULL); /* whoever asks early is not answered by dying */
    *t = (nct_term){0};
    for (int fd = 0; fd <= 2; fd++)
        if (fcntl(fd, F_GETFD) < 0 && errno == EBADF) {
            /* The lowest free number is fd. Outputs are opened for reading, so that writing fails. */
            if (open("/dev/null", O_RDONLY) != fd)
                _exit(1);
            t->in_closed |= fd == 0;
        }
    t->in_tty = isatty(STDIN_FILENO);
    t->out_tty = isatty(STDOUT_FILENO);
    t->err_tty = isatty(STDERR_FILENO);
    const char *term = getenv("TERM");
    t->dumb = !term || !*term || strcmp(term, "dumb") == 0;
    nct_term_set_color(t, NCT_AUTO);
}

void nct_term_set_color(nct_term *t, int64_t when) {
    const char *none = getenv("NO_COLOR");
    bool by_default = !t->dumb && !(none && *none);
    t->out_color = when == NCT_ALWAYS || (when != NCT_NEVER && by_default && t->out_tty);
    t->err_color = when == NCT_ALWAYS || (when != NCT_NEVER && by_default && t->err_tty);
}

void nct_term_clear_line(const nct_term *t) {
    if (t->err_tty && !t->dumb)
        fputs("\r\033[K", stderr);
}

int nct_term_width(void) {
    struct winsize size;
    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
        return size.ws_col;
    return 80;
}

/* ------------------------------------------------------------------ signals */

/* The one thing that cannot be handed down: a handler gets nothing but a number. */
static volatile sig_atomic_t flag, dim_fd = -1, window_changed, stop_typed, keys_open, finish_first;
static volatile int now_flag;
static struct termios lines_mode; /* of the terminal while keys_open is not set */
static volatile sig_atomic_t asked; /* by SIGUSR1 */

static void on_signal(int number) {
    if (number == SIGWINCH) {
        window_changed = 1;
    } else if (number == SIGTSTP) {
        stop_typed = 1;
    } else if (finish_first && number != SIGALRM) {
        if (number != SIGINT || flag)
            now_flag = number;
        if (number != SIGINT || flag == 0)
            flag = number;
    } else if (number == SIGINT && flag == SIGINT) {
        if (keys_open)
            tcsetattr(STDIN_FILENO, TCSANOW, &lines_mode);
        if (dim_fd >= 0 && write((int)dim_fd, "\033[0m\n", 5) < 0)
            _exit(130);
        _exit(130);
    } else if (number != SIGALRM || flag == 0) { /* a signal outranks the time */
        flag = number;
    }
}

static void handle(int number, void (*handler)(int)) {
    struct sigaction action = {.sa_handler = handler}; /* without SA_RESTART: waiting ends */
    sigemptyset(&action.sa_mask);
    sigaction(number, &action, NULL);
}

/* What the parent wants ignored (nohup, a script's background) stays ignored. */
static void handle_unless_ignored(int number) {
    struct sigaction now;
    if (sigaction(number, NULL, &now) == 0 && now.sa_handler != SIG_IGN)
        handle(number, on_signal);
}

void nct_signals_catch(void) {
    handle_unless_ignored(SIGINT);
    handle_unless_ignored(SIGHUP);
    handle(SIGTERM, on_signal);
    handle(SIGALRM, on_signal);
}

static void on_question(int number) {
    (void)number;
    asked = 1;
}

bool nct_signals_asked(void) {
    bool was = asked;
    asked = 0;
    return was;
}

const volatile sig_atomic_t *nct_signals_flag(void) { return &flag; }

void nct_signals_clear(void) { flag = 0; }

void nct_signals_finish_first(bool lenient) { finish_first = lenient; }
const volatile int *nct_signals_now(void) { return &now_flag; }

void nct_signals_alarm(double seconds) {
    struct itimerval timer = {0};
    if (seconds > 0) {
        double whole = floor(seconds);
        timer.it_value.tv_sec = (time_t)whole;
        timer.it_value.tv_usec = (suseconds_t)((seconds - whole) * 1e6);
        if (whole == 0 && timer.it_value.tv_usec == 0)
            timer.it_value.tv_usec = 1;
    }
    setitimer(ITIMER_REAL, &timer, NULL);
}

void nct_signals_note_dim(int fd, bool dim) { dim_fd = dim ? fd : -1; }

/* ------------------------------------------------------------------ keys while an answer comes */

void nct_keys_open(const nct_term *term, nct_keys *keys) {
    struct termios keys_mode;
    if (keys->open || !term->in_tty || term->dumb || tcgetpgrp(STDIN_FILENO) != getpgrp() ||
        tcgetattr(STDIN_FILENO, &lines_mode) != 0)
        return;
    keys_mode = lines_mode;
    keys_mode.c_lflag &= ~(tcflag_t)(ICANON | ECHO); /* Ctrl-C and Ctrl-Z stay what they are */
    keys_mode.c_cc[VMIN] = keys_mode.c_cc[VTIME] = 0;
    keys_open = 1;
    keys->open = tcsetattr(STDIN_FILENO, TCSANOW, &keys_mode) == 0;
    keys_open = keys->open;
}

bool nct_keys_pressed(nct_keys *keys, char key) {
    char buf[64];
    bool found = false;
    ssize_t n = keys->open ? read(STDIN_FILENO, buf, sizeof buf) : 0;
    for (ssize_t i = 0; i < n; i++) {
        if (buf[i] == key)
            found = true;
        else
            nct_bytes_add(&keys->typed, buf + i, 1, NULL);
    }
    return found;
}

void nct_keys_close(nct_keys *keys) {
    if (!keys->open)
        return;
    tcsetattr(STDIN_FILENO, TCSANOW, &lines_mode);
    keys_open = 0;
    keys->open = false;
}

void nct_keys_return(nct_keys *keys) {
#ifdef TIOCSTI
    for (size_t i = 0; i < keys->typed.n && ioctl(STDIN_FILENO, TIOCSTI, keys->typed.data + i) == 0; i++)
        ;
#endif
    nct_bytes_reset(&keys->typed);
}

/* ------------------------------------------------------------------ typing */

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
    bool began; /* this line: its first key was asked for */
    nct_pastes pastes; /* of this line */
    nct_typed ends_as; /* what the key that ended the line means */
#ifdef NCT_HAVE_EDIT
    EditLine *edit;
    History *history;
#endif
};

/* Waits for input, and lets signals in only here, so that none is missed between a look and the wait.
 * False if the flag was set. */
static bool wait_for_key(nct_editor *e) {
    while (flag == 0) {
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
            kill(getpid(), SIGSTOP);
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
        handle(SIGWINCH, on_signal);
        handle(SIGTSTP, on_signal);
    }
    e->interrupted = e->began = false;
}

static void end_typing(nct_editor *e) {
    handle(SIGWINCH, SIG_DFL);
    handle(SIGTSTP, SIG_DFL);
    window_changed = stop_typed = 0;
    sigprocmask(SIG_SETMASK, &e->outside, NULL);
}

static nct_typed what_stopped(void) { return flag == SIGINT ? NCT_TYPED_INTERRUPT : NCT_TYPED_SIGNAL; }

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

/* What was typed before the editor took the terminal: there Enter came as a newline, which is Ctrl-J here. */
static void take_typed_before(nct_editor *e) {
    char buf[4096];
    int n_waiting = 0;
    if (ioctl(STDIN_FILENO, FIONREAD, &n_waiting) != 0 || n_waiting <= 0)
        return;
    ssize_t n = read(STDIN_FILENO, buf, sizeof buf);
    for (ssize_t i = 0; i < n; i++)
        nct_bytes_add(&e->ahead, buf[i] == '\n' ? "\r" : buf + i, 1, NULL);
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
        int n = read_byte(e, &byte);
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
        if (n <= 0 && !(n < 0 && errno == EINTR && flag == 0))
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
    fputc('\n', stdout);
    for (size_t i = 0; i < list->n && i < MOST; i++)
        fprintf(stdout, "  %s", list->item[i]);
    fputs(list->n > MOST ? "  ...\n" : "\n", stdout);
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
                {"nct-complete", "complete a word", key_complete, "^I"}};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        el_set(edit, EL_ADDFN, keys[i].name, keys[i].help, keys[i].run);
        el_set(edit, EL_BIND, keys[i].key, keys[i].name, NULL);
    }
    el_set(edit, EL_SETTY, "-d", "-icrnl", "-inlcr", NULL); /* Enter and Ctrl-J are two keys */
}

/* libedit writes lines in the locale's encoding, which must be UTF-8 for it to be of use. */
static bool have_utf8(void) {
    setlocale(LC_CTYPE, "");
    if (strcmp(nl_langinfo(CODESET), "UTF-8") == 0)
        return true;
    return setlocale(LC_CTYPE, "C.UTF-8") && strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
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
    el_set(e->edit, EL_BIND, "^R", "em-inc-search-prev", NULL);
    el_set(e->edit, EL_BIND, "^W", "ed-delete-prev-word", NULL);
    if ((e->history = history_init())) {
        history(e->history, &event, H_SETSIZE, 1000);
        history(e->history, &event, H_SETUNIQUE, 1);
        el_set(e->edit, EL_HIST, history, e->history);
        if (e->history_path)
            history(e->history, &event, H_LOAD, e->history_path);
    }
    bind_keys(e->edit);
    el_source(e->edit, NULL);
}

static nct_typed read_edited(nct_editor *e, nct_bytes *line) {
    int n = 0;
    e->typed.n = 0;
    e->ends_as = NCT_TYPED_LINE;
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
    HistEvent event;
    if (e->history && e->history_path)
        history(e->history, &event, H_SAVE, e->history_path);
    if (e->edit)
        el_end(e->edit);
    if (e->history)
        history_end(e->history);
#endif
    nct_free(e->history_path);
    nct_pastes_close(&e->pastes);
    nct_bytes_reset(&e->ahead);
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
    if (n == 0)
        return;
#ifdef NCT_HAVE_EDIT
    nct_bytes copy = {0};
    if (e->edit && nct_bytes_add(&copy, text, n, NULL) == NCT_OK) {
        for (char *end = copy.data; (end = strchr(end, '\n'));)
            *end = '\r'; /* Enter: a newline is Ctrl-J here */
        el_push(e->edit, copy.data);
    }
    nct_bytes_reset(&copy);
    if (e->edit)
        return;
#endif
    nct_bytes_add(&e->pending, text, n, NULL);
}

void nct_editor_remember(nct_editor *e, const char *text) {
#ifdef NCT_HAVE_EDIT
    HistEvent event;
    if (e->history)
        history(e->history, &event, H_ENTER, text);
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
