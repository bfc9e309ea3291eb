/* Draft heads on disk: every naming scheme and encoding gives the numbers that were written, and what is not a head, or
 * lies about itself, is refused in a sentence. */
#include "format/draft.h"

#include <sys/stat.h>

#include "refused.h"
#include "support/containers.h"
#include "support/heads.h"

enum { N_ROLES = NCT_DRAFT_HEAD + 1, ROW_MAX = 400 };

/* Compares every number of a role's matrix. */
static void check_matrix(nct_draft_file *file, const nct_test_head *head, nct_draft_role role) {
    size_t n_rows, n_cols;
    nct_stored stored = {0};
    nct_unpacked u;
    float value[ROW_MAX];
    void *scratch = NULL;
    nct_test_head_shape(head, role, &n_rows, &n_cols);
    assert_true(n_cols <= ROW_MAX);
    NCT_ASSERT_OK(nct_draft_file_matrix(file, role, n_rows, n_cols, &stored, fault));
    NCT_ASSERT_OK(stored.codec->describe(&stored, &u, fault));
    NCT_ASSERT_OK(nct_alloc(&scratch, nct_dequantize_scratch_bytes(&stored), 1, fault));
    for (size_t r = 0; r < n_rows; r++) {
        nct_dequantize_row(&stored, &u, r, value, scratch);
        for (size_t c = 0; c < n_cols; c++)
            if (value[c] != nct_test_head_weight(head, role, r, c))
                fail_msg("role %d, [%zu, %zu]: %g, expected %g", role, r, c, (double)value[c],
                         (double)nct_test_head_weight(head, role, r, c));
    }
    nct_free(scratch);
    nct_stored_close(&stored);
}

static void check_ids(const nct_draft_file *file, const nct_test_head *head) {
    int32_t *ids = NULL;
    NCT_ASSERT_OK(nct_draft_file_ids(file, head->draft_vocab, head->vocab, &ids, fault));
    for (size_t i = 0; i < head->draft_vocab; i++)
        assert_int_equal(ids[i], nct_test_head_id(head, i));
    nct_free(ids);
}

static void check_bias(nct_draft_file *file, const nct_test_head *head) {
    nct_stored stored = {0};
    bool found = false;
    float value[ROW_MAX];
    NCT_ASSERT_OK(nct_draft_file_bias(file, head->hidden, &stored, &found, fault));
    assert_int_equal(found, head->bias);
    if (!found)
        return;
    stored.codec->rows(&stored, 0, 1, value, NULL, NULL, NULL);
    for (size_t i = 0; i < head->hidden; i++)
        assert_true(value[i] == nct_test_head_bias(head, i));
}

static void test_draft__every_naming_and_encoding_is_read(void **state) {
    (void)state;
    for (int i = 0; i < 2 * 3 * 4; i++) {
        nct_test_head head = nct_test_head_make(i % 2 ? NCT_DRAFT_EAGLE3 : NCT_DRAFT_EAGLE);
        const char *dir = nct_test_folder();
        nct_draft_file *file = NULL;
        head.names = (nct_test_names)(i / 2 % 3);
        head.codes = (nct_test_codes)(i / 6);
        head.bias = head.kind == NCT_DRAFT_EAGLE && i % 3;
        head.narrow_ids = i % 5 == 0;
        head.file = head.codes == NCT_HEAD_MARLIN ? "model_gptq.safetensors" : NULL;
        nct_test_head_write(dir, &head);
        NCT_ASSERT_OK(nct_draft_file_open(dir, &file, fault));
        assert_int_equal(nct_draft_file_kind(file), head.kind);
        assert_string_equal(nct_draft_file_directory(file), dir);
        assert_int_equal(nct_draft_file_config(file)->draft_vocab_size, head.draft_vocab);
        for (int role = 0; role < N_ROLES; role++)
            if (nct_test_head_has(&head, (nct_draft_role)role))
                check_matrix(file, &head, (nct_draft_role)role);
        check_bias(file, &head);
        if (head.kind == NCT_DRAFT_EAGLE3)
            check_ids(file, &head);
        nct_draft_file_close(file);
        nct_test_folder_remove(dir);
    }
}

