#include "engine/pace.h"

#define LEAST_SECONDS 1e-9 /* a cost below is not made smaller: it would never grow again */

void nct_pace_init(nct_pace *p, nct_load row) {
    *p =
        (nct_pace){.second = {1, 1}, .first = {NCT_PACE_FIRST * row.weights, NCT_PACE_FIRST * row.attention}};
}

static size_t index_of(size_t n_answers) {
    return n_answers < NCT_PACE_ANSWERS ? n_answers : NCT_PACE_ANSWERS;
}

double nct_pace_cost(const nct_pace *p, nct_load load) {
    return load.weights * p->second.weights + load.attention * p->second.attention;
}

double nct_pace_room(const nct_pace *p, size_t n_answers, size_t n_prompts) {
    size_t i = index_of(n_answers);
    if (p->plain[i] <= 0 || p->n_since[i] >= NCT_PACE_EVERY)
        return 0;
    double times = n_prompts > n_answers ? (double)n_prompts / (double)n_answers : 1,
           first = nct_pace_cost(p, p->first), most = 2 * nct_pace_cost(p, p->last);
    most = most > first ? most : first;
    return p->known && p->plain[i] * times < most ? p->plain[i] * times : most;
}

/* Half of what a slice cost beyond what was thought, or a quarter of what it cost less, is put down to either kind, by its
 * part in it: where cost rises steeply, as behind rows that were nearly free, larger steps would swing to and fro. */
static void learn_costs(nct_pace *p, nct_load load, double seconds) {
    double thought = nct_pace_cost(p, load), part = load.weights * p->second.weights / thought;
    if (!p->known) {
        p->known = seconds > 0;
        p->second.weights = p->second.attention = p->known ? seconds / (load.weights + load.attention) : 1;
    } else if (thought > LEAST_SECONDS || seconds > thought) {
        double more = (seconds / thought - 1) / (seconds > thought ? 2 : 4);
        p->second.weights *= 1 + part * more;
        p->second.attention *= 1 + (1 - part) * more;
    }
}

void nct_pace_learn(nct_pace *p, size_t n_answers, nct_load load, double seconds) {
    size_t i = index_of(n_answers);
    double *plain = &p->plain[i];
    if (load.weights <= 0) {
        *plain = *plain > 0 ? (*plain + seconds) / 2 : seconds;
        p->n_since[i] = 0;
        return;
    }
    p->n_since[i]++;
    p->last = load;
    if (*plain <= 0)
        return;
    if (seconds < *plain) /* it was disturbed when it was measured */
        *plain = seconds;
    learn_costs(p, load, seconds - *plain);
}
