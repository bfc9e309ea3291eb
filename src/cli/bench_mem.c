/* The roofline by itself: read bandwidth by threads, by node and by size of pages, and the peaks of arithmetic. */
#define _GNU_SOURCE
#include <sched.h>
#include <stdio.h>
#include <string.h>

#include "base/cpu.h"
#include "base/json.h"
#include "base/pool.h"
#include "cli/bench.h"
#include "kernel/kernel.h"
#include "kernel/roofline.h"

enum { REPS = 9, ROWS_MAX = 256, NODES_MAX = 64 };

typedef struct row {
    char what[24];     /* "read", "int8" */
    char pages[8];     /* "small", "huge", "as is"; "" of arithmetic */
    char with[32];     /* instruction */
    int node, threads; /* node -1: all that the process may use */
    double rate;       /* bytes or operations a second */
} row;

typedef struct table {
    nct_cli *cli;
    nct_kernels kernels;
    nct_cpu cpu;
    nct_range threads;
    int reps;
    row rows[ROWS_MAX];
    size_t n_rows;
} table;

static void add(table *t, row r) {
    if (t->n_rows < ROWS_MAX)
        t->rows[t->n_rows++] = r;
}

/* ------------------------------------------------------------------ nodes */

/* Processors of a memory node that this process may use: 0 if there is no such node or none of its are. */
static int node_processors(int node, const cpu_set_t *mine, cpu_set_t *set) {
    char path[64];
    int first, last;
    CPU_ZERO(set);
    snprintf(path, sizeof path, "/sys/devices/system/node/node%d/cpulist", node);
    FILE *f = fopen(path, "re");
    if (!f)
        return 0;
    while (fscanf(f, "%d", &first) == 1) { /* "0-3,8-11" */
        int c = fgetc(f);
        last = first;
        if (c == '-') {
            if (fscanf(f, "%d", &last) != 1)
                break;
            c = fgetc(f);
        }
        for (int i = first; i >= 0 && i <= last && i < CPU_SETSIZE; i++)
            if (CPU_ISSET(i, mine))
                CPU_SET(i, set);
        if (c != ',')
            break;
    }
    fclose(f);
    return CPU_COUNT(set);
}

/* ------------------------------------------------------------------ measuring */

static nct_status read_with(table *t, nct_pool *pool, nct_roof_pages pages, const char *name, int node,
                            const nct_range *threads, nct_error *err) {
    nct_roofline_memory *memory = NULL;
    nct_pool_use(pool, nct_pool_size(pool));
    NCT_TRY(nct_roofline_memory_open(pool, pages, &memory, err));
    for (size_t i = 0; i < threads->n; i++) {
        row r = {.what = "read", .node = node, .threads = (int)threads->value[i]};
        snprintf(r.pages, sizeof r.pages, "%s", name);
        nct_pool_use(pool, r.threads);
        r.rate = nct_roofline_memory_read(pool, memory, t->reps);
        add(t, r);
    }
    nct_roofline_memory_close(memory);
    return NCT_OK;
}

static void multiply_with(table *t, nct_pool *pool) {
    static const struct {
        nct_roof_kind kind;
        const char *name;
    } kinds[] = {{NCT_ROOF_INT8, "int8"}, {NCT_ROOF_BF16, "bf16"}, {NCT_ROOF_F32, "f32"}};
    for (size_t k = 0; k < 3; k++)
        for (size_t i = 0; i < t->threads.n; i++) {
            row r = {.node = -1, .threads = (int)t->threads.value[i]};
            const char *with = "";
            nct_pool_use(pool, r.threads);
            r.rate = nct_roofline_multiply(pool, t->kernels.isa, kinds[k].kind, t->reps, &with);
            snprintf(r.what, sizeof r.what, "%s", kinds[k].name);
            snprintf(r.with, sizeof r.with, "%s", with);
            if (r.rate > 0)
                add(t, r);
        }
}

/* The threads of a pool stay where the thread that opened it was; memory lies where it was touched first. */
static nct_status read_node(table *t, int node, int n_processors, const cpu_set_t *set, nct_error *err) {
    nct_pool *pool = NULL;
    nct_range all = {.value = {n_processors}, .n = 1};
    if (sched_setaffinity(0, sizeof *set, set) != 0)
        return NCT_OK;
    NCT_TRY(nct_pool_open(n_processors, &pool, err));
    nct_status status = read_with(t, pool, NCT_PAGES_AS_IS, "as is", node, &all, err);
    nct_pool_close(pool);
    return status;
}

static nct_status read_nodes(table *t, nct_error *err) {
    cpu_set_t mine, set[NODES_MAX];
    int count[NODES_MAX], n_nodes = 0;
    if (sched_getaffinity(0, sizeof mine, &mine) != 0)
        return NCT_OK;
    for (int i = 0; i < NODES_MAX; i++) {
        count[i] = node_processors(i, &mine, &set[i]);
        n_nodes += count[i] > 0;
    }
    nct_status status = NCT_OK;
    for (int i = 0; i < NODES_MAX && n_nodes > 1 && status == NCT_OK; i++)
        if (count[i])
            status = read_node(t, i, count[i], &set[i], err);
    sched_setaffinity(0, sizeof mine, &mine);
    return status;
}

