/* Converting: a bundle computes what its source computes, rounding does little harm and GPTQ less, and nothing
 * is left behind by what goes wrong. */
#include "support/support.h"

#include <glob.h>
#include <math.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/map.h"
#include "engine/convert.h"
#include "engine/engine.h"
#include "support/checkpoint.h"
#include "support/model.h"

/* ------------------------------------------------------------------ helpers */

static const char *convert_to(const char *dir, const char *source, nct_convert_options options,
                              nct_convert_result *result) {
    const char *path = nct_test_path("%s/made.nct", dir);
    nct_convert_result own;
    options.isa = nct_test_isa();
    NCT_ASSERT_OK(nct_convert(source, path, &options, result ? result : &own, fault));
    return path;
}

/* Ids that any of the models has. */
static void some_ids(int32_t *ids, size_t n, size_t n_vocab) {
    uint32_t state = 7;
    for (size_t i = 0; i < n; i++) {
        state = state * 1664525u + 1013904223u;
        ids[i] = (int32_t)((state >> 8) % (n_vocab < 500 ? n_vocab : 500));
    }
}

static void assert_same_logits(const char *a, const char *b, nct_test_how how) {
    enum { N = 70 };
    nct_test_model x, y;
    int32_t ids[N];
    nct_test_model_open(&x, a, how);
    nct_test_model_open(&y, b, how);
    assert_int_equal(x.n_vocab, y.n_vocab);
    some_ids(ids, N, x.n_vocab);
    float *p = nct_test_feed(&x, ids, N, 0), *q = nct_test_feed(&y, ids, N, 0);
    nct_test_same_bits(how.exact ? "exact" : "ordinary", p, q, N * x.n_vocab);
    nct_free(p);
    nct_free(q);
    nct_test_model_close(&x);
    nct_test_model_close(&y);
}

static void assert_same_engine(const char *a, const char *b) {
    static const char text[] =
        "The wind <|im_end|> \xe4\xb8\xad\xe6\x96\x87 rose,\n  and 12 boats \xff went out.";
    nct_engine *x = NULL, *y = NULL;
    nct_model_info m, n;
    nct_sampling s, t;
    nct_engine_options options = {.isa = nct_test_isa(), .n_threads = 1};
    NCT_ASSERT_OK(nct_engine_open(a, &options, &x, fault));
    NCT_ASSERT_OK(nct_engine_open(b, &options, &y, fault));
    nct_engine_info(x, &m);
    nct_engine_info(y, &n);
    nct_engine_sampling(x, &s);
    nct_engine_sampling(y, &t);
    assert_string_equal(n.container, "nct");
    assert_string_equal(m.architecture, n.architecture);
    assert_string_equal(m.weights, n.weights);
    assert_string_equal(m.template_name, n.template_name);
    assert_true(m.n_layers == n.n_layers && m.hidden == n.hidden && m.max_positions == n.max_positions &&
                m.tied == n.tied && m.bos == n.bos && m.n_eos == n.n_eos &&
                m.n_parameters == n.n_parameters && m.weight_bytes == n.weight_bytes &&
                m.sparse_trained == n.sparse_trained && m.sparse_built_in == n.sparse_built_in &&
                m.sparse_blocks == n.sparse_blocks);
    for (int i = 0; i < m.n_eos; i++)
        assert_int_equal(m.eos[i], n.eos[i]);
    assert_true(s.temperature == t.temperature && s.top_p == t.top_p && s.top_k == t.top_k &&
                s.repeat_penalty == t.repeat_penalty);
    for (int special = 0; special < 2; special++) {
        int32_t *p = NULL, *q = NULL;
        size_t n_p, n_q;
        NCT_ASSERT_OK(nct_encode(x, text, sizeof text - 1, special, true, &p, &n_p, fault));
        NCT_ASSERT_OK(nct_encode(y, text, sizeof text - 1, special, true, &q, &n_q, fault));
        assert_int_equal(n_p, n_q);
        assert_memory_equal(p, q, n_p * sizeof *p);
        nct_free(p);
        nct_free(q);
    }
    nct_engine_close(x);
    nct_engine_close(y);
}

