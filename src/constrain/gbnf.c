/* GBNF, the grammars of llama.cpp: rules `name ::= ...` of literals, character classes, names, groups, alternatives
 * and repetitions. What is accepted beyond it: a line may begin with `|`. What is not: names of tokens (<...>). */
#include "base/utf8.h"
#include "constrain/constraint.h"

enum { GROUPS = 128, RANGES = 1024 };

typedef struct name {
    const char *text;
    size_t n;
    uint32_t rule;
    size_t line; /* where it was seen first */
    bool defined;
} name;

typedef struct parser {
    nct_grammar *g;
    const char *text;
    size_t n, at, line;
    name *name;
    size_t n_names, names_capacity;
    uint32_t *table; /* name + 1 by hash, 0: empty */
    size_t table_mask;
    int groups;
} parser;

typedef struct piece { /* of a rule, not joined to anything yet */
    uint32_t from, to;
} piece;

static piece parse_alternatives(parser *p, uint32_t from, uint32_t to);

static bool failed(const parser *p) { return nct_grammar_failed(p->g); }
static bool is_at(const parser *p, char c) { return p->at < p->n && p->text[p->at] == c; }
static bool is_word(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

static void complain(parser *p, const char *what) {
    nct_grammar_fail(p->g, NCT_E_ARGUMENT, "line %zu: %s", p->line, what);
}

static void expected(parser *p, const char *what) {
    uint32_t code;
    size_t n = p->at < p->n ? nct_utf8_decode(p->text + p->at, p->n - p->at, &code) : 0;
    if (n == 0 || *(p->text + p->at) == '\n')
        nct_grammar_fail(p->g, NCT_E_ARGUMENT, "line %zu: expected %s at the end of the %s", p->line, what,
                         p->at < p->n ? "line" : "grammar");
    else
        nct_grammar_fail(p->g, NCT_E_ARGUMENT, "line %zu: expected %s, found '%.*s'", p->line, what, (int)n,
                         p->text + p->at);
}

/* Spaces and comments, and ends of lines if they mean nothing here. */
static void skip_space(parser *p, bool lines) {
    for (; p->at < p->n; p->at++) {
        char c = p->text[p->at];
        if (c == '#')
            while (p->at + 1 < p->n && p->text[p->at + 1] != '\n')
                p->at++;
        else if (c == '\n' && lines)
            p->line++;
        else if (c != ' ' && c != '\t' && c != '\r')
            break;
    }
}

/* ------------------------------------------------------------------ names */

static bool grow_names(parser *p) {
    void *q = NULL;
    size_t mask = p->table ? p->table_mask * 2 + 1 : 63;
    if (nct_alloc(&q, mask + 1, sizeof *p->table, &p->g->fault) != NCT_OK)
        return false;
    nct_free(p->table);
    p->table = q;
    p->table_mask = mask;
    for (size_t i = 0; i < p->n_names; i++) {
        uint32_t h = 2166136261u; /* FNV-1a */
        for (size_t k = 0; k < p->name[i].n; k++)
            h = (h ^ (uint8_t)p->name[i].text[k]) * 16777619u;
        while (p->table[h & mask])
            h++;
        p->table[h & mask] = (uint32_t)i + 1;
    }
    return true;
}

/* The name at hand, new or known; NULL after a failure. */
static name *take_name(parser *p) {
    const char *text = p->text + p->at;
    uint32_t h = 2166136261u;
    size_t n = 0;
    for (; p->at < p->n && is_word(p->text[p->at]); p->at++, n++)
        h = (h ^ (uint8_t)p->text[p->at]) * 16777619u;
    if (n == 0) {
        expected(p, "the name of a rule");
        return NULL;
    }
    if (p->n_names * 2 >= (p->table ? p->table_mask : 0) && !grow_names(p))
        return NULL;
    for (; p->table[h & p->table_mask]; h++) {
        name *known = &p->name[p->table[h & p->table_mask] - 1];
        if (known->n == n && memcmp(known->text, text, n) == 0)
            return known;
    }
    void *q = p->name;
    if (nct_grow(&q, &p->names_capacity, p->n_names + 1, sizeof *p->name, &p->g->fault) != NCT_OK)
        return NULL;
    p->name = q;
    p->name[p->n_names] = (name){.text = text, .n = n, .rule = nct_grammar_rule(p->g), .line = p->line};
    p->table[h & p->table_mask] = (uint32_t)++p->n_names;
    return failed(p) ? NULL : &p->name[p->n_names - 1];
}

/* ------------------------------------------------------------------ characters */

static uint32_t take_hex(parser *p, int digits) {
    uint32_t code = 0;
    for (int i = 0; i < digits; i++, p->at++) {
        char c = p->at < p->n ? p->text[p->at] : 0;
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'))) {
            expected(p, "a hexadecimal digit");
            return 0;
        }
        code = code << 4 | (uint32_t)(c <= '9' ? c - '0' : (c | 32) - 'a' + 10);
    }
    if (code > 0x10ffff || (code >= 0xd800 && code < 0xe000))
        complain(p, "an escape is no character: it is a surrogate or above 10FFFF");
    return code;
}

