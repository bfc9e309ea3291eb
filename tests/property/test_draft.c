/* Draft heads: what they guess depends on the pairs alone, not on how they came, on threads, on earlier guesses or on
 * the encoding of the weights, and is what the formulas say. */
#include <math.h>

#include "spec/eagle.h"
#include "spec/eagle3.h"
#include "support/heads.h"
#include "support/support.h"

enum { PAIRS = 200, WINDOW = 70, LIMIT = 1000 };

/* A target, a head on disk and pairs; and one line at a time over them. */
struct bench {
    nct_test_head head;
    const nct_drafter *drafter;
    nct_kernels kernels;
    nct_pool *pool;
    nct_exec exec;
    nct_model target;
    const char *dir;
    void *weights, *state;
    float *row;
    size_t n_row;
    int32_t token[PAIRS + 1];
};

static const nct_drafter *const drafters[] = {&nct_drafter_eagle, &nct_drafter_eagle3};
static const nct_draft_kind kinds[] = {NCT_DRAFT_EAGLE, NCT_DRAFT_EAGLE3};
#define EACH_KIND(i) for (size_t i = 0; i < 2; i++)

static uint32_t state_;
static uint32_t next(void) { return (state_ = state_ * 1664525u + 1013904223u) >> 8; }
static float uniform(void) { return (float)next() / 8388608.0f - 1; }

static void open_line(struct bench *b) {
    nct_draft_target target = {
        .model = &b->target, .rope = &b->target.rope, .limit = LIMIT, .n_threads = nct_pool_size(b->pool)};
    b->drafter->close(b->state);
    b->state = NULL;
    NCT_ASSERT_OK(b->drafter->open(b->weights, &target, NULL, &b->state, fault));
}

static void bench_open(struct bench *b, const nct_test_head *head, int n_threads, bool exact,
                       const nct_draft_options *options) {
    *b = (struct bench){
        .head = *head, .drafter = drafters[head->kind == NCT_DRAFT_EAGLE3], .dir = nct_test_folder()};
    NCT_ASSERT_OK(nct_kernels_pick(nct_test_isa(), &b->kernels, fault));
    NCT_ASSERT_OK(nct_pool_open(n_threads, &b->pool, fault));
    b->exec = (nct_exec){.kernels = &b->kernels, .pool = b->pool, .exact = exact};
    nct_test_target_open(&b->target, head, 8, NULL, NULL, b->pool);
    nct_test_head_write(b->dir, head);
    NCT_ASSERT_OK(b->drafter->load(b->dir, &b->target, &b->exec, options, &b->weights, fault));
    b->n_row = head->kind == NCT_DRAFT_EAGLE3 ? 3 * head->hidden : head->hidden;
    void *p = NULL;
    NCT_ASSERT_OK(nct_alloc(&p, PAIRS * b->n_row, sizeof(float), fault));
    b->row = p;
    state_ = 5;
    for (size_t i = 0; i < PAIRS * b->n_row; i++)
        b->row[i] = uniform();
    for (size_t i = 0; i <= PAIRS; i++)
        b->token[i] = (int32_t)(next() % head->vocab);
    open_line(b);
}

static void bench_close(struct bench *b) {
    b->drafter->close(b->state);
    b->drafter->unload(b->weights);
    nct_test_target_close(&b->target);
    nct_pool_close(b->pool);
    nct_test_folder_remove(b->dir);
    nct_free(b->row);
}

static void observe(struct bench *b, size_t first, size_t n, bool known) {
    nct_pairs pairs = {.first = first,
                       .n = n,
                       .token = b->token,
                       .row = known ? b->row + first * b->n_row : NULL,
                       .stride = b->n_row};
    NCT_ASSERT_OK(b->drafter->observe(b->state, &b->exec, &pairs, fault));
}

static size_t n_passes; /* of the last proposal */

static nct_tree propose(struct bench *b, size_t n_pairs, size_t n_max, size_t depth, size_t width) {
    nct_ask ask = {.n_max = n_max, .depth_max = depth, .width = width};
    nct_tree tree;
    nct_tree_init(&tree, b->token[n_pairs]);
    NCT_ASSERT_OK(b->drafter->propose(b->state, &b->exec, &ask, &tree, &n_passes, fault));
    return tree;
}

