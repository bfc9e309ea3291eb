/* Where tokens lead from a set: walks over the tree of pieces, and what is kept of them. */
#include "base/clock.h"
#include "constrain/constraint.h"

enum {
    WALK_WORK = 8 << 20, /* items looked at by one walk: a bound for grammars that were made to be slow */
    RUN_SETS = 64,       /* inside a unit, at most */
    RUN_BYTES = 64,      /* of the shortest unit, at most */
    RUN_ITEMS = 16,      /* of a set that is looked at for runs */
    RUN_WIDE = 8,        /* bytes that begin a unit, at least */
    WIDE = 64,           /* bytes that a node takes, for a walk that is worth doing ahead of time */
    WARM_NS = 50000000,  /* for all of these together */
    SHORT_WORK = 256,    /* of a walk that is cheaper than a shape of its own */
    MOST_PARTS = 32,     /* of a view: what leaves after that is walked */
};

static bool failed(const nct_constraint *c) { return nct_constraint_failed(c); }

static bool room(nct_constraint *c, void **p, size_t *capacity, size_t n, size_t item_bytes) {
    return !failed(c) && nct_grow(p, capacity, n, item_bytes, &c->fault) == NCT_OK;
}

static nct_set *set_of(const nct_constraint *c, uint32_t set) { return nct_states_set(c->states, set); }

/* ------------------------------------------------------------------ walks */

static void push(nct_constraint *c, struct nct_leave **list, size_t *n, size_t *capacity, uint32_t node, uint32_t to) {
    void *p = *list;
    if (!room(c, &p, capacity, *n + 1, sizeof **list))
        return;
    *list = p;
    (*list)[(*n)++] = (struct nct_leave){node, to};
}

static void add_leave(nct_constraint *c, uint32_t node, uint32_t to) {
    push(c, &c->leave, &c->n_leaves, &c->leaves_capacity, node, to);
}

static void add_leaves(nct_constraint *c, uint32_t node, uint32_t set) {
    for (uint32_t i = 0; i < set_of(c, set)->n && !failed(c); i++) {
        uint32_t at = nct_states_items(c->states, set)[i].node;
        if (at >= NCT_NODE_HOLE && at < NCT_NODE_HOLE + NCT_HOLES)
            add_leave(c, node, at - NCT_NODE_HOLE);
    }
}

/* For all tokens of a node of the tree and below it. */
static bool make_room(nct_constraint *c, uint32_t top) {
    const nct_pieces *p = c->pieces;
    void *found = c->found;
    size_t n = p->node[p->node[top].end].first_token - p->node[top].first_token;
    if (!room(c, &found, &c->found_capacity, c->n_found + n, sizeof *c->found))
        return false;
    c->found = found;
    return true;
}

/* The tokens of one node, to a set or a class. */
static void add_tokens(nct_constraint *c, uint32_t node, uint32_t to) {
    const nct_pieces *p = c->pieces;
    for (uint32_t k = p->node[node].first_token; k < p->node[node + 1].first_token; k++)
        if (!nct_constraint_bans(c, p->token[k]))
            c->found[c->n_found++] = (nct_found){p->token[k], to};
}

/* Tokens below a node of the tree, from a set on: added to what was found. True if all were looked at, which is given
 * up after so much work. */
static bool walk(nct_constraint *c, uint32_t set, uint32_t top, size_t most_work) {
    const nct_pieces *p = c->pieces;
    const nct_state_tables *t = (const nct_state_tables *)c->states;
    const uint8_t *class_of = c->grammar.class_of;
    uint32_t end = p->node[top].end;
    size_t work = 0;
    if (!make_room(c, top))
        return false;
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
        add_tokens(c, i, next);
        if (flags & NCT_SET_HOLES && n->end > i + 1)
            add_leaves(c, i, next);
        i = flags & NCT_SET_GOES_ON ? i + 1 : n->end;
        if (work > most_work)
            return false;
    }
    return true;
}

/* ------------------------------------------------------------------ shapes */

void nct_shape_reset(nct_shape *s) {
    nct_free(s->bits);
    nct_free(s->token);
    nct_free(s->first);
    nct_free(s->set);
    nct_free(s->leave);
    nct_free(s->unit);
    *s = (nct_shape){0};
}

