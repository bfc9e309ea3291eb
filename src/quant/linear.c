#include "quant/linear.h"

#include <assert.h>
#include <string.h>

#include "quant/quantize.h"

struct copying {
    const nct_panels *from;
    uint8_t *to;
};

static void copy_panel(void *context, int task, int worker) {
    (void)worker;
    const struct copying *k = context;
    size_t at = (size_t)task * k->from->panel_bytes;
    memcpy(k->to + at, k->from->data + at, k->from->panel_bytes);
}

/* Panels that lie in a file, in memory of the pool's kind. */
static nct_status copy_panels(nct_panels *panels, nct_pool *pool, nct_error *err) {
    void *data = NULL;
    NCT_TRY(nct_pool_memory(pool, panels->n_panels, panels->panel_bytes, &data, err));
    nct_pool_run(pool, (int)panels->n_panels, copy_panel, &(struct copying){panels, data});
    panels->data = data;
    return NCT_OK;
}

nct_status nct_linear_open(const nct_stored *stored, nct_pool *pool, nct_linear *linear, nct_error *err) {
    nct_linear l = {0};
    nct_unpacked unpacked;
    if (stored->perm) {
        void *perm = NULL;
        NCT_TRY(nct_alloc(&perm, stored->n_cols, sizeof *l.perm, err));
        memcpy(perm, stored->perm, stored->n_cols * sizeof *l.perm);
        l.perm = perm;
    }
    nct_status status;
    if (stored->codec == &nct_codec_panels) {
        status = stored->codec->describe(stored, &unpacked, err);
        l.panels = ((const nct_ready_panels *)stored->more)->panels;
        l.borrowed = !nct_pool_wants_copies(pool);
        l.copied = !l.borrowed;
        if (status == NCT_OK && l.copied)
            status = copy_panels(&l.panels, pool, err);
    } else if (stored->perm) {
        status = nct_pack(stored, pool, &l.panels, &unpacked, err);
    } else { /* floats may turn out to be ternary */
        nct_rounded ternary = {0};
        bool found = false;
        status = nct_ternary_find(stored, pool, &ternary, &found, err);
        if (status == NCT_OK)
            status = nct_pack(found ? &ternary.stored : stored, pool, &l.panels, &unpacked, err);
        nct_rounded_close(&ternary);
    }
    if (status != NCT_OK) {
        nct_free(l.perm);
        return status;
    }
    memcpy(l.label, unpacked.label, sizeof l.label);
    *linear = l;
    return NCT_OK;
}

void nct_linear_close(nct_linear *linear) {
    if (!linear->borrowed)
        nct_panels_close(&linear->panels);
    nct_free(linear->perm);
    *linear = (nct_linear){0};
}

void nct_linear_row(const nct_linear *linear, size_t row, float *value, float *scratch) {
    if (!linear->perm) {
        nct_panels_row(&linear->panels, row, value);
        return;
    }
    nct_panels_row(&linear->panels, row, scratch);
    for (size_t c = 0; c < linear->panels.n_cols; c++)
        value[linear->perm[c]] = scratch[c];
}

/* The activations of one job, in the form and column order its kernel reads. */
struct input {
    const nct_linear *linear;
    const nct_linear_source *making; /* rows that are not in `source` yet; or NULL */
    const float *source;
    size_t source_stride;
    bool quantized;
    nct_qrows q;
    const float *x; /* float32 form */
    size_t x_stride;
    float *gathered; /* [rows][n_cols] where columns are permuted, else NULL */
};

size_t nct_linear_scratch_bytes(const nct_linear *linear, size_t n_rows) {
    const nct_panels *p = &linear->panels;
    size_t bytes = linear->perm ? nct_arena_cost(n_rows * p->n_cols, sizeof(float)) : 0;
    if (nct_is_coded(p->kind))
        bytes += nct_arena_cost(n_rows * nct_q_stride(p), 1) + nct_arena_cost(n_rows * p->n_groups, sizeof(float)) +
                 nct_arena_cost(n_rows * p->n_groups, sizeof(int32_t));
    return bytes;
}

