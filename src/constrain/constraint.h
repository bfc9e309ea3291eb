/** A constraint: a grammar, the model's tokens, and what was found out so far about where one may stand.
 *
 *  Which tokens may follow is a function of the set that the text so far leads to (states.h), of the tokens that are
 *  left, and of nothing else. It is found in two steps, each kept. With holes for frames, one walk over the tree of
 *  pieces finds for every token where it leads, or at which node of the tree it leaves the rules at hand; that is the
 *  expensive part, and the same for a string in every object (`shape`). In a context, holes are filled, and the
 *  tokens that leave are followed on: few by a walk, many (those that begin with a space) by the shape of where they go
 *  on, below the node at which they left (`view`). A mask then leaves out what could not be completed in time.
 *
 *  Fewest tokens: of the shortest text from a set, the lowest of equals, cut into as few tokens as can be. That is an
 *  upper bound with a witness: the first token of that cut leads to a set whose bound is one less. So whoever begins
 *  within the limit ends within it, and where time is short the shortest texts are what is left.
 */
#ifndef NCT_CONSTRAIN_CONSTRAINT_H
#define NCT_CONSTRAIN_CONSTRAINT_H

#include "constrain/pieces.h"
#include "constrain/states.h"

/** Rules by nct_match_think: the answer alone; a thinking block may come first; inside one. */
enum { NCT_CONSTRAINT_STARTS = 3 };

typedef struct nct_found {
    int32_t token;
    uint32_t set;
} nct_found;

/** What was found of a set with holes, of the tokens below a node of the tree of pieces. Tokens of class k:
 *  token[first[k] .. first[k + 1]), which lead to set[k].
 *  Or of the units of a repetition (view.c): a class is so many units and a place in the next, and has no set. */
typedef struct nct_shape {
    uint32_t top;  /* the node; 0: all tokens */
    uint32_t next; /* of the same set, or the same units: a shape with another top, or NCT_UNKNOWN */
    uint64_t *bits;
    int32_t *token;
    uint32_t *first, *set;
    size_t n_classes, n_tokens;
    struct nct_leave {
        uint32_t node,
            to; /* of the tree of pieces, below which tokens go on in the frame of this hole; of a run: at
                              which they leave after so many units */
    } * leave;
    size_t n_leaves;
    char *unit; /* [n_unit] the shortest; NULL: no run */
    size_t n_unit;
    uint32_t n_units; /* of a token, at most */
    bool cut;         /* the walk was longer than is allowed: some tokens are missing */
} nct_shape;

/** The same in a context. */
typedef struct nct_view_part {
    uint32_t shape;
    uint32_t *set; /* [n_classes] */
} nct_view_part;

/** Where all tokens lead from a set. A token may be there more than once, where it can be read in several ways. */
typedef struct nct_view {
    nct_view_part *part; /* [n_parts] */
    size_t n_parts, parts_capacity;
    nct_found *found; /* [n_found] the others */
    size_t n_found;
    bool cut;
} nct_view;

struct nct_constraint {
    const nct_pieces *pieces; /* borrowed */
    nct_grammar grammar;
    uint32_t rule[NCT_CONSTRAINT_STARTS];
    uint32_t thinking_begin, thinking_end; /* nodes */
    bool is_warm[NCT_CONSTRAINT_STARTS];
    nct_states *states;
    uint64_t *banned; /* [n_words] tokens that are never taken */
    size_t n_words;
    bool has_eos;
    nct_shape *shape;
    size_t n_shapes, shapes_capacity;
    nct_view *view;
    size_t n_views, views_capacity;
    size_t n_bytes; /* of shapes and views */
    uint32_t epoch; /* of set numbers */
    uint64_t *mask; /* [n_words] the last one given out */
    uint64_t *part; /* [n_words] what one shape adds to it */
    nct_error fault;
    /* of a walk */
    uint32_t *at, *count; /* [longest + 1] sets by depth, units by depth */
    uint32_t *behind;     /* [longest + 1] sets by units */
    uint32_t
        *run; /* [nodes] the shape of units that begin there, if they are a run; NULL: none was asked for */
    nct_found *found;
    size_t n_found, found_capacity;
    struct nct_leave *leave;
    size_t n_leaves, leaves_capacity;
    struct nct_leave *todo; /* to: a set, from which the tokens below the node are still to be looked at */
    size_t n_todo, todo_capacity;
    uint32_t *stack;
    size_t n_stack, stack_capacity;
    uint32_t mark;
};

