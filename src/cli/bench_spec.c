/* What guessing ahead costs and brings: rows checked together, passes of the draft, and whole answers, in which plain
 * decoding, fixed trees and the adaptive choice take turns along the same text. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "cli/bench.h"
#include "cli/input.h"
#include "cli/progress.h"
#include "engine/replay.h"

enum {
    PROMPT = 64,
    ANSWER = 64,
    REPS = 3,
    TURN = 16,      /* tokens that a way goes on before it is another's turn */
    ROWS = 18,      /* numbers of rows that are timed */
    PASSES = 6,     /* shapes of drafts that are timed */
    RUNS_MAX = 64,
    TREES_MAX = 24,
};
static const size_t row_count[ROWS] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 24, 32};
static const size_t draft_width[PASSES] = {1, 1, 3, 3, 5, 8}, draft_depth[PASSES] = {1, 3, 2, 3, 3, 3};

/* Texts to go on with. The kinds differ in how much of what comes can be guessed. */
static const struct {
    const char *name, *text;
} kinds[] = {
    {"prose", NULL}, /* the benches' own text, or --corpus */
    {"code", "static int compare(const void *a, const void *b) {\n    int x = *(const int *)a, y = *(const int *)b;\n"
             "    return (x > y) - (x < y);\n}\n\nint main(void) {\n    int numbers[] = {5, 3, 8, 1};\n"
             "    for (int i = 0; i < 4; i++)\n        printf(\"%d\\n\", numbers[i]);\n    for (int i = 0; i < 4; i++)\n"},
    {"table", "name,age,city\nAnna,31,Leeds\nBen,45,York\nCarl,27,Leeds\nDora,38,York\nEmil,52,Leeds\n"},
};
enum { KINDS = sizeof kinds / sizeof *kinds };

typedef struct run {
    const char *text;
    char choice[32];
    nct_replay_way way;
} run;

typedef struct spec_bench {
    nct_bench b;
    nct_odds odds;
    size_t n_prompt, n_answer;
    bool trees_given;
    size_t n_trees, tree_nodes[TREES_MAX], tree_depth[TREES_MAX], tree_width[TREES_MAX];
    int32_t *token; /* [n_prompt + n_answer + 2] of the text at hand */
    double row_s[ROWS];
    size_t n_drafts, draft_passes[PASSES];
    double draft_s[PASSES];
    bool has_head;
    nct_replay_heads heads;
    run runs[RUNS_MAX];
    size_t n_runs;
} spec_bench;

/* ------------------------------------------------------------------ what is asked for */

/* "4", a path of 4 nodes; "8/3", the 8 best of 3 levels of 4 branches each. */
static bool take_tree(spec_bench *k, const char *item, size_t n) {
    char text[24], *slash;
    int64_t nodes, depth = 0;
    if (n == 0 || n >= sizeof text || k->n_trees == TREES_MAX)
        return false;
    memcpy(text, item, n);
    text[n] = 0;
    slash = strchr(text, '/');
    if (slash) {
        *slash = 0;
        if (!nct_parse_count(slash + 1, 1, NCT_ODDS_DEPTHS, &depth))
            return false;
    }
    if (!nct_parse_count(text, 2, NCT_TREE_MAX, &nodes))
        return false;
    k->tree_nodes[k->n_trees] = (size_t)nodes;
    k->tree_depth[k->n_trees] = slash ? (size_t)depth : (size_t)nodes - 1;
    k->tree_width[k->n_trees++] = slash ? 4 : 1;
    return true;
}

static int take_trees(spec_bench *k, const char *list) {
    for (const char *at = list; *at;) {
        size_t n = strcspn(at, ",");
        if (!take_tree(k, at, n))
            return nct_say_error(k->b.cli, NCT_EXIT_USAGE,
                                 "--trees %s: expected up to %d trees of 2 to %d nodes, such as 2,4 or 8/3", list,
                                 TREES_MAX, NCT_TREE_MAX);
        at += n + (at[n] == ',');
    }
    return NCT_EXIT_OK;
}

