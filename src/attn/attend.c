#include "attn/attend.h"

#include <assert.h>
#include <stdatomic.h>
#include <string.h>

#include "base/clock.h"

enum {
    FEW_ROWS = 64, /* up to here segments are shared out between threads where heads do not come out even, beyond it
                      tiles of rows; no tree has more */
    ROWS_IN_WAVE = 128, /* rows x segments whose results are held before they are merged */
    TILE = 8,           /* rows of a tile .. */
    TILE_MAX = 32, /* .. where rows choose up to so many: blocks that several of them chose are read once */
    TASKS = 4,     /* tiles that every thread gets, at least, before tiles become larger */
};

/* What one thread works with. */
struct desk {
    nct_step *step;    /* of one call: [steps] */
    uint64_t *mask;    /* [steps][rows] */
    void *scratch;     /* of the kernel */
    float *total;      /* a tile's m, l, acc */
    uint64_t *lanes;   /* a tile's choices, [tile][n_steps] */
    uint8_t *choosing; /* scratch of a pass of selections */
    uint8_t *rooms;    /* a tile's selections, [tile] */
    size_t room_bytes;
    nct_attend_times times;
};

struct attending {
    const nct_exec *exec;
    const nct_attend_options *options;
    const nct_cache *cache;
    const nct_branches *branches; /* NULL: a chain */
    const nct_batch *batch;
    size_t layer, n_heads, group; /* group: query heads of one key-value head */
    const uint8_t *q;
    size_t query_bytes, row_bytes; /* of one query, of a row of them */
    float *out;
    size_t n_steps;    /* steps up to the batch's last row */
    size_t tile;       /* rows of a tile */
    bool choosing;     /* some row chooses blocks */
    bool asking;       /* steps may have to come from the disk */
    struct desk *desk; /* [threads] */
    /* few rows */
    uint8_t *rooms; /* their selections, [kv heads][rows], if choosing */
    size_t room_bytes;
    uint64_t *lanes;  /* [kv heads][rows][n_steps], if choosing */
    uint32_t *seen;   /* [kv heads][rows][n_steps]: the steps that a row sees, if choosing .. */
    uint32_t *n_seen; /* .. and how many, [kv heads][rows] */
    atomic_int *n_done; /* [kv heads][rows]: spans of the pass at hand that are done */
    float *partial;   /* results of segments: m, l [rows x group], acc */
    float *total;     /* [kv heads], likewise */
    size_t partial_floats;
    size_t first_segment, n_segments; /* the wave */
};

/* The clock, where times are asked for. */
static uint64_t now(const struct attending *k) {
    return k->options->times && k->choosing ? nct_clock_ns() : 0;
}

static void add_times(nct_attend_times *sum, uint64_t all_ns, uint64_t choosing_ns) {
    if (sum) {
        sum->all_ns += all_ns;
        sum->choosing_ns += choosing_ns;
    }
}

/* Lanes of step `step` that a row at `position` may see at all. */
static uint64_t causal_lanes(size_t step, size_t position) {
    size_t start = step * NCT_STEP;
    if (position < start)
        return 0;
    return position - start >= NCT_STEP - 1 ? UINT64_MAX : (UINT64_C(1) << (position - start + 1)) - 1;
}

static const uint8_t *queries(const struct attending *k, size_t kv_head, size_t row) {
    return k->q + row * k->row_bytes + kv_head * k->group * k->query_bytes;
}

/* The same, readied for compressed keys. */
static const uint8_t *scoring_queries(const struct attending *k, size_t kv_head, size_t row) {
    return queries(k, kv_head, row) + (nct_query_forms(k->cache->k_type) - 1) * k->n_heads * k->query_bytes;
}

static bool chooses(const struct attending *k, size_t row) {
    return nct_sparse_chooses(&k->options->sparse, nct_batch_position(k->batch, row),
                              k->options->decision_len);
}

static nct_selecting selecting(const struct attending *k, size_t kv_head) {
    return (nct_selecting){k->exec->kernels, &k->options->sparse, k->cache, k->layer, kv_head,
                           k->group,         k->branches};
}

static nct_selection selection(const struct attending *k, size_t kv_head, size_t row, uint8_t *room) {
    return (nct_selection){
        .p = nct_batch_position(k->batch, row), .q = scoring_queries(k, kv_head, row), .room = room, .row = row};
}

