/* Several timelines, one pass: rows that choose next tokens, and a slice of prompts. */
#include <assert.h>
#include <string.h>

#include "base/clock.h"
#include "base/pages.h"
#include "engine/alone.h"
#include "engine/identity.h"
#include "engine/pace.h"
#include "engine/session.h"

enum {
    WORTH_WAITING = 64, /* tokens that another sequence is about to compute */
    WORTH_LOOKING = 256 /* tokens that files may hold, or may be to hold */
};

struct sequence {
    bool active, begun; /* begun: what others hold of its prompt was copied */
    nct_sequence what;
    nct_attend_options attend; /* the batcher's, and who is told */
    nct_cache cache;           /* of the sequence before, while it is not active */
    const nct_rope *rope;
    nct_store *store; /* of files for this table; NULL: none */
    bool mapped;      /* they are the cache's own, instead of memory */
    const nct_rope *store_rope;
    size_t n_kept; /* tokens at the beginning that files are known to hold */
    size_t limit;
    int32_t *tokens; /* [n_tokens]: the prompt and what was chosen; the cache holds the first of them */
    size_t n_tokens, capacity, n_copied;
    uint64_t since; /* which addition it was */
    uint64_t reading_ns, read_ns; /* when rows of its prompt were computed first, and last */
    size_t n_computed;            /* of them */
    nct_rounds rounds;            /* of its answer */
    nct_sampler *sampler;
    /* of the step at hand */
    size_t n_rows, row; /* rows of it; the first one, later that of the logits */
    const float *logits;
    int32_t chosen;
    nct_status status;
    nct_error error;
};

struct nct_batcher {
    nct_engine *engine;
    nct_session_options options;
    nct_attend_options attend;
    nct_work work;
    size_t chunk, slice; /* prompt rows of a step, at most: where nobody answers, beside answers */
    bool paced;          /* beside answers no more than `pace` gives room for */
    nct_pace pace;
    double owed;               /* to the oldest prompt of steps before: less than a row */
    bool apart;                /* sequences share nothing */
    bool keep_prompts;
    struct sequence *sequence; /* [n] */
    size_t n, n_active;
    float *logits; /* [n][n_vocab] */
    uint64_t n_added;
    char *folder;     /* of files, or NULL */
    bool keeps;       /* there is kept and found what others hold too */
    nct_alone *alone; /* who guesses for a sequence that has nobody beside it; NULL: nobody */
    float *taps;      /* [chunk + n][NCT_TAPS][hidden] where they read along with those */
    nct_batcher_report report;
};

static nct_status open_sequence(nct_batcher *g, size_t limit, struct sequence *s, nct_error *err) {
    const nct_config *c = &g->engine->model.config;
    NCT_TRY(nct_cache_open(&(nct_cache_options){.n_layers = c->n_layers,
                                                .n_kv_heads = c->n_kv_heads,
                                                .head_dim = c->head_dim,
                                                .limit = limit,
                                                .k_type = nct_engine_kv_type(g->engine, g->options.keys),
                                                .v_type = nct_engine_kv_type(g->engine, g->options.values),
                                                .sparse = &g->attend.sparse},
                           &s->cache, err));
    nct_advise_cache(&s->cache, g->engine->huge);
    return nct_sampler_open(c->n_vocab, &s->sampler, err);
}

static nct_status open_sequences(nct_batcher *g, size_t limit, nct_error *err) {
    void *p = NULL;
    NCT_TRY(nct_alloc(&p, g->n, sizeof *g->sequence, err));
    g->sequence = p;
    NCT_TRY(nct_alloc(&p, g->n * g->engine->model.config.n_vocab, sizeof *g->logits, err));
    g->logits = p;
    for (size_t i = 0; i < g->n; i++)
        NCT_TRY(open_sequence(g, limit, &g->sequence[i], err));
    NCT_TRY(nct_work_open(&g->engine->model, &g->attend, &g->sequence[0].cache, g->chunk + g->n,
                          nct_pool_size(g->engine->pool), &g->work, err));
    nct_pages_advise(g->work.arena.data, g->work.arena.n_bytes, g->engine->huge);
    return NCT_OK;
}

static void close_store(struct sequence *s) {
    nct_store_close(s->store, NULL);
    s->store = NULL;
    s->store_rope = NULL;
}

/* Gives back what a place holds, files too. */
static void clear(struct sequence *s) {
    s->cache.length = s->n_kept = 0;
    if (s->mapped) {
        close_store(s);
        if (s->cache.n_committed)
            nct_pages_unmap(s->cache.pages, 0, s->cache.n_committed * s->cache.page_bytes);
        s->cache.n_committed = 0;
        s->mapped = false;
        return;
    }
    if (s->store)
        nct_store_cut(s->store);
    nct_cache_trim(&s->cache, 0);
}