static void test_draft__configuration_is_read(void **state) {
    (void)state;
    static const char text[] =
        "{\"architectures\":[\"EagleMiniCPMForCausalLM\"],\"hidden_size\":4096,\"vocab_size\":73448,"
        "\"intermediate_size\":16384,\"num_hidden_layers\":1,\"num_attention_heads\":32,"
        "\"num_key_value_heads\":2,\"rms_norm_eps\":1e-05,\"bias\":true,\"scale_emb\":12,"
        "\"scale_depth\":1.4,\"dim_model_base\":256,\"mup_denominator\":32,"
        "\"rope_scaling\":{\"rope_type\":\"of no matter here\"}}";
    nct_draft_config c;
    nct_quant_config q;
    NCT_ASSERT_OK(nct_draft_config_parse("c", text, sizeof text - 1, &c, &q, fault));
    assert_int_equal(c.vocab_size, 73448);
    assert_int_equal(c.hidden_size, 4096);
    assert_int_equal(c.intermediate_size, 16384);
    assert_int_equal(c.n_heads, 32);
    assert_int_equal(c.n_kv_heads, 2);
    assert_int_equal(c.head_dim, 128);
    assert_int_equal(c.draft_vocab_size, 0);
    assert_true(c.rms_norm_eps == 1e-5 && c.scale_emb == 12 && c.scale_depth == 1.4 &&
                c.dim_model_base == 256 && c.mup_denominator == 32);
    NCT_ASSERT_OK(nct_draft_config_parse("c", "{}", 2, &c, &q, fault));
    assert_true(c.scale_emb != c.scale_emb && c.scale_depth != c.scale_depth &&
                c.dim_model_base != c.dim_model_base &&
                c.mup_denominator != c.mup_denominator); /* not stated */
}

static void refuse_config(const char *text, const char *words) {
    nct_draft_config c;
    nct_quant_config q;
    nct_error err = {0};
    nct_status status = nct_draft_config_parse("the file", text, strlen(text), &c, &q, &err);
    check_sentence(&err, status,
                   strstr(words, "computed") || strstr(words, "readable") ? NCT_E_UNSUPPORTED : NCT_E_FORMAT,
                   words);
}

static void test_draft__bad_configurations_are_refused(void **state) {
    (void)state;
    refuse_config("[]", "no JSON object");
    refuse_config("{\"hidden_size\":0}", "'hidden_size' is 0");
    refuse_config("{\"hidden_size\":\"many\"}", "'hidden_size' is a string");
    refuse_config("{\"num_attention_heads\":7,\"hidden_size\":128}", "cannot be cut into 7 heads");
    refuse_config("{\"num_attention_heads\":4,\"num_key_value_heads\":3}", "cannot share 3");
    refuse_config("{\"draft_vocab_size\":-1}", "'draft_vocab_size' is -1");
    refuse_config("{\"scale_depth\":0}", "'scale_depth' is 0");
    refuse_config("{\"mup_denominator\":\"32\"}", "'mup_denominator' is a string");
    refuse_config("{\"hidden_act\":\"gelu\"}", "not computed here");
    refuse_config("{\"attention_bias\":true}", "not computed here");
    refuse_config("{\"quantization_config\":{\"quant_method\":\"exl2\"}}", "not readable");
    refuse_config("{\"quantization_config\":{\"bits\":3}}", "not readable");
}

/* ------------------------------------------------------------------ files that are no heads */

static void put(nct_test_st *st, const char *name, const char *dtype, size_t a, size_t b) {
    static const uint8_t zeros[1 << 14];
    size_t bytes = dtype[1] == '6' ? 8 : strcmp(dtype, "BOOL") == 0 ? 1 : strcmp(dtype, "BF16") == 0 ? 2 : 4;
    assert_true(a * (b ? b : 1) * bytes <= sizeof zeros);
    nct_test_st_add(st, name, dtype, b ? 2 : 1, (size_t[]){a, b}, zeros, a * (b ? b : 1) * bytes);
}

