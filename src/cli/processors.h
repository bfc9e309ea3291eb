/** --cpus: which processors the program may use. */
#ifndef NCT_CLI_PROCESSORS_H
#define NCT_CLI_PROCESSORS_H

#include "cli/cli.h"

/** Keeps the process to the processors of a list as the system numbers them, like 0-3,8: of those that it may use now.
 *  Before threads are made and counted. A list that is none, or names others, is exit 2. */
int nct_use_processors(const nct_cli *cli, const char *list);

#endif
