/** Embedding, layers, norm, head over one batch; computes logits only for the rows asked for. */
#ifndef NCT_MODEL_FORWARD_H
#define NCT_MODEL_FORWARD_H

#include "attn/attend.h"
#include "attn/rope.h"
#include "model/weights.h"

/** What every forward pass of a model reads. */
typedef struct nct_model {
    nct_config config;
    nct_weights weights;
    nct_rope rope;      /* the native table */
    nct_rope long_rope; /* for contexts beyond it; zeroed where config.long_positions is 0 */
} nct_model;

enum {
    NCT_TAPS = 3,
    NCT_TAPS_LAYERS = 5, /* layers 2, L/2 and L-3 are there, in this order, from so many on */
};

/** Buffers of a pass over at most `rows` tokens; owned by a session or a batcher. */
typedef struct nct_work {
    size_t rows;
    nct_arena arena;  /* all buffers below, then scratch of the calls */
    float *x, *h;     /* [rows][hidden] */
    bool owed;        /* h is a branch that is still to be added to x (nct_layer_settle) */
    float *own;       /* [threads][own_stride], a row of x or q that is at hand */
    size_t own_stride;
    float *q, *att;   /* [rows][n_heads * head_dim] */
    uint8_t *query;   /* [rows][nct_query_forms][n_heads][nct_query_bytes], q readied for the cache */
    float *k, *v;     /* [rows][n_kv_heads * head_dim] */
    float *gate, *up; /* [rows][intermediate] */
    float *cos, *sin; /* [rows][head_dim / 2] */
    float *taps; /* [rows][NCT_TAPS][hidden]: for drafts, the residual stream entering layers 2, L/2 and L-3; the
                    owner's, of models of NCT_TAPS_LAYERS and more; NULL: not wanted */
    nct_branches branches; /* opened by the owner where trees are to run, closed with the rest */
    const nct_rope *rope; /* the table in use, set by the owner after opening; NULL: the model's native one */
} nct_work;

/** For passes that attend as `options` say over a cache like `cache`. */
nct_status nct_work_open(const nct_model *model, const nct_attend_options *options, const nct_cache *cache, size_t rows,
                         int n_threads, nct_work *work, nct_error *err);
void nct_work_close(nct_work *work); /* zeroed is fine */

/** Rows of one timeline in a pass; those of several parts lie one after another. */
typedef struct nct_rows {
    nct_cache *cache; /* a timeline is in one part at most */
    const nct_attend_options *attend;
    const nct_rope *rope; /* NULL: the model's native table */
    nct_batch batch;
} nct_rows;

/** Rows of all parts. */
static inline size_t nct_rows_count(const nct_rows *part, size_t n_parts) {
    size_t n = 0;
    for (size_t i = 0; i < n_parts; i++)
        n += part[i].batch.n;
    return n;
}

/** The first and the last part of a pass, for whoever runs the layers between by itself. Begin: work->x [n]
 *  [hidden] are the embeddings of the parts' rows, and the rows' rotations are at hand; caches and options are not
 *  looked at. End: the final norm of n rows of work->x, divided for the head. */
void nct_forward_begin(const nct_exec *exec, const nct_model *model, nct_work *work, const nct_rows *part, size_t n_parts);
void nct_forward_end(const nct_exec *exec, const nct_model *model, nct_work *work, size_t n);

/** What happens between layers, and how far they are needed. */
typedef struct nct_between {
    const volatile int *stop; /* polled before each: non-zero is NCT_E_STOPPED, the cache keeps its length. NULL: nothing */
    void (*done)(void *context, size_t n_layers); /* told after each how many are done, or NULL */
    void *context;
    size_t n_unread; /* rows at the beginning of a single chain whose final states nobody reads: their last layer ends with keys
                        and values, and their rows of work->x are undefined */
} nct_between;

/** Runs the layers over the batch; on success work->x holds the rows' final hidden states, normed and divided for
 *  the head. The keys and values of a chain are appended to the cache, which then holds first + n positions and
 *  must have them reserved; those of a tree stay in work->branches, for nct_branches_keep, and the cache is only
 *  read. batch->first must be cache->length and ids valid. `between` may be NULL. */
nct_status nct_forward(const nct_exec *exec, const nct_model *model, const nct_attend_options *options, nct_cache *cache,
                       nct_work *work, const nct_batch *batch, const nct_between *between, nct_error *err);

/** The same for chains of several timelines, whose rows are computed together: each has the bits that it has alone. */
nct_status nct_forward_parts(const nct_exec *exec, const nct_model *model, const nct_rows *part, size_t n_parts,
                             nct_work *work, const nct_between *between, nct_error *err);

/** logits [n][n_vocab] of rows [row, row + n) of work->x. */
void nct_forward_logits(const nct_exec *exec, const nct_model *model, nct_work *work, size_t row, size_t n,
                        float *logits);

#endif
