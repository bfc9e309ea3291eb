#include "kernel/kernel.h"

#include <string.h>

void nct_ref_fill(nct_kernels *k);

#if defined(__x86_64__)
void nct_avx2_fill(nct_kernels *k);
void nct_avxvnni_fill(nct_kernels *k);
void nct_avx512_fill(nct_kernels *k);
void nct_avx512bf16_fill(nct_kernels *k);
void nct_amx_fill(nct_kernels *k);
static bool has_avx2(const nct_cpu *cpu) { return cpu->avx2; }
static bool has_avxvnni(const nct_cpu *cpu) { return cpu->avxvnni; }
static bool has_avx512(const nct_cpu *cpu) { return cpu->avx512; }
static bool has_avx512bf16(const nct_cpu *cpu) { return cpu->avx512_bf16; }
static bool has_amx(const nct_cpu *cpu) { return cpu->amx_int8; }
#elif defined(__aarch64__)
void nct_neon_fill(nct_kernels *k);
void nct_dotprod_fill(nct_kernels *k);
void nct_i8mm_fill(nct_kernels *k);
static bool has_neon(const nct_cpu *cpu) { return cpu->neon; }
static bool has_dotprod(const nct_cpu *cpu) { return cpu->dotprod; }
static bool has_i8mm(const nct_cpu *cpu) { return cpu->i8mm; }
#endif

static bool has_anything(const nct_cpu *cpu) {
    (void)cpu;
    return true;
}

/* The ladder, lowest rung first. A rung's fill overwrites only what it improves. */
static const struct rung {
    const char *name;
    bool (*runs_on)(const nct_cpu *cpu);
    void (*fill)(nct_kernels *k);
} rungs[] = {
    {"ref", has_anything, nct_ref_fill},
#if defined(__x86_64__)
    {"avx2", has_avx2, nct_avx2_fill},
    {"avxvnni", has_avxvnni, nct_avxvnni_fill},
    {"avx512", has_avx512, nct_avx512_fill},
    {"avx512bf16", has_avx512bf16, nct_avx512bf16_fill},
    {"amx", has_amx, nct_amx_fill},
#elif defined(__aarch64__)
    {"neon", has_neon, nct_neon_fill},
    {"dotprod", has_dotprod, nct_dotprod_fill},
    {"i8mm", has_i8mm, nct_i8mm_fill},
#endif
};
enum { N_RUNGS = sizeof rungs / sizeof *rungs };

const char *nct_kv_type_name(nct_kv_type type) {
    static const char *const names[NCT_KV_TYPES] = {"f32", "f16", "bf16", "q8"};
    return names[type];
}

const char *nct_kernels_rung(size_t index) { return index < N_RUNGS ? rungs[index].name : NULL; }

nct_status nct_kernels_pick(const char *isa, nct_kernels *kernels, nct_error *err) {
    nct_cpu cpu;
    nct_cpu_detect(&cpu);
    size_t top = N_RUNGS;
    if (isa && *isa) {
        for (top = 0; top < N_RUNGS && strcmp(rungs[top].name, isa) != 0; top++) {
        }
        if (top == N_RUNGS) {
            char names[128] = "";
            for (size_t i = 0; i < N_RUNGS; i++) {
                strcat(names, i ? " " : "");
                strcat(names, rungs[i].name);
            }
            return nct_fail(err, NCT_E_ARGUMENT, "instruction set '%s' is not known to this build, which has: %s", isa, names);
        }
        if (!rungs[top].runs_on(&cpu))
            return nct_fail(err, NCT_E_UNSUPPORTED, "instruction set '%s' is not available on this processor", isa);
        top++;
    }
    nct_kernels k = {0};
    for (size_t i = 0; i < top; i++)
        if (rungs[i].runs_on(&cpu)) {
            rungs[i].fill(&k);
            k.isa = rungs[i].name;
        }
    *kernels = k;
    return NCT_OK;
}
