#include "engine/session.h"

#include <string.h>

#include "attn/pooled.h"
#include "base/clock.h"
#include "base/pages.h"
#include "engine/identity.h"

enum {
    CHUNK = 512,     /* prompt rows computed together: weights are unpacked once for all of them */
    CHUNK_MAX = 4096,
    LOGIT_ROWS = 16, /* rows of logits computed together when all are asked for */
    GUESS_WIDTH = 4, /* children of a guessed token, at most */
    STEP_ROWS = 8,   /* so few rows are a step, which memory limits; more are a prompt, which arithmetic does */
};

nct_store_options nct_session_files(const nct_session_options *o, nct_keep keep) {
    return (nct_store_options){.folder = o->kv_folder,
                               .mapped = o->kv_mapped,
                               .read = keep != NCT_KEEP_OFF,
                               .write = keep == NCT_KEEP_ALL,
                               .max_bytes = o->kv_max_bytes,
                               .min_seconds = o->kv_min_s,
                               .min_tokens = o->kv_min_tokens > 0 ? (size_t)o->kv_min_tokens : 0,
                               .notice = o->notice,
                               .context = o->notice_context};
}

/* Files of pages, if the options name a folder for them. What a prompt decides as a whole is no function of the tokens
 * before, so such pages are nobody's but the session's. */
static nct_status open_store(nct_session *s, const nct_session_options *o, nct_error *err) {
    nct_keep keep = s->decide_by_prompt ? NCT_KEEP_OFF : o->keep;
    if (!o->kv_folder || (keep == NCT_KEEP_OFF && !o->kv_mapped))
        return NCT_OK;
    nct_store_options options = nct_session_files(o, keep);
    s->keeps = options.read || options.write;
    s->mapped = options.mapped;
    NCT_TRY(nct_page_identity(s->engine, s->work.rope, &s->attend.sparse, &s->cache, &options.identity, err));
    return nct_store_open(&options, &s->cache, s->engine->pool, &s->store, err);
}

/* The table of a session; one that does not exist is refused. */
static nct_status choose_rope(const nct_engine *engine, const nct_session_options *o, bool *is_long, nct_error *err) {
    const nct_config *c = &engine->model.config;
    size_t wanted = o->n_ctx > 0 ? (size_t)o->n_ctx : o->n_expected > 0 ? (size_t)o->n_expected : 0;
    if (o->rope == NCT_ROPE_LONG && !c->long_positions)
        return nct_fail(err, NCT_E_ARGUMENT, "%s has no long RoPE list: it holds %zu tokens", engine->name, c->max_positions);
    *is_long = o->rope == NCT_ROPE_LONG || (o->rope == NCT_ROPE_AUTO && c->long_positions && wanted > c->max_positions);
    return NCT_OK;
}

/* The model's settings, and what replaces some of them. */
static nct_status settle_sparse(const nct_config *c, const nct_session_options *o, nct_sparse *sparse, nct_error *err) {
    nct_sparse_stated stated = c->sparse_stated;
    struct {
        int value;
        int64_t *field;
    } given[] = {{o->sparse_topk, &stated.topk},
                 {o->sparse_block, &stated.block_size},
                 {o->sparse_window, &stated.window_size},
                 {o->sparse_dense_len, &stated.dense_len}};
    nct_error refused = {0};
    for (size_t i = 0; i < sizeof given / sizeof *given; i++)
        if (given[i].value)
            *given[i].field = given[i].value;
    if (nct_sparse_check(&stated, "what was asked for", sparse, &refused) != NCT_OK)
        return nct_fail(err, NCT_E_ARGUMENT, "%s", refused.text);
    sparse->exact_lse = o->sparse_r1;
    sparse->local_forced -= o->sparse_r1;
    return NCT_OK;
}