static int take_arguments(spec_bench *k) {
    nct_args *a = &k->b.cli->args;
    nct_error err = {0};
    int64_t n_prompt, n_answer;
    if (a->words.n)
        return nct_say_error(k->b.cli, NCT_EXIT_USAGE, "bench spec takes no '%s'", a->words.item[0]);
    if (a->accept && !a->replay)
        return nct_say_error(k->b.cli, NCT_EXIT_USAGE, "--accept says what comes true of a replayed text\ntry: --replay FILE");
    if (a->accept && !a->draft)
        return nct_say_error(k->b.cli, NCT_EXIT_USAGE,
                             "--accept simulates a head and pays for its passes, and there is none\ntry: --draft DIR");
    if (a->accept && nct_odds_parse(a->accept, &k->odds, &err) != NCT_OK)
        return nct_say_error(k->b.cli, NCT_EXIT_USAGE, "--accept %s", err.text);
    int code = nct_bench_take_form(k->b.cli);
    if (code == NCT_EXIT_OK)
        code = nct_count_take(k->b.cli, "-p", a->bench_prompt, PROMPT, 2, &n_prompt);
    if (code == NCT_EXIT_OK)
        code = nct_count_take(k->b.cli, "-n", a->bench_gen, ANSWER, 1, &n_answer);
    if (code == NCT_EXIT_OK)
        code = take_trees(k, a->trees ? a->trees : a->replay ? "2,3,4,6,8,8/2" : "");
    if (code != NCT_EXIT_OK)
        return code;
    k->n_prompt = (size_t)n_prompt;
    k->n_answer = (size_t)n_answer;
    a->reps = a->reps == NCT_UNSET ? REPS : a->reps;
    a->spec = "auto";
    return NCT_EXIT_OK;
}

/* ------------------------------------------------------------------ texts */

/* The first tokens of a text, at most `most` of them. */
static int encode(spec_bench *k, const char *text, size_t n_text, size_t most, size_t *n) {
    nct_error err = {0};
    int32_t *ids = NULL;
    size_t n_ids = 0;
    if (nct_encode(k->b.engine, text, n_text, false, true, &ids, &n_ids, &err) != NCT_OK)
        return nct_say_status(k->b.cli, &err);
    *n = n_ids < most ? n_ids : most;
    memcpy(k->token, ids, *n * sizeof *ids);
    nct_free(ids);
    return NCT_EXIT_OK;
}

static int take_replay(spec_bench *k, const char *path) {
    nct_bytes text = {0};
    size_t n = 0, wanted = k->n_prompt + k->n_answer;
    int code = nct_input_read(k->b.cli, path, &text);
    if (code == NCT_EXIT_OK)
        code = encode(k, text.data, text.n, wanted, &n);
    nct_bytes_reset(&text);
    if (code == NCT_EXIT_OK && n < wanted)
        code = nct_say_error(k->b.cli, NCT_EXIT_USAGE, "%s holds %s tokens, and -p and -n ask for %s", path, NCT_N(n),
                             NCT_N(wanted));
    return code;
}

/* The beginning of a text of that kind, and how the model goes on with it, one token after the other. */
static nct_status write_on(spec_bench *k, size_t n_prompt, nct_error *err) {
    nct_session *s = k->b.session;
    nct_sampling greedy = {.top_p = 1, .repeat_penalty = 1};
    s->n_script = 0;
    NCT_TRY(nct_session_rewind(s, 0, err));
    NCT_TRY(nct_session_feed(s, k->token, n_prompt, NULL, err));
    for (size_t i = 0; i < k->n_answer; i++) {
        int32_t *next = &k->token[n_prompt + i];
        NCT_TRY(nct_session_sample(s, &greedy, (int)n_prompt, 0, next, err));
        NCT_TRY(nct_session_feed(s, next, 1, NULL, err));
    }
    return NCT_OK;
}

