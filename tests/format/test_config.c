/* config.json and its companions, GGUF keys: what they mean, what is assumed where they are silent, and
 * what is refused by name. */
#include "format/config.h"

#include <math.h>

#include "refused.h"
#include "support/containers.h"

static nct_status parse(const char *text, nct_file_config *config, nct_error *err) {
    *config = (nct_file_config){0};
    return nct_file_config_parse("config.json", text, strlen(text), config, err);
}

/* A small model's fields with `more` before the end. */
static nct_status parse_with(const char *more, nct_file_config *config, nct_error *err) {
    return parse(
        nct_test_path("{\"architectures\":[\"MiniCPMForCausalLM\"],\"vocab_size\":448,\"hidden_size\":64,"
                      "\"intermediate_size\":172,\"num_hidden_layers\":4,\"num_attention_heads\":8%s}",
                      more),
        config, err);
}

static void refuse(const char *more, nct_status wanted, const char *words) {
    nct_file_config c;
    nct_error err = {0};
    nct_status status = parse_with(more, &c, &err);
    check_sentence(&err, status, wanted, words);
}

static void test_config__absent_keys_have_the_published_defaults(void **state) {
    (void)state;
    nct_file_config c;
    NCT_ASSERT_OK(parse("{\"architectures\":[\"MiniCPMForCausalLM\"]}", &c, fault));
    const nct_raw_config *r = &c.raw;
    assert_string_equal(r->architecture, "minicpm");
    assert_int_equal(r->vocab_size, 32000);
    assert_int_equal(r->hidden_size, 4096);
    assert_int_equal(r->intermediate_size, 11008);
    assert_int_equal(r->n_layers, 32);
    assert_int_equal(r->n_heads, 32);
    assert_int_equal(r->n_kv_heads, 32);
    assert_int_equal(r->head_dim, 128);
    assert_int_equal(r->max_positions, 2048);
    assert_true(r->rms_norm_eps == 1e-6);
    assert_true(r->rope_theta == 10000);
    assert_true(r->scale_emb == 1);
    assert_true(r->residual_scale == 1 / sqrt(32));
    assert_true(r->logit_divisor == 4096);
    assert_true(r->tie_word_embeddings);
    assert_false(r->tie_stated);
    assert_false(r->has_rope_factors);
    assert_false(r->has_sparse);
    assert_int_equal(r->bos, 1);
    assert_int_equal(r->n_eos, 1);
    assert_int_equal(r->eos[0], 2);
    assert_true(isnan(r->temperature));
    assert_int_equal(r->do_sample, -1);
    assert_int_equal(c.quant.zero_offset, 1);
    nct_file_config_close(&c);
}

static void test_config__scales_become_what_the_model_multiplies_by(void **state) {
    (void)state;
    nct_file_config c;
    NCT_ASSERT_OK(parse_with(",\"scale_emb\":12,\"scale_depth\":1.4,\"dim_model_base\":16", &c, fault));
    assert_true(c.raw.scale_emb == 12);
    assert_true(c.raw.residual_scale == 1.4 / 2);
    assert_true(c.raw.logit_divisor == 4);
    nct_file_config_close(&c);
}

static void test_config__llama_has_no_scales_and_its_own_tie_default(void **state) {
    (void)state;
    nct_file_config c;
    NCT_ASSERT_OK(parse("{\"architectures\":[\"LlamaForCausalLM\"],\"scale_emb\":12,\"hidden_size\":1536,"
                        "\"num_attention_heads\":16,"
                        "\"num_key_value_heads\":2,\"head_dim\":128,\"rope_theta\":5000000.0}",
                        &c, fault));
    assert_string_equal(c.raw.architecture, "llama");
    assert_true(c.raw.scale_emb == 1 && c.raw.residual_scale == 1 && c.raw.logit_divisor == 1);
    assert_false(c.raw.tie_word_embeddings);
    assert_int_equal(c.raw.head_dim, 128); /* not 1536 / 16 */
    assert_true(c.raw.rope_theta == 5e6);
    nct_file_config_close(&c);
}

