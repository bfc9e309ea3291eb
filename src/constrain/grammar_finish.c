/* From edges as they were added to the tables that are walked. */
#include "constrain/grammar.h"

/* Edges by one of their ends: [first[n] .. first[n + 1]) of `edge`. */
typedef struct by_node {
    uint32_t *first, *edge;
} by_node;

typedef struct finishing {
    nct_grammar *g;
    by_node out, in, of; /* edges from a node; to a node; calls of a rule */
    uint32_t *heap;      /* nodes, the one with the least length first */
    uint32_t *place;     /* [n_nodes] in the heap, + 1; 0: not there */
    uint8_t *final;      /* [n_nodes] the length is known */
    size_t n_heap;
    uint32_t *seen, *stack; /* [n_nodes] */
    uint32_t epoch;
    nct_error *err;
} finishing;

static nct_status alloc_u32(uint32_t **p, size_t n, nct_error *err) {
    void *q = NULL;
    NCT_TRY(nct_alloc(&q, n, sizeof **p, err));
    *p = q;
    return NCT_OK;
}

enum end { FROM, TO, RULE };

static uint32_t key_of(const nct_edge *e, enum end end) {
    return end == FROM ? e->from : end == TO ? e->to : e->rule;
}

static nct_status sort_edges(const nct_grammar *g, enum end end, size_t n_keys, by_node *b, nct_error *err) {
    NCT_TRY(alloc_u32(&b->first, n_keys + 1, err));
    NCT_TRY(alloc_u32(&b->edge, g->n_edges, err));
    for (size_t i = 0; i < g->n_edges; i++)
        if (key_of(&g->edge[i], end) < n_keys)
            b->first[key_of(&g->edge[i], end) + 1]++;
    for (size_t i = 0; i < n_keys; i++)
        b->first[i + 1] += b->first[i];
    for (size_t i = g->n_edges; i-- > 0;) { /* backwards; `first` is that of the next key until it is done */
        uint32_t key = key_of(&g->edge[i], end);
        if (key < n_keys)
            b->edge[--b->first[key + 1]] = (uint32_t)i;
    }
    for (size_t i = 0; i < n_keys; i++) /* now first[key + 1] is where key begins */
        b->first[i] = b->first[i + 1];
    size_t total = 0;
    for (size_t i = 0; i < g->n_edges; i++)
        total += key_of(&g->edge[i], end) < n_keys;
    b->first[n_keys] = (uint32_t)total;
    return NCT_OK;
}

static void free_by_node(by_node *b) {
    nct_free(b->first);
    nct_free(b->edge);
    *b = (by_node){0};
}

/* ------------------------------------------------------------------ small rules go into their callers */

enum { SMALL = 48, PASSES = 4 };

/* Where a rule is a bounded number of bytes and calls nobody: its nodes, from the start on, or 0. What is known of a set
 * of places is kept for any frame (states.h), so a loop over such a rule is better off within one frame. */
static size_t list_small(const nct_grammar *g, const by_node *out, size_t n_nodes, uint32_t rule,
                         uint32_t node[SMALL]) {
    size_t n = 0;
    uint8_t waits[SMALL] = {0}; /* edges from others that were not followed yet */
    uint32_t order[SMALL];
    node[n++] = g->rule[rule].start;
    for (size_t at = 0; at < n; at++)
        for (uint32_t i = out->first[node[at]]; i < out->first[node[at] + 1]; i++) {
            const nct_edge *e = &g->edge[out->edge[i]];
            size_t k = 0;
            while (k < n && node[k] != e->to)
                k++;
            if (e->rule < NCT_EDGE_BYTES || k == SMALL || waits[k] == 255 || e->to >= n_nodes)
                return 0; /* the last: it called a rule that was copied in this pass */
            if (k == n)
                node[n++] = e->to;
            waits[k]++;
        }
    size_t n_order = 0; /* it has no loop if its nodes can be put in order */
    if (waits[0] == 0)
        order[n_order++] = 0;
    for (size_t at = 0; at < n_order; at++)
        for (uint32_t i = out->first[node[order[at]]]; i < out->first[node[order[at]] + 1]; i++)
            for (uint32_t k = 0; k < n; k++)
                if (node[k] == g->edge[out->edge[i]].to && --waits[k] == 0)
                    order[n_order++] = k;
    return n_order == n ? n : 0;
}