/* Keeps what was found since `begin`, sorted by class, of which there are n_classes. */
static nct_status keep_found(nct_constraint *c, nct_shape *s, size_t begin, nct_error *err) {
    void *p = NULL;
    NCT_TRY(nct_alloc(&p, s->n_classes + 2, sizeof *s->first, err));
    s->first = p;
    s->n_tokens = c->n_found - begin;
    NCT_TRY(nct_alloc(&p, s->n_tokens, sizeof *s->token, err));
    s->token = p;
    NCT_TRY(nct_alloc(&p, c->n_words, sizeof *s->bits, err));
    s->bits = p;
    NCT_TRY(nct_alloc(&p, c->n_leaves, sizeof *s->leave, err));
    s->leave = p;
    s->n_leaves = c->n_leaves;
    for (size_t i = begin; i < c->n_found; i++)
        s->first[c->found[i].set + 2]++;
    for (size_t i = 0; i < s->n_classes; i++)
        s->first[i + 2] += s->first[i + 1];
    for (size_t i = begin; i < c->n_found; i++) {
        s->token[s->first[c->found[i].set + 1]++] = c->found[i].token;
        nct_bit_set(s->bits, c->found[i].token);
    }
    c->n_found = begin;
    if (c->n_leaves)
        memcpy(s->leave, c->leave, c->n_leaves * sizeof *s->leave);
    c->n_bytes +=
        c->n_words * sizeof *s->bits + s->n_tokens * sizeof *s->token + s->n_classes * 8 + s->n_leaves * 8;
    return NCT_OK;
}

static nct_status make_shape(nct_constraint *c, uint32_t set, nct_shape *s, nct_error *err) {
    void *p = NULL;
    size_t begin = c->n_found;
    c->n_leaves = 0;
    s->cut = !walk(c, set, s->top, WALK_WORK);
    if (failed(c))
        return NCT_E_MEMORY;
    uint32_t epoch = nct_states_remember(c->states);
    for (size_t i = begin; i < c->n_found; i++) { /* a class is a set that tokens lead to */
        nct_set *k = set_of(c, c->found[i].set);
        if (k->memo_epoch != epoch)
            k->memo = (uint32_t)s->n_classes++;
        k->memo_epoch = epoch;
    }
    NCT_TRY(nct_alloc(&p, s->n_classes, sizeof *s->set, err));
    s->set = p;
    for (size_t i = begin; i < c->n_found; i++) {
        uint32_t class = set_of(c, c->found[i].set)->memo;
        s->set[class] = c->found[i].set;
        c->found[i].set = class;
    }
    return keep_found(c, s, begin, err);
}

/* A shape more: the first of a list. */
static bool add_shape(nct_constraint *c, nct_shape *made, nct_status status, uint32_t *list) {
    void *p = c->shape;
    if (status != NCT_OK || !room(c, &p, &c->shapes_capacity, c->n_shapes + 1, sizeof *c->shape)) {
        nct_shape_reset(made);
        return false;
    }
    c->shape = p;
    made->next = *list;
    *list = (uint32_t)c->n_shapes;
    c->shape[c->n_shapes++] = *made;
    return true;
}

/* The shape of a list with this top, or NCT_UNKNOWN. */
static uint32_t listed(const nct_constraint *c, uint32_t shape, uint32_t top) {
    while (shape != NCT_UNKNOWN && c->shape[shape].top != top)
        shape = c->shape[shape].next;
    return shape;
}

/* The shape of a set with holes, made once. */
static bool find_shape(nct_constraint *c, uint32_t set, uint32_t top, uint32_t *shape) {
    nct_shape made = {.top = top};
    *shape = listed(c, set_of(c, set)->shape, top);
    if (*shape != NCT_UNKNOWN)
        return true;
    nct_status status = make_shape(c, set, &made, &c->fault);
    if (!add_shape(c, &made, status, &set_of(c, set)->shape))
        return false;
    *shape = set_of(c, set)->shape;
    return true;
}

/* ------------------------------------------------------------------ runs */

/* In a counted repetition every place is another set, and a walk from each would find nearly the same. So tokens are
 * sorted by how many units they are and where in a further one they end, once for all counts and contexts: what they
 * lead to is a function of that alone as long as a unit cannot be mistaken for what else may follow. Then one token of a
 * class speaks for all of them, and only tokens that leave the run are followed one by one. */

