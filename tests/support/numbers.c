#include <math.h>

#include "base/num.h"
#include "support/support.h"

int nct_test_argmax(const float *row, size_t n) {
    size_t best = 0;
    for (size_t i = 1; i < n; i++)
        if (row[i] > row[best])
            best = i;
    return (int)best;
}

float nct_test_lead(const float *row, size_t n) {
    size_t best = (size_t)nct_test_argmax(row, n);
    float second = -INFINITY;
    for (size_t i = 0; i < n; i++)
        if (i != best && row[i] > second)
            second = row[i];
    return row[best] - second;
}

void nct_test_near(const char *what, const float *a, const float *b, size_t n, double bound) {
    size_t worst = 0;
    double most = -1;
    for (size_t i = 0; i < n; i++) {
        double difference = fabs((double)a[i] - b[i]);
        if (!(difference <= most)) { /* a NaN is worse than anything, and the first one is shown */
            worst = i;
            most = difference;
            if (isnan(difference))
                break;
        }
    }
    if (!(most <= bound) && n)
        fail_msg("%s: value %zu of %zu is %.9g, expected %.9g within %g", what, worst, n, (double)a[worst],
                 (double)b[worst], bound);
}

void nct_test_same_bits(const char *what, const float *a, const float *b, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (nct_bits_from_f32(a[i]) != nct_bits_from_f32(b[i]))
            fail_msg("%s: value %zu of %zu is %.9g (%08x), expected %.9g (%08x)", what, i, n, (double)a[i],
                     nct_bits_from_f32(a[i]), (double)b[i], nct_bits_from_f32(b[i]));
}
