/* The blocks that rows choose in ordinary arithmetic, against an exact choice: from the same queries before they were
 * rounded and the means of the keys as the cache holds them, in double throughout. A block may differ only where the
 * exact scores lie closer than the rounding that attn/select.h states.
 *
 * NCT_SELECTION_MODEL (a checkpoint) and NCT_SELECTION_TOKENS (16384) do the same for a model of any size on a book,
 * with NCT_SELECTION_THREADS (2); `ctest -R property/selection -V` shows the figures. */
#include <math.h>
#include <stdatomic.h>

#include "base/rng.h"
#include "engine/session.h"
#include "kernel/kv.h"
#include "support/checkpoint.h"
#include "support/model.h"
#include "support/support.h"

/* ------------------------------------------------------------------ the exact choice */

struct audit {
    const nct_session *session;
    size_t n_heads, group;
    double *pooled[2]; /* [layer][kv head][window][d], of fine and coarse */
    size_t windows[2]; /* room for windows of one head */
    size_t *n_pooled;  /* [2][layer][kv head] */
    atomic_flag busy;  /* choices come from several threads */
    size_t n_choices, n_blocks, n_free, n_differ, n_choices_differ;
    size_t n_beyond;  /* choices that mistook a block for one whose score is farther than rounding reaches */
    size_t n_settled; /* choices that rounding cannot reach */
    size_t n_misshapen; /* without their forced blocks, or with too many */
    double largest;     /* distance of scores that were mistaken for one another */
    double nearest;     /* the same as a share of what rounding may do */
};

static void lock(struct audit *a) {
    while (atomic_flag_test_and_set_explicit(&a->busy, memory_order_acquire))
        ;
}
static void unlock(struct audit *a) { atomic_flag_clear_explicit(&a->busy, memory_order_release); }

/* Means of the keys as they are stored, of all windows that a row at p sees. */
static const double *pool(struct audit *a, int level, size_t layer, size_t kv_head, size_t p) {
    const nct_cache *c = &a->session->cache;
    nct_level l = c->level[level];
    size_t d = c->head_dim, head = layer * c->n_kv_heads + kv_head, heads = c->n_layers * c->n_kv_heads,
           *n = &a->n_pooled[(size_t)level * heads + head];
    double *to = a->pooled[level] + head * a->windows[level] * d;
    float key[NCT_HEAD_DIM_MAX];
    for (; *n < nct_level_count(l, p + 1); ++*n) {
        double *mean = to + *n * d;
        memset(mean, 0, d * sizeof *mean);
        for (size_t t = *n * l.stride; t < *n * l.stride + l.size; t++) {
            nct_key_get(c->k_type, nct_cache_step(c, layer, kv_head, t / NCT_STEP).k, NCT_STEP, t % NCT_STEP,
                        d, key);
            for (size_t i = 0; i < d; i++)
                mean[i] += key[i];
        }
        for (size_t i = 0; i < d; i++)
            mean[i] /= (double)l.size;
    }
    return to;
}

/* Variance of a score's error, as attn/select.h states it. */
static double variance(nct_kv_type type, const float *q, const double *k, size_t d) {
    double qq = 0, kk = 0, most_q = 0, most_k = 0;
    for (size_t i = 0; i < d; i++) {
        qq += (double)q[i] * q[i];
        kk += k[i] * k[i];
        most_q = fmax(most_q, fabs(q[i]));
        most_k = fmax(most_k, fabs(k[i]));
    }
    return type == NCT_KV_Q8 ? (most_q * most_q * kk + most_k * most_k * qq) / (254.0 * 254 * 3) : 0;
}

/* Scores s [n] of one head and n keys, and the variances of their errors; returns the largest of these. */
static double score(const struct audit *a, const float *q, const double *keys, size_t n, double *s,
                    double *var) {
    size_t d = a->session->cache.head_dim;
    double most = 0;
    for (size_t j = 0; j < n; j++) {
        const double *k = keys + j * d;
        s[j] = 0;
        for (size_t i = 0; i < d; i++)
            s[j] += (double)q[i] * k[i];
        var[j] = variance(nct_pooled_type(a->session->cache.k_type), q, k, d);
        most = fmax(most, var[j]);
    }
    return most;
}

/* total[j]: fine scores' normalised exponentials, summed over the group's heads, and the variance of its error
 * relative to itself. s, var: room. */
