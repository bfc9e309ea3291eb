#include "text/pattern.h"

#include <stdlib.h>
#include <string.h>

#include "base/unicode.h"
#include "base/utf8.h"

enum { MAX_OPS = 1024, MAX_CLASSES = 512, MAX_RANGES = 8192, MAX_DEPTH = 32, MAX_REPEAT = 1000 };

#define NO_LIMIT UINT32_MAX

typedef enum op_kind {
    OP_CLASS,     /* one character of class `x` */
    OP_LOOP,      /* low .. high of class `x`, as many as there are, fewer if what follows asks for it */
    OP_OWN,       /* the same, never fewer */
    OP_EITHER,    /* op x, or else op y */
    OP_GO,        /* op x */
    OP_AHEAD,     /* a character of class `x` follows */
    OP_NOT_AHEAD, /* it does not */
    OP_END,       /* of a line */
    OP_MATCH,
} op_kind;

typedef struct op {
    uint8_t kind;
    uint32_t x, y, low, high;
} op;

typedef struct range {
    uint32_t low, high;
} range;

typedef struct class {
    uint64_t ascii[2]; /* bits, negation and case included */
    uint32_t mask;     /* categories */
    uint32_t first, n; /* ranges, ascending */
    bool negated, fold;
} class;

struct nct_pattern {
    op *op;
    class *class;
    range *range;
    size_t n_ops, n_classes, n_ranges;
};

/* ------------------------------------------------------------------ classes */

static bool is_listed(const nct_pattern *p, const class *c, uint32_t code) {
    if (c->mask && (nct_unicode_category(code) & c->mask))
        return true;
    size_t low = c->first, high = c->first + c->n;
    while (low < high) { /* the first range that does not end before it */
        size_t middle = low + (high - low) / 2;
        if (p->range[middle].high < code)
            low = middle + 1;
        else
            high = middle;
    }
    return low < c->first + c->n && p->range[low].low <= code;
}

static bool is_member(const nct_pattern *p, const class *c, uint32_t code) {
    bool listed = is_listed(p, c, code);
    if (!listed && c->fold) {
        uint32_t upper = nct_unicode_upper(code);
        listed = is_listed(p, c, upper) || is_listed(p, c, nct_unicode_lower(code)) ||
                 is_listed(p, c, nct_unicode_lower(upper));
    }
    return listed != c->negated;
}

static inline bool in_class(const nct_pattern *p, uint32_t index, uint32_t code) {
    const class *c = &p->class[index];
    return code < 128 ? c->ascii[code >> 6] >> (code & 63) & 1 : is_member(p, c, code);
}

static int by_low(const void *a, const void *b) {
    const range *x = a, *y = b;
    return (x->low > y->low) - (x->low < y->low);
}

/* Ranges ascending and apart, and the bits of ASCII. */
static void finish_class(nct_pattern *p, class *c) {
    range *r = p->range + c->first;
    size_t n = 0;
    if (c->n)
        qsort(r, c->n, sizeof *r, by_low);
    for (size_t i = 0; i < c->n; i++) {
        if (n && r[i].low <= r[n - 1].high)
            r[n - 1].high = r[i].high > r[n - 1].high ? r[i].high : r[n - 1].high;
        else
            r[n++] = r[i];
    }
    c->n = (uint32_t)n;
    for (uint32_t code = 0; code < 128; code++)
        if (is_member(p, c, code))
            c->ascii[code >> 6] |= (uint64_t)1 << (code & 63);
}

/* ------------------------------------------------------------------ reading */

typedef struct reader {
    nct_pattern *p;
    const char *name, *text, *at, *end;
    bool fold;
    int depth;
    nct_error *err;
} reader;

static nct_status refuse(const reader *r, const char *what) {
    size_t n = (size_t)(r->end - r->text);
    return nct_fail(r->err, NCT_E_UNSUPPORTED, "%s: the pattern '%.*s%s' has %s at byte %zu", r->name,
                    (int)(n < 60 ? n : 60), r->text, n < 60 ? "" : "...", what, (size_t)(r->at - r->text));
}

static nct_status add_op(reader *r, op o) {
    if (r->p->n_ops == MAX_OPS)
        return refuse(r, "too much");
    r->p->op[r->p->n_ops++] = o;
    return NCT_OK;
}

