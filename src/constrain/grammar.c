#include "constrain/grammar.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum { COUNTED = 5 }; /* times or more: the unit is known as such */

void nct_grammar_fail(nct_grammar *g, nct_status status, const char *fmt, ...) {
    va_list args;
    if (nct_grammar_failed(g))
        return;
    g->fault.status = status;
    va_start(args, fmt);
    vsnprintf(g->fault.text, sizeof g->fault.text, fmt, args);
    va_end(args);
}

static bool too_large(nct_grammar *g) {
    nct_grammar_fail(g, NCT_E_ARGUMENT, "it is too large: more than %d nodes, %d edges or %d rules",
                     NCT_GRAMMAR_NODES, NCT_GRAMMAR_EDGES, NCT_GRAMMAR_RULES);
    return false;
}

/* ------------------------------------------------------------------ building */

uint32_t nct_grammar_node(nct_grammar *g) {
    if (g->n_nodes == NCT_GRAMMAR_NODES)
        too_large(g);
    else
        g->n_nodes++;
    return (uint32_t)g->n_nodes - 1;
}

uint32_t nct_grammar_wrap(nct_grammar *g, uint32_t start, uint32_t end) {
    void *p = g->rule;
    if (g->n_rules == NCT_GRAMMAR_RULES)
        too_large(g);
    if (!nct_grammar_failed(g))
        nct_grow(&p, &g->rules_capacity, g->n_rules + 1, sizeof *g->rule, &g->fault);
    if (nct_grammar_failed(g))
        return 0;
    g->rule = p;
    g->rule[g->n_rules] = (nct_rule){.start = start, .end = end};
    return (uint32_t)g->n_rules++;
}

uint32_t nct_grammar_rule(nct_grammar *g) {
    uint32_t start = nct_grammar_node(g), end = nct_grammar_node(g);
    return nct_grammar_wrap(g, start, end);
}

static void add_edge(nct_grammar *g, nct_edge edge) {
    void *p = g->edge;
    if (g->n_edges == NCT_GRAMMAR_EDGES)
        too_large(g);
    if (!nct_grammar_failed(g))
        nct_grow(&p, &g->edges_capacity, g->n_edges + 1, sizeof *g->edge, &g->fault);
    if (nct_grammar_failed(g))
        return;
    g->edge = p;
    g->edge[g->n_edges++] = edge;
}

void nct_grammar_bytes(nct_grammar *g, uint32_t from, uint8_t low, uint8_t high, uint32_t to) {
    add_edge(g, (nct_edge){.from = from, .to = to, .rule = NCT_EDGE_BYTES, .low = low, .high = high});
}

void nct_grammar_skip(nct_grammar *g, uint32_t from, uint32_t to) {
    add_edge(g, (nct_edge){.from = from, .to = to, .rule = NCT_EDGE_SKIP});
}

void nct_grammar_call(nct_grammar *g, uint32_t from, uint32_t rule, uint32_t to) {
    add_edge(g, (nct_edge){.from = from, .to = to, .rule = rule});
}

uint32_t nct_grammar_literal(nct_grammar *g, uint32_t from, const char *text, size_t n) {
    for (size_t i = 0; i < n && !nct_grammar_failed(g); i++) {
        uint32_t to = nct_grammar_node(g);
        nct_grammar_bytes(g, from, (uint8_t)text[i], (uint8_t)text[i], to);
        from = to;
    }
    return from;
}

uint32_t nct_grammar_then(nct_grammar *g, uint32_t from, uint32_t rule) {
    uint32_t to = nct_grammar_node(g);
    nct_grammar_call(g, from, rule, to);
    return to;
}

uint32_t nct_grammar_one_of(nct_grammar *g, uint32_t from, const char *list) {
    uint32_t to = nct_grammar_node(g);
    for (const char *c = list; *c; c++) {
        bool range = c[1] == '-' && c[2];
        nct_grammar_bytes(g, from, (uint8_t)*c, (uint8_t)(range ? c[2] : *c), to);
        c += range ? 2 : 0;
    }
    return to;
}

uint32_t nct_grammar_times(nct_grammar *g, uint32_t from, uint32_t rule, size_t low, size_t high) {
    if (!nct_grammar_failed(g) && (low >= COUNTED || (high >= COUNTED && high != SIZE_MAX)))
        g->rule[rule].counted = true;
    for (size_t i = 0; i < low && !nct_grammar_failed(g); i++)
        from = nct_grammar_then(g, from, rule);
    uint32_t end = nct_grammar_node(g);
    nct_grammar_skip(g, from, end);
    if (high == SIZE_MAX) {
        nct_grammar_call(g, from, rule, from);
        return end;
    }
    for (size_t i = low; i < high && !nct_grammar_failed(g); i++) {
        from = nct_grammar_then(g, from, rule);
        nct_grammar_skip(g, from, end);
    }
    return end;
}

/* ------------------------------------------------------------------ whole numbers as digits */

/* n digits, all of them possible: one chain a number. */
static uint32_t free_digits(nct_grammar *g, uint32_t *chain, int n) {
    if (n > 0 && chain[n] == UINT32_MAX) {
        chain[n] = nct_grammar_node(g);
        nct_grammar_bytes(g, chain[n], '0', '9', free_digits(g, chain, n - 1));
    }
    return chain[n];
}

/* Numbers low to high of n digits; unit: 10^(n - 1). */
static void add_digits(nct_grammar *g, uint32_t from, uint64_t low, uint64_t high, uint64_t unit, int n,
                       uint32_t *chain) {
    for (uint64_t d = n ? low / unit : 1; n && d <= high / unit && !nct_grammar_failed(g); d++) {
        uint64_t l = d == low / unit ? low % unit : 0, h = d == high / unit ? high % unit : unit - 1;
        uint32_t next = l == 0 && h == unit - 1 ? free_digits(g, chain, n - 1) : nct_grammar_node(g);
        nct_grammar_bytes(g, from, (uint8_t)('0' + d), (uint8_t)('0' + d), next);
        if (l > 0 || h < unit - 1)
            add_digits(g, next, l, h, unit / 10, n - 1, chain);
    }
}

