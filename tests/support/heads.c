#include "support/heads.h"

#include <errno.h>
#include <math.h>
#include <sys/stat.h>

#include "base/num.h"
#include "base/rng.h"
#include "support/containers.h"
#include "support/int4.h"
#include "support/support.h"

enum { GROUP = 32 };

nct_test_head nct_test_head_make(nct_draft_kind kind) {
    return (nct_test_head){.kind = kind,
                           .seed = 7,
                           .hidden = 128,
                           .intermediate = 256,
                           .heads = 4,
                           .kv_heads = 2,
                           .head_dim = 32,
                           .vocab = 320,
                           .draft_vocab = kind == NCT_DRAFT_EAGLE3 ? 200 : 0};
}

nct_test_head nct_test_head_for(const nct_config *c, nct_draft_kind kind) {
    return (nct_test_head){.kind = kind,
                           .seed = 9,
                           .hidden = c->hidden,
                           .intermediate = 64,
                           .heads = c->n_heads,
                           .kv_heads = c->n_kv_heads,
                           .head_dim = c->head_dim,
                           .vocab = c->n_vocab,
                           .draft_vocab = kind == NCT_DRAFT_EAGLE3 ? c->n_vocab / 2 : 0};
}

/* ------------------------------------------------------------------ numbers */

static bool is_norm(nct_draft_role role) {
    return role >= NCT_DRAFT_NORM_EMBEDDING && role <= NCT_DRAFT_NORM_FINAL;
}

bool nct_test_head_has(const nct_test_head *h, nct_draft_role role) {
    if (h->kind == NCT_DRAFT_EAGLE3)
        return role != NCT_DRAFT_NORM_INPUT;
    return role != NCT_DRAFT_NORM_FINAL && role != NCT_DRAFT_HEAD;
}

void nct_test_head_shape(const nct_test_head *h, nct_draft_role role, size_t *n_rows, size_t *n_cols) {
    bool third = h->kind == NCT_DRAFT_EAGLE3;
    size_t in = third ? 2 * h->hidden : h->hidden;
    *n_rows = 1, *n_cols = h->hidden;
    switch (role) {
    case NCT_DRAFT_FC:
        *n_rows = h->hidden, *n_cols = (third ? 3 : 2) * h->hidden;
        break;
    case NCT_DRAFT_Q:
        *n_rows = h->heads * h->head_dim, *n_cols = in;
        break;
    case NCT_DRAFT_K:
    case NCT_DRAFT_V:
        *n_rows = h->kv_heads * h->head_dim, *n_cols = in;
        break;
    case NCT_DRAFT_O:
        *n_rows = h->hidden, *n_cols = h->heads * h->head_dim;
        break;
    case NCT_DRAFT_GATE:
    case NCT_DRAFT_UP:
        *n_rows = h->intermediate;
        break;
    case NCT_DRAFT_DOWN:
        *n_rows = h->hidden, *n_cols = h->intermediate;
        break;
    case NCT_DRAFT_HEAD:
        *n_rows = h->draft_vocab;
        break;
    default:
        break;
    }
}

static uint64_t at(const nct_test_head *h, unsigned role, unsigned what, size_t row, size_t col) {
    uint64_t z = nct_rng_mix(h->seed * 64 + role + 1) ^ what;
    return nct_rng_mix(nct_rng_mix(z) ^ ((uint64_t)row << 32 | (uint64_t)col));
}

static int q_of(const nct_test_head *h, nct_draft_role role, size_t row, size_t col) {
    return (int)(at(h, role, 0, row, col) % 10) - 5;
}

/* Sized so that a product keeps the variance of its input: q has a standard deviation of 2.9. */
static float s_of(const nct_test_head *h, nct_draft_role role, size_t row, size_t group) {
    size_t n_rows, n_cols;
    nct_test_head_shape(h, role, &n_rows, &n_cols);
    int e = (int)ceil(log2(2.9 * 11.5 * sqrt((double)n_cols)));
    return ldexpf((float)(8 + at(h, role, 1, row, group) % 8), -e);
}

