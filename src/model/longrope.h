/** The factor lists for 128K tokens that the READMEs of MiniCPM4-8B and MiniCPM4.1-8B publish beside the
 *  checkpoints (model-and-infllm-v2.md 1.4, A.2, A.3), and whose they are. */
#ifndef NCT_MODEL_LONGROPE_H
#define NCT_MODEL_LONGROPE_H

#include "format/format.h"

/** Exactly the shape of MiniCPM4-8B and MiniCPM4.1-8B. */
bool nct_is_published_8b(const nct_raw_config *raw);

/** The published list [head_dim / 2] for a checkpoint of that shape whose own list is the native one of the
 *  two, or the published one already; *positions is how many it holds. False: it is neither. The list is
 *  static. Says nothing of the tokenizer. */
bool nct_longrope_published(const nct_raw_config *raw, const double **factor, size_t *positions);

/** Published over native factor of frequency i where the window grows `extension` times: a ramp between the
 *  frequencies 20 and 46, rounded to four decimals. */
double nct_longrope_ratio(size_t i, double extension);

#endif