/* A bundle of a source as it is stored is the source. */
static void assert_is_its_source(const char *source) {
    const char *dir = nct_test_folder();
    nct_convert_result result;
    print_message("%s\n", source);
    const char *path = convert_to(dir, source, (nct_convert_options){0}, &result);
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_true((uint64_t)st.st_size == result.n_bytes);
    assert_true(result.same && result.same_first && result.divergence == 0 && result.largest == 0 &&
                result.n_tokens == 0);
    assert_same_engine(source, path);
    assert_same_logits(source, path, (nct_test_how){.exact = true});
    assert_same_logits(source, path, (nct_test_how){.n_threads = 2});
    nct_test_folder_remove(dir);
}

static const char *stories(const char *name) {
    return nct_test_path("%s/data/stories/%s", NCT_SHARED_DIR, name);
}

static void need_stories(const char *name) {
    if (access(stories(name), R_OK) == 0)
        return;
    print_message("skipped: %s absent\n", name);
    skip();
}

/* ------------------------------------------------------------------ as stored */

static void test_convert__a_bundle_computes_what_its_source_does(void **state) {
    (void)state;
    NCT_TEST_EACH_MODEL (path)
        assert_is_its_source(path);
}

static void test_convert__every_container_and_encoding_makes_a_bundle(void **state) {
    (void)state;
    glob_t found = {0};
    glob(NCT_ORACLE_CKPT "/*/config.json", 0, NULL, &found);
    glob(NCT_ORACLE_CKPT "/*.gguf", found.gl_pathc ? GLOB_APPEND : 0, NULL, &found);
    if (found.gl_pathc == 0) {
        globfree(&found);
        print_message("skipped: the reference's checkpoints absent\n");
        skip();
    }
    for (size_t i = 0; i < found.gl_pathc; i++) {
        char *end = strstr(found.gl_pathv[i], "/config.json");
        if (end)
            *end = 0;
        assert_is_its_source(found.gl_pathv[i]);
    }
    globfree(&found);
}

static void test_convert__trained_models_make_bundles(void **state) {
    (void)state;
    need_stories("stories260K-minicpm");
    assert_is_its_source(stories("stories260K-minicpm"));
    assert_is_its_source(stories("tinystories-656k-minicpm"));
}

/* Published as floats without a word (BitCPM4): found when it is loaded, and what a bundle holds. */
static void test_convert__ternary_weights_take_two_bits(void **state) {
    (void)state;
    const char *dir = nct_test_folder(), *source = nct_test_path("%s/source", dir);
    nct_tiny_write(source, &(nct_tiny){.ternary = true, .weights = NCT_TINY_BF16, .group = 64});
    assert_is_its_source(source);
    nct_convert_options all = {.layers = NCT_QUANT_INT4, .group = 32}; /* whatever else is asked for */
    const char *path = convert_to(dir, source, all, NULL);
    nct_engine *e = NULL;
    nct_model_info m;
    NCT_ASSERT_OK(nct_engine_open(path, NULL, &e, fault));
    nct_engine_info(e, &m);
    assert_non_null(strstr(m.weights, "ternary g64"));
    for (size_t i = 0; i < e->model.weights.n_layers; i++) {
        const nct_panels *gate = &e->model.weights.layer[i].gate.panels;
        assert_int_equal(gate->kind, NCT_PANEL_CODES2);
        assert_int_equal(gate->panel_bytes, gate->n_cols * 4 + gate->n_groups * 32);
    }
    nct_engine_close(e);
    assert_same_logits(source, path, (nct_test_how){.exact = true});
    assert_same_logits(source, path, (nct_test_how){0});
    nct_test_folder_remove(dir);
}