static bool same_geometry(const nct_panels *a, const nct_panels *b) {
    /* groups of one width end in the same padded column only if each is padded alike */
    return nct_is_coded(a->kind) == nct_is_coded(b->kind) && a->n_cols == b->n_cols && a->group == b->group &&
           a->n_cols_padded == b->n_cols_padded;
}

/* Whether the rows of one x are prepared alike for both. */
static bool alike(const nct_linear *a, const nct_linear *b) {
    if (!same_geometry(&a->panels, &b->panels))
        return false;
    if (!a->perm || !b->perm)
        return a->perm == b->perm;
    return memcmp(a->perm, b->perm, a->panels.n_cols * sizeof *a->perm) == 0;
}

static bool shares_input(const struct input *in, const nct_linear_job *job) {
    return in->source == job->x && in->source_stride == job->x_stride && alike(in->linear, job->linear);
}

static void take_input(const nct_exec *exec, const nct_linear_job *job, size_t n_rows, struct input *in) {
    const nct_panels *p = &job->linear->panels;
    *in = (struct input){.linear = job->linear, .source = job->x, .source_stride = job->x_stride, .x = job->x,
                         .x_stride = job->x_stride, .quantized = nct_is_coded(p->kind) && !exec->exact};
    if (in->quantized)
        in->making = job->source;
    if (job->linear->perm) {
        in->gathered = nct_arena_take(exec->scratch, n_rows * p->n_cols, sizeof(float));
        in->x = in->gathered;
        in->x_stride = p->n_cols;
    }
    if (in->quantized) {
        in->q.n_groups = p->n_groups;
        in->q.q_stride = nct_q_stride(p);
        in->q.q = nct_arena_take(exec->scratch, n_rows * in->q.q_stride, 1);
        in->q.scale = nct_arena_take(exec->scratch, n_rows * p->n_groups, sizeof(float));
        in->q.sum = nct_arena_take(exec->scratch, n_rows * p->n_groups, sizeof(int32_t));
    }
}

struct preparing {
    const nct_exec *exec;
    struct input *in;
    size_t n_inputs, n_rows;
};

static void prepare_row(const struct preparing *k, struct input *in, size_t row, int worker) {
    const float *x = in->source + row * in->source_stride;
    if (in->making)
        x = in->making->row(in->making->context, row, worker);
    else if (row + 1 < k->n_rows)
        nct_row_fetch(x + in->source_stride, in->linear->panels.n_cols);
    if (in->gathered) {
        size_t n = in->linear->panels.n_cols;
        float *to = in->gathered + row * n;
        for (size_t c = 0; c < n; c++)
            to[c] = x[in->linear->perm[c]];
        x = to;
    }
    if (in->quantized)
        k->exec->kernels->quantize(&in->linear->panels, x, &in->q, row, 0, in->q.n_groups);
}

static void prepare_rows(void *context, int task, int worker) {
    const struct preparing *k = context;
    size_t n_blocks = nct_row_blocks(k->n_rows), first, end;
    nct_row_block(k->n_rows, (size_t)task % n_blocks, &first, &end);
    for (size_t row = first; row < end; row++)
        prepare_row(k, &k->in[(size_t)task / n_blocks], row, worker);
}

/* A node's share of a job's panels. */
struct part {
    size_t job, first_task, panel, panel_end, panels_per_task;
};

struct product {
    const nct_exec *exec;
    const nct_linear_job *jobs;
    const struct input *in[NCT_LINEAR_JOBS];
    struct part part[NCT_LINEAR_JOBS * NCT_NODES_MAX];
    size_t n_parts, n_rows;
};

/* Cuts the jobs into tasks, node by node, so that each node's workers read panels that lie there. */
static void cut(struct product *k, size_t n_jobs, int first[NCT_NODES_MAX + 1]) {
    const nct_pool *pool = k->exec->pool;
    size_t task = 0;
    k->n_parts = 0;
    for (int node = 0; node < nct_pool_nodes(pool); node++) {
        first[node] = (int)task;
        for (size_t j = 0; j < n_jobs; j++) {
            size_t all = k->jobs[j].linear->panels.n_panels, panel = nct_pool_share(pool, all, node),
                   end = nct_pool_share(pool, all, node + 1), each = nct_linear_task_panels(end - panel, k->n_rows);
            k->part[k->n_parts++] = (struct part){j, task, panel, end, each};
            task += (end - panel + each - 1) / each;
        }
    }
    first[nct_pool_nodes(pool)] = (int)task;
}

