/* Which tokens may follow. */
#include "base/clock.h"
#include "constrain/constraint.h"

enum {
    WALK_WORK = 8 << 20, /* items looked at by one walk: a bound for grammars that were made to be slow */
    SOFT_DEPTH = 200,    /* beyond these, only what comes nearer to the end */
    SOFT_ITEMS = 512,
    TOKENS_BYTES = 1 << 16, /* longer shortest texts are not cut into tokens: their bytes are the bound */
    SEARCH_SETS = 4096,
    KEPT_BYTES = 96 << 20,
    WIDE = 64,          /* bytes that a node takes, for a walk that is worth doing ahead of time */
    WARM_NS = 50000000, /* for all of these together */
};

static bool failed(const nct_constraint *c) {
    return c->fault.status != NCT_OK || nct_states_fault(c->states)->status != NCT_OK;
}

static bool room(nct_constraint *c, void **p, size_t *capacity, size_t n, size_t item_bytes) {
    return !failed(c) && nct_grow(p, capacity, n, item_bytes, &c->fault) == NCT_OK;
}

static nct_set *set_of(const nct_constraint *c, uint32_t set) { return nct_states_set(c->states, set); }

static bool is_banned(const nct_constraint *c, int32_t token) {
    return c->banned && nct_bit(c->banned, token);
}

/* ------------------------------------------------------------------ fewest tokens */

static void push_set(nct_constraint *c, uint32_t set) {
    void *p = c->stack;
    if (!room(c, &p, &c->stack_capacity, c->n_stack + 1, sizeof *c->stack))
        return;
    c->stack = p;
    c->stack[c->n_stack++] = set;
}

static bool has_token(const nct_constraint *c, uint32_t node, int32_t *token) {
    const nct_pieces *p = c->pieces;
    for (uint32_t t = p->node[node].first_token; t < p->node[node + 1].first_token; t++)
        if (!is_banned(c, p->token[t])) {
            *token = p->token[t];
            return true;
        }
    return false;
}

/* Tokens along the shortest text from a set: the least bound of where they lead, and the first that has it. Sets whose
 * bound is not known are pushed, and then the result says nothing. */
static uint32_t along_shortest(nct_constraint *c, uint32_t set, int32_t *token) {
    uint32_t node = 0, best = NCT_UNKNOWN;
    while (!failed(c) && set_of(c, set)->least > 0) {
        uint8_t byte = nct_states_shortest(c->states, set);
        int32_t id;
        node = nct_pieces_child(c->pieces, node, byte);
        if (!node || (set = nct_states_step(c->states, set, byte)) == 0)
            break;
        if (!has_token(c, node, &id))
            continue;
        uint32_t n = set_of(c, set)->least ? set_of(c, set)->tokens : 0;
        if (n == NCT_UNKNOWN)
            push_set(c, set);
        else if (n < best) {
            best = n;
            *token = id;
        }
    }
    return best;
}

uint32_t nct_constraint_tokens(nct_constraint *c, uint32_t set) {
    int32_t token;
    if (set_of(c, set)->least == 0 || set_of(c, set)->least > TOKENS_BYTES)
        return set_of(c, set)->least;
    if (set_of(c, set)->tokens != NCT_UNKNOWN)
        return set_of(c, set)->tokens;
    c->n_stack = 0;
    push_set(c, set);
    while (c->n_stack && !failed(c)) {
        size_t before = c->n_stack;
        uint32_t top = c->stack[before - 1], best = along_shortest(c, top, &token);
        if (c->n_stack > before)
            continue;
        set_of(c, top)->tokens = best == NCT_UNKNOWN ? set_of(c, top)->least : best + 1;
        c->n_stack--;
    }
    return set_of(c, set)->tokens;
}