/* A bundle converted once more keeps everything but the note of how it was made. */
static void test_convert__a_bundle_of_a_bundle_is_the_same(void **state) {
    (void)state;
    NCT_TEST_EACH_MODEL (path) {
        const char *dir = nct_test_folder(), *again = nct_test_path("%s/again.nct", dir);
        const char *first = convert_to(dir, path, (nct_convert_options){0}, NULL);
        nct_convert_result result;
        nct_convert_options options = {.isa = nct_test_isa()};
        NCT_ASSERT_OK(nct_convert(first, again, &options, &result, fault));
        nct_checkpoint *a = NULL, *b = NULL;
        NCT_ASSERT_OK(nct_checkpoint_open(first, &a, fault));
        NCT_ASSERT_OK(nct_checkpoint_open(again, &b, fault));
        const nct_bundle *x = nct_checkpoint_bundle(a), *y = nct_checkpoint_bundle(b);
        for (size_t i = 0; nct_bundle_section(x, i); i++) {
            const nct_section *s = nct_bundle_section(x, i), *t = nct_bundle_section(y, i);
            assert_non_null(t);
            assert_true(s->kind == t->kind && s->role == t->role && s->layer == t->layer);
            if (s->kind == NCT_SECTION_CONFIG)
                continue;
            assert_int_equal(s->n_bytes, t->n_bytes);
            assert_memory_equal(s->data, t->data, s->n_bytes);
        }
        nct_checkpoint_close(a);
        nct_checkpoint_close(b);
        nct_test_folder_remove(dir);
    }
}

/* ------------------------------------------------------------------ rounded */

typedef struct seen {
    size_t n, n_same;
    double worst_weight, worst_output;
    uint64_t n_bytes;
    bool out_of_order;
    int outputs; /* lines with an output error */
    char last[NCT_NAME_BYTES];
} seen;

static void see(void *context, const nct_convert_line *line) {
    seen *s = context;
    s->n++;
    s->n_same += line->same;
    s->worst_weight = fmax(s->worst_weight, line->weight_error);
    s->worst_output = fmax(s->worst_output, line->output_error);
    s->outputs += line->output_error >= 0;
    s->n_bytes += line->n_bytes;
    s->out_of_order |= line->same && line->weight_error != 0;
    snprintf(s->last, sizeof s->last, "%s", line->name);
}

static nct_reference *reference_of(const char *bundle, nct_reference_of of, nct_checkpoint **checkpoint) {
    static nct_reference r;
    NCT_ASSERT_OK(nct_checkpoint_open(bundle, checkpoint, fault));
    assert_true(nct_bundle_reference(nct_checkpoint_bundle(*checkpoint), of, &r));
    return &r;
}

/* The bundle's two references are what the engine computes of the source and of the bundle. */
static void assert_references(const char *source, const char *bundle) {
    for (int of = NCT_REFERENCE_SOURCE; of <= NCT_REFERENCE_SELF; of++) {
        nct_checkpoint *checkpoint = NULL;
        nct_reference *r = reference_of(bundle, (nct_reference_of)of, &checkpoint);
        nct_test_model m;
        nct_test_model_open(&m, of == NCT_REFERENCE_SELF ? bundle : source, (nct_test_how){.exact = true});
        assert_int_equal(m.n_vocab, r->n_vocab);
        assert_in_range(r->n_ids, 1, 16);
        float *logits = nct_test_feed(&m, r->id, r->n_ids, 0);
        nct_test_same_bits("reference", logits + (r->n_ids - 1) * m.n_vocab, r->logits, m.n_vocab);
        nct_free(logits);
        nct_test_model_close(&m);
        nct_checkpoint_close(checkpoint);
    }
}

