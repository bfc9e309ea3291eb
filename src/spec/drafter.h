/** What a drafter is, and the list of them. A drafter looks at a timeline and guesses how it goes on; what it guesses
 *  changes speed alone, never the text.
 *
 *  A timeline of tokens x_0 .. x_P, of which x_P, the root, is not in the target's cache yet, reaches a drafter as pairs:
 *  pair j is the target's row at position j and the token x_{j+1} that was chosen after it. So P pairs are known when a
 *  guess is asked for, and the last one holds the root. Pairs come in order, each once, as soon as both halves are
 *  known: whole chunks of a prompt, then what each round accepted.
 *
 *  To add a drafter: write NAME.c and add a row to the list in drafter.c.
 */
#ifndef NCT_SPEC_DRAFTER_H
#define NCT_SPEC_DRAFTER_H

#include "model/forward.h"
#include "quant/quantize.h"
#include "spec/tree.h"
#include "text/vocab.h"

/** What a pair's row holds. */
typedef enum nct_draft_row {
    NCT_ROW_NONE,   /* nothing: tokens are enough */
    NCT_ROW_HIDDEN, /* [hidden]: the final hidden state, normed, as nct_forward leaves it in work->x */
    NCT_ROW_TAPS,   /* [3][hidden]: the residual stream entering layers 2, L/2 and L-3, raw */
} nct_draft_row;

typedef struct nct_pairs {
    size_t first, n;      /* pairs first .. first + n - 1; first is the number of pairs observed so far */
    const int32_t *token; /* the timeline from x_0 on, [first + n + 1]: pair j holds token[j + 1] */
    const float
        *row;      /* [n][stride] of the kind the drafter wants. NULL: not known, as of tokens whose keys came
                             from a file; a drafter that needs rows then remembers nothing of these pairs and those
                             before */
    size_t stride; /* floats from one row to the next */
} nct_pairs;

/** What the drafter works for. Borrowed while the drafter's state is open. */
typedef struct nct_draft_target {
    const nct_model *model;
    const nct_rope *rope; /* the table the session uses */
    size_t limit;         /* positions the session holds at most */
    int n_threads;        /* of the pool that calls bring */
} nct_draft_target;

/** Zeroed is the defaults; drafters look at what concerns them. Strings are read during the call only. */
typedef struct nct_draft_options {
    const char
        *list; /* file of the frequency-ranked tokens; NULL: the one that lies beside the draft, or none */
    size_t n_list;         /* so many first tokens of it; 0: all */
    size_t window;         /* positions the draft looks back; 0: the drafter's own choice */
    double residual_scale; /* of the draft's branches; 0: as the checkpoint states */
    double logit_scale;    /* of the draft's scores; 0: as trained */
    nct_quant quant;       /* what matrices of plain numbers are rounded to while loading; KEEP: as stored */
    size_t group;          /* columns of a group then: 16, 32, 64 or 128; 0: 32 for INT4, 128 for INT8 */
    bool prompt_rows;      /* of `open`: the head also scores the prompt's tokens that its list lacks */
    const nct_vocab *vocab; /* the target's, for drafts that bring one of their own; NULL: they are not compared */
} nct_draft_options;

/** How far a guess may go. */
typedef struct nct_ask {
    size_t n_max;     /* nodes, the root included: 1 .. NCT_TREE_MAX */
    size_t depth_max; /* 1 and more */
    size_t width;     /* nodes expanded on a level, and children kept of each: 1 .. NCT_BEAM_WIDTH */
    /** Whether to compute another level, `depth`, when the best node of the one above has `score`. NULL: always.
     *  For drafters to whom a level costs time. */
    bool (*deeper)(void *context, size_t depth, float score);
    /** For merging (merged.h). Sets a tree's scores to what experience says of its edges; NULL: drafts are believed. */
    void (*believe)(void *context, nct_tree *tree);
    /** Whether to run a network at all beside a tree that cost nothing, believed. NULL: always. */
    bool (*worth)(void *context, const nct_tree *copied);
    /** Tokens of the text that a drafter which has to read it may read now, rounded up to a pass; 0: all. One that is
     *  not through says nothing. */
    size_t read_max;
    void *context;
    /** For replays: puts other guesses in the place of those a network made, once it ran: [n][width], after each slot of
     *  the beam, or, where that is NULL, after the root. NULL: the network's own stand. */
    void (*overrule)(void *overruler, const nct_beam *beam, size_t n, size_t width, int32_t *token,
                     float *log_q);
    void *overruler;
} nct_ask;

typedef struct nct_drafter {
    const char *name;  /* as people type it */
    const char *brief; /* one line of help */
    nct_draft_row row;
    bool reads; /* it reads the text by itself, which takes time before there is a guess */

    /** Reads the draft's files once for all sessions. NULL: there are none. `unload` frees; NULL is fine. A draft that
     *  does not fit the target is NCT_E_UNSUPPORTED, in a sentence that names both sizes. */
    nct_status (*load)(const char *path, const nct_model *target, const nct_exec *exec,
                       const nct_draft_options *options, void **weights, nct_error *err);
    void (*unload)(void *weights);
    uint64_t (*weight_bytes)(const void *weights); /* NULL without `load` */

    /** The state of one timeline, empty. weights: from `load`, borrowed; NULL without one. options may be NULL. */
    nct_status (*open)(const void *weights, const nct_draft_target *target, const nct_draft_options *options,
                       void **state, nct_error *err);

    /** The timeline uses this table instead of the target's, which another one did; no pair is held. NULL: the drafter
     *  looks at none. */
    void (*use_rope)(void *state, const nct_rope *rope);

    /** Memory of a state, as it is now. */
    uint64_t (*state_bytes)(const void *state);

    /** An answer begins after token [n], of which pairs may not be known yet: what is worth preparing for it, which
     *  changes guesses alone. NULL: nothing. On failure what was prepared before stays. */
    nct_status (*begin)(void *state, const nct_exec *exec, const int32_t *token, size_t n, nct_error *err);

    /** Takes in pairs; their memory is not needed afterwards. On failure nothing was taken in. exec: kernels and pool;
     *  scratch is the drafter's own. */
    nct_status (*observe)(void *state, const nct_exec *exec, const nct_pairs *pairs, nct_error *err);

    /** Grows `tree`, which holds the root alone, by what may follow the pairs observed: scores are sums of the logarithms
     *  of the draft's own probabilities, edges as in edge.h. Nothing to say leaves it as it is. Leaves no trace: the
     *  same call gives the same tree, whatever was proposed before. n_passes: how many times the draft's network ran, 0
     *  where there is none. On failure the tree is the root alone. */
    nct_status (*propose)(void *state, const nct_exec *exec, const nct_ask *ask, nct_tree *tree,
                          size_t *n_passes, nct_error *err);

    /** Forgets all pairs but the first n: afterwards nothing tells that they were ever observed. */
    void (*rewind)(void *state, size_t n_pairs);

    void (*close)(void *state); /* NULL is fine */
} nct_drafter;

extern const nct_drafter nct_drafter_eagle, nct_drafter_eagle3, nct_drafter_ngram, nct_drafter_model;
extern const nct_drafter nct_drafter_replay; /* replay.h */

/** Drafters by number, best known first; NULL from the end of the list on. */
const nct_drafter *nct_drafter_at(size_t i);

/** The drafter of a name; "off" gives NULL. NCT_E_ARGUMENT names those there are. */
nct_status nct_drafter_find(const char *name, const nct_drafter **drafter, nct_error *err);

#endif
