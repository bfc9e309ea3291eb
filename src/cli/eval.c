/* Measures of a model: perplexity, and logits for comparing implementations. */
#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "cli/input.h"
#include "cli/open.h"
#include "cli/output.h"
#include "cli/progress.h"

/* ------------------------------------------------------------------ perplexity */

enum { WINDOW = 2048 }; /* tokens a window where -c says nothing */

/* Sums over the tokens that were predicted. */
typedef struct likelihood {
    const int32_t *ids; /* of the window at hand: the token at position i + 1 is predicted at i */
    size_t n_ids, n_vocab;
    double nll, nll_squared;
    size_t n;
    bool bad; /* a logit was no number */
} likelihood;

static void add_nll(void *context, int position, const float *logits) {
    likelihood *l = context;
    if ((size_t)position + 1 >= l->n_ids)
        return;
    double largest = -INFINITY, sum = 0;
    for (size_t i = 0; i < l->n_vocab; i++) {
        l->bad |= isnan(logits[i]) != 0;
        largest = logits[i] > largest ? logits[i] : largest;
    }
    for (size_t i = 0; i < l->n_vocab; i++)
        sum += exp((double)logits[i] - largest);
    double nll = largest + log(sum) - (double)logits[l->ids[position + 1]];
    l->nll += nll;
    l->nll_squared += nll * nll;
    l->n++;
}

typedef struct ppl {
    const nct_cli *cli;
    const char *path;
    nct_engine *engine;
    nct_model_info info;
    nct_session *session;
    nct_output out;
    nct_bytes text;
    int32_t *ids;
    size_t n_ids, window, n_windows;
    likelihood sum;
    uint64_t n_text_bytes; /* of the tokens that were counted */
    double seconds;
} ppl;

static int measure(ppl *p) {
    nct_error err = {0};
    void *memory = NULL;
    bool bos = p->info.bos >= 0;
    if (nct_alloc(&memory, p->window + 1, sizeof(int32_t), &err) != NCT_OK)
        return nct_say_status(p->cli, &err);
    int32_t *ids = memory;
    nct_meter meter;
    nct_meter_begin(p->cli, "measuring", &meter);
    uint64_t began = nct_clock_ns();
    nct_status status = NCT_OK;
    for (size_t at = 0; at < p->n_ids && status == NCT_OK; at += p->window) {
        size_t n = p->n_ids - at < p->window ? p->n_ids - at : p->window;
        ids[0] = p->info.bos;
        memcpy(ids + bos, p->ids + at, n * sizeof *ids);
        p->sum.ids = ids;
        p->sum.n_ids = n + bos;
        nct_feed_options feed = {.on_row = add_nll, .context = &p->sum};
        status = nct_session_rewind(p->session, 0, &err);
        if (status == NCT_OK)
            status = nct_session_feed(p->session, ids, n + bos, &feed, &err);
        p->n_windows++;
        nct_meter_show(&meter, at + n, p->n_ids);
    }
    p->seconds = (double)(nct_clock_ns() - began) * 1e-9;
    nct_meter_end(&meter);
    nct_free(memory);
    if (status != NCT_OK)
        return nct_say_status(p->cli, &err);
    if (p->sum.bad || p->sum.n == 0)
        return nct_say_error(p->cli, NCT_EXIT_FAILURE,
                             p->sum.n ? "%s: a logit is no number" : "%s: no token can be predicted",
                             p->path);
    return NCT_EXIT_OK;
}

