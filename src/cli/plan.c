/* What a model will take and do on this machine, before anyone has its weights: its layers are made up and timed. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/room.h"
#include "cli/bench.h"
#include "cli/host.h"
#include "cli/input.h"
#include "cli/progress.h"
#include "cli/shapes.h"
#include "engine/madeup.h"
#include "format/config.h"

enum {
    PROMPT = 512,
    GEN = 8,
    REPS = 5,
    N_DEPTHS = 3,                  /* 0, half of the context, all but a prompt of it */
    WHOLE_BYTES = 512 << 20,       /* a model up to here is made up as a whole, larger ones in part */
    FEW = 1, MORE = 4,             /* layers of the two parts that tell what a layer takes */
};

typedef struct rates {
    double prompt_s[N_DEPTHS], step_s[N_DEPTHS]; /* seconds a token */
} rates;

typedef struct plan {
    nct_cli *cli;
    nct_file_config file;
    nct_checkpoint *checkpoint;
    nct_config config;
    const char *name;
    nct_madeup shape;
    int64_t ctx, depth[N_DEPTHS];
    size_t n_timed; /* layers that were made up, at most */
    nct_model_info info; /* of that part */
    char isa[32];
    uint64_t weight_bytes, kv_token_bytes, q8_token_bytes, room_bytes;
    nct_roofline roof;
    rates whole;
} plan;

/* ------------------------------------------------------------------ which model */

/* A name of the table, a config.json, or a checkpoint. */
static int take_config(plan *p) {
    const nct_list *words = &p->cli->args.words;
    nct_error err = {0};
    struct stat what;
    if (words->n != 1)
        return nct_say_error(p->cli, NCT_EXIT_USAGE, "plan wants one model, %zu were named\ntry: noctule plan MiniCPM4-8B -c 32k",
                             words->n);
    const char *named = words->item[0];
    const nct_shape *shape = nct_shape_find(named);
    if (stat(named, &what) != 0 && !shape) {
        const char *names[NCT_SHAPES_MOST];
        size_t n = nct_shape_names(names);
        const char *near = nct_nearest(named, names, n);
        char all[512] = "";
        for (size_t i = 0; i < n; i++)
            snprintf(all + strlen(all), sizeof all - strlen(all), "%s%s", i ? " " : "", names[i]);
        return nct_say_error(p->cli, NCT_EXIT_MODEL, "no model '%.80s': neither a file nor one of\n%s%s%s", named, all,
                             near ? "\ntry: noctule plan " : "", near ? near : "");
    }
    const char *slash = strrchr(named, '/');
    p->name = slash && slash[1] ? slash + 1 : named;
    const nct_raw_config *raw;
    bool has_head = true;
    size_t n = strlen(named);
    nct_bytes text = {0};
    nct_status status = NCT_OK;
    if (shape) {
        status = nct_file_config_parse(named, shape->config, strlen(shape->config), &p->file, &err);
        raw = &p->file.raw;
    } else if (S_ISREG(what.st_mode) && n > 5 && strcmp(named + n - 5, ".json") == 0) {
        int code = nct_input_read_exact(p->cli, named, &text);
        if (code != NCT_EXIT_OK)
            return code;
        status = nct_file_config_parse(named, text.data ? text.data : "", text.n, &p->file, &err);
        raw = &p->file.raw;
    } else {
        status = nct_checkpoint_open(named, &p->checkpoint, &err);
        raw = status == NCT_OK ? nct_checkpoint_config(p->checkpoint) : NULL;
        has_head = status == NCT_OK && nct_checkpoint_has(p->checkpoint, NCT_ROLE_HEAD, 0);
    }
    nct_bytes_reset(&text);
    if (status == NCT_OK)
        status = nct_config_check_raw(raw, named, has_head, &p->config, &err);
    if (status == NCT_OK)
        return NCT_EXIT_OK;
    return nct_say_error(p->cli, status == NCT_E_MEMORY ? NCT_EXIT_FAILURE : NCT_EXIT_MODEL, "%s", err.text);
}

