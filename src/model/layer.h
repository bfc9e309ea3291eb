/** One transformer layer over a batch (model-and-infllm-v2.md 2.1). */
#ifndef NCT_MODEL_LAYER_H
#define NCT_MODEL_LAYER_H

#include "model/forward.h"

/** work->x [n][hidden] in and out. Keys and values of the batch go into the cache, those of a tree into
 *  work->branches. Returns early
 *  where exec's observer is satisfied, with work->x undefined. */
void nct_layer_run(const nct_exec *exec, const nct_model *model, const nct_attend_options *options, size_t layer,
                   const nct_cache *cache, nct_work *work, const nct_batch *batch);

#endif
