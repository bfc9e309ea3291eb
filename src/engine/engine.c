#include "engine/engine.h"

#include <math.h>
#include <stdio.h>

#include "base/clock.h"
#include "kernel/roofline.h"
#include "spec/draft.h"
#include "text/bpe.h"
#include "text/calls.h"
#include "text/stream.h"

/* ------------------------------------------------------------------ opening */

static void add_eos(nct_engine *e, int64_t id) {
    if (id < 0 || (uint64_t)id >= e->model.config.n_vocab || e->n_eos == sizeof e->eos / sizeof *e->eos)
        return;
    for (size_t i = 0; i < e->n_eos; i++)
        if (e->eos[i] == id)
            return;
    e->eos[e->n_eos++] = (int32_t)id;
}

/* What ends an answer and how tokens are drawn: the checkpoint's word over the built-in defaults. */
static void take_defaults(nct_engine *e, const nct_raw_config *raw) {
    for (size_t i = 0; i < raw->n_eos; i++)
        add_eos(e, raw->eos[i]);
    for (size_t i = 0; i < e->vocab->n_eos; i++)
        add_eos(e, e->vocab->eos[i]);
    e->bos = e->vocab->bos;
    e->sampling = (nct_sampling){.temperature = 0.8, .top_p = 0.8, .repeat_penalty = 1};
    if (isfinite(raw->temperature) && raw->temperature >= 0)
        e->sampling.temperature = raw->temperature;
    if (isfinite(raw->top_p) && raw->top_p > 0 && raw->top_p <= 1)
        e->sampling.top_p = raw->top_p;
    if (isfinite(raw->top_k) && raw->top_k >= 0 && raw->top_k <= 1e6)
        e->sampling.top_k = (int)raw->top_k;
    if (isfinite(raw->repetition_penalty) && raw->repetition_penalty > 0)
        e->sampling.repeat_penalty = raw->repetition_penalty;
    if (raw->do_sample == 0)
        e->sampling.temperature = 0;
}

/* The label of the layers' matrices, "mixed (...)" where they differ. */
static void label_weights(nct_engine *e) {
    const char *first = e->model.weights.layer[0].q.label;
    snprintf(e->weights_label, sizeof e->weights_label, "%s", first);
    for (size_t i = 0; i < e->model.weights.n_layers; i++) {
        const nct_layer_weights *l = &e->model.weights.layer[i];
        const nct_linear *all[] = {&l->q, &l->k, &l->v, &l->o, &l->gate, &l->up, &l->down};
        for (size_t j = 0; j < sizeof all / sizeof *all; j++)
            if (strcmp(all[j]->label, first) != 0) {
                snprintf(e->weights_label, sizeof e->weights_label, "%s and %s", first, all[j]->label);
                return;
            }
    }
}

static nct_status set_name(nct_engine *e, const char *path, nct_error *err) {
    size_t end = strlen(path);
    while (end > 1 && path[end - 1] == '/')
        end--;
    size_t start = end;
    while (start > 0 && path[start - 1] != '/')
        start--;
    NCT_TRY(nct_copy_string(&e->path, path, strlen(path), err));
    return nct_copy_string(&e->name, path + start, end - start, err);
}

/* Where the tokenizer of the published 8B models has the end of a turn. */
enum { IM_END = 73440 };
static const char im_end[] = "<|im_end|>";

static nct_status load(nct_engine *e, const nct_checkpoint *checkpoint, const char *path,
                       const nct_engine_options *o, nct_error *err) {
    static const nct_quant quant[] = {[NCT_HEAD_STORED] = NCT_QUANT_KEEP,
                                      [NCT_HEAD_INT8] = NCT_QUANT_INT8,
                                      [NCT_HEAD_INT4] = NCT_QUANT_INT4};
    const nct_raw_config *raw = nct_checkpoint_config(checkpoint);
    nct_config *c = &e->model.config;
    snprintf(e->architecture, sizeof e->architecture, "%s", raw->architecture);
    snprintf(e->container, sizeof e->container, "%s", nct_checkpoint_container(checkpoint));
    NCT_TRY(nct_config_check(checkpoint, path, c, err));
    NCT_TRY(nct_vocab_open(checkpoint, &e->vocab, err));
    NCT_TRY(nct_rope_open(c->head_dim, c->rope_theta, c->rope_factor, (double)c->max_positions, c->rope_original_max,
                          &e->model.rope, err));
    if (c->long_built_in && nct_vocab_find(e->vocab, im_end, sizeof im_end - 1) != IM_END)
        c->long_positions = 0; /* the shape of the published models, but not their tokenizer */
    if (c->long_positions)
        NCT_TRY(nct_rope_open(c->head_dim, c->rope_theta, c->long_factor, (double)c->max_positions, c->rope_original_max,
                              &e->model.long_rope, err));
    c->rope_factor = c->long_factor = NULL; /* lists go with the checkpoint; the tables are made */
    if (!o->text_only) {
        NCT_TRY(nct_weights_open(checkpoint, c, quant[o->head], e->pool, &e->model.weights, err));
        label_weights(e);
    }
    take_defaults(e, raw);
    e->chat = nct_chat_template_find(raw->chat_template, e->vocab, &e->chat_warning);
    return NCT_OK;
}

