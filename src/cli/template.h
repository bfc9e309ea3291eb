/** Saved prompts (-T): a text with holes. {{input}} takes what the prompt would be without it, files, stdin and the
 *  instruction; a template without that hole is the instruction. {{file}} is the path of the first file, {{lang}} what
 *  --lang says. */
#ifndef NCT_CLI_TEMPLATE_H
#define NCT_CLI_TEMPLATE_H

#include "cli/input.h"

/** Reads the template of -T: a path, or a name in $XDG_CONFIG_HOME/noctule/templates (NAME or NAME.txt) or under "templates" in the configuration. What is none,
 *  or has holes of other names, is exit 2. */
int nct_template_read(const nct_cli *cli, nct_bytes *text);

/** Puts the prompt into the template; its parts stay what they are, what is around them is instruction. `file`: for the
 *  hole of that name. */
int nct_template_fill(const nct_cli *cli, const nct_bytes *text, const char *file, nct_prompt *prompt);

#endif
