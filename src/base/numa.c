#define _GNU_SOURCE
#include "base/numa.h"

#include <sched.h>
#include <stdio.h>
#include <string.h>

#include "base/cpu.h"

/* ------------------------------------------------------------------ threads */

void nct_numa_where(nct_cpu_set *cpus) {
    _Static_assert(sizeof(cpu_set_t) == sizeof cpus->bits, "a set of processors has another size");
    if (sched_getaffinity(0, sizeof cpus->bits, (cpu_set_t *)(void *)cpus->bits) != 0)
        *cpus = (nct_cpu_set){0};
}

void nct_numa_stay(const nct_cpu_set *cpus) {
    static const nct_cpu_set unknown;
    if (memcmp(cpus, &unknown, sizeof unknown) == 0)
        return;
    sched_setaffinity(0, sizeof cpus->bits, (const cpu_set_t *)(const void *)cpus->bits);
}

/* ------------------------------------------------------------------ the machine */

#ifdef NCT_HAVE_NUMA
#include <numa.h>
#include <numaif.h>

bool nct_numa_is_built_in(void) { return true; }

/* Bytes that can be had on a node without taking them from anybody. */
static uint64_t available(int id) {
    static const char *const parts[] = {"MemFree:", "Active(file):", "Inactive(file):"};
    char path[64], line[128], key[32];
    unsigned long long kib, sum = 0;
    snprintf(path, sizeof path, "/sys/devices/system/node/node%d/meminfo", id);
    FILE *f = fopen(path, "re");
    if (!f)
        return 0;
    while (fgets(line, sizeof line, f))
        for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
            if (sscanf(line, "Node %*d %31s %llu", key, &kib) == 2 && strcmp(key, parts[i]) == 0)
                sum += kib;
    fclose(f);
    return sum * 1024;
}

static void detect(nct_nodes *nodes) {
    nct_cpu_set mine;
    nct_numa_where(&mine);
    struct bitmask *cpus = numa_allocate_cpumask();
    for (int id = 0; cpus && id <= numa_max_node() && nodes->n < NCT_NODES_MAX; id++) {
        nct_node node = {.id = id};
        if (!numa_bitmask_isbitset(numa_all_nodes_ptr, (unsigned)id) || numa_node_to_cpus(id, cpus) != 0)
            continue;
        for (unsigned c = 0; c < sizeof mine.bits * 8 && c < cpus->size; c++)
            if (numa_bitmask_isbitset(cpus, c) && mine.bits[c / 64] >> c % 64 & 1) {
                node.cpus.bits[c / 64] |= (uint64_t)1 << c % 64;
                node.n_cpus++;
            }
        if (node.n_cpus == 0)
            continue; /* memory alone, or forbidden */
        node.available_bytes = available(id);
        nodes->node[nodes->n++] = node;
    }
    if (cpus)
        numa_free_cpumask(cpus);
}

void nct_numa_place(void *p, size_t n_bytes, int node_id) {
    unsigned long mask[NCT_NODES_MAX * 16 / (8 * sizeof(unsigned long))] = {0};
    size_t bits = 8 * sizeof *mask;
    if (n_bytes == 0 || node_id < 0 || (size_t)node_id >= sizeof mask * 8)
        return;
    mask[(size_t)node_id / bits] |= 1ul << (size_t)node_id % bits;
    /* preferred, not bound: a node that is full makes the rest slower instead of ending the process */
    mbind(p, n_bytes, MPOL_PREFERRED, mask, sizeof mask * 8, 0);
}

void nct_numa_prefer(int node_id) {
    unsigned long mask[NCT_NODES_MAX * 16 / (8 * sizeof(unsigned long))] = {0};
    size_t bits = 8 * sizeof *mask;
    if (node_id >= 0 && (size_t)node_id < sizeof mask * 8) {
        mask[(size_t)node_id / bits] |= 1ul << (size_t)node_id % bits;
        set_mempolicy(MPOL_PREFERRED, mask, sizeof mask * 8);
    } else {
        set_mempolicy(MPOL_DEFAULT, NULL, 0);
    }
}

