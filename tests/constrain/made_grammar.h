/** Grammars drawn by chance: as GBNF, and as a tree that a reader of its own decides on, which knows nothing of how
 *  constraints work: it asks at which places of a text a part may end that begins at a given one. */
#ifndef NCT_TEST_MADE_GRAMMAR_H
#define NCT_TEST_MADE_GRAMMAR_H

#include "base/bytes.h"
#include "base/rng.h"
#include "base/utf8.h"

enum { MADE_NODES = 400, MADE_RULES = 5, MADE_TEXT = 1023, MADE_WORDS = 16 };

typedef struct dice {
    uint64_t seed, n;
} dice;

static inline unsigned roll(dice *d, unsigned n) {
    return (unsigned)(nct_rng_mix(d->seed ^ nct_rng_mix(++d->n)) % n);
}

typedef enum made_kind { MADE_LITERAL, MADE_CLASS, MADE_ALL, MADE_ANY, MADE_TIMES, MADE_RULE } made_kind;

typedef struct made_node {
    made_kind kind;
    const char *text;       /* literal, class */
    int child[4], n, index; /* index: of a rule */
    int low, high;          /* times; high -1: without end */
} made_node;

typedef struct made {
    made_node node[MADE_NODES];
    int n, root[MADE_RULES], n_rules;
    nct_bytes gbnf;
} made;

static const char *const made_literals[] = {
    "a", "yes", " ", "the bat ", "\xe6\xbc\xa2", "0", "\\n", "\xc3\xa9\xf0\x9f\x98\x80", "ab", "-"};
static const char *const made_classes[] = {"[a-z]", "[0-9]", "[^a-y\\n]", "[\xc3\xa0-\xc3\xbf]",
                                           "[ a]",  "[^ ]"};

static inline bool made_class_has(int class, uint32_t c) {
    switch (class) {
    case 0:
        return c >= 'a' && c <= 'z';
    case 1:
        return c >= '0' && c <= '9';
    case 2:
        return !(c >= 'a' && c <= 'y') && c != '\n';
    case 3:
        return c >= 0xe0 && c <= 0xff;
    case 4:
        return c == ' ' || c == 'a';
    default:
        return c != ' ';
    }
}

/* Rules may call later ones anywhere, and any behind a literal, beside a way that calls none. */
static inline int made_draw(made *m, dice *d, int rule, int depth) {
    int at = m->n++;
    made_node k = {.kind =
                       depth > 3 || m->n > MADE_NODES - 40 ? (made_kind)roll(d, 2) : (made_kind)roll(d, 6)};
    if (k.kind == MADE_RULE && rule + 1 >= m->n_rules)
        k.kind = MADE_CLASS;
    k.index = k.kind == MADE_LITERAL ? (int)roll(d, sizeof made_literals / sizeof *made_literals)
              : k.kind == MADE_CLASS ? (int)roll(d, sizeof made_classes / sizeof *made_classes)
              : k.kind == MADE_RULE  ? rule + 1 + (int)roll(d, (unsigned)(m->n_rules - rule - 1))
                                     : 0;
    if (k.kind == MADE_ALL || k.kind == MADE_ANY)
        for (k.n = 0; k.n < 2 + (int)(d->n % 2);)
            k.child[k.n++] = made_draw(m, d, rule, depth + 1);
    if (k.kind == MADE_TIMES) {
        k.child[k.n++] = made_draw(m, d, rule, depth + 1);
        k.low = (int)roll(d, 3);
        k.high = roll(d, 2) ? -1 : k.low + (int)roll(d, 3);
    }
    m->node[at] = k;
    return at;
}

static inline int made_add(made *m, made_node k) {
    m->node[m->n] = k;
    return m->n++;
}

static inline void made_write(made *m, int at) {
    const made_node *k = &m->node[at];
    if (k->kind == MADE_LITERAL)
        nct_bytes_printf(&m->gbnf, NULL, "\"%s\" ", made_literals[k->index]);
    if (k->kind == MADE_CLASS)
        nct_bytes_printf(&m->gbnf, NULL, "%s ", made_classes[k->index]);
    if (k->kind == MADE_RULE)
        nct_bytes_printf(&m->gbnf, NULL, k->index ? "r%d " : "root ", k->index);
    if (k->kind == MADE_ALL || k->kind == MADE_ANY || k->kind == MADE_TIMES) {
        nct_bytes_add_str(&m->gbnf, "( ", NULL);
        for (int i = 0; i < k->n; i++) {
            if (i && k->kind == MADE_ANY)
                nct_bytes_add_str(&m->gbnf, "| ", NULL);
            made_write(m, k->child[i]);
        }
        nct_bytes_add_str(&m->gbnf, ") ", NULL);
    }
    if (k->kind == MADE_TIMES && k->high < 0)
        nct_bytes_printf(&m->gbnf, NULL, k->low == 0 ? "* " : k->low == 1 ? "+ " : "{%d,} ", k->low);
    else if (k->kind == MADE_TIMES)
        nct_bytes_printf(&m->gbnf, NULL, "{%d,%d} ", k->low, k->high);
}

