/** One answer: feed the prompt, draw tokens until something ends it, and pass the text on as it comes.
 *
 *  The text goes through two filters. The first finds a thinking block, `<think>` ... `</think>`, at the
 *  beginning of the answer (or, as the template with tools has it, `<|thought_start|>` ...); the tags are ordinary text
 *  and may be cut anywhere. The second finds stop strings
 *  in what follows; a text that may be the beginning of one is held back until that is known. Both look at
 *  bytes one by one, so what comes out does not depend on how tokens cut the text.
 */
#ifndef NCT_CLI_ANSWER_H
#define NCT_CLI_ANSWER_H

#include "cli/cli.h"

typedef enum nct_finish {
    NCT_FINISH_STOP,   /* the model's end token, or a stop string */
    NCT_FINISH_LENGTH, /* max_tokens, or the context is full */
    NCT_FINISH_TIMEOUT,
    NCT_FINISH_INTERRUPTED, /* a signal: nct_signals_flag says which */
    NCT_FINISH_CLOSED,      /* nobody takes the text any more: emit said so */
} nct_finish;

const char *nct_finish_name(nct_finish finish); /* as finish_reason in JSON */

typedef struct nct_answer_options {
    nct_sampling sampling;
    uint32_t sample;
    size_t max_tokens; /* 0: until the context is full */
    bool ignore_eos;
    bool patient;       /* signals do not end it: the caller sees to them */
    bool continuation;  /* the answer continues a text: keep its leading space */
    bool find_thinking; /* look for a thinking block */
    bool in_thinking;   /* the prompt ends inside one */
    bool has_budget;    /* the block is closed, if the model has not, after so many tokens */
    size_t budget;
    const char *tools;  /* definitions, if the model was given any: calls are looked for in the answer */
    const nct_list *stops;
    nct_matcher *matcher; /* keeps the answer to a constraint (nct_answer_constrain); NULL: nothing does */
    const char *prefix; /* the beginning that was given: text of the answer before any token, or NULL */
    /* Pieces of the answer, never cutting a character; false ends it. */
    bool (*emit)(void *context, bool thinking, const char *text, size_t n);
    /* While the prompt is read; may be NULL. */
    void (*progress)(void *context, int done, int total);
    void *context;
    nct_choice_fn *on_choice; /* told which blocks the rows that write the answer choose, or NULL */
    void *choice_context;
} nct_answer_options;

typedef struct nct_answer {
    nct_bytes text, thinking;
    bool has_thinking;
    char *calls, *content; /* tool calls as a JSON array, and the text without them; NULL: there are none */
    int32_t *ids; /* generated, the end token included, and what closed a thinking block for the model */
    size_t n_ids, ids_capacity;
    size_t n_prompt, n_cached, n_thinking; /* tokens */
    nct_finish finish;
    const char *stop;           /* the stop string that ended it, or NULL */
    double first_s;             /* from the call to the first token */
    double prefill_s, decode_s; /* feeding the prompt; from the first token to the last */
    size_t n_prefill, n_decode; /* tokens computed in these times */
    size_t n_rounds, n_guessed, n_accepted; /* passes of decoding, tokens guessed in them, guesses that held */
    double gain; /* the time plain decoding would have taken for each second; 0: not known */
} nct_answer;

/** A matcher for one answer to a prompt of n_prompt tokens, by what the options say of its length, its beginning and
 *  thinking; limit: tokens that the session holds at most; may_think: the model may begin with a block of it. Nothing of the answer is computed yet: NCT_E_LENGTH
 *  where its limit, or the context, does not suffice, NCT_E_ARGUMENT where options->prefix does not agree. The caller
 *  puts the matcher into the options and closes it after the answer. */
nct_status nct_answer_constrain(nct_constraint *constraint, size_t limit, size_t n_prompt, bool may_think,
                                const nct_answer_options *options, nct_matcher **matcher, nct_error *err);

/** Gives the session the prompt, of which it keeps what it holds already, and generates. A signal or a
 *  timeout while the prompt is read is an answer without text. The caller closes *answer in any case. */
nct_status nct_answer_make(const nct_engine *engine, nct_session *session, const int32_t *prompt,
                           size_t n_prompt, const nct_answer_options *options, nct_answer *answer,
                           nct_error *err);
void nct_answer_close(nct_answer *answer);

/** finish_reason in JSON. */
static inline const char *nct_answer_reason(const nct_answer *a) {
    return a->calls && a->finish == NCT_FINISH_STOP ? "tool_calls" : nct_finish_name(a->finish);
}

/** The same for tokens that come from elsewhere, one by one: of a prompt of n_prompt tokens in a context of `limit`.
 *  *options and *answer are borrowed until it is closed; times and counts of computing stay zero. */
typedef struct nct_answering nct_answering;
nct_status nct_answering_open(const nct_engine *engine, size_t n_prompt, size_t limit,
                              const nct_answer_options *options, nct_answer *answer,
                              nct_answering **answering, nct_error *err);
/** *over: it is the last one. */
nct_status nct_answering_take(nct_answering *answering, int32_t id, bool *over, nct_error *err);
/** After a token that is not the last one, and before the first: ids that follow it without being chosen, which close
 *  a block of thinking that has used its budget; they are part of the answer, borrowed until the next call. *over: there
 *  is no room for them. */
nct_status nct_answering_follow(nct_answering *answering, const int32_t **ids, size_t *n_ids, bool *over, nct_error *err);
/** Nothing follows: what was held back is text. */
nct_status nct_answering_end(nct_answering *answering, nct_error *err);
void nct_answering_close(nct_answering *answering); /* NULL is fine */

/** Tokens of a pass of decoding, on average: 1 without guesses. */
static inline double nct_mean_accept(const nct_answer *a) {
    return a->n_rounds ? 1 + (double)a->n_accepted / (double)a->n_rounds : 1;
}

/** " · spec 2.4/step, 1.57x" of an answer with guesses, else nothing. */
void nct_spec_line(const nct_answer *a, nct_bytes *line);

#endif
