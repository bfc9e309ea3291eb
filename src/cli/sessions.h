/** Conversations that outlive the program: $XDG_STATE_HOME/noctule/sessions/ID/{transcript.jsonl,meta.json}.
 *
 *  The transcript is all there is to a session. Its first line tells the model and the system prompt, then comes a line
 *  a turn: what was said, and its token ids. `at` of a user's turn says how many of the tokens that were held stayed;
 *  its ids follow them, and then those of the answer: so the tokens are what they were, and with them the cache, which
 *  is found again in the pages that are kept (or is computed anew). meta.json is a summary for lists. Folders are 0700,
 *  files 0600; a file is replaced when the new one is whole.
 */
#ifndef NCT_CLI_SESSIONS_H
#define NCT_CLI_SESSIONS_H

#include <limits.h>

#include "cli/talk.h"

enum { NCT_SESSION_NAME = 128 }; /* bytes of a name and its NUL */

typedef struct nct_kept {
    const nct_cli *cli;
    char name[NCT_SESSION_NAME]; /* "": none yet */
    char folder[PATH_MAX];       /* of the session; "" without a name */
    int lock;                    /* the folder, held by this process; 0: not held */
    bool there;                  /* it was saved before */
} nct_kept;

/** Takes the session of --session or --continue, or none (zeroed apart from cli): a name that cannot be one, a session
 *  that another process has, no session to continue are exit 2. */
int nct_kept_take(const nct_cli *cli, nct_kept *kept);
/** Takes a session by its name: to write it, which one process at a time may; or to read it, when one that is not
 *  there is exit 2, with the name most like it. */
int nct_kept_open(const nct_cli *cli, const char *name, bool write, nct_kept *kept);
int nct_kept_open_there(const nct_cli *cli, const char *name, nct_kept *kept); /* to write, and it must be there */
void nct_kept_close(nct_kept *kept);

/** Fills an empty conversation from the transcript. Ids of another model are dropped: what was said is then read anew,
 *  which is said. The options' system prompt goes before that of the transcript. info NULL: only the texts, for a
 *  conversation without an engine. */
int nct_kept_load(const nct_kept *kept, const nct_model_info *info, nct_talk *talk);
/** Writes the conversation; without a name it gets one from the day and the first words. */
int nct_kept_save(nct_kept *kept, const nct_model_info *info, const nct_talk *talk);

/** What a list tells of a session. */
typedef struct nct_kept_line {
    char name[NCT_SESSION_NAME];
    char *model, *title; /* freed by nct_kept_list_close */
    int64_t updated;     /* seconds since 1970 */
    int64_t n_turns, n_tokens;
    uint64_t n_bytes; /* of its files; the cache's pages are counted by noctule cache */
} nct_kept_line;

/** All sessions, the newest first. */
int nct_kept_list(const nct_cli *cli, nct_kept_line **line, size_t *n);
void nct_kept_list_close(nct_kept_line *line, size_t n);

/** Writes what was said as Markdown or as the transcript's lines of the OpenAI form ({"role","content"}). */
nct_status nct_talk_export(const nct_talk *talk, bool markdown, nct_bytes *out, nct_error *err);

#endif
