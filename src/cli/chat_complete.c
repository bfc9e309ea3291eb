/* What Tab makes of a word in a chat: commands, settings, paths, names of sessions. */
#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/map.h"
#include "cli/slash.h"

static void add(nct_list *list, const char *before, const char *text, const char *behind) {
    nct_bytes word = {0};
    if (nct_bytes_printf(&word, NULL, "%s%s%s", before, text, behind) != NCT_OK ||
        !nct_list_add(list, word.data))
        nct_bytes_reset(&word);
}

static bool begins(const char *text, const char *with) { return strncmp(text, with, strlen(with)) == 0; }

static int by_name(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* What /file takes a backslash before, as a shell does. */
static bool is_escaped(char c) { return strchr(" \t\\\"'", c) != NULL; }

/* The text as it is to be typed. */
static void escape(const char *text, char *buf, size_t n_buf) {
    size_t n = 0;
    for (; *text && n + 2 < n_buf; text++) {
        if (is_escaped(*text))
            buf[n++] = '\\';
        buf[n++] = *text;
    }
    buf[n] = 0;
}

/* A typed text without its backslashes; false if it is written otherwise than escape() does, in quotes for example. */
static bool unescape(const char *typed, char *buf, size_t n_buf) {
    size_t n = 0;
    for (; *typed && n + 1 < n_buf; typed++) {
        if (is_escaped(*typed) != (*typed == '\\') ||
            (*typed == '\\' && (!typed[1] || !is_escaped(typed[1]))))
            return false;
        if (*typed == '\\')
            typed++;
        buf[n++] = *typed;
    }
    buf[n] = 0;
    return !*typed;
}

/* Entries of the folder that the word names so far. What /export takes is the rest of the line, as it stands. */
static void complete_path(const char *word, bool escaped, nct_list *list) {
    const char *slash = strrchr(word, '/'), *name = slash ? slash + 1 : word;
    char typed[PATH_MAX], folder[PATH_MAX], path[PATH_MAX], begun[PATH_MAX], shown[2 * NAME_MAX + 3];
    int n = slash ? (int)(slash - word) + 1 : 0;
    if (n >= (int)sizeof typed || strlen(name) >= sizeof begun)
        return;
    snprintf(typed, sizeof typed, "%.*s", n, word);
    snprintf(folder, sizeof folder, "%s", typed);
    snprintf(begun, sizeof begun, "%s", name);
    if (escaped && (!unescape(typed, folder, sizeof folder) || !unescape(name, begun, sizeof begun)))
        return;
    DIR *dir = opendir(n ? folder : ".");
    if (!dir)
        return;
    for (struct dirent *entry; (entry = readdir(dir));) {
        if (!begins(entry->d_name, begun) || (entry->d_name[0] == '.' && *begun != '.') ||
            strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        bool is_folder =
            nct_path_join(path, sizeof path, n ? folder : ".", entry->d_name) && nct_is_directory(path);
        if (escaped)
            escape(entry->d_name, shown, sizeof shown);
        add(list, typed, escaped ? shown : entry->d_name, is_folder ? "/" : "");
    }
    closedir(dir);
}

static void complete_session(const nct_chat *c, const char *word, nct_list *list) {
    nct_kept_line *line;
    size_t n;
    if (nct_kept_list(c->cli, &line, &n) == NCT_EXIT_OK)
        for (size_t i = 0; i < n; i++)
            if (begins(line[i].name, word))
                add(list, "", line[i].name, "");
    nct_kept_list_close(line, n);
}

void nct_chat_complete(void *chat, const char *line, size_t *begin, nct_list *list) {
    const nct_chat *c = chat;
    size_t n = strlen(line), command = strcspn(line, " \t"), n_names;
    const char *word = line + n;
    if (line[0] != '/')
        return;
    char name[32];
    snprintf(name, sizeof name, "%.*s", (int)(command - 1), line + 1);
    bool takes_line = strcmp(name, "export") == 0;
    if (takes_line && command < n)
        word = line + command + strspn(line + command, " \t");
    else
        while (word > line &&
               ((word[-1] != ' ' && word[-1] != '\t') || (word - line > 1 && word[-2] == '\\')))
            word--;
    *begin = (size_t)(word - line);
    if (word == line || strcmp(name, "help") == 0) {
        const nct_slash *all = nct_slashes(&n_names);
        for (size_t i = 0; i < n_names; i++)
            if (begins(all[i].name, word + (word == line)))
                add(list, word == line ? "/" : "", all[i].name, "");
    } else if (strcmp(name, "set") == 0) {
        const char *const *keys = nct_settable(&n_names);
        for (size_t i = 0; i < n_names; i++)
            if (begins(keys[i], word))
                add(list, "", keys[i], "");
    } else if (strcmp(name, "load") == 0) {
        complete_session(c, word, list);
    } else if (strcmp(name, "file") == 0 || strcmp(name, "read") == 0 || takes_line) {
        complete_path(word, !takes_line, list);
    } else if (strcmp(name, "copy") == 0 && begins("code", word)) {
        add(list, "", "code", "");
    }
    if (list->n)
        qsort(list->item, list->n, sizeof *list->item, by_name);
}
