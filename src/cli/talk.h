/** A conversation and the ids that represent it.
 *
 *  With a template the turns are rendered and encoded as one text, but for what the model wrote itself: those
 *  ids are kept as they came, since encoding their text again may give others and would cost the cache
 *  (formats.md 9.6). Where they sit in the rendering is found from renderings that end at the turn; if a
 *  template renders an old turn differently later (a thinking model's reasoning goes), its text is encoded
 *  anew. Without a template the turns are one running text.
 */
#ifndef NCT_CLI_TALK_H
#define NCT_CLI_TALK_H

#include "cli/answer.h"

typedef struct nct_turn {
    const char *role;
    nct_bytes content, reasoning;
    char *calls; /* assistant: tool calls, a JSON array, or NULL */
    int32_t *ids; /* assistant: as generated, without an end token; user without template: encoded */
    size_t n_ids;
    size_t typed;  /* user: where in the content that which was typed begins, behind documents */
    bool verbatim; /* the ids stand for rendered[begin .. end) */
    size_t begin, end;
    /* of a turn of a user or a tool that was answered: the model held `at` tokens of what it held before, then these */
    int32_t *fed;
    size_t n_fed, at;
} nct_turn;

typedef struct nct_talk {
    const nct_engine *engine;
    bool plain;               /* no template */
    nct_chat_options options; /* tools are borrowed from `tools` */
    nct_bytes system, tools;
    nct_turn *turn; /* without the system prompt */
    size_t n_turns, turns_capacity;
    int32_t *rendered; /* of the last prompt or answer */
    size_t n_rendered;
    size_t answer_begin; /* where the next answer's ids begin in it */
} nct_talk;

/** Prepares an empty conversation with the system prompt, tools and thinking of the options. Returns an
 *  nct_exit; close in any case. */
int nct_talk_open(const nct_cli *cli, const nct_engine *engine, bool plain, nct_talk *talk);
void nct_talk_close(nct_talk *talk);

nct_status nct_talk_say(nct_talk *talk, const char *text, size_t n, nct_error *err); /* the user's turn */

nct_status nct_talk_tell(nct_talk *talk, const char *text, size_t n, nct_error *err); /* a tool's result */

/** The ids to feed so that the model answers, *ids freed with nct_free. prefix: how the answer to the
 *  first turn begins, or NULL. *in_thinking: the prompt ends in an open thinking block. */
nct_status nct_talk_prompt(nct_talk *talk, const char *prefix, int32_t **ids, size_t *n_ids,
                           bool *in_thinking, nct_error *err);

/** Whether ids end in an open thinking block. */
nct_status nct_ends_thinking(const nct_engine *engine, const int32_t *ids, size_t n_ids, bool *in_thinking,
                             nct_error *err);

/** Takes the answer over as the assistant's turn. */
nct_status nct_talk_answered(nct_talk *talk, const nct_answer *answer, nct_error *err);

/** Drops turns from the end until n are left. */
void nct_talk_cut(nct_talk *talk, size_t n);
/** Drops the n oldest turns; those that are left are rendered anew. */
void nct_talk_forget(nct_talk *talk, size_t n);

/** The prompt ids [n_ids] that nct_talk_prompt gave were fed: notes what the last turn, a user's, added. */
nct_status nct_talk_fed(nct_talk *talk, const int32_t *ids, size_t n_ids, nct_error *err);
/** All tokens that the model held after n_turns turns, as the turns tell. *ids is freed with nct_free. */
nct_status nct_talk_held(const nct_talk *talk, size_t n_turns, int32_t **ids, size_t *n_ids, nct_error *err);

/** Adds a copy of a turn of another conversation, or of one that was kept: role (a literal), texts, ids, and where
 *  they stood. nct_talk_settle follows the last of them. */
nct_status nct_talk_add_copy(nct_talk *talk, const nct_turn *turn, nct_error *err);
/** After copies were added: renders the turns, and lets go of places that are not in the rendering. Without a template,
 *  user's turns that have no ids get them. */
nct_status nct_talk_settle(nct_talk *talk, nct_error *err);

/** The model's last answer to be gone on with: drops that turn into *turn, whose contents are the caller's to free with
 *  nct_turn_close. False if the last turn is none. */
bool nct_talk_take_back(nct_talk *talk, nct_turn *turn);
void nct_turn_close(nct_turn *turn);

#endif
