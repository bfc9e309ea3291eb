/* Checkpoints as a whole: the same weights come out of every container and encoding, and what is no model
 * is refused in a sentence that says what it is. */
#include "format/format.h"

#include <math.h>
#include <unistd.h>

#include "refused.h"
#include "support/checkpoint.h"
#include "support/containers.h"

/* ------------------------------------------------------------------ every weight, by role */

static const nct_role outer[] = {NCT_ROLE_EMBEDDING, NCT_ROLE_FINAL_NORM, NCT_ROLE_HEAD};

static void check_matrix(const nct_checkpoint *c, const nct_tiny *t, nct_role role, size_t layer) {
    size_t n_rows, n_cols;
    nct_stored s = {0};
    nct_unpacked u;
    void *scratch = NULL;
    float row[1024];
    nct_tiny_shape(t, role, &n_rows, &n_cols);
    assert_true(nct_checkpoint_has(c, role, (int)layer));
    NCT_ASSERT_OK(nct_checkpoint_matrix(c, role, (int)layer, n_rows, n_cols, &s, fault));
    NCT_ASSERT_OK(s.codec->describe(&s, &u, fault));
    NCT_ASSERT_OK(nct_alloc(&scratch, nct_dequantize_scratch_bytes(&s), 1, fault));
    for (size_t n = 0; n<n_rows; n += n_rows> 64 ? 7 : 1) {
        nct_dequantize_row(&s, &u, n, row, scratch);
        for (size_t k = 0; k < n_cols; k++) {
            float want = nct_tiny_weight(t, role, layer, n, k);
            if (row[k] != want)
                fail_msg("%s (%s): row %zu, column %zu is %.9g, expected %.9g", s.name, u.label, n, k,
                         (double)row[k], (double)want);
        }
    }
    nct_free(scratch);
    nct_stored_close(&s);
}

static void check_all(const char *path, const nct_tiny *t) {
    nct_checkpoint *c = NULL;
    nct_tiny filled = nct_tiny_filled(t);
    NCT_ASSERT_OK(nct_checkpoint_open(path, &c, fault));
    for (size_t i = 0; i < 3; i++)
        if (outer[i] != NCT_ROLE_HEAD || !t->tied)
            check_matrix(c, t, outer[i], 0);
    assert_int_equal(nct_checkpoint_has(c, NCT_ROLE_HEAD, 0), !t->tied);
    for (size_t layer = 0; layer < filled.layers; layer++)
        for (nct_role role = NCT_ROLE_ATTN_NORM; role <= NCT_ROLE_DOWN; role++)
            check_matrix(c, t, role, layer);
    nct_checkpoint_close(c);
}

static void test_format__every_encoding_of_a_directory_holds_the_same_weights(void **state) {
    (void)state;
    for (int weights = NCT_TINY_F32; weights <= NCT_TINY_MARLIN; weights++) {
        const char *dir = nct_test_folder();
        nct_tiny t = {.seed = 3, .weights = (nct_tiny_weights)weights};
        nct_tiny_write(dir, &t);
        check_all(dir, &t);
        nct_test_folder_remove(dir);
    }
}

static void test_format__every_readable_gguf_type_holds_the_same_weights(void **state) {
    (void)state;
    static const uint32_t types[] = {0, 1, 30, 2, 3, 6, 7, 8, 12, 13, 14};
    const char *dir = nct_test_folder();
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        /* 256-blocks need rows of 256; 8 heads of 32 */
        nct_tiny t = {.seed = 3, .layers = 1};
        if (types[i] >= 12 && types[i] != 30)
            t.hidden = 256, t.heads = 8;
        const char *path = nct_test_path("%s/%zu.gguf", dir, i);
        nct_tiny_write_gguf(path, &t, types[i]);
        check_all(path, &t);
    }
    nct_test_folder_remove(dir);
}

