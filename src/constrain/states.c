#include "constrain/states.h"

#include <stdlib.h>

#include "base/rng.h"

#define SYMBOL 0x80000000u      /* a frame that is still being made: the rule it belongs to */
#define PASS   (UINT32_MAX - 2) /* in place of a node: go on with the frame itself */

typedef struct wait {
    uint32_t rank, node, frame; /* a call of the rule of this rank, and where it returns */
} wait;

typedef struct seen {
    uint32_t node, frame, epoch;
} seen;

struct nct_states {
    nct_state_tables t;
    const nct_grammar *g;
    nct_error fault;
    size_t n_sets, sets_capacity;
    nct_item *item;
    size_t n_items, items_capacity;
    size_t n_steps, steps_capacity;
    uint32_t *table; /* set by hash, 0: empty */
    size_t table_mask;
    uint32_t *rule_of_rank, *frame_of; /* [n_rules] */
    uint32_t *called;                  /* [n_rules] epoch */
    /* of one closure */
    nct_item *work, *out, *made;
    size_t n_work, work_capacity, n_out, out_capacity, n_made, made_capacity;
    wait *waiting;
    size_t n_waiting, waiting_capacity;
    seen *seen;
    size_t seen_mask, n_seen;
    uint32_t epoch, memo_epoch;
};

/* ------------------------------------------------------------------ memory */

static bool failed(const nct_states *s) { return s->fault.status != NCT_OK; }

static bool room(nct_states *s, void **p, size_t *capacity, size_t n, size_t item_bytes) {
    return !failed(s) && nct_grow(p, capacity, n, item_bytes, &s->fault) == NCT_OK;
}

static void add_item(nct_states *s, nct_item **list, size_t *n, size_t *capacity, nct_item item) {
    void *p = *list;
    if (!room(s, &p, capacity, *n + 1, sizeof item))
        return;
    *list = p;
    (*list)[(*n)++] = item;
}
static void add_work(nct_states *s, nct_item i) { add_item(s, &s->work, &s->n_work, &s->work_capacity, i); }
static void add_out(nct_states *s, nct_item i) { add_item(s, &s->out, &s->n_out, &s->out_capacity, i); }
static void add_made(nct_states *s, nct_item i) { add_item(s, &s->made, &s->n_made, &s->made_capacity, i); }

static nct_status open_states(nct_states *s, nct_error *err) {
    const nct_grammar *g = s->g;
    void *p = NULL;
    NCT_TRY(nct_alloc(&p, g->n_rules, sizeof(uint32_t), err));
    s->rule_of_rank = p;
    for (uint32_t i = 0; i < g->n_rules; i++)
        s->rule_of_rank[g->rule[i].rank] = i;
    NCT_TRY(nct_alloc(&p, g->n_rules, sizeof(uint32_t), err));
    s->frame_of = p;
    NCT_TRY(nct_alloc(&p, g->n_rules, sizeof(uint32_t), err));
    s->called = p;
    s->table_mask = 255;
    NCT_TRY(nct_alloc(&p, s->table_mask + 1, sizeof(uint32_t), err));
    s->table = p;
    s->seen_mask = 255;
    NCT_TRY(nct_alloc(&p, s->seen_mask + 1, sizeof *s->seen, err));
    s->seen = p;
    s->sets_capacity = 64;
    NCT_TRY(nct_alloc(&p, s->sets_capacity, sizeof *s->t.set, err));
    s->t.set = p;
    nct_states_clear(s);
    return NCT_OK;
}

nct_status nct_states_open(const nct_grammar *g, nct_states **states, nct_error *err) {
    void *p = NULL;
    NCT_TRY(nct_alloc(&p, 1, sizeof(nct_states), err));
    nct_states *s = p;
    s->g = g;
    nct_status status = open_states(s, err);
    if (status != NCT_OK) {
        nct_states_close(s);
        return status;
    }
    *states = s;
    return NCT_OK;
}

void nct_states_close(nct_states *s) {
    if (!s)
        return;
    nct_free(s->t.set);
    nct_free(s->item);
    nct_free(s->t.step);
    nct_free(s->table);
    nct_free(s->rule_of_rank);
    nct_free(s->frame_of);
    nct_free(s->called);
    nct_free(s->work);
    nct_free(s->out);
    nct_free(s->made);
    nct_free(s->waiting);
    nct_free(s->seen);
    nct_free(s);
}