float nct_test_head_weight(const nct_test_head *h, nct_draft_role role, size_t row, size_t col) {
    if (h->value)
        return h->value(h, role, row, col);
    if (is_norm(role))
        return (float)(56 + at(h, role, 0, row, col) % 16) / 64;
    return (float)q_of(h, role, row, col) * s_of(h, role, row, col / GROUP);
}

float nct_test_head_bias(const nct_test_head *h, size_t i) {
    return ((float)(at(h, 40, 0, 0, i) % 16) - 8) / 16;
}

int32_t nct_test_head_id(const nct_test_head *h, size_t row) {
    return (int32_t)(row + row * (h->vocab - h->draft_vocab) / h->draft_vocab);
}

/* ------------------------------------------------------------------ files */

static void *room(size_t n, size_t item_bytes) {
    void *p = NULL;
    NCT_ASSERT_OK(nct_alloc(&p, n, item_bytes, fault));
    return p;
}

static void add(nct_test_st *st, const char *stem, const char *suffix, const char *dtype, size_t a, size_t b,
                const void *data, size_t n_bytes) {
    nct_test_st_add(st, nct_test_path("%s%s", stem, suffix), dtype, b ? 2 : 1, (size_t[]){a, b}, data,
                    n_bytes);
}

static void add_floats(nct_test_st *st, const nct_test_head *h, nct_draft_role role, const char *stem) {
    size_t n_rows, n_cols;
    nct_bytes data = {0};
    nct_test_head_shape(h, role, &n_rows, &n_cols);
    for (size_t r = 0; r < n_rows; r++)
        for (size_t c = 0; c < n_cols; c++) {
            float w = nct_test_head_weight(h, role, r, c);
            if (h->codes == NCT_HEAD_F32)
                nct_test_put32(&data, nct_bits_from_f32(w));
            else
                nct_test_put16(&data, nct_f32_to_bf16(w));
        }
    bool norm = is_norm(role);
    add(st, stem, ".weight", h->codes == NCT_HEAD_F32 ? "F32" : "BF16", norm ? n_cols : n_rows,
        norm ? 0 : n_cols, data.data, data.n);
    nct_bytes_reset(&data);
}

/* Codes and scales of columns first .. first + K - 1 of matrices under one another, as one [N][K]. */
struct coded {
    size_t N, K, G;
    uint8_t *code, *zero; /* [N][K], [G][N] */
    uint16_t *scale;      /* [G][N] */
};

static struct coded code(const nct_test_head *h, const nct_draft_role *roles, size_t n_roles, size_t first,
                         size_t K) {
    struct coded m = {.K = K, .G = K / GROUP};
    size_t n_rows, n_cols, row = 0;
    for (size_t i = 0; i < n_roles; i++) {
        nct_test_head_shape(h, roles[i], &n_rows, &n_cols);
        m.N += n_rows;
    }
    m.code = room(m.N * K, 1);
    m.zero = room(m.G * m.N, 1);
    m.scale = room(m.G * m.N, 2);
    for (size_t i = 0; i < n_roles; i++) {
        nct_test_head_shape(h, roles[i], &n_rows, &n_cols);
        for (size_t r = 0; r < n_rows; r++, row++) {
            for (size_t k = 0; k < K; k++)
                m.code[row * K + k] = (uint8_t)(q_of(h, roles[i], r, first + k) + 8);
            for (size_t g = 0; g < m.G; g++) {
                m.scale[g * m.N + row] = nct_f32_to_f16(s_of(h, roles[i], r, first / GROUP + g));
                m.zero[g * m.N + row] = 8;
            }
        }
    }
    return m;
}

static void coded_close(struct coded *m) {
    nct_free(m->code);
    nct_free(m->zero);
    nct_free(m->scale);
}

