/** One item of a batch: what a record asks for, and what came of it. */
#ifndef NCT_CLI_BATCH_ITEM_H
#define NCT_CLI_BATCH_ITEM_H

#include "base/json.h"
#include "base/sha256.h"
#include "cli/batch_seen.h"
#include "cli/batch_source.h"
#include "cli/input.h"
#include "cli/logprobs.h"
#include "cli/result.h"
#include "cli/sources.h"
#include "cli/talk.h"

/** What all items of a batch have in common. */
typedef struct nct_recipe {
    const nct_cli *cli;
    nct_cli quiet; /* a copy whose errors go to `said`: they are those of the item at hand */
    nct_bytes said;
    nct_engine *engine;
    nct_model_info info;
    char digest[NCT_DIGEST_HEX]; /* of the model, "" where there is none */
    int dense_len;               /* of -X; 0: the model's */
    bool plain;                  /* no template */
    nct_talk talk;
    nct_bytes instruction; /* -p */
    nct_bytes template;    /* -T */
    nct_bytes prefix;      /* --assistant */
    size_t n_samples;      /* answers to each record .. */
    uint32_t sample;       /* .. and which one the next item is */
    nct_bytes last_id;     /* of the item before, if it is not the first of them */
    nct_sampling sampling;
    void *bias;
    nct_constraint *constraint; /* of the flags, for records that bring none; or NULL */
    size_t max_tokens;
    char params_sha[2 * NCT_SHA256_BYTES + 1]; /* of everything that changes texts and is no record's */
    nct_seen ids;                              /* how often each was there */
} nct_recipe;

/** Reads the options and opens the model. Returns an nct_exit; close in any case. */
int nct_recipe_open(const nct_cli *cli, nct_recipe *recipe);
void nct_recipe_close(nct_recipe *recipe);
/** Once the seed is known: params_sha. */
int nct_recipe_seal(nct_recipe *recipe, uint64_t seed);

typedef struct nct_item {
    nct_recipe *recipe;
    uint64_t index;  /* of its record in the input, from 0 */
    uint32_t sample; /* which answer to it */
    nct_bytes id;
    bool openai;    /* it came as a line of OpenAI's batch format */
    bool is_file;   /* text is the name of one .. */
    nct_bytes text; /* of the record, .. */
    nct_bytes body; /* .. and this what it holds */
    char input_sha[2 * NCT_SHA256_BYTES + 1];
    nct_seen_key key; /* of id, input and params: who has it is the same work */
    nct_json *json;   /* of an object; NULL: the record is none */
    uint32_t attempts;
    /* what is to be answered */
    nct_prompt prompt;
    nct_bytes tools;
    int32_t *ids;
    size_t n_ids, n_dropped;
    nct_answer_options options;
    nct_list stops;             /* borrowed from json and the command line */
    nct_constraint *constraint; /* its own, or NULL */
    /* what went wrong, if anything: a word for programs, a sentence, tokens if they are what is wrong */
    const char *fault;
    nct_bytes why;
    size_t n_tokens;
    /* the answer */
    nct_answer answer;
    nct_answering *answering;
    nct_logprobs logprobs; /* with --logprobs, or as an OpenAI line asks */
    bool wants_logprobs;
    nct_sources sources; /* with --sources: counted while it is answered .. */
    nct_source *found;   /* .. and what that comes to */
    size_t n_found;
    int number;               /* in the batcher .. */
    nct_sequence_state state; /* .. and what that says in the end */
    uint64_t began_ns, first_ns, ended_ns;
    bool timed_out;
} nct_item;

/** Takes a record, the recipe's sample of it: its id, what it is, its digest; with `pass` only the id, which others' numbers hang on. What is wrong with it becomes item->fault. NCT_E_MEMORY only. */
nct_status nct_item_open(nct_recipe *recipe, const nct_batch_record *record, uint64_t index, bool pass,
                         nct_item *item, nct_error *err);
/** Makes the prompt's ids. `limit` gives the tokens that a sequence of so many can hold. */
nct_status nct_item_prepare(nct_item *item, int (*limit)(void *context, int n_expected), void *context,
                            nct_error *err);
/** Says what is wrong, in the words of printf; the first word holds. Returns NCT_OK or NCT_E_MEMORY. */
nct_status nct_item_fail(nct_item *item, nct_error *err, const char *fault, const char *fmt, ...)
    NCT_PRINTF(4, 5);
void nct_item_close(nct_item *item);

/** The item's output record: a line without its newline, in the form of its input unless --format says otherwise. */
nct_status nct_item_write(const nct_item *item, nct_bytes *out, nct_error *err);

/** What an output record of an earlier run says; false: it is none. `id` is borrowed. */
typedef struct nct_old_record {
    const char *id;
    uint32_t sample;
    bool failed;
    uint64_t index;
    uint32_t attempts;
    bool has_seed;
    uint64_t seed;
    nct_seen_key key;
} nct_old_record;
bool nct_item_read(const nct_json *record, nct_old_record *old);

#endif