static nct_matmul_codes_fn *coded_product(const nct_exec *exec, nct_panel_kind kind) {
    const nct_kernels *kernels = exec->kernels;
    return kind == NCT_PANEL_CODES2   ? kernels->matmul_codes2
           : kind == NCT_PANEL_CODES4 ? kernels->matmul_codes4
                                      : kernels->matmul_codes8;
}

/* Outputs of the panels [panel, panel_end) of p, the input's matrix or one alike. */
static void multiply_panels(const nct_exec *exec, const nct_panels *p, const struct input *in, size_t n_rows, float *y,
                            size_t y_stride, size_t panel, size_t panel_end) {
    const nct_kernels *kernels = exec->kernels;
    if (in->quantized) {
        coded_product(exec, p->kind)(p, &in->q, n_rows, y, y_stride, panel, panel_end);
        return;
    }
    nct_matmul_float_fn *fn = NULL;
    switch (p->kind) {
    case NCT_PANEL_F32: fn = kernels->matmul_f32; break;
    case NCT_PANEL_F16: fn = kernels->matmul_f16; break;
    case NCT_PANEL_BF16: fn = kernels->matmul_bf16; break;
    case NCT_PANEL_CODES2: fn = kernels->matmul_codes2_exact; break;
    case NCT_PANEL_CODES4: fn = kernels->matmul_codes4_exact; break;
    case NCT_PANEL_CODES8: fn = kernels->matmul_codes8_exact; break;
    }
    fn(p, in->x, in->x_stride, n_rows, y, y_stride, panel, panel_end);
}

static void run_panels(void *context, int task, int worker) {
    (void)worker;
    struct product *k = context;
    const struct part *part = &k->part[k->n_parts - 1];
    while ((size_t)task < part->first_task)
        part--;
    const nct_linear_job *job = &k->jobs[part->job];
    const struct input *in = k->in[part->job];
    const nct_panels *p = &job->linear->panels;
    size_t panel = part->panel + ((size_t)task - part->first_task) * part->panels_per_task;
    size_t end = panel + part->panels_per_task < part->panel_end ? panel + part->panels_per_task : part->panel_end;
    multiply_panels(k->exec, p, in, k->n_rows, job->y, job->y_stride, panel, end);
}

/* Each job's activations, shared where they can be. True if there is anything to prepare in them. */
static bool take_inputs(struct product *k, size_t n_jobs, struct input in[NCT_LINEAR_JOBS], size_t *n_inputs) {
    bool work = false;
    *n_inputs = 0;
    for (size_t j = 0; j < n_jobs; j++) {
        size_t i = 0;
        while (i < *n_inputs && !shares_input(&in[i], &k->jobs[j]))
            i++;
        if (i == *n_inputs)
            take_input(k->exec, &k->jobs[j], k->n_rows, &in[(*n_inputs)++]);
        work = work || in[i].quantized || in[i].gathered;
        k->in[j] = &in[i];
    }
    return work;
}

static void prepare(const nct_exec *exec, struct input *in, size_t n_inputs, size_t n_rows) {
    struct preparing preparing = {.exec = exec, .in = in, .n_inputs = n_inputs, .n_rows = n_rows};
    nct_pool_run(exec->pool, (int)(n_inputs * nct_row_blocks(n_rows)), prepare_rows, &preparing);
}

static void multiply(struct product *k, size_t n_jobs) {
    int first[NCT_NODES_MAX + 1];
    cut(k, n_jobs, first);
    nct_pool_run_shares(k->exec->pool, first, run_panels, k);
}

static void fill_row(void *context, int task, int worker) {
    (void)worker;
    const nct_linear_source *source = context;
    source->row(source->context, (size_t)task, -1);
}

