#include "base/pool.h"

#include <stdatomic.h>
#include <time.h>

#include "base/pages.h"
#include "support/support.h"

enum { MAX_TASKS = 1000 };

typedef struct tally {
    int n_workers;
    int runs[MAX_TASKS]; /* written by whoever runs the task: a thread sanitizer sees two at once */
    int by_worker[MAX_TASKS];
    atomic_int busy[64];    /* calls in progress, per worker */
    atomic_int misnumbered; /* a worker's number out of range, or two calls of one worker at a time */
} tally;

static void count(void *context, int task, int worker) {
    tally *t = context;
    if (worker < 0 || worker >= t->n_workers || atomic_fetch_add(&t->busy[worker], 1) != 0)
        atomic_fetch_add(&t->misnumbered, 1);
    t->runs[task]++;
    t->by_worker[task] = worker;
    atomic_fetch_sub(&t->busy[worker], 1);
}

static void check_once_each(nct_pool *pool, tally *t, int n_tasks) {
    memset(t->runs, 0, sizeof t->runs);
    nct_pool_run(pool, n_tasks, count, t);
    for (int i = 0; i < MAX_TASKS; i++)
        assert_int_equal(t->runs[i], i < n_tasks ? 1 : 0);
    assert_int_equal(atomic_load(&t->misnumbered), 0);
}

static void test_pool__every_task_runs_exactly_once(void **state) {
    (void)state;
    static tally t;
    for (int n_threads = 1; n_threads <= 9; n_threads += n_threads < 5 ? 1 : 4) {
        nct_pool *pool = NULL;
        NCT_ASSERT_OK(nct_pool_open(n_threads, &pool, fault));
        assert_int_equal(nct_pool_size(pool), n_threads);
        t = (tally){.n_workers = n_threads};
        const int sizes[] = {0, 1, 2, 3, 4, 5, 7, 8, 16, 31, 64, 100, 999, MAX_TASKS};
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
            check_once_each(pool, &t, sizes[i]);
        for (int round = 0; round < 50; round++)
            check_once_each(pool, &t, round);
        nct_pool_close(pool);
    }
}

/* A pool whose workers are shared out over nodes that are not there. */
static nct_pool *open_on_nodes(int n_threads, int n_nodes) {
    nct_nodes nodes;
    nct_pool *pool = NULL;
    nct_nodes_detect(n_nodes, &nodes);
    nodes.bound = true;
    NCT_ASSERT_OK(
        nct_pool_open_as(&(nct_pool_options){.n_threads = n_threads, .nodes = &nodes}, &pool, fault));
    return pool;
}

static void test_pool__on_several_nodes_every_task_runs_exactly_once(void **state) {
    (void)state;
    static tally t;
    for (int n_nodes = 2; n_nodes <= 5; n_nodes++)
        for (int n_threads = 1; n_threads <= 6; n_threads++) {
            nct_pool *pool = open_on_nodes(n_threads, n_nodes);
            assert_int_equal(nct_pool_size(pool), n_threads);
            assert_int_equal(nct_pool_nodes(pool), n_threads < n_nodes ? n_threads : n_nodes);
            assert_int_equal(nct_pool_wants_copies(pool), n_threads > 1);
            t = (tally){.n_workers = n_threads};
            for (int round = 0; round < 100; round++) {
                nct_pool_use(pool, 1 + round % n_threads); /* nodes without a waking worker are helped */
                check_once_each(pool, &t, round);
            }
            check_once_each(pool, &t, MAX_TASKS);
            nct_pool_close(pool);
        }
}

static void test_pool__shares_follow_each_other_and_the_workers(void **state) {
    (void)state;
    nct_pool *pool = open_on_nodes(5, 2);
    for (size_t n = 0; n < 200; n++) {
        assert_int_equal(nct_pool_share(pool, n, 0), 0);
        assert_int_equal(nct_pool_share(pool, n, 1), n * 3 / 5); /* three of five workers */
        assert_int_equal(nct_pool_share(pool, n, 2), n);
    }
    nct_pool_close(pool);
    NCT_ASSERT_OK(nct_pool_open(3, &pool, fault));
    assert_int_equal(nct_pool_nodes(pool), 1);
    assert_int_equal(nct_pool_share(pool, 77, 0), 0);
    assert_int_equal(nct_pool_share(pool, 77, 1), 77);
    assert_false(nct_pool_wants_copies(pool));
    nct_pool_close(pool);
}

