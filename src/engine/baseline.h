/** An earlier bench, read back: what a new one is compared with. */
#ifndef NCT_ENGINE_BASELINE_H
#define NCT_ENGINE_BASELINE_H

#include "base/mem.h"

typedef struct nct_baseline_row {
    char test[64];                  /* "pp512 @ d4096" */
    double rate;                    /* median of tokens a second, finite and positive */
    char kv[16], sparse[8];         /* "f16", "on"; "": not said */
    int np, threads_pp, threads_tg; /* sequences; threads of prompts, of steps, 0: not said */
} nct_baseline_row;

/** Texts are cut to their room and hold no control characters. Empty or 0: the file does not say. */
typedef struct nct_baseline {
    nct_baseline_row *row;
    size_t n_rows;
    char model[96], quant[96], cpu[96], isa[32];
} nct_baseline;

/** Reads n bytes of what `noctule bench` writes as JSON or JSON lines; nothing in it is trusted. `name` appears in
 *  errors. NCT_E_FORMAT: not JSON, not from a bench, a rate that is no rate, a test twice in the same way, too many tests. The
 *  caller resets the baseline. */
nct_status nct_baseline_parse(const char *name, const char *text, size_t n, nct_baseline *baseline,
                              nct_error *err);
void nct_baseline_reset(nct_baseline *baseline);

/** The row of the test that `like` names, with as many sequences, the same cache type, attention and threads, where both
 *  say; `rate` is not looked at. If none agrees and `loose`: the only row of that test and so many sequences. NULL if
 *  there is none. */
const nct_baseline_row *nct_baseline_find(const nct_baseline *baseline, const nct_baseline_row *like,
                                          bool loose);

#endif