/* The form that a checkpoint has a matrix in, where that is one that can be made up. */
static void take_form(const plan *p, nct_role role, size_t n_rows, size_t n_cols, nct_madeup_form *form) {
    static const struct {
        bool known;
        nct_madeup_form form;
    } forms[] = {[NCT_FORM_F32] = {true, NCT_MADEUP_BFLOAT16},   [NCT_FORM_F16] = {true, NCT_MADEUP_FLOAT16},
                 [NCT_FORM_BF16] = {true, NCT_MADEUP_BFLOAT16},  [NCT_FORM_CODES4] = {true, NCT_MADEUP_INT4},
                 [NCT_FORM_CODES8] = {true, NCT_MADEUP_INT8},    [NCT_FORM_CODES2] = {false, NCT_MADEUP_INT4}};
    nct_stored stored;
    nct_unpacked unpacked;
    if (nct_checkpoint_matrix(p->checkpoint, role, 0, n_rows, n_cols, &stored, NULL) != NCT_OK)
        return;
    if (stored.codec->describe(&stored, &unpacked, NULL) == NCT_OK && forms[unpacked.form].known)
        *form = forms[unpacked.form].form;
    nct_stored_close(&stored);
}

static int take_flags(plan *p) {
    enum { KEEP, INT8, INT4 };
    const nct_args *a = &p->cli->args;
    const nct_madeup_form layers[] = {NCT_MADEUP_BFLOAT16, NCT_MADEUP_INT8, NCT_MADEUP_INT4},
                          head[] = {NCT_MADEUP_FLOAT16, NCT_MADEUP_INT8, NCT_MADEUP_INT4};
    p->shape = (nct_madeup){.config = &p->config, .name = p->name,
                            .layers = layers[a->quant == NCT_UNSET ? INT4 : a->quant],
                            .head = head[a->quant_head == NCT_UNSET ? KEEP : a->quant_head],
                            .n_layers = p->config.n_layers};
    if (p->shape.layers == NCT_MADEUP_BFLOAT16 && a->quant_head == NCT_UNSET)
        p->shape.head = NCT_MADEUP_BFLOAT16;
    const nct_config *c = &p->config;
    if (p->checkpoint && a->quant == NCT_UNSET)
        take_form(p, NCT_ROLE_O, c->hidden, c->n_heads * c->head_dim, &p->shape.layers);
    if (p->checkpoint && a->quant_head == NCT_UNSET)
        take_form(p, nct_checkpoint_has(p->checkpoint, NCT_ROLE_HEAD, 0) ? NCT_ROLE_HEAD : NCT_ROLE_EMBEDDING, c->n_vocab,
                  c->hidden, &p->shape.head);
    int64_t most = (int64_t)(p->config.long_positions > p->config.max_positions ? p->config.long_positions
                                                                                : p->config.max_positions);
    p->ctx = a->ctx == NCT_UNSET ? (most < 32768 ? most : 32768) : a->ctx;
    if (p->ctx > most)
        return nct_say_error(p->cli, NCT_EXIT_USAGE, "-c %s is more than %s holds: %s tokens",
                             NCT_N((uint64_t)p->ctx), p->name, NCT_N((uint64_t)most));
    int64_t last = p->ctx - PROMPT > 0 ? p->ctx - PROMPT : 0;
    p->depth[1] = last / 2;
    p->depth[2] = last;
    p->weight_bytes = nct_madeup_weight_bytes(&p->shape);
    return NCT_EXIT_OK;
}

/* ------------------------------------------------------------------ timing */

/* Some layers of the model, and a session of them. */
typedef struct part {
    size_t n_layers;
    nct_engine *engine;
    nct_session *session;
} part;

static void close_part(part *t) {
    nct_session_close(t->session);
    nct_engine_close(t->engine);
}

