#include "base/sha256.h"

#include <stdio.h>
#include <string.h>

/* FIPS 180-4, 4.2.2: fractional parts of the cube roots of the first 64 primes. */
static const uint32_t round_constant[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static inline uint32_t rotate(uint32_t x, int n) { return x >> n | x << (32 - n); }

static inline uint32_t load_be32(const uint8_t *p) {
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | (uint32_t)p[3];
}

static inline void store_be32(uint8_t *p, uint32_t x) {
    p[0] = (uint8_t)(x >> 24);
    p[1] = (uint8_t)(x >> 16);
    p[2] = (uint8_t)(x >> 8);
    p[3] = (uint8_t)x;
}

static void take_block(uint32_t state[8], const uint8_t *data) {
    uint32_t w[64];
    for (int t = 0; t < 16; t++)
        w[t] = load_be32(data + 4 * t);
    for (int t = 16; t < 64; t++) {
        uint32_t s0 = rotate(w[t - 15], 7) ^ rotate(w[t - 15], 18) ^ w[t - 15] >> 3;
        uint32_t s1 = rotate(w[t - 2], 17) ^ rotate(w[t - 2], 19) ^ w[t - 2] >> 10;
        w[t] = w[t - 16] + s0 + w[t - 7] + s1;
    }
    uint32_t a = state[0], b = state[1], c = state[2], d = state[3];
    uint32_t e = state[4], f = state[5], g = state[6], h = state[7];
    for (int t = 0; t < 64; t++) {
        uint32_t t1 = h + (rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25)) + ((e & f) ^ (~e & g)) +
                      round_constant[t] + w[t];
        uint32_t t2 = (rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
        h = g, g = f, f = e, e = d + t1, d = c, c = b, b = a, a = t1 + t2;
    }
    state[0] += a, state[1] += b, state[2] += c, state[3] += d;
    state[4] += e, state[5] += f, state[6] += g, state[7] += h;
}

void nct_sha256_init(nct_sha256 *sha) {
    /* 5.3.3: fractional parts of the square roots of the first 8 primes */
    *sha = (nct_sha256){.state = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c,
                                  0x1f83d9ab, 0x5be0cd19}};
}

void nct_sha256_add(nct_sha256 *sha, const void *data, size_t n) {
    const uint8_t *p = data;
    size_t held = sha->n_bytes % NCT_SHA256_BLOCK;
    if (n == 0)
        return; /* data may be NULL */
    sha->n_bytes += n;
    if (held) {
        size_t room = NCT_SHA256_BLOCK - held, take = n < room ? n : room;
        memcpy(sha->block + held, p, take);
        p += take, n -= take;
        if (take < room)
            return;
        take_block(sha->state, sha->block);
    }
    for (; n >= NCT_SHA256_BLOCK; p += NCT_SHA256_BLOCK, n -= NCT_SHA256_BLOCK)
        take_block(sha->state, p);
    if (n)
        memcpy(sha->block, p, n);
}

void nct_sha256_end(nct_sha256 *sha, uint8_t digest[NCT_SHA256_BYTES]) {
    static const uint8_t padding[NCT_SHA256_BLOCK] = {0x80};
    uint64_t n_bits = sha->n_bytes * 8;
    uint8_t length[8];
    store_be32(length, (uint32_t)(n_bits >> 32));
    store_be32(length + 4, (uint32_t)n_bits);
    size_t held = sha->n_bytes % NCT_SHA256_BLOCK;
    nct_sha256_add(sha, padding, held < 56 ? 56 - held : 120 - held);
    nct_sha256_add(sha, length, sizeof length);
    for (int i = 0; i < 8; i++)
        store_be32(digest + 4 * i, sha->state[i]);
}

void nct_sha256_of(const void *data, size_t n, uint8_t digest[NCT_SHA256_BYTES]) {
    nct_sha256 sha;
    nct_sha256_init(&sha);
    nct_sha256_add(&sha, data, n);
    nct_sha256_end(&sha, digest);
}

void nct_sha256_hex(const uint8_t digest[NCT_SHA256_BYTES], size_t n_bytes, char *text) {
    for (size_t i = 0; i < n_bytes; i++)
        snprintf(text + 2 * i, 3, "%02x", digest[i]);
}
