/** Replays, for benches: a session goes through a text that is given, in one way of guessing or another, at the real cost
 *  of each. Whatever the model would choose, it chooses the text; so ways can be compared on any weights, and several can
 *  take turns along one text, that a machine's moods meet all of them.
 *
 *      nct_replay_open                          a session, which is the replay's alone from now on
 *      nct_replay_way way = { .kind = ... }
 *      in turns: nct_replay_run(&way, until)
 */
#ifndef NCT_ENGINE_REPLAY_H
#define NCT_ENGINE_REPLAY_H

#include "engine/session.h"
#include "spec/replay.h"

typedef enum nct_replay_kind { NCT_REPLAY_PLAIN, NCT_REPLAY_FIXED, NCT_REPLAY_AUTO } nct_replay_kind;

/** A way of guessing, and how far it has got. Zeroed but for the first line it begins at the answer's beginning. */
typedef struct nct_replay_way {
    nct_replay_kind kind;
    size_t n_nodes, width, depth; /* of NCT_REPLAY_FIXED */
    bool began;
    nct_adapt adapt;
    size_t position;  /* of the root */
    double seconds, draft_s; /* all, and drafting of it */
    size_t n_tokens, n_rounds, n_verified, n_passes; /* n_verified: nodes */
    size_t nodes[NCT_TREE_MAX + 1];                  /* rounds by size */
} nct_replay_way;

/** Fills the session with the text up to its answer (made_up: with keys and values that are none of the tokens'), and puts
 *  the simulated draft in the place of the engine's where odds are stated. text stays borrowed. */
nct_status nct_replay_begin(nct_session *session, const nct_replay_text *text, bool made_up, nct_error *err);

/** Goes on to position `until` or a little beyond: the round that reaches it is the last. */
nct_status nct_replay_run(nct_session *session, nct_replay_way *way, size_t until, nct_error *err);

/** Seconds of verifying n rows, of which the first is accepted, after the tokens held, which must be two fewer than the
 *  text has; no trace stays. */
nct_status nct_replay_time_rows(nct_session *session, size_t n, double *seconds, nct_error *err);

/** Seconds of a draft so many levels deep and of the passes it took; no trace stays. */
nct_status nct_replay_time_draft(nct_session *session, size_t width, size_t depth, double *seconds,
                                 size_t *n_passes, nct_error *err);

/** Seconds of one row through the model's head, and through the draft's with its best tokens found; rows of each. The
 *  engine must have a draft of one layer. */
typedef struct nct_replay_heads {
    double full_s, draft_s;
    size_t full_rows, draft_rows;
} nct_replay_heads;
bool nct_replay_has_head(const nct_session *session);
nct_status nct_replay_time_heads(nct_session *session, nct_replay_heads *heads, nct_error *err);

#endif
