#include "sample/sampler.h"

#include <math.h>

#include "base/mem.h"
#include "base/rng.h"

typedef struct candidate {
    float logit;
    int32_t id;
    double weight; /* exp((logit - largest) / temperature) */
} candidate;

struct nct_sampler {
    size_t n_vocab;
    float *logit;         /* [n_vocab] after bias and penalties */
    candidate *candidate; /* [n_vocab] */
    uint32_t *count;      /* [n_vocab] occurrences, all zero between calls */
};

static nct_status open_rows(nct_sampler *s, nct_error *err) {
    void *p = NULL;
    NCT_TRY(nct_alloc(&p, s->n_vocab, sizeof *s->logit, err));
    s->logit = p;
    NCT_TRY(nct_alloc(&p, s->n_vocab, sizeof *s->candidate, err));
    s->candidate = p;
    NCT_TRY(nct_alloc(&p, s->n_vocab, sizeof *s->count, err));
    s->count = p;
    return NCT_OK;
}

nct_status nct_sampler_open(size_t n_vocab, nct_sampler **sampler, nct_error *err) {
    if (n_vocab == 0 || n_vocab > INT32_MAX)
        return nct_fail(err, NCT_E_ARGUMENT, "a vocabulary of %zu tokens cannot be sampled from", n_vocab);
    void *p = NULL;
    NCT_TRY(nct_alloc(&p, 1, sizeof(nct_sampler), err));
    nct_sampler *s = p;
    s->n_vocab = n_vocab;
    nct_status status = open_rows(s, err);
    if (status != NCT_OK) {
        nct_sampler_close(s);
        return status;
    }
    *sampler = s;
    return NCT_OK;
}

void nct_sampler_close(nct_sampler *s) {
    if (!s)
        return;
    nct_free(s->logit);
    nct_free(s->candidate);
    nct_free(s->count);
    nct_free(s);
}

/* Comparisons are written so that a NaN fails them. */
nct_status nct_sampling_check(const nct_sampling *s, size_t n_vocab, nct_error *err) {
    if (!(s->temperature >= 0 && s->temperature < INFINITY))
        return nct_fail(err, NCT_E_ARGUMENT, "temperature %g is out of range: expected 0 or more",
                        s->temperature);
    if (s->top_k < 0)
        return nct_fail(err, NCT_E_ARGUMENT, "top-k %d is out of range: expected 0 or more", s->top_k);
    if (!(s->top_p > 0))
        return nct_fail(err, NCT_E_ARGUMENT, "top-p %g is out of range: expected more than 0; 1 is off",
                        s->top_p);
    if (!(s->min_p >= 0 && s->min_p <= 1))
        return nct_fail(err, NCT_E_ARGUMENT, "min-p %g is out of range: expected 0 to 1", s->min_p);
    if (!(s->repeat_penalty > 0 && s->repeat_penalty < INFINITY))
        return nct_fail(err, NCT_E_ARGUMENT,
                        "repetition penalty %g is out of range: expected more than 0; 1 is off",
                        s->repeat_penalty);
    if (s->repeat_last_n < 0)
        return nct_fail(err, NCT_E_ARGUMENT, "repetition window %d is out of range: expected 0 or more",
                        s->repeat_last_n);
    if (!isfinite(s->presence_penalty) || !isfinite(s->frequency_penalty))
        return nct_fail(err, NCT_E_ARGUMENT, "presence penalty %g or frequency penalty %g is not a number",
                        s->presence_penalty, s->frequency_penalty);
    for (int i = 0; i < s->n_bias; i++) {
        if (s->bias_id[i] < 0 || (size_t)s->bias_id[i] >= n_vocab)
            return nct_fail(err, NCT_E_ARGUMENT, "logit bias names token %d of a vocabulary of %zu",
                            s->bias_id[i], n_vocab);
        if (!(s->bias_value[i] < INFINITY))
            return nct_fail(err, NCT_E_ARGUMENT, "logit bias of token %d is %g: expected a number",
                            s->bias_id[i], (double)s->bias_value[i]);
    }
    return NCT_OK;
}

/* ------------------------------------------------------------------ bias and penalties */

