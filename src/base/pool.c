#include "base/pool.h"

#include <assert.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "base/pages.h"

enum {
    SPINS = 4000,         /* some tens of microseconds: longer than the gap between two matrix products */
    SPINS_FOR_LAST = 200, /* then the caller, waiting for others' last tasks, gives its processor away */
};

/* One word says what there is to do: round, number of tasks, tasks taken. Taking a task is one addition;
 * whoever took one may read the round's work, which cannot change before that task is done. A worker that
 * was held up finds nothing left, or the next round's tasks, and is never waited for by name. Every node has a
 * word of its own, so that workers of one node do not wait for another's cache lines. */
enum { TASK_BITS = 24 };
#define TASK_MASK (((uint64_t)1 << TASK_BITS) - 1)
static inline uint64_t taken(uint64_t ticket) { return ticket & TASK_MASK; }
static inline uint64_t tasks(uint64_t ticket) { return ticket >> TASK_BITS & TASK_MASK; }

struct node {
    _Alignas(64) atomic_uint_fast64_t ticket;
    atomic_int n_used;      /* workers from here on stay asleep; here, where whoever spins looks anyway */
    int workers_before, id; /* workers of the nodes before it; the system's number */
    nct_cpu_set cpus;       /* where its workers stay; empty: anywhere */
};

struct nct_pool {
    int n_threads;
    pthread_t *threads; /* n_threads - 1 */
    nct_huge_pages huge;
    int n_nodes;
    int *home;           /* [n_threads] each worker's node */
    bool copies, places; /* weights are worth copying; memory is placed */
    pthread_t opener;    /* worker 0 where it was bound, and where it was before */
    nct_cpu_set before;  /* empty: it was not bound */
    /* of this round; not beside a ticket, which would then be fetched twice by whoever writes it */
    _Alignas(64) _Atomic(nct_task_fn *) fn;
    _Atomic(void *) context;
    atomic_int first_task[NCT_NODES_MAX];
    /* for workers that gave up spinning */
    pthread_mutex_t lock;
    pthread_cond_t wake;
    atomic_int n_asleep;
    pthread_cond_t wanted;        /* for workers that are not used */
    _Alignas(64) atomic_int done; /* tasks of this round that have returned */
    atomic_bool leaving;
    struct node nodes[]; /* [n_nodes]; the first ticket beside `done`: both change hands in every round */
};

struct start {
    nct_pool *pool;
    int worker;
};