static void test_config__architectures_go_before_model_type(void **state) {
    (void)state;
    static const struct {
        const char *text, *architecture;
    } known[] = {
        {"{\"architectures\":[\"MiniCPM4ForCausalLM\"]}", "minicpm"},
        {"{\"architectures\":[\"LlamaForCausalLM\"],\"model_type\":\"minicpm\"}", "llama"},
        {"{\"model_type\":\"minicpm4\"}", "minicpm"},
        {"{\"architectures\":[],\"model_type\":\"llama\"}", "llama"},
    };
    nct_file_config c;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        NCT_ASSERT_OK(parse(known[i].text, &c, fault));
        assert_string_equal(c.raw.architecture, known[i].architecture);
        nct_file_config_close(&c);
    }
    static const struct {
        const char *text;
        nct_status status;
        const char *words;
    } refused[] = {
        {"{\"architectures\":[\"MiniCPM3ForCausalLM\"],\"model_type\":\"minicpm\"}", NCT_E_UNSUPPORTED,
         "architecture 'MiniCPM3ForCausalLM' is not readable"},
        {"{\"architectures\":[\"Qwen2ForCausalLM\"]}", NCT_E_UNSUPPORTED, "'Qwen2ForCausalLM'"},
        {"{\"model_type\":\"gemma\"}", NCT_E_UNSUPPORTED, "'gemma'"},
        {"{\"architectures\":[\"EagleMiniCPMForCausalLM\"]}", NCT_E_UNSUPPORTED, "a draft head"},
        {"{\"architectures\":[\"LlamaForCausalLMEagle3\"]}", NCT_E_UNSUPPORTED, "a draft head"},
        {"{\"architectures\":[\"LlamaForCausalLM\"],\"draft_vocab_size\":32000}", NCT_E_UNSUPPORTED,
         "a draft head"},
        {"{\"architectures\":[\"MiniCPMForCausalLM\"],\"eagle_config\":{}}", NCT_E_UNSUPPORTED,
         "a draft head"},
        {"{}", NCT_E_FORMAT, "neither 'architectures' nor 'model_type'"},
        {"[]", NCT_E_FORMAT, "no JSON object"},
        {"", NCT_E_FORMAT, "not valid JSON"},
        {"{\"hidden_size\":NaN}", NCT_E_FORMAT, "not valid JSON"},
    };
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        nct_error err = {0};
        nct_status status = parse(refused[i].text, &c, &err);
        check_sentence(&err, status, refused[i].status, refused[i].words);
    }
}

static void test_config__numbers_are_checked_by_name(void **state) {
    (void)state;
    refuse(",\"num_key_value_heads\":-2", NCT_E_FORMAT,
           "'num_key_value_heads' is -2, expected an integer from 1 to 4096");
    refuse(",\"num_key_value_heads\":3", NCT_E_FORMAT, "8 heads cannot share 3");
    refuse(",\"num_key_value_heads\":2.5", NCT_E_FORMAT, "'num_key_value_heads' is 2.5, expected an integer");
    refuse(",\"num_key_value_heads\":\"2\"", NCT_E_FORMAT,
           "'num_key_value_heads' is a string, expected an integer");
    refuse(",\"max_position_embeddings\":1e999", NCT_E_FORMAT,
           "'max_position_embeddings' is inf, expected an integer");
    refuse(",\"max_position_embeddings\":0", NCT_E_FORMAT, "'max_position_embeddings' is 0");
    refuse(",\"max_position_embeddings\":9007199254740993", NCT_E_FORMAT,
           "'max_position_embeddings' is 9007199254740992");
    refuse(",\"head_dim\":7", NCT_E_FORMAT, "head size of 7");
    refuse(",\"head_dim\":[8]", NCT_E_FORMAT, "'head_dim' is an array");
    refuse(",\"rms_norm_eps\":-1e-6", NCT_E_FORMAT,
           "'rms_norm_eps' is -1e-06, expected a number from 0 up to 1");
    refuse(",\"rms_norm_eps\":true", NCT_E_FORMAT, "'rms_norm_eps' is true or false, expected a number");
    refuse(",\"rope_theta\":0", NCT_E_FORMAT, "'rope_theta' is 0, expected a number above 0");
    refuse(",\"scale_emb\":1e999", NCT_E_FORMAT, "'scale_emb' is inf");
    refuse(",\"scale_depth\":-1.4", NCT_E_FORMAT, "'scale_depth' is -1.4");
    refuse(",\"dim_model_base\":0", NCT_E_FORMAT, "'dim_model_base' is 0");
    refuse(",\"tie_word_embeddings\":1", NCT_E_FORMAT, "'tie_word_embeddings' is 1, expected true or false");
    nct_file_config c;
    nct_error err = {0};
    nct_status status =
        parse("{\"model_type\":\"minicpm\",\"hidden_size\":100,\"num_attention_heads\":8}", &c, &err);
    check_sentence(&err, status, NCT_E_FORMAT, "width of 100 cannot be cut into 8 heads");
    status = parse("{\"model_type\":\"minicpm\",\"hidden_size\":4294967296}", &c, &err);
    check_sentence(&err, status, NCT_E_FORMAT,
                   "'hidden_size' is 4294967296, expected an integer from 1 to 1048576");
    status = parse("{\"model_type\":\"minicpm\",\"num_hidden_layers\":100000}", &c, &err);
    check_sentence(&err, status, NCT_E_FORMAT, "'num_hidden_layers' is 100000");
}