static uint32_t take_char(parser *p) {
    static const char from[] = "nrt\\\"[]^-/", to[] = "\n\r\t\\\"[]^-/";
    uint32_t code = 0;
    size_t n = p->at < p->n ? nct_utf8_decode(p->text + p->at, p->n - p->at, &code) : 0;
    if (n == 0 || code == '\n') {
        complain(p, "a literal or a class does not end on its line");
        return 0;
    }
    p->at += n;
    if (code != '\\')
        return code;
    char c = p->at < p->n ? p->text[p->at] : 0;
    const char *plain = c ? strchr(from, c) : NULL;
    if (!plain && c != 'x' && c != 'u' && c != 'U') {
        expected(p, "one of n r t x u U \\ \" [ ] ^ - / after a backslash");
        return 0;
    }
    p->at++;
    return plain ? (uint32_t)to[plain - from] : take_hex(p, c == 'x' ? 2 : c == 'u' ? 4 : 8);
}

static size_t put_utf8(uint32_t c, char out[4]) {
    size_t n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    if (n == 1) {
        out[0] = (char)c;
        return 1;
    }
    for (size_t i = n; i-- > 1; c >>= 6)
        out[i] = (char)(0x80 | (c & 0x3f));
    out[0] = (char)((0xf00 >> n & 0xff) | c);
    return n;
}

static uint32_t parse_literal(parser *p, uint32_t from) {
    char bytes[4];
    p->at++;
    while (!failed(p) && !is_at(p, '"'))
        from = nct_grammar_literal(p->g, from, bytes, put_utf8(take_char(p), bytes));
    p->at++;
    return from;
}

static uint32_t parse_class(parser *p, uint32_t from) {
    nct_char_range range[RANGES];
    size_t n = 0;
    p->at++;
    bool negated = is_at(p, '^');
    p->at += negated;
    while (!failed(p) && !is_at(p, ']')) {
        uint32_t low = take_char(p), high = low;
        if (is_at(p, '-') && p->at + 1 < p->n && p->text[p->at + 1] != ']') {
            p->at++;
            high = take_char(p);
        }
        if (high < low)
            complain(p, "the ends of a range are the wrong way round");
        if (n == RANGES) {
            complain(p, "a class has more than 1024 parts");
            break;
        }
        range[n++] = (nct_char_range){low, high};
    }
    p->at++;
    return nct_grammar_class(p->g, from, range, n, negated);
}

/* ------------------------------------------------------------------ rules */

