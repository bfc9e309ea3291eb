/* One answer under a constraint. */
#include "constrain/constraint.h"

struct nct_matcher {
    nct_constraint *c;
    nct_match_think think;
    bool strip;
    char *prefix;
    size_t n_prefix;
    size_t n_max;
    int32_t *token; /* [n] taken so far; `end` is not among them */
    size_t n, capacity;
    bool ended;
    uint32_t set, epoch;
    int32_t *path; /* [n_path] a way to the end that was looked for, where the shortest text was none */
    size_t n_path;
};

static nct_status fault_of(const nct_constraint *c, nct_error *err) {
    const nct_error *fault = c->fault.status != NCT_OK ? &c->fault : nct_states_fault(c->states);
    return nct_fail(err, fault->status, "%s", fault->text);
}

/* Stands where the tokens lead to, whatever was forgotten. */
static nct_status find_place(nct_matcher *m, nct_error *err) {
    nct_constraint *c = m->c;
    nct_constraint_tidy(c);
    if (m->set && m->epoch == c->epoch)
        return NCT_OK;
    m->epoch = c->epoch;
    m->set = nct_states_begin(c->states, c->rule[m->think], m->strip);
    for (size_t i = 0; i < m->n_prefix && m->set; i++)
        m->set = nct_states_step(c->states, m->set, (uint8_t)m->prefix[i]);
    for (size_t i = 0; i < m->n && m->set; i++)
        m->set = nct_constraint_follow(c, m->set, m->token[i]);
    return nct_constraint_failed(c) ? fault_of(c, err) : NCT_OK;
}

static nct_status refuse(const nct_matcher *m, uint32_t least, bool far, nct_error *err) {
    return nct_fail(err, NCT_E_LENGTH,
                    "the constraint cannot be completed in %zu token%s%s: its shortest text takes %u",
                    m->n_max, m->n_max == 1 ? "" : "s", far ? ", as far as could be seen" : "", least);
}

static nct_status open_matcher(nct_matcher *m, const nct_matcher_options *o, nct_error *err) {
    bool far = false;
    m->think = o->think;
    m->strip = o->strip && m->c->pieces->strips;
    m->n_max = o->n_max;
    m->n_prefix = o->n_prefix;
    if (o->n_prefix)
        NCT_TRY(nct_copy_string(&m->prefix, o->prefix, o->n_prefix, err));
    NCT_TRY(find_place(m, err));
    if (!m->set)
        return nct_fail(err, NCT_E_ARGUMENT,
                        "the beginning that was given does not agree with the constraint");
    uint32_t least = nct_constraint_tokens(m->c, m->set);
    if (!m->c->is_warm[m->think])
        nct_constraint_warm(m->c, m->think != NCT_MATCH_ANSWER);
    m->c->is_warm[m->think] = true;
    if (least > m->n_max)
        NCT_TRY(nct_constraint_search(m->c, m->set, m->n_max, &m->path, &m->n_path, &far, err));
    if (nct_constraint_failed(m->c))
        return fault_of(m->c, err);
    return least > m->n_max && m->n_path == 0 ? refuse(m, least, far, err) : NCT_OK;
}

nct_status nct_matcher_open(nct_constraint *constraint, const nct_matcher_options *options,
                            nct_matcher **matcher, nct_error *err) {
    void *p = NULL;
    NCT_TRY(nct_alloc(&p, 1, sizeof(nct_matcher), err));
    nct_matcher *m = p;
    m->c = constraint;
    nct_status status = open_matcher(m, options, err);
    if (status != NCT_OK) {
        nct_matcher_close(m);
        return status;
    }
    *matcher = m;
    return NCT_OK;
}

void nct_matcher_close(nct_matcher *m) {
    if (!m)
        return;
    nct_free(m->prefix);
    nct_free(m->token);
    nct_free(m->path);
    nct_free(m);
}

/* The path goes on from here, and there is time for the rest of it. */
static bool is_on_path(const nct_matcher *m) {
    return m->n < m->n_path && (m->n == 0 || memcmp(m->token, m->path, m->n * sizeof *m->path) == 0);
}

nct_status nct_matcher_mask(nct_matcher *m, const uint64_t **mask, nct_error *err) {
    if (m->ended || m->n >= m->n_max)
        return nct_fail(err, NCT_E_ARGUMENT, "the answer is over after %zu tokens", m->n);
    NCT_TRY(find_place(m, err));
    uint64_t *allowed = nct_constraint_mask(m->c, m->set, m->n_max - m->n);
    if (!allowed)
        return fault_of(m->c, err);
    if (is_on_path(m))
        nct_bit_set(allowed, m->path[m->n]);
    *mask = allowed;
    return NCT_OK;
}

static bool is_eos(const nct_constraint *c, int32_t id) {
    for (size_t i = 0; i < c->pieces->n_eos; i++)
        if (c->pieces->eos[i] == id)
            return true;
    return false;
}

nct_status nct_matcher_take(nct_matcher *m, int32_t id, nct_error *err) {
    nct_constraint *c = m->c;
    void *p = m->token;
    NCT_TRY(find_place(m, err));
    if (m->ended)
        return nct_fail(err, NCT_E_ARGUMENT, "token %d comes after the end of the answer", id);
    if (is_eos(c, id) && nct_states_set(c->states, m->set)->flags & NCT_SET_ACCEPTS) {
        m->ended = true;
        return NCT_OK;
    }
    uint32_t next = nct_constraint_follow(c, m->set, id);
    if (nct_constraint_failed(c))
        return fault_of(c, err);
    if (!next)
        return nct_fail(err, NCT_E_ARGUMENT, "token %d does not agree with the constraint", id);
    NCT_TRY(nct_grow(&p, &m->capacity, m->n + 1, sizeof *m->token, err));
    m->token = p;
    m->token[m->n++] = id;
    m->set = next;
    return NCT_OK;
}

bool nct_matcher_has_room(nct_matcher *m, const int32_t *ids, size_t n_ids) {
    if (m->ended || find_place(m, NULL) != NCT_OK)
        return false;
    uint32_t set = m->set;
    for (size_t i = 0; i < n_ids && set; i++)
        set = nct_constraint_follow(m->c, set, ids[i]);
    uint32_t least = set ? nct_constraint_tokens(m->c, set) : NCT_GRAMMAR_NEVER;
    return set && m->n + n_ids + (least ? least : 1) <= m->n_max && !nct_constraint_failed(m->c);
}

bool nct_matcher_is_done(nct_matcher *m) {
    if (m->ended)
        return true;
    if (find_place(m, NULL) != NCT_OK || !(nct_states_set(m->c->states, m->set)->flags & NCT_SET_ACCEPTS))
        return false;
    if (!(nct_states_set(m->c->states, m->set)->flags & NCT_SET_GOES_ON))
        return true;
    if (m->c->has_eos || m->n >= m->n_max)
        return false;
    const uint64_t *mask; /* without a token that ends it, it also ends where nothing fits any more */
    uint64_t any = 0;
    if (nct_matcher_mask(m, &mask, NULL) != NCT_OK)
        return false;
    for (size_t i = 0; i < m->c->n_words; i++)
        any |= mask[i];
    return any == 0;
}

bool nct_matcher_is_complete(nct_matcher *m) {
    return m->ended ||
           (find_place(m, NULL) == NCT_OK && nct_states_set(m->c->states, m->set)->flags & NCT_SET_ACCEPTS);
}
