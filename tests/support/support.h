/** What tests share: cmocka with the headers it wants, folders that vanish, files, the program, and
 *  comparisons that say where two rows of numbers part. A helper that fails fails the test.
 *
 *  isa.c adds a rule to every test program: where NOCTULE_ISA names a rung that this processor lacks,
 *  the program exits with 77 before main, which ctest counts as skipped.
 */
#ifndef NCT_TEST_SUPPORT_H
#define NCT_TEST_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/json.h"

/** Asserts success; a failure prints the error's sentence. The call names its error `fault`:
 *  NCT_ASSERT_OK(nct_map_open(path, &map, fault)); */
#define NCT_ASSERT_OK(call)                                                                                  \
    do {                                                                                                     \
        nct_error fault_ = {0}, *fault = &fault_;                                                            \
        if ((call) != NCT_OK)                                                                                \
            fail_msg("%s: %s", #call, fault->text);                                                          \
    } while (0)

/** Ends the test as skipped unless the path exists. */
void nct_test_need(const char *path);

/* ------------------------------------------------------------------ files */

/** A path (or another short text) made of pieces. It stays until the program ends. */
const char *nct_test_path(const char *fmt, ...) NCT_PRINTF(1, 2);

/** A new empty folder under TMPDIR or /tmp; nct_test_folder_remove removes it with all it holds. */
const char *nct_test_folder(void);
void nct_test_folder_remove(const char *path);

void nct_test_write(const char *path, const void *data, size_t n);
/** The whole file and a final NUL; freed with nct_free. n may be NULL. */
char *nct_test_read(const char *path, size_t *n);
/** Little-endian float32 values; *n counts values. Freed with nct_free. */
float *nct_test_read_f32(const char *path, size_t *n);

/** An array of JSON numbers; freed with nct_free. */
int32_t *nct_test_ids(const nct_json *array, size_t *n);
double *nct_test_numbers(const nct_json *array, size_t *n);

/* ------------------------------------------------------------------ the program */

typedef struct nct_test_run {
    int code;        /* exit code, or 128 + signal */
    char *out, *err; /* NUL-terminated */
    size_t n_out, n_err;
} nct_test_run;

/** Runs the program with arguments (NULL-terminated, without the program's name) and `input` on stdin
 *  (NULL: /dev/null). Freed with nct_test_run_close. */
void nct_test_run_open(nct_test_run *run, const char *input, const char *const *arguments);
void nct_test_run_close(nct_test_run *run);

/* ------------------------------------------------------------------ numbers */

int nct_test_argmax(const float *row, size_t n);
/** Largest value minus the second largest. */
float nct_test_lead(const float *row, size_t n);
/** Fails unless |a - b| <= bound everywhere (so a NaN fails); says where it is worst. */
void nct_test_near(const char *what, const float *a, const float *b, size_t n, double bound);
/** Fails unless the bits are equal. */
void nct_test_same_bits(const char *what, const float *a, const float *b, size_t n);

/** NOCTULE_ISA, or NULL if it is unset or empty: what options.isa wants. */
const char *nct_test_isa(void);

#endif