/* What a row sees, [n_steps]; if it chooses, the first two passes of its selection are done. */
static void see(const struct attending *k, size_t kv_head, size_t row, uint8_t *room, uint64_t *lanes) {
    const nct_attend_options *o = k->options;
    size_t p = nct_batch_position(k->batch, row), own_steps = p / NCT_STEP + 1;
    memset(lanes + own_steps, 0, (k->n_steps - own_steps) * sizeof *lanes);
    if (chooses(k, row)) {
        nct_selecting where = selecting(k, kv_head);
        nct_selection what = selection(k, kv_head, row, room);
        nct_select_choose(&where, &what, lanes, p >= o->seen_from ? o->seen : NULL, o->context);
    } else {
        for (size_t s = 0; s < own_steps; s++)
            lanes[s] = causal_lanes(s, p);
    }
}

typedef void pass_fn(const nct_selecting *k, const nct_selection *row, size_t span, void *scratch);

/* Runs the steps on the desk for rows row .. row + n_rows - 1, on top of total. */
static void run(const struct attending *k, const struct desk *b, size_t n_steps, size_t n_after,
                size_t kv_head, size_t row, size_t n_rows, float *total) {
    size_t heads = n_rows * k->group;
    k->exec->kernels->attend(&(nct_attend_job){.k_type = k->cache->k_type,
                                               .v_type = k->cache->v_type,
                                               .step = b->step,
                                               .mask = b->mask,
                                               .n_steps = n_steps,
                                               .n_after = n_after,
                                               .q = queries(k, kv_head, row),
                                               .q_stride = k->row_bytes,
                                               .n_rows = n_rows,
                                               .n_heads = k->group,
                                               .d = k->cache->head_dim,
                                               .m = total,
                                               .l = total + heads,
                                               .acc = total + 2 * heads,
                                               .scratch = b->scratch});
}

static size_t total_floats(size_t heads, size_t d) { return heads * (2 + d); }

/* acc / l of one head. */
static void write_out(const struct attending *k, size_t kv_head, size_t row, size_t head, float l,
                      const float *acc) {
    size_t d = k->cache->head_dim;
    float *out = k->out + ((row * k->n_heads) + kv_head * k->group + head) * d;
    for (size_t i = 0; i < d; i++)
        out[i] = acc[i] / l;
}

/* ------------------------------------------------------------------ steps that are on the disk */

/* Asks for steps before they are attended to, so that the disk reads while others are. step NULL: the first n. */
static void ask_steps(const struct attending *k, size_t kv_head, const uint32_t *step, size_t n) {
    nct_cache_asking asking = {0};
    for (size_t i = 0; k->asking && i < n; i++)
        nct_cache_ask(k->cache, &asking, nct_cache_step(k->cache, k->layer, kv_head, step ? step[i] : i));
    nct_cache_ask_end(&asking);
}

/* What is needed whatever is chosen: compressed keys, of the next layer too, or else all steps. */
static void ask_ahead(const struct attending *k) {
    size_t n_pages = (k->n_steps + NCT_PAGE_STEPS - 1) / NCT_PAGE_STEPS;
    for (size_t layer = k->layer ? k->layer + 1 : 0; k->choosing && layer <= k->layer + 1; layer++)
        if (layer < k->cache->n_layers)
            nct_cache_ask_pooled(k->cache, layer, n_pages);
    for (size_t kv = 0; !k->choosing && k->batch->n <= FEW_ROWS && kv < k->cache->n_kv_heads; kv++)
        ask_steps(k, kv, NULL, k->n_steps);
}

/* ------------------------------------------------------------------ few rows: segments in parallel */

/* What a row sees, for one key-value head: after the last pass of its selection. */
static void few_rows_choose(const struct attending *k, size_t at) {
    size_t row = at % k->batch->n, kv_head = at / k->batch->n, n = 0;
    uint64_t *lanes = k->lanes + at * k->n_steps;
    uint32_t *seen = k->seen + at * k->n_steps;
    see(k, kv_head, row, k->rooms + at * k->room_bytes, lanes);
    for (size_t s = 0; s < k->n_steps; s++)
        if (lanes[s])
            seen[n++] = (uint32_t)s;
    k->n_seen[at] = (uint32_t)n;
    ask_steps(k, kv_head, seen, n);
}

