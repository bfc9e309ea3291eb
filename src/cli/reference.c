/* The tables as JSON and as manual pages. */
#include "cli/reference.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "cli/output.h"

/* ------------------------------------------------------------------ JSON */

static void add_text(nct_bytes *out, const char *key, const char *value) {
    nct_bytes_printf(out, NULL, "%s\"%s\":", out->data[out->n - 1] == '{' ? "" : ",", key);
    if (value)
        nct_json_write_string(out, value, strlen(value), NULL);
    else
        nct_bytes_add_str(out, "null", NULL);
}

/* Words that one of `gaps` stands between, each behind a prefix, as an array. */
static void add_words(nct_bytes *out, const char *key, const char *words, const char *gaps, const char *prefix) {
    nct_bytes_printf(out, NULL, ",\"%s\":[", key);
    bool first = true;
    for (const char *at = words; at && *at; first = false) {
        size_t n = strcspn(at, gaps);
        nct_bytes_printf(out, NULL, "%s\"%s%.*s\"", first ? "" : ",", prefix, (int)n, at);
        at += n + (at[n] != 0);
    }
    nct_bytes_add_str(out, "]", NULL);
}

static void add_flag(nct_bytes *out, const nct_option *o) {
    static const char *const kinds[] = {
        [NCT_KIND_FLAG] = "flag", [NCT_KIND_TEXT] = "text",     [NCT_KIND_LIST] = "list",
        [NCT_KIND_COUNT] = "count", [NCT_KIND_REAL] = "real",   [NCT_KIND_TIME] = "time",
        [NCT_KIND_CHOICE] = "choice", [NCT_KIND_LEVEL] = "level", [NCT_KIND_PRESET] = "preset",
    };
    char name[64], variable[64];
    snprintf(name, sizeof name, o->name ? "--%s" : "-%s", o->name ? o->name : o->shorts);
    nct_option_variable(o, variable, sizeof variable);
    nct_bytes_add_str(out, "{", NULL);
    add_text(out, "flag", name);
    add_words(out, "shorts", o->shorts, " ", "-");
    add_words(out, "aliases", o->aliases, " ", "--");
    add_text(out, "kind", kinds[o->kind]);
    add_text(out, "value", o->value);
    add_words(out, "choices", o->kind == NCT_KIND_CHOICE ? o->words : NULL, "|", "");
    if (o->kind == NCT_KIND_COUNT || o->kind == NCT_KIND_REAL || o->kind == NCT_KIND_TIME)
        nct_bytes_printf(out, NULL, ",\"low\":%.17g,\"high\":%.17g", o->low, o->high);
    add_text(out, "default", o->standard);
    add_text(out, "variable", variable);
    add_text(out, "section", o->section);
    add_text(out, "help", o->help);
    size_t n;
    const nct_command *all = nct_commands(&n);
    nct_bytes_add_str(out, ",\"commands\":[", NULL);
    bool first = true;
    for (size_t i = 0; i < n; i++)
        if (all[i].synopsis && all[i].bit & o->commands) {
            nct_bytes_printf(out, NULL, "%s\"%s\"", first ? "" : ",", all[i].name);
            first = false;
        }
    nct_bytes_add_str(out, "]}", NULL);
}

static void add_commands(nct_bytes *out) {
    size_t n;
    const nct_command *all = nct_commands(&n);
    bool first = true;
    for (size_t i = 0; i < n; i++) {
        if (!all[i].synopsis)
            continue;
        nct_bytes_add_str(out, first ? "\n{" : ",\n{", NULL);
        first = false;
        add_text(out, "command", all[i].name);
        add_text(out, "synopsis", all[i].synopsis);
        add_text(out, "summary", all[i].summary);
        add_text(out, "manual", all[i].manual);
        nct_bytes_add_str(out, "}", NULL);
    }
}

