#include "support/checkpoint.h"

#include <errno.h>
#include <math.h>
#include <sys/stat.h>

#include "base/num.h"
#include "base/rng.h"
#include "support/containers.h"
#include "support/int4.h"
#include "support/support.h"

enum { N_ROLES = NCT_ROLE_DOWN + 1, WINDOW = 2048 };

nct_tiny nct_tiny_filled(const nct_tiny *tiny) {
    nct_tiny t = *tiny;
    const struct {
        size_t *field, value;
    } defaults[] = {{&t.hidden, 128}, {&t.intermediate, 256}, {&t.layers, 2},
                    {&t.heads, 4},    {&t.kv_heads, 2},       {&t.head_dim, 32},
                    {&t.vocab, 320},  {&t.group, 32},         {&t.n_shards, 1},
                    {&t.kernel, 32},  {&t.stride, 16},        {&t.block, 64},
                    {&t.topk, 5},     {&t.blocks_near, 2},    {&t.dense_len, 448}};
    for (size_t i = 0; i < sizeof defaults / sizeof *defaults; i++)
        if (*defaults[i].field == 0)
            *defaults[i].field = defaults[i].value;
    return t;
}

/* ------------------------------------------------------------------ the weights */

void nct_tiny_shape(const nct_tiny *tiny, nct_role role, size_t *n_rows, size_t *n_cols) {
    nct_tiny t = nct_tiny_filled(tiny);
    *n_cols = t.hidden;
    switch (role) {
    case NCT_ROLE_EMBEDDING:
    case NCT_ROLE_HEAD:
        *n_rows = t.vocab;
        break;
    case NCT_ROLE_Q:
        *n_rows = t.heads * t.head_dim;
        break;
    case NCT_ROLE_K:
    case NCT_ROLE_V:
        *n_rows = t.kv_heads * t.head_dim;
        break;
    case NCT_ROLE_O:
        *n_rows = t.hidden, *n_cols = t.heads * t.head_dim;
        break;
    case NCT_ROLE_GATE:
    case NCT_ROLE_UP:
        *n_rows = t.intermediate;
        break;
    case NCT_ROLE_DOWN:
        *n_rows = t.hidden, *n_cols = t.intermediate;
        break;
    default:
        *n_rows = 1;
    }
}

static bool is_norm(nct_role role) {
    return role == NCT_ROLE_FINAL_NORM || role == NCT_ROLE_ATTN_NORM || role == NCT_ROLE_FFN_NORM;
}
static bool is_projection(nct_role role) {
    return !is_norm(role) && role != NCT_ROLE_EMBEDDING && role != NCT_ROLE_HEAD;
}

/* A random number for a place in a matrix; `what` keeps codes, scales and zero points apart. */
static uint64_t at(const nct_tiny *t, nct_role role, size_t layer, unsigned what, size_t row, size_t col) {
    uint64_t z = nct_rng_mix(t->seed * 64 + (uint64_t)role + 1) ^ ((uint64_t)layer * 16 + what);
    return nct_rng_mix(nct_rng_mix(z) ^ ((uint64_t)row << 32 | (uint64_t)col));
}

static int q_of(const nct_tiny *t, nct_role role, size_t layer, size_t row, size_t col) {
    uint64_t any = at(t, role, layer, 0, row, col);
    return t->ternary && is_projection(role) ? (int)(any % 3) - 1 : (int)(any % 10) - 5;
}

/* Sized so that a product keeps the variance of its input: q has a standard deviation of 2.9. */
static float s_of(const nct_tiny *t, nct_role role, size_t layer, size_t row, size_t group) {
    size_t n_rows, n_cols;
    nct_tiny_shape(t, role, &n_rows, &n_cols);
    double width = role == NCT_ROLE_EMBEDDING ? (t->tied ? 3000 : 60) : (double)n_cols;
    int e = (int)ceil(log2(2.9 * 11.5 * sqrt(width)));
    return ldexpf((float)(8 + at(t, role, layer, 1, row, group) % 8), -e);
}

static unsigned zero_of(const nct_tiny *t, nct_role role, size_t layer, size_t row, size_t group) {
    return 5 + (unsigned)(at(t, role, layer, 2, row, group) % 7);
}

/* The group of a column. Scattered: a prime larger than any width here steps through the columns. */
static size_t group_of(const nct_tiny *t, nct_role role, size_t layer, size_t n_cols, size_t k) {
    if (t->scattered && is_projection(role))
        k = (7919 * k + at(t, role, layer, 3, 0, 0) % n_cols) % n_cols;
    return k / t->group;
}

float nct_tiny_weight(const nct_tiny *tiny, nct_role role, size_t layer, size_t row, size_t col) {
    nct_tiny t = nct_tiny_filled(tiny);
    if (is_norm(role))
        return (float)(56 + at(&t, role, layer, 0, row, col) % 16) / 64;
    size_t n_rows, n_cols;
    nct_tiny_shape(&t, role, &n_rows, &n_cols);
    return (float)q_of(&t, role, layer, row, col) *
           s_of(&t, role, layer, row, group_of(&t, role, layer, n_cols, col));
}