static void test_config__what_changes_the_arithmetic_is_refused(void **state) {
    (void)state;
    refuse(",\"attention_bias\":true", NCT_E_UNSUPPORTED, "'attention_bias' is true");
    refuse(",\"mlp_bias\":true", NCT_E_UNSUPPORTED, "'mlp_bias' is true");
    refuse(",\"hidden_act\":\"gelu\"", NCT_E_UNSUPPORTED, "'hidden_act' is 'gelu'");
    refuse(",\"num_experts\":8", NCT_E_UNSUPPORTED, "mixture of 8 experts");
    refuse(",\"partial_rotary_factor\":0.5", NCT_E_UNSUPPORTED, "'partial_rotary_factor' is 0.5");
    refuse(",\"rope_scaling\":{\"rope_type\":\"yarn\",\"factor\":4}", NCT_E_UNSUPPORTED, "rope type 'yarn'");
    refuse(",\"rope_scaling\":{\"type\":\"linear\",\"factor\":4}", NCT_E_UNSUPPORTED, "rope type 'linear'");
    nct_file_config c;
    NCT_ASSERT_OK(parse_with(
        ",\"attention_bias\":false,\"num_experts\":0,\"hidden_act\":\"silu\",\"mlp_bias\":null", &c, fault));
    nct_file_config_close(&c);
}

#define FOUR_SHORT "\"short_factor\":[1,1.5,2,2.5]"
#define FOUR_LONG  "\"long_factor\":[1,2,3,4]"

static void test_config__longrope_under_all_its_names(void **state) {
    (void)state;
    static const char *const spellings[] = {
        ",\"max_position_embeddings\":64,\"rope_scaling\":{\"rope_type\":\"longrope\"," FOUR_SHORT
        "," FOUR_LONG ",\"original_max_position_embeddings\":32}",
        ",\"max_position_embeddings\":64,\"rope_scaling\":{\"type\":\"longrope\"," FOUR_SHORT "," FOUR_LONG
        ",\"original_max_position_embeddings\":32}",
        ",\"max_position_embeddings\":64,\"rope_scaling\":{\"type\":\"su\"," FOUR_SHORT "," FOUR_LONG
        ",\"original_max_position_embeddings\":32}",
        ",\"max_position_embeddings\":64,\"rope_scaling\":{" FOUR_SHORT "," FOUR_LONG
        ",\"original_max_position_embeddings\":32}",
        ",\"max_position_embeddings\":64,\"original_max_position_embeddings\":32,\"rope_scaling\":{\"rope_"
        "type\":\"longrope\"," FOUR_SHORT "," FOUR_LONG "}",
        ",\"max_position_embeddings\":64,\"rope_parameters\":{\"rope_theta\":77,\"rope_type\":"
        "\"longrope\"," FOUR_SHORT "," FOUR_LONG ",\"original_max_position_embeddings\":32}",
    };
    for (size_t i = 0; i < sizeof spellings / sizeof *spellings; i++) {
        nct_file_config c;
        NCT_ASSERT_OK(parse_with(spellings[i], &c, fault));
        assert_true(c.raw.has_rope_factors);
        assert_int_equal(c.raw.rope_original_max, 32);
        assert_int_equal(c.raw.n_rope_factors, 4);
        assert_true(c.raw.short_factor[1] == 1.5 && c.raw.short_factor[3] == 2.5);
        assert_true(c.raw.long_factor[0] == 1 && c.raw.long_factor[3] == 4);
        assert_true(c.raw.rope_theta == (i == 5 ? 77 : 10000));
        nct_file_config_close(&c);
    }
}

static void test_config__rope_that_is_plain(void **state) {
    (void)state;
    static const char *const plain[] = {
        ",\"rope_scaling\":null", ",\"rope_scaling\":{\"rope_type\":\"default\"}",
        ",\"rope_parameters\":{\"rope_type\":\"default\",\"rope_theta\":10000.0}", ",\"rope_scaling\":{}"};
    for (size_t i = 0; i < sizeof plain / sizeof *plain; i++) {
        nct_file_config c;
        NCT_ASSERT_OK(parse_with(plain[i], &c, fault));
        assert_false(c.raw.has_rope_factors);
        nct_file_config_close(&c);
    }
}

