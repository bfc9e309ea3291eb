#define _GNU_SOURCE
#include "kernel/roofline.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/clock.h"
#include "base/cpu.h"
#include "base/pages.h"

enum { REPEATS_MAX = 64 };

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Median seconds of one run of the tasks. */
static double time_tasks(nct_pool *pool, int n_tasks, nct_task_fn *fn, void *context, int repeats) {
    double sample[REPEATS_MAX];
    size_t n = repeats < 1 ? 1 : repeats > REPEATS_MAX ? REPEATS_MAX : (size_t)repeats;
    nct_pool_run(pool, n_tasks, fn, context); /* warm-up */
    for (size_t i = 0; i < n; i++) {
        uint64_t began = nct_clock_ns();
        nct_pool_run(pool, n_tasks, fn, context);
        sample[i] = (double)(nct_clock_ns() - began) * 1e-9;
    }
    qsort(sample, n, sizeof *sample, by_value);
    return sample[n / 2];
}

/* ------------------------------------------------------------------ multiplying in registers */

enum {
    ROUNDS = 20000, /* of a task: a few hundred microseconds */
    TILE_ROUNDS = ROUNDS / 4,
    TASKS = 16,     /* for each thread, so that they end together */
};

#if defined(__x86_64__)
#define NEXT_12(op) op(12) op(13) op(14) op(15) op(16) op(17) op(18) op(19) op(20) op(21) op(22) op(23)
#define EACH_12(op) op(0) op(1) op(2) op(3) op(4) op(5) op(6) op(7) op(8) op(9) op(10) op(11)
/* This file is compiled for any processor: all wide registers are named, and nothing of theirs survives. */
#define LOOP(name, zero, instructions)                                                                                 \
    static void name(void) {                                                                                           \
        __asm__ volatile(zero ::: "memory");                                                                           \
        for (int i = 0; i < ROUNDS; i++)                                                                               \
            __asm__ volatile(instructions ::: "memory", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6",        \
                             "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15");            \
        __asm__ volatile("vzeroupper" ::: "memory");                                                                   \
    }
#define ZERO_ZMM "vpxord %%zmm30, %%zmm30, %%zmm30\n vpxord %%zmm31, %%zmm31, %%zmm31\n"
#define ZERO_YMM "vpxor %%ymm14, %%ymm14, %%ymm14\n vpxor %%ymm15, %%ymm15, %%ymm15\n"
#define DPBF16(i) "vdpbf16ps %%zmm30, %%zmm31, %%zmm" #i "\n"
#define DPBUSD_YMM(i) "%{vex%} vpdpbusd %%ymm15, %%ymm14, %%ymm" #i "\n"
#define DPBUSD(i) "vpdpbusd %%zmm30, %%zmm31, %%zmm" #i "\n"
#define TDPBUSD(i) "tdpbusd %%tmm7, %%tmm6, %%tmm" #i "\n"
#define FMA_ZMM(i) "vfmadd231ps %%zmm30, %%zmm31, %%zmm" #i "\n"
#define FMA_YMM(i) "vfmadd231ps %%ymm15, %%ymm14, %%ymm" #i "\n"
/* Eight products, summed in 16 bits, for each widening to 32. */
#define MADDUBS(i, sum) "vpmaddubsw %%ymm15, %%ymm14, %%ymm" #i "\n vpaddw %%ymm" #i ", %%ymm" #sum ", %%ymm" #sum "\n"
LOOP(peak_vpdpbusd, ZERO_ZMM, EACH_12(DPBUSD))
LOOP(peak_vpdpbusd_ymm, ZERO_YMM, EACH_12(DPBUSD_YMM))
/* Twelve chains hide the latency of the others, not of this one: 8 % less with Zen 5. */
LOOP(peak_vdpbf16ps, ZERO_ZMM, EACH_12(DPBF16) NEXT_12(DPBF16))
LOOP(peak_fma_zmm, ZERO_ZMM, EACH_12(FMA_ZMM))
LOOP(peak_fma_ymm, ZERO_YMM, EACH_12(FMA_YMM))
LOOP(peak_maddubs, ZERO_YMM,
     MADDUBS(0, 12) MADDUBS(1, 13) MADDUBS(2, 10) MADDUBS(3, 11) MADDUBS(4, 12) MADDUBS(5, 13) MADDUBS(6, 10)
         MADDUBS(7, 11) "vpmaddwd %%ymm12, %%ymm15, %%ymm8\n vpaddd %%ymm8, %%ymm9, %%ymm9\n")
/* Six tiles of sums hide the latency, each with the same 16 lines of 64 bytes twice over. */
static void peak_tdpbusd(void) {
    static const uint8_t shapes[64] = {[0] = 1, [16] = 64, [18] = 64, [20] = 64, [22] = 64, [24] = 64, [26] = 64, [28] = 64, [30] = 64,
                                       [48] = 16, 16, 16, 16, 16, 16, 16, 16};
    __asm__ volatile("ldtilecfg %0" ::"m"(shapes) : "memory");
    for (int i = 0; i < TILE_ROUNDS; i++)
        __asm__ volatile(TDPBUSD(0) TDPBUSD(1) TDPBUSD(2) TDPBUSD(3) TDPBUSD(4) TDPBUSD(5)::: "memory");
    __asm__ volatile("tilerelease" ::: "memory");
}
static const nct_roofline_loop loops[] = {
    {"amx", "tdpbusd", NCT_ROOF_INT8, peak_tdpbusd, 6 * 2.0 * 16 * 16 * 64 * TILE_ROUNDS},
    {"amx", "vdpbf16ps zmm", NCT_ROOF_BF16, peak_vdpbf16ps, 24 * 64 * ROUNDS},
    {"amx", "fma zmm", NCT_ROOF_F32, peak_fma_zmm, 12 * 32 * ROUNDS},
    {"avx512", "vpdpbusd zmm", NCT_ROOF_INT8, peak_vpdpbusd, 12 * 128 * ROUNDS},
    {"avx512", "fma zmm", NCT_ROOF_F32, peak_fma_zmm, 12 * 32 * ROUNDS},
    {"avx512bf16", "vpdpbusd zmm", NCT_ROOF_INT8, peak_vpdpbusd, 12 * 128 * ROUNDS},
    {"avx512bf16", "vdpbf16ps zmm", NCT_ROOF_BF16, peak_vdpbf16ps, 24 * 64 * ROUNDS},
    {"avx512bf16", "fma zmm", NCT_ROOF_F32, peak_fma_zmm, 12 * 32 * ROUNDS},
    {"avxvnni", "vpdpbusd ymm", NCT_ROOF_INT8, peak_vpdpbusd_ymm, 12 * 64 * ROUNDS},
    {"avxvnni", "fma ymm", NCT_ROOF_F32, peak_fma_ymm, 12 * 16 * ROUNDS},
    {"avx2", "vpmaddubsw ymm", NCT_ROOF_INT8, peak_maddubs, 8 * 64 * ROUNDS},
    {"avx2", "fma ymm", NCT_ROOF_F32, peak_fma_ymm, 12 * 16 * ROUNDS},
};
#elif defined(__aarch64__)
#define EACH_16(op) op(0) op(1) op(2) op(3) op(4) op(5) op(6) op(7) op(8) op(9) op(10) op(11) op(12) op(13) op(14) op(15)
#define LOOP(name, extension, instruction)                                                                             \
    static void name(void) {                                                                                           \
        for (int i = 0; i < ROUNDS; i++)                                                                               \
            __asm__ volatile(extension EACH_16(instruction)::: "memory", "v0", "v1", "v2", "v3", "v4", "v5", "v6",     \
                             "v7", "v8", "v9", "v10", "v11", "v12", "v13", "v14", "v15");                              \
    }
#define SMLAL(i) "smlal v" #i ".8h, v30.8b, v31.8b\n"
#define SDOT(i) "sdot v" #i ".4s, v30.16b, v31.16b\n"
#define SMMLA(i) "smmla v" #i ".4s, v30.16b, v31.16b\n"
#define BFMMLA(i) ".inst 0x6e5fefc0 + " #i "\n" /* bfmmla vI.4s, v30.8h, v31.8h, which not every assembler takes */
#define FMLA(i) "fmla v" #i ".4s, v30.4s, v31.4s\n"
LOOP(peak_smlal, "", SMLAL)
LOOP(peak_sdot, ".arch armv8.2-a+dotprod\n", SDOT)
LOOP(peak_smmla, ".arch armv8.2-a+i8mm\n", SMMLA)
LOOP(peak_bfmmla, "", BFMMLA)
LOOP(peak_fmla, "", FMLA)
static const nct_roofline_loop loops[] = {
    {"neon", "smlal", NCT_ROOF_INT8, peak_smlal, 16 * 16 * ROUNDS},
    {"neon", "fmla", NCT_ROOF_F32, peak_fmla, 16 * 8 * ROUNDS},
    {"dotprod", "sdot", NCT_ROOF_INT8, peak_sdot, 16 * 32 * ROUNDS},
    {"dotprod", "fmla", NCT_ROOF_F32, peak_fmla, 16 * 8 * ROUNDS},
    {"i8mm", "smmla", NCT_ROOF_INT8, peak_smmla, 16 * 64 * ROUNDS},
    {"i8mm", "bfmmla", NCT_ROOF_BF16, peak_bfmmla, 16 * 32 * ROUNDS},
    {"i8mm", "fmla", NCT_ROOF_F32, peak_fmla, 16 * 8 * ROUNDS},
};
#else
static const nct_roofline_loop loops[1];
#endif

/* The rungs do not promise bfloat16. */
static bool can_multiply(nct_roof_kind kind) {
    if (kind != NCT_ROOF_BF16)
        return true;
    nct_cpu cpu;
    nct_cpu_detect(&cpu);
    return cpu.avx512_bf16 || cpu.arm_bf16;
}

const nct_roofline_loop *nct_roofline_loop_find(const char *isa, nct_roof_kind kind) {
    for (size_t i = 0; i < sizeof loops / sizeof *loops; i++)
        if (loops[i].isa && strcmp(loops[i].isa, isa) == 0 && loops[i].kind == kind)
            return can_multiply(kind) ? &loops[i] : NULL;
    return NULL;
}

static void run_loop(void *context, int task, int worker) {
    (void)task, (void)worker;
    ((const nct_roofline_loop *)context)->run();
}

double nct_roofline_multiply(nct_pool *pool, const char *isa, nct_roof_kind kind, int repeats, const char **instruction) {
    const nct_roofline_loop *loop = nct_roofline_loop_find(isa, kind);
    int n_tasks = TASKS * nct_pool_used(pool);
    if (!loop)
        return 0;
    if (instruction)
        *instruction = loop->instruction;
    return loop->ops * n_tasks / time_tasks(pool, n_tasks, run_loop, (void *)(uintptr_t)loop, repeats);
}

/* ------------------------------------------------------------------ reading memory */

enum {
    CHUNK = 1 << 18,
    N_CHUNKS = 1024, /* 256 MiB: more than the caches of the machines this is for */
    HUGE = 1 << 21,
};

struct nct_roofline_memory {
    void *block; /* as it was taken, n_bytes */
    size_t n_bytes;
    uint8_t *data;            /* in it, at a border of huge pages */
    atomic_uint_fast64_t sum; /* so that nothing is left out */
};

static void touch_chunk(void *context, int task, int worker) {
    (void)worker;
    memset((uint8_t *)context + (size_t)task * CHUNK, task & 1, CHUNK);
}

nct_status nct_roofline_memory_open(nct_pool *pool, nct_roof_pages pages, nct_roofline_memory **memory, nct_error *err) {
    void *p = NULL, *block = NULL;
    size_t n = (size_t)CHUNK * N_CHUNKS + HUGE;
    NCT_TRY(nct_alloc(&p, 1, sizeof(nct_roofline_memory), err));
    nct_status status = nct_pages_open(&block, n, err);
    if (status != NCT_OK) {
        nct_free(p);
        return status;
    }
    nct_roofline_memory *m = p;
    m->block = block;
    m->n_bytes = n;
    m->data = (uint8_t *)(((uintptr_t)block + HUGE - 1) / HUGE * HUGE);
#ifdef MADV_HUGEPAGE
    if (pages != NCT_PAGES_AS_IS) /* a wish: where it is not granted, both kinds read the same */
        madvise(block, n, pages == NCT_PAGES_HUGE ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
#endif
    nct_pool_run(pool, N_CHUNKS, touch_chunk, m->data);
    *memory = m;
    return NCT_OK;
}

void nct_roofline_memory_close(nct_roofline_memory *m) {
    if (m)
        nct_pages_close(m->block, m->n_bytes);
    nct_free(m);
}

uint64_t nct_roofline_touch(const void *data, size_t n_bytes, size_t ahead) {
    const uint64_t *at = data;
    uint64_t a = 0, b = 0, c = 0, d = 0;
    for (size_t i = 0; i < n_bytes / sizeof *at; i += 8) {
        if (ahead)
            __builtin_prefetch((const char *)(at + i) + ahead);
        a |= at[i] | at[i + 1];
        b |= at[i + 2] | at[i + 3];
        c |= at[i + 4] | at[i + 5];
        d |= at[i + 6] | at[i + 7];
    }
    return a | b | c | d;
}

static void read_chunk(void *context, int task, int worker) {
    (void)worker;
    nct_roofline_memory *m = context;
    uint64_t sum = nct_roofline_touch(m->data + (size_t)task * CHUNK, CHUNK, 2048);
    atomic_fetch_or_explicit(&m->sum, sum, memory_order_relaxed);
}

double nct_roofline_memory_read(nct_pool *pool, nct_roofline_memory *memory, int repeats) {
    return (double)CHUNK * N_CHUNKS / time_tasks(pool, N_CHUNKS, read_chunk, memory, repeats);
}

nct_status nct_roofline_read(nct_pool *pool, int repeats, double *bytes_s, nct_error *err) {
    nct_roofline_memory *memory = NULL;
    NCT_TRY(nct_roofline_memory_open(pool, NCT_PAGES_AS_IS, &memory, err));
    *bytes_s = nct_roofline_memory_read(pool, memory, repeats);
    nct_roofline_memory_close(memory);
    return NCT_OK;
}