/* Threads for steps and for prompts. */
static nct_status count_threads(const nct_engine_options *o, int *step, int *batch, nct_error *err) {
    int usable = nct_cpu_usable(), asked[] = {o->n_threads, o->n_threads_batch};
    for (size_t i = 0; i < 2; i++) {
        if (asked[i] < 0 || asked[i] > 1024)
            return nct_fail(err, NCT_E_ARGUMENT, "%d threads are out of range", asked[i]);
        if (asked[i] == 0)
            asked[i] = i ? asked[0] : usable;
        if (asked[i] > usable && !o->force_threads)
            asked[i] = usable;
    }
    *step = asked[0];
    *batch = asked[1];
    return NCT_OK;
}

static uint64_t stored_bytes(const nct_checkpoint *checkpoint) {
    uint64_t sum = 0;
    nct_tensor_info t;
    for (size_t i = 0; nct_checkpoint_tensor(checkpoint, i, &t); i++)
        sum += t.n_bytes;
    return sum;
}

/* Threads, and where they run and keep their memory. */
static nct_status open_pool(nct_engine *e, const nct_engine_options *o, const nct_checkpoint *checkpoint,
                            nct_error *err) {
    nct_nodes nodes;
    nct_nodes_detect(o->numa_made_up, &nodes);
    int n_nodes = nodes.n, most = e->n_threads > e->n_threads_batch ? e->n_threads : e->n_threads_batch;
    nct_numa_wish wish = {.mode = o->text_only ? NCT_NUMA_OFF : o->numa,
                          .node = o->numa_node,
                          .n_threads = most,
                          .n_bytes = stored_bytes(checkpoint)};
    NCT_TRY(nct_nodes_choose(&wish, &nodes, err));
    if (nodes.bound && nodes.n == 1 && most > nodes.node[0].n_cpus && !o->force_threads) {
        most = nodes.node[0].n_cpus;
        e->n_threads = e->n_threads < most ? e->n_threads : most;
        e->n_threads_batch = e->n_threads_batch < most ? e->n_threads_batch : most;
    }
    NCT_TRY(nct_pool_open_as(&(nct_pool_options){.n_threads = most, .huge = o->huge_pages, .nodes = &nodes},
                             &e->pool, err));
    if (nct_pool_nodes(e->pool) > 1)
        snprintf(e->numa_label, sizeof e->numa_label, "sharded over %d nodes", nct_pool_nodes(e->pool));
    else if (nodes.bound)
        snprintf(e->numa_label, sizeof e->numa_label, "node %d of %d", nodes.node[0].id, n_nodes);
    else
        snprintf(e->numa_label, sizeof e->numa_label, n_nodes == 1 ? "1 node" : "%d nodes, left alone",
                 n_nodes);
    return NCT_OK;
}

