#include "cli/history.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/map.h"

static const char first_line[] = "_HiStOrY_V2_\n";

static nct_status encode(const char *text, nct_bytes *line) {
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        if (c > 0x20 && c < 0x7f && c != '\\')
            NCT_TRY(nct_bytes_add(line, text, 1, NULL));
        else
            NCT_TRY(nct_bytes_printf(line, NULL, "\\%03o", c));
    }
    return nct_bytes_add(line, "\n", 1, NULL);
}

void nct_history_add(const char *path, const char *text) {
    nct_bytes line = {0};
    struct stat what;
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NONBLOCK, 0600);
    if (fd >= 0 && flock(fd, LOCK_EX) == 0 && fstat(fd, &what) == 0 && S_ISREG(what.st_mode) &&
        (what.st_size > 0 || nct_bytes_add(&line, first_line, sizeof first_line - 1, NULL) == NCT_OK) &&
        encode(text, &line) == NCT_OK) {
        ssize_t n = write(fd, line.data, line.n);
        (void)n; /* a history with a gap is one still */
    }
    if (fd >= 0)
        close(fd);
    nct_bytes_reset(&line);
}

size_t nct_history_count(const char *path) {
    nct_map map = {0};
    size_t n = 0;
    if (nct_map_open(path, &map, NULL) != NCT_OK)
        return 0;
    for (size_t i = 0; i < map.n_bytes; i++)
        n += map.data[i] == '\n';
    nct_map_close(&map);
    return n ? n - 1 : 0;
}
