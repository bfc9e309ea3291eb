#include "attn/select.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A row's room. */
struct room {
    float *top,
        *sum; /* [spans][heads]: of the normalising keys' scores the largest, and the exponentials' sum; merged:
                     [heads] the largest of all and one over their sum */
    float *total;            /* [-1 .. windows) scores summed over the heads of the group */
    float *score, *value;    /* [blocks]; scores that are still in question */
    uint32_t *chosen;        /* [blocks + 1] */
    size_t n_windows, heads; /* padded */
};

/* Bytes of the room for a row at position p; fills in where things lie if base is given. */
static size_t lay_out(const nct_sparse *s, size_t p, size_t group, uint8_t *base, struct room *room) {
    size_t spans = p / NCT_SPAN + 1, heads = nct_pad16(group), stride = s->block / s->fine.stride;
    size_t windows = nct_pad16((p / s->block + 1) * stride + 1), blocks = nct_pad16(p / s->block + 2),
           before = nct_pad16(1);
    if (base) {
        float *at = (float *)(void *)base;
        *room = (struct room){.n_windows = windows, .heads = heads};
        room->top = at, at += spans * heads;
        room->sum = at, at += spans * heads;
        room->total = at + before, at += before + windows;
        room->score = at, at += blocks;
        room->value = at, at += blocks;
        room->chosen = (uint32_t *)(void *)at;
    }
    return (2 * spans * heads + before + windows + 2 * blocks) * sizeof(float) + blocks * sizeof(uint32_t);
}

size_t nct_selection_bytes(const nct_sparse *sparse, size_t n, size_t group) {
    return lay_out(sparse, n ? n - 1 : 0, group, NULL, NULL);
}

static struct room room_of(const nct_selecting *k, const nct_selection *row) {
    struct room room;
    lay_out(k->sparse, row->p, k->group, row->room, &room);
    return room;
}

/* The level that scores are normalised over. */
static int source_level(const nct_sparse *s) { return s->exact_lse ? 0 : 1; }
static nct_level level_of(const nct_sparse *s, int level) { return level ? s->coarse : s->fine; }
static size_t windows_of_page(nct_level level) { return (NCT_PAGE + level.stride - 1) / level.stride; }

size_t nct_select_scratch_bytes(const nct_sparse *s, size_t group) {
    size_t source = NCT_SPAN_PAGES * windows_of_page(level_of(s, source_level(s))),
           page = windows_of_page(s->fine);
    return group * nct_pad16(source > page ? source : page) * sizeof(float);
}

/* Windows of a level that end on a page and that the row sees: first .. first + count - 1. */
static size_t windows_on_page(const nct_selecting *k, int level, size_t page, size_t p, size_t *first) {
    *first = nct_cache_first_window(k->cache, level, page);
    size_t end = nct_cache_first_window(k->cache, level, page + 1),
           n = nct_level_count(k->cache->level[level], p + 1);
    if (end > n)
        end = n;
    return end > *first ? end - *first : 0;
}

/* Of windows first .. first + n - 1 of a page, how many lie in the cache; the rest end in a tree and lie with the row's
 * branch. */
static size_t cached_windows(const nct_selecting *k, int level, size_t first, size_t n) {
    if (!k->branches)
        return n;
    size_t kept = nct_level_count(k->cache->level[level], k->branches->first);
    return kept <= first ? 0 : kept - first < n ? kept - first : n;
}

/* The keys of a page to be fetched while those of `page` are looked at: they lie far from these, which is why the address
 * of still later ones is found out meanwhile. NULL: none that the row sees. */
static const void *next_keys(const nct_selecting *k, const nct_selection *row, int level, size_t page) {
    enum { NEXT = 2, LATER = 6 };
    const nct_cache *c = k->cache;
    size_t n_pages = row->p / NCT_PAGE + 1;
    if (n_pages > c->n_committed)
        n_pages = c->n_committed;
    if (page + LATER < n_pages)
        __builtin_prefetch(nct_cache_pooled(c, level, k->layer, k->kv_head, page + LATER));
    return page + NEXT < n_pages ? nct_cache_pooled(c, level, k->layer, k->kv_head, page + NEXT) : NULL;
}

/* Scores of windows first .. first + n - 1 of a page. */
static void page_scores(const nct_selecting *k, const nct_selection *row, int level, size_t page, size_t first, size_t n,
                        float *out, size_t stride) {
    const nct_cache *c = k->cache;
    size_t cached = cached_windows(k, level, first, n);
    if (cached)
        k->kernels->dots(nct_pooled_type(c->k_type), nct_cache_pooled(c, level, k->layer, k->kv_head, page),
                         c->pooled_lanes[level], cached, next_keys(k, row, level, page), row->q, k->group, c->head_dim,
                         out, stride);
    if (cached < n)
        k->kernels->dots(nct_pooled_type(c->k_type), nct_branches_pooled(k->branches, level, k->kv_head, row->row, page),
                         k->branches->pooled_lanes[level], n - cached, NULL, row->q, k->group, c->head_dim,
                         out + cached, stride);
}