nct_status nct_engine_open(const char *path, const nct_engine_options *options, nct_engine **engine, nct_error *err) {
    nct_engine_options o = options ? *options : (nct_engine_options){0};
    uint64_t began = nct_clock_ns();
    int threads = 0, threads_batch = 0;
    if (o.exact && o.head != NCT_HEAD_STORED)
        return nct_fail(err, NCT_E_ARGUMENT,
                        "exact mode takes output matrix and embedding as they are stored");
    NCT_TRY(count_threads(&o, &threads, &threads_batch, err));
    void *p = NULL;
    NCT_TRY(nct_alloc(&p, 1, sizeof(nct_engine), err));
    nct_engine *e = p;
    e->n_threads = threads;
    e->n_threads_batch = threads_batch;
    nct_checkpoint *checkpoint = NULL;
    nct_status status = nct_kernels_pick(o.isa, &e->kernels, err);
    if (status == NCT_OK)
        status = set_name(e, path, err);
    if (status == NCT_OK)
        status = nct_checkpoint_open(path, &checkpoint, err);
    if (status == NCT_OK) {
        nct_checkpoint_advise(checkpoint, o.huge_pages);
        status = open_pool(e, &o, checkpoint, err);
    }
    if (status == NCT_OK)
        status = load(e, checkpoint, path, &o, err);
    if (status == NCT_OK && e->model.weights.n_copied_bytes)
        nct_checkpoint_rest(checkpoint);
    if (status == NCT_OK && nct_checkpoint_is_resident(checkpoint))
        e->resident = checkpoint;
    else
        nct_checkpoint_close(checkpoint);
    if (status != NCT_OK) {
        nct_engine_close(e);
        return status;
    }
    e->huge = o.huge_pages;
    e->head = o.head;
    e->exec = (nct_exec){.kernels = &e->kernels, .pool = e->pool, .exact = o.exact};
    e->load_s = (double)(nct_clock_ns() - began) * 1e-9;
    *engine = e;
    return NCT_OK;
}

void nct_engine_close(nct_engine *e) {
    if (!e)
        return;
    if (e->drafter)
        e->drafter->unload(e->draft);
    nct_pieces_close(e->pieces);
    nct_weights_close(&e->model.weights);
    nct_rope_close(&e->model.rope);
    nct_rope_close(&e->model.long_rope);
    nct_vocab_close(e->vocab);
    nct_checkpoint_close(e->resident);
    nct_pool_close(e->pool);
    nct_free(e->path);
    nct_free(e->name);
    nct_free(e);
}

nct_status nct_engine_load_draft(nct_engine *e, const nct_draft_source *source, nct_error *err) {
    const nct_drafter *drafter;
    static const nct_quant quant[] = {
        [NCT_DRAFT_INT8] = NCT_QUANT_INT8, [NCT_DRAFT_STORED] = NCT_QUANT_KEEP, [NCT_DRAFT_INT4] = NCT_QUANT_INT4};
    nct_draft_options options = {.list = source->list,
                                 .n_list = source->n_list > 0 ? (size_t)source->n_list : 0,
                                 .window = source->window > 0 ? (size_t)source->window : 0,
                                 .residual_scale = source->residual_scale,
                                 .logit_scale = source->logit_scale,
                                 .quant = e->exec.exact ? NCT_QUANT_KEEP : quant[source->weights],
                                 .vocab = e->vocab};
    if (e->drafter)
        return nct_fail(err, NCT_E_ARGUMENT, "%s: a draft is loaded already", source->path);
    NCT_TRY(nct_draft_find(source->path, &drafter, err));
    NCT_TRY(drafter->load(source->path, &e->model, &e->exec, &options, &e->draft, err));
    e->drafter = drafter;
    return NCT_OK;
}

const char *nct_engine_drafter(const nct_engine *e) { return e->drafter ? e->drafter->name : NULL; }

/* ------------------------------------------------------------------ asking */

nct_kv_type nct_engine_kv_type(const nct_engine *e, nct_kv asked) {
    if (asked == NCT_KV_AUTO)
        return e->exec.exact ? NCT_KV_F32 : e->kernels.kv_type;
    return (nct_kv_type)(asked - NCT_KV_FLOAT32);
}

uint64_t nct_engine_kv_bytes(const nct_engine *e, nct_kv_type keys, nct_kv_type values) {
    const nct_config *c = &e->model.config;
    size_t block = nct_key_bytes(keys, c->head_dim, NCT_STEP) + nct_value_bytes(values, c->head_dim);
    return (uint64_t)c->n_layers * c->n_kv_heads * block / NCT_STEP;
}

/* What the layers' products are made of. */
static bool is_coded(const nct_engine *e) {
    return !e->exec.exact && e->model.weights.layer && nct_is_coded(e->model.weights.layer[0].gate.panels.kind);
}

