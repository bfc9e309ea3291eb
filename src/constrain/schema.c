/* JSON Schema: what of it can be kept by masks (the list is in `noctule help constraints`). A keyword that restricts
 * and is not known here is refused: an answer that ends is valid. Properties come in the order of the schema; beyond
 * them there are none, even where the schema would allow it. */
#include <math.h>

#include "base/json.h"
#include "constrain/constraint.h"

enum { DEPTH = 128, POINTER = 512, KEPT_REFS = 4096 };

typedef struct kept {
    const nct_json *schema;
    uint32_t rule;
} kept;

typedef struct reader {
    nct_grammar *g;
    const nct_json *root;
    nct_json_rules json;
    uint32_t character; /* of a string with a counted length */
    bool has_character;
    kept *kept; /* what references led to */
    size_t n_kept, kept_capacity;
    char at[POINTER]; /* where in the schema, for errors */
    int depth;
} reader;

static uint32_t add_schema(reader *r, const nct_json *schema);
static void add_into(reader *r, const nct_json *schema, uint32_t rule);

static bool failed(const reader *r) { return nct_grammar_failed(r->g); }
static uint32_t start_of(const reader *r, uint32_t rule) { return failed(r) ? 0 : r->g->rule[rule].start; }
static uint32_t end_of(const reader *r, uint32_t rule) { return failed(r) ? 0 : r->g->rule[rule].end; }

static void complain(reader *r, const char *what, const char *name) {
    nct_grammar_fail(r->g, NCT_E_ARGUMENT, "%s%s%s%s%s: %s", *r->at ? "#" : "the schema", r->at,
                     name ? ": '" : "", name ? name : "", name ? "'" : "", what);
}

/* Goes down a step of the path; the caller cuts it back to what is returned. */
static size_t enter(reader *r, const char *name) {
    size_t n = strlen(r->at), k = n;
    if (k + 1 < POINTER)
        r->at[k++] = '/';
    for (; *name && k + 1 < POINTER; name++)
        r->at[k++] = *name;
    r->at[k] = 0;
    return n;
}

static uint32_t add_below(reader *r, const char *name, const nct_json *schema) {
    size_t n = enter(r, name);
    uint32_t rule = add_schema(r, schema);
    r->at[n] = 0;
    return rule;
}

/* ------------------------------------------------------------------ keywords */

static const char *const notes[] = {"$schema",  "$id",         "$comment", "$defs",    "definitions",
                                    "title",    "description", "default",  "examples", "deprecated",
                                    "readOnly", "writeOnly",   "$anchor"};

static bool is_word(const char *name, const char *words) { /* words: between spaces */
    size_t n = strlen(name);
    for (const char *at = n ? words : NULL; at && (at = strstr(at, name)); at += n)
        if ((at == words || at[-1] == ' ') && (at[n] == ' ' || !at[n]))
            return true;
    return false;
}

/* Only these keywords, and those that restrict nothing. */
static void allow(reader *r, const nct_json *schema, const char *words) {
    for (const nct_json *k = nct_json_first(schema); k && !failed(r); k = nct_json_next(k)) {
        const char *name = nct_json_key(k);
        bool known = is_word(name, words);
        for (size_t i = 0; i < sizeof notes / sizeof *notes; i++)
            known = known || strcmp(name, notes[i]) == 0;
        if (!known)
            complain(r, "this keyword is not supported here (noctule help constraints)", name);
    }
}

/* A whole number >= 0, or `standard`. */
static size_t take_count(reader *r, const nct_json *schema, const char *name, size_t standard) {
    const nct_json *k = nct_json_get(schema, name);
    if (!k)
        return standard;
    int64_t n = nct_json_int(k, -1);
    if (n < 0)
        complain(r, "expected a whole number, 0 or more", name);
    if (n > NCT_GRAMMAR_REPEAT)
        nct_grammar_fail(r->g, NCT_E_ARGUMENT, "#%s: '%s' is more than %d", r->at, name, NCT_GRAMMAR_REPEAT);
    return n < 0 ? 0 : (size_t)n;
}