static void test_convert__rounding_changes_little_and_tells(void **state) {
    (void)state;
    const char *source = NCT_TINY_DIR "/float", *dir = nct_test_folder();
    uint64_t plain = 0;
    for (int quant = NCT_QUANT_KEEP; quant <= NCT_QUANT_INT4; quant++) {
        nct_quant q = (nct_quant)quant;
        seen s = {0};
        nct_convert_result result;
        nct_convert_options options = {
            .layers = q, .head = q, .embedding = q, .group = 32, .report = see, .context = &s};
        const char *path = convert_to(dir, source, options, &result);
        nct_engine *e = NULL;
        nct_model_info m;
        nct_engine_options text_only = {.n_threads = 1};
        NCT_ASSERT_OK(nct_engine_open(path, &text_only, &e, fault));
        nct_engine_info(e, &m);
        assert_true(s.n == (size_t)m.n_layers * 7 + (m.tied ? 1 : 2) && s.outputs == 0 && !s.out_of_order);
        nct_engine_close(e);
        if (q == NCT_QUANT_KEEP) {
            plain = result.n_bytes;
            assert_true(s.n_same == s.n && s.worst_weight == 0 && result.same);
        } else {
            double limit = q == NCT_QUANT_INT8 ? 0.01 : 0.12;
            assert_true(s.n_same == 0 && s.worst_weight > 1e-3 && s.worst_weight < limit);
            assert_true(result.n_bytes < plain && !result.same && result.divergence > 0);
            assert_true(result.divergence < (q == NCT_QUANT_INT8 ? 1e-3 : 0.2));
        }
        assert_references(source, path);
    }
    nct_test_folder_remove(dir);
}

static void test_convert__what_is_narrow_already_stays(void **state) {
    (void)state;
    const char *dir = nct_test_folder();
    seen s = {0};
    nct_convert_options options = {.layers = NCT_QUANT_INT8, .group = 64, .report = see, .context = &s};
    const char *path = convert_to(dir, NCT_TINY_DIR "/coded", options, NULL);
    assert_int_equal(s.n_same, s.n);
    assert_same_logits(NCT_TINY_DIR "/coded", path, (nct_test_how){0});
    nct_test_folder_remove(dir);
}

/* A shared embedding and output matrix part ways when they are wanted in different widths. */
static void test_convert__embedding_and_output_matrix_may_differ(void **state) {
    (void)state;
    NCT_TEST_EACH_MODEL (source) {
        nct_engine *e = NULL;
        nct_model_info m;
        const char *dir = nct_test_folder();
        nct_convert_options options = {.head = NCT_QUANT_INT8, .group = 32};
        nct_convert_result result;
        const char *path = convert_to(dir, source, options, &result);
        NCT_ASSERT_OK(nct_engine_open(path, NULL, &e, fault));
        nct_engine_info(e, &m);
        assert_false(m.tied);
        assert_string_equal(e->model.weights.head->label, "int8 g32");
        assert_true(strcmp(e->model.weights.embedding.label, "int8 g32") != 0);
        nct_engine_close(e);
        assert_references(source, path);
        nct_test_folder_remove(dir);
    }
}

/* ------------------------------------------------------------------ calibrated */

/* Perplexity of a text in windows of 256 tokens, and the mean divergence of its predictions from another
 * model's, which are kept in `before` when it is NULL there. */
typedef struct measured {
    double ppl, divergence;
} measured;

typedef struct measuring {
    size_t n_vocab, row;
    const int32_t *ids;
    size_t n_ids;
    float *keep; /* [rows][n_vocab], filled or compared with */
    bool filling;
    double loss, divergence;
    size_t n_loss, n_rows;
} measuring;

static double log_sum(const float *z, size_t n) {
    double top = (double)z[nct_test_argmax(z, n)], sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += exp((double)z[i] - top);
    return top + log(sum);
}

static void measure_row(void *context, int position, const float *z) {
    measuring *k = context;
    double log_q = log_sum(z, k->n_vocab);
    float *kept = k->keep + k->n_rows++ * k->n_vocab;
    if ((size_t)position + 1 < k->n_ids) {
        k->loss += log_q - (double)z[k->ids[position + 1]];
        k->n_loss++;
    }
    if (k->filling) {
        memcpy(kept, z, k->n_vocab * sizeof *z);
        return;
    }
    double log_p = log_sum(kept, k->n_vocab);
    for (size_t i = 0; i < k->n_vocab; i++) {
        double p = (double)kept[i] - log_p, q = (double)z[i] - log_q;
        k->divergence += exp(p) * (p - q);
    }
}