static nct_tree usual(struct bench *b, size_t n_pairs) { return propose(b, n_pairs, 24, 4, 5); }

static void same_tree(const char *what, const nct_tree *a, const nct_tree *b) {
    if (a->n != b->n)
        fail_msg("%s: %zu nodes and %zu", what, a->n, b->n);
    for (size_t i = 0; i < a->n; i++)
        if (a->token[i] != b->token[i] || a->parent[i] != b->parent[i] ||
            memcmp(&a->score[i], &b->score[i], sizeof *a->score) != 0)
            fail_msg("%s: node %zu is %d after %d with %.9g, and %d after %d with %.9g", what, i, a->token[i],
                     a->parent[i], (double)a->score[i], b->token[i], b->parent[i], (double)b->score[i]);
}

/* Keys and values of the first n pairs. */
static void same_cache(const char *what, const nct_cache *a, const nct_cache *b, size_t n) {
    for (size_t kv = 0; kv < a->n_kv_heads; kv++)
        for (size_t s = 0; s < n / NCT_STEP; s++) {
            nct_step x = nct_cache_step(a, 0, kv, s), y = nct_cache_step(b, 0, kv, s);
            if (memcmp(x.k, y.k, a->key_bytes) != 0 || memcmp(x.v, y.v, a->value_bytes) != 0)
                fail_msg("%s: keys or values differ in block %zu of head %zu", what, s, kv);
        }
}

static const nct_cache *cache_of(const struct bench *b) { return &((const nct_draft_line *)b->state)->cache; }

/* ------------------------------------------------------------------ the formulas, in double */

enum { DMAX = 128, FMAX = 256 };

struct model {
    const struct bench *b;
    const nct_draft *d;
    double key[PAIRS + NCT_TREE_MAX][DMAX], value[PAIRS + NCT_TREE_MAX][DMAX];
    double out[1 + NCT_TREE_MAX][DMAX];
};

static double weight(const struct model *m, nct_draft_role role, size_t r, size_t c) {
    return (double)nct_test_head_weight(&m->b->head, role, r, c);
}

static void product(const struct model *m, nct_draft_role role, const double *x, double *y) {
    size_t n_rows, n_cols;
    nct_test_head_shape(&m->b->head, role, &n_rows, &n_cols);
    for (size_t r = 0; r < n_rows; r++) {
        y[r] = 0;
        for (size_t c = 0; c < n_cols; c++)
            y[r] += weight(m, role, r, c) * x[c];
    }
}

static void norm(const struct model *m, nct_draft_role role, const double *x, double *y) {
    size_t n = m->b->head.hidden;
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += x[i] * x[i];
    for (size_t i = 0; i < n; i++)
        y[i] = weight(m, role, 0, i) * x[i] / sqrt(sum / (double)n + 1e-6);
}

static void rotate(double *x, size_t heads, size_t w, size_t position) {
    for (size_t h = 0; h < heads; h++, x += w)
        for (size_t i = 0; i < w / 2; i++) {
            double angle = (double)position * pow(10000, -2.0 * (double)i / (double)w), a = x[i],
                   b = x[i + w / 2];
            x[i] = a * cos(angle) - b * sin(angle);
            x[i + w / 2] = b * cos(angle) + a * sin(angle);
        }
}

/* Runs a row at a position, its keys and values going to a slot; it sees slots of [from, n_pairs) and marked ones behind.
 * target: the target's row, or NULL for one that follows own. */
