#include "engine/convert.h"

#include <math.h>
#include <stdio.h>
#include <sys/stat.h>

#include "base/map.h"
#include "engine/calibrate.h"
#include "engine/drift.h"
#include "engine/engine.h"
#include "text/bpe.h"
#include "text/vocab_tables.h"

enum { PROBE_IDS = 16 };

static const char probe_text[] =
    "The noctule is a small, fast bat that flies in the dark by calling ahead and trusting only the echo.";

/* The matrices of a layer in the order they are computed in; those of one stage read the same inputs. */
static const struct step {
    nct_role role;
    int stage;
} steps[] = {{NCT_ROLE_Q, 0},    {NCT_ROLE_K, 0},  {NCT_ROLE_V, 0},   {NCT_ROLE_O, 1},
             {NCT_ROLE_GATE, 2}, {NCT_ROLE_UP, 2}, {NCT_ROLE_DOWN, 3}};
enum { N_STEPS = sizeof steps / sizeof *steps, N_STAGES = 4 };

struct converting {
    const nct_convert_options *options;
    size_t group;
    nct_checkpoint *checkpoint;
    nct_config config;
    nct_vocab *vocab;
    nct_kernels kernels;
    nct_pool *pool;
    nct_rope rope;
    nct_bundle_writer *writer;
    nct_linear source_embedding, embedding, source_head, head; /* `head`, `source_head` empty where tied */
    bool tied;                                                 /* in the bundle */
    float *final_norm;
    nct_calibration before, after; /* the prompt with the source's weights and with the bundle's */
    nct_calibration text;          /* the calibration text, with the bundle's */
    int32_t probe[PROBE_IDS];
    size_t n_probe;
    nct_convert_result result;
    nct_error *err;
};

static nct_status poll_stop(const struct converting *k) {
    if (k->options->stop && *k->options->stop)
        return nct_fail(k->err, NCT_E_STOPPED, "stopped; nothing was written");
    return NCT_OK;
}

static nct_status tell(const struct converting *k, double fraction, const char *what) {
    if (k->options->progress)
        k->options->progress(k->options->context, fraction, what);
    return poll_stop(k);
}

/* ------------------------------------------------------------------ one matrix */

static nct_quant wanted(const struct converting *k, nct_role role) {
    return role == NCT_ROLE_EMBEDDING ? k->options->embedding
           : role == NCT_ROLE_HEAD    ? k->options->head
                                      : k->options->layers;
}

static nct_status open_source(const struct converting *k, nct_role role, size_t layer, nct_stored *stored,
                              nct_unpacked *u) {
    size_t n_rows = 0, n_cols = 0;
    nct_role stored_as = role == NCT_ROLE_HEAD && k->config.tied ? NCT_ROLE_EMBEDDING : role;
    nct_weight_shape(&k->config, role, &n_rows, &n_cols);
    NCT_TRY(nct_checkpoint_matrix(k->checkpoint, stored_as, (int)layer, n_rows, n_cols, stored, k->err));
    nct_status status = stored->codec->describe(stored, u, k->err);
    if (status != NCT_OK)
        nct_stored_close(stored);
    return status;
}

/* Rounds a matrix; factor: what its inputs are like, or NULL. */
static nct_status round_matrix(const struct converting *k, const nct_stored *stored, nct_quant quant,
                               const nct_factor *factor, nct_linear *out) {
    nct_rounded rounded = {0};
    nct_status status =
        factor && k->options->gptq
            ? nct_gptq_round(stored, factor, quant, k->group, &k->kernels, k->pool, &rounded, k->err)
            : nct_round_nearest(stored, quant, k->group, k->pool, &rounded, k->err);
    if (status == NCT_OK)
        status = nct_linear_open(&rounded.stored, k->pool, out, k->err);
    nct_rounded_close(&rounded);
    return status;
}

/* What a matrix becomes: *changed false leaves it as it is, and nothing to *out. Ternary values get codes that
   hold them, whatever is wanted; factor: what the inputs are like, or NULL. */
static nct_status make_matrix(const struct converting *k, nct_role role, const nct_stored *stored,
                              const nct_unpacked *u, const nct_factor *factor, nct_linear *out,
                              bool *changed) {
    nct_rounded ternary = {0};
    NCT_TRY(nct_ternary_find(stored, k->pool, &ternary, changed, k->err));
    if (*changed) {
        nct_status status = nct_linear_open(&ternary.stored, k->pool, out, k->err);
        nct_rounded_close(&ternary);
        return status;
    }
    *changed = nct_round_narrows(u, wanted(k, role));
    return *changed ? round_matrix(k, stored, wanted(k, role), factor, out) : NCT_OK;
}