int nct_reference_json(const nct_cli *cli) {
    nct_output out;
    int code = nct_output_open(cli, NULL, &out);
    if (code != NCT_EXIT_OK)
        return code;
    nct_bytes b = {0};
    nct_bytes_printf(&b, NULL, "{\"name\":\"noctule\",\"version\":\"%s\",\"schema\":1,\"commands\":[", NOCTULE_VERSION);
    add_commands(&b);
    nct_bytes_add_str(&b, "],\n\"flags\":[", NULL);
    for (size_t i = 0, told = 0; i < nct_n_options; i++)
        if (nct_option_table[i].help) {
            nct_bytes_add_str(&b, told++ ? ",\n" : "\n", NULL);
            add_flag(&b, &nct_option_table[i]);
        }
    nct_bytes_add_str(&b, "],\n\"topics\":[", NULL);
    size_t n_topics;
    const nct_topic *topics = nct_topics(&n_topics);
    for (size_t i = 0; i < n_topics; i++) {
        nct_bytes_add_str(&b, i ? ",\n{" : "\n{", NULL);
        add_text(&b, "topic", topics[i].name);
        add_text(&b, "summary", topics[i].summary);
        add_text(&b, "text", topics[i].text);
        nct_bytes_add_str(&b, "}", NULL);
    }
    nct_bytes_add_str(&b, "]}\n", NULL);
    nct_output_write(&out, b.data, b.n);
    nct_bytes_reset(&b);
    return nct_output_close(&out, code);
}

/* ------------------------------------------------------------------ manual pages */

/* Text for roff: backslashes and dashes as themselves, no line a request. */
static void escape(nct_output *out, const char *text, size_t n) {
    bool begins = true;
    for (size_t i = 0; i < n; i++) {
        if (begins && (text[i] == '.' || text[i] == '\''))
            nct_output_print(out, "\\&");
        if (text[i] == '\\')
            nct_output_print(out, "\\e");
        else if (text[i] == '-')
            nct_output_print(out, "\\-");
        else
            nct_output_write(out, text + i, 1);
        begins = text[i] == '\n';
    }
}
static void escape_all(nct_output *out, const char *text) { escape(out, text, strlen(text)); }

/* Lines as they stand. */
static void print_verbatim(nct_output *out, const char *text) {
    nct_output_print(out, ".nf\n");
    escape_all(out, text);
    nct_output_print(out, "%s.fi\n", *text && text[strlen(text) - 1] == '\n' ? "" : "\n");
}

/* Name of a page: "noctule-eval-ppl". */
static void page_name(const char *of, char buf[64]) {
    snprintf(buf, 64, "noctule%s%s", *of ? "-" : "", of);
    for (char *c = buf; *c; c++)
        *c = *c == ' ' ? '-' : *c;
}

static void print_title(nct_output *out, const char *of, int section, const char *summary) {
    char name[64], upper[64];
    page_name(of, name);
    for (size_t i = 0; i <= strlen(name); i++)
        upper[i] = (char)toupper((unsigned char)name[i]);
    nct_output_print(out, ".TH \"%s\" \"%d\" \"\" \"noctule %s\" \"Noctule\"\n.SH NAME\n", upper, section,
                     NOCTULE_VERSION);
    escape_all(out, name);
    nct_output_print(out, " \\- ");
    escape_all(out, summary);
    nct_output_print(out, "\n");
}

/* All spellings, separated by commas: shorts with one dash, long ones with two. */
static void print_spellings(nct_output *out, const char *words, const char *dashes, bool *first) {
    for (const char *at = words; at && *at;) {
        size_t n = strcspn(at, " ");
        nct_output_print(out, "%s\\fB%s", *first ? "" : ", ", dashes);
        escape(out, at, n);
        nct_output_print(out, "\\fR");
        *first = false;
        at += n + (at[n] == ' ');
    }
}