static void test_config__rope_factors_must_be_half_a_head_of_positive_numbers(void **state) {
    (void)state;
    refuse(",\"rope_scaling\":{\"rope_type\":\"longrope\"," FOUR_SHORT "}", NCT_E_FORMAT,
           "'long_factor' has 0 numbers, expected 4");
    refuse(",\"rope_scaling\":{\"rope_type\":\"longrope\",\"short_factor\":[1,2,3]," FOUR_LONG "}",
           NCT_E_FORMAT, "'short_factor' has 3 numbers");
    refuse(",\"rope_scaling\":{\"rope_type\":\"longrope\"," FOUR_SHORT ",\"long_factor\":[1,0,1,1]}",
           NCT_E_FORMAT, "'long_factor' is 0, expected a number above 0");
    refuse(",\"rope_scaling\":{\"rope_type\":\"longrope\"," FOUR_SHORT ",\"long_factor\":[1,1e999,1,1]}",
           NCT_E_FORMAT, "'long_factor' is inf");
    refuse(",\"rope_scaling\":{\"rope_type\":\"longrope\"," FOUR_SHORT ",\"long_factor\":[1,\"1\",1,1]}",
           NCT_E_FORMAT, "'long_factor' is a string, expected numbers only");
    refuse(",\"rope_scaling\":{\"rope_type\":\"longrope\"," FOUR_SHORT ",\"long_factor\":7}", NCT_E_FORMAT,
           "'long_factor' has 0 numbers");
    refuse(",\"rope_scaling\":\"longrope\"", NCT_E_FORMAT, "'rope_scaling' is a string, expected an object");
    refuse(",\"rope_scaling\":{\"rope_type\":7}", NCT_E_FORMAT, "'rope_type' is 7, expected a string");
}

static void test_config__sparse_settings_and_their_defaults(void **state) {
    (void)state;
    nct_file_config c;
    NCT_ASSERT_OK(
        parse_with(",\"sparse_config\":{\"topk\":5,\"dense_len\":-1,\"use_nope\":true}", &c, fault));
    assert_true(c.raw.has_sparse);
    assert_int_equal(c.raw.sparse_kernel_size, 32);
    assert_int_equal(c.raw.sparse_kernel_stride, 16);
    assert_int_equal(c.raw.sparse_init_blocks, 1);
    assert_int_equal(c.raw.sparse_block_size, 64);
    assert_int_equal(c.raw.sparse_window_size, 2048);
    assert_int_equal(c.raw.sparse_topk, 5);
    assert_int_equal(c.raw.sparse_dense_len, -1);
    assert_true(c.raw.sparse_use_nope);
    nct_file_config_close(&c);
    refuse(",\"sparse_config\":{\"block_size\":0}", NCT_E_FORMAT, "'block_size' is 0");
    refuse(",\"sparse_config\":true", NCT_E_FORMAT, "'sparse_config' is true or false, expected an object");
}

static void test_config__ends_may_be_a_number_a_list_or_none(void **state) {
    (void)state;
    nct_file_config c;
    NCT_ASSERT_OK(parse_with(",\"eos_token_id\":[2,73440,2],\"bos_token_id\":null", &c, fault));
    assert_int_equal(c.raw.n_eos, 2);
    assert_int_equal(c.raw.eos[1], 73440);
    assert_int_equal(c.raw.bos, -1);
    nct_file_config_close(&c);
    NCT_ASSERT_OK(parse_with(",\"eos_token_id\":null", &c, fault));
    assert_int_equal(c.raw.n_eos, 0);
    nct_file_config_close(&c);
    refuse(",\"eos_token_id\":-1", NCT_E_FORMAT, "'eos_token_id' is -1");
    refuse(",\"eos_token_id\":[2,\"x\"]", NCT_E_FORMAT, "'eos_token_id' is a string");
    refuse(",\"eos_token_id\":[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17]", NCT_E_FORMAT, "more than 16");
    refuse(",\"bos_token_id\":1.5", NCT_E_FORMAT, "'bos_token_id' is 1.5");
}