static void test_format__wide_groups_shards_ties_and_scattered_columns(void **state) {
    (void)state;
    static const nct_tiny kinds[] = {
        {.seed = 5, .weights = NCT_TINY_GPTQ, .group = 64, .n_shards = 3},
        {.seed = 5, .weights = NCT_TINY_GPTQ, .group = 1024, .tied = true}, /* one group a row */
        {.seed = 5, .weights = NCT_TINY_MARLIN, .group = 1024},
        {.seed = 5, .weights = NCT_TINY_GPTQ_ACT, .scattered = true},
        {.seed = 5, .weights = NCT_TINY_AWQ, .group = 128, .n_shards = 2},
        {.seed = 5,
         .weights = NCT_TINY_BF16,
         .scattered = true,
         .heads = 6,
         .kv_heads = 3,
         .head_dim = 20,
         .hidden = 100,
         .intermediate = 36},
    };
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        const char *dir = nct_test_folder();
        nct_tiny_write(dir, &kinds[i]);
        check_all(dir, &kinds[i]);
        nct_test_folder_remove(dir);
    }
}

/* ------------------------------------------------------------------ the configuration and the list */

static void check_config(const char *path, const char *container, bool llama) {
    nct_checkpoint *c = NULL;
    NCT_ASSERT_OK(nct_checkpoint_open(path, &c, fault));
    const nct_raw_config *r = nct_checkpoint_config(c);
    assert_string_equal(nct_checkpoint_container(c), container);
    assert_string_equal(r->architecture, llama ? "llama" : "minicpm");
    assert_int_equal(r->vocab_size, 320);
    assert_int_equal(r->hidden_size, 128);
    assert_int_equal(r->intermediate_size, 256);
    assert_int_equal(r->n_layers, 2);
    assert_int_equal(r->n_heads, 4);
    assert_int_equal(r->n_kv_heads, 2);
    assert_int_equal(r->head_dim, 32);
    assert_int_equal(r->max_positions, 2048);
    assert_true(fabs(r->rms_norm_eps - 1e-6) < 1e-12);
    assert_true(r->scale_emb == (llama ? 1 : 12));
    assert_true(fabs(r->residual_scale - (llama ? 1 : 1.4 / sqrt(2))) < 1e-7);
    assert_true(r->logit_divisor == (llama ? 1 : 2));
    assert_true(r->has_rope_factors);
    assert_true(r->long_factor[4] == 2 && r->short_factor[4] == 1.125);
    assert_int_equal(r->rope_original_max, 2048);
    assert_false(r->tie_word_embeddings);
    assert_int_equal(r->bos, 1);
    assert_int_equal(r->n_eos, 2);
    assert_int_equal(r->eos[0], 2);
    assert_int_equal(r->eos[1], 318);
    assert_non_null(strstr(r->chat_template, "<|im_start|>"));
    size_t n = 0;
    nct_tensor_info info;
    bool seen = false;
    for (; nct_checkpoint_tensor(c, n, &info); n++)
        if (strstr(info.name, "down") && strstr(info.name, ".1.")) {
            seen = true;
            assert_int_equal(info.n_dims, 2);
            assert_int_equal(info.dims[0], 128);
            assert_int_equal(info.dims[1], 256);
            assert_string_equal(info.type, "F16");
            assert_int_equal(info.n_bytes, 128 * 256 * 2);
        }
    assert_true(seen);
    assert_true(n >= 21);
    nct_checkpoint_close(c);
}

static void test_format__directory_and_gguf_state_the_same_configuration(void **state) {
    (void)state;
    const char *dir = nct_test_folder();
    for (int llama = 0; llama < 2; llama++) {
        nct_tiny t = {.seed = 1, .weights = NCT_TINY_F16, .longrope = true, .llama = llama};
        nct_tiny_write(dir, &t);
        const char *gguf = nct_test_path("%s/tiny.gguf", dir);
        nct_tiny_write_gguf(gguf, &t, 1);
        check_config(dir, "safetensors", llama);
        check_config(nct_test_path("%s/model.safetensors", dir), "safetensors", llama);
        check_config(gguf, "gguf", llama);
    }
    nct_test_folder_remove(dir);
}