static void copy_rule(nct_grammar *g, const by_node *out, const uint32_t *node, size_t n, nct_edge *call) {
    uint32_t base = (uint32_t)g->n_nodes, rule = call->rule, from = call->from, to = call->to;
    if (g->n_nodes + n > NCT_GRAMMAR_NODES / 2 || g->n_edges > NCT_GRAMMAR_EDGES / 2)
        return;
    g->n_nodes += n;
    *call = (nct_edge){.from = from, .to = base, .rule = NCT_EDGE_SKIP};
    for (size_t at = 0; at < n; at++) {
        if (node[at] == g->rule[rule].end)
            nct_grammar_skip(g, base + (uint32_t)at, to);
        for (uint32_t i = out->first[node[at]]; i < out->first[node[at] + 1]; i++) {
            nct_edge e = g->edge[out->edge[i]];
            uint32_t k = 0;
            while (node[k] != e.to)
                k++;
            if (e.rule == NCT_EDGE_SKIP)
                nct_grammar_skip(g, base + (uint32_t)at, base + k);
            else
                nct_grammar_bytes(g, base + (uint32_t)at, e.low, e.high, base + k);
        }
    }
}

/* One pass: rules that call nobody by now. `more`: there was something to do. */
static nct_status inline_pass(nct_grammar *g, bool *more, nct_error *err) {
    by_node out = {0}, of = {0};
    uint32_t node[SMALL];
    size_t n_nodes = g->n_nodes; /* that are in `out` */
    *more = false;
    nct_status status = sort_edges(g, FROM, g->n_nodes, &out, err);
    if (status == NCT_OK)
        status = sort_edges(g, RULE, g->n_rules, &of, err);
    for (uint32_t r = 0; status == NCT_OK && r < g->n_rules; r++) {
        size_t n =
            of.first[r] < of.first[r + 1] && !g->rule[r].counted ? list_small(g, &out, n_nodes, r, node) : 0;
        for (uint32_t i = of.first[r]; n && i < of.first[r + 1] && !nct_grammar_failed(g); i++) {
            copy_rule(g, &out, node, n, &g->edge[of.edge[i]]);
            *more = true;
        }
    }
    free_by_node(&out);
    free_by_node(&of);
    return status;
}

/* ------------------------------------------------------------------ fewest bytes (Knuth 1977) */

static bool less(const finishing *f, uint32_t a, uint32_t b) { return f->g->least[a] < f->g->least[b]; }

static void put(finishing *f, size_t at, uint32_t node) {
    f->heap[at] = node;
    f->place[node] = (uint32_t)at + 1;
}

static void lower(finishing *f, uint32_t node, uint32_t least) {
    if (least > NCT_GRAMMAR_LONG)
        least = NCT_GRAMMAR_LONG;
    if (f->final[node] || least >= f->g->least[node])
        return;
    f->g->least[node] = least;
    size_t at = f->place[node] ? f->place[node] - 1 : f->n_heap++;
    for (; at > 0 && less(f, node, f->heap[(at - 1) / 2]); at = (at - 1) / 2)
        put(f, at, f->heap[(at - 1) / 2]);
    put(f, at, node);
}

static uint32_t pop(finishing *f) {
    uint32_t first = f->heap[0], last = f->heap[--f->n_heap];
    size_t at = 0;
    for (size_t child; (child = 2 * at + 1) < f->n_heap; at = child) {
        if (child + 1 < f->n_heap && less(f, f->heap[child + 1], f->heap[child]))
            child++;
        if (!less(f, f->heap[child], last))
            break;
        put(f, at, f->heap[child]);
    }
    if (f->n_heap)
        put(f, at, last);
    f->place[first] = 0;
    return first;
}