/* Fills x from its source unless all that is read of its rows is what prepare_row makes of them, once. */
static void fill_x(const nct_exec *exec, nct_linear_job *jobs, size_t n_jobs, size_t n_rows) {
    const nct_linear_source *source = jobs->source;
    bool once = !exec->exact && !exec->observer;
    for (size_t j = 0; j < n_jobs; j++)
        once = once && nct_is_coded(jobs[j].linear->panels.kind) && alike(jobs->linear, jobs[j].linear);
    if (!source || once)
        return;
    nct_pool_run(exec->pool, (int)n_rows, fill_row, (void *)(uintptr_t)source);
    for (size_t j = 0; j < n_jobs; j++)
        jobs[j].source = NULL;
}

void nct_linear_run(const nct_exec *exec, const nct_linear_job *given, size_t n_jobs, size_t n_rows) {
    assert(n_jobs <= NCT_LINEAR_JOBS);
    if (n_rows == 0 || n_jobs == 0)
        return;
    nct_linear_job jobs[NCT_LINEAR_JOBS];
    memcpy(jobs, given, n_jobs * sizeof *jobs);
    fill_x(exec, jobs, n_jobs, n_rows);
    for (size_t j = 0; exec->observer && j < n_jobs; j++)
        exec->observer->saw(exec->observer->context, jobs[j].linear, jobs[j].x, jobs[j].x_stride, n_rows);
    if (nct_exec_satisfied(exec))
        return;
    size_t mark = nct_arena_mark(exec->scratch), n_inputs;
    struct input in[NCT_LINEAR_JOBS];
    struct product product = {.exec = exec, .jobs = jobs, .n_rows = n_rows};
    if (take_inputs(&product, n_jobs, in, &n_inputs))
        prepare(exec, in, n_inputs, n_rows);
    multiply(&product, n_jobs);
    nct_arena_release(exec->scratch, mark);
}

/* ------------------------------------------------------------------ gated */

enum {
    GATED = NCT_GROUP_MAX,                  /* hidden values of a task: whole groups of any size that divides it */
    GATED_STRIDE = GATED + NCT_PANEL,       /* rows not all in the same places of a cache */
};

struct gating {
    struct product product; /* gate, up */
    const struct input *hidden; /* what the third matrix reads */
    float *room;                /* [workers][2][n_rows][GATED_STRIDE] */
};

bool nct_linear_gates(const nct_exec *exec, const nct_linear *gate, const nct_linear *up, const nct_linear *down) {
    const nct_panels *d = &down->panels;
    return !exec->exact && !exec->observer && nct_is_coded(gate->panels.kind) && nct_is_coded(up->panels.kind) &&
           nct_is_coded(d->kind) && !down->perm && GATED % d->group == 0;
}

size_t nct_linear_gated_scratch_bytes(const nct_linear *gate, const nct_linear *up, const nct_linear *down,
                                      size_t n_rows, int n_workers) {
    return nct_linear_scratch_bytes(gate, n_rows) + nct_linear_scratch_bytes(up, n_rows) +
           nct_linear_scratch_bytes(down, n_rows) +
           nct_arena_cost((size_t)n_workers * 2 * n_rows, GATED_STRIDE * sizeof(float));
}

/* The outputs of the panels [panel, panel_end) alone, as y's first columns. */
static void run_slice(const struct product *k, size_t job, float *y, size_t panel, size_t panel_end) {
    nct_panels slice = k->jobs[job].linear->panels;
    slice.data += panel * slice.panel_bytes;
    slice.n_rows -= panel * NCT_PANEL;
    slice.n_panels -= panel;
    coded_product(k->exec, slice.kind)(&slice, &k->in[job]->q, k->n_rows, y, GATED_STRIDE, 0, panel_end - panel);
}