static void run_row(struct model *m, int32_t token, const float *target, const double *own, size_t position,
                    size_t slot, size_t from, size_t n_pairs, uint64_t mask, double *out) {
    const nct_test_head *h = &m->b->head;
    bool third = h->kind == NCT_DRAFT_EAGLE3;
    size_t n = h->hidden, w = h->head_dim, group = h->heads / h->kv_heads;
    float wide[DMAX], room[DMAX];
    double e[DMAX], x[DMAX], c[2 * DMAX], row[3 * DMAX], q[DMAX], att[DMAX] = {0}, y[DMAX], gate[FMAX],
                                                                  up[FMAX];
    nct_linear_row(&m->b->target.weights.embedding, (size_t)token, wide, room);
    for (size_t i = 0; i < n; i++)
        e[i] = (third ? 1 : 12) * (double)wide[i];
    for (size_t i = 0; target && i < m->b->n_row; i++)
        row[i] = (third ? 1 : 2) * (double)target[i];
    if (third) {
        if (target)
            product(m, NCT_DRAFT_FC, row, x);
        for (size_t i = 0; !target && i < n; i++)
            x[i] = own[i];
        norm(m, NCT_DRAFT_NORM_EMBEDDING, e, c);
        norm(m, NCT_DRAFT_NORM_HIDDEN, x, c + n);
    } else {
        norm(m, NCT_DRAFT_NORM_EMBEDDING, e, c);
        norm(m, NCT_DRAFT_NORM_HIDDEN, target ? row : own, c + n);
        product(m, NCT_DRAFT_FC, c, x);
        for (size_t i = 0; h->bias && i < n; i++)
            x[i] += (double)nct_test_head_bias(h, i);
        norm(m, NCT_DRAFT_NORM_INPUT, x, c);
    }
    product(m, NCT_DRAFT_Q, c, q);
    product(m, NCT_DRAFT_K, c, m->key[slot]);
    product(m, NCT_DRAFT_V, c, m->value[slot]);
    rotate(q, h->heads, w, position);
    rotate(m->key[slot], h->kv_heads, w, position);
    if (!out)
        return;
    for (size_t head = 0; head < h->heads; head++) {
        const double *mine = q + head * w;
        size_t kv = head / group * w;
        double sum = 0;
        for (size_t s = from; s < n_pairs + NCT_TREE_MAX; s++) {
            if (s >= n_pairs && !(mask >> (s - n_pairs) & 1))
                continue;
            double score = 0;
            for (size_t i = 0; i < w; i++)
                score += mine[i] * m->key[s][kv + i];
            double p = exp(score / sqrt((double)w));
            sum += p;
            for (size_t i = 0; i < w; i++)
                att[head * w + i] += p * m->value[s][kv + i];
        }
        for (size_t i = 0; i < w; i++)
            att[head * w + i] /= sum;
    }
    double scale = third ? 1 : 1.4 / sqrt(8);
    product(m, NCT_DRAFT_O, att, y);
    for (size_t i = 0; i < n; i++)
        x[i] += scale * y[i];
    norm(m, NCT_DRAFT_NORM_POST, x, c);
    product(m, NCT_DRAFT_GATE, c, gate);
    product(m, NCT_DRAFT_UP, c, up);
    for (size_t i = 0; i < h->intermediate; i++)
        gate[i] = gate[i] / (1 + exp(-gate[i])) * up[i];
    product(m, NCT_DRAFT_DOWN, gate, y);
    for (size_t i = 0; i < n; i++)
        out[i] = x[i] + scale * y[i];
}

/* The `width` best tokens after an output. */
static void guess(const struct model *m, const double *out, size_t width, int32_t *token, float *log_q) {
    const nct_test_head *h = &m->b->head;
    bool third = h->kind == NCT_DRAFT_EAGLE3;
    size_t n = h->hidden, n_scores = third ? h->draft_vocab : h->vocab;
    double score[512], x[DMAX], sum = 0;
    float wide[DMAX], room[DMAX];
    memcpy(x, out, n * sizeof *x);
    if (third)
        norm(m, NCT_DRAFT_NORM_FINAL, out, x);
    for (size_t r = 0; r < n_scores; r++) {
        if (!third)
            nct_linear_row(m->b->target.weights.head, r, wide, room);
        score[r] = 0;
        for (size_t i = 0; i < n; i++)
            score[r] += (third ? weight(m, NCT_DRAFT_HEAD, r, i) : (double)wide[i] / 2) * x[i];
        sum += exp(score[r]);
    }
    for (size_t c = 0; c < width; c++) {
        size_t best = 0;
        for (size_t r = 1; r < n_scores; r++)
            best = score[r] > score[best] ? r : best;
        token[c] = third ? nct_test_head_id(h, best) : (int32_t)best;
        log_q[c] = (float)(score[best] - log(sum));
        score[best] = -INFINITY;
    }
}