static size_t take_number(parser *p) {
    size_t value = 0, from = p->at;
    for (; p->at < p->n && p->text[p->at] >= '0' && p->text[p->at] <= '9'; p->at++)
        value = value > NCT_GRAMMAR_REPEAT ? value : value * 10 + (size_t)(p->text[p->at] - '0');
    if (p->at == from)
        expected(p, "a number");
    if (value > NCT_GRAMMAR_REPEAT)
        nct_grammar_fail(p->g, NCT_E_ARGUMENT, "line %zu: a repetition of more than %d", p->line,
                         NCT_GRAMMAR_REPEAT);
    return value;
}

/* {n}, {low,}, {low,high}, {,high} */
static void take_counts(parser *p, size_t *low, size_t *high) {
    p->at++;
    skip_space(p, false);
    *low = is_at(p, ',') ? 0 : take_number(p);
    *high = *low;
    skip_space(p, false);
    if (is_at(p, ',')) {
        p->at++;
        skip_space(p, false);
        *high = is_at(p, '}') ? SIZE_MAX : take_number(p);
        skip_space(p, false);
    }
    if (!is_at(p, '}'))
        expected(p, "}");
    if (*high < *low)
        complain(p, "a repetition ends before it begins");
}

/* A piece and what stands behind it. */
static piece repeat(parser *p, piece a) {
    nct_grammar *g = p->g;
    while (!failed(p) && p->at < p->n && strchr("*+?{", p->text[p->at])) {
        size_t low = is_at(p, '+'), high = is_at(p, '?') ? 1 : SIZE_MAX;
        if (is_at(p, '{'))
            take_counts(p, &low, &high);
        p->at++;
        piece b = {nct_grammar_node(g), 0};
        if (low <= 1 && (high == SIZE_MAX || high == 1)) { /* in place */
            b.to = nct_grammar_node(g);
            nct_grammar_skip(g, b.from, a.from);
            nct_grammar_skip(g, a.to, b.to);
            if (low == 0)
                nct_grammar_skip(g, b.from, b.to);
            if (high == SIZE_MAX)
                nct_grammar_skip(g, a.to, a.from);
        } else {
            b.to = nct_grammar_times(g, b.from, nct_grammar_wrap(g, a.from, a.to), low, high);
        }
        a = b;
        skip_space(p, p->groups > 0);
    }
    return a;
}

static bool is_rule_here(const parser *p) { /* a name and ::= on the same line begin the next rule */
    size_t at = p->at;
    while (at < p->n && is_word(p->text[at]))
        at++;
    while (at < p->n && (p->text[at] == ' ' || p->text[at] == '\t'))
        at++;
    return at > p->at && p->n - at >= 3 && memcmp(p->text + at, "::=", 3) == 0;
}

static piece parse_group(parser *p) {
    nct_grammar *g = p->g;
    piece a = {nct_grammar_node(g), nct_grammar_node(g)};
    if (p->groups == GROUPS) {
        complain(p, "groups nest more than 128 deep");
        return a;
    }
    p->groups++;
    p->at++;
    a = parse_alternatives(p, a.from, a.to);
    if (!failed(p) && !is_at(p, ')'))
        expected(p, ")");
    p->at++;
    p->groups--;
    return a;
}

/* One item without what is behind it; false: nothing more begins here. */
static bool parse_item(parser *p, piece *a) {
    nct_grammar *g = p->g;
    if (p->at >= p->n || strchr("|)\n", p->text[p->at]))
        return false;
    char c = p->text[p->at];
    if (c == '(') {
        *a = parse_group(p);
        return true;
    }
    a->from = nct_grammar_node(g);
    if (c == '"') {
        a->to = nct_grammar_node(g);
        nct_grammar_skip(g, parse_literal(p, a->from), a->to);
    } else if (c == '[') {
        a->to = parse_class(p, a->from);
    } else if (c == '.') {
        p->at++;
        a->to = nct_grammar_class(g, a->from, NULL, 0, true);
    } else if (is_word(c)) {
        name *called = take_name(p);
        if (called)
            a->to = nct_grammar_then(g, a->from, called->rule);
    } else {
        expected(p, "a literal, a class, a name or a group");
    }
    return true;
}