static void take_range(reader *r, const nct_json *schema, const char *least, const char *most, size_t *low,
                       size_t *high) {
    *low = take_count(r, schema, least, 0);
    *high = take_count(r, schema, most, SIZE_MAX);
    if (*low > *high)
        complain(r, "it is more than its counterpart", least);
}

/* ------------------------------------------------------------------ values as they are */

static uint32_t add_text(reader *r, uint32_t from, const nct_bytes *text) {
    return nct_grammar_literal(r->g, from, text->data ? text->data : "", text->n);
}

static bool is_type(const nct_json *v, const char *type) {
    double n = nct_json_number(v, 0.5);
    return (strcmp(type, "object") == 0 && nct_json_is_object(v)) ||
           (strcmp(type, "array") == 0 && nct_json_is_array(v)) ||
           (strcmp(type, "string") == 0 && nct_json_is_string(v)) ||
           (strcmp(type, "number") == 0 && nct_json_is_number(v)) ||
           (strcmp(type, "integer") == 0 && nct_json_is_number(v) && n == floor(n)) ||
           (strcmp(type, "boolean") == 0 && nct_json_is_bool(v)) ||
           (strcmp(type, "null") == 0 && nct_json_is_null(v));
}

static bool fits_type(const nct_json *v, const nct_json *type) {
    if (!type)
        return true;
    if (nct_json_is_string(type))
        return is_type(v, nct_json_string(type, ""));
    for (const nct_json *k = nct_json_first(type); k; k = nct_json_next(k))
        if (is_type(v, nct_json_string(k, "")))
            return true;
    return false;
}

/* Numbers that a double does not hold would come out as others. */
static bool is_exact(const nct_json *v, int depth) {
    if (nct_json_is_number(v)) {
        double n = fabs(nct_json_number(v, 0));
        return n < 9007199254740992.0 || (n != floor(n));
    }
    for (const nct_json *k = nct_json_first(v); k; k = nct_json_next(k))
        if (depth == 0 || !is_exact(k, depth - 1))
            return false;
    return true;
}

static void add_value(reader *r, const nct_json *value, uint32_t rule) {
    nct_bytes text = {0};
    if (!is_exact(value, DEPTH))
        complain(r, "a number is too large to be kept exactly, or values nest too deep", NULL);
    else if (nct_json_write(value, false, &text, &r->g->fault) == NCT_OK)
        nct_grammar_skip(r->g, add_text(r, start_of(r, rule), &text), end_of(r, rule));
    nct_bytes_reset(&text);
}

static const nct_json *member(const nct_json *object, const char *name) { /* also where its value is null */
    for (const nct_json *k = nct_json_first(object); k; k = nct_json_next(k))
        if (strcmp(nct_json_key(k), name) == 0)
            return k;
    return NULL;
}

/* enum and const. */
static void add_values(reader *r, const nct_json *schema, uint32_t rule) {
    const nct_json *list = nct_json_get(schema, "enum"), *only = member(schema, "const");
    const nct_json *type = nct_json_get(schema, "type");
    allow(r, schema, "enum const type");
    if (only && list)
        complain(r, "'enum' and 'const' together are not supported", NULL);
    if (only && fits_type(only, type))
        add_value(r, only, rule);
    if (list && !nct_json_is_array(list))
        complain(r, "expected a list", "enum");
    for (const nct_json *k = nct_json_first(list); k && !failed(r); k = nct_json_next(k))
        if (fits_type(k, type))
            add_value(r, k, rule);
}

/* ------------------------------------------------------------------ strings */

