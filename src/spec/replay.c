#include "spec/replay.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"

/* ------------------------------------------------------------------ odds */

static const char EXPECTED[] = "expected probabilities, such as 0.7,0.6 or 0.6:0.2,0.5;0.3~0.5";

/* A probability at *text, which moves on. */
static bool take_share(const char **text, double *p) {
    char *end;
    if (**text != '.' && (**text < '0' || **text > '9'))
        return false;
    *p = strtod(*text, &end);
    if (end == *text || !(*p >= 0 && *p <= 1))
        return false;
    *text = end;
    return true;
}

static bool take_ranks(const char **text, double p[NCT_ODDS_RANKS]) {
    double sum = 0;
    for (size_t r = 0; r < NCT_ODDS_RANKS; r++) {
        if (!take_share(text, &p[r]))
            return false;
        sum += p[r];
        if (**text != ':')
            return sum <= 1 + 1e-9;
        ++*text;
    }
    return false;
}

static bool take_phase(const char **text, nct_odds *o) {
    size_t at = o->n_phases++;
    for (size_t d = 0; d < NCT_ODDS_DEPTHS; d++) {
        if (!take_ranks(text, o->p[at][d]))
            return false;
        o->n_depths[at] = d + 1;
        if (**text != ',')
            return true;
        ++*text;
    }
    return false;
}

nct_status nct_odds_parse(const char *text, nct_odds *odds, nct_error *err) {
    nct_odds o = {0};
    const char *at = text;
    bool good = true, more = true;
    while (good && more) {
        good = o.n_phases < NCT_ODDS_PHASES && take_phase(&at, &o);
        more = good && *at == ';';
        at += more;
    }
    if (good && *at == '~') {
        at++;
        good = take_share(&at, &o.shared);
    }
    if (!good || *at)
        return nct_fail(err, NCT_E_ARGUMENT, "%s: %s", text, EXPECTED);
    *odds = o;
    return NCT_OK;
}

/* What is stated where a guess at `depth` after `root` is made. */
static const double *stated(const nct_replay_text *t, size_t root, size_t depth) {
    const nct_odds *o = t->odds;
    size_t n = t->n > t->first ? t->n - t->first : 1, at = root + depth > t->first ? root + depth - t->first : 0,
           phase = at * o->n_phases / n;
    phase = phase < o->n_phases ? phase : o->n_phases - 1;
    return o->p[phase][depth < o->n_depths[phase] ? depth - 1 : o->n_depths[phase] - 1];
}

size_t nct_replay_rank(const nct_replay_text *t, size_t root, size_t depth) {
    const double *p = stated(t, root, depth);
    size_t luck = root; /* the position whose luck is shared */
    while (luck > 0 && nct_rng_uniform(t->seed, 0, luck, 0) < t->odds->shared)
        luck--;
    double u = nct_rng_uniform(t->seed, 1, luck, (uint32_t)depth);
    for (size_t r = 0; r < NCT_ODDS_RANKS; r++)
        if ((u -= p[r]) < 0)
            return r;
    return NCT_ODDS_RANKS;
}

double nct_replay_said(const nct_replay_text *t, size_t root, size_t depth, size_t rank) {
    double p = rank < NCT_ODDS_RANKS ? stated(t, root, depth)[rank] : 0;
    return p > 0 ? p : exp(-16 - (double)rank);
}

/* ------------------------------------------------------------------ the drafter */

typedef struct replay {
    const nct_drafter *inner;
    void *state;
    nct_replay_text text;
    size_t n_pairs;
} replay;

static int32_t truth(const replay *k, size_t position) {
    return position < k->text.n ? k->text.token[position] : -1;
}

/* Whether all tokens on the way to a candidate are those of the text. */
static bool is_right(const replay *k, const nct_beam *b, size_t candidate) {
    for (;;) {
        if (b->token[candidate] != truth(k, k->n_pairs + b->depth[candidate]))
            return false;
        if (b->parent[candidate] == NCT_BEAM_ROOT)
            return true;
        candidate = b->parent[candidate];
    }
}