static void test_config__quantization_of_known_kinds(void **state) {
    (void)state;
    static const struct {
        const char *text, *method;
        int64_t group;
        bool symmetric, desc_act;
        int zero_offset;
    } known[] = {
        {"{\"bits\":4,\"group_size\":128,\"sym\":true,\"desc_act\":false,\"quant_method\":\"gptq\","
         "\"checkpoint_format\":\"gptq\"}",
         "gptq", 128, true, false, 1},
        {"{\"bits\":4,\"group_size\":-1,\"desc_act\":true,\"quant_method\":\"gptq\"}", "gptq", -1, false,
         true, 1},
        {"{\"bits\":4,\"group_size\":64,\"method\":\"gptq\",\"format\":\"gptq_v2\",\"meta\":{}}", "gptq", 64,
         false, false, 0},
        {"{\"bits\":4,\"group_size\":128,\"quant_method\":\"gptq\",\"checkpoint_format\":\"marlin\",\"sym\":"
         "true}",
         "gptq", 128, true, false, 1},
        {"{\"quant_method\":\"awq\",\"bits\":4,\"group_size\":128,\"zero_point\":true,\"version\":\"gemm\"}",
         "awq", 128, false, false, 0},
        {"{\"quant_method\":\"awq\",\"w_bit\":4,\"q_group_size\":32,\"version\":\"GEMM\"}", "awq", 32, false,
         false, 0},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        nct_file_config c;
        NCT_ASSERT_OK(parse_with(nct_test_path(",\"quantization_config\":%s", known[i].text), &c, fault));
        assert_string_equal(c.quant.method, known[i].method);
        assert_int_equal(c.quant.group_size, known[i].group);
        assert_int_equal(c.quant.symmetric, known[i].symmetric);
        assert_int_equal(c.quant.desc_act, known[i].desc_act);
        assert_int_equal(c.quant.zero_offset, known[i].zero_offset);
        nct_file_config_close(&c);
    }
    refuse(",\"quantization_config\":{\"quant_method\":\"gptq\",\"bits\":8}", NCT_E_UNSUPPORTED,
           "gptq with 8 bits is not readable, expected 4");
    refuse(",\"quantization_config\":{\"quant_method\":\"fp8\"}", NCT_E_UNSUPPORTED,
           "quantization 'fp8' is not readable; readable:");
    refuse(",\"quantization_config\":{\"bits\":4}", NCT_E_UNSUPPORTED, "quantization ''");
    refuse(",\"quantization_config\":{\"quant_method\":\"awq\",\"version\":\"gemv\"}", NCT_E_UNSUPPORTED,
           "awq of version 'gemv' is not readable, expected 'gemm'");
    refuse(",\"quantization_config\":{\"quant_method\":\"gptq\",\"checkpoint_format\":\"bitblas\"}",
           NCT_E_UNSUPPORTED, "checkpoint_format 'bitblas'");
    refuse(",\"quantization_config\":[]", NCT_E_FORMAT, "'quantization_config' is an array");
    refuse(",\"quantization_config\":{\"quant_method\":\"gptq\",\"group_size\":\"128\"}", NCT_E_FORMAT,
           "'group_size' is a string");
    refuse(",\"quantization\":{\"group_size\":64,\"bits\":4}", NCT_E_UNSUPPORTED,
           "MLX quantization is not readable");
}

/* ------------------------------------------------------------------ side files */

static void put(const char *dir, const char *name, const char *text) {
    nct_test_write(nct_test_path("%s/%s", dir, name), text, strlen(text));
}

static void test_config__side_files_add_ends_hints_template_and_quantization(void **state) {
    (void)state;
    const char *dir = nct_test_folder();
    nct_file_config c;
    nct_error err = {0};
    put(dir, "config.json", "{\"model_type\":\"minicpm\",\"eos_token_id\":2}");
    NCT_ASSERT_OK(nct_file_config_read(dir, &c, fault));
    assert_null(c.raw.chat_template);
    assert_int_equal(c.quant.method[0], 0);
    nct_file_config_close(&c);

    put(dir, "generation_config.json",
        "{\"eos_token_id\":[2,73440],\"do_sample\":true,\"temperature\":0.8,\"top_p\":0.9,\"top_k\":40,"
        "\"repetition_penalty\":1.1}");
    put(dir, "tokenizer_config.json",
        "{\"chat_template\":[{\"name\":\"tool_use\",\"template\":\"no\"},{\"name\":\"default\",\"template\":"
        "\"yes\"}]}");
    put(dir, "quantize_config.json", "{\"bits\":4,\"group_size\":64,\"sym\":true}");
    NCT_ASSERT_OK(nct_file_config_read(dir, &c, fault));
    assert_int_equal(c.raw.n_eos, 2);
    assert_int_equal(c.raw.do_sample, 1);
    assert_true(c.raw.temperature == 0.8 && c.raw.top_p == 0.9 && c.raw.top_k == 40 &&
                c.raw.repetition_penalty == 1.1);
    assert_string_equal(c.raw.chat_template, "yes");
    assert_string_equal(c.quant.method, "gptq");
    assert_int_equal(c.quant.group_size, 64);
    nct_file_config_close(&c);

    put(dir, "chat_template.jinja", "from its own file\n");
    put(dir, "config.json",
        "{\"model_type\":\"minicpm\",\"quantization_config\":{\"quant_method\":\"awq\",\"group_size\":32}}");
    NCT_ASSERT_OK(nct_file_config_read(dir, &c, fault));
    assert_string_equal(c.raw.chat_template, "from its own file\n");
    assert_string_equal(c.quant.method, "awq"); /* config.json goes first */
    nct_file_config_close(&c);

    put(dir, "generation_config.json", "{\"temperature\":\"hot\"}");
    check_sentence(&err, nct_file_config_read(dir, &c, &err), NCT_E_FORMAT,
                   "generation_config.json: 'temperature' is a string");
    put(dir, "generation_config.json", "{\"top_p\":1.5}");
    check_sentence(&err, nct_file_config_read(dir, &c, &err), NCT_E_FORMAT,
                   "generation_config.json: 'top_p' is 1.5");
    put(dir, "generation_config.json", "{");
    check_sentence(&err, nct_file_config_read(dir, &c, &err), NCT_E_FORMAT,
                   "generation_config.json: not valid JSON");
    nct_test_folder_remove(dir);
}