static nct_status measure(table *t, nct_error *err) {
    nct_pool *pool = NULL;
    NCT_TRY(nct_kernels_pick(t->cli->args.isa, &t->kernels, err));
    NCT_TRY(nct_pool_open((int)nct_counts_largest(&t->threads), &pool, err));
    nct_status status = read_with(t, pool, NCT_PAGES_SMALL, "small", -1, &t->threads, err);
    if (status == NCT_OK)
        status = read_with(t, pool, NCT_PAGES_HUGE, "huge", -1, &t->threads, err);
    if (status == NCT_OK)
        multiply_with(t, pool);
    nct_pool_close(pool);
    return status == NCT_OK ? read_nodes(t, err) : status;
}

/* ------------------------------------------------------------------ the report */

static const char *unit(const row *r) {
    return strcmp(r->what, "read") == 0 ? "GB/s" : strcmp(r->what, "int8") == 0 ? "Top/s" : "Tflop/s";
}
static double in_unit(const row *r) { return r->rate / (strcmp(r->what, "read") == 0 ? 1e9 : 1e12); }

static void print_table(const table *t, nct_output *out) {
    nct_output_print(out, "%s · %s\n", *t->cpu.name ? t->cpu.name : "unknown processor", t->kernels.isa);
    nct_output_print(out, "| what | threads | node | pages |     rate         | with             |\n");
    nct_output_print(out, "|------|--------:|-----:|-------|-----------------:|------------------|\n");
    for (size_t i = 0; i < t->n_rows; i++) {
        const row *r = &t->rows[i];
        char node[16] = "all";
        if (r->node >= 0)
            snprintf(node, sizeof node, "%d", r->node);
        nct_output_print(out, "| %-4s | %7d | %4s | %-5s | %8.2f %-7s | %-16s |\n", r->what, r->threads, node,
                         r->pages, in_unit(r), unit(r), r->with);
    }
}

static void print_records(const table *t, nct_output *out, int64_t form) {
    nct_bytes cpu = {0};
    nct_json_write_string(&cpu, t->cpu.name, strlen(t->cpu.name), NULL);
    if (form == NCT_BENCH_CSV)
        nct_output_print(out, "isa,what,threads,node,pages,rate,unit,with\n");
    for (size_t i = 0; i < t->n_rows; i++) {
        const row *r = &t->rows[i];
        char node[16] = "";
        if (r->node >= 0 || form != NCT_BENCH_CSV)
            snprintf(node, sizeof node, "%d", r->node);
        if (form == NCT_BENCH_CSV) {
            nct_output_print(out, "%s,%s,%d,%s,%s,%.4g,%s,%s\n", t->kernels.isa, r->what, r->threads, node,
                             r->pages, in_unit(r), unit(r), r->with);
            continue;
        }
        nct_output_print(out,
                         "%s{\"cpu\":%s,\"isa\":\"%s\",\"what\":\"%s\",\"threads\":%d,\"node\":%s,\"pages\":"
                         "\"%s\",\"rate\":%.4g,",
                         form == NCT_BENCH_JSON && i == 0 ? "[" : "", cpu.data, t->kernels.isa, r->what,
                         r->threads, r->node >= 0 ? node : "null", r->pages, in_unit(r));
        nct_output_print(out, "\"unit\":\"%s\",\"with\":\"%s\"}%s", unit(r), r->with,
                         form != NCT_BENCH_JSON ? "\n"
                         : i + 1 == t->n_rows   ? "]\n"
                                                : ",\n");
    }
    nct_bytes_reset(&cpu);
}

static int take_threads(const nct_cli *cli, nct_range *c) {
    int usable = nct_cpu_usable();
    for (int64_t n = 1; n < usable; n *= 2)
        c->value[c->n++] = n;
    c->value[c->n++] = usable;
    if (!cli->args.bench_threads)
        return NCT_EXIT_OK;
    int code = nct_counts_take(cli, "-t", cli->args.bench_threads, 1, c);
    if (code == NCT_EXIT_OK && nct_counts_largest(c) > usable)
        code = nct_say_error(cli, NCT_EXIT_USAGE, "-t %s: this process may use %d threads",
                             cli->args.bench_threads, usable);
    return code;
}

int nct_bench_mem_main(nct_cli *cli) {
    const nct_args *a = &cli->args;
    table t = {.cli = cli, .reps = a->reps == NCT_UNSET ? REPS : (int)a->reps};
    nct_error err = {0};
    nct_output out;
    if (a->words.n)
        return nct_say_error(cli, NCT_EXIT_USAGE, "bench mem takes no '%s'", a->words.item[0]);
    int code = nct_bench_take_form(cli);
    if (code == NCT_EXIT_OK)
        code = take_threads(cli, &t.threads);
    if (code != NCT_EXIT_OK)
        return code;
    nct_cpu_detect(&t.cpu);
    if (measure(&t, &err) != NCT_OK)
        return err.status == NCT_E_ARGUMENT || err.status == NCT_E_UNSUPPORTED
                   ? nct_say_error(cli, NCT_EXIT_USAGE, "%s", err.text)
                   : nct_say_status(cli, &err);
    if ((code = nct_output_open(cli, a->output, &out)) != NCT_EXIT_OK)
        return code;
    if (a->bench_format == NCT_BENCH_MD || a->bench_format == NCT_UNSET)
        print_table(&t, &out);
    else
        print_records(&t, &out, a->bench_format);
    return nct_output_close(&out, code);
}
