#define _GNU_SOURCE
/* Masks, over the tokens of the shipped model but without it. */
#include "base/rng.h"
#include "constrain/constraint.h"
#include "support/support.h"

#define SHIPPED NCT_MODELS_DIR "/pipistrelle-8m"

typedef struct fixture {
    nct_vocab *vocab;
    nct_pieces *pieces;
} fixture;

static int open_fixture(void **state) {
    static fixture f;
    nct_test_need(SHIPPED "/tokenizer.json");
    NCT_ASSERT_OK(nct_vocab_open_directory(SHIPPED, &f.vocab, fault));
    NCT_ASSERT_OK(nct_pieces_open(f.vocab, (size_t)f.vocab->n_pieces + 70, f.vocab->eos, f.vocab->n_eos,
                                  &f.pieces, fault));
    *state = &f;
    return 0;
}

static int close_fixture(void **state) {
    fixture *f = *state;
    nct_pieces_close(f->pieces);
    nct_vocab_close(f->vocab);
    return 0;
}

static nct_constraint *open_gbnf(const fixture *f, const char *text, const uint64_t *banned) {
    nct_grammar g = {0};
    nct_constraint *c = NULL;
    uint32_t root = nct_grammar_add_gbnf(&g, text, strlen(text));
    NCT_ASSERT_OK(nct_constraint_make(f->pieces, banned, &g, root, "test", &c, fault));
    return c;
}

static nct_matcher *open_matcher(nct_constraint *c, nct_matcher_options o) {
    nct_matcher *m = NULL;
    NCT_ASSERT_OK(nct_matcher_open(c, &o, &m, fault));
    return m;
}

static const uint64_t *mask_of(nct_matcher *m) {
    const uint64_t *mask = NULL;
    NCT_ASSERT_OK(nct_matcher_mask(m, &mask, fault));
    return mask;
}

/* One of the allowed tokens, by the seed. */
static int32_t draw(const nct_constraint *c, const uint64_t *mask, uint64_t seed) {
    int32_t n = 0, at;
    for (size_t i = 0; i < c->n_words; i++)
        n += __builtin_popcountll(mask[i]);
    assert_true(n > 0);
    at = (int32_t)(nct_rng_mix(seed) % (uint64_t)n);
    for (int32_t id = 0;; id++)
        if (nct_bit(mask, id) && at-- == 0)
            return id;
}

/* Draws an answer; its bytes go to text. Fails unless it ends, whole, within n_max tokens. */
static void make_answer(nct_constraint *c, nct_matcher_options o, uint64_t seed, bool forget,
                        nct_bytes *text) {
    nct_matcher *m = open_matcher(c, o);
    for (size_t i = 0; i < o.n_max && !nct_matcher_is_done(m); i++) {
        if (forget && i % 3 == 2)
            nct_constraint_forget(c);
        int32_t id = draw(c, mask_of(m), seed + i * 7919);
        assert_true((size_t)id < c->pieces->n_vocab);
        NCT_ASSERT_OK(nct_bytes_add(text, c->pieces->text + c->pieces->text_off[id],
                                    c->pieces->text_off[id + 1] - c->pieces->text_off[id], fault));
        NCT_ASSERT_OK(nct_matcher_take(m, id, fault));
    }
    assert_true(nct_matcher_is_complete(m));
    nct_matcher_close(m);
}

/* Counted words in counted lines. */
#define LINES "root ::= line{2,9}\nline ::= word (\" \" word){2,19} \".\\n\"\nword ::= [A-Za-z]{1,24}\n"

