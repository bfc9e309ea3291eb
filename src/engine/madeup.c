#include "engine/madeup.h"

#include <stdio.h>
#include <string.h>

#include "base/cpu.h"
#include "base/rng.h"
#include "engine/engine.h"

enum { GROUP = 128 };

/* ------------------------------------------------------------------ sizes */

static bool shape_panels(nct_panels *p, nct_madeup_form form, size_t n_rows, size_t n_cols) {
    static const nct_panel_kind kinds[] = {NCT_PANEL_CODES4, NCT_PANEL_CODES8, NCT_PANEL_F16, NCT_PANEL_BF16};
    *p = (nct_panels){.kind = kinds[form], .n_rows = n_rows, .n_cols = n_cols};
    if (nct_is_coded(p->kind)) {
        p->group = n_cols < GROUP ? n_cols : GROUP;
        p->bias = form == NCT_MADEUP_INT4 ? 8 : 128;
    }
    return nct_panels_shape(p);
}

static const nct_role roles[] = {NCT_ROLE_Q, NCT_ROLE_K, NCT_ROLE_V, NCT_ROLE_O, NCT_ROLE_GATE, NCT_ROLE_UP, NCT_ROLE_DOWN};
enum { N_ROLES = sizeof roles / sizeof *roles };

static uint64_t matrix_bytes(const nct_madeup *m, nct_role role, nct_madeup_form form) {
    size_t n_rows, n_cols;
    nct_panels p;
    nct_weight_shape(m->config, role, &n_rows, &n_cols);
    return shape_panels(&p, form, n_rows, n_cols) ? nct_panels_bytes(&p) : UINT64_MAX / 4096;
}

uint64_t nct_madeup_layer_bytes(const nct_madeup *m) {
    uint64_t sum = 2 * m->config->hidden * sizeof(float);
    for (size_t i = 0; i < N_ROLES; i++)
        sum += matrix_bytes(m, roles[i], m->layers);
    return sum;
}

uint64_t nct_madeup_weight_bytes(const nct_madeup *m) {
    uint64_t sum = m->config->hidden * sizeof(float) + m->config->n_layers * nct_madeup_layer_bytes(m) +
                   matrix_bytes(m, NCT_ROLE_HEAD, m->head);
    return m->config->tied ? sum : sum + matrix_bytes(m, NCT_ROLE_EMBEDDING, NCT_MADEUP_FLOAT16);
}

/* ------------------------------------------------------------------ filling */

/* Bytes that are small weights: codes around their bias, and float16 numbers whose high byte is 0x18 to 0x1f, below
 * 0.008; bfloat16 ones between 0.007 and 0.02. None of them is infinite or so small that arithmetic is slow. */
static void fill_panel(void *context, int task, int worker) {
    (void)worker;
    const nct_panels *p = context;
    uint8_t *to = p->data + (size_t)task * p->panel_bytes;
    for (size_t i = 0; i < p->panel_bytes; i += 8) {
        uint64_t bits = nct_rng_mix((uint64_t)task << 32 | i);
        bits = p->kind == NCT_PANEL_BF16 ? (bits & 0x80ff80ff80ff80ffu) | 0x3c003c003c003c00u
                                         : (bits & 0x8787878787878787u) | 0x1818181818181818u;
        memcpy(to + i, &bits, p->panel_bytes - i < 8 ? p->panel_bytes - i : 8);
    }
    if (nct_is_coded(p->kind)) /* scales are positive */
        for (size_t i = p->scale_off; i < p->panel_bytes; i++)
            to[i] &= 0x7f;
}

static nct_status make_matrix(const nct_config *config, nct_role role, nct_madeup_form form, nct_pool *pool,
                              nct_linear *linear, nct_error *err) {
    static const char *const labels[] = {"int4 g128", "int8 g128", "f16", "bf16"};
    nct_linear l = {0};
    size_t n_rows, n_cols;
    void *data = NULL;
    nct_weight_shape(config, role, &n_rows, &n_cols);
    if (!shape_panels(&l.panels, form, n_rows, n_cols))
        return nct_fail(err, NCT_E_ARGUMENT, "a matrix of %zu x %zu cannot be held", n_rows, n_cols);
    NCT_TRY(nct_pool_memory(pool, l.panels.n_panels, l.panels.panel_bytes, &data, err));
    l.panels.data = data;
    snprintf(l.label, sizeof l.label, "%s", labels[form]);
    nct_pool_run(pool, (int)l.panels.n_panels, fill_panel, &l.panels);
    *linear = l;
    return NCT_OK;
}