static nct_status add_class(reader *r, uint32_t *index) {
    if (r->p->n_classes == MAX_CLASSES)
        return refuse(r, "too many classes");
    *index = (uint32_t)r->p->n_classes++;
    r->p->class[*index] = (class){.first = (uint32_t)r->p->n_ranges, .fold = r->fold};
    return NCT_OK;
}

static nct_status add_range(reader *r, class *c, uint32_t low, uint32_t high) {
    if (r->p->n_ranges == MAX_RANGES)
        return refuse(r, "too many ranges");
    r->p->range[r->p->n_ranges++] = (range){low, high};
    c->n++;
    return NCT_OK;
}

static bool next_is(const reader *r, char c) { return r->at < r->end && *r->at == c; }

static bool take(reader *r, const char *word) {
    size_t n = strlen(word);
    if ((size_t)(r->end - r->at) < n || memcmp(r->at, word, n) != 0)
        return false;
    r->at += n;
    return true;
}

static nct_status read_char(reader *r, uint32_t *code) {
    size_t n = r->at < r->end ? nct_utf8_decode(r->at, (size_t)(r->end - r->at), code) : 0;
    if (n == 0)
        return refuse(r, r->at < r->end ? "no UTF-8" : "an end too soon");
    r->at += n;
    return NCT_OK;
}

/* Hexadecimal digits, `least` to `most` of them. */
static nct_status read_hex(reader *r, int least, int most, uint32_t *code) {
    static const char digits[] = "0123456789abcdef";
    int n = 0;
    for (*code = 0; n < most && r->at < r->end; n++, r->at++) {
        const char *digit = memchr(digits, *r->at >= 'A' && *r->at <= 'F' ? *r->at | 32 : *r->at, 16);
        if (!digit)
            break;
        *code = *code << 4 | (uint32_t)(digit - digits);
    }
    return n < least || *code > 0x10ffff ? refuse(r, "a code that is none") : NCT_OK;
}

/* \p{L}, \pL, \P{L}, \p{^L}; the letter p is behind. */
static nct_status read_property(reader *r, class *c, bool *negated) {
    const char *begin = r->at, *end = r->at + 1;
    if (take(r, "{")) {
        if (take(r, "^"))
            *negated = !*negated;
        begin = r->at;
        end = memchr(begin, '}', (size_t)(r->end - begin));
        r->at = end ? end + 1 : r->end;
    } else {
        r->at++;
    }
    uint32_t mask = 0;
    if (!end || end > r->end || !nct_unicode_named(begin, (size_t)(end - begin), &mask)) {
        r->at = begin < r->end ? begin : r->end;
        return refuse(r, "a property that is no general category");
    }
    c->mask |= mask;
    return NCT_OK;
}

/* What follows a backslash: one character in *code, or (*code UINT32_MAX) members of the class, or all but these. */
static nct_status read_escape(reader *r, class *c, uint32_t *code, bool *negated) {
    *negated = false;
    NCT_TRY(read_char(r, code));
    switch (*code) {
    case 'n':
    case 'r':
    case 't':
    case 'f':
    case 'v':
        *code = *code == 'n' ? '\n' : *code == 'r' ? '\r' : *code == 't' ? '\t' : *code == 'f' ? '\f' : '\v';
        return NCT_OK;
    case 'x':
        if (!take(r, "{"))
            return read_hex(r, 1, 2, code);
        NCT_TRY(read_hex(r, 1, 8, code));
        return take(r, "}") ? NCT_OK : refuse(r, "a code that is none");
    case 'u':
        return read_hex(r, 4, 4, code);
    case 's':
    case 'S':
        *negated = *code == 'S';
        *code = UINT32_MAX;
        c->mask |= nct_unicode_spaces();
        NCT_TRY(add_range(r, c, 9, 13));
        return add_range(r, c, 0x85, 0x85);
    case 'd':
    case 'D':
        *negated = *code == 'D';
        *code = UINT32_MAX;
        uint32_t mask = 0;
        nct_unicode_named("Nd", 2, &mask);
        c->mask |= mask;
        return NCT_OK;
    case 'p':
    case 'P':
        *negated = *code == 'P';
        *code = UINT32_MAX;
        return read_property(r, c, negated);
    default:
        if (*code && *code < 128 && strchr("\\^$.|?*+()[]{}-/'\"&~#!<>=:,; @%_`", (int)*code))
            return NCT_OK; /* punctuation is itself */
        r->at--;
        return refuse(r, "an escape that is not known");
    }
}

