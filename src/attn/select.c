#include "attn/select.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A row's room. */
struct room {
    float *top,
        *sum;     /* [spans][heads]: of the normalising keys' scores the largest, and the exponentials' sum */
    float *total; /* [windows] scores summed over the heads of the group */
    float *score; /* [blocks] */
    uint64_t *heap;          /* [budget] */
    uint32_t *chosen;        /* [budget] */
    size_t n_windows, heads; /* padded */
};

/* Bytes of the room for a row at position p; fills in where things lie if base is given. */
static size_t lay_out(const nct_sparse *s, size_t p, size_t group, uint8_t *base, struct room *room) {
    size_t spans = p / NCT_SPAN + 1, heads = nct_pad16(group), stride = s->block / s->fine.stride;
    size_t windows = nct_pad16((p / s->block + 1) * stride + 1), blocks = nct_pad16(p / s->block + 1),
           budget = nct_pad16(s->budget);
    if (base) {
        float *at = (float *)(void *)base;
        *room = (struct room){.n_windows = windows, .heads = heads};
        room->top = at, at += spans * heads;
        room->sum = at, at += spans * heads;
        room->total = at, at += windows;
        room->score = at, at += blocks;
        room->heap = (uint64_t *)(void *)at, at += 2 * budget;
        room->chosen = (uint32_t *)(void *)at;
    }
    return (2 * spans * heads + windows + blocks + 2 * budget) * sizeof(float) + budget * sizeof(uint32_t);
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
    return (2 * nct_pad16(group) + group * nct_pad16(source > page ? source : page)) * sizeof(float);
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

/* Fetches a page's compressed keys while the page before is scored: each lies far from the last. */
static void fetch_page(const nct_selecting *k, int level, size_t page, size_t end) {
    if (page >= end || page >= k->cache->n_committed)
        return;
    const uint8_t *at = nct_cache_pooled(k->cache, level, k->layer, k->kv_head, page);
    for (size_t i = 0; i < k->cache->pooled_bytes[level]; i += 64)
        __builtin_prefetch(at + i, 0, 2);
}

/* Scores of windows first .. first + n - 1 of a page; those that end in a tree lie with the row's branch. */
static void page_scores(const nct_selecting *k, const nct_selection *row, int level, size_t page, size_t first,
                        size_t n, float *out, size_t stride) {
    const nct_cache *c = k->cache;
    size_t cached = n;
    if (k->branches) {
        size_t kept = nct_level_count(c->level[level], k->branches->first);
        cached = kept <= first ? 0 : kept - first < n ? kept - first : n;
    }
    if (cached)
        k->kernels->dots(c->k_type, nct_cache_pooled(c, level, k->layer, k->kv_head, page),
                         c->pooled_lanes[level], cached, row->q, k->group, c->head_dim, out, stride);
    if (cached < n)
        k->kernels->dots(c->k_type, nct_branches_pooled(k->branches, level, k->kv_head, row->row, page),
                         k->branches->pooled_lanes[level], n - cached, row->q, k->group, c->head_dim,
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
        fetch_page(k, level, page + 1, span_end(row, span));
        if (count)
            page_scores(k, row, level, page, first, count, score + n, stride);
        n += count;
    }
    for (size_t h = 0; h < k->group; h++) {
        top[h] = n ? k->kernels->max(score + h * stride, n) : -INFINITY;
        sum[h] = n ? k->kernels->exp_sum(score + h * stride, n, top[h], accurate(k)) : 0;
    }
}

/* The spans' normalisers merged, in ascending order, for one head. Without any, its exponentials count nothing. */
static void merge_spans(const struct room *room, size_t n_spans, size_t h, float *top, float *inverse) {
    float most = -INFINITY, sum = 0;
    for (size_t s = 0; s < n_spans; s++)
        most = fmaxf(most, room->top[s * room->heads + h]);
    for (size_t s = 0; s < n_spans; s++)
        if (room->sum[s * room->heads + h] > 0)
            sum += room->sum[s * room->heads + h] * expf(room->top[s * room->heads + h] - most);
    *top = sum > 0 ? most : 0;
    *inverse = sum > 0 ? 1 / sum : 0;
}

/* total[j] = sum over heads, ascending, of exp(score[h][j] - m[h]) / Z[h] over the visible fine keys. */
void nct_select_score(const nct_selecting *k, const nct_selection *row, size_t span, void *scratch) {
    struct room room = room_of(k, row);
    size_t stride = nct_pad16(windows_of_page(k->sparse->fine)), heads = nct_pad16(k->group), first;
    float *top = scratch, *inverse = top + heads, *score = inverse + heads;
    for (size_t h = 0; h < k->group; h++)
        merge_spans(&room, nct_selection_spans(row), h, top + h, inverse + h);
    for (size_t page = span * NCT_SPAN_PAGES; page < span_end(row, span); page++) {
        size_t count = windows_on_page(k, 0, page, row->p, &first);
        fetch_page(k, 0, page + 1, span_end(row, span));
        if (!count)
            continue;
        page_scores(k, row, 0, page, first, count, score, stride);
        k->kernels->exp_heads(score, stride, k->group, count, top, inverse, accurate(k), room.total + first);
    }
}

/* ------------------------------------------------------------------ the choice */

static float larger(float a, float b) { return a > b ? a : b; }

/* A block's score: the largest of the windows that overlap it, indices s b - 1 .. s b + s - 1. */
static void score_blocks(const nct_selecting *k, const nct_selection *row, const struct room *room,
                         size_t from, size_t to) {
    size_t s = k->sparse->block / k->sparse->fine.stride, n = nct_level_count(k->sparse->fine, row->p + 1);
    float *total = room->total;
    for (size_t j = n; j < to * s; j++)
        total[j] = -INFINITY;
    if (s == 4)
        for (size_t b = from; b < to; b++)
            room->score[b] =
                larger(larger(total[4 * b], total[4 * b + 1]), larger(total[4 * b + 2], total[4 * b + 3]));
    else
        for (size_t b = from; b < to; b++) {
            room->score[b] = total[s * b];
            for (size_t j = 1; j < s; j++)
                room->score[b] = larger(room->score[b], total[s * b + j]);
        }
    for (size_t b = from ? from : 1; b < to; b++)
        room->score[b] = larger(room->score[b], total[s * b - 1]);
}

/* An integer that is larger for a block that is chosen before another: higher score, then lower index. */
static uint64_t rank(float score, uint32_t block) {
    uint32_t bits;
    score += 0.0f; /* -0 becomes 0 */
    memcpy(&bits, &score, sizeof bits);
    bits = bits >> 31 ? ~bits : bits | 0x80000000u;
    return (uint64_t)bits << 32 | (uint32_t)~block;
}

/* Puts a rank into the place of the smallest, which is on top. */
static void replace_top(uint64_t *heap, size_t n, uint64_t value) {
    size_t i = 0;
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= n)
            break;
        child += child + 1 < n && heap[child + 1] < heap[child];
        if (value <= heap[child])
            break;
        heap[i] = heap[child];
        i = child;
    }
    heap[i] = value;
}

