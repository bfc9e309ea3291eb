/* Commands on the turns of a chat: dropping, repeating, going on, branching, shortening. */
#include <stdio.h>
#include <string.h>

#include "cli/slash.h"

/* The turns have changed: the session follows, and so do files that went with one of them. */
static void changed(nct_chat *c) {
    c->n_prompt = 0;
    if (c->files_turn > c->talk.n_turns)
        c->files_turn = c->talk.n_turns;
    nct_chat_save(c);
}

/* A turn of the user's begins what belongs together: it, the answer, and results of tools with theirs. */
static bool is_said(const nct_turn *turn) { return strcmp(turn->role, "user") == 0; }

static size_t count_said(const nct_talk *t) {
    size_t n = 0;
    for (size_t i = 0; i < t->n_turns; i++)
        n += is_said(&t->turn[i]);
    return n;
}

/* Where the user's turn of this number begins, from 0; the end where there are fewer. */
static size_t find_said(const nct_talk *t, size_t number) {
    size_t i = 0;
    for (; i < t->n_turns; i++)
        if (is_said(&t->turn[i]) && number-- == 0)
            break;
    return i;
}

bool nct_slash_undo(nct_chat *c, char *rest) {
    int64_t n = 1;
    if (*rest && !nct_parse_count(rest, 1, 1e6, &n)) {
        nct_tell("  /undo takes a number of turns, not '%s'\n", rest);
        return true;
    }
    size_t said = count_said(&c->talk), dropped = (size_t)n < said ? (size_t)n : said;
    nct_talk_cut(&c->talk, find_said(&c->talk, said - dropped));
    if (dropped)
        changed(c);
    if (dropped)
        nct_tell("  %zu turn%s dropped, %zu left\n", dropped, dropped == 1 ? "" : "s", said - dropped);
    else
        nct_tell("  nothing to undo\n");
    return true;
}

bool nct_slash_retry(nct_chat *c, char *rest) {
    double temperature = c->sampling.temperature, kept = temperature;
    if (*rest && (!nct_parse_real(rest, &temperature) || temperature < 0 || temperature > 100)) {
        nct_tell("  /retry takes a temperature, not '%s'\n", rest);
        return true;
    }
    if (c->talk.n_turns < 2) {
        nct_tell("  nothing to retry\n");
        return true;
    }
    nct_talk_cut(&c->talk, c->talk.n_turns - 1);
    c->retries++;
    c->sampling.temperature = temperature;
    if (!nct_chat_answer(c))
        nct_talk_cut(&c->talk, c->talk.n_turns - 1);
    c->sampling.temperature = kept;
    return true;
}

bool nct_slash_continue(nct_chat *c, char *rest) {
    (void)rest;
    if (c->talk.n_turns < 2)
        nct_tell("  nothing to go on with\n");
    else
        nct_chat_go_on(c);
    return true;
}

/* ------------------------------------------------------------------ branches */

struct nct_mark {
    char *name;
    nct_talk turns; /* copies */
    size_t files_turn;
};

static nct_status copy_turns(const nct_talk *from, nct_talk *to, nct_error *err) {
    for (size_t i = 0; i < from->n_turns; i++)
        NCT_TRY(nct_talk_add_copy(to, &from->turn[i], err));
    return NCT_OK;
}

static void close_mark(nct_mark *mark) {
    nct_free(mark->name);
    nct_talk_close(&mark->turns);
}

void nct_chat_forget_marks(nct_chat *c) {
    for (size_t i = 0; i < c->n_marks; i++)
        close_mark(&c->mark[i]);
    nct_free(c->mark);
    c->mark = NULL;
    c->n_marks = c->marks_capacity = 0;
}

bool nct_slash_push(nct_chat *c, char *rest) {
    nct_error err = {0};
    nct_mark mark = {.files_turn = c->files_turn};
    void *p = c->mark;
    nct_status status = nct_grow(&p, &c->marks_capacity, c->n_marks + 1, sizeof mark, &err);
    if (status == NCT_OK) {
        c->mark = p;
        status = nct_copy_string(&mark.name, rest, strlen(rest), &err);
    }
    if (status == NCT_OK)
        status = copy_turns(&c->talk, &mark.turns, &err);
    if (status != NCT_OK) {
        close_mark(&mark);
        c->code = nct_say_status(c->cli, &err);
        return true;
    }
    c->mark[c->n_marks++] = mark;
    nct_tell("  %zu turn%s marked%s%s; /pop comes back here\n", c->talk.n_turns / 2, c->talk.n_turns == 2 ? "" : "s",
             *rest ? " as " : "", rest);
    return true;
}

/* The newest mark, or the newest of a name; those above it go with it. */
bool nct_slash_pop(nct_chat *c, char *rest) {
    size_t at = c->n_marks;
    while (at > 0 && *rest && strcmp(c->mark[at - 1].name, rest) != 0)
        at--;
    if (at == 0) {
        nct_tell(*rest ? "  no mark '%s'\n" : "  nothing was pushed%s\n", rest);
        return true;
    }
    nct_mark *mark = &c->mark[at - 1];
    nct_error err = {0};
    nct_talk_cut(&c->talk, 0);
    if (copy_turns(&mark->turns, &c->talk, &err) != NCT_OK || nct_talk_settle(&c->talk, &err) != NCT_OK)
        c->code = nct_say_status(c->cli, &err);
    c->files_turn = mark->files_turn;
    for (size_t i = at - 1; i < c->n_marks; i++)
        close_mark(&c->mark[i]);
    c->n_marks = at - 1;
    changed(c);
    nct_tell("  back to %zu turn%s\n", c->talk.n_turns / 2, c->talk.n_turns == 2 ? "" : "s");
    return true;
}

/* ------------------------------------------------------------------ shortening */

