/** How much of prompts goes into a step beside answers, so that prompts hold no answer for long: as much as takes no
 *  longer than the step without them, and where more prompts wait than sequences answer, so many times as long.
 *
 *  What a step takes without prompts is measured: now and then, and whenever so many answers are new, a step carries
 *  none. What prompts add to that is counted in multiplications and learned from the steps as they come, with weights and
 *  with keys and values apart: a row far back in a document may take many times what its beginning took. A slice is at
 *  most twice the one before, so that a guess that was too good is not followed far.
 *
 *  Nothing here looks at a clock, and what is chosen changes no result: rows have the same bits in any slice. */
#ifndef NCT_ENGINE_PACE_H
#define NCT_ENGINE_PACE_H

#include <stdbool.h>
#include <stddef.h>

/** Multiplications of rows of prompts. */
typedef struct nct_load {
    double weights, attention;
} nct_load;

enum {
    NCT_PACE_ANSWERS = 64, /* in a step; more count as so many */
    NCT_PACE_EVERY = 16,   /* steps with prompts, between two without that measure */
    NCT_PACE_FIRST = 16,   /* rows, at the beginning of a prompt, of a slice of which nothing is known */
};

typedef struct nct_pace {
    double plain[NCT_PACE_ANSWERS + 1]; /* seconds of a step of so many answers; 0: not known */
    int n_since[NCT_PACE_ANSWERS + 1];  /* steps of so many answers with prompts since that was measured */
    bool known;                         /* it was measured what a multiplication takes: .. */
    nct_load second;                    /* .. so many seconds; else ones */
    nct_load first, last;               /* the slice of which nothing is known; the last slice */
} nct_pace;

/** Nothing is known. row: of a prompt's first row. */
void nct_pace_init(nct_pace *pace, nct_load row);

/** What prompts may cost (nct_pace_cost) in a step beside so many answers, at least one, where so many prompts wait. 0: the
 *  step is to be measured without any. */
double nct_pace_room(const nct_pace *pace, size_t n_answers, size_t n_prompts);

/** What a load costs: seconds, as soon as anything is known. Above 0 for a load above 0. */
double nct_pace_cost(const nct_pace *pace, nct_load load);

/** A step of so many answers, at least one, and a load of prompts (zeroed: none) took so long. */
void nct_pace_learn(nct_pace *pace, size_t n_answers, nct_load load, double seconds);

#endif
