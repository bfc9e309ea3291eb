#include "store/record.h"

#include <math.h>
#include <string.h>

#include "base/bytes.h"
#include "base/checksum.h"

static const uint8_t magic[8] = {0x89, 'N', 'K', 'V', '\r', '\n', 0x1a, '\n'};

enum {
    VERSION = 8,
    POSITIONS = 12,
    TOKENS = 16,
    PAYLOAD = 24,
    IDS = 32,
    SECONDS = 40,
    LINKS = 48,
    SECTIONS = LINKS + 3 * NCT_SHA256_BYTES,
    SUM = NCT_RECORD_BYTES - 8,
    BORDER = 4096,
};

static void put32(uint8_t *p, uint32_t v) {
    for (int i = 0; i < 4; i++)
        p[i] = (uint8_t)(v >> 8 * i);
}

static void put64(uint8_t *p, uint64_t v) {
    put32(p, (uint32_t)v);
    put32(p + 4, (uint32_t)(v >> 32));
}

void nct_record_write(const nct_record *r, uint8_t bytes[NCT_RECORD_BYTES]) {
    uint64_t seconds;
    memcpy(&seconds, &r->seconds, sizeof seconds);
    memset(bytes, 0, NCT_RECORD_BYTES);
    memcpy(bytes, magic, sizeof magic);
    put32(bytes + VERSION, NCT_RECORD_VERSION);
    put32(bytes + POSITIONS, r->n_positions);
    put32(bytes + TOKENS, r->n_tokens);
    put64(bytes + PAYLOAD, r->payload_bytes);
    put64(bytes + IDS, r->ids_checksum);
    put64(bytes + SECONDS, seconds);
    const nct_link *link[] = {&r->identity, &r->before, &r->name};
    for (size_t i = 0; i < 3; i++)
        memcpy(bytes + LINKS + i * NCT_SHA256_BYTES, link[i]->bytes, NCT_SHA256_BYTES);
    for (size_t i = 0; i < NCT_RECORD_SECTIONS; i++) {
        put64(bytes + SECTIONS + 16 * i, r->section_bytes[i]);
        put64(bytes + SECTIONS + 16 * i + 8, r->checksum[i]);
    }
    put64(bytes + SUM, nct_checksum(bytes, SUM, 0));
}

nct_status nct_record_read(const uint8_t bytes[NCT_RECORD_BYTES], uint64_t file_bytes, nct_record *record,
                           nct_error *err) {
    if (memcmp(bytes, magic, sizeof magic) != 0 || nct_le64(bytes + SUM) != nct_checksum(bytes, SUM, 0))
        return nct_fail(err, NCT_E_FORMAT, "it does not end in a sound record");
    uint32_t version = nct_le32(bytes + VERSION);
    if (version != NCT_RECORD_VERSION)
        return nct_fail(err, NCT_E_UNSUPPORTED, "it is of version %u, expected %d", version,
                        NCT_RECORD_VERSION);
    nct_record r = {.n_positions = nct_le32(bytes + POSITIONS),
                    .n_tokens = nct_le32(bytes + TOKENS),
                    .payload_bytes = nct_le64(bytes + PAYLOAD),
                    .ids_checksum = nct_le64(bytes + IDS)};
    uint64_t seconds = nct_le64(bytes + SECONDS), sections = 0;
    memcpy(&r.seconds, &seconds, sizeof seconds);
    nct_link *link[] = {&r.identity, &r.before, &r.name};
    for (size_t i = 0; i < 3; i++)
        memcpy(link[i]->bytes, bytes + LINKS + i * NCT_SHA256_BYTES, NCT_SHA256_BYTES);
    if (r.n_tokens == 0 || r.n_tokens > r.n_positions || r.n_positions > NCT_RECORD_MAX_POSITIONS)
        return nct_fail(err, NCT_E_FORMAT, "it claims %u tokens in %u positions", r.n_tokens, r.n_positions);
    if (!isfinite(r.seconds) || r.seconds < 0)
        return nct_fail(err, NCT_E_FORMAT, "it claims to have taken %g seconds", r.seconds);
    for (size_t i = 0; i < NCT_RECORD_SECTIONS; i++) {
        r.section_bytes[i] = nct_le64(bytes + SECTIONS + 16 * i);
        r.checksum[i] = nct_le64(bytes + SECTIONS + 16 * i + 8);
        if (r.section_bytes[i] > file_bytes)
            return nct_fail(err, NCT_E_FORMAT, "a section is larger than the file");
        sections += r.section_bytes[i];
    }
    if (r.payload_bytes % BORDER || r.payload_bytes > file_bytes || sections > r.payload_bytes ||
        nct_record_file_bytes(&r) != file_bytes)
        return nct_fail(err, NCT_E_FORMAT, "it has %llu bytes, which is not what its record says",
                        (unsigned long long)file_bytes);
    *record = r;
    return NCT_OK;
}

nct_link nct_link_next(const nct_link *before, const int32_t *ids, size_t n) {
    nct_sha256 sha;
    nct_link next;
    uint8_t id[4];
    nct_sha256_init(&sha);
    nct_sha256_add(&sha, before->bytes, sizeof before->bytes);
    for (size_t i = 0; i < n; i++) {
        put32(id, (uint32_t)ids[i]);
        nct_sha256_add(&sha, id, sizeof id);
    }
    nct_sha256_end(&sha, next.bytes);
    return next;
}

uint64_t nct_ids_checksum(const int32_t *ids, size_t n) {
    uint64_t sum = 0;
    uint8_t id[4];
    for (size_t i = 0; i < n; i++) {
        put32(id, (uint32_t)ids[i]);
        sum = nct_checksum(id, sizeof id, sum);
    }
    return sum;
}