/* One span of one row's selection, in the first pass or the second; whoever does a row's last span goes on with what
 * needs all of them. */
static void few_rows_pass(const struct attending *k, int task, int worker, bool scoring) {
    size_t n_spans = k->n_steps * NCT_STEP / NCT_SPAN + 1, at = (size_t)task / n_spans, span = (size_t)task % n_spans;
    size_t row = at % k->batch->n, kv_head = at / k->batch->n;
    nct_selecting where = selecting(k, kv_head);
    nct_selection what = selection(k, kv_head, row, k->rooms + at * k->room_bytes);
    if (chooses(k, row) && span < nct_selection_spans(&what))
        (scoring ? nct_select_score : nct_select_normalise)(&where, &what, span, k->desk[worker].choosing);
    if (atomic_fetch_add_explicit(&k->n_done[at], 1, memory_order_acq_rel) + 1 < (int)n_spans)
        return;
    atomic_store_explicit(&k->n_done[at], 0, memory_order_relaxed);
    if (scoring)
        few_rows_choose(k, at);
    else if (chooses(k, row))
        nct_select_merge(&where, &what);
}
static void few_rows_normalise(void *context, int task, int worker) { few_rows_pass(context, task, worker, false); }
static void few_rows_score(void *context, int task, int worker) { few_rows_pass(context, task, worker, true); }

/* What all rows see. */
static void few_rows_see(struct attending *k) {
    nct_arena *scratch = k->exec->scratch;
    size_t n = k->batch->n * k->cache->n_kv_heads, n_spans = k->n_steps * NCT_STEP / NCT_SPAN + 1;
    k->lanes = nct_arena_take(scratch, n * k->n_steps, sizeof *k->lanes);
    k->seen = nct_arena_take(scratch, n * k->n_steps, sizeof *k->seen);
    k->n_seen = nct_arena_take(scratch, n, sizeof *k->n_seen);
    k->n_done = nct_arena_take(scratch, n, sizeof *k->n_done);
    k->room_bytes = nct_selection_bytes(&k->options->sparse, k->n_steps * NCT_STEP, k->group);
    k->rooms = nct_arena_take(scratch, n, k->room_bytes);
    for (size_t i = 0; i < n; i++)
        atomic_init(&k->n_done[i], 0);
    nct_pool_run(k->exec->pool, (int)(n * n_spans), few_rows_normalise, k);
    nct_pool_run(k->exec->pool, (int)(n * n_spans), few_rows_score, k);
}

/* Step number i of those a row sees; past the last one, one that does not exist. */
static size_t step_seen(const struct attending *k, size_t kv_head, size_t row, size_t i) {
    size_t at = kv_head * k->batch->n + row;
    if (k->choosing)
        return i < k->n_seen[at] ? k->seen[at * k->n_steps + i] : SIZE_MAX;
    return i <= nct_batch_position(k->batch, row) / NCT_STEP ? i : SIZE_MAX;
}

/* What one block holds for a row: the same for all that share a place. */
static size_t place(const struct attending *k, size_t row, size_t block) {
    return k->branches && block >= nct_branches_block(k->branches) ? 1 + (size_t)k->branches->branch[row] : 0;
}
static nct_step block_at(const struct attending *k, size_t kv_head, size_t row, size_t block) {
    return place(k, row, block) ? nct_branches_step(k->branches, k->cache, kv_head, row, block)
                                : nct_cache_step(k->cache, k->layer, kv_head, block);
}
static uint64_t lanes_of(const struct attending *k, size_t kv_head, size_t row, size_t block) {
    return k->choosing ? k->lanes[(kv_head * k->batch->n + row) * k->n_steps + block]
                       : causal_lanes(block, nct_batch_position(k->batch, row));
}

/* Puts a block on the desk, from number n of its steps on: once for all rows row .. row + n_rows - 1, or where they see it
 * differently once for each branch. lanes [n_rows], 0 for rows that it is not for, is spent. */
