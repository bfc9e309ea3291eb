/* What can be typed in a chat beside turns. To add a command: a function and a row. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "cli/chat.h"
#include "cli/open.h"

typedef struct slash {
    const char *name, *arguments, *help;
    bool (*run)(nct_chat *c, char *rest); /* false: leave the chat */
} slash;

static const slash *list_slashes(size_t *n);

/* Commands speak on stderr: stdout is what the model said. */
static void tell(const char *fmt, const char *text) { fprintf(stderr, fmt, text); }

static bool do_clear(nct_chat *c, char *rest) {
    (void)rest;
    nct_error err;
    c->n_prompt = 0;
    nct_talk_cut(&c->talk, 0);
    if (nct_session_rewind(c->session, 0, &err) != NCT_OK)
        c->code = nct_say_status(c->cli, &err);
    nct_prompt_close(&c->files);
    c->files_turn = 0;
    nct_kept_close(&c->kept); /* what was said stays in its session; the next turn begins another */
    tell("%s\n", "  a new conversation");
    return true;
}

/* Turns come in pairs: what was said and what was answered. */
static bool do_undo(nct_chat *c, char *rest) {
    int64_t n = 1;
    if (*rest && !nct_parse_count(rest, 1, 1e6, &n)) {
        tell("  /undo takes a number of turns, not '%s'\n", rest);
        return true;
    }
    size_t pairs = c->talk.n_turns / 2, dropped = (size_t)n < pairs ? (size_t)n : pairs;
    nct_talk_cut(&c->talk, 2 * (pairs - dropped));
    if (c->files_turn > c->talk.n_turns)
        c->files_turn = c->talk.n_turns; /* files whose turn is gone go with the next */
    if (dropped) {
        c->n_prompt = 0;
        nct_chat_save(c);
    }
    fprintf(stderr, dropped ? "  %zu turn%s dropped, %zu left\n" : "  nothing to undo\n", dropped,
            dropped == 1 ? "" : "s", pairs - dropped);
    return true;
}