static bool accurate(const nct_selecting *k) { return k->cache->k_type == NCT_KV_F32; }

static size_t span_end(const nct_selection *row, size_t span) {
    size_t end = (span + 1) * NCT_SPAN_PAGES, last = row->p / NCT_PAGE + 1;
    return end < last ? end : last;
}

void nct_select_normalise(const nct_selecting *k, const nct_selection *row, size_t span, void *scratch) {
    struct room room = room_of(k, row);
    int level = source_level(k->sparse);
    size_t stride = nct_pad16(NCT_SPAN_PAGES * windows_of_page(level_of(k->sparse, level))), n = 0, first;
    float *score = scratch, *top = room.top + span * room.heads, *sum = room.sum + span * room.heads;
    for (size_t page = span * NCT_SPAN_PAGES; page < span_end(row, span); page++) {
        size_t count = windows_on_page(k, level, page, row->p, &first);
        if (count)
            page_scores(k, row, level, page, first, count, score + n, stride);
        n += count;
    }
    for (size_t h = 0; h < k->group; h++) {
        top[h] = n ? k->kernels->max(score + h * stride, n) : -INFINITY;
        sum[h] = n ? k->kernels->exp_sum(score + h * stride, n, top[h], accurate(k)) : 0;
    }
}

/* In ascending order, to where the first span's were: the largest score, and one over the sum. Without any, its
 * exponentials count nothing. */
void nct_select_merge(const nct_selecting *k, const nct_selection *row) {
    struct room room = room_of(k, row);
    for (size_t h = 0; h < k->group; h++) {
        float most = -INFINITY, sum = 0;
        for (size_t s = 0; s < nct_selection_spans(row); s++)
            most = fmaxf(most, room.top[s * room.heads + h]);
        for (size_t s = 0; s < nct_selection_spans(row); s++)
            if (room.sum[s * room.heads + h] > 0)
                sum += room.sum[s * room.heads + h] * expf(room.top[s * room.heads + h] - most);
        room.top[h] = sum > 0 ? most : 0;
        room.sum[h] = sum > 0 ? 1 / sum : 0;
    }
}

/* total[j] = sum over heads, ascending, of exp(score[h][j] - m[h]) / Z[h] over the visible fine keys. */
void nct_select_score(const nct_selecting *k, const nct_selection *row, size_t span, void *scratch) {
    struct room room = room_of(k, row);
    const nct_cache *c = k->cache;
    size_t stride = nct_pad16(windows_of_page(k->sparse->fine)), first;
    float *score = scratch;
    for (size_t page = span * NCT_SPAN_PAGES; page < span_end(row, span); page++) {
        size_t count = windows_on_page(k, 0, page, row->p, &first);
        if (!count)
            continue;
        if (k->kernels->exp_dots && nct_pooled_type(c->k_type) == NCT_KV_Q8 &&
            cached_windows(k, 0, first, count) == count) {
            k->kernels->exp_dots(nct_cache_pooled(c, 0, k->layer, k->kv_head, page), c->pooled_lanes[0], count,
                                 next_keys(k, row, 0, page), row->q, k->group, c->head_dim, room.top, room.sum,
                                 room.total + first);
            continue;
        }
        page_scores(k, row, 0, page, first, count, score, stride);
        k->kernels->exp_heads(score, stride, k->group, count, room.top, room.sum, accurate(k),
                              room.total + first);
    }
}

/* ------------------------------------------------------------------ the choice */

/* A block's score: the largest of the windows that overlap it, indices s b - 1 .. s b + s - 1. */
static void score_blocks(const nct_selecting *k, const nct_selection *row, const struct room *room,
                         size_t from, size_t to) {
    size_t s = k->sparse->block / k->sparse->fine.stride, n = nct_level_count(k->sparse->fine, row->p + 1);
    room->total[-1] = -INFINITY;
    for (size_t j = n; j < to * s; j++)
        room->total[j] = -INFINITY;
    k->kernels->window_max(room->total + from * s, s, to - from, room->score + from);
}