/* ------------------------------------------------------------------ a matrix, spelled out */

struct matrix {
    nct_role role;
    size_t layer, n_rows, n_cols, n_groups;
    int8_t *q;  /* [n_rows][n_cols] */
    size_t *g;  /* [n_cols] */
    float *s;   /* [n_rows][n_groups] */
    uint8_t *z; /* [n_rows][n_groups] */
};

static void *room(size_t n, size_t item_bytes) {
    void *p = NULL;
    NCT_ASSERT_OK(nct_alloc(&p, n, item_bytes, fault));
    return p;
}

static struct matrix matrix_open(const nct_tiny *t, nct_role role, size_t layer) {
    struct matrix m = {.role = role, .layer = layer};
    nct_tiny_shape(t, role, &m.n_rows, &m.n_cols);
    m.n_groups = (m.n_cols + t->group - 1) / t->group;
    m.q = room(m.n_rows * m.n_cols, 1);
    m.g = room(m.n_cols, sizeof *m.g);
    m.s = room(m.n_rows * m.n_groups, sizeof *m.s);
    m.z = room(m.n_rows * m.n_groups, 1);
    for (size_t k = 0; k < m.n_cols; k++)
        m.g[k] = group_of(t, role, layer, m.n_cols, k);
    for (size_t n = 0; n < m.n_rows; n++) {
        for (size_t k = 0; k < m.n_cols; k++)
            m.q[n * m.n_cols + k] = (int8_t)q_of(t, role, layer, n, k);
        for (size_t g = 0; g < m.n_groups; g++) {
            m.s[n * m.n_groups + g] = s_of(t, role, layer, n, g);
            m.z[n * m.n_groups + g] = (uint8_t)zero_of(t, role, layer, n, g);
        }
    }
    return m;
}

static void matrix_close(struct matrix *m) {
    nct_free(m->q);
    nct_free(m->g);
    nct_free(m->s);
    nct_free(m->z);
}

static float value(const struct matrix *m, size_t n, size_t k) {
    return (float)m->q[n * m->n_cols + k] * m->s[n * m->n_groups + m->g[k]];
}

/* The rows of b under those of a; both have the same columns. */
static void matrix_join(struct matrix *a, struct matrix *b) {
    struct matrix j = *a;
    j.n_rows = a->n_rows + b->n_rows;
    size_t codes = a->n_rows * a->n_cols, groups = a->n_rows * a->n_groups;
    j.q = room(j.n_rows * j.n_cols, 1);
    j.g = room(j.n_cols, sizeof *j.g);
    j.s = room(j.n_rows * j.n_groups, sizeof *j.s);
    j.z = room(j.n_rows * j.n_groups, 1);
    memcpy(j.q, a->q, codes);
    memcpy(j.q + codes, b->q, b->n_rows * b->n_cols);
    memcpy(j.g, a->g, j.n_cols * sizeof *j.g);
    memcpy(j.s, a->s, groups * sizeof *j.s);
    memcpy(j.s + groups, b->s, b->n_rows * b->n_groups * sizeof *j.s);
    memcpy(j.z, a->z, groups);
    memcpy(j.z + groups, b->z, b->n_rows * b->n_groups);
    matrix_close(a);
    matrix_close(b);
    *a = j;
}

/* ------------------------------------------------------------------ safetensors */

struct writing {
    const nct_tiny *tiny;
    nct_test_st *shard;
    size_t next; /* shard for the next role */
    nct_bytes map;
};

static void add(struct writing *w, const char *stem, const char *suffix, const char *dtype, size_t a,
                size_t b, const void *data, size_t n_bytes) {
    size_t shard = w->next % w->tiny->n_shards;
    const char *name = nct_test_path("%s.%s", stem, suffix);
    nct_test_st_add(&w->shard[shard], name, dtype, b ? 2 : 1, (size_t[]){a, b}, data, n_bytes);
    NCT_ASSERT_OK(nct_bytes_printf(&w->map, fault, "%s\"%s\":\"model-%05zu-of-%05zu.safetensors\"",
                                   w->map.n ? ",\n" : "", name, shard + 1, w->tiny->n_shards));
}

static const char *float_type(const nct_tiny *t) {
    return t->weights == NCT_TINY_F32 ? "F32" : t->weights == NCT_TINY_BF16 ? "BF16" : "F16";
}

static void put_float(nct_bytes *b, const char *type, float v) {
    if (strcmp(type, "F32") == 0)
        nct_test_put32(b, nct_bits_from_f32(v));
    else
        nct_test_put16(b, type[0] == 'B' ? nct_f32_to_bf16(v) : nct_f32_to_f16(v));
}

