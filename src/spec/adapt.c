#include "spec/adapt.h"

#include <assert.h>
#include <math.h>

static const double DECAY = 0.998, /* of experience, each round */
    RECENT = 0.95,                 /* of surprises, each round */
    CHANGE = 3,                    /* standard deviations that are no accident */
    AFTER_CHANGE = 8,              /* trials that count afterwards */
    PRIOR_WEIGHT = 2,              /* trials that the prior counts as */
    PAYS = 1.03,                   /* the gain below which guessing stops */
    LOSS = 0.01,                   /* of the time since the prompt */
    LOAN = 100,                    /* plain steps that the prompt's end counts as */
    WINDOW = 64,                   /* rounds that the gain is taken over */
    PLAIN_DOUBT = 0.04,            /* plain steps are measured again when known no better than this */
    HOPELESS = 0.002,              /* a node less likely has no place, even where it seems to cost nothing */
    UNSURE = 0.12,                 /* deviation of a size's cost above which it is worth a trial */
    USUAL_PASS = 0.07;             /* a pass of the draft in plain steps, until measured */

enum { JUDGED_AFTER = 32, PROBE = 8, TRIAL_EVERY = 8 };

/* ------------------------------------------------------------------ experience */

static double believe(const nct_tally *t, double prior) {
    return (t->hits + PRIOR_WEIGHT * prior) / (t->trials + PRIOR_WEIGHT);
}

/* What is not known of deeper guesses is taken to be as it is one level above. */
static double belief(const nct_adapt *a, uint8_t edge) {
    bool top = edge % NCT_EDGE_DEPTHS == 0;
    return believe(&a->edge[edge], top ? (double)nct_edge_prior(edge) : belief(a, (uint8_t)(edge - 1)));
}

void nct_adapt_believe(const nct_adapt *a, nct_tree *tree) {
    for (size_t i = 1; i < tree->n; i++)
        tree->score[i] = tree->score[tree->parent[i]] + (float)log(belief(a, tree->edge[i]));
}

static size_t depth_class(size_t depth) { return (depth < NCT_EDGE_DEPTHS ? depth : NCT_EDGE_DEPTHS) - 1; }

static void count(nct_tally *t, bool hit) {
    double keep = t->trials + 1 > NCT_ADAPT_MEMORY ? (NCT_ADAPT_MEMORY - 1) / t->trials : 1;
    t->trials = t->trials * keep + 1;
    t->hits = t->hits * keep + hit;
}

/* Guesses whose parent was accepted came true or not; of the others nothing is known. */
static void count_children(nct_adapt *a, const nct_tree *tree, size_t node, int32_t chosen) {
    size_t first = 0, at = depth_class(tree->depth[node] + 1u); /* the first child is the likeliest */
    bool best = false, any = false;
    for (size_t i = node + 1; i < tree->n; i++) {
        if (tree->parent[i] != node)
            continue;
        bool hit = tree->token[i] == chosen;
        double p = belief(a, tree->edge[i]);
        a->surprise += hit - p;
        a->surprise_variance += p * (1 - p);
        count(&a->edge[tree->edge[i]], hit);
        if (tree->also[i])
            count(&a->edge[tree->also[i] - 1], hit);
        if (!nct_edge_is_model(tree->edge[i]) && !(tree->also[i] && nct_edge_is_model((uint8_t)(tree->also[i] - 1))))
            continue; /* levels are the network's */
        first = first ? first : i;
        best |= hit && i == first;
        any |= hit;
    }
    if (first) {
        count(&a->best[at], best);
        count(&a->any[at], any);
    }
}

static void fade(nct_tally *t, size_t n) {
    for (size_t i = 0; i < n; i++) {
        t[i].trials *= DECAY;
        t[i].hits *= DECAY;
    }
}

static void shorten(nct_tally *t, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (t[i].trials > AFTER_CHANGE) {
            t[i].hits *= AFTER_CHANGE / t[i].trials;
            t[i].trials = AFTER_CHANGE;
        }
}

/* Where guesses come true much more or less often than believed, the text has changed: what was is soon forgotten. */
static void notice_change(nct_adapt *a) {
    if (a->surprise * a->surprise > CHANGE * CHANGE * (a->surprise_variance + 1)) {
        shorten(a->edge, NCT_EDGES);
        shorten(a->best, NCT_EDGE_DEPTHS);
        shorten(a->any, NCT_EDGE_DEPTHS);
        a->surprise = a->surprise_variance = 0;
    }
    a->surprise *= RECENT;
    a->surprise_variance *= RECENT * RECENT;
}