/* Files of pages for sequences of a table: beside a cache in memory, or its own. Where the place had others, which is
 * rare, its cache begins anew. */
static nct_status open_store(nct_batcher *g, struct sequence *s, const nct_rope *rope, bool mapped,
                             nct_error *err) {
    const nct_session_options *o = &g->options;
    if (s->mapped != mapped || (s->store && s->store_rope != rope)) {
        clear(s);
        close_store(s);
    }
    if (s->store || (!mapped && !g->keeps))
        return NCT_OK;
    nct_store_options options = nct_session_files(o, g->keeps ? o->keep : NCT_KEEP_OFF);
    options.folder = g->folder; /* o's is borrowed for the opening */
    options.when_asked = !g->keep_prompts;
    options.mapped = mapped;
    options.write = options.write && !mapped; /* nobody asked for whole documents to be kept */
    NCT_TRY(nct_page_identity(g->engine, rope, &g->attend.sparse, &s->cache, &options.identity, err));
    NCT_TRY(nct_store_open(&options, &s->cache, g->engine->pool, &s->store, err));
    s->store_rope = rope;
    s->mapped = mapped;
    return NCT_OK;
}

/* A row of a prompt behind so many tokens. */
static nct_load load_of(const nct_batcher *g, size_t seen) {
    const nct_config *c = &g->engine->model.config;
    const nct_sparse *sparse = &g->attend.sparse;
    double heads = (double)(c->n_heads * c->head_dim), kv = (double)(c->n_kv_heads * c->head_dim);
    if (sparse->enabled && seen > nct_sparse_chooses_from(sparse))
        seen = sparse->budget * sparse->block;
    return (nct_load){.weights = (double)c->hidden * (2 * heads + 2 * kv + 3 * (double)c->intermediate),
                      .attention = 2 * heads * (double)seen};
}

static nct_status open_alone(nct_batcher *g, nct_error *err) {
    void *p = NULL;
    NCT_TRY(nct_alone_open(g->engine, &g->options, &g->alone, err));
    if (g->alone && nct_alone_reads(g->alone) == NCT_ROW_TAPS) {
        NCT_TRY(
            nct_alloc(&p, g->work.rows * NCT_TAPS * g->engine->model.config.hidden, sizeof *g->taps, err));
        g->taps = p;
    }
    return NCT_OK;
}

nct_status nct_batcher_open(nct_engine *engine, const nct_batcher_options *o, nct_batcher **group,
                            nct_error *err) {
    nct_session_terms terms, longest;
    nct_session_options most = o->session;
    if (o->n_sequences < 1 || o->n_sequences > NCT_BATCHER_MAX || o->slice < 0 || o->slice > 4096)
        return nct_fail(err, NCT_E_ARGUMENT,
                        "%d sequences or a slice of %d rows are out of range: expected 1 to %d, 0 to 4096",
                        o->n_sequences, o->slice, NCT_BATCHER_MAX);
    if (o->session.decide_by_prompt)
        return nct_fail(err, NCT_E_ARGUMENT,
                        "a prompt cannot decide as a whole where sequences share what they have in common");
    if (o->session.kv_mapped)
        return nct_fail(err, NCT_E_ARGUMENT,
                        "each of several sequences says itself whether its cache lies in files");
    most.n_expected = INT32_MAX; /* the longer table, where there is one */
    NCT_TRY(nct_session_settle(engine, &o->session, &terms, err));
    NCT_TRY(nct_session_settle(engine, &most, &longest, err));
    void *p = NULL;
    NCT_TRY(nct_alloc(&p, 1, sizeof(nct_batcher), err));
    nct_batcher *g = p;
    g->engine = engine;
    g->options = o->session;
    g->apart = o->apart;
    g->keep_prompts = o->keep_prompts;
    g->attend.sparse = terms.sparse;
    g->n = (size_t)o->n_sequences;
    g->chunk = longest.chunk;
    g->paced = o->slice == 0;
    g->slice = !g->paced && (size_t)o->slice < g->chunk ? (size_t)o->slice : g->chunk;
    nct_pace_init(&g->pace, load_of(g, 0));
    nct_status status = open_sequences(g, longest.limit, err);
    if (status == NCT_OK)
        status = open_alone(g, err);
    g->keeps = o->session.kv_folder && o->session.keep != NCT_KEEP_OFF && !o->apart;
    if (status == NCT_OK && o->session.kv_folder)
        status = nct_copy_string(&g->folder, o->session.kv_folder, strlen(o->session.kv_folder), err);
    if (status != NCT_OK) {
        nct_batcher_close(g);
        return status;
    }
    *group = g;
    return NCT_OK;
}

