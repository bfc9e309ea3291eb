#include "spec/tree.h"

#include <assert.h>
#include <stdbool.h>
#include <string.h>

#include "spec/edge.h"

static const float HOPELESS = -1e6f; /* finite, so that differences of scores are numbers */

/* A logarithm of a probability, whatever a draft made of it. */
static float sound(float log_p) { return log_p >= 0 ? 0 : log_p >= HOPELESS ? log_p : HOPELESS; }

static float lower(float score, float most) { return score < most ? score : most; }

void nct_tree_init(nct_tree *tree, int32_t root) { *tree = (nct_tree){.n = 1, .token = {root}, .mask = {1}}; }

size_t nct_tree_find(const nct_tree *t, size_t parent, int32_t token) {
    for (size_t i = parent + 1; i < t->n; i++)
        if (t->parent[i] == parent && t->token[i] == token)
            return i;
    return 0;
}

static void put(nct_tree *t, size_t parent, int32_t token, float score, uint8_t edge, uint8_t also) {
    size_t i = t->n++;
    t->token[i] = token;
    t->parent[i] = (uint8_t)parent;
    t->depth[i] = (uint8_t)(t->depth[parent] + 1);
    t->score[i] = score;
    t->mask[i] = t->mask[parent] | (uint64_t)1 << i;
    t->edge[i] = edge;
    t->also[i] = also;
}

size_t nct_tree_add(nct_tree *t, size_t parent, int32_t token, float score, uint8_t edge) {
    assert(parent < t->n);
    score = lower(sound(score), t->score[parent]);
    size_t same = nct_tree_find(t, parent, token);
    if (same) {
        if (score > t->score[same]) {
            t->score[same] = score;
            t->edge[same] = edge;
        }
        return same;
    }
    if (t->n == NCT_TREE_MAX)
        return 0;
    put(t, parent, token, score, edge, 0);
    return t->n - 1;
}

/* ------------------------------------------------------------------ order */

/* Keeps the n best of numbered scores in `order`, best first, ties by lower number. */
static size_t best(const float *score, size_t n_scores, size_t n, uint16_t *order) {
    size_t kept = 0;
    for (size_t i = 0; i < n_scores; i++) {
        if (kept == n && (n == 0 || score[i] <= score[order[kept - 1]]))
            continue;
        size_t at = kept < n ? kept++ : kept - 1;
        for (; at > 0 && score[i] > score[order[at - 1]]; at--)
            order[at] = order[at - 1];
        order[at] = (uint16_t)i;
    }
    return kept;
}

void nct_tree_cut(nct_tree *t, size_t n) {
    uint16_t order[NCT_TREE_MAX];
    uint8_t moved[NCT_TREE_MAX];
    nct_tree old = *t;
    assert(n > 0 && t->n > 0);
    for (size_t i = 1; i < old.n; i++)
        old.score[i] = lower(sound(old.score[i]), old.score[old.parent[i]]);
    size_t kept = best(old.score, old.n, n, order);
    nct_tree_init(t, old.token[0]);
    moved[0] = 0;
    for (size_t k = 1; k < kept; k++) { /* the root is first: none is better, and it has the lowest number */
        size_t i = order[k];
        put(t, moved[old.parent[i]], old.token[i], old.score[i], old.edge[i], old.also[i]);
        moved[i] = (uint8_t)k;
    }
}

void nct_tree_sort(nct_tree *t) { nct_tree_cut(t, t->n); }

/* Two trees laid together: more nodes than a tree holds. */
struct both {
    size_t n;
    int32_t token[2 * NCT_TREE_MAX];
    uint8_t parent[2 * NCT_TREE_MAX], edge[2 * NCT_TREE_MAX], also[2 * NCT_TREE_MAX];
    float step[2 * NCT_TREE_MAX], score[2 * NCT_TREE_MAX];
};

static void lay(struct both *b, const nct_tree *t) {
    uint8_t moved[NCT_TREE_MAX] = {0};
    for (size_t i = 1; i < t->n; i++) {
        size_t parent = moved[t->parent[i]], at = parent + 1;
        float step = lower(t->score[i] - t->score[t->parent[i]], 0);
        while (at < b->n && !(b->parent[at] == parent && b->token[at] == t->token[i]))
            at++;
        moved[i] = (uint8_t)at;
        bool both = at < b->n;
        if (both && b->step[at] >= step) {
            b->also[at] = (uint8_t)(1 + t->edge[i]);
            continue;
        }
        b->also[at] = both ? (uint8_t)(1 + b->edge[at]) : t->also[i];
        b->n += !both;
        b->token[at] = t->token[i];
        b->parent[at] = (uint8_t)parent;
        b->step[at] = step;
        b->edge[at] = t->edge[i];
    }
}