/* ------------------------------------------------------------------ measuring */

static int by_time(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double middle(double *v, size_t n) {
    qsort(v, n, sizeof *v, by_time);
    return n % 2 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2;
}

/* Numbers of rows take turns, so that the machine's moods meet all of them. */
static nct_status time_parts(spec_bench *k, nct_error *err) {
    static double rows[ROWS][NCT_REPS_MAX], drafts[PASSES][NCT_REPS_MAX], full[NCT_REPS_MAX], own[NCT_REPS_MAX];
    nct_session *s = k->b.session;
    size_t reps = (size_t)k->b.reps;
    k->has_head = nct_replay_has_head(s);
    k->n_drafts = k->has_head ? PASSES : 0;
    for (size_t i = 0; i < reps; i++) {
        for (size_t r = 0; r < ROWS; r++) {
            NCT_TRY(nct_replay_time_rows(s, row_count[r], &rows[r][i], err));
            nct_cost_observe(&s->adapt.cost, row_count[r], rows[r][i]); /* kept for this host */
        }
        for (size_t d = 0; d < k->n_drafts; d++)
            NCT_TRY(nct_replay_time_draft(s, draft_width[d], draft_depth[d], &drafts[d][i], &k->draft_passes[d], err));
        if (k->has_head) {
            NCT_TRY(nct_replay_time_heads(s, &k->heads, err));
            full[i] = k->heads.full_s;
            own[i] = k->heads.draft_s;
        }
    }
    for (size_t r = 0; r < ROWS; r++)
        k->row_s[r] = middle(rows[r], reps);
    for (size_t d = 0; d < k->n_drafts; d++)
        k->draft_s[d] = middle(drafts[d], reps);
    if (k->has_head) {
        k->heads.full_s = middle(full, reps);
        k->heads.draft_s = middle(own, reps);
        nct_adapt_know_pass(&s->adapt, k->draft_s[3] / (double)k->draft_passes[3] / k->row_s[0]);
    }
    return NCT_OK;
}

static void add_run(spec_bench *k, const char *text, const char *choice, nct_replay_way way) {
    run *r = &k->runs[k->n_runs++];
    r->text = text;
    r->way = way;
    snprintf(r->choice, sizeof r->choice, "%s", choice);
}

/* All ways along one text. */
static nct_status run_text(spec_bench *k, const char *name, nct_meter *meter, nct_error *err) {
    size_t first = k->n_runs, end = k->n_prompt + k->n_answer;
    char choice[32];
    add_run(k, name, "plain", (nct_replay_way){.kind = NCT_REPLAY_PLAIN});
    for (size_t i = 0; i < k->n_trees; i++) {
        snprintf(choice, sizeof choice, k->tree_width[i] > 1 ? "%zu rows, %zu levels" : "%zu rows", k->tree_nodes[i],
                 k->tree_depth[i]);
        add_run(k, name, choice,
                (nct_replay_way){.kind = NCT_REPLAY_FIXED,
                                 .n_nodes = k->tree_nodes[i],
                                 .width = k->tree_width[i],
                                 .depth = k->tree_depth[i]});
    }
    add_run(k, name, "auto", (nct_replay_way){.kind = NCT_REPLAY_AUTO});
    for (size_t i = first; i < k->n_runs; i++) { /* all begin where the text does */
        k->runs[i].way.began = true;
        k->runs[i].way.position = k->n_prompt;
        k->runs[i].way.adapt = k->b.session->adapt;
        nct_adapt_begin(&k->runs[i].way.adapt, 0, 0);
    }
    for (size_t until = k->n_prompt; until < end;) {
        until = until + TURN < end ? until + TURN : end;
        for (size_t i = first; i < k->n_runs; i++)
            NCT_TRY(nct_replay_run(k->b.session, &k->runs[i].way, until, err));
        nct_meter_show(meter, (until - k->n_prompt), k->n_answer);
    }
    return NCT_OK;
}

static nct_replay_text text_of(const spec_bench *k) {
    int64_t seed = k->b.cli->args.seed;
    return (nct_replay_text){.token = k->token,
                             .n = k->n_prompt + k->n_answer,
                             .first = k->n_prompt,
                             .odds = k->b.cli->args.accept ? &k->odds : NULL,
                             .seed = seed == NCT_UNSET ? 1 : (uint64_t)seed};
}

static nct_status measure_replay(spec_bench *k, nct_meter *meter, nct_error *err) {
    nct_replay_text text = text_of(k);
    nct_adapt known = k->b.session->adapt; /* what other texts of this model have taught */
    NCT_TRY(nct_replay_begin(k->b.session, &text, k->b.cli->args.made_up, err));
    NCT_TRY(time_parts(k, err));
    nct_adapt measured = k->b.session->adapt;
    if (k->b.cli->args.accept) /* not those of this host's real drafts */
        nct_adapt_init(&k->b.session->adapt);
    k->b.session->adapt.cost = measured.cost;
    k->b.session->adapt.pass = measured.pass;
    nct_status status = run_text(k, "replay", meter, err);
    known.cost = measured.cost;
    known.pass = measured.pass;
    k->b.session->adapt = known;
    return status;
}

static int measure_kinds(spec_bench *k, nct_meter *meter) {
    nct_error err = {0};
    int code = NCT_EXIT_OK;
    for (size_t i = 0; i < KINDS && code == NCT_EXIT_OK; i++) {
        size_t most = k->n_prompt, n = most;
        if (kinds[i].text)
            code = encode(k, kinds[i].text, strlen(kinds[i].text), most, &n);
        else
            memcpy(k->token, k->b.ids, n * sizeof *k->token);
        if (code != NCT_EXIT_OK)
            break;
        k->n_prompt = n;
        nct_status status = write_on(k, n, &err);
        nct_replay_text text = text_of(k);
        if (status == NCT_OK)
            status = nct_replay_begin(k->b.session, &text, false, &err);
        if (status == NCT_OK && i == 0)
            status = time_parts(k, &err);
        if (status == NCT_OK)
            status = run_text(k, kinds[i].name, meter, &err);
        k->n_prompt = most;
        if (status != NCT_OK)
            code = nct_say_status(k->b.cli, &err);
    }
    return code;
}

/* ------------------------------------------------------------------ the report */

static double rate(const run *r) { return (double)r->way.n_tokens / r->way.seconds; }
static double accept(const run *r) { return (double)r->way.n_tokens / (double)r->way.n_rounds; }
static double mean_rows(const run *r) { return (double)r->way.n_verified / (double)r->way.n_rounds; }
static double mean_passes(const run *r) { return (double)r->way.n_passes / (double)r->way.n_rounds; }

/* The plain run of the same text stands first. */
static double gain(const spec_bench *k, size_t i) {
    size_t plain = i;
    while (plain > 0 && k->runs[plain].way.kind != NCT_REPLAY_PLAIN)
        plain--;
    return rate(&k->runs[i]) / rate(&k->runs[plain]);
}

static void print_sizes(const run *r, nct_output *out) {
    nct_output_print(out, "chosen for %s: rows", r->text);
    for (size_t n = 1; n <= NCT_TREE_MAX; n++)
        if (100 * r->way.nodes[n] >= r->way.n_rounds)
            nct_output_print(out, " %zu (%.0f %%)", n, 100 * (double)r->way.nodes[n] / (double)r->way.n_rounds);
    nct_output_print(out, "\n");
}

static void print_table(const spec_bench *k, nct_output *out) {
    const nct_model_info *m = &k->b.info;
    nct_output_print(out, "%s %s · %s · %d threads\n", m->name, m->weights, m->isa, m->n_threads);
    nct_output_print(out, "| rows checked |       ms | of one |\n|-------------:|---------:|-------:|\n");
    for (size_t i = 0; i < ROWS; i++)
        nct_output_print(out, "| %12zu | %8.2f | %6.2f |\n", row_count[i], 1e3 * k->row_s[i], k->row_s[i] / k->row_s[0]);
    if (k->n_drafts)
        nct_output_print(out, "| draft: branches, passes |       ms | of one row |\n|------------------------:|---------:|-----------:|\n");
    for (size_t i = 0; i < k->n_drafts; i++)
        nct_output_print(out, "| %20zu, %zu | %8.2f | %10.3f |\n", draft_width[i], k->draft_passes[i], 1e3 * k->draft_s[i],
                         k->draft_s[i] / k->row_s[0]);
    if (k->has_head)
        nct_output_print(out, "draft's head: %s rows in %.2f ms, %.2f of the model's %s rows\n",
                         NCT_N(k->heads.draft_rows), 1e3 * k->heads.draft_s, k->heads.draft_s / k->heads.full_s,
                         NCT_N(k->heads.full_rows));
    nct_output_print(out, "| text   | choice           |      t/s | of plain | accepted |  rows | passes |\n"
                          "|--------|------------------|---------:|---------:|---------:|------:|-------:|\n");
    for (size_t i = 0; i < k->n_runs; i++) {
        const run *r = &k->runs[i];
        nct_output_print(out, "| %-6s | %-16s | %8.2f | %8.3f | %8.2f | %5.1f | %6.2f |\n", r->text, r->choice, rate(r),
                         gain(k, i), accept(r), mean_rows(r), mean_passes(r));
    }
    for (size_t i = 0; i < k->n_runs; i++)
        if (k->runs[i].way.kind == NCT_REPLAY_AUTO)
            print_sizes(&k->runs[i], out);
}

static void print_csv(const spec_bench *k, nct_output *out) {
    nct_output_print(out, "part,text,choice,rows,ms,ratio,tokens,tps,accept,passes\n");
    for (size_t i = 0; i < ROWS; i++)
        nct_output_print(out, "verify,,,%zu,%.6g,%.6g,,,,\n", row_count[i], 1e3 * k->row_s[i], k->row_s[i] / k->row_s[0]);
    for (size_t i = 0; i < k->n_drafts; i++)
        nct_output_print(out, "draft,,,%zu,%.6g,%.6g,,,,%zu\n", draft_width[i], 1e3 * k->draft_s[i],
                         k->draft_s[i] / k->row_s[0], k->draft_passes[i]);
    if (k->has_head)
        nct_output_print(out, "head,,,%zu,%.6g,%.6g,,,,\n", k->heads.draft_rows, 1e3 * k->heads.draft_s,
                         k->heads.draft_s / k->heads.full_s);
    for (size_t i = 0; i < k->n_runs; i++) {
        const run *r = &k->runs[i];
        nct_output_print(out, "run,%s,\"%s\",%.6g,%.6g,%.6g,%zu,%.6g,%.6g,%.6g\n", r->text, r->choice, mean_rows(r),
                         1e3 * r->way.seconds, gain(k, i), r->way.n_tokens, rate(r), accept(r), mean_passes(r));
    }
}

static void print_json(const spec_bench *k, nct_output *out) {
    nct_bytes name = {0};
    nct_json_write_string(&name, k->b.info.name, strlen(k->b.info.name), NULL);
    nct_output_print(out, "{\"model\":%s,\"isa\":\"%s\",\"threads\":%d,\"verify\":[", name.data ? name.data : "\"\"",
                     k->b.info.isa, k->b.info.n_threads);
    nct_bytes_reset(&name);
    for (size_t i = 0; i < ROWS; i++)
        nct_output_print(out, "%s{\"rows\":%zu,\"ms\":%.6g,\"ratio\":%.6g}", i ? "," : "", row_count[i], 1e3 * k->row_s[i],
                         k->row_s[i] / k->row_s[0]);
    nct_output_print(out, "],\"draft\":[");
    for (size_t i = 0; i < k->n_drafts; i++)
        nct_output_print(out, "%s{\"branches\":%zu,\"passes\":%zu,\"ms\":%.6g,\"ratio\":%.6g}", i ? "," : "", draft_width[i],
                         k->draft_passes[i], 1e3 * k->draft_s[i], k->draft_s[i] / k->row_s[0]);
    nct_output_print(out, "],\"head\":");
    if (k->has_head)
        nct_output_print(out, "{\"rows\":%zu,\"ms\":%.6g,\"full_rows\":%zu,\"full_ms\":%.6g,\"ratio\":%.6g}",
                         k->heads.draft_rows, 1e3 * k->heads.draft_s, k->heads.full_rows, 1e3 * k->heads.full_s,
                         k->heads.draft_s / k->heads.full_s);
    else
        nct_output_print(out, "null");
    nct_output_print(out, ",\"runs\":[");
    for (size_t i = 0; i < k->n_runs; i++) {
        const run *r = &k->runs[i];
        nct_output_print(out, "%s{\"text\":\"%s\",\"choice\":\"%s\",\"tokens\":%zu,\"seconds\":%.6g,\"tps\":%.6g,\"gain\":%.6g,"
                              "\"accept\":%.6g,\"rows\":%.6g,\"passes\":%.6g,\"sizes\":{",
                         i ? "," : "", r->text, r->choice, r->way.n_tokens, r->way.seconds, rate(r), gain(k, i), accept(r),
                         mean_rows(r), mean_passes(r));
        for (size_t n = 1, first = 1; n <= NCT_TREE_MAX; n++)
            if (r->way.nodes[n]) {
                nct_output_print(out, "%s\"%zu\":%zu", first ? "" : ",", n, r->way.nodes[n]);
                first = 0;
            }
        nct_output_print(out, "}}");
    }
    nct_output_print(out, "]}\n");
}

static int report(const spec_bench *k) {
    const nct_args *a = &k->b.cli->args;
    nct_output out;
    int code = nct_output_open(k->b.cli, a->output, &out);
    if (code != NCT_EXIT_OK)
        return code;
    if (a->bench_format == NCT_BENCH_CSV)
        print_csv(k, &out);
    else if (a->bench_format == NCT_BENCH_JSON || a->bench_format == NCT_BENCH_JSONL)
        print_json(k, &out);
    else
        print_table(k, &out);
    return nct_output_close(&out, code);
}

int nct_bench_spec_main(nct_cli *cli) {
    void *block = NULL, *token = NULL;
    nct_error err = {0};
    if (nct_alloc(&block, 1, sizeof(spec_bench), &err) != NCT_OK)
        return nct_say_status(cli, &err);
    spec_bench *k = block;
    k->b.cli = cli;
    int code = take_arguments(k);
    if (code == NCT_EXIT_OK)
        code = nct_bench_open(&k->b, (int64_t)(k->n_prompt + k->n_answer + NCT_TREE_MAX));
    if (code == NCT_EXIT_OK && nct_alloc(&token, k->n_prompt + k->n_answer + 2, sizeof *k->token, &err) != NCT_OK)
        code = nct_say_status(cli, &err);
    k->token = token;
    if (code == NCT_EXIT_OK && cli->args.replay)
        code = take_replay(k, cli->args.replay);
    if (code == NCT_EXIT_OK) {
        nct_meter meter;
        nct_meter_begin(cli, "bench", &meter);
        if (!cli->args.replay)
            code = measure_kinds(k, &meter);
        else if (measure_replay(k, &meter, &err) != NCT_OK)
            code = nct_say_status(cli, &err);
        nct_meter_end(&meter);
    }
    if (code == NCT_EXIT_OK)
        code = report(k);
    if (code == NCT_EXIT_OK)
        nct_keep_learned(cli, k->b.engine, k->b.session);
    nct_bench_close(&k->b);
    nct_free(token);
    nct_free(k);
    return code;
}