static void print_ppl(ppl *p) {
    double n = (double)p->sum.n, mean = p->sum.nll / n;
    double variance = n > 1 ? (p->sum.nll_squared - n * mean * mean) / (n - 1) : 0;
    double half = 1.96 * sqrt(variance > 0 ? variance / n : 0); /* 95 %, tokens taken as independent */
    double bits = p->n_text_bytes ? p->sum.nll / (double)p->n_text_bytes / log(2) : NAN;
    if (p->cli->args.format == NCT_FORMAT_JSON || p->cli->args.format == NCT_FORMAT_JSONL) {
        nct_bytes json = {0};
        nct_bytes_add_str(&json, "{\"text\":", NULL);
        nct_json_write_string(&json, p->path, strlen(p->path), NULL);
        nct_bytes_add_str(&json, ",\"model\":", NULL);
        nct_json_write_string(&json, p->info.name, strlen(p->info.name), NULL);
        nct_bytes_printf(
            &json, NULL,
            ",\"ppl\":%.9g,\"ppl_low\":%.9g,\"ppl_high\":%.9g,\"nll\":%.9g,\"tokens\":%zu,\"bytes\":%llu",
            exp(mean), exp(mean - half), exp(mean + half), mean, p->sum.n,
            (unsigned long long)p->n_text_bytes);
        nct_bytes_printf(&json, NULL, isnan(bits) ? ",\"bits_per_byte\":null" : ",\"bits_per_byte\":%.9g",
                         bits);
        nct_bytes_printf(&json, NULL, ",\"windows\":%zu,\"window\":%zu,\"seconds\":%.3f}\n", p->n_windows,
                         p->window, p->seconds);
        nct_output_write(&p->out, json.data, json.n);
        nct_bytes_reset(&json);
        return;
    }
    nct_output_print(&p->out, "perplexity     %.4f    (95 %%: %.4f to %.4f)\n", exp(mean), exp(mean - half),
                     exp(mean + half));
    nct_output_print(&p->out, "nll a token    %.5f nats\n", mean);
    if (!isnan(bits))
        nct_output_print(&p->out, "bits a byte    %.4f\n", bits);
    nct_output_print(&p->out, "tokens         %s in %s windows of %s\n", NCT_N(p->sum.n), NCT_N(p->n_windows),
                     NCT_N(p->window));
}

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

static int prepare_ppl(ppl *p) {
    const nct_args *a = &p->cli->args;
    nct_knobs knobs;
    nct_error err = {0};
    int code = nct_take_knobs(p->cli, &knobs);
    if (code == NCT_EXIT_OK)
        code = nct_input_read(p->cli, p->path, &p->text);
    if (code == NCT_EXIT_OK)
        code = nct_open_model(p->cli, false, &p->engine, &p->info);
    if (code != NCT_EXIT_OK)
        return code;
    size_t bos = p->info.bos >= 0, most = nct_window(p->cli, &p->info) - bos;
    p->window = a->ctx != NCT_UNSET ? (size_t)a->ctx : most < WINDOW ? most : WINDOW;
    if (p->window > most && !knobs.force_ctx)
        return nct_say_error(p->cli, NCT_EXIT_USAGE, "-c %s leaves no room: %s holds %s tokens\ntry: -c %zu",
                             NCT_N(p->window), p->info.name, NCT_N(most + bos), most);
    nct_session_options options = nct_take_session(p->cli, &knobs);
    options.n_ctx = (int)(p->window + bos);
    if (nct_session_open(p->engine, &options, &p->session, &err) != NCT_OK)
        return nct_say_status(p->cli, &err);
    code = nct_find_room(p->cli, p->engine, p->window + bos, &options, &p->session);
    if (code != NCT_EXIT_OK)
        return code;
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
    p->sum.n_vocab = (size_t)p->info.n_vocab;
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
    int code = prepare_ppl(&p);
    if (code == NCT_EXIT_OK)
        code = measure(&p);
    if (code == NCT_EXIT_OK && (code = nct_output_open(cli, a->output, &p.out)) == NCT_EXIT_OK) {
        print_ppl(&p);
        code = nct_output_close(&p.out, code);
    }
    nct_bytes_reset(&p.text);
    nct_free(p.ids);
    nct_session_close(p.session);
    nct_engine_close(p.engine);
    return code;
}

/* ------------------------------------------------------------------ logits */

enum { TOP = 5 };

typedef struct row {
    int32_t id[TOP];
    float logit[TOP];
} row;

typedef struct logits {
    const nct_cli *cli;
    nct_engine *engine;
    nct_model_info info;
    nct_session *session;
    int32_t *ids;
    size_t n_ids, first; /* position of the first row */
    row *rows;
    size_t n_rows;
    nct_output file; /* of --logits */
    bool has_file;
    nct_choice *choices; /* with copies of their blocks */
    size_t n_choices, choices_capacity;
    atomic_flag busy; /* choices come from several threads */
    bool refused;     /* memory was */
} logits;

