/* How much to guess: against every fixed choice in simulated worlds, and the account of time that is never overdrawn. */
#include "spec/adapt.h"

#include "spec/simulated.h"
#include "support/support.h"

enum { ANSWER = 1000, SEEDS = 6 };

/* ------------------------------------------------------------------ worlds */

typedef enum curve { MEASURED, NARROW, WIDE, DEAR, N_CURVES } curve;

/* What T rows cost: as measured on one core; free up to 5 rows, then steep; free up to 28; dear from the second on. */
static void set_costs(sim_world *w, curve kind) {
    static const double measured[NCT_COST_SIZES] = {1,    1, 1.05, 1.15, 1.2, 1.3,  1.5,
                                                    1.75, 2, 2.8,  4,    4.9, 5.75, 8};
    for (size_t t = 1, i = 0; t <= NCT_TREE_MAX; t++) {
        i += nct_cost_size[i] < t;
        double rows = (double)t;
        w->cost[t] = kind == MEASURED ? measured[i]
                     : kind == NARROW ? fmax(1, 0.2 + 0.16 * rows)
                     : kind == WIDE   ? fmax(1, 0.035 * rows)
                                      : 0.4 + 0.6 * rows;
    }
}

/* The likeliest token is right with probability p; `branching`: the others often are where it is not. */
static void set_hits(double *hit, double p, bool branching) {
    for (size_t r = 0; r < SIM_RANKS; r++)
        hit[r] = r == 0 ? p : branching ? (1 - p) * 0.6 * pow(0.5, (double)r) : 0;
}

static sim_world world_of(curve kind, double p, bool branching) {
    sim_world w = {.pass = 0.08, .step_s = 0.13, .noise = 0.05, .late = SIZE_MAX, .seed = 100};
    set_costs(&w, kind);
    set_hits(w.hit, p, branching);
    memcpy(w.said, w.hit, sizeof w.hit);
    return w;
}

/* Tokens in the time, as a share of what the best fixed shape reaches; also the least gain over plain decoding. */
static double against_fixed(sim_world w, size_t n, const nct_adapt *begin, double *least) {
    double adaptive = 0, fixed = 0;
    sim_shape shape = sim_best_fixed(&w, n);
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        nct_adapt a = *begin;
        w.seed = 100 + seed;
        sim_result r = sim_adaptive(&w, n, &a), f = sim_fixed(&w, n, shape.width, shape.depth, shape.n_nodes);
        adaptive += (double)r.n_tokens / r.time;
        fixed += (double)f.n_tokens / f.time;
        *least = fmin(*least, (double)r.n_tokens / r.time * sim_fixed(&w, n, 1, 1, 1).time / (double)n);
    }
    return adaptive / fixed;
}

static nct_adapt nothing_known(void) {
    nct_adapt a;
    nct_adapt_init(&a);
    return a;
}

/* The bounds leave a little room for other libraries' logarithms, which make other decisions where two are about as
 * good. */
static void test_adapt__comes_near_the_best_fixed_tree(void **state) {
    (void)state;
    nct_adapt begin = nothing_known();
    double all = 0, least_plain = 1;
    for (int k = 0; k < N_CURVES; k++) {
        double sum = 0;
        for (int branching = 0; branching < 2; branching++)
            for (int p = 3; p <= 9; p += 2) {
                sim_world w = world_of((curve)k, p / 10.0, branching);
                double share = against_fixed(w, ANSWER, &begin, &least_plain);
                sum += share / 8;
                if (share < 0.95)
                    fail_msg("curve %d, %s, acceptance 0.%d: %.3f of the best fixed", k,
                             branching ? "branching" : "chain", p, share);
            }
        if (sum < 0.97)
            fail_msg("curve %d: %.3f of the best fixed trees", k, sum);
        all += sum / N_CURVES;
    }
    assert_true(all > 0.978);
    assert_true(least_plain > 0.98);
}