void nct_states_clear(nct_states *s) {
    memset(s->table, 0, (s->table_mask + 1) * sizeof *s->table);
    s->n_sets = 1; /* the dead one */
    s->n_items = s->n_steps = 0;
    s->t.set[0] = (nct_set){.least = NCT_GRAMMAR_NEVER,
                            .steps = NCT_UNKNOWN,
                            .tokens = NCT_UNKNOWN,
                            .view = NCT_UNKNOWN,
                            .shape = NCT_UNKNOWN};
}

const nct_error *nct_states_fault(const nct_states *s) { return &s->fault; }

size_t nct_states_bytes(const nct_states *s) {
    return s->n_sets * sizeof *s->t.set + s->n_items * sizeof *s->item + s->n_steps * sizeof *s->t.step;
}

nct_set *nct_states_set(nct_states *s, uint32_t set) { return &s->t.set[set]; }
const nct_item *nct_states_items(const nct_states *s, uint32_t set) { return s->item + s->t.set[set].first; }

/* ------------------------------------------------------------------ sets by what they hold */

static int by_node(const void *a, const void *b) {
    const nct_item *x = a, *y = b;
    if (x->node != y->node)
        return (x->node > y->node) - (x->node < y->node);
    return (x->frame > y->frame) - (x->frame < y->frame);
}

static size_t sort_items(nct_item *item, size_t n) {
    size_t kept = 0;
    if (n > 1)
        qsort(item, n, sizeof *item, by_node);
    for (size_t i = 0; i < n; i++)
        if (kept == 0 || by_node(&item[i], &item[kept - 1]) != 0)
            item[kept++] = item[i];
    return kept;
}

static uint32_t hash_items(const nct_item *item, size_t n) {
    uint64_t h = n;
    for (size_t i = 0; i < n; i++)
        h = nct_rng_mix(h ^ ((uint64_t)item[i].node << 32 | item[i].frame));
    return (uint32_t)(h ^ h >> 32);
}

static bool grow_table(nct_states *s) {
    void *p = NULL;
    size_t mask = s->table_mask * 2 + 1;
    if (nct_alloc(&p, mask + 1, sizeof(uint32_t), &s->fault) != NCT_OK)
        return false;
    nct_free(s->table);
    s->table = p;
    s->table_mask = mask;
    for (uint32_t i = 1; i < s->n_sets; i++) {
        size_t at = s->t.set[i].hash & mask;
        while (s->table[at])
            at = (at + 1) & mask;
        s->table[at] = i;
    }
    return true;
}

static uint32_t plus(uint32_t a, uint32_t b) {
    return a == NCT_GRAMMAR_NEVER || b == NCT_GRAMMAR_NEVER ? NCT_GRAMMAR_NEVER
           : a + b < NCT_GRAMMAR_LONG                       ? a + b
                                                            : NCT_GRAMMAR_LONG;
}

/* Fewest bytes under NCT_NODE_STRIP: a space that is no text, or anything else. */
static uint32_t least_stripped(const nct_states *s, const nct_item *item, size_t n, uint32_t least) {
    const nct_grammar *g = s->g;
    uint32_t best = plus(least, 1);
    for (size_t i = 0; i < n; i++)
        for (uint32_t k = item[i].node < g->n_nodes ? g->first_take[item[i].node] : 0;
             item[i].node < g->n_nodes && k < g->first_take[item[i].node + 1]; k++) {
            const nct_take *t = &g->take[k];
            uint32_t all = plus(plus(g->least[t->to], s->t.set[item[i].frame].least), 1);
            if ((t->low != ' ' || t->high != ' ') && all < best)
                best = all;
        }
    return best;
}

static void describe(const nct_states *s, const nct_item *item, size_t n, nct_set *set) {
    set->least = NCT_GRAMMAR_NEVER;
    for (size_t i = 0; i < n; i++) {
        uint32_t least = 0;
        if (item[i].node < s->g->n_nodes) {
            const nct_set *frame = &s->t.set[item[i].frame];
            least = plus(s->g->least[item[i].node], frame->least);
            set->depth = frame->depth + 1 > set->depth ? frame->depth + 1 : set->depth;
            set->flags |= NCT_SET_GOES_ON;
        } else if (item[i].node == NCT_NODE_ACCEPT) {
            set->flags |= NCT_SET_ACCEPTS;
        } else if (item[i].node == NCT_NODE_STRIP) {
            set->flags |= NCT_SET_STRIP;
            continue;
        } else {
            set->flags |= NCT_SET_HOLES;
        }
        set->least = least < set->least ? least : set->least;
    }
    if (set->flags & NCT_SET_STRIP && set->least)
        set->least = least_stripped(s, item, n, set->least);
}

