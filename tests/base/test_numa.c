#define _GNU_SOURCE
#include "base/numa.h"

#include <sched.h>

#include "base/cpu.h"
#include "base/pages.h"
#include "support/support.h"

enum { GB = 1 << 30 };

/* Two nodes of 8 processors, numbered 0 and 2; the second has more room. */
static nct_nodes two(void) {
    nct_nodes nodes = {.n = 2};
    nodes.node[0] = (nct_node){.id = 0, .n_cpus = 8, .available_bytes = (uint64_t)10 * GB};
    nodes.node[1] = (nct_node){.id = 2, .n_cpus = 8, .available_bytes = (uint64_t)20 * GB};
    return nodes;
}

static nct_nodes choose(nct_nodes nodes, nct_numa_mode mode, int n_threads, uint64_t n_bytes) {
    NCT_ASSERT_OK(nct_nodes_choose(&(nct_numa_wish){.mode = mode, .n_threads = n_threads, .n_bytes = n_bytes},
                                   &nodes, fault));
    return nodes;
}

static void test_numa__auto_takes_one_node_where_everything_fits(void **state) {
    (void)state;
    nct_nodes chosen = choose(two(), NCT_NUMA_AUTO, 8, 4ull * GB);
    assert_int_equal(chosen.n, 1);
    assert_true(chosen.bound);
    assert_int_equal(chosen.node[0].id, 2);
    nct_nodes nodes = two();
    nodes.node[1].n_cpus = 4; /* too few there */
    assert_int_equal(choose(nodes, NCT_NUMA_AUTO, 8, 4ull * GB).node[0].id, 0);
    assert_int_equal(choose(nodes, NCT_NUMA_AUTO, 4, 4ull * GB).node[0].id, 2);
}

static void test_numa__auto_shards_what_one_node_cannot_take(void **state) {
    (void)state;
    const struct {
        int n_threads;
        uint64_t n_bytes;
    } more[] = {{9, 1}, {16, 4ull * GB}, {8, 19ull * GB}};
    for (size_t i = 0; i < 3; i++) {
        nct_nodes chosen = choose(two(), NCT_NUMA_AUTO, more[i].n_threads, more[i].n_bytes);
        assert_int_equal(chosen.n, 2);
        assert_true(chosen.bound);
    }
}

static void test_numa__one_node_is_left_alone(void **state) {
    (void)state;
    nct_nodes one = two();
    one.n = 1;
    for (int mode = 0; mode < 2; mode++) {
        nct_nodes chosen = choose(one, mode ? NCT_NUMA_SHARD : NCT_NUMA_AUTO, 99, 99ull * GB);
        assert_int_equal(chosen.n, 1);
        assert_false(chosen.bound);
    }
    nct_nodes off = choose(two(), NCT_NUMA_OFF, 99, 1);
    assert_int_equal(off.n, 1);
    assert_false(off.bound);
}

static void test_numa__shard_takes_all_and_node_takes_that_one(void **state) {
    (void)state;
    nct_nodes all = choose(two(), NCT_NUMA_SHARD, 1, 1);
    assert_int_equal(all.n, 2);
    assert_true(all.bound);
    nct_nodes nodes = two();
    NCT_ASSERT_OK(
        nct_nodes_choose(&(nct_numa_wish){.mode = NCT_NUMA_NODE, .node = 2, .n_threads = 99}, &nodes, fault));
    assert_int_equal(nodes.n, 1);
    assert_true(nodes.bound);
    assert_int_equal(nodes.node[0].id, 2);
}

static void test_numa__a_node_that_is_not_there_is_refused_by_name(void **state) {
    (void)state;
    nct_nodes nodes = two();
    nct_error err = {0};
    assert_int_equal(nct_nodes_choose(&(nct_numa_wish){.mode = NCT_NUMA_NODE, .node = 1}, &nodes, &err),
                     NCT_E_ARGUMENT);
    assert_non_null(strstr(err.text, "no memory node 1"));
    assert_non_null(strstr(err.text, "nodes 0 and 2"));
    assert_int_equal(nodes.n, 2); /* as it was */
}

static void test_numa__the_machine_has_nodes_with_processors(void **state) {
    (void)state;
    static nct_nodes nodes;
    nct_nodes_detect(0, &nodes);
    assert_in_range(nodes.n, 1, NCT_NODES_MAX);
    assert_false(nodes.bound || nodes.made_up);
    int all = 0;
    for (int i = 0; i < nodes.n; i++) {
        assert_true(nodes.node[i].n_cpus > 0);
        assert_true(i == 0 || nodes.node[i].id > nodes.node[i - 1].id);
        all += nodes.node[i].n_cpus;
    }
    assert_true(all >= nct_cpu_usable());
    nct_nodes_detect(3, &nodes);
    assert_int_equal(nodes.n, 3);
    assert_true(nodes.made_up);
}

static void test_numa__a_thread_stays_and_goes_back(void **state) {
    (void)state;
    nct_cpu_set before, one = {0}, now;
    nct_numa_where(&before);
    for (size_t c = 0; c < 1024 && memcmp(&one, &(nct_cpu_set){0}, sizeof one) == 0; c++)
        one.bits[c / 64] |= before.bits[c / 64] & (uint64_t)1 << c % 64;
    nct_numa_stay(&one);
    nct_numa_where(&now);
    assert_memory_equal(&now, &one, sizeof one);
    nct_numa_stay(&(nct_cpu_set){0}); /* unknown: nothing happens */
    nct_numa_where(&now);
    assert_memory_equal(&now, &one, sizeof one);
    nct_numa_stay(&before);
    nct_numa_where(&now);
    assert_memory_equal(&now, &before, sizeof now);
}

static void test_numa__placed_memory_is_memory(void **state) {
    (void)state;
    void *p = NULL;
    NCT_ASSERT_OK(nct_pages_open(&p, 1 << 20, fault));
    nct_numa_place(p, 1 << 20, 0);
    nct_numa_place(p, 1 << 20, 1000); /* no such node: where it would have been */
    nct_numa_place(p, 1 << 20, -1);
    memset(p, 5, 1 << 20);
    for (size_t i = 0; i < 1 << 20; i += 4096)
        assert_int_equal(((uint8_t *)p)[i], 5);
    nct_pages_close(p, 1 << 20);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numa__auto_takes_one_node_where_everything_fits),
        cmocka_unit_test(test_numa__auto_shards_what_one_node_cannot_take),
        cmocka_unit_test(test_numa__one_node_is_left_alone),
        cmocka_unit_test(test_numa__shard_takes_all_and_node_takes_that_one),
        cmocka_unit_test(test_numa__a_node_that_is_not_there_is_refused_by_name),
        cmocka_unit_test(test_numa__the_machine_has_nodes_with_processors),
        cmocka_unit_test(test_numa__a_thread_stays_and_goes_back),
        cmocka_unit_test(test_numa__placed_memory_is_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
