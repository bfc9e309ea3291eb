/** Where a text stands in a grammar: sets of (node, frame), made once each and known by number.
 *
 *  A frame says where to go on when a rule ends; it is itself such a set. Callers of one rule at one place share a
 *  frame, so ambiguity costs no more than a chart parser (Earley 1970; the stacks are those of Tomita 1986). A call
 *  behind which its rule ends brings no frame of its own, so lists written by right recursion do not grow. Two texts
 *  after which the same can follow have the same number as a rule, and steps and whatever else was found out about a
 *  number are kept with it.
 *
 *  A hole in place of a frame stands for any frame: what holds for a set with holes holds in every context.
 *
 *  Failures are kept (`fault`): after one everything is dead.
 */
#ifndef NCT_CONSTRAIN_STATES_H
#define NCT_CONSTRAIN_STATES_H

#include "constrain/grammar.h"

enum { NCT_HOLES = 8 }; /* that a set may have, at most */

/** In place of nodes. */
#define NCT_NODE_ACCEPT UINT32_MAX /* the text is complete */
#define NCT_NODE_STRIP                                                                                       \
    (UINT32_MAX - 1) /* at the beginning: one space more, which is no text, may come first */
#define NCT_NODE_HOLE (UINT32_MAX - 20) /* + k */

typedef struct nct_item {
    uint32_t node, frame;
} nct_item;

enum {
    NCT_SET_ACCEPTS = 1,
    NCT_SET_GOES_ON = 2, /* a byte may follow */
    NCT_SET_HOLES = 4,   /* a hole was reached: who asked goes on from its frame */
    NCT_SET_STRIP = 8,
};

#define NCT_UNKNOWN UINT32_MAX

typedef struct nct_set {
    uint32_t first, n; /* items */
    uint32_t least;    /* fewest bytes to the end of the text */
    uint32_t depth;    /* of frames in frames */
    uint32_t flags;
    uint32_t steps;       /* where its row of steps begins, or NCT_UNKNOWN */
    uint32_t tokens;      /* fewest tokens for its shortest text, or NCT_UNKNOWN */
    uint32_t view, shape; /* of view.c: what was found of it, in its context and as a set with holes */
    uint32_t hash, memo, memo_epoch; /* memo: of nct_states_remember */
    uint32_t mark;                   /* the caller's; 0 at first */
} nct_set;

typedef struct nct_states nct_states;

/** The beginning of nct_states: tables, which move when sets are made. */
typedef struct nct_state_tables {
    nct_set *set;
    uint32_t *step; /* rows of steps by class of byte, NCT_UNKNOWN where nobody asked yet */
} nct_state_tables;

/** The grammar is finished and outlives the states. */
nct_status nct_states_open(const nct_grammar *grammar, nct_states **states, nct_error *err);
void nct_states_close(nct_states *states); /* NULL is fine */
const nct_error *nct_states_fault(const nct_states *states);

/** Forgets everything: all numbers but that of the dead set, 0, become invalid. */
void nct_states_clear(nct_states *states);
size_t nct_states_bytes(const nct_states *states);

nct_set *nct_states_set(nct_states *states, uint32_t set); /* until the next call that may make one */
const nct_item *nct_states_items(const nct_states *states, uint32_t set);

/** At the beginning of a text of a rule; strip: NCT_NODE_STRIP. */
uint32_t nct_states_begin(nct_states *states, uint32_t rule, bool strip);
/** After one byte more; 0 if it cannot follow. */
uint32_t nct_states_step(nct_states *states, uint32_t set, uint8_t byte);
/** At a node of a rule, in any context (a hole). */
uint32_t nct_states_at(nct_states *states, uint32_t node);
/** The lowest byte that begins a shortest text from here; the set is neither dead nor accepting. */
uint8_t nct_states_shortest(nct_states *states, uint32_t set);
/** A frame as the set one is in when it is returned to. */
uint32_t nct_states_enter(nct_states *states, uint32_t frame);

/** The set with holes in place of its frames, which are written to frame [NCT_HOLES] in order; the set itself, and no
 *  frames, if it has too many. */
uint32_t nct_states_shape(nct_states *states, uint32_t set, uint32_t *frame, size_t *n_frames);
/** Begins a new use of the sets' memos, which are valid where memo_epoch is the number returned. */
uint32_t nct_states_remember(nct_states *states);
/** A set with holes, with frames in their place. After nct_states_remember, for one list of frames. */
uint32_t nct_states_fill(nct_states *states, uint32_t set, const uint32_t *frame);

#endif