static void test_format__side_files_are_where_the_weights_are(void **state) {
    (void)state;
    const char *dir = nct_test_folder();
    nct_tiny t = {.seed = 1, .sparse = true};
    nct_checkpoint *c = NULL;
    nct_tiny_write(dir, &t);
    NCT_ASSERT_OK(nct_checkpoint_open(dir, &c, fault));
    assert_string_equal(nct_checkpoint_directory(c), dir);
    assert_null(nct_checkpoint_gguf(c));
    assert_true(nct_checkpoint_config(c)->has_sparse);
    assert_int_equal(nct_checkpoint_config(c)->sparse_dense_len, 448);
    nct_checkpoint_close(c);
    NCT_ASSERT_OK(nct_checkpoint_open(nct_test_path("%s/model.safetensors", dir), &c, fault));
    assert_string_equal(nct_checkpoint_directory(c), nct_test_path("%s/", dir));
    nct_checkpoint_close(c);
    nct_tiny_write_gguf(nct_test_path("%s/m.gguf", dir), &t, 8);
    NCT_ASSERT_OK(nct_checkpoint_open(nct_test_path("%s/m.gguf", dir), &c, fault));
    assert_null(nct_checkpoint_directory(c));
    assert_non_null(nct_checkpoint_gguf(c));
    nct_checkpoint_close(c);
    nct_checkpoint_close(NULL);
    nct_test_folder_remove(dir);
}

/* ------------------------------------------------------------------ what is no model */

static void refuse_open(const char *path, nct_status wanted, const char *words) {
    nct_checkpoint *c = NULL;
    nct_error err = {0};
    nct_status status = nct_checkpoint_open(path, &c, &err);
    check_sentence(&err, status, wanted, words);
    assert_null(c);
}

static const char *put(const char *dir, const char *name, const void *data, size_t n) {
    const char *path = nct_test_path("%s/%s", dir, name);
    nct_test_write(path, data, n);
    return path;
}

static void test_format__files_that_are_something_else_are_called_by_their_name(void **state) {
    (void)state;
    const char *dir = nct_test_folder();
    refuse_open(nct_test_path("%s/nowhere", dir), NCT_E_IO, "No such file");
    refuse_open(put(dir, "a", "PK\3\4abcdefgh", 12), NCT_E_UNSUPPORTED,
                "a PyTorch or other zip archive is not readable");
    refuse_open(put(dir, "b", "\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.", 15),
                NCT_E_UNSUPPORTED, "a PyTorch pickle");
    refuse_open(put(dir, "c", "tjgg\3\0\0\0", 8), NCT_E_UNSUPPORTED, "preceded GGUF");
    refuse_open(put(dir, "d", "version https://git-lfs.github.com/spec/v1\n", 43), NCT_E_FORMAT,
                "Git LFS pointer");
    refuse_open(put(dir, "e", "{\"a\":1}", 7), NCT_E_FORMAT, "give the directory that holds it");
    refuse_open(put(dir, "f", "It was a dark night", 19), NCT_E_FORMAT, "neither GGUF nor safetensors");
    refuse_open(put(dir, "g", "", 0), NCT_E_FORMAT, "neither GGUF nor safetensors");
    refuse_open(put(dir, "g.gguf", "", 0), NCT_E_FORMAT, "runs past the end at 0 (file truncated?)");
    refuse_open(put(dir, "h", "GGUF\1\0\0\0", 8), NCT_E_UNSUPPORTED, "version 1");
    nct_test_folder_remove(dir);
}

static void test_format__directories_say_what_they_lack(void **state) {
    (void)state;
    const char *dir = nct_test_folder();
    refuse_open(dir, NCT_E_FORMAT, "no config.json; a model is a directory with");
    put(dir, "tokenizer.json", "{}", 2);
    refuse_open(dir, NCT_E_FORMAT, "the directory holds a tokenizer, but no model");
    put(dir, "adapter_config.json", "{}", 2);
    refuse_open(dir, NCT_E_FORMAT, "the directory holds an adapter");
    static const char config[] = "{\"model_type\":\"minicpm\"}";
    put(dir, "config.json", config, sizeof config - 1);
    refuse_open(dir, NCT_E_FORMAT, "no *.safetensors");
    put(dir, "pytorch_model.bin", "PK\3\4", 4);
    refuse_open(dir, NCT_E_UNSUPPORTED, "PyTorch weights are not readable, expected *.safetensors");
    put(dir, "model.safetensors", "\2\0\0\0\0\0\0\0{", 9);
    refuse_open(dir, NCT_E_FORMAT, "model.safetensors: the header ends at byte 10 of 9");
    nct_test_folder_remove(dir);
}

/* A directory with config.json of the tiny model and one file of tensors. */
static void write_tensors(const char *dir, nct_test_st *st) {
    nct_bytes file = nct_test_st_finish(st);
    put(dir, "model.safetensors", file.data, file.n);
    nct_bytes_reset(&file);
}

