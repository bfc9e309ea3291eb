#include "engine/drift.h"

#include <math.h>
#include <string.h>

/* Largest logit, and log of the sum of exponentials; false where a logit is no finite number. */
static bool normalise(const float *z, size_t n, size_t *first, double *log_sum) {
    double sum = 0;
    *first = 0;
    for (size_t i = 0; i < n; i++) {
        if (!isfinite(z[i]))
            return false;
        *first = z[i] > z[*first] ? i : *first;
    }
    for (size_t i = 0; i < n; i++)
        sum += exp((double)z[i] - (double)z[*first]);
    *log_sum = (double)z[*first] + log(sum);
    return true;
}

bool nct_drift_compare(const float *want, const float *got, size_t n, nct_drift *d) {
    size_t first_want, first_got;
    double log_want, log_got, divergence = 0;
    if (!normalise(want, n, &first_want, &log_want) || !normalise(got, n, &first_got, &log_got))
        return false;
    d->largest = 0;
    for (size_t i = 0; i < n; i++) {
        double p = (double)want[i] - log_want, q = (double)got[i] - log_got;
        divergence += exp(p) * (p - q);
        d->largest = fmax(d->largest, fabs((double)want[i] - (double)got[i]));
    }
    d->divergence = fmax(divergence, 0); /* rounding may leave a little less */
    d->same_first = first_want == first_got;
    d->same = memcmp(want, got, n * sizeof *want) == 0;
    return true;
}

nct_status nct_drift_measure(nct_engine *engine, const nct_reference *reference, nct_drift *drift,
                             nct_error *err) {
    nct_model_info info;
    nct_session *session = NULL;
    nct_engine_info(engine, &info);
    if (reference->n_vocab != (size_t)info.n_vocab || reference->n_ids == 0 ||
        reference->n_ids > (size_t)info.max_positions)
        return nct_fail(err, NCT_E_FORMAT,
                        "%s: the reference has %zu ids and %zu logits, the model %d positions and %d words",
                        info.name, reference->n_ids, reference->n_vocab, info.max_positions, info.n_vocab);
    for (size_t i = 0; i < reference->n_ids; i++)
        if (reference->id[i] < 0 || reference->id[i] >= info.n_vocab)
            return nct_fail(err, NCT_E_FORMAT, "%s: reference id %d is outside the vocabulary of %d",
                            info.name, reference->id[i], info.n_vocab);
    nct_session_options options = {.n_ctx = (int)reference->n_ids};
    NCT_TRY(nct_session_open(engine, &options, &session, err));
    nct_status status = nct_session_feed(session, reference->id, reference->n_ids, NULL, err);
    nct_drift d = {.n_ids = reference->n_ids};
    memcpy(d.isa, reference->isa, sizeof d.isa);
    if (status == NCT_OK &&
        !nct_drift_compare(reference->logits, nct_session_logits(session), reference->n_vocab, &d))
        status = nct_fail(err, NCT_E_FORMAT,
                          "%s: a logit of the reference, or one that was computed, is no finite number",
                          info.name);
    if (status == NCT_OK)
        *drift = d;
    nct_session_close(session);
    return status;
}