/* GATED hidden values of every row: both products, the gate and the rounding, while they are at hand. */
static void gate_some(void *context, int task, int worker) {
    const struct gating *k = context;
    const nct_kernels *kernels = k->product.exec->kernels;
    const nct_panels *down = &k->hidden->linear->panels;
    size_t n_rows = k->product.n_rows, at = (size_t)task * GATED;
    size_t n = down->n_cols - at < GATED ? down->n_cols - at : GATED, panel = at / NCT_PANEL;
    size_t panel_end = panel + (n + NCT_PANEL - 1) / NCT_PANEL;
    size_t group = at / down->group, group_end = group + (n + down->group - 1) / down->group;
    float *gate = k->room + (size_t)worker * 2 * n_rows * GATED_STRIDE, *up = gate + n_rows * GATED_STRIDE;
    run_slice(&k->product, 0, gate, panel, panel_end);
    run_slice(&k->product, 1, up, panel, panel_end);
    for (size_t t = 0; t < n_rows; t++, gate += GATED_STRIDE, up += GATED_STRIDE) {
        kernels->swiglu(gate, up, n, gate);
        kernels->quantize(down, gate, &k->hidden->q, t, group, group_end);
    }
}

/* Each node's workers take the hidden values whose panels lie there. */
static void gate_all(struct gating *k) {
    const nct_pool *pool = k->product.exec->pool;
    size_t n_tasks = (k->hidden->linear->panels.n_cols + GATED - 1) / GATED;
    int first[NCT_NODES_MAX + 1];
    for (int node = 0; node <= nct_pool_nodes(pool); node++)
        first[node] = (int)nct_pool_share(pool, n_tasks, node);
    nct_pool_run_shares(k->product.exec->pool, first, gate_some, k);
}

void nct_linear_run_gated(const nct_exec *exec, const nct_linear_job given[2], const nct_linear_job *down, size_t n_rows) {
    assert(nct_linear_gates(exec, given[0].linear, given[1].linear, down->linear));
    if (n_rows == 0)
        return;
    nct_linear_job gate_up[2] = {given[0], given[1]};
    fill_x(exec, gate_up, 2, n_rows);
    size_t mark = nct_arena_mark(exec->scratch), n_inputs;
    struct input in[NCT_LINEAR_JOBS], hidden;
    struct gating gating = {.product = {.exec = exec, .jobs = gate_up, .n_rows = n_rows}, .hidden = &hidden};
    take_inputs(&gating.product, 2, in, &n_inputs);
    take_input(exec, down, n_rows, &hidden);
    gating.room = nct_arena_take(exec->scratch, (size_t)nct_pool_size(exec->pool) * 2 * n_rows,
                                 GATED_STRIDE * sizeof(float));
    prepare(exec, in, n_inputs, n_rows);
    gate_all(&gating);
    struct product product = {.exec = exec, .jobs = down, .in = {&hidden}, .n_rows = n_rows};
    multiply(&product, 1);
    nct_arena_release(exec->scratch, mark);
}

/* ------------------------------------------------------------------ pieces */

struct piecing {
    const nct_exec *exec;
    const nct_linear *linear;
    const struct input *in;
    float *y; /* [workers][n_rows][NCT_LINEAR_PIECE] */
    size_t n_rows;
    nct_linear_piece_fn *fn;
    void *context;
};

static void run_piece(void *context, int task, int worker) {
    const struct piecing *k = context;
    const nct_panels *all = &k->linear->panels;
    size_t first = (size_t)task * NCT_LINEAR_PIECE, left = all->n_rows - first,
           n = left < NCT_LINEAR_PIECE ? left : NCT_LINEAR_PIECE;
    float *y = k->y + (size_t)worker * k->n_rows * NCT_LINEAR_PIECE;
    nct_panels piece = *all; /* a matrix of these outputs alone */
    piece.data += first / NCT_PANEL * all->panel_bytes;
    piece.n_rows = n;
    piece.n_panels = (n + NCT_PANEL - 1) / NCT_PANEL;
    multiply_panels(k->exec, &piece, k->in, k->n_rows, y, NCT_LINEAR_PIECE, 0, piece.n_panels);
    k->fn(k->context, (size_t)task, worker, y, NCT_LINEAR_PIECE, first, n);
}