/* The tree as the formulas have it. */
static nct_tree reference(const struct bench *b, size_t n_pairs, size_t window, size_t n_max, size_t depth,
                          size_t width) {
    void *p = NULL;
    static nct_beam beam;
    int32_t token[NCT_BEAM_WIDTH * NCT_BEAM_WIDTH];
    float log_q[NCT_BEAM_WIDTH * NCT_BEAM_WIDTH];
    NCT_ASSERT_OK(nct_alloc(&p, 1, sizeof(struct model), fault));
    struct model *m = p;
    m->b = b;
    for (size_t j = 0; j < n_pairs; j++) {
        bool last = j + 1 == n_pairs;
        run_row(m, b->token[j + 1], b->row + j * b->n_row, NULL, j, j, j + 1 > window ? j + 1 - window : 0,
                n_pairs, 0, last ? m->out[0] : NULL);
    }
    guess(m, m->out[0], width, token, log_q);
    nct_beam_begin(&beam, width, token, log_q);
    while (beam.level < depth) {
        size_t row = (beam.level - 1) * width, above = beam.level > 1 ? 1 + row - width : 0,
               position = n_pairs + beam.level - 1;
        for (size_t r = 0; r < width; r++) {
            run_row(m, nct_beam_token(&beam, r), NULL, m->out[above + beam.source[r]], position,
                    n_pairs + row + r, position + 1 > window ? position + 1 - window : 0, n_pairs,
                    beam.mask[r], m->out[1 + row + r]);
            guess(m, m->out[1 + row + r], width, token + r * width, log_q + r * width);
        }
        nct_beam_expand(&beam, token, log_q);
    }
    nct_tree tree;
    nct_beam_tree(&beam, b->token[n_pairs], n_max, &tree);
    nct_free(m);
    return tree;
}

static void test_draft__trees_are_what_the_formulas_say(void **state) {
    (void)state;
    EACH_KIND(i) {
        nct_test_head head = nct_test_head_make(kinds[i]);
        head.codes = NCT_HEAD_F32;
        head.bias = kinds[i] == NCT_DRAFT_EAGLE;
        struct bench b;
        nct_draft_options options = {.window = WINDOW};
        bench_open(&b, &head, 2, true, &options);
        observe(&b, 0, 150, true);
        /* all candidates: 3 and three levels of 9 */
        nct_tree is = propose(&b, 150, 31, 4, 3), wanted = reference(&b, 150, WINDOW, 31, 4, 3);
        assert_int_equal(is.n, 31);
        assert_int_equal(wanted.n, 31);
        for (size_t k = 1; k < is.n; k++) {
            assert_int_equal(is.token[k], wanted.token[k]);
            assert_int_equal(is.parent[k], wanted.parent[k]);
            if (!(fabsf(is.score[k] - wanted.score[k]) <= 2e-5f))
                fail_msg("node %zu: %.8f, expected %.8f", k, (double)is.score[k], (double)wanted.score[k]);
        }
        assert_int_equal(n_passes, 4);
        for (size_t n = 2; n < 31; n++) { /* levels that cannot matter are left out, and do not matter */
            nct_tree small = propose(&b, 150, n, 4, 3), cut = is;
            nct_tree_cut(&cut, n);
            same_tree("a small tree", &small, &cut);
            assert_true(n > 2 || n_passes == 1);
        }
        bench_close(&b);
    }
}

/* ------------------------------------------------------------------ what must not matter */

static nct_test_codes codes_for(size_t i) { return i ? NCT_HEAD_BF16 : NCT_HEAD_MARLIN; }

static void test_draft__how_pairs_come_and_threads_change_nothing(void **state) {
    (void)state;
    static const int threads[] = {1, 2, 5};
    static const size_t pieces[] = {PAIRS, 1, 7, 64, 129};
    EACH_KIND(i) {
        nct_test_head head = nct_test_head_make(kinds[i]);
        head.codes = codes_for(i);
        struct bench first;
        bench_open(&first, &head, 1, false, NULL);
        observe(&first, 0, PAIRS, true);
        nct_tree wanted = usual(&first, PAIRS);
        assert_true(wanted.n == 24);
        for (size_t t = 0; t < 3; t++) {
            struct bench b;
            bench_open(&b, &head, threads[t], false, NULL);
            for (size_t k = 0; k < sizeof pieces / sizeof *pieces; k++) {
                open_line(&b);
                for (size_t at = 0; at < PAIRS; at += pieces[k])
                    observe(&b, at, PAIRS - at < pieces[k] ? PAIRS - at : pieces[k], true);
                assert_int_equal(((nct_draft_line *)b.state)->n_pairs, PAIRS);
                nct_tree is = usual(&b, PAIRS);
                same_tree("pairs in pieces", &is, &wanted);
                same_cache("pairs in pieces", cache_of(&b), cache_of(&first), PAIRS);
            }
            bench_close(&b);
        }
        bench_close(&first);
    }
}

