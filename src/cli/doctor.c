/* What this machine is and can do, and what Noctule makes of it. Reads and measures; all it changes are the numbers
 * of threads that are kept for this host. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cpu.h"
#include "base/json.h"
#include "base/numa.h"
#include "base/pages.h"
#include "base/pool.h"
#include "base/room.h"
#include "cli/host.h"
#include "cli/open.h"
#include "cli/output.h"
#include "format/nct.h"
#include "kernel/kernel.h"
#include "kernel/roofline.h"

enum { REPEATS = 7, READS_MAX = 16 };
#define SATURATED 0.98 /* of the best bandwidth */

typedef struct reads {
    int threads[READS_MAX];
    double rate[READS_MAX]; /* bytes a second */
    size_t n;
} reads;

typedef struct findings {
    nct_cpu cpu;
    int online, usable, threads;
    nct_kernels kernels;
    char rungs[128]; /* those this processor runs */
    double quota;    /* processors; 0: none */
    int numa_nodes;  /* 0: built without libnuma */
    uint64_t memory_bytes, available_bytes, limit_bytes, swap_used_bytes;
    const char *pages; /* transparent huge pages: the mode in force */
    reads read;
    double read_huge; /* with all threads, from huge pages */
    double ops[3];    /* by nct_roof_kind */
    const char *with[3];
    nct_host advised, kept; /* threads by bandwidth; those in force */
    bool has_kept;
    char governor[32];
    bool has_model;
    char model[96];     /* its name */
    double decode_t_s;  /* tokens a second at the roof; 0: not a bundle, so not opened here */
    double prefill_t_s; /* likewise, the matrices alone */
    char advice[512];
} findings;

/* ------------------------------------------------------------------ looking */

/* A value of /proc/meminfo, in bytes. */
static uint64_t meminfo(const char *key) {
    FILE *f = fopen("/proc/meminfo", "re");
    char line[128];
    unsigned long long kib = 0;
    size_t n = strlen(key);
    while (f && fgets(line, sizeof line, f))
        if (strncmp(line, key, n) == 0 && line[n] == ':') {
            sscanf(line + n + 1, "%llu", &kib);
            break;
        }
    if (f)
        fclose(f);
    return (uint64_t)kib * 1024;
}

/* The first line of a file, "" if it cannot be read. */
static void read_line(const char *path, char *out, size_t n) {
    FILE *f = fopen(path, "re");
    out[0] = 0;
    if (!f)
        return;
    if (!fgets(out, (int)n, f))
        out[0] = 0;
    out[strcspn(out, "\n")] = 0;
    fclose(f);
}

static void look(findings *f) {
    nct_cpu_detect(&f->cpu);
    f->online = (int)sysconf(_SC_NPROCESSORS_ONLN);
    f->quota = nct_cpu_quota();
    f->memory_bytes = meminfo("MemTotal");
    f->available_bytes = meminfo("MemAvailable");
    nct_room room;
    nct_room_find("", &room);
    f->limit_bytes = room.limit_bytes;
    f->swap_used_bytes = meminfo("SwapTotal") - meminfo("SwapFree");
    f->pages = *nct_pages_huge_system() ? nct_pages_huge_system() : "unknown";
    read_line("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", f->governor, sizeof f->governor);
    f->numa_nodes = nct_numa_nodes();
}

/* ------------------------------------------------------------------ kernels */

/* What each operation is done by: the lowest rung whose table has the same function. */
static const struct {
    const char *name;
    size_t offset;
} operations[] = {
    {"int4 products", offsetof(nct_kernels, matmul_codes4)},
    {"int8 products", offsetof(nct_kernels, matmul_codes8)},
    {"bf16 products", offsetof(nct_kernels, matmul_bf16)},
    {"exact products", offsetof(nct_kernels, matmul_codes4_exact)},
    {"quantize", offsetof(nct_kernels, quantize)},
    {"attention", offsetof(nct_kernels, attend)},
    {"scores", offsetof(nct_kernels, dots)},
    {"norm", offsetof(nct_kernels, rms_norm)},
    {"rope", offsetof(nct_kernels, rope)},
    {"swiglu", offsetof(nct_kernels, swiglu)},
};
enum { N_OPERATIONS = sizeof operations / sizeof *operations };

