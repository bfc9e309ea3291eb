#define _GNU_SOURCE
#include "cli/processors.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

/* The next number, and whatever it ends at; false where there is none, or no processor that could be. */
static bool take_number(const char **at, long *number) {
    char *end;
    if (**at < '0' || **at > '9')
        return false;
    errno = 0;
    *number = strtol(*at, &end, 10);
    *at = end;
    return errno == 0 && *number < CPU_SETSIZE;
}

/* False if the text is no list; else *set, and in *missing the first one that may not be used, or -1. */
static bool take_list(const char *at, const cpu_set_t *allowed, cpu_set_t *set, long *missing) {
    CPU_ZERO(set);
    *missing = -1;
    for (;;) {
        long first, last;
        if (!take_number(&at, &first))
            return false;
        last = first;
        if (*at == '-' && (at++, !take_number(&at, &last) || last < first))
            return false;
        for (long i = first; i <= last; i++) {
            if (!CPU_ISSET((size_t)i, allowed) && *missing < 0)
                *missing = i;
            CPU_SET((size_t)i, set);
        }
        if (*at == 0)
            return true;
        if (*at++ != ',')
            return false;
    }
}

int nct_use_processors(const nct_cli *cli, const char *list) {
    cpu_set_t allowed, set;
    long missing;
    if (sched_getaffinity(0, sizeof allowed, &allowed) != 0)
        return nct_say_error(cli, NCT_EXIT_FAILURE, "--cpus: %s", strerror(errno));
    if (!take_list(list, &allowed, &set, &missing))
        return nct_say_error(cli, NCT_EXIT_USAGE, "--cpus wants processors such as 0-3,8, got '%s'", list);
    if (missing >= 0)
        return nct_say_error(cli, NCT_EXIT_USAGE, "--cpus: this process may not use processor %ld", missing);
    if (sched_setaffinity(0, sizeof set, &set) != 0)
        return nct_say_error(cli, NCT_EXIT_FAILURE, "--cpus: %s", strerror(errno));
    return NCT_EXIT_OK;
}
