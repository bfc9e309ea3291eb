#define _GNU_SOURCE
#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/support.h"

extern char **environ;

enum { MAX_ARGUMENTS = 64 };

/* stdin, stdout and stderr are files in a folder of the run's own: no pipe to fill, no order to keep. */
void nct_test_run_open(nct_test_run *run, const char *input, const char *const *arguments) {
    const char *folder = nct_test_folder();
    const char *in = input ? nct_test_path("%s/in", folder) : "/dev/null";
    const char *out = nct_test_path("%s/out", folder), *err = nct_test_path("%s/err", folder);
    if (input)
        nct_test_write(in, input, strlen(input));

    char *argv[MAX_ARGUMENTS + 2] = {(char *)(uintptr_t)NCT_PROGRAM};
    for (size_t i = 0; arguments[i]; i++) {
        assert_true(i < MAX_ARGUMENTS);
        argv[i + 1] = (char *)(uintptr_t)arguments[i];
    }
    setenv("NOCTULE_CACHE", "off", 0); /* what is read here is kept for nobody */
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, in, O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, out, O_WRONLY | O_CREAT, 0600);
    posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, err, O_WRONLY | O_CREAT, 0600);
    pid_t child;
    if (posix_spawn(&child, NCT_PROGRAM, &actions, NULL, argv, environ) != 0)
        fail_msg("%s: could not be started", NCT_PROGRAM);
    posix_spawn_file_actions_destroy(&actions);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);

    *run = (nct_test_run){.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status)};
    run->out = nct_test_read(out, &run->n_out);
    run->err = nct_test_read(err, &run->n_err);
    nct_test_folder_remove(folder);
}

void nct_test_run_close(nct_test_run *run) {
    nct_free(run->out);
    nct_free(run->err);
    *run = (nct_test_run){0};
}
