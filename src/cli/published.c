#include "cli/published.h"

/* Those that this build can read. */
static const nct_published models[] = {
    {"MiniCPM4-8B", "openbmb/MiniCPM4-8B", NULL, "bfloat16"},
    {"MiniCPM4-0.5B", "openbmb/MiniCPM4-0.5B", NULL, "bfloat16"},
    {"MiniCPM4.1-8B", "openbmb/MiniCPM4.1-8B", NULL, "bfloat16, thinks"},
    {"MiniCPM4.1-8B-GPTQ", "openbmb/MiniCPM4.1-8B-GPTQ", NULL, "int4, thinks"},
    {"MiniCPM4.1-8B-AutoAWQ", "openbmb/MiniCPM4.1-8B-AutoAWQ", NULL, "int4, thinks"},
    {"MiniCPM4-8B-GGUF", "openbmb/MiniCPM4-8B-GGUF", "Q4_K_M", "GGUF Q4_K_M"},
    {"MiniCPM4.1-8B-GGUF", "openbmb/MiniCPM4.1-8B-GGUF", "Q4_K_M", "GGUF Q4_K_M, thinks"},
    {"MiniCPM4-0.5B-GGUF", "openbmb/MiniCPM4-0.5B-GGUF", "Q4_K_M", "GGUF Q4_K_M"},
    {"MiniCPM4-0.5B-QAT-Int4-GPTQ-format", "openbmb/MiniCPM4-0.5B-QAT-Int4-GPTQ-format", NULL, "int4, trained for it"},
    {"MiniCPM4-0.5B-QAT-Int4-GGUF", "openbmb/MiniCPM4-0.5B-QAT-Int4-GGUF", "q4_0", "GGUF Q4_0, trained for int4"},
    {"BitCPM4-0.5B", "openbmb/BitCPM4-0.5B", NULL, "ternary"},
    {"BitCPM4-1B", "openbmb/BitCPM4-1B", NULL, "ternary"},
    {"MiniCPM4-8B-Eagle-FRSpec", "openbmb/MiniCPM4-8B-Eagle-FRSpec", NULL, "a draft head for MiniCPM4-8B"},
};

const nct_published *nct_published_models(size_t *n) {
    *n = sizeof models / sizeof *models;
    return models;
}