/* The `need` best of blocks [from, to). */
static void choose(const float *score, size_t from, size_t to, size_t need, uint64_t *heap,
                   uint32_t *chosen) {
    memset(heap, 0, need * sizeof *heap);
    for (size_t b = from; b < to && need; b++) {
        uint64_t r = rank(score[b], (uint32_t)b);
        if (r > heap[0])
            replace_top(heap, need, r);
    }
    for (size_t i = 0; i < need; i++)
        chosen[i] = ~(uint32_t)heap[i];
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

/* How far, relatively, some score would have to move to change the choice: the nearest score that differs
 * from the last one chosen, on the other side of the border. */
static double margin(const float *score, size_t from, size_t to, const uint64_t *heap, size_t need) {
    if (!need || need >= to - from)
        return INFINITY;
    double cut = score[~(uint32_t)heap[0]], nearest = INFINITY;
    bool tied = false;
    for (size_t b = from; b < to; b++)
        if (rank(score[b], (uint32_t)b) < heap[0]) {
            tied = tied || score[b] == cut;
            if (score[b] < cut)
                nearest = fmin(nearest, (cut - score[b]) / cut);
        }
    for (size_t i = 0; tied && i < need; i++) {
        double chosen = score[~(uint32_t)heap[i]];
        if (chosen > cut)
            nearest = fmin(nearest, (chosen - cut) / cut);
    }
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
    choose(room.score, from, local, need, room.heap, room.chosen);

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
                             .block = room.chosen};
    selected.margin = margin(room.score, from, local, room.heap, need);
    for (size_t b = 0; b < from; b++)
        room.chosen[need++] = (uint32_t)b;
    for (size_t b = local; b <= diagonal; b++)
        room.chosen[need++] = (uint32_t)b;
    qsort(room.chosen, need, sizeof *room.chosen, by_index);
    selected.n_blocks = need;
    seen(context, &selected);
}
