/** How much to guess, round by round, so that it pays: a cost table, experience with guesses, and a rule.
 *
 *  The rule is a marginal one: with R the long-run number of tokens in the time of one plain step, a node that is
 *  accepted with probability p is worth verifying while p > R * (c(T + 1) - c(T)) / c(1); so of a tree in the order of
 *  probabilities the T nodes are taken that make S(T) - R * c(T) largest, S being the sum of their probabilities. How
 *  likely a node is comes from counting what became of guesses of its kind (edge.h). What a level of the draft was worth
 *  is read off trees that have it: by how much that largest value would have been smaller without. A level more is
 *  drafted where it is likely worth its pass.
 *
 *  Guessing stops for a while when it does not gain 3 %, for twice as long after each trial of a network that fails. And
 *  it never risks more than is left of an account: the time lost against plain decoding stays within 1 % of the time
 *  since the prompt and NCT_ADAPT_RISK plain steps, even if nothing of the next guess comes true. Those steps are there
 *  once, for a draft of which nothing is known: an answer begins with what the ones before have left of them, gains
 *  included. (Only a size that was never run on this host can cost more than was reckoned with.) Without experience trees
 *  have two nodes.
 *
 *  Nothing here looks at a clock: times come in as arguments, and the same arguments give the same decisions.
 *
 *      nct_adapt_begin                                    an answer begins
 *      each round:
 *          if nct_adapt_ask(adapt, &ask):
 *              propose, with `ask`; nct_adapt_drafted
 *              nct_adapt_choose(adapt, &tree)             else the tree is the root alone
 *          verify
 *          nct_adapt_learn(adapt, &tree, &accepted, seconds of verifying)
 */
#ifndef NCT_SPEC_ADAPT_H
#define NCT_SPEC_ADAPT_H

#include "base/bytes.h"
#include "spec/cost.h"
#include "spec/drafter.h"
#include "spec/edge.h"
#include "spec/verify.h"

enum {
    NCT_ADAPT_MEMORY = 128, /* trials of a kind that count at most: what is older fades */
    NCT_ADAPT_PAUSE = 128,  /* tokens of the first pause */
    NCT_ADAPT_PAUSE_MAX = 2048,
    NCT_ADAPT_LEVELS = 16, /* of a draft, whose worth is told apart */
};

/* plain steps that may be lost beyond 1 % */
#define NCT_ADAPT_RISK 1.5

typedef enum nct_adapt_state { NCT_ADAPT_ON = 0, NCT_ADAPT_PAUSED, NCT_ADAPT_PROBING } nct_adapt_state;

/** What became of guesses whose parent was accepted; older ones count less. hits <= trials <= NCT_ADAPT_MEMORY. */
typedef struct nct_tally {
    double trials, hits;
} nct_tally;

/** What a level of the draft was worth, in tokens, of late: the mean of n trees that had it, older ones counting less;
 *  and how likely its best path was believed to be above it. */
typedef struct nct_draft_level {
    double n, worth, reach;
} nct_draft_level;

/** What drafting takes, in plain steps: a beginning, in which the network reads what was accepted, and each pass; and the
 *  variances of the two and what they share. all zero: not measured. */
typedef struct nct_passes {
    double begin, each, spread_begin, spread_each, spread_both;
} nct_passes;

typedef struct nct_adapt {
    nct_cost cost;

    nct_tally edge[NCT_EDGES], any[NCT_EDGE_DEPTHS]; /* by kind of guess; by depth, of a node's children together */
    /* of late: hits beyond those believed in, and the variance of that */
    double surprise, surprise_variance;
    nct_passes pass;
    double
        branching; /* of late: the share of trees, of those that could, in which a node kept two children */
    bool wide;     /* this round's could */
    nct_draft_level level[NCT_ADAPT_LEVELS]; /* of depth 1, 2, ... */

    /* of a network beside copies (adapt_merged.c): tokens that it alone brought, of late; rounds, each counted by how
     * likely the copies were to fail; this round's share; rounds since it ran */
    double network_tokens, network_rounds, network_share;
    size_t n_without;

    nct_adapt_state state;
    size_t pause, pause_left; /* tokens: of the next pause, and of the one at hand */
    size_t n_rounds;          /* that guessed, since the state began */
    size_t n_since_plain,
        plain_every;     /* rounds that checked more than one node, since one that did not; and at most */
    double tokens, time; /* of late: of rounds that guessed, time in plain steps */
    double promised, promised_time; /* the same as was to be expected of their trees */
    size_t n_chosen;                /* trees so far */

    /* of the last tree: nodes it was cut to, passes of the draft */
    size_t n_last, passes_last;
    bool free; /* it took no pass: the draft costs next to nothing */

    /* of this round; reach: how likely the best path to each depth was when another level was asked about */
    bool asked;
    size_t n_passes;
    double draft_s, reach[NCT_ADAPT_LEVELS];

    /* of this answer: what the account of time is made of, and counts for reports */
    double n_of_size[NCT_COST_SIZES]; /* rounds that guessed, by what they checked */
    double draft_steps, other_s;      /* plain steps that drafting took; seconds that reading took */
    double earned;                    /* plain steps that this answer may risk beyond */
    uint64_t n_guessed_rounds, n_guessed_tokens, n_plain_tokens;
} nct_adapt;