/* The first token of the shortest text's cut. */
static bool shortest_token(nct_constraint *c, uint32_t set, int32_t *token) {
    c->n_stack = 0;
    if (set_of(c, set)->least == 0)
        return false;
    if (set_of(c, set)->least > TOKENS_BYTES)
        return has_token(c, nct_pieces_child(c->pieces, 0, nct_states_shortest(c->states, set)), token);
    nct_constraint_tokens(c, set);
    return along_shortest(c, set, token) != NCT_UNKNOWN;
}

/* ------------------------------------------------------------------ walks */

static void add_leaves(nct_constraint *c, uint32_t node, uint32_t set) {
    for (uint32_t i = 0; i < set_of(c, set)->n; i++) {
        uint32_t at = nct_states_items(c->states, set)[i].node;
        void *p = c->leave;
        if (at < NCT_NODE_HOLE || at >= NCT_NODE_HOLE + NCT_HOLES)
            continue;
        if (!room(c, &p, &c->leaves_capacity, c->n_leaves + 1, sizeof *c->leave))
            return;
        c->leave = p;
        c->leave[c->n_leaves++] = (struct nct_leave){node, at - NCT_NODE_HOLE};
    }
}

/* Tokens below a node of the tree, from a set on: added to what was found. True if all were looked at. */
static bool walk(nct_constraint *c, uint32_t set, uint32_t top) {
    const nct_pieces *p = c->pieces;
    const nct_state_tables *t = (const nct_state_tables *)c->states;
    const uint8_t *class_of = c->grammar.class_of;
    uint32_t end = p->node[top].end;
    size_t work = 0;
    void *found = c->found;
    if (!room(c, &found, &c->found_capacity, c->n_found + p->node[end].first_token - p->node[top].first_token,
              sizeof *c->found))
        return false;
    c->found = found;
    c->at[p->node[top].depth] = set;
    for (uint32_t i = top + 1; i < end;) {
        const nct_piece_node *n = &p->node[i];
        uint32_t from = c->at[n->depth - 1], steps = t->set[from].steps;
        uint32_t next = steps == NCT_UNKNOWN ? NCT_UNKNOWN : t->step[steps + class_of[n->byte]];
        if (next == NCT_UNKNOWN)
            next = nct_states_step(c->states, from, n->byte);
        if (!next) {
            i = n->end;
            continue;
        }
        uint32_t flags = t->set[next].flags;
        c->at[n->depth] = next;
        work += t->set[next].n;
        for (uint32_t k = n->first_token; k < n[1].first_token; k++)
            if (!is_banned(c, p->token[k]))
                c->found[c->n_found++] = (nct_found){p->token[k], next};
        if (flags & NCT_SET_HOLES && n->end > i + 1)
            add_leaves(c, i, next);
        i = flags & NCT_SET_GOES_ON ? i + 1 : n->end;
        if (work > WALK_WORK)
            return false;
    }
    return true;
}

/* ------------------------------------------------------------------ shapes */

static void free_shape(nct_shape *s) {
    nct_free(s->bits);
    nct_free(s->token);
    nct_free(s->first);
    nct_free(s->set);
    nct_free(s->leave);
}

/* Sorts what was found by where it leads. */
static nct_status sort_found(nct_constraint *c, nct_shape *s, nct_error *err) {
    uint32_t epoch = nct_states_remember(c->states);
    void *p = NULL;
    for (size_t i = 0; i < c->n_found; i++) {
        nct_set *k = set_of(c, c->found[i].set);
        if (k->memo_epoch != epoch)
            k->memo = (uint32_t)s->n_classes++;
        k->memo_epoch = epoch;
    }
    NCT_TRY(nct_alloc(&p, s->n_classes, sizeof *s->set, err));
    s->set = p;
    NCT_TRY(nct_alloc(&p, s->n_classes + 2, sizeof *s->first, err));
    s->first = p;
    NCT_TRY(nct_alloc(&p, c->n_found, sizeof *s->token, err));
    s->token = p;
    s->n_tokens = c->n_found;
    for (size_t i = 0; i < c->n_found; i++)
        s->first[set_of(c, c->found[i].set)->memo + 2]++;
    for (size_t i = 0; i < s->n_classes; i++)
        s->first[i + 2] += s->first[i + 1];
    for (size_t i = 0; i < c->n_found; i++) {
        uint32_t class = set_of(c, c->found[i].set)->memo;
        s->set[class] = c->found[i].set;
        s->token[s->first[class + 1]++] = c->found[i].token;
    }
    return NCT_OK;
}