/* A machine that others use too: it is half as fast for a while, and now and then a round takes far longer. */
static void test_adapt__comes_near_it_on_a_busy_machine(void **state) {
    (void)state;
    nct_adapt begin = nothing_known();
    double all = 0, least_plain = 1;
    for (int k = 0; k < N_CURVES; k++)
        for (int dwell = 20; dwell <= 320; dwell *= 4) {
            double sum = 0;
            for (int p = 3; p <= 9; p += 2) {
                sim_world w = world_of((curve)k, p / 10.0, k % 2);
                w.dwell = dwell;
                w.spikes = 0.05;
                sum += against_fixed(w, ANSWER, &begin, &least_plain) / 4;
            }
            if (sum < 0.95)
                fail_msg("curve %d, speeds of %d steps: %.3f of the best fixed trees", k, dwell, sum);
            all += sum / (3 * N_CURVES);
        }
    if (all < 0.97 || least_plain < 0.98)
        fail_msg("%.3f of the best fixed trees, at least %.3f of plain decoding", all, least_plain);
}

static void test_adapt__experience_helps_from_the_first_token_on(void **state) {
    (void)state;
    double with = 0, without = 0, least = 1;
    for (int p = 4; p <= 9; p++) {
        sim_world w = world_of(MEASURED, p / 10.0, false);
        nct_adapt known = nothing_known(), begin = nothing_known();
        w.seed = 7;
        sim_adaptive(&w, 2 * ANSWER, &known);
        with += against_fixed(w, 64, &known, &least) / 6;
        without += against_fixed(w, 64, &begin, &least) / 6;
    }
    assert_true(with > without && with > 0.88);
    assert_true(least > 0.96);
}

/* In the middle the draft gets better or worse; it knows it, or goes on saying what it said. */
static void test_adapt__follows_a_change(void **state) {
    (void)state;
    nct_adapt begin = nothing_known();
    double sum = 0, least_plain = 1;
    size_t n = 0;
    for (int k = 0; k < N_CURVES; k++)
        for (int branching = 0; branching < 2; branching++)
            for (int honest = 0; honest < 2; honest++)
                for (int rising = 0; rising < 2; rising++) {
                    sim_world w = world_of((curve)k, rising ? 0.3 : 0.9, branching);
                    w.late = ANSWER / 2;
                    set_hits(w.late_hit, rising ? 0.9 : 0.3, branching);
                    memcpy(w.late_said, honest ? w.late_hit : w.said, sizeof w.said);
                    double share = against_fixed(w, ANSWER, &begin, &least_plain);
                    if (share < 0.96)
                        fail_msg("curve %d, branching %d, honest %d, rising %d: %.3f of the best fixed", k,
                                 branching, honest, rising, share);
                    sum += share;
                    n++;
                }
    assert_true(sum / (double)n > 1.03); /* no fixed tree is right for both halves */
    assert_true(least_plain > 0.98);
}

static void test_adapt__a_useless_draft_costs_next_to_nothing(void **state) {
    (void)state;
    for (int k = 0; k < N_CURVES; k++)
        for (uint64_t seed = 0; seed < 10; seed++) {
            sim_world w = world_of((curve)k, 0.9, false);
            nct_adapt a = nothing_known();
            w.seed = seed;
            w.pass = 0.13;
            memset(w.hit, 0, sizeof w.hit); /* and sure of itself */
            sim_result r = sim_adaptive(&w, ANSWER, &a);
            assert_true(r.time < ANSWER / 0.98);
            assert_true(nct_adapt_loss(&a) <= 0.01 * nct_adapt_elapsed(&a) + NCT_ADAPT_RISK + 1);
            assert_true(r.overdrawn < 2);     /* what two rows cost was not known */
            r = sim_adaptive(&w, ANSWER, &a); /* the next answer knows */
            assert_true(r.time < ANSWER / 0.98);
            if (r.overdrawn > 2)
                fail_msg("curve %d, seed %d: overdrawn by %.3f steps", k, (int)seed, r.overdrawn);
            /* good until the middle, then useless */
            w = world_of((curve)k, 0.9, false);
            w.seed = seed;
            w.late = ANSWER / 2;
            memcpy(w.late_said, w.said, sizeof w.said);
            a = nothing_known();
            r = sim_adaptive(&w, ANSWER, &a);
            assert_true(r.time < ANSWER / 0.98);
        }
}

