/* Scripts that complete commands, flags and their words, for the three common shells: made from the tables. */
#include <stdio.h>
#include <string.h>

#include "cli/output.h"
#include "cli/reference.h"

/* ------------------------------------------------------------------ what all three share */

/* What may stand in a shell's '...' within a description: no quotes, nothing a shell or zsh would read. */
static void print_plain(nct_output *out, const char *text, const char *avoid) {
    for (const char *c = text; *c; c++)
        if (*c == '\'' || *c == '\\' || strchr(avoid, *c))
            nct_output_write(out, " ", 1);
        else
            nct_output_write(out, c, 1);
}

/* The words of "a|b|c", separated by spaces. */
static void print_choices(nct_output *out, const char *words) {
    for (const char *c = words; *c; c++)
        nct_output_write(out, *c == '|' ? " " : c, 1);
}

/* Words that complete the value: those of a choice; NULL: files do. */
static const char *choices_of(const nct_option *o) { return o->kind == NCT_KIND_CHOICE ? o->words : NULL; }

/* Whether a file can be the value; it is not for numbers and durations. */
static bool may_be_file(const nct_option *o) { return o->kind == NCT_KIND_TEXT || o->kind == NCT_KIND_LIST; }

/* Calls fn for each spelling of a flag with its dashes. */
typedef void spelling_fn(nct_output *out, const char *spelling);
static void each_spelling(nct_output *out, const nct_option *o, spelling_fn *fn) {
    const struct {
        const char *words, *dashes;
    } lists[] = {{o->shorts, "-"}, {o->name, "--"}, {o->aliases, "--"}};
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
        for (const char *at = lists[i].words; at && *at;) {
            size_t n = strcspn(at, " ");
            char spelling[64];
            snprintf(spelling, sizeof spelling, "%s%.*s", lists[i].dashes, (int)n, at);
            fn(out, spelling);
            at += n + (at[n] == ' ');
        }
}

/* Words behind a command that has them: shells, topics. */
static const char *words_of(const nct_command *command) {
    return command->bit == NCT_CMD_COMPLETION ? "bash zsh fish" : NULL;
}

/* First words of all commands, each once. */
static void print_first_words(nct_output *out, const char *before) {
    size_t n;
    const nct_command *all = nct_commands(&n);
    for (size_t i = 0; i < n; i++) {
        size_t length = strcspn(all[i].name, " ");
        bool seen = false;
        for (size_t k = 0; k < i; k++)
            seen |= strcspn(all[k].name, " ") == length && memcmp(all[k].name, all[i].name, length) == 0;
        if (!seen)
            nct_output_print(out, "%s%.*s", before, (int)length, all[i].name);
        before = " ";
    }
}

/* Second words of commands whose first this is. */
static void print_second_words(nct_output *out, const char *first) {
    size_t n, length = strlen(first);
    const nct_command *all = nct_commands(&n);
    for (size_t i = 0; i < n; i++)
        if (strncmp(all[i].name, first, length) == 0 && all[i].name[length] == ' ')
            nct_output_print(out, " %s", all[i].name + length + 1);
}

/* ------------------------------------------------------------------ bash */

static void spaced(nct_output *out, const char *spelling) { nct_output_print(out, " %s", spelling); }

/* "run --think" as a pattern of a case. */
static void print_bash_values(nct_output *out, const nct_command *command, bool words) {
    for (size_t i = 0; i < nct_n_options; i++) {
        const nct_option *o = &nct_option_table[i];
        if (!nct_option_is_listed(o, command->bit) || !nct_option_takes_value(o) || (choices_of(o) != NULL) != words)
            continue;
        const char *lists[] = {o->shorts, o->name, o->aliases}, *dashes[] = {"-", "--", "--"}, *gap = "        ";
        for (int k = 0; k < 3; k++)
            for (const char *at = lists[k]; at && *at; gap = "|") {
                size_t n = strcspn(at, " ");
                nct_output_print(out, "%s'%s %s%.*s'", gap, command->name, dashes[k], (int)n, at);
                at += n + (at[n] == ' ');
            }
        if (words) {
            nct_output_print(out, ") values='");
            print_choices(out, o->words);
            nct_output_print(out, "' ;;\n");
        } else {
            nct_output_print(out, may_be_file(o) ? ") files=yes ;;\n" : ") files=no ;;\n");
        }
    }
}

