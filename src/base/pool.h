/** A pool of threads: the one doorway to pthreads. Work is a number of tasks cut by shape; workers
 *  take them in turn. Which worker runs a task never shows in the result. */
#ifndef NCT_BASE_POOL_H
#define NCT_BASE_POOL_H

#include "base/mem.h"
#include "base/numa.h"

typedef struct nct_pool nct_pool;
typedef void nct_task_fn(void *context, int task, int worker);

/** How a pool's workers run and how memory that they read in shares is taken. */
typedef struct nct_pool_options {
    int n_threads;          /* workers, the caller of nct_pool_run included (so 1 starts none) */
    nct_huge_pages huge;    /* of nct_pool_memory */
    const nct_nodes *nodes; /* read during the call only. Where bound, workers are shared out over them in
                               proportion to their processors and stay there; the caller too, until the pool
                               is closed. NULL: one node, unbound */
} nct_pool_options;

nct_status nct_pool_open(int n_threads, nct_pool **pool, nct_error *err);
nct_status nct_pool_open_as(const nct_pool_options *options, nct_pool **pool, nct_error *err);
void nct_pool_close(nct_pool *pool);
int nct_pool_size(const nct_pool *pool);

/** From the next call of nct_pool_run on only the first n_threads workers take tasks (at least 1, at most all);
 *  the others sleep, and no call wakes them. Costs nothing where the number is what it was. Not during a call.
 *  A worker that was held up may still finish a task of a later call, so whatever is kept for each worker has to
 *  be there for nct_pool_size of them. */
void nct_pool_use(nct_pool *pool, int n_threads);
int nct_pool_used(const nct_pool *pool);
/** Nodes that have workers, at least 1, and the first of n things that falls to a node's workers: things
 *  [share(n, node), share(n, node + 1)) are theirs. */
int nct_pool_nodes(const nct_pool *pool);
size_t nct_pool_share(const nct_pool *pool, size_t n, int node);

/** Memory (nct_pages_open) of n items of item_bytes that the workers will read, each share on its node but
 *  for pages that lie on a border. Closed with nct_pages_close. */
nct_status nct_pool_memory(const nct_pool *pool, size_t n, size_t item_bytes, void **p, nct_error *err);
/** Makes what the calling thread touches first come from a node's memory; -1 ends that. Nothing on one node. */
void nct_pool_prefer(const nct_pool *pool, int node);

/** True if such memory is worth a copy of what lies in a file's shared pages. */
bool nct_pool_wants_copies(const nct_pool *pool);

/** Runs fn for tasks 0 .. n_tasks-1 and returns when all are done. One call at a time; fn must not
 *  call it again. Hot workers wait spinning for a short while, then sleep. A node's workers take their
 *  share of the tasks first (nct_pool_share), then what is left of others'. */
void nct_pool_run(nct_pool *pool, int n_tasks, nct_task_fn *fn, void *context);

/** The same with shares as the caller cuts them: tasks first[node] .. first[node + 1] - 1 are a node's;
 *  first [nct_pool_nodes + 1], first[0] = 0. */
void nct_pool_run_shares(nct_pool *pool, const int *first, nct_task_fn *fn, void *context);

#endif