/* One plain step and a fifth for a draft pass: a draft dear enough to lose with, in an answer that is too short. */
static void test_adapt__short_answers_lose_little(void **state) {
    (void)state;
    for (int k = 0; k < N_CURVES; k++)
        for (uint64_t seed = 0; seed < 20; seed++) {
            sim_world w = world_of((curve)k, 0.1, false);
            nct_adapt a = nothing_known();
            w.seed = seed;
            w.pass = 0.2;
            sim_result r = sim_adaptive(&w, 100, &a);
            if (r.time > 100 / 0.96)
                fail_msg("curve %d, seed %d: %.2f steps", k, (int)seed, r.time);
        }
}

/* ------------------------------------------------------------------ copying, with a real index */

enum { DOCUMENT = 4000 };

/* A document, then an answer: passages of it, of 10 to 60 tokens, with some words of its own between them. */
static void write_quoting(uint64_t seed, int32_t *token) {
    size_t n = 0, i = 0;
    for (; n < DOCUMENT; n++) {
        double u = nct_rng_uniform(seed, 0, n, 0);
        token[n] = (int32_t)(u * u * 3000);
    }
    while (n < DOCUMENT + ANSWER) {
        size_t at = (size_t)(nct_rng_uniform(seed, 1, i, 0) * (DOCUMENT - 100)),
               length = 10 + (size_t)(nct_rng_uniform(seed, 1, i, 1) * 50);
        for (size_t k = 0; k < length && n < DOCUMENT + ANSWER; k++)
            token[n++] = token[at + k];
        for (size_t k = 0; k < 3 && n < DOCUMENT + ANSWER; k++)
            token[n++] = 5000 + (int32_t)(nct_rng_uniform(seed, 1, i, 2 + (uint32_t)k) * 100);
        i++;
    }
}

static nct_status choose_written(void *context, size_t node, const int32_t *token, size_t n, int32_t *chosen,
                                 bool *stop, nct_error *err) {
    (void)node;
    (void)token;
    (void)err;
    *chosen = ((const int32_t *)context)[n];
    *stop = false;
    return NCT_OK;
}

/* Plain steps that the answer takes. */
static double copy_answer(const sim_world *w, const int32_t *token, nct_adapt *a) {
    const nct_drafter *d = &nct_drafter_ngram;
    nct_draft_target target = {.limit = DOCUMENT + ANSWER};
    void *index = NULL;
    double time = 0;
    NCT_ASSERT_OK(d->open(NULL, &target, NULL, &index, fault));
    for (size_t n = DOCUMENT, seen = 0, round = 0; n < DOCUMENT + ANSWER; round++) {
        nct_pairs pairs = {.first = seen, .n = n - 1 - seen, .token = token};
        nct_tree tree;
        nct_ask ask;
        nct_accepted accepted;
        size_t n_passes = 0;
        NCT_ASSERT_OK(d->observe(index, NULL, &pairs, fault));
        seen = n - 1;
        nct_tree_init(&tree, token[n - 1]);
        if (nct_adapt_ask(a, &ask)) {
            NCT_ASSERT_OK(d->propose(index, NULL, &ask, &tree, &n_passes, fault));
            nct_adapt_drafted(a, n_passes, 1e-5);
            nct_adapt_choose(a, &tree);
        }
        NCT_ASSERT_OK(nct_verify(&tree, choose_written, (void *)(uintptr_t)(token + n), &accepted, fault));
        double step = sim_noisy(w, round, 0, w->cost[tree.n]);
        nct_adapt_learn(a, &tree, &accepted, step * w->step_s);
        n += accepted.n;
        time += step;
    }
    d->close(index);
    return time;
}