static void sum_heads(const struct audit *a, const float *q, const double *fine, size_t n,
                      const double *source, size_t n_source, double *s, double *var, double *total,
                      double *total_var) {
    size_t d = a->session->cache.head_dim;
    memset(total, 0, n * sizeof *total);
    memset(total_var, 0, n * sizeof *total_var);
    for (size_t h = 0; h < a->group && n_source; h++) {
        double most = -INFINITY, sum = 0, source_var = score(a, q + h * d, source, n_source, s, var);
        for (size_t j = 0; j < n_source; j++)
            most = fmax(most, s[j]);
        for (size_t j = 0; j < n_source; j++)
            sum += exp(s[j] - most);
        score(a, q + h * d, fine, n, s, var);
        for (size_t j = 0; j < n; j++) {
            double part = exp(fmin(s[j] - most, 80)) / sum;
            total[j] += part;
            total_var[j] += part * part * (var[j] + source_var);
        }
    }
    for (size_t j = 0; j < n; j++)
        total_var[j] = total[j] > 0 ? total_var[j] / (total[j] * total[j]) : 0;
}

struct scored {
    double score, var;
    uint32_t block;
};

static int by_score(const void *a, const void *b) {
    const struct scored *x = a, *y = b;
    return x->score != y->score ? (x->score < y->score ? 1 : -1)
                                : (x->block > y->block) - (x->block < y->block);
}

/* The competing blocks, best first. */
static size_t rank_blocks(const nct_sparse *s, size_t p, size_t n, const double *total, const double *var,
                          struct scored *out) {
    size_t diagonal = p / s->block, local = diagonal + 1 - s->local_forced, per = s->block / s->fine.stride;
    for (size_t b = s->init_blocks; b < local; b++) {
        struct scored best = {-INFINITY, 0, (uint32_t)b};
        for (size_t j = per * b - (b > 0); j < per * (b + 1) && j < n; j++) {
            best.score = fmax(best.score, total[j]);
            best.var = fmax(best.var, var[j]);
        }
        out[b - s->init_blocks] = best;
    }
    qsort(out, local - s->init_blocks, sizeof *out, by_score);
    return local - s->init_blocks;
}

static bool holds(const nct_choice *c, uint32_t block) {
    for (int i = 0; i < c->n_blocks; i++)
        if (c->block[i] == block)
            return true;
    return false;
}

/* How far apart two blocks' scores are, the better one first, and from where on they cannot be mistaken. */
static double gap(const struct scored *a, const struct scored *b) { return 1 - b->score / a->score; }
static double rounding(const struct scored *a, const struct scored *b) {
    return 1 - exp(-6 * sqrt(a->var + b->var) - 1e-4);
}

/* Called from the pool's threads, so that nothing may fail here. */
static void compare(void *context, const nct_choice *c) {
    struct audit *a = context;
    const nct_session *s = a->session;
    const nct_sparse *sparse = &s->attend.sparse;
    size_t p = (size_t)c->position, layer = (size_t)c->layer, kv_head = (size_t)c->kv_head,
           n = nct_level_count(sparse->fine, p + 1), n_coarse = nct_level_count(sparse->coarse, p + 1),
           differ = 0;
    size_t d = s->cache.head_dim, t = p - s->cache.length;
    float *q = malloc(a->group * d * sizeof *q);
    bool shaped = (size_t)c->n_blocks == sparse->budget && (size_t)c->n_first == sparse->init_blocks &&
                  (size_t)c->n_local == sparse->local_forced;
    double *room = malloc(4 * (n + 1) * sizeof *room), *total = room + 2 * (n + 1), *var = total + n + 1;
    struct scored *blocks = malloc((p / sparse->block + 1) * sizeof *blocks);
    /* as a layer rotates and scales them in a place of its own */
    memcpy(q, s->work.q + (t * a->n_heads + kv_head * a->group) * d, a->group * d * sizeof *q);
    s->engine->kernels.rope(q, a->group, d, s->work.cos + t * (d / 2), s->work.sin + t * (d / 2));
    for (size_t i = 0; i < a->group * d; i++)
        q[i] *= 1.0f / sqrtf((float)d);
    lock(a);
    const double *fine = pool(a, 0, layer, kv_head, p), *coarse = pool(a, 1, layer, kv_head, p);
    unlock(a);
    sum_heads(a, q, fine, n, sparse->exact_lse ? fine : coarse, sparse->exact_lse ? n : n_coarse, room,
              room + n + 1, total, var);
    size_t need = sparse->budget - sparse->init_blocks - sparse->local_forced,
           n_ranked = rank_blocks(sparse, p, n, total, var, blocks), missed = SIZE_MAX, wrong = 0;
    for (size_t i = 0; shaped && i < n_ranked;
         i++) { /* the best that was missed, the worst that was taken for one */
        bool held = holds(c, blocks[i].block);
        differ += i < need && !held;
        missed = i < need && !held && missed == SIZE_MAX ? i : missed;
        wrong = i >= need && held ? i : wrong;
    }
    lock(a);
    a->n_choices++;
    a->n_misshapen += !shaped;
    a->n_blocks += sparse->budget;
    a->n_free += need;
    a->n_differ += differ;
    a->n_choices_differ += differ > 0;
    a->n_settled += n_ranked == need ||
                    gap(&blocks[need - 1], &blocks[need]) > rounding(&blocks[need - 1], &blocks[need]);
    if (differ) {
        double apart = gap(&blocks[missed], &blocks[wrong]),
               within = rounding(&blocks[missed], &blocks[wrong]);
        a->n_beyond += apart > within;
        a->largest = fmax(a->largest, apart);
        a->nearest = fmax(a->nearest, apart / within);
    }
    unlock(a);
    free(q);
    free(room);
    free(blocks);
}