static void test_format__draft_heads_are_no_models(void **state) {
    (void)state;
    const char *dir = nct_test_folder();
    nct_tiny_write(dir, &(nct_tiny){.seed = 1});
    nct_test_st st = {0};
    nct_test_st_add(&st, "layers.0.input_layernorm.weight", "F32", 1, (size_t[]){1}, "\0\0\0\0", 4);
    nct_test_st_add(&st, "fc.qweight", "I32", 1, (size_t[]){1}, "\0\0\0\0", 4);
    write_tensors(dir, &st);
    refuse_open(dir, NCT_E_UNSUPPORTED, "'fc.qweight' belongs to a draft head");
    nct_test_folder_remove(dir);
}

/* ------------------------------------------------------------------ matrices that are not right */

static nct_checkpoint *open_with(const char *dir, nct_test_st *st) {
    nct_checkpoint *c = NULL;
    write_tensors(dir, st);
    NCT_ASSERT_OK(nct_checkpoint_open(dir, &c, fault));
    return c;
}

static void refuse_matrix(const nct_checkpoint *c, nct_role role, size_t n_rows, size_t n_cols,
                          nct_status wanted, const char *words) {
    nct_stored s = {0};
    nct_error err = {0};
    nct_status status = nct_checkpoint_matrix(c, role, 0, n_rows, n_cols, &s, &err);
    check_sentence(&err, status, wanted, words);
    assert_null(s.codec);
}

static const uint8_t zeros[4096];

static void test_format__shapes_and_types_must_fit_the_role(void **state) {
    (void)state;
    const char *dir = nct_test_folder();
    nct_tiny_write(dir, &(nct_tiny){.seed = 1});
    nct_test_st st = {0};
    nct_test_st_add(&st, "model.norm.weight", "F32", 1, (size_t[]){8}, zeros, 32);
    nct_test_st_add(&st, "model.layers.0.self_attn.o_proj.weight", "F16", 2, (size_t[]){4, 8}, zeros, 64);
    nct_test_st_add(&st, "model.layers.0.mlp.up_proj.weight", "U32", 2, (size_t[]){4, 1}, zeros, 16);
    nct_test_st_add(&st, "model.layers.0.mlp.down_proj.weight", "F8_E4M3", 2, (size_t[]){4, 8}, zeros, 32);
    nct_test_st_add(&st, "model.layers.0.self_attn.q_proj.weight", "F16", 2, (size_t[]){8, 8}, zeros, 128);
    nct_test_st_add(&st, "model.layers.0.self_attn.q_proj.bias", "BF16", 1, (size_t[]){8},
                    "\0\0\0\x80\0\0\0\0\0\0\0\0\0\0\0\0", 16);
    nct_test_st_add(&st, "model.layers.0.self_attn.k_proj.weight", "F16", 2, (size_t[]){4, 8}, zeros, 64);
    nct_test_st_add(&st, "model.layers.0.self_attn.k_proj.bias", "F32", 1, (size_t[]){1}, "\0\0\x80\x3f", 4);
    nct_checkpoint *c = open_with(dir, &st);
    refuse_matrix(c, NCT_ROLE_FINAL_NORM, 1, 9, NCT_E_FORMAT, "'model.norm.weight' is [8], expected [1, 9]");
    refuse_matrix(c, NCT_ROLE_FINAL_NORM, 2, 8, NCT_E_FORMAT, "'model.norm.weight' is [8], expected [2, 8]");
    refuse_matrix(c, NCT_ROLE_O, 8, 4, NCT_E_FORMAT, "o_proj.weight' is [4, 8], expected [8, 4]");
    refuse_matrix(c, NCT_ROLE_UP, 4, 8, NCT_E_UNSUPPORTED, "quantized as MLX does");
    refuse_matrix(c, NCT_ROLE_DOWN, 4, 8, NCT_E_UNSUPPORTED,
                  "of type F8_E4M3, which is not readable; readable:");
    refuse_matrix(c, NCT_ROLE_K, 4, 8, NCT_E_UNSUPPORTED, "k_proj.bias' is not zero");
    refuse_matrix(
        c, NCT_ROLE_V, 4, 8, NCT_E_FORMAT,
        "no tensor 'model.layers.0.self_attn.v_proj.weight' or 'model.layers.0.self_attn.v_proj.qweight'");
    assert_false(nct_checkpoint_has(c, NCT_ROLE_V, 0));
    nct_stored s = {0};
    NCT_ASSERT_OK(
        nct_checkpoint_matrix(c, NCT_ROLE_Q, 0, 8, 8, &s, fault)); /* a bias of zeros and minus zeros */
    nct_checkpoint_close(c);
    nct_test_folder_remove(dir);
}

