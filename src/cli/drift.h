/** The check that a conversion ends with. */
#ifndef NCT_CLI_DRIFT_H
#define NCT_CLI_DRIFT_H

#include "cli/cli.h"

/** Opens the bundle as a run would and says in one line how far it is from its own reference logits.
 *  NCT_EXIT_CHECK beyond NCT_DRIFT_MOST. */
int nct_drift_check(const nct_cli *cli, const char *path);

#endif