static const struct {
    const char *name, *grammar; /* its rule root: the text between the quotes */
} formats[] = {
    {"date",
     "root ::= [12] [0-9]{3} \"-\" (month \"-\" day | no-february \"-\" (\"29\" | \"30\") | long \"-31\")\n"
     "month ::= \"0\" [1-9] | \"1\" [0-2]\n"
     "no-february ::= \"0\" [13-9] | \"1\" [0-2]\n"
     "long ::= \"0\" [13578] | \"1\" [02]\n"
     "day ::= \"0\" [1-9] | \"1\" [0-9] | \"2\" [0-8]\n"},
    {"time", "root ::= hour \":\" minute \":\" minute (\".\" [0-9]{1,6})? (\"Z\" | [+-] hour \":\" minute)\n"
             "hour ::= [01] [0-9] | \"2\" [0-3]\n"
             "minute ::= [0-5] [0-9]\n"},
    {"uuid", "root ::= hex{8} \"-\" hex{4} \"-\" hex{4} \"-\" hex{4} \"-\" hex{12}\n"
             "hex ::= [0-9a-f]\n"},
    {"ipv4", "root ::= part \".\" part \".\" part \".\" part\n"
             "part ::= [0-9] | [1-9] [0-9] | \"1\" [0-9]{2} | \"2\" [0-4] [0-9] | \"25\" [0-5]\n"},
    {"email", "root ::= part ([._+-] part)* \"@\" part ([.-] part)* \".\" [A-Za-z]{2,24}\n"
              "part ::= [A-Za-z0-9]{1,24}\n"},
};
enum { N_FORMATS = sizeof formats / sizeof *formats };

static uint32_t add_named_format(reader *r, const char *name) {
    for (size_t i = 0; i < N_FORMATS; i++)
        if (strcmp(formats[i].name, name) == 0)
            return nct_grammar_add_gbnf(r->g, formats[i].grammar, strlen(formats[i].grammar));
    complain(r, "this format is not supported: there are date, time, date-time, uuid, ipv4, email", name);
    return 0;
}

static uint32_t add_format(reader *r, uint32_t from, const char *name) {
    if (strcmp(name, "date-time") != 0)
        return nct_grammar_then(r->g, from, add_named_format(r, name));
    from = nct_grammar_literal(r->g, nct_grammar_then(r->g, from, add_named_format(r, "date")), "T", 1);
    return nct_grammar_then(r->g, from, add_named_format(r, "time"));
}

static uint32_t add_character(reader *r) {
    static const char text[] =
        "root ::= [^\"\\\\\\x00-\\x1F\\x7F] | \"\\\\\" ([\"\\\\/bfnrt] | \"u\" [0-9a-cA-Ce-fE-F] hex{3})\n"
        "hex ::= [0-9a-fA-F]\n";
    if (!r->has_character)
        r->character = nct_grammar_add_gbnf(r->g, text, sizeof text - 1);
    r->has_character = true;
    return r->character;
}

static void add_string(reader *r, const nct_json *schema, uint32_t rule) {
    const nct_json *format = nct_json_get(schema, "format");
    size_t low, high;
    take_range(r, schema, "minLength", "maxLength", &low, &high);
    bool counted = low > 0 || high != SIZE_MAX;
    if (format && (counted || !nct_json_is_string(format)))
        complain(r, counted ? "together with a length it is not supported" : "expected a name", "format");
    if (!format && !counted) {
        nct_grammar_call(r->g, start_of(r, rule), r->json.string, end_of(r, rule));
        return;
    }
    uint32_t at = nct_grammar_literal(r->g, start_of(r, rule), "\"", 1);
    at = format ? add_format(r, at, nct_json_string(format, ""))
                : nct_grammar_times(r->g, at, add_character(r), low, high);
    nct_grammar_skip(r->g, nct_grammar_literal(r->g, at, "\"", 1), end_of(r, rule));
}

/* ------------------------------------------------------------------ arrays */