static bool do_retry(nct_chat *c, char *rest) {
    double temperature = c->sampling.temperature, kept = temperature;
    if (*rest && (!nct_parse_real(rest, &temperature) || temperature < 0 || temperature > 100)) {
        tell("  /retry takes a temperature, not '%s'\n", rest);
        return true;
    }
    if (c->talk.n_turns < 2) {
        tell("%s\n", "  nothing to retry");
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

static bool do_sources(nct_chat *c, char *rest) {
    int64_t n = NCT_CHAT_SOURCES;
    if (*rest && !nct_parse_count(rest, 1, 1000, &n))
        tell("  /sources takes a number of ranges, not '%s'\n", rest);
    else
        nct_chat_sources(c, (size_t)n);
    return true;
}

static bool do_tool(nct_chat *c, char *rest) {
    size_t last = c->talk.n_turns;
    nct_bytes text = {0};
    if (last == 0 || !c->talk.turn[last - 1].calls) {
        tell("%s\n", "  no tool call waits for a result");
    } else if (!*rest) {
        tell("%s\n", "  /tool takes the result: a text, or @FILE");
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
            fprintf(stderr, "  thinking is %s\n", rest);
            return true;
        }
    if (*rest && nct_parse_count(rest, 0, 1e9, &n)) {
        a->think_budget = n;
        fprintf(stderr, "  thinking ends after %s tokens\n", NCT_N((uint64_t)n));
        return true;
    }
    if (*rest)
        tell("  /think takes on, off, auto or a number of tokens, not '%s'\n", rest);
    else if (a->think_budget != NCT_UNSET)
        fprintf(stderr, "  thinking is %s, and ends after %s tokens\n", think_names[c->talk.options.think],
                NCT_N((uint64_t)a->think_budget));
    else
        tell("  thinking is %s\n", think_names[c->talk.options.think]);
    return true;
}

static bool do_thinking(nct_chat *c, char *rest) {
    bool on = strcmp(rest, "on") == 0;
    if (*rest && !on && strcmp(rest, "off") != 0) {
        tell("  /thinking takes on or off, not '%s'\n", rest);
        return true;
    }
    if (*rest)
        c->show.expanded = on;
    tell("  thinking is %s\n", c->show.expanded ? "shown" : "counted, not shown");
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
    const slash *all = list_slashes(&n);
    for (size_t i = 0; i < n; i++) {
        if (*asked && strcmp(asked, all[i].name) != 0)
            continue;
        char usage[40];
        snprintf(usage, sizeof usage, "/%s %s", all[i].name, all[i].arguments);
        fprintf(stderr, "  %-20s %s\n", usage, all[i].help);
        found = true;
    }
    if (!found)
        tell("  no command '/%s'\n", asked);
    else if (!*asked)
        tell("%s", "  Ctrl-C stops an answer, Ctrl-D leaves. \"\"\" begins and ends a text of several\n"
                   "  lines; \\ at the end of a line goes on too. A text that begins with / is sent\n"
                   "  with // in front.\n");
    return true;
}

/* ------------------------------------------------------------------ settings */

static const char *origin_name(const nct_chat *c, const void *field) {
    static const char *const names[] = {"model", "environment", "flag", "/set"};
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
        fprintf(stderr, "  %-18s %-10g (%s)\n", rows[i].name, rows[i].value, origin_name(c, rows[i].field));
    fprintf(stderr, "  %-18s %-10llu (%s)\n", "seed", (unsigned long long)s->seed,
            nct_args_origin(a, &a->seed) == NCT_FROM_NOWHERE ? "drawn" : origin_name(c, &a->seed));
    size_t most = nct_chat_max_tokens(c);
    char limit[24] = "no limit";
    if (most)
        snprintf(limit, sizeof limit, "%zu", most);
    fprintf(stderr, "  %-18s %-10s (%s)\n", "max-tokens", limit,
            a->max_tokens == NCT_UNSET ? "default" : origin_name(c, &a->max_tokens));
    fprintf(stderr, "  %-18s %-10s (%s)\n", "think", think_names[c->talk.options.think],
            nct_args_origin(a, &a->think) == NCT_FROM_NOWHERE ? "default" : origin_name(c, &a->think));
    if (a->think_budget != NCT_UNSET)
        fprintf(stderr, "  %-18s %-10lld (%s)\n", "think-budget", (long long)a->think_budget,
                origin_name(c, &a->think_budget));
    for (size_t i = 0; i < a->stops.n; i++)
        fprintf(stderr, "  %-18s \"%s\"\n", "stop", a->stops.item[i]);
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
        fprintf(stderr, "  no setting '%s'%s%s    (/set lists them)\n", rest, near ? "; try " : "",
                near ? near : "");
        return true;
    }
    if (!*value && o->kind != NCT_KIND_FLAG) {
        fprintf(stderr, "  /set %s wants %s\n", name, o->value);
        return true;
    }
    char complaint[256], *kept = NULL; /* options keep texts as they are, so these live as long as the chat */
    if (nct_copy_string(&kept, value, strlen(value), NULL) != NCT_OK || !nct_list_add(&c->texts, kept)) {
        nct_free(kept);
        return true;
    }
    const char *wrong = nct_option_set(a, o, *kept ? kept : NULL, NCT_FROM_SET, complaint);
    if (wrong) {
        tell("  %s\n", wrong);
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
    fprintf(stderr, "  %s is %s\n", name, *value ? value : "on");
    return true;
}

static const slash slashes[] = {
    {"help", "[COMMAND]", "this list, or one of it", do_help},
    {"clear", "", "a new conversation", do_clear},
    {"undo", "[N]", "drop the last turn, or N", do_undo},
    {"retry", "[TEMP]", "answer the last turn again, with the next seed", do_retry},
    {"sources", "[N]", "lines of files that attention chose most for the last answer", do_sources},
    {"think", "[on|off|N]", "reasoning before the answer, or how many tokens it may take", do_think},
    {"thinking", "[on|off]", "show reasoning as it comes, or count it", do_thinking},
    {"tool", "TEXT|@FILE", "the result of the tool call that the model made", do_tool},
    {"set", "[KEY VALUE]", "show or change sampling and limits", do_set},
    {"bye", "", "leave, as do /exit, /quit and Ctrl-D", do_bye},
};

enum { N_SLASHES = sizeof slashes / sizeof *slashes };

static const slash *list_slashes(size_t *n) {
    *n = N_SLASHES;
    return slashes;
}

static const slash *find_slash(const char *name) {
    if (strcmp(name, "exit") == 0 || strcmp(name, "quit") == 0)
        name = "bye";
    if (strcmp(name, "?") == 0)
        name = "help";
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
    const slash *s = find_slash(line + 1);
    if (s)
        return s->run(c, rest);
    const char *names[N_SLASHES];
    for (size_t i = 0; i < N_SLASHES; i++)
        names[i] = slashes[i].name;
    const char *near = nct_nearest(line + 1, names, N_SLASHES);
    fprintf(stderr, "  no command %s; try /%s    (to send it as text: /%s)\n", line, near ? near : "help",
            line);
    c->code = NCT_EXIT_USAGE;
    return true;
}
