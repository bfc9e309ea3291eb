/** SHA-256 (FIPS 180-4): the checksum of bundles. */
#ifndef NCT_BASE_SHA256_H
#define NCT_BASE_SHA256_H

#include <stddef.h>
#include <stdint.h>

enum { NCT_SHA256_BYTES = 32, NCT_SHA256_BLOCK = 64 };

typedef struct nct_sha256 {
    uint32_t state[8];
    uint64_t n_bytes; /* taken so far */
    uint8_t block[NCT_SHA256_BLOCK];
} nct_sha256;

void nct_sha256_init(nct_sha256 *sha);
void nct_sha256_add(nct_sha256 *sha, const void *data, size_t n);
/** Writes the digest; the state is used up. */
void nct_sha256_end(nct_sha256 *sha, uint8_t digest[NCT_SHA256_BYTES]);

/** The digest of n bytes. */
void nct_sha256_of(const void *data, size_t n, uint8_t digest[NCT_SHA256_BYTES]);

/** The first n_bytes of a digest as text, two lower-case digits a byte: text [2 * n_bytes + 1]. */
void nct_sha256_hex(const uint8_t digest[NCT_SHA256_BYTES], size_t n_bytes, char *text);

#endif
