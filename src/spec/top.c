#include "spec/top.h"

#include <assert.h>
#include <math.h>
#include <string.h>

/* Of one piece's scores of a row. */
struct part {
    float max, sum; /* sum of exp(score - max) */
};

/* The best of what one worker saw of a row. Scores and then outputs put all of them in one order, so it does not matter
 * who saw which pieces, and in what turn. */
struct best {
    size_t n;
    int32_t output[NCT_BEAM_WIDTH];
    float score[NCT_BEAM_WIDTH];
};

struct choosing {
    const nct_exec *exec;
    size_t n_rows, n_pieces, width;
    size_t first_piece, first_output; /* of the head at hand */
    struct part *part; /* [pieces][rows] */
    struct best *best; /* [workers][rows] */
    nct_top *top;
};

static bool is_before(float score, int32_t output, float than, int32_t than_output) {
    return score > than || (score == than && output < than_output);
}

static void insert(struct best *b, size_t width, int32_t output, float score) {
    if (b->n == width && !is_before(score, output, b->score[width - 1], b->output[width - 1]))
        return;
    size_t at = b->n < width ? b->n++ : width - 1;
    for (; at > 0 && is_before(score, output, b->score[at - 1], b->output[at - 1]); at--) {
        b->score[at] = b->score[at - 1];
        b->output[at] = b->output[at - 1];
    }
    b->score[at] = score;
    b->output[at] = output;
}

static void see_piece(void *context, size_t piece, int worker, const float *y, size_t y_stride, size_t first,
                      size_t n) {
    const struct choosing *k = context;
    const nct_kernels *kernels = k->exec->kernels;
    for (size_t t = 0; t < k->n_rows; t++) {
        const float *s = y + t * y_stride;
        struct part *p = &k->part[(k->first_piece + piece) * k->n_rows + t];
        struct best *b = &k->best[(size_t)worker * k->n_rows + t];
        p->max = kernels->max(s, n);
        p->sum = kernels->exp_sum(s, n, p->max, k->exec->exact);
        if (b->n == k->width && p->max < b->score[k->width - 1])
            continue; /* most pieces, soon */
        for (size_t j = 0; j < n; j++)
            insert(b, k->width, (int32_t)(k->first_output + first + j), s[j] == s[j] ? s[j] : -INFINITY);
    }
}

static void merge_row(void *context, int task, int worker) {
    (void)worker;
    const struct choosing *k = context;
    struct best all = {0};
    float max = -INFINITY;
    double sum = 0;
    for (size_t w = 0; w < (size_t)nct_pool_size(k->exec->pool); w++) {
        const struct best *b = &k->best[w * k->n_rows + (size_t)task];
        for (size_t j = 0; j < b->n; j++)
            insert(&all, k->width, b->output[j], b->score[j]);
    }
    for (size_t i = 0; i < k->n_pieces; i++) {
        const struct part *p = &k->part[i * k->n_rows + (size_t)task];
        max = p->max > max ? p->max : max;
    }
    for (size_t i = 0; i < k->n_pieces; i++) {
        const struct part *p = &k->part[i * k->n_rows + (size_t)task];
        sum += p->sum * exp((double)p->max - max);
    }
    double lse = max + log(sum);
    nct_top *top = &k->top[task];
    assert(all.n == k->width);
    for (size_t j = 0; j < k->width; j++) {
        double log_q = all.score[j] - lse;
        top->output[j] = all.output[j];
        top->log_q[j] = log_q > 0 ? 0 : log_q == log_q ? (float)log_q : -INFINITY;
    }
}

static size_t part_count(const nct_linear *head, size_t n_more, size_t n_rows) {
    return (nct_linear_pieces(head->panels.n_rows) + nct_linear_pieces(n_more)) * n_rows;
}

size_t nct_top_bytes(const nct_linear *head, size_t n_more, size_t n_rows, int n_threads) {
    return nct_arena_cost(part_count(head, n_more, n_rows), sizeof(struct part)) +
           nct_arena_cost((size_t)n_threads * n_rows, sizeof(struct best)) +
           nct_linear_piece_bytes(head, n_rows, n_threads);
}

void nct_top_run(const nct_exec *exec, const nct_linear *head, const nct_linear *more, const float *x,
                 size_t x_stride, size_t n_rows, size_t width, nct_top *top) {
    size_t mark = nct_arena_mark(exec->scratch), n_best = (size_t)nct_pool_size(exec->pool) * n_rows,
           n_more = more ? more->panels.n_rows : 0;
    struct choosing k = {.exec = exec,
                         .n_rows = n_rows,
                         .n_pieces = nct_linear_pieces(head->panels.n_rows) + nct_linear_pieces(n_more),
                         .width = width,
                         .top = top};
    assert(width <= NCT_BEAM_WIDTH && width <= head->panels.n_rows + n_more);
    k.part = nct_arena_take(exec->scratch, part_count(head, n_more, n_rows), sizeof *k.part);
    k.best = nct_arena_take(exec->scratch, n_best, sizeof *k.best);
    memset(k.best, 0, n_best * sizeof *k.best);
    nct_linear_run_pieces(exec, head, x, x_stride, n_rows, see_piece, &k);
    if (more) {
        k.first_piece = nct_linear_pieces(head->panels.n_rows);
        k.first_output = head->panels.n_rows;
        nct_linear_run_pieces(exec, more, x, x_stride, n_rows, see_piece, &k);
    }
    nct_pool_run(exec->pool, (int)n_rows, merge_row, &k);
    nct_arena_release(exec->scratch, mark);
}