static size_t put_block(const struct attending *k, size_t kv_head, size_t block, size_t row, size_t n_rows,
                        uint64_t *lanes, const struct desk *b, size_t n) {
    for (size_t t = 0; t < n_rows; t++) {
        if (!lanes[t])
            continue;
        uint64_t *mask = b->mask + n * n_rows;
        size_t where = place(k, row + t, block);
        for (size_t i = 0; i < n_rows; i++) {
            bool here = place(k, row + i, block) == where;
            mask[i] = here ? lanes[i] : 0;
            lanes[i] = here ? 0 : lanes[i];
        }
        b->step[n++] = block_at(k, kv_head, row + t, block);
    }
    return n;
}

/* Puts the steps of every row's segment number `segment` on the desk, each once. */
static size_t gather(const struct attending *k, size_t kv_head, size_t segment, const struct desk *b) {
    size_t n_rows = k->batch->n, n = 0, at[FEW_ROWS], end = (segment + 1) * NCT_SEGMENT_STEPS;
    for (size_t t = 0; t < n_rows; t++)
        at[t] = segment * NCT_SEGMENT_STEPS;
    for (;;) {
        size_t next = SIZE_MAX;
        for (size_t t = 0; t < n_rows; t++) {
            size_t s = at[t] < end ? step_seen(k, kv_head, t, at[t]) : SIZE_MAX;
            next = s < next ? s : next;
        }
        if (next == SIZE_MAX)
            return n;
        uint64_t lanes[FEW_ROWS];
        for (size_t t = 0; t < n_rows; t++) {
            bool here = at[t] < end && step_seen(k, kv_head, t, at[t]) == next;
            lanes[t] = here ? lanes_of(k, kv_head, t, next) : 0;
            at[t] += here;
        }
        n = put_block(k, kv_head, next, 0, n_rows, lanes, b, n);
    }
}

/* Puts the first steps of the task that this thread is likely to take next behind its own; another thread may have taken
 * it: then what was fetched is of no use, and does no harm. */
static size_t put_after(const struct attending *k, int task, const struct desk *b, size_t n_steps) {
    size_t next = (size_t)task + (size_t)nct_pool_size(k->exec->pool), kv_head = next / k->n_segments, n = 0;
    for (; kv_head < k->cache->n_kv_heads && n < NCT_STEPS_AHEAD; n++) {
        size_t block = step_seen(k, kv_head, 0, (k->first_segment + next % k->n_segments) * NCT_SEGMENT_STEPS + n);
        if (block == SIZE_MAX)
            break;
        b->step[n_steps + n] = block_at(k, kv_head, 0, block);
    }
    return n;
}

static void few_rows_segment(void *context, int task, int worker) {
    const struct attending *k = context;
    const struct desk *b = &k->desk[worker];
    size_t kv_head = (size_t)task / k->n_segments, segment = k->first_segment + (size_t)task % k->n_segments;
    float *result = k->partial + (size_t)task * k->partial_floats;
    memset(result, 0, 2 * k->batch->n * k->group * sizeof *result); /* nothing yet */
    size_t n_steps = gather(k, kv_head, segment, b);
    if (n_steps)
        run(k, b, n_steps, put_after(k, task, b, n_steps), kv_head, 0, k->batch->n, result);
}

/* Merges a wave's segments of one vector; after the last wave its total is the result. */
static void few_rows_merge(void *context, int task, int worker) {
    (void)worker;
    const struct attending *k = context;
    size_t heads = k->batch->n * k->group, d = k->cache->head_dim, kv_head = (size_t)task / heads,
           v = (size_t)task % heads;
    float *total = k->total + kv_head * k->partial_floats, *acc = total + 2 * heads + v * d;
    for (size_t s = 0; s < k->n_segments; s++) {
        const float *part = k->partial + (kv_head * k->n_segments + s) * k->partial_floats;
        k->exec->kernels->attend_merge(total + v, total + heads + v, acc, part + v, part + heads + v,
                                       part + 2 * heads + v * d, 1, d);
    }
    write_out(k, kv_head, v / k->group, v % k->group, total[heads + v], acc);
}

static size_t count_segments(const struct attending *k) {
    size_t most = 0;
    if (!k->choosing)
        most = k->n_steps;
    for (size_t i = 0; k->choosing && i < k->batch->n * k->cache->n_kv_heads; i++)
        most = k->n_seen[i] > most ? k->n_seen[i] : most;
    return (most + NCT_SEGMENT_STEPS - 1) / NCT_SEGMENT_STEPS;
}