/* The whole layer at every pair, as a round of guessing does, against keys and values alone. */
static void test_draft__guessing_at_every_pair_leaves_no_trace(void **state) {
    (void)state;
    EACH_KIND(i) {
        nct_test_head head = nct_test_head_make(kinds[i]);
        head.codes = codes_for(i);
        struct bench lazy, busy;
        bench_open(&lazy, &head, 1, false, NULL);
        bench_open(&busy, &head, 1, false, NULL);
        observe(&lazy, 0, PAIRS, true);
        for (size_t at = 0, n; at < PAIRS; at += n) {
            n = PAIRS - at < 1 + at % 4 ? PAIRS - at : 1 + at % 4;
            observe(&busy, at, n, true);
            if (at % 3)
                propose(&busy, at + n, NCT_TREE_MAX, 1 + at % 6, 1 + at % 12);
        }
        nct_tree a = usual(&lazy, PAIRS), b = usual(&busy, PAIRS), again = usual(&busy, PAIRS);
        same_tree("after guesses", &b, &a);
        same_tree("the second time", &again, &a);
        same_cache("after guesses", cache_of(&busy), cache_of(&lazy), PAIRS);
        bench_close(&lazy);
        bench_close(&busy);
    }
}

static void test_draft__a_rewind_forgets(void **state) {
    (void)state;
    EACH_KIND(i) {
        nct_test_head head = nct_test_head_make(kinds[i]);
        head.codes = codes_for(i);
        struct bench b, other;
        bench_open(&b, &head, 1, false, NULL);
        bench_open(&other, &head, 1, false, NULL);
        for (size_t k = 50 * other.n_row; k < PAIRS * other.n_row; k++)
            other.row[k] = -other.row[k]; /* another text from pair 50 on */
        for (size_t k = 51; k <= PAIRS; k++)
            other.token[k] = (int32_t)((size_t)other.token[k] + 1) % (int32_t)head.vocab;
        observe(&other, 0, 80, true);
        usual(&other, 80);
        other.drafter->rewind(other.state, 50);
        assert_int_equal(usual(&other, 50).n, 1); /* the row of the last pair is not kept */
        memcpy(other.row, b.row, PAIRS * b.n_row * sizeof *b.row);
        memcpy(other.token, b.token, sizeof b.token);
        observe(&b, 0, 60, true);
        observe(&other, 50, 10, true);
        nct_tree wanted = usual(&b, 60), is = usual(&other, 60);
        same_tree("after a rewind", &is, &wanted);
        other.drafter->rewind(other.state, 60); /* takes nothing away */
        is = usual(&other, 60);
        same_tree("after a rewind of nothing", &is, &wanted);
        other.drafter->rewind(other.state, 0);
        observe(&other, 0, 60, true);
        is = usual(&other, 60);
        same_tree("from the start", &is, &wanted);
        bench_close(&b);
        bench_close(&other);
    }
}

static void test_draft__pairs_out_of_the_window_need_not_be_known(void **state) {
    (void)state;
    EACH_KIND(i) {
        nct_test_head head = nct_test_head_make(kinds[i]);
        struct bench b;
        nct_draft_options options = {.window = WINDOW};
        bench_open(&b, &head, 1, false, &options);
        observe(&b, 0, PAIRS, true);
        nct_tree wanted = usual(&b, PAIRS);
        open_line(&b);
        observe(&b, 0, PAIRS - WINDOW, false);
        assert_int_equal(usual(&b, PAIRS - WINDOW).n, 1); /* nothing is known */
        observe(&b, PAIRS - WINDOW, WINDOW, true);
        nct_tree is = usual(&b, PAIRS);
        same_tree("unknown pairs", &is, &wanted);
        open_line(&b);
        observe(&b, 0, PAIRS - 3, false);
        observe(&b, PAIRS - 3, 3, true);
        assert_int_equal(usual(&b, PAIRS).n, 24); /* fewer than the window are fine */
        b.drafter->rewind(b.state, 60);
        observe(&b, 60, 60, true);
        is = usual(&b, 120);
        open_line(&b);
        observe(&b, 0, 60, false);
        observe(&b, 60, 60, true);
        wanted = usual(&b, 120);
        same_tree("a rewind to unknown pairs", &is, &wanted);
        bench_close(&b);
    }
}

