/** The longest path of a tree that the target agrees with, greedy or sampled without loss.
 *
 *  At each node visited the target's token is chosen as plain decoding would choose it, and the walk goes on to the child
 *  that carries it. The tree decides only whether the next row is already computed, so the text is that of plain decoding,
 *  whatever was guessed and however (sample and match). Since choices are functions of settings, history and position,
 *  the same holds for sampled text, token by token. Of all rules that lose nothing this one accepts most for given
 *  children; so drafts that sample their guesses have no rule of their own (recursive rejection, SpecInfer,
 *  arXiv:2305.09781): it would be biased for trees cut by score, and could not give the text of plain decoding. */
#ifndef NCT_SPEC_VERIFY_H
#define NCT_SPEC_VERIFY_H

#include "base/status.h"
#include "spec/tree.h"

/** Chooses the token after `node`, whose row the batch computed. token [n]: what was chosen on the way, from the token
 *  after the root on; the node's own is the last, none at the root. *stop: nothing is to follow the chosen token. */
typedef nct_status nct_choose_fn(void *context, size_t node, const int32_t *token, size_t n, int32_t *chosen,
                                 bool *stop, nct_error *err);

/** What a round accepts: n >= 1 tokens to emit, and the nodes whose rows are to be kept: node[0] is the root, token[k]
 *  was chosen after node[k] and is that of node[k + 1]. The last one is the new root. */
typedef struct nct_accepted {
    size_t n;
    uint8_t node[NCT_TREE_MAX];
    int32_t token[NCT_TREE_MAX];
    bool stopped;
} nct_accepted;

/** Walks from the root. Fails if the root's choice does; where a later one fails, the walk ends before it, and whoever
 *  goes on meets the failure at the new root, as plain decoding would. */
nct_status nct_verify(const nct_tree *tree, nct_choose_fn *choose, void *context, nct_accepted *accepted,
                      nct_error *err);

#endif
