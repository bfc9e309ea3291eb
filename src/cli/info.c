/* What a checkpoint holds. */
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "cli/open.h"
#include "cli/output.h"
#include "format/nct.h"

/* Contexts whose memory is told, beside the model's own window. */
static const uint64_t contexts[] = {4096, 8192, 16384, 32768, 65536, 131072};
enum { N_CONTEXTS = sizeof contexts / sizeof *contexts };

/* ------------------------------------------------------------------ for people */

static void print_special(nct_output *out, const nct_engine *engine, const char *what, int32_t id) {
    size_t n;
    const char *piece = nct_token_piece(engine, id, &n);
    nct_output_print(out, "%s%d %.*s", what, id, (int)n, piece ? piece : "");
}

static void print_model(nct_output *out, const nct_engine *engine, const nct_model_info *m) {
    out->folds = true;
    out->hang = 12;
    nct_output_print(out, "%s    (%s)\n", m->name, m->path);
    nct_output_print(out, "container   %s, architecture %s\n", m->container, m->architecture);
    nct_output_print(out, "weights     %s · %s parameters · %s in memory\n", m->weights,
                     NCT_N(m->n_parameters), NCT_BYTES(m->weight_bytes));
    nct_output_print(
        out,
        "shape       %d layers · width %d · %d heads, %d of keys and values, %d wide · feed-forward %d\n",
        m->n_layers, m->hidden, m->n_heads, m->n_kv_heads, m->head_dim, m->intermediate);
    nct_output_print(out, "vocabulary  %s tokens, output matrix %s: %s%s\n", NCT_N((uint64_t)m->n_vocab),
                     m->tied ? "tied to the embedding" : "of its own", m->head,
                     m->rounded ? ", rounded while loading" : "");
    nct_output_print(out,
                     "scales      embedding %g · residual %.6g · logits 1/%g · rope theta %g · rms eps %g\n",
                     m->scale_emb, m->residual_scale, m->logit_divisor, m->rope_theta, m->rms_eps);
    nct_output_print(out, "context     %s tokens", NCT_N((uint64_t)m->max_positions));
    if (m->long_positions)
        nct_output_print(out, ", %s with --rope long (%s)", NCT_N((uint64_t)m->long_positions),
                         m->long_built_in ? "built-in list" : "its own list");
    nct_output_print(out, "\n");
    if (m->sparse_trained)
        nct_output_print(out, "sparse      %d blocks of %d past %s tokens%s\n", m->sparse_blocks,
                         m->sparse_block_size, NCT_N((uint64_t)m->sparse_dense_len),
                         m->sparse_built_in ? " (built-in default)" : "");
    else
        nct_output_print(out, "sparse      no: not trained for it\n");
    nct_output_print(out, "template    %s\n", m->template_name);
    if (m->bos >= 0)
        print_special(out, engine, "begins      ", m->bos);
    else
        nct_output_print(out, "begins      with nothing");
    for (int i = 0; i < m->n_eos; i++)
        print_special(out, engine, i ? ", " : "\nends        ", m->eos[i]);
    nct_output_print(out, "\n");
}

static void print_defaults(nct_output *out, const nct_engine *engine, const nct_model_info *m) {
    nct_sampling s;
    nct_engine_sampling(engine, &s);
    nct_output_print(out, "sampling    temp %g · top-p %g · top-k %d · repeat-penalty %g\n", s.temperature,
                     s.top_p, s.top_k, s.repeat_penalty);
    nct_output_print(out, "machine     %d thread%s", m->n_threads, m->n_threads == 1 ? "" : "s");
    if (m->n_threads_batch != m->n_threads)
        nct_output_print(out, ", %d for prompts", m->n_threads_batch);
    nct_output_print(out, " · %s · %s\n", m->isa, m->numa);
    char copied[160];
    if (nct_copied_line(m, copied, sizeof copied))
        nct_output_print(out, "copied      %s\n", copied);
}

static void print_memory_row(nct_output *out, const nct_model_info *m, const char *label, uint64_t n,
                             bool past) {
    uint64_t cache = m->kv_bytes_per_token * n, narrow = m->kv_int8_bytes_per_token * n;
    nct_output_print(out, "%7s%s  %9s  %9s  %9s  %9s\n", label, past ? "*" : " ", NCT_BYTES(cache),
                     NCT_BYTES(cache + m->weight_bytes), NCT_BYTES(narrow),
                     NCT_BYTES(narrow + m->weight_bytes));
}

