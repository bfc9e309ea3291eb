#include "spec/adapt.h"

#include <assert.h>
#include <math.h>
#include <string.h>

static const double DECAY = 0.998, /* of experience, each round */
    RECENT = 0.95,                 /* of surprises, each round */
    CHANGE = 3,                    /* standard deviations that are no accident */
    AFTER_CHANGE = 8,              /* trials that count afterwards */
    PRIOR_WEIGHT = 2,              /* trials that the prior counts as .. */
    ABOVE_WEIGHT = 8,              /* .. and what was counted one level above */
    PAYS = 1.03,                   /* the gain below which guessing stops */
    LOSS = 0.01,                   /* of the time since the prompt */
    WINDOW = 64, WINDOW_FIRST = 4, /* rounds that the gain is taken over */
    HOPELESS = 0.002,              /* a node less likely has no place, even where it seems to cost nothing */
    HOPE = 1,           /* standard deviations by which a size is taken to be cheaper than it seems .. */
    HOPE_TRIAL = 2,     /* .. now and then */
    USUAL_PASS = 0.07,  /* a pass of the draft in plain steps, until measured */
    PASS_NOISE = 0.1,   /* of a draft's time */
    PASS_DRIFT = 0.005, /* of what a pass takes, each round */
    BRANCHES = 0.05,    /* of trees, below which drafts are paths */
    HOPE_DEEPER = 1.3,  /* by which a level may be better than it seems, now and then */
    STALE = 0.98,       /* what is known of a level that was not drafted, each round */
    LEVEL_MEMORY = 24,  /* trees that a level's worth is the mean of */
    LEVEL_PRIOR = 2;    /* trees that a guess from the level above counts as */

enum { JUDGED_AFTER = 64, PROBE = 8, TRIAL_EVERY = 4, PLAIN_EVERY = 32, BRANCH_EVERY = 16, DEEPER_EVERY = 8 };

/* ------------------------------------------------------------------ experience */

static double believe(const nct_tally *t, double prior, double weight) {
    return (t->hits + weight * prior) / (t->trials + weight);
}

/* What is not known of deeper guesses is taken to be as it is one level above. */
static double belief(const nct_adapt *a, uint8_t edge) {
    bool top = edge % NCT_EDGE_DEPTHS == 0;
    return top ? believe(&a->edge[edge], (double)nct_edge_prior(edge), PRIOR_WEIGHT)
               : believe(&a->edge[edge], belief(a, (uint8_t)(edge - 1)), ABOVE_WEIGHT);
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
    size_t at = depth_class(tree->depth[node] + 1u);
    bool asked = false, any = false;
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
        if (!nct_edge_is_model(tree->edge[i]) &&
            !(tree->also[i] && nct_edge_is_model((uint8_t)(tree->also[i] - 1))))
            continue; /* levels are the network's */
        asked = true;
        any |= hit;
    }
    if (asked)
        count(&a->any[at], any);
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
        shorten(a->any, NCT_EDGE_DEPTHS);
        a->surprise = a->surprise_variance = 0;
    }
    a->surprise *= RECENT;
    a->surprise_variance *= RECENT * RECENT;
}

static void count_round(nct_adapt *a, const nct_tree *tree, const nct_accepted *accepted) {
    fade(a->edge, NCT_EDGES);
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
    double rate = (a->promised + 1) / (a->promised_time + 1);
    return rate > 1 ? rate : 1;
}

/* By what the table says now of all rounds of the answer, not by the clock of each: what disturbs the machine is not the
 * guess's fault, and what is known better later corrects the account. */
double nct_adapt_loss(const nct_adapt *a) {
    double steps = a->draft_steps + (a->other_s > 0 ? a->other_s / nct_cost_plain(&a->cost) : 0);
    for (size_t i = 0; i < NCT_COST_SIZES; i++)
        steps += a->n_of_size[i] * a->cost.ratio[i];
    return steps - (double)a->n_guessed_tokens;
}

double nct_adapt_elapsed(const nct_adapt *a) {
    return nct_adapt_loss(a) + (double)(a->n_guessed_tokens + a->n_plain_tokens);
}

double nct_adapt_gain(const nct_adapt *a) {
    double elapsed = nct_adapt_elapsed(a);
    return elapsed > 0 ? 1 - nct_adapt_loss(a) / elapsed : 1;
}

static double pass_cost(const nct_adapt *a) { return a->pass.each > 0 ? a->pass.each : USUAL_PASS; }

static double passes_cost(const nct_adapt *a, size_t n) { return a->pass.begin + (double)n * pass_cost(a); }

