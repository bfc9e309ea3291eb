/** What decides every bit of a page of the cache, but for the tokens. */
#ifndef NCT_ENGINE_IDENTITY_H
#define NCT_ENGINE_IDENTITY_H

#include "engine/engine.h"
#include "store/record.h"

enum {
    /** To be raised by whoever changes a bit of a key, a value, a compressed key or of what becomes one: pages that were
     *  kept before are then foreign. */
    NCT_NUMERICS_REVISION = 3,
};

/** SHA-256 of what the model's files hold. A bundle's: of the checksums in its table. Others': of the names, sizes, times
 *  and first and last 64 KiB of the file, or of all files of the folder; so a copy is another model. NCT_E_IO. */
nct_status nct_model_identity(const nct_engine *engine, nct_link *identity, nct_error *err);

/** Of a session's pages: model, table of rotations, sparse settings, types and layout of the cache, numerics. */
nct_status nct_page_identity(const nct_engine *engine, const nct_rope *rope, const nct_sparse *sparse,
                             const nct_cache *cache, nct_link *identity, nct_error *err);

#endif