/* The shortest unit. */
static bool find_unit(nct_constraint *c, uint32_t start, nct_shape *s, nct_error *err) {
    char unit[RUN_BYTES];
    size_t n = 0;
    for (uint32_t set = start; set_of(c, set)->least > 0; n++) {
        if (n == RUN_BYTES || set_of(c, set)->least == NCT_GRAMMAR_NEVER)
            return false;
        unit[n] = (char)nct_states_shortest(c->states, set);
        if ((set = nct_states_step(c->states, set, (uint8_t)unit[n])) == 0)
            return false;
    }
    s->n_unit = n;
    return n > 0 && nct_copy_string(&s->unit, unit, n, err) == NCT_OK;
}

/* Sorts the tokens that are units in a row; class [longest + 1, RUN_SETS] is NCT_UNKNOWN. False: it is no run, for a
 * unit may be the beginning of another, or it has too many ways. */
static bool count_units(nct_constraint *c, uint32_t start, nct_shape *s, uint32_t *class) {
    const nct_pieces *p = c->pieces;
    uint32_t epoch = nct_states_remember(c->states), n_sets = 0;
    size_t work = 0, depth = p->node[s->top].depth;
    c->at[depth] = start;
    c->count[depth] = 0;
    for (uint32_t i = s->top + 1; i < p->node[s->top].end;) {
        const nct_piece_node *n = &p->node[i];
        uint32_t from = c->at[n->depth - 1], count = c->count[n->depth - 1];
        uint32_t next = nct_states_step(c->states, from, n->byte);
        nct_set *k = set_of(c, next);
        if (failed(c) || next == start || (work += k->n) > WALK_WORK ||
            (k->flags & NCT_SET_HOLES && k->n != 1))
            return false;
        if (!next) {
            if (from == start)
                add_leave(c, i, count);
            i = n->end;
            continue;
        }
        if (k->flags & NCT_SET_HOLES) {
            next = start;
            k = set_of(c, next);
            count++;
        }
        c->at[n->depth] = next;
        c->count[n->depth] = count;
        s->n_units = count > s->n_units ? count : s->n_units;
        if (k->memo_epoch != epoch) {
            k->memo = n_sets++;
            k->memo_epoch = epoch;
        }
        if (k->memo >= RUN_SETS)
            return false;
        uint32_t *kind = &class[(size_t)count * RUN_SETS + k->memo];
        if (n->first_token < n[1].first_token && *kind == NCT_UNKNOWN)
            *kind = (uint32_t)s->n_classes++;
        add_tokens(c, i, *kind);
        i++;
    }
    return true;
}

/* Leaves s->unit at NULL if units that begin at a node are no run. */
static nct_status make_run(nct_constraint *c, uint32_t node, nct_shape *s, nct_error *err) {
    void *p = NULL;
    uint32_t start = nct_states_at(c->states, node);
    size_t n = (c->pieces->longest + 1) * RUN_SETS, begin = c->n_found;
    c->n_leaves = 0;
    if (failed(c) || !start || set_of(c, start)->n != 1 || set_of(c, start)->flags & NCT_SET_HOLES ||
        !find_unit(c, start, s, err) || !make_room(c, s->top))
        return c->fault.status;
    NCT_TRY(nct_alloc(&p, n, sizeof(uint32_t), err));
    memset(p, 0xff, n * sizeof(uint32_t));
    bool is_run = count_units(c, start, s, p);
    nct_free(p);
    if (failed(c))
        return NCT_E_MEMORY;
    if (is_run && s->n_units > 1)
        return keep_found(c, s, begin, err);
    c->n_found = begin;
    nct_free(s->unit);
    s->unit = NULL;
    return NCT_OK;
}

/* The run of units that begin at a node, made once; false if there is none. */
static bool find_run(nct_constraint *c, uint32_t node, uint32_t top, uint32_t *shape) {
    void *p = NULL;
    nct_shape made = {.top = top};
    if (!c->run) {
        if (nct_alloc(&p, c->grammar.n_nodes, sizeof *c->run, &c->fault) != NCT_OK)
            return false;
        c->run = p;
        memset(c->run, 0xff, c->grammar.n_nodes * sizeof *c->run);
    }
    *shape = listed(c, c->run[node], top);
    if (*shape == NCT_UNKNOWN) {
        nct_status status = make_run(c, node, &made, &c->fault);
        if (!add_shape(c, &made, status, &c->run[node]))
            return false;
        *shape = c->run[node];
    }
    return c->shape[*shape].unit;
}