static void count_round(nct_adapt *a, const nct_tree *tree, const nct_accepted *accepted) {
    fade(a->edge, NCT_EDGES);
    fade(a->best, NCT_EDGE_DEPTHS);
    fade(a->any, NCT_EDGE_DEPTHS);
    for (size_t k = 0; k < accepted->n; k++)
        count_children(a, tree, accepted->node[k], accepted->token[k]);
    notice_change(a);
}

static bool inexperienced(const nct_adapt *a) {
    double hits = 0;
    for (size_t i = 0; i < NCT_EDGES; i++)
        hits += a->edge[i].hits;
    return hits < 0.5;
}

/* ------------------------------------------------------------------ how much */

double nct_adapt_rate(const nct_adapt *a) {
    /* A few plain steps at first; and plain decoding is always to be had. */
    double rate = (a->tokens + 4) / (a->time + 4);
    return rate > 1 ? rate : 1;
}

static double pass_cost(const nct_adapt *a) { return a->pass > 0 ? a->pass : USUAL_PASS; }

/* Of the beam: a tree of few nodes has no place for a node's worse children. */
static size_t width(const nct_adapt *a) { return a->n_last <= 3 ? 3 : a->n_last <= 16 ? 5 : 8; }

/* Now and then a size whose cost is not known is tried, since the usual costs may be far from those here; the tree may
 * be a level deeper for it. */
static bool trial_round(const nct_adapt *a) { return a->n_guessed_rounds % TRIAL_EVERY == TRIAL_EVERY - 1; }

static bool bold(const nct_adapt *a, size_t size) {
    return trial_round(a) && nct_cost_doubt(&a->cost, size) > UNSURE;
}

/* What a level more costs in verification, in plain steps: going two sizes up from a tree of the levels above it. And
 * how many rows more that is. */
static double growth_cost(const nct_adapt *a, size_t depth, double *n_rows) {
    size_t i = 0, k = width(a), above = 1 + k + (depth - 2) * k * k,
           n = above < a->n_last ? above : a->n_last;
    while (i + 3 < NCT_COST_SIZES && nct_cost_size[i] < n)
        i++;
    *n_rows = nct_cost_size[i + 2] - nct_cost_size[i];
    if (depth <= a->passes_last + 1 && bold(a, i + 2))
        return 0;
    return nct_cost_hoped(&a->cost, nct_cost_size[i + 2]) - nct_cost_hoped(&a->cost, nct_cost_size[i]);
}

/* A level pays by its likeliest node alone, at the price of a row, or by all of them, at the price of a larger tree. The
 * draft's own probabilities along the best path, the new node's too, are taken as alike; all nodes together do better
 * than the likeliest by what they usually do. */
static bool deeper(void *context, size_t depth, float score) {
    assert(depth > 1);
    const nct_adapt *a = context;
    double rows, best = 1, usual = 1, any = 1, more = growth_cost(a, depth, &rows);
    for (size_t d = 1; d <= depth; d++) {
        best *= belief(a, nct_edge_model(score / (float)(depth - 1), d));
        usual *= believe(&a->best[depth_class(d)], 0.5);
        any *= believe(&a->any[depth_class(d)], 0.5);
    }
    double rate = nct_adapt_rate(a), pass = pass_cost(a);
    return best > rate * (pass + more / rows) || any * fmin(1, best / usual) > rate * (pass + more);
}

bool nct_adapt_ask(nct_adapt *a, nct_ask *ask) {
    a->n_passes = 0;
    a->draft_s = 0;
    double doubt = nct_cost_plain_doubt(&a->cost), rate = nct_adapt_rate(a);
    bool known = doubt <= PLAIN_DOUBT || (doubt <= 3 * PLAIN_DOUBT && 3 * doubt <= rate - PAYS);
    a->asked = known && a->state != NCT_ADAPT_PAUSED &&
               a->lost_s <= LOSS * fmax(a->elapsed_s, LOAN * nct_cost_plain(&a->cost));
    if (!a->asked)
        return false;
    *ask = (nct_ask){.n_max = inexperienced(a) ? 2 : NCT_TREE_MAX,
                     .depth_max = NCT_TREE_MAX - 1,
                     .width = width(a),
                     .deeper = deeper,
                     .context = a};
    nct_adapt_ask_merged(a, ask);
    return true;
}

void nct_adapt_drafted(nct_adapt *a, size_t n_passes, double seconds) {
    a->n_passes += n_passes;
    a->draft_s += seconds;
    if (n_passes > 0 && nct_cost_plain_doubt(&a->cost) < 1) {
        double pass = seconds / (double)n_passes / nct_cost_plain(&a->cost);
        a->pass = a->pass > 0 ? a->pass + (pass - a->pass) / 16 : pass;
    }
}