static void few_rows(struct attending *k) {
    nct_arena *scratch = k->exec->scratch;
    size_t n = k->batch->n, d = k->cache->head_dim, n_kv = k->cache->n_kv_heads, heads = n * k->group;
    uint64_t began = now(k);
    if (k->choosing)
        few_rows_see(k);
    uint64_t chosen = now(k);
    size_t n_segments = count_segments(k), wave = ROWS_IN_WAVE / n;
    if (wave > n_segments)
        wave = n_segments;
    k->partial_floats = total_floats(heads, d);
    k->partial = nct_arena_take(scratch, wave * n_kv * k->partial_floats, sizeof(float));
    k->total = nct_arena_take(scratch, n_kv * k->partial_floats, sizeof(float));
    for (size_t kv = 0; kv < n_kv; kv++) /* l = 0: nothing yet */
        memset(k->total + kv * k->partial_floats, 0, 2 * heads * sizeof *k->total);
    for (k->first_segment = 0; k->first_segment < n_segments; k->first_segment += wave) {
        size_t left = n_segments - k->first_segment;
        k->n_segments = wave < left ? wave : left;
        nct_pool_run(k->exec->pool, (int)(n_kv * k->n_segments), few_rows_segment, k);
        nct_pool_run(k->exec->pool, (int)(n_kv * heads), few_rows_merge, k);
    }
    uint64_t n_threads = (uint64_t)nct_pool_used(k->exec->pool);
    add_times(k->options->times, (now(k) - began) * n_threads, (chosen - began) * n_threads);
}

/* ------------------------------------------------------------------ many rows: tiles in parallel */

/* What a task works on: rows, and their key-value head. */
struct tile {
    size_t kv_head, row, n;
    size_t end; /* one past the last position */
};

static struct tile tile_of(const struct attending *k, size_t task) {
    /* the last tiles see most: they go first, so that no thread begins a long one at the end */
    size_t n_tiles = (k->batch->n + k->tile - 1) / k->tile, row = (n_tiles - 1 - task % n_tiles) * k->tile,
           left = k->batch->n - row, n = left < k->tile ? left : k->tile;
    return (struct tile){.kv_head = task / n_tiles,
                         .row = row,
                         .n = n,
                         .end = k->branches ? nct_batch_end(k->batch) : k->batch->first + row + n};
}

/* Runs one pass of the selections of a tile's rows: all rows of a span, whose compressed keys stay at hand. */
static void tile_pass(const struct attending *k, const struct tile *tile, const struct desk *desk, pass_fn *pass) {
    nct_selecting where = selecting(k, tile->kv_head);
    for (size_t span = 0; span <= (tile->end - 1) / NCT_SPAN; span++)
        for (size_t t = 0; t < tile->n; t++) {
            nct_selection what = selection(k, tile->kv_head, tile->row + t, desk->rooms + t * desk->room_bytes);
            if (chooses(k, tile->row + t) && span < nct_selection_spans(&what))
                pass(&where, &what, span, desk->choosing);
        }
}

static void tile_merge(const struct attending *k, const struct tile *tile, const struct desk *desk) {
    nct_selecting where = selecting(k, tile->kv_head);
    for (size_t t = 0; t < tile->n; t++) {
        nct_selection what = selection(k, tile->kv_head, tile->row + t, desk->rooms + t * desk->room_bytes);
        if (chooses(k, tile->row + t))
            nct_select_merge(&where, &what);
    }
}

static void tile_choose(const struct attending *k, const struct tile *tile, const struct desk *b) {
    tile_pass(k, tile, b, nct_select_normalise);
    tile_merge(k, tile, b);
    tile_pass(k, tile, b, nct_select_score);
    for (size_t t = 0; t < tile->n; t++)
        see(k, tile->kv_head, tile->row + t, b->rooms + t * b->room_bytes, b->lanes + t * k->n_steps);
}