static void test_pool__shares_may_be_cut_by_the_caller(void **state) {
    (void)state;
    static tally t;
    nct_pool *pool = open_on_nodes(4, 2);
    t = (tally){.n_workers = 4};
    for (int n = 0; n < 60; n++)
        for (int cut = 0; cut <= n; cut += 1 + n / 7) { /* one node's share may be empty, or everything */
            memset(t.runs, 0, sizeof t.runs);
            nct_pool_run_shares(pool, (const int[]){0, cut, n}, count, &t);
            for (int i = 0; i < 60; i++)
                assert_int_equal(t.runs[i], i < n ? 1 : 0);
        }
    assert_int_equal(atomic_load(&t.misnumbered), 0);
    nct_pool_close(pool);
}

static void test_pool__memory_is_zeroed_and_as_large_as_asked(void **state) {
    (void)state;
    for (int huge = NCT_HUGE_AUTO; huge <= NCT_HUGE_OFF; huge++) {
        nct_pool *pool = NULL;
        void *p = NULL;
        NCT_ASSERT_OK(nct_pool_open_as(&(nct_pool_options){.n_threads = 2, .huge = (nct_huge_pages)huge},
                                       &pool, fault));
        NCT_ASSERT_OK(nct_pool_memory(pool, 700, 5000, &p, fault));
        for (size_t i = 0; i < 700 * 5000; i++)
            assert_int_equal(((uint8_t *)p)[i], 0);
        memset(p, 1, 700 * 5000);
        nct_pages_close(p, 700 * 5000);
        assert_int_equal(nct_pool_memory(pool, SIZE_MAX / 2, 3, &p, NULL), NCT_E_MEMORY);
        nct_pool_close(pool);
    }
}

static void add_up(void *context, int task, int worker) {
    (void)worker;
    long *sums = context;
    sums[task] += task;
}

static void test_pool__each_call_sees_what_the_last_one_wrote(void **state) {
    (void)state;
    nct_pool *pool = NULL;
    long sums[40] = {0};
    NCT_ASSERT_OK(nct_pool_open(4, &pool, fault));
    for (int round = 0; round < 300; round++)
        nct_pool_run(pool, 40, add_up, sums); /* plain memory: the pool orders it */
    for (int i = 0; i < 40; i++)
        assert_int_equal(sums[i], 300 * i);
    nct_pool_close(pool);
}

static void test_pool__sleeping_workers_wake(void **state) {
    (void)state;
    static tally t;
    nct_pool *pool = NULL;
    NCT_ASSERT_OK(nct_pool_open(3, &pool, fault));
    t = (tally){.n_workers = 3};
    for (int round = 0; round < 5; round++) {
        nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL); /* far longer than they spin */
        check_once_each(pool, &t, 64);
    }
    nct_pool_close(pool);
}

static void test_pool__every_task_runs_once_whatever_is_used(void **state) {
    (void)state;
    static tally t;
    nct_pool *pool = NULL;
    NCT_ASSERT_OK(nct_pool_open(5, &pool, fault));
    assert_int_equal(nct_pool_used(pool), 5);
    t = (tally){.n_workers = 5};
    for (int round = 0; round < 200; round++) {
        nct_pool_use(pool, 1 + round * 7 % 5);
        assert_int_equal(nct_pool_used(pool), 1 + round * 7 % 5);
        check_once_each(pool, &t, round % 3 ? round : 64);
        if (round % 50 == 49) /* all asleep */
            nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
    }
    nct_pool_use(pool, 0);
    assert_int_equal(nct_pool_used(pool), 1);
    nct_pool_use(pool, 99);
    assert_int_equal(nct_pool_used(pool), 5);
    assert_int_equal(nct_pool_size(pool), 5);
    check_once_each(pool, &t, 64);
    nct_pool_close(pool);
}