static void penalise(nct_sampler *s, const nct_sampling *o, const int32_t *history, size_t n_history,
                     size_t n_prompt) {
    if (o->repeat_penalty != 1) {
        size_t window = (size_t)o->repeat_last_n,
               first = window > 0 && window < n_history ? n_history - window : 0;
        float penalty = (float)o->repeat_penalty;
        for (size_t i = first; i < n_history; i++) {
            int32_t id = history[i];
            if (s->count[id]++ == 0)
                s->logit[id] = s->logit[id] > 0 ? s->logit[id] / penalty : s->logit[id] * penalty;
        }
        for (size_t i = first; i < n_history; i++)
            s->count[history[i]] = 0;
    }
    if (o->presence_penalty != 0 || o->frequency_penalty != 0) {
        for (size_t i = n_prompt; i < n_history; i++)
            s->count[history[i]]++;
        for (size_t i = n_prompt; i < n_history; i++) {
            uint32_t *count = &s->count[history[i]];
            if (*count > 0)
                s->logit[history[i]] -= (float)(o->presence_penalty + o->frequency_penalty * *count);
            *count = 0;
        }
    }
}

static void leave_out(nct_sampler *s, const uint64_t *allowed) {
    for (size_t i = 0; i < s->n_vocab; i += 64)
        for (uint64_t out = ~allowed[i / 64]; out; out &= out - 1) {
            size_t id = i + (size_t)__builtin_ctzll(out);
            if (id < s->n_vocab)
                s->logit[id] = -INFINITY;
        }
}

/* Copies the row, adds what the settings add, and finds the largest. */
static nct_status adjust(nct_sampler *s, const nct_sampling *o, const uint64_t *allowed, const float *logits,
                         const int32_t *history, size_t n_history, size_t n_prompt, size_t *best, nct_error *err) {
    for (size_t i = 0; i < s->n_vocab; i++) {
        if (!(logits[i] < INFINITY))
            return nct_fail(err, NCT_E_ARGUMENT, "the logit of token %zu at position %zu is %g", i, n_history,
                            (double)logits[i]);
        s->logit[i] = logits[i];
    }
    if (allowed)
        leave_out(s, allowed);
    for (int i = 0; i < o->n_bias; i++)
        s->logit[o->bias_id[i]] += o->bias_value[i];
    penalise(s, o, history, n_history, n_prompt);
    size_t most = 0;
    for (size_t i = 1; i < s->n_vocab; i++)
        if (s->logit[i] > s->logit[most])
            most = i;
    if (!isfinite(s->logit[most]))
        return nct_fail(err, NCT_E_ARGUMENT, "no token is left to choose from at position %zu", n_history);
    *best = most;
    return NCT_OK;
}

/* ------------------------------------------------------------------ candidates in order */

/* Descending logit, then ascending id: a total order, so every way of sorting gives the same. */
static bool before(const candidate *a, const candidate *b) {
    return a->logit != b->logit ? a->logit > b->logit : a->id < b->id;
}
static bool after(const candidate *a, const candidate *b) { return before(b, a); }

typedef bool order(const candidate *a, const candidate *b);

/* A binary heap whose root is first by `first`. */
static void sift_down(candidate *heap, size_t n, size_t i, order *first) {
    candidate moved = heap[i];
    for (size_t child; (child = 2 * i + 1) < n; i = child) {
        if (child + 1 < n && first(&heap[child + 1], &heap[child]))
            child++;
        if (!first(&heap[child], &moved))
            break;
        heap[i] = heap[child];
    }
    heap[i] = moved;
}

static void heapify(candidate *heap, size_t n, order *first) {
    for (size_t i = n / 2; i-- > 0;)
        sift_down(heap, n, i, first);
}

/* The k best in any order: a heap of k with the worst at its root; few of the others get in. */
static size_t take_top_k(nct_sampler *s, size_t k) {
    candidate *heap = s->candidate;
    for (size_t i = 0; i < k; i++)
        heap[i] = (candidate){.logit = s->logit[i], .id = (int32_t)i};
    heapify(heap, k, after);
    for (size_t i = k; i < s->n_vocab; i++) {
        candidate c = {.logit = s->logit[i], .id = (int32_t)i};
        if (before(&c, &heap[0])) {
            heap[0] = c;
            sift_down(heap, k, 0, after);
        }
    }
    return k;
}