static void add_gptq(nct_test_st *st, const nct_test_head *h, nct_draft_role role, const char *stem) {
    size_t n_rows, n_cols;
    nct_test_head_shape(h, role, &n_rows, &n_cols);
    struct coded m = code(h, &role, 1, 0, n_cols);
    uint8_t *words = room(m.N * m.K / 2, 1), *zeros = room(m.G * m.N / 2, 1);
    nct_bytes g_idx = {0};
    for (size_t k = 0; k < m.K; k++)
        nct_test_put32(&g_idx, (uint32_t)(k / GROUP));
    nct_test_gptq_codes(m.code, m.N, m.K, words);
    nct_test_gptq_zeros(m.zero, m.G, m.N, 1, zeros);
    add(st, stem, ".qweight", "I32", m.K / 8, m.N, words, m.N * m.K / 2);
    add(st, stem, ".qzeros", "I32", m.G, m.N / 8, zeros, m.G * m.N / 2);
    add(st, stem, ".scales", "F16", m.G, m.N, m.scale, m.G * m.N * 2);
    add(st, stem, ".g_idx", "I32", m.K, 0, g_idx.data, g_idx.n);
    nct_bytes_reset(&g_idx);
    nct_free(words);
    nct_free(zeros);
    coded_close(&m);
}

/* One or more Marlin matrices of n_parts equal ranges of columns, side by side along the last axis. */
static void add_marlin(nct_test_st *st, const nct_test_head *h, const nct_draft_role *roles, size_t n_roles,
                       size_t n_parts, const char *stem) {
    size_t n_rows, n_cols, N = 0, K, G;
    nct_test_head_shape(h, roles[0], &n_rows, &n_cols);
    K = n_cols / n_parts, G = K / GROUP;
    nct_bytes words = {0}, scales = {0};
    struct coded part[2];
    uint8_t *packed[2];
    uint16_t *permuted[2];
    for (size_t i = 0; i < n_parts; i++) {
        part[i] = code(h, roles, n_roles, i * K, K);
        N = part[i].N;
        packed[i] = room(N * K / 2, 1);
        permuted[i] = room(G * N, 2);
        nct_test_marlin_codes(part[i].code, N, K, packed[i]);
        nct_test_marlin_scales(part[i].scale, G, N, permuted[i]);
    }
    for (size_t r = 0; r < K / 16; r++)
        for (size_t i = 0; i < n_parts; i++)
            nct_test_put(&words, packed[i] + r * 8 * N, 8 * N);
    for (size_t g = 0; g < G; g++)
        for (size_t i = 0; i < n_parts; i++)
            nct_test_put(&scales, permuted[i] + g * N, 2 * N);
    add(st, stem, ".qweight", "I32", K / 16, 2 * N * n_parts, words.data, words.n);
    add(st, stem, ".scales", "F16", G, N * n_parts, scales.data, scales.n);
    for (size_t i = 0; i < n_parts; i++) {
        nct_free(packed[i]);
        nct_free(permuted[i]);
        coded_close(&part[i]);
    }
    nct_bytes_reset(&words);
    nct_bytes_reset(&scales);
}

static void add_matrix(nct_test_st *st, const nct_test_head *h, nct_draft_role role, const char *stem) {
    if (h->codes <= NCT_HEAD_BF16 || is_norm(role) || role == NCT_DRAFT_HEAD)
        add_floats(st, h, role, stem);
    else if (h->codes == NCT_HEAD_GPTQ)
        add_gptq(st, h, role, stem);
    else
        add_marlin(st, h, &role, 1, role == NCT_DRAFT_FC && h->kind == NCT_DRAFT_EAGLE ? 2 : 1, stem);
}