static double relative(const nct_difference *d) {
    return d->norm2 > 0 ? sqrt(d->error2 / d->norm2) : sqrt(d->error2);
}

/* Compares what will be written with the source, and tells. */
static nct_status report_matrix(const struct converting *k, nct_role role, size_t layer,
                                const nct_stored *stored, const nct_unpacked *u, const nct_factor *factor,
                                const nct_linear *l) {
    nct_difference d = {0};
    char name[NCT_NAME_BYTES];
    nct_name(NCT_SCHEME_HF, "", role, (int)layer, name);
    nct_convert_line line = {.name = name,
                             .from = u->label,
                             .to = l->label,
                             .n_rows = stored->n_rows,
                             .n_cols = stored->n_cols,
                             .n_bytes = nct_panels_bytes(&l->panels),
                             .output_error = -1};
    if (!k->options->report)
        return NCT_OK;
    NCT_TRY(nct_compare(stored, &l->panels, l->perm, k->pool, &d, k->err));
    line.same = d.same;
    line.weight_error = relative(&d);
    if (factor) {
        NCT_TRY(nct_compare_outputs(stored, &l->panels, l->perm, factor, &k->kernels, k->pool, &d, k->err));
        line.output_error = relative(&d);
    }
    k->options->report(k->options->context, &line);
    return NCT_OK;
}

static nct_status write_matrix(const struct converting *k, nct_role role, size_t layer, const nct_linear *l) {
    nct_section s = {.kind = NCT_SECTION_PANELS,
                     .role = (uint32_t)role,
                     .layer = (uint32_t)layer,
                     .n_rows = l->panels.n_rows,
                     .n_cols = l->panels.n_cols,
                     .ready.panels = l->panels};
    memcpy(s.ready.label, l->label, sizeof s.ready.label);
    NCT_TRY(nct_bundle_add(k->writer, &s, l->panels.data, nct_panels_bytes(&l->panels), k->err));
    if (!l->perm)
        return NCT_OK;
    s.kind = NCT_SECTION_PERM;
    s.n_rows = 1;
    s.ready = (nct_ready_panels){0};
    return nct_bundle_add(k->writer, &s, l->perm, l->panels.n_cols * sizeof *l->perm, k->err);
}

static nct_status write_norm(const struct converting *k, nct_role role, size_t layer, const float *norm) {
    nct_section s = {.kind = NCT_SECTION_NORM,
                     .role = (uint32_t)role,
                     .layer = (uint32_t)layer,
                     .n_rows = 1,
                     .n_cols = k->config.hidden};
    return nct_bundle_add(k->writer, &s, norm, k->config.hidden * sizeof *norm, k->err);
}

/* ------------------------------------------------------------------ embedding and output matrix */

/* A matrix outside the layers: as it is to *source, as it will be to *out, which stays empty if that is the same. */
static nct_status take_outer(const struct converting *k, nct_role role, nct_linear *source, nct_linear *out) {
    nct_stored stored = {0};
    nct_unpacked u;
    NCT_TRY(open_source(k, role, 0, &stored, &u));
    nct_status status = nct_linear_open(&stored, k->pool, source, k->err);
    bool changed = false;
    if (status == NCT_OK)
        status = make_matrix(k, role, &stored, &u, NULL, out, &changed);
    const nct_linear *written = changed ? out : source;
    if (status == NCT_OK)
        status = report_matrix(k, role, 0, &stored, &u, NULL, written);
    if (status == NCT_OK)
        status = write_matrix(k, role, 0, written);
    nct_stored_close(&stored);
    return status;
}

static const nct_linear *or_source(const nct_linear *made, const nct_linear *source) {
    return made->panels.data ? made : source;
}

static const nct_linear *source_head(const struct converting *k) {
    return k->config.tied ? &k->source_embedding : &k->source_head;
}

static const nct_linear *bundle_head(const struct converting *k) {
    return k->tied ? or_source(&k->embedding, &k->source_embedding) : or_source(&k->head, &k->source_head);
}

/* What a calibration run needs beside the layer: `bundle` says whose embedding and output matrix. */
static nct_runner runner(const struct converting *k, bool bundle) {
    return (nct_runner){.config = &k->config,
                        .rope = &k->rope,
                        .kernels = &k->kernels,
                        .pool = k->pool,
                        .stop = k->options->stop,
                        .embedding =
                            bundle ? or_source(&k->embedding, &k->source_embedding) : &k->source_embedding,
                        .head = bundle ? bundle_head(k) : source_head(k),
                        .final_norm = k->final_norm};
}

