/** Bundles (.nct): one file that holds a model in the shape in which it is used. Matrices are panels as the
 *  kernels eat them (nct_panels), so opening a bundle is mapping it, and processes share its pages.
 *
 *      0        header, 4096 bytes
 *      4096 n   sections, each on a border of 4096, zeros between
 *      end      the table of sections
 *
 *  All numbers are little-endian. Header: magic (8 bytes), u32 version, u32 0x01020304, u32 layout of panels,
 *  u32 number of sections, u64 bytes of the file, u64 offset of the table, SHA-256 of the table; zeros; the
 *  last 32 bytes are the SHA-256 of those before. A table entry (144 bytes): u32 kind, role, layer, panel
 *  kind; u64 offset, bytes, rows, columns; u32 group, bias, flags (1: minima, 2: float32 scales), 0; u64 bytes
 *  of a panel; 32 bytes of label; SHA-256 of the section; u64 0. Entries ascend by (kind, role, layer), and
 *  a section of a kind that this version does not know is passed over.
 *
 *  Whatever a bundle says is checked before it is used, but for the checksums of the sections: those would
 *  mean reading the whole file, which is what nct_bundle_verify is for.
 */
#ifndef NCT_FORMAT_NCT_H
#define NCT_FORMAT_NCT_H

#include "base/pool.h"
#include "base/sha256.h"
#include "format/config.h"
#include "format/format.h"
#include "format/names.h"
#include "quant/pack.h"

enum {
    NCT_BUNDLE_VERSION = 1,
    NCT_BUNDLE_LAYOUT = 2, /* changes whenever the bytes of nct_panels mean something else */
    NCT_BUNDLE_ALIGN = 4096,
    NCT_BUNDLE_MAX_SECTIONS = 1 << 16,
};

typedef enum nct_section_kind {
    NCT_SECTION_CONFIG = 1, /* JSON: the fields of nct_raw_config, and how the bundle was made */
    NCT_SECTION_TEMPLATE,   /* the chat template's text */
    NCT_SECTION_LICENCE,    /* text */
    NCT_SECTION_VOCAB,      /* the tokenizer's tables, text/vocab_tables.h */
    NCT_SECTION_NORM,       /* float32 [columns], by role and layer */
    NCT_SECTION_PANELS,     /* a matrix, by role and layer */
    NCT_SECTION_PERM,       /* int32 [columns]: the column order of the matrix of the same role and layer */
    NCT_SECTION_REFERENCE,  /* logits to compare with; role: an nct_reference_of */
} nct_section_kind;

typedef struct nct_section {
    uint32_t kind, role, layer;
    const uint8_t *data;
    size_t offset, n_bytes;
    size_t n_rows, n_cols;  /* norms, panels, perms */
    nct_ready_panels ready; /* panels */
    uint8_t sha256[NCT_SHA256_BYTES];
    char name[NCT_NAME_BYTES]; /* for messages: the matrix's name, or the kind's */
} nct_section;

/* ------------------------------------------------------------------ reading */

bool nct_bundle_probe(const uint8_t *data, size_t n_bytes);

/** Checks a bundle that lies in memory, 64-byte aligned. Borrows path and data. NCT_E_FORMAT: damaged or
 *  lying. NCT_E_UNSUPPORTED: another version, layout or byte order. The caller closes *bundle. */
nct_status nct_bundle_parse(const char *path, const uint8_t *data, size_t n_bytes, nct_bundle **bundle,
                            nct_error *err);
void nct_bundle_close(nct_bundle *bundle); /* NULL is fine */

/** Section `index` in the order of the table, NULL past the end; that of a key, NULL if there is none. */
const nct_section *nct_bundle_section(const nct_bundle *bundle, size_t index);
const nct_section *nct_bundle_find(const nct_bundle *bundle, nct_section_kind kind, uint32_t role,
                                   uint32_t layer);

/** Reads the configuration and the template. The caller closes *config. */
nct_status nct_bundle_config(const nct_bundle *bundle, nct_file_config *config, nct_error *err);

/** What the configuration says of how the bundle was made: a copy, "" if nothing. Freed with nct_free. */
nct_status nct_bundle_made(const nct_bundle *bundle, char **made, nct_error *err);

/** As nct_checkpoint_matrix. Panels are used where they lie. */
nct_status nct_bundle_matrix(const nct_bundle *bundle, nct_role role, int layer, size_t n_rows, size_t n_cols,
                             nct_stored *stored, nct_error *err);

bool nct_bundle_has(const nct_bundle *bundle, nct_role role, int layer);

/** As nct_checkpoint_tensor: norms and matrices. */
bool nct_bundle_tensor(const nct_bundle *bundle, size_t index, nct_tensor_info *info);

/** Logits after the last of a few ids, computed in exact mode when the bundle was made. */
typedef enum nct_reference_of {
    NCT_REFERENCE_SOURCE, /* of the model that the bundle was made from */
    NCT_REFERENCE_SELF,   /* of the model in the bundle */
} nct_reference_of;

enum { NCT_REFERENCE_MAX_IDS = 256 };

typedef struct nct_reference {
    char isa[16]; /* the instruction set that computed them */
    size_t n_ids, n_vocab;
    int32_t id[NCT_REFERENCE_MAX_IDS]; /* ids are not checked against a vocabulary */
    const float *logits;               /* [n_vocab], borrowed from the bundle */
} nct_reference;

/** False if the bundle has none. */
bool nct_bundle_reference(const nct_bundle *bundle, nct_reference_of of, nct_reference *reference);

/** Reads everything and compares checksums; `check` (may be NULL) is told of every section in turn.
 *  NCT_E_FORMAT names the first section that is damaged. */
typedef void nct_section_check_fn(void *context, const nct_section *section, bool sound);
nct_status nct_bundle_verify(const nct_bundle *bundle, nct_pool *pool, nct_section_check_fn *check,
                             void *context, nct_error *err);

/* ------------------------------------------------------------------ writing */

/** Writes PATH.part, which becomes PATH when all is written and safe on the disk; until then an older PATH
 *  stays as it is, and afterwards nothing is left of PATH.part. */
typedef struct nct_bundle_writer nct_bundle_writer;

/** n_bytes: what the sections will need at most. NCT_E_IO: no room for that on the disk, or PATH.part cannot be
 *  written or is being written by another process. */
nct_status nct_bundle_create(const char *path, uint64_t n_bytes, nct_bundle_writer **writer, nct_error *err);

/** Appends a section: kind, role, layer of `section` with, by kind, n_rows, n_cols and ready; n bytes of data.
 *  A key may be given once. */
nct_status nct_bundle_add(nct_bundle_writer *writer, const nct_section *section, const void *data, size_t n,
                          nct_error *err);
nct_status nct_bundle_add_config(nct_bundle_writer *writer, const nct_raw_config *raw, const char *made,
                                 nct_error *err);
nct_status nct_bundle_add_reference(nct_bundle_writer *writer, nct_reference_of of,
                                    const nct_reference *reference, nct_error *err);

/** Writes table and header, flushes, reads everything back and verifies it, renames. *n_bytes: the file's
 *  size. Closes the writer, also on failure. */
nct_status nct_bundle_finish(nct_bundle_writer *writer, nct_pool *pool, uint64_t *n_bytes, nct_error *err);

/** Gives up: removes PATH.part. NULL is fine. */
void nct_bundle_abandon(nct_bundle_writer *writer);

#endif