/* Weights and cache, at the model's window and at round contexts. */
static void print_memory(nct_output *out, const nct_model_info *m) {
    uint64_t window = (uint64_t)m->max_positions,
             most = m->long_positions ? (uint64_t)m->long_positions : window;
    bool told = false, beyond = false;
    out->folds = false; /* a table */
    nct_output_print(out, "\ncontext  %4s cache  in memory   q8 cache  in memory\n", m->kv);
    for (size_t i = 0; i < N_CONTEXTS; i++) {
        char label[24];
        if (!told && window <= contexts[i]) {
            told = true;
            if (window < contexts[i])
                print_memory_row(out, m, NCT_N(window), window, false);
        }
        snprintf(label, sizeof label, "%lluK", (unsigned long long)(contexts[i] >> 10));
        print_memory_row(out, m, label, contexts[i], contexts[i] > most);
        beyond |= contexts[i] > most;
    }
    if (beyond)
        nct_output_print(out, "* beyond the model's window\n");
}

static void print_tensors(nct_output *out, const nct_checkpoint *checkpoint) {
    nct_tensor_info t;
    nct_output_print(out, "\n%-6s %12s  %-20s %s\n", "type", "bytes", "shape", "tensor");
    for (size_t i = 0; nct_checkpoint_tensor(checkpoint, i, &t); i++) {
        char shape[NCT_MAX_DIMS * 24] = "";
        for (size_t d = 0; d < t.n_dims; d++)
            snprintf(shape + strlen(shape), sizeof shape - strlen(shape), d ? " x %zu" : "%zu", t.dims[d]);
        nct_output_print(out, "%-6s %12s  %-20s %s\n", t.type, NCT_N(t.n_bytes), shape, t.name);
    }
}

/* ------------------------------------------------------------------ for programs */

static void add_string(nct_bytes *out, const char *key, const char *value) {
    nct_bytes_printf(out, NULL, "\"%s\":", key);
    nct_json_write_string(out, value, strlen(value), NULL);
}

static void add_tensors(nct_bytes *out, const nct_checkpoint *checkpoint) {
    nct_tensor_info t;
    nct_bytes_add_str(out, ",\"tensors\":[", NULL);
    for (size_t i = 0; nct_checkpoint_tensor(checkpoint, i, &t); i++) {
        nct_bytes_add_str(out, i ? ",{" : "{", NULL);
        add_string(out, "name", t.name);
        nct_bytes_add_str(out, ",", NULL);
        add_string(out, "type", t.type);
        nct_bytes_add_str(out, ",\"shape\":[", NULL);
        for (size_t d = 0; d < t.n_dims; d++)
            nct_bytes_printf(out, NULL, d ? ",%zu" : "%zu", t.dims[d]);
        nct_bytes_printf(out, NULL, "],\"bytes\":%zu}", t.n_bytes);
    }
    nct_bytes_add_str(out, "]", NULL);
}