nct_status nct_session_settle(const nct_engine *engine, const nct_session_options *options, nct_session_terms *terms,
                              nct_error *err) {
    nct_session_options o = *options;
    const nct_config *c = &engine->model.config;
    bool is_long = false;
    NCT_TRY(choose_rope(engine, &o, &is_long, err));
    size_t window = is_long ? c->long_positions : c->max_positions, limit = o.n_ctx > 0 ? (size_t)o.n_ctx : window;
    if (o.n_ctx < 0 || o.chunk < 0 || o.chunk > CHUNK_MAX)
        return nct_fail(err, NCT_E_ARGUMENT, "a context of %d or a chunk of %d is out of range", o.n_ctx, o.chunk);
    if (limit > window && !o.force_ctx)
        return nct_fail(err, NCT_E_CONTEXT, "a context of %zu was asked for; %s holds %zu", limit, engine->name, window);
    if (o.keys < NCT_KV_AUTO || o.keys > NCT_KV_INT8 || o.values < NCT_KV_AUTO || o.values > NCT_KV_INT8)
        return nct_fail(err, NCT_E_ARGUMENT, "a cache type of %d or %d is out of range", (int)o.keys,
                        (int)o.values);
    if (o.n_guess != NCT_GUESS_AUTO && (o.n_guess < 0 || o.n_guess > NCT_TREE_MAX))
        return nct_fail(err, NCT_E_ARGUMENT, "%d tokens at once are out of range: expected up to %d", o.n_guess,
                        NCT_TREE_MAX);
    if (o.guess_width < 0 || o.guess_width > NCT_BEAM_WIDTH)
        return nct_fail(err, NCT_E_ARGUMENT, "%d guesses of a token are out of range: expected up to %d", o.guess_width,
                        NCT_BEAM_WIDTH);
    if (engine->exec.exact && (o.keys > NCT_KV_FLOAT32 || o.values > NCT_KV_FLOAT32))
        return nct_fail(err, NCT_E_ARGUMENT, "exact mode keeps its cache in float32");
    if (!engine->model.weights.layer)
        return nct_fail(err, NCT_E_ARGUMENT, "%s was opened for its text only", engine->name);
    nct_session_terms t = {.is_long = is_long, .limit = limit, .chunk = o.chunk ? (size_t)o.chunk : CHUNK};
    if (t.chunk > limit)
        t.chunk = limit;
    if (o.sparse == NCT_SPARSE_ON || (o.sparse == NCT_SPARSE_AUTO && c->sparse_trained))
        NCT_TRY(settle_sparse(c, &o, &t.sparse, err));
    *terms = t;
    return NCT_OK;
}

void nct_advise_cache(const nct_cache *c, nct_huge_pages huge) {
    enum { FROM = 8 }; /* pages */
    if (huge != NCT_HUGE_AUTO)
        nct_pages_advise(c->pages, c->n_pages * c->page_bytes, huge);
    else if (c->n_pages > FROM)
        nct_pages_advise(c->pages + FROM * c->page_bytes, (c->n_pages - FROM) * c->page_bytes, NCT_HUGE_ON);
}

nct_status nct_session_open(nct_engine *engine, const nct_session_options *options, nct_session **session, nct_error *err) {
    nct_session_options o = options ? *options : (nct_session_options){0};
    const nct_config *c = &engine->model.config;
    nct_session_terms terms;
    NCT_TRY(nct_session_settle(engine, &o, &terms, err));
    void *p = NULL;
    NCT_TRY(nct_alloc(&p, 1, sizeof(nct_session), err));
    nct_session *s = p;
    s->engine = engine;
    s->attend.times = &s->times;
    s->adaptive = o.n_guess == NCT_GUESS_AUTO;
    s->guess_width = o.guess_width ? (size_t)o.guess_width : GUESS_WIDTH;
    s->n_guess = s->adaptive ? NCT_TREE_MAX : (size_t)o.n_guess;
    nct_adapt_init(&s->adapt);
    if (s->adaptive && o.learned) /* on failure it stays as it is */
        nct_adapt_load("what was learned", o.learned, o.n_learned, &s->adapt, NULL);
    s->chunk = terms.chunk;
    s->attend.sparse = terms.sparse;
    s->decide_by_prompt = o.decide_by_prompt && terms.sparse.enabled;
    nct_status status = nct_cache_open(&(nct_cache_options){.n_layers = c->n_layers,
                                                            .n_kv_heads = c->n_kv_heads,
                                                            .head_dim = c->head_dim,
                                                            .limit = terms.limit,
                                                            .k_type = nct_engine_kv_type(engine, o.keys),
                                                            .v_type = nct_engine_kv_type(engine, o.values),
                                                            .sparse = &s->attend.sparse},
                                       &s->cache, err);
    if (status == NCT_OK)
        status = nct_work_open(&engine->model, &s->attend, &s->cache, s->chunk > s->n_guess ? s->chunk : s->n_guess,
                               nct_pool_size(engine->pool), &s->work, err);
    s->work.rope = terms.is_long ? &engine->model.long_rope : &engine->model.rope;
    if (status == NCT_OK) { /* before anything in them is touched */
        nct_advise_cache(&s->cache, engine->huge);
        nct_pages_advise(s->work.arena.data, s->work.arena.n_bytes, engine->huge);
    }
    if (status == NCT_OK)
        status = open_store(s, &o, err);
    if (status == NCT_OK)
        status = nct_session_open_draft(s, o.drafter, o.prompt_rows, err);
    if (status == NCT_OK)
        status = nct_sampler_open(c->n_vocab, &s->sampler, err);
    if (status == NCT_OK && (status = nct_alloc(&p, LOGIT_ROWS * c->n_vocab, sizeof(float), err)) == NCT_OK)
        s->logits = p;
    s->report.load_s = engine->load_s;
    if (status != NCT_OK) {
        nct_session_close(s);
        return status;
    }
    *session = s;
    return NCT_OK;
}