static void test_config__quant_config_is_awqs_own_file(void **state) {
    (void)state;
    const char *dir = nct_test_folder();
    nct_file_config c;
    put(dir, "config.json", "{\"model_type\":\"minicpm\"}");
    put(dir, "quant_config.json",
        "{\"zero_point\":true,\"q_group_size\":128,\"w_bit\":4,\"version\":\"GEMM\"}");
    NCT_ASSERT_OK(nct_file_config_read(dir, &c, fault));
    assert_string_equal(c.quant.method, "awq");
    assert_int_equal(c.quant.group_size, 128);
    nct_file_config_close(&c);
    nct_test_folder_remove(dir);
}

static void test_config__published_files_read_as_documented(void **state) {
    (void)state;
    nct_file_config c;
    nct_test_need(nct_test_path("%s/data/minicpm4/MiniCPM4-8B/config.json", NCT_SHARED_DIR));
    NCT_ASSERT_OK(
        nct_file_config_read(nct_test_path("%s/data/minicpm4/MiniCPM4-8B", NCT_SHARED_DIR), &c, fault));
    assert_int_equal(c.raw.n_layers, 32);
    assert_int_equal(c.raw.n_kv_heads, 2);
    assert_int_equal(c.raw.head_dim, 128);
    assert_true(fabs(c.raw.residual_scale - 0.2474873734152916) < 1e-15);
    assert_true(c.raw.logit_divisor == 16);
    assert_true(c.raw.scale_emb == 12);
    assert_int_equal(c.raw.n_rope_factors, 64);
    assert_true(c.raw.long_factor[63] == 31.02392307921529);
    assert_int_equal(c.raw.rope_original_max, 32768);
    assert_true(c.raw.tie_stated);
    assert_false(c.raw.tie_word_embeddings);
    assert_int_equal(c.raw.n_eos, 2);
    assert_true(c.raw.temperature == 0.8 && c.raw.top_p == 0.8 && c.raw.do_sample == 1);
    assert_non_null(strstr(c.raw.chat_template, "<|im_start|>"));
    nct_file_config_close(&c);
    nct_error err = {0};
    nct_status status =
        nct_file_config_read(nct_test_path("%s/data/minicpm4/MiniCPM3-4B", NCT_SHARED_DIR), &c, &err);
    check_sentence(&err, status, NCT_E_UNSUPPORTED, "MiniCPM3ForCausalLM");
}

/* ------------------------------------------------------------------ GGUF */

/* Keys of a small model, of which some may be left out or replaced. */
static nct_test_gguf keys(const char *architecture, const char *without) {
    nct_test_gguf g = {0};
    static const struct {
        const char *key;
        uint32_t value;
    } numbers[] = {{"block_count", 4},          {"context_length", 64},      {"embedding_length", 64},
                   {"feed_forward_length", 96}, {"attention.head_count", 8}, {"attention.head_count_kv", 2}};
    nct_test_gguf_string(&g, "general.architecture", architecture);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if (!without || strcmp(without, numbers[i].key) != 0)
            nct_test_gguf_u32(&g, nct_test_path("%s.%s", architecture, numbers[i].key), numbers[i].value);
    return g;
}

static void add_vector(nct_test_gguf *g, const char *name, size_t n, float value) {
    float v[64];
    for (size_t i = 0; i < n; i++)
        v[i] = value;
    nct_test_gguf_add(g, name, NCT_TYPE_F32, 1, &n, v, n * sizeof *v);
}

struct opened {
    nct_bytes file;
    nct_tensors tensors;
    nct_gguf *gguf;
    nct_file_config config;
};

static nct_status read_gguf(nct_test_gguf *g, struct opened *o, nct_error *err) {
    *o = (struct opened){.file = nct_test_gguf_finish(g)};
    NCT_ASSERT_OK(nct_gguf_parse("m.gguf", (uint8_t *)o->file.data, o->file.n, &o->tensors, &o->gguf, fault));
    return nct_file_config_read_gguf("m.gguf", o->gguf, &o->tensors, &o->config, err);
}

static void close_gguf(struct opened *o) {
    nct_file_config_close(&o->config);
    nct_gguf_close(o->gguf);
    nct_tensors_close(&o->tensors);
    nct_bytes_reset(&o->file);
}