static void test_adapt__copying_pays_where_there_is_something_to_copy(void **state) {
    (void)state;
    static int32_t token[DOCUMENT + ANSWER + NCT_TREE_MAX];
    sim_world w = world_of(MEASURED, 0, false);
    double most = 0, least = 1e9;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        nct_adapt a = nothing_known();
        w.seed = seed;
        write_quoting(seed, token);
        most = fmax(most, copy_answer(&w, token, &a));
        for (size_t i = DOCUMENT; i < DOCUMENT + ANSWER; i++) /* an answer in words of its own */
            token[i] = (int32_t)(nct_rng_uniform(seed, 4, i, 0) * 40);
        a = nothing_known();
        double own = copy_answer(&w, token, &a);
        assert_true(own < ANSWER / 0.98);
        least = fmin(least, own);
    }
    if (most > ANSWER / 2.5)
        fail_msg("%d quoted tokens take the time of %.0f", ANSWER, most);
    assert_true(least > ANSWER / 1.1); /* or the other was no quotation */
}

/* ------------------------------------------------------------------ the rule and the states */

/* A round with this tree, of which `n` nodes along the first path are accepted. */
static void play(nct_adapt *a, nct_tree *tree, size_t n, double seconds) {
    nct_accepted accepted = {.n = n + 1};
    for (size_t k = 0, node = 0; k <= n; k++) {
        size_t child = 0;
        for (size_t i = tree->n; i-- > node + 1;)
            if (tree->parent[i] == node)
                child = i;
        accepted.node[k] = (uint8_t)node;
        accepted.token[k] = k < n ? tree->token[child] : -99;
        node = child;
    }
    nct_adapt_learn(a, tree, &accepted, seconds);
}

static nct_tree chain_of(size_t n, float log_q) {
    nct_tree t;
    nct_tree_init(&t, 0);
    for (size_t i = 1; i < n; i++)
        nct_tree_add(&t, i - 1, (int32_t)i, (float)i * log_q, nct_edge_model(log_q, i));
    return t;
}

static void test_adapt__begins_plainly_then_with_two_nodes(void **state) {
    (void)state;
    nct_adapt a = nothing_known();
    nct_ask ask;
    nct_tree t;
    assert_false(nct_adapt_ask(&a, &ask)); /* what a plain step takes is not known */
    nct_tree_init(&t, 0);
    play(&a, &t, 0, 0.1);
    assert_true(nct_adapt_ask(&a, &ask));
    assert_int_equal(ask.n_max, 2);
    t = chain_of(8, -0.01f);
    nct_adapt_choose(&a, &t);
    assert_int_equal(t.n, 2);
    play(&a, &t, 1, 0.1);
    assert_true(nct_adapt_ask(&a, &ask));
    assert_int_equal(ask.n_max, NCT_TREE_MAX); /* a hit */
}

/* Whatever the draft is worth and however often that changes, the account is never overdrawn once costs are known, but
 * for how exactly they are. */
static void test_adapt__the_account_is_never_overdrawn(void **state) {
    (void)state;
    for (int k = 0; k < N_CURVES; k++)
        for (int p = 0; p <= 9; p += 3) {
            sim_world w = world_of((curve)k, p / 10.0, k % 2);
            nct_adapt a = nothing_known();
            sim_adaptive(&w, ANSWER, &a);
            w.late = 150;
            set_hits(w.late_hit, 0.9 - p / 10.0, false);
            memcpy(w.late_said, w.said, sizeof w.said);
            for (uint64_t seed = 0; seed < 6; seed++) {
                w.seed = seed;
                sim_result r = sim_adaptive(&w, 300, &a);
                if (r.overdrawn > 2)
                    fail_msg("curve %d, acceptance 0.%d, seed %d: overdrawn by %.3f steps", k, p, (int)seed,
                             r.overdrawn);
            }
        }
}

