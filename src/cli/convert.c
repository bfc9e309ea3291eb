/* A checkpoint as one bundle. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/input.h"
#include "cli/drift.h"
#include "cli/open.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "engine/convert.h"

enum { PARTS = 10000 }; /* how finely progress is told */

typedef struct conversion {
    const nct_cli *cli;
    nct_convert_options options;
    nct_meter meter;
    char doing[80];
    bool told;               /* a line of the report is out */
    size_t n, n_same;        /* matrices; those that are what they were */
    char layer[32];          /* of the lines gathered below */
    double weights, outputs; /* the worst of its matrices; outputs -1: not measured */
    char worst[32];
} conversion;

/* ------------------------------------------------------------------ the report */

/* One line for the matrices gathered, on a terminal; a text's errors count more than the weights'. */
static void print_layer(conversion *k) {
    if (k->layer[0] && k->weights > 0 && k->cli->term.err_tty && !k->cli->args.quiet &&
        !k->cli->args.verbose) {
        nct_term_clear_line(&k->cli->term);
        if (!k->told)
            fprintf(stderr, "%-12s  weights  %s\n", "changed by",
                    k->options.text ? " outputs  worst" : "worst");
        fprintf(stderr, "%-12s %6.2f %%", k->layer, 100 * k->weights);
        if (k->options.text && k->outputs >= 0)
            fprintf(stderr, "  %6.2f %%", 100 * k->outputs);
        else if (k->options.text)
            fprintf(stderr, "  %8s", "");
        fprintf(stderr, "  %s\n", k->worst);
        k->told = true;
    }
    k->layer[0] = 0;
    k->weights = 0;
    k->outputs = -1;
}

static void print_matrix(const conversion *k, const nct_convert_line *line) {
    nct_term_clear_line(&k->cli->term);
    fprintf(stderr, "%-40s %6zu x %-6zu %-16s", line->name, line->n_rows, line->n_cols, line->from);
    if (line->same && strcmp(line->from, line->to) != 0)
        fprintf(stderr, " %-12s every value kept", line->to);
    else if (line->same)
        fprintf(stderr, " kept");
    else
        fprintf(stderr, " %-12s %6.2f %%", line->to, 100 * line->weight_error);
    if (!line->same && line->output_error >= 0)
        fprintf(stderr, "  outputs %6.2f %%", 100 * line->output_error);
    fputc('\n', stderr);
}

/* "layer 3" and "down_proj" of "model.layers.3.mlp.down_proj"; the name itself of what lies outside. */
static void split_name(const char *name, char layer[32], const char **matrix) {
    int number = 0, used = 0;
    const char *dot = strrchr(name, '.');
    *matrix = dot ? dot + 1 : name;
    if (sscanf(name, "model.layers.%d.%n", &number, &used) == 1 && used)
        snprintf(layer, 32, "layer %d", number);
    else
        snprintf(layer, 32, "%.31s", *matrix);
}

static void take_line(void *context, const nct_convert_line *line) {
    conversion *k = context;
    char layer[32];
    const char *matrix;
    split_name(line->name, layer, &matrix);
    if (strcmp(layer, k->layer) != 0)
        print_layer(k);
    memcpy(k->layer, layer, sizeof layer);
    k->n++;
    k->n_same += line->same;
    if (line->output_error > k->outputs || (line->output_error < 0 && line->weight_error > k->weights))
        snprintf(k->worst, sizeof k->worst, "%.31s", matrix);
    k->weights = fmax(k->weights, line->weight_error);
    k->outputs = fmax(k->outputs, line->output_error);
    if (k->cli->args.verbose)
        print_matrix(k, line);
}

static void show_progress(void *context, double fraction, const char *what) {
    conversion *k = context;
    snprintf(k->doing, sizeof k->doing, "%s", what);
    nct_meter_show(&k->meter, (uint64_t)(fraction * PARTS), PARTS);
}

static void print_result(const conversion *k, const nct_convert_result *r) {
    nct_say_note(k->cli, "%s: %s, %zu of %zu matrices as they were", k->cli->args.output,
                 NCT_BYTES(r->n_bytes), k->n_same, k->n);
    if (r->same)
        nct_say_note(k->cli, "a prompt of 16 tokens gets the same logits, bit for bit");
    else
        nct_say_note(
            k->cli,
            "after a prompt of 16 tokens: divergence %.2g nats, largest difference of a logit %.3g, %s",
            r->divergence, r->largest, r->same_first ? "the same next token" : "another next token");
}

/* ------------------------------------------------------------------ the command */

static nct_quant or_else(int64_t asked, nct_quant otherwise) {
    return asked == NCT_UNSET ? otherwise : (nct_quant)asked;
}

