#include "kernel/walk.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"

/* Running segments of all vectors, in the job's scratch. */
typedef struct segments {
    float *acc, *l, *m; /* [vectors][width], [vectors][16], [vectors] */
    uint32_t *seen;     /* [rows]: steps of the segment */
    size_t width;
} segments;

static segments lay_out(const nct_attend_job *job) {
    size_t vectors = job->n_rows * job->n_heads;
    segments s = {.acc = job->scratch, .width = nct_pad16(job->d)};
    s.l = s.acc + vectors * s.width;
    s.m = s.l + vectors * NCT_PARTIAL;
    s.seen = (uint32_t *)(void *)(s.m + nct_pad16(vectors));
    memset(s.seen, 0, job->n_rows * sizeof *s.seen);
    return s;
}

size_t nct_attend_scratch(size_t n_rows, size_t n_heads, size_t d) {
    size_t vectors = n_rows * n_heads;
    return (vectors * (nct_pad16(d) + NCT_PARTIAL) + nct_pad16(vectors) + nct_pad16(n_rows)) * sizeof(float);
}

static void begin_segment(const nct_attend_job *job, const segments *s, size_t row) {
    size_t from = row * job->n_heads;
    memset(s->acc + from * s->width, 0, job->n_heads * s->width * sizeof *s->acc);
    memset(s->l + from * NCT_PARTIAL, 0, job->n_heads * NCT_PARTIAL * sizeof *s->l);
    for (size_t h = from; h < from + job->n_heads; h++)
        s->m[h] = -INFINITY;
}

/* Sum of the partial sums, in one order. */
static float sum_up(const float l[NCT_PARTIAL]) {
    float sum[NCT_PARTIAL / 2];
    for (size_t i = 0; i < NCT_PARTIAL / 2; i++)
        sum[i] = l[i] + l[i + NCT_PARTIAL / 2];
    for (size_t n = NCT_PARTIAL / 4; n > 0; n /= 2)
        for (size_t i = 0; i < n; i++)
            sum[i] += sum[i + n];
    return sum[0];
}

static void end_segment(const nct_walk *walk, const nct_attend_job *job, const segments *s, size_t row) {
    for (size_t h = row * job->n_heads; h < (row + 1) * job->n_heads; h++) {
        float l = sum_up(s->l + h * NCT_PARTIAL);
        walk->merge(job->m + h, job->l + h, job->acc + h * job->d, s->m + h, &l, s->acc + h * s->width, 1,
                    job->d);
    }
    s->seen[row] = 0;
}

/* Fetches a step's first lines: what takes longest of the later ones is to find out where their page is. */
static void touch(const nct_attend_job *job, size_t s) {
    if (s >= job->n_steps + job->n_after)
        return;
    __builtin_prefetch(job->step[s].k);
    __builtin_prefetch(job->step[s].v);
}

static void run_step(const nct_walk *walk, const nct_attend_job *job, const segments *own, size_t s) {
    const uint64_t *mask = job->mask + s * job->n_rows;
    size_t left = 0; /* vectors that see something of this step */
    for (size_t t = 0; t < job->n_rows; t++)
        left += mask[t] ? job->n_heads : 0;
    if (!left)
        return;
    const nct_tiles *of_k = walk->tiles[job->k_type], *of_v = walk->tiles[job->v_type];
    size_t size = (left - 1) / walk->n_vectors + 1; /* tiles, then vectors of a tile: all about alike */
    size = (left + size - 1) / size;
    _Alignas(64) float score[NCT_TILE][NCT_STEP];
    /* each tile fetches its part of the next step, which lies anywhere: all at once would be waited for */
    const nct_step *next = s + 1 < job->n_steps + job->n_after ? &job->step[s + 1] : NULL;
    touch(job, s + NCT_STEPS_AHEAD);
    nct_tile at = {
        .next_k = next ? next->k : NULL, .next_v = next ? next->v : NULL, .parts = (left + size - 1) / size};
    size_t n = 0;
    for (size_t t = 0; left > 0; t++) {
        if (!mask[t])
            continue;
        if (own->seen[t]++ == 0)
            begin_segment(job, own, t);
        for (size_t h = 0; h < job->n_heads; h++) {
            size_t vector = t * job->n_heads + h;
            at.q[n] = job->q + t * job->q_stride + h * nct_query_bytes(job->d);
            at.visible[n] = mask[t];
            at.m[n] = own->m + vector;
            at.l[n] = own->l + vector * NCT_PARTIAL;
            at.acc[n] = own->acc + vector * own->width;
            if (++n == size || n == left) {
                of_k->wide[n - 1](&at, job->step[s].k, NCT_STEP, 0, NCT_STEP, job->d, score[0], NCT_STEP);
                of_v->mix[n - 1](&at, job->step[s].v, job->d, score);
                at.part++;
                left -= n;
                n = 0;
            }
        }
    }
}

void nct_walk_attend(const nct_walk *walk, const nct_attend_job *job) {
    segments own = lay_out(job);
    for (size_t s = 0; s < job->n_steps; s++) {
        run_step(walk, job, &own, s);
        for (size_t t = 0; t < job->n_rows; t++)
            if (own.seen[t] == NCT_SEGMENT_STEPS)
                end_segment(walk, job, &own, t);
    }
    for (size_t t = 0; t < job->n_rows; t++)
        if (own.seen[t])
            end_segment(walk, job, &own, t);
}

/* What is scored: some heads and keys. */
struct scoring {
    const uint8_t *k, *next, *q;
    size_t lanes, key_step; /* bytes from one lane to the next */
    size_t n_heads, d;
    float *s;
    size_t s_stride;
};

/* Lanes [first, end), `at_once` of them at a time, by tiles of up to n_vectors. */
static void dots_of(const struct scoring *k, nct_scores_fn *const *tiles, size_t n_vectors, size_t first,
                    size_t end, size_t at_once) {
    nct_tile at; /* what scores do not look at stays as it is */
    at.parts = (k->n_heads + n_vectors - 1) / n_vectors;
    at.part = 0;
    for (size_t h = 0; first < end && at.part < at.parts; at.part++) {
        size_t left = at.parts - at.part, n = (k->n_heads - h + left - 1) / left;
        for (size_t v = 0; v < n; v++)
            at.q[v] = k->q + (h + v) * nct_query_bytes(k->d);
        for (size_t j = first; j < end; j += at_once) {
            at.next_k = k->next ? k->next + j * k->key_step : NULL;
            tiles[n - 1](&at, k->k, k->lanes, j, end - j < at_once ? end - j : at_once, k->d,
                         k->s + h * k->s_stride + j, k->s_stride);
        }
        h += n;
    }
}

void nct_walk_dots(const nct_walk *walk, nct_kv_type k_type, const void *k, size_t lanes, size_t n_lanes,
                   const void *next, const uint8_t *q, size_t n_heads, size_t d, float *s, size_t s_stride) {
    const nct_tiles *tiles = walk->tiles[k_type];
    const struct scoring scoring = {k, next, q, lanes, k_type == NCT_KV_F16 ? 2 : 4, n_heads, d, s, s_stride};
    size_t wide = n_lanes / NCT_STEP * NCT_STEP;
    dots_of(&scoring, tiles->wide, walk->n_vectors, 0, wide, NCT_STEP);
    dots_of(&scoring, tiles->narrow, walk->n_narrow, wide, n_lanes, 16);
}
