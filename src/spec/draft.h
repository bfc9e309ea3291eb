/** A draft head of one layer, as EAGLE and EAGLE-3 have in common: files, its own cache, and trees grown by its
 *  guesses (speculative-decoding.md 2, 3, 5). What differs between the two stands in eagle.c and eagle3.c.
 *
 *  The head has one row a pair (drafter.h): pair j, at draft position j, enters with what the target gave at position j
 *  and the token x_{j+1}, and leaves with an output that scores x_{j+2} and is what the layer is fed with for a
 *  guessed token in place of the target's word. Keys and values of a pair depend on that pair alone. So pairs that are
 *  observed are run as far as those, and only the last pair and guessed tokens go through the whole layer.
 */
#ifndef NCT_SPEC_DRAFT_H
#define NCT_SPEC_DRAFT_H

#include "format/draft.h"
#include "spec/drafter.h"
#include "spec/top.h"

enum {
    NCT_DRAFT_WINDOW = 1024,      /* positions a draft looks back unless told otherwise */
    NCT_DRAFT_PROMPT_ROWS = 4096, /* tokens of a prompt that a list is lengthened by, at most */
};

typedef struct nct_draft nct_draft; /* weights */
typedef struct nct_draft_line nct_draft_line;

/** Rows on their way into the layer. */
typedef struct nct_draft_entry {
    const nct_exec *exec;
    const nct_draft *draft;
    size_t n;
    const int32_t *token;    /* [n] */
    const float *target_row; /* [n][stride]: what the target gave; NULL: guessed tokens, which read `own` */
    size_t stride;
    const float *own; /* [n][hidden]: the outputs they follow */
    float *x;         /* [n][hidden]: to be filled with the residual stream, */
    float *c;    /* [n][n_input] and with what queries, keys and values are made of; room for [n][2 hidden] */
    float *room; /* [n][2 hidden] */
} nct_draft_entry;

/** What one kind of head does in its own way. */
typedef struct nct_draft_form {
    nct_draft_kind kind;
    const char *name;   /* for messages */
    size_t n_row, n_in; /* floats of a target's row, and of what the layer reads, in units of hidden */
    void (*enter)(const nct_draft_entry *entry);
    void (*leave)(const nct_draft *draft, const nct_kernels *kernels,
                  float *y); /* an output [hidden], for the head */
    /** Opens the norms and the head; scales, layer and fc are there. */
    nct_status (*load)(nct_draft *draft, nct_draft_file *file, const nct_exec *exec,
                       const nct_draft_options *options, nct_error *err);
} nct_draft_form;

struct nct_draft {
    const nct_draft_form *form;
    const nct_model *target;
    size_t hidden, intermediate, n_heads, n_kv_heads, head_dim;
    size_t n_row, n_input; /* floats */
    float eps, residual_scale, embedding_scale;
    float logit_scale; /* times the output before the head */
    size_t window;     /* positions a row sees, its own included */
    nct_kv_type kv_type;
    nct_linear fc, q, k, v, o, gate, up, down;
    nct_linear own_head; /* empty where the target's is used as it is */
    const nct_linear *head;
    int32_t *ids;   /* the token of each row of the head; NULL: they are the vocabulary */
    float *fc_bias; /* [hidden], or NULL */
    float *norm_embedding, *norm_hidden, *norm_input, *norm_post,
        *norm_final; /* [hidden]; NULL where there is none */
};

/** Opens a head of one form: *weights is an nct_draft. NCT_E_UNSUPPORTED: a head of the other form, or for another
 *  target. */
nct_status nct_draft_load(const nct_draft_form *form, const char *path, const nct_model *target,
                          const nct_exec *exec, const nct_draft_options *options, void **weights,
                          nct_error *err);
void nct_draft_unload(void *weights);
uint64_t nct_draft_weight_bytes(const void *weights);

/** The drafter that what lies at a path is for: nct_drafter_eagle or nct_drafter_eagle3 for a head, nct_drafter_model for
 *  a model. */
nct_status nct_draft_find(const char *path, const nct_drafter **drafter, nct_error *err);

/** For `load` of a form. */
nct_status nct_draft_norm(nct_draft_file *file, nct_draft_role role, size_t n, float **norm, nct_error *err);
nct_status nct_draft_matrix(nct_draft_file *file, nct_draft_role role, size_t n_rows, size_t n_cols,
                            nct_pool *pool, const nct_draft_options *options, nct_linear *linear,
                            nct_error *err);

/** For `enter`: an embedding [hidden] of the target, times the draft's scale. room: [hidden]. */
void nct_draft_embed(const nct_draft *draft, int32_t token, float *value, float *room);

/* ------------------------------------------------------------------ a timeline */

/** What an nct_drafter calls; a state is an nct_draft_line. The row of the last pair is kept, those before it are not:
 *  after a rewind that takes pairs away there is nothing to propose until the next one was observed. */
nct_status nct_draft_line_open(const void *weights, const nct_draft_target *target,
                               const nct_draft_options *options, void **state, nct_error *err);
void nct_draft_line_use_rope(void *state, const nct_rope *rope);
void nct_draft_line_close(void *state);
uint64_t nct_draft_line_bytes(const void *state);
nct_status nct_draft_observe(void *state, const nct_exec *exec, const nct_pairs *pairs, nct_error *err);
nct_status nct_draft_propose(void *state, const nct_exec *exec, const nct_ask *ask, nct_tree *tree,
                             size_t *n_passes, nct_error *err);
void nct_draft_rewind(void *state, size_t n_pairs);
/** With prompt_rows: gathers the target's rows of the tokens that the list lacks, the last NCT_DRAFT_PROMPT_ROWS of them
 *  by where they stood last. */
nct_status nct_draft_begin(void *state, const nct_exec *exec, const int32_t *token, size_t n, nct_error *err);

struct nct_draft_line {
    const nct_draft *draft;
    const nct_rope *rope;
    nct_cache cache; /* one layer; pair j at position j, rows of beams behind the pairs while a tree grows */
    size_t n_pairs, first; /* observed; the first that is remembered */
    size_t n_run;          /* whose keys and values are there: all pairs, or all but the last */
    float *last;           /* [n_row] the row of the last pair, .. */
    int32_t last_token;    /* .. its token, .. */
    bool has_last;         /* .. if they are known */
    nct_arena arena;       /* all buffers, then scratch of the calls */
    float *x, *h;          /* [LAZY][hidden] */
    float *c, *room;       /* [LAZY][2 hidden] */
    float *k, *v;          /* [LAZY][n_kv_heads * head_dim] */
    float *cos, *sin;      /* [LAZY][head_dim / 2] */
    float *q, *att;        /* [FULL][n_heads * head_dim] */
    uint8_t *query;        /* [FULL][n_heads][nct_query_bytes] */
    float *gate, *up;      /* [FULL][intermediate] */
    float *out;   /* [1 + NCT_TREE_MAX][hidden] outputs: the last pair's, then the rows of the beams */
    nct_top *top; /* [FULL] */
    nct_beam beam;
    uint8_t *listed;   /* [vocabulary] whether the head scores a token; NULL: no prompt_rows, or no list to lengthen */
    nct_linear more;   /* rows beside the head, .. */
    int32_t *more_ids; /* [n_more], ascending: .. and their tokens */
    size_t n_more;
};

#endif