void nct_session_close(nct_session *s) {
    if (!s)
        return;
    nct_session_close_draft(s);
    nct_sampler_close(s->sampler);
    nct_store_close(s->store, s->tokens);
    nct_cache_close(&s->cache);
    nct_work_close(&s->work);
    nct_free(s->tokens);
    nct_free(s->logits);
    nct_free(s);
}

nct_choice nct_choice_of(const nct_selected *c) {
    return (nct_choice){.layer = (int)c->layer,
                        .position = (int)c->position,
                        .kv_head = (int)c->kv_head,
                        .n_blocks = (int)c->n_blocks,
                        .n_first = (int)c->n_first,
                        .n_local = (int)c->n_local,
                        .block = c->block,
                        .margin = c->margin};
}

static void tell_choice(void *context, const nct_selected *selected) {
    nct_session *s = context;
    nct_choice choice = nct_choice_of(selected);
    s->on_choice(s->choice_context, &choice);
}

/* Where a call of nct_session_feed stands, told between layers. */
struct telling {
    const nct_feed_options *options;
    size_t done, n, total; /* tokens: before the chunk, of it, of the call */
    size_t n_layers;
};

static void tell_progress(void *context, size_t n_layers) {
    const struct telling *t = context;
    t->options->progress(t->options->context, (int)(t->done + t->n * n_layers / t->n_layers), (int)t->total);
}

/* Hands every row's logits to the caller; the last row's end up where nct_session_logits finds them. */
static void report_rows(nct_session *s, const nct_batch *batch, const nct_feed_options *o) {
    size_t n_vocab = s->engine->model.config.n_vocab;
    for (size_t row = 0; row < batch->n; row += LOGIT_ROWS) {
        size_t n = batch->n - row < LOGIT_ROWS ? batch->n - row : LOGIT_ROWS;
        nct_forward_logits(&s->engine->exec, &s->engine->model, &s->work, row, n, s->logits);
        for (size_t i = 0; i < n; i++)
            o->on_row(o->context, (int)(batch->first + row + i), s->logits + i * n_vocab);
        if (row + n == batch->n && n > 1)
            memcpy(s->logits, s->logits + (n - 1) * n_vocab, n_vocab * sizeof(float));
    }
}

nct_status nct_session_grow(nct_session *s, size_t n, nct_error *err) {
    void *tokens = s->tokens;
    NCT_TRY(nct_grow(&tokens, &s->tokens_capacity, n, sizeof *s->tokens, err));
    s->tokens = tokens;
    return NCT_OK;
}

nct_status nct_session_make_room(nct_session *s, size_t first, size_t n, nct_error *err) {
    size_t settled = s->cache.n_committed;
    if (s->store)
        NCT_TRY(nct_store_prepare(s->store, first, n, err));
    NCT_TRY(nct_cache_reserve(&s->cache, first + n, err));
    nct_cache_settle(&s->cache, settled, s->engine->pool);
    return NCT_OK;
}

