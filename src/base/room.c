#define _GNU_SOURCE
#include "base/room.h"

#include <stdio.h>
#include <string.h>

#include "base/group.h"

/* "Key:   123 kB", in bytes; `without` if it is not there. */
static uint64_t line_of(const char *path, const char *key, uint64_t without) {
    char line[256];
    unsigned long long kb;
    size_t n = strlen(key);
    FILE *f = fopen(path, "re");
    if (!f)
        return without;
    while (fgets(line, sizeof line, f))
        if (strncmp(line, key, n) == 0 && line[n] == ':' && sscanf(line + n + 1, "%llu", &kb) == 1) {
            fclose(f);
            return (uint64_t)kb * 1024;
        }
    fclose(f);
    return without;
}

/* What the versions call the same things. */
static const struct naming {
    const char *controller, *limit, *usage, *inactive, *active;
} namings[] = {
    {NULL, "memory.max", "memory.current", "inactive_file", "active_file"},
    {"memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file", "total_active_file"},
};

/* Every group around the process limits it; files that are cached in one are let go before it is full. */
static void look_at_groups(const char *root, const struct naming *names, nct_room *room) {
    nct_group group;
    if (!nct_group_find(root, names->controller, &group))
        return;
    do {
        long long limit = 0, usage = 0, unused;
        if (!nct_group_numbers(&group, names->limit, &limit, &unused) || limit < 0 || limit >= 1LL << 60)
            continue; /* "none" is a number near 2^63 in version 1 */
        if (room->limit_bytes == 0 || (uint64_t)limit < room->limit_bytes)
            room->limit_bytes = (uint64_t)limit;
        if (!nct_group_numbers(&group, names->usage, &usage, &unused) || usage < 0)
            continue;
        uint64_t files = nct_group_stat(&group, "memory.stat", names->inactive) +
                         nct_group_stat(&group, "memory.stat", names->active);
        uint64_t held = (uint64_t)usage > files ? (uint64_t)usage - files : 0;
        uint64_t left = (uint64_t)limit > held ? (uint64_t)limit - held : 0;
        room->available_bytes = left < room->available_bytes ? left : room->available_bytes;
    } while (nct_group_leave(&group));
}

void nct_room_find(const char *root, nct_room *room) {
    char path[512];
    snprintf(path, sizeof path, "%s/proc/meminfo", root);
    *room = (nct_room){.total_bytes = line_of(path, "MemTotal", 0),
                       .available_bytes = line_of(path, "MemAvailable", UINT64_MAX)};
    for (size_t i = 0; i < sizeof namings / sizeof *namings; i++)
        look_at_groups(root, &namings[i], room);
}

void nct_use_find(nct_use *use) {
    const char *path = "/proc/self/status";
    *use = (nct_use){.anonymous_bytes = line_of(path, "RssAnon", 0),
                     .mapped_bytes = line_of(path, "RssFile", 0)};
}
