#include "cli/batch_seen.h"

#include <string.h>

#include "base/mem.h"

nct_seen_key nct_seen_key_of(const uint8_t digest[NCT_SHA256_BYTES]) {
    nct_seen_key key;
    memcpy(&key, digest, sizeof key);
    return key;
}

nct_seen_key nct_seen_key_of_text(const char *text, size_t n) {
    uint8_t digest[NCT_SHA256_BYTES];
    nct_sha256_of(text, n, digest);
    return nct_seen_key_of(digest);
}

/* The key's place, or the empty one where it belongs; there always is one. */
static size_t place_of(const nct_seen *seen, nct_seen_key key) {
    size_t at = (size_t)key.half[0] & (seen->capacity - 1);
    while (seen->entry[at].value && memcmp(&seen->entry[at].key, &key, sizeof key) != 0)
        at = (at + 1) & (seen->capacity - 1);
    return at;
}

static nct_status grow(nct_seen *seen, nct_error *err) {
    nct_seen larger = {.n = seen->n, .capacity = seen->capacity ? 2 * seen->capacity : 64};
    void *p = NULL;
    NCT_TRY(nct_alloc(&p, larger.capacity, sizeof *larger.entry, err));
    larger.entry = p;
    for (size_t i = 0; i < seen->capacity; i++)
        if (seen->entry[i].value)
            larger.entry[place_of(&larger, seen->entry[i].key)] = seen->entry[i];
    nct_free(seen->entry);
    *seen = larger;
    return NCT_OK;
}

uint32_t *nct_seen_put(nct_seen *seen, nct_seen_key key, nct_error *err) {
    if (2 * (seen->n + 1) > seen->capacity && grow(seen, err) != NCT_OK)
        return NULL;
    struct nct_seen_entry *e = &seen->entry[place_of(seen, key)];
    if (!e->value) {
        e->key = key;
        seen->n++;
    }
    return &e->value;
}

uint32_t nct_seen_find(const nct_seen *seen, nct_seen_key key) {
    return seen->capacity ? seen->entry[place_of(seen, key)].value : 0;
}

void nct_seen_close(nct_seen *seen) {
    nct_free(seen->entry);
    *seen = (nct_seen){0};
}