/* [...]; the bracket is behind. */
static nct_status read_brackets(reader *r, class *c) {
    bool all_but = take(r, "^"), first = true;
    for (; first || !next_is(r, ']'); first = false) {
        uint32_t low = 0, high = 0;
        bool negated = false;
        if (r->at >= r->end || next_is(r, '[') || (next_is(r, '&') && r->at + 1 < r->end && r->at[1] == '&'))
            return refuse(r, r->at < r->end ? "a class within a class" : "a class without an end");
        NCT_TRY(read_char(r, &low));
        if (low == '\\')
            NCT_TRY(read_escape(r, c, &low, &negated));
        if (negated)
            return refuse(r, "a negated class within a class");
        if (low == UINT32_MAX)
            continue;
        high = low;
        if (next_is(r, '-') && r->at + 1 < r->end && r->at[1] != ']') {
            r->at++;
            NCT_TRY(read_char(r, &high));
            if (high == '\\')
                NCT_TRY(read_escape(r, c, &high, &negated));
            if (high == UINT32_MAX || high < low)
                return refuse(r, "a range that is none");
        }
        NCT_TRY(add_range(r, c, low, high));
    }
    r->at++;
    c->negated = all_but;
    return NCT_OK;
}

/* One character or class. */
static nct_status read_member(reader *r, uint32_t *index) {
    uint32_t code = 0;
    NCT_TRY(add_class(r, index));
    class *c = &r->p->class[*index];
    if (take(r, "[")) {
        NCT_TRY(read_brackets(r, c));
    } else if (take(r, "\\")) {
        NCT_TRY(read_escape(r, c, &code, &c->negated));
        if (code != UINT32_MAX)
            NCT_TRY(add_range(r, c, code, code));
    } else {
        NCT_TRY(read_char(r, &code));
        if (code == '.') {
            NCT_TRY(add_range(r, c, '\n', '\n'));
            c->negated = true;
        } else if (code && code < 128 && strchr("?*+{}^)", (int)code)) {
            r->at--;
            return refuse(r, "a sign that has nothing to do there");
        } else {
            NCT_TRY(add_range(r, c, code, code));
        }
    }
    finish_class(r->p, c);
    return NCT_OK;
}

static bool read_number(reader *r, uint32_t *n) {
    const char *begin = r->at;
    for (*n = 0; r->at < r->end && *r->at >= '0' && *r->at <= '9' && *n <= MAX_REPEAT; r->at++)
        *n = *n * 10 + (uint32_t)(*r->at - '0');
    return r->at > begin && *n <= MAX_REPEAT;
}

/* *low and *high stay 1 where there is no quantifier. */
static nct_status read_quantifier(reader *r, uint32_t *low, uint32_t *high, bool *possessive) {
    *low = *high = 1;
    *possessive = false;
    if (take(r, "?")) {
        *low = 0;
    } else if (take(r, "*")) {
        *low = 0;
        *high = NO_LIMIT;
    } else if (take(r, "+")) {
        *high = NO_LIMIT;
    } else if (take(r, "{")) {
        if (!read_number(r, low))
            return refuse(r, "a number of times that is none");
        *high = *low;
        if (take(r, ","))
            *high = next_is(r, '}') ? NO_LIMIT : 0;
        if ((*high == 0 && !read_number(r, high)) || *high < *low || !take(r, "}"))
            return refuse(r, "a number of times that is none");
        return NCT_OK; /* Oniguruma takes {m,n}+ for a quantifier of its own; nobody writes it */
    } else {
        return NCT_OK;
    }
    *possessive = take(r, "+");
    return next_is(r, '?') ? refuse(r, "a lazy quantifier") : NCT_OK;
}

static nct_status read_alternatives(reader *r);

static nct_status read_group(reader *r) {
    bool fold = r->fold, possessive;
    uint32_t index, low, high;
    if (take(r, "?=") || take(r, "?!")) {
        op_kind kind = r->at[-1] == '=' ? OP_AHEAD : OP_NOT_AHEAD;
        NCT_TRY(read_member(r, &index));
        if (!take(r, ")"))
            return refuse(r, "a look ahead at more than one character");
        return add_op(r, (op){.kind = (uint8_t)kind, .x = index});
    }
    if (take(r, "?i:"))
        r->fold = true;
    else if (!take(r, "?:") && next_is(r, '?'))
        return refuse(r, "a group that is not known");
    if (++r->depth > MAX_DEPTH)
        return refuse(r, "groups too deep");
    size_t before = r->p->n_ops;
    NCT_TRY(add_op(r, (op){.kind = OP_GO, .x = (uint32_t)before + 1}));
    NCT_TRY(read_alternatives(r));
    if (!take(r, ")"))
        return refuse(r, "a group without an end");
    r->fold = fold;
    r->depth--;
    NCT_TRY(read_quantifier(r, &low, &high, &possessive));
    if (high != 1 || possessive)
        return refuse(r, "a group that is repeated");
    if (low == 0)
        r->p->op[before] =
            (op){.kind = OP_EITHER, .x = (uint32_t)before + 1, .y = (uint32_t)r->p->n_ops};
    return NCT_OK;
}

