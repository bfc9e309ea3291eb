/** A text written in the user's own editor: $VISUAL, $EDITOR, else vi, on a file that only they can read. */
#ifndef NCT_CLI_COMPOSE_H
#define NCT_CLI_COMPOSE_H

#include "cli/cli.h"

/** Hands *text to the editor and takes what it wrote. False if there is none or it failed, which is said. */
bool nct_compose(const nct_cli *cli, nct_bytes *text);

#endif