/* The largest five, by descending logit, then ascending id. */
static void find_top(const float *z, size_t n, row *r) {
    int found = 0;
    for (size_t i = 0; i < n; i++) {
        int at = found;
        while (at > 0 && z[i] > r->logit[at - 1])
            at--;
        if (at >= TOP)
            continue;
        for (int k = found < TOP ? found : TOP - 1; k > at; k--) {
            r->id[k] = r->id[k - 1];
            r->logit[k] = r->logit[k - 1];
        }
        r->id[at] = (int32_t)i;
        r->logit[at] = z[i];
        found += found < TOP;
    }
    for (; found < TOP; found++)
        r->id[found] = -1;
}

static void take_row(void *context, int position, const float *z) {
    logits *l = context;
    (void)position;
    size_t n = (size_t)l->info.n_vocab;
    find_top(z, n, &l->rows[l->n_rows++]);
    if (!l->has_file)
        return;
    for (size_t i = 0; i < n; i++) { /* little-endian whatever the machine is */
        uint32_t u;
        memcpy(&u, &z[i], sizeof u);
        const unsigned char b[] = {u & 0xff, u >> 8 & 0xff, u >> 16 & 0xff, u >> 24};
        nct_output_write(&l->file, b, sizeof b);
    }
}

static void take_choice(void *context, const nct_choice *c) {
    logits *l = context;
    size_t n = (size_t)c->n_blocks;
    while (atomic_flag_test_and_set_explicit(&l->busy, memory_order_acquire))
        ;
    void *p = l->choices, *copy = NULL;
    if (nct_grow(&p, &l->choices_capacity, l->n_choices + 1, sizeof *l->choices, NULL) == NCT_OK &&
        nct_alloc(&copy, n, sizeof *c->block, NULL) == NCT_OK) {
        memcpy(copy, c->block, n * sizeof *c->block);
        nct_choice *kept = (nct_choice *)p + l->n_choices++;
        *kept = *c;
        kept->block = copy;
    } else {
        l->refused = true;
    }
    l->choices = p;
    atomic_flag_clear_explicit(&l->busy, memory_order_release);
}

static int by_place(const void *a, const void *b) {
    const nct_choice *x = a, *y = b;
    if (x->layer != y->layer)
        return x->layer < y->layer ? -1 : 1;
    if (x->position != y->position)
        return x->position < y->position ? -1 : 1;
    return x->kv_head < y->kv_head ? -1 : x->kv_head > y->kv_head;
}

static void print_choices(const logits *l, nct_output *out) {
    if (l->n_choices)
        qsort(l->choices, l->n_choices, sizeof *l->choices, by_place);
    for (size_t i = 0; i < l->n_choices; i++) {
        const nct_choice *c = &l->choices[i];
        nct_output_print(out, "[%d,%d,%d,[", c->layer, c->position, c->kv_head);
        for (int k = 0; k < c->n_blocks; k++)
            nct_output_print(out, k ? ",%u" : "%u", c->block[k]);
        nct_output_print(out, isinf(c->margin) ? "],null]\n" : "],%.7g]\n", c->margin);
    }
}

static void print_number(nct_output *out, float z) {
    if (isfinite(z))
        nct_output_print(out, "%.7g", (double)z);
    else
        nct_output_print(out, "null");
}

static void print_rows(const logits *l, nct_output *out) {
    nct_output_print(out, "{\"positions\":[");
    for (size_t i = 0; i < l->n_rows; i++)
        nct_output_print(out, i ? ",%zu" : "%zu", l->first + i);
    nct_output_print(out, "],\"argmax\":[");
    for (size_t i = 0; i < l->n_rows; i++)
        nct_output_print(out, i ? ",%d" : "%d", l->rows[i].id[0]);
    nct_output_print(out, "],\"top5\":[");
    for (size_t i = 0; i < l->n_rows; i++) {
        nct_output_print(out, i ? ",[" : "[");
        for (int k = 0; k < TOP && l->rows[i].id[k] >= 0; k++) {
            nct_output_print(out, k ? ",[%d," : "[%d,", l->rows[i].id[k]);
            print_number(out, l->rows[i].logit[k]);
            nct_output_print(out, "]");
        }
        nct_output_print(out, "]");
    }
    nct_output_print(out, "]}\n");
}