/* How many bytes a node takes; many of them make long walks. */
static size_t count_bytes(const nct_grammar *g, uint32_t node) {
    size_t n = 0;
    for (uint32_t i = g->first_take[node]; i < g->first_take[node + 1]; i++)
        n += (size_t)(g->take[i].high - g->take[i].low) + 1;
    return n;
}

static bool overlap(const nct_grammar *g, uint32_t a, uint32_t b) {
    for (uint32_t i = g->first_take[a]; i < g->first_take[a + 1]; i++)
        for (uint32_t k = g->first_take[b]; k < g->first_take[b + 1]; k++)
            if (g->take[i].low <= g->take[k].high && g->take[k].low <= g->take[i].high)
                return true;
    return false;
}

/* What else may follow begins otherwise than a unit, which begins at this node, in one context or not at all. */
static bool is_apart(const nct_constraint *c, uint32_t set, uint32_t node) {
    size_t n = 0;
    for (uint32_t i = 0; i < set_of(c, set)->n; i++) {
        uint32_t at = nct_states_items(c->states, set)[i].node;
        if (at == node ? n++ > 0 : at < c->grammar.n_nodes && overlap(&c->grammar, at, node))
            return false;
    }
    return true;
}

/* Where units lead to, one after the other: behind [n_units + 1]. False where they do not hold together. */
static bool go_along(nct_constraint *c, uint32_t set, uint32_t node, const nct_shape *s) {
    for (uint32_t k = 0; k <= s->n_units; k++) {
        if (!is_apart(c, set, node))
            return false;
        c->behind[k] = set;
        for (size_t i = 0; i < s->n_unit && set; i++)
            set = nct_states_step(c->states, set, (uint8_t)s->unit[i]);
    }
    return !failed(c);
}

/* A set in a run: its shape, and `behind`. */
static bool is_in_run(nct_constraint *c, uint32_t set, uint32_t top, uint32_t *shape) {
    if (set_of(c, set)->n > RUN_ITEMS || set_of(c, set)->flags & NCT_SET_STRIP)
        return false;
    for (uint32_t i = 0; i < set_of(c, set)->n && !failed(c); i++) {
        uint32_t node = nct_states_items(c->states, set)[i].node;
        if (node >= c->grammar.n_nodes || count_bytes(&c->grammar, node) < RUN_WIDE)
            continue;
        return find_run(c, node, top, shape) && go_along(c, set, node, &c->shape[*shape]);
    }
    return false;
}

/* ------------------------------------------------------------------ views */

void nct_view_reset(nct_view *v) {
    for (size_t i = 0; i < v->n_parts; i++)
        nct_free(v->part[i].set);
    nct_free(v->part);
    nct_free(v->found);
}

/* A part more, whose sets are not known yet. */
static bool add_part(nct_constraint *c, nct_view *v, uint32_t shape) {
    void *p = v->part, *set = NULL;
    if (!room(c, &p, &v->parts_capacity, v->n_parts + 1, sizeof *v->part))
        return false;
    v->part = p;
    if (nct_alloc(&set, c->shape[shape].n_classes, sizeof(uint32_t), &c->fault) != NCT_OK)
        return false;
    v->part[v->n_parts++] = (nct_view_part){shape, set};
    v->cut = v->cut || c->shape[shape].cut;
    c->n_bytes += sizeof *v->part + c->shape[shape].n_classes * sizeof(uint32_t);
    return true;
}

static void do_later(nct_constraint *c, uint32_t set, uint32_t top) {
    push(c, &c->todo, &c->n_todo, &c->todo_capacity, top, set);
}

/* Tokens below a node of the tree, from a set on: now, if they are few. */
static void go_on(nct_constraint *c, nct_view *v, uint32_t set, uint32_t top) {
    bool last = c->n_todo >= MOST_PARTS;
    size_t begin = c->n_found;
    if (walk(c, set, top, last ? WALK_WORK : SHORT_WORK))
        return;
    v->cut = v->cut || last;
    if (last)
        return;
    c->n_found = begin;
    do_later(c, set, top);
}

/* The set after the bytes of a token that are below a node at this depth. */
static uint32_t follow(nct_constraint *c, uint32_t set, int32_t token, size_t depth) {
    const nct_pieces *p = c->pieces;
    for (size_t i = p->text_off[token] + depth; i < p->text_off[token + 1] && set; i++)
        set = nct_states_step(c->states, set, (uint8_t)p->text[i]);
    return set;
}