void nct_batcher_close(nct_batcher *g) {
    if (!g)
        return;
    for (size_t i = 0; i < g->n && g->sequence; i++) {
        nct_store_close(g->sequence[i].store, NULL);
        nct_cache_close(&g->sequence[i].cache);
        nct_sampler_close(g->sequence[i].sampler);
        nct_free(g->sequence[i].tokens);
    }
    nct_work_close(&g->work);
    nct_free(g->sequence);
    nct_free(g->logits);
    nct_free(g->taps);
    nct_free(g->folder);
    nct_alone_close(g->alone);
    nct_free(g);
}

/* ------------------------------------------------------------------ coming and going */

static size_t n_prompt(const struct sequence *s) { return s->what.n_ids; }
static bool is_read(const struct sequence *s) { return s->n_tokens > n_prompt(s); }

/* Tokens at the beginning that both have. */
static size_t common(const struct sequence *a, const struct sequence *b) {
    size_t most = a->n_tokens < b->n_tokens ? a->n_tokens : b->n_tokens, i = 0;
    while (a->rope == b->rope && i < most && a->tokens[i] == b->tokens[i])
        i++;
    return i;
}

static size_t held_of(const struct sequence *s, const int32_t *ids, size_t n, const nct_rope *rope) {
    size_t i = 0;
    while (s->rope == rope && i < s->cache.length && i < n && s->tokens[i] == ids[i])
        i++;
    return i;
}

/* Two prompts begin with n tokens that a sequence holds: others may too, and in later runs. */
static void keep_common(nct_batcher *g, struct sequence *s, size_t n) {
    if (!s->store || g->options.keep != NCT_KEEP_ALL || n < WORTH_LOOKING ||
        (g->options.kv_min_tokens > 0 && n < (size_t)g->options.kv_min_tokens) ||
        n < s->n_kept + WORTH_LOOKING)
        return;
    nct_pool_use(g->engine->pool, g->engine->n_threads_batch);
    nct_store_keep(s->store, s->tokens, n);
    s->n_kept = n;
}

size_t nct_batcher_common(const nct_batcher *g, const int32_t *ids, size_t n) {
    size_t most = 0;
    for (size_t i = 0; i < g->n; i++) {
        const struct sequence *s = &g->sequence[i];
        size_t same = 0, held = s->active ? s->n_tokens : s->cache.length;
        while (same < held && same < n && s->tokens[same] == ids[same])
            same++;
        most = same > most ? same : most;
    }
    return most;
}

/* Where a sequence goes: to the place of one that has ended and held most of it, else least of anything. */
static struct sequence *find_place(nct_batcher *g, const nct_sequence *what, const nct_rope *rope) {
    struct sequence *best = NULL;
    size_t best_held = 0;
    for (size_t i = 0; i < g->n; i++) {
        struct sequence *s = &g->sequence[i];
        if (s->active)
            continue;
        size_t held = held_of(s, what->ids, what->n_ids, rope);
        if (!best || held > best_held || (held == best_held && s->cache.length < best->cache.length)) {
            best = s;
            best_held = held;
        }
    }
    return best;
}

static void tell_choice(void *context, const nct_selected *selected) {
    const struct sequence *s = context;
    nct_choice choice = nct_choice_of(selected);
    s->what.on_choice(s->what.context, &choice);
}

nct_status nct_batcher_add(nct_batcher *g, const nct_sequence *what, int *number, nct_error *err) {
    const nct_model *model = &g->engine->model;
    nct_session_options o = g->options;
    nct_session_terms terms;
    if (g->n_active == g->n)
        return nct_fail(err, NCT_E_ARGUMENT, "the batcher holds %zu sequences already", g->n);
    if (what->n_ids == 0)
        return nct_fail(err, NCT_E_ARGUMENT,
                        "the prompt is empty, and the model has no token that begins a text");
    for (size_t i = 0; i < what->n_ids; i++)
        if (what->ids[i] < 0 || (size_t)what->ids[i] >= model->config.n_vocab)
            return nct_fail(err, NCT_E_ARGUMENT, "token id %d at %zu is outside the vocabulary of %zu",
                            what->ids[i], i, model->config.n_vocab);
    if (what->in_files && !g->folder)
        return nct_fail(err, NCT_E_ARGUMENT, "there is no folder for a cache in files");
    NCT_TRY(nct_sampling_check(&what->sampling, model->config.n_vocab, err));
    o.n_expected = what->n_expected;
    NCT_TRY(nct_session_settle(g->engine, &o, &terms, err));
    if (what->n_ids > terms.limit)
        return nct_fail(err, NCT_E_CONTEXT, "%zu tokens do not fit a context of %zu", what->n_ids,
                        terms.limit);
    const nct_rope *rope = terms.is_long ? &model->long_rope : &model->rope;
    struct sequence *s = find_place(g, what, rope);
    NCT_TRY(open_store(g, s, rope, what->in_files, err));
    void *tokens = s->tokens;
    NCT_TRY(nct_grow(&tokens, &s->capacity, what->n_ids + 1, sizeof *s->tokens, err));
    s->tokens = tokens;
    size_t held = g->apart ? 0 : held_of(s, what->ids, what->n_ids, rope);
    keep_common(g, s, held);
    memcpy(s->tokens, what->ids, what->n_ids * sizeof *s->tokens);
    s->cache.length = held < what->n_ids ? held : what->n_ids - 1; /* the last one is fed for its logits */
    s->n_kept = s->n_kept < s->cache.length ? s->n_kept : s->cache.length;
    if (s->store) {
        nct_store_cut(s->store);
        nct_store_begin(s->store);
    }
    if (!s->mapped)
        nct_cache_trim(&s->cache, what->n_ids);
    s->active = true;
    s->begun = false;
    s->what = *what;
    s->what.ids = NULL;
    s->attend = g->attend;
    if (what->on_choice) {
        s->attend.seen = tell_choice;
        s->attend.seen_from = what->choices_from > 0 ? (size_t)what->choices_from : 0;
        s->attend.context = s;
    }
    s->rope = rope;
    s->limit = terms.limit;
    s->n_tokens = what->n_ids;
    s->n_copied = s->n_computed = 0;
    s->reading_ns = s->read_ns = 0;
    s->rounds = (nct_rounds){0};
    s->since = g->n_added++;
    g->n_active++;
    *number = (int)(s - g->sequence);
    return NCT_OK;
}

