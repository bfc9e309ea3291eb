/** Role to tensor name, in each naming scheme (formats.md 5.1, 6.5, 8.3). */
#ifndef NCT_FORMAT_NAMES_H
#define NCT_FORMAT_NAMES_H

#include "format/format.h"

typedef enum nct_scheme {
    NCT_SCHEME_HF,    /* model.layers.0.self_attn.q_proj */
    NCT_SCHEME_FUSED, /* the same with q, k, v and gate, up in one matrix each, as CPM.cu has them */
    NCT_SCHEME_GGUF,  /* blk.0.attn_q */
} nct_scheme;

/** Longest stem with its NUL, any prefix of ours included. */
#define NCT_NAME_BYTES 96

/** Writes prefix and stem ("model.norm", without ".weight") of a role. `layer` counts for roles in layers. */
void nct_name(nct_scheme scheme, const char *prefix, nct_role role, int layer, char name[NCT_NAME_BYTES]);

/** True for roles that the fused scheme keeps in another role's matrix or together with others: Q, K, V,
 *  GATE, UP. */
bool nct_role_is_fused(nct_role role);
/** True for the vectors: norms. */
bool nct_role_is_norm(nct_role role);

#endif
