/** From any encoding to the panels that the kernels eat, without loss, once, while loading. */
#ifndef NCT_QUANT_PACK_H
#define NCT_QUANT_PACK_H

#include "base/pool.h"
#include "kernel/kernel.h"
#include "quant/codec.h"

/** Fills in what follows from kind, n_rows, n_cols and, for codes, group (1 .. NCT_GROUP_MAX), bias, has_min
 *  and scale_f32: every other field but `data`. False if the matrix is empty, or too large for this
 *  machine's sizes. The one place that knows the layout's arithmetic. */
bool nct_panels_shape(nct_panels *panels);

/** Packs a matrix (see nct_panels). Group sizes above 128 are split so that a group never exceeds 128
 *  columns; the values stay the same. Panels are packed in parallel; data is owned by `panels`. */
nct_status nct_pack(const nct_stored *stored, nct_pool *pool, nct_panels *panels, nct_unpacked *unpacked, nct_error *err);
void nct_panels_close(nct_panels *panels);

/** What the `more` of a matrix with nct_codec_panels points to: panels that a bundle holds, checked when it
 *  is described. The matrix's part[0] is panels.data, which lies in the bundle's mapping. */
typedef struct nct_ready_panels {
    nct_panels panels;
    char label[32]; /* NUL-terminated: what the matrix was before, for people */
} nct_ready_panels;

/** Bytes of data. */
static inline size_t nct_panels_bytes(const nct_panels *p) { return p->n_panels * p->panel_bytes; }

/** The float32 values of one row [n_cols], in panel column order. */
void nct_panels_row(const nct_panels *panels, size_t row, float *value);

/** The code of one row's column, and the scale and minimum (0 if there are none) of one of its groups. */
unsigned nct_panels_code(const nct_panels *panels, size_t row, size_t column);
float nct_panels_scale(const nct_panels *panels, size_t row, size_t group);
float nct_panels_min(const nct_panels *panels, size_t row, size_t group);

#endif