/* The set of sorted items. */
static uint32_t intern(nct_states *s, const nct_item *item, size_t n) {
    uint32_t hash = hash_items(item, n);
    size_t at;
    void *p;
    if (n == 0 || failed(s))
        return 0;
    for (at = hash & s->table_mask; s->table[at]; at = (at + 1) & s->table_mask) {
        const nct_set *k = &s->t.set[s->table[at]];
        if (k->hash == hash && k->n == n && memcmp(s->item + k->first, item, n * sizeof *item) == 0)
            return s->table[at];
    }
    p = s->item;
    if (!room(s, &p, &s->items_capacity, s->n_items + n, sizeof *item))
        return 0;
    s->item = p;
    p = s->t.set;
    if (!room(s, &p, &s->sets_capacity, s->n_sets + 1, sizeof *s->t.set))
        return 0;
    s->t.set = p;
    uint32_t number = (uint32_t)s->n_sets;
    nct_set set = {.first = (uint32_t)s->n_items,
                   .n = (uint32_t)n,
                   .hash = hash,
                   .steps = NCT_UNKNOWN,
                   .tokens = NCT_UNKNOWN,
                   .view = NCT_UNKNOWN,
                   .shape = NCT_UNKNOWN};
    describe(s, item, n, &set);
    memcpy(s->item + s->n_items, item, n * sizeof *item);
    s->n_items += n;
    s->t.set[s->n_sets++] = set;
    s->table[at] = number;
    if (s->n_sets * 2 > s->table_mask && !grow_table(s))
        return 0;
    return number;
}

/* ------------------------------------------------------------------ closures */

static bool grow_seen(nct_states *s) {
    void *p = NULL;
    size_t mask = s->seen_mask * 2 + 1;
    if (nct_alloc(&p, mask + 1, sizeof *s->seen, &s->fault) != NCT_OK)
        return false;
    seen *table = p;
    for (size_t i = 0; i <= s->seen_mask; i++) {
        if (s->seen[i].epoch != s->epoch)
            continue;
        size_t at = nct_rng_mix((uint64_t)s->seen[i].node << 32 | s->seen[i].frame) & mask;
        while (table[at].epoch == s->epoch)
            at = (at + 1) & mask;
        table[at] = s->seen[i];
    }
    nct_free(s->seen);
    s->seen = table;
    s->seen_mask = mask;
    return true;
}

/* To be looked at, unless it was. */
static void visit(nct_states *s, uint32_t node, uint32_t frame) {
    size_t at = nct_rng_mix((uint64_t)node << 32 | frame) & s->seen_mask;
    for (; s->seen[at].epoch == s->epoch; at = (at + 1) & s->seen_mask)
        if (s->seen[at].node == node && s->seen[at].frame == frame)
            return;
    s->seen[at] = (seen){node, frame, s->epoch};
    if (++s->n_seen * 2 > s->seen_mask && !grow_seen(s))
        return;
    add_work(s, (nct_item){node, frame});
}

static void begin_closure(nct_states *s) {
    s->n_work = s->n_out = s->n_waiting = s->n_seen = 0;
    if (++s->epoch == 0) { /* after 2^32 of them */
        memset(s->seen, 0, (s->seen_mask + 1) * sizeof *s->seen);
        memset(s->called, 0, s->g->n_rules * sizeof *s->called);
        s->epoch = 1;
    }
}

static void visit_frame(nct_states *s, uint32_t frame) {
    for (uint32_t i = 0; i < s->t.set[frame].n && !failed(s); i++) {
        nct_item item = s->item[s->t.set[frame].first + i];
        visit(s, item.node, item.frame);
    }
}

static void wait_for(nct_states *s, uint32_t rule, uint32_t node, uint32_t frame) {
    void *p = s->waiting;
    if (!room(s, &p, &s->waiting_capacity, s->n_waiting + 1, sizeof *s->waiting))
        return;
    s->waiting = p;
    s->waiting[s->n_waiting++] = (wait){s->g->rule[rule].rank, node, frame};
}