static void test_draft__small_trees_are_beginnings_of_large_ones(void **state) {
    (void)state;
    EACH_KIND(i) {
        nct_test_head head = nct_test_head_make(kinds[i]);
        struct bench b;
        bench_open(&b, &head, 1, false, NULL);
        observe(&b, 0, 40, true);
        nct_tree large = propose(&b, 40, 40, 4, 5);
        for (size_t n = 1; n <= 40; n += 3) {
            nct_tree small = propose(&b, 40, n, 4, 5), cut = large;
            assert_int_equal(small.n, n);
            nct_tree_cut(&cut, n);
            same_tree("a smaller tree", &small, &cut);
        }
        bench_close(&b);
    }
}

/* Widths and depths up to what masks hold. */
static void test_draft__largest_trees_fit(void **state) {
    (void)state;
    static const size_t asked[][2] = {{16, 9}, {1, 100}, {10, 7}, {13, 6}, {2, 40}};
    EACH_KIND(i) {
        nct_test_head head = nct_test_head_make(kinds[i]);
        struct bench b;
        bench_open(&b, &head, 2, false, NULL);
        observe(&b, 0, 100, true);
        for (size_t k = 0; k < sizeof asked / sizeof *asked; k++) {
            nct_tree tree = propose(&b, 100, NCT_TREE_MAX, asked[k][1], asked[k][0]);
            assert_int_equal(tree.n, NCT_TREE_MAX);
            for (size_t n = 1; n < tree.n; n++) {
                assert_in_range(tree.token[n], 0, head.vocab - 1);
                assert_true(tree.score[n] <= tree.score[tree.parent[n]] && isfinite(tree.score[n]));
                assert_true(tree.depth[n] <= asked[k][1]);
            }
        }
        bench_close(&b);
    }
}

/* ------------------------------------------------------------------ encodings */

struct clothes {
    nct_test_names names;
    nct_test_codes codes;
    const char *file;
    bool narrow;
};

static const struct clothes wardrobe[] = {
    {NCT_NAMES_CPMCU, NCT_HEAD_BF16, NULL, false},
    {NCT_NAMES_VLLM, NCT_HEAD_BF16, NULL, true},
    {NCT_NAMES_GPTQ, NCT_HEAD_F32, NULL, false},
    {NCT_NAMES_GPTQ, NCT_HEAD_GPTQ, NULL, true},
    {NCT_NAMES_VLLM, NCT_HEAD_GPTQ, "other.safetensors", false},
    {NCT_NAMES_CPMCU, NCT_HEAD_MARLIN, "model_gptq.safetensors", false},
};
enum { CLOTHES = sizeof wardrobe / sizeof *wardrobe };

static nct_tree dressed(nct_draft_kind kind, const struct clothes *c, bool exact) {
    nct_test_head head = nct_test_head_make(kind);
    head.names = c->names, head.codes = c->codes, head.file = c->file, head.narrow_ids = c->narrow;
    struct bench b;
    bench_open(&b, &head, 1, exact, NULL);
    observe(&b, 0, 90, true);
    nct_tree tree = usual(&b, 90);
    bench_close(&b);
    return tree;
}

static void test_draft__every_encoding_and_naming_guesses_the_same(void **state) {
    (void)state;
    EACH_KIND(i) {
        nct_tree exact = dressed(kinds[i], &wardrobe[0], true),
                 coded = dressed(kinds[i], &wardrobe[3], false);
        for (size_t k = 0; k < CLOTHES; k++) {
            nct_tree is = dressed(kinds[i], &wardrobe[k], true);
            assert_int_equal(is.n, exact.n);
            for (size_t n = 1; n < is.n; n++) {
                assert_int_equal(is.token[n], exact.token[n]);
                assert_true(fabsf(is.score[n] - exact.score[n]) <= 1e-5f);
            }
            if (wardrobe[k].codes < NCT_HEAD_GPTQ)
                continue;
            is = dressed(kinds[i], &wardrobe[k], false);
            same_tree("codes", &is, &coded);
        }
    }
}

