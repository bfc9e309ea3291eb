/** A target and a draft that exist on paper: what a round costs and what it accepts are stated, so that what the
 *  adaptation makes of them can be compared with every fixed choice. Times are in plain steps.
 *
 *  The right token of position i is 1000 + i, wrong ones are negative. After a right token the draft has the right one at
 *  rank r with probability hit[r], drawn by position alone, so that all ways of guessing meet the same text. */
#ifndef NCT_TEST_SIMULATED_H
#define NCT_TEST_SIMULATED_H

#include <math.h>

#include "base/rng.h"
#include "spec/adapt.h"

enum { SIM_RANKS = 8 };

typedef struct sim_world {
    double cost[NCT_TREE_MAX + 1]; /* of verifying so many rows; [1] is 1 */
    double pass;                   /* a run of the draft */
    double step_s;                 /* seconds of a plain step */
    double noise;                  /* relative deviation of every time */
    double dwell;           /* plain steps between changes of the machine's speed to half and back; 0: none */
    double spikes;          /* share of times that are longer by up to their own length */
    double hit[SIM_RANKS];  /* by rank; the rest is a miss of all */
    double said[SIM_RANKS]; /* what the draft says about it */
    double late_hit[SIM_RANKS]; /* the same from position `late` on */
    double late_said[SIM_RANKS];
    size_t late;
    uint64_t seed;
} sim_world;

typedef struct sim_result {
    size_t n_tokens, n_rounds, n_nodes, n_passes;
    double time;
    double
        overdrawn; /* the most plain steps by which the loss ever exceeded 1 % of the time and what may be risked */
} sim_result;

static inline double sim_noisy(const sim_world *w, uint64_t round, uint32_t what, double time) {
    double sum = 0;
    for (uint32_t i = 0; i < 4; i++)
        sum += nct_rng_uniform(w->seed, 9, round, 4 * what + i) - 0.5;
    double spike =
        nct_rng_uniform(w->seed, 10, round, what) < w->spikes ? nct_rng_uniform(w->seed, 11, round, what) : 0;
    return time * exp(w->noise * sum * sqrt(3)) * (1 + spike);
}

/* How much longer everything takes after so many steps, while the machine does something else too. */
static inline double sim_mood(const sim_world *w, double time) {
    double at = 0;
    uint64_t i = 0;
    for (; w->dwell > 0 && at <= time; i++)
        at -= w->dwell * log(nct_rng_uniform(w->seed, 12, i, 0) + 1e-9);
    return i % 2 == 0 ? 1 : 2;
}

/* The rank of the right token at a position: SIM_RANKS if it is not among the draft's. */
static inline size_t sim_rank(const sim_world *w, size_t position) {
    const double *hit = position >= w->late ? w->late_hit : w->hit;
    double u = nct_rng_uniform(w->seed, 8, position, 0);
    for (size_t r = 0; r < SIM_RANKS; r++)
        if ((u -= hit[r]) < 0)
            return r;
    return SIM_RANKS;
}

static inline void sim_children(const sim_world *w, size_t position, bool right, size_t k, int32_t *token,
                                float *log_q) {
    size_t rank = right ? sim_rank(w, position) : SIM_RANKS;
    const double *said = position >= w->late ? w->late_said : w->said;
    for (size_t r = 0; r < k; r++) {
        token[r] = r == rank ? 1000 + (int32_t)position : -1 - (int32_t)r;
        log_q[r] = r < SIM_RANKS && said[r] > 0 ? (float)log(said[r]) : -20 - (float)r;
    }
}

/* Grows a tree after `position`; counts passes. */
static inline size_t sim_draft(const sim_world *w, size_t position, const nct_ask *ask, nct_tree *tree) {
    int32_t token[NCT_BEAM_WIDTH * NCT_BEAM_WIDTH];
    float log_q[NCT_BEAM_WIDTH * NCT_BEAM_WIDTH];
    nct_beam b;
    size_t n_passes = 1, k = ask->width;
    sim_children(w, position + 1, true, k, token, log_q);
    nct_beam_begin(&b, k, token, log_q);
    while (nct_beam_more(&b) && b.level < ask->depth_max &&
           (!ask->deeper || ask->deeper(ask->context, b.level + 1, nct_beam_score(&b, 0)))) {
        for (size_t r = 0; r < k; r++)
            sim_children(w, position + b.level + 1,
                         nct_beam_token(&b, r) == 1000 + (int32_t)(position + b.level), k, token + r * k,
                         log_q + r * k);
        nct_beam_expand(&b, token, log_q);
        n_passes++;
    }
    nct_beam_tree(&b, 1000 + (int32_t)position, ask->n_max, tree);
    return n_passes;
}