static nct_status open_part(const plan *p, size_t n_layers, part *t, nct_error *err) {
    const nct_args *a = &p->cli->args;
    nct_madeup shape = p->shape;
    nct_host host;
    bool kept = a->threads == NCT_UNSET && nct_host_read(&host);
    nct_engine_options options = {
        .isa = a->isa,
        .n_threads = a->threads != NCT_UNSET ? (int)a->threads : kept ? host.threads : 0,
        .n_threads_batch = a->threads_batch != NCT_UNSET ? (int)a->threads_batch : kept ? host.threads_batch : 0};
    nct_session_options so = {.n_ctx = (int)p->ctx, .force_ctx = true,
                              .keys = a->kv == NCT_UNSET ? NCT_KV_AUTO : (nct_kv)(NCT_KV_FLOAT32 + a->kv)};
    so.values = so.keys;
    t->n_layers = shape.n_layers = n_layers;
    NCT_TRY(nct_engine_make_up(&shape, &options, &t->engine, err));
    return nct_session_open(t->engine, &so, &t->session, err);
}

/* Brings a session to a depth. */
static nct_status fill(part *t, int depth, nct_error *err) {
    int held = nct_session_length(t->session);
    if (held > depth)
        return nct_session_rewind(t->session, depth, err);
    return held < depth ? nct_session_make_up(t->session, depth - held, 1, err) : NCT_OK;
}

/* Seconds that n tokens take behind a depth, at once or one by one. */
static nct_status time_once(part *t, int depth, const int32_t *ids, int n, bool one_by_one, double *seconds, nct_error *err) {
    NCT_TRY(nct_session_rewind(t->session, depth, err));
    uint64_t began = nct_clock_ns();
    for (int k = 0; k < n; k += one_by_one ? 1 : n)
        NCT_TRY(nct_session_feed(t->session, ids + k, one_by_one ? 1 : (size_t)n, NULL, err));
    *seconds = (double)(nct_clock_ns() - began) * 1e-9;
    return NCT_OK;
}

/* Seconds a token of the whole model: what the larger part takes, and for each layer that it lacks what it takes more
 * than the smaller one, which is timed in turn with it, for the machine may have changed. */
static nct_status time_tokens(const plan *p, part parts[2], int depth, bool one_by_one, double *seconds, nct_error *err) {
    int n = p->ctx < PROMPT ? (int)p->ctx : PROMPT;
    int32_t ids[PROMPT];
    double sample[REPS];
    for (int i = 0; i < PROMPT; i++)
        ids[i] = (int32_t)((size_t)(i * 131 + 7) % p->config.n_vocab);
    if (one_by_one)
        n = n < GEN ? n : GEN;
    for (int i = -1; i < REPS; i++) { /* the first does not count */
        double more, few;
        NCT_TRY(time_once(&parts[0], depth, ids, n, one_by_one, &more, err));
        double all = more;
        if (parts[1].engine) {
            NCT_TRY(time_once(&parts[1], depth, ids, n, one_by_one, &few, err));
            double layer = fmax(more - few, 0) / (double)(parts[0].n_layers - parts[1].n_layers);
            all += layer * (double)(p->config.n_layers - parts[0].n_layers);
        }
        if (i >= 0)
            sample[i] = all / n;
    }
    *seconds = nct_median(sample, REPS);
    return NCT_OK;
}

static nct_status describe(plan *p, part *t, nct_error *err) {
    nct_report report;
    nct_session_report(t->session, &report);
    nct_engine_info(t->engine, &p->info);
    p->kv_token_bytes = report.kv_bytes_per_token / t->n_layers * p->config.n_layers;
    p->q8_token_bytes = p->info.kv_int8_bytes_per_token / t->n_layers * p->config.n_layers;
    p->info.path = p->info.name = p->info.weights = NULL; /* they go with the engine */
    snprintf(p->isa, sizeof p->isa, "%s", p->info.isa);
    return nct_engine_roofline(t->engine, &p->roof, err);
}

/* A small model is timed as a whole, of a larger one two parts are. */
static bool is_whole(const plan *p) { return p->weight_bytes <= WHOLE_BYTES || p->config.n_layers <= MORE; }

