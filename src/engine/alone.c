#include "engine/alone.h"

struct nct_alone {
    nct_session *session; /* whose cache and tokens are a timeline's during a round, and nobody's between */
    nct_cache cache;      /* its own, which stays empty */
    uint64_t which;
    bool begun;
};

nct_status nct_alone_open(nct_engine *engine, const nct_session_options *options, nct_alone **alone,
                          nct_error *err) {
    nct_session_options o = *options;
    void *p = NULL;
    *alone = NULL;
    if (!o.drafter || (o.n_guess != NCT_GUESS_AUTO && o.n_guess < 2))
        return NCT_OK;
    o.chunk = 1; /* it reads no prompts */
    o.kv_folder = NULL;
    o.kv_mapped = false;
    o.n_expected = INT32_MAX; /* as long as any */
    NCT_TRY(nct_alloc(&p, 1, sizeof(nct_alone), err));
    nct_alone *a = p;
    nct_status status = nct_session_open(engine, &o, &a->session, err);
    if (status == NCT_OK && a->session->row_floats)
        status = nct_fail(err, NCT_E_ARGUMENT,
                          "a draft head reads along with a prompt, and a batch reads several at a time");
    if (status != NCT_OK || !a->session->drafter) {
        nct_alone_close(a);
        return status;
    }
    a->cache = a->session->cache;
    *alone = a;
    return NCT_OK;
}

void nct_alone_close(nct_alone *a) {
    if (!a)
        return;
    nct_session_close(a->session);
    nct_free(a);
}

size_t nct_alone_most(const nct_alone *a) { return a->session->n_guess; }

/* Another timeline: the drafter knows nothing of it. */
static nct_status begin(nct_alone *a, const nct_timeline *t, nct_error *err) {
    nct_session *s = a->session;
    s->cache.length = 0;
    nct_session_cut_draft(s);
    s->cache.length = t->cache->length;
    s->work.rope = t->rope;
    a->which = t->which;
    a->begun = true;
    NCT_TRY(nct_session_begin_draft(s, err));
    nct_adapt_begin(&s->adapt, 0, 0);
    return NCT_OK;
}

nct_status nct_alone_round(nct_alone *a, nct_timeline *t, const nct_generate_options *o, bool *over,
                           nct_error *err) {
    nct_session *s = a->session;
    nct_accepted accepted = {0};
    nct_status status = NCT_OK;
    *over = false;
    s->cache = *t->cache;
    s->tokens = t->tokens;
    s->tokens_capacity = t->capacity;
    int32_t root = t->tokens[t->n_tokens - 1];
    if (!a->begun || a->which != t->which)
        status = begin(a, t, err);
    if (status == NCT_OK)
        status = nct_session_round(s, root, o, &accepted, err);
    /* a root that was fed and found no successor is like one that was not */
    size_t held = t->cache->length;
    if (status != NCT_OK && s->cache.length > held) {
        s->cache.length = held;
        nct_session_cut_draft(s);
    }
    *t->cache = s->cache;
    t->tokens = s->tokens;
    t->capacity = s->tokens_capacity;
    if (status == NCT_OK) {
        *over = accepted.stopped;
        t->n_tokens = s->cache.length + 1; /* there is room: a round has grown tokens by its tree and one */
        t->tokens[t->n_tokens - 1] = accepted.token[accepted.n - 1];
    } else {
        t->tokens[t->n_tokens - 1] = root;
    }
    s->cache = a->cache;
    s->tokens = NULL;
    s->tokens_capacity = 0;
    return status;
}

void nct_alone_count(const nct_alone *a, uint64_t *n_guessed, uint64_t *n_accepted) {
    *n_guessed = a->session->report.n_guessed;
    *n_accepted = a->session->report.n_accepted;
}
