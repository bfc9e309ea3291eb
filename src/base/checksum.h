/** A fast 64-bit checksum, XXH64 by its published description (Yann Collet): for telling whether bytes are those that
 *  were written, at the speed of memory. Every step is reversible in the word it takes, so a change within one word
 *  never goes unseen. Not for names, and no protection against somebody who wants to deceive. */
#ifndef NCT_BASE_CHECKSUM_H
#define NCT_BASE_CHECKSUM_H

#include <stddef.h>
#include <stdint.h>

/** Of n bytes at any address. The checksum of several pieces: each takes the one before as its seed. */
uint64_t nct_checksum(const void *data, size_t n, uint64_t seed);

#endif