static inline void made_open(made *m, uint64_t seed) {
    dice d = {.seed = seed};
    *m = (made){.n_rules = 1 + (int)roll(&d, MADE_RULES)};
    for (int r = 0; r < m->n_rules; r++) {
        int body = made_draw(m, &d, r, 0);
        if (roll(&d, 2)) { /* body | "ab" some-rule body */
            int ab = made_add(m, (made_node){.kind = MADE_LITERAL, .index = 8});
            int call =
                made_add(m, (made_node){.kind = MADE_RULE, .index = (int)roll(&d, (unsigned)m->n_rules)});
            int all = made_add(m, (made_node){.kind = MADE_ALL, .child = {ab, call, body}, .n = 3});
            body = made_add(m, (made_node){.kind = MADE_ANY, .child = {body, all}, .n = 2});
        }
        m->root[r] = body;
        nct_bytes_printf(&m->gbnf, NULL, r ? "r%d ::= " : "root ::= ", r);
        made_write(m, body);
        nct_bytes_add_str(&m->gbnf, "\n", NULL);
    }
}

static inline void made_close(made *m) { nct_bytes_reset(&m->gbnf); }

/* ------------------------------------------------------------------ reading */

typedef struct places {
    uint64_t bits[MADE_WORDS];
} places;

typedef struct made_reader {
    const made *m;
    uint32_t code[MADE_TEXT + 1];
    size_t n;
    places *known; /* [n_rules][n + 1], valid where `is_known` */
    bool *is_known;
} made_reader;

static inline void place_add(places *p, size_t at) { p->bits[at / 64] |= (uint64_t)1 << at % 64; }
static inline bool place_has(const places *p, size_t at) { return p->bits[at / 64] >> at % 64 & 1; }
static inline bool places_join(places *p, const places *other) {
    bool more = false;
    for (int i = 0; i < MADE_WORDS; i++) {
        more = more || (other->bits[i] & ~p->bits[i]);
        p->bits[i] |= other->bits[i];
    }
    return more;
}

static inline places made_ends(made_reader *r, int at, size_t from);

static inline places made_ends_of_all(made_reader *r, int at, const places *from) {
    places all = {{0}};
    for (size_t i = 0; i <= r->n; i++)
        if (place_has(from, i)) {
            places one = made_ends(r, at, i);
            places_join(&all, &one);
        }
    return all;
}

static inline places made_ends(made_reader *r, int at, size_t from) {
    const made_node *k = &r->m->node[at];
    places p = {{0}};
    switch (k->kind) {
    case MADE_LITERAL: {
        const char *text = strcmp(made_literals[k->index], "\\n") == 0 ? "\n" : made_literals[k->index];
        size_t n = strlen(text), i = 0, pos = from;
        for (uint32_t code = 0; i < n; pos++) {
            i += nct_utf8_decode(text + i, n - i, &code);
            if (pos >= r->n || r->code[pos] != code)
                return p;
        }
        place_add(&p, pos);
        return p;
    }
    case MADE_CLASS:
        if (from < r->n && made_class_has(k->index, r->code[from]))
            place_add(&p, from + 1);
        return p;
    case MADE_ALL:
        place_add(&p, from);
        for (int i = 0; i < k->n; i++)
            p = made_ends_of_all(r, k->child[i], &p);
        return p;
    case MADE_ANY:
        for (int i = 0; i < k->n; i++) {
            places one = made_ends(r, k->child[i], from);
            places_join(&p, &one);
        }
        return p;
    case MADE_TIMES: {
        places now = {{0}}, last;
        place_add(&now, from);
        for (int i = 0; i < k->low; i++)
            now = made_ends_of_all(r, k->child[0], &now);
        p = last = now;
        for (int i = k->low; k->high < 0 || i < k->high; i++) {
            last = made_ends_of_all(r, k->child[0], &last);
            if (!places_join(&p, &last))
                break;
        }
        return p;
    }
    case MADE_RULE: {
        size_t slot = (size_t)k->index * (r->n + 1) + from;
        if (!r->is_known[slot]) {
            r->known[slot] = made_ends(r, r->m->root[k->index], from);
            r->is_known[slot] = true;
        }
        return r->known[slot];
    }
    }
    return p;
}

/* True if the grammar's root makes exactly this text. */
static inline bool made_takes(const made *m, const char *text, size_t n) {
    made_reader r = {.m = m};
    for (size_t i = 0; i < n;) {
        size_t length = nct_utf8_decode(text + i, n - i, &r.code[r.n++]);
        if (length == 0 || r.n > MADE_TEXT)
            return false;
        i += length;
    }
    void *known = NULL, *is_known = NULL;
    if (nct_alloc(&known, (size_t)m->n_rules * (r.n + 1), sizeof(places), NULL) != NCT_OK ||
        nct_alloc(&is_known, (size_t)m->n_rules * (r.n + 1), sizeof(bool), NULL) != NCT_OK)
        return false;
    r.known = known;
    r.is_known = is_known;
    places ends = made_ends(&r, m->root[0], 0);
    nct_free(known);
    nct_free(is_known);
    return place_has(&ends, r.n);
}

#endif
