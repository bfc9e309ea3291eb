/** What is made from the tables of commands, options and topics besides --help: `help --json`, manual pages and the
 *  shells' completions. What one of them lists, all list. */
#ifndef NCT_CLI_REFERENCE_H
#define NCT_CLI_REFERENCE_H

#include "cli/cli.h"

/** A page of help that belongs to no command. */
typedef struct nct_topic {
    const char *name, *summary, *text;
} nct_topic;

/** All of them; in help.c. */
const nct_topic *nct_topics(size_t *n);

/** Everything as one JSON object on stdout: commands, flags, topics, one a line. Returns an nct_exit. */
int nct_reference_json(const nct_cli *cli);

/** A manual page in man(7)'s macros on stdout: of a command, of a topic, or (both NULL) of the program. */
int nct_reference_man(const nct_cli *cli, const nct_command *command, const nct_topic *topic);

/** True if the command's --help lists the option. */
static inline bool nct_option_is_listed(const nct_option *o, uint64_t command) {
    return o->commands & command && o->help;
}
/** True if a value follows it. */
static inline bool nct_option_takes_value(const nct_option *o) {
    return o->kind != NCT_KIND_FLAG && o->kind != NCT_KIND_LEVEL && o->kind != NCT_KIND_PRESET &&
           o->kind != NCT_KIND_NOOP && o->kind != NCT_KIND_REFUSED;
}

#endif