/* ------------------------------------------------------------------ models and texts */

/* The book's first n tokens, or random ones where it is absent or the vocabulary is a test's. */
static int32_t *read_ids(const nct_engine *engine, size_t n, size_t n_vocab) {
    int32_t *ids = NULL;
    size_t n_ids = 0, n_bytes = n * 6;
    char *text = malloc(n_bytes);
    const char *book = NCT_SHARED_DIR "/data/longdocs/books/war_and_peace.txt.xz";
    FILE *f = n_vocab > 1000 ? popen(nct_test_path("xz -dc '%s' 2>/dev/null", book), "r") : NULL;
    n_bytes = f ? fread(text, 1, n_bytes, f) : 0;
    if (f)
        pclose(f);
    if (n_bytes)
        NCT_ASSERT_OK(nct_encode(engine, text, n_bytes, false, true, &ids, &n_ids, fault));
    free(text);
    if (n_ids >= n)
        return ids;
    nct_free(ids);
    void *p = NULL;
    NCT_ASSERT_OK(nct_alloc(&p, n, sizeof *ids, fault));
    ids = p;
    for (size_t i = 0; i < n; i++) /* words that come again */
        ids[i] = (int32_t)(nct_rng_mix(i / 5 % 97 * 7 + i % 5 + i / 300) % n_vocab);
    return ids;
}

static void print_audit(const char *path, const nct_session *s, size_t n, const struct audit *a) {
    const nct_sparse *g = &s->attend.sparse;
    double blocks = 100 / (double)a->n_blocks, choices = 100 / (double)a->n_choices;
    print_message("%-10.30s %-4s group %2zu head %3zu, %2zu blocks of %3zu, %zu tokens: %7zu choices, of "
                  "blocks %.4f %% "
                  "differ (%.4f %% of those in question), in %.3f %% of choices, scores up to %.2g apart, "
                  "%.0f %% of what "
                  "rounding may do; out of its reach %.1f %% of choices\n",
                  strrchr(path, '/') + 1, nct_kv_type_name(s->cache.k_type), a->group, s->cache.head_dim,
                  g->budget, g->block, n, a->n_choices, blocks * (double)a->n_differ,
                  100 * (double)a->n_differ / (double)a->n_free, choices * (double)a->n_choices_differ,
                  a->largest, 100 * a->nearest, choices * (double)a->n_settled);
}

struct sum {
    size_t n_differ, n_blocks;
};

