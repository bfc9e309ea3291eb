#include "kernel/kernel.h"
#include "support/support.h"

enum { SKIPPED = 77 };

const char *nct_test_isa(void) {
    const char *isa = getenv("NOCTULE_ISA");
    return isa && *isa ? isa : NULL;
}

__attribute__((constructor)) static void skip_what_the_processor_lacks(void) {
    nct_kernels kernels;
    nct_error err;
    nct_status status = nct_kernels_pick(nct_test_isa(), &kernels, &err);
    if (status == NCT_OK)
        return;
    fprintf(stderr, "%s: %s\n", status == NCT_E_UNSUPPORTED ? "skipped" : "NOCTULE_ISA", err.text);
    exit(status == NCT_E_UNSUPPORTED ? SKIPPED : EXIT_FAILURE);
}
