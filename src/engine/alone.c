#include "engine/alone.h"

struct nct_alone {
    nct_session *session; /* whose cache and tokens are a timeline's during a round, and nobody's between */
    nct_cache cache;      /* its own, which stays empty */
    uint64_t which;
    bool begun;     /* the drafter knows of a timeline, `which`: .. */
    size_t held;    /* .. so many tokens, when it was lent last */
    bool answering; /* its answer has begun */
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

/* Lends a timeline that held so many tokens before the call. Of another one the drafter knows nothing; nor has it the row
 * of the last token of one that went on meanwhile. */
static void lend(nct_alone *a, const nct_timeline *t, size_t held) {
    nct_session *s = a->session;
    if (!a->begun || a->which != t->which) {
        s->cache.length = 0;
        nct_session_cut_draft(s);
        s->work.rope = t->rope;
        if (s->drafter->use_rope)
            s->drafter->use_rope(s->draft, t->rope);
        s->has_row = false;
        s->draft_s = s->prompt_s = 0;
        a->which = t->which;
        a->begun = true;
        a->answering = false;
    }
    s->has_row = s->has_row && a->held == held;
    s->cache = *t->cache;
    s->tokens = t->tokens;
    s->tokens_capacity = t->capacity;
}

static void take_back(nct_alone *a) {
    nct_session *s = a->session;
    a->held = s->cache.length;
    s->cache = a->cache;
    s->tokens = NULL;
    s->tokens_capacity = 0;
}

nct_draft_row nct_alone_reads(const nct_alone *a) { return a->session->drafter->row; }

void nct_alone_tell(nct_alone *a, const nct_timeline *t, const nct_work *work, size_t n, double seconds) {
    nct_session *s = a->session;
    const float *rows = s->drafter->row == NCT_ROW_TAPS ? work->taps : work->x;
    lend(a, t, t->cache->length - n);
    s->prompt_s += seconds;
    nct_session_tell_rows(s, rows, t->cache->length - n, n, NULL); /* where it fails, guesses are worse */
    take_back(a);
}

static nct_status begin(nct_alone *a, nct_error *err) {
    nct_session *s = a->session;
    NCT_TRY(nct_session_begin_draft(s, err));
    nct_adapt_begin(&s->adapt, s->draft_s, s->prompt_s);
    a->answering = true;
    return NCT_OK;
}

nct_status nct_alone_round(nct_alone *a, nct_timeline *t, const nct_generate_options *o, bool *over,
                           nct_error *err) {
    nct_session *s = a->session;
    nct_accepted accepted = {0};
    nct_status status = NCT_OK;
    size_t held = t->cache->length;
    *over = false;
    lend(a, t, held);
    int32_t root = t->tokens[t->n_tokens - 1];
    if (!a->answering)
        status = begin(a, err);
    if (status == NCT_OK)
        status = nct_session_round(s, root, o, &accepted, err);
    /* a root that was fed and found no successor is like one that was not */
    if (status != NCT_OK && s->cache.length > held) {
        s->cache.length = held;
        nct_session_cut_draft(s);
        s->has_row = false;
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
    take_back(a);
    return status;
}

void nct_alone_count(const nct_alone *a, uint64_t *n_guessed, uint64_t *n_accepted) {
    *n_guessed = a->session->report.n_guessed;
    *n_accepted = a->session->report.n_accepted;
}