static const char *done_by(const findings *f, size_t operation) {
    size_t at = operations[operation].offset;
    for (size_t i = 0; nct_kernels_rung(i); i++) {
        nct_kernels one;
        if (nct_kernels_pick(nct_kernels_rung(i), &one, NULL) == NCT_OK &&
            memcmp((const char *)&one + at, (const char *)&f->kernels + at, sizeof(void (*)(void))) == 0)
            return nct_kernels_rung(i);
    }
    return f->kernels.isa;
}

/* "attention avx2 · all others avx512" is shorter than ten names. */
static void print_kernels(nct_output *out, const findings *f) {
    const char *usual = done_by(f, 0);
    bool others = false;
    nct_output_print(out, "kernels ");
    for (size_t i = 0; i < N_OPERATIONS; i++)
        if (strcmp(done_by(f, i), usual) != 0) {
            nct_output_print(out, " %s: %s ·", operations[i].name, done_by(f, i));
            others = true;
        }
    nct_output_print(out, others ? " all others: %s" : " all: %s", usual);
    nct_output_print(out, " · cache of keys and values in %s\n", nct_kv_type_name(f->kernels.kv_type));
}

/* ------------------------------------------------------------------ measuring */

/* 1, 2, 4, ... and all. */
static void read_by_threads(findings *f, nct_pool *pool, nct_roofline_memory *memory) {
    for (int n = 1; f->read.n < READS_MAX; n = 2 * n < f->threads ? 2 * n : f->threads) {
        nct_pool_use(pool, n);
        f->read.threads[f->read.n] = n;
        f->read.rate[f->read.n++] = nct_roofline_memory_read(pool, memory, REPEATS);
        if (n == f->threads)
            break;
    }
    nct_pool_use(pool, f->threads);
}

/* Bandwidth that so many threads saturate by reading alone takes up to twice as many that compute meanwhile. */
static void derive_threads(findings *f) {
    double best = 0;
    size_t least = 0;
    for (size_t i = 0; i < f->read.n; i++)
        best = f->read.rate[i] > best ? f->read.rate[i] : best;
    while (f->read.rate[least] < SATURATED * best)
        least++;
    int twice = 2 * f->read.threads[least];
    f->advised = (nct_host){.threads = twice < f->threads ? twice : f->threads, .threads_batch = f->threads};
}

static nct_status measure(const nct_cli *cli, findings *f, nct_error *err) {
    NCT_TRY(nct_kernels_pick(cli->args.isa, &f->kernels, err));
    for (size_t i = 0; nct_kernels_rung(i); i++) {
        nct_kernels one;
        if (nct_kernels_pick(nct_kernels_rung(i), &one, NULL) == NCT_OK)
            snprintf(f->rungs + strlen(f->rungs), sizeof f->rungs - strlen(f->rungs), "%s%s",
                     *f->rungs ? " " : "", nct_kernels_rung(i));
    }
    nct_pool *pool = NULL;
    nct_roofline_memory *memory = NULL;
    nct_status status = nct_pool_open(f->threads, &pool, err);
    if (status == NCT_OK &&
        (status = nct_roofline_memory_open(pool, NCT_PAGES_SMALL, &memory, err)) == NCT_OK) {
        read_by_threads(f, pool, memory);
        nct_roofline_memory_close(memory);
        status = nct_roofline_memory_open(pool, NCT_PAGES_HUGE, &memory, err);
    }
    if (status == NCT_OK) {
        f->read_huge = nct_roofline_memory_read(pool, memory, REPEATS);
        nct_roofline_memory_close(memory);
        for (int kind = NCT_ROOF_F32; kind <= NCT_ROOF_BF16; kind++)
            f->ops[kind] =
                nct_roofline_multiply(pool, f->kernels.isa, (nct_roof_kind)kind, REPEATS, &f->with[kind]);
    }
    nct_pool_close(pool);
    return status;
}