size_t nct_linear_piece_bytes(const nct_linear *linear, size_t n_rows, int n_threads) {
    return nct_linear_scratch_bytes(linear, n_rows) +
           nct_arena_cost((size_t)n_threads * n_rows * NCT_LINEAR_PIECE, sizeof(float));
}

void nct_linear_run_pieces(const nct_exec *exec, const nct_linear *linear, const float *x, size_t x_stride, size_t n_rows,
                           nct_linear_piece_fn *fn, void *context) {
    size_t mark = nct_arena_mark(exec->scratch);
    nct_linear_job job = {.linear = linear, .x = x, .x_stride = x_stride};
    struct input in;
    take_input(exec, &job, n_rows, &in);
    struct piecing k = {exec, linear, &in, NULL, n_rows, fn, context};
    k.y = nct_arena_take(exec->scratch, (size_t)nct_pool_size(exec->pool) * n_rows * NCT_LINEAR_PIECE, sizeof(float));
    if (in.quantized || in.gathered)
        prepare(exec, &in, 1, n_rows);
    nct_pool_run(exec->pool, (int)nct_linear_pieces(linear->panels.n_rows), run_piece, &k);
    nct_arena_release(exec->scratch, mark);
}

/* ------------------------------------------------------------------ some rows */

struct gathering {
    const nct_panels *from, *to;
    const int32_t *row;
};

/* One output's bytes of each of n units, which are NCT_PANEL times as wide. */
static void copy_lane(uint8_t *to, size_t to_lane, const uint8_t *from, size_t from_lane, size_t n, size_t bytes) {
    for (size_t i = 0; i < n; i++)
        memcpy(to + (i * NCT_PANEL + to_lane) * bytes, from + (i * NCT_PANEL + from_lane) * bytes, bytes);
}

static void gather_panel(void *context, int task, int worker) {
    (void)worker;
    const struct gathering *k = context;
    const nct_panels *p = k->to;
    uint8_t *to = p->data + (size_t)task * p->panel_bytes;
    for (size_t o = 0; o < NCT_PANEL && (size_t)task * NCT_PANEL + o < p->n_rows; o++) {
        size_t row = (size_t)k->row[(size_t)task * NCT_PANEL + o], lane = row % NCT_PANEL;
        const uint8_t *from = k->from->data + row / NCT_PANEL * p->panel_bytes;
        if (!nct_is_coded(p->kind)) {
            copy_lane(to, o, from, lane, p->n_cols, p->kind == NCT_PANEL_F32 ? 4 : 2);
            continue;
        }
        copy_lane(to, o, from, lane, p->scale_off / 64, 4); /* four bytes of each unit are an output's */
        copy_lane(to + p->scale_off, o, from + p->scale_off, lane, p->n_groups, p->scale_f32 ? 4 : 2);
        if (p->has_min)
            copy_lane(to + p->min_off, o, from + p->min_off, lane, p->n_groups, 4);
    }
}

nct_status nct_linear_gather(const nct_linear *from, const int32_t *row, size_t n, nct_pool *pool, nct_linear *linear,
                             nct_error *err) {
    nct_linear l = {.panels = from->panels};
    void *data = NULL, *perm = NULL;
    assert(n > 0 && n <= INT32_MAX);
    l.panels.n_rows = n;
    l.panels.n_panels = (n + NCT_PANEL - 1) / NCT_PANEL;
    memcpy(l.label, from->label, sizeof l.label);
    if (from->perm) {
        NCT_TRY(nct_alloc(&perm, l.panels.n_cols, sizeof *l.perm, err));
        memcpy(perm, from->perm, l.panels.n_cols * sizeof *l.perm);
    }
    nct_status status = nct_pool_memory(pool, l.panels.n_panels, l.panels.panel_bytes, &data, err);
    if (status != NCT_OK) {
        nct_free(perm);
        return status;
    }
    l.perm = perm;
    l.panels.data = data;
    nct_pool_run(pool, (int)l.panels.n_panels, gather_panel, &(struct gathering){&from->panels, &l.panels, row});
    *linear = l;
    return NCT_OK;
}