/* Puts what a tile's rows see on the desk; returns the number of steps. */
static size_t tile_put(const struct attending *k, const struct tile *tile, const struct desk *b) {
    size_t n_steps = 0, own = k->branches ? nct_branches_block(k->branches) : SIZE_MAX; /* blocks of branches from here on */
    for (size_t s = 0; s <= (tile->end - 1) / NCT_STEP; s++) {
        uint64_t any = 0, *mask = b->mask + n_steps * tile->n, lanes[FEW_ROWS];
        for (size_t t = 0; t < tile->n; t++)
            any |= mask[t] = k->choosing ? b->lanes[t * k->n_steps + s]
                                         : causal_lanes(s, nct_batch_position(k->batch, tile->row + t));
        if (!any)
            continue;
        if (s >= own) {
            memcpy(lanes, mask, tile->n * sizeof *lanes);
            n_steps = put_block(k, tile->kv_head, s, tile->row, tile->n, lanes, b, n_steps);
        } else {
            b->step[n_steps++] = nct_cache_step(k->cache, k->layer, tile->kv_head, s);
        }
    }
    return n_steps;
}

static void many_rows_tile(void *context, int task, int worker) {
    const struct attending *k = context;
    struct desk *b = &k->desk[worker];
    uint64_t began = now(k);
    struct tile tile = tile_of(k, (size_t)task);
    size_t heads = tile.n * k->group;
    if (k->choosing)
        tile_choose(k, &tile, b);
    uint64_t chosen = now(k);
    size_t n_steps = tile_put(k, &tile, b);
    nct_cache_asking asking = {0};
    for (size_t i = 0; k->asking && i < n_steps; i++)
        nct_cache_ask(k->cache, &asking, b->step[i]);
    nct_cache_ask_end(&asking);
    memset(b->total, 0, 2 * heads * sizeof *b->total);
    run(k, b, n_steps, 0, tile.kv_head, tile.row, tile.n, b->total);
    for (size_t v = 0; v < heads; v++)
        write_out(k, tile.kv_head, tile.row + v / k->group, v % k->group, b->total[heads + v],
                  b->total + 2 * heads + v * k->cache->head_dim);
    add_times(&b->times, now(k) - began, chosen - began);
}

/* ------------------------------------------------------------------ memory */

static size_t most(size_t a, size_t b) { return a > b ? a : b; }

/* What a batch of n rows that sees n_steps steps needs, per thread. */
struct sizes {
    size_t steps, mask, scratch, total, lanes, choosing, rooms, room;
};

/* Whether threads get whole heads: few rows are one tile then, or two. Where heads come out even, threads need not wait
 * for each other nor fetch each other's results, which takes as long as a quarter of one row's attention. */
static bool whole_heads(const nct_cache *cache, size_t n_rows, int n_threads) {
    return n_rows <= FEW_ROWS && cache->n_kv_heads % (size_t)n_threads == 0;
}

/* Rows of a tile of a batch: small where they attend to everything, as then all read the same, and where larger ones
 * would leave threads without work. */
static size_t tile_rows(const nct_cache *cache, size_t n_rows, int n_threads, bool choosing) {
    if (whole_heads(cache, n_rows, n_threads))
        return n_rows <= TILE_MAX ? n_rows : (n_rows + 1) / 2;
    size_t tile = choosing ? TILE_MAX : TILE;
    while (tile > TILE && n_rows * cache->n_kv_heads < tile * TASKS * (size_t)n_threads)
        tile /= 2;
    return tile;
}

/* few: by segments. */
static struct sizes desk_sizes(const nct_attend_options *options, const nct_cache *cache, bool few, size_t n_rows,
                               size_t tile, size_t n_steps, size_t group, bool choosing, bool tree) {
    struct sizes z = {0};
    size_t rows = few ? n_rows : tile, at_once = few ? NCT_SEGMENT_STEPS * (choosing ? n_rows : 1) : n_steps;
    if (few && !choosing)
        at_once++; /* two rows' segments are the same steps */
    z.steps = at_once < n_steps ? at_once : n_steps;
    if (tree)
        z.steps += 2 * rows; /* the last two, once for each branch */
    z.mask = z.steps * rows;
    z.steps += few ? NCT_STEPS_AHEAD : 0;
    z.scratch = nct_attend_scratch(rows, group, cache->head_dim);
    z.total = few ? 0 : total_floats(rows * group, cache->head_dim);
    z.lanes = few || !choosing ? 0 : tile * n_steps;
    z.choosing = choosing ? nct_select_scratch_bytes(&options->sparse, group) : 0;
    z.rooms = few || !choosing ? 0 : tile;
    z.room = !z.rooms ? 0 : nct_selection_bytes(&options->sparse, n_steps * NCT_STEP, group);
    return z;
}