static void print_bash(nct_output *out) {
    size_t n;
    const nct_command *all = nct_commands(&n);
    nct_output_print(out, "# bash completion for noctule: made by `noctule completion bash`\n"
                          "_noctule() {\n"
                          "    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} command= word i\n"
                          "    local flags= values= files= words=\n"
                          "    [ \"$cur\" = = ] && cur=\n"
                          "    [ \"$prev\" = = ] && prev=${COMP_WORDS[COMP_CWORD-2]}\n"
                          "    for ((i = 1; i < COMP_CWORD; i++)); do\n"
                          "        word=${COMP_WORDS[i]}\n"
                          "        case \"$command $word\" in\n");
    for (size_t i = 0; i < n; i++) {
        const char *space = strchr(all[i].name, ' ');
        if (space)
            nct_output_print(out, "        '%s') command='%s' ;;\n", all[i].name, all[i].name);
        else
            nct_output_print(out, "        ' %s') command='%s' ;;\n", all[i].name, all[i].name);
    }
    nct_output_print(out, "        esac\n    done\n    case \"$command\" in\n    '') words='");
    print_first_words(out, "");
    nct_output_print(out, "' command=run ;;\n");
    for (size_t i = 0; i < n; i++) {
        if (!all[i].synopsis) {
            nct_output_print(out, "    %s) words='", all[i].name);
            print_second_words(out, all[i].name);
            nct_output_print(out, "' ;;\n");
        } else if (words_of(&all[i])) {
            nct_output_print(out, "    %s) words='%s' ;;\n", all[i].name, words_of(&all[i]));
        } else if (all[i].bit == NCT_CMD_HELP) {
            nct_output_print(out, "    help) words='");
            print_first_words(out, "");
            size_t n_topics;
            const nct_topic *topics = nct_topics(&n_topics);
            for (size_t t = 0; t < n_topics; t++)
                nct_output_print(out, " %s", topics[t].name);
            nct_output_print(out, "' ;;\n");
        }
    }
    nct_output_print(out, "    esac\n    case \"$command\" in\n");
    for (size_t i = 0; i < n; i++) {
        nct_output_print(out, "    '%s') flags='", all[i].name);
        for (size_t k = 0; k < nct_n_options; k++)
            if (nct_option_is_listed(&nct_option_table[k], all[i].bit))
                each_spelling(out, &nct_option_table[k], spaced);
        nct_output_print(out, "' ;;\n");
    }
    nct_output_print(out, "    esac\n    case \"$command $prev\" in\n");
    for (size_t i = 0; i < n; i++) {
        print_bash_values(out, &all[i], true);
        print_bash_values(out, &all[i], false);
    }
    nct_output_print(out, "    esac\n"
                          "    COMPREPLY=()\n"
                          "    if [ -n \"$values\" ]; then\n"
                          "        COMPREPLY=($(compgen -W \"$values\" -- \"$cur\"))\n"
                          "    elif [ \"$files\" = no ]; then\n"
                          "        :\n"
                          "    elif [ \"$files\" = yes ]; then\n"
                          "        compopt -o filenames 2>/dev/null\n"
                          "        COMPREPLY=($(compgen -f -- \"$cur\"))\n"
                          "    elif [ \"${cur:0:1}\" = - ]; then\n"
                          "        COMPREPLY=($(compgen -W \"$flags\" -- \"$cur\"))\n"
                          "    else\n"
                          "        compopt -o filenames 2>/dev/null\n"
                          "        COMPREPLY=($(compgen -W \"$words\" -- \"$cur\") $(compgen -f -- \"$cur\"))\n"
                          "    fi\n"
                          "}\n"
                          "complete -F _noctule noctule\n");
}