/* Items of `head` first, one each, then those of `item` up to the count. */
static void add_array(reader *r, const nct_json *schema, uint32_t rule) {
    const nct_json *head = nct_json_get(schema, "prefixItems"), *items = nct_json_get(schema, "items");
    nct_grammar *g = r->g;
    size_t low, high, n = 0, n_head = nct_json_size(head);
    take_range(r, schema, "minItems", "maxItems", &low, &high);
    if (head && !nct_json_is_array(head))
        complain(r, "expected a list", "prefixItems");
    if (head && !items && low <= n_head) /* no more than these: that is always allowed */
        high = high < n_head ? high : n_head;
    uint32_t node = nct_grammar_then(g, nct_grammar_literal(g, start_of(r, rule), "[", 1), r->json.space);
    uint32_t last = nct_grammar_node(g); /* before the bracket */
    if (low == 0)
        nct_grammar_skip(g, node, last);
    for (const nct_json *k = nct_json_first(head); k && n < high && !failed(r); k = nct_json_next(k), n++) {
        if (n)
            node = nct_grammar_then(g, nct_grammar_literal(g, node, ",", 1), r->json.space);
        node = nct_grammar_then(g, node, add_below(r, "prefixItems", k));
        if (n + 1 >= low)
            nct_grammar_call(g, node, r->json.space, last);
    }
    if (n < high && !(nct_json_is_bool(items) && !nct_json_bool(items, true)) && !failed(r)) {
        uint32_t item = items ? add_below(r, "items", items) : r->json.value, more = nct_grammar_rule(g);
        nct_grammar_call(
            g, nct_grammar_then(g, nct_grammar_literal(g, start_of(r, more), ",", 1), r->json.space), item,
            end_of(r, more));
        if (n == 0) {
            node = nct_grammar_then(g, node, item);
            n++;
        }
        node = nct_grammar_times(g, node, more, low > n ? low - n : 0, high == SIZE_MAX ? high : high - n);
        nct_grammar_call(g, node, r->json.space, last);
    }
    nct_grammar_skip(g, nct_grammar_literal(g, last, "]", 1), end_of(r, rule));
}

/* ------------------------------------------------------------------ objects */

static bool is_required(const nct_json *required, const char *name) {
    for (const nct_json *k = nct_json_first(required); k; k = nct_json_next(k))
        if (strcmp(nct_json_string(k, ""), name) == 0)
            return true;
    return false;
}

/* Ways through an object: at the same property with nothing before it, and with something. */
typedef struct ways {
    uint32_t empty, begun;
} ways;

static void add_member(reader *r, ways *at, const char *name, uint32_t value, bool required) {
    nct_grammar *g = r->g;
    nct_bytes key = {0};
    if (failed(r) || nct_json_write_string(&key, name, strlen(name), &g->fault) != NCT_OK ||
        nct_bytes_add_str(&key, ":", &g->fault) != NCT_OK) {
        nct_bytes_reset(&key);
        return;
    }
    uint32_t name_at = nct_grammar_node(g), empty = nct_grammar_node(g), begun = nct_grammar_node(g);
    nct_grammar_skip(g, at->empty, name_at);
    nct_grammar_skip(g, nct_grammar_then(g, nct_grammar_literal(g, at->begun, ",", 1), r->json.space),
                     name_at);
    uint32_t node = nct_grammar_then(g, add_text(r, name_at, &key), r->json.space);
    nct_grammar_call(g, node, value, begun);
    if (!required) {
        nct_grammar_skip(g, at->empty, empty);
        nct_grammar_skip(g, at->begun, begun);
    }
    *at = (ways){empty, begun};
    nct_bytes_reset(&key);
}

/* Any keys, values of one kind. */
static void add_map(reader *r, uint32_t value, uint32_t rule) {
    nct_grammar *g = r->g;
    uint32_t node = nct_grammar_then(g, nct_grammar_literal(g, start_of(r, rule), "{", 1), r->json.space);
    uint32_t last = nct_grammar_node(g), key = nct_grammar_node(g);
    nct_grammar_skip(g, node, last);
    nct_grammar_skip(g, node, key);
    node = nct_grammar_then(g, nct_grammar_literal(g, nct_grammar_then(g, key, r->json.string), ":", 1),
                            r->json.space);
    node = nct_grammar_then(g, node, value);
    nct_grammar_call(g, nct_grammar_literal(g, node, ",", 1), r->json.space, key);
    nct_grammar_call(g, node, r->json.space, last);
    nct_grammar_skip(g, nct_grammar_literal(g, last, "}", 1), end_of(r, rule));
}