/* ------------------------------------------------------------------ one layer */

struct layer {
    size_t index;
    nct_layer_weights source; /* as it is */
    nct_layer_weights made;   /* rounded matrices; empty ones stay as they are */
    nct_layer_weights mixed;  /* borrows: what the layer is made of so far */
};

static void layer_close(struct layer *l) {
    nct_layer_weights_close(&l->source);
    nct_layer_weights_close(&l->made);
}

/* Rounds, reports and writes one matrix. */
static nct_status take_step(const struct converting *k, struct layer *l, nct_role role,
                            const nct_factor *factor) {
    nct_stored stored = {0};
    nct_unpacked u;
    nct_linear *made = nct_layer_matrix(&l->made, role), *mixed = nct_layer_matrix(&l->mixed, role);
    NCT_TRY(open_source(k, role, l->index, &stored, &u));
    bool changed = false;
    nct_status status = make_matrix(k, role, &stored, &u, factor, made, &changed);
    if (status == NCT_OK && changed)
        *mixed = *made;
    if (status == NCT_OK)
        status = report_matrix(k, role, l->index, &stored, &u, factor, mixed);
    if (status == NCT_OK)
        status = write_matrix(k, role, l->index, mixed);
    nct_stored_close(&stored);
    return status;
}

/* The matrices of one stage, with the inputs that the text gives them after all earlier ones were rounded. */
static nct_status take_stage(struct converting *k, struct layer *l, int stage) {
    nct_factor factor = {0};
    nct_status status = NCT_OK;
    size_t first = 0;
    while (steps[first].stage != stage)
        first++;
    if (k->text.n_sequences) {
        nct_runner run = runner(k, true);
        nct_hessian hessian = {0};
        const nct_linear *watched = nct_layer_matrix(&l->mixed, steps[first].role);
        status = nct_hessian_open(watched->panels.n_cols, k->pool, &hessian, k->err);
        if (status == NCT_OK)
            status = nct_calibration_watch(&k->text, &run, &l->mixed, watched, &hessian, k->err);
        if (status == NCT_OK)
            status = nct_hessian_factor(&hessian, 0.01, k->options->act_order, k->pool, &factor, k->err);
        nct_hessian_close(&hessian);
    }
    for (size_t i = first; i < N_STEPS && steps[i].stage == stage && status == NCT_OK; i++)
        status = take_step(k, l, steps[i].role, k->text.n_sequences ? &factor : NULL);
    nct_factor_close(&factor);
    return status;
}

static nct_status take_layer(struct converting *k, struct layer *l) {
    nct_runner before = runner(k, false), after = runner(k, true);
    char what[64];
    NCT_TRY(nct_layer_weights_open(k->checkpoint, &k->config, l->index, k->pool, &l->source, k->err));
    l->mixed = l->source;
    NCT_TRY(nct_calibration_advance(&k->before, &before, &l->source, k->err));
    for (int stage = 0; stage < N_STAGES; stage++) {
        snprintf(what, sizeof what, "layer %zu of %zu", l->index + 1, k->config.n_layers);
        NCT_TRY(tell(k, ((double)l->index + stage / (double)N_STAGES) / (double)k->config.n_layers, what));
        NCT_TRY(take_stage(k, l, stage));
    }
    NCT_TRY(nct_calibration_advance(&k->after, &after, &l->mixed, k->err));
    if (k->text.n_sequences && l->index + 1 < k->config.n_layers)
        NCT_TRY(nct_calibration_advance(&k->text, &after, &l->mixed, k->err));
    NCT_TRY(write_norm(k, NCT_ROLE_ATTN_NORM, l->index, l->source.attn_norm));
    return write_norm(k, NCT_ROLE_FFN_NORM, l->index, l->source.ffn_norm);
}

/* ------------------------------------------------------------------ beginning */

