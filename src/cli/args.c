#include "cli/args.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "cli/cli.h"

/* ------------------------------------------------------------------ finding options */

static void *field_of(nct_args *args, const nct_option *o) { return (char *)args + o->offset; }

const nct_option *nct_option_of(const nct_args *args, const void *field) {
    for (size_t i = 0; i < nct_n_options; i++)
        if (nct_option_table[i].offset != NCT_NO_FIELD &&
            (const char *)args + nct_option_table[i].offset == (const char *)field)
            return &nct_option_table[i];
    return NULL;
}

nct_origin nct_args_origin(const nct_args *args, const void *field) {
    const nct_option *o = nct_option_of(args, field);
    return o ? (nct_origin)args->origin[o - nct_option_table] : NCT_FROM_NOWHERE;
}

void nct_option_variable(const nct_option *o, char *buf, size_t n_buf) {
    snprintf(buf, n_buf, "NOCTULE_%s", o->name ? o->name : o->shorts);
    for (char *c = buf; *c; c++)
        *c = *c == '-' ? '_' : (char)toupper((unsigned char)*c);
}

/* True if `word` (n bytes) is one of the space-separated words. */
static bool has_word(const char *words, const char *word, size_t n) {
    for (const char *at = words; at && *at;) {
        size_t length = strcspn(at, " ");
        if (length == n && memcmp(at, word, n) == 0)
            return true;
        at += length + (at[length] == ' ');
    }
    return false;
}

static const nct_option *find_long(uint64_t command, const char *name, size_t n) {
    for (size_t i = 0; i < nct_n_options; i++)
        if (nct_option_table[i].commands & command)
            if ((nct_option_table[i].name && strlen(nct_option_table[i].name) == n &&
                 memcmp(nct_option_table[i].name, name, n) == 0) ||
                has_word(nct_option_table[i].aliases, name, n))
                return &nct_option_table[i];
    return NULL;
}

static const nct_option *find_short(uint64_t command, const char *name, size_t n) {
    for (size_t i = 0; i < nct_n_options; i++)
        if (nct_option_table[i].commands & command && has_word(nct_option_table[i].shorts, name, n))
            return &nct_option_table[i];
    return NULL;
}

const nct_option *nct_option_find(uint64_t command, const char *name) {
    const nct_option *o = find_long(command, name, strlen(name));
    return o ? o : find_short(command, name, strlen(name));
}

/* ------------------------------------------------------------------ values */

bool nct_list_add(nct_list *list, const char *text) {
    void *p = list->item;
    if (nct_grow(&p, &list->capacity, list->n + 1, sizeof *list->item, NULL) != NCT_OK)
        return false;
    list->item = p;
    list->item[list->n++] = text;
    return true;
}

bool nct_parse_real(const char *text, double *value) {
    if (!isdigit((unsigned char)text[text[0] == '-' || text[0] == '+']) &&
        text[text[0] == '-' || text[0] == '+'] != '.')
        return false; /* no hexadecimal, no "inf", no leading space */
    char *end;
    double v = strtod(text, &end);
    if (end == text || *end || !isfinite(v) || strpbrk(text, "xX"))
        return false;
    *value = v;
    return true;
}

bool nct_parse_count(const char *text, double low, double high, int64_t *value) {
    char digits[64];
    size_t n = strlen(text);
    if (n == 0 || n >= sizeof digits)
        return false;
    memcpy(digits, text, n + 1);
    const char *suffixes = "kmg", *suffix = strchr(suffixes, tolower((unsigned char)digits[n - 1]));
    double scale = 1;
    if (suffix && digits[n - 1]) {
        scale = suffix == suffixes ? 0x1p10 : suffix == suffixes + 1 ? 0x1p20 : 0x1p30;
        digits[--n] = 0;
    }
    double v;
    if (!nct_parse_real(digits, &v))
        return false;
    v *= scale;
    if (!(v >= low && v <= high && v == floor(v)))
        return false;
    if (scale == 1 && !strpbrk(digits, ".eE")) { /* beyond 2^53 a double is not the number that was typed */
        errno = 0;
        char *end;
        long long whole = strtoll(digits, &end, 10);
        if (errno || *end)
            return false;
        *value = whole;
    } else if (v < 0x1p53) {
        *value = (int64_t)v;
    } else {
        return false;
    }
    return true;
}