static void test_adapt__gains_let_the_next_answer_begin_at_once(void **state) {
    (void)state;
    sim_world w = world_of(MEASURED, 0.8, false);
    nct_adapt a = nothing_known();
    nct_bytes text = {0};
    nct_ask ask;
    assert_true(nct_adapt_earned(&a) == NCT_ADAPT_RISK);
    sim_adaptive(&w, ANSWER, &a);
    assert_true(nct_adapt_gain(&a) > 1.5 && nct_adapt_earned(&a) == NCT_ADAPT_RISK); /* never more */
    NCT_ASSERT_OK(nct_adapt_save(&a, &text, fault));
    nct_adapt_begin(&a, 0, 0);
    assert_true(nct_adapt_ask(&a, &ask) && nct_adapt_gain(&a) == 1);
    nct_adapt_begin(&a, 1000 * w.step_s, 10 * w.step_s); /* a draft that took long to read the prompt */
    assert_false(nct_adapt_ask(&a, &ask));
    assert_true(nct_adapt_earned(&a) == 0);
    NCT_ASSERT_OK(nct_adapt_load("t", text.data, text.n, &a, fault));
    assert_true(nct_adapt_earned(&a) == NCT_ADAPT_RISK);
    nct_bytes_reset(&text);
}

/* Levels that are worth more than their passes are drafted, no others. */
static void test_adapt__drafts_as_deep_as_pays(void **state) {
    (void)state;
    for (int dear = 0; dear < 2; dear++) {
        sim_world w = world_of(WIDE, 0.9, false);
        nct_adapt a = nothing_known();
        w.pass = dear ? 0.6 : 0.02;
        sim_adaptive(&w, ANSWER, &a);
        sim_result r = sim_adaptive(&w, ANSWER, &a);
        double passes = (double)r.n_passes / (double)r.n_rounds;
        if (dear ? passes < 0.5 || passes > 5 : passes < 12)
            fail_msg("%.2f passes at %.2f each", passes, w.pass);
    }
}

static void test_adapt__believes_what_was_counted(void **state) {
    (void)state;
    nct_adapt a = nothing_known();
    for (int i = 0; i < 300;
         i++) { /* sure guesses of which three in four are right, unsure ones that never are */
        nct_tree t = chain_of(2, -0.01f);
        nct_tree_add(&t, 0, 5, -2, nct_edge_model(-2, 1));
        play(&a, &t, i % 4 != 0, 0.1);
    }
    nct_tree t = chain_of(4, -0.01f);
    nct_tree_add(&t, 0, 5, -2, nct_edge_model(-2, 1));
    nct_adapt_believe(&a, &t);
    assert_true(fabs(exp((double)t.score[1]) - 0.75) < 0.05);
    assert_true(fabs(exp((double)t.score[2]) - 0.75 * 0.75) <
                0.08); /* deeper is as above, until it is known */
    assert_true(exp((double)t.score[4]) < 0.01);
    nct_tree same = t;
    nct_adapt_believe(&a, &t);
    assert_memory_equal(&t, &same, sizeof t);
}

static void test_adapt__edges_below_a_rejected_node_are_not_counted(void **state) {
    (void)state;
    nct_adapt a = nothing_known();
    nct_tree t = chain_of(6, -0.01f);
    play(&a, &t, 1, 0.1);
    assert_true(fabs(a.edge[nct_edge_model(-0.01f, 1)].trials - 1) < 1e-9);
    assert_true(fabs(a.edge[nct_edge_model(-0.01f, 2)].trials - 1) < 1e-9);
    assert_true(a.edge[nct_edge_model(-0.01f, 3)].trials == 0);
    assert_true(a.edge[nct_edge_model(-0.01f, 1)].hits > 0 && a.edge[nct_edge_model(-0.01f, 2)].hits == 0);
}