static int time_all(plan *p) {
    nct_error err = {0};
    nct_meter meter;
    part parts[2] = {{0}};
    p->n_timed = is_whole(p) ? p->config.n_layers : MORE;
    nct_meter_begin(p->cli, "plan", &meter);
    nct_status status = open_part(p, p->n_timed, &parts[0], &err);
    if (status == NCT_OK && !is_whole(p))
        status = open_part(p, FEW, &parts[1], &err);
    if (status == NCT_OK)
        status = describe(p, &parts[0], &err);
    for (int d = 0; d < N_DEPTHS && status == NCT_OK; d++) {
        int depth = (int)p->depth[d];
        for (int k = 0; k < 2 && parts[k].engine && status == NCT_OK; k++)
            status = fill(&parts[k], depth, &err);
        if (status == NCT_OK)
            status = time_tokens(p, parts, depth, false, &p->whole.prompt_s[d], &err);
        if (status == NCT_OK)
            status = time_tokens(p, parts, depth, true, &p->whole.step_s[d], &err);
        for (int k = 0; k < 2 && parts[k].engine && status == NCT_OK; k++)
            status = nct_session_rewind(parts[k].session, depth, &err);
        nct_meter_show(&meter, (uint64_t)d + 1, N_DEPTHS);
    }
    nct_meter_end(&meter);
    close_part(&parts[0]);
    close_part(&parts[1]);
    return status == NCT_OK ? NCT_EXIT_OK : nct_say_status(p->cli, &err);
}

/* Seconds to read the whole context: Simpson's rule over what a token takes. */
static double reading_s(const plan *p) {
    const double *t = p->whole.prompt_s;
    return (double)p->ctx * (t[0] + 4 * t[1] + t[2]) / 6;
}

/* ------------------------------------------------------------------ telling */

static const char *form_name(nct_madeup_form form) {
    static const char *const names[] = {"int4 g128", "int8 g128", "f16", "bf16"};
    return names[form];
}

static void print_span(nct_output *out, double seconds) {
    if (seconds < 100)
        nct_output_print(out, "%.*f s", seconds < 10 ? 1 : 0, seconds);
    else if (seconds < 6000)
        nct_output_print(out, "%.0f min", seconds / 60);
    else
        nct_output_print(out, "%.1f h", seconds / 3600);
}

static void print_text(const plan *p, nct_output *out) {
    const nct_config *c = &p->config;
    uint64_t cache = p->kv_token_bytes * (uint64_t)p->ctx, q8 = p->q8_token_bytes * (uint64_t)p->ctx,
             all = p->weight_bytes + cache;
    out->folds = true;
    out->hang = 9;
    nct_output_print(out, "%s · layers %s, head %s · %zu layers, width %zu\n", p->name, form_name(p->shape.layers),
                     form_name(p->shape.head), c->n_layers, c->hidden);
    nct_output_print(out, "memory   weights %s · cache of %s tokens %s, as q8 %s\n", NCT_BYTES(p->weight_bytes),
                     NCT_N((uint64_t)p->ctx), NCT_BYTES(cache), NCT_BYTES(q8));
    nct_output_print(out, "         %s together; %s are available: %s\n", NCT_BYTES(all), NCT_BYTES(p->room_bytes),
                     all <= p->room_bytes                     ? "fits"
                     : p->weight_bytes + q8 <= p->room_bytes ? "fits with --kv q8"
                     : p->weight_bytes <= p->room_bytes      ? "fits with the cache in files (--kv-dir) or a smaller -c"
                                                             : "does not fit");
    for (int d = 0; d < N_DEPTHS; d++)
        if (d == 0 || p->depth[d] != p->depth[d - 1])
            nct_output_print(out, "%s %8s tokens held: prompt %8.1f t/s · answer %7.1f t/s\n", d ? "        " : "speed   ",
                             NCT_N((uint64_t)p->depth[d]), 1 / p->whole.prompt_s[d], 1 / p->whole.step_s[d]);
    nct_output_print(out, "reading  %s tokens take ", NCT_N((uint64_t)p->ctx));
    print_span(out, reading_s(p));
    nct_output_print(out, "\nmeasured %zu of %zu layers with made-up weights, %d/%d threads (prefill/decode), %s, read %.1f GB/s",
                     p->n_timed, c->n_layers, p->info.n_threads_batch, p->info.n_threads, p->isa,
                     p->roof.read_bytes_s / 1e9);
    if (p->roof.multiply_ops_s > 0)
        nct_output_print(out, ", %s %.2f Top/s", p->roof.multiply_name, p->roof.multiply_ops_s / 1e12);
    nct_output_print(out, "\n");
}