/* An upper bound of what the sections take. */
static nct_status estimate(const struct converting *k, uint64_t *n_bytes) {
    uint64_t sum = 4 << 20;
    for (size_t layer = 0; layer < k->config.n_layers; layer++)
        for (int role = NCT_ROLE_EMBEDDING; role <= NCT_ROLE_DOWN; role++) {
            bool outer = role <= NCT_ROLE_HEAD;
            if (nct_role_is_norm((nct_role)role) || (outer && layer > 0) ||
                (role == NCT_ROLE_HEAD && k->tied))
                continue;
            nct_stored stored = {0};
            nct_unpacked u;
            NCT_TRY(open_source(k, (nct_role)role, layer, &stored, &u));
            nct_quant quant = wanted(k, (nct_role)role);
            uint64_t n = (uint64_t)stored.n_rows * stored.n_cols;
            bool rounded = nct_round_narrows(&u, quant), two = !rounded && u.form == NCT_FORM_CODES2,
                 four = rounded ? quant == NCT_QUANT_INT4 : u.form == NCT_FORM_CODES4;
            bool coded = rounded || nct_unpacked_is_codes(&u);
            size_t group = rounded ? k->group : u.group;
            sum += coded ? (two ? n / 4 : four ? n / 2 : n) + n / (group < 128 ? group : 128) * (u.has_min ? 8 : 4)
                         : n * (u.form == NCT_FORM_F32 ? 4 : 2);
            sum += (uint64_t)stored.n_rows * 16 + (stored.perm ? 4 * (uint64_t)stored.n_cols : 0) + (4 << 12);
            nct_stored_close(&stored);
        }
    *n_bytes = sum + (uint64_t)k->config.n_layers * k->config.hidden * 8;
    return NCT_OK;
}

/* How the bundle was made, for people. */
static void describe(const struct converting *k, const char *source, char *made, size_t n) {
    static const char *const names[] = {
        [NCT_QUANT_KEEP] = "as stored", [NCT_QUANT_INT8] = "int8", [NCT_QUANT_INT4] = "int4"};
    const char *slash = strrchr(source, '/'), *name = slash && slash[1] ? slash + 1 : source;
    const nct_convert_options *o = k->options;
    size_t at = (size_t)snprintf(made, n, "noctule %s from %.200s (%s): layers %s", NOCTULE_VERSION, name,
                                 nct_checkpoint_container(k->checkpoint), names[o->layers]);
    if (o->layers != NCT_QUANT_KEEP && at < n)
        at += (size_t)snprintf(made + at, n - at, " g%zu %s", k->group,
                               !o->gptq       ? "to the nearest"
                               : o->act_order ? "gptq, large inputs first"
                                              : "gptq");
    if (at < n)
        snprintf(made + at, n - at, ", output matrix %s, embedding %s", names[o->head], names[o->embedding]);
}

/* The text of a licence beside the source, if there is one that can be read. */
static nct_status write_licence(const struct converting *k) {
    static const char *const names[] = {"LICENSE", "LICENSE.txt", "LICENSE.md",
                                        "LICENCE", "LICENCE.txt", "LICENCE.md"};
    const char *directory = nct_checkpoint_directory(k->checkpoint);
    const nct_bundle *bundle = nct_checkpoint_bundle(k->checkpoint);
    const nct_section key = {.kind = NCT_SECTION_LICENCE};
    if (bundle) {
        const nct_section *s = nct_bundle_find(bundle, NCT_SECTION_LICENCE, 0, 0);
        return s ? nct_bundle_add(k->writer, &key, s->data, s->n_bytes, k->err) : NCT_OK;
    }
    for (size_t i = 0; directory && i < sizeof names / sizeof *names; i++) {
        char path[4096];
        nct_map map;
        if (!nct_path_join(path, sizeof path, directory, names[i]) || !nct_is_file(path) ||
            nct_map_open(path, &map, NULL) != NCT_OK)
            continue;
        nct_status status =
            map.n_bytes <= 1 << 20 ? nct_bundle_add(k->writer, &key, map.data, map.n_bytes, k->err) : NCT_OK;
        nct_map_close(&map);
        return status;
    }
    return NCT_OK;
}

static nct_status write_vocab(const struct converting *k) {
    nct_bytes tables = {0};
    nct_status status = nct_vocab_write_tables(k->vocab, &tables, k->err);
    if (status == NCT_OK)
        status = nct_bundle_add(k->writer, &(nct_section){.kind = NCT_SECTION_VOCAB}, tables.data, tables.n,
                                k->err);
    nct_bytes_reset(&tables);
    return status;
}

/* Ids that the model has: a tokenizer may know more. */
static size_t keep_known(int32_t *ids, size_t n, size_t n_vocab) {
    size_t kept = 0;
    for (size_t i = 0; i < n; i++)
        if (ids[i] >= 0 && (size_t)ids[i] < n_vocab)
            ids[kept++] = ids[i];
    return kept;
}