static void leave(nct_batcher *g, struct sequence *s) {
    s->active = false;
    g->n_active--;
}

static void end(nct_batcher *g, struct sequence *s, const nct_error *err) {
    leave(g, s);
    s->what.ended(s->what.context, err);
}

void nct_batcher_drop(nct_batcher *g, int number) {
    assert(number >= 0 && (size_t)number < g->n && g->sequence[number].active);
    leave(g, &g->sequence[number]);
}

void nct_batcher_shed(nct_batcher *g) {
    for (size_t i = 0; i < g->n; i++)
        if (!g->sequence[i].active)
            clear(&g->sequence[i]);
}

nct_status nct_batcher_make_up(nct_batcher *g, int number, int n, uint64_t seed, nct_error *err) {
    assert(number >= 0 && (size_t)number < g->n && g->sequence[number].active);
    struct sequence *s = &g->sequence[number];
    size_t count = n < 0 ? 0 : (size_t)n;
    float *vectors = NULL;
    if (!g->apart || count >= n_prompt(s) || s->cache.length)
        return nct_fail(err, NCT_E_ARGUMENT, "%d tokens of a prompt of %zu cannot be made up", n,
                        n_prompt(s));
    NCT_TRY(nct_make_up_vectors(&s->cache, seed, &vectors, err));
    nct_status status = nct_cache_reserve(&s->cache, count, err);
    while (status == NCT_OK && s->cache.length < count) {
        size_t left = count - s->cache.length, room = NCT_PAGE - s->cache.length % NCT_PAGE;
        nct_make_up_page(g->engine, &g->attend, &g->work, &s->cache, left < room ? left : room, vectors);
    }
    nct_free(vectors);
    return status;
}

/* ------------------------------------------------------------------ what a step computes */

/* The first n tokens that both have, from one cache to the other. */
static void copy(nct_batcher *g, struct sequence *from, size_t n, struct sequence *s) {
    size_t settled = s->cache.n_committed, before = s->cache.length;
    if (nct_cache_reserve(&s->cache, n, NULL) != NCT_OK)
        return;
    nct_cache_settle(&s->cache, settled, g->engine->pool);
    keep_common(g, from, n);
    if (nct_cache_copy(&from->cache, n, &s->cache, NULL) != NCT_OK)
        return;
    s->n_kept = from->n_kept < n ? from->n_kept : n;
    if (s->store) /* in memory this does not fail */
        nct_store_grown(s->store, s->tokens, n - before, 0, false, NULL);
}

/* What files of earlier runs hold of the prompt beyond that, but for its last token. A failure is one of memory: it
 * shows again where the rows are computed. */
static void take_files(nct_batcher *g, struct sequence *s) {
    size_t n = n_prompt(s);
    if (!s->store || n < s->cache.length + WORTH_LOOKING)
        return;
    nct_pool_use(g->engine->pool, g->engine->n_threads_batch);
    nct_store_take(s->store, s->tokens, n, n - 1, NULL);
    if (s->cache.length > s->n_kept)
        s->n_kept = s->cache.length;
}

/* Copies what another sequence holds of the prompt, unless the cache lies in files; false if more of it is about to be
 * computed, which is worth waiting for. Several prompts with the same beginning come together: one of them reads it. */
