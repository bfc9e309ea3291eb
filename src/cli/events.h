/** run --format events: what happens as lines of JSON, each an object with its name under "event": start, prefill {done,
 *  total}, thinking {text}, delta {text}, done {what --json prints}, error {exit, message}. */
#ifndef NCT_CLI_EVENTS_H
#define NCT_CLI_EVENTS_H

#include "cli/output.h"

typedef struct nct_events {
    nct_output *output;
    uint64_t shown_ns; /* when prefill was told last */
} nct_events;

/* What nct_answer_options calls; context is the nct_events. */
bool nct_events_piece(void *events, bool thinking, const char *text, size_t n);
void nct_events_progress(void *events, int done, int total);

/** An object that is at hand, with its newline, gets the name of an event in front. */
void nct_events_object(nct_events *events, const char *name, const char *json, size_t n);
void nct_events_error(nct_events *events, int code, const char *message);

#endif