/* Tokens that the session holds and the turns as they now stand would not find there. */
static size_t count_lost(nct_chat *c) {
    int32_t *ids = NULL;
    size_t n = 0, same = 0, n_held = (size_t)nct_session_length(c->session);
    bool thinking;
    nct_error err;
    if (n_held == 0 || nct_talk_prompt(&c->talk, NULL, &ids, &n, &thinking, &err) != NCT_OK)
        return 0;
    const int32_t *held = nct_session_tokens(c->session);
    while (same < n && same < n_held && ids[same] == held[same])
        same++;
    nct_free(ids);
    return n - same;
}

bool nct_slash_forget(nct_chat *c, char *rest) {
    int64_t n = 1;
    size_t said = count_said(&c->talk);
    if (*rest && !nct_parse_count(rest, 1, 1e6, &n)) {
        nct_tell("  /forget takes a number of turns, not '%s'\n", rest);
        return true;
    }
    size_t dropped = (size_t)n < said ? (size_t)n : said, end = find_said(&c->talk, dropped);
    if (dropped == 0) {
        nct_tell("  nothing to forget\n");
        return true;
    }
    if (c->files.text.n && c->files_turn < end)
        nct_prompt_close(&c->files);
    nct_talk_forget(&c->talk, end);
    nct_error err = {0};
    if (nct_talk_settle(&c->talk, &err) != NCT_OK)
        c->code = nct_say_status(c->cli, &err);
    c->files_turn = c->files_turn > end ? c->files_turn - end : 0;
    changed(c);
    nct_tell("  oldest turns forgotten: %zu, left: %zu; %s tokens are read again with the next\n", dropped,
             said - dropped, c->talk.n_turns ? NCT_N(count_lost(c)) : "no");
    return true;
}

/* The summary is content that goes with the next turn, as a file would. */
static nct_status take_summary(nct_chat *c, const char *text, nct_error *err) {
    nct_prompt *files = &c->files;
    void *p = NULL;
    size_t capacity = 0;
    nct_talk_cut(&c->talk, 0);
    nct_prompt_close(files);
    c->files_turn = 0;
    NCT_TRY(nct_bytes_printf(&files->text, err, "What we said before, in short:\n%s\n", text));
    NCT_TRY(nct_grow(&p, &capacity, 1, sizeof *files->part, err));
    files->part = p;
    files->parts_capacity = capacity;
    files->n_parts = 1;
    files->part[0] = (nct_prompt_part){.name = "the summary", .end = files->text.n};
    return NCT_OK;
}

static bool confirm(nct_chat *c, size_t n_turns) {
    nct_bytes answer = {0};
    char question[64];
    if (!c->editor)
        return true; /* a script means what it says */
    nct_tell("  the %zu turn%s would give way to this\n", n_turns, n_turns == 1 ? "" : "s");
    snprintf(question, sizeof question, "  do it? [y/N] ");
    bool yes = nct_editor_read(c->editor, question, &answer) == NCT_TYPED_LINE && answer.n &&
               (answer.data[0] == 'y' || answer.data[0] == 'Y');
    nct_signals_clear();
    nct_bytes_reset(&answer);
    return yes;
}

bool nct_slash_compact(nct_chat *c, char *rest) {
    size_t before = c->talk.n_turns;
    nct_bytes ask = {0};
    nct_error err = {0};
    if (before < 2) {
        nct_tell("  nothing to compact\n");
        return true;
    }
    nct_status status =
        nct_bytes_printf(&ask, &err,
                         "Summarise our conversation so far for somebody who will go on with it: facts, names, "
                         "numbers, decisions, open questions. Write the summary only.%s%s",
                         *rest ? " Above all: " : "", rest);
    if (status == NCT_OK)
        status = nct_talk_say(&c->talk, ask.data, ask.n, &err);
    nct_bytes_reset(&ask);
    if (status != NCT_OK) {
        c->code = nct_say_status(c->cli, &err);
        return true;
    }
    bool saves = c->saves, whole;
    c->saves = false; /* the question is not part of the conversation */
    whole = nct_chat_answer(c) && !*nct_signals_flag();
    c->saves = saves;
    char *summary = NULL;
    if (whole) {
        const nct_bytes *text = &c->talk.turn[c->talk.n_turns - 1].content;
        whole = text->n && nct_copy_string(&summary, text->data, text->n, &err) == NCT_OK;
    }
    nct_talk_cut(&c->talk, before);
    c->n_prompt = 0;
    if (whole && confirm(c, before / 2)) {
        if (take_summary(c, summary, &err) != NCT_OK)
            c->code = nct_say_status(c->cli, &err);
        nct_kept_close(&c->kept); /* the long conversation stays in its session */
        nct_tell("  %zu turn%s replaced by the summary\n", before / 2, before == 2 ? " is" : "s are");
    } else {
        nct_tell("  nothing was changed\n");
    }
    nct_free(summary);
    return true;
}

bool nct_slash_system(nct_chat *c, char *rest) {
    nct_error err = {0};
    if (c->talk.plain) {
        nct_tell("  a system prompt needs a chat template, and this chat has none\n");
        return true;
    }
    if (!*rest) {
        nct_tell("  %s\n", c->talk.system.n ? c->talk.system.data : "no system prompt");
        return true;
    }
    c->talk.system.n = 0;
    if (nct_bytes_add_str(&c->talk.system, rest, &err) != NCT_OK || nct_talk_settle(&c->talk, &err) != NCT_OK) {
        c->code = nct_say_status(c->cli, &err);
        return true;
    }
    size_t lost = c->talk.n_turns ? count_lost(c) : 0;
    changed(c);
    nct_tell("  the system prompt is replaced; %s tokens are read again with the next turn\n", NCT_N(lost));
    return true;
}
