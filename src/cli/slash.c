/* What can be typed in a chat beside turns. To add a command: a function and a row. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "cli/open.h"
#include "cli/slash.h"

static bool do_sources(nct_chat *c, char *rest) {
    int64_t n = NCT_CHAT_SOURCES;
    if (*rest && !nct_parse_count(rest, 1, 1000, &n))
        nct_tell("  /sources takes a number of ranges, not '%s'\n", rest);
    else
        nct_chat_sources(c, (size_t)n);
    return true;
}

static bool do_tool(nct_chat *c, char *rest) {
    size_t last = c->talk.n_turns;
    nct_bytes text = {0};
    if (last == 0 || !c->talk.turn[last - 1].calls) {
        nct_tell("  no tool call waits for a result\n");
    } else if (!*rest) {
        nct_tell("  /tool takes the result: a text, or @FILE\n");
    } else if ((c->code = nct_input_option(c->cli, rest, "/tool", &text)) == NCT_EXIT_OK) {
        nct_chat_tell(c, text.data ? text.data : "", text.n);
    }
    nct_bytes_reset(&text);
    return true;
}

static const char *const think_names[] = {"auto", "on", "off"};

/* on, off, auto, or a number of tokens. */
static bool do_think(nct_chat *c, char *rest) {
    nct_args *a = &c->cli->args;
    int64_t n;
    for (int64_t i = 0; i < 3; i++)
        if (strcmp(rest, think_names[i]) == 0) {
            a->think = i;
            c->talk.options.think = (nct_think)i;
            a->think_budget = NCT_UNSET;
            nct_tell("  thinking is %s\n", rest);
            return true;
        }
    if (*rest && nct_parse_count(rest, 0, 1e9, &n)) {
        a->think_budget = n;
        nct_tell("  thinking ends after %s tokens\n", NCT_N((uint64_t)n));
        return true;
    }
    if (*rest)
        nct_tell("  /think takes on, off, auto or a number of tokens, not '%s'\n", rest);
    else if (a->think_budget != NCT_UNSET)
        nct_tell("  thinking is %s, and ends after %s tokens\n", think_names[c->talk.options.think],
                NCT_N((uint64_t)a->think_budget));
    else
        nct_tell("  thinking is %s\n", think_names[c->talk.options.think]);
    return true;
}

static bool do_thinking(nct_chat *c, char *rest) {
    bool on = strcmp(rest, "on") == 0;
    if (*rest && !on && strcmp(rest, "off") != 0) {
        nct_tell("  /thinking takes on or off, not '%s'\n", rest);
        return true;
    }
    if (*rest)
        c->show.expanded = on;
    nct_tell("  thinking is %s\n", c->show.expanded ? "shown" : "counted, not shown");
    return true;
}

static bool do_bye(nct_chat *c, char *rest) {
    (void)c;
    (void)rest;
    return false;
}

static bool do_help(nct_chat *c, char *rest) {
    (void)c;
    const char *asked = *rest == '/' ? rest + 1 : rest;
    bool found = false;
    size_t n;
    const nct_slash *all = nct_slashes(&n);
    for (size_t i = 0; i < n; i++) {
        if (*asked && strcmp(asked, all[i].name) != 0)
            continue;
        char usage[40];
        snprintf(usage, sizeof usage, "/%s %s", all[i].name, all[i].arguments);
        nct_tell("  %-20s %s\n", usage, all[i].help);
        found = true;
    }
    if (!found)
        nct_tell("  no command '/%s'\n", asked);
    else if (!*asked)
        nct_tell("  Ctrl-C stops an answer, Ctrl-D leaves, Ctrl-R searches what was typed, Tab completes.\n"
                 "  Several lines: between \"\"\" and \"\"\", or Ctrl-J, or \\ at the end of a line, or Ctrl-G, which "
                 "takes the line to $EDITOR.\n"
                 "  A text that begins with / is sent with // in front.\n");
    return true;
}

/* ------------------------------------------------------------------ settings */

static const char *origin_name(const nct_chat *c, const void *field) {
    static const char *const names[] = {"model", "environment", "flag", "/set", "profile", "project", "configuration"};
    return names[nct_args_origin(&c->cli->args, field)];
}

