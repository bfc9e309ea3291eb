/* Constraints over the tokens of an engine. */
#include <math.h>
#include <string.h>

#include "base/utf8.h"
#include "constrain/constraint.h"
#include "engine/engine.h"

enum { TEXT_BYTES = 1 << 20 }; /* a larger schema or grammar is refused */

/* Tokens that a bias of minus infinity bans: [vocabulary / 64], or NULL. */
static nct_status list_banned(const nct_engine *e, const nct_sampling *s, uint64_t **banned, nct_error *err) {
    size_t n_vocab = e->model.config.n_vocab;
    void *p = NULL;
    *banned = NULL;
    for (int i = 0; s && i < s->n_bias; i++) {
        int32_t id = s->bias_id[i];
        if (!isinf(s->bias_value[i]) || s->bias_value[i] > 0 || id < 0 || (size_t)id >= n_vocab)
            continue;
        if (!*banned)
            NCT_TRY(nct_alloc(&p, (n_vocab + 63) / 64, sizeof **banned, err));
        *banned = p;
        nct_bit_set(*banned, id);
    }
    return NCT_OK;
}

static uint32_t add_source(nct_grammar *g, const nct_constraint_source *o) {
    const char *text = o->text ? o->text : "";
    if (o->n_bytes > TEXT_BYTES)
        nct_grammar_fail(g, NCT_E_ARGUMENT, "%zu bytes are more than the %d that are taken", o->n_bytes,
                         TEXT_BYTES);
    else if (!nct_utf8_valid(text, o->n_bytes))
        nct_grammar_fail(g, NCT_E_ARGUMENT, "it is not UTF-8");
    else if (o->n_bytes && memchr(text, 0, o->n_bytes))
        nct_grammar_fail(g, NCT_E_ARGUMENT, "it holds a NUL");
    if (nct_grammar_failed(g))
        return 0;
    switch (o->kind) {
    case NCT_CONSTRAINT_CHOICE:
        return nct_grammar_add_choice(g, text, o->n_bytes);
    case NCT_CONSTRAINT_JSON:
        return nct_grammar_add_json(g);
    case NCT_CONSTRAINT_SCHEMA:
        return nct_grammar_add_schema(g, text, o->n_bytes);
    case NCT_CONSTRAINT_GBNF:
        return nct_grammar_add_gbnf(g, text, o->n_bytes);
    }
    nct_grammar_fail(g, NCT_E_ARGUMENT, "there is no constraint of kind %d", (int)o->kind);
    return 0;
}

nct_status nct_constraint_open(nct_engine *e, const nct_constraint_source *source,
                               nct_constraint **constraint, nct_error *err) {
    nct_grammar grammar = {0};
    uint64_t *banned = NULL;
    if (!e->pieces)
        NCT_TRY(nct_pieces_open(e->vocab, e->model.config.n_vocab, e->eos, e->n_eos, &e->pieces, err));
    NCT_TRY(list_banned(e, source->sampling, &banned, err));
    uint32_t root = add_source(&grammar, source);
    nct_status status = nct_constraint_make(e->pieces, banned, &grammar, root, source->name, constraint, err);
    nct_free(banned);
    return status;
}