static void add_floats(struct writing *w, const char *stem, nct_role role, size_t layer) {
    struct matrix m = matrix_open(w->tiny, role, layer);
    nct_bytes data = {0};
    for (size_t n = 0; n < m.n_rows; n++)
        for (size_t k = 0; k < m.n_cols; k++)
            put_float(&data, float_type(w->tiny),
                      is_norm(role) ? nct_tiny_weight(w->tiny, role, layer, n, k) : value(&m, n, k));
    add(w, stem, "weight", float_type(w->tiny), is_norm(role) ? m.n_cols : m.n_rows,
        is_norm(role) ? 0 : m.n_cols, data.data, data.n);
    nct_bytes_reset(&data);
    matrix_close(&m);
}

static void add_int4(struct writing *w, const char *stem, struct matrix *m) {
    const nct_tiny *t = w->tiny;
    size_t N = m->n_rows, K = m->n_cols, G = m->n_groups;
    bool asym = t->weights == NCT_TINY_GPTQ_ASYM || t->weights == NCT_TINY_AWQ,
         marlin = t->weights == NCT_TINY_MARLIN;
    uint8_t *code = room(N * K, 1), *zero = room(G * N, 1), *words = room(N * K / 2, 1),
            *zeros = room(G * N / 2, 1);
    uint16_t *scale = room(G * N, 2), *permuted = room(G * N, 2);
    /* Without scattered columns, act-order still shows in groups that are numbered the other way round. */
    bool reversed = t->weights == NCT_TINY_GPTQ_ACT && !t->scattered;
    for (size_t n = 0; n < N; n++) {
        for (size_t k = 0; k < K; k++)
            code[n * K + k] = (uint8_t)(m->q[n * K + k] + (asym ? m->z[n * G + m->g[k]] : 8));
        for (size_t g = 0; g < G; g++) {
            size_t to = (reversed ? G - 1 - g : g) * N + n;
            zero[to] = asym ? m->z[n * G + g] : 8;
            scale[to] = nct_f32_to_f16(m->s[n * G + g]);
        }
    }
    if (marlin) {
        nct_test_marlin_codes(code, N, K, words);
        nct_test_marlin_scales(scale, G, N, permuted);
        add(w, stem, "qweight", "I32", K / 16, 2 * N, words, N * K / 2);
        add(w, stem, "scales", "F16", G, N, permuted, G * N * 2);
    } else if (t->weights == NCT_TINY_AWQ) {
        nct_test_awq_codes(code, N, K, words);
        nct_test_awq_zeros(zero, G, N, zeros);
        add(w, stem, "qweight", "I32", K, N / 8, words, N * K / 2);
        add(w, stem, "qzeros", "I32", G, N / 8, zeros, G * N / 2);
        add(w, stem, "scales", "F16", G, N, scale, G * N * 2);
    } else {
        nct_bytes g_idx = {0};
        for (size_t k = 0; k < K; k++)
            nct_test_put32(&g_idx, (uint32_t)(reversed ? G - 1 - m->g[k] : m->g[k]));
        nct_test_gptq_codes(code, N, K, words);
        nct_test_gptq_zeros(zero, G, N, t->weights != NCT_TINY_GPTQ_V2, zeros);
        add(w, stem, "qweight", "I32", K / 8, N, words, N * K / 2);
        add(w, stem, "qzeros", "I32", G, N / 8, zeros, G * N / 2);
        add(w, stem, "scales", "F16", G, N, scale, G * N * 2);
        add(w, stem, "g_idx", "I32", K, 0, g_idx.data, g_idx.n);
        nct_bytes_reset(&g_idx);
    }
    void *all[] = {code, zero, words, zeros, scale, permuted};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        nct_free(all[i]);
    matrix_close(m);
}

static void add_projection(struct writing *w, const char *stem, nct_role role, size_t layer,
                           size_t n_joined) {
    if (w->tiny->weights <= NCT_TINY_BF16) {
        add_floats(w, stem, role, layer);
        return;
    }
    struct matrix m = matrix_open(w->tiny, role, layer);
    for (size_t i = 1; i < n_joined; i++) {
        struct matrix next = matrix_open(w->tiny, (nct_role)(role + i), layer);
        matrix_join(&m, &next);
    }
    add_int4(w, stem, &m);
}

