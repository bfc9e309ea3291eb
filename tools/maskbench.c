/* Times the masks of constrained answers on a tokenizer alone:
 * maskbench TOKENIZER-DIRECTORY [ANSWERS [TOKENS [SCALE [KIND]]]]
 *
 * Answers are drawn as a model with nothing to say would draw them: the frequent tokens of the vocabulary more often
 * (Zipf's law over ids, SCALE times; 0: all alike), with what a mask allows. A line an answer kind: steps, mean and 99th
 * percentile of a step's mask, the longest, and what that is of a decoding step of 8 ms, which is that of the 0.5B shape
 * on two cores. The first answer of each kind pays for the walks that the others find done. KIND: only those
 * whose names have it. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/rng.h"
#include "constrain/constraint.h"

enum { MOST_STEPS = 1 << 20 };
#define STEP_MS 8.0

static const struct {
    const char *name;
    uint32_t (*add)(nct_grammar *g, const char *text, size_t n);
    const char *text;
} kinds[] = {
    {"choice", nct_grammar_add_choice, "bug,feature,question,documentation,duplicate,invalid"},
    {"json", NULL, ""},
    {"schema: incident", nct_grammar_add_schema,
     "{\"type\":\"object\",\"required\":[\"title\",\"severity\",\"hosts\",\"when\",\"steps\"],\"properties\":"
     "{"
     "\"title\":{\"type\":\"string\"},\"severity\":{\"enum\":[\"low\",\"high\",\"critical\"]},"
     "\"hosts\":{\"type\":\"array\",\"items\":{\"type\":\"string\"}},\"when\":{\"type\":\"string\","
     "\"format\":\"date-time\"},"
     "\"count\":{\"type\":\"integer\"},\"load\":{\"type\":\"number\"},\"open\":{\"type\":\"boolean\"},"
     "\"steps\":{\"type\":\"array\",\"items\":{\"$ref\":\"#/$defs/"
     "step\"}}},\"$defs\":{\"step\":{\"type\":\"object\","
     "\"required\":[\"what\",\"who\"],\"properties\":{\"what\":{\"type\":\"string\"},\"who\":{\"type\":"
     "\"string\"},"
     "\"then\":{\"type\":\"array\",\"items\":{\"$ref\":\"#/$defs/step\"}}}}}}"},
    {"schema: short strings", nct_grammar_add_schema,
     "{\"type\":\"array\",\"items\":{\"type\":\"string\",\"maxLength\":40}}"},
    {"schema: longer strings", nct_grammar_add_schema,
     "{\"type\":\"array\",\"items\":{\"type\":\"object\",\"required\":[\"title\",\"text\"],\"properties\":{"
     "\"title\":{\"type\":\"string\",\"minLength\":10,\"maxLength\":60},"
     "\"text\":{\"type\":\"string\",\"maxLength\":400}}}}"},
    {"gbnf: counted words", nct_grammar_add_gbnf,
     "root ::= line{3,30}\nline ::= word (\" \" word){2,19} \".\\n\"\nword ::= [A-Za-z]{1,24}\n"},
    {"gbnf: arithmetic", nct_grammar_add_gbnf,
     "root ::= (expr \"=\" ws term \"\\n\")+\nexpr ::= term ([-+*/] term)*\n"
     "term ::= ident | num | \"(\" ws expr \")\" ws\nident ::= [a-z] [a-z0-9_]* ws\nnum ::= [0-9]+ ws\nws "
     "::= [ \\t\\n]*\n"},
    {"gbnf: list", nct_grammar_add_gbnf,
     "root ::= item+\nitem ::= \"- \" [^\\r\\n\\x0b\\x0c\\x85\\u2028\\u2029]+ \"\\n\"\n"},
};

static double *noise; /* of every id, without the draw */

/* The allowed token with the largest score: a draw by Gumbel noise. */
static int32_t draw(const uint64_t *mask, size_t n_vocab, uint64_t seed, uint64_t step) {
    double best = -INFINITY;
    int32_t chosen = -1;
    for (size_t w = 0; w < (n_vocab + 63) / 64; w++)
        for (uint64_t bits = mask[w]; bits; bits &= bits - 1) {
            int32_t id = (int32_t)(w * 64 + (size_t)__builtin_ctzll(bits));
            double score = noise[id] - log(-log(nct_rng_uniform(seed, (uint32_t)id, step, 0) + 1e-300));
            if (score > best) {
                best = score;
                chosen = id;
            }
        }
    return chosen;
}

