/** Errors: a status code and one sentence. See include/noctule.h for the codes. */
#ifndef NCT_BASE_STATUS_H
#define NCT_BASE_STATUS_H

#include "noctule.h"

#if defined(__GNUC__)
#define NCT_PRINTF(fmt_arg, first_arg) __attribute__((format(printf, fmt_arg, first_arg)))
#else
#define NCT_PRINTF(fmt_arg, first_arg)
#endif

/** Fills err (may be NULL) and returns status. The sentence names the file, the thing, what was
 *  expected and what was found; lower case, no full stop, no newline. */
nct_status nct_fail(nct_error *err, nct_status status, const char *fmt, ...) NCT_PRINTF(3, 4);

/** Forwards a failure to the caller. */
#define NCT_TRY(call)                            \
    do {                                         \
        nct_status try_status_ = (call);         \
        if (try_status_ != NCT_OK)               \
            return try_status_;                  \
    } while (0)

#endif
