/** Guesses of what follows, as a tree that one batch of the target verifies: parents before children.
 *
 *  Node 0 is the root, the last token chosen, which is not in the cache yet; a node of depth d stands d positions
 *  after it. Siblings never share a token. `score` is the logarithm of how likely the path to a node is, by the
 *  draft's own word or, once adapted (adapt.h), by experience; it is 0 at the root, finite, and never grows along a path,
 *  so the best nodes by score, ties by lower number, form a tree: it can be cut to any size. */
#ifndef NCT_SPEC_TREE_H
#define NCT_SPEC_TREE_H

#include <stddef.h>
#include <stdint.h>

#define NCT_TREE_MAX 64 /* a mask is one word */

/** Zeroed is no tree: begin with nct_tree_init. */
typedef struct nct_tree {
    size_t n; /* nodes, the root included: 1 is an empty guess */
    int32_t token[NCT_TREE_MAX];
    uint8_t parent[NCT_TREE_MAX]; /* smaller than the node's own number; the root's is 0 */
    uint8_t depth[NCT_TREE_MAX];
    float score[NCT_TREE_MAX];
    uint64_t mask[NCT_TREE_MAX]; /* bit i: node i is an ancestor, or the node itself */
    uint8_t edge[NCT_TREE_MAX];  /* what kind of guess led to the node (edge.h); the root's is 0 */
    uint8_t also[NCT_TREE_MAX];  /* of a merged tree: 1 + the kind of the other tree's guess of the node; 0: only
                                    one of them has it */
} nct_tree;

void nct_tree_init(nct_tree *tree, int32_t root);

/** The child of `parent` that carries the token; 0, which is nobody's child, if there is none. */
size_t nct_tree_find(const nct_tree *tree, size_t parent, int32_t token);

/** Adds a child, or finds the one that has the token already; that keeps the larger score and its kind of edge.
 *  A score above the parent's is lowered to it, one that is no number counts as hopeless. Returns the child, 0 if the
 *  tree is full. */
size_t nct_tree_add(nct_tree *tree, size_t parent, int32_t token, float score, uint8_t edge);

/** Puts nodes in the order of their scores, ties by lower number, after lowering every score to its parent's.
 *  Then the first t nodes are the best tree of t nodes. */
void nct_tree_sort(nct_tree *tree);

/** Sorts, and keeps the n best nodes: 0 < n. */
void nct_tree_cut(nct_tree *tree, size_t n);

/** Adds the nodes of a tree with the same root. Of a guess that both make, the edge of the larger score difference
 *  to its parent stays, so a path gets the best of both at each step, and the other one is noted beside it, so that
 *  either drafter's account can be kept; then the n_max <= NCT_TREE_MAX best nodes are kept, in order. */
void nct_tree_merge(nct_tree *tree, const nct_tree *other, size_t n_max);

/* ------------------------------------------------------------------ growing by levels */

/** Growing a tree as EAGLE-2 does (arXiv:2406.16858): each level expands the K best nodes of the one before, the beam,
 *  by their K best tokens, and in the end all candidates ever scored compete for a place in the tree.
 *
 *  Candidates are numbered as they come: level 1 has 0 .. K-1; level d >= 2 has K*K from K + (d-2)*K*K on, child c of
 *  beam slot r at K*r + c. While it grows, slot r of the beam of level d has row (d-1)*K + r among the draft's
 *  temporary keys and values, and `mask` says which of these rows it sees, its own included.
 *
 *      nct_beam_begin(beam, K, tokens, log_q)            the K best after the root
 *      while it pays and nct_beam_more(beam):
 *          for each slot r: run nct_beam_token(beam, r) at depth `level`, fed with the output of slot
 *              source[r] of the beam before (level 1: of the root's row)
 *          nct_beam_expand(beam, tokens, log_q)
 *      nct_beam_tree(beam, root, T, tree)
 */
enum {
    NCT_BEAM_WIDTH = 16, /* largest K */
    NCT_BEAM_CANDIDATES = NCT_BEAM_WIDTH + NCT_BEAM_WIDTH * NCT_TREE_MAX,
    NCT_BEAM_ROOT = 0xffff,
};

typedef struct nct_beam {
    size_t width; /* K */
    size_t level; /* depth of the beam, 1 after nct_beam_begin */
    size_t n;     /* candidates so far */
    int32_t token[NCT_BEAM_CANDIDATES];
    float score[NCT_BEAM_CANDIDATES];     /* sum of log q along the path */
    uint16_t parent[NCT_BEAM_CANDIDATES]; /* a candidate, or NCT_BEAM_ROOT */
    uint8_t depth[NCT_BEAM_CANDIDATES];
    uint16_t slot[NCT_BEAM_WIDTH]; /* candidates, best first */
    uint64_t mask[NCT_BEAM_WIDTH];
    uint8_t source[NCT_BEAM_WIDTH];
} nct_beam;

/** token, log_q [width]: the best tokens after the root, distinct, and the logarithms of their probabilities, which are
 *  lowered to 0 where rounding put them above. 0 < width <= NCT_BEAM_WIDTH. */
void nct_beam_begin(nct_beam *beam, size_t width, const int32_t *token, const float *log_q);

/** Whether the beam can be expanded: its rows must fit a mask. */
static inline int nct_beam_more(const nct_beam *b) { return b->width * b->level <= NCT_TREE_MAX; }

/** token, log_q [width][width]: the same after each slot of the beam. The K best of them, by score, ties by lower
 *  number, become the beam. */
void nct_beam_expand(nct_beam *beam, const int32_t *token, const float *log_q);

/** Whether a level more can put a node among the n best. */
int nct_beam_can_matter(const nct_beam *beam, size_t n);

static inline int32_t nct_beam_token(const nct_beam *b, size_t slot) { return b->token[b->slot[slot]]; }
static inline float nct_beam_score(const nct_beam *b, size_t slot) { return b->score[b->slot[slot]]; }

/** The tree of the root and the n - 1 best candidates, fewer if there are not so many, in the order of their scores:
 *  0 < n <= NCT_TREE_MAX. */
void nct_beam_tree(const nct_beam *beam, int32_t root, size_t n, nct_tree *tree);

#endif