/* 90, 90s, 1.5m, 2h, 500ms, 1h30m. */
static bool parse_time(const char *text, double *seconds) {
    double total = 0;
    const char *at = text;
    do {
        char *end;
        if (!isdigit((unsigned char)*at))
            return false;
        double v = strtod(at, &end);
        if (strncmp(end, "ms", 2) == 0)
            v *= 1e-3, end += 2;
        else if (*end == 's')
            end++;
        else if (*end == 'm')
            v *= 60, end++;
        else if (*end == 'h')
            v *= 3600, end++;
        else if (*end)
            return false;
        total += v;
        at = end;
    } while (*at);
    *seconds = total;
    return isfinite(total);
}

/* Index of a word in "a|b|c", or -1. */
static int64_t find_choice(const char *words, const char *text) {
    int64_t index = 0;
    for (const char *at = words;; at++, index++) {
        size_t n = strcspn(at, "|");
        if (strlen(text) == n && memcmp(at, text, n) == 0)
            return index;
        at += n;
        if (!*at)
            return -1;
    }
}

static bool parse_flag(const char *text, bool *value) {
    static const char *const words[] = {"0", "1", "false", "true", "no", "yes", "off", "on"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strcmp(text, words[i]) == 0) {
            *value = i % 2;
            return true;
        }
    return false;
}

/* How people know the option. */
static void spell(const nct_option *o, char *buf, size_t n_buf) {
    snprintf(buf, n_buf, o->name ? "--%s" : "-%s", o->name ? o->name : o->shorts);
}

const char *nct_option_set(nct_args *args, const nct_option *o, const char *text, nct_origin origin,
                           char complaint[256]) {
    char name[64];
    spell(o, name, sizeof name);
    void *field = o->offset == NCT_NO_FIELD ? NULL : field_of(args, o);
    double real;
    int64_t count;
    bool flag = true;
    switch (o->kind) {
    case NCT_KIND_FLAG:
        if (text && !parse_flag(text, &flag)) {
            snprintf(complaint, 256, "%s is on or off, not '%.80s'", name, text);
            return complaint;
        }
        *(bool *)field = flag;
        break;
    case NCT_KIND_LEVEL:
        if (text && !nct_parse_count(text, 0, 9, &count)) {
            snprintf(complaint, 256, "%s wants a level from 0 to 9, got '%.80s'", name, text);
            return complaint;
        }
        *(int64_t *)field = text ? count : *(int64_t *)field + 1;
        break;
    case NCT_KIND_TEXT:
        if (!*text && !o->words) {
            snprintf(complaint, 256, "%s wants %s, got an empty text", name, o->value);
            return complaint;
        }
        *(const char **)field = text;
        break;
    case NCT_KIND_LIST:
        if (!*text) {
            snprintf(complaint, 256, "%s wants %s, got an empty text", name, o->value);
            return complaint;
        }
        if (!nct_list_add(field, text)) {
            snprintf(complaint, 256, "out of memory");
            return complaint;
        }
        break;
    case NCT_KIND_COUNT:
        count = NCT_UNSET;
        if (strcmp(text, "auto") != 0 && !nct_parse_count(text, o->low, o->high, &count)) {
            if (o->high < 9e18)
                snprintf(complaint, 256,
                         "%s wants a whole number from %.0f to %.0f (k, m and g may follow), got '%.80s'",
                         name, o->low, o->high, text);
            else
                snprintf(complaint, 256, "%s wants a whole number, got '%.80s'", name, text);
            return complaint;
        }
        *(int64_t *)field = count;
        break;
    case NCT_KIND_REAL:
        if (!nct_parse_real(text, &real) || real < o->low || real > o->high) {
            snprintf(complaint, 256, "%s wants a number from %g to %g, got '%.80s'", name, o->low, o->high,
                     text);
            return complaint;
        }
        *(double *)field = real;
        break;
    case NCT_KIND_TIME:
        if (!parse_time(text, &real) || real < o->low || real > o->high) {
            snprintf(complaint, 256, "%s wants a duration such as 90s, 5m or 1h30m, got '%.80s'", name, text);
            return complaint;
        }
        *(double *)field = real;
        break;
    case NCT_KIND_CHOICE:
        if ((count = find_choice(o->words, text)) < 0) {
            snprintf(complaint, 256, "%s is one of %s, not '%.80s'", name, o->words, text);
            return complaint;
        }
        *(int64_t *)field = count;
        break;
    case NCT_KIND_PRESET:
        if (text && !parse_flag(text, &flag)) {
            snprintf(complaint, 256, "%s is on or off, not '%.80s'", name, text);
            return complaint;
        }
        if (flag) {
            size_t n = strcspn(o->words, "=");
            return nct_option_set(args, find_long(o->commands, o->words, n), o->words + n + 1, origin,
                                  complaint);
        }
        break;
    case NCT_KIND_NOOP:
    case NCT_KIND_REFUSED:
        break;
    }
    args->origin[o - nct_option_table] = (uint8_t)origin;
    return NULL;
}

