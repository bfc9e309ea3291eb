/** A grammar over bytes: the form that every kind of constraint is brought into.
 *
 *  A rule is a small automaton: nodes, and edges that take a byte of a range, call a rule, or take nothing. The front
 *  ends (choice, json, schema, gbnf) only add rules, nodes and edges; characters become UTF-8 here. Finishing removes
 *  the edges that take nothing and whatever leads nowhere, and finds for every node the fewest bytes that complete its
 *  rule. Rules may call each other and themselves, but not before a byte was taken (left recursion).
 *
 *  While a grammar is built the first failure is kept and later calls do nothing, so that only finishing is checked.
 */
#ifndef NCT_CONSTRAIN_GRAMMAR_H
#define NCT_CONSTRAIN_GRAMMAR_H

#include "base/bytes.h"

enum {
    NCT_GRAMMAR_NODES = 1 << 18, /* limits: what is larger is refused */
    NCT_GRAMMAR_EDGES = 1 << 20,
    NCT_GRAMMAR_RULES = 1 << 13,
    NCT_GRAMMAR_REPEAT = 10000, /* of a counted repetition */
    NCT_GRAMMAR_LONG = 1 << 30, /* so many bytes or more: lengths are not counted further */
};

#define NCT_GRAMMAR_NEVER UINT32_MAX /* length of what cannot be completed */

typedef struct nct_edge {
    uint32_t from, to, rule; /* rule: a call, or one of the two below */
    uint8_t low, high;       /* of NCT_EDGE_BYTES, both included */
} nct_edge;

enum { NCT_EDGE_BYTES = 1 << 30, NCT_EDGE_SKIP };

typedef struct nct_take {
    uint32_t to;
    uint8_t low, high;
} nct_take;

typedef struct nct_call {
    uint32_t rule, to;
} nct_call;

typedef struct nct_rule {
    uint32_t start, end;
    uint32_t rank; /* callers before callees, as far as no byte is between */
    bool counted;  /* a unit of a counted repetition, which is not copied into it: view.c knows it again */
} nct_rule;

typedef struct nct_grammar {
    nct_error fault; /* the first failure */
    nct_rule *rule;
    size_t n_rules, rules_capacity;
    nct_edge *edge; /* while it is built */
    size_t n_edges, edges_capacity, n_nodes;

    /* finished; node n has take[first_take[n] .. first_take[n + 1]), and calls likewise */
    nct_take *take;
    nct_call *call;
    uint32_t *first_take, *first_call; /* [n_nodes + 1] */
    uint8_t *ends;                     /* [n_nodes] a rule ends here; NCT_ENDS_ONLY: and nothing goes on */
    uint32_t *least;                   /* [n_nodes] fewest bytes to the end of the rule */
    uint8_t class_of[256];             /* bytes that no edge tells apart */
    uint8_t class_byte[256];           /* the lowest of each */
    size_t n_classes;
} nct_grammar;

enum { NCT_ENDS_ONLY = 2 };

/** A code point range, both ends included. */
typedef struct nct_char_range {
    uint32_t low, high;
} nct_char_range;

void nct_grammar_fail(nct_grammar *g, nct_status status, const char *fmt, ...) NCT_PRINTF(3, 4);
static inline bool nct_grammar_failed(const nct_grammar *g) { return g->fault.status != NCT_OK; }

uint32_t nct_grammar_node(nct_grammar *g);
/** A rule with a start and an end of its own, or of those two nodes. */
uint32_t nct_grammar_rule(nct_grammar *g);
uint32_t nct_grammar_wrap(nct_grammar *g, uint32_t start, uint32_t end);

void nct_grammar_bytes(nct_grammar *g, uint32_t from, uint8_t low, uint8_t high, uint32_t to);
void nct_grammar_skip(nct_grammar *g, uint32_t from, uint32_t to);
void nct_grammar_call(nct_grammar *g, uint32_t from, uint32_t rule, uint32_t to);

/** Larger pieces return the node behind them. */
uint32_t nct_grammar_literal(nct_grammar *g, uint32_t from, const char *text, size_t n);
uint32_t nct_grammar_then(nct_grammar *g, uint32_t from, uint32_t rule);
/** One character of the ranges, or of none of them; surrogates are never one. The ranges are sorted in place. */
uint32_t nct_grammar_class(nct_grammar *g, uint32_t from, nct_char_range *range, size_t n, bool negated);
/** One byte of a list of characters in ASCII, where a-z is a range. */
uint32_t nct_grammar_one_of(nct_grammar *g, uint32_t from, const char *list);
/** A rule low to high times; high SIZE_MAX: without end. */
uint32_t nct_grammar_times(nct_grammar *g, uint32_t from, uint32_t rule, size_t low, size_t high);
/** A whole number in decimal digits, without more zeros than it needs; low <= high, both included. */
uint32_t nct_grammar_integer(nct_grammar *g, uint32_t from, int64_t low, int64_t high);

/** Ends building; bytes that are not `available` [256] are taken for impossible (NULL: all are). The first failure so
 *  far; NCT_E_ARGUMENT also for left recursion, and where rule `root` can produce nothing. */
nct_status nct_grammar_finish(nct_grammar *g, uint32_t root, const bool *available, nct_error *err);
void nct_grammar_close(nct_grammar *g);

#endif