#define V "model.layers.0.self_attn.v_proj"

static void test_format__int4_parts_must_fit_each_other(void **state) {
    (void)state;
    const char *dir = nct_test_folder();
    nct_tiny_write(dir, &(nct_tiny){.seed = 1, .weights = NCT_TINY_GPTQ});
    static const struct {
        size_t words[2], scales[2], zeros[2], idx;
        const char *word_type, *scale_type, *said;
        nct_status status;
    } cases[] = {
        {{8, 8},
         {2, 8},
         {2, 1},
         64,
         "I32",
         "F16",
         "zero points are not all 8",
         NCT_E_FORMAT}, /* zeros are 1 */
        {{8, 9},
         {2, 8},
         {2, 1},
         64,
         "I32",
         "F16",
         "is [8, 9], which holds no 8 x 64 matrix as GPTQ, AWQ or Marlin",
         NCT_E_FORMAT},
        {{8, 8}, {0, 0}, {2, 1}, 64, "I32", "F16", "no tensor '" V ".scales'", NCT_E_FORMAT},
        {{8, 8}, {2, 7}, {2, 1}, 64, "I32", "F16", "scales' is [2, 7], expected [2, 8]", NCT_E_FORMAT},
        {{8, 8},
         {5, 8},
         {5, 1},
         64,
         "I32",
         "F16",
         "5 groups, into which 64 columns cannot be cut",
         NCT_E_FORMAT},
        {{8, 8}, {8, 8}, {8, 1}, 64, "I32", "F16", "not all 8", NCT_E_FORMAT},
        {{8, 8}, {2, 8}, {1, 2}, 64, "I32", "F16", "qzeros' is [1, 2], expected [2, 1]", NCT_E_FORMAT},
        {{8, 8}, {2, 8}, {2, 1}, 32, "I32", "F16", "g_idx' is [32], expected [1, 64]", NCT_E_FORMAT},
        {{8, 8}, {2, 8}, {2, 1}, 64, "F32", "F16", "qweight' is of type F32, expected I32", NCT_E_FORMAT},
        {{8, 8},
         {2, 8},
         {2, 1},
         64,
         "I32",
         "I16",
         "scales' is of type I16, expected F16, BF16 or F32",
         NCT_E_FORMAT},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        nct_test_st st = {0};
        size_t n = cases[i].words[0] * cases[i].words[1];
        nct_test_st_add(&st, V ".qweight", cases[i].word_type, 2, cases[i].words, zeros, n * 4);
        n = cases[i].scales[0] * cases[i].scales[1];
        if (n)
            nct_test_st_add(&st, V ".scales", cases[i].scale_type, 2, cases[i].scales, zeros, n * 2);
        n = cases[i].zeros[0] * cases[i].zeros[1];
        nct_test_st_add(&st, V ".qzeros", "I32", 2, cases[i].zeros, zeros, n * 4);
        nct_test_st_add(&st, V ".g_idx", "I32", 1, &cases[i].idx, zeros, cases[i].idx * 4);
        nct_checkpoint *c = open_with(dir, &st);
        refuse_matrix(c, NCT_ROLE_V, 8, 64, cases[i].status, cases[i].said);
        nct_checkpoint_close(c);
    }
    nct_test_folder_remove(dir);
}

static void test_format__desc_act_without_g_idx_is_refused(void **state) {
    (void)state;
    const char *dir = nct_test_folder();
    nct_tiny_write(dir, &(nct_tiny){.seed = 1, .weights = NCT_TINY_GPTQ_ACT});
    nct_test_st st = {0};
    nct_test_st_add(&st, V ".qweight", "I32", 2, (size_t[]){8, 8}, zeros, 256);
    nct_test_st_add(&st, V ".scales", "F16", 2, (size_t[]){2, 8}, zeros, 32);
    nct_test_st_add(&st, V ".qzeros", "I32", 2, (size_t[]){2, 1}, "wwwwwwww", 8);
    nct_checkpoint *c = open_with(dir, &st);
    refuse_matrix(c, NCT_ROLE_V, 8, 64, NCT_E_FORMAT, "no tensor '" V ".g_idx', though 'desc_act' is true");
    nct_checkpoint_close(c);
    nct_test_folder_remove(dir);
}

