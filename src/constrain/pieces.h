/** What tokens spell, as a tree of bytes: which of them a state allows is found in one walk.
 *
 *  A token is here if it puts bytes into an answer and does not end it: ordinary pieces, byte pieces, added tokens
 *  that are shown. Its bytes are those that decoding shows for it (text/stream.h), a leading space included.
 *  Read-only once open.
 */
#ifndef NCT_CONSTRAIN_PIECES_H
#define NCT_CONSTRAIN_PIECES_H

#include "text/vocab.h"

/** A node, in the order of its bytes, before its children; siblings follow each other's `end`. */
typedef struct nct_piece_node {
    uint32_t end;         /* behind its subtree */
    uint32_t first_token; /* its tokens are token[first_token] up to those of the next node */
    uint16_t depth;       /* bytes up to here, this one included */
    uint8_t byte;
} nct_piece_node;

typedef struct nct_pieces {
    nct_piece_node *node; /* [n_nodes + 1]; node 0 is the root, the last one only ends the tokens */
    size_t n_nodes;
    int32_t *token;
    size_t n_tokens, n_vocab; /* ids are below n_vocab */
    size_t longest;           /* bytes */
    bool strips;              /* decoding drops the first space of a text */
    uint32_t *text_off;       /* [n_vocab + 1]; of ids that are not here, nothing */
    char *text;
    int32_t eos[NCT_VOCAB_MAX_EOS * 4 + 8];
    size_t n_eos;
} nct_pieces;

/** eos [n_eos]: ids that end an answer. n_vocab: of the logits. */
nct_status nct_pieces_open(const nct_vocab *vocab, size_t n_vocab, const int32_t *eos, size_t n_eos,
                           nct_pieces **pieces, nct_error *err);
void nct_pieces_close(nct_pieces *pieces); /* NULL is fine */

/** The child with this byte, 0 if there is none. */
static inline uint32_t nct_pieces_child(const nct_pieces *p, uint32_t node, uint8_t byte) {
    for (uint32_t i = node + 1; i < p->node[node].end; i = p->node[i].end)
        if (p->node[i].byte >= byte)
            return p->node[i].byte == byte ? i : 0;
    return 0;
}

#endif
