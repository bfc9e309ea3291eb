#include "support/model.h"

#include <glob.h>

#include "support/support.h"

enum { SMALL_PARAMETERS = 500000 };

const char *const *nct_test_models(void) {
    static glob_t found; /* lives as long as the test: the paths are handed out */
    if (!found.gl_pathv) {
        glob(NCT_TINY_DIR "/*/config.json", 0, NULL, &found);
        glob(NCT_MODELS_DIR "/*/config.json", GLOB_APPEND, NULL, &found);
        for (size_t i = 0; i < found.gl_pathc; i++)
            *strrchr(found.gl_pathv[i], '/') = 0;
    }
    assert_true(found.gl_pathc > 0);
    return (const char *const *)found.gl_pathv;
}

void nct_test_model_open(nct_test_model *model, const char *path, nct_test_how how) {
    nct_engine_options options = {.isa = nct_test_isa(),
                                  .n_threads = how.n_threads ? how.n_threads : 1,
                                  .exact = how.exact,
                                  .force_threads = true,
                                  .huge_pages = how.huge,
                                  .numa = how.nodes ? NCT_NUMA_SHARD : NCT_NUMA_AUTO,
                                  .numa_made_up = how.nodes};
    nct_model_info info;
    *model = (nct_test_model){.dense = how.dense};
    NCT_ASSERT_OK(nct_engine_open(path, &options, &model->engine, fault));
    nct_engine_info(model->engine, &info);
    model->n_vocab = (size_t)info.n_vocab;
    model->large = info.n_parameters > SMALL_PARAMETERS;
    nct_test_model_restart(model, how.chunk);
}

void nct_test_model_restart(nct_test_model *model, int chunk) {
    nct_session_close(model->session);
    model->session = NULL;
    nct_session_options options = {.chunk = chunk, .sparse = model->dense ? NCT_SPARSE_OFF : NCT_SPARSE_AUTO};
    NCT_ASSERT_OK(nct_session_open(model->engine, &options, &model->session, fault));
}

void nct_test_model_close(nct_test_model *model) {
    nct_session_close(model->session);
    nct_engine_close(model->engine);
    *model = (nct_test_model){0};
}

typedef struct rows {
    float *logits;
    size_t n_vocab, n;
    int first; /* position of row 0 */
} rows;

static void take_row(void *context, int position, const float *logits) {
    rows *r = context;
    assert_int_equal(position, r->first + (int)r->n); /* in order, each once */
    memcpy(r->logits + r->n++ * r->n_vocab, logits, r->n_vocab * sizeof *logits);
}

static float *room(const nct_test_model *model, size_t n_ids) {
    void *p = NULL;
    NCT_ASSERT_OK(nct_alloc(&p, n_ids * model->n_vocab, sizeof(float), fault));
    return p;
}

float *nct_test_feed(nct_test_model *model, const int32_t *ids, size_t n_ids, size_t piece) {
    rows r = {
        .logits = room(model, n_ids), .n_vocab = model->n_vocab, .first = nct_session_length(model->session)};
    nct_feed_options options = {.on_row = take_row, .context = &r};
    for (size_t done = 0; done < n_ids;) {
        size_t n = piece && piece < n_ids - done ? piece : n_ids - done;
        NCT_ASSERT_OK(nct_session_feed(model->session, ids + done, n, &options, fault));
        done += n;
        assert_int_equal(r.n, done);
    }
    return r.logits;
}

float *nct_test_step(nct_test_model *model, const int32_t *ids, size_t n_ids) {
    float *logits = room(model, n_ids);
    for (size_t i = 0; i < n_ids; i++) {
        NCT_ASSERT_OK(nct_session_feed(model->session, ids + i, 1, NULL, fault));
        memcpy(logits + i * model->n_vocab, nct_session_logits(model->session),
               model->n_vocab * sizeof(float));
    }
    return logits;
}
