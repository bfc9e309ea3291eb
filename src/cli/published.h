/** Models that are published, by the names people use. */
#ifndef NCT_CLI_PUBLISHED_H
#define NCT_CLI_PUBLISHED_H

#include <stddef.h>

typedef struct nct_published {
    const char *name;
    const char *repository; /* on the hub */
    const char *file;       /* of several GGUF files the one whose name holds this; NULL: all that a checkpoint needs */
    const char *what;       /* for people */
} nct_published;

const nct_published *nct_published_models(size_t *n);

#endif