static size_t desk_bytes(const struct sizes *z) {
    return nct_arena_cost(1, sizeof(struct desk)) + nct_arena_cost(z->steps, sizeof(nct_step)) +
           nct_arena_cost(z->mask, sizeof(uint64_t)) + nct_arena_cost(z->scratch, 1) +
           nct_arena_cost(z->total, sizeof(float)) + nct_arena_cost(z->lanes, sizeof(uint64_t)) +
           nct_arena_cost(z->choosing, 1) + nct_arena_cost(z->rooms, z->room);
}

static struct desk *take_desks(const nct_exec *exec, const struct sizes *z) {
    nct_arena *a = exec->scratch;
    size_t n_threads = (size_t)nct_pool_size(exec->pool);
    struct desk *desk = nct_arena_take(a, n_threads, sizeof *desk);
    for (size_t i = 0; i < n_threads; i++) {
        struct desk *b = &desk[i];
        b->step = nct_arena_take(a, z->steps, sizeof *b->step);
        b->mask = nct_arena_take(a, z->mask, sizeof *b->mask);
        b->scratch = nct_arena_take(a, z->scratch, 1);
        b->total = nct_arena_take(a, z->total, sizeof *b->total);
        b->lanes = nct_arena_take(a, z->lanes, sizeof *b->lanes);
        b->choosing = nct_arena_take(a, z->choosing, 1);
        b->rooms = nct_arena_take(a, z->rooms, z->room);
        b->room_bytes = z->room;
        b->times = (nct_attend_times){0};
    }
    return desk;
}

size_t nct_attend_scratch_bytes(const nct_attend_options *options, const nct_cache *cache, size_t n_rows,
                                size_t n_heads, int n_threads) {
    size_t few = n_rows < FEW_ROWS ? n_rows : FEW_ROWS, d = cache->head_dim,
           group = n_heads / cache->n_kv_heads;
    size_t n_steps = cache->limit / NCT_STEP + 1, threads = (size_t)n_threads;
    bool sparse = options->sparse.enabled;
    struct sizes of_few = desk_sizes(options, cache, true, few, 0, n_steps, group, sparse, true);
    size_t tile = most(tile_rows(cache, n_rows, n_threads, sparse), few < TILE_MAX ? few : TILE_MAX);
    struct sizes of_many = desk_sizes(options, cache, false, n_rows, tile, n_steps, group, sparse, true);
    /* a wave holds at most ROWS_IN_WAVE rows and segments, or one segment of the few rows */
    size_t few_bytes = threads * desk_bytes(&of_few) +
                       nct_arena_cost(ROWS_IN_WAVE * total_floats(n_heads, d), sizeof(float)) +
                       nct_arena_cost(few * total_floats(n_heads, d), sizeof(float));
    size_t many_bytes =
        threads * desk_bytes(&of_many) + nct_arena_cost(NCT_ATTEND_PARTS, sizeof(struct attending));
    if (sparse)
        few_bytes += nct_arena_cost(cache->n_kv_heads * few * n_steps, sizeof(uint64_t)) +
                     nct_arena_cost(cache->n_kv_heads * few * n_steps, sizeof(uint32_t)) +
                     nct_arena_cost(cache->n_kv_heads * few, sizeof(uint32_t)) +
                     nct_arena_cost(cache->n_kv_heads * few, sizeof(atomic_int)) +
                     nct_arena_cost(cache->n_kv_heads * few,
                                    nct_selection_bytes(&options->sparse, n_steps * NCT_STEP, group));
    return few_bytes > many_bytes ? few_bytes : many_bytes;
}

/* ------------------------------------------------------------------ all */

static struct attending attending(const nct_exec *exec, const nct_attend_part *part,
                                  const nct_branches *branches, size_t layer, size_t n_heads) {
    size_t last = nct_batch_end(part->batch) - 1, query_bytes = nct_query_bytes(part->cache->head_dim);
    bool choosing = nct_sparse_chooses(&part->options->sparse, last, part->options->decision_len);
    return (struct attending){.exec = exec,
                              .options = part->options,
                              .cache = part->cache,
                              .branches = branches,
                              .batch = part->batch,
                              .layer = layer,
                              .n_heads = n_heads,
                              .group = n_heads / part->cache->n_kv_heads,
                              .q = part->q,
                              .query_bytes = query_bytes,
                              .row_bytes = nct_query_forms(part->cache->k_type) * n_heads * query_bytes,
                              .out = part->out,
                              .n_steps = last / NCT_STEP + 1,
                              .tile =
                                  tile_rows(part->cache, part->batch->n, nct_pool_used(exec->pool), choosing),
                              .choosing = choosing,
                              .asking = nct_cache_is_away(part->cache)};
}

