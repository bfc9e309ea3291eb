/* Commands on saved conversations. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/map.h"
#include "cli/slash.h"

static nct_status forget_all(nct_chat *c, nct_error *err) {
    c->n_prompt = 0;
    nct_talk_cut(&c->talk, 0);
    nct_prompt_close(&c->files);
    c->files_turn = 0;
    nct_chat_forget_marks(c);
    return nct_session_rewind(c->session, 0, err);
}

bool nct_slash_clear(nct_chat *c, char *rest) {
    (void)rest;
    nct_error err = {0};
    if (forget_all(c, &err) != NCT_OK)
        c->code = nct_say_status(c->cli, &err);
    nct_kept_close(&c->kept); /* what was said stays in its session; the next turn begins another */
    nct_tell("  a new conversation\n");
    return true;
}

/* Takes a name that no session has; what was saved under the old name stays or, with `move`, comes along. */
static bool rename_session(nct_chat *c, const char *name, bool move) {
    nct_kept kept;
    char before[PATH_MAX] = "";
    if ((c->code = nct_kept_open(c->cli, name, true, &kept)) != NCT_EXIT_OK)
        return false;
    if (kept.there) {
        nct_kept_close(&kept);
        nct_tell("  there is a session %s already; /load takes it up\n", name);
        return false;
    }
    if (move && c->kept.there)
        snprintf(before, sizeof before, "%s", c->kept.folder);
    nct_kept_close(&c->kept);
    if (*before && rename(before, kept.folder) != 0) {
        c->code = nct_say_error(c->cli, NCT_EXIT_FAILURE, "%s cannot become %s: %s", before, kept.folder,
                                strerror(errno));
        return false;
    }
    c->kept = kept;
    return true;
}

static void tell_saved(const nct_chat *c) {
    if (c->kept.there)
        nct_tell("  session %s saved\n", c->kept.name);
}

bool nct_slash_save(nct_chat *c, char *rest) {
    if (c->talk.n_turns == 0) {
        nct_tell("  nothing to save yet\n");
        return true;
    }
    if (*rest && strcmp(rest, c->kept.name) != 0 && !rename_session(c, rest, true))
        return true;
    c->saves = true;
    nct_chat_save(c);
    tell_saved(c);
    return true;
}

/* Goes on under another name; the conversation as it is stays under the old one. */
bool nct_slash_fork(nct_chat *c, char *rest) {
    if (!*rest) {
        nct_tell("  /fork wants a name\n");
        return true;
    }
    nct_chat_save(c);
    char before[NCT_SESSION_NAME];
    snprintf(before, sizeof before, "%s", c->kept.there ? c->kept.name : "");
    if (!rename_session(c, rest, false))
        return true;
    c->saves = true;
    nct_chat_save(c);
    nct_tell(*before ? "  going on in session %s; %s stays as it is\n" : "  going on in session %s%s\n", c->kept.name,
             before);
    return true;
}

bool nct_slash_load(nct_chat *c, char *rest) {
    nct_kept kept;
    nct_error err = {0};
    if (!*rest) {
        nct_tell("  /load wants the name of a session; /sessions lists them\n");
        return true;
    }
    nct_chat_save(c);
    if (strcmp(rest, c->kept.name) == 0)
        nct_kept_close(&c->kept); /* what was saved, instead of what was undone since */
    if ((c->code = nct_kept_open_there(c->cli, rest, &kept)) != NCT_EXIT_OK)
        return true;
    nct_kept_close(&c->kept);
    if (forget_all(c, &err) != NCT_OK)
        c->code = nct_say_status(c->cli, &err);
    c->kept = kept;
    c->saves = true;
    c->talk.system.n = 0;
    c->code = nct_kept_load(&c->kept, &c->info, &c->talk);
    if (c->code != NCT_EXIT_OK) {
        nct_kept_close(&c->kept); /* nothing is written over what cannot be read */
        return true;
    }
    c->files_turn = c->talk.n_turns;
    nct_tell("  session %s: %zu turn%s\n", rest, c->talk.n_turns / 2, c->talk.n_turns == 2 ? "" : "s");
    return true;
}

bool nct_slash_sessions(nct_chat *c, char *rest) {
    enum { MOST = 20 };
    (void)rest;
    nct_kept_line *line;
    size_t n;
    if ((c->code = nct_kept_list(c->cli, &line, &n)) == NCT_EXIT_OK) {
        for (size_t i = 0; i < n && i < MOST; i++)
            nct_tell("  %-32s %3lld turn%s  %s\n", line[i].name, (long long)line[i].n_turns,
                     line[i].n_turns == 1 ? " " : "s", line[i].title);
        if (n > MOST)
            nct_tell("  and %zu more: noctule session list\n", n - MOST);
        if (n == 0)
            nct_tell("  no session was saved yet\n");
    }
    nct_kept_list_close(line, n);
    return true;
}
