#define _GNU_SOURCE
#include "cli/term.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/time.h>
#include <termios.h>
#include <unistd.h>

#include "cli/args.h"

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
static volatile sig_atomic_t flag, dim_fd = -1, keys_open, finish_first;
static volatile int now_flag;
static struct termios lines_mode, keys_mode; /* of the terminal while keys_open is not set, and is */
static volatile sig_atomic_t asked; /* by SIGUSR1 */

static void on_signal(int number) {
    if (finish_first && number != SIGALRM) {
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

static bool in_foreground(void) { return tcgetpgrp(STDIN_FILENO) == getpgrp(); }

/* Ctrl-Z: the shell gets the terminal as it was. Goes on where the process does. */
static void on_stop(int number) {
    static const char plain[] = "\033[0m\n", dim[] = "\033[2m";
    int kept = errno;
    (void)number;
    tcsetattr(STDIN_FILENO, TCSANOW, &lines_mode);
    ssize_t n = dim_fd >= 0 ? write((int)dim_fd, plain, sizeof plain - 1) : 0;
    kill(getpid(), SIGSTOP);
    if (keys_open && in_foreground())
        tcsetattr(STDIN_FILENO, TCSANOW, &keys_mode);
    if (n > 0 && write((int)dim_fd, dim, sizeof dim - 1) < 0)
        n = 0; /* ordinary text then */
    errno = kept;
}

/* What a job control shell left to the system only: the parent may want it ignored. */
static void catch_stop(bool catches) {
    struct sigaction now, action = {.sa_handler = catches ? on_stop : SIG_DFL, .sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    if (sigaction(SIGTSTP, NULL, &now) == 0 && now.sa_handler == (catches ? SIG_DFL : on_stop))
        sigaction(SIGTSTP, &action, NULL);
}

void nct_keys_open(const nct_term *term, nct_keys *keys) {
    if (keys->open || !term->in_tty || term->dumb || !in_foreground() ||
        tcgetattr(STDIN_FILENO, &lines_mode) != 0)
        return;
    keys_mode = lines_mode;
    keys_mode.c_lflag &= ~(tcflag_t)(ICANON | ECHO); /* Ctrl-C and Ctrl-Z stay what they are */
    keys_mode.c_cc[VMIN] = keys_mode.c_cc[VTIME] = 0;
    keys_open = 1;
    keys->open = tcsetattr(STDIN_FILENO, TCSANOW, &keys_mode) == 0;
    keys_open = keys->open;
    catch_stop(keys->open);
}

bool nct_keys_pressed(nct_keys *keys, char key) {
    char buf[64];
    bool found = false;
    ssize_t n = keys->open && in_foreground() ? read(STDIN_FILENO, buf, sizeof buf) : 0;
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
    catch_stop(false);
    if (in_foreground()) /* else the shell has the terminal, and had it from on_stop as it was */
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
