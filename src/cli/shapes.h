/** Shapes of published models, for planning before the download: name and what its config.json states. */
#ifndef NCT_CLI_SHAPES_H
#define NCT_CLI_SHAPES_H

#include <stddef.h>

typedef struct nct_shape {
    const char *name;
    const char *config; /* the text of a config.json */
} nct_shape;

enum { NCT_SHAPES_MOST = 16 };

/** NULL if no shape has the name; case does not matter. */
const nct_shape *nct_shape_find(const char *name);
/** All names; returns how many. */
size_t nct_shape_names(const char *names[NCT_SHAPES_MOST]);

#endif
