/** Draft heads on disk and the targets they guess for in memory, made of the same numbers in every encoding. Failures
 *  fail the test. */
#ifndef NCT_TEST_HEADS_H
#define NCT_TEST_HEADS_H

#include "format/draft.h"
#include "model/forward.h"

/** Whose names the tensors have. EAGLE-3 heads: CPMCU is midlayer., VLLM layers.0., GPTQ model.layers.0. */
typedef enum nct_test_names { NCT_NAMES_CPMCU, NCT_NAMES_VLLM, NCT_NAMES_GPTQ } nct_test_names;
typedef enum nct_test_codes { NCT_HEAD_F32, NCT_HEAD_BF16, NCT_HEAD_GPTQ, NCT_HEAD_MARLIN } nct_test_codes;

/** Whole numbers q from -5 to 4 times scales of four significant bits, per row and 32 columns, so that every encoding
 *  holds the same. `value` overrides them for plain numbers (norms have one row). */
typedef struct nct_test_head {
    nct_draft_kind kind;
    uint64_t seed;
    size_t hidden, intermediate, heads, kv_heads, head_dim, vocab;
    size_t draft_vocab; /* EAGLE-3 */
    nct_test_names names;
    nct_test_codes codes;
    bool bias;          /* EAGLE: fc has one */
    bool narrow_ids;    /* d2t as I32 */
    const char *config; /* more of config.json, from a comma on; NULL: nothing */
    const char *file;   /* name of the weights; NULL: model.safetensors */
    float (*value)(const struct nct_test_head *head, nct_draft_role role, size_t row, size_t col);
} nct_test_head;

/** A head of 128 x 256, 4 heads of 32 that share 2, 320 tokens, of which an EAGLE-3 head knows 200. */
nct_test_head nct_test_head_make(nct_draft_kind kind);

/** A head that fits a model, of random numbers; an EAGLE-3 head knows half of the tokens. */
nct_test_head nct_test_head_for(const nct_config *target, nct_draft_kind kind);

void nct_test_head_shape(const nct_test_head *head, nct_draft_role role, size_t *n_rows, size_t *n_cols);
float nct_test_head_weight(const nct_test_head *head, nct_draft_role role, size_t row, size_t col);
float nct_test_head_bias(const nct_test_head *head, size_t i);
/** The token of a row of an EAGLE-3 head. */
int32_t nct_test_head_id(const nct_test_head *head, size_t row);
/** True if the kind of head has the role. */
bool nct_test_head_has(const nct_test_head *head, nct_draft_role role);

/** Writes a directory (made if it does not exist). */
void nct_test_head_write(const char *dir, const nct_test_head *head);

/** A target without layers: embedding, head and constants. embedding and output [vocab][hidden]; NULL: random ones.
 *  Closed with nct_test_target_close. */
void nct_test_target_open(nct_model *target, const nct_test_head *head, size_t n_layers,
                          const float *embedding, const float *output, nct_pool *pool);
void nct_test_target_close(nct_model *target);

#endif