static nct_status make_shape(nct_constraint *c, uint32_t set, nct_shape *s, nct_error *err) {
    void *p = NULL;
    c->n_found = c->n_leaves = 0;
    s->cut = !walk(c, set, 0);
    if (failed(c))
        return NCT_E_MEMORY;
    NCT_TRY(sort_found(c, s, err));
    NCT_TRY(nct_alloc(&p, c->n_words, sizeof *s->bits, err));
    s->bits = p;
    for (size_t i = 0; i < c->n_found; i++)
        nct_bit_set(s->bits, c->found[i].token);
    NCT_TRY(nct_alloc(&p, c->n_leaves, sizeof *s->leave, err));
    s->leave = p;
    s->n_leaves = c->n_leaves;
    if (c->n_leaves)
        memcpy(s->leave, c->leave, c->n_leaves * sizeof *s->leave);
    c->n_bytes +=
        c->n_words * sizeof *s->bits + s->n_tokens * sizeof *s->token + s->n_classes * 8 + s->n_leaves * 8;
    return NCT_OK;
}

/* The shape of a set with holes, made once. */
static bool find_shape(nct_constraint *c, uint32_t set, uint32_t *shape) {
    void *p = c->shape;
    if (set_of(c, set)->shape != NCT_UNKNOWN) {
        *shape = set_of(c, set)->shape;
        return true;
    }
    if (!room(c, &p, &c->shapes_capacity, c->n_shapes + 1, sizeof *c->shape))
        return false;
    c->shape = p;
    nct_shape made = {0};
    if (make_shape(c, set, &made, &c->fault) != NCT_OK) {
        free_shape(&made);
        return false;
    }
    *shape = (uint32_t)c->n_shapes;
    c->shape[c->n_shapes++] = made;
    set_of(c, set)->shape = *shape;
    return true;
}

/* ------------------------------------------------------------------ views */

static void free_view(nct_view *v) {
    nct_free(v->set);
    nct_free(v->found);
}

static nct_status make_view(nct_constraint *c, uint32_t set, nct_view *v, nct_error *err) {
    uint32_t frame[NCT_HOLES], entered[NCT_HOLES] = {0};
    size_t n_frames;
    void *p = NULL;
    uint32_t shape_set = nct_states_shape(c->states, set, frame, &n_frames);
    if (failed(c) || !find_shape(c, shape_set, &v->shape))
        return NCT_E_MEMORY;
    const nct_shape *s = &c->shape[v->shape];
    NCT_TRY(nct_alloc(&p, s->n_classes, sizeof *v->set, err));
    v->set = p;
    nct_states_remember(c->states);
    for (size_t i = 0; i < s->n_classes; i++)
        v->set[i] = n_frames ? nct_states_fill(c->states, s->set[i], frame) : s->set[i];
    v->cut = s->cut;
    c->n_found = 0;
    for (size_t i = 0; i < s->n_leaves && n_frames; i++) {
        uint32_t hole = s->leave[i].hole;
        if (!entered[hole])
            entered[hole] = nct_states_enter(c->states, frame[hole]);
        if (entered[hole] && !walk(c, entered[hole], s->leave[i].node))
            v->cut = true;
    }
    if (failed(c))
        return NCT_E_MEMORY;
    NCT_TRY(nct_alloc(&p, c->n_found, sizeof *v->found, err));
    v->found = p;
    v->n_found = c->n_found;
    if (c->n_found)
        memcpy(v->found, c->found, c->n_found * sizeof *v->found);
    c->n_bytes += s->n_classes * sizeof *v->set + v->n_found * sizeof *v->found;
    return NCT_OK;
}

