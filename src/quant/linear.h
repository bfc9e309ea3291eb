/** y = W x across the pool. Plain data in, plain data out: nobody above asks what the file was. */
#ifndef NCT_QUANT_LINEAR_H
#define NCT_QUANT_LINEAR_H

#include "kernel/exec.h"
#include "quant/pack.h"

typedef struct nct_linear {
    nct_panels panels;
    bool borrowed;  /* the panels lie in a mapped bundle that outlives this */
    bool copied;    /* they were copied from one */
    int32_t *perm;  /* column order of act-order checkpoints: panel column j reads x[perm[j]]; or NULL */
    char label[32]; /* what the file held, for people */
} nct_linear;

/** Packs a stored matrix, floats that turn out to be ternary in 2 bits; panels that a bundle holds are used
 *  where they lie, so its checkpoint must stay open, or copied if the pool wants that (nct_pool_wants_copies).
 *  Closed by the caller. */
nct_status nct_linear_open(const nct_stored *stored, nct_pool *pool, nct_linear *linear, nct_error *err);
void nct_linear_close(nct_linear *linear); /* zeroed is fine */

/** The rows row[0 .. n-1] of a matrix as a matrix of its own, in the same encoding and in the pool's memory; n > 0. */
nct_status nct_linear_gather(const nct_linear *from, const int32_t *row, size_t n, nct_pool *pool, nct_linear *linear,
                             nct_error *err);

/** The float32 values of row `row` [n_cols] in the matrix's own column order. scratch: [n_cols], used only
 *  with perm. */
void nct_linear_row(const nct_linear *linear, size_t row, float *value, float *scratch);

/** Rows of x that are computed when they are needed: row `row`, in a place of the worker's own that holds until its next
 *  call, or, where worker is -1, in x. Called once a row, by several threads at once. */
typedef struct nct_linear_source {
    const float *(*row)(void *context, size_t row, int worker);
    void *context;
} nct_linear_source;

/** One product of a call: y [n_rows][y_stride] = x [n_rows][x_stride] W^T. Jobs of one call that share x and
 *  geometry share its quantized form. y must not alias any x. Where there is a source, x is not filled yet, and all
 *  jobs of the call have the same x and the same source: coded weights meet its rows without their being written. */
typedef struct nct_linear_job {
    const nct_linear *linear;
    const float *x;
    size_t x_stride;
    float *y;
    size_t y_stride;
    const nct_linear_source *source; /* or NULL */
} nct_linear_job;

enum { NCT_LINEAR_JOBS = 4 };

/** Panels of one task of a product, by its shape alone: enough work to be worth taking, few enough to share out
 *  evenly, and divided by what kernels take side by side. */
static inline size_t nct_linear_task_panels(size_t n_panels, size_t n_rows) {
    if (n_rows == 1)
        return n_panels >= 512 ? 16 : 8;
    return n_panels < 192 ? 4 : n_rows < 32 ? 12 : 8;
}

/** Rows that one task takes, where each is worked on by itself: one, or of many so many that the next one can be fetched
 *  while one is worked on. */
enum { NCT_ROW_BLOCK = 8, NCT_ROW_BLOCKS_FROM = 64 };
static inline size_t nct_row_blocks(size_t n_rows) {
    return n_rows < NCT_ROW_BLOCKS_FROM ? n_rows : (n_rows + NCT_ROW_BLOCK - 1) / NCT_ROW_BLOCK;
}
static inline void nct_row_block(size_t n_rows, size_t block, size_t *first, size_t *end) {
    size_t each = n_rows < NCT_ROW_BLOCKS_FROM ? 1 : NCT_ROW_BLOCK;
    *first = block * each;
    *end = *first + each < n_rows ? *first + each : n_rows;
}
/** Fetches the next row, which other threads may have written: too short to be foreseen, and far away. */
static inline void nct_row_fetch(const float *x, size_t n) {
    for (size_t i = 0; i < n; i += NCT_ALIGN / sizeof *x)
        __builtin_prefetch(x + i);
}

/** Runs up to NCT_LINEAR_JOBS products over the same number of rows. Coded weights meet activations
 *  quantized per row and group, or float32 ones where exec->exact. A row's result does not depend on the
 *  other rows. Takes at most nct_linear_scratch_bytes per job from exec->scratch and returns it. */
void nct_linear_run(const nct_exec *exec, const nct_linear_job *jobs, size_t n_jobs, size_t n_rows);
size_t nct_linear_scratch_bytes(const nct_linear *linear, size_t n_rows);

/** A gated feed-forward branch in one go, y = Wdown (silu(Wgate x) * (Wup x)), with the bits of three products and
 *  nct_swiglu_fn between: gate_up's y are not written and may be NULL, as may down's x. Only where nct_linear_gates:
 *  all three are coded and Wdown's columns stand in their own order. Takes nct_linear_gated_scratch_bytes. */
void nct_linear_run_gated(const nct_exec *exec, const nct_linear_job gate_up[2], const nct_linear_job *down,
                          size_t n_rows);
bool nct_linear_gates(const nct_exec *exec, const nct_linear *gate, const nct_linear *up, const nct_linear *down);
size_t nct_linear_gated_scratch_bytes(const nct_linear *gate, const nct_linear *up, const nct_linear *down,
                                      size_t n_rows, int n_workers);

/** Products that are looked at once and not kept: outputs come in pieces cut by the matrix's shape alone, of
 *  NCT_LINEAR_PIECE outputs but for the last. The y of a piece, [n_rows][y_stride], holds outputs first .. first + n - 1
 *  and is gone when fn returns; fn is called once a piece, by several threads at once. */
enum { NCT_LINEAR_PIECE = 24 * NCT_PANEL };
typedef void nct_linear_piece_fn(void *context, size_t piece, int worker, const float *y, size_t y_stride, size_t first,
                                 size_t n);

static inline size_t nct_linear_pieces(size_t n_outputs) {
    return (n_outputs + NCT_LINEAR_PIECE - 1) / NCT_LINEAR_PIECE;
}
/** Takes nct_linear_piece_bytes from exec->scratch and returns it. Values are those of nct_linear_run. */
void nct_linear_run_pieces(const nct_exec *exec, const nct_linear *linear, const float *x, size_t x_stride, size_t n_rows,
                           nct_linear_piece_fn *fn, void *context);
size_t nct_linear_piece_bytes(const nct_linear *linear, size_t n_rows, int n_threads);

#endif
