/** The conversation at a terminal: what chat.c and its slash commands share. */
#ifndef NCT_CLI_CHAT_H
#define NCT_CLI_CHAT_H

#include "cli/input.h"
#include "cli/sessions.h"
#include "cli/show.h"
#include "cli/sources.h"
#include "cli/talk.h"

typedef struct nct_mark nct_mark; /* of /push */

typedef struct nct_chat {
    nct_cli *cli;
    nct_engine *engine;
    nct_model_info info;
    nct_session *session;
    nct_sampling sampling;
    void *bias;
    uint64_t retries; /* added to the seed */
    nct_constraint *constraint; /* of every answer, or NULL */
    nct_talk talk;
    nct_prompt files; /* content that goes with the turn of this number */
    size_t files_turn;
    nct_kept kept;     /* where the conversation is saved */
    bool saves;        /* it is */
    size_t n_resumed;  /* tokens that the conversation held when it was taken up */
    nct_list texts;   /* texts that /set brought into the options */
    nct_mark *mark; /* [n_marks] */
    size_t n_marks, marks_capacity;
    nct_editor *editor; /* NULL in a script */
    nct_show show;
    nct_sources sources; /* of the last answer, once somebody asks */
    bool has_sources;    /* they are counted */
    size_t n_prompt;     /* tokens of the prompt of the last answer, which the session holds; 0: it is gone */
    uint64_t interrupted_ns; /* when Ctrl-C came last */
    int code;                /* how the last turn went wrong, or NCT_EXIT_OK */
} nct_chat;

/** Answers the turns as they stand. True if an answer was added to them. */
bool nct_chat_answer(nct_chat *chat);

/** Around what takes its time: progress is shown, and the terminal does not show what is typed into it. */
void nct_chat_begin_reading(nct_chat *chat);
void nct_chat_end_reading(nct_chat *chat);

/** A tool's result as a turn, and the answer to it. */
bool nct_chat_tell(nct_chat *chat, const char *text, size_t n);
/** Goes on with the last answer, which was cut or stopped. */
void nct_chat_go_on(nct_chat *chat);
/** A turn of the user's, with the files that are due, and its answer. One without an answer is taken back. */
void nct_chat_send(nct_chat *chat, const char *text, size_t n);
/** The ids that the next turn begins with whatever is said in it: what was said before and files. */
nct_status nct_chat_next_begins(nct_chat *chat, int32_t **ids, size_t *n_ids, nct_error *err);

/** Of nct_typing_help; context is the chat. */
void nct_chat_complete(void *chat, const char *line, size_t *begin, nct_list *list);

/** Saves the conversation where it is one that is saved. */
void nct_chat_save(nct_chat *chat);

/** Obeys a line that begins with a single slash (and is cut into words). False: leave the chat. */
bool nct_chat_obey(nct_chat *chat, char *line);

enum { NCT_CHAT_SOURCES = 5 }; /* that are printed where no number is given */

/** Counters of sources that stand at zero. Returns an nct_exit. */
int nct_chat_open_sources(nct_chat *chat);
/** Prints the lines that were looked at most for the last answer, at most n. What was not counted while it was
 *  written is found by reading the answer once more. */
void nct_chat_sources(nct_chat *chat, size_t n);

/** The limit on an answer: -n, or what a text without an end of its own gets; 0: none. */
size_t nct_chat_max_tokens(const nct_chat *chat);

#endif
