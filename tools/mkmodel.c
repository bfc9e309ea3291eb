/* Writes random checkpoints of the published shapes, so that speed can be measured where no weights are
 * at hand. Activations stay sane (every matrix keeps the variance of its input); the text is noise.
 *
 *   mkmodel SHAPE OUT [--gguf] [--layers N]
 *
 * SHAPE: minicpm4-0.5b, minicpm4-8b or bitcpm4-1b, or a draft head for one of the first two: with -eagle or -eagle3
 * after its name. OUT is a directory (GPTQ INT4, group 128, float16 embedding and head) or, with --gguf, a file (Q4_0
 * layers, Q8_0 embedding and head; no draft heads). --layers cuts the depth. bitcpm4-1b is written as bfloat16 with
 * ternary values per group of 128, as published.
 */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/num.h"

enum form { MODEL, EAGLE, EAGLE3 };

struct shape {
    const char *name;
    size_t hidden, intermediate, layers, heads, kv_heads;
    double dim_model_base;
    bool tied, ternary;
    enum form form;
};

static const struct shape shapes[] = {
    {"minicpm4-0.5b", 1024, 4096, 24, 16, 2, 256, true, false, MODEL},
    {"minicpm4-0.5b-eagle", 1024, 4096, 1, 16, 2, 256, false, false, EAGLE},
    {"minicpm4-0.5b-eagle3", 1024, 4096, 1, 16, 2, 256, false, false, EAGLE3},
    {"minicpm4-8b", 4096, 16384, 32, 32, 2, 256, false, false, MODEL},
    {"minicpm4-8b-eagle", 4096, 16384, 1, 32, 2, 256, false, false, EAGLE},
    {"minicpm4-8b-eagle3", 4096, 16384, 1, 32, 2, 256, false, false, EAGLE3},
    {"bitcpm4-1b", 1536, 3840, 52, 24, 8, 256, true, true, MODEL},
};
enum { VOCAB = 73448, DRAFT_VOCAB = 32000, GROUP = 128, WINDOW = 32768 };

static _Noreturn void die(const char *what) {
    fprintf(stderr, "mkmodel: %s: %s\n", what, strerror(errno));
    exit(1);
}

/* ------------------------------------------------------------------ numbers */

static uint64_t rng_state = 0x4e6f6374756c65u; /* a fixed seed: the same file every time */

