/** Draft heads on disk: a directory with config.json and *.safetensors that holds one layer and what leads into it,
 *  but no model (speculative-decoding.md 1 to 3). Names are CPM.cu's (layers.0., also under model., as GPTQ files have
 *  them), vLLM's (model.eagle_layers.0.) or EAGLE-3's (midlayer.); matrices are plain numbers, GPTQ or Marlin. Which
 *  tensors exist decides what kind of head it is. Embeddings stored beside are not looked at: the target's are used.
 */
#ifndef NCT_FORMAT_DRAFT_H
#define NCT_FORMAT_DRAFT_H

#include "format/config.h"

typedef struct nct_draft_file nct_draft_file;

typedef enum nct_draft_kind {
    NCT_DRAFT_EAGLE,  /* MiniCPM4's, after EAGLE-1 and 2: one hidden state in, the target's head */
    NCT_DRAFT_EAGLE3, /* three hidden states in, a head, a norm and a vocabulary of its own */
} nct_draft_kind;

/** What a tensor of a draft head is for. */
typedef enum nct_draft_role {
    NCT_DRAFT_FC,             /* EAGLE: [hidden, 2 hidden], embedding first; EAGLE-3: [hidden, 3 hidden] */
    NCT_DRAFT_NORM_EMBEDDING, /* of the embedding */
    NCT_DRAFT_NORM_HIDDEN,    /* of the hidden state */
    NCT_DRAFT_NORM_INPUT,     /* EAGLE: before attention */
    NCT_DRAFT_NORM_POST,      /* before the feed-forward branch */
    NCT_DRAFT_NORM_FINAL,     /* EAGLE-3: before its head */
    NCT_DRAFT_Q,
    NCT_DRAFT_K,
    NCT_DRAFT_V,
    NCT_DRAFT_O,
    NCT_DRAFT_GATE,
    NCT_DRAFT_UP,
    NCT_DRAFT_DOWN,
    NCT_DRAFT_HEAD, /* EAGLE-3 */
} nct_draft_role;

/** Opens a directory, or a .safetensors file beside its config.json. Of a directory without config.json the first folder
 *  in it that has one is opened, as MiniCPM4.1's head is published. NCT_E_FORMAT lists what was found where it is no
 *  draft head. The caller closes the file once its matrices are packed. */
nct_status nct_draft_file_open(const char *path, nct_draft_file **file, nct_error *err);
void nct_draft_file_close(nct_draft_file *file); /* NULL is fine */

/** The same of files in memory, which outlive it: the text of config.json and one safetensors file. */
nct_status nct_draft_file_parse(const char *name, const char *config, size_t n_config, const uint8_t *data,
                                size_t n_bytes, nct_draft_file **file, nct_error *err);

nct_draft_kind nct_draft_file_kind(const nct_draft_file *file);
const nct_draft_config *nct_draft_file_config(const nct_draft_file *file);
const char *nct_draft_file_path(const nct_draft_file *file);
/** The directory it lies in; NULL where it was parsed from memory. */
const char *nct_draft_file_directory(const nct_draft_file *file);

/** Finds the matrix of a role and checks its shape (norms: n_rows = 1). `stored` borrows from the file; close it with
 *  nct_stored_close. NCT_E_FORMAT names the tensor that is missing, with a list of those there are, or of another shape;
 *  NCT_E_UNSUPPORTED one that is not readable, or that has a bias. */
nct_status nct_draft_file_matrix(nct_draft_file *file, nct_draft_role role, size_t n_rows, size_t n_cols,
                                 nct_stored *stored, nct_error *err);

/** The bias of NCT_DRAFT_FC [n]; *found false: it has none. */
nct_status nct_draft_file_bias(nct_draft_file *file, size_t n, nct_stored *stored, bool *found,
                               nct_error *err);

/** The target's id of every row of an EAGLE-3 head, ascending, from the offsets d2t, checked against t2d where that is
 *  stored; NULL where there is no d2t: the rows are the vocabulary. Freed with nct_free. */
nct_status nct_draft_file_ids(const nct_draft_file *file, size_t n_rows, size_t n_vocab, int32_t **ids,
                              nct_error *err);

#endif