static const char small_config[] = "{\"hidden_size\":8,\"num_attention_heads\":2,\"num_key_value_heads\":1,"
                                   "\"intermediate_size\":12,\"vocab_size\":16}";

static nct_status parse(nct_test_st *st, nct_draft_file **file, nct_bytes *bytes, nct_error *err) {
    *bytes = nct_test_st_finish(st);
    return nct_draft_file_parse("the head", small_config, sizeof small_config - 1, (uint8_t *)bytes->data,
                                bytes->n, file, err);
}

static void refuse(nct_test_st *st, nct_status wanted, const char *words) {
    nct_draft_file *file = NULL;
    nct_bytes bytes;
    nct_error err = {0};
    nct_status status = parse(st, &file, &bytes, &err);
    check_sentence(&err, status, wanted, words);
    assert_null(file);
    nct_bytes_reset(&bytes);
}

static void test_draft__other_files_are_refused_with_what_they_hold(void **state) {
    (void)state;
    nct_test_st st = {0};
    put(&st, "model.layers.0.post_attention_layernorm.weight", "F32", 8, 0);
    put(&st, "model.layers.0.mlp.up_proj.weight", "F32", 12, 8);
    refuse(&st, NCT_E_FORMAT,
           "no tensor 'fc.weight'; there are: model.layers.0.post_attention_layernorm.weight, model.l");
    refuse(&st, NCT_E_FORMAT, "there are: none");
    put(&st, "fc.weight", "F32", 8, 16);
    refuse(&st, NCT_E_FORMAT, "no tensor 'layers.0.post_attention_layernorm.weight'");
    put(&st, "fc.weight", "F32", 8, 16);
    put(&st, "layers.0.post_attention_layernorm.weight", "F32", 8, 0);
    refuse(&st, NCT_E_FORMAT,
           "either 'input_norm1.weight' (EAGLE) or 'layers.0.hidden_norm.weight' (EAGLE-3)");
    put(&st, "fc.weight", "F32", 8, 16);
    put(&st, "layers.0.post_attention_layernorm.weight", "F32", 8, 0);
    put(&st, "input_norm1.weight", "F32", 8, 0);
    put(&st, "d2t", "I64", 4, 0);
    refuse(&st, NCT_E_FORMAT, "either 'input_norm1.weight'");
    put(&st, "fc.weight", "F32", 8, 16);
    put(&st, "model.layers.0.post_attention_layernorm.weight", "F32", 8, 0);
    put(&st, "model.layers.1.post_attention_layernorm.weight", "F32", 8, 0);
    put(&st, "input_norm1.weight", "F32", 8, 0);
    refuse(&st, NCT_E_UNSUPPORTED, "'model.layers.1.post_attention_layernorm.weight' is of a second layer");
    for (int i = 0; i < 60; i++) /* more names than a sentence holds */
        put(&st, nct_test_path("some.tensor.with.a.long.name.%d", i), "F32", 1, 0);
    refuse(&st, NCT_E_FORMAT, " and 49 more");
}

static void test_draft__directories_without_a_head_are_refused(void **state) {
    (void)state;
    const char *dir = nct_test_folder();
    nct_draft_file *file = NULL;
    nct_error err = {0};
    nct_status status = nct_draft_file_open(dir, &file, &err);
    check_sentence(&err, status, NCT_E_FORMAT, "no config.json");
    nct_test_write(nct_test_path("%s/config.json", dir), small_config, sizeof small_config - 1);
    status = nct_draft_file_open(dir, &file, &err);
    check_sentence(&err, status, NCT_E_FORMAT, "no *.safetensors");
    assert_null(file);
    nct_test_folder_remove(dir);
}