/* The lengths of n pauses when no guess is ever right; a draft takes n_passes. */
static void pauses_of(size_t n_passes, size_t *length, size_t n) {
    nct_adapt a = nothing_known();
    size_t n_pauses = 0, paused = 0;
    for (size_t i = 0; i < 40000 && n_pauses < n; i++) {
        nct_ask ask;
        nct_tree t;
        nct_tree_init(&t, 0);
        a.earned = 1e6; /* what the account would stop is not the matter here */
        bool asked = nct_adapt_ask(&a, &ask), pause = a.state == NCT_ADAPT_PAUSED;
        if (asked) {
            t = chain_of(4, -0.01f);
            nct_adapt_drafted(&a, n_passes, 0.02);
            nct_adapt_choose(&a, &t);
            assert_true(a.state != NCT_ADAPT_PROBING || t.n >= 2);
        }
        assert_false(pause && asked);
        play(&a, &t, 0, 0.1);
        paused += pause;
        if (pause && a.state != NCT_ADAPT_PAUSED) {
            length[n_pauses++] = paused;
            paused = 0;
        }
    }
    assert_int_equal(n_pauses, n);
}

static void test_adapt__pauses_longer_after_each_failure(void **state) {
    (void)state;
    static const size_t expected[] = {128, 256, 512, 1024, 2048, 2048, 2048};
    size_t length[7];
    pauses_of(3, length, 7);
    for (size_t i = 0; i < 7; i++)
        assert_int_equal(length[i], expected[i]);
    pauses_of(0, length, 7); /* a copier */
    for (size_t i = 0; i < 7; i++)
        assert_int_equal(length[i], 128);
}

static void test_adapt__an_empty_guess_that_cost_nothing_is_a_plain_round(void **state) {
    (void)state;
    nct_adapt a = nothing_known();
    nct_ask ask;
    for (int i = 0; i < 500; i++) { /* a copier that finds nothing to copy */
        nct_tree t;
        nct_tree_init(&t, 0);
        if (nct_adapt_ask(&a, &ask)) {
            nct_adapt_drafted(&a, 0, 1e-7);
            nct_adapt_choose(&a, &t);
        }
        play(&a, &t, 0, 0.1);
    }
    assert_int_equal(a.state, NCT_ADAPT_ON);
    assert_int_equal(a.n_guessed_rounds, 0);
    assert_int_equal(a.n_plain_tokens, 500);
}

static void test_adapt__same_arguments_same_decisions(void **state) {
    (void)state;
    sim_world w = world_of(MEASURED, 0.7, true);
    nct_adapt a = nothing_known(), b = nothing_known();
    sim_result x = sim_adaptive(&w, ANSWER, &a), y = sim_adaptive(&w, ANSWER, &b);
    assert_true(x.time == y.time && x.n_rounds == y.n_rounds && x.n_nodes == y.n_nodes);
}

/* ------------------------------------------------------------------ as text */