static void print_json(const plan *p, nct_output *out) {
    nct_bytes b = {0};
    nct_bytes_add_str(&b, "{\"model\":", NULL);
    nct_json_write_string(&b, p->name, strlen(p->name), NULL);
    nct_bytes_printf(&b, NULL, ",\"weights\":\"%s\",\"head\":\"%s\",\"layers\":%zu,\"timed_layers\":%zu,\"ctx\":%lld",
                     form_name(p->shape.layers), form_name(p->shape.head), p->config.n_layers, p->n_timed,
                     (long long)p->ctx);
    nct_bytes_printf(&b, NULL,
                     ",\"memory\":{\"weights\":%llu,\"cache_per_token\":%llu,\"q8_cache_per_token\":%llu,\"cache\":%llu,"
                     "\"available\":%llu,\"fits\":%s},\"speed\":[",
                     (unsigned long long)p->weight_bytes, (unsigned long long)p->kv_token_bytes,
                     (unsigned long long)p->q8_token_bytes, (unsigned long long)(p->kv_token_bytes * (uint64_t)p->ctx),
                     (unsigned long long)p->room_bytes,
                     p->weight_bytes + p->kv_token_bytes * (uint64_t)p->ctx <= p->room_bytes ? "true" : "false");
    for (int d = 0; d < N_DEPTHS; d++)
        if (d == 0 || p->depth[d] != p->depth[d - 1])
            nct_bytes_printf(&b, NULL, "%s{\"depth\":%lld,\"prefill_tps\":%.4g,\"decode_tps\":%.4g}", d ? "," : "",
                             (long long)p->depth[d], 1 / p->whole.prompt_s[d], 1 / p->whole.step_s[d]);
    nct_bytes_printf(&b, NULL,
                     "],\"reading_s\":%.4g,\"threads\":%d,\"threads_batch\":%d,\"isa\":\"%s\",\"read_bytes_s\":%.4g,"
                     "\"multiply_ops_s\":%.4g}\n",
                     reading_s(p), p->info.n_threads, p->info.n_threads_batch, p->isa, p->roof.read_bytes_s,
                     p->roof.multiply_ops_s);
    nct_output_write(out, b.data, b.n);
    nct_bytes_reset(&b);
}

/* Before anything is made up: the part that is timed must fit, or the machine would swap. */
static int check_room(plan *p) {
    nct_room room;
    nct_room_find("", &room);
    p->room_bytes = room.available_bytes;
    size_t n = is_whole(p) ? p->config.n_layers : MORE + FEW;
    uint64_t heads = p->weight_bytes - p->config.n_layers * nct_madeup_layer_bytes(&p->shape);
    uint64_t need = (is_whole(p) ? 1 : 2) * heads + n * nct_madeup_layer_bytes(&p->shape) +
                    (uint64_t)n * 8 * p->config.n_kv_heads * p->config.head_dim * (uint64_t)p->ctx;
    return need <= p->room_bytes
               ? NCT_EXIT_OK
               : nct_say_error(p->cli, NCT_EXIT_FAILURE,
                               "%zu layers of %s, which are timed, take %s; %s are available\ntry: a smaller -c", n, p->name,
                               NCT_BYTES(need), NCT_BYTES(p->room_bytes));
}

int nct_plan_main(nct_cli *cli) {
    plan p = {.cli = cli};
    nct_output out;
    int code = take_config(&p);
    if (code == NCT_EXIT_OK)
        code = take_flags(&p);
    if (code == NCT_EXIT_OK)
        code = check_room(&p);
    if (code == NCT_EXIT_OK)
        code = time_all(&p);
    if (code == NCT_EXIT_OK)
        code = nct_output_open(cli, cli->args.output, &out);
    if (code == NCT_EXIT_OK) {
        if (cli->args.format > NCT_FORMAT_TEXT)
            print_json(&p, &out);
        else
            print_text(&p, &out);
        code = nct_output_close(&out, code);
    }
    nct_file_config_close(&p.file);
    nct_checkpoint_close(p.checkpoint);
    return code;
}
