/** An engine with one session, for tests that compare logits. Failures fail the test. */
#ifndef NCT_TEST_MODEL_H
#define NCT_TEST_MODEL_H

#include "noctule.h"

typedef struct nct_test_model {
    nct_engine *engine;
    nct_session *session;
    size_t n_vocab;
    bool dense;
    bool large; /* not one of the tiny ones: loops should do less */
} nct_test_model;

/** Models that are always at hand, ending in NULL: the tiny ones of the build, float and coded, and what
 *  lies in models/. */
const char *const *nct_test_models(void);
#define NCT_TEST_EACH_MODEL(path)                                                                            \
    for (const char *const *each_ = nct_test_models(), *path = *each_; path; path = *++each_)

/** Zeroed is one thread, ordinary arithmetic, the engine's own chunk. */
typedef struct nct_test_how {
    int n_threads; /* forced, however many processors there are */
    bool exact;
    int chunk;
    int nodes;  /* weights sharded over so many nodes that do not exist */
    nct_huge_pages huge;
    bool dense; /* no choice of blocks, whatever the checkpoint says */
} nct_test_how;

/** Opens a model on the rung of NOCTULE_ISA. */
void nct_test_model_open(nct_test_model *model, const char *path, nct_test_how how);
void nct_test_model_close(nct_test_model *model);
/** An empty session in place of the one at hand, alike but for the chunk. */
void nct_test_model_restart(nct_test_model *model, int chunk);

/** Feeds ids, `piece` a call (0: all in one), and gives every one's logits [n_ids][n_vocab]. Freed with
 *  nct_free. */
float *nct_test_feed(nct_test_model *model, const int32_t *ids, size_t n_ids, size_t piece);

/** Feeds ids one a call as a decoder does and gives their logits. Freed with nct_free. */
float *nct_test_step(nct_test_model *model, const int32_t *ids, size_t n_ids);

#endif
