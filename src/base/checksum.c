#include "base/checksum.h"

#include "base/bytes.h"

#define P1 UINT64_C(0x9E3779B185EBCA87)
#define P2 UINT64_C(0xC2B2AE3D27D4EB4F)
#define P3 UINT64_C(0x165667B19E3779F9)
#define P4 UINT64_C(0x85EBCA77C2B2AE63)
#define P5 UINT64_C(0x27D4EB2F165667C5)

static inline uint64_t rotate(uint64_t x, int n) { return x << n | x >> (64 - n); }

static inline uint64_t take(uint64_t lane, uint64_t word) { return rotate(lane + word * P2, 31) * P1; }

static inline uint64_t merge(uint64_t sum, uint64_t lane) { return (sum ^ take(0, lane)) * P1 + P4; }

uint64_t nct_checksum(const void *data, size_t n, uint64_t seed) {
    const uint8_t *p = data;
    size_t left = n;
    uint64_t sum = seed + P5;
    if (n >= 32) {
        uint64_t a = seed + P1 + P2, b = seed + P2, c = seed, d = seed - P1;
        for (; left >= 32; p += 32, left -= 32) {
            a = take(a, nct_le64(p));
            b = take(b, nct_le64(p + 8));
            c = take(c, nct_le64(p + 16));
            d = take(d, nct_le64(p + 24));
        }
        sum = rotate(a, 1) + rotate(b, 7) + rotate(c, 12) + rotate(d, 18);
        sum = merge(merge(merge(merge(sum, a), b), c), d);
    }
    sum += n;
    for (; left >= 8; p += 8, left -= 8)
        sum = rotate(sum ^ take(0, nct_le64(p)), 27) * P1 + P4;
    for (; left >= 4; p += 4, left -= 4)
        sum = rotate(sum ^ nct_le32(p) * P1, 23) * P2 + P3;
    for (; left; p++, left--)
        sum = rotate(sum ^ *p * P5, 11) * P1;
    sum = (sum ^ sum >> 33) * P2;
    sum = (sum ^ sum >> 29) * P3;
    return sum ^ sum >> 32;
}