static void test_config_gguf__keys_mean_what_config_json_means(void **state) {
    (void)state;
    struct opened o;
    nct_test_gguf g = keys("minicpm", NULL);
    nct_test_gguf_f32(&g, "minicpm.attention.layer_norm_rms_epsilon", 0.5);
    nct_test_gguf_f32(&g, "minicpm.rope.freq_base", 500);
    nct_test_gguf_f32(&g, "minicpm.embedding_scale", 12);
    nct_test_gguf_f32(&g, "minicpm.residual_scale", 0.25);
    nct_test_gguf_f32(&g, "minicpm.logit_scale", 4);
    nct_test_gguf_u32(&g, "minicpm.rope.dimension_count", 8);
    nct_test_gguf_u32(&g, "tokenizer.ggml.bos_token_id", 1);
    nct_test_gguf_u32(&g, "tokenizer.ggml.eos_token_id", 2);
    nct_test_gguf_u32(&g, "tokenizer.ggml.eot_token_id", 5);
    nct_test_gguf_f32(&g, "general.sampling.temp", 0.5);
    nct_test_gguf_string(&g, "tokenizer.chat_template", "text");
    static const uint8_t rows[100 * 4];
    nct_test_gguf_add(&g, "token_embd.weight", NCT_TYPE_F32, 2, (size_t[]){100, 1}, rows, sizeof rows);
    NCT_ASSERT_OK(read_gguf(&g, &o, fault));
    const nct_raw_config *r = &o.config.raw;
    assert_string_equal(r->architecture, "minicpm");
    assert_int_equal(r->vocab_size, 100); /* from the embedding */
    assert_int_equal(r->n_layers, 4);
    assert_int_equal(r->head_dim, 8);
    assert_int_equal(r->n_kv_heads, 2);
    assert_int_equal(r->intermediate_size, 96);
    assert_int_equal(r->max_positions, 64);
    assert_true(r->rms_norm_eps == 0.5 && r->rope_theta == 500);
    assert_true(r->scale_emb == 12 && r->residual_scale == 0.25 && r->logit_divisor == 4);
    assert_true(r->tie_word_embeddings);
    assert_int_equal(r->bos, 1);
    assert_int_equal(r->n_eos, 2);
    assert_int_equal(r->eos[1], 5);
    assert_true(r->temperature == 0.5);
    assert_string_equal(r->chat_template, "text");
    close_gguf(&o);
}

static void test_config_gguf__older_files_have_built_in_scales(void **state) {
    (void)state;
    struct opened o;
    nct_test_gguf g = keys("minicpm", "attention.head_count_kv");
    NCT_ASSERT_OK(read_gguf(&g, &o, fault));
    assert_true(o.config.raw.scale_emb == 12);
    assert_true(o.config.raw.residual_scale == 1.4 / 2);
    assert_true(o.config.raw.logit_divisor == 0.25);
    assert_int_equal(o.config.raw.n_kv_heads, 8);
    assert_int_equal(o.config.raw.bos, -1);
    close_gguf(&o);
    g = keys("llama", NULL);
    NCT_ASSERT_OK(read_gguf(&g, &o, fault));
    assert_true(o.config.raw.scale_emb == 1 && o.config.raw.residual_scale == 1 &&
                o.config.raw.logit_divisor == 1);
    close_gguf(&o);
}

static void test_config_gguf__factor_tensors_count_without_a_type_key(void **state) {
    (void)state;
    static const char *const names[][2] = {{"rope_factors_long.weight", "rope_factors_short.weight"},
                                           {"rope_factors_long", "rope_factors_short"}};
    for (int i = 0; i < 2; i++) {
        struct opened o;
        nct_test_gguf g = keys("minicpm", NULL);
        if (i == 1)
            nct_test_gguf_u32(&g, "minicpm.rope.scaling.original_context_length", 32);
        add_vector(&g, names[i][0], 4, 3);
        add_vector(&g, names[i][1], 4, 2);
        NCT_ASSERT_OK(read_gguf(&g, &o, fault));
        assert_true(o.config.raw.has_rope_factors);
        assert_true(o.config.raw.long_factor[3] == 3 && o.config.raw.short_factor[3] == 2);
        assert_int_equal(o.config.raw.rope_original_max, i == 1 ? 32 : 64);
        close_gguf(&o);
    }
}

static void refuse_gguf(nct_test_gguf *g, nct_status wanted, const char *words) {
    struct opened o;
    nct_error err = {0};
    nct_status status = read_gguf(g, &o, &err);
    check_sentence(&err, status, wanted, words);
    close_gguf(&o);
}