static void test_draft__a_head_in_a_folder_is_found(void **state) {
    (void)state;
    const char *dir = nct_test_folder(), *inner = nct_test_path("%s/MiniCPM4_1-8B-Eagle3-bf16", dir);
    nct_test_head head = nct_test_head_make(NCT_DRAFT_EAGLE3);
    nct_draft_file *file = NULL;
    assert_int_equal(mkdir(nct_test_path("%s/assets", dir), 0777), 0);
    nct_test_head_write(inner, &head);
    NCT_ASSERT_OK(nct_draft_file_open(dir, &file, fault));
    assert_string_equal(nct_draft_file_directory(file), inner);
    nct_draft_file_close(file);
    NCT_ASSERT_OK(nct_draft_file_open(nct_test_path("%s/model.safetensors", inner), &file, fault));
    assert_int_equal(nct_draft_file_kind(file), NCT_DRAFT_EAGLE3);
    nct_draft_file_close(file);
    nct_test_folder_remove(dir);
}

/* A head of EAGLE-3 with a matrix of each kind of fault. */
static void open_faulty(nct_draft_file **file, nct_bytes *bytes) {
    nct_test_st st = {0};
    put(&st, "fc.weight", "F32", 8, 24);
    put(&st, "midlayer.post_attention_layernorm.weight", "F32", 8, 0);
    put(&st, "midlayer.hidden_norm.weight", "F32", 7, 0);
    put(&st, "midlayer.input_layernorm.qweight", "I32", 1, 8);
    put(&st, "midlayer.self_attn.q_proj.weight", "F32", 8, 8);
    put(&st, "midlayer.self_attn.k_proj.qweight", "I32", 3, 4);
    put(&st, "midlayer.self_attn.v_proj.weight", "I32", 4, 16);
    static const float one[4] = {0, 0, 0, 1};
    nct_test_st_add(&st, "midlayer.self_attn.v_proj.bias", "F32", 1, (size_t[]){4}, one, sizeof one);
    put(&st, "midlayer.self_attn.o_proj.weight", "I32", 8, 8);
    nct_error err = {0};
    if (parse(&st, file, bytes, &err) != NCT_OK)
        fail_msg("%s", err.text);
}

static void test_draft__bad_matrices_are_refused(void **state) {
    (void)state;
    static const struct {
        nct_draft_role role;
        size_t n_rows, n_cols;
        nct_status status;
        const char *words;
    } cases[] = {
        {NCT_DRAFT_NORM_HIDDEN, 1, 8, NCT_E_FORMAT, "'midlayer.hidden_norm.weight' is [7], expected [1, 8]"},
        {NCT_DRAFT_NORM_EMBEDDING, 1, 8, NCT_E_FORMAT,
         "'midlayer.input_layernorm.qweight' is [1, 8], which holds no 1 x 8 matrix"},
        {NCT_DRAFT_Q, 8, 16, NCT_E_FORMAT, "'midlayer.self_attn.q_proj.weight' is [8, 8], expected [8, 16]"},
        {NCT_DRAFT_K, 4, 16, NCT_E_FORMAT, "holds no 4 x 16 matrix"},
        {NCT_DRAFT_V, 4, 16, NCT_E_UNSUPPORTED, "'midlayer.self_attn.v_proj.bias' is not zero"},
        {NCT_DRAFT_O, 8, 8, NCT_E_UNSUPPORTED, "is of type I32, which is not readable"},
        {NCT_DRAFT_GATE, 12, 8, NCT_E_FORMAT,
         "no tensor 'midlayer.mlp.gate_proj.weight' or '.qweight'; there are: fc.weight, midlayer"},
        {NCT_DRAFT_NORM_FINAL, 1, 8, NCT_E_FORMAT, "no tensor 'norm.weight'; there are: fc.weight"},
    };
    nct_draft_file *file = NULL;
    nct_bytes bytes;
    open_faulty(&file, &bytes);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        nct_stored stored = {0};
        nct_error err = {0};
        nct_status status =
            nct_draft_file_matrix(file, cases[i].role, cases[i].n_rows, cases[i].n_cols, &stored, &err);
        check_sentence(&err, status, cases[i].status, cases[i].words);
        assert_null(stored.codec);
    }
    nct_draft_file_close(file);
    nct_bytes_reset(&bytes);
}

/* ------------------------------------------------------------------ the draft's vocabulary */

/* Offsets, as I64 or I32, with a mask of n_marked tokens of n_mask (0: no mask), for a head of 3 rows of 16. */
struct ids {
    const char *dtype;
    size_t n;
    int64_t d2t[4];
    size_t n_mask, n_marked;
    const char *words; /* NULL: fine */
};