static const nct_view *find_view(nct_constraint *c, uint32_t set) {
    void *p = c->view;
    if (set_of(c, set)->view != NCT_UNKNOWN)
        return &c->view[set_of(c, set)->view];
    if (!room(c, &p, &c->views_capacity, c->n_views + 1, sizeof *c->view))
        return NULL;
    c->view = p;
    nct_view made = {0};
    if (make_view(c, set, &made, &c->fault) != NCT_OK) {
        free_view(&made);
        return NULL;
    }
    set_of(c, set)->view = (uint32_t)c->n_views;
    c->view[c->n_views++] = made;
    return &c->view[c->n_views - 1];
}

/* ------------------------------------------------------------------ ahead of time */

/* How many bytes a node takes; many of them make long walks. */
static size_t count_bytes(const nct_grammar *g, uint32_t node) {
    size_t n = 0;
    for (uint32_t i = g->first_take[node]; i < g->first_take[node + 1]; i++)
        n += (size_t)(g->take[i].high - g->take[i].low) + 1;
    return n;
}

void nct_constraint_warm(nct_constraint *c, bool thinking) {
    const nct_grammar *g = &c->grammar;
    uint64_t began = nct_clock_ns();
    uint32_t shape;
    for (uint32_t node = 0; node < g->n_nodes && !failed(c); node++) {
        bool thinks = node >= c->thinking_begin && node < c->thinking_end;
        if (count_bytes(g, node) < WIDE || (thinks && !thinking))
            continue;
        uint32_t set = nct_states_at(c->states, node);
        if (!set || !find_shape(c, set, &shape) || nct_clock_ns() - began > WARM_NS)
            break;
    }
}

/* ------------------------------------------------------------------ masks */

/* Whether the text may go on to a set with so many tokens left after that. Depth and width are bounded, but never so
 * that nothing is left: what comes nearer to the end may. */
static bool may_enter(nct_constraint *c, uint32_t from, uint32_t to, size_t n_left) {
    const nct_set *k = set_of(c, to);
    if (!to || k->least == NCT_GRAMMAR_NEVER ||
        ((k->depth > SOFT_DEPTH || k->n > SOFT_ITEMS) && k->least >= set_of(c, from)->least))
        return false;
    return k->least <= n_left || nct_constraint_tokens(c, to) <= n_left;
}

static void leave_out(uint64_t *mask, const nct_shape *s, size_t class) {
    for (uint32_t i = s->first[class]; i < s->first[class + 1]; i++)
        nct_bit_clear(mask, s->token[i]);
}

uint64_t *nct_constraint_mask(nct_constraint *c, uint32_t set, size_t n_left) {
    const nct_view *v = find_view(c, set);
    int32_t token;
    if (!v || n_left == 0)
        return NULL;
    const nct_shape *s = &c->shape[v->shape];
    memcpy(c->mask, s->bits, c->n_words * sizeof *c->mask);
    for (size_t i = 0; i < s->n_classes; i++)
        if (!may_enter(c, set, v->set[i], n_left - 1))
            leave_out(c->mask, s, i);
    for (size_t i = 0; i < v->n_found; i++)
        if (may_enter(c, set, v->found[i].set, n_left - 1))
            nct_bit_set(c->mask, v->found[i].token);
    if (v->cut && shortest_token(c, set, &token))
        nct_bit_set(c->mask, token);
    if (set_of(c, set)->flags & NCT_SET_ACCEPTS)
        for (size_t i = 0; i < c->pieces->n_eos; i++)
            if (!is_banned(c, c->pieces->eos[i]))
                nct_bit_set(c->mask, c->pieces->eos[i]);
    return failed(c) ? NULL : c->mask;
}

