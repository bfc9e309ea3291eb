#include "cli/compose.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/input.h"

static const char *find_editor(void) {
    static const char *const names[] = {"VISUAL", "EDITOR"};
    for (size_t i = 0; i < 2; i++) {
        const char *editor = getenv(names[i]);
        if (editor && *editor)
            return editor;
    }
    return "vi";
}

static bool write_all(int fd, const nct_bytes *text) {
    for (size_t done = 0; done < text->n;) {
        ssize_t n = write(fd, text->data + done, text->n - done);
        if (n < 0 && errno != EINTR)
            return false;
        done += n > 0 ? (size_t)n : 0;
    }
    return true;
}

/* The command may hold arguments ("code --wait"), so a shell takes it apart. Ctrl-C is the editor's meanwhile. */
static bool run_editor(const char *editor, const char *path) {
    char command[PATH_MAX];
    if (snprintf(command, sizeof command, "%s \"$1\"", editor) >= (int)sizeof command)
        return false;
    struct sigaction ignore = {.sa_handler = SIG_IGN}, before;
    sigemptyset(&ignore.sa_mask);
    sigaction(SIGINT, &ignore, &before);
    int status = -1;
    pid_t child = fork();
    if (child == 0) {
        signal(SIGINT, SIG_DFL);
        signal(SIGPIPE, SIG_DFL);
        execl("/bin/sh", "sh", "-c", command, "noctule", path, (char *)NULL);
        _exit(127);
    }
    while (child > 0 && waitpid(child, &status, 0) < 0 && errno == EINTR)
        ;
    sigaction(SIGINT, &before, NULL);
    return child > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

bool nct_compose(const nct_cli *cli, nct_bytes *text) {
    char path[PATH_MAX];
    const char *folder = getenv("TMPDIR"), *editor = find_editor();
    if (snprintf(path, sizeof path, "%s/noctule-XXXXXX.md", folder && *folder ? folder : "/tmp") >= (int)sizeof path)
        return false;
    int fd = mkstemps(path, 3);
    if (fd < 0) {
        nct_say_error(cli, NCT_EXIT_FAILURE, "%s cannot be made: %s", path, strerror(errno));
        return false;
    }
    bool good = write_all(fd, text);
    close(fd);
    fflush(NULL);
    if (good && !run_editor(editor, path)) {
        nct_say_error(cli, NCT_EXIT_FAILURE, "the editor '%s' failed\ntry: EDITOR=... noctule chat", editor);
        good = false;
    }
    text->n = 0;
    if (good)
        good = nct_input_read(cli, path, text) == NCT_EXIT_OK;
    unlink(path);
    while (good && text->n && text->data[text->n - 1] == '\n')
        text->data[--text->n] = 0;
    return good;
}
