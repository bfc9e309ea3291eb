/** How attention walks steps and rows, the same on every vector rung: rows that see a step hand their query
 *  vectors to tiles of a few, running segments are kept in the job's scratch and merged when they end. A rung
 *  brings the tiles.
 */
#ifndef NCT_KERNEL_WALK_H
#define NCT_KERNEL_WALK_H

#include <math.h>
#include <string.h>

#include "kernel/kernel.h"

enum {
    NCT_TILE = 6,     /* vectors of a tile, at most .. */
    NCT_NARROW = 8,   /* .. and of one that scores few keys */
    NCT_PARTIAL = 16, /* partial sums of weights, one for every 16th lane */
};

/** What a tile's vectors are, what they see of the step, and where their running segments are. */
typedef struct nct_tile {
    const uint8_t *q[NCT_NARROW];
    uint64_t visible[NCT_TILE];
    float *m[NCT_TILE], *l[NCT_TILE],
        *acc[NCT_TILE]; /* l [16]; acc padded to a multiple of 16, 64-byte aligned */
    const uint8_t *next_k,
        *next_v;        /* blocks to be fetched meanwhile, as large as those at hand; or NULL: .. */
    size_t part, parts; /* .. of each row of them every parts-th cache line, from line `part` on */
} nct_tile;

/** Scores of a tile's vectors and keys first .. first + n - 1 of a block of `lanes`, to s[v * s_stride + j]. n
 *  is 64, or at most 16. */
typedef void nct_scores_fn(const nct_tile *t, const void *k, size_t lanes, size_t first, size_t n, size_t d,
                           float *s, size_t s_stride);
/** Turns scores [vectors][64] into weights (the array is spent), updates m and l, and adds the weighted values. */
typedef void nct_mix_fn(const nct_tile *t, const void *v, size_t d, float s[NCT_TILE][NCT_STEP]);
/** Tiles of 1 and more vectors for one type of keys and values. */
typedef struct nct_tiles {
    nct_scores_fn *wide[NCT_TILE], *narrow[NCT_NARROW]; /* for 64 keys, and for at most 16 */
    nct_mix_fn *mix[NCT_TILE];
} nct_tiles;

typedef struct nct_walk {
    size_t n_vectors, n_narrow; /* of a tile, at most; of a narrow one */
    nct_attend_merge_fn *merge;
    const nct_tiles *tiles[NCT_KV_TYPES];
} nct_walk;

void nct_walk_attend(const nct_walk *walk, const nct_attend_job *job);
void nct_walk_dots(const nct_walk *walk, nct_kv_type k_type, const void *k, size_t lanes, size_t n_lanes,
                   const void *next, const uint8_t *q, size_t n_heads, size_t d, float *s, size_t s_stride);

/** Fetches the tile's part of n_bytes at `next`, unless that is NULL, and returns what lies `step` bytes further. */
static inline __attribute__((always_inline)) const uint8_t *nct_fetch(const nct_tile *t, const uint8_t *next,
                                                                      size_t step, const size_t n_bytes) {
    if (!next)
        return NULL;
    for (size_t i = 64 * t->part; i < n_bytes; i += 64 * t->parts)
        __builtin_prefetch(next + i);
    return next + step;
}

/** attend_merge for a rung's exponential and its total = total * a + part * b, each product and sum rounded. */
static inline __attribute__((always_inline)) void
nct_merge_with(float (*exponential)(float x),
               void (*blend)(float *total, float a, const float *part, float b, size_t d), float *m_total,
               float *l_total, float *acc_total, const float *m, const float *l, const float *acc, size_t n,
               size_t d) {
    for (size_t h = 0; h < n; h++, acc_total += d, acc += d) {
        if (l[h] == 0)
            continue;
        if (l_total[h] == 0) {
            m_total[h] = m[h];
            l_total[h] = l[h];
            memcpy(acc_total, acc, d * sizeof *acc);
            continue;
        }
        float lower = exponential(-fabsf(m_total[h] - m[h])); /* the other one's factor is e^0 */
        float a = m_total[h] < m[h] ? lower : 1, b = m_total[h] < m[h] ? 1 : lower;
        blend(acc_total, a, acc, b, d);
        l_total[h] = l_total[h] * a + l[h] * b;
        m_total[h] = fmaxf(m_total[h], m[h]);
    }
}

/* For those who write tiles: the six sizes of one form. Bodies are inlined with constant sizes and, of scores,
 * with `wide`: true for 64 keys. Those of few keys may come in eight. */
#define NCT_EIGHT(name)                                                                                      \
    { name##_1, name##_2, name##_3, name##_4, name##_5, name##_6, name##_7, name##_8 }
#define NCT_SIX(name)                                                                                        \
    { name##_1, name##_2, name##_3, name##_4, name##_5, name##_6 }
#define NCT_EACH_SIZE(of, ...)                                                                               \
    of(1, __VA_ARGS__) of(2, __VA_ARGS__) of(3, __VA_ARGS__) of(4, __VA_ARGS__) of(5, __VA_ARGS__)           \
        of(6, __VA_ARGS__)
#define NCT_SCORES_OF(size, name, wide, body)                                                                \
    static void name##_##size(const nct_tile *t, const void *k, size_t lanes, size_t first, size_t n,        \
                              size_t d, float *s, size_t s_stride) {                                         \
        body(size, wide, t, k, lanes, first, n, d, s, s_stride);                                             \
    }
#define NCT_SCORES(name, wide, body)  NCT_EACH_SIZE(NCT_SCORES_OF, name, wide, body)
#define NCT_NARROW_SCORES(name, body) NCT_SCORES_OF(7, name, false, body) NCT_SCORES_OF(8, name, false, body)
#define NCT_MIX_OF(size, name, body)                                                                         \
    static void name##_##size(const nct_tile *t, const void *v, size_t d, float s[NCT_TILE][NCT_STEP]) {     \
        body(size, t, v, d, s);                                                                              \
    }
#define NCT_MIX(name, body) NCT_EACH_SIZE(NCT_MIX_OF, name, body)

/* The entries of a rung that walks: `attend` and `dots`. */
#define NCT_WALK_ENTRIES(walk)                                                                               \
    static void attend(const nct_attend_job *job) { nct_walk_attend(&(walk), job); }                         \
    static void dots(nct_kv_type k_type, const void *k, size_t lanes, size_t n_lanes, const void *next,      \
                     const uint8_t *q, size_t n_heads, size_t d, float *s, size_t s_stride) {                \
        nct_walk_dots(&(walk), k_type, k, lanes, n_lanes, next, q, n_heads, d, s, s_stride);                 \
    }

#endif
