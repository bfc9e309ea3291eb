/** What the benches share: lists of sizes, timing a test of the whole engine, and the report. */
#ifndef NCT_CLI_BENCH_H
#define NCT_CLI_BENCH_H

#include "base/room.h"
#include "cli/chart.h"
#include "cli/open.h"
#include "cli/output.h"
#include "cli/ranges.h"
#include "engine/baseline.h"

enum { NCT_REPS_MAX = 100 };

/** --format, in the order of its words; and the drawings, which only files are. */
enum { NCT_BENCH_MD, NCT_BENCH_CSV, NCT_BENCH_JSON, NCT_BENCH_JSONL, NCT_BENCH_SVG, NCT_BENCH_PNG };

/** Numbers from `low` to 2^24: "512,2048", "0,8k", "4k..128k*2". Complains and returns an nct_exit. */
int nct_counts_take(const nct_cli *cli, const char *flag, const char *text, int64_t low, nct_range *out);
/** One number of that kind, `otherwise` where text is NULL. */
int nct_count_take(const nct_cli *cli, const char *flag, const char *text, int64_t otherwise, int64_t low,
                   int64_t *n);
int64_t nct_counts_largest(const nct_range *c); /* 0 of an empty list */

/** The median of v [n], which is sorted by it; the median distance from a middle. */
double nct_median(double *v, size_t n);
double nct_median_deviation(const double *v, size_t n, double middle);

/** Numbers of threads, and what they can do at best, which is measured before the tests. */
typedef struct nct_bench_team {
    int threads, threads_batch; /* of steps, of prompts */
    nct_roofline roof;
} nct_bench_team;

/** One line of the table: n_prompt tokens at once, then n_gen one by one, with `depth` held before. */
typedef struct nct_bench_row {
    char test[64];
    int64_t n_prompt, n_gen, depth;

    /* how it is run; of `bench` alone, the others leave it zeroed */
    const nct_bench_team *team;
    int64_t kv, sparse_mode; /* as nct_args has them */
    int64_t n_sequences;     /* that generate together */
    bool guesses;            /* ahead: the tokens are the model's own, not those of the text */
    bool sparse;             /* rows past the model's dense length choose blocks */
    char kv_name[16];        /* "f16", or "f16/q8" where keys and values differ */

    double sample[NCT_REPS_MAX]; /* tokens a second, in the order measured; of all sequences */
    double multiply_ops_s[NCT_REPS_MAX], attend_ops_s[NCT_REPS_MAX]; /* the roofs beside each: before and after it */
    double rate, spread;            /* median, and median absolute deviation */
    double bytes_s;                 /* weights and cache read; 0: not defined */
    double share;                   /* of the roof; 0: not defined */
    char limit[32];                 /* what that roof is, or why there is none */
    double accept, nodes;           /* of guessing: tokens a step gave, and checked; 0: nobody guessed */
    nct_use use;                    /* of the process, after the test */
    uint64_t cache_mapped_bytes, cache_resident_bytes, cache_dirty_bytes; /* as nct_report has them, then */
    const nct_baseline_row *before; /* NULL: no baseline, or it has no such test */
} nct_bench_row;

typedef struct nct_bench {
    nct_cli *cli;
    nct_engine *engine;
    nct_model_info info;
    nct_session *session;
    nct_roofline roof;
    int32_t *ids; /* the text, as many as the longest test needs */
    size_t n_ids;
    int reps, warmup;
    nct_bench_row *rows;
    size_t n_rows, rows_capacity;

    /* of `bench` alone */
    nct_bench_team *teams;
    size_t n_teams;
    bool varies_threads, varies_kv, varies_sparse, varies_width; /* from row to row */
    char guessing[8];     /* what --spec says of rows that guess: "auto" or a number */
    double read_after;    /* bytes a second once all is measured, with the first team */
    bool has_baseline;
    nct_baseline baseline;
    double tolerance; /* 0.05: a rate 5 % below the baseline's is a regression */
} nct_bench;