/* Of the beam: a tree of few nodes has no place for a node's worse children. */
static size_t width(const nct_adapt *a) { return a->n_last <= 3 ? 3 : a->n_last <= 16 ? 5 : 8; }

static bool trial_round(const nct_adapt *a) { return a->n_guessed_rounds % TRIAL_EVERY == TRIAL_EVERY - 1; }

/* Whether second guesses of a token may pay, or now and then, whether they do. */
static bool may_branch(const nct_adapt *a) {
    return a->n_chosen < BRANCH_EVERY || a->branching >= BRANCHES || a->n_chosen % BRANCH_EVERY == 0;
}

/* What a size may cost: what was seldom measured looks cheap, so that it is tried. */
static double hoped(const nct_adapt *a, size_t n) {
    return nct_cost_hoped(&a->cost, n, a->n_last ? a->n_last : 1, trial_round(a) ? HOPE_TRIAL : HOPE);
}

/* What is left of the account, in plain steps. */
static double credit(const nct_adapt *a) {
    return LOSS * nct_adapt_elapsed(a) - nct_adapt_loss(a) + a->earned;
}

double nct_adapt_earned(const nct_adapt *a) { return fmin(fmax(credit(a), 0), NCT_ADAPT_RISK); }

/* How likely a node's children are to hold together, by their depth; what is not known of deeper ones is as above. */
static double any_belief(const nct_adapt *a, size_t depth) {
    double p = 0.5;
    for (size_t d = 0; d <= depth_class(depth); d++)
        p = believe(&a->any[d], p, d ? ABOVE_WEIGHT : PRIOR_WEIGHT);
    return p;
}

/* What a level may be worth, from the trees that had it and, the fewer these, from the one above. */
static double level_worth(const nct_adapt *a, size_t depth) {
    double worth = a->level[0].worth;
    for (size_t d = 2; d <= depth; d++) {
        const nct_draft_level *l = &a->level[d - 1 < NCT_ADAPT_LEVELS ? d - 1 : NCT_ADAPT_LEVELS - 1];
        double like_above = worth * any_belief(a, d);
        worth = (l->n * l->worth + LEVEL_PRIOR * like_above) / (l->n + LEVEL_PRIOR);
    }
    return worth;
}

/* Whether the level is worth its pass. The draft's own probabilities along its best path are taken as alike; a path that
 * is believed in more than was usual promises more. */
static bool deeper(void *context, size_t depth, float score) {
    assert(depth > 1 && depth < NCT_TREE_MAX);
    nct_adapt *a = context;
    double now = 1, pass = pass_cost(a);
    for (size_t d = 1; d < depth; d++)
        now *= belief(a, nct_edge_model(score / (float)(depth - 1), d));
    size_t at = (depth < NCT_ADAPT_LEVELS ? depth : NCT_ADAPT_LEVELS) - 1;
    double reach = a->level[at].n > 0.5 ? a->level[at].reach : now;
    a->reach[at] = now;
    if (passes_cost(a, depth) + nct_cost_ratio(&a->cost, depth + 1) - 1 > credit(a))
        return false; /* a path so long could not be paid for */
    double hope =
        a->n_chosen % DEEPER_EVERY == 0 ? HOPE_DEEPER : 1; /* or what is not drafted is never known better */
    return hope * level_worth(a, depth) * now / fmax(reach, 1e-6) > nct_adapt_rate(a) * pass;
}

bool nct_adapt_ask(nct_adapt *a, nct_ask *ask) {
    a->n_passes = 0;
    a->draft_s = 0;
    double doubt = nct_cost_doubt_between(&a->cost, a->n_last ? a->n_last : 2, 1);
    bool known = nct_cost_plain_doubt(&a->cost) < 1 &&
                 (a->n_since_plain < a->plain_every || nct_adapt_rate(a) * exp(-2 * doubt) >= PAYS);
    a->asked = known && a->state != NCT_ADAPT_PAUSED &&
               (a->free ? 0 : passes_cost(a, 1)) + nct_cost_ratio(&a->cost, 2) - 1 <= credit(a);
    if (!a->asked)
        return false;
    a->wide = may_branch(a);
    *ask = (nct_ask){.n_max = inexperienced(a) ? 2 : NCT_TREE_MAX,
                     .depth_max = NCT_TREE_MAX - 1,
                     .width = a->wide ? width(a) : 1,
                     .deeper = deeper,
                     .context = a};
    nct_adapt_ask_merged(a, ask);
    return true;
}

void nct_adapt_drafted(nct_adapt *a, size_t n_passes, double seconds) {
    a->n_passes += n_passes;
    a->draft_s += seconds;
}