static uint32_t bits_of(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}
static float float_of(uint32_t bits) {
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* Leaves only scores above cut in value [n], which may be where they come from; returns how many. */
static size_t keep_above(const nct_kernels *k, const float *score, size_t n, float cut, uint32_t *index,
                         float *value) {
    size_t found = k->find_above(score, n, cut, index);
    for (size_t i = 0; i < found; i++)
        value[i] = score[index[i]];
    return found;
}

/* A score that as many as are needed are above, or else one that fewer are above and with its equals enough. Found by
 * halving: scores are sums of exponentials, and so ordered as their bits are. value, index: room for n + 1. */
static float find_cut(const nct_kernels *k, const float *score, size_t n, size_t need, float *value,
                      uint32_t *index) {
    enum { FIRST_STEP = 3 << 23 }; /* an eighth of the largest: most blocks are far below it */
    uint32_t low = 0, high = bits_of(k->max(score, n)), step = FIRST_STEP;
    if (k->count_above(score, n, 0) < need)
        return 0;
    while (high - low > 1) { /* above low there are enough, above high too few */
        uint32_t middle = low + (high - low) / 2;
        if (high - low > step) {
            middle = high - step;
            step *= 2;
        }
        float cut = float_of(middle);
        size_t above = k->count_above(score, n, cut);
        if (above == need)
            return cut;
        if (above < need) {
            high = middle;
            continue;
        }
        low = middle;
        if (above <= n / 2) {
            n = keep_above(k, score, n, cut, index, value);
            score = value;
        }
    }
    return float_of(high);
}

/* The `need` best of n blocks, of which there are as many at least; the lower one of two alike. chosen: room for n + 1. */
static void choose(const nct_kernels *k, const float *score, size_t n, size_t need, float *room,
                   uint32_t *chosen) {
    if (!need)
        return;
    float cut = find_cut(k, score, n, need, room, chosen);
    size_t found = k->find_above(score, n, cut, chosen);
    for (size_t b = 0; b < n && found < need; b++)
        if (score[b] == cut)
            chosen[found++] = (uint32_t)b;
    for (size_t b = 0; b < n && found < need; b++) /* what is no number, or of no window */
        if (!(score[b] >= cut))
            chosen[found++] = (uint32_t)b;
}

static void mark(uint64_t *lanes, size_t from, size_t to) {
    for (size_t t = from; t < to;) {
        size_t lane = t % NCT_STEP, n = NCT_STEP - lane < to - t ? NCT_STEP - lane : to - t;
        lanes[t / NCT_STEP] |= (n == NCT_STEP ? UINT64_MAX : (UINT64_C(1) << n) - 1) << lane;
        t += n;
    }
}

static int by_index(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

/* How far, relatively, some score would have to move to change the choice of blocks chosen [need] of n: the nearest score
 * that differs from the last one chosen, on the other side of the border. */
static double margin(const float *score, size_t n, const uint32_t *chosen, size_t need) {
    if (!need || need >= n)
        return INFINITY;
    double cut = INFINITY, nearest = INFINITY;
    size_t alike = 0; /* as the last one chosen, and were not */
    for (size_t i = 0; i < need; i++)
        cut = fmin(cut, score[chosen[i]]);
    for (size_t b = 0; b < n; b++) {
        alike += score[b] == cut;
        if (score[b] < cut)
            nearest = fmin(nearest, (cut - score[b]) / cut);
    }
    for (size_t i = 0; i < need; i++)
        alike -= score[chosen[i]] == cut;
    for (size_t i = 0; alike && i < need; i++)
        if (score[chosen[i]] > cut)
            nearest = fmin(nearest, (score[chosen[i]] - cut) / cut);
    return nearest;
}

void nct_select_choose(const nct_selecting *k, const nct_selection *row, uint64_t *lanes,
                       nct_selected_fn *seen, void *context) {
    const nct_sparse *s = k->sparse;
    struct room room = room_of(k, row);
    size_t p = row->p;
    /* forced blocks, then the best of those between */
    size_t diagonal = p / s->block,
           local = diagonal + 1 > s->local_forced ? diagonal + 1 - s->local_forced : 0;
    size_t from = s->init_blocks < diagonal + 1 ? s->init_blocks : diagonal + 1;
    if (local < from)
        local = from;
    size_t need = s->budget - from - (diagonal + 1 - local);
    if (need > local - from)
        need = local - from;
    score_blocks(k, row, &room, from, local);
    choose(k->kernels, room.score + from, local - from, need, room.value, room.chosen);
    double gap = seen ? margin(room.score + from, local - from, room.chosen, need) : 0;
    for (size_t i = 0; i < need; i++)
        room.chosen[i] += (uint32_t)from;

    memset(lanes, 0, (p / NCT_STEP + 1) * sizeof *lanes);
    mark(lanes, 0, from * s->block < p + 1 ? from * s->block : p + 1);
    mark(lanes, local * s->block, p + 1);
    for (size_t i = 0; i < need; i++)
        mark(lanes, room.chosen[i] * s->block, (room.chosen[i] + 1) * s->block);
    if (!seen)
        return;

    nct_selected selected = {.layer = k->layer,
                             .position = p,
                             .kv_head = k->kv_head,
                             .n_first = from,
                             .n_local = diagonal + 1 - local,
                             .block = room.chosen,
                             .margin = gap};
    for (size_t b = 0; b < from; b++)
        room.chosen[need++] = (uint32_t)b;
    for (size_t b = local; b <= diagonal; b++)
        room.chosen[need++] = (uint32_t)b;
    qsort(room.chosen, need, sizeof *room.chosen, by_index);
    selected.n_blocks = need;
    seen(context, &selected);
}
