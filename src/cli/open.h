/** From options to an open engine: which model, which knobs, which sampling. Complaints are printed; what
 *  returns int returns an nct_exit. */
#ifndef NCT_CLI_OPEN_H
#define NCT_CLI_OPEN_H

#include "cli/cli.h"

/** Finds the model: -m as a path, or as a name in the models folders; without -m the newest checkpoint in
 *  the first of them that holds one. The folders: $XDG_DATA_HOME/noctule/models, then beside the program
 *  (../models, ../../models, ../share/noctule/models), then ./models. *path is freed with nct_free. */
int nct_find_model(const nct_cli *cli, char **path);

/** The knobs of -X, checked. */
typedef struct nct_knobs {
    bool exact;
    int64_t chunk; /* 0: the engine's */
    int64_t guess_width; /* spec.width; 0: the engine's */
    int64_t draft_window, draft_rows;        /* spec.window, spec.rows; 0: the draft's, all of the list */
    double residual_scale, logit_scale;      /* spec.residual_scale, spec.logit_scale; 0: as trained */
    int draft_weights;                       /* spec.weights: an nct_draft_weights */
    bool force_ctx;
    bool decide_by_prompt; /* sparse.decide */
    bool r1;               /* sparse.variant */
    int64_t topk, block, window, dense_len; /* sparse.NAME; 0: the model's */
    int huge;              /* hugepages: an nct_huge_pages */
    int head;              /* an nct_head */
    int64_t made_up_nodes; /* numa.pretend */
    int64_t cache_max;     /* bytes; 0: by the disk */
    int64_t cache_min_ms;
} nct_knobs;
int nct_take_knobs(const nct_cli *cli, nct_knobs *knobs);
/** One of them, "key=value": what is wrong with it is printed. Returns an nct_exit. */
int nct_check_knob(const nct_cli *cli, const char *knob);

/** Finds and opens the model, with its weights or for its text only; warns if threads were fewer than
 *  asked. */
int nct_open_model(const nct_cli *cli, bool text_only, nct_engine **engine, nct_model_info *info);

/** How a session computes: chunks, --rope, cache types, sparse attention. The context is left to the caller. */
nct_session_options nct_take_session(const nct_cli *cli, const nct_knobs *knobs);
/** Of it: the folder of pages that others find, and what becomes of them, as --cache, --kv-dir and the knobs say; the name
 *  of the folder in `folder`. Commands that keep nothing are left as they are. */
void nct_take_pages(const nct_cli *cli, const nct_knobs *knobs, char *folder, size_t n_folder, nct_session_options *options);
/** Of it: who guesses and how much, as --spec, --drafter and --draft say; a draft is loaded into the engine. */
int nct_take_spec(const nct_cli *cli, nct_engine *engine, const nct_knobs *knobs, nct_session_options *options);
/** One line on weights that were copied from a bundle's shared pages; false if none were. */
bool nct_copied_line(const nct_model_info *info, char *buf, size_t n_buf);

/** What is left for caches in memory, beside the weights: of --mem, or of the machine's memory. */
uint64_t nct_cache_room(const nct_cli *cli, const nct_model_info *info);

/** The most tokens that a session may hold under --rope. */
size_t nct_window(const nct_cli *cli, const nct_model_info *info);

/** A session with -c, --rope and the knobs. n_expected: how many tokens it will hold as far as is known, or 0;
 *  --rope auto looks at it, and says so if it takes the long list. A cache that memory does not suffice for goes to files
 *  with --kv-dir auto, which is said, and is refused without. */
int nct_open_session(const nct_cli *cli, nct_engine *engine, size_t n_expected, nct_session **session);

/** A batcher with -c, --rope, the knobs, --spec and files, whose folder is written to folder [n_folder] and may go
 *  once the batcher is open; *options has the rest: n_sequences, apart, keep_prompts. */
int nct_open_batcher(const nct_cli *cli, nct_engine *engine, char *folder, size_t n_folder,
                     nct_batcher_options *options, nct_batcher **batcher);

/** Sequences that -np asks for; 0: auto, as many as NCT_WIDTH at most. */
int nct_take_width(const nct_cli *cli, size_t *width);
enum { NCT_WIDTH = 8 }; /* beyond it a step takes as much longer as it does more */

/** For a session that was just opened with these options and will hold so many tokens: opened anew with its cache in
 *  files, and said, if memory does not suffice and --kv-dir auto allows it; else exit 1, said, and *session is NULL. */
int nct_find_room(const nct_cli *cli, nct_engine *engine, size_t n_tokens, const nct_session_options *options,
                  nct_session **session);

/** Whether a session's cache may grow to so many tokens: exit 1, and said, where --mem or the machine's memory does not
 *  suffice. nct_open_session has asked for n_expected. */
int nct_check_room(const nct_cli *cli, nct_engine *engine, const nct_session *session, size_t n_tokens);

/** Keeps what --spec auto learned for later sessions of the model on this host, unless --cache says otherwise. */
void nct_keep_learned(const nct_cli *cli, const nct_engine *engine, const nct_session *session);

/** The folder of pages that runs keep: --kv-dir DIR, else $XDG_CACHE_HOME/noctule/kv. False if there is no place
 *  for it. */
bool nct_pages_folder(const nct_cli *cli, char *buf, size_t n_buf);

/** Tokens that are kept free for an answer: -n where given, else 1,024. */
size_t nct_answer_reserve(const nct_cli *cli);

/** The model's sampling with the flags over it, a seed drawn if none is given. The bias arrays belong to
 *  `bias`, which the caller frees with nct_free, after a failure too. */
int nct_take_sampling(const nct_cli *cli, const nct_engine *engine, nct_sampling *sampling, void **bias);

/** A fresh 32-bit seed. */
uint64_t nct_draw_seed(void);

#endif