/** A pass of the draft's network was measured, in plain steps. */
void nct_adapt_know_pass(nct_adapt *adapt, double each);

/** No experience, the usual costs. */
void nct_adapt_init(nct_adapt *adapt);

/** What was known before, of the same model, drafter and host: n bytes that nct_adapt_save wrote. Anything else is
 *  NCT_E_FORMAT in a sentence with `name`; *adapt is written only on success. */
nct_status nct_adapt_load(const char *name, const char *text, size_t n, nct_adapt *adapt, nct_error *err);

/** Appends costs and experience as JSON:
 *
 *      {"noctule_spec": 3,
 *       "cost": [[rows, c(rows) / c(1), standard deviation of its logarithm], ...],   all sizes, in order
 *       "pass": [plain steps that a draft takes to begin, those of each run of its network], 0 if not measured,
 *       "edges": [[kind, trials, hits], ...],                                         edge.h
 *       "any": [[trials, hits], ...],                                                 by depth, of all children
 *       "earned": plain steps that the next answer may risk,
 *       "pause": tokens, where guessing did not pay in the end, else 0} */
nct_status nct_adapt_save(const nct_adapt *adapt, nct_bytes *text, nct_error *err);

/** An answer begins: nothing of it is lost yet, but for what the draft took to read the prompt, in seconds, where
 *  that is more than 1 % of what the target took. */
void nct_adapt_begin(nct_adapt *adapt, double draft_s, double prompt_s);

/** Whether to guess in this round, and how far. ask->deeper is set, with `adapt` as context. */
bool nct_adapt_ask(nct_adapt *adapt, nct_ask *ask);

/** A drafter was asked: so many runs of its network, and the seconds it took. Several drafters of a round add up. */
void nct_adapt_drafted(nct_adapt *adapt, size_t n_passes, double seconds);

/** Of the above, what concerns a merged drafter (merged.h): ask->believe and ask->worth; what its network brought. */
void nct_adapt_ask_merged(nct_adapt *adapt, nct_ask *ask);
void nct_adapt_learn_merged(nct_adapt *adapt, const nct_tree *tree, const nct_accepted *accepted);
/** Seconds that a drafter read the text for, without a guess. */
void nct_adapt_lost(nct_adapt *adapt, double seconds);

/** Sets a tree's scores to what experience says of its edges. */
void nct_adapt_believe(const nct_adapt *adapt, nct_tree *tree);

/** Believes, puts in order, and cuts to what pays. */
void nct_adapt_choose(nct_adapt *adapt, nct_tree *tree);

/** A round was verified: every round, with or without a guess. seconds: of the round but for the drafting. */
void nct_adapt_learn(nct_adapt *adapt, const nct_tree *tree, const nct_accepted *accepted, double seconds);

/** Tokens in the time of one plain step, of late: what guessing gains while it guesses. */
double nct_adapt_rate(const nct_adapt *adapt);

/** What an answer after this one may risk from its beginning, in plain steps: what is left, at most NCT_ADAPT_RISK. */
double nct_adapt_earned(const nct_adapt *adapt);

/** Of this answer so far, in plain steps: what was lost against plain decoding, negative where guessing gained, and what
 *  went by. */
double nct_adapt_loss(const nct_adapt *adapt);
double nct_adapt_elapsed(const nct_adapt *adapt);

/** Of this answer so far: the time plain decoding would have taken for each second it took; 1 where nothing was
 *  guessed. */
double nct_adapt_gain(const nct_adapt *adapt);

#endif