static void add_layer(struct writing *w, size_t layer) {
    static const struct {
        nct_role role;
        const char *name;
        size_t n_joined;
    } plain[] = {{NCT_ROLE_Q, "self_attn.q_proj", 1}, {NCT_ROLE_K, "self_attn.k_proj", 1},
                 {NCT_ROLE_V, "self_attn.v_proj", 1}, {NCT_ROLE_O, "self_attn.o_proj", 1},
                 {NCT_ROLE_GATE, "mlp.gate_proj", 1}, {NCT_ROLE_UP, "mlp.up_proj", 1},
                 {NCT_ROLE_DOWN, "mlp.down_proj", 1}},
      fused[] = {{NCT_ROLE_Q, "self_attn.qkv_proj", 3},
                 {NCT_ROLE_O, "self_attn.o_proj", 1},
                 {NCT_ROLE_GATE, "mlp.gate_up_proj", 2},
                 {NCT_ROLE_DOWN, "mlp.down_proj", 1}};
    bool marlin = w->tiny->weights == NCT_TINY_MARLIN;
    add_floats(w, nct_test_path("model.layers.%zu.input_layernorm", layer), NCT_ROLE_ATTN_NORM, layer);
    for (size_t i = 0; i < (marlin ? 4u : 7u); i++, w->next++)
        add_projection(w, nct_test_path("model.layers.%zu.%s", layer, (marlin ? fused : plain)[i].name),
                       (marlin ? fused : plain)[i].role, layer, (marlin ? fused : plain)[i].n_joined);
    add_floats(w, nct_test_path("model.layers.%zu.post_attention_layernorm", layer), NCT_ROLE_FFN_NORM,
               layer);
}

static void write_bytes(const char *path, nct_bytes *b) {
    nct_test_write(path, b->data, b->n);
    nct_bytes_reset(b);
}

static void write_safetensors(const char *dir, const nct_tiny *t) {
    struct writing w = {.tiny = t, .shard = room(t->n_shards, sizeof(nct_test_st))};
    add_floats(&w, "model.embed_tokens", NCT_ROLE_EMBEDDING, 0);
    for (size_t layer = 0; layer < t->layers; layer++)
        add_layer(&w, layer);
    add_floats(&w, "model.norm", NCT_ROLE_FINAL_NORM, 0);
    if (!t->tied)
        add_floats(&w, "lm_head", NCT_ROLE_HEAD, 0);
    for (size_t i = 0; i < t->n_shards; i++) {
        nct_bytes file = nct_test_st_finish(&w.shard[i]);
        write_bytes(t->n_shards == 1
                        ? nct_test_path("%s/model.safetensors", dir)
                        : nct_test_path("%s/model-%05zu-of-%05zu.safetensors", dir, i + 1, t->n_shards),
                    &file);
    }
    nct_bytes index = {0};
    NCT_ASSERT_OK(nct_bytes_printf(&index, fault, "{\"metadata\":{},\"weight_map\":{%s}}\n", w.map.data));
    if (t->n_shards > 1)
        nct_test_write(nct_test_path("%s/model.safetensors.index.json", dir), index.data, index.n);
    nct_bytes_reset(&index);
    nct_bytes_reset(&w.map);
    nct_free(w.shard);
}

static double factor(size_t i, bool longer) { return 1 + (double)i / (longer ? 4 : 32); }

static void put_list(nct_bytes *b, const nct_tiny *t, bool longer) {
    for (size_t i = 0; i < t->head_dim / 2; i++)
        NCT_ASSERT_OK(nct_bytes_printf(b, fault, "%s%.9g", i ? "," : "", factor(i, longer)));
}

enum { IM_END_BYTES = 686 }; /* <|im_end|> in the byte-level tokenizer */