uint32_t nct_constraint_follow(nct_constraint *c, uint32_t set, int32_t token) {
    const nct_pieces *p = c->pieces;
    if (token < 0 || (size_t)token >= p->n_vocab || p->text_off[token] == p->text_off[token + 1])
        return 0;
    for (uint32_t i = p->text_off[token]; i < p->text_off[token + 1] && set; i++)
        set = nct_states_step(c->states, set, (uint8_t)p->text[i]);
    return set;
}

/* ------------------------------------------------------------------ looking for a way */

typedef struct step {
    uint32_t set, before; /* before: index of a step */
    int32_t token;
} step;

typedef struct steps {
    step *step;
    size_t n, capacity, end; /* end: of what was reached at the level before */
} steps;

static void try_step(nct_constraint *c, steps *s, uint32_t from, nct_found to, size_t n_left) {
    void *p = s->step;
    nct_set *k = set_of(c, to.set);
    size_t longest = c->pieces->longest;
    if (!to.set || k->mark == c->mark || k->least == NCT_GRAMMAR_NEVER ||
        (k->least + longest - 1) / longest > n_left || !room(c, &p, &s->capacity, s->n + 1, sizeof *s->step))
        return;
    s->step = p;
    k->mark = c->mark;
    s->step[s->n++] = (step){to.set, from, to.token};
}

static void try_steps(nct_constraint *c, steps *s, uint32_t from, size_t n_left) {
    const nct_view *v = find_view(c, s->step[from].set);
    const nct_shape *shape = v ? &c->shape[v->shape] : NULL;
    for (size_t i = 0; v && i < shape->n_classes; i++)
        try_step(c, s, from, (nct_found){shape->token[shape->first[i]], v->set[i]}, n_left);
    for (size_t i = 0; v && i < v->n_found; i++)
        try_step(c, s, from, v->found[i], n_left);
}

nct_status nct_constraint_search(nct_constraint *c, uint32_t set, size_t n_left, int32_t **path, size_t *n,
                                 bool *far, nct_error *err) {
    steps s = {0};
    size_t at = 0, level = 0, found = SIZE_MAX;
    void *p = NULL;
    c->mark++;
    *n = 0;
    *path = NULL;
    *far = false;
    try_step(c, &s, 0, (nct_found){0, set}, n_left);
    for (s.end = s.n; at < s.n && found == SIZE_MAX && level < n_left && !failed(c); level++, s.end = s.n)
        for (; at < s.end && found == SIZE_MAX && !*far; at++) {
            size_t first = s.n;
            try_steps(c, &s, (uint32_t)at, n_left - level - 1);
            for (size_t i = first; i < s.n && found == SIZE_MAX; i++)
                if (set_of(c, s.step[i].set)->flags & NCT_SET_ACCEPTS)
                    found = i;
            *far = at >= SEARCH_SETS;
        }
    nct_status status = NCT_OK;
    if (found != SIZE_MAX && (status = nct_alloc(&p, n_left, sizeof **path, err)) == NCT_OK) {
        *path = p;
        for (size_t i = found; i != 0; i = s.step[i].before)
            ++*n;
        size_t k = *n;
        for (size_t i = found; i != 0; i = s.step[i].before)
            (*path)[--k] = s.step[i].token;
    }
    nct_free(s.step);
    return status;
}

/* ------------------------------------------------------------------ memory */

void nct_constraint_forget(nct_constraint *c) {
    for (size_t i = 0; i < c->n_shapes; i++)
        free_shape(&c->shape[i]);
    for (size_t i = 0; i < c->n_views; i++)
        free_view(&c->view[i]);
    c->n_shapes = c->n_views = c->n_bytes = 0;
    nct_states_clear(c->states);
    c->epoch++;
}

void nct_constraint_tidy(nct_constraint *c) {
    if (c->n_bytes + nct_states_bytes(c->states) >= KEPT_BYTES)
        nct_constraint_forget(c);
}