static void add_object(reader *r, const nct_json *schema, uint32_t rule) {
    const nct_json *properties = nct_json_get(schema, "properties"),
                   *required = nct_json_get(schema, "required");
    const nct_json *others = nct_json_get(schema, "additionalProperties");
    nct_grammar *g = r->g;
    bool closed = nct_json_is_bool(others) && !nct_json_bool(others, true);
    if (properties && !nct_json_is_object(properties))
        complain(r, "expected an object", "properties");
    if (required && !nct_json_is_array(required))
        complain(r, "expected a list", "required");
    if (nct_json_size(properties) == 0 && nct_json_size(required) == 0 && !closed) {
        add_map(r, others ? add_below(r, "additionalProperties", others) : r->json.value, rule);
        return;
    }
    uint32_t node = nct_grammar_then(g, nct_grammar_literal(g, start_of(r, rule), "{", 1), r->json.space);
    ways at = {node, nct_grammar_node(g)};
    size_t above = enter(r, "properties");
    for (const nct_json *k = nct_json_first(properties); k && !failed(r); k = nct_json_next(k)) {
        if (nct_json_get(properties, nct_json_key(k)) != k && !nct_json_is_null(k))
            complain(r, "it is there twice", nct_json_key(k));
        add_member(r, &at, nct_json_key(k), add_below(r, nct_json_key(k), k),
                   is_required(required, nct_json_key(k)));
    }
    r->at[above] = 0;
    for (const nct_json *k = nct_json_first(required); k && !failed(r); k = nct_json_next(k)) {
        const char *name = nct_json_string(k, NULL);
        if (!name)
            complain(r, "expected names", "required");
        else if (!member(properties, name)) { /* required, and nothing else is said of it */
            if (closed)
                complain(r, "it is required, but 'additionalProperties' forbids it", name);
            add_member(r, &at, name, others ? add_below(r, "additionalProperties", others) : r->json.value,
                       true);
        }
    }
    uint32_t last = nct_grammar_node(g);
    nct_grammar_skip(g, at.empty, last);
    nct_grammar_call(g, at.begun, r->json.space, last);
    nct_grammar_skip(g, nct_grammar_literal(g, last, "}", 1), end_of(r, rule));
}

/* ------------------------------------------------------------------ numbers */

/* The nearest whole number inside a bound and its exclusive twin. */
static int64_t take_bound(reader *r, const nct_json *schema, const char *name, const char *exclusive,
                          int sign) {
    double most = 999999999999999, bound = most; /* which a double holds, and all below it */
    for (int i = 0; i < 2; i++) {
        const char *word = i ? exclusive : name;
        const nct_json *k = nct_json_get(schema, word);
        if (k && !nct_json_is_number(k))
            complain(r, "expected a number", word);
        if (!k || failed(r))
            continue;
        double v = nct_json_number(k, 0) * sign, whole = floor(v);
        whole -= i && whole == v ? 1 : 0;
        bound = whole < bound ? whole : bound;
    }
    return (int64_t)(bound < -most ? -most - 1 : bound) * sign;
}

static void add_integer(reader *r, const nct_json *schema, uint32_t rule) {
    int64_t low = take_bound(r, schema, "minimum", "exclusiveMinimum", -1);
    int64_t high = take_bound(r, schema, "maximum", "exclusiveMaximum", 1);
    if (low > high || low > 999999999999999 || high < -999999999999999)
        complain(r, "no whole number of at most 15 digits is within its bounds", NULL);
    if (!failed(r))
        nct_grammar_skip(r->g, nct_grammar_integer(r->g, start_of(r, rule), low, high), end_of(r, rule));
}

static bool has_bound(const nct_json *schema) {
    return member(schema, "minimum") || member(schema, "maximum") || member(schema, "exclusiveMinimum") ||
           member(schema, "exclusiveMaximum");
}