static inline void relax(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static void take_share(nct_pool *pool, int home, int worker) {
    struct node *node = &pool->nodes[home];
    uint64_t ticket = atomic_load_explicit(&node->ticket, memory_order_acquire);
    while (taken(ticket) < tasks(ticket)) {
        ticket = atomic_fetch_add_explicit(&node->ticket, 1, memory_order_acq_rel);
        if (taken(ticket) >= tasks(ticket))
            return;
        nct_task_fn *fn = atomic_load_explicit(&pool->fn, memory_order_relaxed);
        int task = atomic_load_explicit(&pool->first_task[home], memory_order_relaxed) + (int)taken(ticket);
        fn(atomic_load_explicit(&pool->context, memory_order_relaxed), task, worker);
        atomic_fetch_add_explicit(&pool->done, 1, memory_order_release);
        ticket = atomic_load_explicit(&node->ticket, memory_order_acquire);
    }
}

/* A worker's own share first. What another node's workers have not begun by then is late, so it is taken
 * although it lies elsewhere: shares are in proportion, and a whole node waiting costs more. */
static void take_tasks(nct_pool *pool, int home, int worker) {
    for (int i = 0; i < pool->n_nodes; i++)
        take_share(pool, (home + i) % pool->n_nodes, worker);
}

/* Looks at the worker's own share alone: polling others' words would slow their workers down. */
static bool has_work(nct_pool *pool, int home) {
    uint64_t ticket = atomic_load(&pool->nodes[home].ticket);
    return taken(ticket) < tasks(ticket) || atomic_load(&pool->leaving);
}

static bool is_used(nct_pool *pool, int home, int worker) {
    return worker < atomic_load_explicit(&pool->nodes[home].n_used, memory_order_relaxed) ||
           atomic_load(&pool->leaving);
}

static void wait_for_work(nct_pool *pool, int home, int worker) {
    for (int i = 0; i < SPINS && is_used(pool, home, worker); i++) {
        if (has_work(pool, home))
            return;
        relax();
    }
    pthread_mutex_lock(&pool->lock);
    for (;;) {
        while (!is_used(pool, home, worker)) /* not among n_asleep: nobody is to wake it for work */
            pthread_cond_wait(&pool->wanted, &pool->lock);
        atomic_fetch_add(&pool->n_asleep,
                         1); /* before looking again: the caller looks at it after new work */
        while (is_used(pool, home, worker) && !has_work(pool, home))
            pthread_cond_wait(&pool->wake, &pool->lock);
        atomic_fetch_sub(&pool->n_asleep, 1);
        if (is_used(pool, home, worker))
            break;
    }
    pthread_mutex_unlock(&pool->lock);
}

static void *worker_main(void *arg) {
    struct start start = *(struct start *)arg;
    nct_free(arg);
    int home = start.pool->home[start.worker];
    nct_numa_stay(&start.pool->nodes[home].cpus);
    while (wait_for_work(start.pool, home, start.worker), !atomic_load(&start.pool->leaving))
        take_tasks(start.pool, home, start.worker);
    return NULL;
}

/* The node that falls furthest behind its processors' share of the workers. */
static int next_home(const nct_nodes *nodes, const int *n_workers) {
    int best = 0;
    for (int i = 1; i < nodes->n; i++)
        if ((int64_t)(n_workers[i] + 1) * nodes->node[best].n_cpus <
            (int64_t)(n_workers[best] + 1) * nodes->node[i].n_cpus)
            best = i;
    return best;
}

/* Gives every worker a node, in turn, so that the first few of them have all nodes' memory too, and drops
 * nodes without a worker. */
static void share_out(nct_pool *pool, int n_threads, const nct_nodes *nodes) {
    int n_workers[NCT_NODES_MAX] = {0}, index[NCT_NODES_MAX] = {0}, before = 0;
    for (int worker = 0; worker < n_threads; worker++)
        n_workers[pool->home[worker] = next_home(nodes, n_workers)]++;
    pool->n_nodes = 0;
    for (int i = 0; i < nodes->n; i++) {
        if (n_workers[i] == 0)
            continue;
        struct node *node = &pool->nodes[index[i] = pool->n_nodes++];
        node->workers_before = before;
        before += n_workers[i];
        node->id = nodes->node[i].id;
        if (!nodes->made_up)
            node->cpus = nodes->node[i].cpus;
    }
    for (int worker = 0; worker < n_threads; worker++)
        pool->home[worker] = index[pool->home[worker]];
    pool->places = pool->n_nodes > 1 && !nodes->made_up;
}

static void set_used(nct_pool *pool, int n_threads) {
    for (int i = 0; i < pool->n_nodes; i++)
        atomic_store(&pool->nodes[i].n_used, n_threads);
}

static nct_status open_nodes(nct_pool *pool, const nct_pool_options *options, nct_error *err) {
    const nct_nodes *nodes = options->nodes && options->nodes->bound ? options->nodes : NULL;
    void *p;
    NCT_TRY(nct_alloc(&p, (size_t)options->n_threads, sizeof *pool->home, err));
    pool->home = p;
    pool->n_nodes = 1;
    pool->huge = options->huge;
    if (nodes)
        share_out(pool, options->n_threads, nodes);
    set_used(pool, options->n_threads);
    pool->copies =
        pool->n_nodes > 1 || (options->huge == NCT_HUGE_ON && strcmp(nct_pages_huge_system(), "never") != 0);
    if (nodes && !nodes->made_up) {
        pool->opener = pthread_self();
        nct_numa_where(&pool->before);
        nct_numa_stay(&pool->nodes[pool->home[0]].cpus);
    }
    return NCT_OK;
}

nct_status nct_pool_open(int n_threads, nct_pool **pool, nct_error *err) {
    return nct_pool_open_as(&(nct_pool_options){.n_threads = n_threads}, pool, err);
}

nct_status nct_pool_open_as(const nct_pool_options *options, nct_pool **out, nct_error *err) {
    int n_threads = options->n_threads;
    if (n_threads < 1)
        return nct_fail(err, NCT_E_ARGUMENT, "a pool needs at least one thread, not %d", n_threads);
    void *p;
    size_t n_nodes = options->nodes && options->nodes->bound ? (size_t)options->nodes->n : 1;
    NCT_TRY(nct_alloc(&p, 1, sizeof(nct_pool) + n_nodes * sizeof(struct node), err));
    nct_pool *pool = p;
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->wake, NULL);
    pthread_cond_init(&pool->wanted, NULL);
    pool->n_threads = 1;
    nct_status status = open_nodes(pool, options, err);
    if (status == NCT_OK)
        status = nct_alloc(&p, (size_t)n_threads, sizeof(pthread_t), err);
    if (status != NCT_OK) {
        nct_pool_close(pool);
        return status;
    }
    pool->threads = p;
    /* signals belong to the program's own thread */
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    for (int i = 1; i < n_threads && status == NCT_OK; i++) {
        status = nct_alloc(&p, 1, sizeof(struct start), err);
        if (status != NCT_OK)
            break;
        *(struct start *)p = (struct start){pool, i};
        if (pthread_create(&pool->threads[i - 1], NULL, worker_main, p) != 0) {
            nct_free(p);
            status = nct_fail(err, NCT_E_MEMORY, "thread %d of %d could not be started", i + 1, n_threads);
        } else {
            pool->n_threads++;
        }
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (status != NCT_OK) {
        nct_pool_close(pool);
        return status;
    }
    *out = pool;
    return NCT_OK;
}

static void wake_all(nct_pool *pool) {
    if (atomic_load(&pool->n_asleep) == 0)
        return;
    pthread_mutex_lock(&pool->lock);
    pthread_cond_broadcast(&pool->wake);
    pthread_mutex_unlock(&pool->lock);
}

void nct_pool_close(nct_pool *pool) {
    if (!pool)
        return;
    if (pool->n_threads > 1) {
        pthread_mutex_lock(&pool->lock);
        atomic_store(&pool->leaving, true);
        pthread_cond_broadcast(&pool->wake);
        pthread_cond_broadcast(&pool->wanted);
        pthread_mutex_unlock(&pool->lock);
        for (int i = 1; i < pool->n_threads; i++)
            pthread_join(pool->threads[i - 1], NULL);
    }
    pthread_cond_destroy(&pool->wake);
    pthread_cond_destroy(&pool->wanted);
    pthread_mutex_destroy(&pool->lock);
    if (pthread_equal(pool->opener, pthread_self()))
        nct_numa_stay(&pool->before);
    nct_free(pool->home);
    nct_free(pool->threads);
    nct_free(pool);
}

int nct_pool_size(const nct_pool *pool) { return pool->n_threads; }

int nct_pool_used(const nct_pool *pool) {
    return atomic_load_explicit(&pool->nodes[0].n_used, memory_order_relaxed);
}

void nct_pool_use(nct_pool *pool, int n_threads) {
    n_threads = n_threads < 1 ? 1 : n_threads > pool->n_threads ? pool->n_threads : n_threads;
    int before = nct_pool_used(pool);
    if (n_threads == before)
        return;
    pthread_mutex_lock(&pool->lock);
    set_used(pool, n_threads);
    pthread_cond_broadcast(n_threads > before ? &pool->wanted : &pool->wake); /* those that change sides */
    pthread_mutex_unlock(&pool->lock);
}

int nct_pool_nodes(const nct_pool *pool) { return pool->n_nodes; }

size_t nct_pool_share(const nct_pool *pool, size_t n, int node) {
    if (node == pool->n_nodes)
        return n;
    return (size_t)((uint64_t)n * (uint64_t)pool->nodes[node].workers_before / (uint64_t)pool->n_threads);
}

nct_status nct_pool_memory(const nct_pool *pool, size_t n, size_t item_bytes, void **p, nct_error *err) {
    size_t bytes, page = (size_t)sysconf(_SC_PAGESIZE);
    if (!nct_mul_size(n, item_bytes, &bytes))
        return nct_fail(err, NCT_E_MEMORY, "%zu items of %zu bytes exceed the address space", n, item_bytes);
    NCT_TRY(nct_pages_open_as(p, bytes, pool->huge == NCT_HUGE_OFF ? NCT_HUGE_OFF : NCT_HUGE_ON, err));
    for (int i = 0; pool->places && i < pool->n_nodes; i++) {
        size_t from = nct_pool_share(pool, n, i) * item_bytes / page * page;
        size_t to = nct_pool_share(pool, n, i + 1) * item_bytes;
        to = i + 1 < pool->n_nodes ? to / page * page : to;
        nct_numa_place((uint8_t *)*p + from, to - from, pool->nodes[i].id);
    }
    return NCT_OK;
}

void nct_pool_prefer(const nct_pool *pool, int node) {
    if (pool->places)
        nct_numa_prefer(node < 0 ? -1 : pool->nodes[node].id);
}

bool nct_pool_wants_copies(const nct_pool *pool) { return pool->copies; }

void nct_pool_run(nct_pool *pool, int n_tasks, nct_task_fn *fn, void *context) {
    int first[NCT_NODES_MAX + 1];
    for (int i = 0; i <= pool->n_nodes; i++)
        first[i] = (int)nct_pool_share(pool, (size_t)n_tasks, i);
    nct_pool_run_shares(pool, first, fn, context);
}

void nct_pool_run_shares(nct_pool *pool, const int *first, nct_task_fn *fn, void *context) {
    int n_tasks = first[pool->n_nodes];
    if (nct_pool_used(pool) == 1 || n_tasks <= 1) {
        for (int task = 0; task < n_tasks; task++)
            fn(context, task, 0);
        return;
    }
    assert((uint64_t)n_tasks <= TASK_MASK / 2); /* room for takers that come too late */
    atomic_store_explicit(&pool->fn, fn, memory_order_relaxed);
    atomic_store_explicit(&pool->context, context, memory_order_relaxed);
    atomic_store_explicit(&pool->done, 0, memory_order_relaxed);
    for (int i = 1; i < pool->n_nodes; i++)
        atomic_store_explicit(&pool->first_task[i], first[i], memory_order_relaxed);
    for (int i = 0; i < pool->n_nodes; i++) {
        struct node *node = &pool->nodes[i];
        uint64_t round = (atomic_load_explicit(&node->ticket, memory_order_relaxed) >> 2 * TASK_BITS) + 1;
        atomic_store(&node->ticket, (round << TASK_BITS | (uint64_t)(first[i + 1] - first[i])) << TASK_BITS);
    }
    wake_all(pool);
    take_tasks(pool, pool->home[0], 0);
    for (int i = 0; atomic_load_explicit(&pool->done, memory_order_acquire) < n_tasks; i++) {
        if (i < SPINS_FOR_LAST)
            relax();
        else
            sched_yield();
    }
}
