/** Where a user's files are, by the XDG base directory specification: below $XDG_CONFIG_HOME, $XDG_DATA_HOME,
 *  $XDG_STATE_HOME and $XDG_CACHE_HOME where these are absolute paths, else below ~/.config, ~/.local/share,
 *  ~/.local/state and ~/.cache. */
#ifndef NCT_CLI_PLACES_H
#define NCT_CLI_PLACES_H

#include <stdbool.h>
#include <stddef.h>

typedef enum nct_place { NCT_PLACE_CONFIG, NCT_PLACE_DATA, NCT_PLACE_STATE, NCT_PLACE_CACHE } nct_place;

/** The path of `below` in the place's folder noctule, or of that folder if below is "". False if neither the variable
 *  nor HOME is an absolute path, or if buf is too small. */
bool nct_place_path(nct_place place, const char *below, char *buf, size_t n_buf);

/** Makes the folders above a path, and the path itself if `last`, for their owner only. False with errno if they are
 *  not there then. */
bool nct_make_folders(const char *path, bool last);

#endif