static int feed(logits *l) {
    nct_error err = {0};
    bool selected = l->cli->args.selected;
    nct_feed_options options = {.on_row = take_row, .on_choice = selected ? take_choice : NULL, .context = l};
    size_t cut = l->first ? l->first + 1 : l->n_ids;
    nct_status status = NCT_OK;
    if (l->cli->args.prefill == NCT_UNSET) {
        status = nct_session_feed(l->session, l->ids, l->n_ids, &options, &err);
    } else { /* of the prompt, the last row; then a row a step */
        cut = (size_t)l->cli->args.prefill;
        options.on_row = NULL;
        status = nct_session_feed(l->session, l->ids, cut, &options, &err);
        if (status == NCT_OK)
            take_row(l, (int)cut - 1, nct_session_logits(l->session));
        for (size_t i = cut; i < l->n_ids && status == NCT_OK; i++) {
            status = nct_session_feed(l->session, l->ids + i, 1, &options, &err);
            if (status == NCT_OK)
                take_row(l, (int)i, nct_session_logits(l->session));
        }
    }
    if (status != NCT_OK)
        return nct_say_status(l->cli, &err);
    return l->refused ? nct_say_error(l->cli, NCT_EXIT_FAILURE, "out of memory") : NCT_EXIT_OK;
}

static int prepare_logits(logits *l) {
    const nct_args *a = &l->cli->args;
    nct_error err = {0};
    if (a->words.n)
        return nct_say_error(l->cli, NCT_EXIT_USAGE, "eval logits takes ids, not '%.60s'\ntry: --ids 1,2,3",
                             a->words.item[0]);
    if (!a->ids)
        return nct_say_error(l->cli, NCT_EXIT_USAGE,
                             "eval logits needs ids\ntry: --ids 1,2,3\n     --ids @FILE.json");
    int code = nct_input_ids(l->cli, a->ids, &l->ids, &l->n_ids);
    if (code != NCT_EXIT_OK)
        return code;
    if (l->n_ids == 0)
        return nct_say_error(l->cli, NCT_EXIT_USAGE, "--ids is an empty list");
    if (a->prefill != NCT_UNSET && (size_t)a->prefill > l->n_ids)
        return nct_say_error(l->cli, NCT_EXIT_USAGE, "--prefill %lld is more than the %zu ids",
                             (long long)a->prefill, l->n_ids);
    l->first = a->prefill == NCT_UNSET ? 0 : (size_t)a->prefill - 1;
    void *rows = NULL;
    if (nct_alloc(&rows, l->n_ids - l->first, sizeof *l->rows, &err) != NCT_OK)
        return nct_say_status(l->cli, &err);
    l->rows = rows;
    code = nct_open_model(l->cli, false, &l->engine, &l->info);
    if (code == NCT_EXIT_OK)
        code = nct_open_session(l->cli, l->engine, l->n_ids, &l->session);
    for (size_t i = 0; i < l->n_ids && code == NCT_EXIT_OK; i++)
        if (l->ids[i] >= l->info.n_vocab)
            code =
                nct_say_error(l->cli, NCT_EXIT_USAGE, "--ids: %d at item %zu is outside the vocabulary of %d",
                              l->ids[i], i, l->info.n_vocab);
    if (code == NCT_EXIT_OK && l->n_ids > (size_t)nct_session_limit(l->session))
        code = nct_say_error(l->cli, NCT_EXIT_CONTEXT,
                             "input is %s tokens; %s holds %s\ntry: -X ctx.force=1 -c %zu", NCT_N(l->n_ids),
                             l->info.name, NCT_N((uint64_t)nct_session_limit(l->session)), l->n_ids);
    return code;
}

int nct_eval_logits_main(nct_cli *cli) {
    const nct_args *a = &cli->args;
    logits l = {.cli = cli, .busy = ATOMIC_FLAG_INIT};
    nct_output out;
    int code = prepare_logits(&l);
    if (code == NCT_EXIT_OK && a->logits && (code = nct_output_open(cli, a->logits, &l.file)) == NCT_EXIT_OK)
        l.has_file = true;
    if (code == NCT_EXIT_OK)
        code = feed(&l);
    if (l.has_file)
        code = nct_output_close(&l.file, code);
    if (code == NCT_EXIT_OK && (code = nct_output_open(cli, a->output, &out)) == NCT_EXIT_OK) {
        if (a->selected)
            print_choices(&l, &out);
        else
            print_rows(&l, &out);
        code = nct_output_close(&out, code);
    }
    for (size_t i = 0; i < l.n_choices; i++)
        nct_free((void *)(uintptr_t)l.choices[i].block);
    nct_free(l.choices);
    nct_free(l.rows);
    nct_free(l.ids);
    nct_session_close(l.session);
    nct_engine_close(l.engine);
    return code;
}
