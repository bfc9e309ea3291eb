#include "cli/shapes.h"

#include <strings.h>

#define SPARSE                                                                                                         \
    "\"sparse_config\":{\"kernel_size\":32,\"kernel_stride\":16,\"init_blocks\":1,\"block_size\":64,\"window_size\":2048," \
    "\"topk\":64,\"use_nope\":false,\"dense_len\":8192}"
#define MINICPM                                                                                                        \
    "\"architectures\":[\"MiniCPMForCausalLM\"],\"model_type\":\"minicpm\",\"vocab_size\":73448,\"rms_norm_eps\":1e-6,"     \
    "\"rope_theta\":10000,\"scale_emb\":12,\"scale_depth\":1.4,\"dim_model_base\":256,"
#define SHAPE_8B                                                                                                       \
    "{" MINICPM "\"hidden_size\":4096,\"intermediate_size\":16384,\"num_hidden_layers\":32,\"num_attention_heads\":32,"     \
    "\"num_key_value_heads\":2,\"max_position_embeddings\":131072,\"tie_word_embeddings\":false," SPARSE "}"
#define LLAMA                                                                                                          \
    "\"architectures\":[\"LlamaForCausalLM\"],\"model_type\":\"llama\",\"vocab_size\":130560,\"rms_norm_eps\":1e-6,"        \
    "\"rope_theta\":5000000,\"num_attention_heads\":16,\"num_key_value_heads\":2,\"head_dim\":128,"                         \
    "\"max_position_embeddings\":131072,\"tie_word_embeddings\":false,"

/* The rotations of long contexts are left out: they cost the same whatever their factors. */
static const nct_shape shapes[] = {
    {"MiniCPM4-8B", SHAPE_8B},
    {"MiniCPM4.1-8B", SHAPE_8B},
    {"MiniCPM4-0.5B",
     "{" MINICPM "\"hidden_size\":1024,\"intermediate_size\":4096,\"num_hidden_layers\":24,\"num_attention_heads\":16,"
     "\"num_key_value_heads\":2,\"max_position_embeddings\":32768,\"tie_word_embeddings\":true}"},
    {"MiniCPM5-1B", "{" LLAMA "\"hidden_size\":1536,\"intermediate_size\":4608,\"num_hidden_layers\":24}"},
    {"MiniCPM5-2B", "{" LLAMA "\"hidden_size\":2048,\"intermediate_size\":6144,\"num_hidden_layers\":42}"},
};

enum { N_SHAPES = sizeof shapes / sizeof *shapes };
_Static_assert((int)N_SHAPES <= (int)NCT_SHAPES_MOST, "room for all names");

const nct_shape *nct_shape_find(const char *name) {
    for (size_t i = 0; i < N_SHAPES; i++)
        if (strcasecmp(shapes[i].name, name) == 0)
            return &shapes[i];
    return NULL;
}

size_t nct_shape_names(const char *names[NCT_SHAPES_MOST]) {
    for (size_t i = 0; i < N_SHAPES; i++)
        names[i] = shapes[i].name;
    return N_SHAPES;
}