enum { WINDOW = 256, WINDOWS = 8 };

static measured measure(const char *path, const char *text, size_t n_text, float **keep) {
    nct_test_model m;
    int32_t *ids = NULL;
    size_t n_ids;
    nct_model_info info;
    nct_test_model_open(&m, path, (nct_test_how){.exact = true, .n_threads = 2});
    nct_engine_info(m.engine, &info);
    NCT_ASSERT_OK(nct_encode(m.engine, text, n_text, false, false, &ids, &n_ids, fault));
    measuring k = {.n_vocab = m.n_vocab, .keep = *keep, .filling = !*keep};
    if (k.filling)
        k.keep = malloc(WINDOW * WINDOWS * m.n_vocab * sizeof(float));
    for (size_t w = 0; w < WINDOWS && (w + 1) * (WINDOW - 1) <= n_ids; w++) {
        int32_t window[WINDOW] = {info.bos};
        memcpy(window + 1, ids + w * (WINDOW - 1), (WINDOW - 1) * sizeof *ids);
        k.ids = window;
        k.n_ids = WINDOW;
        nct_feed_options options = {.on_row = measure_row, .context = &k};
        NCT_ASSERT_OK(nct_session_rewind(m.session, 0, fault));
        NCT_ASSERT_OK(nct_session_feed(m.session, window, WINDOW, &options, fault));
    }
    *keep = k.keep;
    assert_true(k.n_loss > 1000);
    nct_free(ids);
    nct_test_model_close(&m);
    return (measured){exp(k.loss / (double)k.n_loss), k.divergence / (double)k.n_rows};
}

static void test_convert__gptq_does_less_harm_than_rounding_to_the_nearest(void **state) {
    (void)state;
    need_stories("stories260K-minicpm");
    const char *source = stories("stories260K-minicpm"), *dir = nct_test_folder();
    size_t n;
    char *text = nct_test_read(stories("golden_ppl_stories.txt"), &n);
    size_t n_calibration = n * 2 / 3;
    float *keep = NULL;
    measured as_stored = measure(source, text + n_calibration, n - n_calibration, &keep), near, gptq, ordered;
    seen near_lines = {0}, gptq_lines = {0};
    nct_convert_options options = {
        .layers = NCT_QUANT_INT4, .group = 32, .text = text, .n_text = n_calibration, .report = see};
    nct_convert_result result;

    options.context = &near_lines;
    near = measure(convert_to(dir, source, options, &result), text + n_calibration, n - n_calibration, &keep);
    assert_true(result.n_tokens > 4000);
    options.gptq = true;
    options.context = &gptq_lines;
    const char *path = convert_to(dir, source, options, &result);
    gptq = measure(path, text + n_calibration, n - n_calibration, &keep);
    assert_references(source, path);
    options.act_order = true;
    options.report = NULL;
    ordered =
        measure(convert_to(dir, source, options, &result), text + n_calibration, n - n_calibration, &keep);
    print_message("perplexity %.3f; to the nearest %.3f (divergence %.4f), gptq %.3f (%.4f), in order of "
                  "size %.3f (%.4f)\n",
                  as_stored.ppl, near.ppl, near.divergence, gptq.ppl, gptq.divergence, ordered.ppl,
                  ordered.divergence);
    assert_true(gptq.ppl < near.ppl && ordered.ppl < near.ppl && near.ppl < 1.3 * as_stored.ppl);
    assert_true(gptq.divergence < 0.85 * near.divergence && ordered.divergence < 0.85 * near.divergence);
    /* weights fare worse, outputs better */
    assert_true(gptq_lines.worst_output < near_lines.worst_output &&
                gptq_lines.worst_weight > near_lines.worst_weight);
    assert_true(near_lines.outputs == 5 * 7 && gptq_lines.outputs == 5 * 7);
    free(keep);
    nct_free(text);
    nct_test_folder_remove(dir);
}