static void write_config(const char *dir, const nct_tiny *t) {
    nct_bytes b = {0};
    NCT_ASSERT_OK(nct_bytes_printf(&b, fault,
                                   "{\"architectures\":[\"%s\"],\"model_type\":\"%s\",\"hidden_act\":"
                                   "\"silu\",\"vocab_size\":%zu,\"hidden_size\":%zu,\n"
                                   "\"intermediate_size\":%zu,\"num_hidden_layers\":%zu,\"num_attention_"
                                   "heads\":%zu,\"num_key_value_heads\":%zu,\"head_dim\":%zu,\n"
                                   "\"max_position_embeddings\":%d,\"rms_norm_eps\":1e-06,\"rope_theta\":"
                                   "10000.0,\"attention_bias\":false,\"tie_word_embeddings\":%s,\n"
                                   "\"scale_emb\":12,\"scale_depth\":1.4,\"dim_model_base\":64,\"bos_token_"
                                   "id\":%d,\"eos_token_id\":[%d,%zu]",
                                   t->llama ? "LlamaForCausalLM" : "MiniCPMForCausalLM",
                                   t->llama ? "llama" : "minicpm", t->vocab, t->hidden, t->intermediate,
                                   t->layers, t->heads, t->kv_heads, t->head_dim, WINDOW,
                                   t->tied ? "true" : "false", t->bytes ? 0 : 1, t->bytes ? 1 : 2,
                                   t->bytes ? IM_END_BYTES : t->vocab - 2));
    if (t->longrope) {
        NCT_ASSERT_OK(nct_bytes_printf(&b, fault,
                                       ",\n\"rope_scaling\":{\"rope_type\":\"longrope\",\"original_max_"
                                       "position_embeddings\":%d,\"short_factor\":[",
                                       WINDOW));
        put_list(&b, t, false);
        NCT_ASSERT_OK(nct_bytes_add_str(&b, "],\"long_factor\":[", fault));
        put_list(&b, t, true);
        NCT_ASSERT_OK(nct_bytes_add_str(&b, "]}", fault));
    }
    if (t->sparse)
        NCT_ASSERT_OK(nct_bytes_printf(
            &b, fault,
            ",\n\"sparse_config\":{\"kernel_size\":%zu,\"kernel_stride\":%zu,\"init_blocks\":1,\"block_"
            "size\":%zu,"
            "\"window_size\":%zu,\"topk\":%zu,\"use_nope\":false,\"dense_len\":%zu}",
            t->kernel, t->stride, t->block, t->blocks_near * t->block, t->topk, t->dense_len));
    if (t->weights == NCT_TINY_AWQ)
        NCT_ASSERT_OK(nct_bytes_printf(
            &b, fault,
            ",\n\"quantization_config\":{\"quant_method\":\"awq\",\"bits\":4,\"group_size\":%zu,"
            "\"zero_point\":true,\"version\":\"gemm\"}",
            t->group));
    else if (t->weights > NCT_TINY_BF16)
        NCT_ASSERT_OK(nct_bytes_printf(
            &b, fault,
            ",\n\"quantization_config\":{\"quant_method\":\"gptq\",\"bits\":4,\"group_size\":%zu,\"sym\":%s,"
            "\"desc_act\":%s,\"checkpoint_format\":\"%s\"}",
            t->group, t->weights == NCT_TINY_GPTQ_ASYM ? "false" : "true",
            t->weights == NCT_TINY_GPTQ_ACT ? "true" : "false",
            t->weights == NCT_TINY_GPTQ_V2 ? "gptq_v2" : "gptq"));
    NCT_ASSERT_OK(nct_bytes_add_str(&b, "}\n", fault));
    write_bytes(nct_test_path("%s/config.json", dir), &b);
    const char *generation = t->bytes ? "{\"bos_token_id\":0,\"eos_token_id\":1,\"temperature\":0.8}\n"
                                      : "{\"bos_token_id\":1,\"eos_token_id\":2,\"do_sample\":true,"
                                        "\"temperature\":0.8,\"top_p\":0.8}\n";
    nct_test_write(nct_test_path("%s/generation_config.json", dir), generation, strlen(generation));
}

/* ------------------------------------------------------------------ the tokenizer */

#define SPACE "\xe2\x96\x81"
static const char TEMPLATE[] =
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + "
    "'<|im_end|>' + '\\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% "
    "endif %}";

/* Pieces between the byte pieces and the unused ones, each made of two before it, named by what stands left
 * of the blank. */
static const char *const merges[] = {"t h",  "th e",       "i n",      "a n",
                                     "an d", SPACE " the", SPACE " t", SPACE " a"};
static const char chars[] = "abcdefghinort.,";
enum {
    BYTES = 3,
    CHARS = BYTES + 256,
    SPACE_ID = CHARS + sizeof chars - 1,
    MERGES = SPACE_ID + 1,
    UNUSED = MERGES + sizeof merges / sizeof *merges
};

static const char *piece_of(const nct_tiny *t, size_t id) {
    static const char *const first[] = {"<unk>", "<s>", "</s>"};
    assert_true(t->vocab >= UNUSED + 2);
    if (id < BYTES)
        return first[id];
    if (id < CHARS)
        return nct_test_path("<0x%02zX>", id - BYTES);
    if (id < SPACE_ID)
        return nct_test_path("%c", chars[id - CHARS]);
    if (id == SPACE_ID)
        return SPACE;
    if (id < UNUSED) {
        const char *merge = merges[id - MERGES], *blank = strchr(merge, ' ');
        return nct_test_path("%.*s%s", (int)(blank - merge), merge, blank + 1);
    }
    if (id >= t->vocab - 2)
        return id == t->vocab - 2 ? "<|im_end|>" : "<|im_start|>";
    return nct_test_path("<unused%zu>", id);
}

/* The one that golden/make_bytelevel.py made. */
static void write_byte_tokenizer(const char *dir) {
    static const char config[] = "{\"add_bos_token\":false,\"bos_token\":\"<s>\",\"eos_token\":\"<|im_end|>\","
                                 "\"chat_template\":\"<|im_start|> <function name= <tool_response>\"}\n";
    size_t n;
    char *json = nct_test_read(NCT_TESTS_DIR "/golden/bytelevel/tokenizer.json", &n);
    nct_test_write(nct_test_path("%s/tokenizer.json", dir), json, n);
    nct_test_write(nct_test_path("%s/tokenizer_config.json", dir), config, sizeof config - 1);
    nct_free(json);
}

