/* Perplexity of a text, by one or several ways of attention and types of the cache. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "cli/input.h"
#include "cli/open.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "cli/ranges.h"

enum {
    WINDOW = 2048, /* tokens a window where -c says nothing */
    MODES = 3,     /* of --sparse */
    TYPES = 4,     /* of --kv */
    ROWS = MODES * TYPES,
};

/* Mean and half of the 95 % interval, in nats a token, values taken as independent. */
typedef struct mean {
    double sum, squares;
    size_t n;
} mean;

static void add(mean *m, double x) {
    m->sum += x;
    m->squares += x * x;
    m->n++;
}
static double middle(const mean *m) { return m->sum / (double)m->n; }
static double half_width(const mean *m) {
    double n = (double)m->n, x = middle(m), variance = n > 1 ? (m->squares - n * x * x) / (n - 1) : 0;
    return 1.96 * sqrt(variance > 0 ? variance / n : 0);
}

/* One way of computing, and what came of it. */
typedef struct row {
    int64_t sparse, kv; /* as nct_args has them; NCT_UNSET: as the model and the machine are */
    const char *keys, *values;
    mean nll, more; /* more: than the first row's of the same token */
    size_t n_windows;
    double seconds;
} row;

typedef struct ppl {
    nct_cli *cli;
    const char *path;
    nct_knobs knobs;
    nct_engine *engine;
    nct_model_info info;
    nct_session *session;
    nct_output out;
    nct_bytes text;
    int32_t *ids;
    size_t n_ids, window;
    row row[ROWS];
    size_t n_rows;
    double *first;         /* [n_ids] nll of the first row's tokens */
    uint64_t n_text_bytes; /* of the tokens that were counted */
    /* of the window at hand */
    row *at;
    const int32_t *window_ids; /* the token at position i + 1 is predicted at i */
    size_t n_window_ids;
    bool bad; /* a logit was no number */
} ppl;

static void add_nll(void *context, int position, const float *logits) {
    ppl *p = context;
    if ((size_t)position + 1 >= p->n_window_ids)
        return;
    double largest = -INFINITY, sum = 0;
    for (int i = 0; i < p->info.n_vocab; i++) {
        p->bad |= isnan(logits[i]) != 0;
        largest = logits[i] > largest ? logits[i] : largest;
    }
    for (int i = 0; i < p->info.n_vocab; i++)
        sum += exp((double)logits[i] - largest);
    double nll = largest + log(sum) - (double)logits[p->window_ids[position + 1]];
    if (p->at == p->row)
        p->first[p->at->nll.n] = nll;
    add(&p->at->more, nll - p->first[p->at->nll.n]);
    add(&p->at->nll, nll);
}

/* A session of the row's own. */
static int open_row(ppl *p, row *r) {
    bool bos = p->info.bos >= 0;
    nct_error err = {0};
    nct_report report;
    nct_session_close(p->session);
    p->session = NULL;
    p->cli->args.sparse = r->sparse;
    p->cli->args.kv = r->kv;
    nct_session_options options = nct_take_session(p->cli, &p->knobs);
    options.n_ctx = (int)(p->window + bos);
    if (nct_session_open(p->engine, &options, &p->session, &err) != NCT_OK)
        return err.status == NCT_E_ARGUMENT ? nct_say_error(p->cli, NCT_EXIT_USAGE, "%s", err.text)
                                            : nct_say_status(p->cli, &err);
    int code = nct_find_room(p->cli, p->engine, p->window + bos, &options, &p->session);
    if (code != NCT_EXIT_OK)
        return code;
    nct_session_report(p->session, &report);
    r->keys = report.keys;
    r->values = report.values;
    return NCT_EXIT_OK;
}

