/* Prompt lookup (Saxena 2023; Yang et al., arXiv:2304.04487): what followed the last tokens when they stood in the prompt
 * or the answer before.
 *
 * Two indexes of n-grams, by chains: `head` says for a hash where the newest n-gram with it ends, `next` for each position
 * where the one before it with the same hash ends. Removing the newest entries restores every chain, so a rewind leaves
 * no trace. The long n-grams find quotations in a document where the short ones are everywhere.
 *
 * A guess: the newest occurrences of the last 8 tokens or, if there is none, of the last 3; of these the ones with the
 * longest match backwards (64 tokens count as no less than more do). Their continuations form a trie of counts, the
 * branch of the most first, of the newest among equals. A match of l tokens is trusted for 1 + l / 2 more. */
#include <assert.h>
#include <math.h>
#include <string.h>

#include "base/pages.h"
#include "base/rng.h"
#include "spec/drafter.h"
#include "spec/edge.h"

enum {
    LONG = 8,
    SHORT = 3,
    N_INDEXES = 2,
    OCCURRENCES = 16, /* looked at: a mask of them is one number */
    LINKS = 1024,     /* of a chain, followed at most: strange texts may have long ones of one hash */
    MATCH_MAX = 64,
};

static const size_t order[N_INDEXES] = {LONG, SHORT};

typedef struct chains {
    uint32_t *head; /* [n_heads] position + 1 of the newest end, 0 for none */
    uint32_t *next; /* [limit + 1] the same of the one before */
} chains;

typedef struct ngram {
    size_t limit, n_heads; /* n_heads: a power of two */
    size_t n;              /* tokens: one more than pairs, or none */
    int32_t *token;        /* [limit + 1] */
    chains index[N_INDEXES];
} ngram;

/* ------------------------------------------------------------------ the index */

static uint32_t *head_of(const ngram *g, size_t which, size_t end) {
    uint64_t z = 0;
    for (size_t i = end + 1 - order[which]; i <= end; i++)
        z = z * 0x9e3779b97f4a7c15u + (uint32_t)g->token[i] + 1;
    return &g->index[which].head[nct_rng_mix(z) & (g->n_heads - 1)];
}

static void append(ngram *g, int32_t token) {
    size_t end = g->n++;
    g->token[end] = token;
    for (size_t i = 0; i < N_INDEXES; i++)
        if (g->n >= order[i]) {
            uint32_t *head = head_of(g, i, end);
            g->index[i].next[end] = *head;
            *head = (uint32_t)end + 1;
        }
}

static void remove_newest(ngram *g) {
    size_t end = g->n - 1;
    for (size_t i = 0; i < N_INDEXES; i++)
        if (g->n >= order[i])
            *head_of(g, i, end) = g->index[i].next[end];
    g->n = end;
}

static void ngram_close(void *state) {
    ngram *g = state;
    if (!g)
        return;
    nct_pages_close(g->token, (g->limit + 1) * sizeof *g->token);
    for (size_t i = 0; i < N_INDEXES; i++) {
        nct_pages_close(g->index[i].head, g->n_heads * sizeof(uint32_t));
        nct_pages_close(g->index[i].next, (g->limit + 1) * sizeof(uint32_t));
    }
    nct_free(g);
}

/* Address space for the whole limit, about 20 bytes a position; memory comes as positions are used. */
static nct_status open_arrays(ngram *g, nct_error *err) {
    void *p = NULL;
    NCT_TRY(nct_pages_open(&p, (g->limit + 1) * sizeof *g->token, err));
    g->token = p;
    for (size_t i = 0; i < N_INDEXES; i++) {
        NCT_TRY(nct_pages_open(&p, g->n_heads * sizeof(uint32_t), err));
        g->index[i].head = p;
        NCT_TRY(nct_pages_open(&p, (g->limit + 1) * sizeof(uint32_t), err));
        g->index[i].next = p;
    }
    return NCT_OK;
}

static nct_status ngram_open(const void *weights, const nct_draft_target *target,
                             const nct_draft_options *options, void **state, nct_error *err) {
    (void)weights;
    (void)options;
    if (target->limit == 0 || target->limit > INT32_MAX)
        return nct_fail(err, NCT_E_ARGUMENT, "an index of %zu positions cannot be kept", target->limit);
    void *p = NULL;
    NCT_TRY(nct_alloc(&p, 1, sizeof(ngram), err));
    ngram *g = p;
    g->limit = target->limit;
    for (g->n_heads = 1; g->n_heads < g->limit;)
        g->n_heads *= 2;
    nct_status status = open_arrays(g, err);
    if (status != NCT_OK) {
        ngram_close(g);
        return status;
    }
    *state = g;
    return NCT_OK;
}

static nct_status ngram_observe(void *state, const nct_exec *exec, const nct_pairs *pairs, nct_error *err) {
    (void)exec;
    ngram *g = state;
    assert(pairs->first == (g->n ? g->n - 1 : 0));
    if (pairs->n > g->limit - pairs->first)
        return nct_fail(err, NCT_E_CONTEXT, "%zu pairs exceed an index of %zu positions",
                        pairs->first + pairs->n, g->limit);
    if (g->n == 0 && pairs->n > 0)
        append(g, pairs->token[0]);
    for (size_t i = 0; i < pairs->n; i++)
        append(g, pairs->token[pairs->first + i + 1]);
    return NCT_OK;
}

