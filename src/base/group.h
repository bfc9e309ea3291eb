/** The control groups that this process is in, version 1 and 2: a folder of small files, and one around it up to where
 *  the hierarchy is mounted. Every one of them limits.
 *
 *  `root` stands before /proc and /sys; "" is the system's own, tests make up others.
 */
#ifndef NCT_BASE_GROUP_H
#define NCT_BASE_GROUP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct nct_group {
    char folder[1024];
    size_t n_mount; /* bytes of it that name the mount */
} nct_group;

/** The innermost group of the unified hierarchy (controller NULL), or of a controller of version 1. False if the
 *  process is in none. */
bool nct_group_find(const char *root, const char *controller, nct_group *group);

/** To the group around this one; false if there is none. */
bool nct_group_leave(nct_group *group);

/** The first two numbers of a file; "max" reads as -1, a second number that is not there leaves *second. False if it
 *  cannot be read. */
bool nct_group_numbers(const nct_group *group, const char *file, long long *first, long long *second);

/** The number behind a key in a file of lines "key number"; 0 if there is none. */
uint64_t nct_group_stat(const nct_group *group, const char *file, const char *key);

#endif