static inline nct_status sim_choose(void *context, size_t node, const int32_t *token, size_t n,
                                    int32_t *chosen, bool *stop, nct_error *err) {
    const size_t *position = context;
    (void)node;
    (void)token;
    (void)err;
    *chosen = 1000 + (int32_t)(*position + n + 1);
    *stop = false;
    return NCT_OK;
}

/* n tokens with the same shape in each round: width, depth, nodes. */
static inline sim_result sim_fixed(const sim_world *w, size_t n, size_t width, size_t depth, size_t n_nodes) {
    sim_result s = {0};
    nct_ask ask = {.n_max = n_nodes, .depth_max = depth, .width = width};
    for (size_t position = 0; position < n; s.n_rounds++) {
        nct_tree tree;
        nct_accepted a;
        nct_tree_init(&tree, 1000 + (int32_t)position);
        if (n_nodes > 1)
            s.time += sim_noisy(w, s.n_rounds, 0, w->pass * (double)sim_draft(w, position, &ask, &tree));
        nct_verify(&tree, sim_choose, &position, &a, NULL);
        s.time += sim_noisy(w, s.n_rounds, 1, w->cost[tree.n]);
        position += a.n;
        s.n_tokens = position;
        s.n_nodes += tree.n;
    }
    return s;
}

/* The same, as `adapt` has it. */
static inline sim_result sim_adaptive(const sim_world *w, size_t n, nct_adapt *adapt) {
    sim_result s = {0};
    double real = 0; /* time without noise */
    nct_adapt_begin(adapt, 0, 0);
    for (size_t position = 0; position < n; s.n_rounds++) {
        double clock = w->step_s * sim_mood(w, s.time);
        nct_tree tree;
        nct_ask ask;
        nct_accepted a;
        nct_tree_init(&tree, 1000 + (int32_t)position);
        if (nct_adapt_ask(adapt, &ask)) {
            size_t n_passes = sim_draft(w, position, &ask, &tree);
            double time = sim_noisy(w, s.n_rounds, 0, w->pass * (double)n_passes);
            nct_adapt_drafted(adapt, n_passes, time * clock);
            nct_adapt_choose(adapt, &tree);
            s.n_passes += n_passes;
            s.time += time;
            real += w->pass * (double)n_passes;
        }
        nct_verify(&tree, sim_choose, &position, &a, NULL);
        double time = sim_noisy(w, s.n_rounds, 1, w->cost[tree.n]);
        nct_adapt_learn(adapt, &tree, &a, time * clock);
        s.time += time;
        real += w->cost[tree.n];
        position += a.n;
        s.n_tokens = position;
        s.n_nodes += tree.n;
        s.overdrawn = fmax(s.overdrawn, real - (double)s.n_tokens - 0.01 * real - adapt->earned);
    }
    return s;
}

typedef struct sim_shape {
    size_t width, depth, n_nodes;
} sim_shape;

/* Of all fixed shapes, the one with the most tokens in the time; one node if that is plain decoding. */
static inline sim_shape sim_best_fixed(const sim_world *w, size_t n) {
    static const size_t width[] = {1, 3, 5}, depth[] = {1, 2, 3, 4, 5, 7, 9, 11};
    sim_shape best = {1, 1, 1};
    double most = 1;
    for (size_t k = 0; k < 3; k++)
        for (size_t d = 0; d < 8; d++)
            for (size_t t = 1; t < NCT_COST_SIZES && nct_cost_size[t] <= 32; t++) {
                sim_shape shape = {width[k], depth[d], nct_cost_size[t]};
                size_t n_candidates = shape.width + shape.width * shape.width * (shape.depth - 1);
                if (nct_cost_size[t - 1] > n_candidates) /* the same as with fewer nodes */
                    break;
                sim_result s = sim_fixed(w, n, shape.width, shape.depth, shape.n_nodes);
                if ((double)s.n_tokens > most * s.time) {
                    most = (double)s.n_tokens / s.time;
                    best = shape;
                }
            }
    return best;
}

#endif