static void parse_sequence(parser *p, uint32_t from, uint32_t to) {
    piece a = {0};
    skip_space(p, p->groups > 0);
    while (!failed(p) && !(p->groups == 0 && is_rule_here(p)) && parse_item(p, &a)) {
        skip_space(p, p->groups > 0);
        a = repeat(p, a);
        nct_grammar_skip(p->g, from, a.from);
        from = a.to;
    }
    nct_grammar_skip(p->g, from, to);
}

/* Outside groups an end of line ends the rule, unless the next line begins with a bar. */
static bool goes_on(parser *p) {
    size_t at = p->at, line = p->line;
    skip_space(p, true);
    if (is_at(p, '|')) {
        p->at++;
        skip_space(p, true);
        return true;
    }
    p->at = at;
    p->line = line;
    return false;
}

static piece parse_alternatives(parser *p, uint32_t from, uint32_t to) {
    do
        parse_sequence(p, from, to);
    while (!failed(p) && goes_on(p));
    if (p->groups > 0)
        skip_space(p, true);
    return (piece){from, to};
}

static void parse_rule(parser *p) {
    name *k = take_name(p);
    if (!k)
        return;
    if (k->defined) {
        nct_grammar_fail(p->g, NCT_E_ARGUMENT, "line %zu: rule '%.*s' is defined twice", p->line,
                         (int)(k->n < 64 ? k->n : 64), k->text);
        return;
    }
    k->defined = true;
    nct_rule rule = p->g->rule[k->rule];
    skip_space(p, false);
    if (p->n - p->at < 3 || memcmp(p->text + p->at, "::=", 3) != 0) {
        expected(p, "::=");
        return;
    }
    p->at += 3;
    skip_space(p, true);
    parse_alternatives(p, rule.start, rule.end);
    if (!failed(p) && p->at < p->n && !is_at(p, '\n'))
        expected(p, "the end of the line");
}

static void check_names(parser *p) {
    for (size_t i = 0; i < p->n_names; i++) {
        const name *k = &p->name[i];
        if (!k->defined)
            nct_grammar_fail(p->g, NCT_E_ARGUMENT, "line %zu: there is no rule '%.*s'", k->line,
                             (int)(k->n < 64 ? k->n : 64), k->text);
    }
}

static uint32_t find_rule(parser *p, const char *wanted) {
    for (size_t i = 0; i < p->n_names; i++)
        if (p->name[i].n == strlen(wanted) && memcmp(p->name[i].text, wanted, p->name[i].n) == 0)
            return p->name[i].rule;
    nct_grammar_fail(p->g, NCT_E_ARGUMENT, "there is no rule '%s'", wanted);
    return 0;
}

void nct_grammar_add_rules(nct_grammar *g, const char *text, size_t n, const char *const *wanted,
                           size_t n_wanted, uint32_t *rule) {
    parser p = {.g = g, .text = text, .n = n, .line = 1};
    if (n && memchr(text, 0, n))
        nct_grammar_fail(g, NCT_E_ARGUMENT, "it holds a NUL");
    skip_space(&p, true);
    while (p.at < p.n && !failed(&p)) {
        parse_rule(&p);
        skip_space(&p, true);
    }
    if (!failed(&p))
        check_names(&p);
    for (size_t i = 0; i < n_wanted && !failed(&p); i++)
        rule[i] = find_rule(&p, wanted[i]);
    nct_free(p.name);
    nct_free(p.table);
}

uint32_t nct_grammar_add_gbnf(nct_grammar *g, const char *text, size_t n) {
    static const char *const root = "root";
    uint32_t rule = 0;
    nct_grammar_add_rules(g, text, n, &root, 1, &rule);
    return rule;
}