static size_t count_tiles(const struct attending *k) {
    return (k->batch->n + k->tile - 1) / k->tile * k->cache->n_kv_heads;
}

void nct_attend(const nct_exec *exec, const nct_attend_options *options, const nct_cache *cache,
                const nct_branches *branches, size_t layer, const nct_batch *batch, size_t n_heads,
                const uint8_t *q, float *out) {
    size_t mark = nct_arena_mark(exec->scratch);
    struct attending k =
        attending(exec, &(nct_attend_part){options, cache, batch, q, out}, branches, layer, n_heads);
    bool few = batch->n <= FEW_ROWS && !whole_heads(cache, batch->n, nct_pool_used(exec->pool));
    struct sizes z = desk_sizes(options, cache, few, batch->n, k.tile, k.n_steps, k.group, k.choosing, branches);
    if (k.asking)
        ask_ahead(&k);
    k.desk = take_desks(exec, &z);
    if (few)
        few_rows(&k);
    else
        nct_pool_run(exec->pool, (int)count_tiles(&k), many_rows_tile, &k);
    for (int i = 0; i < nct_pool_size(exec->pool); i++)
        add_times(options->times, k.desk[i].times.all_ns, k.desk[i].times.choosing_ns);
    nct_arena_release(exec->scratch, mark);
}

/* ------------------------------------------------------------------ several timelines: the tiles of all */

struct attending_parts {
    struct attending *part;
    size_t n;
};

/* A tile is worked on as one of many rows, whose bits are those of few; the last part, which may be a slice of a
 * prompt, goes first. */
static void parts_tile(void *context, int task, int worker) {
    const struct attending_parts *parts = context;
    size_t i = parts->n - 1, at = (size_t)task;
    for (size_t n; at >= (n = count_tiles(&parts->part[i])); i--)
        at -= n;
    many_rows_tile(&parts->part[i], (int)at, worker);
}

void nct_attend_parts(const nct_exec *exec, const nct_attend_part *part, size_t n_parts, size_t layer,
                      size_t n_heads) {
    size_t mark = nct_arena_mark(exec->scratch), n_tiles = 0;
    struct attending *k = nct_arena_take(exec->scratch, n_parts, sizeof *k);
    struct sizes z = {0};
    bool away = false;
    assert(n_parts <= NCT_ATTEND_PARTS);
    for (size_t i = 0; i < n_parts; i++) {
        k[i] = attending(exec, &part[i], NULL, layer, n_heads);
        struct sizes own = desk_sizes(k[i].options, k[i].cache, false, k[i].batch->n, k[i].tile, k[i].n_steps,
                                      k[i].group, k[i].choosing, false);
        z = (struct sizes){most(z.steps, own.steps), most(z.mask, own.mask),   most(z.scratch, own.scratch),
                           most(z.total, own.total), most(z.lanes, own.lanes), most(z.choosing, own.choosing),
                           most(z.rooms, own.rooms), most(z.room, own.room)};
        n_tiles += count_tiles(&k[i]);
        away = away || k[i].asking || k[i].options->times;
    }
    if (away || n_tiles < (size_t)nct_pool_used(
                              exec->pool)) { /* fewer tiles than threads: segments keep them all busy */
        nct_arena_release(exec->scratch, mark);
        for (size_t i = 0; i < n_parts; i++)
            nct_attend(exec, part[i].options, part[i].cache, NULL, layer, part[i].batch, n_heads, part[i].q,
                       part[i].out);
        return;
    }
    struct desk *desk = take_desks(exec, &z);
    for (size_t i = 0; i < n_parts; i++)
        k[i].desk = desk;
    nct_pool_run(exec->pool, (int)n_tiles, parts_tile, &(struct attending_parts){k, n_parts});
    nct_arena_release(exec->scratch, mark);
}