/* What the roof allows for a model that was named. Only a bundle opens quickly enough to be asked. */
static int look_at_model(const nct_cli *cli, findings *f) {
    char *path = NULL;
    nct_checkpoint *checkpoint = NULL;
    nct_engine *engine = NULL;
    nct_model_info m;
    nct_error err = {0};
    if (!cli->args.model)
        return NCT_EXIT_OK;
    int code = nct_find_model(cli, &path);
    if (code != NCT_EXIT_OK)
        return code;
    nct_status status = nct_checkpoint_open(path, &checkpoint, &err);
    bool bundle = status == NCT_OK && nct_checkpoint_bundle(checkpoint);
    nct_checkpoint_close(checkpoint);
    nct_engine_options options = {.isa = cli->args.isa, .n_threads = f->threads};
    if (bundle && (status = nct_engine_open(path, &options, &engine, &err)) == NCT_OK) {
        nct_engine_info(engine, &m);
        double layers = (double)m.n_parameters - (double)m.n_vocab * m.hidden * (m.tied ? 1 : 2);
        f->decode_t_s =
            f->read.rate[f->read.n - 1] / ((double)m.weight_bytes - (m.tied ? 0 : (double)m.embedding_bytes));
        f->prefill_t_s = f->ops[m.coded ? NCT_ROOF_INT8 : NCT_ROOF_F32] / (2 * layers);
    }
    nct_engine_close(engine);
    f->has_model = status == NCT_OK;
    snprintf(f->model, sizeof f->model, "%.95s", strrchr(path, '/') ? strrchr(path, '/') + 1 : path);
    nct_free(path);
    return status == NCT_OK ? NCT_EXIT_OK : nct_say_status(cli, &err);
}

static void advise(findings *f, const char *fmt, ...) NCT_PRINTF(2, 3);
static void advise(findings *f, const char *fmt, ...) {
    size_t n = strlen(f->advice);
    va_list args;
    if (n)
        n += (size_t)snprintf(f->advice + n, sizeof f->advice - n, "; ");
    va_start(args, fmt);
    if (n < sizeof f->advice)
        vsnprintf(f->advice + n, sizeof f->advice - n, fmt, args);
    va_end(args);
}

static void find_advice(findings *f) {
    if (f->usable < f->online)
        advise(f, "the process may use %d of %d processors", f->usable, f->online);
    if (f->swap_used_bytes > (uint64_t)256 << 20)
        advise(f, "swap is in use: weights that were swapped out are slow");
    if (strcmp(f->kernels.isa, "ref") == 0)
        advise(f, "the portable kernels are in use, which are slow");
    if (strcmp(f->governor, "powersave") == 0 || strcmp(f->governor, "conservative") == 0)
        advise(f, "the frequency governor is %s", f->governor);
    if (f->limit_bytes && f->limit_bytes < f->available_bytes)
        advise(f, "the memory limit is below what the machine has free");
}

/* ------------------------------------------------------------------ the report */

static double read_all(const findings *f) { return f->read.rate[f->read.n - 1]; }

static void print_memory(nct_output *out, const findings *f) {
    nct_output_print(out, "memory   %s, %s available · read", NCT_BYTES(f->memory_bytes),
                     NCT_BYTES(f->available_bytes));
    for (size_t i = 0; i < f->read.n; i++)
        nct_output_print(out, "%s %.1f GB/s with %d", i ? "," : "", f->read.rate[i] / 1e9,
                         f->read.threads[i]);
    nct_output_print(out, " thread%s\n", f->read.threads[f->read.n - 1] == 1 ? "" : "s");
}