static int by_size(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static nct_status answer(nct_constraint *c, size_t n_max, uint64_t seed, double *ms, size_t *n_steps,
                         nct_error *err) {
    nct_matcher *m = NULL;
    nct_matcher_options options = {.n_max = n_max, .strip = true};
    NCT_TRY(nct_matcher_open(c, &options, &m, err));
    nct_status status = NCT_OK;
    bool done = false;
    for (size_t i = 0; i < n_max && !done && status == NCT_OK && *n_steps < MOST_STEPS; i++) {
        const uint64_t *mask = NULL;
        uint64_t began = nct_clock_ns();
        status = nct_matcher_mask(m, &mask, err);
        uint64_t masked = nct_clock_ns() - began;
        if (status != NCT_OK)
            break;
        int32_t id = draw(mask, c->pieces->n_vocab, seed, i);
        if (id < 0) {
            status = nct_fail(err, NCT_E_ARGUMENT, "no token is allowed after %zu", i);
            break;
        }
        began = nct_clock_ns();
        status = nct_matcher_take(m, id, err);
        done = status == NCT_OK && nct_matcher_is_done(m);
        ms[(*n_steps)++] = (double)(masked + nct_clock_ns() - began) * 1e-6;
    }
    if (status == NCT_OK && !nct_matcher_is_complete(m))
        status = nct_fail(err, NCT_E_ARGUMENT, "an answer is not complete after %zu tokens", n_max);
    nct_matcher_close(m);
    return status;
}

static nct_status bench(const nct_pieces *pieces, size_t kind, size_t n_answers, size_t n_max, double *ms,
                        nct_error *err) {
    nct_grammar g = {0};
    nct_constraint *c = NULL;
    uint64_t began = nct_clock_ns();
    uint32_t root = kinds[kind].add ? kinds[kind].add(&g, kinds[kind].text, strlen(kinds[kind].text))
                                    : nct_grammar_add_json(&g);
    NCT_TRY(nct_constraint_make(pieces, NULL, &g, root, kinds[kind].name, &c, err));
    double opened = (double)(nct_clock_ns() - began) * 1e-6, sum = 0;
    size_t n = 0, first = 0;
    nct_status status = NCT_OK;
    for (size_t i = 0; i < n_answers && status == NCT_OK; i++) {
        status = answer(c, n_max, i + 1, ms, &n, err);
        first = i ? first : n;
    }
    double sum_first = 0;
    for (size_t i = 0; i < n; i++) {
        sum += ms[i];
        sum_first += i < first ? ms[i] : 0;
    }
    qsort(ms, n, sizeof *ms, by_size);
    if (status == NCT_OK && n)
        printf("%-24s opened in %6.2f ms · %7zu steps · mean %.4f ms (%.2f %%) · p99 %.4f ms (%.2f %%) · "
               "most %.3f ms · "
               "first answer: mean %.4f ms\n",
               kinds[kind].name, opened, n, sum / (double)n, sum / (double)n / STEP_MS * 100,
               ms[n * 99 / 100], ms[n * 99 / 100] / STEP_MS * 100, ms[n - 1], sum_first / (double)first);
    nct_constraint_close(c);
    return status;
}

int main(int argc, char **argv) {
    nct_vocab *vocab = NULL;
    nct_pieces *pieces = NULL;
    nct_error err = {0};
    size_t n_answers = argc > 2 ? strtoul(argv[2], NULL, 10) : 20,
           n_max = argc > 3 ? strtoul(argv[3], NULL, 10) : 256;
    double scale = argc > 4 ? strtod(argv[4], NULL) : 1;
    if (argc < 2) {
        fprintf(stderr, "usage: maskbench TOKENIZER-DIRECTORY [ANSWERS [TOKENS [SCALE [KIND]]]]\n");
        return 2;
    }
    nct_status status = nct_vocab_open_directory(argv[1], &vocab, &err);
    uint64_t began = nct_clock_ns();
    if (status == NCT_OK)
        status = nct_pieces_open(vocab, (size_t)vocab->n_pieces, vocab->eos, vocab->n_eos, &pieces, &err);
    double *ms = malloc(MOST_STEPS * sizeof *ms);
    noise = calloc(vocab ? (size_t)vocab->n_pieces : 1, sizeof *noise);
    if (!ms || !noise)
        return 1;
    if (status == NCT_OK) {
        printf("%d tokens, %zu nodes, made in %.1f ms\n", vocab->n_pieces, pieces->n_nodes,
               (double)(nct_clock_ns() - began) * 1e-6);
        for (int32_t i = 0; i < vocab->n_pieces; i++)
            noise[i] = -scale * log(i + 10.0);
    }
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds && status == NCT_OK; i++)
        if (argc <= 5 || strstr(kinds[i].name, argv[5]))
            status = bench(pieces, i, n_answers, n_max, ms, &err);
    if (status != NCT_OK)
        fprintf(stderr, "maskbench: %s\n", err.text);
    nct_pieces_close(pieces);
    nct_vocab_close(vocab);
    free(noise);
    free(ms);
    return status != NCT_OK;
}
