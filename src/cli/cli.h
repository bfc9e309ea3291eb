/** What all commands share: exit codes, the parsed command line, the terminals, and how to speak. stdout
 *  holds the product and nothing else; everything here goes to stderr. */
#ifndef NCT_CLI_CLI_H
#define NCT_CLI_CLI_H

#include <stdio.h>

#include "base/bytes.h"
#include "base/status.h"
#include "cli/args.h"
#include "cli/term.h"

/** Exit codes, stable; `noctule help exit-codes` prints them. */
typedef enum nct_exit {
    NCT_EXIT_OK = 0,
    NCT_EXIT_FAILURE = 1, /* run-time failure: I/O, memory, internal */
    NCT_EXIT_USAGE = 2,   /* flags, no prompt, not a terminal */
    NCT_EXIT_MODEL = 3,   /* missing, damaged, unsupported */
    NCT_EXIT_CONTEXT = 4, /* the input does not fit */
    NCT_EXIT_ITEMS = 5,   /* batch: some items failed */
    NCT_EXIT_LENGTH = 6,  /* --fail-on-length and the answer was cut; a constraint that -n does not suffice for */
    NCT_EXIT_CHECK = 7,   /* a regression, a threshold */
    NCT_EXIT_INTERRUPT = 130,
    NCT_EXIT_PIPE = 141,
    NCT_EXIT_TERMINATE = 143,
} nct_exit;

typedef struct nct_cli {
    nct_args args;
    const nct_command *command; /* NULL: none was named */
    char **argv;                /* as main got it */
    nct_term term;
    FILE *log;      /* of --log-file, or NULL */
    nct_bytes *said; /* errors are added here instead of printed: those of one item of many. NULL: printed */
    struct nct_settings *settings; /* of files (settings.h); NULL where none are read */
    char *error_text; /* [NCT_ERROR_TEXT] if not NULL, takes the text of the last error too */
} nct_cli;

enum { NCT_ERROR_TEXT = 1024 };

/** Opens the file of --log-file, where that is given. It is exit 1 if it cannot be written. */
int nct_log_open(nct_cli *cli);

/** Prints an error of up to a few lines: what, why, what to type. Lines are separated by newlines in the
 *  text; the last ones begin with "try: ". As one JSON object with --error-format json. Returns `code`. */
int nct_say_error(const nct_cli *cli, int code, const char *fmt, ...) NCT_PRINTF(3, 4);

/** A warning: something that was asked for was not done, or data was affected. Silent with -q. */
void nct_say_warning(const nct_cli *cli, const char *fmt, ...) NCT_PRINTF(2, 3);

/** A hint: shown on a terminal or with -v. */
void nct_say_note(const nct_cli *cli, const char *fmt, ...) NCT_PRINTF(2, 3);

/** The same shown everywhere: what the user must know although nobody asked, as that texts are kept. Silent with -q. */
void nct_say_notice(const nct_cli *cli, const char *fmt, ...) NCT_PRINTF(2, 3);

/** One dim line on stderr, without a prefix: statistics, the chat's marks. On a terminal it is cut between words. */
void nct_say_dim(const nct_cli *cli, const char *fmt, ...) NCT_PRINTF(2, 3);

/** Whole lines on stderr as they are, but cut to fit where it is a terminal: what commands of a chat tell. */
void nct_tell(const char *fmt, ...) NCT_PRINTF(1, 2);

/** Turns a library error into an exit code and prints it. */
int nct_say_status(const nct_cli *cli, const nct_error *err);

/** 131072 as "131,072", and bytes for people as "4.4 GB" (powers of 1000), in a buffer of the caller's. The
 *  macros bring one that lives until the end of the block. */
const char *nct_thousands(uint64_t n, char buf[32]);
const char *nct_human_bytes(uint64_t n, char buf[32]);
#define NCT_N(n)     nct_thousands((n), (char[32]){0})
#define NCT_BYTES(n) nct_human_bytes((n), (char[32]){0})

/* The commands. */
int nct_run_main(nct_cli *cli);
int nct_chat_main(nct_cli *cli);
int nct_info_main(nct_cli *cli);
int nct_tokenize_main(nct_cli *cli);
int nct_detokenize_main(nct_cli *cli);
int nct_eval_ppl_main(nct_cli *cli);
int nct_eval_logits_main(nct_cli *cli);
int nct_eval_drift_main(nct_cli *cli);
int nct_eval_lines_main(nct_cli *cli);
int nct_eval_needle_main(nct_cli *cli);
int nct_bench_main(nct_cli *cli);
int nct_bench_mem_main(nct_cli *cli);
int nct_bench_threads_main(nct_cli *cli);
int nct_bench_depth_main(nct_cli *cli);
int nct_bench_spec_main(nct_cli *cli);
int nct_bench_batch_main(nct_cli *cli);
int nct_batch_main(nct_cli *cli);
int nct_convert_main(nct_cli *cli);
int nct_doctor_main(nct_cli *cli);
int nct_freq_main(nct_cli *cli);
int nct_filter_main(nct_cli *cli);
int nct_cache_stat_main(nct_cli *cli);
int nct_cache_list_main(nct_cli *cli);
int nct_cache_prune_main(nct_cli *cli);
int nct_cache_rm_main(nct_cli *cli);
int nct_cache_warm_main(nct_cli *cli);
int nct_completion_main(nct_cli *cli);
int nct_config_main(nct_cli *cli);
int nct_plan_main(nct_cli *cli);
int nct_pull_main(nct_cli *cli);
int nct_eval_selfcheck_main(nct_cli *cli);
int nct_sum_main(nct_cli *cli);
int nct_session_list_main(nct_cli *cli);
int nct_session_show_main(nct_cli *cli);
int nct_session_export_main(nct_cli *cli);
int nct_session_rm_main(nct_cli *cli);
int nct_help_main(nct_cli *cli);
int nct_version_main(nct_cli *cli);

/** The list of commands, or one command's page, on stdout. */
int nct_help_print(const nct_cli *cli, const nct_command *command);

#endif
