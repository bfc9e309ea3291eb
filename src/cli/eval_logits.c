/* Logits, for comparing implementations. */
#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/input.h"
#include "cli/open.h"
#include "cli/output.h"

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
