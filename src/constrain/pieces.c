#include "constrain/pieces.h"

#include <stdlib.h>

#include "text/stream.h"

typedef struct entry {
    const char *text;
    uint32_t n;
    int32_t id;
} entry;

static int by_text(const void *a, const void *b) {
    const entry *x = a, *y = b;
    int order = memcmp(x->text, y->text, x->n < y->n ? x->n : y->n);
    if (order != 0)
        return order;
    return x->n != y->n ? (x->n > y->n) - (x->n < y->n) : (x->id > y->id) - (x->id < y->id);
}

static bool is_eos(const nct_pieces *p, int32_t id) {
    for (size_t i = 0; i < p->n_eos; i++)
        if (p->eos[i] == id)
            return true;
    return false;
}

/* The bytes of all tokens, one behind the other. */
static nct_status spell_all(nct_pieces *p, const nct_vocab *v, nct_error *err) {
    nct_bytes text = {0};
    char spelled[NCT_PIECE_MAX_BYTES];
    void *q = NULL;
    NCT_TRY(nct_alloc(&q, p->n_vocab + 1, sizeof *p->text_off, err));
    p->text_off = q;
    nct_status status = nct_bytes_add(&text, "", 0, err);
    for (size_t id = 0; id < p->n_vocab && status == NCT_OK; id++) {
        const nct_piece *piece = nct_vocab_piece(v, (int32_t)id);
        p->text_off[id] = (uint32_t)text.n;
        if (piece && piece->kind != NCT_PIECE_SPECIAL && (int32_t)id != v->unk && !is_eos(p, (int32_t)id))
            status = nct_bytes_add(&text, spelled, nct_text_spell(v, piece, spelled), err);
    }
    p->text_off[p->n_vocab] = (uint32_t)text.n;
    p->text = text.data;
    return status;
}

static nct_status build(nct_pieces *p, const entry *e, size_t n, nct_error *err) {
    void *q = NULL;
    size_t n_bytes = p->text_off[p->n_vocab], open[NCT_PIECE_MAX_BYTES + 1] = {0}, depth = 0;
    NCT_TRY(nct_alloc(&q, n_bytes + 2, sizeof *p->node, err));
    p->node = q;
    NCT_TRY(nct_alloc(&q, n, sizeof *p->token, err));
    p->token = q;
    p->n_nodes = 1; /* the root; open[d] is the node of depth d on the way to the last one */
    for (size_t i = 0; i < n; i++) {
        size_t same = 0, shorter = i && e[i - 1].n < e[i].n ? e[i - 1].n : e[i].n;
        while (i && same < shorter && e[i - 1].text[same] == e[i].text[same])
            same++;
        for (; depth > same; depth--)
            p->node[open[depth]].end = (uint32_t)p->n_nodes;
        for (; depth < e[i].n; depth++) {
            open[depth + 1] = p->n_nodes;
            p->node[p->n_nodes++] = (nct_piece_node){.first_token = (uint32_t)p->n_tokens,
                                                     .depth = (uint16_t)(depth + 1),
                                                     .byte = (uint8_t)e[i].text[depth]};
        }
        p->token[p->n_tokens++] = e[i].id;
        p->longest = e[i].n > p->longest ? e[i].n : p->longest;
    }
    for (; depth > 0; depth--)
        p->node[open[depth]].end = (uint32_t)p->n_nodes;
    p->node[0].end = (uint32_t)p->n_nodes;
    p->node[p->n_nodes] = (nct_piece_node){.end = (uint32_t)p->n_nodes, .first_token = (uint32_t)p->n_tokens};
    return NCT_OK;
}

static nct_status make(nct_pieces *p, const nct_vocab *v, nct_error *err) {
    void *q = NULL;
    size_t n = 0;
    NCT_TRY(spell_all(p, v, err));
    NCT_TRY(nct_alloc(&q, p->n_vocab, sizeof(entry), err));
    entry *e = q;
    for (size_t id = 0; id < p->n_vocab; id++)
        if (p->text_off[id + 1] > p->text_off[id])
            e[n++] = (entry){p->text + p->text_off[id], p->text_off[id + 1] - p->text_off[id], (int32_t)id};
    if (n)
        qsort(e, n, sizeof *e, by_text);
    nct_status status = build(p, e, n, err);
    nct_free(e);
    return status;
}

nct_status nct_pieces_open(const nct_vocab *vocab, size_t n_vocab, const int32_t *eos, size_t n_eos,
                           nct_pieces **pieces, nct_error *err) {
    void *q = NULL;
    NCT_TRY(nct_alloc(&q, 1, sizeof(nct_pieces), err));
    nct_pieces *p = q;
    p->n_vocab = n_vocab;
    p->strips = vocab->strip_left;
    for (size_t i = 0; i < n_eos && p->n_eos < sizeof p->eos / sizeof *p->eos; i++)
        if (eos[i] >= 0 && (size_t)eos[i] < n_vocab)
            p->eos[p->n_eos++] = eos[i];
    nct_status status = make(p, vocab, err);
    if (status != NCT_OK) {
        nct_pieces_close(p);
        return status;
    }
    *pieces = p;
    return NCT_OK;
}

void nct_pieces_close(nct_pieces *p) {
    if (!p)
        return;
    nct_free(p->node);
    nct_free(p->token);
    nct_free(p->text_off);
    nct_free(p->text);
    nct_free(p);
}
