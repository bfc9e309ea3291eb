#include "format/names.h"

#include <assert.h>
#include <stdio.h>

/* By role: Hugging Face, GGUF. "%d" is the layer. */
static const char *const stems[][2] = {
    [NCT_ROLE_EMBEDDING] = {"model.embed_tokens", "token_embd"},
    [NCT_ROLE_FINAL_NORM] = {"model.norm", "output_norm"},
    [NCT_ROLE_HEAD] = {"lm_head", "output"},
    [NCT_ROLE_ATTN_NORM] = {"model.layers.%d.input_layernorm", "blk.%d.attn_norm"},
    [NCT_ROLE_Q] = {"model.layers.%d.self_attn.q_proj", "blk.%d.attn_q"},
    [NCT_ROLE_K] = {"model.layers.%d.self_attn.k_proj", "blk.%d.attn_k"},
    [NCT_ROLE_V] = {"model.layers.%d.self_attn.v_proj", "blk.%d.attn_v"},
    [NCT_ROLE_O] = {"model.layers.%d.self_attn.o_proj", "blk.%d.attn_output"},
    [NCT_ROLE_FFN_NORM] = {"model.layers.%d.post_attention_layernorm", "blk.%d.ffn_norm"},
    [NCT_ROLE_GATE] = {"model.layers.%d.mlp.gate_proj", "blk.%d.ffn_gate"},
    [NCT_ROLE_UP] = {"model.layers.%d.mlp.up_proj", "blk.%d.ffn_up"},
    [NCT_ROLE_DOWN] = {"model.layers.%d.mlp.down_proj", "blk.%d.ffn_down"},
};

bool nct_role_is_fused(nct_role role) {
    return role == NCT_ROLE_Q || role == NCT_ROLE_K || role == NCT_ROLE_V || role == NCT_ROLE_GATE ||
           role == NCT_ROLE_UP;
}

bool nct_role_is_norm(nct_role role) {
    return role == NCT_ROLE_FINAL_NORM || role == NCT_ROLE_ATTN_NORM || role == NCT_ROLE_FFN_NORM;
}

void nct_name(nct_scheme scheme, const char *prefix, nct_role role, int layer, char name[NCT_NAME_BYTES]) {
    const char *stem = stems[role][scheme == NCT_SCHEME_GGUF];
    if (scheme == NCT_SCHEME_FUSED && nct_role_is_fused(role))
        stem = role == NCT_ROLE_GATE || role == NCT_ROLE_UP ? "model.layers.%d.mlp.gate_up_proj"
                                                            : "model.layers.%d.self_attn.qkv_proj";
    /* The stem is split at its "%d" rather than used as a format. */
    int before = 0;
    while (stem[before] && stem[before] != '%')
        before++;
    int written = stem[before] ? snprintf(name, NCT_NAME_BYTES, "%s%.*s%d%s", prefix, before, stem, layer,
                                          stem + before + 2)
                               : snprintf(name, NCT_NAME_BYTES, "%s%s", prefix, stem);
    assert(written > 0 && written < NCT_NAME_BYTES);
    (void)written;
}