const char *nct_option_check(const nct_option *o, const char *text, char complaint[256]) {
    nct_args scratch = {0};
    void *p = NULL;
    if (nct_alloc(&p, nct_n_options, 1, NULL) != NCT_OK) {
        snprintf(complaint, 256, "out of memory");
        return complaint;
    }
    scratch.origin = p;
    const char *wrong = nct_option_set(&scratch, o, text, NCT_FROM_NOWHERE, complaint);
    nct_args_close(&scratch);
    return wrong;
}

/* ------------------------------------------------------------------ the nearest word */

/* Edits between two short words: insertions, deletions, changes, swaps of neighbours. */
static size_t distance(const char *a, const char *b) {
    enum { MAX = 40 };
    size_t n = strlen(a), m = strlen(b), d[3][MAX + 1];
    if (n > MAX || m > MAX)
        return MAX;
    for (size_t j = 0; j <= m; j++)
        d[0][j] = j;
    for (size_t i = 1; i <= n; i++) {
        size_t *row = d[i % 3], *above = d[(i + 2) % 3], *second = d[(i + 1) % 3];
        row[0] = i;
        for (size_t j = 1; j <= m; j++) {
            size_t best = above[j - 1] + (a[i - 1] != b[j - 1]);
            if (above[j] + 1 < best)
                best = above[j] + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && second[j - 2] + 1 < best)
                best = second[j - 2] + 1;
            row[j] = best;
        }
    }
    return d[n % 3][m];
}

const char *nct_nearest(const char *word, const char *const *candidates, size_t n) {
    const char *best = NULL;
    size_t length = strlen(word), least = 1 + length / 3 + 1; /* so close or closer */
    if (length < 4)
        least = 2;
    for (size_t i = 0; i < n; i++) {
        size_t d = distance(word, candidates[i]);
        if (d >= 1 && length >= 3 && strncmp(word, candidates[i], length) == 0)
            d = 1; /* the beginning of it */
        if (d < least || (d == least && !best && d < length)) {
            least = d;
            best = candidates[i];
        }
    }
    return best;
}