static void write_tokenizer(const char *dir, const nct_tiny *t) {
    if (t->bytes) {
        write_byte_tokenizer(dir);
        return;
    }
    nct_bytes b = {0};
    NCT_ASSERT_OK(nct_bytes_add_str(&b, "{\"version\":\"1.0\",\"added_tokens\":[", fault));
    for (size_t i = 0; i < 5; i++) {
        size_t id = i < 3 ? i : t->vocab - 5 + i;
        NCT_ASSERT_OK(nct_bytes_printf(
            &b, fault,
            "%s{\"id\":%zu,\"content\":\"%s\",\"single_word\":false,\"lstrip\":false,\"rstrip\":false,"
            "\"normalized\":false,\"special\":true}",
            i ? ",\n" : "", id, piece_of(t, id)));
    }
    NCT_ASSERT_OK(nct_bytes_add_str(
        &b,
        "],\n\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"Prepend\",\"prepend\":"
        "\"" SPACE "\"},{\"type\":\"Replace\","
        "\"pattern\":{\"String\":\" \"},\"content\":\"" SPACE
        "\"}]},\"pre_tokenizer\":null,\n\"post_processor\":{\"type\":\"TemplateProcessing\","
        "\"single\":[{\"SpecialToken\":{\"id\":\"<s>\",\"type_id\":0}},{\"Sequence\":{\"id\":\"A\",\"type_"
        "id\":0}}],\"pair\":[{\"Sequence\":{\"id\":"
        "\"A\",\"type_id\":0}},{\"Sequence\":{\"id\":\"B\",\"type_id\":1}}],\"special_tokens\":{\"<s>\":{"
        "\"id\":\"<s>\",\"ids\":[1],\"tokens\":"
        "[\"<s>\"]}}},\n\"decoder\":{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"Replace\",\"pattern\":{"
        "\"String\":\"" SPACE "\"},\"content\":\" \"},"
        "{\"type\":\"ByteFallback\"},{\"type\":\"Fuse\"},{\"type\":\"Strip\",\"content\":\" "
        "\",\"start\":1,\"stop\":0}]},\n\"model\":{\"type\":\"BPE\","
        "\"dropout\":null,\"unk_token\":\"<unk>\",\"continuing_subword_prefix\":null,\"end_of_word_suffix\":"
        "null,\"fuse_unk\":true,"
        "\"byte_fallback\":true,\"ignore_merges\":false,\n\"vocab\":{",
        fault));
    for (size_t id = 0; id < t->vocab - 2; id++)
        NCT_ASSERT_OK(nct_bytes_printf(&b, fault, "%s\"%s\":%zu", id ? "," : "", piece_of(t, id), id));
    NCT_ASSERT_OK(nct_bytes_add_str(&b, "},\n\"merges\":[", fault));
    for (size_t i = 0; i < sizeof merges / sizeof *merges; i++)
        NCT_ASSERT_OK(nct_bytes_printf(&b, fault, "%s\"%s\"", i ? "," : "", merges[i]));
    NCT_ASSERT_OK(nct_bytes_add_str(&b, "]}}\n", fault));
    write_bytes(nct_test_path("%s/tokenizer.json", dir), &b);

    NCT_ASSERT_OK(nct_bytes_add_str(
        &b,
        "{\"add_bos_token\":true,\"add_eos_token\":false,\"bos_token\":\"<s>\",\"eos_token\":\"<|im_end|>\"",
        fault));
    if (!t->no_template) {
        NCT_ASSERT_OK(nct_bytes_add_str(&b, ",\"chat_template\":", fault));
        NCT_ASSERT_OK(nct_json_write_string(&b, TEMPLATE, strlen(TEMPLATE), fault));
    }
    NCT_ASSERT_OK(nct_bytes_add_str(&b, "}\n", fault));
    write_bytes(nct_test_path("%s/tokenizer_config.json", dir), &b);
}

void nct_tiny_write(const char *dir, const nct_tiny *tiny) {
    nct_tiny t = nct_tiny_filled(tiny);
    if (mkdir(dir, 0777) != 0 && errno != EEXIST)
        fail_msg("%s: no folder could be made", dir);
    write_safetensors(dir, &t);
    write_config(dir, &t);
    write_tokenizer(dir, &t);
}

/* ------------------------------------------------------------------ GGUF */

