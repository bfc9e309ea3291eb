/** A table of what a batch has seen: ids, paths, records of an earlier run. Texts are kept as the first half of their
 *  SHA-256, so an entry takes a few dozen bytes however long they are.
 */
#ifndef NCT_CLI_BATCH_SEEN_H
#define NCT_CLI_BATCH_SEEN_H

#include "base/sha256.h"
#include "base/status.h"

typedef struct nct_seen_key {
    uint64_t half[2];
} nct_seen_key;

typedef struct nct_seen {
    struct nct_seen_entry {
        nct_seen_key key;
        uint32_t value; /* 0: the place is empty */
    } * entry;
    size_t n, capacity;
} nct_seen;

/** The key of a digest. */
nct_seen_key nct_seen_key_of(const uint8_t digest[NCT_SHA256_BYTES]);
nct_seen_key nct_seen_key_of_text(const char *text, size_t n);

/** The value that stands beside the key, which is put in with 0 where it was not there: to be set to something else at
 *  once. Valid until the next call. NULL: memory was refused. */
uint32_t *nct_seen_put(nct_seen *seen, nct_seen_key key, nct_error *err);
/** The same without putting it in; 0: it is not there. */
uint32_t nct_seen_find(const nct_seen *seen, nct_seen_key key);
void nct_seen_close(nct_seen *seen); /* zeroed is fine */

#endif