static int measure(ppl *p, row *r, int32_t *ids, nct_meter *meter) {
    nct_error err = {0};
    bool bos = p->info.bos >= 0;
    size_t before = (size_t)(r - p->row) * p->n_ids;
    uint64_t began = nct_clock_ns();
    nct_status status = NCT_OK;
    p->at = r;
    for (size_t at = 0; at < p->n_ids && status == NCT_OK; at += p->window) {
        size_t n = p->n_ids - at < p->window ? p->n_ids - at : p->window;
        ids[0] = p->info.bos;
        memcpy(ids + bos, p->ids + at, n * sizeof *ids);
        p->window_ids = ids;
        p->n_window_ids = n + bos;
        nct_feed_options feed = {.on_row = add_nll, .context = p};
        status = nct_session_rewind(p->session, 0, &err);
        if (status == NCT_OK)
            status = nct_session_feed(p->session, ids, n + bos, &feed, &err);
        r->n_windows++;
        nct_meter_show(meter, before + at + n, p->n_rows * p->n_ids);
    }
    r->seconds = (double)(nct_clock_ns() - began) * 1e-9;
    if (status != NCT_OK)
        return nct_say_status(p->cli, &err);
    if (p->bad || r->nll.n == 0)
        return nct_say_error(p->cli, NCT_EXIT_FAILURE,
                             r->nll.n ? "%s: a logit is no number" : "%s: no token can be predicted",
                             p->path);
    return NCT_EXIT_OK;
}

/* What cannot be done is refused before anything is measured. */
static int try_rows(ppl *p) {
    int code = NCT_EXIT_OK;
    bool untrained = false;
    for (size_t i = 0; i < p->n_rows && code == NCT_EXIT_OK; i++) {
        untrained = untrained || (p->row[i].sparse == NCT_SPARSE_ON && !p->info.sparse_trained);
        code = open_row(p, &p->row[i]);
    }
    if (untrained && code == NCT_EXIT_OK)
        nct_say_warning(p->cli, "%s was not trained for sparse attention; --sparse on does it all the same",
                        p->info.name);
    return code;
}

static int measure_all(ppl *p) {
    nct_error err = {0};
    void *ids = NULL, *first = NULL;
    if (nct_alloc(&ids, p->window + 1, sizeof(int32_t), &err) != NCT_OK ||
        nct_alloc(&first, p->n_ids, sizeof(double), &err) != NCT_OK) {
        nct_free(ids);
        return nct_say_status(p->cli, &err);
    }
    p->first = first;
    nct_meter meter;
    int code = NCT_EXIT_OK;
    nct_meter_begin(p->cli, "measuring", &meter);
    for (size_t i = 0; i < p->n_rows && code == NCT_EXIT_OK; i++) {
        code = p->n_rows > 1 ? open_row(p, &p->row[i]) : NCT_EXIT_OK; /* the only one is open */
        if (code == NCT_EXIT_OK)
            code = measure(p, &p->row[i], ids, &meter);
    }
    nct_meter_end(&meter);
    nct_free(ids);
    return code;
}

/* ------------------------------------------------------------------ what comes out */

static double bits_of(const ppl *p, const row *r) {
    return p->n_text_bytes ? r->nll.sum / (double)p->n_text_bytes / log(2) : (double)NAN;
}

static const char *sparse_name(const row *r) {
    static const char *const names[MODES] = {"auto", "on", "off"};
    return names[r->sparse == NCT_UNSET ? 0 : r->sparse];
}

static void write_kv(const row *r, char buf[16]) {
    bool same = strcmp(r->keys, r->values) == 0;
    snprintf(buf, 16, "%s%s%s", r->keys, same ? "" : "/", same ? "" : r->values);
}

/* The members of a row. */
static void write_row(const ppl *p, const row *r, nct_bytes *json) {
    double x = middle(&r->nll), half = half_width(&r->nll), bits = bits_of(p, r);
    nct_bytes_printf(json, NULL, "\"sparse\":\"%s\",\"keys\":\"%s\",\"values\":\"%s\",", sparse_name(r),
                     r->keys, r->values);
    nct_bytes_printf(json, NULL,
                     "\"ppl\":%.9g,\"ppl_low\":%.9g,\"ppl_high\":%.9g,\"nll\":%.9g,\"tokens\":%zu,"
                     "\"bytes\":%llu",
                     exp(x), exp(x - half), exp(x + half), x, r->nll.n, (unsigned long long)p->n_text_bytes);
    nct_bytes_printf(json, NULL, isnan(bits) ? ",\"bits_per_byte\":null" : ",\"bits_per_byte\":%.9g", bits);
    nct_bytes_printf(json, NULL, ",\"windows\":%zu,\"window\":%zu", r->n_windows, p->window);
    if (r != p->row) {
        double first = middle(&p->row->nll), more = middle(&r->more), error = half_width(&r->more);
        nct_bytes_printf(json, NULL,
                         ",\"delta\":{\"ppl\":%.9g,\"percent\":%.6g,\"nll\":%.9g,\"nll_low\":%.9g,"
                         "\"nll_high\":%.9g}",
                         exp(x) - exp(first), 100 * (exp(x - first) - 1), more, more - error, more + error);
    }
    nct_bytes_printf(json, NULL, ",\"seconds\":%.3f", r->seconds);
}