/* What an edge costs now, if both of what it needs are known. */
static void relax(finishing *f, const nct_edge *e) {
    const nct_grammar *g = f->g;
    if (!f->final[e->to])
        return;
    if (e->rule >= NCT_EDGE_BYTES)
        lower(f, e->from, g->least[e->to] + (e->rule == NCT_EDGE_BYTES));
    else if (f->final[g->rule[e->rule].start])
        lower(f, e->from, g->least[g->rule[e->rule].start] + g->least[e->to]);
}

static void find_least(finishing *f, const uint32_t *rule_of_start) {
    nct_grammar *g = f->g;
    for (size_t i = 0; i < g->n_rules; i++)
        lower(f, g->rule[i].end, 0);
    while (f->n_heap) {
        uint32_t node = pop(f);
        f->final[node] = 1;
        for (uint32_t i = f->in.first[node]; i < f->in.first[node + 1]; i++)
            relax(f, &g->edge[f->in.edge[i]]);
        uint32_t rule = rule_of_start[node]; /* + 1 */
        for (uint32_t i = rule ? f->of.first[rule - 1] : 0; rule && i < f->of.first[rule]; i++)
            relax(f, &g->edge[f->of.edge[i]]);
    }
}

/* ------------------------------------------------------------------ without edges that take nothing */

static bool is_alive(const nct_grammar *g, const nct_edge *e) {
    return g->least[e->to] != NCT_GRAMMAR_NEVER &&
           (e->rule >= NCT_EDGE_BYTES || g->least[g->rule[e->rule].start] != NCT_GRAMMAR_NEVER);
}

/* Counts, or with tables writes, what a node can do. Returns false where there is too much. */
static bool flatten(finishing *f, uint32_t node, uint32_t *n_takes, uint32_t *n_calls, bool write) {
    nct_grammar *g = f->g;
    size_t n = 0;
    f->epoch++;
    f->stack[n++] = node;
    f->seen[node] = f->epoch;
    while (n) {
        uint32_t at = f->stack[--n];
        if (g->ends[at] & 4) /* the end of a rule itself */
            g->ends[node] |= 1;
        for (uint32_t i = f->out.first[at]; i < f->out.first[at + 1]; i++) {
            const nct_edge *e = &g->edge[f->out.edge[i]];
            if (!is_alive(g, e))
                continue;
            if (e->rule == NCT_EDGE_SKIP) {
                if (f->seen[e->to] != f->epoch)
                    f->stack[n++] = e->to;
                f->seen[e->to] = f->epoch;
            } else if (e->rule == NCT_EDGE_BYTES) {
                if (write)
                    g->take[*n_takes] = (nct_take){.to = e->to, .low = e->low, .high = e->high};
                ++*n_takes;
            } else {
                if (write)
                    g->call[*n_calls] = (nct_call){.rule = e->rule, .to = e->to};
                ++*n_calls;
            }
        }
        if (*n_takes + *n_calls > 2u * NCT_GRAMMAR_EDGES)
            return false;
    }
    return true;
}

/* Nodes that anything leads to but an edge that takes nothing: only these are ever stood on. */
static void mark_stops(nct_grammar *g, uint8_t *stop) {
    for (size_t i = 0; i < g->n_edges; i++)
        if (g->edge[i].rule != NCT_EDGE_SKIP)
            stop[g->edge[i].to] = 1;
    for (size_t i = 0; i < g->n_rules; i++)
        stop[g->rule[i].start] = 1;
}