/* Exit 2 for a flag that the command does not take. */
static int refuse_unknown(nct_cli *cli, uint64_t command, const char *typed) {
    size_t dashes = strspn(typed, "-"), n = strcspn(typed + dashes, "=");
    const char *of = cli->command ? cli->command->name : "run";
    char bare[48];
    snprintf(bare, sizeof bare, "%.*s", (int)(n < 40 ? n : 40), typed + dashes);
    size_t n_commands, dashed = find_long(NCT_CMD_ANY, bare, strlen(bare)) ? 2 : 1;
    const nct_command *all = nct_commands(&n_commands);
    for (size_t i = 0; i < n_commands && dashes == dashed; i++) {
        const nct_option *other = nct_option_find(all[i].bit, bare);
        if (other && other->kind != NCT_KIND_REFUSED)
            return nct_say_error(cli, NCT_EXIT_USAGE,
                                 "%.*s is not a flag of %s\nit belongs to %s\ntry: noctule %s --help",
                                 (int)(dashes + n), typed, of, all[i].name, of);
    }
    const char *names[NCT_OPTIONS_MAX];
    size_t n_names = 0;
    for (size_t i = 0; i < nct_n_options; i++)
        if (nct_option_table[i].commands & command && nct_option_table[i].name &&
            nct_option_table[i].kind != NCT_KIND_NOOP)
            names[n_names++] = nct_option_table[i].name;
    const char *near = nct_nearest(bare, names, n_names);
    if (dashes == 1 && find_long(command, bare, strlen(bare)))
        near = find_long(command, bare, strlen(bare))->name;
    if (dashes == 2 && find_short(command, bare, strlen(bare)))
        return nct_say_error(cli, NCT_EXIT_USAGE,
                             "unknown flag %s\ntry: -%s    (noctule %s --help lists all)", typed, bare, of);
    if (near)
        return nct_say_error(cli, NCT_EXIT_USAGE,
                             "unknown flag %s\ntry: --%s    (noctule %s --help lists all)", typed, near, of);
    return nct_say_error(cli, NCT_EXIT_USAGE, "unknown flag %s\ntry: noctule %s --help", typed, of);
}

/* ------------------------------------------------------------------ parsing */

typedef struct typed {
    const nct_option *option; /* NULL: unknown */
    const char *value;        /* what stands in the same argument after = or the letter, or NULL */
    size_t level;             /* times a LEVEL was given at once */
} typed;

/* What an argument that begins with a dash means. */
static typed read_flag(uint64_t command, const char *argument) {
    typed t = {.level = 1};
    if (argument[1] == '-') {
        size_t n = strcspn(argument + 2, "=");
        t.option = find_long(command, argument + 2, n);
        if (t.option && argument[2 + n])
            t.value = argument + 2 + n + 1;
        return t;
    }
    size_t n = strlen(argument + 1);
    if ((t.option = find_short(command, argument + 1, n)))
        return t;
    const nct_option *letter = find_short(command, argument + 1, 1);
    if (!letter)
        return t;
    if (letter->kind == NCT_KIND_LEVEL && strspn(argument + 1, (char[]){argument[1], 0}) == n) {
        t.option = letter;
        t.level = n;
    } else if ((letter->kind == NCT_KIND_COUNT && isdigit((unsigned char)argument[2])) ||
               (letter->kind == NCT_KIND_LIST && !letter->name)) { /* -n100, -Xexact=1 */
        t.option = letter;
        t.value = argument + 2;
    }
    return t;
}

static bool takes_value(const nct_option *o) {
    return o->kind != NCT_KIND_FLAG && o->kind != NCT_KIND_LEVEL && o->kind != NCT_KIND_PRESET &&
           o->kind != NCT_KIND_NOOP && o->kind != NCT_KIND_REFUSED;
}

/* llama.cpp's -fa may be followed by a word. */
static bool is_noop_value(const nct_option *o, const char *next) {
    bool ignored;
    return o->kind == NCT_KIND_NOOP && strcmp(o->name, "flash-attn") == 0 && next &&
           (parse_flag(next, &ignored) || strcmp(next, "auto") == 0);
}