static void check_offsets(const struct ids *c) {
    nct_test_st st = {0};
    nct_bytes d2t = {0}, bytes;
    nct_draft_file *file = NULL;
    nct_error err = {0};
    uint8_t mask[16] = {0};
    int32_t *ids = NULL;
    bool wide = strcmp(c->dtype, "I64") == 0;
    put(&st, "fc.weight", "F32", 8, 24);
    put(&st, "midlayer.post_attention_layernorm.weight", "F32", 8, 0);
    put(&st, "midlayer.hidden_norm.weight", "F32", 8, 0);
    for (size_t i = 0; i < c->n; i++)
        wide ? nct_test_put64(&d2t, (uint64_t)c->d2t[i]) : nct_test_put32(&d2t, (uint32_t)c->d2t[i]);
    if (c->n)
        nct_test_st_add(&st, "d2t", c->dtype, 1, &c->n, d2t.data, d2t.n);
    memset(mask, 1, c->n_marked);
    if (c->n_mask)
        nct_test_st_add(&st, "t2d", "BOOL", 1, &c->n_mask, mask, c->n_mask);
    assert_int_equal(parse(&st, &file, &bytes, &err), NCT_OK);
    nct_status status = nct_draft_file_ids(file, 3, 16, &ids, &err);
    if (c->words)
        check_sentence(&err, status, NCT_E_FORMAT, c->words);
    else
        assert_int_equal(status, NCT_OK);
    for (size_t i = 0; !c->words && i < 3; i++)
        assert_int_equal(ids[i], (int64_t)i + c->d2t[i]);
    nct_free(ids);
    nct_draft_file_close(file);
    nct_bytes_reset(&bytes);
    nct_bytes_reset(&d2t);
}

static void test_draft__offsets_lead_to_ascending_tokens(void **state) {
    (void)state;
    static const struct ids cases[] = {
        {"I64", 3, {0, 0, 0}, 0, 0, NULL},
        {"I64", 3, {0, 6, 13}, 16, 3, NULL},
        {"I32", 3, {2, 2, 5}, 16, 3, NULL},
        {"I64", 3, {0, 6, 14}, 0, 0, "leads row 2 to token 16, expected one above 7 and below 16"},
        {"I64", 3, {0, 0, -1}, 0, 0, "leads row 2 to token 1, expected one above 1"},
        {"I64", 3, {-1, 0, 0}, 0, 0, "leads row 0 to token -1"},
        {"I32", 3, {3, 0, 0}, 0, 0, "leads row 1 to token 1, expected one above 3"},
        {"I64", 3, {INT64_MAX, 0, 0}, 0, 0, "leads row 0 to token 9223372036854775807"},
        {"I64", 3, {0, INT64_MIN, 0}, 0, 0, "leads row 1 to token -9223372036854775808"},
        {"I64", 4, {0, 0, 0, 0}, 0, 0, "'d2t' is no list of 3 integers"},
        {"F32", 3, {0, 0, 0}, 0, 0, "'d2t' is no list of 3 integers"},
        {"I64", 3, {0, 0, 0}, 15, 3, "'t2d' is no list of 16 truth values"},
        {"I64", 3, {0, 0, 0}, 16, 4, "'t2d' marks 4 tokens, but the draft has 3"},
        {"I64", 0, {0}, 0, 0, "no tensor 'd2t', though the draft has 3 tokens and the target 16"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        check_offsets(&cases[i]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_draft__every_naming_and_encoding_is_read),
        cmocka_unit_test(test_draft__configuration_is_read),
        cmocka_unit_test(test_draft__bad_configurations_are_refused),
        cmocka_unit_test(test_draft__other_files_are_refused_with_what_they_hold),
        cmocka_unit_test(test_draft__directories_without_a_head_are_refused),
        cmocka_unit_test(test_draft__a_head_in_a_folder_is_found),
        cmocka_unit_test(test_draft__bad_matrices_are_refused),
        cmocka_unit_test(test_draft__offsets_lead_to_ascending_tokens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
