/** One transformer layer over a batch (model-and-infllm-v2.md 2.1). */
#ifndef NCT_MODEL_LAYER_H
#define NCT_MODEL_LAYER_H

#include "model/forward.h"

/** work->x [n][hidden] in and out, the rows of the parts one after another, but that the last branch may stay owed: the
 *  next layer adds it while it reads the row anyway. Keys and values go into the parts' caches, those of a tree into
 *  work->branches. Returns early where exec's observer is satisfied, with work->x undefined. */
void nct_layer_run(const nct_exec *exec, const nct_model *model, size_t layer, const nct_rows *part, size_t n_parts,
                   nct_work *work);

/** The same for a pass of one chain whose first n_unread rows nobody reads behind this layer: of those only keys and values
 *  are computed. What is left of them in work->x is undefined. */
void nct_layer_run_last(const nct_exec *exec, const nct_model *model, size_t layer, const nct_rows *part, size_t n_unread,
                        nct_work *work);

/** Adds what a layer has left owed, for whoever reads work->x. */
void nct_layer_settle(const nct_exec *exec, const nct_model *model, nct_work *work, size_t n);

/** The buffers from row `row` on, of a chain over `cache`; borrows them. */
nct_work nct_work_from(const nct_work *work, const nct_config *config, const nct_cache *cache, size_t row);

/** The part of a row of a pass; *row becomes its number in it. */
static inline const nct_rows *nct_rows_part(const nct_rows *part, size_t *row) {
    for (; *row >= part->batch.n; part++)
        *row -= part->batch.n;
    return part;
}

#endif