static void add_number(reader *r, const nct_json *schema, bool whole, uint32_t rule) {
    if (has_bound(schema) && whole)
        add_integer(r, schema, rule);
    else if (has_bound(schema))
        complain(r, "bounds are kept for whole numbers only: \"type\": \"integer\"", NULL);
    else
        nct_grammar_call(r->g, start_of(r, rule), whole ? r->json.integer : r->json.number, end_of(r, rule));
}

/* ------------------------------------------------------------------ schemas */

static void add_type(reader *r, const nct_json *schema, const char *type, uint32_t rule) {
    uint32_t start = start_of(r, rule), end = end_of(r, rule);
    if (strcmp(type, "object") == 0)
        add_object(r, schema, rule);
    else if (strcmp(type, "array") == 0)
        add_array(r, schema, rule);
    else if (strcmp(type, "string") == 0)
        add_string(r, schema, rule);
    else if (strcmp(type, "number") == 0 || strcmp(type, "integer") == 0)
        add_number(r, schema, *type == 'i', rule);
    else if (strcmp(type, "boolean") == 0) {
        nct_grammar_skip(r->g, nct_grammar_literal(r->g, start, "true", 4), end);
        nct_grammar_skip(r->g, nct_grammar_literal(r->g, start, "false", 5), end);
    } else if (strcmp(type, "null") == 0)
        nct_grammar_skip(r->g, nct_grammar_literal(r->g, start, "null", 4), end);
    else
        complain(r, "there is no such type", type);
}

static void add_types(reader *r, const nct_json *schema, uint32_t rule) {
    static const char words[] =
        "type properties required additionalProperties items prefixItems minItems maxItems "
        "minLength maxLength format minimum maximum exclusiveMinimum exclusiveMaximum";
    const nct_json *type = nct_json_get(schema, "type");
    allow(r, schema, words);
    if (nct_json_is_string(type)) {
        add_type(r, schema, nct_json_string(type, ""), rule);
        return;
    }
    if (type && !nct_json_is_array(type))
        complain(r, "expected a name or a list of names", "type");
    for (const nct_json *k = nct_json_first(type); k && !failed(r); k = nct_json_next(k)) {
        uint32_t one = nct_grammar_rule(r->g); /* of its own: some of them do nothing but call */
        add_type(r, schema, nct_json_string(k, "?"), one);
        nct_grammar_call(r->g, start_of(r, rule), one, end_of(r, rule));
    }
    if (type)
        return;
    /* no type: the one that its keywords are about, which is one of those it allows */
    bool object =
        member(schema, "properties") || member(schema, "required") || member(schema, "additionalProperties");
    bool array = member(schema, "items") || member(schema, "prefixItems") || member(schema, "minItems") ||
                 member(schema, "maxItems");
    bool string = member(schema, "minLength") || member(schema, "maxLength") || member(schema, "format");
    if (object || array || string || has_bound(schema))
        add_type(r, schema, object ? "object" : array ? "array" : string ? "string" : "number", rule);
    else
        nct_grammar_call(r->g, start_of(r, rule), r->json.value, end_of(r, rule));
}

/* What a local reference points to: "#" or "#/a/b", with ~0 for ~ and ~1 for /. */
static const nct_json *find_target(reader *r, const char *pointer) {
    const nct_json *at = r->root;
    char name[256];
    if (*pointer != '#') {
        complain(r, "only references into the schema itself are supported: #/...", pointer);
        return NULL;
    }
    for (const char *p = pointer + 1; at && *p;) {
        size_t n = 0;
        if (*p++ != '/')
            at = NULL;
        for (; *p && *p != '/' && n + 1 < sizeof name; p++) {
            bool escape = *p == '~' && (p[1] == '0' || p[1] == '1');
            name[n++] = escape ? (p[1] == '0' ? '~' : '/') : *p;
            p += escape;
        }
        name[n] = 0;
        if (nct_json_is_array(at)) {
            int64_t index = 0;
            for (const char *d = name; *d; d++)
                index = *d >= '0' && *d <= '9' && index < 1 << 20 ? index * 10 + (*d - '0') : 1 << 24;
            for (at = nct_json_first(at); at && index > 0; index--)
                at = nct_json_next(at);
        } else {
            at = at ? member(at, name) : NULL;
        }
    }
    if (!at)
        complain(r, "the reference leads nowhere", pointer);
    return at;
}