static void print_threads(nct_output *out, const findings *f) {
    const nct_host *use = f->has_kept ? &f->kept : &f->advised;
    nct_output_print(out, "threads  %d for decoding, %d for prompts: %s\n", use->threads, use->threads_batch,
                     !f->has_kept       ? "by bandwidth; not kept"
                     : f->kept.by_bench ? "as bench threads found"
                                        : "by bandwidth; noctule bench threads measures them with a model");
}

static void print_text(nct_output *out, const findings *f) {
    out->folds = true;
    out->hang = 9;
    nct_output_print(out, "cpu      %s · %d processors, %d usable\n", *f->cpu.name ? f->cpu.name : "unknown",
                     f->online, f->usable);
    nct_output_print(out, "isa      %s · this build and processor have: %s%s\n", f->kernels.isa, f->rungs,
                     f->cpu.avx512_bf16 || f->cpu.arm_bf16 ? " · bf16" : "");
    print_kernels(out, f);
    if (f->quota > 0)
        nct_output_print(out, "cgroup   CPU quota %.4g processors", f->quota);
    else
        nct_output_print(out, "cgroup   no CPU quota");
    nct_output_print(out, f->limit_bytes ? " · memory limit %s\n" : " · no memory limit\n",
                     NCT_BYTES(f->limit_bytes));
    if (f->numa_nodes)
        nct_output_print(out, "numa     %d node%s%s\n", f->numa_nodes, f->numa_nodes == 1 ? "" : "s",
                         f->numa_nodes == 1 ? "" : " · --numa auto: one where threads and model fit, else shard");
    else
        nct_output_print(out, "numa     unknown: this build is without libnuma\n");
    print_memory(out, f);
    print_threads(out, f);
    if (f->ops[NCT_ROOF_F32] > 0) {
        nct_output_print(out, "multiply int8 %.2f Top/s (%s)", f->ops[NCT_ROOF_INT8] / 1e12,
                         f->with[NCT_ROOF_INT8]);
        if (f->ops[NCT_ROOF_BF16] > 0)
            nct_output_print(out, " · bf16 %.2f Tflop/s (%s)", f->ops[NCT_ROOF_BF16] / 1e12,
                             f->with[NCT_ROOF_BF16]);
        nct_output_print(out, " · float32 %.2f Tflop/s (%s), in registers, %d threads\n",
                         f->ops[NCT_ROOF_F32] / 1e12, f->with[NCT_ROOF_F32], f->threads);
    }
    nct_output_print(out, "pages    transparent huge pages: %s · reading from them %+.1f %%\n", f->pages,
                     100 * (f->read_huge / read_all(f) - 1));
    if (*f->governor)
        nct_output_print(out, "freq     governor %s\n", f->governor);
    if (f->has_model && f->decode_t_s > 0)
        nct_output_print(out, "model    %s: decode roof %.1f t/s, prefill roof %.0f t/s, at depth 0\n",
                         f->model, f->decode_t_s, f->prefill_t_s);
    else if (f->has_model)
        nct_output_print(out, "model    %s is no bundle, so it is not opened here\n", f->model);
    nct_output_print(out, "advice   %s\n", *f->advice ? f->advice : "none");
}