static void follow_call(nct_states *s, const nct_call *c, uint32_t frame) {
    const nct_grammar *g = s->g;
    uint32_t start = g->rule[c->rule].start;
    wait_for(s, c->rule, g->ends[c->to] & NCT_ENDS_ONLY ? PASS : c->to, frame);
    if (s->called[c->rule] != s->epoch) {
        s->called[c->rule] = s->epoch;
        visit(s, start, SYMBOL | c->rule);
    }
    if (g->least[start] == 0) /* it may be empty (Aycock and Horspool 2002) */
        visit(s, c->to, frame);
}

static void look_at(nct_states *s, nct_item item) {
    const nct_grammar *g = s->g;
    if (item.node >= g->n_nodes) {
        add_out(s, item);
        return;
    }
    if (g->first_take[item.node] < g->first_take[item.node + 1])
        add_out(s, item);
    if (g->ends[item.node] && !(item.frame & SYMBOL)) /* else the rule was empty, which its callers know */
        visit_frame(s, item.frame);
    for (uint32_t i = g->first_call[item.node]; i < g->first_call[item.node + 1] && !failed(s); i++)
        follow_call(s, &g->call[i], item.frame);
}

static int by_rank(const void *a, const void *b) {
    const wait *x = a, *y = b;
    return (x->rank > y->rank) - (x->rank < y->rank);
}

static uint32_t real_frame(const nct_states *s, uint32_t frame) {
    return frame & SYMBOL ? s->frame_of[frame & ~SYMBOL] : frame;
}

/* Frames of the rules that were called: callers first, since their own frames are part of them. */
static void make_frames(nct_states *s) {
    if (s->n_waiting > 1)
        qsort(s->waiting, s->n_waiting, sizeof *s->waiting, by_rank);
    for (size_t i = 0; i < s->n_waiting && !failed(s);) {
        uint32_t rank = s->waiting[i].rank;
        s->n_made = 0;
        for (; i < s->n_waiting && s->waiting[i].rank == rank; i++) {
            uint32_t frame = real_frame(s, s->waiting[i].frame);
            if (s->waiting[i].node != PASS)
                add_made(s, (nct_item){s->waiting[i].node, frame});
            else
                for (uint32_t k = 0; k < s->t.set[frame].n; k++)
                    add_made(s, s->item[s->t.set[frame].first + k]);
        }
        s->n_made = sort_items(s->made, s->n_made);
        s->frame_of[s->rule_of_rank[rank]] = intern(s, s->made, s->n_made);
    }
}

static uint32_t end_closure(nct_states *s) {
    while (s->n_work && !failed(s))
        look_at(s, s->work[--s->n_work]);
    make_frames(s);
    for (size_t i = 0; i < s->n_out; i++)
        if (s->out[i].node < s->g->n_nodes)
            s->out[i].frame = real_frame(s, s->out[i].frame);
    s->n_out = sort_items(s->out, s->n_out);
    return intern(s, s->out, s->n_out);
}

/* ------------------------------------------------------------------ moving */

uint32_t nct_states_begin(nct_states *s, uint32_t rule, bool strip) {
    nct_item accept = {NCT_NODE_ACCEPT, 0};
    uint32_t end = intern(s, &accept, 1);
    begin_closure(s);
    visit(s, s->g->rule[rule].start, end);
    if (strip)
        visit(s, NCT_NODE_STRIP, 0);
    return end_closure(s);
}

uint32_t nct_states_at(nct_states *s, uint32_t node) {
    nct_item hole = {NCT_NODE_HOLE, 0};
    uint32_t frame = intern(s, &hole, 1);
    begin_closure(s);
    visit(s, node, frame);
    return end_closure(s);
}

uint32_t nct_states_enter(nct_states *s, uint32_t frame) {
    begin_closure(s);
    visit_frame(s, frame);
    return end_closure(s);
}

static uint32_t take(nct_states *s, uint32_t set, uint8_t byte) {
    const nct_grammar *g = s->g;
    bool strip = s->t.set[set].flags & NCT_SET_STRIP;
    begin_closure(s);
    for (uint32_t i = 0; i < s->t.set[set].n && !failed(s); i++) {
        nct_item item = s->item[s->t.set[set].first + i];
        if (strip && byte == ' ' && item.node != NCT_NODE_STRIP)
            visit(s, item.node, item.frame);
        if ((strip && byte == ' ') || item.node >= g->n_nodes)
            continue;
        for (uint32_t k = g->first_take[item.node]; k < g->first_take[item.node + 1]; k++)
            if (byte >= g->take[k].low && byte <= g->take[k].high)
                visit(s, g->take[k].to, item.frame);
    }
    return end_closure(s);
}