static void add_layer(nct_test_st *st, const nct_test_head *h, const char *prefix) {
    static const struct {
        nct_draft_role role;
        const char *stem;
    } plain[] = {{NCT_DRAFT_Q, "self_attn.q_proj"},
                 {NCT_DRAFT_K, "self_attn.k_proj"},
                 {NCT_DRAFT_V, "self_attn.v_proj"},
                 {NCT_DRAFT_GATE, "mlp.gate_proj"},
                 {NCT_DRAFT_UP, "mlp.up_proj"}},
      always[] = {{NCT_DRAFT_O, "self_attn.o_proj"},
                  {NCT_DRAFT_DOWN, "mlp.down_proj"},
                  {NCT_DRAFT_NORM_POST, "post_attention_layernorm"}};
    static const nct_draft_role qkv[] = {NCT_DRAFT_Q, NCT_DRAFT_K, NCT_DRAFT_V},
                                gate_up[] = {NCT_DRAFT_GATE, NCT_DRAFT_UP};
    bool marlin = h->codes == NCT_HEAD_MARLIN, third = h->kind == NCT_DRAFT_EAGLE3;
    for (size_t i = 0; !marlin && i < sizeof plain / sizeof *plain; i++)
        add_matrix(st, h, plain[i].role, nct_test_path("%s%s", prefix, plain[i].stem));
    if (marlin) {
        add_marlin(st, h, qkv, 3, 1, nct_test_path("%sself_attn.qkv_proj", prefix));
        add_marlin(st, h, gate_up, 2, 1, nct_test_path("%smlp.gate_up_proj", prefix));
    }
    for (size_t i = 0; i < sizeof always / sizeof *always; i++)
        add_matrix(st, h, always[i].role, nct_test_path("%s%s", prefix, always[i].stem));
    add_matrix(st, h, third ? NCT_DRAFT_NORM_EMBEDDING : NCT_DRAFT_NORM_INPUT,
               nct_test_path("%sinput_layernorm", prefix));
    if (third)
        add_matrix(st, h, NCT_DRAFT_NORM_HIDDEN, nct_test_path("%shidden_norm", prefix));
}

static void add_ids(nct_test_st *st, const nct_test_head *h) {
    nct_bytes d2t = {0}, t2d = {0};
    for (size_t i = 0, id = 0; id < h->vocab; id++) {
        bool has = i < h->draft_vocab && (size_t)nct_test_head_id(h, i) == id;
        nct_test_put(&t2d, &(uint8_t){has}, 1);
        if (has && h->narrow_ids)
            nct_test_put32(&d2t, (uint32_t)(id - i));
        else if (has)
            nct_test_put64(&d2t, id - i);
        i += has;
    }
    add(st, "d2t", "", h->narrow_ids ? "I32" : "I64", h->draft_vocab, 0, d2t.data, d2t.n);
    add(st, "t2d", "", "BOOL", h->vocab, 0, t2d.data, t2d.n);
    nct_bytes_reset(&d2t);
    nct_bytes_reset(&t2d);
}

static void add_bias(nct_test_st *st, const nct_test_head *h, const char *outer) {
    nct_bytes data = {0};
    for (size_t i = 0; i < h->hidden; i++)
        nct_test_put32(&data, nct_bits_from_f32(nct_test_head_bias(h, i)));
    add(st, outer, "fc.bias", "F32", h->hidden, 0, data.data, data.n);
    nct_bytes_reset(&data);
}

static void write_config(const char *dir, const nct_test_head *h) {
    nct_bytes b = {0};
    bool third = h->kind == NCT_DRAFT_EAGLE3;
    NCT_ASSERT_OK(nct_bytes_printf(
        &b, fault,
        "{\"architectures\":[\"%s\"],\"hidden_act\":\"silu\",\"vocab_size\":%zu,\"hidden_size\":%zu,"
        "\"intermediate_size\":%zu,\"num_hidden_layers\":1,\"num_attention_heads\":%zu,\"num_key_value_"
        "heads\":%zu,"
        "\"head_dim\":%zu,\"rms_norm_eps\":1e-06",
        third ? "LlamaForCausalLMEagle3" : "MiniCPMForCausalLM", h->vocab, h->hidden, h->intermediate,
        h->heads, h->kv_heads, h->head_dim));
    if (third)
        NCT_ASSERT_OK(nct_bytes_printf(&b, fault, ",\"draft_vocab_size\":%zu", h->draft_vocab));
    if (h->codes >= NCT_HEAD_GPTQ)
        NCT_ASSERT_OK(nct_bytes_printf(
            &b, fault, ",\"quantization_config\":{\"bits\":4,\"group_size\":%d,\"sym\":true}", GROUP));
    NCT_ASSERT_OK(nct_bytes_printf(&b, fault, "%s}\n", h->config ? h->config : ""));
    nct_test_write(nct_test_path("%s/config.json", dir), b.data, b.n);
    nct_bytes_reset(&b);
}