/* What a mask says is what taking each token says. */
static void test_mask__allows_what_can_be_taken(void **state) {
    const fixture *f = *state;
    static const char *const grammars[] = {
        "root ::= \"[\" (root (\", \" root)*)? \"]\" | [a-z]+ | \"\\\"\" [^\"]* \"\\\"\"",
        "root ::= (word \" \")* \".\"\nword ::= [a-z]+ | \"caf\\u00e9\"\n",
        "root ::= \"a\" root \"b\" | \"a\" root \"c\" | \"d\"",
        /* counted: units that hold together, and such that could be something else */
        "root ::= \"\\\"\" [^\"]{0,7} \"\\\"\" [ .]*",
        "root ::= \"<\" char{2,9} (\">\" | \"\\n\" root)\nchar ::= [^<>\\\\\\n] | \"\\\\\" (\"n\" | \"u\" "
        "[0-9a-f]{4})\n",
        "root ::= [^.]{2,6} [^,]{1,4} \".\"",
        "root ::= ([^,]{0,3} \",\" | [^,;]{4} \";\")+",
        "root ::= ([^,] \"a\"?){1,6} \"a,\"",
        "root ::= \"(\" ([^()] | root){0,5} \")\" [^()]*",
        "root ::= (([^0-9] | [^0-9] \"1\"){0,4} \"0\"){1,4}",
        /* most tokens leave the rule at hand, and go on in a run, in something else, or in several ways */
        LINES,
        "root ::= \"the\" (\" \" (\"a\" | \"b\" [a-z]* | [c-z] [a-z]*) [,;]?){2,5}",
        "root ::= [a-z]{1,5} ([a-z ]{2,40} | (\" \" [a-z]+){1,3} \"!\")",
        "root ::= (\"a\" | \"a\" part){1,3} [a-z ]*\npart ::= \" \"? [a-z]{1,3} part?",
    };
    for (size_t k = 0; k < sizeof grammars / sizeof *grammars; k++) {
        nct_constraint *c = open_gbnf(f, grammars[k], NULL);
        for (uint64_t seed = 1; seed < 5; seed++) {
            nct_matcher *m = open_matcher(c, (nct_matcher_options){.n_max = 1000});
            uint32_t set = nct_states_begin(c->states, c->rule[NCT_MATCH_ANSWER], false);
            for (int i = 0; i < 12 && !nct_matcher_is_done(m); i++) {
                const uint64_t *mask = mask_of(m);
                for (int32_t id = 0; (size_t)id < f->pieces->n_vocab; id++) {
                    bool eos = nct_vocab_is_eos(f->vocab, id);
                    bool can = eos ? nct_matcher_is_complete(m) : nct_constraint_follow(c, set, id) != 0;
                    if (nct_bit(mask, id) != can)
                        fail_msg("%s: token %d after %d others is %s", grammars[k], id, i,
                                 can ? "not allowed" : "allowed");
                }
                int32_t id = draw(c, mask_of(m), seed * 100 + (uint64_t)i);
                NCT_ASSERT_OK(nct_matcher_take(m, id, fault));
                set = nct_vocab_is_eos(f->vocab, id) ? 0 : nct_constraint_follow(c, set, id);
            }
            nct_matcher_close(m);
        }
        nct_constraint_close(c);
    }
}

/* Near the limit too: of many tokens that are found together, those remain that can still be completed. */
static void test_mask__leaves_out_what_takes_too_long(void **state) {
    const fixture *f = *state;
    enum { MOST = 22 };
    nct_constraint *c = open_gbnf(f, LINES, NULL);
    size_t n_parts = 0, n_late = 0;
    for (uint64_t seed = 1; seed < 6; seed++) {
        nct_matcher *m = open_matcher(c, (nct_matcher_options){.n_max = MOST});
        uint32_t set = nct_states_begin(c->states, c->rule[NCT_MATCH_ANSWER], false);
        for (uint32_t n = 1; n <= MOST && set; n++) {
            const uint64_t *mask = mask_of(m);
            for (int32_t id = 0; (size_t)id < f->pieces->n_vocab; id++) {
                uint32_t next = nct_constraint_follow(c, set, id);
                bool in_time = next && nct_constraint_tokens(c, next) <= MOST - n;
                n_late += next && !in_time;
                if (!nct_vocab_is_eos(f->vocab, id) && nct_bit(mask, id) != in_time)
                    fail_msg("token %d, the %uth of %d, is %s", id, n, MOST,
                             in_time ? "not allowed" : "allowed");
            }
            const nct_view *view = nct_constraint_view(c, set);
            n_parts = view->n_parts > n_parts ? view->n_parts : n_parts;
            int32_t id = draw(c, mask_of(m), seed * 100 + n);
            NCT_ASSERT_OK(nct_matcher_take(m, id, fault));
            set = nct_vocab_is_eos(f->vocab, id) ? 0 : nct_constraint_follow(c, set, id);
        }
        nct_matcher_close(m);
    }
    assert_true(n_parts > 1 && n_late > 1000);
    nct_constraint_close(c);
}