static inline bool nct_bit(const uint64_t *bits, int32_t id) { return bits[id >> 6] >> (id & 63) & 1; }
static inline void nct_bit_set(uint64_t *bits, int32_t id) { bits[id >> 6] |= (uint64_t)1 << (id & 63); }
static inline void nct_bit_clear(uint64_t *bits, int32_t id) { bits[id >> 6] &= ~((uint64_t)1 << (id & 63)); }

static inline bool nct_constraint_bans(const nct_constraint *c, int32_t token) {
    return c->banned && nct_bit(c->banned, token);
}
static inline bool nct_constraint_failed(const nct_constraint *c) {
    return c->fault.status != NCT_OK || nct_states_fault(c->states)->status != NCT_OK;
}

/** Opens a constraint over a tokenizer. `banned` [n_words] or NULL is copied. Takes the grammar over, also if it fails;
 *  `root` is the answer's rule, to which the ones with thinking are added here. `name` begins the errors. */
nct_status nct_constraint_make(const nct_pieces *pieces, const uint64_t *banned, nct_grammar *grammar,
                               uint32_t root, const char *name, nct_constraint **constraint, nct_error *err);

/** Forgets what was found out: always; if it takes too much memory. */
void nct_constraint_forget(nct_constraint *c);
void nct_constraint_tidy(nct_constraint *c);
/** Walks the longest ways of steps to come now, for 50 ms at most; results do not depend on it. */
void nct_constraint_warm(nct_constraint *c, bool thinking);
/** Where all tokens lead from a set, until the next call; NULL after a failure (fault). */
const nct_view *nct_constraint_view(nct_constraint *c, uint32_t set);
void nct_shape_reset(nct_shape *shape);
void nct_view_reset(nct_view *view);
/** Fewest tokens from a set to the end of a text. */
uint32_t nct_constraint_tokens(nct_constraint *c, uint32_t set);
/** Writes the mask of a set with so many tokens left, this one included; NULL after a failure (fault). */
uint64_t *nct_constraint_mask(nct_constraint *c, uint32_t set, size_t n_left);
/** Any way to the end within n_left tokens, looked for breadth-first where the shortest text is none: *path is freed
 *  with nct_free; n 0: there is none, or it is too far to look for (*far). */
nct_status nct_constraint_search(nct_constraint *c, uint32_t set, size_t n_left, int32_t **path, size_t *n,
                                 bool *far, nct_error *err);
/** The set after a token's bytes; 0 if it cannot follow. */
uint32_t nct_constraint_follow(nct_constraint *c, uint32_t set, int32_t token);

/** The front ends: each adds the rules of a text and returns the answer's, or fails the grammar (NCT_E_ARGUMENT). */
uint32_t nct_grammar_add_choice(nct_grammar *g, const char *text, size_t n);
uint32_t nct_grammar_add_json(nct_grammar *g);
uint32_t nct_grammar_add_schema(nct_grammar *g, const char *text, size_t n);
uint32_t nct_grammar_add_gbnf(nct_grammar *g, const char *text, size_t n);

/** The rules of a GBNF text, and which of them have these names. */
void nct_grammar_add_rules(nct_grammar *g, const char *text, size_t n, const char *const *name,
                           size_t n_names, uint32_t *rule);

/** JSON's own rules. */
typedef struct nct_json_rules {
    uint32_t value, object, array, string, number, integer, space;
} nct_json_rules;

void nct_grammar_add_json_rules(nct_grammar *g, nct_json_rules *rules);

#endif
