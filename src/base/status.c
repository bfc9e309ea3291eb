#include "base/status.h"

#include <stdarg.h>
#include <stdio.h>

nct_status nct_fail(nct_error *err, nct_status status, const char *fmt, ...) {
    if (err) {
        va_list args;
        va_start(args, fmt);
        err->status = status;
        vsnprintf(err->text, sizeof err->text, fmt, args);
        va_end(args);
        /* names from files may hold control characters, which a terminal would obey */
        for (char *c = err->text; *c; c++)
            if ((unsigned char)*c < 0x20 || *c == 0x7f)
                *c = '?';
    }
    return status;
}