static size_t next_size(size_t n) {
    size_t i = 0;
    while (i + 1 < NCT_COST_SIZES && nct_cost_size[i] <= n)
        i++;
    return i;
}

void nct_adapt_choose(nct_adapt *a, nct_tree *tree) {
    nct_adapt_believe(a, tree);
    nct_tree_sort(tree);
    bool first = inexperienced(a);
    double rate = nct_adapt_rate(a), sum = 0, most = -INFINITY;
    size_t n = 1, most_nodes = first ? 2 : NCT_TREE_MAX,
           least = first || a->state == NCT_ADAPT_PROBING ? 2 : 1;
    while (!trial_round(a) && tree->n > least && exp((double)tree->score[tree->n - 1]) < HOPELESS)
        tree->n--;
    for (size_t t = 1, size = 0; t <= tree->n && t <= most_nodes; t++) {
        sum += exp((double)tree->score[t - 1]);
        if (t != nct_cost_size[size] && t != tree->n)
            continue;
        size += t == nct_cost_size[size];
        double worth = sum - rate * nct_cost_hoped(&a->cost, t);
        if (worth > most || t <= least) {
            most = worth;
            n = t;
        }
    }
    a->n_last = n;
    if (!trial_round(a))
        a->passes_last = a->n_passes;
    if (n < most_nodes && bold(a, next_size(n)))
        n = nct_cost_size[next_size(n)];
    nct_tree_cut(tree, n);
}

/* ------------------------------------------------------------------ whether at all */

static void enter(nct_adapt *a, nct_adapt_state state) {
    a->state = state;
    a->n_rounds = 0;
    if (state == NCT_ADAPT_PAUSED) {
        a->pause_left = a->pause;
        if (a->passes_last > 0) /* drafts that cost nothing are tried again soon */
            a->pause = 2 * a->pause < NCT_ADAPT_PAUSE_MAX ? 2 * a->pause : NCT_ADAPT_PAUSE_MAX;
    } else if (state == NCT_ADAPT_PROBING) {
        a->tokens = a->time = 0;
    } else {
        a->pause = NCT_ADAPT_PAUSE;
    }
}

static void judge(nct_adapt *a) {
    bool pays = a->tokens >= PAYS * a->time;
    if (a->state == NCT_ADAPT_ON && a->n_rounds >= JUDGED_AFTER && !pays)
        enter(a, NCT_ADAPT_PAUSED);
    else if (a->state == NCT_ADAPT_PROBING && a->n_rounds >= PROBE)
        enter(a, pays ? NCT_ADAPT_ON : NCT_ADAPT_PAUSED);
}

void nct_adapt_learn(nct_adapt *a, const nct_tree *tree, const nct_accepted *accepted, double seconds) {
    double tokens = (double)accepted->n;
    nct_cost_observe(&a->cost, tree->n, seconds);
    count_round(a, tree, accepted);
    nct_adapt_learn_merged(a, tree, accepted);
    a->elapsed_s += seconds + a->draft_s;
    if (a->asked && (tree->n > 1 || a->n_passes > 0)) {
        /* By the table, not by this round's clock: what disturbs the machine is not the guess's fault. */
        double plain_s = nct_cost_plain(&a->cost),
               time = nct_cost_ratio(&a->cost, tree->n) + a->draft_s / plain_s;
        a->lost_s += (time - tokens) * plain_s;
        a->tokens += tokens - a->tokens / WINDOW;
        a->time += time - a->time / WINDOW;
        a->n_rounds++;
        a->n_guessed_rounds++;
        a->n_guessed_tokens += accepted->n;
        judge(a);
    } else {
        a->n_plain_tokens += accepted->n;
        a->pause_left -= accepted->n < a->pause_left ? accepted->n : a->pause_left;
        if (a->state == NCT_ADAPT_PAUSED && a->pause_left == 0)
            enter(a, NCT_ADAPT_PROBING);
    }
    a->asked = false;
    a->draft_s = 0;
    a->n_passes = 0;
}

void nct_adapt_init(nct_adapt *a) {
    *a = (nct_adapt){.pause = NCT_ADAPT_PAUSE};
    nct_cost_init(&a->cost, NULL, NULL);
    nct_adapt_begin(a);
}

void nct_adapt_begin(nct_adapt *a) {
    a->elapsed_s = a->lost_s = 0;
    a->n_guessed_rounds = a->n_guessed_tokens = a->n_plain_tokens = 0;
    a->asked = false;
}