static void test_mask__ends_only_where_the_text_is_whole(void **state) {
    const fixture *f = *state;
    nct_constraint *c = open_gbnf(f, "root ::= \"ab\" \"c\"?", NULL);
    nct_matcher *m = open_matcher(c, (nct_matcher_options){.n_max = 10});
    int32_t a = nct_vocab_find(f->vocab, "a", 1), b = nct_vocab_find(f->vocab, "b", 1),
            eos = f->pieces->eos[0];
    assert_true(a >= 0 && b >= 0);
    assert_false(nct_bit(mask_of(m), eos));
    assert_true(nct_matcher_take(m, eos, NULL) == NCT_E_ARGUMENT);
    assert_true(nct_matcher_take(m, b, NULL) == NCT_E_ARGUMENT);
    NCT_ASSERT_OK(nct_matcher_take(m, a, fault));
    assert_false(nct_bit(mask_of(m), eos));
    NCT_ASSERT_OK(nct_matcher_take(m, b, fault));
    assert_true(nct_bit(mask_of(m), eos));
    assert_true(nct_matcher_is_complete(m) && !nct_matcher_is_done(m));
    NCT_ASSERT_OK(nct_matcher_take(m, eos, fault));
    assert_true(nct_matcher_is_done(m));
    assert_true(nct_matcher_take(m, a, NULL) == NCT_E_ARGUMENT);
    nct_matcher_close(m);
    nct_constraint_close(c);
}

/* Whatever is drawn, and however little is left. */
static void test_mask__completes_within_every_limit(void **state) {
    const fixture *f = *state;
    static const char *const grammars[] = {
        "root ::= \"(\" root \")\" root | \"x\"",
        "root ::= \"yes\" | \"no, \" [a-z]{20} \" because of\"",
        "root ::= [a-z]+ \" ends here\" | \"0123456789\"",
    };
    for (size_t k = 0; k < sizeof grammars / sizeof *grammars; k++) {
        nct_constraint *c = open_gbnf(f, grammars[k], NULL);
        size_t least = 1;
        nct_matcher *m = NULL;
        nct_error err = {0};
        while (nct_matcher_open(c, &(nct_matcher_options){.n_max = least}, &m, &err) == NCT_E_LENGTH)
            least++;
        nct_matcher_close(m);
        for (size_t n_max = least; n_max < least + 12; n_max++)
            for (uint64_t seed = 0; seed < 8; seed++) {
                nct_bytes text = {0};
                make_answer(c, (nct_matcher_options){.n_max = n_max}, seed * 31 + n_max, false, &text);
                nct_bytes_reset(&text);
            }
        nct_constraint_close(c);
    }
}

/* The shortest text is not the one of the fewest tokens. */
static void test_mask__finds_a_way_of_fewer_tokens(void **state) {
    const fixture *f = *state;
    int32_t long_id = -1;
    for (int32_t id = 0; (size_t)id < f->pieces->n_vocab; id++) {
        uint32_t n = f->pieces->text_off[id + 1] - f->pieces->text_off[id];
        const char *text = f->pieces->text + f->pieces->text_off[id];
        bool plain = n >= 7;
        for (uint32_t i = 0; i < n && plain; i++)
            plain = text[i] >= 'a' && text[i] <= 'z';
        if (plain)
            long_id = id;
    }
    assert_true(long_id >= 0);
    char grammar[200];
    snprintf(grammar, sizeof grammar, "root ::= \"q#z#\" | \"%.*s\"",
             (int)(f->pieces->text_off[long_id + 1] - f->pieces->text_off[long_id]),
             f->pieces->text + f->pieces->text_off[long_id]);
    nct_constraint *c = open_gbnf(f, grammar, NULL);
    nct_matcher *m = open_matcher(c, (nct_matcher_options){.n_max = 1});
    assert_true(nct_bit(mask_of(m), long_id));
    assert_int_equal(draw(c, mask_of(m), 1), long_id);
    NCT_ASSERT_OK(nct_matcher_take(m, long_id, fault));
    assert_true(nct_matcher_is_done(m));
    nct_matcher_close(m);
    nct_constraint_close(c);
}

static void test_mask__does_not_depend_on_what_was_kept(void **state) {
    const fixture *f = *state;
    nct_constraint *c =
        open_gbnf(f, "root ::= \"[\" (root (\", \" root)*)? \"]\" | \"\\\"\" [^\"]* \"\\\"\"", NULL);
    for (uint64_t seed = 0; seed < 10; seed++) {
        nct_bytes a = {0}, b = {0};
        make_answer(c, (nct_matcher_options){.n_max = 30}, seed, false, &a);
        make_answer(c, (nct_matcher_options){.n_max = 30}, seed, true, &b);
        assert_int_equal(a.n, b.n);
        assert_memory_equal(a.data, b.data, a.n);
        nct_bytes_reset(&a);
        nct_bytes_reset(&b);
    }
    nct_constraint_close(c);
}