static void write_names(const ppl *p, nct_bytes *json) {
    nct_bytes_add_str(json, "{\"text\":", NULL);
    nct_json_write_string(json, p->path, strlen(p->path), NULL);
    nct_bytes_add_str(json, ",\"model\":", NULL);
    nct_json_write_string(json, p->info.name, strlen(p->info.name), NULL);
    nct_bytes_printf(json, NULL, ",\"isa\":\"%s\",", p->info.isa);
}

/* The first row's members, and all rows where there are several; or a row a line. */
static void print_json(ppl *p) {
    nct_bytes json = {0};
    bool lines = p->cli->args.format == NCT_FORMAT_JSONL;
    for (size_t i = 0; i < (lines ? p->n_rows : 1); i++) {
        write_names(p, &json);
        write_row(p, &p->row[i], &json);
        for (size_t k = 0; !lines && p->n_rows > 1 && k < p->n_rows; k++) {
            nct_bytes_add_str(&json, k ? ",{" : ",\"rows\":[{", NULL);
            write_row(p, &p->row[k], &json);
            nct_bytes_add_str(&json, k + 1 < p->n_rows ? "}" : "}]", NULL);
        }
        nct_bytes_add_str(&json, "}\n", NULL);
    }
    nct_output_write(&p->out, json.data ? json.data : "", json.n);
    nct_bytes_reset(&json);
}

static void print_one(ppl *p) {
    const row *r = p->row;
    double x = middle(&r->nll), half = half_width(&r->nll), bits = bits_of(p, r);
    nct_output_print(&p->out, "perplexity     %.4f    (95 %%: %.4f to %.4f)\n", exp(x), exp(x - half),
                     exp(x + half));
    nct_output_print(&p->out, "nll a token    %.5f nats\n", x);
    if (!isnan(bits))
        nct_output_print(&p->out, "bits a byte    %.4f\n", bits);
    nct_output_print(&p->out, "tokens         %s in %s windows of %s\n", NCT_N(r->nll.n), NCT_N(r->n_windows),
                     NCT_N(p->window));
}

/* A row a line; how far each is from the first is known better than where either is, as both read the same tokens. */
static void print_table(ppl *p) {
    nct_output_print(&p->out, "%s tokens in %s windows of %s\n", NCT_N(p->row->nll.n),
                     NCT_N(p->row->n_windows), NCT_N(p->window));
    nct_output_print(&p->out,
                     "sparse  kv       perplexity  95 %%                     delta      %%  nats (95 %%)\n");
    for (size_t i = 0; i < p->n_rows; i++) {
        const row *r = &p->row[i];
        char kv[16], range[40];
        double x = middle(&r->nll), half = half_width(&r->nll), first = middle(&p->row->nll);
        write_kv(r, kv);
        snprintf(range, sizeof range, "%.4f to %.4f", exp(x - half), exp(x + half));
        nct_output_print(&p->out, "%-6s  %-7s  %10.4f  %*s", sparse_name(r), kv, exp(x), i ? -20 : 0, range);
        if (i)
            nct_output_print(&p->out, "  %+8.4f  %+5.2f  %+.5f ±%.5f", exp(x) - exp(first),
                             100 * (exp(x - first) - 1), middle(&r->more), half_width(&r->more));
        nct_output_print(&p->out, "\n");
    }
}

/* ------------------------------------------------------------------ the command */

/* Bytes that the counted tokens stand for. */
static int count_bytes(ppl *p) {
    char *text = NULL;
    size_t n;
    nct_error err = {0};
    if (nct_decode(p->engine, p->ids, p->n_ids, true, &text, &n, &err) != NCT_OK)
        return nct_say_status(p->cli, &err);
    nct_free(text);
    p->n_text_bytes = n;
    return NCT_EXIT_OK;
}

static int take_list(const nct_cli *cli, const char *flag, const char *text, const char *words, size_t most,
                     int64_t *index, size_t *n) {
    index[0] = NCT_UNSET;
    *n = 1;
    switch (text ? nct_parse_words(text, words, most, index, n) : NCT_WORDS_GOOD) {
    case NCT_WORDS_GOOD:
        return NCT_EXIT_OK;
    case NCT_WORDS_TWICE:
        return nct_say_error(cli, NCT_EXIT_USAGE, "%s %s names one of them twice", flag, text);
    default:
        return nct_say_error(cli, NCT_EXIT_USAGE,
                             "%s %.60s: expected one of %s, or several with a comma between", flag, text,
                             words);
    }
}