void nct_engine_use_threads(const nct_engine *e, size_t n) {
    nct_pool_use(e->pool, n <= STEP_ROWS ? e->n_threads : e->n_threads_batch);
}

void nct_session_use_threads(const nct_session *s, size_t n) { nct_engine_use_threads(s->engine, n); }

nct_status nct_session_feed(nct_session *s, const int32_t *ids, size_t n_ids, const nct_feed_options *options, nct_error *err) {
    nct_feed_options o = options ? *options : (nct_feed_options){0};
    const nct_model *model = &s->engine->model;
    size_t start = s->cache.length;
    for (size_t i = 0; i < n_ids; i++)
        if (ids[i] < 0 || (size_t)ids[i] >= model->config.n_vocab)
            return nct_fail(err, NCT_E_ARGUMENT, "token id %d at %zu is outside the vocabulary of %zu", ids[i], i,
                            model->config.n_vocab);
    if (n_ids > s->cache.limit - start)
        return nct_fail(err, NCT_E_CONTEXT, "%zu tokens and %zu more do not fit a context of %zu", start, n_ids, s->cache.limit);
    if (n_ids == 0)
        return NCT_OK;
    NCT_TRY(nct_session_grow(s, start + n_ids, err));
    NCT_TRY(nct_session_restore_row(s, err));
    s->on_choice = o.on_choice;
    s->choice_context = o.context;
    s->attend.seen = o.on_choice ? tell_choice : NULL;
    s->attend.seen_from = o.choices_from > 0 ? (size_t)o.choices_from : 0;
    s->attend.context = s;
    /* as the published code: the first prompt as a whole, later tokens by the length up to each */
    s->attend.decision_len = s->decide_by_prompt && start == 0 ? n_ids : 0;
    struct telling telling = {.options = &o, .total = n_ids, .n_layers = model->config.n_layers};
    nct_between between = {.stop = o.stop, .done = o.progress ? tell_progress : NULL, .context = &telling};
    uint64_t began = nct_clock_ns();
    nct_status status = NCT_OK;
    for (size_t done = 0; done < n_ids && status == NCT_OK;) {
        nct_batch batch = {.id = ids + done, .n = n_ids - done < s->chunk ? n_ids - done : s->chunk, .first = s->cache.length};
        nct_session_use_threads(s, batch.n);
        uint64_t chunk_began = nct_clock_ns();
        status = nct_session_make_room(s, batch.first, batch.n, err);
        telling.done = done, telling.n = batch.n;
        between.n_unread = o.on_row || nct_session_reads_rows(s) ? 0 : batch.n - (done + batch.n == n_ids);
        if (status == NCT_OK)
            status = nct_forward(&s->engine->exec, model, &s->attend, &s->cache, &s->work, &batch, &between, err);
        if (status != NCT_OK)
            break;
        memcpy(s->tokens + batch.first, batch.id, batch.n * sizeof *s->tokens);
        done += batch.n;
        status = nct_session_tell_batch(s, batch.first, NULL, batch.n, err);
        s->has_logits = false;
        if (o.on_row)
            report_rows(s, &batch, &o);
        else if (done == n_ids)
            nct_forward_logits(&s->engine->exec, model, &s->work, batch.n - 1, 1, s->logits);
        s->has_logits = done == n_ids;
        if (s->store && status == NCT_OK)
            status = nct_store_grown(s->store, s->tokens, batch.n, (double)(nct_clock_ns() - chunk_began) * 1e-9, n_ids > 1, err);
    }
    double seconds = (double)(nct_clock_ns() - began) * 1e-9;
    if (n_ids == 1) {
        s->report.n_decode += s->cache.length - start;
        s->report.decode_s += seconds;
    } else {
        s->report.n_prefill += s->cache.length - start;
        s->report.prefill_s += seconds;
        s->prompt_s += seconds;
    }
    return status;
}

const float *nct_session_logits(const nct_session *s) { return s->has_logits ? s->logits : NULL; }

