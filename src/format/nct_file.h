/** The bytes of a bundle, for the files that read and write it (nct*.c) only; format/nct.h describes them. */
#ifndef NCT_FORMAT_NCT_FILE_H
#define NCT_FORMAT_NCT_FILE_H

#include "format/nct.h"

/* The first byte shows a transfer that drops the eighth bit, the line ends one that changes those. */
static const uint8_t nct_bundle_magic[8] = {0x89, 'N', 'C', 'T', '\r', '\n', 0x1a, '\n'};

enum {
    NCT_BUNDLE_BYTE_ORDER = 0x01020304,
    NCT_BUNDLE_HEADER_BYTES = 4096,
    NCT_BUNDLE_HEADER_SUM =
        NCT_BUNDLE_HEADER_BYTES - NCT_SHA256_BYTES, /* where the header's own checksum lies */
    NCT_BUNDLE_ENTRY_BYTES = 144,
    NCT_BUNDLE_HAS_MIN = 1,
    NCT_BUNDLE_SCALE_F32 = 2,
    NCT_BUNDLE_MAX_TEXT = 1 << 20, /* configuration, template, licence */
    NCT_BUNDLE_MAX_VOCAB = 1 << 29,
    NCT_REFERENCE_HEAD = 24, /* u32 ids, u32 vocabulary, 16 bytes of name; then ids, then logits */
};

struct nct_bundle {
    const char *path;
    nct_section *section;
    size_t n;
};

/** By kind, role and layer. */
static inline int nct_section_order(const nct_section *a, const nct_section *b) {
    if (a->kind != b->kind)
        return a->kind < b->kind ? -1 : 1;
    if (a->role != b->role)
        return a->role < b->role ? -1 : 1;
    return (a->layer > b->layer) - (a->layer < b->layer);
}

#endif