static nct_status take_probe(struct converting *k) {
    int32_t *ids = NULL;
    size_t n = 0;
    NCT_TRY(nct_bpe_encode(k->vocab, probe_text, sizeof probe_text - 1, false, k->vocab->add_bos, &ids, &n,
                           k->err));
    n = keep_known(ids, n, k->config.n_vocab);
    n = n < PROBE_IDS ? n : PROBE_IDS;
    n = n < k->config.max_positions ? n : k->config.max_positions;
    memcpy(k->probe, ids, n * sizeof *ids);
    k->n_probe = n ? n : 1; /* id 0 if the tokenizer knows nothing of it */
    nct_free(ids);
    nct_runner before = runner(k, false), after = runner(k, true);
    NCT_TRY(nct_calibration_open(k->probe, k->n_probe, k->n_probe, -1, &before, &k->before, k->err));
    return nct_calibration_open(k->probe, k->n_probe, k->n_probe, -1, &after, &k->after, k->err);
}

static nct_status take_text(struct converting *k) {
    enum { SEQUENCE = 512, TOKENS = 32768, FEWEST = 64 };
    const nct_convert_options *o = k->options;
    int32_t *ids = NULL;
    size_t n = 0, length = k->config.max_positions < SEQUENCE ? k->config.max_positions : SEQUENCE;
    size_t most = o->n_tokens ? o->n_tokens : TOKENS;
    if (!o->text)
        return NCT_OK;
    NCT_TRY(nct_bpe_encode(k->vocab, o->text, o->n_text, false, false, &ids, &n, k->err));
    n = keep_known(ids, n, k->config.n_vocab);
    int32_t bos = k->vocab->add_bos && k->vocab->bos >= 0 && (size_t)k->vocab->bos < k->config.n_vocab
                      ? k->vocab->bos
                      : -1;
    nct_runner run = runner(k, true);
    nct_status status = NCT_OK;
    if (n < FEWEST || most < FEWEST)
        status = nct_fail(k->err, NCT_E_ARGUMENT,
                          "%zu tokens of text are too few to calibrate with, expected at least %d",
                          n < most ? n : most, FEWEST);
    if (status == NCT_OK)
        status = nct_calibration_open_text(ids, n, length, most, bos, &run, &k->text, k->err);
    k->result.n_tokens = k->text.n_sequences * k->text.length;
    nct_free(ids);
    return status;
}

/* Opens the source and everything that is needed of it. */
static nct_status begin(struct converting *k, const char *source, const char *destination) {
    const nct_convert_options *o = k->options;
    struct stat a, b;
    if (stat(source, &a) == 0 && stat(destination, &b) == 0 && a.st_dev == b.st_dev && a.st_ino == b.st_ino)
        return nct_fail(k->err, NCT_E_ARGUMENT, "%s: the result would replace its own source", destination);
    if (o->gptq && !o->text)
        return nct_fail(k->err, NCT_E_ARGUMENT, "GPTQ needs a text to calibrate with");
    if (o->text && o->layers == NCT_QUANT_KEEP)
        return nct_fail(k->err, NCT_E_ARGUMENT,
                        "a calibration text is of no use where the layers stay as they are stored");
    NCT_TRY(nct_round_check(NCT_QUANT_INT4, k->group, k->err));
    if (o->n_threads < 0 || o->n_threads > 1024)
        return nct_fail(k->err, NCT_E_ARGUMENT, "%d threads are out of range", o->n_threads);
    NCT_TRY(nct_kernels_pick(o->isa, &k->kernels, k->err));
    NCT_TRY(nct_pool_open(o->n_threads ? o->n_threads : nct_cpu_usable(), &k->pool, k->err));
    NCT_TRY(nct_checkpoint_open(source, &k->checkpoint, k->err));
    NCT_TRY(nct_config_check(k->checkpoint, source, &k->config, k->err));
    k->tied = k->config.tied && o->head == o->embedding;
    NCT_TRY(nct_vocab_open(k->checkpoint, &k->vocab, k->err));
    const nct_bundle *bundle = nct_checkpoint_bundle(k->checkpoint);
    if (bundle)
        NCT_TRY(nct_bundle_verify(bundle, k->pool, NULL, NULL, k->err));
    const nct_config *c = &k->config;
    return nct_rope_open(c->head_dim, c->rope_theta, c->rope_factor, (double)c->max_positions,
                         c->rope_original_max, &k->rope, k->err);
}