static void add_reference(reader *r, const nct_json *schema, uint32_t rule) {
    allow(r, schema, "$ref");
    const nct_json *reference = nct_json_get(schema, "$ref");
    if (!nct_json_is_string(reference))
        complain(r, "expected a text", "$ref");
    const nct_json *target = failed(r) ? NULL : find_target(r, nct_json_string(reference, ""));
    if (!target)
        return;
    uint32_t to = 0;
    size_t i = 0;
    while (i < r->n_kept && r->kept[i].schema != target)
        i++;
    if (i < r->n_kept) {
        to = r->kept[i].rule;
    } else {
        void *p = r->kept;
        if (r->n_kept == KEPT_REFS) {
            complain(r, "there are too many references", NULL);
            return;
        }
        if (nct_grow(&p, &r->kept_capacity, r->n_kept + 1, sizeof *r->kept, &r->g->fault) != NCT_OK)
            return;
        r->kept = p;
        to = nct_grammar_rule(r->g);
        r->kept[r->n_kept++] = (kept){target, to};
        add_into(r, target, to);
    }
    nct_grammar_call(r->g, start_of(r, rule), to, end_of(r, rule));
}

static void add_any_of(reader *r, const nct_json *schema, const char *word, uint32_t rule) {
    const nct_json *list = nct_json_get(schema, word);
    allow(r, schema, word);
    if (!nct_json_is_array(list) || nct_json_size(list) == 0)
        complain(r, "expected a list", word);
    if (strcmp(word, "allOf") == 0 && nct_json_size(list) > 1)
        complain(r, "more than one is not supported", word);
    for (const nct_json *k = nct_json_first(list); k && !failed(r); k = nct_json_next(k))
        nct_grammar_call(r->g, start_of(r, rule), add_below(r, word, k), end_of(r, rule));
}

static void add_into(reader *r, const nct_json *schema, uint32_t rule) {
    if (failed(r))
        return;
    if (++r->depth > DEPTH)
        complain(r, "schemas nest too deep", NULL);
    if (nct_json_is_bool(schema)) {
        if (nct_json_bool(schema, false)) /* false: nothing fits, which may be one of several ways */
            nct_grammar_call(r->g, start_of(r, rule), r->json.value, end_of(r, rule));
    } else if (!nct_json_is_object(schema))
        complain(r, "a schema is an object, true or false", NULL);
    else if (member(schema, "$ref"))
        add_reference(r, schema, rule);
    else if (member(schema, "anyOf"))
        add_any_of(r, schema, "anyOf", rule);
    else if (member(schema, "allOf"))
        add_any_of(r, schema, "allOf", rule);
    else if (member(schema, "enum") || member(schema, "const"))
        add_values(r, schema, rule);
    else
        add_types(r, schema, rule);
    r->depth--;
}

static uint32_t add_schema(reader *r, const nct_json *schema) {
    uint32_t rule = nct_grammar_rule(r->g);
    add_into(r, schema, rule);
    return rule;
}

uint32_t nct_grammar_add_schema(nct_grammar *g, const char *text, size_t n) {
    nct_json *json = NULL;
    nct_error err = {0};
    reader r = {.g = g};
    if (nct_json_parse("the schema", text, n, &json, &err) != NCT_OK) {
        nct_grammar_fail(g, err.status == NCT_E_FORMAT ? NCT_E_ARGUMENT : err.status, "%s", err.text);
        return 0;
    }
    for (size_t i = 0; i + 6 <= n; i++) /* a JSON library of C's strings cannot keep it */
        if (memcmp(text + i, "\\u0000", 6) == 0)
            nct_grammar_fail(g, NCT_E_ARGUMENT, "the schema holds \\u0000, which is not supported");
    nct_grammar_add_json_rules(g, &r.json);
    r.root = json;
    uint32_t rule = add_schema(&r, json);
    nct_free(r.kept);
    nct_json_close(json);
    return rule;
}