static void test_mask__drops_one_space_where_it_is_no_text(void **state) {
    const fixture *f = *state;
    nct_constraint *c = open_gbnf(f, "root ::= \" a\" | \"a\"", NULL);
    int32_t space = nct_vocab_find(f->vocab, NCT_SPACE, 3), a = nct_vocab_find(f->vocab, "a", 1);
    int32_t space_a = nct_vocab_find(f->vocab, NCT_SPACE "a", 4);
    nct_matcher *m = open_matcher(c, (nct_matcher_options){.n_max = 4, .strip = true});
    assert_true(nct_bit(mask_of(m), space) && nct_bit(mask_of(m), a));
    NCT_ASSERT_OK(nct_matcher_take(m, space, fault)); /* shown as nothing */
    assert_true(nct_bit(mask_of(m), space) && nct_bit(mask_of(m), a));
    if (space_a >= 0)
        assert_true(nct_bit(mask_of(m), space_a));
    NCT_ASSERT_OK(nct_matcher_take(m, space, fault));
    assert_false(nct_bit(mask_of(m), space));
    nct_matcher_close(m);
    nct_constraint_close(c);
}

static void test_mask__thinks_first(void **state) {
    const fixture *f = *state;
    nct_constraint *c = open_gbnf(f, "root ::= \"yes\" | \"no\"", NULL);
    for (uint64_t seed = 0; seed < 20; seed++) {
        nct_bytes text = {0};
        make_answer(c, (nct_matcher_options){.n_max = 40, .think = NCT_MATCH_THINKING}, seed, false, &text);
        const char *end = memmem(text.data, text.n, "</think>", 8); /* what is thought may hold a zero byte */
        assert_non_null(end);
        for (end += 8; *end && strchr(" \n\r\t", *end);)
            end++;
        assert_true(strcmp(end, "yes") == 0 || strcmp(end, "no") == 0);
        nct_bytes_reset(&text);
    }
    nct_matcher *m = NULL;
    nct_matcher_options o = {
        .n_max = 40, .think = NCT_MATCH_MAY_THINK, .prefix = "<think>a</think>\nye", .n_prefix = 19};
    m = open_matcher(c, o);
    assert_true(nct_bit(mask_of(m), nct_vocab_find(f->vocab, "s", 1)));
    nct_matcher_close(m);
    o.think = NCT_MATCH_ANSWER;
    assert_true(nct_matcher_open(c, &o, &m, NULL) == NCT_E_ARGUMENT);
    nct_constraint_close(c);
}

static void test_mask__does_without_banned_tokens(void **state) {
    const fixture *f = *state;
    uint64_t banned[1 << 14] = {0};
    int32_t a = nct_vocab_find(f->vocab, "a", 1), byte = nct_vocab_find(f->vocab, "<0x61>", 6);
    assert_true(a >= 0 && byte >= 0 && f->pieces->n_vocab < sizeof banned * 8);
    nct_bit_set(banned, a);
    nct_constraint *c = open_gbnf(f, "root ::= \"a\"", banned);
    nct_matcher *m = open_matcher(c, (nct_matcher_options){.n_max = 3});
    assert_int_equal(draw(c, mask_of(m), 1), byte);
    nct_matcher_close(m);
    nct_constraint_close(c);
    nct_bit_set(banned, byte);
    nct_grammar g = {0};
    nct_error err = {0};
    uint32_t root = nct_grammar_add_gbnf(&g, "root ::= \"a\"", 12);
    assert_true(nct_constraint_make(f->pieces, banned, &g, root, "test", &c, &err) == NCT_E_ARGUMENT);
    assert_non_null(strstr(err.text, "tokens cannot spell"));
    /* without a token that ends it, an answer ends where nothing more fits */
    memset(banned, 0, sizeof banned);
    for (size_t i = 0; i < f->pieces->n_eos; i++)
        nct_bit_set(banned, f->pieces->eos[i]);
    c = open_gbnf(f, "root ::= \"abc#\"*", banned);
    for (uint64_t seed = 0; seed < 6; seed++) {
        nct_bytes text = {0};
        make_answer(c, (nct_matcher_options){.n_max = 7 + seed}, seed, false, &text);
        nct_bytes_reset(&text);
    }
    nct_constraint_close(c);
}