/* One block of the type, from whole numbers q and the scale of each run of 16 columns. */
static void put_block(nct_bytes *b, uint32_t type, const int8_t *q, const float *s16) {
    uint8_t packed[256] = {0};
    switch (type) {
    case 2: /* Q4_0 */
    case 3: /* Q4_1 */
    case 6: /* Q5_0 */
    case 7: /* Q5_1 */
    case 8: /* Q8_0 */
        nct_test_put16(b, nct_f32_to_f16(s16[0]));
        if (type == 3 || type == 7)
            nct_test_put16(b, nct_f32_to_f16((type == 3 ? -8 : -16) * s16[0]));
        if (type == 8) {
            nct_test_put(b, q, 32);
            break;
        }
        if (type == 6 || type == 7) {
            uint32_t high = 0;
            for (int i = 0; i < 32; i++)
                high |= (uint32_t)(q[i] + 16) >> 4 << i;
            nct_test_put32(b, high);
        }
        for (int i = 0; i < 32; i++)
            packed[i & 15] |= (uint8_t)(((q[i] + (type < 6 ? 8 : 16)) & 15) << 4 * (i >> 4));
        nct_test_put(b, packed, 16);
        break;
    case 12:   /* Q4_K */
    case 13: { /* Q5_K */
        /* One step for the block, the scale's four bits for each sub-block; a minimum of as many steps. */
        int offset = type == 12 ? 8 : 16;
        float d = ldexpf(1, ilogbf(s16[0]) - 3);
        uint8_t scales[12] = {0}, high[32] = {0};
        nct_test_put16(b, nct_f32_to_f16(d));
        nct_test_put16(b, nct_f32_to_f16((float)offset * d));
        for (int s = 0; s < 8; s++) {
            unsigned sc = (unsigned)(s16[2 * s] / d);
            if (s < 4) {
                scales[s] |= (uint8_t)(sc & 63);
                scales[s + 4] |= (uint8_t)(sc & 63);
            } else {
                scales[s + 4] |= (uint8_t)((sc & 15) | (sc & 15) << 4);
                scales[s - 4] |= (uint8_t)(sc >> 4 << 6);
                scales[s] |= (uint8_t)(sc >> 4 << 6);
            }
        }
        nct_test_put(b, scales, 12);
        for (int i = 0; i < 256; i++) {
            unsigned v = (unsigned)(q[i] + offset), s = (unsigned)i >> 5;
            packed[32 * (s >> 1) + (i & 31)] |= (uint8_t)((v & 15) << 4 * (s & 1));
            high[i & 31] |= (uint8_t)(v >> 4 << s);
        }
        if (type == 13)
            nct_test_put(b, high, 32);
        nct_test_put(b, packed, 128);
        break;
    }
    case 14: { /* Q6_K */
        float d = ldexpf(1, ilogbf(s16[0]) - 3);
        uint8_t high[64] = {0};
        for (int i = 0; i < 256; i++) {
            unsigned v = (unsigned)(q[i] + 32), h = (unsigned)i >> 7, r = (unsigned)i >> 5 & 3,
                     l = (unsigned)i & 31;
            packed[64 * h + 32 * (r & 1) + l] |= (uint8_t)((v & 15) << 4 * (r >> 1));
            high[32 * h + l] |= (uint8_t)(v >> 4 << 2 * r);
        }
        nct_test_put(b, packed, 128);
        nct_test_put(b, high, 64);
        for (int i = 0; i < 16; i++)
            nct_test_put(b, &(int8_t){(int8_t)(s16[i] / d)}, 1);
        nct_test_put16(b, nct_f32_to_f16(d));
        break;
    }
    default:
        fail_msg("no writer for ggml type %u", type);
    }
}

static void add_gguf(nct_test_gguf *g, const nct_tiny *t, const char *name, nct_role role, size_t layer,
                     uint32_t type) {
    struct matrix m = matrix_open(t, role, layer);
    nct_bytes data = {0};
    if (is_norm(role))
        type = NCT_TYPE_F32;
    else if (!is_projection(role) && type != NCT_TYPE_F32)
        type = NCT_TYPE_F16;
    const nct_ggml_type *info = nct_ggml_type_find(type);
    assert_int_equal(m.n_cols % info->block_elems, 0);
    for (size_t row = 0; row < m.n_rows; row++) {
        size_t d = t->head_dim, n = row;
        if (role == NCT_ROLE_Q || role == NCT_ROLE_K) /* row h d + 2 i + s comes from h d + s d / 2 + i */
            n = row / d * d + row % 2 * (d / 2) + row % d / 2;
        if (info->block_elems == 1) {
            for (size_t k = 0; k < m.n_cols; k++) {
                float v = is_norm(role) ? nct_tiny_weight(t, role, layer, 0, k) : value(&m, n, k);
                put_float(&data, info->name, v);
            }
            continue;
        }
        for (size_t k = 0; k < m.n_cols; k += info->block_elems) {
            float s16[16];
            for (size_t i = 0; i < info->block_elems / 16; i++)
                s16[i] = m.s[n * m.n_groups + m.g[k + 16 * i]];
            put_block(&data, type, m.q + n * m.n_cols + k, s16);
        }
    }
    nct_test_gguf_add(g, name, type, is_norm(role) ? 1 : 2,
                      is_norm(role) ? &m.n_cols : (size_t[]){m.n_rows, m.n_cols}, data.data, data.n);
    nct_bytes_reset(&data);
    matrix_close(&m);
}

static void add_factors(nct_test_gguf *g, const nct_tiny *t, bool longer) {
    nct_bytes data = {0};
    size_t n = t->head_dim / 2;
    for (size_t i = 0; i < n; i++)
        nct_test_put32(&data, nct_bits_from_f32((float)factor(i, longer)));
    nct_test_gguf_add(g, longer ? "rope_factors_long.weight" : "rope_factors_short.weight", NCT_TYPE_F32, 1,
                      &n, data.data, data.n);
    nct_bytes_reset(&data);
}