nct_status nct_session_can_sample(const nct_session *s, int n_prompt, nct_error *err) {
    if (!s->has_logits)
        return nct_fail(err, NCT_E_ARGUMENT, "nothing to sample from: no token was fed since the session was opened or rewound");
    if (n_prompt < 0 || (size_t)n_prompt > s->cache.length)
        return nct_fail(err, NCT_E_ARGUMENT, "a prompt of %d tokens in a session of %zu", n_prompt, s->cache.length);
    return NCT_OK;
}

nct_status nct_session_sample(nct_session *s, const nct_sampling *sampling, int n_prompt, uint32_t sample, int32_t *id,
                              nct_error *err) {
    NCT_TRY(nct_session_can_sample(s, n_prompt, err));
    return nct_sampler_choose(s->sampler, sampling, s->logits, s->tokens, s->cache.length, (size_t)n_prompt, sample, id, err);
}

nct_status nct_session_rewind(nct_session *s, int n, nct_error *err) {
    if (n < 0 || (size_t)n > s->cache.length)
        return nct_fail(err, NCT_E_ARGUMENT, "cannot rewind to %d: the session holds %zu tokens", n, s->cache.length);
    if ((size_t)n < s->cache.length)
        s->has_logits = s->has_row = false;
    s->cache.length = (size_t)n;
    nct_session_cut_draft(s);
    if (s->store)
        nct_store_cut(s->store);
    return NCT_OK;
}

nct_status nct_session_take(nct_session *s, const int32_t *ids, size_t n_ids, nct_error *err) {
    size_t held = s->cache.length;
    if (!s->store || n_ids <= held || n_ids > s->cache.limit)
        return NCT_OK;
    NCT_TRY(nct_session_grow(s, n_ids, err));
    nct_pool_use(s->engine->pool, s->engine->n_threads_batch);
    nct_status status = nct_store_take(s->store, ids, n_ids, n_ids - 1, err);
    if (s->cache.length != held)
        s->has_logits = s->has_row = false;
    nct_session_cut_draft(s);
    if (s->cache.length > held)
        memcpy(s->tokens + held, ids + held, (s->cache.length - held) * sizeof *ids);
    return status;
}

void nct_session_keep(nct_session *s, int n) {
    if (!s->store || n <= 0 || (size_t)n > s->cache.length)
        return;
    nct_pool_use(s->engine->pool, s->engine->n_threads_batch);
    nct_store_keep(s->store, s->tokens, (size_t)n);
}

/* ------------------------------------------------------------------ for benches */

enum { MADE_UP = 1024 }; /* vectors that are drawn once and then dealt */

struct making_up {
    const nct_cache *cache;
    size_t first, n;
    const float *vectors; /* [MADE_UP][head_dim] */
};

static void make_up_head(void *context, int task, int worker) {
    (void)worker;
    const struct making_up *k = context;
    const nct_cache *c = k->cache;
    size_t layer = (size_t)task / c->n_kv_heads, kv_head = (size_t)task % c->n_kv_heads;
    for (size_t i = 0; i < k->n; i++) {
        uint64_t at = (k->first + i) * 0x9e3779b97f4a7c15u + (uint64_t)task * 0xd1b54a32d192ed03u;
        at ^= at >> 29;
        nct_cache_store(c, layer, kv_head, k->first + i, k->vectors + at % MADE_UP * c->head_dim,
                        k->vectors + (at >> 32) % MADE_UP * c->head_dim);
    }
}

void nct_make_up_page(const nct_engine *engine, const nct_attend_options *attend, nct_work *work, nct_cache *c,
                      size_t n, const float *vectors) {
    struct making_up k = {c, c->length, n, vectors};
    nct_exec exec = engine->exec;
    exec.scratch = &work->arena;
    nct_pool_run(exec.pool, (int)(c->n_layers * c->n_kv_heads), make_up_head, &k);
    nct_batch batch = {.n = n, .first = k.first};
    for (size_t layer = 0; attend->sparse.enabled && layer < c->n_layers; layer++)
        nct_pooled_update(&exec, c, layer, &batch);
    c->length += n;
}

