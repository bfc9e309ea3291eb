/** Kernels, pool and scratch: the one parcel that every computing call is handed. */
#ifndef NCT_KERNEL_EXEC_H
#define NCT_KERNEL_EXEC_H

#include "base/arena.h"
#include "base/pool.h"
#include "kernel/kernel.h"

struct nct_linear; /* quant/linear.h */

/** Told of the inputs of every matrix product before it is computed: x [n_rows][x_stride], borrowed. For
 *  calibration; called by the thread that starts the product. Once it is satisfied, nothing more of the layer
 *  is computed. */
typedef struct nct_observer {
    void (*saw)(void *context, const struct nct_linear *linear, const float *x, size_t x_stride, size_t n_rows);
    void *context;
    bool satisfied;
} nct_observer;

typedef struct nct_exec {
    const nct_kernels *kernels;
    nct_pool *pool;
    nct_arena *scratch;
    bool exact; /* float32 activations everywhere */
    nct_observer *observer; /* NULL: nobody looks */
} nct_exec;

/** True if whoever looks has seen enough. */
static inline bool nct_exec_satisfied(const nct_exec *exec) { return exec->observer && exec->observer->satisfied; }

#endif
