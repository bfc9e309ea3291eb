/** Kinds of guesses. Each edge of a tree is of one kind, and experience is counted by kind (adapt.h): how sure the draft
 *  was, and how deep it guessed.
 *
 *      model   the draft's probability, 10 steps, finer towards 1; depth 1, 2, 3 and more
 *      copy    length of the match that was copied after: 3, 4, 5 .. 6, 7 .. 9, 10 .. 15, 16 and more; whether all
 *              matches agreed, or at least half of them, or fewer; depth 1, 2, 3 and more
 */
#ifndef NCT_SPEC_EDGE_H
#define NCT_SPEC_EDGE_H

#include <stddef.h>
#include <stdint.h>

enum {
    NCT_EDGE_DEPTHS = 3,
    NCT_EDGE_STEPS = 10,  /* of probability */
    NCT_EDGE_LENGTHS = 6, /* of matches */
    NCT_EDGE_SHARES = 3,
    NCT_EDGE_COPY = NCT_EDGE_STEPS * NCT_EDGE_DEPTHS, /* the first kind of copies */
    NCT_EDGES = NCT_EDGE_COPY + NCT_EDGE_LENGTHS * NCT_EDGE_SHARES * NCT_EDGE_DEPTHS,
};

/** The kind of a guess that a model gave probability exp(log_q), to a node of this depth (1 and more). */
uint8_t nct_edge_model(float log_q, size_t depth);

/** The kind of a guess that `n` of `n_all` matches of `length` tokens agree on. */
uint8_t nct_edge_copy(size_t length, size_t n, size_t n_all, size_t depth);

/** Whether a network made it, rather than a copy. */
static inline int nct_edge_is_model(uint8_t edge) { return edge < NCT_EDGE_COPY; }

/** What to believe before there is any experience: cautious, at most 1/2 for models, that drafts be tried. */
float nct_edge_prior(uint8_t edge);

#endif