static void add_magnitudes(nct_grammar *g, uint32_t from, uint64_t low, uint64_t high, uint32_t to) {
    uint32_t chain[20] = {to};
    uint64_t unit = 1; /* 10^(n - 1) */
    memset(chain + 1, 0xff, sizeof chain - sizeof *chain);
    for (int n = 1; n < 19 && unit <= high; n++, unit *= 10) {
        uint64_t l = n == 1 || low > unit ? low : unit, h = high < unit * 10 ? high : unit * 10 - 1;
        if (l <= h)
            add_digits(g, from, l, h, unit, n, chain);
    }
    if (low == 0 && high == 0)
        nct_grammar_bytes(g, from, '0', '0', to);
}

uint32_t nct_grammar_integer(nct_grammar *g, uint32_t from, int64_t low, int64_t high) {
    uint32_t to = nct_grammar_node(g);
    if (low < 0) {
        uint32_t minus = nct_grammar_node(g);
        nct_grammar_bytes(g, from, '-', '-', minus);
        add_magnitudes(g, minus, high < 0 ? (uint64_t)-high : 1, (uint64_t)-low, to);
    }
    if (high >= 0)
        add_magnitudes(g, from, low > 0 ? (uint64_t)low : 0, (uint64_t)high, to);
    return to;
}

/* ------------------------------------------------------------------ characters as bytes */

/* What is left of a character in n continuation bytes, all of them possible: one chain a class. */
static uint32_t whole(nct_grammar *g, uint32_t *chain, int n) {
    if (n > 0 && chain[n] == UINT32_MAX) {
        chain[n] = nct_grammar_node(g);
        nct_grammar_bytes(g, chain[n], 0x80, 0xbf, whole(g, chain, n - 1));
    }
    return chain[n];
}

/* Numbers low to high as a first byte over `mark` and n continuation bytes of 6 bits. */
static void add_range(nct_grammar *g, uint32_t from, uint32_t low, uint32_t high, int n, uint8_t mark,
                      uint32_t *chain) {
    uint32_t mask = (1u << 6 * n) - 1, first = low >> 6 * n, last = high >> 6 * n;
    if (n == 0) {
        nct_grammar_bytes(g, from, (uint8_t)(mark | low), (uint8_t)(mark | high), chain[0]);
        return;
    }
    if (first == last && ((low & mask) != 0 || (high & mask) != mask)) {
        uint32_t next = nct_grammar_node(g);
        nct_grammar_bytes(g, from, (uint8_t)(mark | first), (uint8_t)(mark | first), next);
        add_range(g, next, low & mask, high & mask, n - 1, 0x80, chain);
        return;
    }
    if ((low & mask) != 0) {
        add_range(g, from, low, low | mask, n, mark, chain);
        first++;
    }
    if ((high & mask) != mask) {
        add_range(g, from, high & ~mask, high, n, mark, chain);
        last--;
    }
    if (first <= last && last != UINT32_MAX)
        nct_grammar_bytes(g, from, (uint8_t)(mark | first), (uint8_t)(mark | last), whole(g, chain, n));
}

static void add_chars(nct_grammar *g, uint32_t from, uint32_t low, uint32_t high, uint32_t *chain) {
    static const struct {
        uint32_t low, high;
        int n;
        uint8_t mark;
    } piece[] = {{0, 0x7f, 0, 0},
                 {0x80, 0x7ff, 1, 0xc0},
                 {0x800, 0xd7ff, 2, 0xe0},
                 {0xe000, 0xffff, 2, 0xe0},
                 {0x10000, 0x10ffff, 3, 0xf0}};
    for (size_t i = 0; i < sizeof piece / sizeof *piece; i++) {
        uint32_t l = low > piece[i].low ? low : piece[i].low, h = high < piece[i].high ? high : piece[i].high;
        if (l <= h)
            add_range(g, from, l, h, piece[i].n, piece[i].mark, chain);
    }
}

static int by_low(const void *a, const void *b) {
    const nct_char_range *x = a, *y = b;
    return (x->low > y->low) - (x->low < y->low);
}

uint32_t nct_grammar_class(nct_grammar *g, uint32_t from, nct_char_range *range, size_t n, bool negated) {
    uint32_t to = nct_grammar_node(g), chain[4] = {to, UINT32_MAX, UINT32_MAX, UINT32_MAX};
    uint32_t next = 0; /* below it all is dealt with */
    if (n > 1)
        qsort(range, n, sizeof *range, by_low);
    for (size_t i = 0; i < n && !nct_grammar_failed(g); i++) {
        uint32_t low = range[i].low > next ? range[i].low : next;
        if (negated && range[i].low > next)
            add_chars(g, from, next, range[i].low - 1, chain);
        if (!negated && low <= range[i].high)
            add_chars(g, from, low, range[i].high, chain);
        if (range[i].high >= next)
            next = range[i].high + 1;
    }
    if (negated && next <= 0x10ffff)
        add_chars(g, from, next, 0x10ffff, chain);
    return to;
}

void nct_grammar_close(nct_grammar *g) {
    nct_free(g->rule);
    nct_free(g->edge);
    nct_free(g->take);
    nct_free(g->call);
    nct_free(g->first_take);
    nct_free(g->first_call);
    nct_free(g->ends);
    nct_free(g->least);
    *g = (nct_grammar){0};
}