static int check_words(nct_cli *cli) {
    nct_args *a = &cli->args;
    if (a->words.n > 1 || (a->words.n == 0 && !a->model))
        return nct_say_error(
            cli, NCT_EXIT_USAGE,
            "convert takes one checkpoint; %zu were named\ntry: noctule convert SRC -o FILE.nct", a->words.n);
    if (!a->output || strcmp(a->output, "-") == 0)
        return nct_say_error(cli, NCT_EXIT_USAGE,
                             "convert needs the name of a file to write\ntry: noctule convert %s -o FILE.nct",
                             a->words.n ? a->words.item[0] : "SRC");
    if (a->words.n)
        a->model = a->words.item[0];
    return NCT_EXIT_OK;
}

static int take_options(conversion *k, nct_bytes *text) {
    static const size_t groups[] = {32, 64, 128};
    const nct_args *a = &k->cli->args;
    nct_quant layers = or_else(a->quant, NCT_QUANT_KEEP),
              outer = layers == NCT_QUANT_KEEP ? NCT_QUANT_KEEP : NCT_QUANT_INT8;
    nct_quant head = or_else(a->quant_head, outer);
    bool gptq = a->method == NCT_UNSET ? a->calibration != NULL : a->method == 1;
    if (gptq && !a->calibration)
        return nct_say_error(k->cli, NCT_EXIT_USAGE,
                             "gptq needs a text to calibrate with\ntry: --calib FILE\n     --method rtn");
    if (layers == NCT_QUANT_KEEP &&
        (a->calibration || a->act_order || a->method != NCT_UNSET || a->calibration_tokens != NCT_UNSET))
        return nct_say_error(k->cli, NCT_EXIT_USAGE,
                             "the layers are to stay as they are, so there is nothing to calibrate\n"
                             "try: --quant int4");
    if (a->act_order && !gptq)
        return nct_say_error(k->cli, NCT_EXIT_USAGE,
                             "--act-order belongs to gptq\ntry: --method gptq --calib FILE");
    if (a->calibration) {
        int code = nct_input_read(k->cli, a->calibration, text);
        if (code != NCT_EXIT_OK)
            return code;
    }
    k->options = (nct_convert_options){
        .layers = layers,
        .head = head,
        .embedding = or_else(a->quant_embedding, head),
        .group = a->group == NCT_UNSET ? 0 : groups[a->group],
        .gptq = gptq,
        .act_order = a->act_order,
        .isa = a->isa,
        .n_threads = a->threads == NCT_UNSET ? 0 : (int)a->threads,
        .n_tokens = a->calibration_tokens == NCT_UNSET ? 0 : (size_t)a->calibration_tokens,
        .stop = nct_signals_flag(),
        .progress = show_progress,
        .report = take_line,
        .context = k};
    if (a->calibration) {
        k->options.text = text->data ? text->data : "";
        k->options.n_text = text->n;
    }
    return NCT_EXIT_OK;
}

static int convert(conversion *k, const char *source) {
    nct_convert_result result;
    nct_error err = {0};
    nct_output out;
    nct_signals_catch();
    nct_meter_begin(k->cli, k->doing, &k->meter);
    k->meter.share = true;
    nct_status status = nct_convert(source, k->cli->args.output, &k->options, &result, &err);
    nct_meter_end(&k->meter);
    if (status == NCT_OK)
        print_layer(k);
    if (status == NCT_E_STOPPED)
        return nct_say_error(k->cli, 128 + (int)*nct_signals_flag(), "%s", err.text);
    if (status == NCT_E_ARGUMENT)
        return nct_say_error(k->cli, NCT_EXIT_USAGE, "%s", err.text);
    if (status != NCT_OK)
        return nct_say_status(k->cli, &err);
    print_result(k, &result);
    int drift = nct_drift_check(k->cli, k->cli->args.output), code = nct_output_open(k->cli, NULL, &out);
    if (code != NCT_EXIT_OK)
        return code;
    nct_output_print(&out, "%s\n", k->cli->args.output);
    code = nct_output_close(&out, code);
    return code == NCT_EXIT_OK ? drift : code;
}

int nct_convert_main(nct_cli *cli) {
    conversion k = {.cli = cli, .doing = "converting", .outputs = -1};
    nct_bytes text = {0};
    char *source = NULL;
    int code = check_words(cli);
    if (code == NCT_EXIT_OK)
        code = take_options(&k, &text);
    if (code == NCT_EXIT_OK)
        code = nct_find_model(cli, &source);
    if (code == NCT_EXIT_OK)
        code = convert(&k, source);
    nct_free(source);
    nct_bytes_reset(&text);
    return code;
}
