/** Sequences of tokens on their way through a model, one layer at a time: calibration texts, and prompts
 *  whose logits are wanted of a model that is never held whole. Float32 activations, as in exact mode. */
#ifndef NCT_ENGINE_CALIBRATE_H
#define NCT_ENGINE_CALIBRATE_H

#include "model/layer.h"
#include "quant/gptq.h"

/** What is the same for all layers. Borrowed. */
typedef struct nct_runner {
    const nct_config *config;
    const nct_rope *rope;
    const nct_kernels *kernels;
    nct_pool *pool;
    const nct_linear *embedding, *head;
    const float *final_norm;
    const volatile int *stop; /* polled between sequences, or NULL */
} nct_runner;

/** Where sequences of one length have got to. */
typedef struct nct_calibration {
    size_t n_sequences, length;
    float *x; /* [n_sequences][length][hidden] */
} nct_calibration;

/** P-GPTQ: positions at a sequence's beginning whose inputs are left out (arXiv:2506.07900). */
enum { NCT_CALIBRATION_SKIP = 4 };

/** Embeds n ids, cut into sequences of `length`, of which a last short one is dropped. bos >= 0 stands in
 *  front of each, counted in its length. */
nct_status nct_calibration_open(const int32_t *ids, size_t n, size_t length, int32_t bos,
                                const nct_runner *runner, nct_calibration *calibration, nct_error *err);

/** The same of at most `most` tokens of a text, in sequences spread evenly over it; of a text shorter than one
 *  sequence, of one as long as it is. */
nct_status nct_calibration_open_text(const int32_t *ids, size_t n, size_t length, size_t most, int32_t bos,
                                     const nct_runner *runner, nct_calibration *calibration, nct_error *err);
void nct_calibration_close(nct_calibration *calibration); /* zeroed is fine */

/** Runs a layer over all sequences. advance: x becomes its outputs. watch: x stays, and the inputs that `watched`,
 *  a matrix of the layer, gets are added to the sum, but for the first NCT_CALIBRATION_SKIP of each sequence.
 *  NCT_E_STOPPED. */
nct_status nct_calibration_advance(nct_calibration *calibration, const nct_runner *runner,
                                   const nct_layer_weights *layer, nct_error *err);
nct_status nct_calibration_watch(const nct_calibration *calibration, const nct_runner *runner,
                                 const nct_layer_weights *layer, const nct_linear *watched,
                                 nct_hessian *hessian, nct_error *err);

/** logits [n_vocab] after the last token of the first sequence, all layers done. x is used up. */
nct_status nct_calibration_logits(nct_calibration *calibration, const nct_runner *runner, float *logits,
                                  nct_error *err);

#endif