static void nap(void *context, int task, int worker) {
    (void)task;
    atomic_int *seen = context;
    atomic_fetch_add(&seen[worker], 1);
    nanosleep(&(struct timespec){.tv_nsec = 200000}, NULL); /* time for the others to come, if they do */
}

static void test_pool__workers_that_are_not_used_stay_asleep(void **state) {
    (void)state;
    nct_pool *pool = NULL;
    NCT_ASSERT_OK(nct_pool_open(4, &pool, fault));
    nct_pool_use(pool, 2);
    nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL); /* whoever was spinning has seen it */
    atomic_int seen[4] = {0};
    for (int round = 0; round < 5; round++)
        nct_pool_run(pool, 20, nap, seen);
    assert_int_equal(atomic_load(&seen[2]) + atomic_load(&seen[3]), 0);
    assert_int_equal(atomic_load(&seen[0]) + atomic_load(&seen[1]), 100);
    nct_pool_use(pool, 4);
    for (int round = 0; round < 100 && atomic_load(&seen[3]) == 0; round++)
        nct_pool_run(pool, 20, nap, seen);
    assert_true(atomic_load(&seen[3]) > 0); /* and wake when they are */
    nct_pool_use(pool, 1);
    nct_pool_close(pool); /* with sleepers of both kinds */
}

static void test_pool__opens_and_closes_without_work(void **state) {
    (void)state;
    nct_pool *pool = NULL;
    for (int i = 0; i < 20; i++) {
        NCT_ASSERT_OK(nct_pool_open(1 + i % 5, &pool, fault));
        nct_pool_close(pool);
    }
    nct_pool_close(NULL);
}

static void test_pool__a_single_thread_works_in_order(void **state) {
    (void)state;
    static tally t;
    nct_pool *pool = NULL;
    NCT_ASSERT_OK(nct_pool_open(1, &pool, fault));
    t = (tally){.n_workers = 1};
    check_once_each(pool, &t, 100);
    for (int i = 0; i < 100; i++)
        assert_int_equal(t.by_worker[i], 0);
    nct_pool_close(pool);
}

static void test_pool__no_threads_is_an_argument_error(void **state) {
    (void)state;
    nct_pool *pool = NULL;
    nct_error err = {0};
    assert_int_equal(nct_pool_open(0, &pool, &err), NCT_E_ARGUMENT);
    assert_int_equal(nct_pool_open(-3, &pool, &err), NCT_E_ARGUMENT);
    assert_null(pool);
}

static void test_pool__a_refused_allocation_ends_the_threads_already_started(void **state) {
    (void)state;
    for (long fail = 0;; fail++) {
        nct_pool *pool = NULL;
        nct_error err = {0};
        atomic_store(&nct_mem_fail_in, fail);
        nct_status status = nct_pool_open(4, &pool, &err);
        long left = atomic_exchange(&nct_mem_fail_in, -1);
        if (status == NCT_OK) {
            assert_true(left >= 0); /* the refusal was never reached */
            assert_true(fail >= 3);
            nct_pool_close(pool);
            break;
        }
        assert_int_equal(status, NCT_E_MEMORY);
        assert_null(pool);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pool__every_task_runs_exactly_once),
        cmocka_unit_test(test_pool__on_several_nodes_every_task_runs_exactly_once),
        cmocka_unit_test(test_pool__shares_follow_each_other_and_the_workers),
        cmocka_unit_test(test_pool__shares_may_be_cut_by_the_caller),
        cmocka_unit_test(test_pool__memory_is_zeroed_and_as_large_as_asked),
        cmocka_unit_test(test_pool__each_call_sees_what_the_last_one_wrote),
        cmocka_unit_test(test_pool__sleeping_workers_wake),
        cmocka_unit_test(test_pool__every_task_runs_once_whatever_is_used),
        cmocka_unit_test(test_pool__workers_that_are_not_used_stay_asleep),
        cmocka_unit_test(test_pool__opens_and_closes_without_work),
        cmocka_unit_test(test_pool__a_single_thread_works_in_order),
        cmocka_unit_test(test_pool__no_threads_is_an_argument_error),
        cmocka_unit_test(test_pool__a_refused_allocation_ends_the_threads_already_started),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