static uint64_t rng(void) {
    uint64_t z = rng_state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

/* Four uniform 16-bit numbers summed: nearly normal, standard deviation 1. */
static float normal(void) {
    uint64_t z = rng();
    double sum = (double)(z & 0xffff) + (double)(z >> 16 & 0xffff) + (double)(z >> 32 & 0xffff) + (double)(z >> 48);
    return (float)((sum - 131070) / 37837.23);
}

/* Sixteen codes 1..15 around 8, standard deviation 3.24: each the sum of two of 0..7, plus 1. */
static uint64_t codes16(void) { return (rng() & 0x7777777777777777u) + (rng() & 0x7777777777777777u) + 0x1111111111111111u; }
static const double CODE_STD = 3.24;

/* ------------------------------------------------------------------ tensors, listed first, written second */

enum kind { LINEAR, TABLE, NORM, OFFSETS };

struct tensor {
    char name[96];
    enum kind kind;
    size_t n_out, n_in;
    double std; /* of the weights */
};

static struct tensor tensors[700];
static size_t n_tensors;

static void list(const char *fmt, int layer, enum kind kind, size_t n_out, size_t n_in, double gain) {
    struct tensor *t = &tensors[n_tensors++];
    *t = (struct tensor){.kind = kind, .n_out = n_out, .n_in = n_in, .std = gain / sqrt((double)n_in)};
    snprintf(t->name, sizeof t->name, fmt, layer);
}

static void list_all(const struct shape *s, bool gguf) {
    size_t d = s->hidden / s->heads, kv = d * s->kv_heads;
    double head_gain = 2.5 * (double)s->hidden / s->dim_model_base;
    /* a tied table is small in the embedding and large in the head: the norm before the head evens it out */
    list(gguf ? "token_embd" : "model.embed_tokens", 0, TABLE, VOCAB, s->hidden,
         s->tied ? head_gain : 0.09 * sqrt((double)s->hidden));
    for (int i = 0; i < (int)s->layers; i++) {
        list(gguf ? "blk.%d.attn_norm" : "model.layers.%d.input_layernorm", i, NORM, 1, s->hidden, 1);
        list(gguf ? "blk.%d.attn_q" : "model.layers.%d.self_attn.q_proj", i, LINEAR, s->hidden, s->hidden, 1.2);
        list(gguf ? "blk.%d.attn_k" : "model.layers.%d.self_attn.k_proj", i, LINEAR, kv, s->hidden, 1.2);
        list(gguf ? "blk.%d.attn_v" : "model.layers.%d.self_attn.v_proj", i, LINEAR, kv, s->hidden, 1);
        list(gguf ? "blk.%d.attn_output" : "model.layers.%d.self_attn.o_proj", i, LINEAR, s->hidden, s->hidden, 1);
        list(gguf ? "blk.%d.ffn_norm" : "model.layers.%d.post_attention_layernorm", i, NORM, 1, s->hidden, 1);
        list(gguf ? "blk.%d.ffn_gate" : "model.layers.%d.mlp.gate_proj", i, LINEAR, s->intermediate, s->hidden, 1.2);
        list(gguf ? "blk.%d.ffn_up" : "model.layers.%d.mlp.up_proj", i, LINEAR, s->intermediate, s->hidden, 1);
        list(gguf ? "blk.%d.ffn_down" : "model.layers.%d.mlp.down_proj", i, LINEAR, s->hidden, s->intermediate, 1.2);
    }
    list(gguf ? "output_norm" : "model.norm", 0, NORM, 1, s->hidden, 1);
    if (!s->tied)
        list(gguf ? "output" : "lm_head", 0, TABLE, VOCAB, s->hidden, head_gain);
}

/* One layer and what leads into it, with the names of GPTQ files. EAGLE-3: queries, keys and values are made of two
 * vectors, and a vocabulary, a norm and a head are its own. */
static void list_head(const struct shape *s) {
    size_t h = s->hidden, kv = h / s->heads * s->kv_heads, third = s->form == EAGLE3, in = third ? 2 * h : h;
    list("fc", 0, LINEAR, h, third ? 3 * h : 2 * h, 1);
    list(third ? "model.layers.%d.hidden_norm" : "input_norm1", 0, NORM, 1, h, 1);
    list(third ? "norm" : "input_norm2", 0, NORM, 1, h, 1);
    list("model.layers.%d.input_layernorm", 0, NORM, 1, h, 1);
    list("model.layers.%d.post_attention_layernorm", 0, NORM, 1, h, 1);
    list("model.layers.%d.self_attn.q_proj", 0, LINEAR, h, in, 1.2);
    list("model.layers.%d.self_attn.k_proj", 0, LINEAR, kv, in, 1.2);
    list("model.layers.%d.self_attn.v_proj", 0, LINEAR, kv, in, 1);
    list("model.layers.%d.self_attn.o_proj", 0, LINEAR, h, h, 1);
    list("model.layers.%d.mlp.gate_proj", 0, LINEAR, s->intermediate, h, 1.2);
    list("model.layers.%d.mlp.up_proj", 0, LINEAR, s->intermediate, h, 1);
    list("model.layers.%d.mlp.down_proj", 0, LINEAR, h, s->intermediate, 1.2);
    if (third) {
        list("lm_head", 0, TABLE, DRAFT_VOCAB, h, 2.5);
        list("d2t", 0, OFFSETS, DRAFT_VOCAB, 1, 1);
    }
}

static void put(FILE *f, const void *data, size_t n) {
    if (fwrite(data, 1, n, f) != n)
        die("write");
}

/* ------------------------------------------------------------------ safetensors */

/* The parts of a tensor and their sizes, in file order. */
struct part {
    char name[128];
    const char *dtype;
    size_t dims[2], n_bytes;
};

static size_t parts_of(const struct tensor *t, const struct shape *s, struct part part[4]) {
    if (t->kind == OFFSETS) {
        part[0] = (struct part){"", "I64", {t->n_out, 0}, t->n_out * 8};
        snprintf(part[0].name, sizeof part[0].name, "%.90s", t->name);
        return 1;
    }
    if (t->kind != LINEAR || s->ternary) {
        const char *dtype = s->ternary ? "BF16" : "F16";
        part[0] = (struct part){"", dtype, {t->n_out, t->n_in}, t->n_out * t->n_in * 2};
        snprintf(part[0].name, sizeof part[0].name, "%.90s.weight", t->name);
        return 1;
    }
    size_t groups = t->n_in / GROUP;
    part[0] = (struct part){"", "I32", {t->n_in / 8, t->n_out}, t->n_in / 8 * t->n_out * 4};
    part[1] = (struct part){"", "I32", {groups, t->n_out / 8}, groups * (t->n_out / 8) * 4};
    part[2] = (struct part){"", "I32", {t->n_in, 0}, t->n_in * 4};
    part[3] = (struct part){"", "F16", {groups, t->n_out}, groups * t->n_out * 2};
    static const char *const suffix[] = {"qweight", "qzeros", "g_idx", "scales"};
    for (size_t i = 0; i < 4; i++)
        snprintf(part[i].name, sizeof part[i].name, "%.90s.%s", t->name, suffix[i]);
    return 4;
}

static void write_floats(FILE *f, const struct tensor *t, bool bf16) {
    uint16_t *row = malloc(t->n_in * 2);
    for (size_t r = 0; r < t->n_out; r++) {
        for (size_t c = 0; c < t->n_in; c++) {
            float v = t->kind == NORM ? 1 + 0.1f * normal() : (float)t->std * normal();
            row[c] = bf16 ? nct_f32_to_bf16(v) : nct_f32_to_f16(v);
        }
        put(f, row, t->n_in * 2);
    }
    free(row);
}

/* Rows of the draft's head are spread evenly over the vocabulary. */
static void write_offsets(FILE *f, const struct tensor *t) {
    for (size_t i = 0; i < t->n_out; i++)
        put(f, &(int64_t){(int64_t)(i * VOCAB / t->n_out - i)}, 8);
}

/* Values -s, 0 and +s per group: the weights of a ternary model, de-quantized as they are published. */
static void write_ternary(FILE *f, const struct tensor *t) {
    uint16_t *row = malloc(t->n_in * 2), scale = 0;
    for (size_t r = 0; r < t->n_out; r++) {
        for (size_t c = 0; c < t->n_in; c++) {
            if (c % GROUP == 0)
                scale = nct_f32_to_bf16((float)(t->std * sqrt(1.5) * (1 + 0.2 * normal())));
            uint64_t third = rng() % 3;
            row[c] = third == 0 ? 0 : third == 1 ? scale : (uint16_t)(scale | 0x8000u);
        }
        put(f, row, t->n_in * 2);
    }
    free(row);
}

static void write_gptq(FILE *f, const struct tensor *t) {
    size_t groups = t->n_in / GROUP;
    for (size_t i = 0; i < t->n_in / 8 * t->n_out / 2; i++) {
        uint64_t words = codes16();
        put(f, &words, 8);
    }
    for (size_t i = 0; i < groups * (t->n_out / 8); i++)
        put(f, &(uint32_t){0x77777777u}, 4);
    for (size_t i = 0; i < t->n_in; i++)
        put(f, &(uint32_t){(uint32_t)(i / GROUP)}, 4);
    for (size_t i = 0; i < groups * t->n_out; i++)
        put(f, &(uint16_t){nct_f32_to_f16((float)(t->std / CODE_STD * (1 + 0.1 * normal())))}, 2);
}

static FILE *create(const char *dir, const char *name) {
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *f = fopen(path, "wb");
    if (!f)
        die(path);
    return f;
}

static void finish(FILE *f) {
    if (fclose(f) != 0)
        die("close");
}

static void write_safetensors(const struct shape *s, const char *dir) {
    char *header = malloc(1 << 20);
    size_t n = 0, offset = 0;
    n += (size_t)sprintf(header + n, "{");
    for (size_t i = 0; i < n_tensors; i++) {
        struct part part[4];
        size_t n_parts = parts_of(&tensors[i], s, part);
        for (size_t j = 0; j < n_parts; j++) {
            n += (size_t)sprintf(header + n, "%s\"%s\":{\"dtype\":\"%s\",\"shape\":[%zu", n > 1 ? "," : "", part[j].name, part[j].dtype,
                                 tensors[i].kind == NORM ? part[j].dims[1] : part[j].dims[0]);
            if (tensors[i].kind != NORM && part[j].dims[1])
                n += (size_t)sprintf(header + n, ",%zu", part[j].dims[1]);
            n += (size_t)sprintf(header + n, "],\"data_offsets\":[%zu,%zu]}", offset, offset + part[j].n_bytes);
            offset += part[j].n_bytes;
        }
    }
    n += (size_t)sprintf(header + n, "}");
    while (n % 8)
        header[n++] = ' ';
    FILE *f = create(dir, "model.safetensors");
    put(f, &(uint64_t){n}, 8);
    put(f, header, n);
    for (size_t i = 0; i < n_tensors; i++) {
        const struct tensor *t = &tensors[i];
        if (t->kind == OFFSETS)
            write_offsets(f, t);
        else if (t->kind == LINEAR && s->ternary)
            write_ternary(f, t);
        else if (t->kind == LINEAR)
            write_gptq(f, t);
        else
            write_floats(f, t, s->ternary);
    }
    finish(f);
    free(header);
}

static void write_config(const struct shape *s, const char *dir) {
    FILE *f = create(dir, "config.json");
    size_t half = s->hidden / s->heads / 2;
    fprintf(f, "{\"architectures\":[\"MiniCPMForCausalLM\"],\"model_type\":\"minicpm\",\"hidden_act\":\"silu\",\n"
               "\"vocab_size\":%d,\"hidden_size\":%zu,\"intermediate_size\":%zu,\"num_hidden_layers\":%zu,\n"
               "\"num_attention_heads\":%zu,\"num_key_value_heads\":%zu,\"max_position_embeddings\":%d,\n"
               "\"rms_norm_eps\":1e-06,\"rope_theta\":10000.0,\"scale_emb\":12,\"scale_depth\":1.4,\"dim_model_base\":%g,\n"
               "\"tie_word_embeddings\":%s,\"bos_token_id\":1,\"eos_token_id\":[2],\n\"rope_scaling\":{\"rope_type\":\"longrope\","
               "\"original_max_position_embeddings\":%d",
            VOCAB, s->hidden, s->intermediate, s->layers, s->heads, s->kv_heads, WINDOW, s->dim_model_base,
            s->tied ? "true" : "false", WINDOW);
    for (int which = 0; which < 2; which++) {
        fprintf(f, ",\"%s\":[", which ? "long_factor" : "short_factor");
        for (size_t i = 0; i < half; i++)
            fprintf(f, "%s%g", i ? "," : "", 1 + 30.0 * (double)i / (double)half);
        fprintf(f, "]");
    }
    fprintf(f, "}");
    if (s->form == EAGLE3)
        fprintf(f, ",\n\"draft_vocab_size\":%d", DRAFT_VOCAB);
    if (!s->ternary)
        fprintf(f, ",\n\"quantization_config\":{\"quant_method\":\"gptq\",\"bits\":4,\"group_size\":%d,\"sym\":true,"
                   "\"desc_act\":false,\"checkpoint_format\":\"gptq\"}", GROUP);
    fprintf(f, "}\n");
    finish(f);
}

/* ------------------------------------------------------------------ a tokenizer of bytes */

static void piece_name(char *buf, size_t n, int id) {
    static const char *const first[] = {"<unk>", "<s>", "</s>"};
    if (id < 3)
        snprintf(buf, n, "%s", first[id]);
    else if (id < 259)
        snprintf(buf, n, "<0x%02X>", (unsigned)(id - 3));
    else if (id == 259)
        snprintf(buf, n, "\xe2\x96\x81");
    else
        snprintf(buf, n, "<unused_%d>", id);
}

static void write_tokenizer(const char *dir) {
    FILE *f = create(dir, "tokenizer.json");
    char piece[32];
    fprintf(f, "{\"version\":\"1.0\",\"added_tokens\":[");
    for (int i = 0; i < 3; i++) {
        piece_name(piece, sizeof piece, i);
        fprintf(f, "%s{\"id\":%d,\"content\":\"%s\",\"single_word\":false,\"lstrip\":false,\"rstrip\":false,"
                   "\"normalized\":false,\"special\":true}", i ? "," : "", i, piece);
    }
    fprintf(f, "],\n\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"Prepend\",\"prepend\":\"\xe2\x96\x81\"},"
               "{\"type\":\"Replace\",\"pattern\":{\"String\":\" \"},\"content\":\"\xe2\x96\x81\"}]},\n\"pre_tokenizer\":null,"
               "\"decoder\":{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"Replace\",\"pattern\":{\"String\":\"\xe2\x96\x81\"},"
               "\"content\":\" \"},{\"type\":\"ByteFallback\"},{\"type\":\"Fuse\"},{\"type\":\"Strip\",\"content\":\" \",\"start\":1,"
               "\"stop\":0}]},\n\"model\":{\"type\":\"BPE\",\"unk_token\":\"<unk>\",\"fuse_unk\":true,\"byte_fallback\":true,\n\"vocab\":{");
    for (int i = 0; i < VOCAB; i++) {
        piece_name(piece, sizeof piece, i);
        fprintf(f, "%s\"%s\":%d", i ? "," : "", piece, i);
    }
    fprintf(f, "},\"merges\":[]}}\n");
    finish(f);
}

/* ------------------------------------------------------------------ GGUF */

static void put_u32(FILE *f, uint32_t v) { put(f, &v, 4); }
static void put_u64(FILE *f, uint64_t v) { put(f, &v, 8); }
static void put_string(FILE *f, const char *s) {
    put_u64(f, strlen(s));
    put(f, s, strlen(s));
}
static void key_u32(FILE *f, const char *key, uint32_t v) {
    put_string(f, key);
    put_u32(f, 4);
    put_u32(f, v);
}
static void key_f32(FILE *f, const char *key, double v) {
    put_string(f, key);
    put_u32(f, 6);
    put(f, &(float){(float)v}, 4);
}
static void key_string(FILE *f, const char *key, const char *v) {
    put_string(f, key);
    put_u32(f, 8);
    put_string(f, v);
}

enum { TYPE_F32 = 0, TYPE_Q4_0 = 2, TYPE_Q8_0 = 8 };

static uint32_t gguf_type(const struct tensor *t) { return t->kind == NORM ? TYPE_F32 : t->kind == TABLE ? TYPE_Q8_0 : TYPE_Q4_0; }
static uint64_t gguf_bytes(const struct tensor *t) {
    uint64_t n = (uint64_t)t->n_out * t->n_in;
    return t->kind == NORM ? n * 4 : t->kind == TABLE ? n / 32 * 34 : n / 32 * 18;
}

static void write_gguf_tensor(FILE *f, const struct tensor *t) {
    for (size_t i = 0; t->kind == NORM && i < t->n_in; i++)
        put(f, &(float){1 + 0.1f * normal()}, 4);
    for (size_t i = 0; t->kind != NORM && i < t->n_out * t->n_in / 32; i++) {
        uint8_t block[34];
        double code_std = t->kind == TABLE ? 40 : CODE_STD;
        uint16_t d = nct_f32_to_f16((float)(t->std / code_std * (1 + 0.1 * normal())));
        memcpy(block, &d, 2);
        if (t->kind == TABLE) {
            for (size_t j = 0; j < 32; j++) {
                float q = nearbyintf(40 * normal());
                block[2 + j] = (uint8_t)(int8_t)(q > 127 ? 127 : q < -127 ? -127 : q);
            }
            put(f, block, 34);
        } else {
            uint64_t codes[2] = {codes16(), codes16()};
            memcpy(block + 2, codes, 16);
            put(f, block, 18);
        }
    }
}

static void write_gguf(const struct shape *s, const char *path) {
    FILE *f = fopen(path, "wb");
    if (!f)
        die(path);
    put(f, "GGUF", 4);
    put_u32(f, 3);
    put_u64(f, n_tensors);
    put_u64(f, 20);
    key_string(f, "general.architecture", "minicpm");
    key_string(f, "general.name", s->name);
    key_u32(f, "minicpm.block_count", (uint32_t)s->layers);
    key_u32(f, "minicpm.context_length", WINDOW);
    key_u32(f, "minicpm.embedding_length", (uint32_t)s->hidden);
    key_u32(f, "minicpm.feed_forward_length", (uint32_t)s->intermediate);
    key_u32(f, "minicpm.attention.head_count", (uint32_t)s->heads);
    key_u32(f, "minicpm.attention.head_count_kv", (uint32_t)s->kv_heads);
    key_u32(f, "minicpm.vocab_size", VOCAB);
    key_f32(f, "minicpm.attention.layer_norm_rms_epsilon", 1e-6);
    key_f32(f, "minicpm.rope.freq_base", 10000);
    key_f32(f, "minicpm.embedding_scale", 12);
    key_f32(f, "minicpm.residual_scale", 1.4 / sqrt((double)s->layers));
    key_f32(f, "minicpm.logit_scale", (double)s->hidden / s->dim_model_base);
    key_string(f, "tokenizer.ggml.model", "llama");
    key_u32(f, "tokenizer.ggml.bos_token_id", 1);
    key_u32(f, "tokenizer.ggml.eos_token_id", 2);
    char piece[32];
    put_string(f, "tokenizer.ggml.tokens");
    put_u32(f, 9), put_u32(f, 8), put_u64(f, VOCAB);
    for (int i = 0; i < VOCAB; i++) {
        piece_name(piece, sizeof piece, i);
        put_string(f, piece);
    }
    put_string(f, "tokenizer.ggml.scores");
    put_u32(f, 9), put_u32(f, 6), put_u64(f, VOCAB);
    for (int i = 0; i < VOCAB; i++)
        put(f, &(float){0}, 4);
    put_string(f, "tokenizer.ggml.token_type");
    put_u32(f, 9), put_u32(f, 5), put_u64(f, VOCAB);
    for (int i = 0; i < VOCAB; i++)
        put_u32(f, i == 0 ? 2 : i < 3 ? 3 : i < 259 ? 6 : 1);
    uint64_t offset = 0;
    for (size_t i = 0; i < n_tensors; i++) {
        const struct tensor *t = &tensors[i];
        char name[128];
        snprintf(name, sizeof name, "%.90s.weight", t->name);
        put_string(f, name);
        put_u32(f, t->kind == NORM ? 1 : 2);
        put_u64(f, t->n_in);
        if (t->kind != NORM)
            put_u64(f, t->n_out);
        put_u32(f, gguf_type(t));
        put_u64(f, offset);
        offset += (gguf_bytes(t) + 31) / 32 * 32;
    }
    static const uint8_t zeros[32];
    put(f, zeros, (size_t)(32 - ftell(f) % 32) % 32);
    for (size_t i = 0; i < n_tensors; i++) {
        write_gguf_tensor(f, &tensors[i]);
        put(f, zeros, (size_t)((32 - gguf_bytes(&tensors[i]) % 32) % 32));
    }
    finish(f);
}

int main(int argc, char **argv) {
    const char *name = NULL, *out = NULL;
    bool gguf = false;
    size_t layers = 0;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--gguf") == 0)
            gguf = true;
        else if (strcmp(argv[i], "--layers") == 0 && i + 1 < argc)
            layers = strtoul(argv[++i], NULL, 10);
        else if (!name)
            name = argv[i];
        else if (!out)
            out = argv[i];
        else
            name = NULL;
    }
    const struct shape *found = NULL;
    for (size_t i = 0; name && i < sizeof shapes / sizeof *shapes; i++)
        if (strcmp(shapes[i].name, name) == 0)
            found = &shapes[i];
    if (!found || !out) {
        fprintf(stderr, "usage: mkmodel minicpm4-0.5b[-eagle|-eagle3]|minicpm4-8b[-eagle|-eagle3]|bitcpm4-1b OUT [--gguf] [--layers N]\n");
        return 2;
    }
    struct shape s = *found;
    if (layers > 0 && layers < s.layers)
        s.layers = layers;
    if (s.form != MODEL)
        list_head(&s);
    else
        list_all(&s, gguf);
    if (gguf && s.form == MODEL) {
        write_gguf(&s, out);
    } else {
        if (mkdir(out, 0777) != 0 && errno != EEXIST)
            die(out);
        write_safetensors(&s, out);
        write_config(&s, out);
        if (s.form == MODEL)
            write_tokenizer(out);
    }
    printf("%s\n", out);
    return 0;
}
