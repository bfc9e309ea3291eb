/** Random numbers by position: the number of a token depends on seed, sample and position alone, so
 *  that guessing ahead, resuming and batching never change a sampled text. */
#ifndef NCT_BASE_RNG_H
#define NCT_BASE_RNG_H

#include <stdint.h>

/** Bijective mixing of 64 bits (the finaliser of SplitMix64, Steele, Lea and Flood 2014). */
static inline uint64_t nct_rng_mix(uint64_t z) {
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

/** A uniform double in [0, 1) with 53 random bits for (seed, sample, position, draw). */
static inline double nct_rng_uniform(uint64_t seed, uint32_t sample, uint64_t position, uint32_t draw) {
    uint64_t z = nct_rng_mix(seed + 0x9e3779b97f4a7c15u);
    z = nct_rng_mix(z ^ ((uint64_t)sample << 32 | draw)) + 0x9e3779b97f4a7c15u;
    z = nct_rng_mix(z ^ position);
    return (double)(z >> 11) * 0x1p-53;
}

#endif