/* Drops candidates lighter than `least`, keeping the order of the rest. */
static size_t drop_lighter(candidate *c, size_t n, double least) {
    size_t kept = 0;
    for (size_t i = 0; i < n; i++)
        if (c[i].weight >= least)
            c[kept++] = c[i];
    return kept;
}

/* The first candidates, best first, until their weights reach `mass`; they end up at the end of the array in
 * ascending order, so that the i-th best is c[n - 1 - i]. The last one needed has, with all that follow it,
 * at least total - mass, and none of these weighs more than it: so what is lighter than
 * (total - mass) / n is never needed, and few candidates are left to sort. */
static size_t sort_until(candidate *c, size_t *n, double mass, double total) {
    double least = (total - mass) / (double)*n * (1 - 1e-9); /* a little less, for rounding */
    *n = drop_lighter(c, *n, least);
    heapify(c, *n, before);
    size_t taken = 0;
    double sum = 0;
    while (taken < *n && (taken == 0 || sum < mass)) {
        candidate best = c[0];
        size_t last = *n - 1 - taken;
        c[0] = c[last];
        sift_down(c, last, 0, before);
        c[last] = best;
        sum += best.weight;
        taken++;
    }
    return taken;
}

static double sum_weights(const candidate *c, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += c[i].weight;
    return sum;
}

/* ------------------------------------------------------------------ the choice */

static int32_t draw(nct_sampler *s, const nct_sampling *o, float largest, double uniform) {
    candidate *c = s->candidate;
    size_t n = s->n_vocab;
    bool cut_k = o->top_k > 0 && (size_t)o->top_k < n;
    if (cut_k)
        n = take_top_k(s, (size_t)o->top_k);
    size_t n_left = 0; /* without what is banned */
    for (size_t i = 0; i < n; i++) {
        candidate k = cut_k ? c[i] : (candidate){.logit = s->logit[i], .id = (int32_t)i};
        if (!(k.logit > -INFINITY))
            continue;
        k.weight = exp(((double)k.logit - (double)largest) / o->temperature);
        c[n_left++] = k;
    }
    n = n_left;
    double total;
    size_t taken;
    if (o->top_p < 1) { /* the nucleus, of which min-p may cut the end */
        total = sum_weights(c, n);
        taken = sort_until(c, &n, o->top_p * total, total);
        size_t first = n - taken;
        while (first < n - 1 && c[first].weight < o->min_p)
            first++;
        taken = n - first;
        total = sum_weights(c + first, taken);
    } else { /* everything that min-p leaves, sorted only as far as the draw goes */
        if (o->min_p > 0)
            n = drop_lighter(c, n, o->min_p);
        total = sum_weights(c, n);
        taken = sort_until(c, &n, nextafter(uniform * total, INFINITY), total); /* until past it */
    }
    double mass = uniform * total, sum = 0;
    for (size_t i = 0; i < taken; i++) {
        sum += c[n - 1 - i].weight;
        if (sum > mass)
            return c[n - 1 - i].id;
    }
    return c[n - taken].id; /* rounding only: the sum fell short of the mass by a last bit */
}

nct_status nct_sampler_choose(nct_sampler *s, const nct_sampling *o, const float *logits,
                              const int32_t *history, size_t n_history, size_t n_prompt, uint32_t sample,
                              int32_t *id, nct_error *err) {
    return nct_sampler_choose_among(s, o, NULL, logits, history, n_history, n_prompt, sample, id, err);
}

nct_status nct_sampler_choose_among(nct_sampler *s, const nct_sampling *o, const uint64_t *allowed,
                                    const float *logits, const int32_t *history, size_t n_history, size_t n_prompt,
                                    uint32_t sample, int32_t *id, nct_error *err) {
    NCT_TRY(nct_sampling_check(o, s->n_vocab, err));
    for (size_t i = 0; i < n_history; i++)
        if (history[i] < 0 || (size_t)history[i] >= s->n_vocab)
            return nct_fail(err, NCT_E_ARGUMENT, "token id %d at %zu is outside the vocabulary of %zu",
                            history[i], i, s->n_vocab);
    size_t best = 0;
    NCT_TRY(adjust(s, o, allowed, logits, history, n_history, n_prompt, &best, err));
    if (o->temperature == 0)
        *id = (int32_t)best;
    else
        *id = draw(s, o, s->logit[best], nct_rng_uniform(o->seed, sample, n_history, 0));
    return NCT_OK;
}