/* Indices of the first two words that are no options and no values; -1 where there are fewer. */
static void find_words(int argc, char **argv, int word[2]) {
    int n = 0;
    word[0] = word[1] = -1;
    for (int i = 1; i < argc && n < 2; i++) {
        if (strcmp(argv[i], "--") == 0)
            return;
        if (argv[i][0] != '-' || !argv[i][1]) {
            word[n++] = i;
            continue;
        }
        typed t = read_flag(NCT_CMD_ANY, argv[i]);
        if (t.option && !t.value &&
            (takes_value(t.option) || is_noop_value(t.option, i + 1 < argc ? argv[i + 1] : NULL)))
            i++;
    }
}

/* Finds the command; *skip are the arguments that name it. */
static int find_command(nct_cli *cli, char **argv, int word[2], int skip[2]) {
    size_t n;
    const nct_command *all = nct_commands(&n);
    skip[0] = skip[1] = -1;
    if (word[0] < 0)
        return NCT_EXIT_OK;
    const char *first = argv[word[0]], *second = word[1] < 0 ? NULL : argv[word[1]];
    for (size_t i = 0; i < n; i++) {
        size_t length = strcspn(all[i].name, " ");
        if (strlen(first) != length || memcmp(first, all[i].name, length) != 0)
            continue;
        if (!all[i].name[length] || (second && strcmp(second, all[i].name + length + 1) == 0)) {
            cli->command = &all[i];
            skip[0] = word[0];
            skip[1] = all[i].name[length] ? word[1] : -1;
            return NCT_EXIT_OK;
        }
    }
    if (!strpbrk(first, " \t\n") &&
        word[1] < 0) { /* one bare word is a mistyped command rather than a prompt */
        const char *names[96];
        size_t n_names = 0;
        for (size_t i = 0; i < n && n_names < 96; i++)
            names[n_names++] = all[i].name;
        const char *near = nct_nearest(first, names, n_names);
        return nct_say_error(cli, NCT_EXIT_USAGE,
                             "no command '%s'\ntry: noctule %s\n     noctule run \"%s\"    (as a prompt)",
                             first, near ? near : "help", first);
    }
    return NCT_EXIT_OK;
}

static int set_or_complain(nct_cli *cli, const nct_option *o, const char *text, nct_origin origin,
                           const char *where) {
    char complaint[256];
    const char *wrong = nct_option_set(&cli->args, o, text, origin, complaint);
    if (!wrong)
        return NCT_EXIT_OK;
    return nct_say_error(cli, NCT_EXIT_USAGE, "%s%s%s\ntry: noctule %s --help", wrong, where ? ", from " : "",
                         where ? where : "", cli->command ? cli->command->name : "run");
}

static int read_environment(nct_cli *cli, uint64_t command) {
    for (size_t i = 0; i < nct_n_options; i++) {
        const nct_option *o = &nct_option_table[i];
        if (!(o->commands & command) || o->kind == NCT_KIND_NOOP || o->kind == NCT_KIND_REFUSED ||
            o->offset == offsetof(nct_args, help))
            continue;
        char variable[64];
        nct_option_variable(o, variable, sizeof variable);
        const char *text = getenv(variable);
        if (!text || !*text)
            continue;
        int code = set_or_complain(cli, o, text, NCT_FROM_ENVIRONMENT, variable);
        if (code != NCT_EXIT_OK)
            return code;
    }
    return NCT_EXIT_OK;
}

/* A flag given on the command line replaces what the environment listed. */
static void forget_environment(nct_args *args, const nct_option *o) {
    if (o->kind == NCT_KIND_LIST && args->origin[o - nct_option_table] == NCT_FROM_ENVIRONMENT)
        ((nct_list *)field_of(args, o))->n = 0;
}