void nct_engine_info(const nct_engine *e, nct_model_info *info) {
    const nct_config *c = &e->model.config;
    nct_kv_type own = nct_engine_kv_type(e, NCT_KV_AUTO);
    *info = (nct_model_info){
        .path = e->path, .name = e->name, .architecture = e->architecture, .container = e->container,
        .weights = e->weights_label, .coded = is_coded(e), .template_name = e->chat ? nct_chat_template_name(e->chat) : "none",
        .thinks = e->chat && e->chat->thinks,
        .n_layers = (int)c->n_layers, .hidden = (int)c->hidden, .n_heads = (int)c->n_heads,
        .n_kv_heads = (int)c->n_kv_heads, .head_dim = (int)c->head_dim, .intermediate = (int)c->intermediate,
        .n_vocab = (int)c->n_vocab, .max_positions = (int)c->max_positions, .tied = c->tied,
        .head = e->model.weights.head ? e->model.weights.head->label : "", .rounded = e->model.weights.rounded,
        .long_positions = (int)c->long_positions, .long_built_in = c->long_positions && c->long_built_in,
        .sparse_trained = c->sparse_trained, .sparse_built_in = c->sparse_built_in,
        .sparse_blocks = (int)c->sparse.budget, .sparse_block_size = (int)c->sparse.block,
        .sparse_dense_len = (int)c->sparse.dense_len, .scale_emb = c->scale_emb, .residual_scale = c->residual_scale,
        .logit_divisor = c->logit_divisor, .rope_theta = c->rope_theta, .rms_eps = c->rms_eps,
        .n_parameters = e->model.weights.n_parameters, .weight_bytes = e->model.weights.n_bytes,
        .embedding_bytes = nct_panels_bytes(&e->model.weights.embedding.panels),
        .copied_bytes = e->model.weights.n_copied_bytes,
        .mapped_bytes = e->resident ? e->model.weights.n_bytes - e->model.weights.n_copied_bytes : 0, .numa = e->numa_label,
        .draft_bytes = e->drafter ? e->drafter->weight_bytes(e->draft) : 0,
        .kv_bytes_per_token = nct_engine_kv_bytes(e, own, own),
        .kv_int8_bytes_per_token = nct_engine_kv_bytes(e, NCT_KV_Q8, NCT_KV_Q8), .kv = nct_kv_type_name(own),
        .isa = e->kernels.isa, .n_threads = e->n_threads, .n_threads_batch = e->n_threads_batch,
        .load_s = e->load_s, .bos = e->bos, .n_eos = (int)e->n_eos, .eos = e->eos,
        .warning = e->chat_warning ? e->chat_warning : e->vocab ? e->vocab->warning : NULL};
}

nct_status nct_engine_set_threads(nct_engine *e, int n_threads, int n_threads_batch, nct_error *err) {
    int most = nct_pool_size(e->pool);
    if (n_threads < 1 || n_threads > most || n_threads_batch < 1 || n_threads_batch > most)
        return nct_fail(err, NCT_E_ARGUMENT, "%d and %d threads: the engine was opened with %d", n_threads, n_threads_batch,
                        most);
    e->n_threads = n_threads;
    e->n_threads_batch = n_threads_batch;
    return NCT_OK;
}

enum { ROOF_REPEATS = 9 };

nct_status nct_engine_bandwidth(nct_engine *e, double *read_bytes_s, nct_error *err) {
    nct_pool_use(e->pool, e->n_threads);
    return nct_roofline_read(e->pool, ROOF_REPEATS, read_bytes_s, err);
}

static void measure_multiplying(nct_engine *e, int repeats, nct_roofline *r) {
    bool integer = is_coded(e);
    const char *isa = e->kernels.isa;
    nct_pool_use(e->pool, e->n_threads_batch);
    r->int8_ops_s = nct_roofline_multiply(e->pool, isa, NCT_ROOF_INT8, repeats, NULL);
    r->bf16_ops_s = nct_roofline_multiply(e->pool, isa, NCT_ROOF_BF16, repeats, NULL);
    r->f32_ops_s = nct_roofline_multiply(e->pool, isa, NCT_ROOF_F32, repeats, NULL);
    r->multiply_ops_s = integer ? r->int8_ops_s : r->f32_ops_s;
    r->multiply_name = integer ? "int8" : "f32";
    bool narrow = !e->exec.exact && r->bf16_ops_s > r->f32_ops_s;
    r->attend_ops_s = narrow ? r->bf16_ops_s : r->f32_ops_s;
    r->attend_name = narrow ? "bf16" : "f32";
}

