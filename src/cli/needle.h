/** eval needle, which hides numbers at given depths of texts of given lengths and asks for them: what its files share.
 *  eval_needle.c has the grid and asks, needle_prompts.c makes the texts, needle_map.c draws what was found so far,
 *  needle_report.c writes what is left in the end. */
#ifndef NCT_CLI_NEEDLE_H
#define NCT_CLI_NEEDLE_H

#include "base/sha256.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "cli/quiz.h"
#include "cli/ranges.h"

enum {
    NCT_NEEDLE_MODES = 2, /* of attention, that are compared */
    NCT_NEEDLES = 8,      /* in one text, at most */
};

typedef enum nct_needle_lang { NCT_NEEDLE_EN, NCT_NEEDLE_ZH } nct_needle_lang;

/** One prompt and its answer. */
typedef struct nct_needle_trial {
    bool asked;
    size_t found, n_ids;
    char *answer;
    uint64_t expected[NCT_NEEDLES];
} nct_needle_trial;

typedef struct nct_needle {
    nct_cli *cli;
    nct_quiz quiz;
    nct_needle_lang lang;            /* of the question and the needles */
    int64_t modes[NCT_NEEDLE_MODES]; /* nct_sparse_mode */
    size_t n_modes;
    nct_range lengths, depths;
    size_t n_needles, n_seeds;
    uint64_t seed;
    nct_bytes hay;
    size_t *ends; /* of its tokens */
    size_t n_ends;
    uint8_t hay_sha[NCT_SHA256_BYTES];
    nct_needle_trial *trials; /* [mode][length][depth][seed] */
    size_t n_trials;
    bool live;      /* the map is drawn on the terminal as it fills */
    size_t n_drawn; /* lines of it */
    nct_meter meter;
    double weight_done, weight_all; /* of the work, about */
    uint64_t began_ns, drawn_ns;
    char *journal; /* its path, or NULL */
    bool beside;   /* it is not what was asked for, and goes when all is done */
} nct_needle;

/** Where a trial stands in the grid. */
typedef struct nct_needle_place {
    size_t mode, length, depth, seed;
} nct_needle_place;

static inline nct_needle_trial *nct_needle_trial_at(const nct_needle *n, const nct_needle_place *p) {
    return &n->trials[((p->mode * n->lengths.n + p->length) * n->depths.n + p->depth) * n->n_seeds + p->seed];
}

/* ------------------------------------------------------------------ texts */

/** The filler, or the file of --haystack, again and again until there is enough for the longest prompt. Returns an
 *  nct_exit. */
int nct_needle_make_hay(nct_needle *n);
/** Exit 2 unless every length has room for some hay. */
int nct_needle_check_room(nct_needle *n);
/** The numbers [n_needles] hidden in a trial's prompt. */
void nct_needle_numbers(const nct_needle *n, const nct_needle_place *p, uint64_t number[NCT_NEEDLES]);
/** The prompt of a trial, which fills its length but for the answer's room; *ids is freed with nct_free.
 *  NCT_E_ARGUMENT: there is no room for hay. */
nct_status nct_needle_prompt(nct_needle *n, const nct_needle_place *p, int32_t **ids, size_t *n_ids,
                             nct_error *err);
/** Prints an error of these: what cannot be composed was asked for wrongly. Returns an nct_exit. */
int nct_needle_say(const nct_needle *n, const nct_error *err);

/* ------------------------------------------------------------------ the map */

const char *nct_needle_label(int64_t length, char buf[24]); /* 4096: "4k" */
const char *nct_needle_mode_name(int64_t mode);             /* "auto", "on", "off" */

/** Shares of the needles found in a cell and in a mode, NaN while none was asked for. */
double nct_needle_cell_share(const nct_needle *n, size_t mode, size_t length, size_t depth);
double nct_needle_mode_share(const nct_needle *n, size_t mode);
size_t nct_needle_cells_done(const nct_needle *n);

/** The map of a mode as text, and the line of means. */
void nct_needle_write_map(const nct_needle *n, size_t mode, nct_bytes *out);
void nct_needle_write_means(const nct_needle *n, nct_bytes *out);

/** Draws the map on the terminal over the one before, or only its last line; elsewhere the meter. part: weight that is
 *  done of the trial at hand. */
void nct_needle_draw(nct_needle *n, double part, bool all);
/** Takes the map away: the report has it. */
void nct_needle_erase(const nct_needle *n);

/* ------------------------------------------------------------------ reports */

/** The fields of a trial, as records, --json and -o FILE.json have them. */
void nct_needle_write_trial(const nct_needle *n, const nct_needle_place *p, nct_bytes *out);
/** Where finished trials are kept: the .jsonl asked for, else a file beside the first output, else nowhere. Exit 2 for
 *  an output of no known form. */
int nct_needle_place_journal(nct_needle *n);
/** Prints what was found and writes the files; code: how asking ended. Returns an nct_exit. */
int nct_needle_report(nct_needle *n, int code);

#endif