static bool begin(nct_batcher *g, struct sequence *s) {
    struct sequence *from = NULL;
    size_t most = s->cache.length, coming = 0;
    for (size_t i = 0; i < g->n && !g->apart && !s->mapped; i++) {
        struct sequence *other = &g->sequence[i];
        if (other == s)
            continue;
        size_t same = common(s, other), held = same < other->cache.length ? same : other->cache.length;
        if (held > most) {
            most = held;
            from = other;
        }
        if (other->active && other->begun && !is_read(other) && same > coming)
            coming = same;
    }
    most = most < n_prompt(s) ? most : n_prompt(s) - 1;
    if (coming >= most + WORTH_WAITING)
        return false;
    s->begun = true;
    size_t before = s->cache.length;
    if (from &&
        most >
            before) /* without room for a copy it is computed, and complains if there is none for that either */
        copy(g, from, most, s);
    size_t copied = s->cache.length;
    take_files(g, s);
    s->n_copied = s->cache.length;
    g->report.n_copied += copied;
    g->report.n_taken += s->n_copied > copied ? s->n_copied - copied : 0;
    return true;
}

static bool is_waiting(const struct sequence *s) { return s->active && !is_read(s) && s->n_rows == 0; }

/* Of the prompts without rows: the one that takes least, or the oldest. */
static struct sequence *next_prompt(nct_batcher *g, bool oldest) {
    struct sequence *best = NULL;
    for (size_t i = 0; i < g->n; i++) {
        struct sequence *s = &g->sequence[i];
        if (!is_waiting(s) || !s->begun)
            continue;
        size_t left = n_prompt(s) - s->cache.length,
               best_left = best ? n_prompt(best) - best->cache.length : 0;
        if (!best || (!oldest && left < best_left) ||
            ((oldest || left == best_left) && s->since < best->since))
            best = s;
    }
    return best;
}

/* What the next row of a prompt takes of a step's room: in rows where nothing is held, or as paced. */
static double price_of(const nct_batcher *g, const struct sequence *s, bool beside) {
    nct_load row = load_of(g, s->cache.length);
    return !beside ? 1 : g->paced ? nct_pace_cost(&g->pace, row) : 1 + row.attention / row.weights;
}

/* Gives prompts rows, at most so many, that take no more than `room`, unless it is a single one: to the oldest a part, so
 * that none waits for ever, the rest to those that take least. */
static void share_among_prompts(nct_batcher *g, size_t most, double room, bool beside) {
    struct sequence *s = next_prompt(g, true);
    bool given = false;
    for (bool oldest = true; s && most && room > 0; s = next_prompt(g, false), oldest = false) {
        bool in_part = oldest && next_prompt(g, false) != s;
        double price = price_of(g, s, beside), due = in_part ? g->owed * price + room / 4 : room;
        size_t left = n_prompt(s) - s->cache.length, rows = left < most ? left : most;
        if (due < price * (double)rows)
            rows = (size_t)(due / price);
        if (oldest)
            g->owed = in_part && rows < left && rows < most ? due / price - (double)rows : 0;
        if (!in_part && !rows && given)
            break;
        rows += !in_part && !rows;
        given = given || rows;
        s->n_rows = rows;
        most -= rows;
        room -= price * (double)rows;
    }
}

/* Hands out the rows: to each that answers one, or more where tokens were given to it, then to prompts. */
static void share_rows(nct_batcher *g) {
    size_t answering = 0, waiting = 0, given = 0;
    for (size_t i = 0; i < g->n; i++)
        answering += g->sequence[i].active && is_read(&g->sequence[i]);
    size_t most = answering ? g->slice : g->chunk;
    for (size_t i = 0; i < g->n; i++) {
        struct sequence *s = &g->sequence[i];
        size_t left = s->active && is_read(s) ? s->n_tokens - s->cache.length : 0;
        s->n_rows = left <= 1 ? left : left - 1 <= most - given ? left : most - given + 1;
        given += s->n_rows ? s->n_rows - 1 : 0; /* tokens that were not chosen take the place of prompts */
    }
    for (;;) { /* the oldest begin first */
        struct sequence *s = NULL;
        for (size_t i = 0; i < g->n; i++)
            if (is_waiting(&g->sequence[i]) && !g->sequence[i].begun &&
                (!s || g->sequence[i].since < s->since) && g->sequence[i].status == NCT_OK)
                s = &g->sequence[i];
        if (!s)
            break;
        if (!begin(g, s))
            s->status = NCT_E_STOPPED; /* looked at in this step */
    }
    for (size_t i = 0; i < g->n; i++)
        waiting += is_waiting(&g->sequence[i]) && g->sequence[i].begun;
    most -= given;
    if (!answering || !g->paced)
        share_among_prompts(g, most, (double)most, answering > 0);
    else if (!given)
        share_among_prompts(g, most, nct_pace_room(&g->pace, answering, waiting), true);
}

