/* What Tab makes of a word in a chat: commands, settings, paths, names of sessions. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/map.h"
#include "cli/slash.h"

static void add(nct_list *list, const char *before, const char *text, const char *behind) {
    nct_bytes word = {0};
    if (nct_bytes_printf(&word, NULL, "%s%s%s", before, text, behind) != NCT_OK || !nct_list_add(list, word.data))
        nct_bytes_reset(&word);
}

static bool begins(const char *text, const char *with) { return strncmp(text, with, strlen(with)) == 0; }

static int by_name(const void *a, const void *b) { return strcmp(*(const char *const *)a, *(const char *const *)b); }

/* Entries of the folder that the word names so far. */
static void complete_path(const char *word, nct_list *list) {
    const char *slash = strrchr(word, '/'), *name = slash ? slash + 1 : word;
    char folder[PATH_MAX], path[PATH_MAX];
    int n = slash ? (int)(slash - word) + 1 : 0;
    if (n >= (int)sizeof folder)
        return;
    snprintf(folder, sizeof folder, "%.*s", n, word);
    DIR *dir = opendir(n ? folder : ".");
    if (!dir)
        return;
    for (struct dirent *entry; (entry = readdir(dir));) {
        if (!begins(entry->d_name, name) || (entry->d_name[0] == '.' && *name != '.') ||
            strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 || strchr(entry->d_name, ' '))
            continue;
        bool is_folder =
            nct_path_join(path, sizeof path, n ? folder : ".", entry->d_name) && nct_is_directory(path);
        add(list, folder, entry->d_name, is_folder ? "/" : "");
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
    while (word > line && word[-1] != ' ' && word[-1] != '\t')
        word--;
    *begin = (size_t)(word - line);
    char name[32];
    snprintf(name, sizeof name, "%.*s", (int)(command - 1), line + 1);
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
    } else if (strcmp(name, "file") == 0 || strcmp(name, "read") == 0 || strcmp(name, "export") == 0) {
        complete_path(word, list);
    } else if (strcmp(name, "copy") == 0 && begins("code", word)) {
        add(list, "", "code", "");
    }
    if (list->n)
        qsort(list->item, list->n, sizeof *list->item, by_name);
}
