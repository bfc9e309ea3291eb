/** A draft that knows the text: for benches, where costs of a large model are to be measured without its weights' worth
 *  of training. It runs a real head, pays for every pass, and then puts stated guesses in the place of those the head
 *  made: after a right token, the true one at child rank r of depth d with a stated probability, which it reports as its
 *  own. What comes true is drawn by position, so all ways of guessing meet the same luck.
 *
 *  Odds as text, from the outside in:
 *
 *      0.9,0.8,0.7         the likeliest child at depth 1, 2, 3 and deeper
 *      0.6:0.2:0.1,0.5     at depth 1 also the second and the third
 *      0.9;0.3             the text is divided evenly: high, then low
 *      0.6~0.5             positions share the luck of the one before with probability 0.5
 */
#ifndef NCT_SPEC_REPLAY_H
#define NCT_SPEC_REPLAY_H

#include "spec/drafter.h"

enum { NCT_ODDS_PHASES = 8, NCT_ODDS_DEPTHS = 16, NCT_ODDS_RANKS = 8 };

typedef struct nct_odds {
    size_t n_phases;
    size_t n_depths[NCT_ODDS_PHASES];
    double p[NCT_ODDS_PHASES][NCT_ODDS_DEPTHS][NCT_ODDS_RANKS]; /* of ranks, at most 1 together */
    double shared; /* 0 .. 1 */
} nct_odds;

/** NCT_E_ARGUMENT says what is expected. */
nct_status nct_odds_parse(const char *text, nct_odds *odds, nct_error *err);

/** The text: token [n], of which the answer begins at `first`. Borrowed, as are the odds. */
typedef struct nct_replay_text {
    const int32_t *token;
    size_t n, first;
    const nct_odds *odds;
    uint64_t seed;
} nct_replay_text;

/** The rank of the true token at position `at` among the children of a right token `depth` positions before, in a guess
 *  made after the token at position `root`; NCT_ODDS_RANKS if it is not among them. */
size_t nct_replay_rank(const nct_replay_text *text, size_t root, size_t depth);

/** What is said of the child of a rank at that place: at most 1, and above 0. */
double nct_replay_said(const nct_replay_text *text, size_t root, size_t depth, size_t rank);

/** A timeline for which `inner`, a drafter with a network, works: *drafter is a row to use the state with. */
nct_status nct_replay_open(const nct_drafter *inner, const void *weights, const nct_draft_target *target,
                           const nct_replay_text *text, const nct_drafter **drafter, void **state,
                           nct_error *err);

#endif