static nct_status read_sequence(reader *r) {
    while (r->at < r->end && !next_is(r, '|') && !next_is(r, ')')) {
        uint32_t index, low, high;
        bool possessive;
        if (take(r, "(")) {
            NCT_TRY(read_group(r));
            continue;
        }
        if (take(r, "$")) {
            NCT_TRY(add_op(r, (op){.kind = OP_END}));
            continue;
        }
        NCT_TRY(read_member(r, &index));
        NCT_TRY(read_quantifier(r, &low, &high, &possessive));
        op_kind kind = low == 1 && high == 1 ? OP_CLASS : possessive ? OP_OWN : OP_LOOP;
        NCT_TRY(add_op(r, (op){.kind = (uint8_t)kind, .x = index, .low = low, .high = high}));
    }
    return NCT_OK;
}

/* Each alternative begins with an op that becomes a choice when another one follows; those before the last end with one
   that goes behind all of them. */
static nct_status read_alternatives(reader *r) {
    size_t leave[64], n_leave = 0;
    for (;;) {
        size_t choice = r->p->n_ops;
        NCT_TRY(add_op(r, (op){.kind = OP_GO, .x = (uint32_t)choice + 1}));
        NCT_TRY(read_sequence(r));
        if (!take(r, "|"))
            break;
        if (n_leave == sizeof leave / sizeof *leave)
            return refuse(r, "too many alternatives");
        leave[n_leave++] = r->p->n_ops;
        NCT_TRY(add_op(r, (op){.kind = OP_GO}));
        r->p->op[choice] = (op){.kind = OP_EITHER, .x = (uint32_t)choice + 1, .y = (uint32_t)r->p->n_ops};
    }
    for (size_t i = 0; i < n_leave; i++)
        r->p->op[leave[i]].x = (uint32_t)r->p->n_ops;
    return NCT_OK;
}

static nct_status alloc_pattern(nct_pattern **pattern, nct_error *err) {
    void *p = NULL;
    NCT_TRY(nct_alloc(&p, 1, sizeof **pattern, err));
    nct_pattern *made = *pattern = p;
    NCT_TRY(nct_alloc(&p, MAX_OPS, sizeof(op), err));
    made->op = p;
    NCT_TRY(nct_alloc(&p, MAX_CLASSES, sizeof(class), err));
    made->class = p;
    NCT_TRY(nct_alloc(&p, MAX_RANGES, sizeof(range), err));
    made->range = p;
    return NCT_OK;
}

nct_status nct_pattern_open(const char *name, const char *text, size_t n, nct_pattern **pattern, nct_error *err) {
    nct_pattern *p = NULL;
    if (n == 0 || n > NCT_PATTERN_MAX_BYTES)
        return nct_fail(err, NCT_E_UNSUPPORTED, "%s: a pattern has %zu bytes, expected 1 to %d", name, n,
                        NCT_PATTERN_MAX_BYTES);
    nct_status status = alloc_pattern(&p, err);
    reader r = {.p = p, .name = name, .text = text, .at = text, .end = text + n, .err = err};
    if (status == NCT_OK) {
        r.fold = take(&r, "(?i)");
        status = read_alternatives(&r);
    }
    if (status == NCT_OK && r.at < r.end)
        status = refuse(&r, "a bracket that closes nothing");
    if (status == NCT_OK)
        status = add_op(&r, (op){.kind = OP_MATCH});
    if (status == NCT_OK)
        *pattern = p;
    else
        nct_pattern_close(p);
    return status;
}

void nct_pattern_close(nct_pattern *p) {
    if (!p)
        return;
    nct_free(p->op);
    nct_free(p->class);
    nct_free(p->range);
    nct_free(p);
}

/* ------------------------------------------------------------------ matching */

typedef struct matcher {
    const nct_pattern *p;
    const char *text;
    size_t end;
    int64_t steps;
} matcher;