/* One cache type and variant of a model over n tokens, of which the rows from `from` on are looked at. */
static struct sum check_choices(nct_engine *engine, const char *path, nct_kv type, bool r1, size_t n,
                                size_t from) {
    nct_session_options options = {.n_ctx = (int)n,
                                   .force_ctx = true,
                                   .keys = type,
                                   .values = type,
                                   .sparse = NCT_SPARSE_ON,
                                   .sparse_r1 = r1};
    nct_session *s = NULL;
    nct_model_info info;
    nct_engine_info(engine, &info);
    NCT_ASSERT_OK(nct_session_open(engine, &options, &s, fault));
    size_t heads = s->cache.n_layers * s->cache.n_kv_heads;
    struct audit a = {.session = s,
                      .n_heads = (size_t)info.n_heads,
                      .group = (size_t)(info.n_heads / info.n_kv_heads),
                      .n_pooled = calloc(2 * heads, sizeof *a.n_pooled),
                      .busy = ATOMIC_FLAG_INIT};
    for (int level = 0; level < 2; level++) {
        a.windows[level] = nct_level_count(s->cache.level[level], n);
        a.pooled[level] = calloc(heads * a.windows[level] * s->cache.head_dim, sizeof(double));
        assert_non_null(a.pooled[level]);
    }
    int32_t *ids = read_ids(engine, n, (size_t)info.n_vocab);
    nct_feed_options feed = {.on_choice = compare, .choices_from = (int)from, .context = &a};
    NCT_ASSERT_OK(nct_session_feed(s, ids, n, &feed, fault));
    print_audit(path, s, n, &a);
    assert_true(a.n_choices > 0);
    assert_int_equal(a.n_misshapen, 0);
    assert_int_equal(a.n_beyond, 0);
    free(a.pooled[0]);
    free(a.pooled[1]);
    free(a.n_pooled);
    nct_free(ids);
    nct_session_close(s);
    return (struct sum){a.n_differ, a.n_blocks};
}

static const nct_kv types[] = {NCT_KV_FLOAT32, NCT_KV_FLOAT16, NCT_KV_BFLOAT16, NCT_KV_INT8};
enum { N_TYPES = sizeof types / sizeof *types };

static void test_selection__differs_from_exact_within_rounding_only(void **state) {
    (void)state;
    static const nct_tiny geometries[] = {
        {.seed = 11, .weights = NCT_TINY_GPTQ, .block = 64, .blocks_near = 2, .topk = 5},
        {.seed = 12, .heads = 8, .kv_heads = 1, .head_dim = 64, .block = 32, .blocks_near = 4, .topk = 12},
        {.seed = 13,
         .heads = 6,
         .kv_heads = 2,
         .head_dim = 16,
         .kernel = 64,
         .stride = 32,
         .block = 128,
         .topk = 3},
        {.seed = 14,
         .heads = 16,
         .kv_heads = 1,
         .head_dim = 128,
         .layers = 1,
         .block = 48,
         .blocks_near = 3,
         .topk = 9}};
    enum { N = 1100, FROM = 1020 };
    struct sum all = {0};
    bool slow = nct_test_isa() && strcmp(nct_test_isa(), "ref") == 0;
    if (getenv("NCT_SELECTION_MODEL"))
        return;
    const char *folder = nct_test_folder();
    for (size_t i = 0; i < sizeof geometries / sizeof *geometries; i++) {
        nct_tiny tiny = geometries[i];
        const char *path = nct_test_path("%s/made-%zu", folder, i);
        nct_engine *engine = NULL;
        tiny.sparse = true;
        nct_tiny_write(path, &tiny);
        nct_engine_options options = {.isa = nct_test_isa(), .n_threads = 2, .force_threads = true};
        NCT_ASSERT_OK(nct_engine_open(path, &options, &engine, fault));
        for (size_t t = 0; t < N_TYPES; t++) {
            if (slow && t != i)
                continue;
            struct sum one = check_choices(engine, path, types[t], (i + t) % 3 == 0, N, FROM);
            all = (struct sum){all.n_differ + one.n_differ, all.n_blocks + one.n_blocks};
        }
        nct_engine_close(engine);
    }
    assert_true(200 * all.n_differ <= all.n_blocks); /* of one alone there are too few */
    nct_test_folder_remove(folder);
}

static long number(const char *name, long standard) {
    return getenv(name) ? strtol(getenv(name), NULL, 10) : standard;
}

static void test_selection__does_so_in_a_named_model(void **state) {
    (void)state;
    const char *path = getenv("NCT_SELECTION_MODEL");
    nct_engine *engine = NULL;
    if (!path)
        skip();
    nct_engine_options options = {.isa = nct_test_isa(),
                                  .n_threads = (int)number("NCT_SELECTION_THREADS", 2)};
    NCT_ASSERT_OK(nct_engine_open(path, &options, &engine, fault));
    for (size_t t = 0; t < N_TYPES; t++) {
        struct sum one =
            check_choices(engine, path, types[t], false, (size_t)number("NCT_SELECTION_TOKENS", 16384), 0);
        assert_true(200 * one.n_differ <= one.n_blocks);
    }
    nct_engine_close(engine);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_selection__differs_from_exact_within_rounding_only),
        cmocka_unit_test(test_selection__does_so_in_a_named_model)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
