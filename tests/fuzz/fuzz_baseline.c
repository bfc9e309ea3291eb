/* The result of an earlier bench. */
#include <math.h>

#include "engine/baseline.h"
#include "text_checks.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    nct_baseline b = {0};
    nct_error err = {0};
    nct_status status = nct_baseline_parse("fuzz", (const char *)data, size, &b, &err);
    if (status == NCT_OK) {
        check(b.n_rows > 0);
        for (size_t i = 0; i < b.n_rows; i++) {
            check(isfinite(b.row[i].rate) && b.row[i].rate > 0);
            check(nct_baseline_find(&b, &b.row[i], false) == &b.row[i]);
        }
        check(!nct_baseline_find(&b, &(nct_baseline_row){.np = 1}, true));
    } else {
        check(status == NCT_E_FORMAT && err.text[0] && !b.row);
    }
    nct_baseline_reset(&b);
    return 0;
}