static nct_status flatten_all(finishing *f) {
    nct_grammar *g = f->g;
    void *p = NULL;
    uint32_t n_takes = 0, n_calls = 0;
    memset(f->final, 0, g->n_nodes); /* from here on: nodes to flatten */
    mark_stops(g, f->final);
    NCT_TRY(alloc_u32(&g->first_take, g->n_nodes + 1, f->err));
    NCT_TRY(alloc_u32(&g->first_call, g->n_nodes + 1, f->err));
    for (int write = 0; write < 2; write++) {
        n_takes = n_calls = 0;
        for (uint32_t node = 0; node < g->n_nodes; node++) {
            g->first_take[node] = n_takes;
            g->first_call[node] = n_calls;
            if (!f->final[node] || g->least[node] == NCT_GRAMMAR_NEVER)
                continue;
            if (!flatten(f, node, &n_takes, &n_calls, write))
                return nct_fail(f->err, NCT_E_ARGUMENT, "its alternatives nest too deep: more than %d edges",
                                2 * NCT_GRAMMAR_EDGES);
            if ((g->ends[node] & 1) && g->first_take[node] == n_takes && g->first_call[node] == n_calls)
                g->ends[node] |= NCT_ENDS_ONLY;
        }
        if (write)
            break;
        NCT_TRY(nct_alloc(&p, n_takes, sizeof *g->take, f->err));
        g->take = p;
        NCT_TRY(nct_alloc(&p, n_calls, sizeof *g->call, f->err));
        g->call = p;
    }
    g->first_take[g->n_nodes] = n_takes;
    g->first_call[g->n_nodes] = n_calls;
    for (size_t i = 0; i < g->n_nodes; i++)
        g->ends[i] &= 3;
    return NCT_OK;
}

/* ------------------------------------------------------------------ left recursion */

/* Rules that rule r calls before it takes a byte, each told to `found`. */
static void first_calls(finishing *f, uint32_t r, void (*found)(finishing *f, uint32_t rule)) {
    const nct_grammar *g = f->g;
    size_t n = 0;
    f->epoch++;
    f->stack[n++] = g->rule[r].start;
    f->seen[g->rule[r].start] = f->epoch;
    while (n) {
        uint32_t at = f->stack[--n];
        for (uint32_t i = g->first_call[at]; i < g->first_call[at + 1]; i++) {
            const nct_call *call = &g->call[i];
            found(f, call->rule);
            if (g->least[g->rule[call->rule].start] == 0 && f->seen[call->to] != f->epoch) {
                f->seen[call->to] = f->epoch;
                f->stack[n++] = call->to;
            }
        }
    }
}

/* Ranks while ordering: calls that are not dealt with. */
static void count_call(finishing *f, uint32_t rule) { f->g->rule[rule].rank++; }
static void drop_call(finishing *f, uint32_t rule) {
    if (--f->g->rule[rule].rank == 0)
        f->heap[f->n_heap++] = rule;
}

static nct_status rank_rules(finishing *f) {
    nct_grammar *g = f->g;
    uint32_t *order = f->heap, n = 0; /* [n_nodes], and no rule lacks nodes */
    f->n_heap = 0;
    for (uint32_t r = 0; r < g->n_rules; r++)
        first_calls(f, r, count_call);
    for (uint32_t r = 0; r < g->n_rules; r++)
        if (g->rule[r].rank == 0)
            order[f->n_heap++] = r;
    for (; n < f->n_heap; n++)
        first_calls(f, order[n], drop_call);
    if (n < g->n_rules)
        return nct_fail(
            f->err, NCT_E_ARGUMENT,
            "a rule begins with itself (left recursion), directly or through others, before any text");
    for (uint32_t i = 0; i < n; i++)
        g->rule[order[i]].rank = i;
    return NCT_OK;
}

/* ------------------------------------------------------------------ all of it */

static void find_classes(nct_grammar *g) {
    bool begins[257] = {
        [0] = true, [' '] = true, [' ' + 1] = true}; /* a space is one of its own: it may be dropped */
    for (size_t i = 0; i < g->first_take[g->n_nodes]; i++)
        begins[g->take[i].low] = begins[g->take[i].high + 1] = true;
    g->n_classes = 0;
    for (int b = 0; b < 256; b++) {
        if (begins[b])
            g->class_byte[g->n_classes++] = (uint8_t)b;
        g->class_of[b] = (uint8_t)(g->n_classes - 1);
    }
}