/* The same file whatever the number of threads. */
static void test_convert__threads_do_not_show(void **state) {
    (void)state;
    const char *dir = nct_test_folder();
    char *text = malloc(20000), *first = NULL;
    size_t n_first = 0;
    for (size_t i = 0; i < 20000; i++)
        text[i] = "the quick brown fox, a lazy dog. "[(i * i / 7 + i) % 33];
    for (int threads = 1; threads <= 3; threads++) {
        nct_convert_options options = {.layers = NCT_QUANT_INT4,
                                       .head = NCT_QUANT_INT8,
                                       .embedding = NCT_QUANT_INT8,
                                       .group = 32,
                                       .gptq = true,
                                       .text = text,
                                       .n_text = 20000,
                                       .n_tokens = 1000,
                                       .n_threads = threads};
        size_t n;
        char *bytes = nct_test_read(convert_to(dir, NCT_TINY_DIR "/float", options, NULL), &n);
        if (!first) {
            first = bytes;
            n_first = n;
            continue;
        }
        assert_int_equal(n, n_first);
        assert_memory_equal(bytes, first, n);
        nct_free(bytes);
    }
    nct_free(first);
    free(text);
    nct_test_folder_remove(dir);
}

/* ------------------------------------------------------------------ what goes wrong */

typedef struct stopping {
    int stop, left;
} stopping;

static void stop_later(void *context, double fraction, const char *what) {
    stopping *s = context;
    assert_true(fraction >= 0 && fraction <= 1 && what && *what);
    if (s->left-- == 0)
        s->stop = 1;
}

static void test_convert__stopping_leaves_the_older_bundle(void **state) {
    (void)state;
    const char *dir = nct_test_folder(), *path = nct_test_path("%s/made.nct", dir);
    nct_status status = NCT_E_STOPPED;
    for (int after = 0; status != NCT_OK; after++) {
        stopping s = {.left = after};
        nct_convert_options options = {
            .layers = NCT_QUANT_INT4, .progress = stop_later, .context = &s, .stop = &s.stop};
        nct_convert_result result;
        nct_error err;
        assert_true(after < 100);
        nct_test_write(path, "old", 3);
        status = nct_convert(NCT_TINY_DIR "/float", path, &options, &result, &err);
        assert_false(nct_is_file(nct_test_path("%s/made.nct.part", dir)));
        size_t n;
        char *bytes = nct_test_read(path, &n);
        if (status == NCT_OK) {
            assert_int_equal(s.stop, 0);
            assert_true(n > 3);
        } else {
            assert_int_equal(status, NCT_E_STOPPED);
            assert_true(n == 3 && memcmp(bytes, "old", 3) == 0);
        }
        nct_free(bytes);
    }
    nct_test_folder_remove(dir);
}

static void test_convert__what_cannot_be_is_refused(void **state) {
    (void)state;
    const char *dir = nct_test_folder(), *path = nct_test_path("%s/made.nct", dir),
               *source = NCT_TINY_DIR "/float";
    static const struct {
        nct_convert_options options;
        const char *told;
    } cases[] = {
        {{.gptq = true, .layers = NCT_QUANT_INT4}, "text"},
        {{.text = "a short text", .n_text = 12, .layers = NCT_QUANT_INT4}, "too few"},
        {{.text = "a text", .n_text = 6}, "no use"},
        {{.layers = NCT_QUANT_INT4, .group = 48}, "groups of 48"},
        {{.n_threads = -1}, "threads"},
        {{.isa = "none"}, "none"},
    };
    nct_convert_result result;
    nct_error err;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(nct_convert(source, path, &cases[i].options, &result, &err), NCT_E_ARGUMENT);
        assert_non_null(strstr(err.text, cases[i].told));
        assert_false(nct_is_file(path));
        assert_false(nct_is_file(nct_test_path("%s/made.nct.part", dir)));
    }
    assert_int_equal(nct_convert(nct_test_path("%s/none", dir), path, NULL, &result, &err), NCT_E_IO);
    assert_int_equal(nct_convert(source, dir, NULL, &result, &err), NCT_E_ARGUMENT);
    NCT_ASSERT_OK(nct_convert(source, path, NULL, &result, fault));
    assert_int_equal(nct_convert(path, path, NULL, &result, &err), NCT_E_ARGUMENT);
    assert_non_null(strstr(err.text, "own source"));
    nct_test_folder_remove(dir);
}