/** Opens model and session and takes the text for tests that need so many tokens. */
int nct_bench_open(nct_bench *b, int64_t n_tokens);
/** Its parts: the model, a session (the one before is closed), the text. */
int nct_bench_open_engine(nct_bench *b);
int nct_bench_open_session(nct_bench *b, int64_t n_tokens);
int nct_bench_take_text(nct_bench *b, int64_t n_tokens);
void nct_bench_close(nct_bench *b);

/** Tokens held before the row's clock starts: its depth, or NCT_BENCH_LEAD. */
int64_t nct_bench_held(const nct_bench_row *row);
/** The session then holds at least so many tokens: the text's, or made up. */
int nct_bench_fill(nct_bench *b, int64_t depth);
/** Fills the session to the row's depth and runs the test; fills in everything but the share of the roof. */
int nct_bench_time(nct_bench *b, nct_bench_row *row);
/** From the samples: the median and the spread. And what the process holds now. */
void nct_bench_sum_up(const nct_bench *b, nct_bench_row *row);

/** What a guessing test that begins with no prompt of its own has before it, at least: of nothing nothing can be guessed. */
enum { NCT_BENCH_LEAD = 64 };

/** Lists of what varies become rows: every combination is a block of tests. The one place that does so. Nothing is opened
 *  yet; nct_bench_settle_rows fills in what hangs on the model, and measures what teams can do at best. */
int nct_bench_add_rows(nct_bench *b);
int nct_bench_settle_rows(nct_bench *b);
/** The tokens that the longest test holds. */
int64_t nct_bench_longest(const nct_bench *b);
/** Runs all tests, and judges them. */
int nct_bench_run(nct_bench *b);

/** The test and what varies, as it may stand in a sentence: "tg128, 8 threads, q8". Returns buf. */
const char *nct_bench_label(const nct_bench *b, const nct_bench_row *row, char *buf, size_t n_buf);
/** "16/8", prompts first, or one number where they are the same. Returns buf. */
const char *nct_bench_threads_name(const nct_bench_row *row, char buf[32]);
/** The same test attending to everything, if there is one. */
const nct_bench_row *nct_bench_dense_of(const nct_bench *b, const nct_bench_row *row);

/** -t as a list, whose numbers this process may use. */
int nct_threads_take(const nct_cli *cli, nct_range *threads);

/** Sequences in a batcher. Their prompts have nothing in common, or all but their last token. */
typedef struct nct_bench_crowd {
    int64_t width, n_prompt, n_gen;
    bool alike;
} nct_bench_crowd;
/** Takes all prompts in, then times the steps in which all answer: tokens a second of all together, read and fed. */
nct_status nct_bench_time_crowd(nct_bench *b, nct_batcher *batcher, const nct_bench_crowd *crowd, double *read,
                                double *fed, nct_error *err);

/** Operations a token needs in attention over so many keys: both products. In a prompt, whose rows need none in the last
 *  layer, but for the last row. */
double nct_bench_attend_ops(const nct_model_info *info, double n_keys);
double nct_bench_prompt_attend_ops(const nct_model_info *info, double n_keys);

/** --baseline and --tol; then, before anything is timed, which row of it each test is compared with; then, at the end,
 *  exit 7 if a test has become slower. */
int nct_bench_take_baseline(nct_bench *b);
int nct_bench_match_baseline(nct_bench *b);
int nct_bench_find_regressions(const nct_bench *b);
/** Change against the baseline, 0.1 for ten per cent more; NaN where there is nothing to compare with. */
double nct_bench_change(const nct_bench_row *row);

/** Draws as form says, NCT_BENCH_SVG or NCT_BENCH_PNG. */
int nct_bench_draw(const nct_cli *cli, const nct_chart *chart, int64_t form, nct_output *out);

/** Writes the table to stdout and to every -o, each in its form. */
int nct_bench_report(const nct_bench *b);

/** llama-bench's -o names a form: md, csv, json, jsonl. False, and *form as it was: it is a file. */
bool nct_bench_is_form(const char *word, int64_t *form);
/** For benches of one -o: sets --format by its ending, or by its being the name of a form. Exit 2 for drawings. */
int nct_bench_take_form(nct_cli *cli);
/** The form of a file by its ending, NCT_UNSET if that says nothing. */
int64_t nct_bench_form_of(const char *path);

#endif