static void add_model(nct_bytes *out, const nct_engine *engine, const nct_model_info *m) {
    nct_bytes_add_str(out, "{", NULL);
    add_string(out, "name", m->name);
    nct_bytes_add_str(out, ",", NULL);
    add_string(out, "path", m->path);
    nct_bytes_add_str(out, ",", NULL);
    add_string(out, "container", m->container);
    nct_bytes_add_str(out, ",", NULL);
    add_string(out, "architecture", m->architecture);
    nct_bytes_add_str(out, ",", NULL);
    add_string(out, "weights", m->weights);
    nct_bytes_add_str(out, ",", NULL);
    add_string(out, "head", m->head);
    nct_bytes_printf(out, NULL, ",\"rounded\":%s,", m->rounded ? "true" : "false");
    add_string(out, "template", m->template_name);
    nct_bytes_printf(
        out, NULL,
        ",\"parameters\":%llu,\"layers\":%d,\"hidden\":%d,\"heads\":%d,\"kv_heads\":%d,\"head_dim\":%d,"
        "\"intermediate\":%d,\"vocab\":%d,\"context\":%d,\"tied\":%s",
        (unsigned long long)m->n_parameters, m->n_layers, m->hidden, m->n_heads, m->n_kv_heads, m->head_dim,
        m->intermediate, m->n_vocab, m->max_positions, m->tied ? "true" : "false");
    nct_bytes_printf(out, NULL,
                     ",\"scale_emb\":%.17g,\"residual_scale\":%.17g,\"logit_divisor\":%.17g,\"rope_theta\":%."
                     "17g,\"rms_eps\":%.17g",
                     m->scale_emb, m->residual_scale, m->logit_divisor, m->rope_theta, m->rms_eps);
    nct_bytes_printf(
        out, NULL,
        ",\"sparse\":{\"trained\":%s,\"built_in\":%s,\"blocks\":%d,\"block_size\":%d,\"dense_len\":%d}",
        m->sparse_trained ? "true" : "false", m->sparse_built_in ? "true" : "false", m->sparse_blocks,
        m->sparse_block_size, m->sparse_dense_len);
    nct_bytes_printf(out, NULL, ",\"rope\":{\"native\":%d,\"long\":%d,\"built_in\":%s}", m->max_positions,
                     m->long_positions, m->long_built_in ? "true" : "false");
    nct_bytes_printf(out, NULL, m->bos >= 0 ? ",\"bos\":%d" : ",\"bos\":null", m->bos);
    for (int i = 0; i < m->n_eos; i++)
        nct_bytes_printf(out, NULL, i ? ",%d" : ",\"eos\":[%d", m->eos[i]);
    nct_bytes_add_str(out, m->n_eos ? "]" : ",\"eos\":[]", NULL);
    nct_sampling s;
    nct_engine_sampling(engine, &s);
    nct_bytes_printf(out, NULL,
                     ",\"sampling\":{\"temp\":%g,\"top_p\":%g,\"top_k\":%d,\"repeat_penalty\":%g},\"isa\":\"%"
                     "s\",\"threads\":%d,\"threads_batch\":%d",
                     s.temperature, s.top_p, s.top_k, s.repeat_penalty, m->isa, m->n_threads,
                     m->n_threads_batch);
    nct_bytes_printf(
        out, NULL,
        ",\"memory\":{\"weights\":%llu,\"copied\":%llu,\"cache_per_token\":%llu,\"q8_cache_per_token\":%llu",
        (unsigned long long)m->weight_bytes, (unsigned long long)m->copied_bytes,
        (unsigned long long)m->kv_bytes_per_token, (unsigned long long)m->kv_int8_bytes_per_token);
    for (size_t i = 0; i < N_CONTEXTS; i++)
        nct_bytes_printf(out, NULL, ",\"%lluK\":%llu", (unsigned long long)(contexts[i] >> 10),
                         (unsigned long long)(m->weight_bytes + m->kv_bytes_per_token * contexts[i]));
    nct_bytes_add_str(out, "}", NULL);
}

/* ------------------------------------------------------------------ what cannot be loaded */

/* The error was said; what the files tell beside it is printed. */
static void print_remains(const nct_cli *cli, nct_output *out, const char *path) {
    nct_checkpoint *checkpoint = NULL;
    if (cli->args.format == NCT_FORMAT_JSON || nct_checkpoint_open(path, &checkpoint, NULL) != NCT_OK)
        return;
    const nct_raw_config *c = nct_checkpoint_config(checkpoint);
    nct_output_print(out, "%s    (cannot be loaded)\n", path);
    nct_output_print(out, "container   %s, architecture %s\n", nct_checkpoint_container(checkpoint),
                     c->architecture);
    nct_output_print(out,
                     "shape       %lld layers · width %lld · %lld heads, %lld of keys and values · "
                     "feed-forward %lld · vocabulary %lld\n",
                     (long long)c->n_layers, (long long)c->hidden_size, (long long)c->n_heads,
                     (long long)c->n_kv_heads, (long long)c->intermediate_size, (long long)c->vocab_size);
    if (cli->args.verbose)
        print_tensors(out, checkpoint);
    nct_checkpoint_close(checkpoint);
}

/* ------------------------------------------------------------------ checksums */

typedef struct checking {
    const nct_cli *cli;
    nct_output *out;
    size_t n, n_damaged;
} checking;

static void tell_section(void *context, const nct_section *section, bool sound) {
    checking *k = context;
    bool json = k->cli->args.format == NCT_FORMAT_JSON || k->cli->args.format == NCT_FORMAT_JSONL;
    k->n++;
    if (!sound)
        nct_output_print(k->out, json ? k->n_damaged ? ",\"%s\"" : "\"%s\"" : "damaged  %s\n", section->name);
    else if (!json && k->cli->args.verbose)
        nct_output_print(k->out, "sound    %s\n", section->name);
    k->n_damaged += !sound;
}

