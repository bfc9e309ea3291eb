#include "spec/drafter.h"

#include <stdio.h>
#include <string.h>

static const nct_drafter *const drafters[] = {
    &nct_drafter_eagle,
    &nct_drafter_eagle3,
    &nct_drafter_ngram,
    &nct_drafter_model,
    &nct_drafter_replay,
};

enum { N_DRAFTERS = sizeof drafters / sizeof *drafters };

const nct_drafter *nct_drafter_at(size_t i) { return i < N_DRAFTERS ? drafters[i] : NULL; }

nct_status nct_drafter_find(const char *name, const nct_drafter **drafter, nct_error *err) {
    if (strcmp(name, "off") == 0) {
        *drafter = NULL;
        return NCT_OK;
    }
    for (size_t i = 0; i < N_DRAFTERS; i++)
        if (strcmp(drafters[i]->name, name) == 0) {
            *drafter = drafters[i];
            return NCT_OK;
        }
    char known[256] = "off";
    for (size_t i = 0, n = strlen(known); i < N_DRAFTERS && n < sizeof known; i++)
        n += (size_t)snprintf(known + n, sizeof known - n, ", %s", drafters[i]->name);
    return nct_fail(err, NCT_E_ARGUMENT, "there is no drafter '%s'; there are %s", name, known);
}
