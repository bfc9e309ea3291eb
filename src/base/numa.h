/** Memory nodes: the one doorway to libnuma. Which nodes there are, which of them to use, and keeping threads
 *  and memory there. A build without libnuma, and a system that does not tell nodes apart, has one. */
#ifndef NCT_BASE_NUMA_H
#define NCT_BASE_NUMA_H

#include "base/status.h"

enum { NCT_NODES_MAX = 64 };

/** A set of processors, by number. Empty: unknown. */
typedef struct nct_cpu_set {
    uint64_t bits[16];
} nct_cpu_set;

typedef struct nct_node {
    int id;     /* the system's number */
    int n_cpus; /* processors of it that this process may use */
    nct_cpu_set cpus;
    uint64_t available_bytes; /* free, or holding files that can be read again */
} nct_node;

/** The nodes with processors that this process may use, ascending by number. */
typedef struct nct_nodes {
    int n;      /* at least 1 */
    bool bound; /* whoever works for them stays on them */
    bool made_up;
    nct_node node[NCT_NODES_MAX];
} nct_nodes;

/** False: this build is without libnuma. */
bool nct_numa_is_built_in(void);

/** Looks at the machine. n_made_up > 1: gives so many nodes that do not exist, for tests; nothing is bound or
 *  placed for them, but work is cut and weights are copied as if they did. */
void nct_nodes_detect(int n_made_up, nct_nodes *nodes);

/** Nodes with processors that this process may use; 0: this build cannot tell. */
int nct_numa_nodes(void);

/** What is to be placed. */
typedef struct nct_numa_wish {
    nct_numa_mode mode;
    int node;         /* of NCT_NUMA_NODE */
    int n_threads;    /* that will work */
    uint64_t n_bytes; /* that they will read: the model */
} nct_numa_wish;

/** Leaves those nodes in *nodes that are to be used: one, unbound, where nothing is to be done; one, bound; or
 *  several, to shard over. AUTO: the first of the best nodes that has a processor for every thread and room
 *  for the model, else all. NCT_E_ARGUMENT: node=N that does not exist or that this process may not use. */
nct_status nct_nodes_choose(const nct_numa_wish *wish, nct_nodes *nodes, nct_error *err);

/** Where the calling thread may run, and making it so. Failures are not told: the thread runs elsewhere. */
void nct_numa_where(nct_cpu_set *cpus);
void nct_numa_stay(const nct_cpu_set *cpus);

/** Memory of [p, p + n_bytes) that has not been touched will come from this node while it has any. p lies on
 *  the border of a page. */
void nct_numa_place(void *p, size_t n_bytes, int node_id);

/** The same for whatever the calling thread touches first from now on; -1: the system's default again. */
void nct_numa_prefer(int node_id);

#endif