/* Plain steps that this round's drafting took. */
static double drafting(const nct_adapt *a) {
    return a->n_passes > 0 ? passes_cost(a, a->n_passes) : a->draft_s / nct_cost_plain(&a->cost);
}

void nct_adapt_know_pass(nct_adapt *a, double each) {
    a->pass = (nct_passes){.each = each, .spread_begin = 0.02 * 0.02, .spread_each = 0.04 * each * each};
}

/* Beside the same round's check: the machine was as fast for both. Drafts of one pass and of several tell the beginning
 * from the passes (a Kalman filter of two). */
static void learn_pass(nct_adapt *a, double plain_s) {
    double n = (double)a->n_passes, steps = a->draft_s / plain_s;
    nct_passes *p = &a->pass;
    if (a->n_passes == 0 || !(steps > 0) || !(steps < INFINITY))
        return;
    if (p->each <= 0)
        *p = (nct_passes){
            .each = steps / n, .spread_begin = 0.03 * 0.03, .spread_each = steps * steps / (n * n)};
    double gb = p->spread_begin + n * p->spread_both,
           ge = p->spread_both + n * p->spread_each, /* with the sum */
        known = gb + n * ge, noise = PASS_NOISE * passes_cost(a, a->n_passes),
           variance = known + noise * noise, off = steps - passes_cost(a, a->n_passes),
           far = 3 * sqrt(variance);
    off = off > far ? far : off < -far ? -far : off;
    p->begin = fmax(p->begin + gb / variance * off, 0);
    p->each = fmax(p->each + ge / variance * off, 0.1 * p->each);
    p->spread_begin += PASS_DRIFT * PASS_DRIFT - gb * gb / variance;
    p->spread_each += PASS_DRIFT * PASS_DRIFT * p->each * p->each - ge * ge / variance;
    p->spread_both -= gb * ge / variance;
}

/* The best size of those nodes of a sorted tree that passes up to `depth` guess, and what it is worth. */
static size_t best_size(const nct_adapt *a, const nct_tree *tree, size_t depth, size_t least,
                        size_t most_nodes, double rate, double *worth) {
    bool kept[NCT_TREE_MAX] = {true};
    double sum = 0;
    size_t n = 1, t = 0;
    *worth = -INFINITY;
    for (size_t i = 0; i < tree->n && t < most_nodes; i++) {
        kept[i] =
            i == 0 || (kept[tree->parent[i]] && (tree->edge[i] >= NCT_EDGE_COPY || tree->depth[i] <= depth));
        if (!kept[i])
            continue;
        sum += exp((double)tree->score[i]);
        t++;
        double now = sum - rate * hoped(a, t);
        if (now > *worth || t <= least) {
            *worth = now;
            n = t;
        }
    }
    return n;
}

static bool branches(const nct_tree *tree, size_t n) {
    uint64_t has_child = 0;
    for (size_t i = 1; i < n; i++) {
        uint64_t parent = (uint64_t)1 << tree->parent[i];
        if (nct_edge_is_model(tree->edge[i]) && (has_child & parent))
            return true;
        has_child |= parent;
    }
    return false;
}

/* What each level that was drafted is worth, and that less and less is known of the others. */
static void learn_levels(nct_adapt *a, const nct_tree *tree, double rate) {
    double above, worth;
    best_size(a, tree, 0, 1, NCT_TREE_MAX, rate, &above);
    for (size_t d = 1; d <= NCT_ADAPT_LEVELS; d++) {
        nct_draft_level *l = &a->level[d - 1];
        if (d > a->n_passes) {
            l->n *= STALE;
            continue;
        }
        best_size(a, tree, d, 1, NCT_TREE_MAX, rate, &worth);
        l->n = fmin(l->n + 1, LEVEL_MEMORY);
        l->worth += (worth - above - l->worth) / l->n;
        l->reach += ((d > 1 ? a->reach[d - 1] : 1) - l->reach) / l->n;
        above = worth;
    }
}

/* Nodes that the account can bear though none of them comes true: two at least, which were reckoned with before the draft
 * was asked. */
static size_t affordable(const nct_adapt *a, size_t n) {
    double left = 1 + credit(a) - drafting(a);
    while (n > 2 && nct_cost_ratio(&a->cost, n) * exp(nct_cost_doubt_between(&a->cost, n, 1)) > left)
        n--;
    return n;
}

static double expected(const nct_tree *tree, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += exp((double)tree->score[i]);
    return sum;
}

