/** Questions with one right answer about long texts: what eval lines and eval needle share. Answers are greedy, so
 *  a question's answer depends on the model, the settings and the question alone; with those in its key, a record
 *  of it stands for it. Scores are computed from the answer's text each time, and never read back.
 */
#ifndef NCT_CLI_QUIZ_H
#define NCT_CLI_QUIZ_H

#include "cli/journal.h"
#include "cli/talk.h"

enum { NCT_QUIZ_KEY = 17 }; /* 16 digits and a NUL */

typedef struct nct_quiz {
    const nct_cli *cli;
    nct_engine *engine;
    nct_model_info info;
    nct_session *session;
    nct_talk talk;
    bool has_journal;
    nct_journal journal;
    size_t max_tokens;                                    /* of an answer: -n, or 100 */
    size_t n_computed, n_found;                           /* answers made, and taken from records */
    uint64_t n_prefill;                                   /* tokens that were read for the former */
    void (*progress)(void *context, int done, int total); /* while a prompt is read */
    void *context;
} nct_quiz;

/** Opens the model and its text side. Returns an nct_exit; close in any case. */
int nct_quiz_open(const nct_cli *cli, nct_quiz *quiz);
/** Opens a session that will hold so many tokens at most, in place of the one before if there is one. */
int nct_quiz_start(nct_quiz *quiz, size_t n_expected);
void nct_quiz_close(nct_quiz *quiz);

/** The ids of a question, *ids freed with nct_free. */
nct_status nct_quiz_encode(nct_quiz *quiz, const char *text, size_t n, int32_t **ids, size_t *n_ids,
                           nct_error *err);

/** Key of a question: a hash of the model, the settings that change answers, and the text. */
void nct_quiz_key(const nct_quiz *quiz, const char *text, size_t n, char key[NCT_QUIZ_KEY]);

/** Answers. What the session holds of the prompt already is not read again. 128 + signal if one came.
 *  The caller closes *answer in any case. */
int nct_quiz_ask(nct_quiz *quiz, const int32_t *ids, size_t n_ids, nct_answer *answer);

/** True if the number stands in the text as a whole run of digits; with `last`, if it is the last run. */
bool nct_quiz_has_number(const char *text, uint64_t number, bool last);

/** Exit 7 with a line where --min is not reached, else `code`. */
int nct_quiz_check_min(const nct_quiz *quiz, double percent, int code);

#endif