static bool tells_nodes_apart(void) { return numa_available() >= 0 && numa_max_node() > 0; }
#else
bool nct_numa_is_built_in(void) { return false; }
static bool tells_nodes_apart(void) { return false; }
static void detect(nct_nodes *nodes) { (void)nodes; }
void nct_numa_place(void *p, size_t n_bytes, int node_id) { (void)p, (void)n_bytes, (void)node_id; }
void nct_numa_prefer(int node_id) { (void)node_id; }
#endif

void nct_nodes_detect(int n_made_up, nct_nodes *nodes) {
    *nodes = (nct_nodes){0};
    if (n_made_up > 1) {
        nodes->made_up = true;
        nodes->n = n_made_up < NCT_NODES_MAX ? n_made_up : NCT_NODES_MAX;
        for (int i = 0; i < nodes->n; i++)
            nodes->node[i] = (nct_node){.id = i, .n_cpus = 1, .available_bytes = (uint64_t)1 << 30};
        return;
    }
    if (tells_nodes_apart())
        detect(nodes);
    if (nodes->n == 0) {
        *nodes = (nct_nodes){.n = 1};
        nodes->node[0].n_cpus = nct_cpu_usable();
    }
}

int nct_numa_nodes(void) {
    nct_nodes nodes;
    nct_nodes_detect(0, &nodes);
    return nct_numa_is_built_in() ? nodes.n : 0;
}

/* ------------------------------------------------------------------ choosing */

/* "0", "0 and 1", "0, 1 and 3" */
static const char *list(const nct_nodes *nodes, char *buf, size_t n_buf) {
    size_t at = 0;
    buf[0] = 0;
    for (int i = 0; i < nodes->n && at < n_buf; i++)
        at += (size_t)snprintf(buf + at, n_buf - at, "%s%d",
                               i == 0             ? ""
                               : i + 1 < nodes->n ? ", "
                                                  : " and ",
                               nodes->node[i].id);
    return buf;
}

static void keep_one(nct_nodes *nodes, int i, bool bound) {
    nodes->node[0] = nodes->node[i];
    nodes->n = 1;
    nodes->bound = bound;
}

/* The node that can take everything with the most room to spare, or -1. */
static int roomiest(const nct_nodes *nodes, const nct_numa_wish *wish) {
    int best = -1;
    for (int i = 0; i < nodes->n; i++) {
        const nct_node *node = &nodes->node[i];
        bool fits = node->n_cpus >= wish->n_threads && node->available_bytes / 10 * 9 >= wish->n_bytes;
        if (fits && (best < 0 || node->available_bytes > nodes->node[best].available_bytes))
            best = i;
    }
    return best;
}

nct_status nct_nodes_choose(const nct_numa_wish *wish, nct_nodes *nodes, nct_error *err) {
    char known[256];
    int found = -1;
    switch (wish->mode) {
    case NCT_NUMA_OFF:
        keep_one(nodes, 0, false);
        return NCT_OK;
    case NCT_NUMA_NODE:
        for (int i = 0; i < nodes->n && found < 0; i++)
            if (nodes->node[i].id == wish->node)
                found = i;
        if (found < 0)
            return nct_fail(err, NCT_E_ARGUMENT,
                            "there is no memory node %d with processors for this process; there %s %s",
                            wish->node, nodes->n == 1 ? "is node" : "are nodes",
                            list(nodes, known, sizeof known));
        keep_one(nodes, found, true);
        return NCT_OK;
    case NCT_NUMA_AUTO:
    case NCT_NUMA_SHARD:
        found = nodes->n == 1 || wish->mode == NCT_NUMA_SHARD ? -1 : roomiest(nodes, wish);
        if (found >= 0)
            keep_one(nodes, found, true);
        else
            nodes->bound = nodes->n > 1;
        return NCT_OK;
    }
    return nct_fail(err, NCT_E_ARGUMENT, "no way %d of using memory nodes", (int)wish->mode);
}
