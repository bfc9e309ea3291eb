/** Settings from files: $XDG_CONFIG_HOME/noctule/config.json, and .nct.json in the current folder. JSON with comments;
 *  keys are the flags' long names. They fill what neither flags nor the environment set, so the order is: flags,
 *  environment, profile, project, user, the model's own, built-in. */
#ifndef NCT_CLI_SETTINGS_H
#define NCT_CLI_SETTINGS_H

#include "cli/cli.h"

typedef struct nct_settings nct_settings;

/** Reads the files and fills cli->args with what they say for the command; cli->settings holds them until
 *  nct_settings_close, for the texts are theirs. Complaints are printed: one, exit 2. */
int nct_settings_apply(nct_cli *cli);
void nct_settings_close(nct_cli *cli);

/** The text of a template under "templates", the project's before the user's: borrowed, NULL if there is none. */
const char *nct_settings_template(const nct_cli *cli, const char *name);

/** Reads the files into cli->settings without filling anything in. */
int nct_settings_open(nct_cli *cli);

/** What is set for a key ("temp", "cache.max", "templates.commit"), and by whom: NCT_FROM_NOWHERE if by nobody.
 *  Appends the value to `value` as JSON. *where is the variable or the file. */
nct_origin nct_settings_find(const nct_cli *cli, const char *key, nct_bytes *value, const char **where);

/** Calls fn for every knob ("cache.max"), template and profile's member that a file sets, each once. */
typedef void nct_settings_key_fn(void *context, const char *key);
void nct_settings_each(const nct_cli *cli, nct_settings_key_fn *fn, void *context);

/** Path of the user's file. False if there is no place for it. */
bool nct_settings_path(char *buf, size_t n);

/** Whether a text may be the value of a key of these files, which may be "a.b"; else the complaint. *json gets it as
 *  JSON. */
const char *nct_settings_check(const char *key, const char *text, nct_bytes *json, char complaint[256]);

#endif