/* Ambiguous beyond counting, deep, or with another place after every text: bounded all the same. */
static void test_mask__bears_hostile_grammars(void **state) {
    const fixture *f = *state;
    static const char *const grammars[] = {
        "root ::= a{1,60}\na ::= (\"a\" | \"aa\" | a2)*\na2 ::= \"a\"* \"a\"*\n",
        "root ::= [a-z] root [a-z] | [a-z] root [a-z] [a-z] | \"#\"",
        "root ::= \"a\" root \"a\" | \"b\" root \"b\" | \"c\" root \"c\" | \"e\" root \"e\" | \"t\" root "
        "\"t\" | \"h\" root \"h\" | \".\"",
        "root ::= (((([a-z]*)*)*)*)* \"!\"",
        "root ::= x{400}\nx ::= [a-z]{40}\n",
        "root ::= s s s s s s s s\ns ::= t t t t t t t t\nt ::= u u u u u u u u | \"x\"\nu ::= \"y\" t t t "
        "t\n",
    };
    for (size_t k = 0; k < sizeof grammars / sizeof *grammars; k++) {
        nct_constraint *c = open_gbnf(f, grammars[k], NULL);
        nct_bytes text = {0};
        nct_matcher *m = NULL;
        nct_error err = {0};
        nct_matcher_options o = {.n_max = 64};
        nct_status status = nct_matcher_open(c, &o, &m, &err);
        assert_true(status == NCT_OK || (status == NCT_E_LENGTH && k >= 4));
        nct_matcher_close(status == NCT_OK ? m : NULL);
        if (status == NCT_OK)
            make_answer(c, o, k, false, &text);
        nct_bytes_reset(&text);
        nct_constraint_close(c);
    }
}

static nct_status ask_once(const fixture *f, nct_error *err) {
    static const char schema[] =
        "{\"type\":\"object\",\"properties\":{\"a\":{\"$ref\":\"#/$defs/b\"},\"c\":{\"enum\":[1,\"x\"]}},"
        "\"required\":[\"a\"],\"$defs\":{\"b\":{\"type\":\"string\",\"maxLength\":2}}}";
    nct_grammar g = {0};
    nct_constraint *c = NULL;
    nct_matcher *m = NULL;
    nct_matcher_options o = {.n_max = 60, .think = NCT_MATCH_MAY_THINK, .prefix = "{", .n_prefix = 1};
    uint32_t root = nct_grammar_add_schema(&g, schema, sizeof schema - 1);
    NCT_TRY(nct_constraint_make(f->pieces, NULL, &g, root, "test", &c, err));
    nct_status status = nct_matcher_open(c, &o, &m, err);
    for (uint64_t i = 0; i < 6 && status == NCT_OK; i++) {
        const uint64_t *mask = NULL;
        status = nct_matcher_mask(m, &mask, err);
        if (status == NCT_OK)
            status = nct_matcher_take(m, draw(c, mask, i), err);
    }
    nct_matcher_close(m);
    nct_constraint_close(c);
    return status;
}

static void test_mask__every_allocation_may_fail(void **state) {
    const fixture *f = *state;
    nct_status status = NCT_E_MEMORY;
    long n = 0;
    for (; status != NCT_OK; n += 1 + n / 50) { /* of the many, not all */
        nct_error err = {0};
        atomic_store(&nct_mem_fail_in, n);
        status = ask_once(f, &err);
        atomic_store(&nct_mem_fail_in, -1);
        assert_true(status == NCT_OK || status == NCT_E_MEMORY);
        assert_true(status == NCT_OK || err.text[0]);
    }
    assert_true(n > 50);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mask__allows_what_can_be_taken),
        cmocka_unit_test(test_mask__leaves_out_what_takes_too_long),
        cmocka_unit_test(test_mask__ends_only_where_the_text_is_whole),
        cmocka_unit_test(test_mask__completes_within_every_limit),
        cmocka_unit_test(test_mask__finds_a_way_of_fewer_tokens),
        cmocka_unit_test(test_mask__does_not_depend_on_what_was_kept),
        cmocka_unit_test(test_mask__drops_one_space_where_it_is_no_text),
        cmocka_unit_test(test_mask__thinks_first),
        cmocka_unit_test(test_mask__does_without_banned_tokens),
        cmocka_unit_test(test_mask__bears_hostile_grammars),
        cmocka_unit_test(test_mask__every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, open_fixture, close_fixture);
}