/* ------------------------------------------------------------------ zsh */

enum { SPELLING = 64 };

/* One flag as _arguments wants it. */
static void print_zsh_spelling(nct_output *out, const nct_option *o, const char *spelling) {
    nct_output_print(out, "        '%s%s%s[", o->kind == NCT_KIND_LIST || o->kind == NCT_KIND_LEVEL ? "*" : "", spelling,
                     nct_option_takes_value(o) && spelling[1] == '-' ? "=" : "");
    print_plain(out, o->help, "[]");
    nct_output_print(out, "]");
    if (nct_option_takes_value(o)) {
        nct_output_print(out, ":");
        print_plain(out, o->value ? o->value : "value", ":[]()");
        if (choices_of(o)) {
            nct_output_print(out, ":(");
            print_choices(out, o->words);
            nct_output_print(out, ")");
        } else {
            nct_output_print(out, may_be_file(o) ? ":_files" : ": ");
        }
    }
    nct_output_print(out, "'\n");
}

static void print_zsh_flag(nct_output *out, const nct_option *o) {
    const char *lists[] = {o->shorts, o->name, o->aliases}, *dashes[] = {"-", "--", "--"};
    for (int k = 0; k < 3; k++)
        for (const char *at = lists[k]; at && *at;) {
            size_t n = strcspn(at, " ");
            char spelling[SPELLING];
            snprintf(spelling, sizeof spelling, "%s%.*s", dashes[k], (int)n, at);
            print_zsh_spelling(out, o, spelling);
            at += n + (at[n] == ' ');
        }
}

static void print_zsh(nct_output *out) {
    size_t n;
    const nct_command *all = nct_commands(&n);
    nct_output_print(out, "#compdef noctule\n"
                          "# zsh completion for noctule: made by `noctule completion zsh`\n"
                          "_noctule() {\n"
                          "    local command= word i\n"
                          "    local -a flags rest\n"
                          "    for ((i = 2; i < CURRENT; i++)); do\n"
                          "        word=${words[i]}\n"
                          "        case \"$command $word\" in\n");
    for (size_t i = 0; i < n; i++)
        nct_output_print(out, "        '%s%s') command='%s' ;;\n", strchr(all[i].name, ' ') ? "" : " ", all[i].name,
                         all[i].name);
    nct_output_print(out, "        esac\n    done\n    rest=('*:file:_files')\n    case \"$command\" in\n"
                          "    '') rest=('*::word:_noctule_words ");
    print_first_words(out, "");
    nct_output_print(out, "') command=run ;;\n");
    for (size_t i = 0; i < n; i++) {
        if (!all[i].synopsis) {
            nct_output_print(out, "    %s) rest=('*::word:_noctule_words", all[i].name);
            print_second_words(out, all[i].name);
            nct_output_print(out, "') ;;\n");
        } else if (words_of(&all[i])) {
            nct_output_print(out, "    %s) rest=('*::word:_noctule_words %s') ;;\n", all[i].name, words_of(&all[i]));
        }
    }
    nct_output_print(out, "    esac\n    case \"$command\" in\n");
    for (size_t i = 0; i < n; i++) {
        nct_output_print(out, "    '%s') flags=(\n", all[i].name);
        for (size_t k = 0; k < nct_n_options; k++)
            if (nct_option_is_listed(&nct_option_table[k], all[i].bit))
                print_zsh_flag(out, &nct_option_table[k]);
        nct_output_print(out, "        ) ;;\n");
    }
    nct_output_print(out, "    esac\n"
                          "    _arguments -S $flags $rest\n"
                          "}\n"
                          "_noctule_words() {\n"
                          "    compadd -- \"$@\"\n"
                          "    _files\n"
                          "}\n"
                          "if [ \"$funcstack[1]\" = _noctule ]; then _noctule \"$@\"; else compdef _noctule noctule; fi\n");
}

/* ------------------------------------------------------------------ fish */