static void test_draft__plain_numbers_can_be_rounded_while_loading(void **state) {
    (void)state;
    static const struct {
        nct_quant quant;
        nct_panel_kind panels;
        float bound;
    } cases[] = {{NCT_QUANT_INT8, NCT_PANEL_CODES8, 0.1f}, {NCT_QUANT_INT4, NCT_PANEL_CODES4, 0.5f}};
    EACH_KIND(i) {
        nct_test_head head = nct_test_head_make(kinds[i]);
        struct bench b;
        bench_open(&b, &head, 1, false, NULL);
        observe(&b, 0, 90, true);
        nct_tree plain = propose(&b, 90, 9, 1, 8);
        bench_close(&b);
        for (size_t k = 0; k < 2; k++) {
            nct_draft_options options = {.quant = cases[k].quant};
            bench_open(&b, &head, 1, false, &options);
            const nct_draft *d = b.weights;
            const nct_linear *all[] = {&d->fc, &d->q, &d->k, &d->v, &d->o, &d->gate, &d->up, &d->down};
            for (size_t m = 0; m < sizeof all / sizeof *all; m++)
                assert_int_equal(all[m]->panels.kind, cases[k].panels);
            observe(&b, 0, 90, true);
            nct_tree is = propose(&b, 90, 9, 1, 8);
            assert_true(fabsf(is.score[1] - plain.score[1]) <= cases[k].bound);
            bench_close(&b);
        }
    }
}

/* ------------------------------------------------------------------ the list */

/* Only listed tokens are guessed; their probabilities are those of the whole head among themselves. */
static void test_draft__a_list_crops_the_head(void **state) {
    (void)state;
    nct_test_head head = nct_test_head_make(NCT_DRAFT_EAGLE);
    const char *dir = nct_test_folder(), *list = nct_test_path("%s/list.txt", dir);
    nct_bytes text = {0};
    for (size_t i = 0; i < 100; i++)
        NCT_ASSERT_OK(nct_bytes_printf(&text, fault, "%zu\n", (i * 77 + 5) % head.vocab));
    nct_test_write(list, text.data, text.n);
    nct_bytes_reset(&text);
    static const size_t sizes[] = {0, 33, 3, 1};
    for (size_t k = 0; k < 4; k++) {
        struct bench b;
        nct_draft_options options = {.list = list, .n_list = sizes[k]};
        size_t n = sizes[k] ? sizes[k] : 100;
        bench_open(&b, &head, 2, false, &options);
        observe(&b, 0, 30, true);
        nct_tree tree = propose(&b, 30, 17, 1, 16);
        assert_int_equal(tree.n, n < 16 ? n + 1 : 17);
        double sum = 0;
        for (size_t i = 1; i < tree.n; i++) {
            bool listed = false;
            for (size_t j = 0; j < n; j++)
                listed = listed || (size_t)tree.token[i] == (j * 77 + 5) % head.vocab;
            assert_true(listed);
            sum += exp((double)tree.score[i]);
        }
        assert_true(n > 16 ? sum < 1 : fabs(sum - 1) < 1e-5);
        bench_close(&b);
    }
    nct_test_folder_remove(dir);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_draft__trees_are_what_the_formulas_say),
        cmocka_unit_test(test_draft__how_pairs_come_and_threads_change_nothing),
        cmocka_unit_test(test_draft__guessing_at_every_pair_leaves_no_trace),
        cmocka_unit_test(test_draft__a_rewind_forgets),
        cmocka_unit_test(test_draft__pairs_out_of_the_window_need_not_be_known),
        cmocka_unit_test(test_draft__small_trees_are_beginnings_of_large_ones),
        cmocka_unit_test(test_draft__largest_trees_fit),
        cmocka_unit_test(test_draft__every_encoding_and_naming_guesses_the_same),
        cmocka_unit_test(test_draft__plain_numbers_can_be_rounded_while_loading),
        cmocka_unit_test(test_draft__a_list_crops_the_head),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