static void test_format__unreadable_gguf_types_are_named(void **state) {
    (void)state;
    const char *dir = nct_test_folder();
    nct_test_gguf g = {0};
    nct_test_gguf_string(&g, "general.architecture", "minicpm");
    nct_test_gguf_u32(&g, "minicpm.block_count", 1);
    nct_test_gguf_u32(&g, "minicpm.embedding_length", 256);
    nct_test_gguf_u32(&g, "minicpm.feed_forward_length", 256);
    nct_test_gguf_u32(&g, "minicpm.attention.head_count", 128);
    nct_test_gguf_add(&g, "output.weight", 18, 2, (size_t[]){1, 256}, zeros, 98);
    nct_test_gguf_add(&g, "token_embd.weight", 35, 2, (size_t[]){1, 256}, zeros, 66);
    nct_test_gguf_add(&g, "output_norm.weight", 8, 1, (size_t[]){32}, zeros, 34);
    nct_test_gguf_add(&g, "blk.0.attn_q.weight", 0, 2, (size_t[]){3, 1}, zeros, 12);
    nct_bytes file = nct_test_gguf_finish(&g);
    const char *path = put(dir, "m.gguf", file.data, file.n);
    nct_checkpoint *c = NULL;
    NCT_ASSERT_OK(nct_checkpoint_open(path, &c, fault));
    refuse_matrix(c, NCT_ROLE_HEAD, 1, 256, NCT_E_UNSUPPORTED,
                  "m.gguf: 'output.weight' is of type IQ3_XXS, which this build cannot read; readable: Q4_0");
    refuse_matrix(c, NCT_ROLE_EMBEDDING, 1, 256, NCT_E_UNSUPPORTED, "TQ2_0");
    refuse_matrix(c, NCT_ROLE_FINAL_NORM, 1, 32, NCT_E_UNSUPPORTED, "is quantized, expected plain numbers");
    refuse_matrix(c, NCT_ROLE_K, 1, 32, NCT_E_FORMAT, "no tensor 'blk.0.attn_k.weight'");
    refuse_matrix(c, NCT_ROLE_Q, 3, 1, NCT_E_FORMAT, "3 rows, which are no whole heads");
    nct_checkpoint_close(c);
    nct_bytes_reset(&file);
    nct_test_folder_remove(dir);
}

static void test_format__tied_matrices_may_be_stored_under_either_name(void **state) {
    (void)state;
    const char *dir = nct_test_folder();
    for (int tied = 0; tied < 2; tied++) {
        nct_tiny_write(dir, &(nct_tiny){.seed = 1, .tied = tied});
        nct_test_st st = {0};
        nct_test_st_add(&st, "lm_head.weight", "F32", 2, (size_t[]){3, 4}, zeros, 48);
        nct_checkpoint *c = open_with(dir, &st);
        if (tied) {
            nct_stored s = {0};
            NCT_ASSERT_OK(nct_checkpoint_matrix(c, NCT_ROLE_EMBEDDING, 0, 3, 4, &s, fault));
            assert_string_equal(s.name, "lm_head.weight");
        } else {
            refuse_matrix(c, NCT_ROLE_EMBEDDING, 3, 4, NCT_E_FORMAT, "no tensor 'model.embed_tokens.weight'");
        }
        nct_checkpoint_close(c);
    }
    nct_test_folder_remove(dir);
}

static void test_format__vision_models_keep_their_language_part_under_llm(void **state) {
    (void)state;
    const char *dir = nct_test_folder();
    nct_tiny_write(dir, &(nct_tiny){.seed = 1});
    nct_test_st st = {0};
    nct_test_st_add(&st, "llm.model.norm.weight", "F32", 1, (size_t[]){4}, zeros, 16);
    nct_test_st_add(&st, "vpm.patch.weight", "F32", 5, (size_t[]){1, 1, 1, 1, 1}, zeros, 4);
    nct_checkpoint *c = open_with(dir, &st);
    nct_stored s = {0};
    NCT_ASSERT_OK(nct_checkpoint_matrix(c, NCT_ROLE_FINAL_NORM, 0, 1, 4, &s, fault));
    assert_string_equal(s.name, "llm.model.norm.weight");
    nct_checkpoint_close(c);
    nct_test_folder_remove(dir);
}