void nct_test_head_write(const char *dir, const nct_test_head *h) {
    static const char *const prefixes[2][3] = {{"layers.0.", "model.eagle_layers.0.", "model.layers.0."},
                                               {"midlayer.", "layers.0.", "model.layers.0."}};
    bool third = h->kind == NCT_DRAFT_EAGLE3;
    const char *outer = h->names == NCT_NAMES_VLLM && !third ? "model." : "";
    nct_test_st st = {0};
    if (mkdir(dir, 0777) != 0)
        assert_int_equal(errno, EEXIST);
    add_matrix(&st, h, NCT_DRAFT_FC, nct_test_path("%sfc", outer));
    if (h->bias)
        add_bias(&st, h, outer);
    add_layer(&st, h, prefixes[third][h->names]);
    if (third) {
        add_matrix(&st, h, NCT_DRAFT_NORM_FINAL, nct_test_path("%snorm", outer));
        add_matrix(&st, h, NCT_DRAFT_HEAD, "lm_head");
        add_ids(&st, h);
    } else {
        add_matrix(&st, h, NCT_DRAFT_NORM_EMBEDDING, nct_test_path("%sinput_norm1", outer));
        add_matrix(&st, h, NCT_DRAFT_NORM_HIDDEN, nct_test_path("%sinput_norm2", outer));
    }
    if (h->names == NCT_NAMES_VLLM) { /* stored, and not used */
        static const float one;
        add(&st, "model.embed_tokens", ".weight", "F32", 1, 1, &one, 4);
    }
    nct_bytes file = nct_test_st_finish(&st);
    nct_test_write(nct_test_path("%s/%s", dir, h->file ? h->file : "model.safetensors"), file.data, file.n);
    nct_bytes_reset(&file);
    write_config(dir, h);
}

/* ------------------------------------------------------------------ targets */

static void open_matrix(const nct_test_head *h, unsigned what, const float *value, nct_pool *pool,
                        nct_linear *linear) {
    float *made = room(h->vocab * h->hidden, sizeof *made);
    for (size_t i = 0; i < h->vocab * h->hidden; i++)
        made[i] = value ? value[i] : ldexpf((float)(int)(at(h, 50, what, 0, i) % 256) - 128, -10);
    nct_stored stored = {.codec = &nct_codec_float,
                         .name = "made",
                         .type = NCT_TYPE_F32,
                         .n_rows = h->vocab,
                         .n_cols = h->hidden,
                         .n_rows_file = h->vocab,
                         .part[NCT_PART_DATA] = {(const uint8_t *)made, h->vocab * h->hidden * sizeof *made}};
    NCT_ASSERT_OK(nct_linear_open(&stored, pool, linear, fault));
    nct_free(made);
}

void nct_test_target_open(nct_model *target, const nct_test_head *h, size_t n_layers, const float *embedding,
                          const float *output, nct_pool *pool) {
    *target = (nct_model){.config = {.n_layers = n_layers,
                                     .hidden = h->hidden,
                                     .intermediate = h->intermediate,
                                     .n_heads = h->heads,
                                     .n_kv_heads = h->kv_heads,
                                     .head_dim = h->head_dim,
                                     .n_vocab = h->vocab,
                                     .max_positions = 1 << 16,
                                     .rms_eps = 1e-6f,
                                     .scale_emb = 12,
                                     .residual_scale = (float)(1.4 / sqrt((double)n_layers)),
                                     .logit_divisor = 2}};
    open_matrix(h, 0, embedding, pool, &target->weights.embedding);
    open_matrix(h, 1, output, pool, &target->weights.stored_head);
    target->weights.head = &target->weights.stored_head;
    NCT_ASSERT_OK(nct_rope_open(h->head_dim, 10000, NULL, 0, 0, &target->rope, fault));
}

void nct_test_target_close(nct_model *target) {
    nct_linear_close(&target->weights.embedding);
    nct_linear_close(&target->weights.stored_head);
    nct_rope_close(&target->rope);
}
