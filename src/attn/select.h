/** Stage 1 of InfLLM v2: score compressed keys, choose blocks (model-and-infllm-v2.md 3.3 to 3.6).
 *
 *  In passes, so that several threads can share one row and several rows the keys that are read: the normaliser and
 *  then, when it is put together, the scores, each by spans of positions, then the choice. What a pass computes of a
 *  span depends on the row and the span alone.
 *
 *  Rounding. Queries and compressed keys are rounded to the type of these (nct_pooled_type), so the score of head h and key j is off by the
 *  sum of d small errors, whose variance v_hj is at most
 *      Q8    (max |q|^2 * sum k_i^2 + max |k|^2 * sum q_i^2) / (3 * 254^2)
 *  A window's sum over heads of P_hj is off, relative to itself, by a standard deviation of
 *      sqrt(sum over h of P_hj^2 (v_hj + largest v of the keys it is normalised over)) / sum over h of P_hj
 *  and beside that by no more than 5e-5 of float32. A block is chosen in place of another only where their scores,
 *  computed exactly from unrounded queries and means of the keys as stored, are closer than six standard deviations of
 *  both together and 1e-4 (tests/property/test_selection.c).
 */
#ifndef NCT_ATTN_SELECT_H
#define NCT_ATTN_SELECT_H

#include "attn/branches.h"

/** One row's choice for one key-value head, for people and tests. */
typedef struct nct_selected {
    size_t layer, position, kv_head;
    size_t n_blocks, n_first, n_local; /* in all; of these, forced at the beginning and nearest */
    const uint32_t *block;             /* ascending; borrowed during the call */
    double margin;         /* relative change of a score that could alter the choice; infinite: none could */
} nct_selected;

/** Called from the pool's threads, in no particular order. */
typedef void nct_selected_fn(void *context, const nct_selected *selected);

enum { NCT_SPAN_PAGES = 16, NCT_SPAN = NCT_SPAN_PAGES * NCT_PAGE }; /* pages and positions of a span */

/** Where selections look. */
typedef struct nct_selecting {
    const nct_kernels *kernels;
    const nct_sparse *sparse;
    const nct_cache *cache;
    size_t layer, kv_head, group; /* group: query heads of the key-value head */
    const nct_branches *branches; /* of rows of a tree, laid out for the layer; NULL: rows of a chain */
} nct_selecting;

/** One row: it must choose (nct_sparse_chooses). */
typedef struct nct_selection {
    size_t p;         /* its position */
    const uint8_t *q; /* the group's queries, readied for compressed keys, nct_query_bytes apart */
    void *room;       /* nct_selection_bytes, 64-byte aligned */
    size_t row;       /* of a tree: which one */
} nct_selection;

/** Room of a row at a position below n, and what a thread needs beside. Multiples of 64. */
size_t nct_selection_bytes(const nct_sparse *sparse, size_t n, size_t group);
size_t nct_select_scratch_bytes(const nct_sparse *sparse, size_t group);

/** Spans of the row. */
static inline size_t nct_selection_spans(const nct_selection *row) { return row->p / NCT_SPAN + 1; }

/** First pass, for each span, in any order; scratch: nct_select_scratch_bytes, 64-byte aligned. */
void nct_select_normalise(const nct_selecting *k, const nct_selection *row, size_t span, void *scratch);
/** Puts the spans' normalisers together, when the first pass is done. */
void nct_select_merge(const nct_selecting *k, const nct_selection *row);
/** Second pass, by spans like the first. */
void nct_select_score(const nct_selecting *k, const nct_selection *row, size_t span, void *scratch);
/** Third pass: marks the chosen blocks' positions in lanes [p / 64 + 1]: bit j of lanes[s] is position 64 s + j;
 *  positions past p stay clear. Ties go to the lower block. seen may be NULL. */
void nct_select_choose(const nct_selecting *k, const nct_selection *row, uint64_t *lanes,
                       nct_selected_fn *seen, void *context);

#endif