static nct_status make_norm(size_t n, float **norm, nct_error *err) {
    void *p = NULL;
    NCT_TRY(nct_alloc(&p, n, sizeof(float), err));
    *norm = p;
    for (size_t i = 0; i < n; i++)
        (*norm)[i] = 1;
    return NCT_OK;
}

static nct_status make_layer(const nct_madeup *m, nct_pool *pool, nct_layer_weights *layer, nct_error *err) {
    NCT_TRY(make_norm(m->config->hidden, &layer->attn_norm, err));
    NCT_TRY(make_norm(m->config->hidden, &layer->ffn_norm, err));
    for (size_t i = 0; i < N_ROLES; i++)
        NCT_TRY(make_matrix(m->config, roles[i], m->layers, pool, nct_layer_matrix(layer, roles[i]), err));
    return NCT_OK;
}

static nct_status make_weights(const nct_madeup *m, nct_pool *pool, nct_weights *w, nct_error *err) {
    void *layers = NULL;
    NCT_TRY(nct_alloc(&layers, m->n_layers, sizeof *w->layer, err));
    w->layer = layers;
    memset(layers, 0, m->n_layers * sizeof *w->layer);
    w->n_layers = m->n_layers;
    NCT_TRY(make_norm(m->config->hidden, &w->final_norm, err));
    NCT_TRY(make_matrix(m->config, NCT_ROLE_HEAD, m->head, pool, &w->embedding, err));
    w->head = &w->embedding;
    for (size_t i = 0; i < m->n_layers; i++)
        NCT_TRY(make_layer(m, pool, &w->layer[i], err));
    w->n_bytes = m->n_layers * nct_madeup_layer_bytes(m) + nct_panels_bytes(&w->embedding.panels);
    return NCT_OK;
}

static nct_status make(nct_engine *e, const nct_madeup *m, const nct_engine_options *o, nct_error *err) {
    nct_config *c = &e->model.config;
    *c = *m->config;
    c->n_layers = m->n_layers;
    c->tied = true;
    c->long_positions = 0;
    c->long_factor = NULL;
    NCT_TRY(nct_kernels_pick(o->isa, &e->kernels, err));
    NCT_TRY(nct_copy_string(&e->path, m->name, strlen(m->name), err));
    NCT_TRY(nct_copy_string(&e->name, m->name, strlen(m->name), err));
    int most = e->n_threads > e->n_threads_batch ? e->n_threads : e->n_threads_batch;
    NCT_TRY(nct_pool_open_as(&(nct_pool_options){.n_threads = most, .huge = o->huge_pages}, &e->pool, err));
    NCT_TRY(nct_rope_open(c->head_dim, c->rope_theta, c->rope_factor, (double)c->max_positions, c->rope_original_max,
                          &e->model.rope, err));
    c->rope_factor = NULL;
    return make_weights(m, e->pool, &e->model.weights, err);
}

nct_status nct_engine_make_up(const nct_madeup *shape, const nct_engine_options *options, nct_engine **engine,
                              nct_error *err) {
    void *p = NULL;
    int usable = nct_cpu_usable();
    NCT_TRY(nct_alloc(&p, 1, sizeof(nct_engine), err));
    nct_engine *e = p;
    e->n_threads = options->n_threads > 0 && options->n_threads <= usable ? options->n_threads : usable;
    e->n_threads_batch = options->n_threads_batch > 0 && options->n_threads_batch <= usable ? options->n_threads_batch
                                                                                           : e->n_threads;
    snprintf(e->architecture, sizeof e->architecture, "none");
    snprintf(e->container, sizeof e->container, "none");
    snprintf(e->numa_label, sizeof e->numa_label, "left alone");
    e->bos = -1;
    nct_status status = make(e, shape, options, err);
    if (status != NCT_OK) {
        nct_engine_close(e);
        return status;
    }
    snprintf(e->weights_label, sizeof e->weights_label, "%s", e->model.weights.layer[0].q.label);
    e->huge = options->huge_pages;
    e->exec = (nct_exec){.kernels = &e->kernels, .pool = e->pool};
    *engine = e;
    return NCT_OK;
}
