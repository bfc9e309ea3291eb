#define _GNU_SOURCE
#include "base/cpu.h"

#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "support/support.h"

static void test_cpu__rungs_imply_the_ones_below(void **state) {
    (void)state;
    nct_cpu cpu;
    memset(&cpu, 0xff, sizeof cpu);
    nct_cpu_detect(&cpu);
    assert_true(!cpu.avx512 || cpu.avx2);
    assert_true(!cpu.avxvnni || cpu.avx2);
    assert_true(!cpu.avx512_bf16 || cpu.avx512);
    assert_true(!cpu.amx_int8 || cpu.avx512);
    assert_true(!cpu.dotprod || cpu.neon);
    assert_true(!cpu.i8mm || cpu.dotprod);
    assert_false(cpu.avx2 && cpu.neon);
    assert_non_null(memchr(cpu.name, 0, sizeof cpu.name));
}

static void test_cpu__agrees_with_the_compiler(void **state) {
    (void)state;
    nct_cpu cpu;
    nct_cpu_detect(&cpu);
#if defined(__x86_64__)
    __builtin_cpu_init();
    assert_int_equal(cpu.avx2, __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"));
    assert_int_equal(cpu.avx512, __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                                     __builtin_cpu_supports("avx512dq") &&
                                     __builtin_cpu_supports("avx512vl") &&
                                     __builtin_cpu_supports("avx512vnni"));
#elif defined(__aarch64__)
    assert_true(cpu.neon);
#endif
}

#if defined(__x86_64__)
/* What the system says of this process, which need not be what it answered to the request. */
static bool tiles_are_granted(void) {
    uint64_t granted = 0;
    return syscall(SYS_arch_prctl, 0x1022, &granted) == 0 && (granted >> 18 & 1);
}
#endif

/* The system lists what it lets programs use, an emulator's that of its host. */
static void test_cpu__agrees_with_the_system(void **state) {
    (void)state;
#if defined(__x86_64__)
    nct_cpu cpu;
    nct_cpu_detect(&cpu);
    FILE *f = fopen("/proc/cpuinfo", "re");
    char line[4096];
    bool found = false;
    while (f && !found && fgets(line, sizeof line, f))
        found = strncmp(line, "flags", 5) == 0;
    if (f)
        fclose(f);
    if (!found)
        skip();
    line[strcspn(line, "\n")] = ' ';
    assert_int_equal(cpu.avxvnni, strstr(line, " avx_vnni ") != NULL);
    assert_int_equal(cpu.avx512_bf16, cpu.avx512 && strstr(line, " avx512_bf16 ") != NULL);
    if (cpu.amx_int8)
        assert_true(strstr(line, " amx_int8 ") && strstr(line, " amx_tile ") && tiles_are_granted());
    else /* a sandbox may refuse what the processor has */
        assert_true(!cpu.avx512 || !strstr(line, " amx_int8 ") || !tiles_are_granted());
#else
    skip();
#endif
}

static void test_cpu__usable_processors_follow_the_affinity_mask(void **state) {
    (void)state;
    cpu_set_t before, one;
    int n = nct_cpu_usable();
    assert_in_range(n, 1, sysconf(_SC_NPROCESSORS_CONF));
    if (sched_getaffinity(0, sizeof before, &before) != 0)
        skip();
    assert_true(n <= CPU_COUNT(&before));
    CPU_ZERO(&one);
    for (int i = 0; i < CPU_SETSIZE && CPU_COUNT(&one) == 0; i++)
        if (CPU_ISSET(i, &before))
            CPU_SET(i, &one);
    assert_int_equal(sched_setaffinity(0, sizeof one, &one), 0);
    assert_int_equal(nct_cpu_usable(), 1);
    assert_int_equal(sched_setaffinity(0, sizeof before, &before), 0);
    assert_int_equal(nct_cpu_usable(), n);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cpu__rungs_imply_the_ones_below),
        cmocka_unit_test(test_cpu__agrees_with_the_compiler),
        cmocka_unit_test(test_cpu__agrees_with_the_system),
        cmocka_unit_test(test_cpu__usable_processors_follow_the_affinity_mask),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