/* Reads all of a bundle. */
static int verify(const nct_cli *cli, nct_output *out, const char *path) {
    nct_checkpoint *checkpoint = NULL;
    nct_pool *pool = NULL;
    nct_error err = {0};
    checking k = {.cli = cli, .out = out};
    bool json = cli->args.format == NCT_FORMAT_JSON || cli->args.format == NCT_FORMAT_JSONL;
    if (nct_checkpoint_open(path, &checkpoint, &err) != NCT_OK)
        return nct_say_status(cli, &err);
    int threads = cli->args.threads == NCT_UNSET ? nct_cpu_usable() : (int)cli->args.threads;
    int code = NCT_EXIT_OK;
    if (!nct_checkpoint_bundle(checkpoint)) {
        code = nct_say_error(cli, NCT_EXIT_USAGE,
                             "%s is no bundle, and only bundles have checksums\n"
                             "try: noctule convert %s -o FILE.nct",
                             path, path);
    } else if (nct_pool_open(threads, &pool, &err) != NCT_OK) {
        code = nct_say_status(cli, &err);
    } else {
        if (json)
            nct_output_print(out, "{\"damaged\":[");
        nct_status status =
            nct_bundle_verify(nct_checkpoint_bundle(checkpoint), pool, tell_section, &k, &err);
        if (json)
            nct_output_print(out, "],\"sections\":%zu}\n", k.n);
        else if (status == NCT_OK)
            nct_output_print(out, "%s: all %zu sections are sound\n", path, k.n);
        if (status != NCT_OK)
            code = nct_say_status(cli, &err);
    }
    nct_pool_close(pool);
    nct_checkpoint_close(checkpoint);
    return code;
}

/* ------------------------------------------------------------------ the command */

/* How a bundle was made. */
static void print_made(nct_output *out, const char *path) {
    nct_checkpoint *checkpoint = NULL;
    char *made = NULL;
    if (nct_checkpoint_open(path, &checkpoint, NULL) != NCT_OK)
        return;
    if (nct_checkpoint_bundle(checkpoint) &&
        nct_bundle_made(nct_checkpoint_bundle(checkpoint), &made, NULL) == NCT_OK && *made)
        nct_output_print(out, "made        %s\n", made);
    nct_free(made);
    nct_checkpoint_close(checkpoint);
}

static int describe(const nct_cli *cli, nct_output *out, const char *path) {
    nct_engine *engine = NULL;
    nct_model_info info;
    nct_checkpoint *checkpoint = NULL;
    nct_error err = {0};
    int code = nct_open_model(cli, false, &engine, &info);
    if (code != NCT_EXIT_OK) {
        if (code == NCT_EXIT_MODEL)
            print_remains(cli, out, path);
        return code;
    }
    if (cli->args.verbose && nct_checkpoint_open(path, &checkpoint, &err) != NCT_OK) {
        nct_engine_close(engine);
        return nct_say_status(cli, &err);
    }
    if (cli->args.format == NCT_FORMAT_JSON || cli->args.format == NCT_FORMAT_JSONL) {
        nct_bytes json = {0};
        add_model(&json, engine, &info);
        if (checkpoint)
            add_tensors(&json, checkpoint);
        nct_bytes_add_str(&json, "}\n", NULL);
        nct_output_write(out, json.data, json.n);
        nct_bytes_reset(&json);
    } else {
        print_model(out, engine, &info);
        if (strcmp(info.container, "nct") == 0)
            print_made(out, path);
        print_defaults(out, engine, &info);
        print_memory(out, &info);
        if (checkpoint)
            print_tensors(out, checkpoint);
    }
    nct_checkpoint_close(checkpoint);
    nct_engine_close(engine);
    return NCT_EXIT_OK;
}

int nct_info_main(nct_cli *cli) {
    nct_args *a = &cli->args;
    if (a->words.n > 1)
        return nct_say_error(cli, NCT_EXIT_USAGE, "info describes one model; %zu were named", a->words.n);
    if (a->words.n)
        a->model = a->words.item[0];
    char *path = NULL;
    nct_output out;
    int code = nct_find_model(cli, &path);
    if (code == NCT_EXIT_OK && (code = nct_output_open(cli, a->output, &out)) == NCT_EXIT_OK)
        code = nct_output_close(&out, a->verify ? verify(cli, &out, path) : describe(cli, &out, path));
    nct_free(path);
    return code;
}
