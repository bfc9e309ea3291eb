/** An engine without a checkpoint: weights of a shape, made up, so that what a model will cost on this machine can be
 *  measured before anyone has it. It computes as any other; what it says means nothing, and it has no tokenizer. */
#ifndef NCT_ENGINE_MADEUP_H
#define NCT_ENGINE_MADEUP_H

#include "model/config.h"
#include "noctule.h"

/** What matrices are held in: 4- or 8-bit codes in groups of 128 with float16 scales, float16 or bfloat16. */
typedef enum nct_madeup_form { NCT_MADEUP_INT4, NCT_MADEUP_INT8, NCT_MADEUP_FLOAT16, NCT_MADEUP_BFLOAT16 } nct_madeup_form;

typedef struct nct_madeup {
    const nct_config *config; /* borrowed for the call */
    const char *name;
    nct_madeup_form layers, head; /* head: of the output matrix; the embedding is float16, or the head where tied */
    size_t n_layers;              /* of these only so many, at least 1 */
} nct_madeup;

/** Bytes of the weights of all layers, as nct_model_info's weight_bytes tells of a model that is held so. */
uint64_t nct_madeup_weight_bytes(const nct_madeup *shape);
/** Of one layer. */
uint64_t nct_madeup_layer_bytes(const nct_madeup *shape);

/** The options' numa is looked at as far as threads go. An embedding is not made up where the head can stand for it, so
 *  the engine's own weight_bytes is less. NCT_E_ARGUMENT, NCT_E_MEMORY. Closed with nct_engine_close. */
nct_status nct_engine_make_up(const nct_madeup *shape, const nct_engine_options *options, nct_engine **engine,
                              nct_error *err);

#endif
