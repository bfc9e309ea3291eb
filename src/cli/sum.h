/** Summaries of texts of any length: in one go where the text fits the context, else in parts that are cut by structure,
 *  whose summaries are summarised (map-reduce) or carried along (refine). sum.c is the command; sum_ask.c asks the model
 *  and keeps what it said, so that a command that was stopped goes on from there. */
#ifndef NCT_CLI_SUM_H
#define NCT_CLI_SUM_H

#include "cli/open.h"
#include "cli/show.h"
#include "cli/talk.h"

typedef enum nct_strategy { NCT_SUM_AUTO, NCT_SUM_DIRECT, NCT_SUM_MAP_REDUCE, NCT_SUM_REFINE } nct_strategy;

typedef struct nct_sum {
    const nct_cli *cli;
    nct_engine *engine;
    nct_model_info info;
    nct_session *session;
    nct_talk talk;
    nct_sampling sampling;
    void *bias;
    nct_show show;
    size_t max_tokens; /* of an answer */
    char label[64];    /* of the progress shown */
    /* what was done */
    size_t n_prompt, n_cached, n_completion, n_asked, n_kept; /* asked: answers; of these, kept ones that were found */
} nct_sum;

/** Asks for one text about another, which stands before the instruction; streams to the output with `show`. An answer
 *  that was kept is taken instead. *answer is replaced. Returns an nct_exit; a signal is 128 + its number. */
int nct_sum_ask(nct_sum *sum, const char *content, size_t n, const char *instruction, bool show, nct_bytes *answer);

/** Tokens of such a prompt. */
int nct_sum_count(nct_sum *sum, const char *content, size_t n, const char *instruction, size_t *n_ids);

/** Removes all answers that were kept; false if one cannot be. */
bool nct_sum_forget(void);

/** The instruction to summarise: `about` says of what ("the text above", "part 3 of 12 of a longer text"). */
nct_status nct_sum_instruction(const nct_cli *cli, const char *about, bool whole, nct_bytes *out, nct_error *err);

/** Words that --length asks for; 0: none in particular. False if it is no length. */
bool nct_sum_words(const nct_cli *cli, size_t *n_words);

#endif
