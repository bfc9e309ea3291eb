/** The terminal: which of the three streams are one, colour, the line editor, and signals.
 *
 *  Signal handlers only set a flag that the engine polls between layers and the loops between tokens.
 */
#ifndef NCT_CLI_TERM_H
#define NCT_CLI_TERM_H

#include <signal.h>

#include "base/bytes.h"
#include "cli/args.h"

typedef struct nct_term {
    bool in_closed;                /* stdin was closed when the program started */
    bool in_tty, out_tty, err_tty; /* streams that are terminals */
    bool dumb;                     /* TERM=dumb or none: no cursor movement */
    bool out_color, err_color;
} nct_term;

/** Looks at the streams. Closed ones are opened on /dev/null so that no file can take their number. */
void nct_term_init(nct_term *term);
/** Settles colour: `when` is an nct_when or unset. Obeys NO_COLOR. */
void nct_term_set_color(nct_term *term, int64_t when);
/** Erases a progress line on stderr, if stderr is a terminal. */
void nct_term_clear_line(const nct_term *term);
/** Columns of the terminal on stderr, 80 if unknown. */
int nct_term_width(void);

/* ------------------------------------------------------------------ signals */

/** SIGINT, SIGTERM and SIGHUP from now on set the flag, unless the parent had them ignored; a second SIGINT
 *  before the flag is cleared exits 130 at once, however long the first is being answered: who waits may leave. Once it
 *  was answered, a second one within a second is the caller's to look at (chat.c). */
void nct_signals_catch(void);

/** The flag: 0, or the number of the signal; SIGALRM when the time is up. */
const volatile sig_atomic_t *nct_signals_flag(void);
void nct_signals_clear(void);
/** For commands that finish what they have begun: with `lenient` a second Ctrl-C does not end the process, but raises
 *  the flag of nct_signals_now, as SIGTERM and SIGHUP do. Nothing that is begun is finished then. */
void nct_signals_finish_first(bool lenient);
const volatile int *nct_signals_now(void);

/** True once after each SIGUSR1, which asks how far things have come. */
bool nct_signals_asked(void);

/** Sets the flag to SIGALRM after so many seconds; 0 or NaN: never. */
void nct_signals_alarm(double seconds);

/** Tells the handlers that the terminal on `fd` shows dim text, to be undone if they exit. */
void nct_signals_note_dim(int fd, bool dim);

/* ------------------------------------------------------------------ keys while an answer comes */

/** The terminal on stdin as it is while single keys are looked for: what is typed comes at once and is not echoed. */
typedef struct nct_keys {
    bool open;
    nct_bytes typed; /* all but the keys asked for, for whoever reads lines next */
} nct_keys;

/** Does nothing where stdin is no terminal that this program may read from. */
void nct_keys_open(const nct_term *term, nct_keys *keys);
/** True if this key was typed since the last call. */
bool nct_keys_pressed(nct_keys *keys, char key);
/** The terminal is as before; keys->typed stays. */
void nct_keys_close(nct_keys *keys);
/** Gives what was typed back to the terminal, for the shell that reads it next, where the system allows that. */
void nct_keys_return(nct_keys *keys);

/* ------------------------------------------------------------------ typing */

typedef struct nct_editor nct_editor;

typedef enum nct_typed {
    NCT_TYPED_LINE,
    NCT_TYPED_MORE,      /* Ctrl-J: a line, and another follows */
    NCT_TYPED_EDIT,      /* Ctrl-G: what was typed so far is to go to $EDITOR */
    NCT_TYPED_END,       /* Ctrl-D on an empty line, or the end of the input */
    NCT_TYPED_INTERRUPT, /* Ctrl-C; *line holds what was typed */
    NCT_TYPED_SIGNAL,    /* SIGTERM or SIGHUP: the flag says which */
} nct_typed;

/** Opens the line editor: libedit where it was found at build time and the terminal can move its cursor,
 *  plain lines otherwise. `history`: file of earlier lines, which those to come are added to; NULL: none. */
nct_status nct_editor_open(const nct_term *term, const char *history, nct_editor **editor, nct_error *err);
void nct_editor_close(nct_editor *editor); /* NULL is fine */

/** What Tab and pastes need to know. complete: adds what the word before the cursor could become to *list (texts freed
 *  with nct_free); line is what stands before the cursor, and *begin is where the word begins in it. count: tokens of a
 *  pasted text. Either may be NULL. */
typedef struct nct_typing_help {
    void (*complete)(void *context, const char *line, size_t *begin, nct_list *list);
    size_t (*count)(void *context, const char *text, size_t n);
    void *context;
} nct_typing_help;
void nct_editor_help(nct_editor *editor, const nct_typing_help *help);

/** Reads a line without its newline into *line, which is emptied first. What was pasted is in it whole, newlines and
 *  all, although the screen shows its size only. */
nct_typed nct_editor_read(nct_editor *editor, const char *prompt, nct_bytes *line);
/** As if this had been typed, before what is typed next. */
void nct_editor_push(nct_editor *editor, const char *text, size_t n);
/** Adds to the history. */
void nct_editor_remember(nct_editor *editor, const char *text);
/** True if this program was built with libedit. */
bool nct_editor_is_built_in(void);

#endif