static int read_arguments(nct_cli *cli, uint64_t command, int argc, char **argv, const int skip[2]) {
    bool flags = true;
    for (int i = 1; i < argc; i++) {
        char *argument = argv[i];
        if (i == skip[0] || i == skip[1])
            continue;
        if (flags && strcmp(argument, "--") == 0) {
            flags = false;
            continue;
        }
        if (!flags || argument[0] != '-' || !argument[1]) {
            if (!nct_list_add(&cli->args.words, argument))
                return nct_say_error(cli, NCT_EXIT_FAILURE, "out of memory");
            continue;
        }
        typed t = read_flag(command, argument);
        if (!t.option)
            return refuse_unknown(cli, command, argument);
        if (t.option->kind == NCT_KIND_REFUSED)
            return nct_say_error(cli, NCT_EXIT_USAGE, "%s", t.option->words);
        if (t.option->kind == NCT_KIND_NOOP) {
            if (!nct_list_add(&cli->args.noops, argument))
                return nct_say_error(cli, NCT_EXIT_FAILURE, "out of memory");
            if (is_noop_value(t.option, i + 1 < argc ? argv[i + 1] : NULL))
                i++;
            continue;
        }
        if (takes_value(t.option) && !t.value) {
            char *next = i + 1 < argc ? argv[i + 1] : NULL;
            if (!next)
                return nct_say_error(cli, NCT_EXIT_USAGE,
                                     "%s wants %s after it, and nothing follows\ntry: noctule %s --help",
                                     argument, t.option->value, cli->command ? cli->command->name : "run");
            if (next[0] == '-' && next[1] && read_flag(command, next).option)
                return nct_say_error(
                    cli, NCT_EXIT_USAGE,
                    "%s wants %s after it, and the flag %s follows\ntry: --%s=%s    (if that is meant)",
                    argument, t.option->value, next, t.option->name ? t.option->name : t.option->shorts,
                    next);
            t.value = next;
            i++;
        }
        forget_environment(&cli->args, t.option);
        for (size_t k = 0; k < t.level; k++) {
            int code = set_or_complain(cli, t.option, t.value, NCT_FROM_FLAG, NULL);
            if (code != NCT_EXIT_OK)
                return code;
        }
    }
    return NCT_EXIT_OK;
}

static void unset_all(nct_args *args) {
    for (size_t i = 0; i < nct_n_options; i++) {
        const nct_option *o = &nct_option_table[i];
        if (o->kind == NCT_KIND_COUNT || o->kind == NCT_KIND_CHOICE)
            *(int64_t *)field_of(args, o) = NCT_UNSET;
        else if (o->kind == NCT_KIND_REAL || o->kind == NCT_KIND_TIME)
            *(double *)field_of(args, o) = NAN;
    }
}

int nct_args_parse(nct_cli *cli, int argc, char **argv) {
    void *p = NULL;
    if (nct_alloc(&p, nct_n_options, 1, NULL) != NCT_OK)
        return nct_say_error(cli, NCT_EXIT_FAILURE, "out of memory");
    cli->args.origin = p;
    unset_all(&cli->args);
    for (int i = 1; i < argc; i++) /* errors of the command line itself take this form too */
        if (strcmp(argv[i], "--error-format=json") == 0 ||
            (strcmp(argv[i], "--error-format") == 0 && i + 1 < argc && strcmp(argv[i + 1], "json") == 0))
            cli->args.error_format = 1;
    int word[2], skip[2];
    find_words(argc, argv, word);
    int code = find_command(cli, argv, word, skip);
    if (code != NCT_EXIT_OK)
        return code;
    uint64_t command = cli->command ? cli->command->bit : NCT_CMD_RUN | NCT_CMD_CHAT;
    if ((code = read_environment(cli, command)) != NCT_EXIT_OK)
        return code;
    return read_arguments(cli, command, argc, argv, skip);
}

void nct_args_close(nct_args *args) {
    for (size_t i = 0; i < nct_n_options; i++)
        if (nct_option_table[i].kind == NCT_KIND_LIST) { /* several options may share a list */
            nct_list *list = field_of(args, &nct_option_table[i]);
            nct_free(list->item);
            *list = (nct_list){0};
        }
    nct_free(args->words.item);
    nct_free(args->noops.item);
    nct_free(args->origin);
}