/* Guesses of one row: distinct, and right at one rank at most. */
static void overrule_row(const replay *k, bool right, size_t depth, size_t width, int32_t *token,
                         float *log_q) {
    int32_t true_token = truth(k, k->n_pairs + depth), wrong = 0;
    size_t rank = right && true_token >= 0 ? nct_replay_rank(&k->text, k->n_pairs, depth) : NCT_ODDS_RANKS;
    double least = 1;
    for (size_t r = 0; r < width; r++) {
        wrong += wrong == true_token;
        token[r] = r == rank ? true_token : wrong++;
        least = fmin(least, nct_replay_said(&k->text, k->n_pairs, depth, r)); /* in order, whatever is stated */
        log_q[r] = (float)log(least);
    }
}

static void overrule(void *context, const nct_beam *beam, size_t n, size_t width, int32_t *token,
                     float *log_q) {
    const replay *k = context;
    for (size_t r = 0; r < n; r++)
        overrule_row(k, !beam || is_right(k, beam, beam->slot[r]), beam ? beam->level + 1 : 1, width,
                     token + r * width, log_q + r * width);
}

static nct_status replay_propose(void *state, const nct_exec *exec, const nct_ask *ask, nct_tree *tree,
                                 size_t *n_passes, nct_error *err) {
    replay *k = state;
    nct_ask stating = *ask;
    stating.overrule = overrule;
    stating.overruler = k;
    return k->inner->propose(k->state, exec, &stating, tree, n_passes, err);
}

static nct_status replay_observe(void *state, const nct_exec *exec, const nct_pairs *pairs, nct_error *err) {
    replay *k = state;
    NCT_TRY(k->inner->observe(k->state, exec, pairs, err));
    k->n_pairs = pairs->first + pairs->n;
    return NCT_OK;
}

static void replay_rewind(void *state, size_t n_pairs) {
    replay *k = state;
    k->inner->rewind(k->state, n_pairs);
    k->n_pairs = n_pairs < k->n_pairs ? n_pairs : k->n_pairs;
}

static void replay_close(void *state) {
    replay *k = state;
    if (!k)
        return;
    k->inner->close(k->state);
    nct_free(k);
}

static nct_status refuse(const void *weights, const nct_draft_target *target, const nct_draft_options *options,
                         void **state, nct_error *err) {
    (void)weights;
    (void)target;
    (void)options;
    (void)state;
    return nct_fail(err, NCT_E_ARGUMENT, "the drafter 'replay' works in noctule bench spec alone");
}

#define REPLAY(kind)                                                                                             \
    {                                                                                                            \
        .name = "replay", .brief = "a head whose guesses are stated: noctule bench spec --replay", .row = kind,  \
        .open = refuse, .observe = replay_observe, .propose = replay_propose, .rewind = replay_rewind,           \
        .close = replay_close                                                                                    \
    }

const nct_drafter nct_drafter_replay = REPLAY(NCT_ROW_HIDDEN);
static const nct_drafter replay_taps = REPLAY(NCT_ROW_TAPS);

nct_status nct_replay_open(const nct_drafter *inner, const void *weights, const nct_draft_target *target,
                           const nct_replay_text *text, const nct_drafter **drafter, void **state,
                           nct_error *err) {
    void *p = NULL;
    assert(inner->row != NCT_ROW_NONE && text->odds);
    NCT_TRY(nct_alloc(&p, 1, sizeof(replay), err));
    replay *k = p;
    k->inner = inner;
    k->text = *text;
    nct_status status = inner->open(weights, target, NULL, &k->state, err);
    if (status != NCT_OK) {
        nct_free(k);
        return status;
    }
    *drafter = inner->row == NCT_ROW_TAPS ? &replay_taps : &nct_drafter_replay;
    *state = k;
    return NCT_OK;
}
