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

/** One line of the table: n_prompt tokens at once, then n_gen one by one, with `depth` held before. */
typedef struct nct_bench_row {
    char test[64];
    int64_t n_prompt, n_gen, depth;
    double sample[NCT_REPS_MAX];    /* tokens a second, in the order measured */
    double multiply_ops_s[NCT_REPS_MAX], attend_ops_s[NCT_REPS_MAX]; /* the roofs beside each: before and after it */
    double rate, spread;            /* median, and median absolute deviation */
    double bytes_s;                 /* weights and cache read; 0: not defined */
    double share;                   /* of the roof; 0: not defined */
    char limit[32];                 /* what that roof is, or why there is none */
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
    double read_after; /* bytes a second once all is measured */
    bool sparse;       /* rows past the model's dense length choose blocks */
    int32_t *ids;      /* the text, as many as the longest test needs */
    size_t n_ids;
    int reps, warmup;
    nct_bench_row *rows;
    size_t n_rows;
    bool has_baseline;
    nct_baseline baseline;
    double tolerance; /* 0.05: a rate 5 % below the baseline's is a regression */
} nct_bench;

/** Opens model and session and takes the text for tests that need so many tokens. */
int nct_bench_open(nct_bench *b, int64_t n_tokens);
void nct_bench_close(nct_bench *b);

/** Fills the session to the row's depth and runs the test; fills in everything but the share of the roof. */
int nct_bench_time(nct_bench *b, nct_bench_row *row);

/** Operations a token needs in attention over so many keys: both products. */
double nct_bench_attend_ops(const nct_model_info *info, double n_keys);

/** Change against the baseline, 0.1 for ten per cent more; NaN where there is nothing to compare with. */
double nct_bench_change(const nct_bench_row *row);

/** Draws as form says, NCT_BENCH_SVG or NCT_BENCH_PNG. */
int nct_bench_draw(const nct_cli *cli, const nct_chart *chart, int64_t form, nct_output *out);

/** Writes the table to stdout and to every -o, each in its form. */
int nct_bench_report(const nct_bench *b);

/** The form of a file by its ending, NCT_UNSET if that says nothing. */
int64_t nct_bench_form_of(const char *path);

#endif