/* A step took so long, whose rows are held by now. */
static void learn_pace(nct_batcher *g, double seconds) {
    nct_load load = {0};
    size_t answers = 0;
    for (size_t i = 0; i < g->n; i++) {
        const struct sequence *s = &g->sequence[i];
        if (s->n_rows && is_read(s)) {
            if (s->n_rows > 1)
                return;
            answers++;
        } else if (s->n_rows) {
            nct_load row = load_of(g, s->cache.length - s->n_rows);
            load.weights += row.weights * (double)s->n_rows;
            load.attention += row.attention * (double)s->n_rows;
        }
    }
    if (answers)
        nct_pace_learn(&g->pace, answers, load, seconds);
}

/* Room for the rows of each; a sequence that gets none ends. */
static void make_room(nct_batcher *g) {
    for (size_t i = 0; i < g->n; i++) {
        struct sequence *s = &g->sequence[i];
        nct_error err = {0};
        void *tokens = s->tokens;
        size_t settled = s->cache.n_committed, n = s->cache.length + s->n_rows;
        if (!s->n_rows)
            continue;
        nct_status status =
            n > s->limit ? nct_fail(&err, NCT_E_CONTEXT, "%zu tokens fill the context", s->limit) : NCT_OK;
        if (status == NCT_OK && s->mapped)
            status = nct_store_prepare(s->store, s->cache.length, s->n_rows, &err);
        if (status == NCT_OK)
            status = nct_cache_reserve(&s->cache, n, &err);
        if (status == NCT_OK &&
            (status = nct_grow(&tokens, &s->capacity, n + 1, sizeof *s->tokens, &err)) == NCT_OK)
            s->tokens = tokens;
        if (status == NCT_OK) {
            nct_cache_settle(&s->cache, settled, g->engine->pool);
        } else {
            s->n_rows = 0;
            end(g, s, &err);
        }
    }
}

/* Parts in the order of the group, answers first: their rows need logits. */
static size_t list_parts(nct_batcher *g, nct_rows *part) {
    size_t n_parts = 0, row = 0;
    for (int reading = 0; reading < 2; reading++)
        for (size_t i = 0; i < g->n; i++) {
            struct sequence *s = &g->sequence[i];
            if (!s->n_rows || is_read(s) == (bool)reading)
                continue;
            s->row = row;
            row += s->n_rows;
            part[n_parts++] = (nct_rows){
                .cache = &s->cache,
                .attend = &s->attend,
                .rope = s->rope,
                .batch = {.id = s->tokens + s->cache.length, .n = s->n_rows, .first = s->cache.length}};
        }
    return n_parts;
}

/* ------------------------------------------------------------------ what comes of it */

static bool has_logits(const struct sequence *s) { return s->n_rows && s->cache.length == s->n_tokens; }

static void choose(void *context, int task, int worker) {
    (void)worker;
    nct_batcher *g = context;
    struct sequence *s = &g->sequence[task];
    if (has_logits(s) && !s->what.matcher)
        s->status = nct_sampler_choose(s->sampler, &s->what.sampling, s->logits, s->tokens, s->n_tokens,
                                       n_prompt(s), s->what.sample, &s->chosen, &s->error);
}

/* The logits of every last row, which are moved to the front for it. */
static void compute_logits(nct_batcher *g) {
    const nct_config *c = &g->engine->model.config;
    size_t n = 0, hidden = c->hidden;
    for (int reading = 0; reading < 2;
         reading++) /* in the order of their rows, so that none is overwritten */
        for (size_t i = 0; i < g->n; i++) {
            struct sequence *s = &g->sequence[i];
            if (!has_logits(s) || is_read(s) == (bool)reading)
                continue;
            size_t row = s->row + s->n_rows - 1;
            if (row != n)
                memcpy(g->work.x + n * hidden, g->work.x + row * hidden, hidden * sizeof *g->work.x);
            s->logits = g->logits + n * c->n_vocab;
            n++;
        }
    if (n)
        nct_forward_logits(&g->engine->exec, &g->engine->model, &g->work, 0, n, g->logits);
}

/* The choice of a sequence that is kept to a constraint: one after another, as they may share it. */
static nct_status choose_matching(struct sequence *s, nct_error *err) {
    const uint64_t *allowed;
    NCT_TRY(nct_matcher_mask(s->what.matcher, &allowed, err));
    NCT_TRY(nct_sampler_choose_among(s->sampler, &s->what.sampling, allowed, s->logits, s->tokens,
                                     s->n_tokens, n_prompt(s), s->what.sample, &s->chosen, err));
    return nct_matcher_take(s->what.matcher, s->chosen, err);
}

