/* Which tokens may follow. */
#include "constrain/constraint.h"

enum {
    SOFT_DEPTH = 200, /* beyond these, only what comes nearer to the end */
    SOFT_ITEMS = 512,
    TOKENS_BYTES = 1 << 16, /* longer shortest texts are not cut into tokens: their bytes are the bound */
    SEARCH_SETS = 4096,
    KEPT_BYTES = 96 << 20,
};

static bool failed(const nct_constraint *c) { return nct_constraint_failed(c); }

static bool room(nct_constraint *c, void **p, size_t *capacity, size_t n, size_t item_bytes) {
    return !failed(c) && nct_grow(p, capacity, n, item_bytes, &c->fault) == NCT_OK;
}

static nct_set *set_of(const nct_constraint *c, uint32_t set) { return nct_states_set(c->states, set); }

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
        if (!nct_constraint_bans(c, p->token[t])) {
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

/* A token is left out of a shape's part alone: what is read in another way too may still be allowed in that one. */
static void add_part(nct_constraint *c, uint32_t set, const nct_view_part *part, size_t n_left) {
    const nct_shape *s = &c->shape[part->shape];
    const uint64_t *bits = s->bits;
    for (size_t i = 0; i < s->n_classes; i++) {
        if (may_enter(c, set, part->set[i], n_left))
            continue;
        if (bits == s->bits)
            bits = memcpy(c->part, s->bits, c->n_words * sizeof *bits);
        leave_out(c->part, s, i);
    }
    for (size_t i = 0; i < c->n_words; i++)
        c->mask[i] |= bits[i];
}

uint64_t *nct_constraint_mask(nct_constraint *c, uint32_t set, size_t n_left) {
    const nct_view *v = nct_constraint_view(c, set);
    int32_t token;
    if (!v || n_left == 0)
        return NULL;
    memset(c->mask, 0, c->n_words * sizeof *c->mask);
    for (size_t i = 0; i < v->n_parts; i++)
        add_part(c, set, &v->part[i], n_left - 1);
    for (size_t i = 0; i < v->n_found; i++)
        if (may_enter(c, set, v->found[i].set, n_left - 1))
            nct_bit_set(c->mask, v->found[i].token);
    if (v->cut && shortest_token(c, set, &token))
        nct_bit_set(c->mask, token);
    if (set_of(c, set)->flags & NCT_SET_ACCEPTS)
        for (size_t i = 0; i < c->pieces->n_eos; i++)
            if (!nct_constraint_bans(c, c->pieces->eos[i]))
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
    const nct_view *v = nct_constraint_view(c, s->step[from].set);
    for (size_t k = 0; v && k < v->n_parts; k++) {
        const nct_shape *shape = &c->shape[v->part[k].shape];
        for (size_t i = 0; i < shape->n_classes; i++)
            try_step(c, s, from, (nct_found){shape->token[shape->first[i]], v->part[k].set[i]}, n_left);
    }
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
        nct_shape_reset(&c->shape[i]);
    for (size_t i = 0; i < c->n_views; i++)
        nct_view_reset(&c->view[i]);
    c->n_shapes = c->n_views = c->n_bytes = 0;
    nct_free(c->run);
    c->run = NULL;
    nct_states_clear(c->states);
    c->epoch++;
}

void nct_constraint_tidy(nct_constraint *c) {
    if (c->n_bytes + nct_states_bytes(c->states) >= KEPT_BYTES)
        nct_constraint_forget(c);
}
