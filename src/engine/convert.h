/** From any readable checkpoint to one bundle (.nct), on the way rounding its matrices if asked to.
 *
 *  The model goes through layer by layer, so no more than one layer is held, with the inputs of all
 *  calibration tokens where there is calibration. Beside it a fixed prompt goes through twice, once with the
 *  source's weights and once with those that are written: the bundle keeps both logits, and their
 *  difference is the last word on what rounding did.
 */
#ifndef NCT_ENGINE_CONVERT_H
#define NCT_ENGINE_CONVERT_H

#include "format/nct.h"
#include "quant/quantize.h"

/** What became of one matrix. Strings are borrowed during the call. */
typedef struct nct_convert_line {
    const char *name;      /* "model.layers.0.mlp.down_proj" */
    const char *from, *to; /* encodings: "bf16", "int4 g128" */
    size_t n_rows, n_cols;
    uint64_t n_bytes;    /* in the bundle */
    bool same;           /* every value is what it was */
    double weight_error; /* |W - W'| / |W|, 0 where same */
    double output_error; /* the same of the outputs for the calibration text; negative: not measured */
} nct_convert_line;

/** Zeroed is: everything as stored. A matrix is only ever rounded from wider numbers; one that is stored in as
 *  few bits already stays as it is. Floats that turn out to be ternary (BitCPM4) are always held as codes of 2
 *  bits, which changes no value. */
typedef struct nct_convert_options {
    nct_quant layers;
    nct_quant head, embedding; /* where they are one matrix, it is stored twice if these differ */
    size_t group;              /* columns of a group: 16, 32, 64, 128; 0: 128 */
    bool gptq;                 /* layers by GPTQ instead of to the nearest; needs a text */
    bool act_order;            /* GPTQ: columns with large inputs first */
    const char *text;          /* calibration text, or NULL: without it output errors are not measured */
    size_t n_text;
    size_t n_tokens; /* of it to use, at most; 0: 32768 */
    const char *isa; /* as nct_engine_options */
    int n_threads;
    const volatile int *stop; /* polled; non-zero: NCT_E_STOPPED, and nothing is left behind */
    void (*progress)(void *context, double fraction, const char *what); /* or NULL */
    void (*report)(void *context, const nct_convert_line *line);        /* or NULL; in order */
    void *context;
} nct_convert_options;

typedef struct nct_convert_result {
    uint64_t n_bytes;  /* of the bundle */
    size_t n_tokens;   /* calibrated with */
    bool same;         /* the prompt's logits are the source's, bit for bit */
    bool same_first;   /* the most probable next token is */
    double divergence; /* Kullback-Leibler, of the source's next token from the bundle's, in nats */
    double largest;    /* difference of a logit */
} nct_convert_result;

/** Converts `source` to the bundle `destination`. NCT_E_ARGUMENT: options that do not go together, a text that
 *  is too short, a destination that is the source. The rest as opening the source and nct_bundle_create. */
nct_status nct_convert(const char *source, const char *destination, const nct_convert_options *options,
                       nct_convert_result *result, nct_error *err);

#endif
