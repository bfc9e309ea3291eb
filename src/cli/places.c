#include "cli/places.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/map.h"

bool nct_place_path(nct_place place, const char *below, char *buf, size_t n_buf) {
    static const struct {
        const char *variable, *home;
    } places[] = {[NCT_PLACE_CONFIG] = {"XDG_CONFIG_HOME", "/.config"},
                  [NCT_PLACE_DATA] = {"XDG_DATA_HOME", "/.local/share"},
                  [NCT_PLACE_STATE] = {"XDG_STATE_HOME", "/.local/state"},
                  [NCT_PLACE_CACHE] = {"XDG_CACHE_HOME", "/.cache"}};
    const char *root = getenv(places[place].variable), *in_home = "";
    if (!root || *root != '/') {
        root = getenv("HOME");
        in_home = places[place].home;
    }
    if (!root || *root != '/')
        return false;
    int n = snprintf(buf, n_buf, "%s%s/noctule%s%s", root, in_home, *below ? "/" : "", below);
    return n > 0 && (size_t)n < n_buf;
}

bool nct_make_folders(const char *path, bool last) {
    char folder[PATH_MAX];
    int why = ENAMETOOLONG;
    if (snprintf(folder, sizeof folder, "%s", path) >= (int)sizeof folder) {
        errno = why;
        return false;
    }
    for (char *end = strchr(folder + 1, '/'); end; end = strchr(end + 1, '/')) {
        *end = 0;
        if (mkdir(folder, 0700) != 0 && errno != EEXIST) /* seen at the last one */
            why = errno;
        *end = '/';
    }
    if (!last)
        *strrchr(folder, '/') = 0;
    else if (mkdir(folder, 0700) != 0)
        why = errno;
    if (nct_is_directory(folder))
        return true;
    errno = why;
    return false;
}
