/* Roles and the names they have in published files. */
#include "format/names.h"

#include "support/support.h"

static const char *name(nct_scheme scheme, const char *prefix, nct_role role, int layer) {
    static char buf[NCT_NAME_BYTES];
    nct_name(scheme, prefix, role, layer, buf);
    return buf;
}

static void test_names__hugging_face(void **state) {
    (void)state;
    assert_string_equal(name(NCT_SCHEME_HF, "", NCT_ROLE_EMBEDDING, 0), "model.embed_tokens");
    assert_string_equal(name(NCT_SCHEME_HF, "", NCT_ROLE_HEAD, 0), "lm_head");
    assert_string_equal(name(NCT_SCHEME_HF, "", NCT_ROLE_FINAL_NORM, 0), "model.norm");
    assert_string_equal(name(NCT_SCHEME_HF, "", NCT_ROLE_ATTN_NORM, 31), "model.layers.31.input_layernorm");
    assert_string_equal(name(NCT_SCHEME_HF, "", NCT_ROLE_FFN_NORM, 0),
                        "model.layers.0.post_attention_layernorm");
    assert_string_equal(name(NCT_SCHEME_HF, "", NCT_ROLE_O, 5), "model.layers.5.self_attn.o_proj");
    assert_string_equal(name(NCT_SCHEME_HF, "llm.", NCT_ROLE_DOWN, 5), "llm.model.layers.5.mlp.down_proj");
}

static void test_names__fused_as_in_cpmcu(void **state) {
    (void)state;
    for (nct_role role = NCT_ROLE_Q; role <= NCT_ROLE_V; role++)
        assert_string_equal(name(NCT_SCHEME_FUSED, "", role, 2), "model.layers.2.self_attn.qkv_proj");
    assert_string_equal(name(NCT_SCHEME_FUSED, "", NCT_ROLE_GATE, 2), "model.layers.2.mlp.gate_up_proj");
    assert_string_equal(name(NCT_SCHEME_FUSED, "", NCT_ROLE_UP, 2), "model.layers.2.mlp.gate_up_proj");
    assert_string_equal(name(NCT_SCHEME_FUSED, "", NCT_ROLE_O, 2), "model.layers.2.self_attn.o_proj");
    assert_true(nct_role_is_fused(NCT_ROLE_K));
    assert_false(nct_role_is_fused(NCT_ROLE_DOWN));
}

static void test_names__gguf(void **state) {
    (void)state;
    assert_string_equal(name(NCT_SCHEME_GGUF, "", NCT_ROLE_EMBEDDING, 0), "token_embd");
    assert_string_equal(name(NCT_SCHEME_GGUF, "", NCT_ROLE_FINAL_NORM, 0), "output_norm");
    assert_string_equal(name(NCT_SCHEME_GGUF, "", NCT_ROLE_HEAD, 0), "output");
    assert_string_equal(name(NCT_SCHEME_GGUF, "", NCT_ROLE_K, 11), "blk.11.attn_k");
    assert_string_equal(name(NCT_SCHEME_GGUF, "", NCT_ROLE_O, 0), "blk.0.attn_output");
    assert_string_equal(name(NCT_SCHEME_GGUF, "", NCT_ROLE_FFN_NORM, 0), "blk.0.ffn_norm");
}

static void test_names__any_layer_number_fits(void **state) {
    (void)state;
    assert_string_equal(name(NCT_SCHEME_HF, "llm.", NCT_ROLE_FFN_NORM, INT32_MAX),
                        "llm.model.layers.2147483647.post_attention_layernorm");
}

static void test_names__norms_are_vectors(void **state) {
    (void)state;
    assert_true(nct_role_is_norm(NCT_ROLE_ATTN_NORM));
    assert_true(nct_role_is_norm(NCT_ROLE_FINAL_NORM));
    assert_false(nct_role_is_norm(NCT_ROLE_EMBEDDING));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names__hugging_face),
        cmocka_unit_test(test_names__fused_as_in_cpmcu),
        cmocka_unit_test(test_names__gguf),
        cmocka_unit_test(test_names__any_layer_number_fits),
        cmocka_unit_test(test_names__norms_are_vectors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