/* ------------------------------------------------------------------ damage */

/* Every tensor of the file through every check; nothing to find but the absence of a crash. */
static void touch_all(const char *path) {
    nct_checkpoint *c = NULL;
    if (nct_checkpoint_open(path, &c, NULL) != NCT_OK)
        return;
    for (nct_role role = NCT_ROLE_EMBEDDING; role <= NCT_ROLE_DOWN; role++) {
        size_t n_rows, n_cols;
        nct_stored s = {0};
        nct_tiny_shape(&(nct_tiny){0}, role, &n_rows, &n_cols);
        if (nct_checkpoint_matrix(c, role, 0, n_rows, n_cols, &s, NULL) == NCT_OK) {
            nct_unpacked u;
            float row[1024];
            void *scratch = NULL;
            NCT_ASSERT_OK(s.codec->describe(&s, &u, fault));
            NCT_ASSERT_OK(nct_alloc(&scratch, nct_dequantize_scratch_bytes(&s), 1, fault));
            nct_dequantize_row(&s, &u, n_rows - 1, row, scratch);
            nct_free(scratch);
        }
        nct_stored_close(&s);
    }
    nct_checkpoint_close(c);
}

static void test_format__flipped_bits_in_headers_never_crash(void **state) {
    (void)state;
    const char *dir = nct_test_folder();
    const char *files[2];
    nct_tiny_write(dir, &(nct_tiny){.seed = 1, .layers = 1, .weights = NCT_TINY_GPTQ_ASYM});
    files[0] = nct_test_path("%s/model.safetensors", dir);
    files[1] = nct_test_path("%s/m.gguf", dir);
    nct_tiny_write_gguf(files[1], &(nct_tiny){.seed = 1, .layers = 1}, 2);
    for (size_t f = 0; f < 2; f++) {
        size_t n;
        char *data = nct_test_read(files[f], &n);
        size_t head = n < 12000 ? n : 12000;
        for (size_t i = 0; i < head; i += 1 + i / 40) {
            char old = data[i];
            data[i] ^= (char)(1 << i % 8);
            nct_test_write(files[f], data, n);
            touch_all(f == 0 ? dir : files[f]);
            data[i] = old;
        }
        nct_test_write(files[f], data, n);
        nct_free(data);
    }
    nct_test_folder_remove(dir);
}

static void test_format__truncated_files_are_refused_in_a_sentence(void **state) {
    (void)state;
    const char *dir = nct_test_folder();
    nct_tiny_write(dir, &(nct_tiny){.seed = 1, .layers = 1});
    const char *safetensors = nct_test_path("%s/model.safetensors", dir),
               *gguf = nct_test_path("%s/m.gguf", dir);
    nct_tiny_write_gguf(gguf, &(nct_tiny){.seed = 1, .layers = 1}, 2);
    for (int f = 0; f < 2; f++) {
        size_t n;
        char *data = nct_test_read(f ? gguf : safetensors, &n);
        for (size_t cut = 1; cut < n; cut *= 2) {
            nct_test_write(f ? gguf : safetensors, data, n - cut);
            refuse_open(f ? gguf : dir, NCT_E_FORMAT, f || n - cut < 8 ? "" : "model.safetensors");
        }
        nct_test_write(f ? gguf : safetensors, data, n);
        nct_free(data);
    }
    nct_test_folder_remove(dir);
}

static void test_format__allocations_that_fail_leave_nothing(void **state) {
    (void)state;
    const char *dir = nct_test_folder();
    nct_tiny_write(dir, &(nct_tiny){.seed = 1, .layers = 1, .longrope = true, .weights = NCT_TINY_GPTQ_ACT});
    const char *gguf = nct_test_path("%s/m.gguf", dir);
    nct_tiny_write_gguf(gguf, &(nct_tiny){.seed = 1, .layers = 1, .longrope = true}, 2);
    for (int f = 0; f < 2; f++) {
        long n = 0;
        for (nct_status status = NCT_E_MEMORY; status != NCT_OK; n++) {
            nct_checkpoint *c = NULL;
            nct_stored s = {0};
            nct_mem_fail_in = n;
            status = nct_checkpoint_open(f ? gguf : dir, &c, NULL);
            if (status == NCT_OK)
                status = nct_checkpoint_matrix(c, NCT_ROLE_DOWN, 0, 128, 256, &s, NULL);
            nct_mem_fail_in = -1;
            assert_true(status == NCT_OK || status == NCT_E_MEMORY);
            nct_stored_close(&s);
            nct_checkpoint_close(c);
            assert_in_range(n, 0, 1000);
        }
        assert_true(n > 20);
    }
    nct_test_folder_remove(dir);
}