void nct_tree_merge(nct_tree *t, const nct_tree *other, size_t n_max) {
    struct both b = {.n = 1};
    uint16_t order[NCT_TREE_MAX];
    uint8_t moved[2 * NCT_TREE_MAX];
    assert(t->token[0] == other->token[0] && n_max > 0 && n_max <= NCT_TREE_MAX);
    lay(&b, t);
    lay(&b, other);
    for (size_t i = 1; i < b.n; i++) /* parents are laid before children */
        b.score[i] = sound(b.score[b.parent[i]] + b.step[i]);
    size_t kept = best(b.score, b.n, n_max, order);
    nct_tree_init(t, t->token[0]);
    moved[0] = 0;
    for (size_t k = 1; k < kept; k++) {
        size_t i = order[k];
        put(t, moved[b.parent[i]], b.token[i], b.score[i], b.edge[i], b.also[i]);
        moved[i] = (uint8_t)k;
    }
}

/* ------------------------------------------------------------------ growing by levels */

static void add_candidates(nct_beam *g, size_t parent, float score, size_t depth, const int32_t *token,
                           const float *log_q) {
    for (size_t c = 0; c < g->width; c++) {
        size_t i = g->n++;
        g->token[i] = token[c];
        g->score[i] = sound(score + sound(log_q[c]));
        g->parent[i] = (uint16_t)parent;
        g->depth[i] = (uint8_t)depth;
    }
}

void nct_beam_begin(nct_beam *g, size_t width, const int32_t *token, const float *log_q) {
    assert(width > 0 && width <= NCT_BEAM_WIDTH);
    g->width = width;
    g->level = 1;
    g->n = 0;
    add_candidates(g, NCT_BEAM_ROOT, 0, 1, token, log_q);
    best(g->score, width, width, g->slot);
    for (size_t r = 0; r < width; r++) {
        g->mask[r] = (uint64_t)1 << r;
        g->source[r] = 0;
    }
}

void nct_beam_expand(nct_beam *g, const int32_t *token, const float *log_q) {
    assert(nct_beam_more(g));
    size_t k = g->width, first = g->n;
    for (size_t r = 0; r < k; r++)
        add_candidates(g, g->slot[r], g->score[g->slot[r]], g->level + 1, token + r * k, log_q + r * k);
    uint16_t order[NCT_BEAM_WIDTH];
    uint64_t mask[NCT_BEAM_WIDTH];
    best(g->score + first, k * k, k, order);
    for (size_t r = 0; r < k; r++) {
        size_t source = order[r] / k, row = g->level * k + r;
        mask[r] = g->mask[source] | (row < NCT_TREE_MAX ? (uint64_t)1 << row : 0);
        g->source[r] = (uint8_t)source;
        g->slot[r] = (uint16_t)(first + order[r]);
    }
    memcpy(g->mask, mask, k * sizeof *mask);
    g->level++;
}

/* What comes later scores no better than the beam's best and loses ties, so once enough candidates are as good, no
 * level below can put a node into the tree. */
int nct_beam_can_matter(const nct_beam *g, size_t n) {
    float best_score = nct_beam_score(g, 0);
    size_t as_good = 0;
    for (size_t i = 0; i < g->n; i++)
        as_good += g->score[i] >= best_score;
    return as_good < n;
}

void nct_beam_tree(const nct_beam *g, int32_t root, size_t n, nct_tree *tree) {
    uint16_t order[NCT_TREE_MAX];
    uint8_t moved[NCT_BEAM_CANDIDATES];
    assert(n > 0 && n <= NCT_TREE_MAX);
    size_t kept = best(g->score, g->n, n - 1, order);
    nct_tree_init(tree, root);
    for (size_t k = 0; k < kept; k++) {
        size_t i = order[k], up = g->parent[i];
        bool top = up == NCT_BEAM_ROOT;
        float log_q = g->score[i] - (top ? 0 : g->score[up]);
        moved[i] = (uint8_t)tree->n;
        put(tree, top ? 0 : moved[up], g->token[i], g->score[i], nct_edge_model(log_q, g->depth[i]), 0);
    }
}