#define NOWHERE SIZE_MAX

/* The character at `at`, before the end: its size, which is 1 for a byte that is none. */
static inline size_t char_at(const matcher *m, size_t at, uint32_t *code) {
    uint8_t byte = (uint8_t)m->text[at];
    if (byte < 128) {
        *code = byte;
        return 1;
    }
    size_t n = nct_utf8_decode(m->text + at, m->end - at, code);
    if (n == 0)
        *code = UINT32_MAX;
    return n ? n : 1;
}

/* Where the character before `at` begins, not before `begin`. No valid character runs over the first byte of another,
   so looking back finds the borders that looking forward finds. */
static size_t step_back(const matcher *m, size_t begin, size_t at) {
    uint32_t code;
    for (size_t n = 2; n <= 4 && at - begin >= n; n++)
        if (nct_utf8_decode(m->text + at - n, n, &code) == n)
            return at - n;
    return at - 1;
}

static bool follows(const matcher *m, uint32_t index, size_t at) {
    uint32_t code;
    if (at == m->end)
        return false;
    char_at(m, at, &code);
    return in_class(m->p, index, code);
}

/* Behind as many characters of the class as there are from `at` on, `high` at most; *n counts them. */
static size_t run(matcher *m, uint32_t index, uint32_t high, size_t at, uint32_t *n) {
    uint32_t code;
    for (*n = 0; *n < high && at < m->end; ++*n) {
        size_t length = char_at(m, at, &code);
        if (!in_class(m->p, index, code))
            break;
        at += length;
    }
    m->steps -= *n;
    return at;
}

/* Where the match of the ops from `o` on ends that begins at `at`. Calls itself at most once an op. */
static size_t match(matcher *m, uint32_t o, size_t at) {
    for (;;) {
        const op *now = &m->p->op[o++];
        uint32_t n, code;
        size_t begin = at, found;
        if (--m->steps < 0)
            return NOWHERE;
        switch ((op_kind)now->kind) {
        case OP_CLASS:
            if (at == m->end)
                return NOWHERE;
            size_t length = char_at(m, at, &code);
            if (!in_class(m->p, now->x, code))
                return NOWHERE;
            at += length;
            break;
        case OP_LOOP:
        case OP_OWN:
            at = run(m, now->x, now->high, at, &n);
            if (n < now->low)
                return NOWHERE;
            if (now->kind == OP_OWN || n == now->low)
                break;
            for (; n > now->low; n--, at = step_back(m, begin, at))
                if ((found = match(m, o, at)) != NOWHERE || m->steps < 0)
                    return found;
            break;
        case OP_EITHER:
            if ((found = match(m, now->x, at)) != NOWHERE || m->steps < 0)
                return found;
            o = now->y;
            break;
        case OP_GO:
            o = now->x;
            break;
        case OP_AHEAD:
        case OP_NOT_AHEAD:
            if (follows(m, now->x, at) != (now->kind == OP_AHEAD))
                return NOWHERE;
            break;
        case OP_END:
            if (at < m->end && m->text[at] != '\n')
                return NOWHERE;
            break;
        case OP_MATCH:
            return at;
        }
    }
}

/* A pattern that is one sequence and begins with an endless run: where it failed at the beginning of the run it fails
   inside it, since it ends at the same places. NOWHERE: it is not of this kind. */
static size_t skip_run(matcher *m, size_t at) {
    const op *first = m->p->op;
    uint32_t n;
    if (first->kind != OP_GO || first[1].kind != OP_LOOP || first[1].high != NO_LIMIT || first[1].low > 1)
        return NOWHERE;
    size_t end = run(m, first[1].x, NO_LIMIT, at, &n);
    return end > at ? end : NOWHERE;
}

bool nct_pattern_find(const nct_pattern *p, const char *text, size_t begin, size_t end, int64_t *steps,
                      size_t *match_begin, size_t *match_end) {
    matcher m = {p, text, end, *steps};
    bool found = false;
    for (size_t at = begin; at < end && m.steps >= 0;) {
        size_t to = match(&m, 0, at);
        if (m.steps < 0)
            break;
        if (to != NOWHERE && to > at) {
            *match_begin = at;
            *match_end = to;
            found = true;
            break;
        }
        uint32_t code;
        size_t behind = to == NOWHERE ? skip_run(&m, at) : NOWHERE;
        at = behind != NOWHERE ? behind : at + char_at(&m, at, &code);
    }
    *steps = m.steps;
    return found;
}
