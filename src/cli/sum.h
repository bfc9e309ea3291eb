/** Summaries of texts of any length: in one go where the text fits the context, else in parts that are cut by structure,
 *  whose summaries are summarised (map-reduce) or carried along (refine). sum.c is the command; sum_ask.c asks the model
 *  and keeps what it said, so that a command that was stopped goes on from there. */
#ifndef NCT_CLI_SUM_H
#define NCT_CLI_SUM_H

#include "cli/open.h"
#include "cli/show.h"
#include "cli/sources.h"
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
    nct_sources sources; /* with --sources: of the answer at hand */
    size_t max_tokens; /* of an answer */
    size_t n_expected; /* tokens that a session holds at most */
    size_t width;      /* answers written together, at most; 1: one after another, in the session */
    nct_batcher *batcher; /* of several; NULL until there are some */
    char label[64];    /* of the progress shown */
    /* what was done */
    size_t n_prompt, n_cached, n_completion, n_asked, n_kept; /* asked: answers; of these, kept ones that were found */
    size_t n_together;                                        /* the most that were written together */
    uint64_t n_steps;                                         /* of them */
} nct_sum;

/** A text, what is asked about it, and what came of it. */
typedef struct nct_question {
    const char *content; /* [n_content] borrowed */
    size_t n_content;
    nct_bytes instruction; /* stands behind it */
    bool show;             /* the answer goes to the output, on a terminal as it comes */
    nct_source_text
        *texts; /* [n_texts] with --sources: what the content holds of files; none: nothing is counted */
    size_t n_texts;
    nct_bytes answer;
    nct_source *found; /* [n_found] lines of the texts that were looked at most .. */
    size_t n_found;
    uint64_t n_choices; /* .. of so many choices */
} nct_question;

void nct_question_close(nct_question *question);

/** Gives a question its answer, or the one that was kept. Returns an nct_exit; a signal is 128 + its number, and the
 *  answer is then what there is. */
int nct_sum_ask(nct_sum *sum, nct_question *question);

/** The same for n questions of which none needs another's answer, nor shows its own: up to `width` of them are answered
 *  together, each as it would be alone. question [n] is put in another order. `what` one of them is: "part". */
int nct_sum_ask_all(nct_sum *sum, nct_question **question, size_t n, const char *what);

/** How fast `width` answers to the prompt ids are written together, tokens a second: measured. Returns an nct_exit. */
int nct_sum_measure(nct_sum *sum, const int32_t *ids, size_t n_ids, double *rate);

/** Tokens of such a prompt. */
int nct_sum_count(nct_sum *sum, const char *content, size_t n, const char *instruction, size_t *n_ids);

/** Removes all answers that were kept; false if one cannot be. */
bool nct_sum_forget(void);

/** The instruction to summarise: `about` says of what ("the text above", "part 3 of 12 of a longer text"). */
nct_status nct_sum_instruction(const nct_cli *cli, const char *about, bool whole, nct_bytes *out, nct_error *err);

/** Words that --length asks for; 0: none in particular. False if it is no length. */
bool nct_sum_words(const nct_cli *cli, size_t *n_words);

#endif
