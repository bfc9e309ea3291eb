/** Two drafters as one (speculative-decoding.md 7.3): a network that has seen much and looks back a little, and prompt
 *  lookup, which copies from anywhere in the text. Both guess, and the trees are laid together: of a node that both have,
 *  the better estimate counts. Where the copied tree alone is good enough (ask->worth) the network does not run.
 *
 *  A merged drafter is made around a network's, of which it takes the name and the rows, so it stands in no list. */
#ifndef NCT_SPEC_MERGED_H
#define NCT_SPEC_MERGED_H

#include "spec/drafter.h"

/** As `open` of a drafter, which `network` is; *drafter is what the state is used with, and lies in it. */
nct_status nct_merged_open(const nct_drafter *network, const void *weights, const nct_draft_target *target,
                           const nct_draft_options *options, const nct_drafter **drafter, void **state,
                           nct_error *err);

#endif