/* In a run, after is_in_run. */
static void add_run(nct_constraint *c, nct_view *v, uint32_t set, uint32_t shape) {
    const nct_shape *s = &c->shape[shape];
    const nct_pieces *p = c->pieces;
    if (!add_part(c, v, shape))
        return;
    for (size_t i = 0; i < s->n_classes; i++)
        v->part[v->n_parts - 1].set[i] = follow(c, set, s->token[s->first[i]], p->node[s->top].depth);
    for (size_t i = 0; i < s->n_leaves && !failed(c); i++) {
        uint32_t node = s->leave[i].node, from = c->behind[s->leave[i].to];
        uint32_t next = from ? nct_states_step(c->states, from, p->node[node].byte) : 0;
        if (!next || !make_room(c, node))
            continue;
        add_tokens(c, node, next);
        go_on(c, v, next, node);
    }
}

static void add_context(nct_constraint *c, nct_view *v, uint32_t set, uint32_t top) {
    uint32_t frame[NCT_HOLES], entered[NCT_HOLES] = {0}, shape;
    size_t n_frames;
    uint32_t shape_set = nct_states_shape(c->states, set, frame, &n_frames);
    if (failed(c) || !find_shape(c, shape_set, top, &shape) || !add_part(c, v, shape))
        return;
    const nct_shape *s = &c->shape[shape];
    nct_states_remember(c->states);
    for (size_t i = 0; i < s->n_classes; i++)
        v->part[v->n_parts - 1].set[i] = n_frames ? nct_states_fill(c->states, s->set[i], frame) : s->set[i];
    for (size_t i = 0; i < s->n_leaves && n_frames && !failed(c); i++) {
        uint32_t hole = s->leave[i].to;
        if (!entered[hole])
            entered[hole] = nct_states_enter(c->states, frame[hole]);
        if (entered[hole])
            go_on(c, v, entered[hole], s->leave[i].node);
    }
}

static nct_status make_view(nct_constraint *c, uint32_t set, nct_view *v, nct_error *err) {
    uint32_t shape;
    void *p = NULL;
    c->n_found = c->n_todo = 0;
    do_later(c, set, 0);
    for (size_t i = 0; i < c->n_todo && !failed(c); i++) {
        struct nct_leave at = c->todo[i];
        if (is_in_run(c, at.to, at.node, &shape))
            add_run(c, v, at.to, shape);
        else
            add_context(c, v, at.to, at.node);
    }
    if (failed(c))
        return NCT_E_MEMORY;
    NCT_TRY(nct_alloc(&p, c->n_found, sizeof *v->found, err));
    v->found = p;
    v->n_found = c->n_found;
    if (c->n_found)
        memcpy(v->found, c->found, c->n_found * sizeof *v->found);
    c->n_bytes += v->n_found * sizeof *v->found;
    return NCT_OK;
}

const nct_view *nct_constraint_view(nct_constraint *c, uint32_t set) {
    void *p = c->view;
    if (set_of(c, set)->view != NCT_UNKNOWN)
        return &c->view[set_of(c, set)->view];
    if (!room(c, &p, &c->views_capacity, c->n_views + 1, sizeof *c->view))
        return NULL;
    c->view = p;
    nct_view made = {0};
    if (make_view(c, set, &made, &c->fault) != NCT_OK) {
        nct_view_reset(&made);
        return NULL;
    }
    set_of(c, set)->view = (uint32_t)c->n_views;
    c->view[c->n_views++] = made;
    return &c->view[c->n_views - 1];
}

/* ------------------------------------------------------------------ ahead of time */

void nct_constraint_warm(nct_constraint *c, bool thinking) {
    const nct_grammar *g = &c->grammar;
    uint64_t began = nct_clock_ns();
    uint32_t shape;
    for (uint32_t node = 0; node < g->n_nodes && !failed(c); node++) {
        bool thinks = node >= c->thinking_begin && node < c->thinking_end;
        if (count_bytes(g, node) < WIDE || (thinks && !thinking))
            continue;
        if (find_run(c, node, 0, &shape) && nct_clock_ns() - began <= WARM_NS)
            continue;
        uint32_t set = nct_states_at(c->states, node);
        if (!set || !find_shape(c, set, 0, &shape) || nct_clock_ns() - began > WARM_NS)
            break;
    }
}