void nct_adapt_choose(nct_adapt *a, nct_tree *tree) {
    nct_adapt_believe(a, tree);
    nct_tree_sort(tree);
    bool first = inexperienced(a);
    double rate = nct_adapt_rate(a), worth;
    size_t most_nodes = affordable(a, first ? 2 : NCT_TREE_MAX),
           least = first || a->state == NCT_ADAPT_PROBING ? 2 : 1;
    while (!trial_round(a) && tree->n > least && exp((double)tree->score[tree->n - 1]) < HOPELESS)
        tree->n--;
    if (!first && a->n_passes > 0)
        learn_levels(a, tree, rate);
    size_t n = best_size(a, tree, NCT_TREE_MAX, least, most_nodes, rate, &worth);
    /* The first trees are smaller than those to come: they are soon forgotten. */
    double keep = 1 - 1 / fmin(WINDOW, WINDOW_FIRST + 0.5 * (double)a->n_chosen++);
    a->promised = a->promised * keep + expected(tree, n);
    a->promised_time = a->promised_time * keep + nct_cost_ratio(&a->cost, n) + drafting(a);
    a->n_last = n;
    a->passes_last = a->n_passes;
    if (a->wide && a->n_passes > 0 && !first)
        a->branching += ((branches(tree, n) ? 1 : 0) - a->branching) / 4;
    nct_tree_cut(tree, n);
}

/* ------------------------------------------------------------------ whether at all */

static void enter(nct_adapt *a, nct_adapt_state state) {
    a->state = state;
    a->n_rounds = 0;
    if (state == NCT_ADAPT_PAUSED) {
        a->pause_left = a->pause;
        if (!a->free) /* drafts that cost nothing are tried again soon */
            a->pause = 2 * a->pause < NCT_ADAPT_PAUSE_MAX ? 2 * a->pause : NCT_ADAPT_PAUSE_MAX;
    } else if (state == NCT_ADAPT_PROBING) { /* what was counts as much as the rounds to come */
        double keep = a->time > PROBE ? PROBE / a->time : 1;
        a->tokens *= keep;
        a->time *= keep;
    } else {
        a->pause = NCT_ADAPT_PAUSE;
    }
}

static void judge(nct_adapt *a) {
    bool pays = a->tokens >= PAYS * a->time || a->promised >= PAYS * a->promised_time;
    if (a->state == NCT_ADAPT_ON && a->n_rounds >= JUDGED_AFTER && !pays)
        enter(a, NCT_ADAPT_PAUSED);
    else if (a->state == NCT_ADAPT_PROBING && a->n_rounds >= PROBE)
        enter(a, pays ? NCT_ADAPT_ON : NCT_ADAPT_PAUSED);
}

void nct_adapt_learn(nct_adapt *a, const nct_tree *tree, const nct_accepted *accepted, double seconds) {
    double tokens = (double)accepted->n;
    if (tree->n == 1 && a->n_since_plain >= a->plain_every)
        a->plain_every = a->plain_every < PLAIN_EVERY / 2 ? 2 * a->plain_every : PLAIN_EVERY;
    a->n_since_plain = tree->n == 1 ? 0 : a->n_since_plain + 1;
    nct_cost_observe(&a->cost, tree->n, seconds);
    count_round(a, tree, accepted);
    nct_adapt_learn_merged(a, tree, accepted);
    if (a->asked && (tree->n > 1 || a->n_passes > 0)) {
        learn_pass(a, seconds / nct_cost_ratio(&a->cost, tree->n));
        double draft_steps = drafting(a), time = nct_cost_ratio(&a->cost, tree->n) + draft_steps;
        a->n_of_size[nct_cost_index(tree->n)]++;
        a->draft_steps += draft_steps;
        a->tokens += tokens - a->tokens / WINDOW;
        a->time += time - a->time / WINDOW;
        a->n_rounds++;
        a->n_guessed_rounds++;
        a->n_guessed_tokens += accepted->n;
        a->free = a->n_passes == 0;
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
    *a = (nct_adapt){.pause = NCT_ADAPT_PAUSE, .earned = NCT_ADAPT_RISK, .plain_every = 2};
    nct_cost_init(&a->cost, NULL, NULL);
    nct_adapt_begin(a, 0, 0);
}

void nct_adapt_begin(nct_adapt *a, double draft_s, double prompt_s) {
    a->earned = nct_adapt_earned(a);
    memset(a->n_of_size, 0, sizeof a->n_of_size);
    a->draft_steps = 0;
    a->other_s = fmax(0, draft_s - LOSS * prompt_s);
    a->n_guessed_rounds = a->n_guessed_tokens = a->n_plain_tokens = 0;
    a->asked = false;
}