static void ngram_rewind(void *state, size_t n_pairs) {
    ngram *g = state;
    assert(n_pairs <= (g->n ? g->n - 1 : 0));
    while (g->n > (n_pairs ? n_pairs + 1 : 0))
        remove_newest(g);
}

/* ------------------------------------------------------------------ guessing */

static uint64_t ngram_state_bytes(const void *state) {
    const ngram *g = state;
    size_t a_token = sizeof *g->token + N_INDEXES * sizeof(uint32_t);
    return g->n * a_token + N_INDEXES * g->n_heads * sizeof(uint32_t);
}

/* Where the last tokens stood before, newest first. */
typedef struct matches {
    size_t length, n;
    uint32_t end[OCCURRENCES]; /* the position that the last token matches */
} matches;

/* How many tokens up to `end` are as the last ones, at most MATCH_MAX. */
static size_t match_length(const ngram *g, size_t end) {
    size_t n = 0, most = end + 1 < MATCH_MAX ? end + 1 : MATCH_MAX;
    while (n < most && g->token[end - n] == g->token[g->n - 1 - n])
        n++;
    return n;
}

static void find(const ngram *g, size_t which, matches *m) {
    *m = (matches){0};
    size_t links = 0, seen = 0;
    if (g->n < order[which])
        return;
    for (uint32_t at = g->index[which].next[g->n - 1]; at && links < LINKS && seen < OCCURRENCES; links++) {
        size_t length = match_length(g, at - 1);
        if (length >= order[which]) {
            seen++;
            if (length > m->length)
                *m = (matches){.length = length};
            if (length == m->length)
                m->end[m->n++] = at - 1;
        }
        at = g->index[which].next[at - 1];
    }
}

/* A branch of the trie that is not in the tree yet: matches that agree on the path and on one token more. */
typedef struct branch {
    uint32_t members; /* of the matches, by bit */
    size_t parent, depth;
    int32_t token;
    float score;
    uint8_t edge;
} branch;

typedef struct trie {
    const ngram *g;
    const matches *m;
    size_t depth_max;
    branch branch[OCCURRENCES]; /* members are disjoint */
    size_t n;
} trie;

/* Parts the members of a node that is in the tree by what follows; those at whose end nothing does are dropped. */
static void part(trie *t, uint32_t members, size_t node, size_t depth, float score) {
    size_t first = t->n, n_all = 0;
    if (depth == t->depth_max)
        return;
    for (size_t i = 0; i < t->m->n; i++) {
        size_t at = t->m->end[i] + 1 + depth, b = first;
        if (!(members >> i & 1) || at >= t->g->n)
            continue;
        while (b < t->n && t->branch[b].token != t->g->token[at])
            b++;
        if (b == t->n)
            t->branch[t->n++] = (branch){.parent = node, .depth = depth + 1, .token = t->g->token[at]};
        t->branch[b].members |= (uint32_t)1 << i;
        n_all++;
    }
    float sure = nct_edge_prior(nct_edge_copy(t->m->length, 1, 1, depth + 1));
    for (size_t b = first; b < t->n; b++) {
        size_t n = (size_t)__builtin_popcount(t->branch[b].members);
        t->branch[b].score = score + logf(sure * (float)n / (float)n_all);
        t->branch[b].edge = nct_edge_copy(t->m->length, n, n_all, depth + 1);
    }
}

/* Higher score, then less deep, then the newest member. */
static bool before(const branch *a, const branch *b) {
    if (a->score != b->score)
        return a->score > b->score;
    if (a->depth != b->depth)
        return a->depth < b->depth;
    return __builtin_ctz(a->members) < __builtin_ctz(b->members);
}

static branch take_best(trie *t) {
    size_t best = 0;
    for (size_t i = 1; i < t->n; i++)
        if (before(&t->branch[i], &t->branch[best]))
            best = i;
    branch taken = t->branch[best];
    t->branch[best] = t->branch[--t->n];
    return taken;
}

static nct_status ngram_propose(void *state, const nct_exec *exec, const nct_ask *ask, nct_tree *tree,
                                size_t *n_passes, nct_error *err) {
    (void)exec;
    (void)err;
    const ngram *g = state;
    matches m = {0};
    *n_passes = 0;
    for (size_t i = 0; i < N_INDEXES && m.n == 0; i++)
        find(g, i, &m);
    if (m.n == 0)
        return NCT_OK;
    assert(tree->n == 1 && tree->token[0] == g->token[g->n - 1]);
    size_t trusted = 1 + m.length / 2;
    trie t = {.g = g, .m = &m, .depth_max = trusted < ask->depth_max ? trusted : ask->depth_max};
    part(&t, ((uint32_t)1 << m.n) - 1, 0, 0, 0);
    while (t.n > 0 && tree->n < ask->n_max) {
        branch b = take_best(&t);
        size_t node = nct_tree_add(tree, b.parent, b.token, b.score, b.edge);
        part(&t, b.members, node, b.depth, b.score);
    }
    return NCT_OK;
}

const nct_drafter nct_drafter_ngram = {
    .name = "ngram",
    .brief = "copies what followed the last tokens when they stood in the text before; needs no files",
    .row = NCT_ROW_NONE,
    .open = ngram_open,
    .state_bytes = ngram_state_bytes,
    .observe = ngram_observe,
    .propose = ngram_propose,
    .rewind = ngram_rewind,
    .close = ngram_close,
};