/* Tokens that are not chosen. */
static void follow(nct_batcher *g, struct sequence *s) {
    const int32_t *ids = NULL;
    size_t n = 0;
    nct_error err = {0};
    void *tokens = s->tokens;
    if (!s->what.follow(s->what.context, &ids, &n)) {
        end(g, s, NULL);
    } else if (n && nct_grow(&tokens, &s->capacity, s->n_tokens + n + 1, sizeof *s->tokens, &err) != NCT_OK) {
        end(g, s, &err);
    } else if (n) {
        s->tokens = tokens;
        memcpy(s->tokens + s->n_tokens, ids, n * sizeof *ids);
        s->n_tokens += n;
    }
}

static void hand_out(nct_batcher *g) {
    for (size_t i = 0; i < g->n; i++) {
        struct sequence *s = &g->sequence[i];
        if (!has_logits(s))
            continue;
        if (s->what.matcher)
            s->status = choose_matching(s, &s->error);
        if (s->status != NCT_OK) {
            end(g, s, &s->error);
            continue;
        }
        s->tokens[s->n_tokens++] = s->chosen;
        if (s->what.seen)
            s->what.seen(s->what.context, s->logits, s->chosen);
        if (!s->what.take(s->what.context, s->chosen) ||
            (s->what.matcher && nct_matcher_is_done(s->what.matcher)))
            end(g, s, NULL);
        else if (s->what.follow)
            follow(g, s);
    }
}

/* The sequence that has nobody beside it, if it can be guessed for, now or once its prompt is read. */
static struct sequence *find_alone(nct_batcher *g) {
    struct sequence *s = g->sequence;
    if (!g->alone || g->n_active != 1)
        return NULL;
    while (!s->active)
        s++;
    bool told = s->what.seen || s->what.follow || s->what.on_choice; /* of every single token */
    return !told ? s : NULL;
}

static bool can_guess(const nct_batcher *g, const struct sequence *s) {
    return is_read(s) && s->n_tokens == s->cache.length + 1 &&
           s->n_tokens + nct_alone_most(g->alone) < s->limit;
}

static nct_timeline timeline_of(struct sequence *s) {
    return (nct_timeline){.which = s->since,
                          .cache = &s->cache,
                          .tokens = s->tokens,
                          .n_tokens = s->n_tokens,
                          .capacity = s->capacity,
                          .rope = s->rope};
}

static bool take_alone(void *context, int32_t id) {
    const struct sequence *s = context;
    return s->what.take(s->what.context, id);
}

/* A step of it, which may choose several tokens. */
static nct_status step_alone(nct_batcher *g, struct sequence *s, const volatile int *stop, nct_error *err) {
    size_t held = s->cache.length;
    nct_timeline t = timeline_of(s);
    nct_generate_options o = {.sampling = &s->what.sampling,
                              .n_prompt = (int)n_prompt(s),
                              .sample = s->what.sample,
                              .matcher = s->what.matcher,
                              .take = take_alone,
                              .stop = stop,
                              .context = s};
    bool over = false;
    nct_error why = {0};
    uint64_t began = nct_clock_ns();
    nct_status status =
        s->mapped ? nct_store_prepare(s->store, held, nct_alone_most(g->alone) + 1, &why) : NCT_OK;
    if (status == NCT_OK)
        status = nct_alone_round(g->alone, &t, &o, &over, &why);
    s->tokens = t.tokens;
    s->n_tokens = t.n_tokens;
    s->capacity = t.capacity;
    if (status == NCT_E_STOPPED)
        return nct_fail(err, status, "%s", why.text);
    g->report.n_steps++;
    g->report.n_fed += s->cache.length - held;
    nct_batcher_report before = g->report;
    nct_alone_count(g->alone, &g->report.n_guessed, &g->report.n_accepted);
    s->rounds.n_rounds++;
    s->rounds.n_guessed += g->report.n_guessed - before.n_guessed;
    s->rounds.n_accepted += g->report.n_accepted - before.n_accepted;
    if (s->store && s->cache.length > held && status == NCT_OK) /* which fails for files alone */
        status = nct_store_grown(s->store, s->tokens, s->cache.length - held,
                                 (double)(nct_clock_ns() - began) * 1e-9, false, &why);
    if (status != NCT_OK || over)
        end(g, s, status != NCT_OK ? &why : NULL);
    return NCT_OK;
}

/* Of a step's rows, which are held by now: those of a prompt, or those of an answer. */
static void count_rows(struct sequence *s, uint64_t began, uint64_t ended) {
    if (!s->n_rows)
        return;
    if (is_read(s)) {
        s->rounds.n_rounds++;
        return;
    }
    s->reading_ns = s->n_computed ? s->reading_ns : began;
    s->read_ns = ended;
    s->n_computed += s->n_rows;
}