static void add_gguf_keys(nct_test_gguf *g, const nct_tiny *t) {
    const char *a = t->llama ? "llama" : "minicpm";
    nct_test_gguf_string(g, "general.architecture", a);
    nct_test_gguf_string(g, "general.name", "tiny");
    const struct {
        const char *key;
        size_t value;
    } numbers[] = {{"block_count", t->layers},
                   {"context_length", WINDOW},
                   {"embedding_length", t->hidden},
                   {"feed_forward_length", t->intermediate},
                   {"attention.head_count", t->heads},
                   {"attention.head_count_kv", t->kv_heads},
                   {"attention.key_length", t->head_dim},
                   {"attention.value_length", t->head_dim},
                   {"vocab_size", t->vocab}};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        nct_test_gguf_u32(g, nct_test_path("%s.%s", a, numbers[i].key), (uint32_t)numbers[i].value);
    nct_test_gguf_f32(g, nct_test_path("%s.attention.layer_norm_rms_epsilon", a), 1e-6);
    nct_test_gguf_f32(g, nct_test_path("%s.rope.freq_base", a), 10000);
    if (!t->llama) {
        nct_test_gguf_f32(g, "minicpm.embedding_scale", 12);
        nct_test_gguf_f32(g, "minicpm.residual_scale", 1.4 / sqrt((double)t->layers));
        nct_test_gguf_f32(g, "minicpm.logit_scale", (double)t->hidden / 64);
    }
    nct_test_gguf_string(g, "tokenizer.ggml.model", "llama");
    nct_test_gguf_u32(g, "tokenizer.ggml.bos_token_id", 1);
    nct_test_gguf_u32(g, "tokenizer.ggml.eos_token_id", 2);
    nct_test_gguf_u32(g, "tokenizer.ggml.eot_token_id", (uint32_t)t->vocab - 2);
    nct_test_gguf_u32(g, "tokenizer.ggml.unknown_token_id", 0);
    nct_test_gguf_bool(g, "tokenizer.ggml.add_bos_token", true);
    if (!t->no_template)
        nct_test_gguf_string(g, "tokenizer.chat_template", TEMPLATE);
    nct_bytes tokens = {0}, scores = {0}, kinds = {0};
    for (size_t id = 0; id < t->vocab; id++) {
        nct_test_put_string(&tokens, piece_of(t, id));
        nct_test_put32(&scores, nct_bits_from_f32(-1000)); /* flat: ids order the merges */
        nct_test_put32(&kinds, id == 0 ? 2 : id < BYTES || id >= t->vocab - 2 ? 3 : id < CHARS ? 6 : 1);
    }
    nct_test_gguf_array(g, "tokenizer.ggml.tokens", 8, t->vocab, tokens.data, tokens.n);
    nct_test_gguf_array(g, "tokenizer.ggml.scores", 6, t->vocab, scores.data, scores.n);
    nct_test_gguf_array(g, "tokenizer.ggml.token_type", 5, t->vocab, kinds.data, kinds.n);
    nct_bytes_reset(&tokens);
    nct_bytes_reset(&scores);
    nct_bytes_reset(&kinds);
}

void nct_tiny_write_gguf(const char *path, const nct_tiny *tiny, uint32_t type) {
    static const char *const names[N_ROLES] = {
        [NCT_ROLE_EMBEDDING] = "token_embd",
        [NCT_ROLE_FINAL_NORM] = "output_norm",
        [NCT_ROLE_HEAD] = "output",
        [NCT_ROLE_ATTN_NORM] = "attn_norm",
        [NCT_ROLE_Q] = "attn_q",
        [NCT_ROLE_K] = "attn_k",
        [NCT_ROLE_V] = "attn_v",
        [NCT_ROLE_O] = "attn_output",
        [NCT_ROLE_FFN_NORM] = "ffn_norm",
        [NCT_ROLE_GATE] = "ffn_gate",
        [NCT_ROLE_UP] = "ffn_up",
        [NCT_ROLE_DOWN] = "ffn_down",
    };
    nct_tiny t = nct_tiny_filled(tiny);
    nct_test_gguf g = {0};
    add_gguf_keys(&g, &t);
    if (t.longrope) {
        add_factors(&g, &t, true);
        add_factors(&g, &t, false);
    }
    for (int role = NCT_ROLE_EMBEDDING; role <= NCT_ROLE_HEAD; role++)
        if (role != NCT_ROLE_HEAD || !t.tied)
            add_gguf(&g, &t, nct_test_path("%s.weight", names[role]), (nct_role)role, 0, type);
    for (size_t layer = 0; layer < t.layers; layer++)
        for (int role = NCT_ROLE_ATTN_NORM; role < N_ROLES; role++)
            add_gguf(&g, &t, nct_test_path("blk.%zu.%s.weight", layer, names[role]), (nct_role)role, layer,
                     type);
    nct_bytes file = nct_test_gguf_finish(&g);
    write_bytes(path, &file);
}
