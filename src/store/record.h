/** The file of a page of the cache, and the record at its end that says what it is.
 *
 *      payload   the page as it lies in memory (attn/cache.h): keys, values, fine and coarse compressed keys; up to a
 *                border of 4096 bytes
 *      ids       room for one int32 a position; the page's tokens, then zeros; up to a border of 512 bytes
 *      record    512 bytes
 *
 *  All numbers are little-endian. The record is written last, so a file without a sound one is unfinished or damaged.
 *  It holds: magic (8 bytes), u32 version, u32 positions, u32 tokens, u32 0; u64 payload bytes, u64 checksum of the ids,
 *  float64 seconds that computing the page took; SHA-256 of the identity (what besides the tokens decides every bit:
 *  model, types, rotations, sparse settings, numerics), of the tokens before the page, and of those up to its end; four
 *  pairs u64 bytes and u64 checksum, one a section; zeros; u64 checksum of the record before it.
 *
 *  A page of fewer tokens than positions is a tail; its checksums take only the blocks that hold some.
 */
#ifndef NCT_STORE_RECORD_H
#define NCT_STORE_RECORD_H

#include "base/sha256.h"
#include "base/status.h"

enum {
    NCT_RECORD_VERSION = 1,
    NCT_RECORD_BYTES = 512,
    NCT_RECORD_SECTIONS = 4,
    NCT_RECORD_MAX_POSITIONS = 1 << 16,
};

/** A link of the chain of names: SHA-256 of the link before it and the tokens between. */
typedef struct nct_link {
    uint8_t bytes[NCT_SHA256_BYTES];
} nct_link;

typedef struct nct_record {
    uint32_t n_positions, n_tokens; /* 0 < n_tokens <= n_positions */
    uint64_t payload_bytes;         /* a multiple of 4096 */
    uint64_t ids_checksum;
    double seconds;
    nct_link identity, before, name;
    uint64_t section_bytes[NCT_RECORD_SECTIONS], checksum[NCT_RECORD_SECTIONS]; /* 0 bytes: not kept */
} nct_record;

/** Where the ids begin, and the size of the whole file. */
static inline uint64_t nct_record_ids_off(const nct_record *r) { return r->payload_bytes; }
static inline uint64_t nct_record_off(const nct_record *r) {
    return r->payload_bytes +
           ((uint64_t)r->n_positions * 4 + NCT_RECORD_BYTES - 1) / NCT_RECORD_BYTES * NCT_RECORD_BYTES;
}
static inline uint64_t nct_record_file_bytes(const nct_record *r) {
    return nct_record_off(r) + NCT_RECORD_BYTES;
}

void nct_record_write(const nct_record *record, uint8_t bytes[NCT_RECORD_BYTES]);

/** Reads the last 512 bytes of a file of file_bytes. NCT_E_FORMAT: unfinished, damaged or lying about its size.
 *  NCT_E_UNSUPPORTED: whole, but of another version. */
nct_status nct_record_read(const uint8_t bytes[NCT_RECORD_BYTES], uint64_t file_bytes, nct_record *record,
                           nct_error *err);

/** The link after `before` and n tokens. */
nct_link nct_link_next(const nct_link *before, const int32_t *ids, size_t n);
static inline bool nct_link_equal(const nct_link *a, const nct_link *b) {
    uint8_t differ = 0;
    for (size_t i = 0; i < sizeof a->bytes; i++)
        differ |= a->bytes[i] ^ b->bytes[i];
    return differ == 0;
}

uint64_t nct_ids_checksum(const int32_t *ids, size_t n);

#endif