static void test_config_gguf__refusals_name_the_key(void **state) {
    (void)state;
    nct_test_gguf g = {0};
    refuse_gguf(&g, NCT_E_FORMAT, "no key 'general.architecture'");
    g = keys("minicpm3", NULL);
    refuse_gguf(&g, NCT_E_UNSUPPORTED, "architecture 'minicpm3' is not readable");
    g = keys("minicpm", "block_count");
    refuse_gguf(&g, NCT_E_FORMAT, "no key 'minicpm.block_count'");
    g = keys("minicpm", "block_count");
    nct_test_gguf_f32(&g, "minicpm.block_count", 4);
    refuse_gguf(&g, NCT_E_FORMAT, "'minicpm.block_count' is no integer");
    g = keys("minicpm", "block_count");
    nct_test_gguf_u32(&g, "minicpm.block_count", 0);
    refuse_gguf(&g, NCT_E_FORMAT, "'minicpm.block_count' is 0");
    g = keys("minicpm", NULL);
    nct_test_gguf_f32(&g, "minicpm.embedding_scale", NAN);
    refuse_gguf(&g, NCT_E_FORMAT, "'minicpm.embedding_scale' is nan");
    g = keys("minicpm", NULL);
    nct_test_gguf_u32(&g, "minicpm.rope.dimension_count", 4);
    refuse_gguf(&g, NCT_E_UNSUPPORTED, "4 rotated");
    g = keys("minicpm", NULL);
    nct_test_gguf_u32(&g, "minicpm.attention.value_length", 16);
    refuse_gguf(&g, NCT_E_UNSUPPORTED, "values of 16");
    g = keys("llama", NULL);
    nct_test_gguf_u32(&g, "llama.expert_count", 8);
    refuse_gguf(&g, NCT_E_UNSUPPORTED, "mixture of 8 experts");
    g = keys("llama", NULL);
    nct_test_gguf_string(&g, "llama.rope.scaling.type", "yarn");
    refuse_gguf(&g, NCT_E_UNSUPPORTED, "rope scaling 'yarn'");
    g = keys("llama", NULL);
    add_vector(&g, "rope_freqs.weight", 4, 1);
    refuse_gguf(&g, NCT_E_UNSUPPORTED, "'rope_freqs'");
    g = keys("minicpm", NULL);
    add_vector(&g, "rope_factors_long.weight", 4, 1);
    refuse_gguf(&g, NCT_E_UNSUPPORTED, "without both factor tensors");
    g = keys("minicpm", NULL);
    add_vector(&g, "rope_factors_long.weight", 5, 1);
    add_vector(&g, "rope_factors_short.weight", 4, 1);
    refuse_gguf(&g, NCT_E_FORMAT,
                "'rope_factors_long.weight' holds 20 bytes of type F32, expected 4 numbers");
    g = keys("minicpm", NULL);
    add_vector(&g, "rope_factors_long.weight", 4, 0);
    add_vector(&g, "rope_factors_short.weight", 4, 1);
    refuse_gguf(&g, NCT_E_FORMAT, "'rope_factors_long.weight' is 0");
}

static void test_config_gguf__an_array_a_layer_must_be_even(void **state) {
    (void)state;
    nct_test_gguf g = keys("minicpm", "attention.head_count_kv");
    nct_test_gguf_array(&g, "minicpm.attention.head_count_kv", NCT_GGUF_U8, 4, "\2\2\2\2", 4);
    struct opened o;
    NCT_ASSERT_OK(read_gguf(&g, &o, fault));
    assert_int_equal(o.config.raw.n_kv_heads, 2);
    close_gguf(&o);
    g = keys("minicpm", "attention.head_count_kv");
    nct_test_gguf_array(&g, "minicpm.attention.head_count_kv", NCT_GGUF_U8, 4, "\2\2\4\2", 4);
    refuse_gguf(&g, NCT_E_UNSUPPORTED, "'minicpm.attention.head_count_kv' differs from layer to layer");
    g = keys("minicpm", "attention.head_count_kv");
    nct_test_gguf_array(&g, "minicpm.attention.head_count_kv", NCT_GGUF_STRING, 0, "", 0);
    refuse_gguf(&g, NCT_E_FORMAT, "'minicpm.attention.head_count_kv' is 0");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_config__absent_keys_have_the_published_defaults),
        cmocka_unit_test(test_config__scales_become_what_the_model_multiplies_by),
        cmocka_unit_test(test_config__llama_has_no_scales_and_its_own_tie_default),
        cmocka_unit_test(test_config__architectures_go_before_model_type),
        cmocka_unit_test(test_config__numbers_are_checked_by_name),
        cmocka_unit_test(test_config__what_changes_the_arithmetic_is_refused),
        cmocka_unit_test(test_config__longrope_under_all_its_names),
        cmocka_unit_test(test_config__rope_that_is_plain),
        cmocka_unit_test(test_config__rope_factors_must_be_half_a_head_of_positive_numbers),
        cmocka_unit_test(test_config__sparse_settings_and_their_defaults),
        cmocka_unit_test(test_config__ends_may_be_a_number_a_list_or_none),
        cmocka_unit_test(test_config__quantization_of_known_kinds),
        cmocka_unit_test(test_config__side_files_add_ends_hints_template_and_quantization),
        cmocka_unit_test(test_config__quant_config_is_awqs_own_file),
        cmocka_unit_test(test_config__published_files_read_as_documented),
        cmocka_unit_test(test_config_gguf__keys_mean_what_config_json_means),
        cmocka_unit_test(test_config_gguf__older_files_have_built_in_scales),
        cmocka_unit_test(test_config_gguf__factor_tensors_count_without_a_type_key),
        cmocka_unit_test(test_config_gguf__refusals_name_the_key),
        cmocka_unit_test(test_config_gguf__an_array_a_layer_must_be_even),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