static void print_json(nct_output *out, const findings *f) {
    nct_bytes name = {0};
    nct_json_write_string(&name, f->cpu.name, strlen(f->cpu.name), NULL);
    nct_output_print(out,
                     "{\"cpu\":%s,\"processors\":%d,\"usable\":%d,\"isa\":\"%s\",\"rungs\":\"%s\",\"bf16\":%"
                     "s,\"threads\":%d,",
                     name.data, f->online, f->usable, f->kernels.isa, f->rungs,
                     f->cpu.avx512_bf16 || f->cpu.arm_bf16 ? "true" : "false", f->threads);
    for (size_t i = 0; i < N_OPERATIONS; i++)
        nct_output_print(out, "%s\"%s\":\"%s\"", i ? "," : "\"kernels\":{", operations[i].name,
                         done_by(f, i));
    nct_output_print(out, "},\"kv\":\"%s\"", nct_kv_type_name(f->kernels.kv_type));
    nct_output_print(out,
                     ",\"cpu_quota\":%.4g,\"memory_bytes\":%llu,\"available_bytes\":%llu,\"memory_limit_"
                     "bytes\":%llu,\"swap_used_bytes\":%llu,",
                     f->quota, (unsigned long long)f->memory_bytes, (unsigned long long)f->available_bytes,
                     (unsigned long long)f->limit_bytes, (unsigned long long)f->swap_used_bytes);
    nct_output_print(out, "\"read_bytes_s_1\":%.4g,\"read_bytes_s\":%.4g,\"read\":[", f->read.rate[0],
                     read_all(f));
    for (size_t i = 0; i < f->read.n; i++)
        nct_output_print(out, "%s{\"threads\":%d,\"bytes_s\":%.4g}", i ? "," : "", f->read.threads[i],
                         f->read.rate[i]);
    nct_output_print(out,
                     "],\"read_bytes_s_huge\":%.4g,\"int8_ops_s\":%.4g,\"bf16_ops_s\":%.4g,\"f32_ops_s\":%."
                     "4g,\"numa_nodes\":%d,",
                     f->read_huge, f->ops[NCT_ROOF_INT8], f->ops[NCT_ROOF_BF16], f->ops[NCT_ROOF_F32],
                     f->numa_nodes);
    const nct_host *use = f->has_kept ? &f->kept : &f->advised;
    nct_output_print(out, "\"decode_threads\":%d,\"prefill_threads\":%d,\"threads_by\":\"%s\",", use->threads,
                     use->threads_batch, f->has_kept && f->kept.by_bench ? "bench" : "bandwidth");
    if (f->has_model && f->decode_t_s > 0) {
        nct_bytes model = {0};
        nct_json_write_string(&model, f->model, strlen(f->model), NULL);
        nct_output_print(out, "\"model\":{\"name\":%s,\"decode_roof_tps\":%.4g,\"prefill_roof_tps\":%.4g},",
                         model.data, f->decode_t_s, f->prefill_t_s);
        nct_bytes_reset(&model);
    }
    nct_output_print(out, "\"huge_pages\":\"%s\",\"governor\":\"%s\",\"advice\":\"%s\"}\n", f->pages,
                     f->governor, f->advice);
    nct_bytes_reset(&name);
}

int nct_doctor_main(nct_cli *cli) {
    const nct_args *a = &cli->args;
    findings f = {0};
    nct_error err = {0};
    nct_output out;
    if (a->words.n)
        return nct_say_error(cli, NCT_EXIT_USAGE,
                             "doctor looks at the machine; it has no '%s'\ntry: noctule info %s",
                             a->words.item[0], a->words.item[0]);
    look(&f);
    f.usable = nct_cpu_usable();
    f.threads = a->threads != NCT_UNSET && a->threads < f.usable ? (int)a->threads : f.usable;
    if (measure(cli, &f, &err) != NCT_OK)
        return err.status == NCT_E_ARGUMENT || err.status == NCT_E_UNSUPPORTED
                   ? nct_say_error(cli, NCT_EXIT_USAGE, "%s", err.text)
                   : nct_say_status(cli, &err);
    int code = look_at_model(cli, &f);
    if (code != NCT_EXIT_OK)
        return code;
    derive_threads(&f);
    find_advice(&f);
    if (f.threads == f.usable) /* with -t it is not the machine that was measured */
        nct_host_write(&f.advised);
    f.has_kept = nct_host_read(&f.kept);
    if ((code = nct_output_open(cli, a->output, &out)) != NCT_EXIT_OK)
        return code;
    if (a->format == NCT_FORMAT_JSON || a->format == NCT_FORMAT_JSONL)
        print_json(&out, &f);
    else
        print_text(&out, &f);
    return nct_output_close(&out, NCT_EXIT_OK);
}