/* Every type with every way. */
static int take_rows(ppl *p) {
    const nct_args *a = &p->cli->args;
    int64_t mode[MODES], type[TYPES];
    size_t n_modes, n_types;
    int code = take_list(p->cli, "--sparse", a->sparse_modes, NCT_SPARSE_WORDS, MODES, mode, &n_modes);
    if (code == NCT_EXIT_OK)
        code = take_list(p->cli, "--kv", a->bench_kv, NCT_KV_WORDS, TYPES, type, &n_types);
    if (code == NCT_EXIT_OK && n_types > 1 && a->keys != NCT_UNSET && a->values != NCT_UNSET)
        code = nct_say_error(p->cli, NCT_EXIT_USAGE,
                             "--kv %s compares types, and -ctk and -ctv say which they are\ntry: one of them",
                             a->bench_kv);
    for (size_t i = 0; code == NCT_EXIT_OK && i < n_modes * n_types; i++)
        p->row[p->n_rows++] = (row){.sparse = mode[i / n_types], .kv = type[i % n_types]};
    return code;
}

static int prepare(ppl *p) {
    const nct_args *a = &p->cli->args;
    nct_error err = {0};
    int code = take_rows(p);
    if (code == NCT_EXIT_OK)
        code = nct_take_knobs(p->cli, &p->knobs);
    if (code == NCT_EXIT_OK)
        code = nct_input_read(p->cli, p->path, &p->text);
    if (code == NCT_EXIT_OK)
        code = nct_open_model(p->cli, false, &p->engine, &p->info);
    if (code != NCT_EXIT_OK)
        return code;
    size_t bos = p->info.bos >= 0, most = nct_window(p->cli, &p->info) - bos;
    p->window = a->ctx != NCT_UNSET ? (size_t)a->ctx : most < WINDOW ? most : WINDOW;
    if (p->window > most && !p->knobs.force_ctx)
        return nct_say_error(p->cli, NCT_EXIT_USAGE, "-c %s leaves no room: %s holds %s tokens\ntry: -c %zu",
                             NCT_N(p->window), p->info.name, NCT_N(most + bos), most);
    if (nct_encode(p->engine, p->text.data ? p->text.data : "", p->text.n, false, false, &p->ids, &p->n_ids,
                   &err) != NCT_OK)
        return nct_say_status(p->cli, &err);
    if (a->tokens != NCT_UNSET && (size_t)a->tokens < p->n_ids)
        p->n_ids = (size_t)a->tokens;
    for (size_t i = 0; i < p->n_ids; i++)
        if (p->ids[i] >= p->info.n_vocab)
            return nct_say_error(p->cli, NCT_EXIT_MODEL, "%s: the tokenizer gives id %d, the model has %d",
                                 p->info.path, p->ids[i], p->info.n_vocab);
    if (p->n_ids + bos < 2)
        return nct_say_error(p->cli, NCT_EXIT_USAGE, "%s holds %zu tokens: nothing to predict", p->path,
                             p->n_ids);
    return count_bytes(p);
}

int nct_eval_ppl_main(nct_cli *cli) {
    const nct_args *a = &cli->args;
    if (a->words.n != 1)
        return nct_say_error(
            cli, NCT_EXIT_USAGE,
            "eval ppl measures one text; %zu were named\ntry: noctule eval ppl FILE    (- is stdin)",
            a->words.n);
    ppl p = {.cli = cli, .path = a->words.item[0]};
    int code = prepare(&p);
    if (code == NCT_EXIT_OK)
        code = try_rows(&p);
    if (code == NCT_EXIT_OK)
        code = measure_all(&p);
    if (code == NCT_EXIT_OK && (code = nct_output_open(cli, a->output, &p.out)) == NCT_EXIT_OK) {
        if (a->format == NCT_FORMAT_JSON || a->format == NCT_FORMAT_JSONL)
            print_json(&p);
        else if (p.n_rows > 1)
            print_table(&p);
        else
            print_one(&p);
        code = nct_output_close(&p.out, code);
    }
    nct_bytes_reset(&p.text);
    nct_free(p.ids);
    nct_free(p.first);
    nct_session_close(p.session);
    nct_engine_close(p.engine);
    return code;
}