static void print_fish_flag(nct_output *out, const nct_command *command, const nct_option *o) {
    nct_output_print(out, "complete -c noctule -n '__noctule_on \"%s\"'", command->name);
    for (const char *at = o->shorts; at && *at;) {
        size_t n = strcspn(at, " ");
        nct_output_print(out, n == 1 ? " -s %.*s" : " -o %.*s", (int)n, at);
        at += n + (at[n] == ' ');
    }
    if (o->name)
        nct_output_print(out, " -l %s", o->name);
    for (const char *at = o->aliases; at && *at;) {
        size_t n = strcspn(at, " ");
        nct_output_print(out, " -l %.*s", (int)n, at);
        at += n + (at[n] == ' ');
    }
    if (nct_option_takes_value(o)) {
        nct_output_print(out, may_be_file(o) ? " -rF" : " -x");
        if (choices_of(o)) {
            nct_output_print(out, " -a '");
            print_choices(out, o->words);
            nct_output_print(out, "'");
        }
    }
    nct_output_print(out, " -d '");
    print_plain(out, o->help, "");
    nct_output_print(out, "'\n");
}

static void print_fish(nct_output *out) {
    size_t n;
    const nct_command *all = nct_commands(&n);
    nct_output_print(out, "# fish completion for noctule: made by `noctule completion fish`\n"
                          "function __noctule_command\n"
                          "    set -l command ''\n"
                          "    for word in (commandline -opc)[2..-1]\n"
                          "        switch \"$command $word\"\n");
    for (size_t i = 0; i < n; i++)
        nct_output_print(out, "            case '%s%s'\n                set command '%s'\n",
                         strchr(all[i].name, ' ') ? "" : " ", all[i].name, all[i].name);
    nct_output_print(out, "        end\n    end\n    echo $command\nend\n"
                          "function __noctule_on\n    set -l command (__noctule_command)\n"
                          "    test \"$command\" = \"$argv[1]\"\n"
                          "    or test -z \"$command\" -a \"$argv[1]\" = run\nend\n"
                          "function __noctule_bare\n    set -l command (__noctule_command)\n"
                          "    test \"$command\" = \"$argv[1]\"\nend\n");
    for (size_t i = 0; i < n; i++) {
        const char *space = strchr(all[i].name, ' ');
        if (space)
            nct_output_print(out, "complete -c noctule -n '__noctule_bare \"%.*s\"' -a '%s' -d '",
                             (int)(space - all[i].name), all[i].name, space + 1);
        else
            nct_output_print(out, "complete -c noctule -n '__noctule_bare \"\"' -a '%s' -d '", all[i].name);
        print_plain(out, all[i].summary ? all[i].summary : "", "");
        nct_output_print(out, "'\n");
        if (words_of(&all[i]))
            nct_output_print(out, "complete -c noctule -f -n '__noctule_on \"%s\"' -a '%s'\n", all[i].name,
                             words_of(&all[i]));
    }
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < nct_n_options; k++)
            if (nct_option_is_listed(&nct_option_table[k], all[i].bit))
                print_fish_flag(out, &all[i], &nct_option_table[k]);
}

/* ------------------------------------------------------------------ the command */

int nct_completion_main(nct_cli *cli) {
    static const struct {
        const char *name;
        void (*print)(nct_output *out);
    } shells[] = {{"bash", print_bash}, {"zsh", print_zsh}, {"fish", print_fish}};
    const nct_list *words = &cli->args.words;
    for (size_t i = 0; words->n == 1 && i < sizeof shells / sizeof *shells; i++) {
        if (strcmp(words->item[0], shells[i].name) != 0)
            continue;
        nct_output out;
        int code = nct_output_open(cli, NULL, &out);
        if (code != NCT_EXIT_OK)
            return code;
        shells[i].print(&out);
        return nct_output_close(&out, code);
    }
    return nct_say_error(cli, NCT_EXIT_USAGE, "completion wants one shell: bash, zsh or fish\ntry: noctule completion bash");
}
