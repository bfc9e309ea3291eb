#define _GNU_SOURCE
#include "base/group.h"

#include <stdio.h>
#include <string.h>

/* Whether a comma-separated list has the word. */
static bool lists(const char *list, const char *word) {
    size_t n = strlen(word);
    for (const char *at = list; *at; at += *at == ',') {
        size_t length = strcspn(at, ",");
        if (length == n && memcmp(at, word, n) == 0)
            return true;
        at += length;
    }
    return false;
}

/* A line is "NUMBER:CONTROLLERS:PATH", and "0::PATH" of the unified hierarchy. */
static bool find_path(const char *root, const char *controller, char *path, size_t n_path) {
    char name[512], line[800];
    bool found = false;
    snprintf(name, sizeof name, "%s/proc/self/cgroup", root);
    FILE *f = fopen(name, "re");
    if (!f)
        return false;
    while (!found && fgets(line, sizeof line, f)) {
        line[strcspn(line, "\n")] = 0;
        char *list = strchr(line, ':'), *at = list ? strchr(list + 1, ':') : NULL;
        if (!at)
            continue;
        *at = 0;
        found = controller ? lists(list + 1, controller) : strcmp(line, "0:") == 0;
        if (found && snprintf(path, n_path, "%s", at + 1) >= (int)n_path)
            found = false;
    }
    fclose(f);
    return found;
}

bool nct_group_find(const char *root, const char *controller, nct_group *group) {
    char path[640] = "";
    /* without a list the root of the unified hierarchy may be there all the same */
    if (!find_path(root, controller, path, sizeof path) && controller)
        return false;
    int n = snprintf(group->folder, sizeof group->folder, "%s/sys/fs/cgroup%s%s", root, controller ? "/" : "",
                     controller ? controller : "");
    if (n < 0 || (size_t)n + strlen(path) >= sizeof group->folder)
        return false;
    group->n_mount = (size_t)n;
    if (strcmp(path, "/") != 0)
        memcpy(group->folder + n, path, strlen(path) + 1);
    return true;
}

bool nct_group_leave(nct_group *group) {
    char *slash = strrchr(group->folder + group->n_mount, '/');
    if (slash)
        *slash = 0;
    return slash != NULL;
}

static FILE *open_file(const nct_group *group, const char *file) {
    char path[1100];
    int n = snprintf(path, sizeof path, "%s/%s", group->folder, file);
    return n > 0 && (size_t)n < sizeof path ? fopen(path, "re") : NULL;
}

bool nct_group_numbers(const nct_group *group, const char *file, long long *first, long long *second) {
    FILE *f = open_file(group, file);
    if (!f)
        return false;
    char word[32] = "";
    int n = fscanf(f, "%31s %lld", word, second);
    fclose(f);
    if (n < 1)
        return false;
    if (strcmp(word, "max") == 0)
        *first = -1;
    else if (sscanf(word, "%lld", first) != 1)
        return false;
    return true;
}

uint64_t nct_group_stat(const nct_group *group, const char *file, const char *key) {
    FILE *f = open_file(group, file);
    char word[64];
    unsigned long long value, found = 0;
    if (!f)
        return 0;
    while (!found && fscanf(f, "%63s %llu", word, &value) == 2)
        if (strcmp(word, key) == 0)
            found = value;
    fclose(f);
    return found;
}
