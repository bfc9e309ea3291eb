/** What can be typed in a chat beside turns: commands, each a function and a row of the table in slash.c. */
#ifndef NCT_CLI_SLASH_H
#define NCT_CLI_SLASH_H

#include "cli/chat.h"

typedef struct nct_slash {
    const char *name, *arguments, *help;
    bool (*run)(nct_chat *chat, char *rest); /* rest: what follows the name, trimmed. False: leave the chat */
} nct_slash;

const nct_slash *nct_slashes(size_t *n);
/** Names of what /set takes. */
const char *const *nct_settable(size_t *n);

/* turns */
bool nct_slash_undo(nct_chat *chat, char *rest);
bool nct_slash_retry(nct_chat *chat, char *rest);
bool nct_slash_continue(nct_chat *chat, char *rest);
bool nct_slash_push(nct_chat *chat, char *rest);
bool nct_slash_pop(nct_chat *chat, char *rest);
bool nct_slash_forget(nct_chat *chat, char *rest);
bool nct_slash_compact(nct_chat *chat, char *rest);
bool nct_slash_system(nct_chat *chat, char *rest);
void nct_chat_forget_marks(nct_chat *chat);

/* what goes in */
bool nct_slash_file(nct_chat *chat, char *rest);
bool nct_slash_paste(nct_chat *chat, char *rest);
bool nct_slash_edit(nct_chat *chat, char *rest);

/* what comes out */
bool nct_slash_context(nct_chat *chat, char *rest);
bool nct_slash_stats(nct_chat *chat, char *rest);
bool nct_slash_tokens(nct_chat *chat, char *rest);
bool nct_slash_dump(nct_chat *chat, char *rest);
bool nct_slash_export(nct_chat *chat, char *rest);
bool nct_slash_copy(nct_chat *chat, char *rest);

/* sessions */
bool nct_slash_clear(nct_chat *chat, char *rest);
bool nct_slash_save(nct_chat *chat, char *rest);
bool nct_slash_load(nct_chat *chat, char *rest);
bool nct_slash_fork(nct_chat *chat, char *rest);
bool nct_slash_sessions(nct_chat *chat, char *rest);

#endif
