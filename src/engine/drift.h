/** How far a model computes from logits that were kept when its bundle was made: what proves a conversion, a
 *  kernel or an instruction set right in seconds. */
#ifndef NCT_ENGINE_DRIFT_H
#define NCT_ENGINE_DRIFT_H

#include "format/nct.h"
#include "noctule.h"

typedef struct nct_drift {
    size_t n_ids;
    char isa[16];      /* that computed the reference */
    double divergence; /* Kullback-Leibler, of the reference's next token from the other's, in nats */
    double largest;    /* difference of a logit */
    bool same_first;   /* the most probable next token is the same */
    bool same;         /* every bit is */
} nct_drift;

/** Divergences beyond these are no rounding any more: 100 times what INT8 activations do to the shipped model, and
 *  a million times what the order of sums does. */
#define NCT_DRIFT_MOST       0.01
#define NCT_DRIFT_MOST_EXACT 1e-6

/** Compares logits [n]: fills in all but n_ids and isa. False, and nothing filled in, if one is no finite number. */
bool nct_drift_compare(const float *want, const float *got, size_t n, nct_drift *drift);

/** Feeds the reference's ids to a session of the engine and compares. NCT_E_FORMAT: the reference is damaged or of
 *  another model, or a logit that was computed is no finite number; otherwise as feeding. */
nct_status nct_drift_measure(nct_engine *engine, const nct_reference *reference, nct_drift *drift,
                             nct_error *err);

#endif