/* What comes before the layers. */
static nct_status write_front(struct converting *k, const char *source, const char *destination) {
    uint64_t n_bytes = 0;
    char made[512];
    nct_raw_config raw = *nct_checkpoint_config(k->checkpoint);
    raw.tie_word_embeddings = k->tied;
    raw.tie_stated = true;
    NCT_TRY(estimate(k, &n_bytes));
    NCT_TRY(nct_bundle_create(destination, n_bytes, &k->writer, k->err));
    describe(k, source, made, sizeof made);
    NCT_TRY(nct_bundle_add_config(k->writer, &raw, made, k->err));
    NCT_TRY(write_licence(k));
    NCT_TRY(write_vocab(k));
    NCT_TRY(tell(k, 0, "embedding"));
    NCT_TRY(take_outer(k, NCT_ROLE_EMBEDDING, &k->source_embedding, &k->embedding));
    if (!k->tied) {
        NCT_TRY(tell(k, 0, "output matrix"));
        NCT_TRY(take_outer(k, NCT_ROLE_HEAD, &k->source_head, &k->head));
    }
    NCT_TRY(nct_weight_norm_open(k->checkpoint, &k->config, NCT_ROLE_FINAL_NORM, 0, &k->final_norm, k->err));
    return write_norm(k, NCT_ROLE_FINAL_NORM, 0, k->final_norm);
}

/* ------------------------------------------------------------------ the end */

static nct_status write_references(struct converting *k) {
    size_t n = k->config.n_vocab;
    void *block = NULL;
    NCT_TRY(nct_alloc(&block, 2 * n, sizeof(float), k->err));
    float *logits = block;
    nct_runner before = runner(k, false), after = runner(k, true);
    nct_status status = nct_calibration_logits(&k->before, &before, logits, k->err);
    if (status == NCT_OK)
        status = nct_calibration_logits(&k->after, &after, logits + n, k->err);
    nct_reference r = {.n_ids = k->n_probe, .n_vocab = n, .logits = logits};
    snprintf(r.isa, sizeof r.isa, "%s", k->kernels.isa);
    memcpy(r.id, k->probe, k->n_probe * sizeof *r.id);
    if (status == NCT_OK)
        status = nct_bundle_add_reference(k->writer, NCT_REFERENCE_SOURCE, &r, k->err);
    r.logits = logits + n;
    if (status == NCT_OK)
        status = nct_bundle_add_reference(k->writer, NCT_REFERENCE_SELF, &r, k->err);
    nct_drift drift = {0};
    if (status == NCT_OK && !nct_drift_compare(logits, logits + n, n, &drift))
        status = nct_fail(k->err, NCT_E_FORMAT, "with these weights a logit is no finite number");
    k->result.same = drift.same;
    k->result.same_first = drift.same_first;
    k->result.divergence = drift.divergence;
    k->result.largest = drift.largest;
    nct_free(block);
    return status;
}

static nct_status convert(struct converting *k, const char *source, const char *destination) {
    NCT_TRY(begin(k, source, destination));
    NCT_TRY(write_front(k, source, destination));
    NCT_TRY(take_probe(k));
    NCT_TRY(take_text(k));
    for (size_t i = 0; i < k->config.n_layers; i++) {
        struct layer l = {.index = i};
        nct_status status = take_layer(k, &l);
        layer_close(&l);
        NCT_TRY(status);
    }
    NCT_TRY(write_references(k));
    NCT_TRY(tell(k, 1, "verifying"));
    nct_bundle_writer *writer = k->writer;
    k->writer = NULL;
    return nct_bundle_finish(writer, k->pool, &k->result.n_bytes, k->err);
}

nct_status nct_convert(const char *source, const char *destination, const nct_convert_options *options,
                       nct_convert_result *result, nct_error *err) {
    nct_convert_options o = options ? *options : (nct_convert_options){0};
    struct converting k = {.options = &o, .group = o.group ? o.group : NCT_GROUP_MAX, .err = err};
    nct_status status = convert(&k, source, destination);
    nct_bundle_abandon(k.writer);
    nct_calibration_close(&k.before);
    nct_calibration_close(&k.after);
    nct_calibration_close(&k.text);
    nct_linear_close(&k.source_embedding);
    nct_linear_close(&k.embedding);
    nct_linear_close(&k.source_head);
    nct_linear_close(&k.head);
    nct_free(k.final_norm);
    nct_rope_close(&k.rope);
    nct_vocab_close(k.vocab);
    nct_checkpoint_close(k.checkpoint);
    nct_pool_close(k.pool);
    if (status == NCT_OK)
        *result = k.result;
    return status;
}