/* Rows of a step whose final states nobody reads: of a prompt that is read by itself all but the last. */
static size_t count_unread(const nct_batcher *g, size_t n_parts, const struct sequence *only) {
    if (n_parts != 1 || (only && nct_alone_reads(g->alone) == NCT_ROW_HIDDEN))
        return 0;
    size_t n = 0;
    for (size_t i = 0; i < g->n; i++) {
        const struct sequence *s = &g->sequence[i];
        if (s->n_rows)
            n = s->n_rows - (s->cache.length + s->n_rows == s->n_tokens);
    }
    return n;
}

nct_status nct_batcher_step(nct_batcher *g, const volatile int *stop, nct_error *err) {
    nct_rows part[NCT_BATCHER_MAX];
    if (g->n_active == 0)
        return NCT_OK;
    struct sequence *only = find_alone(g);
    if (only && can_guess(g, only))
        return step_alone(g, only, stop, err);
    for (size_t i = 0; i < g->n; i++)
        g->sequence[i].status = NCT_OK;
    share_rows(g);
    make_room(g);
    size_t n_parts = list_parts(g, part);
    if (n_parts == 0)
        return NCT_OK;
    size_t n_rows = nct_rows_count(part, n_parts);
    nct_engine_use_threads(g->engine, n_rows);
    uint64_t began = nct_clock_ns();
    nct_between between = {.stop = stop, .n_unread = count_unread(g, n_parts, only)};
    g->work.taps = only ? g->taps : NULL;
    NCT_TRY(nct_forward_parts(&g->engine->exec, &g->engine->model, part, n_parts, &g->work, &between, err));
    uint64_t ended = nct_clock_ns();
    double seconds = (double)(ended - began) * 1e-9;
    for (size_t i = 0; i < g->n; i++) {
        struct sequence *s = &g->sequence[i];
        *(is_read(s) ? &g->report.n_fed : &g->report.n_read) += s->n_rows;
        count_rows(s, began, ended);
        s->status = NCT_OK;
        nct_error why = {0};
        if (s->store && s->n_rows && /* which fails for files alone */
            nct_store_grown(s->store, s->tokens, s->n_rows, seconds * (double)s->n_rows / (double)n_rows,
                            !is_read(s), &why) != NCT_OK) {
            s->n_rows = 0;
            end(g, s, &why);
        }
    }
    if (only && only->n_rows && nct_alone_reads(g->alone) != NCT_ROW_NONE) {
        nct_timeline t = timeline_of(only);
        nct_alone_tell(g->alone, &t, &g->work, only->n_rows, seconds);
    }
    g->report.n_steps++;
    compute_logits(g);
    nct_pool_run(g->engine->pool, (int)g->n, choose, g);
    learn_pace(g, (double)(nct_clock_ns() - began) * 1e-9);
    hand_out(g);
    return NCT_OK;
}

/* ------------------------------------------------------------------ looking */

int nct_batcher_room(const nct_batcher *g) { return (int)(g->n - g->n_active); }
int nct_batcher_size(const nct_batcher *g) { return (int)g->n_active; }

void nct_batcher_look(const nct_batcher *g, int number, nct_sequence_state *state) {
    assert(number >= 0 && (size_t)number < g->n);
    const struct sequence *s = &g->sequence[number];
    size_t held = s->cache.length < n_prompt(s) ? s->cache.length : n_prompt(s);
    *state = (nct_sequence_state){.n_prompt = (int)n_prompt(s),
                                  .n_read = (int)held,
                                  .n_copied = (int)s->n_copied,
                                  .n_chosen = (int)(s->n_tokens - n_prompt(s)),
                                  .limit = (int)s->limit,
                                  .is_long = s->rope == &g->engine->model.long_rope,
                                  .is_sparse = s->cache.length > nct_sparse_chooses_from(&g->attend.sparse),
                                  .n_computed = (int)s->n_computed,
                                  .read_s = (double)(s->read_ns - s->reading_ns) * 1e-9,
                                  .n_rounds = s->rounds.n_rounds,
                                  .n_guessed = s->rounds.n_guessed,
                                  .n_accepted = s->rounds.n_accepted};
}

void nct_batcher_count(const nct_batcher *g, nct_batcher_report *report) {
    *report = g->report;
    report->kv_bytes = 0;
    for (size_t i = 0; i < g->n; i++)
        report->kv_bytes += g->sequence[i].mapped ? 0 : nct_cache_bytes(&g->sequence[i].cache);
}

int nct_batcher_limit(const nct_batcher *g, int n_expected) {
    nct_session_options o = g->options;
    nct_session_terms terms;
    o.n_expected = n_expected;
    return nct_session_settle(g->engine, &o, &terms, NULL) == NCT_OK ? (int)terms.limit : 0;
}

uint64_t nct_batcher_cache_bytes(const nct_batcher *g, size_t n) {
    const nct_cache *c = &g->sequence[0].cache;
    return (uint64_t)(n / NCT_PAGE + (n % NCT_PAGE != 0)) * c->page_bytes;
}