/* Options whose change takes effect at the next answer. */
static const char *const settable[] = {"temp",
                                       "top-p",
                                       "top-k",
                                       "min-p",
                                       "seed",
                                       "repeat-penalty",
                                       "repeat-last-n",
                                       "presence-penalty",
                                       "frequency-penalty",
                                       "max-tokens",
                                       "think",
                                       "think-budget",
                                       "timeout",
                                       "show-thinking",
                                       "stop"};
enum { N_SETTABLE = sizeof settable / sizeof *settable };

const char *const *nct_settable(size_t *n) {
    *n = N_SETTABLE;
    return settable;
}

static void list_settings(const nct_chat *c) {
    const nct_args *a = &c->cli->args;
    const nct_sampling *s = &c->sampling;
    const struct {
        const char *name;
        double value;
        const void *field;
    } rows[] = {{"temp", s->temperature, &a->temperature},
                {"top-p", s->top_p, &a->top_p},
                {"top-k", s->top_k, &a->top_k},
                {"min-p", s->min_p, &a->min_p},
                {"repeat-penalty", s->repeat_penalty, &a->repeat_penalty},
                {"repeat-last-n", s->repeat_last_n, &a->repeat_last_n},
                {"presence-penalty", s->presence_penalty, &a->presence_penalty},
                {"frequency-penalty", s->frequency_penalty, &a->frequency_penalty}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        nct_tell("  %-18s %-10g (%s)\n", rows[i].name, rows[i].value, origin_name(c, rows[i].field));
    nct_tell("  %-18s %-10llu (%s)\n", "seed", (unsigned long long)s->seed,
            nct_args_origin(a, &a->seed) == NCT_FROM_NOWHERE ? "drawn" : origin_name(c, &a->seed));
    size_t most = nct_chat_max_tokens(c);
    char limit[24] = "no limit";
    if (most)
        snprintf(limit, sizeof limit, "%zu", most);
    nct_tell("  %-18s %-10s (%s)\n", "max-tokens", limit,
            a->max_tokens == NCT_UNSET ? "default" : origin_name(c, &a->max_tokens));
    nct_tell("  %-18s %-10s (%s)\n", "think", think_names[c->talk.options.think],
            nct_args_origin(a, &a->think) == NCT_FROM_NOWHERE ? "default" : origin_name(c, &a->think));
    if (a->think_budget != NCT_UNSET)
        nct_tell("  %-18s %-10lld (%s)\n", "think-budget", (long long)a->think_budget,
                origin_name(c, &a->think_budget));
    for (size_t i = 0; i < a->stops.n; i++)
        nct_tell("  %-18s \"%s\"\n", "stop", a->stops.item[i]);
}

static bool do_set(nct_chat *c, char *rest) {
    nct_args *a = &c->cli->args;
    if (!*rest) {
        list_settings(c);
        return true;
    }
    char *value = rest + strcspn(rest, " \t=");
    if (*value)
        *value++ = 0;
    value += strspn(value, " \t");
    const nct_option *o = nct_option_find(NCT_CMD_CHAT, rest);
    const char *name = NULL;
    for (size_t i = 0; i < N_SETTABLE && o && o->name; i++)
        if (strcmp(settable[i], o->name) == 0)
            name = settable[i];
    if (!name) {
        const char *near = nct_nearest(rest, settable, N_SETTABLE);
        nct_tell("  no setting '%s'%s%s    (/set lists them)\n", rest, near ? "; try " : "",
                near ? near : "");
        return true;
    }
    if (!*value && o->kind != NCT_KIND_FLAG) {
        nct_tell("  /set %s wants %s\n", name, o->value);
        return true;
    }
    char complaint[256], *kept = NULL; /* options keep texts as they are, so these live as long as the chat */
    if (nct_copy_string(&kept, value, strlen(value), NULL) != NCT_OK || !nct_list_add(&c->texts, kept)) {
        nct_free(kept);
        return true;
    }
    const char *wrong = nct_option_set(a, o, *kept ? kept : NULL, NCT_FROM_SET, complaint);
    if (wrong) {
        nct_tell("  %s\n", wrong);
        return true;
    }
    void *bias = NULL;
    uint64_t seed = c->sampling.seed;
    if (nct_take_sampling(c->cli, c->engine, &c->sampling, &bias) == NCT_EXIT_OK && a->seed == NCT_UNSET)
        c->sampling.seed = seed;
    nct_free(c->bias);
    c->bias = bias;
    if (a->think != NCT_UNSET)
        c->talk.options.think = (nct_think)a->think;
    c->retries = 0;
    nct_tell("  %s is %s\n", name, *value ? value : "on");
    return true;
}

static const nct_slash slashes[] = {
    {"help", "[COMMAND]", "this list, or one of it", do_help},
    {"file", "PATH...", "read documents, which the next turn is about; *.txt and folders too", nct_slash_file},
    {"paste", "", "send many lines as they are", nct_slash_paste},
    {"edit", "[TEXT]", "write the next turn in $VISUAL or $EDITOR", nct_slash_edit},
    {"system", "[TEXT]", "show or replace the system prompt", nct_slash_system},
    {"undo", "[N]", "drop the last turn, or N", nct_slash_undo},
    {"retry", "[TEMP]", "answer the last turn again, with the next seed", nct_slash_retry},
    {"continue", "", "go on with an answer that was cut or stopped", nct_slash_continue},
    {"push", "[NAME]", "mark where the conversation is", nct_slash_push},
    {"pop", "[NAME]", "go back to the last mark", nct_slash_pop},
    {"fork", "NAME", "go on as another session; this one stays as it is", nct_slash_fork},
    {"forget", "[N]", "drop the oldest turn, or N", nct_slash_forget},
    {"compact", "[HINT]", "let a summary stand for all turns", nct_slash_compact},
    {"clear", "", "a new conversation; this one stays in its session", nct_slash_clear},
    {"save", "[NAME]", "save the conversation, under a name of its own", nct_slash_save},
    {"load", "NAME", "go on with a conversation that was saved", nct_slash_load},
    {"sessions", "", "conversations that were saved", nct_slash_sessions},
    {"export", "FILE", "write what was said: FILE.md, or FILE.jsonl as messages", nct_slash_export},
    {"dump", "", "show what was said", nct_slash_dump},
    {"copy", "[code]", "the last answer, or its last block of code, to the clipboard", nct_slash_copy},
    {"context", "", "what fills the context", nct_slash_context},
    {"stats", "", "speeds and counts so far", nct_slash_stats},
    {"sources", "[N]", "lines of files that attention chose most for the last answer", do_sources},
    {"think", "[on|off|N]", "reasoning before the answer, or how many tokens it may take", do_think},
    {"thinking", "[on|off]", "show reasoning as it comes, or count it", do_thinking},
    {"tool", "TEXT|@FILE", "the result of the tool call that the model made", do_tool},
    {"tokens", "TEXT", "a text as tokens", nct_slash_tokens},
    {"set", "[KEY VALUE]", "show or change sampling and limits", do_set},
    {"bye", "", "leave, as do /exit, /quit and Ctrl-D", do_bye},
};

enum { N_SLASHES = sizeof slashes / sizeof *slashes };

const nct_slash *nct_slashes(size_t *n) {
    *n = N_SLASHES;
    return slashes;
}

static const nct_slash *find_slash(const char *name) {
    static const char *const other[][2] = {{"exit", "bye"}, {"quit", "bye"}, {"?", "help"}, {"read", "file"}};
    for (size_t i = 0; i < sizeof other / sizeof *other; i++)
        if (strcmp(name, other[i][0]) == 0)
            name = other[i][1];
    for (size_t i = 0; i < N_SLASHES; i++)
        if (strcmp(slashes[i].name, name) == 0)
            return &slashes[i];
    return NULL;
}

bool nct_chat_obey(nct_chat *c, char *line) {
    char *rest = line + strcspn(line, " \t");
    if (*rest)
        *rest++ = 0;
    rest += strspn(rest, " \t");
    for (size_t n = strlen(rest); n > 0 && isspace((unsigned char)rest[n - 1]);)
        rest[--n] = 0;
    const nct_slash *s = find_slash(line + 1);
    if (s)
        return s->run(c, rest);
    const char *names[N_SLASHES];
    for (size_t i = 0; i < N_SLASHES; i++)
        names[i] = slashes[i].name;
    const char *near = nct_nearest(line + 1, names, N_SLASHES);
    nct_tell("  no command %s; try /%s    (to send it as text: /%s)\n", line, near ? near : "help",
            line);
    c->code = NCT_EXIT_USAGE;
    return true;
}
