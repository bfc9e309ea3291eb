/** What this processor and operating system can do, asked once. */
#ifndef NCT_BASE_CPU_H
#define NCT_BASE_CPU_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct nct_cpu {
    bool avx2;        /* AVX2, FMA and F16C, with the operating system's consent */
    bool avxvnni;     /* VPDPBUSD on ymm without AVX-512 */
    bool avx512;      /* F, BW, DQ, VL and VNNI, with zmm state enabled */
    bool avx512_bf16; /* VDPBF16PS */
    bool amx_int8;    /* AVX-512 and tiles of bytes, which this process has asked the system for and been granted */
    bool neon, dotprod, i8mm, arm_bf16;
    char name[64];    /* model name for people, "" if unknown */
} nct_cpu;

void nct_cpu_detect(nct_cpu *cpu);

/** Processors this process may use: affinity mask and cgroup quota (v1 and v2), at least 1. */
int nct_cpu_usable(void);

/** Processors that the control group's quota grants, such as 1.5; 0: there is none. */
double nct_cpu_quota(void);

#endif
