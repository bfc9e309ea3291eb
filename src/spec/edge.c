#include "spec/edge.h"

#include <assert.h>
#include <math.h>

/* The least probability of each step but the last, finer where drafts are sure of themselves. None is a round number:
 * what is stated as one should not fall to either side by a rounding. */
static const float step_least[NCT_EDGE_STEPS - 1] = {0.88f, 0.78f, 0.63f, 0.48f, 0.34f,
                                                     0.24f, 0.12f, 0.06f, 0.03f};

static size_t depth_class(size_t depth) {
    assert(depth > 0);
    return depth < NCT_EDGE_DEPTHS ? depth - 1 : NCT_EDGE_DEPTHS - 1;
}

uint8_t nct_edge_model(float log_q, size_t depth) {
    size_t step = 0;
    float q = expf(log_q);
    while (step < NCT_EDGE_STEPS - 1 && q < step_least[step])
        step++;
    return (uint8_t)(step * NCT_EDGE_DEPTHS + depth_class(depth));
}

uint8_t nct_edge_copy(size_t length, size_t n, size_t n_all, size_t depth) {
    static const size_t least[NCT_EDGE_LENGTHS] = {0, 4, 5, 7, 10, 16};
    assert(n > 0 && n <= n_all);
    size_t step = NCT_EDGE_LENGTHS - 1, share = n == n_all ? 0 : 2 * n >= n_all ? 1 : 2;
    while (length < least[step])
        step--;
    return (uint8_t)(NCT_EDGE_COPY + (step * NCT_EDGE_SHARES + share) * NCT_EDGE_DEPTHS + depth_class(depth));
}

float nct_edge_prior(uint8_t edge) {
    static const float copied[NCT_EDGE_LENGTHS] = {0.3f, 0.4f, 0.5f, 0.6f, 0.7f, 0.8f},
                       agreed[NCT_EDGE_SHARES] = {1, 0.5f, 0.25f};
    assert(edge < NCT_EDGES);
    if (edge < NCT_EDGE_COPY) {
        size_t step = edge / NCT_EDGE_DEPTHS;
        float least = step < NCT_EDGE_STEPS - 1 ? step_least[step] : step_least[step - 1] / 2;
        return least < 0.5f ? least : 0.5f;
    }
    size_t kind = (size_t)(edge - NCT_EDGE_COPY) / NCT_EDGE_DEPTHS;
    return copied[kind / NCT_EDGE_SHARES] * agreed[kind % NCT_EDGE_SHARES];
}