/* A damaged bundle is no source: its checksums are looked at then. */
static void test_convert__a_damaged_bundle_is_not_converted(void **state) {
    (void)state;
    const char *dir = nct_test_folder(), *again = nct_test_path("%s/again.nct", dir);
    const char *path = convert_to(dir, NCT_TINY_DIR "/float", (nct_convert_options){0}, NULL);
    size_t n;
    char *bytes = nct_test_read(path, &n);
    nct_checkpoint *checkpoint = NULL;
    NCT_ASSERT_OK(nct_checkpoint_open(path, &checkpoint, fault));
    const nct_section *s =
        nct_bundle_find(nct_checkpoint_bundle(checkpoint), NCT_SECTION_PANELS, NCT_ROLE_Q, 0);
    bytes[s->offset + 5] ^= 1;
    nct_checkpoint_close(checkpoint);
    nct_test_write(path, bytes, n);
    nct_convert_result result;
    nct_error err;
    assert_int_equal(nct_convert(path, again, NULL, &result, &err), NCT_E_FORMAT);
    assert_non_null(strstr(err.text, "model.layers.0.self_attn.q_proj"));
    nct_free(bytes);
    nct_test_folder_remove(dir);
}

static void test_convert__every_refused_allocation_is_reported(void **state) {
    (void)state;
    const char *dir = nct_test_folder(), *path = nct_test_path("%s/made.nct", dir);
    char text[400];
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = "ab cd e"[i * i % 7];
    nct_status status = NCT_E_MEMORY;
    long fail = 0;
    for (; status != NCT_OK; fail += 1 + fail / 40) {
        nct_convert_options options = {.layers = NCT_QUANT_INT4,
                                       .group = 16,
                                       .gptq = true,
                                       .text = text,
                                       .n_text = sizeof text,
                                       .n_threads = 1};
        nct_convert_result result;
        nct_error err = {0};
        atomic_store(&nct_mem_fail_in, fail);
        status = nct_convert(NCT_TINY_DIR "/float", path, &options, &result, &err);
        atomic_store(&nct_mem_fail_in, -1);
        /* a JSON parser of another library tells a lack of memory as a fault of the text */
        assert_true(status == NCT_OK || status == NCT_E_MEMORY || status == NCT_E_FORMAT);
        assert_false(nct_is_file(nct_test_path("%s/made.nct.part", dir)));
        assert_true(nct_is_file(path) == (status == NCT_OK));
    }
    print_message("%ld allocations\n", fail);
    nct_test_folder_remove(dir);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_convert__a_bundle_computes_what_its_source_does),
        cmocka_unit_test(test_convert__every_container_and_encoding_makes_a_bundle),
        cmocka_unit_test(test_convert__trained_models_make_bundles),
        cmocka_unit_test(test_convert__ternary_weights_take_two_bits),
        cmocka_unit_test(test_convert__a_bundle_of_a_bundle_is_the_same),
        cmocka_unit_test(test_convert__rounding_changes_little_and_tells),
        cmocka_unit_test(test_convert__what_is_narrow_already_stays),
        cmocka_unit_test(test_convert__embedding_and_output_matrix_may_differ),
        cmocka_unit_test(test_convert__gptq_does_less_harm_than_rounding_to_the_nearest),
        cmocka_unit_test(test_convert__threads_do_not_show),
        cmocka_unit_test(test_convert__stopping_leaves_the_older_bundle),
        cmocka_unit_test(test_convert__what_cannot_be_is_refused),
        cmocka_unit_test(test_convert__a_damaged_bundle_is_not_converted),
        cmocka_unit_test(test_convert__every_refused_allocation_is_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