uint32_t nct_states_step(nct_states *s, uint32_t set, uint8_t byte) {
    size_t class = s->g->class_of[byte];
    if (!(s->t.set[set].flags & NCT_SET_GOES_ON) || failed(s))
        return 0;
    if (s->t.set[set].steps == NCT_UNKNOWN) {
        void *p = s->t.step;
        if (!room(s, &p, &s->steps_capacity, s->n_steps + s->g->n_classes, sizeof *s->t.step))
            return 0;
        s->t.step = p;
        s->t.set[set].steps = (uint32_t)s->n_steps;
        for (size_t i = 0; i < s->g->n_classes; i++)
            s->t.step[s->n_steps++] = NCT_UNKNOWN;
    }
    uint32_t next = s->t.step[s->t.set[set].steps + class];
    if (next == NCT_UNKNOWN) {
        next = take(s, set, byte);
        s->t.step[s->t.set[set].steps + class] = next;
    }
    return next;
}

uint8_t nct_states_shortest(nct_states *s, uint32_t set) {
    const nct_grammar *g = s->g;
    const nct_set *k = &s->t.set[set];
    bool strip = k->flags & NCT_SET_STRIP;
    int best = 256;
    for (uint32_t i = 0; i < k->n; i++) {
        nct_item item = s->item[k->first + i];
        if (item.node >= g->n_nodes)
            continue;
        for (uint32_t t = g->first_take[item.node]; t < g->first_take[item.node + 1]; t++) {
            const nct_take *take = &g->take[t];
            int low = strip && take->low == ' ' ? ' ' + 1 : take->low;
            if (low <= take->high && low < best &&
                plus(plus(g->least[take->to], s->t.set[item.frame].least), 1) == k->least)
                best = low;
        }
    }
    return (uint8_t)(best < 256 ? best : ' '); /* only the space that is no text is left */
}

/* ------------------------------------------------------------------ holes */

uint32_t nct_states_shape(nct_states *s, uint32_t set, uint32_t *frame, size_t *n_frames) {
    *n_frames = 0;
    s->n_made = 0;
    for (uint32_t i = 0; i < s->t.set[set].n && !failed(s); i++) {
        nct_item item = s->item[s->t.set[set].first + i];
        size_t k = 0;
        if (item.node < s->g->n_nodes) {
            while (k < *n_frames && frame[k] != item.frame)
                k++;
            if (k == NCT_HOLES) {
                *n_frames = 0;
                return set;
            }
            if (k == *n_frames)
                frame[(*n_frames)++] = item.frame;
            nct_item hole = {NCT_NODE_HOLE + (uint32_t)k, 0};
            item.frame = intern(s, &hole, 1);
        }
        add_made(s, item);
    }
    s->n_made = sort_items(s->made, s->n_made);
    return intern(s, s->made, s->n_made);
}

uint32_t nct_states_remember(nct_states *s) { return ++s->memo_epoch; }

static bool is_hole(uint32_t node) { return node >= NCT_NODE_HOLE && node < NCT_NODE_HOLE + NCT_HOLES; }

/* A frame; how deep this goes is how deep frames lie in frames. */
static uint32_t fill_frame(nct_states *s, uint32_t set, const uint32_t *frame) {
    nct_item *list = NULL;
    size_t n = 0, capacity = 0;
    if (s->t.set[set].memo_epoch == s->memo_epoch)
        return s->t.set[set].memo;
    for (uint32_t i = 0; i < s->t.set[set].n && !failed(s); i++) {
        nct_item item = s->item[s->t.set[set].first + i];
        if (is_hole(item.node)) {
            uint32_t f = frame[item.node - NCT_NODE_HOLE];
            for (uint32_t k = 0; k < s->t.set[f].n; k++)
                add_item(s, &list, &n, &capacity, s->item[s->t.set[f].first + k]);
            continue;
        }
        if (item.node < s->g->n_nodes)
            item.frame = fill_frame(s, item.frame, frame);
        add_item(s, &list, &n, &capacity, item);
    }
    uint32_t filled = intern(s, list, sort_items(list, n));
    nct_free(list);
    s->t.set[set].memo = filled;
    s->t.set[set].memo_epoch = s->memo_epoch;
    return filled;
}

uint32_t nct_states_fill(nct_states *s, uint32_t set, const uint32_t *frame) {
    uint32_t filled = fill_frame(s, set, frame);
    return s->t.set[set].flags & NCT_SET_HOLES ? nct_states_enter(s, filled) : filled;
}