/* ------------------------------------------------------------------ files made by the reference */

static void compare(const char *a, const char *b, nct_role role, size_t layer, size_t n_rows, size_t n_cols) {
    nct_checkpoint *c[2] = {0};
    const char *path[2] = {a, b};
    nct_stored s[2] = {0};
    nct_unpacked u[2];
    static float row[2][1024];
    for (int i = 0; i < 2; i++) {
        NCT_ASSERT_OK(nct_checkpoint_open(path[i], &c[i], fault));
        NCT_ASSERT_OK(nct_checkpoint_matrix(c[i], role, (int)layer, n_rows, n_cols, &s[i], fault));
        NCT_ASSERT_OK(s[i].codec->describe(&s[i], &u[i], fault));
    }
    void *scratch = NULL;
    NCT_ASSERT_OK(nct_alloc(&scratch, nct_dequantize_scratch_bytes(&s[0]), 1, fault));
    for (size_t n = 0; n < n_rows; n++) {
        for (int i = 0; i < 2; i++)
            nct_dequantize_row(&s[i], &u[i], n, row[i], scratch);
        nct_test_same_bits(s[1].name, row[1], row[0], n_cols);
    }
    nct_free(scratch);
    for (int i = 0; i < 2; i++) {
        nct_stored_close(&s[i]);
        nct_checkpoint_close(c[i]);
    }
}

static void test_format__reference_marlin_holds_what_its_gptq_holds(void **state) {
    (void)state;
    const char *gptq = nct_test_path("%s/tiny-int4", NCT_ORACLE_CKPT),
               *marlin = nct_test_path("%s/tiny-int4.marlin", NCT_ORACLE_CKPT);
    nct_test_need(marlin);
    static const struct {
        nct_role role;
        size_t n_rows, n_cols;
    } all[] = {{NCT_ROLE_Q, 256, 256},    {NCT_ROLE_K, 64, 256},       {NCT_ROLE_V, 64, 256},
               {NCT_ROLE_O, 256, 256},    {NCT_ROLE_GATE, 384, 256},   {NCT_ROLE_UP, 384, 256},
               {NCT_ROLE_DOWN, 256, 384}, {NCT_ROLE_ATTN_NORM, 1, 256}};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        for (size_t layer = 0; layer < 2; layer++)
            compare(gptq, marlin, all[i].role, layer, all[i].n_rows, all[i].n_cols);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_format__every_encoding_of_a_directory_holds_the_same_weights),
        cmocka_unit_test(test_format__every_readable_gguf_type_holds_the_same_weights),
        cmocka_unit_test(test_format__wide_groups_shards_ties_and_scattered_columns),
        cmocka_unit_test(test_format__directory_and_gguf_state_the_same_configuration),
        cmocka_unit_test(test_format__side_files_are_where_the_weights_are),
        cmocka_unit_test(test_format__files_that_are_something_else_are_called_by_their_name),
        cmocka_unit_test(test_format__directories_say_what_they_lack),
        cmocka_unit_test(test_format__draft_heads_are_no_models),
        cmocka_unit_test(test_format__shapes_and_types_must_fit_the_role),
        cmocka_unit_test(test_format__int4_parts_must_fit_each_other),
        cmocka_unit_test(test_format__desc_act_without_g_idx_is_refused),
        cmocka_unit_test(test_format__unreadable_gguf_types_are_named),
        cmocka_unit_test(test_format__tied_matrices_may_be_stored_under_either_name),
        cmocka_unit_test(test_format__vision_models_keep_their_language_part_under_llm),
        cmocka_unit_test(test_format__flipped_bits_in_headers_never_crash),
        cmocka_unit_test(test_format__truncated_files_are_refused_in_a_sentence),
        cmocka_unit_test(test_format__allocations_that_fail_leave_nothing),
        cmocka_unit_test(test_format__reference_marlin_holds_what_its_gptq_holds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