static void print_flag(nct_output *out, const nct_option *o) {
    char variable[64];
    bool first = true;
    nct_option_variable(o, variable, sizeof variable);
    nct_output_print(out, ".TP\n");
    print_spellings(out, o->shorts, "\\-", &first);
    print_spellings(out, o->name, "\\-\\-", &first);
    print_spellings(out, o->aliases, "\\-\\-", &first);
    if (o->value) {
        nct_output_print(out, " \\fI");
        escape_all(out, o->value);
        nct_output_print(out, "\\fR");
    }
    nct_output_print(out, "\n");
    escape_all(out, o->help);
    if (o->standard) {
        nct_output_print(out, " (");
        escape_all(out, o->standard);
        nct_output_print(out, ")");
    }
    if (o->kind != NCT_KIND_PRESET && o->offset != offsetof(nct_args, help))
        nct_output_print(out, ".\nAlso \\fB%s\\fR", variable);
    nct_output_print(out, ".\n");
}

static void print_flags(nct_output *out, const nct_command *command) {
    const char *section = NULL;
    nct_output_print(out, ".SH OPTIONS\n");
    for (size_t i = 0; i < nct_n_options; i++) {
        const nct_option *o = &nct_option_table[i];
        if (!nct_option_is_listed(o, command->bit))
            continue;
        if (!section || strcmp(section, o->section) != 0) {
            section = o->section;
            nct_output_print(out, ".SS %s\n", section);
        }
        print_flag(out, o);
    }
}

static void print_command(nct_output *out, const nct_command *command) {
    print_title(out, command->name, 1, command->summary);
    nct_output_print(out, ".SH SYNOPSIS\n\\fBnoctule %s\\fR [FLAG...] ", command->name);
    escape_all(out, command->synopsis);
    nct_output_print(out, "\n");
    if (command->manual) {
        nct_output_print(out, ".SH DESCRIPTION\n");
        print_verbatim(out, command->manual);
    }
    print_flags(out, command);
    nct_output_print(out, ".P\nFlags win over the environment, that over the configuration. k, m and g after a number "
                          "are 1024, its square and its cube. \\-\\- ends the flags.\n"
                          ".SH SEE ALSO\n\\fBnoctule\\fR(1)\n");
}

/* Names and summaries: what the program's page lists. */
static void print_entry(nct_output *out, const char *of, int section, const char *summary) {
    char name[64];
    page_name(of, name);
    nct_output_print(out, ".TP\n\\fB");
    escape_all(out, name);
    nct_output_print(out, "\\fR(%d)\n", section);
    escape_all(out, summary);
    nct_output_print(out, "\n");
}

static void print_program(nct_output *out) {
    size_t n, n_topics;
    const nct_command *all = nct_commands(&n);
    const nct_topic *topics = nct_topics(&n_topics);
    print_title(out, "", 1, "MiniCPM4 on ordinary CPUs");
    nct_output_print(out, ".SH SYNOPSIS\n\\fBnoctule\\fR [COMMAND] [FLAG...] [PROMPT...]\n"
                          ".SH DESCRIPTION\nRuns models of the MiniCPM4 family: answers, conversations, batches and "
                          "measurements.\nWithout a command: a chat on a terminal, else as \\fBnoctule run\\fR.\n"
                          ".SH COMMANDS\n");
    for (size_t i = 0; i < n; i++)
        if (all[i].synopsis)
            print_entry(out, all[i].name, 1, all[i].summary);
    nct_output_print(out, ".SH TOPICS\n");
    for (size_t i = 0; i < n_topics; i++)
        print_entry(out, topics[i].name, 7, topics[i].summary);
    nct_output_print(out, ".SH EXIT STATUS\n");
    for (size_t i = 0; i < n_topics; i++)
        if (strcmp(topics[i].name, "exit-codes") == 0)
            print_verbatim(out, topics[i].text);
}

int nct_reference_man(const nct_cli *cli, const nct_command *command, const nct_topic *topic) {
    nct_output out;
    int code = nct_output_open(cli, NULL, &out);
    if (code != NCT_EXIT_OK)
        return code;
    if (topic) {
        print_title(&out, topic->name, 7, topic->summary);
        nct_output_print(&out, ".SH DESCRIPTION\n");
        print_verbatim(&out, topic->text);
        nct_output_print(&out, ".SH SEE ALSO\n\\fBnoctule\\fR(1)\n");
    } else if (command) {
        print_command(&out, command);
    } else {
        print_program(&out);
    }
    return nct_output_close(&out, code);
}
