/** How products of packed matrices are cut into tiles: what the rungs' tiles are told, and whole outputs where a
 *  matrix ends inside a panel. */
#ifndef NCT_KERNEL_PANEL_TILES_H
#define NCT_KERNEL_PANEL_TILES_H

#include <string.h>

#include "kernel/kernel.h"

/** Rows of the next tile: tiles of at most `most` rows, all about alike. */
static inline size_t nct_tile_rows(size_t left, size_t most) {
    size_t tiles = (left + most - 1) / most;
    return (left + tiles - 1) / tiles;
}

/** Outputs of a matrix from a panel on. */
static inline size_t nct_outputs_left(const nct_panels *w, size_t panel) { return w->n_rows - panel * NCT_PANEL; }

/** What a tile of coded panels needs: groups g .. g_end-1 of its first panel, its first row of activations, and where
 *  its outputs go: all 16 of each panel, where sums wait from group to group. */
typedef struct nct_panel_job {
    const nct_panels *w;
    const uint8_t *panel; /* the first */
    const uint8_t *codes; /* group g's, in the form that the tile reads, where that is not the panel's own */
    const uint8_t *next;  /* the panel to be fetched ahead of its turn */
    const nct_qrows *x;
    size_t row, g, g_end;
    float *y;
    size_t y_stride;
} nct_panel_job;

typedef void nct_panel_tile_fn(const nct_panel_job *j);

enum { NCT_TILE_OUTPUTS = 8 * 4 * NCT_PANEL }; /* of the largest tile: 8 rows of 4 panels */

/** Runs a tile at panel `panel` of y. Where not all of its outputs exist it works on a copy. */
static inline void nct_panel_tile_run(nct_panel_tile_fn *fn, size_t n_rows, size_t n_panels, nct_panel_job *j, size_t panel,
                                      float *y) {
    size_t left = nct_outputs_left(j->w, panel), width = n_panels * NCT_PANEL, y_stride = j->y_stride;
    j->panel = j->w->data + panel * j->w->panel_bytes;
    j->y = y + j->row * y_stride + panel * NCT_PANEL;
    if (left >= width) {
        fn(j);
        return;
    }
    float some[NCT_TILE_OUTPUTS] = {0}, *to = j->y;
    for (size_t r = 0; r < n_rows && j->g > 0; r++)
        memcpy(some + r * width, to + r * y_stride, left * sizeof *to);
    j->y = some;
    j->y_stride = width;
    fn(j);
    for (size_t r = 0; r < n_rows; r++)
        memcpy(to + r * y_stride, some + r * width, left * sizeof *to);
    j->y_stride = y_stride;
}

/** Moves a job on to its next slab: groups of at most n_cols columns, none when past the end. */
static inline void nct_next_slab(nct_panel_job *j, size_t n_cols) {
    j->g = j->g_end;
    j->g_end += n_cols / nct_group_pad(j->w, j->w->group);
    if (j->g_end > j->w->n_groups)
        j->g_end = j->w->n_groups;
}

/** Padded columns of the slab. */
static inline size_t nct_slab_columns(const nct_panel_job *j) {
    size_t last = j->g_end - 1;
    return nct_group_start(j->w, last) + nct_group_padded(j->w, last) - nct_group_start(j->w, j->g);
}

#endif
