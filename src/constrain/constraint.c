#include "constrain/constraint.h"

/* ------------------------------------------------------------------ thinking first */

static const char opening[] = "<think>", closing[] = "</think>";
enum { SPACES = 4 }; /* after the block, at most; who shows the answer drops them */

/* Anything up to and with the closing tag; each node says how much of it was read last (Knuth, Morris and Pratt). */
static uint32_t add_thinking(nct_grammar *g) {
    enum { N = sizeof closing - 1 };
    uint32_t rule = nct_grammar_rule(g), node[N + 1];
    if (nct_grammar_failed(g))
        return rule;
    node[0] = g->rule[rule].start;
    for (int i = 1; i < N; i++)
        node[i] = nct_grammar_node(g);
    node[N] = g->rule[rule].end;
    for (int i = 0; i < N; i++)
        for (int b = 0; b < 256; b++) {
            int k = b == closing[i]   ? i + 1
                    : b == closing[0] ? 1
                                      : 0; /* the first letter is nowhere else in it */
            int last = b;
            while (k == 0 && last < 255 && last + 1 != closing[i] && last + 1 != closing[0])
                last++;
            nct_grammar_bytes(g, node[i], (uint8_t)b, (uint8_t)last, node[k]);
            b = last;
        }
    return rule;
}

static void add_starts(nct_constraint *c, nct_grammar *g, uint32_t root) {
    c->thinking_begin = (uint32_t)g->n_nodes;
    uint32_t thinking = add_thinking(g);
    c->thinking_end = (uint32_t)g->n_nodes;
    uint32_t after = nct_grammar_rule(g), space = nct_grammar_rule(g);
    uint32_t may = nct_grammar_rule(g), at;
    if (nct_grammar_failed(g))
        return;
    nct_grammar_skip(g, nct_grammar_one_of(g, g->rule[space].start, " \n\r\t"), g->rule[space].end);
    at = nct_grammar_then(g, g->rule[after].start, thinking);
    at = nct_grammar_times(g, at, space, 0, SPACES);
    nct_grammar_call(g, at, root, g->rule[after].end);
    at = nct_grammar_literal(g, g->rule[may].start, opening, sizeof opening - 1);
    nct_grammar_call(g, at, after, g->rule[may].end);
    nct_grammar_call(g, g->rule[may].start, root, g->rule[may].end);
    c->rule[NCT_MATCH_ANSWER] = root;
    c->rule[NCT_MATCH_MAY_THINK] = may;
    c->rule[NCT_MATCH_THINKING] = after;
}

/* ------------------------------------------------------------------ opening */

/* A byte can be written if a token is that byte alone; so whatever the grammar allows can be. */
static void find_available(const nct_constraint *c, bool *available) {
    const nct_pieces *p = c->pieces;
    memset(available, 0, 256 * sizeof *available);
    for (uint32_t i = 1; i < p->n_nodes; i = p->node[i].end)
        for (uint32_t t = p->node[i].first_token; t < p->node[i + 1].first_token; t++)
            if (!c->banned || !nct_bit(c->banned, p->token[t]))
                available[p->node[i].byte] = true;
}

static nct_status make(nct_constraint *c, const uint64_t *banned, uint32_t root, nct_error *err) {
    const nct_pieces *p = c->pieces;
    bool available[256];
    void *q = NULL;
    c->n_words = (p->n_vocab + 63) / 64;
    NCT_TRY(nct_alloc(&q, c->n_words, sizeof *c->mask, err));
    c->mask = q;
    NCT_TRY(nct_alloc(&q, c->n_words, sizeof *c->part, err));
    c->part = q;
    if (banned) {
        NCT_TRY(nct_alloc(&q, c->n_words, sizeof *c->banned, err));
        c->banned = q;
        memcpy(c->banned, banned, c->n_words * sizeof *banned);
    }
    NCT_TRY(nct_alloc(&q, p->longest + 1, sizeof *c->at, err));
    c->at = q;
    NCT_TRY(nct_alloc(&q, p->longest + 1, sizeof *c->count, err));
    c->count = q;
    NCT_TRY(nct_alloc(&q, p->longest + 1, sizeof *c->behind, err));
    c->behind = q;
    for (size_t i = 0; i < p->n_eos; i++)
        c->has_eos = c->has_eos || !banned || !nct_bit(banned, p->eos[i]);
    find_available(c, available);
    if (!nct_grammar_failed(&c->grammar))
        add_starts(c, &c->grammar, root);
    NCT_TRY(nct_grammar_finish(&c->grammar, root, available, err));
    return nct_states_open(&c->grammar, &c->states, err);
}

nct_status nct_constraint_make(const nct_pieces *pieces, const uint64_t *banned, nct_grammar *grammar,
                               uint32_t root, const char *name, nct_constraint **constraint, nct_error *err) {
    void *q = NULL;
    nct_error fault = {0};
    nct_status status = nct_alloc(&q, 1, sizeof(nct_constraint), err);
    if (status != NCT_OK) {
        nct_grammar_close(grammar);
        return status;
    }
    nct_constraint *c = q;
    c->pieces = pieces;
    c->grammar = *grammar;
    *grammar = (nct_grammar){0};
    status = make(c, banned, root, &fault);
    if (status != NCT_OK) {
        nct_constraint_close(c);
        return nct_fail(err, status, "%s: %s", name, fault.text);
    }
    *constraint = c;
    return NCT_OK;
}

void nct_constraint_close(nct_constraint *c) {
    if (!c)
        return;
    if (c->states)
        nct_constraint_forget(c);
    nct_states_close(c->states);
    nct_grammar_close(&c->grammar);
    nct_free(c->shape);
    nct_free(c->view);
    nct_free(c->banned);
    nct_free(c->mask);
    nct_free(c->part);
    nct_free(c->at);
    nct_free(c->count);
    nct_free(c->behind);
    nct_free(c->found);
    nct_free(c->leave);
    nct_free(c->todo);
    nct_free(c->stack);
    nct_free(c);
}
