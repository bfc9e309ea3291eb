#define _GNU_SOURCE
#include "base/cpu.h"

#include <math.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/group.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>

static uint64_t enabled_state(void) { /* XCR0: which register files the system saves */
    uint32_t lo, hi;
    __asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
    return (uint64_t)hi << 32 | lo;
}

/* Tiles are 8 KiB more for the system to keep for a thread, once that has used them: processes have to ask. */
static bool grant_tiles(void) {
    enum { REQUEST_PERMISSION = 0x1023, TILE_DATA = 18 };
    return syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) == 0;
}

static void detect(nct_cpu *cpu) {
    unsigned a, b, c, d, b7 = 0, c7 = 0, d7 = 0, a71 = 0;
    if (!__get_cpuid(1, &a, &b, &c, &d))
        return;
    bool osxsave = c >> 27 & 1, avx = c >> 28 & 1, fma = c >> 12 & 1, f16c = c >> 29 & 1;
    if (!osxsave || !avx)
        return;
    uint64_t state = enabled_state();
    bool ymm = (state & 0x06) == 0x06, zmm = (state & 0xe6) == 0xe6, tiles = (state & 0x60000) == 0x60000;
    unsigned leaves = __get_cpuid_max(0, NULL);
    if (leaves >= 7) {
        __cpuid_count(7, 0, a, b7, c7, d7);
        if (a >= 1)
            __cpuid_count(7, 1, a71, b, c, d);
    }
    cpu->avx2 = ymm && fma && f16c && (b7 >> 5 & 1);
    cpu->avxvnni = cpu->avx2 && (a71 >> 4 & 1);
    cpu->avx512 = cpu->avx2 && zmm && (b7 >> 16 & 1) && (b7 >> 17 & 1) && (b7 >> 30 & 1) && (b7 >> 31 & 1) && (c7 >> 11 & 1);
    cpu->avx512_bf16 = cpu->avx512 && (a71 >> 5 & 1);
    cpu->amx_int8 = cpu->avx512 && tiles && (d7 >> 24 & 1) && (d7 >> 25 & 1) && grant_tiles();
}
#elif defined(__aarch64__)
#include <sys/auxv.h>
#ifndef HWCAP_ASIMDDP
#define HWCAP_ASIMDDP (1 << 20)
#endif
#ifndef HWCAP2_I8MM
#define HWCAP2_I8MM (1 << 13)
#endif
#ifndef HWCAP2_BF16
#define HWCAP2_BF16 (1 << 14)
#endif

static void detect(nct_cpu *cpu) {
    unsigned long caps = getauxval(AT_HWCAP), caps2 = getauxval(AT_HWCAP2);
    cpu->neon = true; /* part of the base architecture */
    cpu->dotprod = caps & HWCAP_ASIMDDP;
    cpu->i8mm = cpu->dotprod && (caps2 & HWCAP2_I8MM);
    cpu->arm_bf16 = caps2 & HWCAP2_BF16;
}
#else
static void detect(nct_cpu *cpu) { (void)cpu; }
#endif

void nct_cpu_detect(nct_cpu *cpu) {
    *cpu = (nct_cpu){0};
    detect(cpu);
    FILE *f = fopen("/proc/cpuinfo", "re");
    if (!f)
        return;
    char line[256];
    while (fgets(line, sizeof line, f))
        if (strncmp(line, "model name", 10) == 0 || strncmp(line, "Model", 5) == 0) {
            char *value = strchr(line, ':');
            if (value) {
                value += strspn(value, ": \t");
                value[strcspn(value, "\n")] = 0;
                snprintf(cpu->name, sizeof cpu->name, "%s", value);
                break;
            }
        }
    fclose(f);
}

/* Both versions say it as so many microseconds of so many. */
static bool quota_of(const nct_group *group, bool unified, long long *quota, long long *period) {
    long long unused;
    if (unified)
        return nct_group_numbers(group, "cpu.max", quota, period);
    return nct_group_numbers(group, "cpu.cfs_quota_us", quota, &unused) &&
           nct_group_numbers(group, "cpu.cfs_period_us", period, &unused);
}

double nct_cpu_quota(void) {
    double least = 0;
    for (int unified = 0; unified < 2; unified++) {
        nct_group group;
        if (!nct_group_find("", unified ? NULL : "cpu", &group))
            continue;
        do {
            long long quota, period = 0;
            if (quota_of(&group, unified, &quota, &period) && quota > 0 && period > 0 &&
                (least == 0 || (double)quota / (double)period < least))
                least = (double)quota / (double)period;
        } while (nct_group_leave(&group));
    }
    return least;
}

int nct_cpu_usable(void) {
    cpu_set_t set;
    int n = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : (int)sysconf(_SC_NPROCESSORS_ONLN);
    int limit = (int)ceil(nct_cpu_quota());
    if (limit > 0 && limit < n)
        n = limit;
    return n > 0 ? n : 1;
}