static void test_adapt__text_holds_what_is_known(void **state) {
    (void)state;
    sim_world w = world_of(NARROW, 0.7, true);
    nct_adapt a = nothing_known(), b;
    nct_bytes text = {0}, again = {0};
    sim_adaptive(&w, ANSWER, &a);
    NCT_ASSERT_OK(nct_adapt_save(&a, &text, fault));
    NCT_ASSERT_OK(nct_adapt_load("t", text.data, text.n, &b, fault));
    for (size_t i = 0; i < NCT_COST_SIZES; i++)
        assert_true(fabs(b.cost.ratio[i] / a.cost.ratio[i] - 1) < 1e-4);
    for (size_t i = 0; i < NCT_EDGES; i++)
        assert_true(fabs(b.edge[i].trials - a.edge[i].trials) < 0.011 &&
                    fabs(b.edge[i].hits - a.edge[i].hits) < 0.011);
    assert_true(fabs(b.pass.each / a.pass.each - 1) < 1e-4 && fabs(b.pass.begin - a.pass.begin) < 1e-4);
    assert_int_equal(b.state, NCT_ADAPT_ON);
    assert_true(nct_cost_plain_doubt(&b.cost) > 1); /* seconds are measured anew */
    NCT_ASSERT_OK(nct_adapt_save(&b, &again, fault));
    NCT_ASSERT_OK(nct_adapt_load("t", again.data, again.n, &b, fault));
    nct_bytes_reset(&text);
    nct_bytes_reset(&again);
    /* a draft that did not pay is not tried at once */
    a.state = NCT_ADAPT_PAUSED;
    a.pause = 512;
    NCT_ASSERT_OK(nct_adapt_save(&a, &text, fault));
    NCT_ASSERT_OK(nct_adapt_load("t", text.data, text.n, &b, fault));
    assert_int_equal(b.state, NCT_ADAPT_PAUSED);
    assert_int_equal(b.pause, 512);
    assert_int_equal(b.pause_left, NCT_ADAPT_PAUSE);
    nct_bytes_reset(&text);
}

/* The text of no experience, with one piece replaced. */
static void with_piece(nct_bytes *text, const char *old, const char *new) {
    nct_adapt a = nothing_known();
    nct_bytes whole = {0};
    a.edge[3] = (nct_tally){4, 2};
    a.edge[70] = (nct_tally){9, 9};
    NCT_ASSERT_OK(nct_adapt_save(&a, &whole, fault));
    char *at = strstr(whole.data, old);
    assert_non_null(at);
    NCT_ASSERT_OK(nct_bytes_add(text, whole.data, (size_t)(at - whole.data), fault));
    NCT_ASSERT_OK(nct_bytes_add_str(text, new, fault));
    NCT_ASSERT_OK(nct_bytes_add_str(text, at + strlen(old), fault));
    nct_bytes_reset(&whole);
}