nct_status nct_make_up_vectors(const nct_cache *c, uint64_t seed, float **vectors, nct_error *err) {
    void *p = NULL;
    NCT_TRY(nct_alloc(&p, MADE_UP * c->head_dim, sizeof(float), err));
    *vectors = p;
    for (size_t i = 0; i < MADE_UP * c->head_dim; i++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        (*vectors)[i] = (float)(int32_t)(seed >> 32) * 0x1p-30f;
    }
    return NCT_OK;
}

/* A page at a time, so that pages that are files are written and let go as they fill. */
static nct_status make_up_page(nct_session *s, size_t n, const float *vectors, nct_error *err) {
    size_t first = s->cache.length;
    if (s->store)
        NCT_TRY(nct_store_prepare(s->store, first, n, err));
    NCT_TRY(nct_cache_reserve(&s->cache, first + n, err));
    nct_make_up_page(s->engine, &s->attend, &s->work, &s->cache, n, vectors);
    memset(s->tokens + first, 0, n * sizeof *s->tokens);
    return s->store ? nct_store_grown(s->store, s->tokens, n, 0, false, err) : NCT_OK;
}

nct_status nct_session_make_up(nct_session *s, int n, uint64_t seed, nct_error *err) {
    nct_cache *c = &s->cache;
    size_t start = c->length, count = n < 0 ? 0 : (size_t)n;
    float *vectors = NULL;
    if (s->keeps)
        return nct_fail(err, NCT_E_ARGUMENT, "made-up tokens must not be kept");
    if (count > c->limit - start)
        return nct_fail(err, NCT_E_CONTEXT, "%zu tokens and %zu more do not fit a context of %zu", start, count, c->limit);
    NCT_TRY(nct_session_grow(s, start + count, err));
    NCT_TRY(nct_make_up_vectors(c, seed, &vectors, err));
    nct_status status = NCT_OK;
    while (status == NCT_OK && c->length < start + count) {
        size_t left = start + count - c->length, room = NCT_PAGE - c->length % NCT_PAGE;
        status = make_up_page(s, left < room ? left : room, vectors, err);
    }
    s->has_logits = s->has_row = false;
    nct_free(vectors);
    return status;
}

void nct_session_attend_all(nct_session *s, bool all) { s->attend.sparse.enabled = !all && s->cache.pooled_lanes[0] > 0; }

uint64_t nct_session_cache_bytes(const nct_session *s, size_t n) {
    return (uint64_t)(n / NCT_PAGE + (n % NCT_PAGE != 0)) * s->cache.page_bytes;
}

bool nct_session_is_mapped(const nct_session *s) { return s->mapped; }

int nct_session_length(const nct_session *s) { return (int)s->cache.length; }
int nct_session_limit(const nct_session *s) { return (int)s->cache.limit; }
bool nct_session_is_long(const nct_session *s) { return s->work.rope == &s->engine->model.long_rope; }
const int32_t *nct_session_tokens(const nct_session *s) { return s->tokens; }

void nct_session_report(const nct_session *s, nct_report *report) {
    *report = s->report;
    report->kv_bytes = nct_cache_bytes(&s->cache);
    report->kv_resident_bytes = nct_cache_resident(&s->cache);
    if (s->store) {
        nct_store_counts counts;
        nct_store_count(s->store, &counts);
        report->n_taken = counts.n_taken;
        report->kv_written_bytes = counts.written_bytes;
        report->kv_mapped_bytes = counts.mapped_bytes;
        report->kv_dirty_bytes = counts.dirty_bytes;
    }
    report->kv_bytes_per_token = nct_engine_kv_bytes(s->engine, s->cache.k_type, s->cache.v_type);
    report->guess_rate = s->adaptive ? nct_adapt_rate(&s->adapt) : 0;
    report->draft_bytes = s->draft && s->drafter->state_bytes ? s->drafter->state_bytes(s->draft) : 0;
    report->keys = nct_kv_type_name(s->cache.k_type);
    report->values = nct_kv_type_name(s->cache.v_type);
    report->sparse_s = (double)s->times.all_ns * 1e-9;
    report->choosing_s = (double)s->times.choosing_ns * 1e-9;
    size_t from = nct_sparse_chooses_from(&s->attend.sparse);
    report->chooses_from = from < s->cache.limit ? (int)from : -1;
}