void nct_engine_roofline_multiply(nct_engine *e, nct_roofline *roof) { measure_multiplying(e, 3, roof); }

nct_status nct_engine_roofline(nct_engine *e, nct_roofline *roof, nct_error *err) {
    nct_roofline r = {0};
    NCT_TRY(nct_engine_bandwidth(e, &r.read_bytes_s, err));
    measure_multiplying(e, ROOF_REPEATS, &r);
    nct_cpu cpu;
    nct_cpu_detect(&cpu);
    snprintf(r.cpu, sizeof r.cpu, "%s", cpu.name);
    *roof = r;
    return NCT_OK;
}

void nct_engine_sampling(const nct_engine *e, nct_sampling *sampling) { *sampling = e->sampling; }

bool nct_engine_has_template(const nct_engine *e) { return e->chat != NULL; }

bool nct_is_eos(const nct_engine *e, int32_t id) {
    for (size_t i = 0; i < e->n_eos; i++)
        if (e->eos[i] == id)
            return true;
    return false;
}

/* ------------------------------------------------------------------ text */

nct_status nct_encode(const nct_engine *e, const char *text, size_t n_bytes, bool parse_special, bool add_bos,
                      int32_t **ids, size_t *n_ids, nct_error *err) {
    return nct_bpe_encode(e->vocab, text, n_bytes, parse_special, add_bos, ids, n_ids, err);
}

nct_status nct_decode(const nct_engine *e, const int32_t *ids, size_t n_ids, bool keep_special, char **text,
                      size_t *n_bytes, nct_error *err) {
    return nct_text_decode(e->vocab, ids, n_ids, keep_special, text, n_bytes, err);
}

const char *nct_token_piece(const nct_engine *e, int32_t id, size_t *n_bytes) {
    const nct_piece *piece = nct_vocab_piece(e->vocab, id);
    *n_bytes = piece ? piece->n_bytes : 0;
    return piece ? nct_vocab_text(e->vocab, piece) : NULL;
}

nct_status nct_text_stream_open(const nct_engine *e, bool continuation, nct_text_stream **stream, nct_error *err) {
    return nct_stream_open(e->vocab, continuation, false, stream, err);
}

/* ------------------------------------------------------------------ conversations */

static nct_status need_template(const nct_engine *e, nct_error *err) {
    return e->chat ? NCT_OK : nct_fail(err, NCT_E_ARGUMENT, "%s has no chat template", e->name);
}

nct_status nct_chat_encode(const nct_engine *e, const nct_message *messages, size_t n_messages, const nct_chat_options *options,
                           int32_t **ids, size_t *n_ids, nct_error *err) {
    NCT_TRY(need_template(e, err));
    return nct_chat_template_encode(e->chat, e->vocab, messages, n_messages, options, ids, n_ids, err);
}

nct_status nct_chat_calls(const nct_engine *e, const char *text, size_t n_bytes, const char *tools, char **content,
                          char **calls, nct_error *err) {
    nct_bytes rest = {0}, found = {0};
    size_t n_calls;
    NCT_TRY(nct_calls_read(e->chat ? e->chat->calls : NCT_CALLS_NONE, text, n_bytes, tools, &rest, &found, &n_calls, err));
    *content = rest.data;
    *calls = found.data;
    return NCT_OK;
}

nct_status nct_chat_render(const nct_engine *e, const nct_message *messages, size_t n_messages, const nct_chat_options *options,
                           char **text, size_t *n_bytes, nct_error *err) {
    NCT_TRY(need_template(e, err));
    const nct_piece *bos = nct_vocab_piece(e->vocab, e->bos);
    char *bos_text = NULL;
    if (bos)
        NCT_TRY(nct_copy_string(&bos_text, nct_vocab_text(e->vocab, bos), bos->n_bytes, err));
    nct_chat_text rendered = {0};
    nct_status status = nct_chat_template_render(e->chat, bos_text, messages, n_messages, options, &rendered, err);
    nct_free(bos_text);
    if (status == NCT_OK)
        status = nct_copy_string(text, rendered.text.data ? rendered.text.data : "", rendered.text.n, err);
    if (status == NCT_OK)
        *n_bytes = rendered.text.n;
    nct_chat_text_reset(&rendered);
    return status;
}