static void test_adapt__refuses_text_it_did_not_write(void **state) {
    (void)state;
    static const struct {
        const char *old, *new, *says;
    } wrong[] = {
        {"{", "", "JSON"},
        {"\"noctule_spec\": 3", "\"noctule_spec\": 2", "version 3"},
        {"noctule_spec", "something", "version 3"},
        {"\"cost\"", "\"price\"", "list of 14 sizes"},
        {"[1, 1, 0], ", "", "list of 14 sizes"},
        {"[1, 1, 0]", "[1, 1.5, 0]", "1 rows cost 1.5"},
        {"[2, 1.03,", "[3, 1.03,", "entry 1"},
        {"[2, 1.03,", "[2, 0.5,", "2 rows cost 0.5"},
        {"[2, 1.03,", "[2, 1e9,", "2 rows cost 1e+09"},
        {"[2, 1.03,", "[2, null,", "entry 1"},
        {"[2, 1.03,", "[2, 1e999,", "entry 1"},
        {"[1, 1, 0]", "[1, 1, -1]", "deviates by -1"},
        {"[3, 4, 2]", "[3, 4, 5]", "5 hits in 4 trials"},
        {"[3, 4, 2]", "[3, 4000, 5]", "5 hits in 4000 trials"},
        {"[3, 4, 2]", "[3, -1, -2]", "-2 hits in -1 trials"},
        {"[3, 4, 2]", "[70, 4, 2]", "in order"},
        {"[3, 4, 2]", "[3.5, 4, 2]", "in order"},
        {"[3, 4, 2]", "[3, 4]", "in order"},
        {"[70, 9, 9]", "[84, 9, 9]", "below 84"},
        {"\"edges\": [", "\"edges\": 1, \"x\": [", "'edges'"},
        {"\"any\": [[0, 0]", "\"any\": [[0]", "'any'"},
        {"\"pass\": [0, 0]", "\"pass\": [0, -1]", "'pass'"},
        {"\"pass\": [0, 0]", "\"pass\": 0", "'pass'"},
        {"\"pass\": [0, 0]", "\"pass\": [0, \"0\"]", "'pass'"},
        {"\"earned\": 1.5", "\"earned\": 2", "'earned'"},
        {"\"earned\": 1.5", "\"earned\": null", "'earned'"},
        {"\"pause\": 0", "\"pause\": 1e9", "'pause'"},
        {"\"pause\": 0", "\"pause\": 0.5", "'pause'"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        nct_bytes text = {0};
        nct_adapt a = {.pause = 77};
        nct_error err = {0};
        with_piece(&text, wrong[i].old, wrong[i].new);
        assert_int_equal(nct_adapt_load("table.json", text.data, text.n, &a, &err), NCT_E_FORMAT);
        if (!strstr(err.text, wrong[i].says) || !strstr(err.text, "table.json"))
            fail_msg("case %zu says: %s", i, err.text);
        assert_int_equal(a.pause, 77);
        nct_bytes_reset(&text);
    }
    nct_adapt a;
    assert_int_equal(nct_adapt_load("t", "", 0, &a, NULL), NCT_E_FORMAT);
}

static void test_adapt__refused_memory_is_an_error(void **state) {
    (void)state;
    nct_adapt a = nothing_known(), b = {.pause = 77};
    nct_bytes text = {0};
    nct_status status = NCT_E_MEMORY;
    long n = 0;
    for (; status != NCT_OK && n < 1000; n++) {
        nct_bytes_reset(&text);
        atomic_store(&nct_mem_fail_in, n);
        status = nct_adapt_save(&a, &text, NULL);
        atomic_store(&nct_mem_fail_in, -1);
        assert_true(status == NCT_OK || status == NCT_E_MEMORY);
    }
    assert_true(n > 1 && n < 1000);
    for (n = 0, status = NCT_E_MEMORY; status != NCT_OK && n < 1000; n++) {
        atomic_store(&nct_mem_fail_in, n);
        status = nct_adapt_load("t", text.data, text.n, &b, NULL);
        atomic_store(&nct_mem_fail_in, -1);
        assert_true(status == NCT_OK || b.pause == 77);
    }
    assert_true(n < 1000);
    nct_bytes_reset(&text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_adapt__comes_near_the_best_fixed_tree),
        cmocka_unit_test(test_adapt__comes_near_it_on_a_busy_machine),
        cmocka_unit_test(test_adapt__experience_helps_from_the_first_token_on),
        cmocka_unit_test(test_adapt__follows_a_change),
        cmocka_unit_test(test_adapt__a_useless_draft_costs_next_to_nothing),
        cmocka_unit_test(test_adapt__short_answers_lose_little),
        cmocka_unit_test(test_adapt__copying_pays_where_there_is_something_to_copy),
        cmocka_unit_test(test_adapt__begins_plainly_then_with_two_nodes),
        cmocka_unit_test(test_adapt__the_account_is_never_overdrawn),
        cmocka_unit_test(test_adapt__gains_let_the_next_answer_begin_at_once),
        cmocka_unit_test(test_adapt__drafts_as_deep_as_pays),
        cmocka_unit_test(test_adapt__believes_what_was_counted),
        cmocka_unit_test(test_adapt__edges_below_a_rejected_node_are_not_counted),
        cmocka_unit_test(test_adapt__pauses_longer_after_each_failure),
        cmocka_unit_test(test_adapt__an_empty_guess_that_cost_nothing_is_a_plain_round),
        cmocka_unit_test(test_adapt__same_arguments_same_decisions),
        cmocka_unit_test(test_adapt__text_holds_what_is_known),
        cmocka_unit_test(test_adapt__refuses_text_it_did_not_write),
        cmocka_unit_test(test_adapt__refused_memory_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
