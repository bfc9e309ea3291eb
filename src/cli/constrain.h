/** --choice, --json-mode, --schema and --grammar: from flags to a constraint. */
#ifndef NCT_CLI_CONSTRAIN_H
#define NCT_CLI_CONSTRAIN_H

#include "base/bytes.h"
#include "cli/cli.h"

/** Before the model is loaded: at most one of them, and nothing that contradicts it. Returns an nct_exit. */
int nct_constraint_check(const nct_cli *cli);

/** The constraint that the flags ask for, NULL if none. It knows the biases of `sampling`. The caller closes it before
 *  the engine. Returns an nct_exit. */
int nct_take_constraint(const nct_cli *cli, nct_engine *engine, const nct_sampling *sampling,
                        nct_constraint **constraint);

/** What the flags ask for as text, their files read: the same for the same answers. Returns an nct_exit. */
int nct_constraint_text(const nct_cli *cli, nct_bytes *text);

#endif