/* Cuts edges to bytes that can be written. */
static void keep_available(nct_grammar *g, const bool *available) {
    size_t n = g->n_edges, kept = 0;
    for (size_t i = 0; i < n && !nct_grammar_failed(g); i++) {
        nct_edge e = g->edge[i];
        if (e.rule != NCT_EDGE_BYTES)
            continue;
        g->edge[i].rule = UINT32_MAX; /* to be removed */
        for (int b = e.low; b <= e.high; b++) {
            int last = b;
            if (!available[b])
                continue;
            while (last < e.high && available[last + 1])
                last++;
            nct_grammar_bytes(g, e.from, (uint8_t)b, (uint8_t)last, e.to);
            b = last;
        }
    }
    for (size_t i = 0; i < g->n_edges; i++)
        if (g->edge[i].rule != UINT32_MAX)
            g->edge[kept++] = g->edge[i];
    g->n_edges = kept;
}

static nct_status find_starts(const nct_grammar *g, uint32_t *rule_of_start, nct_error *err) {
    for (uint32_t i = 0; i < g->n_rules; i++) {
        if (rule_of_start[g->rule[i].start])
            return nct_fail(err, NCT_E_ARGUMENT, "two rules begin at one node");
        rule_of_start[g->rule[i].start] = i + 1;
    }
    return NCT_OK;
}

static nct_status finish(finishing *f, uint32_t root) {
    nct_grammar *g = f->g;
    void *p = NULL;
    NCT_TRY(sort_edges(g, FROM, g->n_nodes, &f->out, f->err));
    NCT_TRY(sort_edges(g, TO, g->n_nodes, &f->in, f->err));
    NCT_TRY(sort_edges(g, RULE, g->n_rules, &f->of, f->err));
    NCT_TRY(alloc_u32(&f->heap, g->n_nodes, f->err));
    NCT_TRY(alloc_u32(&f->place, g->n_nodes, f->err));
    NCT_TRY(alloc_u32(&f->seen, g->n_nodes, f->err));
    NCT_TRY(alloc_u32(&f->stack, g->n_nodes, f->err));
    NCT_TRY(alloc_u32(&g->least, g->n_nodes, f->err));
    NCT_TRY(nct_alloc(&p, g->n_nodes, 1, f->err));
    f->final = p;
    NCT_TRY(nct_alloc(&p, g->n_nodes, 1, f->err));
    g->ends = p;
    for (size_t i = 0; i < g->n_rules; i++)
        g->ends[g->rule[i].end] = 4;
    NCT_TRY(find_starts(g, f->seen, f->err));
    for (size_t i = 0; i < g->n_nodes; i++)
        g->least[i] = NCT_GRAMMAR_NEVER;
    find_least(f, f->seen);
    memset(f->seen, 0, g->n_nodes * sizeof *f->seen);
    if (g->least[g->rule[root].start] == NCT_GRAMMAR_NEVER)
        return nct_fail(f->err, NCT_E_ARGUMENT,
                        "it can produce nothing: every way through it goes on for ever, or "
                        "needs a character that the model's tokens cannot spell");
    NCT_TRY(flatten_all(f));
    NCT_TRY(rank_rules(f));
    find_classes(g);
    return NCT_OK;
}

nct_status nct_grammar_finish(nct_grammar *g, uint32_t root, const bool *available, nct_error *err) {
    finishing f = {.g = g, .err = err};
    if (available)
        keep_available(g, available);
    bool more = true;
    for (int pass = 0; pass < PASSES && more && !nct_grammar_failed(g); pass++)
        NCT_TRY(inline_pass(g, &more, err));
    if (nct_grammar_failed(g))
        return nct_fail(err, g->fault.status, "%s", g->fault.text);
    nct_status status = finish(&f, root);
    free_by_node(&f.out);
    free_by_node(&f.in);
    free_by_node(&f.of);
    nct_free(f.heap);
    nct_free(f.place);
    nct_free(f.seen);
    nct_free(f.stack);
    nct_free(f.final);
    nct_free(g->edge);
    g->edge = NULL;
    g->n_edges = g->edges_capacity = 0;
    return status;
}
