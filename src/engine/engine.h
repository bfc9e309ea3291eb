/** Opens and owns kernels, pool, weights and tokenizer. Read-only once open. */
#ifndef NCT_ENGINE_ENGINE_H
#define NCT_ENGINE_ENGINE_H

#include "constrain/pieces.h"
#include "model/forward.h"
#include "noctule.h"
#include "spec/drafter.h"
#include "text/chat.h"
#include "text/vocab.h"

struct nct_engine {
    nct_kernels kernels;
    nct_pool *pool;                /* of the larger number of threads; each call uses what it is for */
    int n_threads, n_threads_batch;
    nct_model model;
    nct_vocab *vocab;
    nct_checkpoint *resident;      /* whose files hold the packed weights, or NULL: they are in memory */
    const nct_chat_template *chat; /* NULL: the checkpoint has none */
    const char *chat_warning;      /* what the renderer in use is not sure of, or NULL */
    nct_exec exec;                 /* without scratch: each session brings its own */
    int32_t eos[32];               /* of the configuration and the tokenizer */
    size_t n_eos;
    int32_t bos;                   /* -1: none */
    nct_sampling sampling;         /* defaults */
    nct_huge_pages huge;
    nct_head head;
    const nct_drafter *drafter; /* whom the draft's weights are for; NULL: none were loaded */
    void *draft;
    nct_pieces *pieces; /* what tokens spell; made for the first constraint */
    double load_s;
    char *path, *name;
    char architecture[32], container[32], weights_label[80], numa_label[48];
};

/** The type that `asked` comes to. */
nct_kv_type nct_engine_kv_type(const nct_engine *engine, nct_kv asked);
/** Bytes of keys and values of one token. */
uint64_t nct_engine_kv_bytes(const nct_engine *engine, nct_kv_type keys, nct_kv_type values);

#endif
